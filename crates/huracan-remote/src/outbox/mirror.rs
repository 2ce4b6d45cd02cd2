//! A local folder and its remote, and what pulling and pushing have in common.

use super::error::{OutboxError, Result};
use super::journal::Journal;
use super::kind::Kind;
use huracan_store::{LocalStore, Object, RunOwner, Store, StoreError, StorePath};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Requests under way at once, where a remote answers one at a time.
const REQUESTS_AT_ONCE: usize = 8;

/// One step of long work, for whoever watches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step<'a> {
    /// What is being done: a stable word.
    pub stage: &'static str,
    /// Steps that are done.
    pub done: usize,
    /// Steps in all.
    pub total: usize,
    /// The latest file or folder.
    pub detail: &'a str,
}

/// Who watches: told of every step, and asked whether to go on.
pub type Watch<'a> = dyn Fn(Step<'_>) -> bool + Sync + 'a;

/// A local folder and the remote store it belongs to.
pub struct Mirror<'a> {
    pub(super) local: &'a LocalStore,
    pub(super) remote: &'a dyn Store,
    pub(super) journal: Journal,
    pub(super) owner: RunOwner,
    pub(super) watch: &'a Watch<'a>,
    requests_at_once: usize,
}

impl<'a> Mirror<'a> {
    /// Opens the journal of `local`, which belongs to the remote named by `url`. `owner` is who claims
    /// both stores while something is carried; `watch` is told of every step and says whether to go on.
    ///
    /// # Errors
    /// `OtherRemote` when the folder's journal names another one, `Store` when it cannot be opened.
    pub fn open(
        local: &'a LocalStore,
        remote: &'a dyn Store,
        url: &str,
        owner: RunOwner,
        watch: &'a Watch<'a>,
    ) -> Result<Mirror<'a>> {
        let journal = Journal::open(local, url)?;
        Ok(Mirror { local, remote, journal, owner, watch, requests_at_once: REQUESTS_AT_ONCE })
    }

    /// The same with another number of requests under way at once; 1 makes their order certain.
    pub fn requests_at_once(mut self, requests: usize) -> Mirror<'a> {
        self.requests_at_once = requests.max(1);
        self
    }

    /// Does `act` for every item, some at once; results in the items' order.
    ///
    /// # Errors
    /// The first error; what had not begun by then is not begun.
    pub(super) fn each<T: Sync, R: Send>(
        &self,
        stage: &'static str,
        items: &[T],
        act: impl Fn(&T) -> Result<R> + Sync,
    ) -> Result<Vec<R>> {
        let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let failed = Mutex::new(None);
        let results: Mutex<BTreeMap<usize, R>> = Mutex::default();
        let broken = || failed.lock().unwrap_or_else(PoisonError::into_inner);
        std::thread::scope(|scope| {
            for _ in 0..self.requests_at_once.min(items.len()) {
                scope.spawn(|| {
                    while broken().is_none() {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        let Some(item) = items.get(n) else { break };
                        match act(item) {
                            Ok(result) => {
                                results.lock().unwrap_or_else(PoisonError::into_inner).insert(n, result);
                                let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                                if !(self.watch)(Step { stage, done, total: items.len(), detail: "" }) {
                                    broken().get_or_insert(OutboxError::Interrupted);
                                }
                            }
                            Err(error) => {
                                broken().get_or_insert(error);
                            }
                        }
                    }
                });
            }
        });
        match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(results.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()),
        }
    }

    /// What the remote has at these paths.
    pub(super) fn fetch(
        &self,
        stage: &'static str,
        paths: &[StorePath],
    ) -> Result<BTreeMap<StorePath, Option<Object>>> {
        let found = self.each(stage, paths, |path| Ok(self.remote.get(path)?))?;
        Ok(paths.iter().cloned().zip(found).collect())
    }

    /// Where nothing is known, finds out by content what both sides agree on: a listing, and what is on
    /// both sides in the same size.
    pub(super) fn rebuild(&mut self) -> Result<()> {
        if !self.journal.is_new() {
            return Ok(());
        }
        let sizes: BTreeMap<StorePath, u64> =
            self.remote.list(None)?.into_iter().map(|entry| (entry.path, entry.size_bytes)).collect();
        let ours = self.local.list(None)?.into_iter();
        let likely: Vec<StorePath> = ours
            .filter(|entry| {
                Kind::of(&entry.path).is_some() && sizes.get(&entry.path) == Some(&entry.size_bytes)
            })
            .map(|entry| entry.path)
            .collect();
        let same = self.each("compare", &likely, |path| {
            let (ours, theirs) = (self.local.get(path)?, self.remote.get(path)?);
            Ok(ours.zip(theirs).filter(|(ours, theirs)| ours.bytes == theirs.bytes).map(|(_, theirs)| theirs))
        })?;
        for (path, object) in likely.iter().zip(same) {
            if let Some(object) = object {
                self.journal.note(path, &object.bytes, &object.revision);
            }
        }
        self.journal.save()
    }
}

/// Whether a put was refused because of what is there, and not because the store cannot be had.
pub(super) fn is_refusal(error: &StoreError) -> bool {
    matches!(error, StoreError::AlreadyExists { .. } | StoreError::Stale { .. })
}

/// Whether `start` is how `whole` begins, up to the end of a line.
pub(super) fn begins_with_lines(whole: &[u8], start: &[u8]) -> bool {
    whole.starts_with(start) && (start.is_empty() || start.ends_with(b"\n"))
}
