//! `huracan demo`: a generated market, a run over all of it, and what it said of coins whose truth is
//! known.

use super::train::{open, run};
use super::{Session, settings};
use crate::cli::train::{RunSummary, Truth};
use crate::config::Loaded;
use crate::failure::Failure;
use huracan_core::synth::MarketSpec;
use huracan_store::formats::run::RunSource;
use huracan_store::roster;
use huracan_train::settings::Universe;
use huracan_train::source::{CandleSource, Entry, SynthSource};
use std::collections::BTreeSet;
use std::path::Path;

/// Share of planted coins that must be found.
pub const FOUND_SHARE_MIN: f64 = 0.5;

/// The demo's market: 400 perpetuals, 300 days, edges that a perfect forecaster finds in nine coins
/// of ten.
pub(super) fn source() -> SynthSource {
    SynthSource::new(&MarketSpec { days: 300, label_correlation: 0.35, ..MarketSpec::default() })
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
    let passed: BTreeSet<String> = published.map_or_else(BTreeSet::new, |(roster, _)| {
        roster.symbols.iter().filter(|line| line.trade_ok).map(|line| line.symbol.to_string()).collect()
    });
    summary.truth = Some(truth(&source, &passed));
    Ok(summary)
}

fn truth(source: &SynthSource, passed: &BTreeSet<String>) -> Truth {
    let mut truth = Truth { found_share_min: FOUND_SHARE_MIN, ..Truth::default() };
    for (index, entry) in source.entries().iter().enumerate() {
        let Entry::Coin(symbol) = entry else { continue };
        let ok = passed.contains(&symbol.to_string());
        if source.truth(index).kind.is_planted() {
            truth.planted += 1;
            truth.planted_found += usize::from(ok);
        } else {
            truth.others += 1;
            truth.others_trade_ok += usize::from(ok);
        }
    }
    truth
}
