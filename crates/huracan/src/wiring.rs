//! The one place where the shell meets the Engine, the store and the market data.
//!
//! What lives here: one function a command, from a typed request to a typed answer. What does not:
//! parsing and printing (`cli`), and any decision (the crates below). Failures of the crates below
//! become [`Failure`]s here, each with its exit code.

use crate::cli::data::{CheckRequest, CheckedCandles, FetchRequest, Fetched, ImportRequest, Imported};
use crate::cli::features::FeatureRow;
use crate::cli::roster::RosterView;
use crate::cli::train::{RunSummary, TrainRequest};
use crate::cli::verify::{VerifyRequest, VerifyRow};
use crate::cli::why::WhyView;
use crate::config::EngineConfig;
use crate::failure::{Exit, Failure};
use crate::progress::Observer;
use huracan_core::words::Symbol;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// What long work needs from its surroundings.
#[derive(Clone)]
pub struct Session {
    /// Who watches.
    pub observer: Arc<dyn Observer>,
    /// Set when a person asks to stop; polled at safe points.
    pub interrupted: Arc<AtomicBool>,
}

fn not_wired(command: &str) -> Failure {
    Failure::new(Exit::Unexpected, "not_wired", format!("{command} is not wired to the Engine in this build"))
}

/// Generates a market, trains on it and publishes into `store`.
///
/// # Errors
/// As [`train`].
pub fn demo(_store: &Path, _config: &EngineConfig, _session: &Session) -> Result<RunSummary, Failure> {
    Err(not_wired("demo"))
}

/// One run of the Engine.
///
/// # Errors
/// [`Exit::InputData`] when no candles can be read, [`Exit::Store`] when the store refuses or is
/// held by another run, [`Exit::Interrupted`] when a person stopped it. A run that publishes
/// nothing is an answer (`published: false`), not an error.
pub fn train(
    _request: &TrainRequest,
    _config: &EngineConfig,
    _session: &Session,
) -> Result<RunSummary, Failure> {
    Err(not_wired("train"))
}

/// The published roster.
///
/// # Errors
/// [`Exit::Store`] when there is none or it cannot be read.
pub fn roster(_store: &Path) -> Result<RosterView, Failure> {
    Err(not_wired("roster"))
}

/// Why a coin stands where it stands. `names` are the symbols the text may mean, likeliest first.
///
/// # Errors
/// [`Exit::Usage`] when the roster knows none of them, [`Exit::Store`] when it cannot be read.
pub fn why(_store: &Path, _names: &[Symbol]) -> Result<WhyView, Failure> {
    Err(not_wired("why"))
}

/// Checks stored results against their manifests, and by training again where asked.
///
/// # Errors
/// [`Exit::Store`] when the store cannot be read. A result that does not verify is a row.
pub fn verify(
    _request: &VerifyRequest,
    _config: &EngineConfig,
    _session: &Session,
) -> Result<Vec<VerifyRow>, Failure> {
    Err(not_wired("verify"))
}

/// What is in a folder of candles and what the gates say to it.
///
/// # Errors
/// [`Exit::InputData`] when the folder cannot be read. A broken series is a row.
pub fn data_check(
    _request: &CheckRequest,
    _config: &EngineConfig,
    _session: &Session,
) -> Result<Vec<CheckedCandles>, Failure> {
    Err(not_wired("data check"))
}

/// Copies candles of any known form into the local candle store.
///
/// # Errors
/// [`Exit::InputData`] when the folder cannot be read. A series that fails is a row.
pub fn data_import(
    _request: &ImportRequest,
    _config: &EngineConfig,
    _session: &Session,
) -> Result<Vec<Imported>, Failure> {
    Err(not_wired("data import"))
}

/// Downloads candles from the exchange's archive and REST API.
///
/// # Errors
/// [`Exit::Network`] when nothing can be reached. A symbol that fails is a row.
pub fn data_fetch(
    _request: &FetchRequest,
    _config: &EngineConfig,
    _session: &Session,
) -> Result<Vec<Fetched>, Failure> {
    Err(not_wired("data fetch"))
}

/// Every feature there is, in column order.
///
/// # Errors
/// None once wired; the table is compiled in.
pub fn features() -> Result<Vec<FeatureRow>, Failure> {
    Err(not_wired("features"))
}
