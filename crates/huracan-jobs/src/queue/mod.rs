//! Jobs for many machines: a PostgreSQL database that coordinators fill and workers empty.
//!
//! What is true of a job stands in one row; who may work on it is a lease in that row, renewed by
//! heartbeats and told apart by a number that counts claims. `graphile_worker` decides who claims
//! what next (priorities, times, `SKIP LOCKED`); a claim takes its wake-up out of there in the same
//! transaction in which the row starts to run, so neither can be lost without the other.

mod coordinator;
mod database;
mod worker;

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::{Duration, Instant},
};

pub use coordinator::{Coordinator, Watch};
use database::{CHUNK, Database, held_columns};
use sqlx::Row;
use tokio::runtime::Runtime;
pub use worker::{Claimed, Done, Handler, OnStuck, Worked, WorkerOptions, work};

use crate::{
    error::{Error, Result},
    retry::RetryPolicy,
    rows::{line_row, progress, progress_columns, repeats, run_row},
    words::{AttemptRow, JobId, JobRow, Progress, Repeat, RunRow, Selector, Status, not_over},
};

/// How a queue is kept; the same for everybody who uses it.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueOptions {
    /// PostgreSQL schema of our tables: a letter, then letters, digits or `_`, all lower case, 40 at
    /// most. `graphile_worker` has its own, called the same with `_graphile` behind.
    pub schema: String,
    /// How long a worker or coordinator may be silent before others take over.
    pub lease: Duration,
    /// How often workers and coordinators renew; well below the lease.
    pub heartbeat: Duration,
    /// How often lost leases are looked for.
    pub sweep: Duration,
    /// How long a call goes on trying while the database is away. Workers go on for ever.
    pub patience: Duration,
    /// How failed attempts are followed by others.
    pub retry: RetryPolicy,
}

impl Default for QueueOptions {
    /// Half a minute of lease, a heartbeat every three seconds, a minute of patience.
    fn default() -> Self {
        Self {
            schema: "huracan".to_owned(),
            lease: Duration::from_secs(30),
            heartbeat: Duration::from_secs(3),
            sweep: Duration::from_secs(5),
            patience: Duration::from_secs(60),
            retry: RetryPolicy::default(),
        }
    }
}

impl QueueOptions {
    fn check(&self) -> Result<()> {
        let fits = (1..=40).contains(&self.schema.len())
            && self.schema.starts_with(|c: char| c.is_ascii_lowercase())
            && self.schema.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if !fits {
            return Err(Error::Invalid {
                what: "queue schema",
                found: self.schema.clone(),
                expected: "a lower-case letter, then letters, digits or _, 40 at most",
            });
        }
        if self.heartbeat.is_zero() || self.sweep.is_zero() || self.heartbeat * 2 > self.lease {
            return Err(Error::Invalid {
                what: "queue lease",
                found: format!(
                    "lease {:?}, heartbeat {:?}, sweep {:?}",
                    self.lease, self.heartbeat, self.sweep
                ),
                expected: "heartbeat and sweep above nothing, and two heartbeats within a lease",
            });
        }
        Ok(())
    }
}

/// A number nobody else has: name, process and time, hashed with random keys.
fn instance(name: &str) -> i64 {
    let hash = RandomState::new().hash_one((name, std::process::id(), Instant::now()));
    i64::from_ne_bytes(hash.to_ne_bytes())
}

/// A queue, for coordinators and for people who look. Clones share one pool of connections.
#[derive(Clone)]
pub struct Queue {
    database: Database,
    runtime: Arc<Runtime>,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("database", &self.database).finish_non_exhaustive()
    }
}

impl Queue {
    /// Connects to the queue at `url` (`postgres://user:password@host:port/database`), making or
    /// migrating its tables. The password appears in no message. A pooler between must keep a
    /// session's settings, as PgBouncer does in its session mode.
    ///
    /// # Errors
    /// [`Error::Address`] and [`Error::Invalid`] for what cannot be meant; [`Error::Newer`] for a
    /// queue of a later version; [`Error::Queue`] where the database cannot be reached or used.
    pub fn connect(url: &str, options: &QueueOptions) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("huracan-queue")
            .enable_all()
            .build()
            .map_err(Error::Runtime)?;
        let database = {
            // The pool starts its housekeeping on the runtime it is made in.
            let _inside = runtime.enter();
            Database::open(url, options, 4)?
        };
        runtime.block_on(database.patiently(options.patience, || database.migrate()))?;
        Ok(Self { database, runtime: Arc::new(runtime) })
    }

    /// Takes up a run as its coordinator: opens it with `spec`, any bytes that every worker can read
    /// back, or goes on with one that was opened before with the same. `worker` says who.
    ///
    /// # Errors
    /// [`Error::Busy`] where another coordinator holds it, naming the holder; [`Error::SpecDiffers`];
    /// [`Error::Queue`].
    pub fn open_run(&self, run: &str, purpose: &str, spec: &[u8], worker: &str) -> Result<Coordinator> {
        Coordinator::open(self.clone(), run, purpose, spec, worker)
    }

    /// Does `work`, again while the database is away.
    fn call<T>(&self, work: impl AsyncFn(&Database) -> Result<T>) -> Result<T> {
        let patience = self.database.options.patience;
        self.runtime.block_on(self.database.patiently(patience, || work(&self.database)))
    }

    /// How far a stage is, or with `None` the whole run.
    ///
    /// # Errors
    /// [`Error::Queue`].
    pub fn progress(&self, run: &str, stage: Option<&str>) -> Result<Progress> {
        self.call(async |database| {
            let row = sqlx::query(concat!(
                "SELECT ",
                progress_columns!(),
                " FROM jobs WHERE run = $1 AND ($2::text IS NULL OR stage = $2)"
            ))
            .bind(run)
            .bind(stage)
            .fetch_one(&database.pool)
            .await
            .map_err(database.failed_to("counting jobs"))?;
            progress(&row).map_err(database.failed_to("counting jobs"))
        })
    }

    /// What a run was opened with.
    ///
    /// # Errors
    /// [`Error::UnknownRun`], [`Error::Queue`].
    pub fn spec(&self, run: &str) -> Result<Vec<u8>> {
        self.call(async |database| {
            sqlx::query_scalar("SELECT spec FROM runs WHERE run = $1")
                .bind(run)
                .fetch_optional(&database.pool)
                .await
                .map_err(database.failed_to("reading a run"))?
                .ok_or_else(|| Error::UnknownRun { run: run.to_owned() })
        })
    }

    /// Changes every job `selector` names for which `decide` gives a line; tells how many.
    fn change_all(
        &self,
        selector: &Selector,
        decide: impl Fn(&mut JobRow, i64) -> Option<AttemptRow>,
    ) -> Result<usize> {
        let ids = self.call(async |database| {
            let mut connection = database.pool.acquire().await.map_err(database.failed_to("connecting"))?;
            database.numbers(&mut connection, selector).await
        })?;
        let mut changed = 0;
        for ids in ids.chunks(CHUNK) {
            changed += self.call(async |database| {
                let mut transaction = database.begin().await?;
                let changed = database.change(&mut transaction, ids, &decide).await?;
                transaction.commit().await.map_err(database.failed_to("committing"))?;
                Ok(changed)
            })?;
        }
        Ok(changed)
    }

    /// Cancels: what waits is skipped at once, what runs is asked to stop by its worker's next
    /// heartbeat. Gives how many it changed.
    ///
    /// # Errors
    /// [`Error::Queue`].
    pub fn cancel(&self, selector: &Selector) -> Result<usize> {
        self.change_all(selector, JobRow::cancel)
    }

    /// Puts failed and cancelled jobs of runs that are not over back to pending from their first attempt.
    /// Gives how many.
    ///
    /// # Errors
    /// [`Error::RunOver`] for a run that is over, [`Error::Queue`].
    pub fn retry(&self, selector: &Selector) -> Result<usize> {
        // What workers had left for each other went with the run.
        let open = not_over(&self.runs()?, selector, |row| row.ended_at_ms.is_some())?;
        open.iter().try_fold(0, |changed, selector| Ok(changed + self.change_all(selector, JobRow::retry)?))
    }

    /// Puts a completed job back to pending because its result is gone or unusable.
    ///
    /// # Errors
    /// [`Error::UnknownJob`]; [`Error::NotAllowed`] where it is not completed; [`Error::Queue`].
    pub fn result_lost(&self, job: &JobId, reason: &str) -> Result<()> {
        if self.change_all(&job.into(), |row, now_ms| row.lose(reason, now_ms).ok())? > 0 {
            return Ok(());
        }
        let (row, _) = self.job(job)?;
        Err(Error::NotAllowed { job: row.id, status: row.status, worker: row.worker, wanted: "done again" })
    }

    /// The runs, youngest first.
    ///
    /// # Errors
    /// [`Error::Queue`].
    pub fn runs(&self) -> Result<Vec<RunRow>> {
        self.call(async |database| {
            let rows = sqlx::query(concat!(
                "SELECT r.run, purpose, r.worker, began_at_ms, ended_at_ms, outcome, ",
                progress_columns!(),
                " FROM runs r LEFT JOIN jobs j ON j.run = r.run
                  GROUP BY r.run ORDER BY began_at_ms DESC, r.run DESC"
            ))
            .fetch_all(&database.pool)
            .await
            .map_err(database.failed_to("reading runs"))?;
            rows.iter().map(run_row).collect::<sqlx::Result<_>>().map_err(database.failed_to("reading runs"))
        })
    }

    /// The jobs that `selector` names, by run, stage, priority and order of entry.
    ///
    /// # Errors
    /// [`Error::Queue`], [`Error::Unreadable`].
    pub fn jobs(&self, selector: &Selector) -> Result<Vec<JobRow>> {
        self.call(async |database| {
            let rows = sqlx::query(concat!(
                "SELECT ",
                held_columns!(),
                " FROM jobs WHERE ($1::text IS NULL OR run = $1) AND ($2::text IS NULL OR stage = $2)
                  AND ($3::text IS NULL OR symbol = $3) AND ($4::text IS NULL OR status = $4)
                  ORDER BY run, stage, priority, id"
            ))
            .bind(&selector.run)
            .bind(&selector.stage)
            .bind(&selector.symbol)
            .bind(selector.status.map(Status::as_str))
            .fetch_all(&database.pool)
            .await
            .map_err(database.failed_to("reading jobs"))?;
            rows.iter().map(|row| database.held(row).map(|held| held.row)).collect()
        })
    }

    /// One job with its history, oldest line first.
    ///
    /// # Errors
    /// [`Error::UnknownJob`], [`Error::Queue`], [`Error::Unreadable`].
    pub fn job(&self, job: &JobId) -> Result<(JobRow, Vec<AttemptRow>)> {
        let mut rows = self.jobs(&job.into())?;
        let row = rows.pop().ok_or_else(|| Error::UnknownJob { job: job.clone() })?;
        let history = self.history(&job.into())?;
        Ok((row, history.into_iter().map(|(_, line)| line).collect()))
    }

    fn history(&self, selector: &Selector) -> Result<Vec<(JobId, AttemptRow)>> {
        self.call(async |database| {
            let failed = database.failed_to("reading a history");
            let rows = sqlx::query(
                "SELECT run, stage, symbol, at_ms, event, h.attempt, h.worker, h.key, h.digest, h.reason
                 FROM history h JOIN jobs j ON j.id = h.job
                 WHERE run = $1 AND ($2::text IS NULL OR stage = $2) AND ($3::text IS NULL OR symbol = $3)
                 ORDER BY h.id",
            )
            .bind(&selector.run)
            .bind(&selector.stage)
            .bind(&selector.symbol)
            .fetch_all(&database.pool)
            .await
            .map_err(&failed)?;
            let place = database.place();
            rows.iter()
                .map(|row| {
                    let job = JobId {
                        run: row.try_get("run").map_err(&failed)?,
                        stage: row.try_get("stage").map_err(&failed)?,
                        symbol: row.try_get("symbol").map_err(&failed)?,
                    };
                    Ok((job, line_row(row, &place)?))
                })
                .collect()
        })
    }

    /// Jobs that failed for good and wait for somebody to look.
    ///
    /// # Errors
    /// [`Error::Queue`], [`Error::Unreadable`].
    pub fn dead_letters(&self) -> Result<Vec<JobRow>> {
        let failed = self.jobs(&Selector::all().status(Status::Failed))?;
        Ok(failed.into_iter().filter(|row| row.dead).collect())
    }

    /// The jobs of a run that gave more than one result under one key: done twice, or not
    /// deterministic where their digests differ.
    ///
    /// # Errors
    /// [`Error::Queue`], [`Error::Unreadable`].
    pub fn verify_exactly_once(&self, run: &str) -> Result<Vec<Repeat>> {
        Ok(repeats(self.history(&Selector::run(run))?))
    }

    /// Forgets runs that began before `began_before_ms` and that nobody coordinates or works on;
    /// gives how many.
    ///
    /// # Errors
    /// [`Error::Queue`].
    pub fn forget_runs_before(&self, began_before_ms: i64) -> Result<u64> {
        self.call(async |database| {
            let done = sqlx::query(
                "DELETE FROM runs WHERE began_at_ms < $1 AND coalesce(lease_expires_at < clock_timestamp(), TRUE)
                 AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.run = runs.run AND status = 'running')",
            )
            .bind(began_before_ms)
            .execute(&database.pool)
            .await
            .map_err(database.failed_to("forgetting runs"))?;
            Ok(done.rows_affected())
        })
    }
}
