//! A store that counts what is asked of it.

use huracan_store::{Entry, Object, PutMode, Result, Revision, RunLock, RunOwner, Store, StorePath};
use std::sync::atomic::{AtomicU64, Ordering};

/// What is asked of a store, in the order of [`RequestCounts::by_verb`].
pub const VERBS: [&str; 5] = ["get", "put", "list", "delete", "lock"];

/// Requests and those of them that were refused, a pair for each of [`VERBS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestCounts {
    /// All and refused.
    pub by_verb: [(u64, u64); VERBS.len()],
}

/// Passes everything on and counts it. Losing a compare-and-swap counts as refused.
#[derive(Debug)]
pub struct CountedStore<S> {
    inner: S,
    made: [AtomicU64; VERBS.len()],
    refused: [AtomicU64; VERBS.len()],
}

impl<S: Store> CountedStore<S> {
    /// Counts from zero.
    pub fn new(inner: S) -> CountedStore<S> {
        CountedStore { inner, made: Default::default(), refused: Default::default() }
    }

    /// The store itself.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// What was asked so far.
    pub fn counts(&self) -> RequestCounts {
        let at = |i: usize| (self.made[i].load(Ordering::Relaxed), self.refused[i].load(Ordering::Relaxed));
        RequestCounts { by_verb: std::array::from_fn(at) }
    }

    fn count<T>(&self, verb: usize, result: Result<T>) -> Result<T> {
        self.made[verb].fetch_add(1, Ordering::Relaxed);
        self.refused[verb].fetch_add(u64::from(result.is_err()), Ordering::Relaxed);
        result
    }
}

impl<S: Store> Store for CountedStore<S> {
    fn get(&self, path: &StorePath) -> Result<Option<Object>> {
        self.count(0, self.inner.get(path))
    }

    fn put(&self, path: &StorePath, bytes: &[u8], mode: PutMode) -> Result<Revision> {
        self.count(1, self.inner.put(path, bytes, mode))
    }

    fn list(&self, folder: Option<&StorePath>) -> Result<Vec<Entry>> {
        self.count(2, self.inner.list(folder))
    }

    fn delete(&self, path: &StorePath) -> Result<()> {
        self.count(3, self.inner.delete(path))
    }

    fn lock_run(&self, owner: &RunOwner) -> Result<RunLock> {
        self.count(4, self.inner.lock_run(owner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use huracan_store::MemoryStore;

    #[test]
    fn every_verb_is_counted_and_passed_on() {
        let store = CountedStore::new(MemoryStore::default());
        let path = StorePath::new("a/b").unwrap();
        store.put(&path, b"x", PutMode::Create).unwrap();
        assert!(store.put(&path, b"y", PutMode::Create).is_err());
        assert_eq!(store.get(&path).unwrap().unwrap().bytes, b"x");
        assert_eq!(store.list(None).unwrap().len(), 1);
        store.delete(&path).unwrap();
        assert!(store.inner().get(&path).unwrap().is_none());
        assert_eq!(store.counts().by_verb, [(1, 0), (2, 1), (1, 0), (1, 0), (0, 0)]);
    }
}
