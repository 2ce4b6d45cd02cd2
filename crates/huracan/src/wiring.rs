//! The one place where the shell meets the Engine, the store and the market data.
//!
//! What lives here: one function a command, from a typed request to a typed answer. What does not:
//! parsing and printing (`cli`), and any decision (the crates below). Failures of the crates below
//! become [`Failure`]s here, each with its exit code.

use crate::cli::data::{CheckRequest, CheckedCandles, FetchRequest, Fetched, ImportRequest, Imported};
use crate::cli::features::FeatureRow;
use crate::cli::roster::RosterView;
use crate::cli::train::{RunSummary, TrainRequest};
use crate::cli::verify::{VerifyRequest, VerifyRow};
use crate::cli::why::WhyView;
use crate::config::EngineConfig;
use crate::failure::{Exit, Failure};
use crate::progress::Observer;
use huracan_core::features::{FEATURES, FeatureDef};
use huracan_core::words::{Symbol, UtcMs};
use huracan_market::binance::{self, FetchError, FetchPlan, Progress, ProgressEvent, SymbolReport};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What long work needs from its surroundings.
#[derive(Clone)]
pub struct Session {
    /// Who watches.
    pub observer: Arc<dyn Observer>,
    /// Set when a person asks to stop; polled at safe points.
    pub interrupted: Arc<AtomicBool>,
}

fn not_wired(command: &str) -> Failure {
    Failure::new(Exit::Unexpected, "not_wired", format!("{command} is not wired to the Engine in this build"))
}

/// Generates a market, trains on it and publishes into `store`.
///
/// # Errors
/// As [`train`].
pub fn demo(_store: &Path, _config: &EngineConfig, _session: &Session) -> Result<RunSummary, Failure> {
    Err(not_wired("demo"))
}

/// One run of the Engine.
///
/// # Errors
/// [`Exit::InputData`] when no candles can be read, [`Exit::Store`] when the store refuses or is
/// held by another run, [`Exit::Interrupted`] when a person stopped it. A run that publishes
/// nothing is an answer (`published: false`), not an error.
pub fn train(
    _request: &TrainRequest,
    _config: &EngineConfig,
    _session: &Session,
) -> Result<RunSummary, Failure> {
    Err(not_wired("train"))
}

/// The published roster.
///
/// # Errors
/// [`Exit::Store`] when there is none or it cannot be read.
pub fn roster(_store: &Path) -> Result<RosterView, Failure> {
    Err(not_wired("roster"))
}

/// Why a coin stands where it stands. `names` are the symbols the text may mean, likeliest first.
///
/// # Errors
/// [`Exit::Usage`] when the roster knows none of them, [`Exit::Store`] when it cannot be read.
pub fn why(_store: &Path, _names: &[Symbol]) -> Result<WhyView, Failure> {
    Err(not_wired("why"))
}

/// Checks stored results against their manifests, and by training again where asked.
///
/// # Errors
/// [`Exit::Store`] when the store cannot be read. A result that does not verify is a row.
pub fn verify(
    _request: &VerifyRequest,
    _config: &EngineConfig,
    _session: &Session,
) -> Result<Vec<VerifyRow>, Failure> {
    Err(not_wired("verify"))
}

/// What is in a folder of candles and what the gates say to it.
///
/// # Errors
/// [`Exit::InputData`] when the folder cannot be read. A broken series is a row.
pub fn data_check(
    _request: &CheckRequest,
    _config: &EngineConfig,
    _session: &Session,
) -> Result<Vec<CheckedCandles>, Failure> {
    Err(not_wired("data check"))
}

/// Copies candles of any known form into the local candle store.
///
/// # Errors
/// [`Exit::InputData`] when the folder cannot be read. A series that fails is a row.
pub fn data_import(
    _request: &ImportRequest,
    _config: &EngineConfig,
    _session: &Session,
) -> Result<Vec<Imported>, Failure> {
    Err(not_wired("data import"))
}

/// Downloads candles from the exchange's archive and REST API.
///
/// # Errors
/// [`Exit::Usage`] for a plan that cannot be meant, [`Exit::Network`] when no symbol can be asked
/// for at all, [`Exit::Interrupted`] when a person stopped it. A symbol that fails is a row.
pub fn data_fetch(
    request: &FetchRequest,
    config: &EngineConfig,
    session: &Session,
) -> Result<Vec<Fetched>, Failure> {
    let now = UtcMs(jiff::Timestamp::now().as_millisecond());
    let until = request.until.unwrap_or(now);
    let mut plan =
        FetchPlan::new(request.symbols.clone(), config.bar, request.from, until, request.into.clone(), now);
    plan.concurrency = request.parallel;
    if let Some(url) = &request.archive_url {
        plan.archive_base_url = url.clone();
    }
    if let Some(url) = &request.rest_url {
        plan.rest_base_url_spot = url.clone();
        plan.rest_base_url_perp = url.clone();
    }
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Failure::new(Exit::Unexpected, "runtime", format!("no async runtime: {error}")))?;
    let (stop, cancel) = tokio::sync::watch::channel(false);
    let mut drawn = FetchProgress::new(session.observer.clone());
    let report = runtime.block_on(async {
        let fetching = binance::fetch(plan, cancel, |progress| drawn.on(&progress));
        tokio::pin!(fetching);
        let mut poll = tokio::time::interval(Duration::from_millis(100));
        loop {
            tokio::select! {
                report = &mut fetching => return report,
                _ = poll.tick() => {
                    if session.interrupted.load(Ordering::Relaxed) {
                        stop.send_replace(true);
                    }
                }
            }
        }
    });
    drawn.finish();
    let report = report.map_err(fetch_failure)?;
    if report.cancelled {
        return Err(Failure::new(Exit::Interrupted, "interrupted", "the download was stopped")
            .help("run the same command again; what is there is kept"));
    }
    Ok(report.symbols.iter().map(fetched).collect())
}

fn fetch_failure(error: FetchError) -> Failure {
    let exit = match &error {
        FetchError::BadPlan(_) => Exit::Usage,
        FetchError::Io { .. } | FetchError::BadCsv { .. } => Exit::InputData,
        FetchError::Cancelled => Exit::Interrupted,
        FetchError::Bug { .. } | FetchError::NoTlsProvider => Exit::Unexpected,
        _ => Exit::Network,
    };
    Failure::new(exit, error.code(), error.to_string())
}

fn fetched(report: &SymbolReport) -> Fetched {
    Fetched {
        symbol: report.symbol.to_string(),
        months: report.months as u64,
        days: report.days as u64,
        not_published: report.not_published as u64,
        rest_rows: report.rest_rows as u64,
        bytes: report.bytes,
        retries: report.retries,
        errors: report
            .failures
            .iter()
            .map(|failure| format!("{}: {}", failure.what, failure.sentence))
            .collect(),
    }
}

/// The downloader's events as stages: archive files are counted while their number is still
/// growing, so the stage has no total.
struct FetchProgress {
    observer: Arc<dyn Observer>,
    settled: u64,
    began: Instant,
}

impl FetchProgress {
    fn new(observer: Arc<dyn Observer>) -> FetchProgress {
        observer.stage_started("fetch", 0);
        FetchProgress { observer, settled: 0, began: Instant::now() }
    }

    fn on(&mut self, progress: &Progress) {
        if let ProgressEvent::Settled { .. } = progress.event {
            self.settled += 1;
        }
        self.observer.stage_advanced("fetch", self.settled, &progress.symbol.to_string());
    }

    fn finish(self) {
        self.observer.stage_finished("fetch", self.began.elapsed().as_secs_f64());
    }
}

/// Every feature there is, in column order.
pub fn features() -> Vec<FeatureRow> {
    let row = |feature: &FeatureDef| FeatureRow {
        name: feature.name.to_owned(),
        family: feature.family.code().to_owned(),
        lookback_bars: feature.lookback as u64,
        unit: feature.unit.to_owned(),
        what: feature.doc.to_owned(),
        source: feature.source.to_owned(),
    };
    FEATURES.iter().map(row).collect()
}
