//! Returns over spans in units of σ, and the shape of the last bar.

use super::super::window::Delay;
use super::{Family, FeatureDef, Operator, line, per_root, step};

/// Return over `n` bars in σ√n.
fn ret(n: usize) -> Box<dyn Operator> {
    let (mut back, scale) = (Delay::new(n), per_root(n));
    step(move |row| (row.close - back.push(row.close)) * row.inv_sigma * scale)
}

/// Return over `n` bars leaving out the last `skip`, in σ√(n − skip).
fn skipping(n: usize, skip: usize) -> Box<dyn Operator> {
    let (mut recent, mut rest, scale) = (Delay::new(skip), Delay::new(n - skip), per_root(n - skip));
    step(move |row| {
        let end = recent.push(row.close);
        (end - rest.push(end)) * row.inv_sigma * scale
    })
}

const SCALED: &str = "Jegadeesh & Titman 1993; volatility scaling: Moskowitz, Ooi & Pedersen 2012";
const CANDLE: &str = "candlestick geometry";

const fn span(name: &'static str, n: usize, make: fn() -> Box<dyn Operator>) -> FeatureDef {
    line(
        Family::Return,
        name,
        n + 1,
        "sigma",
        "log return over the span in its name, in sigma times root of the span",
        SCALED,
        make,
    )
    .in_sigma()
}

const fn shape(
    name: &'static str,
    unit: &'static str,
    doc: &'static str,
    make: fn() -> Box<dyn Operator>,
) -> FeatureDef {
    line(Family::Return, name, 1, unit, doc, CANDLE, make)
}

pub(super) const TABLE: &[FeatureDef] = &[
    line(Family::Return, "ret_1", 2, "sigma", "last log return in sigma", SCALED, || {
        step(|row| row.ret * row.inv_sigma)
    })
    .in_sigma(),
    span("ret_2", 2, || ret(2)),
    span("ret_4", 4, || ret(4)),
    span("ret_8", 8, || ret(8)),
    span("ret_12", 12, || ret(12)),
    span("ret_24", 24, || ret(24)),
    span("ret_48", 48, || ret(48)),
    span("ret_72", 72, || ret(72)),
    span("ret_168", 168, || ret(168)),
    span("ret_336", 336, || ret(336)),
    span("ret_720", 720, || ret(720)),
    line(
        Family::Return,
        "momentum_168_24",
        169,
        "sigma",
        "return over 168 bars leaving out the last 24, in sigma",
        SCALED,
        || skipping(168, 24),
    )
    .in_sigma(),
    line(
        Family::Return,
        "momentum_720_72",
        721,
        "sigma",
        "return over 720 bars leaving out the last 72, in sigma",
        SCALED,
        || skipping(720, 72),
    )
    .in_sigma(),
    shape("open_gap", "sigma", "open against the previous close, in sigma", || {
        step(|row| row.gap * row.inv_sigma)
    })
    .in_sigma(),
    shape("body_share", "ratio", "close minus open over the bar's range; 0 without range", || {
        step(|row| if row.range > 0.0 { row.body / row.range } else { 0.0 })
    }),
    shape("upper_wick", "ratio", "range above open and close over the range; 0 without range", || {
        step(|row| if row.range > 0.0 { (row.high - row.open.max(row.close)) / row.range } else { 0.0 })
    }),
    shape("lower_wick", "ratio", "range below open and close over the range; 0 without range", || {
        step(|row| if row.range > 0.0 { (row.open.min(row.close) - row.low) / row.range } else { 0.0 })
    }),
];
