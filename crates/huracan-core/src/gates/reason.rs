//! Why a coin is skipped: one enum, from which both the code for files and the sentence for
//! people come.

use std::fmt;

use crate::words::UtcMs;

/// A number or a text, as the fields `found` and `limit` of a skip reason carry.
#[derive(Clone, Debug, PartialEq)]
pub enum Figure {
    /// A finite number in the gate's unit.
    Number(f64),
    /// Where a number would say nothing.
    Text(String),
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Figure::Number(number) => write!(f, "{}", short(*number)),
            Figure::Text(text) => f.write_str(text),
        }
    }
}

/// One failed gate, with what was found and what the limit was. Its `Display` is one sentence.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the fields are what the variant's line says, in the units of their names")]
pub enum SkipReason {
    /// Too few days of history.
    ShortHistory { days: f64, days_min: f64 },
    /// Too many bars missing.
    LowCoverage { share: f64, share_min: f64 },
    /// One missing run is too long.
    MissingRun { hours: f64, hours_max: f64, start: UtcMs },
    /// Too many recent bars without volume.
    ZeroVolume { share: f64, share_max: f64 },
    /// Too many recent bars without movement.
    FlatBars { share: f64, share_max: f64 },
    /// Too little traded in a day.
    ThinVolume { adv_usd: f64, adv_usd_min: f64 },
    /// Too wide a spread.
    WideSpread { spread_bps: f64, spread_bps_max: f64 },
    /// Too many rows with impossible prices or wicks; `what` says which.
    BadPrices { share: f64, share_max: f64, what: &'static str },
    /// A jump across a missing run that explains itself neither as relisting nor as market.
    JumpAcrossGap { log_return: f64, log_return_max: f64, at: UtcMs },
    /// A relisting or redenomination inside the history, not cut.
    Relisted { log_return: f64, at: UtcMs },
    /// A stablecoin or another peg; `limit` is the text of the rule that caught it.
    Pegged { found: Figure, limit: Figure, what: &'static str },
    /// The bars ended before the run's end.
    Stale { bars: i64, bars_max: i64 },
    /// The bars go on, but nobody trades any more.
    DeadTail { hours: f64, hours_max: f64 },
    /// Two time columns contradict each other so that neither can be trusted.
    TimeColumnContradiction { found: String },
    /// The rows are of another bar than stated, or of several.
    MixedBars { found: String, expected: String },
    /// Bars of two venues under one name.
    TwoVenues { found: String },
    /// No usable symbol.
    InvalidSymbol { found: String },
    /// The file cannot be used at all; `found` is the reader's sentence.
    Unreadable { found: String },
}

impl SkipReason {
    /// Stable code written to files; never reworded.
    pub fn code(&self) -> &'static str {
        match self {
            SkipReason::ShortHistory { .. } => "short_history",
            SkipReason::LowCoverage { .. } => "low_coverage",
            SkipReason::MissingRun { .. } => "missing_run",
            SkipReason::ZeroVolume { .. } => "zero_volume",
            SkipReason::FlatBars { .. } => "flat_bars",
            SkipReason::ThinVolume { .. } => "thin_volume",
            SkipReason::WideSpread { .. } => "wide_spread",
            SkipReason::BadPrices { .. } => "bad_prices",
            SkipReason::JumpAcrossGap { .. } => "jump_across_gap",
            SkipReason::Relisted { .. } => "relisted",
            SkipReason::Pegged { .. } => "stablecoin_or_pegged",
            SkipReason::Stale { .. } => "stale",
            SkipReason::DeadTail { .. } => "dead_tail",
            SkipReason::TimeColumnContradiction { .. } => "time_column_contradiction",
            SkipReason::MixedBars { .. } => "mixed_bars",
            SkipReason::TwoVenues { .. } => "two_venues",
            SkipReason::InvalidSymbol { .. } => "invalid_symbol",
            SkipReason::Unreadable { .. } => "unreadable",
        }
    }

    /// What was found, in the gate's unit.
    pub fn found(&self) -> Figure {
        match self {
            SkipReason::ShortHistory { days, .. } => number(*days),
            SkipReason::LowCoverage { share, .. }
            | SkipReason::ZeroVolume { share, .. }
            | SkipReason::FlatBars { share, .. }
            | SkipReason::BadPrices { share, .. } => number(*share),
            SkipReason::MissingRun { hours, .. } | SkipReason::DeadTail { hours, .. } => number(*hours),
            SkipReason::ThinVolume { adv_usd, .. } => number(*adv_usd),
            SkipReason::WideSpread { spread_bps, .. } => number(*spread_bps),
            SkipReason::JumpAcrossGap { log_return, .. } | SkipReason::Relisted { log_return, .. } => {
                number(*log_return)
            }
            SkipReason::Pegged { found, .. } => found.clone(),
            SkipReason::Stale { bars, .. } => number(*bars as f64),
            SkipReason::TimeColumnContradiction { found }
            | SkipReason::MixedBars { found, .. }
            | SkipReason::TwoVenues { found }
            | SkipReason::InvalidSymbol { found }
            | SkipReason::Unreadable { found } => Figure::Text(found.clone()),
        }
    }

    /// What was allowed, in the gate's unit.
    pub fn limit(&self) -> Figure {
        match self {
            SkipReason::ShortHistory { days_min, .. } => number(*days_min),
            SkipReason::LowCoverage { share_min, .. } => number(*share_min),
            SkipReason::ZeroVolume { share_max, .. }
            | SkipReason::FlatBars { share_max, .. }
            | SkipReason::BadPrices { share_max, .. } => number(*share_max),
            SkipReason::MissingRun { hours_max, .. } | SkipReason::DeadTail { hours_max, .. } => {
                number(*hours_max)
            }
            SkipReason::ThinVolume { adv_usd_min, .. } => number(*adv_usd_min),
            SkipReason::WideSpread { spread_bps_max, .. } => number(*spread_bps_max),
            SkipReason::JumpAcrossGap { log_return_max, .. } => number(*log_return_max),
            SkipReason::Relisted { .. } => text("one asset throughout the history"),
            SkipReason::Pegged { limit, .. } => limit.clone(),
            SkipReason::Stale { bars_max, .. } => number(*bars_max as f64),
            SkipReason::TimeColumnContradiction { .. } => text("one time for each row"),
            SkipReason::MixedBars { expected, .. } => text(expected),
            SkipReason::TwoVenues { .. } => text("one venue for each symbol"),
            SkipReason::InvalidSymbol { .. } => {
                text("5 to 30 upper-case ASCII letters and digits, such as BTCUSDT")
            }
            SkipReason::Unreadable { .. } => text("a readable candle file"),
        }
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pct = |share: &f64| format!("{} %", short(100.0 * share));
        match self {
            SkipReason::ShortHistory { days, days_min } => {
                write!(f, "{} days of history, at least {} needed", short(*days), short(*days_min))
            }
            SkipReason::LowCoverage { share, share_min } => {
                write!(f, "{} of the expected bars are there, at least {} needed", pct(share), pct(share_min))
            }
            SkipReason::MissingRun { hours, hours_max, start } => write!(
                f,
                "{} hours of bars are missing from {start}, at most {} allowed",
                short(*hours),
                short(*hours_max)
            ),
            SkipReason::ZeroVolume { share, share_max } => write!(
                f,
                "{} of the last 30 days' bars have no volume, at most {} allowed",
                pct(share),
                pct(share_max)
            ),
            SkipReason::FlatBars { share, share_max } => write!(
                f,
                "{} of the last 30 days' bars do not move, at most {} allowed",
                pct(share),
                pct(share_max)
            ),
            SkipReason::ThinVolume { adv_usd, adv_usd_min } => {
                write!(f, "{adv_usd:.0} USD traded on a median day, at least {adv_usd_min:.0} needed")
            }
            SkipReason::WideSpread { spread_bps, spread_bps_max } => write!(
                f,
                "the median spread is {} bps, at most {} allowed",
                short(*spread_bps),
                short(*spread_bps_max)
            ),
            SkipReason::BadPrices { share, share_max, what } => {
                write!(f, "{} of the rows {what}, at most {} allowed", pct(share), pct(share_max))
            }
            SkipReason::JumpAcrossGap { log_return, log_return_max, at } => write!(
                f,
                "the price jumps by a log-return of {log_return:.2} over the gap before {at}, at most \
                 {log_return_max} allowed"
            ),
            SkipReason::Relisted { log_return, at } => write!(
                f,
                "relisted or redenominated at {at} (log-return {log_return:.2}); cut the history before it"
            ),
            SkipReason::Pegged { found, limit, what } => {
                write!(f, "pegged: {what} {found}, expected {limit}")
            }
            SkipReason::Stale { bars, bars_max } => {
                write!(f, "the last bar ended {bars} bars before the run's end, at most {bars_max} allowed")
            }
            SkipReason::DeadTail { hours, hours_max } => write!(
                f,
                "nothing traded or moved in the last {} hours, at most {} allowed",
                short(*hours),
                short(*hours_max)
            ),
            SkipReason::MixedBars { found, expected } => write!(f, "found {found}, expected {expected}"),
            SkipReason::TwoVenues { found } => {
                write!(f, "bars of two venues under one name: {found}; keep one of them")
            }
            SkipReason::InvalidSymbol { found } => write!(
                f,
                "{found} is no symbol; expected 5 to 30 upper-case ASCII letters and digits, such as BTCUSDT"
            ),
            SkipReason::TimeColumnContradiction { found } | SkipReason::Unreadable { found } => {
                f.write_str(found)
            }
        }
    }
}

/// A number for people: four significant digits, no trailing zeros.
fn short(number: f64) -> String {
    if number == 0.0 || !number.is_finite() {
        return number.to_string();
    }
    let decimals = (3 - number.abs().log10().floor() as i32).clamp(0, 9) as usize;
    let text = format!("{number:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// JSON knows no infinity, so a figure that is none becomes text.
fn number(value: f64) -> Figure {
    if value.is_finite() { Figure::Number(value) } else { Figure::Text(value.to_string()) }
}

fn text(value: &str) -> Figure {
    Figure::Text(value.to_owned())
}
