//! A small run for tests: settings that fit half a year of hourly bars, and the call.

use super::{Engine, EngineError, Outcome, Silent, run};
use crate::cache::Cache;
use crate::jobs::{Here, Jobs};
use crate::scratch::Scratch;
use crate::settings::{EncoderSettings, HeadSettings, Settings, TradingSettings};
use crate::source::CandleSource;
use huracan_core::choose::champion::ChampionRule;
use huracan_core::encoder::autoencoder::AutoencoderSpec;
use huracan_core::heads::trees::TreesSpec;
use huracan_core::trial::plan::WalkForward;
use huracan_core::words::UtcMs;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Three folds, few candidates, two placebos.
pub(crate) fn settings() -> Settings {
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
        heads: HeadSettings {
            trees: Some(TreesSpec { rounds: 20, min_gain: 2.0, ..TreesSpec::default() }),
            trees_components: 4,
            sample_rows: 6000,
            deploy: Vec::new(),
        },
        lambdas: vec![1.0, 30.0],
        taus: vec![3.0],
        trading: TradingSettings {
            entry_cost_multiples: vec![0.5, 1.0],
            exit_bands: vec![0.3],
            ..standard.trading
        },
        champion: ChampionRule { sample_size_min: 2, ..ChampionRule::default() },
        placebos: 2,
        ..standard
    }
}

/// One run on scratch of its own.
pub(crate) fn run_with(
    settings: &Settings,
    workers: usize,
    source: &dyn CandleSource,
) -> Result<Outcome, EngineError> {
    run_on(settings, workers, source, Arc::new(Cache::none()))
}

/// One run with the pieces of others.
pub(crate) fn run_on(
    settings: &Settings,
    workers: usize,
    source: &dyn CandleSource,
    cache: Arc<Cache>,
) -> Result<Outcome, EngineError> {
    run_by(settings, workers, source, cache, &Here)
}

/// One run whose jobs are done by somebody.
pub(crate) fn run_by(
    settings: &Settings,
    workers: usize,
    source: &dyn CandleSource,
    cache: Arc<Cache>,
    jobs: &dyn Jobs,
) -> Result<Outcome, EngineError> {
    let dir = tempfile::tempdir().unwrap();
    let scratch = Scratch::open(&dir.path().join("scratch")).unwrap().with_cache(cache);
    let engine = Engine {
        settings,
        workers,
        now: UtcMs(i64::MAX / 2),
        stop: &AtomicBool::new(false),
        scratch: &scratch,
        observer: &Silent,
        jobs,
    };
    run(&engine, source)
}
