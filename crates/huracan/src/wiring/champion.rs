//! `huracan champion`: the pointer of a coin, its history, and the way back.

use super::{now, train::open};
use crate::cli::champion::{ChampionView, Decision, RollbackView};
use crate::config::EngineConfig;
use crate::failure::{Exit, Failure};
use huracan_core::words::{Symbol, UtcMs};
use huracan_store::champions::{self, Rollback};
use huracan_store::formats::champion::Champion;
use huracan_store::formats::promotion::{Promotion, PromotionEvent};
use huracan_store::models::Model;
use huracan_store::{LocalStore, Revision, StorePath, promotions};
use std::path::Path;

/// The champion in force. `names` are the symbols the text may mean, likeliest first.
///
/// # Errors
/// [`Exit::Usage`] when no coin of these names has a champion, [`Exit::Store`] when it cannot be read.
pub fn champion(store: &Path, names: &[Symbol]) -> Result<ChampionView, Failure> {
    let store = open(store)?;
    let (champion, _) = pointer(&store, names)?;
    let log = promotions::read(&store)?;
    let of_coin = || log.iter().filter(|line| line.event.symbol == champion.symbol);
    let brought = of_coin().rfind(|line| promotions::moves(line.event.event));
    let brought = brought.filter(|line| line.event.after_model_path.as_ref() == Some(&champion.model_path));
    let latest = of_coin().next_back().filter(|line| Some(*line) != brought);
    Ok(ChampionView {
        symbol: champion.symbol.to_string(),
        model_path: champion.model_path.clone(),
        facts: facts(&champion, brought),
        brought_by: brought.map(decision),
        latest: latest.map(decision),
    })
}

fn facts(champion: &Champion, brought: Option<&Promotion>) -> Vec<(String, String)> {
    let figure = |value: Option<f64>| value.map_or("undefined".to_owned(), |v| format!("{v:.2}"));
    let m = &champion.metrics;
    let age = if champion.expires_at.0 <= now() { " (past)" } else { "" };
    let since = brought.map_or_else(|| champion.updated_at.to_string(), |line| line.event.at.to_string());
    let facts = [
        ("in force since", format!("{since}, by {}", word(&champion.promoted_by))),
        ("may open positions until", format!("{}{age}", champion.expires_at)),
        ("trade_ok", champion.trade_ok.to_string()),
        ("net", format!("{:.2} % in {} trades", m.net_pnl_pct, m.sample_size)),
        ("sharpe", figure(m.sharpe)),
        ("drawdown", format!("{:.2} %", m.max_drawdown_pct)),
        ("before it", champion.previous.as_ref().map_or("none".to_owned(), |p| p.model_path.clone())),
        ("encoder", champion.encoder_id.clone().unwrap_or_else(|| "none".to_owned())),
        ("model sha256", champion.model_sha256.clone()),
        ("revision", champion.revision.to_string()),
    ];
    facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Every decision about a coin, oldest first, from the log alone.
///
/// # Errors
/// [`Exit::Usage`] when the log knows none of the names, [`Exit::Store`] when its chain is broken.
pub fn champion_history(store: &Path, names: &[Symbol]) -> Result<(String, Vec<Decision>), Failure> {
    let log = promotions::read(&open(store)?)?;
    let symbol = logged(&log, names)?;
    let of_coin = log.iter().filter(|line| line.event.symbol.0 == *symbol);
    Ok((symbol.to_string(), of_coin.map(decision).collect()))
}

/// Who was champion at a moment and by which decision, from the log alone: the coin, the moment, the
/// decision.
///
/// # Errors
/// As [`champion_history`]; [`Exit::Usage`] when the text is no time.
pub fn champion_at(
    store: &Path,
    names: &[Symbol],
    at: &str,
) -> Result<(String, String, Option<Decision>), Failure> {
    let at = moment(at, now())?;
    let log = promotions::read(&open(store)?)?;
    let symbol = logged(&log, names)?;
    let event = promotions::champion_at(&log, symbol, at);
    let line = event.and_then(|event| log.iter().find(|line| std::ptr::eq(&line.event, event)));
    Ok((symbol.to_string(), at.to_string(), line.map(decision)))
}

/// A moment as [`UtcMs`] reads it, or `HH:MM` of the day of `now`.
fn moment(text: &str, now: UtcMs) -> Result<UtcMs, Failure> {
    let clock = || {
        let (hours, minutes) = text.split_once(':')?;
        let part = |text: &str, below: i64| {
            let digits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
            text.parse::<i64>().ok().filter(|n| digits && *n < below)
        };
        let (hours, minutes) = (part(hours, 24)?, part(minutes, 60)?);
        Some(UtcMs(now.day() * UtcMs::DAY + hours * UtcMs::HOUR + minutes * 60_000))
    };
    clock().map_or_else(
        || text.parse().map_err(|error| Failure::new(Exit::Usage, "invalid_time", format!("{error}"))),
        Ok,
    )
}

/// A rollback that may be carried out: its target is verified.
pub struct RollbackPlan {
    champion: Champion,
    revision: Revision,
    to: Option<StorePath>,
    model: Option<Model>,
    view: RollbackView,
}

impl RollbackPlan {
    /// What a person is asked to confirm.
    pub fn view(&self) -> &RollbackView {
        &self.view
    }
}

/// Looks up and verifies what a rollback would bring back.
///
/// # Errors
/// [`Exit::Usage`] when no coin of these names has a champion, [`Exit::Store`] when there is nothing to
/// go back to or it does not verify.
pub fn rollback_plan(store: &Path, names: &[Symbol], to: Option<&str>) -> Result<RollbackPlan, Failure> {
    let store = open(store)?;
    let (champion, revision) = pointer(&store, names)?;
    let to = to.map(|path| StorePath::new(path.trim_end_matches('/'))).transpose()?;
    let unfinished = champions::unfinished_rollback(&store, &champion, to.as_ref())?;
    let model = match unfinished {
        true => None,
        false => Some(champions::rollback_target(&store, &champion, to.as_ref())?),
    };
    let view = RollbackView {
        symbol: champion.symbol.to_string(),
        from: champion.model_path.clone(),
        to: model.as_ref().map_or_else(|| champion.model_path.clone(), |model| model.path.to_string()),
        done: false,
        notes: Vec::new(),
    };
    Ok(RollbackPlan { champion, revision, to, model, view })
}

/// Carries a confirmed rollback out. The model may open positions until its own age would end, and at
/// least for the days the rule holds a choice.
///
/// # Errors
/// [`Exit::Store`] when the pointer moved since the plan was made, or the store refuses.
pub fn roll_back(
    store: &Path,
    plan: &RollbackPlan,
    reason: &str,
    config: &EngineConfig,
) -> Result<RollbackView, Failure> {
    let store = open(store)?;
    let at = now();
    let days = |days: f64| (days * UtcMs::DAY as f64) as i64;
    let held = at.0 + days(config.champion.hold_days);
    let own = plan.model.as_ref().map(|m| m.artifacts.metrics.window.until.0.0 + days(config.model_ttl_days));
    let wish = Rollback {
        symbol: plan.champion.symbol.0.clone(),
        to: plan.to.clone(),
        at,
        expires_at: UtcMs(own.map_or(held, |own| own.max(held))),
        reason: reason.to_owned(),
    };
    let done = champions::roll_back(&store, &wish, &plan.revision)?;
    let mut notes = Vec::new();
    if done.from.is_none() {
        notes.push("the pointer had moved already; log and roster are made good now".to_owned());
    }
    notes.push("it is not traded before the next run has looked at it (huracan train)".to_owned());
    notes.push(format!(
        "until {} a run replaces it only at a false-discovery rate of {} instead of {}",
        UtcMs(done.champion.updated_at.0.0 + days(config.champion.hold_days)),
        config.champion.false_discovery_rate
            * config.champion.hold_rate_factor
            * config.champion.flip_rate_factor,
        config.champion.false_discovery_rate
    ));
    Ok(RollbackView {
        from: done.from.unwrap_or_else(|| plan.view.from.clone()),
        to: done.champion.model_path,
        done: true,
        notes,
        ..plan.view.clone()
    })
}

/// The pointer of the first of these names that has one.
fn pointer(store: &LocalStore, names: &[Symbol]) -> Result<(Champion, Revision), Failure> {
    for symbol in names {
        if let Some(found) = champions::read(store, symbol)? {
            return Ok(found);
        }
    }
    Err(unknown(names, "has no champion"))
}

fn logged<'a>(log: &[Promotion], names: &'a [Symbol]) -> Result<&'a Symbol, Failure> {
    let known = |symbol: &&Symbol| log.iter().any(|line| line.event.symbol.0 == **symbol);
    names.iter().find(known).ok_or_else(|| unknown(names, "is not in the promotions log"))
}

fn unknown(names: &[Symbol], says: &str) -> Failure {
    let wanted = names.first().map_or_else(String::new, Symbol::to_string);
    Failure::new(Exit::Usage, "unknown_symbol", format!("{wanted} {says}"))
        .help("huracan roster lists every coin")
}

fn decision(line: &Promotion) -> Decision {
    let PromotionEvent { at, event, decided_by, before_model_path, after_model_path, .. } = &line.event;
    Decision {
        at: at.to_string(),
        event: word(event),
        decided_by: decided_by.clone(),
        before: before_model_path.clone(),
        after: after_model_path.clone(),
        reason: line.event.promotion_reason.clone(),
        rule_values: line.event.rule_values.iter().map(|(name, value)| (name.clone(), *value)).collect(),
        hash: line.hash.clone(),
    }
}

/// The word that files write for a value of a closed set.
fn word(value: &impl serde::Serialize) -> String {
    let json = serde_json::to_value(value).unwrap_or_default();
    json.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_day_is_of_today_in_utc() {
        let now = "2025-07-03T20:00:00Z".parse().unwrap();
        let read = |text: &str| moment(text, now).map(|at| at.to_string()).ok();
        assert_eq!(read("14:05").as_deref(), Some("2025-07-03T14:05:00Z"));
        assert_eq!(read("2025-07-01").as_deref(), Some("2025-07-01T00:00:00Z"));
        assert_eq!(read("2025-07-01T14:05:00Z").as_deref(), Some("2025-07-01T14:05:00Z"));
        for wrong in ["24:00", "14:60", "1:05", "14:+5", "noon", ""] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
