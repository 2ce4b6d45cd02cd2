//! Stores that are not a folder of this machine, behind the same four verbs, and the outbox that
//! carries a finished run there when the network allows.

mod conditions;
pub mod dropbox;
pub mod lease;
pub mod outbox;
mod retry;
mod runtime;
pub mod s3;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use conditions::check_conditions;
pub use retry::RetryPolicy;
