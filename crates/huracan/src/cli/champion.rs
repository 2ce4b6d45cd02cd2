//! `huracan champion SYMBOL`: which model of a coin is in force and why, who was when, and the way
//! back.

use super::{Global, Output, World, settings, symbols};
use crate::failure::{Exit, Failure};
use crate::table::{Align, Table, figure};
use crate::wiring;
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};
use std::io::{BufRead as _, IsTerminal as _};

/// Flags of `champion`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Without a flag: the champion in force and the decision that brought it. --history and --at read
champions/promotions.jsonl alone. --rollback brings back the champion before, or the folder named by
--to, after both were verified with their encoder; it is not traded before the next run has looked at
it, and for champion.hold_days no run replaces it without the stronger evidence that rule asks for.

Examples:
  huracan champion BTCUSDT
  huracan champion BTCUSDT --history
  huracan champion BTCUSDT --at 14:05
  huracan champion BTCUSDT.P --at 2025-07-01T14:05:00Z --json
  huracan champion BTCUSDT --rollback --reason 'loses since Monday'
  huracan champion BTCUSDT --rollback --to models/BTCUSDT.P/baseline_20250701 --yes")]
pub struct ChampionArgs {
    /// The coin: BTCUSDT (spot), BTCUSDT.P (perpetual), BTC/USDT, BTC/USDT:USDT
    #[arg(value_name = "SYMBOL")]
    pub symbol: String,
    /// Every decision about the coin, oldest first
    #[arg(long, conflicts_with_all = ["at", "rollback"])]
    pub history: bool,
    /// Who was champion at a moment (UTC) and why: RFC 3339, a date, or HH:MM of today
    #[arg(long, value_name = "TIME", conflicts_with = "rollback")]
    pub at: Option<String>,
    /// Bring the champion before back
    #[arg(long)]
    pub rollback: bool,
    /// The model folder to go to, relative to the store
    #[arg(long, value_name = "MODEL_PATH", requires = "rollback")]
    pub to: Option<String>,
    /// Why, for the log
    #[arg(long, value_name = "TEXT", requires = "rollback", default_value = "", hide_default_value = true)]
    pub reason: String,
    /// Do not ask
    #[arg(long, requires = "rollback")]
    pub yes: bool,
}

/// The champion in force.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChampionView {
    /// The coin.
    pub symbol: String,
    /// Its folder.
    pub model_path: String,
    /// What else the pointer says: what, and its value with unit.
    pub facts: Vec<(String, String)>,
    /// The decision that brought it; `None` where the log has none.
    pub brought_by: Option<Decision>,
    /// The latest decision about the coin, where it is another one.
    pub latest: Option<Decision>,
}

/// One decision of the log.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decision {
    /// When.
    pub at: String,
    /// `promote`, `rollback`, `engine_update`, `reject` or `expire`.
    pub event: String,
    /// Who decided.
    pub decided_by: String,
    /// Folder of the champion before.
    pub before: Option<String>,
    /// Folder of the champion after.
    pub after: Option<String>,
    /// The rule's verdict in a sentence.
    pub reason: String,
    /// Each number the rule looked at.
    pub rule_values: Vec<(String, Option<f64>)>,
    /// The line's hash, which the next line carries.
    pub hash: String,
}

/// A rollback that is to be confirmed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RollbackView {
    /// The coin.
    pub symbol: String,
    /// Folder in force now.
    pub from: String,
    /// Folder to be brought back, verified.
    pub to: String,
    /// Whether it has happened.
    pub done: bool,
    /// What happens next, or happened.
    pub notes: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// What the store refuses, a name no coin has, or a rollback nobody confirmed.
pub fn run(args: &ChampionArgs, global: &Global, world: &World) -> Result<Output, Failure> {
    let loaded = settings::load(global, world, Vec::new())?;
    let names = symbols::candidates(&args.symbol, loaded.config.market)?;
    let store = loaded.store.local.clone();
    if args.history {
        let (symbol, decisions) = wiring::champion_history(&store, &names)?;
        return Ok(output(history(&symbol, &decisions, world.width), "history", json!(decisions)));
    }
    if let Some(at) = &args.at {
        let (symbol, at, decision) = wiring::champion_at(&store, &names, at)?;
        let value = json!({"symbol": symbol, "at": at, "decision": decision});
        return Ok(output(moment(&symbol, &at, decision.as_ref(), world.width), "at", value));
    }
    if args.rollback {
        let plan = wiring::rollback_plan(&store, &names, args.to.as_deref())?;
        if !args.yes {
            confirm(plan.view(), global.json)?;
        }
        let mut view = wiring::roll_back(&store, &plan, &args.reason, &loaded.config)?;
        if loaded.store.is_carried() {
            let place = &loaded.store.url;
            view.notes.push(format!("it is not yet carried to {place} (huracan store sync)"));
        }
        return Ok(output(rollback(&view), "rollback", json!(view)));
    }
    let view = wiring::champion(&store, &names)?;
    Ok(output(current(&view, world.width), "champion", json!(view)))
}

fn output(text: String, key: &str, value: Value) -> Output {
    Output::ok(text, json!({"schema": "huracan-cli-champion/1", key: value}))
}

/// Asks a person at a terminal to type the coin's name; nobody else is asked.
fn confirm(view: &RollbackView, json: bool) -> Result<(), Failure> {
    let refused = |message: &str| {
        Failure::new(Exit::Usage, "not_confirmed", message.to_owned()).help("--yes goes on without asking")
    };
    if json || !std::io::stdin().is_terminal() {
        return Err(refused("a rollback must be confirmed, and there is no terminal to ask at"));
    }
    eprintln!("{} goes back\n  from {}\n  to   {}", view.symbol, view.from, view.to);
    eprint!("type {} to go on: ", view.symbol);
    let mut typed = String::new();
    let read = std::io::stdin().lock().read_line(&mut typed);
    match read {
        Ok(_) if typed.trim() == view.symbol => Ok(()),
        _ => Err(refused("the coin's name was not typed; nothing was changed")),
    }
}

fn current(view: &ChampionView, width: Option<usize>) -> String {
    let mut text = format!("{} {}\n", view.symbol, view.model_path);
    let mut table = Table::new(&[("figure", Align::Left), ("value", Align::Left)]);
    for (what, value) in &view.facts {
        table.row([what.clone(), value.clone()]);
    }
    text.push_str(&format!("\n{}", table.render(width)));
    match &view.brought_by {
        Some(decision) => text.push_str(&format!("\nwhy: {}", told(decision, width))),
        None => text.push_str("\nwhy: the log does not say; the next run will note that\n"),
    }
    if let Some(decision) = &view.latest {
        text.push_str(&format!("\nsince then: {}", told(decision, width)));
    }
    text
}

fn told(decision: &Decision, width: Option<usize>) -> String {
    let Decision { at, event, decided_by, reason, .. } = decision;
    let mut text = format!("{} at {at} by {decided_by}: {reason}\n", event.replace('_', " "));
    if !decision.rule_values.is_empty() {
        let mut table = Table::new(&[("rule value", Align::Left), ("", Align::Right)]);
        for (name, value) in &decision.rule_values {
            table.row([name.clone(), figure(*value, 4)]);
        }
        text.push_str(&table.render(width));
    }
    text
}

fn history(symbol: &str, decisions: &[Decision], width: Option<usize>) -> String {
    use Align::Left;
    let columns = [("at", Left), ("event", Left), ("by", Left), ("champion after", Left), ("reason", Left)];
    let mut table = Table::new(&columns);
    for decision in decisions {
        table.row([
            decision.at.clone(),
            decision.event.clone(),
            decision.decided_by.clone(),
            decision.after.clone().unwrap_or_else(|| "none".to_owned()),
            decision.reason.clone(),
        ]);
    }
    format!(
        "{symbol}: {} decisions, the chain of the log is whole\n\n{}",
        decisions.len(),
        table.render(width)
    )
}

fn moment(symbol: &str, at: &str, decision: Option<&Decision>, width: Option<usize>) -> String {
    match decision {
        None => format!("{symbol} had no champion at {at}\n"),
        Some(decision) => {
            let model = decision.after.as_deref().unwrap_or("none");
            format!("champion of {symbol} at {at}: {model}\n\nwhy: {}", told(decision, width))
        }
    }
}

fn rollback(view: &RollbackView) -> String {
    let notes: Vec<String> = view.notes.iter().map(|note| format!("  {note}\n")).collect();
    format!("{} went back\n  from {}\n  to   {}\n{}", view.symbol, view.from, view.to, notes.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision() -> Decision {
        Decision {
            at: "2025-07-01T00:00:00Z".into(),
            event: "engine_update".into(),
            decided_by: "engine".into(),
            before: None,
            after: Some("models/BTCUSDT/baseline_20250701".into()),
            reason: "first champion".into(),
            rule_values: vec![("q_value".into(), Some(0.02)), ("sharpe_gain".into(), None)],
            hash: "ab".into(),
        }
    }

    #[test]
    fn a_moment_is_answered_with_the_model_and_the_reason() {
        let text = moment("BTCUSDT", "2025-07-02T14:05:00Z", Some(&decision()), None);
        for part in ["baseline_20250701", "engine update at 2025-07-01", "first champion", "q_value"] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(moment("BTCUSDT", "2020-01-01T00:00:00Z", None, None).contains("had no champion"));
    }

    #[test]
    fn a_rollback_nobody_can_confirm_is_a_usage_error() {
        let view = RollbackView {
            symbol: "BTCUSDT".into(),
            from: "a".into(),
            to: "b".into(),
            done: false,
            notes: Vec::new(),
        };
        let failure = confirm(&view, true).unwrap_err();
        assert_eq!((failure.exit, failure.code.as_str()), (Exit::Usage, "not_confirmed"));
    }
}
