//! Spreads as bars show them, in basis points of the price, and their change.

use super::super::microstructure::{AbdiRanaldo, Roll};
use super::super::volatility::Mean;
use super::{Family, FeatureDef, Operator, line, step};

const BPS: f64 = 1e4;

fn abdi_ranaldo(n: usize) -> Box<dyn Operator> {
    let mut spread = AbdiRanaldo::new(n);
    step(move |row| BPS * spread.push(row.high, row.low, row.close))
}

fn corwin_schultz(n: usize) -> Box<dyn Operator> {
    let mut mean = Mean::new(n);
    step(move |row| BPS * mean.push(row.corwin_schultz))
}

fn corwin_schultz_change(short: usize, long: usize) -> Box<dyn Operator> {
    let (mut near, mut far) = (Mean::new(short), Mean::new(long));
    step(move |row| {
        let (near, far) = (near.push(row.corwin_schultz), far.push(row.corwin_schultz));
        if near + far > 0.0 { (near - far) / (near + far) } else { 0.0 }
    })
}

fn roll(n: usize) -> Box<dyn Operator> {
    let mut spread = Roll::new(n);
    step(move |row| BPS * spread.push(row.ret))
}

const fn here(
    name: &'static str,
    lookback: usize,
    unit: &'static str,
    doc: &'static str,
    source: &'static str,
    make: fn() -> Box<dyn Operator>,
) -> FeatureDef {
    line(Family::Spread, name, lookback, unit, doc, source, make)
}

const AR: &str = "spread from closes against bar middles over the span, signed";
const CS: &str = "spread from neighbouring highs and lows, negative ones cut to 0, mean over the span";
const ROLL: &str = "spread from the covariance of neighbouring returns over the span, signed";
const AR17: &str = "Abdi & Ranaldo 2017";
const CS12: &str = "Corwin & Schultz 2012";
const R84: &str = "Roll 1984";

pub(super) const TABLE: &[FeatureDef] = &[
    here("spread_ar_72", 73, "bps", AR, AR17, || abdi_ranaldo(72)),
    here("spread_ar_336", 337, "bps", AR, AR17, || abdi_ranaldo(336)),
    here("spread_cs_24", 25, "bps", CS, CS12, || corwin_schultz(24)),
    here("spread_cs_168", 169, "bps", CS, CS12, || corwin_schultz(168)),
    here(
        "spread_change_24_168",
        169,
        "ratio",
        "difference of the Corwin-Schultz spread over 24 and 168 bars over their sum; 0 where both are 0",
        CS12,
        || corwin_schultz_change(24, 168),
    ),
    here("spread_roll_72", 74, "bps", ROLL, R84, || roll(72)),
    here("spread_roll_336", 338, "bps", ROLL, R84, || roll(336)),
];
