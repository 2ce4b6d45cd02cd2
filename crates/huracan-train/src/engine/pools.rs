//! Between the passes: encoder and pooled head per fold and stage, and what inner validation
//! chooses: penalty, number of codes, whether to encode at all. Pooled moments only, no rows.

use super::EngineError;
use super::statistics::{RawPool, Stage, Statistics, Targets};
use crate::settings::Settings;
use faer::Mat;
use huracan_core::encoder::{Eigenbasis, Encoder};
use huracan_core::gram::Moments;
use huracan_core::heads::pooled::ridge_in_basis;
use huracan_core::trial::plan::Plan;

/// Pooled, standardised moments of one stage with their eigenbasis.
pub struct Pool {
    /// Standardised by `deviation`; correlations on the diagonal blocks.
    pub moments: Moments,
    /// Pooled standard deviation of each scaled feature.
    pub deviation: Vec<f64>,
    /// Total weight of the coins in it.
    pub weight: f64,
    /// Coins in it.
    pub coins: usize,
    /// Eigenbasis of the correlation matrix.
    pub basis: Eigenbasis,
}

/// What inner validation chose for one target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Chosen {
    /// Number of codes; 0 is no encoder.
    pub components: usize,
    /// Penalty λ/n.
    pub lambda: f64,
    /// Correlation of the pooled inner head with the label, mean over the validations so far; `None`
    /// when undefined on this fold's.
    pub validation_ic: Option<f64>,
    /// Slope of the label on the pooled inner head's score, on this fold's validation.
    pub validation_slope: Option<f64>,
}

/// Choices of one fold.
pub struct FoldChoices {
    /// For the label, the best with codes.
    pub encoded: Chosen,
    /// For the label, the best without.
    pub plain: Chosen,
    /// Whether codes won.
    pub use_encoder: bool,
    /// For every target column, the best of all.
    pub best: Vec<Chosen>,
    /// For every horizon, the best for the cross-section; empty for the final fit.
    pub level: Vec<Chosen>,
}

/// All pools and choices of a run.
pub struct Pools {
    /// Own-scaled features about the coins' means: what coin heads are made of. One per (fold,
    /// stage), flat.
    pub stages: Vec<Pool>,
    /// Own-scaled features beside those in common units, differences between coins included: what
    /// the cross-section is scored with. One per tested fold.
    pub levels: Vec<Pool>,
    /// One per fold.
    pub choices: Vec<FoldChoices>,
}

impl Pools {
    /// The encoder that the heads of a fold are fitted on.
    pub fn encoder(&self, plan: &Plan, fold: usize) -> Encoder {
        let pool = &self.stages[Stage::Full.at(fold)];
        let components = self.choices[fold].encoded.components;
        Encoder::pca(&pool.basis, &pool.deviation, components, plan.folds[fold].train_end)
    }
}

/// Makes the pools and chooses.
///
/// # Errors
/// [`EngineError::EmptyPool`] when a stage has no coin with enough rows.
pub fn pools(settings: &Settings, plan: &Plan, statistics: &Statistics) -> Result<Pools, EngineError> {
    let empty = || EngineError::EmptyPool { days: settings.fold_train_days_min };
    let stages = statistics.train.iter().map(own).collect::<Option<Vec<Pool>>>().ok_or_else(empty)?;
    let targets = Targets::of(settings);
    let mut evidence = Evidence::new(settings, targets.count());
    let mut level_evidence = Evidence::new(settings, targets.horizons);
    let mut choices = Vec::with_capacity(plan.folds.len());
    let mut levels = Vec::with_capacity(plan.folds.len());
    for fold in 0..plan.folds.len() {
        let inner = &stages[Stage::Inner.at(fold)];
        let raw = &statistics.validation[fold];
        let validation =
            (raw.weight > 0.0).then(|| raw.sum.clone().divide(raw.weight).standardised(&inner.deviation));
        let mut chosen = evidence.choose(inner, validation.as_ref());
        if plan.folds[fold].test.is_some() {
            let inner = level(&statistics.level_train[Stage::Inner.at(fold)]).ok_or_else(empty)?;
            let raw = &statistics.level_validation[fold];
            let about_training = || {
                let own = raw.sum.clone().divide(raw.weight).centred().standardised(&inner.deviation);
                own.about(&inner.moments)
            };
            let validation = (raw.weight > 0.0).then(about_training);
            chosen.level = level_evidence.choose(&inner, validation.as_ref()).best;
            levels.push(level(&statistics.level_train[Stage::Full.at(fold)]).ok_or_else(empty)?);
        }
        choices.push(chosen);
    }
    Ok(Pools { stages, levels, choices })
}

fn own(raw: &RawPool) -> Option<Pool> {
    (raw.weight > 0.0).then(|| standardise(raw, raw.sum.clone().divide(raw.weight))).flatten()
}

fn level(raw: &RawPool) -> Option<Pool> {
    (raw.weight > 0.0).then(|| standardise(raw, raw.sum.clone().divide(raw.weight).centred())).flatten()
}

fn standardise(raw: &RawPool, pooled: Moments) -> Option<Pool> {
    let deviation = pooled.deviations();
    let moments = pooled.standardised(&deviation);
    // No correlation exceeds 1 but by rounding: more means that some feature carries nothing else.
    let columns = 0..deviation.len();
    let sound = columns.clone().all(|j| columns.clone().all(|i| moments.cov[(i, j)].abs() < 1.0 + 1e-6));
    if !sound {
        return None;
    }
    let basis = Eigenbasis::new(&moments.cov)?;
    Some(Pool { moments, deviation, weight: raw.weight, coins: raw.coins, basis })
}

/// Evidence on every candidate (codes × penalty) for every target, over the validations so far: one
/// month alone is too noisy to choose by.
struct Evidence {
    grid: Vec<(usize, f64)>,
    sums: Vec<Vec<f64>>,
    folds: f64,
}

impl Evidence {
    fn new(settings: &Settings, targets: usize) -> Evidence {
        let mut components = vec![0];
        if settings.encoder.enabled {
            components.extend(&settings.encoder.components);
        }
        let pairs = components.iter().flat_map(|&k| settings.lambdas.iter().map(move |&l| (k, l)));
        let grid: Vec<(usize, f64)> = pairs.collect();
        Evidence { sums: vec![vec![0.0; targets]; grid.len()], grid, folds: 0.0 }
    }

    /// Adds a fold's validation and chooses for it.
    fn choose(&mut self, inner: &Pool, validation: Option<&Moments>) -> FoldChoices {
        let targets = self.sums.first().map_or(0, Vec::len);
        self.folds += 1.0;
        let mut tried: Vec<Vec<Chosen>> = Vec::with_capacity(self.grid.len());
        for (&(k, lambda), sums) in self.grid.iter().zip(&mut self.sums) {
            let k = k.min(inner.basis.rank);
            let heads = ridge_in_basis(&inner.basis, &inner.moments.cross, lambda, k);
            let row = (0..targets).map(|j| {
                let mut chosen = score(&heads, validation, j, k, lambda);
                sums[j] += chosen.validation_ic.unwrap_or(0.0);
                chosen.validation_ic = chosen.validation_ic.map(|_| sums[j] / self.folds);
                chosen
            });
            tried.push(row.collect());
        }
        let best = |j: usize, fits: &dyn Fn(&Chosen) -> bool| {
            tried.iter().map(|row| row[j]).filter(|c| fits(c)).reduce(better)
        };
        let fallback = Chosen { components: 0, lambda: 1.0, validation_ic: None, validation_slope: None };
        let plain = best(0, &|c| c.components == 0).unwrap_or(fallback);
        let encoded = best(0, &|c| c.components > 0).unwrap_or(plain);
        FoldChoices {
            use_encoder: encoded.components > 0 && encoded.validation_ic > plain.validation_ic,
            encoded,
            plain,
            level: Vec::new(),
            best: (0..targets).map(|j| best(j, &|_| true).unwrap_or(fallback)).collect(),
        }
    }
}

/// The better of two; ties and the undefined go to the heavier penalty, then to fewer codes.
fn better(a: Chosen, b: Chosen) -> Chosen {
    let key = |c: &Chosen| c.validation_ic.unwrap_or(f64::NEG_INFINITY);
    let order =
        key(&b).total_cmp(&key(&a)).then(b.lambda.total_cmp(&a.lambda)).then(a.components.cmp(&b.components));
    if order.is_gt() { b } else { a }
}

fn score(heads: &Mat<f64>, validation: Option<&Moments>, j: usize, components: usize, lambda: f64) -> Chosen {
    let b: Vec<f64> = (0..heads.nrows()).map(|i| heads[(i, j)]).collect();
    let slope = |m: &Moments| {
        let variance = m.score_variance(&b);
        (variance > 0.0).then(|| m.score_covariance(&b, j) / variance)
    };
    Chosen {
        components,
        lambda,
        validation_ic: validation.and_then(|m| m.correlation(&b, j)),
        validation_slope: validation.and_then(slope),
    }
}
