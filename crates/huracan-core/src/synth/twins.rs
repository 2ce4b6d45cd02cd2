//! Canaries from a real coin: its own bars with the direction taken away, and the same with a
//! known edge put back.
//!
//! Volumes, volatility, gaps, wicks and calendar stay the coin's own; only signs change. A run
//! that trades a noise twin profitably, or cannot find a planted one, must not publish.

use super::plant::{Rule, Watch};
use super::shocks::toss;
use crate::series::Series;
use crate::words::Seed;
use rand::rngs::StdRng;

/// The coin with an independent fair sign on every bar's return.
///
/// A bar with sign −1 is mirrored at the previous close in log-price (high and low change places,
/// taker buys become taker sells). Given all sizes and volumes, each return is symmetric and
/// independent of the past, so the twin has no outright edge whatever the real coin has. Signs are
/// per bar, not per block: within a block of common sign past and future flip together and every
/// momentum or reversal of the real coin would survive.
///
/// Relative to a real market the twin keeps one thing: if the market mean itself is predictable,
/// so is minus that mean. Judge twins on outright returns, or against a market of twins.
///
/// Missing bars stay missing; the grid and the first bar's open are unchanged. Prices leave the
/// exchange's tick: a cost model must be given the real coin's tick, not infer the twin's.
pub fn noise_twin(series: &Series, seed: Seed) -> Series {
    retell(series, &mut seed.child("noise twin", 0).rng(), None)
}

/// A [`noise_twin`] with a planted drift: 72-bar momentum of its own bars, sized so that
/// the momentum has a correlation of about 0.25 with the 24-bar return entered one bar late.
pub fn planted_twin(series: &Series, seed: Seed) -> Series {
    let mut rng = seed.child("planted twin", 0).rng();
    retell(series, &mut rng, Some(&Rule::shared(0.25)))
}

/// The series with random signs, and the drift of `rule` where there is one.
fn retell(series: &Series, rng: &mut StdRng, rule: Option<&Rule>) -> Series {
    let mut twin = series.clone();
    let mut watch = Watch::new();
    let Some(first) = series.open.iter().position(|open| open.is_finite()) else {
        return twin;
    };
    let mut real = series.open[first];
    let mut told = real;
    for i in first..series.len() {
        let bar = series.bar(i);
        if !bar.is_present() {
            watch.push(0.0, 0.0);
            continue;
        }
        let drift = rule.map_or(0.0, |rule| watch.drift(rule));
        let mirrored = toss(rng) < 0.0;
        let tell = |price: f64| {
            let ratio = if mirrored { real / price } else { price / real };
            told * ratio * drift.exp()
        };
        let (high, low) = if mirrored { (bar.low, bar.high) } else { (bar.high, bar.low) };
        let close = tell(bar.close);
        (twin.open[i], twin.high[i], twin.low[i]) = (tell(bar.open), tell(high), tell(low));
        twin.close[i] = close;
        // The money traded stays the coin's own, so the number of coins follows the price.
        let per_coin = bar.close / close;
        twin.volume[i] = bar.volume * per_coin;
        if let Some(taker_buys) = &mut twin.taker_buy_base {
            let bought = taker_buys[i];
            taker_buys[i] = per_coin * if mirrored { bar.volume - bought } else { bought };
        }
        watch.push((close / told).ln(), bar.quote_volume.max(1.0).ln());
        (real, told) = (bar.close, close);
    }
    twin
}
