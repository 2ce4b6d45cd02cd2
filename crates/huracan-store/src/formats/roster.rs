//! `champions/roster.json`: every coin of the universe, ranked, skipped or failed; what Hamilton reads.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Document;
use super::champion::check_model_path;
use super::check::{self, Checked};
use super::figures::{Figures, GateReading, Label, check_verdict};
use super::wire::{Coin, Quantity, Time};

/// The whole document.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Roster {
    /// The run that wrote it.
    pub run_id: String,
    /// The day it is of, `YYYYMMDD`.
    pub date: String,
    /// When it was written.
    pub generated_at: Time,
    /// When it is too old to trade on.
    pub expires_at: Time,
    /// Coins in the universe: the length of the three lists together.
    pub total_symbols: u64,
    /// Coins that may be traded.
    pub trade_ok_count: u64,
    /// How the ranks came about.
    pub ranking: Ranking,
    /// Coins with a champion, by rank.
    pub symbols: Vec<RosterLine>,
    /// Coins that failed a gate before training.
    pub skipped: Vec<Skipped>,
    /// Coins whose job broke.
    pub failed: Vec<Failed>,
}

/// The rule behind the ranks.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Ranking {
    /// Its name.
    pub method: String,
    /// Weight of each component.
    pub weights: BTreeMap<String, f64>,
}

/// One coin with a champion.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RosterLine {
    /// The coin.
    pub symbol: Coin,
    /// The champion's folder.
    pub model_path: String,
    /// 1 is best; every `trade_ok` coin ranks before every other.
    pub rank: u64,
    /// Median spread.
    pub spread_bps: f64,
    /// Fee, one side.
    pub fee_bps: f64,
    /// Slippage, one side at the reference size.
    pub avg_slip_bps: f64,
    /// Round trip as the trial charges it: in and out of the coin, of the hedge where the book has one,
    /// and funding over the horizon.
    pub total_cost_bps: f64,
    /// After-cost bps of the trades closed in the last 7×24 h of the window.
    pub last_7d_net_bps: f64,
    /// Whether it may be traded.
    pub trade_ok: bool,
    /// Each gate with value and limit.
    pub trade_ok_reasons: Vec<GateReading>,
    /// Median daily quote volume, 30 days.
    pub adv_usd: f64,
    /// Order size at which the expected net edge reaches zero, at no more than 1 % of `adv_usd`; `null`
    /// when there is no edge.
    pub capacity_usd: Option<f64>,
    /// Regime tag at the end of the data.
    pub regime: String,
    /// What the head predicts, for example `relative`.
    pub label: String,
    /// Bars from entry to exit.
    pub horizon_bars: u32,
    /// Whether positions are held against the market.
    pub book: Book,
    /// Which sides may be taken.
    pub sides: Sides,
    /// Each component of the rank score.
    pub rank_components: BTreeMap<String, f64>,
    /// The encoder the head needs; `null` for a head without.
    pub encoder_id: Option<String>,
    /// SHA-256 of `model.bin`.
    pub model_sha256: String,
    /// When the model is too old to open positions (the champion's `expires_at`).
    pub model_expires_at: Time,
    /// The five figures.
    pub metrics: Figures,
}

/// How positions are held.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Book {
    /// The coin alone.
    Outright,
    /// The coin against beta times the market.
    Hedged,
}

/// Which sides may be taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sides {
    /// Long or flat.
    Long,
    /// Long, short or flat.
    LongShort,
}

/// A coin that failed gates.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Skipped {
    /// The coin, as far as it could be read: the name of a folder or file when not even that is one.
    pub symbol: String,
    /// Every gate that failed.
    pub skip_reasons: Vec<SkipReason>,
}

/// One gate that failed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SkipReason {
    /// Stable code of the gate.
    pub code: String,
    /// What was found.
    pub found: Option<Quantity>,
    /// The limit it was held against.
    pub limit: Option<Quantity>,
}

/// A coin whose job broke.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Failed {
    /// The coin.
    pub symbol: String,
    /// The step that broke.
    pub step: String,
    /// The error with its causes.
    pub error: String,
}

impl RosterLine {
    fn check(&self) -> Checked {
        let name = self.symbol.to_string();
        check_model_path(&format!("{name}.model_path"), &self.symbol, &self.model_path)?;
        check::positive(&format!("{name}.spread_bps"), self.spread_bps)?;
        check::not_negative(&format!("{name}.fee_bps"), self.fee_bps)?;
        check::not_negative(&format!("{name}.avg_slip_bps"), self.avg_slip_bps)?;
        check::not_negative(&format!("{name}.adv_usd"), self.adv_usd)?;
        self.capacity_usd.map_or(Ok(()), |c| check::not_negative(&format!("{name}.capacity_usd"), c))?;
        Label { kind: self.label.clone(), horizon_bars: self.horizon_bars, entry_lag_bars: 0 }.check()?;
        check::encoder_id(&format!("{name}.encoder_id"), self.encoder_id.as_deref())?;
        check::sha256(&format!("{name}.model_sha256"), &self.model_sha256)?;
        self.metrics.check(&format!("{name}.metrics"))?;
        check_verdict(&name, self.trade_ok, &self.trade_ok_reasons)
    }
}

impl Document for Roster {
    const NAME: &'static str = "roster";

    fn check(&self) -> Checked {
        check::run_id("run_id", &self.run_id)?;
        check::date("date", &self.date)?;
        check::that(self.generated_at <= self.expires_at, || {
            format!("the roster expires at {}, before it was written", self.expires_at)
        })?;
        check::named("ranking.method", &self.ranking.method)?;

        self.symbols.iter().try_for_each(RosterLine::check)?;
        for (i, line) in self.symbols.iter().enumerate() {
            check::that(line.rank == i as u64 + 1, || {
                format!(
                    "{} has rank {} in place {}, expected the ranks 1, 2, 3, … in order",
                    line.symbol,
                    line.rank,
                    i + 1
                )
            })?;
        }
        let late = self.symbols.windows(2).find(|pair| !pair[0].trade_ok && pair[1].trade_ok);
        check::that(late.is_none(), || {
            format!(
                "{} is trade_ok and ranks after one that is not, expected every trade_ok before every other",
                late.map_or(String::new(), |pair| pair[1].symbol.to_string())
            )
        })?;

        let trade_ok = self.symbols.iter().filter(|line| line.trade_ok).count() as u64;
        check::that(self.trade_ok_count == trade_ok, || {
            format!("trade_ok_count is {}, the list has {trade_ok}", self.trade_ok_count)
        })?;
        let total = (self.symbols.len() + self.skipped.len() + self.failed.len()) as u64;
        check::that(self.total_symbols == total, || {
            format!("total_symbols is {}, the three lists have {total}", self.total_symbols)
        })?;
        let mut seen = BTreeSet::new();
        let ranked = self.symbols.iter().map(|line| line.symbol.to_string());
        let skipped = self.skipped.iter().map(|line| line.symbol.clone());
        let failed = self.failed.iter().map(|line| line.symbol.clone());
        for symbol in ranked.chain(skipped).chain(failed) {
            check::named("symbol", &symbol)?;
            check::that(seen.insert(symbol.clone()), || {
                format!("{symbol} is in the roster twice, expected it in exactly one list")
            })?;
        }
        for line in &self.skipped {
            check::that(!line.skip_reasons.is_empty(), || {
                format!("{} is skipped without a reason, expected at least one", line.symbol)
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn a_roster_that_contradicts_itself_is_refused() {
        let check = |spoil: fn(&mut Roster), says: &str| {
            let mut roster = samples::roster();
            assert_eq!(roster.check(), Ok(()));
            spoil(&mut roster);
            let found = roster.check().unwrap_err();
            assert!(found.contains(says), "{found}");
        };
        check(|r| r.symbols[1].rank = 1, "rank 1 in place 2");
        check(|r| r.total_symbols += 1, "total_symbols");
        check(|r| r.trade_ok_count += 1, "trade_ok_count");
        check(|r| r.skipped[0].symbol = "BTCUSDT".into(), "twice");
        check(|r| r.skipped[0].skip_reasons.clear(), "without a reason");
        check(|r| r.symbols[0].model_path = "models/ETHUSDT/x".into(), "model folder of BTCUSDT");
        check(|r| r.symbols[0].model_path = "models/../x".into(), "model_path");
        check(|r| r.symbols[0].model_sha256 = "abc".into(), "hex");
        check(|r| r.symbols[0].trade_ok_reasons[0].passed = false, "failed");
        check(|r| r.symbols[0].trade_ok_reasons.clear(), "without a gate");
        check(
            |r| {
                r.symbols[0].trade_ok = false;
                r.symbols[1].trade_ok = true;
                r.symbols[1].trade_ok_reasons[0].passed = true;
            },
            "ranks after",
        );
    }

    #[test]
    fn nobody_fit_to_trade_is_a_normal_roster() {
        let mut roster = samples::roster();
        roster.symbols.clear();
        (roster.trade_ok_count, roster.total_symbols) = (0, 2);
        assert_eq!(roster.check(), Ok(()));
    }
}
