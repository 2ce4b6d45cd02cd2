//! `shared_encoder.safetensors`, `.json` and `.pkl`: the map from features to codes that all coins
//! share, named by its content.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Document;
use super::check::{self, Checked};
use super::tensors::{self, Tensor};
use super::wire::{Coin, Span, Time};
use crate::digest::{canonical_json, hex};
use crate::error::{Result, StoreError};

/// An encoder whole: what `shared_encoder.json` says and the arrays beside it.
#[derive(Clone, PartialEq, Debug)]
pub struct EncoderFile {
    /// The JSON document.
    pub card: EncoderCard,
    /// The arrays of `shared_encoder.safetensors`.
    pub tensors: BTreeMap<String, Tensor>,
}

/// `shared_encoder.json`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct EncoderCard {
    /// 16 hex of the SHA-256 of the tensors and their meaning.
    pub encoder_id: String,
    /// What the tensors mean; part of the id.
    #[serde(flatten)]
    pub meaning: Meaning,
    /// Share of variance of each component; empty where the kind has none.
    pub explained_variance_ratio: Vec<f64>,
    /// The bars it was fitted on.
    pub fit_window: Span,
    /// The coins it was fitted on.
    pub symbols: Vec<EncoderCoin>,
    /// When it was fitted.
    pub trained_at: Time,
    /// Until when it may be used.
    pub valid_until: Time,
    /// Loss by epoch; `null` where there is no training by epochs.
    pub training_loss: Option<Vec<f64>>,
}

/// What the tensors mean. Two encoders with equal tensors and equal meaning are the same encoder.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Meaning {
    /// `pca`, `rrr`, `autoencoder`, …
    pub encoder_type: String,
    /// Number of codes.
    pub n_components: u64,
    /// The features it reads, in order.
    pub feature_names: Vec<String>,
    /// Centre taken from each feature.
    pub center: Vec<f64>,
    /// Scale each feature is divided by; more than zero.
    pub scale: Vec<f64>,
    /// Further numbers that change its codes, for example `winsor_sigmas`.
    pub parameters: BTreeMap<String, f64>,
}

/// A coin's part in the fit.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct EncoderCoin {
    /// The coin.
    pub symbol: Coin,
    /// Rows it gave.
    pub rows: u64,
    /// Its weight.
    pub weight: f64,
}

/// The first 16 hex digits of the SHA-256 of the tensors and their meaning.
///
/// The hash runs over the canonical JSON of the meaning and of `{name: shape}`, each preceded by its
/// length as u64, then over the tensors' values in order of their names, little-endian.
///
/// # Errors
/// `Refused` when a number is not finite.
pub fn encoder_id(meaning: &Meaning, tensors: &BTreeMap<String, Tensor>) -> Result<String> {
    let shapes: BTreeMap<&str, &[usize]> =
        tensors.iter().map(|(n, t)| (n.as_str(), t.shape.as_slice())).collect();
    let mut hash = Sha256::new();
    for part in [canonical_json(meaning)?, canonical_json(&shapes)?] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(&part);
    }
    tensors.values().for_each(|tensor| hash.update(tensor.bytes()));
    Ok(hex(&hash.finalize()[..8]))
}

impl Document for EncoderCard {
    const NAME: &'static str = "shared_encoder";

    fn check(&self) -> Checked {
        let meaning = &self.meaning;
        check::hex("encoder_id", &self.encoder_id, 16)?;
        check::named("encoder_type", &meaning.encoder_type)?;
        check::that(meaning.n_components > 0, || "n_components is 0, expected 1 or more".to_owned())?;
        check::distinct("feature_names", meaning.feature_names.iter().map(String::as_str))?;
        let features = meaning.feature_names.len();
        check::same_len("center", meaning.center.len(), "feature_names", features)?;
        check::same_len("scale", meaning.scale.len(), "feature_names", features)?;
        meaning.scale.iter().try_for_each(|&s| check::positive("a value of scale", s))?;
        let ratios = &self.explained_variance_ratio;
        if !ratios.is_empty() {
            check::same_len(
                "explained_variance_ratio",
                ratios.len(),
                "n_components",
                meaning.n_components as usize,
            )?;
        }
        self.fit_window.check("fit_window")?;
        let names: Vec<String> = self.symbols.iter().map(|coin| coin.symbol.to_string()).collect();
        check::distinct("symbols", names.iter().map(String::as_str))?;
        self.symbols.iter().try_for_each(|coin| check::not_negative("a weight of symbols", coin.weight))?;
        check::that(self.trained_at <= self.valid_until, || {
            format!("valid_until is {}, before trained_at {}", self.valid_until, self.trained_at)
        })
    }
}

/// The plain-data twin: only dicts, lists, texts and numbers.
#[derive(Serialize)]
struct Twin<'a> {
    schema: &'static str,
    encoder_id: &'a str,
    encoder_type: &'a str,
    n_components: u64,
    feature_names: &'a [String],
    center: &'a [f64],
    scale: &'a [f64],
    parameters: &'a BTreeMap<String, f64>,
    explained_variance_ratio: &'a [f64],
    trained_at: String,
    valid_until: String,
    tensors: BTreeMap<&'a str, Rows<'a>>,
}

/// An array as Python reads it: a list, or a list of rows.
#[derive(Serialize)]
#[serde(untagged)]
enum Rows<'a> {
    Flat(&'a [f64]),
    Grid(Vec<&'a [f64]>),
    Shaped { shape: &'a [usize], values: &'a [f64] },
}

impl<'a> Rows<'a> {
    fn of(tensor: &'a Tensor) -> Rows<'a> {
        match tensor.shape[..] {
            [_] => Rows::Flat(&tensor.data),
            [_, columns] if columns > 0 => Rows::Grid(tensor.data.chunks_exact(columns).collect()),
            _ => Rows::Shaped { shape: &tensor.shape, values: &tensor.data },
        }
    }
}

impl EncoderFile {
    /// Whether the card's id is the id of card and tensors.
    ///
    /// # Errors
    /// Both ids, when it is not.
    pub fn check_id(&self) -> Checked {
        let found = encoder_id(&self.card.meaning, &self.tensors).map_err(|e| e.to_string())?;
        check::that(found == self.card.encoder_id, || {
            format!("encoder_id is {:?}, tensors and meaning have {found}", self.card.encoder_id)
        })
    }

    /// The bytes of `shared_encoder.safetensors`.
    ///
    /// # Errors
    /// `Refused` when a value is not finite or the id is not this content's.
    pub fn tensor_bytes(&self) -> Result<Vec<u8>> {
        self.check_id().map_err(|e| StoreError::refused("shared_encoder", e))?;
        let texts = BTreeMap::from([
            ("schema".to_owned(), "shared_encoder/1".to_owned()),
            ("encoder_id".to_owned(), self.card.encoder_id.clone()),
            ("encoder_type".to_owned(), self.card.meaning.encoder_type.clone()),
        ]);
        tensors::write(&self.tensors, &texts).map_err(|e| StoreError::refused("shared_encoder", e))
    }

    /// The bytes of `shared_encoder.pkl`: protocol 2, one dict, for Python readers; never read back.
    ///
    /// # Errors
    /// `Refused` when it cannot be pickled.
    pub fn pickle_bytes(&self) -> Result<Vec<u8>> {
        let (card, meaning) = (&self.card, &self.card.meaning);
        let twin = Twin {
            schema: "shared_encoder/1",
            encoder_id: &card.encoder_id,
            encoder_type: &meaning.encoder_type,
            n_components: meaning.n_components,
            feature_names: &meaning.feature_names,
            center: &meaning.center,
            scale: &meaning.scale,
            parameters: &meaning.parameters,
            explained_variance_ratio: &card.explained_variance_ratio,
            trained_at: card.trained_at.to_string(),
            valid_until: card.valid_until.to_string(),
            tensors: self.tensors.iter().map(|(name, tensor)| (name.as_str(), Rows::of(tensor))).collect(),
        };
        serde_pickle::to_vec(&twin, serde_pickle::SerOptions::new().proto_v2())
            .map_err(|e| StoreError::refused("shared_encoder.pkl", e))
    }

    /// Puts card and tensors together again and holds them against the id.
    ///
    /// # Errors
    /// `Corrupt` when the tensors are not readable or are not the card's.
    pub fn assemble(path: impl ToString, card: EncoderCard, tensor_bytes: &[u8]) -> Result<EncoderFile> {
        let corrupt = |reason: String| StoreError::corrupt(path.to_string(), reason);
        let (tensors, _) = tensors::read(tensor_bytes).map_err(corrupt)?;
        let file = EncoderFile { card, tensors };
        file.check_id().map_err(corrupt)?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::samples;

    #[test]
    fn the_id_names_tensors_and_meaning_and_nothing_else() {
        let encoder = samples::encoder();
        let id = |e: &EncoderFile| encoder_id(&e.card.meaning, &e.tensors).unwrap();
        let mut later = encoder.clone();
        later.card.trained_at = later.card.valid_until;
        assert_eq!(id(&later), id(&encoder));
        let mut other = encoder.clone();
        other.tensors.values_mut().next().unwrap().data[0] += 1e-12;
        assert_ne!(id(&other), id(&encoder));
        let mut other = encoder.clone();
        other.card.meaning.feature_names.swap(0, 1);
        assert_ne!(id(&other), id(&encoder));
        assert!(other.tensor_bytes().is_err());
    }

    #[test]
    fn the_pickle_opens_in_plain_python() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shared_encoder.pkl");
        std::fs::write(&path, samples::encoder().pickle_bytes().unwrap()).unwrap();
        let script = "import pickle, sys\n\
             d = pickle.load(open(sys.argv[1], 'rb'))\n\
             assert type(d) is dict and d['schema'] == 'shared_encoder/1', d\n\
             assert d['tensors']['components'] == [[0.6, 0.8, 0.0]], d\n\
             assert d['feature_names'] == ['ret_1', 'ret_24', 'rsi_14'] and d['n_components'] == 1, d\n\
             assert open(sys.argv[1], 'rb').read(2) == b'\\x80\\x02'\n";
        match Command::new("python3").args(["-c", script]).arg(&path).output() {
            Err(_) => println!("skipped: no python3 here"),
            Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        }
    }
}
