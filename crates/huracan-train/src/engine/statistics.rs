//! The statistics pass: every coin's sufficient statistics per plan segment, onto scratch, and the
//! coin's centred moments per stage, into the pools.

use super::known::Known;
use super::passes::Pass;
use super::prepare::{Prepared, Signs, prepare, scaled_until, write_tail};
use super::survey::{Failed, Survey};
use super::trial::explain::write_reference;
use super::{Engine, EngineError, Market};
use crate::scratch::ScratchError;
use crate::settings::Settings;
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par};
use huracan_core::encoder::{EncoderKind, Scaler};
use huracan_core::gram::{Gram, Moments};
use huracan_core::trial::plan::{Fold, Plan};
use huracan_core::words::UtcMs;
use std::ops::Range;

/// The two fits of a fold: on inner training (judged on validation) and on all training rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Fitted before validation begins.
    Inner,
    /// Fitted on everything the test may know.
    Full,
}

impl Stage {
    /// Both, in order.
    pub const ALL: [Stage; 2] = [Stage::Inner, Stage::Full];

    /// Its training segments.
    pub fn segments(self, fold: &Fold) -> Range<usize> {
        match self {
            Stage::Inner => fold.inner_train.clone(),
            Stage::Full => fold.train.clone(),
        }
    }

    /// Bars its heads are judged on, `[start, end)`.
    pub fn judged(self, fold: &Fold) -> Option<(UtcMs, UtcMs)> {
        match self {
            Stage::Inner => Some((fold.validation_start, fold.train_end)),
            Stage::Full => fold.test,
        }
    }

    /// Position of (fold, stage) in flat lists.
    pub fn at(self, fold: usize) -> usize {
        2 * fold + self as usize
    }
}

/// Targets of the Grams: the label, its research horizons, its sign-flip placebos.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Targets {
    /// Horizons, the label's own first.
    pub horizons: usize,
    /// Placebos.
    pub placebos: usize,
}

impl Targets {
    /// What a run's settings ask for.
    pub fn of(settings: &Settings) -> Targets {
        Targets { horizons: settings.horizons().len(), placebos: settings.placebos }
    }

    /// Number of target columns.
    pub fn count(&self) -> usize {
        self.horizons + self.placebos
    }

    /// Column of a placebo.
    pub fn placebo(&self, i: usize) -> usize {
        self.horizons + i
    }
}

/// A run's placebo signs, one source per placebo.
pub fn placebo_signs(settings: &Settings) -> Vec<Signs> {
    (0..settings.placebos)
        .map(|i| Signs::new(settings.seed.child("placebo", i as u64), settings.timeframe))
        .collect()
}

/// What the statistics pass keeps of a coin in memory.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct CoinStatistics {
    /// Frozen scaling.
    pub scaler: Scaler,
    /// Bar start before which the scaler has seen rows.
    pub scaled_until: UtcMs,
    /// From common units to the coin's own scale: offsets and ratios per feature.
    pub own: (Vec<f64>, Vec<f64>),
    /// Training rows per stage (flat, [`Stage::at`]).
    pub rows: Vec<f64>,
    /// 1 / number of trained twins of its underlying.
    pub weight: f64,
    /// Positions of all trained coins of its underlying, itself included.
    pub twins: Vec<usize>,
}

/// A pool over coins for one stage, before standardising.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct RawPool {
    /// Weighted sum of centred moments.
    pub sum: Moments,
    /// Sum of weights.
    pub weight: f64,
    /// Coins in it.
    pub coins: usize,
}

/// Everything the statistics pass returns.
#[derive(serde::Serialize, serde::Deserialize)]
pub struct Statistics {
    /// One per coin of the survey; `None` where the job failed.
    pub coins: Vec<Option<CoinStatistics>>,
    /// Units common to all coins.
    pub units: Scaler,
    /// Training pools of own-scaled features about the coins' means, per stage (flat).
    #[serde(skip)]
    pub train: Vec<RawPool>,
    /// Validation pools of the same, per fold.
    #[serde(skip)]
    pub validation: Vec<RawPool>,
    /// Training pools of own-scaled features beside those in common units, differences between coins
    /// included; for the tested folds, per stage (flat).
    #[serde(skip)]
    pub level_train: Vec<RawPool>,
    /// Validation pools of the same, per tested fold.
    #[serde(skip)]
    pub level_validation: Vec<RawPool>,
    /// What the reduced-rank regression is made of, per stage (flat) and group of targets (the label with
    /// its horizons, then each placebo): `Σ w·c c'` over coins and horizons, c a coin's covariances of
    /// own-scaled features with the label in units of the label's deviation. Empty where it is not tried.
    #[serde(skip)]
    pub scatter: Vec<Vec<Mat<f64>>>,
    /// Coins whose job broke.
    #[serde(skip)]
    pub failed: Vec<Failed>,
    /// Features, missing share included.
    pub p: usize,
    /// What pieces kept from run to run are named by; `None` where none are kept.
    pub known: Option<Known>,
}

/// Scratch name of a coin's Grams.
pub fn gram_name(coin: usize) -> String {
    format!("gram-{coin}")
}

/// Scratch name of a coin's sampled rows: `[time, label, own-scaled features]` each.
pub fn sample_name(coin: usize) -> String {
    format!("sample-{coin}")
}

/// Every how many bars a row is sampled, so that the coins of the market when the last test begins give at
/// most the rows asked for together. One that is still there counts with all the bars that this test may
/// come to: the stride is another when the folds move on, not because a day has passed or a coin is new.
pub fn sample_stride(settings: &Settings, survey: &Survey, plan: &Plan) -> usize {
    let last = plan.tested().last().and_then(|fold| fold.test).map_or(plan.test_end, |(from, _)| from);
    let longest = settings.timeframe.bars_in_days(2.0 * settings.walk.fold_days);
    let members = survey.coins.iter().filter(|coin| survey.member_from(settings, coin) <= last);
    let bars = members.map(|coin| {
        let before = (last.0 - coin.start().0).max(0) / settings.timeframe.ms();
        if coin.end() > last { before as usize + longest } else { coin.len() }
    });
    bars.sum::<usize>().div_ceil(settings.heads.sample_rows.max(1)).max(1)
}

/// Whether anything is fitted on sampled rows.
pub fn samples_rows(settings: &Settings) -> bool {
    settings.encoder.tries(EncoderKind::Autoencoder) || settings.heads.trees.is_some()
}

/// Least training rows for a coin to be fitted in a stage.
pub fn rows_min(settings: &Settings) -> f64 {
    settings.timeframe.bars_in_days(settings.fold_train_days_min) as f64
}

pub(super) struct Work {
    scaler: Scaler,
    scaled_until: UtcMs,
    own: (Vec<f64>, Vec<f64>),
    train: Vec<Option<Moments>>,
    validation: Vec<Option<Moments>>,
    level_train: Vec<Option<Moments>>,
    level_validation: Vec<Option<Moments>>,
    rows: Vec<f64>,
}

/// Runs the pass.
///
/// # Errors
/// When interrupted or the scratch disk fails.
pub fn statistics(
    engine: &Engine<'_>,
    survey: &Survey,
    market: &Market,
    plan: &Plan,
    units: &Scaler,
) -> Result<Statistics, EngineError> {
    let settings = engine.settings;
    let targets = Targets::of(settings);
    let (p, q) = (market.columns.len() + 1, targets.count());
    let groups = if settings.encoder.tries(EncoderKind::Rrr) { 1 + targets.placebos } else { 0 };
    let zero = || RawPool { sum: Moments::zero(p, q), weight: 0.0, coins: 0 };
    let level_zero = || RawPool { sum: Moments::zero(2 * p, targets.horizons), weight: 0.0, coins: 0 };
    let mut out = Statistics {
        coins: Vec::with_capacity(survey.coins.len()),
        units: units.clone(),
        train: (0..2 * plan.folds.len()).map(|_| zero()).collect(),
        validation: plan.folds.iter().map(|_| zero()).collect(),
        level_train: (0..2 * plan.tested().len()).map(|_| level_zero()).collect(),
        level_validation: plan.tested().iter().map(|_| level_zero()).collect(),
        scatter: vec![vec![Mat::zeros(p, p); groups]; 2 * plan.folds.len()],
        failed: Vec::new(),
        p,
        known: Known::new(engine.scratch.cache(), settings, engine.scratch, survey, plan, market, units)?,
    };
    let pass = StatisticsPass { engine, survey, market, plan, units };
    let mut disk: Option<ScratchError> = None;
    engine.observer.stage_started("statistics", survey.coins.len());
    let twins = |i: usize| -> Vec<usize> {
        let same = |j: &usize| survey.coins[*j].symbol.underlying() == survey.coins[i].symbol.underlying();
        (0..survey.coins.len()).filter(same).collect()
    };
    let names = survey.names();
    engine.pass(&pass, &names, |i, result| {
        let symbol = names[i].clone();
        engine.observer.stage_advanced("statistics", i + 1, &symbol);
        match result {
            Ok(Ok(work)) => {
                let twins = twins(i);
                let weight = 1.0 / twins.len() as f64;
                pool(&mut out.train, &work.train, weight);
                for (scatter, moments) in out.scatter.iter_mut().zip(&work.train) {
                    if let Some(moments) = moments {
                        scatter_labels(scatter, moments, &targets, weight);
                    }
                }
                pool(&mut out.validation, &work.validation, weight);
                pool(&mut out.level_train, &work.level_train, weight);
                pool(&mut out.level_validation, &work.level_validation, weight);
                out.coins.push(Some(CoinStatistics {
                    scaler: work.scaler,
                    scaled_until: work.scaled_until,
                    own: work.own,
                    rows: work.rows,
                    weight,
                    twins,
                }));
            }
            Ok(Err(error)) => disk = Some(error),
            Err(error) => {
                engine.scratch.cache().close();
                out.failed.push(Failed { symbol, step: "statistics", error });
                out.coins.push(None);
            }
        }
    })?;
    match disk {
        Some(error) => Err(error.into()),
        None => Ok(out),
    }
}

/// What a coin's job reads.
pub(super) struct StatisticsPass<'a> {
    pub(super) engine: &'a Engine<'a>,
    pub(super) survey: &'a Survey,
    pub(super) market: &'a Market,
    pub(super) plan: &'a Plan,
    pub(super) units: &'a Scaler,
}

impl Pass for StatisticsPass<'_> {
    /// The coin's scaler; its Grams and sampled rows are on scratch.
    type Done = Scaler;
    type Out = Work;
    const STAGE: &'static str = "statistics";

    fn job(&self, item: usize) -> Result<Scaler, ScratchError> {
        let StatisticsPass { engine, survey, market, plan, units } = *self;
        let settings = engine.settings;
        let series = survey.coins[item].series(engine.scratch)?;
        let prepared = prepare(settings, market, plan, units, series, None);
        let grams = cumulative_grams(&prepared, plan, &placebo_signs(settings));
        write_tail(engine, item, &prepared, plan)?;
        write_reference(engine, item, &prepared)?;
        let flat: Vec<f64> = grams.iter().flat_map(Gram::to_flat).collect();
        engine.scratch.write(&gram_name(item), &flat)?;
        if samples_rows(settings) {
            let rows = sampled(&prepared, units, sample_stride(settings, survey, plan));
            engine.scratch.write(&sample_name(item), &rows)?;
        }
        Ok(prepared.scaler)
    }

    fn open(&self, item: usize, scaler: Scaler) -> Result<Work, ScratchError> {
        let (p, q) = (self.market.columns.len() + 1, Targets::of(self.engine.settings).count());
        let grams = read_grams(self.engine, item, p, q)?;
        let coin = &self.survey.coins[item];
        let scaled_until = scaled_until(self.engine.settings, self.plan, coin.start(), coin.len());
        let scaler = (scaler, scaled_until);
        Ok(moments_per_stage(self.engine.settings, self.plan, &grams, scaler, self.units))
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

/// Every `stride`-th training row, own-scaled; where the counting starts differs from coin to coin.
fn sampled(prepared: &Prepared, units: &Scaler, stride: usize) -> Vec<f64> {
    let (offset, ratio) = prepared.scaler.offset_and_ratio(units);
    let p = prepared.p();
    let name = prepared.series.symbol.underlying();
    let phase = name.bytes().fold(0_usize, |sum, b| (31 * sum + usize::from(b)) % 65_521) % stride;
    let mut out = Vec::new();
    for i in prepared.training_runs(0..prepared.series.len()).into_iter().flatten() {
        if i % stride == phase {
            out.push(prepared.series.time(i).0 as f64);
            out.push(prepared.labels[0][i]);
            out.extend((0..p).map(|j| own_scaled(prepared.design[(i, j)], offset[j], ratio[j])));
        }
    }
    out
}

/// A value of the design in the coin's own scale; a ratio of 0 leaves the feature out.
pub fn own_scaled(value: f64, offset: f64, ratio: f64) -> f64 {
    if ratio > 0.0 { (value - offset) / ratio } else { 0.0 }
}

/// Grams of all segments up to each one, itself included.
fn cumulative_grams(prepared: &Prepared, plan: &Plan, signs: &[Signs]) -> Vec<Gram> {
    let n = prepared.series.len();
    let horizons = prepared.labels.len();
    let p = prepared.p();
    let columns: Vec<Vec<f64>> = signs.iter().map(|s| s.of(&prepared.series)).collect();
    let y = Mat::from_fn(n, horizons + columns.len(), |i, j| {
        if j < horizons { prepared.labels[j][i] } else { prepared.labels[0][i] * columns[j - horizons][i] }
    });
    let mut total = Gram::new(p, y.ncols());
    (0..plan.segments())
        .map(|s| {
            let from = prepared.series.index_at_or_after(plan.edges[s]);
            let to = prepared.series.index_at_or_after(plan.edges[s + 1]);
            for run in prepared.training_runs(from..to) {
                total.add_rows(
                    prepared.design.as_ref().subrows(run.start, run.len()),
                    y.as_ref().subrows(run.start, run.len()),
                );
            }
            total.clone()
        })
        .collect()
}

/// A coin's cumulative Grams back from scratch.
///
/// # Errors
/// When the scratch file cannot be read back.
pub fn read_grams(engine: &Engine<'_>, coin: usize, p: usize, q: usize) -> Result<Vec<Gram>, ScratchError> {
    let flat = engine.scratch.read(&gram_name(coin))?;
    Ok(flat.chunks_exact(Gram::flat_len(p, q)).filter_map(|part| Gram::from_flat(p, q, part)).collect())
}

/// Centred moments of a coin over a run of segments, in common units, if it has enough rows there.
pub fn coin_moments(grams: &[Gram], segments: Range<usize>, rows_min: f64) -> Option<Moments> {
    let until = grams.get(segments.end.checked_sub(1)?)?;
    let span = match segments.start.checked_sub(1) {
        None => until,
        Some(before) => {
            let mut span = until.clone();
            span.add(&grams[before], -1.0);
            return (span.rows() >= rows_min).then(|| span.moments()).flatten();
        }
    };
    (span.rows() >= rows_min).then(|| span.moments()).flatten()
}

fn moments_per_stage(
    settings: &Settings,
    plan: &Plan,
    grams: &[Gram],
    (scaler, scaled_until): (Scaler, UtcMs),
    units: &Scaler,
) -> Work {
    let needed = rows_min(settings);
    let horizons = Targets::of(settings).horizons;
    let own = scaler.offset_and_ratio(units);
    let scaled = |m: &Moments| m.rescaled(&own.0, &own.1);
    let level = |m: &Moments| m.beside_own_scale(&own.0, &own.1, horizons).about_zero();
    let (mut train, mut validation, mut rows) = (Vec::new(), Vec::new(), Vec::new());
    let (mut level_train, mut level_validation) = (Vec::new(), Vec::new());
    for fold in &plan.folds {
        let [inner, full] = Stage::ALL.map(|stage| coin_moments(grams, stage.segments(fold), needed));
        let judged = coin_moments(grams, fold.validation.clone(), needed / 4.0).filter(|_| inner.is_some());
        if fold.test.is_some() {
            level_train.extend([&inner, &full].map(|m| m.as_ref().map(level)));
            level_validation.push(judged.as_ref().map(level));
        }
        rows.extend([&inner, &full].map(|m| m.as_ref().map_or(0.0, |m| m.n)));
        validation.push(inner.as_ref().zip(judged).map(|(training, judged)| scaled(&judged.about(training))));
        train.extend([inner, full].map(|m| m.as_ref().map(scaled)));
    }
    Work { scaler, scaled_until, own, train, validation, level_train, level_validation, rows }
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
