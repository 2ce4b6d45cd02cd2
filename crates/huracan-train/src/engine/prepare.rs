//! One coin's rows, made ready: features scaled into a design matrix, volatility, labels, signs.
//!
//! Made in the statistics pass and again in the trial pass from the same series, so nothing of
//! O(rows) is kept between them.

use super::survey::{Coin, Survey};
use super::{Engine, Market};
use crate::scratch::ScratchError;
use crate::settings::Settings;
use faer::Mat;
use huracan_core::encoder::Scaler;
use huracan_core::features::{self, FeatureMatrix};
use huracan_core::labels;
use huracan_core::series::Series;
use huracan_core::trial::plan::Plan;
use huracan_core::words::{Seed, Timeframe, UtcMs};
use std::ops::Range;

/// One coin's rows.
pub struct Prepared {
    /// Its bars.
    pub series: Series,
    /// n × (p + 1): winsorised features in common units, the missing share, a column of ones.
    pub design: Mat<f64>,
    /// Whether the row may be scored: its bar is there and at least half of its features are.
    pub usable: Vec<bool>,
    /// Causal volatility per bar, NaN in its warm-up.
    pub sigma: Vec<f64>,
    /// Labels per horizon (the label's own first), NaN where missing.
    pub labels: Vec<Vec<f64>>,
    /// What the features were scaled with.
    pub scaler: Scaler,
}

/// Coins whose rows the sample is taken from, and rows per coin.
const SAMPLE_COINS: usize = 48;
const SAMPLE_ROWS: usize = 128;
/// A feature this correlated with one before it in the table adds nothing but cost.
const REDUNDANT_CORRELATION: f64 = 0.9;

/// Settles which features are used and in which common units, from an even sample of coins and of
/// their rows before the end of the first fold's training: a feature that is almost a copy of one
/// before it in the table is left out.
///
/// # Errors
/// When a series cannot be read back from scratch.
pub fn settle_features(
    engine: &Engine<'_>,
    survey: &Survey,
    market: &mut Market,
    plan: &Plan,
) -> Result<Scaler, ScratchError> {
    let end = plan.edges[plan.folds[0].train.end];
    let all = survey.coins.iter().chain(&survey.bystanders);
    let mut eligible: Vec<&Coin> = all.filter(|coin| coin.start() < end).collect();
    eligible.sort_by_key(|coin| coin.source_index);
    let mut sample: Vec<Vec<f64>> = vec![Vec::new(); market.columns.len()];
    for coin in eligible.iter().step_by(eligible.len().div_ceil(SAMPLE_COINS).max(1)) {
        let series = coin.series(engine.scratch)?;
        let rows = series.index_at_or_after(end);
        let x = features::matrix(&series, &market.context, &market.columns);
        for (j, column) in sample.iter_mut().enumerate() {
            column.extend((0..rows).step_by(rows.div_ceil(SAMPLE_ROWS).max(1)).map(|i| x.column(j)[i]));
        }
    }
    let n = sample.first().map_or(0, Vec::len);
    let scaler = Scaler::fit(&FeatureMatrix { n, p: sample.len(), data: sample.concat() }, 0..n);
    let mut scaled: Vec<Vec<f64>> = Vec::new();
    let mut kept: Vec<usize> = Vec::new();
    for (j, column) in sample.iter().enumerate() {
        let z: Vec<f64> = column.iter().map(|&v| scaler.apply(j, v)).collect();
        let Some(z) = unit(z) else { continue };
        let copies = |other: &Vec<f64>| dot(other, &z).abs() > REDUNDANT_CORRELATION;
        if !scaled.iter().any(copies) {
            scaled.push(z);
            kept.push(j);
        }
    }
    let pick = |v: &[f64]| kept.iter().map(|&j| v[j]).collect();
    market.columns = kept.iter().map(|&j| market.columns[j]).collect();
    Ok(Scaler { center: pick(&scaler.center), scale: pick(&scaler.scale) })
}

/// Centred and of length 1; `None` when it does not vary.
fn unit(mut v: Vec<f64>) -> Option<Vec<f64>> {
    let mean = v.iter().sum::<f64>() / v.len().max(1) as f64;
    v.iter_mut().for_each(|x| *x -= mean);
    let length = dot(&v, &v).sqrt();
    (length > 1e-9).then(|| v.into_iter().map(|x| x / length).collect())
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Makes a coin ready. `scaler` is given in the second pass, fitted on its first training rows in
/// the first.
pub fn prepare(
    settings: &Settings,
    market: &Market,
    plan: &Plan,
    units: &Scaler,
    series: Series,
    scaler: Option<Scaler>,
) -> Prepared {
    let x = features::matrix(&series, &market.context, &market.columns);
    let scaler =
        scaler.unwrap_or_else(|| Scaler::fit_within(&x, scaler_span(settings, plan, &series), units));
    let design = scaler.design(&x, units);
    drop(x);
    let missing_share = market.columns.len();
    let usable =
        (0..series.len()).map(|i| !series.close[i].is_nan() && design[(i, missing_share)] < 0.0).collect();
    let sigma = labels::ewma_sigma(&series, settings.label.sigma_half_life_bars);
    let mut all: Vec<Vec<f64>> = settings
        .horizons()
        .into_iter()
        .map(|h| labels::labels(&series, &sigma, &market.returns, &settings.label, h))
        .collect();
    if let Some(seed) = settings.placebo_run {
        for label in &mut all {
            let signs = Signs::new(seed, settings.timeframe);
            label.iter_mut().enumerate().for_each(|(i, v)| *v *= signs.at(series.time(i)));
        }
    }
    Prepared { series, design, usable, sigma, labels: all, scaler }
}

/// Rows the scaler may see: those before the training end of the first fold in which the coin has
/// enough of them; all rows of a coin too young for any test fold.
fn scaler_span(settings: &Settings, plan: &Plan, series: &Series) -> Range<usize> {
    let needed = settings.timeframe.bars_in_days(settings.fold_train_days_min);
    let ends = plan.tested().iter().map(|fold| series.index_at_or_after(plan.edges[fold.train.end]));
    0..ends.into_iter().find(|&end| end >= needed).unwrap_or(series.len())
}

/// Random signs, one per block of 72 bars of absolute time, common to all coins.
pub struct Signs {
    seed: Seed,
    block_ms: i64,
}

impl Signs {
    /// The signs of a seed.
    pub fn new(seed: Seed, timeframe: Timeframe) -> Signs {
        Signs { seed, block_ms: Settings::SIGN_BLOCK_BARS * timeframe.ms() }
    }

    /// The sign at a time: +1 or −1.
    pub fn at(&self, time: UtcMs) -> f64 {
        let block = time.0.div_euclid(self.block_ms) as u64;
        if self.seed.child("sign", block).0 & 1 == 0 { 1.0 } else { -1.0 }
    }

    /// The signs of every bar of a series; one draw a block.
    pub fn of(&self, series: &Series) -> Vec<f64> {
        let mut block = i64::MIN;
        let mut sign = 1.0;
        (0..series.len())
            .map(|i| {
                let time = series.time(i);
                if time.0.div_euclid(self.block_ms) != block {
                    block = time.0.div_euclid(self.block_ms);
                    sign = self.at(time);
                }
                sign
            })
            .collect()
    }
}

impl Prepared {
    /// Number of features, the missing share included.
    pub fn p(&self) -> usize {
        self.design.ncols() - 1
    }

    /// Runs of consecutive rows inside `span` that may train: usable, with a label.
    pub fn training_runs(&self, span: Range<usize>) -> Vec<Range<usize>> {
        let fits = |i: usize| self.usable[i] && self.labels[0][i].is_finite();
        let mut runs: Vec<Range<usize>> = Vec::new();
        for i in span {
            if !fits(i) {
                continue;
            }
            match runs.last_mut() {
                Some(run) if run.end == i => run.end = i + 1,
                _ => runs.push(i..i + 1),
            }
        }
        runs
    }
}
