//! Hands of other machines: the jobs of passes go to a PostgreSQL queue, and their results come back
//! through the store. Survey and publication stay with the coordinator, which has the candles and the
//! pointers.

use super::vault::{Shared, Vault, broken as store_broken, key};
use super::{
    Attempts, Elsewhere, EndedElsewhere, Hire, JobFault, JobName, Jobs, JobsError, REMEMBERED_DAYS, Trouble,
    fenced, outcome,
};
use crate::scratch::Beyond;
use huracan_core::words::UtcMs;
use huracan_jobs::{Caps, Coordinator, Error, JobId, JobRow, NewJob, Queue, Status, Watch};
use huracan_store::{Store, sha256_hex};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A queue from which runs hire.
pub struct QueueOffice {
    /// The queue.
    pub queue: Queue,
    /// Where machines leave things for each other.
    pub store: Arc<dyn Store>,
    /// Who coordinates: host and process.
    pub worker: String,
    /// What runs are for, in a word.
    pub purpose: String,
    /// What every worker must know of the run before its first job.
    pub spec: Vec<u8>,
    /// What an attempt may use.
    pub caps: Caps,
    /// Whose jobs come first where workers serve several runs: the smaller.
    pub priority: i32,
    /// When this machine began to coordinate.
    pub begun_at: UtcMs,
}

impl Hire for QueueOffice {
    fn hire(&self, run: &str) -> Result<Box<dyn Jobs + '_>, JobsError> {
        let coordinator =
            self.queue.open_run(run, &self.purpose, &self.spec, &self.worker).map_err(broken)?;
        if let Err(error) = self.queue.forget_runs_before(self.begun_at.0 - REMEMBERED_DAYS * UtcMs::DAY) {
            tracing::warn!(%error, "the jobs of old runs stay in the queue");
        }
        let vault = Vault::new(self.store.clone(), run);
        vault.begin(self.begun_at).map_err(store_broken)?;
        Ok(Box::new(QueueHands {
            office: self,
            run: run.to_owned(),
            coordinator: Mutex::new(Some(Arc::new(coordinator))),
            vault,
            shared: Mutex::default(),
            stages: Mutex::default(),
            hired: Instant::now(),
            told: Mutex::new(Instant::now()),
        }))
    }
}

/// What is known of one stage.
#[derive(Default)]
struct Stage {
    watch: Watch,
    ended: BTreeMap<String, JobRow>,
}

struct QueueHands<'a> {
    office: &'a QueueOffice,
    run: String,
    /// Until the run is closed.
    coordinator: Mutex<Option<Arc<Coordinator>>>,
    vault: Vault,
    shared: Mutex<Shared>,
    stages: Mutex<BTreeMap<&'static str, Stage>>,
    hired: Instant,
    /// When the folder was last told.
    told: Mutex<Instant>,
}

fn broken(error: Error) -> JobsError {
    let code = match error {
        Error::Busy { .. } => "run_held",
        Error::LeaseLost { .. } => "run_lost",
        _ => "queue_unusable",
    };
    JobsError { code, text: format!("the queue of jobs: {error}") }
}

/// How long one look for news lasts.
const LOOK: Duration = Duration::from_millis(250);
/// How often the run's folder is told that somebody coordinates it.
const TOLD_EVERY: Duration = Duration::from_secs(3600);

impl QueueHands<'_> {
    fn coordinator(&self) -> Result<Arc<Coordinator>, JobsError> {
        let held = self.coordinator.lock().unwrap_or_else(PoisonError::into_inner);
        let closed = || JobsError { code: "run_closed", text: "the run was closed already".to_owned() };
        held.clone().ok_or_else(closed)
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Stage>> {
        self.stages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the run's folder, now and then, that somebody coordinates it.
    fn tell(&self) -> Result<(), JobsError> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.elapsed() >= TOLD_EVERY {
            let since = UtcMs(self.office.begun_at.0 + self.hired.elapsed().as_millis() as i64);
            self.vault.begin(since).map_err(store_broken)?;
            *told = Instant::now();
        }
        Ok(())
    }

    /// The row of a job that has ended. One thread looks for news at a time, and tells the others.
    fn row_of(&self, job: JobName<'_>, stop: &AtomicBool) -> Result<JobRow, Trouble> {
        loop {
            if stop.load(Ordering::Relaxed) {
                return Err(JobFault::transient("interrupted", "interrupted").into());
            }
            let mut stages = self.lock();
            let stage = stages.entry(job.stage).or_default();
            if let Some(row) = stage.ended.get(job.name) {
                return Ok(row.clone());
            }
            self.tell()?;
            let coordinator = self.coordinator()?;
            let news = coordinator.wait_changes(job.stage, &mut stage.watch, LOOK).map_err(broken)?;
            for row in news.into_iter().filter(|row| row.status.is_final()) {
                stage.ended.insert(row.id.symbol.clone(), row);
            }
        }
    }

    fn forget(&self, job: JobName<'_>) {
        if let Some(stage) = self.lock().get_mut(job.stage) {
            stage.ended.remove(job.name);
        }
    }
}

/// How often a result that was recorded and is not there is made again.
const LOST_MAX: usize = 3;

impl Elsewhere for QueueHands<'_> {
    fn share(&self, part: &'static str, bytes: &[u8]) -> Result<(), JobsError> {
        let digest = sha256_hex(bytes);
        self.vault.leave_part(&digest, bytes).map_err(store_broken)?;
        self.shared().push((part.to_owned(), digest));
        Ok(())
    }

    fn ended(&self, job: JobName<'_>, stop: &AtomicBool) -> Result<EndedElsewhere, Trouble> {
        let ended = |row: JobRow, result: Result<Vec<u8>, JobFault>| EndedElsewhere {
            result,
            attempt: row.attempt.max(1),
            worker: row.worker.unwrap_or_default(),
            usage: row.usage,
        };
        for _ in 0..LOST_MAX {
            let row = self.row_of(job, stop)?;
            match row.status {
                Status::Completed => {
                    let bytes = self.vault.result(&row.key, job.item).map_err(store_broken)?;
                    if let Some(bytes) = bytes.filter(|b| row.digest.as_deref() == Some(&sha256_hex(b))) {
                        return Ok(ended(row, Ok(bytes)));
                    }
                    tracing::warn!(stage = job.stage, symbol = job.name, "the result is gone; made again");
                    self.forget(job);
                    let id = JobId::new(self.run.as_str(), job.stage, job.name);
                    self.office
                        .queue
                        .result_lost(&id, "the store does not hold its result")
                        .map_err(broken)?;
                }
                Status::Skipped => {
                    let reason = row.reason.as_deref().unwrap_or("no reason was given");
                    let fault = JobFault::permanent("skipped", format!("not to be done: {reason}"));
                    return Ok(ended(row, Err(fault)));
                }
                _ => {
                    let fault = row.error.as_ref().map_or_else(
                        || JobFault::permanent("failed", "failed without a word"),
                        |e| JobFault::permanent(&e.code, e.text.as_str()),
                    );
                    return Ok(ended(row, Err(fault)));
                }
            }
        }
        let text = format!("its result was recorded {LOST_MAX} times and is not in the store");
        Err(JobFault::permanent("result_lost", text).into())
    }
}

impl Jobs for QueueHands<'_> {
    fn declare(&self, stage: &'static str, names: &[String]) -> Result<(), JobsError> {
        let shared = self.shared().clone();
        let key = key(&self.run, stage, &shared);
        self.vault.leave_shared(&key, &shared).map_err(store_broken)?;
        let job = |(item, name): (usize, &String)| NewJob {
            index: item as u32,
            caps: self.office.caps,
            priority: self.office.priority,
            ..NewJob::new(name.as_str(), key.as_str())
        };
        let jobs: Vec<NewJob> = names.iter().enumerate().map(job).collect();
        self.coordinator()?.submit(stage, &jobs).map_err(broken)
    }

    fn perform(&self, _: JobName<'_>, work: &mut Attempts<'_>) -> Result<(), Trouble> {
        Ok(fenced(|| work(1)).and_then(|ended| ended)?)
    }

    fn elsewhere(&self) -> Option<&dyn Elsewhere> {
        Some(self)
    }

    fn beyond(&self) -> Option<Arc<dyn Beyond>> {
        Some(Arc::new(self.vault.clone()))
    }

    fn close(&self, is_published: bool) -> Result<(), JobsError> {
        // While the run is still held: whoever takes it up next leaves things of the same names.
        self.vault.clear().map_err(store_broken)?;
        let held = self.coordinator.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Passes are over, so nobody else holds it.
        if let Some(coordinator) = held.and_then(Arc::into_inner) {
            coordinator.close(outcome(is_published)).map_err(broken)?;
        }
        Ok(())
    }
}
