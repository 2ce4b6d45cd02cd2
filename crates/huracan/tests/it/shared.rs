//! One run on several processes: a coordinator, workers, a PostgreSQL of the test's own, and the bytes
//! of the run that one process makes alone. Skipped, and said, where there is no PostgreSQL.

use crate::market::{CLOCKED, assert_same, candles, files, fresh, trained};
use crate::run::huracan_in;
use huracan_jobs::testing::Cluster;
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

/// What every process of a test is told.
struct Place {
    folder: PathBuf,
    url: String,
}

impl Place {
    fn new(name: &str, cluster: &Cluster) -> Place {
        Place { folder: fresh(name), url: cluster.url() }
    }

    fn variables(&self) -> [(&str, &str); 2] {
        [("HURACAN__JOBS__URL", &self.url), ("HURACAN__JOBS__LEASE_S", "2")]
    }

    fn start(&self, arguments: &[&str], more: &[(&str, &str)]) -> Process {
        let mut child = Command::new(env!("CARGO_BIN_EXE_huracan"))
            .args(arguments)
            .args(["--store", "store"])
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
        let listed =
            huracan_in(&self.folder, &["jobs", "list", "--json", "--status", "completed"], &self.variables());
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
        let failed = huracan_in(&self.folder, &["jobs", "list", "--json", "--dead"], &self.variables());
        assert_eq!(failed.json()["jobs"].as_array().map(Vec::len), Some(0), "{}", failed.out);
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
    assert_eq!(coordinator.end(), Some(0), "{}", coordinator.said);
    let jobs = place.jobs();
    let workers = workers_of(&jobs).join(" ");
    assert!(["first", "third"].iter().all(|name| workers.contains(name)), "{workers}");
    for worker in [&mut first, &mut third] {
        worker.signal("-TERM");
        assert_eq!(worker.end(), Some(0), "a worker that drains ends well: {}", worker.said);
    }
    drop(second);
    place.assert_as_if_alone();
    nothing_of_the_run_is_left(&place.folder);
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
