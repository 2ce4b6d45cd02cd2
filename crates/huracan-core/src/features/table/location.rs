//! Where the price stands: inside its bar, between rolling highs and lows, below its peak.

use super::super::indicators::Channel;
use super::super::volatility::Mean;
use super::super::window::{Highest, Window};
use super::{Family, FeatureDef, Operator, line, per_root, step};

/// Close between the lowest low and the highest high of `n` bars, −1 … 1; 0 without range.
fn position(n: usize) -> Box<dyn Operator> {
    let mut channel = Channel::new(n);
    step(move |row| {
        let (top, bottom) = channel.push(row.high, row.low);
        if top == bottom { 0.0 } else { 2.0 * (row.close - bottom) / (top - bottom) - 1.0 }
    })
}

/// Close against the highest high of `n` bars in σ√n, at most 0.
fn below_high(n: usize) -> Box<dyn Operator> {
    let (mut high, scale) = (Window::new(n), per_root(n));
    step(move |row| (row.close - high.push(Highest(row.high)).0) * row.inv_sigma * scale)
}

/// Close against the lowest low of `n` bars in σ√n, at least 0.
fn above_low(n: usize) -> Box<dyn Operator> {
    let (mut low, scale) = (Window::new(n), per_root(n));
    step(move |row| (row.close + low.push(Highest(-row.low)).0) * row.inv_sigma * scale)
}

/// Close against the highest close of `n` bars in σ√n, at most 0.
fn drawdown(n: usize) -> Box<dyn Operator> {
    let (mut peak, scale) = (Window::new(n), per_root(n));
    step(move |row| (row.close - peak.push(Highest(row.close)).0) * row.inv_sigma * scale)
}

const RANGE: &str = "Donchian channel";
const HIGH: &str = "George & Hwang 2004, nearness to the high";

const fn here(
    name: &'static str,
    lookback: usize,
    unit: &'static str,
    doc: &'static str,
    source: &'static str,
    make: fn() -> Box<dyn Operator>,
) -> FeatureDef {
    line(Family::Location, name, lookback, unit, doc, source, make)
}

const BETWEEN: &str = "close between lowest low and highest high of the span, -1 to 1; 0 without range";
const UNDER: &str = "log close minus log highest high of the span, in sigma times root of the span";
const OVER: &str = "log close minus log lowest low of the span, in sigma times root of the span";

pub(super) const TABLE: &[FeatureDef] = &[
    here("close_location", 1, "ratio", "close inside the bar, -1 low to 1 high; 0 without range", "Chaikin", || {
        step(|row| row.location)
    }),
    here("close_location_24", 24, "ratio", "mean close location over 24 bars", "Chaikin", || {
        let mut mean = Mean::new(24);
        step(move |row| mean.push(row.location))
    }),
    here("range_position_24", 24, "ratio", BETWEEN, RANGE, || position(24)),
    here("range_position_72", 72, "ratio", BETWEEN, RANGE, || position(72)),
    here("range_position_168", 168, "ratio", BETWEEN, RANGE, || position(168)),
    here("range_position_720", 720, "ratio", BETWEEN, RANGE, || position(720)),
    here("high_gap_24", 24, "sigma", UNDER, HIGH, || below_high(24)).in_sigma(),
    here("high_gap_168", 168, "sigma", UNDER, HIGH, || below_high(168)).in_sigma(),
    here("high_gap_720", 720, "sigma", UNDER, HIGH, || below_high(720)).in_sigma(),
    here("low_gap_24", 24, "sigma", OVER, HIGH, || above_low(24)).in_sigma(),
    here("low_gap_168", 168, "sigma", OVER, HIGH, || above_low(168)).in_sigma(),
    here("low_gap_720", 720, "sigma", OVER, HIGH, || above_low(720)).in_sigma(),
    here(
        "drawdown_336",
        336,
        "sigma",
        "log close minus log highest close of 336 bars, in sigma times root of the span",
        "drawdown from the running peak",
        || drawdown(336),
    )
    .in_sigma(),
];
