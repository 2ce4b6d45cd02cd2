//! A small generated market as candle files, and the configuration that runs over it in seconds.

use huracan_core::series::Bars;
use huracan_core::synth::{self, MarketSpec};
use huracan_core::words::UtcMs;
use std::fmt::Write as _;
use std::path::Path;

/// Fewer folds, placebos, horizons and sampled rows than a real run: the same path in a few seconds.
pub const CONFIG: &str = "\
walk_forward: {folds: 3}
trade_ok: {placebos: 4}
labels: {research_horizons_bars: [12]}
engine:
  shared_encoder:
    n_components: 10
    smaller_components: []
    ranks: [3]
    autoencoder: {codes: 4, hidden: 16, epochs_max: 2}
heads: {trees_rounds: 20, trees_components: 4, sample_rows: 4096}
observability: {usd_per_cpu_hour: 0.05, prometheus_file: huracan.prom}
";

/// Fourteen coins, 175 days, hourly.
pub fn spec() -> MarketSpec {
    MarketSpec {
        coins: 14,
        days: 175,
        planted_shared: 3,
        planted_private: 2,
        stablecoins: 1,
        dirty: 1,
        late_listings: 1,
        thin: 1,
        outages: 1,
        ..MarketSpec::default()
    }
}

/// Writes the market; from `garbage_from` on every price and volume is nonsense.
pub fn write_market(into: &Path, garbage_from: Option<UtcMs>) {
    std::fs::create_dir_all(into).unwrap();
    for coin in synth::coins(&spec()) {
        let text = csv(&coin.bars, garbage_from);
        std::fs::write(into.join(format!("{}-1h.csv", coin.symbol.pair())), text).unwrap();
    }
}

fn csv(bars: &Bars, garbage_from: Option<UtcMs>) -> String {
    let mut text = String::from("open_time,open,high,low,close,volume\n");
    for i in 0..bars.open_time.len() {
        let time = bars.open_time[i];
        let row = if garbage_from.is_some_and(|from| time >= from.0) {
            let x = 1.0 + (i % 7) as f64 * 1000.0;
            [x, 9.0 * x, 0.5 * x, 3.0 * x, 1e9]
        } else {
            [bars.open[i], bars.high[i], bars.low[i], bars.close[i], bars.volume[i]]
        };
        let [open, high, low, close, volume] = row;
        writeln!(text, "{time},{open},{high},{low},{close},{volume}").unwrap();
    }
    text
}
