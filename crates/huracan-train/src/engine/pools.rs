//! Between the passes: encoder and pooled head per fold and stage, and what inner validation
//! chooses: penalty, number of codes, whether to encode at all. Pooled moments only, no rows.

use super::EngineError;
use super::statistics::{RawPool, Stage, Statistics, Targets};
use crate::settings::Settings;
use faer::Mat;
use huracan_core::encoder::Eigenbasis;
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
    /// Correlation of the pooled inner head with the label on validation; `None` when undefined.
    pub validation_ic: Option<f64>,
    /// Slope of the label on the pooled inner head's score, on validation.
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
}

/// All pools and choices of a run.
pub struct Pools {
    /// One per (fold, stage), flat.
    pub stages: Vec<Pool>,
    /// One per fold.
    pub choices: Vec<FoldChoices>,
}

/// Makes the pools and chooses.
///
/// # Errors
/// [`EngineError::EmptyPool`] when a stage has no coin with enough rows.
pub fn pools(settings: &Settings, plan: &Plan, statistics: &Statistics) -> Result<Pools, EngineError> {
    let stages = statistics.train.iter().map(standardise).collect::<Option<Vec<Pool>>>();
    let stages = stages.ok_or(EngineError::EmptyPool { days: settings.fold_train_days_min })?;
    let targets = Targets::of(settings);
    let choices = (0..plan.folds.len())
        .map(|fold| {
            let inner = &stages[Stage::Inner.at(fold)];
            let validation = validation_moments(&statistics.validation[fold], &inner.deviation);
            choose(settings, inner, validation.as_ref(), targets.count())
        })
        .collect();
    Ok(Pools { stages, choices })
}

fn standardise(raw: &RawPool) -> Option<Pool> {
    if raw.weight <= 0.0 {
        return None;
    }
    let pooled = raw.sum.clone().divide(raw.weight);
    let deviation = pooled.deviations();
    let moments = pooled.standardised(&deviation);
    let basis = Eigenbasis::new(&moments.cov)?;
    Some(Pool { moments, deviation, weight: raw.weight, coins: raw.coins, basis })
}

fn validation_moments(raw: &RawPool, deviation: &[f64]) -> Option<Moments> {
    (raw.weight > 0.0).then(|| raw.sum.clone().divide(raw.weight).standardised(deviation))
}

fn choose(settings: &Settings, inner: &Pool, validation: Option<&Moments>, targets: usize) -> FoldChoices {
    let mut grid: Vec<(usize, f64)> = settings.lambdas.iter().map(|&l| (0, l)).collect();
    if settings.encoder.enabled {
        let mut components: Vec<usize> =
            settings.encoder.components.iter().map(|&k| k.min(inner.basis.rank)).collect();
        components.dedup();
        grid.extend(components.iter().flat_map(|&k| settings.lambdas.iter().map(move |&l| (k, l))));
    }
    let tried: Vec<Vec<Chosen>> = grid
        .iter()
        .map(|&(k, lambda)| {
            let heads = ridge_in_basis(&inner.basis, &inner.moments.cross, lambda, k);
            (0..targets).map(|j| score(&heads, validation, j, k, lambda)).collect()
        })
        .collect();
    // Ties and the undefined go to the heavier penalty and fewer codes.
    let best = |j: usize, fits: &dyn Fn(&Chosen) -> bool| -> Option<Chosen> {
        let key = |c: &Chosen| c.validation_ic.unwrap_or(f64::NEG_INFINITY);
        let better = |a: Chosen, b: Chosen| {
            let order = key(&b)
                .total_cmp(&key(&a))
                .then(b.lambda.total_cmp(&a.lambda))
                .then(a.components.cmp(&b.components));
            if order.is_lt() {
                a
            } else if order.is_gt() {
                b
            } else {
                a
            }
        };
        tried.iter().map(|row| row[j]).filter(|c| fits(c)).reduce(better)
    };
    let fallback = Chosen { components: 0, lambda: 1.0, validation_ic: None, validation_slope: None };
    let plain = best(0, &|c| c.components == 0).unwrap_or(fallback);
    let encoded = best(0, &|c| c.components > 0).unwrap_or(plain);
    FoldChoices {
        use_encoder: encoded.components > 0 && encoded.validation_ic > plain.validation_ic,
        encoded,
        plain,
        best: (0..targets).map(|j| best(j, &|_| true).unwrap_or(fallback)).collect(),
    }
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
