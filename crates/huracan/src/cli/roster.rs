//! `huracan roster`: the ranked list of the last published run.

use super::{Global, Output, World, settings};
use crate::failure::Failure;
use crate::table::{Align, Table, figure};
use crate::wiring;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// The published roster, as far as a table shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct RosterView {
    /// `YYYYMMDD` of the run.
    pub date: String,
    /// The run that published it.
    pub run_id: String,
    /// When it stops being fresh.
    pub expires_at: String,
    /// Whether it has stopped being fresh.
    pub stale: bool,
    /// Coins with a champion, best first.
    pub rows: Vec<RosterRow>,
    /// Coins that did not pass their gates: symbol and codes.
    pub skipped: Vec<(String, Vec<String>)>,
    /// Coins whose job broke: symbol and error.
    pub failed: Vec<(String, String)>,
    /// `roster.json` as stored; `--json` prints it unchanged.
    pub document: Value,
}

/// One coin of the roster. Undefined figures are `None`.
#[derive(Clone, Debug, PartialEq)]
pub struct RosterRow {
    /// 1 is best.
    pub rank: u64,
    /// The coin.
    pub symbol: String,
    /// Whether it may be proposed for trading.
    pub trade_ok: bool,
    /// Net over the out-of-sample window, percent of capital.
    pub net_pnl_pct: Option<f64>,
    /// Annualised Sharpe ratio of daily net returns.
    pub sharpe: Option<f64>,
    /// Share of trades with net > 0, 0..1.
    pub hit_rate: Option<f64>,
    /// Largest drawdown of the net curve, percent.
    pub max_drawdown_pct: Option<f64>,
    /// Out-of-sample trades.
    pub sample_size: u64,
    /// Round trip, basis points.
    pub total_cost_bps: Option<f64>,
    /// Net of the last seven days' trades, basis points.
    pub last_7d_net_bps: Option<f64>,
    /// Code of the first gate of `trade_ok` that fails.
    pub first_reason: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// What the store refuses.
pub fn run(global: &Global, world: &World) -> Result<Output, Failure> {
    let store = settings::store(global, world)?;
    let view = wiring::roster(&store)?;
    Ok(Output::ok(text(&view, &store, world.width), view.document))
}

fn text(view: &RosterView, store: &Path, width: Option<usize>) -> String {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("rank", Right),
        ("symbol", Left),
        ("trade", Left),
        ("net %", Right),
        ("sharpe", Right),
        ("hit", Right),
        ("dd %", Right),
        ("trades", Right),
        ("cost bps", Right),
        ("7d bps", Right),
        ("first gate not passed", Left),
    ]);
    for row in &view.rows {
        table.row([
            row.rank.to_string(),
            row.symbol.clone(),
            if row.trade_ok { "yes" } else { "no" }.to_owned(),
            figure(row.net_pnl_pct, 2),
            figure(row.sharpe, 2),
            figure(row.hit_rate, 2),
            figure(row.max_drawdown_pct, 1),
            row.sample_size.to_string(),
            figure(row.total_cost_bps, 1),
            figure(row.last_7d_net_bps, 1),
            row.first_reason.clone().unwrap_or_default(),
        ]);
    }
    let ok = view.rows.iter().filter(|row| row.trade_ok).count();
    let freshness = if view.stale { "STALE since" } else { "fresh until" };
    let mut text = format!("run {}, {freshness} {}\n\n", view.run_id, view.expires_at);
    text.push_str(&table.render(width));
    let (ranked, skipped, failed) = (view.rows.len(), view.skipped.len(), view.failed.len());
    text.push_str(&format!("\n{ok} of {ranked} coins may be traded; {skipped} skipped, {failed} failed\n"));
    if ok == 0 {
        text.push_str("No coin may be traded. That is a result: nothing survived its costs and gates.\n");
    }
    let mut codes: BTreeMap<&str, usize> = BTreeMap::new();
    for code in view.skipped.iter().flat_map(|(_, codes)| codes) {
        *codes.entry(code).or_default() += 1;
    }
    for (code, coins) in codes {
        text.push_str(&format!("  skipped: {code} ({coins})\n"));
    }
    for (symbol, error) in &view.failed {
        text.push_str(&format!("  failed: {symbol}: {error}\n"));
    }
    text.push_str(&format!("next: huracan why SYMBOL --store {}\n", store.display()));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_list_of_tradable_coins_is_said_to_be_a_result() {
        let row = RosterRow {
            rank: 1,
            symbol: "BTCUSDT.P".into(),
            trade_ok: false,
            net_pnl_pct: Some(-1.25),
            sharpe: None,
            hit_rate: Some(0.5),
            max_drawdown_pct: Some(3.0),
            sample_size: 41,
            total_cost_bps: Some(11.0),
            last_7d_net_bps: Some(0.0),
            first_reason: Some("net_pnl_pct".into()),
        };
        let view = RosterView {
            date: "20250701".into(),
            run_id: "R".into(),
            expires_at: "2025-07-03T00:00:00Z".into(),
            stale: true,
            rows: vec![row],
            skipped: vec![("AUSDT".into(), vec!["stale".into()]), ("BUSDT".into(), vec!["stale".into()])],
            failed: vec![("CUSDT".into(), "boom".into())],
            document: Value::Null,
        };
        let text = text(&view, Path::new("s"), None);
        for part in
            ["STALE since", "0 of 1 coins", "That is a result", "stale (2)", "failed: CUSDT: boom", "–"]
        {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }
}
