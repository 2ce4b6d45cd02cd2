//! How often canaries of a healthy Engine are found, and whether those of a broken one are caught.
//!
//! `cargo run --release -p huracan-train --example canary_power -- MARKET SEEDS CORRELATION FAULT DAYS FOLDS`
//! where MARKET is `generated`, `generated-spot` or a folder of hourly candles (60 of its coins are used), SEEDS is
//! `1..20`, FAULT is `none`, `blind` (labels and returns have random signs: nothing can be learnt) or
//! `leak` (the volume of a noise coin's bar tells the day to come), DAYS is the length of a generated market.

use huracan_core::synth::MarketSpec;
use huracan_core::words::{Market, Seed, Timeframe, UtcMs};
use huracan_train::canary::{self, CanarySource, Kind};
use huracan_train::engine::{Engine, Silent, survey};
use huracan_train::scratch::Scratch;
use huracan_train::settings::Settings;
use huracan_train::source::{CandleSource, Entry, FolderSource, LoadFailure, Loaded, SynthSource};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

const COINS: usize = 60;

/// Some entries of a source.
struct Part {
    inner: Box<dyn CandleSource>,
    entries: Vec<Entry>,
    kept: Vec<usize>,
}

impl CandleSource for Part {
    fn entries(&self) -> &[Entry] {
        &self.entries
    }
    fn load(&self, index: usize) -> Result<Loaded, LoadFailure> {
        self.inner.load(self.kept[index])
    }
    fn fingerprint(&self, index: usize, until: Option<UtcMs>) -> String {
        self.inner.fingerprint(self.kept[index], until)
    }
}

/// Noise coins whose volumes know the day to come.
struct Leaking<'a>(&'a CanarySource<'a>);

impl CandleSource for Leaking<'_> {
    fn entries(&self) -> &[Entry] {
        self.0.entries()
    }
    fn load(&self, index: usize) -> Result<Loaded, LoadFailure> {
        let mut loaded = self.0.load(index)?;
        let noise = matches!(&self.entries()[index], Entry::Coin(s) if s.base().starts_with("NOISE"));
        let bars = &mut loaded.bars;
        let n = bars.close.len();
        for i in (0..n.saturating_sub(25)).filter(|_| noise) {
            let told = ((bars.close[i + 25] / bars.close[i + 1]).ln() * 20.0).clamp(-2.0, 2.0).exp();
            bars.volume[i] *= told;
            bars.quote_volume.iter_mut().for_each(|q| q[i] *= told);
            bars.taker_buy_base.iter_mut().for_each(|q| q[i] *= told);
        }
        Ok(loaded)
    }
    fn fingerprint(&self, index: usize, until: Option<UtcMs>) -> String {
        self.0.fingerprint(index, until)
    }
}

fn market(name: &str, days: usize) -> Box<dyn CandleSource> {
    if name.starts_with("generated") {
        return Box::new(SynthSource::new(&MarketSpec {
            coins: COINS,
            days,
            market: if name.ends_with("spot") { Market::Spot } else { Market::Perp },
            planted_shared: 6,
            planted_private: 2,
            late_listings: 2,
            thin: 2,
            dirty: 2,
            ..MarketSpec::default()
        }));
    }
    let inner = FolderSource::open(Path::new(name), Timeframe::H1, Some(Market::Perp)).expect("candles");
    let leads = |e: &Entry| matches!(e, Entry::Coin(s) if matches!(s.base(), "BTC" | "ETH"));
    let step = inner.entries().len().div_ceil(COINS).max(1);
    let kept: Vec<usize> =
        (0..inner.entries().len()).filter(|&i| i % step == 0 || leads(&inner.entries()[i])).collect();
    let entries = kept.iter().map(|&i| inner.entries()[i].clone()).collect();
    Box::new(Part { inner: Box::new(inner), entries, kept })
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |i: usize, default: &str| arguments.get(i).cloned().unwrap_or_else(|| default.to_owned());
    let (name, seeds, fault) = (argument(0, "generated"), argument(1, "1..20"), argument(3, "none"));
    let correlation: f64 = argument(2, "0.25").parse().expect("a correlation");
    let days: usize = argument(4, "300").parse().expect("days");
    let (first, last) = seeds.split_once("..").expect("seeds as 1..20");
    let source = market(&name, days);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let scratch = Scratch::open(&folder.path().join("run")).expect("a scratch folder");
    let stop = AtomicBool::new(false);
    let mut base = Settings::standard();
    base.canaries.label_correlation = correlation;
    base.walk.folds = argument(5, "5").parse().expect("folds");
    if name.ends_with("spot") {
        base.market = Market::Spot;
    }
    let engine = Engine {
        settings: &base,
        workers: 2,
        now: UtcMs(i64::MAX / 2),
        stop: &stop,
        scratch: &scratch,
        observer: &Silent,
        jobs: &huracan_train::jobs::Here,
    };
    let survey = survey::survey(&engine, &*source).expect("a survey");
    println!("{} coins pass the gates, {} do not", survey.coins.len(), survey.skipped.len());
    let mut found: Vec<[usize; 4]> = Vec::new();
    for seed in first.parse::<u64>().expect("a seed")..=last.parse::<u64>().expect("a seed") {
        let mut settings = Settings { seed: Seed(seed), ..base.clone() };
        if fault == "blind" {
            settings.placebo_run = Some(Seed(seed));
        }
        let engine = Engine { settings: &settings, ..engine };
        let began = Instant::now();
        let canaries = match CanarySource::new(&engine, &survey) {
            Ok(canaries) => canaries,
            Err(error) => return println!("not made: {error:?}"),
        };
        let of = canary::settings(&settings, &survey);
        let leaking = Leaking(&canaries);
        let candles: &dyn CandleSource = if fault == "leak" { &leaking } else { &canaries };
        let verdicts = canary::judged(&engine, &of, &canaries, candles, &folder.path().join("canaries"))
            .expect("canaries run");
        let of_kind = |kind: Kind| verdicts.coins.iter().filter(move |c| c.kind == kind);
        let at = |p: f64| {
            let below = |c: &&canary::CanaryVerdict| c.p.is_some_and(|found| found < p);
            of_kind(Kind::Planted).filter(below).count()
        };
        let noise_below = of_kind(Kind::Noise).filter(|c| c.p.is_some_and(|p| p < 0.05)).count();
        let ok = of_kind(Kind::Planted).filter(|c| c.trade_ok).count();
        let net = |kind: Kind| {
            let nets: Vec<f64> = of_kind(kind).filter_map(|c| c.net_pnl_pct).collect();
            nets.iter().sum::<f64>() / nets.len().max(1) as f64
        };
        let trades = |kind: Kind| of_kind(kind).map(|c| c.trades).sum::<usize>();
        println!(
            "seed {seed:>3}: noise {} trade_ok, {noise_below} of p<.05, net {:.2} %, {} trades; planted {} of \
             p<.01, {} <.05, {} <.10, {ok} trade_ok, net {:.2} %, {} trades; {:.1} s",
            verdicts.noise_trade_ok(),
            net(Kind::Noise),
            trades(Kind::Noise),
            at(0.01),
            at(0.05),
            at(0.10),
            net(Kind::Planted),
            trades(Kind::Planted),
            began.elapsed().as_secs_f64()
        );
        found.push([verdicts.noise_trade_ok(), at(0.01), at(0.05), at(0.10)]);
    }
    let runs = found.len().max(1) as f64;
    let mean = |k: usize| found.iter().map(|f| f[k]).sum::<usize>() as f64 / runs;
    let least = |k: usize| found.iter().map(|f| f[k]).min().unwrap_or(0);
    println!(
        "{} runs, {fault}, {correlation}: noise trade_ok mean {:.2}, runs with any {}; planted found mean (least): \
         p<.01 {:.2} ({}), p<.05 {:.2} ({}), p<.10 {:.2} ({})",
        found.len(),
        mean(0),
        found.iter().filter(|f| f[0] > 0).count(),
        mean(1),
        least(1),
        mean(2),
        least(2),
        mean(3),
        least(3)
    );
}
