//! What is known to be at which path, so that bytes which are there already are not sent again.
//!
//! Knowledge comes from a listing, a read or our own write, and is used only where it cannot be
//! older than a write of ours: a write takes it away when it begins and gives the new state back when
//! it ends, unless another write of the same path began meanwhile.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use huracan_store::StorePath;

/// The state of one object as last seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Known {
    pub(super) path: StorePath,
    pub(super) rev: String,
    pub(super) content_hash: String,
}

/// A write that has begun.
pub(super) struct Writing {
    generation: u64,
    /// What was known of this very path before.
    pub(super) before: Option<Known>,
}

#[derive(Default)]
struct Slot {
    known: Option<Known>,
    /// No knowledge from before this moment counts.
    since: Option<Instant>,
    generation: u64,
    writers: usize,
}

/// Knowledge by path in lower case, as Dropbox tells paths apart.
#[derive(Default)]
pub(super) struct Index {
    slots: Mutex<BTreeMap<String, Slot>>,
}

fn key(path: &StorePath) -> String {
    path.as_str().to_ascii_lowercase()
}

impl Index {
    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<String, Slot>) -> T) -> T {
        work(&mut self.slots.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is known of this very path, if it was seen less than `trust` ago.
    pub(super) fn get(&self, path: &StorePath, trust: Duration) -> Option<Known> {
        self.with(|slots| {
            let slot = slots.get(&key(path))?;
            let fresh = slot.writers == 0 && slot.since.is_some_and(|since| since.elapsed() <= trust);
            slot.known.clone().filter(|known| fresh && known.path == *path)
        })
    }

    /// Whether anything is known of this path or one that differs only in case.
    pub(super) fn has(&self, path: &StorePath) -> bool {
        self.with(|slots| slots.get(&key(path)).is_some_and(|slot| slot.known.is_some()))
    }

    /// A write or removal begins.
    pub(super) fn begin(&self, path: &StorePath) -> Writing {
        self.with(|slots| {
            let slot = slots.entry(key(path)).or_default();
            slot.generation += 1;
            slot.writers += 1;
            let before = slot.known.take().filter(|known| known.path == *path);
            Writing { generation: slot.generation, before }
        })
    }

    /// It ended, with this state where that is certain.
    pub(super) fn end(&self, path: &StorePath, writing: &Writing, now: Option<Known>) {
        self.with(|slots| {
            let slot = slots.entry(key(path)).or_default();
            slot.writers = slot.writers.saturating_sub(1);
            slot.since = Some(Instant::now());
            let alone = slot.writers == 0 && slot.generation == writing.generation;
            slot.known = now.filter(|_| alone);
        });
    }

    /// A read that was asked for at `asked` saw this.
    pub(super) fn saw(&self, known: Known, asked: Instant) {
        self.with(|slots| {
            let slot = slots.entry(key(&known.path)).or_default();
            if slot.writers == 0 && slot.since.is_none_or(|since| since <= asked) {
                (slot.known, slot.since) = (Some(known), Some(asked));
            }
        });
    }

    /// A listing that was asked for at `asked` saw these below `folder`, and nothing else.
    pub(super) fn saw_all(&self, folder: Option<&StorePath>, listed: Vec<Known>, asked: Instant) {
        self.with(|slots| {
            for slot in slots.values_mut() {
                let older = slot.writers == 0 && slot.since.is_none_or(|since| since <= asked);
                if older && slot.known.as_ref().is_some_and(|known| known.path.is_below(folder)) {
                    slot.known = None;
                }
            }
        });
        listed.into_iter().for_each(|known| self.saw(known, asked));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    fn path(text: &str) -> StorePath {
        StorePath::new(text).unwrap()
    }

    fn known(text: &str, rev: &str) -> Known {
        Known { path: path(text), rev: rev.into(), content_hash: format!("hash of {rev}") }
    }

    fn rev(index: &Index, text: &str) -> Option<String> {
        index.get(&path(text), LONG).map(|known| known.rev)
    }

    #[test]
    fn knowledge_older_than_our_own_write_does_not_count() {
        let index = Index::default();
        let asked = Instant::now();
        let writing = index.begin(&path("a"));
        index.saw(known("a", "old"), asked);
        assert_eq!(rev(&index, "a"), None, "nothing is known while a write is under way");
        index.end(&path("a"), &writing, Some(known("a", "new")));
        index.saw(known("a", "old"), asked);
        assert_eq!(rev(&index, "a").as_deref(), Some("new"));
        index.saw(known("a", "newer"), Instant::now());
        assert_eq!(rev(&index, "a").as_deref(), Some("newer"));
        assert_eq!(index.get(&path("a"), Duration::ZERO), None, "knowledge ages");
    }

    #[test]
    fn of_two_writes_at_once_neither_is_believed() {
        let index = Index::default();
        let (one, two) = (index.begin(&path("a")), index.begin(&path("a")));
        index.end(&path("a"), &two, Some(known("a", "2")));
        assert_eq!(rev(&index, "a"), None);
        index.end(&path("a"), &one, Some(known("a", "1")));
        assert_eq!(rev(&index, "a"), None);
    }

    #[test]
    fn a_listing_takes_away_what_it_did_not_see() {
        let index = Index::default();
        for text in ["f/a", "f/b", "g"] {
            index.saw(known(text, "1"), Instant::now());
        }
        index.saw_all(Some(&path("f")), vec![known("f/b", "2")], Instant::now());
        assert_eq!(
            ["f/a", "f/b", "g"].map(|text| rev(&index, text)),
            [None, Some("2".into()), Some("1".into())]
        );
        assert!(index.has(&path("F/B")) && rev(&index, "F/B").is_none(), "another case is another path");
    }
}
