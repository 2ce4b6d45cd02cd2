//! Who drives a run: one coordinator at a time, by a lease that is renewed while it lives.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::{PgConnection, Row};
use tokio::task::JoinHandle;

use super::{
    Queue,
    database::{CHUNK, Change, Database, Held, held_columns},
    instance,
};
use crate::{
    error::{Error, Result},
    transition::fresh,
    words::{Event, JobRow, NewJob, Progress, Selector, Status},
};

/// The holder of a run. Dropped, it gives the run up; dead, it loses it when its lease runs out.
#[derive(Debug)]
pub struct Coordinator {
    queue: Queue,
    run: String,
    worker: String,
    lease: i64,
    lost: Arc<AtomicBool>,
    heartbeat: JoinHandle<()>,
}

/// What a caller of [`Coordinator::wait_changes`] has seen already.
#[derive(Debug, Clone, Default)]
pub struct Watch {
    seen: BTreeMap<i64, i64>,
    version: i64,
}

/// How far back a look for news goes: changes get their version before they are committed, so a
/// higher one may be seen first. A full look follows whenever nothing new was found in time.
const VERSIONS_BACK: i64 = 4096;

impl Coordinator {
    pub(super) fn open(queue: Queue, run: &str, purpose: &str, spec: &[u8], worker: &str) -> Result<Self> {
        let instance = instance(worker);
        let lease =
            queue.call(async |database| take_run(database, run, purpose, spec, worker, instance).await)?;
        let lost = Arc::new(AtomicBool::new(false));
        let heartbeat =
            queue.runtime.spawn(keep_run(queue.database.clone(), run.to_owned(), lease, lost.clone()));
        Ok(Self { queue, run: run.to_owned(), worker: worker.to_owned(), lease, lost, heartbeat })
    }

    /// The run it holds.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Whether the run is still held, as far as is known here.
    pub fn is_held(&self) -> bool {
        !self.lost.load(Ordering::Acquire)
    }

    /// Fails where another has taken the run over; where not, nobody can until the transaction ends.
    async fn expect_lease(&self, database: &Database, connection: &mut PgConnection) -> Result<()> {
        let held = sqlx::query("SELECT 1 FROM runs WHERE run = $1 AND lease = $2 FOR SHARE")
            .bind(&self.run)
            .bind(self.lease)
            .fetch_optional(connection)
            .await
            .map_err(database.failed_to("checking the lease"))?;
        match held {
            Some(_) => Ok(()),
            None => {
                self.lost.store(true, Ordering::Release);
                Err(Error::LeaseLost { run: self.run.clone(), worker: self.worker.clone() })
            }
        }
    }

    /// Enters the jobs of a stage. Again with the same keys it changes no status: what is completed,
    /// failed or skipped stays so; a job with another key is pending again from its first attempt.
    ///
    /// # Errors
    /// [`Error::LeaseLost`]; [`Error::Invalid`] for a priority out of range, before anything is
    /// entered; [`Error::NotAllowed`] where a job runs under another key: those before it are
    /// entered, and it may be called again; [`Error::Queue`].
    pub fn submit(&self, stage: &str, jobs: &[NewJob]) -> Result<()> {
        if let Some(job) = jobs.iter().find(|job| i16::try_from(job.priority).is_err()) {
            return Err(Error::Invalid {
                what: "job priority",
                found: job.priority.to_string(),
                expected: "-32768 to 32767",
            });
        }
        for jobs in jobs.chunks(CHUNK) {
            self.queue.call(async |database| {
                let mut transaction = database.begin().await?;
                self.expect_lease(database, &mut transaction).await?;
                self.enter(database, &mut transaction, stage, jobs).await?;
                transaction.commit().await.map_err(database.failed_to("committing jobs"))
            })?;
        }
        Ok(())
    }

    async fn enter(
        &self,
        database: &Database,
        connection: &mut PgConnection,
        stage: &str,
        jobs: &[NewJob],
    ) -> Result<()> {
        let now_ms = database.now_ms(connection).await?;
        let symbols: Vec<&str> = jobs.iter().map(|job| job.symbol.as_str()).collect();
        let rows = sqlx::query(concat!(
            "SELECT ",
            held_columns!(),
            " FROM jobs WHERE run = $1 AND stage = $2 AND symbol = ANY($3) ORDER BY id FOR UPDATE"
        ))
        .bind(&self.run)
        .bind(stage)
        .bind(&symbols)
        .fetch_all(&mut *connection)
        .await
        .map_err(database.failed_to("reading jobs"))?;
        let mut known = BTreeMap::new();
        for row in &rows {
            let held = database.held(row)?;
            known.insert(held.row.id.symbol.clone(), held);
        }
        let mut changes: Vec<Change> = Vec::new();
        let mut news: Vec<(String, JobRow)> = Vec::new();
        for job in jobs {
            match known.get(&job.symbol) {
                Some(held) => {
                    let (before, mut held) = (held.row.clone(), held.clone());
                    match held.row.redeclare(job, now_ms)? {
                        Some(line) => changes.push(Change::of(&before, held, vec![line])),
                        None if held.row != before => {
                            // A wake-up carries the priority it was made with.
                            let wake =
                                held.row.status == Status::Pending && held.row.priority != before.priority;
                            changes.push(Change { held, differs: true, lines: Vec::new(), wake });
                        }
                        None => {}
                    }
                }
                None => news.push((job.symbol.clone(), fresh(&self.run, stage, job))),
            }
        }
        for (id, row) in insert(database, connection, news).await? {
            let line = row.line(Event::Declared, None, now_ms);
            let held = Held { id, row, claim: 0, instance: None };
            changes.push(Change { held, differs: true, lines: vec![line], wake: true });
        }
        database.write(connection, &changes).await
    }

    /// Waits until jobs of a stage come to their end, and gives those that `watch` has not seen, at
    /// most until `timeout`: then none. A job that ends again after a retry is given again.
    ///
    /// # Errors
    /// [`Error::LeaseLost`], [`Error::Queue`], [`Error::Unreadable`].
    pub fn wait_changes(&self, stage: &str, watch: &mut Watch, timeout: Duration) -> Result<Vec<JobRow>> {
        let begun = Instant::now();
        let mut pause = Duration::from_millis(10);
        loop {
            if !self.is_held() {
                return Err(Error::LeaseLost { run: self.run.clone(), worker: self.worker.clone() });
            }
            let late = begun.elapsed() >= timeout;
            let since = if late { i64::MIN } else { watch.version.saturating_sub(VERSIONS_BACK) };
            let found = self.news(stage, watch, since)?;
            if late || !found.is_empty() {
                return Ok(found);
            }
            std::thread::sleep(pause.min(timeout.saturating_sub(begun.elapsed())));
            pause = (pause * 2).min(Duration::from_millis(250));
        }
    }

    fn news(&self, stage: &str, watch: &mut Watch, since: i64) -> Result<Vec<JobRow>> {
        let rows = self.queue.call(async |database| {
            let failed = database.failed_to("looking for finished jobs");
            let rows = sqlx::query(
                "SELECT id, version FROM jobs WHERE run = $1 AND stage = $2 AND version > $3
                 AND status IN ('completed', 'failed', 'skipped')",
            )
            .bind(&self.run)
            .bind(stage)
            .bind(since)
            .fetch_all(&database.pool)
            .await
            .map_err(&failed)?;
            let mut versions = BTreeMap::new();
            for row in rows {
                let (id, version): (i64, i64) =
                    (row.try_get("id").map_err(&failed)?, row.try_get("version").map_err(&failed)?);
                if watch.seen.get(&id) != Some(&version) {
                    versions.insert(id, version);
                }
            }
            let ids: Vec<i64> = versions.keys().copied().collect();
            if ids.is_empty() {
                return Ok(Vec::new());
            }
            let rows = sqlx::query(concat!(
                "SELECT version, ",
                held_columns!(),
                " FROM jobs WHERE id = ANY($1) AND status IN ('completed', 'failed', 'skipped') ORDER BY priority, id"
            ))
            .bind(&ids)
            .fetch_all(&database.pool)
            .await
            .map_err(&failed)?;
            rows.iter()
                .map(|row| Ok((row.try_get::<i64, _>("version").map_err(&failed)?, database.held(row)?)))
                .collect::<Result<Vec<_>>>()
        })?;
        let mut found = Vec::new();
        for (version, held) in rows {
            watch.version = watch.version.max(version);
            watch.seen.insert(held.id, version);
            found.push(held.row);
        }
        Ok(found)
    }

    /// How far a stage is, or with `None` the whole run.
    ///
    /// # Errors
    /// [`Error::Queue`].
    pub fn progress(&self, stage: Option<&str>) -> Result<Progress> {
        self.queue.progress(&self.run, stage)
    }

    /// Ends the run with a word on how: what is not done is cancelled, and the lease is given up.
    ///
    /// # Errors
    /// [`Error::LeaseLost`], [`Error::Queue`].
    pub fn close(self, outcome: &str) -> Result<()> {
        self.queue.call(async |database| {
            let mut transaction = database.begin().await?;
            self.expect_lease(database, &mut transaction).await?;
            let now_ms = database.now_ms(&mut transaction).await?;
            sqlx::query("UPDATE runs SET ended_at_ms = $2, outcome = $3 WHERE run = $1")
                .bind(&self.run)
                .bind(now_ms)
                .bind(outcome)
                .execute(&mut *transaction)
                .await
                .map_err(database.failed_to("closing a run"))?;
            transaction.commit().await.map_err(database.failed_to("closing a run"))
        })?;
        self.queue.cancel(&Selector::run(&self.run))?;
        Ok(())
    }
}

impl Drop for Coordinator {
    /// Gives the run up at once rather than after a lease; where that fails, after a lease.
    fn drop(&mut self) {
        self.heartbeat.abort();
        let database = &self.queue.database;
        let release = sqlx::query("UPDATE runs SET lease_expires_at = NULL WHERE run = $1 AND lease = $2")
            .bind(&self.run)
            .bind(self.lease)
            .execute(&database.pool);
        let released = self
            .queue
            .runtime
            .block_on(async { tokio::time::timeout(Duration::from_secs(2), release).await });
        if !matches!(released, Ok(Ok(_))) {
            tracing::warn!(run = self.run, "run was not given up, others wait for its lease to run out");
        }
    }
}

/// Makes jobs that were not there; gives their numbers, in the order in which they were handed in.
async fn insert(
    database: &Database,
    connection: &mut PgConnection,
    jobs: Vec<(String, JobRow)>,
) -> Result<Vec<(i64, JobRow)>> {
    if jobs.is_empty() {
        return Ok(Vec::new());
    }
    let first = &jobs[0].1.id;
    let failed = database.failed_to("entering jobs");
    let symbols: Vec<&str> = jobs.iter().map(|(symbol, _)| symbol.as_str()).collect();
    // Everything but the names is written with the first change, in the same transaction.
    let rows = sqlx::query(
        "INSERT INTO jobs (run, stage, symbol, idx, key, priority, status, attempt, crashes, crashes_alone, alone,
           error_transient, dead, cancel_requested, claim, version)
         SELECT $1, $2, symbol, 0, '', 0, 'pending', 0, 0, 0, FALSE, FALSE, FALSE, FALSE, 0, 0
         FROM unnest($3::text[]) WITH ORDINALITY AS names (symbol, place) ORDER BY place
         ON CONFLICT (run, stage, symbol) DO NOTHING
         RETURNING id, symbol",
    )
    .bind(&first.run)
    .bind(&first.stage)
    .bind(&symbols)
    .fetch_all(connection)
    .await
    .map_err(&failed)?;
    let mut ids = BTreeMap::new();
    for row in rows {
        ids.insert(
            row.try_get::<String, _>("symbol").map_err(&failed)?,
            row.try_get::<i64, _>("id").map_err(&failed)?,
        );
    }
    // A symbol handed in twice is one job: the first counts.
    Ok(jobs.into_iter().filter_map(|(symbol, row)| ids.remove(&symbol).map(|id| (id, row))).collect())
}

/// Takes the run, or says who has it.
async fn take_run(
    database: &Database,
    run: &str,
    purpose: &str,
    spec: &[u8],
    worker: &str,
    instance: i64,
) -> Result<i64> {
    let failed = database.failed_to("opening a run");
    let mut transaction = database.begin().await?;
    let now_ms = database.now_ms(&mut transaction).await?;
    sqlx::query(
        "INSERT INTO runs (run, purpose, spec, worker, began_at_ms, lease) VALUES ($1, $2, $3, $4, $5, 0)
         ON CONFLICT (run) DO NOTHING",
    )
    .bind(run)
    .bind(purpose)
    .bind(spec)
    .bind(worker)
    .bind(now_ms)
    .execute(&mut *transaction)
    .await
    .map_err(&failed)?;
    let row = sqlx::query(
        "SELECT spec, worker, lease, instance,
           extract(epoch FROM lease_expires_at - clock_timestamp())::double precision AS expires_in_s
         FROM runs WHERE run = $1 FOR UPDATE",
    )
    .bind(run)
    .fetch_one(&mut *transaction)
    .await
    .map_err(&failed)?;
    if row.try_get::<Vec<u8>, _>("spec").map_err(&failed)? != spec {
        return Err(Error::SpecDiffers { run: run.to_owned() });
    }
    if row.try_get::<Option<i64>, _>("instance").map_err(&failed)? == Some(instance) {
        // Taken by this very call, in a transaction whose answer was lost.
        return row.try_get("lease").map_err(&failed);
    }
    let expires_in_s: Option<f64> = row.try_get("expires_in_s").map_err(&failed)?;
    if let Some(expires_in_s) = expires_in_s.filter(|s| *s > 0.0) {
        let holder = row.try_get("worker").map_err(&failed)?;
        return Err(Error::Busy { run: run.to_owned(), holder, expires_in_s });
    }
    let lease = row.try_get::<i64, _>("lease").map_err(&failed)? + 1;
    sqlx::query(
        "UPDATE runs SET worker = $2, purpose = $3, lease = $4, instance = $6, ended_at_ms = NULL, outcome = NULL,
           lease_expires_at = clock_timestamp() + make_interval(secs => $5)
         WHERE run = $1",
    )
    .bind(run)
    .bind(worker)
    .bind(purpose)
    .bind(lease)
    .bind(database.options.lease.as_secs_f64())
    .bind(instance)
    .execute(&mut *transaction)
    .await
    .map_err(&failed)?;
    transaction.commit().await.map_err(&failed)?;
    Ok(lease)
}

/// Renews the lease, and sweeps beside it so that a run without workers still finds its dead.
async fn keep_run(database: Database, run: String, lease: i64, lost: Arc<AtomicBool>) {
    let mut swept = Instant::now();
    loop {
        tokio::time::sleep(database.options.heartbeat).await;
        let renewed = sqlx::query(
            "UPDATE runs SET lease_expires_at = clock_timestamp() + make_interval(secs => $3)
             WHERE run = $1 AND lease = $2",
        )
        .bind(&run)
        .bind(lease)
        .bind(database.options.lease.as_secs_f64())
        .execute(&database.pool)
        .await;
        match renewed {
            Ok(done) if done.rows_affected() == 0 => {
                lost.store(true, Ordering::Release);
                tracing::warn!(run, "another coordinator took the run over");
                return;
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, run, "run's lease was not renewed, trying again"),
        }
        if swept.elapsed() >= database.options.sweep {
            swept = Instant::now();
            if let Err(error) = database.sweep().await {
                tracing::warn!(%error, "sweep failed, trying again later");
            }
        }
    }
}
