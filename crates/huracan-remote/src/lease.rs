//! The run lock of a store that cannot see processes die: a lease.
//!
//! The lease is an object that changes by compare-and-swap only. Its holder renews it from a thread;
//! another may take it once the server's own clock says that it was not renewed for its whole term.
//! The clock of no machine of ours is read, so that one which is wrong breaks no lease: the taker
//! compares two times of the server, and the holder counts elapsed time from before its last renewal
//! was sent, so it stops believing in the lease before anybody else may take it.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use huracan_core::words::UtcMs;
use huracan_store::{
    Claim, Object, PutMode, Result, Revision, RunLock, RunOwner, Store, StoreError, StorePath, unique,
};
use serde::{Deserialize, Serialize};

/// Where the lease of a run is kept.
pub const RUN_LEASE: &str = "locks/run.json";

const SCHEMA: &str = "lease/1";
/// Servers tell times in whole seconds: two of them may together be wrong by this much.
const CLOCK_STEP: Duration = Duration::from_secs(2);
/// How long giving a lease back may keep its holder; what was not given back expires.
const RELEASE_WAIT_MAX: Duration = Duration::from_secs(10);

/// An object with its age, both times by the server's clock.
#[derive(Clone, Debug)]
pub struct Dated {
    /// The object.
    pub object: Object,
    /// When it was last written.
    pub modified: UtcMs,
    /// When it was read.
    pub now: UtcMs,
}

/// A store whose server says what time it is.
pub trait ServerClock: Store {
    /// The object at `path` with its times, or `None` when there is none.
    ///
    /// # Errors
    /// As [`Store::get`], and when the server tells no times.
    fn get_dated(&self, path: &StorePath) -> Result<Option<Dated>>;
}

/// How long a lease lasts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeaseTerms {
    /// Without a renewal it is lost after this long; it is renewed three times as often.
    pub term: Duration,
}

impl Default for LeaseTerms {
    fn default() -> LeaseTerms {
        LeaseTerms { term: Duration::from_secs(60) }
    }
}

/// The lease as written.
#[derive(Serialize, Deserialize)]
struct Document {
    schema: String,
    /// Who has it, for people; `None` when it was given back.
    holder: Option<String>,
    /// Tells two claims of one holder apart.
    claim: String,
    /// Counts renewals, so that no two states of a lease have the same bytes (and ETag).
    renewals: u64,
    term_ms: u64,
}

impl Document {
    fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers")
    }
}

/// Takes the lease at `path` for `owner`, and renews it until the lock is dropped.
///
/// # Errors
/// `Locked` with the holder's name when another has it; never waits for it. Otherwise as
/// [`Store::put`].
pub fn take<S: ServerClock + 'static>(
    store: Arc<S>,
    path: &StorePath,
    owner: &RunOwner,
    terms: LeaseTerms,
) -> Result<RunLock> {
    let mode = match store.get_dated(path)? {
        None => PutMode::Create,
        Some(found) => PutMode::IfRevision(free(found, terms)?),
    };
    let mut document = Document {
        schema: SCHEMA.to_owned(),
        holder: Some(owner.to_string()),
        claim: unique(),
        renewals: 0,
        term_ms: terms.term.as_millis() as u64,
    };
    let asked = Instant::now();
    let revision = match store.put(path, &document.bytes(), mode) {
        Ok(revision) => revision,
        Err(StoreError::AlreadyExists { .. } | StoreError::Stale { .. }) => {
            let found = store.get(path)?.and_then(|found| read(&found.bytes)).and_then(|found| found.holder);
            return Err(StoreError::Locked { holder: found.unwrap_or_else(|| NAMELESS.to_owned()) });
        }
        Err(error) => return Err(error),
    };
    let state = Arc::new(State { term: terms.term, confirmed: Mutex::new(Some(asked)) });
    let (stop, stopped) = mpsc::channel::<()>();
    let (released, release) = mpsc::channel::<()>();
    let (path, watched) = (path.clone(), Arc::clone(&state));
    let renew = move || {
        let mut revision = revision;
        let mut wait = terms.term / 3;
        while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(wait) {
            if !watched.still_held() {
                tracing::error!(%path, "the lease of this run ran out before it could be renewed");
                break;
            }
            document.renewals += 1;
            let asked = Instant::now();
            match renewal(&*store, &path, &document, &revision) {
                Ok(renewed) => {
                    (revision, wait) = (renewed, terms.term / 3);
                    *watched.confirmed() = Some(asked);
                }
                Err(error) if error.is_transient() => {
                    tracing::warn!(%path, %error, "the lease of this run was not renewed, trying again");
                    wait = terms.term / 20;
                }
                Err(error) => {
                    tracing::error!(%path, %error, "the lease of this run is lost");
                    *watched.confirmed() = None;
                    return;
                }
            }
        }
        *watched.confirmed() = None;
        document.holder = None;
        if let Err(error) = store.put(&path, &document.bytes(), PutMode::IfRevision(revision)) {
            tracing::warn!(%path, %error, "the lease of this run was not given back, it will expire");
        }
        // Nobody waits any more after a lapse or a slow release.
        let _ = released.send(());
    };
    std::thread::Builder::new().name("lease".to_owned()).spawn(renew).map_err(|source| StoreError::Io {
        path: RUN_LEASE.to_owned(),
        action: "start the thread that renews it",
        source,
    })?;
    Ok(RunLock::new(Lease { state, stop: Some(stop), release: Mutex::new(release) }))
}

const NAMELESS: &str = "it has not said who it is";

fn read(bytes: &[u8]) -> Option<Document> {
    serde_json::from_slice(bytes).ok()
}

/// The revision to swap from, if the lease was given back or has expired. One that cannot be read is
/// somebody's all the same, for as long as we would hold it.
fn free(found: Dated, terms: LeaseTerms) -> Result<Revision> {
    let document = read(&found.object.bytes);
    let term_ms = document.as_ref().map_or(terms.term.as_millis() as i64, |d| d.term_ms as i64);
    let age_ms = found.now.0 - found.modified.0;
    let given_back = document.as_ref().is_some_and(|d| d.holder.is_none());
    if given_back || age_ms > term_ms.saturating_add(CLOCK_STEP.as_millis() as i64) {
        return Ok(found.object.revision);
    }
    let holder = document.and_then(|d| d.holder).unwrap_or_else(|| NAMELESS.to_owned());
    Err(StoreError::Locked { holder })
}

/// Renews a lease from `revision`, or from the state that an earlier renewal left whose answer was lost.
fn renewal(
    store: &dyn Store,
    path: &StorePath,
    document: &Document,
    revision: &Revision,
) -> Result<Revision> {
    let swap = |from: &Revision| store.put(path, &document.bytes(), PutMode::IfRevision(from.clone()));
    match swap(revision) {
        Err(stale @ StoreError::Stale { .. }) => {
            let found = store.get(path)?;
            match found.filter(|found| read(&found.bytes).is_some_and(|d| d.claim == document.claim)) {
                Some(ours) => swap(&ours.revision),
                None => Err(stale),
            }
        }
        answer => answer,
    }
}

/// What the holder and the renewing thread share.
struct State {
    term: Duration,
    /// When the last renewal that succeeded was sent; `None` once the lease is lost or given back.
    confirmed: Mutex<Option<Instant>>,
}

impl State {
    fn confirmed(&self) -> MutexGuard<'_, Option<Instant>> {
        self.confirmed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn still_held(&self) -> bool {
        self.confirmed().is_some_and(|asked| asked.elapsed() < self.term)
    }
}

struct Lease {
    state: Arc<State>,
    stop: Option<Sender<()>>,
    release: Mutex<mpsc::Receiver<()>>,
}

impl Claim for Lease {
    fn still_held(&self) -> bool {
        self.state.still_held()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.stop = None;
        let release = self.release.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Time-out or a thread that has ended: either way the lease goes by itself.
        let _ = release.recv_timeout(RELEASE_WAIT_MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

    use huracan_store::{Entry, MemoryStore};

    use super::*;

    /// A store whose server's clock stands still unless it is moved.
    #[derive(Default)]
    struct Clocked {
        objects: MemoryStore,
        written: Mutex<BTreeMap<StorePath, i64>>,
        now_ms: AtomicI64,
    }

    impl Store for Clocked {
        fn get(&self, path: &StorePath) -> Result<Option<Object>> {
            self.objects.get(path)
        }
        fn put(&self, path: &StorePath, bytes: &[u8], mode: PutMode) -> Result<Revision> {
            let mut written = self.written.lock().unwrap();
            let revision = self.objects.put(path, bytes, mode)?;
            written.insert(path.clone(), self.now_ms.load(Ordering::Relaxed));
            Ok(revision)
        }
        fn list(&self, folder: Option<&StorePath>) -> Result<Vec<Entry>> {
            self.objects.list(folder)
        }
        fn delete(&self, path: &StorePath) -> Result<()> {
            self.objects.delete(path)
        }
        fn lock_run(&self, owner: &RunOwner) -> Result<RunLock> {
            self.objects.lock_run(owner)
        }
    }

    impl ServerClock for Clocked {
        fn get_dated(&self, path: &StorePath) -> Result<Option<Dated>> {
            let written = self.written.lock().unwrap();
            let Some(object) = self.get(path)? else { return Ok(None) };
            let now = UtcMs(self.now_ms.load(Ordering::Relaxed));
            Ok(Some(Dated { object, modified: UtcMs(written[path]), now }))
        }
    }

    fn lease_path() -> StorePath {
        StorePath::new(RUN_LEASE).unwrap()
    }

    /// Takes the lease for a minute, in which no test renews it.
    fn claim(store: &Arc<Clocked>, pid: u32) -> Result<RunLock> {
        let owner = RunOwner { purpose: "train".into(), pid, host: "box".into(), since: UtcMs(0) };
        take(Arc::clone(store), &lease_path(), &owner, LeaseTerms::default())
    }

    #[test]
    fn a_lease_expires_by_the_servers_clock_alone() {
        let store = Arc::new(Clocked::default());
        let first = claim(&store, 7).unwrap();
        for now_ms in [0, 60_000, 62_000, -1_000_000] {
            store.now_ms.store(now_ms, Ordering::Relaxed);
            let error = claim(&store, 8).unwrap_err();
            assert!(error.to_string().contains("pid 7 on box"), "{error}");
        }
        store.now_ms.store(62_001, Ordering::Relaxed);
        let second = claim(&store, 8).unwrap();
        drop(first);
        assert!(claim(&store, 9).unwrap_err().to_string().contains("pid 8"), "the late release did nothing");
        drop(second);
        drop(claim(&store, 9).unwrap());
    }

    #[test]
    fn a_lease_nobody_can_read_is_somebodys_until_it_is_old() {
        let store = Arc::new(Clocked::default());
        store.put(&lease_path(), b"half a docu", PutMode::Create).unwrap();
        assert!(claim(&store, 7).unwrap_err().to_string().contains("not said who it is"));
        store.now_ms.store(62_001, Ordering::Relaxed);
        assert!(claim(&store, 7).unwrap().still_held());
    }

    #[test]
    fn of_many_takers_one_has_it() {
        let store = Arc::new(Clocked::default());
        for round in 0..20 {
            let wins = AtomicUsize::new(0);
            let all_asked = std::sync::Barrier::new(4);
            std::thread::scope(|scope| {
                for pid in 0..4 {
                    let (store, wins, all_asked) = (&store, &wins, &all_asked);
                    scope.spawn(move || {
                        let claimed = claim(store, pid);
                        wins.fetch_add(usize::from(claimed.is_ok()), Ordering::Relaxed);
                        all_asked.wait();
                    });
                }
            });
            assert_eq!(wins.into_inner(), 1, "round {round}");
        }
    }

    /// A holder that hears nothing for its whole term stops believing, whoever else is there.
    #[test]
    fn a_renewal_that_never_succeeds_ends_the_claim() {
        let store = Arc::new(Clocked::default());
        let owner = RunOwner { purpose: "train".into(), pid: 7, host: "box".into(), since: UtcMs(0) };
        let terms = LeaseTerms { term: Duration::from_millis(150) };
        let held = take(Arc::clone(&store), &lease_path(), &owner, terms).unwrap();
        assert!(held.still_held());
        store.put(&lease_path(), b"somebody else's", PutMode::Overwrite).unwrap();
        let started = Instant::now();
        while held.still_held() {
            assert!(started.elapsed() < Duration::from_secs(10));
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(held);
        assert_eq!(store.get(&lease_path()).unwrap().unwrap().bytes, b"somebody else's");
    }
}
