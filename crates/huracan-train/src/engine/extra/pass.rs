//! Every coin's rows encoded, and the moments of the codes with features and label kept. What becomes of them
//! in pools is told in `choose`.

use super::super::grams::CoinGrams;
use super::super::known::Known;
use super::super::passes::Pass;
use super::super::pools::Pools;
use super::super::prepare::{Prepared, prepare, read_tail};
use super::super::statistics::{CoinStatistics, Stage, Statistics, rows_min};
use super::super::survey::{Coin, Survey};
use super::super::{Engine, Market};
use super::{Block, Blocks, Extra, block_name, flat, from_flat, half, own_rows};
use crate::cache::Key;
use crate::jobs::checkpoint;
use crate::scratch::ScratchError;
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par};
use huracan_core::gram::Moments;
use huracan_core::trial::plan::Plan;
use huracan_core::words::UtcMs;
use std::cell::OnceCell;
use std::ops::Range;

/// Leaves a coin's blocks of a fold on scratch.
pub(super) fn leave(
    engine: &Engine<'_>,
    coin: usize,
    fold: usize,
    blocks: &FoldBlocks,
) -> Result<(), ScratchError> {
    let FoldBlocks { inner, full, judged } = blocks;
    engine.scratch.write(&block_name(coin, fold), &flat(&[inner.as_ref(), full.as_ref(), judged.as_ref()]))
}

/// A coin's own moments over the rows of a fold, one target.
struct FoldMoments {
    inner: Option<Moments>,
    full: Option<Moments>,
    judged: Option<Moments>,
}

/// A coin's blocks over the rows of a fold.
#[derive(Clone, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct FoldBlocks {
    inner: Option<Block>,
    full: Option<Block>,
    judged: Option<Block>,
}

/// A coin's rows, with the codes of the autoencoder that was last asked for.
struct Rows {
    prepared: Prepared,
    /// Own-scaled.
    z: Mat<f64>,
    half: usize,
    /// Epoch, first row, and codes from there on.
    encoded: Option<(usize, usize, Mat<f64>)>,
}

impl Rows {
    /// All columns of some rows in a stage.
    fn codes(&mut self, pass: &CodesPass<'_>, at: usize, span: Range<usize>) -> Mat<f64> {
        let mut out = Mat::zeros(span.len(), pass.extra.layout.width());
        let z = self.z.as_ref();
        if let Some(encoder) = pass.extra.models.autoencoder(at) {
            // Stages that share an autoencoder follow each other.
            let epoch = pass.extra.models.epochs[at];
            let kept = self.encoded.take();
            let kept = kept.filter(|(made, first, _)| *made == epoch && *first <= span.start);
            let nothing = || (epoch, span.start, Mat::zeros(0, encoder.components()));
            let (_, first, mut codes) = kept.unwrap_or_else(nothing);
            let from = first + codes.nrows();
            if from < span.end {
                // A row's codes are the same in any batch.
                let more = encoder.encode_rows(z.subrows(from, span.end - from));
                let mut all = Mat::zeros(span.end - first, more.ncols());
                all.subrows_mut(0, codes.nrows()).copy_from(&codes);
                all.subrows_mut(codes.nrows(), more.nrows()).copy_from(&more);
                codes = all;
            }
            out.get_mut(.., ..codes.ncols())
                .copy_from(codes.as_ref().subrows(span.start - first, span.len()));
            self.encoded = Some((epoch, first, codes));
        }
        let z = z.subrows(span.start, span.len());
        pass.extra.trees_into(&mut out, pass.pools, z, self.half, at);
        out
    }
}

/// Sums over rows of the codes with the design (features in common units, the missing share, ones), with
/// themselves and with the label.
#[derive(serde::Serialize, serde::Deserialize)]
struct Sums {
    #[serde(with = "huracan_core::wire::mat")]
    with_design: Mat<f64>,
    #[serde(with = "huracan_core::wire::mat")]
    with_codes: Mat<f64>,
    with_label: Vec<f64>,
}

/// A coin's rows, made or read when they are first needed.
struct LazyRows<'a, 'p> {
    pass: &'p CodesPass<'p>,
    index: usize,
    coin: &'a Coin,
    known: &'a CoinStatistics,
    all: Option<Rows>,
    tail: Option<Rows>,
}

impl LazyRows<'_, '_> {
    fn rows(&self, prepared: Prepared) -> Rows {
        let half = half(prepared.series.symbol.underlying());
        let z = own_rows(prepared.design.as_ref().get(.., ..prepared.p()), &self.known.own);
        Rows { prepared, z, half, encoded: None }
    }

    fn all(&mut self) -> Result<&mut Rows, ScratchError> {
        let made = match self.all.take() {
            Some(made) => made,
            None => {
                let CodesPass { engine, market, plan, statistics, .. } = self.pass;
                let series = self.coin.series(engine.scratch)?;
                let scaler = Some(self.known.scaler.clone());
                self.rows(prepare(engine.settings, market, plan, &statistics.units, series, scaler))
            }
        };
        Ok(self.all.insert(made))
    }

    /// Those that a night is about.
    fn tail(&mut self) -> Result<&mut Rows, ScratchError> {
        let made = match self.tail.take() {
            Some(made) => made,
            None => {
                let CodesPass { engine, plan, .. } = self.pass;
                let series = self.coin.series(engine.scratch)?;
                self.rows(read_tail(engine, self.index, &series, &self.known.scaler, plan)?)
            }
        };
        Ok(self.tail.insert(made))
    }
}

/// A coin's blocks, each fold's read when it is first asked for.
pub(in crate::engine) struct CoinBlocks<'a> {
    pass: CodesPass<'a>,
    index: usize,
    folds: Vec<OnceCell<Blocks>>,
}

impl CoinBlocks<'_> {
    /// Those of a fold. What is gone is made again.
    ///
    /// # Errors
    /// When scratch cannot be read back.
    pub(in crate::engine) fn fold(&self, f: usize) -> Result<&Blocks, ScratchError> {
        match self.folds[f].get() {
            Some(blocks) => Ok(blocks),
            None => {
                let FoldBlocks { inner, full, judged } = self.read(f)?;
                Ok(self.folds[f].get_or_init(|| Blocks { fold: f, stages: [inner, full], judged }))
            }
        }
    }

    fn read(&self, f: usize) -> Result<FoldBlocks, ScratchError> {
        let CodesPass { engine, plan, statistics, extra, .. } = self.pass;
        let (p, width) = (extra.p, extra.layout.width());
        let known = statistics.coins[self.index].as_ref().filter(|_| width > 0);
        let Some(known) = known else { return Ok(FoldBlocks::default()) };
        let opened = |flat: Vec<f64>| -> Option<FoldBlocks> {
            let [inner, full, judged] = from_flat(&flat, p, width).try_into().ok()?;
            Some(FoldBlocks { inner, full, judged })
        };
        let name = block_name(self.index, f);
        let Some(key) = self.pass.key(self.index, f) else {
            return opened(engine.scratch.read(&name)?).ok_or_else(|| engine.scratch.corrupt(&name));
        };
        if let Some(found) = engine.scratch.cache().get(&key) {
            return Ok(found);
        }
        if let Some(found) = engine.scratch.look(&name)?.and_then(opened) {
            return Ok(found);
        }
        let tested: Vec<usize> = (0..plan.folds.len() - 1).collect();
        let mut wanted = FoldBlocks::default();
        self.pass.make(self.index, known, &tested, |fold, made| {
            if fold == f {
                wanted = made.clone();
            }
            leave(engine, self.index, fold, made)
        })?;
        Ok(wanted)
    }
}

/// What a coin's job reads.
#[derive(Clone, Copy)]
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
    /// The codes' moments are on scratch.
    type Done = ();
    const STAGE: &'static str = "codes";

    fn job(&self, item: usize) -> Result<(), ScratchError> {
        match &self.statistics.coins[item] {
            Some(known) => self.coin(item, known),
            None => Ok(()),
        }
    }
}

impl<'a> CodesPass<'a> {
    /// A coin's blocks; none is read yet.
    pub(in crate::engine) fn blocks(self, index: usize) -> CoinBlocks<'a> {
        let folds = self.plan.folds.iter().map(|_| OnceCell::new()).collect();
        CoinBlocks { pass: self, index, folds }
    }
}

impl CodesPass<'_> {
    pub(super) fn grams<'a>(&'a self, index: usize, known: &'a CoinStatistics) -> CoinGrams<'a> {
        let shelf = self.statistics.shelf(self.engine, self.market, self.plan);
        shelf.of(index, &self.survey.coins[index], &known.scaler)
    }

    /// A coin's own moments over a run of segments, in its own scale; one target, the label.
    pub(super) fn own(
        &self,
        known: &CoinStatistics,
        grams: &CoinGrams<'_>,
        segments: Range<usize>,
        needed: f64,
    ) -> Result<Option<Moments>, ScratchError> {
        let moments = grams.moments(segments, needed)?;
        Ok(moments.map(|m| m.rescaled(&known.own.0, &known.own.1).targets(&[0])))
    }

    /// Makes the blocks of a coin that are not there from another run.
    fn coin(&self, index: usize, known: &CoinStatistics) -> Result<(), ScratchError> {
        let cache = self.engine.scratch.cache();
        let is_missing = |f: &usize| self.key(index, *f).is_none_or(|key| !cache.has(&key));
        let missing: Vec<usize> = (0..self.plan.folds.len()).filter(is_missing).collect();
        self.make(index, known, &missing, |f, made| {
            let is_kept = self.key(index, f).is_some_and(|key| cache.keeps(&key, made));
            if is_kept { Ok(()) } else { leave(self.engine, index, f, made) }
        })
    }

    /// Makes the blocks of some folds, in order.
    fn make(
        &self,
        index: usize,
        known: &CoinStatistics,
        folds: &[usize],
        mut keep: impl FnMut(usize, &FoldBlocks) -> Result<(), ScratchError>,
    ) -> Result<(), ScratchError> {
        let coin = &self.survey.coins[index];
        let grams = self.grams(index, known);
        let needed = rows_min(self.engine.settings);
        let mut rows = LazyRows { pass: self, index, coin, known, all: None, tail: None };
        for &f in folds {
            checkpoint();
            let fold = &self.plan.folds[f];
            let own = |segments: Range<usize>, needed: f64| self.own(known, &grams, segments, needed);
            let inner = own(Stage::Inner.segments(fold), needed)?;
            let full = own(Stage::Full.segments(fold), needed)?;
            let judged = own(fold.validation.clone(), needed / 4.0)?.filter(|_| inner.is_some());
            keep(f, &self.blocks_of(&mut rows, f, &FoldMoments { inner, full, judged })?)?;
        }
        Ok(())
    }

    /// The key of a coin's blocks of a fold; `None` for the final fit's, and where nothing outlives a run.
    fn key(&self, index: usize, fold: usize) -> Option<Key> {
        let known =
            Known::kept(self.statistics.known.as_ref(), self.engine.scratch.cache(), self.plan, fold)?;
        let symbol = &self.survey.coins[index].symbol;
        Some(known.fit_of("codes", fold, index, |inputs| self.extra.of_coin(symbol, inputs)))
    }

    /// The blocks of a fold from the coin's rows.
    fn blocks_of(
        &self,
        rows: &mut LazyRows<'_, '_>,
        f: usize,
        moments: &FoldMoments,
    ) -> Result<FoldBlocks, ScratchError> {
        let fold = &self.plan.folds[f];
        let known = rows.known;
        let mut out = FoldBlocks::default();
        if moments.inner.is_none() && moments.full.is_none() {
            return Ok(out);
        }
        if let Some(settled) = self.settled(f) {
            return self.latest_blocks(rows, f, settled, moments);
        }
        let rows = rows.all()?;
        if let Some(training) = &moments.inner {
            let at = Stage::Inner.at(f);
            let span = self.rows(&rows.prepared, fold.inner_train.clone());
            let validation = self.rows(&rows.prepared, fold.validation.clone());
            let sums = self.sums(rows, at, span, None);
            out.inner = Some(self.block(&sums, known, training));
            out.judged = moments.judged.as_ref().map(|own| {
                let sums = self.sums(rows, at, validation, None);
                self.block(&sums, known, own)
            });
        }
        if let Some(training) = &moments.full {
            let span = self.rows(&rows.prepared, fold.train.clone());
            let sums = self.sums(rows, Stage::Full.at(f), span, None);
            out.full = Some(self.block(&sums, known, training));
        }
        Ok(out)
    }

    /// The segments before which the final fit's rows were settled already when the last tested fold was
    /// fitted.
    fn settled(&self, fold: usize) -> Option<usize> {
        let [.., last, final_fit] = &self.plan.folds[..] else { return None };
        let settled = last.train.end;
        let is_inside = settled <= final_fit.inner_train.end && settled <= final_fit.validation.start;
        (fold + 1 == self.plan.folds.len() && is_inside).then_some(settled)
    }

    /// The blocks of the final fit: sums over settled rows, from another run where they were made there,
    /// and over the rows since then.
    fn latest_blocks(
        &self,
        rows: &mut LazyRows<'_, '_>,
        f: usize,
        settled: usize,
        moments: &FoldMoments,
    ) -> Result<FoldBlocks, ScratchError> {
        let fold = &self.plan.folds[f];
        let known = rows.known;
        let mut out = FoldBlocks::default();
        for (stage, training) in Stage::ALL.into_iter().zip([&moments.inner, &moments.full]) {
            let Some(training) = training else { continue };
            let at = stage.at(f);
            // Maps and rows from before they were frozen are the same for a week.
            let end = self.plan.edges[stage.segments(fold).end];
            let until = self.plan.learning_ends(f)[stage as usize].max(self.plan.edges[settled]).min(end);
            let before = self.settled_sums(rows, at, until)?;
            let rows = rows.tail()?;
            let row = |moment: UtcMs| rows.prepared.series.index_at_or_after(moment);
            let span = row(until)..row(end);
            let sums = self.sums(rows, at, span, Some(before));
            let block = Some(self.block(&sums, known, training));
            match stage {
                Stage::Inner => {
                    out.inner = block;
                    out.judged = moments.judged.as_ref().map(|own| {
                        let span = self.rows(&rows.prepared, fold.validation.clone());
                        let sums = self.sums(rows, at, span, None);
                        self.block(&sums, known, own)
                    });
                }
                Stage::Full => out.full = block,
            }
        }
        Ok(out)
    }

    /// Sums over the rows of the final fit in a stage that come before a moment.
    fn settled_sums(
        &self,
        rows: &mut LazyRows<'_, '_>,
        at: usize,
        until: UtcMs,
    ) -> Result<Sums, ScratchError> {
        let models = &self.extra.models;
        let key = self.statistics.known.as_ref().map(|digests| {
            digests.frozen_of("code sums", rows.index, |inputs| {
                let scaler = &rows.known.scaler;
                let inputs = self.extra.of_coin(&rows.coin.symbol, inputs).number(at as i64);
                let trees = [models.trees.get(at), models.trees_coded.get(at)];
                let units = trees.into_iter().flatten().flatten().map(|trees| trees.units);
                let epoch = models.epochs.get(at).map_or(-1, |&epoch| epoch as i64);
                units
                    .fold(inputs, |inputs, units| inputs.number(units as i64))
                    .number(epoch)
                    .number(until.0)
                    .numbers(&scaler.center)
                    .numbers(&scaler.scale)
            })
        });
        let cache = self.engine.scratch.cache();
        if let Some(found) = key.as_ref().and_then(|key| cache.get(key)) {
            return Ok(found);
        }
        let rows = rows.all()?;
        let span = 0..rows.prepared.series.index_at_or_after(until);
        let sums = self.sums(rows, at, span, None);
        key.iter().for_each(|key| cache.put(key, &sums));
        Ok(sums)
    }

    /// Rows of a span of plan segments.
    fn rows(&self, prepared: &Prepared, segments: Range<usize>) -> Range<usize> {
        let at = |edge: usize| prepared.series.index_at_or_after(self.plan.edges[edge]);
        at(segments.start)..at(segments.end)
    }

    /// Sums of the codes over the training rows of `span`, after those of rows before.
    fn sums(&self, rows: &mut Rows, at: usize, span: Range<usize>, before: Option<Sums>) -> Sums {
        let (p, e) = (self.extra.p, self.extra.layout.width());
        checkpoint();
        let codes = rows.codes(self, at, span.clone());
        checkpoint();
        let prepared = &rows.prepared;
        let mut sums = before.unwrap_or_else(|| Sums {
            with_design: Mat::zeros(p + 1, e),
            with_codes: Mat::zeros(e, e),
            with_label: vec![0.0; e],
        });
        let first = span.start;
        for run in prepared.training_runs(span) {
            let k = codes.as_ref().subrows(run.start - first, run.len());
            let a = prepared.design.as_ref().subrows(run.start, run.len());
            matmul(&mut sums.with_design, Accum::Add, a.transpose(), k, 1.0, Par::Seq);
            matmul(&mut sums.with_codes, Accum::Add, k.transpose(), k, 1.0, Par::Seq);
            let label = &prepared.labels[0][run];
            for (c, sum) in sums.with_label.iter_mut().enumerate() {
                *sum += label.iter().enumerate().map(|(i, y)| k[(i, c)] * y).sum::<f64>();
            }
        }
        sums
    }

    /// Moments of the codes from their sums; `own` are the features' over the same rows.
    fn block(&self, sums: &Sums, known: &CoinStatistics, own: &Moments) -> Block {
        let Sums { with_design, with_codes, with_label } = sums;
        let (p, e) = (self.extra.p, with_label.len());
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
    pub(super) fn raw(&self, own: &Moments, block: &Block) -> Moments {
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
