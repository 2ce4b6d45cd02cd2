//! Model folders: four artifacts, then the manifest that vouches for them, then read back. A folder
//! with a manifest never changes; one without is work that was cut off and is finished by the next run.
//!
//! Two runs writing the same folder at once are kept apart by the run lock, not here.

use huracan_core::words::{Symbol, UtcMs};

use crate::digest::sha256_hex;
use crate::error::{Result, StoreError};
use crate::formats::check::{self, Checked};
use crate::formats::costs::Costs;
use crate::formats::features::Features;
use crate::formats::head::HeadFile;
use crate::formats::manifest::{ARTIFACTS, FileDigest, Lineage, Manifest};
use crate::formats::metrics::Metrics;
use crate::formats::{from_bytes, to_bytes};
use crate::path::StorePath;
use crate::store::{PutMode, Store};
use crate::typed;

/// Which folder a model belongs in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ModelFolder {
    /// `models/{SYMBOL}/baseline_{DATE}`: trained by the Engine on that UTC day.
    Baseline(UtcMs),
    /// `challengers/{SYMBOL}/{DATE}T{HHMMSS}Z`: tuned by the Mechanic at that second.
    Challenger(UtcMs),
}

impl ModelFolder {
    fn path(self, symbol: &Symbol) -> Result<StorePath> {
        StorePath::new(match self {
            ModelFolder::Baseline(at) => format!("models/{symbol}/baseline_{}", at.date()),
            ModelFolder::Challenger(at) => format!("challengers/{symbol}/{}", at.format("%Y%m%dT%H%M%SZ")),
        })
    }
}

/// The four artifacts of a model.
#[derive(Clone, PartialEq, Debug)]
pub struct ModelArtifacts {
    /// `model.bin`.
    pub head: HeadFile,
    /// `metrics.json`.
    pub metrics: Metrics,
    /// `costs.json`.
    pub costs: Costs,
    /// `features.json`.
    pub features: Features,
}

/// A model as read back: every hash and size held against the manifest.
#[derive(Clone, PartialEq, Debug)]
pub struct Model {
    /// The folder.
    pub path: StorePath,
    /// `manifest.json`.
    pub manifest: Manifest,
    /// The artifacts it vouches for.
    pub artifacts: ModelArtifacts,
}

/// Where a model is after writing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WrittenModel {
    /// The folder.
    pub path: StorePath,
    /// SHA-256 of `model.bin`.
    pub model_sha256: String,
    /// Whether anything had to be written: `false` when the same bytes were there already.
    pub is_new: bool,
}

/// Folders of one coin and day; more than this many different models a day is a loop gone wrong.
const SIBLINGS_MAX: u32 = 1000;

impl ModelArtifacts {
    /// Whether the four are of one model and of this lineage.
    fn check(&self, lineage: &Lineage) -> Checked {
        let (head, recipe) = (&self.head, &self.features.recipe);
        let symbols =
            [&head.symbol, &self.metrics.symbol, &self.costs.symbol, &self.features.symbol, &lineage.symbol];
        let agree = |holds: bool, what: &str, found: &dyn std::fmt::Debug, expected: &dyn std::fmt::Debug| {
            check::that(holds, || format!("{what}: model.bin has {found:?}, expected {expected:?}"))
        };
        check::that(symbols.iter().all(|s| *s == symbols[0]), || {
            format!("the symbols are {:?}, expected one", symbols.map(ToString::to_string))
        })?;
        agree(head.bar == recipe.bar && head.bar == lineage.bar, "bar", &head.bar, &lineage.bar)?;
        agree(head.label == recipe.label, "label", &head.label, &recipe.label)?;
        agree(
            head.features_id == self.features.features_id && head.features_id == lineage.features_id,
            "features_id",
            &head.features_id,
            &self.features.features_id,
        )?;
        agree(head.encoder_id == lineage.encoder_id, "encoder_id", &head.encoder_id, &lineage.encoder_id)?;
        agree(
            recipe.shared_codes == 0 || head.encoder_id.is_some(),
            "encoder_id",
            &head.encoder_id,
            &"an encoder for the shared codes of features.json",
        )?;
        let columns = recipe.shared_codes.saturating_add(recipe.own_columns);
        agree(head.columns.len() as u64 == columns, "columns", &head.columns.len(), &columns)
    }

    /// The bytes of the four, in the order of [`ARTIFACTS`].
    fn to_bytes(&self) -> Result<[Vec<u8>; 4]> {
        Ok([
            to_bytes(&self.costs)?,
            to_bytes(&self.features)?,
            to_bytes(&self.metrics)?,
            self.head.to_bytes()?,
        ])
    }
}

/// Writes a model: the artifacts, their manifest, and everything read back and verified.
///
/// The same four files as in a folder of that day are a no-op (whatever run made them); different
/// ones go to `….2`, `….3`, and so on. Nothing with a manifest is overwritten, and a folder whose
/// files no longer match their manifest is left as it is for a person to look at.
///
/// # Errors
/// `Refused` when the parts do not belong together or break their formats, and whatever the store
/// refuses. After an error the next call ends in the same state as if there had been none.
pub fn write_model_folder(
    store: &dyn Store,
    folder: ModelFolder,
    artifacts: &ModelArtifacts,
    lineage: &Lineage,
) -> Result<WrittenModel> {
    artifacts.check(lineage).map_err(|e| StoreError::refused("a model folder", e))?;
    let contents = artifacts.to_bytes()?;
    let digest = |bytes: &Vec<u8>| FileDigest { sha256: sha256_hex(bytes), size_bytes: bytes.len() as u64 };
    let named = |(name, bytes): (&&str, &Vec<u8>)| ((*name).to_owned(), digest(bytes));
    let manifest =
        Manifest { files: ARTIFACTS.iter().zip(&contents).map(named).collect(), lineage: lineage.clone() };
    let manifest_bytes = to_bytes(&manifest)?;
    let written = |path: StorePath, is_new: bool| WrittenModel {
        path,
        model_sha256: manifest.files["model.bin"].sha256.clone(),
        is_new,
    };

    let base = folder.path(&lineage.symbol)?;
    for number in 1..=SIBLINGS_MAX {
        let path = if number == 1 { base.clone() } else { StorePath::new(format!("{base}.{number}"))? };
        let manifest_path = path.join("manifest.json")?;
        if store.get(&manifest_path)?.is_some() {
            match read_model(store, &path) {
                Ok(model) if model.manifest.files == manifest.files => return Ok(written(path, false)),
                Ok(_) | Err(StoreError::Corrupt { .. } | StoreError::NewerFormat { .. }) => continue,
                Err(error) => return Err(error),
            }
        }
        for (name, bytes) in ARTIFACTS.iter().zip(&contents) {
            typed::settle(store, &path.join(name)?, bytes)?;
        }
        verify_files(store, &path, &manifest)?;
        match store.put(&manifest_path, &manifest_bytes, PutMode::Create) {
            Ok(_) => {}
            Err(StoreError::AlreadyExists { .. }) => continue,
            Err(error) => return Err(error),
        }
        read_model(store, &path)?;
        return Ok(written(path, true));
    }
    Err(StoreError::refused(
        base,
        format!(
            "{SIBLINGS_MAX} different models of that name are there, expected a handful; remove old ones"
        ),
    ))
}

/// The bytes of the four artifacts, each held against its hash and size.
fn verify_files(store: &dyn Store, folder: &StorePath, manifest: &Manifest) -> Result<[Vec<u8>; 4]> {
    let mut contents = [const { Vec::new() }; 4];
    for (name, slot) in ARTIFACTS.iter().zip(&mut contents) {
        let path = folder.join(name)?;
        let bytes = match store.get(&path)? {
            Some(object) => object.bytes,
            None => return Err(StoreError::corrupt(path, "it is missing, expected it as in the manifest")),
        };
        let expected = &manifest.files[*name];
        let found = sha256_hex(&bytes);
        if found != expected.sha256 || bytes.len() as u64 != expected.size_bytes {
            let reason = format!(
                "it has {} bytes and SHA-256 {found}, its manifest says {} bytes and {}",
                bytes.len(),
                expected.size_bytes,
                expected.sha256
            );
            return Err(StoreError::corrupt(path, reason));
        }
        *slot = bytes;
    }
    Ok(contents)
}

/// Reads a manifest alone.
///
/// # Errors
/// `NotFound` without one: the folder is not a finished model.
pub fn read_manifest(store: &dyn Store, folder: &StorePath) -> Result<Manifest> {
    typed::require(
        store,
        &folder.join("manifest.json")?,
        "a model folder without a manifest was never finished; train again",
    )
}

/// Reads a model and verifies it: hashes, sizes, formats, and that the parts belong together.
///
/// # Errors
/// `NotFound` without a manifest, `Corrupt` naming the file that is not as it was written.
pub fn read_model(store: &dyn Store, folder: &StorePath) -> Result<Model> {
    let manifest = read_manifest(store, folder)?;
    let [costs, features, metrics, head] = verify_files(store, folder, &manifest)?;
    let at = |name: &str| format!("{folder}/{name}");
    let artifacts = ModelArtifacts {
        costs: from_bytes(at("costs.json"), &costs)?,
        features: from_bytes(at("features.json"), &features)?,
        metrics: from_bytes(at("metrics.json"), &metrics)?,
        head: HeadFile::from_bytes(at("model.bin"), &head)?,
    };
    artifacts.check(&manifest.lineage).map_err(|e| StoreError::corrupt(folder, e))?;
    let of_folder = folder.segments().nth(1) == Some(manifest.lineage.symbol.to_string().as_str());
    if !of_folder {
        let reason = format!("it holds a model of {}", manifest.lineage.symbol);
        return Err(StoreError::corrupt(folder, reason));
    }
    Ok(Model { path: folder.clone(), manifest, artifacts })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStore;
    use crate::samples;

    fn write(store: &MemoryStore, artifacts: &ModelArtifacts) -> Result<WrittenModel> {
        let symbol = artifacts.head.symbol.to_string();
        write_model_folder(store, samples::folder(), artifacts, &samples::lineage(&symbol))
    }

    #[test]
    fn the_same_bytes_are_a_no_op_and_others_go_beside() {
        let store = MemoryStore::default();
        let first = write(&store, &samples::artifacts("BTCUSDT")).unwrap();
        assert_eq!(first.path.as_str(), "models/BTCUSDT/baseline_20250801");
        assert!(first.is_new);
        let before = store.list(None).unwrap();
        let again = write(&store, &samples::artifacts("BTCUSDT")).unwrap();
        assert_eq!((again.path, again.is_new), (first.path.clone(), false));
        assert_eq!(store.list(None).unwrap(), before);

        let mut other = samples::artifacts("BTCUSDT");
        other.metrics.net_pnl_pct += 1.0;
        let second = write(&store, &other).unwrap();
        assert_eq!(second.path.as_str(), "models/BTCUSDT/baseline_20250801.2");
        assert_eq!(read_model(&store, &second.path).unwrap().artifacts, other);
        assert_eq!(write(&store, &other).unwrap().path, second.path);
        assert!(read_model(&store, &first.path).is_ok());
    }

    #[test]
    fn the_same_bytes_of_a_later_run_keep_the_first_manifest() {
        let store = MemoryStore::default();
        let artifacts = samples::artifacts("BTCUSDT");
        let mut lineage = samples::lineage("BTCUSDT");
        write_model_folder(&store, samples::folder(), &artifacts, &lineage).unwrap();
        lineage.run_id = "20250801T120000Z-00000000".to_owned();
        assert!(!write_model_folder(&store, samples::folder(), &artifacts, &lineage).unwrap().is_new);
    }

    #[test]
    fn a_folder_without_a_manifest_is_finished() {
        let store = MemoryStore::default();
        let half = StorePath::new("models/BTCUSDT/baseline_20250801/model.bin").unwrap();
        store.put(&half, b"half", PutMode::Create).unwrap();
        let written = write(&store, &samples::artifacts("BTCUSDT")).unwrap();
        assert_eq!(written.path.as_str(), "models/BTCUSDT/baseline_20250801");
        assert!(read_model(&store, &written.path).is_ok());
    }

    #[test]
    fn a_file_changed_later_is_found_and_never_written_over() {
        let store = MemoryStore::default();
        let artifacts = samples::artifacts("BTCUSDT");
        let written = write(&store, &artifacts).unwrap();
        let file = written.path.join("metrics.json").unwrap();
        store.put(&file, b"{}", PutMode::Overwrite).unwrap();
        let error = read_model(&store, &written.path).unwrap_err();
        assert!(
            matches!(&error, StoreError::Corrupt { path, .. } if path.ends_with("metrics.json")),
            "{error}"
        );
        assert_eq!(write(&store, &artifacts).unwrap().path.as_str(), "models/BTCUSDT/baseline_20250801.2");
        assert_eq!(store.get(&file).unwrap().unwrap().bytes, b"{}");
    }

    #[test]
    fn parts_of_different_models_are_refused() {
        let check = |spoil: fn(&mut ModelArtifacts), says: &str| {
            let mut artifacts = samples::artifacts("BTCUSDT");
            spoil(&mut artifacts);
            let store = MemoryStore::default();
            let lineage = samples::lineage("BTCUSDT");
            let error = write_model_folder(&store, samples::folder(), &artifacts, &lineage).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
            assert!(store.list(None).unwrap().is_empty());
        };
        check(|a| a.metrics = samples::metrics("ETHUSDT"), "symbols");
        check(|a| a.head.encoder_id = None, "encoder_id");
        check(|a| a.head.features_id = sha256_hex(b"other"), "features_id");
        check(|a| a.head.label.horizon_bars = 12, "label");
        check(|a| a.metrics.sharpe = Some(f64::NAN), "sharpe is NaN");
    }

    #[test]
    fn a_challenger_has_its_own_place() {
        let store = MemoryStore::default();
        let folder = ModelFolder::Challenger(UtcMs(1_754_006_400_000));
        let artifacts = samples::artifacts("BTCUSDT");
        let written = write_model_folder(&store, folder, &artifacts, &samples::lineage("BTCUSDT")).unwrap();
        assert_eq!(written.path.as_str(), "challengers/BTCUSDT/20250801T000000Z");
    }
}
