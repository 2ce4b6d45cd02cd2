//! The statistics pass: every coin's sufficient statistics per plan segment, its latest rows and its sampled
//! rows. Pools are made of them afterwards (`merge`).

use super::grams::{self, GramShelf, last_tested, settled_until};
use super::known::Known;
use super::merge::{FoldSource, Merge};
use super::passes::Pass;
use super::prepare::{Prepared, Signs, prepare, prepare_tail, scaled_until, write_tail};
use super::survey::{Failed, Survey};
use super::{Engine, EngineError, Market};
use crate::cache::Key;
use crate::jobs::checkpoint;
use crate::scratch::ScratchError;
use crate::settings::Settings;
use huracan_core::encoder::{EncoderKind, Scaler};
use huracan_core::gram::{Gram, Moments};
use huracan_core::series::Series;
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
    /// Pools per fold, or what was made of them.
    #[serde(skip)]
    pub folds: Vec<FoldSource>,
    /// Coins whose job broke.
    #[serde(skip)]
    pub failed: Vec<Failed>,
    /// Features, missing share included.
    pub p: usize,
    /// What pieces kept from run to run are named by; `None` where none are kept.
    pub known: Option<Known>,
}

/// Scratch name of a coin's sampled rows, those that are not kept elsewhere: `[time, label, own-scaled
/// features]` each.
fn sample_name(coin: usize) -> String {
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
    known: Option<Known>,
) -> Result<Statistics, EngineError> {
    let pass = StatisticsPass { engine, survey, market, plan, units, known: known.as_ref() };
    let mut scalers: Vec<Option<Scaler>> = Vec::with_capacity(survey.coins.len());
    let mut failed: Vec<Failed> = Vec::new();
    let mut disk: Option<ScratchError> = None;
    engine.observer.stage_started("statistics", survey.coins.len());
    let names = survey.names();
    engine.pass(&pass, &names, |i, result| {
        let symbol = names[i].clone();
        engine.observer.stage_advanced("statistics", i + 1, &symbol);
        match result {
            Ok(Ok(scaler)) => scalers.push(Some(scaler)),
            Ok(Err(error)) => disk = Some(error),
            Err(fault) => {
                engine.scratch.cache().close();
                failed.push(Failed::new(symbol, "statistics", fault));
                scalers.push(None);
            }
        }
    })?;
    if let Some(error) = disk {
        return Err(error.into());
    }
    let p = market.columns.len() + 1;
    let shelf = GramShelf { engine, market, plan, units, known: known.as_ref(), p };
    let merge = Merge { engine, survey, plan, shelf, known: known.as_ref() };
    let mut out = merge.run(&scalers, &mut failed)?;
    out.failed = failed;
    Ok(out)
}

impl Statistics {
    /// What Grams are read from.
    pub(super) fn shelf<'a>(
        &'a self,
        engine: &'a Engine<'a>,
        market: &'a Market,
        plan: &'a Plan,
    ) -> GramShelf<'a> {
        GramShelf { engine, market, plan, units: &self.units, known: self.known.as_ref(), p: self.p }
    }
}

/// What a coin's job reads.
pub(super) struct StatisticsPass<'a> {
    pub(super) engine: &'a Engine<'a>,
    pub(super) survey: &'a Survey,
    pub(super) market: &'a Market,
    pub(super) plan: &'a Plan,
    pub(super) units: &'a Scaler,
    pub(super) known: Option<&'a Known>,
}

/// What of a coin was settled when the last tested fold was fitted, beside its Grams.
#[derive(serde::Serialize, serde::Deserialize)]
struct Settled {
    scaler: Scaler,
    /// The Gram up to there, flat.
    gram: Vec<f64>,
}

impl Pass for StatisticsPass<'_> {
    /// The coin's scaler; Grams, latest rows and sampled rows are kept.
    type Done = Scaler;
    const STAGE: &'static str = "statistics";

    fn job(&self, item: usize) -> Result<Scaler, ScratchError> {
        let series = self.survey.coins[item].series(self.engine.scratch)?;
        let key = settled_key(self, item, "settled");
        let found = key.as_ref().and_then(|key| self.engine.scratch.cache().get::<Settled>(key));
        let (p, q) = (self.market.columns.len() + 1, Targets::of(self.engine.settings).count());
        let found = found.and_then(|found| Some((Gram::from_flat(p, q, &found.gram)?, found)));
        match found {
            Some((gram, settled)) => self.tail(item, &series, gram, settled),
            None => self.all(item, series, key.as_ref()),
        }
    }
}

/// The key of something settled; `None` where nothing is kept, and for a coin whose scaler is not settled.
fn settled_key(pass: &StatisticsPass<'_>, item: usize, kind: &'static str) -> Option<Key> {
    let StatisticsPass { engine, survey, plan, .. } = *pass;
    let known = pass.known.filter(|_| engine.scratch.cache().is_used())?;
    let coin = &survey.coins[item];
    let scaled = scaled_until(engine.settings, plan, coin.start(), coin.len());
    let settled = plan.edges[settled_until(plan).filter(|&segment| segment > 0)?];
    let stride = sample_stride(engine.settings, survey, plan) as i64;
    let key = |last| known.fit_of(kind, last, item, |inputs| inputs.number(stride));
    last_tested(plan).filter(|_| scaled <= settled).map(key)
}

impl StatisticsPass<'_> {
    /// Statistics of all rows.
    fn all(&self, item: usize, series: Series, key: Option<&Key>) -> Result<Scaler, ScratchError> {
        let StatisticsPass { engine, survey, market, plan, units, known } = *self;
        let settings = engine.settings;
        let prepared = prepare(settings, market, plan, units, series, None);
        let grams = grams::cumulative(settings, &prepared, plan, 0..plan.segments(), None);
        write_tail(engine, item, &prepared, plan)?;
        grams::keep(engine, plan, known, (item, &prepared.scaler), &grams)?;
        let mut row = 0;
        if let (Some(key), Some(segment)) = (key, settled_until(plan)) {
            row = prepared.series.index_at_or_after(plan.edges[segment]);
            let gram = grams[segment - 1].to_flat();
            engine.scratch.cache().put(key, &Settled { scaler: prepared.scaler.clone(), gram });
        }
        if samples_rows(settings) {
            let stride = sample_stride(settings, survey, plan);
            if let Some(key) = settled_key(self, item, "sample") {
                engine.scratch.cache().put(&key, &sampled(&prepared, units, 0..row, 0, stride));
            }
            let rows = row..prepared.series.len();
            engine.scratch.write(&sample_name(item), &sampled(&prepared, units, rows, 0, stride))?;
        }
        Ok(prepared.scaler)
    }

    /// Sampled rows of a coin, as [`sampled`] gives them: those settled, then the rest.
    ///
    /// # Errors
    /// When scratch cannot be read back.
    pub(super) fn sample(&self, item: usize, scaler: &Scaler) -> Result<Vec<f64>, ScratchError> {
        let StatisticsPass { engine, survey, market, plan, units, .. } = *self;
        let settings = engine.settings;
        let mut all = match (settled_key(self, item, "sample"), settled_until(plan)) {
            (Some(key), Some(segment)) => match engine.scratch.cache().get(&key) {
                Some(settled) => settled,
                None => {
                    let series = survey.coins[item].series(engine.scratch)?;
                    let prepared = prepare(settings, market, plan, units, series, Some(scaler.clone()));
                    let row = prepared.series.index_at_or_after(plan.edges[segment]);
                    sampled(&prepared, units, 0..row, 0, sample_stride(settings, survey, plan))
                }
            },
            _ => Vec::new(),
        };
        all.extend(engine.scratch.read(&sample_name(item))?);
        Ok(all)
    }

    /// Statistics of the rows since everything before was settled.
    fn tail(
        &self,
        item: usize,
        series: &Series,
        gram: Gram,
        settled: Settled,
    ) -> Result<Scaler, ScratchError> {
        let StatisticsPass { engine, survey, market, plan, units, .. } = *self;
        let settings = engine.settings;
        let scaler = settled.scaler;
        let prepared = prepare_tail(settings, market, plan, units, series, scaler);
        let segment = settled_until(plan).unwrap_or(0);
        let grams = grams::cumulative(settings, &prepared, plan, segment..plan.segments(), Some(gram));
        write_tail(engine, item, &prepared, plan)?;
        grams::keep_last(engine, plan, item, &grams)?;
        if samples_rows(settings) {
            let since = prepared.series.index_at_or_after(plan.edges[segment]);
            let before = series.len() - prepared.series.len();
            let rows = since..prepared.series.len();
            let stride = sample_stride(settings, survey, plan);
            engine.scratch.write(&sample_name(item), &sampled(&prepared, units, rows, before, stride))?;
        }
        Ok(prepared.scaler)
    }
}

/// Every `stride`-th training row of a span, own-scaled; where the counting starts differs from coin to coin.
/// `before` rows of the series come before the first of `prepared`.
fn sampled(
    prepared: &Prepared,
    units: &Scaler,
    rows: Range<usize>,
    before: usize,
    stride: usize,
) -> Vec<f64> {
    let (offset, ratio) = prepared.scaler.offset_and_ratio(units);
    let p = prepared.p();
    let name = prepared.series.symbol.underlying();
    let phase = name.bytes().fold(0_usize, |sum, b| (31 * sum + usize::from(b)) % 65_521) % stride;
    let mut out = Vec::new();
    checkpoint();
    for i in prepared.training_runs(rows).into_iter().flatten() {
        if (before + i) % stride == phase {
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
