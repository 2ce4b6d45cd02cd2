//! The Engine: one run from candles to verdicts, as passes over the coins.
//!
//! ```text
//! survey      read, align, profile, costs, gates, universe        → series on scratch
//! context     market sums, cross-sections, BTC and ETH            → Market
//! statistics  features, labels, Grams per segment                 → Grams kept, pools
//! pools       encoder, pooled head, choices by inner validation   (no coin)
//! extra       autoencoder and trees on sampled rows; every coin's rows encoded
//! slopes      how strongly each coin follows the pooled head      (statistics only)
//! trial       features again, heads, scores, simulated trades
//! verdicts    lane and policy, metrics, significance, trade_ok, rank
//! explain     what every feature is worth, whether the last week looks like training
//! ```
//! Memory is O(workers × one coin) but for scores and daily returns of the out-of-sample span.
//! Nothing here writes to the store (`publish` does) or decides how many coins are traded.

pub mod book;
pub mod comparisons;
pub mod deploy;
pub mod experts;
pub mod extra;
pub mod grams;
#[cfg(test)]
mod increment;
pub mod known;
pub mod lanes;
mod merge;
pub mod passes;
pub mod pools;
pub mod prepare;
pub mod slopes;
pub mod statistics;
pub mod survey;
pub mod tape;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub mod trial;
pub mod verdicts;
pub mod work;

use self::known::{Bars, Known};
use crate::jobs::{Jobs, JobsError};
use crate::pipeline::meter::JobFacts;
use crate::pool::Interrupted;
use crate::scratch::{Scratch, ScratchError};
use crate::settings::Settings;
use crate::source::CandleSource;
use huracan_core::features::{self, ContextSums, MarketContext, Needs};
use huracan_core::labels::{MarketReturns, MarketSums};
use huracan_core::series::Series;
use huracan_core::trial::plan::{Plan, TooShort};
use huracan_core::words::UtcMs;
use std::sync::atomic::AtomicBool;

/// Who is told how far the run is. Stages and notes come from the coordinating thread, jobs from the
/// thread that runs them.
pub trait Observer: Sync {
    /// A pass begins, over `total` items.
    fn stage_started(&self, stage: &'static str, total: usize);
    /// `done` items are through; `detail` names the last.
    fn stage_advanced(&self, stage: &'static str, done: usize, detail: &str);
    /// A pass is over.
    fn stage_finished(&self, stage: &'static str);
    /// A sentence worth telling.
    fn note(&self, text: &str);
    /// The span an attempt at a coin's stage runs in.
    fn job_span(&self, _stage: &'static str, _symbol: &str, _attempt: u32) -> tracing::Span {
        tracing::Span::none()
    }
    /// An attempt at a coin's stage is over.
    fn job_finished(&self, _job: &JobFacts) {}
}

/// Nobody is told.
pub struct Silent;

impl Observer for Silent {
    fn stage_started(&self, _: &'static str, _: usize) {}
    fn stage_advanced(&self, _: &'static str, _: usize, _: &str) {}
    fn stage_finished(&self, _: &'static str) {}
    fn note(&self, _: &str) {}
}

/// What every pass is given.
pub struct Engine<'a> {
    /// The run's settings.
    pub settings: &'a Settings,
    /// Worker threads.
    pub workers: usize,
    /// The time it is; data after it are not believed.
    pub now: UtcMs,
    /// Raised to stop the run.
    pub stop: &'a AtomicBool,
    /// Local scratch.
    pub scratch: &'a Scratch,
    /// Who watches.
    pub observer: &'a dyn Observer,
    /// Who does the jobs.
    pub jobs: &'a dyn Jobs,
}

/// Why a run could not be carried out at all. What concerns one coin is data, not an error.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Stopped on request.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// The scratch disk failed.
    #[error(transparent)]
    Scratch(#[from] ScratchError),
    /// The candles do not reach far enough back.
    #[error(transparent)]
    TooShort(#[from] TooShort),
    /// No series could be read at all.
    #[error("none of {entries} candle series could be read{}", example.as_ref().map(|e| format!("; the first: {e}")).unwrap_or_default())]
    NothingReadable {
        /// Entries looked at.
        entries: usize,
        /// What was wrong with the first.
        example: Option<String>,
    },
    /// Every coin failed its data gates.
    #[error("none of {skipped} coins passed the data gates for training; `huracan data check` shows why")]
    NothingTrainable {
        /// Coins skipped.
        skipped: usize,
    },
    /// A symbol was asked for that the source does not have.
    #[error("{symbol} is not among the candles; `huracan data check` lists what is")]
    UnknownSymbol {
        /// The symbol.
        symbol: String,
    },
    /// No coin has enough training rows in some fold.
    #[error(
        "the pooled statistics of a fold are empty or unsound; coins need {days} days of labelled rows before it: \
         give more history or fewer folds, and look at `huracan data check`"
    )]
    EmptyPool {
        /// Days needed.
        days: f64,
    },
    /// The clock stands before the data.
    #[error("the clock says {now}, but {coins} series have bars after that; set the clock or give --until")]
    ClockBehind {
        /// The clock.
        now: UtcMs,
        /// Series with bars after it.
        coins: usize,
    },
    /// The record or the queue of jobs cannot be used.
    #[error(transparent)]
    Jobs(#[from] JobsError),
    /// The market context could not be made.
    #[error("market context: {0}")]
    Context(#[from] features::ContextError),
    /// An encoder would have been tested on rows it was fitted on: a broken plan.
    #[error(transparent)]
    SeenData(#[from] huracan_core::encoder::SeenData),
    /// The relative label needs a market to be relative to.
    #[error(
        "the relative label needs at least {needed} coins, found {found}; add candles or set labels.kind to scaled"
    )]
    TooFewCoins {
        /// Coins found.
        found: usize,
        /// Coins needed.
        needed: usize,
    },
}

impl EngineError {
    /// Stable code for scripts.
    pub fn code(&self) -> &'static str {
        match self {
            EngineError::Interrupted(_) => "interrupted",
            EngineError::Scratch(_) => "scratch_failed",
            EngineError::TooShort(_) => "history_too_short",
            EngineError::NothingReadable { .. } => "nothing_readable",
            EngineError::NothingTrainable { .. } => "nothing_trainable",
            EngineError::UnknownSymbol { .. } => "unknown_symbol",
            EngineError::EmptyPool { .. } => "empty_pool",
            EngineError::ClockBehind { .. } => "clock_behind_data",
            EngineError::Jobs(error) => error.code,
            EngineError::Context(_) => "market_context",
            EngineError::SeenData(_) => "encoder_has_seen_the_test",
            EngineError::TooFewCoins { .. } => "too_few_coins",
        }
    }
}

/// Fewest coins a relative label makes sense with.
pub const RELATIVE_COINS_MIN: usize = 5;

/// Names of what workers elsewhere are told, in the order in which a run finds it out.
pub mod part {
    /// Survey, market, plan and common units.
    pub const BASE: &str = "base";
    /// What the statistics pass keeps of every coin.
    pub const STATISTICS: &str = "statistics";
    /// Pools, linear encoders and choices.
    pub const POOLS: &str = "pools";
    /// Autoencoders and trees.
    pub const MODELS: &str = "models";
    /// The same with pools and choices of their codes.
    pub const EXTRA: &str = "extra";
    /// How strongly coins follow their pooled heads.
    pub const SLOPES: &str = "slopes";
    /// What the verdicts said.
    pub const JUDGED: &str = "judged";
    /// Limits that quiet weeks set.
    pub const LIMITS: &str = "limits";
}

/// What is known before the statistics pass.
#[derive(serde::Serialize)]
struct Base<'a> {
    survey: &'a survey::Survey,
    market: &'a Market,
    plan: &'a Plan,
    units: &'a huracan_core::encoder::Scaler,
}

/// What all coins share at every time.
#[derive(serde::Serialize, serde::Deserialize)]
pub struct Market {
    /// Context features are made from this.
    pub context: MarketContext,
    /// Mean returns: what labels subtract and hedges earn.
    pub returns: MarketReturns,
    /// Features used, as indices into the table.
    pub columns: Vec<usize>,
    /// Bitcoin's bars, the hedge instrument's stand-in for costs; else nobody's.
    pub bitcoin: Option<Series>,
}

/// The context pass.
///
/// # Errors
/// When interrupted, the scratch disk fails, or series do not lie on one grid.
pub fn market(engine: &Engine<'_>, survey: &survey::Survey) -> Result<Market, EngineError> {
    let settings = engine.settings;
    let coins: Vec<&survey::Coin> = survey.coins.iter().chain(&survey.bystanders).collect();
    if settings.label.kind == huracan_core::labels::LabelKind::Relative && coins.len() < RELATIVE_COINS_MIN {
        return Err(EngineError::TooFewCoins { found: coins.len(), needed: RELATIVE_COINS_MIN });
    }
    let grid = survey.grid;
    let mut context = ContextSums::new(settings.timeframe, grid.start, grid.len);
    let mut sums = MarketSums::new(grid, settings.label.entry_lag_bars, &settings.horizons());
    engine.observer.stage_started("context", coins.len());
    let (mut bitcoin, mut ether) = (None, None);
    for (i, coin) in coins.iter().enumerate() {
        if engine.stop.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(Interrupted.into());
        }
        let series = coin.series(engine.scratch)?;
        let member_from = survey.member_from(settings, coin);
        context.add_from(&series, member_from)?;
        sums.add_from(&series, member_from);
        engine.observer.stage_advanced("context", i + 1, &coin.symbol.to_string());
        let leader = match coin.symbol.underlying() {
            "BTC" => &mut bitcoin,
            "ETH" => &mut ether,
            _ => continue,
        };
        // Of several the one with the longest past: whoever is listed later changes nothing before.
        if leader.as_ref().is_none_or(|known: &Series| series.start < known.start) {
            *leader = Some(series);
        }
    }
    let columns = columns(&coins, bitcoin.is_some(), ether.is_some());
    let context = context.finish(bitcoin.as_ref(), ether.as_ref())?;
    Ok(Market { context, returns: sums.finish(), columns, bitcoin })
}

/// Features whose inputs most coins have.
fn columns(coins: &[&survey::Coin], bitcoin: bool, ether: bool) -> Vec<usize> {
    let most =
        |has: &dyn Fn(&survey::Coin) -> bool| 2 * coins.iter().filter(|c| has(c)).count() > coins.len();
    let trades = most(&|c| c.extras().0);
    let taker = most(&|c| c.extras().1);
    let crowd = coins.len() >= 2 * RELATIVE_COINS_MIN;
    let met = |needs: Needs| match needs {
        Needs::Ohlcv => true,
        Needs::Trades => trades,
        Needs::Taker => taker,
        Needs::Bitcoin => bitcoin,
        Needs::Ether => ether,
        Needs::Market => coins.len() > 1,
        Needs::CrossSection => crowd,
    };
    let table = features::FEATURES.iter();
    table.enumerate().filter(|(_, f)| met(f.needs)).map(|(i, _)| i).collect()
}

/// Everything a run found out.
pub struct Outcome {
    /// What the survey said.
    pub survey: survey::Survey,
    /// The walk-forward plan.
    pub plan: Plan,
    /// Names of the features, missing share last.
    pub feature_names: Vec<String>,
    /// Per coin of the survey: its scaler and training rows; `None` where the job failed.
    pub statistics: Vec<Option<statistics::CoinStatistics>>,
    /// Pools, linear encoders and choices.
    pub pools: pools::Pools,
    /// What was fitted on rows: autoencoder and trees.
    pub extra: extra::Extra,
    /// Verdicts on coins and universe.
    pub verdicts: verdicts::Verdicts,
    /// Coins whose job broke.
    pub failed: Vec<survey::Failed>,
}

/// One run, start to verdicts.
///
/// # Errors
/// [`EngineError`] when there is nothing to be said about any coin.
pub fn run(engine: &Engine<'_>, source: &dyn CandleSource) -> Result<Outcome, EngineError> {
    let settings = engine.settings;
    let survey = survey::survey(engine, source)?;
    engine.observer.stage_finished("survey");
    let plan = Plan::new(
        &settings.walk,
        settings.timeframe,
        settings.label.window_bars(),
        survey.grid.start,
        survey.until,
        settings.fold_train_days_min,
    )?;
    let mut market = market(engine, &survey)?;
    let cache = engine.scratch.cache();
    let bars = Bars::new(cache, settings, engine.scratch, &survey, &plan)?;
    let units = prepare::settle_features(engine, &survey, &mut market, &plan, bars.as_ref())?;
    let known = bars.map(|bars| Known::new(bars, cache, settings, &survey, &plan, &market, &units));
    engine.observer.stage_finished("context");
    engine.share(part::BASE, &Base { survey: &survey, market: &market, plan: &plan, units: &units })?;
    let mut statistics = statistics::statistics(engine, &survey, &market, &plan, &units, known)?;
    engine.observer.stage_finished("statistics");
    engine.share(part::STATISTICS, &statistics)?;
    let pools = pools::pools(engine, &plan, &mut statistics)?;
    engine.share(part::POOLS, &pools)?;
    for (fold, span) in plan.tested().iter().enumerate().filter_map(|(i, f)| f.test.map(|test| (i, test))) {
        for codes in [pools.choices[fold].pca, pools.choices[fold].rrr].map(|c| c.variant.codes) {
            if let Some(encoder) = pools.encoder(&plan, fold, codes) {
                encoder.for_test_from(span.0)?;
            }
        }
    }
    let extra = extra::extra(engine, &survey, &market, &plan, &statistics, &pools)?;
    engine.share(part::EXTRA, &extra)?;
    let slopes = slopes::slopes(engine, &survey, &market, &plan, &statistics, &pools, &extra)?;
    engine.share(part::SLOPES, &slopes)?;
    engine.observer.stage_finished("slopes");
    let trials = trial::trials(engine, &survey, &market, &plan, &statistics, &pools, &extra, &slopes)?;
    engine.observer.stage_finished("trial");
    let mut verdicts = verdicts::verdicts(engine, &survey, &plan, &trials);
    engine.observer.stage_finished("verdicts");
    let mut feature_names: Vec<String> =
        market.columns.iter().map(|&i| features::FEATURES[i].name.to_string()).collect();
    feature_names.push("missing_share".to_owned());
    let explained = trial::explain::explain(
        engine,
        &survey,
        &market,
        &plan,
        &statistics,
        &pools,
        &extra,
        &slopes,
        &verdicts,
        &feature_names,
    )?;
    verdicts.explained(settings, explained);
    engine.observer.stage_finished("explain");
    let mut failed = survey.failed.clone();
    failed.extend(statistics.failed);
    failed.extend(slopes.failed);
    failed.extend(trials.failed);
    Ok(Outcome { survey, plan, feature_names, statistics: statistics.coins, pools, extra, verdicts, failed })
}
