//! Times as files write them: seconds to nanoseconds, ISO texts, and a second opinion that may
//! contradict. Naive texts are UTC.

use std::ops::Range;

use huracan_core::series::Note;
use huracan_core::words::{Timeframe, UtcMs};

/// 2009-01-01 to 2100-01-01: no coin is older, no file is from later.
const PLAUSIBLE: Range<i64> = 1_230_768_000_000..4_102_444_800_000;

/// Whether a time can be that of a candle.
pub(super) fn plausible(ms: i64) -> bool {
    PLAUSIBLE.contains(&ms)
}

/// Milliseconds of a bare number, whose unit its size tells: 1.7e9 s, 1.7e12 ms, 1.7e15 µs,
/// 1.7e18 ns. (The exchange's archive changed from ms to µs in 2025, within one series.)
pub(super) fn from_number(value: i64) -> i64 {
    match value.unsigned_abs() {
        0..100_000_000_000 => value.saturating_mul(1000),
        100_000_000_000..100_000_000_000_000 => value,
        100_000_000_000_000..100_000_000_000_000_000 => value.div_euclid(1000),
        _ => value.div_euclid(1_000_000),
    }
}

/// Milliseconds of a text: a number as above, RFC 3339, `2021-04-04 21:00:00` or `2021-04-04`.
pub(super) fn from_text(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(number) = text.parse::<i64>() {
        return Some(from_number(number));
    }
    if let Ok(number) = text.parse::<f64>() {
        return (number.is_finite() && number.abs() < 9e18).then(|| from_number(number as i64));
    }
    if let Ok(civil) = text.parse::<jiff::civil::DateTime>() {
        let has_offset = text.ends_with('Z') || text.len() > 10 && text[10..].contains(['+', '-']);
        if !has_offset {
            return Some(jiff::tz::TimeZone::UTC.to_timestamp(civil).ok()?.as_millisecond());
        }
    }
    text.parse::<UtcMs>().ok().map(|time| time.0)
}

/// Compares a second time column with the one in use.
///
/// It may lie inside the bar (a close time, a receive time) or be its date. Otherwise it
/// contradicts: harmless where it is implausible itself (1970) or off by a constant (a local
/// clock), untrustworthy where both are plausible and drift apart.
pub(super) fn second_opinion(
    column: &str,
    times: &[i64],
    other: &[i64],
    timeframe: Timeframe,
) -> Option<Note> {
    let pairs = || times.iter().zip(other).filter(|(_, other)| **other != i64::MIN);
    let rows = pairs().count();
    let inside = |time: i64, other: i64| (time - 1000..=time + timeframe.ms()).contains(&other);
    let is_date = |other: i64| other % UtcMs::DAY == 0;
    let dates_only = pairs().all(|(_, other)| is_date(*other));
    let agrees = |time: i64, other: i64| {
        inside(time, other) || (dates_only && (0..UtcMs::DAY).contains(&time.saturating_sub(other)))
    };
    let differing: Vec<(i64, i64)> =
        pairs().map(|(time, other)| (*time, *other)).filter(|&(time, other)| !agrees(time, other)).collect();
    let &(time, seen) = differing.first()?;
    let offsets = differing.iter().filter(|pair| plausible(pair.1)).map(|(time, other)| other - time);
    let (low, high) = offsets.fold((i64::MAX, i64::MIN), |(low, high), x| (low.min(x), high.max(x)));
    let drifts = low < high && high - low > timeframe.ms();
    let text = format!(
        "time column {column} contradicts the one used in {} of {rows} rows: {} against {}",
        differing.len(),
        UtcMs(seen),
        UtcMs(time)
    );
    Some(Note { code: "time_column_contradiction", text, untrustworthy: drifts })
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: i64 = 1_617_570_000_000;

    #[test]
    fn units_are_told_by_their_size() {
        for value in [T / 1000, T, T * 1000, T * 1_000_000] {
            assert_eq!(from_number(value), T);
        }
    }

    #[test]
    fn texts_are_utc() {
        for text in [
            "2021-04-04 21:00:00",
            "2021-04-04T21:00:00Z",
            "2021-04-04T21:00:00.000",
            "2021-04-04T23:00:00+02:00",
            "2021-04-04 21:00:00+00:00",
            "1617570000",
            "1617570000000.0",
        ] {
            assert_eq!(from_text(text), Some(T), "{text}");
        }
        assert_eq!(from_text("2021-04-04"), Some(T - 21 * UtcMs::HOUR));
        for text in ["", "yesterday", "nan", "2021-13-01"] {
            assert_eq!(from_text(text), None, "{text}");
        }
    }

    fn opinion(shift: impl Fn(usize, i64) -> i64) -> Option<bool> {
        let times: Vec<i64> = (0..50).map(|i| T + i * UtcMs::HOUR).collect();
        let other: Vec<i64> = times.iter().enumerate().map(|(i, &time)| shift(i, time)).collect();
        second_opinion("ts", &times, &other, Timeframe::H1).map(|note| note.untrustworthy)
    }

    #[test]
    fn a_second_column_may_agree_warn_or_forbid() {
        assert_eq!(opinion(|_, time| time), None);
        assert_eq!(opinion(|_, time| time + UtcMs::HOUR - 1), None);
        assert_eq!(opinion(|_, time| UtcMs(time).day() * UtcMs::DAY), None);
        assert_eq!(opinion(|_, time| time / 1000), Some(false));
        assert_eq!(opinion(|_, time| time + 8 * UtcMs::HOUR), Some(false));
        assert_eq!(opinion(|i, time| time + 2 * i as i64 * UtcMs::HOUR), Some(true));
    }
}
