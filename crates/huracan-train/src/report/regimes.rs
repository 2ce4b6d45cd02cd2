//! Regimes: where time and money went, and what the meta learner made of it.

use super::charts::{Axis, bar, stacked_bar};
use super::data::{MetaLearner, RegimeResult, ReportData};
use super::sections::{empty, note, table};
use super::text::{count, esc, number, signed};
use std::fmt::Write;

/// Colours of experts, as many as the palette tells apart.
const EXPERTS: &[&str] = &["e0", "e1", "e2", "e3", "e4", "e5"];

/// Results by tag, then the experts' weights.
pub(super) fn regimes(data: &ReportData) -> String {
    let Some(regimes) = data.regimes.as_ref().filter(|r| !r.tags.is_empty() || r.meta.is_some()) else {
        return empty("Results were not split by regime in this run.");
    };
    let mut out = String::new();
    if !regimes.tags.is_empty() {
        out.push_str(&results(&regimes.tags));
    }
    match &regimes.meta {
        Some(meta) => out.push_str(&mixture(meta)),
        None => out.push_str(&note("No meta learner was fitted.")),
    }
    out
}

fn results(tags: &[RegimeResult]) -> String {
    let most = tags.iter().filter_map(|t| t.time_share).filter(|v| v.is_finite()).fold(1e-12, f64::max);
    let (axis, _) = Axis::of(tags.iter().filter_map(|t| t.net_per_trade_bps));
    let row = |t: &RegimeResult| {
        vec![
            esc(&t.tag),
            number(t.time_share.map(|s| 100.0 * s), 1),
            bar(t.time_share.unwrap_or(0.0) / most, "muted"),
            count(t.coins_now as u64),
            count(t.trades as u64),
            signed(t.net_per_trade_bps, 1),
            axis.bar(t.net_per_trade_bps),
            number(t.sharpe, 2),
            number(t.hit_rate.map(|h| 100.0 * h), 1),
        ]
    };
    let rows: Vec<_> = tags.iter().map(row).collect();
    note(
        "Every bar is tagged from its own coin's past; trades count where they were entered. Out of \
         sample, after costs.",
    ) + &table(
        &[
            ("regime", ""),
            ("time %", "n"),
            ("", "wide"),
            ("coins now", "n"),
            ("trades", "n"),
            ("net bps a trade", "n"),
            ("", "wide"),
            ("Sharpe", "n"),
            ("hit %", "n"),
        ],
        &rows,
    )
}

fn mixture(meta: &MetaLearner) -> String {
    let gain = match (meta.gain_bps, meta.interval_bps) {
        (None, _) => "its gain was not measured".to_owned(),
        (Some(gain), None) => format!("{} bps a day against what is deployed", signed(gain, 2)),
        (Some(gain), Some([low, high])) => format!(
            "{} bps a day against what is deployed ({} to {})",
            signed(gain, 2),
            signed(low, 2),
            signed(high, 2)
        ),
    };
    let verdict = if meta.used { "Fit for use" } else { "Not used" };
    let mut out = format!(
        "<h3>Meta learner</h3>\n<p class='note'><b>{verdict}</b>: {gain}. Weights of the experts by regime, \
         learnt from after-cost results and drawn toward equal where trades are few. Heads are published \
         unmixed either way.</p>\n"
    );
    if meta.experts.is_empty() || meta.weights.is_empty() {
        return out;
    }
    out.push_str("<p class='legend'>");
    for (name, class) in meta.experts.iter().zip(EXPERTS.iter().cycle()) {
        let _ = write!(out, "<span><i class='key part {class}'></i>{}</span>", esc(name));
    }
    out.push_str("</p>\n");
    let classes: Vec<&str> = EXPERTS.iter().copied().cycle().take(meta.experts.len()).collect();
    let mut columns = vec![("regime", ""), ("", "wide")];
    let names: Vec<String> = meta.experts.iter().map(esc).collect();
    columns.extend(names.iter().map(|name| (name.as_str(), "n")));
    columns.push(("trades", "n"));
    let row = |w: &super::MetaWeights| {
        let mut cells = vec![esc(&w.tag), stacked_bar(&classes, &w.weights)];
        cells.extend((0..names.len()).map(|k| number(w.weights.get(k).copied(), 2)));
        cells.push(count(w.trades as u64));
        cells
    };
    let rows: Vec<_> = meta.weights.iter().map(row).collect();
    out + &table(&columns, &rows)
}
