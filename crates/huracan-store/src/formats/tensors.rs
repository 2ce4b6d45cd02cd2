//! The safetensors container: named f64 arrays and a map of texts, written with a fixed key order so
//! that equal content has equal bytes (the `safetensors` crate's writer goes through a `HashMap`), and
//! read through the `safetensors` crate, which checks every offset.

use std::collections::BTreeMap;

use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};

use crate::digest::canonical_json;

/// One array: row-major values and their shape.
#[derive(Clone, PartialEq, Debug)]
pub struct Tensor {
    /// Length of each axis; the product is the number of values.
    pub shape: Vec<usize>,
    /// Row-major, finite.
    pub data: Vec<f64>,
}

impl Tensor {
    /// A one-dimensional array.
    pub fn vector(data: Vec<f64>) -> Tensor {
        Tensor { shape: vec![data.len()], data }
    }

    /// The values as little-endian bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.data.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    fn check(&self, name: &str) -> Result<(), String> {
        let values = self.shape.iter().try_fold(1_usize, |n, &axis| n.checked_mul(axis));
        if values != Some(self.data.len()) {
            return Err(format!(
                "{name} has {} values, expected the product of {:?}",
                self.data.len(),
                self.shape
            ));
        }
        match self.data.iter().position(|v| !v.is_finite()) {
            Some(i) => Err(format!("{name} value {i} is {}, expected a finite number", self.data[i])),
            None => Ok(()),
        }
    }
}

/// Writes arrays and texts as one safetensors file.
///
/// # Errors
/// When a value is not finite or a shape does not fit, and for the one name the format reserves.
pub fn write(
    tensors: &BTreeMap<String, Tensor>,
    metadata: &BTreeMap<String, String>,
) -> Result<Vec<u8>, String> {
    let mut header = BTreeMap::from([("__metadata__", json!(metadata))]);
    let mut body = Vec::new();
    for (name, tensor) in tensors {
        if name == "__metadata__" {
            return Err("__metadata__ is not a name for an array".to_owned());
        }
        tensor.check(name)?;
        let from = body.len();
        body.extend_from_slice(&tensor.bytes());
        header.insert(
            name.as_str(),
            json!({"dtype": "F64", "shape": tensor.shape, "data_offsets": [from, body.len()]}),
        );
    }
    let mut text = canonical_json(&header).map_err(|e| e.to_string())?;
    // The format wants the arrays to start at a multiple of eight and allows blanks to get there.
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(&text);
    bytes.extend_from_slice(&body);
    Ok(bytes)
}

/// Reads arrays and texts; only finite `F64` arrays are accepted.
///
/// # Errors
/// What is wrong with the bytes, as a sentence.
#[expect(clippy::type_complexity, reason = "the two maps that write takes")]
pub fn read(bytes: &[u8]) -> Result<(BTreeMap<String, Tensor>, BTreeMap<String, String>), String> {
    bound_offsets(bytes)?;
    let file = SafeTensors::deserialize(bytes).map_err(|e| format!("not a safetensors file: {e}"))?;
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| e.to_string())?;
    let metadata = header.metadata().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect();
    let mut tensors = BTreeMap::new();
    for (name, view) in file.tensors() {
        if view.dtype() != Dtype::F64 {
            return Err(format!("{name} has type {:?}, expected F64", view.dtype()));
        }
        let values = view.data().as_chunks::<8>().0;
        let data = values.iter().map(|b| f64::from_le_bytes(*b)).collect();
        let tensor = Tensor { shape: view.shape().to_vec(), data };
        tensor.check(&name)?;
        tensors.insert(name, tensor);
    }
    Ok((tensors, metadata))
}

/// Refuses offsets past the end before the crate adds them up: a hostile sum may overflow there.
fn bound_offsets(bytes: &[u8]) -> Result<(), String> {
    let short = || "not a safetensors file: it ends inside its header".to_owned();
    let size = bytes.first_chunk::<8>().map(|b| u64::from_le_bytes(*b)).ok_or_else(short)?;
    let size = usize::try_from(size).map_err(|_| short())?;
    let header = bytes[8..].get(..size).ok_or_else(short)?;
    let header: BTreeMap<String, Value> =
        serde_json::from_slice(header).map_err(|e| format!("not a safetensors file: {e}"))?;
    for (name, info) in header.iter().filter(|(name, _)| *name != "__metadata__") {
        let end = info["data_offsets"][1].as_u64();
        let inside = end.is_some_and(|end| end <= bytes.len() as u64);
        if !inside {
            return Err(format!(
                "{name} ends at {end:?}, expected an offset inside the file of {} bytes",
                bytes.len()
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (BTreeMap<String, Tensor>, BTreeMap<String, String>) {
        let grid = Tensor { shape: vec![2, 2], data: vec![1.0, -0.0, f64::MIN_POSITIVE, 0.1] };
        (
            BTreeMap::from([("b".to_owned(), grid), ("a".to_owned(), Tensor::vector(vec![]))]),
            BTreeMap::from([("kind".to_owned(), "ridge".to_owned())]),
        )
    }

    #[test]
    fn arrays_survive_bit_for_bit_and_bytes_repeat() {
        let (tensors, metadata) = sample();
        let bytes = write(&tensors, &metadata).unwrap();
        assert_eq!(bytes, write(&tensors, &metadata).unwrap());
        let (back, texts) = read(&bytes).unwrap();
        assert_eq!((&back, &texts), (&tensors, &metadata));
        assert!(back["b"].data[1].is_sign_negative());
    }

    #[test]
    fn broken_content_is_refused_both_ways() {
        let (mut tensors, metadata) = sample();
        tensors.insert("c".to_owned(), Tensor::vector(vec![f64::NAN]));
        assert!(write(&tensors, &metadata).unwrap_err().contains("c value 0 is NaN"));
        tensors.insert("c".to_owned(), Tensor { shape: vec![3], data: vec![0.0] });
        assert!(write(&tensors, &metadata).unwrap_err().contains("product"));

        let (tensors, metadata) = sample();
        let bytes = write(&tensors, &metadata).unwrap();
        for cut in 0..bytes.len() {
            assert!(read(&bytes[..cut]).is_err(), "{cut}");
        }
        let mut spoiled = bytes.clone();
        let last = spoiled.len() - 8;
        spoiled[last..].copy_from_slice(&f64::NAN.to_le_bytes());
        assert!(read(&spoiled).unwrap_err().contains("NaN"));
    }

    #[test]
    fn offsets_that_would_overflow_are_refused() {
        let header = r#"{"a":{"dtype":"F64","shape":[0],"data_offsets":[0,18446744073709551615]}}"#;
        let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
        assert!(read(&bytes).unwrap_err().contains("offset"));
    }
}
