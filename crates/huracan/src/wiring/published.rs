//! `huracan roster`: the published list as it is shown.

use super::{now, train::open};
use crate::cli::roster::{RosterRow, RosterView};
use crate::failure::{Exit, Failure};
use huracan_store::formats::roster::{Roster, RosterLine};
use huracan_store::{LocalStore, Store as _, StoreError, StorePath, roster as rosters};
use std::path::Path;

/// The published roster.
///
/// # Errors
/// [`Exit::Store`] when there is none or it cannot be read.
pub fn roster(store: &Path) -> Result<RosterView, Failure> {
    let store = open(store)?;
    let roster = read(&store)?;
    let row = |line: &RosterLine| RosterRow {
        rank: line.rank,
        symbol: line.symbol.to_string(),
        trade_ok: line.trade_ok,
        net_pnl_pct: Some(line.metrics.net_pnl_pct),
        sharpe: line.metrics.sharpe,
        hit_rate: line.metrics.hit_rate,
        max_drawdown_pct: Some(line.metrics.max_drawdown_pct),
        sample_size: line.metrics.sample_size,
        total_cost_bps: Some(line.total_cost_bps),
        last_7d_net_bps: Some(line.last_7d_net_bps),
        first_reason: line.trade_ok_reasons.iter().find(|gate| !gate.passed).map(|gate| gate.gate.clone()),
    };
    let codes = |line: &huracan_store::formats::roster::Skipped| {
        line.skip_reasons.iter().map(|reason| reason.code.clone()).collect()
    };
    Ok(RosterView {
        date: roster.date.clone(),
        run_id: roster.run_id.clone(),
        expires_at: roster.expires_at.to_string(),
        stale: roster.expires_at.0 <= now(),
        rows: roster.symbols.iter().map(row).collect(),
        skipped: roster.skipped.iter().map(|line| (line.symbol.clone(), codes(line))).collect(),
        failed: roster.failed.iter().map(|line| (line.symbol.clone(), line.error.clone())).collect(),
        document: document(&store)?,
    })
}

/// The roster, which must be there.
pub(super) fn read(store: &LocalStore) -> Result<Roster, Failure> {
    match rosters::read(store)? {
        Some((roster, _)) => Ok(roster),
        None => {
            let message = format!("{}: no roster has been published there", store.root().display());
            Err(Failure::new(Exit::Store, "store_not_found", message)
                .help("huracan train publishes one, huracan demo one of a generated market"))
        }
    }
}

/// The file as it stands.
fn document(store: &LocalStore) -> Result<serde_json::Value, Failure> {
    let object = store.get(&StorePath::new("champions/roster.json")?)?;
    let bytes = object.map_or_else(Vec::new, |object| object.bytes);
    serde_json::from_slice(&bytes).map_err(|error| {
        let path = "champions/roster.json".to_owned();
        StoreError::Corrupt { path, reason: error.to_string() }.into()
    })
}
