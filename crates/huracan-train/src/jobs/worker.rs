//! Work for any run of a queue: what the run shares is read from the store, its jobs are done here,
//! their results left in the store before they are said to be done.

use super::vault::{Shared, Vault};
use super::{Here, JobFault, MEMORY_CAP, Stopping, fenced, stoppable};
use crate::engine::work::{Knowledge, Parts};
use crate::engine::{Engine, Silent};
use crate::pipeline::meter::{ThreadMeter, resident_bytes};
use crate::scratch::Scratch;
use crate::settings::Settings;
use huracan_core::words::UtcMs;
use huracan_jobs::{CancelReason, CancelToken, Claimed, Done, Handler, JobError, Usage};
use huracan_store::{Store, sha256_hex};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Makes settings of what a run was opened with.
pub type ReadSpec = dyn Fn(&[u8]) -> Result<Settings, JobFault> + Send + Sync;

/// A worker's handler of jobs.
pub struct Bench {
    store: Arc<dyn Store>,
    scratch_dir: PathBuf,
    concurrency: usize,
    at_rest_bytes: u64,
    read_spec: Box<ReadSpec>,
    /// Raised to stop the worker.
    stop: Arc<AtomicBool>,
    misfit: Mutex<Option<String>>,
    /// Jobs in a row that a disk or the store kept from being done.
    troubles: AtomicU32,
    runs: Mutex<Vec<Arc<Run>>>,
    opened: AtomicU64,
    crew: Arc<Mutex<Crew>>,
}

/// Code of a fault that lies in the worker and not in the job: it is of another build, or looks into
/// another store. The job is handed back, and the worker stops.
pub const MISFIT: &str = "worker_misfit";

/// One run as this worker knows it.
struct Run {
    name: String,
    settings: Settings,
    vault: Vault,
    shared: Mutex<Shared>,
    scratch: Scratch,
    knowledge: Knowledge,
}

impl Run {
    /// Whether jobs that may know `shared` can go on with what is known here: one must be how the other
    /// begins. A run that was taken up anew may have found something else, and then nothing fits.
    fn goes_on(&self, shared: &Shared) -> bool {
        let mut known = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let both = known.len().min(shared.len());
        let fits = known[..both] == shared[..both];
        if fits && shared.len() > known.len() {
            known.clone_from(shared);
        }
        fits
    }
}

fn not_there(what: &str) -> JobFault {
    let text = format!("{what} of this run is not in the store; give the worker the coordinator's store");
    JobFault::transient(MISFIT, text)
}

impl Parts for Run {
    fn read(&self, part: &'static str) -> Result<Vec<u8>, JobFault> {
        let known = self.shared.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let digest = known.into_iter().find(|(name, _)| name == part).map(|(_, digest)| digest);
        let digest = digest.ok_or_else(|| not_there(part))?;
        let found = self.vault.part(&digest).map_err(|error| JobFault::from(&error))?;
        found.filter(|bytes| sha256_hex(bytes) == digest).ok_or_else(|| not_there(part))
    }
}

/// Jobs in a row that a disk or the store may keep a worker from before it stops.
const TROUBLES_MAX: u32 = 8;
/// The first wait before such a job is handed back.
const PAUSE: Duration = Duration::from_millis(500);

/// Runs whose knowledge is kept in memory.
const RUNS_KEPT: usize = 2;

impl Bench {
    /// A bench over the store that the coordinators of its runs use. `concurrency` is the number of jobs
    /// at a time, by which memory caps are shared out.
    pub fn new(
        store: Arc<dyn Store>,
        scratch_dir: PathBuf,
        concurrency: usize,
        read_spec: Box<ReadSpec>,
        stop: Arc<AtomicBool>,
    ) -> Bench {
        let at_rest_bytes = resident_bytes().unwrap_or(0);
        let (runs, opened) = (Mutex::default(), AtomicU64::new(0));
        let (misfit, troubles) = (Mutex::default(), AtomicU32::new(0));
        Bench {
            store,
            scratch_dir,
            concurrency,
            at_rest_bytes,
            read_spec,
            stop,
            misfit,
            troubles,
            runs,
            opened,
            crew: Arc::default(),
        }
    }

    /// Why the worker does not fit the runs of its queue, if it does not.
    pub fn misfit(&self) -> Option<String> {
        self.misfit.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops the worker, and says why; the first reason stays.
    fn give_up(&self, why: String) {
        self.misfit.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Waits before a job is handed back, longer every time, unless the worker is to stop.
    fn pause(&self, troubles: u32, cancel: &CancelToken) {
        let until = Instant::now() + PAUSE.saturating_mul(1 << troubles.min(5));
        while Instant::now() < until && !cancel.is_cancelled() && !self.stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn run_of(&self, job: &Claimed) -> Result<Arc<Run>, JobFault> {
        let vault = Vault::new(self.store.clone(), job.id.run.as_str());
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = vault.shared(&job.key).map_err(|error| JobFault::from(&error))?;
        let shared = shared.ok_or_else(|| not_there("the key of a job"))?;
        if let Some(known) = runs.iter().find(|run| run.name == job.id.run && run.goes_on(&shared)) {
            return Ok(known.clone());
        }
        let settings = (self.read_spec)(&job.spec)?;
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        let folder = self.scratch_dir.join(format!("{}-{number}", job.id.run));
        let scratch = Scratch::open(&folder)?.beyond(Arc::new(vault.clone()));
        let run = Arc::new(Run {
            name: job.id.run.clone(),
            settings,
            vault,
            shared: Mutex::new(shared),
            scratch,
            knowledge: Knowledge::default(),
        });
        runs.push(run.clone());
        if runs.len() > RUNS_KEPT {
            runs.remove(0);
        }
        Ok(run)
    }

    fn perform(&self, job: &Claimed) -> Result<String, JobFault> {
        let run = self.run_of(job)?;
        let engine = Engine {
            settings: &run.settings,
            workers: 1,
            now: UtcMs(i64::MAX / 2),
            stop: &AtomicBool::new(false),
            scratch: &run.scratch,
            observer: &Silent,
            jobs: &Here,
        };
        let item = job.index as usize;
        let bytes = run.knowledge.perform(&engine, &*run, &job.id.stage, item)?;
        run.vault.leave_result(&job.key, item, &bytes).map_err(|error| JobFault::from(&error))?;
        Ok(sha256_hex(&bytes))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner).clear();
        // Only when it is empty: columns of another worker may be in it.
        let _ = std::fs::remove_dir(&self.scratch_dir);
    }
}

impl Handler for Bench {
    fn run(&self, job: &Claimed, cancel: &CancelToken) -> Result<Done, JobError> {
        // Who has no cap makes room for nobody.
        let member = job.caps.memory_bytes.is_some().then(|| Member::join(&self.crew));
        let stopping = Arc::new(Caps {
            number: member.as_ref().map_or(0, |member| member.number),
            crew: self.crew.clone(),
            cancel: cancel.clone(),
            memory_bytes: job.caps.memory_bytes,
            at_rest_bytes: self.at_rest_bytes,
            concurrency: self.concurrency,
        });
        let meter = ThreadMeter::start();
        let ended = fenced(|| stoppable(stopping, || self.perform(job))).and_then(|ended| ended);
        drop(member);
        let used = meter.stop();
        let usage = Usage {
            cpu_s: used.cpu_s.unwrap_or(0.0),
            wall_s: used.wall_s,
            peak_bytes: resident_bytes().unwrap_or(0),
        };
        match ended {
            Ok(digest) => {
                self.troubles.store(0, Ordering::Relaxed);
                Ok(Done { digest, usage })
            }
            Err(JobFault { code, text, .. }) if code == MISFIT => {
                tracing::error!(job = %job.id, "{text}");
                self.give_up(text.clone());
                // Handed back, not failed: it is not the job's fault.
                cancel.cancel(CancelReason::Stopping);
                Err(JobError::transient(code, text))
            }
            // Nor when a disk or the store fails: the job goes to somebody else, after a while.
            Err(JobFault { code, text, surroundings: true, .. }) => {
                let before = self.troubles.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(job = %job.id, "{text}");
                if before + 1 >= TROUBLES_MAX {
                    self.give_up(format!("{text}; {TROUBLES_MAX} jobs in a row could not be done here"));
                }
                self.pause(before, cancel);
                cancel.cancel(CancelReason::Stopping);
                Err(JobError::transient(code, text))
            }
            Err(JobFault { code, text, transient, .. }) => {
                Err(JobError { code, text, transient, retry_after_s: None })
            }
        }
    }
}

/// The jobs that a worker does at a time.
#[derive(Default)]
struct Crew {
    begun: u64,
    /// Numbers in the order in which they began.
    running: BTreeSet<u64>,
    /// The one that was told to stop for all of them.
    leaving: Option<u64>,
}

impl Crew {
    /// Whether a job is the one to stop where they hold too much together: the youngest, one at a time.
    fn must_leave(&mut self, number: u64) -> bool {
        if self.leaving.is_none() && self.running.last() == Some(&number) {
            self.leaving = Some(number);
        }
        self.leaving == Some(number)
    }
}

/// A job among those of its worker, until it is dropped.
struct Member {
    crew: Arc<Mutex<Crew>>,
    number: u64,
}

impl Member {
    fn join(crew: &Arc<Mutex<Crew>>) -> Member {
        let mut held = crew.lock().unwrap_or_else(PoisonError::into_inner);
        held.begun += 1;
        let number = held.begun;
        held.running.insert(number);
        Member { crew: crew.clone(), number }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut crew = self.crew.lock().unwrap_or_else(PoisonError::into_inner);
        crew.running.remove(&self.number);
        crew.leaving = crew.leaving.filter(|leaving| *leaving != self.number);
    }
}

/// What stops a worker's job: its token, or the memory of its process where it is the youngest.
struct Caps {
    number: u64,
    crew: Arc<Mutex<Crew>>,
    cancel: CancelToken,
    memory_bytes: Option<u64>,
    at_rest_bytes: u64,
    concurrency: usize,
}

impl Stopping for Caps {
    fn fault(&self) -> Option<JobFault> {
        let said = |reason: CancelReason| match reason {
            CancelReason::WallCap => JobFault::transient("wall_cap", "took longer than its cap"),
            CancelReason::Cancelled => JobFault::permanent("cancelled", "cancelled"),
            CancelReason::LeaseLost => JobFault::transient("lease_lost", "its lease was lost"),
            CancelReason::Stopping => JobFault::transient("stopping", "the worker stops"),
        };
        if let Some(reason) = self.cancel.reason() {
            return Some(said(reason));
        }
        let cap = self.memory_bytes?;
        let held = resident_bytes()?.saturating_sub(self.at_rest_bytes);
        let is_over = held > cap.saturating_mul(self.concurrency as u64);
        let must_leave = || self.crew.lock().unwrap_or_else(PoisonError::into_inner).must_leave(self.number);
        (is_over && must_leave()).then(|| {
            let text =
                format!("the worker held {} MiB, its jobs may hold {} MiB each", held >> 20, cap >> 20);
            // Beside others it may not have been its own fault.
            let fault = if self.concurrency == 1 { JobFault::permanent } else { JobFault::transient };
            fault(MEMORY_CAP, text)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(member: &Member, memory_bytes: Option<u64>, concurrency: usize) -> Caps {
        Caps {
            number: member.number,
            crew: member.crew.clone(),
            cancel: CancelToken::new(),
            memory_bytes,
            at_rest_bytes: 0,
            concurrency,
        }
    }

    #[test]
    fn of_jobs_over_the_memory_cap_together_only_the_youngest_is_stopped() {
        if resident_bytes().is_none() {
            return;
        }
        let crew = Arc::default();
        let [older, younger] = [Member::join(&crew), Member::join(&crew)];
        let of = |member: &Member| caps(member, Some(0), 2).fault();
        assert_eq!(of(&older), None);
        let fault = of(&younger).unwrap();
        assert_eq!((fault.code.as_str(), fault.transient), (MEMORY_CAP, true));
        // One that begins before the youngest has stopped does not take its place.
        let newest = Member::join(&crew);
        assert_eq!((of(&older), of(&newest), of(&younger).is_some()), (None, None, true));
        drop(younger);
        assert_eq!((of(&older), of(&newest).is_some()), (None, true));
        drop(newest);
        assert!(of(&older).is_some(), "it is the youngest now");
    }

    #[test]
    fn a_job_that_is_over_the_memory_cap_by_itself_is_not_tried_again() {
        if resident_bytes().is_none() {
            return;
        }
        let member = Member::join(&Arc::default());
        let of = |memory_bytes| caps(&member, memory_bytes, 1).fault();
        assert_eq!((of(None), of(Some(u64::MAX))), (None, None));
        let fault = of(Some(0)).unwrap();
        assert_eq!((fault.code.as_str(), fault.transient), (MEMORY_CAP, false));
    }

    #[test]
    fn a_job_over_its_wall_cap_may_be_tried_again_and_a_cancelled_one_may_not() {
        let member = Member::join(&Arc::default());
        for (reason, told) in
            [(CancelReason::WallCap, ("wall_cap", true)), (CancelReason::Cancelled, ("cancelled", false))]
        {
            let caps = caps(&member, None, 1);
            caps.cancel.cancel(reason);
            let fault = caps.fault().unwrap();
            assert_eq!((fault.code.as_str(), fault.transient), told);
        }
    }
}
