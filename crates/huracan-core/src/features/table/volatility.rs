//! Size of moves by five estimators at four spans, how the spans compare, and how steady it is.

use super::super::indicators::TrueRange;
use super::super::row::Row;
use super::super::volatility::{Mean, SampleVariance, YangZhang};
use super::super::window::{Window, variance};
use super::{Family, FeatureDef, Operator, VARIANCE_FLOOR, line, log_variance_ratio, step};

/// ln σ from a variance.
#[inline(always)]
fn log_sigma(variance: f64) -> f64 {
    0.5 * (variance.max(0.0) + VARIANCE_FLOOR).ln()
}

fn level_close(n: usize) -> Box<dyn Operator> {
    let mut moments = SampleVariance::new(n);
    step(move |row| log_sigma(moments.push(row.ret)))
}

/// Mean of a per-bar variance.
fn level(n: usize, term: impl Fn(&Row) -> f64 + Send + 'static) -> Box<dyn Operator> {
    let mut mean = Mean::new(n);
    step(move |row| log_sigma(mean.push(term(row))))
}

fn level_yang_zhang(n: usize) -> Box<dyn Operator> {
    let mut estimate = YangZhang::new(n);
    step(move |row| log_sigma(estimate.push(row.gap, row.body, row.rogers_satchell)))
}

/// ln of mean squared return over `short` against `long` bars.
fn ratio(short: usize, long: usize) -> Box<dyn Operator> {
    let (mut near, mut far) = (Mean::new(short), Mean::new(long));
    step(move |row| {
        let square = row.ret * row.ret;
        0.5 * log_variance_ratio(near.push(square), far.push(square))
    })
}

/// ln of Parkinson's σ against the close-to-close one: low when closes bounce inside the range.
fn range_against_close(n: usize) -> Box<dyn Operator> {
    let (mut range, mut close) = (Mean::new(n), Mean::new(n));
    step(move |row| 0.5 * log_variance_ratio(range.push(row.parkinson), close.push(row.ret * row.ret)))
}

/// Coefficient of variation of the bar range; 0 without range.
fn unsteadiness(n: usize) -> Box<dyn Operator> {
    let mut sums: Window<[f64; 2]> = Window::new(n);
    let count = n as f64;
    step(move |row| {
        let [sum, square] = sums.push([row.range, row.range * row.range]);
        if sum > 0.0 { variance(sum, square, count).sqrt() * count / sum } else { 0.0 }
    })
}

/// ln of mean true range over `short` against `long` bars.
fn true_range_ratio(short: usize, long: usize) -> Box<dyn Operator> {
    let (mut range, mut near, mut far) = (TrueRange::default(), Mean::new(short), Mean::new(long));
    step(move |row| {
        let range = range.push(row.high, row.low, row.close);
        let range = if range.is_nan() { row.range } else { range };
        let floor = VARIANCE_FLOOR.sqrt();
        ((near.push(range) + floor) / (far.push(range) + floor)).ln()
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
    line(Family::Volatility, name, lookback, unit, doc, source, make)
}

const CLOSE: &str = "ln of the standard deviation of returns over the span (floor 0.1 bps)";
const PARKINSON: &str = "ln of Parkinson's volatility over the span (floor 0.1 bps)";
const GARMAN_KLASS: &str = "ln of Garman-Klass volatility over the span (floor 0.1 bps)";
const ROGERS_SATCHELL: &str = "ln of Rogers-Satchell volatility over the span (floor 0.1 bps)";
const YANG_ZHANG: &str = "ln of Yang-Zhang volatility over the span (floor 0.1 bps)";
const RATIO: &str = "ln of volatility over the shorter span against the longer; 0 when flat";
const VS_CLOSE: &str = "ln of Parkinson's volatility against the close-to-close one; 0 when flat";
const STEADY: &str = "standard deviation of the bar range over its mean, volatility of volatility; 0 when flat";
const SAMPLE: &str = "sample standard deviation";
const P80: &str = "Parkinson 1980";
const GK80: &str = "Garman & Klass 1980";
const RS91: &str = "Rogers & Satchell 1991";
const YZ00: &str = "Yang & Zhang 2000";

pub(super) const TABLE: &[FeatureDef] = &[
    here("vol_close_12", 13, "log", CLOSE, SAMPLE, || level_close(12)),
    here("vol_close_48", 49, "log", CLOSE, SAMPLE, || level_close(48)),
    here("vol_close_168", 169, "log", CLOSE, SAMPLE, || level_close(168)),
    here("vol_close_720", 721, "log", CLOSE, SAMPLE, || level_close(720)),
    here("vol_parkinson_12", 12, "log", PARKINSON, P80, || level(12, |row| row.parkinson)),
    here("vol_parkinson_48", 48, "log", PARKINSON, P80, || level(48, |row| row.parkinson)),
    here("vol_parkinson_168", 168, "log", PARKINSON, P80, || level(168, |row| row.parkinson)),
    here("vol_parkinson_720", 720, "log", PARKINSON, P80, || level(720, |row| row.parkinson)),
    here("vol_garman_klass_12", 12, "log", GARMAN_KLASS, GK80, || level(12, |row| row.garman_klass)),
    here("vol_garman_klass_48", 48, "log", GARMAN_KLASS, GK80, || level(48, |row| row.garman_klass)),
    here("vol_garman_klass_168", 168, "log", GARMAN_KLASS, GK80, || level(168, |row| row.garman_klass)),
    here("vol_garman_klass_720", 720, "log", GARMAN_KLASS, GK80, || level(720, |row| row.garman_klass)),
    here("vol_rogers_satchell_12", 12, "log", ROGERS_SATCHELL, RS91, || level(12, |row| row.rogers_satchell)),
    here("vol_rogers_satchell_48", 48, "log", ROGERS_SATCHELL, RS91, || level(48, |row| row.rogers_satchell)),
    here("vol_rogers_satchell_168", 168, "log", ROGERS_SATCHELL, RS91, || {
        level(168, |row| row.rogers_satchell)
    }),
    here("vol_rogers_satchell_720", 720, "log", ROGERS_SATCHELL, RS91, || {
        level(720, |row| row.rogers_satchell)
    }),
    here("vol_yang_zhang_12", 13, "log", YANG_ZHANG, YZ00, || level_yang_zhang(12)),
    here("vol_yang_zhang_48", 49, "log", YANG_ZHANG, YZ00, || level_yang_zhang(48)),
    here("vol_yang_zhang_168", 169, "log", YANG_ZHANG, YZ00, || level_yang_zhang(168)),
    here("vol_yang_zhang_720", 721, "log", YANG_ZHANG, YZ00, || level_yang_zhang(720)),
    here("vol_ratio_4_24", 25, "log", RATIO, "realised variance", || ratio(4, 24)),
    here("vol_ratio_24_168", 169, "log", RATIO, "realised variance", || ratio(24, 168)),
    here("vol_ratio_72_720", 721, "log", RATIO, "realised variance", || ratio(72, 720)),
    here("vol_range_close_24", 25, "log", VS_CLOSE, P80, || range_against_close(24)),
    here("vol_range_close_168", 169, "log", VS_CLOSE, P80, || range_against_close(168)),
    here("true_range_14_168", 169, "log", "ln of mean true range over 14 against 168 bars; 0 when flat", "Wilder 1978", || {
        true_range_ratio(14, 168)
    }),
    here("vol_of_vol_72", 72, "ratio", STEADY, "coefficient of variation", || unsteadiness(72)),
    here("vol_of_vol_336", 336, "ratio", STEADY, "coefficient of variation", || unsteadiness(336)),
    here("range_now", 1, "sigma", "range of the bar in sigma", P80, || step(|row| row.range * row.inv_sigma))
        .in_sigma(),
];
