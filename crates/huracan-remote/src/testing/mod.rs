//! What tests of remote stores need: real servers on loopback, a stand-in for the service that cannot
//! be run here, and a proxy that breaks things.

pub mod dropbox;
pub mod proxy;
pub mod s3;
