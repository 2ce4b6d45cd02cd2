//! What was found in one coin's bars: the figures the gates judge, and nothing judged.
//!
//! Shares are 0..1 of present bars; "30 d" is the 30 days before the end of the last bar; figures
//! that the bars cannot give are `None`. Quote volume is in the pair's quote currency.

use super::Series;
use super::jumps::{self, Jump, median};
use crate::words::{Symbol, Timeframe, UtcMs};

/// Bars of the recent window, in days.
const RECENT_DAYS: f64 = 30.0;
/// A high or low further than this log-distance beyond the bar's open and close is a wick nobody
/// could trade on (a factor of two).
const WICK_LOG_DISTANCE: f64 = std::f64::consts::LN_2;
/// Part of a day's bars that must be present for the day to count in the median day volume.
const DAY_COVERAGE_MIN: f64 = 0.5;

/// A run of missing bars.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MissingRun {
    /// Start of the first missing bar.
    pub start: UtcMs,
    /// Number of missing bars.
    pub bars: usize,
}

/// History that was cut off in front of a relisting.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Cut {
    /// The relisting: the kept history starts here.
    pub at: UtcMs,
    /// Its log-return.
    pub log_return: f64,
    /// Grid positions removed.
    pub bars: usize,
}

/// Something the reader of the files noticed that the bars themselves do not show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Stable code, such as `time_column_contradiction`.
    pub code: &'static str,
    /// What was found, in one sentence without a full stop.
    pub text: String,
    /// Whether it makes the bars untrustworthy, so that the gate of that code must fail.
    pub untrustworthy: bool,
}

/// Counts made while rows were turned into a grid; they survive a cut.
#[derive(Clone, Debug, Default)]
pub(super) struct Defects {
    pub rows_read: usize,
    pub rows_kept: usize,
    pub duplicates_exact: usize,
    pub duplicates_contradictory: usize,
    pub unsorted_rows: usize,
    pub off_grid_rows: usize,
    pub bad_price_rows: usize,
    pub ohlc_violations: usize,
    pub repaired_rows: usize,
    pub rows_after_until: usize,
    pub modal_spacing_ms: Option<i64>,
}

/// Everything found in one coin's bars.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Profile {
    /// Whose bars.
    pub symbol: Symbol,
    /// Length of a bar.
    pub timeframe: Timeframe,
    /// Rows the source gave.
    pub rows_read: usize,
    /// Rows that became a bar (before any cut).
    pub rows_kept: usize,
    /// Start of the first bar.
    pub first: UtcMs,
    /// Start of the last bar.
    pub last: UtcMs,
    /// Days from the start of the first to the end of the last bar.
    pub span_days: f64,
    /// Bars that span holds.
    pub expected_bars: usize,
    /// Present bars.
    pub present_bars: usize,
    /// Present share of the expected bars.
    pub coverage: f64,
    /// Number of runs of missing bars.
    pub missing_runs: usize,
    /// The longest of them (the first of equals).
    pub longest_missing: Option<MissingRun>,
    /// Rows that repeat another one exactly.
    pub duplicates_exact: usize,
    /// Rows that contradict an earlier row of the same bar; the first was kept.
    pub duplicates_contradictory: usize,
    /// Rows older than one read before them.
    pub unsorted_rows: usize,
    /// Rows whose time is no multiple of the bar; dropped.
    pub off_grid_rows: usize,
    /// Rows with a price or volume that is no finite number in range; dropped.
    pub bad_price_rows: usize,
    /// Rows with low above, or high below, open or close; dropped.
    pub ohlc_violations: usize,
    /// Rows whose OHLC rounding noise (≤ 1e-9) was repaired.
    pub repaired_rows: usize,
    /// Rows not complete at the run's end; ignored.
    pub rows_after_until: usize,
    /// Most frequent distance between neighbouring rows as read, milliseconds.
    pub modal_spacing_ms: Option<i64>,
    /// Share of bars without volume.
    pub zero_volume_share: f64,
    /// The same in the last 30 days.
    pub zero_volume_share_30d: f64,
    /// Share of bars whose high equals their low.
    pub flat_share: f64,
    /// The same in the last 30 days.
    pub flat_share_30d: f64,
    /// Longest run of neighbouring bars without volume.
    pub longest_zero_volume_run: usize,
    /// Bars at the end of the series without volume and without movement.
    pub dead_tail_bars: usize,
    /// Bars with a high or low more than a factor of two beyond open and close.
    pub wick_bars: usize,
    /// Every jump across a missing run and every relisting, in time order.
    pub jumps: Vec<Jump>,
    /// Largest |log-return| between neighbouring bars: start of the later bar, and the return.
    pub largest_log_return: Option<(UtcMs, f64)>,
    /// Median over the last 30 days of a day's quote volume; `None` without one day of bars.
    pub adv_quote: Option<f64>,
    /// Standard deviation of closes over their mean.
    pub close_variation: f64,
    /// Realised volatility of the last 30 days, annualised, percent; `None` with under 2 returns.
    pub realised_vol_30d_pct: Option<f64>,
    /// Whole bars between the last bar's end and the run's end, where an end was given.
    pub stale_bars: Option<i64>,
    /// History that was cut off.
    pub cut: Option<Cut>,
    /// What the reader of the files noticed; stays with whoever read them.
    #[serde(skip)]
    pub notes: Vec<Note>,
}

impl Profile {
    /// Measures a series that is already on its grid; the counts of reading defects are zero.
    ///
    /// An empty series (which [`super::align`] never returns) gives zero shares and no figures.
    pub fn of(series: &Series, until: Option<UtcMs>) -> Profile {
        let present = series.close.iter().filter(|close| !close.is_nan()).count();
        let counts = Defects {
            rows_read: present,
            rows_kept: present,
            modal_spacing_ms: (present > 1).then_some(series.timeframe.ms()),
            ..Defects::default()
        };
        Profile::measure(series, counts, until)
    }

    pub(super) fn measure(series: &Series, defects: Defects, until: Option<UtcMs>) -> Profile {
        let bar_ms = series.timeframe.ms();
        let len = series.len();
        let recent = len.saturating_sub(series.timeframe.bars_in_days(RECENT_DAYS));
        let returns = jumps::neighbour_returns(series, 0);
        let recent_returns: Vec<f64> =
            returns.iter().filter(|&&(i, _)| i > recent).map(|&(_, value)| value).collect();
        let present_bars = series.close.iter().filter(|close| !close.is_nan()).count();
        let (missing_runs, longest_missing) = missing(series);
        let largest = returns.iter().copied().reduce(|a, b| if b.1.abs() > a.1.abs() { b } else { a });
        let share = |from: usize, test: fn(&Series, usize) -> bool| {
            let present = (from..len).filter(|&i| !series.close[i].is_nan());
            let (all, hits) =
                present.fold((0, 0), |(all, hits), i| (all + 1, hits + usize::from(test(series, i))));
            if all == 0 { 0.0 } else { f64::from(hits as u32) / f64::from(all as u32) }
        };
        let stale_bars = until.map(|until| until.0.saturating_sub(series.end().0).div_euclid(bar_ms).max(0));
        Profile {
            symbol: series.symbol.clone(),
            timeframe: series.timeframe,
            rows_read: defects.rows_read,
            rows_kept: defects.rows_kept,
            first: series.start,
            last: series.time(len.saturating_sub(1)),
            span_days: (series.end().0 - series.start.0) as f64 / UtcMs::DAY as f64,
            expected_bars: len,
            present_bars,
            coverage: if len == 0 { 0.0 } else { present_bars as f64 / len as f64 },
            missing_runs,
            longest_missing,
            duplicates_exact: defects.duplicates_exact,
            duplicates_contradictory: defects.duplicates_contradictory,
            unsorted_rows: defects.unsorted_rows,
            off_grid_rows: defects.off_grid_rows,
            bad_price_rows: defects.bad_price_rows,
            ohlc_violations: defects.ohlc_violations,
            repaired_rows: defects.repaired_rows,
            rows_after_until: defects.rows_after_until,
            modal_spacing_ms: defects.modal_spacing_ms,
            zero_volume_share: share(0, without_volume),
            zero_volume_share_30d: share(recent, without_volume),
            flat_share: share(0, is_flat),
            flat_share_30d: share(recent, is_flat),
            longest_zero_volume_run: longest_zero_volume_run(series),
            dead_tail_bars: (0..len).rev().take_while(|&i| is_dead(series, i)).count(),
            wick_bars: (0..len).filter(|&i| has_wick(series, i)).count(),
            jumps: jumps::find(series, &returns),
            largest_log_return: largest.map(|(i, value)| (series.time(i), value)),
            adv_quote: median_day_volume(series),
            close_variation: variation(&series.close),
            realised_vol_30d_pct: spread_of(&recent_returns)
                .map(|(_, sd)| 100.0 * sd * series.timeframe.bars_per_year().sqrt()),
            stale_bars,
            cut: None,
            notes: Vec::new(),
        }
    }

    /// The relistings and redenominations among the jumps that lie inside the series.
    pub fn relistings(&self) -> impl Iterator<Item = &Jump> {
        self.jumps.iter().filter(|jump| jump.relisting)
    }
}

/// Cuts the history before the last relisting or redenomination: prices there are of another
/// asset. The returned profile is measured on what is left, keeps the counts of reading defects,
/// and names the cut; without a relisting both come back unchanged.
pub fn cut_at_last_relisting(series: Series, profile: &Profile) -> (Series, Profile) {
    let Some(&jump) = profile.relistings().last() else { return (series, profile.clone()) };
    let from = series.index_at_or_after(jump.at);
    let kept = series.rows(from..series.len());
    let counts = Defects {
        rows_read: profile.rows_read,
        rows_kept: profile.rows_kept,
        duplicates_exact: profile.duplicates_exact,
        duplicates_contradictory: profile.duplicates_contradictory,
        unsorted_rows: profile.unsorted_rows,
        off_grid_rows: profile.off_grid_rows,
        bad_price_rows: profile.bad_price_rows,
        ohlc_violations: profile.ohlc_violations,
        repaired_rows: profile.repaired_rows,
        rows_after_until: profile.rows_after_until,
        modal_spacing_ms: profile.modal_spacing_ms,
    };
    let mut measured = Profile::measure(&kept, counts, None);
    measured.stale_bars = profile.stale_bars;
    measured.notes = profile.notes.clone();
    measured.cut = Some(Cut { at: jump.at, log_return: jump.log_return, bars: from });
    (kept, measured)
}

fn without_volume(series: &Series, i: usize) -> bool {
    series.volume[i] == 0.0
}

fn is_flat(series: &Series, i: usize) -> bool {
    series.high[i] == series.low[i]
}

/// A bar nobody traded in: neither volume nor movement.
fn is_dead(series: &Series, i: usize) -> bool {
    series.close[i].is_nan() || (without_volume(series, i) && is_flat(series, i))
}

fn has_wick(series: &Series, i: usize) -> bool {
    let (bottom, top) = (series.open[i].min(series.close[i]), series.open[i].max(series.close[i]));
    (series.high[i] / top).ln() > WICK_LOG_DISTANCE || (bottom / series.low[i]).ln() > WICK_LOG_DISTANCE
}

/// Number of runs of missing bars, and the longest.
fn missing(series: &Series) -> (usize, Option<MissingRun>) {
    let (mut runs, mut longest, mut at) = (0, None::<MissingRun>, 0);
    for run in series.close.chunk_by(|a, b| a.is_nan() == b.is_nan()) {
        if run[0].is_nan() {
            runs += 1;
            if longest.is_none_or(|known| run.len() > known.bars) {
                longest = Some(MissingRun { start: series.time(at), bars: run.len() });
            }
        }
        at += run.len();
    }
    (runs, longest)
}

fn longest_zero_volume_run(series: &Series) -> usize {
    let runs = series.volume.chunk_by(|a, b| (*a == 0.0) == (*b == 0.0));
    runs.filter(|run| run[0] == 0.0).map(<[f64]>::len).max().unwrap_or(0)
}

/// Median quote volume of the last 30 stretches of 24 h, counted back from the end; a stretch with
/// less than half of its bars does not count.
fn median_day_volume(series: &Series) -> Option<f64> {
    let day = series.timeframe.bars_in_days(1.0);
    let days = series.quote_volume.rchunks(day).take(RECENT_DAYS as usize);
    let sums = days.filter_map(|bars| {
        let present: Vec<f64> = bars.iter().copied().filter(|volume| !volume.is_nan()).collect();
        let enough = present.len() as f64 >= DAY_COVERAGE_MIN * day as f64;
        enough.then(|| present.iter().sum())
    });
    median(sums.collect())
}

/// Mean and standard deviation (n − 1); `None` with fewer than two values.
fn spread_of(values: &[f64]) -> Option<(f64, f64)> {
    if values.len() < 2 {
        return None;
    }
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Some((mean, (squares / (n - 1.0)).sqrt()))
}

/// Standard deviation over mean of the present closes; 0 with fewer than two.
fn variation(closes: &[f64]) -> f64 {
    let present: Vec<f64> = closes.iter().copied().filter(|close| !close.is_nan()).collect();
    spread_of(&present).map_or(0.0, |(mean, sd)| sd / mean)
}

#[cfg(test)]
pub(crate) mod testing {
    //! Generated bars for the tests of this floor.

    use crate::series::Bars;
    use crate::words::{Seed, Symbol, UtcMs};
    use rand::RngExt;

    /// 2025-01-01T00:00:00Z.
    pub const START: i64 = 1_735_689_600_000;
    pub const HOUR: i64 = UtcMs::HOUR;

    pub fn symbol() -> Symbol {
        "TESTUSDT".parse().unwrap()
    }

    /// `n` clean hourly bars of a random walk around 100 with some 2.5 M quote volume a day.
    pub fn random_bars(n: usize, seed: u64) -> Bars {
        let mut rng = Seed(seed).child("bars", 0).rng();
        let mut bars = Bars::default();
        let mut price = 100.0_f64;
        for i in 0..n {
            let mut step = || (rng.random::<f64>() - 0.5) * 0.02;
            let open = price * (step() * 0.01).exp();
            let close = open * step().exp();
            bars.open_time.push(START + i as i64 * HOUR);
            bars.open.push(open);
            bars.high.push(open.max(close) * (1.0 + step().abs()));
            bars.low.push(open.min(close) * (1.0 - step().abs()));
            bars.close.push(close);
            bars.volume.push(1_000.0 * (1.0 + 10.0 * step()));
            price = close;
        }
        bars
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{HOUR, START, random_bars, symbol};
    use super::*;
    use crate::series::{Bars, align};

    fn profile(bars: Bars, until: Option<UtcMs>) -> Profile {
        align(&symbol(), Timeframe::H1, bars, until).unwrap().1
    }

    fn drop_rows(bars: &mut Bars, from: usize, to: usize) {
        bars.open_time.drain(from..to);
        for column in [&mut bars.open, &mut bars.high, &mut bars.low, &mut bars.close, &mut bars.volume] {
            column.drain(from..to);
        }
    }

    #[test]
    fn missing_runs_are_counted_and_the_longest_is_placed() {
        let mut bars = random_bars(300, 1);
        drop_rows(&mut bars, 200, 210);
        drop_rows(&mut bars, 50, 53);
        let found = profile(bars, None);
        assert_eq!((found.missing_runs, found.expected_bars, found.present_bars), (2, 300, 287));
        assert_eq!(found.longest_missing, Some(MissingRun { start: UtcMs(START + 200 * HOUR), bars: 10 }));
        assert!((found.coverage - 287.0 / 300.0).abs() < 1e-12);
        assert!((found.span_days - 12.5).abs() < 1e-12);
    }

    #[test]
    fn volume_and_flatness_are_shares_of_present_bars() {
        let mut bars = random_bars(1000, 2);
        for row in 0..100 {
            bars.volume[row] = 0.0;
        }
        for row in 990..1000 {
            bars.volume[row] = 0.0;
            let close = bars.close[row];
            for column in [&mut bars.open, &mut bars.high, &mut bars.low] {
                column[row] = close;
            }
        }
        let found = profile(bars, None);
        assert_eq!((found.zero_volume_share, found.flat_share), (0.11, 0.01));
        assert_eq!((found.longest_zero_volume_run, found.dead_tail_bars), (100, 10));
        assert!((found.zero_volume_share_30d - 10.0 / 720.0).abs() < 1e-12);
        assert!((found.flat_share_30d - 10.0 / 720.0).abs() < 1e-12);
    }

    #[test]
    fn the_day_volume_is_the_median_of_days_counted_from_the_end() {
        let mut bars = random_bars(24 * 5 + 7, 3);
        let n = bars.close.len();
        let quote: Vec<f64> = (0..n).map(|row| ((n - 1 - row) / 24 + 1) as f64).collect();
        bars.quote_volume = Some(quote);
        assert_eq!(profile(bars, None).adv_quote, Some(24.0 * 3.0));
        assert_eq!(profile(random_bars(7, 3), None).adv_quote, None);
    }

    #[test]
    fn volatility_is_annualised_percent() {
        let found = profile(random_bars(1000, 4), None);
        // Uniform steps of ±1 %: sd 0.577 % an hour, times √8760.
        let expected = 0.577 * 8760_f64.sqrt();
        assert!((found.realised_vol_30d_pct.unwrap() / expected - 1.0).abs() < 0.1, "{found:?}");
    }

    #[test]
    fn a_series_that_ended_early_is_stale_by_whole_bars() {
        let until = UtcMs(START + 110 * HOUR);
        assert_eq!(profile(random_bars(100, 5), Some(until)).stale_bars, Some(10));
        assert_eq!(profile(random_bars(100, 5), None).stale_bars, None);
    }

    #[test]
    fn a_testnet_wick_is_counted() {
        let mut bars = random_bars(100, 6);
        bars.low[50] = 0.004;
        bars.high[60] *= 3.0;
        assert_eq!(profile(bars, None).wick_bars, 2);
    }

    #[test]
    fn history_before_the_last_relisting_is_cut_and_measured_again() {
        let mut bars = random_bars(600, 7);
        for row in 300..600 {
            for column in [&mut bars.open, &mut bars.high, &mut bars.low, &mut bars.close] {
                column[row] *= 1000.0;
            }
            bars.volume[row] /= 1000.0;
        }
        drop_rows(&mut bars, 260, 300);
        let (series, before) =
            align(&symbol(), Timeframe::H1, bars, Some(UtcMs(START + 605 * HOUR))).unwrap();
        assert_eq!(before.relistings().count(), 1);
        let (kept, after) = cut_at_last_relisting(series, &before);
        assert_eq!((kept.len(), kept.start), (300, UtcMs(START + 300 * HOUR)));
        assert_eq!((after.present_bars, after.missing_runs, after.relistings().count()), (300, 0, 0));
        assert_eq!((after.rows_read, after.stale_bars), (560, Some(5)));
        assert_eq!(after.cut.unwrap().bars, 300);
    }

    #[test]
    fn a_series_without_relisting_is_not_cut() {
        let (series, before) = align(&symbol(), Timeframe::H1, random_bars(100, 8), None).unwrap();
        assert_eq!(cut_at_last_relisting(series.clone(), &before), (series, before));
    }

    #[test]
    fn measuring_an_aligned_series_agrees_with_aligning() {
        let (series, aligned) = align(&symbol(), Timeframe::H1, random_bars(100, 9), None).unwrap();
        assert_eq!(Profile::of(&series, None), aligned);
    }
}
