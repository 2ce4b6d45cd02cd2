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
    /// Weights by regime tag; empty when there was nothing to learn from.
    pub regimes: BTreeMap<String, ExpertWeights>,
    /// Whether the weights may be used: the gain's interval lies above zero. Heads are published
    /// unmixed either way; absent in older files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<bool>,
    /// What the mixture earned out of sample beyond what is deployed; absent in older files and
    /// where it could not be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gain: Option<MixtureGain>,
}

/// Mixture minus deployed, over all coins.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct MixtureGain {
    /// Mean difference of daily net, bps of the average coin's capital.
    pub mean_net_bps: f64,
    /// 90 % bootstrap interval of the mean; `null` with too few days or no difference.
    pub interval_net_bps: Option<[f64; 2]>,
    /// Days compared.
    pub n_days: u64,
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
        let interval = self.gain.as_ref().and_then(|gain| gain.interval_net_bps);
        check::interval("gain.interval_net_bps", interval)?;
        let above = interval.is_some_and(|[low, _]| low > 0.0);
        check::that(above || self.used != Some(true), || {
            format!("used is true with the gain's interval {interval:?}, expected it above 0")
        })
    }
}
