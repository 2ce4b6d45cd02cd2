//! `huracan train`: one run of the Engine.

use super::settings::{self, CandleFlags};
use super::symbols::{Selector, Universe};
use super::{Global, Output, World};
use crate::failure::{Exit, Failure};
use crate::progress::duration;
use crate::wiring::{self, Session};
use clap::Args;
use huracan_core::words::{Seed, UtcMs};
use serde::Serialize;
use serde_json::json;
use std::path::PathBuf;

/// Flags of `train`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
The first run takes the engine.start_with_symbols most liquid coins that pass their gates; each
successful run grows the universe to engine.target_symbols. --symbols overrides that.
Running twice over the same candles publishes the same bytes. A stopped run goes on where it was.

Examples:
  huracan train --candles ./candles --bar 1h
  huracan train --candles ./candles --symbols all --workers 8
  huracan train --candles ./candles --symbols BTCUSDT,ETHUSDT --until 2025-07-01
  huracan train --candles ./candles --symbols @coins.txt --config huracan.yaml
  huracan train --candles ./candles --placebo 7      the same run on signs drawn at random: nothing
                                                     should be trade_ok; never published as champions")]
pub struct TrainArgs {
    /// Folder of candle files (Parquet, CSV, zip), any depth
    #[arg(long, value_name = "DIR")]
    pub candles: PathBuf,
    /// Flags that are settings.
    #[command(flatten)]
    pub flags: CandleFlags,
    /// Coins: all, top:N, a list such as BTCUSDT,ETHUSDT.P, or @FILE [default: the staged universe]
    #[arg(long, value_name = "SYMBOLS")]
    pub symbols: Option<Selector>,
    /// Coins worked on at once; never changes results [setting: engine.parallel_tasks]
    #[arg(long, value_name = "N")]
    pub workers: Option<u64>,
    /// Use only bars complete by this time: 2025-07-01 or 2025-07-01T12:00:00Z [default: the end of the data]
    #[arg(long, value_name = "TIME")]
    pub until: Option<UtcMs>,
    /// Draw the signs of labels and returns at random from this seed: a run that must find nothing
    #[arg(long, value_name = "SEED")]
    pub placebo: Option<u64>,
}

/// What a run of the Engine is asked to do, beside its configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainRequest {
    /// Folder of candles.
    pub candles: PathBuf,
    /// Folder of results.
    pub store: PathBuf,
    /// Which coins.
    pub universe: Universe,
    /// Use only bars complete by then; `None` means the end of the data.
    pub until: Option<UtcMs>,
    /// Random signs from this seed instead of the truth.
    pub placebo: Option<Seed>,
}

/// What a run of the Engine came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunSummary {
    /// `{DATE}T{HHMMSS}Z-{8 hex}`.
    pub run_id: String,
    /// Identity of the configuration.
    pub config_id: String,
    /// Folder of results.
    pub store: PathBuf,
    /// Coins with a model.
    pub trained: usize,
    /// Coins that did not pass their gates.
    pub skipped: usize,
    /// Coins whose job broke.
    pub failed: usize,
    /// Coins that may be proposed for trading.
    pub trade_ok: usize,
    /// Identity of the shared encoder, where one is used.
    pub encoder_id: Option<String>,
    /// Whether the roster was published.
    pub published: bool,
    /// What a reader should know: warnings, why nothing was published.
    pub notes: Vec<String>,
    /// Wall-clock seconds.
    pub seconds: f64,
}

/// Runs the command.
///
/// # Errors
/// What the configuration, the candles, the store or the run refuse.
pub fn run(args: &TrainArgs, global: &Global, world: &World, session: &Session) -> Result<Output, Failure> {
    let mut flags = args.flags.said();
    flags.extend(args.workers.map(|n| settings::said("engine.parallel_tasks", n.into(), "--workers")));
    let loaded = settings::load(global, world, flags)?;
    let universe = match &args.symbols {
        Some(selector) => selector.resolve(loaded.config.market)?,
        None => Universe::Staged,
    };
    let request = TrainRequest {
        candles: args.candles.clone(),
        store: settings::store(global, world),
        universe,
        until: args.until,
        placebo: args.placebo.map(Seed),
    };
    Ok(output(&wiring::train(&request, &loaded.config, session)?))
}

/// A run's summary for people and programs.
pub fn output(summary: &RunSummary) -> Output {
    let store = summary.store.display();
    let mut text = format!(
        "run {}: {} trained, {} skipped, {} failed, {} trade_ok, in {}\n",
        summary.run_id,
        summary.trained,
        summary.skipped,
        summary.failed,
        summary.trade_ok,
        duration(summary.seconds)
    );
    for note in &summary.notes {
        text.push_str(&format!("  {note}\n"));
    }
    if summary.published {
        if summary.trade_ok == 0 {
            text.push_str("No coin may be traded. That is a result: nothing survived its costs and gates.\n");
        }
        text.push_str(&format!("next: huracan roster --store {store}\n"));
    } else {
        text.push_str("Nothing was published.\n");
    }
    let exit = if summary.published { Exit::Ok } else { Exit::NotPublished };
    Output { exit, text, json: json!({"schema": "huracan-cli-run/1", "run": summary}) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(published: bool) -> RunSummary {
        RunSummary {
            run_id: "20250701T000000Z-0a1b2c3d".into(),
            config_id: "c".into(),
            store: "s".into(),
            trained: 3,
            skipped: 1,
            failed: 0,
            trade_ok: 0,
            encoder_id: None,
            published,
            notes: vec!["two coins are stale".into()],
            seconds: 3.0,
        }
    }

    #[test]
    fn no_coin_to_trade_is_a_result_and_nothing_published_is_not() {
        let published = output(&summary(true));
        assert_eq!(published.exit, Exit::Ok);
        assert!(published.text.contains("That is a result"), "{}", published.text);
        assert_eq!(output(&summary(false)).exit, Exit::NotPublished);
        assert_eq!(published.json["run"]["encoder_id"], serde_json::Value::Null);
    }
}
