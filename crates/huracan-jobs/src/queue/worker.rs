//! Who does the work: claims jobs, runs them on threads, keeps their leases, records their ends.
//!
//! One task, the desk, talks to the database about claims and ends, many at a time in one
//! transaction; what it cannot record it keeps and tries again for as long as it takes, so a result
//! that was computed is never dropped because PostgreSQL was away.

use std::{
    collections::BTreeMap,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use graphile_worker::{
    Job as Wake, TaskDetails,
    sql::{batch_get_jobs::batch_get_jobs, task_identifiers::get_tasks_details},
};
use sqlx::{PgConnection, Row, postgres::PgListener};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::sleep,
};

use super::{
    QueueOptions,
    database::{Change, Database, Held, TASK, is_passing},
    instance,
};
use crate::{
    cancel::{CancelReason, CancelToken},
    error::{Error, Result},
    transition::CANCELLED,
    words::{AttemptRow, Caps, Event, JobError, JobId, Status, Usage},
};

/// Ends recorded in one transaction at most.
const ENDS_MAX: usize = 256;
/// How often caps and grace periods are looked at.
const TICK: Duration = Duration::from_millis(50);

/// A job as its handler gets it.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// What it is called.
    pub id: JobId,
    /// Its place among the jobs of its stage.
    pub index: u32,
    /// Content hash of its inputs.
    pub key: String,
    /// Which attempt this is, the first being 1.
    pub attempt: u32,
    /// What the attempt may use. The wall cap is watched here, the memory cap is the handler's.
    pub caps: Caps,
    /// What the run was opened with.
    pub spec: Arc<[u8]>,
}

/// How a job ends well.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    /// Hash of the result, which is kept elsewhere before this is returned.
    pub digest: String,
    /// What the attempt used.
    pub usage: Usage,
}

/// Does jobs. Called on many threads at once.
pub trait Handler: Send + Sync + 'static {
    /// Does one job, looking at `cancel` often: once it is set, nobody waits for the result for long.
    ///
    /// # Errors
    /// Transient ones are tried again, permanent ones are not. After a cancellation the error's
    /// words do not matter. A panic is a permanent error.
    fn run(&self, job: &Claimed, cancel: &CancelToken) -> std::result::Result<Done, JobError>;
}

impl<F> Handler for F
where
    F: Fn(&Claimed, &CancelToken) -> std::result::Result<Done, JobError> + Send + Sync + 'static,
{
    fn run(&self, job: &Claimed, cancel: &CancelToken) -> std::result::Result<Done, JobError> {
        self(job, cancel)
    }
}

/// What is called when a handler does not stop: with the job, and why it should have.
pub type OnStuck = Arc<dyn Fn(&JobId, CancelReason) + Send + Sync>;

/// How a worker works.
#[derive(Clone)]
pub struct WorkerOptions {
    /// Who it is, for people; need not be unique.
    pub name: String,
    /// Jobs at a time.
    pub concurrency: usize,
    /// How long running jobs may go on after a stop before they are cancelled and handed back.
    pub drain_timeout: Duration,
    /// How long a cancelled handler may take to return before it counts as stuck.
    pub cancel_grace: Duration,
    /// How often new jobs are looked for without being told of any; jobs put off wait for this too.
    pub poll: Duration,
    /// What to do about a stuck handler. A thread cannot be killed, so the default ends the process
    /// with status 70 and leaves its leases to run out.
    pub on_stuck: OnStuck,
}

impl WorkerOptions {
    /// A worker that does `concurrency` jobs at a time.
    pub fn new(name: impl Into<String>, concurrency: usize) -> Self {
        Self {
            name: name.into(),
            concurrency,
            drain_timeout: Duration::from_secs(60),
            cancel_grace: Duration::from_secs(20),
            poll: Duration::from_secs(1),
            on_stuck: Arc::new(|_, _| std::process::exit(70)),
        }
    }
}

impl fmt::Debug for WorkerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerOptions")
            .field("name", &self.name)
            .field("concurrency", &self.concurrency)
            .field("drain_timeout", &self.drain_timeout)
            .field("cancel_grace", &self.cancel_grace)
            .field("poll", &self.poll)
            .finish_non_exhaustive()
    }
}

/// What a worker did until it stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Worked {
    /// Attempts that ended with a result.
    pub done: u64,
    /// Attempts that ended with an error.
    pub failed: u64,
    /// Jobs given back undone: cancelled, or running when the drain was over.
    pub given_up: u64,
}

/// Works on the queue at `url` until `stop` is set; then claims nothing more, lets running jobs
/// finish for a while, hands the rest back, and returns.
///
/// Where the database goes away, running jobs go on, and everything else waits for it to come back.
///
/// # Errors
/// As [`super::Queue::connect`], at the start only; [`Error::Invalid`] for no jobs at a time.
pub fn work(
    url: &str,
    queue: &QueueOptions,
    options: WorkerOptions,
    handler: Arc<dyn Handler>,
    stop: Arc<AtomicBool>,
) -> Result<Worked> {
    if options.concurrency == 0 {
        return Err(Error::Invalid {
            what: "worker concurrency",
            found: "0".to_owned(),
            expected: "at least one job at a time",
        });
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(options.concurrency + 8)
        .thread_name("huracan-work")
        .enable_all()
        .build()
        .map_err(Error::Runtime)?;
    let worked = runtime.block_on(async {
        let database = Database::open(url, queue, 5)?;
        database.patiently(queue.patience, || database.migrate()).await?;
        let tasks = database.patiently(queue.patience, || tasks(&database)).await?;
        let shared = Arc::new(Shared {
            database,
            instance: instance(&options.name),
            options,
            handler,
            tasks,
            active: Mutex::default(),
            specs: Mutex::default(),
            more: Notify::new(),
            draining: AtomicBool::new(false),
            claims_over: AtomicBool::new(false),
            worked: Mutex::default(),
        });
        Ok(run(shared, stop).await)
    });
    // A stuck handler's thread cannot be waited for.
    runtime.shutdown_background();
    worked
}

async fn tasks(database: &Database) -> Result<TaskDetails> {
    get_tasks_details(&database.graphile_database(), database.graphile(), vec![TASK.to_owned()])
        .await
        .map_err(database.failed_to("registering with graphile_worker"))
}

struct Shared {
    database: Database,
    instance: i64,
    options: WorkerOptions,
    handler: Arc<dyn Handler>,
    tasks: TaskDetails,
    active: Mutex<BTreeMap<i64, Arc<Active>>>,
    specs: Mutex<BTreeMap<String, Arc<[u8]>>>,
    /// There may be something to claim.
    more: Notify,
    draining: AtomicBool,
    /// The desk has seen the drain: no job begins any more.
    claims_over: AtomicBool,
    worked: Mutex<Worked>,
}

/// A job being done here.
struct Active {
    id: i64,
    claim: i64,
    job: Claimed,
    cancel: CancelToken,
    since: Instant,
    /// When it was first seen to be cancelled.
    told: Mutex<Option<Instant>>,
    /// Its handler has returned, and what came of it is being recorded.
    ended: AtomicBool,
    /// Given up on: its lease is no longer renewed.
    stuck: AtomicBool,
}

/// How an attempt ended.
#[derive(Debug, Clone)]
enum Outcome {
    Done(Done),
    Failed(JobError),
    Cancelled,
    HandBack,
    /// The lease was lost and nothing came of it: others decide.
    Nothing,
}

struct End {
    id: i64,
    claim: i64,
    key: String,
    outcome: Outcome,
    recorded: oneshot::Sender<()>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn run(shared: Arc<Shared>, stop: Arc<AtomicBool>) -> Worked {
    let (ends, inbox) = mpsc::channel(ENDS_MAX);
    let mut desk = tokio::spawn(desk(shared.clone(), ends.clone(), inbox));
    let helpers = [
        tokio::spawn(listen(shared.clone())),
        tokio::spawn(renew(shared.clone())),
        tokio::spawn(sweep(shared.clone())),
        tokio::spawn(watch(shared.clone())),
    ];
    while !stop.load(Ordering::Acquire) {
        sleep(TICK).await;
    }
    drain(&shared, ends).await;
    // The desk ends when the last sender is gone: nobody has anything more to record.
    if tokio::time::timeout(shared.options.cancel_grace, &mut desk).await.is_err() {
        desk.abort();
        tracing::warn!("queue is away: what was not recorded is left to others when its lease runs out");
    }
    for helper in helpers {
        helper.abort();
    }
    *lock(&shared.worked)
}

/// Lets running jobs finish, then cancels them, then hands back those that will not stop.
async fn drain(shared: &Arc<Shared>, ends: mpsc::Sender<End>) {
    shared.draining.store(true, Ordering::Release);
    shared.more.notify_one();
    let idle_by = async |limit: Duration| {
        let begun = Instant::now();
        while begun.elapsed() < limit {
            let busy = lock(&shared.active).values().any(|active| !active.stuck.load(Ordering::Acquire));
            if shared.claims_over.load(Ordering::Acquire) && !busy {
                return true;
            }
            sleep(TICK / 5).await;
        }
        false
    };
    if idle_by(shared.options.drain_timeout).await {
        return;
    }
    for active in lock(&shared.active).values() {
        active.cancel.cancel(CancelReason::Stopping);
    }
    if idle_by(shared.options.cancel_grace).await {
        return;
    }
    let left: Vec<Arc<Active>> = lock(&shared.active).values().cloned().collect();
    let hand_back = async {
        for active in &left {
            tracing::warn!(job = %active.job.id, "job does not end, handing it back");
            record(&ends, active, Outcome::HandBack).await;
        }
    };
    // Where the database is away, there is nobody to hand anything to.
    let _ = tokio::time::timeout(shared.options.cancel_grace, hand_back).await;
}

/// Waits until the end is in the database.
async fn record(ends: &mpsc::Sender<End>, active: &Active, outcome: Outcome) {
    let (recorded, done) = oneshot::channel();
    let end = End { id: active.id, claim: active.claim, key: active.job.key.clone(), outcome, recorded };
    if ends.send(end).await.is_ok() {
        let _ = done.await;
    }
}

/// The one place that claims jobs and records their ends.
async fn desk(shared: Arc<Shared>, ends: mpsc::Sender<End>, mut inbox: mpsc::Receiver<End>) {
    // Let go once draining, so that the inbox closes when the last job is through.
    let mut ends = Some(ends);
    let mut waiting: Vec<End> = Vec::new();
    let mut more = true;
    let mut unsure = false;
    let mut wait = Duration::from_millis(20);
    loop {
        if shared.draining.load(Ordering::Acquire) {
            ends = None;
            shared.claims_over.store(true, Ordering::Release);
        }
        let free = match &ends {
            Some(_) => {
                let busy = lock(&shared.active).len().saturating_sub(waiting.len());
                shared.options.concurrency.saturating_sub(busy)
            }
            None => 0,
        };
        if waiting.is_empty() && (free == 0 || !more) {
            tokio::select! {
                received = inbox.recv_many(&mut waiting, ENDS_MAX) => {
                    if received == 0 {
                        return;
                    }
                }
                () = shared.more.notified() => more = true,
                () = sleep(shared.options.poll) => more = true,
            }
            continue;
        }
        while waiting.len() < ENDS_MAX {
            match inbox.try_recv() {
                Ok(end) => waiting.push(end),
                Err(_) => break,
            }
        }
        let want = if more { free } else { 0 };
        match transact(&shared, &waiting, want, unsure).await {
            Ok(claimed) => {
                (unsure, wait) = (false, Duration::from_millis(20));
                more = want == 0 && more || want > 0 && claimed.taken == want;
                // Out of the list before the end is acknowledged, so that its place is free again.
                {
                    let mut active = lock(&shared.active);
                    for end in &waiting {
                        if active.get(&end.id).is_some_and(|active| active.claim == end.claim) {
                            active.remove(&end.id);
                        }
                    }
                }
                for end in waiting.drain(..) {
                    let _ = end.recorded.send(());
                }
                for (held, spec) in claimed.jobs {
                    if let Some(ends) = &ends {
                        begin(&shared, ends.clone(), held, spec);
                    }
                }
            }
            Err(error) => {
                // Whether the transaction was committed is not known where the connection broke.
                unsure = true;
                more = true;
                if is_passing(&error) {
                    tracing::warn!(%error, "queue is away, trying again");
                } else {
                    tracing::error!(%error, "queue refused, trying again");
                }
                sleep(wait).await;
                wait = (wait * 2).min(Duration::from_secs(2));
            }
        }
    }
}

struct Claims {
    /// Wake-ups taken, whether or not their jobs were still to be done.
    taken: usize,
    jobs: Vec<(Held, Arc<[u8]>)>,
}

/// Records ends and claims up to `want` jobs, all or nothing.
async fn transact(shared: &Shared, ends: &[End], want: usize, unsure: bool) -> Result<Claims> {
    let database = &shared.database;
    let mut transaction = database.begin().await?;
    let wakes: Vec<Wake> = if want > 0 {
        let limit = i32::try_from(want).unwrap_or(i32::MAX);
        let worker = &shared.options.name;
        batch_get_jobs(&mut transaction, &shared.tasks, database.graphile(), worker, &[], limit, None)
            .await
            .map_err(database.failed_to("looking for jobs"))?
    } else {
        Vec::new()
    };
    let woken: Vec<i64> = wakes.iter().filter_map(|wake| wake.payload().get("id")?.as_i64()).collect();
    let strays = if unsure { strays(shared, &mut transaction, ends).await? } else { Vec::new() };
    let mut ids: Vec<i64> = ends.iter().map(|end| end.id).chain(woken.iter().copied()).collect();
    ids.extend(&strays);
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        database.consume(&mut transaction, &wakes).await?;
        transaction.commit().await.map_err(database.failed_to("committing"))?;
        return Ok(Claims { taken: wakes.len(), jobs: Vec::new() });
    }
    let mut changes = Vec::new();
    let mut jobs = Vec::new();
    let (now_ms, locked) = database.lock(&mut transaction, &ids).await?;
    for mut held in locked {
        let before = held.row.clone();
        let mut lines = Vec::new();
        for end in ends {
            if end.id == held.id {
                lines.extend(close(shared, &mut held, end, unsure, now_ms));
            }
        }
        if strays.contains(&held.id) {
            lines.extend(held.row.hand_back(now_ms).ok());
        }
        let mut early = false;
        if before.status == Status::Pending && held.row.status == Status::Pending && woken.contains(&held.id)
        {
            // Woken before its time, by an older wake-up: put back as it was.
            early = held.row.not_before_ms.is_some_and(|ms| ms > now_ms);
            if !early && let Ok(line) = held.row.start(&shared.options.name, false, now_ms) {
                lines.push(line);
                held.claim += 1;
                held.instance = Some(shared.instance);
                jobs.push(held.clone());
            }
        }
        let mut change = Change::of(&before, held, lines);
        change.wake |= early;
        changes.push(change);
    }
    database.consume(&mut transaction, &wakes).await?;
    database.write(&mut transaction, &changes).await?;
    let mut claimed = Vec::with_capacity(jobs.len());
    for held in jobs {
        let spec = spec(shared, &mut transaction, &held.row.id.run).await?;
        claimed.push((held, spec));
    }
    transaction.commit().await.map_err(database.failed_to("committing"))?;
    Ok(Claims { taken: wakes.len(), jobs: claimed })
}

/// What an end changes of its job, if it still does. `unsure`: it may have been recorded already, in
/// a transaction whose answer was lost.
fn close(shared: &Shared, held: &mut Held, end: &End, unsure: bool, now_ms: i64) -> Option<AttemptRow> {
    let ours = held.claim == end.claim && held.row.status == Status::Running;
    let worker = Some(shared.options.name.as_str());
    match &end.outcome {
        Outcome::Done(done) => {
            let recorded = held.row.status == Status::Completed
                && held.instance == Some(shared.instance)
                && held.row.digest.as_deref() == Some(&done.digest);
            // Nor does a result count that was made of inputs no longer asked for.
            if unsure && recorded || held.row.key != end.key {
                return None;
            }
            let line = held.row.complete(worker, &done.digest, done.usage, now_ms).ok()?;
            if line.event == Event::Completed {
                held.instance = Some(shared.instance);
            }
            Some(line)
        }
        Outcome::Failed(error) if ours => {
            held.row.fail(error, &shared.database.options.retry, now_ms).ok().map(|(line, _)| line)
        }
        Outcome::Cancelled if ours => held.row.skip(CANCELLED, now_ms).ok(),
        Outcome::HandBack if ours => held.row.hand_back(now_ms).ok(),
        _ => None,
    }
}

/// Jobs that run under our name though we do not know of them: claimed in a transaction whose
/// answer was lost.
async fn strays(shared: &Shared, connection: &mut PgConnection, ends: &[End]) -> Result<Vec<i64>> {
    let rows = sqlx::query("SELECT id, claim FROM jobs WHERE status = 'running' AND instance = $1")
        .bind(shared.instance)
        .fetch_all(connection)
        .await
        .map_err(shared.database.failed_to("looking for stray jobs"))?;
    let active = lock(&shared.active);
    Ok(rows
        .iter()
        .map(|row| (row.get::<i64, _>("id"), row.get::<i64, _>("claim")))
        .filter(|(id, claim)| active.get(id).is_none_or(|active| active.claim != *claim))
        .filter(|(id, _)| ends.iter().all(|end| end.id != *id))
        .map(|(id, _)| id)
        .collect())
}

/// What a run was opened with; read once.
async fn spec(shared: &Shared, connection: &mut PgConnection, run: &str) -> Result<Arc<[u8]>> {
    if let Some(spec) = lock(&shared.specs).get(run) {
        return Ok(spec.clone());
    }
    let spec: Vec<u8> = sqlx::query_scalar("SELECT spec FROM runs WHERE run = $1")
        .bind(run)
        .fetch_one(connection)
        .await
        .map_err(shared.database.failed_to("reading a run"))?;
    let spec: Arc<[u8]> = spec.into();
    let mut specs = lock(&shared.specs);
    // A worker lives through many runs; a specification is cheap to read again.
    if specs.len() >= 16 {
        specs.clear();
    }
    specs.insert(run.to_owned(), spec.clone());
    Ok(spec)
}

/// Starts a claimed job on a thread of its own, and sees it through.
fn begin(shared: &Arc<Shared>, ends: mpsc::Sender<End>, held: Held, spec: Arc<[u8]>) {
    let row = held.row;
    let job =
        Claimed { id: row.id, index: row.index, key: row.key, attempt: row.attempt, caps: row.caps, spec };
    let active = Arc::new(Active {
        id: held.id,
        claim: held.claim,
        job,
        cancel: CancelToken::new(),
        since: Instant::now(),
        told: Mutex::default(),
        ended: AtomicBool::new(false),
        stuck: AtomicBool::new(false),
    });
    lock(&shared.active).insert(held.id, active.clone());
    let shared = shared.clone();
    tokio::spawn(async move {
        let (handler, doing) = (shared.handler.clone(), active.clone());
        let result = tokio::task::spawn_blocking(move || {
            catch_unwind(AssertUnwindSafe(|| handler.run(&doing.job, &doing.cancel)))
        })
        .await;
        active.ended.store(true, Ordering::Release);
        let result = match result {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => Err(JobError::permanent("panicked", panic_text(&*panic))),
            Err(error) => Err(JobError::permanent("panicked", error.to_string())),
        };
        let outcome = outcome(result, active.cancel.reason(), &active.job.caps);
        count(&shared, &outcome);
        record(&ends, &active, outcome).await;
    });
}

/// What an attempt's end means, given why it was asked to stop, if it was. A result is a result.
fn outcome(
    result: std::result::Result<Done, JobError>,
    cancelled: Option<CancelReason>,
    caps: &Caps,
) -> Outcome {
    match (result, cancelled) {
        (Ok(done), _) => Outcome::Done(Done { digest: done.digest.replace('\0', " "), ..done }),
        (Err(error), _) if error.code == "panicked" => Outcome::Failed(plain(error)),
        (Err(error), None) => Outcome::Failed(plain(error)),
        (Err(_), Some(CancelReason::Cancelled)) => Outcome::Cancelled,
        (Err(_), Some(CancelReason::Stopping)) => Outcome::HandBack,
        (Err(_), Some(CancelReason::LeaseLost)) => Outcome::Nothing,
        (Err(_), Some(CancelReason::WallCap)) => Outcome::Failed(wall_cap(caps)),
    }
}

/// It may pass: how long a job takes depends on what else its machine does.
fn wall_cap(caps: &Caps) -> JobError {
    JobError::transient("wall_cap", format!("took longer than {} s", caps.wall_s.unwrap_or_default()))
}

/// PostgreSQL's texts cannot hold a zero byte.
fn plain(error: JobError) -> JobError {
    JobError { code: error.code.replace('\0', " "), text: error.text.replace('\0', " "), ..error }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "panicked without words".to_owned(),
    }
}

fn count(shared: &Shared, outcome: &Outcome) {
    let mut worked = lock(&shared.worked);
    match outcome {
        Outcome::Done(_) => worked.done += 1,
        Outcome::Failed(_) => worked.failed += 1,
        Outcome::Cancelled | Outcome::HandBack | Outcome::Nothing => worked.given_up += 1,
    }
}

/// Hears of new jobs at once; polling finds them too, later.
async fn listen(shared: Arc<Shared>) {
    loop {
        if let Ok(mut listener) = PgListener::connect_with(&shared.database.pool).await
            && listener.listen("jobs:insert").await.is_ok()
        {
            shared.more.notify_one();
            while listener.recv().await.is_ok() {
                shared.more.notify_one();
            }
        }
        sleep(Duration::from_secs(1).min(shared.options.poll)).await;
    }
}

/// Renews leases, and learns from the answer which jobs were cancelled and which are no longer ours.
async fn renew(shared: Arc<Shared>) {
    loop {
        sleep(shared.database.options.heartbeat).await;
        let mine: Vec<Arc<Active>> = lock(&shared.active)
            .values()
            .filter(|active| !active.stuck.load(Ordering::Acquire))
            .cloned()
            .collect();
        if mine.is_empty() {
            continue;
        }
        let ids: Vec<i64> = mine.iter().map(|active| active.id).collect();
        let claims: Vec<i64> = mine.iter().map(|active| active.claim).collect();
        let renewed = sqlx::query(
            "WITH mine AS (SELECT id FROM jobs JOIN unnest($1::bigint[], $2::bigint[]) AS m (job, taken)
               ON job = id AND taken = claim WHERE status = 'running' ORDER BY id FOR UPDATE OF jobs)
             UPDATE jobs SET lease_expires_at = clock_timestamp() + make_interval(secs => $3)
             FROM mine WHERE jobs.id = mine.id RETURNING jobs.id, cancel_requested",
        )
        .bind(&ids)
        .bind(&claims)
        .bind(shared.database.options.lease.as_secs_f64())
        .fetch_all(&shared.database.pool)
        .await;
        match renewed {
            Ok(rows) => {
                let held: BTreeMap<i64, bool> =
                    rows.iter().map(|row| (row.get("id"), row.get("cancel_requested"))).collect();
                for active in mine {
                    match held.get(&active.id) {
                        Some(true) => active.cancel.cancel(CancelReason::Cancelled),
                        Some(false) => {}
                        None => active.cancel.cancel(CancelReason::LeaseLost),
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "leases were not renewed, trying again"),
        }
    }
}

async fn sweep(shared: Arc<Shared>) {
    loop {
        sleep(shared.database.options.sweep).await;
        match shared.database.sweep().await {
            Ok(0) => {}
            Ok(taken) => tracing::warn!(jobs = taken, "leases ran out, their jobs were taken back"),
            Err(error) => tracing::warn!(%error, "sweep failed, trying again later"),
        }
    }
}

/// Watches caps, and handlers that do not stop.
async fn watch(shared: Arc<Shared>) {
    loop {
        sleep(TICK).await;
        let all: Vec<Arc<Active>> = lock(&shared.active).values().cloned().collect();
        // A result that waits for the database is nobody's fault.
        for active in all.into_iter().filter(|active| !active.ended.load(Ordering::Acquire)) {
            if active.job.caps.wall_s.is_some_and(|cap_s| active.since.elapsed().as_secs_f64() > cap_s) {
                active.cancel.cancel(CancelReason::WallCap);
            }
            let Some(reason) = active.cancel.reason() else { continue };
            let told = *lock(&active.told).get_or_insert_with(Instant::now);
            let stopping = reason == CancelReason::Stopping;
            if !stopping
                && told.elapsed() > shared.options.cancel_grace
                && !active.stuck.swap(true, Ordering::AcqRel)
            {
                tracing::error!(job = %active.job.id, ?reason, "job does not stop");
                (shared.options.on_stuck)(&active.job.id, reason);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done() -> Done {
        Done { digest: "d".to_owned(), usage: Usage::default() }
    }

    #[test]
    fn a_result_counts_whatever_was_asked_meanwhile() {
        for reason in [CancelReason::Cancelled, CancelReason::WallCap, CancelReason::LeaseLost] {
            let ended = outcome(Ok(done()), Some(reason), &Caps::default());
            assert!(matches!(ended, Outcome::Done(_)), "{reason:?}: {ended:?}");
        }
    }

    #[test]
    fn an_error_after_a_cancellation_means_what_the_cancellation_meant() {
        let ended = |reason| outcome(Err(JobError::permanent("x", "y")), reason, &Caps::default());
        assert!(matches!(ended(None), Outcome::Failed(error) if error.code == "x"));
        assert!(matches!(ended(Some(CancelReason::Cancelled)), Outcome::Cancelled));
        assert!(matches!(ended(Some(CancelReason::Stopping)), Outcome::HandBack));
        assert!(matches!(ended(Some(CancelReason::LeaseLost)), Outcome::Nothing));
        let capped = ended(Some(CancelReason::WallCap));
        assert!(matches!(capped, Outcome::Failed(error) if error.code == "wall_cap" && error.transient));
    }

    #[test]
    fn a_panic_is_told_in_its_own_words() {
        let panic = catch_unwind(|| panic!("index {} of 3", 7)).unwrap_err();
        assert_eq!(panic_text(&*panic), "index 7 of 3");
        let error = plain(JobError::permanent("panicked", "zero\0byte"));
        assert_eq!(error.text, "zero byte");
    }

    #[test]
    fn instances_differ() {
        assert_ne!(instance("w"), instance("w"));
    }
}
