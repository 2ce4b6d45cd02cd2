//! `huracan lookahead`: coins and a market around them, and what the analysis says.

use super::Session;
use crate::cli::lookahead::{FamilyRow, Lookahead, LookaheadRequest, Offender};
use crate::cli::symbols;
use crate::config::EngineConfig;
use crate::failure::{Exit, Failure};
use huracan_core::features::{FEATURES, Family};
use huracan_core::series::{Series, align, cut_at_last_relisting};
use huracan_core::synth::MarketSpec;
use huracan_core::words::Symbol;
use huracan_train::lookahead::{self, Check, CostProbe, FeatureProbe, LabelProbe, Options, Probe};
use huracan_train::settings::Universe;
use huracan_train::source::{CandleSource, Entry, FolderSource, SynthSource};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

/// Coins around those that are looked at, so that ranks among coins exist.
const MARKET_COINS: usize = 24;
/// The last bars of each series that are looked at.
const BARS_MAX: usize = 8_000;

/// Analyses features, labels and costs on candles, or on a generated market.
///
/// # Errors
/// [`Exit::InputData`] when the candles cannot be read, [`Exit::Usage`] for a name that is neither
/// feature nor family, or a coin that is not there.
pub fn lookahead(
    request: &LookaheadRequest,
    config: &EngineConfig,
    session: &Session,
) -> Result<Lookahead, Failure> {
    let columns = columns(&request.features)?;
    let source: Box<dyn CandleSource> = match &request.candles {
        Some(folder) => Box::new(FolderSource::open(folder, config.bar, Some(config.market))?),
        None => Box::new(SynthSource::new(&MarketSpec {
            coins: MARKET_COINS,
            days: 120,
            timeframe: config.bar,
            market: config.market,
            dirty: 0,
            stablecoins: 0,
            ..MarketSpec::default()
        })),
    };
    let settings = super::settings::settings(config, Universe::All, None, None);
    let wanted = wanted(request, source.as_ref())?;
    let mut notes = Vec::new();
    let (mut market, mut judged) = (Vec::new(), Vec::new());
    for (index, is_judged) in around(&wanted, source.as_ref()) {
        if session.interrupted.load(Ordering::Relaxed) {
            return Err(Failure::new(Exit::Interrupted, "interrupted", "the analysis was stopped"));
        }
        let Entry::Coin(symbol) = &source.entries()[index] else { continue };
        match series(symbol, source.as_ref(), index, config) {
            Ok(series) => {
                if is_judged {
                    judged.push(market.len());
                }
                market.push(series);
            }
            Err(text) => notes.push(format!("{symbol} is left out: {text}")),
        }
    }
    if judged.is_empty() {
        let message = format!("none of {} coins could be read", wanted.len());
        return Err(Failure::new(Exit::InputData, "nothing_readable", message)
            .help("huracan data check shows what is wrong with each"));
    }
    let features = FeatureProbe { columns };
    let labels: Vec<LabelProbe<'_>> =
        settings.horizons().into_iter().map(|horizon| LabelProbe { settings: &settings, horizon }).collect();
    let costs = CostProbe { settings: &settings };
    let mut probes: Vec<&dyn Probe> = vec![&features];
    if request.features.is_empty() {
        probes.extend(labels.iter().map(|probe| probe as &dyn Probe));
        probes.push(&costs);
    }
    let options = Options { cuts: request.cuts, seed: config.seed.child("lookahead", 0) };
    let found = lookahead::analyse(&market, &judged, &probes, &features.columns, &options)
        .map_err(|error| Failure::new(Exit::InputData, "market_context", error.to_string()))?;
    Ok(answer(found, market.len(), notes))
}

fn answer(found: lookahead::Findings, market: usize, notes: Vec<String>) -> Lookahead {
    let row = |(family, line): (String, lookahead::FamilyLine)| {
        let of = |check: Check| line.differing.get(&check).copied().unwrap_or(0);
        FamilyRow {
            family,
            columns: line.columns,
            values: line.rows,
            truncated: of(Check::Truncated),
            garbled: of(Check::Garbled),
            streamed: of(Check::Streamed),
            warm_up: of(Check::WarmUp),
        }
    };
    let offender = |d: lookahead::Difference| Offender {
        column: d.column.name,
        family: d.column.family,
        check: d.check.code().to_owned(),
        values: d.rows,
        symbol: d.symbol.to_string(),
        at: d.at.to_string(),
        found: Some(d.found).filter(|v| v.is_finite()),
        expected: Some(d.expected).filter(|v| v.is_finite()),
    };
    Lookahead {
        coins: found.coins,
        market,
        cuts: found.cuts.iter().map(ToString::to_string).collect(),
        families: found.families.into_iter().map(row).collect(),
        worst: found.worst.into_iter().map(offender).collect(),
        notes,
    }
}

/// Indices of the features that a list of features and families names; of all for an empty list.
fn columns(names: &[String]) -> Result<Vec<usize>, Failure> {
    if names.is_empty() {
        return Ok((0..FEATURES.len()).collect());
    }
    let mut found = BTreeSet::new();
    for name in names {
        let before = found.len();
        let family = Family::ALL.into_iter().find(|family| family.code() == name);
        let is = |i: &usize| FEATURES[*i].name == name || Some(FEATURES[*i].family) == family;
        found.extend((0..FEATURES.len()).filter(is));
        let repeated = huracan_core::features::index_of(name).is_some_and(|i| found.contains(&i));
        if found.len() == before && !repeated && family.is_none() {
            let message = format!("{name:?} is neither a feature nor a family");
            return Err(
                Failure::new(Exit::Usage, "unknown_feature", message).help("huracan features lists both")
            );
        }
    }
    Ok(found.into_iter().collect())
}

/// Positions of the coins to be looked at.
fn wanted(request: &LookaheadRequest, source: &dyn CandleSource) -> Result<Vec<usize>, Failure> {
    let coins = coins(source);
    let spread = |n: usize| coins.iter().copied().step_by(coins.len().div_ceil(n).max(1)).collect();
    match &request.symbols {
        None => Ok(spread(request.coins)),
        Some(symbols::Universe::All | symbols::Universe::Staged) => Ok(coins),
        Some(symbols::Universe::Top(n)) => {
            let message = format!("--symbols top:{n} asks for volumes, which this analysis does not look at");
            Err(Failure::new(Exit::Usage, "no_volumes", message).help(format!("--coins {n} takes as many")))
        }
        Some(symbols::Universe::Named(names)) => names
            .iter()
            .map(|name| {
                let perp = |s: &Symbol| s.pair() == name.pair();
                let exact = coins.iter().find(|&&i| symbol_at(source, i).is_some_and(|s| s == name));
                let any = || coins.iter().find(|&&i| symbol_at(source, i).is_some_and(perp));
                exact.or_else(any).copied().ok_or_else(|| {
                    Failure::new(Exit::Usage, "unknown_symbol", format!("{name} is not among the candles"))
                        .help("huracan data check lists what is there")
                })
            })
            .collect(),
    }
}

fn symbol_at(source: &dyn CandleSource, index: usize) -> Option<&Symbol> {
    match &source.entries()[index] {
        Entry::Coin(symbol) => Some(symbol),
        Entry::Refused { .. } => None,
    }
}

fn coins(source: &dyn CandleSource) -> Vec<usize> {
    (0..source.entries().len()).filter(|&i| symbol_at(source, i).is_some()).collect()
}

/// The coins with a market around them: Bitcoin, Ether, and others spread over the source.
fn around(wanted: &[usize], source: &dyn CandleSource) -> Vec<(usize, bool)> {
    let coins = coins(source);
    let mut all: BTreeSet<usize> = wanted.iter().copied().collect();
    let leads = |i: &usize| symbol_at(source, *i).is_some_and(|s| matches!(s.underlying(), "BTC" | "ETH"));
    all.extend(coins.iter().copied().filter(leads));
    for &i in coins.iter().step_by((coins.len() / MARKET_COINS).max(1)) {
        if all.len() >= MARKET_COINS {
            break;
        }
        all.insert(i);
    }
    all.into_iter().map(|i| (i, wanted.contains(&i))).collect()
}

/// One coin's series as a run would see it, at most its last bars.
fn series(
    symbol: &Symbol,
    source: &dyn CandleSource,
    index: usize,
    config: &EngineConfig,
) -> Result<Series, String> {
    let mut loaded = source.load(index).map_err(|failure| failure.text)?;
    let last = loaded.bars.open_time.iter().copied().max().unwrap_or(0);
    let first = last - BARS_MAX as i64 * config.bar.ms();
    let keep: Vec<bool> = loaded.bars.open_time.iter().map(|&time| time > first).collect();
    let bars = &mut loaded.bars;
    let shorten = |column: &mut Vec<f64>| {
        let mut kept = keep.iter();
        column.retain(|_| kept.next().copied().unwrap_or(true));
    };
    let prices = [&mut bars.open, &mut bars.high, &mut bars.low, &mut bars.close, &mut bars.volume];
    prices.into_iter().for_each(shorten);
    let optional =
        [&mut bars.quote_volume, &mut bars.trades, &mut bars.taker_buy_base, &mut bars.taker_buy_quote];
    optional.into_iter().flatten().for_each(shorten);
    bars.open_time.retain(|&time| time > first);
    let (series, profile) =
        align(symbol, config.bar, loaded.bars, None).map_err(|error| error.to_string())?;
    Ok(cut_at_last_relisting(series, &profile).0)
}
