//! Hands of this process with a record: every attempt goes through a SQLite ledger, so that a run that
//! was killed, a job that failed and a job that kills its process are told apart the next time.
//!
//! A job that the ledger holds completed is done again all the same: its result is in the cache of
//! pieces, or made anew where the cache has lost it. What the ledger knows decides who is not tried
//! any more, who is tried again and when, and who runs alone because processes died under it. A disk or
//! a store that fails condemns nobody: the run ends, and the next one tries the job as if it were new.

use super::{
    Attempts, Cancel, Here, Hire, JobFault, JobName, Jobs, JobsError, MEMORY_CAP, REMEMBERED_DAYS, Trouble,
    fenced, outcome, stoppable,
};
use crate::cache::looked_for_by_this_thread;
use crate::pipeline::meter::{ThreadMeter, resident_bytes};
use huracan_core::words::UtcMs;
use huracan_jobs::{Caps, Error, JobError, JobId, Ledger, NewJob, Next, RetryPolicy, Status, Usage};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// How jobs are done and given up.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Rules {
    /// When a failed attempt is followed by another.
    pub retry: RetryPolicy,
    /// What an attempt may use.
    pub caps: Caps,
}

/// A ledger from which runs hire. It is opened by whoever holds the store.
pub struct LedgerOffice<'a> {
    /// Where the ledger is, or will be.
    pub path: PathBuf,
    /// Who works: host and process.
    pub worker: String,
    /// What runs are for, in a word.
    pub purpose: String,
    /// When this process began.
    pub begun_at: UtcMs,
    /// How jobs are done.
    pub rules: Rules,
    /// Raised to stop; looked at while waiting for another attempt.
    pub stop: &'a AtomicBool,
}

impl Hire for LedgerOffice<'_> {
    fn hire(&self, run: &str) -> Result<Box<dyn Jobs + '_>, JobsError> {
        match self.hands(run) {
            Ok(hands) => Ok(Box::new(hands)),
            // What a ledger knows is worth retries; the run does not need it, and a full disk is told by
            // whoever must write there.
            Err(error) => {
                tracing::warn!(%error, "the run goes on without a record of its jobs");
                Ok(Box::new(Here))
            }
        }
    }
}

impl LedgerOffice<'_> {
    fn hands(&self, run: &str) -> Result<LedgerHands<'_>, JobsError> {
        let ledger = Arc::new(self.open()?);
        ledger.begin_run(run, &self.purpose, &self.worker).map_err(broken)?;
        if let Err(error) = ledger.forget_runs_before(self.begun_at.0 - REMEMBERED_DAYS * UtcMs::DAY) {
            tracing::warn!(%error, "the jobs of old runs stay on record");
        }
        // The store's lock is ours: whoever else is said to run here is dead.
        for row in ledger.recover(|_| false).map_err(broken)? {
            tracing::info!(job = %row.id, crashes = row.crashes, "a job whose process died is taken up again");
        }
        let suspects = ledger.suspects(run).map_err(broken)?;
        let watched = Arc::new(Watched::default());
        let watcher = Watcher::start(watched.clone(), ledger.clone(), self.rules.caps);
        Ok(LedgerHands {
            office: self,
            is_lost: AtomicBool::new(false),
            ledger,
            run: run.to_owned(),
            suspects: suspects.into_iter().map(|row| row.id).collect(),
            done: Mutex::default(),
            floor: RwLock::new(()),
            watched,
            _watcher: watcher,
        })
    }
}

impl LedgerOffice<'_> {
    /// Opens the ledger. One that is damaged is put aside: what it knew is worth a night's retries, and
    /// every result can be made again without it.
    fn open(&self) -> Result<Ledger, JobsError> {
        let made = self.path.parent().map_or(Ok(()), std::fs::create_dir_all);
        made.map_err(|error| JobsError {
            code: "ledger_unusable",
            text: format!("the folder of {} cannot be made: {error}", self.path.display()),
        })?;
        match Ledger::open(&self.path) {
            Err(error @ Error::Corrupt { .. }) => {
                let aside = self.path.with_extension("sqlite.damaged");
                tracing::warn!(%error, aside = %aside.display(), "the ledger of jobs is begun anew");
                for suffix in ["-wal", "-shm"] {
                    let mut name = self.path.clone().into_os_string();
                    name.push(suffix);
                    let _ = std::fs::remove_file(name);
                }
                std::fs::rename(&self.path, &aside).map_err(|error| JobsError {
                    code: "ledger_unusable",
                    text: format!("{} is damaged and cannot be put aside: {error}", self.path.display()),
                })?;
                Ledger::open(&self.path).map_err(broken)
            }
            opened => opened.map_err(broken),
        }
    }
}

struct LedgerHands<'a> {
    office: &'a LedgerOffice<'a>,
    ledger: Arc<Ledger>,
    /// Whether the ledger could not be used; then the run goes on without.
    is_lost: AtomicBool,
    run: String,
    suspects: BTreeSet<JobId>,
    /// Jobs that the ledger held completed when they were declared.
    done: Mutex<BTreeSet<JobId>>,
    /// Shared by jobs that run beside others, held whole by one that runs alone.
    floor: RwLock<()>,
    watched: Arc<Watched>,
    _watcher: Watcher,
}

fn broken(error: Error) -> JobsError {
    JobsError { code: "ledger_unusable", text: format!("the ledger of jobs cannot be used: {error}") }
}

impl LedgerHands<'_> {
    fn id(&self, job: JobName<'_>) -> JobId {
        JobId::new(self.run.as_str(), job.stage, job.name)
    }

    /// One attempt, watched; what it used.
    fn attempt(
        &self,
        id: &JobId,
        number: u32,
        alone: bool,
        work: &mut Attempts<'_>,
    ) -> (Result<(), JobFault>, Usage) {
        let cancel = Arc::new(Cancel::default());
        let _watched = self.watched.enter(id, cancel.clone(), alone);
        let meter = ThreadMeter::start();
        let ended = fenced(|| stoppable(cancel, || work(number))).and_then(|ended| ended);
        let used = meter.stop();
        let peak_bytes = resident_bytes().unwrap_or(0);
        (ended, Usage { cpu_s: used.cpu_s.unwrap_or(0.0), wall_s: used.wall_s, peak_bytes })
    }

    /// Waits before another attempt, unless the run is stopped.
    fn wait(&self, delay_s: f64) -> bool {
        let until = Instant::now() + Duration::try_from_secs_f64(delay_s).unwrap_or(Duration::ZERO);
        while !self.office.stop.load(Ordering::Relaxed) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(Duration::from_millis(50)));
        }
        false
    }

    /// Says once that the ledger cannot be used any more.
    fn lose(&self, error: &Error) {
        if !self.is_lost.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, "the run goes on without a record of its jobs");
        }
    }

    fn was_done(&self, id: &JobId) -> bool {
        lock(&self.done).contains(id)
    }
}

impl Jobs for LedgerHands<'_> {
    fn declare(&self, stage: &'static str, names: &[String]) -> Result<(), JobsError> {
        let job = |(item, name): (usize, &String)| NewJob {
            index: item as u32,
            caps: self.office.rules.caps,
            ..NewJob::new(name.as_str(), self.run.as_str())
        };
        let jobs: Vec<NewJob> = names.iter().enumerate().map(job).collect();
        let ledger = &self.ledger;
        if let Err(error) = ledger.declare(&self.run, stage, &jobs) {
            self.lose(&error);
            return Ok(());
        }
        let selector = huracan_jobs::Selector::run(self.run.as_str()).stage(stage).status(Status::Completed);
        match ledger.jobs(&selector) {
            Ok(known) => lock(&self.done).extend(known.into_iter().map(|row| row.id)),
            Err(error) => self.lose(&error),
        }
        Ok(())
    }

    fn perform(&self, job: JobName<'_>, work: &mut Attempts<'_>) -> Result<(), Trouble> {
        let ledger = &self.ledger;
        let id = self.id(job);
        if self.was_done(&id) {
            let (_, missed_before) = looked_for_by_this_thread();
            let beside = self.floor.read().unwrap_or_else(PoisonError::into_inner);
            let (ended, usage) = self.attempt(&id, 1, false, work);
            drop(beside);
            if ended.is_ok() && looked_for_by_this_thread().1 == missed_before {
                return Ok(());
            }
            let lost = ledger.result_lost(&id, "pieces of its result were not in the cache");
            lost.unwrap_or_else(|error| self.lose(&error));
            if ended.is_ok() {
                let noted = ledger.started(&id, &self.office.worker);
                let noted = noted.and_then(|_| ledger.completed(&id, &self.run, usage));
                noted.unwrap_or_else(|error| self.lose(&error));
                return Ok(());
            }
            // It could not be made again just like that: it is a job like any other now.
        }
        let mut alone = self.suspects.contains(&id);
        loop {
            if self.is_lost.load(Ordering::Relaxed) {
                return Here.perform(job, work);
            }
            let (beside, whole) = match alone {
                false => (Some(self.floor.read().unwrap_or_else(PoisonError::into_inner)), None),
                true => (None, Some(self.floor.write().unwrap_or_else(PoisonError::into_inner))),
            };
            let begun = match alone {
                false => ledger.started(&id, &self.office.worker),
                true => ledger.started_alone(&id, &self.office.worker),
            };
            let number = match begun {
                Ok(number) => number,
                Err(Error::NotAllowed { .. }) => return Err(self.why_not(&id)?.into()),
                Err(error) => {
                    self.lose(&error);
                    continue;
                }
            };
            let (ended, usage) = self.attempt(&id, number, alone, work);
            drop((beside, whole));
            let fault = match ended {
                Ok(()) => {
                    // It is done, whatever becomes of its record: the next run makes it again from its pieces.
                    ledger.completed(&id, &self.run, usage).unwrap_or_else(|error| self.lose(&error));
                    return Ok(());
                }
                Err(fault) if self.office.stop.load(Ordering::Relaxed) => {
                    ledger.handed_back(&id).unwrap_or_else(|error| self.lose(&error));
                    return Err(fault.into());
                }
                Err(fault) => fault,
            };
            // Whose memory it was shows with nothing else beside it.
            alone |= fault.code == MEMORY_CAP;
            let rules = &self.office.rules.retry;
            let error = JobError {
                code: fault.code.clone(),
                text: fault.text.clone(),
                transient: fault.transient,
                retry_after_s: None,
            };
            let next = match fault.code.as_str() {
                CANCELLED => ledger.skipped(&id, CANCELLED).map(|()| Next::Never),
                _ if fault.surroundings && rules.next(id.seed(), number, &error) == Next::Never => {
                    ledger.handed_back(&id).map(|()| Next::Never)
                }
                _ => ledger.failed(&id, &error, rules),
            };
            match next {
                Ok(Next::Again { delay_s }) if self.wait(delay_s) => {}
                Ok(_) => return Err(fault.into()),
                Err(unnoted) => {
                    self.lose(&unnoted);
                    return Err(fault.into());
                }
            }
        }
    }

    fn close(&self, is_published: bool) -> Result<(), JobsError> {
        self.ledger.end_run(&self.run, outcome(is_published)).map_err(broken)
    }
}

impl LedgerHands<'_> {
    /// Why the ledger does not let a job begin.
    fn why_not(&self, id: &JobId) -> Result<JobFault, JobsError> {
        let (row, _) = self.ledger.job(id).map_err(broken)?;
        Ok(match (row.status, row.error) {
            (Status::Failed, Some(error)) => {
                let text = format!("given up after {} attempts: {}", row.attempt, error.text);
                JobFault::permanent(&error.code, text)
            }
            (Status::Skipped, _) => {
                let reason = row.reason.unwrap_or_else(|| "no reason was given".to_owned());
                JobFault::permanent("skipped", format!("not to be done: {reason}"))
            }
            (status, _) => JobFault::permanent("not_pending", format!("it is {}", status.as_str())),
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A job in the hands of a thread.
struct Running {
    id: JobId,
    cancel: Arc<Cancel>,
    began: Instant,
    alone: bool,
    /// What the process held when it began.
    at_start_bytes: u64,
}

/// What runs now.
#[derive(Default)]
struct Watched {
    running: Mutex<BTreeMap<u64, Running>>,
    next: AtomicU64,
}

impl Watched {
    fn enter(self: &Arc<Watched>, id: &JobId, cancel: Arc<Cancel>, alone: bool) -> Leaves {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let at_start_bytes = resident_bytes().unwrap_or(0);
        let running = Running { id: id.clone(), cancel, began: Instant::now(), alone, at_start_bytes };
        lock(&self.running).insert(number, running);
        Leaves { watched: self.clone(), number }
    }
}

/// Takes a job off the watch.
struct Leaves {
    watched: Arc<Watched>,
    number: u64,
}

impl Drop for Leaves {
    fn drop(&mut self) {
        lock(&self.watched.running).remove(&self.number);
    }
}

/// Code of a job that somebody cancelled, and the reason it is skipped for.
const CANCELLED: &str = "cancelled";
/// How often caps are looked at.
const TICK: Duration = Duration::from_millis(100);
/// Every how many looks the ledger is asked whether somebody cancelled a running job.
const ASK_EVERY: u32 = 10;
/// How long a job that was told to stop may take to reach a checkpoint. A thread cannot be killed, so
/// the process ends then; the ledger remembers under which job.
const GRACE: Duration = Duration::from_secs(60);
/// Status of a process that ends because a job does not stop.
const STUCK: i32 = 70;

/// Holds running jobs to their caps, and tells those that somebody cancelled, from a thread of its own.
struct Watcher {
    over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Watcher {
    fn start(watched: Arc<Watched>, ledger: Arc<Ledger>, caps: Caps) -> Watcher {
        let over = Arc::new(AtomicBool::new(false));
        let told = over.clone();
        let at_rest = resident_bytes().unwrap_or(0);
        let watch = move || {
            for number in 0_u32.. {
                if told.load(Ordering::Relaxed) {
                    return;
                }
                if number.is_multiple_of(ASK_EVERY) {
                    tell_cancelled(&watched, &ledger);
                }
                look(&watched, caps, at_rest);
                std::thread::sleep(TICK);
            }
        };
        let thread = std::thread::Builder::new().name("huracan-caps".to_owned()).spawn(watch);
        Watcher { over, thread: thread.ok() }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Tells running jobs that somebody cancelled. A ledger that does not answer cancels nobody.
fn tell_cancelled(watched: &Watched, ledger: &Ledger) {
    let running: Vec<(JobId, Arc<Cancel>)> =
        lock(&watched.running).values().map(|job| (job.id.clone(), job.cancel.clone())).collect();
    for (id, cancel) in running {
        if ledger.is_cancelled(&id).unwrap_or(false) {
            cancel.raise(JobFault::permanent(CANCELLED, "somebody cancelled it"));
        }
    }
}

/// Tells jobs that are over their caps to stop. Memory is the process's: each job may add its cap to
/// what the process held before the first, and where they are over it together the youngest goes.
fn look(watched: &Watched, caps: Caps, at_rest: u64) {
    let running = lock(&watched.running);
    for job in running.values() {
        let wall_s = job.began.elapsed().as_secs_f64();
        if let Some(cap_s) = caps.wall_s.filter(|cap_s| wall_s > *cap_s) {
            // It may pass: how long a job takes depends on what else the machine does, and what it has made
            // is kept.
            job.cancel.raise(JobFault::transient(
                "wall_cap",
                format!("took longer than {cap_s} s, its cap (jobs.wall_cap_s)"),
            ));
            if wall_s > cap_s + GRACE.as_secs_f64() {
                tracing::error!(job = %job.id, "does not stop; ending the process");
                std::process::exit(STUCK);
            }
        }
    }
    let Some(cap) = caps.memory_bytes else { return };
    // What one that is by itself is judged by has come since it began: the rest is nobody's fault of now.
    let before = match running.len() {
        1 => running.values().map(|job| job.at_start_bytes).sum(),
        _ => at_rest,
    };
    let held = resident_bytes().unwrap_or(0).saturating_sub(before);
    let waiting = running.values().any(|job| job.cancel.is_raised());
    if held > cap.saturating_mul(running.len() as u64)
        && !waiting
        && let Some(job) = running.values().next_back()
    {
        let text = format!(
            "the process held {} MiB more than before, and {} ran with {} MiB each (jobs.memory_cap_mib)",
            held >> 20,
            running.len(),
            cap >> 20
        );
        let alone = job.alone || running.len() == 1;
        // Beside others it may not have been its own fault.
        let fault = if alone { JobFault::permanent } else { JobFault::transient };
        job.cancel.raise(fault(MEMORY_CAP, text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::checkpoint;
    use huracan_jobs::Selector;

    const JOB: JobName<'static> = JobName { stage: "trial", name: "BTCUSDT", item: 0 };

    /// A folder with a ledger, and an office over it.
    fn office(stop: &AtomicBool, rules: Rules) -> (tempfile::TempDir, Ledger, LedgerOffice<'_>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("made/ledger.sqlite");
        std::fs::create_dir(folder.path().join("made")).unwrap();
        let ledger = Ledger::open(&path).unwrap();
        let (worker, purpose) = ("box:1".to_owned(), "train".to_owned());
        (folder, ledger, LedgerOffice { path, worker, purpose, begun_at: UtcMs(0), rules, stop })
    }

    fn at_once() -> Rules {
        Rules { retry: RetryPolicy { max_attempts: 3, base_s: 0.0, cap_s: 0.0 }, ..Rules::default() }
    }

    fn row(ledger: &Ledger) -> huracan_jobs::JobRow {
        ledger.job(&JobId::new("run", JOB.stage, JOB.name)).unwrap().0
    }

    fn fault_of(ended: Result<(), Trouble>) -> JobFault {
        match ended {
            Err(Trouble::Fault(fault)) => fault,
            other => panic!("expected a fault, found {other:?}"),
        }
    }

    #[test]
    fn what_may_pass_is_tried_again_and_what_does_not_pass_is_given_up_for_later_runs_too() {
        let stop = AtomicBool::new(false);
        let (_folder, ledger, office) = office(&stop, at_once());
        let names = [JOB.name.to_owned()];
        let hands = office.hire("run").unwrap();
        hands.declare(JOB.stage, &names).unwrap();
        let busy = |_: u32| Err(JobFault::transient("disk", "the disk is busy"));
        let third = |number: u32| if number < 3 { busy(number) } else { Ok(()) };
        hands.perform(JOB, &mut { third }).unwrap();
        assert_eq!((row(&ledger).status, row(&ledger).attempt), (Status::Completed, 3));

        let hands = office.hire("other").unwrap();
        hands.declare(JOB.stage, &names).unwrap();
        let mut tried = 0;
        let fault = fault_of(hands.perform(JOB, &mut |_| {
            tried += 1;
            panic!("index out of range")
        }));
        assert_eq!((tried, fault.code.as_str()), (1, "panicked"), "a panic comes again");
        assert_eq!(ledger.dead_letters().unwrap().len(), 1);
        drop(hands);
        let hands = office.hire("other").unwrap();
        hands.declare(JOB.stage, &names).unwrap();
        let fault = fault_of(hands.perform(JOB, &mut |_| unreachable!("it was given up")));
        assert!(fault.text.starts_with("given up after 1 attempts: index out of range"), "{fault}");
        assert_eq!(ledger.retry(&Selector::run("other")).unwrap(), 1);
        let hands = office.hire("other").unwrap();
        hands.declare(JOB.stage, &names).unwrap();
        hands.perform(JOB, &mut |_| Ok(())).unwrap();
    }

    #[test]
    fn a_done_job_is_made_again_from_its_pieces_without_a_word_to_the_ledger() {
        let stop = AtomicBool::new(false);
        let (_folder, ledger, office) = office(&stop, at_once());
        for _ in 0..2 {
            let hands = office.hire("run").unwrap();
            hands.declare(JOB.stage, &[JOB.name.to_owned()]).unwrap();
            hands.perform(JOB, &mut |_| Ok(())).unwrap();
        }
        assert_eq!(row(&ledger).attempt, 1);
        assert!(ledger.verify_exactly_once("run").unwrap().is_empty());
    }

    #[test]
    fn a_job_over_its_wall_cap_is_tried_again() {
        let stop = AtomicBool::new(false);
        let caps = Caps { wall_s: Some(0.05), memory_bytes: None };
        let (_folder, ledger, office) = office(&stop, Rules { caps, ..at_once() });
        let hands = office.hire("run").unwrap();
        hands.declare(JOB.stage, &[JOB.name.to_owned()]).unwrap();
        let slow_at_first = |number: u32| {
            if number > 1 {
                return Ok(());
            }
            loop {
                checkpoint();
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        hands.perform(JOB, &mut { slow_at_first }).unwrap();
        assert_eq!((row(&ledger).status, row(&ledger).attempt), (Status::Completed, 2));
    }

    #[test]
    fn a_cancelled_job_is_not_begun_and_one_over_its_cap_is_stopped() {
        let stop = AtomicBool::new(false);
        let caps = Caps { wall_s: Some(0.05), memory_bytes: None };
        let (_folder, ledger, office) = office(&stop, Rules { caps, ..at_once() });
        let hands = office.hire("run").unwrap();
        hands.declare(JOB.stage, &[JOB.name.to_owned()]).unwrap();
        let fault = fault_of(hands.perform(JOB, &mut |_| {
            loop {
                checkpoint();
                std::thread::sleep(Duration::from_millis(5));
            }
        }));
        assert_eq!(fault.code, "wall_cap");
        ledger.retry(&Selector::run("run")).unwrap();
        ledger.cancel(&Selector::run("run")).unwrap();
        let fault = fault_of(hands.perform(JOB, &mut |_| unreachable!("it was cancelled")));
        assert_eq!((fault.code.as_str(), row(&ledger).status), ("skipped", Status::Skipped));
    }

    /// A process that dies under a job leaves it running; the next one takes it up, and after a few
    /// such deaths alone.
    #[test]
    fn a_job_whose_process_died_is_taken_up_and_one_under_which_it_often_dies_runs_alone() {
        let stop = AtomicBool::new(false);
        let (_folder, ledger, office) = office(&stop, at_once());
        let id = JobId::new("run", JOB.stage, JOB.name);
        for _ in 0..3 {
            drop(office.hire("run").unwrap());
            ledger.declare("run", JOB.stage, &[NewJob::new(JOB.name, "run")]).unwrap();
            // Even one called like this one: process numbers come again, in a container always the same.
            ledger.started(&id, "box:1").unwrap();
        }
        let hands = office.hire("run").unwrap();
        assert_eq!(row(&ledger).crashes, 3);
        hands.declare(JOB.stage, &[JOB.name.to_owned()]).unwrap();
        hands.perform(JOB, &mut |_| Ok(())).unwrap();
        assert!(row(&ledger).alone && row(&ledger).status == Status::Completed);
    }

    #[test]
    fn a_damaged_ledger_is_put_aside_and_the_run_goes_on() {
        let stop = AtomicBool::new(false);
        let (folder, ledger, office) = office(&stop, at_once());
        drop(ledger);
        std::fs::write(
            &office.path,
            b"not a database, and longer than the header of one, which is 100 bytes or so \
            and must not be taken for an empty file",
        )
        .unwrap();
        let hands = office.hire("run").unwrap();
        hands.declare(JOB.stage, &[JOB.name.to_owned()]).unwrap();
        hands.perform(JOB, &mut |_| Ok(())).unwrap();
        assert!(folder.path().join("made/ledger.sqlite.damaged").exists());
    }

    #[test]
    fn a_disk_that_fails_condemns_no_job_to_be_left_out_of_the_next_run() {
        let stop = AtomicBool::new(false);
        let (_folder, ledger, office) = office(&stop, at_once());
        let full = JobFault::permanent("store_no_space", "no space left").of_surroundings();
        let away = JobFault::transient("scratch_failed", "input/output error").of_surroundings();
        for (fault, tries) in [(full, 1), (away, 3)] {
            let hands = office.hire("run").unwrap();
            hands.declare(JOB.stage, &[JOB.name.to_owned()]).unwrap();
            let mut tried = 0;
            let ended = hands.perform(JOB, &mut |_| {
                tried += 1;
                Err(fault.clone())
            });
            assert_eq!((fault_of(ended), tried), (fault, tries));
            assert_eq!(row(&ledger).status, Status::Pending);
        }
        assert!(ledger.dead_letters().unwrap().is_empty());
        let hands = office.hire("run").unwrap();
        hands.perform(JOB, &mut |_| Ok(())).unwrap();
        assert_eq!(row(&ledger).status, Status::Completed);
    }

    #[test]
    fn a_job_that_is_cancelled_while_it_runs_stops_at_a_checkpoint_and_is_skipped() {
        let stop = AtomicBool::new(false);
        let (_folder, ledger, office) = office(&stop, at_once());
        let hands = office.hire("run").unwrap();
        hands.declare(JOB.stage, &[JOB.name.to_owned()]).unwrap();
        let fault = fault_of(hands.perform(JOB, &mut |_| {
            assert_eq!(ledger.cancel(&Selector::run("run")).unwrap(), 1);
            loop {
                checkpoint();
                std::thread::sleep(Duration::from_millis(5));
            }
        }));
        assert_eq!((fault.code.as_str(), row(&ledger).status), ("cancelled", Status::Skipped));
        assert!(ledger.dead_letters().unwrap().is_empty());
        assert_eq!(ledger.retry(&Selector::run("run")).unwrap(), 1, "it may be asked for again");
    }

    #[test]
    fn a_done_job_that_cannot_be_made_again_is_a_job_like_any_other() {
        let stop = AtomicBool::new(false);
        let (_folder, ledger, office) = office(&stop, at_once());
        for done_before in [false, true] {
            let hands = office.hire("run").unwrap();
            hands.declare(JOB.stage, &[JOB.name.to_owned()]).unwrap();
            let mut attempts = 0;
            hands
                .perform(JOB, &mut |_| {
                    attempts += 1;
                    match done_before && attempts == 1 {
                        true => Err(JobFault::transient("busy", "not now")),
                        false => Ok(()),
                    }
                })
                .unwrap();
            assert_eq!(row(&ledger).status, Status::Completed);
        }
        assert!(ledger.verify_exactly_once("run").unwrap().is_empty());
    }
}
