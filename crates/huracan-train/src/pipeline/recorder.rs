//! Watches a run: passes on what it hears, beats the heart, keeps what goes into `runs/{run_id}/`, and
//! opens the spans run → stage → job.
//!
//! A job that was measured on its own thread ([`measured`](super::meter::measured)) counts as it was
//! measured. Where a stage's jobs say nothing, a coin's share is what passed between the coin before it
//! and it being through: with several workers this divides the stage's clock among its coins; the sum
//! is exact, a single share is not the use of one job.

use super::meter::{JobFacts, JobOutcome, Usage, peak_memory_bytes};
use crate::engine::Observer;
use huracan_core::stats::quantiles::quantile;
use huracan_core::words::{Symbol, UtcMs};
use huracan_store::Store;
use huracan_store::formats::heartbeat::Heartbeat;
use huracan_store::formats::run::{
    CostBasis, JobCounts, JobEvent, JobStatus, Profile, SlowJob, StageTiming, UnitCost,
};
use huracan_store::heartbeats::{self, Service};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tracing::field::Empty;

/// The clock of the outside world.
pub type Clock<'a> = dyn Fn() -> UtcMs + Sync + 'a;

/// Slow coins named a stage.
const SLOWEST: usize = 5;

const GIB: f64 = (1u64 << 30) as f64;

/// What resources cost, in dollars; `None`: not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// An hour of one processor.
    pub usd_per_cpu_hour: Option<f64>,
    /// 2³⁰ bytes read.
    pub usd_per_gib_read: Option<f64>,
    /// 2³⁰ bytes written.
    pub usd_per_gib_written: Option<f64>,
    /// A thousand requests to others.
    pub usd_per_1000_requests: Option<f64>,
}

impl Rates {
    /// Money for what a unit used; `None` where no rate applies.
    pub fn cost_usd(&self, cost: &UnitCost) -> Option<f64> {
        let parts = [
            self.usd_per_cpu_hour.zip(cost.cpu_s).map(|(usd, s)| usd * s / 3600.0),
            self.usd_per_gib_read.map(|usd| usd * cost.bytes_read as f64 / GIB),
            self.usd_per_gib_written.map(|usd| usd * cost.bytes_written as f64 / GIB),
            self.usd_per_1000_requests.map(|usd| usd * cost.requests as f64 / 1000.0),
        ];
        parts.iter().any(Option::is_some).then(|| parts.iter().flatten().sum())
    }
}

/// One stage as it went.
struct Stage {
    name: &'static str,
    total: usize,
    done: usize,
    began: Instant,
    last: Instant,
    at_start: Usage,
    at_last: Usage,
    /// Whose share of the clock it was, and how much.
    shares: Vec<(String, f64)>,
    ended: Option<(f64, Usage)>,
    span: tracing::Span,
}

impl Stage {
    fn end(&mut self) {
        if self.ended.is_none() {
            let used = Usage::now().since(&self.at_start);
            let wall_s = self.began.elapsed().as_secs_f64();
            self.ended = Some((wall_s, used));
            self.span.record("elapsed_ms", ms(wall_s));
            self.span.in_scope(|| {
                tracing::info!(
                    stage = self.name,
                    jobs = self.done,
                    elapsed_ms = ms(wall_s),
                    "stage finished"
                );
            });
            self.span = tracing::Span::none();
        }
    }
}

struct Kept {
    stages: Vec<Stage>,
    /// With whether a job told of it, or the stage did.
    events: Vec<(JobEvent, bool)>,
    shares: Vec<UnitCost>,
    jobs: Vec<JobFacts>,
    current_symbol: Option<String>,
    run_id: Option<String>,
    fingerprints: BTreeMap<String, String>,
}

/// The watcher.
pub(super) struct Recorder<'a> {
    inner: &'a dyn Observer,
    store: &'a dyn Store,
    clock: &'a Clock<'a>,
    rates: Rates,
    began: Instant,
    at_start: Usage,
    /// When the run began.
    pub started_at: UtcMs,
    /// The whole run.
    pub span: tracing::Span,
    kept: Mutex<Kept>,
    /// Held while a beat is made and written, so that no older one follows a newer.
    beating: Mutex<()>,
}

/// The phase of the heartbeat a stage belongs to.
fn phase(stage: &str) -> &'static str {
    match stage {
        "fingerprints" | "survey" => "loading",
        "trial" | "verdicts" | "quiet_weeks" | "explain" | "canaries" => "validating",
        "publish" => "publishing",
        _ => "training",
    }
}

/// Verdicts advance by figures and canaries by passes, not by coins.
fn by_coin(stage: &str) -> bool {
    !matches!(stage, "verdicts" | "canaries")
}

fn ms(seconds: f64) -> u64 {
    (1e3 * seconds).round() as u64
}

/// What one job came to after all its attempts.
pub(super) struct JobHistory {
    /// The stage.
    pub stage: &'static str,
    /// The coin.
    pub symbol: String,
    /// Attempts, in the order they ended.
    pub attempts: Vec<JobFacts>,
}

impl JobHistory {
    /// The last attempt's code and error, when it failed.
    pub fn failure(&self) -> Option<(&str, &[String])> {
        match &self.attempts.last()?.outcome {
            JobOutcome::Failed { code, error_chain } => Some((code, error_chain)),
            _ => None,
        }
    }

    /// What each attempt came to, a sentence each.
    pub fn tried(&self) -> Vec<String> {
        let sentence = |job: &JobFacts| {
            let what = match &job.outcome {
                JobOutcome::Completed => "completed".to_owned(),
                JobOutcome::Skipped { reason } => format!("skipped: {reason}"),
                JobOutcome::Failed { error_chain, .. } => error_chain.join(": "),
            };
            format!("attempt {} on {}, {:.1} s: {what}", job.attempt, job.worker, job.wall_s)
        };
        self.attempts.iter().map(sentence).collect()
    }

    /// How often it was tried: some attempts may have been made by others.
    pub fn tries(&self) -> u32 {
        self.attempts.iter().map(|job| job.attempt).max().unwrap_or(0)
    }

    fn wall_s(&self) -> f64 {
        self.attempts.iter().map(|job| job.wall_s).sum()
    }

    fn unit_cost(&self) -> UnitCost {
        let sum = |of: fn(&JobFacts) -> u64| self.attempts.iter().map(of).sum();
        UnitCost {
            symbol: self.symbol.clone(),
            stage: self.stage.to_owned(),
            cpu_s: self.attempts.iter().map(|job| job.cpu_s).sum(),
            wall_s: self.wall_s(),
            rows: 0,
            bytes_read: sum(|job| job.bytes_read),
            bytes_written: sum(|job| job.bytes_written),
            requests: sum(|job| job.requests),
            cost_usd: None,
            basis: Some(CostBasis::Thread),
            attempts: Some(self.tries()),
            cached: self.attempts.last().map(|job| job.cached),
        }
    }
}

fn histories(jobs: &[JobFacts]) -> Vec<JobHistory> {
    let mut order: BTreeMap<(&'static str, &str), usize> = BTreeMap::new();
    let mut histories: Vec<JobHistory> = Vec::new();
    for job in jobs {
        let next = histories.len();
        let at = *order.entry((job.stage, &job.symbol)).or_insert(next);
        if at == next {
            histories.push(JobHistory { stage: job.stage, symbol: job.symbol.clone(), attempts: Vec::new() });
        }
        histories[at].attempts.push(job.clone());
    }
    histories
}

fn counts(histories: &[&JobHistory]) -> JobCounts {
    let mut counts = JobCounts::default();
    for job in histories {
        let Some(last) = job.attempts.last() else { continue };
        match last.outcome {
            JobOutcome::Completed if last.cached => counts.cache_hits += 1,
            JobOutcome::Completed => counts.cache_misses += 1,
            JobOutcome::Skipped { .. } => counts.skipped += 1,
            JobOutcome::Failed { .. } => counts.failed += 1,
        }
        counts.retried += job.attempts.len() as u64 - 1;
        counts.requests += job.attempts.iter().map(|a| a.requests).sum::<u64>();
    }
    counts.completed = counts.cache_hits + counts.cache_misses;
    counts
}

fn slowest(walls: &[(String, f64)]) -> Vec<SlowJob> {
    let mut walls: Vec<&(String, f64)> = walls.iter().filter(|(symbol, _)| !symbol.is_empty()).collect();
    walls.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let job = |(symbol, wall_s): &&(String, f64)| SlowJob { symbol: symbol.clone(), wall_s: *wall_s };
    walls.iter().take(SLOWEST).map(job).collect()
}

/// Tells the heart to stop, at the latest when it is dropped.
pub(super) struct Heart {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Heart {
    pub fn new() -> Heart {
        Heart { stopped: Mutex::new(false), changed: Condvar::new() }
    }

    /// Stops the heart when the run is left, by whichever way.
    pub fn stop_on_drop(&self) -> StopsHeart<'_> {
        StopsHeart(self)
    }

    /// Waits; `false` when the heart is to stop.
    fn wait(&self, every: Duration) -> bool {
        let guard = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(guard, every, |stopped| !*stopped);
        !*waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

pub(super) struct StopsHeart<'a>(&'a Heart);

impl Drop for StopsHeart<'_> {
    fn drop(&mut self) {
        *self.0.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.changed.notify_all();
    }
}

impl<'a> Recorder<'a> {
    pub fn new(
        inner: &'a dyn Observer,
        store: &'a dyn Store,
        clock: &'a Clock<'a>,
        rates: Rates,
    ) -> Recorder<'a> {
        let kept = Kept {
            stages: Vec::new(),
            events: Vec::new(),
            shares: Vec::new(),
            jobs: Vec::new(),
            current_symbol: None,
            run_id: None,
            fingerprints: BTreeMap::new(),
        };
        Recorder {
            inner,
            store,
            clock,
            rates,
            began: Instant::now(),
            at_start: Usage::now(),
            started_at: clock(),
            span: tracing::info_span!("run", run_id = Empty, status = Empty, elapsed_ms = Empty),
            kept: Mutex::new(kept),
            beating: Mutex::new(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seconds since the run began.
    pub fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// Now.
    pub fn now(&self) -> UtcMs {
        (self.clock)()
    }

    /// Notes what the run is called from here on.
    pub fn identify(&self, run_id: &str) {
        self.span.record("run_id", run_id);
        self.lock().run_id = Some(run_id.to_owned());
    }

    /// What the run is called, when that is known.
    pub fn run_id(&self) -> Option<String> {
        self.lock().run_id.clone()
    }

    /// Notes what went in.
    pub fn read(&self, fingerprints: &BTreeMap<String, String>) {
        self.lock().fingerprints = fingerprints.clone();
    }

    /// What went in, as far as it was read.
    pub fn fingerprints(&self) -> BTreeMap<String, String> {
        self.lock().fingerprints.clone()
    }

    /// The stage the run is in, or was in last.
    pub fn stage(&self) -> &'static str {
        self.lock().stages.last().map_or("start", |stage| stage.name)
    }

    /// Says how the run ended.
    pub fn last_words(&self, phase: &str, error: Option<String>) {
        self.span.record("status", phase);
        self.span.record("elapsed_ms", ms(self.seconds()));
        let run_id = self.run_id().unwrap_or_default();
        let elapsed_ms = ms(self.seconds());
        self.span.in_scope(|| match &error {
            None => tracing::info!(run_id, elapsed_ms, "run finished"),
            Some(error) => tracing::info!(run_id, elapsed_ms, error, "run failed"),
        });
        let _beating = self.beating.lock().unwrap_or_else(PoisonError::into_inner);
        self.write(&Heartbeat {
            utc_timestamp: self.now().into(),
            phase: phase.to_owned(),
            current_symbol: None,
            progress: if error.is_none() { 1.0 } else { 0.0 },
            done: u64::from(error.is_none()),
            total: 1,
            eta_s: None,
            last_error: error,
            stage: None,
        });
    }

    /// Beats until the heart is stopped: a long job is not a dead one.
    pub fn keep_beating(&self, heart: &Heart, every: Duration) {
        while heart.wait(every) {
            self.beat();
        }
    }

    fn beat(&self) {
        let _beating = self.beating.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.now();
        let kept = self.lock();
        let stage = kept.stages.last();
        let (done, total) = stage.map_or((0, 0), |s| (s.done, s.total.max(s.done)));
        let left = (total - done) as f64;
        let symbol = kept.current_symbol.as_ref();
        let heartbeat = Heartbeat {
            utc_timestamp: now.into(),
            phase: stage.map_or("loading", |s| phase(s.name)).to_owned(),
            current_symbol: symbol.and_then(|s| s.parse::<Symbol>().ok()).map(Into::into),
            progress: if total == 0 { 0.0 } else { done as f64 / total as f64 },
            done: done as u64,
            total: total as u64,
            eta_s: stage.filter(|_| done > 0).map(|s| s.began.elapsed().as_secs_f64() / done as f64 * left),
            last_error: None,
            stage: stage.map(|s| s.name.to_owned()),
        };
        drop(kept);
        self.write(&heartbeat);
    }

    /// A heart that cannot beat does not stop a run; what stops the store stops the run elsewhere.
    fn write(&self, heartbeat: &Heartbeat) {
        if let Err(error) = heartbeats::beat(self.store, Service::Engine, heartbeat) {
            tracing::warn!(%error, "no heartbeat");
        }
    }

    /// Notes an event that neither stage nor job told of.
    pub fn event(&self, symbol: &str, stage: &str, status: JobStatus, reason: Option<String>) {
        let event = self.job_event(symbol, stage, status, reason);
        let mut kept = self.lock();
        let same = |job: &JobFacts| job.symbol == symbol && job.stage == stage;
        if !kept.jobs.iter().any(same) {
            kept.events.push((event, true));
        }
    }

    fn job_event(&self, symbol: &str, stage: &str, status: JobStatus, reason: Option<String>) -> JobEvent {
        JobEvent {
            at: self.now().into(),
            symbol: Some(symbol.to_owned()),
            stage: stage.to_owned(),
            status,
            attempt: 1,
            worker: "engine".to_owned(),
            reason,
        }
    }

    /// Every job that told of itself.
    pub fn histories(&self) -> Vec<JobHistory> {
        histories(&self.lock().jobs)
    }

    /// Everything that was noted, in order; `rows_of` says how many bars a coin has.
    pub fn lines(&self, rows_of: &dyn Fn(&str) -> u64) -> (Vec<JobEvent>, Vec<UnitCost>) {
        let kept = self.lock();
        let told: BTreeSet<&str> = kept.jobs.iter().map(|job| job.stage).collect();
        let events = kept.events.iter().filter(|(e, by_job)| *by_job || !told.contains(e.stage.as_str()));
        let measured = histories(&kept.jobs);
        let shares = kept.shares.iter().filter(|cost| !told.contains(cost.stage.as_str())).cloned();
        let costs = shares.chain(measured.iter().map(JobHistory::unit_cost)).map(|cost| {
            let cost = UnitCost { rows: rows_of(&cost.symbol), ..cost };
            UnitCost { cost_usd: self.rates.cost_usd(&cost), ..cost }
        });
        let mut costs: Vec<UnitCost> = costs.collect();
        costs.sort_by_key(|cost| kept.stages.iter().position(|stage| stage.name == cost.stage));
        (events.map(|(event, _)| event.clone()).collect(), costs)
    }

    /// Timings of the stages so far.
    pub fn timings(&self) -> Vec<StageTiming> {
        let mut kept = self.lock();
        let histories = histories(&kept.jobs);
        let timing = |stage: &mut Stage| {
            stage.end();
            let (wall_s, used) = stage.ended.unwrap_or_default();
            let told: Vec<&JobHistory> = histories.iter().filter(|job| job.stage == stage.name).collect();
            let measured: Vec<(String, f64)> =
                told.iter().map(|job| (job.symbol.clone(), job.wall_s())).collect();
            let walls = if told.is_empty() { &stage.shares } else { &measured };
            let seconds: Vec<f64> = walls.iter().map(|(_, wall_s)| *wall_s).collect();
            let at = |q: f64| quantile(&seconds, q).filter(|v| v.is_finite());
            StageTiming {
                stage: stage.name.to_owned(),
                jobs: stage.total as u64,
                wall_s,
                cpu_s: used.cpu_s,
                p50_s: at(0.5),
                p95_s: at(0.95),
                p99_s: at(0.99),
                slowest: if by_coin(stage.name) { slowest(walls) } else { Vec::new() },
                outcomes: (!told.is_empty()).then(|| counts(&told)),
            }
        };
        kept.stages.iter_mut().map(timing).collect()
    }

    /// The whole run so far.
    pub fn profile(&self, run_id: &str, workers: usize) -> Profile {
        let used = Usage::now().since(&self.at_start);
        Profile {
            run_id: run_id.to_owned(),
            workers: workers as u64,
            wall_s: self.seconds(),
            cpu_s: used.cpu_s,
            peak_memory_bytes: peak_memory_bytes(),
            bytes_read: used.bytes_read,
            bytes_written: used.bytes_written,
            stages: self.timings(),
        }
    }
}

impl Observer for Recorder<'_> {
    fn stage_started(&self, stage: &'static str, total: usize) {
        self.inner.stage_started(stage, total);
        let span = tracing::info_span!(parent: &self.span, "stage", stage, jobs = total, elapsed_ms = Empty);
        let mut kept = self.lock();
        if let Some(last) = kept.stages.last_mut() {
            last.end();
        }
        let (now, usage) = (Instant::now(), Usage::now());
        kept.current_symbol = None;
        kept.stages.push(Stage {
            name: stage,
            total,
            done: 0,
            began: now,
            last: now,
            at_start: usage,
            at_last: usage,
            shares: Vec::with_capacity(total),
            ended: None,
            span,
        });
        drop(kept);
        self.beat();
    }

    fn stage_advanced(&self, stage: &'static str, done: usize, detail: &str) {
        self.inner.stage_advanced(stage, done, detail);
        let event = self.job_event(detail, stage, JobStatus::Completed, None);
        let mut kept = self.lock();
        let Some(current) = kept.stages.last_mut().filter(|s| s.name == stage) else { return };
        let wall_s = current.last.elapsed().as_secs_f64();
        let usage = Usage::now();
        let used = usage.since(&current.at_last);
        current.done = done;
        current.last = Instant::now();
        current.at_last = usage;
        current.shares.push((detail.to_owned(), wall_s));
        if by_coin(stage) {
            kept.shares.push(UnitCost {
                symbol: detail.to_owned(),
                stage: stage.to_owned(),
                cpu_s: used.cpu_s,
                wall_s,
                rows: 0,
                bytes_read: used.bytes_read,
                bytes_written: used.bytes_written,
                requests: 0,
                cost_usd: None,
                basis: Some(CostBasis::Share),
                attempts: None,
                cached: None,
            });
            kept.events.push((event, false));
        }
        kept.current_symbol = Some(detail.to_owned());
    }

    fn stage_finished(&self, stage: &'static str) {
        self.inner.stage_finished(stage);
        if let Some(last) = self.lock().stages.last_mut().filter(|s| s.name == stage) {
            last.end();
        }
    }

    fn note(&self, text: &str) {
        self.inner.note(text);
    }

    fn job_span(&self, stage: &'static str, symbol: &str, attempt: u32) -> tracing::Span {
        let mut kept = self.lock();
        kept.current_symbol = Some(symbol.to_owned());
        let of = kept.stages.iter().rev().find(|s| s.name == stage).map(|s| s.span.clone());
        drop(kept);
        let parent = of.unwrap_or_else(|| self.span.clone());
        tracing::debug_span!(parent: &parent, "job", stage, symbol, attempt, elapsed_ms = Empty)
    }

    fn job_finished(&self, job: &JobFacts) {
        self.inner.job_finished(job);
        let JobFacts { stage, symbol, attempt, worker, cached, .. } = job;
        let elapsed_ms = ms(job.wall_s);
        let (status, reason) = match &job.outcome {
            JobOutcome::Completed => (JobStatus::Completed, cached.then(|| "cached".to_owned())),
            JobOutcome::Skipped { reason } => (JobStatus::Skipped, Some(reason.clone())),
            JobOutcome::Failed { error_chain, .. } => (JobStatus::Failed, Some(error_chain.join(": "))),
        };
        match (status, &reason) {
            (JobStatus::Failed, Some(error)) => {
                tracing::warn!(stage, symbol, attempt, worker, elapsed_ms, error, "job failed");
            }
            _ => {
                tracing::debug!(stage, symbol, attempt, worker, elapsed_ms, cached, "job finished")
            }
        }
        let event = self.job_event(symbol, stage, status, reason);
        let event = JobEvent { attempt: (*attempt).max(1), worker: worker.clone(), ..event };
        let mut kept = self.lock();
        kept.events.push((event, true));
        kept.jobs.push(job.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Silent;
    use huracan_store::MemoryStore;
    use std::sync::atomic::{AtomicI64, Ordering};

    fn facts(stage: &'static str, symbol: &str, attempt: u32, wall_s: f64, outcome: JobOutcome) -> JobFacts {
        JobFacts {
            stage,
            symbol: symbol.to_owned(),
            attempt,
            worker: "w1".to_owned(),
            wall_s,
            cpu_s: Some(wall_s / 2.0),
            bytes_read: 1 << 30,
            bytes_written: 1 << 29,
            requests: 500,
            cached: false,
            outcome,
        }
    }

    fn broken() -> JobOutcome {
        let error_chain = vec!["no head".to_owned(), "close of bar 7 is NaN".to_owned()];
        JobOutcome::Failed { code: "not_finite".to_owned(), error_chain }
    }

    #[test]
    fn the_heart_says_phase_stage_and_progress() {
        let store = MemoryStore::default();
        let time = AtomicI64::new(1_000_000_000_000);
        let clock = || UtcMs(time.load(Ordering::Relaxed));
        let recorder = Recorder::new(&Silent, &store, &clock, Rates::default());
        let heart = || heartbeats::read(&store, Service::Engine).unwrap().unwrap();
        recorder.stage_started("survey", 4);
        assert_eq!((heart().phase.as_str(), heart().stage.as_deref()), ("loading", Some("survey")));
        recorder.stage_advanced("survey", 1, "BTCUSDT");
        assert_eq!((heart().done, heart().eta_s), (0, None));
        recorder.stage_advanced("survey", 2, "ETHUSDT");
        recorder.beat();
        assert_eq!((heart().done, heart().progress), (2, 0.5));
        assert!(heart().eta_s.is_some());
        assert_eq!(heart().current_symbol.unwrap().to_string(), "ETHUSDT");
        recorder.stage_started("trial", 4);
        assert_eq!(heart().phase, "validating");
        recorder.last_words("failed", Some("interrupted".to_owned()));
        assert_eq!(heart().last_error.as_deref(), Some("interrupted"));
        let (events, costs) = recorder.lines(&|_| 7);
        assert_eq!((events.len(), costs.len(), costs[0].rows), (2, 2, 7));
        assert_eq!((costs[0].basis, costs[0].cost_usd), (Some(CostBasis::Share), None));
        assert_eq!(recorder.timings().len(), 2);
    }

    #[test]
    fn the_heart_beats_on_while_a_job_takes_its_time_and_stops_with_the_run() {
        let store = MemoryStore::default();
        let time = AtomicI64::new(1_000_000_000_000);
        let clock = || UtcMs(time.fetch_add(1, Ordering::Relaxed));
        let recorder = Recorder::new(&Silent, &store, &clock, Rates::default());
        recorder.stage_started("trial", 4);
        let at = || heartbeats::read(&store, Service::Engine).unwrap().unwrap().utc_timestamp;
        let first = at();
        let heart = Heart::new();
        std::thread::scope(|scope| {
            let _stops = heart.stop_on_drop();
            scope.spawn(|| recorder.keep_beating(&heart, Duration::from_millis(1)));
            // No job advances; only the heart itself can move the time on.
            while at() < first.max(UtcMs(first.0.0 + 3).into()) {
                std::thread::yield_now();
            }
        });
        let stopped = at();
        recorder.last_words("complete", None);
        assert!(at() > stopped);
    }

    #[test]
    fn a_run_that_panics_stops_its_heart() {
        let store = MemoryStore::default();
        let recorder = Recorder::new(&Silent, &store, &|| UtcMs(0), Rates::default());
        let heart = Heart::new();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            std::thread::scope(|scope| {
                let _stops = heart.stop_on_drop();
                scope.spawn(|| recorder.keep_beating(&heart, Duration::from_secs(3600)));
                panic!("the run");
            })
        }));
        assert!(panicked.is_err());
    }

    #[test]
    fn measured_jobs_take_the_place_of_shares_and_attempts_are_summed() {
        let store = MemoryStore::default();
        let rates = Rates {
            usd_per_cpu_hour: Some(3600.0),
            usd_per_gib_read: Some(1.0),
            usd_per_gib_written: Some(2.0),
            usd_per_1000_requests: Some(4.0),
        };
        let recorder = Recorder::new(&Silent, &store, &|| UtcMs(0), rates);
        recorder.stage_started("survey", 1);
        recorder.stage_advanced("survey", 1, "BTCUSDT");
        recorder.stage_started("trial", 3);
        recorder.job_finished(&facts("trial", "BTCUSDT", 1, 1.0, broken()));
        recorder.job_finished(&facts("trial", "ETHUSDT", 1, 4.0, broken()));
        recorder.job_finished(&facts("trial", "BTCUSDT", 2, 2.0, JobOutcome::Completed));
        let hit = facts("trial", "XRPUSDT", 1, 0.5, JobOutcome::Completed);
        recorder.job_finished(&JobFacts { cached: true, cpu_s: None, ..hit });
        for (i, symbol) in ["BTCUSDT", "ETHUSDT", "XRPUSDT"].iter().enumerate() {
            recorder.stage_advanced("trial", i + 1, symbol);
        }
        recorder.event("ETHUSDT", "trial", JobStatus::Failed, None);
        let (events, costs) = recorder.lines(&|_| 7);
        let by = |symbol: &str| costs.iter().find(|c| c.symbol == symbol && c.stage == "trial").unwrap();
        assert_eq!(costs.len(), 4);
        let btc = by("BTCUSDT");
        assert_eq!((btc.wall_s, btc.cpu_s, btc.attempts, btc.requests), (3.0, Some(1.5), Some(2), 1000));
        // 1.5 CPU seconds at 1 $, 2 GiB read at 1 $, 1 GiB written at 2 $, 1000 requests at 4 $.
        assert_eq!((btc.cost_usd, btc.basis), (Some(1.5 + 2.0 + 2.0 + 4.0), Some(CostBasis::Thread)));
        assert_eq!((by("XRPUSDT").cached, by("XRPUSDT").cpu_s), (Some(true), None));
        assert_eq!(by("XRPUSDT").cost_usd, Some(1.0 + 1.0 + 2.0));

        let states: Vec<(JobStatus, u32)> = events.iter().map(|e| (e.status, e.attempt)).collect();
        use JobStatus::{Completed, Failed};
        assert_eq!(states, [(Completed, 1), (Failed, 1), (Failed, 1), (Completed, 2), (Completed, 1)]);
        assert_eq!(events[4].reason.as_deref(), Some("cached"));

        let timing = recorder.timings().pop().unwrap();
        let names: Vec<&str> = timing.slowest.iter().map(|job| job.symbol.as_str()).collect();
        assert_eq!((names, timing.p50_s), (vec!["ETHUSDT", "BTCUSDT", "XRPUSDT"], Some(3.0)));
        assert!(timing.p99_s.unwrap() > timing.p95_s.unwrap());
        let counted = JobCounts {
            completed: 2,
            failed: 1,
            cache_hits: 1,
            cache_misses: 1,
            retried: 1,
            requests: 2000,
            ..JobCounts::default()
        };
        assert_eq!(timing.outcomes, Some(counted));

        let histories = recorder.histories();
        let failed: Vec<&JobHistory> = histories.iter().filter(|h| h.failure().is_some()).collect();
        assert_eq!((failed.len(), failed[0].symbol.as_str()), (1, "ETHUSDT"));
        assert_eq!(failed[0].tried(), ["attempt 1 on w1, 4.0 s: no head: close of bar 7 is NaN"]);
    }

    #[test]
    fn without_a_rate_there_is_no_money() {
        let cost = histories(&[facts("trial", "BTCUSDT", 1, 1.0, JobOutcome::Completed)])[0].unit_cost();
        assert_eq!(Rates::default().cost_usd(&cost), None);
        let only_cpu = Rates { usd_per_cpu_hour: Some(1.0), ..Rates::default() };
        assert_eq!(only_cpu.cost_usd(&UnitCost { cpu_s: None, ..cost }), None);
    }
}
