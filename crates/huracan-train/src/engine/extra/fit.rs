//! Fits autoencoders and trees on rows sampled from all coins.

use super::super::passes::Pass;
use super::super::pools::{Pool, Pools};
use super::super::statistics::{Stage, Statistics, sample_name};
use super::super::survey::Survey;
use super::super::{Engine, EngineError};
use super::{Layout, Models, Trees, half, with_components};
use crate::jobs::checkpoint;
use crate::scratch::ScratchError;
use faer::Mat;
use huracan_core::encoder::{CodeMap, Encoder, autoencoder};
use huracan_core::heads::trees::{self, BinEdges, Binned, Ensemble, HeldOut, TreesSpec};
use huracan_core::trial::plan::Plan;
use huracan_core::words::UtcMs;

/// Sampled rows of all coins, by time.
pub(in crate::engine) struct Book {
    /// p × n: one column a row, own-scaled.
    rows: Mat<f32>,
    times: Vec<UtcMs>,
    labels: Vec<f64>,
    halves: Vec<u8>,
}

impl Book {
    pub(in crate::engine) fn read(
        engine: &Engine<'_>,
        survey: &Survey,
        statistics: &Statistics,
    ) -> Result<Book, ScratchError> {
        let p = statistics.p;
        let mut index: Vec<(UtcMs, u32, u32)> = Vec::new();
        let mut columns: Vec<Vec<f64>> = Vec::with_capacity(survey.coins.len());
        for (i, known) in statistics.coins.iter().enumerate() {
            let flat = if known.is_some() { engine.scratch.read(&sample_name(i))? } else { Vec::new() };
            let rows = flat.chunks_exact(p + 2).enumerate();
            index.extend(rows.map(|(r, row)| (UtcMs(row[0] as i64), i as u32, r as u32)));
            columns.push(flat);
        }
        index.sort_unstable();
        let row = |n: usize| {
            let (_, coin, r) = index[n];
            &columns[coin as usize][r as usize * (p + 2)..][..p + 2]
        };
        let halves: Vec<u8> = survey.coins.iter().map(|coin| half(coin.symbol.underlying()) as u8).collect();
        Ok(Book {
            rows: Mat::from_fn(p, index.len(), |j, n| row(n)[2 + j] as f32),
            times: index.iter().map(|(time, ..)| *time).collect(),
            labels: (0..index.len()).map(|n| row(n)[1]).collect(),
            halves: index.iter().map(|(_, coin, _)| halves[*coin as usize]).collect(),
        })
    }

    /// Number of rows before a moment.
    fn before(&self, moment: UtcMs) -> usize {
        self.times.partition_point(|t| *t < moment)
    }

    /// Rows of `span` in one half of the underlyings.
    fn of_half(&self, span: std::ops::Range<usize>, half: usize) -> Vec<usize> {
        span.filter(|&n| usize::from(self.halves[n]) == half).collect()
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

/// What every fit reads.
pub(in crate::engine) struct FitPass<'a> {
    pub(in crate::engine) engine: &'a Engine<'a>,
    pub(in crate::engine) plan: &'a Plan,
    pub(in crate::engine) pools: &'a Pools,
    pub(in crate::engine) book: &'a Book,
}

impl Pass for FitPass<'_> {
    type Done = Fitted;
    type Out = Fitted;
    const STAGE: &'static str = "encoders";

    fn job(&self, item: usize) -> Result<Fitted, ScratchError> {
        let FitPass { engine, plan, pools, book } = *self;
        Ok(match fits(engine, plan)[item] {
            Fit::Autoencoders => Fitted::Autoencoders(autoencoders_of(engine, plan, pools, book)),
            Fit::Trees { fold, half, components } => {
                Fitted::Trees(trees_of(engine, plan, pools, book, fold, half, components))
            }
        })
    }

    fn open(&self, _: usize, fitted: Fitted) -> Result<Fitted, ScratchError> {
        Ok(fitted)
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
    plan: &Plan,
    statistics: &Statistics,
    pools: &Pools,
    layout: Layout,
) -> Result<Models, EngineError> {
    let settings = engine.settings;
    let book = Book::read(engine, survey, statistics)?;
    let fits = fits(engine, plan);
    let names: Vec<String> = fits.iter().map(Fit::name).collect();
    let pass = FitPass { engine, plan, pools, book: &book };
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
        let stages = pairs.into_iter().flat_map(|pair| match pair {
            [Some([inner_0, full_0]), Some([inner_1, full_1])] => {
                [[inner_0, inner_1], [full_0, full_1]].map(|halves| Some(Trees { halves, components }))
            }
            _ => [None, None],
        });
        stages.collect()
    };
    let trees = if layout.trees { gather(0) } else { Vec::new() };
    let trees_coded = if layout.trees_coded { gather(settings.heads.trees_components) } else { Vec::new() };
    Ok(Models { autoencoders, epochs: epochs(plan).1, trees, trees_coded })
}

/// Moments until which autoencoders are fitted, ascending, each with the stage whose units it reads, and
/// for every stage (flat) which of them is its own: an inner head's ends where validation begins.
fn epochs(plan: &Plan) -> (Vec<(UtcMs, usize)>, Vec<usize>) {
    let ends = plan.folds.iter().enumerate().flat_map(|(f, fold)| {
        [(fold.validation_start, Stage::Inner.at(f)), (fold.train_end, Stage::Full.at(f))]
    });
    let ends: Vec<(UtcMs, usize)> = ends.collect();
    let mut distinct = ends.clone();
    distinct.sort_unstable();
    distinct.dedup_by_key(|(until, _)| *until);
    let of = ends.iter().map(|(until, _)| distinct.partition_point(|(other, _)| other < until));
    (distinct.clone(), of.collect())
}

/// One autoencoder an epoch, each warm from the one before; none where one fails.
fn autoencoders_of(engine: &Engine<'_>, plan: &Plan, pools: &Pools, book: &Book) -> Vec<Encoder> {
    let settings = engine.settings;
    let month = (settings.walk.inner_days * UtcMs::DAY as f64) as i64;
    let mut made: Vec<Encoder> = Vec::new();
    for (e, (until, stage)) in epochs(plan).0.into_iter().enumerate() {
        checkpoint();
        let pool = &pools.stages[stage];
        let end = book.before(until);
        let split = book.before(UtcMs(until.0 - month));
        let rows = standardised(pool, book, end);
        let warm = made.last().and_then(|encoder| match &encoder.map {
            CodeMap::Network(network) => Some(network),
            CodeMap::Linear(_) => None,
        });
        let seed = settings.seed.child("autoencoder", e as u64);
        let (learning, held) = (rows.get(.., ..split), rows.get(.., split..));
        let fit = |warm| autoencoder::train(&settings.encoder.autoencoder, learning, held, seed, warm);
        // One of another rank has another shape and starts anew.
        match fit(warm).or_else(|| fit(None)) {
            Some(trained) => made.push(Encoder::autoencoder(trained, &pool.deviation, until)),
            None => return Vec::new(),
        }
    }
    made
}

fn standardised(pool: &Pool, book: &Book, end: usize) -> Mat<f32> {
    let unit: Vec<f32> =
        pool.deviation.iter().map(|&d| if d > 0.0 { (1.0 / d) as f32 } else { 0.0 }).collect();
    Mat::from_fn(book.rows.nrows(), end, |j, n| book.rows[(j, n)] * unit[j])
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
    let plan_fold = &plan.folds[fold];
    // The last labelled row of a stage is before its last segment's end, purge included.
    let end_of = |stage: Stage| plan.edges[stage.segments(plan_fold).end];
    let inner_end = end_of(Stage::Inner);
    let held_from = UtcMs(inner_end.0 - days(settings.walk.inner_days));
    let window = settings.label.window_bars() as i64 * settings.timeframe.ms();
    let known_until = UtcMs(held_from.0 - days(settings.walk.embargo_days).max(window));
    let inner_pool = &pools.stages[Stage::Inner.at(fold)];
    let learning = book.of_half(0..book.before(known_until), 1 - half);
    let held = book.of_half(book.before(held_from)..book.before(inner_end), 1 - half);
    let (edges, rows) = binned(inner_pool, book, &learning, components)?;
    let held_rows = Binned::from_rows(&edges, inputs(inner_pool, book, &held, components).as_ref())?;
    let label = |picks: &[usize]| picks.iter().map(|&n| book.labels[n]).collect::<Vec<f64>>();
    let held_label = label(&held);
    let held_out = HeldOut { rows: &held_rows, target: &held_label, weight: None, init: None };
    let stopped = trees::fit(&rows, &label(&learning), None, None, Some(held_out), &spec)?;
    let rounds = stopped.rounds();
    drop((rows, held_rows));
    let fixed = TreesSpec { rounds, early_stop_rounds: None, ..spec };
    let again = |stage: Stage| {
        checkpoint();
        let picks = book.of_half(0..book.before(end_of(stage)), 1 - half);
        let (_, rows) = binned(&pools.stages[stage.at(fold)], book, &picks, components)?;
        trees::fit(&rows, &label(&picks), None, None, None, &fixed)
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
