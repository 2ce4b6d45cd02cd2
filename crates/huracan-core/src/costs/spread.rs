//! What the bid–ask spread probably is: from quotes where there are any, else from bars.
//!
//! Estimators work on log prices and return fractions (0.01 is 1 %); [`SpreadEstimate`] is in basis
//! points. Hourly bars of a liquid coin carry little about a spread of one tick: the noise of a
//! 30-day figure is about 3 % of an hour's volatility, some 5 bps. The interval says so.
//!
//! Ardia, Guidotti, Kroencke (2024) EDGE; Abdi and Ranaldo (2017); Corwin and Schultz (2012);
//! Roll (1984).

use crate::series::Series;
use crate::stats::moments::mean;
use crate::stats::quantiles::{median, quantile_sorted};

/// No spread is believed to be smaller, in basis points.
pub const SPREAD_MIN_BPS: f64 = 0.5;
/// EDGE says nothing where a bar nearly always opens at the previous close.
const OPEN_MOVES_MIN: f64 = 0.05;
/// Bars an estimate is made from at least: below, the estimators are mostly noise.
const WINDOW_BARS_MIN: usize = 21;
/// Estimates wanted however long a bar is.
const WINDOWS_MIN: usize = 9;

/// Where a spread came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub enum SpreadEstimator {
    /// Median of quoted bid and ask.
    Quoted,
    /// EDGE of open, high, low and close.
    Edge,
    /// The close–high–low part of EDGE, where opens repeat the previous close.
    CloseHighLow,
    /// One and a half ticks, where no estimator found a positive spread.
    Ticks,
    /// [`SPREAD_MIN_BPS`], where the tick is not known either.
    Floor,
}

impl SpreadEstimator {
    /// The code written to `costs.json`; never reworded.
    pub fn code(self) -> &'static str {
        match self {
            SpreadEstimator::Quoted => "quoted",
            SpreadEstimator::Edge => "edge",
            SpreadEstimator::CloseHighLow => "close_high_low",
            SpreadEstimator::Ticks => "ticks",
            SpreadEstimator::Floor => "floor",
        }
    }
}

/// A spread and how far to believe it. Everything in basis points.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SpreadEstimate {
    /// The spread to charge: never below one tick nor [`SPREAD_MIN_BPS`].
    pub median_bps: f64,
    /// Which rule gave it.
    pub estimator: SpreadEstimator,
    /// 95 % interval of the median of the daily signed estimates, before any floor (a lower end
    /// below zero is normal); `None` with fewer than six days.
    pub interval_bps: Option<[f64; 2]>,
    /// Days (windows) with an estimate.
    pub valid_days: usize,
    /// Days whose EDGE is positive.
    pub positive_days: usize,
    /// Share of bars that open at the previous close.
    pub open_is_previous_close: Option<f64>,
    /// One tick.
    pub tick_bps: Option<f64>,
    /// Median daily signed EDGE.
    pub edge_bps: Option<f64>,
    /// Median daily signed close–high–low component.
    pub close_high_low_bps: Option<f64>,
    /// Cross-check over the whole lookback: Corwin–Schultz, negatives counted as zero.
    pub corwin_schultz_bps: Option<f64>,
    /// Cross-check over the whole lookback: Abdi–Ranaldo, signed.
    pub abdi_ranaldo_bps: Option<f64>,
    /// Cross-check over the whole lookback: Roll, signed.
    pub roll_bps: Option<f64>,
}

/// Estimates the spread from the bars before `end_index`, over `lookback_days`.
///
/// max(one tick, median of the daily signed estimates, 0.5 bps). The daily estimate is EDGE if bars
/// open away from the previous close on more than 5 % of bars and EDGE is positive on more than
/// half of the days; else the close–high–low component if that is positive on more than half; else
/// 1.5 ticks. `tick` is the tick size in price units.
///
/// Where opens do move, EDGE already holds all that the close–high–low component knows, and better
/// weighted. If it sees no spread there, the component is only believed when its whole interval lies
/// above zero: without that, hourly bars of the most liquid perpetual, quoted 0.02 bps wide, are
/// charged 8 bps of noise.
///
///
/// A "day" is 24 hours counted back from the end, but never fewer than 21 bars, and there are never
/// fewer than nine of them: 4-hour bars use windows of 21 bars over 31.5 days, daily bars windows
/// of 21 days over 189 days, as far as history goes. `None` when no bar in the lookback is present.
pub fn estimate_spread(
    series: &Series,
    end_index: usize,
    lookback_days: f64,
    tick: Option<f64>,
) -> Option<SpreadEstimate> {
    let end = end_index.min(series.len());
    let per_day = (series.timeframe.bars_per_day().round() as usize).max(1);
    let window = per_day.max(WINDOW_BARS_MIN);
    let wanted = series.timeframe.bars_in_days(lookback_days).max(window * WINDOWS_MIN);
    // One bar more, so that the first window has a previous close.
    let start = end.saturating_sub(wanted + 1);
    let bars = LogBars::new(
        &series.open[start..end],
        &series.high[start..end],
        &series.low[start..end],
        &series.close[start..end],
    );
    let last_close = series.close[start..end].iter().rev().find(|c| c.is_finite())?;
    let pairs = bars.pairs();
    let daily: Vec<EdgeParts> = pairs.rchunks(window).filter_map(window_parts(window)).collect();
    let parts = |pick: fn(&EdgeParts) -> f64| -> Vec<f64> { daily.iter().map(|d| 1e4 * pick(d)).collect() };
    let (edge, close_high_low) = (parts(|d| d.edge), parts(|d| d.close_high_low));
    let positive = |x: &[f64]| x.iter().filter(|s| **s > 0.0).count();
    let mostly_positive = |x: &[f64]| 2 * positive(x) > x.len();
    let repeats = bars.share_open_is_previous_close();
    let tick_bps = tick.filter(|t| t.is_finite() && *t > 0.0).map(|t| 1e4 * t / last_close);
    let opens_move = repeats.is_some_and(|share| 1.0 - share > OPEN_MOVES_MIN);
    let mut basis = if opens_move { &edge } else { &close_high_low };
    let close_high_low_counts = mostly_positive(&close_high_low)
        && (!opens_move || median_interval(&close_high_low).is_some_and(|[low, _]| low > 0.0));
    let (estimator, found) = if opens_move && mostly_positive(&edge) {
        (SpreadEstimator::Edge, median(&edge))
    } else if close_high_low_counts {
        basis = &close_high_low;
        (SpreadEstimator::CloseHighLow, median(&close_high_low))
    } else {
        match tick_bps {
            Some(tick_bps) => (SpreadEstimator::Ticks, Some(1.5 * tick_bps)),
            None => (SpreadEstimator::Floor, None),
        }
    };
    let bps = |fraction: Option<f64>| fraction.map(|f| 1e4 * f);
    Some(SpreadEstimate {
        median_bps: found.unwrap_or(0.0).max(tick_bps.unwrap_or(0.0)).max(SPREAD_MIN_BPS),
        estimator,
        interval_bps: median_interval(basis),
        valid_days: daily.len(),
        positive_days: positive(&edge),
        open_is_previous_close: repeats,
        tick_bps,
        edge_bps: median(&edge),
        close_high_low_bps: median(&close_high_low),
        corwin_schultz_bps: bps(bars.corwin_schultz().map(|both| both.clipped)),
        abdi_ranaldo_bps: bps(bars.abdi_ranaldo()),
        roll_bps: bps(bars.roll()),
    })
}

/// The parts of a window that has at least half of its bars.
fn window_parts(window: usize) -> impl Fn(&[Pair]) -> Option<EdgeParts> {
    move |pairs| {
        let present = pairs.iter().filter(|p| p.is_present()).count();
        if 2 * present >= window { edge_parts(pairs) } else { None }
    }
}

/// Distribution-free 95 % interval of a median: order statistics n/2 ∓ 0.98√n, interpolated.
fn median_interval(x: &[f64]) -> Option<[f64; 2]> {
    if x.len() < 6 {
        return None;
    }
    let mut sorted = x.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let reach = 0.98 / (x.len() as f64).sqrt();
    Some([
        quantile_sorted(&sorted, (0.5 - reach).max(0.0))?,
        quantile_sorted(&sorted, (0.5 + reach).min(1.0))?,
    ])
}

/// Median quoted spread in basis points of the mid; crossed, empty and non-finite quotes are left
/// out. `None` when none is left.
pub fn spread_from_quotes(quotes: &[(f64, f64)]) -> Option<f64> {
    let good = |(bid, ask): &&(f64, f64)| bid.is_finite() && ask.is_finite() && *bid > 0.0 && ask >= bid;
    let spreads: Vec<f64> =
        quotes.iter().filter(good).map(|(bid, ask)| 2e4 * (ask - bid) / (ask + bid)).collect();
    median(&spreads)
}

/// Signed EDGE of bars in time order (equal lengths; NaN is a missing bar), as a fraction, exactly as
/// the authors' `bidask` package. `None` with fewer than three bars or without price changes.
pub fn edge(open: &[f64], high: &[f64], low: &[f64], close: &[f64]) -> Option<f64> {
    Some(edge_parts(&LogBars::new(open, high, low, close).pairs())?.edge)
}

/// Signed EDGE of the last `window` bars at every bar; `None` until there are as many. Each window
/// is summed afresh, so nothing drifts: O(n × window).
pub fn edge_rolling(
    open: &[f64],
    high: &[f64],
    low: &[f64],
    close: &[f64],
    window: usize,
) -> Vec<Option<f64>> {
    let pairs = LogBars::new(open, high, low, close).pairs();
    let at = |i: usize| {
        if window < 3 || i + 1 < window {
            return None;
        }
        Some(edge_parts(&pairs[i + 1 - window..i])?.edge)
    };
    (0..open.len()).map(at).collect()
}

/// Mean two-bar Corwin–Schultz estimate, negatives counted as zero.
pub fn corwin_schultz(high: &[f64], low: &[f64]) -> Option<f64> {
    LogBars::new(low, high, low, low).corwin_schultz().map(|both| both.clipped)
}

/// Mean two-bar Corwin–Schultz estimate, negatives kept.
pub fn corwin_schultz_raw(high: &[f64], low: &[f64]) -> Option<f64> {
    LogBars::new(low, high, low, low).corwin_schultz().map(|both| both.raw)
}

/// Signed Abdi–Ranaldo estimate 2√E[(cₜ₋₁ − ηₜ₋₁)(cₜ₋₁ − ηₜ)], η the mid-range.
pub fn abdi_ranaldo(high: &[f64], low: &[f64], close: &[f64]) -> Option<f64> {
    LogBars::new(close, high, low, close).abdi_ranaldo()
}

/// Signed Roll estimate −2·sign(γ)√|γ|, γ the first autocovariance of returns.
pub fn roll(close: &[f64]) -> Option<f64> {
    LogBars::new(close, close, close, close).roll()
}

/// Share of bars that open exactly at the previous close: near 1 it is a habit of the venue, and
/// EDGE is then zero by construction.
pub fn share_open_is_previous_close(open: &[f64], close: &[f64]) -> Option<f64> {
    let links = open.iter().skip(1).zip(close).filter(|(o, c)| !o.is_nan() && !c.is_nan());
    let (count, same) = links.fold((0, 0), |(n, same), (o, c)| (n + 1, same + usize::from(o == c)));
    (count > 0).then(|| f64::from(same as u32) / f64::from(count))
}

fn signed_root(square: f64) -> f64 {
    if square == 0.0 { 0.0 } else { square.signum() * square.abs().sqrt() }
}

/// EDGE and its close–high–low half, signed fractions.
#[derive(Clone, Copy, Debug, PartialEq)]
struct EdgeParts {
    edge: f64,
    close_high_low: f64,
}

/// What one bar and the one before it contribute to EDGE; NaN where a bar is missing.
#[derive(Clone, Copy)]
struct Pair {
    /// Mid-range minus open.
    r1: f64,
    /// Open minus previous mid-range.
    r2: f64,
    /// Mid-range minus previous close.
    r3: f64,
    /// Previous close minus previous mid-range.
    r4: f64,
    /// Open minus previous close.
    r5: f64,
    /// 1 if the price moved, else 0.
    tau: f64,
    /// tau × how many of high and low the open is not.
    open_inside: f64,
    /// tau × how many of the previous high and low the previous close is not.
    close_inside: f64,
}

impl Pair {
    fn is_present(&self) -> bool {
        !self.tau.is_nan()
    }
}

/// The published estimator, missing bars skipped as numpy's `nanmean` does.
fn edge_parts(pairs: &[Pair]) -> Option<EdgeParts> {
    if pairs.len() < 2 {
        return None;
    }
    let mut n = 0.0;
    let (mut tau, mut po, mut pc, mut r3, mut r5) = (0.0, 0.0, 0.0, 0.0, 0.0);
    let (mut n1, mut r1) = (0.0, 0.0);
    for p in pairs {
        if !p.r1.is_nan() {
            n1 += 1.0;
            r1 += p.r1;
        }
        if p.is_present() {
            n += 1.0;
            tau += p.tau;
            po += p.open_inside;
            pc += p.close_inside;
            r3 += p.r3;
            r5 += p.r5;
        }
    }
    if tau < 2.0 || po == 0.0 || pc == 0.0 {
        return None;
    }
    let pt = tau / n;
    let (m1, m3, m5) = (r1 / n1 / pt, r3 / n / pt, r5 / n / pt);
    let (by_open, by_close) = (-4.0 * n / po, -4.0 * n / pc);
    let (mut e1, mut e2, mut q1, mut q2, mut chl) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for p in pairs.iter().filter(|p| p.is_present()) {
        let d1 = p.r1 - m1 * p.tau;
        let d3 = p.r3 - m3 * p.tau;
        let d5 = p.r5 - m5 * p.tau;
        let close_part = by_close * d3 * p.r4;
        let x1 = by_open * d1 * p.r2 + close_part;
        let x2 = by_open * d1 * p.r5 + by_close * d5 * p.r4;
        e1 += x1;
        e2 += x2;
        q1 += x1 * x1;
        q2 += x2 * x2;
        chl += close_part;
    }
    let (e1, e2) = (e1 / n, e2 / n);
    let (v1, v2) = (q1 / n - e1 * e1, q2 / n - e2 * e2);
    let total = v1 + v2;
    let square = if total > 0.0 { (v2 * e1 + v1 * e2) / total } else { 0.5 * (e1 + e2) };
    Some(EdgeParts { edge: signed_root(square), close_high_low: signed_root(2.0 * chl / n) })
}

struct CorwinSchultz {
    raw: f64,
    clipped: f64,
}

/// Log prices, taken once for all estimators.
struct LogBars {
    o: Vec<f64>,
    h: Vec<f64>,
    l: Vec<f64>,
    c: Vec<f64>,
}

impl LogBars {
    fn new(open: &[f64], high: &[f64], low: &[f64], close: &[f64]) -> LogBars {
        let log = |x: &[f64]| -> Vec<f64> { x.iter().map(|v| v.ln()).collect() };
        LogBars { o: log(open), h: log(high), l: log(low), c: log(close) }
    }

    fn mid(&self, i: usize) -> f64 {
        0.5 * (self.h[i] + self.l[i])
    }

    /// Pair `i` joins bars `i` and `i + 1`.
    fn pairs(&self) -> Vec<Pair> {
        let count = |a: bool, b: bool| f64::from(u8::from(a) + u8::from(b));
        let pair = |i: usize| {
            let t = i + 1;
            let (o, h, l, m) = (self.o[t], self.h[t], self.l[t], self.mid(t));
            let (h1, l1, c1, m1) = (self.h[i], self.l[i], self.c[i], self.mid(i));
            let missing = h.is_nan() || l.is_nan() || c1.is_nan();
            let tau = if missing { f64::NAN } else { f64::from(u8::from(h != l || l != c1)) };
            Pair {
                r1: m - o,
                r2: o - m1,
                r3: m - c1,
                r4: c1 - m1,
                r5: o - c1,
                tau,
                open_inside: tau * count(o != h, o != l),
                close_inside: tau * count(c1 != h1, c1 != l1),
            }
        };
        (0..self.c.len().saturating_sub(1)).map(pair).collect()
    }

    fn share_open_is_previous_close(&self) -> Option<f64> {
        share_open_is_previous_close(&self.o, &self.c)
    }

    fn corwin_schultz(&self) -> Option<CorwinSchultz> {
        let k = 3.0 - 2.0 * std::f64::consts::SQRT_2;
        let (mut n, mut raw, mut clipped) = (0.0, 0.0, 0.0);
        // α = (√(2β) − √β)/k − √(γ/k)
        let (of_beta, of_gamma) = ((std::f64::consts::SQRT_2 - 1.0) / k, (1.0 / k).sqrt());
        for i in 1..self.h.len() {
            let (h1, h, l1, l) = (self.h[i - 1], self.h[i], self.l[i - 1], self.l[i]);
            let beta = (h - l).powi(2) + (h1 - l1).powi(2);
            let gamma_root = h.max(h1) - l.min(l1);
            let alpha = of_beta * beta.sqrt() - of_gamma * gamma_root;
            if alpha.is_nan() {
                continue;
            }
            let growth = alpha.exp();
            let estimate = 2.0 * (growth - 1.0) / (1.0 + growth);
            n += 1.0;
            raw += estimate;
            clipped += f64::max(estimate, 0.0);
        }
        (n > 0.0).then(|| CorwinSchultz { raw: raw / n, clipped: clipped / n })
    }

    fn abdi_ranaldo(&self) -> Option<f64> {
        let products: Vec<f64> = (1..self.c.len())
            .map(|i| (self.c[i - 1] - self.mid(i - 1)) * (self.c[i - 1] - self.mid(i)))
            .filter(|v| !v.is_nan())
            .collect();
        Some(signed_root(4.0 * mean(&products)?))
    }

    fn roll(&self) -> Option<f64> {
        let returns = |i: usize| (self.c[i] - self.c[i - 1], self.c[i - 1] - self.c[i - 2]);
        let both: Vec<(f64, f64)> = (2..self.c.len())
            .map(returns)
            .filter(|(now, before)| !now.is_nan() && !before.is_nan())
            .collect();
        if both.is_empty() {
            return None;
        }
        let n = both.len() as f64;
        let product = both.iter().map(|(a, b)| a * b).sum::<f64>() / n;
        let (now, before) = both.iter().fold((0.0, 0.0), |(x, y), (a, b)| (x + a, y + b));
        Some(-2.0 * signed_root(product - now / n * before / n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::{Market, Seed, Symbol, Timeframe, UtcMs};
    use rand::RngExt;

    /// Bars of `trades` prints each, bouncing between bid and ask around a random walk.
    fn bouncing(timeframe: Timeframe, bars: usize, spread: f64, sigma: f64, open_repeats: bool) -> Series {
        let mut rng = Seed(5).rng();
        let trades = 12;
        let (mut mid, mut last) = (0.0_f64, 100.0);
        let mut columns: [Vec<f64>; 4] = Default::default();
        for _ in 0..bars {
            let mut prints = Vec::new();
            for _ in 0..trades {
                let step: f64 = (0..4).map(|_| rng.random::<f64>() - 0.5).sum();
                mid += step * sigma * 3.0_f64.sqrt() / f64::from(trades).sqrt();
                let side = if rng.random::<bool>() { 0.5 } else { -0.5 };
                prints.push(100.0 * mid.exp() * (1.0 + side * spread));
            }
            let open = if open_repeats { last } else { prints[0] };
            last = prints[prints.len() - 1];
            let high = prints.iter().copied().fold(open, f64::max);
            let low = prints.iter().copied().fold(open, f64::min);
            for (column, v) in columns.iter_mut().zip([open, high, low, last]) {
                column.push(v);
            }
        }
        let [open, high, low, close] = columns;
        Series {
            symbol: Symbol::parse("AAAUSDT", Market::Perp).unwrap(),
            timeframe,
            start: UtcMs(0),
            volume: vec![1.0; bars],
            quote_volume: vec![100.0; bars],
            trades: None,
            taker_buy_base: None,
            open,
            high,
            low,
            close,
        }
    }

    #[test]
    fn a_wide_spread_is_found_by_edge_within_a_narrow_interval() {
        let series = bouncing(Timeframe::M15, 96 * 31, 0.0040, 0.0040, false);
        let found = estimate_spread(&series, series.len(), 30.0, None).unwrap();
        assert_eq!((found.estimator, found.valid_days), (SpreadEstimator::Edge, 30));
        assert!((found.median_bps - 40.0).abs() < 5.0, "{found:?}");
        let [low, high] = found.interval_bps.unwrap();
        assert!(35.0 < low && low < found.median_bps && found.median_bps < high && high < 45.0);
    }

    #[test]
    fn where_opens_repeat_the_close_the_close_high_low_part_steps_in() {
        let series = bouncing(Timeframe::M15, 96 * 31, 0.0040, 0.0040, true);
        let found = estimate_spread(&series, series.len(), 30.0, None).unwrap();
        assert_eq!(found.estimator, SpreadEstimator::CloseHighLow);
        assert_eq!((found.edge_bps, found.open_is_previous_close), (Some(0.0), Some(1.0)));
        assert!((found.median_bps - 40.0).abs() < 15.0, "{found:?}");
    }

    #[test]
    fn noise_in_the_close_high_low_part_is_not_charged_where_edge_sees_nothing() {
        let series = bouncing(Timeframe::H1, 24 * 200, 0.0, 0.005, false);
        let mut estimators = Vec::new();
        for day in (31..=200).step_by(13) {
            estimators.push(estimate_spread(&series, 24 * day, 30.0, Some(0.001)).unwrap().estimator);
        }
        assert!(!estimators.contains(&SpreadEstimator::CloseHighLow), "{estimators:?}");
        assert!(estimators.contains(&SpreadEstimator::Ticks));
    }

    #[test]
    fn zero_is_never_an_answer() {
        let mut flat = bouncing(Timeframe::H1, 24 * 31, 0.0, 0.001, false);
        for column in [&mut flat.open, &mut flat.high, &mut flat.low, &mut flat.close] {
            column.fill(100.0);
        }
        let with_tick = estimate_spread(&flat, flat.len(), 30.0, Some(0.1)).unwrap();
        assert_eq!((with_tick.estimator, with_tick.valid_days), (SpreadEstimator::Ticks, 0));
        assert!((with_tick.median_bps - 15.0).abs() < 1e-9);
        let without = estimate_spread(&flat, flat.len(), 30.0, None).unwrap();
        assert_eq!((without.estimator, without.median_bps), (SpreadEstimator::Floor, SPREAD_MIN_BPS));
        assert_eq!(estimate_spread(&flat, 0, 30.0, None), None);
    }

    #[test]
    fn one_tick_is_the_least() {
        let series = bouncing(Timeframe::M15, 96 * 31, 0.0020, 0.0040, false);
        let found = estimate_spread(&series, series.len(), 30.0, Some(1.0)).unwrap();
        assert_eq!(found.median_bps, found.tick_bps.unwrap());
    }

    #[test]
    fn daily_bars_look_further_back() {
        let series = bouncing(Timeframe::D1, 400, 0.02, 0.02, false);
        let found = estimate_spread(&series, 400, 30.0, None).unwrap();
        assert_eq!(found.valid_days, 9);
        assert!((found.median_bps - 200.0).abs() < 60.0, "{found:?}");
    }

    #[test]
    fn a_gap_costs_its_day_and_no_more() {
        let mut series = bouncing(Timeframe::M15, 96 * 31, 0.0040, 0.0040, false);
        for column in [&mut series.open, &mut series.high, &mut series.low, &mut series.close] {
            column[1000..1096].fill(f64::NAN);
        }
        let found = estimate_spread(&series, series.len(), 30.0, None).unwrap();
        assert!(found.valid_days >= 28 && (found.median_bps - 40.0).abs() < 5.0);
    }

    #[test]
    fn quotes_speak_for_themselves() {
        let quotes = [(99.99, 100.01), (99.98, 100.02), (100.0, 99.0), (f64::NAN, 1.0), (99.985, 100.015)];
        assert!((spread_from_quotes(&quotes).unwrap() - 3.0).abs() < 1e-9);
        assert_eq!(spread_from_quotes(&[]), None);
    }
}
