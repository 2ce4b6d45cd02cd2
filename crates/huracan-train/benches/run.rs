//! What a whole run costs: a generated market of 24 coins and 200 days, from bars to verdicts.
//!
//! `cargo bench -p huracan-train --bench run`. Time grows with coins × days; the passes' own shares
//! are what `examples/generated_market.rs` prints.

use criterion::{Criterion, Throughput};
use huracan_core::words::UtcMs;
use huracan_core::{synth, trial};
use huracan_train::engine::{Engine, Outcome, Silent, run};
use huracan_train::scratch::Scratch;
use huracan_train::settings::*;
use huracan_train::source::SynthSource;
use std::hint::black_box;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

const COINS: usize = 24;
const DAYS: usize = 200;

/// A small market with a little of everything.
fn spec() -> synth::MarketSpec {
    synth::MarketSpec {
        coins: COINS,
        days: DAYS,
        planted_shared: 4,
        planted_private: 1,
        stablecoins: 1,
        dirty: 1,
        late_listings: 1,
        thin: 1,
        ..synth::MarketSpec::default()
    }
}

fn settings(spec: &synth::MarketSpec) -> Settings {
    let standard = Settings::standard();
    Settings {
        timeframe: spec.timeframe,
        market: spec.market,
        walk: trial::plan::WalkForward { folds: 3, ..standard.walk },
        ..standard
    }
}

/// One run with a scratch folder of its own.
fn once(settings: &Settings, source: &SynthSource, workers: usize) -> Outcome {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let scratch = Scratch::open(folder.path()).expect("a scratch folder");
    let stop = AtomicBool::new(false);
    let engine = Engine {
        settings,
        workers,
        now: UtcMs(i64::MAX / 2),
        stop: &stop,
        scratch: &scratch,
        observer: &Silent,
        jobs: &huracan_train::jobs::Here,
    };
    run(&engine, source).expect("a run")
}

fn main() {
    let spec = spec();
    let (settings, source) = (settings(&spec), SynthSource::new(&spec));
    let outcome = once(&settings, &source, 1);
    println!(
        "{} of {COINS} coins trained, {} skipped",
        outcome.survey.coins.len(),
        outcome.survey.skipped.len()
    );

    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(10))
        .configure_from_args();
    let mut group = criterion.benchmark_group("run");
    group.throughput(Throughput::Elements(COINS as u64));
    for workers in [1, 2] {
        group.bench_function(format!("{workers}_workers"), |b| {
            b.iter(|| black_box(once(&settings, &source, workers)).survey.coins.len())
        });
    }
    group.finish();
    criterion.final_summary();
}
