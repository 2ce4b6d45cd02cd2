//! Candles from the exchange: the public archive for what is long past, the REST API for the rest.
//!
//! [`fetch`] carries out a [`FetchPlan`] and reports per symbol. Files appear under `dest` only
//! whole and verified, so a fetch that was stopped is continued by running it again. Reading the
//! archive's candles is the business of `files`; nothing here asks what time it is.
//!
//! For each symbol: months that are over come as monthly zips. A month the archive does not have
//! is looked for by its first and last day, and by every day between them when either is there: a
//! coin not yet listed then costs three requests a month and not thirty-three. What the archive
//! answered 404 for, and today, comes from REST. A file that failed is not papered over with REST
//! candles: it is reported, and asked for again next time.

mod archive;
mod disk;
mod error;
mod filters;
mod http;
mod limits;
mod rest;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use huracan_core::series::Bars;
use huracan_core::words::{Market, Symbol, Timeframe, UtcMs};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use archive::{Cadence, Held, Period};
pub use error::FetchError;
pub use filters::{FilterTable, Filters, Status, fetch_filters, read_filters};
use http::{Host, Tally};
use limits::{Time, WallTime};

/// Where the public archive lives.
pub const ARCHIVE_URL: &str = "https://data.binance.vision";
/// Where spot's REST API lives.
pub const REST_SPOT_URL: &str = "https://api.binance.com";
/// Where the USD-M perpetuals' REST API lives.
pub const REST_PERP_URL: &str = "https://fapi.binance.com";

/// Request weight the exchange allows one address a minute (`rateLimits` of `exchangeInfo`).
fn weight_per_minute(market: Market) -> u32 {
    match market {
        Market::Spot => 6000,
        Market::Perp => 2400,
    }
}

/// What to fetch, from where, to where.
#[derive(Clone, Debug)]
pub struct FetchPlan {
    /// Whose candles; duplicates count once.
    pub symbols: Vec<Symbol>,
    /// Length of a bar.
    pub timeframe: Timeframe,
    /// The first moment wanted. Archive files are whole, so they may start earlier.
    pub from: UtcMs,
    /// The first moment not wanted any more.
    pub until: UtcMs,
    /// The folder to fill: `archive/` in the archive's own layout, `rest/{market}/{bar}/{SYMBOL}.csv`.
    pub dest: PathBuf,
    /// The archive's address.
    pub archive_base_url: String,
    /// The address of spot's REST API.
    pub rest_base_url_spot: String,
    /// The address of the perpetuals' REST API.
    pub rest_base_url_perp: String,
    /// Most symbols, and most archive files over all symbols, under way at once.
    pub concurrency: usize,
    /// What time it is: bars that close at or after it are not finished.
    pub now: UtcMs,
}

impl FetchPlan {
    /// A plan with the exchange's own addresses and eight files at once.
    pub fn new(
        symbols: Vec<Symbol>,
        timeframe: Timeframe,
        from: UtcMs,
        until: UtcMs,
        dest: PathBuf,
        now: UtcMs,
    ) -> FetchPlan {
        FetchPlan {
            symbols,
            timeframe,
            from,
            until,
            dest,
            archive_base_url: ARCHIVE_URL.to_owned(),
            rest_base_url_spot: REST_SPOT_URL.to_owned(),
            rest_base_url_perp: REST_PERP_URL.to_owned(),
            concurrency: 8,
            now,
        }
    }

    /// # Errors
    /// [`FetchError::BadPlan`] with what is wrong and what was expected.
    fn check(&self) -> Result<(), FetchError> {
        // The exchange opened in 2017; the upper end keeps dates inside every calendar.
        let sane = UtcMs(0)..UtcMs(100_000 * UtcMs::DAY);
        let wrong = if self.symbols.is_empty() {
            "no symbols are given, expected at least one".to_owned()
        } else if self.from >= self.until {
            format!("from {} is not before until {}", self.from, self.until)
        } else if [self.from, self.until, self.now].iter().any(|at| !sane.contains(at)) {
            format!("from, until and now must lie between {} and {}", sane.start, sane.end)
        } else if self.from >= self.now {
            format!("from {} is not before now {}", self.from, self.now)
        } else if !(1..=64).contains(&self.concurrency) {
            format!("concurrency is {}, expected 1 to 64", self.concurrency)
        } else {
            let urls = [&self.archive_base_url, &self.rest_base_url_spot, &self.rest_base_url_perp];
            let strange =
                urls.into_iter().find(|url| !url.starts_with("https://") && !url.starts_with("http://"));
            match strange {
                Some(url) => format!("{url:?} is not an address, expected http:// or https://"),
                None => return Ok(()),
            }
        };
        Err(FetchError::BadPlan(wrong))
    }
}

/// Something that could not be had, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The archive file, or the REST file, it is about.
    pub what: String,
    /// Stable code of the error ([`FetchError::code`]).
    pub code: &'static str,
    /// The error as a sentence.
    pub sentence: String,
}

impl Failure {
    fn new(what: String, error: &FetchError) -> Failure {
        Failure { what, code: error.code(), sentence: error.to_string() }
    }
}

/// What became of one symbol.
#[derive(Clone, Debug, PartialEq)]
pub struct SymbolReport {
    /// Whose report this is.
    pub symbol: Symbol,
    /// Monthly archive files on the disk now, verified.
    pub months: usize,
    /// Daily archive files on the disk now, verified.
    pub days: usize,
    /// How many of both were there before.
    pub kept: usize,
    /// Archive files of the plan that the archive does not have (404).
    pub not_published: usize,
    /// Requests sent, retries included.
    pub requests: u64,
    /// Attempts beyond the first.
    pub retries: u64,
    /// Bytes of answers received, retries included.
    pub bytes: u64,
    /// Whether the REST API knows the symbol; true as well when it was not asked. A delisted coin
    /// still has its archive.
    pub listed: bool,
    /// Candles from REST that were not on the disk before.
    pub rest_rows: usize,
    /// Every candle in the symbol's REST file, in order of time.
    pub rest: Bars,
    /// What could not be had, in order of time.
    pub failures: Vec<Failure>,
}

impl SymbolReport {
    fn new(symbol: Symbol) -> SymbolReport {
        SymbolReport {
            symbol,
            months: 0,
            days: 0,
            kept: 0,
            not_published: 0,
            requests: 0,
            retries: 0,
            bytes: 0,
            listed: true,
            rest_rows: 0,
            rest: Bars::default(),
            failures: Vec::new(),
        }
    }
}

/// What became of a fetch.
#[derive(Clone, Debug, PartialEq)]
pub struct FetchReport {
    /// One report for each symbol of the plan, ordered by symbol.
    pub symbols: Vec<SymbolReport>,
    /// Whether it was stopped; what it had by then is whole, and the same plan continues it.
    pub cancelled: bool,
}

/// Something that happened, for whoever draws bars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The symbol it happened to.
    pub symbol: Symbol,
    /// What happened.
    pub event: ProgressEvent,
}

/// What can happen to a symbol, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProgressEvent {
    /// So many more archive files will be settled for this symbol.
    Planned {
        /// Files on top of those planned before.
        files: usize,
    },
    /// One archive file is settled: on the disk, not published, or failed.
    Settled {
        /// Its path below the archive's address.
        file: String,
        /// Size of the zip when it was fetched now, else 0.
        bytes: u64,
    },
    /// REST candles are in.
    ToppedUp {
        /// Candles that were not on the disk before.
        rows: usize,
    },
    /// The symbol is done.
    Finished,
}

/// Carries out a plan. `progress` is called as things happen, on the caller's task; `cancel` set to
/// true stops at once, between or within requests, and leaves no half-written file.
///
/// One symbol's failures are in its report and never stop another symbol. Dropping the returned
/// future stops the fetch as well.
///
/// # Errors
/// Only what makes the whole plan impossible: [`FetchError::BadPlan`], [`FetchError::Busy`],
/// [`FetchError::Io`] for `dest` itself, no TLS provider, no client.
pub async fn fetch(
    plan: FetchPlan,
    cancel: watch::Receiver<bool>,
    progress: impl FnMut(Progress),
) -> Result<FetchReport, FetchError> {
    plan.check()?;
    fetch_with(plan, http::client()?, WallTime::start(), cancel, progress).await
}

async fn fetch_with(
    plan: FetchPlan,
    client: reqwest::Client,
    time: Arc<dyn Time>,
    cancel: watch::Receiver<bool>,
    mut progress: impl FnMut(Progress),
) -> Result<FetchReport, FetchError> {
    let _kept_for_us = disk::lock(&plan.dest)?;
    let host = |base: &str, weight| Host::new(base, client.clone(), time.clone(), weight, cancel.clone());
    let symbols: Vec<Symbol> = BTreeSet::from_iter(plan.symbols.iter().cloned()).into_iter().collect();
    let run = Arc::new(Run {
        archive: host(&plan.archive_base_url, None),
        spot: host(&plan.rest_base_url_spot, Some(weight_per_minute(Market::Spot))),
        perp: host(&plan.rest_base_url_perp, Some(weight_per_minute(Market::Perp))),
        periods: archive::periods(plan.from, plan.until, plan.now),
        symbols_at_once: Semaphore::new(plan.concurrency),
        files_at_once: Semaphore::new(plan.concurrency),
        plan,
    });
    // Bounded: when the caller is slow to draw, the work waits for it.
    let (tell, mut told) = mpsc::channel(256);
    let mut tasks = JoinSet::new();
    for (i, symbol) in symbols.iter().cloned().enumerate() {
        let job = Job { run: run.clone(), symbol, tally: Arc::default(), tell: tell.clone() };
        tasks.spawn(async move { (i, job.carry_out().await) });
    }
    drop(tell);
    while let Some(event) = told.recv().await {
        progress(event);
    }
    let mut reports: Vec<Option<SymbolReport>> = vec![None; symbols.len()];
    while let Some(done) = tasks.join_next().await {
        if let Ok((i, report)) = done {
            reports[i] = Some(report);
        }
    }
    let panicked = |symbol: Symbol| {
        let name = symbol.to_string();
        let bug = FetchError::Bug { what: name.clone() };
        SymbolReport { failures: vec![Failure::new(name, &bug)], ..SymbolReport::new(symbol) }
    };
    let symbols =
        symbols.into_iter().zip(reports).map(|(symbol, report)| report.unwrap_or_else(|| panicked(symbol)));
    Ok(FetchReport { symbols: symbols.collect(), cancelled: *cancel.borrow() })
}

/// What all symbols of a fetch share.
struct Run {
    plan: FetchPlan,
    periods: Vec<Period>,
    archive: Host,
    spot: Host,
    perp: Host,
    symbols_at_once: Semaphore,
    files_at_once: Semaphore,
}

/// One symbol's part of a run.
#[derive(Clone)]
struct Job {
    run: Arc<Run>,
    symbol: Symbol,
    tally: Arc<Tally>,
    tell: mpsc::Sender<Progress>,
}

impl Job {
    async fn carry_out(self) -> SymbolReport {
        // The semaphores are never closed; without a permit the work would merely be less polite.
        let _turn = self.run.symbols_at_once.acquire().await.ok();
        let mut report = SymbolReport::new(self.symbol.clone());
        let files = self.archive_files().await;
        for (period, held) in &files {
            self.count(&mut report, period, held);
        }
        let stopped = files.iter().any(|(_, held)| matches!(held, Held::Failed(FetchError::Cancelled)));
        if !stopped {
            self.top_up(&mut report, &files).await;
        }
        report.requests = self.tally.requests.load(Ordering::Relaxed);
        report.retries = self.tally.retries.load(Ordering::Relaxed);
        report.bytes = self.tally.bytes.load(Ordering::Relaxed);
        self.tell(ProgressEvent::Finished).await;
        report
    }

    /// Every archive file of the plan, in order of time; months the archive does not have are
    /// replaced by their days where it has any of those.
    async fn archive_files(&self) -> Vec<(Period, Held)> {
        let mut files = self.hold_all(self.run.periods.clone()).await;
        let mut absent = Vec::new();
        files.retain(|(period, held)| {
            let gone = period.cadence == Cadence::Monthly && matches!(held, Held::NotPublished);
            absent.extend(gone.then(|| period.clone()));
            !gone
        });
        let edges = absent.iter().flat_map(|month| {
            let days = month.split();
            [days[0].clone(), days[days.len() - 1].clone()]
        });
        let mut edges = self.hold_all(edges.collect()).await.into_iter();
        let mut inner = Vec::new();
        for month in absent {
            let pair: Vec<(Period, Held)> = edges.by_ref().take(2).collect();
            if pair.iter().any(|(_, held)| !matches!(held, Held::NotPublished)) {
                let days = month.split();
                inner.extend_from_slice(&days[1..days.len() - 1]);
                files.extend(pair);
            } else {
                files.push((month, Held::NotPublished));
            }
        }
        files.extend(self.hold_all(inner).await);
        files.sort_by_key(|(period, _)| period.days.start);
        files
    }

    /// Settles files side by side; the outcomes are in the order of `periods`.
    async fn hold_all(&self, periods: Vec<Period>) -> Vec<(Period, Held)> {
        if periods.is_empty() {
            return Vec::new();
        }
        self.tell(ProgressEvent::Planned { files: periods.len() }).await;
        let mut tasks = JoinSet::new();
        for (i, period) in periods.iter().cloned().enumerate() {
            let job = self.clone();
            tasks.spawn(async move { (i, job.hold(&period).await) });
        }
        let mut outcomes: Vec<Option<Held>> = periods.iter().map(|_| None).collect();
        while let Some(done) = tasks.join_next().await {
            if let Ok((i, held)) = done {
                outcomes[i] = Some(held);
            }
        }
        let with_outcome = |(period, held): (Period, Option<Held>)| {
            let bug = || Held::Failed(FetchError::Bug { what: self.path(&period) });
            let held = held.unwrap_or_else(bug);
            (period, held)
        };
        periods.into_iter().zip(outcomes).map(with_outcome).collect()
    }

    async fn hold(&self, period: &Period) -> Held {
        let Run { plan, archive, files_at_once, .. } = &*self.run;
        let _turn = files_at_once.acquire().await.ok();
        let held =
            archive::hold(archive, &plan.dest, &self.symbol, plan.timeframe, period, &self.tally).await;
        let bytes = if let Held::Fetched(size) = held { size } else { 0 };
        self.tell(ProgressEvent::Settled { file: self.path(period), bytes }).await;
        held
    }

    fn count(&self, report: &mut SymbolReport, period: &Period, held: &Held) {
        match (held.is_here(), period.cadence) {
            (true, Cadence::Monthly) => report.months += 1,
            (true, Cadence::Daily) => report.days += 1,
            (false, _) => {}
        }
        match held {
            Held::Kept => report.kept += 1,
            Held::NotPublished => report.not_published += 1,
            Held::Fetched(_) | Held::Failed(FetchError::Cancelled) => {}
            Held::Failed(error) => report.failures.push(Failure::new(self.path(period), error)),
        }
    }

    async fn top_up(&self, report: &mut SymbolReport, files: &[(Period, Held)]) {
        let plan = &self.run.plan;
        let host = match self.symbol.market() {
            Market::Spot => &self.run.spot,
            Market::Perp => &self.run.perp,
        };
        let spans = rest_spans(plan, files);
        let top_up = rest::top_up(host, &plan.dest, &self.symbol, plan.timeframe, &spans, &self.tally).await;
        report.rest_rows = top_up.rows_new;
        report.rest = top_up.bars;
        self.tell(ProgressEvent::ToppedUp { rows: top_up.rows_new }).await;
        let what = || format!("rest/{}", self.symbol);
        match top_up.error {
            None | Some(FetchError::Cancelled) => {}
            Some(error @ FetchError::NotListed { .. }) => {
                report.listed = false;
                // A delisted coin keeps its archive; one that has none was never there.
                if report.months + report.days == 0 {
                    report.failures.push(Failure::new(what(), &error));
                }
            }
            Some(error) => report.failures.push(Failure::new(what(), &error)),
        }
    }

    fn path(&self, period: &Period) -> String {
        period.path(&self.symbol, self.run.plan.timeframe)
    }

    async fn tell(&self, event: ProgressEvent) {
        // Nobody listens any more only when the fetch itself was dropped.
        let _ = self.tell.send(Progress { symbol: self.symbol.clone(), event }).await;
    }
}

/// The open times that the archive does not cover, neighbours joined: files it answered 404 for,
/// and everything after its last day. Files that failed are left to the next fetch.
fn rest_spans(plan: &FetchPlan, files: &[(Period, Held)]) -> Vec<Range<i64>> {
    let bar = plan.timeframe.ms();
    let first = plan.timeframe.floor(UtcMs(plan.from.0 + bar - 1)).0;
    // A bar is asked for only when it ends by then: the unfinished one never is.
    let end = plan.timeframe.floor(plan.until.min(plan.now)).0;
    let covered_until = files.last().map_or(first, |(period, _)| period.span().end);
    let absent = files.iter().filter(|(_, held)| matches!(held, Held::NotPublished));
    let mut spans: Vec<Range<i64>> = Vec::new();
    for span in absent.map(|(period, _)| period.span()).chain(std::iter::once(covered_until..end)) {
        let span = span.start.max(first)..span.end.min(end);
        match spans.last_mut() {
            _ if span.is_empty() => {}
            Some(last) if last.end == span.start => last.end = span.end,
            _ => spans.push(span),
        }
    }
    spans
}
