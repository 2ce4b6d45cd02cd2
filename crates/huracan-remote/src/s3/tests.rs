//! Against a real server on loopback, and through a proxy that breaks what passes.

use std::time::Instant;

use huracan_store::contract;

use super::*;
use crate::testing::proxy::{Fault, FaultProxy};
use crate::testing::s3::S3Server;

fn path(text: &str) -> StorePath {
    StorePath::new(text).unwrap()
}

fn owner(pid: u32) -> RunOwner {
    let since = huracan_core::words::UtcMs(1_754_006_400_000);
    RunOwner { purpose: "train".into(), pid, host: "box".into(), since }
}

/// A store in a new bucket behind a proxy, and the same bucket without one; `None` without a server.
fn behind_a_proxy(adjust: impl Fn(&mut S3Config)) -> Option<(S3Store, FaultProxy, S3Store)> {
    let server = S3Server::shared()?;
    let mut config = server.new_bucket();
    adjust(&mut config);
    let direct = S3Store::open(config.clone()).unwrap();
    let proxy = FaultProxy::start(server.address()).unwrap();
    config.endpoint = Some(proxy.url());
    Some((S3Store::open(config).unwrap(), proxy, direct))
}

fn status(status: u16) -> Fault {
    Fault::Answer { status, retry_after_s: None }
}

#[test]
fn a_bucket_keeps_the_contract() {
    let Some(server) = S3Server::shared() else { return };
    let store = S3Store::open(server.new_bucket()).unwrap();
    let started = Instant::now();
    contract::holds_for(&store);
    let usage = store.usage().unwrap();
    println!("the contract on S3: {usage:?} in {} ms", started.elapsed().as_millis());
    assert!(usage.requests > 1000 && usage.bytes_up > 12 << 20 && usage.bytes_down > 12 << 20);
}

#[test]
fn a_bucket_whose_every_seventh_request_fails_keeps_the_contract() {
    for fault in [status(503), Fault::LoseAnswer, Fault::Delay(Duration::from_millis(30))] {
        let Some((store, proxy, _)) = behind_a_proxy(|_| {}) else { return };
        proxy.every(7, fault);
        contract::holds_for(&store);
        let usage = store.usage().unwrap();
        println!("the contract on S3, every seventh {fault:?}: {usage:?}");
        assert_eq!(usage.requests, proxy.requests());
        assert_eq!(usage.retries > 100, !matches!(fault, Fault::Delay(_)));
    }
}
