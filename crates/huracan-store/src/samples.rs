//! One believable document of each kind, for tests: small numbers a person can check.

#![allow(missing_docs, reason = "each is a sample of what its name says")]

use std::collections::BTreeMap;

use huracan_core::words::UtcMs;

use crate::digest::sha256_hex;
use crate::error::Result;
use crate::formats::champion::{Champion, PromotedBy};
use crate::formats::costs::{Calibration as CostCalibration, CalibrationSource, Costs};
use crate::formats::encoder::{EncoderCard, EncoderCoin, EncoderFile, Meaning, encoder_id};
use crate::formats::feature_bank::{CoinRecord, FeatureBank, FeatureRecord};
use crate::formats::features::{Column, Features, Fill, Recipe, Scaler, Winsor};
use crate::formats::figures::{Figures, GateReading, Label};
use crate::formats::head::{Calibration, HeadFile};
use crate::formats::heartbeat::Heartbeat;
use crate::formats::manifest::{ARTIFACTS, FileDigest, InputFile, Lineage, Manifest, RowRange};
use crate::formats::meta_learner::{ExpertWeights, MetaLearner, MixtureGain};
use crate::formats::metrics::{
    BaselineFigures, Baselines, CostParts, CostsUsed, DriftFigures, EncoderGain, EncoderVerdict, Metrics,
    RegimeFigures, Window,
};
use crate::formats::overrides::{Mode, Overrides};
use crate::formats::promotion::{EventKind, PromotionEvent};
use crate::formats::roster::{Book, Failed, Ranking, Roster, RosterLine, Sides, SkipReason, Skipped};
use crate::formats::run::{
    Canary, CostBasis, ExitStatus, Failure, JobCounts, JobEvent, JobStatus, Profile, Run, RunInputs, SlowJob,
    StageTiming, UnitCost,
};
use crate::formats::tensors::Tensor;
use crate::formats::trials::RunTrials;
use crate::formats::wire::{Coin, Quantity, Span, Time};
use crate::models::{ModelArtifacts, ModelFolder, write_model_folder};
use crate::path::StorePath;
use crate::store::Store;
use crate::{bank, champions, encoder, promotions, roster};

pub const RUN_ID: &str = "20250801T000000Z-0a1b2c3d";
const NOW: UtcMs = UtcMs(1_754_006_400_000);

fn day(offset: i64) -> Time {
    Time(UtcMs(NOW.0 + offset * UtcMs::DAY))
}

fn span(from: i64, until: i64) -> Span {
    Span { from: day(from), until: day(until) }
}

fn coin(symbol: &str) -> Coin {
    Coin(symbol.parse().unwrap())
}

fn numbers(pairs: &[(&str, f64)]) -> BTreeMap<String, f64> {
    pairs.iter().map(|&(name, value)| (name.to_owned(), value)).collect()
}

fn label() -> Label {
    Label { kind: "relative".into(), horizon_bars: 24, entry_lag_bars: 1 }
}

fn gate(value: f64, limit: f64, passed: bool) -> GateReading {
    GateReading { gate: "sharpe".into(), value: Some(value), limit: Some(limit), comparison: None, passed }
}

pub fn figures() -> Figures {
    Figures {
        sharpe: Some(1.5),
        hit_rate: Some(0.55),
        net_pnl_pct: 12.5,
        max_drawdown_pct: 4.25,
        sample_size: 120,
        window: Some(span(-150, 0)),
    }
}

pub fn metrics(symbol: &str) -> Metrics {
    let parts = |scale: f64| CostParts {
        fee_bps: 5.0 * scale,
        spread_bps: 0.5 * scale,
        slippage_bps: 1.25 * scale,
        funding_bps: 0.0,
        remainder_bps: None,
    };
    Metrics {
        symbol: coin(symbol),
        sample_size: 120,
        oos_bars: 3600,
        train_rows: 3000,
        active_days: 140,
        window: span(-150, 0),
        gross_pnl_pct: 28.7,
        net_pnl_pct: 12.5,
        net_pnl_shrunk_pct: Some(3.1),
        net_pnl_ex_best_day_pct: Some(10.2),
        net_pnl_winsorised_pct: Some(11.9),
        sharpe: Some(1.5),
        sharpe_ci_95: Some([-0.4, 3.3]),
        sharpe_lo_adjusted: Some(1.4),
        probabilistic_sharpe: Some(0.83),
        deflated_sharpe: None,
        n_trials: 48,
        net_t_hac: Some(1.1),
        net_p_one_sided: Some(0.14),
        q_value: None,
        hit_rate: Some(0.55),
        max_drawdown_pct: 4.25,
        avg_trade_bps: Some(10.4),
        turnover_per_day: 1.6,
        profit_factor: Some(1.3),
        exposure: 0.7,
        last_7d_net_bps: -3.5,
        last_7d_trades: 4,
        ic: Some(0.031),
        ic_t_hac: Some(1.2),
        rank_ic: Some(0.028),
        rank_ic_t_hac: None,
        r2: Some(-0.001),
        windows: vec![Window {
            train_from: day(-280),
            train_until: day(-155),
            test_from: day(-150),
            test_until: day(-120),
            embargo_bars: 120,
            trades: 24,
            net_pnl_pct: 2.5,
            sharpe: Some(1.4),
            ic: None,
        }],
        by_regime: BTreeMap::from([(
            "trend".to_owned(),
            RegimeFigures {
                bars: 900,
                trades: 30,
                net_pnl_pct: 4.0,
                sharpe: None,
                hit_rate: Some(0.6),
                avg_trade_bps: Some(13.3),
            },
        )]),
        costs_used: Some(CostsUsed { per_side: parts(1.0), round_trip: parts(2.0), total_bps: 13.5 }),
        baselines: Baselines {
            buy_and_hold: Some(BaselineFigures {
                sharpe: Some(1.5),
                hit_rate: Some(0.55),
                net_pnl_pct: 12.5,
                max_drawdown_pct: Some(4.25),
                sample_size: 120,
                window: Some(span(-150, 0)),
            }),
            zero: Some(BaselineFigures {
                sharpe: None,
                hit_rate: None,
                net_pnl_pct: 0.0,
                max_drawdown_pct: Some(0.0),
                sample_size: 0,
                window: None,
            }),
            lanes: BTreeMap::from([(
                "ridge_pca".to_owned(),
                BaselineFigures {
                    sharpe: Some(1.25),
                    hit_rate: None,
                    net_pnl_pct: 11.5,
                    max_drawdown_pct: None,
                    sample_size: 118,
                    window: None,
                },
            )]),
            ..Baselines::default()
        },
        encoder_gain: Some(EncoderGain {
            mean_bps: 0.8,
            interval_bps: Some([-2.0, 3.6]),
            n_days: 150,
            verdict: EncoderVerdict::Undecided,
        }),
        sharing: BTreeMap::from([(
            "pca".to_owned(),
            EncoderGain {
                mean_bps: 1.5,
                interval_bps: Some([0.5, 2.5]),
                n_days: 150,
                verdict: EncoderVerdict::Helped,
            },
        )]),
        variant: Some("ridge_pca".into()),
        regime: Some("trend".into()),
        drift: Some(DriftFigures {
            action: "warn".into(),
            heavy_breached_share: Some(0.125),
            coverage: 0.99,
        }),
        trade_ok: true,
        trade_ok_reasons: vec![gate(1.5, 0.5, true)],
        daily: None,
    }
}

pub fn costs(symbol: &str) -> Costs {
    Costs {
        symbol: coin(symbol),
        taker_fee_bps: 5.0,
        maker_fee_bps: 2.0,
        median_spread_bps: 0.5,
        slippage_bps_per_sigma: 1.25,
        reference_order_usd: 1000.0,
        sigma_bar_bps: 45.0,
        adv_usd: 1.5e9,
        min_notional: Some(5.0),
        tick_size: Some(0.01),
        step_size: None,
        last_updated_utc: day(0),
        calibration: CostCalibration {
            source: CalibrationSource::Candles,
            lookback_days: 30.0,
            n: 720,
            intercept_bps: None,
            slope: None,
            std_error: None,
            r2: None,
            sigma_unit: "mean bar volatility over 30 days".into(),
            clamped: false,
            expires_utc: day(7),
            spread_estimator: "edge".into(),
            spread_interval_bps: Some([0.25, 0.75]),
        },
    }
}

pub fn features(symbol: &str) -> Features {
    let column = |name: &str, family: &str, lookback_bars: u64| Column {
        name: name.into(),
        family: family.into(),
        parameters: numbers(&[("bars", lookback_bars as f64)]),
        lookback_bars,
        unit: "sigma".into(),
    };
    let recipe = Recipe {
        bar: "1h".into(),
        lookbacks: vec![1, 14, 24],
        columns: vec![
            column("ret_1", "returns", 1),
            column("ret_24", "returns", 24),
            column("rsi_14", "oscillators", 14),
        ],
        fill: Fill { when: "after_scaling".into(), value: 0.0 },
        winsor: Winsor { unit: "mad_sigma".into(), low: -6.0, high: 6.0 },
        shared_codes: 1,
        own_columns: 2,
        label: label(),
    };
    Features {
        symbol: coin(symbol),
        features_id: recipe.id().unwrap(),
        recipe,
        scaler: Scaler { center: vec![0.0, 0.001, 50.5], scale: vec![0.004, 0.02, 11.0] },
    }
}

pub fn head(symbol: &str) -> HeadFile {
    HeadFile {
        kind: "ridge".into(),
        symbol: coin(symbol),
        bar: "1h".into(),
        label: label(),
        columns: vec!["code_0".into(), "ret_1".into(), "ret_24".into()],
        encoder_id: Some(encoder().card.encoder_id),
        features_id: features(symbol).features_id,
        calibration: Calibration { kind: "linear".into(), parameters: numbers(&[("slope_bps", 31.5)]) },
        decision_threshold_bps: 20.25,
        arrays: BTreeMap::from([
            ("bias".to_owned(), vec![0.0]),
            ("weights".to_owned(), vec![0.1, -0.2, 1.0 / 3.0]),
        ]),
        metadata: BTreeMap::from([("lambda".to_owned(), "30".to_owned())]),
    }
}

pub fn lineage(symbol: &str) -> Lineage {
    Lineage {
        symbol: coin(symbol),
        run_id: RUN_ID.into(),
        encoder_id: Some(encoder().card.encoder_id),
        features_id: features(symbol).features_id,
        config_id: sha256_hex(b"config"),
        code_version: "0.1.0".into(),
        seed: 7,
        bar: "1h".into(),
        inputs: vec![InputFile {
            path: format!("{symbol}/2025-07.parquet"),
            sha256: sha256_hex(symbol.as_bytes()),
        }],
        rows: BTreeMap::from([
            ("test".to_owned(), RowRange { from: 3120, until: 6720 }),
            ("train".to_owned(), RowRange { from: 0, until: 3000 }),
        ]),
        first_bar: day(-280),
        last_bar: Time(UtcMs(NOW.0 - UtcMs::HOUR)),
    }
}

pub fn artifacts(symbol: &str) -> ModelArtifacts {
    ModelArtifacts {
        head: head(symbol),
        metrics: metrics(symbol),
        costs: costs(symbol),
        features: features(symbol),
    }
}

pub fn manifest() -> Manifest {
    let digest =
        |name: &&str| ((*name).to_owned(), FileDigest { sha256: sha256_hex(name.as_bytes()), size_bytes: 9 });
    Manifest { files: ARTIFACTS.iter().map(digest).collect(), lineage: lineage("BTCUSDT") }
}

pub fn folder() -> ModelFolder {
    ModelFolder::Baseline(NOW)
}

pub fn nomination(model_path: StorePath) -> champions::Nomination {
    champions::Nomination {
        model_path,
        trade_ok: true,
        promoted_by: PromotedBy::Engine,
        at: NOW,
        expires_at: day(14).0,
    }
}

pub fn champion() -> Champion {
    let memory = crate::memory::MemoryStore::default();
    publish_all(&memory).unwrap();
    let symbol = coin("BTCUSDT");
    champions::read(&memory, &symbol).unwrap().unwrap().0
}

pub fn encoder() -> EncoderFile {
    let tensors =
        BTreeMap::from([("components".to_owned(), Tensor { shape: vec![1, 3], data: vec![0.6, 0.8, 0.0] })]);
    let meaning = Meaning {
        encoder_type: "pca".into(),
        n_components: 1,
        feature_names: vec!["ret_1".into(), "ret_24".into(), "rsi_14".into()],
        center: vec![0.0, 0.001, 50.5],
        scale: vec![0.004, 0.02, 11.0],
        parameters: numbers(&[("winsor_sigmas", 6.0)]),
    };
    EncoderFile {
        card: EncoderCard {
            encoder_id: encoder_id(&meaning, &tensors).unwrap(),
            meaning,
            explained_variance_ratio: vec![0.62],
            fit_window: span(-280, 0),
            symbols: vec![EncoderCoin { symbol: coin("BTCUSDT"), rows: 6720, weight: 1.0 }],
            trained_at: day(0),
            valid_until: day(7),
            training_loss: None,
        },
        tensors,
    }
}

pub fn roster_line(symbol: &str, rank: u64, trade_ok: bool) -> RosterLine {
    RosterLine {
        symbol: coin(symbol),
        model_path: format!("models/{symbol}/baseline_20250801"),
        rank,
        spread_bps: 0.5,
        fee_bps: 5.0,
        avg_slip_bps: 1.25,
        total_cost_bps: 13.0,
        last_7d_net_bps: -3.5,
        trade_ok,
        trade_ok_reasons: vec![gate(1.5, 0.5, trade_ok)],
        adv_usd: 1.5e9,
        capacity_usd: Some(25_000.0),
        regime: "trend".into(),
        label: "relative".into(),
        horizon_bars: 24,
        book: Book::Outright,
        sides: Sides::Long,
        rank_components: numbers(&[("cost", 0.9), ("liquidity", 1.0), ("recent_net", 0.4)]),
        encoder_id: Some(encoder().card.encoder_id),
        model_sha256: sha256_hex(&head(symbol).to_bytes().unwrap()),
        model_expires_at: day(14),
        metrics: figures().without_window(),
    }
}

pub fn roster() -> Roster {
    Roster {
        run_id: RUN_ID.into(),
        date: "20250801".into(),
        generated_at: day(0),
        expires_at: day(2),
        total_symbols: 4,
        trade_ok_count: 1,
        ranking: Ranking {
            method: "percentiles".into(),
            weights: numbers(&[("cost", 0.3), ("liquidity", 0.2), ("recent_net", 0.5)]),
        },
        symbols: vec![roster_line("BTCUSDT", 1, true), roster_line("ETHUSDT", 2, false)],
        skipped: vec![Skipped {
            symbol: "LUNAUSDT".into(),
            skip_reasons: vec![
                SkipReason {
                    code: "short_history".into(),
                    found: Some(Quantity::Number(12.5)),
                    limit: Some(Quantity::Number(60.0)),
                },
                SkipReason {
                    code: "mixed_bars".into(),
                    found: Some(Quantity::Text("1h and 5m".into())),
                    limit: None,
                },
            ],
        }],
        failed: vec![Failed {
            symbol: "XRPUSDT".into(),
            step: "head".into(),
            error: "close of bar 7 is NaN, expected a finite number".into(),
        }],
    }
}

pub fn promotion_event() -> PromotionEvent {
    PromotionEvent {
        at: day(0),
        symbol: coin("BTCUSDT"),
        event: EventKind::EngineUpdate,
        champion_metrics: None,
        challenger_metrics: Some(figures()),
        rule_values: BTreeMap::from([
            ("delta_net_pct".to_owned(), None),
            ("sample_size".to_owned(), Some(120.0)),
        ]),
        promotion_reason: "first champion".into(),
        before_model_path: None,
        after_model_path: Some("models/BTCUSDT/baseline_20250801".into()),
        decided_by: "engine".into(),
    }
}

pub fn run_trials() -> RunTrials {
    RunTrials { run_id: RUN_ID.into(), until: day(0), variants: 8, coins: 6, sharpe_variance: Some(0.004) }
}

pub fn feature_bank() -> FeatureBank {
    FeatureBank {
        run_id: RUN_ID.into(),
        updated_at: day(0),
        features: BTreeMap::from([(
            "ret_24".to_owned(),
            FeatureRecord {
                symbols_using: vec![coin("BTCUSDT")],
                avg_importance: 0.3,
                max_importance: 0.3,
                share_of_symbols: 0.5,
                mean_rank: Some(1.0),
                score: 0.15,
                helped: 1,
                hurt: 0,
                mean_delta_net_bps: Some(0.6),
            },
        )]),
        symbols: BTreeMap::from([(
            coin("BTCUSDT"),
            CoinRecord {
                feature_importance: numbers(&[("ret_24", 0.3)]),
                delta_net_bps: numbers(&[("ret_24", 0.6)]),
                encoder_gain_net_bps: Some(0.8),
                model_type: "ridge".into(),
                updated_at: day(0),
            },
        )]),
        shared_features: vec!["ret_24".into()],
        priority: Some(vec!["ret_24".into()]),
    }
}

pub fn meta_learner() -> MetaLearner {
    let weights = ExpertWeights {
        with_codes: 0.25,
        without_codes: 0.25,
        pooled: 0.375,
        zero: 0.125,
        gain_net_bps: Some(0.4),
        n: 640,
    };
    MetaLearner {
        run_id: RUN_ID.into(),
        updated_at: day(0),
        regimes: BTreeMap::from([("trend".to_owned(), weights)]),
        used: Some(true),
        gain: Some(MixtureGain { mean_net_bps: 0.5, interval_net_bps: Some([0.25, 0.75]), n_days: 150 }),
    }
}

fn timing() -> StageTiming {
    StageTiming {
        stage: "coin".into(),
        jobs: 2,
        wall_s: 1.5,
        cpu_s: Some(2.75),
        p50_s: Some(0.7),
        p95_s: Some(0.8),
        p99_s: Some(0.82),
        slowest: vec![SlowJob { symbol: "BTCUSDT".into(), wall_s: 0.83 }],
        outcomes: Some(JobCounts {
            completed: 2,
            cache_hits: 1,
            cache_misses: 1,
            retried: 1,
            requests: 3,
            ..JobCounts::default()
        }),
    }
}

pub fn run() -> Run {
    Run {
        run_id: RUN_ID.into(),
        inputs: RunInputs {
            config: "engine:\n  target_symbols: 400\n".into(),
            config_id: sha256_hex(b"config"),
            code_version: "0.1.0".into(),
            data_fingerprints: BTreeMap::from([("BTCUSDT".to_owned(), sha256_hex(b"BTCUSDT"))]),
            seed: 7,
            source: None,
            universe: None,
            until: None,
            placebo_seed: None,
        },
        started_at: day(0),
        finished_at: Some(Time(UtcMs(NOW.0 + 61_250))),
        exit_status: ExitStatus::Complete,
        counts: BTreeMap::from([
            ("failed".to_owned(), 1),
            ("skipped".to_owned(), 1),
            ("trained".to_owned(), 2),
        ]),
        encoder_id: Some(encoder().card.encoder_id),
        timings: vec![timing()],
        peak_memory_bytes: Some(268_435_456),
        canaries: vec![Canary {
            name: "NOISE01USDT".into(),
            kind: "noise".into(),
            passed: true,
            detail: "not trade_ok".into(),
        }],
        canary_summary: None,
    }
}

pub fn job_event() -> JobEvent {
    JobEvent {
        at: Time(UtcMs(NOW.0 + 250)),
        symbol: Some("BTCUSDT".into()),
        stage: "coin".into(),
        status: JobStatus::Completed,
        attempt: 1,
        worker: "worker-0".into(),
        reason: None,
    }
}

pub fn failure() -> Failure {
    Failure {
        at: day(0),
        symbol: Some("XRPUSDT".into()),
        step: "head".into(),
        code: "not_finite".into(),
        error_chain: vec!["the head could not be fitted".into(), "close of bar 7 is NaN".into()],
        help: "run `huracan data check` on the coin's candles".into(),
        attempts: Some(2),
        tried: vec!["attempt 1 on worker-0: timed out".into(), "attempt 2 on worker-1: timed out".into()],
    }
}

pub fn unit_cost() -> UnitCost {
    UnitCost {
        symbol: "BTCUSDT".into(),
        stage: "coin".into(),
        cpu_s: Some(1.4),
        wall_s: 0.7,
        rows: 6720,
        bytes_read: 524_288,
        bytes_written: 16_384,
        requests: 0,
        cost_usd: Some(0.000_02),
        basis: Some(CostBasis::Thread),
        attempts: Some(1),
        cached: Some(false),
    }
}

pub fn profile() -> Profile {
    Profile {
        run_id: RUN_ID.into(),
        workers: 2,
        wall_s: 61.25,
        cpu_s: Some(118.5),
        peak_memory_bytes: Some(268_435_456),
        bytes_read: 1_048_576,
        bytes_written: 65_536,
        stages: vec![timing()],
    }
}

pub fn heartbeat() -> Heartbeat {
    Heartbeat {
        utc_timestamp: day(0),
        phase: "training".into(),
        current_symbol: Some(coin("BTCUSDT.P")),
        progress: 0.5,
        done: 2,
        total: 4,
        eta_s: None,
        last_error: None,
        stage: Some("statistics".into()),
    }
}

pub fn overrides() -> Overrides {
    Overrides {
        trade_n: 5,
        user_allowlist: vec![],
        user_blocklist: vec![coin("DOGEUSDT")],
        paused: false,
        mode: Mode::Shadow,
        revision: 1,
        updated_at: day(0),
        updated_by: "defaults".into(),
    }
}

/// A whole small run as the Engine publishes it: encoder, two models, pointers, log, bank, roster.
pub fn publish_all(store: &dyn Store) -> Result<()> {
    encoder::publish(store, &encoder())?;
    let roster = roster();
    for line in &roster.symbols {
        let symbol = line.symbol.to_string();
        let written = write_model_folder(store, folder(), &artifacts(&symbol), &lineage(&symbol))?;
        let seen = champions::read(store, &line.symbol)?.map(|(_, revision)| revision);
        let path = written.path.to_string();
        let nomination = champions::Nomination { trade_ok: line.trade_ok, ..nomination(written.path) };
        champions::point(store, &nomination, seen.as_ref())?;
        let event =
            PromotionEvent { symbol: line.symbol.clone(), after_model_path: Some(path), ..promotion_event() };
        promotions::append(store, &[event])?;
    }
    let seen = bank::read(store)?.map(|(_, revision)| revision);
    bank::publish(store, &feature_bank(), seen.as_ref())?;
    let seen = roster::read(store)?.map(|(_, revision)| revision);
    roster::publish(store, &roster, seen.as_ref())?;
    Ok(())
}
