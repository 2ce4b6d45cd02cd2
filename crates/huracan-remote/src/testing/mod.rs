//! Stand-ins for the services, to test against without a network.

pub mod dropbox;
