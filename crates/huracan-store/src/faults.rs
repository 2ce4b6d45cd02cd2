//! Stores that fail on purpose: wrappers for tests of whoever uses a store. Which operation fails is
//! decided by its number and a seed alone, so a failing test fails again.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::error::{Result, StoreError};
use crate::path::StorePath;
use crate::run_lock::{RunLock, RunOwner};
use crate::store::{Entry, Object, PutMode, Revision, Store, Usage};

/// Where in the fatal operation the crash comes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Crash {
    /// Before it does anything.
    Before,
    /// After it took effect, before the caller heard of it.
    After,
}

/// A store that dies at one operation and stays dead.
pub struct Faulty<S> {
    inner: S,
    done: AtomicUsize,
    fatal: usize,
    crash: Crash,
}

impl<S: Store> Faulty<S> {
    /// A wrapper that passes everything on.
    pub fn never(inner: S) -> Faulty<S> {
        Faulty { inner, done: AtomicUsize::new(0), fatal: usize::MAX, crash: Crash::Before }
    }

    /// A wrapper that dies at its `fatal`-th operation.
    pub fn dying(inner: S, fatal: usize, crash: Crash) -> Faulty<S> {
        Faulty { inner, done: AtomicUsize::new(0), fatal, crash }
    }

    /// The store behind it.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Operations so far.
    pub fn operations(&self) -> usize {
        self.done.load(Ordering::Relaxed)
    }

    fn step<T>(&self, act: impl FnOnce() -> Result<T>) -> Result<T> {
        let number = self.done.fetch_add(1, Ordering::Relaxed);
        let dead = || StoreError::Io {
            path: "the store".into(),
            action: "go on",
            source: std::io::Error::other("the process died"),
        };
        match number.cmp(&self.fatal) {
            std::cmp::Ordering::Less => act(),
            std::cmp::Ordering::Equal if self.crash == Crash::After => act().and(Err(dead())),
            _ => Err(dead()),
        }
    }
}

impl<S: Store> Store for Faulty<S> {
    fn get(&self, path: &StorePath) -> Result<Option<Object>> {
        self.step(|| self.inner.get(path))
    }
    fn put(&self, path: &StorePath, bytes: &[u8], mode: PutMode) -> Result<Revision> {
        self.step(|| self.inner.put(path, bytes, mode))
    }
    fn list(&self, folder: Option<&StorePath>) -> Result<Vec<Entry>> {
        self.step(|| self.inner.list(folder))
    }
    fn delete(&self, path: &StorePath) -> Result<()> {
        self.step(|| self.inner.delete(path))
    }
    fn lock_run(&self, owner: &RunOwner) -> Result<RunLock> {
        self.step(|| self.inner.lock_run(owner))
    }
    fn usage(&self) -> Option<Usage> {
        self.inner.usage()
    }
}

/// A way in which one operation of a [`Flaky`] store fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// `Unavailable`, and nothing happened.
    AwayBefore,
    /// `Unavailable`, but it took effect: the answer was lost.
    AwayAfter,
    /// `NoSpace`; only writes fail so, other operations pass.
    NoSpace,
    /// `Io`, as a disk that is dying says.
    Io,
}

/// A store of which some operations fail. The next operation is answered as if nothing had been.
pub struct Flaky<S> {
    inner: S,
    seed: u64,
    per_mille: u64,
    faults: Vec<Fault>,
    done: AtomicUsize,
    failed: AtomicUsize,
}

impl<S: Store> Flaky<S> {
    /// A wrapper that fails `per_mille` of a thousand operations in one of the ways of `faults`.
    pub fn new(inner: S, seed: u64, per_mille: u64, faults: impl Into<Vec<Fault>>) -> Flaky<S> {
        let (done, failed) = Default::default();
        Flaky { inner, seed, per_mille, faults: faults.into(), done, failed }
    }

    /// The store behind it.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Operations that failed so far.
    pub fn failures(&self) -> usize {
        self.failed.load(Ordering::Relaxed)
    }

    fn step<T>(&self, path: &str, writes: bool, act: impl FnOnce() -> Result<T>) -> Result<T> {
        let number = self.done.fetch_add(1, Ordering::Relaxed);
        let dice = scrambled(self.seed ^ scrambled(number as u64));
        if dice % 1000 >= self.per_mille || self.faults.is_empty() {
            return act();
        }
        let fault = self.faults[(dice / 1000) as usize % self.faults.len()];
        let path = path.to_owned();
        let away = |path| StoreError::Unavailable { path, attempts: 1, reason: "a fault on purpose".into() };
        let error = match fault {
            Fault::NoSpace if !writes => return act(),
            Fault::AwayBefore => away(path),
            Fault::AwayAfter => match act() {
                Ok(_) => away(path),
                Err(error) => return Err(error),
            },
            Fault::NoSpace => StoreError::NoSpace { path, source: io::ErrorKind::StorageFull.into() },
            Fault::Io => {
                let source = io::Error::other("input/output error on purpose");
                StoreError::Io { path, action: "go on", source }
            }
        };
        self.failed.fetch_add(1, Ordering::Relaxed);
        Err(error)
    }
}

/// SplitMix64's finaliser: neighbouring numbers come out unrelated.
fn scrambled(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl<S: Store> Store for Flaky<S> {
    fn get(&self, path: &StorePath) -> Result<Option<Object>> {
        self.step(path.as_str(), false, || self.inner.get(path))
    }
    fn put(&self, path: &StorePath, bytes: &[u8], mode: PutMode) -> Result<Revision> {
        self.step(path.as_str(), true, || self.inner.put(path, bytes, mode))
    }
    fn list(&self, folder: Option<&StorePath>) -> Result<Vec<Entry>> {
        self.step(folder.map_or("the store", StorePath::as_str), false, || self.inner.list(folder))
    }
    fn delete(&self, path: &StorePath) -> Result<()> {
        self.step(path.as_str(), true, || self.inner.delete(path))
    }
    fn lock_run(&self, owner: &RunOwner) -> Result<RunLock> {
        self.step("the run lock", false, || self.inner.lock_run(owner))
    }
    fn usage(&self) -> Option<Usage> {
        self.inner.usage()
    }
}

/// A store that takes its time over every operation.
pub struct Slow<S> {
    inner: S,
    delay: Duration,
}

impl<S: Store> Slow<S> {
    /// A wrapper that waits `delay` before each operation.
    pub fn new(inner: S, delay: Duration) -> Slow<S> {
        Slow { inner, delay }
    }

    fn inner(&self) -> &S {
        std::thread::sleep(self.delay);
        &self.inner
    }
}

impl<S: Store> Store for Slow<S> {
    fn get(&self, path: &StorePath) -> Result<Option<Object>> {
        self.inner().get(path)
    }
    fn put(&self, path: &StorePath, bytes: &[u8], mode: PutMode) -> Result<Revision> {
        self.inner().put(path, bytes, mode)
    }
    fn list(&self, folder: Option<&StorePath>) -> Result<Vec<Entry>> {
        self.inner().list(folder)
    }
    fn delete(&self, path: &StorePath) -> Result<()> {
        self.inner().delete(path)
    }
    fn lock_run(&self, owner: &RunOwner) -> Result<RunLock> {
        self.inner().lock_run(owner)
    }
    fn usage(&self) -> Option<Usage> {
        self.inner.usage()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStore;

    fn outcomes(seed: u64, faults: &[Fault]) -> (Vec<&'static str>, usize, MemoryStore) {
        let store = Flaky::new(MemoryStore::default(), seed, 300, faults);
        let put = |n: usize| {
            let path = StorePath::new(format!("a/{n}")).unwrap();
            store.put(&path, b"x", PutMode::Create).map_or_else(|error| error.code(), |_| "done")
        };
        let codes = (0..200).map(put).collect();
        (codes, store.failures(), store.inner().clone())
    }

    #[test]
    fn the_same_seed_fails_at_the_same_operations() {
        let faults = [Fault::AwayBefore, Fault::AwayAfter, Fault::NoSpace, Fault::Io];
        let (codes, failures, _) = outcomes(7, &faults);
        assert_eq!((&codes, failures), (&outcomes(7, &faults).0, outcomes(7, &faults).1));
        assert_ne!(codes, outcomes(8, &faults).0);
        assert!((40..80).contains(&failures), "{failures} of 200 at 30 %");
        for code in ["done", "store_unavailable", "store_no_space", "store_io"] {
            assert!(codes.contains(&code), "{code}");
        }
    }

    #[test]
    fn a_lost_answer_took_effect_and_an_absent_store_did_nothing() {
        let (codes, failures, store) = outcomes(7, &[Fault::AwayAfter]);
        assert!(failures > 0 && codes.contains(&"store_unavailable"));
        assert_eq!(store.list(None).unwrap().len(), 200);
        let (_, failures, store) = outcomes(7, &[Fault::AwayBefore]);
        assert_eq!(store.list(None).unwrap().len(), 200 - failures);
    }
}
