//! The contract of [`Store`], one suite run over every implementation and every wrapper.
//!
//! [`holds_for`] panics with a sentence where a promise is broken, so it belongs into tests.

use std::sync::atomic::{AtomicUsize, Ordering};

use huracan_core::words::UtcMs;

use crate::error::Result;
use crate::path::StorePath;
use crate::run_lock::RunOwner;
use crate::store::{PutMode, Revision, Store};

fn path(text: &str) -> StorePath {
    StorePath::new(text).unwrap()
}

fn owner(pid: u32) -> RunOwner {
    RunOwner { purpose: "train".into(), pid, host: "box".into(), since: UtcMs(1_754_006_400_000) }
}

/// Everything a store promises; `store` must be empty and nobody else's.
///
/// # Panics
/// Where a promise is broken.
pub fn holds_for(store: &dyn Store) {
    holds_for_one_writer(store);
    of_many_swappers_one_wins_each_round(store);
    of_many_creators_one_wins(store);
    an_overwrite_is_never_seen_half(store);
}

/// What a store promises to a writer that is alone, which also holds when answers get lost. (Of two
/// that race, one whose answer was lost may find the other's object and can then not tell.)
///
/// # Panics
/// Where a promise is broken.
pub fn holds_for_one_writer(store: &dyn Store) {
    what_is_put_is_got(store);
    create_refuses_what_is_there(store);
    a_stale_swap_loses(store);
    listing_is_sorted_and_complete(store);
    deleting_is_idempotent(store);
    a_large_object_comes_back_whole(store);
    many_are_put_at_once_each_on_its_own_condition(store);
    every_put_is_listed_at_once_however_many(store);
    the_run_lock_is_exclusive_and_named(store);
}

/// Why a put is refused. One whose outcome is unknown is asked again: it must not have been carried
/// out, so sooner or later the store knows.
fn refusal(store: &dyn Store, path: &StorePath, bytes: &[u8], mode: &PutMode) -> &'static str {
    for _ in 0..8 {
        match store.put(path, bytes, mode.clone()) {
            Ok(revision) => panic!("{path} was put as {revision} in spite of {mode:?}"),
            Err(error) if error.is_transient() => {}
            Err(error) => return error.code(),
        }
    }
    panic!("{path} could not be refused in 8 attempts")
}

fn what_is_put_is_got(store: &dyn Store) {
    assert_eq!(store.get(&path("got/x")).unwrap(), None);
    for bytes in [&b"one"[..], b"", b"\0\xff"] {
        let revision = store.put(&path("got/x"), bytes, PutMode::Overwrite).unwrap();
        let found = store.get(&path("got/x")).unwrap().unwrap();
        assert_eq!((found.bytes.as_slice(), found.revision), (bytes, revision));
    }
    assert_eq!(store.get(&path("got")).unwrap(), None, "a folder is no object");
}

fn create_refuses_what_is_there(store: &dyn Store) {
    store.put(&path("create/x"), b"1", PutMode::Create).unwrap();
    assert_eq!(refusal(store, &path("create/x"), b"1", &PutMode::Create), "store_already_exists");
    assert_eq!(store.get(&path("create/x")).unwrap().unwrap().bytes, b"1");
}

fn a_stale_swap_loses(store: &dyn Store) {
    let first = store.put(&path("swap/x"), b"1", PutMode::Create).unwrap();
    let second = store.put(&path("swap/x"), b"2", PutMode::IfRevision(first.clone())).unwrap();
    assert_ne!(first, second);
    let from_first = PutMode::IfRevision(first);
    assert_eq!(refusal(store, &path("swap/x"), b"3", &from_first), "store_stale");
    assert_eq!(store.get(&path("swap/x")).unwrap().unwrap().bytes, b"2");
    assert_eq!(refusal(store, &path("swap/none"), b"3", &from_first), "store_stale");
    assert_eq!(store.get(&path("swap/none")).unwrap(), None);
}

fn listing_is_sorted_and_complete(store: &dyn Store) {
    let names = ["list/b/c", "list/a", "list/b/a", "list/b.x", "listing/z", "list/c+d=e_-.f"];
    for name in names {
        store.put(&path(name), name.as_bytes(), PutMode::Create).unwrap();
    }
    let list = |folder: &str| -> Vec<String> {
        store.list(Some(&path(folder))).unwrap().iter().map(|e| e.path.to_string()).collect()
    };
    assert_eq!(list("list"), ["list/a", "list/b.x", "list/b/a", "list/b/c", "list/c+d=e_-.f"]);
    assert_eq!(list("list/b"), ["list/b/a", "list/b/c"]);
    assert!(list("nowhere").is_empty());
    for name in names {
        assert_eq!(store.get(&path(name)).unwrap().unwrap().bytes, name.as_bytes());
    }
    assert!(list("list/a").is_empty(), "an object is not below itself");
    let whole = store.list(None).unwrap();
    assert!(whole.is_sorted());
    assert!(
        names.iter().all(|name| {
            whole.iter().any(|e| e.path.as_str() == *name && e.size_bytes == name.len() as u64)
        })
    );
}

fn deleting_is_idempotent(store: &dyn Store) {
    store.put(&path("delete/x"), b"1", PutMode::Create).unwrap();
    store.delete(&path("delete/x")).unwrap();
    store.delete(&path("delete/x")).unwrap();
    store.delete(&path("delete/never/was")).unwrap();
    assert_eq!(store.get(&path("delete/x")).unwrap(), None);
    store.put(&path("delete/x"), b"2", PutMode::Create).unwrap();
}

/// Four threads each add one, eight times, by compare-and-swap: no addition may be lost.
fn of_many_swappers_one_wins_each_round(store: &dyn Store) {
    let counter = path("race/counter");
    store.put(&counter, b"0", PutMode::Create).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..8 {
                    loop {
                        let found = store.get(&counter).unwrap().unwrap();
                        let n: u32 = String::from_utf8(found.bytes).unwrap().parse().unwrap();
                        let mode = PutMode::IfRevision(found.revision);
                        match store.put(&counter, (n + 1).to_string().as_bytes(), mode) {
                            Ok(_) => break,
                            Err(error) => assert_eq!(error.code(), "store_stale"),
                        }
                    }
                }
            });
        }
    });
    assert_eq!(store.get(&counter).unwrap().unwrap().bytes, b"32");
}

fn of_many_creators_one_wins(store: &dyn Store) {
    let wins = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for worker in 0..4_u8 {
            let wins = &wins;
            scope.spawn(move || match store.put(&path("race/deep/first"), &[worker], PutMode::Create) {
                Ok(_) => drop(wins.fetch_add(1, Ordering::Relaxed)),
                Err(error) => assert_eq!(error.code(), "store_already_exists"),
            });
        }
    });
    assert_eq!(wins.into_inner(), 1);
}

/// Writers put objects of one repeated byte; a reader must never see two bytes in one.
fn an_overwrite_is_never_seen_half(store: &dyn Store) {
    let target = path("race/whole");
    store.put(&target, &[0; 50_000], PutMode::Create).unwrap();
    std::thread::scope(|scope| {
        for worker in 1..4_u8 {
            let target = &target;
            scope.spawn(move || {
                for _ in 0..8 {
                    let length = 50_000 + usize::from(worker) * 1000;
                    store.put(target, &vec![worker; length], PutMode::Overwrite).unwrap();
                }
            });
        }
        for _ in 0..100 {
            let bytes = store.get(&target).unwrap().unwrap().bytes;
            assert!(bytes.iter().all(|&b| b == bytes[0]));
            assert_eq!(bytes.len(), 50_000 + usize::from(bytes[0]) * 1000);
        }
    });
}

fn the_run_lock_is_exclusive_and_named(store: &dyn Store) {
    let held = store.lock_run(&owner(7)).unwrap();
    let error = store.lock_run(&owner(8)).unwrap_err();
    assert_eq!(error.code(), "store_locked");
    assert!(error.to_string().contains("train, pid 7 on box since 2025-08-01T00:00:00Z"), "{error}");
    assert!(held.still_held());
    drop(held);
    drop(store.lock_run(&owner(9)).unwrap());
}

/// Bytes that differ from their neighbours, so that a part in the wrong place would show.
fn pattern(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|n| (n % 251) as u8 ^ seed).collect()
}

fn a_large_object_comes_back_whole(store: &dyn Store) {
    let target = path("large/model.bin");
    for (length, seed) in [(6 << 20, 1), ((6 << 20) + 13, 2), (1, 3)] {
        let bytes = pattern(length, seed);
        store.put(&target, &bytes, PutMode::Overwrite).unwrap();
        assert!(store.get(&target).unwrap().unwrap().bytes == bytes, "{length} bytes came back otherwise");
    }
}

fn many_are_put_at_once_each_on_its_own_condition(store: &dyn Store) {
    let there = store.put(&path("many/there"), b"1", PutMode::Create).unwrap();
    let swapped = store.put(&path("many/swapped"), b"1", PutMode::Create).unwrap();
    let items = [
        (path("many/new"), b"new".to_vec(), PutMode::Create),
        (path("many/there"), b"2".to_vec(), PutMode::Create),
        (path("many/over"), b"over".to_vec(), PutMode::Overwrite),
        (path("many/swapped"), b"2".to_vec(), PutMode::IfRevision(swapped)),
        (path("many/stale"), b"2".to_vec(), PutMode::IfRevision(there)),
    ];
    let answers = store.put_many(&items);
    let code =
        |((path, bytes, mode), answer): (&(StorePath, Vec<u8>, PutMode), &Result<Revision>)| match answer {
            Ok(_) => "done",
            Err(error) if error.is_transient() => refusal(store, path, bytes, mode),
            Err(error) => error.code(),
        };
    let codes: Vec<_> = items.iter().zip(&answers).map(code).collect();
    assert_eq!(codes, ["done", "store_already_exists", "done", "done", "store_stale"]);
    for ((path, bytes, _), answer) in items.iter().zip(&answers) {
        let Ok(revision) = answer else { continue };
        let found = store.get(path).unwrap().unwrap();
        assert_eq!((&found.bytes, &found.revision), (bytes, revision));
    }
    assert_eq!(store.get(&path("many/there")).unwrap().unwrap().bytes, b"1");
    assert_eq!(store.get(&path("many/stale")).unwrap(), None);
    assert!(store.put_many(&[]).is_empty());
}

/// More than a page of a thousand, which is what one request to an object store lists.
fn every_put_is_listed_at_once_however_many(store: &dyn Store) {
    let name = |n: usize| path(&format!("pages/{}/{n:04}", n % 3));
    let items: Vec<_> = (0..1007).map(|n| (name(n), vec![7; n % 5], PutMode::Create)).collect();
    for (answer, (path, ..)) in store.put_many(&items).into_iter().zip(&items) {
        assert!(answer.is_ok(), "{path}: {answer:?}");
    }
    let listed = store.list(Some(&path("pages"))).unwrap();
    let mut expected: Vec<_> = items.iter().map(|(path, bytes, _)| (path, bytes.len() as u64)).collect();
    expected.sort();
    assert!(listed.iter().map(|e| (&e.path, e.size_bytes)).eq(expected), "{} listed", listed.len());
    store.delete(&name(500)).unwrap();
    let revision = store.put(&path("pages/new"), b"new", PutMode::Create).unwrap();
    let listed = store.list(Some(&path("pages"))).unwrap();
    assert_eq!(listed.len(), 1007, "one gone, one new");
    assert!(listed.iter().all(|entry| entry.path != name(500)));
    let new = listed.iter().find(|entry| entry.path == path("pages/new")).unwrap();
    assert!(new.revision.as_ref().is_none_or(|found| *found == revision), "{new:?}, put as {revision}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::{Faulty, Flaky, Slow};
    use crate::local::LocalStore;
    use crate::memory::MemoryStore;
    use crate::run_lock::RunLock;
    use crate::store::{Entry, Object};

    /// A wrapper that adds nothing, to hold the trait to being wrappable.
    struct Wrapped<S>(S);

    impl<S: Store> Store for Wrapped<S> {
        fn get(&self, path: &StorePath) -> Result<Option<Object>> {
            self.0.get(path)
        }
        fn put(&self, path: &StorePath, bytes: &[u8], mode: PutMode) -> Result<Revision> {
            self.0.put(path, bytes, mode)
        }
        fn list(&self, folder: Option<&StorePath>) -> Result<Vec<Entry>> {
            self.0.list(folder)
        }
        fn delete(&self, path: &StorePath) -> Result<()> {
            self.0.delete(path)
        }
        fn lock_run(&self, owner: &RunOwner) -> Result<RunLock> {
            self.0.lock_run(owner)
        }
    }

    #[test]
    fn the_memory_store_keeps_the_contract() {
        holds_for(&MemoryStore::default());
    }

    #[test]
    fn the_local_store_keeps_the_contract() {
        let folder = tempfile::tempdir().unwrap();
        holds_for(&LocalStore::create(folder.path().join("new/store")).unwrap());
    }

    #[test]
    fn a_wrapped_store_keeps_the_contract() {
        holds_for(&Wrapped(MemoryStore::default()));
        let store = Faulty::never(MemoryStore::default());
        holds_for(&store);
        holds_for(&Flaky::new(MemoryStore::default(), 1, 0, []));
        holds_for(&Slow::new(MemoryStore::default(), std::time::Duration::ZERO));
    }

    #[test]
    fn two_openings_of_one_folder_are_one_store() {
        let folder = tempfile::tempdir().unwrap();
        let one = LocalStore::create(folder.path()).unwrap();
        let two = LocalStore::open(folder.path()).unwrap();
        let revision = one.put(&path("x"), b"1", PutMode::Create).unwrap();
        assert_eq!(two.put(&path("x"), b"2", PutMode::Create).unwrap_err().code(), "store_already_exists");
        two.put(&path("x"), b"2", PutMode::IfRevision(revision.clone())).unwrap();
        assert_eq!(
            one.put(&path("x"), b"3", PutMode::IfRevision(revision)).unwrap_err().code(),
            "store_stale"
        );
        let held = one.lock_run(&owner(7)).unwrap();
        assert_eq!(two.lock_run(&owner(8)).unwrap_err().code(), "store_locked");
        drop(held);
        assert!(two.lock_run(&owner(8)).is_ok());
    }
}
