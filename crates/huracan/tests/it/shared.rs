//! One run on several processes: a coordinator, workers, a PostgreSQL of the test's own, and the bytes
//! of the run that one process makes alone. Skipped, and said, where there is no PostgreSQL.

use crate::market::{CLOCKED, assert_same, candles, files, fresh, trained};
use crate::run::{Ran, huracan_in};
use huracan_jobs::testing::Cluster;
use huracan_jobs::{Coordinator, Event, JobRow, NewJob, Queue, QueueOptions, Selector, Status};
use huracan_remote::s3::S3Config;
use huracan_remote::testing::dropbox::DropboxStandIn;
use huracan_remote::testing::s3::S3Server;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

/// What every process of a test is told.
struct Place {
    folder: PathBuf,
    variables: Vec<(String, String)>,
    /// Address of the queue.
    queue: String,
}

impl Place {
    fn new(name: &str, cluster: &Cluster) -> Place {
        let place = Place { folder: fresh(name), variables: Vec::new(), queue: cluster.url() };
        place
            .with("HURACAN_STORE", "store")
            .with("HURACAN__STORE__LOCAL", "store")
            .with("HURACAN__JOBS__URL", &cluster.url())
            .with("HURACAN__JOBS__LEASE_S", "2")
    }

    fn with(mut self, name: &str, value: &str) -> Place {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A store in a bucket, worked on in `store`.
    fn in_bucket(self, bucket: &S3Config) -> Place {
        self.with("HURACAN__STORE__S3__ENDPOINT", bucket.endpoint.as_deref().unwrap())
            .with("HURACAN__STORE__S3__PATH_STYLE", "true")
            .with("HURACAN__STORE__S3__REGION", &bucket.region)
            .with("HURACAN_STORE", &format!("s3://{}/huracan", bucket.bucket))
            .with("AWS_ACCESS_KEY_ID", "key-id")
            .with("AWS_SECRET_ACCESS_KEY", "secret/+key")
            .with("AWS_SESSION_TOKEN", "session/token+=")
    }

    fn variables(&self) -> Vec<(&str, &str)> {
        self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        huracan_in(&self.folder, arguments, &self.variables())
    }

    fn start(&self, arguments: &[&str], more: &[(&str, &str)]) -> Process {
        let mut child = Command::new(env!("CARGO_BIN_EXE_huracan"))
            .args(arguments)
            .current_dir(&self.folder)
            .envs(self.variables())
            .envs(more.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let notes = BufReader::new(child.stderr.take().unwrap());
        Process { child, notes, said: String::new() }
    }

    /// A coordinator that leaves every job to others.
    fn coordinator(&self) -> Process {
        let (bars, config) = (candles().join("bars"), candles().join("test.yaml"));
        let arguments = ["train", "--symbols", "all", "--candles", bars.to_str().unwrap(), "--config"];
        let arguments = [&arguments[..], &[config.to_str().unwrap()]].concat();
        self.start(&arguments, &[("HURACAN__JOBS__COORDINATE_ONLY", "true")])
    }

    fn worker(&self, name: &str) -> Process {
        self.start(&["work", "--workers", "1", "--name", name], &[])
    }

    fn jobs(&self) -> Vec<Value> {
        let listed = self.run(&["jobs", "list", "--json", "--status", "completed"]);
        assert_eq!(listed.code, 0, "{}{}", listed.out, listed.err);
        listed.json()["jobs"].as_array().unwrap().clone()
    }

    /// The store is that of the run one process makes alone, verifies, and nothing was done twice.
    fn assert_as_if_alone(&self) {
        let store = self.folder.join("store");
        assert_same(&files(&store, &CLOCKED), &files(trained(), &CLOCKED));
        let verified = huracan_in(&self.folder, &["verify", "all", "--store", "store"], &[]);
        assert_eq!(verified.code, 0, "{}{}", verified.out, verified.err);
        assert!(self.jobs().len() > 50, "{} jobs completed", self.jobs().len());
        let failed = self.run(&["jobs", "list", "--json", "--dead"]);
        assert_eq!(failed.json()["jobs"].as_array().map(Vec::len), Some(0), "{}", failed.out);
        let (queue, run) = self.queue();
        assert_eq!(queue.verify_exactly_once(&run).unwrap(), []);
        self.assert_costs_are_the_workers();
    }

    /// The queue as seen beside the program, and the run in it.
    fn queue(&self) -> (Queue, String) {
        let queue = Queue::connect(&self.queue, &QueueOptions::default()).unwrap();
        let [run] = &queue.runs().unwrap()[..] else { panic!("one run is in the queue") };
        let run = run.run.clone();
        (queue, run)
    }

    /// How many jobs a worker had begun that another has done.
    fn taken_from(&self, worker: &str) -> usize {
        let (queue, run) = self.queue();
        let is_its = |name: &Option<String>| name.as_deref().is_some_and(|name| name.starts_with(worker));
        let rows = queue.jobs(&Selector::run(run)).unwrap();
        let others = rows.iter().filter(|row| row.status == Status::Completed && !is_its(&row.worker));
        let begun = |row: &&JobRow| {
            let (_, history) = queue.job(&row.id).unwrap();
            history.iter().any(|line| line.event == Event::Started && is_its(&line.worker))
        };
        others.filter(begun).count()
    }

    /// What workers used is in the run's unit costs, coin by coin.
    fn assert_costs_are_the_workers(&self) {
        let costs = files(&self.folder.join("store/runs"), &[]);
        let (_, lines) = costs.iter().find(|(name, _)| name.ends_with("unit_costs.jsonl")).unwrap();
        let lines: Vec<Value> = lines
            .split(|b| *b == b'\n')
            .filter(|l| !l.is_empty())
            .map(|l| serde_json::from_slice(l).unwrap())
            .collect();
        for stage in ["statistics", "codes", "trial"] {
            let of_stage: Vec<&Value> = lines.iter().filter(|line| line["stage"] == stage).collect();
            let used: f64 = of_stage.iter().filter_map(|line| line["cpu_s"].as_f64()).sum();
            assert!(of_stage.len() > 5 && used > 0.0, "{stage}: {of_stage:?}");
        }
    }
}

/// A process of the program; killed when the test is over.
struct Process {
    child: Child,
    notes: BufReader<ChildStderr>,
    said: String,
}

impl Process {
    fn wait_for(&mut self, beginning: &str) {
        loop {
            let mut line = String::new();
            assert_ne!(
                self.notes.read_line(&mut line).unwrap(),
                0,
                "ended before {beginning:?}: {}",
                self.said
            );
            self.said.push_str(&line);
            if line.starts_with(beginning) {
                return;
            }
        }
    }

    fn end(&mut self) -> Option<i32> {
        std::io::Read::read_to_string(&mut self.notes, &mut self.said).unwrap();
        self.child.wait().unwrap().code()
    }

    fn signal(&self, signal: &str) {
        let told = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(told.success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn workers_of(jobs: &[Value]) -> Vec<&str> {
    let mut workers: Vec<&str> = jobs.iter().filter_map(|job| job["worker"].as_str()).collect();
    workers.sort_unstable();
    workers.dedup();
    workers
}

fn nothing_of_the_run_is_left(folder: &Path) {
    let left: Vec<String> =
        files(&folder.join("store"), &[]).into_keys().filter(|name| name.starts_with("work/")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn workers_on_several_machines_write_the_bytes_of_one_and_one_that_is_killed_costs_its_leases() {
    let Some(cluster) = Cluster::start() else { return };
    let place = Place::new("shared", &cluster);
    let mut coordinator = place.coordinator();
    let mut first = place.worker("first");
    let second = place.worker("second");
    coordinator.wait_for("codes: started");
    second.signal("-KILL");
    let mut third = place.worker("third");
    coordinator.wait_for("trial: started");
    // A worker that is told to stop in the middle leaves nothing that somebody has to miss.
    first.signal("-TERM");
    assert_eq!(first.end(), Some(0), "a worker that drains ends well: {}", first.said);
    let (queue, run) = place.queue();
    let is_its = |job: &JobRow| job.worker.as_deref().is_some_and(|worker| worker.starts_with("first"));
    let running = queue.jobs(&Selector::run(&run).status(Status::Running)).unwrap();
    assert!(!running.iter().any(is_its), "{running:?}");
    assert_eq!(coordinator.end(), Some(0), "{}", coordinator.said);
    // It does one job at a time.
    let lost = place.taken_from("second");
    assert!(lost <= 1, "{lost} jobs were lost with one worker");
    let jobs = place.jobs();
    let workers = workers_of(&jobs).join(" ");
    assert!(["first", "third"].iter().all(|name| workers.contains(name)), "{workers}");
    third.signal("-TERM");
    assert_eq!(third.end(), Some(0), "{}", third.said);
    drop(second);
    place.assert_as_if_alone();
    nothing_of_the_run_is_left(&place.folder);
}

#[test]
fn a_worker_that_stood_still_past_its_lease_while_it_computed_changes_nothing() {
    let Some(cluster) = Cluster::start() else { return };
    let place = Place::new("shared_still", &cluster);
    let mut coordinator = place.coordinator();
    let mut still = place.worker("still");
    coordinator.wait_for("codes: started");
    // Alone, it has a job before long; one that it holds while it stands still.
    let (queue, run) = place.queue();
    let is_held = |job: &JobRow| job.worker.as_deref().is_some_and(|worker| worker.starts_with("still"));
    let holds = || queue.jobs(&Selector::run(&run).status(Status::Running)).unwrap().iter().any(is_held);
    let caught = (0..400).any(|_| {
        still.signal("-STOP");
        let caught = holds();
        if !caught {
            still.signal("-CONT");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        caught
    });
    assert!(caught, "it was never seen at work");
    let _other = place.worker("other");
    coordinator.wait_for("trial: started");
    still.signal("-CONT");
    assert_eq!(coordinator.end(), Some(0), "{}", coordinator.said);
    still.signal("-TERM");
    assert_eq!(still.end(), Some(0), "{}", still.said);
    assert!(place.taken_from("still") >= 1, "what it held did not go to the other");
    place.assert_as_if_alone();
    nothing_of_the_run_is_left(&place.folder);
}

#[test]
fn a_worker_with_another_store_is_told_which_one_the_run_uses() {
    let Some(cluster) = Cluster::start() else { return };
    let place = Place::new("shared_elsewhere", &cluster);
    let mut coordinator = place.coordinator();
    coordinator.wait_for("statistics: started");
    let mut stranger = place.start(&["work", "--store", "other", "--store-local", "other"], &[]);
    assert_eq!(stranger.end(), Some(2), "{}", stranger.said);
    let name = |store: &str| place.folder.join(store).display().to_string();
    let told = format!(" uses the store {}, this worker uses {}", name("store"), name("other"));
    assert_eq!(stranger.said.matches(&told).count(), 2, "at the start and at the end: {}", stranger.said);
    assert!(stranger.said.contains("error[worker_misfit]: "), "{}", stranger.said);
    let mut unnamed = Place { folder: fresh("shared_unnamed"), variables: Vec::new(), queue: cluster.url() }
        .with("HURACAN__JOBS__URL", &cluster.url())
        .start(&["work"], &[]);
    assert_eq!(unnamed.end(), Some(2), "{}", unnamed.said);
}

#[test]
fn a_placebo_waits_for_a_night_that_trades() {
    let Some(cluster) = Cluster::start() else { return };
    let place = Place::new("shared_placebo", &cluster);
    let (bars, config) = (candles().join("bars"), candles().join("test.yaml"));
    let train = ["train", "--placebo", "7", "--symbols", "all", "--candles", bars.to_str().unwrap()];
    let alone = [("HURACAN__JOBS__COORDINATE_ONLY", "true")];
    let mut placebo = place.start(&[&train[..], &["--config", config.to_str().unwrap()]].concat(), &alone);
    placebo.wait_for("statistics: started");
    let (queue, run) = place.queue();
    let waiting = || queue.jobs(&Selector::run(&run)).unwrap();
    while waiting().is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(waiting().iter().all(|row| row.priority == 100), "{:?}", waiting());
    drop(placebo);
    let night = Place { folder: fresh("shared_night"), ..place };
    let mut coordinator = night.coordinator();
    coordinator.wait_for("statistics: started");
    let _worker = night.worker("one");
    let first = || -> Vec<JobRow> {
        let rows = queue.jobs(&Selector::default().stage("statistics")).unwrap();
        rows.into_iter().filter(|row| row.id.run != run).collect()
    };
    for _ in 0..1200 {
        let rows = first();
        if !rows.is_empty() && rows.iter().all(|row| row.status == Status::Completed) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    // A job of the placebo, which waited first, would have been a misfit to this worker.
    let last = first().iter().map(|row| row.finished_at_ms).min().flatten();
    assert!(last.is_some(), "the placebo's jobs came first: {:?}", first());
    let is_later = |row: &JobRow| row.started_at_ms.is_none_or(|at| Some(at) >= last);
    assert!(waiting().iter().all(is_later), "{:?}", waiting());
}

/// A run of another build, with a job that waits.
fn foreign_run(cluster: &Cluster) -> Coordinator {
    let queue = Queue::connect(&cluster.url(), &QueueOptions::default()).unwrap();
    let run = queue.open_run("foreign", "train into s3://elsewhere/x", b"of another build", "box:1").unwrap();
    run.submit("statistics", &[NewJob::new("BTCUSDT", "key")]).unwrap();
    run
}

#[test]
fn a_worker_that_fits_no_run_is_refused_before_it_begins_and_a_coordinators_own_says_why_it_rests() {
    let Some(cluster) = Cluster::start() else { return };
    let _foreign = foreign_run(&cluster);
    let place = Place::new("shared_foreign", &cluster);
    let refused = place.run(&["work"]);
    assert_eq!(refused.code, 2, "{}", refused.err);
    assert!(refused.err.starts_with("error[worker_misfit]: run foreign: "), "{}", refused.err);
    assert_eq!(std::fs::read_dir(&place.folder).unwrap().count(), 0, "a folder was made");
    let (bars, config) = (candles().join("bars"), candles().join("test.yaml"));
    let train = ["train", "--symbols", "all", "--candles", bars.to_str().unwrap()];
    let mut coordinator = place.start(&[&train[..], &["--config", config.to_str().unwrap()]].concat(), &[]);
    coordinator.wait_for("this process does no jobs of the run for now and tries again every 30 s: ");
}

#[test]
fn a_database_that_restarts_in_the_middle_and_a_coordinator_that_is_killed_lose_nothing() {
    let Some(mut cluster) = Cluster::start() else { return };
    let place = Place::new("shared_restart", &cluster);
    let _worker = place.worker("steady");
    let mut coordinator = place.coordinator();
    coordinator.wait_for("codes: started");
    cluster.restart();
    coordinator.wait_for("trial: started");
    coordinator.signal("-KILL");
    drop(coordinator);
    let before = place.jobs().len();
    // Its lease on the run has to pass before another may take it up.
    let mut next = place.coordinator();
    let mut code = next.end();
    while code == Some(5) {
        assert!(next.said.contains("run_held"), "{}", next.said);
        std::thread::sleep(std::time::Duration::from_millis(500));
        next = place.coordinator();
        code = next.end();
    }
    assert_eq!(code, Some(0), "{}", next.said);
    assert!(place.jobs().len() > before);
    place.assert_as_if_alone();
}

#[test]
fn two_addresses_are_all_a_worker_needs_and_results_land_in_the_bucket() {
    let (Some(cluster), Some(server)) = (Cluster::start(), S3Server::shared()) else { return };
    let place = Place::new("shared_bucket", &cluster).in_bucket(&server.new_bucket());
    let mut coordinator = place.coordinator();
    let beside = |name: &str| Place {
        folder: fresh(name),
        variables: place.variables.clone(),
        queue: place.queue.clone(),
    };
    let elsewhere = beside("shared_bucket_worker");
    let _worker = elsewhere.worker("elsewhere");
    assert_eq!(coordinator.end(), Some(0), "{}", coordinator.said);
    place.assert_as_if_alone();
    // Another machine that knows nothing but the bucket.
    let other = beside("shared_bucket_reader");
    let synced = other.run(&["store", "sync", "--pull-only", "--store-local", "copy"]);
    assert_eq!(synced.code, 0, "{}{}", synced.out, synced.err);
    assert_same(&files(&other.folder.join("copy"), &CLOCKED), &files(trained(), &CLOCKED));
    let listed = place.run(&["store", "ls", "work", "--remote", "--json"]);
    assert_eq!(
        (listed.code, listed.json()["objects"].as_array().map(Vec::len)),
        (0, Some(0)),
        "{}",
        listed.out
    );
}

/// The stand-in counts: a request a file and few more, and none for what did not change.
#[test]
fn a_run_lands_in_dropbox_with_hardly_more_requests_than_files() {
    let server = DropboxStandIn::start().unwrap();
    let folder = fresh("dropbox");
    for (name, bytes) in files(trained(), &[]) {
        let path = folder.join("store").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let keys = folder.join("keys.json");
    std::fs::write(&keys, server.keys_file()).unwrap();
    #[cfg(unix)]
    std::fs::set_permissions(&keys, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let url = server.url();
    let token = format!("{url}/oauth2/token");
    let place = Place { folder, variables: Vec::new(), queue: String::new() }
        .with("HURACAN_STORE", "dropbox:/Huracan")
        .with("HURACAN__STORE__DROPBOX__API_URL", &url)
        .with("HURACAN__STORE__DROPBOX__CONTENT_URL", &url)
        .with("HURACAN__STORE__DROPBOX__TOKEN_URL", &token)
        .with("HURACAN_DROPBOX_KEYS_FILE", "keys.json")
        .with("HURACAN__OBSERVABILITY__USD_PER_1000_REQUESTS", "4");
    let sync = || {
        let synced = place.run(&["store", "sync", "--push-only", "--json", "--store-local", "store"]);
        assert_eq!(synced.code, 0, "{}{}", synced.out, synced.err);
        let sync = synced.json()["sync"].clone();
        let (requests, usd) = (sync["cost"]["requests"].as_u64().unwrap(), sync["cost"]["cost_usd"].as_f64());
        assert_eq!((requests as usize, usd), (server.requests().len(), Some(4.0 * requests as f64 / 1000.0)));
        sync["pushed_files"].as_u64().unwrap()
    };
    let pushed = sync();
    let asked = server.requests().len() as u64;
    // Ten coins: what a push costs whatever its size weighs more here than with four hundred.
    let routes: BTreeMap<String, usize> =
        server.requests().into_iter().fold(BTreeMap::new(), |mut all, r| {
            *all.entry(r.route.to_string()).or_default() += 1;
            all
        });
    let few = asked < pushed + pushed / 5 + 20;
    assert!(pushed > 60 && few, "{asked} requests for {pushed} files: {routes:?}");
    server.forget_requests();
    assert_eq!((sync(), server.requests().len()), (0, 0));
    let left = |name: &String| !name.starts_with("heartbeats/");
    let expected = files(&place.folder.join("store"), &[]).keys().filter(|n| left(n)).count();
    assert_eq!(
        server
            .files()
            .keys()
            .filter(|path| !["heartbeats", "locks"].iter().any(|of| path.contains(of)))
            .count(),
        expected
    );
}
