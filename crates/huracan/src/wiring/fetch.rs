//! `huracan data fetch`: the downloader's events as stages, its report as rows.

use super::Session;
use crate::cli::data::{FetchRequest, Fetched};
use crate::config::EngineConfig;
use crate::failure::{Exit, Failure};
use crate::progress::Observer;
use huracan_market::binance::{self, FetchError, FetchPlan, Progress, ProgressEvent, SymbolReport};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

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
    let now = super::now();
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
