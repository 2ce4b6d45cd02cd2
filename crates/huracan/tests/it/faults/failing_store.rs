//! Stores that fail now and then, or take their time, under a whole run: whatever fails, the run ends
//! with an error or well, no pointer dangles, and a later run ends in the bytes of an undisturbed one.

use crate::kill_loop::Dice;
use crate::kill_loop::dead_store::Snapshot;
use huracan_core::encoder::autoencoder::AutoencoderSpec;
use huracan_core::synth::MarketSpec;
use huracan_core::trial::plan::WalkForward;
use huracan_core::words::{Seed, UtcMs};
use huracan_store::formats::run::RunSource;
use huracan_store::{
    Entry, MemoryStore, Object, PutMode, Revision, RunLock, RunOwner, Store, StoreError, StorePath,
};
use huracan_train::canary::CanarySettings;
use huracan_train::engine::Silent;
use huracan_train::pipeline::{self, Ending, Job, RunError};
use huracan_train::settings::{EncoderSettings, HeadSettings, Settings};
use huracan_train::source::SynthSource;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

type Result<T> = std::result::Result<T, StoreError>;

/// What happens to an operation that fails.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// The disk cannot, and did not.
    Io,
    /// The disk did, and the answer was lost.
    IoAfter,
    /// A put finds no space; anything else works.
    NoSpace,
}

/// A store whose operations may fail once, and take their time.
struct Unsteady {
    inner: MemoryStore,
    done: AtomicUsize,
    faults: BTreeMap<usize, Fault>,
    delay: Duration,
}

impl Unsteady {
    fn new(inner: &MemoryStore, faults: BTreeMap<usize, Fault>) -> Unsteady {
        Unsteady { inner: inner.clone(), done: AtomicUsize::new(0), faults, delay: Duration::ZERO }
    }

    fn step<T>(&self, path: &str, is_put: bool, act: impl FnOnce() -> Result<T>) -> Result<T> {
        std::thread::sleep(self.delay);
        let number = self.done.fetch_add(1, Ordering::Relaxed);
        let io = || StoreError::Io {
            path: path.to_owned(),
            action: "go on",
            source: std::io::Error::other("input/output error"),
        };
        match self.faults.get(&number) {
            Some(Fault::Io) => Err(io()),
            Some(Fault::IoAfter) => act().and(Err(io())),
            Some(Fault::NoSpace) if is_put => Err(StoreError::NoSpace {
                path: path.to_owned(),
                source: std::io::ErrorKind::StorageFull.into(),
            }),
            Some(Fault::NoSpace) | None => act(),
        }
    }
}

impl Store for Unsteady {
    fn get(&self, path: &StorePath) -> Result<Option<Object>> {
        self.step(path.as_str(), false, || self.inner.get(path))
    }
    fn put(&self, path: &StorePath, bytes: &[u8], mode: PutMode) -> Result<Revision> {
        self.step(path.as_str(), true, || self.inner.put(path, bytes, mode))
    }
    fn list(&self, folder: Option<&StorePath>) -> Result<Vec<Entry>> {
        self.step("the store", false, || self.inner.list(folder))
    }
    fn delete(&self, path: &StorePath) -> Result<()> {
        self.step(path.as_str(), false, || self.inner.delete(path))
    }
    fn lock_run(&self, owner: &RunOwner) -> Result<RunLock> {
        self.step("the run lock", false, || self.inner.lock_run(owner))
    }
}

fn settings() -> Settings {
    let standard = Settings::standard();
    Settings {
        research_horizons_bars: Vec::new(),
        walk: WalkForward { folds: 3, ..standard.walk },
        encoder: EncoderSettings {
            components: vec![5],
            ranks: vec![3],
            autoencoder: AutoencoderSpec { hidden: 16, codes: 4, epochs_max: 2, ..Default::default() },
            ..standard.encoder
        },
        heads: HeadSettings { trees: None, sample_rows: 4096, ..standard.heads },
        lambdas: vec![1.0, 30.0],
        taus: vec![3.0],
        canaries: CanarySettings { enabled: false, required: false, ..CanarySettings::default() },
        placebos: 1,
        ..standard
    }
}

/// A run on a small generated market.
fn run(store: &dyn Store) -> std::result::Result<Ending, RunError> {
    let market = MarketSpec {
        coins: 6,
        days: 175,
        planted_shared: 3,
        planted_private: 0,
        stablecoins: 0,
        dirty: 0,
        late_listings: 0,
        thin: 0,
        outages: 0,
        ..MarketSpec::default()
    };
    let folder = tempfile::tempdir().unwrap();
    let job = Job {
        settings: settings(),
        config_id: "ab".repeat(32),
        config: String::new(),
        code_version: "0.1.0".to_owned(),
        origin: RunSource::Folder { path: "made".to_owned() },
        store,
        scratch_dir: folder.path(),
        // One, so that an operation's number always names the same operation.
        workers: 1,
        stop: &AtomicBool::new(false),
        observer: &Silent,
        clock: &|| UtcMs(4_000_000_000_000),
        cache: None,
        hire: &huracan_train::jobs::Here,
        rates: Default::default(),
        host: "here".to_owned(),
    };
    pipeline::run(&job, &SynthSource::new(&market))
}

/// Everything but what carries the clock.
fn published(store: &MemoryStore) -> BTreeMap<String, Vec<u8>> {
    let paths = store.list(None).unwrap().into_iter().map(|entry| entry.path);
    let of_clock = |path: &StorePath| ["runs", "heartbeats"].contains(&path.segments().next().unwrap());
    let read = |path: StorePath| (path.to_string(), store.get(&path).unwrap().unwrap().bytes);
    paths.filter(|path| !of_clock(path)).map(read).collect()
}

fn assert_ran(ending: std::result::Result<Ending, RunError>) {
    match ending {
        Ok(Ending::Ran(finished)) => assert!(finished.published.is_some()),
        Ok(Ending::UpToDate { .. }) => {}
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn whatever_operation_fails_once_a_later_run_ends_in_the_same_bytes() {
    let store = MemoryStore::default();
    let undisturbed = Unsteady::new(&store, BTreeMap::new());
    assert_ran(run(&undisturbed));
    let operations = undisturbed.done.load(Ordering::Relaxed);
    assert!(operations > 150, "{operations}");
    let expected = published(&store);
    assert!(expected.len() > 20, "{}", expected.len());

    let mut dice = Dice::new(Seed(5));
    let (mut failed, mut codes) = (0, std::collections::BTreeSet::new());
    for life in [[Fault::Io, Fault::IoAfter, Fault::NoSpace], [Fault::IoAfter, Fault::NoSpace, Fault::Io]] {
        let store = MemoryStore::default();
        for fault in life {
            let number = dice.below(operations as u64) as usize;
            let unsteady = Unsteady::new(&store, BTreeMap::from([(number, fault)]));
            match run(&unsteady) {
                Err(RunError::Store(error)) => {
                    failed += 1;
                    codes.insert(error.code());
                }
                // What failed was a heartbeat, a paper, or no put.
                other => assert_ran(other),
            }
            let found = Snapshot::of(&store).unwrap();
            assert_eq!(found.dangling(), Vec::<String>::new(), "{fault:?} at {number}");
            assert_eq!(found.duplicated(), Vec::<String>::new(), "{fault:?} at {number}");
        }
        assert_ran(run(&store));
        assert!(published(&store) == expected, "{life:?}");
    }
    assert!(failed >= 2, "{failed} of 6 faults were noticed: {codes:?}");
}

#[test]
fn a_slow_store_changes_no_byte() {
    let (quick, slow) = (MemoryStore::default(), MemoryStore::default());
    assert_ran(run(&quick));
    let delayed = Unsteady { delay: Duration::from_millis(3), ..Unsteady::new(&slow, BTreeMap::new()) };
    assert_ran(run(&delayed));
    assert!(published(&slow) == published(&quick));
}
