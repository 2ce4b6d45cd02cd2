//! `huracan demo`: a generated market, a run over all of it, and what it said of coins whose truth is
//! known.

use super::train::{open, run};
use super::{Session, settings};
use crate::cli::train::{RunSummary, Truth};
use crate::config::Loaded;
use crate::failure::Failure;
use huracan_core::synth::MarketSpec;
use huracan_core::words::Symbol;
use huracan_store::formats::roster::{Roster, RosterLine};
use huracan_store::formats::run::RunSource;
use huracan_store::roster;
use huracan_train::settings::Universe;
use huracan_train::source::{CandleSource, Entry, SynthSource};
use std::collections::BTreeMap;
use std::path::Path;

/// Share of planted coins whose net after costs must be significant.
const SIGNIFICANT_SHARE_MIN: f64 = 0.7;
/// Share of planted coins that must pass every gate. Measured: 43 of 52, of 45 that are significant;
/// the others trade too seldom, or win too few of their trades, for the product's limits.
const FOUND_SHARE_MIN: f64 = 0.7;

/// The demo's market: 400 perpetuals, 300 days; 40 share an edge, 12 have one of their own, strong
/// enough to be told from luck in 150 days out of sample (at twice the label
/// correlation of .25 that canaries are meant to have).
pub(super) fn source() -> SynthSource {
    SynthSource::new(&MarketSpec {
        days: 300,
        label_correlation: 0.5,
        planted_shared: 40,
        planted_private: 12,
        ..MarketSpec::default()
    })
}

/// Generates the market, trains on it and publishes into `store`.
///
/// # Errors
/// As [`super::train`].
pub fn demo(store: &Path, loaded: &Loaded, session: &Session) -> Result<RunSummary, Failure> {
    let source = source();
    let settings = settings::settings(&loaded.config, Universe::All, None, None);
    let mut summary = run(store, settings, loaded, RunSource::Demo, &source, session)?;
    let published = roster::read(&open(store)?)?;
    summary.truth = published.map(|(roster, _)| truth(&source, &roster));
    Ok(summary)
}

fn truth(source: &SynthSource, roster: &Roster) -> Truth {
    let lines: BTreeMap<&Symbol, &RosterLine> =
        roster.symbols.iter().map(|line| (&line.symbol.0, line)).collect();
    let mut truth = Truth {
        found_share_min: FOUND_SHARE_MIN,
        significant_share_min: SIGNIFICANT_SHARE_MIN,
        ..Truth::default()
    };
    for (index, entry) in source.entries().iter().enumerate() {
        let Entry::Coin(symbol) = entry else { continue };
        let line = lines.get(symbol);
        let ok = line.is_some_and(|line| line.trade_ok);
        let passed = |line: &&RosterLine| {
            line.trade_ok_reasons.iter().any(|gate| gate.gate == "significance_q" && gate.passed)
        };
        if source.truth(index).kind.is_planted() {
            truth.planted += 1;
            truth.planted_found += usize::from(ok);
            truth.planted_significant += usize::from(line.is_some_and(passed));
        } else {
            truth.others += 1;
            truth.others_trade_ok += usize::from(ok);
        }
    }
    truth
}
