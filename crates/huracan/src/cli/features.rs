//! `huracan features`: the table of features.

use super::{Output, World};
use crate::table::{Align, Table};
use crate::wiring;
use serde::Serialize;
use serde_json::json;

/// One feature as the table shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FeatureRow {
    /// Column name, stable.
    pub name: String,
    /// Family: returns, volatility, volume, context, …
    pub family: String,
    /// Bars it looks back on; it is missing before.
    pub lookback_bars: u64,
    /// Unit of its value.
    pub unit: String,
    /// What it measures.
    pub what: String,
    /// Where the definition comes from.
    pub source: String,
}

/// Runs the command.
pub fn run(world: &World) -> Output {
    let rows = wiring::features();
    let columns = [
        ("name", Align::Left),
        ("family", Align::Left),
        ("lookback", Align::Right),
        ("unit", Align::Left),
        ("what", Align::Left),
    ];
    let mut table = Table::new(&columns);
    for row in &rows {
        table.row([
            row.name.clone(),
            row.family.clone(),
            row.lookback_bars.to_string(),
            row.unit.clone(),
            row.what.clone(),
        ]);
    }
    let text = format!("{}\n{} features\n", table.render(world.width), rows.len());
    Output::ok(text, json!({"schema": "huracan-cli-features/1", "features": rows}))
}
