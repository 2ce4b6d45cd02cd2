//! `huracan config`: check a file, show what is in force, print the schema.

use super::{Global, Output, World, settings};
use crate::config::{schema, show};
use crate::failure::Failure;
use clap::Subcommand;
use serde_json::json;
use std::path::PathBuf;

/// What to do with the configuration.
#[derive(Clone, Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the JSON Schema of a configuration file
    #[command(after_help = "\
Every key with its meaning, default and bounds. Editors complete and check against it:
  huracan config schema > huracan.schema.json
and as the first line of huracan.yaml:
  # yaml-language-server: $schema=./huracan.schema.json")]
    Schema,
    /// Check a configuration file; every problem is named with its line and column
    #[command(after_help = "\
Examples:
  huracan config check huracan.yaml
  huracan config check huracan.yaml --json")]
    Check {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Show the effective configuration and who said each value
    #[command(after_help = "\
The output is itself a configuration file.

Examples:
  huracan config show > huracan.yaml
  HURACAN__ENGINE__TARGET_SYMBOLS=200 huracan config show --config huracan.yaml")]
    Show,
}

/// Runs the command.
///
/// # Errors
/// [`crate::failure::Exit::Usage`] when the configuration cannot be meant.
pub fn run(command: &ConfigCommand, global: &Global, world: &World) -> Result<Output, Failure> {
    match command {
        ConfigCommand::Schema => {
            let schema = schema::schema();
            Ok(Output::ok(format!("{schema:#}\n"), schema))
        }
        ConfigCommand::Check { file } => {
            // The file alone: what the environment says on this machine is no fault of the file.
            let alone = World { environment: Vec::new(), ..world.clone() };
            let loaded = settings::load_file(Some(file), &alone, Vec::new())?;
            let id = &loaded.config.config_id;
            let text = format!("{}: ok, config_id {id}\n", file.display());
            Ok(Output::ok(text, json!({"schema": "huracan-cli-config-check/1", "ok": true, "config_id": id})))
        }
        ConfigCommand::Show => {
            let loaded = settings::load(global, world, Vec::new())?;
            Ok(Output::ok(show::yaml(&loaded), show::json(&loaded)))
        }
    }
}
