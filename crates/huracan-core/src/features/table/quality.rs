//! How much of the recent past is there at all, and how long the coin has been there.

use super::super::row::Row;
use super::super::volatility::Mean;
use super::{Family, FeatureDef, Operator, line, step};

fn share(n: usize, pick: impl Fn(&Row) -> f64 + Send + 'static) -> Box<dyn Operator> {
    let mut mean = Mean::new(n);
    step(move |row| mean.push(pick(row)))
}

/// Ages beyond two years are one.
const AGE_DAYS_MAX: f64 = 730.0;

const fn here(
    name: &'static str,
    lookback: usize,
    unit: &'static str,
    doc: &'static str,
    make: fn() -> Box<dyn Operator>,
) -> FeatureDef {
    line(Family::Quality, name, lookback, unit, doc, "data quality", make)
}

pub(super) const TABLE: &[FeatureDef] = &[
    here("quiet_share_168", 168, "ratio", "share of bars that are there but without volume, of 168", || {
        share(168, |row| row.quiet)
    }),
    here("flat_share_168", 168, "ratio", "share of bars that are there but without range, of 168", || {
        share(168, |row| row.flat)
    }),
    here("missing_share_168", 168, "ratio", "share of bars that are missing, of 168", || {
        share(168, |row| row.missing)
    }),
    here("listing_age", 1, "log", "ln(1 + days since the first bar), at most ln 731", || {
        step(|row| row.age_days.min(AGE_DAYS_MAX).ln_1p())
    }),
];
