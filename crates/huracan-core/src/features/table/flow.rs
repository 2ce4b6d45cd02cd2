//! Taker flow and trade sizes, where the source carries them.

use super::super::microstructure::{Imbalance, Kyle};
use super::super::row::{Needs, Row};
use super::super::volatility::Mean;
use super::super::window::{Window, variance};
use super::{Family, FeatureDef, Operator, line, step};

fn imbalance(n: usize) -> Box<dyn Operator> {
    let mut flow = Imbalance::new(n);
    step(move |row| flow.push(row.taker * row.quote, row.quote).0)
}

/// Taker imbalance minus the one bulk classification reads from prices.
fn hidden(n: usize) -> Box<dyn Operator> {
    let (mut taken, mut seen) = (Imbalance::new(n), Imbalance::new(n));
    step(move |row| {
        taken.push(row.taker * row.quote, row.quote).0 - seen.push(row.bulk * row.quote, row.quote).0
    })
}

fn kyle(n: usize) -> Box<dyn Operator> {
    let mut kyle = Kyle::new(n);
    step(move |row| kyle.standard(row.taker * row.quote, row.ret))
}

/// A log against its mean over `n` bars in its standard deviations; 0 when constant.
fn z_score(n: usize, pick: impl Fn(&Row) -> f64 + Send + 'static) -> Box<dyn Operator> {
    let mut sums: Window<[f64; 2]> = Window::new(n);
    let count = n as f64;
    step(move |row| {
        let x = pick(row);
        let [sum, square] = sums.push([x, x * x]);
        let spread = variance(sum, square, count);
        if spread > 0.0 { (x - sum / count) / spread.sqrt() } else { 0.0 }
    })
}

fn size_change(short: usize, long: usize) -> Box<dyn Operator> {
    let (mut near, mut far) = (Mean::new(short), Mean::new(long));
    step(move |row| near.push(row.log_size) - far.push(row.log_size))
}

const fn here(
    needs: Needs,
    name: &'static str,
    lookback: usize,
    unit: &'static str,
    doc: &'static str,
    source: &'static str,
    make: fn() -> Box<dyn Operator>,
) -> FeatureDef {
    line(Family::Flow, name, lookback, unit, doc, source, make).needing(needs)
}

const TAKER: &str = "taker-bought minus taker-sold over all volume of the span; 0 without volume";
const CJP: &str = "Chordia & Subrahmanyam 2004, order imbalance";
const SIZE: &str = "Barclay & Warner 1993, trade size";

pub(super) const TABLE: &[FeatureDef] = &[
    here(Needs::Taker, "taker_imbalance_1", 1, "ratio", TAKER, CJP, || step(|row| row.taker)),
    here(Needs::Taker, "taker_imbalance_4", 4, "ratio", TAKER, CJP, || imbalance(4)),
    here(Needs::Taker, "taker_imbalance_24", 24, "ratio", TAKER, CJP, || imbalance(24)),
    here(Needs::Taker, "taker_imbalance_168", 168, "ratio", TAKER, CJP, || imbalance(168)),
    here(
        Needs::Taker,
        "taker_hidden_24",
        25,
        "ratio",
        "taker imbalance minus bulk-classified imbalance over 24 bars: flow that did not move the price",
        CJP,
        || hidden(24),
    )
    .in_sigma(),
    here(
        Needs::Taker,
        "taker_kyle_168",
        169,
        "ratio",
        "slope of returns on taker-signed volume in standard units; 0 when constant",
        "Kyle 1985",
        || kyle(168),
    ),
    here(
        Needs::Trades,
        "trade_count_z_168",
        168,
        "sigma",
        "log number of trades against its mean over 168 bars; 0 when constant",
        SIZE,
        || z_score(168, |row| row.log_trades),
    )
    .decays(1_500),
    here(
        Needs::Trades,
        "trade_size_z_168",
        168,
        "sigma",
        "log quote volume per trade against its mean over 168 bars; 0 when constant",
        SIZE,
        || z_score(168, |row| row.log_size),
    ),
    here(
        Needs::Trades,
        "trade_size_4_72",
        72,
        "log",
        "mean log quote volume per trade of 4 bars minus that of 72",
        SIZE,
        || size_change(4, 72),
    ),
];
