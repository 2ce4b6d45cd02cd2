//! What tests of remote stores need: real servers on loopback, and a proxy that breaks things.

pub mod proxy;
pub mod s3;
