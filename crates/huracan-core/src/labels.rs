//! Labels: what a head is asked to predict, and the market it is judged against.
//!
//! A label is a forward log return entered `entry_lag_bars` late. One whose window touches a
//! missing bar or the end of the series is missing, never zero. Nothing here looks at features.

use crate::series::Series;
use crate::words::{Timeframe, UtcMs};

/// How the forward return is turned into a target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LabelKind {
    /// The log return itself.
    Raw,
    /// Divided by σ√h, σ the causal EWMA volatility of one bar.
    Scaled,
    /// Minus the equal-weight mean over the coins that have one at t, then scaled. The default.
    Relative,
}

impl LabelKind {
    /// The word written in files.
    pub fn code(self) -> &'static str {
        match self {
            LabelKind::Raw => "raw",
            LabelKind::Scaled => "scaled",
            LabelKind::Relative => "relative",
        }
    }
}

impl std::str::FromStr for LabelKind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "raw" => Ok(LabelKind::Raw),
            "scaled" => Ok(LabelKind::Scaled),
            "relative" => Ok(LabelKind::Relative),
            other => Err(format!("{other:?} is not a label kind; expected raw, scaled or relative")),
        }
    }
}

/// What is predicted: kind, horizon and lag, in bars.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct LabelSpec {
    /// How the forward return is turned into a target.
    pub kind: LabelKind,
    /// Bars the position is meant to be held.
    pub horizon_bars: usize,
    /// Bars between the decision and the entry; at least one.
    pub entry_lag_bars: usize,
    /// Half-life in bars of the EWMA volatility that scales the label.
    pub sigma_half_life_bars: f64,
    /// Scaled labels are clipped to ± this many σ√h.
    pub clip: f64,
}

impl LabelSpec {
    /// Bars from the decision to the end of the label's window: `lag + horizon`.
    pub fn window_bars(&self) -> usize {
        self.entry_lag_bars + self.horizon_bars
    }
}

/// One-bar log returns: `ln(close[i] / last present close before i)`; 0 at a missing bar and at
/// the first bar, so that the sum over any span is the log price change over that span.
pub fn carried_log_returns(series: &Series) -> Vec<f64> {
    let mut last = f64::NAN;
    let step = |&close: &f64| {
        if close.is_nan() {
            return 0.0;
        }
        let r = if last.is_nan() { 0.0 } else { (close / last).ln() };
        last = close;
        r
    };
    series.close.iter().map(step).collect()
}

/// Causal EWMA volatility of one-bar log returns, per bar, as a fraction (0.01 = 1 %).
///
/// `σ²_t = (1−α)σ²_{t−1} + α r²_t` with `α = 1 − 2^(−1/half_life)`, started from the mean of the
/// first `half_life` squared returns (at least 2); NaN before that many are known. A missing bar
/// leaves the state as it was.
pub fn ewma_sigma(series: &Series, half_life_bars: f64) -> Vec<f64> {
    let alpha = 1.0 - (-std::f64::consts::LN_2 / half_life_bars).exp();
    let warm = (half_life_bars.ceil() as usize).max(2);
    let returns = carried_log_returns(series);
    let mut variance = 0.0;
    let mut seen = 0_usize;
    let mut out = vec![f64::NAN; series.len()];
    for i in 1..series.len() {
        if !series.close[i].is_nan() {
            let square = returns[i] * returns[i];
            seen += 1;
            if seen <= warm {
                variance += (square - variance) / seen as f64;
            } else {
                variance += alpha * (square - variance);
            }
        }
        if seen >= warm && variance > 0.0 {
            out[i] = variance.sqrt();
        }
    }
    out
}

/// Forward log returns `ln(P[t+lag+h] / P[t+lag])`; NaN where the window `[t, t+lag+h]` touches a
/// missing bar or the end.
pub fn forward_returns(series: &Series, lag: usize, horizon: usize) -> Vec<f64> {
    let n = series.len();
    let window = lag + horizon;
    let mut out = vec![f64::NAN; n];
    let mut missing_before = Vec::with_capacity(n + 1);
    let mut missing = 0_u32;
    missing_before.push(0);
    for close in &series.close {
        missing += u32::from(close.is_nan());
        missing_before.push(missing);
    }
    for t in 0..n.saturating_sub(window) {
        if missing_before[t + window + 1] == missing_before[t] {
            out[t] = (series.close[t + window] / series.close[t + lag]).ln();
        }
    }
    out
}

/// The run's common time grid: position `i` is the bar that starts at `start + i × timeframe`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Grid {
    /// Length of a bar.
    pub timeframe: Timeframe,
    /// Start of position 0.
    pub start: UtcMs,
    /// Number of positions.
    pub len: usize,
}

impl Grid {
    /// The grid that covers `[start, end)`.
    pub fn covering(timeframe: Timeframe, start: UtcMs, end: UtcMs) -> Grid {
        let len = ((end.0 - start.0).max(0) / timeframe.ms()) as usize;
        Grid { timeframe, start, len }
    }

    /// Grid position of bar 0 of a series on the same timeframe (may lie before the grid).
    pub fn offset_of(&self, series: &Series) -> i64 {
        (series.start.0 - self.start.0).div_euclid(self.timeframe.ms())
    }

    /// Start time of position `i`.
    pub fn time(&self, i: usize) -> UtcMs {
        UtcMs(self.start.0 + i as i64 * self.timeframe.ms())
    }
}

/// Fixed-point scale of the market sums: integer addition is associative, so the mean has the same
/// bits whatever the order in which coins are added.
const FIXED: f64 = (1_u64 << 40) as f64;
/// A single coin's return enters the market mean clipped to ± this log return.
const MARKET_CLIP: f64 = 2.0;

/// Sums over coins, at every time, of the one-bar simple return and of the forward return per horizon.
#[derive(Clone, Debug, PartialEq)]
pub struct MarketSums {
    grid: Grid,
    lag: usize,
    horizons: Vec<usize>,
    bar_sum: Vec<i64>,
    bar_count: Vec<u32>,
    forward_sum: Vec<Vec<i64>>,
    forward_count: Vec<Vec<u32>>,
}

impl MarketSums {
    /// Empty sums for a grid, an entry lag and the horizons in bars.
    pub fn new(grid: Grid, lag: usize, horizons: &[usize]) -> MarketSums {
        MarketSums {
            grid,
            lag,
            horizons: horizons.to_vec(),
            bar_sum: vec![0; grid.len],
            bar_count: vec![0; grid.len],
            forward_sum: vec![vec![0; grid.len]; horizons.len()],
            forward_count: vec![vec![0; grid.len]; horizons.len()],
        }
    }

    /// Adds one coin from its first bar on.
    pub fn add(&mut self, series: &Series) {
        self.add_from(series, series.start);
    }

    /// Adds one coin as a member of the market from `member_from` on: bars before that do not count.
    pub fn add_from(&mut self, series: &Series, member_from: UtcMs) {
        let offset = self.grid.offset_of(series);
        let len = self.grid.len as i64;
        let first = series.index_at_or_after(member_from);
        let place = |i: usize| {
            let at = offset + i as i64;
            (i >= first && (0..len).contains(&at)).then_some(at as usize)
        };
        for i in 1..series.len() {
            let r = (series.close[i] / series.close[i - 1]).ln();
            if let (Some(at), false) = (place(i), r.is_nan()) {
                self.bar_sum[at] += fixed(r.exp_m1());
                self.bar_count[at] += 1;
            }
        }
        for (h, &horizon) in self.horizons.iter().enumerate() {
            for (i, r) in forward_returns(series, self.lag, horizon).into_iter().enumerate() {
                if let (Some(at), false) = (place(i), r.is_nan()) {
                    self.forward_sum[h][at] += fixed(r);
                    self.forward_count[h][at] += 1;
                }
            }
        }
    }

    /// Adds the sums of another set of coins on the same grid and horizons.
    pub fn merge(&mut self, other: &MarketSums) {
        assert!(
            self.grid == other.grid && self.lag == other.lag && self.horizons == other.horizons,
            "market sums of different grids cannot be added"
        );
        let add = |a: &mut [i64], b: &[i64]| a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        let count = |a: &mut [u32], b: &[u32]| a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        add(&mut self.bar_sum, &other.bar_sum);
        count(&mut self.bar_count, &other.bar_count);
        for h in 0..self.horizons.len() {
            add(&mut self.forward_sum[h], &other.forward_sum[h]);
            count(&mut self.forward_count[h], &other.forward_count[h]);
        }
    }

    /// The means over coins; NaN where no coin has a value.
    pub fn finish(self) -> MarketReturns {
        let mean = |sums: &[i64], counts: &[u32]| -> Vec<f64> {
            let one =
                |(&s, &c): (&i64, &u32)| if c == 0 { f64::NAN } else { s as f64 / FIXED / f64::from(c) };
            sums.iter().zip(counts).map(one).collect()
        };
        MarketReturns {
            grid: self.grid,
            bar: mean(&self.bar_sum, &self.bar_count),
            forward: (0..self.horizons.len())
                .map(|h| mean(&self.forward_sum[h], &self.forward_count[h]))
                .collect(),
            horizons: self.horizons,
        }
    }
}

fn fixed(r: f64) -> i64 {
    (r.clamp(-MARKET_CLIP, MARKET_CLIP) * FIXED).round() as i64
}

/// The equal-weight market on the run's grid: the mean one-bar simple return (what an equal-weight
/// basket earns, and so a hedge) and the mean forward log return per horizon (what the `relative`
/// label subtracts).
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct MarketReturns {
    /// The grid the columns lie on.
    pub grid: Grid,
    /// Mean one-bar simple return of the coins with a bar at t and t−1; NaN where there is none.
    pub bar: Vec<f64>,
    /// Horizons in bars, as given.
    pub horizons: Vec<usize>,
    /// Mean forward log return per horizon; NaN where there is none.
    pub forward: Vec<Vec<f64>>,
}

impl MarketReturns {
    /// The mean one-bar simple returns seen from a series: one value a bar, 0 where undefined.
    pub fn bar_returns_for(&self, series: &Series) -> Vec<f64> {
        let offset = self.grid.offset_of(series);
        let at = |i: usize| usize::try_from(offset + i as i64).ok().and_then(|i| self.bar.get(i));
        (0..series.len()).map(|i| at(i).copied().filter(|r| r.is_finite()).unwrap_or(0.0)).collect()
    }
}

/// Labels of one horizon for every bar of a series, NaN where missing.
///
/// `sigma` is [`ewma_sigma`] of the same series. `horizon` must be one of `market.horizons`.
pub fn labels(
    series: &Series,
    sigma: &[f64],
    market: &MarketReturns,
    spec: &LabelSpec,
    horizon: usize,
) -> Vec<f64> {
    let mut out = forward_returns(series, spec.entry_lag_bars, horizon);
    if spec.kind == LabelKind::Raw {
        return out;
    }
    let offset = market.grid.offset_of(series);
    let means = market.horizons.iter().position(|&h| h == horizon).map(|h| &market.forward[h]);
    let root = (horizon as f64).sqrt();
    for (i, value) in out.iter_mut().enumerate() {
        let mean = match (spec.kind, means) {
            (LabelKind::Relative, Some(means)) => usize::try_from(offset + i as i64)
                .ok()
                .and_then(|at| means.get(at))
                .copied()
                .unwrap_or(f64::NAN),
            (LabelKind::Relative, None) => f64::NAN,
            _ => 0.0,
        };
        *value = ((*value - mean) / (sigma[i] * root)).clamp(-spec.clip, spec.clip);
    }
    out
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use rand::RngExt;

    /// A clean seeded random walk.
    pub(crate) fn walk(name: &str, seed: u64, n: usize) -> Series {
        let mut rng = crate::words::Seed(seed).rng();
        let mut price = 100.0_f64;
        let close: Vec<f64> = (0..n)
            .map(|_| {
                price *= (0.02 * (rng.random::<f64>() - 0.5)).exp();
                price
            })
            .collect();
        let open: Vec<f64> = (0..n).map(|i| if i == 0 { 100.0 } else { close[i - 1] }).collect();
        let high = (0..n).map(|i| open[i].max(close[i]) * 1.001).collect();
        let low = (0..n).map(|i| open[i].min(close[i]) * 0.999).collect();
        Series {
            symbol: name.parse().unwrap(),
            timeframe: Timeframe::H1,
            start: UtcMs(0),
            open,
            high,
            low,
            volume: vec![1000.0; n],
            quote_volume: close.iter().map(|c| c * 1000.0).collect(),
            close,
            trades: None,
            taker_buy_base: None,
        }
    }

    fn erase(series: &mut Series, i: usize) {
        for column in
            [&mut series.open, &mut series.high, &mut series.low, &mut series.close, &mut series.volume]
        {
            column[i] = f64::NAN;
        }
        series.quote_volume[i] = f64::NAN;
    }

    #[test]
    fn a_label_whose_window_touches_a_gap_or_the_end_is_missing() {
        let mut series = walk("AAAUSDT", 1, 50);
        erase(&mut series, 20);
        let r = forward_returns(&series, 1, 4);
        for (t, value) in r.iter().enumerate() {
            let touches_gap = (15..=20).contains(&t);
            assert_eq!(value.is_nan(), touches_gap || t >= 45, "t = {t}");
        }
        let expected = (series.close[12] / series.close[8]).ln();
        assert_eq!(r[7], expected);
    }

    #[test]
    fn sigma_never_sees_the_future() {
        let series = walk("AAAUSDT", 2, 300);
        let mut changed = series.clone();
        for i in 200..300 {
            changed.close[i] *= 3.0;
        }
        let (a, b) = (ewma_sigma(&series, 24.0), ewma_sigma(&changed, 24.0));
        assert!(a[..200].iter().zip(&b[..200]).all(|(x, y)| x.to_bits() == y.to_bits()));
        assert_ne!(a[210], b[210]);
    }

    #[test]
    fn market_sums_do_not_depend_on_the_order_of_coins() {
        let coins: Vec<Series> =
            (0..7).map(|k| walk(["AAAUSDT", "BBBUSDT"][k % 2], 10 + k as u64, 200)).collect();
        let grid = Grid { timeframe: Timeframe::H1, start: UtcMs(0), len: 200 };
        let mut forward = MarketSums::new(grid, 1, &[4, 24]);
        coins.iter().for_each(|c| forward.add(c));
        let mut parts = [MarketSums::new(grid, 1, &[4, 24]), MarketSums::new(grid, 1, &[4, 24])];
        coins.iter().rev().enumerate().for_each(|(i, c)| parts[i % 2].add(c));
        let [mut a, b] = parts;
        a.merge(&b);
        assert_eq!(forward, a);
    }

    #[test]
    fn a_coin_is_in_no_sum_from_before_it_was_a_member() {
        let (a, b) = (walk("AUSDT.P", 1, 60), walk("BUSDT.P", 2, 60));
        let grid = Grid { timeframe: Timeframe::H1, start: a.start, len: 60 };
        let sums = || MarketSums::new(grid, 1, &[4]);
        let (mut alone, mut both, mut joined) = (sums(), sums(), sums());
        alone.add(&a);
        both.add(&a);
        both.add(&b);
        joined.add(&a);
        joined.add_from(&b, b.time(20));
        let (alone, both, joined) = (alone.finish(), both.finish(), joined.finish());
        let same = |x: &[f64], y: &[f64]| x.iter().zip(y).all(|(x, y)| x.to_bits() == y.to_bits());
        assert!(same(&joined.bar[..20], &alone.bar[..20]) && same(&joined.bar[20..], &both.bar[20..]));
        let [alone, both, joined] = [&alone, &both, &joined].map(|market| &market.forward[0]);
        assert!(same(&joined[..20], &alone[..20]) && same(&joined[20..], &both[20..]));
        assert!(alone[10] != both[10] && alone[30] != both[30]);
    }

    #[test]
    fn a_basket_earns_the_mean_of_simple_returns() {
        let (a, b) = (walk("AAAUSDT", 5, 40), walk("BBBUSDT", 6, 40));
        let mut sums = MarketSums::new(Grid { timeframe: Timeframe::H1, start: UtcMs(0), len: 40 }, 1, &[4]);
        sums.add(&a);
        sums.add(&b);
        let market = sums.finish();
        let simple = |s: &Series| s.close[9] / s.close[8] - 1.0;
        assert!((market.bar[9] - 0.5 * (simple(&a) + simple(&b))).abs() < 1e-11);
    }

    #[test]
    fn relative_labels_sum_to_zero_over_equal_volatility_coins() {
        let a = walk("AAAUSDT", 5, 400);
        let b = walk("BBBUSDT", 6, 400);
        let grid = Grid { timeframe: Timeframe::H1, start: UtcMs(0), len: 400 };
        let mut sums = MarketSums::new(grid, 1, &[24]);
        sums.add(&a);
        sums.add(&b);
        let market = sums.finish();
        let spec = LabelSpec {
            kind: LabelKind::Relative,
            horizon_bars: 24,
            entry_lag_bars: 1,
            sigma_half_life_bars: 72.0,
            clip: 1e9,
        };
        let flat = vec![0.01; 400];
        let la = labels(&a, &flat, &market, &spec, 24);
        let lb = labels(&b, &flat, &market, &spec, 24);
        for t in 0..375 {
            assert!((la[t] + lb[t]).abs() < 1e-9, "t = {t}: {} {}", la[t], lb[t]);
        }
        assert!(la[375].is_nan());
    }
}
