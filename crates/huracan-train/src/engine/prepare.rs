//! One coin's rows, made ready: features scaled into a design matrix, volatility, labels, signs.
//!
//! Made in the statistics pass and, where an earlier fold is asked for, again from the same series; the
//! latest rows are left on scratch.

use super::known::Bars;
use super::survey::{Coin, Survey};
use super::{Engine, Market};
use crate::jobs::checkpoint;
use crate::scratch::ScratchError;
use crate::settings::Settings;
use faer::{Mat, MatRef};
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
/// before it in the table is left out. Found again where another run settled them from the same bars.
///
/// # Errors
/// When a series cannot be read back from scratch.
pub fn settle_features(
    engine: &Engine<'_>,
    survey: &Survey,
    market: &mut Market,
    plan: &Plan,
    bars: Option<&Bars>,
) -> Result<Scaler, ScratchError> {
    let end = plan.first_training_end();
    let all = survey.coins.iter().chain(&survey.bystanders);
    let mut eligible: Vec<&Coin> = all.filter(|coin| coin.start() < end).collect();
    eligible.sort_by_key(|coin| coin.source_index);
    let cache = engine.scratch.cache();
    let key = bars.map(|bars| bars.units(cache, engine.settings, &market.columns, &eligible));
    if let Some((columns, units)) = key.as_ref().and_then(|key| cache.get(key)) {
        market.columns = columns;
        return Ok(units);
    }
    let mut sample: Vec<Vec<f64>> = vec![Vec::new(); market.columns.len()];
    for coin in eligible.iter().step_by(eligible.len().div_ceil(SAMPLE_COINS).max(1)) {
        let series = coin.series(engine.scratch)?;
        let series = series.rows(0..series.index_at_or_after(end));
        let rows = series.len();
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
    let units = Scaler { center: pick(&scaler.center), scale: pick(&scaler.scale) };
    key.iter().for_each(|key| cache.put(key, &(&market.columns, &units)));
    Ok(units)
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
    checkpoint();
    let x = features::matrix(&series, &market.context, &market.columns);
    checkpoint();
    let scaler =
        scaler.unwrap_or_else(|| Scaler::fit_within(&x, scaler_span(settings, plan, &series), units));
    ready(settings, market, units, &series, scaler, x)
}

/// A coin's rows from [`tail_start`] on, as if its series began there; the same bits as those of
/// [`prepare`]. `series` is the whole of it.
pub fn prepare_tail(
    settings: &Settings,
    market: &Market,
    plan: &Plan,
    units: &Scaler,
    series: &Series,
    scaler: Scaler,
) -> Prepared {
    let first = series.index_at_or_after(tail_start(plan));
    checkpoint();
    let x = features::matrix_from(series, &market.context, &market.columns, first);
    ready(settings, market, units, series, scaler, x)
}

/// The last rows of a series, as many as there are in `x`.
fn ready(
    settings: &Settings,
    market: &Market,
    units: &Scaler,
    series: &Series,
    scaler: Scaler,
    x: FeatureMatrix,
) -> Prepared {
    let first = series.len() - x.n;
    checkpoint();
    let design = scaler.design(&x, units);
    drop(x);
    let late = series.rows(first..series.len());
    let missing_share = market.columns.len();
    let usable =
        (0..late.len()).map(|i| !late.close[i].is_nan() && design[(i, missing_share)] < 0.0).collect();
    let sigma = labels::ewma_sigma(series, settings.label.sigma_half_life_bars);
    let mut all: Vec<Vec<f64>> = settings
        .horizons()
        .into_iter()
        .map(|h| {
            checkpoint();
            labels::labels(series, &sigma, &market.returns, &settings.label, h).split_off(first)
        })
        .collect();
    if let Some(seed) = settings.placebo_run {
        for label in &mut all {
            let signs = Signs::new(seed, settings.timeframe);
            label.iter_mut().enumerate().for_each(|(i, v)| *v *= signs.at(late.time(i)));
        }
    }
    Prepared { series: late, design, usable, sigma: sigma[first..].to_vec(), labels: all, scaler }
}

/// Rows the scaler may see: those before the training end of the first fold in which the coin has
/// enough of them, that of the final fit as frozen; all rows of a coin too young for any.
fn scaler_span(settings: &Settings, plan: &Plan, series: &Series) -> Range<usize> {
    0..series.index_at_or_after(scaled_until(settings, plan, series.start, series.len()))
}

/// Bar start before which the scaler of a coin sees rows, of a series of `bars` from `start` on.
pub fn scaled_until(settings: &Settings, plan: &Plan, start: UtcMs, bars: usize) -> UtcMs {
    let bar = settings.timeframe.ms();
    let needed = settings.timeframe.bars_in_days(settings.fold_train_days_min);
    let mut ends = (0..plan.folds.len()).map(|fold| plan.learning_ends(fold)[1]);
    let before = |end: UtcMs| (end.0 - start.0 + bar - 1).div_euclid(bar).clamp(0, bars as i64) as usize;
    ends.find(|&end| before(end) >= needed).unwrap_or(UtcMs(start.0 + bars as i64 * bar))
}

/// Bar start of the first row that a night is about: everything before was settled when the last tested
/// fold was fitted.
pub fn tail_start(plan: &Plan) -> UtcMs {
    let last = &plan.folds[plan.folds.len().saturating_sub(2)];
    let validation = plan.folds.last().map_or(last.validation_start, |fold| fold.validation_start);
    plan.edges[last.train.end].min(validation)
}

/// Scratch name of a coin's rows from [`tail_start`] on.
fn tail_name(coin: usize) -> String {
    format!("tail-{coin}")
}

/// Leaves a coin's latest rows on scratch, so that later passes need not make all of them again.
///
/// # Errors
/// When the scratch file cannot be written.
pub fn write_tail(
    engine: &Engine<'_>,
    coin: usize,
    prepared: &Prepared,
    plan: &Plan,
) -> Result<(), ScratchError> {
    let rows = prepared.series.index_at_or_after(tail_start(plan))..prepared.series.len();
    let mut flat = Vec::with_capacity(rows.len() * (prepared.design.ncols() + 2 + prepared.labels.len()));
    checkpoint();
    prepared.design.col_iter().for_each(|column| flat.extend(column.iter().skip(rows.start)));
    flat.extend(prepared.usable[rows.clone()].iter().map(|&usable| f64::from(u8::from(usable))));
    flat.extend(&prepared.sigma[rows.clone()]);
    prepared.labels.iter().for_each(|label| flat.extend(&label[rows.clone()]));
    engine.scratch.write(&tail_name(coin), &flat)
}

/// A coin's rows from [`tail_start`] on, as if its series began there. `series` is the whole of it.
///
/// # Errors
/// When the scratch file cannot be read back.
pub fn read_tail(
    engine: &Engine<'_>,
    coin: usize,
    series: &Series,
    scaler: &Scaler,
    plan: &Plan,
) -> Result<Prepared, ScratchError> {
    let flat = engine.scratch.read(&tail_name(coin))?;
    let first = series.index_at_or_after(tail_start(plan));
    let n = series.len() - first;
    // Features, the missing share, ones.
    let columns = scaler.center.len() + 2;
    let column = |j: usize| flat.get(j * n..(j + 1) * n).unwrap_or_default();
    Ok(Prepared {
        design: MatRef::from_column_major_slice(&flat[..n * columns], n, columns).to_owned(),
        usable: column(columns).iter().map(|&usable| usable != 0.0).collect(),
        sigma: column(columns + 1).to_vec(),
        labels: (0..engine.settings.horizons().len()).map(|h| column(columns + 2 + h).to_vec()).collect(),
        scaler: scaler.clone(),
        series: series.rows(first..series.len()),
    })
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
