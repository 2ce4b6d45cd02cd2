//! A made-up run that fills every part of the page.

use super::*;
use huracan_core::words::Seed;

/// Steps of a reproducible walk, uniform in ±1.
fn noise(seed: u64, len: usize) -> Vec<f64> {
    let unit = |i: u64| Seed(seed).child("report fixture", i).0 as f64 / u64::MAX as f64;
    (0..len as u64).map(|i| 2.0 * unit(i) - 1.0).collect()
}

fn walk(seed: u64, len: usize, drift: f64, size: f64) -> Vec<f64> {
    let step = |sum: &mut f64, x: f64| {
        *sum += drift + size * x;
        Some(*sum)
    };
    noise(seed, len).into_iter().scan(0.0, step).collect()
}

const FIRST_DAY: i64 = 1_738_368_000_000;

/// A run over `coins` coins of which the first `good` pass.
pub(super) fn sample(coins: usize, good: usize) -> ReportData {
    let curve = |seed: u64, drift: f64, size: f64| Curve {
        first_day_ms: FIRST_DAY,
        step_days: 1,
        pct: walk(seed, 150, drift, size),
    };
    let row = |i: usize| {
        let x = noise(900 + i as u64, 8);
        let ok = i < good;
        let equity = curve(i as u64, if ok { 0.12 } else { -0.06 + 0.03 * x[0] }, 0.8);
        let net = equity.pct[149];
        let reason = |gate: &str, value: String, limit: &str, passed: bool| GateReason {
            gate: gate.into(),
            value,
            limit: limit.into(),
            passed,
        };
        RosterRow {
            rank: i + 1,
            symbol: if i == 0 { "BTCUSDT.P".into() } else { format!("SYN{i:03}USDT.P") },
            trade_ok: ok,
            sharpe: (i % 41 != 40).then_some(net / 12.0),
            net_pnl_pct: Some(net),
            sample_size: 40 + (300.0 * x[1].abs()) as usize,
            hit_rate: Some(0.48 + 0.06 * x[2]),
            max_drawdown_pct: Some(4.0 + 9.0 * x[3].abs()),
            fee_bps: 5.0,
            spread_bps: 0.5 + 9.0 * x[4] * x[4],
            slip_bps: 0.3 + 5.0 * x[5] * x[5],
            total_cost_bps: 10.0 + 0.5 + 9.0 * x[4] * x[4] + 2.0 * (0.3 + 5.0 * x[5] * x[5]),
            adv_usd: 10.0_f64.powf(7.8 + 1.6 * x[6]),
            capacity_usd: ok.then_some(12_000.0),
            last_7d_net_bps: 120.0 * x[7],
            reasons: vec![
                reason("net_pnl_pct", format!("{net:.2}"), "> 0", net > 0.0),
                reason("sharpe", format!("{:.2}", net / 12.0), "> 0.5", net > 6.0),
                reason("benjamini_hochberg_p", format!("{:.3}", x[1].abs()), "≤ 0.10", ok),
                reason("hit_rate", format!("{:.3}", 0.48 + 0.06 * x[2]), "> 0.45", true),
                reason("sample_size", "212.000".into(), "> 100.000", true),
                reason("max_drawdown_pct", format!("{:.3}", 4.0 + 9.0 * x[3].abs()), "< 20.000", true),
                reason("universe_above_placebos", "1.000".into(), ">= 1.000", true),
                reason("oos_days", "150.000".into(), ">= 85.000", true),
                reason("spread_bps", format!("{:.3}", 0.5 + 9.0 * x[4] * x[4]), "<= 25.000", true),
                reason("stale_bars", "1.000".into(), "<= 3.000", true),
                reason("drift", "0.412".into(), "< 1.000", true),
                reason("canaries", "1.000".into(), ">= 1.000", true),
            ],
            equity,
        }
    };
    let net = walk(4242, 150, 0.05, 0.35);
    let band = |sign: f64| (0..150).map(|d| sign * 0.45 * f64::from(d).sqrt() - 1.0).collect();
    let ratios: Vec<f64> = (0..50).map(|k| 0.19 * 0.88_f64.powi(k) * 0.6).collect();
    let features = ["ret_72_sigma", "ema_gap_48", "vol_yz_168", "volume_z_24", "amihud_72", "hour_sin"];
    let facts = [
        ("Label", "relative, 24 bars, entered 1 bar late"),
        ("Book", "hedged"),
        ("Seed", "1"),
        ("Encoder", "3f09c2d1a77be210"),
        ("Features", "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00"),
        ("Code", "huracan 0.1.0"),
    ];
    ReportData {
        run: RunHeader {
            run_id: "20250629T020000Z-1a2b3c4d".into(),
            verdict: format!("{good} of {coins} coins trade_ok"),
            started_at: "2025-06-29T02:00:00Z".into(),
            finished_at: "2025-06-29T02:04:31Z".into(),
            data_from_ms: FIRST_DAY - 90 * 86_400_000,
            data_until_ms: FIRST_DAY + 150 * 86_400_000,
            bar: "1h".into(),
            bars: 2_228_173,
            coins: coins + 31,
            skipped: 29,
            facts: facts.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            canaries: Some(Canaries {
                noise: 20,
                noise_trade_ok: 0,
                planted: 10,
                planted_found: 9,
                planted_needed: 7,
                passed: true,
                detail: String::new(),
            }),
        },
        roster: (0..coins).map(row).collect(),
        skip_reasons: [
            ("history_short", 17, "at least 60 days of bars"),
            ("volume_thin", 12, "median daily volume at least 1 M USD"),
            ("gap_long", 2, "no missing run above 24 h"),
            ("pegged", 2, "realised volatility at least 5 % a year"),
        ]
        .iter()
        .map(|(code, coins, meaning)| SkipCount {
            code: (*code).into(),
            coins: *coins,
            meaning: (*meaning).into(),
        })
        .collect(),
        failed: vec![FailedCoin {
            symbol: "SYN077USDT.P".into(),
            step: "features".into(),
            error: "candle 14201 of SYN077USDT.P: close is NaN, expected a finite number".into(),
        }],
        universe: Some(Universe {
            net: Curve { first_day_ms: FIRST_DAY, step_days: 1, pct: net },
            placebo_low_pct: band(-1.0),
            placebo_high_pct: band(1.0),
            placebos: 16,
            placebo_net_pct: Vec::new(),
            sharpe: Some(1.84),
        }),
        rank_band: Some(RankBand {
            net: curve(77, 0.2, 0.9),
            gross_pct: walk(77, 150, 0.3, 0.9),
            rule: "Enter the top and bottom 10 % of ranks, leave outside 25 %.".into(),
            sharpe: Some(3.3),
            sharpe_ci_90: Some([0.7, 5.1]),
        }),
        encoder: Some(EncoderSummary {
            kind: "autoencoder".into(),
            training_loss: (0..24)
                .map(|k| {
                    let fall = (-f64::from(k) / 5.0).exp();
                    EpochLoss {
                        train: Some(0.21 + 0.25 * fall - 0.0008 * f64::from(k)),
                        holdout: Some(0.235 + 0.24 * fall + 0.0004 * f64::from(k)),
                    }
                })
                .collect(),
            kept_epoch: Some(18),
            encoder_id: "3f09c2d1a77be210".into(),
            explained_variance_ratio: ratios,
            top_loadings: (1..=6)
                .map(|component| ComponentLoadings {
                    component,
                    loadings: features
                        .iter()
                        .zip(noise(component as u64, 6))
                        .map(|(name, x)| ((*name).into(), 0.4 * x))
                        .collect(),
                })
                .collect(),
        }),
        sharing: sample_sharing(coins),
        variants: Some(sample_variants()),
        feature_bank: sample_bank(coins),
        regimes: Some(sample_regimes()),
        drift: Some(sample_drift(coins, "coins")),
        champion_events: Some(sample_events(coins)),
        cross_section: [("pooled", 0.03), ("tailored", 0.025), ("own only", 0.012)]
            .iter()
            .flat_map(|(head, ic)| {
                [1, 4, 12, 24].map(|horizon_bars| CrossSectionIc {
                    head: (*head).into(),
                    horizon_bars,
                    ic: Some(ic * f64::from(horizon_bars as u32).ln_1p() / 1.5),
                    t_stat: Some(180.0 * ic / f64::from(horizon_bars as u32).sqrt()),
                    days: 150,
                })
            })
            .collect(),
        folds: (0..5)
            .map(|k| Fold {
                train: format!("2024-11-01 – 2025-{:02}-24", k + 1),
                test: format!("2025-{:02}-01 – 2025-{:02}-02", k + 2, k + 3),
                coins,
                trades: 14_000 + 311 * k,
                net_pnl_pct: Some(0.4 - 0.3 * k as f64),
                sharpe: Some(1.1 - 0.5 * k as f64),
                ic: Some(0.031 - 0.004 * k as f64),
            })
            .collect(),
        timings: [("read", 11.0), ("features", 48.0), ("encoder", 6.0), ("heads", 31.0), ("publish", 2.0)]
            .iter()
            .map(|(stage, wall_s)| StageTiming {
                stage: (*stage).into(),
                jobs: coins,
                wall_s: *wall_s,
                cpu_s: wall_s * 1.9,
                p50_s: Some(wall_s / coins.max(1) as f64),
                p95_s: Some(2.0 * wall_s / coins.max(1) as f64),
            })
            .collect(),
    }
}

/// Six comparisons; most coins undecided, as on real ones.
fn sample_sharing(coins: usize) -> Vec<Sharing> {
    let pairs = [
        ("pca", "none", 0.1),
        ("rrr", "none", 1.1),
        ("autoencoder", "none", -0.7),
        ("shared PCA", "own PCA", 0.8),
        ("pooled prior", "none", 2.2),
        ("trees", "ridge", -0.2),
    ];
    let one = |(k, (with, without, shift)): (usize, &(&str, &str, f64))| {
        let lift = |i: usize| {
            let x = noise(500 + (1000 * k + i) as u64, 2);
            let mean = 11.0 * x[0] * x[0] * x[0] + shift;
            let half = 6.0 + 4.0 * x[1].abs();
            let (low, high) = (mean - half, mean + half);
            let verdict = match (low > 0.0, high < 0.0) {
                (true, _) => "helped",
                (_, true) => "hurt",
                _ => "undecided",
            };
            Lift {
                symbol: format!("SYN{i:03}USDT.P"),
                mean_bps: mean,
                low_bps: low,
                high_bps: high,
                verdict: verdict.into(),
            }
        };
        let lifts: Vec<Lift> = (0..coins).map(lift).collect();
        let of = |verdict: &str| lifts.iter().filter(|l| l.verdict == verdict).count();
        Sharing {
            with: (*with).into(),
            without: (*without).into(),
            helped: of("helped"),
            hurt: of("hurt"),
            undecided: of("undecided"),
            mean_bps: Some(*shift),
            interval_bps: Some([shift - 0.9, shift + 0.8]),
            coins: lifts,
        }
    };
    pairs.iter().enumerate().map(one).collect()
}

fn sample_variants() -> Variants {
    let rows = ["ridge", "trees"].iter().enumerate().flat_map(|(h, head)| {
        ["none", "pca", "rrr", "autoencoder"].iter().enumerate().map(move |(e, encoder)| {
            let x = noise(70 + (4 * h + e) as u64, 3);
            Variant {
                head: (*head).into(),
                encoder: (*encoder).into(),
                validation_ic: Some(0.03 + 0.02 * x[0]),
                validation_net_bps: Some(3.0 + 4.0 * x[1]),
                test_net_bps: Some(1.0 + 5.0 * x[2]),
                test_ic: Some(0.01 + 0.02 * x[2]),
                tried: 24,
                chosen: (h, e) == (0, 2),
            }
        })
    });
    Variants {
        rows: rows.collect(),
        tried: 192,
        tried_ever: Some(5_760),
        deflated_sharpe: Some(0.71),
        overfitting_probability: Some(0.34),
    }
}

fn sample_bank(coins: usize) -> Vec<BankFeature> {
    let family = ["ret", "ema_gap", "vol_yz", "volume_z", "amihud", "market_ret", "beta_btc", "range_pos"];
    let feature = |k: usize| {
        let x = noise(300 + k as u64, 3);
        let delta = 1.6 * x[0] * x[0] * x[0] + 0.2;
        let helped = ((0.5 + 0.3 * delta).clamp(0.0, 1.0) * 0.6 * coins as f64) as usize;
        let hurt = (0.1 * x[1].abs() * coins as f64) as usize;
        BankFeature {
            name: format!("{}_{}", family[k % 8], [4, 12, 24, 72, 168][k / 8 % 5]),
            delta_net_bps: Some(delta),
            delta_error_bps: Some(0.1 + 0.2 * x[2].abs()),
            helped,
            hurt,
            neither: coins.saturating_sub(helped + hurt),
            weight_share: Some(0.01 * x[1].abs()),
            coins_using: helped,
            shared: delta > 0.6,
        }
    };
    (0..40).map(feature).collect()
}

fn sample_regimes() -> Regimes {
    let tags = [
        ("trend", 0.27, 9_200, 6.1, 1.4, 0.53),
        ("range", 0.52, 18_400, -1.8, -0.5, 0.49),
        ("panic", 0.05, 2_100, 11.3, 0.9, 0.51),
        ("illiquid", 0.09, 1_700, -8.4, -1.6, 0.46),
        ("unknown", 0.07, 400, -0.4, -0.1, 0.50),
    ];
    let experts = ["head with codes", "head without codes", "pooled head", "no position"];
    let weights = |(k, (tag, _, trades, ..)): (usize, &(&str, f64, usize, f64, f64, f64))| {
        let x: Vec<f64> = noise(40 + k as u64, 4).iter().map(|v| 1.2 + v).collect();
        let sum: f64 = x.iter().sum();
        MetaWeights { tag: (*tag).into(), weights: x.iter().map(|v| v / sum).collect(), trades: *trades }
    };
    Regimes {
        tags: tags
            .iter()
            .map(|(tag, share, trades, net, sharpe, hit)| RegimeResult {
                tag: (*tag).into(),
                time_share: Some(*share),
                coins_now: (share * 400.0) as usize,
                trades: *trades,
                net_per_trade_bps: Some(*net),
                sharpe: Some(*sharpe),
                hit_rate: Some(*hit),
            })
            .collect(),
        meta: Some(MetaLearner {
            experts: experts.map(String::from).to_vec(),
            weights: tags.iter().enumerate().map(weights).collect(),
            gain_bps: Some(0.42),
            interval_bps: Some([-0.31, 1.12]),
            used: false,
        }),
    }
}

/// Families over coins, or over weeks when `across` says so.
pub(super) fn sample_drift(columns: usize, across: &str) -> Drift {
    let families = [
        "returns",
        "trend",
        "volatility",
        "volume",
        "spread",
        "market",
        "cross-section",
        "calendar",
        "range",
        "correlation",
        "skew",
        "liquidity",
    ];
    let row = |(k, name): (usize, &&str)| DriftRow {
        name: (*name).into(),
        ratios: noise(800 + k as u64, columns)
            .iter()
            .enumerate()
            .map(|(c, x)| {
                let wild = if c % 37 == 5 { 2.2 } else { 0.0 };
                (x.abs() < 0.99)
                    .then_some((0.5 + 0.48 * x) + wild * x.abs() + if k == 2 { 0.15 } else { 0.0 })
            })
            .collect(),
    };
    Drift {
        action: "warn".into(),
        reason: "12 % of the heavy features breach, but the rank IC of the last 14 days is positive".into(),
        across: across.into(),
        columns: (0..columns)
            .map(|c| if across == "weeks" { format!("{} May", c + 1) } else { format!("SYN{c:03}USDT.P") })
            .collect(),
        rows: families.iter().enumerate().map(row).collect(),
        heavy_breached_share: Some(0.12),
        recent_ic: Some(0.0134),
        reconstruction_share: Some(0.07),
    }
}

/// Thirty nights: a new model for most coins, now and then something else.
pub(super) fn sample_events(coins: usize) -> Vec<ChampionEvent> {
    let event = |night: usize, coin: usize| {
        let x = noise((10_000 * night + coin) as u64, 2);
        let (kind, reason) = match x[0] {
            x if x > 0.94 => ("promote", "Δ net +0.8 points, Δ Sharpe +0.21, lower 90 % bound above 0"),
            x if x > 0.90 => {
                ("expire", "the champion is 31 days old and no candidate is significantly worse")
            }
            x if x > 0.88 => ("rollback", "drawdown since promotion beyond what was seen in training"),
            x if x > 0.4 => ("reject", "Δ net +0.1 points is below the +0.5 asked"),
            x if x > 0.3 => ("engine_update", "first model of this coin on encoder 3f09c2d1a77be210"),
            _ => return None,
        };
        Some(ChampionEvent {
            at_ms: FIRST_DAY + (120 + night as i64) * 86_400_000 + 7_200_000,
            symbol: format!("SYN{coin:03}USDT.P"),
            event: kind.into(),
            reason: reason.into(),
            decided_by: "engine".into(),
        })
    };
    (0..30).flat_map(|night| (0..coins).filter_map(move |coin| event(night, coin))).collect()
}
