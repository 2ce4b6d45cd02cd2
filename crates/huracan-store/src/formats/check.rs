//! Rules that values from outside must keep, each a function that says what was found and expected.

use std::path::Component;
use std::path::Path;

use huracan_core::words::Timeframe;

use crate::digest::is_hex;
use crate::path::StorePath;

/// The outcome of a rule: the sentence says what was found and what was expected.
pub type Checked = Result<(), String>;

/// Holds a condition; `says` is only built when it fails.
pub fn that(holds: bool, says: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(says()) }
}

/// Exactly `digits` lower-case hex digits.
pub fn hex(name: &str, text: &str, digits: usize) -> Checked {
    that(is_hex(text, digits), || format!("{name} is {text:?}, expected {digits} lower-case hex digits"))
}

/// A SHA-256 in hex.
pub fn sha256(name: &str, text: &str) -> Checked {
    hex(name, text, 64)
}

/// The 16 hex digits of an encoder, where there is one.
pub fn encoder_id(name: &str, id: Option<&str>) -> Checked {
    id.map_or(Ok(()), |id| hex(name, id, 16))
}

/// `YYYYMMDD` of a real day.
pub fn date(name: &str, text: &str) -> Checked {
    let digits = text.len() == 8 && text.bytes().all(|b| b.is_ascii_digit());
    let real = digits && text.parse::<huracan_core::words::UtcMs>().is_ok();
    that(real, || format!("{name} is {text:?}, expected a day as YYYYMMDD"))
}

/// A supported bar length such as `1h`.
pub fn bar(name: &str, text: &str) -> Checked {
    text.parse::<Timeframe>().map(|_| ()).map_err(|e| format!("{name}: {e}"))
}

/// `{DATE}T{HHMMSS}Z-{8 hex}`.
pub fn run_id(name: &str, text: &str) -> Checked {
    let wrong = || format!("{name} is {text:?}, expected a run such as 20250101T000000Z-0a1b2c3d");
    let (stamp, tail) = text.split_once('-').ok_or_else(wrong)?;
    that(is_stamp(stamp) && is_hex(tail, 8), wrong)
}

/// Whether `text` is `{DATE}T{HHMMSS}Z` of a real second.
pub fn is_stamp(text: &str) -> bool {
    let bytes = text.as_bytes();
    let shaped = bytes.len() == 16
        && bytes[8] == b'T'
        && bytes[15] == b'Z'
        && [&bytes[..8], &bytes[9..15]].iter().all(|part| part.iter().all(u8::is_ascii_digit));
    if !shaped || date("", &text[..8]).is_err() {
        return false;
    }
    text[9..11] < *"24" && text[11..13] < *"60" && text[13..15] < *"60"
}

/// A path inside the store.
pub fn store_path(name: &str, text: &str) -> Checked {
    StorePath::new(text).map(|_| ()).map_err(|e| format!("{name}: {e}"))
}

/// A path below some folder given elsewhere (the candles): relative, no `..`, no drive, no NUL.
pub fn relative_path(name: &str, text: &str) -> Checked {
    let inside = Path::new(text).components().all(|part| matches!(part, Component::Normal(_)));
    let plain = !text.is_empty() && !text.contains(['\\', '\0']) && !text.contains(":/");
    that(inside && plain && !text.starts_with('/'), || {
        format!("{name} is {text:?}, expected a relative path without `..`")
    })
}

/// A share of 0 to 1.
pub fn share(name: &str, value: Option<f64>) -> Checked {
    that(value.is_none_or(|v| (0.0..=1.0).contains(&v)), || {
        format!("{name} is {value:?}, expected a share of 0 to 1")
    })
}

/// Zero or more.
pub fn not_negative(name: &str, value: f64) -> Checked {
    that(value >= 0.0, || format!("{name} is {value}, expected 0 or more"))
}

/// More than zero.
pub fn positive(name: &str, value: f64) -> Checked {
    that(value > 0.0, || format!("{name} is {value}, expected more than 0"))
}

/// Lower end first.
pub fn interval(name: &str, value: Option<[f64; 2]>) -> Checked {
    that(value.is_none_or(|[low, high]| low <= high), || {
        format!("{name} is {value:?}, expected the lower end first")
    })
}

/// Two lengths that must agree.
pub fn same_len(name: &str, found: usize, other: &str, expected: usize) -> Checked {
    that(found == expected, || format!("{name} has {found} values, expected {expected} as {other}"))
}

/// A name that is there.
pub fn named(name: &str, text: &str) -> Checked {
    that(!text.trim().is_empty(), || format!("{name} is empty, expected a text"))
}

/// Names that are there and differ.
pub fn distinct<'a>(name: &str, texts: impl IntoIterator<Item = &'a str>) -> Checked {
    let mut seen = std::collections::BTreeSet::new();
    for text in texts {
        named(name, text)?;
        that(seen.insert(text), || format!("{name} has {text:?} twice, expected each once"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_accept_the_right_and_refuse_the_wrong() {
        let check = |rule: fn(&str, &str) -> Checked, right: &[&str], wrong: &[&str]| {
            right.iter().for_each(|text| assert_eq!(rule("x", text), Ok(()), "{text}"));
            wrong.iter().for_each(|text| assert!(rule("x", text).is_err(), "{text}"));
        };
        check(date, &["20250101", "20240229"], &["20250229", "2025-01-01", "20251301", "", "2025010é"]);
        check(
            run_id,
            &["20250101T235959Z-0a1b2c3d"],
            &["20250101T240000Z-0a1b2c3d", "20250101T235959Z-0A1B2C3D", "20250101T235959Z", "", "ééééééééT-"],
        );
        check(relative_path, &["a/b.parquet", "Börse/x.csv"], &["/a", "../a", "a/../b", "", "C:\\x", "a\0"]);
        check(bar, &["1h"], &["7m", ""]);
        check(named, &["x"], &["", "  "]);
    }

    #[test]
    fn ranges_and_sizes_are_held() {
        assert!(
            share("x", Some(1.01)).is_err()
                && share("x", None).is_ok()
                && share("x", Some(f64::NAN)).is_err()
        );
        assert!(interval("x", Some([1.0, 0.0])).is_err() && interval("x", Some([0.0, 0.0])).is_ok());
        assert!(
            positive("x", 0.0).is_err() && positive("x", f64::NAN).is_err() && not_negative("x", 0.0).is_ok()
        );
        assert!(distinct("x", ["a", "b", "a"]).is_err() && distinct("x", ["a", "b"]).is_ok());
        assert!(same_len("x", 1, "y", 2).is_err());
    }
}
