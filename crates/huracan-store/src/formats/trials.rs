//! A line of `champions/trials.jsonl`: what a run has tried, chained by hashes so that a line changed,
//! lost or put in later shows.

use serde::{Deserialize, Serialize};

use super::Document;
use super::check::{self, Checked};
use super::wire::Time;
use crate::chained::Link;
use crate::digest::{canonical_json, sha256_hex};
use crate::error::Result;

/// The line: what was tried, and its links.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TrialLine {
    /// What was tried.
    #[serde(flatten)]
    pub run: RunTrials,
    /// Trials of this run and of all lines before it, whatever their data ended.
    pub cumulative_trials: u64,
    /// `hash` of the line before; `null` on the first.
    pub prev: Option<String>,
    /// SHA-256 of the canonical JSON of the run, `cumulative_trials` and `prev`.
    pub hash: String,
}

/// What one run has tried.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RunTrials {
    /// The run.
    pub run_id: String,
    /// End of its data.
    pub until: Time,
    /// Variants tried for each coin: lanes that may be deployed times policies.
    pub variants: u64,
    /// Coins judged.
    pub coins: u64,
    /// Variance over coins of their Sharpe ratios per day; `null` when fewer than two are defined.
    pub sharpe_variance: Option<f64>,
}

impl RunTrials {
    /// Trials of the run: every variant of every coin.
    pub fn trials(&self) -> u64 {
        self.variants.saturating_mul(self.coins)
    }
}

#[derive(Serialize)]
struct Linked<'a> {
    run: &'a RunTrials,
    cumulative_trials: u64,
    prev: Option<&'a str>,
}

impl TrialLine {
    /// Chains a run to the line before.
    ///
    /// # Errors
    /// `Refused` when a number is not finite.
    pub fn chain(run: RunTrials, before: Option<&TrialLine>) -> Result<TrialLine> {
        let cumulative_trials = before.map_or(0, |line| line.cumulative_trials).saturating_add(run.trials());
        TrialLine::linked(run, cumulative_trials, before.map(|line| line.hash.as_str()))
    }

    fn linked(run: RunTrials, cumulative_trials: u64, prev: Option<&str>) -> Result<TrialLine> {
        let hash = sha256_hex(&canonical_json(&Linked { run: &run, cumulative_trials, prev })?);
        Ok(TrialLine { run, cumulative_trials, prev: prev.map(str::to_owned), hash })
    }
}

impl Link for TrialLine {
    fn prev(&self) -> Option<&str> {
        self.prev.as_deref()
    }
    fn hash(&self) -> &str {
        &self.hash
    }
}

impl Document for TrialLine {
    const NAME: &'static str = "trials";

    fn check(&self) -> Checked {
        check::run_id("run_id", &self.run.run_id)?;
        check::not_negative("sharpe_variance", self.run.sharpe_variance.unwrap_or(0.0))?;
        check::that(self.cumulative_trials >= self.run.trials(), || {
            let (found, own) = (self.cumulative_trials, self.run.trials());
            format!("cumulative_trials is {found}, expected at least the run's own {own}")
        })?;
        let expected = TrialLine::linked(self.run.clone(), self.cumulative_trials, self.prev.as_deref())
            .map_err(|e| e.to_string())?;
        check::that(self.hash == expected.hash, || {
            format!("hash is {:?}, the line's content has {}", self.hash, expected.hash)
        })
    }
}
