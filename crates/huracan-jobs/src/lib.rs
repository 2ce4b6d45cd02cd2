//! Who does what, how often it was tried, and what came of it: on one machine or many.
//!
//! A job is one piece of work named by (run, stage, symbol). What it computes is not known here:
//! callers hand in names and take out claims, and results are content-addressed elsewhere; a job's
//! `key` is the hash of what goes in and its `digest` the hash of what came out.
//!
//! Two homes for the same rows. [`Ledger`] is a SQLite file beside the store of one machine:
//! the caller owns the threads, the ledger remembers. [`Queue`] is a PostgreSQL database for many
//! machines: a [`Coordinator`] submits, [`work`] claims, and leases tell the living from the dead.
//! What may follow what is decided in one place for both (`transition.rs`), on plain rows, without
//! a clock or a database.
//!
//! Everything public blocks. Async is inside, behind a small runtime each handle owns, so none of
//! it may be called from async code.

mod cancel;
mod error;
mod ledger;
mod queue;
mod retry;
mod rows;
#[cfg(feature = "testing")]
pub mod testing;
mod transition;
mod words;

pub use cancel::{CancelReason, CancelToken};
pub use error::{Error, Result};
pub use ledger::Ledger;
pub use queue::{
    Claimed, Coordinator, Done, Handler, OnStuck, Queue, QueueOptions, Watch, Worked, WorkerOptions, work,
};
pub use retry::{Next, RetryPolicy};
pub use words::{
    AttemptRow, Caps, Event, JobError, JobId, JobRow, NewJob, PUBLISHED, Progress, Repeat, RunRow, Selector,
    Status, UnknownStatus, Usage,
};
