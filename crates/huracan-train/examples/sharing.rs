//! What sharing gives, held against the truth of generated markets.
//!
//! ```text
//! cargo run --release -p huracan-train --example sharing -- --seeds 20
//! ```
//! Coins are of three kinds: some share one edge, some have an edge of their own, most have none. For
//! every comparison of ways of sharing the table says how many coins of each kind were helped, hurt or
//! left undecided; then how many coins of each kind passed every gate.

use huracan_core::choose::sharing::SharingVerdict;
use huracan_core::encoder::EncoderKind;
use huracan_core::synth::{self, Kind, MarketSpec};
use huracan_core::words::{Seed, UtcMs};
use huracan_train::engine::{Engine, Outcome, Silent, run};
use huracan_train::scratch::Scratch;
use huracan_train::settings::Settings;
use huracan_train::source::SynthSource;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

/// Kinds in the order of the table's rows.
const KINDS: [&str; 3] = ["shared edge", "own edge", "no edge"];

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str, default: f64| -> f64 {
        let at = wanted.iter().position(|a| a == name);
        at.and_then(|i| wanted.get(i + 1)).and_then(|v| v.parse().ok()).unwrap_or(default)
    };
    let seeds = number("--seeds", 20.0) as u64;
    let correlation = number("--correlation", 0.5);
    let all_kinds = wanted.iter().any(|a| a == "--all");
    let market = |seed: u64| MarketSpec {
        seed: Seed(seed),
        coins: number("--coins", 120.0) as usize,
        days: number("--days", 300.0) as usize,
        planted_shared: number("--shared", 16.0) as usize,
        planted_private: number("--own", 12.0) as usize,
        label_correlation: correlation,
        stablecoins: 0,
        dirty: 0,
        late_listings: 4,
        thin: 0,
        ..MarketSpec::default()
    };
    let mut settings = Settings::standard();
    if !all_kinds {
        settings.encoder.kinds = vec![EncoderKind::Pca, EncoderKind::Rrr];
        settings.heads.trees = None;
    }
    // [comparison][kind][helped, hurt, undecided]
    let mut table: BTreeMap<&'static str, [[usize; 3]; 3]> = BTreeMap::new();
    let mut gains: BTreeMap<&'static str, [(f64, f64); 3]> = BTreeMap::new();
    let mut passed = [[0_usize; 2]; 3];
    for seed in 1..=seeds {
        let spec = market(seed);
        let outcome = once(&Settings { seed: Seed(seed), ..settings.clone() }, &SynthSource::new(&spec));
        let kind_of: BTreeMap<String, usize> = synth::coins(&spec)
            .map(|coin| {
                let row = match coin.truth.kind {
                    Kind::PlantedShared => 0,
                    Kind::PlantedPrivate => 1,
                    _ => 2,
                };
                (coin.symbol.to_string(), row)
            })
            .collect();
        let row = |index: usize| kind_of[&outcome.survey.coins[index].symbol.to_string()];
        for compared in &outcome.verdicts.sharing {
            let code = compared.comparison.code;
            for (verdict, gain) in outcome.verdicts.coins.iter().zip(&compared.coins) {
                let column = match gain.verdict {
                    SharingVerdict::Helped => 0,
                    SharingVerdict::Hurt => 1,
                    SharingVerdict::Undecided => 2,
                };
                let kind = row(verdict.index);
                table.entry(code).or_default()[kind][column] += 1;
                let sum = &mut gains.entry(code).or_default()[kind];
                *sum = (sum.0 + gain.mean_bps, sum.1 + 1.0);
            }
        }
        for verdict in &outcome.verdicts.coins {
            passed[row(verdict.index)][usize::from(verdict.trade_ok)] += 1;
        }
        let last = outcome.verdicts.deployed.last().expect("a final fold");
        let lane = if last.policy.is_zero { "zero" } else { last.lane.code() };
        let ok = outcome.verdicts.coins.iter().filter(|v| v.trade_ok).count();
        println!("seed {seed}: {} coins, deployed {lane}, {ok} trade_ok", outcome.verdicts.coins.len());
    }
    println!(
        "\n{:<22}{:<13}{:>8}{:>7}{:>11}{:>14}",
        "comparison", "truth", "helped", "hurt", "undecided", "mean bps/day"
    );
    for (code, rows) in &table {
        for (kind, counts) in rows.iter().enumerate() {
            let (sum, n) = gains[code][kind];
            let mean = if n > 0.0 { sum / n } else { 0.0 };
            println!(
                "{:<22}{:<13}{:>8}{:>7}{:>11}{mean:>14.2}",
                if kind == 0 { code } else { "" },
                KINDS[kind],
                counts[0],
                counts[1],
                counts[2],
            );
        }
    }
    println!("\n{:<22}{:>10}{:>10}{:>9}", "trade_ok", "yes", "no", "share");
    for (kind, [no, yes]) in passed.into_iter().enumerate() {
        println!("{:<22}{yes:>10}{no:>10}{:>9.3}", KINDS[kind], yes as f64 / (yes + no).max(1) as f64);
    }
}

fn once(settings: &Settings, source: &SynthSource) -> Outcome {
    let folder = std::env::temp_dir().join(format!("huracan-sharing-{}", std::process::id()));
    let scratch = Scratch::open(&folder).expect("a scratch folder");
    let engine = Engine {
        settings,
        workers: std::thread::available_parallelism().map_or(1, usize::from),
        now: UtcMs(i64::MAX / 2),
        stop: &AtomicBool::new(false),
        scratch: &scratch,
        observer: &Silent,
        jobs: &huracan_train::jobs::Here,
    };
    run(&engine, source).expect("a run")
}
