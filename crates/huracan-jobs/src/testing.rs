//! A PostgreSQL for tests: made in a temporary folder, reached by a socket in it, gone when dropped.
//!
//! Needs `initdb` and `postgres`, on the path or where Debian keeps them. PostgreSQL refuses to run
//! as root, so there it runs as `postgres` or `nobody` (`setpriv`, from util-linux).

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread::sleep,
    time::{Duration, Instant},
};

const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A running PostgreSQL with one empty database.
#[derive(Debug)]
pub struct Cluster {
    folder: PathBuf,
    bin: PathBuf,
    user: Option<&'static str>,
    server: Option<Child>,
}

/// Says that a test cannot run here.
///
/// # Panics
/// Where `HURACAN_TEST_PEERS` is `required`.
fn skip(missing: &str) {
    let is_required = std::env::var("HURACAN_TEST_PEERS").is_ok_and(|word| word == "required");
    assert!(!is_required, "{missing}, expected one because HURACAN_TEST_PEERS is required");
    println!("skipped: {missing}");
}

impl Cluster {
    /// Starts one; `None`, said on standard output, where there is no PostgreSQL.
    ///
    /// # Panics
    /// Where there is one that cannot be started, and where there is none and there must be: a test that
    /// was to run must not pass by default.
    pub fn start() -> Option<Cluster> {
        // Killing PostgreSQL loses nothing that is in memory: only a disk's own slowness is spared.
        Self::start_in(&roomy_memory().unwrap_or_else(std::env::temp_dir))
    }

    /// As [`Cluster::start`], with its files under `parent`: on a disk, for those who measure.
    ///
    /// # Panics
    /// As [`Cluster::start`].
    pub fn start_in(parent: &Path) -> Option<Cluster> {
        let Some(bin) = programs() else {
            skip("no PostgreSQL");
            return None;
        };
        let user = match root() {
            false => None,
            true => match unprivileged() {
                Some(user) => Some(user),
                None => {
                    skip("no PostgreSQL that may run, as root and without setpriv");
                    return None;
                }
            },
        };
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = parent.join(format!("huracan-pg-{}-{count}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).expect("a temporary folder can be made");
        let mut cluster = Cluster { folder, bin, user, server: None };
        if let Some(user) = user {
            run(Command::new("chown").arg(user).arg(&cluster.folder));
        }
        let data = cluster.folder.join("data");
        run(cluster
            .program("initdb")
            .args(["--username=huracan", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync", "-D"])
            .arg(&data));
        cluster.serve();
        Some(cluster)
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("postgres://huracan@localhost/postgres?host={}", self.folder.display())
    }

    /// [`Cluster::kill`] and [`Cluster::serve`].
    pub fn restart(&mut self) {
        self.kill();
        self.serve();
    }

    /// Stops it as a crash would, without a word to anybody.
    pub fn kill(&mut self) {
        self.stop("immediate");
    }

    /// Starts it again after [`Cluster::kill`].
    pub fn serve(&mut self) {
        let folder = self.folder.display();
        let log = fs::File::create(self.folder.join("log")).expect("a log can be made");
        let child = self
            .program("postgres")
            .arg("-D")
            .arg(self.folder.join("data"))
            .args(["-c", "listen_addresses=", "-c", "fsync=on", "-c", "recovery_init_sync_method=syncfs"])
            .args(["-c", "max_connections=80", "-c"])
            .arg(format!("unix_socket_directories={folder}"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("postgres can be started");
        self.server = Some(child);
        let begun = Instant::now();
        let log = self.folder.join("log");
        let said = || fs::read_to_string(&log).unwrap_or_default();
        while !said().contains("ready to accept connections") {
            let ended = self.server.as_mut().and_then(|child| child.try_wait().ok().flatten());
            assert!(
                ended.is_none() && begun.elapsed() < START_TIMEOUT,
                "PostgreSQL did not start: {}",
                said()
            );
            sleep(Duration::from_millis(10));
        }
    }

    fn stop(&mut self, mode: &str) {
        let Some(mut child) = self.server.take() else { return };
        let stopped = self
            .program("pg_ctl")
            .args(["stop", "-s", "-w", "-m", mode, "-D"])
            .arg(self.folder.join("data"))
            .status();
        if !stopped.is_ok_and(|status| status.success()) {
            let _ = child.kill();
        }
        let _ = child.wait();
    }

    /// A program of PostgreSQL's, as somebody who may run it.
    fn program(&self, name: &str) -> Command {
        let path = self.bin.join(name);
        let mut command = match self.user {
            None => Command::new(path),
            Some(user) => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid", user, "--regid", "nogroup", "--clear-groups", "--"]).arg(path);
                command
            }
        };
        command.current_dir(&self.folder).env_remove("PGDATA").env_remove("PGHOST").env_remove("PGPORT");
        command.stdin(Stdio::null());
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop("immediate");
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The folder with PostgreSQL's programs, of the newest version where Debian keeps several.
fn programs() -> Option<PathBuf> {
    let complete = |folder: &Path| folder.join("initdb").is_file() && folder.join("postgres").is_file();
    let on_path = std::env::var_os("PATH")
        .into_iter()
        .flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort();
    on_path.chain(versions.into_iter().rev().map(|(_, folder)| folder)).find(|folder| complete(folder))
}

/// A folder in memory, where there is room for a few clusters.
fn roomy_memory() -> Option<PathBuf> {
    const KIB_MIN: u64 = 1 << 20;
    let output = Command::new("df").args(["-Pk", "/dev/shm"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let free_kib: u64 = text.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()?;
    (free_kib >= KIB_MIN).then(|| PathBuf::from("/dev/shm"))
}

fn root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.starts_with(b"0\n"))
}

fn unprivileged() -> Option<&'static str> {
    ["postgres", "nobody"].into_iter().find(|user| {
        let tried = Command::new("setpriv")
            .args(["--reuid", user, "--regid", "nogroup", "--clear-groups", "--", "true"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        tried.is_ok_and(|status| status.success())
    })
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
