//! Time of day and week at the moment the bar is complete (UTC), as points on circles.

use super::{Family, FeatureDef, Operator, line, step};
use crate::words::UtcMs;

const WEEK: i64 = 7 * UtcMs::DAY;
/// 1970-01-01 was a Thursday; weeks start on Monday.
const MONDAY: i64 = 4 * UtcMs::DAY;

/// Angle of a time on a circle of `period` milliseconds.
#[inline(always)]
fn angle(time: i64, period: i64) -> f64 {
    std::f64::consts::TAU * time.rem_euclid(period) as f64 / period as f64
}

const fn here(name: &'static str, doc: &'static str, make: fn() -> Box<dyn Operator>) -> FeatureDef {
    line(Family::Calendar, name, 1, "ratio", doc, "Eross et al. 2019, intraday patterns of Bitcoin", make)
}

pub(super) const TABLE: &[FeatureDef] = &[
    here("hour_sin", "sine of the time of day", || step(|row| angle(row.close_time, UtcMs::DAY).sin())),
    here("hour_cos", "cosine of the time of day", || step(|row| angle(row.close_time, UtcMs::DAY).cos())),
    here("weekday_sin", "sine of the time of the week", || {
        step(|row| angle(row.close_time - MONDAY, WEEK).sin())
    }),
    here("weekday_cos", "cosine of the time of the week", || {
        step(|row| angle(row.close_time - MONDAY, WEEK).cos())
    }),
];
