//! The one place where the shell meets the Engine, the store and the market data.
//!
//! What lives here: one function a command, from a typed request to a typed answer, and a file for
//! each group of them. What does not: parsing and printing (`cli`), and any decision (the crates
//! below). Failures of the crates below become the shell's own in `failures`, each with its exit code.

mod candles;
mod champion;
mod demo;
mod export;
mod failures;
mod fetch;
mod jobs;
mod lookahead;
mod metrics;
mod published;
mod records;
mod settings;
pub mod store;
mod train;
mod verify;
mod why;

pub use candles::{data_check, data_import};
pub use champion::{RollbackPlan, champion, champion_at, champion_history, roll_back, rollback_plan};
pub use demo::demo;
pub use export::export;
pub use fetch::data_fetch;
pub use jobs::{Records, nobody_coordinates, records as job_records, work};
pub use lookahead::lookahead;
pub use published::roster;
pub use records::{costs, failures, status};
pub use train::train;
pub use verify::verify;
pub use why::why;

use crate::cli::features::FeatureRow;
use crate::progress::Observer;
use huracan_core::features::{FEATURES, FeatureDef};
use huracan_core::words::UtcMs;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// What long work needs from its surroundings.
#[derive(Clone)]
pub struct Session {
    /// Who watches.
    pub observer: Arc<dyn Observer>,
    /// Set when a person asks to stop; polled at safe points.
    pub interrupted: Arc<AtomicBool>,
}

/// The time of day.
fn now() -> UtcMs {
    UtcMs(jiff::Timestamp::now().as_millisecond())
}

/// The Engine's stages, passed on to whoever draws them.
struct Drawn<'a> {
    observer: &'a dyn Observer,
    began: Mutex<BTreeMap<&'static str, Instant>>,
}

impl<'a> Drawn<'a> {
    fn new(observer: &'a dyn Observer) -> Drawn<'a> {
        Drawn { observer, began: Mutex::default() }
    }
}

impl huracan_train::engine::Observer for Drawn<'_> {
    fn stage_started(&self, stage: &'static str, total: usize) {
        self.began.lock().unwrap_or_else(PoisonError::into_inner).insert(stage, Instant::now());
        self.observer.stage_started(stage, total as u64);
    }

    fn stage_advanced(&self, stage: &'static str, done: usize, detail: &str) {
        self.observer.stage_advanced(stage, done as u64, detail);
    }

    fn stage_finished(&self, stage: &'static str) {
        let began = self.began.lock().unwrap_or_else(PoisonError::into_inner).remove(stage);
        if let Some(began) = began {
            self.observer.stage_finished(stage, began.elapsed().as_secs_f64());
        }
    }

    fn note(&self, text: &str) {
        self.observer.note(text);
    }
}

/// Every feature there is, in column order.
pub fn features() -> Vec<FeatureRow> {
    let row = |feature: &FeatureDef| FeatureRow {
        name: feature.name.to_owned(),
        family: feature.family.code().to_owned(),
        lookback_bars: feature.lookback as u64,
        unit: feature.unit.to_owned(),
        what: feature.doc.to_owned(),
        source: feature.source.to_owned(),
    };
    FEATURES.iter().map(row).collect()
}
