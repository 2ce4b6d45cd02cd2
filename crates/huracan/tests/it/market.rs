//! A small generated market as candle files, and a store trained on it once, for all tests that look
//! at what a run leaves behind.

use crate::run::{Ran, huracan_in};
use huracan_core::series::Bars;
use huracan_core::synth::{self, MarketSpec};
use huracan_core::words::UtcMs;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

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

/// A folder below the build's own place for test files, empty.
pub fn fresh(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// The folder of candles, written once.
pub fn candles() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = fresh("market");
        write_market(&folder.join("bars"), None);
        std::fs::write(folder.join("test.yaml"), CONFIG).unwrap();
        folder
    })
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

/// `huracan train` over a folder with the tests' configuration.
pub fn train(folder: &Path, bars: &str, store: &str, more: &[&str]) -> Ran {
    let fixed = ["train", "--candles", bars, "--symbols", "all", "--store", store];
    let config = candles().join("test.yaml");
    let config = ["--config", config.to_str().unwrap()];
    huracan_in(folder, &[&fixed[..], &config[..], more].concat(), &[])
}

/// The store of one undisturbed run over [`candles`].
pub fn trained() -> &'static Path {
    static STORE: OnceLock<PathBuf> = OnceLock::new();
    STORE.get_or_init(|| {
        let ran = train(candles(), "bars", "store", &[]);
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
        candles().join("store")
    })
}

/// Every file of a store by its path, but for those in `left_out` folders.
pub fn files(store: &Path, left_out: &[&str]) -> BTreeMap<String, Vec<u8>> {
    fn walk(root: &Path, folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, found);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(store, store, &mut found);
    found.retain(|name, _| {
        !name.starts_with('.') && !left_out.iter().any(|folder| name.starts_with(&format!("{folder}/")))
    });
    found
}

/// What carries the wall clock.
pub const CLOCKED: [&str; 2] = ["runs", "heartbeats"];

/// Panics with the names of the files that differ.
pub fn assert_same(found: &BTreeMap<String, Vec<u8>>, expected: &BTreeMap<String, Vec<u8>>) {
    let names = found.keys().chain(expected.keys());
    let differ: Vec<&String> = names.filter(|name| found.get(*name) != expected.get(*name)).collect();
    assert!(differ.is_empty(), "{differ:?}");
    assert!(found.len() > 20, "only {} files", found.len());
}
