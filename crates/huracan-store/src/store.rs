//! The trait: four verbs on bytes and one lock. What an object means is not known here.

use std::fmt;

use crate::digest::sha256_hex;
use crate::error::Result;
use crate::path::StorePath;
use crate::run_lock::{RunLock, RunOwner};

/// Names one state of one object; equal revisions mean equal bytes.
///
/// The local and memory stores use the content's SHA-256; object stores use their ETag or `rev`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Revision(String);

impl Revision {
    /// A revision as a backend names it.
    pub fn new(text: impl Into<String>) -> Revision {
        Revision(text.into())
    }

    /// The revision of these bytes where the content hash is the revision.
    pub fn of(bytes: &[u8]) -> Revision {
        Revision(sha256_hex(bytes))
    }

    /// The backend's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An object as read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Object {
    /// The whole content.
    pub bytes: Vec<u8>,
    /// The state that was read; hand it to [`PutMode::IfRevision`] to replace exactly this one.
    pub revision: Revision,
}

/// A line of a listing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Entry {
    /// Where the object is.
    pub path: StorePath,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// Its state, where the listing tells it at no extra cost: object stores do, a folder would have
    /// to be read through.
    pub revision: Option<Revision>,
}

/// What a store has cost since it was opened, in the units that remote stores are paid by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Requests sent, repeated ones included.
    pub requests: u64,
    /// Requests that were repeats of one that failed.
    pub retries: u64,
    /// Bytes of objects sent, repeats included.
    pub bytes_up: u64,
    /// Bytes of objects and listings received.
    pub bytes_down: u64,
}

impl Usage {
    /// What was added since `before` was read from the same store.
    pub fn since(&self, before: &Usage) -> Usage {
        Usage {
            requests: self.requests.saturating_sub(before.requests),
            retries: self.retries.saturating_sub(before.retries),
            bytes_up: self.bytes_up.saturating_sub(before.bytes_up),
            bytes_down: self.bytes_down.saturating_sub(before.bytes_down),
        }
    }
}

/// On what condition a put may happen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PutMode {
    /// Only if nothing is there.
    Create,
    /// Whatever is there.
    Overwrite,
    /// Only if exactly this state is there (compare-and-swap).
    IfRevision(Revision),
}

/// A place that keeps objects. Readers never see half an object, and of two writers racing under
/// [`PutMode::Create`] or [`PutMode::IfRevision`] exactly one wins.
pub trait Store: Send + Sync {
    /// The object at `path`, or `None` when there is none.
    ///
    /// # Errors
    /// When the backend cannot tell.
    fn get(&self, path: &StorePath) -> Result<Option<Object>>;

    /// Writes an object whole and durably; returns the state written.
    ///
    /// # Errors
    /// `AlreadyExists`, `Stale`, `ReadOnly`, `NoSpace`, `Unavailable`, `Denied`, `Io`. After an error the object is either as
    /// it was or as it was to become, never in between.
    fn put(&self, path: &StorePath, bytes: &[u8], mode: PutMode) -> Result<Revision>;

    /// Writes several objects, each on its own condition; the answers are in the order of `items`.
    ///
    /// Nothing is promised about the order in which they are written, and one that fails stops none
    /// of the others: whoever needs an order calls once for each step of it. Remote stores write in
    /// parallel or in batches.
    fn put_many(&self, items: &[(StorePath, Vec<u8>, PutMode)]) -> Vec<Result<Revision>> {
        items.iter().map(|(path, bytes, mode)| self.put(path, bytes, mode.clone())).collect()
    }

    /// Every object below `folder` at any depth (`None`: the whole store), sorted by path.
    ///
    /// # Errors
    /// When the backend cannot tell. A folder that does not exist lists as empty.
    fn list(&self, folder: Option<&StorePath>) -> Result<Vec<Entry>>;

    /// Removes an object; removing what is not there succeeds.
    ///
    /// # Errors
    /// `ReadOnly`, `Unavailable`, `Denied`, `Io`.
    fn delete(&self, path: &StorePath) -> Result<()>;

    /// Claims the store for one run until the lock is dropped or its process dies. A remote store
    /// cannot see a process die: there the claim is a lease, and [`RunLock::still_held`] says whether
    /// it could be renewed.
    ///
    /// # Errors
    /// `Locked` with the holder's name when another run has it; never waits.
    fn lock_run(&self, owner: &RunOwner) -> Result<RunLock>;

    /// What the store has cost so far; `None` where nothing is counted.
    fn usage(&self) -> Option<Usage> {
        None
    }
}
