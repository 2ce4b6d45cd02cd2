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
  huracan jobs list --dead")]
pub struct ListArgs {
    /// Which jobs
    #[command(flatten)]
    pub select: SelectArgs,
    /// Only jobs that were given up, of all runs
    #[arg(long)]
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
    let records = wiring::job_records(&settings::load(global, world, Vec::new())?)?;
    match command {
        JobsCommand::List(args) if args.dead => Ok(jobs(records.dead_letters()?, world)),
        JobsCommand::List(args) if args.select.is_empty() => runs(&records, world),
        JobsCommand::List(args) => Ok(jobs(records.jobs(&args.select.selector())?, world)),
        JobsCommand::Show(args) => show(&records, args, world),
        JobsCommand::Retry(args) => {
            let changed = records.retry(&asked(args)?)?;
            Ok(Output::ok(format!("{changed} jobs will be tried again\n"), json!({"retried": changed})))
        }
        JobsCommand::Cancel(args) => {
            let changed = records.cancel(&asked(args)?)?;
            Ok(Output::ok(format!("{changed} jobs cancelled\n"), json!({"cancelled": changed})))
        }
    }
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

fn runs(records: &Records, world: &World) -> Result<Output, Failure> {
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
        cells.push(row.outcome.clone().unwrap_or_else(|| "not yet".to_owned()));
        table.row(cells);
    }
    Ok(Output::ok(table.render(world.width), json!({ "runs": rows })))
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
    Output::ok(table.render(world.width), json!({ "jobs": rows }))
}

fn show(records: &Records, args: &ShowArgs, world: &World) -> Result<Output, Failure> {
    let hash = args.run.rsplit_once('-').map_or(args.run.as_str(), |(_, hash)| hash);
    let id = JobId::new(hash, args.stage.as_str(), args.symbol.as_str());
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
    Ok(Output::ok(text, json!({ "job": row, "history": history })))
}
