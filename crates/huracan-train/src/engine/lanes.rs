//! Lanes: the heads that run side by side through every fold, and the slopes pass that says how
//! strongly each coin follows its pooled head.
//!
//! A lane is a target with a choice of codes and penalty per fold. The label has three (with the
//! shared encoder, without, with the coin's own principal components), every placebo one.

use super::pools::{Chosen, Pools};
use super::statistics::{CoinStatistics, Stage, Statistics, Targets, coin_moments, read_grams, rows_min};
use super::survey::{Failed, Survey};
use super::{Engine, EngineError};
use crate::pool::{Fenced, run_ordered};
use crate::scratch::ScratchError;
use crate::settings::Settings;
use faer::Mat;
use huracan_core::encoder::Eigenbasis;
use huracan_core::gram::{Gram, Moments};
use huracan_core::heads::pooled::{leave_out, penalty_metric, ridge};
use huracan_core::heads::slopes::{SlopeEstimate, SlopePrior};
use huracan_core::trial::plan::Plan;
use std::collections::BTreeMap;

/// Lane of the head with the shared encoder.
pub const SHARED: usize = 0;
/// Lane of the head without an encoder.
pub const PLAIN: usize = 1;
/// Lane of the head on the coin's own principal components.
pub const OWN_PCA: usize = 2;
/// First placebo lane.
pub const PLACEBO: usize = 3;

/// What one lane does in one fold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LaneFold {
    /// Column of its target.
    pub target: usize,
    /// Codes, 0 for none.
    pub components: usize,
    /// Penalty.
    pub lambda: f64,
    /// Whether the codes are the coin's own.
    pub own_codes: bool,
    /// Validation slope of its pooled inner head.
    pub validation_slope: Option<f64>,
}

/// All lanes of one fold.
pub fn lanes(settings: &Settings, pools: &Pools, fold: usize) -> Vec<LaneFold> {
    let choices = &pools.choices[fold];
    let lane = |target: usize, c: &Chosen, own_codes: bool| LaneFold {
        target,
        components: c.components,
        lambda: c.lambda,
        own_codes,
        validation_slope: c.validation_slope,
    };
    let targets = Targets::of(settings);
    let mut all = vec![
        lane(0, &choices.encoded, false),
        lane(0, &choices.plain, false),
        lane(0, &choices.encoded, true),
    ];
    all.extend(
        (0..targets.placebos).map(|i| lane(targets.placebo(i), &choices.best[targets.placebo(i)], false)),
    );
    all
}

/// What the slopes pass learnt: per (stage, lane) the prior of slopes over coins, and per fold and
/// lane how much of the pooled slope survived validation.
pub struct Slopes {
    /// Per stage (flat) and lane.
    pub priors: Vec<Vec<SlopePrior>>,
    /// Estimates per coin, stage (flat), lane.
    pub estimates: Vec<Vec<Vec<Option<SlopeEstimate>>>>,
    /// Per fold and lane, 0..1: from this fold's validation and those before it.
    pub survival: Vec<Vec<f64>>,
    /// The same from the validations before this fold's only, 1 for the first: what the inner heads
    /// are scaled by, because they are judged on this fold's.
    pub survival_before: Vec<Vec<f64>>,
    /// Whether the coin's pooled heads were written.
    pub fitted: Vec<bool>,
    /// Coins whose job broke.
    pub failed: Vec<Failed>,
}

/// Scratch name of a coin's pooled heads.
pub fn prior_name(coin: usize) -> String {
    format!("prior-{coin}")
}

/// Runs the slopes pass: statistics only, no rows.
///
/// # Errors
/// When interrupted or the scratch disk fails.
pub fn slopes(
    engine: &Engine<'_>,
    survey: &Survey,
    plan: &Plan,
    statistics: &Statistics,
    pools: &Pools,
) -> Result<Slopes, EngineError> {
    let settings = engine.settings;
    let lanes: Vec<Vec<LaneFold>> = (0..plan.folds.len()).map(|f| lanes(settings, pools, f)).collect();
    let count = lanes[0].len();
    let mut failed = Vec::new();
    let mut fitted = vec![false; survey.coins.len()];
    let mut estimates = Vec::with_capacity(survey.coins.len());
    let mut disk: Option<ScratchError> = None;
    engine.observer.stage_started("slopes", survey.coins.len());
    type Row = Vec<Vec<Option<SlopeEstimate>>>;
    run_ordered(
        engine.workers,
        survey.coins.len(),
        engine.stop,
        |i| -> Result<Row, ScratchError> {
            match &statistics.coins[i] {
                Some(coin) => coin_slopes(engine, plan, statistics, pools, &lanes, i, coin),
                None => Ok(vec![vec![None; count]; pools.stages.len()]),
            }
        },
        |i, result: Fenced<Result<Row, ScratchError>>| {
            let symbol = survey.coins[i].symbol.to_string();
            engine.observer.stage_advanced("slopes", i + 1, &symbol);
            let nothing = || vec![vec![None; count]; pools.stages.len()];
            match result {
                Ok(Ok(row)) => {
                    fitted[i] = statistics.coins[i].is_some();
                    estimates.push(row);
                }
                Ok(Err(error)) => {
                    disk = Some(error);
                    estimates.push(nothing());
                }
                Err(error) => {
                    failed.push(Failed { symbol, step: "slopes", error });
                    estimates.push(nothing());
                }
            }
        },
    )?;
    if let Some(error) = disk {
        return Err(error.into());
    }
    let priors: Vec<Vec<SlopePrior>> = (0..pools.stages.len())
        .map(|stage| {
            (0..count)
                .map(|lane| {
                    let known: Vec<SlopeEstimate> =
                        estimates.iter().filter_map(|e: &Row| e[stage][lane]).collect();
                    SlopePrior::fit(&known)
                })
                .collect()
        })
        .collect();
    let survival = survival(&lanes, &priors);
    let mut survival_before = vec![vec![1.0; count]];
    survival_before.extend(survival.iter().take(survival.len().saturating_sub(1)).cloned());
    Ok(Slopes { priors, estimates, survival, survival_before, failed, fitted })
}

/// How much of the training slope was left on the validations so far (this fold's and those before
/// it), between 0 and 1: the mean validation slope over the mean training slope.
fn survival(lanes: &[Vec<LaneFold>], priors: &[Vec<SlopePrior>]) -> Vec<Vec<f64>> {
    (0..lanes.len())
        .map(|fold| {
            (0..lanes[fold].len())
                .map(|lane| {
                    let mut validation = 0.0;
                    let mut training = 0.0;
                    for f in 0..=fold {
                        if let Some(slope) = lanes[f][lane].validation_slope {
                            validation += slope;
                            training += priors[Stage::Inner.at(f)][lane].mean();
                        }
                    }
                    if training > 0.0 { (validation / training).clamp(0.0, 1.0) } else { 0.0 }
                })
                .collect()
        })
        .collect()
}

fn coin_slopes(
    engine: &Engine<'_>,
    plan: &Plan,
    statistics: &Statistics,
    pools: &Pools,
    lanes: &[Vec<LaneFold>],
    index: usize,
    coin: &CoinStatistics,
) -> Result<Vec<Vec<Option<SlopeEstimate>>>, ScratchError> {
    let settings = engine.settings;
    let q = Targets::of(settings).count();
    let p = statistics.p;
    let grams = read_grams(engine, index, p, q)?;
    let mut twins: Vec<(&CoinStatistics, Vec<Gram>)> = Vec::new();
    for &twin in &coin.twins {
        if twin != index
            && let Some(other) = &statistics.coins[twin]
        {
            twins.push((other, read_grams(engine, twin, p, q)?));
        }
    }
    let needed = rows_min(settings);
    let count = lanes[0].len();
    let mut estimates = Vec::new();
    let mut flat = Vec::with_capacity(pools.stages.len() * count * p);
    let mut own_basis: Option<Eigenbasis> = None;
    for (f, fold) in plan.folds.iter().enumerate() {
        for stage in Stage::ALL {
            let pool = &pools.stages[stage.at(f)];
            let segments = stage.segments(fold);
            let scaled = |m: Moments, coin: &CoinStatistics| {
                m.rescaled(&coin.own.0, &coin.own.1).standardised(&pool.deviation)
            };
            let own = coin_moments(&grams, segments.clone(), needed).map(|m| scaled(m, coin));
            let mut members: Vec<(Moments, f64)> = own.iter().map(|m| (m.clone(), coin.weight)).collect();
            for (twin, other) in &twins {
                let moments = coin_moments(other, segments.clone(), needed);
                members.extend(moments.map(|m| (scaled(m, twin), twin.weight)));
            }
            if own_basis.is_none() {
                own_basis = own.as_ref().and_then(own_correlation_basis);
            }
            let members: Vec<(&Moments, f64)> = members.iter().map(|(m, w)| (m, *w)).collect();
            let rest = leave_out(&pool.moments, pool.weight, &members);
            let heads = prior_heads(pool, rest.as_ref(), own_basis.as_ref(), &lanes[f]);
            estimates.push(estimate(settings, own.as_ref(), &heads, &lanes[f]));
            flat.extend(heads.into_iter().flat_map(|h| h.unwrap_or_else(|| vec![0.0; p])));
        }
    }
    engine.scratch.write(&prior_name(index), &flat)?;
    Ok(estimates)
}

/// Eigenbasis of the coin's own correlation matrix; fitted once, on the first training rows.
fn own_correlation_basis(moments: &Moments) -> Option<Eigenbasis> {
    Eigenbasis::new(&moments.standardised(&moments.deviations()).cov)
}

/// The pooled head of every lane, without the coin's own underlying. Lanes with the same penalty
/// and codes share one factorisation. Falls back to the whole pool when nothing else is left.
fn prior_heads(
    pool: &super::pools::Pool,
    rest: Option<&Moments>,
    own_basis: Option<&Eigenbasis>,
    lanes: &[LaneFold],
) -> Vec<Option<Vec<f64>>> {
    let moments = rest.unwrap_or(&pool.moments);
    let mut groups: BTreeMap<(usize, u64, bool), Vec<usize>> = BTreeMap::new();
    for (l, lane) in lanes.iter().enumerate() {
        groups.entry((lane.components, lane.lambda.to_bits(), lane.own_codes)).or_default().push(l);
    }
    let mut heads = vec![None; lanes.len()];
    for ((components, lambda, own_codes), members) in groups {
        let basis = if own_codes { own_basis.unwrap_or(&pool.basis) } else { &pool.basis };
        let metric = penalty_metric(basis, components);
        let cross = Mat::from_fn(moments.mean.len(), members.len(), |i, j| {
            moments.cross[(i, lanes[members[j]].target)]
        });
        if let Some(solved) = ridge(&moments.cov, &cross, f64::from_bits(lambda), &metric) {
            for (j, &l) in members.iter().enumerate() {
                heads[l] = Some((0..solved.nrows()).map(|i| solved[(i, j)]).collect());
            }
        }
    }
    heads
}

fn estimate(
    settings: &Settings,
    own: Option<&Moments>,
    heads: &[Option<Vec<f64>>],
    lanes: &[LaneFold],
) -> Vec<Option<SlopeEstimate>> {
    heads
        .iter()
        .zip(lanes)
        .map(|(head, lane)| {
            let (moments, head) = (own?, head.as_ref()?);
            SlopeEstimate::new(
                moments.score_variance(head),
                moments.score_covariance(head, lane.target),
                moments.var_y[lane.target],
                moments.n / settings.label.horizon_bars as f64,
            )
        })
        .collect()
}
