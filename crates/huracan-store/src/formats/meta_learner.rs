//! `meta/meta_learner.json`: how much each expert is believed in each regime.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Document;
use super::check::{self, Checked};
use super::wire::Time;

/// The whole document.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct MetaLearner {
    /// The run that wrote it.
    pub run_id: String,
    /// When.
    pub updated_at: Time,
    /// Weights by regime tag.
    pub regimes: BTreeMap<String, ExpertWeights>,
}

/// Belief in one regime; the four weights sum to 1.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ExpertWeights {
    /// The head with codes.
    pub with_codes: f64,
    /// The head without.
    pub without_codes: f64,
    /// The head of all coins.
    pub pooled: f64,
    /// No position.
    pub zero: f64,
    /// Out-of-sample gain over equal weights that justifies them; `null` when not measured.
    pub gain_net_bps: Option<f64>,
    /// Observations behind it.
    pub n: u64,
}

impl Document for MetaLearner {
    const NAME: &'static str = "meta_learner";

    fn check(&self) -> Checked {
        check::run_id("run_id", &self.run_id)?;
        for (tag, w) in &self.regimes {
            check::named("a regime", tag)?;
            let weights = [w.with_codes, w.without_codes, w.pooled, w.zero];
            weights.iter().try_for_each(|&v| check::share(&format!("a weight of {tag}"), Some(v)))?;
            let sum: f64 = weights.iter().sum();
            check::that((sum - 1.0).abs() < 1e-9, || format!("weights of {tag} sum to {sum}, expected 1"))?;
        }
        Ok(())
    }
}
