//! What can go wrong, one variant for each thing a caller treats differently.

use std::path::PathBuf;

use crate::words::{JobId, Status};

/// Short for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a ledger or a queue did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The ledger's file cannot be opened or made.
    #[error("ledger {path}: cannot be opened")]
    Open {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: sqlx::Error,
    },
    /// The file is damaged, or no SQLite file at all.
    #[error(
        "ledger {path}: not a readable SQLite file; move it away, and runs are judged by the store alone"
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: sqlx::Error,
    },
    /// The file is somebody else's database.
    #[error("ledger {path}: a SQLite file of another application ({found:#x}), expected a ledger")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Its application id.
        found: i64,
    },
    /// The ledger or queue was made by a later version.
    #[error("{place}: format {found}, this version knows up to {known}; use the newer program")]
    Newer {
        /// Which ledger or queue.
        place: String,
        /// Its format.
        found: i64,
        /// The newest known here.
        known: i64,
    },
    /// No such run.
    #[error("run {run:?} is not known, expected one that was begun")]
    UnknownRun {
        /// The run asked for.
        run: String,
    },
    /// The run is over, and what it said stays.
    #[error("run {run:?} is over, expected one that goes on; the next run tries every coin anew")]
    RunOver {
        /// The run.
        run: String,
    },
    /// No such job.
    #[error("job {job} is not known, expected one that was declared")]
    UnknownJob {
        /// The job asked for.
        job: JobId,
    },
    /// The job is not in a state in which this may happen to it.
    #[error("job {job} is {status}{}: cannot be {wanted}", held_by(.worker))]
    NotAllowed {
        /// The job.
        job: JobId,
        /// Its state.
        status: Status,
        /// Who is at it.
        worker: Option<String>,
        /// What was asked.
        wanted: &'static str,
    },
    /// A result that differs from the one recorded under the same key.
    #[error(
        "job {job}, key {key}: digest {found}, but {recorded} is recorded; equal keys must give equal results"
    )]
    Nondeterministic {
        /// The job.
        job: Box<JobId>,
        /// Its key.
        key: String,
        /// The digest on record.
        recorded: String,
        /// The digest handed in.
        found: String,
    },
    /// Another coordinator holds the run.
    #[error("run {run:?} is coordinated by {holder} for another {expires_in_s:.0} s unless renewed")]
    Busy {
        /// The run.
        run: String,
        /// Who holds it.
        holder: String,
        /// How long its lease still lasts.
        expires_in_s: f64,
    },
    /// This coordinator no longer holds the run.
    #[error("run {run:?} is no longer coordinated by {worker}: its lease was lost")]
    LeaseLost {
        /// The run.
        run: String,
        /// Who lost it.
        worker: String,
    },
    /// The run exists with another specification.
    #[error("run {run:?} was opened with another specification; a run's specification never changes")]
    SpecDiffers {
        /// The run.
        run: String,
    },
    /// Something in the call cannot be meant.
    #[error("{what}: {found:?}, expected {expected}")]
    Invalid {
        /// Which argument.
        what: &'static str,
        /// Its value.
        found: String,
        /// What would do.
        expected: &'static str,
    },
    /// The queue's address cannot be read; it is not repeated here because it may hold a password.
    #[error("queue address is not a PostgreSQL URL, expected postgres://user@host:port/database")]
    Address,
    /// The queue's database is not reachable or not usable.
    #[error("queue at {address}: {doing} failed")]
    Queue {
        /// Host, port and database, without credentials.
        address: String,
        /// What was being done.
        doing: &'static str,
        /// What the driver said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A stored word is not one of ours.
    #[error("{place}: {column} is {found:?}, which this version does not know")]
    Unreadable {
        /// Which ledger or queue.
        place: String,
        /// Which column.
        column: &'static str,
        /// What was found.
        found: String,
    },
    /// The database refused a statement.
    #[error("{place}: {doing} failed")]
    Database {
        /// Which ledger or queue.
        place: String,
        /// What was being done.
        doing: &'static str,
        /// What the driver said.
        source: sqlx::Error,
    },
    /// The runtime's threads cannot be started.
    #[error("runtime cannot be started")]
    Runtime(#[source] std::io::Error),
}

fn held_by(worker: &Option<String>) -> String {
    worker.as_ref().map(|worker| format!(" by {worker}")).unwrap_or_default()
}
