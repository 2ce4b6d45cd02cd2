//! A store in memory: the second implementation the contract runs on, and the one tests use.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Result, StoreError};
use crate::path::StorePath;
use crate::run_lock::{Claim, RunLock, RunOwner};
use crate::store::{Entry, Object, PutMode, Revision, Store};

/// Objects in a map. Clones share it, as two processes share a folder.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    objects: Arc<Mutex<BTreeMap<StorePath, Vec<u8>>>>,
    holder: Arc<Mutex<Option<String>>>,
}

/// Frees the run lock when dropped.
struct Held(Arc<Mutex<Option<String>>>);

impl Claim for Held {
    fn still_held(&self) -> bool {
        true
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        *lock(&self.0) = None;
    }
}

/// No operation leaves the map half changed, so a poisoned lock is as good as a clean one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether `mode` permits a put over `found`.
///
/// # Errors
/// `AlreadyExists` or `Stale`.
pub(crate) fn permit(path: &StorePath, mode: &PutMode, found: Option<&Revision>) -> Result<()> {
    match (mode, found) {
        (PutMode::Overwrite, _) | (PutMode::Create, None) => Ok(()),
        (PutMode::Create, Some(_)) => Err(StoreError::AlreadyExists { path: path.to_string() }),
        (PutMode::IfRevision(expected), Some(found)) if expected == found => Ok(()),
        (PutMode::IfRevision(expected), found) => Err(StoreError::Stale {
            path: path.to_string(),
            expected: expected.to_string(),
            found: found.map_or("none".to_owned(), Revision::to_string),
        }),
    }
}

impl Store for MemoryStore {
    fn get(&self, path: &StorePath) -> Result<Option<Object>> {
        let objects = lock(&self.objects);
        Ok(objects.get(path).map(|bytes| Object { bytes: bytes.clone(), revision: Revision::of(bytes) }))
    }

    fn put(&self, path: &StorePath, bytes: &[u8], mode: PutMode) -> Result<Revision> {
        let mut objects = lock(&self.objects);
        permit(path, &mode, objects.get(path).map(|found| Revision::of(found)).as_ref())?;
        objects.insert(path.clone(), bytes.to_vec());
        Ok(Revision::of(bytes))
    }

    fn list(&self, folder: Option<&StorePath>) -> Result<Vec<Entry>> {
        let objects = lock(&self.objects);
        let below = objects.iter().filter(|(path, _)| path.is_below(folder));
        let entry = |(path, bytes): (&StorePath, &Vec<u8>)| Entry {
            path: path.clone(),
            size_bytes: bytes.len() as u64,
            revision: None,
        };
        Ok(below.map(entry).collect())
    }

    fn delete(&self, path: &StorePath) -> Result<()> {
        lock(&self.objects).remove(path);
        Ok(())
    }

    fn lock_run(&self, owner: &RunOwner) -> Result<RunLock> {
        let mut holder = lock(&self.holder);
        if let Some(holder) = holder.as_ref() {
            return Err(StoreError::Locked { holder: holder.clone() });
        }
        *holder = Some(owner.to_string());
        Ok(RunLock::new(Held(Arc::clone(&self.holder))))
    }
}
