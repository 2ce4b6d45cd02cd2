//! `huracan export SYMBOL`: a champion, or the shared encoder, in a form that other programs run.

use super::{Global, Output, World, settings, symbols};
use crate::failure::Failure;
use crate::table::{Align, Table};
use crate::wiring;
use clap::{Args, ValueEnum};
use huracan_core::words::Symbol;
use serde::Serialize;
use serde_json::json;
use std::path::PathBuf;

/// Flags of `export`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
A head is written whole: scaling, winsorising and filling of raw features, the encoder it was
trained with, its weights, and the step from score to basis points. Nothing of Huracan is needed
to run it.

  onnx      for onnxruntime and others; f64, rows first: features [N, q], NaN where missing, and
            sigma [N, 1] where the edge needs it -> codes [N, k], score [N, 1], edge_bps [N, 1];
            names and origin are in the file's metadata
  json      the same numbers as one document, to be computed by hand
  lightgbm  LightGBM's own text, for heads that are trees; it reads the head's columns, which the
            json form says how to make

With --encoder the file maps features after a coin's own scaler to codes: scaled [N, p] -> codes
[N, k]. The encoder's pickle for Python is in the store already: meta/shared_encoder.pkl.

Examples:
  huracan export BTCUSDT --format onnx
  huracan export BTCUSDT.P --format json --out btc.json
  huracan export --encoder --format onnx --out encoder.onnx
  huracan export ETH/USDT:USDT --format onnx --store /data/huracan-store --json")]
pub struct ExportArgs {
    /// The coin: BTCUSDT (spot), BTCUSDT.P (perpetual), BTC/USDT, BTC/USDT:USDT
    #[arg(value_name = "SYMBOL", required_unless_present = "encoder")]
    pub symbol: Option<String>,
    /// The shared encoder in force alone, instead of a coin's head
    #[arg(long, conflicts_with = "symbol")]
    pub encoder: bool,
    /// Form of the file: onnx, lightgbm, json
    #[arg(long, value_name = "FORM", hide_possible_values = true)]
    pub format: Form,
    /// The file [default: SYMBOL or encoder, with the form's ending, here]; written over if it is there
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Form of an exported file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// An ONNX graph.
    Onnx,
    /// LightGBM's text.
    Lightgbm,
    /// One JSON document.
    Json,
}

impl Form {
    /// The word on the command line.
    pub fn code(self) -> &'static str {
        match self {
            Form::Onnx => "onnx",
            Form::Lightgbm => "lightgbm",
            Form::Json => "json",
        }
    }

    /// Ending of a file of this form, without the dot.
    pub fn ending(self) -> &'static str {
        match self {
            Form::Onnx => "onnx",
            Form::Lightgbm => "txt",
            Form::Json => "json",
        }
    }
}

/// What is to be exported.
#[derive(Clone, Debug, PartialEq)]
pub struct ExportRequest {
    /// Folder of results.
    pub store: PathBuf,
    /// The symbols one name may mean, likeliest first; `None` is the encoder in force.
    pub names: Option<Vec<Symbol>>,
    /// Form of the file.
    pub format: Form,
    /// Where to; `None` is here, under a name of its own.
    pub out: Option<PathBuf>,
}

/// What was exported.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExportView {
    /// The coin, or `encoder`.
    pub subject: String,
    /// Form of the file.
    pub format: Form,
    /// The file.
    pub path: String,
    /// Its size.
    pub size_bytes: u64,
    /// Its SHA-256.
    pub sha256: String,
    /// What it is of: by name, as texts.
    pub facts: Vec<(String, String)>,
}

/// Runs the command.
///
/// # Errors
/// What the store refuses, a name without a champion, a form that does not fit, a file that cannot be
/// written.
pub fn run(args: &ExportArgs, global: &Global, world: &World) -> Result<Output, Failure> {
    let names = match &args.symbol {
        Some(text) => {
            let loaded = settings::load(global, world, Vec::new())?;
            Some(symbols::candidates(text, loaded.config.market)?)
        }
        None => None,
    };
    let store = settings::store(global, world)?;
    let request = ExportRequest { store, names, format: args.format, out: args.out.clone() };
    let view = wiring::export(&request)?;
    Ok(Output::ok(text(&view, world.width), json!({"schema": "huracan-cli-export/1", "export": view})))
}

fn text(view: &ExportView, width: Option<usize>) -> String {
    let mut table = Table::new(&[("figure", Align::Left), ("value", Align::Left)]);
    for (what, value) in &view.facts {
        table.row([what.clone(), value.clone()]);
    }
    let sizes = format!("{} bytes, sha256 {}", view.size_bytes, view.sha256);
    format!("{} written to {} ({sizes})\n\n{}", view.subject, view.path, table.render(width))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_names_file_and_facts() {
        let view = ExportView {
            subject: "BTCUSDT.P".into(),
            format: Form::Onnx,
            path: "BTCUSDT.P.onnx".into(),
            size_bytes: 7,
            sha256: "ab".into(),
            facts: vec![("encoder".into(), "0123".into())],
        };
        let text = text(&view, None);
        assert!(text.starts_with("BTCUSDT.P written to BTCUSDT.P.onnx (7 bytes, sha256 ab)\n"), "{text}");
        assert!(text.contains("encoder  0123"), "{text}");
    }
}
