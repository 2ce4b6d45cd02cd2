//! The heads of one coin in one stage, every lane's: the pooled head followed by its slope, the coin's own
//! deviation, or its own ridge, as weights over the rows it is scored on. What does not live here: scores
//! and trades.

use super::TrialPass;
use crate::engine::extra::pass::CoinBlocks;
use crate::engine::grams::{CoinGrams, last_tested};
use crate::engine::lanes::{Lane, LaneFold};
use crate::engine::pools::{Codes, Pool, Variant};
use crate::engine::slopes::{OwnBasis, unpooled_head};
use crate::engine::statistics::{CoinStatistics, Stage, rows_min};
use crate::jobs::checkpoint;
use crate::scratch::ScratchError;
use faer::Mat;
use huracan_core::gram::Moments;
use huracan_core::heads::own::deviations;
use huracan_core::regime::Regime;
use std::collections::BTreeMap;

/// A head ready to be written.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct FinalHead {
    /// The lane it is of.
    pub lane: Lane,
    /// Weights over standardised features, calibration and slope included; length p.
    pub weights: Vec<f64>,
    /// Weights over codes that are not linear, as they are; the columns of `extra::Layout`.
    pub code_weights: Vec<f64>,
    /// Means of these codes over the coin's training rows.
    pub code_mean: Vec<f64>,
    /// Means of the coin's scaled features over its training rows; length p.
    pub mean: Vec<f64>,
    /// How strongly it follows the pooled head; 1 for a head that knows no pool.
    pub slope: f64,
    /// Share of the training slope that survived validation.
    pub survival: f64,
    /// Penalty of the coin's own deviation; `None` when fully pooled.
    pub tau: Option<f64>,
    /// Penalty of the pooled head, or of the coin's own.
    pub lambda: f64,
    /// Linear codes.
    pub codes: Codes,
    /// Whether it reads codes alone.
    pub alone: bool,
    /// Training rows.
    pub rows: f64,
}

/// One lane's head of one coin in one stage, in the units of its moments.
#[derive(Clone, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct StageHead {
    /// Over standardised features, p.
    pub(super) weights: Vec<f64>,
    /// Over codes that are not linear, as they are; empty for a linear lane.
    pub(super) code_weights: Vec<f64>,
    pub(super) slope: f64,
    /// Share of the training slope that survived validation: what edges are scaled by.
    pub(super) survival: f64,
    pub(super) tau: Option<f64>,
    /// Over design columns (common units), and the intercept.
    pub(super) row: (Vec<f64>, f64),
}

/// The heads of one coin in one stage, per lane, the pooled head last.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct StageHeads {
    pub(super) heads: Vec<StageHead>,
    /// Training rows.
    pub(super) rows: f64,
    /// Means of the coin's scaled features over them, and of its label.
    pub(super) mean: Vec<f64>,
    pub(super) label_mean: f64,
}

/// A coin's inputs of the trial, read back from scratch.
pub(super) struct Known<'a> {
    pub(super) index: usize,
    pub(super) statistics: &'a CoinStatistics,
    pub(super) grams: CoinGrams<'a>,
    /// Pooled heads of the fold that was looked at last.
    pub(super) priors: Option<(usize, Vec<f64>)>,
    pub(super) blocks: CoinBlocks<'a>,
    pub(super) own_basis: OwnBasis,
    /// One a bar.
    pub(super) regimes: Vec<Regime>,
}

impl TrialPass<'_> {
    /// The heads that a tested fold is tested with. Those of the last one are asked for night after night.
    pub(super) fn tested_heads(
        &self,
        known: &mut Known<'_>,
        f: usize,
    ) -> Result<Option<StageHeads>, ScratchError> {
        let digests = self.statistics.known.as_ref().filter(|_| last_tested(self.plan) == Some(f));
        let key = digests.map(|digests| {
            let symbol = &self.survey.coins[known.index].symbol;
            digests.fit_of("heads", f, known.index, |inputs| self.extra.of_coin(symbol, inputs))
        });
        self.cached(key, || self.stage_heads(known, f, Stage::Full))
    }

    pub(super) fn stage_heads(
        &self,
        known: &mut Known<'_>,
        f: usize,
        stage: Stage,
    ) -> Result<Option<StageHeads>, ScratchError> {
        let settings = self.engine.settings;
        let (p, lanes) = (self.statistics.p, &self.tables.lanes[f]);
        let at = stage.at(f);
        let pool: &Pool = &self.pools.stages[at];
        let mut own_basis = std::mem::take(&mut known.own_basis);
        let blocks = known.blocks.fold(f)?;
        let raw_at = |f: usize, stage: Stage| -> Result<Option<Moments>, ScratchError> {
            let raw = known.grams.moments(stage.segments(&self.plan.folds[f]), rows_min(settings))?;
            Ok(raw.map(|raw| raw.rescaled(&known.statistics.own.0, &known.statistics.own.1)))
        };
        let own_at = |f: usize, stage: Stage| -> Result<Option<Moments>, ScratchError> {
            let deviation = &self.pools.stages[stage.at(f)].deviation;
            Ok(raw_at(f, stage)?.map(|raw| raw.standardised(deviation)))
        };
        let Some(raw) = raw_at(f, stage)? else { return Ok(None) };
        let own = raw.standardised(&pool.deviation);
        // Beside the own features codes change how a pooled head is penalised, not what it is over.
        let reads_own_basis = |lane: &LaneFold| {
            lane.is_fitted && lane.variant.alone && matches!(lane.variant.codes, Codes::OwnPca(_))
        };
        let basis = match lanes.iter().any(reads_own_basis) {
            true => own_basis.at(f, stage, Some(&own), &own_at)?,
            false => None,
        };
        let heads_len = lanes.len() * p + self.extra.lanes().count() * self.extra.head_len();
        let priors = match known.priors.take() {
            Some((of, priors)) if of == f => priors,
            _ => self.slopes_pass().priors(known.index, known.statistics, f)?,
        };
        let priors = &known.priors.insert((f, priors)).1[stage as usize * heads_len..][..heads_len];
        let survival = match stage {
            Stage::Inner => &self.slopes.survival_before[f],
            Stage::Full => &self.slopes.survival[f],
        };
        let slope_of = |l: usize| {
            self.slopes.priors[at][l].posterior(self.slopes.estimates[known.index][at][l]).max(0.0)
        };
        let mut heads = vec![StageHead { weights: vec![0.0; p], ..StageHead::default() }; lanes.len()];
        // Lanes over the same features or codes share the factorisations of their deviations.
        let mut groups: BTreeMap<(Codes, usize), Vec<usize>> = BTreeMap::new();
        for (l, lane) in lanes.iter().enumerate().filter(|(_, lane)| lane.is_fitted) {
            let Variant { codes, alone, .. } = lane.variant;
            let by_group = if matches!(codes, Codes::Rrr(_)) { lane.group } else { 0 };
            let key = if alone { (codes, by_group) } else { (Codes::None, 0) };
            groups.entry(key).or_default().push(l);
        }
        let effective = own.n / settings.label.horizon_bars as f64;
        for ((codes, group), members) in groups {
            checkpoint();
            let targets: Vec<usize> = members.iter().map(|&l| lanes[l].target).collect();
            let w = pool.loadings(codes, group, basis).to_owned();
            let own = own.targets(&targets);
            let over = if codes == Codes::None { own } else { own.projected(&w) };
            let slopes: Vec<f64> = members.iter().map(|&l| slope_of(l)).collect();
            let followed = Mat::from_fn(p, members.len(), |i, j| slopes[j] * priors[members[j] * p + i]);
            let prior = if codes == Codes::None { followed.clone() } else { w.transpose() * &followed };
            let found = deviations(&over, &prior, effective, &settings.taus, settings.own_log_odds_min);
            for (j, &l) in members.iter().enumerate() {
                let own = &found[j].weights;
                let deviation = |i: usize| match codes {
                    Codes::None => own[i],
                    _ => (0..w.ncols()).map(|k| w[(i, k)] * own[k]).sum::<f64>(),
                };
                heads[l].weights = (0..p).map(|i| followed[(i, j)] + deviation(i)).collect();
                heads[l].slope = slopes[j];
                heads[l].tau = found[j].tau;
            }
        }
        for (lane, chosen) in [Lane::Unpooled, Lane::UnpooledCodes].into_iter().zip(&self.slopes.unpooled[f])
        {
            if lane.is_tried(settings)
                && let Some(head) = unpooled_head(pool, &own.targets(&[0]), chosen.variant)
            {
                let l = lane.at();
                heads[l].weights = head;
                heads[l].slope = 1.0;
            }
        }
        for (n, lane) in self.extra.lanes().enumerate() {
            checkpoint();
            let from = lanes.len() * p + n * self.extra.head_len();
            let prior = &priors[from..from + self.extra.head_len()];
            let l = lane.at();
            let found = self.extra.own_moments(self.pools, (f, stage), lane, &own, blocks);
            let Some((moments, columns)) = found else { continue };
            let slope = slope_of(l);
            let followed = Mat::from_fn(columns.len(), 1, |i, _| slope * prior[columns[i]]);
            let mut deviation =
                deviations(&moments, &followed, effective, &settings.taus, settings.own_log_odds_min);
            let Some(deviation) = deviation.pop() else { continue };
            let mut whole = vec![0.0; self.extra.head_len()];
            for (i, &column) in columns.iter().enumerate() {
                whole[column] = followed[(i, 0)] + deviation.weights[i];
            }
            heads[l].code_weights = whole.split_off(p);
            heads[l].weights = whole;
            heads[l].slope = slope;
            heads[l].tau = deviation.tau;
        }
        // The pooled head alone: everybody follows it like the average coin.
        let l = Lane::Plain.at();
        let mean_slope = self.slopes.priors[at][l].mean().max(0.0);
        heads.push(StageHead {
            weights: (0..p).map(|i| mean_slope * priors[l * p + i]).collect(),
            slope: mean_slope,
            ..StageHead::default()
        });
        for (l, head) in heads.iter_mut().enumerate() {
            head.survival = survival[if l < lanes.len() { l } else { Lane::Plain.at() }];
            head.row = over_design(&head.weights, pool, &raw.mean, &known.statistics.own);
            if !head.code_weights.is_empty() {
                let (weights, at_mean) = self.extra.over_codes(at, &head.code_weights, blocks);
                head.code_weights = weights;
                head.row.1 -= at_mean;
            }
        }
        known.own_basis = own_basis;
        let Moments { n: rows, mean, mean_y, .. } = raw;
        Ok(Some(StageHeads { heads, rows, mean, label_mean: mean_y[0] }))
    }

    pub(super) fn final_heads(
        &self,
        known: &Known<'_>,
        heads: Option<&StageHeads>,
        f: usize,
    ) -> Result<Vec<Option<FinalHead>>, ScratchError> {
        let code_mean = self.extra.code_means(Stage::Full.at(f), known.blocks.fold(f)?);
        let of = |lane: Lane| {
            let heads = heads.filter(|_| lane.is_tried(self.engine.settings))?;
            let head = &heads.heads[lane.at()];
            let variant = match lane {
                Lane::Unpooled => self.slopes.unpooled[f][0].variant,
                Lane::UnpooledCodes => self.slopes.unpooled[f][1].variant,
                _ => self.tables.lanes[f][lane.at()].variant,
            };
            let choice = self.extra.choice(f, lane);
            Some(FinalHead {
                lane,
                weights: head.weights.iter().map(|w| head.survival * w).collect(),
                code_weights: head.code_weights.iter().map(|w| head.survival * w).collect(),
                code_mean: code_mean.clone(),
                mean: heads.mean.clone(),
                slope: head.slope,
                survival: head.survival,
                tau: head.tau,
                lambda: choice.map_or(variant.lambda, |c| c.lambda),
                codes: if choice.is_some() { Codes::None } else { variant.codes },
                alone: choice.map_or(variant.alone, |c| c.alone),
                rows: heads.rows,
            })
        };
        Ok(Lane::ALL.map(of).to_vec())
    }
}

/// A head over a coin's standardised own-scaled features, as weights over its design columns and an
/// intercept that makes its mean training score zero.
fn over_design(
    weights: &[f64],
    pool: &Pool,
    mean: &[f64],
    (offset, ratio): &(Vec<f64>, Vec<f64>),
) -> (Vec<f64>, f64) {
    let own: Vec<f64> = weights.iter().zip(&pool.deviation).map(|(w, d)| over(*w, *d)).collect();
    let design: Vec<f64> = own.iter().zip(ratio).map(|(w, r)| over(*w, *r)).collect();
    let at_mean: f64 = own.iter().zip(mean).map(|(w, m)| w * m).sum();
    let at_offset: f64 = design.iter().zip(offset).map(|(w, o)| w * o).sum();
    (design, -at_mean - at_offset)
}

pub(super) fn over(weight: f64, deviation: f64) -> f64 {
    if deviation > 0.0 { weight / deviation } else { 0.0 }
}
