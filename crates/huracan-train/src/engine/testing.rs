//! A small run for tests: settings that fit half a year of hourly bars, and the call.

use super::{Engine, EngineError, Outcome, Silent, run};
use crate::scratch::Scratch;
use crate::settings::{BookChoice, EncoderSettings, Settings, TradingSettings, Universe};
use crate::source::CandleSource;
use huracan_core::words::{Seed, UtcMs};
use huracan_core::{costs, labels, trial};
use std::sync::atomic::AtomicBool;

/// Three folds, few candidates, two placebos.
pub(crate) fn settings() -> Settings {
    Settings {
        timeframe: huracan_core::words::Timeframe::H1,
        market: huracan_core::words::Market::Perp,
        until: None,
        universe: Universe::All,
        gates: Default::default(),
        label: labels::LabelSpec {
            kind: labels::LabelKind::Relative,
            horizon_bars: 24,
            entry_lag_bars: 1,
            sigma_half_life_bars: 72.0,
            clip: 6.0,
        },
        research_horizons_bars: Vec::new(),
        walk: trial::plan::WalkForward { folds: 3, fold_days: 30.0, embargo_days: 5.0, inner_days: 30.0 },
        fold_train_days_min: 30.0,
        encoder: EncoderSettings { enabled: true, components: vec![5] },
        lambdas: vec![1.0, 30.0],
        taus: vec![3.0],
        own_log_odds_min: 3.0,
        fees: Default::default(),
        costs: costs::CostOptions::default(),
        trading: TradingSettings {
            entry_cost_multiples: vec![0.5, 1.0],
            exit_bands: vec![0.3],
            day_sigma_target_pct: 2.0,
            book: BookChoice::Auto,
            funding_bps_per_8h: 1.0,
        },
        trade_gates: Default::default(),
        champion: Default::default(),
        placebos: 2,
        placebo_run: None,
        canaries: Default::default(),
        model_ttl_days: 7.0,
        seed: Seed(1),
    }
}

/// One run on scratch of its own.
pub(crate) fn run_with(
    settings: &Settings,
    workers: usize,
    source: &dyn CandleSource,
) -> Result<Outcome, EngineError> {
    let dir = tempfile::tempdir().unwrap();
    let scratch = Scratch::open(&dir.path().join("scratch")).unwrap();
    let engine = Engine {
        settings,
        workers,
        now: UtcMs(i64::MAX / 2),
        stop: &AtomicBool::new(false),
        scratch: &scratch,
        observer: &Silent,
    };
    run(&engine, source)
}
