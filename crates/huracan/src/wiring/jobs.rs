//! Jobs: the record of this machine's runs, the queue that many machines share, and work for it.

use super::{Session, settings, store, train};
use crate::cli::status::HeartRow;
use crate::config::id::decisive_text;
use crate::config::{self, JobsPlan, Loaded, Origin, Sources};
use crate::failure::{Exit, Failure};
use crate::progress::Observer;
use huracan_core::words::{Seed, UtcMs};
use huracan_jobs::{
    AttemptRow, Error, JobId, JobRow, Ledger, Queue, QueueOptions, RunRow, Selector, Worked, WorkerOptions,
};
use huracan_store::{LocalStore, Store};
use huracan_train::cache::build_id;
use huracan_train::jobs::JobFault;
use huracan_train::jobs::ledgered::{LedgerOffice, Rules};
use huracan_train::jobs::queued::QueueOffice;
use huracan_train::jobs::worker::{Bench, MISFIT};
use huracan_train::settings::{Settings, Universe};
use serde::{Deserialize, Serialize};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Below the store, among the store's own files.
const LEDGER: &str = ".huracan/ledger.sqlite";

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let (exit, code) = match &error {
            Error::UnknownRun { .. } | Error::UnknownJob { .. } | Error::NotAllowed { .. } => {
                (Exit::Usage, "unknown_job")
            }
            Error::RunOver { .. } => (Exit::Usage, "run_over"),
            Error::Busy { .. } | Error::LeaseLost { .. } => (Exit::Store, "run_held"),
            Error::Queue { .. } | Error::Unreadable { .. } => (Exit::Network, "queue_unusable"),
            Error::Invalid { .. } | Error::Address => (Exit::Usage, "jobs_invalid"),
            _ => (Exit::Store, "jobs_unusable"),
        };
        let failure = Failure::new(exit, code, with_reasons(&error));
        match error {
            Error::Queue { .. } => failure.help(
                "see that PostgreSQL runs there and lets this user in; jobs.url says where and who, PGPASSWORD \
                 or ~/.pgpass the password",
            ),
            Error::Address => failure.help("jobs.url is written postgres://USER@HOST:PORT/DATABASE"),
            _ => failure,
        }
    }
}

/// An error and what caused it, in one sentence. None of the drivers' texts holds a password.
fn with_reasons(error: &Error) -> String {
    let mut sentence = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(reason) = cause {
        let text = match (reason.to_string(), error) {
            // The pool tells that it waited, and not what for.
            (text, Error::Queue { address, .. }) if text.starts_with("pool timed out") => {
                unanswered(address).unwrap_or(text)
            }
            (text, _) => text,
        };
        // Drivers tend to repeat their causes.
        if !sentence.contains(&text) {
            sentence = format!("{sentence}: {}", text.replace('\n', " "));
        }
        cause = reason.source();
    }
    sentence
}

/// Why nobody answers at `HOST:PORT/DATABASE`; `None` where somebody does.
fn unanswered(address: &str) -> Option<String> {
    let (place, _) = address.rsplit_once('/')?;
    if place.starts_with('/') {
        return Some("nobody answers at the socket".to_owned());
    }
    let found = place.to_socket_addrs().map(|mut found| found.next());
    let connected = match found {
        Ok(Some(there)) => TcpStream::connect_timeout(&there, Duration::from_secs(1)).map(drop),
        Ok(None) => return Some("the host has no address".to_owned()),
        Err(error) => Err(error),
    };
    connected.err().map(|error| error.to_string())
}

/// After which a person is told that the queue does not answer.
const SILENT: Duration = Duration::from_secs(3);
/// How long a command that only looks waits for the queue.
const LOOK: Duration = Duration::from_secs(4);

/// Connects to a queue; says so when that takes long.
fn connect(url: &str, options: &QueueOptions, observer: &dyn Observer) -> Result<Queue, Failure> {
    let (connected, waiting) = channel::<()>();
    let tell = move || {
        if waiting.recv_timeout(SILENT) == Err(RecvTimeoutError::Timeout) {
            let more = options.patience.saturating_sub(SILENT).as_secs();
            observer.note(&format!("the queue at {url} does not answer; trying for another {more} s"));
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(tell);
        let queue = Queue::connect(url, options);
        drop(connected);
        Ok(queue?)
    })
}

/// Who this process is, to whoever looks at what it holds.
pub(super) fn worker_name() -> String {
    format!("{}:{}", train::host(), std::process::id())
}

/// Hands of this process.
pub(super) fn ledger_office<'a>(root: &Path, plan: &JobsPlan, stop: &'a AtomicBool) -> LedgerOffice<'a> {
    LedgerOffice {
        path: root.join(LEDGER),
        worker: worker_name(),
        purpose: "train".to_owned(),
        begun_at: super::now(),
        rules: Rules { retry: plan.queue.retry, caps: plan.caps },
        stop,
    }
}

/// What a worker must know of a run.
#[derive(Serialize, Deserialize)]
struct Spec {
    code_version: String,
    /// What decides the last bits of a result besides.
    build: Option<String>,
    config: String,
    until_ms: Option<i64>,
    placebo_seed: Option<u64>,
}

/// Whose jobs come first where workers serve several runs: a placebo can wait for a night that trades.
fn priority(settings: &Settings) -> i32 {
    if settings.placebo_run.is_some() { 100 } else { 0 }
}

/// Where machines leave things for each other: what results are carried to, else the folder itself.
fn shared_store(loaded: &Loaded) -> Result<Arc<dyn Store>, Failure> {
    match loaded.store.is_carried() {
        true => Ok(Arc::from(store::open_for_writing(&loaded.store)?)),
        false => Ok(Arc::new(LocalStore::create(&loaded.store.local)?)),
    }
}

/// The purpose of a shared run, before its store: workers of another store are told of it.
const INTO: &str = "train into ";

/// The shared store as people tell it from others.
fn store_name(loaded: &Loaded) -> String {
    match loaded.store.is_carried() {
        true => loaded.store.url.to_string(),
        false => {
            let folder = &loaded.store.local;
            std::path::absolute(folder).unwrap_or_else(|_| folder.clone()).display().to_string()
        }
    }
}

/// A worker that nobody told of a store, and that has none, would look for everything in an empty folder.
fn expect_a_store(loaded: &Loaded) -> Result<(), Failure> {
    let said = |path| loaded.effective.origins.get(path).is_some_and(|origin| *origin != Origin::Default);
    if said("store.url") || said("store.local") || loaded.store.local.is_dir() {
        return Ok(());
    }
    let message = format!(
        "no store was named and {} is not there, expected the store that the coordinator uses",
        loaded.store.local.display()
    );
    Err(Failure::new(Exit::Usage, "no_store", message).help("huracan work --store s3://BUCKET/PREFIX"))
}

/// The runs that are on and use another store than this worker, in one sentence. One folder may have
/// other names on other machines.
fn runs_elsewhere(runs: &[RunRow], own: &str) -> Option<String> {
    let others: Vec<String> = runs
        .iter()
        .filter(|row| row.outcome.is_none())
        .filter_map(|row| Some((&row.run, row.purpose.strip_prefix(INTO)?)))
        .filter(|(_, store)| *store != own)
        .map(|(run, store)| format!("run {run} uses the store {store}"))
        .collect();
    (!others.is_empty()).then(|| format!("{}, this worker uses {own}", others.join(", ")))
}

/// Refuses a worker that does not fit a run whose jobs wait for it.
fn expect_to_fit(queue: &Queue, runs: &[RunRow]) -> Result<(), Failure> {
    for row in runs.iter().filter(|row| row.outcome.is_none() && row.jobs.pending > 0) {
        if let Err(fault) = read_spec(&queue.spec(&row.run)?) {
            return Err(Failure::new(Exit::Usage, MISFIT, format!("run {}: {}", row.run, fault.text))
                .help("huracan jobs cancel --run RUN gives up a run that nobody wants any more"));
        }
    }
    Ok(())
}

/// Hands of other machines, with those of this one among them unless it only coordinates.
pub(super) struct Shared {
    /// From which the run hires.
    pub office: QueueOffice,
    own: Option<OwnWorker>,
}

/// A worker in the process of the coordinator.
struct OwnWorker {
    /// The run is over.
    over: Arc<AtomicBool>,
    /// Lowered before every beginning; the worker itself raises it where it cannot go on.
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(own) = self.own.take() {
            // In this order, because the worker looks in the other.
            own.over.store(true, Ordering::SeqCst);
            own.stop.store(true, Ordering::SeqCst);
            own.thread.thread().unpark();
            let _ = own.thread.join();
        }
    }
}

/// Connects a run to the queue at `url`.
///
/// # Errors
/// [`Exit::Network`] when the queue or the store cannot be reached.
pub(super) fn shared(
    url: &str,
    loaded: &Loaded,
    settings: &Settings,
    scratch: &Path,
    session: &Session,
) -> Result<Shared, Failure> {
    let plan = &loaded.config.jobs;
    let spec = Spec {
        code_version: env!("CARGO_PKG_VERSION").to_owned(),
        build: build_id(),
        config: decisive_text(&loaded.effective.written),
        until_ms: settings.until.map(|until| until.0),
        placebo_seed: settings.placebo_run.map(|seed| seed.0),
    };
    let spec = serde_json::to_vec(&spec)
        .map_err(|error| Failure::new(Exit::Unexpected, "spec_unwritable", error.to_string()))?;
    let store = shared_store(loaded)?;
    let queue = connect(url, &plan.queue, session.observer.as_ref())?;
    let own = match plan.coordinate_only {
        true => None,
        false => Some(own_worker(url, loaded, store.clone(), scratch, session)?),
    };
    let office = QueueOffice {
        queue,
        store,
        worker: worker_name(),
        purpose: format!("{INTO}{}", store_name(loaded)),
        spec,
        caps: plan.caps,
        priority: priority(settings),
        begun_at: super::now(),
    };
    Ok(Shared { office, own })
}

/// How long the coordinator's worker rests after it could not go on.
const REST: Duration = Duration::from_secs(30);

fn own_worker(
    url: &str,
    loaded: &Loaded,
    store: Arc<dyn Store>,
    scratch: &Path,
    session: &Session,
) -> Result<OwnWorker, Failure> {
    let plan = loaded.config.jobs.clone();
    let workers = loaded.config.workers;
    let (over, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (url, scratch, observer) = (url.to_owned(), scratch.join("work"), session.observer.clone());
    let (is_over, told) = (over.clone(), stop.clone());
    let once = move || {
        let options =
            WorkerOptions { drain_timeout: plan.drain, ..WorkerOptions::new(worker_name(), workers) };
        let bench = Arc::new(bench(store.clone(), scratch.clone(), workers, told.clone()));
        let worked = huracan_jobs::work(&url, &plan.queue, options, bench.clone(), told.clone());
        bench.misfit().or_else(|| worked.err().map(|error| with_reasons(&error)))
    };
    let told = stop.clone();
    let work = move || keep_working(&is_over, &told, REST, observer.as_ref(), once);
    let thread =
        std::thread::Builder::new().name("huracan-own-worker".to_owned()).spawn(work).map_err(|error| {
            Failure::new(Exit::Unexpected, "no_thread", format!("no thread for a worker: {error}"))
        })?;
    Ok(OwnWorker { over, stop, thread })
}

/// Works `once`, and again after a rest, until the run is over: it may have no other worker. Each reason
/// to rest is told when it is a new one.
fn keep_working(
    over: &AtomicBool,
    stop: &AtomicBool,
    rest: Duration,
    observer: &dyn Observer,
    once: impl Fn() -> Option<String>,
) {
    let mut said = String::new();
    loop {
        stop.store(false, Ordering::SeqCst);
        if over.load(Ordering::SeqCst) {
            return;
        }
        let Some(why) = once().filter(|_| !over.load(Ordering::SeqCst)) else { return };
        if why != said {
            let every = rest.as_secs();
            observer.note(&format!(
                "this process does no jobs of the run for now and tries again every {every} s: {why}"
            ));
            said = why;
        }
        std::thread::park_timeout(rest);
    }
}

fn bench(store: Arc<dyn Store>, scratch: PathBuf, concurrency: usize, stop: Arc<AtomicBool>) -> Bench {
    Bench::new(store, scratch, concurrency, Box::new(read_spec), stop)
}

/// The settings of a run that another process opened.
fn read_spec(bytes: &[u8]) -> Result<Settings, JobFault> {
    let spec: Spec = serde_json::from_slice(bytes)
        .map_err(|error| JobFault::permanent(MISFIT, format!("the run's description: {error}")))?;
    let own = env!("CARGO_PKG_VERSION");
    if spec.code_version != own || spec.build != build_id() {
        let text = format!(
            "the run is made by version {} ({}), this worker is {own} ({}); let all machines run the same \
             build on the same kind of processor",
            spec.code_version,
            spec.build.as_deref().unwrap_or("unknown"),
            build_id().as_deref().unwrap_or("unknown")
        );
        return Err(JobFault::transient(MISFIT, text));
    }
    let sources = Sources {
        file: Some(("the run's configuration", &spec.config)),
        environment: Vec::new(),
        flags: Vec::new(),
        state_folder: None,
    };
    let loaded = config::load(&sources, 1).map_err(|error| JobFault::permanent(MISFIT, error.to_string()))?;
    let (until, placebo) = (spec.until_ms.map(UtcMs), spec.placebo_seed.map(Seed));
    Ok(settings::settings(&loaded.config, Universe::All, until, placebo))
}

/// Works on the queue until the session is interrupted.
///
/// # Errors
/// [`Exit::Usage`] without a queue, [`Exit::Network`] when queue or store cannot be reached.
pub fn work(loaded: &Loaded, name: Option<&str>, session: &Session) -> Result<Worked, Failure> {
    let plan = &loaded.config.jobs;
    let Some(url) = &plan.url else {
        return Err(Failure::new(
            Exit::Usage,
            "no_queue",
            "jobs.url is not set, expected the database of a queue",
        )
        .help("HURACAN__JOBS__URL=postgres://USER@HOST/DATABASE huracan work --store s3://BUCKET/PREFIX"));
    };
    let name = name.map_or_else(worker_name, str::to_owned);
    // Other workers may run on this machine.
    let scratch = std::env::temp_dir().join(format!("huracan-work-{}", std::process::id()));
    let workers = loaded.config.workers;
    let stop = session.interrupted.clone();
    // Before any folder is made: the address may be wrong, or the worker.
    expect_a_store(loaded)?;
    let queue = connect(url, &plan.queue, session.observer.as_ref())?;
    let runs = queue.runs()?;
    expect_to_fit(&queue, &runs)?;
    let own = store_name(loaded);
    if let Some(text) = runs_elsewhere(&runs, &own) {
        session.observer.note(&text);
    }
    let bench = Arc::new(bench(shared_store(loaded)?, scratch.clone(), workers, stop.clone()));
    session
        .observer
        .note(&format!("{name} works on {url} and {own} with {workers} jobs at a time; Ctrl-C drains"));
    let options = WorkerOptions { drain_timeout: plan.drain, ..WorkerOptions::new(name, workers) };
    let worked = huracan_jobs::work(url, &plan.queue, options, bench.clone(), stop);
    let misfit = bench.misfit();
    drop(bench);
    let _ = std::fs::remove_dir_all(scratch);
    let Some(text) = misfit else { return Ok(worked?) };
    let elsewhere = queue.runs().ok().and_then(|runs| runs_elsewhere(&runs, &own));
    let help = elsewhere.unwrap_or_else(|| format!("this worker uses the store {own}"));
    Err(Failure::new(Exit::Usage, MISFIT, text).help(help))
}

/// Either record of jobs: this machine's, or that of many.
pub enum Records {
    /// A SQLite file in the working folder.
    Ledger(Ledger),
    /// A PostgreSQL queue.
    Queue(Queue),
}

/// What is recorded, where `jobs.url` says, else in the working folder.
///
/// # Errors
/// [`Exit::Network`] when the queue cannot be reached, [`Exit::Store`] for a ledger that cannot be read.
pub fn records(loaded: &Loaded) -> Result<Records, Failure> {
    let plan = &loaded.config.jobs;
    match &plan.url {
        Some(url) => {
            let options = QueueOptions { patience: LOOK, ..plan.queue.clone() };
            Ok(Records::Queue(Queue::connect(url, &options)?))
        }
        None => {
            let path = loaded.store.local.join(LEDGER);
            if !path.is_file() {
                let message = format!("{} is not there: no run has worked in this folder", path.display());
                return Err(Failure::new(Exit::Store, "no_ledger", message)
                    .help("huracan train makes it; with jobs.url set the queue is asked instead"));
            }
            Ok(Records::Ledger(Ledger::open(&path)?))
        }
    }
}

/// Whether nobody coordinates what a folder's ledger calls unfinished: its one program has ended, or its
/// heart has stopped.
pub fn nobody_coordinates(records: &Records, loaded: &Loaded) -> bool {
    let beats = |heart: &HeartRow| {
        heart.service == "engine" && !heart.stale && !matches!(heart.phase.as_str(), "complete" | "failed")
    };
    let Records::Ledger(_) = records else { return false };
    super::status(&loaded.store.local).is_ok_and(|view| !view.hearts.iter().any(beats))
}

impl Records {
    /// The runs, youngest first.
    ///
    /// # Errors
    /// What the record refuses.
    pub fn runs(&self) -> Result<Vec<RunRow>, Failure> {
        Ok(match self {
            Records::Ledger(ledger) => ledger.runs()?,
            Records::Queue(queue) => queue.runs()?,
        })
    }

    /// Jobs that fit.
    ///
    /// # Errors
    /// What the record refuses.
    pub fn jobs(&self, selector: &Selector) -> Result<Vec<JobRow>, Failure> {
        Ok(match self {
            Records::Ledger(ledger) => ledger.jobs(selector)?,
            Records::Queue(queue) => queue.jobs(selector)?,
        })
    }

    /// A job with its history.
    ///
    /// # Errors
    /// [`Exit::Usage`] for one that is not there.
    pub fn job(&self, id: &JobId) -> Result<(JobRow, Vec<AttemptRow>), Failure> {
        Ok(match self {
            Records::Ledger(ledger) => ledger.job(id)?,
            Records::Queue(queue) => queue.job(id)?,
        })
    }

    /// Lets given-up or cancelled jobs be tried again; how many.
    ///
    /// # Errors
    /// What the record refuses.
    pub fn retry(&self, selector: &Selector) -> Result<usize, Failure> {
        Ok(match self {
            Records::Ledger(ledger) => ledger.retry(selector)?,
            Records::Queue(queue) => queue.retry(selector)?,
        })
    }

    /// Cancels jobs that are not done; how many.
    ///
    /// # Errors
    /// What the record refuses.
    pub fn cancel(&self, selector: &Selector) -> Result<usize, Failure> {
        Ok(match self {
            Records::Ledger(ledger) => ledger.cancel(selector)?,
            Records::Queue(queue) => queue.cancel(selector)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl Observer for Heard {
        fn stage_started(&self, _: &str, _: u64) {}
        fn stage_advanced(&self, _: &str, _: u64, _: &str) {}
        fn stage_finished(&self, _: &str, _: f64) {}
        fn note(&self, text: &str) {
            self.0.lock().unwrap().push(text.to_owned());
        }
    }

    #[test]
    fn a_coordinator_that_cannot_do_jobs_itself_says_each_reason_once_and_goes_on_trying() {
        let (over, stop, heard) = (AtomicBool::new(false), AtomicBool::new(false), Heard::default());
        let rounds = Mutex::new(0);
        let once = || {
            assert!(!stop.load(Ordering::SeqCst), "begun while it is told to stop");
            let mut rounds = rounds.lock().unwrap();
            *rounds += 1;
            stop.store(true, Ordering::SeqCst);
            over.store(*rounds == 5, Ordering::SeqCst);
            Some(if *rounds < 4 { "the disk is full" } else { "the store is away" }.to_owned())
        };
        keep_working(&over, &stop, Duration::from_millis(1), &heard, once);
        let heard = heard.0.into_inner().unwrap();
        assert_eq!((*rounds.lock().unwrap(), heard.len()), (5, 2), "{heard:?}");
        assert!(heard[0].ends_with("the disk is full") && heard[1].ends_with("the store is away"));
    }

    #[test]
    fn a_worker_is_told_which_runs_use_another_store() {
        let row = |run: &str, purpose: &str, outcome: Option<&str>| RunRow {
            run: run.to_owned(),
            purpose: purpose.to_owned(),
            worker: "box:1".to_owned(),
            began_at_ms: 0,
            ended_at_ms: None,
            outcome: outcome.map(str::to_owned),
            jobs: Default::default(),
        };
        let runs = [
            row("a", "train into s3://one/x", None),
            row("b", "train into s3://two/x", None),
            row("c", "train into s3://three/x", Some("complete")),
            row("d", "train", None),
        ];
        let text = runs_elsewhere(&runs, "s3://one/x").unwrap();
        assert_eq!(text, "run b uses the store s3://two/x, this worker uses s3://one/x");
        assert_eq!(runs_elsewhere(&runs[..1], "s3://one/x"), None);
    }

    #[test]
    fn a_queue_that_is_away_is_told_with_its_reason_and_what_to_do() {
        let source = std::io::Error::new(
            std::io::ErrorKind::ConnectionRefused,
            "pool timed out while waiting for an open connection",
        );
        // A port that was free a moment ago.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}/db");
        let error = Error::Queue { address: address.clone(), doing: "connecting", source: Box::new(source) };
        let failure = Failure::from(error);
        let start = format!("queue at {address}: connecting failed: Connection refused");
        assert!(failure.message.starts_with(&start), "{failure}");
        assert!(failure.exit == Exit::Network && failure.help.unwrap().contains("PGPASSWORD"));
        assert_eq!(Failure::from(Error::Address).exit, Exit::Usage);
    }
}
