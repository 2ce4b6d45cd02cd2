//! The words of this crate: what a job is called, what state it is in, what is remembered of it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// What a job is called: a piece of work happens once per (run, stage, symbol).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobId {
    /// The run it belongs to.
    pub run: String,
    /// The stage of the run.
    pub stage: String,
    /// Whose turn it is; `*` where one job of the stage stands for all.
    pub symbol: String,
}

impl JobId {
    /// The job of `run`, `stage` and `symbol`.
    pub fn new(run: impl Into<String>, stage: impl Into<String>, symbol: impl Into<String>) -> Self {
        Self { run: run.into(), stage: stage.into(), symbol: symbol.into() }
    }

    /// A number that differs from job to job and is the same everywhere: seeds the jitter of retries
    /// (FNV-1a over the three names).
    pub fn seed(&self) -> u64 {
        [&self.run, &self.stage, &self.symbol].iter().fold(0xcbf2_9ce4_8422_2325, |hash, part| {
            part.bytes()
                .chain([0])
                .fold(hash, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
        })
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.run, self.stage, self.symbol)
    }
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// To be done, now or not before a given time.
    Pending,
    /// Somebody is at it.
    Running,
    /// Done; its digest is recorded.
    Completed,
    /// Will not be tried again by itself.
    Failed,
    /// Decided not to be done, with a reason.
    Skipped,
}

impl Status {
    /// Every status, in the order a job meets them.
    pub const ALL: [Status; 5] =
        [Status::Pending, Status::Running, Status::Completed, Status::Failed, Status::Skipped];

    /// The word written to files and databases; never reworded.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Pending => "pending",
            Status::Running => "running",
            Status::Completed => "completed",
            Status::Failed => "failed",
            Status::Skipped => "skipped",
        }
    }

    /// Whether nothing more happens to the job by itself.
    pub fn is_final(self) -> bool {
        matches!(self, Status::Completed | Status::Failed | Status::Skipped)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no [`Status`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("status {0:?}, expected pending, running, completed, failed or skipped")]
pub struct UnknownStatus(pub String);

impl FromStr for Status {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, UnknownStatus> {
        Status::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| UnknownStatus(text.to_owned()))
    }
}

/// What happened to a job, one word a line of its history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Entered, or entered again under another key.
    Declared,
    /// A worker began an attempt.
    Started,
    /// A worker began an attempt with nothing else running beside it.
    StartedAlone,
    /// The first result under this key was recorded.
    Completed,
    /// Another result with the digest already recorded: work done twice.
    Repeated,
    /// A result with another digest than the one recorded: refused.
    Nondeterministic,
    /// The attempt failed and there will be another.
    Retried,
    /// The attempt failed and there will be no other.
    Failed,
    /// Decided not to be done.
    Skipped,
    /// The worker died under it.
    Orphaned,
    /// The worker gave it back undone while stopping.
    HandedBack,
    /// Asked to stop.
    Cancelled,
    /// Put back to pending by hand.
    Reset,
}

impl Event {
    const ALL: [Event; 13] = [
        Event::Declared,
        Event::Started,
        Event::StartedAlone,
        Event::Completed,
        Event::Repeated,
        Event::Nondeterministic,
        Event::Retried,
        Event::Failed,
        Event::Skipped,
        Event::Orphaned,
        Event::HandedBack,
        Event::Cancelled,
        Event::Reset,
    ];

    /// The word written to files and databases; never reworded.
    pub fn as_str(self) -> &'static str {
        match self {
            Event::Declared => "declared",
            Event::Started => "started",
            Event::StartedAlone => "started_alone",
            Event::Completed => "completed",
            Event::Repeated => "repeated",
            Event::Nondeterministic => "nondeterministic",
            Event::Retried => "retried",
            Event::Failed => "failed",
            Event::Skipped => "skipped",
            Event::Orphaned => "orphaned",
            Event::HandedBack => "handed_back",
            Event::Cancelled => "cancelled",
            Event::Reset => "reset",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Event> {
        Event::ALL.into_iter().find(|event| event.as_str() == text)
    }
}

/// Why an attempt did not end well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {text}")]
pub struct JobError {
    /// Stable code, one word in snake case.
    pub code: String,
    /// What happened, for people.
    pub text: String,
    /// Whether trying again may help.
    pub transient: bool,
    /// The other side asked to be left alone for so many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<f64>,
}

impl JobError {
    /// An error that will come again however often the job is tried.
    pub fn permanent(code: impl Into<String>, text: impl Into<String>) -> Self {
        Self { code: code.into(), text: text.into(), transient: false, retry_after_s: None }
    }

    /// An error that may be gone the next time.
    pub fn transient(code: impl Into<String>, text: impl Into<String>) -> Self {
        Self { code: code.into(), text: text.into(), transient: true, retry_after_s: None }
    }

    /// The same error, not to be tried again for `seconds`.
    pub fn retry_after(self, seconds: f64) -> Self {
        Self { retry_after_s: Some(seconds), ..self }
    }
}

/// What an attempt used.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Seconds of processor.
    pub cpu_s: f64,
    /// Seconds of wall clock.
    pub wall_s: f64,
    /// Most memory held at once.
    pub peak_bytes: u64,
}

/// What a job may use at most; `None` is no cap.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Caps {
    /// Seconds of wall clock an attempt may take.
    pub wall_s: Option<f64>,
    /// Memory an attempt may hold; passed to the handler, which is the one that can know.
    pub memory_bytes: Option<u64>,
}

/// A job as it is handed in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewJob {
    /// Whose turn it is; `*` where one job of the stage stands for all.
    pub symbol: String,
    /// Its place among the jobs of the stage, for the handler; jobs of equal priority begin in the
    /// order in which they are handed in.
    pub index: u32,
    /// Content hash of its inputs: equal keys, equal results.
    pub key: String,
    /// Smaller runs first; at least -32768 and at most 32767.
    pub priority: i32,
    /// How often it is tried at most, where not as often as the policy says.
    pub max_attempts: Option<u32>,
    /// What an attempt may use.
    pub caps: Caps,
}

impl NewJob {
    /// A job of priority 0 without caps.
    pub fn new(symbol: impl Into<String>, key: impl Into<String>) -> Self {
        Self {
            symbol: symbol.into(),
            index: 0,
            key: key.into(),
            priority: 0,
            max_attempts: None,
            caps: Caps::default(),
        }
    }
}

/// All that is known of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobRow {
    /// What it is called.
    pub id: JobId,
    /// Its place among the jobs of its stage.
    pub index: u32,
    /// Content hash of its inputs: equal keys, equal results.
    pub key: String,
    /// Smaller runs first.
    pub priority: i32,
    /// Where it stands.
    pub status: Status,
    /// The attempt it is in or was in last; 0 before the first.
    pub attempt: u32,
    /// How often it is tried, where not as often as the policy says.
    pub max_attempts: Option<u32>,
    /// How often a worker died under it while others ran beside it.
    pub crashes: u32,
    /// How often a worker died under it while nothing else ran.
    pub crashes_alone: u32,
    /// Whether it runs, or ran last, with nothing else beside it.
    pub alone: bool,
    /// Who is at it or was last.
    pub worker: Option<String>,
    /// Hash of its result, once completed.
    pub digest: Option<String>,
    /// Pending, but not to be tried before this time.
    pub not_before_ms: Option<i64>,
    /// When the last attempt began.
    pub started_at_ms: Option<i64>,
    /// When it came to its end.
    pub finished_at_ms: Option<i64>,
    /// What the completed attempt used.
    pub usage: Option<Usage>,
    /// The last error.
    pub error: Option<JobError>,
    /// Why it was skipped.
    pub reason: Option<String>,
    /// Failed for good: in the dead-letter list until somebody retries it.
    pub dead: bool,
    /// Somebody asked the running attempt to stop.
    pub cancel_requested: bool,
    /// What an attempt may use.
    pub caps: Caps,
}

/// One line of a job's history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptRow {
    /// What happened.
    pub event: Event,
    /// In which attempt.
    pub attempt: u32,
    /// By whom, where somebody did it.
    pub worker: Option<String>,
    /// Under which key.
    pub key: String,
    /// The digest handed in, if one was.
    pub digest: Option<String>,
    /// Why, in words.
    pub reason: Option<String>,
    /// When.
    pub at_ms: i64,
}

/// A run and how far it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRow {
    /// Its name.
    pub run: String,
    /// What it is for.
    pub purpose: String,
    /// Who drives it, or drove it last.
    pub worker: String,
    /// When it began.
    pub began_at_ms: i64,
    /// When it ended.
    pub ended_at_ms: Option<i64>,
    /// How it ended.
    pub outcome: Option<String>,
    /// Its jobs by status.
    pub jobs: Progress,
}

/// The parts of a selector that concern runs which are not over: a retry of one that is would change
/// what nobody reads any more.
///
/// # Errors
/// [`Error::RunOver`] where the selector names one run, and that is over.
pub(crate) fn not_over(
    runs: &[RunRow],
    selector: &Selector,
    is_over: impl Fn(&RunRow) -> bool,
) -> Result<Vec<Selector>, Error> {
    let named = |row: &&RunRow| selector.run.as_ref().is_none_or(|run| *run == row.run);
    if selector.run.is_some()
        && let Some(over) = runs.iter().find(|row| named(row) && is_over(row))
    {
        return Err(Error::RunOver { run: over.run.clone() });
    }
    let open = runs.iter().filter(|row| named(row) && !is_over(row));
    Ok(open.map(|row| Selector { run: Some(row.run.clone()), ..selector.clone() }).collect())
}

/// The outcome of a run whose results are in force.
pub const PUBLISHED: &str = "complete";

/// How many jobs stand where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// To be done.
    pub pending: u64,
    /// Being done.
    pub running: u64,
    /// Done.
    pub completed: u64,
    /// Given up.
    pub failed: u64,
    /// Not to be done.
    pub skipped: u64,
}

impl Progress {
    /// All jobs there are.
    pub fn total(&self) -> u64 {
        self.pending + self.running + self.completed + self.failed + self.skipped
    }

    /// Whether nothing is left that happens by itself.
    pub fn is_done(&self) -> bool {
        self.pending + self.running == 0
    }
}

/// A job that gave a result more than once under one key: work done twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repeat {
    /// The job.
    pub job: JobId,
    /// The key under which it was done.
    pub key: String,
    /// How many results came in since it was last put back by hand.
    pub results: u32,
    /// The digests that came in, sorted, each once: more than one, and equal keys gave different results.
    pub digests: Vec<String>,
}

/// Which jobs are meant: every field that is set must agree.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector {
    /// Of this run.
    pub run: Option<String>,
    /// Of this stage.
    pub stage: Option<String>,
    /// Of this symbol.
    pub symbol: Option<String>,
    /// In this state.
    pub status: Option<Status>,
}

impl Selector {
    /// Every job there is.
    pub fn all() -> Self {
        Self::default()
    }

    /// Every job of `run`.
    pub fn run(run: impl Into<String>) -> Self {
        Self { run: Some(run.into()), ..Self::default() }
    }

    /// Only those of `stage`.
    pub fn stage(self, stage: impl Into<String>) -> Self {
        Self { stage: Some(stage.into()), ..self }
    }

    /// Only those of `symbol`.
    pub fn symbol(self, symbol: impl Into<String>) -> Self {
        Self { symbol: Some(symbol.into()), ..self }
    }

    /// Only those in `status`.
    pub fn status(self, status: Status) -> Self {
        Self { status: Some(status), ..self }
    }
}

impl From<&JobId> for Selector {
    fn from(id: &JobId) -> Self {
        Selector::run(&id.run).stage(&id.stage).symbol(&id.symbol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_written_in_lower_case_and_read_back() {
        for status in Status::ALL {
            let json = serde_json::to_string(&status).unwrap();
            assert_eq!(json, format!("{:?}", status.as_str()));
            assert_eq!(status.as_str().parse::<Status>().unwrap(), status);
        }
        assert_eq!("done".parse::<Status>().unwrap_err(), UnknownStatus("done".into()));
    }

    #[test]
    fn an_event_is_written_as_its_word_and_read_back() {
        for event in Event::ALL {
            assert_eq!(serde_json::to_string(&event).unwrap(), format!("{:?}", event.as_str()));
            assert_eq!(Event::parse(event.as_str()), Some(event));
        }
        assert_eq!(Event::parse("begun"), None);
    }

    #[test]
    fn seeds_tell_jobs_apart_and_names_do_not_run_into_each_other() {
        assert_eq!(JobId::new("r", "s", "BTCUSDT").seed(), JobId::new("r", "s", "BTCUSDT").seed());
        assert_ne!(JobId::new("r", "s", "BTCUSDT").seed(), JobId::new("r", "s", "ETHUSDT").seed());
        assert_ne!(JobId::new("ab", "c", "d").seed(), JobId::new("a", "bc", "d").seed());
    }

    #[test]
    fn caps_default_to_none() {
        assert_eq!(Caps::default(), Caps { wall_s: None, memory_bytes: None });
        let caps: Caps = serde_json::from_str(r#"{"wall_s":1.5,"memory_bytes":null}"#).unwrap();
        assert_eq!(caps.wall_s, Some(1.5));
    }

    #[test]
    fn a_job_error_reads_as_code_and_text() {
        let error = JobError::transient("rate_limited", "429 from the archive").retry_after(7.0);
        assert_eq!(error.to_string(), "rate_limited: 429 from the archive");
        assert_eq!(error.retry_after_s, Some(7.0));
        assert!(error.transient && !JobError::permanent("a", "b").transient);
    }
}
