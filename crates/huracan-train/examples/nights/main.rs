//! Many nights in a row: does a rule for changing champions keep what it promises?
//!
//! ```text
//! cargo run --release -p huracan-train --example nights -- --candles DIR --coins 100 --nights 30 --step-days 3
//! ```
//! The end of the data moves forward by a step a night. Each night trains every coin and hands the same
//! candidates to several rules. Afterwards every head of every night is traded, frozen, on the days after
//! its night, all at the same costs, and each rule is asked what its promotions gained. With
//! `--handicapped 1` the first champions are worse for certain, so that there is something to be found.

mod afterwards;
mod rules;

use huracan_core::choose::champion::{ChampionRule, Record};
use huracan_core::stats::bootstrap::stationary_rows;
use huracan_core::stats::moments::std_dev;
use huracan_core::stats::quantiles::median;
use huracan_core::trial::plan::WalkForward;
use huracan_core::words::{Market, Seed, Timeframe, UtcMs};
use huracan_train::engine::lanes::Lane;
use huracan_train::engine::{Engine, Outcome, Silent, run};
use huracan_train::scratch::Scratch;
use huracan_train::settings::{EncoderSettings, HeadSettings, Settings, TradingSettings};
use huracan_train::source::{CandleSource, Entry, FolderSource, LoadFailure, Loaded};
use rules::{Promotion, Reigns, Rule};
use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// Days after a promotion on which its gain is looked at, and the fewest that say anything.
const AFTER_DAYS_MAX: i64 = 21;
const AFTER_DAYS_MIN: i64 = 6;

struct Arguments {
    candles: PathBuf,
    coins: usize,
    nights: usize,
    step_days: f64,
    /// The first so many nights trade whatever their edge: models that are worse for certain.
    handicapped: usize,
    workers: usize,
}

fn arguments() -> Result<Arguments, Box<dyn Error>> {
    let mut found = Arguments {
        candles: PathBuf::new(),
        coins: 100,
        nights: 30,
        step_days: 3.0,
        handicapped: 0,
        workers: 1,
    };
    let mut words = std::env::args().skip(1);
    while let Some(flag) = words.next() {
        let value = words.next().ok_or_else(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--candles" => found.candles = value.into(),
            "--coins" => found.coins = value.parse()?,
            "--nights" => found.nights = value.parse()?,
            "--step-days" => found.step_days = value.parse()?,
            "--handicapped" => found.handicapped = value.parse()?,
            "--workers" => found.workers = value.parse()?,
            _ => return Err(format!("{flag} is not a flag of this example").into()),
        }
    }
    Ok(found)
}

/// A spread of the folder's coins, read once and kept.
struct Kept {
    entries: Vec<Entry>,
    loaded: Vec<Result<Loaded, LoadFailure>>,
}

impl Kept {
    fn of(dir: &Path, coins: usize) -> Result<Kept, Box<dyn Error>> {
        let all = FolderSource::open(dir, Timeframe::H1, Some(Market::Perp))?;
        let stride = all.entries().len().div_ceil(coins).max(1);
        let leads =
            |entry: &Entry| matches!(entry, Entry::Coin(s) if matches!(s.underlying(), "BTC" | "ETH"));
        let chosen = (0..all.entries().len()).filter(|&i| i % stride == 0 || leads(&all.entries()[i]));
        let (entries, loaded) = chosen.map(|i| (all.entries()[i].clone(), all.load(i))).unzip();
        Ok(Kept { entries, loaded })
    }
}

impl CandleSource for Kept {
    fn entries(&self) -> &[Entry] {
        &self.entries
    }
    fn load(&self, index: usize) -> Result<Loaded, LoadFailure> {
        self.loaded[index].clone()
    }
    fn fingerprint(&self, index: usize, _: Option<UtcMs>) -> String {
        index.to_string()
    }
}

/// Small: the pooled ridge with few penalties and policies, no placebos; four folds of 25 days. The head
/// that never trades does not compete: rules about champions have nothing to decide between zeros.
fn settings(until: Option<UtcMs>) -> Settings {
    let standard = Settings::standard();
    Settings {
        until,
        research_horizons_bars: Vec::new(),
        walk: WalkForward { folds: 4, fold_days: 25.0, embargo_days: 5.0, inner_days: 30.0 },
        encoder: EncoderSettings { kinds: Vec::new(), ..standard.encoder },
        heads: HeadSettings { trees: None, deploy: vec![Lane::Plain], ..standard.heads },
        lambdas: vec![1.0, 10.0, 100.0],
        taus: vec![3.0],
        trading: TradingSettings {
            entry_cost_multiples: vec![0.5, 1.0, 2.0],
            zero_competes: false,
            ..standard.trading
        },
        champion: ChampionRule { common_days_min: 40, ..ChampionRule::default() },
        placebos: 0,
        ..standard
    }
}

/// A night's models by coin.
pub struct Night {
    /// End of its data.
    pub until: UtcMs,
    /// One candidate a coin.
    pub candidates: BTreeMap<String, Candidate>,
    /// Names of the features, missing share last.
    pub feature_names: Vec<String>,
    /// Pooled standard deviations of the final fit's features.
    pub deviation: Vec<f64>,
    /// Entry multiple and exit band.
    pub policy: (f64, f64),
}

/// One coin's frozen model.
pub struct Candidate {
    /// Its out-of-sample record.
    pub record: Record,
    /// Weights over standardised features.
    pub weights: Vec<f64>,
    /// Training means of the scaled features.
    pub mean: Vec<f64>,
    /// Scaling.
    pub scaler: huracan_core::encoder::Scaler,
}

fn night(outcome: Outcome) -> Night {
    let first_day = outcome.plan.test_start.day();
    let candidate = |v: &huracan_train::engine::verdicts::CoinVerdict| {
        let coin = &outcome.survey.coins[v.index];
        let scaler = outcome.statistics[v.index].as_ref()?.scaler.clone();
        let record = Record {
            first_day,
            daily_net_bps: v.daily_net_bps.clone(),
            trades: v.metrics.sample_size,
            active_days: v.metrics.active_days,
        };
        let (weights, mean) = (v.head.weights.clone(), v.head.mean.clone());
        Some((coin.symbol.to_string(), Candidate { record, weights, mean, scaler }))
    };
    let last = outcome.verdicts.deployed.last();
    let policy = last.map_or((1.0, 0.3), |d| (d.policy.multiple, d.policy.exit_band));
    Night {
        until: outcome.survey.until,
        candidates: outcome.verdicts.coins.iter().filter_map(candidate).collect(),
        deviation: outcome.pools.stages.last().map_or_else(Vec::new, |pool| pool.deviation.clone()),
        feature_names: outcome.feature_names,
        policy,
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = arguments()?;
    let source = Kept::of(&arguments.candles, arguments.coins)?;
    let folder = std::env::temp_dir().join(format!("huracan-nights-{}", std::process::id()));
    let scratch = Scratch::open(&folder)?;
    let stop = AtomicBool::new(false);
    let last = source.loaded.iter().flatten().filter_map(|l| l.bars.open_time.iter().max()).max();
    let end = UtcMs(last.copied().ok_or("no candles")? + Timeframe::H1.ms());
    let step = (arguments.step_days * UtcMs::DAY as f64) as i64;
    let until = |k: usize| UtcMs(end.0 - (arguments.nights - k) as i64 * step);
    let mut asked: Vec<Settings> = (0..arguments.nights).map(|k| settings(Some(until(k)))).collect();
    for settings in asked.iter_mut().take(arguments.handicapped) {
        settings.trading.entry_cost_multiples = vec![0.0];
    }
    let everything = settings(None);
    let engine = |settings| Engine {
        settings,
        workers: arguments.workers,
        now: UtcMs(i64::MAX / 2),
        stop: &stop,
        scratch: &scratch,
        observer: &Silent,
        jobs: &huracan_train::jobs::Here,
    };
    let rules = Rule::all(&everything);
    let mut reigns: Vec<Reigns> = rules.iter().map(|_| Reigns::default()).collect();
    let mut nights: Vec<Night> = Vec::new();
    for (k, asked) in asked.iter().enumerate() {
        let began = Instant::now();
        let outcome = run(&engine(asked), &source)?;
        nights.push(night(outcome));
        let promoted: Vec<String> = rules
            .iter()
            .zip(&mut reigns)
            .map(|(rule, reigns)| format!("{} {}", rule.name, reigns.decide(rule, &nights)))
            .collect();
        eprintln!(
            "{}: {} coins, {:.0} s; promotions: {}",
            nights[k].until,
            nights[k].candidates.len(),
            began.elapsed().as_secs_f64(),
            promoted.join(", ")
        );
    }
    let traded = afterwards::trade(&engine(&everything), &source, &nights)?;
    drop(scratch);
    let _ = std::fs::remove_dir_all(&folder);
    println!(
        "\n{} nights, {} days apart, to {end}; gains in bps a day a coin\n\n{:<28}{:>10}{:>10}{:>10}{:>10}{:>9}{:>9}{:>11}{:>9}",
        arguments.nights,
        arguments.step_days,
        "rule",
        "promoted",
        "nights",
        "promised",
        "after",
        "s.e.",
        "kept",
        "in force",
        "s.e."
    );
    for (rule, reigns) in rules.iter().zip(&reigns) {
        println!("{}", row(rule, reigns, &nights, &traded));
    }
    println!(
        "\npromoted: changes after the first champion; promised: mean gain on the common days before; after: mean \
         paired gain on up to {AFTER_DAYS_MAX} days after; kept: promotions with a gain after, of those after which \
         the two did not do the same; in force: net of the champions in force, all coins; s.e. by the stationary \
         bootstrap over days"
    );
    for (rule, reigns) in rules.iter().zip(&reigns) {
        if let Some(gain) = median(&reigns.detectable_bps) {
            println!("{}: minimum detectable gain {gain:.2} bps a day, median over nights", rule.name);
            reigns.reasons.iter().for_each(|(reason, n)| println!("  {n:>5} × {reason}"));
        }
    }
    Ok(())
}

fn row(rule: &Rule, reigns: &Reigns, nights: &[Night], traded: &afterwards::Traded) -> String {
    let after = |p: &Promotion| -> Vec<(i64, f64)> {
        let from = nights[p.to].until.day();
        let days = (from..(from + AFTER_DAYS_MAX).min(traded.end_day)).collect::<Vec<i64>>();
        let gain =
            |day: i64| Some((day, traded.net(p.to, &p.symbol, day)? - traded.net(p.from, &p.symbol, day)?));
        days.into_iter().filter_map(gain).collect()
    };
    let judged: Vec<Vec<(i64, f64)>> = reigns.promotions.iter().map(after).collect();
    let judged: Vec<&Vec<(i64, f64)>> = judged.iter().filter(|g| g.len() as i64 >= AFTER_DAYS_MIN).collect();
    let sums: Vec<f64> = judged.iter().map(|g| g.iter().map(|d| d.1).sum::<f64>()).collect();
    let kept = sums.iter().filter(|sum| **sum > 0.0).count();
    let differ = sums.iter().filter(|sum| **sum != 0.0).count();
    let gain = by_day(judged.iter().flat_map(|g| g.iter().copied()));
    let in_force = by_day(
        reigns
            .in_force(nights, traded.end_day)
            .filter_map(|(day, night, symbol)| Some((day, traded.net(night, symbol, day)?))),
    );
    let promised: Vec<f64> = reigns.promotions.iter().map(|p| p.promised_bps).collect();
    let nights_with: std::collections::BTreeSet<usize> = reigns.promotions.iter().map(|p| p.to).collect();
    let number = |v: Option<f64>| v.map_or("–".to_owned(), |v| format!("{v:.2}"));
    format!(
        "{:<28}{:>10}{:>10}{:>10}{:>10}{:>9}{:>9}{:>11}{:>9}",
        rule.name,
        reigns.promotions.len(),
        nights_with.len(),
        number((!promised.is_empty()).then(|| promised.iter().sum::<f64>() / promised.len() as f64)),
        number(gain.map(|g| g.0)),
        number(gain.map(|g| g.1)),
        if differ == 0 { "–".to_owned() } else { format!("{kept}/{differ}") },
        number(in_force.map(|g| g.0)),
        number(in_force.map(|g| g.1)),
    )
}

/// Mean over all values and its bootstrap error, days drawn whole.
fn by_day(values: impl Iterator<Item = (i64, f64)>) -> Option<(f64, f64)> {
    let mut days: BTreeMap<i64, (f64, f64)> = BTreeMap::new();
    for (day, value) in values {
        let (sum, count) = days.entry(day).or_default();
        *sum += value;
        *count += 1.0;
    }
    let days: Vec<(f64, f64)> = days.into_values().collect();
    let mean = |rows: &mut dyn Iterator<Item = usize>| {
        let (sum, count) = rows.fold((0.0, 0.0), |(s, c), i| (s + days[i].0, c + days[i].1));
        sum / count
    };
    if days.len() < 2 {
        return None;
    }
    let mut rng = Seed(1).child("nights", 0).rng();
    let drawn: Vec<f64> =
        (0..500).map(|_| mean(&mut stationary_rows(days.len(), 3.0, &mut rng).into_iter())).collect();
    Some((mean(&mut (0..days.len())), std_dev(&drawn).unwrap_or(0.0)))
}
