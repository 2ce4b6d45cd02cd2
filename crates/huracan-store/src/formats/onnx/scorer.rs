//! One coin's champion from raw features to an edge, on its own: what `features.json`, `model.bin`
//! and the encoder say together, in one document that other programs can run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::Document;
use super::super::check::{self, Checked};
use super::super::encoder::EncoderFile;
use super::super::features::Features;
use super::super::head::HeadFile;
use super::encoding::Encoding;
use super::forest::Forest;
use super::graph::{Graph, Value, int, ints};
use super::proto::{DOUBLE, ModelProto};
use crate::error::{Result, StoreError};

/// The recipe's last column, made from all others: the share of them that is missing.
const MISSING_SHARE: &str = "missing_share";
/// A head that is `weights · columns + intercept`.
const RIDGE: &str = "ridge";
/// The kind of a head that is trees over its columns; where it has weights too, both are added.
pub const TREES: &str = "trees";

/// A champion on its own.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Scorer {
    /// What it is of and where it is from, by key.
    pub about: BTreeMap<String, String>,
    /// From raw features to the scaled row `z`.
    pub preparation: Preparation,
    /// From `z` to codes, where the head has codes.
    pub encoder: Option<Encoding>,
    /// From codes and `z` to the score.
    pub head: Head,
    /// From the score to bps, where the head's calibration says how.
    pub edge: Option<Edge>,
}

/// `z = clip((x − center) / scale, low, high)`, the fill where `x` is missing; then the share of
/// missing features, scaled, as one more column.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Preparation {
    /// The raw features, in the order they are given.
    pub feature_names: Vec<String>,
    /// Taken from each.
    pub center: Vec<f64>,
    /// Each is divided by it; more than zero.
    pub scale: Vec<f64>,
    /// Lowest value kept.
    pub low: f64,
    /// Highest value kept.
    pub high: f64,
    /// What a missing value is.
    pub fill: f64,
    /// Centre and scale of the missing share, where the recipe has that column.
    pub missing_share: Option<(f64, f64)>,
}

/// `score = weights · [codes, z / scale] + intercept`, plus the trees over the same columns.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Head {
    /// `ridge`, …
    pub kind: String,
    /// Names of its columns: codes, then the coin's own.
    pub columns: Vec<String>,
    /// Each column of `z` is divided by it; more than zero.
    pub scale: Vec<f64>,
    /// One a column.
    pub weights: Vec<f64>,
    /// Added to every score.
    pub intercept: f64,
    /// Trees whose values are added.
    pub trees: Option<Forest>,
}

/// `edge_bps = score · bps_per_unit`, times σ where the label is in units of it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Edge {
    /// Basis points a unit of score.
    pub bps_per_unit: f64,
    /// Half-life in bars of the EWMA of squared returns whose root is σ; `None` where the score is in
    /// no need of σ.
    pub sigma_half_life_bars: Option<f64>,
    /// Edge above which a position is entered.
    pub decision_threshold_bps: f64,
}

/// What comes of one row.
#[derive(Clone, PartialEq, Debug)]
pub struct Scored {
    /// Codes of the shared encoder; none without one.
    pub codes: Vec<f64>,
    /// The score in label units.
    pub score: f64,
    /// The edge in bps, where it is defined.
    pub edge_bps: Option<f64>,
}

impl Scorer {
    /// Puts a champion together. `about` is passed on as it is.
    ///
    /// # Errors
    /// `Refused` when the parts do not fit each other or are of a kind that is not exported.
    pub fn of(
        head: &HeadFile,
        features: &Features,
        encoder: Option<&EncoderFile>,
        about: BTreeMap<String, String>,
    ) -> Result<Scorer> {
        let refused = |reason: String| StoreError::refused(format!("the export of {}", head.symbol), reason);
        let preparation = Preparation::of(features).map_err(refused)?;
        let encoder = encoder.map(Encoding::of).transpose()?;
        check::that(head.encoder_id.as_ref() == encoder.as_ref().map(|e| &e.encoder_id), || {
            let found = encoder.as_ref().map(|e| e.encoder_id.clone());
            format!("its encoder is {:?}, found {found:?}", head.encoder_id)
        })
        .map_err(refused)?;
        let own_columns = preparation.columns().len();
        let scorer = Scorer {
            about,
            preparation,
            encoder,
            head: Head::of(head, own_columns).map_err(refused)?,
            edge: Edge::of(head),
        };
        scorer.check().map_err(refused)?;
        Ok(scorer)
    }

    /// What comes of one row of raw features, NaN where missing. `sigma` is the bar volatility as a
    /// fraction; NaN where it is not known.
    pub fn score(&self, row: &[f64], sigma: f64) -> Scored {
        let z = self.preparation.apply(row);
        let codes = self.encoder.as_ref().map_or_else(Vec::new, |encoder| encoder.encode(&z));
        let score = self.head.score(&codes, &z);
        let edge_bps = self.edge.as_ref().map(|edge| edge.bps(score, sigma)).filter(|bps| !bps.is_nan());
        Scored { codes, score, edge_bps }
    }

    /// The champion as a graph: `features` [N, q] raw, NaN where missing, and `sigma` [N, 1] where the
    /// edge needs it → `codes` [N, k] where there is an encoder, `score` [N, 1], and `edge_bps` [N, 1]
    /// where there is a calibration.
    pub fn to_onnx(&self) -> ModelProto {
        let doc = "one coin's head from raw features to its score in label units and its edge in bps";
        let mut graph = Graph::new("huracan_head", doc);
        let given = "raw features as in feature_names; NaN where missing";
        let features = graph.input("features", self.preparation.feature_names.len(), given);
        let z = self.preparation.build(&mut graph, &features);
        let codes = self.encoder.as_ref().map(|encoder| {
            let codes = encoder.build(&mut graph, &z);
            graph.output(&codes, "codes", encoder.map.codes(), "codes of the shared encoder");
            codes
        });
        let score = self.head.build(&mut graph, codes.as_ref(), &z);
        graph.output(&score, "score", 1, "expected label, in label units");
        if let Some(edge) = &self.edge {
            let bps = edge.build(&mut graph, &score);
            graph.output(&bps, "edge_bps", 1, "expected gross edge of a position, in basis points");
        }
        let mut texts = self.about.clone();
        texts.insert("feature_names".to_owned(), super::list(&self.preparation.feature_names));
        texts.insert("columns".to_owned(), super::list(&self.head.columns));
        if let Some(encoder) = &self.encoder {
            texts.insert("encoder_id".to_owned(), encoder.encoder_id.clone());
            texts.insert("encoder_type".to_owned(), encoder.encoder_type.clone());
        }
        if let Some(edge) = &self.edge {
            texts.insert("decision_threshold_bps".to_owned(), edge.decision_threshold_bps.to_string());
            if let Some(bars) = edge.sigma_half_life_bars {
                texts.insert("sigma_half_life_bars".to_owned(), bars.to_string());
            }
        }
        graph.model(&texts)
    }
}

impl Document for Scorer {
    const NAME: &'static str = "exported_head";

    fn check(&self) -> Checked {
        self.preparation.check()?;
        let columns = self.preparation.columns();
        let mut codes = 0;
        if let Some(encoder) = &self.encoder {
            encoder.check()?;
            codes = encoder.map.codes();
            check::that(encoder.feature_names == columns, || {
                "the encoder reads other features than the recipe makes, expected the same".to_owned()
            })?;
        }
        let head = &self.head;
        check::same_len("head.scale", head.scale.len(), "the recipe's columns", columns.len())?;
        head.scale.iter().try_for_each(|&s| check::positive("a value of head.scale", s))?;
        check::same_len("head.columns", head.columns.len(), "codes and columns", codes + columns.len())?;
        check::that(head.columns[codes..] == columns, || {
            "the head's own columns are not the recipe's, expected the same in the same order".to_owned()
        })?;
        check::same_len("head.weights", head.weights.len(), "head.columns", head.columns.len())?;
        head.trees.iter().try_for_each(|trees| trees.check(head.columns.len()))
    }
}

impl Preparation {
    fn of(features: &Features) -> std::result::Result<Preparation, String> {
        let (recipe, scaler) = (&features.recipe, &features.scaler);
        let word = |what: &str, found: &str, expected: &str| {
            check::that(found == expected, || format!("{what} is {found:?}, expected {expected:?}"))
        };
        word("fill.when", &recipe.fill.when, "after_scaling")?;
        word("winsor.unit", &recipe.winsor.unit, "mad_sigma")?;
        let mut feature_names: Vec<String> = recipe.columns.iter().map(|c| c.name.clone()).collect();
        let (mut center, mut scale) = (scaler.center.clone(), scaler.scale.clone());
        let mut missing_share = None;
        if feature_names.last().is_some_and(|name| name == MISSING_SHARE) {
            feature_names.pop();
            missing_share = center.pop().zip(scale.pop());
        }
        let (low, high, fill) = (recipe.winsor.low, recipe.winsor.high, recipe.fill.value);
        Ok(Preparation { feature_names, center, scale, low, high, fill, missing_share })
    }

    /// Names of the columns of `z`.
    fn columns(&self) -> Vec<String> {
        let share = self.missing_share.map(|_| MISSING_SHARE.to_owned());
        self.feature_names.iter().cloned().chain(share).collect()
    }

    fn check(&self) -> Checked {
        check::that(!self.feature_names.is_empty(), || "there is no feature, expected one".to_owned())?;
        check::distinct("feature_names", self.feature_names.iter().map(String::as_str))?;
        check::that(self.feature_names.iter().all(|name| name != MISSING_SHARE), || {
            format!("{MISSING_SHARE} is among the features, expected it last or not at all")
        })?;
        let features = self.feature_names.len();
        check::same_len("center", self.center.len(), "feature_names", features)?;
        check::same_len("scale", self.scale.len(), "feature_names", features)?;
        let share = self.missing_share.map(|(_, scale)| scale);
        self.scale.iter().copied().chain(share).try_for_each(|s| check::positive("a value of scale", s))?;
        check::that(self.low < self.high, || {
            format!("winsor is {} to {}, expected low below high", self.low, self.high)
        })
    }

    /// The scaled row `z` of a raw one.
    fn apply(&self, row: &[f64]) -> Vec<f64> {
        let each = row.iter().zip(&self.center).zip(&self.scale);
        let scaled = |((x, center), scale): ((&f64, &f64), &f64)| {
            if x.is_nan() { self.fill } else { ((x - center) / scale).max(self.low).min(self.high) }
        };
        let missing = row.iter().filter(|x| x.is_nan()).count() as f64 / row.len().max(1) as f64;
        let share = self.missing_share.map(|(center, scale)| (missing - center) / scale);
        each.map(scaled).chain(share).collect()
    }

    fn build(&self, graph: &mut Graph, features: &Value) -> Value {
        let center = graph.row("center", &self.center);
        let scale = graph.row("scale", &self.scale);
        let (low, high) = (graph.number("winsor_low", self.low), graph.number("winsor_high", self.high));
        let fill = graph.number("fill", self.fill);
        let centred = graph.node("Sub", &[features, &center], Vec::new());
        let scaled = graph.node("Div", &[&centred, &scale], Vec::new());
        let clipped = graph.node("Clip", &[&scaled, &low, &high], Vec::new());
        let is_missing = graph.node("IsNaN", &[features], Vec::new());
        let filled = graph.node("Where", &[&is_missing, &fill, &clipped], Vec::new());
        let Some((center, scale)) = self.missing_share else { return filled };
        let missing = graph.node("Cast", &[&is_missing], vec![int("to", DOUBLE.into())]);
        let share = graph.node("ReduceMean", &[&missing], vec![ints("axes", vec![1]), int("keepdims", 1)]);
        let (center, scale) =
            (graph.number("missing_share_center", center), graph.number("missing_share_scale", scale));
        let share = graph.node("Sub", &[&share, &center], Vec::new());
        let share = graph.node("Div", &[&share, &scale], Vec::new());
        graph.node("Concat", &[&filled, &share], vec![int("axis", 1)])
    }
}

impl Head {
    /// The head of a file; `own_columns` of its columns are not codes.
    fn of(head: &HeadFile, own_columns: usize) -> std::result::Result<Head, String> {
        let is_trees = match head.kind.as_str() {
            RIDGE => false,
            TREES => true,
            other => return Err(format!("its kind is {other:?}, expected {RIDGE:?} or {TREES:?}")),
        };
        let array = |name: &str, absent: (usize, f64)| match head.arrays.get(name) {
            Some(values) => Ok(values.clone()),
            None if is_trees => Ok(vec![absent.1; absent.0]),
            None => Err(format!("it has no {name}, expected one")),
        };
        let intercept = array("intercept", (1, 0.0))?;
        check::same_len("intercept", intercept.len(), "scores", 1)?;
        Ok(Head {
            kind: head.kind.clone(),
            columns: head.columns.clone(),
            scale: array("scale", (own_columns, 1.0))?,
            weights: array("weights", (head.columns.len(), 0.0))?,
            intercept: intercept[0],
            trees: is_trees.then(|| Forest::of(&head.arrays)).transpose()?,
        })
    }

    fn score(&self, codes: &[f64], z: &[f64]) -> f64 {
        let own = z.iter().zip(&self.scale).map(|(z, scale)| z / scale);
        let columns: Vec<f64> = codes.iter().copied().chain(own).collect();
        let linear = self.weights.iter().zip(&columns).map(|(w, x)| w * x).sum::<f64>() + self.intercept;
        linear + self.trees.as_ref().map_or(0.0, |trees| trees.score(&columns))
    }

    fn build(&self, graph: &mut Graph, codes: Option<&Value>, z: &Value) -> Value {
        let scale = graph.row("head_scale", &self.scale);
        let weights = graph.constant("weights", &[self.weights.len(), 1], &self.weights);
        let intercept = graph.number("intercept", self.intercept);
        let own = graph.node("Div", &[z, &scale], Vec::new());
        let columns = match codes {
            Some(codes) => graph.node("Concat", &[codes, &own], vec![int("axis", 1)]),
            None => own,
        };
        let product = graph.node("MatMul", &[&columns, &weights], Vec::new());
        let linear = graph.node("Add", &[&product, &intercept], Vec::new());
        let Some(trees) = &self.trees else { return linear };
        let trees = trees.build(graph, &columns);
        graph.node("Add", &[&linear, &trees], Vec::new())
    }
}

impl Edge {
    /// Only a `linear` calibration is a factor; with another there is a score and no edge.
    fn of(head: &HeadFile) -> Option<Edge> {
        let parameter = |name: &str| head.calibration.parameters.get(name).copied();
        let bps_per_unit = parameter("bps_per_unit").filter(|_| head.calibration.kind == "linear")?;
        let sigma_half_life_bars = match parameter("sigma_power")? {
            0.0 => None,
            1.0 => Some(parameter("sigma_half_life_bars")?),
            _ => return None,
        };
        let decision_threshold_bps = head.decision_threshold_bps;
        Some(Edge { bps_per_unit, sigma_half_life_bars, decision_threshold_bps })
    }

    fn bps(&self, score: f64, sigma: f64) -> f64 {
        score * self.bps_per_unit * if self.sigma_half_life_bars.is_some() { sigma } else { 1.0 }
    }

    fn build(&self, graph: &mut Graph, score: &Value) -> Value {
        let factor = graph.number("bps_per_unit", self.bps_per_unit);
        let bps = graph.node("Mul", &[score, &factor], Vec::new());
        if self.sigma_half_life_bars.is_none() {
            return bps;
        }
        let given = "bar volatility as a fraction: root of the EWMA of squared log returns";
        let sigma = graph.input("sigma", 1, given);
        graph.node("Mul", &[&bps, &sigma], Vec::new())
    }
}
