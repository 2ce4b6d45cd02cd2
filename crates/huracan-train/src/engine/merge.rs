//! Coins' moments into pools, fold by fold. Pools of tested folds outlive the run: a night after one more
//! day adds up those of the final fit only.

use super::grams::{CoinGrams, GramShelf};
use super::known::Known;
use super::pools::PooledFold;
use super::prepare::scaled_until;
use super::statistics::{CoinStatistics, RawPool, Stage, Statistics, Targets, rows_min};
use super::survey::{Failed, Survey};
use super::{Engine, EngineError};
use crate::cache::Key;
use crate::jobs::{JobFault, PANICKED};
use crate::pool::run_ordered;
use crate::scratch::ScratchError;
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par};
use huracan_core::encoder::{EncoderKind, Scaler};
use huracan_core::gram::Moments;
use huracan_core::trial::plan::{Fold, Plan};
use std::collections::BTreeMap;

/// All pools of one fold, before standardising.
pub struct RawFold {
    /// Own-scaled features about the coins' means, inner and full.
    pub(super) train: [RawPool; 2],
    /// Validation of the same.
    pub(super) validation: RawPool,
    /// Own-scaled features beside those in common units, differences between coins included; inner and full
    /// of a tested fold.
    pub(super) level_train: Vec<RawPool>,
    /// Validation of the same.
    pub(super) level_validation: Vec<RawPool>,
    /// What the reduced-rank regression is made of, inner and full, per group of targets (the label with
    /// its horizons, then each placebo): `Σ w·c c'` over coins and horizons, c a coin's covariances of
    /// own-scaled features with the label in units of the label's deviation. Empty where it is not tried.
    pub(super) scatter: [Vec<Mat<f64>>; 2],
    /// Training rows of every coin that has any, inner and full.
    pub(super) rows: CoinRows,
}

/// Training rows by the coin's name, inner and full.
pub type CoinRows = BTreeMap<String, [f64; 2]>;

/// A fold's pools as sums over coins, or what was made of them in another run.
pub enum FoldSource {
    /// Sums.
    Raw(Box<RawFold>),
    /// Made.
    Made(Box<PooledFold>),
}

impl FoldSource {
    fn rows(&self) -> &CoinRows {
        match self {
            FoldSource::Raw(raw) => &raw.rows,
            FoldSource::Made(made) => &made.rows,
        }
    }
}

/// The key of a fold's pools among what outlives a run.
pub(super) fn key(plan: &Plan, known: Option<&Known>, fold: usize) -> Option<Key> {
    Some(known.filter(|_| plan.folds[fold].test.is_some())?.fit("pools", fold, |inputs| inputs))
}

/// What a coin brings to the pools of one fold.
struct Share {
    train: [Option<Moments>; 2],
    validation: Option<Moments>,
    level_train: Vec<Option<Moments>>,
    level_validation: Vec<Option<Moments>>,
    rows: [f64; 2],
}

/// What pools are made of.
pub(super) struct Merge<'a> {
    pub(super) engine: &'a Engine<'a>,
    pub(super) survey: &'a Survey,
    pub(super) plan: &'a Plan,
    pub(super) shelf: GramShelf<'a>,
    pub(super) known: Option<&'a Known>,
}

impl Merge<'_> {
    /// Adds everything up. `scalers` has one per coin whose statistics were made; coins that break here are
    /// told in `failed`.
    ///
    /// # Errors
    /// When interrupted or scratch cannot be read back.
    pub(super) fn run(
        &self,
        scalers: &[Option<Scaler>],
        failed: &mut Vec<Failed>,
    ) -> Result<Statistics, EngineError> {
        let mut broken = vec![false; scalers.len()];
        loop {
            // What is kept was made of all coins.
            let is_whole = failed.is_empty();
            let found = |f: usize| {
                let key = key(self.plan, self.known, f).filter(|_| is_whole)?;
                self.engine.scratch.cache().get(&key).map(|made| FoldSource::Made(Box::new(made)))
            };
            let mut pools: Vec<Option<FoldSource>> = (0..self.plan.folds.len()).map(found).collect();
            let was_kept: Vec<bool> = pools.iter().map(Option::is_some).collect();
            let before = failed.len();
            self.add_up(scalers, &mut broken, &mut pools, failed)?;
            if failed.len() == before || !was_kept.contains(&true) {
                return Ok(self.statistics(scalers, &broken, pools));
            }
        }
    }

    fn empty(&self, fold: &Fold) -> RawFold {
        let (p, targets) = (self.shelf.p, Targets::of(self.engine.settings));
        let tries = self.engine.settings.encoder.tries(EncoderKind::Rrr);
        let groups = if tries { 1 + targets.placebos } else { 0 };
        let zero = |p, q| RawPool { sum: Moments::zero(p, q), weight: 0.0, coins: 0 };
        let level = |n: usize| {
            let n = if fold.test.is_some() { n } else { 0 };
            (0..n).map(|_| zero(2 * p, targets.horizons)).collect()
        };
        let scatter = || vec![Mat::zeros(p, p); groups];
        RawFold {
            train: [zero(p, targets.count()), zero(p, targets.count())],
            validation: zero(p, targets.count()),
            level_train: level(2),
            level_validation: level(1),
            scatter: [scatter(), scatter()],
            rows: BTreeMap::new(),
        }
    }

    /// Fills the pools that are not there, coin by coin in order.
    fn add_up(
        &self,
        scalers: &[Option<Scaler>],
        broken: &mut [bool],
        pools: &mut [Option<FoldSource>],
        failed: &mut Vec<Failed>,
    ) -> Result<(), EngineError> {
        let Merge { engine, survey, plan, .. } = *self;
        let missing: Vec<usize> = (0..pools.len()).filter(|&f| pools[f].is_none()).collect();
        for &f in &missing {
            pools[f] = Some(FoldSource::Raw(Box::new(self.empty(&plan.folds[f]))));
        }
        let targets = Targets::of(engine.settings);
        let mut disk = None;
        let is_out = broken.to_vec();
        let shares = |i: usize| -> Result<Vec<Share>, ScratchError> {
            let Some(scaler) = scalers[i].as_ref().filter(|_| !is_out[i]) else { return Ok(Vec::new()) };
            let own = scaler.offset_and_ratio(self.shelf.units);
            let grams = self.shelf.of(i, &survey.coins[i], scaler);
            missing.iter().map(|&f| self.share(&grams, &own, f)).collect()
        };
        run_ordered(engine.workers, scalers.len(), engine.stop, shares, |i, result| match result {
            Ok(Ok(shares)) => {
                let weight = 1.0 / survey.twins(i).len() as f64;
                for (fold, share) in missing.iter().zip(shares) {
                    if let Some(FoldSource::Raw(pools)) = &mut pools[*fold] {
                        pools.add(&share, weight, &targets);
                        if share.rows != [0.0; 2] {
                            pools.rows.insert(survey.coins[i].symbol.to_string(), share.rows);
                        }
                    }
                }
            }
            Ok(Err(error)) => disk = Some(error),
            Err(panic) => {
                engine.scratch.cache().close();
                broken[i] = true;
                let fault = JobFault::permanent(PANICKED, panic);
                failed.push(Failed::new(survey.coins[i].symbol.to_string(), "statistics", fault));
            }
        })?;
        disk.map_or(Ok(()), |error: ScratchError| Err(error.into()))
    }

    /// What a coin brings to a fold.
    fn share(
        &self,
        grams: &CoinGrams<'_>,
        own: &(Vec<f64>, Vec<f64>),
        f: usize,
    ) -> Result<Share, ScratchError> {
        let settings = self.engine.settings;
        let fold = &self.plan.folds[f];
        let needed = rows_min(settings);
        let horizons = Targets::of(settings).horizons;
        let scaled = |m: &Moments| m.rescaled(&own.0, &own.1);
        let level = |m: &Moments| m.beside_own_scale(&own.0, &own.1, horizons).about_zero();
        let inner = grams.moments(Stage::Inner.segments(fold), needed)?;
        let full = grams.moments(Stage::Full.segments(fold), needed)?;
        let judged = match inner {
            Some(_) => grams.moments(fold.validation.clone(), needed / 4.0)?,
            None => None,
        };
        let tested = fold.test.is_some();
        let levels = |m: &Option<Moments>| m.as_ref().map(level);
        Ok(Share {
            rows: [&inner, &full].map(|m| m.as_ref().map_or(0.0, |m| m.n)),
            level_train: if tested { vec![levels(&inner), levels(&full)] } else { Vec::new() },
            level_validation: if tested { vec![levels(&judged)] } else { Vec::new() },
            validation: inner.as_ref().zip(judged).map(|(training, judged)| scaled(&judged.about(training))),
            train: [inner, full].map(|m| m.as_ref().map(scaled)),
        })
    }

    fn statistics(
        &self,
        scalers: &[Option<Scaler>],
        broken: &[bool],
        pools: Vec<Option<FoldSource>>,
    ) -> Statistics {
        let Merge { engine, survey, plan, shelf, known } = *self;
        let pools: Vec<FoldSource> = pools.into_iter().flatten().collect();
        let coin = |(i, scaler): (usize, &Option<Scaler>)| {
            let scaler = scaler.as_ref().filter(|_| !broken[i])?;
            let (coin, twins) = (&survey.coins[i], survey.twins(i));
            let symbol = coin.symbol.to_string();
            let rows = |pools: &FoldSource| pools.rows().get(&symbol).copied().unwrap_or([0.0; 2]);
            Some(CoinStatistics {
                scaled_until: scaled_until(engine.settings, plan, coin.start(), coin.len()),
                own: scaler.offset_and_ratio(shelf.units),
                scaler: scaler.clone(),
                rows: pools.iter().flat_map(rows).collect(),
                weight: 1.0 / twins.len() as f64,
                twins,
            })
        };
        Statistics {
            coins: scalers.iter().enumerate().map(coin).collect(),
            units: shelf.units.clone(),
            folds: pools,
            failed: Vec::new(),
            p: shelf.p,
            known: known.cloned(),
        }
    }
}

impl RawFold {
    fn add(&mut self, share: &Share, weight: f64, targets: &Targets) {
        pool(&mut self.train, &share.train, weight);
        pool(std::slice::from_mut(&mut self.validation), std::slice::from_ref(&share.validation), weight);
        pool(&mut self.level_train, &share.level_train, weight);
        pool(&mut self.level_validation, &share.level_validation, weight);
        for (scatter, moments) in self.scatter.iter_mut().zip(&share.train) {
            if let Some(moments) = moments {
                scatter_labels(scatter, moments, targets, weight);
            }
        }
    }
}

fn pool(pools: &mut [RawPool], coin: &[Option<Moments>], weight: f64) {
    for (pool, moments) in pools.iter_mut().zip(coin) {
        if let Some(moments) = moments {
            pool.sum.pool(moments, weight);
            pool.weight += weight;
            pool.coins += 1;
        }
    }
}

/// Adds a coin's covariances with its labels to the scatter of every group.
fn scatter_labels(scatter: &mut [Mat<f64>], coin: &Moments, targets: &Targets, weight: f64) {
    for (group, sum) in scatter.iter_mut().enumerate() {
        let members = match group.checked_sub(1) {
            None => 0..targets.horizons,
            Some(placebo) => targets.placebo(placebo)..targets.placebo(placebo) + 1,
        };
        for target in members.filter(|&j| coin.var_y[j] > 0.0) {
            let c = coin.cross.col(target);
            let by = weight / coin.var_y[target];
            matmul(&mut *sum, Accum::Add, c.as_mat(), c.transpose().as_mat(), by, Par::Seq);
        }
    }
}
