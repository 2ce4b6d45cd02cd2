//! Laws of a whole run: what the future may not change, what the number of workers may not change,
//! what leaving coins out may not change.

use super::extra::fit::FitPass;
use super::extra::pass::CodesPass;
use super::passes::Pass;
use super::slopes::SlopesPass;
use super::statistics::StatisticsPass;
use super::testing::{run_by, run_with, settings};
use super::trial::TrialPass;
use super::trial::explain::{ExplainPass, QuietWeeksPass};
use super::*;
use crate::cache::Cache;
use crate::jobs::{Attempts, JobFault, JobName, Jobs, JobsError, Stopping, Trouble, fenced, stoppable};
use crate::settings::Universe;
use crate::source::{CandleSource, Entry, LoadFailure, Loaded, SynthSource};
use huracan_core::synth::MarketSpec;
use huracan_core::words::Symbol;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

fn market() -> SynthSource {
    SynthSource::new(&MarketSpec {
        coins: 12,
        days: 200,
        planted_shared: 4,
        planted_private: 2,
        label_correlation: 0.5,
        stablecoins: 0,
        dirty: 0,
        late_listings: 1,
        thin: 0,
        outages: 1,
        ..MarketSpec::default()
    })
}

/// The same market with every bar from `from` on bent out of shape.
struct Bent {
    inner: SynthSource,
    from: UtcMs,
}

impl CandleSource for Bent {
    fn entries(&self) -> &[Entry] {
        self.inner.entries()
    }

    fn load(&self, index: usize) -> Result<Loaded, LoadFailure> {
        let mut loaded = self.inner.load(index)?;
        let bars = &mut loaded.bars;
        for i in 0..bars.open_time.len() {
            if bars.open_time[i] >= self.from.0 {
                let bend = (0.04 * (0.7 * i as f64 + index as f64).sin()).exp();
                for column in [&mut bars.open, &mut bars.high, &mut bars.low, &mut bars.close] {
                    column[i] *= bend;
                }
                bars.volume[i] *= 1.3;
            }
        }
        Ok(loaded)
    }

    fn fingerprint(&self, index: usize, until: Option<UtcMs>) -> String {
        self.inner.fingerprint(index, until)
    }
}

#[test]
fn a_changed_future_leaves_every_earlier_fold_as_it_was() {
    let clean = run_with(&settings(), 2, &market()).unwrap();
    let last = clean.plan.tested().len() - 1;
    let (from, _) = clean.plan.folds[last].test.unwrap();
    let bent = run_with(&settings(), 2, &Bent { inner: market(), from }).unwrap();
    assert_eq!(clean.feature_names, bent.feature_names);
    assert_eq!(clean.survey.coins.len(), bent.survey.coins.len());
    for fold in 0..=last {
        let (a, b) = (&clean.pools.choices[fold], &bent.pools.choices[fold]);
        assert_eq!(
            (a.pca, a.rrr, a.plain, &a.best, &a.level),
            (b.pca, b.rrr, b.plain, &b.best, &b.level),
            "fold {fold}"
        );
        assert_eq!(clean.verdicts.deployed[fold], bent.verdicts.deployed[fold], "fold {fold}");
    }
    // Every lane, deployed or not, whether its codes are linear or learnt on rows.
    let sums = |o: &Outcome| -> Vec<Vec<u64>> {
        let of = |d: &verdicts::Deployed| d.evidence.iter().map(|e| e.validation_net_bps.to_bits()).collect();
        o.verdicts.deployed[..=last].iter().map(of).collect()
    };
    assert_eq!(sums(&clean), sums(&bent));
    for lane in extra::LANES {
        let choice = |o: &Outcome| o.extra.choice(last, lane).cloned().unwrap();
        assert_eq!(choice(&clean), choice(&bent), "{lane:?}");
    }
    let days = ((from.0 - clean.plan.test_start.0) / UtcMs::DAY) as usize;
    let mut traded = 0;
    for (a, b) in clean.verdicts.coins.iter().zip(&bent.verdicts.coins) {
        // Not the correlation: labels of a fold's last bars end in the next one.
        let judged = |w: &verdicts::Window| (w.test, w.train_rows, w.trades, w.net_pnl_pct, w.sharpe);
        let windows = |c: &verdicts::CoinVerdict| c.windows[..last].iter().map(judged).collect::<Vec<_>>();
        assert_eq!(windows(a), windows(b), "coin {}", a.index);
        let bits = |daily: &[f64]| daily[..days].iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&a.daily_net_bps), bits(&b.daily_net_bps), "coin {}", a.index);
        traded += a.windows[..last].iter().map(|w| w.trades).sum::<usize>();
    }
    assert!(traded > 10, "{traded} trades are no test");
    let later = |o: &Outcome| o.verdicts.universe_daily_net_bps[days..].to_vec();
    assert_ne!(later(&clean), later(&bent), "bending the last fold must show there");
}

#[test]
fn the_number_of_workers_changes_no_bit() {
    let figures = |workers: usize| -> Vec<u64> {
        let outcome = run_with(&settings(), workers, &market()).unwrap();
        let coins = outcome.verdicts.coins.iter();
        let of = |c: &verdicts::CoinVerdict| {
            let worth = c.explained.deltas.values().map(|d| d.mean_bps);
            let lanes = c.baselines.iter().map(|b| b.net_pnl_pct);
            let all = c.daily_net_bps.iter().chain(&c.head.weights).copied().chain(worth).chain(lanes);
            all.map(f64::to_bits).collect::<Vec<u64>>()
        };
        coins.flat_map(of).collect()
    };
    assert_eq!(figures(1), figures(3));
}

#[test]
fn a_part_of_the_folder_keeps_the_whole_market() {
    let all = run_with(&settings(), 2, &market()).unwrap();
    let wanted: Vec<_> = all.survey.coins[..2].iter().map(|c| c.symbol.clone()).collect();
    let part = Settings { universe: Universe::List(wanted), ..settings() };
    let part = run_with(&part, 2, &market()).unwrap();
    assert_eq!(part.survey.coins.len(), 2);
    assert_eq!(part.survey.bystanders.len() + 2, all.survey.coins.len());
    assert_eq!(part.feature_names, all.feature_names);
    assert_eq!(part.survey.grid, all.survey.grid);
    let hold = |o: &Outcome| o.verdicts.coins[0].baselines[0].net_pnl_pct.to_bits();
    assert_eq!(hold(&part), hold(&all));
}

/// The same market where another coin is Bitcoin against another quote, first by name and listed late.
struct LateTwin {
    inner: SynthSource,
    entries: Vec<Entry>,
    /// Where the inner source has them.
    places: Vec<usize>,
    twin: usize,
    from: UtcMs,
}

impl CandleSource for LateTwin {
    fn entries(&self) -> &[Entry] {
        &self.entries
    }

    fn load(&self, index: usize) -> Result<Loaded, LoadFailure> {
        let mut loaded = self.inner.load(self.places[index])?;
        if index == self.twin {
            let bars = &mut loaded.bars;
            let before = bars.open_time.partition_point(|&time| time < self.from.0);
            let needed = [&mut bars.open, &mut bars.high, &mut bars.low, &mut bars.close, &mut bars.volume];
            let optional = [&mut bars.quote_volume, &mut bars.trades];
            let optional = optional.into_iter().chain([&mut bars.taker_buy_base, &mut bars.taker_buy_quote]);
            needed.into_iter().chain(optional.flatten()).for_each(|column| drop(column.drain(..before)));
            bars.open_time.drain(..before);
        }
        Ok(loaded)
    }

    fn fingerprint(&self, index: usize, until: Option<UtcMs>) -> String {
        self.inner.fingerprint(self.places[index], until)
    }
}

#[test]
fn a_bitcoin_listed_later_leads_nobody_in_the_past() {
    let inner = market();
    let symbol = |entry: &Entry| match entry {
        Entry::Coin(symbol) => symbol.clone(),
        Entry::Refused { name, .. } => panic!("{name} is refused"),
    };
    let mut coins: Vec<(Symbol, usize)> = inner.entries().iter().map(symbol).zip(0..).collect();
    let bitcoin = coins.iter().find(|(symbol, _)| symbol.underlying() == "BTC").unwrap().0.clone();
    let twin = Symbol::parse("BTCFDUSD", bitcoin.market()).unwrap();
    coins.last_mut().unwrap().0 = twin.clone();
    coins.sort();
    let twin = coins.iter().position(|(symbol, _)| *symbol == twin).unwrap();
    let (entries, places) = coins.into_iter().map(|(symbol, place)| (Entry::Coin(symbol), place)).unzip();
    let from = UtcMs(MarketSpec::default().start.0 + 100 * UtcMs::DAY);
    let source = LateTwin { inner, entries, places, twin, from };
    let dir = tempfile::tempdir().unwrap();
    let scratch = Scratch::open(&dir.path().join("scratch")).unwrap();
    let settings = settings();
    let engine = Engine {
        settings: &settings,
        workers: 2,
        now: UtcMs(i64::MAX / 2),
        stop: &AtomicBool::new(false),
        scratch: &scratch,
        observer: &Silent,
        jobs: &crate::jobs::Here,
    };
    let survey = survey::survey(&engine, &source).unwrap();
    let is_bitcoin = |coin: &&survey::Coin| coin.symbol.underlying() == "BTC";
    let named: Vec<String> =
        survey.coins.iter().filter(is_bitcoin).map(|coin| coin.symbol.to_string()).collect();
    assert_eq!(named, [format!("BTCFDUSD{}", &bitcoin.to_string()[7..]), bitcoin.to_string()]);
    let leader = super::market(&engine, &survey).unwrap().bitcoin.unwrap();
    assert_eq!((leader.symbol, leader.start), (bitcoin, MarketSpec::default().start));
}

#[test]
fn too_few_coins_for_a_relative_label_are_named() {
    let lonely = SynthSource::new(&MarketSpec {
        coins: 3,
        days: 200,
        dirty: 0,
        stablecoins: 0,
        ..MarketSpec::default()
    });
    let error = run_with(&settings(), 1, &lonely).err().map(|e| e.code());
    assert_eq!(error, Some("too_few_coins"));
}

/// Cancels a job at one of its checkpoints, and counts them.
struct StopsAt {
    checkpoint: usize,
    reached: AtomicUsize,
}

impl Stopping for StopsAt {
    fn fault(&self) -> Option<JobFault> {
        let reached = 1 + self.reached.fetch_add(1, Ordering::Relaxed);
        (reached >= self.checkpoint).then(|| JobFault::permanent("cancelled", "somebody cancelled it"))
    }
}

/// Checkpoints after which the cancelled job of a stage is not let go on: one in the middle of its work.
const STOPPED_AT: usize = 3;

/// Checkpoints that were reached, and what it came to.
type End = (usize, Result<(), JobFault>);

/// Does jobs here, but for one of every stage, which is cancelled: another coin's every time.
#[derive(Default)]
struct CancelsOneOfEveryStage {
    /// Stage and name.
    cancelled: Mutex<BTreeMap<&'static str, String>>,
    ends: Mutex<BTreeMap<(&'static str, String), End>>,
}

impl Jobs for CancelsOneOfEveryStage {
    fn declare(&self, stage: &'static str, names: &[String]) -> Result<(), JobsError> {
        let mut cancelled = self.cancelled.lock().unwrap();
        let taken: BTreeSet<String> = cancelled.values().cloned().collect();
        // The first coins are those that others are measured by.
        let name = names.iter().rev().find(|name| !taken.contains(*name)).unwrap();
        cancelled.insert(stage, name.clone());
        Ok(())
    }

    fn perform(&self, job: JobName<'_>, work: &mut Attempts<'_>) -> Result<(), Trouble> {
        let is_cancelled = self.cancelled.lock().unwrap()[job.stage] == job.name;
        let checkpoint = if is_cancelled { STOPPED_AT } else { usize::MAX };
        let stops = Arc::new(StopsAt { checkpoint, reached: AtomicUsize::new(0) });
        let ended = fenced(|| stoppable(stops.clone(), || work(1))).and_then(|ended| ended);
        let end = (stops.reached.load(Ordering::Relaxed), ended.clone());
        self.ends.lock().unwrap().insert((job.stage, job.name.to_owned()), end);
        Ok(ended?)
    }
}

#[test]
fn a_job_that_is_cancelled_stops_in_the_middle_of_any_stage_and_every_other_is_done() {
    let jobs = CancelsOneOfEveryStage::default();
    let outcome = run_by(&settings(), 2, &market(), Arc::new(Cache::none()), &jobs).unwrap();
    let (cancelled, ends) = (jobs.cancelled.into_inner().unwrap(), jobs.ends.into_inner().unwrap());
    let stages = [
        "survey",
        StatisticsPass::STAGE,
        FitPass::STAGE,
        CodesPass::STAGE,
        SlopesPass::STAGE,
        TrialPass::STAGE,
        QuietWeeksPass::STAGE,
        ExplainPass::STAGE,
    ];
    assert_eq!(cancelled.keys().copied().collect::<BTreeSet<_>>(), BTreeSet::from(stages));
    for ((stage, name), (reached, ended)) in &ends {
        if cancelled[stage] == *name {
            let code = ended.as_ref().map_err(|fault| fault.code.as_str());
            assert_eq!((code, *reached), (Err("cancelled"), STOPPED_AT), "{stage} {name}");
        } else {
            assert_eq!(*ended, Ok(()), "{stage} {name}");
        }
    }
    // A stage without which a coin is not trained says so; without the others it goes on.
    let failed = outcome.failed.iter().map(|failed| (failed.step, (&failed.symbol, failed.code.as_str())));
    let needed = ["survey", StatisticsPass::STAGE, SlopesPass::STAGE, TrialPass::STAGE];
    let expected = needed.map(|stage| (stage, (&cancelled[stage], "cancelled")));
    assert_eq!(failed.collect::<BTreeMap<_, _>>(), BTreeMap::from(expected));
}
