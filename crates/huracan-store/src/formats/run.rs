//! `runs/{run_id}/`: what a run was given, what it did, how long it took and what it cost.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Document;
use super::check::{self, Checked};
use super::wire::{Coin, Time};

/// `run.json`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Run {
    /// `{DATE}T{HHMMSS}Z-{8 hex}`.
    pub run_id: String,
    /// What went in.
    pub inputs: RunInputs,
    /// When it started.
    pub started_at: Time,
    /// When it ended; `null` while it runs.
    pub finished_at: Option<Time>,
    /// How it ended.
    pub exit_status: ExitStatus,
    /// Coins by status: `trained`, `skipped`, `failed`, …
    pub counts: BTreeMap<String, u64>,
    /// The encoder it fitted; `null` without one.
    pub encoder_id: Option<String>,
    /// Timings by stage, in the order the stages ran.
    pub timings: Vec<StageTiming>,
    /// Largest resident memory; `null` where it cannot be told.
    pub peak_memory_bytes: Option<u64>,
    /// What the planted and the noise coins said.
    pub canaries: Vec<Canary>,
    /// What that came to; absent in older files and where the run asked none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary_summary: Option<CanarySummary>,
}

/// What went into a run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RunInputs {
    /// The effective configuration as text.
    pub config: String,
    /// Its SHA-256.
    pub config_id: String,
    /// Version of the program.
    pub code_version: String,
    /// SHA-256 by input: a folder, a coin, a file.
    pub data_fingerprints: BTreeMap<String, String>,
    /// Where all random draws start.
    pub seed: u64,
    /// Where the candles came from; absent in older files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<RunSource>,
    /// Which coins were asked for; absent in older files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub universe: Option<RunUniverse>,
    /// End of the data that were used; absent in older files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// Seed of the random signs of a placebo run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placebo_seed: Option<u64>,
}

/// Where candles came from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum RunSource {
    /// A folder of files.
    Folder {
        /// As the user gave it, so that no path of one machine is made up.
        path: String,
    },
    /// The market that `huracan demo` generates.
    Demo,
}

/// Which coins a run was asked for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum RunUniverse {
    /// All there are.
    All,
    /// The most liquid ones.
    Top {
        /// How many.
        coins: u64,
    },
    /// Exactly these.
    Named {
        /// By name.
        symbols: Vec<Coin>,
    },
}

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitStatus {
    /// It has not.
    Running,
    /// It published.
    Complete,
    /// It ended without publishing because of an error.
    Failed,
    /// Somebody stopped it.
    Interrupted,
    /// The canaries forbade publication.
    Blocked,
}

/// How long a stage took.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct StageTiming {
    /// The stage.
    pub stage: String,
    /// Jobs in it.
    pub jobs: u64,
    /// From its first start to its last end.
    pub wall_s: f64,
    /// Processor time; `null` where it cannot be told.
    pub cpu_s: Option<f64>,
    /// Median of its jobs; `null` without jobs.
    pub p50_s: Option<f64>,
    /// 95th percentile of its jobs; `null` without jobs.
    pub p95_s: Option<f64>,
    /// 99th percentile of its jobs; absent in older files and without jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_s: Option<f64>,
    /// The slowest jobs, slowest first; absent in older files and without jobs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slowest: Vec<SlowJob>,
    /// Jobs by how they ended; absent in older files and where jobs did not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcomes: Option<JobCounts>,
}

/// A job that took long.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SlowJob {
    /// The coin.
    pub symbol: String,
    /// Time on the clock, all its attempts together.
    pub wall_s: f64,
}

/// Jobs of a stage by how they ended. An attempt that was tried again is counted by its last.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct JobCounts {
    /// Done, cached ones included.
    pub completed: u64,
    /// Broken for good.
    pub failed: u64,
    /// Decided not to be done.
    pub skipped: u64,
    /// Done without work, because the result was there already.
    pub cache_hits: u64,
    /// Done by working.
    pub cache_misses: u64,
    /// Attempts that failed and were made again.
    pub retried: u64,
    /// Requests to others.
    pub requests: u64,
}

/// What the canaries of a run came to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CanarySummary {
    /// Noise coins.
    pub noise: u64,
    /// Noise coins that are `trade_ok`: must be none.
    pub noise_trade_ok: u64,
    /// Planted coins.
    pub planted: u64,
    /// Planted coins that were found.
    pub planted_found: u64,
    /// Whether the run may publish coins as `trade_ok`.
    pub passed: bool,
    /// Why they did not run; `null` when they did.
    pub not_run: Option<String>,
}

/// A coin whose truth is known.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Canary {
    /// Its name.
    pub name: String,
    /// `noise` or `planted`.
    pub kind: String,
    /// Whether the run said of it what it should.
    pub passed: bool,
    /// What the run said.
    pub detail: String,
}

/// A line of `events.jsonl`: a job changed its state.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct JobEvent {
    /// When.
    pub at: Time,
    /// The coin, or the whole run.
    pub symbol: Option<String>,
    /// The stage.
    pub stage: String,
    /// The state it has now.
    pub status: JobStatus,
    /// 1 for the first try.
    pub attempt: u32,
    /// Who works on it.
    pub worker: String,
    /// Why, where there is a why.
    pub reason: Option<String>,
}

/// States of a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobStatus {
    /// Waiting.
    Pending,
    /// Being worked on.
    Running,
    /// Done.
    Completed,
    /// Broken.
    Failed,
    /// Not to be done.
    Skipped,
}

/// A line of `failures.jsonl`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Failure {
    /// When.
    pub at: Time,
    /// The coin, or the whole run.
    pub symbol: Option<String>,
    /// The step that broke.
    pub step: String,
    /// Stable code of the error.
    pub code: String,
    /// The error and its causes, outermost first.
    pub error_chain: Vec<String>,
    /// What to do.
    pub help: String,
    /// Attempts made; absent in older files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// What each attempt came to, a sentence each; absent in older files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<String>,
}

/// A line of `unit_costs.jsonl`: what one coin's stage used.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct UnitCost {
    /// The coin.
    pub symbol: String,
    /// The stage.
    pub stage: String,
    /// Processor time; `null` where it cannot be told.
    pub cpu_s: Option<f64>,
    /// Time on the clock.
    pub wall_s: f64,
    /// Rows worked on.
    pub rows: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Requests to others.
    pub requests: u64,
    /// Money at the configured rates; `null` without a rate.
    pub cost_usd: Option<f64>,
    /// How the figures came about; absent in older files, where they are shares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basis: Option<CostBasis>,
    /// Attempts that are summed here; absent in older files and for shares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// Whether the result was there already; absent in older files and for shares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached: Option<bool>,
}

/// How a unit cost came about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CostBasis {
    /// Measured on the thread that ran the job.
    Thread,
    /// What passed on the whole process's meters between the coin before and this one: the sum over
    /// coins is exact, a single one is not the use of one job.
    Share,
}

/// `profile.json`: where the time and the memory went.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Profile {
    /// The run.
    pub run_id: String,
    /// Workers.
    pub workers: u64,
    /// The whole run on the clock.
    pub wall_s: f64,
    /// The whole run's processor time; `null` where it cannot be told.
    pub cpu_s: Option<f64>,
    /// Largest resident memory; `null` where it cannot be told.
    pub peak_memory_bytes: Option<u64>,
    /// Bytes read.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Timings by stage, in the order the stages ran.
    pub stages: Vec<StageTiming>,
}

impl StageTiming {
    fn check(&self) -> Checked {
        check::named("stage", &self.stage)?;
        check::not_negative("wall_s", self.wall_s)?;
        let times =
            [("cpu_s", self.cpu_s), ("p50_s", self.p50_s), ("p95_s", self.p95_s), ("p99_s", self.p99_s)];
        for (name, value) in times {
            value.map_or(Ok(()), |v| check::not_negative(name, v))?;
        }
        for job in &self.slowest {
            check::named("slowest.symbol", &job.symbol)?;
            check::not_negative("slowest.wall_s", job.wall_s)?;
        }
        Ok(())
    }
}

impl Document for Run {
    const NAME: &'static str = "run";

    fn check(&self) -> Checked {
        check::run_id("run_id", &self.run_id)?;
        check::sha256("inputs.config_id", &self.inputs.config_id)?;
        check::named("inputs.code_version", &self.inputs.code_version)?;
        for (name, hash) in &self.inputs.data_fingerprints {
            check::sha256(&format!("inputs.data_fingerprints.{name}"), hash)?;
        }
        check::encoder_id("encoder_id", self.encoder_id.as_deref())?;
        if let Some(canaries) = &self.canary_summary {
            check::that(canaries.noise_trade_ok <= canaries.noise, || {
                format!("{} of {} noise canaries are trade_ok", canaries.noise_trade_ok, canaries.noise)
            })?;
            check::that(canaries.planted_found <= canaries.planted, || {
                format!("{} of {} planted canaries were found", canaries.planted_found, canaries.planted)
            })?;
            check::that(!(canaries.passed && canaries.not_run.is_some()), || {
                "canaries passed and did not run, expected one of the two".to_owned()
            })?;
        }
        let running = self.exit_status == ExitStatus::Running;
        check::that(running == self.finished_at.is_none(), || {
            "exit_status and finished_at contradict each other, expected an end exactly when it is not running".to_owned()
        })?;
        check::that(self.finished_at.is_none_or(|end| self.started_at <= end), || {
            format!("the run ended before it started at {}", self.started_at)
        })?;
        self.timings.iter().try_for_each(StageTiming::check)
    }
}

impl Document for JobEvent {
    const NAME: &'static str = "job_event";

    fn check(&self) -> Checked {
        check::named("stage", &self.stage)?;
        check::that(self.attempt > 0, || "attempt is 0, expected 1 or more".to_owned())
    }
}

impl Document for Failure {
    const NAME: &'static str = "failure";

    fn check(&self) -> Checked {
        check::named("step", &self.step)?;
        check::that(self.attempts != Some(0), || "attempts is 0, expected 1 or more".to_owned())?;
        check::that(!self.error_chain.is_empty(), || "error_chain is empty, expected the error".to_owned())
    }
}

impl Document for UnitCost {
    const NAME: &'static str = "unit_cost";

    fn check(&self) -> Checked {
        check::named("symbol", &self.symbol)?;
        check::named("stage", &self.stage)?;
        check::not_negative("wall_s", self.wall_s)?;
        check::that(self.attempts != Some(0), || "attempts is 0, expected 1 or more".to_owned())?;
        for (name, value) in [("cpu_s", self.cpu_s), ("cost_usd", self.cost_usd)] {
            value.map_or(Ok(()), |v| check::not_negative(name, v))?;
        }
        Ok(())
    }
}

impl Document for Profile {
    const NAME: &'static str = "profile";

    fn check(&self) -> Checked {
        check::run_id("run_id", &self.run_id)?;
        check::not_negative("wall_s", self.wall_s)?;
        self.stages.iter().try_for_each(StageTiming::check)
    }
}
