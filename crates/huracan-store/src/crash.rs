//! Crashes: whatever operation a run dies at, the next run ends where an undisturbed one would have,
//! and at no moment does a pointer name a folder that does not verify.

use crate::error::Result;
use crate::faults::{Crash, Faulty};
use crate::local::LocalStore;
use crate::memory::MemoryStore;
use crate::path::StorePath;
use crate::run_lock::{RunLock, RunOwner};
use crate::store::{Entry, Object, PutMode, Revision, Store};
use crate::{champions, encoder, models, promotions, roster, samples};

fn contents(store: &dyn Store) -> Vec<(StorePath, Vec<u8>)> {
    let read = |entry: Entry| {
        let bytes = store.get(&entry.path).unwrap().unwrap().bytes;
        (entry.path, bytes)
    };
    store.list(None).unwrap().into_iter().map(read).collect()
}

/// What must hold after any crash, before anything is repaired.
fn no_pointer_dangles(store: &dyn Store) {
    for symbol in champions::list(store).unwrap() {
        let (champion, _) = champions::read(store, &symbol).unwrap().unwrap();
        let folder = StorePath::new(champion.model_path).unwrap();
        models::read_model(store, &folder).unwrap();
        encoder::load(store, &champion.encoder_id.unwrap()).unwrap();
    }
    if let Some((roster, _)) = roster::read(store).unwrap() {
        for line in roster.symbols {
            let (champion, _) = champions::read(store, &line.symbol).unwrap().unwrap();
            assert_eq!(champion.model_path, line.model_path);
        }
    }
    encoder::in_force(store).unwrap();
    promotions::read(store).unwrap();
}

#[test]
fn a_run_that_dies_anywhere_is_completed_by_the_next() {
    let undisturbed = Faulty::never(MemoryStore::default());
    samples::publish_all(&undisturbed).unwrap();
    let operations = undisturbed.operations();
    assert!(operations > 60, "{operations}");
    let expected = contents(undisturbed.inner());

    for crash in [Crash::Before, Crash::After] {
        for fatal in 0..operations {
            let store = MemoryStore::default();
            let dying = Faulty::dying(store.clone(), fatal, crash);
            assert!(samples::publish_all(&dying).is_err(), "{crash:?} {fatal}");
            no_pointer_dangles(&store);
            samples::publish_all(&store).unwrap();
            assert!(contents(&store) == expected, "{crash:?} {fatal}");
        }
    }
}

#[test]
fn a_second_run_over_a_finished_one_writes_nothing() {
    struct Sealed(MemoryStore);
    impl Store for Sealed {
        fn get(&self, path: &StorePath) -> Result<Option<Object>> {
            self.0.get(path)
        }
        fn put(&self, path: &StorePath, _: &[u8], _: PutMode) -> Result<Revision> {
            panic!("{path} was written a second time")
        }
        fn list(&self, folder: Option<&StorePath>) -> Result<Vec<Entry>> {
            self.0.list(folder)
        }
        fn delete(&self, path: &StorePath) -> Result<()> {
            panic!("{path} was deleted")
        }
        fn lock_run(&self, owner: &RunOwner) -> Result<RunLock> {
            self.0.lock_run(owner)
        }
    }
    let store = MemoryStore::default();
    samples::publish_all(&store).unwrap();
    samples::publish_all(&Sealed(store)).unwrap();
}

#[test]
fn memory_and_folder_end_in_the_same_bytes() {
    let memory = MemoryStore::default();
    samples::publish_all(&memory).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let local = LocalStore::create(folder.path()).unwrap();
    samples::publish_all(&local).unwrap();
    assert!(contents(&memory) == contents(&local));
}

/// The real thing: this test runs itself again as a process that publishes into a folder, says each
/// operation it begins, and is killed in the middle of one.
#[test]
fn a_killed_process_is_completed_by_the_next() {
    use std::io::BufRead as _;
    use std::process::{Command, Stdio};
    const ROLE: &str = "HURACAN_TEST_PUBLISHES_TO";
    struct Loud(LocalStore);
    impl Loud {
        fn say(&self) {
            println!("begins");
        }
    }
    impl Store for Loud {
        fn get(&self, path: &StorePath) -> Result<Option<Object>> {
            self.say();
            self.0.get(path)
        }
        fn put(&self, path: &StorePath, bytes: &[u8], mode: PutMode) -> Result<Revision> {
            self.say();
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
    if let Some(root) = std::env::var_os(ROLE) {
        samples::publish_all(&Loud(LocalStore::create(root).unwrap())).unwrap();
        return;
    }

    let memory = MemoryStore::default();
    samples::publish_all(&memory).unwrap();
    let expected = contents(&memory);
    for operations in [2, 9, 17, 26, 34, 41, 55] {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::a_killed_process_is_completed_by_the_next", "--nocapture"])
            .env(ROLE, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
        let mut begun = lines.map_while(|line| line.ok()).filter(|line| line.ends_with("begins"));
        assert_eq!(begun.by_ref().take(operations).count(), operations);
        child.kill().unwrap();
        child.wait().unwrap();

        let store = LocalStore::open(folder.path()).unwrap();
        no_pointer_dangles(&store);
        samples::publish_all(&store).unwrap();
        assert!(contents(&store) == expected, "{operations}");
    }
}
