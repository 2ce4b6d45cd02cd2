//! Kills runs at seeded instants, again and again, and shows what came of it:
//!
//! ```sh
//! cargo run --release --example kill_loop -- --kills 200 --seed 7
//! ```
//!
//! A small market is generated and trained on once in peace. Then stores are brought from empty to
//! complete through kills; every dead store is looked at as it lies, every completed one is held byte
//! for byte against the first. The status is not 0 when any promise was broken. `kill_loop huracan …`
//! is the program itself: what is killed is this executable, so it can never be an older one.

#[path = "../tests/it/contents.rs"]
mod contents;
#[path = "../tests/it/kill_loop/mod.rs"]
mod kill_loop;
#[path = "../tests/it/small_market.rs"]
mod small_market;

use clap::Parser;
use huracan::cli::{self, World};
use huracan_core::words::Seed;
use kill_loop::process::Bench;
use kill_loop::scenarios::{Coordinator, TwoCoordinators};
use kill_loop::{Reference, Scenario, Tally, table};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Kills runs at seeded instants and shows what came of it.
#[derive(Parser)]
struct Options {
    /// Processes to kill in all
    #[arg(long, default_value_t = 200)]
    kills: u64,
    /// Where the instants come from
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Worker threads of every run [default: the configuration's]
    #[arg(long)]
    workers: Option<u64>,
    /// Only this scenario: coordinator, two-coordinators
    #[arg(long)]
    only: Option<String>,
    /// Another program to kill than this one
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Keep the market and the stores
    #[arg(long)]
    keep: bool,
    /// One JSON document on standard output
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if arguments.get(1).is_some_and(|first| first == "huracan") {
        return ExitCode::from(cli::main(&arguments[1..], &world()).code());
    }
    match looped(&Options::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn world() -> World {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    World { environment: Vec::new(), width: None, cores }
}

fn looped(options: &Options) -> Result<ExitCode, String> {
    let place = tempfile::Builder::new()
        .prefix("kill-loop-")
        .disable_cleanup(options.keep)
        .tempdir()
        .map_err(|error| format!("no folder for the stores: {error}"))?;
    if options.keep {
        eprintln!("market and stores are in {}", place.path().display());
    }
    let bench = bench(options, place.path())?;
    let reference = Reference::make(&bench, &place.path().join("undisturbed"))?;
    let mut tallies: Vec<(&str, Tally)> = Vec::new();
    for (mut scenario, kills) in scenarios(options)? {
        let seed = Seed(options.seed);
        let tally = kill_loop::run(&bench, &reference, scenario.as_mut(), place.path(), kills, seed)?;
        tallies.push((scenario.name(), tally));
    }
    if options.json {
        println!("{:#}", table::json(&tallies, &reference, options.seed));
    } else {
        print!("{}", table::text(&tallies, &reference));
    }
    let holds = tallies.iter().all(|(_, tally)| tally.violations().is_empty());
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The scenarios asked for, each with its share of the kills.
fn scenarios(options: &Options) -> Result<Vec<(Box<dyn Scenario>, u64)>, String> {
    let all: [(Box<dyn Scenario>, u64); 2] =
        [(Box::new(Coordinator), 4), (Box::new(TwoCoordinators), 1)];
    let names: Vec<&str> = all.iter().map(|(scenario, _)| scenario.name()).collect();
    let names = names.join(", ");
    let wanted = |name: &str| options.only.as_ref().is_none_or(|only| only == name);
    let chosen: Vec<_> = all.into_iter().filter(|(scenario, _)| wanted(scenario.name())).collect();
    if chosen.is_empty() {
        let only = options.only.as_deref().unwrap_or_default();
        return Err(format!("{only:?} is no scenario, expected one of {names}"));
    }
    let parts: u64 = chosen.iter().map(|(_, parts)| parts).sum();
    Ok(chosen.into_iter().map(|(s, own)| (s, (options.kills * own).div_ceil(parts))).collect())
}

fn bench(options: &Options, place: &Path) -> Result<Bench, String> {
    let market = place.join("market");
    small_market::write_market(&market.join("bars"), None);
    std::fs::write(market.join("test.yaml"), small_market::CONFIG)
        .map_err(|error| format!("{}: {error}", market.display()))?;
    let own = std::env::current_exe().map_err(|error| format!("this program has no path: {error}"))?;
    Ok(match &options.program {
        Some(program) => {
            Bench { program: program.clone(), first: Vec::new(), market, workers: options.workers }
        }
        None => Bench { program: own, first: vec!["huracan".into()], market, workers: options.workers },
    })
}
