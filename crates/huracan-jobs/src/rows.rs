//! Rows as SQLite and PostgreSQL both keep them: the same columns, read by the same code.

use std::collections::BTreeMap;

use sqlx::{ColumnIndex, Database, Decode, Row, Type};

use crate::{
    error::{Error, Result},
    words::{AttemptRow, Caps, Event, JobError, JobId, JobRow, Progress, Repeat, RunRow, Status, Usage},
};

/// The columns of a job, in one order for all statements.
macro_rules! job_columns {
    () => {
        "run, stage, symbol, idx, key, priority, status, attempt, max_attempts, crashes, crashes_alone, alone, \
         worker, digest, not_before_ms, started_at_ms, finished_at_ms, cpu_s, wall_s, peak_bytes, error_code, \
         error_text, error_transient, error_retry_after_s, reason, dead, cancel_requested, cap_wall_s, cap_memory_bytes"
    };
}
/// The columns of a line of history.
macro_rules! line_columns {
    () => {
        "at_ms, event, attempt, worker, key, digest, reason"
    };
}
/// How many jobs stand where, for [`progress`].
macro_rules! progress_columns {
    () => {
        "count(*) FILTER (WHERE status = 'pending') AS pending, count(*) FILTER (WHERE status = 'running') AS running, \
         count(*) FILTER (WHERE status = 'completed') AS completed, count(*) FILTER (WHERE status = 'failed') AS failed, \
         count(*) FILTER (WHERE status = 'skipped') AS skipped"
    };
}
pub(crate) use {job_columns, line_columns, progress_columns};

/// What a row must be able to give; both databases can.
pub(crate) trait Readable: Row {
    fn text(&self, column: &'static str) -> sqlx::Result<String>;
    fn maybe_text(&self, column: &'static str) -> sqlx::Result<Option<String>>;
    fn whole(&self, column: &'static str) -> sqlx::Result<i64>;
    fn maybe_whole(&self, column: &'static str) -> sqlx::Result<Option<i64>>;
    fn maybe_real(&self, column: &'static str) -> sqlx::Result<Option<f64>>;
    fn flag(&self, column: &'static str) -> sqlx::Result<bool>;
}

impl<R, D> Readable for R
where
    R: Row<Database = D>,
    D: Database,
    &'static str: ColumnIndex<R>,
    String: Type<D> + for<'r> Decode<'r, D>,
    i64: Type<D> + for<'r> Decode<'r, D>,
    f64: Type<D> + for<'r> Decode<'r, D>,
    bool: Type<D> + for<'r> Decode<'r, D>,
{
    fn text(&self, column: &'static str) -> sqlx::Result<String> {
        self.try_get(column)
    }
    fn maybe_text(&self, column: &'static str) -> sqlx::Result<Option<String>> {
        self.try_get(column)
    }
    fn whole(&self, column: &'static str) -> sqlx::Result<i64> {
        self.try_get(column)
    }
    fn maybe_whole(&self, column: &'static str) -> sqlx::Result<Option<i64>> {
        self.try_get(column)
    }
    fn maybe_real(&self, column: &'static str) -> sqlx::Result<Option<f64>> {
        self.try_get(column)
    }
    fn flag(&self, column: &'static str) -> sqlx::Result<bool> {
        self.try_get(column)
    }
}

/// Counts are stored as 64 bits because both databases have them; ours are small.
fn count(found: i64) -> u32 {
    u32::try_from(found.max(0)).unwrap_or(u32::MAX)
}

/// What a database without unsigned 64 bits stores of a number of bytes.
pub(crate) fn stored(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn bytes(found: i64) -> u64 {
    u64::try_from(found).unwrap_or(0)
}

fn unreadable(place: &str, column: &'static str, found: String) -> Error {
    Error::Unreadable { place: place.to_owned(), column, found }
}

fn column_error(place: &str) -> impl Fn(sqlx::Error) -> Error {
    move |source| Error::Database { place: place.to_owned(), doing: "reading a row", source }
}

/// The job in a row selected by `job_columns!`.
pub(crate) fn job_row(row: &impl Readable, place: &str) -> Result<JobRow> {
    let plain = || -> sqlx::Result<(JobRow, String)> {
        let usage = match (row.maybe_real("cpu_s")?, row.maybe_real("wall_s")?) {
            (Some(cpu_s), Some(wall_s)) => {
                Some(Usage { cpu_s, wall_s, peak_bytes: bytes(row.maybe_whole("peak_bytes")?.unwrap_or(0)) })
            }
            _ => None,
        };
        let error = match row.maybe_text("error_code")? {
            Some(code) => Some(JobError {
                code,
                text: row.maybe_text("error_text")?.unwrap_or_default(),
                transient: row.flag("error_transient")?,
                retry_after_s: row.maybe_real("error_retry_after_s")?,
            }),
            None => None,
        };
        let job = JobRow {
            id: JobId { run: row.text("run")?, stage: row.text("stage")?, symbol: row.text("symbol")? },
            index: count(row.whole("idx")?),
            key: row.text("key")?,
            priority: i32::try_from(row.whole("priority")?).unwrap_or(i32::MAX),
            status: Status::Pending,
            attempt: count(row.whole("attempt")?),
            max_attempts: row.maybe_whole("max_attempts")?.map(count),
            crashes: count(row.whole("crashes")?),
            crashes_alone: count(row.whole("crashes_alone")?),
            alone: row.flag("alone")?,
            worker: row.maybe_text("worker")?,
            digest: row.maybe_text("digest")?,
            not_before_ms: row.maybe_whole("not_before_ms")?,
            started_at_ms: row.maybe_whole("started_at_ms")?,
            finished_at_ms: row.maybe_whole("finished_at_ms")?,
            usage,
            error,
            reason: row.maybe_text("reason")?,
            dead: row.flag("dead")?,
            cancel_requested: row.flag("cancel_requested")?,
            caps: Caps {
                wall_s: row.maybe_real("cap_wall_s")?,
                memory_bytes: row.maybe_whole("cap_memory_bytes")?.map(bytes),
            },
        };
        Ok((job, row.text("status")?))
    };
    let (job, status) = plain().map_err(column_error(place))?;
    let status = status.parse().map_err(|_| unreadable(place, "status", status))?;
    Ok(JobRow { status, ..job })
}

/// The line of history in a row selected by `line_columns!`.
pub(crate) fn line_row(row: &impl Readable, place: &str) -> Result<AttemptRow> {
    let plain = || -> sqlx::Result<(AttemptRow, String)> {
        let line = AttemptRow {
            event: Event::Declared,
            attempt: count(row.whole("attempt")?),
            worker: row.maybe_text("worker")?,
            key: row.text("key")?,
            digest: row.maybe_text("digest")?,
            reason: row.maybe_text("reason")?,
            at_ms: row.whole("at_ms")?,
        };
        Ok((line, row.text("event")?))
    };
    let (line, event) = plain().map_err(column_error(place))?;
    let event = Event::parse(&event).ok_or_else(|| unreadable(place, "event", event))?;
    Ok(AttemptRow { event, ..line })
}

/// The counts in a row selected by `progress_columns!`.
pub(crate) fn progress(row: &impl Readable) -> sqlx::Result<Progress> {
    Ok(Progress {
        pending: bytes(row.whole("pending")?),
        running: bytes(row.whole("running")?),
        completed: bytes(row.whole("completed")?),
        failed: bytes(row.whole("failed")?),
        skipped: bytes(row.whole("skipped")?),
    })
}

/// The run in a row with its columns and `progress_columns!`.
pub(crate) fn run_row(row: &impl Readable) -> sqlx::Result<RunRow> {
    Ok(RunRow {
        run: row.text("run")?,
        purpose: row.text("purpose")?,
        worker: row.text("worker")?,
        began_at_ms: row.whole("began_at_ms")?,
        ended_at_ms: row.maybe_whole("ended_at_ms")?,
        outcome: row.maybe_text("outcome")?,
        jobs: progress(row)?,
    })
}

/// The jobs that gave results more than once under one key, from their histories in order of time.
pub(crate) fn repeats(history: impl IntoIterator<Item = (JobId, AttemptRow)>) -> Vec<Repeat> {
    let mut results: BTreeMap<(JobId, String), Vec<String>> = BTreeMap::new();
    for (job, line) in history {
        match line.event {
            Event::Completed | Event::Repeated | Event::Nondeterministic => {
                results.entry((job, line.key)).or_default().push(line.digest.unwrap_or_default());
            }
            Event::Reset => {
                results.remove(&(job, line.key));
            }
            _ => {}
        }
    }
    results
        .into_iter()
        .filter(|(_, digests)| digests.len() > 1)
        .map(|((job, key), mut digests)| {
            let results = count(digests.len() as i64);
            digests.sort();
            digests.dedup();
            Repeat { job, key, results, digests }
        })
        .collect()
}
