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
use huracan_core::words::{Seed, UtcMs};
use huracan_jobs::testing::Cluster;
use kill_loop::process::Bench;
use kill_loop::scenarios::{Coordinator, TornWrites, TwoCoordinators, Workers};
use kill_loop::table::{self, Line};
use kill_loop::{Reference, Scenario};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;

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
    /// Only this scenario: first-night, next-night, torn-writes, two-coordinators, workers
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
    let text = |part: OsString| part.to_string_lossy().into_owned();
    let environment = std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect();
    World { environment, width: None, cores }
}

fn looped(options: &Options) -> Result<ExitCode, String> {
    let place = tempfile::Builder::new()
        .prefix("kill-loop-")
        .disable_cleanup(options.keep)
        .tempdir()
        .map_err(|error| format!("no folder for the stores: {error}"))?;
    let place = place.path();
    if options.keep {
        eprintln!("market and stores are in {}", place.display());
    }
    let bench = bench(options, place)?;
    let wanted = wanted(options)?;
    let parts: u64 = wanted.iter().map(|(_, own)| own).sum();
    let from_nothing = Rc::new(Reference::make(&bench, &place.join("undisturbed"), None)?);
    let mut lines = Vec::new();
    for (name, own) in wanted {
        let reference = match name {
            NEXT_NIGHT => {
                let start = night_before(&bench, place)?;
                Rc::new(Reference::make(&bench, &place.join("next-undisturbed"), Some(&start))?)
            }
            _ => from_nothing.clone(),
        };
        let cluster = (name == WORKERS).then(Cluster::start).flatten();
        if name == WORKERS && cluster.is_none() {
            eprintln!("{name}: skipped, and with it its part of the kills: there is no PostgreSQL");
            continue;
        }
        let mut scenario: Box<dyn Scenario> = match name {
            WORKERS => {
                Box::new(Workers { queue: cluster.as_ref().map_or_else(String::new, Cluster::url), lives: 0 })
            }
            TORN => Box::new(TornWrites),
            TWO => Box::new(TwoCoordinators),
            _ => Box::new(Coordinator(name)),
        };
        let kills = (options.kills * own).div_ceil(parts);
        let tally = kill_loop::run(&bench, &reference, scenario.as_mut(), place, kills, Seed(options.seed))?;
        let line = Line { name, tally, reference };
        // Hours of kills shall not be for nothing when the next scenario is stopped.
        eprintln!("{}", table::text(std::slice::from_ref(&line)));
        lines.push(line);
    }
    if options.json {
        println!("{:#}", table::json(&lines, options.seed));
    } else {
        print!("{}", table::text(&lines));
    }
    let holds = lines.iter().all(|line| line.tally.violations().is_empty());
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A store is brought from nothing to its first roster.
const FIRST_NIGHT: &str = "first-night";
/// A store with a roster is brought to the next one, while champions are challenged.
const NEXT_NIGHT: &str = "next-night";
/// What was not settled is torn.
const TORN: &str = "torn-writes";
/// Two runs want one store.
const TWO: &str = "two-coordinators";
/// A coordinator and workers over one queue.
const WORKERS: &str = "workers";
/// Every scenario, with its part of the kills.
const SCENARIOS: [(&str, u64); 5] = [(FIRST_NIGHT, 4), (NEXT_NIGHT, 2), (TORN, 2), (TWO, 2), (WORKERS, 2)];

/// The scenarios asked for, each with its part of the kills.
fn wanted(options: &Options) -> Result<Vec<(&'static str, u64)>, String> {
    let is_wanted = |name: &str| options.only.as_ref().is_none_or(|only| only == name);
    let wanted: Vec<_> = SCENARIOS.into_iter().filter(|(name, _)| is_wanted(name)).collect();
    if wanted.is_empty() {
        let (only, names) = (options.only.as_deref().unwrap_or_default(), SCENARIOS.map(|(name, _)| name));
        return Err(format!("{only:?} is no scenario, expected one of {}", names.join(", ")));
    }
    Ok(wanted)
}

/// The store of a run that saw the market five days earlier.
fn night_before(bench: &Bench, place: &Path) -> Result<PathBuf, String> {
    let store = place.join("night-before");
    let until = UtcMs(small_market::spec().end().0 - 5 * UtcMs::DAY);
    let ran = Bench { until: Some(until), ..bench.clone() }.start(&store)?.let_through()?;
    match ran.code {
        Some(0) => Ok(store),
        code => Err(format!("the run of the night before ended with {code:?}: {}{}", ran.out, ran.notes)),
    }
}

fn bench(options: &Options, place: &Path) -> Result<Bench, String> {
    let market = place.join("market");
    small_market::write_market(&market.join("bars"), None);
    std::fs::write(market.join("test.yaml"), small_market::CONFIG)
        .map_err(|error| format!("{}: {error}", market.display()))?;
    let own = std::env::current_exe().map_err(|error| format!("this program has no path: {error}"))?;
    let (program, first) = match &options.program {
        Some(program) => (program.clone(), Vec::new()),
        None => (own, vec!["huracan".into()]),
    };
    Ok(Bench { program, first, market, workers: options.workers, until: None, environment: Vec::new() })
}
