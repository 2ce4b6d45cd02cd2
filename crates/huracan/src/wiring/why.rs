//! `huracan why`: everything the store says of one coin, gate by gate.

use super::{now, published, train::open};
use crate::cli::why::{GateLine, WhyView};
use crate::failure::{Exit, Failure};
use huracan_core::words::Symbol;
use huracan_store::formats::figures::GateReading;
use huracan_store::formats::metrics::{BaselineFigures, EncoderGain, Metrics};
use huracan_store::formats::roster::{Roster, RosterLine, SkipReason, Skipped};
use huracan_store::formats::wire::Quantity;
use huracan_store::models::{self, Model};
use huracan_store::{LocalStore, StorePath, bank, champions, promotions};
use std::path::Path;

/// What a figure is, and its value.
type Facts = Vec<(String, String)>;

/// Why a coin stands where it stands. `names` are the symbols the text may mean, likeliest first.
///
/// # Errors
/// [`Exit::Usage`] when the roster knows none of them, [`Exit::Store`] when it cannot be read.
pub fn why(store: &Path, names: &[Symbol]) -> Result<WhyView, Failure> {
    let store = open(store)?;
    let roster = published::read(&store)?;
    for symbol in names {
        if let Some(line) = roster.symbols.iter().find(|line| line.symbol.0 == *symbol) {
            return ranked(&store, &roster, line);
        }
        let name = symbol.to_string();
        if let Some(line) = roster.skipped.iter().find(|line| line.symbol == name) {
            return Ok(skipped(line));
        }
        if let Some(line) = roster.failed.iter().find(|line| line.symbol == name) {
            return Ok(WhyView {
                symbol: name,
                status: "failed".to_owned(),
                headline: format!("its job broke in {}: {}", line.step, line.error),
                gates: Vec::new(),
                facts: vec![("run".to_owned(), roster.run_id.clone())],
            });
        }
    }
    let wanted = names.first().map_or_else(String::new, Symbol::to_string);
    let message = format!("{wanted} is not in the roster of run {}", roster.run_id);
    Err(Failure::new(Exit::Usage, "unknown_symbol", message).help("huracan roster lists every coin"))
}

fn skipped(line: &Skipped) -> WhyView {
    let number = |q: &Option<Quantity>| match q {
        Some(Quantity::Number(n)) => Some(*n),
        _ => None,
    };
    let text = |q: &Option<Quantity>| match q {
        Some(Quantity::Text(text)) => text.clone(),
        _ => String::new(),
    };
    let gate = |reason: &SkipReason| GateLine {
        code: reason.code.clone(),
        passed: false,
        value: number(&reason.found),
        compare: String::new(),
        limit: number(&reason.limit),
        note: match (text(&reason.found), text(&reason.limit)) {
            (found, limit) if found.is_empty() && limit.is_empty() => String::new(),
            (found, limit) if limit.is_empty() => found,
            (found, limit) => format!("{found}; asked for {limit}"),
        },
    };
    let codes: Vec<&str> = line.skip_reasons.iter().map(|r| r.code.as_str()).collect();
    WhyView {
        symbol: line.symbol.clone(),
        status: "skipped".to_owned(),
        headline: format!("not trained: {}", codes.join(", ")),
        gates: line.skip_reasons.iter().map(gate).collect(),
        facts: Vec::new(),
    }
}

fn ranked(store: &LocalStore, roster: &Roster, line: &RosterLine) -> Result<WhyView, Failure> {
    let model = models::read_model(store, &StorePath::new(line.model_path.clone())?)?;
    let gate = |reading: &GateReading| GateLine {
        code: reading.gate.clone(),
        passed: reading.passed,
        value: reading.value,
        compare: reading.comparison.clone().unwrap_or_default(),
        limit: reading.limit,
        note: String::new(),
    };
    let failing: Vec<&str> =
        line.trade_ok_reasons.iter().filter(|g| !g.passed).map(|g| g.gate.as_str()).collect();
    let fresh = roster.expires_at.0 > now();
    let headline = match (line.trade_ok, fresh) {
        (true, true) => "may be proposed for trading: every gate passed".to_owned(),
        (true, false) => {
            format!("every gate passed, but the roster expired at {}: train again", roster.expires_at)
        }
        (false, _) => format!(
            "may not be traded: {} of {} gates not passed ({})",
            failing.len(),
            line.trade_ok_reasons.len(),
            failing.join(", ")
        ),
    };
    let mut facts = figures(&model.artifacts.metrics);
    facts.extend(sharing(&model.artifacts.metrics));
    facts.extend(circumstances(line, &model.artifacts.metrics));
    facts.extend(features(store, line)?);
    facts.extend(costs(line, &model));
    facts.extend(champion(store, line)?);
    facts.extend(lineage(roster, line, &model));
    Ok(WhyView {
        symbol: line.symbol.to_string(),
        status: if line.trade_ok { "trade_ok" } else { "shadow" }.to_owned(),
        headline,
        gates: line.trade_ok_reasons.iter().map(gate).collect(),
        facts,
    })
}

/// The word that files write for a value of a closed set.
fn word(value: &impl serde::Serialize) -> String {
    let json = serde_json::to_value(value).unwrap_or_default();
    json.as_str().unwrap_or_default().replace('_', " ")
}

fn named<const N: usize>(facts: [(&str, String); N]) -> Facts {
    facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn number(value: Option<f64>, digits: usize, unit: &str) -> String {
    value.map_or("undefined".to_owned(), |v| format!("{v:.digits$}{unit}"))
}

fn interval(value: Option<[f64; 2]>, digits: usize) -> String {
    value.map_or("undefined".to_owned(), |[low, high]| format!("{low:.digits$} to {high:.digits$}"))
}

/// Out of sample, after costs.
fn figures(m: &Metrics) -> Facts {
    let mut facts = named([
        ("out of sample", format!("{} to {}", m.window.from, m.window.until)),
        ("net", format!("{:.2} % (gross {:.2} %)", m.net_pnl_pct, m.gross_pnl_pct)),
        ("net, shrunk to the pool", number(m.net_pnl_shrunk_pct, 2, " %")),
        ("net without the best day", number(m.net_pnl_ex_best_day_pct, 2, " %")),
        ("trades", format!("{} on {} active days", m.sample_size, m.active_days)),
        ("average trade", number(m.avg_trade_bps, 1, " bps net")),
        ("sharpe", format!("{}, 95 % interval {}", number(m.sharpe, 2, ""), interval(m.sharpe_ci_95, 2))),
        ("deflated sharpe", format!("{} over {} trials", number(m.deflated_sharpe, 3, ""), m.n_trials)),
        (
            "one-sided p of daily net",
            format!("{}, adjusted {}", number(m.net_p_one_sided, 4, ""), number(m.q_value, 4, "")),
        ),
        ("score against label", format!("IC {} (t {})", number(m.ic, 4, ""), number(m.ic_t_hac, 1, ""))),
        ("last 7 days", format!("{:.1} bps in {} trades", m.last_7d_net_bps, m.last_7d_trades)),
    ]);
    let b = &m.baselines;
    let simpler = [
        ("buy and hold", &b.buy_and_hold),
        ("without encoder", &b.without_encoder),
        ("own PCA", &b.own_pca),
        ("pooled head", &b.pooled_head),
    ];
    for (name, figures) in simpler {
        if let Some(BaselineFigures { net_pnl_pct, sharpe, sample_size, .. }) = figures {
            let text =
                format!("{net_pnl_pct:.2} % net, sharpe {}, {sample_size} trades", number(*sharpe, 2, ""));
            facts.push((name.to_owned(), text));
        }
    }
    facts
}

/// What every way of sharing gave the coin, all that is deployed together among them; of older files, what the shared encoder gave.
fn sharing(m: &Metrics) -> Facts {
    let text = |gain: &EncoderGain| {
        let ends = interval(gain.interval_bps, 2);
        format!("{:+.2} bps a day, 90 % interval {ends}: {}", gain.mean_bps, word(&gain.verdict))
    };
    if m.sharing.is_empty() {
        let gain = m.encoder_gain.iter();
        return gain.map(|gain| ("shared encoder minus none".to_owned(), text(gain))).collect();
    }
    let name = |code: &String| match code.as_str() {
        "sharing" => "all sharing".to_owned(),
        code => format!("sharing: {code}"),
    };
    m.sharing.iter().map(|(code, gain)| (name(code), text(gain))).collect()
}

/// The variant it was given, the regime it is in, whether its last week looks like training, and what
/// it earned in which regime.
fn circumstances(line: &RosterLine, m: &Metrics) -> Facts {
    let mut facts = Facts::new();
    facts.extend(m.variant.iter().map(|code| ("variant".to_owned(), code.clone())));
    facts.push(("regime now".to_owned(), line.regime.clone()));
    let earned = m.by_regime.iter().filter(|(_, r)| r.trades > 0).map(|(tag, r)| {
        let average = number(r.avg_trade_bps, 1, " bps");
        (format!("  in {tag}"), format!("{:.2} % net, {} trades of {average}", r.net_pnl_pct, r.trades))
    });
    facts.extend(earned);
    if let Some(drift) = &m.drift {
        let text = format!(
            "{}; {} of the heavy features beyond their limit, {:.1} % of the week known",
            drift.action.replace('_', " "),
            number(drift.heavy_breached_share.map(|share| 100.0 * share), 1, " %"),
            100.0 * drift.coverage
        );
        facts.push(("drift, last week".to_owned(), text));
    }
    facts
}

/// Features named at either end.
const FEATURES_SHOWN: usize = 5;

/// The features that earn the coin most and cost it most, by what permuting them did.
fn features(store: &LocalStore, line: &RosterLine) -> Result<Facts, Failure> {
    let Some((bank, _)) = bank::read(store)? else { return Ok(Facts::new()) };
    let Some(coin) = bank.symbols.get(&line.symbol) else { return Ok(Facts::new()) };
    let mut deltas: Vec<(&str, f64)> =
        coin.delta_net_bps.iter().map(|(name, delta)| (name.as_str(), *delta)).collect();
    deltas.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    let listed = |found: Vec<&(&str, f64)>| match found.is_empty() {
        true => "none".to_owned(),
        false => {
            let text = found.iter().map(|(name, delta)| format!("{name} {delta:+.2}"));
            format!("{} bps a day", text.collect::<Vec<_>>().join(", "))
        }
    };
    if deltas.is_empty() {
        return Ok(Facts::new());
    }
    let best = deltas.iter().filter(|(_, delta)| *delta > 0.0).take(FEATURES_SHOWN).collect();
    let worst = deltas.iter().rev().filter(|(_, delta)| *delta < 0.0).take(FEATURES_SHOWN).collect();
    Ok(named([("features that earn most", listed(best)), ("features that cost most", listed(worst))]))
}

fn costs(line: &RosterLine, model: &Model) -> Facts {
    let c = &model.artifacts.costs;
    let coin = 2.0 * line.fee_bps + line.spread_bps + 2.0 * line.avg_slip_bps;
    let mut facts = named([
        (
            "round trip today",
            format!(
                "{:.2} bps = 2 × fee {:.2} + spread {:.2} + 2 × slippage {:.2} + hedge and funding {:.2}",
                line.total_cost_bps,
                line.fee_bps,
                line.spread_bps,
                line.avg_slip_bps,
                line.total_cost_bps - coin
            ),
        ),
        (
            "spread",
            format!(
                "by {}, 95 % interval {} bps",
                c.calibration.spread_estimator,
                interval(c.calibration.spread_interval_bps, 2)
            ),
        ),
        (
            "entry threshold",
            format!("{:.2} bps of expected edge", model.artifacts.head.decision_threshold_bps),
        ),
        ("capacity", line.capacity_usd.map_or("no edge".to_owned(), |usd| format!("{usd:.0} USD"))),
    ]);
    if let Some(used) = &model.artifacts.metrics.costs_used {
        facts.push(("round trip as charged".to_owned(), format!("{:.2} bps", used.total_bps)));
    }
    facts
}

/// Who is champion, since when, and the latest decision about it.
fn champion(store: &LocalStore, line: &RosterLine) -> Result<Facts, Failure> {
    let mut facts = Facts::new();
    if let Some((champion, _)) = champions::read(store, &line.symbol)? {
        let by = word(&champion.promoted_by);
        facts.extend(named([
            ("champion", format!("{} (revision {}, by {by})", champion.model_path, champion.revision)),
            ("in force since", format!("{}, expires {}", champion.updated_at, champion.expires_at)),
            ("before it", champion.previous.map_or("none".to_owned(), |before| before.model_path)),
        ]));
    }
    let log = promotions::read(store)?;
    if let Some(last) = log.iter().rev().find(|entry| entry.event.symbol == line.symbol) {
        let event = &last.event;
        let kind = word(&event.event);
        facts.push((
            "latest decision".to_owned(),
            format!("{kind} at {}: {}", event.at, event.promotion_reason),
        ));
        let values =
            event.rule_values.iter().map(|(name, value)| (format!("  {name}"), number(*value, 4, "")));
        facts.extend(values);
    }
    Ok(facts)
}

fn lineage(roster: &Roster, line: &RosterLine, model: &Model) -> Facts {
    let l = &model.manifest.lineage;
    let inputs: Vec<String> = l.inputs.iter().map(|f| format!("{} {}", f.path, f.sha256)).collect();
    named([
        ("rank", format!("{} of {}", line.rank, roster.symbols.len())),
        ("trained by run", l.run_id.clone()),
        ("bars", format!("{} to {}", l.first_bar, l.last_bar)),
        ("model sha256", line.model_sha256.clone()),
        ("encoder", line.encoder_id.clone().unwrap_or_else(|| "none".to_owned())),
        ("features", l.features_id.clone()),
        ("configuration", l.config_id.clone()),
        ("code", format!("huracan {}, seed {}", l.code_version, l.seed)),
        ("candles", inputs.join("; ")),
    ])
}
