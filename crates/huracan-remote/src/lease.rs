//! The run lock of a store that cannot see processes die: a lease.
//!
//! The lease is an object that changes by compare-and-swap only. Its holder renews it from a thread;
//! another may take it once the server's own clock says that it was not renewed for its whole term.
//! The clock of no machine of ours is read, so that one which is wrong breaks no lease: the taker
//! compares two times of the server, and the holder counts elapsed time from before its last renewal
//! was sent, so it stops believing in the lease before anybody else may take it.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use huracan_core::words::UtcMs;
use huracan_store::{
    Claim, Object, PutMode, Result, Revision, RunLock, RunOwner, Store, StoreError, StorePath,
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
            match store.put(&path, &document.bytes(), PutMode::IfRevision(revision.clone())) {
                Ok(renewed) => {
                    (revision, wait) = (renewed, terms.term / 3);
                    *watched.confirmed() = Some(asked);
                }
                Err(error) if error.is_transient() => {
                    tracing::warn!(%path, %error, "the lease of this run was not renewed, trying again");
                    wait = terms.term / 20;
                }
                // A renewal before this one may have arrived after all, only its answer did not.
                Err(StoreError::Stale { .. }) if let Some(found) = ours(&*store, &path, &document.claim) => {
                    (revision, wait) = (found, Duration::ZERO);
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

/// The state of a lease that is still this claim's, if it can be read.
fn ours(store: &dyn Store, path: &StorePath, claim: &str) -> Option<Revision> {
    let found = store.get(path).ok()??;
    let document = read(&found.bytes)?;
    (document.claim == claim).then_some(found.revision)
}

/// A text that no other claim has. The standard library seeds its hash tables from the system's
/// randomness; that is enough here, where nobody guesses.
fn unique() -> String {
    let random = || RandomState::new().hash_one(std::process::id());
    format!("{:016x}{:016x}", random(), random())
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
