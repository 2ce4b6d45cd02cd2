//! `huracan jobs`: what runs, what was given up, trying again, giving up.

use super::{Global, Output, World, settings};
use crate::failure::{Exit, Failure};
use crate::progress::duration;
use crate::table::{Align, Table, count};
use crate::wiring::{self, Records};
use clap::{Args, Subcommand};
use huracan_jobs::{JobId, JobRow, Progress, Selector, Status};
use serde_json::json;

/// What to do with jobs.
#[derive(Clone, Debug, Subcommand)]
pub enum JobsCommand {
    /// List runs with their jobs by status, or the jobs of one run
    List(ListArgs),
    /// Show a job with everything that happened to it
    Show(ShowArgs),
    /// Let jobs that were given up or cancelled be tried again
    Retry(SelectArgs),
    /// Cancel jobs: what waits is skipped, what runs is told to stop
    Cancel(SelectArgs),
}

/// Flags of `jobs list`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
A job is one (run, stage, symbol). pending waits, running is in a worker's hands, completed has its one
result, failed was given up (the dead letters), skipped is not to be done, with a reason. Without jobs.url
the record of this machine's working folder is read, with it that of the shared queue.

Examples:
  huracan jobs list
  huracan jobs list --run 0a1b2c3d --stage trial
  huracan jobs list --dead --stage trial")]
pub struct ListArgs {
    /// Which jobs
    #[command(flatten)]
    pub select: SelectArgs,
    /// Only jobs that were given up; of all runs, unless others say less
    #[arg(long, conflicts_with = "status")]
    pub dead: bool,
}

/// Which jobs are meant.
#[derive(Clone, Debug, Default, Args)]
pub struct SelectArgs {
    /// Of this run: the hash at the end of a run's id
    #[arg(long, value_name = "RUN")]
    pub run: Option<String>,
    /// Of this stage
    #[arg(long, value_name = "STAGE")]
    pub stage: Option<String>,
    /// Of this coin
    #[arg(long, value_name = "SYMBOL")]
    pub symbol: Option<String>,
    /// In this state: pending, running, completed, failed, skipped
    #[arg(long, value_name = "STATUS", value_parser = status)]
    pub status: Option<Status>,
}

/// Flags of `jobs show`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  huracan jobs show 0a1b2c3d trial BTCUSDT.P")]
pub struct ShowArgs {
    /// The run: the hash at the end of its id
    pub run: String,
    /// The stage
    pub stage: String,
    /// The coin
    pub symbol: String,
}

fn status(text: &str) -> Result<Status, String> {
    text.parse().map_err(|error: huracan_jobs::UnknownStatus| error.to_string())
}

impl SelectArgs {
    fn selector(&self) -> Selector {
        // A run may be given by its whole id: 20250701T000000Z-0a1b2c3d.
        let hash = |run: &String| run.rsplit_once('-').map_or(run.clone(), |(_, hash)| hash.to_owned());
        Selector {
            run: self.run.as_ref().map(hash),
            stage: self.stage.clone(),
            symbol: self.symbol.clone(),
            status: self.status,
        }
    }

    fn is_empty(&self) -> bool {
        self.selector() == Selector::all()
    }
}

/// Runs the command.
///
/// # Errors
/// As [`wiring::job_records`], and [`Exit::Usage`] for jobs that are not there.
pub fn run(command: &JobsCommand, global: &Global, world: &World) -> Result<Output, Failure> {
    let loaded = settings::load(global, world, Vec::new())?;
    let records = wiring::job_records(&loaded)?;
    match command {
        JobsCommand::List(args) if !args.dead && args.select.is_empty() => {
            let unfinished = if wiring::nobody_coordinates(&records, &loaded) { STOPPED } else { "not yet" };
            runs(&records, unfinished, world)
        }
        JobsCommand::List(args) => {
            let mut rows = records.jobs(&known(&records, args.select.selector())?)?;
            rows.retain(|row| !args.dead || row.dead);
            Ok(jobs(rows, world))
        }
        JobsCommand::Show(args) => show(&records, args, world),
        JobsCommand::Retry(args) => {
            let changed = records.retry(&known(&records, asked(args)?)?)?;
            let json = json!({"schema": "huracan-cli-jobs-retry/1", "retried": changed});
            Ok(Output::ok(format!("{changed} jobs will be tried again\n"), json))
        }
        JobsCommand::Cancel(args) => {
            let changed = records.cancel(&known(&records, asked(args)?)?)?;
            let json = json!({"schema": "huracan-cli-jobs-cancel/1", "cancelled": changed});
            Ok(Output::ok(format!("{changed} jobs cancelled\n"), json))
        }
    }
}

/// Runs a message names at most.
const RUNS_NAMED: usize = 8;

/// The same selector, unless it names a run that nobody began.
fn known(records: &Records, selector: Selector) -> Result<Selector, Failure> {
    let Some(run) = &selector.run else { return Ok(selector) };
    let names: Vec<String> = records.runs()?.into_iter().map(|row| row.run).collect();
    if names.contains(run) {
        return Ok(selector);
    }
    let latest: Vec<&str> = names.iter().take(RUNS_NAMED).map(String::as_str).collect();
    let expected = match latest.is_empty() {
        true => "and no run has begun".to_owned(),
        false => format!("expected one of: {}", latest.join(", ")),
    };
    Err(Failure::new(Exit::Usage, "unknown_run", format!("run {run:?} is not known, {expected}"))
        .help("huracan jobs list shows every run there is"))
}

/// What changes jobs says which.
fn asked(args: &SelectArgs) -> Result<Selector, Failure> {
    if args.is_empty() {
        let message = "no job was named, expected at least one of --run, --stage, --symbol, --status";
        return Err(
            Failure::new(Exit::Usage, "no_jobs_named", message).help("huracan jobs list shows what there is")
        );
    }
    Ok(args.selector())
}

fn counts(progress: &Progress) -> [u64; 5] {
    let Progress { pending, running, completed, failed, skipped } = *progress;
    [pending, running, completed, failed, skipped]
}

/// Of a run that did not complete and is not on.
const STOPPED: &str = "no, it was stopped";

fn runs(records: &Records, unfinished: &str, world: &World) -> Result<Output, Failure> {
    let rows = records.runs()?;
    let mut table = Table::new(&[
        ("run", Align::Left),
        ("by", Align::Left),
        ("pending", Align::Right),
        ("running", Align::Right),
        ("completed", Align::Right),
        ("failed", Align::Right),
        ("skipped", Align::Right),
        ("ended", Align::Left),
    ]);
    for row in &rows {
        let mut cells = vec![row.run.clone(), row.worker.clone()];
        cells.extend(counts(&row.jobs).map(count));
        cells.push(row.outcome.clone().unwrap_or_else(|| unfinished.to_owned()));
        table.row(cells);
    }
    Ok(Output::ok(table.render(world.width), json!({"schema": "huracan-cli-jobs-list/1", "runs": rows})))
}

fn jobs(rows: Vec<JobRow>, world: &World) -> Output {
    let mut table = Table::new(&[
        ("run", Align::Left),
        ("stage", Align::Left),
        ("symbol", Align::Left),
        ("status", Align::Left),
        ("attempt", Align::Right),
        ("wall", Align::Right),
        ("worker", Align::Left),
        ("why", Align::Left),
    ]);
    for row in &rows {
        let why = match (&row.error, &row.reason) {
            (Some(error), _) => error.to_string(),
            (None, Some(reason)) => reason.clone(),
            (None, None) => String::new(),
        };
        table.row(vec![
            row.id.run.clone(),
            row.id.stage.clone(),
            row.id.symbol.clone(),
            row.status.as_str().to_owned(),
            row.attempt.to_string(),
            row.usage.map_or_else(String::new, |usage| duration(usage.wall_s)),
            row.worker.clone().unwrap_or_default(),
            why,
        ]);
    }
    Output::ok(table.render(world.width), json!({"schema": "huracan-cli-jobs-list/1", "jobs": rows}))
}

fn show(records: &Records, args: &ShowArgs, world: &World) -> Result<Output, Failure> {
    let hash = args.run.rsplit_once('-').map_or(args.run.as_str(), |(_, hash)| hash);
    let id = JobId::new(hash, args.stage.as_str(), args.symbol.as_str());
    known(records, Selector { run: Some(id.run.clone()), ..Selector::all() })?;
    let (row, history) = records.job(&id)?;
    let mut table = Table::new(&[
        ("at", Align::Left),
        ("what", Align::Left),
        ("attempt", Align::Right),
        ("worker", Align::Left),
        ("why", Align::Left),
    ]);
    for line in &history {
        table.row(vec![
            huracan_core::words::UtcMs(line.at_ms).to_string(),
            line.event.as_str().to_owned(),
            line.attempt.to_string(),
            line.worker.clone().unwrap_or_default(),
            line.reason.clone().unwrap_or_default(),
        ]);
    }
    let text = format!("{} is {}\n\n{}", row.id, row.status.as_str(), table.render(world.width));
    let json = json!({"schema": "huracan-cli-jobs-show/1", "job": row, "history": history});
    Ok(Output::ok(text, json))
}
