//! Runs as processes of their own: started, followed by what they say, killed at an instant.

use huracan_core::words::UtcMs;
use serde_json::Value;
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How `huracan` is started, and on what.
#[derive(Clone)]
pub struct Bench {
    /// The program.
    pub program: PathBuf,
    /// Arguments before the command's own.
    pub first: Vec<OsString>,
    /// Folder with the candles in `bars` and the configuration in `test.yaml`.
    pub market: PathBuf,
    /// Worker threads; `None` leaves it to the configuration.
    pub workers: Option<u64>,
    /// Use only bars complete by then; `None` uses all.
    pub until: Option<UtcMs>,
    /// What processes are told by their environment.
    pub environment: Vec<(String, String)>,
}

/// When a process is to be killed.
#[derive(Clone, Copy, Debug)]
pub enum When {
    /// So long after its start.
    AfterStart(Duration),
    /// So long after it said that this stage has started.
    InStage(&'static str, Duration),
}

impl Bench {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.first).current_dir(&self.market).env_clear();
        for name in ["PATH", "LLVM_PROFILE_FILE"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts `huracan train` into a store.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start(&self, store: &Path) -> Result<Running, String> {
        let mut command = self.command();
        command.args(["train", "--json", "--candles", "bars", "--symbols", "all", "--config", "test.yaml"]);
        command.arg("--store").arg(store);
        if let Some(workers) = self.workers {
            command.args(["--workers", &workers.to_string()]);
        }
        if let Some(until) = self.until {
            command.args(["--until", &until.to_string()]);
        }
        Running::start(command)
    }

    /// Starts `huracan work` on the runs of a store, one job at a time.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn work(&self, store: &Path, name: &str) -> Result<Running, String> {
        let mut command = self.command();
        command.args(["work", "--workers", "1", "--name", name, "--store"]).arg(store);
        Running::start(command)
    }

    /// Runs another command to its end; `last` is its last argument.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn huracan(&self, arguments: &[&str], last: &Path) -> Result<Ran, String> {
        let mut command = self.command();
        command.args(arguments).arg(last);
        Running::start(command)?.let_through()
    }
}

/// A process that is alive, or was a moment ago.
pub struct Running {
    child: Child,
    began: Instant,
    notes: Receiver<(Duration, String)>,
    heard: Vec<(Duration, String)>,
    out: JoinHandle<String>,
}

/// What a process left behind.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Whether SIGKILL ended it.
    pub killed: bool,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub notes: String,
    /// Stages by name and start.
    pub stages: Vec<(String, Duration)>,
    /// From its start to its end.
    pub wall: Duration,
}

impl Ran {
    /// The stage that was under way at the end.
    pub fn stage(&self) -> &str {
        self.stages.last().map_or("before the first stage", |(name, _)| name)
    }

    /// Whether it found the run complete already.
    pub fn is_up_to_date(&self) -> bool {
        let said: Option<Value> = serde_json::from_str(&self.out).ok();
        said.is_some_and(|said| said["run"]["up_to_date"] == true)
    }

    /// The code of the error it ended with.
    pub fn error(&self) -> Option<String> {
        let said: Value = serde_json::from_str(&self.out).ok()?;
        said["error"]["code"].as_str().map(str::to_owned)
    }
}

impl Running {
    fn start(mut command: Command) -> Result<Running, String> {
        let began = Instant::now();
        let mut child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
        let (stdout, stderr) = match (child.stdout.take(), child.stderr.take()) {
            (Some(stdout), Some(stderr)) => (stdout, stderr),
            _ => return Err(format!("{command:?}: started without its pipes")),
        };
        let (say, notes) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if say.send((began.elapsed(), line)).is_err() {
                    break;
                }
            }
        });
        let out = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let mut stdout = stdout;
            // What came before the pipe broke is all there is.
            let _ = stdout.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        Ok(Running { child, began, notes, heard: Vec::new(), out })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `when` or until the process has ended; tells whether it is still there.
    pub fn wait_until(&mut self, when: When) -> bool {
        let mut deadline = match when {
            When::AfterStart(after) => Some(self.began + after),
            When::InStage(stage, after) => self.began_stage(stage).map(|at| self.began + at + after),
        };
        loop {
            let left =
                deadline.map_or(Duration::from_secs(600), |at| at.saturating_duration_since(Instant::now()));
            match self.notes.recv_timeout(left) {
                Ok(line) => self.heard.push(line),
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
            if let (When::InStage(stage, after), None) = (when, deadline) {
                deadline = self.began_stage(stage).map(|at| self.began + at + after);
            }
        }
    }

    fn began_stage(&self, stage: &str) -> Option<Duration> {
        self.heard.iter().find(|(_, line)| started_stage(line) == Some(stage)).map(|(at, _)| *at)
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)) | Err(_))
    }

    /// Kills it at an instant, if it lives that long.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill_at(mut self, when: When) -> Result<Ran, String> {
        if self.wait_until(when) {
            self.child.kill().map_err(|error| format!("cannot kill {}: {error}", self.id()))?;
        }
        self.let_through()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn let_through(mut self) -> Result<Ran, String> {
        let status = self.child.wait().map_err(|error| format!("cannot wait for a run: {error}"))?;
        let wall = self.began.elapsed();
        self.heard.extend(self.notes.iter());
        let out = self.out.join().unwrap_or_default();
        let stages =
            self.heard.iter().filter_map(|(at, line)| Some((started_stage(line)?.to_owned(), *at))).collect();
        let notes = self.heard.iter().map(|(_, line)| format!("{line}\n")).collect();
        Ok(Ran { code: status.code(), killed: is_sigkill(status), out, notes, stages, wall })
    }
}

#[cfg(unix)]
fn is_sigkill(status: std::process::ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt as _;
    status.signal() == Some(9)
}

/// Elsewhere a killed process has no signal, and no code of ours either.
#[cfg(not(unix))]
fn is_sigkill(status: std::process::ExitStatus) -> bool {
    !matches!(status.code(), Some(0..=7 | 70 | 130))
}

/// The stage that a line of progress says has started. After the publication there is only paper.
fn started_stage(line: &str) -> Option<&str> {
    match line.split_once(": ") {
        Some(("publish", rest)) if rest.starts_with("done") => Some("papers"),
        Some((stage, rest)) if rest.starts_with("started") => Some(stage),
        _ => None,
    }
}
