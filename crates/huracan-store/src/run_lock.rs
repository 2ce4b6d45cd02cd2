//! The run lock: two trainings on one store at once is a mistake that is named, not waited out.

use std::any::Any;
use std::fmt;

use huracan_core::words::UtcMs;

/// Who claims the store; shown to whoever comes second.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunOwner {
    /// What is running, for example `train`.
    pub purpose: String,
    /// Process id.
    pub pid: u32,
    /// Host name.
    pub host: String,
    /// When it started.
    pub since: UtcMs,
}

impl fmt::Display for RunOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, pid {} on {} since {}", self.purpose, self.pid, self.host, self.since)
    }
}

/// The claim; dropping it frees the store.
#[must_use = "the store is free again as soon as this is dropped"]
pub struct RunLock {
    _held: Box<dyn Any + Send>,
}

impl RunLock {
    /// A claim that lasts as long as `held` lives.
    pub fn new(held: impl Any + Send) -> RunLock {
        RunLock { _held: Box::new(held) }
    }
}

impl fmt::Debug for RunLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RunLock")
    }
}
