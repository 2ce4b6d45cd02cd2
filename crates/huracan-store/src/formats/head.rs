//! `model.bin`: a head's arrays in a safetensors file, and in its metadata map everything needed to
//! use them. No pickle, no code.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::check::{self, Checked};
use super::figures::Label;
use super::tensors::{self, Tensor};
use super::wire::Coin;
use crate::error::{Result, StoreError};

const NAME: &str = "model";
const MAJOR: u32 = 1;

/// One trained head, of whatever kind.
#[derive(Clone, PartialEq, Debug)]
pub struct HeadFile {
    /// What the arrays mean: `ridge`, `trees`, `zero`, …
    pub kind: String,
    /// The coin.
    pub symbol: Coin,
    /// Bar length.
    pub bar: String,
    /// What the head predicts.
    pub label: Label,
    /// The columns it reads, in order: codes first, then the coin's own.
    pub columns: Vec<String>,
    /// The encoder the codes come from; `None` for a head without codes.
    pub encoder_id: Option<String>,
    /// The recipe the columns come from.
    pub features_id: String,
    /// How a score becomes bps: a kind (`linear`, `isotonic`, `none`) and its parameters; arrays of a
    /// calibration live in `arrays` as `calibration_*`.
    pub calibration: Calibration,
    /// Edge above which a position is entered.
    pub decision_threshold_bps: f64,
    /// One-dimensional arrays by name, finite. `weights`, where present, has one value a column.
    pub arrays: BTreeMap<String, Vec<f64>>,
    /// Further texts a kind of head needs; keys of the fields above are reserved.
    pub metadata: BTreeMap<String, String>,
}

/// How a score becomes an edge in bps.
#[derive(Clone, PartialEq, Debug, Serialize, serde::Deserialize)]
pub struct Calibration {
    /// `linear`, `isotonic` or `none`.
    pub kind: String,
    /// Its numbers by name.
    pub parameters: BTreeMap<String, f64>,
}

/// Keys of the metadata map that this file owns.
const RESERVED: [&str; 11] = [
    "schema",
    "kind",
    "symbol",
    "bar",
    "label",
    "columns",
    "encoder_id",
    "features_id",
    "calibration",
    "decision_threshold_bps",
    "format",
];

impl HeadFile {
    fn check(&self) -> Checked {
        check::named("kind", &self.kind)?;
        check::bar("bar", &self.bar)?;
        self.label.check()?;
        check::distinct("columns", self.columns.iter().map(String::as_str))?;
        check::encoder_id("encoder_id", self.encoder_id.as_deref())?;
        check::sha256("features_id", &self.features_id)?;
        check::named("calibration.kind", &self.calibration.kind)?;
        check::not_negative("decision_threshold_bps", self.decision_threshold_bps)?;
        if let Some(weights) = self.arrays.get("weights") {
            check::same_len("weights", weights.len(), "columns", self.columns.len())?;
        }
        let taken = self.metadata.keys().find(|key| RESERVED.contains(&key.as_str()));
        check::that(taken.is_none(), || format!("metadata key {taken:?} belongs to the format"))
    }

    /// The file's bytes; equal heads have equal bytes.
    ///
    /// # Errors
    /// `Refused` when a number is not finite or a size does not fit.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let refused = |reason: String| StoreError::refused("model.bin", reason);
        self.check().map_err(refused)?;
        super::finite::check(&(&self.calibration, self.decision_threshold_bps))
            .map_err(|e| refused(e.to_string()))?;
        let mut texts = self.metadata.clone();
        let mut put = |key: &str, text: String| texts.insert(key.to_owned(), text);
        put("schema", format!("{NAME}/{MAJOR}"));
        put("kind", self.kind.clone());
        put("symbol", self.symbol.to_string());
        put("bar", self.bar.clone());
        put("label", json(&self.label).map_err(refused)?);
        put("columns", json(&self.columns).map_err(refused)?);
        if let Some(id) = &self.encoder_id {
            put("encoder_id", id.clone());
        }
        put("features_id", self.features_id.clone());
        put("calibration", json(&self.calibration).map_err(refused)?);
        put("decision_threshold_bps", json(&self.decision_threshold_bps).map_err(refused)?);
        let arrays = self.arrays.iter().map(|(name, data)| (name.clone(), Tensor::vector(data.clone())));
        tensors::write(&arrays.collect(), &texts).map_err(refused)
    }

    /// Reads a head; `path` is for the messages.
    ///
    /// # Errors
    /// `NewerFormat` for a later version, `Corrupt` for anything that breaks the format.
    pub fn from_bytes(path: impl ToString, bytes: &[u8]) -> Result<HeadFile> {
        let path = path.to_string();
        let corrupt = |reason: String| StoreError::corrupt(&path, reason);
        let (arrays, mut texts) = tensors::read(bytes).map_err(corrupt)?;
        let encoder_id = texts.remove("encoder_id");
        let mut take = |key: &str| {
            texts.remove(key).ok_or_else(|| corrupt(format!("its metadata has no {key}, expected one")))
        };
        let schema = take("schema")?;
        match schema.split_once('/').map(|(name, major)| (name, major.parse::<u32>())) {
            Some((NAME, Ok(MAJOR))) => {}
            Some((NAME, Ok(major))) if major > MAJOR => {
                let supported = format!("{NAME}/{MAJOR}");
                return Err(StoreError::NewerFormat { path: path.clone(), found: schema, supported });
            }
            _ => return Err(corrupt(format!("schema is {schema:?}, expected \"{NAME}/{MAJOR}\""))),
        }
        let mut head = HeadFile {
            kind: take("kind")?,
            symbol: take("symbol")?.parse().map(Coin).map_err(|e| corrupt(format!("symbol: {e}")))?,
            bar: take("bar")?,
            label: parse("label", &take("label")?).map_err(corrupt)?,
            columns: parse("columns", &take("columns")?).map_err(corrupt)?,
            encoder_id,
            features_id: take("features_id")?,
            calibration: parse("calibration", &take("calibration")?).map_err(corrupt)?,
            decision_threshold_bps: parse("decision_threshold_bps", &take("decision_threshold_bps")?)
                .map_err(corrupt)?,
            arrays: BTreeMap::new(),
            metadata: BTreeMap::new(),
        };
        for (name, tensor) in arrays {
            check::that(tensor.shape.len() == 1, || {
                format!("{name} has shape {:?}, expected one axis", tensor.shape)
            })
            .map_err(corrupt)?;
            head.arrays.insert(name, tensor.data);
        }
        head.metadata = texts;
        head.check().map_err(corrupt)?;
        Ok(head)
    }
}

fn json<T: Serialize>(value: &T) -> std::result::Result<String, String> {
    serde_json::to_string(value).map_err(|e| e.to_string())
}

fn parse<T: DeserializeOwned>(key: &str, text: &str) -> std::result::Result<T, String> {
    serde_json::from_str(text).map_err(|e| format!("{key}: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn a_head_survives_bit_for_bit() {
        let head = samples::head("BTCUSDT");
        let bytes = head.to_bytes().unwrap();
        let back = HeadFile::from_bytes("x", &bytes).unwrap();
        assert_eq!(back, head);
        assert_eq!(back.to_bytes().unwrap(), bytes);
    }

    #[test]
    fn heads_that_do_not_fit_are_refused() {
        let check = |spoil: fn(&mut HeadFile), says: &str| {
            let mut head = samples::head("BTCUSDT");
            spoil(&mut head);
            let text = head.to_bytes().unwrap_err().to_string();
            assert!(text.contains(says), "{text}");
        };
        check(|h| h.arrays.get_mut("weights").unwrap().truncate(1), "weights has 1");
        check(|h| h.arrays.get_mut("weights").unwrap()[0] = f64::NAN, "NaN");
        check(|h| h.decision_threshold_bps = f64::INFINITY, "inf");
        check(|h| h.columns[1] = h.columns[0].clone(), "twice");
        check(|h| h.encoder_id = Some("xyz".into()), "encoder_id");
        check(|h| h.features_id = "abc".into(), "features_id");
        check(|h| drop(h.metadata.insert("symbol".into(), "ETHUSDT".into())), "belongs to the format");
    }

    #[test]
    fn a_head_of_a_later_format_is_named_as_such() {
        let bytes = samples::head("BTCUSDT").to_bytes().unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let at = text.find("model/1").unwrap();
        let mut later = bytes.clone();
        later[at + 6] = b'9';
        assert_eq!(HeadFile::from_bytes("x", &later).unwrap_err().code(), "store_newer_format");
    }
}
