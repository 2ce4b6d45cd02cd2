//! The lines of the FEATURES table, one file per group of families.
//!
//! A line names the feature, says when its first value comes, what it means and where it is from,
//! and makes its operator: a closure over engines. Scales that make a value stationary (σ, a
//! longer window, the coin's own usual volume) are applied here and nowhere else.

mod calendar;
mod dependence;
mod distribution;
mod flow;
mod liquidity;
mod location;
mod market;
mod oscillators;
mod quality;
mod returns;
mod spread;
mod trend;
mod volatility;
mod volume;

use super::row::{Needs, Row, SIGMA_WARM};
use super::{Family, FeatureDef, Operator};

const FAMILIES: [&[FeatureDef]; 15] = [
    returns::TABLE,
    location::TABLE,
    trend::TABLE,
    oscillators::TABLE,
    volatility::TABLE,
    distribution::TABLE,
    dependence::TABLE,
    volume::TABLE,
    liquidity::TABLE,
    flow::TABLE,
    spread::TABLE,
    quality::TABLE,
    calendar::TABLE,
    market::TABLE,
    market::RANKS,
];

const COUNT: usize = {
    let (mut count, mut family) = (0, 0);
    while family < FAMILIES.len() {
        count += FAMILIES[family].len();
        family += 1;
    }
    count
};

static TABLE: [FeatureDef; COUNT] = {
    let mut table = [FAMILIES[0][0]; COUNT];
    let (mut at, mut family) = (0, 0);
    while family < FAMILIES.len() {
        let mut line = 0;
        while line < FAMILIES[family].len() {
            table[at] = FAMILIES[family][line];
            at += 1;
            line += 1;
        }
        family += 1;
    }
    table
};

/// Every feature there is, in a fixed order.
pub static FEATURES: &[FeatureDef] = &TABLE;

/// Bars until a fresh σ agrees with one that has run for ever.
const SIGMA_DECAY: usize = 700;

/// A line of the table.
const fn line(
    family: Family,
    name: &'static str,
    lookback: usize,
    unit: &'static str,
    doc: &'static str,
    source: &'static str,
    make: fn() -> Box<dyn Operator>,
) -> FeatureDef {
    FeatureDef { name, family, lookback, decay: 0, unit, doc, source, needs: Needs::Ohlcv, make }
}

impl FeatureDef {
    /// The same line with an exponential memory of `bars` more.
    const fn decays(mut self, bars: usize) -> FeatureDef {
        if bars > self.decay {
            self.decay = bars;
        }
        self
    }

    /// The same line divided by σ: not before σ is known, and with its memory.
    const fn in_sigma(mut self) -> FeatureDef {
        if self.lookback < SIGMA_WARM {
            self.lookback = SIGMA_WARM;
        }
        self.decays(SIGMA_DECAY)
    }

    /// The same line for rows that have more than prices.
    const fn needing(mut self, needs: Needs) -> FeatureDef {
        self.needs = needs;
        self
    }
}

/// An operator from a closure that owns its engines.
struct Step<F>(F);

impl<F: FnMut(&Row) -> f64 + Send> Operator for Step<F> {
    #[inline(always)]
    fn push(&mut self, row: &Row) -> f64 {
        (self.0)(row)
    }
}

/// Boxes a closure as an operator.
fn step<F: FnMut(&Row) -> f64 + Send + 'static>(each: F) -> Box<dyn Operator> {
    Box::new(Step(each))
}

/// 1/√n.
fn per_root(n: usize) -> f64 {
    (n as f64).sqrt().recip()
}

/// ln(a/b) for variances, with a floor of (0.1 bps)² a bar under both: 0 where both are nothing.
#[inline(always)]
fn log_variance_ratio(a: f64, b: f64) -> f64 {
    ((a.max(0.0) + VARIANCE_FLOOR) / (b.max(0.0) + VARIANCE_FLOOR)).ln()
}

/// (0.1 bps)².
const VARIANCE_FLOOR: f64 = 1e-10;
