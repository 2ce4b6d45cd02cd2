//! Price discontinuities: returns across missing runs, and breaks that are no return at all.
//!
//! A crash moves the price inside bars, each opening where the last one closed. A relisting or a
//! redenomination moves it *between* bars: the discontinuity is `ln(open[i] / close[i−1])`. Judging
//! by that keeps the history of a coin that merely crashed or was pumped.

use super::Series;
use crate::words::UtcMs;

/// A log-return at least this large across a missing run of [`RELISTING_GAP_MS`] is a relisting
/// (a factor of 4.5; redenominations are 10, 100 or 1000).
pub const RELISTING_LOG_RETURN: f64 = 1.5;
/// A missing run at least this long is a trading halt, in milliseconds (24 h).
pub const RELISTING_GAP_MS: i64 = 24 * UtcMs::HOUR;
/// Robust sigmas a discontinuity must exceed, together with a volume regime change.
pub const MAD_SIGMAS_MIN: f64 = 12.0;

/// Median base volume over three days must change by this factor, either way. A judgement: real
/// redenominations show 15 to 1,700, ordinary halts 0.6 to 1.6.
const VOLUME_REGIME_FACTOR: f64 = 5.0;
/// Without a halt of a day, twelve robust sigmas of a quiet or flat series are too little: a
/// redenomination changes the price by at least this log-return (a factor of 1.65, a judgement).
const BREAK_LOG_RETURN_MIN: f64 = 0.5;
const VOLUME_WINDOW_DAYS: f64 = 3.0;
const VOLUME_WINDOW_BARS_MIN: usize = 5;
/// Fewer neighbouring returns than this give no robust sigma.
const RETURNS_MIN: usize = 50;
/// A source whose opens repeat the previous close this often writes them by habit: its opens carry
/// no information, so close to close is used instead.
const OPEN_IS_CLOSE_HABIT: f64 = 0.9;

/// One price discontinuity.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Jump {
    /// Start of the first bar after the jump.
    pub at: UtcMs,
    /// Log-return from the last close before to the first open after (to the first close where
    /// opens carry no information, or where that is larger across a missing run).
    pub log_return: f64,
    /// Missing bars in between; 0 for neighbouring bars.
    pub gap_bars: usize,
    /// |log-return| in robust sigmas (MAD × 1.4826 of neighbouring returns); `None` with too few.
    pub sigmas: Option<f64>,
    /// Median base volume of the three days after over the three days before; `None` where one
    /// side is too short.
    pub volume_ratio: Option<f64>,
    /// Whether the price history before means another asset: a relisting or a redenomination.
    pub relisting: bool,
}

/// Log-returns between neighbouring present bars, with the position of the later bar.
pub(super) fn neighbour_returns(series: &Series, from: usize) -> Vec<(usize, f64)> {
    let close = &series.close;
    (from.max(1)..close.len())
        .filter(|&i| !close[i].is_nan() && !close[i - 1].is_nan())
        .map(|i| (i, (close[i] / close[i - 1]).ln()))
        .collect()
}

/// MAD × 1.4826 of the returns; of the non-zero ones where more than half are zero.
fn robust_sigma(returns: &[(usize, f64)]) -> Option<f64> {
    let sigma = |values: Vec<f64>| {
        if values.len() < RETURNS_MIN {
            return None;
        }
        let center = median(values.clone())?;
        median(values.iter().map(|r| (r - center).abs()).collect()).map(|mad| 1.4826 * mad)
    };
    let all = sigma(returns.iter().map(|r| r.1).collect());
    let positive = |sigma: &f64| *sigma > 0.0;
    all.filter(positive).or_else(|| {
        let moving = returns.iter().map(|r| r.1).filter(|r| *r != 0.0).collect();
        sigma(moving).filter(positive)
    })
}

/// Middle value (mean of the two middle ones); `None` for an empty slice. Values must not be NaN.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    let half = values.len() / 2;
    let upper = *values.get(half)?;
    if values.len() == 1 {
        return Some(upper);
    }
    let (low, middle, _) = values.select_nth_unstable_by(half, f64::total_cmp);
    let middle = *middle;
    if low.len() == half && values.len() % 2 == 1 {
        return Some(middle);
    }
    let below = values[..half].iter().copied().fold(f64::NEG_INFINITY, f64::max);
    Some(0.5 * (below + middle))
}

/// Every return across a missing run, and every break between neighbouring bars that is a
/// relisting, in time order.
pub(super) fn find(series: &Series, returns: &[(usize, f64)]) -> Vec<Jump> {
    let sigma = robust_sigma(returns);
    let by_habit = returns.iter().filter(|&&(i, _)| series.open[i] == series.close[i - 1]).count();
    let opens_tell = (by_habit as f64) < OPEN_IS_CLOSE_HABIT * returns.len().max(1) as f64;
    let mut jumps = Vec::new();
    let mut before: Option<usize> = None;
    for i in 0..series.len() {
        if series.close[i].is_nan() {
            continue;
        }
        let Some(last) = before.replace(i) else { continue };
        let gap_bars = i - last - 1;
        let to_open = (series.open[i] / series.close[last]).ln();
        let to_close = (series.close[i] / series.close[last]).ln();
        let larger = if to_open.abs() >= to_close.abs() { to_open } else { to_close };
        let log_return = match (gap_bars, opens_tell) {
            (0, true) => to_open,
            (0, false) => to_close,
            _ => larger,
        };
        if gap_bars == 0 && log_return.abs() < BREAK_LOG_RETURN_MIN {
            continue;
        }
        let sigmas = sigma.map(|sigma| log_return.abs() / sigma);
        let volume_ratio = volume_ratio(series, last, i);
        let halted = gap_bars as i64 * series.timeframe.ms() >= RELISTING_GAP_MS;
        let regime =
            volume_ratio.is_some_and(|r| !(1.0 / VOLUME_REGIME_FACTOR..VOLUME_REGIME_FACTOR).contains(&r));
        let broken = regime
            && sigmas.is_some_and(|s| s > MAD_SIGMAS_MIN)
            && (halted || log_return.abs() >= BREAK_LOG_RETURN_MIN);
        let relisting = broken || (halted && log_return.abs() > RELISTING_LOG_RETURN);
        if gap_bars > 0 || relisting {
            jumps.push(Jump { at: series.time(i), log_return, gap_bars, sigmas, volume_ratio, relisting });
        }
    }
    jumps
}

/// Median base volume of present bars in the days after `after` over those up to `before`.
fn volume_ratio(series: &Series, before: usize, after: usize) -> Option<f64> {
    let window = series.timeframe.bars_in_days(VOLUME_WINDOW_DAYS).max(VOLUME_WINDOW_BARS_MIN);
    let side = |from: usize, to: usize| {
        let present: Vec<f64> =
            series.volume[from..to].iter().copied().filter(|volume| !volume.is_nan()).collect();
        (present.len() >= VOLUME_WINDOW_BARS_MIN).then(|| median(present)).flatten()
    };
    let earlier = side((before + 1).saturating_sub(window), before + 1)?;
    let later = side(after, (after + window).min(series.len()))?;
    match (earlier > 0.0, later > 0.0) {
        (false, false) => Some(1.0),
        _ => Some(later / earlier),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::profile::testing::{random_bars, symbol};
    use crate::series::{Bars, align};
    use crate::words::Timeframe;

    fn jumps_of(bars: Bars) -> Vec<Jump> {
        align(&symbol(), Timeframe::H1, bars, None).unwrap().1.jumps
    }

    /// Multiplies prices by `factor` and volumes by its inverse from row `at`, after removing
    /// `hole` rows before it.
    fn redenominate(bars: &mut Bars, at: usize, hole: usize, factor: f64) {
        for row in at..bars.open.len() {
            for column in [&mut bars.open, &mut bars.high, &mut bars.low, &mut bars.close] {
                column[row] *= factor;
            }
            bars.volume[row] /= factor;
        }
        for column in [&mut bars.open, &mut bars.high, &mut bars.low, &mut bars.close, &mut bars.volume] {
            column.drain(at - hole..at);
        }
        bars.open_time.drain(at - hole..at);
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0]), Some(3.0));
        assert_eq!(median(vec![9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(vec![4.0, 1.0, 3.0, 2.0]), Some(2.5));
    }

    #[test]
    fn a_redenomination_is_found_with_and_without_a_halt() {
        for hole in [0, 5, 48] {
            let mut bars = random_bars(600, 11);
            redenominate(&mut bars, 300, hole, 0.01);
            let expected = bars.open_time[300 - hole];
            let found = jumps_of(bars);
            assert_eq!(found.len(), 1, "hole {hole}");
            assert!(found[0].relisting && found[0].at == UtcMs(expected), "{found:?}");
            assert!((found[0].log_return + 4.6).abs() < 0.2, "{found:?}");
        }
    }

    #[test]
    fn a_halt_alone_and_a_small_step_are_no_relisting() {
        for factor in [1.0, 1.2] {
            let mut bars = random_bars(600, 12);
            redenominate(&mut bars, 300, 48, factor);
            let found = jumps_of(bars);
            assert_eq!((found.len(), found[0].relisting, found[0].gap_bars), (1, false, 48));
        }
    }

    #[test]
    fn a_crash_inside_bars_is_no_relisting() {
        let mut bars = random_bars(600, 13);
        for row in 300..600 {
            bars.volume[row] *= 40.0;
            for column in [&mut bars.open, &mut bars.high, &mut bars.low, &mut bars.close] {
                column[row] *= 0.05;
            }
        }
        bars.open[300] = bars.close[299];
        bars.high[300] = bars.open[300];
        assert_eq!(jumps_of(bars), []);
    }

    #[test]
    fn a_source_that_repeats_closes_as_opens_is_judged_close_to_close() {
        let mut bars = random_bars(600, 14);
        redenominate(&mut bars, 300, 0, 0.01);
        for row in 1..600 {
            bars.open[row] = bars.close[row - 1];
            bars.high[row] = bars.high[row].max(bars.open[row]);
            bars.low[row] = bars.low[row].min(bars.open[row]);
        }
        let found = jumps_of(bars);
        assert!(found.len() == 1 && found[0].relisting, "{found:?}");
    }
}
