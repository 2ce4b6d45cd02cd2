//! Fits autoencoders and trees on rows sampled from all coins.

use super::super::passes::Pass;
use super::super::pools::{Pool, Pools};
use super::super::statistics::{Stage, Statistics, StatisticsPass, sample_stride};
use super::super::survey::Survey;
use super::super::{Engine, EngineError, Market};
use super::{Layout, Models, Trees, half, with_components};
use crate::cache::{Inputs, Key};
use crate::jobs::checkpoint;
use crate::scratch::ScratchError;
use faer::Mat;
use huracan_core::encoder::{CodeMap, Encoder, autoencoder};
use huracan_core::heads::trees::{self, BinEdges, Binned, Ensemble, HeldOut, TreesSpec};
use huracan_core::trial::plan::Plan;
use huracan_core::words::UtcMs;
use std::sync::{Arc, Mutex, PoisonError};

/// Sampled rows of all coins, by time.
pub(in crate::engine) struct Book {
    /// p × n: one column a row, own-scaled.
    rows: Mat<f32>,
    times: Vec<UtcMs>,
    /// Bar start before which the scaler of the row's coin has seen rows.
    scaled_until: Vec<UtcMs>,
    /// When the row's coin became part of the market.
    member_from: Vec<UtcMs>,
    labels: Vec<f64>,
    halves: Vec<u8>,
}

impl Book {
    pub(in crate::engine) fn read(
        engine: &Engine<'_>,
        survey: &Survey,
        market: &Market,
        plan: &Plan,
        statistics: &Statistics,
    ) -> Result<Book, ScratchError> {
        let p = statistics.p;
        let known = statistics.known.as_ref();
        let source = StatisticsPass { engine, survey, market, plan, units: &statistics.units, known };
        let mut index: Vec<(UtcMs, u32, u32)> = Vec::new();
        let mut columns: Vec<Vec<f64>> = Vec::with_capacity(survey.coins.len());
        for (i, known) in statistics.coins.iter().enumerate() {
            checkpoint();
            let flat = known.as_ref().map(|known| source.sample(i, &known.scaler)).transpose()?;
            let flat = flat.unwrap_or_default();
            let rows = flat.chunks_exact(p + 2).enumerate();
            index.extend(rows.map(|(r, row)| (UtcMs(row[0] as i64), i as u32, r as u32)));
            columns.push(flat);
        }
        index.sort_unstable();
        let row = |n: usize| {
            let (_, coin, r) = index[n];
            &columns[coin as usize][r as usize * (p + 2)..][..p + 2]
        };
        let scaled_until: Vec<UtcMs> =
            statistics.coins.iter().map(|c| c.as_ref().map_or(UtcMs(i64::MAX), |c| c.scaled_until)).collect();
        let member_from: Vec<UtcMs> =
            survey.coins.iter().map(|coin| survey.member_from(engine.settings, coin)).collect();
        let halves: Vec<u8> = survey.coins.iter().map(|coin| half(coin.symbol.underlying()) as u8).collect();
        Ok(Book {
            rows: Mat::from_fn(p, index.len(), |j, n| row(n)[2 + j] as f32),
            times: index.iter().map(|(time, ..)| *time).collect(),
            scaled_until: index.iter().map(|(_, coin, _)| scaled_until[*coin as usize]).collect(),
            member_from: index.iter().map(|(_, coin, _)| member_from[*coin as usize]).collect(),
            labels: (0..index.len()).map(|n| row(n)[1]).collect(),
            halves: index.iter().map(|(_, coin, _)| halves[*coin as usize]).collect(),
        })
    }

    /// Rows in `[from, to)` of coins whose scaler has seen nothing from `scaled` on and that were part of the
    /// market by `member`.
    fn between(&self, from: UtcMs, to: UtcMs, scaled: UtcMs, member: UtcMs) -> impl Iterator<Item = usize> {
        let at = |moment: UtcMs| self.times.partition_point(|t| *t < moment);
        (at(from)..at(to)).filter(move |&n| self.scaled_until[n] <= scaled && self.member_from[n] <= member)
    }
}

/// One fit, or a chain of fits that start from one another.
enum Fit {
    Autoencoders,
    /// Trees of both stages of a fold for one half of the underlyings.
    Trees {
        fold: usize,
        half: usize,
        components: usize,
    },
}

impl Fit {
    fn name(&self) -> String {
        match self {
            Fit::Autoencoders => "autoencoder".to_owned(),
            Fit::Trees { fold, half, components: 0 } => {
                format!("trees, fold {}, half {}", fold + 1, half + 1)
            }
            Fit::Trees { fold, half, .. } => {
                format!("trees on codes, fold {}, half {}", fold + 1, half + 1)
            }
        }
    }
}

/// What a fit hands back.
#[derive(serde::Serialize, serde::Deserialize)]
pub(in crate::engine) enum Fitted {
    Autoencoders(Vec<Encoder>),
    Trees(Option<[Ensemble; 2]>),
}

/// The rows that fits read, read when the first fit needs them: none does where all are known from other
/// runs.
#[derive(Default)]
pub(in crate::engine) struct LazyBook(Mutex<Option<Arc<Book>>>);

impl LazyBook {
    fn get(&self, pass: &FitPass<'_>) -> Result<Arc<Book>, ScratchError> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(book) = &*held {
            return Ok(book.clone());
        }
        let book = Arc::new(Book::read(pass.engine, pass.survey, pass.market, pass.plan, pass.statistics)?);
        Ok(held.insert(book).clone())
    }
}

/// What every fit reads.
pub(in crate::engine) struct FitPass<'a> {
    pub(in crate::engine) engine: &'a Engine<'a>,
    pub(in crate::engine) survey: &'a Survey,
    pub(in crate::engine) market: &'a Market,
    pub(in crate::engine) plan: &'a Plan,
    pub(in crate::engine) statistics: &'a Statistics,
    pub(in crate::engine) pools: &'a Pools,
    pub(in crate::engine) book: &'a LazyBook,
}

impl Pass for FitPass<'_> {
    type Done = Fitted;
    const STAGE: &'static str = "encoders";

    fn job(&self, item: usize) -> Result<Fitted, ScratchError> {
        let FitPass { engine, plan, pools, .. } = *self;
        let fit = &fits(engine, plan)[item];
        let cache = engine.scratch.cache();
        let key = self.key(fit);
        if let Some(found) = key.as_ref().and_then(|key| cache.get(key)) {
            return Ok(found);
        }
        let book = &*self.book.get(self)?;
        let fitted = match *fit {
            Fit::Autoencoders => Fitted::Autoencoders(self.autoencoders(book)),
            Fit::Trees { fold, half, components } => {
                Fitted::Trees(trees_of(engine, plan, pools, book, fold, half, components))
            }
        };
        key.iter().for_each(|key| cache.put(key, &fitted));
        Ok(fitted)
    }
}

impl FitPass<'_> {
    fn stride(&self) -> usize {
        sample_stride(self.engine.settings, self.survey, self.plan)
    }

    /// The key of a fit among the pieces of other runs.
    fn key(&self, fit: &Fit) -> Option<Key> {
        let known = self.statistics.known.as_ref()?;
        let last = self.plan.folds.len().checked_sub(1)?;
        let stride = self.stride();
        Some(match fit {
            Fit::Autoencoders => known.frozen("autoencoders", |inputs| inputs.number(stride as i64)),
            Fit::Trees { fold, half, components } => {
                let of = |inputs: Inputs| {
                    let units = Stage::ALL.map(|stage| tree_units(self.plan, *fold, stage));
                    let parts = [stride, *fold, *half, *components, units[0], units[1]];
                    parts.into_iter().fold(inputs, |inputs, part| inputs.number(part as i64))
                };
                if *fold == last { known.frozen("trees", of) } else { known.fit("trees", *fold, of) }
            }
        })
    }
}

/// Every fit of a run, in order.
fn fits(engine: &Engine<'_>, plan: &Plan) -> Vec<Fit> {
    let layout = Layout::of(engine.settings);
    let mut fits = Vec::new();
    if layout.codes > 0 {
        fits.push(Fit::Autoencoders);
    }
    let coded = [(layout.trees, 0), (layout.trees_coded, engine.settings.heads.trees_components)];
    for components in coded.into_iter().filter(|(wanted, _)| *wanted).map(|(_, components)| components) {
        for fold in 0..plan.folds.len() {
            fits.extend([0, 1].map(|half| Fit::Trees { fold, half, components }));
        }
    }
    fits
}

/// Fits everything the layout asks for. A map that cannot be fitted is left out.
///
/// # Errors
/// When interrupted or the scratch disk fails.
pub(super) fn models(
    engine: &Engine<'_>,
    survey: &Survey,
    market: &Market,
    plan: &Plan,
    statistics: &Statistics,
    pools: &Pools,
    layout: Layout,
) -> Result<Models, EngineError> {
    let settings = engine.settings;
    let fits = fits(engine, plan);
    let names: Vec<String> = fits.iter().map(Fit::name).collect();
    let pass = FitPass { engine, survey, market, plan, statistics, pools, book: &LazyBook::default() };
    let mut disk = None;
    let mut autoencoders = Vec::new();
    let mut fitted: Vec<Option<[Ensemble; 2]>> = Vec::new();
    engine.observer.stage_started("encoders", names.len());
    engine.pass(&pass, &names, |i, result| {
        engine.observer.stage_advanced("encoders", i + 1, &names[i]);
        match result {
            Ok(Ok(Fitted::Autoencoders(made))) => autoencoders = made,
            Ok(Ok(Fitted::Trees(made))) => fitted.push(made),
            Ok(Err(error)) => disk = Some(error),
            Err(fault) => {
                engine.scratch.cache().close();
                engine.observer.note(&format!("{} could not be fitted: {fault}", names[i]));
                if matches!(fits[i], Fit::Trees { .. }) {
                    fitted.push(None);
                }
            }
        }
    })?;
    if let Some(error) = disk {
        return Err(EngineError::Scratch(error));
    }
    let mut fitted = fitted.into_iter();
    let mut gather = |components: usize| -> Vec<Option<Trees>> {
        let pairs: Vec<[Option<[Ensemble; 2]>; 2]> =
            (0..plan.folds.len()).map(|_| [fitted.next().flatten(), fitted.next().flatten()]).collect();
        let stages = pairs.into_iter().enumerate().flat_map(|(fold, pair)| match pair {
            [Some([inner_0, full_0]), Some([inner_1, full_1])] => {
                let [inner, full] = Stage::ALL.map(|stage| tree_units(plan, fold, stage));
                [([inner_0, inner_1], inner), ([full_0, full_1], full)]
                    .map(|(halves, units)| Some(Trees { halves, components, units }))
            }
            _ => [None, None],
        });
        stages.collect()
    };
    let trees = if layout.trees { gather(0) } else { Vec::new() };
    let trees_coded = if layout.trees_coded { gather(settings.heads.trees_components) } else { Vec::new() };
    Ok(Models { autoencoders, epochs: epochs(plan).1, trees, trees_coded })
}

/// The latest stage (flat) of a tested fold whose pool knows nothing from `moment` on: whose units the
/// final fit's maps read.
fn units_before(plan: &Plan, moment: UtcMs) -> usize {
    let ends = plan.tested().iter().enumerate().flat_map(|(f, fold)| {
        [(fold.inner_train_end, Stage::Inner.at(f)), (fold.train_end, Stage::Full.at(f))]
    });
    ends.filter(|(end, _)| *end <= moment).max().map_or(0, |(_, stage)| stage)
}

/// Stage (flat) whose units the trees of a stage read.
fn tree_units(plan: &Plan, fold: usize, stage: Stage) -> usize {
    let is_final = plan.folds[fold].test.is_none();
    let known = match stage {
        Stage::Inner => plan.folds[fold].validation_start,
        Stage::Full => plan.frozen_end,
    };
    if is_final { units_before(plan, known) } else { stage.at(fold) }
}

/// When an autoencoder is fitted and on what.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Epoch {
    /// It sees rows before this moment.
    until: UtcMs,
    /// Stage (flat) whose units it reads.
    units: usize,
    /// Coins are left out whose scaler has seen this moment or later ones.
    scaled: UtcMs,
    /// Coins are left out that were not part of the market by then.
    member: UtcMs,
}

/// By when coins must be part of the market whose rows a fold's maps are fitted on: those of the final fit
/// stay the same for a week, whoever is admitted meanwhile.
fn member_by(plan: &Plan, fold: usize) -> UtcMs {
    if plan.folds[fold].test.is_some() { UtcMs(i64::MAX) } else { plan.frozen_end }
}

/// The autoencoders to fit, those of the tested folds by time and then the final fit's, and for every
/// stage (flat) which of them is its own. A tested fold's inner one ends where validation begins; the
/// final fit's inner heads read the latest of the tested folds that does not end later.
fn epochs(plan: &Plan) -> (Vec<Epoch>, Vec<usize>) {
    let ends = plan.tested().iter().enumerate().flat_map(|(f, fold)| {
        let scaled = plan.learning_ends(f)[1];
        [(fold.validation_start, Stage::Inner.at(f)), (fold.train_end, Stage::Full.at(f))]
            .map(|(until, units)| Epoch { until, units, scaled, member: member_by(plan, f) })
    });
    let ends: Vec<Epoch> = ends.collect();
    let mut distinct = ends.clone();
    distinct.sort_by_key(|epoch| (epoch.until, epoch.units));
    distinct.dedup_by_key(|epoch| epoch.until);
    let mut of: Vec<usize> = ends.iter().map(|e| distinct.partition_point(|d| d.until < e.until)).collect();
    if let Some(last) = plan.folds.last() {
        let known = distinct.partition_point(|epoch| epoch.until <= last.validation_start);
        let until = plan.learning_ends(plan.folds.len() - 1)[1];
        let units = units_before(plan, plan.frozen_end);
        of.extend([known.saturating_sub(1), distinct.len()]);
        distinct.push(Epoch { until, units, scaled: until, member: member_by(plan, plan.folds.len() - 1) });
    }
    (distinct, of)
}

/// The epoch from whose autoencoder that of another starts: the latest before it whose rows were not scaled
/// with later bars than its own.
fn warm_from(epochs: &[Epoch], at: usize) -> Option<usize> {
    epochs[..at].iter().rposition(|epoch| epoch.scaled <= epochs[at].scaled)
}

impl FitPass<'_> {
    /// One autoencoder an epoch, each warm from one before; none where one fails.
    fn autoencoders(&self, book: &Book) -> Vec<Encoder> {
        let FitPass { engine, plan, statistics, pools, .. } = *self;
        let (settings, cache, stride) = (engine.settings, engine.scratch.cache(), self.stride());
        let month = (settings.walk.inner_days * UtcMs::DAY as f64) as i64;
        let mut made: Vec<Encoder> = Vec::new();
        let epochs = epochs(plan).0;
        let epochs_tested = epochs.len() - 1;
        for (e, &Epoch { until, units, scaled, member }) in epochs.iter().enumerate() {
            checkpoint();
            // Those of the tested folds outlive a week.
            let key = statistics.known.as_ref().filter(|_| e < epochs_tested).map(|known| {
                known.fit("autoencoder", units / Stage::ALL.len(), |inputs| {
                    inputs.number(stride as i64).number(e as i64).number(until.0)
                })
            });
            if let Some(encoder) = key.as_ref().and_then(|key| cache.get(key)) {
                made.push(encoder);
                continue;
            }
            let pool = &pools.stages[units];
            let held_from = UtcMs(until.0 - month);
            let picks: Vec<usize> = book.between(UtcMs(i64::MIN), until, scaled, member).collect();
            let split = picks.partition_point(|&n| book.times[n] < held_from);
            let rows = standardised(pool, book, &picks);
            let warm = warm_from(&epochs, e).and_then(|from| match &made[from].map {
                CodeMap::Network(network) => Some(network),
                CodeMap::Linear(_) => None,
            });
            let seed = settings.seed.child("autoencoder", e as u64);
            let (learning, held) = (rows.get(.., ..split), rows.get(.., split..));
            let spec = &settings.encoder.autoencoder;
            let fit = |warm| autoencoder::train_watched(spec, learning, held, seed, warm, &checkpoint);
            // One of another rank has another shape and starts anew.
            match fit(warm).or_else(|| fit(None)) {
                Some(trained) => {
                    let encoder = Encoder::autoencoder(trained, &pool.deviation, until);
                    key.iter().for_each(|key| cache.put(key, &encoder));
                    made.push(encoder);
                }
                None => return Vec::new(),
            }
        }
        made
    }
}

fn standardised(pool: &Pool, book: &Book, picks: &[usize]) -> Mat<f32> {
    let unit: Vec<f32> =
        pool.deviation.iter().map(|&d| if d > 0.0 { (1.0 / d) as f32 } else { 0.0 }).collect();
    Mat::from_fn(book.rows.nrows(), picks.len(), |j, n| book.rows[(j, picks[n])] * unit[j])
}

/// Trees of a fold for the coins of one half, fitted on those of the other: the inner ones with early
/// stopping on the last month of their training, the full ones with as many rounds.
fn trees_of(
    engine: &Engine<'_>,
    plan: &Plan,
    pools: &Pools,
    book: &Book,
    fold: usize,
    half: usize,
    components: usize,
) -> Option<[Ensemble; 2]> {
    let settings = engine.settings;
    let spec = settings.heads.trees.as_ref()?;
    let spec =
        TreesSpec { seed: settings.seed.child("trees", 2 * fold as u64 + half as u64), ..spec.clone() };
    let days = |d: f64| (d * UtcMs::DAY as f64) as i64;
    let member = member_by(plan, fold);
    let ends @ [inner_end, full_end] = plan.learning_ends(fold);
    let held_from = UtcMs(inner_end.0 - days(settings.walk.inner_days));
    let window = settings.label.window_bars() as i64 * settings.timeframe.ms();
    let known_until = UtcMs(held_from.0 - days(settings.walk.embargo_days).max(window));
    let pool_of = |stage: Stage| &pools.stages[tree_units(plan, fold, stage)];
    let inner_pool = pool_of(Stage::Inner);
    let of_half = |from: UtcMs, to: UtcMs| -> Vec<usize> {
        let other = |n: &usize| usize::from(book.halves[*n]) != half;
        book.between(from, to, full_end, member).filter(other).collect()
    };
    let (start, held) = (UtcMs(i64::MIN), of_half(held_from, inner_end));
    let learning = of_half(start, known_until);
    checkpoint();
    let (edges, rows) = binned(inner_pool, book, &learning, components)?;
    let held_rows = Binned::from_rows(&edges, inputs(inner_pool, book, &held, components).as_ref())?;
    let label = |picks: &[usize]| picks.iter().map(|&n| book.labels[n]).collect::<Vec<f64>>();
    let held_label = label(&held);
    checkpoint();
    let held_out = HeldOut { rows: &held_rows, target: &held_label, weight: None, init: None };
    let stopped =
        trees::fit_watched(&rows, &label(&learning), None, None, Some(held_out), &spec, &checkpoint)?;
    let rounds = stopped.rounds();
    drop((rows, held_rows));
    let fixed = TreesSpec { rounds, early_stop_rounds: None, ..spec };
    let again = |stage: Stage| {
        checkpoint();
        let picks = of_half(start, ends[stage as usize]);
        let (_, rows) = binned(pool_of(stage), book, &picks, components)?;
        checkpoint();
        trees::fit_watched(&rows, &label(&picks), None, None, None, &fixed, &checkpoint)
    };
    Some([again(Stage::Inner)?, again(Stage::Full)?])
}

/// Rows of a pick as trees read them, n × (p + components).
fn inputs(pool: &Pool, book: &Book, picks: &[usize], components: usize) -> Mat<f64> {
    let p = book.rows.nrows();
    let z = Mat::from_fn(picks.len(), p, |i, j| f64::from(book.rows[(j, picks[i])]));
    with_components(pool, z.as_ref(), components)
}

fn binned(pool: &Pool, book: &Book, picks: &[usize], components: usize) -> Option<(BinEdges, Binned)> {
    let inputs = inputs(pool, book, picks, components);
    let edges = BinEdges::fit(inputs.as_ref());
    let rows = Binned::from_rows(&edges, inputs.as_ref())?;
    Some((edges, rows))
}

#[cfg(test)]
mod tests {
    use super::*;
    use huracan_core::trial::plan::WalkForward;
    use huracan_core::words::Timeframe;

    fn plan(inner_days: f64) -> Plan {
        let walk = WalkForward { folds: 4, fold_days: 30.0, embargo_days: 5.0, inner_days };
        Plan::new(&walk, Timeframe::H1, 25, UtcMs(0), UtcMs(400 * UtcMs::DAY), 30.0).unwrap()
    }

    #[test]
    fn no_autoencoder_starts_from_one_that_knows_later_bars() {
        for inner_days in [15.0, 30.0, 45.0, 75.0] {
            let (epochs, of) = epochs(&plan(inner_days));
            assert_eq!(of.len(), 10);
            for (e, epoch) in epochs.iter().enumerate() {
                let Some(from) = warm_from(&epochs, e) else { continue };
                assert!(from < e && epochs[from].until <= epoch.until && epochs[from].scaled <= epoch.scaled);
            }
            // The first of all has nobody to start from; where validation is longer than a fold, others have
            // not either.
            let chained = (1..epochs.len()).filter(|&e| warm_from(&epochs, e) == Some(e - 1)).count();
            assert_eq!(chained + 1 == epochs.len(), inner_days <= 30.0, "{inner_days}");
        }
    }
}
