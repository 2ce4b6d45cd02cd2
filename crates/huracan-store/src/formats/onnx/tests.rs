//! Champions put together by hand, against sums written out and the scaler they are fitted with.

use std::collections::{BTreeMap, BTreeSet};

use faer::Mat;
use huracan_core::encoder::{Scaler, WINSOR, missing_share_scaled};
use huracan_core::heads::trees::{self, BinEdges, Binned, TreesSpec};

use super::*;
use crate::formats::encoder::{EncoderFile, encoder_id};
use crate::formats::features::Features;
use crate::formats::head::{Calibration, HeadFile};
use crate::formats::tensors::Tensor;
use crate::formats::{from_bytes, to_bytes};
use crate::samples;

const FEATURES: usize = 3;
const COLUMNS: usize = 4;

fn features() -> Features {
    let mut features = samples::features("BTCUSDT");
    let mut share = features.recipe.columns[0].clone();
    share.name = "missing_share".to_owned();
    features.recipe.columns.push(share);
    features.recipe.own_columns = COLUMNS as u64;
    features.scaler.center.push(0.5);
    features.scaler.scale.push(0.5);
    features.features_id = features.recipe.id().unwrap();
    features
}

/// An encoder over these columns with other tensors; `codes` of them.
fn encoder(kind: &str, codes: u64, tensors: &[(&str, &[usize], &[f64])]) -> EncoderFile {
    let mut encoder = samples::encoder();
    encoder.tensors = tensors
        .iter()
        .map(|(name, shape, data)| {
            ((*name).to_owned(), Tensor { shape: shape.to_vec(), data: data.to_vec() })
        })
        .collect();
    let meaning = &mut encoder.card.meaning;
    meaning.encoder_type = kind.to_owned();
    meaning.n_components = codes;
    meaning.feature_names = features().recipe.columns.iter().map(|column| column.name.clone()).collect();
    meaning.center = vec![0.0, 0.1, 0.0, 0.0];
    meaning.scale = vec![1.1, 0.9, 1.0, 2.0];
    encoder.card.encoder_id = encoder_id(&encoder.card.meaning, &encoder.tensors).unwrap();
    encoder
}

fn pca() -> EncoderFile {
    encoder("pca", 2, &[("components", &[2, 4], &[0.6, 0.8, 0.0, 0.0, 0.0, 0.1, -0.7, 0.3])])
}

fn network() -> EncoderFile {
    let first: Vec<f64> = (0..12).map(|i| f64::from(i) / 6.0 - 1.0).collect();
    encoder(
        "autoencoder",
        2,
        &[
            ("encoder_0_weight", &[3, 4], &first),
            ("encoder_0_bias", &[3], &[0.1, -0.2, 0.0]),
            ("encoder_1_weight", &[2, 3], &[1.0, -1.0, 0.5, 0.25, 2.0, -0.75]),
            ("encoder_1_bias", &[2], &[0.05, -0.5]),
        ],
    )
}

fn head(encoder: Option<&EncoderFile>) -> HeadFile {
    let mut head = samples::head("BTCUSDT");
    let own = features().recipe.columns.into_iter().map(|column| column.name);
    let codes = encoder.map_or(0, |encoder| encoder.card.meaning.n_components);
    head.columns = (0..codes).map(|k| format!("code_{k}")).chain(own).collect();
    head.encoder_id = encoder.map(|encoder| encoder.card.encoder_id.clone());
    head.features_id = features().features_id;
    let weights = (0..head.columns.len()).map(|i| 0.3 - 0.1 * i as f64).collect();
    head.arrays = BTreeMap::from([
        ("weights".to_owned(), weights),
        ("scale".to_owned(), vec![1.1, 0.9, 1.0, 2.0]),
        ("intercept".to_owned(), vec![0.02]),
    ]);
    let parameters = [("bps_per_unit", 5e4), ("sigma_power", 1.0), ("sigma_half_life_bars", 24.0)];
    head.calibration = Calibration {
        kind: "linear".to_owned(),
        parameters: parameters.map(|(name, value)| (name.to_owned(), value)).into(),
    };
    head
}

fn scorer(encoder: Option<&EncoderFile>) -> Scorer {
    Scorer::of(&head(encoder), &features(), encoder, BTreeMap::new()).unwrap()
}

const ROWS: [[f64; FEATURES]; 4] = [
    [0.001, 0.02, 61.0],
    [f64::NAN, -0.03, 40.0],
    [1.0, f64::NEG_INFINITY, 50.5],
    [f64::NAN, f64::NAN, f64::NAN],
];

/// The scaled row as the Engine makes it.
fn scaled(row: &[f64]) -> Vec<f64> {
    let features = features();
    let (center, scale) = (&features.scaler.center, &features.scaler.scale);
    let scaler = Scaler { center: center[..FEATURES].to_vec(), scale: scale[..FEATURES].to_vec() };
    assert_eq!((features.recipe.winsor.low, features.recipe.winsor.high), (-WINSOR, WINSOR));
    let missing = row.iter().filter(|x| x.is_nan()).count();
    let each = row.iter().enumerate().map(|(j, &x)| scaler.apply(j, x));
    each.chain([missing_share_scaled(missing, FEATURES)]).collect()
}

#[test]
fn a_row_scores_as_the_engines_scaler_and_the_heads_formula_say() {
    let encoder = pca();
    let components = &encoder.tensors["components"].data;
    for row in ROWS {
        let z = scaled(&row);
        let meaning = &encoder.card.meaning;
        let v: Vec<f64> = (0..COLUMNS).map(|i| (z[i] - meaning.center[i]) / meaning.scale[i]).collect();
        let codes: Vec<f64> =
            (0..2).map(|k| (0..COLUMNS).map(|i| components[4 * k + i] * v[i]).sum()).collect();
        let own = z.iter().zip([1.1, 0.9, 1.0, 2.0]).map(|(z, scale)| z / scale);
        let columns = codes.iter().copied().chain(own).enumerate();
        let expected = columns.map(|(i, x)| (0.3 - 0.1 * i as f64) * x).sum::<f64>() + 0.02;
        let found = scorer(Some(&encoder)).score(&row, 0.01);
        assert!((found.score - expected).abs() < 1e-12, "{row:?}: {} {expected}", found.score);
        assert!(found.codes.iter().zip(&codes).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?} {codes:?}");
        assert!((found.edge_bps.unwrap() - expected * 5e4 * 0.01).abs() < 1e-9);
        assert_eq!(scorer(Some(&encoder)).score(&row, f64::NAN).edge_bps, None);
    }
}

#[test]
fn a_network_bends_between_its_layers_and_not_after_the_last() {
    let encoder = network();
    let encoding = Encoding::of(&encoder).unwrap();
    assert_eq!(encoding.map.codes(), 2);
    let z = scaled(&ROWS[0]);
    let meaning = &encoder.card.meaning;
    let v: Vec<f64> = (0..COLUMNS).map(|i| (z[i] - meaning.center[i]) / meaning.scale[i]).collect();
    let array = |name: &str| &encoder.tensors[name].data;
    let hidden: Vec<f64> = (0..3)
        .map(|h| {
            let sum: f64 = (0..COLUMNS).map(|i| array("encoder_0_weight")[4 * h + i] * v[i]).sum();
            (sum + array("encoder_0_bias")[h]).tanh()
        })
        .collect();
    for (k, found) in encoding.encode(&z).into_iter().enumerate() {
        let sum: f64 = (0..3).map(|h| array("encoder_1_weight")[3 * k + h] * hidden[h]).sum();
        assert!((found - sum - array("encoder_1_bias")[k]).abs() < 1e-12);
    }
}

/// Every graph that can be written.
fn graphs() -> Vec<proto::ModelProto> {
    let (pca, network) = (pca(), network());
    let mut trees = scorer(Some(&pca));
    trees.head.trees = Some(forest::tests::forest());
    let mut unscaled = scorer(None);
    unscaled.edge.as_mut().unwrap().sigma_half_life_bars = None;
    let mut plain = unscaled.clone();
    plain.edge = None;
    vec![
        scorer(Some(&pca)).to_onnx(),
        scorer(Some(&network)).to_onnx(),
        trees.to_onnx(),
        unscaled.to_onnx(),
        plain.to_onnx(),
        Encoding::of(&network).unwrap().to_onnx(),
    ]
}

#[test]
fn graphs_are_read_back_as_they_were_and_have_every_value_they_use() {
    for model in graphs() {
        let bytes = model.to_bytes();
        assert_eq!(proto::ModelProto::from_bytes(&bytes).unwrap(), model);
        let graph = model.graph.unwrap();
        let name = |name: &Option<String>| name.clone().unwrap();
        let given = graph.input.iter().map(|input| name(&input.name));
        let constants = graph.initializer.iter().map(|tensor| name(&tensor.name));
        let mut known: BTreeSet<String> = BTreeSet::new();
        assert!(given.chain(constants).all(|name| known.insert(name)));
        for node in &graph.node {
            assert!(node.input.iter().all(|input| known.contains(input)), "{node:?}");
            assert!(node.output.iter().all(|output| known.insert(output.clone())), "{node:?}");
        }
        assert!(graph.output.iter().all(|output| known.contains(&name(&output.name))));
        for tensor in &graph.initializer {
            let values: i64 = tensor.dims.iter().product();
            assert_eq!(tensor.raw_data.as_ref().unwrap().len() as i64, 8 * values, "{:?}", tensor.name);
        }
    }
    assert!(proto::ModelProto::from_bytes(b"not a graph").unwrap_err().contains("not an ONNX file"));
}

#[test]
fn only_a_label_in_units_of_sigma_asks_for_sigma() {
    let names = |values: &[proto::ValueInfoProto]| {
        values.iter().map(|value| value.name.clone().unwrap()).collect::<Vec<String>>()
    };
    let [pca, _, _, unscaled, plain, encoder] = graphs().try_into().unwrap();
    for (model, inputs, outputs) in [
        (pca, &["features", "sigma"][..], &["codes", "score", "edge_bps"][..]),
        (unscaled, &["features"], &["score", "edge_bps"]),
        (plain, &["features"], &["score"]),
        (encoder, &["scaled"], &["codes"]),
    ] {
        let graph = model.graph.unwrap();
        assert_eq!(
            (names(&graph.input), names(&graph.output)),
            (
                inputs.iter().map(|s| (*s).to_owned()).collect(),
                outputs.iter().map(|s| (*s).to_owned()).collect(),
            )
        );
    }
}

#[test]
fn the_json_form_survives_and_scores_the_same() {
    let mut scorer = scorer(Some(&network()));
    scorer.head.trees = Some(forest::tests::forest());
    let bytes = to_bytes(&scorer).unwrap();
    let back: Scorer = from_bytes("x", &bytes).unwrap();
    assert_eq!(back, scorer);
    assert_eq!(back.score(&ROWS[1], 0.01), scorer.score(&ROWS[1], 0.01));
    let encoding = Encoding::of(&pca()).unwrap();
    assert_eq!(from_bytes::<Encoding>("x", &to_bytes(&encoding).unwrap()).unwrap(), encoding);
}

#[test]
fn a_head_of_trees_needs_no_weights() {
    let mut head = head(None);
    head.kind = "trees".to_owned();
    let arrays: [(&str, &[f64]); 8] = [
        ("base", &[0.5]),
        ("nodes", &[1.0]),
        ("feature", &[2.0]),
        ("threshold", &[0.0]),
        ("missing_left", &[1.0]),
        ("left", &[-1.0]),
        ("right", &[-2.0]),
        ("value", &[-1.0, 2.0]),
    ];
    head.arrays = arrays.map(|(name, values)| (name.to_owned(), values.to_vec())).into();
    let scorer = Scorer::of(&head, &features(), None, BTreeMap::new()).unwrap();
    assert_eq!(ROWS.map(|row| scorer.score(&row, 1.0).score), [2.5, -0.5, -0.5, -0.5]);
    head.arrays.get_mut("feature").unwrap()[0] = 4.0;
    let error = Scorer::of(&head, &features(), None, BTreeMap::new()).unwrap_err().to_string();
    assert!(error.contains("tree 0: node 0 asks column 4"), "{error}");
}

#[test]
fn fitted_trees_score_as_they_do_themselves() {
    let value = |row: usize, j: usize| match (row * 7 + j * 13) % 11 {
        0 => f64::NAN,
        k => (k as f64 - 5.0) * (1.0 + 0.01 * row as f64),
    };
    let rows = Mat::from_fn(400, COLUMNS, value);
    let target: Vec<f64> =
        (0..400).map(|row| value(row, 1).max(-1.0) + 0.1 * value(row, 3).max(0.0)).collect();
    let edges = BinEdges::fit(rows.as_ref());
    let binned = Binned::from_rows(&edges, rows.as_ref()).unwrap();
    let spec = TreesSpec { rounds: 20, min_leaf_weight: 10.0, min_gain: 0.0, ..TreesSpec::default() };
    let trees = trees::fit(&binned, &target, None, None, None, &spec).unwrap();
    assert!(trees.rounds() > 5);
    let arrays = trees.to_arrays().into_iter().map(|(name, values)| (name.to_owned(), values)).collect();
    let forest = Forest::of(&arrays).unwrap();
    assert_eq!(forest.check(COLUMNS), Ok(()));
    let mut distinct = BTreeSet::new();
    for row in 0..400 {
        let row: Vec<f64> = (0..COLUMNS).map(|j| value(row, j)).collect();
        let (found, expected) = (forest.score(&row), trees.score(&row).unwrap());
        assert!((found - expected).abs() < 1e-12, "{row:?}: {found} {expected}");
        distinct.insert(found.to_bits());
    }
    assert!(distinct.len() > 5);
}

#[test]
fn parts_that_do_not_fit_are_refused() {
    let check = |spoil: fn(&mut HeadFile, &mut Features, &mut EncoderFile), says: &str| {
        let (mut head, mut features, mut encoder) = (head(Some(&pca())), features(), pca());
        spoil(&mut head, &mut features, &mut encoder);
        let error = Scorer::of(&head, &features, Some(&encoder), BTreeMap::new()).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    };
    check(|h, _, _| h.kind = "forest".into(), "kind is \"forest\"");
    check(|h, _, _| h.encoder_id = Some("00".repeat(8)), "encoder is");
    check(|h, _, _| drop(h.arrays.remove("scale")), "no scale");
    check(|h, _, _| h.arrays.get_mut("scale").unwrap()[0] = 0.0, "head.scale");
    check(|h, _, _| h.arrays.get_mut("weights").unwrap().truncate(2), "head.weights has 2");
    check(|h, _, _| h.columns.swap(2, 3), "own columns");
    check(|_, f, _| f.recipe.fill.when = "never".into(), "fill.when");
    check(|_, f, _| f.recipe.columns.swap(0, 3), "missing_share is among");
    check(|_, _, e| e.card.meaning.feature_names.swap(0, 1), "other features");
    check(|_, _, e| e.tensors.get_mut("components").unwrap().shape = vec![8], "expected two axes");
    check(|_, _, e| e.tensors.clear(), "expected components");
    check(|_, _, e| e.card.meaning.n_components = 3, "n_components has 3");
    check(
        |_, _, e| {
            let (mut broken, other) = (e.clone(), network());
            broken.tensors = other.tensors;
            broken.tensors.remove("encoder_1_bias");
            *e = broken;
        },
        "no encoder_1_bias",
    );
}
