//! The command line: commands, flags, what they print and how they end. A file a command.
//!
//! Standard output carries results only, as text or, with `--json`, as one JSON document; progress,
//! logs and errors for people go to standard error.

pub mod champion;
pub mod config;
pub mod costs;
pub mod data;
pub mod demo;
pub mod doctor;
pub mod export;
pub mod failures;
pub mod features;
pub mod jobs;
pub mod lookahead;
pub mod roster;
pub mod settings;
pub mod status;
pub mod store;
pub mod symbols;
pub mod train;
pub mod verify;
pub mod why;
pub mod work;

use crate::failure::{Exit, Failure};
use crate::logs::{self, LogForm};
use crate::wiring::Session;
use crate::{interrupt, progress};
use clap::{Args, CommandFactory, Parser, Subcommand};
use indicatif::MultiProgress;
use serde_json::Value;
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

/// One tailored model per coin on a shared encoder, judged after costs, published as a ranked
/// roster.
#[derive(Debug, Parser)]
#[command(name = "huracan", version, arg_required_else_help = true, after_help = epilogue())]
pub struct Cli {
    /// Flags every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags every command takes.
#[derive(Clone, Debug, Default, Args)]
pub struct Global {
    /// Print one JSON document on standard output instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// Where results are kept: a folder, s3://BUCKET/PREFIX, dropbox:/FOLDER [default: $HURACAN_STORE,
    /// else ./huracan-store] [setting: store.url]
    #[arg(long, global = true, value_name = "PLACE")]
    pub store: Option<String>,
    /// Folder to work in before results are carried to --store [default: --store itself; for S3 and
    /// Dropbox a folder of this user] [setting: store.local]
    #[arg(long, global = true, value_name = "DIR")]
    pub store_local: Option<String>,
    /// Bring what others published before reading: roster, why, champion, verify, export
    #[arg(long, global = true)]
    pub refresh: bool,
    /// Configuration file in YAML [default: $HURACAN_CONFIG, else the defaults]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Form of log lines on standard error: text, json; RUST_LOG says which are shown
    #[arg(long, global = true, value_name = "FORM", default_value = "text", hide_possible_values = true)]
    pub log: LogForm,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a small market, train on it and publish: the whole product without any data
    Demo(demo::DemoArgs),
    /// Train a model per coin on a folder of candles and publish the roster
    Train(train::TrainArgs),
    /// Show the ranked roster of the last published run
    Roster,
    /// Explain why a coin is trade_ok, is not, was skipped or failed
    Why(why::WhyArgs),
    /// Show a coin's champion, its history, who it was when; or go back to the one before
    Champion(champion::ChampionArgs),
    /// Show what every program does now, how the last run went and what failed in it
    Status,
    /// Show what a run used and cost, by stage and by coin
    Costs(costs::CostsArgs),
    /// Show what failed in a run, what was tried and what to do
    Failures(failures::FailuresArgs),
    /// List, show, retry or cancel the jobs of runs
    #[command(subcommand)]
    Jobs(jobs::JobsCommand),
    /// Do jobs of runs that other machines share through jobs.url
    Work(work::WorkArgs),
    /// Check stored results against their manifests
    Verify(verify::VerifyArgs),
    /// Write a champion or the encoder in a form that other programs run: ONNX, LightGBM, JSON
    Export(export::ExportArgs),
    /// List, carry, check or tidy the store
    #[command(subcommand)]
    Store(store::StoreCommand),
    /// Check, import or fetch candles
    #[command(subcommand)]
    Data(data::DataCommand),
    /// List every feature with its lookback
    Features,
    /// Look whether any feature, label or cost knows the future
    Lookahead(lookahead::LookaheadArgs),
    /// Check a configuration, show the effective one, print its JSON Schema
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Look whether this machine can run Huracan
    Doctor(doctor::DoctorArgs),
    /// List the exit codes
    #[command(after_help = Exit::table())]
    ExitCodes,
}

fn epilogue() -> String {
    format!(
        "Examples:\n  \
         huracan demo                                        try everything on a generated market\n  \
         huracan data check --candles ./candles              what is in the files, and what the gates say\n  \
         huracan train --candles ./candles --bar 1h          train the staged universe, publish the roster\n  \
         huracan train --candles ./candles --symbols top:20  only the 20 most liquid coins\n  \
         huracan roster                                      the ranked list\n  \
         huracan why BTCUSDT                                 every gate with its value and limit\n  \
         huracan export BTCUSDT --format onnx                its head for other programs\n  \
         huracan champion BTCUSDT --at 14:05                 who was champion then, and why\n  \
         huracan status                                      is it alive, how far, and how was the last run?\n  \
         huracan verify all                                  are the stored files what was published?\n  \
         huracan work --store s3://bucket/huracan            do jobs of runs that other machines share\n  \
         huracan jobs list                                   what is done, what was given up\n  \
         huracan store sync                                  carry results to a remote store, bring others'\n  \
         huracan lookahead --candles ./candles               does any feature know the future?\n\n\
         Configuration: defaults < --config FILE < environment (HURACAN__ENGINE__TARGET_SYMBOLS=200) < flags\n\n{}",
        Exit::table()
    )
}

/// What the process was started with.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Environment variables.
    pub environment: Vec<(String, String)>,
    /// Characters a line of standard output may have, when it is a terminal.
    pub width: Option<usize>,
    /// Cores this process may use.
    pub cores: usize,
}

impl World {
    /// The value of an environment variable that is set and not empty.
    pub fn variable(&self, name: &str) -> Option<&str> {
        let set = self.environment.iter().find(|(key, value)| key == name && !value.is_empty());
        set.map(|(_, value)| value.as_str())
    }
}

/// What a command has to say.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// How the process ends.
    pub exit: Exit,
    /// For people; ends with a line break.
    pub text: String,
    /// For programs.
    pub json: Value,
}

impl Output {
    /// A success.
    pub fn ok(text: String, json: Value) -> Output {
        Output { exit: Exit::Ok, text, json }
    }
}

/// Runs the program and prints what it has to say.
pub fn main(arguments: &[OsString], world: &World) -> Exit {
    match Cli::try_parse_from(arguments) {
        Ok(cli) => {
            let json = cli.global.json;
            match run(cli, world) {
                Ok(output) => print(output.exit, if json { pretty(&output.json) } else { output.text }),
                Err(failure) => print_failure(&failure, json),
            }
        }
        Err(error) => print_usage(&error, arguments.iter().any(|argument| argument == "--json")),
    }
}

/// Runs a command.
///
/// # Errors
/// What the command could not do, with the exit code the shell gets.
pub fn run(cli: Cli, world: &World) -> Result<Output, Failure> {
    let bars = MultiProgress::new();
    let global = &cli.global;
    let _logs = logs::install(global.log, &bars, otlp_endpoint(global, world).as_deref());
    let session = || -> Result<Session, Failure> {
        Ok(Session { observer: progress::observer(&bars), interrupted: interrupt::install()? })
    };
    let reads = matches!(
        cli.command,
        Command::Roster | Command::Why(_) | Command::Champion(_) | Command::Verify(_) | Command::Export(_)
    );
    let mut early = None;
    if global.refresh && reads {
        let session = session()?;
        crate::wiring::store::refresh(&settings::load(global, world, Vec::new())?.store, &session)?;
        early = Some(session);
    }
    // The handler of signals is installed once a process.
    let session = || early.clone().map_or_else(session, Ok);
    let done = match &cli.command {
        Command::Demo(args) => demo::run(args, global, world, &session()?),
        Command::Train(args) => train::run(args, global, world, &session()?),
        Command::Roster => roster::run(global, world),
        Command::Why(args) => why::run(args, global, world),
        Command::Champion(args) => champion::run(args, global, world),
        Command::Status => status::run(global, world),
        Command::Jobs(command) => jobs::run(command, global, world),
        Command::Work(args) => work::run(args, global, world, &session()?),
        Command::Costs(args) => costs::run(args, global, world),
        Command::Failures(args) => failures::run(args, global, world),
        Command::Verify(args) => verify::run(args, global, world, &session()?),
        Command::Export(args) => export::run(args, global, world),
        Command::Store(command) => store::run(command, global, world, &session()?),
        Command::Data(command) => data::run(command, global, world, &session()?),
        Command::Features => Ok(features::run(world)),
        Command::Lookahead(args) => lookahead::run(args, global, world, &session()?),
        Command::Config(command) => config::run(command, global, world),
        Command::Doctor(args) => doctor::run(args, global, world),
        Command::ExitCodes => Ok(exit_codes()),
    };
    done.map_err(|failure| {
        let is_unread = reads && !global.refresh && failure.code == "store_not_found";
        let plan = is_unread.then(|| settings::load(global, world, Vec::new()).ok()).flatten();
        match plan.filter(|loaded| loaded.store.is_carried()) {
            Some(loaded) => {
                failure.help(format!("--refresh brings what is published in {}", loaded.store.url))
            }
            None => failure,
        }
    })
}

/// Where spans go: the configuration, else the variable that all programs share. A configuration that
/// cannot be meant is refused by the command itself.
fn otlp_endpoint(global: &Global, world: &World) -> Option<String> {
    if !logs::SENDS_SPANS {
        return None;
    }
    let configured = settings::load(global, world, Vec::new()).ok();
    configured
        .and_then(|loaded| loaded.config.observability.otlp_endpoint)
        .or_else(|| world.variable("OTEL_EXPORTER_OTLP_ENDPOINT").map(str::to_owned))
}

fn exit_codes() -> Output {
    let codes =
        Exit::ALL.iter().map(|(exit, meaning)| serde_json::json!({"code": exit.code(), "meaning": meaning}));
    let codes: Vec<Value> = codes.collect();
    Output::ok(
        format!("{}\n", Exit::table()),
        serde_json::json!({"schema": "huracan-cli-exit-codes/1", "exit_codes": codes}),
    )
}

/// The command line's definition, for documentation and tests.
pub fn definition() -> clap::Command {
    Cli::command()
}

fn pretty(json: &Value) -> String {
    format!("{json:#}\n")
}

/// Prints a result; a reader that has gone away (`| head`) is no failure.
fn print(exit: Exit, text: String) -> Exit {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Exit::Unexpected,
        _ => exit,
    }
}

fn print_failure(failure: &Failure, json: bool) -> Exit {
    if json {
        return print(failure.exit, pretty(&failure.to_json()));
    }
    eprintln!("{failure}");
    failure.exit
}

/// Help and version are results; anything else is a usage error.
fn print_usage(error: &clap::Error, json: bool) -> Exit {
    use clap::error::ErrorKind;
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return print(Exit::Ok, error.render().to_string());
    }
    if json {
        let text = error.render().to_string();
        let sentence = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        let failure = Failure::new(Exit::Usage, "usage", sentence).help("huracan --help lists every command");
        return print_failure(&failure, true);
    }
    // Nothing is left to tell when standard error itself is closed.
    let _ = error.print();
    Exit::Usage
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::definition().debug_assert();
    }
}
