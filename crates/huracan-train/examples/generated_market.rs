//! Trains a generated market and prints what was found against what is true.
use huracan_core::words::{Seed, UtcMs};
use huracan_core::{costs, labels, synth, trial};
use huracan_train::engine::{Engine, Observer, run};
use huracan_train::settings::*;
use huracan_train::source::SynthSource;
use std::sync::atomic::AtomicBool;

struct Clock(std::time::Instant);
impl Observer for Clock {
    fn stage_started(&self, _: &'static str, _: usize) {}
    fn stage_advanced(&self, _: &'static str, _: usize, _: &str) {}
    fn stage_finished(&self, stage: &'static str) {
        eprintln!("{stage}: {:.2} s", self.0.elapsed().as_secs_f64());
    }
    fn note(&self, text: &str) {
        eprintln!("{text}");
    }
}

fn main() {
    let days: usize = std::env::args().nth(1).and_then(|s| s.parse().ok()).unwrap_or(300);
    let coins: usize = std::env::args().nth(2).and_then(|s| s.parse().ok()).unwrap_or(400);
    let spec = synth::MarketSpec { days, coins, ..synth::MarketSpec::default() };
    let env =
        |name: &str, default: f64| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    let spec = synth::MarketSpec {
        label_correlation: env("CORR", 0.25),
        planted_shared: env("SHARED", 24.0) as usize,
        planted_private: env("PRIVATE", 12.0) as usize,
        seed: Seed(env("SEED", 1.0) as u64),
        ..spec
    };
    let source = SynthSource::new(&spec);
    let settings = Settings {
        timeframe: spec.timeframe,
        market: spec.market,
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
        research_horizons_bars: vec![4, 12],
        walk: trial::plan::WalkForward { folds: 5, fold_days: 30.0, embargo_days: 5.0, inner_days: 30.0 },
        fold_train_days_min: 30.0,
        encoder: EncoderSettings { enabled: true, components: vec![10, 20, 50] },
        lambdas: vec![0.3, 1.0, 3.0, 10.0, 30.0, 100.0],
        taus: vec![0.3, 3.0, 30.0],
        own_log_odds_min: 3.0,
        fees: Default::default(),
        costs: costs::CostOptions::default(),
        trading: TradingSettings {
            entry_cost_multiples: vec![1.0, 1.5, 2.0, 3.0],
            exit_bands: vec![0.3, -1.0],
            day_sigma_target_pct: 2.0,
            book: BookChoice::Auto,
            funding_bps_per_8h: 1.0,
        },
        trade_gates: Default::default(),
        champion: Default::default(),
        placebos: 16,
        placebo_run: None,
        model_ttl_days: 7.0,
        seed: Seed(1),
    };
    let mut settings = settings;
    if let Ok(l) = std::env::var("LAMBDAS") {
        settings.lambdas = l.split(',').map(|v| v.parse().unwrap()).collect();
    }
    if let Ok(l) = std::env::var("PLACEBOS") {
        settings.placebos = l.parse().unwrap();
    }
    if let Ok(l) = std::env::var("COMPONENTS") {
        settings.encoder.components = l.split(',').map(|v| v.parse().unwrap()).collect();
    }
    let dir = std::env::temp_dir().join(format!("huracan-example-{}", std::process::id()));
    let scratch = huracan_train::scratch::Scratch::open(&dir).unwrap();
    let stop = AtomicBool::new(false);
    let clock = Clock(std::time::Instant::now());
    let engine = Engine {
        settings: &settings,
        workers: 2,
        now: UtcMs(i64::MAX / 2),
        stop: &stop,
        scratch: &scratch,
        observer: &clock,
    };
    let folder = std::env::args().nth(3).map(|dir| {
        huracan_train::source::FolderSource::open(
            std::path::Path::new(&dir),
            settings.timeframe,
            Some(settings.market),
        )
        .unwrap()
    });
    let source: &dyn huracan_train::source::CandleSource = match &folder {
        Some(folder) => folder,
        None => &source,
    };
    let out = run(&engine, source, 0).unwrap();
    let truth: std::collections::BTreeMap<String, synth::Truth> = (0..coins)
        .map(|i| {
            let c = synth::coin(&spec, &synth::Factors::new(&spec), i);
            (c.symbol.to_string(), c.truth)
        })
        .collect();
    println!(
        "coins {} skipped {} failed {}",
        out.survey.coins.len(),
        out.survey.skipped.len(),
        out.failed.len()
    );
    for s in &out.survey.skipped {
        println!("skip {} {:?}", s.symbol, s.reasons.iter().map(|r| r.code.clone()).collect::<Vec<_>>());
    }
    for f in &out.failed {
        println!("FAILED {f:?}");
    }
    for (f, c) in out.pools.choices.iter().enumerate() {
        println!("fold {f} use {} enc {:?} plain {:?}", c.use_encoder, c.encoded, c.plain);
    }
    println!("columns {}", out.feature_names.len());
    println!("thresholds {:?}", out.verdicts.thresholds);
    println!("universe {:.3} placebos {:?}", out.verdicts.universe_net_pct, out.verdicts.placebo_net_pct);
    println!("ics {:?}", out.verdicts.ics);
    let b = &out.verdicts.book;
    println!(
        "book net {:.1} gross {:.1} sharpe {:?} t {:?} turnover {:.2} legs {:?}",
        b.mean_net_bps, b.mean_gross_bps, b.sharpe, b.t, b.turnover_per_day, b.legs_net_bps
    );
    let mut groups: std::collections::BTreeMap<(&str, bool), (usize, f64, usize, f64)> = Default::default();
    for v in &out.verdicts.coins {
        let c = &out.survey.coins[v.index];
        let kind = if folder.is_some() { "real" } else { truth[&c.symbol.to_string()].kind.code() };
        let g = groups.entry((kind, v.head.tau.is_some())).or_default();
        g.0 += 1;
        g.1 += v.metrics.net_pnl_pct;
        g.2 += v.metrics.sample_size;
        g.3 += v.agreement.map_or(0.0, |a| a.ic);
    }
    for (k, g) in &groups {
        println!("group {k:?} coins {} net {:.1} trades {} mean ic {:.4}", g.0, g.1, g.2, g.3 / g.0 as f64);
    }
    for v in &out.verdicts.coins {
        let c = &out.survey.coins[v.index];
        let kind = if folder.is_some() { "real" } else { truth[&c.symbol.to_string()].kind.code() };
        if kind.starts_with("planted") || v.trade_ok || v.product_ok {
            let failing: Vec<&str> = v.gates.iter().filter(|g| !g.passed).map(|g| g.gate).collect();
            println!(
                "{} {} ok={} net {:.1} n {} sr {:?} hit {:?} q {:?} ic {:?} slope {:.2} surv {:.2} tau {:?} cost {:.1} {:?}",
                c.symbol,
                kind,
                v.trade_ok,
                v.metrics.net_pnl_pct,
                v.metrics.sample_size,
                v.metrics.sharpe.map(|x| (x * 100.0).round() / 100.0),
                v.metrics.hit_rate.map(|x| (x * 100.0).round() / 100.0),
                v.q_value.map(|x| (x * 1000.0).round() / 1000.0),
                v.agreement.map(|a| (a.ic * 1000.0).round() / 1000.0),
                v.head.slope,
                v.head.survival,
                v.head.tau,
                v.one_side_bps,
                failing
            );
        }
    }
}
