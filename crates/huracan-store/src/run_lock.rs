//! The run lock: two trainings on one store at once is a mistake that is named, not waited out.

use std::fmt;
use std::fs::File;

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

/// What stands behind a [`RunLock`]; dropping it gives the store back.
pub trait Claim: Send + Sync {
    /// Whether nobody else can have the store yet.
    fn still_held(&self) -> bool;
}

/// The operating system frees a lock file when its process dies, and not before.
impl Claim for File {
    fn still_held(&self) -> bool {
        true
    }
}

/// The claim; dropping it frees the store.
#[must_use = "the store is free again as soon as this is dropped"]
pub struct RunLock {
    claim: Box<dyn Claim>,
}

impl RunLock {
    /// A lock that lasts as long as `claim` lives.
    pub fn new(claim: impl Claim + 'static) -> RunLock {
        RunLock { claim: Box::new(claim) }
    }

    /// Whether the store is still ours. Always so on a folder; a lease on a remote store that could not
    /// be renewed in time is lost, and whoever holds it must stop writing.
    pub fn still_held(&self) -> bool {
        self.claim.still_held()
    }
}

impl fmt::Debug for RunLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunLock").field("still_held", &self.still_held()).finish()
    }
}
