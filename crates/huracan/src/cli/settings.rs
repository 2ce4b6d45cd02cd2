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
pub fn load(global: &Global, world: &World, mut flags: Vec<Said>) -> Result<Loaded, Failure> {
    if let Some(place) = world.variable("HURACAN_STORE") {
        let origin = Origin::Environment("HURACAN_STORE".to_owned());
        flags.push(Said { path: "store.url".to_owned(), value: place.into(), origin });
    }
    let place = global.store.as_ref().map(|place| said("store.url", place.as_str().into(), "--store"));
    let local = global.store_local.as_ref();
    let folder = local.map(|folder| said("store.local", folder.as_str().into(), "--store-local"));
    flags.extend(place.into_iter().chain(folder));
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
    let sources = Sources {
        file: text.as_deref().map(|text| (name.as_str(), text)),
        environment,
        flags,
        state_folder: state_folder(world),
    };
    Ok(config::load(&sources, world.cores)?)
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| {
        let message = format!("configuration {} cannot be read: {error}", path.display());
        Failure::new(Exit::Usage, "config_unreadable", message)
            .help("huracan config show > huracan.yaml writes one to start from")
    })
}

/// Where programs of this user keep what they can make again.
fn state_folder(world: &World) -> Option<PathBuf> {
    let home = || world.variable("HOME").map(|home| Path::new(home).join(".local").join("state"));
    let named = ["XDG_STATE_HOME", "LOCALAPPDATA"].into_iter().find_map(|name| world.variable(name));
    named.map(PathBuf::from).filter(|folder| folder.is_absolute()).or_else(home)
}

/// The folder results are in: the place named by flag, else variable, else configuration, where that is
/// a folder; else the folder that is carried to it.
///
/// # Errors
/// As [`load`].
pub fn store(global: &Global, world: &World) -> Result<PathBuf, Failure> {
    Ok(load(global, world, Vec::new())?.store.local)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_is_named_by_flag_then_variable_then_configuration_then_default() {
        let mut world = World::default();
        let mut global = Global::default();
        let check = |global: &Global, world: &World, expected: &str| {
            assert_eq!(store(global, world).unwrap(), PathBuf::from(expected));
        };
        check(&global, &world, "huracan-store");
        world.environment.push(("HURACAN__STORE__URL".to_owned(), "c".to_owned()));
        check(&global, &world, "c");
        world.environment.push(("HURACAN_STORE".to_owned(), "a".to_owned()));
        check(&global, &world, "a");
        global.store = Some("b".to_owned());
        check(&global, &world, "b");
        global.store_local = Some("w".to_owned());
        check(&global, &world, "w");
    }

    #[test]
    fn an_empty_variable_is_as_good_as_none() {
        let world = World { environment: vec![("HURACAN_STORE".into(), String::new())], ..World::default() };
        assert_eq!(store(&Global::default(), &world).unwrap(), PathBuf::from("huracan-store"));
    }

    #[test]
    fn a_remote_store_works_in_a_folder_of_the_user() {
        let global = Global { store: Some("s3://bucket/x".into()), ..Global::default() };
        let folder = |name: &str, value: &str| {
            let world = World { environment: vec![(name.into(), value.into())], ..World::default() };
            store(&global, &world).unwrap()
        };
        assert!(folder("HOME", "/home/a").starts_with("/home/a/.local/state/huracan/stores"));
        assert!(folder("XDG_STATE_HOME", "/state").starts_with("/state/huracan/stores"));
        assert_eq!(store(&global, &World::default()).unwrap_err().exit, Exit::Usage);
    }
}
