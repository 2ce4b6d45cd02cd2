//! Direction and strength of the trend: averages, regression lines, directional movement, bands.

use super::super::indicators::{Bands, Directional, Directions, Macd, Regression, TripleEma};
use super::super::memory;
use super::{Family, FeatureDef, Operator, line, per_root, step};

/// Close minus its exponential average over `n` bars in σ√n/2, the gap's own sd for a random walk.
///
/// The gap is carried itself (gap ← (1 − w)(gap + return)), so no price level is involved.
fn ema_gap(n: usize) -> Box<dyn Operator> {
    memory::note_endless();
    let keep = 1.0 - 2.0 / (n as f64 + 1.0);
    let (mut gap, scale) = (0.0, 2.0 * per_root(n));
    step(move |row| {
        gap = keep * (gap + row.ret);
        gap * row.inv_sigma * scale
    })
}

fn macd(fast: usize, slow: usize) -> Box<dyn Operator> {
    let (mut macd, scale) = (Macd::new(fast, slow, 1), per_root(slow));
    step(move |row| macd.push(row.close).0 * row.inv_sigma * scale)
}

fn macd_histogram(fast: usize, slow: usize, signal: usize) -> Box<dyn Operator> {
    let (mut macd, scale) = (Macd::new(fast, slow, signal), per_root(slow));
    step(move |row| {
        let (line, average) = macd.push(row.close);
        (line - average) * row.inv_sigma * scale
    })
}

/// Slope of the regression line of log close over `n` bars, times √n, in σ.
fn slope(n: usize) -> Box<dyn Operator> {
    let (mut fit, scale) = (Regression::new(n), (n as f64).sqrt());
    step(move |row| fit.push(row.close).map_or(f64::NAN, |line| line.slope()) * row.inv_sigma * scale)
}

/// Correlation of log close with time over `n` bars.
fn straightness(n: usize) -> Box<dyn Operator> {
    let mut fit = Regression::new(n);
    step(move |row| fit.push(row.close).map_or(f64::NAN, |line| line.correlation()))
}

fn adx(n: usize) -> Box<dyn Operator> {
    let mut movement = Directional::new(n);
    step(move |row| 0.01 * movement.push(row.high, row.low, row.close).adx)
}

/// (+DI − −DI)/(+DI + −DI).
fn direction(n: usize) -> Box<dyn Operator> {
    let mut movement = Directional::new(n);
    step(move |row| {
        let Directions { plus, minus, .. } = movement.push(row.high, row.low, row.close);
        if plus + minus == 0.0 { 0.0 } else { (plus - minus) / (plus + minus) }
    })
}

/// Close against its mean over `n` bars in two standard deviations of the window.
fn bollinger(n: usize) -> Box<dyn Operator> {
    let mut bands = Bands::new(n);
    step(move |row| {
        let (mean, deviation) = bands.push(row.close);
        if deviation == 0.0 { 0.0 } else { (row.close - mean) / (2.0 * deviation) }
    })
}

const fn here(
    name: &'static str,
    lookback: usize,
    unit: &'static str,
    doc: &'static str,
    source: &'static str,
    make: fn() -> Box<dyn Operator>,
) -> FeatureDef {
    line(Family::Trend, name, lookback, unit, doc, source, make)
}

const fn average(name: &'static str, n: usize, make: fn() -> Box<dyn Operator>) -> FeatureDef {
    let doc =
        "log close minus its exponential average over the span, in sigma times half the root of the span";
    here(name, n, "sigma", doc, "exponential moving average", make).in_sigma().decays(12 * n)
}

const FIT: &str = "least squares on time";
const SLOPE: &str = "slope of log close over the span times its root, in sigma";
const STRAIGHT: &str = "correlation of log close with time over the span; 0 when flat";
const ADX: &str = "strength of the trend, 0 to 1 (ADX/100)";
const DI: &str = "(+DI - -DI)/(+DI + -DI); 0 without movement";
const WILDER: &str = "Wilder 1978, TA-Lib";
const APPEL: &str = "Appel, TA-Lib";
const BANDS: &str = "log close against its mean in two standard deviations of the span; 0 when flat";

pub(super) const TABLE: &[FeatureDef] = &[
    average("ema_gap_12", 12, || ema_gap(12)),
    average("ema_gap_24", 24, || ema_gap(24)),
    average("ema_gap_72", 72, || ema_gap(72)),
    average("ema_gap_168", 168, || ema_gap(168)),
    average("ema_gap_336", 336, || ema_gap(336)),
    here("macd_12_26", 26, "sigma", "fast minus slow average of log close, in sigma", APPEL, || macd(12, 26))
        .in_sigma()
        .decays(312),
    here("macd_48_168", 168, "sigma", "fast minus slow average of log close, in sigma", APPEL, || {
        macd(48, 168)
    })
    .in_sigma()
    .decays(2_016),
    here("macd_histogram", 34, "sigma", "MACD(12, 26) minus its signal (9), in sigma", APPEL, || {
        macd_histogram(12, 26, 9)
    })
    .in_sigma()
    .decays(400),
    here("slope_24", 24, "sigma", SLOPE, FIT, || slope(24)).in_sigma(),
    here("slope_72", 72, "sigma", SLOPE, FIT, || slope(72)).in_sigma(),
    here("slope_168", 168, "sigma", SLOPE, FIT, || slope(168)).in_sigma(),
    here("straightness_72", 72, "ratio", STRAIGHT, FIT, || straightness(72)),
    here("straightness_336", 336, "ratio", STRAIGHT, FIT, || straightness(336)),
    here(
        "trix_15",
        44,
        "sigma",
        "one-bar change of the triple exponential average of log close, in sigma",
        "Hutson, TA-Lib",
        || {
            let (mut triple, mut last) = (TripleEma::new(15), f64::NAN);
            step(move |row| {
                let value = triple.push(row.close);
                (value - std::mem::replace(&mut last, value)) * row.inv_sigma
            })
        },
    )
    .in_sigma()
    .decays(300),
    here("adx_14", 28, "ratio", ADX, WILDER, || adx(14)).decays(420),
    here("adx_48", 96, "ratio", ADX, WILDER, || adx(48)).decays(1_440),
    here("direction_14", 15, "ratio", DI, WILDER, || direction(14)).decays(300),
    here("direction_48", 49, "ratio", DI, WILDER, || direction(48)).decays(1_000),
    here("bollinger_20", 20, "ratio", BANDS, "Bollinger, TA-Lib", || bollinger(20)),
    here("bollinger_168", 168, "ratio", BANDS, "Bollinger, TA-Lib", || bollinger(168)),
];
