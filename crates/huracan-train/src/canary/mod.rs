//! Canaries: coins whose truth is known, judged by the same Engine as the real ones, in every run.
//!
//! Twenty noise coins and ten with a planted edge, made of the run's own candles, are a small market
//! of their own: no real coin sees them, so no real coin's bytes depend on them. The same passes run
//! over them with the run's own settings. A run in which a noise coin is `trade_ok`, or in which too
//! few planted ones are found, must not publish: its Engine makes edges up, or does not see them.
//!
//! What lives here: which coins they are made of (`source`), the run over them, the verdict. What
//! does not: how a twin is told (`huracan_core::synth`) and what a blocked run leaves in the store
//! (`pipeline`).

mod source;
#[cfg(test)]
mod tests;

pub use source::CanarySource;

use crate::engine::survey::Survey;
use crate::engine::verdicts::CoinVerdict;
use crate::engine::{self, Engine, EngineError, Observer, Outcome};
use crate::jobs::Here;
use crate::pool::Interrupted;
use crate::scratch::{Scratch, ScratchError};
use crate::settings::{HeadSettings, Settings, Universe};
use crate::source::CandleSource;
use huracan_core::words::Symbol;
use std::path::Path;

/// The part of the configuration that is about canaries.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct CanarySettings {
    /// Whether they are made at all.
    pub enabled: bool,
    /// Whether a coin can be `trade_ok` only in a run whose canaries passed. Canaries that ran and
    /// failed block the publication either way.
    pub required: bool,
    /// Correlation of the planted momentum with the 24-bar relative return.
    pub label_correlation: f64,
}

impl Default for CanarySettings {
    fn default() -> CanarySettings {
        CanarySettings { enabled: true, required: true, label_correlation: LABEL_CORRELATION }
    }
}

/// Default planted correlation. Measured with the default settings, of ten planted coins found on
/// average (in the worst run), 60 coins as donors:
///
/// | candles | correlation | found |
/// |---|---|---|
/// | real perpetuals, 280 days, 5 folds | .40 | 9.8 (8) of 45 runs |
/// | real perpetuals, 280 days, 4 folds | .40 | 9.6 (9) of 8 runs |
/// | real perpetuals, 280 days, 5 folds | .35 | 9.4 (8) of 10 runs |
/// | generated, 300 days, 5 folds | .40 | 10 (10) of 20 runs |
/// | generated, 205 days, 4 folds | .40 | 9.5 (9) of 8 runs |
/// | generated spot, long or flat, 5 folds | .40 | 9.2 (8) of 5 runs |
/// | generated, 300 days, 5 folds | .25 | 6.6 (4) of 20 runs |
///
/// At .25 a healthy Engine would be blocked in about half of its runs: a perfect forecaster's t after
/// costs grows with the root of the days, so it would take about (.40/.25)², that is two and a half
/// times as many tested days, some 380. None of the 20 noise coins was `trade_ok` in any of these runs.
/// An Engine that learns nothing finds 0.0 (0 in all of 10 runs); one whose noise volumes tell the
/// future calls 17 to 20 of 20 noise coins `trade_ok`.
pub const LABEL_CORRELATION: f64 = 0.4;
/// Noise coins.
pub const NOISE: usize = 20;
/// Planted coins.
pub const PLANTED: usize = 10;
/// Planted coins that must be found.
pub const FOUND_MIN: usize = 7;
/// A planted coin is found when its daily net after costs is above zero at this one-sided HAC p. Not
/// `trade_ok`, which asks for more than half a year can show of an edge of this size; ten coins of
/// noise would be found seven times at once in one of a hundred thousand runs.
pub const FOUND_P_MAX: f64 = 0.10;
/// Label horizons that the folds must test together: four months of days, measured to be enough.
pub const LABELS_MIN: f64 = 120.0;
/// What the planted edge must be worth, one sigma of it over the horizon, in round trips of costs; a
/// judgement, hourly perpetuals have about ten.
pub const EDGE_IN_ROUND_TRIPS_MIN: f64 = 3.0;
/// Real coins with a full history that are needed to make canaries of.
pub const DONORS_MIN: usize = 5;

/// What a canary really is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Nothing can be foretold of it.
    Noise,
    /// It follows its own momentum.
    Planted,
}

impl Kind {
    /// The word written in files.
    pub fn code(self) -> &'static str {
        match self {
            Kind::Noise => "noise",
            Kind::Planted => "planted",
        }
    }
}

/// What the run said of one canary.
#[derive(Clone, PartialEq, Debug)]
pub struct CanaryVerdict {
    /// Its name: the kind and a number.
    pub name: String,
    /// The real coin it was made of.
    pub donor: String,
    /// What it is.
    pub kind: Kind,
    /// Whether every gate passed.
    pub trade_ok: bool,
    /// Net after costs, percent of capital; `None` when the coin got no head.
    pub net_pnl_pct: Option<f64>,
    /// One-sided HAC p of its daily net.
    pub p: Option<f64>,
    /// Closed trades.
    pub trades: usize,
}

impl CanaryVerdict {
    /// Whether its daily net is significantly above zero.
    pub fn found(&self) -> bool {
        self.net_pnl_pct.is_some_and(|net| net > 0.0) && self.p.is_some_and(|p| p < FOUND_P_MAX)
    }

    /// Whether the run said of it what is true.
    pub fn passed(&self) -> bool {
        match self.kind {
            Kind::Noise => !self.trade_ok,
            Kind::Planted => self.found(),
        }
    }

    /// What the run said, for people.
    pub fn detail(&self) -> String {
        let figure = |value: Option<f64>, digits: usize| match value {
            Some(value) => format!("{value:.digits$}"),
            None => "undefined".to_owned(),
        };
        format!(
            "made of {}: {} % net in {} trades, p {}, {}trade_ok",
            self.donor,
            figure(self.net_pnl_pct, 2),
            self.trades,
            figure(self.p, 4),
            if self.trade_ok { "" } else { "not " }
        )
    }
}

/// What the run said of all of them.
#[derive(Clone, PartialEq, Debug)]
pub struct CanaryVerdicts {
    /// One each, noise first.
    pub coins: Vec<CanaryVerdict>,
}

impl CanaryVerdicts {
    fn count(&self, which: impl Fn(&CanaryVerdict) -> bool) -> usize {
        self.coins.iter().filter(|c| which(c)).count()
    }

    /// Noise coins there were.
    pub fn noise(&self) -> usize {
        self.count(|c| c.kind == Kind::Noise)
    }

    /// Noise coins that are `trade_ok`: must be none.
    pub fn noise_trade_ok(&self) -> usize {
        self.count(|c| c.kind == Kind::Noise && c.trade_ok)
    }

    /// Planted coins there were.
    pub fn planted(&self) -> usize {
        self.count(|c| c.kind == Kind::Planted)
    }

    /// Planted coins that were found: at least [`FOUND_MIN`] must be.
    pub fn planted_found(&self) -> usize {
        self.count(|c| c.kind == Kind::Planted && c.found())
    }

    /// Whether the run may publish.
    pub fn passed(&self) -> bool {
        self.noise_trade_ok() == 0 && self.planted_found() >= FOUND_MIN
    }

    /// One sentence, without a full stop.
    pub fn sentence(&self) -> String {
        format!(
            "{} of {} noise coins are trade_ok (none may be), {} of {} planted coins were found (at least \
             {FOUND_MIN} must be)",
            self.noise_trade_ok(),
            self.noise(),
            self.planted_found(),
            self.planted()
        )
    }
}

/// What became of the canaries of a run.
#[derive(Clone, PartialEq, Debug)]
pub enum Canaries {
    /// They ran.
    Ran(CanaryVerdicts),
    /// They did not, and why.
    NotRun(String),
}

impl Canaries {
    /// Whether they ran and the run may publish.
    pub fn passed(&self) -> bool {
        matches!(self, Canaries::Ran(verdicts) if verdicts.passed())
    }

    /// Whether they ran and the run must not publish.
    pub fn blocked(&self) -> bool {
        matches!(self, Canaries::Ran(verdicts) if !verdicts.passed())
    }

    /// One sentence, without a full stop.
    pub fn sentence(&self) -> String {
        match self {
            Canaries::Ran(verdicts) => verdicts.sentence(),
            Canaries::NotRun(reason) => format!("not run: {reason}"),
        }
    }
}

/// Runs the Engine over canaries made of the coins of `survey`, whose series are on the engine's
/// scratch. `scratch_dir` is for the canaries' own columns and removed in the end.
///
/// # Errors
/// When interrupted or the scratch disk fails. Whatever else goes wrong is a reason why they did not
/// run: a run of 400 coins does not end because of its canaries.
pub fn run(engine: &Engine<'_>, survey: &Survey, scratch_dir: &Path) -> Result<Canaries, EngineError> {
    if !engine.settings.canaries.enabled {
        return Ok(Canaries::NotRun("canaries.enabled is false".to_owned()));
    }
    let settings = settings(engine.settings, survey);
    engine.observer.stage_started(STAGE, PASSES);
    let ran = match CanarySource::new(engine, survey) {
        Ok(source) => judged(engine, &settings, &source, &source, scratch_dir),
        Err(error) => Err(error),
    };
    engine.observer.stage_finished(STAGE);
    match ran {
        Ok(verdicts) => Ok(Canaries::Ran(verdicts)),
        Err(NotMade::Engine(error)) => not_run(error),
        Err(NotMade::Few(reason)) => Ok(Canaries::NotRun(reason)),
    }
}

/// The name of the stage, and the passes that advance it.
const STAGE: &str = "canaries";
const PASSES: usize = 10;

/// Why there are no verdicts.
#[derive(Debug)]
pub enum NotMade {
    /// There are too few coins to make them of.
    Few(String),
    /// The Engine could not run over them.
    Engine(EngineError),
}

impl From<ScratchError> for NotMade {
    fn from(error: ScratchError) -> NotMade {
        NotMade::Engine(error.into())
    }
}

impl From<Interrupted> for NotMade {
    fn from(error: Interrupted) -> NotMade {
        NotMade::Engine(error.into())
    }
}

fn not_run(error: EngineError) -> Result<Canaries, EngineError> {
    match error {
        EngineError::Interrupted(_) | EngineError::Scratch(_) => Err(error),
        other => Ok(Canaries::NotRun(other.to_string())),
    }
}

/// Rows that autoencoder and trees of the canaries are fitted on, at most: their share of a run's.
const SAMPLE_ROWS: usize = 16_384;

/// The run's settings, over the canaries, with draws of their own.
pub fn settings(settings: &Settings, survey: &Survey) -> Settings {
    let heads = &settings.heads;
    Settings {
        heads: HeadSettings { sample_rows: heads.sample_rows.min(SAMPLE_ROWS), ..heads.clone() },
        universe: Universe::All,
        until: Some(survey.until),
        seed: settings.seed.child("canaries", 0),
        // No verdict reads it, and nobody asks what a canary's features are worth.
        feature_worth: false,
        ..settings.clone()
    }
}

/// The Engine over the canaries, and what it said of them. `candles` has the entries of `source`; a
/// test may put a fault between the two.
///
/// # Errors
/// What the Engine refuses.
pub fn judged(
    engine: &Engine<'_>,
    settings: &Settings,
    source: &CanarySource<'_>,
    candles: &dyn CandleSource,
    scratch_dir: &Path,
) -> Result<CanaryVerdicts, NotMade> {
    let scratch = Scratch::open(scratch_dir)?.with_cache(engine.scratch.cache().clone());
    let watch = Passes { observer: engine.observer, done: Default::default() };
    let settings = Settings { universe: Universe::List(source.symbols()), ..settings.clone() };
    let own = Engine { settings: &settings, scratch: &scratch, observer: &watch, jobs: &Here, ..*engine };
    let outcome = engine::run(&own, candles).map_err(NotMade::Engine)?;
    Ok(verdicts(source, &outcome))
}

/// Each canary with what the run said of it; one that got no head was not found, and is no `trade_ok`.
fn verdicts(source: &CanarySource<'_>, outcome: &Outcome) -> CanaryVerdicts {
    let symbol = |v: &CoinVerdict| &outcome.survey.coins[v.index].symbol;
    let one = |(canary, kind, donor): (&Symbol, Kind, &Symbol)| {
        let verdict = outcome.verdicts.coins.iter().find(|v| symbol(v) == canary);
        CanaryVerdict {
            name: canary.base().to_owned(),
            donor: donor.to_string(),
            kind,
            trade_ok: verdict.is_some_and(|v| v.trade_ok),
            net_pnl_pct: verdict.map(|v| v.metrics.net_pnl_pct),
            p: verdict.and_then(|v| v.metrics.hac_p_one_sided),
            trades: verdict.map_or(0, |v| v.metrics.sample_size),
        }
    };
    CanaryVerdicts { coins: source.canaries().map(one).collect() }
}

/// Passes of the Engine as steps of one stage.
struct Passes<'a> {
    observer: &'a dyn Observer,
    done: std::sync::atomic::AtomicUsize,
}

impl Observer for Passes<'_> {
    fn stage_started(&self, _: &'static str, _: usize) {}
    fn stage_advanced(&self, _: &'static str, _: usize, _: &str) {}

    fn stage_finished(&self, stage: &'static str) {
        let done = 1 + self.done.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.observer.stage_advanced(STAGE, done.min(PASSES), stage);
    }

    fn note(&self, text: &str) {
        self.observer.note(text);
    }
}
