//! Heads and encoders in forms that other programs run: ONNX, and one JSON document.
//!
//! A champion is first put together as plain numbers ([`Scorer`], [`Encoding`], [`Forest`]); both
//! forms and the reference that they are held against are made from these. The protobuf structs
//! ([`proto`]) are our own: the few fields we write, no compiler of `.proto` files. All tensors are
//! f64, so a runtime agrees with [`Scorer::score`] to rounding. What does not live here: reading the
//! store, and how anything is trained.

mod encoding;
mod forest;
pub mod graph;
pub mod proto;
mod scorer;

#[cfg(test)]
mod tests;

pub use encoding::{Activation, CodeMap, Encoding, Layer};
pub use forest::{Forest, Node, Tree};
pub use scorer::{Edge, Head, Preparation, Scored, Scorer, TREES};

/// Names as one text that any reader takes apart: a JSON list.
fn list(names: &[String]) -> String {
    serde_json::Value::from(names).to_string()
}
