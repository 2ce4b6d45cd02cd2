//! The parts of the page around the roster, each with an honest sentence when it has nothing to
//! show.

use super::charts::{self, Column, DayChart, Line, bar, day_chart};
use super::data::ReportData;
use super::text::{count, esc, number, signed};
use huracan_core::words::UtcMs;
use std::fmt::Write;

/// A sentence where there is nothing to show.
pub(super) fn empty(sentence: &str) -> String {
    format!("<p class='empty'>{sentence}</p>\n")
}

/// What a picture shows and how to read it.
pub(super) fn note(sentence: &str) -> String {
    format!("<p class='note'>{}</p>\n", sentence.replace(" %", "\u{a0}%"))
}

/// A scrollable table; `columns` are heading and alignment class.
pub(super) fn table(columns: &[(&str, &str)], rows: &[Vec<String>]) -> String {
    let mut out = String::from("<div class='scroll'><table><thead><tr>");
    for (name, class) in columns {
        let _ = write!(out, "<th scope='col' class='{class}'>{name}</th>");
    }
    out.push_str("</tr></thead><tbody>\n");
    for row in rows {
        out.push_str("<tr>");
        for (cell, (_, class)) in row.iter().zip(columns) {
            let _ = write!(out, "<td class='{class}'>{cell}</td>");
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
    out
}

/// Title, verdict, the run's figures and its facts.
pub(super) fn header(data: &ReportData) -> String {
    let run = &data.run;
    let day = |ms: i64| esc(UtcMs(ms).format("%-d %b %Y"));
    let passed = data.roster.iter().filter(|row| row.trade_ok).count();
    let verdict = match run.verdict.as_str() {
        "" => format!("{passed} of {} coins trade_ok", run.coins),
        written => written.to_owned(),
    };
    let lead = match run.bars {
        0 => "No bars were read.".to_owned(),
        bars => format!(
            "{} bars of {} over {} coins, {} to {}.",
            count(bars),
            esc(&run.bar),
            count(run.coins as u64),
            day(run.data_from_ms),
            day(run.data_until_ms)
        ),
    };
    let mut out = format!(
        "<header>\n<p class='brand'>Huracan <span>{}</span></p>\n<h1>{}</h1>\n\
         <p class='lead'>{lead}</p>\n",
        esc(&run.run_id),
        esc(verdict)
    );
    if passed == 0 && !data.roster.is_empty() {
        out.push_str(
            "<p class='callout'><b>No coin survived costs.</b> This is a result, not an error: \
             nothing on this list should be traded. The gates each coin missed are written beside \
             it.</p>\n",
        );
    }
    match &run.canaries {
        Some(canaries) if canaries.passed => {
            let _ = writeln!(out, "<p class='canary good'>Canaries passed: {}.</p>", found(canaries));
        }
        Some(canaries) => {
            let _ = writeln!(
                out,
                "<p class='callout bad'><b>Canaries failed:</b> {}. Do not trust this run.</p>",
                found(canaries)
            );
        }
        None => out.push_str("<p class='canary'>No canaries ran, so nothing here was checked against coins of known truth.</p>\n"),
    }
    let mut tiles = String::new();
    let mut tile = |name: &str, value: String| {
        let _ = write!(tiles, "<div><dt>{name}</dt><dd>{value}</dd></div>");
    };
    let last = |curve: &super::Curve| curve.pct.iter().rev().find(|v| v.is_finite()).copied();
    tile("trade_ok", count(passed as u64));
    tile("ranked", count(data.roster.len() as u64));
    tile("skipped", count(run.skipped as u64));
    tile("failed", count(data.failed.len() as u64));
    tile("all coins, net", unit(data.universe.as_ref().and_then(|u| last(&u.net)), "%"));
    tile("long/short, net", unit(data.rank_band.as_ref().and_then(|b| last(&b.net)), "%"));
    let _ = writeln!(out, "<dl class='tiles'>{tiles}</dl>");
    let own = [("Started", &run.started_at), ("Finished", &run.finished_at)];
    let facts = own.into_iter().chain(run.facts.iter().map(|(name, value)| (name.as_str(), value)));
    let mut list = String::new();
    for (name, value) in facts.filter(|(_, value)| !value.is_empty()) {
        let _ = write!(list, "<div><dt>{}</dt><dd>{}</dd></div>", esc(name), esc(value));
    }
    if !list.is_empty() {
        let _ = writeln!(
            out,
            "<details><summary>How this run was made</summary><dl class='facts'>{list}</dl></details>"
        );
    }
    out.push_str("</header>\n");
    out
}

/// What the canaries found, in words.
fn found(canaries: &super::Canaries) -> String {
    let detail =
        if canaries.detail.is_empty() { String::new() } else { format!("; {}", esc(&canaries.detail)) };
    format!(
        "{} of {} noise coins trade_ok, {} of {} planted coins found{detail}",
        canaries.noise_trade_ok, canaries.noise, canaries.planted_found, canaries.planted
    )
}

fn unit(value: Option<f64>, unit: &str) -> String {
    match value {
        Some(value) => format!("{} <small>{unit}</small>", signed(value, 1)),
        None => number(None, 1),
    }
}

/// The whole-universe book with its placebo band.
pub(super) fn universe(data: &ReportData) -> String {
    let Some(universe) = data.universe.as_ref().filter(|u| u.net.pct.len() > 1) else {
        return empty("The whole-universe book was not evaluated in this run.");
    };
    let (low, high) = (&universe.placebo_low_pct, &universe.placebo_high_pct);
    let fits = low.len() == universe.net.pct.len() && high.len() == universe.net.pct.len();
    let name = format!("{} sign-flip placebos, lowest to highest", universe.placebos);
    let chart = day_chart(&DayChart {
        label: "Cumulative net of the whole-universe book with the range of its placebos",
        first_day_ms: universe.net.first_day_ms,
        step_days: universe.net.step_days,
        lines: vec![Line { class: "net", name: "net", values: &universe.net.pct }],
        band: fits.then_some((name.as_str(), low.as_slice(), high.as_slice())),
    });
    let ends = universe.placebo_net_pct.iter().copied();
    let best = if fits { high.last().copied() } else { ends.reduce(f64::max) };
    let beats = match (best.is_some(), universe.net.pct.last(), best) {
        (true, Some(&net), Some(best)) if net > best => "It ends above every placebo.",
        (true, Some(_), Some(_)) => "It does not end above every placebo, so no coin can be trade_ok.",
        _ => "Without placebos it proves nothing.",
    };
    note(&format!(
        "Every coin's out-of-sample trades as one book, after costs. Sharpe {}. {beats}",
        number(universe.sharpe, 2)
    )) + &chart
}

/// The cross-sectional book.
pub(super) fn rank_band(data: &ReportData) -> String {
    let Some(book) = data.rank_band.as_ref().filter(|b| b.net.pct.len() > 1) else {
        return empty("The long/short book was not evaluated in this run.");
    };
    let mut lines = vec![Line { class: "net", name: "net", values: &book.net.pct }];
    if book.gross_pct.len() == book.net.pct.len() {
        lines.insert(0, Line { class: "gross", name: "before costs", values: &book.gross_pct });
    }
    let interval = match book.sharpe_ci_90 {
        Some([low, high]) => format!(" (90 % interval {} to {})", number(low, 1), number(high, 1)),
        None => String::new(),
    };
    let sharpe = number(book.sharpe, 2);
    note(&format!("{} Sharpe {sharpe}{interval}.", esc(&book.rule)))
        + &day_chart(&DayChart {
            label: "Cumulative result of the long/short book",
            first_day_ms: book.net.first_day_ms,
            step_days: book.net.step_days,
            lines,
            band: None,
        })
}

/// Skip reasons and failures.
pub(super) fn skipped(data: &ReportData) -> String {
    let mut out = String::new();
    if data.skip_reasons.is_empty() {
        out.push_str(&empty(match (data.run.coins, data.run.skipped) {
            (0, _) => "No coin was judged in this run.",
            (_, 0) => "No coin was skipped: every series passed the gates.",
            _ => "Coins were skipped, but their reasons were not kept.",
        }));
    } else {
        out.push_str(&note("A skip is an answer, not a fault. A coin may have several reasons."));
        let most = data.skip_reasons.iter().map(|s| s.coins).max().unwrap_or(1).max(1) as f64;
        let mut reasons: Vec<_> = data.skip_reasons.iter().collect();
        reasons.sort_by(|a, b| b.coins.cmp(&a.coins).then_with(|| a.code.cmp(&b.code)));
        let row = |s: &&super::SkipCount| {
            vec![
                format!("<code>{}</code>", esc(&s.code)),
                count(s.coins as u64),
                bar(s.coins as f64 / most, "muted"),
                esc(&s.meaning),
            ]
        };
        let rows: Vec<_> = reasons.iter().map(row).collect();
        out.push_str(&table(&[("reason", ""), ("coins", "n"), ("", "wide"), ("gate", "")], &rows));
    }
    if data.failed.is_empty() {
        out.push_str(&empty("No coin failed."));
    } else {
        out.push_str("<h3>Failed</h3>\n");
        let row = |f: &super::FailedCoin| vec![esc(&f.symbol), esc(&f.step), esc(&f.error)];
        let rows: Vec<_> = data.failed.iter().map(row).collect();
        out.push_str(&table(&[("coin", "sym"), ("step", ""), ("error", "long")], &rows));
    }
    out
}

/// Distribution of round-trip costs and what they are made of.
pub(super) fn costs(data: &ReportData) -> String {
    let usable = |row: &&super::RosterRow| row.total_cost_bps.is_finite() && row.total_cost_bps > 0.0;
    let mut rows: Vec<_> = data.roster.iter().filter(usable).collect();
    if rows.is_empty() {
        return empty("No coin has a cost model in this run.");
    }
    rows.sort_by(|a, b| a.total_cost_bps.total_cmp(&b.total_cost_bps));
    let at = |share: f64| rows[((rows.len() - 1) as f64 * share).round() as usize];
    let parts = |row: &super::RosterRow| {
        let coin = [2.0 * row.fee_bps, row.spread_bps, 2.0 * row.slip_bps];
        let beyond = (row.total_cost_bps - coin.iter().sum::<f64>()).max(0.0);
        [coin[0], coin[1], coin[2], beyond]
    };
    let middle = parts(at(0.5));
    const BINS: usize = 14;
    let (low, high) = (at(0.0).total_cost_bps, at(0.98).total_cost_bps);
    let width = ((high - low) / BINS as f64).max(0.1);
    let mut bins = vec![(0_usize, [0.0_f64; 4]); BINS];
    for row in &rows {
        let bin = (((row.total_cost_bps - low) / width) as usize).min(BINS - 1);
        bins[bin].0 += 1;
        for (sum, part) in bins[bin].1.iter_mut().zip(parts(row)) {
            *sum += part.max(0.0);
        }
    }
    let column = |(k, (coins, sums)): (usize, &(usize, [f64; 4]))| {
        let total = sums.iter().sum::<f64>().max(1e-12);
        let from = low + width * k as f64;
        let more = if k + 1 == BINS { " and more" } else { "" };
        let tip = format!(
            "{coins} coins at {} to {} bps{more}: fees {}, spread {}, slippage {}, hedge and funding {} \
             on average",
            number(from, 1),
            number(from + width, 1),
            number(sums[0] / (*coins).max(1) as f64, 1),
            number(sums[1] / (*coins).max(1) as f64, 1),
            number(sums[2] / (*coins).max(1) as f64, 1),
            number(sums[3] / (*coins).max(1) as f64, 1)
        );
        let label = if k % 2 == 0 { number(from, 0) } else { String::new() };
        Column { label, layers: sums.map(|s| *coins as f64 * s / total).to_vec(), tip }
    };
    let columns: Vec<Column> = bins.iter().enumerate().map(column).collect();
    note(&format!(
        "Round trip of a taker at the reference size. The median coin pays {} bps: {} fees, {} spread, \
         {} slippage, {} hedge and funding; nine in ten pay at most {} bps. Height counts coins (the \
         tallest column {}), shading shows what the cost is made of; the last column holds the tail.",
        number(at(0.5).total_cost_bps, 1),
        number(middle[0], 1),
        number(middle[1], 1),
        number(middle[2], 1),
        number(middle[3], 1),
        number(at(0.9).total_cost_bps, 1),
        bins.iter().map(|bin| bin.0).max().unwrap_or(0)
    )) + "<p class='legend'><span><i class='key fee'></i>fees</span><span><i class='key \
          spread'></i>spread</span><span><i class='key slip'></i>slippage</span><span><i class='key \
          beyond'></i>hedge and funding</span><span class='axis'>bps, round trip</span></p>\n"
        + &charts::columns("Histogram of round-trip costs", &["fee", "spread", "slip", "beyond"], &columns)
}

/// Rank IC by head and horizon.
pub(super) fn cross_section(data: &ReportData) -> String {
    if data.cross_section.is_empty() {
        return empty("No cross-section was scored in this run.");
    }
    let most = data.cross_section.iter().filter_map(|r| r.ic).fold(0.0, |m: f64, v| m.max(v.abs()));
    let row = |r: &super::CrossSectionIc| {
        let sure = r.t_stat.is_some_and(|t| t.abs() >= 2.0);
        let t = number(r.t_stat, 1);
        let good = r.ic.is_some_and(|ic| ic >= 0.0);
        vec![
            esc(&r.head),
            format!("{} bars", r.horizon_bars),
            signed(r.ic, 4),
            bar(r.ic.unwrap_or(0.0).abs() / most.max(1e-12), if good { "up" } else { "down" }),
            if sure { format!("<b>{t}</b>") } else { t },
            count(r.days as u64),
        ]
    };
    let rows: Vec<_> = data.cross_section.iter().map(row).collect();
    note(
        "Rank correlation of score and later return over all coins at one moment, averaged over \
         time; t-statistics over days (HAC), bold from 2. Before costs.",
    ) + &table(
        &[("score", ""), ("ahead", "n"), ("rank IC", "n"), ("", "wide"), ("t", "n"), ("days", "n")],
        &rows,
    )
}

/// Explained variance and loadings.
pub(super) fn encoder(data: &ReportData) -> String {
    let Some(encoder) = &data.encoder else {
        return empty("No shared encoder was fitted in this run; heads read the features themselves.");
    };
    let ratios = &encoder.explained_variance_ratio;
    let total: f64 = ratios.iter().filter(|r| r.is_finite()).sum();
    let kept = match ratios.first() {
        None => String::new(),
        Some(first) => format!(
            ", {} components that keep {} % of the variance, the first {} %",
            ratios.len(),
            number(100.0 * total, 1),
            number(100.0 * first, 1)
        ),
    };
    let (kind, id) = (esc(&encoder.kind), esc(&encoder.encoder_id));
    let mut out = note(&format!("<b>{kind}</b> <code>{id}</code>{kept}."));
    let column = |(k, ratio): (usize, &f64)| Column {
        label: if k == 0 || (k + 1) % 5 == 0 { (k + 1).to_string() } else { String::new() },
        layers: vec![if ratio.is_finite() { ratio.max(0.0) } else { 0.0 }],
        tip: format!("component {}: {} %", k + 1, number(100.0 * ratio, 1)),
    };
    if !ratios.is_empty() {
        let columns: Vec<Column> = ratios.iter().enumerate().map(column).collect();
        out.push_str(&charts::columns("Explained variance by component", &["net"], &columns));
    }
    out.push_str(&training(encoder));
    out.push_str("<div class='loadings'>\n");
    for component in &encoder.top_loadings {
        let most = component.loadings.iter().map(|l| l.1.abs()).fold(1e-12, f64::max);
        let _ = write!(out, "<div><h3>Component {}</h3><dl>", component.component);
        for (feature, loading) in &component.loadings {
            let class = if *loading >= 0.0 { "plus" } else { "minus" };
            let _ = write!(
                out,
                "<div><dt>{}</dt><dd>{}{}</dd></div>",
                esc(feature),
                bar(loading.abs() / most, class),
                signed(*loading, 2)
            );
        }
        out.push_str("</dl></div>\n");
    }
    out.push_str("</div>\n");
    out
}

/// The training curve of an encoder that is trained by epochs; linear ones have none.
fn training(encoder: &super::EncoderSummary) -> String {
    let epochs = &encoder.training_loss;
    if epochs.len() < 2 {
        return match encoder.kind.as_str() {
            "autoencoder" => empty("The loss of this encoder's training was not kept."),
            _ => String::new(),
        };
    }
    let of = |pick: fn(&super::EpochLoss) -> Option<f64>| -> Vec<f64> {
        epochs.iter().map(|e| pick(e).unwrap_or(f64::NAN)).collect()
    };
    let (train, holdout) = (of(|e| e.train), of(|e| e.holdout));
    let kept = encoder.kept_epoch.filter(|k| (1..=epochs.len()).contains(k));
    let kept_text = kept.map_or(String::new(), |k| format!(" The weights of epoch {k} were kept."));
    String::from("<h3>Training loss</h3>\n")
        + &note(&format!(
            "Loss after each of {} epochs, on the rows trained on and on later rows held out.{kept_text}",
            epochs.len()
        ))
        + &charts::epoch_chart(
            "Training loss by epoch",
            &[
                Line { class: "gross", name: "train", values: &train },
                Line { class: "net", name: "holdout", values: &holdout },
            ],
            kept,
        )
}

/// The fold table.
pub(super) fn folds(data: &ReportData) -> String {
    if data.folds.is_empty() {
        return empty("No fold was evaluated: no coin had enough history for a walk-forward.");
    }
    let row = |(k, f): (usize, &super::Fold)| {
        vec![
            (k + 1).to_string(),
            esc(&f.train),
            esc(&f.test),
            count(f.coins as u64),
            count(f.trades as u64),
            signed(f.net_pnl_pct, 2),
            number(f.sharpe, 2),
            signed(f.ic, 4),
        ]
    };
    let rows: Vec<_> = data.folds.iter().enumerate().map(row).collect();
    table(
        &[
            ("fold", "n"),
            ("trained on", "span"),
            ("tested on", "span"),
            ("coins", "n"),
            ("trades", "n"),
            ("net %", "n"),
            ("Sharpe", "n"),
            ("rank IC", "n"),
        ],
        &rows,
    )
}

/// Seconds per stage.
pub(super) fn timings(data: &ReportData) -> String {
    if data.timings.is_empty() {
        return empty("No timings were kept for this run.");
    }
    let most = data.timings.iter().map(|t| t.wall_s).fold(1e-12, f64::max);
    let row = |t: &super::StageTiming| {
        vec![
            esc(&t.stage),
            count(t.jobs as u64),
            number(t.wall_s, 1),
            bar(t.wall_s / most, "muted"),
            number(t.cpu_s, 1),
            number(t.p50_s, 3),
            number(t.p95_s, 3),
        ]
    };
    let rows: Vec<_> = data.timings.iter().map(row).collect();
    table(
        &[
            ("stage", ""),
            ("jobs", "n"),
            ("wall s", "n"),
            ("", "wide"),
            ("CPU s", "n"),
            ("p50 s", "n"),
            ("p95 s", "n"),
        ],
        &rows,
    )
}
