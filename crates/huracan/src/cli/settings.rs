//! From flags and environment to the configuration and the store's place.

use super::{Global, World};
use crate::config::layers::{ENVIRONMENT_PREFIX, Said};
use crate::config::{self, Loaded, Origin, Sources};
use crate::failure::{Exit, Failure};
use clap::Args;
use huracan_core::words::{Market, Timeframe};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Flags that are settings of the configuration.
#[derive(Clone, Debug, Default, Args)]
pub struct CandleFlags {
    /// Length of a bar: 1m 3m 5m 15m 30m 1h 2h 4h 6h 8h 12h 1d [setting: data.bar]
    #[arg(long, value_name = "BAR")]
    pub bar: Option<Timeframe>,
    /// Market of files and symbols that do not say theirs: spot, perp [setting: data.market]
    #[arg(long, value_name = "MARKET")]
    pub market: Option<Market>,
}

impl CandleFlags {
    /// The settings that were given.
    pub fn said(&self) -> Vec<Said> {
        let bar = self.bar.map(|bar| said("data.bar", bar.to_string().into(), "--bar"));
        let market = self.market.map(|market| said("data.market", market.code().into(), "--market"));
        bar.into_iter().chain(market).collect()
    }
}

/// One setting given by a flag.
pub fn said(path: &str, value: Value, flag: &str) -> Said {
    Said { path: path.to_owned(), value, origin: Origin::Flag(flag.to_owned()) }
}

/// The effective configuration: defaults < file < environment < flags.
///
/// # Errors
/// [`Exit::Usage`] when the file cannot be read or the configuration cannot be meant.
pub fn load(global: &Global, world: &World, flags: Vec<Said>) -> Result<Loaded, Failure> {
    let named = global.config.clone().or_else(|| world.variable("HURACAN_CONFIG").map(PathBuf::from));
    load_file(named.as_deref(), world, flags)
}

/// The same with the file named.
///
/// # Errors
/// As [`load`].
pub fn load_file(file: Option<&Path>, world: &World, flags: Vec<Said>) -> Result<Loaded, Failure> {
    let text = file.map(read).transpose()?;
    let name = file.map(|path| path.display().to_string()).unwrap_or_default();
    let environment =
        world.environment.iter().filter(|(key, _)| key.starts_with(ENVIRONMENT_PREFIX)).cloned().collect();
    let sources = Sources { file: text.as_deref().map(|text| (name.as_str(), text)), environment, flags };
    Ok(config::load(&sources, world.cores)?)
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| {
        let message = format!("configuration {} cannot be read: {error}", path.display());
        Failure::new(Exit::Usage, "config_unreadable", message)
            .help("huracan config show > huracan.yaml writes one to start from")
    })
}

/// The store's folder: the flag, else `HURACAN_STORE`, else `./huracan-store`.
pub fn store(global: &Global, world: &World) -> PathBuf {
    let variable = || world.variable("HURACAN_STORE").map(PathBuf::from);
    global.store.clone().or_else(variable).unwrap_or_else(|| PathBuf::from("huracan-store"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_is_named_by_flag_then_variable_then_default() {
        let mut world = World::default();
        let mut global = Global::default();
        assert_eq!(store(&global, &world), PathBuf::from("huracan-store"));
        world.environment.push(("HURACAN_STORE".to_owned(), "a".to_owned()));
        assert_eq!(store(&global, &world), PathBuf::from("a"));
        global.store = Some(PathBuf::from("b"));
        assert_eq!(store(&global, &world), PathBuf::from("b"));
    }

    #[test]
    fn an_empty_variable_is_as_good_as_none() {
        let world = World { environment: vec![("HURACAN_STORE".into(), String::new())], ..World::default() };
        assert_eq!(store(&Global::default(), &world), PathBuf::from("huracan-store"));
    }
}
