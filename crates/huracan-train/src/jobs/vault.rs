//! What machines that share a run leave for each other in the store: parts, scratch columns, results.
//! Everything lies below `work/{run}/`, is named by what it is, and may be written again with the same
//! bytes by whoever computes it again.

use super::JobsError;
use crate::scratch::Beyond;
use huracan_core::words::UtcMs;
use huracan_store::{PutMode, Store, StoreError, StorePath, sha256_hex, work};
use std::io;
use std::sync::Arc;

/// What a run has let workers know so far: parts by name, each with the hash of its bytes, in order.
pub type Shared = Vec<(String, String)>;

/// The key of a stage's jobs: equal keys have read the same, so their results are the same.
pub fn key(run: &str, stage: &str, shared: &Shared) -> String {
    let parts: String = shared.iter().map(|(name, digest)| format!("{name} {digest}\n")).collect();
    sha256_hex(format!("{run}\n{stage}\n{parts}").as_bytes())
}

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
        work::folder(&self.run)?.join(below)
    }

    fn put(&self, below: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.store.put(&self.path(below)?, bytes, PutMode::Overwrite).map(drop)
    }

    fn get(&self, below: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.store.get(&self.path(below)?)?.map(|object| object.bytes))
    }

    /// Notes that the run is coordinated from a moment on: what it leaves is nobody's afterwards.
    ///
    /// # Errors
    /// What the store refuses.
    pub fn begin(&self, at: UtcMs) -> Result<(), StoreError> {
        work::begin(&*self.store, &self.run, at)
    }

    /// Leaves a part under the hash of its bytes.
    ///
    /// # Errors
    /// What the store refuses.
    pub fn leave_part(&self, digest: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.put(&format!("parts/{digest}"), bytes)
    }

    /// The part with this hash, if it was left.
    ///
    /// # Errors
    /// What the store refuses.
    pub fn part(&self, digest: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.get(&format!("parts/{digest}"))
    }

    /// Leaves what the jobs under a key may know.
    ///
    /// # Errors
    /// What the store refuses.
    pub fn leave_shared(&self, key: &str, shared: &Shared) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(shared).unwrap_or_default();
        self.put(&format!("keys/{key}"), &bytes)
    }

    /// What the jobs under a key may know; `None` where nobody has left it, or not whole.
    ///
    /// # Errors
    /// What the store refuses.
    pub fn shared(&self, key: &str) -> Result<Option<Shared>, StoreError> {
        let found = self.get(&format!("keys/{key}"))?;
        Ok(found.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    /// Leaves the result of a job.
    ///
    /// # Errors
    /// What the store refuses.
    pub fn leave_result(&self, key: &str, item: usize, bytes: &[u8]) -> Result<(), StoreError> {
        self.put(&format!("results/{key}/{item}"), bytes)
    }

    /// The result of a job, if it was left.
    ///
    /// # Errors
    /// What the store refuses.
    pub fn result(&self, key: &str, item: usize) -> Result<Option<Vec<u8>>, StoreError> {
        self.get(&format!("results/{key}/{item}"))
    }

    /// Removes everything of the run.
    ///
    /// # Errors
    /// What the store refuses.
    pub fn clear(&self) -> Result<(), StoreError> {
        let folder = work::folder(&self.run)?;
        let (dates, rest): (Vec<_>, Vec<_>) =
            self.store.list(Some(&folder))?.into_iter().partition(|entry| entry.path.name() == work::BEGUN);
        rest.iter().chain(&dates).try_for_each(|entry| self.store.delete(&entry.path))
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

/// A store's refusal as the end of a whole run.
pub(super) fn broken(error: StoreError) -> JobsError {
    JobsError { code: error.code(), text: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use huracan_store::MemoryStore;

    #[test]
    fn whatever_is_left_is_known_for_its_own_and_goes_when_the_run_is_over() {
        let store = Arc::new(MemoryStore::default());
        let id = huracan_store::run_id(UtcMs(0), b"inputs");
        let (_, run) = id.split_once('-').unwrap();
        let vault = Vault::new(store.clone(), run);
        vault.begin(UtcMs(1)).unwrap();
        vault.leave_part("ab", b"part").unwrap();
        vault.leave_shared("cd", &Vec::new()).unwrap();
        vault.leave_result("cd", 0, b"result").unwrap();
        vault.leave("tail-0", b"column").unwrap();
        let left = store.list(None).unwrap();
        assert_eq!(left.len(), 5);
        let folder = work::folder(run).unwrap();
        assert!(left.iter().all(|entry| work::folder_of(&entry.path).as_ref() == Some(&folder)), "{left:?}");
        assert_eq!(work::begun(&*store, &folder).unwrap(), Some(UtcMs(1)));
        vault.clear().unwrap();
        assert_eq!(store.list(None).unwrap(), []);
    }
}
