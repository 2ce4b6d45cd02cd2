//! `huracan demo`: the whole product on a generated market.

use super::{Global, Output, World, settings};
use crate::failure::{Exit, Failure};
use crate::wiring::{self, Session};
use clap::Args;
use std::path::PathBuf;

/// Where a demo publishes unless `--store` says otherwise: made-up coins never mix with real ones.
const DEMO_STORE: &str = "huracan-demo";

/// Flags of `demo`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Everything is generated from a seed: factors, outages, listings, coins with a planted edge and coins
of pure noise. Nothing is downloaded. The results go to ./huracan-demo unless --store says otherwise,
so that made-up coins never mix with real ones.

Examples:
  huracan demo
  huracan roster --store huracan-demo
  huracan verify all --store huracan-demo")]
pub struct DemoArgs {
    /// Coins worked on at once [setting: engine.parallel_tasks]
    #[arg(long, value_name = "N")]
    pub workers: Option<u64>,
}

/// Runs the command.
///
/// # Errors
/// What the configuration, the store or the run refuse.
pub fn run(args: &DemoArgs, global: &Global, world: &World, session: &Session) -> Result<Output, Failure> {
    let workers = args.workers.map(|n| settings::said("engine.parallel_tasks", n.into(), "--workers"));
    let loaded = settings::load(global, world, workers.into_iter().collect())?;
    let store = match &global.store {
        Some(_) if loaded.store.is_carried() => {
            let message = format!("the demo publishes into a folder, {} is none", loaded.store.url);
            return Err(Failure::new(Exit::Usage, "demo_store", message)
                .help("made-up coins are not carried anywhere: name a folder with --store"));
        }
        Some(_) => loaded.store.local.clone(),
        None => PathBuf::from(DEMO_STORE),
    };
    let summary = wiring::demo(&store, &loaded, session)?;
    Ok(super::train::output(&summary))
}
