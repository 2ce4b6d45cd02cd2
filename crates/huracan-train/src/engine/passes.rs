//! A pass: the same job on many coins, and what becomes of the results in order.
//!
//! A job is done wherever a worker is: it reads what the run shares and scratch columns, leaves
//! scratch columns and hands back something small. Opening a result is done where the run is
//! coordinated, several at once; results then meet in the order of the items, so neither the number
//! of workers nor their place changes a byte.

use super::{Engine, EngineError};
use crate::jobs::{JobFault, JobName};
use crate::pool::run_ordered;
use crate::scratch::ScratchError;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What is the same for all coins of a stage.
pub trait Pass: Sync {
    /// What a job hands back; what is large goes to scratch.
    type Done: Serialize + DeserializeOwned + Send;
    /// What is made of it before the results meet.
    type Out: Send;

    /// The stage.
    const STAGE: &'static str;

    /// Does one job.
    ///
    /// # Errors
    /// When a scratch column cannot be read or written.
    fn job(&self, item: usize) -> Result<Self::Done, ScratchError>;

    /// Opens its result.
    ///
    /// # Errors
    /// When a scratch column cannot be read or written.
    fn open(&self, item: usize, done: Self::Done) -> Result<Self::Out, ScratchError>;
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

impl From<ScratchError> for JobFault {
    fn from(error: ScratchError) -> JobFault {
        JobFault::transient("scratch_failed", error.to_string())
    }
}

/// What became of a job: the scratch disk's own trouble ends the run, anything else only this job.
pub(super) type Ended<T> = Result<Result<T, ScratchError>, String>;

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
        sink: impl FnMut(usize, Ended<P::Out>),
    ) -> Result<(), EngineError> {
        match self.jobs.elsewhere() {
            None => self.here(P::STAGE, names, |item| pass.open(item, pass.job(item)?), sink),
            Some(elsewhere) => {
                self.jobs.declare(P::STAGE, names)?;
                let work = |item: usize| -> Ended<P::Out> {
                    let job = JobName { stage: P::STAGE, name: &names[item], item };
                    let done = elsewhere.result(job, self.stop).and_then(|bytes| decode(&bytes));
                    done.map(|done| pass.open(item, done)).map_err(|fault| fault.text)
                };
                self.ordered(names.len(), work, sink)
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
        let once = |item: usize| -> Ended<T> {
            let mut out: Option<Result<T, ScratchError>> = None;
            let mut attempt = || match work(item) {
                Ok(done) => {
                    out = Some(Ok(done));
                    Ok(())
                }
                Err(error) => {
                    let fault = JobFault::transient("scratch_failed", error.to_string());
                    out = Some(Err(error));
                    Err(fault)
                }
            };
            let job = JobName { stage, name: &names[item], item };
            match (self.jobs.perform(job, &mut attempt), out) {
                (Ok(()), Some(done)) => Ok(done),
                (Err(_), Some(Err(error))) => Ok(Err(error)),
                (Err(fault), _) => Err(fault.text),
                (Ok(()), None) => Err("the job was not done".to_owned()),
            }
        };
        self.ordered(names.len(), once, sink)
    }

    fn ordered<T: Send>(
        &self,
        items: usize,
        work: impl Fn(usize) -> Ended<T> + Sync,
        mut sink: impl FnMut(usize, Ended<T>),
    ) -> Result<(), EngineError> {
        run_ordered(self.workers, items, self.stop, work, |item, result| {
            sink(item, result.unwrap_or_else(Err));
        })?;
        Ok(())
    }
}
