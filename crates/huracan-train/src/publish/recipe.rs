//! `features.json`: how a coin's bars become the numbers its head reads.

use super::Publication;
use huracan_core::encoder::{Scaler, WINSOR};
use huracan_core::features::{FEATURES, index_of};
use huracan_core::words::Symbol;
use huracan_store::StoreError;
use huracan_store::formats::features::{self, Column, Features, Fill, Recipe, Winsor};
use huracan_store::formats::figures::Label;
use std::collections::{BTreeMap, BTreeSet};

/// Scale of a feature that never varied in training: every value is 0 after dividing by it.
const NEVER_VARIED: f64 = 1e300;
/// Centre and scale that map the missing share of a row, 0..1, onto −1..1.
const MISSING_SHARE: (f64, f64) = (0.5, 0.5);

/// The label of the run as files write it.
pub(super) fn label(publication: &Publication<'_>) -> Label {
    let label = &publication.settings.label;
    Label {
        kind: label.kind.code().to_owned(),
        horizon_bars: label.horizon_bars as u32,
        entry_lag_bars: label.entry_lag_bars as u32,
    }
}

/// The part that all coins with the same number of codes share, with its id.
///
/// # Errors
/// `Refused` when the recipe cannot be hashed.
pub(super) fn recipe(publication: &Publication<'_>, codes: usize) -> Result<(Recipe, String), StoreError> {
    let names = &publication.outcome.feature_names;
    let columns: Vec<Column> = names.iter().map(|name| column(name)).collect();
    let lookbacks: BTreeSet<u64> = columns.iter().map(|c| c.lookback_bars).collect();
    let recipe = Recipe {
        bar: publication.settings.timeframe.to_string(),
        lookbacks: lookbacks.into_iter().collect(),
        own_columns: columns.len() as u64,
        columns,
        fill: Fill { when: "after_scaling".to_owned(), value: 0.0 },
        winsor: Winsor { unit: "mad_sigma".to_owned(), low: -WINSOR, high: WINSOR },
        shared_codes: codes as u64,
        label: label(publication),
    };
    let id = recipe.id()?;
    Ok((recipe, id))
}

/// One line of the FEATURES table; the last column is made from all of them.
fn column(name: &str) -> Column {
    let known = index_of(name).map(|i| &FEATURES[i]);
    Column {
        name: name.to_owned(),
        family: known.map_or("quality", |f| f.family.code()).to_owned(),
        parameters: BTreeMap::new(),
        lookback_bars: known.map_or(1, |f| f.lookback as u64),
        unit: known.map_or("share", |f| f.unit).to_owned(),
    }
}

/// One coin's recipe.
pub(super) fn features(symbol: &Symbol, (recipe, id): &(Recipe, String), scaler: &Scaler) -> Features {
    let scale = scaler.scale.iter().map(|&s| if s > 0.0 { s } else { NEVER_VARIED });
    Features {
        symbol: symbol.into(),
        features_id: id.clone(),
        recipe: recipe.clone(),
        scaler: features::Scaler {
            center: scaler.center.iter().copied().chain([MISSING_SHARE.0]).collect(),
            scale: scale.chain([MISSING_SHARE.1]).collect(),
        },
    }
}
