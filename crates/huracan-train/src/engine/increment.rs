//! Laws of the cache over whole runs: a night with the pieces of the night before publishes the bytes of
//! a run from nothing, and makes again what a new or changed bar can have changed, and nothing else.

use super::testing::{run_on, settings};
use super::*;
use crate::cache::{Cache, Counts};
use crate::publish::{Publication, Stamp, publish};
use crate::source::{CandleSource, Entry, LoadFailure, Loaded, SynthSource};
use huracan_core::synth::MarketSpec;
use huracan_store::{MemoryStore, Store};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

const COINS: usize = 9;

fn market() -> SynthSource {
    SynthSource::new(&MarketSpec {
        coins: COINS,
        days: 236,
        planted_shared: 4,
        planted_private: 1,
        label_correlation: 0.5,
        stablecoins: 0,
        dirty: 0,
        late_listings: 1,
        thin: 0,
        outages: 1,
        ..MarketSpec::default()
    })
}

/// The same market with one bar of one coin changed.
struct Corrected {
    inner: SynthSource,
    at: UtcMs,
}

impl CandleSource for Corrected {
    fn entries(&self) -> &[Entry] {
        self.inner.entries()
    }

    fn load(&self, index: usize) -> Result<Loaded, LoadFailure> {
        let mut loaded = self.inner.load(index)?;
        if index == 3 {
            let bar = loaded.bars.open_time.iter().position(|&time| time >= self.at.0).unwrap();
            loaded.bars.volume[bar] *= 1.01;
        }
        Ok(loaded)
    }

    fn fingerprint(&self, index: usize, until: Option<UtcMs>) -> String {
        self.inner.fingerprint(index, until)
    }
}

/// The same market where one coin was listed at a moment.
struct Listed {
    inner: SynthSource,
    at: UtcMs,
}

impl CandleSource for Listed {
    fn entries(&self) -> &[Entry] {
        self.inner.entries()
    }

    fn load(&self, index: usize) -> Result<Loaded, LoadFailure> {
        let mut loaded = self.inner.load(index)?;
        if index == 3 {
            let bars = &mut loaded.bars;
            let before = bars.open_time.partition_point(|&time| time < self.at.0);
            let optional = [&mut bars.quote_volume, &mut bars.trades, &mut bars.taker_buy_base];
            let columns = [&mut bars.open, &mut bars.high, &mut bars.low, &mut bars.close, &mut bars.volume];
            let optional = optional.into_iter().chain([&mut bars.taker_buy_quote]).flatten();
            columns.into_iter().chain(optional).for_each(|column| drop(column.drain(..before)));
            bars.open_time.drain(..before);
        }
        Ok(loaded)
    }

    fn fingerprint(&self, index: usize, until: Option<UtcMs>) -> String {
        self.inner.fingerprint(index, until)
    }
}

struct Night {
    outcome: Outcome,
    counts: BTreeMap<&'static str, Counts>,
    published: Vec<(String, Vec<u8>)>,
}

impl Night {
    /// Pieces found, pieces made.
    fn of(&self, kind: &str) -> (u64, u64) {
        self.counts.get(kind).map_or((0, 0), |counts| (counts.hits, counts.misses))
    }
}

/// A run until a moment, with the pieces in a folder or from nothing, and every byte it publishes.
fn night(until: UtcMs, source: &dyn CandleSource, cache: Option<&Path>) -> Night {
    night_with(until, source, cache.map_or_else(Cache::none, |dir| Cache::open(dir, 1 << 30, "test")))
}

fn night_with(until: UtcMs, source: &dyn CandleSource, cache: Cache) -> Night {
    let settings = Settings { until: Some(until), ..settings() };
    let cache = Arc::new(cache);
    let outcome = run_on(&settings, 2, source, cache.clone()).unwrap();
    let store = MemoryStore::default();
    let stamp = Stamp {
        run_id: "20250425T000000Z-00000001".to_owned(),
        config_id: "ab".repeat(32),
        code_version: "0.1.0".to_owned(),
    };
    let stop = AtomicBool::new(false);
    let publication = Publication {
        store: &store,
        settings: &settings,
        outcome: &outcome,
        stamp: &stamp,
        workers: 2,
        stop: &stop,
        observer: &Silent,
        jobs: &crate::jobs::Here,
    };
    publish(&publication).unwrap();
    let paths = store.list(None).unwrap().into_iter().map(|entry| entry.path);
    let published = paths.map(|path| (path.to_string(), store.get(&path).unwrap().unwrap().bytes)).collect();
    Night { outcome, counts: cache.counts(), published }
}

fn same_bytes(a: &Night, b: &Night) {
    let names = |night: &Night| night.published.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(a), names(b));
    for ((name, a), (_, b)) in a.published.iter().zip(&b.published) {
        assert!(a == b, "{name} differs:\n{}\n{}", String::from_utf8_lossy(a), String::from_utf8_lossy(b));
    }
}

fn plan(start: UtcMs, until: UtcMs) -> Plan {
    let settings = settings();
    let window = settings.label.window_bars();
    Plan::new(&settings.walk, settings.timeframe, window, start, until, settings.fold_train_days_min).unwrap()
}

/// The first day from which the next one changes neither folds nor what is frozen.
fn quiet_day(start: UtcMs, length: i64) -> i64 {
    let day = |n: i64| UtcMs(start.0 + n * UtcMs::DAY);
    let quiet = |n: &i64| {
        let (a, b) = (plan(start, day(*n)), plan(start, day(n + 1)));
        a.test_start == b.test_start
            && a.frozen_end == b.frozen_end
            && a.test_start.0 % (30 * UtcMs::DAY) == 0
    };
    (length - 9..length).rev().find(quiet).expect("a night in the middle of a week")
}

#[test]
fn a_coin_admitted_today_leaves_every_tested_fold_and_what_is_frozen_as_they_were() {
    let (start, length) = (MarketSpec::default().start, 236);
    let first = quiet_day(start, length);
    let day = |n: i64| UtcMs(start.0 + n * UtcMs::DAY);
    let source = Listed { inner: market(), at: day(first + 1 - 60) };
    let folder = tempfile::tempdir().unwrap();
    let before = night(day(first), &source, Some(folder.path()));
    let after = night(day(first + 1), &source, Some(folder.path()));
    same_bytes(&after, &night(day(first + 1), &source, None));
    let coins = before.outcome.survey.coins.len() as u64;
    assert_eq!(after.outcome.survey.coins.len() as u64, coins + 1);
    assert_eq!((after.of("autoencoders"), after.of("trees")), ((1, 0), (16, 0)));
    // Only the new coin's own.
    for kind in ["slopes", "validation"] {
        assert_eq!(after.of(kind), (3 * coins, 3), "{kind}");
    }
    assert_eq!(after.of("codes").1, 3);
    assert_eq!(after.of("test"), (2 * coins, 2));
    // Its inner fit has too few rows.
    assert_eq!(after.of("code sums").1, 1);
}

#[test]
fn a_night_makes_again_what_changed_and_publishes_what_a_run_from_nothing_would() {
    let source = market();
    let (start, length) = (MarketSpec::default().start, 236);
    let day = |n: i64| UtcMs(start.0 + n * UtcMs::DAY);
    let first = quiet_day(start, length);
    let folder = tempfile::tempdir().unwrap();
    let before = night(day(first), &source, Some(folder.path()));
    // Grams, codes, sampled rows and heads are read back by the run that made them.
    let found = |(kind, counts): (&&str, &Counts)| {
        !["grams", "codes", "sample", "heads", "slope heads"].contains(kind) && counts.hits > 0
    };
    assert!(!before.counts.iter().any(found), "{:?}", before.counts);
    let after = night(day(first + 1), &source, Some(folder.path()));
    let scratch = night(day(first + 1), &source, None);
    same_bytes(&after, &scratch);
    assert_ne!(before.published, after.published);
    // Three tested folds; the last one's test goes on and the final fit is new, nothing else.
    let coins = after.outcome.survey.coins.len() as u64;
    assert!(coins >= 8, "{coins} coins are no market");
    let tries = settings();
    assert!(tries.heads.trees.is_some() && tries.walk.folds == 3);
    assert_eq!((after.of("autoencoders"), after.of("autoencoder")), ((1, 0), (0, 0)));
    assert_eq!(after.of("trees"), (16, 0));
    for kind in ["slopes", "validation"] {
        assert_eq!(after.of(kind), (3 * coins, 0), "{kind}");
    }
    assert_eq!((after.of("codes").1, after.of("heads").1), (0, 0));
    assert_eq!(after.of("test"), (2 * coins, 0));
    let judged = after.outcome.verdicts.coins.len() as u64;
    assert_eq!(after.of("worth"), (2 * judged, 0));
    assert_eq!(after.of("quiet weeks"), (judged, 0));
    assert_eq!((after.of("settled"), after.of("grams").1), ((coins, 0), 0));
    assert_eq!((after.of("pools"), after.of("code pools")), ((3, 0), (3, 0)));
    assert_eq!((after.of("usual"), after.of("units")), ((judged, 0), (1, 0)));

    // A bar is corrected that the first two fits could not see and everything later could.
    let at = UtcMs(after.outcome.plan.folds[1].train_end.0 + 25 * UtcMs::HOUR);
    let corrected = Corrected { inner: market(), at };
    let again = night(day(first + 1), &corrected, Some(folder.path()));
    same_bytes(&again, &night(day(first + 1), &corrected, None));
    assert_eq!((again.of("autoencoders"), again.of("autoencoder")), ((0, 1), (3, 1)));
    assert_eq!(again.of("trees"), (8, 8));
    for kind in ["slopes", "validation"] {
        assert_eq!(again.of(kind), (2 * coins, coins), "{kind}");
    }
    assert_eq!(again.of("codes").1, coins);
    assert_eq!((again.of("test"), again.of("units")), ((0, 2 * coins), (1, 0)));

    // One that features and units are settled from.
    let at = UtcMs(after.outcome.plan.first_training_end().0 - UtcMs::HOUR);
    let corrected = Corrected { inner: market(), at };
    let again = night(day(first + 1), &corrected, Some(folder.path()));
    same_bytes(&again, &night(day(first + 1), &corrected, None));
    assert_eq!((again.of("units"), again.of("test")), ((0, 1), (0, 2 * coins)));
}

#[test]
fn pieces_that_go_in_the_middle_of_a_night_are_made_again() {
    let source = market();
    let (start, length) = (MarketSpec::default().start, 236);
    let first = quiet_day(start, length);
    let day = |n: i64| UtcMs(start.0 + n * UtcMs::DAY);
    let folder = tempfile::tempdir().unwrap();
    night(day(first), &source, Some(folder.path()));
    let scratch = night(day(first + 1), &source, None);
    // All Grams are torn, and some of the rest.
    let mut torn = 0;
    for shelf in std::fs::read_dir(folder.path()).unwrap() {
        for file in std::fs::read_dir(shelf.unwrap().path()).unwrap() {
            let file = file.unwrap();
            let name = file.file_name().to_string_lossy().into_owned();
            if name.starts_with("grams") || name.starts_with("slope heads") || name.ends_with('0') {
                let bytes = std::fs::read(file.path()).unwrap();
                std::fs::write(file.path(), &bytes[..bytes.len() / 2]).unwrap();
                torn += 1;
            }
        }
    }
    assert!(torn > 20, "{torn}");
    let after = night(day(first + 1), &source, Some(folder.path()));
    same_bytes(&after, &scratch);
    // A cache without room for a tenth of a night loses pieces while it runs.
    let narrow = tempfile::tempdir().unwrap();
    let night = night_with(day(first + 1), &source, Cache::open(narrow.path(), 2_000_000, "test"));
    same_bytes(&night, &scratch);
    assert!(night.of("grams").1 > 0, "{:?}", night.counts);
    // One whose disk refuses keeps nothing, and everything is on scratch.
    let in_the_way = narrow.path().join("file");
    std::fs::write(&in_the_way, b"x").unwrap();
    let night = night_with(day(first + 1), &source, Cache::open(&in_the_way, 1 << 30, "test"));
    same_bytes(&night, &scratch);
    assert!(
        night.counts.values().all(|counts| counts.hits + counts.bytes_written == 0),
        "{:?}",
        night.counts
    );
}
