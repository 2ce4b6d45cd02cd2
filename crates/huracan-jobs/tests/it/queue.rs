//! What the queue promises, on a real PostgreSQL: every job once, and nothing lost whoever dies.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle, sleep},
    time::{Duration, Instant},
};

use huracan_jobs::{
    CancelReason, CancelToken, Caps, Claimed, Coordinator, Done, Error, Event, Handler, JobError, JobId,
    JobRow, NewJob, Queue, QueueOptions, RetryPolicy, Selector, Status, Usage, Watch, Worked, WorkerOptions,
    work,
};

use crate::testing::Cluster;

const PATIENCE: Duration = Duration::from_secs(30);

/// One PostgreSQL for the tests that leave it alone, as long as any of them needs it.
fn shared() -> Option<Arc<Cluster>> {
    static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(cluster) = shared.upgrade() {
        return Some(cluster);
    }
    let cluster = Arc::new(Cluster::start()?);
    *shared = Arc::downgrade(&cluster);
    Some(cluster)
}

/// A schema of its own, and leases short enough for a test to see them run out.
fn options(schema: &str) -> QueueOptions {
    QueueOptions {
        schema: schema.to_owned(),
        lease: Duration::from_millis(1500),
        heartbeat: Duration::from_millis(150),
        sweep: Duration::from_millis(100),
        patience: PATIENCE,
        retry: RetryPolicy { max_attempts: 3, base_s: 0.05, cap_s: 0.2 },
    }
}

fn worker_options(name: &str, concurrency: usize) -> WorkerOptions {
    WorkerOptions {
        poll: Duration::from_millis(50),
        cancel_grace: Duration::from_secs(5),
        on_stuck: Arc::new(|job, reason| panic!("{job} is stuck: {reason:?}")),
        ..WorkerOptions::new(name, concurrency)
    }
}

/// A worker on a thread of this process.
struct Worker {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Worked>,
}

impl Worker {
    fn start(url: &str, queue: &QueueOptions, options: WorkerOptions, handler: impl Handler) -> Worker {
        let stop = Arc::new(AtomicBool::new(false));
        let (url, queue, asked) = (url.to_owned(), queue.clone(), stop.clone());
        let thread = thread::spawn(move || work(&url, &queue, options, Arc::new(handler), asked).unwrap());
        Worker { stop, thread }
    }

    fn stop(self) -> Worked {
        self.stop.store(true, Ordering::Release);
        self.thread.join().unwrap()
    }
}

fn done(digest: impl Into<String>) -> Done {
    Done { digest: digest.into(), usage: Usage { cpu_s: 0.5, wall_s: 1.0, peak_bytes: 42 } }
}

fn ok(job: &Claimed, _: &CancelToken) -> Result<Done, JobError> {
    Ok(done(format!("digest of {}", job.key)))
}

fn jobs(count: usize) -> Vec<NewJob> {
    (0..count)
        .map(|n| NewJob { index: n as u32, ..NewJob::new(format!("C{n:04}"), format!("k{n}")) })
        .collect()
}

fn job(symbol: &str) -> JobId {
    JobId::new("run", "head", symbol)
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        sleep(Duration::from_millis(10));
    }
}

fn wait_done(coordinator: &Coordinator) {
    until("all jobs are done", || coordinator.progress(None).unwrap().is_done());
}

fn events(queue: &Queue, symbol: &str) -> Vec<Event> {
    queue.job(&job(symbol)).unwrap().1.iter().map(|line| line.event).collect()
}

fn row(queue: &Queue, symbol: &str) -> JobRow {
    queue.job(&job(symbol)).unwrap().0
}

#[test]
fn many_workers_do_each_job_once_and_the_coordinator_hears_of_each() {
    let Some(cluster) = shared() else { return };
    let options = options("once");
    let queue = Queue::connect(&cluster.url(), &options).unwrap();
    let run = queue.open_run("run", "nightly", b"the spec", "c1").unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let workers: Vec<Worker> = (0..3)
        .map(|n| {
            let seen = seen.clone();
            let handler = move |job: &Claimed, cancel: &CancelToken| {
                assert_eq!(&*job.spec, b"the spec");
                assert_eq!((job.attempt, job.id.symbol.clone()), (1, format!("C{:04}", job.index)));
                seen.lock().unwrap().push(job.id.symbol.clone());
                ok(job, cancel)
            };
            Worker::start(&cluster.url(), &options, worker_options(&format!("w{n}"), 4), handler)
        })
        .collect();
    run.submit("head", &jobs(300)).unwrap();
    let (mut watch, mut heard) = (Watch::default(), Vec::new());
    while heard.len() < 300 {
        let news = run.wait_changes("head", &mut watch, PATIENCE).unwrap();
        assert!(!news.is_empty(), "heard of {} jobs only", heard.len());
        heard.extend(news.into_iter().map(|row| row.id.symbol));
    }
    assert!(run.wait_changes("head", &mut watch, Duration::from_millis(50)).unwrap().is_empty());
    let worked: u64 = workers.into_iter().map(|worker| worker.stop().done).sum();
    let mut seen = seen.lock().unwrap().clone();
    for symbols in [&mut seen, &mut heard] {
        symbols.sort();
        assert_eq!(*symbols, (0..300).map(|n| format!("C{n:04}")).collect::<Vec<_>>());
    }
    assert_eq!((worked, run.progress(Some("head")).unwrap().completed), (300, 300));
    assert!(queue.verify_exactly_once("run").unwrap().is_empty());
    let row = row(&queue, "C0007");
    assert_eq!((row.digest.as_deref(), row.attempt), (Some("digest of k7"), 1));
    assert_eq!(row.usage, Some(done("").usage));
    run.close("published").unwrap();
    let runs = queue.runs().unwrap();
    assert_eq!((runs[0].outcome.as_deref(), runs[0].jobs.completed), (Some("published"), 300));
}

#[test]
fn submitting_again_changes_only_what_has_another_key() {
    let Some(cluster) = shared() else { return };
    let options = options("again");
    let queue = Queue::connect(&cluster.url(), &options).unwrap();
    let run = queue.open_run("run", "", b"", "c1").unwrap();
    let worker = Worker::start(&cluster.url(), &options, worker_options("w", 2), ok);
    run.submit("head", &jobs(5)).unwrap();
    wait_done(&run);
    let mut again = jobs(6);
    again[2].key = "changed".to_owned();
    run.submit("head", &again).unwrap();
    run.submit("head", &again).unwrap();
    wait_done(&run);
    worker.stop();
    for (n, row) in queue.jobs(&Selector::run("run")).unwrap().iter().enumerate() {
        let starts = events(&queue, &row.id.symbol).iter().filter(|event| **event == Event::Started).count();
        assert_eq!(starts, if n == 2 { 2 } else { 1 }, "{}", row.id);
        assert_eq!(row.digest, Some(format!("digest of {}", again[n].key)));
    }
    let wrong = NewJob { priority: 40_000, ..NewJob::new("X", "k") };
    assert!(matches!(run.submit("head", &[wrong]), Err(Error::Invalid { .. })));
}

#[test]
fn smaller_priorities_run_first_and_equal_ones_in_order_of_entry() {
    let Some(cluster) = shared() else { return };
    let options = options("priorities");
    let queue = Queue::connect(&cluster.url(), &options).unwrap();
    let run = queue.open_run("run", "", b"", "c1").unwrap();
    let mut news = jobs(40);
    for (n, job) in news.iter_mut().enumerate() {
        job.priority = -((n % 3) as i32);
    }
    run.submit("head", &news).unwrap();
    // The last one is moved to the front while it waits.
    news[39].priority = -9;
    run.submit("head", &news[39..]).unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let seen = order.clone();
    let handler = move |job: &Claimed, cancel: &CancelToken| {
        seen.lock().unwrap().push(job.index);
        ok(job, cancel)
    };
    let worker = Worker::start(&cluster.url(), &options, worker_options("w", 1), handler);
    wait_done(&run);
    worker.stop();
    let mut expected: Vec<&NewJob> = news.iter().collect();
    expected.sort_by_key(|job| (job.priority, job.index));
    assert_eq!(*order.lock().unwrap(), expected.iter().map(|job| job.index).collect::<Vec<_>>());
}

#[test]
fn a_poison_job_ends_in_the_dead_letters_and_a_hand_brings_it_back() {
    let Some(cluster) = shared() else { return };
    let options = options("poison");
    let queue = Queue::connect(&cluster.url(), &options).unwrap();
    let run = queue.open_run("run", "", b"", "c1").unwrap();
    let cured = Arc::new(AtomicBool::new(false));
    let well = cured.clone();
    let handler = move |job: &Claimed, cancel: &CancelToken| match job.id.symbol.as_str() {
        _ if well.load(Ordering::Acquire) => ok(job, cancel),
        "POISON" => Err(JobError::transient("net", format!("attempt {}", job.attempt))),
        "TWICE" => Err(JobError::transient("net", "reset")),
        "BUG" => panic!("index {} out of range", 7),
        "BAD" => Err(JobError::permanent("bad_input", "no candles")),
        _ => ok(job, cancel),
    };
    let worker = Worker::start(&cluster.url(), &options, worker_options("w", 4), handler);
    let mut news: Vec<NewJob> = ["POISON", "TWICE", "BUG", "BAD", "GOOD"].map(|s| NewJob::new(s, "k")).into();
    news[1].max_attempts = Some(2);
    run.submit("head", &news).unwrap();
    wait_done(&run);
    let dead: BTreeMap<String, (u32, String, String)> = queue
        .dead_letters()
        .unwrap()
        .into_iter()
        .map(|row| (row.id.symbol, (row.attempt, row.error.clone().unwrap().code, row.error.unwrap().text)))
        .collect();
    let letter = |attempts, code: &str, text: &str| (attempts, code.to_owned(), text.to_owned());
    assert_eq!(dead["POISON"], letter(3, "net", "attempt 3"));
    assert_eq!(dead["TWICE"], letter(2, "net", "reset"));
    assert_eq!(dead["BUG"], letter(1, "panicked", "index 7 out of range"));
    assert_eq!(dead["BAD"], letter(1, "bad_input", "no candles"));
    assert_eq!(dead.len(), 4);
    let tale =
        [Event::Started, Event::Retried, Event::Started, Event::Retried, Event::Started, Event::Failed];
    assert_eq!(events(&queue, "POISON")[1..], tale);
    cured.store(true, Ordering::Release);
    assert_eq!(queue.retry(&Selector::run("run")).unwrap(), 4);
    wait_done(&run);
    worker.stop();
    assert_eq!(run.progress(None).unwrap().completed, 5);
    assert!(queue.dead_letters().unwrap().is_empty());
}

#[test]
fn cancelling_skips_what_waits_and_stops_what_runs() {
    let Some(cluster) = shared() else { return };
    let options = options("cancel");
    let queue = Queue::connect(&cluster.url(), &options).unwrap();
    let run = queue.open_run("run", "", b"", "c1").unwrap();
    let patient = Arc::new(AtomicBool::new(true));
    let waits = patient.clone();
    let handler = move |job: &Claimed, cancel: &CancelToken| {
        while waits.load(Ordering::Acquire) {
            if cancel.is_cancelled() {
                assert_eq!(cancel.reason(), Some(CancelReason::Cancelled));
                return Err(JobError::permanent("stopped", ""));
            }
            sleep(Duration::from_millis(5));
        }
        ok(job, cancel)
    };
    let worker = Worker::start(&cluster.url(), &options, worker_options("w", 1), handler);
    run.submit("head", &jobs(3)).unwrap();
    until("a job runs", || run.progress(None).unwrap().running == 1);
    assert_eq!(queue.cancel(&Selector::run("run")).unwrap(), 3);
    wait_done(&run);
    assert_eq!(run.progress(None).unwrap().skipped, 3);
    assert_eq!(events(&queue, "C0000")[2..], [Event::Cancelled, Event::Skipped]);
    assert_eq!(row(&queue, "C0000").reason.as_deref(), Some("cancelled"));
    patient.store(false, Ordering::Release);
    assert_eq!(queue.retry(&Selector::run("run")).unwrap(), 3);
    wait_done(&run);
    worker.stop();
    assert_eq!(run.progress(None).unwrap().completed, 3);
}

/// Where the processes find their queue that are started to be killed.
fn doomed() -> Option<(String, String)> {
    Some((std::env::var("JOBS_TEST_URL").ok()?, std::env::var("JOBS_TEST_SCHEMA").ok()?))
}

/// A process that is killed, at the latest when the test ends.
struct Doomed(Child);

impl Doomed {
    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Doomed {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Nobody kills a process whose parent was killed first.
fn end_with_parent() {
    let parent = std::os::unix::process::parent_id();
    thread::spawn(move || {
        while std::os::unix::process::parent_id() == parent {
            sleep(Duration::from_millis(100));
        }
        std::process::exit(1);
    });
}

fn child_process(test: &str, url: &str, schema: &str) -> Doomed {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("queue::{test}")])
        .env("JOBS_TEST_URL", url)
        .env("JOBS_TEST_SCHEMA", schema)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Doomed(child)
}

/// Not a test but a process that one starts: does its first jobs, then never ends.
#[test]
fn a_worker_to_be_killed() {
    let Some((url, schema)) = doomed() else { return };
    end_with_parent();
    let handler = |job: &Claimed, cancel: &CancelToken| {
        if job.index >= 4 {
            loop {
                thread::park();
            }
        }
        ok(job, cancel)
    };
    let stop = Arc::new(AtomicBool::new(false));
    work(&url, &options(&schema), worker_options("doomed", 3), Arc::new(handler), stop).unwrap();
}

/// Not a test but a process that one starts: holds a run, then never ends.
#[test]
fn a_coordinator_to_be_killed() {
    let Some((url, schema)) = doomed() else { return };
    end_with_parent();
    let queue = Queue::connect(&url, &options(&schema)).unwrap();
    let _held = queue.open_run("run", "nightly", b"spec", "doomed").unwrap();
    loop {
        thread::park();
    }
}

#[test]
fn jobs_of_a_killed_worker_are_done_by_others() {
    let Some(cluster) = shared() else { return };
    let options = options("killed");
    let queue = Queue::connect(&cluster.url(), &options).unwrap();
    let run = queue.open_run("run", "", b"", "c1").unwrap();
    run.submit("head", &jobs(8)).unwrap();
    let mut doomed = child_process("a_worker_to_be_killed", &cluster.url(), "killed");
    until("the doomed worker hangs", || {
        let progress = run.progress(None).unwrap();
        (progress.completed, progress.running) == (4, 3)
    });
    doomed.kill();
    let worker = Worker::start(&cluster.url(), &options, worker_options("heir", 2), ok);
    wait_done(&run);
    worker.stop();
    assert_eq!(run.progress(None).unwrap().completed, 8);
    assert!(queue.verify_exactly_once("run").unwrap().is_empty());
    let lost = row(&queue, "C0004");
    assert_eq!((lost.worker.as_deref(), lost.attempt), (Some("heir"), 2));
    let (_, lines) = queue.job(&job("C0004")).unwrap();
    assert_eq!(lines[2].event, Event::Retried);
    assert_eq!(lines[2].reason.as_deref(), Some("lease_expired: doomed was not heard of for 1.5 s"));
}

#[test]
fn one_coordinator_at_a_time_and_another_after_its_death() {
    let Some(cluster) = shared() else { return };
    let options = options("coordinators");
    let first = Queue::connect(&cluster.url(), &options).unwrap();
    let second = Queue::connect(&cluster.url(), &options).unwrap();
    let held = first.open_run("run", "nightly", b"spec", "c1").unwrap();
    held.submit("head", &jobs(2)).unwrap();
    sleep(options.lease * 2);
    let error = second.open_run("run", "nightly", b"spec", "c2").unwrap_err();
    assert!(matches!(&error, Error::Busy { holder, .. } if holder == "c1"), "{error}");
    assert!(matches!(second.open_run("run", "nightly", b"other", "c2"), Err(Error::SpecDiffers { .. })));
    drop(held);
    let mut holder = child_process("a_coordinator_to_be_killed", &cluster.url(), "coordinators");
    until("the doomed coordinator has it", || first.runs().unwrap()[0].worker == "doomed");
    holder.kill();
    let error = second.open_run("run", "nightly", b"spec", "c2").unwrap_err();
    assert!(matches!(&error, Error::Busy { holder, .. } if holder == "doomed"), "{error}");
    let mut taken = None;
    until("the lease runs out", || {
        taken = second.open_run("run", "nightly", b"spec", "c2").ok();
        taken.is_some()
    });
    let taken = taken.unwrap();
    taken.submit("head", &jobs(3)).unwrap();
    assert_eq!(taken.progress(None).unwrap().pending, 3);
    assert_eq!(second.spec("run").unwrap(), b"spec");
    drop(taken);
    let third = Queue::connect(&cluster.url(), &options).unwrap();
    let now = third.open_run("run", "nightly", b"spec", "c3").unwrap();
    assert_eq!(third.runs().unwrap()[0].worker, "c3", "a run given up is free at once");
    now.close("stopped").unwrap();
    assert_eq!(third.progress("run", None).unwrap().skipped, 3);
}

#[test]
fn a_coordinator_that_was_replaced_is_told_so() {
    let Some(cluster) = shared() else { return };
    let options = QueueOptions { heartbeat: Duration::from_millis(700), ..options("replaced") };
    let queue = Queue::connect(&cluster.url(), &options).unwrap();
    let old = queue.open_run("run", "", b"", "c1").unwrap();
    sql(&cluster, "UPDATE replaced.runs SET lease_expires_at = clock_timestamp() - interval '1 hour'");
    let new = queue.open_run("run", "", b"", "c2").unwrap();
    assert!(matches!(old.submit("head", &jobs(1)), Err(Error::LeaseLost { .. })));
    assert!(!old.is_held());
    new.submit("head", &jobs(1)).unwrap();
    drop(old);
    assert!(new.is_held());
    new.submit("head", &jobs(2)).unwrap();
}

fn sql(cluster: &Cluster, statement: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        use sqlx::Connection;
        let mut connection = sqlx::PgConnection::connect(&cluster.url()).await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
    });
}

#[test]
fn postgres_may_crash_in_the_middle() {
    let Some(mut cluster) = Cluster::start() else { return };
    let options = options("crash");
    let queue = Queue::connect(&cluster.url(), &options).unwrap();
    let run = queue.open_run("run", "", b"", "c1").unwrap();
    let runs = Arc::new(AtomicUsize::new(0));
    let workers: Vec<Worker> = (0..2)
        .map(|n| {
            let runs = runs.clone();
            let handler = move |job: &Claimed, cancel: &CancelToken| {
                runs.fetch_add(1, Ordering::AcqRel);
                sleep(Duration::from_millis(8));
                ok(job, cancel)
            };
            Worker::start(&cluster.url(), &options, worker_options(&format!("w{n}"), 4), handler)
        })
        .collect();
    run.submit("head", &jobs(400)).unwrap();
    for done in [60, 180] {
        until("some jobs are done", || run.progress(None).unwrap().completed > done);
        let before: BTreeSet<String> = completed(&queue);
        match done {
            60 => cluster.restart(),
            // Away for longer than a lease: nobody could renew, and nobody may be blamed for it.
            _ => {
                cluster.kill();
                sleep(options.lease + Duration::from_millis(300));
                cluster.serve();
            }
        }
        assert!(completed(&queue).is_superset(&before), "what was acknowledged is kept");
    }
    run.submit("second", &jobs(10)).unwrap();
    wait_done(&run);
    for worker in workers {
        assert_eq!(worker.stop().failed, 0);
    }
    assert_eq!(run.progress(None).unwrap().completed, 410);
    assert!(queue.verify_exactly_once("run").unwrap().is_empty());
    assert_eq!(runs.load(Ordering::Acquire), 410, "no job was done twice");

    // A worker that is stopped while the database is away waits for it only so long.
    run.submit("third", &jobs(1)).unwrap();
    let brief = WorkerOptions {
        drain_timeout: Duration::from_millis(100),
        cancel_grace: Duration::from_millis(100),
        ..worker_options("brief", 1)
    };
    let handler = |_: &Claimed, cancel: &CancelToken| {
        until("stopped", || cancel.is_cancelled());
        Err(JobError::permanent("stopped", ""))
    };
    let worker = Worker::start(&cluster.url(), &options, brief, handler);
    until("it runs", || run.progress(Some("third")).unwrap().running == 1);
    cluster.kill();
    let begun = Instant::now();
    worker.stop();
    assert!(begun.elapsed() < Duration::from_secs(5));
    cluster.serve();
    run.close("published").unwrap();
}

fn completed(queue: &Queue) -> BTreeSet<String> {
    let rows = queue.jobs(&Selector::run("run").status(Status::Completed)).unwrap();
    rows.into_iter().map(|row| row.id.symbol).collect()
}

/// A first attempt that runs over its cap and does not stop, a second that gives `d1`, and then the
/// first one's end after all.
fn late_result(schema: &str, late_digest: &'static str) -> Option<(Arc<Cluster>, Queue)> {
    let cluster = shared()?;
    let options = options(schema);
    let queue = Queue::connect(&cluster.url(), &options).unwrap();
    {
        let run = queue.open_run("run", "", b"", "c1").unwrap();
        let release = Arc::new(AtomicBool::new(false));
        let released = release.clone();
        let handler = move |job: &Claimed, cancel: &CancelToken| {
            if job.attempt == 1 {
                until("released", || released.load(Ordering::Acquire));
                assert_eq!(cancel.reason(), Some(CancelReason::WallCap));
                return Ok(done(late_digest));
            }
            Ok(done("d1"))
        };
        let stuck = Arc::new(Mutex::new(Vec::new()));
        let noted = stuck.clone();
        let worker = WorkerOptions {
            cancel_grace: Duration::from_millis(100),
            on_stuck: Arc::new(move |job, reason| noted.lock().unwrap().push((job.clone(), reason))),
            ..worker_options("w", 2)
        };
        let worker = Worker::start(&cluster.url(), &options, worker, handler);
        let caps = Caps { wall_s: Some(0.2), memory_bytes: None };
        run.submit("head", &[NewJob { caps, ..NewJob::new("SLOW", "k") }]).unwrap();
        wait_done(&run);
        assert_eq!(*stuck.lock().unwrap(), [(job("SLOW"), CancelReason::WallCap)]);
        let found = row(&queue, "SLOW");
        assert_eq!((found.attempt, found.digest.as_deref()), (2, Some("d1")));
        release.store(true, Ordering::Release);
        until("the late result is noted", || events(&queue, "SLOW").len() == 6);
        worker.stop();
    }
    Some((cluster, queue))
}

#[test]
fn a_late_equal_result_is_fine() {
    let Some((_cluster, queue)) = late_result("late_equal", "d1") else { return };
    assert_eq!(events(&queue, "SLOW")[4..], [Event::Completed, Event::Repeated]);
    assert_eq!(row(&queue, "SLOW").status, Status::Completed);
}

#[test]
fn a_late_different_result_is_noted_and_changes_nothing() {
    let Some((_cluster, queue)) = late_result("late_other", "d2") else { return };
    assert_eq!(events(&queue, "SLOW")[4..], [Event::Completed, Event::Nondeterministic]);
    assert_eq!(row(&queue, "SLOW").digest.as_deref(), Some("d1"));
    let repeats = queue.verify_exactly_once("run").unwrap();
    assert_eq!(repeats[0].digests, ["d1", "d2"]);
}

#[test]
fn a_stopped_worker_finishes_what_runs_and_begins_nothing() {
    let Some(cluster) = shared() else { return };
    let options = options("drain");
    let queue = Queue::connect(&cluster.url(), &options).unwrap();
    let run = queue.open_run("run", "", b"", "c1").unwrap();
    run.submit("head", &jobs(6)).unwrap();
    let handler = |job: &Claimed, cancel: &CancelToken| {
        sleep(Duration::from_millis(300));
        ok(job, cancel)
    };
    let worker = Worker::start(&cluster.url(), &options, worker_options("w", 2), handler);
    until("two jobs run", || run.progress(None).unwrap().running == 2);
    let worked = worker.stop();
    assert_eq!(worked, Worked { done: 2, failed: 0, given_up: 0 });
    let progress = run.progress(None).unwrap();
    assert_eq!((progress.completed, progress.running, progress.pending), (2, 0, 4));
}

#[test]
fn what_does_not_finish_in_time_is_handed_back_as_if_never_begun() {
    let Some(cluster) = shared() else { return };
    let options = options("handback");
    let queue = Queue::connect(&cluster.url(), &options).unwrap();
    let run = queue.open_run("run", "", b"", "c1").unwrap();
    run.submit("head", &[NewJob::new("POLITE", "k"), NewJob::new("STUBBORN", "k")]).unwrap();
    let handler = |job: &Claimed, cancel: &CancelToken| {
        while !cancel.is_cancelled() || job.id.symbol == "STUBBORN" {
            sleep(Duration::from_millis(5));
        }
        Err(JobError::permanent("stopped", ""))
    };
    let worker = WorkerOptions {
        drain_timeout: Duration::from_millis(50),
        cancel_grace: Duration::from_millis(200),
        ..worker_options("w", 2)
    };
    let worker = Worker::start(&cluster.url(), &options, worker, handler);
    until("both run", || run.progress(None).unwrap().running == 2);
    worker.stop();
    for symbol in ["POLITE", "STUBBORN"] {
        let row = row(&queue, symbol);
        assert_eq!((row.status, row.attempt), (Status::Pending, 0), "{symbol}");
        assert_eq!(events(&queue, symbol)[2..], [Event::HandedBack], "{symbol}");
    }
    let worker = Worker::start(&cluster.url(), &options, worker_options("heir", 2), ok);
    wait_done(&run);
    worker.stop();
    assert_eq!(run.progress(None).unwrap().completed, 2);
}

#[test]
fn a_job_that_lost_its_wake_up_is_woken_again() {
    let Some(cluster) = shared() else { return };
    let options = options("forgotten");
    let queue = Queue::connect(&cluster.url(), &options).unwrap();
    let run = queue.open_run("run", "", b"", "c1").unwrap();
    run.submit("head", &jobs(3)).unwrap();
    sql(&cluster, "DELETE FROM forgotten_graphile._private_jobs");
    let worker = Worker::start(&cluster.url(), &options, worker_options("w", 1), ok);
    wait_done(&run);
    worker.stop();
}

#[test]
fn many_may_make_the_same_queue_at_once() {
    let Some(cluster) = shared() else { return };
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let url = cluster.url();
            thread::spawn(move || Queue::connect(&url, &options("made")).map(drop))
        })
        .collect();
    for thread in threads {
        thread.join().unwrap().unwrap();
    }
    sql(&cluster, "UPDATE made.format SET version = 9");
    let error = Queue::connect(&cluster.url(), &options("made")).unwrap_err().to_string();
    assert!(error.ends_with("format 9, this version knows up to 1; use the newer program"), "{error}");
}

#[test]
fn a_password_is_never_told() {
    let away = QueueOptions { patience: Duration::ZERO, ..options("away") };
    let error = Queue::connect("postgres://user:s3cret@127.0.0.1:9/db", &away).unwrap_err();
    assert!(error.to_string().starts_with("queue at 127.0.0.1:9/db: "), "{error}");
    let told = format!("{error} {error:?} {:?}", std::error::Error::source(&error));
    assert!(!told.contains("s3cret"), "{told}");
    for address in ["mysql:/user:s3cret@:x", "user:s3cret@host/db", "postgres:/user:s3cret@host/db", ""] {
        let error = Queue::connect(address, &away).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
    }
    let wrong = QueueOptions { schema: "Robert'); DROP".to_owned(), ..away };
    assert!(matches!(Queue::connect("postgres://u@h/d", &wrong), Err(Error::Invalid { .. })));
}
