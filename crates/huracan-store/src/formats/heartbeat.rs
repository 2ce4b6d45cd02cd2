//! `heartbeats/*.json`: what a program is doing right now. Written every 30 s, stale after 90 s.

use serde::{Deserialize, Serialize};

use super::Document;
use super::check::{self, Checked};
use super::wire::{Coin, Time};

/// The whole document.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Heartbeat {
    /// When it beat.
    pub utc_timestamp: Time,
    /// `loading`, `training`, `validating`, `publishing`, `complete`, `failed`, or the service's own.
    pub phase: String,
    /// The coin being worked on.
    pub current_symbol: Option<Coin>,
    /// Share done, 0 to 1.
    pub progress: f64,
    /// Pieces done.
    pub done: u64,
    /// Pieces in all.
    pub total: u64,
    /// Seconds left; `null` when nobody can tell.
    pub eta_s: Option<f64>,
    /// The latest error.
    pub last_error: Option<String>,
    /// The stage within the phase; absent in older files and between stages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
}

impl Document for Heartbeat {
    const NAME: &'static str = "heartbeat";

    fn check(&self) -> Checked {
        check::named("phase", &self.phase)?;
        check::share("progress", Some(self.progress))?;
        check::that(self.done <= self.total, || {
            format!("{} of {} are done, expected at most all", self.done, self.total)
        })?;
        self.eta_s.map_or(Ok(()), |eta| check::not_negative("eta_s", eta))
    }
}
