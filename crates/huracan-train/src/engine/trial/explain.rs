//! After the verdicts: what every feature is worth to every coin out of sample after costs, and
//! whether the last week still looks like training. Nothing here feeds back into a verdict's figures.
//!
//! A feature's worth is what the coin's net loses when its values in the test span change places
//! (blocks of days, whole): heads, policy and costs stay. Drift limits are what quiet weeks reached,
//! pooled over an even sample of coins.

use super::heads::{Known, StageHead, StageHeads};
use super::{CoinRows, FinalHead, Scene, Tables, TrialPass, rows_of};
use crate::cache::Key;
use crate::engine::extra::Extra;
use crate::engine::lanes::Lane;
use crate::engine::part;
use crate::engine::passes::Pass;
use crate::engine::pools::{Codes, Pools};
use crate::engine::prepare::{Prepared, prepare};
use crate::engine::slopes::{OwnBasis, Slopes};
use crate::engine::statistics::{Stage, Statistics, own_scaled};
use crate::engine::survey::Survey;
use crate::engine::tape::{CoinTape, position_size};
use crate::engine::verdicts::{CoinVerdict, Verdicts, test_days};
use crate::engine::{Engine, EngineError, Market};
use crate::jobs::checkpoint;
use crate::scratch::ScratchError;
use faer::{ColRef, Mat, MatRef};
use huracan_core::bank::{Delta, block_permutation, permutation_delta};
use huracan_core::drift::{DriftReport, FeatureReference, Reference, coverage, past_psis, psi_limit, report};
use huracan_core::encoder::{CodeMap, Encoder, Scaler};
use huracan_core::regime::Regime;
use huracan_core::series::Series;
use huracan_core::trial::metrics::{ScoreQuality, score_quality};
use huracan_core::trial::plan::Plan;
use huracan_core::trial::simulate::{FullLedger, Policy, simulate};
use huracan_core::words::{Seed, UtcMs};
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
/// Every how many usual rows one is looked at: neighbours say the same.
///
/// No hour of the day and no hour of the week is left out: 5 has no divisor in common with 24, 96 and 168.
const REFERENCE_STRIDE: usize = 5;
const _: () =
    assert!(!24_usize.is_multiple_of(REFERENCE_STRIDE) && !168_usize.is_multiple_of(REFERENCE_STRIDE));
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
    /// A hash of its name.
    draw: u64,
    lane: Lane,
    lanes: Vec<Lane>,
    head: FinalHead,
}

impl Judged {
    fn new(seed: Seed, survey: &Survey, verdicts: &Verdicts, names: &[String]) -> Judged {
        let seed = seed.child("quiet weeks", 0);
        let coin = |c: &CoinVerdict| JudgedCoin {
            index: c.index,
            draw: seed.child(&survey.coins[c.index].symbol.to_string(), 0).0,
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

    /// Coins whose quiet weeks are looked at: positions. Those with the lowest hashes of their names, so that
    /// a coin more or less replaces at most one.
    fn sample(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.coins.len()).collect();
        order.sort_by_key(|&n| self.coins[n].draw);
        order.truncate(LIMIT_COINS);
        order.sort_unstable();
        order
    }
}

/// Past weeks of an even sample of coins against what was before them.
pub(in crate::engine) struct QuietWeeksPass<'a> {
    pub(in crate::engine) trial: &'a TrialPass<'a>,
    pub(in crate::engine) judged: &'a Judged,
}

impl Pass for QuietWeeksPass<'_> {
    type Done = Vec<Vec<f64>>;
    const STAGE: &'static str = "quiet_weeks";

    fn job(&self, item: usize) -> Result<Vec<Vec<f64>>, ScratchError> {
        let coin = &self.judged.coins[self.judged.sample()[item]];
        self.trial.quiet_weeks(coin.index)
    }
}

/// What every feature is worth to a coin, and its last week.
pub(in crate::engine) struct ExplainPass<'a> {
    pub(in crate::engine) trial: &'a TrialPass<'a>,
    pub(in crate::engine) judged: &'a Judged,
    /// Per feature, the limit that quiet weeks set.
    pub(in crate::engine) limits: &'a [Option<f64>],
    /// The encoder whose reconstruction is watched.
    pub(in crate::engine) encoder: Option<&'a Encoder>,
}

impl Pass for ExplainPass<'_> {
    type Done = Explained;
    const STAGE: &'static str = "explain";

    fn job(&self, item: usize) -> Result<Explained, ScratchError> {
        let ExplainPass { trial, judged, limits, encoder } = *self;
        let coin = &judged.coins[item];
        let series = trial.survey.coins[coin.index].series(trial.engine.scratch)?;
        let Some(known) = trial.statistics.coins[coin.index].as_ref() else {
            return Ok(Explained::default());
        };
        let mut rows = CoinRows::new(trial, coin.index, known, &series, &[]);
        let linear = coin.lanes.iter().all(|lane| lane.is_linear());
        let worth = trial.engine.settings.feature_worth;
        let measured =
            worth && (linear || item.is_multiple_of(judged.coins.len().div_ceil(NONLINEAR_COINS).max(1)));
        let (deltas, agreement) = trial.worth(coin, &mut rows, judged, measured)?;
        let importance = trial.importance(coin, &series);
        let encoder = encoder.filter(|_| coin.lane.encoder().is_some());
        let drift = trial.drift(&importance, coin, &mut rows, &judged.names, limits, encoder)?;
        Ok(Explained { deltas, drift, agreement, importance })
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
    let judged = Judged::new(engine.settings.seed, survey, verdicts, names);
    engine.share(part::JUDGED, &judged)?;
    let tables = Tables::new(engine.settings, plan, pools);
    let trial = TrialPass { engine, survey, market, plan, statistics, pools, extra, slopes, tables: &tables };
    let symbol = |n: usize| survey.coins[judged.coins[n].index].symbol.to_string();
    let sample: Vec<String> = judged.sample().into_iter().map(symbol).collect();
    let coins: Vec<String> = (0..judged.coins.len()).map(symbol).collect();
    let mut psis: Vec<Vec<f64>> = vec![Vec::new(); names.len()];
    let mut disk: Option<ScratchError> = None;
    engine.observer.stage_started(QuietWeeksPass::STAGE, sample.len());
    engine.pass(&QuietWeeksPass { trial: &trial, judged: &judged }, &sample, |n, result| {
        engine.observer.stage_advanced(QuietWeeksPass::STAGE, n + 1, &sample[n]);
        match result {
            Ok(Ok(weeks)) => psis.iter_mut().zip(weeks).for_each(|(all, weeks)| all.extend(weeks)),
            Ok(Err(error)) => disk = Some(error),
            Err(_) => {}
        }
    })?;
    engine.observer.stage_finished(QuietWeeksPass::STAGE);
    let limits: Vec<Option<f64>> = psis.iter().map(|psis| psi_limit(psis)).collect();
    engine.share(part::LIMITS, &limits)?;
    engine.observer.stage_started(ExplainPass::STAGE, coins.len());
    let encoder = yardstick(pools, extra, slopes, plan, judged.lane);
    let pass = ExplainPass { trial: &trial, judged: &judged, limits: &limits, encoder: encoder.as_ref() };
    let mut out = Vec::with_capacity(coins.len());
    engine.pass(&pass, &coins, |n, result| {
        engine.observer.stage_advanced(ExplainPass::STAGE, n + 1, &coins[n]);
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
            return pools.encoder(plan, trees.units_fold(), Codes::Pca(trees.components));
        }
        Lane::Plain | Lane::OwnPca | Lane::Unpooled | Lane::Trees => return None,
    };
    pools.encoder(plan, last, codes)
}

/// What a coin's features looked like until a week before what is frozen was fitted, limits aside.
#[derive(serde::Serialize, serde::Deserialize)]
struct Usual {
    features: Vec<FeatureReference>,
    coverage: f64,
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

    /// PSIs of the quiet weeks of a coin per feature, until what is frozen was fitted: a limit stays for a
    /// week.
    fn quiet_weeks(&self, index: usize) -> Result<Vec<Vec<f64>>, ScratchError> {
        let scaler = self.statistics.coins[index].as_ref().map(|coin| &coin.scaler);
        let key = self.statistics.known.as_ref().zip(scaler).map(|(known, scaler)| {
            known.frozen_of("quiet weeks", index, |inputs| {
                let inputs = inputs.text(&self.survey.coins[index].symbol.to_string());
                inputs.numbers(&scaler.center).numbers(&scaler.scale)
            })
        });
        let cache = self.engine.scratch.cache();
        if let Some(found) = key.as_ref().and_then(|key| cache.get(key)) {
            return Ok(found);
        }
        let weeks = self.past_weeks(&self.prepared(index)?);
        key.iter().for_each(|key| cache.put(key, &weeks));
        Ok(weeks)
    }

    /// End of the rows that a coin's last week is compared with: a week before what is frozen was fitted, so
    /// that they stay the same for a week and the two never overlap.
    fn usual_end(&self, series: &Series) -> usize {
        let week = (WINDOW_DAYS * UtcMs::DAY as f64) as i64;
        let end = series.index_at_or_after(UtcMs(self.plan.frozen_end.0 - week));
        end.min(series.len().saturating_sub(self.window_rows()))
    }

    /// The key of something that a coin's usual rows are made into.
    fn usual_key(&self, kind: &'static str, index: usize, scaler: &Scaler) -> Option<Key> {
        let known = self.statistics.known.as_ref()?;
        Some(known.frozen_of(kind, index, |inputs| inputs.numbers(&scaler.center).numbers(&scaler.scale)))
    }

    /// What a coin's features usually look like; `None` where nothing of one is known.
    fn usual(
        &self,
        index: usize,
        rows: &mut CoinRows<'_>,
        names: &[String],
    ) -> Result<Option<Usual>, ScratchError> {
        let key = self.usual_key("usual", index, &rows.known.scaler);
        self.cached(key, || {
            let end = self.usual_end(rows.series);
            let prepared = &rows.all()?.prepared;
            let of = |j: usize| {
                checkpoint();
                column(prepared, j, 0, end).into_iter().step_by(REFERENCE_STRIDE).collect()
            };
            let columns: Vec<Vec<f64>> = (0..names.len()).map(of).collect();
            let fitted = names.iter().zip(&columns).map(|(name, v)| FeatureReference::fit(name, v, None));
            let features: Option<Vec<FeatureReference>> = fitted.collect();
            let columns: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
            Ok(features.zip(coverage(&columns)).map(|(features, coverage)| Usual { features, coverage }))
        })
    }

    /// Some of a coin's usual rows, one after the other, in its own scale.
    fn usual_rows(&self, index: usize, rows: &mut CoinRows<'_>) -> Result<Vec<f64>, ScratchError> {
        let known = rows.known;
        let key = self.usual_key("usual rows", index, &known.scaler);
        self.cached(key, || {
            let end = self.usual_end(rows.series);
            let prepared = &rows.all()?.prepared;
            let (offset, ratio) = &known.own;
            let of = |i: usize| {
                (0..prepared.p()).map(move |j| own_scaled(prepared.design[(i, j)], offset[j], ratio[j]))
            };
            let seen = (0..end).step_by(REFERENCE_STRIDE * REFERENCE_STRIDE).filter(|&i| prepared.usable[i]);
            Ok(seen.flat_map(of).collect())
        })
    }

    /// PSIs of past weeks against what was before them, per feature.
    fn past_weeks(&self, prepared: &Prepared) -> Vec<Vec<f64>> {
        let week = self.window_rows();
        let past = self.engine.settings.timeframe.bars_in_days(self.engine.settings.fold_train_days_min);
        let end = prepared.series.index_at_or_after(self.plan.frozen_end);
        let psis = |j: usize| {
            checkpoint();
            past_psis(&column(prepared, j, 0, end), week, week, past)
        };
        (0..prepared.p()).map(psis).collect()
    }

    /// The last week of a coin against its usual rows.
    fn drift(
        &self,
        importance: &[f64],
        coin: &JudgedCoin,
        rows: &mut CoinRows<'_>,
        names: &[String],
        limits: &[Option<f64>],
        encoder: Option<&Encoder>,
    ) -> Result<Option<DriftReport>, ScratchError> {
        let series = rows.series;
        let week = self.window_rows();
        let Some(before) = series.len().checked_sub(week) else { return Ok(None) };
        let Some(Usual { mut features, coverage }) = self.usual(coin.index, rows, names)? else {
            return Ok(None);
        };
        features.iter_mut().zip(limits).for_each(|(feature, limit)| feature.psi_max = *limit);
        checkpoint();
        let errors = |z: Mat<f64>| encoder.map_or_else(Vec::new, |e| e.reconstruction_error(z.as_ref()));
        let usual = match encoder {
            Some(_) => self.usual_rows(coin.index, rows)?,
            None => Vec::new(),
        };
        let p = names.len();
        let usual = errors(Mat::from_fn(usual.len() / p.max(1), p, |i, j| usual[i * p + j]));
        let reference = Reference::new(features, week, coverage, &usual);
        let (offset, ratio) = &rows.known.own;
        // A coin that is gone had its last week long ago.
        let Scene { prepared, first, .. } = rows.of((series.time(before), series.end()))?;
        let from = before - first;
        let window: Vec<Vec<f64>> = (0..p).map(|j| column(prepared, j, from, from + week)).collect();
        let window: Vec<&[f64]> = window.iter().map(Vec::as_slice).collect();
        let seen: Vec<usize> = (from..from + week).filter(|&i| prepared.usable[i]).collect();
        let scaled = |i: usize, j: usize| own_scaled(prepared.design[(seen[i], j)], offset[j], ratio[j]);
        let seen = errors(Mat::from_fn(seen.len(), p, scaled));
        Ok(report(&reference, &window, importance, &seen))
    }

    /// How much the final head looks at each feature, codes that are not linear included.
    fn importance(&self, coin: &JudgedCoin, series: &Series) -> Vec<f64> {
        let head = &coin.head;
        let mut out: Vec<f64> = head.weights.iter().map(|w| w.abs()).collect();
        let half = crate::engine::extra::half(series.symbol.underlying());
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
        rows: &mut CoinRows<'_>,
        judged: &Judged,
        measured: bool,
    ) -> Result<(BTreeMap<String, Delta>, Option<ScoreQuality>), ScratchError> {
        let settings = self.engine.settings;
        let (index, names) = (coin.index, &judged.names);
        let Some(statistics) = self.statistics.coins[index].as_ref() else {
            return Ok((BTreeMap::new(), None));
        };
        let series = rows.series;
        let mut known = Known {
            index,
            statistics,
            grams: self.grams(index, statistics),
            priors: None,
            blocks: self.codes().blocks(index),
            own_basis: OwnBasis::default(),
            regimes: vec![Regime::Unknown; series.len()],
        };
        let days = test_days(self.plan);
        let linear = coin.lanes.iter().all(|lane| lane.is_linear());
        let repetitions = if linear { REPETITIONS } else { 1 };
        let mut all = FoldWorth::new(days, repetitions, names.len());
        for (f, fold) in self.plan.tested().iter().enumerate() {
            checkpoint();
            let Some(span) = fold.test else { continue };
            let (policy, is_zero) = judged.policies[f];
            let is_measured = measured && !is_zero;
            let key = self.statistics.known.as_ref().and_then(|known| {
                known.test_of("worth", f, index, |inputs| {
                    let told = [coin.lanes[f].at(), policy, usize::from(is_measured), repetitions];
                    let inputs = self.extra.of_coin(&series.symbol, inputs);
                    told.into_iter().fold(inputs, |inputs, part| inputs.number(part as i64))
                })
            });
            let worth = self.cached(key, || {
                let rows = rows.of(span)?;
                let Scene { prepared, tape, .. } = rows;
                let heads = self.tested_heads(&mut known, f)?;
                let first_day = span.0.day();
                let days = (span.1.0 - 1).div_euclid(UtcMs::DAY) - first_day + 1;
                let mut worth = FoldWorth::new(days.max(0) as usize, 0, 0);
                worth.first_day = (first_day - self.plan.test_start.day()).max(0) as usize;
                let mut scene = || {
                    let heads = heads.as_ref()?;
                    let (from, to) = rows_of(&prepared.series, span);
                    let (model, sides) = self.one_side(rows, from, to)?;
                    let lane = coin.lanes[f].at();
                    let scene = Played {
                        lane,
                        survival: heads.heads[lane].survival,
                        policy: self.policies(series.symbol.market())[policy],
                        size: position_size(settings, &model),
                        sides: &sides,
                        from,
                        to,
                        first_day,
                    };
                    let repetitions = if is_measured { repetitions } else { 0 };
                    self.fold_worth(&known, prepared, tape, heads, f, &scene, repetitions, &mut worth);
                    Some(())
                };
                // A coin that has no head in this fold, or no costs, has nothing to tell.
                let _ = scene();
                Ok(worth)
            })?;
            all.add(worth);
        }
        let FoldWorth { scored, labels, intact, permuted, .. } = all;
        let lags = settings.label.horizon_bars + settings.timeframe.bars_in_days(1.0);
        let agreement = score_quality(&scored, &labels, 0.0, 0.0, lags);
        if !measured {
            return Ok((BTreeMap::new(), agreement));
        }
        let lag = settings.metric_options(settings.seed).hac_lag_days;
        let deltas = names.iter().zip(&permuted).filter_map(|(name, permuted)| {
            checkpoint();
            permutation_delta(&intact, permuted, lag).map(|delta| (name.clone(), delta))
        });
        Ok((deltas.collect(), agreement))
    }

    /// What one fold says of the worth of features.
    fn fold_worth(
        &self,
        known: &Known<'_>,
        prepared: &Prepared,
        tape: &CoinTape,
        heads: &StageHeads,
        f: usize,
        scene: &Played<'_>,
        repetitions: usize,
        worth: &mut FoldWorth,
    ) {
        let settings = self.engine.settings;
        let (at, (from, to)) = ((f, Stage::Full), (scene.from, scene.to));
        let head = &heads.heads[scene.lane];
        let mut rows = prepared.design.as_ref().get(from..to, ..prepared.p()).to_owned();
        let codes = |rows: MatRef<'_, f64>| {
            self.extra.codes_of_design(self.pools, known.statistics, prepared, at, rows)
        };
        let before = head.code_weights.iter().any(|w| *w != 0.0).then(|| codes(rows.as_ref()));
        let (weights, intercept) = &head.row;
        let mut scores: Vec<f64> =
            (&rows * ColRef::from_slice(weights)).iter().map(|score| score + intercept).collect();
        if let Some(codes) = &before {
            for (c, &w) in head.code_weights.iter().enumerate().filter(|(_, w)| **w != 0.0) {
                scores.iter_mut().enumerate().for_each(|(i, s)| *s += w * codes[(i, c)]);
            }
        }
        let label = &prepared.labels[0];
        for i in (from..to).filter(|&i| prepared.usable[i] && label[i].is_finite()) {
            worth.scored.push(scene.survival * scores[i - from]);
            worth.labels.push(label[i] - heads.label_mean);
        }
        let days = worth.intact.len();
        if repetitions > 0 {
            self.daily(prepared, tape, scene, &scores, &mut worth.intact);
        }
        worth.permuted =
            vec![vec![vec![0.0; days]; repetitions]; if repetitions > 0 { prepared.p() } else { 0 }];
        let block = settings.timeframe.bars_in_days(BLOCK_DAYS);
        for r in 0..repetitions {
            let seed = settings.seed.child("permutation", (f * REPETITIONS + r) as u64);
            let order = block_permutation(to - from, block, seed);
            for (j, sums) in worth.permuted.iter_mut().enumerate() {
                checkpoint();
                match with_permuted(head, &mut rows, &scores, j, &order, before.as_ref(), &codes) {
                    Some(moved) => self.daily(prepared, tape, scene, &moved, &mut sums[r]),
                    None => sums[r].clone_from(&worth.intact),
                }
            }
        }
    }

    /// Adds the net of a fold, by day.
    fn daily(
        &self,
        prepared: &Prepared,
        tape: &CoinTape,
        scene: &Played<'_>,
        scores: &[f64],
        sums: &mut [f64],
    ) {
        let edge = self.edges(prepared, ColRef::from_slice(scores), scene.survival, scene.from);
        let view = tape.view(0, scene.from, scene.to, &edge, scene.sides, scene.size);
        let mut ledger = FullLedger::default();
        simulate(&view, &scene.policy, &mut ledger);
        for (i, net) in ledger.bars {
            let day = (prepared.series.time(scene.from + i).day() - scene.first_day).max(0) as usize;
            if let Some(sum) = sums.get_mut(day) {
                *sum += net;
            }
        }
    }
}

/// Scores with one feature's rows in another order; `None` where the head does not look at it. `rows` are
/// as they were afterwards; `before` are their codes where the head reads codes.
fn with_permuted(
    head: &StageHead,
    rows: &mut Mat<f64>,
    scores: &[f64],
    feature: usize,
    order: &[usize],
    before: Option<&Mat<f64>>,
    codes: &dyn Fn(MatRef<'_, f64>) -> Mat<f64>,
) -> Option<Vec<f64>> {
    let weight = head.row.0[feature];
    let column: Vec<f64> = rows.col(feature).iter().copied().collect();
    let mut out = scores.to_vec();
    if weight != 0.0 {
        out.iter_mut().enumerate().for_each(|(i, s)| *s += weight * (column[order[i]] - column[i]));
    }
    let Some(before) = before else { return (weight != 0.0).then_some(out) };
    rows.col_mut(feature).iter_mut().zip(order).for_each(|(v, &i)| *v = column[i]);
    let after = codes(rows.as_ref());
    rows.col_mut(feature).iter_mut().zip(&column).for_each(|(v, &kept)| *v = kept);
    for (c, &w) in head.code_weights.iter().enumerate().filter(|(_, w)| **w != 0.0) {
        out.iter_mut().enumerate().for_each(|(i, s)| *s += w * (after[(i, c)] - before[(i, c)]));
    }
    Some(out)
}

/// One coin's fold as it was traded.
struct Played<'a> {
    lane: usize,
    survival: f64,
    policy: Policy,
    size: f64,
    sides: &'a [f64],
    from: usize,
    to: usize,
    /// UTC day of the first of a fold's sums.
    first_day: i64,
}

/// What one fold says of the worth of a coin's features, or all together.
#[derive(serde::Serialize, serde::Deserialize)]
struct FoldWorth {
    /// Score and label of every labelled row.
    scored: Vec<f64>,
    labels: Vec<f64>,
    /// Day of the first sum.
    first_day: usize,
    /// Net per day as it was.
    intact: Vec<f64>,
    /// The same per feature and repetition.
    permuted: Vec<Vec<Vec<f64>>>,
}

impl FoldWorth {
    fn new(days: usize, repetitions: usize, features: usize) -> FoldWorth {
        FoldWorth {
            scored: Vec::new(),
            labels: Vec::new(),
            first_day: 0,
            intact: vec![0.0; days],
            permuted: vec![vec![vec![0.0; days]; repetitions]; features],
        }
    }

    fn add(&mut self, fold: FoldWorth) {
        let first = fold.first_day;
        let add = |sums: &mut [f64], fold: &[f64]| {
            sums.iter_mut().skip(first).zip(fold).for_each(|(sum, net)| *sum += net);
        };
        add(&mut self.intact, &fold.intact);
        for (sums, fold) in self.permuted.iter_mut().flatten().zip(fold.permuted.iter().flatten()) {
            add(sums, fold);
        }
        self.scored.extend(fold.scored);
        self.labels.extend(fold.labels);
    }
}

/// Values of a feature over rows, NaN where the bar or too much of the row is missing.
fn column(prepared: &Prepared, feature: usize, from: usize, to: usize) -> Vec<f64> {
    let value = |i: usize| if prepared.usable[i] { prepared.design[(i, feature)] } else { f64::NAN };
    (from..to).map(value).collect()
}
