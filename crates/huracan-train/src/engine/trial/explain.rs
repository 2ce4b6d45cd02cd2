//! After the verdicts: what every feature is worth to every coin out of sample after costs, and
//! whether the last week still looks like training. Nothing here feeds back into a verdict's figures.
//!
//! A feature's worth is what the coin's net loses when its values in the test span change places
//! (blocks of days, whole): heads, policy and costs stay. Drift limits are what quiet weeks reached,
//! pooled over an even sample of coins.

use super::heads::{Known, StageHeads};
use super::{FinalHead, Tables, TrialPass, rows_of};
use crate::engine::extra::Extra;
use crate::engine::lanes::{Lane, Slopes, prior_name};
use crate::engine::part;
use crate::engine::passes::Pass;
use crate::engine::pools::{Codes, Pools};
use crate::engine::prepare::{Prepared, prepare};
use crate::engine::statistics::{Stage, Statistics, Targets, read_grams};
use crate::engine::survey::Survey;
use crate::engine::tape::{CoinTape, position_size};
use crate::engine::verdicts::{CoinVerdict, Verdicts, test_days};
use crate::engine::{Engine, EngineError, Market};
use crate::scratch::ScratchError;
use faer::{Mat, MatRef};
use huracan_core::bank::{Delta, block_permutation, permutation_delta};
use huracan_core::drift::{DriftReport, FeatureReference, Reference, coverage, past_psis, report};
use huracan_core::encoder::{CodeMap, Encoder};
use huracan_core::regime::Regime;
use huracan_core::trial::metrics::{ScoreQuality, score_quality};
use huracan_core::trial::plan::Plan;
use huracan_core::trial::simulate::{FullLedger, Policy, simulate};
use huracan_core::words::UtcMs;
use std::collections::BTreeMap;

/// What was found out about one coin.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Explained {
    /// Feature → loss of net bps a day when it is permuted; empty where it was not measured.
    pub deltas: BTreeMap<String, Delta>,
    /// The last week against training.
    pub drift: Option<DriftReport>,
    /// Score against label over the test folds, of the lane deployed in each; `None` when undefined.
    pub agreement: Option<ScoreQuality>,
    /// How much the final head looks at each feature: weights of a linear head, gains of trees, what an
    /// autoencoder's layers make of the weights of its codes.
    pub importance: Vec<f64>,
}

/// Permutations of every feature.
const REPETITIONS: usize = 3;
/// Days whose rows stay together in a permutation.
const BLOCK_DAYS: f64 = 3.0;
/// Days of the window that drift is looked for in.
const WINDOW_DAYS: f64 = 7.0;
/// Coins whose quiet weeks make the limits.
const LIMIT_COINS: usize = 64;
/// Every how many training rows one is kept for a reference: neighbours say the same.
const REFERENCE_STRIDE: usize = 4;
/// Coins whose features are permuted when the head is not linear in them: every permutation encodes
/// the rows again.
const NONLINEAR_COINS: usize = 16;

/// What the verdicts said that the explanations read.
#[derive(serde::Serialize, serde::Deserialize)]
pub(in crate::engine) struct Judged {
    coins: Vec<JudgedCoin>,
    /// Per fold: which policy was deployed, and whether it is to trade nothing.
    policies: Vec<(usize, bool)>,
    /// Lane of the final heads before anybody does without.
    lane: Option<Lane>,
    /// Names of the features.
    names: Vec<String>,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct JudgedCoin {
    index: usize,
    lane: Lane,
    lanes: Vec<Lane>,
    head: FinalHead,
}

impl Judged {
    fn new(verdicts: &Verdicts, names: &[String]) -> Judged {
        let coin = |c: &CoinVerdict| JudgedCoin {
            index: c.index,
            lane: c.lane,
            lanes: c.lanes.clone(),
            head: c.head.clone(),
        };
        Judged {
            coins: verdicts.coins.iter().map(coin).collect(),
            policies: verdicts.deployed.iter().map(|d| (d.policy.index, d.policy.is_zero)).collect(),
            lane: verdicts.deployed.last().map(|d| d.lane),
            names: names.to_vec(),
        }
    }

    /// Lane of the final heads before anybody does without.
    pub(in crate::engine) fn lane(&self) -> Option<Lane> {
        self.lane
    }

    /// Coins whose quiet weeks are looked at: positions.
    fn sample(&self) -> Vec<usize> {
        (0..self.coins.len()).step_by(self.coins.len().div_ceil(LIMIT_COINS).max(1)).collect()
    }
}

/// Past weeks of an even sample of coins against what was before them.
pub(in crate::engine) struct QuietWeeksPass<'a> {
    pub(in crate::engine) trial: &'a TrialPass<'a>,
    pub(in crate::engine) judged: &'a Judged,
}

impl Pass for QuietWeeksPass<'_> {
    type Done = Vec<Vec<f64>>;
    type Out = Vec<Vec<f64>>;
    const STAGE: &'static str = "quiet_weeks";

    fn job(&self, item: usize) -> Result<Vec<Vec<f64>>, ScratchError> {
        let coin = &self.judged.coins[self.judged.sample()[item]];
        Ok(self.trial.quiet_weeks(&self.trial.prepared(coin.index)?))
    }

    fn open(&self, _: usize, weeks: Vec<Vec<f64>>) -> Result<Vec<Vec<f64>>, ScratchError> {
        Ok(weeks)
    }
}

/// What every feature is worth to a coin, and its last week.
pub(in crate::engine) struct ExplainPass<'a> {
    pub(in crate::engine) trial: &'a TrialPass<'a>,
    pub(in crate::engine) judged: &'a Judged,
    /// Per feature, what quiet weeks reached.
    pub(in crate::engine) limits: &'a [Vec<f64>],
    /// The encoder whose reconstruction is watched.
    pub(in crate::engine) encoder: Option<&'a Encoder>,
}

impl Pass for ExplainPass<'_> {
    type Done = Explained;
    type Out = Explained;
    const STAGE: &'static str = "explain";

    fn job(&self, item: usize) -> Result<Explained, ScratchError> {
        let ExplainPass { trial, judged, limits, encoder } = *self;
        let coin = &judged.coins[item];
        let prepared = trial.prepared(coin.index)?;
        let linear = coin.lanes.iter().all(|lane| lane.is_linear());
        let measured = linear || item.is_multiple_of(judged.coins.len().div_ceil(NONLINEAR_COINS).max(1));
        let (deltas, agreement) = trial.worth(coin, &prepared, judged, measured)?;
        let importance = trial.importance(coin, &prepared);
        let encoder = encoder.filter(|_| coin.lane.encoder().is_some());
        let drift = trial.drift(&importance, coin, &prepared, &judged.names, limits, encoder);
        Ok(Explained { deltas, drift, agreement, importance })
    }

    fn open(&self, _: usize, explained: Explained) -> Result<Explained, ScratchError> {
        Ok(explained)
    }
}

/// Runs the passes; one answer a coin verdict, in their order.
///
/// # Errors
/// When interrupted or the scratch disk fails.
pub fn explain(
    engine: &Engine<'_>,
    survey: &Survey,
    market: &Market,
    plan: &Plan,
    statistics: &Statistics,
    pools: &Pools,
    extra: &Extra,
    slopes: &Slopes,
    verdicts: &Verdicts,
    names: &[String],
) -> Result<Vec<Explained>, EngineError> {
    let judged = Judged::new(verdicts, names);
    engine.share(part::JUDGED, &judged)?;
    let tables = Tables::new(engine.settings, plan, pools);
    let trial = TrialPass { engine, survey, market, plan, statistics, pools, extra, slopes, tables: &tables };
    let symbol = |n: usize| survey.coins[judged.coins[n].index].symbol.to_string();
    let sample: Vec<String> = judged.sample().into_iter().map(symbol).collect();
    let coins: Vec<String> = (0..judged.coins.len()).map(symbol).collect();
    let mut limits: Vec<Vec<f64>> = vec![Vec::new(); names.len()];
    let mut disk: Option<ScratchError> = None;
    engine.observer.stage_started("explain", sample.len() + coins.len());
    engine.pass(&QuietWeeksPass { trial: &trial, judged: &judged }, &sample, |n, result| {
        engine.observer.stage_advanced("explain", n + 1, "quiet weeks");
        match result {
            Ok(Ok(weeks)) => limits.iter_mut().zip(weeks).for_each(|(all, weeks)| all.extend(weeks)),
            Ok(Err(error)) => disk = Some(error),
            Err(_) => {}
        }
    })?;
    engine.share(part::LIMITS, &limits)?;
    let encoder = yardstick(pools, extra, slopes, plan, judged.lane);
    let pass = ExplainPass { trial: &trial, judged: &judged, limits: &limits, encoder: encoder.as_ref() };
    let mut out = Vec::with_capacity(coins.len());
    engine.pass(&pass, &coins, |n, result| {
        engine.observer.stage_advanced("explain", sample.len() + n + 1, &coins[n]);
        match result {
            Ok(Ok(explained)) => out.push(explained),
            Ok(Err(error)) => {
                disk = Some(error);
                out.push(Explained::default());
            }
            Err(fault) => {
                engine.observer.note(&format!("{} could not be explained: {fault}", coins[n]));
                out.push(Explained::default());
            }
        }
    })?;
    match disk {
        Some(error) => Err(error.into()),
        None => Ok(out),
    }
}

/// The encoder that the deployed heads read: the one whose reconstruction is watched.
pub(in crate::engine) fn yardstick(
    pools: &Pools,
    extra: &Extra,
    slopes: &Slopes,
    plan: &Plan,
    lane: Option<Lane>,
) -> Option<Encoder> {
    let last = plan.folds.len().checked_sub(1)?;
    let choices = &pools.choices[last];
    let codes = match lane? {
        Lane::Autoencoder => return extra.autoencoder().cloned(),
        Lane::Pca => choices.pca.variant.codes,
        Lane::Rrr => choices.rrr.variant.codes,
        Lane::UnpooledCodes => slopes.unpooled[last][1].variant.codes,
        Lane::TreesCoded => {
            let trees = extra.models.trees_coded.get(Stage::Full.at(last))?.as_ref()?;
            Codes::Pca(trees.components)
        }
        Lane::Plain | Lane::OwnPca | Lane::Unpooled | Lane::Trees => return None,
    };
    pools.encoder(plan, last, codes)
}

impl TrialPass<'_> {
    fn prepared(&self, index: usize) -> Result<Prepared, ScratchError> {
        let series = self.survey.coins[index].series(self.engine.scratch)?;
        let scaler = self.statistics.coins[index].as_ref().map(|known| known.scaler.clone());
        let units = &self.statistics.units;
        Ok(prepare(self.engine.settings, self.market, self.plan, units, series, scaler))
    }

    fn window_rows(&self) -> usize {
        self.engine.settings.timeframe.bars_in_days(WINDOW_DAYS)
    }

    /// End of the rows that the final heads were trained on.
    fn training_end(&self, prepared: &Prepared) -> usize {
        let end = self.plan.folds.last().map_or(UtcMs(i64::MIN), |fold| fold.train_end);
        prepared.series.index_at_or_after(end)
    }

    /// PSIs of past weeks against what was before them, per feature.
    fn quiet_weeks(&self, prepared: &Prepared) -> Vec<Vec<f64>> {
        let week = self.window_rows();
        let past = self.engine.settings.timeframe.bars_in_days(self.engine.settings.fold_train_days_min);
        let end = self.training_end(prepared);
        (0..prepared.p()).map(|j| past_psis(&column(prepared, j, 0, end), week, week, past)).collect()
    }

    /// The last week of a coin against the training rows of its final head.
    fn drift(
        &self,
        importance: &[f64],
        coin: &JudgedCoin,
        prepared: &Prepared,
        names: &[String],
        limits: &[Vec<f64>],
        encoder: Option<&Encoder>,
    ) -> Option<DriftReport> {
        let (n, week) = (prepared.series.len(), self.window_rows());
        let known = self.statistics.coins[coin.index].as_ref()?;
        let end = self.training_end(prepared).min(n.checked_sub(week)?);
        let strided = |j: usize| -> Vec<f64> {
            column(prepared, j, 0, end).into_iter().step_by(REFERENCE_STRIDE).collect()
        };
        let training: Vec<Vec<f64>> = (0..names.len()).map(strided).collect();
        let features: Option<Vec<FeatureReference>> = names
            .iter()
            .zip(&training)
            .zip(limits)
            .map(|((name, values), limits)| FeatureReference::fit(name, values, limits))
            .collect();
        let views: Vec<&[f64]> = training.iter().map(Vec::as_slice).collect();
        let errors = |from: usize, to: usize, stride: usize| -> Vec<f64> {
            let Some(encoder) = encoder else { return Vec::new() };
            let rows: Vec<usize> = (from..to).step_by(stride).filter(|&i| prepared.usable[i]).collect();
            let (offset, ratio) = &known.own;
            let z = Mat::from_fn(rows.len(), prepared.p(), |i, j| {
                crate::engine::statistics::own_scaled(prepared.design[(rows[i], j)], offset[j], ratio[j])
            });
            encoder.reconstruction_error(z.as_ref())
        };
        let reference =
            Reference::new(features?, week, coverage(&views)?, &errors(0, end, 4 * REFERENCE_STRIDE));
        let window: Vec<Vec<f64>> = (0..names.len()).map(|j| column(prepared, j, n - week, n)).collect();
        let window: Vec<&[f64]> = window.iter().map(Vec::as_slice).collect();
        report(&reference, &window, importance, &errors(n - week, n, 1))
    }

    /// How much the final head looks at each feature, codes that are not linear included.
    fn importance(&self, coin: &JudgedCoin, prepared: &Prepared) -> Vec<f64> {
        let head = &coin.head;
        let mut out: Vec<f64> = head.weights.iter().map(|w| w.abs()).collect();
        let half = crate::engine::extra::half(prepared.series.symbol.underlying());
        let last = Stage::Full.at(self.plan.folds.len().saturating_sub(1));
        let models = &self.extra.models;
        let trees = match head.lane {
            Lane::Trees => models.trees.get(last),
            Lane::TreesCoded => models.trees_coded.get(last),
            _ => None,
        };
        if let Some(trees) = trees.and_then(Option::as_ref) {
            out.iter_mut().zip(trees.halves[half].importance()).for_each(|(sum, gain)| *sum += gain);
        }
        if let (Lane::Autoencoder, Some(encoder)) = (head.lane, self.extra.autoencoder())
            && let CodeMap::Network(network) = &encoder.map
        {
            let reach = network.linear_reach(&head.code_weights[..self.extra.layout.codes]);
            out.iter_mut().zip(reach).for_each(|(sum, reach)| *sum += reach.abs());
        }
        out
    }

    /// What each feature is worth to the coin's net over the test folds that were traded (nothing where it
    /// is not `measured`), and how the score of the lane deployed in each fold went with the label.
    fn worth(
        &self,
        coin: &JudgedCoin,
        prepared: &Prepared,
        judged: &Judged,
        measured: bool,
    ) -> Result<(BTreeMap<String, Delta>, Option<ScoreQuality>), ScratchError> {
        let (engine, settings) = (self.engine, self.engine.settings);
        let (index, names) = (coin.index, &judged.names);
        let Some(statistics) = self.statistics.coins[index].as_ref() else {
            return Ok((BTreeMap::new(), None));
        };
        let mut known = Known {
            index,
            statistics,
            grams: read_grams(engine, index, self.statistics.p, Targets::of(settings).count())?,
            priors: engine.scratch.read(&prior_name(index))?,
            blocks: self.extra.read(engine, index)?,
            own_basis: None,
            regimes: vec![Regime::Unknown; prepared.series.len()],
        };
        let tape = CoinTape::new(settings, self.market, prepared, &[]);
        let days = test_days(self.plan);
        let linear = coin.lanes.iter().all(|lane| lane.is_linear());
        let repetitions = if linear { REPETITIONS } else { 1 };
        let (mut scored, mut labels) = (Vec::new(), Vec::new());
        let mut intact = vec![0.0; days];
        let mut permuted = vec![vec![vec![0.0; days]; repetitions]; names.len()];
        for (f, fold) in self.plan.tested().iter().enumerate() {
            let heads = self.stage_heads(&mut known, f, fold, Stage::Full);
            let Some((heads, span)) = heads.zip(fold.test) else { continue };
            let (from, to) = rows_of(prepared, span);
            let Some((model, sides)) = self.one_side(prepared, from, to) else { continue };
            let scene = Scene {
                lane: coin.lanes[f].at(),
                survival: heads.heads[coin.lanes[f].at()].survival,
                policy: self.policies(prepared.series.symbol.market())[judged.policies[f].0],
                size: position_size(settings, &model),
                sides: &sides,
                from,
                to,
            };
            let scores = self.scores(&known, prepared, &heads, (f, Stage::Full), (from, to));
            let scores: Vec<f64> = (0..to - from).map(|i| scores[(i, scene.lane)]).collect();
            let label = &prepared.labels[0];
            for i in (from..to).filter(|&i| prepared.usable[i] && label[i].is_finite()) {
                scored.push(scene.survival * scores[i - from]);
                labels.push(label[i] - heads.moments.mean_y[0]);
            }
            if !measured || judged.policies[f].1 {
                continue;
            }
            self.daily(prepared, &tape, &scene, &scores, &mut intact);
            let block = settings.timeframe.bars_in_days(BLOCK_DAYS);
            for r in 0..repetitions {
                let seed = settings.seed.child("permutation", (f * REPETITIONS + r) as u64);
                let order = block_permutation(to - from, block, seed);
                for (j, sums) in permuted.iter_mut().enumerate() {
                    let at = (f, Stage::Full);
                    match self.with_permuted(&known, prepared, &heads, at, &scene, &scores, j, &order) {
                        Some(scores) => self.daily(prepared, &tape, &scene, &scores, &mut sums[r]),
                        None => self.daily(prepared, &tape, &scene, &scores, &mut sums[r]),
                    }
                }
            }
        }
        let lags = settings.label.horizon_bars + settings.timeframe.bars_in_days(1.0);
        let agreement = score_quality(&scored, &labels, 0.0, 0.0, lags);
        if !measured {
            return Ok((BTreeMap::new(), agreement));
        }
        let lag = settings.metric_options(settings.seed).hac_lag_days;
        let deltas = names.iter().zip(&permuted).filter_map(|(name, permuted)| {
            permutation_delta(&intact, permuted, lag).map(|delta| (name.clone(), delta))
        });
        Ok((deltas.collect(), agreement))
    }

    /// Scores with one feature's rows in another order; `None` where the head does not look at it.
    fn with_permuted(
        &self,
        known: &Known<'_>,
        prepared: &Prepared,
        heads: &StageHeads,
        at: (usize, Stage),
        scene: &Scene<'_>,
        scores: &[f64],
        feature: usize,
        order: &[usize],
    ) -> Option<Vec<f64>> {
        let head = &heads.heads[scene.lane];
        let weight = head.row.0[feature];
        let column: Vec<f64> = (scene.from..scene.to).map(|i| prepared.design[(i, feature)]).collect();
        let mut out = scores.to_vec();
        if weight != 0.0 {
            out.iter_mut().enumerate().for_each(|(i, s)| *s += weight * (column[order[i]] - column[i]));
        }
        if head.code_weights.iter().all(|w| *w == 0.0) {
            return (weight != 0.0).then_some(out);
        }
        let p = prepared.p();
        let rows = prepared.design.as_ref().subrows(scene.from, scene.to - scene.from);
        let moved =
            Mat::from_fn(rows.nrows(), p, |i, j| if j == feature { column[order[i]] } else { rows[(i, j)] });
        let codes = |design: MatRef<'_, f64>| {
            self.extra.codes_of_design(self.pools, known.statistics, prepared, at, design)
        };
        let (before, after) = (codes(rows.subcols(0, p)), codes(moved.as_ref()));
        for (c, &w) in head.code_weights.iter().enumerate().filter(|(_, w)| **w != 0.0) {
            out.iter_mut().enumerate().for_each(|(i, s)| *s += w * (after[(i, c)] - before[(i, c)]));
        }
        Some(out)
    }

    /// Adds the net of a fold, by day.
    fn daily(
        &self,
        prepared: &Prepared,
        tape: &CoinTape,
        scene: &Scene<'_>,
        scores: &[f64],
        sums: &mut [f64],
    ) {
        let scores = Mat::from_fn(scores.len(), 1, |i, _| scores[i]);
        let edge = self.edges(prepared, &scores, (0, scene.survival), scene.from);
        let view = tape.view(0, scene.from, scene.to, &edge, scene.sides, scene.size);
        let mut ledger = FullLedger::default();
        simulate(&view, &scene.policy, &mut ledger);
        let first = self.plan.test_start.day();
        for (i, net) in ledger.bars {
            let day = (prepared.series.time(scene.from + i).day() - first).max(0) as usize;
            if let Some(sum) = sums.get_mut(day) {
                *sum += net;
            }
        }
    }
}

/// One coin's fold as it was traded.
struct Scene<'a> {
    lane: usize,
    survival: f64,
    policy: Policy,
    size: f64,
    sides: &'a [f64],
    from: usize,
    to: usize,
}

/// Values of a feature over rows, NaN where the bar or too much of the row is missing.
fn column(prepared: &Prepared, feature: usize, from: usize, to: usize) -> Vec<f64> {
    let value = |i: usize| if prepared.usable[i] { prepared.design[(i, feature)] } else { f64::NAN };
    (from..to).map(value).collect()
}
