//! Every coin's rows encoded, and the moments of the codes with features and label kept.

use super::super::lanes::Lane;
use super::super::passes::Pass;
use super::super::pools::Pools;
use super::super::prepare::{Prepared, prepare};
use super::super::statistics::{
    CoinStatistics, Stage, Statistics, Targets, coin_moments, read_grams, rows_min,
};
use super::super::survey::Survey;
use super::super::{Engine, EngineError, Market};
use super::{Block, Blocks, Choice, Extra, ExtraPool, block_name, half, own_rows, pooled_head};
use crate::jobs::checkpoint;
use crate::scratch::ScratchError;
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};
use huracan_core::gram::{Gram, Moments};
use huracan_core::trial::plan::Plan;
use std::ops::Range;

/// What a coin brings to the pools: joined moments, not standardised, per stage, and on validation
/// about its training means.
pub(in crate::engine) struct Work {
    train: Vec<Option<Moments>>,
    validation: Vec<Option<Moments>>,
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
    let size = extra.head_len();
    let zero = || (Moments::zero(size, 1), 0.0);
    let mut train: Vec<(Moments, f64)> = (0..2 * plan.folds.len()).map(|_| zero()).collect();
    let mut validation: Vec<(Moments, f64)> = plan.folds.iter().map(|_| zero()).collect();
    let mut disk: Option<ScratchError> = None;
    let pass = CodesPass { engine, survey, market, plan, statistics, pools, extra };
    let names = survey.names();
    engine.observer.stage_started("codes", names.len());
    engine.pass(&pass, &names, |i, result| {
        engine.observer.stage_advanced("codes", i + 1, &names[i]);
        match result {
            Ok(Ok(Some(work))) => {
                let weight = statistics.coins[i].as_ref().map_or(0.0, |c| c.weight);
                add(&mut train, &work.train, weight);
                add(&mut validation, &work.validation, weight);
            }
            Ok(Ok(None)) => {}
            Ok(Err(error)) => disk = Some(error),
            // It goes on without these codes.
            Err(panic) => {
                engine.observer.note(&format!("{} has no codes learnt on rows: {panic}", names[i]));
                let nothing = vec![0.0; 2 * plan.folds.len()];
                if let Err(error) = engine.scratch.write(&block_name(i), &nothing) {
                    disk = Some(error);
                }
            }
        }
    })?;
    if let Some(error) = disk {
        return Err(error.into());
    }
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

fn add(pools: &mut [(Moments, f64)], coin: &[Option<Moments>], weight: f64) {
    for ((sum, total), moments) in pools.iter_mut().zip(coin) {
        if let Some(moments) = moments {
            sum.pool(moments, weight);
            *total += weight;
        }
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

/// What a coin's job reads.
pub(in crate::engine) struct CodesPass<'a> {
    pub(in crate::engine) engine: &'a Engine<'a>,
    pub(in crate::engine) survey: &'a Survey,
    pub(in crate::engine) market: &'a Market,
    pub(in crate::engine) plan: &'a Plan,
    pub(in crate::engine) statistics: &'a Statistics,
    pub(in crate::engine) pools: &'a Pools,
    pub(in crate::engine) extra: &'a Extra,
}

impl Pass for CodesPass<'_> {
    /// The codes' moments over every fold's validation, flat; those over training rows are on scratch.
    /// `None` for a coin that has no statistics.
    type Done = Option<Vec<f64>>;
    type Out = Option<Work>;
    const STAGE: &'static str = "codes";

    fn job(&self, item: usize) -> Result<Option<Vec<f64>>, ScratchError> {
        match &self.statistics.coins[item] {
            Some(known) => self.coin(item, &self.survey.coins[item], known).map(Some),
            None => Ok(None),
        }
    }

    fn open(&self, item: usize, seen: Option<Vec<f64>>) -> Result<Option<Work>, ScratchError> {
        let (Some(known), Some(seen)) = (&self.statistics.coins[item], seen) else { return Ok(None) };
        let settings = self.engine.settings;
        let grams = read_grams(self.engine, item, self.statistics.p, Targets::of(settings).count())?;
        let blocks = self.extra.read(self.engine, item)?;
        let seen = Blocks::from_flat(&seen, self.extra.p, self.extra.layout.width());
        let mut work = Work { train: Vec::new(), validation: Vec::new() };
        for (f, fold) in self.plan.folds.iter().enumerate() {
            for stage in Stage::ALL {
                let block = blocks.at(stage.at(f));
                let training = self.own(known, &grams, stage.segments(fold), rows_min(settings));
                let train = training.zip(block).map(|(own, block)| self.raw(&own, block));
                if stage == Stage::Inner {
                    let judged = self.own(known, &grams, fold.validation.clone(), rows_min(settings) / 4.0);
                    let judged = judged.zip(seen.at(f)).map(|(own, block)| self.raw(&own, block));
                    work.validation.push(train.as_ref().zip(judged).map(|(train, seen)| seen.about(train)));
                }
                work.train.push(train);
            }
        }
        Ok(Some(work))
    }
}

impl CodesPass<'_> {
    /// A coin's own moments over a run of segments, in its own scale; one target, the label.
    fn own(
        &self,
        known: &CoinStatistics,
        grams: &[Gram],
        segments: Range<usize>,
        needed: f64,
    ) -> Option<Moments> {
        let moments = coin_moments(grams, segments, needed)?;
        Some(moments.rescaled(&known.own.0, &known.own.1).targets(&[0]))
    }

    /// Leaves the blocks of a coin on scratch and hands back those of its validations, flat.
    fn coin(
        &self,
        index: usize,
        coin: &super::super::survey::Coin,
        known: &CoinStatistics,
    ) -> Result<Vec<f64>, ScratchError> {
        let (engine, settings) = (self.engine, self.engine.settings);
        let series = coin.series(engine.scratch)?;
        let units = &self.statistics.units;
        let prepared = prepare(settings, self.market, self.plan, units, series, Some(known.scaler.clone()));
        let grams = read_grams(engine, index, self.statistics.p, Targets::of(settings).count())?;
        let n = prepared.series.len();
        let z = own_rows(prepared.design.as_ref().get(.., ..prepared.p()), &known.own);
        let half = half(prepared.series.symbol.underlying());
        let needed = rows_min(settings);
        let mut blocks = Vec::with_capacity(2 * self.plan.folds.len());
        let mut judged_blocks = Vec::with_capacity(self.plan.folds.len());
        // The inner heads of a fold read the autoencoder of the full heads before.
        let mut last: Option<(usize, Mat<f64>)> = None;
        for (f, fold) in self.plan.folds.iter().enumerate() {
            for stage in Stage::ALL {
                let (plan, pool) = (self.plan, &self.pools.stages[stage.at(f)]);
                let rows = self.rows(&prepared, stage.segments(fold));
                checkpoint();
                let Some(training) = self.own(known, &grams, stage.segments(fold), needed) else {
                    blocks.push(None);
                    if stage == Stage::Inner {
                        judged_blocks.push(None);
                    }
                    continue;
                };
                let end = match stage {
                    Stage::Inner => self.rows(&prepared, fold.validation.clone()).end.max(rows.end),
                    Stage::Full => rows.end,
                };
                let epoch = self.extra.models.epochs[stage.at(f)];
                if last.as_ref().is_none_or(|(made, codes)| *made != epoch || codes.nrows() < end) {
                    // Stages that share an autoencoder follow each other: encode for the longer one.
                    let next = plan.folds.get(f + 1).map_or(0..0, |next| next.validation.clone());
                    let longest = end.max(self.rows(&prepared, fold.train.clone()).end);
                    let longest =
                        if next.is_empty() { longest } else { longest.max(self.rows(&prepared, next).end) };
                    let span = z.as_ref().subrows(0, longest.min(n));
                    let encoder = self.extra.models.autoencoder(stage.at(f));
                    let codes = encoder.map_or_else(|| Mat::zeros(span.nrows(), 0), |e| e.encode_rows(span));
                    last = Some((epoch, codes));
                }
                let encoded = last.as_ref().map(|(_, codes)| codes.as_ref());
                let codes = self.columns(encoded, z.as_ref().subrows(0, end), pool, half, stage.at(f));
                blocks.push(Some(self.block(&prepared, known, &codes, &training, rows)));
                if stage == Stage::Inner {
                    let judged = self.own(known, &grams, fold.validation.clone(), needed / 4.0);
                    let span = self.rows(&prepared, fold.validation.clone());
                    judged_blocks
                        .push(judged.map(|judged| self.block(&prepared, known, &codes, &judged, span)));
                }
            }
        }
        engine.scratch.write(&block_name(index), &Blocks(blocks).to_flat())?;
        Ok(Blocks(judged_blocks).to_flat())
    }

    /// Rows of a span of plan segments.
    fn rows(&self, prepared: &Prepared, segments: Range<usize>) -> Range<usize> {
        let at = |edge: usize| prepared.series.index_at_or_after(self.plan.edges[edge]);
        at(segments.start)..at(segments.end)
    }

    /// All columns of the first rows: the autoencoder's codes as given, the stage's trees.
    fn columns(
        &self,
        encoded: Option<MatRef<'_, f64>>,
        z: MatRef<'_, f64>,
        pool: &super::super::pools::Pool,
        half: usize,
        at: usize,
    ) -> Mat<f64> {
        let mut out = Mat::zeros(z.nrows(), self.extra.layout.width());
        if let Some(encoded) = encoded.filter(|e| e.ncols() > 0) {
            out.get_mut(.., ..encoded.ncols()).copy_from(encoded.subrows(0, z.nrows()));
        }
        self.extra.trees_into(&mut out, pool, z, half, at);
        out
    }

    /// Moments of the codes over the training rows of `span`; `own` are the features' over the same rows.
    fn block(
        &self,
        prepared: &Prepared,
        known: &CoinStatistics,
        codes: &Mat<f64>,
        own: &Moments,
        span: Range<usize>,
    ) -> Block {
        let (p, e) = (self.extra.p, codes.ncols());
        let mut with_design: Mat<f64> = Mat::zeros(p + 1, e);
        let mut with_codes: Mat<f64> = Mat::zeros(e, e);
        let mut with_label = vec![0.0; e];
        for run in prepared.training_runs(span) {
            let k = codes.as_ref().subrows(run.start, run.len());
            let a = prepared.design.as_ref().subrows(run.start, run.len());
            matmul(&mut with_design, Accum::Add, a.transpose(), k, 1.0, Par::Seq);
            matmul(&mut with_codes, Accum::Add, k.transpose(), k, 1.0, Par::Seq);
            let label = &prepared.labels[0][run];
            for (c, sum) in with_label.iter_mut().enumerate() {
                *sum += label.iter().enumerate().map(|(i, y)| k[(i, c)] * y).sum::<f64>();
            }
        }
        let n = own.n;
        let mean: Vec<f64> = (0..e).map(|c| with_design[(p, c)] / n).collect();
        let (offset, ratio) = &known.own;
        // Means of the design from those of the own scale: z = (design − offset) / ratio.
        let covariance = |i: usize, c: usize| {
            if ratio[i] <= 0.0 {
                return 0.0;
            }
            let sum = (with_design[(i, c)] / n - offset[i] * mean[c]) / ratio[i];
            sum - own.mean[i] * mean[c]
        };
        Block {
            own: Mat::from_fn(p, e, covariance),
            codes: Mat::from_fn(e, e, |a, b| with_codes[(a, b)] / n - mean[a] * mean[b]),
            label: (0..e).map(|c| with_label[c] / n - mean[c] * own.mean_y[0]).collect(),
            mean,
        }
    }

    /// Features and codes together, in their own units.
    fn raw(&self, own: &Moments, block: &Block) -> Moments {
        let (p, e) = (self.extra.p, block.mean.len());
        let mut out = Moments::zero(p + e, 1);
        out.n = own.n;
        out.mean = own.mean.iter().chain(&block.mean).copied().collect();
        out.mean_y.clone_from(&own.mean_y);
        out.var_y.clone_from(&own.var_y);
        for i in 0..p {
            out.cross[(i, 0)] = own.cross[(i, 0)];
            (0..p).for_each(|j| out.cov[(j, i)] = own.cov[(j, i)]);
        }
        for c in 0..e {
            out.cross[(p + c, 0)] = block.label[c];
            (0..e).for_each(|d| out.cov[(p + d, p + c)] = block.codes[(d, c)]);
            for i in 0..p {
                out.cov[(i, p + c)] = block.own[(i, c)];
                out.cov[(p + c, i)] = block.own[(i, c)];
            }
        }
        out
    }
}
