//! Building a graph node by node: each verb takes the names of values and returns the name of the one
//! it makes, so that a formula reads from the top down.

use std::collections::BTreeMap;

use prost::Message as _;

use super::proto::{
    AttributeProto, DOUBLE, DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    StringStringEntryProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
    attribute_type,
};

/// ONNX 1.12: old enough for every runtime in use, new enough for all operators here with doubles.
const IR_VERSION: i64 = 8;
const OPSET: i64 = 17;
const ML_OPSET: i64 = 3;
/// The operator set of tree ensembles.
pub const ML_DOMAIN: &str = "ai.onnx.ml";

/// The name of a value in a graph.
pub type Value = String;

/// A graph in the making. Every value is f64 unless a verb says otherwise, rows first.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    graph: GraphProto,
}

impl Graph {
    /// An empty graph.
    pub fn new(name: &str, doc: &str) -> Graph {
        let graph =
            GraphProto { name: Some(name.to_owned()), doc_string: doc.to_owned(), ..GraphProto::default() };
        Graph { graph }
    }

    /// An input [N, columns].
    pub fn input(&mut self, name: &str, columns: usize, doc: &str) -> Value {
        self.graph.input.push(described(name, columns, doc));
        name.to_owned()
    }

    /// Gives a value its name outside and declares it an output [N, columns].
    pub fn output(&mut self, value: &Value, name: &str, columns: usize, doc: &str) {
        self.node_named("Identity", "", &[value], Vec::new(), name);
        self.graph.output.push(described(name, columns, doc));
    }

    /// A constant row [1, n].
    pub fn row(&mut self, name: &str, values: &[f64]) -> Value {
        self.constant(name, &[1, values.len()], values)
    }

    /// A constant number without axes.
    pub fn number(&mut self, name: &str, value: f64) -> Value {
        self.constant(name, &[], &[value])
    }

    /// A constant array, row-major. Its name is its own within the graph.
    pub fn constant(&mut self, name: &str, shape: &[usize], values: &[f64]) -> Value {
        self.graph.initializer.push(tensor(name, shape, values));
        name.to_owned()
    }

    /// A node of `ai.onnx` with one output.
    pub fn node(&mut self, op: &str, inputs: &[&Value], attributes: Vec<AttributeProto>) -> Value {
        self.node_of("", op, inputs, attributes)
    }

    /// A node of any operator set with one output.
    pub fn node_of(
        &mut self,
        domain: &str,
        op: &str,
        inputs: &[&Value],
        attributes: Vec<AttributeProto>,
    ) -> Value {
        let name = format!("{}_{}", op.to_lowercase(), self.graph.node.len());
        self.node_named(op, domain, inputs, attributes, &name);
        name
    }

    fn node_named(
        &mut self,
        op: &str,
        domain: &str,
        inputs: &[&Value],
        attribute: Vec<AttributeProto>,
        output: &str,
    ) {
        self.graph.node.push(NodeProto {
            input: inputs.iter().map(|name| (*name).clone()).collect(),
            output: vec![output.to_owned()],
            name: Some(format!("make_{output}")),
            op_type: Some(op.to_owned()),
            attribute,
            domain: domain.to_owned(),
        });
    }

    /// The whole file; equal graphs and texts have equal bytes.
    pub fn model(self, texts: &BTreeMap<String, String>) -> ModelProto {
        let uses_ml = self.graph.node.iter().any(|node| node.domain == ML_DOMAIN);
        let opset = |domain: &str, version| OperatorSetIdProto {
            domain: Some(domain.to_owned()),
            version: Some(version),
        };
        let mut opset_import = vec![opset("", OPSET)];
        opset_import.extend(uses_ml.then(|| opset(ML_DOMAIN, ML_OPSET)));
        ModelProto {
            ir_version: Some(IR_VERSION),
            producer_name: "huracan".to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            doc_string: self.graph.doc_string.clone(),
            graph: Some(self.graph),
            opset_import,
            metadata_props: texts
                .iter()
                .map(|(key, value)| StringStringEntryProto { key: key.clone(), value: value.clone() })
                .collect(),
        }
    }
}

impl ModelProto {
    /// The bytes of an `.onnx` file.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    /// Reads an `.onnx` file as far as [`super::proto`] knows it.
    ///
    /// # Errors
    /// What is wrong with the bytes, as a sentence.
    pub fn from_bytes(bytes: &[u8]) -> Result<ModelProto, String> {
        ModelProto::decode(bytes).map_err(|error| format!("not an ONNX file: {error}"))
    }
}

/// A tensor of f64.
pub fn tensor(name: &str, shape: &[usize], values: &[f64]) -> TensorProto {
    TensorProto {
        dims: shape.iter().map(|&axis| axis as i64).collect(),
        data_type: Some(DOUBLE),
        name: Some(name.to_owned()),
        raw_data: Some(values.iter().flat_map(|value| value.to_le_bytes()).collect()),
    }
}

/// An attribute that is a whole number.
pub fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { i: Some(value), ..attribute(name, attribute_type::INT) }
}

/// An attribute that is a list of whole numbers.
pub fn ints(name: &str, values: Vec<i64>) -> AttributeProto {
    AttributeProto { ints: values, ..attribute(name, attribute_type::INTS) }
}

/// An attribute that is a text.
pub fn string(name: &str, value: &str) -> AttributeProto {
    AttributeProto { s: Some(value.as_bytes().to_vec()), ..attribute(name, attribute_type::STRING) }
}

/// An attribute that is a list of texts.
pub fn strings(name: &str, values: &[&str]) -> AttributeProto {
    let strings = values.iter().map(|value| value.as_bytes().to_vec()).collect();
    AttributeProto { strings, ..attribute(name, attribute_type::STRINGS) }
}

/// An attribute that is a list of f64, as a tensor.
pub fn doubles(name: &str, values: &[f64]) -> AttributeProto {
    let t = Some(tensor(name, &[values.len()], values));
    AttributeProto { t, ..attribute(name, attribute_type::TENSOR) }
}

fn attribute(name: &str, kind: i32) -> AttributeProto {
    AttributeProto { name: Some(name.to_owned()), r#type: Some(kind), ..AttributeProto::default() }
}

fn described(name: &str, columns: usize, doc: &str) -> ValueInfoProto {
    let rows = DimensionProto { dim_param: Some("N".to_owned()), ..DimensionProto::default() };
    let columns = DimensionProto { dim_value: Some(columns as i64), ..DimensionProto::default() };
    let shape = TensorShapeProto { dim: vec![rows, columns] };
    let tensor_type = TensorTypeProto { elem_type: Some(DOUBLE), shape: Some(shape) };
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto { tensor_type: Some(tensor_type) }),
        doc_string: doc.to_owned(),
    }
}
