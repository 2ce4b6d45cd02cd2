//! Hashes and the canonical form they are taken over.

use std::collections::BTreeMap;

use huracan_core::words::UtcMs;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::error::{Result, StoreError};
use crate::formats::finite;

/// SHA-256 as 64 lower-case hex digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Two lower-case hex digits a byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|&b| [digit(b >> 4), digit(b & 15)]).collect()
}

/// Whether `text` is exactly `digits` lower-case hex digits.
pub fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Canonical JSON: no blanks, keys sorted by their bytes, numbers in their shortest form that reads
/// back to the same double, UTF-8. Equal values have equal bytes whatever order their fields were
/// declared in, so hashes are taken over this.
///
/// # Errors
/// [`StoreError::Refused`] when the value holds a NaN or an infinity.
pub fn canonical_json<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>> {
    finite::check(value).map_err(|e| StoreError::refused("canonical JSON", e))?;
    let tree = serde_json::to_value(value).map_err(|e| StoreError::refused("canonical JSON", e))?;
    let mut out = String::new();
    write_sorted(&tree, &mut out);
    Ok(out.into_bytes())
}

/// Sorts here and not by `serde_json`'s map, whose order another crate of the build may switch with
/// the `preserve_order` feature.
fn write_sorted(value: &Value, out: &mut String) {
    let comma = |first: bool, out: &mut String| {
        if !first {
            out.push(',');
        }
    };
    match value {
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                comma(i == 0, out);
                write_sorted(item, out);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            out.push('{');
            let sorted: BTreeMap<&String, &Value> = fields.iter().collect();
            for (i, (name, item)) in sorted.into_iter().enumerate() {
                comma(i == 0, out);
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push(':');
                write_sorted(item, out);
            }
            out.push('}');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

/// `{DATE}T{HHMMSS}Z-{8 hex}`: when the run started, and the first digits of the SHA-256 of what
/// went into it (configuration, data fingerprints, code version, seed: the caller's bytes).
pub fn run_id(started: UtcMs, input: &[u8]) -> String {
    format!("{}-{}", started.format("%Y%m%dT%H%M%SZ"), &sha256_hex(input)[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_agree_with_the_standard() {
        // FIPS 180-2, appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_hex(b"abc"), abc);
        assert!(is_hex(abc, 64) && !is_hex(abc, 16) && !is_hex("ABCDEF0123456789", 16));
    }

    #[test]
    fn the_canonical_form_does_not_depend_on_the_order_of_fields() {
        #[derive(Serialize)]
        struct One {
            b: f64,
            a: Vec<u8>,
        }
        #[derive(Serialize)]
        struct Two {
            a: Vec<u8>,
            b: f64,
        }
        let one = canonical_json(&One { b: 0.1, a: vec![1] }).unwrap();
        assert_eq!(one, canonical_json(&Two { a: vec![1], b: 0.1 }).unwrap());
        assert_eq!(one, br#"{"a":[1],"b":0.1}"#);
        let nested = serde_json::json!({"b": [{"d": null, "c": "\"\n"}], "a": {}});
        assert_eq!(canonical_json(&nested).unwrap(), br#"{"a":{},"b":[{"c":"\"\n","d":null}]}"#);
        assert!(canonical_json(&f64::NAN).is_err());
    }

    #[test]
    fn run_ids_carry_time_and_input() {
        assert_eq!(run_id(UtcMs(1_735_689_600_000), b"abc"), "20250101T000000Z-ba7816bf");
    }
}
