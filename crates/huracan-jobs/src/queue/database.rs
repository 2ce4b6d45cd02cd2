//! The queue's database: connecting, migrating, and changing jobs in bulk inside one transaction.
//!
//! Two schemas side by side: ours says what is true of a job, `graphile_worker`'s says that a
//! pending job waits to be claimed, from when on and before which others. A job is pending if and
//! only if there is one wake-up for it, because both change in the same transaction; the sweep
//! mends what somebody's hand broke.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use graphile_worker::{JobSpec, RawJobSpec, WorkerUtils, sql::task_identifiers::get_tasks_details};
use serde::Serialize;
use sqlx::{
    ConnectOptions, PgConnection, PgPool, Postgres, Row, Transaction,
    postgres::{PgConnectOptions, PgPoolOptions, PgRow},
};
use tokio::time::{Instant, sleep};

use super::QueueOptions;
use crate::{
    error::{Error, Result},
    rows::{job_row, stored},
    transition::CANCELLED,
    words::{AttemptRow, JobError, JobRow, Selector, Status},
};

/// The format written here.
const FORMAT: i64 = 1;
/// The one task graphile_worker knows of us.
pub(super) const TASK: &str = "huracan_job";
/// Jobs changed in one transaction at most: every keyed wake-up takes one of PostgreSQL's locks.
pub(super) const CHUNK: usize = 500;
/// How many graphile wake-ups a database error may burn; ours count attempts themselves.
const WAKE_ATTEMPTS: i16 = 25;

/// A connection pool and where it leads.
#[derive(Clone)]
pub(super) struct Database {
    pub(super) pool: PgPool,
    pub(super) options: Arc<QueueOptions>,
    address: Arc<str>,
    graphile: String,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("address", &self.address).finish_non_exhaustive()
    }
}

/// A job as it was read, with what only the queue knows of it.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) id: i64,
    pub(super) row: JobRow,
    pub(super) claim: i64,
    pub(super) instance: Option<i64>,
}

/// A job as it shall be written, and what happened to it.
pub(super) struct Change {
    pub(super) held: Held,
    /// Whether its row differs from the one that was read; a line of history alone is no news.
    pub(super) differs: bool,
    pub(super) lines: Vec<AttemptRow>,
    /// Whether the job became claimable and needs a wake-up.
    pub(super) wake: bool,
}

impl Change {
    /// A change whose wake-up follows from the states before and after.
    pub(super) fn of(before: &JobRow, held: Held, lines: Vec<AttemptRow>) -> Self {
        let wake = held.row.status == Status::Pending && before.status != Status::Pending;
        Self { differs: held.row != *before, held, lines, wake }
    }
}

macro_rules! held_columns {
    () => {
        concat!("id, claim, instance, ", $crate::rows::job_columns!())
    };
}
pub(super) use held_columns;

impl Database {
    /// Opens a pool of at most `connections` on first use.
    pub(super) fn open(url: &str, options: &QueueOptions, connections: u32) -> Result<Self> {
        options.check()?;
        // Anything else that parses would show what was meant as a password as a database's name.
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(Error::Address);
        }
        let parsed: PgConnectOptions = url.parse().map_err(|_| Error::Address)?;
        let database = parsed.get_database().unwrap_or("").to_owned();
        let place = match parsed.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", parsed.get_host(), parsed.get_port()),
        };
        let connect = parsed
            .application_name("huracan")
            .options([("search_path", options.schema.as_str())])
            .disable_statement_logging();
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(options.patience.clamp(Duration::from_millis(500), Duration::from_secs(2)))
            // A connection found dead is an error like any other, and the call is made again.
            .test_before_acquire(false)
            .connect_lazy_with(connect);
        Ok(Self {
            pool,
            options: Arc::new(options.clone()),
            address: format!("{place}/{database}").into(),
            graphile: format!("{}_graphile", options.schema),
        })
    }

    pub(super) fn place(&self) -> String {
        format!("queue at {}", self.address)
    }

    pub(super) fn failed_to<E>(&self, doing: &'static str) -> impl Fn(E) -> Error + use<'_, E>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        move |source| Error::Queue { address: self.address.to_string(), doing, source: Box::new(source) }
    }

    /// graphile_worker's own schema, as an identifier that needs no quoting.
    pub(super) fn graphile(&self) -> &str {
        &self.graphile
    }

    fn utils(&self) -> WorkerUtils {
        WorkerUtils::new(self.pool.clone(), self.graphile.as_str())
    }

    /// Does `work` again, with growing waits, while the database is away, for as long as `patience`.
    pub(super) async fn patiently<T, F: Future<Output = Result<T>>>(
        &self,
        patience: Duration,
        mut work: impl FnMut() -> F,
    ) -> Result<T> {
        let begun = Instant::now();
        let mut wait = Duration::from_millis(20);
        loop {
            match work().await {
                Err(error) if is_passing(&error) && begun.elapsed() < patience => {
                    tracing::debug!(%error, "queue is away, trying again");
                    sleep(wait).await;
                    wait = (wait * 2).min(Duration::from_secs(2));
                }
                result => return result,
            }
        }
    }

    /// Makes the schemas. Those who come at once wait for the first, and find it done.
    pub(super) async fn migrate(&self) -> Result<()> {
        let failed = || self.failed_to("migrating");
        let mut transaction = self.begin().await?;
        sqlx::query("SELECT pg_advisory_xact_lock(hashtext('huracan_jobs'), hashtext($1))")
            .bind(&self.options.schema)
            .execute(&mut *transaction)
            .await
            .map_err(failed())?;
        let exists: bool = sqlx::query_scalar("SELECT to_regclass($1 || '.format') IS NOT NULL")
            .bind(&self.options.schema)
            .fetch_one(&mut *transaction)
            .await
            .map_err(failed())?;
        if exists {
            let found: i64 = sqlx::query_scalar("SELECT version FROM format")
                .fetch_one(&mut *transaction)
                .await
                .map_err(failed())?;
            if found > FORMAT {
                return Err(Error::Newer { place: self.place(), found, known: FORMAT });
            }
        } else {
            let schema = format!("CREATE SCHEMA IF NOT EXISTS {}", self.options.schema);
            let tables = include_str!("schema.sql");
            for statement in [schema.as_str(), tables] {
                sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
                    .execute(&mut *transaction)
                    .await
                    .map_err(failed())?;
            }
        }
        // On connections of its own, while the lock above keeps everybody else out.
        self.utils().migrate().await.map_err(self.failed_to("migrating graphile_worker"))?;
        get_tasks_details(&self.graphile_database(), self.graphile.as_str(), vec![TASK.to_owned()])
            .await
            .map_err(self.failed_to("registering with graphile_worker"))?;
        transaction.commit().await.map_err(failed())
    }

    pub(super) fn graphile_database(&self) -> graphile_worker::Database {
        self.pool.clone().into()
    }

    pub(super) async fn begin(&self) -> Result<Transaction<'static, Postgres>> {
        self.pool.begin().await.map_err(self.failed_to("connecting"))
    }

    /// The database's clock: the only one all machines agree on.
    pub(super) async fn now_ms(&self, connection: &mut PgConnection) -> Result<i64> {
        sqlx::query_scalar("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
            .fetch_one(connection)
            .await
            .map_err(self.failed_to("reading the clock"))
    }

    pub(super) fn held(&self, row: &PgRow) -> Result<Held> {
        let failed = self.failed_to("reading a job");
        Ok(Held {
            id: row.try_get("id").map_err(&failed)?,
            row: job_row(row, &self.place())?,
            claim: row.try_get("claim").map_err(&failed)?,
            instance: row.try_get("instance").map_err(&failed)?,
        })
    }

    /// Locks jobs by number, in their order so that two who lock the same never wait in a ring; and
    /// tells the time.
    pub(super) async fn lock(&self, connection: &mut PgConnection, ids: &[i64]) -> Result<(i64, Vec<Held>)> {
        let rows = sqlx::query(concat!(
            "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now_ms, ",
            held_columns!(),
            " FROM jobs WHERE id = ANY($1) ORDER BY id FOR UPDATE"
        ))
        .bind(ids)
        .fetch_all(connection)
        .await
        .map_err(self.failed_to("locking jobs"))?;
        let now_ms = match rows.first() {
            Some(row) => row.try_get("now_ms").map_err(self.failed_to("reading the clock"))?,
            None => 0,
        };
        Ok((now_ms, rows.iter().map(|row| self.held(row)).collect::<Result<_>>()?))
    }

    /// The numbers of the jobs that `selector` names.
    pub(super) async fn numbers(
        &self,
        connection: &mut PgConnection,
        selector: &Selector,
    ) -> Result<Vec<i64>> {
        sqlx::query_scalar(
            "SELECT id FROM jobs WHERE ($1::text IS NULL OR run = $1) AND ($2::text IS NULL OR stage = $2)
             AND ($3::text IS NULL OR symbol = $3) AND ($4::text IS NULL OR status = $4) ORDER BY id",
        )
        .bind(&selector.run)
        .bind(&selector.stage)
        .bind(&selector.symbol)
        .bind(selector.status.map(Status::as_str))
        .fetch_all(connection)
        .await
        .map_err(self.failed_to("looking for jobs"))
    }

    /// Writes changed jobs, their lines of history and their wake-ups. A claim that counted up gets
    /// a new lease; a job that no longer runs has none.
    pub(super) async fn write(&self, connection: &mut PgConnection, changes: &[Change]) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let jobs: Vec<JobWire<'_>> =
            changes.iter().filter(|change| change.differs).map(|change| JobWire::new(&change.held)).collect();
        sqlx::query(
            "UPDATE jobs j SET idx = c.idx, key = c.key, priority = c.priority, status = c.status,
               attempt = c.attempt, max_attempts = c.max_attempts, crashes = c.crashes,
               crashes_alone = c.crashes_alone, alone = c.alone, worker = c.worker, digest = c.digest,
               not_before_ms = c.not_before_ms, started_at_ms = c.started_at_ms,
               finished_at_ms = c.finished_at_ms, cpu_s = c.cpu_s, wall_s = c.wall_s, peak_bytes = c.peak_bytes,
               error_code = c.error_code, error_text = c.error_text, error_transient = c.error_transient,
               error_retry_after_s = c.error_retry_after_s, reason = c.reason, dead = c.dead,
               cancel_requested = c.cancel_requested, cap_wall_s = c.cap_wall_s,
               cap_memory_bytes = c.cap_memory_bytes, claim = c.claim, instance = c.instance,
               lease_expires_at = CASE WHEN c.status <> 'running' THEN NULL
                 WHEN c.claim <> j.claim THEN clock_timestamp() + make_interval(secs => $2)
                 ELSE j.lease_expires_at END,
               version = nextval('versions')
             FROM jsonb_to_recordset($1::text::jsonb) AS c (id bigint, idx bigint, key text, priority bigint,
               status text, attempt bigint, max_attempts bigint, crashes bigint, crashes_alone bigint,
               alone boolean, worker text, digest text, not_before_ms bigint, started_at_ms bigint,
               finished_at_ms bigint, cpu_s double precision, wall_s double precision, peak_bytes bigint,
               error_code text, error_text text, error_transient boolean, error_retry_after_s double precision,
               reason text, dead boolean, cancel_requested boolean, cap_wall_s double precision,
               cap_memory_bytes bigint, claim bigint, instance bigint)
             WHERE j.id = c.id",
        )
        .bind(self.json(&jobs)?)
        .bind(self.options.lease.as_secs_f64())
        .execute(&mut *connection)
        .await
        .map_err(self.failed_to("changing jobs"))?;
        let lines: Vec<LineWire<'_>> = changes
            .iter()
            .flat_map(|change| change.lines.iter().map(|line| LineWire::new(change.held.id, line)))
            .collect();
        self.note(connection, &lines).await?;
        let wakes: Vec<&Held> =
            changes.iter().filter(|change| change.wake).map(|change| &change.held).collect();
        self.wake(connection, &wakes).await
    }

    pub(super) async fn note(&self, connection: &mut PgConnection, lines: &[LineWire<'_>]) -> Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "INSERT INTO history (job, at_ms, event, attempt, worker, key, digest, reason)
             SELECT job, at_ms, event, attempt, worker, key, digest, reason
             FROM jsonb_to_recordset($1::text::jsonb) AS c (job bigint, at_ms bigint, event text, attempt bigint,
               worker text, key text, digest text, reason text)",
        )
        .bind(self.json(lines)?)
        .execute(connection)
        .await
        .map_err(self.failed_to("noting what happened"))?;
        Ok(())
    }

    /// Hands jobs to graphile_worker: one wake-up a job, by its key, in place of any that waits.
    pub(super) async fn wake(&self, connection: &mut PgConnection, jobs: &[&Held]) -> Result<()> {
        let specs: Vec<RawJobSpec> = jobs
            .iter()
            .map(|held| {
                let spec = JobSpec::builder()
                    .job_key(format!("{TASK}:{}", held.id))
                    .max_attempts(WAKE_ATTEMPTS)
                    .priority(i16::try_from(held.row.priority).unwrap_or(i16::MAX));
                // What may begin at once begins in the order of entry; what was put off comes after.
                let after_epoch = match held.row.not_before_ms {
                    Some(ms) => Duration::from_millis(u64::try_from(ms).unwrap_or(0)),
                    None => Duration::from_micros(u64::try_from(held.id).unwrap_or(0)),
                };
                let spec = spec.run_at(std::time::UNIX_EPOCH + after_epoch);
                let payload = serde_json::json!({ "id": held.id });
                RawJobSpec { identifier: TASK.to_owned(), payload, spec: spec.build() }
            })
            .collect();
        if specs.is_empty() {
            return Ok(());
        }
        self.utils()
            .with_executor(connection)
            .add_raw_jobs(&specs)
            .await
            .map_err(self.failed_to("waking jobs"))?;
        Ok(())
    }

    /// Takes claimed wake-ups out of graphile_worker, all at once: as its `complete_job` does for a
    /// single job without a named queue.
    pub(super) async fn consume(
        &self,
        connection: &mut PgConnection,
        wakes: &[graphile_worker::Job],
    ) -> Result<()> {
        if wakes.is_empty() {
            return Ok(());
        }
        let ids: Vec<i64> = wakes.iter().map(|wake| *wake.id()).collect();
        let wakes = graphile_worker::Schema::new(&self.graphile).private_table("jobs");
        sqlx::query(sqlx::AssertSqlSafe(format!("DELETE FROM {wakes} WHERE id = ANY($1)")))
            .bind(ids)
            .execute(connection)
            .await
            .map_err(self.failed_to("taking wake-ups"))?;
        Ok(())
    }

    /// Locks `ids`, lets `decide` change each, writes what changed; tells how many that were.
    pub(super) async fn change(
        &self,
        connection: &mut PgConnection,
        ids: &[i64],
        mut decide: impl FnMut(&mut JobRow, i64) -> Option<AttemptRow>,
    ) -> Result<usize> {
        let mut changes = Vec::new();
        let (now_ms, locked) = self.lock(connection, ids).await?;
        for mut held in locked {
            let before = held.row.clone();
            if let Some(line) = decide(&mut held.row, now_ms) {
                changes.push(Change::of(&before, held, vec![line]));
            }
        }
        self.write(connection, &changes).await?;
        Ok(changes.len())
    }

    /// Takes jobs from workers that let their leases run out, and wakes pending jobs that nothing
    /// would wake. Anybody may sweep at any time.
    ///
    /// After PostgreSQL itself was away, leases get one more term: nobody could renew them.
    pub(super) async fn sweep(&self) -> Result<usize> {
        let mut transaction = self.begin().await?;
        let expired: Vec<i64> = sqlx::query_scalar(
            "SELECT id FROM jobs WHERE status = 'running' AND lease_expires_at < clock_timestamp()
             AND pg_postmaster_start_time() + make_interval(secs => $1) < clock_timestamp()
             ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED",
        )
        .bind(self.options.lease.as_secs_f64())
        .bind(CHUNK as i64)
        .fetch_all(&mut *transaction)
        .await
        .map_err(self.failed_to("looking for lost leases"))?;
        let policy = self.options.retry;
        let lease_s = self.options.lease.as_secs_f64();
        let taken = self
            .change(&mut transaction, &expired, |row, now_ms| {
                if row.cancel_requested {
                    return row.skip(CANCELLED, now_ms).ok();
                }
                let worker = row.worker.as_deref().unwrap_or("its worker");
                let text = format!("{worker} was not heard of for {lease_s} s");
                row.fail(&JobError::transient("lease_expired", text), &policy, now_ms)
                    .ok()
                    .map(|(line, _)| line)
            })
            .await?;
        transaction.commit().await.map_err(self.failed_to("committing a sweep"))?;
        self.wake_the_forgotten().await?;
        Ok(taken)
    }

    async fn wake_the_forgotten(&self) -> Result<()> {
        let mut transaction = self.begin().await?;
        // One at a time is enough, and this one reads all that is pending.
        let alone: bool =
            sqlx::query_scalar("SELECT pg_try_advisory_xact_lock(hashtext('huracan_sweep'), hashtext($1))")
                .bind(&self.options.schema)
                .fetch_one(&mut *transaction)
                .await
                .map_err(self.failed_to("looking for forgotten jobs"))?;
        if !alone {
            return Ok(());
        }
        let now_ms = self.now_ms(&mut transaction).await?;
        let statement = format!(
            "SELECT {} FROM jobs j WHERE status = 'pending' AND coalesce(not_before_ms, 0) < $1
             AND NOT EXISTS (SELECT 1 FROM {}.jobs g WHERE g.key = '{TASK}:' || j.id AND g.attempts < g.max_attempts)
             ORDER BY id LIMIT $2 FOR UPDATE OF j SKIP LOCKED",
            held_columns!(),
            self.graphile
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(now_ms)
            .bind(CHUNK as i64)
            .fetch_all(&mut *transaction)
            .await
            .map_err(self.failed_to("looking for forgotten jobs"))?;
        let forgotten = rows.iter().map(|row| self.held(row)).collect::<Result<Vec<_>>>()?;
        if !forgotten.is_empty() {
            tracing::warn!(jobs = forgotten.len(), "pending jobs without a wake-up, waking them");
        }
        self.wake(&mut transaction, &forgotten.iter().collect::<Vec<_>>()).await?;
        transaction.commit().await.map_err(self.failed_to("committing a sweep"))
    }

    fn json<T: Serialize + ?Sized>(&self, value: &T) -> Result<String> {
        serde_json::to_string(value).map_err(self.failed_to("writing JSON"))
    }
}

/// Whether a failure is the database's being away or busy, so that the same call may yet succeed.
pub(super) fn is_passing(error: &Error) -> bool {
    let Error::Queue { source, .. } = error else { return false };
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&**source);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<sqlx::Error>() {
            return match error {
                sqlx::Error::Database(error) => error.code().is_some_and(|code| is_passing_code(&code)),
                sqlx::Error::Io(_)
                | sqlx::Error::Protocol(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::WorkerCrashed => true,
                _ => false,
            };
        }
        if let Some(error) = error.downcast_ref::<graphile_worker::DbError>() {
            // Without a code it is the connection that failed, not the statement.
            return error.code().is_none_or(is_passing_code);
        }
        cause = error.source();
    }
    false
}

/// SQLSTATE classes: connection, resources, shutdown; and the two that ask for another try.
fn is_passing_code(code: &str) -> bool {
    code.starts_with("08")
        || code.starts_with("53")
        || code.starts_with("57P")
        || code == "40001"
        || code == "40P01"
}

#[derive(Serialize)]
struct JobWire<'a> {
    id: i64,
    idx: u32,
    key: &'a str,
    priority: i32,
    status: &'static str,
    attempt: u32,
    max_attempts: Option<u32>,
    crashes: u32,
    crashes_alone: u32,
    alone: bool,
    worker: Option<&'a str>,
    digest: Option<&'a str>,
    not_before_ms: Option<i64>,
    started_at_ms: Option<i64>,
    finished_at_ms: Option<i64>,
    cpu_s: Option<f64>,
    wall_s: Option<f64>,
    peak_bytes: Option<i64>,
    error_code: Option<&'a str>,
    error_text: Option<&'a str>,
    error_transient: bool,
    error_retry_after_s: Option<f64>,
    reason: Option<&'a str>,
    dead: bool,
    cancel_requested: bool,
    cap_wall_s: Option<f64>,
    cap_memory_bytes: Option<i64>,
    claim: i64,
    instance: Option<i64>,
}

impl<'a> JobWire<'a> {
    fn new(held: &'a Held) -> Self {
        let row = &held.row;
        let error = row.error.as_ref();
        Self {
            id: held.id,
            idx: row.index,
            key: &row.key,
            priority: row.priority,
            status: row.status.as_str(),
            attempt: row.attempt,
            max_attempts: row.max_attempts,
            crashes: row.crashes,
            crashes_alone: row.crashes_alone,
            alone: row.alone,
            worker: row.worker.as_deref(),
            digest: row.digest.as_deref(),
            not_before_ms: row.not_before_ms,
            started_at_ms: row.started_at_ms,
            finished_at_ms: row.finished_at_ms,
            cpu_s: row.usage.map(|usage| usage.cpu_s),
            wall_s: row.usage.map(|usage| usage.wall_s),
            peak_bytes: row.usage.map(|usage| stored(usage.peak_bytes)),
            error_code: error.map(|error| error.code.as_str()),
            error_text: error.map(|error| error.text.as_str()),
            error_transient: error.is_some_and(|error| error.transient),
            error_retry_after_s: error.and_then(|error| error.retry_after_s),
            reason: row.reason.as_deref(),
            dead: row.dead,
            cancel_requested: row.cancel_requested,
            cap_wall_s: row.caps.wall_s,
            cap_memory_bytes: row.caps.memory_bytes.map(stored),
            claim: held.claim,
            instance: held.instance,
        }
    }
}

#[derive(Serialize)]
pub(super) struct LineWire<'a> {
    job: i64,
    at_ms: i64,
    event: &'static str,
    attempt: u32,
    worker: Option<&'a str>,
    key: &'a str,
    digest: Option<&'a str>,
    reason: Option<&'a str>,
}

impl<'a> LineWire<'a> {
    pub(super) fn new(job: i64, line: &'a AttemptRow) -> Self {
        Self {
            job,
            at_ms: line.at_ms,
            event: line.event.as_str(),
            attempt: line.attempt,
            worker: line.worker.as_deref(),
            key: &line.key,
            digest: line.digest.as_deref(),
            reason: line.reason.as_deref(),
        }
    }
}
