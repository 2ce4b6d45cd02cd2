//! `huracan why SYMBOL`: every gate with its value and limit.

use super::{Global, Output, World, settings, symbols};
use crate::failure::Failure;
use crate::table::{Align, Table, figure};
use crate::wiring;
use clap::Args;
use serde::Serialize;
use serde_json::json;

/// Flags of `why`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Says whether a coin may be traded and, gate by gate, what was found and what was asked for. A name
without a market mark means the configured market's pair, else the other's.

Examples:
  huracan why BTCUSDT
  huracan why BTCUSDT.P --json
  huracan why BTC/USDT:USDT --store /data/huracan-store")]
pub struct WhyArgs {
    /// The coin: BTCUSDT (spot), BTCUSDT.P (perpetual), BTC/USDT, BTC/USDT:USDT
    #[arg(value_name = "SYMBOL")]
    pub symbol: String,
}

/// Why a coin stands where it stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WhyView {
    /// The coin.
    pub symbol: String,
    /// `trade_ok`, `shadow`, `skipped` or `failed`.
    pub status: String,
    /// One sentence that answers the question.
    pub headline: String,
    /// Every gate that was asked, in order.
    pub gates: Vec<GateLine>,
    /// Other figures worth seeing: what, and its value with unit.
    pub facts: Vec<(String, String)>,
}

/// One gate with what it found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GateLine {
    /// Stable code.
    pub code: String,
    /// Whether it passed.
    pub passed: bool,
    /// What was found; `None` where it is undefined.
    pub value: Option<f64>,
    /// How the value must compare with the limit: `>`, `>=`, `<`, `<=`.
    pub compare: String,
    /// What was asked for.
    pub limit: Option<f64>,
    /// A word where numbers do not say it.
    pub note: String,
}

/// Runs the command.
///
/// # Errors
/// What the store refuses, or a name no coin has.
pub fn run(args: &WhyArgs, global: &Global, world: &World) -> Result<Output, Failure> {
    let loaded = settings::load(global, world, Vec::new())?;
    let names = symbols::candidates(&args.symbol, loaded.config.market)?;
    let view = wiring::why(&loaded.store.local, &names)?;
    Ok(Output::ok(text(&view, world.width), json!({"schema": "huracan-cli-why/1", "why": view})))
}

fn text(view: &WhyView, width: Option<usize>) -> String {
    use Align::{Left, Right};
    let mut text = format!("{} [{}] {}\n", view.symbol, view.status, view.headline);
    if !view.gates.is_empty() {
        let columns =
            [("", Left), ("gate", Left), ("found", Right), ("", Left), ("limit", Right), ("note", Left)];
        let mut table = Table::new(&columns);
        for gate in &view.gates {
            let mark = if gate.passed { "pass" } else { "FAIL" };
            table.row([
                mark.to_owned(),
                gate.code.clone(),
                figure(gate.value, 3),
                gate.compare.clone(),
                figure(gate.limit, 3),
                gate.note.clone(),
            ]);
        }
        text.push_str(&format!("\n{}", table.render(width)));
    }
    if !view.facts.is_empty() {
        let mut table = Table::new(&[("figure", Left), ("value", Left)]);
        for (what, value) in &view.facts {
            table.row([what.clone(), value.clone()]);
        }
        text.push_str(&format!("\n{}", table.render(width)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_gate_shows_what_was_found_and_asked() {
        let gate = GateLine {
            code: "sharpe".into(),
            passed: false,
            value: None,
            compare: ">".into(),
            limit: Some(0.5),
            note: "too few trades".into(),
        };
        let view = WhyView {
            symbol: "BTCUSDT".into(),
            status: "shadow".into(),
            headline: "one gate fails".into(),
            gates: vec![gate],
            facts: vec![("net".into(), "-1.2 %".into())],
        };
        let text = text(&view, None);
        assert!(text.contains("FAIL  sharpe      –  >  0.500  too few trades"), "{text}");
        assert!(text.contains("net     -1.2 %"), "{text}");
    }
}
