//! `manifest.json`: what is in a model's folder, and where it came from. Once it exists the folder
//! never changes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Document;
use super::check::{self, Checked};
use super::wire::{Coin, Time};

/// The four files a manifest vouches for.
pub const ARTIFACTS: [&str; 4] = ["costs.json", "features.json", "metrics.json", "model.bin"];

/// The whole document.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// Hash and size of each of [`ARTIFACTS`].
    pub files: BTreeMap<String, FileDigest>,
    /// Where they came from.
    #[serde(flatten)]
    pub lineage: Lineage,
}

/// A file's content in short.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FileDigest {
    /// SHA-256, 64 hex digits.
    pub sha256: String,
    /// Length.
    pub size_bytes: u64,
}

/// Everything that went into a model: enough to train it again and get the same bytes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Lineage {
    /// The coin.
    pub symbol: Coin,
    /// The run that trained it.
    pub run_id: String,
    /// The encoder its codes come from; `null` for a head without.
    pub encoder_id: Option<String>,
    /// The recipe.
    pub features_id: String,
    /// SHA-256 of the effective configuration.
    pub config_id: String,
    /// Version of the program.
    pub code_version: String,
    /// Where all random draws start.
    pub seed: u64,
    /// Bar length.
    pub bar: String,
    /// The candle files, in the order they were read.
    pub inputs: Vec<InputFile>,
    /// Named ranges of rows: `train`, `validation`, `test`, …
    pub rows: BTreeMap<String, RowRange>,
    /// Start of the first bar that was read.
    pub first_bar: Time,
    /// Start of the last bar that was read.
    pub last_bar: Time,
}

/// A candle file as it was read.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct InputFile {
    /// Relative to the folder of candles the run was given.
    pub path: String,
    /// SHA-256 of the file.
    pub sha256: String,
}

/// Rows of the aligned series, `from` inclusive, `until` exclusive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RowRange {
    /// First row.
    pub from: u64,
    /// First row after.
    pub until: u64,
}

impl Document for Manifest {
    const NAME: &'static str = "manifest";

    fn check(&self) -> Checked {
        let found: Vec<&str> = self.files.keys().map(String::as_str).collect();
        check::that(found == ARTIFACTS, || format!("files are {found:?}, expected {ARTIFACTS:?}"))?;
        for (name, file) in &self.files {
            check::sha256(&format!("files.{name}.sha256"), &file.sha256)?;
        }
        let lineage = &self.lineage;
        check::run_id("run_id", &lineage.run_id)?;
        check::encoder_id("encoder_id", lineage.encoder_id.as_deref())?;
        check::sha256("features_id", &lineage.features_id)?;
        check::sha256("config_id", &lineage.config_id)?;
        check::named("code_version", &lineage.code_version)?;
        check::bar("bar", &lineage.bar)?;
        for input in &lineage.inputs {
            check::relative_path("inputs.path", &input.path)?;
            check::sha256(&format!("inputs.{}.sha256", input.path), &input.sha256)?;
        }
        for (name, rows) in &lineage.rows {
            check::that(rows.from <= rows.until, || {
                format!("rows.{name} run from {} until {}, expected the lower first", rows.from, rows.until)
            })?;
        }
        check::that(lineage.first_bar <= lineage.last_bar, || {
            format!("bars run from {} to {}, expected the earlier first", lineage.first_bar, lineage.last_bar)
        })
    }
}
