//! `work/{run}/`: what machines that share a run leave for each other until it is done. No file of the
//! contract: nothing points into it, and what is lost of it is made again.

use serde::{Deserialize, Serialize};

use crate::digest::is_hex;
use crate::error::{Result, StoreError};
use crate::formats::wire::Time;
use crate::path::StorePath;
use crate::store::{PutMode, Store};
use huracan_core::words::UtcMs;

/// The folder of the store that all runs' leavings are below.
pub const FOLDER: &str = "work";
/// The file that says since when somebody coordinates a run. The first to be written, the last to go.
pub const BEGUN: &str = "begun.json";
/// Hex digits of a run's hash, as in its id.
const RUN_DIGITS: usize = 8;
/// What there is in a run's folder.
const KINDS: [&str; 5] = [BEGUN, "parts", "keys", "results", "columns"];

#[derive(Serialize, Deserialize)]
struct Begun {
    begun_at: Time,
}

/// A run's folder. `run` is the hash of its inputs, as in its id.
///
/// # Errors
/// `Refused` when `run` cannot be part of a path.
pub fn folder(run: &str) -> Result<StorePath> {
    StorePath::new(format!("{FOLDER}/{run}"))
}

/// Notes that a run is coordinated from `at` on, anew where it was stopped before.
///
/// # Errors
/// What the store refuses.
pub fn begin(store: &dyn Store, run: &str, at: UtcMs) -> Result<()> {
    let path = folder(run)?.join(BEGUN)?;
    let bytes =
        serde_json::to_vec(&Begun { begun_at: Time(at) }).map_err(|e| StoreError::refused(&path, e))?;
    store.put(&path, &bytes, PutMode::Overwrite).map(drop)
}

/// Whether a path is one that this program leaves below [`FOLDER`], and of which run's folder.
pub fn folder_of(path: &StorePath) -> Option<StorePath> {
    let mut segments = path.segments();
    let (first, run, kind) = (segments.next()?, segments.next()?, segments.next()?);
    let is_ours = first == FOLDER && is_hex(run, RUN_DIGITS) && KINDS.contains(&kind);
    is_ours.then(|| folder(run).ok()).flatten()
}

/// Since when the run of a folder is coordinated; `None` where nothing says so that can be read.
///
/// # Errors
/// What the store refuses.
pub fn begun(store: &dyn Store, folder: &StorePath) -> Result<Option<UtcMs>> {
    let found = store.get(&folder.join(BEGUN)?)?;
    let begun = found.and_then(|object| serde_json::from_slice::<Begun>(&object.bytes).ok());
    Ok(begun.map(|begun| begun.begun_at.0))
}
