//! Canaries from real coins: their own bars with the direction taken away, and the same with a
//! known edge put back.
//!
//! Volumes, volatility, gaps, wicks and calendar stay the coins' own; only signs change. A run
//! that finds something to trade in noise twins, or nothing in planted ones, must not publish.
//!
//! # Why a noise twin has no edge
//! Every bar of absolute time has one fair sign, common to all coins of a stream, and each coin's
//! return over that bar is multiplied by it. Given all sizes and volumes, the sign of a bar to come
//! is independent of everything before it, so the expectation of any forward log return given the
//! past of *all* twins is zero, and so is that of any return relative to their mean. What coins have
//! in common stays: betas, sectors, the market's volatility.
//!
//! Signs are per bar, not per block: within a block of common sign past and future flip together,
//! and every momentum or reversal of the real coin would survive in the twin.

use super::plant::{Rule, Watch};
use crate::series::Series;
use crate::words::{Seed, Timeframe, UtcMs};

/// Fair signs, one a bar of absolute time.
#[derive(Clone, Copy, Debug)]
pub struct TwinSigns {
    seed: Seed,
    bar_ms: i64,
}

/// Signs drawn at once.
const SIGNS_PER_DRAW: i64 = 64;

impl TwinSigns {
    /// The signs of stream `stream` of a seed; streams are independent of each other.
    pub fn new(seed: Seed, stream: u64, timeframe: Timeframe) -> TwinSigns {
        TwinSigns { seed: seed.child("twin signs", stream), bar_ms: timeframe.ms() }
    }

    /// +1 or −1 for each of `len` bars from `start` on.
    pub fn over(&self, start: UtcMs, len: usize) -> Vec<f64> {
        let first = start.0.div_euclid(self.bar_ms);
        let (mut drawn, mut bits) = (i64::MIN, 0);
        (first..first + len as i64)
            .map(|bar| {
                if bar.div_euclid(SIGNS_PER_DRAW) != drawn {
                    drawn = bar.div_euclid(SIGNS_PER_DRAW);
                    bits = self.seed.child("bits", drawn as u64).0;
                }
                if bits >> bar.rem_euclid(SIGNS_PER_DRAW) & 1 == 0 { 1.0 } else { -1.0 }
            })
            .collect()
    }
}

/// The log returns of a coin's noise twin at `len` bars from `start` on: NaN where the coin has no
/// bar, and at its first one.
pub fn twin_returns(series: &Series, signs: &TwinSigns, start: UtcMs, len: usize) -> Vec<f64> {
    let mut out = vec![f64::NAN; len];
    let shift = (series.start.0 - start.0).div_euclid(series.timeframe.ms());
    let sign = signs.over(series.start, series.len());
    let mut last = f64::NAN;
    for (i, &close) in series.close.iter().enumerate().filter(|(_, close)| !close.is_nan()) {
        let slot = usize::try_from(shift + i as i64).ok().and_then(|at| out.get_mut(at));
        if let Some(slot) = slot {
            *slot = sign[i] * (close / last).ln();
        }
        last = close;
    }
    out
}

/// The coin with its bars' directions drawn anew.
///
/// A bar with sign −1 is mirrored at the previous close in log-price (high and low change places,
/// taker buys become taker sells). Missing bars stay missing; the grid and the first bar's open are
/// unchanged. Prices leave the exchange's tick.
pub fn noise_twin(series: &Series, signs: &TwinSigns) -> Series {
    retell(series, signs, |_| 0.0)
}

/// A [`noise_twin`] with a drift, log return per bar, from [`planted_drifts`]. `drift` lies on the
/// grid that starts at `start`; bars outside it have none.
pub fn planted_twin(series: &Series, signs: &TwinSigns, start: UtcMs, drift: &[f64]) -> Series {
    let shift = (series.start.0 - start.0).div_euclid(series.timeframe.ms());
    let at = |i: usize| usize::try_from(shift + i as i64).ok().and_then(|at| drift.get(at).copied());
    retell(series, signs, |i| at(i).unwrap_or(0.0))
}

/// The drifts of planted twins: 72-bar momentum relative to `market`, sized so that it has a
/// correlation of about `label_correlation` with the 24-bar relative return entered one bar late.
///
/// `paths` are the coins' [`twin_returns`] and `market` their mean over all twins, on one grid. In
/// every bar the drifts of the coins that have one add up to zero, so that the mean over all twins
/// stays unpredictable. Memory: coins × bars × 48 bytes.
pub fn planted_drifts(paths: &[Vec<f64>], market: &[f64], label_correlation: f64) -> Vec<Vec<f64>> {
    let rule = Rule::shared(label_correlation);
    let mut watches = vec![Watch::new(); paths.len()];
    let mut drifts = vec![Vec::with_capacity(market.len()); paths.len()];
    let mut wishes = vec![0.0; paths.len()];
    for (bar, &market) in market.iter().enumerate() {
        let there = |coin: usize| paths[coin].get(bar).is_some_and(|r| !r.is_nan());
        let mut n = 0.0;
        let mut sum = 0.0;
        for coin in (0..paths.len()).filter(|&coin| there(coin)) {
            wishes[coin] = watches[coin].drift(&rule);
            sum += wishes[coin];
            n += 1.0;
        }
        // What taking out the mean of n costs in variance is given back; one coin keeps its own.
        let (mean, stretch) = if n > 1.0 { (sum / n, (n / (n - 1.0_f64)).sqrt()) } else { (0.0, 1.0) };
        for coin in 0..paths.len() {
            let drift = if there(coin) { (wishes[coin] - mean) * stretch } else { 0.0 };
            drifts[coin].push(drift);
            let relative = if there(coin) { paths[coin][bar] + drift - market } else { 0.0 };
            watches[coin].push(if relative.is_finite() { relative } else { 0.0 }, 0.0);
        }
    }
    drifts
}

/// The series with the signs of its bars, and a drift.
fn retell(series: &Series, signs: &TwinSigns, drift: impl Fn(usize) -> f64) -> Series {
    let mut twin = series.clone();
    let Some(first) = series.open.iter().position(|open| open.is_finite()) else {
        return twin;
    };
    let sign = signs.over(series.start, series.len());
    let mut real = series.open[first];
    let mut told = real;
    for i in first..series.len() {
        let bar = series.bar(i);
        if !bar.is_present() {
            continue;
        }
        let mirrored = sign[i] < 0.0;
        // A drift is not there at the open, half there in between: as a gap between bars it would look
        // like a spread.
        let drift = drift(i);
        let tell = |price: f64, share: f64| {
            let ratio = if mirrored { real / price } else { price / real };
            told * ratio * (share * drift).exp()
        };
        let (high, low) = if mirrored { (bar.low, bar.high) } else { (bar.high, bar.low) };
        let (open, close) = (tell(bar.open, 0.0), tell(bar.close, 1.0));
        (twin.open[i], twin.close[i]) = (open, close);
        twin.high[i] = tell(high, 0.5).max(open).max(close);
        twin.low[i] = tell(low, 0.5).min(open).min(close);
        // The money traded stays the coin's own, so the number of coins follows the price.
        let per_coin = bar.close / close;
        twin.volume[i] = bar.volume * per_coin;
        if let Some(taker_buys) = &mut twin.taker_buy_base {
            let bought = taker_buys[i];
            taker_buys[i] = per_coin * if mirrored { bar.volume - bought } else { bought };
        }
        (real, told) = (bar.close, close);
    }
    twin
}
