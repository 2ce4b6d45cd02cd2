//! `meta/feature_bank.json`: which features help which coins. One writer, once a run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Document;
use super::check::{self, Checked};
use super::wire::{Coin, Time};

/// The whole document.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct FeatureBank {
    /// The run that wrote it.
    pub run_id: String,
    /// When.
    pub updated_at: Time,
    /// Each feature over all coins.
    pub features: BTreeMap<String, FeatureRecord>,
    /// Each coin over all features.
    pub symbols: BTreeMap<Coin, CoinRecord>,
    /// Features worth sharing, best first.
    pub shared_features: Vec<String>,
    /// Every feature in the order the next run should take them; absent in older files and where no
    /// feature's worth was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Vec<String>>,
}

/// A feature over all coins.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct FeatureRecord {
    /// Coins whose head uses it.
    pub symbols_using: Vec<Coin>,
    /// Mean importance over those coins.
    pub avg_importance: f64,
    /// Largest importance.
    pub max_importance: f64,
    /// Share of all coins that use it.
    pub share_of_symbols: f64,
    /// Mean rank among a coin's features, 1 is best; `null` when nobody uses it.
    pub mean_rank: Option<f64>,
    /// What `shared_features` and `priority` are sorted by: the mean difference times the share of the
    /// coins it helps (below 0: hurts); 0 when not measured.
    pub score: f64,
    /// Coins it helped after costs.
    pub helped: u64,
    /// Coins it hurt.
    pub hurt: u64,
    /// Mean after-cost difference it made; `null` when not measured.
    pub mean_delta_net_bps: Option<f64>,
}

/// A coin over all features.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CoinRecord {
    /// Importance by feature.
    pub feature_importance: BTreeMap<String, f64>,
    /// After-cost difference by feature, where measured.
    pub delta_net_bps: BTreeMap<String, f64>,
    /// What the shared encoder was worth; `null` when not measured.
    pub encoder_gain_net_bps: Option<f64>,
    /// Kind of the head.
    pub model_type: String,
    /// When this entry was last changed.
    pub updated_at: Time,
}

impl Document for FeatureBank {
    const NAME: &'static str = "feature_bank";

    fn check(&self) -> Checked {
        check::run_id("run_id", &self.run_id)?;
        check::distinct("shared_features", self.shared_features.iter().map(String::as_str))?;
        let unknown = self.shared_features.iter().find(|name| !self.features.contains_key(*name));
        check::that(unknown.is_none(), || {
            format!("shared_features has {unknown:?}, which is not in features")
        })?;
        if let Some(priority) = &self.priority {
            check::distinct("priority", priority.iter().map(String::as_str))?;
            let unknown = priority.iter().find(|name| !self.features.contains_key(*name));
            check::that(unknown.is_none(), || format!("priority has {unknown:?}, which is not in features"))?;
        }
        for (name, feature) in &self.features {
            check::named("a feature", name)?;
            check::share(&format!("features.{name}.share_of_symbols"), Some(feature.share_of_symbols))?;
            let using: Vec<String> = feature.symbols_using.iter().map(Coin::to_string).collect();
            check::distinct(&format!("features.{name}.symbols_using"), using.iter().map(String::as_str))?;
        }
        self.symbols.iter().try_for_each(|(symbol, coin)| {
            check::named(&format!("symbols.{symbol}.model_type"), &coin.model_type)
        })
    }
}
