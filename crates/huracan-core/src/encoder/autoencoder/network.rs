//! The network as it is stored and used: features → hidden → codes → hidden → features, tanh in both
//! hidden layers, the others linear.

use super::super::dense::{add_product, vectorised};
use super::activation::tanh;

/// A dense layer: `weight · x + bias`.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct Layer {
    /// Outputs × inputs, column-major: what input i gives to each output is contiguous.
    pub(super) weight: Vec<f32>,
    /// One an output.
    pub(super) bias: Vec<f32>,
}

impl Layer {
    pub(super) fn zeros(inputs: usize, outputs: usize) -> Layer {
        Layer { weight: vec![0.0; inputs * outputs], bias: vec![0.0; outputs] }
    }

    fn apply(&self, x: &[f32], out: &mut [f32]) {
        out.copy_from_slice(&self.bias);
        add_product(&self.weight, x, out);
    }
}

/// Names of the layers, in order, as stored.
const LAYERS: [&str; 4] = ["encoder_0", "encoder_1", "decoder_0", "decoder_1"];

/// A trained autoencoder of standardised features.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Network {
    /// Features → hidden, hidden → codes, codes → hidden, hidden → features.
    pub(super) layers: [Layer; 4],
}

/// Buffers of one row on its way through a network.
#[derive(Clone, Debug)]
pub struct Scratch {
    hidden: Vec<f32>,
    /// Codes, length k.
    pub codes: Vec<f32>,
    /// Reconstructed standardised features, length p.
    pub reconstruction: Vec<f32>,
}

/// A named array: name, shape, row-major values.
pub type NamedArray = (String, Vec<usize>, Vec<f64>);

impl Network {
    pub(super) fn zeros(features: usize, hidden: usize, codes: usize) -> Network {
        let layer = Layer::zeros;
        let layers =
            [layer(features, hidden), layer(hidden, codes), layer(codes, hidden), layer(hidden, features)];
        Network { layers }
    }

    /// Number of features, p.
    pub fn features(&self) -> usize {
        self.layers[3].bias.len()
    }

    /// Width of the hidden layers.
    pub fn hidden(&self) -> usize {
        self.layers[0].bias.len()
    }

    /// Number of codes, k.
    pub fn codes(&self) -> usize {
        self.layers[1].bias.len()
    }

    /// Buffers that fit.
    pub fn scratch(&self) -> Scratch {
        Scratch {
            hidden: vec![0.0; self.hidden()],
            codes: vec![0.0; self.codes()],
            reconstruction: vec![0.0; self.features()],
        }
    }

    /// Codes of one standardised row (length p) into `scratch.codes`.
    pub fn encode(&self, standardised: &[f32], scratch: &mut Scratch) {
        self.layers[0].apply(standardised, &mut scratch.hidden);
        activate(&mut scratch.hidden);
        self.layers[1].apply(&scratch.hidden, &mut scratch.codes);
    }

    /// What `scratch.codes` stand for, into `scratch.reconstruction`.
    pub fn decode(&self, scratch: &mut Scratch) {
        self.layers[2].apply(&scratch.codes, &mut scratch.hidden);
        activate(&mut scratch.hidden);
        self.layers[3].apply(&scratch.hidden, &mut scratch.reconstruction);
    }

    /// Every array by name (`encoder_0_weight` is outputs × inputs, row-major; `encoder_0_bias` …), in
    /// the order the data flows. The values are f32 and pass through f64 unchanged.
    pub fn to_arrays(&self) -> Vec<NamedArray> {
        let arrays = LAYERS.iter().zip(&self.layers).flat_map(|(name, layer)| {
            let (m, n) = (layer.bias.len(), layer.weight.len() / layer.bias.len().max(1));
            let by_row = (0..m).flat_map(|o| (0..n).map(move |i| f64::from(layer.weight[i * m + o])));
            let bias = layer.bias.iter().map(|&b| f64::from(b));
            [
                (format!("{name}_weight"), vec![m, n], by_row.collect()),
                (format!("{name}_bias"), vec![m], bias.collect()),
            ]
        });
        arrays.collect()
    }

    /// What a weighted sum of the codes makes of each standardised feature where the network is linear, near
    /// zero: `W₀'W₁'w`; length p. Codes beyond `weights` count as 0.
    pub fn linear_reach(&self, weights: &[f64]) -> Vec<f64> {
        let [first, second, ..] = &self.layers;
        let (hidden, codes) = (first.bias.len(), second.bias.len());
        let by_hidden: Vec<f64> = (0..hidden)
            .map(|h| {
                weights
                    .iter()
                    .take(codes)
                    .enumerate()
                    .map(|(k, w)| w * f64::from(second.weight[h * codes + k]))
                    .sum()
            })
            .collect();
        let of = |i: usize| {
            by_hidden.iter().enumerate().map(|(h, v)| v * f64::from(first.weight[i * hidden + h])).sum()
        };
        (0..self.features()).map(of).collect()
    }

    /// The network of arrays as [`Network::to_arrays`] gives them, in any order; others are ignored.
    ///
    /// # Errors
    /// What is missing, does not fit or is not finite in f32.
    pub fn from_arrays(arrays: &[NamedArray]) -> Result<Network, String> {
        let [a, b, c, d] = LAYERS.map(|name| read_layer(arrays, name));
        let network = Network { layers: [a?, b?, c?, d?] };
        let inputs = [network.features(), network.hidden(), network.codes(), network.layers[2].bias.len()];
        for ((name, layer), n) in LAYERS.iter().zip(&network.layers).zip(inputs) {
            if layer.bias.is_empty() || layer.weight.len() != layer.bias.len() * n {
                let found = layer.weight.len();
                let expected = layer.bias.len();
                return Err(format!("{name}_weight has {found} values, expected {expected} rows of {n}"));
            }
        }
        if network.layers[2].bias.len() != network.hidden() {
            return Err("encoder and decoder differ in their hidden width".to_owned());
        }
        Ok(network)
    }
}

/// tanh of every value.
fn activate(values: &mut [f32]) {
    vectorised(
        #[inline(always)]
        || values.iter_mut().for_each(|v| *v = tanh(*v)),
    );
}

fn read_layer(arrays: &[NamedArray], layer: &str) -> Result<Layer, String> {
    let bias = read(arrays, &format!("{layer}_bias"), 1)?;
    let (shape, by_row) = read(arrays, &format!("{layer}_weight"), 2)?;
    let (m, n) = (shape[0], shape[1]);
    let weight = (0..n).flat_map(|i| (0..m).map(move |o| (o, i))).map(|(o, i)| by_row[o * n + i]).collect();
    if m != bias.1.len() {
        return Err(format!("{layer}_weight has {m} rows, {layer}_bias {} values", bias.1.len()));
    }
    Ok(Layer { weight, bias: bias.1 })
}

/// Shape and values of a named array of `axes` axes.
fn read<'a>(arrays: &'a [NamedArray], name: &str, axes: usize) -> Result<(&'a [usize], Vec<f32>), String> {
    let found = arrays.iter().find(|(found, _, _)| found == name);
    let (_, shape, data) = found.ok_or_else(|| format!("{name} is missing"))?;
    let values = shape.iter().try_fold(1_usize, |n, &axis| n.checked_mul(axis));
    if shape.len() != axes || values != Some(data.len()) {
        return Err(format!("{name} has {} values of shape {shape:?}, expected {axes} axes", data.len()));
    }
    let narrow: Vec<f32> = data.iter().map(|&v| v as f32).collect();
    match narrow.iter().position(|v| !v.is_finite()) {
        Some(i) => Err(format!("{name} value {i} is {}, expected a finite number in f32", data[i])),
        None => Ok((shape, narrow)),
    }
}
