//! `features.json`: the recipe that turns a coin's bars into the numbers its head reads.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Document;
use super::check::{self, Checked};
use super::figures::Label;
use super::wire::Coin;
use crate::digest::{canonical_json, sha256_hex};
use crate::error::Result;

/// The whole document.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Features {
    /// The coin; not part of `features_id`.
    pub symbol: Coin,
    /// SHA-256 of the [`Recipe`]'s canonical JSON: all coins of a run share it.
    pub features_id: String,
    /// What all coins share.
    #[serde(flatten)]
    pub recipe: Recipe,
    /// What is this coin's own; not part of `features_id`.
    pub scaler: Scaler,
}

/// Everything about the features that is not one coin's.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Recipe {
    /// Bar length, for example `1h`.
    pub bar: String,
    /// The distinct lookbacks in bars, rising.
    pub lookbacks: Vec<u64>,
    /// Every column in order.
    pub columns: Vec<Column>,
    /// What a missing value becomes.
    pub fill: Fill,
    /// Where values are cut.
    pub winsor: Winsor,
    /// How many columns of the head are codes of the shared encoder.
    pub shared_codes: u64,
    /// How many columns of the head are the coin's own.
    pub own_columns: u64,
    /// What the head predicts.
    pub label: Label,
}

/// One feature.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Column {
    /// Its name, as in `model.bin` and the encoder.
    pub name: String,
    /// The family it belongs to, for example `momentum`.
    pub family: String,
    /// Its parameters by name.
    pub parameters: BTreeMap<String, f64>,
    /// Bars it needs before it has a value.
    pub lookback_bars: u64,
    /// Its unit, for example `sigma`.
    pub unit: String,
}

/// What a missing value becomes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Fill {
    /// When it is filled, for example `after_scaling`.
    pub when: String,
    /// With what.
    pub value: f64,
}

/// Where values are cut.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Winsor {
    /// In what measure, for example `mad_sigma`.
    pub unit: String,
    /// Lowest value kept.
    pub low: f64,
    /// Highest value kept.
    pub high: f64,
}

/// Centre and scale of each column, from training rows only.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Scaler {
    /// Median of each column, in the columns' order.
    pub center: Vec<f64>,
    /// MAD × 1.4826 of each column, in the columns' order; more than zero.
    pub scale: Vec<f64>,
}

impl Recipe {
    /// SHA-256 of the canonical JSON: the `features_id`.
    ///
    /// # Errors
    /// `Refused` when the recipe holds a number that is not finite.
    pub fn id(&self) -> Result<String> {
        Ok(sha256_hex(&canonical_json(self)?))
    }
}

impl Document for Features {
    const NAME: &'static str = "features";

    fn check(&self) -> Checked {
        let recipe = &self.recipe;
        check::bar("bar", &recipe.bar)?;
        check::that(recipe.lookbacks.is_sorted_by(|a, b| a < b), || {
            format!("lookbacks are {:?}, expected them rising", recipe.lookbacks)
        })?;
        check::distinct("columns", recipe.columns.iter().map(|c| c.name.as_str()))?;
        check::that(recipe.winsor.low < recipe.winsor.high, || {
            format!("winsor is {} to {}, expected low below high", recipe.winsor.low, recipe.winsor.high)
        })?;
        recipe.label.check()?;
        let columns = recipe.columns.len();
        check::same_len("scaler.center", self.scaler.center.len(), "columns", columns)?;
        check::same_len("scaler.scale", self.scaler.scale.len(), "columns", columns)?;
        self.scaler.scale.iter().try_for_each(|&s| check::positive("a value of scaler.scale", s))?;
        let id = recipe.id().map_err(|e| e.to_string())?;
        check::that(self.features_id == id, || {
            format!("features_id is {:?}, the recipe's hash is {id}", self.features_id)
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::formats::Document as _;
    use crate::samples;

    #[test]
    fn all_coins_of_a_run_share_the_id_and_any_change_of_the_recipe_changes_it() {
        let one = samples::features("BTCUSDT");
        let mut two = samples::features("ETHUSDT");
        two.scaler.center[0] += 1.0;
        assert_eq!(two.check(), Ok(()));
        assert_eq!(one.features_id, two.features_id);
        two.recipe.winsor.high = 5.0;
        assert!(two.check().unwrap_err().contains("features_id"));
    }

    #[test]
    fn a_scaler_of_another_size_is_refused() {
        let mut features = samples::features("BTCUSDT");
        features.scaler.center.pop();
        assert!(features.check().unwrap_err().contains("scaler.center"));
    }
}
