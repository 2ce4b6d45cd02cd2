//! What machines that share a run leave for each other in the store: parts, scratch columns, results.
//! Everything lies below `work/{run}/`, is named by what it is, and may be written again with the same
//! bytes by whoever computes it again.

use super::{JobFault, JobsError};
use crate::scratch::Beyond;
use huracan_store::{PutMode, Store, StoreError, StorePath};
use std::io;
use std::sync::Arc;

/// The folder of the store that all runs' leavings are below.
pub const FOLDER: &str = "work";

/// One run's folder.
#[derive(Clone)]
pub struct Vault {
    store: Arc<dyn Store>,
    run: String,
}

impl Vault {
    /// The folder of a run, which is named by the hash of its inputs.
    pub fn new(store: Arc<dyn Store>, run: impl Into<String>) -> Vault {
        Vault { store, run: run.into() }
    }

    fn path(&self, below: &str) -> Result<StorePath, StoreError> {
        StorePath::new(format!("{FOLDER}/{}/{below}", self.run))
    }

    fn put(&self, below: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.store.put(&self.path(below)?, bytes, PutMode::Overwrite).map(drop)
    }

    fn get(&self, below: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.store.get(&self.path(below)?)?.map(|object| object.bytes))
    }

    /// Leaves a part.
    ///
    /// # Errors
    /// What the store refuses.
    pub fn leave_part(&self, part: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.put(&format!("parts/{part}"), bytes)
    }

    /// A part, if it was left.
    ///
    /// # Errors
    /// What the store refuses.
    pub fn part(&self, part: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.get(&format!("parts/{part}"))
    }

    /// Leaves the result of a job.
    ///
    /// # Errors
    /// What the store refuses.
    pub fn leave_result(&self, stage: &str, item: usize, bytes: &[u8]) -> Result<(), StoreError> {
        self.put(&format!("results/{stage}/{item}"), bytes)
    }

    /// The result of a job, if it was left.
    ///
    /// # Errors
    /// What the store refuses.
    pub fn result(&self, stage: &str, item: usize) -> Result<Option<Vec<u8>>, StoreError> {
        self.get(&format!("results/{stage}/{item}"))
    }

    /// Removes everything of the run.
    ///
    /// # Errors
    /// What the store refuses.
    pub fn clear(&self) -> Result<(), StoreError> {
        let folder = StorePath::new(format!("{FOLDER}/{}", self.run))?;
        self.store.list(Some(&folder))?.iter().try_for_each(|entry| self.store.delete(&entry.path))
    }
}

impl Beyond for Vault {
    fn leave(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.put(&format!("columns/{name}"), bytes).map_err(io::Error::other)
    }

    fn look(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        self.get(&format!("columns/{name}")).map_err(io::Error::other)
    }
}

/// A store's refusal as the fault of a job: another attempt may find the store in a better mood.
pub(super) fn fault_of(error: &StoreError) -> JobFault {
    JobFault::transient(error.code(), error.to_string())
}

/// The same for a whole run.
pub(super) fn broken(error: StoreError) -> JobsError {
    JobsError { code: error.code(), text: error.to_string() }
}
