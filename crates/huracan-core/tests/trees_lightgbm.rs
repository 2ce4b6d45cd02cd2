//! The exported model text, read and scored by LightGBM itself.
//!
//! Needs Python with lightgbm and numpy; `HURACAN_PYTHON` names the interpreter, else `python3`.
//! Where there is none the test says so and passes.

use faer::Mat;
use huracan_core::heads::trees::{BinEdges, Binned, Ensemble, TreesSpec, fit};
use huracan_core::words::Seed;
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use std::path::Path;
use std::process::Command;

const P: usize = 37;

/// Labels that want cuts by value, by what is missing, and both.
fn ensemble(spec: &TreesSpec) -> (BinEdges, Ensemble) {
    let mut rng = Seed(21).rng();
    let rows = Mat::from_fn(3_000, P, |_, j| match j % 4 {
        3 if rng.random::<f64>() < 0.3 => f64::NAN,
        2 => rng.random_range(-3..4) as f64,
        _ => StandardNormal.sample(&mut rng),
    });
    let label = |i: usize| {
        let noise: f64 = StandardNormal.sample(&mut rng);
        let missing = if rows[(i, 3)].is_nan() { 1.0 } else { -rows[(i, 3)] };
        rows[(i, 0)] * rows[(i, 2)] + missing + noise + 7.0
    };
    let y: Vec<f64> = (0..3_000).map(label).collect();
    let edges = BinEdges::fit(rows.as_ref());
    let binned = Binned::from_rows(&edges, rows.as_ref()).unwrap();
    (edges, fit(&binned, &y, None, None, None, spec).unwrap())
}

/// Random rows: anything, on an edge, beside an edge, missing.
fn rows(edges: &BinEdges) -> Mat<f64> {
    let mut rng = Seed(22).rng();
    Mat::from_fn(4_000, P, |_, j| {
        let edge = edges.of(j)[rng.random_range(0..edges.of(j).len())];
        match rng.random_range(0..6) {
            0 => f64::NAN,
            1 => edge,
            2 => edge.next_up(),
            3 => edge.next_down(),
            4 => [f64::MAX, f64::MIN, 0.0, -0.0, 1e-300][rng.random_range(0..5)],
            _ => 3.0 * rng.random::<f64>() - 1.5,
        }
    })
}

/// LightGBM's scores; `None` when there is no LightGBM.
#[allow(clippy::disallowed_methods, reason = "a test against another program hands it files")]
fn lightgbm_scores(folder: &Path, text: &str, rows: &Mat<f64>) -> Option<Vec<f64>> {
    let python = std::env::var("HURACAN_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/lightgbm_predict.py");
    std::fs::create_dir_all(folder).unwrap();
    let (model, data) = (folder.join("model.txt"), folder.join("rows.f64"));
    std::fs::write(&model, text).unwrap();
    let cells = |i: usize| rows.row(i).iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    std::fs::write(&data, (0..rows.nrows()).flat_map(cells).collect::<Vec<u8>>()).unwrap();
    let run = Command::new(python).arg(script).args([&model, &data]).arg(P.to_string()).output();
    let output = run.ok().filter(|o| !matches!(o.status.code(), Some(3 | 127)))?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    Some(text.lines().filter_map(|line| line.parse().ok()).collect())
}

fn names() -> Vec<String> {
    (0..P).map(|j| format!("feature_{j}")).collect()
}

#[test]
fn lightgbm_reads_the_exported_text_and_scores_the_same() {
    let eager = TreesSpec {
        rounds: 60,
        leaves: 12,
        learning_rate: 0.2,
        lambda_l2: 1.0,
        min_leaf_weight: 5.0,
        min_gain: 0.0,
        feature_share: 1.0,
        ..TreesSpec::default()
    };
    let names = names();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for (name, rounds) in [("trees", 60), ("base", 0)] {
        let (edges, ensemble) = ensemble(&TreesSpec { rounds, ..eager.clone() });
        assert_eq!(ensemble.rounds(), rounds);
        let rows = rows(&edges);
        let text = ensemble.to_lightgbm_text(&names).unwrap();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("trees_lightgbm").join(name);
        let Some(theirs) = lightgbm_scores(&folder, &text, &rows) else {
            println!("skipped: no Python with lightgbm at hand; set HURACAN_PYTHON to one");
            return;
        };
        let ours = ensemble.score_rows(rows.as_ref()).unwrap();
        assert_eq!(theirs.len(), ours.len());
        for (i, (t, o)) in theirs.iter().zip(&ours).enumerate() {
            assert!((t - o).abs() <= 1e-12 * o.abs(), "{name} row {i}: LightGBM {t}, ours {o}");
        }
    }
}

#[test]
fn names_that_would_break_the_text_are_refused() {
    let (_, ensemble) = ensemble(&TreesSpec { rounds: 0, ..TreesSpec::default() });
    let names = names();
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert!(ensemble.to_lightgbm_text(&names).is_some());
    assert!(ensemble.to_lightgbm_text(&names[1..]).is_none());
    for bad in ["", "two words", "line\nbreak"] {
        names[5] = bad;
        assert!(ensemble.to_lightgbm_text(&names).is_none(), "{bad:?}");
    }
}
