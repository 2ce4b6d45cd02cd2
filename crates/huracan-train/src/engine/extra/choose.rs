//! Codes of all coins into pools, and what validation chooses of every lane that reads them.

use super::super::lanes::Lane;
use super::super::pools::Pools;
use super::super::statistics::{Stage, Statistics, rows_min};
use super::super::survey::Survey;
use super::super::{Engine, EngineError, Market};
use super::pass::{CodesPass, FoldBlocks, leave};
use super::{Choice, Extra, ExtraPool, pooled_head};
use crate::jobs::JobsError;
use crate::pool::run_ordered;
use crate::scratch::ScratchError;
use huracan_core::gram::Moments;
use huracan_core::trial::plan::Plan;

/// What a coin brings to the pools of a fold: joined moments, not standardised, inner and full, and on
/// validation about its training means.
struct Share {
    train: [Option<Moments>; 2],
    validation: Option<Moments>,
}

/// The pools of a fold and their weights.
#[derive(serde::Serialize, serde::Deserialize)]
struct FoldPools {
    /// Inner and full.
    train: [(Moments, f64); 2],
    validation: (Moments, f64),
}

/// Runs the pass and chooses for every lane and fold.
///
/// # Errors
/// When interrupted or the scratch disk fails.
pub(super) fn encode(
    engine: &Engine<'_>,
    survey: &Survey,
    market: &Market,
    plan: &Plan,
    statistics: &Statistics,
    pools: &Pools,
    extra: &mut Extra,
) -> Result<(), EngineError> {
    let mut is_whole = true;
    let mut disk: Option<ScratchError> = None;
    let pass = CodesPass { engine, survey, market, plan, statistics, pools, extra };
    let names = survey.names();
    engine.observer.stage_started("codes", names.len());
    engine.pass(&pass, &names, |i, result| {
        engine.observer.stage_advanced("codes", i + 1, &names[i]);
        match result {
            Ok(Ok(())) => {}
            Ok(Err(error)) => disk = Some(error),
            // It goes on without these codes.
            Err(fault) => {
                engine.scratch.cache().close();
                is_whole = false;
                engine.observer.note(&format!("{} has no codes learnt on rows: {fault}", names[i]));
                let nothing = FoldBlocks::default();
                let left = (0..plan.folds.len()).try_for_each(|f| leave(engine, i, f, &nothing));
                disk = left.err().or(disk.take());
            }
        }
    })?;
    if let Some(error) = disk {
        return Err(error.into());
    }
    let (train, validation) = pass.add_up(is_whole)?;
    let standardise = |(sum, weight): (Moments, f64), at: usize| -> Option<ExtraPool> {
        if weight <= 0.0 {
            return None;
        }
        let pooled = sum.divide(weight);
        let deviation = pooled.deviations()[extra.p..].to_vec();
        let all: Vec<f64> = pools.stages[at].deviation.iter().chain(&deviation).copied().collect();
        Some(ExtraPool { moments: pooled.standardised(&all), deviation, weight })
    };
    let stages: Vec<Option<ExtraPool>> =
        train.into_iter().enumerate().map(|(at, raw)| standardise(raw, at)).collect();
    let choices = choose(engine, plan, pools, extra, &stages, validation);
    extra.pools = stages;
    extra.choices = choices;
    Ok(())
}

/// Pools of all coins: training per stage (flat), validation per fold.
type Summed = (Vec<(Moments, f64)>, Vec<(Moments, f64)>);

impl FoldPools {
    fn empty(size: usize) -> FoldPools {
        let zero = || (Moments::zero(size, 1), 0.0);
        FoldPools { train: [zero(), zero()], validation: zero() }
    }

    fn add(&mut self, share: &Share, weight: f64) {
        let pools = self.train.iter_mut().chain([&mut self.validation]);
        for ((sum, total), moments) in pools.zip(share.train.iter().chain([&share.validation])) {
            if let Some(moments) = moments {
                sum.pool(moments, weight);
                *total += weight;
            }
        }
    }
}

impl CodesPass<'_> {
    /// Adds all coins up, in order; pools of tested folds may be there from another run if every coin could
    /// be encoded.
    fn add_up(&self, is_whole: bool) -> Result<Summed, EngineError> {
        let CodesPass { engine, plan, statistics, extra, .. } = *self;
        let cache = engine.scratch.cache();
        let key = |f: usize| {
            let known = statistics.known.as_ref().filter(|_| is_whole && plan.folds[f].test.is_some())?;
            Some(known.fit("code pools", f, |inputs| inputs.number(extra.layout.width() as i64)))
        };
        let mut pools: Vec<Option<FoldPools>> =
            (0..plan.folds.len()).map(|f| key(f).and_then(|key| cache.get(&key))).collect();
        let missing: Vec<usize> = (0..pools.len()).filter(|&f| pools[f].is_none()).collect();
        for &f in &missing {
            pools[f] = Some(FoldPools::empty(extra.head_len()));
        }
        let mut disk = None;
        let shares = |item: usize| self.shares(item, &missing);
        run_ordered(engine.workers, statistics.coins.len(), engine.stop, shares, |item, result| {
            match result {
                Ok(Ok(shares)) => {
                    let weight = statistics.coins[item].as_ref().map_or(0.0, |coin| coin.weight);
                    for (f, share) in missing.iter().zip(shares) {
                        pools[*f].iter_mut().for_each(|pools| pools.add(&share, weight));
                    }
                }
                Ok(Err(error)) => disk = Some(EngineError::from(error)),
                // What was encoded can be added up: a fault of the program, and no coin's.
                Err(panic) => {
                    disk = Some(JobsError { code: "codes_not_pooled", text: panic }.into());
                }
            }
        })?;
        if let Some(error) = disk {
            return Err(error);
        }
        for (f, pools) in missing.iter().filter_map(|&f| Some((f, pools[f].as_ref()?))) {
            key(f).iter().for_each(|key| cache.put(key, pools));
        }
        let (mut train, mut validation) = (Vec::new(), Vec::new());
        for pools in pools.into_iter().flatten() {
            train.extend(pools.train);
            validation.push(pools.validation);
        }
        Ok((train, validation))
    }

    /// What a coin brings to some folds; nothing where it has no statistics.
    fn shares(&self, item: usize, folds: &[usize]) -> Result<Vec<Share>, ScratchError> {
        let Some(known) = &self.statistics.coins[item] else { return Ok(Vec::new()) };
        let needed = rows_min(self.engine.settings);
        let grams = self.grams(item, known);
        let blocks = self.blocks(item);
        let share = |&f: &usize| {
            let (fold, blocks) = (&self.plan.folds[f], blocks.fold(f)?);
            let train = |stage: Stage| -> Result<Option<Moments>, ScratchError> {
                let Some(block) = blocks.at(stage.at(f)) else { return Ok(None) };
                let own = self.own(known, &grams, stage.segments(fold), needed)?;
                Ok(own.map(|own| self.raw(&own, block)))
            };
            let train = [train(Stage::Inner)?, train(Stage::Full)?];
            let validation = match (&train[0], blocks.judged()) {
                (Some(train), Some(block)) => {
                    let judged = self.own(known, &grams, fold.validation.clone(), needed / 4.0)?;
                    judged.map(|own| self.raw(&own, block).about(train))
                }
                _ => None,
            };
            Ok(Share { train, validation })
        };
        folds.iter().map(share).collect()
    }
}

/// The best of every lane's candidates on the validations so far.
fn choose(
    engine: &Engine<'_>,
    plan: &Plan,
    pools: &Pools,
    extra: &Extra,
    stages: &[Option<ExtraPool>],
    validation: Vec<(Moments, f64)>,
) -> Vec<Vec<(Lane, Choice)>> {
    let settings = engine.settings;
    let p = extra.p;
    let candidates: Vec<(Lane, bool, f64)> = extra
        .layout
        .lanes()
        .flat_map(|lane| {
            // One column needs no penalty beside the coin's slope.
            let tried: Vec<(bool, f64)> = if lane == Lane::Autoencoder {
                [true, false]
                    .into_iter()
                    .flat_map(|a| settings.lambdas.iter().map(move |&l| (a, l)))
                    .collect()
            } else {
                vec![(true, 0.0)]
            };
            tried.into_iter().map(move |(alone, lambda)| (lane, alone, lambda))
        })
        .collect();
    let mut sums = vec![0.0; candidates.len()];
    let mut out = Vec::with_capacity(plan.folds.len());
    for (f, (sum, weight)) in validation.into_iter().enumerate() {
        let at = Stage::Inner.at(f);
        let judged = stages[at].as_ref().filter(|_| weight > 0.0).map(|pool| {
            let all: Vec<f64> = pools.stages[at].deviation.iter().chain(&pool.deviation).copied().collect();
            (pool, sum.divide(weight).standardised(&all))
        });
        let mut tried: Vec<(Lane, Choice)> = Vec::with_capacity(candidates.len());
        for (&(lane, alone, lambda), total) in candidates.iter().zip(&mut sums) {
            let codes = extra.layout.columns(lane).map(|c| p + c);
            let columns: Vec<usize> = if alone { codes.collect() } else { (0..p).chain(codes).collect() };
            let found = judged.as_ref().and_then(|(pool, judged)| {
                let head = pooled_head(&pool.moments.columns(&columns), lambda)?;
                let judged = judged.columns(&columns);
                let variance = judged.score_variance(&head);
                let slope = (variance > 0.0).then(|| judged.score_covariance(&head, 0) / variance);
                Some((judged.correlation(&head, 0), slope))
            });
            let (ic, validation_slope) = found.unwrap_or((None, None));
            *total += ic.unwrap_or(0.0);
            let validation_ic = ic.map(|_| *total / (f + 1) as f64);
            tried.push((lane, Choice { columns, alone, lambda, validation_ic, validation_slope }));
        }
        let key = |c: &Choice| c.validation_ic.unwrap_or(f64::NEG_INFINITY);
        let best = extra.layout.lanes().filter_map(|lane| {
            let of_lane = tried.iter().filter(|(l, _)| *l == lane);
            of_lane.reduce(|a, b| if key(&b.1) >= key(&a.1) { b } else { a }).cloned()
        });
        out.push(best.collect());
    }
    out
}
