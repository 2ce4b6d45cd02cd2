//! Skill or luck: what was tried before this result, and what that leaves of it.

use super::charts::{Axis, Gauge, gauge};
use super::data::{Canaries, ReportData, Variant, Variants};
use super::sections::{empty, note, table};
use super::text::{count, esc, number, signed};
use std::fmt::Write;

/// Variants listed at most.
const LISTED: usize = 60;
/// Canaries drawn at most.
const DOTS: usize = 60;

/// Gauges, canaries, table.
pub(super) fn variants(data: &ReportData) -> String {
    let canaries = data.run.canaries.as_ref();
    if data.variants.is_none() && canaries.is_none() {
        return empty(
            "No count of variants was kept and no canaries ran, so this run cannot say how much of its \
             result is luck.",
        );
    }
    let mut out = String::from("<div class='cards'>\n");
    if let Some(variants) = &data.variants {
        write_gauges(&mut out, variants);
    }
    write_canaries(&mut out, canaries);
    out.push_str("</div>\n");
    if let Some(variants) = &data.variants {
        out.push_str(&tried(variants));
    }
    out
}

fn write_gauges(out: &mut String, variants: &Variants) {
    let sharpe = Gauge {
        name: "Deflated Sharpe ratio",
        value: variants.deflated_sharpe,
        zones: [(0.5, "down"), (0.95, "muted"), (1.0, "up")],
    };
    let words = match variants.deflated_sharpe.filter(|v| v.is_finite()) {
        None => "Not computed.",
        Some(v) if v > 0.95 => "▲ More than the best of all trials would show by luck.",
        Some(v) if v > 0.5 => "Not told apart from the best of all trials by luck.",
        Some(_) => "▼ Less than the best of all trials would show by luck.",
    };
    write_card(out, &sharpe, words);
    let overfitting = Gauge {
        name: "Probability of backtest overfitting",
        value: variants.overfitting_probability,
        zones: [(0.2, "up"), (0.5, "muted"), (1.0, "down")],
    };
    let words = match variants.overfitting_probability.filter(|v| v.is_finite()) {
        None => "Not computed.",
        Some(v) if v < 0.2 => {
            "▲ The best in one half of the days mostly stays above the median in the other."
        }
        Some(v) if v < 0.5 => "The best in one half of the days often falls below the median in the other.",
        Some(_) => "▼ Choosing the best was no better than choosing at random.",
    };
    write_card(out, &overfitting, words);
}

fn write_card(out: &mut String, g: &Gauge<'_>, words: &str) {
    let _ = writeln!(
        out,
        "<div class='card'><h3>{}</h3>{}<p class='big'>{}</p><p class='quiet'>{words}</p></div>",
        g.name,
        gauge(g),
        number(g.value, 2)
    );
}

/// One mark a coin, filled where it was found.
fn dots(total: usize, found: usize, class: &str) -> String {
    let mut out = String::from("<span class='dots' aria-hidden='true'>");
    for k in 0..total.min(DOTS) {
        let _ = write!(out, "<i class='{}'></i>", if k < found { class } else { "" });
    }
    out.push_str("</span>");
    out
}

fn write_canaries(out: &mut String, canaries: Option<&Canaries>) {
    out.push_str("<div class='card'><h3>Canaries</h3>");
    match canaries {
        None => {
            out.push_str("<p class='quiet'>None ran: nothing was checked against coins of known truth.</p>")
        }
        Some(c) => {
            let _ = write!(
                out,
                "<p>{}<b>{}</b> of {} noise coins trade_ok, 0 allowed</p><p>{}<b>{}</b> of {} planted coins \
                 found, {} asked</p><p class='quiet'>{}{}</p>",
                dots(c.noise, c.noise_trade_ok, "down"),
                c.noise_trade_ok,
                c.noise,
                dots(c.planted, c.planted_found, "up"),
                c.planted_found,
                c.planted,
                c.planted_needed,
                if c.passed { "▲ Passed." } else { "▼ Failed: do not trust this run." },
                if c.detail.is_empty() { String::new() } else { format!(" {}.", esc(&c.detail)) }
            );
        }
    }
    out.push_str("</div>\n");
}

fn tried(variants: &Variants) -> String {
    let ever = match variants.tried_ever {
        Some(ever) => format!(", {} over all runs so far", count(ever as u64)),
        None => String::new(),
    };
    let mut out = note(&format!(
        "{} variants were tried in this run{ever}. Head and encoder are chosen by their IC on inner \
         validation, the policy by its net there; what came out of sample was seen by no choice.",
        count(variants.tried as u64)
    ));
    let mut rows: Vec<&Variant> = variants.rows.iter().collect();
    if rows.is_empty() {
        return out;
    }
    let key = |v: Option<f64>| v.filter(|v| v.is_finite()).unwrap_or(f64::NEG_INFINITY);
    rows.sort_by(|a, b| {
        let by_ic = key(b.validation_ic).total_cmp(&key(a.validation_ic));
        let by_net = key(b.validation_net_bps).total_cmp(&key(a.validation_net_bps));
        by_ic.then(by_net).then_with(|| (&a.head, &a.encoder).cmp(&(&b.head, &b.encoder)))
    });
    let hidden = rows.len().saturating_sub(LISTED);
    rows.truncate(LISTED);
    let nets = |v: &&Variant| [v.validation_net_bps, v.test_net_bps].into_iter().flatten();
    let (axis, _) = Axis::of(rows.iter().flat_map(nets));
    let row = |v: &&Variant| {
        let chosen = if v.chosen { " <b class='chip good'>chosen</b>" } else { "" };
        vec![
            esc(&v.head),
            format!("{}{chosen}", esc(&v.encoder)),
            signed(v.validation_net_bps, 1),
            axis.bar(v.validation_net_bps),
            signed(v.test_net_bps, 1),
            axis.bar(v.test_net_bps),
            signed(v.validation_ic, 4),
            signed(v.test_ic, 4),
            count(v.tried as u64),
        ]
    };
    let cells: Vec<_> = rows.iter().map(row).collect();
    out.push_str(&table(
        &[
            ("head", ""),
            ("encoder", ""),
            ("validation", "n"),
            ("bps a day", "bars"),
            ("out of sample", "n"),
            ("bps a day", "bars"),
            ("validation IC", "n"),
            ("out-of-sample IC", "n"),
            ("variants", "n"),
        ],
        &cells,
    ));
    if hidden > 0 {
        out.push_str(&note(&format!("{hidden} further rows with less on validation are left out.")));
    }
    out
}
