//! Times and timeframes. All times are UTC milliseconds; nothing here asks what time it is.

use std::fmt;
use std::str::FromStr;

/// A moment, in milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, serde::Serialize, serde::Deserialize,
)]
pub struct UtcMs(pub i64);

/// A text that is not a time; says what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a time; expected RFC 3339 such as 2025-07-01T00:00:00Z, or a date such as 2025-07-01")]
pub struct InvalidTime(pub String);

impl UtcMs {
    /// One day in milliseconds.
    pub const DAY: i64 = 86_400_000;
    /// One hour in milliseconds.
    pub const HOUR: i64 = 3_600_000;

    /// The UTC day this moment lies in, as days since the epoch (floor).
    pub fn day(self) -> i64 {
        self.0.div_euclid(Self::DAY)
    }

    /// `YYYYMMDD` of the UTC day; the form of dates in paths.
    pub fn date(self) -> String {
        self.format("%Y%m%d")
    }

    /// `YYYY-MM` of the UTC month; the form of months in candle paths.
    pub fn month(self) -> String {
        self.format("%Y-%m")
    }

    /// Formats in UTC with a strftime pattern.
    pub fn format(self, pattern: &str) -> String {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(stamp) => stamp.strftime(pattern).to_string(),
            Err(_) => format!("{}ms", self.0),
        }
    }
}

/// RFC 3339 with `Z`; milliseconds only where they are not zero.
impl fmt::Display for UtcMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pattern = if self.0 % 1000 == 0 { "%Y-%m-%dT%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%S%.3fZ" };
        f.write_str(&self.format(pattern))
    }
}

impl FromStr for UtcMs {
    type Err = InvalidTime;
    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        let invalid = || InvalidTime(text.to_owned());
        if let Ok(stamp) = text.parse::<jiff::Timestamp>() {
            return Ok(UtcMs(stamp.as_millisecond()));
        }
        let civil = if text.len() == 8 && text.bytes().all(|b| b.is_ascii_digit()) {
            jiff::civil::Date::strptime("%Y%m%d", text)
        } else {
            text.parse::<jiff::civil::Date>()
        };
        let date = civil.map_err(|_| invalid())?;
        let stamp = jiff::tz::Offset::UTC.to_timestamp(date.to_datetime(jiff::civil::Time::midnight()));
        stamp.map(|at| UtcMs(at.as_millisecond())).map_err(|_| invalid())
    }
}

/// The length of a bar.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub struct Timeframe {
    ms: i64,
}

/// A text that is not a supported bar length.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a bar length; expected one of 1m 3m 5m 15m 30m 1h 2h 4h 6h 8h 12h 1d")]
pub struct InvalidTimeframe(pub String);

const TIMEFRAMES: [(&str, i64); 12] = [
    ("1m", 60_000),
    ("3m", 180_000),
    ("5m", 300_000),
    ("15m", 900_000),
    ("30m", 1_800_000),
    ("1h", 3_600_000),
    ("2h", 7_200_000),
    ("4h", 14_400_000),
    ("6h", 21_600_000),
    ("8h", 28_800_000),
    ("12h", 43_200_000),
    ("1d", 86_400_000),
];

impl Timeframe {
    /// One hour, the default bar.
    pub const H1: Timeframe = Timeframe { ms: 3_600_000 };
    /// Fifteen minutes.
    pub const M15: Timeframe = Timeframe { ms: 900_000 };
    /// One minute.
    pub const M1: Timeframe = Timeframe { ms: 60_000 };
    /// One day.
    pub const D1: Timeframe = Timeframe { ms: 86_400_000 };

    /// Every supported bar length, shortest first.
    pub fn all() -> impl Iterator<Item = Timeframe> {
        TIMEFRAMES.iter().map(|&(_, ms)| Timeframe { ms })
    }

    /// The supported bar length of exactly `ms` milliseconds.
    pub fn from_ms(ms: i64) -> Option<Timeframe> {
        TIMEFRAMES.iter().any(|&(_, known)| known == ms).then_some(Timeframe { ms })
    }

    /// Length in milliseconds.
    pub fn ms(self) -> i64 {
        self.ms
    }

    /// Bars in `days` days, at least one.
    pub fn bars_in_days(self, days: f64) -> usize {
        ((days * UtcMs::DAY as f64 / self.ms as f64).round() as usize).max(1)
    }

    /// Bars in one day as a real number (1.0 for daily bars).
    pub fn bars_per_day(self) -> f64 {
        UtcMs::DAY as f64 / self.ms as f64
    }

    /// Bars in a year of 365 days.
    pub fn bars_per_year(self) -> f64 {
        365.0 * self.bars_per_day()
    }

    /// The start of the bar that contains `at`.
    pub fn floor(self, at: UtcMs) -> UtcMs {
        UtcMs(at.0.div_euclid(self.ms) * self.ms)
    }
}

impl fmt::Display for Timeframe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = TIMEFRAMES.iter().find(|&&(_, ms)| ms == self.ms).map_or("?", |&(name, _)| name);
        f.write_str(name)
    }
}

impl FromStr for Timeframe {
    type Err = InvalidTimeframe;
    fn from_str(text: &str) -> Result<Self, InvalidTimeframe> {
        let known = TIMEFRAMES.iter().find(|&&(name, _)| name == text);
        known.map(|&(_, ms)| Timeframe { ms }).ok_or_else(|| InvalidTimeframe(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_round_trip_as_rfc3339() {
        let check = |text: &str, ms: i64, back: &str| {
            let parsed: UtcMs = text.parse().unwrap();
            assert_eq!((parsed.0, parsed.to_string().as_str()), (ms, back));
        };
        check("2025-01-01T00:00:00Z", 1_735_689_600_000, "2025-01-01T00:00:00Z");
        check("2025-01-01T00:00:00.250Z", 1_735_689_600_250, "2025-01-01T00:00:00.250Z");
        check("2025-01-01", 1_735_689_600_000, "2025-01-01T00:00:00Z");
        check("20250101", 1_735_689_600_000, "2025-01-01T00:00:00Z");
        assert!("yesterday".parse::<UtcMs>().is_err());
    }

    #[test]
    fn timeframes_parse_print_and_refuse() {
        for frame in Timeframe::all() {
            assert_eq!(frame.to_string().parse::<Timeframe>(), Ok(frame));
        }
        assert!("7m".parse::<Timeframe>().is_err());
        assert_eq!(Timeframe::H1.bars_in_days(30.0), 720);
        assert_eq!(Timeframe::H1.floor(UtcMs(-1)), UtcMs(-3_600_000));
    }
}
