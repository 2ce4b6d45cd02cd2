//! Between the passes: encoders and pooled head per fold and stage, and what inner validation
//! chooses: penalty, kind and number of codes, whether to encode at all. Pooled moments only, no
//! rows; encoders and heads that need rows are made in [`super::extra`].

use super::merge::{self, CoinRows, FoldSource, RawFold};
use super::statistics::{RawPool, Stage, Statistics, Targets};
use super::{Engine, EngineError};
use crate::settings::Settings;
use faer::{Mat, MatRef};
use huracan_core::encoder::{Eigenbasis, Encoder, EncoderKind, reduced_rank};
use huracan_core::gram::Moments;
use huracan_core::heads::pooled::{
    penalty_metric, ridge, ridge_in_basis, ridge_on_codes, ridge_on_components,
};
use huracan_core::trial::plan::Plan;

/// Ridge of the reduced-rank regression, in units of λ/n over standardised features.
const REDUCED_RANK_RIDGE: f64 = 3.0;

/// The linear codes a head reads beside the coin's own features, or instead of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, serde::Serialize, serde::Deserialize)]
pub enum Codes {
    /// No codes.
    None,
    /// This many principal components of all coins.
    Pca(usize),
    /// This many directions of the reduced-rank regression of all coins' labels.
    Rrr(usize),
    /// This many principal components of the coin alone.
    OwnPca(usize),
}

impl Codes {
    /// Number of codes asked for.
    pub fn count(self) -> usize {
        match self {
            Codes::None => 0,
            Codes::Pca(k) | Codes::Rrr(k) | Codes::OwnPca(k) => k,
        }
    }
}

/// One candidate of inner validation.
#[derive(Clone, Copy, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Variant {
    /// Its codes.
    pub codes: Codes,
    /// Whether it reads the codes alone, not the own features beside them.
    pub alone: bool,
    /// Penalty λ/n.
    pub lambda: f64,
}

/// Pooled, standardised moments of one stage with what encoders are made of.
#[derive(serde::Serialize, serde::Deserialize)]
pub struct Pool {
    /// Standardised by `deviation`; correlations on the diagonal blocks.
    pub moments: Moments,
    /// Pooled standard deviation of each scaled feature.
    pub deviation: Vec<f64>,
    /// Total weight of the coins in it.
    pub weight: f64,
    /// Coins in it.
    pub coins: usize,
    /// Eigenbasis of the correlation matrix.
    pub basis: Eigenbasis,
    /// Loadings of the reduced-rank regression, p × rank, one per group of targets: the label with its
    /// horizons, then each placebo. No group where it is not tried.
    #[serde(with = "huracan_core::wire::mats")]
    pub reduced: Vec<Mat<f64>>,
}

impl Pool {
    /// Loadings of the codes, p × k with orthonormal columns. `own` is the coin's own basis.
    pub fn loadings<'a>(
        &'a self,
        codes: Codes,
        group: usize,
        own: Option<&'a Eigenbasis>,
    ) -> MatRef<'a, f64> {
        let first = |basis: &'a Eigenbasis, k: usize| basis.vectors.get(.., ..k.min(basis.rank));
        match codes {
            Codes::None => self.basis.vectors.get(.., ..0),
            Codes::Pca(k) => first(&self.basis, k),
            Codes::OwnPca(k) => first(own.unwrap_or(&self.basis), k),
            Codes::Rrr(k) => match self.reduced.get(group) {
                Some(w) => w.get(.., ..k.min(w.ncols())),
                None => self.basis.vectors.get(.., ..0),
            },
        }
    }

    /// The pooled head of a variant over standardised features, p × q for q targets of one group.
    fn head(&self, variant: Variant, group: usize, cross: &Mat<f64>) -> Option<Mat<f64>> {
        let Variant { codes, alone, lambda } = variant;
        match (codes, alone) {
            (Codes::None, _) => Some(ridge_in_basis(&self.basis, cross, lambda, 0)),
            (Codes::Pca(k), false) => Some(ridge_in_basis(&self.basis, cross, lambda, k)),
            (Codes::Pca(k), true) => Some(ridge_on_components(&self.basis, cross, lambda, k)),
            _ => solve(&self.moments, cross, lambda, self.loadings(codes, group, None), alone),
        }
    }
}

/// A ridge with codes `w` beside the own features, or alone.
pub fn solve(
    moments: &Moments,
    cross: &Mat<f64>,
    lambda: f64,
    w: MatRef<'_, f64>,
    alone: bool,
) -> Option<Mat<f64>> {
    if alone {
        ridge_on_codes(&moments.cov, cross, lambda, w)
    } else {
        ridge(&moments.cov, cross, lambda, &penalty_metric(w))
    }
}

/// What inner validation chose for one target.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Chosen {
    /// The variant.
    pub variant: Variant,
    /// Correlation of the pooled inner head with the label, mean over the validations so far; `None`
    /// when undefined on this fold's.
    pub validation_ic: Option<f64>,
    /// Slope of the label on the pooled inner head's score, on this fold's validation.
    pub validation_slope: Option<f64>,
}

/// Choices of one fold.
#[derive(serde::Serialize, serde::Deserialize)]
pub struct FoldChoices {
    /// For the label, the best without codes.
    pub plain: Chosen,
    /// For the label, the best with principal components; `plain` where they are not tried.
    pub pca: Chosen,
    /// For the label, the best with the reduced-rank regression; `plain` where it is not tried.
    pub rrr: Chosen,
    /// For every target column, the best of all.
    pub best: Vec<Chosen>,
    /// For every horizon, the best for the cross-section; empty for the final fit.
    pub level: Vec<Chosen>,
}

/// All pools and choices of a run.
#[derive(serde::Serialize, serde::Deserialize)]
pub struct Pools {
    /// Own-scaled features about the coins' means: what coin heads are made of. One per (fold,
    /// stage), flat.
    pub stages: Vec<Pool>,
    /// Own-scaled features beside those in common units, differences between coins included: what
    /// the cross-section is scored with. One per tested fold.
    pub levels: Vec<Pool>,
    /// One per fold.
    pub choices: Vec<FoldChoices>,
    /// Candidates that competed for the label.
    pub variants: usize,
}

impl Pools {
    /// The linear encoder of a variant, as the heads of a fold are fitted on; `None` without codes.
    pub fn encoder(&self, plan: &Plan, fold: usize, codes: Codes) -> Option<Encoder> {
        let pool = &self.stages[Stage::Full.at(fold)];
        let until = plan.folds[fold].train_end;
        match codes {
            Codes::Pca(k) => Some(Encoder::pca(&pool.basis, &pool.deviation, k, until)),
            Codes::Rrr(_) => {
                let w = pool.loadings(codes, 0, None);
                (w.ncols() > 0).then(|| Encoder::rrr(w.to_owned(), &pool.deviation, until))
            }
            Codes::None | Codes::OwnPca(_) => None,
        }
    }
}

/// Group of targets that share an encoder: the label with its horizons is one, each placebo another.
pub fn group(targets: &Targets, target: usize) -> usize {
    if target < targets.horizons { 0 } else { 1 + target - targets.horizons }
}

/// Everything that is made of one fold's pools.
#[derive(serde::Serialize, serde::Deserialize)]
pub struct PooledFold {
    /// Inner and full.
    stages: [Pool; 2],
    /// Of a tested fold.
    level: Option<Pool>,
    choices: FoldChoices,
    /// Sums of evidence up to this fold, per candidate and target: for the label and for the cross-section.
    evidence: [Vec<Vec<f64>>; 2],
    /// Training rows of every coin that has any.
    pub(super) rows: CoinRows,
}

/// Makes the pools and chooses. What tested folds came to in another run is taken from there.
///
/// # Errors
/// [`EngineError::EmptyPool`] when a stage has no coin with enough rows.
pub fn pools(engine: &Engine<'_>, plan: &Plan, statistics: &mut Statistics) -> Result<Pools, EngineError> {
    let settings = engine.settings;
    let targets = Targets::of(settings);
    let groups: Vec<usize> = (0..targets.count()).map(|j| group(&targets, j)).collect();
    let variants = variants(settings);
    let mut evidence = Evidence::new(variants.clone(), groups);
    let mut level_evidence = Evidence::new(level_variants(settings), vec![0; targets.horizons]);
    let mut out =
        Pools { stages: Vec::new(), levels: Vec::new(), choices: Vec::new(), variants: variants.len() };
    for (f, source) in std::mem::take(&mut statistics.folds).into_iter().enumerate() {
        let made = match source {
            FoldSource::Made(made) => {
                evidence.resume(&made.evidence[0]);
                level_evidence.resume(&made.evidence[1]);
                *made
            }
            FoldSource::Raw(raw) => {
                let empty = || EngineError::EmptyPool { days: settings.fold_train_days_min };
                let made = pooled(settings, *raw, &mut evidence, &mut level_evidence).ok_or_else(empty)?;
                let key = merge::key(plan, statistics.known.as_ref(), f);
                key.iter().for_each(|key| engine.scratch.cache().put(key, &made));
                made
            }
        };
        out.stages.extend(made.stages);
        out.levels.extend(made.level);
        out.choices.push(made.choices);
    }
    Ok(out)
}

/// One fold; `None` when a stage has no coin with enough rows.
fn pooled(
    settings: &Settings,
    raw: RawFold,
    evidence: &mut Evidence,
    level_evidence: &mut Evidence,
) -> Option<PooledFold> {
    let rank = settings.encoder.ranks.iter().copied().max().unwrap_or(0);
    let stage = |at: usize| {
        let mut pool = own(&raw.train[at])?;
        let reduced = |s: &Mat<f64>| {
            let units = |i: usize| if pool.deviation[i] > 0.0 { 1.0 / pool.deviation[i] } else { 0.0 };
            let standardised = Mat::from_fn(s.nrows(), s.ncols(), |i, j| s[(i, j)] * units(i) * units(j));
            let w = reduced_rank(&pool.moments.cov, &standardised, REDUCED_RANK_RIDGE, rank);
            w.unwrap_or_else(|| Mat::zeros(s.nrows(), 0))
        };
        pool.reduced = raw.scatter[at].iter().map(reduced).collect();
        Some(pool)
    };
    let stages = [stage(0)?, stage(1)?];
    let inner = &stages[0];
    let pooled = |raw: &RawPool| (raw.weight > 0.0).then(|| raw.sum.clone().divide(raw.weight));
    let validation = pooled(&raw.validation).map(|m| m.standardised(&inner.deviation));
    let mut choices = evidence.choose(inner, validation.as_ref());
    let level_pool = match &raw.level_train[..] {
        [of_inner, of_full] => {
            let inner = level(of_inner)?;
            let about_training =
                |m: Moments| m.centred().standardised(&inner.deviation).about(&inner.moments);
            let validation = raw.level_validation.first().and_then(pooled).map(about_training);
            choices.level = level_evidence.choose(&inner, validation.as_ref()).best;
            Some(level(of_full)?)
        }
        _ => None,
    };
    let evidence = [evidence.sums.clone(), level_evidence.sums.clone()];
    Some(PooledFold { stages, level: level_pool, choices, evidence, rows: raw.rows })
}

fn own(raw: &RawPool) -> Option<Pool> {
    (raw.weight > 0.0).then(|| standardise(raw, raw.sum.clone().divide(raw.weight))).flatten()
}

fn level(raw: &RawPool) -> Option<Pool> {
    (raw.weight > 0.0).then(|| standardise(raw, raw.sum.clone().divide(raw.weight).centred())).flatten()
}

fn standardise(raw: &RawPool, pooled: Moments) -> Option<Pool> {
    let deviation = pooled.deviations();
    let moments = pooled.standardised(&deviation);
    // No correlation exceeds 1 but by rounding: more means that some feature carries nothing else.
    let columns = 0..deviation.len();
    let sound = columns.clone().all(|j| columns.clone().all(|i| moments.cov[(i, j)].abs() < 1.0 + 1e-6));
    if !sound {
        return None;
    }
    let basis = Eigenbasis::new(&moments.cov)?;
    Some(Pool { moments, deviation, weight: raw.weight, coins: raw.coins, basis, reduced: Vec::new() })
}

/// Every linear candidate: no codes, or codes of a kind beside the own features or alone, at every
/// penalty.
fn variants(settings: &Settings) -> Vec<Variant> {
    let mut shapes = vec![(Codes::None, false)];
    let encoder = &settings.encoder;
    if encoder.tries(EncoderKind::Pca) {
        shapes.extend(encoder.components.iter().flat_map(|&k| [false, true].map(|a| (Codes::Pca(k), a))));
    }
    if encoder.tries(EncoderKind::Rrr) {
        shapes.extend(encoder.ranks.iter().flat_map(|&k| [false, true].map(|a| (Codes::Rrr(k), a))));
    }
    at_every_penalty(settings, shapes)
}

/// Candidates of the cross-section.
fn level_variants(settings: &Settings) -> Vec<Variant> {
    let mut shapes = vec![(Codes::None, false)];
    if settings.encoder.tries(EncoderKind::Pca) {
        shapes.extend(settings.encoder.components.iter().map(|&k| (Codes::Pca(k), false)));
    }
    at_every_penalty(settings, shapes)
}

fn at_every_penalty(settings: &Settings, shapes: Vec<(Codes, bool)>) -> Vec<Variant> {
    let all = shapes.into_iter().flat_map(|(codes, alone)| {
        settings.lambdas.iter().map(move |&lambda| Variant { codes, alone, lambda })
    });
    all.collect()
}

/// Evidence on every candidate for every target, over the validations so far: one month alone is too
/// noisy to choose by.
struct Evidence {
    grid: Vec<Variant>,
    /// Group of every target.
    groups: Vec<usize>,
    sums: Vec<Vec<f64>>,
    folds: f64,
}

impl Evidence {
    fn new(grid: Vec<Variant>, groups: Vec<usize>) -> Evidence {
        Evidence { sums: vec![vec![0.0; groups.len()]; grid.len()], grid, groups, folds: 0.0 }
    }

    /// Goes on after a fold whose sums are known.
    fn resume(&mut self, sums: &[Vec<f64>]) {
        self.folds += 1.0;
        self.sums = sums.to_vec();
    }

    /// Adds a fold's validation and chooses for it.
    fn choose(&mut self, inner: &Pool, validation: Option<&Moments>) -> FoldChoices {
        let targets = self.groups.len();
        self.folds += 1.0;
        let mut tried: Vec<Vec<Chosen>> = Vec::with_capacity(self.grid.len());
        for (&variant, sums) in self.grid.iter().zip(&mut self.sums) {
            let row = heads(inner, variant, &self.groups).into_iter().enumerate().map(|(j, head)| {
                let mut chosen = score(head.as_deref(), validation, j, variant);
                sums[j] += chosen.validation_ic.unwrap_or(0.0);
                chosen.validation_ic = chosen.validation_ic.map(|_| sums[j] / self.folds);
                chosen
            });
            tried.push(row.collect());
        }
        let best = |j: usize, fits: &dyn Fn(Codes) -> bool| {
            tried.iter().map(|row| row[j]).filter(|c| fits(c.variant.codes)).reduce(better)
        };
        let none = Variant { codes: Codes::None, alone: false, lambda: 1.0 };
        let fallback = Chosen { variant: none, validation_ic: None, validation_slope: None };
        let plain = best(0, &|c| c == Codes::None).unwrap_or(fallback);
        FoldChoices {
            plain,
            pca: best(0, &|c| matches!(c, Codes::Pca(_))).unwrap_or(plain),
            rrr: best(0, &|c| matches!(c, Codes::Rrr(_))).unwrap_or(plain),
            level: Vec::new(),
            best: (0..targets).map(|j| best(j, &|_| true).unwrap_or(fallback)).collect(),
        }
    }
}

/// The pooled head of a variant for every target; `None` where it cannot be solved.
fn heads(pool: &Pool, variant: Variant, groups: &[usize]) -> Vec<Option<Vec<f64>>> {
    let mut out = vec![None; groups.len()];
    let by_group = matches!(variant.codes, Codes::Rrr(_));
    let mut rest: Vec<usize> = (0..groups.len()).collect();
    while let Some(&first) = rest.first() {
        let together = |&j: &usize| !by_group || groups[j] == groups[first];
        let members: Vec<usize> = rest.iter().copied().filter(together).collect();
        rest.retain(|j| !together(j));
        let cross =
            Mat::from_fn(pool.deviation.len(), members.len(), |i, j| pool.moments.cross[(i, members[j])]);
        if let Some(solved) = pool.head(variant, groups[first], &cross) {
            for (column, &j) in members.iter().enumerate() {
                out[j] = Some((0..solved.nrows()).map(|i| solved[(i, column)]).collect());
            }
        }
    }
    out
}

/// The better of two; ties and the undefined go to the heavier penalty, then to fewer codes.
fn better(a: Chosen, b: Chosen) -> Chosen {
    let key = |c: &Chosen| c.validation_ic.unwrap_or(f64::NEG_INFINITY);
    let order = key(&b)
        .total_cmp(&key(&a))
        .then(b.variant.lambda.total_cmp(&a.variant.lambda))
        .then(a.variant.codes.count().cmp(&b.variant.codes.count()));
    if order.is_gt() { b } else { a }
}

fn score(head: Option<&[f64]>, validation: Option<&Moments>, j: usize, variant: Variant) -> Chosen {
    let both = head.zip(validation);
    let slope = |(b, m): (&[f64], &Moments)| {
        let variance = m.score_variance(b);
        (variance > 0.0).then(|| m.score_covariance(b, j) / variance)
    };
    Chosen {
        variant,
        validation_ic: both.and_then(|(b, m)| m.correlation(b, j)),
        validation_slope: both.and_then(slope),
    }
}
