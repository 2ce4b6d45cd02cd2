//! One coin's rows, made ready: features scaled into a design matrix, volatility, labels, signs.
//!
//! Made in the statistics pass and again in the trial pass from the same series, so nothing of
//! O(rows) is kept between them.

use super::Market;
use crate::settings::Settings;
use faer::Mat;
use huracan_core::encoder::Scaler;
use huracan_core::features;
use huracan_core::labels;
use huracan_core::series::Series;
use huracan_core::trial::plan::Plan;
use huracan_core::words::{Seed, Timeframe, UtcMs};
use std::ops::Range;

/// One coin's rows.
pub struct Prepared {
    /// Its bars.
    pub series: Series,
    /// n × (p + 1): scaled features, the missing share, a column of ones; 0 where missing.
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

/// Makes a coin ready. `scaler` is given in the second pass, fitted on its first training rows in
/// the first.
pub fn prepare(
    settings: &Settings,
    market: &Market,
    plan: &Plan,
    series: Series,
    scaler: Option<Scaler>,
) -> Prepared {
    let x = features::matrix(&series, &market.context, &market.columns);
    let scaler = scaler.unwrap_or_else(|| Scaler::fit(&x, scaler_span(settings, plan, &series)));
    let design = scaler.design(&x);
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
