//! The first look at every coin: read, align, profile, calibrate costs, judge by the data gates,
//! choose the universe. Leaves the aligned series on scratch for the later passes.

use super::{Engine, EngineError, RELATIVE_COINS_MIN};
use crate::jobs::{JobFault, checkpoint};
use crate::pipeline::meter::kept_code;
use crate::scratch::{Scratch, ScratchError};
use crate::settings::{Settings, Universe};
use crate::source::{CandleSource, Entry, InputFile, LoadFailure};
use huracan_core::costs::{self, CostModel};
use huracan_core::gates::{self, Verdict};
use huracan_core::labels::Grid;
use huracan_core::series::{self, Profile, Series};
use huracan_core::words::{Symbol, UtcMs};

/// One reason why a symbol is not in the roster: stable code, what was found, the limit.
#[derive(Clone, Debug, PartialEq)]
pub struct Reason {
    /// Stable code.
    pub code: String,
    /// What was found.
    pub found: String,
    /// What was asked.
    pub limit: String,
}

/// A symbol that was looked at and not trained.
#[derive(Clone, Debug, PartialEq)]
pub struct Skipped {
    /// Symbol, or the name of the file that named none.
    pub symbol: String,
    /// Every failing gate.
    pub reasons: Vec<Reason>,
}

/// A symbol whose job broke.
#[derive(Clone, Debug, PartialEq)]
pub struct Failed {
    /// Symbol.
    pub symbol: String,
    /// Pass in which it broke.
    pub step: &'static str,
    /// Stable code of what happened, as it is kept.
    pub code: String,
    /// What happened.
    pub error: String,
}

impl Failed {
    /// A coin whose job ended with a fault.
    pub fn new(symbol: String, step: &'static str, fault: JobFault) -> Failed {
        Failed { symbol, step, code: kept_code(&fault).to_owned(), error: fault.text }
    }
}

/// A coin that may be trained.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Coin {
    /// Its name.
    pub symbol: Symbol,
    /// Position in the source.
    pub source_index: usize,
    /// What was found in its bars.
    pub profile: Profile,
    /// What the data gates say; `train` is empty.
    #[serde(skip)]
    pub verdict: Verdict,
    /// The files its bars came from.
    #[serde(skip)]
    pub inputs: Vec<InputFile>,
    /// Costs calibrated at the end of its bars.
    pub costs: CostModel,
    shape: Shape,
}

#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
struct Shape {
    start: UtcMs,
    len: usize,
    trades: bool,
    taker: bool,
}

impl Coin {
    /// Start of its first bar.
    pub fn start(&self) -> UtcMs {
        self.shape.start
    }

    /// End of its last bar.
    pub fn end(&self) -> UtcMs {
        UtcMs(self.shape.start.0 + self.shape.len as i64 * self.profile.timeframe.ms())
    }

    /// Bars, missing ones included.
    #[expect(clippy::len_without_is_empty, reason = "a coin that may be trained is never empty")]
    pub fn len(&self) -> usize {
        self.shape.len
    }

    /// Whether the source counts trades, and taker volume.
    pub fn extras(&self) -> (bool, bool) {
        (self.shape.trades, self.shape.taker)
    }

    /// The aligned series, from scratch.
    ///
    /// # Errors
    /// When the scratch file cannot be read back.
    pub fn series(&self, scratch: &Scratch) -> Result<Series, ScratchError> {
        let flat = scratch.read(&name(self.source_index))?;
        let n = self.shape.len;
        let mut columns = flat.chunks_exact(n.max(1)).map(<[f64]>::to_vec);
        let mut next = || columns.next().unwrap_or_default();
        Ok(Series {
            symbol: self.symbol.clone(),
            timeframe: self.profile.timeframe,
            start: self.shape.start,
            open: next(),
            high: next(),
            low: next(),
            close: next(),
            volume: next(),
            quote_volume: next(),
            trades: self.shape.trades.then(&mut next),
            taker_buy_base: self.shape.taker.then(&mut next),
        })
    }
}

impl Survey {
    /// Names of the coins, in order.
    pub fn names(&self) -> Vec<String> {
        self.coins.iter().map(|coin| coin.symbol.to_string()).collect()
    }

    /// Positions of all coins of the same underlying as the one at a position, itself included.
    pub fn twins(&self, coin: usize) -> Vec<usize> {
        let underlying = self.coins[coin].symbol.underlying();
        (0..self.coins.len()).filter(|&j| self.coins[j].symbol.underlying() == underlying).collect()
    }

    /// From when on a coin is part of the market that others are measured against: from its first bar if
    /// the data began with it, else from the day on which its history is long enough to train. A coin that
    /// passes that gate today then changes no market of the past, neither what labels subtract nor what
    /// features see, and what was found out before it came stays true.
    pub fn member_from(&self, settings: &Settings, coin: &Coin) -> UtcMs {
        if coin.start() < self.founded { coin.start() } else { seasoned_at(settings, coin) }
    }
}

/// Days after the data began in which a first bar is no listing.
const FOUNDING_DAYS: i64 = 7;

/// The end of the founding days. Data begin when there are coins enough for a market: one series that
/// reaches further back than all others does not make listings of them.
fn founded(starts: impl Iterator<Item = UtcMs>) -> UtcMs {
    let mut starts: Vec<UtcMs> = starts.collect();
    starts.sort_unstable();
    let began = starts.get(RELATIVE_COINS_MIN - 1).or(starts.last()).map_or(0, |start| start.0);
    UtcMs(began + FOUNDING_DAYS * UtcMs::DAY)
}

/// When a coin's history is long enough to train.
pub fn seasoned_at(settings: &Settings, coin: &Coin) -> UtcMs {
    UtcMs(coin.start().0 + (settings.gates.history_days_min * UtcMs::DAY as f64) as i64)
}

/// What the survey found.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Survey {
    /// Coins to train, by symbol.
    pub coins: Vec<Coin>,
    /// Coins outside the universe that could be trained: part of the market that the universe is
    /// measured against, and of the sample that settles features and units; nothing else.
    #[serde(skip)]
    pub bystanders: Vec<Coin>,
    /// Coins of the universe that are not trained, by symbol.
    #[serde(skip)]
    pub skipped: Vec<Skipped>,
    /// Coins of the universe whose job broke, by symbol.
    #[serde(skip)]
    pub failed: Vec<Failed>,
    /// End of the run's data: no bar reaches past it.
    pub until: UtcMs,
    /// The grid over all coins, bystanders included.
    pub grid: Grid,
    /// A coin whose first bar comes before this was there when the data began.
    pub founded: UtcMs,
}

struct Look {
    series_shape: Shape,
    end: UtcMs,
    profile: Profile,
    costs: Option<CostModel>,
    inputs: Vec<InputFile>,
}

enum Sight {
    Seen(Box<Look>),
    Refused(Skipped),
    Broken(JobFault),
}

fn name(source_index: usize) -> String {
    format!("series-{source_index}")
}

/// Looks at every entry of the source.
///
/// # Errors
/// When nothing can be trained, the clock is behind the data, the scratch disk fails, or the run
/// is interrupted.
pub fn survey(engine: &Engine<'_>, source: &dyn CandleSource) -> Result<Survey, EngineError> {
    let settings = engine.settings;
    let entries = source.entries();
    engine.observer.stage_started("survey", entries.len());
    let mut sights: Vec<(String, Sight)> = Vec::with_capacity(entries.len());
    let mut disk: Option<ScratchError> = None;
    let names = names_of(entries);
    engine.here(
        "survey",
        &names,
        |i| look(engine, source, i),
        |i, result| {
            let name = names[i].clone();
            engine.observer.stage_advanced("survey", i + 1, &name);
            match result {
                Ok(Ok(sight)) => sights.push((name, sight)),
                Ok(Err(error)) => disk = Some(error),
                Err(fault) => sights.push((name, Sight::Broken(fault))),
            }
        },
    )?;
    if let Some(error) = disk {
        return Err(error.into());
    }
    let until = run_end(settings, engine.now, &sights)?;
    select(engine, entries, sights, until)
}

/// What people call the entries; one name may be there twice.
pub fn names_of(entries: &[Entry]) -> Vec<String> {
    let name = |entry: &Entry| match entry {
        Entry::Coin(symbol) => symbol.to_string(),
        Entry::Refused { name, .. } => name.clone(),
    };
    entries.iter().map(name).collect()
}

fn look(engine: &Engine<'_>, source: &dyn CandleSource, index: usize) -> Result<Sight, ScratchError> {
    let settings = engine.settings;
    let refuse = |name: String, code: &str, found: String, limit: &str| {
        Sight::Refused(Skipped {
            symbol: name,
            reasons: vec![Reason { code: code.into(), found, limit: limit.into() }],
        })
    };
    let symbol = match &source.entries()[index] {
        Entry::Coin(symbol) => symbol,
        Entry::Refused { name, failure } => {
            return Ok(refuse(name.clone(), &failure.code, failure.text.clone(), "a readable candle series"));
        }
    };
    let loaded = match source.load(index) {
        Ok(loaded) => loaded,
        Err(LoadFailure { code, text }) => {
            return Ok(refuse(symbol.to_string(), &code, text, "a readable candle series"));
        }
    };
    checkpoint();
    let end = settings.until.unwrap_or(engine.now).min(engine.now);
    let aligned = series::align(symbol, settings.timeframe, loaded.bars, Some(end));
    let (series, mut profile) = match aligned {
        Ok(found) => found,
        Err(error) => return Ok(refuse(symbol.to_string(), "unreadable", error.to_string(), "usable bars")),
    };
    profile.notes.extend(loaded.notes);
    let (series, profile) = series::cut_at_last_relisting(series, &profile);
    checkpoint();
    let costs = costs::calibrate(&series, series.len(), &settings.fees, &settings.costs);
    checkpoint();
    let columns =
        [&series.open, &series.high, &series.low, &series.close, &series.volume, &series.quote_volume];
    let optional = [series.trades.as_ref(), series.taker_buy_base.as_ref()];
    let flat: Vec<f64> =
        columns.into_iter().chain(optional.into_iter().flatten()).flatten().copied().collect();
    engine.scratch.write(&name(index), &flat)?;
    Ok(Sight::Seen(Box::new(Look {
        series_shape: Shape {
            start: series.start,
            len: series.len(),
            trades: series.trades.is_some(),
            taker: series.taker_buy_base.is_some(),
        },
        end: series.end(),
        profile,
        costs,
        inputs: loaded.inputs,
    })))
}

/// Share of the coins that must reach the run's end: one series that was fetched later than the
/// others does not make them stale.
const END_SHARE: f64 = 0.05;

/// The end of the run: what was asked for, else the latest end that enough coins reach. A clock that
/// stands before most coins' last bars is refused rather than believed.
fn run_end(settings: &Settings, now: UtcMs, sights: &[(String, Sight)]) -> Result<UtcMs, EngineError> {
    let looks =
        || sights.iter().filter_map(|(_, s)| if let Sight::Seen(look) = s { Some(look) } else { None });
    // One row after the clock is the bar still forming; more than one is a clock that stands behind.
    let cut_short = looks().filter(|l| l.profile.rows_after_until > 1).count();
    let clock_decides = settings.until.is_none_or(|until| until > now);
    if clock_decides && cut_short > 0 && 2 * cut_short >= looks().count() {
        return Err(EngineError::ClockBehind { now, coins: cut_short });
    }
    let mut ends: Vec<UtcMs> = looks().map(|l| l.end).collect();
    ends.sort_unstable_by(|a, b| b.cmp(a));
    let place = (END_SHARE * ends.len() as f64) as usize;
    let latest = ends.get(place).copied().ok_or(EngineError::NothingReadable {
        entries: sights.len(),
        example: sights.iter().find_map(|(_, s)| match s {
            Sight::Refused(skipped) => skipped.reasons.first().map(|r| r.found.clone()),
            _ => None,
        }),
    })?;
    Ok(settings.until.unwrap_or(latest).min(now))
}

fn select(
    engine: &Engine<'_>,
    entries: &[Entry],
    sights: Vec<(String, Sight)>,
    until: UtcMs,
) -> Result<Survey, EngineError> {
    let settings = engine.settings;
    let mut order: Vec<usize> = (0..sights.len()).collect();
    let adv = |i: &usize| match &sights[*i].1 {
        Sight::Seen(look) => gates::adv_usd(&look.profile).unwrap_or(0.0),
        _ => 0.0,
    };
    let top = |n: usize, order: &mut Vec<usize>| {
        order.sort_by(|a, b| adv(b).total_cmp(&adv(a)).then(a.cmp(b)));
        order.truncate(n);
    };
    match &settings.universe {
        Universe::All => {}
        Universe::Top(n) => top(*n, &mut order),
        // The stage a universe has reached is the store's knowledge: who reads it asks for the top N.
        Universe::Staged { start, .. } => top(*start, &mut order),
        Universe::List(wanted) => {
            let is = |i: &usize, symbol: &Symbol| match &entries[*i] {
                Entry::Coin(known) => known == symbol,
                Entry::Refused { name, .. } => *name == symbol.to_string(),
            };
            for symbol in wanted {
                if !order.iter().any(|i| is(i, symbol)) {
                    return Err(EngineError::UnknownSymbol { symbol: symbol.to_string() });
                }
            }
            order.retain(|i| wanted.iter().any(|symbol| is(i, symbol)));
        }
    }
    order.sort_unstable();
    let mut keep = vec![false; sights.len()];
    order.iter().for_each(|&i| keep[i] = true);
    let (mut coins, mut skipped, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    let mut bystanders = Vec::new();
    for (i, (name, sight)) in sights.into_iter().enumerate() {
        if !keep[i] {
            if let (Sight::Seen(look), Entry::Coin(symbol)) = (sight, &entries[i]) {
                bystanders.extend(admit(settings, symbol, i, *look, until));
            }
            continue;
        }
        match sight {
            Sight::Broken(fault) => failed.push(Failed::new(name, "survey", fault)),
            Sight::Refused(refused) => skipped.push(refused),
            Sight::Seen(look) => {
                let Entry::Coin(symbol) = &entries[i] else { continue };
                match admit(settings, symbol, i, *look, until) {
                    Ok(coin) => coins.push(coin),
                    Err(refused) => skipped.push(refused),
                }
            }
        }
    }
    if coins.is_empty() {
        return Err(EngineError::NothingTrainable { skipped: skipped.len() });
    }
    let start = coins.iter().chain(&bystanders).map(Coin::start).min().unwrap_or(until);
    let grid = Grid::covering(settings.timeframe, start, until);
    let founded = founded(coins.iter().chain(&bystanders).map(Coin::start));
    Ok(Survey { coins, bystanders, skipped, failed, until, grid, founded })
}

fn admit(
    settings: &Settings,
    symbol: &Symbol,
    source_index: usize,
    look: Look,
    until: UtcMs,
) -> Result<Coin, Skipped> {
    let Look { series_shape, end, mut profile, costs, inputs } = look;
    profile.stale_bars = Some((until.0 - end.0).div_euclid(settings.timeframe.ms()));
    let spread = costs.as_ref().map(|c| c.spread_bps);
    let verdict = gates::judge(&profile, spread, &settings.gates, settings.timeframe);
    let mut reasons: Vec<Reason> = verdict
        .train
        .iter()
        .map(|r| Reason { code: r.code().into(), found: r.found().to_string(), limit: r.limit().to_string() })
        .collect();
    if gates::adv_usd(&profile).is_none() && profile.adv_quote.is_some() {
        reasons.push(Reason {
            code: "quote_not_usd".into(),
            found: symbol.quote().unwrap_or("an unknown quote").into(),
            limit: "a quote worth a dollar, so that volume and order size are in USD".into(),
        });
    }
    match costs {
        Some(costs) if reasons.is_empty() => Ok(Coin {
            symbol: symbol.clone(),
            source_index,
            profile,
            verdict,
            inputs,
            costs,
            shape: series_shape,
        }),
        Some(_) => Err(Skipped { symbol: symbol.to_string(), reasons }),
        None => {
            if reasons.is_empty() {
                reasons.push(Reason {
                    code: "costs_unknown".into(),
                    found: "no cost model could be calibrated".into(),
                    limit: "enough recent bars to estimate spread and volatility".into(),
                });
            }
            Err(Skipped { symbol: symbol.to_string(), reasons })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_series_that_reaches_further_back_makes_no_listings_of_the_others() {
        let day = |n: i64| UtcMs(n * UtcMs::DAY);
        let starts = |first: i64| [first, 100, 100, 101, 103, 160].map(day).into_iter();
        assert_eq!(founded(starts(0)), day(110));
        assert_eq!(founded(starts(99)), day(110));
        assert_eq!(founded([day(5), day(9)].into_iter()), day(16));
    }
}
