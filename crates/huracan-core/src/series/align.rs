//! From bars as some source gave them to one regular grid, with every defect counted.
//!
//! A row that cannot be trusted becomes a missing bar; nothing is interpolated and nothing is
//! judged here. The order of the checks is the order a reader would apply them: is the row in
//! time, is it on the grid, is it a price, is it new.

use super::profile::{Defects, Profile};
use super::{Bars, Series};
use crate::words::{Symbol, Timeframe, UtcMs};

/// Relative OHLC inconsistency that is rounding noise of the source and is repaired in place.
const OHLC_TOLERANCE: f64 = 1e-9;

/// A grid longer than this that is also almost empty is refused before memory is taken for it.
const SPARSE_GRID_BARS: i64 = 1_000_000;
const SPARSE_ROWS_PER_BAR: i64 = 1_000;

/// Why bars could not become a series.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SeriesError {
    /// No row survived: nothing was given, or every row was unusable.
    #[error(
        "{symbol}: none of {rows_read} rows is a usable {timeframe} bar ({unusable_rows} with bad \
         prices, {off_grid_rows} off the grid, {rows_after_until} not complete at the run's end); \
         check the bar length and the time column"
    )]
    NoBars {
        /// Whose bars.
        symbol: Symbol,
        /// The grid asked for.
        timeframe: Timeframe,
        /// Rows given.
        rows_read: usize,
        /// Rows with bad prices or inconsistent OHLC.
        unusable_rows: usize,
        /// Rows whose time is no multiple of the bar.
        off_grid_rows: usize,
        /// Rows at or after the run's end.
        rows_after_until: usize,
    },
    /// Columns of different lengths: a broken promise of the reader.
    #[error(
        "{symbol}: column {column} has {found} rows, open_time has {expected}; every column must be as long"
    )]
    UnequalColumns {
        /// Whose bars.
        symbol: Symbol,
        /// The column that differs.
        column: &'static str,
        /// Its length.
        found: usize,
        /// The length of `open_time`.
        expected: usize,
    },
    /// A handful of rows spread over an absurd span, as a wrong time column produces.
    #[error(
        "{symbol}: {rows} rows span {first} to {last}, {expected} bars of {timeframe}; check the \
         time column"
    )]
    TooSparse {
        /// Whose bars.
        symbol: Symbol,
        /// The grid asked for.
        timeframe: Timeframe,
        /// Usable rows.
        rows: usize,
        /// First bar.
        first: UtcMs,
        /// Last bar.
        last: UtcMs,
        /// Bars the span would hold.
        expected: i64,
    },
}

/// What one row is worth.
enum RowCheck {
    Good,
    Repairable,
    BadPrice,
    OhlcViolation,
}

/// Puts `bars` on the grid of `timeframe` and reports what was found on the way.
///
/// Rows are ordered by time; a row counts only when complete (`open_time + bar ≤ until`); rows off
/// the grid (time not a multiple of the bar) are dropped; rows with a price that is not finite and
/// positive, a negative or undefined volume, or `low ≤ open, close ≤ high` violated by more than
/// 1e-9 relative are dropped and so become missing; smaller violations are repaired by widening
/// high and low; of several rows for one bar the first as read stays. All of it is counted in the
/// [`Profile`], whose other figures are measured on the returned series.
///
/// # Errors
/// [`SeriesError`] when no row is usable, when columns have different lengths, or when the rows
/// span an absurdly empty grid.
pub fn align(
    symbol: &Symbol,
    timeframe: Timeframe,
    bars: Bars,
    until: Option<UtcMs>,
) -> Result<(Series, Profile), SeriesError> {
    check_lengths(symbol, &bars)?;
    let ms = timeframe.ms();
    let mut defects = Defects { rows_read: bars.open_time.len(), ..Defects::default() };
    let order = time_order(&bars.open_time, &mut defects);
    defects.modal_spacing_ms = modal_spacing(&bars.open_time, &order);

    let mut kept: Vec<(usize, bool)> = Vec::with_capacity(order.len());
    for row in order {
        let time = bars.open_time[row];
        if until.is_some_and(|end| time > end.0.saturating_sub(ms)) {
            defects.rows_after_until += 1;
            continue;
        }
        if time.rem_euclid(ms) != 0 {
            defects.off_grid_rows += 1;
            continue;
        }
        let repair = match check_row(&bars, row) {
            RowCheck::BadPrice => {
                defects.bad_price_rows += 1;
                continue;
            }
            RowCheck::OhlcViolation => {
                defects.ohlc_violations += 1;
                continue;
            }
            RowCheck::Repairable => true,
            RowCheck::Good => false,
        };
        if let Some(&(first, _)) = kept.last().filter(|&&(first, _)| bars.open_time[first] == time) {
            if same_row(&bars, first, row) {
                defects.duplicates_exact += 1;
            } else {
                defects.duplicates_contradictory += 1;
            }
            continue;
        }
        defects.repaired_rows += usize::from(repair);
        kept.push((row, repair));
    }
    let (Some(&(first, _)), Some(&(last, _))) = (kept.first(), kept.last()) else {
        return Err(SeriesError::NoBars {
            symbol: symbol.clone(),
            timeframe,
            rows_read: defects.rows_read,
            unusable_rows: defects.bad_price_rows + defects.ohlc_violations,
            off_grid_rows: defects.off_grid_rows,
            rows_after_until: defects.rows_after_until,
        });
    };
    let (first, last) = (bars.open_time[first], bars.open_time[last]);
    let expected = last.saturating_sub(first) / ms + 1;
    if expected > SPARSE_GRID_BARS && (kept.len() as i64).saturating_mul(SPARSE_ROWS_PER_BAR) < expected {
        return Err(SeriesError::TooSparse {
            symbol: symbol.clone(),
            timeframe,
            rows: kept.len(),
            first: UtcMs(first),
            last: UtcMs(last),
            expected,
        });
    }
    defects.rows_kept = kept.len();
    let series = fill(symbol, timeframe, &bars, &kept, first, expected as usize);
    let profile = Profile::measure(&series, defects, until);
    Ok((series, profile))
}

fn check_lengths(symbol: &Symbol, bars: &Bars) -> Result<(), SeriesError> {
    let expected = bars.open_time.len();
    let optional = |column: &Option<Vec<f64>>| column.as_ref().map_or(expected, Vec::len);
    let lengths = [
        ("open", bars.open.len()),
        ("high", bars.high.len()),
        ("low", bars.low.len()),
        ("close", bars.close.len()),
        ("volume", bars.volume.len()),
        ("quote_volume", optional(&bars.quote_volume)),
        ("trades", optional(&bars.trades)),
        ("taker_buy_base", optional(&bars.taker_buy_base)),
        ("taker_buy_quote", optional(&bars.taker_buy_quote)),
    ];
    match lengths.into_iter().find(|&(_, found)| found != expected) {
        None => Ok(()),
        Some((column, found)) => {
            Err(SeriesError::UnequalColumns { symbol: symbol.clone(), column, found, expected })
        }
    }
}

/// Row numbers in time order, equal times in the order they were read.
fn time_order(times: &[i64], defects: &mut Defects) -> Vec<usize> {
    let mut newest = i64::MIN;
    for &time in times {
        defects.unsorted_rows += usize::from(time < newest);
        newest = newest.max(time);
    }
    let mut order: Vec<usize> = (0..times.len()).collect();
    if defects.unsorted_rows > 0 {
        order.sort_by_key(|&row| times[row]);
    }
    order
}

/// The most frequent positive distance between neighbouring rows, ties to the shorter one.
fn modal_spacing(times: &[i64], order: &[usize]) -> Option<i64> {
    let mut steps: Vec<i64> = order
        .windows(2)
        .map(|pair| times[pair[1]].saturating_sub(times[pair[0]]))
        .filter(|&step| step > 0)
        .collect();
    steps.sort_unstable();
    let runs = steps.chunk_by(|a, b| a == b);
    runs.fold(
        (0, None),
        |(count, best), run| {
            if run.len() > count { (run.len(), Some(run[0])) } else { (count, best) }
        },
    )
    .1
}

fn check_row(bars: &Bars, row: usize) -> RowCheck {
    let (open, high, low, close) = (bars.open[row], bars.high[row], bars.low[row], bars.close[row]);
    let priced = [open, high, low, close].iter().all(|price| price.is_finite() && *price > 0.0);
    let volume = bars.volume[row];
    if !priced || !volume.is_finite() || volume < 0.0 {
        return RowCheck::BadPrice;
    }
    let (bottom, top) = (open.min(close), open.max(close));
    if low <= bottom && high >= top {
        RowCheck::Good
    } else if low <= bottom * (1.0 + OHLC_TOLERANCE) && high >= top * (1.0 - OHLC_TOLERANCE) {
        RowCheck::Repairable
    } else {
        RowCheck::OhlcViolation
    }
}

/// Whether two rows of one bar say the same in every column.
fn same_row(bars: &Bars, a: usize, b: usize) -> bool {
    let same = |column: &[f64]| column[a] == column[b] || (column[a].is_nan() && column[b].is_nan());
    let optional = |column: &Option<Vec<f64>>| column.as_ref().is_none_or(|c| same(c));
    same(&bars.open)
        && same(&bars.high)
        && same(&bars.low)
        && same(&bars.close)
        && same(&bars.volume)
        && optional(&bars.quote_volume)
        && optional(&bars.trades)
        && optional(&bars.taker_buy_base)
        && optional(&bars.taker_buy_quote)
}

fn fill(
    symbol: &Symbol,
    timeframe: Timeframe,
    bars: &Bars,
    kept: &[(usize, bool)],
    first: i64,
    len: usize,
) -> Series {
    let ms = timeframe.ms();
    let place = |source: &[f64]| {
        let mut column = vec![f64::NAN; len];
        for &(row, _) in kept {
            column[((bars.open_time[row] - first) / ms) as usize] = source[row];
        }
        column
    };
    let mut series = Series {
        symbol: symbol.clone(),
        timeframe,
        start: UtcMs(first),
        open: place(&bars.open),
        high: place(&bars.high),
        low: place(&bars.low),
        close: place(&bars.close),
        volume: place(&bars.volume),
        quote_volume: bars.quote_volume.as_ref().map_or_else(|| vec![f64::NAN; len], |c| place(c)),
        trades: bars.trades.as_ref().map(|c| place(c)),
        taker_buy_base: bars.taker_buy_base.as_ref().map(|c| place(c)),
    };
    for &(row, _) in kept.iter().filter(|&&(_, repair)| repair) {
        let i = ((bars.open_time[row] - first) / ms) as usize;
        let (open, close) = (series.open[i], series.close[i]);
        series.high[i] = series.high[i].max(open).max(close);
        series.low[i] = series.low[i].min(open).min(close);
    }
    for i in 0..len {
        let quoted = series.quote_volume[i];
        if !(quoted.is_finite() && quoted >= 0.0) {
            series.quote_volume[i] = series.close[i] * series.volume[i];
        }
    }
    series
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::profile::testing::{HOUR, START, random_bars, symbol};
    use proptest::prelude::*;

    fn aligned(bars: Bars) -> (Series, Profile) {
        align(&symbol(), Timeframe::H1, bars, None).unwrap()
    }

    #[test]
    fn a_clean_series_passes_through_unchanged() {
        let bars = random_bars(200, 1);
        let (series, profile) = aligned(bars.clone());
        assert_eq!(series.close, bars.close);
        assert_eq!((series.start, series.len()), (UtcMs(START), 200));
        assert_eq!((profile.rows_read, profile.rows_kept, profile.missing_runs), (200, 200, 0));
        assert_eq!(profile.coverage, 1.0);
    }

    #[test]
    fn shuffled_rows_give_the_same_series() {
        let bars = random_bars(50, 2);
        let mut shuffled = bars.clone();
        for column in [
            &mut shuffled.open,
            &mut shuffled.high,
            &mut shuffled.low,
            &mut shuffled.close,
            &mut shuffled.volume,
        ] {
            column.swap(3, 40);
        }
        shuffled.open_time.swap(3, 40);
        let (series, profile) = aligned(shuffled);
        assert_eq!(series, aligned(bars).0);
        assert!(profile.unsorted_rows > 0);
    }

    #[test]
    fn exact_duplicates_vanish_and_contradictions_keep_the_first() {
        let mut bars = random_bars(50, 3);
        let copy = |bars: &mut Bars, row: usize, close: f64| {
            bars.open_time.push(bars.open_time[row]);
            bars.open.push(bars.open[row]);
            bars.high.push(bars.high[row].max(close));
            bars.low.push(bars.low[row].min(close));
            bars.close.push(close);
            bars.volume.push(bars.volume[row]);
        };
        let (tenth, eleventh) = (bars.close[10], bars.close[11]);
        copy(&mut bars, 10, tenth);
        copy(&mut bars, 11, eleventh * 2.0);
        let (series, profile) = aligned(bars);
        assert_eq!((profile.duplicates_exact, profile.duplicates_contradictory), (1, 1));
        assert_eq!((series.len(), series.close[11]), (50, eleventh));
    }

    #[test]
    fn unusable_rows_become_missing_bars() {
        let spoil = |change: fn(&mut Bars)| {
            let mut bars = random_bars(50, 4);
            change(&mut bars);
            let (series, profile) = aligned(bars);
            assert!(!series.bar(20).is_present());
            assert!(series.volume[20].is_nan() && series.quote_volume[20].is_nan());
            (profile.bad_price_rows, profile.ohlc_violations, profile.off_grid_rows)
        };
        assert_eq!(spoil(|b| b.close[20] = f64::NAN), (1, 0, 0));
        assert_eq!(spoil(|b| b.high[20] = f64::INFINITY), (1, 0, 0));
        assert_eq!(spoil(|b| b.low[20] = 0.0), (1, 0, 0));
        assert_eq!(spoil(|b| b.volume[20] = -1.0), (1, 0, 0));
        assert_eq!(spoil(|b| b.high[20] = b.low[20] * 0.9), (0, 1, 0));
        assert_eq!(spoil(|b| b.open_time[20] += 1), (0, 0, 1));
    }

    #[test]
    fn rounding_noise_in_high_and_low_is_repaired() {
        let mut bars = random_bars(50, 5);
        bars.high[7] = bars.open[7].max(bars.close[7]) * (1.0 - 1e-12);
        let (series, profile) = aligned(bars);
        assert_eq!(profile.repaired_rows, 1);
        assert_eq!(series.high[7], series.open[7].max(series.close[7]));
    }

    #[test]
    fn a_bar_counts_only_when_complete() {
        let until = UtcMs(START + 10 * HOUR);
        let (series, profile) = align(&symbol(), Timeframe::H1, random_bars(50, 6), Some(until)).unwrap();
        assert_eq!((series.len(), series.end(), profile.rows_after_until), (10, until, 40));
        let early = UtcMs(START + 10 * HOUR - 1);
        let (series, _) = align(&symbol(), Timeframe::H1, random_bars(50, 6), Some(early)).unwrap();
        assert_eq!(series.len(), 9);
    }

    #[test]
    fn missing_quote_volume_is_close_times_volume() {
        let mut bars = random_bars(5, 7);
        bars.quote_volume = Some(vec![1.0, f64::NAN, -1.0, 4.0, 5.0]);
        let (series, _) = aligned(bars.clone());
        let by_hand = |i: usize| bars.close[i] * bars.volume[i];
        assert_eq!(series.quote_volume, [1.0, by_hand(1), by_hand(2), 4.0, 5.0]);
    }

    #[test]
    fn hopeless_inputs_are_named_errors() {
        let none = align(&symbol(), Timeframe::H1, Bars::default(), None);
        assert!(matches!(none, Err(SeriesError::NoBars { rows_read: 0, .. })));
        let mut ragged = random_bars(5, 8);
        ragged.trades = Some(vec![1.0]);
        let ragged = align(&symbol(), Timeframe::H1, ragged, None);
        assert!(matches!(ragged, Err(SeriesError::UnequalColumns { column: "trades", found: 1, .. })));
        let mut sparse = random_bars(5, 9);
        sparse.open_time = (0..5).map(|i| i * 400_000_000 * 3_600_000).collect();
        let sparse = align(&symbol(), Timeframe::H1, sparse, None);
        assert!(matches!(sparse, Err(SeriesError::TooSparse { .. })));
    }

    #[test]
    fn a_source_with_another_bar_shows_in_the_modal_spacing() {
        let mut bars = random_bars(200, 10);
        bars.open_time = (0..200).map(|i| START + i * HOUR / 4).collect();
        let (_, profile) = aligned(bars);
        assert_eq!(profile.modal_spacing_ms, Some(HOUR / 4));
        assert_eq!(profile.off_grid_rows, 150);
    }

    /// Prices and volumes that are mostly sane and sometimes anything at all.
    fn any_number() -> impl Strategy<Value = f64> {
        prop_oneof![8 => 1.0..2.0_f64, 1 => Just(f64::NAN), 1 => Just(0.0), 1 => Just(-1.0), 1 => any::<f64>()]
    }

    fn any_bars() -> impl Strategy<Value = Bars> {
        let time = prop_oneof![
            9 => (0..60_i64).prop_map(|i| START + i * HOUR),
            1 => (0..60_i64).prop_map(|i| START + i * HOUR / 7),
        ];
        let row = (time, any_number(), any_number(), any_number(), any_number(), any_number());
        proptest::collection::vec(row, 0..80).prop_map(|rows| {
            let mut bars = Bars::default();
            for (time, open, close, a, b, volume) in rows {
                bars.open_time.push(time);
                bars.open.push(open);
                bars.close.push(close);
                bars.high.push(a.max(b).max(open));
                bars.low.push(a.min(b).min(open));
                bars.volume.push(volume);
            }
            bars
        })
    }

    proptest! {
        #[test]
        fn any_rows_end_as_a_valid_series_with_every_row_accounted_for(bars in any_bars(), end in 0..80_i64) {
            let until = UtcMs(START + end * HOUR);
            let Ok((series, found)) = align(&symbol(), Timeframe::H1, bars, Some(until)) else { return Ok(()) };
            let dropped = found.duplicates_exact + found.duplicates_contradictory + found.off_grid_rows
                + found.bad_price_rows + found.ohlc_violations + found.rows_after_until;
            prop_assert_eq!(found.rows_read, found.rows_kept + dropped);
            prop_assert_eq!(found.rows_kept, found.present_bars);
            prop_assert!(series.bar(0).is_present() && series.bar(series.len() - 1).is_present());
            prop_assert!(series.end() <= until);
            for i in 0..series.len() {
                let bar = series.bar(i);
                if bar.is_present() {
                    prop_assert!(0.0 < bar.low && bar.low <= bar.open && bar.low <= bar.close);
                    prop_assert!(bar.high >= bar.open && bar.high >= bar.close && bar.high.is_finite());
                    prop_assert!(bar.volume >= 0.0 && bar.volume.is_finite());
                } else {
                    prop_assert!(bar.open.is_nan() && bar.volume.is_nan() && bar.quote_volume.is_nan());
                }
            }
            let (cut, after) = super::super::cut_at_last_relisting(series.clone(), &found);
            prop_assert_eq!(after.relistings().count(), 0);
            prop_assert_eq!(cut.end(), series.end());
        }
    }
}
