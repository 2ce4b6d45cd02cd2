//! The slopes pass: the pooled head of every lane for every coin, made without its own underlying, and how
//! strongly the coin follows it. Statistics only, no rows.

use super::extra::pass::{CodesPass, CoinBlocks};
use super::extra::{self, Extra};
use super::grams::CoinGrams;
use super::known::Known;
use super::lanes::{Lane, LaneFold, lanes};
use super::passes::Pass;
use super::pools::{Codes, Pool, Pools, Variant, solve};
use super::statistics::{CoinStatistics, Stage, Statistics, rows_min};
use super::survey::{Failed, Survey};
use super::{Engine, EngineError, Market};
use crate::cache::Key;
use crate::jobs::checkpoint;
use crate::scratch::ScratchError;
use crate::settings::Settings;
use faer::Mat;
use huracan_core::encoder::Eigenbasis;
use huracan_core::gram::Moments;
use huracan_core::heads::pooled::leave_out;
use huracan_core::heads::slopes::{SlopeEstimate, SlopePrior};
use huracan_core::trial::plan::Plan;
use std::collections::BTreeMap;

/// What the slopes pass learnt: per (stage, lane) the prior of slopes over coins, and per fold and
/// lane how much of the pooled slope survived validation.
#[derive(serde::Serialize, serde::Deserialize)]
pub struct Slopes {
    /// Per stage (flat) and lane.
    pub priors: Vec<Vec<SlopePrior>>,
    /// Estimates per coin, stage (flat), lane.
    pub estimates: Vec<Vec<Vec<Option<SlopeEstimate>>>>,
    /// Per fold and lane, 0..1: from this fold's validation and those before it.
    pub survival: Vec<Vec<f64>>,
    /// The same from the validations before this fold's only, 1 for the first: what the inner heads
    /// are scaled by, because they are judged on this fold's.
    pub survival_before: Vec<Vec<f64>>,
    /// Per fold, what the heads that share no label are: over own features, over shared codes.
    pub unpooled: Vec<[Unpooled; 2]>,
    /// Whether the coin's pooled heads were written.
    pub fitted: Vec<bool>,
    /// Coins whose job broke.
    #[serde(skip)]
    pub failed: Vec<Failed>,
}

/// What validation chose for heads that share no label: one variant for all coins.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Unpooled {
    /// Codes and penalty.
    pub variant: Variant,
    /// Correlation with the label over all coins, mean over the validations so far.
    pub validation_ic: Option<f64>,
}

/// Scratch name of a coin's pooled heads of a fold.
fn prior_name(coin: usize, fold: usize) -> String {
    format!("prior-{coin}-{fold}")
}

type Row = Vec<Vec<Option<SlopeEstimate>>>;

/// Validation moments of one unpooled variant: label covariance of the score, score variance, label
/// variance.
type Agreement = [f64; 3];

/// What a coin's job hands back; its pooled heads are on scratch.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct Work {
    row: Row,
    /// `[fold][variant]`.
    unpooled: Vec<Vec<Agreement>>,
}

/// Runs the slopes pass: statistics only, no rows.
///
/// # Errors
/// When interrupted or the scratch disk fails.
pub fn slopes(
    engine: &Engine<'_>,
    survey: &Survey,
    market: &Market,
    plan: &Plan,
    statistics: &Statistics,
    pools: &Pools,
    extra: &Extra,
) -> Result<Slopes, EngineError> {
    let settings = engine.settings;
    let lanes: Vec<Vec<LaneFold>> = (0..plan.folds.len()).map(|f| lanes(settings, pools, f)).collect();
    let count = lanes[0].len();
    let candidates = unpooled_variants(settings);
    let mut failed = Vec::new();
    let mut fitted = vec![false; survey.coins.len()];
    let mut estimates = Vec::with_capacity(survey.coins.len());
    let mut agreement = vec![vec![[0.0; 3]; candidates.len()]; plan.folds.len()];
    let mut disk: Option<ScratchError> = None;
    engine.observer.stage_started("slopes", survey.coins.len());
    let (lanes_of, candidates_of) = (&lanes[..], &candidates[..]);
    let pass = SlopesPass {
        engine,
        survey,
        market,
        plan,
        statistics,
        pools,
        extra,
        lanes: lanes_of,
        candidates: candidates_of,
    };
    let nothing = || vec![vec![None; count]; pools.stages.len()];
    let names = survey.names();
    engine.pass(&pass, &names, |i, result| {
        engine.observer.stage_advanced("slopes", i + 1, &names[i]);
        match result {
            Ok(Ok(work)) => {
                fitted[i] = statistics.coins[i].is_some();
                let weight = statistics.coins[i].as_ref().map_or(0.0, |c| c.weight);
                for (sums, coin) in agreement.iter_mut().flatten().zip(work.unpooled.iter().flatten()) {
                    sums.iter_mut().zip(coin).for_each(|(sum, v)| *sum += weight * v);
                }
                estimates.push(work.row);
            }
            Ok(Err(error)) => {
                disk = Some(error);
                estimates.push(nothing());
            }
            Err(fault) => {
                engine.scratch.cache().close();
                failed.push(Failed::new(names[i].clone(), "slopes", fault));
                estimates.push(nothing());
            }
        }
    })?;
    if let Some(error) = disk {
        return Err(error.into());
    }
    let priors: Vec<Vec<SlopePrior>> = (0..pools.stages.len())
        .map(|stage| {
            (0..count)
                .map(|lane| {
                    let known: Vec<SlopeEstimate> =
                        estimates.iter().filter_map(|e: &Row| e[stage][lane]).collect();
                    SlopePrior::fit(&known)
                })
                .collect()
        })
        .collect();
    let slope_of = |f: usize, l: usize| match Lane::ALL.get(l) {
        Some(lane) if !lane.is_linear() => extra.choice(f, *lane).and_then(|c| c.validation_slope),
        _ => lanes[f][l].validation_slope.filter(|_| lanes[f][l].is_fitted),
    };
    let mut survival = survival(plan.folds.len(), count, &priors, &slope_of);
    let unpooled = choose_unpooled(&candidates, &agreement);
    for (f, chosen) in unpooled.iter().enumerate() {
        for (lane, (_, left)) in [Lane::Unpooled, Lane::UnpooledCodes].into_iter().zip(chosen) {
            survival[f][lane.at()] = *left;
        }
    }
    let mut survival_before = vec![vec![1.0; count]];
    survival_before.extend(survival.iter().take(survival.len().saturating_sub(1)).cloned());
    let unpooled = unpooled.into_iter().map(|chosen| chosen.map(|(choice, _)| choice)).collect();
    Ok(Slopes { priors, estimates, survival, survival_before, unpooled, failed, fitted })
}

/// How much of the training slope was left on the validations so far (this fold's and those before
/// it), between 0 and 1: the mean validation slope over the mean training slope.
fn survival(
    folds: usize,
    count: usize,
    priors: &[Vec<SlopePrior>],
    slope_of: &dyn Fn(usize, usize) -> Option<f64>,
) -> Vec<Vec<f64>> {
    (0..folds)
        .map(|fold| {
            (0..count)
                .map(|lane| {
                    let mut validation = 0.0;
                    let mut training = 0.0;
                    for f in 0..=fold {
                        if let Some(slope) = slope_of(f, lane) {
                            validation += slope;
                            training += priors[Stage::Inner.at(f)][lane].mean();
                        }
                    }
                    if training > 0.0 { (validation / training).clamp(0.0, 1.0) } else { 0.0 }
                })
                .collect()
        })
        .collect()
}

/// Candidates of the heads that share no label: no codes, then codes alone.
pub(super) fn unpooled_variants(settings: &Settings) -> Vec<Variant> {
    let mut shapes = vec![Codes::None];
    if Lane::UnpooledCodes.is_tried(settings) {
        shapes.extend(settings.encoder.components.iter().map(|&k| Codes::Pca(k)));
    }
    let every = shapes.into_iter().flat_map(|codes| {
        let alone = codes != Codes::None;
        settings.lambdas.iter().map(move |&lambda| Variant { codes, alone, lambda })
    });
    every.collect()
}

/// Per fold, the best without and with codes on the validations so far, and what survived of its slope.
fn choose_unpooled(candidates: &[Variant], agreement: &[Vec<Agreement>]) -> Vec<[(Unpooled, f64); 2]> {
    (0..agreement.len())
        .map(|fold| {
            let ic = |v: usize| {
                let seen = agreement[..=fold].iter().filter_map(|a| {
                    let [covariance, score, label] = a[v];
                    let scale = (score * label).sqrt();
                    (scale > 0.0).then(|| covariance / scale)
                });
                let (sum, n) = seen.fold((0.0, 0.0), |(s, n), ic| (s + ic, n + 1.0));
                (n > 0.0).then(|| sum / n)
            };
            let slope = |v: usize| {
                let (covariance, variance) =
                    agreement[..=fold].iter().fold((0.0, 0.0), |(c, s), a| (c + a[v][0], s + a[v][1]));
                if variance > 0.0 { (covariance / variance).clamp(0.0, 1.0) } else { 0.0 }
            };
            [false, true].map(|coded| {
                let fits = (0..candidates.len()).filter(|&v| (candidates[v].codes != Codes::None) == coded);
                let key = |v: usize| ic(v).unwrap_or(f64::NEG_INFINITY);
                // On a tie the heavier penalty, which comes later.
                let best = fits.reduce(|best, v| if key(v) >= key(best) { v } else { best }).unwrap_or(0);
                (Unpooled { variant: candidates[best], validation_ic: ic(best) }, slope(best))
            })
        })
        .collect()
}

/// A coin's own ridge, nothing shared but perhaps the codes: weights over standardised features.
pub fn unpooled_head(pool: &Pool, own: &Moments, variant: Variant) -> Option<Vec<f64>> {
    let cross = Mat::from_fn(own.mean.len(), 1, |i, _| own.cross[(i, 0)]);
    let w = pool.loadings(variant.codes, 0, None);
    let solved = solve(own, &cross, variant.lambda, w, variant.alone)?;
    Some((0..solved.nrows()).map(|i| solved[(i, 0)]).collect())
}

/// What is found out about a coin in one fold.
#[derive(serde::Serialize, serde::Deserialize)]
struct FoldWork {
    /// Estimates per stage and lane.
    rows: Row,
    /// Per unpooled variant.
    unpooled: Vec<Agreement>,
}

/// A coin's own principal components as the stages of its folds read them: a full head its own, an inner
/// head those of the full head before.
#[derive(Default)]
pub(super) struct OwnBasis {
    /// Stage (flat) that was looked at last, and its components.
    last: Option<(usize, Option<Eigenbasis>)>,
}

impl OwnBasis {
    /// Those of a stage. `own` are the coin's standardised moments there, `own_at` those of any stage: a
    /// stage before that was not looked at is looked up.
    pub(super) fn at(
        &mut self,
        fold: usize,
        stage: Stage,
        own: Option<&Moments>,
        own_at: &dyn Fn(usize, Stage) -> Result<Option<Moments>, ScratchError>,
    ) -> Result<Option<&Eigenbasis>, ScratchError> {
        let basis = |own: Option<&Moments>| own.and_then(|m| Eigenbasis::new(&m.cov));
        let of = |f: usize, stage: Stage| own_at(f, stage).map(|own| basis(own.as_ref())).transpose();
        let last = self.last.take();
        let before = || match last {
            Some((at, made)) if at + 1 == stage.at(fold) => Ok(made),
            // The last full head there is, or the first inner one.
            _ => {
                let full = (0..fold).rev().find_map(|f| of(f, Stage::Full));
                full.or_else(|| (0..fold).find_map(|f| of(f, Stage::Inner))).transpose()
            }
        };
        let made = match stage {
            Stage::Inner => match before()? {
                Some(made) => Some(made),
                None => basis(own),
            },
            Stage::Full => match basis(own) {
                Some(made) => Some(made),
                None => before()?,
            },
        };
        Ok(self.last.insert((stage.at(fold), made)).1.as_ref())
    }
}

/// What a coin's job reads.
pub(super) struct SlopesPass<'a> {
    pub(super) engine: &'a Engine<'a>,
    pub(super) survey: &'a Survey,
    pub(super) market: &'a Market,
    pub(super) plan: &'a Plan,
    pub(super) statistics: &'a Statistics,
    pub(super) pools: &'a Pools,
    pub(super) extra: &'a Extra,
    pub(super) lanes: &'a [Vec<LaneFold>],
    pub(super) candidates: &'a [Variant],
}

impl Pass for SlopesPass<'_> {
    type Done = Work;
    const STAGE: &'static str = "slopes";

    fn job(&self, item: usize) -> Result<Work, ScratchError> {
        match &self.statistics.coins[item] {
            Some(coin) => self.coin(item, coin),
            None => {
                let row = vec![vec![None; self.lanes[0].len()]; self.pools.stages.len()];
                Ok(Work { row, unpooled: Vec::new() })
            }
        }
    }
}

/// What a coin's folds are made of.
struct CoinFolds<'a> {
    coin: &'a CoinStatistics,
    grams: CoinGrams<'a>,
    blocks: CoinBlocks<'a>,
    /// Trained coins of the same underlying.
    twins: Vec<(&'a CoinStatistics, CoinGrams<'a>, CoinBlocks<'a>)>,
    own_basis: OwnBasis,
}

impl SlopesPass<'_> {
    fn coin(&self, index: usize, coin: &CoinStatistics) -> Result<Work, ScratchError> {
        let cache = self.engine.scratch.cache();
        let mut folds = self.folds(index, coin);
        let mut work = Work { row: Vec::new(), unpooled: Vec::with_capacity(self.plan.folds.len()) };
        for f in 0..self.plan.folds.len() {
            checkpoint();
            let key = self.key("slopes", index, f);
            let heads_key = self.key("slope heads", index, f);
            let found: Option<FoldWork> = key.as_ref().and_then(|key| cache.get(key));
            let found = found.filter(|_| heads_key.as_ref().is_some_and(|key| cache.has(key)));
            let made = match found {
                Some(found) => found,
                None => {
                    let (made, heads) = self.fold(&mut folds, f)?;
                    key.iter().for_each(|key| cache.put(key, &made));
                    if !heads_key.is_some_and(|key| cache.keeps(&key, &heads)) {
                        self.engine.scratch.write(&prior_name(index, f), &heads)?;
                    }
                    made
                }
            };
            work.row.extend(made.rows);
            work.unpooled.push(made.unpooled);
        }
        Ok(work)
    }

    /// The key of something of a coin's fold; `None` for the final fit's, and where nothing outlives a run.
    fn key(&self, kind: &'static str, index: usize, f: usize) -> Option<Key> {
        let known = Known::kept(self.statistics.known.as_ref(), self.engine.scratch.cache(), self.plan, f)?;
        let symbol = &self.survey.coins[index].symbol;
        Some(known.fit_of(kind, f, index, |inputs| self.extra.of_coin(symbol, inputs)))
    }

    /// A coin's pooled heads of a fold, both stages one after the other. What is gone is made again.
    ///
    /// # Errors
    /// When scratch cannot be read back.
    pub(super) fn priors(
        &self,
        index: usize,
        coin: &CoinStatistics,
        f: usize,
    ) -> Result<Vec<f64>, ScratchError> {
        let scratch = self.engine.scratch;
        let name = prior_name(index, f);
        let Some(key) = self.key("slope heads", index, f) else { return scratch.read(&name) };
        if let Some(found) = scratch.cache().get(&key) {
            return Ok(found);
        }
        if let Some(found) = scratch.look(&name)? {
            return Ok(found);
        }
        let (_, heads) = self.fold(&mut self.folds(index, coin), f)?;
        scratch.write(&name, &heads)?;
        Ok(heads)
    }

    fn folds<'a>(&'a self, index: usize, coin: &'a CoinStatistics) -> CoinFolds<'a> {
        let SlopesPass { engine, survey, market, plan, statistics, pools, extra, .. } = *self;
        let shelf = statistics.shelf(engine, market, plan);
        let codes = CodesPass { engine, survey, market, plan, statistics, pools, extra };
        let grams = |i: usize, coin: &'a CoinStatistics| shelf.of(i, &survey.coins[i], &coin.scaler);
        let twin = |&i: &usize| {
            let twin = statistics.coins[i].as_ref().filter(|_| i != index)?;
            Some((twin, grams(i, twin), codes.blocks(i)))
        };
        CoinFolds {
            coin,
            grams: grams(index, coin),
            blocks: codes.blocks(index),
            twins: coin.twins.iter().filter_map(twin).collect(),
            own_basis: OwnBasis::default(),
        }
    }

    /// One fold of a coin: what is found out, and its pooled heads without the coin's underlying, both
    /// stages one after the other.
    fn fold(&self, folds: &mut CoinFolds<'_>, f: usize) -> Result<(FoldWork, Vec<f64>), ScratchError> {
        let settings = self.engine.settings;
        let (p, needed) = (self.statistics.p, rows_min(settings));
        let fold = &self.plan.folds[f];
        let CoinFolds { coin, grams, blocks, twins, own_basis } = folds;
        let standardised = |moments: Option<Moments>, coin: &CoinStatistics, at: usize| {
            let deviation = &self.pools.stages[at].deviation;
            moments.map(|m| m.rescaled(&coin.own.0, &coin.own.1).standardised(deviation))
        };
        let own_at = |f: usize, stage: Stage| -> Result<Option<Moments>, ScratchError> {
            let own = grams.moments(stage.segments(&self.plan.folds[f]), needed)?;
            Ok(standardised(own, coin, stage.at(f)))
        };
        let mut made = FoldWork { rows: Vec::new(), unpooled: Vec::new() };
        let mut all_heads = Vec::new();
        for stage in Stage::ALL {
            checkpoint();
            let at = stage.at(f);
            let pool = &self.pools.stages[at];
            let segments = stage.segments(fold);
            let own = own_at(f, stage)?;
            let others: Vec<Option<Moments>> = twins
                .iter()
                .map(|(twin, grams, _)| {
                    checkpoint();
                    Ok(standardised(grams.moments(segments.clone(), needed)?, twin, at))
                })
                .collect::<Result<_, ScratchError>>()?;
            let mut members: Vec<(&Moments, f64)> = own.iter().map(|m| (m, coin.weight)).collect();
            for ((twin, ..), other) in twins.iter().zip(&others) {
                members.extend(other.iter().map(|m| (m, twin.weight)));
            }
            let is_read = self.lanes[f][Lane::OwnPca.at()].is_fitted;
            let basis = if is_read { own_basis.at(f, stage, own.as_ref(), &own_at)? } else { None };
            let rest = leave_out(&pool.moments, pool.weight, &members);
            let heads = prior_heads(pool, rest.as_ref(), basis, &self.lanes[f]);
            let mut row = estimate(settings, own.as_ref(), &heads, &self.lanes[f]);
            all_heads.extend(heads.into_iter().flat_map(|h| h.unwrap_or_else(|| vec![0.0; p])));
            let of_fold = blocks.fold(f)?;
            let mut with_blocks: Vec<(&Moments, f64, &extra::Blocks)> =
                own.iter().map(|m| (m, coin.weight, of_fold)).collect();
            for ((twin, _, blocks), other) in twins.iter().zip(&others) {
                let blocks = blocks.fold(f)?;
                with_blocks.extend(other.iter().map(|m| (m, twin.weight, blocks)));
            }
            let rows = self.extra.priors(settings, f, stage, self.pools, own.as_ref(), of_fold, &with_blocks);
            for (lane, head, slope) in rows {
                all_heads.extend(head);
                row[lane.at()] = slope;
            }
            made.rows.push(row);
            if stage == Stage::Inner {
                made.unpooled = self.unpooled_agreement(grams, f, coin, own.as_ref())?;
            }
        }
        Ok((made, all_heads))
    }

    /// Validation moments of every unpooled candidate of one coin in one fold.
    fn unpooled_agreement(
        &self,
        grams: &CoinGrams<'_>,
        f: usize,
        coin: &CoinStatistics,
        own: Option<&Moments>,
    ) -> Result<Vec<Agreement>, ScratchError> {
        let nothing = || vec![[0.0; 3]; self.candidates.len()];
        let pool = &self.pools.stages[Stage::Inner.at(f)];
        let quarter = rows_min(self.engine.settings) / 4.0;
        let judged = grams.moments(self.plan.folds[f].validation.clone(), quarter)?;
        let Some((own, judged)) = own.zip(judged) else { return Ok(nothing()) };
        let judged = judged.rescaled(&coin.own.0, &coin.own.1).standardised(&pool.deviation).targets(&[0]);
        let own = own.targets(&[0]);
        let judged = judged.about(&own);
        let agreement = |variant: &Variant| {
            checkpoint();
            let Some(head) = unpooled_head(pool, &own, *variant) else { return [0.0; 3] };
            [judged.score_covariance(&head, 0), judged.score_variance(&head), judged.var_y[0]]
        };
        Ok(self.candidates.iter().map(agreement).collect())
    }
}

/// The pooled head of every lane, without the coin's own underlying. Lanes with the same penalty
/// and codes share one factorisation. Falls back to the whole pool when nothing else is left.
fn prior_heads(
    pool: &Pool,
    rest: Option<&Moments>,
    own_basis: Option<&Eigenbasis>,
    lanes: &[LaneFold],
) -> Vec<Option<Vec<f64>>> {
    let moments = rest.unwrap_or(&pool.moments);
    let mut groups: BTreeMap<(Codes, bool, u64, usize), Vec<usize>> = BTreeMap::new();
    for (l, lane) in lanes.iter().enumerate().filter(|(_, lane)| lane.is_fitted) {
        let Variant { codes, alone, lambda } = lane.variant;
        let group = if matches!(codes, Codes::Rrr(_)) { lane.group } else { 0 };
        groups.entry((codes, alone, lambda.to_bits(), group)).or_default().push(l);
    }
    let mut heads = vec![None; lanes.len()];
    for ((codes, alone, lambda, group), members) in groups {
        checkpoint();
        let cross = Mat::from_fn(moments.mean.len(), members.len(), |i, j| {
            moments.cross[(i, lanes[members[j]].target)]
        });
        let w = pool.loadings(codes, group, own_basis);
        if let Some(solved) = solve(moments, &cross, f64::from_bits(lambda), w, alone) {
            for (j, &l) in members.iter().enumerate() {
                heads[l] = Some((0..solved.nrows()).map(|i| solved[(i, j)]).collect());
            }
        }
    }
    heads
}

fn estimate(
    settings: &Settings,
    own: Option<&Moments>,
    heads: &[Option<Vec<f64>>],
    lanes: &[LaneFold],
) -> Vec<Option<SlopeEstimate>> {
    let of =
        |(head, lane): (&Option<Vec<f64>>, &LaneFold)| slope(settings, own?, head.as_ref()?, lane.target);
    heads.iter().zip(lanes).map(of).collect()
}

/// How the coin's label goes with a head's score on its training rows.
pub fn slope(settings: &Settings, own: &Moments, head: &[f64], target: usize) -> Option<SlopeEstimate> {
    SlopeEstimate::new(
        own.score_variance(head),
        own.score_covariance(head, target),
        own.var_y[target],
        own.n / settings.label.horizon_bars as f64,
    )
}
