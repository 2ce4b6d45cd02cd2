//! The trial pass: features again, every lane's head per fold, scores, simulated trades.
//!
//! For each fold the inner heads are simulated on validation and the full heads on the test span,
//! at every entry threshold, before anybody knows which threshold will be chosen: choosing needs
//! all coins, and looks at validation only (`verdicts`).

pub mod explain;
mod heads;

pub use heads::FinalHead;
use heads::{Known, StageHeads, over};

use crate::cache::Key;
use crate::engine::extra::Extra;
use crate::engine::extra::pass::CodesPass;
use crate::engine::grams::CoinGrams;
use crate::engine::lanes::{self, Lane, LaneFold, PLACEBO};
use crate::engine::passes::Pass;
use crate::engine::pools::{Pools, Variant};
use crate::engine::prepare::{Prepared, Signs, prepare, read_tail, tail_start};
use crate::engine::slopes::{self, OwnBasis, Slopes, SlopesPass};
use crate::engine::statistics::{CoinStatistics, Stage, Statistics, placebo_signs};
use crate::engine::survey::{Coin, Failed, Survey};
use crate::engine::tape::{CoinTape, FoldRecord, hedged, policy_grid, position_size, record};
use crate::engine::{Engine, EngineError, Market};
use crate::jobs::checkpoint;
use crate::scratch::ScratchError;
use crate::settings::Settings;
use faer::{Accum, ColRef, Mat, Par};
use huracan_core::costs::spread::SPREAD_MIN_BPS;
use huracan_core::costs::{self, CostModel};
use huracan_core::labels::LabelKind;
use huracan_core::regime::{self, Regime, RegimeRules};
use huracan_core::series::Series;
use huracan_core::trial::plan::Plan;
use huracan_core::trial::simulate::{FullLedger, Policy, Totals, simulate};
use huracan_core::words::{Market as MarketKind, UtcMs};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Lanes whose trades are kept whole: those of the label and, last, the pooled head alone.
pub const KEPT: usize = PLACEBO + 1;
/// Position of the pooled head among the kept lanes.
pub const POOLED: usize = PLACEBO;

/// How the score of one lane goes with the label over some rows, both about their training means.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ScoreSums {
    /// Rows.
    pub n: f64,
    /// Σ score².
    pub score: f64,
    /// Σ score·label.
    pub both: f64,
    /// Σ label².
    pub label: f64,
}

impl ScoreSums {
    /// Adds other rows.
    pub fn add(&mut self, other: &ScoreSums, weight: f64) {
        self.n += weight * other.n;
        self.score += weight * other.score;
        self.both += weight * other.both;
        self.label += weight * other.label;
    }

    /// Product-moment correlation; `None` when either side is zero.
    pub fn correlation(&self) -> Option<f64> {
        let scale = (self.score * self.label).sqrt();
        (scale > 0.0).then(|| self.both / scale)
    }
}

/// Everything the trial learnt about one coin.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct CoinTrial {
    /// Validation totals: `[fold][lane, pooled head last][policy]`; final fold included.
    pub validation: Vec<Vec<Vec<Totals>>>,
    /// Scores against the label on validation: `[fold][lane of the label]`; final fold included.
    pub validation_scores: Vec<Vec<ScoreSums>>,
    /// The same on the test span: `[fold][lane of the label]`.
    pub test_scores: Vec<Vec<ScoreSums>>,
    /// Test totals of the placebos: `[fold][placebo][policy]`.
    pub placebos: Vec<Vec<Vec<Totals>>>,
    /// Test records of the kept lanes: `[fold][kept lane][policy]`.
    pub records: Vec<Vec<Vec<FoldRecord>>>,
    /// Per fold: bars judged, correlation of the deployed lane, costs as charged.
    pub folds: Vec<FoldFacts>,
    /// Heads of the final fit, per lane of the label.
    pub heads: Vec<Option<FinalHead>>,
    /// Buy-and-hold over the judged bars, percent.
    pub buy_and_hold_pct: f64,
    /// Share of the judged bars in each regime, in the order of [`Regime::ALL`].
    pub regime_shares: Vec<f64>,
    /// Regime at the last bar.
    pub regime: Regime,
}

/// Facts of one coin in one fold.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct FoldFacts {
    /// Bars that could be traded.
    pub bars: usize,
    /// Mean one-side cost as charged, bps; hedge included where hedged.
    pub one_side_bps: f64,
    /// Training rows.
    pub train_rows: f64,
}

/// Scores, labels and returns of all coins over the test span: O(coins), in f32.
pub struct Panel {
    /// Times (grid positions from the test start).
    pub times: usize,
    /// Coins.
    pub coins: usize,
    /// Horizons, in bars.
    pub horizons: Vec<usize>,
    /// Pooled score per horizon, `[time × coins + coin]`, NaN where none.
    pub scores: Vec<Vec<f32>>,
    /// Labels, same shape.
    pub labels: Vec<Vec<f32>>,
    /// One-bar returns in bps, same shape.
    pub returns_bps: Vec<f32>,
    /// One-side cost in bps without hedge, per fold and coin; NaN where none.
    pub one_side_bps: Vec<Vec<f32>>,
}

/// All coins' trials.
pub struct Trials {
    /// One per coin of the survey; `None` where the job failed or the coin had no fold.
    pub coins: Vec<Option<CoinTrial>>,
    /// Lanes of the label that were tried and could be made.
    pub tried: Vec<Lane>,
    /// Cross-sections over the test span.
    pub panel: Panel,
    /// Coins whose job broke.
    pub failed: Vec<Failed>,
}

/// What a coin's job hands back.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct Work {
    trial: Option<CoinTrial>,
    scores: Vec<Vec<f32>>,
    labels: Vec<Vec<f32>>,
    returns: Vec<f32>,
    one_side: Vec<f32>,
}

/// What a tested fold says of a coin.
#[derive(serde::Serialize, serde::Deserialize)]
struct Tested {
    placebos: Vec<Vec<Totals>>,
    records: Vec<Vec<FoldRecord>>,
    facts: FoldFacts,
    scores: Vec<ScoreSums>,
    rows: Option<PanelRows>,
}

/// A coin's part of the panel over one fold.
#[derive(serde::Serialize, serde::Deserialize)]
struct PanelRows {
    /// Time of the first.
    first: usize,
    returns: Vec<f32>,
    /// Per horizon.
    scores: Vec<Vec<f32>>,
    labels: Vec<Vec<f32>>,
    one_side: f32,
}

impl Tested {
    fn into_trial(self, fold: usize, trial: &mut CoinTrial, work: &mut Work) {
        trial.placebos.push(self.placebos);
        trial.records.push(self.records);
        trial.folds.push(self.facts);
        trial.test_scores.push(self.scores);
        let Some(rows) = self.rows else { return };
        let place = |to: &mut [f32], from: &[f32]| {
            to.iter_mut().skip(rows.first).zip(from).for_each(|(to, from)| *to = *from);
        };
        place(&mut work.returns, &rows.returns);
        work.scores.iter_mut().zip(&rows.scores).for_each(|(to, from)| place(to, from));
        work.labels.iter_mut().zip(&rows.labels).for_each(|(to, from)| place(to, from));
        work.one_side[fold] = rows.one_side;
    }
}

/// What follows from pools and plan and is the same for every coin.
pub(super) struct Tables {
    lanes: Vec<Vec<LaneFold>>,
    candidates: Vec<Variant>,
    signs: Vec<Signs>,
    pooled_heads: Vec<Vec<Vec<f64>>>,
    times: usize,
}

impl Tables {
    pub(super) fn new(settings: &Settings, plan: &Plan, pools: &Pools) -> Tables {
        Tables {
            lanes: (0..plan.folds.len()).map(|f| lanes::lanes(settings, pools, f)).collect(),
            candidates: slopes::unpooled_variants(settings),
            signs: placebo_signs(settings),
            pooled_heads: pooled_heads(settings, plan, pools),
            times: ((plan.test_end.0 - plan.test_start.0) / settings.timeframe.ms()) as usize,
        }
    }
}

/// What a coin's job reads.
pub(super) struct TrialPass<'a> {
    pub(super) engine: &'a Engine<'a>,
    pub(super) survey: &'a Survey,
    pub(super) market: &'a Market,
    pub(super) plan: &'a Plan,
    pub(super) statistics: &'a Statistics,
    pub(super) pools: &'a Pools,
    pub(super) extra: &'a Extra,
    pub(super) slopes: &'a Slopes,
    pub(super) tables: &'a Tables,
}

impl Pass for TrialPass<'_> {
    type Done = Option<Work>;
    const STAGE: &'static str = "trial";

    fn job(&self, item: usize) -> Result<Option<Work>, ScratchError> {
        match &self.statistics.coins[item] {
            Some(known) if self.slopes.fitted[item] => {
                self.coin(item, &self.survey.coins[item], known).map(Some)
            }
            _ => Ok(None),
        }
    }
}

/// Runs the pass.
///
/// # Errors
/// When interrupted or the scratch disk fails.
pub fn trials(
    engine: &Engine<'_>,
    survey: &Survey,
    market: &Market,
    plan: &Plan,
    statistics: &Statistics,
    pools: &Pools,
    extra: &Extra,
    slopes: &Slopes,
) -> Result<Trials, EngineError> {
    let settings = engine.settings;
    let horizons = settings.horizons();
    let coins = survey.coins.len();
    let tables = Tables::new(settings, plan, pools);
    let pass = TrialPass { engine, survey, market, plan, statistics, pools, extra, slopes, tables: &tables };
    let times = tables.times;
    let blank = || vec![f32::NAN; times * coins];
    let mut panel = Panel {
        times,
        coins,
        scores: horizons.iter().map(|_| blank()).collect(),
        labels: horizons.iter().map(|_| blank()).collect(),
        returns_bps: blank(),
        one_side_bps: vec![vec![f32::NAN; coins]; plan.tested().len()],
        horizons,
    };
    let mut out = Vec::with_capacity(coins);
    let mut failed = Vec::new();
    let mut disk: Option<ScratchError> = None;
    let names = survey.names();
    engine.observer.stage_started("trial", coins);
    engine.pass(&pass, &names, |i, result| {
        engine.observer.stage_advanced("trial", i + 1, &names[i]);
        match result {
            Ok(Ok(Some(work))) => {
                for t in 0..times {
                    let at = t * coins + i;
                    panel.returns_bps[at] = work.returns[t];
                    for h in 0..panel.horizons.len() {
                        panel.scores[h][at] = work.scores[h][t];
                        panel.labels[h][at] = work.labels[h][t];
                    }
                }
                for (fold, &cost) in work.one_side.iter().enumerate() {
                    panel.one_side_bps[fold][i] = cost;
                }
                out.push(work.trial);
            }
            Ok(Ok(None)) => out.push(None),
            Ok(Err(error)) => {
                disk = Some(error);
                out.push(None);
            }
            Err(fault) => {
                failed.push(Failed::new(names[i].clone(), "trial", fault));
                out.push(None);
            }
        }
    })?;
    match disk {
        Some(error) => Err(error.into()),
        None => {
            let made = |lane: &Lane| lane.is_tried(settings) && (lane.is_linear() || extra.is_made(*lane));
            let tried = Lane::ALL.into_iter().filter(made).collect();
            Ok(Trials { coins: out, tried, panel, failed })
        }
    }
}

/// Per tested fold and horizon, the pooled head of the cross-section: weights over own-scaled
/// features, then over those in common units.
fn pooled_heads(settings: &Settings, plan: &Plan, pools: &Pools) -> Vec<Vec<Vec<f64>>> {
    let horizons = settings.horizons().len();
    (0..plan.tested().len())
        .map(|fold| {
            let pool = &pools.levels[fold];
            (0..horizons)
                .map(|h| {
                    let chosen = &pools.choices[fold].level[h];
                    let heads = huracan_core::heads::pooled::ridge_in_basis(
                        &pool.basis,
                        &pool.moments.cross,
                        chosen.variant.lambda,
                        chosen.variant.codes.count(),
                    );
                    (0..heads.nrows()).map(|i| over(heads[(i, h)], pool.deviation[i])).collect()
                })
                .collect()
        })
        .collect()
}

/// Rows of a coin as they are judged: its last ones, or all of them.
struct Scene<'a> {
    prepared: Prepared,
    tape: CoinTape,
    /// The whole series, and where in it the rows begin.
    history: &'a Series,
    first: usize,
}

/// A coin's rows, made or read when they are first needed.
struct CoinRows<'a> {
    pass: &'a TrialPass<'a>,
    index: usize,
    known: &'a CoinStatistics,
    series: &'a Series,
    tape: CoinTape,
    all: Option<Scene<'a>>,
    tail: Option<Scene<'a>>,
}

impl<'a> CoinRows<'a> {
    fn new(
        pass: &'a TrialPass<'a>,
        index: usize,
        known: &'a CoinStatistics,
        series: &'a Series,
        signs: &[Signs],
    ) -> CoinRows<'a> {
        let tape = CoinTape::new(pass.engine.settings, pass.market, series, signs);
        CoinRows { pass, index, known, series, tape, all: None, tail: None }
    }

    /// All rows.
    fn all(&mut self) -> Result<&Scene<'a>, ScratchError> {
        self.scene(false)
    }

    /// Rows that a span of time is among.
    fn of(&mut self, span: (UtcMs, UtcMs)) -> Result<&Scene<'a>, ScratchError> {
        let is_late = span.0 >= tail_start(self.pass.plan);
        self.scene(is_late)
    }

    fn scene(&mut self, is_late: bool) -> Result<&Scene<'a>, ScratchError> {
        let pass = self.pass;
        let place = if is_late { &mut self.tail } else { &mut self.all };
        let made = match place.take() {
            Some(made) => made,
            None => {
                let prepared = if is_late {
                    read_tail(pass.engine, self.index, self.series, &self.known.scaler, pass.plan)?
                } else {
                    let scaler = Some(self.known.scaler.clone());
                    let (settings, units) = (pass.engine.settings, &pass.statistics.units);
                    prepare(settings, pass.market, pass.plan, units, self.series.clone(), scaler)
                };
                let first = self.series.len() - prepared.series.len();
                Scene { prepared, tape: self.tape.after(first), history: self.series, first }
            }
        };
        Ok(place.insert(made))
    }
}

impl TrialPass<'_> {
    fn coin(&self, index: usize, coin: &Coin, known: &CoinStatistics) -> Result<Work, ScratchError> {
        let settings = self.engine.settings;
        let series = coin.series(self.engine.scratch)?;
        let regimes = regime::tags(&series, &RegimeRules::default());
        let mut rows = CoinRows::new(self, index, known, &series, &self.tables.signs);
        let mut known = Known {
            index,
            statistics: known,
            grams: self.grams(index, known),
            priors: None,
            blocks: self.codes().blocks(index),
            own_basis: OwnBasis::default(),
            regimes,
        };
        let horizons = settings.horizons().len();
        let mut work = Work {
            trial: None,
            scores: vec![vec![f32::NAN; self.tables.times]; horizons],
            labels: vec![vec![f32::NAN; self.tables.times]; horizons],
            returns: vec![f32::NAN; self.tables.times],
            one_side: vec![f32::NAN; self.plan.tested().len()],
        };
        let mut trial = CoinTrial {
            validation: Vec::new(),
            validation_scores: Vec::new(),
            test_scores: Vec::new(),
            placebos: Vec::new(),
            records: Vec::new(),
            folds: Vec::new(),
            heads: vec![None; PLACEBO],
            buy_and_hold_pct: 0.0,
            regime_shares: vec![0.0; Regime::ALL.len()],
            regime: known.regimes.last().copied().unwrap_or(Regime::Unknown),
        };
        for (f, fold) in self.plan.folds.iter().enumerate() {
            checkpoint();
            let of_coin = |inputs| self.extra.of_coin(&coin.symbol, inputs);
            let digests = self.statistics.known.as_ref().filter(|_| fold.test.is_some());
            let key = digests.map(|known| known.fit_of("validation", f, index, of_coin));
            let (totals, scores) = self.cached(key, || {
                let heads = self.stage_heads(&mut known, f, Stage::Inner)?;
                let span = (fold.validation_start, fold.train_end);
                Ok(self.validate(&known, rows.of(span)?, heads.as_ref(), f, span))
            })?;
            trial.validation.push(totals);
            trial.validation_scores.push(scores);
            match fold.test {
                None => {
                    let heads = self.stage_heads(&mut known, f, Stage::Full)?;
                    trial.heads = self.final_heads(&known, heads.as_ref(), f)?;
                }
                Some(span) => {
                    let key = digests.and_then(|known| known.test_of("test", f, index, of_coin));
                    let tested = self.cached(key, || {
                        let heads = self.tested_heads(&mut known, f)?;
                        Ok(self.test(&known, rows.of(span)?, heads.as_ref(), f, span))
                    })?;
                    tested.into_trial(f, &mut trial, &mut work);
                }
            }
        }
        trial.buy_and_hold_pct = buy_and_hold(&series, self.plan);
        let (from, to) = rows_of(&series, (self.plan.test_start, self.plan.test_end));
        for regime in &known.regimes[from..to] {
            trial.regime_shares[regime.index()] += 1.0 / (to - from) as f64;
        }
        work.trial = Some(trial);
        Ok(work)
    }

    fn slopes_pass(&self) -> SlopesPass<'_> {
        let TrialPass { engine, survey, market, plan, statistics, pools, extra, tables, .. } = *self;
        let Tables { lanes, candidates, .. } = tables;
        SlopesPass { engine, survey, market, plan, statistics, pools, extra, lanes, candidates }
    }

    fn codes(&self) -> CodesPass<'_> {
        let TrialPass { engine, survey, market, plan, statistics, pools, extra, .. } = *self;
        CodesPass { engine, survey, market, plan, statistics, pools, extra }
    }

    fn grams<'a>(&'a self, index: usize, known: &'a CoinStatistics) -> CoinGrams<'a> {
        let shelf = self.statistics.shelf(self.engine, self.market, self.plan);
        shelf.of(index, &self.survey.coins[index], &known.scaler)
    }

    /// A piece of the trial, from another run where it was made there.
    fn cached<T: Serialize + DeserializeOwned>(
        &self,
        key: Option<Key>,
        make: impl FnOnce() -> Result<T, ScratchError>,
    ) -> Result<T, ScratchError> {
        let cache = self.engine.scratch.cache();
        if let Some(found) = key.as_ref().and_then(|key| cache.get(key)) {
            return Ok(found);
        }
        let made = make()?;
        key.iter().for_each(|key| cache.put(key, &made));
        Ok(made)
    }

    /// Scores of all lanes over rows `[from, to)`, rows × lanes, in label units, before what survived of
    /// them is asked.
    fn scores(
        &self,
        known: &Known<'_>,
        prepared: &Prepared,
        heads: &StageHeads,
        at: (usize, Stage),
        (from, to): (usize, usize),
    ) -> Mat<f64> {
        let p = self.statistics.p;
        let heads = &heads.heads;
        let b = Mat::from_fn(p + 1, heads.len(), |i, l| {
            let (weights, intercept) = &heads[l].row;
            if i < p { weights[i] } else { *intercept }
        });
        let rows = prepared.design.as_ref().subrows(from, to - from);
        let mut out = Mat::zeros(to - from, heads.len());
        faer::linalg::matmul::matmul(&mut out, Accum::Replace, rows, b.as_ref(), 1.0, Par::Seq);
        if self.extra.lanes().next().is_some() {
            let codes = self.extra.codes(self.pools, known.statistics, prepared, at, (from, to));
            for lane in self.extra.lanes().map(Lane::at) {
                for (c, &w) in heads[lane].code_weights.iter().enumerate().filter(|(_, w)| **w != 0.0) {
                    (0..to - from).for_each(|i| out[(i, lane)] += w * codes[(i, c)]);
                }
            }
        }
        out
    }

    /// Scores of every lane of the label against the label over `[from, to)`.
    fn score_sums(
        &self,
        prepared: &Prepared,
        scores: &Mat<f64>,
        label_mean: f64,
        (from, to): (usize, usize),
    ) -> Vec<ScoreSums> {
        let mut out = vec![ScoreSums::default(); PLACEBO];
        for i in from..to {
            let y = prepared.labels[0][i] - label_mean;
            if !prepared.usable[i] || y.is_nan() {
                continue;
            }
            for (lane, sums) in out.iter_mut().enumerate() {
                let s = scores[(i - from, lane)];
                sums.add(&ScoreSums { n: 1.0, score: s * s, both: s * y, label: y * y }, 1.0);
            }
        }
        out
    }

    /// Cost of one side at every bar of `[from, to)`, calibrated on bars before `from` only.
    fn one_side(&self, rows: &Scene<'_>, from: usize, to: usize) -> Option<(CostModel, Vec<f64>)> {
        let settings = self.engine.settings;
        let (prepared, series) = (&rows.prepared, &rows.prepared.series);
        let model = costs::calibrate(rows.history, rows.first + from, &settings.fees, &settings.costs)?;
        let hedge = if hedged(settings, series.symbol.market()) {
            self.hedge_side_bps(series.time(from))
        } else {
            0.0
        };
        let order = settings.costs.reference_order_usd;
        let side = |i: usize| {
            if series.close[i].is_nan() || prepared.sigma[i].is_nan() {
                return f64::NAN;
            }
            model.one_side_bps(order, 1e4 * prepared.sigma[i] / model.sigma_bar_bps) + hedge
        };
        let sides = (from..to).map(side).collect();
        Some((model, sides))
    }

    /// One side of the hedge at the hedge instrument's cost (Bitcoin's), known at `at`.
    fn hedge_side_bps(&self, at: UtcMs) -> f64 {
        let settings = self.engine.settings;
        let model = self.market.bitcoin.as_ref().and_then(|bitcoin| {
            costs::calibrate(bitcoin, bitcoin.index_at_or_after(at), &settings.fees, &settings.costs)
        });
        let fallback = || settings.fees.of(MarketKind::Perp).taker_bps + 0.5 * SPREAD_MIN_BPS;
        model.map_or_else(fallback, |m| m.one_side_bps(settings.costs.reference_order_usd, 1.0))
    }

    fn policies(&self, market: MarketKind) -> Vec<Policy> {
        let settings = self.engine.settings;
        policy_grid(settings)
            .into_iter()
            .map(|(entry_cost_multiple, exit_band)| Policy {
                entry_cost_multiple,
                exit_band,
                horizon_bars: settings.label.horizon_bars,
                lag_bars: settings.label.entry_lag_bars,
                shorts: market == MarketKind::Perp,
            })
            .collect()
    }

    /// Expected edges of a lane, bps: the part of its scores that survived validation.
    fn edges(&self, prepared: &Prepared, scores: ColRef<'_, f64>, survival: f64, from: usize) -> Vec<f64> {
        let root = (self.engine.settings.label.horizon_bars as f64).sqrt();
        let raw = self.engine.settings.label.kind == LabelKind::Raw;
        let edge = |(i, score): (usize, &f64)| {
            let row = from + i;
            if !prepared.usable[row] {
                return f64::NAN;
            }
            1e4 * survival * score * if raw { 1.0 } else { prepared.sigma[row] * root }
        };
        scores.iter().enumerate().map(edge).collect()
    }

    fn validate(
        &self,
        known: &Known<'_>,
        rows: &Scene<'_>,
        heads: Option<&StageHeads>,
        f: usize,
        span: (UtcMs, UtcMs),
    ) -> (Vec<Vec<Totals>>, Vec<ScoreSums>) {
        let settings = self.engine.settings;
        let thresholds = policy_grid(settings).len();
        let lanes = self.tables.lanes[f].len() + 1;
        let nothing =
            || (vec![vec![Totals::default(); thresholds]; lanes], vec![ScoreSums::default(); PLACEBO]);
        let Scene { prepared, tape, .. } = rows;
        let (from, to) = rows_of(&prepared.series, span);
        let Some(heads) = heads.filter(|_| from < to) else { return nothing() };
        let Some((model, sides)) = self.one_side(rows, from, to) else { return nothing() };
        let size = position_size(settings, &model);
        let scores = self.scores(known, prepared, heads, (f, Stage::Inner), (from, to));
        let policies = self.policies(prepared.series.symbol.market());
        let totals = (0..lanes).map(|lane| {
            checkpoint();
            let edge = self.edges(prepared, scores.col(lane), heads.heads[lane].survival, from);
            let view = tape.view(lane, from, to, &edge, &sides, size);
            let of = |policy: &Policy| {
                let mut totals = Totals::default();
                simulate(&view, policy, &mut totals);
                totals
            };
            policies.iter().map(of).collect()
        });
        let sums = self.score_sums(prepared, &scores, heads.label_mean, (from, to));
        (totals.collect(), sums)
    }

    fn test(
        &self,
        known: &Known<'_>,
        rows: &Scene<'_>,
        heads: Option<&StageHeads>,
        f: usize,
        span: (UtcMs, UtcMs),
    ) -> Tested {
        let settings = self.engine.settings;
        let thresholds = policy_grid(settings).len();
        let placebos = settings.placebos;
        let mut tested = Tested {
            placebos: vec![vec![Totals::default(); thresholds]; placebos],
            records: vec![vec![FoldRecord::default(); thresholds]; KEPT],
            facts: FoldFacts::default(),
            scores: vec![ScoreSums::default(); PLACEBO],
            rows: None,
        };
        let Scene { prepared, tape, first, .. } = rows;
        let (from, to) = rows_of(&prepared.series, span);
        let Some(heads) = heads.filter(|_| from < to) else { return tested };
        let Some((model, sides)) = self.one_side(rows, from, to) else { return tested };
        let size = position_size(settings, &model);
        checkpoint();
        tested.rows = self.panel_rows(known.statistics, prepared, tape, f, (from, to), &model);
        let scores = self.scores(known, prepared, heads, (f, Stage::Full), (from, to));
        let policies = self.policies(prepared.series.symbol.market());
        let first_day = self.plan.test_start.day();
        let lag = settings.label.entry_lag_bars;
        for lane in 0..scores.ncols() {
            checkpoint();
            let edge = self.edges(prepared, scores.col(lane), heads.heads[lane].survival, from);
            let view = tape.view(lane, from, to, &edge, &sides, size);
            for (k, policy) in policies.iter().enumerate() {
                let placebo = (PLACEBO..PLACEBO + placebos).contains(&lane).then(|| lane - PLACEBO);
                if let Some(placebo) = placebo {
                    simulate(&view, policy, &mut tested.placebos[placebo][k]);
                    continue;
                }
                let kept = if lane < PLACEBO { lane } else { POOLED };
                let mut ledger = FullLedger::default();
                simulate(&view, policy, &mut ledger);
                tested.records[kept][k] =
                    record(&ledger, prepared, &known.regimes[*first..], lag, from, first_day);
            }
        }
        let label_mean = heads.label_mean;
        tested.scores = self.score_sums(prepared, &scores, label_mean, (from, to));
        let tradable: Vec<f64> = sides.iter().copied().filter(|c| c.is_finite()).collect();
        tested.facts = FoldFacts {
            bars: tradable.len(),
            one_side_bps: tradable.iter().sum::<f64>() / tradable.len().max(1) as f64,
            train_rows: heads.rows,
        };
        tested
    }

    fn panel_rows(
        &self,
        known: &CoinStatistics,
        prepared: &Prepared,
        tape: &CoinTape,
        f: usize,
        (from, to): (usize, usize),
        model: &CostModel,
    ) -> Option<PanelRows> {
        let p = self.statistics.p;
        let (offset, ratio) = &known.own;
        // Both halves read the same design columns: the own scale is an affine map of the common one.
        let b = Mat::from_fn(p + 1, self.tables.pooled_heads[f].len(), |i, h| {
            let head = &self.tables.pooled_heads[f][h];
            let own = |i: usize| over(head[i], ratio[i]);
            if i < p { own(i) + head[p + i] } else { -(0..p).map(|i| own(i) * offset[i]).sum::<f64>() }
        });
        let scores = prepared.design.as_ref().subrows(from, to - from) * &b;
        let bar = self.plan.timeframe.ms();
        let first = ((prepared.series.time(from).0 - self.plan.test_start.0) / bar) as usize;
        let to = to.min(from + self.tables.times.saturating_sub(first));
        let of = |value: &dyn Fn(usize) -> f64| -> Vec<f32> {
            let shown = |i: usize| if prepared.usable[i] { value(i) as f32 } else { f32::NAN };
            (from..to).map(shown).collect()
        };
        let horizons = 0..b.ncols();
        Some(PanelRows {
            first,
            returns: (from..to).map(|i| tape.outright_bps[i] as f32).collect(),
            scores: horizons.clone().map(|h| of(&|i| scores[(i - from, h)])).collect(),
            labels: horizons.map(|h| of(&|i| prepared.labels[h][i])).collect(),
            one_side: model.one_side_bps(self.engine.settings.costs.reference_order_usd, 1.0) as f32,
        })
    }
}

fn rows_of(series: &Series, (from, to): (UtcMs, UtcMs)) -> (usize, usize) {
    (series.index_at_or_after(from), series.index_at_or_after(to))
}

fn buy_and_hold(series: &Series, plan: &Plan) -> f64 {
    let (from, to) = rows_of(series, (plan.test_start, plan.test_end));
    let present: Vec<f64> = series.close[from..to].iter().copied().filter(|c| c.is_finite()).collect();
    match (present.first(), present.last()) {
        (Some(first), Some(last)) => 100.0 * (last / first - 1.0),
        _ => 0.0,
    }
}
