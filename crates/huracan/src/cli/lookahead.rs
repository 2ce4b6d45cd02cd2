//! `huracan lookahead`: does any feature, label or cost of the past change when the future does?

use super::settings::{self, CandleFlags};
use super::symbols::{Selector, Universe};
use super::{Global, Output, World};
use crate::failure::{Exit, Failure};
use crate::table::{Align, Table};
use crate::wiring::{self, Session};
use clap::Args;
use serde::Serialize;
use serde_json::json;
use std::path::PathBuf;

/// Flags of `lookahead`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
For some coins every feature, label, volatility and cost is computed on the whole history, and again
with all series cut off at random times, and again with garbage after those times (leaps, gaps, walls
of volume); the market's context is computed anew each time. Whatever was known before the cut must be
the same to the last bit; a label must be missing until its window has closed. Features are also
computed bar by bar, as live trading would, and their first value must come exactly at the warm-up
that `huracan features` lists. A new feature that peeks ahead is named here.
Ends with exit code 4 when anything differs.

Examples:
  huracan lookahead                                    a generated market
  huracan lookahead --candles ./candles --coins 8      eight coins spread over the folder
  huracan lookahead --candles ./candles --symbols BTCUSDT,ETHUSDT --features volatility,rsi_14")]
pub struct LookaheadArgs {
    /// Folder of candle files [default: a generated market]
    #[arg(long, value_name = "DIR")]
    pub candles: Option<PathBuf>,
    /// Flags that are settings.
    #[command(flatten)]
    pub flags: CandleFlags,
    /// Coins to look at: all, a list such as BTCUSDT,ETHUSDT.P, or @FILE [default: spread over the folder]
    #[arg(long, value_name = "SYMBOLS")]
    pub symbols: Option<Selector>,
    /// How many coins to look at when --symbols does not say
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub coins: usize,
    /// Features or families to look at, by name [default: every one]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub features: Vec<String>,
    /// Random times at which the series are cut
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub cuts: usize,
}

/// What is to be analysed.
#[derive(Clone, Debug, PartialEq)]
pub struct LookaheadRequest {
    /// Folder of candles; `None` is a generated market.
    pub candles: Option<PathBuf>,
    /// Which coins, where they were named.
    pub symbols: Option<Universe>,
    /// How many otherwise.
    pub coins: usize,
    /// Names of features and families; empty means all.
    pub features: Vec<String>,
    /// Random times.
    pub cuts: usize,
}

/// What was compared in one family, and how many values differ.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FamilyRow {
    /// The family: volatility, label, costs, …
    pub family: String,
    /// Columns of it.
    pub columns: usize,
    /// Values compared.
    pub values: u64,
    /// Values that differ when the series end at the cut.
    pub truncated: u64,
    /// Values that differ when garbage follows the cut.
    pub garbled: u64,
    /// Values that differ when the bars come one by one.
    pub streamed: u64,
    /// Values before, or missing after, the declared warm-up.
    pub warm_up: u64,
}

impl FamilyRow {
    fn differing(&self) -> u64 {
        self.truncated + self.garbled + self.streamed + self.warm_up
    }
}

/// A column that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Offender {
    /// Its name.
    pub column: String,
    /// Its family.
    pub family: String,
    /// Which check.
    pub check: String,
    /// Values that differ.
    pub values: u64,
    /// Of which coin the first is.
    pub symbol: String,
    /// Start of its bar.
    pub at: String,
    /// What was found there.
    pub found: Option<f64>,
    /// What it is with the whole history; `None` where there should be none.
    pub expected: Option<f64>,
}

/// What the analysis came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Lookahead {
    /// Coins looked at.
    pub coins: usize,
    /// Coins of the market around them, themselves included.
    pub market: usize,
    /// When the series were cut.
    pub cuts: Vec<String>,
    /// By family.
    pub families: Vec<FamilyRow>,
    /// Columns that differ, the worst first.
    pub worst: Vec<Offender>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// What the configuration or the candles refuse. Differences are output with
/// [`Exit::VerificationFailed`].
pub fn run(
    args: &LookaheadArgs,
    global: &Global,
    world: &World,
    session: &Session,
) -> Result<Output, Failure> {
    let loaded = settings::load(global, world, args.flags.said())?;
    let request = LookaheadRequest {
        candles: args.candles.clone(),
        symbols: args.symbols.as_ref().map(|s| s.resolve(loaded.config.market)).transpose()?,
        coins: args.coins.max(1),
        features: args.features.clone(),
        cuts: args.cuts.max(1),
    };
    Ok(output(&wiring::lookahead(&request, &loaded.config, session)?, world.width))
}

/// Offenders shown to people.
const SHOWN: usize = 10;

fn output(found: &Lookahead, width: Option<usize>) -> Output {
    let columns = [
        ("family", Align::Left),
        ("columns", Align::Right),
        ("values", Align::Right),
        ("truncated", Align::Right),
        ("garbled", Align::Right),
        ("streamed", Align::Right),
        ("warm-up", Align::Right),
    ];
    let mut table = Table::new(&columns);
    for row in &found.families {
        let counts = [row.truncated, row.garbled, row.streamed, row.warm_up];
        let head = [row.family.clone(), row.columns.to_string(), row.values.to_string()];
        table.row(head.into_iter().chain(counts.map(|n| n.to_string())));
    }
    let mut text = format!("{}\n", table.render(width));
    let differing: u64 = found.families.iter().map(FamilyRow::differing).sum();
    let compared: u64 = found.families.iter().map(|row| row.values).sum();
    let number = |value: Option<f64>| value.map_or("nothing".to_owned(), |v| format!("{v}"));
    for one in found.worst.iter().take(SHOWN) {
        text.push_str(&format!(
            "{} ({}): {} values differ when {}; the first, {} at {}, is {} and should be {}\n",
            one.column,
            one.family,
            one.values,
            one.check.replace('_', " "),
            one.symbol,
            one.at,
            number(one.found),
            number(one.expected)
        ));
    }
    if found.worst.len() > SHOWN {
        text.push_str(&format!("and {} more columns\n", found.worst.len() - SHOWN));
    }
    for note in &found.notes {
        text.push_str(&format!("{note}\n"));
    }
    text.push_str(&format!(
        "{compared} values of {} coins in a market of {}, cut {} times: {}\n",
        found.coins,
        found.market,
        found.cuts.len(),
        if differing == 0 { "none knows the future".to_owned() } else { format!("{differing} differ") }
    ));
    let exit = if differing == 0 { Exit::Ok } else { Exit::VerificationFailed };
    let json = json!({"schema": "huracan-cli-lookahead/1", "ok": differing == 0, "lookahead": found});
    Output { exit, text, json }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_differing_value_fails_the_analysis_and_is_named() {
        let clean =
            FamilyRow { family: "volatility".into(), columns: 3, values: 900, ..FamilyRow::default() };
        let mut found = Lookahead { families: vec![clean.clone()], ..Lookahead::default() };
        assert_eq!(output(&found, None).exit, Exit::Ok);
        found.families.push(FamilyRow { truncated: 1, ..clean });
        found.worst.push(Offender {
            column: "centred_mean".into(),
            family: "volatility".into(),
            check: "truncated".into(),
            values: 1,
            symbol: "BTCUSDT".into(),
            at: "2025-01-01T00:00:00Z".into(),
            found: Some(1.0),
            expected: None,
        });
        let failed = output(&found, None);
        assert_eq!(failed.exit, Exit::VerificationFailed);
        assert!(failed.text.contains("centred_mean (volatility)"), "{}", failed.text);
        assert!(failed.text.contains("1 differ"), "{}", failed.text);
    }
}
