//! Watches a run: passes on what it hears, beats the heart, and keeps what goes into `runs/{run_id}/`.
//!
//! A coin's share of a stage is what passed between the coin before it and it being through. Coins
//! come in order, so with several workers this divides the stage's clock among its coins; the sum
//! is exact, a single share is not the time of one job.

use super::meter::{Usage, peak_memory_bytes};
use crate::engine::Observer;
use huracan_core::stats::quantiles::quantile;
use huracan_core::words::{Symbol, UtcMs};
use huracan_store::Store;
use huracan_store::formats::heartbeat::Heartbeat;
use huracan_store::formats::run::{JobEvent, JobStatus, Profile, StageTiming, UnitCost};
use huracan_store::heartbeats::{self, INTERVAL_MS, Service};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The clock of the outside world.
pub type Clock<'a> = dyn Fn() -> UtcMs + Sync + 'a;

/// One stage as it went.
struct Stage {
    name: &'static str,
    total: usize,
    began: Instant,
    last: Instant,
    at_start: Usage,
    at_last: Usage,
    wall_s: Vec<f64>,
    ended: Option<(f64, Usage)>,
}

impl Stage {
    fn end(&mut self) {
        if self.ended.is_none() {
            let used = Usage::now().since(&self.at_start);
            self.ended = Some((self.began.elapsed().as_secs_f64(), used));
        }
    }
}

struct Kept {
    stages: Vec<Stage>,
    events: Vec<JobEvent>,
    unit_costs: Vec<UnitCost>,
    last_beat: Option<UtcMs>,
}

/// The watcher.
pub(super) struct Recorder<'a> {
    inner: &'a dyn Observer,
    store: &'a dyn Store,
    clock: &'a Clock<'a>,
    began: Instant,
    at_start: Usage,
    /// When the run began.
    pub started_at: UtcMs,
    kept: Mutex<Kept>,
}

/// The phase of the heartbeat a stage belongs to.
fn phase(stage: &str) -> &'static str {
    match stage {
        "fingerprints" | "survey" => "loading",
        "trial" | "verdicts" | "canaries" => "validating",
        "publish" => "publishing",
        _ => "training",
    }
}

impl<'a> Recorder<'a> {
    pub fn new(inner: &'a dyn Observer, store: &'a dyn Store, clock: &'a Clock<'a>) -> Recorder<'a> {
        let kept = Kept { stages: Vec::new(), events: Vec::new(), unit_costs: Vec::new(), last_beat: None };
        Recorder {
            inner,
            store,
            clock,
            began: Instant::now(),
            at_start: Usage::now(),
            started_at: clock(),
            kept: Mutex::new(kept),
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

    /// Says how the run ended.
    pub fn last_words(&self, phase: &str, error: Option<String>) {
        let done = usize::from(error.is_none());
        self.beat(phase, None, done, 1, error);
    }

    /// A heart that cannot beat does not stop a run; what stops the store stops the run elsewhere.
    fn beat(&self, phase: &str, symbol: Option<&str>, done: usize, total: usize, error: Option<String>) {
        let now = self.now();
        let kept = self.lock();
        let stage = kept.stages.last().map(|s| s.began.elapsed().as_secs_f64());
        drop(kept);
        let left = total.saturating_sub(done) as f64;
        let heartbeat = Heartbeat {
            utc_timestamp: now.into(),
            phase: phase.to_owned(),
            current_symbol: symbol.and_then(|s| s.parse::<Symbol>().ok()).map(Into::into),
            progress: if total == 0 { 0.0 } else { (done as f64 / total as f64).min(1.0) },
            done: done.min(total) as u64,
            total: total as u64,
            eta_s: stage.filter(|_| done > 0).map(|s| s / done as f64 * left),
            last_error: error,
        };
        if let Err(error) = heartbeats::beat(self.store, Service::Engine, &heartbeat) {
            tracing::warn!(%error, "no heartbeat");
        }
        self.lock().last_beat = Some(now);
    }

    /// Notes an event that no stage told of.
    pub fn event(&self, symbol: &str, stage: &str, status: JobStatus, reason: Option<String>) {
        let event = self.job_event(symbol, stage, status, reason);
        self.lock().events.push(event);
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

    /// Everything that was noted, in order; `rows_of` says how many bars a coin has.
    pub fn lines(&self, rows_of: &dyn Fn(&str) -> u64) -> (Vec<JobEvent>, Vec<UnitCost>) {
        let kept = self.lock();
        let with_rows = |cost: &UnitCost| UnitCost { rows: rows_of(&cost.symbol), ..cost.clone() };
        (kept.events.clone(), kept.unit_costs.iter().map(with_rows).collect())
    }

    /// Timings of the stages so far.
    pub fn timings(&self) -> Vec<StageTiming> {
        let mut kept = self.lock();
        kept.stages
            .iter_mut()
            .map(|stage| {
                stage.end();
                let (wall_s, used) = stage.ended.unwrap_or_default();
                let at = |q: f64| quantile(&stage.wall_s, q).filter(|v| v.is_finite());
                StageTiming {
                    stage: stage.name.to_owned(),
                    jobs: stage.total as u64,
                    wall_s,
                    cpu_s: used.cpu_s,
                    p50_s: at(0.5),
                    p95_s: at(0.95),
                }
            })
            .collect()
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
        let mut kept = self.lock();
        if let Some(last) = kept.stages.last_mut() {
            last.end();
        }
        let (now, usage) = (Instant::now(), Usage::now());
        kept.stages.push(Stage {
            name: stage,
            total,
            began: now,
            last: now,
            at_start: usage,
            at_last: usage,
            wall_s: Vec::with_capacity(total),
            ended: None,
        });
        drop(kept);
        self.beat(phase(stage), None, 0, total, None);
    }

    fn stage_advanced(&self, stage: &'static str, done: usize, detail: &str) {
        self.inner.stage_advanced(stage, done, detail);
        let event = self.job_event(detail, stage, JobStatus::Completed, None);
        let now = event.at.0;
        let mut kept = self.lock();
        let mut total = done;
        if let Some(current) = kept.stages.last_mut().filter(|s| s.name == stage) {
            total = current.total.max(done);
            let wall_s = current.last.elapsed().as_secs_f64();
            let usage = Usage::now();
            let used = usage.since(&current.at_last);
            current.last = Instant::now();
            current.at_last = usage;
            current.wall_s.push(wall_s);
            // Verdicts advance by figures and canaries by passes, not by coins.
            if !matches!(stage, "verdicts" | "canaries") {
                kept.unit_costs.push(UnitCost {
                    symbol: detail.to_owned(),
                    stage: stage.to_owned(),
                    cpu_s: used.cpu_s,
                    wall_s,
                    rows: 0,
                    bytes_read: used.bytes_read,
                    bytes_written: used.bytes_written,
                    requests: 0,
                    cost_usd: None,
                });
                kept.events.push(event);
            }
        }
        let due = kept.last_beat.is_none_or(|last| now.0 - last.0 >= INTERVAL_MS);
        drop(kept);
        if due {
            self.beat(phase(stage), Some(detail), done, total, None);
        }
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Silent;
    use huracan_store::MemoryStore;
    use std::sync::atomic::{AtomicI64, Ordering};

    #[test]
    fn the_heart_beats_at_every_phase_and_not_more_often_than_it_must() {
        let store = MemoryStore::default();
        let time = AtomicI64::new(1_000_000_000_000);
        let clock = || UtcMs(time.load(Ordering::Relaxed));
        let recorder = Recorder::new(&Silent, &store, &clock);
        let heart = || heartbeats::read(&store, Service::Engine).unwrap().unwrap();
        recorder.stage_started("survey", 4);
        assert_eq!((heart().phase.as_str(), heart().done), ("loading", 0));
        recorder.stage_advanced("survey", 1, "BTCUSDT");
        assert_eq!(heart().done, 0);
        time.fetch_add(INTERVAL_MS, Ordering::Relaxed);
        recorder.stage_advanced("survey", 2, "ETHUSDT");
        assert_eq!((heart().done, heart().progress), (2, 0.5));
        assert_eq!(heart().current_symbol.unwrap().to_string(), "ETHUSDT");
        recorder.stage_started("trial", 4);
        assert_eq!(heart().phase, "validating");
        recorder.last_words("failed", Some("interrupted".to_owned()));
        assert_eq!(heart().last_error.as_deref(), Some("interrupted"));
        let (events, costs) = recorder.lines(&|_| 7);
        assert_eq!((events.len(), costs.len(), costs[0].rows), (2, 2, 7));
        assert_eq!(recorder.timings().len(), 2);
    }
}
