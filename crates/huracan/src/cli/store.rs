//! `huracan store`: the place results are kept, its working folder, and what is in them.

use super::{Global, Output, World, settings};
use crate::failure::{Exit, Failure};
use crate::table::{Align, Table};
use crate::wiring::{self, Session};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;

/// What to do with the store.
#[derive(Clone, Debug, Subcommand)]
pub enum StoreCommand {
    /// List what is in the store
    Ls(LsArgs),
    /// Bring what others published and carry what was made here
    Sync(SyncArgs),
    /// Check every file against its manifest, and the working folder against its remote
    Check(CheckArgs),
    /// Remove what no champion, no rollback and no recent decision reaches
    Gc(GcArgs),
}

/// Flags of `store ls`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Lists the working folder; with --remote the place it is carried to.

Examples:
  huracan store ls
  huracan store ls models/BTCUSDT.P
  huracan store ls champions --remote --store /mnt/nas/huracan --store-local ./work")]
pub struct LsArgs {
    /// Folder in the store, for example champions or models/BTCUSDT.P [default: all of it]
    #[arg(value_name = "PATH")]
    pub path: Option<String>,
    /// List the remote instead of the working folder
    #[arg(long)]
    pub remote: bool,
}

/// Flags of `store sync`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
A run works in a folder of this machine and is carried to --store when it is done: model folders first,
each manifest after its files, then, read back and verified, the champion pointers, and the roster last.
Whatever is cut off is finished by the next sync; what did not change costs no request. huracan train
syncs by itself before and after; this command is for after a night without network.

Where somebody else published meanwhile, no pointer moves and the files are named (exit code 5). --theirs
gives up what was decided here, takes what is published, and huracan train decides again.

Examples:
  huracan store sync --store /mnt/nas/huracan --store-local ./work
  huracan store sync --pull-only
  huracan store sync --theirs")]
pub struct SyncArgs {
    /// Only bring what others published
    #[arg(long, conflicts_with = "push_only")]
    pub pull_only: bool,
    /// Only carry what was made here
    #[arg(long)]
    pub push_only: bool,
    /// Where both sides changed the same thing, give up what was decided here
    #[arg(long, conflicts_with = "push_only")]
    pub theirs: bool,
}

/// Flags of `store check`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Reads every file, here and in the remote: sealed folders against their manifests, pointers and roster
against what they name, logs against their chains, and both sides against each other. Problems are
missing, differs, unreadable, orphan (points at something that is not whole) and partial (a folder that
was never finished). Ends with exit code 4 when there is one. huracan verify goes on from here: it holds
the roster against the models and the candles.

Examples:
  huracan store check
  huracan store check --json --store /mnt/nas/huracan --store-local ./work")]
pub struct CheckArgs {}

/// Flags of `store gc`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Says what would be removed; --yes removes it, here and in the remote. What stays: every champion and the
one before it (so that every rollback works), both models of every decision within the retention,
everything the last --runs runs made, the encoders all of those need and the one in force, whatever is
younger than three days, and run.json of every run. What workers have left behind for a run that nobody
has coordinated for three days goes. What a run is publishing is safe: a store that a run holds is refused.

Examples:
  huracan store gc
  huracan store gc --retention-days 30 --runs 5
  huracan store gc --yes")]
pub struct GcArgs {
    /// Days for which models of decisions, and papers of runs, are kept
    #[arg(long, value_name = "N", default_value_t = 90.0, value_parser = days)]
    pub retention_days: f64,
    /// The last so many runs keep everything they made
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub runs: usize,
    /// Remove, instead of saying what would be
    #[arg(long)]
    pub yes: bool,
}

fn days(text: &str) -> Result<f64, String> {
    let days = text.parse::<f64>().ok().filter(|days| (0.0..=36_500.0).contains(days));
    days.ok_or_else(|| "expected a number of days from 0 to 36500".to_owned())
}

/// What a sync is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncRequest {
    /// Bring what others published.
    pub pull: bool,
    /// Carry what was made here.
    pub push: bool,
    /// Give up what was decided here where both sides changed the same thing.
    pub theirs: bool,
}

/// What a sync came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SyncView {
    /// The remote.
    pub url: String,
    /// The working folder.
    pub local: String,
    /// Files brought.
    pub pulled_files: usize,
    /// Their bytes.
    pub pulled_bytes: u64,
    /// Files carried.
    pub pushed_files: usize,
    /// Their bytes.
    pub pushed_bytes: u64,
    /// Champion pointers among them.
    pub pointers_moved: usize,
    /// Decisions made here that were given up.
    pub given_up: Vec<String>,
    /// What is published and cannot be used, with the reason.
    pub unusable: Vec<(String, String)>,
    /// What it cost; `None` where nobody counts.
    pub cost: Option<RemoteCost>,
}

/// What a remote was asked, in the units that it is paid by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct RemoteCost {
    /// Requests, repeated ones included.
    pub requests: u64,
    /// Those that repeated one that had failed.
    pub retries: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// Money at the configured rate; `None` where none is.
    pub cost_usd: Option<f64>,
}

impl RemoteCost {
    /// Adds what another part of the work cost.
    pub fn add(&mut self, more: RemoteCost) {
        self.requests += more.requests;
        self.retries += more.retries;
        self.bytes_sent += more.bytes_sent;
        self.bytes_received += more.bytes_received;
        self.cost_usd = match (self.cost_usd, more.cost_usd) {
            (None, None) => None,
            (a, b) => Some(a.unwrap_or(0.0) + b.unwrap_or(0.0)),
        };
    }
}

impl std::fmt::Display for RemoteCost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let RemoteCost { requests, retries, bytes_sent, bytes_received, cost_usd } = self;
        write!(f, "{requests} requests ({retries} of them repeats), ")?;
        write!(f, "{} sent, {} received", size(*bytes_sent), size(*bytes_received))?;
        cost_usd.map_or(Ok(()), |usd| write!(f, ", ${usd:.4}"))
    }
}

/// One object.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LsRow {
    /// Where, relative to the store.
    pub path: String,
    /// Its length.
    pub size_bytes: u64,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CheckRow {
    /// `here`, `there` or `both`.
    pub side: &'static str,
    /// The file or folder.
    pub path: String,
    /// What is wrong: a stable code.
    pub problem: &'static str,
    /// What was found and expected.
    pub detail: String,
}

/// What a check came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CheckView {
    /// Files and folders that were looked at.
    pub looked_at: usize,
    /// What is wrong.
    pub rows: Vec<CheckRow>,
}

/// What a collection is asked to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GcRequest {
    /// Days for which models of decisions, and papers of runs, are kept.
    pub retention_days: f64,
    /// The last so many runs keep everything they made.
    pub runs_kept: usize,
    /// Whether to remove, or only to say what would be.
    pub remove: bool,
}

/// One folder that goes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GcRow {
    /// `here` or `there`.
    pub side: &'static str,
    /// The folder.
    pub path: String,
    /// Its bytes.
    pub bytes: u64,
    /// Why nothing keeps it.
    pub why: String,
}

/// What a collection came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct GcView {
    /// Whether the rows were removed, or would be.
    pub removed: bool,
    /// Folders that stay.
    pub kept: usize,
    /// Bytes that go.
    pub bytes: u64,
    /// Folders that go.
    pub rows: Vec<GcRow>,
}

/// Runs the command.
///
/// # Errors
/// What the configuration or the store refuse.
pub fn run(
    command: &StoreCommand,
    global: &Global,
    world: &World,
    session: &Session,
) -> Result<Output, Failure> {
    let loaded = settings::load(global, world, Vec::new())?;
    let (plan, rates) = (loaded.store, loaded.config.observability.rates);
    match command {
        StoreCommand::Ls(args) => {
            let rows = wiring::store::ls(&plan, args.path.as_deref(), args.remote)?;
            Ok(listing(&rows, world.width))
        }
        StoreCommand::Sync(args) => {
            let request = SyncRequest { pull: !args.push_only, push: !args.pull_only, theirs: args.theirs };
            Ok(synced(&wiring::store::sync(&plan, &request, &rates, session)?))
        }
        StoreCommand::Check(_) => Ok(checked(&wiring::store::check(&plan, session)?, world.width)),
        StoreCommand::Gc(args) => {
            let request =
                GcRequest { retention_days: args.retention_days, runs_kept: args.runs, remove: args.yes };
            Ok(collected(&wiring::store::collect(&plan, &request, session)?, world.width))
        }
    }
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    match bytes {
        b if b < 10_000 => format!("{b} bytes"),
        b if b < 10_000_000 => format!("{:.1} kB", b as f64 / 1e3),
        b => format!("{:.1} MB", b as f64 / 1e6),
    }
}

fn listing(rows: &[LsRow], width: Option<usize>) -> Output {
    let mut table = Table::new(&[("bytes", Align::Right), ("path", Align::Left)]);
    for row in rows {
        table.row([row.size_bytes.to_string(), row.path.clone()]);
    }
    let bytes: u64 = rows.iter().map(|row| row.size_bytes).sum();
    let text = format!("{}\n{} objects, {}\n", table.render(width), rows.len(), size(bytes));
    Output::ok(text, json!({"schema": "huracan-cli-store-ls/1", "bytes": bytes, "objects": rows}))
}

fn synced(view: &SyncView) -> Output {
    let mut text = format!(
        "{} and {}: {} files brought ({}), {} carried ({}), {} champion pointers moved\n",
        view.local,
        view.url,
        view.pulled_files,
        size(view.pulled_bytes),
        view.pushed_files,
        size(view.pushed_bytes),
        view.pointers_moved
    );
    if let Some(cost) = &view.cost {
        text.push_str(&format!("{cost}\n"));
    }
    for path in &view.given_up {
        text.push_str(&format!("  given up for what is published: {path}\n"));
    }
    for (path, reason) in &view.unusable {
        text.push_str(&format!("  cannot be used as published: {path}: {reason}\n"));
    }
    if !view.given_up.is_empty() {
        text.push_str("next: huracan train decides again\n");
    }
    let exit = if view.unusable.is_empty() { Exit::Ok } else { Exit::VerificationFailed };
    Output { exit, text, json: json!({"schema": "huracan-cli-store-sync/1", "sync": view}) }
}

fn checked(view: &CheckView, width: Option<usize>) -> Output {
    let mut text = String::new();
    if !view.rows.is_empty() {
        let mut table = Table::new(&[
            ("side", Align::Left),
            ("problem", Align::Left),
            ("path", Align::Left),
            ("found", Align::Left),
        ]);
        for row in &view.rows {
            let (side, problem) = (row.side.to_owned(), row.problem.to_owned());
            table.row([side, problem, row.path.clone(), row.detail.clone()]);
        }
        text.push_str(&format!("{}\n", table.render(width)));
    }
    text.push_str(&format!("{} looked at, {} problems\n", view.looked_at, view.rows.len()));
    let exit = if view.rows.is_empty() { Exit::Ok } else { Exit::VerificationFailed };
    let ok = exit == Exit::Ok;
    let json = json!({
        "schema": "huracan-cli-store-check/1",
        "ok": ok,
        "looked_at": view.looked_at,
        "problems": view.rows,
    });
    Output { exit, text, json }
}

fn collected(view: &GcView, width: Option<usize>) -> Output {
    let mut text = String::new();
    if !view.rows.is_empty() {
        let mut table = Table::new(&[
            ("side", Align::Left),
            ("bytes", Align::Right),
            ("folder", Align::Left),
            ("why", Align::Left),
        ]);
        for row in &view.rows {
            table.row([row.side.to_owned(), row.bytes.to_string(), row.path.clone(), row.why.clone()]);
        }
        text.push_str(&format!("{}\n", table.render(width)));
    }
    let verb = if view.removed { "removed" } else { "would be removed" };
    let (gone, freed) = (view.rows.len(), size(view.bytes));
    text.push_str(&format!("{gone} folders {verb} ({freed}), {} stay\n", view.kept));
    if !view.removed && gone > 0 {
        text.push_str("next: huracan store gc --yes removes them\n");
    }
    Output::ok(text, json!({"schema": "huracan-cli-store-gc/1", "gc": view}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_problem_fails_the_check() {
        let row = CheckRow {
            side: "there",
            path: "models/A/x".into(),
            problem: "partial",
            detail: "no manifest".into(),
        };
        let bad = checked(&CheckView { looked_at: 3, rows: vec![row] }, None);
        assert_eq!((bad.exit, &bad.json["ok"]), (Exit::VerificationFailed, &json!(false)));
        assert!(bad.text.contains("3 looked at, 1 problems") && bad.text.contains("models/A/x"));
        assert_eq!(checked(&CheckView { looked_at: 3, rows: vec![] }, None).exit, Exit::Ok);
    }

    #[test]
    fn a_plan_is_told_from_a_removal() {
        let row = GcRow { side: "here", path: "models/A/x".into(), bytes: 12_345, why: "w".into() };
        let view = GcView { removed: false, kept: 2, bytes: 12_345, rows: vec![row] };
        let text = collected(&view, None).text;
        assert!(text.contains("1 folders would be removed (12.3 kB), 2 stay\nnext: "), "{text}");
        let text = collected(&GcView { removed: true, ..view }, None).text;
        assert!(text.ends_with("1 folders removed (12.3 kB), 2 stay\n"), "{text}");
    }
}
