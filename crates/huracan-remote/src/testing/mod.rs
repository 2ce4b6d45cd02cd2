//! What tests of remote stores need: real servers on loopback, a stand-in for the service that cannot
//! be run here, and a proxy that breaks things.

pub mod dropbox;
pub mod proxy;
pub mod s3;

/// Says that a test cannot run here.
///
/// # Panics
/// Where `HURACAN_TEST_PEERS` is `required`.
pub fn skip(missing: &str) {
    let is_required = std::env::var("HURACAN_TEST_PEERS").is_ok_and(|word| word == "required");
    assert!(!is_required, "{missing}, expected one because HURACAN_TEST_PEERS is required");
    println!("skipped: {missing}");
}
