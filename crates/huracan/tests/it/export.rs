//! Exported heads and encoders: what is in the files, and whether onnxruntime and plain Python make
//! of them what we do.

use crate::market::{files, fresh, trained};
use crate::run::{Ran, huracan_in};
use huracan_core::words::{Seed, Symbol, UtcMs};
use huracan_store::champions::Nomination;
use huracan_store::formats::champion::PromotedBy;
use huracan_store::formats::encoder::{EncoderCard, EncoderFile, Meaning, encoder_id};
use huracan_store::formats::from_bytes;
use huracan_store::formats::manifest::Lineage;
use huracan_store::formats::onnx::proto::{ModelProto, ValueInfoProto};
use huracan_store::formats::onnx::{Activation, CodeMap, Encoding, Forest, Layer, Node, Scorer, Tree};
use huracan_store::formats::tensors::Tensor;
use huracan_store::formats::wire::Span;
use huracan_store::models::{self, ModelArtifacts, ModelFolder};
use huracan_store::{LocalStore, StorePath, champions, encoder};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const CODES: usize = 5;

/// A copy of the trained store in which Bitcoin's champion has codes and Ether's is trees, whatever
/// the run thought of them.
fn store() -> &'static Path {
    static STORE: OnceLock<PathBuf> = OnceLock::new();
    STORE.get_or_init(|| {
        let folder = fresh("export_store");
        copy(trained(), &folder);
        let opened = LocalStore::open(&folder).unwrap();
        remake(&opened, &"BTCUSDT.P".parse().unwrap(), give_codes);
        remake(&opened, &"ETHUSDT.P".parse().unwrap(), give_trees);
        folder
    })
}

fn copy(store: &Path, into: &Path) {
    for (name, bytes) in files(store, &["runs"]) {
        let path = into.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

/// Makes another model of a coin's champion, and makes that the champion.
fn remake(store: &LocalStore, symbol: &Symbol, change: fn(&LocalStore, &mut ModelArtifacts, &mut Lineage)) {
    let (champion, revision) = champions::read(store, symbol).unwrap().unwrap();
    let model = models::read_model(store, &StorePath::new(champion.model_path).unwrap()).unwrap();
    let (mut artifacts, mut lineage) = (model.artifacts, model.manifest.lineage);
    change(store, &mut artifacts, &mut lineage);
    let at = champion.updated_at.0;
    let written =
        models::write_model_folder(store, ModelFolder::Challenger(at), &artifacts, &lineage).unwrap();
    let nomination = Nomination {
        model_path: written.path,
        trade_ok: false,
        promoted_by: PromotedBy::Operator,
        at,
        expires_at: champion.expires_at.0,
    };
    champions::point(store, &nomination, Some(&revision)).unwrap();
}

/// A plain head over the coin's own features, whatever the run has deployed.
fn take_codes(artifacts: &mut ModelArtifacts, lineage: &mut Lineage) {
    let names: Vec<String> = artifacts.features.recipe.columns.iter().map(|c| c.name.clone()).collect();
    let p = names.len();
    artifacts.features.recipe.shared_codes = 0;
    let features_id = artifacts.features.recipe.id().unwrap();
    artifacts.features.features_id = features_id.clone();
    let head = &mut artifacts.head;
    let own = head.arrays.get("weights").map_or_else(|| vec![0.01; p], |w| w[w.len() - p..].to_vec());
    let scale = head.arrays.get("scale").cloned().unwrap_or_else(|| vec![1.0; p]);
    head.kind = "ridge".to_owned();
    head.arrays = BTreeMap::from([
        ("weights".to_owned(), own),
        ("scale".to_owned(), scale),
        ("mean".to_owned(), vec![0.0; p]),
        ("intercept".to_owned(), vec![0.02]),
    ]);
    (head.columns, head.encoder_id, head.features_id) = (names, None, features_id.clone());
    (lineage.features_id, lineage.encoder_id) = (features_id, None);
}

fn give_codes(store: &LocalStore, artifacts: &mut ModelArtifacts, lineage: &mut Lineage) {
    take_codes(artifacts, lineage);
    let names: Vec<String> = artifacts.features.recipe.columns.iter().map(|c| c.name.clone()).collect();
    let encoder = encoder_of(names, &artifacts.head.arrays["scale"], lineage.first_bar.0);
    encoder::publish(store, &encoder).unwrap();

    artifacts.features.recipe.shared_codes = CODES as u64;
    let features_id = artifacts.features.recipe.id().unwrap();
    artifacts.features.features_id = features_id.clone();
    let head = &mut artifacts.head;
    head.features_id = features_id.clone();
    head.encoder_id = Some(encoder.card.encoder_id.clone());
    head.columns = (0..CODES).map(|k| format!("code_{k}")).chain(head.columns.clone()).collect();
    let weights = (0..CODES).map(|k| 0.02 * noise(k)).chain(head.arrays["weights"].clone()).collect();
    head.arrays.insert("weights".to_owned(), weights);
    (lineage.features_id, lineage.encoder_id) = (features_id, head.encoder_id.clone());
}

fn give_trees(_: &LocalStore, artifacts: &mut ModelArtifacts, lineage: &mut Lineage) {
    take_codes(artifacts, lineage);
    let arrays: [(&str, &[f64]); 10] = [
        ("base", &[0.01]),
        ("features", &[artifacts.head.columns.len() as f64]),
        ("nodes", &[2.0, 1.0, 0.0]),
        ("feature", &[3.0, 0.0, 7.0]),
        ("threshold", &[0.25, -0.5, 0.0]),
        ("missing_left", &[1.0, 0.0, 1.0]),
        ("left", &[1.0, -1.0, -1.0]),
        ("right", &[-3.0, -2.0, -2.0]),
        ("gain", &[3.0, 2.0, 1.0]),
        ("value", &[0.1, -0.2, 0.3, -0.04, 0.05, 0.002]),
    ];
    artifacts.head.kind = "trees".to_owned();
    artifacts.head.arrays = arrays.map(|(name, values)| (name.to_owned(), values.to_vec())).into();
}

fn encoder_of(feature_names: Vec<String>, scale: &[f64], at: UtcMs) -> EncoderFile {
    let p = feature_names.len();
    let data = (0..CODES * p).map(|i| noise((1 << 30) + i) / (p as f64).sqrt()).collect();
    let tensors = BTreeMap::from([("components".to_owned(), Tensor { shape: vec![CODES, p], data })]);
    let meaning = Meaning {
        encoder_type: "pca".to_owned(),
        n_components: CODES as u64,
        feature_names,
        center: vec![0.0; p],
        scale: scale.to_vec(),
        parameters: BTreeMap::from([("winsor_sigmas".to_owned(), 6.0)]),
    };
    let card = EncoderCard {
        encoder_id: encoder_id(&meaning, &tensors).unwrap(),
        meaning,
        explained_variance_ratio: Vec::new(),
        fit_window: Span { from: at.into(), until: UtcMs(at.0 + UtcMs::DAY).into() },
        symbols: Vec::new(),
        trained_at: at.into(),
        valid_until: UtcMs(at.0 + UtcMs::DAY).into(),
        training_loss: None,
    };
    EncoderFile { card, tensors }
}

/// `huracan export` of that store, in a folder of its own.
fn export(place: &Path, arguments: &[&str]) -> Ran {
    let store = ["--store", store().to_str().unwrap()];
    huracan_in(place, &[&["export"], arguments, &store[..]].concat(), &[])
}

/// A number below 1, of either sign, that only depends on its place.
fn noise(at: usize) -> f64 {
    Seed(7).child("export", at as u64).0 as f64 / u64::MAX as f64 * 2.0 - 1.0
}

/// Symbols of the champions, those with codes first.
fn symbols() -> Vec<(String, bool)> {
    let opened = LocalStore::open(store()).unwrap();
    let with_codes = |symbol| champions::read(&opened, symbol).unwrap().unwrap().0.encoder_id.is_some();
    let mut found: Vec<(String, bool)> =
        champions::list(&opened).unwrap().iter().map(|s| (s.to_string(), with_codes(s))).collect();
    found.sort_by_key(|(_, with_codes)| !with_codes);
    found
}

fn scorer(place: &Path, symbol: &str) -> Scorer {
    let ran = export(place, &[symbol, "--format", "json", "--out", "head.json"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    from_bytes("head.json", &std::fs::read(place.join("head.json")).unwrap()).unwrap()
}

/// Raw rows about the coin's own centre: calm ones, wild ones, and some values missing.
fn rows(scorer: &Scorer, count: usize) -> Vec<Vec<f64>> {
    let preparation = &scorer.preparation;
    let features = preparation.feature_names.len();
    let value = |row: usize, j: usize| {
        let at = row * features + j;
        let missing = noise(at + (1 << 40)) < [-2.0, -0.8, 0.0, 2.0][row % 4] && (row % 4 != 3 || row < 8);
        let wild = if row.is_multiple_of(5) { 20.0 } else { 2.0 };
        let scale = preparation.scale[j].min(1e3);
        if (row, j) == (1, 0) {
            return f64::NEG_INFINITY;
        }
        if missing { f64::NAN } else { preparation.center[j] + wild * scale * noise(at) }
    };
    (0..count).map(|row| (0..features).map(|j| value(row, j)).collect()).collect()
}

/// What Python's json reads.
fn matrix(rows: &[Vec<f64>]) -> String {
    let number = |x: &f64| match (x.is_nan(), x.is_infinite()) {
        (true, _) => "NaN".to_owned(),
        (_, true) => format!("{}Infinity", if *x < 0.0 { "-" } else { "" }),
        _ => format!("{x:e}"),
    };
    let line = |row: &Vec<f64>| format!("[{}]", row.iter().map(number).collect::<Vec<String>>().join(","));
    format!("[{}]", rows.iter().map(line).collect::<Vec<String>>().join(","))
}

fn cases(inputs: &[(&str, Vec<Vec<f64>>)], outputs: &[(&str, Vec<Vec<f64>>)]) -> String {
    let part = |values: &[(&str, Vec<Vec<f64>>)]| {
        let named = values.iter().map(|(name, rows)| format!("\"{name}\":{}", matrix(rows)));
        named.collect::<Vec<String>>().join(",")
    };
    let mut text = String::new();
    write!(text, "{{\"inputs\":{{{}}},\"outputs\":{{{}}}}}", part(inputs), part(outputs)).unwrap();
    text
}

/// What a head should give for its rows, by the reference.
fn head_cases(scorer: &Scorer) -> String {
    let rows = rows(scorer, 60);
    let sigma: Vec<Vec<f64>> = (0..rows.len()).map(|row| vec![0.01 + 0.005 * noise(row)]).collect();
    let scored: Vec<_> = rows.iter().zip(&sigma).map(|(row, sigma)| scorer.score(row, sigma[0])).collect();
    let mut inputs = vec![("features", rows)];
    let mut outputs = vec![("score", scored.iter().map(|s| vec![s.score]).collect::<Vec<_>>())];
    if scorer.encoder.is_some() {
        outputs.push(("codes", scored.iter().map(|s| s.codes.clone()).collect()));
    }
    if let Some(edge) = &scorer.edge {
        outputs.push(("edge_bps", scored.iter().map(|s| vec![s.edge_bps.unwrap()]).collect()));
        inputs.extend(edge.sigma_half_life_bars.map(|_| ("sigma", sigma)));
    }
    cases(&inputs, &outputs)
}

fn encoder_cases(encoding: &Encoding) -> String {
    let features = encoding.feature_names.len();
    let row = |row: usize| (0..features).map(|j| 6.0 * noise(row * features + j)).collect::<Vec<f64>>();
    let rows: Vec<Vec<f64>> = (0..40).map(row).collect();
    let codes = rows.iter().map(|row| encoding.encode(row)).collect();
    cases(&[("scaled", rows)], &[("codes", codes)])
}

/// The Python to ask, where it has these modules: `HURACAN_PEER_PYTHON`, else `python3`.
fn python(modules: &str) -> Option<String> {
    let python = std::env::var("HURACAN_PEER_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let found = Command::new(&python).args(["-c", &format!("import {modules}")]).output();
    if found.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    println!("skipped: {python} has no {modules} here");
    None
}

/// Asks a script of `peers/` whether a file gives what the cases say.
fn peer(python: &str, script: &str, file: &Path, cases: &str, tolerance: f64) {
    let cases_path = file.with_extension("cases.json");
    std::fs::write(&cases_path, cases).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(script);
    let mut command = Command::new(python);
    command.arg(script).arg(file).arg(&cases_path).arg(tolerance.to_string());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    println!("{}: {}", file.display(), said.trim_end().replace('\n', "; "));
}

fn names(values: &[ValueInfoProto]) -> Vec<&str> {
    values.iter().map(ValueInfoProto::name).collect()
}

#[test]
fn every_champion_is_exported_whole() {
    let place = fresh("export");
    let symbols = symbols();
    assert!(symbols.len() >= 8 && symbols[0].1, "{symbols:?}");
    for (symbol, with_codes) in &symbols {
        let ran = export(&place, &[symbol, "--format", "onnx"]);
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
        let path = format!("{symbol}.onnx");
        assert!(ran.out.starts_with(&format!("{symbol} written to {path}")), "{}", ran.out);
        let bytes = std::fs::read(place.join(&path)).unwrap();
        let model = ModelProto::from_bytes(&bytes).unwrap();
        assert_eq!(model.to_bytes(), bytes);
        let text = |key: &str| {
            model.metadata_props.iter().find(|text| text.key == key).map(|text| text.value.clone()).unwrap()
        };
        let kind = if symbol == "ETHUSDT.P" { "trees" } else { "ridge" };
        assert_eq!((&text("symbol"), text("kind").as_str()), (symbol, kind));
        let features: Vec<String> = serde_json::from_str(&text("feature_names")).unwrap();
        assert!(features.len() > 50 && !features.iter().any(|name| name == "missing_share"));
        let columns: Vec<String> = serde_json::from_str(&text("columns")).unwrap();

        let graph = model.graph.unwrap();
        assert_eq!(names(&graph.input), ["features", "sigma"]);
        let outputs: &[&str] =
            if *with_codes { &["codes", "score", "edge_bps"] } else { &["score", "edge_bps"] };
        assert_eq!(names(&graph.output), outputs);
        let operators: Vec<&str> = graph.node.iter().map(|node| node.op_type()).collect();
        for operator in ["Clip", "IsNaN", "Where", "ReduceMean", "MatMul"] {
            assert!(operators.contains(&operator), "{operators:?}");
        }
        let count = |operator: &str| operators.iter().filter(|op| **op == operator).count();
        // An autoencoder makes its codes in two layers.
        let layers = if operators.contains(&"Tanh") { 2 } else { usize::from(*with_codes) };
        assert_eq!(count("MatMul"), 1 + layers);
        assert_eq!(count("TreeEnsembleRegressor"), usize::from(kind == "trees"));
        let dims = |name: &str| {
            graph.initializer.iter().find(|tensor| tensor.name() == name).map(|tensor| tensor.dims.clone())
        };
        let (q, p) = (features.len() as i64, features.len() as i64 + 1);
        let codes = columns.len() as i64 - p;
        assert_eq!(dims("center"), Some(vec![1, q]));
        assert_eq!(dims("head_scale"), Some(vec![1, p]));
        assert_eq!(dims("weights"), Some(vec![p + codes, 1]));
        assert_eq!(dims("components"), with_codes.then(|| vec![p, codes]));
    }
    // The same champion has the same bytes, and nothing half written is left.
    let again = export(&place, &[&symbols[0].0, "--format", "onnx", "--out", "again.onnx"]);
    assert_eq!(again.code, 0, "{}", again.err);
    let read = |name: &str| std::fs::read(place.join(name)).unwrap();
    assert_eq!(read("again.onnx"), read(&format!("{}.onnx", symbols[0].0)));
    assert_eq!(std::fs::read_dir(&place).unwrap().count(), symbols.len() + 1);
}

#[test]
fn onnxruntime_scores_champions_as_we_do() {
    let place = fresh("export_runtime");
    let Some(python) = python("onnx, onnxruntime, numpy") else { return };
    for (symbol, _) in symbols().into_iter().take(3) {
        let scorer = scorer(&place, &symbol);
        let path = place.join(format!("{symbol}.onnx"));
        assert_eq!(export(&place, &[&symbol, "--format", "onnx"]).code, 0);
        // A sum over trees is handed out in f32.
        let tolerance = if scorer.head.trees.is_some() { 1e-6 } else { 1e-9 };
        peer(&python, "onnx_check.py", &path, &head_cases(&scorer), tolerance);
    }
}

#[test]
fn trees_are_also_written_as_lightgbm_reads_them() {
    let place = fresh("export_lightgbm");
    let ran = export(&place, &["ETHUSDT", "--format", "lightgbm"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let text = std::fs::read_to_string(place.join("ETHUSDT.P.txt")).unwrap();
    let line = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().split(' ').map(str::to_owned).collect::<Vec<String>>()
    };
    assert_eq!(line("feature_names="), scorer(&place, "ETHUSDT").head.columns);
    assert!(text.starts_with("tree\nversion=v4\n") && text.contains("split_feature=3 0\n"), "{text}");
}

/// A network of one hidden layer in the place of a linear map.
fn network(columns: usize, codes: usize, activation: Activation) -> CodeMap {
    let layer = |inputs: usize, outputs: usize, from: usize| Layer {
        weight: (0..outputs)
            .map(|o| (0..inputs).map(|i| noise(from + o * inputs + i) / (inputs as f64).sqrt()).collect())
            .collect(),
        bias: (0..outputs).map(|o| 0.1 * noise(from + 77 + o)).collect(),
    };
    CodeMap::Network { layers: vec![layer(columns, 32, 1 << 20), layer(32, codes, 1 << 21)], activation }
}

/// Full trees of depth three and a tree of one leaf.
fn forest(columns: usize) -> Forest {
    let node = |tree: usize, n: usize| {
        let at = (1 << 22) + 100 * tree + n;
        match n {
            0..7 => Node::Split {
                feature: (at * 31 + n * 7) % columns,
                threshold: noise(at),
                left: 2 * n + 1,
                right: 2 * n + 2,
                default_left: noise(at + 50) < 0.0,
            },
            _ => Node::Leaf { value: noise(at) },
        }
    };
    let full = (0..20).map(|tree| Tree { nodes: (0..15).map(|n| node(tree, n)).collect() });
    let stump = Tree { nodes: vec![Node::Leaf { value: 0.125 }] };
    Forest { base: -0.25, trees: full.chain([stump]).collect() }
}

#[test]
fn onnxruntime_runs_networks_and_trees_as_we_do() {
    let place = fresh("export_variants");
    let Some(python) = python("onnx, onnxruntime, numpy") else { return };
    let mut scorer = scorer(&place, &symbols()[0].0);
    let check = |name: &str, model: &ModelProto, cases: &str, tolerance: f64| {
        let path = place.join(name);
        std::fs::write(&path, model.to_bytes()).unwrap();
        peer(&python, "onnx_check.py", &path, cases, tolerance);
    };
    for (name, activation) in [("tanh.onnx", Activation::Tanh), ("relu.onnx", Activation::Relu)] {
        let encoder = scorer.encoder.as_mut().unwrap();
        encoder.map = network(encoder.feature_names.len(), encoder.map.codes(), activation);
        check(name, &encoder.to_onnx(), &encoder_cases(encoder), 1e-9);
        check(&format!("head_{name}"), &scorer.to_onnx(), &head_cases(&scorer), 1e-9);
    }
    // The sum over trees is handed out in f32.
    scorer.head.trees = Some(forest(scorer.head.columns.len()));
    check("head_trees.onnx", &scorer.to_onnx(), &head_cases(&scorer), 1e-6);

    let trees = forest(5);
    assert_eq!(trees.check(5), Ok(()));
    let value = |row: usize, j: usize| {
        let at = (1 << 23) + 5 * row + j;
        if noise(at + (1 << 24)) < -0.4 { f64::NAN } else { noise(at) }
    };
    let mut rows: Vec<Vec<f64>> = (0..200).map(|row| (0..5).map(|j| value(row, j)).collect()).collect();
    // On a threshold to the bit a row goes left.
    for node in trees.trees.iter().flat_map(|tree| &tree.nodes) {
        if let Node::Split { feature, threshold, .. } = node {
            rows.push((0..5).map(|j| if j == *feature { *threshold } else { 0.5 }).collect());
        }
    }
    let scores = rows.iter().map(|row| vec![trees.score(row)]).collect();
    check("trees.onnx", &trees.to_onnx(5), &cases(&[("columns", rows)], &[("score", scores)]), 1e-6);
}

#[test]
fn the_encoder_alone_gives_the_same_codes_in_onnxruntime_and_from_its_pickle() {
    let place = fresh("export_encoder");
    let ran = export(&place, &["--encoder", "--format", "onnx", "--json"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert_eq!(ran.json()["export"]["path"], "encoder.onnx");
    assert_eq!(export(&place, &["--encoder", "--format", "json"]).code, 0);
    let bytes = std::fs::read(place.join("encoder.json")).unwrap();
    let encoding: Encoding = from_bytes("encoder.json", &bytes).unwrap();
    let model = ModelProto::from_bytes(&std::fs::read(place.join("encoder.onnx")).unwrap()).unwrap();
    let graph = model.graph.as_ref().unwrap();
    assert_eq!((names(&graph.input), names(&graph.output)), (vec!["scaled"], vec!["codes"]));
    let components = graph.initializer.iter().find(|tensor| tensor.name() == "components").unwrap();
    let p = encoding.feature_names.len();
    assert_eq!(components.dims, [p as i64, encoding.map.codes() as i64]);

    let cases = encoder_cases(&encoding);
    if let Some(python) = python("pickle, json, math") {
        let pickle = place.join("shared_encoder.pkl");
        std::fs::copy(store().join("meta/shared_encoder.pkl"), &pickle).unwrap();
        peer(&python, "pickle_check.py", &pickle, &cases, 1e-12);
    }
    if let Some(python) = python("onnx, onnxruntime, numpy") {
        peer(&python, "onnx_check.py", &place.join("encoder.onnx"), &cases, 1e-9);
    }
}

#[test]
fn what_cannot_be_exported_says_what_to_do() {
    let place = fresh("export_errors");
    let symbol = "BTCUSDT";
    let check = |arguments: &[&str], code: i32, error: &str| {
        let ran = export(&place, &[arguments, &["--json"]].concat());
        let said: Value = ran.json()["error"].clone();
        assert_eq!((ran.code, said["code"].as_str().unwrap()), (code, error), "{said}");
        assert!(!said["help"].is_null(), "{said}");
    };
    check(&["NOSUCHUSDT", "--format", "onnx"], 2, "no_champion");
    check(&["btcusdt", "--format", "onnx"], 2, "invalid_symbol");
    check(&[symbol, "--format", "lightgbm"], 2, "format_does_not_fit");
    check(&["--encoder", "--format", "lightgbm"], 2, "format_does_not_fit");
    check(&[symbol, "--format", "onnx", "--out", "nowhere/head.onnx"], 2, "export_file");
    check(&[symbol, "--format", "pickle"], 2, "usage");
    check(&["--format", "onnx"], 2, "usage");
    check(&[symbol, "--encoder", "--format", "onnx"], 2, "usage");
    assert_eq!(std::fs::read_dir(&place).unwrap().count(), 0);

    let empty = place.join("empty");
    std::fs::create_dir(&empty).unwrap();
    let ran = huracan_in(&place, &["export", "--encoder", "--format", "json", "--store", "empty"], &[]);
    assert!(ran.code == 5 && ran.err.contains("error[no_encoder]"), "{}", ran.err);
}

#[test]
fn a_head_whose_encoder_is_gone_is_not_exported() {
    let place = fresh("export_lost");
    copy(store(), &place.join("store"));
    std::fs::remove_dir_all(place.join("store/meta/encoders")).unwrap();
    let symbol = &symbols()[0].0;
    let ran = huracan_in(&place, &["export", symbol, "--format", "onnx", "--store", "store"], &[]);
    assert_eq!(ran.code, 5, "{}", ran.out);
    assert!(ran.err.contains("a head needs exactly its encoder"), "{}", ran.err);
    assert!(!place.join(format!("{symbol}.onnx")).exists());
}
