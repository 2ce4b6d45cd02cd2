//! Canaries of a healthy Engine, and of Engines with a fault.

use super::*;
use crate::engine::Silent;
use crate::engine::survey::survey;
use crate::engine::testing;
use crate::source::{Entry, LoadFailure, Loaded, SynthSource};
use huracan_core::synth::MarketSpec;
use huracan_core::words::{Seed, UtcMs};
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

fn market(days: usize) -> SynthSource {
    SynthSource::new(&MarketSpec {
        coins: 40,
        days,
        planted_shared: 6,
        planted_private: 2,
        stablecoins: 1,
        dirty: 2,
        late_listings: 2,
        thin: 1,
        ..MarketSpec::default()
    })
}

/// Four folds: the least number of tested days that canaries ask for.
fn settings() -> Settings {
    let mut settings = testing::settings();
    settings.walk.folds = 4;
    settings
}

/// What is done to the canaries' candles before the Engine sees them.
type Fault = fn(&Entry, &mut huracan_core::series::Bars);

struct Faulty<'a> {
    canaries: &'a CanarySource<'a>,
    fault: Fault,
}

impl CandleSource for Faulty<'_> {
    fn entries(&self) -> &[Entry] {
        self.canaries.entries()
    }

    fn load(&self, index: usize) -> Result<Loaded, LoadFailure> {
        let mut loaded = self.canaries.load(index)?;
        (self.fault)(&self.entries()[index], &mut loaded.bars);
        Ok(loaded)
    }

    fn fingerprint(&self, index: usize, until: Option<UtcMs>) -> String {
        self.canaries.fingerprint(index, until)
    }
}

/// The canaries of a market, judged by `settings` behind a fault.
fn verdicts(settings: &Settings, workers: usize, fault: Fault) -> CanaryVerdicts {
    static MARKET: OnceLock<SynthSource> = OnceLock::new();
    let folder = tempfile::tempdir().unwrap();
    let scratch = Scratch::open(&folder.path().join("run")).unwrap();
    let engine = Engine {
        settings,
        workers,
        now: UtcMs(i64::MAX / 2),
        stop: &AtomicBool::new(false),
        scratch: &scratch,
        observer: &Silent,
        jobs: &crate::jobs::Here,
    };
    let survey = survey(&engine, MARKET.get_or_init(|| market(210))).unwrap();
    let canaries = CanarySource::new(&engine, &survey).unwrap();
    let faulty = Faulty { canaries: &canaries, fault };
    let own = super::settings(settings, &survey);
    judged(&engine, &own, &canaries, &faulty, &folder.path().join("canaries")).unwrap()
}

#[test]
fn a_healthy_engine_finds_planted_coins_and_trades_no_noise() {
    let found = verdicts(&settings(), 1, |_, _| {});
    assert!(found.passed(), "{}", found.sentence());
    assert_eq!((found.noise(), found.planted(), found.noise_trade_ok()), (NOISE, PLANTED, 0));
    let names: std::collections::BTreeSet<&str> = found.coins.iter().map(|c| c.donor.as_str()).collect();
    assert!(names.len() >= 25 && !names.contains("BTCUSDT.P"), "{names:?}");
    assert_eq!(found, verdicts(&settings(), 3, |_, _| {}), "the number of workers changed something");
}

#[test]
fn an_engine_that_cannot_learn_is_caught() {
    let blind = Settings { placebo_run: Some(Seed(9)), ..settings() };
    let found = verdicts(&blind, 2, |_, _| {});
    assert!(!found.passed() && found.planted_found() < FOUND_MIN / 2, "{}", found.sentence());
}

#[test]
fn an_engine_that_sees_the_future_is_caught() {
    let found = verdicts(&settings(), 2, |entry, bars| {
        let is_noise = matches!(entry, Entry::Coin(symbol) if symbol.base().starts_with("NOISE"));
        for i in (0..bars.close.len() - 25).filter(|_| is_noise) {
            let ahead = (bars.close[i + 25] / bars.close[i + 1]).ln();
            let told = (20.0 * ahead).clamp(-2.0, 2.0).exp();
            bars.volume[i] *= told;
            let more = [&mut bars.quote_volume, &mut bars.taker_buy_base];
            more.into_iter().flatten().for_each(|column| column[i] *= told);
        }
    });
    assert!(!found.passed() && found.noise_trade_ok() > NOISE / 2, "{}", found.sentence());
}

#[test]
fn canaries_that_cannot_be_told_from_luck_are_not_run_and_say_why() {
    let check = |settings: &Settings, market: &SynthSource, part: &str| {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::open(&folder.path().join("run")).unwrap();
        let engine = Engine {
            settings,
            workers: 2,
            now: UtcMs(i64::MAX / 2),
            stop: &AtomicBool::new(false),
            scratch: &scratch,
            observer: &Silent,
            jobs: &crate::jobs::Here,
        };
        let survey = survey(&engine, market).unwrap();
        let Canaries::NotRun(reason) = run(&engine, &survey, &folder.path().join("canaries")).unwrap() else {
            panic!("they ran, expected {part:?}");
        };
        assert!(reason.contains(part), "{reason}");
    };
    let canaries = CanarySettings { enabled: false, ..CanarySettings::default() };
    check(&Settings { canaries, ..settings() }, &market(100), "canaries.enabled is false");
    check(&settings(), &market(100), "candles span 100.0 days");
    check(&testing::settings(), &market(180), "test 90 horizons");
    let weak = CanarySettings { label_correlation: 0.05, ..CanarySettings::default() };
    check(&Settings { canaries: weak, ..settings() }, &market(210), "round trips of costs");
    let few = SynthSource::new(&MarketSpec { coins: 6, days: 210, dirty: 0, ..MarketSpec::default() });
    check(&settings(), &few, "coins pass every gate");
}
