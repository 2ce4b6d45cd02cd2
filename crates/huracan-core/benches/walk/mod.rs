//! What the benches feed on: random walks with every column a source can carry, in their market.

use huracan_core::features::{ContextSums, MarketContext};
use huracan_core::series::Series;
use huracan_core::words::{Market, Seed, Symbol, Timeframe, UtcMs};
use rand::RngExt;

/// As many hourly bars as ten months have.
pub const BARS: usize = 6_800;
/// Start of the first bar.
pub const START: UtcMs = UtcMs(1_735_689_600_000);

/// A random walk with every column a source can carry.
pub fn walk(seed: u64) -> Series {
    let mut rng = Seed(seed).child("bench", 0).rng();
    let mut column = |scale: f64| (0..BARS).map(|_| scale * rng.random::<f64>()).collect::<Vec<f64>>();
    let (steps, up, down, volume, share) =
        (column(0.02), column(0.004), column(0.004), column(1e6), column(1.0));
    let close: Vec<f64> = steps
        .iter()
        .scan(100.0, |p, s| {
            *p *= (s - 0.01).exp();
            Some(*p)
        })
        .collect();
    let open: Vec<f64> = (0..BARS).map(|i| if i == 0 { 100.0 } else { close[i - 1] }).collect();
    let edge = |i: usize, pick: fn(f64, f64) -> f64| pick(open[i], close[i]);
    Series {
        symbol: Symbol::parse(&format!("WALK{seed}USDT"), Market::Spot).expect("a symbol"),
        timeframe: Timeframe::H1,
        start: START,
        high: (0..BARS).map(|i| edge(i, f64::max) * (1.0 + up[i])).collect(),
        low: (0..BARS).map(|i| edge(i, f64::min) * (1.0 - down[i])).collect(),
        quote_volume: (0..BARS).map(|i| volume[i] * close[i]).collect(),
        trades: Some(volume.iter().map(|v| (v / 500.0).ceil()).collect()),
        taker_buy_base: Some(volume.iter().zip(&share).map(|(v, s)| v * s).collect()),
        open,
        close,
        volume,
    }
}

/// Twelve walks and what they do together.
pub fn market() -> MarketContext {
    let coins: Vec<Series> = (0..12).map(walk).collect();
    let mut sums = ContextSums::new(Timeframe::H1, START, BARS);
    coins.iter().for_each(|coin| sums.add(coin).expect("one grid"));
    sums.finish(Some(&coins[0]), Some(&coins[1])).expect("one grid")
}
