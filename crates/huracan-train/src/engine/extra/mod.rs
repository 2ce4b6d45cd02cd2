//! Codes that are not linear in the features, beside the linear ones: the shared autoencoder's, and
//! the score of shared trees, which is a code too. Whatever makes them, heads over them come out of
//! second moments like every other head: pooled, without the coin's own underlying, each coin with
//! its slope.
//!
//! Three steps: the maps are fitted on rows sampled from all coins (`fit`); every coin's rows are
//! encoded and their moments with features and label kept (`pass`); pools and choices (`choose`).
//!
//! An autoencoder knows no label: the inner heads of a tested fold read one that was fitted until exactly
//! where validation begins, which is the one of the full heads before where folds and validations are
//! equally long; those of the final fit read the latest of them that ends before. Trees know labels: each
//! fold and stage has its own, and a coin reads those that were fitted on the other half of the
//! underlyings.
//!
//! The final fit's maps are frozen for a week ([`Plan::frozen_end`]) and read the units of the last tested
//! fold, so that on most nights they are those of the night before. Heads over their codes use every row.

mod choose;
pub(super) mod fit;
pub(super) mod pass;

use super::lanes::Lane;
use super::part;
use super::pools::{Pool, Pools};
use super::prepare::Prepared;
use super::slopes::slope;
use super::statistics::{CoinStatistics, Stage, Statistics, own_scaled};
use super::survey::Survey;
use super::{Engine, EngineError, Market};
use crate::cache::Inputs;
use crate::jobs::checkpoint;
use crate::settings::Settings;
use faer::{Mat, MatRef};
use huracan_core::encoder::{Encoder, TrainingEpoch};
use huracan_core::gram::Moments;
use huracan_core::heads::pooled::{leave_out, ridge};
use huracan_core::heads::slopes::SlopeEstimate;
use huracan_core::heads::trees::Ensemble;
use huracan_core::trial::plan::Plan;
use huracan_core::words::Symbol;
use std::ops::Range;

/// Lanes that read these codes, in the order of [`Lane::ALL`].
pub const LANES: [Lane; 3] = [Lane::Autoencoder, Lane::Trees, Lane::TreesCoded];

/// Which columns there are, in order: the autoencoder's codes, the trees' score, the score of trees
/// that read principal components too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Layout {
    /// Codes of the autoencoder, 0 without one.
    pub codes: usize,
    /// Whether there are trees.
    pub trees: bool,
    /// Whether there are trees over principal components.
    pub trees_coded: bool,
}

impl Layout {
    fn of(settings: &Settings) -> Layout {
        Layout {
            codes: if Lane::Autoencoder.is_tried(settings) { settings.encoder.autoencoder.codes } else { 0 },
            trees: Lane::Trees.is_tried(settings),
            trees_coded: Lane::TreesCoded.is_tried(settings),
        }
    }

    /// Number of columns.
    pub fn width(self) -> usize {
        self.codes + usize::from(self.trees) + usize::from(self.trees_coded)
    }

    /// Columns of a lane; empty where it is not tried.
    fn columns(self, lane: Lane) -> Range<usize> {
        let trees = self.codes + usize::from(self.trees);
        match lane {
            Lane::Autoencoder => 0..self.codes,
            Lane::Trees => self.codes..trees,
            Lane::TreesCoded => trees..trees + usize::from(self.trees_coded),
            _ => 0..0,
        }
    }

    /// First column of a lane.
    pub fn column(self, lane: Lane) -> usize {
        self.columns(lane).start
    }

    fn lanes(self) -> impl Iterator<Item = Lane> {
        LANES.into_iter().filter(move |&lane| !self.columns(lane).is_empty())
    }
}

/// A pair of ensembles: a coin reads the one that its half of the underlyings was not in.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Trees {
    /// By half of the underlyings.
    pub halves: [Ensemble; 2],
    /// Principal components read after the features, 0 for none.
    pub components: usize,
    /// Stage (flat) whose principal components these are.
    pub units: usize,
}

impl Trees {
    /// Fold whose principal components these are; of the final fit, those of a full fit.
    pub fn units_fold(&self) -> usize {
        self.units / Stage::ALL.len()
    }
}

/// Everything that was fitted on rows.
#[derive(Default, serde::Serialize, serde::Deserialize)]
pub struct Models {
    /// Autoencoders: those of the tested folds, each fitted until a later moment than the one before, then
    /// the final fit's.
    pub autoencoders: Vec<Encoder>,
    /// Which of them a stage (flat) reads.
    pub epochs: Vec<usize>,
    /// Trees per stage (flat).
    pub trees: Vec<Option<Trees>>,
    /// Trees over principal components per stage (flat).
    pub trees_coded: Vec<Option<Trees>>,
}

impl Models {
    /// The autoencoder that a stage reads.
    fn autoencoder(&self, stage: usize) -> Option<&Encoder> {
        self.autoencoders.get(*self.epochs.get(stage)?)
    }
}

/// Half of the underlyings that a coin is in.
pub fn half(underlying: &str) -> usize {
    underlying.bytes().fold(7_usize, |sum, b| (33 * sum + usize::from(b)) % 65_521) & 1
}

/// What validation chose for a lane in one fold.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Choice {
    /// Columns that its head reads: features below p, codes from p on.
    pub columns: Vec<usize>,
    /// Whether it reads the codes alone.
    pub alone: bool,
    /// Penalty λ/n.
    pub lambda: f64,
    /// Correlation of the pooled inner head with the label, mean over the validations so far.
    pub validation_ic: Option<f64>,
    /// Slope of the label on its score, on this fold's validation.
    pub validation_slope: Option<f64>,
}

/// A pool of own features beside the codes, for one stage; one target, the label.
#[derive(serde::Serialize, serde::Deserialize)]
struct ExtraPool {
    /// Standardised, p + e.
    moments: Moments,
    /// Pooled deviation of every code.
    deviation: Vec<f64>,
    weight: f64,
}

/// One coin's moments of the codes over the training rows of one stage, about their means.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Block {
    mean: Vec<f64>,
    /// p × e, own-scaled features with codes.
    #[serde(with = "huracan_core::wire::mat")]
    own: Mat<f64>,
    /// e × e.
    #[serde(with = "huracan_core::wire::mat")]
    codes: Mat<f64>,
    /// Codes with the label.
    label: Vec<f64>,
}

/// A coin's blocks of one fold; `None` where it has too few rows.
#[derive(Clone, Debug, Default)]
pub struct Blocks {
    fold: usize,
    /// Over training rows, inner and full.
    stages: [Option<Block>; 2],
    /// Over validation.
    judged: Option<Block>,
}

/// Codes that are not linear, ready for the heads.
#[derive(serde::Serialize, serde::Deserialize)]
pub struct Extra {
    /// Which columns there are.
    pub layout: Layout,
    /// What makes them.
    pub models: Models,
    pools: Vec<Option<ExtraPool>>,
    choices: Vec<Vec<(Lane, Choice)>>,
    p: usize,
}

/// Fits the maps, encodes every coin and chooses.
///
/// # Errors
/// When interrupted or the scratch disk fails.
pub fn extra(
    engine: &Engine<'_>,
    survey: &Survey,
    market: &Market,
    plan: &Plan,
    statistics: &Statistics,
    pools: &Pools,
) -> Result<Extra, EngineError> {
    let layout = Layout::of(engine.settings);
    let mut extra =
        Extra { layout, models: Models::default(), pools: Vec::new(), choices: Vec::new(), p: statistics.p };
    if layout.width() == 0 {
        return Ok(extra);
    }
    extra.models = fit::models(engine, survey, market, plan, statistics, pools, layout)?;
    engine.observer.stage_finished("encoders");
    if layout.codes > 0 && extra.models.autoencoders.is_empty() {
        engine.observer.note("the autoencoder could not be trained on this data and does not compete");
        extra.layout.codes = 0;
    }
    engine.share(part::MODELS, &extra)?;
    choose::encode(engine, survey, market, plan, statistics, pools, &mut extra)?;
    engine.observer.stage_finished("codes");
    Ok(extra)
}

impl Extra {
    /// What validation chose for a lane in a fold.
    pub fn choice(&self, fold: usize, lane: Lane) -> Option<&Choice> {
        self.choices.get(fold)?.iter().find(|(l, _)| *l == lane).map(|(_, choice)| choice)
    }

    /// What tells the pieces of a coin apart beside what was known: its name, and which codes could be made
    /// at all, which the final fit may find out.
    pub(super) fn of_coin(&self, symbol: &Symbol, inputs: Inputs) -> Inputs {
        inputs.text(&symbol.to_string()).number(self.layout.width() as i64)
    }

    /// Whether a lane's maps could be fitted in every stage.
    pub fn is_made(&self, lane: Lane) -> bool {
        let all = |trees: &[Option<Trees>]| !trees.is_empty() && trees.iter().all(Option::is_some);
        match lane {
            Lane::Autoencoder => !self.models.autoencoders.is_empty(),
            Lane::Trees => all(&self.models.trees),
            Lane::TreesCoded => all(&self.models.trees_coded),
            _ => false,
        }
    }

    /// The autoencoder of the last fold, as deployed.
    pub fn autoencoder(&self) -> Option<&Encoder> {
        self.models.autoencoders.last()
    }

    /// Loss of every autoencoder of the run, epoch by epoch.
    pub fn training_loss(&self) -> Vec<TrainingEpoch> {
        self.models.autoencoders.iter().flat_map(|encoder| encoder.training_loss.iter().copied()).collect()
    }

    /// Lanes that are tried.
    pub fn lanes(&self) -> impl Iterator<Item = Lane> {
        self.layout.lanes()
    }

    /// Length of a head of these lanes: features, then codes.
    pub fn head_len(&self) -> usize {
        self.p + self.layout.width()
    }

    /// Codes of rows `[from, to)` of a coin in a stage, (to − from) × e.
    pub fn codes(
        &self,
        pools: &Pools,
        known: &CoinStatistics,
        prepared: &Prepared,
        (fold, stage): (usize, Stage),
        (from, to): (usize, usize),
    ) -> Mat<f64> {
        let rows = prepared.design.as_ref().get(from..to, ..prepared.p());
        self.codes_of_design(pools, known, prepared, (fold, stage), rows)
    }

    /// The same of any rows of a coin's design, n × p in common units.
    pub fn codes_of_design(
        &self,
        pools: &Pools,
        known: &CoinStatistics,
        prepared: &Prepared,
        (fold, stage): (usize, Stage),
        rows: MatRef<'_, f64>,
    ) -> Mat<f64> {
        let z = own_rows(rows, &known.own);
        let half = half(prepared.series.symbol.underlying());
        self.codes_of(pools, z.as_ref(), half, fold, stage)
    }

    /// The same of own-scaled rows, n × p, of a coin in one half of the underlyings.
    pub fn codes_of(
        &self,
        pools: &Pools,
        z: MatRef<'_, f64>,
        half: usize,
        fold: usize,
        stage: Stage,
    ) -> Mat<f64> {
        let mut out = Mat::zeros(z.nrows(), self.layout.width());
        if let Some(encoder) = self.models.autoencoder(stage.at(fold)) {
            out.get_mut(.., ..encoder.components()).copy_from(encoder.encode_rows(z));
        }
        self.trees_into(&mut out, pools, z, half, stage.at(fold));
        out
    }

    /// Scores of the stage's trees into their columns.
    fn trees_into(&self, out: &mut Mat<f64>, pools: &Pools, z: MatRef<'_, f64>, half: usize, at: usize) {
        for (lane, models) in
            [(Lane::Trees, &self.models.trees), (Lane::TreesCoded, &self.models.trees_coded)]
        {
            let Some(trees) = models.get(at).and_then(Option::as_ref) else { continue };
            checkpoint();
            let inputs = with_components(&pools.stages[trees.units], z, trees.components);
            let scores = trees.halves[half].score_rows(inputs.as_ref());
            if let Some((column, scores)) = self.layout.columns(lane).next().zip(scores) {
                (0..scores.len()).for_each(|i| out[(i, column)] = scores[i]);
            }
        }
    }

    /// Moments of own features and codes together, standardised; one target, the label.
    fn joined(&self, own: &Moments, block: &Block, pool: &Pool, deviation: &[f64]) -> Moments {
        let (p, e) = (self.p, self.layout.width());
        let unit = |d: f64| if d > 0.0 { 1.0 / d } else { 0.0 };
        let mut out = Moments::zero(p + e, 1);
        out.n = own.n;
        out.mean_y = vec![own.mean_y[0]];
        out.var_y = vec![own.var_y[0]];
        for i in 0..p {
            out.mean[i] = own.mean[i];
            out.cross[(i, 0)] = own.cross[(i, 0)];
            for j in 0..p {
                out.cov[(j, i)] = own.cov[(j, i)];
            }
            for c in 0..e {
                let v = block.own[(i, c)] * unit(pool.deviation[i]) * unit(deviation[c]);
                out.cov[(i, p + c)] = v;
                out.cov[(p + c, i)] = v;
            }
        }
        for c in 0..e {
            out.mean[p + c] = block.mean[c] * unit(deviation[c]);
            out.cross[(p + c, 0)] = block.label[c] * unit(deviation[c]);
            for d in 0..e {
                out.cov[(p + c, p + d)] = block.codes[(c, d)] * unit(deviation[c]) * unit(deviation[d]);
            }
        }
        out
    }

    /// The pooled heads of these lanes for one coin and stage, without its own underlying, over features
    /// and codes, and how the coin follows them. `own` are the coin's standardised moments; `members` those
    /// of all coins of its underlying, itself included, with their weights and blocks.
    pub fn priors(
        &self,
        settings: &Settings,
        fold: usize,
        stage: Stage,
        pools: &Pools,
        own: Option<&Moments>,
        blocks: &Blocks,
        members: &[(&Moments, f64, &Blocks)],
    ) -> Vec<(Lane, Vec<f64>, Option<SlopeEstimate>)> {
        let at = stage.at(fold);
        let len = self.head_len();
        let joined = |own: &Moments, blocks: &Blocks, pool: &ExtraPool| {
            blocks.at(at).map(|block| self.joined(own, block, &pools.stages[at], &pool.deviation))
        };
        self.layout
            .lanes()
            .map(|lane| {
                let nothing = (lane, vec![0.0; len], None);
                let Some(pool) = &self.pools[at] else { return nothing };
                let Some(choice) = self.choice(fold, lane) else { return nothing };
                let parts: Vec<(Moments, f64)> = members
                    .iter()
                    .filter_map(|(own, w, blocks)| joined(own, blocks, pool).map(|m| (m, *w)))
                    .map(|(m, w)| (m.columns(&choice.columns), w))
                    .collect();
                let parts: Vec<(&Moments, f64)> = parts.iter().map(|(m, w)| (m, *w)).collect();
                let all = pool.moments.columns(&choice.columns);
                let rest = leave_out(&all, pool.weight, &parts);
                let Some(head) = pooled_head(rest.as_ref().unwrap_or(&all), choice.lambda) else {
                    return nothing;
                };
                let estimate = own
                    .and_then(|own| joined(own, blocks, pool))
                    .and_then(|m| slope(settings, &m.columns(&choice.columns), &head, 0));
                let mut whole = vec![0.0; len];
                choice.columns.iter().zip(&head).for_each(|(&i, &v)| whole[i] = v);
                (lane, whole, estimate)
            })
            .collect()
    }

    /// A coin's own moments over the columns of a lane's head, with these columns.
    pub fn own_moments<'a>(
        &'a self,
        pools: &Pools,
        (fold, stage): (usize, Stage),
        lane: Lane,
        own: &Moments,
        blocks: &Blocks,
    ) -> Option<(Moments, &'a [usize])> {
        let at = stage.at(fold);
        let pool = self.pools[at].as_ref()?;
        let choice = self.choice(fold, lane)?;
        let joined = self.joined(own, blocks.at(at)?, &pools.stages[at], &pool.deviation);
        Some((joined.columns(&choice.columns), &choice.columns))
    }

    /// Means of the codes over a coin's training rows of a stage.
    pub fn code_means(&self, at: usize, blocks: &Blocks) -> Vec<f64> {
        blocks.at(at).map_or_else(|| vec![0.0; self.layout.width()], |block| block.mean.clone())
    }

    /// From a head's weights over standardised codes to weights of the codes as they are, and what their
    /// training means contribute: (weights, Σ w·mean).
    pub fn over_codes(&self, at: usize, head: &[f64], blocks: &Blocks) -> (Vec<f64>, f64) {
        let Some((pool, block)) = self.pools[at].as_ref().zip(blocks.at(at)) else {
            return (vec![0.0; self.layout.width()], 0.0);
        };
        let unit = |d: f64| if d > 0.0 { 1.0 / d } else { 0.0 };
        let weights: Vec<f64> = head.iter().zip(&pool.deviation).map(|(w, d)| w * unit(*d)).collect();
        let at_mean = weights.iter().zip(&block.mean).map(|(w, m)| w * m).sum();
        (weights, at_mean)
    }
}

impl Blocks {
    fn at(&self, stage: usize) -> Option<&Block> {
        let within = stage.checked_sub(Stage::Inner.at(self.fold))?;
        self.stages.get(within).and_then(Option::as_ref)
    }

    /// Those over validation.
    fn judged(&self) -> Option<&Block> {
        self.judged.as_ref()
    }
}

/// Blocks as one column: 1 and the numbers of each, or 0.
fn flat(blocks: &[Option<&Block>]) -> Vec<f64> {
    let mut flat = Vec::new();
    for block in blocks {
        let Some(block) = block else {
            flat.push(0.0);
            continue;
        };
        flat.push(1.0);
        flat.extend(&block.mean);
        flat.extend(&block.label);
        block.own.col_iter().for_each(|c| flat.extend(c.iter()));
        block.codes.col_iter().for_each(|c| flat.extend(c.iter()));
    }
    flat
}

/// The inverse of [`flat`].
fn from_flat(flat: &[f64], p: usize, e: usize) -> Vec<Option<Block>> {
    let mut next = flat.iter().copied();
    let mut blocks = Vec::new();
    while let Some(present) = next.next() {
        if present == 0.0 {
            blocks.push(None);
            continue;
        }
        let mut take = |n: usize| next.by_ref().take(n).collect::<Vec<f64>>();
        let (mean, label, own, codes) = (take(e), take(e), take(p * e), take(e * e));
        let whole = codes.len() == e * e;
        blocks.push(whole.then(|| Block {
            mean,
            label,
            own: Mat::from_fn(p, e, |i, j| own[j * p + i]),
            codes: Mat::from_fn(e, e, |i, j| codes[j * e + i]),
        }));
    }
    blocks
}

/// Scratch name of a coin's blocks of a fold.
fn block_name(coin: usize, fold: usize) -> String {
    format!("extra-{coin}-{fold}")
}

/// Ridge over standardised moments, one target.
fn pooled_head(moments: &Moments, lambda: f64) -> Option<Vec<f64>> {
    let k = moments.mean.len();
    let solved = ridge(&moments.cov, &moments.cross, lambda, &Mat::identity(k, k))?;
    Some((0..k).map(|i| solved[(i, 0)]).collect())
}

/// Rows of a coin's design in its own scale, missing share included.
fn own_rows(rows: MatRef<'_, f64>, own: &(Vec<f64>, Vec<f64>)) -> Mat<f64> {
    let mut out = rows.to_owned();
    for (column, (&offset, &ratio)) in out.col_iter_mut().zip(own.0.iter().zip(&own.1)) {
        column.iter_mut().for_each(|v| *v = own_scaled(*v, offset, ratio));
    }
    out
}

/// Own-scaled rows with the first principal components of the pool after them.
fn with_components(pool: &Pool, z: MatRef<'_, f64>, components: usize) -> Mat<f64> {
    if components == 0 {
        return z.to_owned();
    }
    let k = components.min(pool.basis.rank);
    let unit = |d: f64| if d > 0.0 { 1.0 / d } else { 0.0 };
    let loadings = Mat::from_fn(z.ncols(), k, |i, j| pool.basis.vectors[(i, j)] * unit(pool.deviation[i]));
    let codes = z * &loadings;
    let mut out = Mat::zeros(z.nrows(), z.ncols() + k);
    out.subcols_mut(0, z.ncols()).copy_from(z);
    out.subcols_mut(z.ncols(), k).copy_from(&codes);
    out
}
