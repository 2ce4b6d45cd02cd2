//! A pass: the same job on many coins, and what becomes of the results in order.
//!
//! A job is done wherever a worker is: it reads what the run shares and scratch columns, leaves
//! scratch columns and hands back something small. Results meet where the run is coordinated, in the
//! order of the items, so neither the number of workers nor their place changes a byte.

use super::{Engine, EngineError};
use crate::cache::looked_for_by_this_thread;
use crate::jobs::{JobFault, JobName, JobsError, PANICKED, Trouble};
use crate::pipeline::meter::{Attempt, JobFacts, JobOutcome, measured};
use crate::pool::run_ordered;
use crate::scratch::ScratchError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// What is the same for all coins of a stage.
pub trait Pass: Sync {
    /// What a job hands back; what is large goes to scratch.
    type Done: Serialize + DeserializeOwned + Send;

    /// The stage.
    const STAGE: &'static str;

    /// Does one job.
    ///
    /// # Errors
    /// When a scratch column cannot be read or written.
    fn job(&self, item: usize) -> Result<Self::Done, ScratchError>;
}

/// Bytes of a job's result, the same for equal results.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, JobFault> {
    let broken = |error: postcard::Error| JobFault::permanent("result_unwritable", error.to_string());
    postcard::to_stdvec(value).map_err(broken)
}

/// A job's result from its bytes.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, JobFault> {
    let broken = |error: postcard::Error| {
        let text = format!("a result of {} bytes cannot be read back: {error}", bytes.len());
        JobFault::permanent("result_unreadable", text)
    };
    postcard::from_bytes(bytes).map_err(broken)
}

fn fault_of(error: &ScratchError) -> JobFault {
    JobFault::transient("scratch_failed", error.to_string()).of_surroundings()
}

impl From<ScratchError> for JobFault {
    fn from(error: ScratchError) -> JobFault {
        fault_of(&error)
    }
}

/// Outcome, requests, and whether the result was there already: all of its pieces were found.
fn came_to<T>(done: &Result<T, ScratchError>, before: (u64, u64)) -> (JobOutcome, u64, bool) {
    let (found, missed) = looked_for_by_this_thread();
    match done {
        Ok(_) => (JobOutcome::Completed, 0, found > before.0 && missed == before.1),
        Err(error) => {
            let error_chain = vec![error.to_string()];
            (JobOutcome::Failed { code: "scratch_failed".to_owned(), error_chain }, 0, false)
        }
    }
}

/// The first thing that made it impossible to go on, kept until the workers have stopped.
#[derive(Default)]
struct Broken(Mutex<Option<JobsError>>);

impl Broken {
    /// The trouble as the job's fault; what concerns the whole run is kept.
    fn note(&self, trouble: Trouble) -> JobFault {
        match trouble {
            Trouble::Fault(fault) => fault,
            Trouble::Jobs(error) => {
                let fault = JobFault::permanent(error.code, error.text.clone()).of_surroundings();
                self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                fault
            }
        }
    }

    fn into_result(self) -> Result<(), EngineError> {
        match self.0.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }
}

/// What became of a job: the scratch disk's own trouble ends the run, anything else only this job.
pub(super) type Ended<T> = Result<Result<T, ScratchError>, JobFault>;

impl Engine<'_> {
    /// Lets workers elsewhere know a part of what the next stages read.
    ///
    /// # Errors
    /// When it cannot be left for them.
    pub(super) fn share<T: Serialize>(&self, part: &'static str, value: &T) -> Result<(), EngineError> {
        let Some(elsewhere) = self.jobs.elsewhere() else { return Ok(()) };
        let bytes = encode(value).map_err(|fault| crate::jobs::JobsError {
            code: "part_unwritable",
            text: format!("{part} cannot be shared with other workers: {fault}"),
        })?;
        Ok(elsewhere.share(part, &bytes)?)
    }

    /// Runs a pass over the items named; `sink` takes what became of each, in order.
    ///
    /// # Errors
    /// When interrupted, or jobs cannot be noted or handed out.
    pub(super) fn pass<P: Pass>(
        &self,
        pass: &P,
        names: &[String],
        sink: impl FnMut(usize, Ended<P::Done>),
    ) -> Result<(), EngineError> {
        match self.jobs.elsewhere() {
            None => self.here(P::STAGE, names, |item| pass.job(item), sink),
            Some(elsewhere) => {
                self.jobs.declare(P::STAGE, names)?;
                let broken = Broken::default();
                let work = |item: usize| -> Ended<P::Done> {
                    let job = JobName { stage: P::STAGE, name: &names[item], item };
                    let ended = elsewhere.ended(job, self.stop).map_err(|trouble| broken.note(trouble))?;
                    let done = ended.result.and_then(|bytes| decode(&bytes));
                    let outcome = match &done {
                        Ok(_) => JobOutcome::Completed,
                        Err(fault) => JobOutcome::Failed {
                            code: fault.code.clone(),
                            error_chain: vec![fault.text.clone()],
                        },
                    };
                    self.observer.job_finished(&JobFacts {
                        stage: P::STAGE,
                        symbol: names[item].clone(),
                        attempt: ended.attempt,
                        worker: ended.worker,
                        wall_s: ended.usage.map_or(0.0, |usage| usage.wall_s),
                        cpu_s: ended.usage.map(|usage| usage.cpu_s),
                        bytes_read: 0,
                        bytes_written: 0,
                        requests: 0,
                        cached: false,
                        outcome,
                    });
                    done.map(Ok).map_err(|fault| broken.note(fault.into()))
                };
                self.ordered(names.len(), work, sink)?;
                broken.into_result()
            }
        }
    }

    /// Runs jobs in this process, whatever else does jobs for this run.
    ///
    /// # Errors
    /// When interrupted, or jobs cannot be noted.
    pub(super) fn here<T: Send>(
        &self,
        stage: &'static str,
        names: &[String],
        work: impl Fn(usize) -> Result<T, ScratchError> + Sync,
        sink: impl FnMut(usize, Ended<T>),
    ) -> Result<(), EngineError> {
        if self.jobs.elsewhere().is_none() {
            self.jobs.declare(stage, names)?;
        }
        let broken = Broken::default();
        let once = |item: usize| -> Ended<T> {
            let mut out: Option<Result<T, ScratchError>> = None;
            let mut one_attempt = |number: u32| {
                let attempt = Attempt { stage, symbol: &names[item], number, worker: "" };
                let before = looked_for_by_this_thread();
                // What an attempt before this one came to says nothing of one that unwinds.
                out = None;
                let done = measured(self.observer, attempt, || work(item), |done| came_to(done, before));
                let fault = done.as_ref().err().map(fault_of);
                out = Some(done);
                fault.map_or(Ok(()), Err)
            };
            let job = JobName { stage, name: &names[item], item };
            match (self.jobs.perform(job, &mut one_attempt), out) {
                (Ok(()), Some(done)) => Ok(done),
                (Err(Trouble::Fault(_)), Some(Err(error))) => Ok(Err(error)),
                (Err(trouble), _) => Err(broken.note(trouble)),
                (Ok(()), None) => Err(JobFault::permanent("not_done", "the job was not done")),
            }
        };
        self.ordered(names.len(), once, sink)?;
        broken.into_result()
    }

    fn ordered<T: Send>(
        &self,
        items: usize,
        work: impl Fn(usize) -> Ended<T> + Sync,
        mut sink: impl FnMut(usize, Ended<T>),
    ) -> Result<(), EngineError> {
        // A disk that failed one job fails the next: nobody waits for every one of them in turn.
        let over = AtomicBool::new(false);
        let unless_over = |item: usize| -> Ended<T> {
            if over.load(Ordering::Relaxed) {
                return Err(
                    JobFault::transient("scratch_failed", "the scratch disk failed before").of_surroundings()
                );
            }
            let ended = work(item);
            over.fetch_or(matches!(ended, Ok(Err(_))), Ordering::Relaxed);
            ended
        };
        run_ordered(self.workers, items, self.stop, unless_over, |item, result| {
            sink(item, result.unwrap_or_else(|panic| Err(JobFault::permanent(PANICKED, panic))));
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Silent;
    use super::*;
    use crate::jobs::{Attempts, Elsewhere, EndedElsewhere, Here, Jobs};
    use crate::scratch::Scratch;
    use crate::settings::Settings;
    use huracan_core::words::UtcMs;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn a_disk_that_failed_one_job_is_not_tried_with_every_other() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::open(&folder.path().join("scratch")).unwrap();
        let engine = Engine {
            settings: &Settings::standard(),
            workers: 2,
            now: UtcMs(0),
            stop: &AtomicBool::new(false),
            scratch: &scratch,
            observer: &Silent,
            jobs: &Here,
        };
        let names: Vec<String> = (0..100).map(|n| n.to_string()).collect();
        let (tried, mut failed, mut told) = (AtomicUsize::new(0), 0, 0);
        let work = |_: usize| -> Result<(), ScratchError> {
            tried.fetch_add(1, Ordering::Relaxed);
            scratch.read("not there").map(drop)
        };
        engine
            .here("survey", &names, work, |_, ended| match ended {
                Ok(Err(_)) => failed += 1,
                Err(_) => told += 1,
                Ok(Ok(())) => unreachable!("the column is not there"),
            })
            .unwrap();
        assert!(tried.into_inner() <= 2 && (1..=2).contains(&failed), "{failed}");
        assert_eq!(failed + told, 100);
    }

    /// Whose jobs all run over their wall cap, on another machine.
    struct Slow;

    impl Jobs for Slow {
        fn declare(&self, _: &'static str, _: &[String]) -> Result<(), JobsError> {
            Ok(())
        }

        fn perform(&self, _: JobName<'_>, _: &mut Attempts<'_>) -> Result<(), Trouble> {
            unreachable!("its jobs are done elsewhere")
        }

        fn elsewhere(&self) -> Option<&dyn Elsewhere> {
            Some(self)
        }
    }

    impl Elsewhere for Slow {
        fn share(&self, _: &'static str, _: &[u8]) -> Result<(), JobsError> {
            Ok(())
        }

        fn ended(&self, _: JobName<'_>, _: &AtomicBool) -> Result<EndedElsewhere, Trouble> {
            let result = Err(JobFault::permanent("wall_cap", "took longer than its cap"));
            Ok(EndedElsewhere { result, attempt: 3, worker: "box:1".to_owned(), usage: None })
        }
    }

    struct Nothing;

    impl Pass for Nothing {
        type Done = ();
        const STAGE: &'static str = "trial";

        fn job(&self, _: usize) -> Result<(), ScratchError> {
            Ok(())
        }
    }

    #[test]
    fn a_job_that_was_stopped_elsewhere_fails_with_its_own_code() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::open(&folder.path().join("scratch")).unwrap();
        let engine = Engine {
            settings: &Settings::standard(),
            workers: 1,
            now: UtcMs(0),
            stop: &AtomicBool::new(false),
            scratch: &scratch,
            observer: &Silent,
            jobs: &Slow,
        };
        let mut codes = Vec::new();
        let names = ["BTCUSDT".to_owned()];
        engine.pass(&Nothing, &names, |_, ended| codes.extend(ended.err().map(|fault| fault.code))).unwrap();
        assert_eq!(codes, ["wall_cap"]);
    }
}
