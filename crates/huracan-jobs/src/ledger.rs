//! What the runs of one machine did and are doing: a SQLite file that many processes may open.
//!
//! The ledger holds no results and decides nothing about them; delete it, and the store still knows
//! what is done. One connection a handle, behind a lock: a call is two trips to SQLite's thread and
//! a commit to the write-ahead log, which survives the process but not always the machine
//! (`synchronous = NORMAL`); what a power cut takes back is work to be done again, never a result.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use sqlx::{
    ConnectOptions, Connection, Row, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use tokio::runtime::Runtime;

use crate::{
    error::{Error, Result},
    retry::{Next, RetryPolicy},
    rows::{job_columns, job_row, line_columns, line_row, progress_columns, repeats, run_row, stored},
    transition::{CRASHES_SUSPECT, fresh},
    words::{
        AttemptRow, Event, JobError, JobId, JobRow, NewJob, PUBLISHED, Repeat, RunRow, Selector, Status,
        Usage, not_over,
    },
};

/// "hura" in ASCII: tells a ledger from any other SQLite file.
const APPLICATION_ID: i64 = 0x6875_7261;
/// The format written here.
const FORMAT: i64 = 1;
/// How long a call waits for another process's write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

const SCHEMA: &str = "
CREATE TABLE runs (
  run TEXT PRIMARY KEY,
  purpose TEXT NOT NULL,
  worker TEXT NOT NULL,
  began_at_ms INTEGER NOT NULL,
  ended_at_ms INTEGER,
  outcome TEXT
) STRICT;
CREATE TABLE jobs (
  id INTEGER PRIMARY KEY,
  run TEXT NOT NULL REFERENCES runs (run) ON DELETE CASCADE,
  stage TEXT NOT NULL,
  symbol TEXT NOT NULL,
  idx INTEGER NOT NULL,
  key TEXT NOT NULL,
  priority INTEGER NOT NULL,
  status TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  max_attempts INTEGER,
  crashes INTEGER NOT NULL,
  crashes_alone INTEGER NOT NULL,
  alone INTEGER NOT NULL,
  worker TEXT,
  digest TEXT,
  not_before_ms INTEGER,
  started_at_ms INTEGER,
  finished_at_ms INTEGER,
  cpu_s REAL,
  wall_s REAL,
  peak_bytes INTEGER,
  error_code TEXT,
  error_text TEXT,
  error_transient INTEGER NOT NULL,
  error_retry_after_s REAL,
  reason TEXT,
  dead INTEGER NOT NULL,
  cancel_requested INTEGER NOT NULL,
  cap_wall_s REAL,
  cap_memory_bytes INTEGER,
  UNIQUE (run, stage, symbol)
) STRICT;
CREATE INDEX jobs_by_status ON jobs (status) WHERE status IN ('running', 'failed');
CREATE TABLE history (
  id INTEGER PRIMARY KEY,
  job INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  at_ms INTEGER NOT NULL,
  event TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  worker TEXT,
  key TEXT NOT NULL,
  digest TEXT,
  reason TEXT
) STRICT;
CREATE INDEX history_by_job ON history (job);
";

type Bound<'q> = sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

macro_rules! select_job {
    () => {
        concat!("SELECT id, ", job_columns!(), " FROM jobs WHERE run = ?1 AND stage = ?2 AND symbol = ?3")
    };
}

/// Parameter 1 is the job's id.
macro_rules! update_job {
    () => {
        "UPDATE jobs SET idx = ?2, key = ?3, priority = ?4, status = ?5, attempt = ?6, max_attempts = ?7,
           crashes = ?8, crashes_alone = ?9, alone = ?10, worker = ?11, digest = ?12, not_before_ms = ?13,
           started_at_ms = ?14, finished_at_ms = ?15, cpu_s = ?16, wall_s = ?17, peak_bytes = ?18,
           error_code = ?19, error_text = ?20, error_transient = ?21, error_retry_after_s = ?22, reason = ?23,
           dead = ?24, cancel_requested = ?25, cap_wall_s = ?26, cap_memory_bytes = ?27
         WHERE id = ?1"
    };
}

/// Parameter 1 is the job's id; the line's parameters follow the one that is named.
macro_rules! insert_line {
    (1) => {
        concat!("INSERT INTO history (job, ", line_columns!(), ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")
    };
    (27) => {
        concat!(
            "INSERT INTO history (job, ",
            line_columns!(),
            ") VALUES (?1, ?28, ?29, ?30, ?31, ?32, ?33, ?34)"
        )
    };
}

macro_rules! select_jobs {
    ($run:literal) => {
        concat!(
            "SELECT id, ",
            job_columns!(),
            " FROM jobs WHERE ",
            $run,
            " AND (?2 IS NULL OR stage = ?2) AND (?3 IS NULL OR symbol = ?3) AND (?4 IS NULL OR status = ?4)
              ORDER BY run, stage, priority, id"
        )
    };
}

/// The run ledger of one machine. Cheap to call, safe to share among threads; other processes may
/// hold the same file open.
#[derive(Debug)]
pub struct Ledger {
    place: String,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    runtime: Runtime,
    connection: Option<SqliteConnection>,
}

impl Inner {
    fn parts(&mut self) -> (&Runtime, &mut SqliteConnection) {
        (&self.runtime, self.connection.as_mut().expect("a ledger is open until it is dropped"))
    }
}

impl Drop for Inner {
    /// Closes the file before the handle is gone, so that it is whole without its log.
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take()
            && let Err(error) = self.runtime.block_on(connection.close())
        {
            tracing::warn!(%error, "ledger was not closed cleanly");
        }
    }
}

/// Whether SQLite says that somebody else has the file just now (`SQLITE_BUSY` and its extensions).
fn is_busy(error: &sqlx::Error) -> bool {
    let code =
        error.as_database_error().and_then(|error| error.code()).and_then(|code| code.parse::<u32>().ok());
    code.is_some_and(|code| code & 0xff == 5)
}

impl Ledger {
    /// Opens the ledger at `path`, making or migrating it as needed.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Foreign`] or [`Error::Newer`] for a file that is damaged,
    /// somebody else's or from a later version; [`Error::Open`] where the file cannot be had.
    pub fn open(path: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
        let until = Instant::now() + BUSY_TIMEOUT;
        loop {
            // While one opener turns the log on, SQLite refuses the others at once, without waiting.
            match Self::connect(path, options.clone()) {
                Err(Error::Open { source, .. }) if is_busy(&source) && Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                opened => return opened,
            }
        }
    }

    /// A ledger that lives as long as its handle.
    ///
    /// # Errors
    /// [`Error::Runtime`] where threads cannot be started.
    pub fn in_memory() -> Result<Self> {
        Self::connect(Path::new(":memory:"), SqliteConnectOptions::new().in_memory(true))
    }

    fn connect(path: &Path, options: SqliteConnectOptions) -> Result<Self> {
        let options = options
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(true)
            .disable_statement_logging();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Runtime)?;
        let connection = runtime.block_on(async {
            let mut connection = options.connect().await.map_err(|source| opening(path, source))?;
            migrate(path, &mut connection).await?;
            Ok::<_, Error>(connection)
        })?;
        let place = format!("ledger {}", path.display());
        Ok(Self { place, inner: Mutex::new(Inner { runtime, connection: Some(connection) }) })
    }

    /// Runs `work` in one transaction that no other writer interrupts.
    fn write<T>(&self, work: impl AsyncFnOnce(&mut Writer<'_>) -> Result<T>) -> Result<T> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let (runtime, connection) = inner.parts();
        runtime.block_on(async {
            let mut writer = Writer { place: &self.place, connection, open: false };
            let result = match work(&mut writer).await {
                Ok(value) => writer.commit().await.map(|()| value),
                Err(error) => Err(error),
            };
            if result.is_err() {
                writer.roll_back().await;
            }
            result
        })
    }

    fn read<T>(&self, work: impl AsyncFnOnce(&mut SqliteConnection) -> sqlx::Result<T>) -> Result<T> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let (runtime, connection) = inner.parts();
        runtime.block_on(work(connection)).map_err(|source| self.failed_to("read", source))
    }

    fn failed_to(&self, doing: &'static str, source: sqlx::Error) -> Error {
        Error::Database { place: self.place.clone(), doing, source }
    }

    /// Changes one job: reads its row, lets `decide` change it, writes row and line back.
    fn change<T>(
        &self,
        job: &JobId,
        decide: impl FnOnce(&mut JobRow) -> Result<(Option<AttemptRow>, T)>,
    ) -> Result<T> {
        self.write(async |writer| {
            let (id, mut row) =
                writer.job(job).await?.ok_or_else(|| Error::UnknownJob { job: job.clone() })?;
            let (line, value) = decide(&mut row)?;
            if let Some(line) = line {
                writer.save_and_commit(id, &row, &line).await?;
            }
            Ok(value)
        })
    }

    /// Changes every job `selector` names for which `decide` gives a line; tells how many.
    fn change_all(
        &self,
        selector: &Selector,
        mut decide: impl FnMut(&mut JobRow) -> Option<AttemptRow>,
    ) -> Result<Vec<JobRow>> {
        self.write(async |writer| {
            let mut changed = Vec::new();
            for (id, mut row) in writer.jobs(selector).await? {
                if let Some(line) = decide(&mut row) {
                    writer.save(id, &row, &line).await?;
                    changed.push(row);
                }
            }
            Ok(changed)
        })
    }

    /// Enters a run, or takes up one that was entered before: when it was begun, who drives it and what
    /// for are noted anew, and it counts as not ended.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn begin_run(&self, run: &str, purpose: &str, worker: &str) -> Result<()> {
        self.write(async |writer| {
            writer.begin().await?;
            sqlx::query(
                "INSERT INTO runs (run, purpose, worker, began_at_ms) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (run) DO UPDATE SET
                   purpose = ?2, worker = ?3, began_at_ms = ?4, ended_at_ms = NULL, outcome = NULL",
            )
            .bind(run)
            .bind(purpose)
            .bind(worker)
            .bind(now_ms())
            .execute(&mut *writer.connection)
            .await
            .map_err(|source| writer.failed_to("beginning a run", source))?;
            Ok(())
        })
    }

    /// Notes how a run ended.
    ///
    /// # Errors
    /// [`Error::UnknownRun`], [`Error::Database`].
    pub fn end_run(&self, run: &str, outcome: &str) -> Result<()> {
        self.write(async |writer| {
            writer.begin().await?;
            let done = sqlx::query("UPDATE runs SET ended_at_ms = ?2, outcome = ?3 WHERE run = ?1")
                .bind(run)
                .bind(now_ms())
                .bind(outcome)
                .execute(&mut *writer.connection)
                .await
                .map_err(|source| writer.failed_to("ending a run", source))?;
            if done.rows_affected() == 0 {
                return Err(Error::UnknownRun { run: run.to_owned() });
            }
            Ok(())
        })
    }

    /// Enters the jobs of a stage. Again with the same keys it changes no status: what is completed,
    /// failed or skipped stays so; a job with another key is pending again from its first attempt.
    /// Jobs of the stage that are not named are left as they are.
    ///
    /// # Errors
    /// [`Error::UnknownRun`] before [`Ledger::begin_run`]; [`Error::NotAllowed`] where a job runs
    /// under another key: then none is entered.
    pub fn declare(&self, run: &str, stage: &str, jobs: &[NewJob]) -> Result<()> {
        let now_ms = now_ms();
        self.write(async |writer| {
            writer.begin().await?;
            writer.expect_run(run).await?;
            let known = writer.jobs(&Selector::run(run).stage(stage)).await?;
            let mut known: BTreeMap<String, (i64, JobRow)> =
                known.into_iter().map(|(id, row)| (row.id.symbol.clone(), (id, row))).collect();
            for job in jobs {
                match known.get_mut(&job.symbol) {
                    Some((id, row)) => {
                        let before = row.clone();
                        match row.redeclare(job, now_ms)? {
                            Some(line) => writer.save(*id, row, &line).await?,
                            None if *row != before => writer.update(*id, row).await?,
                            None => {}
                        }
                    }
                    None => {
                        let row = fresh(run, stage, job);
                        let id = writer.insert(&row).await?;
                        writer.note(id, &row.line(Event::Declared, None, now_ms)).await?;
                        known.insert(job.symbol.clone(), (id, row));
                    }
                }
            }
            Ok(())
        })
    }

    /// A worker begins an attempt; gives its number, the first being 1.
    ///
    /// # Errors
    /// [`Error::UnknownJob`]; [`Error::NotAllowed`] where the job is not pending, naming who is at it.
    pub fn started(&self, job: &JobId, worker: &str) -> Result<u32> {
        self.begin_attempt(job, worker, false)
    }

    /// As [`Ledger::started`], for a job that runs with nothing else beside it: a crash now is its own.
    ///
    /// # Errors
    /// As [`Ledger::started`].
    pub fn started_alone(&self, job: &JobId, worker: &str) -> Result<u32> {
        self.begin_attempt(job, worker, true)
    }

    fn begin_attempt(&self, job: &JobId, worker: &str, alone: bool) -> Result<u32> {
        let now_ms = now_ms();
        self.change(job, |row| {
            let line = row.start(worker, alone, now_ms)?;
            Ok((Some(line), row.attempt))
        })
    }

    /// Records a result. The first one counts; an equal one later is noted and is no error.
    ///
    /// # Errors
    /// [`Error::Nondeterministic`] for another digest under the same key (noted in the history, the
    /// recorded one stays); [`Error::NotAllowed`] where the job was skipped; [`Error::UnknownJob`].
    pub fn completed(&self, job: &JobId, digest: &str, usage: Usage) -> Result<()> {
        let now_ms = now_ms();
        let recorded = self.change(job, |row| {
            let line = row.complete(None, digest, usage, now_ms)?;
            let differs = line.event == Event::Nondeterministic;
            let recorded = differs.then(|| (row.key.clone(), row.digest.clone().unwrap_or_default()));
            Ok((Some(line), recorded))
        })?;
        match recorded {
            None => Ok(()),
            Some((key, recorded)) => Err(Error::Nondeterministic {
                job: Box::new(job.clone()),
                key,
                recorded,
                found: digest.to_owned(),
            }),
        }
    }

    /// Records a failed attempt, and says what follows: another one later, or the dead letters.
    ///
    /// # Errors
    /// [`Error::UnknownJob`]; [`Error::NotAllowed`] where the job has already come to its end.
    pub fn failed(&self, job: &JobId, error: &JobError, policy: &RetryPolicy) -> Result<Next> {
        let now_ms = now_ms();
        self.change(job, |row| {
            let (line, next) = row.fail(error, policy, now_ms)?;
            Ok((Some(line), next))
        })
    }

    /// Records that a job is not done, and why. With the reason `cancelled` it can be retried.
    ///
    /// # Errors
    /// [`Error::UnknownJob`]; [`Error::NotAllowed`] where it is completed or failed.
    pub fn skipped(&self, job: &JobId, reason: &str) -> Result<()> {
        let now_ms = now_ms();
        self.change(job, |row| Ok((Some(row.skip(reason, now_ms)?), ())))
    }

    /// Gives a running job back undone: the attempt does not count.
    ///
    /// # Errors
    /// [`Error::UnknownJob`]; [`Error::NotAllowed`] where it does not run.
    pub fn handed_back(&self, job: &JobId) -> Result<()> {
        let now_ms = now_ms();
        self.change(job, |row| Ok((Some(row.hand_back(now_ms)?), ())))
    }

    /// Puts a completed job back to pending because its result is gone or unusable.
    ///
    /// # Errors
    /// [`Error::UnknownJob`]; [`Error::NotAllowed`] where it is not completed.
    pub fn result_lost(&self, job: &JobId, reason: &str) -> Result<()> {
        let now_ms = now_ms();
        self.change(job, |row| Ok((Some(row.lose(reason, now_ms)?), ())))
    }

    /// Takes running jobs from workers that are gone; gives those jobs as they are now. The attempt
    /// that was cut off does not count; a crash does, and crashes condemn a job only where it ran
    /// alone ([`Ledger::started_alone`]), because a machine may die for any reason.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn recover(&self, worker_is_alive: impl Fn(&str) -> bool) -> Result<Vec<JobRow>> {
        let running = Selector::all().status(Status::Running);
        // Asked before anything is locked: the answer may take its time, or call the ledger.
        let mut alive = BTreeMap::new();
        let mut lost = BTreeSet::new();
        for row in self.jobs(&running)? {
            let worker = row.worker.unwrap_or_default();
            if !*alive.entry(worker).or_insert_with_key(|worker| worker_is_alive(worker)) {
                lost.insert((row.id, row.started_at_ms));
            }
        }
        let now_ms = now_ms();
        self.change_all(&running, |row| {
            let same_attempt = lost.contains(&(row.id.clone(), row.started_at_ms));
            same_attempt.then(|| row.orphan(now_ms))
        })
    }

    /// Jobs of a run still to be done under which a worker died three times or more: to be run alone.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn suspects(&self, run: &str) -> Result<Vec<JobRow>> {
        let pending = self.jobs(&Selector::run(run).status(Status::Pending))?;
        Ok(pending.into_iter().filter(|row| row.crashes >= CRASHES_SUSPECT).collect())
    }

    /// Whether somebody asked for the job not to be done. An unknown job is not cancelled.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn is_cancelled(&self, job: &JobId) -> Result<bool> {
        let found = self.read(async |connection| {
            sqlx::query_scalar::<_, bool>(
                "SELECT cancel_requested OR (status = 'skipped' AND reason = 'cancelled')
                 FROM jobs WHERE run = ?1 AND stage = ?2 AND symbol = ?3",
            )
            .bind(&job.run)
            .bind(&job.stage)
            .bind(&job.symbol)
            .fetch_optional(connection)
            .await
        })?;
        Ok(found.unwrap_or(false))
    }

    /// Cancels: what waits is skipped at once, what runs is asked to stop. Gives how many it changed.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn cancel(&self, selector: &Selector) -> Result<usize> {
        let now_ms = now_ms();
        self.change_all(selector, |row| row.cancel(now_ms)).map(|changed| changed.len())
    }

    /// Puts failed and cancelled jobs of runs that were not [`PUBLISHED`] back to pending from their first
    /// attempt. Gives how many.
    ///
    /// # Errors
    /// [`Error::RunOver`] for a run that was, [`Error::Database`].
    pub fn retry(&self, selector: &Selector) -> Result<usize> {
        let now_ms = now_ms();
        // What was not published may be decided again.
        let is_over = |row: &RunRow| row.outcome.as_deref() == Some(PUBLISHED);
        let open = not_over(&self.runs()?, selector, is_over)?;
        open.iter().try_fold(0, |changed, selector| {
            Ok(changed + self.change_all(selector, |row| row.retry(now_ms))?.len())
        })
    }

    /// The runs, youngest first.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn runs(&self) -> Result<Vec<RunRow>> {
        self.read(async |connection| {
            let rows = sqlx::query(concat!(
                "SELECT r.run, purpose, r.worker, began_at_ms, ended_at_ms, outcome, ",
                progress_columns!(),
                " FROM runs r LEFT JOIN jobs j ON j.run = r.run
                  GROUP BY r.run ORDER BY began_at_ms DESC, r.run DESC"
            ))
            .fetch_all(connection)
            .await?;
            rows.iter().map(run_row).collect()
        })
    }

    /// The jobs that `selector` names, by run, stage, priority and order of entry.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Unreadable`].
    pub fn jobs(&self, selector: &Selector) -> Result<Vec<JobRow>> {
        let rows = self.read(async |connection| select_jobs(connection, selector).await)?;
        rows.iter().map(|row| job_row(row, &self.place)).collect()
    }

    /// One job with its history, oldest line first.
    ///
    /// # Errors
    /// [`Error::UnknownJob`], [`Error::Database`], [`Error::Unreadable`].
    pub fn job(&self, job: &JobId) -> Result<(JobRow, Vec<AttemptRow>)> {
        let found = self.read(async |connection| {
            let row = sqlx::query(select_job!())
                .bind(&job.run)
                .bind(&job.stage)
                .bind(&job.symbol)
                .fetch_optional(&mut *connection)
                .await?;
            let Some(row) = row else { return Ok(None) };
            let lines =
                sqlx::query(concat!("SELECT ", line_columns!(), " FROM history WHERE job = ?1 ORDER BY id"))
                    .bind(row.try_get::<i64, _>("id")?)
                    .fetch_all(connection)
                    .await?;
            Ok(Some((row, lines)))
        })?;
        let (row, lines) = found.ok_or_else(|| Error::UnknownJob { job: job.clone() })?;
        let lines = lines.iter().map(|line| line_row(line, &self.place)).collect::<Result<_>>()?;
        Ok((job_row(&row, &self.place)?, lines))
    }

    /// Jobs that failed for good and wait for somebody to look.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Unreadable`].
    pub fn dead_letters(&self) -> Result<Vec<JobRow>> {
        let failed = self.jobs(&Selector::all().status(Status::Failed))?;
        Ok(failed.into_iter().filter(|row| row.dead).collect())
    }

    /// Forgets runs that began before `began_before_ms` and of which nothing runs; gives how many.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn forget_runs_before(&self, began_before_ms: i64) -> Result<u64> {
        self.write(async |writer| {
            writer.begin().await?;
            let done = sqlx::query(
                "DELETE FROM runs WHERE began_at_ms < ?1
                 AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.run = runs.run AND status = 'running')",
            )
            .bind(began_before_ms)
            .execute(&mut *writer.connection)
            .await
            .map_err(|source| writer.failed_to("forgetting runs", source))?;
            Ok(done.rows_affected())
        })
    }

    /// The jobs of a run that gave more than one result under one key: none, where every piece of
    /// work was done once however often the process died.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Unreadable`].
    pub fn verify_exactly_once(&self, run: &str) -> Result<Vec<Repeat>> {
        let rows = self.read(async |connection| {
            sqlx::query(
                "SELECT stage, symbol, at_ms, event, h.attempt, h.worker, h.key, h.digest, h.reason
                 FROM history h JOIN jobs j ON j.id = h.job WHERE j.run = ?1 ORDER BY h.id",
            )
            .bind(run)
            .fetch_all(connection)
            .await
        })?;
        let history = rows.iter().map(|row| {
            let job = JobId::new(run, row.get::<String, _>("stage"), row.get::<String, _>("symbol"));
            Ok((job, line_row(row, &self.place)?))
        });
        Ok(repeats(history.collect::<Result<Vec<_>>>()?))
    }
}

/// The connection while a transaction may be open on it.
struct Writer<'a> {
    place: &'a str,
    connection: &'a mut SqliteConnection,
    open: bool,
}

impl Writer<'_> {
    fn failed_to(&self, doing: &'static str, source: sqlx::Error) -> Error {
        Error::Database { place: self.place.to_owned(), doing, source }
    }

    async fn begin(&mut self) -> Result<()> {
        if !self.open {
            // Immediate: the lock is taken before anything is read, so that what was read still holds.
            sqlx::query("BEGIN IMMEDIATE")
                .execute(&mut *self.connection)
                .await
                .map_err(|source| self.failed_to("beginning", source))?;
            self.open = true;
        }
        Ok(())
    }

    async fn commit(&mut self) -> Result<()> {
        if self.open {
            sqlx::query("COMMIT")
                .execute(&mut *self.connection)
                .await
                .map_err(|source| self.failed_to("committing", source))?;
            self.open = false;
        }
        Ok(())
    }

    async fn roll_back(&mut self) {
        if self.open {
            // Fails only where SQLite has already rolled back by itself.
            let _ = sqlx::query("ROLLBACK").execute(&mut *self.connection).await;
            self.open = false;
        }
    }

    async fn expect_run(&mut self, run: &str) -> Result<()> {
        let found = sqlx::query("SELECT 1 FROM runs WHERE run = ?1")
            .bind(run)
            .fetch_optional(&mut *self.connection)
            .await
            .map_err(|source| self.failed_to("looking for a run", source))?;
        found.map(|_| ()).ok_or_else(|| Error::UnknownRun { run: run.to_owned() })
    }

    /// Begins and reads one job in one trip.
    async fn job(&mut self, job: &JobId) -> Result<Option<(i64, JobRow)>> {
        debug_assert!(!self.open);
        let row = sqlx::query(concat!("BEGIN IMMEDIATE; ", select_job!()))
            .bind(&job.run)
            .bind(&job.stage)
            .bind(&job.symbol)
            .fetch_optional(&mut *self.connection)
            .await;
        // Where reading failed after beginning, there is something to roll back.
        self.open = true;
        let row = row.map_err(|source| self.failed_to("reading a job", source))?;
        row.map(|row| Ok((row.get("id"), job_row(&row, self.place)?))).transpose()
    }

    async fn jobs(&mut self, selector: &Selector) -> Result<Vec<(i64, JobRow)>> {
        self.begin().await?;
        let rows = select_jobs(self.connection, selector)
            .await
            .map_err(|source| self.failed_to("reading jobs", source))?;
        rows.iter().map(|row| Ok((row.get("id"), job_row(row, self.place)?))).collect()
    }

    async fn insert(&mut self, row: &JobRow) -> Result<i64> {
        let done = sqlx::query(
            "INSERT INTO jobs (run, stage, symbol, idx, key, priority, status, attempt, max_attempts, crashes,
               crashes_alone, alone, error_transient, dead, cancel_requested, cap_wall_s, cap_memory_bytes)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, ?8, 0, 0, FALSE, FALSE, FALSE, FALSE, ?9, ?10)",
        )
        .bind(&row.id.run)
        .bind(&row.id.stage)
        .bind(&row.id.symbol)
        .bind(i64::from(row.index))
        .bind(&row.key)
        .bind(i64::from(row.priority))
        .bind(row.status.as_str())
        .bind(row.max_attempts.map(i64::from))
        .bind(row.caps.wall_s)
        .bind(row.caps.memory_bytes.map(stored))
        .execute(&mut *self.connection)
        .await
        .map_err(|source| self.failed_to("entering a job", source))?;
        Ok(done.last_insert_rowid())
    }

    async fn save(&mut self, id: i64, row: &JobRow, line: &AttemptRow) -> Result<()> {
        self.update(id, row).await?;
        self.note(id, line).await
    }

    /// The last write of a transaction, and its end, in one trip.
    async fn save_and_commit(&mut self, id: i64, row: &JobRow, line: &AttemptRow) -> Result<()> {
        bind_line(
            bind_row(sqlx::query(concat!(update_job!(), "; ", insert_line!(27), "; COMMIT")).bind(id), row),
            line,
        )
        .execute(&mut *self.connection)
        .await
        .map_err(|source| self.failed_to("changing a job", source))?;
        self.open = false;
        Ok(())
    }

    async fn update(&mut self, id: i64, row: &JobRow) -> Result<()> {
        bind_row(sqlx::query(update_job!()).bind(id), row)
            .execute(&mut *self.connection)
            .await
            .map_err(|source| self.failed_to("changing a job", source))?;
        Ok(())
    }

    async fn note(&mut self, id: i64, line: &AttemptRow) -> Result<()> {
        bind_line(sqlx::query(insert_line!(1)).bind(id), line)
            .execute(&mut *self.connection)
            .await
            .map_err(|source| self.failed_to("noting what happened", source))?;
        Ok(())
    }
}

/// All that may change of a job, in the order of `update_job!`.
fn bind_row<'q>(query: Bound<'q>, row: &'q JobRow) -> Bound<'q> {
    let error = row.error.as_ref();
    query
        .bind(i64::from(row.index))
        .bind(&row.key)
        .bind(i64::from(row.priority))
        .bind(row.status.as_str())
        .bind(i64::from(row.attempt))
        .bind(row.max_attempts.map(i64::from))
        .bind(i64::from(row.crashes))
        .bind(i64::from(row.crashes_alone))
        .bind(row.alone)
        .bind(&row.worker)
        .bind(&row.digest)
        .bind(row.not_before_ms)
        .bind(row.started_at_ms)
        .bind(row.finished_at_ms)
        .bind(row.usage.map(|usage| usage.cpu_s))
        .bind(row.usage.map(|usage| usage.wall_s))
        .bind(row.usage.map(|usage| stored(usage.peak_bytes)))
        .bind(error.map(|error| error.code.as_str()))
        .bind(error.map(|error| error.text.as_str()))
        .bind(error.is_some_and(|error| error.transient))
        .bind(error.and_then(|error| error.retry_after_s))
        .bind(&row.reason)
        .bind(row.dead)
        .bind(row.cancel_requested)
        .bind(row.caps.wall_s)
        .bind(row.caps.memory_bytes.map(stored))
}

/// A line of history, in the order of `insert_line!`.
fn bind_line<'q>(query: Bound<'q>, line: &'q AttemptRow) -> Bound<'q> {
    query
        .bind(line.at_ms)
        .bind(line.event.as_str())
        .bind(i64::from(line.attempt))
        .bind(&line.worker)
        .bind(&line.key)
        .bind(&line.digest)
        .bind(&line.reason)
}

async fn select_jobs(
    connection: &mut SqliteConnection,
    selector: &Selector,
) -> sqlx::Result<Vec<sqlx::sqlite::SqliteRow>> {
    // A run that is named is looked up; "any run, or this one" would read every row there is.
    let statement = match (&selector.run, selector.status) {
        (Some(_), _) => select_jobs!("run = ?1"),
        (None, Some(Status::Running)) => select_jobs!("?1 IS NULL AND status = 'running'"),
        (None, Some(Status::Failed)) => select_jobs!("?1 IS NULL AND status = 'failed'"),
        (None, _) => select_jobs!("?1 IS NULL"),
    };
    sqlx::query(statement)
        .bind(&selector.run)
        .bind(&selector.stage)
        .bind(&selector.symbol)
        .bind(selector.status.map(Status::as_str))
        .fetch_all(connection)
        .await
}

/// Makes the tables of a new file, and refuses what is not a ledger of ours.
async fn migrate(path: &Path, connection: &mut SqliteConnection) -> Result<()> {
    let opened = |source| opening(path, source);
    let check: String =
        sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&mut *connection).await.map_err(opened)?;
    if check != "ok" {
        let source = sqlx::Error::Protocol(check);
        return Err(Error::Corrupt { path: path.to_owned(), source });
    }
    // Two processes may make the file at once: the second waits here and finds it made.
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await.map_err(opened)?;
    let made = async {
        let application: i64 = pragma(&mut *connection, "PRAGMA application_id").await.map_err(opened)?;
        let format: i64 = pragma(&mut *connection, "PRAGMA user_version").await.map_err(opened)?;
        let tables: i64 =
            pragma(&mut *connection, "SELECT count(*) FROM sqlite_schema").await.map_err(opened)?;
        if application == APPLICATION_ID && format == FORMAT {
            return Ok(());
        }
        if application == APPLICATION_ID {
            let place = format!("ledger {}", path.display());
            return Err(Error::Newer { place, found: format, known: FORMAT });
        }
        if application != 0 || tables != 0 {
            return Err(Error::Foreign { path: path.to_owned(), found: application });
        }
        sqlx::raw_sql(SCHEMA).execute(&mut *connection).await.map_err(opened)?;
        let stamp = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(stamp)).execute(&mut *connection).await.map_err(opened)?;
        Ok(())
    }
    .await;
    let end = if made.is_ok() { "COMMIT" } else { "ROLLBACK" };
    sqlx::query(end).execute(&mut *connection).await.map_err(opened)?;
    made
}

async fn pragma(connection: &mut SqliteConnection, statement: &'static str) -> sqlx::Result<i64> {
    sqlx::query_scalar(statement).fetch_one(connection).await
}

/// Tells a damaged file from one that cannot be had.
fn opening(path: &Path, source: sqlx::Error) -> Error {
    // SQLITE_CORRUPT and SQLITE_NOTADB, in the low byte of extended codes.
    let damaged = source
        .as_database_error()
        .and_then(|error| error.code())
        .and_then(|code| code.parse::<i32>().ok())
        .is_some_and(|code| matches!(code & 0xff, 11 | 26));
    let path = PathBuf::from(path);
    if damaged { Error::Corrupt { path, source } } else { Error::Open { path, source } }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
