//! `huracan work`: does jobs of runs that other machines coordinate.

use super::{Global, Output, World, settings};
use crate::failure::Failure;
use crate::wiring::{self, Session};
use clap::Args;
use serde_json::json;

/// Flags of `work`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
A run is shared by two addresses: jobs.url, a PostgreSQL database, and the store. huracan train with both
coordinates; huracan work on any machine with the same two does the jobs of whatever run is on. It needs
no candles and no configuration of the run. The first SIGTERM or Ctrl-C drains: nothing new is begun, what
runs is finished (jobs.drain_s), the rest is handed back. A worker that dies costs its leases
(jobs.lease_s), nothing else.

Examples:
  export HURACAN__JOBS__URL=postgres://huracan@db.example/huracan PGPASSWORD=…
  huracan train --candles ./candles --symbols all --store s3://bucket/huracan     on one machine
  huracan work --store s3://bucket/huracan                                        on the others")]
pub struct WorkArgs {
    /// Jobs at a time [default: one a core]
    #[arg(long, value_name = "N")]
    pub workers: Option<u64>,
    /// What others see it called [default: host and process]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// As [`wiring::work`].
pub fn run(args: &WorkArgs, global: &Global, world: &World, session: &Session) -> Result<Output, Failure> {
    let flags = args
        .workers
        .map(|n| settings::said("engine.parallel_tasks", n.into(), "--workers"))
        .into_iter()
        .collect();
    let loaded = settings::load(global, world, flags)?;
    let worked = wiring::work(&loaded, args.name.as_deref(), session)?;
    let text = format!(
        "drained: {} jobs done, {} attempts failed, {} handed back\n",
        worked.done, worked.failed, worked.given_up
    );
    let json = json!({
        "schema": "huracan-cli-work/1",
        "done": worked.done,
        "failed": worked.failed,
        "handed_back": worked.given_up,
    });
    Ok(Output::ok(text, json))
}
