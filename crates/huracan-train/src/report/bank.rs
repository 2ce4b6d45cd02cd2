//! The feature bank: which features carry which coins.

use super::charts::{Axis, bar, stacked_bar};
use super::data::{BankFeature, ReportData};
use super::sections::{empty, note, table};
use super::text::{count, esc, number, signed};

/// Features shown.
const SHOWN: usize = 30;

/// The features that matter most, by permutation importance where it was measured.
pub(super) fn bank(data: &ReportData) -> String {
    if data.feature_bank.is_empty() {
        return empty("The feature bank is empty: no head was fitted in this run.");
    }
    let mut features: Vec<&BankFeature> = data.feature_bank.iter().collect();
    let measured = features.iter().any(|f| f.delta_net_bps.is_some());
    let key = |v: Option<f64>| v.filter(|v| v.is_finite()).unwrap_or(f64::NEG_INFINITY);
    features.sort_by(|a, b| {
        let by_delta = key(b.delta_net_bps).total_cmp(&key(a.delta_net_bps));
        let by_weight = key(b.weight_share).total_cmp(&key(a.weight_share));
        by_delta.then(by_weight).then_with(|| a.name.cmp(&b.name))
    });
    let shared = features.iter().filter(|f| f.shared).count();
    let total = features.len();
    features.truncate(SHOWN);
    let opening =
        format!("{} features, {} of them shared; the first {} are shown.", total, shared, features.len());
    if measured { by_permutation(&opening, &features) } else { by_weight(&opening, &features) }
}

fn name(feature: &BankFeature) -> String {
    let shared = if feature.shared { " <b class='chip good'>shared</b>" } else { "" };
    format!("{}{shared}", esc(&feature.name))
}

fn by_permutation(opening: &str, features: &[&BankFeature]) -> String {
    let (axis, _) = Axis::of(features.iter().filter_map(|f| f.delta_net_bps));
    let row = |f: &&BankFeature| {
        let error = f.delta_error_bps.filter(|e| e.is_finite());
        let spread = error.map_or(String::new(), |e| format!(" <small>± {}</small>", number(e, 2)));
        vec![
            name(f),
            format!("{}{spread}", signed(f.delta_net_bps, 2)),
            axis.bar(f.delta_net_bps),
            count(f.helped as u64),
            count(f.hurt as u64),
            count(f.neither as u64),
            stacked_bar(&["up", "muted", "down"], &[f.helped as f64, f.neither as f64, f.hurt as f64]),
        ]
    };
    let rows: Vec<_> = features.iter().map(row).collect();
    note(&format!(
        "{opening} Importance is what is lost, in out-of-sample net bps a day and coin, when a feature's \
         column is permuted; a coin counts as helped or hurt beyond its own noise."
    )) + &table(
        &[
            ("feature", ""),
            ("bps a day", "n"),
            ("", "wide"),
            ("helped", "n"),
            ("hurt", "n"),
            ("neither", "n"),
            ("", "wide"),
        ],
        &rows,
    )
}

fn by_weight(opening: &str, features: &[&BankFeature]) -> String {
    let most = features.iter().filter_map(|f| f.weight_share).fold(1e-12, f64::max);
    let row = |f: &&BankFeature| {
        vec![
            name(f),
            number(f.weight_share.map(|w| 100.0 * w), 2),
            bar(f.weight_share.unwrap_or(0.0) / most, "net"),
            count(f.coins_using as u64),
        ]
    };
    let rows: Vec<_> = features.iter().map(row).collect();
    note(&format!(
        "{opening} What a single feature is worth after costs was not measured; shown is its share of the \
         heads' squared weights."
    )) + &table(
        &[("feature", ""), ("weight %", "n"), ("", "wide"), ("coins above an even share", "n")],
        &rows,
    )
}
