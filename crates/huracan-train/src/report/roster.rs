//! The ranked list, the panel that opens on a coin, and the data that panel draws from.

use super::charts::{sparkline, thin};
use super::data::{ReportData, RosterRow};
use super::sections::empty;
use super::text::{esc, number, script_json, signed, usd};
use huracan_core::words::UtcMs;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt::Write;

/// Values a coin's big chart keeps at most.
const CURVE_POINTS: usize = 240;

/// Heading, tooltip, alignment.
const COLUMNS: &[(&str, &str, &str)] = &[
    ("#", "Rank", "n"),
    ("Coin", "Symbol", "sym"),
    ("Verdict", "trade_ok, or the first gate that failed", "verdict"),
    ("Net curve", "Out-of-sample cumulative net", "curve"),
    ("Sharpe", "Annualised, daily net returns", "n"),
    ("Net %", "Out-of-sample net profit, percent of capital", "n"),
    ("Trades", "Out-of-sample trades", "n"),
    ("Hit %", "Trades with net above zero", "n"),
    ("Drawdown %", "Largest fall of the net curve", "n"),
    ("7 d bps", "After-cost bps of the last seven days", "n"),
    ("Fee", "Taker fee, one side, bps", "n"),
    ("Spread", "Full spread, bps", "n"),
    ("Slip", "Slippage, one side at the reference size, bps", "n"),
    ("Round trip", "All costs of a round trip, bps", "n"),
    ("ADV $", "Median daily volume", "n"),
    ("Capacity $", "Order size at which the expected edge is gone", "n"),
];

/// The roster table with its controls.
pub(super) fn roster(data: &ReportData) -> String {
    if data.roster.is_empty() {
        return empty(
            "No coin was ranked in this run. The skip reasons below say why; an empty roster is a \
             valid result.",
        );
    }
    let mut out = String::from(
        "<p class='controls' hidden><label class='search'><span>Filter</span><input type='search' \
         id='filter' placeholder='symbol or gate' autocomplete='off'></label><label><input \
         type='checkbox' id='only-ok'> trade_ok only</label><output id='shown'></output></p>\n\
         <div class='scroll tall'><table id='roster-table'><thead><tr>",
    );
    for (name, tip, class) in COLUMNS {
        let _ = write!(out, "<th scope='col' class='{class}' title='{tip}'>{name}</th>");
    }
    out.push_str("</tr></thead><tbody>\n");
    for (index, row) in data.roster.iter().enumerate() {
        write_row(&mut out, index, row);
    }
    out.push_str("</tbody></table></div>\n");
    out
}

fn write_row(out: &mut String, index: usize, row: &RosterRow) {
    let _ = write!(out, "<tr data-i='{index}' class='{}'>", if row.trade_ok { "ok" } else { "no" });
    let _ = write!(out, "<td class='n' data-v='{0}'>{0}</td>", row.rank);
    let symbol = esc(&row.symbol);
    let _ = write!(
        out,
        "<th scope='row' class='sym' data-v='{symbol}'><button type='button'>{symbol}</button></th>"
    );
    let missed: Vec<_> = row.reasons.iter().filter(|r| !r.passed).collect();
    let _ = write!(out, "<td class='verdict' data-v='{}'>", missed.len());
    match (row.trade_ok, missed.as_slice()) {
        (true, _) => out.push_str("<b class='chip good'>trade_ok</b>"),
        (false, []) => out.push_str("<span class='chip'>not ok</span>"),
        (false, [first, rest @ ..]) => {
            let _ = write!(out, "<span class='chip'>{}</span>", esc(&first.gate));
            if !rest.is_empty() {
                let _ = write!(out, " <small>+{}</small>", rest.len());
            }
        }
    }
    out.push_str("</td>");
    let end = row.equity.pct.iter().rev().find(|v| v.is_finite()).copied();
    let mut cell = |class: &str, value: Option<f64>, text: String| {
        let value = value.filter(|v| v.is_finite()).map(sort_key).unwrap_or_default();
        let _ = write!(out, "<td class='{class}' data-v='{value}'>{text}</td>");
    };
    cell("curve", end, sparkline(&row.equity.pct));
    cell("n", row.sharpe, number(row.sharpe, 2));
    let tone = match row.net_pnl_pct {
        Some(net) if net > 0.0 => "n up",
        Some(net) if net < 0.0 => "n down",
        _ => "n",
    };
    cell(tone, row.net_pnl_pct, signed(row.net_pnl_pct, 1));
    cell("n", Some(row.sample_size as f64), row.sample_size.to_string());
    cell("n", row.hit_rate, number(row.hit_rate.map(|h| 100.0 * h), 1));
    cell("n", row.max_drawdown_pct, number(row.max_drawdown_pct, 1));
    cell("n", Some(row.last_7d_net_bps), signed(row.last_7d_net_bps, 0));
    cell("n", Some(row.fee_bps), number(row.fee_bps, 1));
    cell("n", Some(row.spread_bps), number(row.spread_bps, 1));
    cell("n", Some(row.slip_bps), number(row.slip_bps, 1));
    cell("n", Some(row.total_cost_bps), number(row.total_cost_bps, 1));
    cell("n", Some(row.adv_usd), usd(row.adv_usd));
    cell("n", row.capacity_usd, usd(row.capacity_usd));
    out.push_str("</tr>\n");
}

/// The panel a coin opens in; filled by the script, as text.
pub(super) fn dialog() -> &'static str {
    "<dialog id='coin' aria-labelledby='coin-name'><form method='dialog'><h2 id='coin-name'></h2>\
     <span id='coin-verdict' class='chip'></span><span class='grow'></span><button type='button' \
     id='coin-previous' aria-label='Previous coin'>←</button><button type='button' id='coin-next' \
     aria-label='Next coin'>→</button><button aria-label='Close'>✕</button></form><figure \
     class='chart'><figcaption class='legend' id='coin-legend'></figcaption><div class='plot'><svg \
     id='coin-plot' viewBox='0 0 1000 1000' preserveAspectRatio='none' aria-hidden='true'></svg><div \
     class='ylabels' id='coin-ylabels'></div></div><div class='xlabels' \
     id='coin-xlabels'></div></figure><div class='scroll'><table><thead><tr><th \
     scope='col'>gate</th><th scope='col' class='n'>found</th><th scope='col' class='n'>asked</th><th \
     scope='col'></th></tr></thead><tbody id='coin-gates'></tbody></table></div></dialog>\n"
}

/// A value as the script sorts by it: four decimals are enough, and none from a thousand.
fn sort_key(value: f64) -> String {
    if value.abs() >= 1e3 { format!("{value:.0}") } else { format!("{}", (value * 1e4).round() / 1e4) }
}

/// What the script needs. Gates and limits are mostly the same for all coins: they are written
/// once, and a coin names them by position.
#[derive(Serialize)]
struct Embedded<'a> {
    asked: Vec<(&'a str, &'a str)>,
    coins: Vec<EmbeddedCoin<'a>>,
}

/// One coin of it.
#[derive(Serialize)]
struct EmbeddedCoin<'a> {
    symbol: &'a str,
    ok: bool,
    first_ms: i64,
    last_ms: i64,
    pct: Vec<Option<f64>>,
    gates: Vec<(usize, &'a str, bool)>,
}

/// The coins as JSON that is safe inside a script element.
pub(super) fn embedded(data: &ReportData) -> String {
    let reasons = data.roster.iter().flat_map(|row| &row.reasons);
    let asked: Vec<(&str, &str)> =
        reasons.map(|r| (r.gate.as_str(), r.limit.as_str())).collect::<BTreeSet<_>>().into_iter().collect();
    let coin = |row| embedded_coin(row, &asked);
    let coins = data.roster.iter().map(coin).collect();
    let json = serde_json::to_string(&Embedded { coins, asked: asked.clone() });
    script_json(&json.unwrap_or_else(|_| "{\"asked\":[],\"coins\":[]}".to_owned()))
}

fn embedded_coin<'a>(row: &'a RosterRow, asked: &[(&str, &str)]) -> EmbeddedCoin<'a> {
    let step = i64::from(row.equity.step_days.max(1)) * UtcMs::DAY;
    let steps = row.equity.pct.len().saturating_sub(1) as i64;
    let rounded = |v: &f64| v.is_finite().then(|| (v * 1e2).round() / 1e2);
    let place = |gate: &str, limit: &str| asked.binary_search(&(gate, limit)).unwrap_or_default();
    EmbeddedCoin {
        symbol: &row.symbol,
        ok: row.trade_ok,
        first_ms: row.equity.first_day_ms,
        last_ms: row.equity.first_day_ms.saturating_add(step.saturating_mul(steps)),
        pct: thin(&row.equity.pct, CURVE_POINTS).iter().map(rounded).collect(),
        gates: row.reasons.iter().map(|r| (place(&r.gate, &r.limit), r.value.as_str(), r.passed)).collect(),
    }
}
