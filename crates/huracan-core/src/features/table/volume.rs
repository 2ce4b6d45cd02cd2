//! Volume against its own past, and how price and volume move together.

use super::super::volatility::Mean;
use super::super::window::{Pairs, Window, variance};
use super::{Family, FeatureDef, Operator, line, per_root, step};

/// Log quote volume against its mean over `n` bars in its standard deviations; 0 when constant.
fn z_score(n: usize) -> Box<dyn Operator> {
    let mut sums: Window<[f64; 2]> = Window::new(n);
    let count = n as f64;
    step(move |row| {
        let x = row.log_quote;
        let [sum, square] = sums.push([x, x * x]);
        let spread = variance(sum, square, count);
        if spread > 0.0 { (x - sum / count) / spread.sqrt() } else { 0.0 }
    })
}

/// Mean log quote volume of `short` minus that of `long` bars.
fn surge(short: usize, long: usize) -> Box<dyn Operator> {
    let (mut near, mut far) = (Mean::new(short), Mean::new(long));
    step(move |row| near.push(row.log_quote) - far.push(row.log_quote))
}

fn unsteadiness(n: usize) -> Box<dyn Operator> {
    let mut sums: Window<[f64; 2]> = Window::new(n);
    let count = n as f64;
    step(move |row| {
        let [sum, square] = sums.push([row.log_quote, row.log_quote * row.log_quote]);
        variance(sum, square, count).sqrt()
    })
}

fn return_correlation(n: usize) -> Box<dyn Operator> {
    let mut pairs = Pairs::new(n);
    step(move |row| pairs.push(row.log_quote, row.ret).correlation())
}

fn size_correlation(n: usize) -> Box<dyn Operator> {
    let mut pairs = Pairs::new(n);
    step(move |row| pairs.push(row.log_quote, row.abs_ret).correlation())
}

/// Log close against the volume-weighted mean of log middle prices, in σ√n; 0 without volume.
fn vwap_gap(n: usize) -> Box<dyn Operator> {
    let mut sums: Window<[f64; 2]> = Window::new(n);
    let scale = per_root(n);
    step(move |row| {
        let middle = (row.high + row.low + row.close) * (1.0 / 3.0);
        let [weighted, weight] = sums.push([row.quote * middle, row.quote]);
        if weight > 0.0 { (row.close - weighted / weight) * row.inv_sigma * scale } else { 0.0 }
    })
}

/// Σ sign(return)·volume/Σ volume: on-balance volume of a window.
fn signed_volume(n: usize) -> Box<dyn Operator> {
    let mut sums: Window<[f64; 2]> = Window::new(n);
    step(move |row| {
        let sign = if row.ret > 0.0 { 1.0 } else if row.ret < 0.0 { -1.0 } else { 0.0 };
        let [net, all] = sums.push([sign * row.quote, row.quote]);
        if all > 0.0 { net / all } else { 0.0 }
    })
}

/// ln(n Σv²/(Σv)²): 0 when volume is even, ln n when it came in one bar; 0 without volume.
fn concentration(n: usize) -> Box<dyn Operator> {
    let mut sums: Window<[f64; 2]> = Window::new(n);
    let count = n as f64;
    step(move |row| {
        let [sum, square] = sums.push([row.quote, row.quote * row.quote]);
        if sum > 0.0 { (count * square / (sum * sum)).ln() } else { 0.0 }
    })
}

/// Bars until the floor under log volume forgets where it started.
const QUIET_DECAY: usize = 1_500;

const fn here(
    name: &'static str,
    lookback: usize,
    unit: &'static str,
    doc: &'static str,
    source: &'static str,
    make: fn() -> Box<dyn Operator>,
) -> FeatureDef {
    line(Family::Volume, name, lookback, unit, doc, source, make).decays(QUIET_DECAY)
}

const Z: &str = "log quote volume against its mean over the span, in its standard deviations; 0 when constant";
const SURGE: &str = "mean log quote volume of the shorter span minus that of the longer";
const CORR: &str = "correlation of log quote volume and return over the span; 0 when constant";
const VWAP: &str = "log close against the volume-weighted log price of the span, in sigma; 0 without volume";
const OBV: &str = "volume of rising minus falling bars over all volume of the span; 0 without volume";
const GKM: &str = "Gervais, Kaniel & Mingelgrin 2001";
const K87: &str = "Karpoff 1987";

pub(super) const TABLE: &[FeatureDef] = &[
    here("volume_z_24", 24, "sigma", Z, GKM, || z_score(24)),
    here("volume_z_168", 168, "sigma", Z, GKM, || z_score(168)),
    here("volume_z_720", 720, "sigma", Z, GKM, || z_score(720)),
    here("volume_surge_4_72", 72, "log", SURGE, GKM, || surge(4, 72)),
    here("volume_surge_24_168", 168, "log", SURGE, GKM, || surge(24, 168)),
    here("volume_surge_168_720", 720, "log", SURGE, GKM, || surge(168, 720)),
    here("volume_spread_168", 168, "log", "standard deviation of log quote volume over 168 bars", "sample", || {
        unsteadiness(168)
    }),
    here("volume_return_corr_72", 73, "ratio", CORR, K87, || return_correlation(72)),
    here("volume_return_corr_336", 337, "ratio", CORR, K87, || return_correlation(336)),
    here(
        "volume_size_corr_168",
        169,
        "ratio",
        "correlation of log quote volume and |return| over 168 bars; 0 when constant",
        K87,
        || size_correlation(168),
    ),
    here("vwap_gap_24", 24, "sigma", VWAP, "volume-weighted average price", || vwap_gap(24)).in_sigma(),
    here("vwap_gap_168", 168, "sigma", VWAP, "volume-weighted average price", || vwap_gap(168)).in_sigma(),
    here("signed_volume_24", 25, "ratio", OBV, "Granville 1963", || signed_volume(24)),
    here("signed_volume_168", 169, "ratio", OBV, "Granville 1963", || signed_volume(168)),
    here(
        "volume_concentration_24",
        24,
        "log",
        "ln of n times the Herfindahl index of quote volume over 24 bars; 0 when even or silent",
        "Herfindahl",
        || concentration(24),
    ),
];
