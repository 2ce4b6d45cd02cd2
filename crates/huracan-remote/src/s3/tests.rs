//! Against a real server on loopback, and through a proxy that breaks what passes.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use huracan_core::words::UtcMs;
use huracan_store::contract;

use super::*;
use crate::testing::proxy::{Fault, FaultProxy};
use crate::testing::s3::S3Server;

fn path(text: &str) -> StorePath {
    StorePath::new(text).unwrap()
}

fn owner(pid: u32) -> RunOwner {
    RunOwner { purpose: "train".into(), pid, host: "box".into(), since: UtcMs(1_754_006_400_000) }
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
    crate::check_conditions(&store).unwrap();
    assert_eq!(store.usage().unwrap().requests, 6, "the swap that is refused is looked up once");
    contract::holds_for(&store);
    let usage = store.usage().unwrap();
    println!("the contract on S3: {usage:?} in {} ms", started.elapsed().as_millis());
    assert!(usage.requests > 1000 && usage.bytes_up > 12 << 20 && usage.bytes_down > 12 << 20);
    assert!(
        store.list(None).unwrap().iter().all(|entry| entry.path.segments().next() != Some("some")),
        "paths are told without the bucket's folder"
    );
}

#[test]
fn the_contract_holds_on_a_server_that_is_busy() {
    let Some((store, proxy, _)) = behind_a_proxy(|config| config.retry.attempts_max = 12) else { return };
    proxy.every(7, status(503));
    contract::holds_for(&store);
    let usage = store.usage().unwrap();
    println!("the contract on S3, every seventh 503: {usage:?}");
    assert_eq!(usage.requests, proxy.requests());
    assert!(usage.retries > 100);
}

#[test]
fn the_contract_holds_for_one_writer_whose_connections_break() {
    for fault in [Fault::LoseAnswer, Fault::CutUpload { after_bytes: 1 }] {
        let Some((store, proxy, _)) = behind_a_proxy(|config| config.retry.attempts_max = 12) else { return };
        proxy.every(5, fault);
        contract::holds_for_one_writer(&store);
        println!("the contract for one writer on S3, every fifth {fault:?}: {:?}", store.usage().unwrap());
        assert!(store.usage().unwrap().retries > 100);
    }
}

#[test]
fn a_slow_server_is_waited_for_by_many_at_once() {
    let Some((store, proxy, _)) = behind_a_proxy(|_| {}) else { return };
    proxy.every(1, Fault::Delay(Duration::from_millis(100)));
    let items: Vec<_> = (0..64).map(|n| (path(&format!("a/{n}")), vec![n], PutMode::Create)).collect();
    let answers = store.put_many(&items);
    assert!(answers.iter().all(std::result::Result::is_ok));
    let at_once = proxy.at_once_max();
    assert!((4..=16).contains(&at_once), "expected up to 16 requests at once, found {at_once}");
    assert_eq!(store.usage().unwrap(), Usage { requests: 64, bytes_up: 64, ..Usage::default() });
}

/// Racing writers behind a network that loses answers: whatever was confirmed counts once, whatever
/// was refused not at all, and only what was reported as unknown may be either.
#[test]
fn no_addition_is_lost_or_made_twice_when_answers_are() {
    let Some((store, proxy, direct)) = behind_a_proxy(|config| config.retry.attempts_max = 12) else {
        return;
    };
    let counter = path("counter");
    store.put(&counter, b"0", PutMode::Create).unwrap();
    proxy.every(3, Fault::LoseAnswer);
    let (confirmed, unknown) = (AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25 {
                    let found = store.get(&counter).unwrap().unwrap();
                    let n: u32 = String::from_utf8(found.bytes).unwrap().parse().unwrap();
                    let mode = PutMode::IfRevision(found.revision);
                    match store.put(&counter, (n + 1).to_string().as_bytes(), mode) {
                        Ok(_) => drop(confirmed.fetch_add(1, Ordering::Relaxed)),
                        Err(error) if error.is_transient() => drop(unknown.fetch_add(1, Ordering::Relaxed)),
                        Err(error) => assert_eq!(error.code(), "store_stale"),
                    }
                }
            });
        }
    });
    let bytes = direct.get(&counter).unwrap().unwrap().bytes;
    let counted: u32 = String::from_utf8(bytes).unwrap().parse().unwrap();
    let (confirmed, unknown) = (confirmed.into_inner(), unknown.into_inner());
    println!("of 100 swaps {confirmed} were confirmed and {unknown} unknown; counted {counted}");
    assert!((confirmed..=confirmed + unknown).contains(&counted) && confirmed > 10);
}

#[test]
fn a_write_whose_answer_was_lost_is_not_called_a_conflict() {
    let Some((store, proxy, _)) = behind_a_proxy(|_| {}) else { return };
    proxy.then([Fault::LoseAnswer]);
    let first = store.put(&path("x"), b"1", PutMode::Create).unwrap();
    proxy.then([Fault::LoseAnswer, Fault::LoseAnswer]);
    let second = store.put(&path("x"), b"2", PutMode::IfRevision(first)).unwrap();
    let found = store.get(&path("x")).unwrap().unwrap();
    assert_eq!((found.bytes.as_slice(), found.revision), (&b"2"[..], second));
}

/// Equal bytes are not enough: they may be another's.
#[test]
fn a_refusal_that_was_lost_is_not_called_a_success() {
    let Some((store, proxy, direct)) = behind_a_proxy(|_| {}) else { return };
    let first = direct.put(&path("x"), b"1", PutMode::Create).unwrap();
    direct.put(&path("x"), b"2", PutMode::IfRevision(first.clone())).unwrap();
    proxy.then([Fault::LoseAnswer]);
    let error = store.put(&path("x"), b"2", PutMode::IfRevision(first.clone())).unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("not known whether"), "{error}");
    proxy.then([status(503)]);
    let error = store.put(&path("x"), b"2", PutMode::IfRevision(first)).unwrap_err();
    assert_eq!(error.code(), "store_stale");
    let error = store.put(&path("x"), b"2", PutMode::Create).unwrap_err();
    assert_eq!(error.code(), "store_already_exists");
}

#[test]
fn an_upload_that_is_cut_leaves_the_object_as_it_was() {
    let Some((store, proxy, direct)) = behind_a_proxy(|config| config.retry.attempts_max = 2) else { return };
    store.put(&path("x"), b"before", PutMode::Create).unwrap();
    let large = vec![7; 3 << 20];
    for after_bytes in [0, 1, 1 << 20, (3 << 20) - 1] {
        proxy.then([Fault::CutUpload { after_bytes }; 2]);
        let error = store.put(&path("x"), &large, PutMode::Overwrite).unwrap_err();
        assert_eq!(error.code(), "store_unavailable");
        assert!(
            error.to_string().contains("in 2 attempts") && !error.to_string().contains("X-Amz"),
            "{error}"
        );
        assert_eq!(direct.get(&path("x")).unwrap().unwrap().bytes, b"before", "cut after {after_bytes}");
    }
    proxy.then([Fault::CutUpload { after_bytes: 1 << 20 }]);
    store.put(&path("x"), &large, PutMode::Overwrite).unwrap();
    assert!(direct.get(&path("x")).unwrap().unwrap().bytes == large);
}

#[test]
fn a_download_that_is_cut_is_asked_for_again() {
    let Some((store, proxy, _)) = behind_a_proxy(|_| {}) else { return };
    let large = vec![7; 1 << 20];
    store.put(&path("x"), &large, PutMode::Create).unwrap();
    proxy.then([Fault::CutAnswer, Fault::LoseAnswer]);
    assert!(store.get(&path("x")).unwrap().unwrap().bytes == large);
    assert_eq!(store.usage().unwrap().retries, 2);
}

#[test]
fn the_servers_wait_is_kept_and_too_long_a_one_ends_it() {
    let Some((store, proxy, _)) = behind_a_proxy(|_| {}) else { return };
    let busy = |seconds| Fault::Answer { status: 429, retry_after_s: Some(seconds) };
    proxy.then([busy(1)]);
    let started = Instant::now();
    assert_eq!(store.get(&path("x")).unwrap(), None);
    assert!(started.elapsed() >= Duration::from_secs(1));
    proxy.then([busy(3600)]);
    let error = store.get(&path("x")).unwrap_err();
    assert_eq!(error.code(), "store_unavailable");
    assert!(
        error.to_string().contains("in 1 attempts, last: status 429") && error.to_string().contains("3600 s")
    );
}

#[test]
fn a_server_that_stays_away_is_asked_so_often_and_named() {
    let Some((store, proxy, _)) =
        behind_a_proxy(|config| config.request_timeout = Duration::from_millis(200))
    else {
        return;
    };
    for (fault, last) in [
        (status(503), "status 503 SlowDown"),
        (status(500), "status 500"),
        (Fault::Delay(Duration::from_secs(1)), "no answer"),
    ] {
        proxy.then([fault; 4]);
        let before = store.usage().unwrap();
        let error = store.put(&path("x"), b"1", PutMode::Create).unwrap_err();
        assert!(error.is_transient() && error.to_string().contains("in 4 attempts"), "{error}");
        assert!(error.to_string().contains(last), "{error}");
        let spent = store.usage().unwrap().since(&before);
        assert_eq!((spent.requests, spent.retries, spent.bytes_up), (4, 3, 4));
    }
    drop(proxy);
    let config =
        S3Config { endpoint: Some("http://127.0.0.1:1".into()), ..S3Server::shared().unwrap().new_bucket() };
    let error = S3Store::open(config).unwrap().list(None).unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("onnect"), "{error}");
}

#[test]
fn refusals_are_told_apart() {
    let Some((store, proxy, _)) = behind_a_proxy(|_| {}) else { return };
    let error = store.put(&path("forbidden/x"), b"1", PutMode::Create).unwrap_err();
    assert_eq!(error.code(), "store_read_only");
    assert_eq!(store.delete(&path("forbidden/x")).unwrap_err().code(), "store_read_only");
    assert_eq!(store.get(&path("forbidden/x")).unwrap_err().code(), "store_denied");
    proxy.then([status(507)]);
    assert_eq!(store.put(&path("x"), b"1", PutMode::Create).unwrap_err().code(), "store_no_space");
    proxy.then([status(409), status(409), status(409)]);
    store.delete(&path("x")).unwrap();
    assert_eq!(store.usage().unwrap().retries, 3, "a delete that met a write is repeated");
    proxy.then([status(501)]);
    assert_eq!(store.put(&path("x"), b"1", PutMode::Create).unwrap_err().code(), "store_io");
    assert_eq!(store.usage().unwrap().retries, 3);

    let right = S3Server::shared().unwrap().new_bucket();
    let open = |config: S3Config| S3Store::open(config).unwrap();
    let wrong = open(S3Config { credentials: Credentials::new("key-id", "guess", None), ..right.clone() });
    let error = wrong.get(&path("x")).unwrap_err();
    assert_eq!(error.code(), "store_denied");
    assert!(error.to_string().contains("SignatureDoesNotMatch") && !error.to_string().contains("guess"));
    let elsewhere = open(S3Config { bucket: "no-such-bucket".into(), ..right });
    for error in [
        elsewhere.get(&path("x")).unwrap_err(),
        elsewhere.list(None).unwrap_err(),
        elsewhere.put(&path("x"), b"1", PutMode::Overwrite).unwrap_err(),
    ] {
        assert!(
            error.to_string().starts_with("s3://no-such-bucket/some/folder is not in the store"),
            "{error}"
        );
    }
}

#[test]
fn a_machine_whose_clock_is_wrong_signs_by_the_servers() {
    for ahead_s in [-10_000, 10_000] {
        let Some((store, proxy, _)) = behind_a_proxy(|_| {}) else { return };
        proxy.set_clock_ahead_s(ahead_s);
        proxy.check_clock();
        store.put(&path("x"), b"1", PutMode::Create).unwrap();
        assert_eq!(store.usage().unwrap().retries, 1, "the first answer tells the time");
        store.put(&path("y"), b"1", PutMode::Create).unwrap();
        assert_eq!(store.usage().unwrap().retries, 1);
    }
}

#[test]
fn a_lease_is_renewed_and_its_expiry_is_the_servers_business() {
    let term = Duration::from_secs(3);
    let look_on = |ahead_s: i64| {
        let Some((store, proxy, direct)) = behind_a_proxy(|config| config.lease.term = term) else { return };
        let held = store.lock_run(&owner(7)).unwrap();
        // The server's clock differs from this machine's by hours.
        proxy.set_clock_ahead_s(ahead_s);
        std::thread::sleep(2 * term);
        assert!(held.still_held(), "it is renewed");
        let error = store.lock_run(&owner(8)).unwrap_err();
        assert!(error.to_string().contains("pid 7 on box"), "{error}");
        assert_eq!(direct.lock_run(&owner(8)).unwrap_err().code(), "store_locked");
        drop(held);
        let next = direct.lock_run(&owner(8)).unwrap();
        assert!(next.still_held());
    };
    std::thread::scope(|scope| {
        for ahead_s in [-10_000, 0, 10_000] {
            scope.spawn(move || look_on(ahead_s));
        }
    });
}

#[test]
fn a_lease_that_cannot_be_renewed_is_lost_before_another_may_take_it() {
    let Some((store, proxy, direct)) = behind_a_proxy(|config| {
        config.lease.term = Duration::from_secs(1);
        config.retry.attempts_max = 1;
    }) else {
        return;
    };
    let held = store.lock_run(&owner(7)).unwrap();
    proxy.every(1, status(503));
    let started = Instant::now();
    // The next holder's own lease is long, so that it outlives this test.
    let patient = S3Store { lease: LeaseTerms::default(), ..direct.clone() };
    let taken = loop {
        let was_held = held.still_held();
        match patient.lock_run(&owner(8)) {
            Ok(taken) => {
                assert!(!was_held, "two had it at once");
                break taken;
            }
            Err(error) => assert_eq!(error.code(), "store_locked"),
        }
        assert!(started.elapsed() < Duration::from_secs(60), "it never expires");
        std::thread::sleep(Duration::from_millis(100));
    };
    assert!(taken.still_held() && !held.still_held());
    proxy.every(1, Fault::Pass);
    drop(held);
    assert!(taken.still_held(), "a late release does not take it from its new holder");
    assert_eq!(direct.lock_run(&owner(9)).unwrap_err().code(), "store_locked");
}

/// What a renewal whose answer was lost leaves behind is still ours.
#[test]
fn a_lease_outlives_lost_answers() {
    let Some((store, proxy, _)) = behind_a_proxy(|config| {
        config.lease.term = Duration::from_secs(6);
        config.retry.attempts_max = 1;
    }) else {
        return;
    };
    let held = store.lock_run(&owner(7)).unwrap();
    // A renewal arrives unheard; the next finds itself stale, and at first cannot even read why.
    proxy.then([Fault::LoseAnswer, Fault::Pass, Fault::Pass, Fault::LoseAnswer]);
    let started = Instant::now();
    while proxy.requests() < 10 {
        assert!(held.still_held() && started.elapsed() < Duration::from_secs(60), "{:?}", proxy.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(held.still_held(), "{:?}", proxy.log());
    drop(held);
    drop(store.lock_run(&owner(8)).unwrap());
}

#[test]
fn a_configuration_that_cannot_be_meant_is_refused() {
    let config = S3Config::new("bucket", "", "eu-west-1", Credentials::new("id", "hush", None));
    let refused = |config: S3Config| S3Store::open(config).unwrap_err();
    let endpoint = |text: &str| S3Config { endpoint: Some(text.into()), path_style: true, ..config.clone() };
    for text in ["http://example.com", "ftp://127.0.0.1", "example.com", "https://me:hush@example.com"] {
        let error = refused(endpoint(text));
        assert!(error.code() == "s3_endpoint" && !error.to_string().contains("hush"), "{error}");
    }
    for text in
        ["http://127.0.0.1:9000", "http://[::1]:9000/", "http://localhost:9000", "https://example.com"]
    {
        assert!(S3Store::open(endpoint(text)).is_ok(), "{text}");
    }
    let error = refused(S3Config { path_style: false, ..endpoint("http://127.0.0.1:9000") });
    assert!(error.to_string().contains("path style"), "{error}");
    for name in ["", "ab", "Bucket", "a/b", "a..b", "a b c"] {
        assert_eq!(refused(S3Config { bucket: name.into(), ..config.clone() }).code(), "s3_bucket");
    }
    assert_eq!(refused(S3Config { prefix: "a/../b".into(), ..config.clone() }).code(), "s3_prefix");
    let store = S3Store::open(S3Config { prefix: "/a/b/".into(), ..config.clone() }).unwrap();
    assert_eq!(format!("{store:?}"), "S3Store { place: \"s3://bucket/a/b\", .. }");
    assert!(!format!("{config:?}").contains("hush"));
}
