//! Boosting: one tree a round on what the rounds before left over.

use super::bins::{BLOCK, Binned};
use super::ensemble::Ensemble;
use super::grow::{Grown, Growth, Rows, grow};
use super::histogram::Chosen;
use super::quantise::{self, Weights};
use super::split::Limits;
use super::{HeldOut, TreesSpec};
use rand::RngExt;

/// An ensemble fitted to squared loss.
///
/// `target`, `weight` and `init` have a value a row; rows of weight 0 count for nothing. With `init`
/// boosting starts from these scores, and the ensemble is what to add to them; without, from the
/// weighted mean target. With `held_out` the rounds up to its lowest weighted mean square are kept,
/// which may be none.
///
/// The same rows in another order give the same ensemble, as long as `row_share` is 1 and nothing
/// is held out.
///
/// `None` when lengths or edges disagree, a number is not finite, no row has weight, or the spec is
/// out of range.
pub fn fit(
    rows: &Binned,
    target: &[f64],
    weight: Option<&[f64]>,
    init: Option<&[f64]>,
    held_out: Option<HeldOut<'_>>,
    spec: &TreesSpec,
) -> Option<Ensemble> {
    fit_watched(rows, target, weight, init, held_out, spec, &|| {})
}

/// As [`fit`]; `each_round` is called before every round and may unwind.
///
/// `None` as there.
pub fn fit_watched(
    rows: &Binned,
    target: &[f64],
    weight: Option<&[f64]>,
    init: Option<&[f64]>,
    held_out: Option<HeldOut<'_>>,
    spec: &TreesSpec,
    each_round: &dyn Fn(),
) -> Option<Ensemble> {
    let n = rows.rows();
    if !spec.is_valid() || n > i32::MAX as usize {
        return None;
    }
    let weights = Weights::of(n, weight)?;
    let base =
        if init.is_some() { 0.0 } else { quantise::mean(known(target, n)?.iter().copied(), &weights)? };
    let mut residual = residuals(target, init, base, n)?;
    let mut judge = match held_out {
        Some(held_out) => Some(Judge::new(rows, held_out, init.is_some(), base)?),
        None => None,
    };
    let mean_square = quantise::mean(residual.iter().map(|r| r * r), &weights)?;
    let usable: Vec<usize> = (0..rows.edges().features()).filter(|&j| varies(rows, &weights, j)).collect();
    let everything = Chosen::new(usable.clone());
    let (mut cells, mut buffers) = (Vec::new(), Rows::default());
    let mut ensemble = Ensemble { features: rows.edges().features(), base, trees: Vec::new() };
    let mut kept = 0;
    for round in 0..spec.rounds {
        each_round();
        let Some(scale) = quantise::cells(&residual, &weights, &mut cells) else { break };
        let some = (spec.feature_share < 1.0).then(|| Chosen::new(draw_features(&usable, spec, round)));
        let limits = Limits {
            lambda: spec.lambda_l2 / scale.step,
            weight_min: (spec.min_leaf_weight / scale.step).max(1.0),
            gain_min: spec.min_gain * mean_square / (scale.level * scale.level * scale.step),
        };
        let growth = Growth {
            binned: rows,
            chosen: some.as_ref().unwrap_or(&everything),
            scale,
            limits: &limits,
            leaves_max: spec.leaves,
            depth_max: spec.max_depth.unwrap_or(usize::MAX),
            learning_rate: spec.learning_rate,
        };
        draw_rows(&weights, &cells, spec, round, &mut buffers);
        let Some(grown) = grow(&growth, &mut buffers) else {
            // Other draws may find something; the same ones will not.
            if spec.feature_share < 1.0 || spec.row_share < 1.0 { continue } else { break }
        };
        subtract(&grown, rows, &buffers, buffers.rows.len() == n, &mut residual);
        if let Some(judge) = &mut judge {
            judge.add(&grown, ensemble.trees.len() + 1);
        }
        ensemble.trees.push(grown.tree);
        kept = judge.as_ref().map_or(ensemble.trees.len(), |j| j.best_rounds);
        if spec.early_stop_rounds.is_some_and(|wait| ensemble.trees.len() - kept >= wait.max(1)) {
            break;
        }
    }
    ensemble.trees.truncate(kept);
    Some(ensemble)
}

/// The values, if there is a finite one for each of n rows.
fn known(values: &[f64], n: usize) -> Option<&[f64]> {
    (values.len() == n && values.iter().all(|v| v.is_finite())).then_some(values)
}

/// What is to be fitted: target less the score to start from.
fn residuals(target: &[f64], init: Option<&[f64]>, base: f64, n: usize) -> Option<Vec<f64>> {
    let target = known(target, n)?;
    Some(match init {
        None => target.iter().map(|t| t - base).collect(),
        Some(init) => target.iter().zip(known(init, n)?).map(|(t, s)| t - s).collect(),
    })
}

/// Whether a feature differs between rows that count, so that it can be cut at all.
fn varies(rows: &Binned, weights: &Weights, feature: usize) -> bool {
    let (block, place) = (rows.block(feature / BLOCK), feature % BLOCK);
    let mut bins = block.iter().zip(&weights.steps).filter(|(_, s)| **s > 0).map(|(row, _)| row[place]);
    let first = bins.next();
    bins.any(|bin| Some(bin) != first)
}

/// The features of one round, ascending, at least one of those there are.
fn draw_features(usable: &[usize], spec: &TreesSpec, round: usize) -> Vec<usize> {
    let mut rng = spec.seed.child("trees.features", round as u64).rng();
    let wanted = (spec.feature_share * usable.len() as f64).round().max(1.0) as usize;
    let mut drawn = usable.to_vec();
    let count = wanted.min(drawn.len());
    for i in 0..count {
        let other = rng.random_range(i..drawn.len());
        drawn.swap(i, other);
    }
    drawn.truncate(count);
    drawn.sort_unstable();
    drawn
}

/// The rows of one round with their cells: those with weight, thinned to the share asked for.
fn draw_rows(weights: &Weights, cells: &[i64], spec: &TreesSpec, round: usize, out: &mut Rows) {
    out.rows.clear();
    out.cells.clear();
    let everyone = spec.row_share >= 1.0;
    if everyone && weights.all_count {
        out.rows.extend(0..cells.len() as u32);
        out.cells.extend_from_slice(cells);
        return;
    }
    let mut rng = spec.seed.child("trees.rows", round as u64).rng();
    for (row, (&cell, &steps)) in cells.iter().zip(&weights.steps).enumerate() {
        if steps > 0 && (everyone || rng.random::<f64>() < spec.row_share) {
            out.rows.push(row as u32);
            out.cells.push(cell);
        }
    }
}

/// Takes a tree's values from the residuals of all rows, grown on or not.
fn subtract(grown: &Grown, rows: &Binned, buffers: &Rows, all_grown_on: bool, residual: &mut [f64]) {
    if all_grown_on {
        for (range, value) in grown.leaves.iter().zip(&grown.tree.values) {
            buffers.rows[range.clone()].iter().for_each(|&row| residual[row as usize] -= value);
        }
    } else {
        grown.tree.negated().add_binned(&grown.nodes, rows, residual);
    }
}

/// Keeps the held-out loss after every round.
struct Judge<'a> {
    rows: &'a Binned,
    residual: Vec<f64>,
    weight: Option<&'a [f64]>,
    best_loss: f64,
    best_rounds: usize,
}

impl<'a> Judge<'a> {
    fn new(trained: &Binned, held_out: HeldOut<'a>, has_init: bool, base: f64) -> Option<Judge<'a>> {
        let HeldOut { rows, target, weight, init } = held_out;
        let fits = rows.edges() == trained.edges() && init.is_some() == has_init && rows.rows() > 0;
        if !fits || weight.is_some_and(|w| Weights::of(rows.rows(), Some(w)).is_none()) {
            return None;
        }
        let residual = residuals(target, init, base, rows.rows())?;
        let mut judge = Judge { rows, residual, weight, best_loss: 0.0, best_rounds: 0 };
        judge.best_loss = judge.loss();
        judge.best_loss.is_finite().then_some(judge)
    }

    /// Weighted sum of squares; its weights never change, so sums compare as means do.
    fn loss(&self) -> f64 {
        let squares = self.residual.iter().map(|r| r * r);
        match self.weight {
            None => squares.sum(),
            Some(weight) => squares.zip(weight).map(|(s, w)| s * w).sum(),
        }
    }

    fn add(&mut self, grown: &Grown, rounds: usize) {
        grown.tree.negated().add_binned(&grown.nodes, self.rows, &mut self.residual);
        let loss = self.loss();
        if loss < self.best_loss {
            (self.best_loss, self.best_rounds) = (loss, rounds);
        }
    }
}
