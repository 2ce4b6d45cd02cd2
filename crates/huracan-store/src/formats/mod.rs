//! What the files mean: one file here per artifact, wire structs apart from the domain's types, so
//! that a rename inside Huracan never changes a file outside.
//!
//! Every JSON document carries `schema` first, then its fields in the order they are declared here,
//! indented by two spaces. A reader ignores keys it does not know, refuses a newer major, and checks
//! values as strictly as if a stranger had sent them; a writer keeps the same rules before a byte is
//! written. Fields may be added (as `Option` or with a default), never renamed or removed.

pub mod champion;
pub mod check;
pub mod costs;
pub mod encoder;
pub mod feature_bank;
pub mod features;
pub mod figures;
pub mod finite;
pub mod head;
pub mod heartbeat;
pub mod manifest;
pub mod meta_learner;
pub mod metrics;
pub mod onnx;
pub mod overrides;
pub mod promotion;
pub mod roster;
pub mod run;
pub mod tensors;
pub mod trials;
pub mod wire;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod hostile;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Result, StoreError};
use check::Checked;

/// A JSON document of the store.
pub trait Document: Serialize + DeserializeOwned {
    /// The name in `schema`, before the slash.
    const NAME: &'static str;
    /// The version in `schema`, after the slash; a larger one is refused.
    const MAJOR: u32 = 1;

    /// Rules over the values that the types cannot hold.
    ///
    /// # Errors
    /// One sentence: what was found, what was expected.
    fn check(&self) -> Checked;
}

#[derive(Serialize)]
struct Enveloped<'a, D> {
    schema: String,
    #[serde(flatten)]
    body: &'a D,
}

#[derive(Deserialize)]
struct Envelope {
    schema: String,
}

fn envelop<D: Document>(document: &D) -> Result<Enveloped<'_, D>> {
    finite::check(document).map_err(|e| StoreError::refused(D::NAME, e))?;
    document.check().map_err(|e| StoreError::refused(D::NAME, e))?;
    Ok(Enveloped { schema: format!("{}/{}", D::NAME, D::MAJOR), body: document })
}

/// The bytes of a document: checked, indented by two spaces, with a newline at the end.
///
/// # Errors
/// [`StoreError::Refused`] when a number is not finite or a rule of the format is broken.
pub fn to_bytes<D: Document>(document: &D) -> Result<Vec<u8>> {
    let mut bytes =
        serde_json::to_vec_pretty(&envelop(document)?).map_err(|e| StoreError::refused(D::NAME, e))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// One line of a `.jsonl` file: as [`to_bytes`], without blanks.
///
/// # Errors
/// As [`to_bytes`].
pub fn to_line<D: Document>(document: &D) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(&envelop(document)?).map_err(|e| StoreError::refused(D::NAME, e))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Reads a document; `path` is for the messages.
///
/// # Errors
/// [`StoreError::NewerFormat`] for a later major, [`StoreError::Corrupt`] for anything that is not
/// this document or breaks one of its rules.
pub fn from_bytes<D: Document>(path: impl ToString, bytes: &[u8]) -> Result<D> {
    let path = path.to_string();
    let envelope: Envelope = serde_json::from_slice(bytes).map_err(|e| StoreError::corrupt(&path, e))?;
    let known = format!("{}/{}", D::NAME, D::MAJOR);
    let stranger =
        || StoreError::corrupt(&path, format!("schema is {:?}, expected {known:?}", envelope.schema));
    let (name, major) = envelope.schema.split_once('/').ok_or_else(stranger)?;
    let major: u32 = major.parse().map_err(|_| stranger())?;
    if name != D::NAME || major == 0 {
        return Err(stranger());
    }
    if major > D::MAJOR {
        return Err(StoreError::NewerFormat { path, found: envelope.schema, supported: known });
    }
    let document: D = serde_json::from_slice(bytes).map_err(|e| StoreError::corrupt(&path, e))?;
    document.check().map_err(|e| StoreError::corrupt(&path, e))?;
    Ok(document)
}

/// Reads a `.jsonl` file: every line a document, the last one ended like the others.
///
/// # Errors
/// As [`from_bytes`], with the line's number in the path.
pub fn from_lines<D: Document>(path: impl ToString, bytes: &[u8]) -> Result<Vec<D>> {
    let path = path.to_string();
    lines(bytes).enumerate().map(|(i, line)| from_bytes(format!("{path} line {}", i + 1), line)).collect()
}

/// The lines of a `.jsonl` file without their ends.
pub(crate) fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    body.split(|&b| b == b'\n').filter(move |_| !body.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    struct Sample {
        z: f64,
        a: Option<f64>,
    }
    impl Document for Sample {
        const NAME: &'static str = "sample";
        const MAJOR: u32 = 2;
        fn check(&self) -> Checked {
            check::not_negative("z", self.z)
        }
    }

    #[test]
    fn schema_comes_first_then_the_declared_order_and_undefined_is_null() {
        let bytes = to_bytes(&Sample { z: 0.1, a: None }).unwrap();
        assert_eq!(bytes, b"{\n  \"schema\": \"sample/2\",\n  \"z\": 0.1,\n  \"a\": null\n}\n");
    }

    #[test]
    fn versions_and_names_are_told_apart() {
        let check = |text: &str, code: Option<&str>| {
            let found = from_bytes::<Sample>("x", text.as_bytes()).err().map(|e| e.code());
            assert_eq!(found, code, "{text}");
        };
        check(r#"{"schema":"sample/2","z":1.0}"#, None);
        check(r#"{"schema":"sample/1","z":1.0,"later":[1]}"#, None);
        check(r#"{"schema":"sample/3","entirely":"different"}"#, Some("store_newer_format"));
        check(r#"{"schema":"sample/0","z":1.0}"#, Some("store_corrupt"));
        check(r#"{"schema":"other/2","z":1.0}"#, Some("store_corrupt"));
        check(r#"{"z":1.0}"#, Some("store_corrupt"));
        check(r#"{"schema":"sample/2","z":-1.0}"#, Some("store_corrupt"));
        check(r#"{"schema":"sample/2","z":1e999}"#, Some("store_corrupt"));
        check(r#"{"schema":"sample/2","z":null}"#, Some("store_corrupt"));
        check(r#"{"schema":"sample/2","z":1.0,"z":2.0}"#, Some("store_corrupt"));
        check("", Some("store_corrupt"));
    }

    #[test]
    fn what_may_not_be_read_may_not_be_written() {
        assert_eq!(to_bytes(&Sample { z: f64::NAN, a: None }).unwrap_err().code(), "store_refused");
        assert_eq!(to_bytes(&Sample { z: -1.0, a: None }).unwrap_err().code(), "store_refused");
    }

    #[test]
    fn lines_are_numbered_in_messages_and_empty_files_have_none() {
        let good = to_line(&Sample { z: 1.0, a: None }).unwrap();
        let two = [good.as_slice(), b"{}\n"].concat();
        let error = from_lines::<Sample>("log", &two).unwrap_err().to_string();
        assert!(error.contains("log line 2"), "{error}");
        assert_eq!(from_lines::<Sample>("log", b"").unwrap(), []);
        assert_eq!(from_lines::<Sample>("log", &good).unwrap().len(), 1);
    }
}
