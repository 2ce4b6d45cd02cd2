//! A coin's cumulative Grams: parts of some segments each, kept where they outlive the run if what is
//! kept from run to run allows it, else on scratch, and read back when a part is asked for.
//!
//! A part belongs to a fold and holds the segments from the training end of the fold before to its own.
//! Those of tested folds are settled: a night after one more day finds them and adds the rows of the last
//! weeks only. A part that is gone, or that a torn disk spoilt, is made again from the coin's bars.

use super::known::Known;
use super::prepare::{Prepared, Signs, prepare};
use super::statistics::{Targets, placebo_signs};
use super::survey::Coin;
use super::{Engine, Market};
use crate::cache::{Inputs, Key};
use crate::jobs::checkpoint;
use crate::scratch::ScratchError;
use crate::settings::Settings;
use faer::Mat;
use huracan_core::encoder::Scaler;
use huracan_core::gram::{Gram, Moments};
use huracan_core::trial::plan::Plan;
use std::cell::OnceCell;
use std::ops::Range;

/// Segments of a fold's part.
pub(super) fn part(plan: &Plan, fold: usize) -> Range<usize> {
    let end = |fold: usize| plan.folds[fold].train.end;
    let from = fold.checked_sub(1).map_or(0, end);
    let to = if fold + 1 == plan.folds.len() { plan.segments() } else { end(fold) };
    from..to
}

/// Scratch name of a part.
fn name(coin: usize, fold: usize) -> String {
    format!("gram-{coin}-{fold}")
}

/// The last tested fold, up to whose training end everything is settled; `None` without one.
pub(super) fn last_tested(plan: &Plan) -> Option<usize> {
    plan.folds.len().checked_sub(2)
}

/// Bar start before which rows are settled.
pub(super) fn settled_until(plan: &Plan) -> Option<usize> {
    Some(plan.folds[last_tested(plan)?].train.end)
}

/// The key of a part among what outlives a run; `None` for the final fit's, and where nothing does.
fn key(
    engine: &Engine<'_>,
    plan: &Plan,
    known: Option<&Known>,
    (coin, scaler): (usize, &Scaler),
    fold: usize,
) -> Option<Key> {
    let known = Known::kept(known, engine.scratch.cache(), plan, fold)?;
    // A young coin's is settled later than its first folds.
    let scaled = |inputs: Inputs| inputs.numbers(&scaler.center).numbers(&scaler.scale);
    Some(known.fit_of("grams", fold, coin, scaled))
}

/// Targets of rows, n × q: labels per horizon, then the label under every placebo's signs.
fn targets(prepared: &Prepared, signs: &[Signs]) -> Mat<f64> {
    let horizons = prepared.labels.len();
    let columns: Vec<Vec<f64>> = signs.iter().map(|s| s.of(&prepared.series)).collect();
    Mat::from_fn(prepared.series.len(), horizons + columns.len(), |i, j| {
        if j < horizons { prepared.labels[j][i] } else { prepared.labels[0][i] * columns[j - horizons][i] }
    })
}

/// Grams of all segments up to each of `segments`, itself included. `before` is the one up to the first of
/// them, itself not included; `prepared` holds at least the rows of `segments`.
pub(super) fn cumulative(
    settings: &Settings,
    prepared: &Prepared,
    plan: &Plan,
    segments: Range<usize>,
    before: Option<Gram>,
) -> Vec<Gram> {
    let y = targets(prepared, &placebo_signs(settings));
    let mut total = before.unwrap_or_else(|| Gram::new(prepared.p(), y.ncols()));
    let of_segment = |s: usize| {
        checkpoint();
        let from = prepared.series.index_at_or_after(plan.edges[s]);
        let to = prepared.series.index_at_or_after(plan.edges[s + 1]);
        for run in prepared.training_runs(from..to) {
            total.add_rows(
                prepared.design.as_ref().subrows(run.start, run.len()),
                y.as_ref().subrows(run.start, run.len()),
            );
        }
        total.clone()
    };
    segments.map(of_segment).collect()
}

fn flat(grams: &[Gram]) -> Vec<f64> {
    grams.iter().flat_map(Gram::to_flat).collect()
}

/// Keeps the Grams of every segment, part by part.
///
/// # Errors
/// When scratch cannot be written.
pub(super) fn keep(
    engine: &Engine<'_>,
    plan: &Plan,
    known: Option<&Known>,
    (coin, scaler): (usize, &Scaler),
    grams: &[Gram],
) -> Result<(), ScratchError> {
    for fold in 0..plan.folds.len() {
        checkpoint();
        let values = flat(&grams[part(plan, fold)]);
        let key = key(engine, plan, known, (coin, scaler), fold);
        if !key.is_some_and(|key| engine.scratch.cache().keeps(&key, &values)) {
            engine.scratch.write(&name(coin, fold), &values)?;
        }
    }
    Ok(())
}

/// Keeps the final fit's part.
///
/// # Errors
/// When scratch cannot be written.
pub(super) fn keep_last(
    engine: &Engine<'_>,
    plan: &Plan,
    coin: usize,
    grams: &[Gram],
) -> Result<(), ScratchError> {
    engine.scratch.write(&name(coin, plan.folds.len() - 1), &flat(grams))
}

/// What Grams are read from, the same for all coins.
#[derive(Clone, Copy)]
pub struct GramShelf<'a> {
    pub(super) engine: &'a Engine<'a>,
    pub(super) market: &'a Market,
    pub(super) plan: &'a Plan,
    pub(super) units: &'a Scaler,
    pub(super) known: Option<&'a Known>,
    /// Features, missing share included.
    pub(super) p: usize,
}

impl<'a> GramShelf<'a> {
    /// A coin's Grams; none is read yet.
    pub(super) fn of(self, index: usize, coin: &'a Coin, scaler: &'a Scaler) -> CoinGrams<'a> {
        let parts = self.plan.folds.iter().map(|_| OnceCell::new()).collect();
        CoinGrams { shelf: self, index, coin, scaler, parts }
    }
}

/// A coin's cumulative Grams.
pub struct CoinGrams<'a> {
    shelf: GramShelf<'a>,
    index: usize,
    coin: &'a Coin,
    scaler: &'a Scaler,
    parts: Vec<OnceCell<Vec<Gram>>>,
}

impl CoinGrams<'_> {
    /// Centred moments over a run of segments, in common units, if there are enough rows.
    ///
    /// # Errors
    /// When scratch cannot be read back.
    pub(super) fn moments(
        &self,
        segments: Range<usize>,
        rows_min: f64,
    ) -> Result<Option<Moments>, ScratchError> {
        let Some(last) = segments.end.checked_sub(1) else { return Ok(None) };
        let until = self.at(last)?;
        let Some(before) = segments.start.checked_sub(1) else {
            return Ok((until.rows() >= rows_min).then(|| until.moments()).flatten());
        };
        let mut span = until.clone();
        span.add(self.at(before)?, -1.0);
        Ok((span.rows() >= rows_min).then(|| span.moments()).flatten())
    }

    fn at(&self, segment: usize) -> Result<&Gram, ScratchError> {
        let plan = self.shelf.plan;
        let fold = (0..plan.folds.len()).position(|fold| part(plan, fold).contains(&segment)).unwrap_or(0);
        let grams = match self.parts[fold].get() {
            Some(grams) => grams,
            None => {
                let read = self.read(fold)?;
                self.parts[fold].get_or_init(|| read)
            }
        };
        Ok(&grams[segment - part(plan, fold).start])
    }

    fn read(&self, fold: usize) -> Result<Vec<Gram>, ScratchError> {
        let GramShelf { engine, plan, known, p, .. } = self.shelf;
        let q = Targets::of(engine.settings).count();
        let opened = |flat: Vec<f64>| -> Option<Vec<Gram>> {
            let parts = flat.chunks_exact(Gram::flat_len(p, q));
            let grams: Vec<Gram> = parts.filter_map(|part| Gram::from_flat(p, q, part)).collect();
            (grams.len() == part(plan, fold).len()).then_some(grams)
        };
        let key = key(engine, plan, known, (self.index, self.scaler), fold);
        let Some(key) = key else {
            let name = name(self.index, fold);
            let flat = engine.scratch.read(&name)?;
            return opened(flat).ok_or_else(|| engine.scratch.corrupt(&name));
        };
        if let Some(grams) = engine.scratch.cache().get(&key).and_then(opened) {
            return Ok(grams);
        }
        // Where the cache took nothing any more.
        if let Some(grams) = engine.scratch.look(&name(self.index, fold))?.and_then(opened) {
            return Ok(grams);
        }
        self.make_again(fold)
    }

    /// Makes all settled parts again, onto scratch, and gives one of them.
    fn make_again(&self, fold: usize) -> Result<Vec<Gram>, ScratchError> {
        let GramShelf { engine, market, plan, units, .. } = self.shelf;
        let series = self.coin.series(engine.scratch)?;
        let prepared = prepare(engine.settings, market, plan, units, series, Some(self.scaler.clone()));
        let settled = 0..settled_until(plan).unwrap_or(0);
        let mut grams = cumulative(engine.settings, &prepared, plan, settled, None);
        for fold in 0..plan.folds.len() - 1 {
            engine.scratch.write(&name(self.index, fold), &flat(&grams[part(plan, fold)]))?;
        }
        Ok(grams.drain(part(plan, fold)).collect())
    }
}
