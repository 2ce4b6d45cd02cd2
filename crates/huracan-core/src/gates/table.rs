//! The table of gates: what each asks, in which unit, against which limit.

use super::GateLimits;
use super::pegs;
use super::reason::{Figure, SkipReason};
use crate::series::Profile;
use crate::words::{Timeframe, UtcMs};

/// What a coin is wanted for; some gates are stricter for trading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To fit models on, in shadow.
    Train,
    /// To be ranked and traded.
    Trade,
}

/// What a gate looks at.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// What was found in the bars.
    pub profile: &'a Profile,
    /// Estimated median spread, where there is an estimate.
    pub spread_bps: Option<f64>,
    /// The limits in force.
    pub limits: &'a GateLimits,
    /// Length of a bar.
    pub timeframe: Timeframe,
}

/// One gate.
pub struct Gate {
    /// The code of its [`SkipReason`].
    pub code: &'static str,
    /// The question it asks, for help texts and documents.
    pub asks: &'static str,
    /// Unit of found and limit.
    pub unit: &'static str,
    /// The field of [`GateLimits`] for training; empty where there is nothing to set.
    pub limit: &'static str,
    /// The field for trading, where it differs.
    pub trade_limit: &'static str,
    /// The check; `None` for gates that are decided where files are read, before there are bars.
    pub check: Option<fn(&Facts<'_>, Purpose) -> Option<SkipReason>>,
}

const fn gate(
    code: &'static str,
    asks: &'static str,
    unit: &'static str,
    limit: &'static str,
    check: fn(&Facts<'_>, Purpose) -> Option<SkipReason>,
) -> Gate {
    Gate { code, asks, unit, limit, trade_limit: "", check: Some(check) }
}

const fn at_the_files(code: &'static str, asks: &'static str) -> Gate {
    Gate { code, asks, unit: "", limit: "", trade_limit: "", check: None }
}

/// Every gate there is. Adding one is a variant of [`SkipReason`], a function and a line here.
pub static GATES: &[Gate] = &[
    at_the_files("invalid_symbol", "does the file name a symbol in upper-case ASCII"),
    at_the_files("unreadable", "can the file be read as candles"),
    gate(
        "two_venues",
        "are all bars of this name from one venue",
        "share",
        "contradictory_share_max",
        two_venues,
    ),
    gate("mixed_bars", "are the rows of the stated bar", "", "off_grid_share_max", mixed_bars),
    gate("time_column_contradiction", "can the times be trusted", "", "", time_columns),
    gate(
        "bad_prices",
        "are prices positive, finite and consistent",
        "share",
        "bad_rows_share_max",
        bad_prices,
    ),
    gate("relisted", "is it one asset throughout", "log-return", "", relisted),
    gate(
        "jump_across_gap",
        "is the price continuous over gaps",
        "log-return",
        "gap_log_return_max",
        gap_jump,
    ),
    Gate {
        trade_limit: "trade_history_days_min",
        ..gate("short_history", "is the history long enough", "days", "history_days_min", short_history)
    },
    gate("low_coverage", "are enough of the expected bars there", "share", "coverage_min", low_coverage),
    gate("missing_run", "is the longest hole short enough", "hours", "missing_run_hours_max", missing_run),
    gate("stale", "do the bars reach the run's end", "bars", "stale_bars_max", stale),
    gate("dead_tail", "is it still traded", "hours", "dead_tail_hours_max", dead_tail),
    gate("zero_volume", "do nearly all bars have volume", "share", "zero_volume_share_max", zero_volume),
    gate("flat_bars", "do nearly all bars move", "share", "flat_share_max", flat_bars),
    gate("thin_volume", "is enough traded in a day", "USD", "adv_usd_min", thin_volume),
    Gate {
        trade_limit: "trade_spread_bps_max",
        ..gate("wide_spread", "is the spread narrow enough", "bps", "spread_bps_max", wide_spread)
    },
    gate(
        "stablecoin_or_pegged",
        "does the price move of its own accord",
        "",
        "close_variation_min, realised_vol_pct_min",
        pegged,
    ),
];

/// Quote assets worth one dollar, for which quote volume is a volume in USD.
const DOLLARS: [&str; 7] = ["USDT", "USDC", "FDUSD", "BUSD", "TUSD", "USDP", "USD"];

/// Median daily volume in USD, where the quote is a dollar and there is a day of bars.
pub fn adv_usd(profile: &Profile) -> Option<f64> {
    let in_dollars = profile.symbol.quote().is_some_and(|quote| DOLLARS.contains(&quote));
    profile.adv_quote.filter(|_| in_dollars)
}

fn hours(bars: usize, timeframe: Timeframe) -> f64 {
    bars as f64 * timeframe.ms() as f64 / UtcMs::HOUR as f64
}

fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn mixed_bars(facts: &Facts<'_>, _: Purpose) -> Option<SkipReason> {
    let (profile, limits) = (facts.profile, facts.limits);
    let off_grid = share(profile.off_grid_rows, profile.rows_read);
    let spacing = profile.modal_spacing_ms.filter(|&spacing| spacing != facts.timeframe.ms());
    let found = match spacing {
        Some(spacing) => match Timeframe::from_ms(spacing) {
            Some(bar) => format!("rows {bar} apart"),
            None => format!("rows {spacing} ms apart"),
        },
        None if off_grid > limits.off_grid_share_max => {
            format!("{} of {} rows off the grid", profile.off_grid_rows, profile.rows_read)
        }
        None => return None,
    };
    Some(SkipReason::MixedBars { found, expected: format!("bars of {}", facts.timeframe) })
}

/// Venues that the files name are compared where files are read; bars that contradict each other
/// row by row show two sources under one name whatever the files say.
fn two_venues(facts: &Facts<'_>, _: Purpose) -> Option<SkipReason> {
    let contradictory = facts.profile.duplicates_contradictory;
    let found = share(contradictory, facts.profile.rows_read);
    (found > facts.limits.contradictory_share_max).then(|| SkipReason::TwoVenues {
        found: format!(
            "{contradictory} of {} rows contradict another row of the same bar",
            facts.profile.rows_read
        ),
    })
}

fn time_columns(facts: &Facts<'_>, _: Purpose) -> Option<SkipReason> {
    let serious =
        |note: &&crate::series::Note| note.untrustworthy && note.code == "time_column_contradiction";
    let note = facts.profile.notes.iter().find(serious)?;
    Some(SkipReason::TimeColumnContradiction { found: note.text.clone() })
}

fn bad_prices(facts: &Facts<'_>, _: Purpose) -> Option<SkipReason> {
    let (profile, limits) = (facts.profile, facts.limits);
    let bad = share(profile.bad_price_rows + profile.ohlc_violations, profile.rows_read);
    let wicks = share(profile.wick_bars, profile.present_bars);
    if bad > limits.bad_rows_share_max {
        let what = "have impossible prices";
        return Some(SkipReason::BadPrices { share: bad, share_max: limits.bad_rows_share_max, what });
    }
    let what = "have a wick beyond half or twice the price";
    (wicks > limits.wick_share_max).then_some(SkipReason::BadPrices {
        share: wicks,
        share_max: limits.wick_share_max,
        what,
    })
}

fn relisted(facts: &Facts<'_>, _: Purpose) -> Option<SkipReason> {
    let last = facts.profile.relistings().last()?;
    Some(SkipReason::Relisted { log_return: last.log_return, at: last.at })
}

fn gap_jump(facts: &Facts<'_>, _: Purpose) -> Option<SkipReason> {
    let across = facts.profile.jumps.iter().filter(|jump| jump.gap_bars > 0 && !jump.relisting);
    let largest = across.max_by(|a, b| a.log_return.abs().total_cmp(&b.log_return.abs()))?;
    let max = facts.limits.gap_log_return_max;
    (largest.log_return.abs() > max).then_some(SkipReason::JumpAcrossGap {
        log_return: largest.log_return,
        log_return_max: max,
        at: largest.at,
    })
}

fn short_history(facts: &Facts<'_>, purpose: Purpose) -> Option<SkipReason> {
    let days_min = match purpose {
        Purpose::Train => facts.limits.history_days_min,
        Purpose::Trade => facts.limits.trade_history_days_min,
    };
    let days = facts.profile.span_days;
    (days < days_min).then_some(SkipReason::ShortHistory { days, days_min })
}

fn low_coverage(facts: &Facts<'_>, _: Purpose) -> Option<SkipReason> {
    let (share, share_min) = (facts.profile.coverage, facts.limits.coverage_min);
    (share < share_min).then_some(SkipReason::LowCoverage { share, share_min })
}

fn missing_run(facts: &Facts<'_>, _: Purpose) -> Option<SkipReason> {
    let longest = facts.profile.longest_missing?;
    let (hours, hours_max) = (hours(longest.bars, facts.timeframe), facts.limits.missing_run_hours_max);
    (hours > hours_max).then_some(SkipReason::MissingRun { hours, hours_max, start: longest.start })
}

/// A coin that is gone may still teach the others: only trading asks for fresh bars.
fn stale(facts: &Facts<'_>, purpose: Purpose) -> Option<SkipReason> {
    if purpose == Purpose::Train {
        return None;
    }
    let (bars, bars_max) = (facts.profile.stale_bars?, facts.limits.stale_bars_max);
    (bars > bars_max).then_some(SkipReason::Stale { bars, bars_max })
}

fn dead_tail(facts: &Facts<'_>, _: Purpose) -> Option<SkipReason> {
    let hours = hours(facts.profile.dead_tail_bars, facts.timeframe);
    let hours_max = facts.limits.dead_tail_hours_max;
    (hours > hours_max).then_some(SkipReason::DeadTail { hours, hours_max })
}

fn zero_volume(facts: &Facts<'_>, _: Purpose) -> Option<SkipReason> {
    let (share, share_max) = (facts.profile.zero_volume_share_30d, facts.limits.zero_volume_share_max);
    (share > share_max).then_some(SkipReason::ZeroVolume { share, share_max })
}

fn flat_bars(facts: &Facts<'_>, _: Purpose) -> Option<SkipReason> {
    let (share, share_max) = (facts.profile.flat_share_30d, facts.limits.flat_share_max);
    (share > share_max).then_some(SkipReason::FlatBars { share, share_max })
}

fn thin_volume(facts: &Facts<'_>, _: Purpose) -> Option<SkipReason> {
    let (adv_usd, adv_usd_min) = (adv_usd(facts.profile)?, facts.limits.adv_usd_min);
    (adv_usd < adv_usd_min).then_some(SkipReason::ThinVolume { adv_usd, adv_usd_min })
}

/// An estimate that is not a number fails: it is no evidence of a narrow spread.
fn wide_spread(facts: &Facts<'_>, purpose: Purpose) -> Option<SkipReason> {
    let spread_bps_max = match purpose {
        Purpose::Train => facts.limits.spread_bps_max,
        Purpose::Trade => facts.limits.trade_spread_bps_max,
    };
    let spread_bps = facts.spread_bps?;
    let narrow = spread_bps <= spread_bps_max;
    (!narrow).then_some(SkipReason::WideSpread { spread_bps, spread_bps_max })
}

fn pegged(facts: &Facts<'_>, _: Purpose) -> Option<SkipReason> {
    let (profile, limits) = (facts.profile, facts.limits);
    if pegs::is_pegged(&profile.symbol) {
        let found = Figure::Text(format!("{} follows a currency", profile.symbol.underlying()));
        let limit = Figure::Text("an asset with a price of its own".to_owned());
        return Some(SkipReason::Pegged { found, limit, what: "by name," });
    }
    if profile.close_variation < limits.close_variation_min {
        let found = Figure::Number(profile.close_variation);
        let limit = Figure::Number(limits.close_variation_min);
        return Some(SkipReason::Pegged { found, limit, what: "standard deviation over mean of the closes" });
    }
    let vol = profile.realised_vol_30d_pct?;
    (vol < limits.realised_vol_pct_min).then_some(SkipReason::Pegged {
        found: Figure::Number(vol),
        limit: Figure::Number(limits.realised_vol_pct_min),
        what: "realised volatility of the last 30 days in percent",
    })
}
