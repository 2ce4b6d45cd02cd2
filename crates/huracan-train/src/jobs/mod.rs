//! Who does the jobs of a run. A job is one (stage, name) of a run: usually a coin in a pass.
//!
//! The passes say what a job is; here is only how it is done: in this process, watched, repeated
//! when its fault may pass, refused when it was given up or cancelled ([`Jobs`]); or by other
//! processes, from which its result comes as bytes ([`Elsewhere`]).
//!
//! Three kinds of hands: [`Here`] keeps no record, [`ledgered`] writes one to a SQLite ledger,
//! [`queued`] hands jobs to whoever works on a PostgreSQL queue ([`worker`]).

pub mod ledgered;
pub mod queued;
pub mod vault;
pub mod worker;

use crate::scratch::Beyond;
use huracan_jobs::{PUBLISHED, Usage};
use huracan_store::StoreError;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Why a job gave no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobFault {
    /// Stable code: `panicked`, `cancelled`, `scratch_failed`, ….
    pub code: String,
    /// What happened.
    pub text: String,
    /// Whether another attempt may go better.
    pub transient: bool,
    /// Whether it lies in what surrounds the job, a disk or a store, and not in the job: it ends the
    /// run, and condemns no job to be left out of the next one.
    pub surroundings: bool,
}

impl JobFault {
    /// One that would come again.
    pub fn permanent(code: &str, text: impl Into<String>) -> JobFault {
        JobFault { code: code.to_owned(), text: text.into(), transient: false, surroundings: false }
    }

    /// One that may pass.
    pub fn transient(code: &str, text: impl Into<String>) -> JobFault {
        JobFault { code: code.to_owned(), text: text.into(), transient: true, surroundings: false }
    }
}

impl JobFault {
    /// The same, as one that lies in what surrounds the job.
    #[must_use]
    pub fn of_surroundings(self) -> JobFault {
        JobFault { surroundings: true, ..self }
    }
}

/// A store's refusal as the fault of a job. A format's broken promise is the job's own; a disk or a
/// network that is away may come back, one that is full or closed needs somebody.
impl From<&StoreError> for JobFault {
    fn from(error: &StoreError) -> JobFault {
        let (code, text) = (error.code(), error.to_string());
        match error {
            StoreError::Io { .. } | StoreError::Unavailable { .. } => {
                JobFault::transient(code, text).of_surroundings()
            }
            StoreError::NoSpace { .. } | StoreError::ReadOnly { .. } | StoreError::Denied { .. } => {
                JobFault::permanent(code, text).of_surroundings()
            }
            _ => JobFault::permanent(code, text),
        }
    }
}

impl std::fmt::Display for JobFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// The record or the queue of jobs cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct JobsError {
    /// Stable code.
    pub code: &'static str,
    /// What was found, where, what to do.
    pub text: String,
}

/// Why a pass cannot have a job's result.
#[derive(Debug)]
pub enum Trouble {
    /// The job ended badly: its coin fails.
    Fault(JobFault),
    /// The record or the queue is gone: the run cannot go on.
    Jobs(JobsError),
}

impl From<JobFault> for Trouble {
    fn from(fault: JobFault) -> Trouble {
        Trouble::Fault(fault)
    }
}

impl From<JobsError> for Trouble {
    fn from(error: JobsError) -> Trouble {
        Trouble::Jobs(error)
    }
}

/// Whoever may stop a running job.
pub trait Stopping: Send + Sync {
    /// Why it should stop, once it should.
    fn fault(&self) -> Option<JobFault>;
}

/// Told to a job from outside: it is wanted no more.
#[derive(Debug, Default)]
pub struct Cancel {
    raised: AtomicBool,
    why: std::sync::OnceLock<JobFault>,
}

impl Stopping for Cancel {
    fn fault(&self) -> Option<JobFault> {
        self.is_raised().then(|| self.why.get().cloned()).flatten()
    }
}

impl Cancel {
    /// Raises it; the first reason stays.
    pub fn raise(&self, why: JobFault) {
        let _ = self.why.set(why);
        self.raised.store(true, Ordering::Release);
    }

    /// Whether it was raised. Cheap enough for inner loops.
    pub fn is_raised(&self) -> bool {
        self.raised.load(Ordering::Acquire)
    }
}

std::thread_local! {
    static CURRENT: std::cell::RefCell<Option<Arc<dyn Stopping>>> = const { std::cell::RefCell::new(None) };
}

/// Runs `work` as a job that `stopping` can stop: long computations ask [`checkpoint`].
pub fn stoppable<T>(stopping: Arc<dyn Stopping>, work: impl FnOnce() -> T) -> T {
    struct Restore(Option<Arc<dyn Stopping>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            let before = self.0.take();
            CURRENT.with(|current| *current.borrow_mut() = before);
        }
    }
    let before = CURRENT.with(|current| current.borrow_mut().replace(stopping));
    let _restore = Restore(before);
    work()
}

/// What a cancelled job unwinds with.
struct Cancelled(JobFault);

/// Ends the job of this thread here if it was cancelled. Called between folds and fits: a job that
/// holds nothing but its own memory can be left at any of them.
pub fn checkpoint() {
    let fault = CURRENT.with(|current| current.borrow().as_ref().and_then(|stopping| stopping.fault()));
    if let Some(fault) = fault {
        std::panic::resume_unwind(Box::new(Cancelled(fault)));
    }
}

/// Runs `work` behind a fence: a panic or a cancellation becomes a fault.
///
/// # Errors
/// The fault.
pub fn fenced<T>(work: impl FnOnce() -> T) -> Result<T, JobFault> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|unwound| fault_of_unwinding(&*unwound))
}

/// Code of a job that was over its memory cap.
pub const MEMORY_CAP: &str = "memory_cap";

/// Code of a job that panicked.
pub const PANICKED: &str = "panicked";

/// What a job that unwound ended with: the fault it was told to stop for at a [`checkpoint`], else a panic.
pub fn fault_of_unwinding(unwound: &(dyn Any + Send)) -> JobFault {
    match unwound.downcast_ref::<Cancelled>() {
        Some(Cancelled(fault)) => fault.clone(),
        None => JobFault::permanent(PANICKED, crate::pool::message(unwound)),
    }
}

/// One job by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobName<'a> {
    /// Stage.
    pub stage: &'static str,
    /// Symbol, or what else tells the jobs of a stage apart.
    pub name: &'a str,
    /// Its position in the stage.
    pub item: usize,
}

/// One attempt after the other.
pub type Attempts<'a> = dyn FnMut(u32) -> Result<(), JobFault> + 'a;

/// Who does the jobs of a run, or has them done.
pub trait Jobs: Sync {
    /// The jobs of a stage, before the first of them.
    ///
    /// # Errors
    /// When they cannot be noted or handed out.
    fn declare(&self, stage: &'static str, names: &[String]) -> Result<(), JobsError>;

    /// Does one job in this process; `work` is given the number of the attempt, from 1, may be called
    /// more than once and keeps its last result.
    ///
    /// # Errors
    /// The fault it ended with, or why it was not begun.
    fn perform(&self, job: JobName<'_>, work: &mut Attempts<'_>) -> Result<(), Trouble>;

    /// Where the jobs of passes are done, if not here.
    fn elsewhere(&self) -> Option<&dyn Elsewhere> {
        None
    }

    /// Where machines that share the run leave scratch columns for each other.
    fn beyond(&self) -> Option<Arc<dyn Beyond>> {
        None
    }

    /// Says that the run has come to an end of its own, and whether what it made is in force: its record
    /// may be closed.
    ///
    /// # Errors
    /// When that cannot be noted.
    fn close(&self, _is_published: bool) -> Result<(), JobsError> {
        Ok(())
    }
}

/// How a run ended, in the word that is kept.
fn outcome(is_published: bool) -> &'static str {
    if is_published { PUBLISHED } else { "unpublished" }
}

/// Other processes that do jobs.
pub trait Elsewhere: Sync {
    /// Lets workers know a part of what the next stages read.
    ///
    /// # Errors
    /// When it cannot be left for them.
    fn share(&self, part: &'static str, bytes: &[u8]) -> Result<(), JobsError>;

    /// Waits for the end of a job that was declared.
    ///
    /// # Errors
    /// When the run itself cannot go on.
    fn ended(&self, job: JobName<'_>, stop: &AtomicBool) -> Result<EndedElsewhere, Trouble>;
}

/// How a job ended that another process did.
pub struct EndedElsewhere {
    /// Its result, or the fault it ended with, for good.
    pub result: Result<Vec<u8>, JobFault>,
    /// The last attempt: 1 for the first.
    pub attempt: u32,
    /// Who made it.
    pub worker: String,
    /// What it used; `None` where nobody has measured it.
    pub usage: Option<Usage>,
}

/// Days after whose beginning the jobs of a run are forgotten.
const REMEMBERED_DAYS: i64 = 90;

/// Finds hands for a run.
pub trait Hire: Sync {
    /// Those for the run of this name, which is the hash of its inputs.
    ///
    /// # Errors
    /// When the record or the queue of jobs cannot be used.
    fn hire(&self, run: &str) -> Result<Box<dyn Jobs + '_>, JobsError>;
}

/// Does every job here, once, and keeps no record.
pub struct Here;

impl Hire for Here {
    fn hire(&self, _: &str) -> Result<Box<dyn Jobs + '_>, JobsError> {
        Ok(Box::new(Here))
    }
}

impl Jobs for Here {
    fn declare(&self, _: &'static str, _: &[String]) -> Result<(), JobsError> {
        Ok(())
    }

    fn perform(&self, _: JobName<'_>, work: &mut Attempts<'_>) -> Result<(), Trouble> {
        Ok(fenced(|| work(1))??)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancelled_job_ends_at_its_next_checkpoint_with_the_reason_it_was_given() {
        let cancel = Arc::new(Cancel::default());
        let mut passed = 0;
        let ended = fenced(|| {
            stoppable(cancel.clone(), || {
                loop {
                    checkpoint();
                    passed += 1;
                    if passed == 3 {
                        cancel.raise(JobFault::permanent("wall_cap", "took longer than 5 s"));
                    }
                }
            })
        });
        let () = match ended {
            Err(fault) => assert_eq!((passed, fault.code.as_str()), (3, "wall_cap")),
            Ok(()) => unreachable!("it loops"),
        };
        checkpoint();
    }

    #[test]
    fn a_panic_is_a_permanent_fault() {
        let fault = fenced(|| panic!("index out of range")).unwrap_err();
        assert_eq!(fault, JobFault::permanent("panicked", "index out of range"));
    }
}
