//! The map from scaled features to codes, whatever kind of encoder it comes from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::Document;
use super::super::check::{self, Checked};
use super::super::encoder::EncoderFile;
use super::super::tensors::Tensor;
use super::graph::{Graph, Value};
use super::proto::ModelProto;
use crate::error::{Result, StoreError};

/// `codes = map((z − center) / scale)` for a row `z` that the coin's own scaler has made, all in f64:
/// a network that itself computes in f32 agrees with it to about 1e-6.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Encoding {
    /// The encoder it is of.
    pub encoder_id: String,
    /// `pca`, `rrr`, `autoencoder`, …
    pub encoder_type: String,
    /// The p columns of `z`, in order.
    pub feature_names: Vec<String>,
    /// Taken from each column.
    pub center: Vec<f64>,
    /// Each column is divided by it; more than zero.
    pub scale: Vec<f64>,
    /// From standardised columns to codes.
    pub map: CodeMap,
}

/// From p standardised columns to k codes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CodeMap {
    /// `codes = components · v`.
    Linear {
        /// k rows of p.
        components: Vec<Vec<f64>>,
    },
    /// Dense layers with an activation between them; none after the last.
    Network {
        /// From the input on.
        layers: Vec<Layer>,
        /// Applied to each value between two layers.
        activation: Activation,
    },
}

/// `weight · v + bias`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Layer {
    /// One row an output.
    pub weight: Vec<Vec<f64>>,
    /// One value an output.
    pub bias: Vec<f64>,
}

/// What bends the values between two layers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// Hyperbolic tangent.
    Tanh,
    /// max(0, x).
    Relu,
}

impl Activation {
    fn apply(self, x: f64) -> f64 {
        match self {
            Activation::Tanh => x.tanh(),
            Activation::Relu => x.max(0.0),
        }
    }

    /// Its operator in `ai.onnx`.
    fn operator(self) -> &'static str {
        match self {
            Activation::Tanh => "Tanh",
            Activation::Relu => "Relu",
        }
    }
}

impl CodeMap {
    /// Reads the tensors of an encoder: `components` [k, p], or `encoder_0_weight` [h, p],
    /// `encoder_0_bias` [h], `encoder_1_weight` … up to the layer of the codes, with tanh between.
    fn of(encoder: &EncoderFile) -> std::result::Result<CodeMap, String> {
        let tensors = &encoder.tensors;
        if let Some(components) = tensors.get("components") {
            return Ok(CodeMap::Linear { components: rows("components", components)? });
        }
        let mut layers = Vec::new();
        while let Some(weight) = tensors.get(&format!("encoder_{}_weight", layers.len())) {
            let n = layers.len();
            let bias = tensors.get(&format!("encoder_{n}_bias"));
            let bias = bias.ok_or_else(|| format!("it has no encoder_{n}_bias, expected one"))?;
            let weight = rows(&format!("encoder_{n}_weight"), weight)?;
            layers.push(Layer { weight, bias: bias.data.clone() });
        }
        if layers.is_empty() {
            let names: Vec<&String> = tensors.keys().collect();
            return Err(format!("its tensors are {names:?}, expected components or encoder_0_weight"));
        }
        Ok(CodeMap::Network { layers, activation: Activation::Tanh })
    }

    /// Number of codes.
    pub fn codes(&self) -> usize {
        match self {
            CodeMap::Linear { components } => components.len(),
            CodeMap::Network { layers, .. } => layers.last().map_or(0, |layer| layer.bias.len()),
        }
    }

    fn check(&self, columns: usize) -> Checked {
        let fits = |name: &str, matrix: &[Vec<f64>], columns: usize| {
            check::that(!matrix.is_empty(), || format!("{name} has no row, expected one or more"))?;
            matrix.iter().try_for_each(|row| check::same_len(name, row.len(), "its inputs", columns))
        };
        match self {
            CodeMap::Linear { components } => fits("components", components, columns),
            CodeMap::Network { layers, .. } => {
                check::that(!layers.is_empty(), || "it has no layer, expected one or more".to_owned())?;
                let mut inputs = columns;
                for layer in layers {
                    fits("a layer's weight", &layer.weight, inputs)?;
                    check::same_len("a layer's bias", layer.bias.len(), "its weight", layer.weight.len())?;
                    inputs = layer.bias.len();
                }
                Ok(())
            }
        }
    }

    fn apply(&self, v: &[f64]) -> Vec<f64> {
        match self {
            CodeMap::Linear { components } => product(components, v),
            CodeMap::Network { layers, activation } => {
                let mut values = v.to_vec();
                for (n, layer) in layers.iter().enumerate() {
                    if n > 0 {
                        values.iter_mut().for_each(|x| *x = activation.apply(*x));
                    }
                    values = product(&layer.weight, &values);
                    values.iter_mut().zip(&layer.bias).for_each(|(x, bias)| *x += bias);
                }
                values
            }
        }
    }

    fn build(&self, graph: &mut Graph, v: &Value) -> Value {
        match self {
            CodeMap::Linear { components } => {
                let components = transposed(graph, "components", components);
                graph.node("MatMul", &[v, &components], Vec::new())
            }
            CodeMap::Network { layers, activation } => {
                let mut value = v.clone();
                for (n, layer) in layers.iter().enumerate() {
                    if n > 0 {
                        value = graph.node(activation.operator(), &[&value], Vec::new());
                    }
                    let weight = transposed(graph, &format!("encoder_{n}_weight"), &layer.weight);
                    let bias = graph.row(&format!("encoder_{n}_bias"), &layer.bias);
                    value = graph.node("MatMul", &[&value, &weight], Vec::new());
                    value = graph.node("Add", &[&value, &bias], Vec::new());
                }
                value
            }
        }
    }
}

impl Encoding {
    /// The map of an encoder.
    ///
    /// # Errors
    /// `Refused` when its tensors are not a map this program knows.
    pub fn of(encoder: &EncoderFile) -> Result<Encoding> {
        let refused = |reason: String| {
            StoreError::refused(format!("the export of encoder {}", encoder.card.encoder_id), reason)
        };
        let meaning = &encoder.card.meaning;
        let encoding = Encoding {
            encoder_id: encoder.card.encoder_id.clone(),
            encoder_type: meaning.encoder_type.clone(),
            feature_names: meaning.feature_names.clone(),
            center: meaning.center.clone(),
            scale: meaning.scale.clone(),
            map: CodeMap::of(encoder).map_err(refused)?,
        };
        encoding.check().map_err(refused)?;
        check::same_len("n_components", meaning.n_components as usize, "codes", encoding.map.codes())
            .map_err(refused)?;
        Ok(encoding)
    }

    /// The codes of one scaled row (length p).
    pub fn encode(&self, z: &[f64]) -> Vec<f64> {
        let each = z.iter().zip(&self.center).zip(&self.scale);
        self.map.apply(&each.map(|((z, center), scale)| (z - center) / scale).collect::<Vec<f64>>())
    }

    /// Adds the map to a graph: `z` [N, p] → codes [N, k].
    pub(super) fn build(&self, graph: &mut Graph, z: &Value) -> Value {
        let center = graph.row("encoder_center", &self.center);
        let scale = graph.row("encoder_scale", &self.scale);
        let centred = graph.node("Sub", &[z, &center], Vec::new());
        let standardised = graph.node("Div", &[&centred, &scale], Vec::new());
        self.map.build(graph, &standardised)
    }

    /// The encoder alone: `scaled` [N, p], rows after a coin's own scaler → `codes` [N, k].
    pub fn to_onnx(&self) -> ModelProto {
        let doc = "codes = map((scaled - center) / scale), shared by all coins";
        let mut graph = Graph::new("huracan_encoder", doc);
        let given = "features after the coin's own scaler (winsorised, missing is 0), as in feature_names";
        let scaled = graph.input("scaled", self.feature_names.len(), given);
        let codes = self.build(&mut graph, &scaled);
        graph.output(&codes, "codes", self.map.codes(), "codes of the shared encoder");
        graph.model(&BTreeMap::from([
            ("encoder_id".to_owned(), self.encoder_id.clone()),
            ("encoder_type".to_owned(), self.encoder_type.clone()),
            ("feature_names".to_owned(), super::list(&self.feature_names)),
        ]))
    }
}

impl Document for Encoding {
    const NAME: &'static str = "exported_encoder";

    fn check(&self) -> Checked {
        check::named("encoder_type", &self.encoder_type)?;
        check::distinct("feature_names", self.feature_names.iter().map(String::as_str))?;
        let columns = self.feature_names.len();
        check::same_len("center", self.center.len(), "feature_names", columns)?;
        check::same_len("scale", self.scale.len(), "feature_names", columns)?;
        self.scale.iter().try_for_each(|&s| check::positive("a value of scale", s))?;
        self.map.check(columns)
    }
}

/// The rows of a two-dimensional tensor.
fn rows(name: &str, tensor: &Tensor) -> std::result::Result<Vec<Vec<f64>>, String> {
    match tensor.shape[..] {
        [_, columns] if columns > 0 => Ok(tensor.data.chunks_exact(columns).map(<[f64]>::to_vec).collect()),
        _ => Err(format!("{name} has shape {:?}, expected two axes", tensor.shape)),
    }
}

fn product(matrix: &[Vec<f64>], v: &[f64]) -> Vec<f64> {
    matrix.iter().map(|row| row.iter().zip(v).map(|(a, b)| a * b).sum()).collect()
}

/// A constant [columns, rows], so that rows of data multiply from the left.
fn transposed(graph: &mut Graph, name: &str, matrix: &[Vec<f64>]) -> Value {
    let (rows, columns) = (matrix.len(), matrix.first().map_or(0, Vec::len));
    let values: Vec<f64> = (0..columns).flat_map(|j| matrix.iter().map(move |row| row[j])).collect();
    graph.constant(name, &[columns, rows], &values)
}
