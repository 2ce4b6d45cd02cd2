//! Drift: how far the present is from what was trained on, each feature by its own threshold.

use super::data::{Drift, DriftRow, ReportData};
use super::sections::{empty, note};
use super::text::{brief, count, esc, number, signed};
use std::fmt::Write;

/// Columns and rows drawn at most.
const COLUMNS: usize = 60;
const ROWS: usize = 40;
/// Columns up to which a cell has room for its number.
const NUMBERED: usize = 14;
/// Breaches written out.
const WRITTEN: usize = 8;

/// Upper ends of the colour steps, in thresholds, and what they are called.
const STEPS: &[(f64, &str)] = &[
    (0.5, "below half"),
    (0.8, "to 0.8"),
    (1.0, "to 1"),
    (1.5, "breach, to 1.5"),
    (2.5, "to 2.5"),
    (f64::INFINITY, "beyond"),
];

fn step(ratio: f64) -> usize {
    STEPS.iter().position(|(end, _)| ratio <= *end).unwrap_or(STEPS.len() - 1)
}

fn finite(ratio: Option<f64>) -> Option<f64> {
    ratio.filter(|v| v.is_finite())
}

fn breaches<'a>(ratios: impl Iterator<Item = &'a Option<f64>>) -> usize {
    ratios.filter(|r| finite(**r).is_some_and(|v| v > 1.0)).count()
}

/// The action, the figures behind it, the map.
pub(super) fn drift(data: &ReportData) -> String {
    let Some(drift) = &data.drift else {
        return empty("Drift was not measured in this run.");
    };
    let mut out = action(drift);
    if drift.rows.is_empty() || drift.columns.is_empty() {
        out.push_str(&note("There was no window to compare with training."));
        return out;
    }
    out.push_str(&map(drift));
    out
}

/// What is to be done, in words, and why.
fn action(drift: &Drift) -> String {
    let (class, text) = match drift.action.as_str() {
        "none" | "" => ("callout", "Nothing to do.".to_owned()),
        "warn" => ("callout", "Watch: some features left their training range.".to_owned()),
        "no_promotion" => ("callout bad", "No promotions until this settles.".to_owned()),
        "refit_encoder" => ("callout bad", "Refit the shared encoder.".to_owned()),
        other => ("callout", format!("Action: {}.", esc(other))),
    };
    let reason = if drift.reason.is_empty() { String::new() } else { format!(" {}.", esc(&drift.reason)) };
    let percent = |share: Option<f64>| number(share.map(|s| 100.0 * s), 1);
    format!(
        "<p class='{class}'><b>{text}</b>{reason}</p>\n<dl class='tiles small'><div><dt>heavy features beyond \
         threshold</dt><dd>{} <small>%</small></dd></div><div><dt>rank IC, last 14 days</dt><dd>{}</dd></div>\
         <div><dt>rows beyond the encoder's 99th percentile (1 % in training)</dt><dd>{} \
         <small>%</small></dd></div></dl>\n",
        percent(drift.heavy_breached_share),
        signed(drift.recent_ic, 4),
        percent(drift.reconstruction_share)
    )
}

/// The columns drawn, in order: weeks as they came, coins from the most drifted.
fn columns(drift: &Drift) -> Vec<usize> {
    let mut order: Vec<usize> = (0..drift.columns.len()).collect();
    if drift.across == "weeks" {
        return order.split_off(order.len().saturating_sub(COLUMNS));
    }
    let at = |row: &DriftRow, c: usize| row.ratios.get(c).copied().flatten();
    let weight = |c: usize| {
        let values = drift.rows.iter().filter_map(|row| finite(at(row, c)));
        let sum = values.fold((0_usize, 0.0), |(n, sum), v| (n + usize::from(v > 1.0), sum + v));
        (sum.0, sum.1)
    };
    let mut keyed: Vec<_> = order.into_iter().map(|c| (weight(c), c)).collect();
    keyed.sort_by(|(a, i), (b, j)| {
        b.0.cmp(&a.0)
            .then_with(|| b.1.total_cmp(&a.1))
            .then_with(|| drift.columns[*i].cmp(&drift.columns[*j]))
    });
    keyed.into_iter().map(|(_, c)| c).take(COLUMNS).collect()
}

fn map(drift: &Drift) -> String {
    let columns = columns(drift);
    let mut rows: Vec<&DriftRow> = drift.rows.iter().collect();
    rows.sort_by_key(|row| std::cmp::Reverse(breaches(row.ratios.iter())));
    let hidden = rows.len().saturating_sub(ROWS);
    rows.truncate(ROWS);
    let all = drift.columns.len();
    let across = if drift.across == "weeks" { "weeks" } else { "coins" };
    let cells = drift.rows.iter().map(|r| r.ratios.iter().flatten().count()).sum::<usize>();
    let over = drift.rows.iter().map(|r| breaches(r.ratios.iter())).sum::<usize>();
    let order = match (across, columns.len() < all) {
        ("weeks", false) => "oldest week on the left".to_owned(),
        ("weeks", true) => format!("the newest {} of {all} weeks, oldest on the left", columns.len()),
        (_, false) => format!("{all} coins, most drifted on the left"),
        (_, true) => format!("the {} most drifted of {all} coins, most drifted on the left", columns.len()),
    };
    let mut out = note(&format!(
        "Population stability index of the last window against training, over the feature's own \
         threshold (the 99th percentile of its past): {} of {} cells breach, about 1 in 100 would by \
         chance. Shown: {order}{}.",
        count(over as u64),
        count(cells as u64),
        if hidden > 0 { format!("; {hidden} quieter rows left out") } else { String::new() }
    ));
    out.push_str("<p class='legend'>");
    for (k, (_, name)) in STEPS.iter().enumerate() {
        let _ = write!(out, "<span><i class='key heat d{k}'></i>{name}</span>");
    }
    out.push_str("<span class='axis'>times the threshold</span></p>\n");
    let numbered = columns.len() <= NUMBERED;
    let _ = write!(
        out,
        "<div class='scroll'><table class='heat{}'><caption class='hidden'>Drift by row and {across}</caption><colgroup><col class='name'>\
         <col span='{}'><col class='count'></colgroup>",
        if numbered { " numbered" } else { "" },
        columns.len()
    );
    if numbered {
        out.push_str("<thead><tr><th scope='col'></th>");
        for c in &columns {
            let _ = write!(out, "<th scope='col'>{}</th>", brief(&drift.columns[*c], 14));
        }
        let _ = write!(out, "<th scope='col' class='n'>over</th></tr></thead>");
    }
    out.push_str("<tbody>\n");
    for row in rows {
        write_row(&mut out, row, drift, &columns, numbered);
    }
    out.push_str("</tbody></table></div>\n");
    out + &worst(drift)
}

fn write_row(out: &mut String, row: &DriftRow, drift: &Drift, columns: &[usize], numbered: bool) {
    let _ = write!(out, "<tr><th scope='row'>{}</th>", brief(&row.name, 40));
    for c in columns {
        match finite(row.ratios.get(*c).copied().flatten()) {
            None => out.push_str("<td class='none' title='not known'></td>"),
            Some(ratio) => {
                let text = if numbered { number(ratio, 2) } else { String::new() };
                let name = brief(&drift.columns[*c], 40);
                let _ = write!(
                    out,
                    "<td class='d{}' title='{name} {}'>{text}</td>",
                    step(ratio),
                    number(ratio, 2)
                );
            }
        }
    }
    let known = row.ratios.iter().flatten().count();
    let _ = writeln!(out, "<td class='over'><b>{}</b> of {known}</td></tr>", breaches(row.ratios.iter()));
}

/// The largest breaches in words.
fn worst(drift: &Drift) -> String {
    let mut all: Vec<(f64, &str, &str)> = Vec::new();
    for row in &drift.rows {
        for (ratio, column) in row.ratios.iter().zip(&drift.columns) {
            all.extend(finite(*ratio).filter(|v| *v > 1.0).map(|v| (v, row.name.as_str(), column.as_str())));
        }
    }
    if all.is_empty() {
        return note("No cell is beyond its threshold.");
    }
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| (a.1, a.2).cmp(&(b.1, b.2))));
    let one = |(ratio, row, column): &(f64, &str, &str)| {
        format!("{} · {} <b>{}×</b>", brief(row, 40), brief(column, 40), number(*ratio, 1))
    };
    let list: Vec<String> = all.iter().take(WRITTEN).map(one).collect();
    note(&format!("Largest: {}.", list.join(", ")))
}
