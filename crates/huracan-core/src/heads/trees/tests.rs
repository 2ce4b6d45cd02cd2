//! Trees against a plain reference, and laws: weights, missing values, row order, noise.

use super::*;
use faer::Mat;
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};

/// Rows whose label follows the first two features and whether the third is missing.
struct Planted {
    rows: Mat<f64>,
    y: Vec<f64>,
}

fn planted(seed: u64, n: usize, p: usize, strength: f64) -> Planted {
    let mut rng = Seed(seed).child("trees.tests", 0).rng();
    let mut rows = Mat::from_fn(n, p, |_, _| StandardNormal.sample(&mut rng));
    for i in 0..n {
        for j in 2..p {
            if rng.random::<f64>() < 0.2 {
                rows[(i, j)] = f64::NAN;
            }
        }
    }
    let label = |i: usize| {
        let missing: f64 = if p > 2 && rows[(i, 2)].is_nan() { 1.0 } else { 0.0 };
        let step: f64 = if rows[(i, 0)] > 0.3 { 1.0 } else { -0.4 };
        let noise: f64 = StandardNormal.sample(&mut rng);
        strength * (step * rows[(i, 1)] + missing) + noise
    };
    let y = (0..n).map(label).collect();
    Planted { rows, y }
}

fn binned(rows: &Mat<f64>) -> Binned {
    Binned::from_rows(&BinEdges::fit(rows.as_ref()), rows.as_ref()).unwrap()
}

fn eager() -> TreesSpec {
    TreesSpec {
        rounds: 20,
        learning_rate: 0.2,
        lambda_l2: 1.0,
        min_leaf_weight: 10.0,
        min_gain: 0.0,
        feature_share: 1.0,
        early_stop_rounds: None,
        ..TreesSpec::default()
    }
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let (ma, mb) = (mean(a), mean(b));
    let dot = |f: &dyn Fn(usize) -> f64| (0..a.len()).map(f).sum::<f64>();
    let cross = dot(&|i| (a[i] - ma) * (b[i] - mb));
    cross / (dot(&|i| (a[i] - ma).powi(2)) * dot(&|i| (b[i] - mb).powi(2))).sqrt()
}

#[test]
fn every_cut_is_the_one_an_exact_search_makes() {
    let mut trees = 0;
    for seed in 0..12 {
        let weighted = seed % 2 == 1;
        let Planted { rows, y } = planted(seed, 400, 5, 0.7);
        let mut rng = Seed(seed).child("weights", 0).rng();
        let w: Vec<f64> =
            y.iter().map(|_| if weighted { rng.random_range(0..4) as f64 } else { 1.0 }).collect();
        let spec = TreesSpec { rounds: 6, min_gain: 4.0, ..eager() };
        let binned = binned(&rows);
        let ours = fit(&binned, &y, weighted.then_some(&w), None, None, &spec).unwrap();
        let exact = reference::fit(&rows, binned.edges(), &y, &w, &spec);
        assert_eq!(ours.rounds(), exact.cuts.len(), "seed {seed}");
        for (tree, cuts) in ours.trees.iter().zip(&exact.cuts) {
            assert_eq!(tree.nodes.len(), cuts.len(), "seed {seed}");
            for (node, cut) in tree.nodes.iter().zip(cuts) {
                let found = (node.feature, node.threshold, node.missing_left);
                assert_eq!(found, (cut.feature, cut.threshold, cut.missing_left), "seed {seed}");
                assert!((node.gain / cut.gain - 1.0).abs() < 1e-3, "{} {}", node.gain, cut.gain);
            }
        }
        trees += cuts_total(&exact.cuts);
        let scores = ours.score_rows(rows.as_ref()).unwrap();
        scores.iter().zip(&exact.scores).for_each(|(a, b)| assert!((a - b).abs() < 1e-4, "{a} {b}"));
    }
    assert!(trees > 200, "only {trees} cuts were compared");
}

fn cuts_total(trees: &[Vec<reference::Cut>]) -> usize {
    trees.iter().map(Vec::len).sum()
}

#[test]
fn whole_weights_are_repeated_rows() {
    let Planted { rows, y } = planted(1, 500, 7, 0.5);
    let weight: Vec<f64> = (0..500).map(|i| (i % 4) as f64).collect();
    let copies: Vec<usize> = (0..500).flat_map(|i| std::iter::repeat_n(i, i % 4)).collect();
    let edges = BinEdges::fit(rows.as_ref());
    let weighted = Binned::from_rows(&edges, rows.as_ref()).unwrap();
    let repeated = Mat::from_fn(copies.len(), 7, |i, j| rows[(copies[i], j)]);
    let repeated = Binned::from_rows(&edges, repeated.as_ref()).unwrap();
    let repeated_y: Vec<f64> = copies.iter().map(|&i| y[i]).collect();
    let spec = TreesSpec { min_gain: 1.0, ..eager() };
    let a = fit(&weighted, &y, Some(&weight), None, None, &spec).unwrap();
    let b = fit(&repeated, &repeated_y, None, None, None, &spec).unwrap();
    assert_eq!(a.rounds(), 20);
    let scores = |e: &Ensemble| e.score_rows(rows.as_ref()).unwrap();
    // Residuals of a weighted row are quantised once, of repeated rows each.
    scores(&a).iter().zip(&scores(&b)).for_each(|(a, b)| assert!((a - b).abs() < 2e-4, "{a} {b}"));
}

#[test]
fn rows_without_weight_leave_no_trace() {
    let Planted { rows, y } = planted(17, 600, 6, 0.5);
    let edges = BinEdges::fit(rows.as_ref());
    let weight: Vec<f64> = (0..600).map(|i| if i < 400 { 0.5 + (i % 3) as f64 } else { 0.0 }).collect();
    let spec = TreesSpec { feature_share: 0.5, row_share: 0.7, ..eager() };
    let fitted = |rows: &Mat<f64>, y: &[f64]| {
        let binned = Binned::from_rows(&edges, rows.as_ref()).unwrap();
        fit(&binned, y, Some(&weight[..y.len()]), None, None, &spec).unwrap()
    };
    let first = fitted(&rows, &y);
    let bent = Mat::from_fn(600, 6, |i, j| if i < 400 { rows[(i, j)] } else { -9.0 * rows[(i, j)] });
    let bent_y: Vec<f64> = (0..600).map(|i| if i < 400 { y[i] } else { 1e6 - y[i] }).collect();
    assert_eq!(first, fitted(&bent, &bent_y));
    assert_eq!(first, fitted(&rows.subrows(0, 400).to_owned(), &y[..400]));
}

#[test]
fn doubling_every_weight_and_penalty_changes_nothing() {
    let Planted { rows, y } = planted(2, 400, 4, 0.5);
    let binned = binned(&rows);
    let spec = eager();
    let twice = TreesSpec { lambda_l2: 2.0, min_leaf_weight: 20.0, ..eager() };
    let a = fit(&binned, &y, None, None, None, &spec).unwrap();
    let b = fit(
        &binned,
        &y,
        Some(&[0.2; 400]),
        None,
        None,
        &TreesSpec { lambda_l2: 0.2, min_leaf_weight: 2.0, ..eager() },
    );
    let c = fit(&binned, &y, Some(&[2.0; 400]), None, None, &twice).unwrap();
    let scores = |e: &Ensemble| e.score_binned(&binned).unwrap();
    scores(&a).iter().zip(scores(&b.unwrap())).for_each(|(a, b)| assert!((a - b).abs() < 1e-9));
    scores(&a).iter().zip(scores(&c)).for_each(|(a, c)| assert!((a - c).abs() < 1e-9));
}

#[test]
fn raw_and_binned_scores_are_the_same_numbers_even_on_an_edge() {
    let Planted { rows, y } = planted(3, 600, 40, 0.6);
    let binned = binned(&rows);
    let ensemble = fit(&binned, &y, None, None, None, &eager()).unwrap();
    let mut rng = Seed(4).rng();
    let others = Mat::from_fn(500, 40, |_, j| {
        let edges = binned.edges().of(j);
        match rng.random_range(0..5) {
            0 => f64::NAN,
            1 => [f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, 0.0][rng.random_range(0..5)],
            2 => rng.random_range(-3.0..3.0),
            _ => edges[rng.random_range(0..edges.len())],
        }
    });
    let raw = ensemble.score_rows(others.as_ref()).unwrap();
    let again = Binned::from_rows(binned.edges(), others.as_ref()).unwrap();
    assert_eq!(raw, ensemble.score_binned(&again).unwrap());
    for i in 0..others.nrows() {
        let row: Vec<f64> = others.row(i).iter().copied().collect();
        assert_eq!(ensemble.score(&row), Some(raw[i]));
    }
    assert!(ensemble.trees.iter().any(|t| t.nodes.iter().any(|n| n.threshold == f64::MAX)));
    assert_eq!(ensemble.score(&[0.0; 39]), None);
}

#[test]
fn the_order_of_rows_and_how_they_arrive_change_no_bit() {
    let Planted { rows, y } = planted(5, 900, 35, 0.4);
    let edges = BinEdges::fit(rows.as_ref());
    let weight: Vec<f64> = (0..900).map(|i| 0.1 + (i % 7) as f64).collect();
    let whole = Binned::from_rows(&edges, rows.as_ref()).unwrap();
    let first = fit(&whole, &y, Some(&weight), None, None, &eager()).unwrap();
    let order: Vec<usize> = (600..900).chain(0..250).chain(250..600).collect();
    let mut blocks = Binned::new(edges);
    for (from, to) in [(600, 900), (0, 250), (250, 600)] {
        assert!(blocks.push_rows(rows.as_ref().subrows(from, to - from)));
    }
    let pick = |v: &[f64]| order.iter().map(|&i| v[i]).collect::<Vec<f64>>();
    let second = fit(&blocks, &pick(&y), Some(&pick(&weight)), None, None, &eager()).unwrap();
    assert_eq!(first, second);
    assert!(first.rounds() == 20);
}

#[test]
fn a_strictly_increasing_change_of_a_feature_changes_no_score() {
    let Planted { rows, y } = planted(6, 500, 6, 0.5);
    let bent = Mat::from_fn(500, 6, |i, j| match j % 3 {
        0 => rows[(i, j)].exp(),
        1 => rows[(i, j)].powi(3),
        _ => 5.0 * rows[(i, j)] - 100.0,
    });
    let scores = |rows: &Mat<f64>| {
        let binned = binned(rows);
        fit(&binned, &y, None, None, None, &eager()).unwrap().score_rows(rows.as_ref()).unwrap()
    };
    assert_eq!(scores(&rows), scores(&bent));
}

#[test]
fn a_missing_value_goes_where_its_like_went() {
    // Missing rows behave like high values: they must be scored high, and alone they are a cut.
    let rows = Mat::from_fn(400, 2, |i, j| match (j, i % 4) {
        (0, 0) => f64::NAN,
        (0, k) => k as f64 + (i / 4) as f64 / 1e3,
        _ => {
            if i % 8 == 0 {
                f64::NAN
            } else {
                1.0
            }
        }
    });
    let y: Vec<f64> = (0..400).map(|i| if matches!(i % 4, 0 | 3) { 1.0 } else { -1.0 }).collect();
    let spec = TreesSpec { rounds: 60, ..eager() };
    let ensemble = fit(&binned(&rows), &y, None, None, None, &spec).unwrap();
    assert!(ensemble.score(&[f64::NAN, 1.0]).unwrap() > 0.9);
    assert!(ensemble.score(&[3.05, 1.0]).unwrap() > 0.9);
    assert!(ensemble.score(&[1.05, 1.0]).unwrap() < -0.9);
    let only: Vec<f64> = (0..400).map(|i| if i % 8 == 0 { 1.0 } else { 0.0 }).collect();
    let alone = Mat::from_fn(400, 1, |i, _| rows[(i, 1)]);
    let ensemble = fit(&binned(&alone), &only, None, None, None, &spec).unwrap();
    assert!(ensemble.score(&[f64::NAN]).unwrap() > 0.9 && ensemble.score(&[7.0]).unwrap() < 0.1);
}

#[test]
fn held_out_rows_keep_the_best_round() {
    let Planted { rows, y } = planted(8, 700, 10, 0.7);
    let edges = BinEdges::fit(rows.as_ref());
    let part = |from: usize, n: usize| Binned::from_rows(&edges, rows.as_ref().subrows(from, n)).unwrap();
    let (train, test) = (part(0, 400), part(400, 300));
    let held_out = HeldOut { rows: &test, target: &y[400..], weight: None, init: None };
    let spec = TreesSpec { rounds: 120, ..eager() };
    let all = fit(&train, &y[..400], None, None, None, &spec).unwrap();
    assert_eq!(all.rounds(), 120);
    let loss = |rounds: usize| {
        let some = Ensemble { trees: all.trees[..rounds].to_vec(), ..all.clone() };
        let scores = some.score_binned(&test).unwrap();
        scores.iter().zip(&y[400..]).map(|(s, y)| (s - y).powi(2)).sum::<f64>()
    };
    let best = (0..=120).min_by(|&a, &b| loss(a).total_cmp(&loss(b))).unwrap();
    assert!(0 < best && best < 100, "{best}");
    let patient = fit(&train, &y[..400], None, None, Some(held_out), &spec).unwrap();
    assert_eq!(patient.trees, all.trees[..best]);
    let stopped = TreesSpec { early_stop_rounds: Some(5), ..spec };
    let stopped = fit(&train, &y[..400], None, None, Some(held_out), &stopped).unwrap();
    assert_eq!(stopped.trees, all.trees[..stopped.rounds()]);
    assert!((1..=5).all(|more| loss(stopped.rounds() + more) >= loss(stopped.rounds())));
}

#[test]
fn noise_is_given_nothing_by_default_and_a_pattern_is_found() {
    let spec = TreesSpec::default();
    let spread = |seed: u64, strength: f64| {
        let Planted { rows, y } = planted(seed, 3_000, 60, strength);
        let scores = fit(&binned(&rows), &y, None, None, None, &spec).unwrap();
        let fresh = planted(seed + 1_000, 2_000, 60, strength);
        let scores = scores.score_rows(fresh.rows.as_ref()).unwrap();
        let base = scores.iter().sum::<f64>() / 2_000.0;
        let sd = (scores.iter().map(|s| (s - base).powi(2)).sum::<f64>() / 2_000.0).sqrt();
        (sd, correlation(&scores, &fresh.y))
    };
    for seed in 0..8 {
        let (sd, _) = spread(seed, 0.0);
        assert!(sd < 0.02, "seed {seed}: scores of noise vary by {sd}");
    }
    let (_, r) = spread(50, 0.6);
    assert!(r > 0.15, "{r}");
}

#[test]
fn scores_to_start_from_are_what_is_left_to_correct() {
    let Planted { rows, y } = planted(9, 500, 5, 0.6);
    let binned = binned(&rows);
    let short = fit(&binned, &y, None, None, None, &TreesSpec { rounds: 8, ..eager() }).unwrap();
    let long = fit(&binned, &y, None, None, None, &TreesSpec { rounds: 14, ..eager() }).unwrap();
    let init = short.score_binned(&binned).unwrap();
    let more = fit(&binned, &y, None, Some(&init), None, &TreesSpec { rounds: 6, ..eager() }).unwrap();
    assert_eq!(more.base(), 0.0);
    let added = more.score_binned(&binned).unwrap();
    for ((a, b), whole) in init.iter().zip(&added).zip(long.score_binned(&binned).unwrap()) {
        assert!((a + b - whole).abs() < 1e-9, "{a} + {b}, expected {whole}");
    }
}

#[test]
fn draws_of_features_and_rows_follow_the_seed_alone() {
    let Planted { rows, y } = planted(10, 600, 40, 0.6);
    let binned = binned(&rows);
    let spec = |seed: u64| TreesSpec { feature_share: 0.25, row_share: 0.5, seed: Seed(seed), ..eager() };
    let fitted = |seed: u64| fit(&binned, &y, None, None, None, &spec(seed)).unwrap();
    assert_eq!(fitted(1), fitted(1));
    assert_ne!(fitted(1), fitted(2));
    for tree in &fitted(1).trees {
        let used: std::collections::BTreeSet<usize> = tree.nodes.iter().map(|n| n.feature).collect();
        assert!(used.len() <= 10);
    }
}

#[test]
fn limits_on_leaves_depth_and_weight_are_kept() {
    let Planted { rows, y } = planted(11, 500, 8, 0.8);
    let binned = binned(&rows);
    let spec = TreesSpec { leaves: 6, min_leaf_weight: 40.0, rounds: 4, ..eager() };
    let ensemble = fit(&binned, &y, None, None, None, &spec).unwrap();
    for tree in &ensemble.trees {
        assert!(tree.values.len() <= 6);
        let one = Ensemble { features: 8, base: 0.0, trees: vec![tree.clone()] };
        let scores = one.score_binned(&binned).unwrap();
        for value in &tree.values {
            assert!(scores.iter().filter(|s| *s == value).count() >= 40);
        }
    }
    let flat = TreesSpec { max_depth: Some(1), ..spec };
    let ensemble = fit(&binned, &y, None, None, None, &flat).unwrap();
    assert!(ensemble.trees.iter().all(|tree| tree.nodes.len() == 1));
}

#[test]
fn importance_is_with_the_features_that_matter() {
    let Planted { rows, y } = planted(12, 2_000, 9, 1.0);
    let ensemble = fit(&binned(&rows), &y, None, None, None, &eager()).unwrap();
    let importance = ensemble.importance();
    let rest = importance[3..].iter().fold(0.0, |m: f64, &v| m.max(v));
    assert!(importance[..3].iter().all(|&v| v > 5.0 * rest), "{importance:?}");
}

#[test]
fn bins_hold_even_shares_heavy_values_alone_and_nothing_but_numbers() {
    let mut rng = Seed(13).rng();
    let rows = Mat::from_fn(10_000, 4, |i, j| match j {
        0 => StandardNormal.sample(&mut rng),
        1 => {
            if i % 2 == 0 {
                0.0
            } else {
                StandardNormal.sample(&mut rng)
            }
        }
        2 => (i % 5) as f64,
        _ => {
            if i % 3 == 0 {
                f64::NAN
            } else {
                2.0
            }
        }
    });
    let edges = BinEdges::fit(rows.as_ref());
    assert_eq!(
        (edges.of(0).len(), edges.of(2), edges.of(3)),
        (EDGES_MAX, &[0.5, 1.5, 2.5, 3.5][..], &[][..])
    );
    let counts = |j: usize| {
        let mut counts = vec![0; EDGES_MAX + 1];
        rows.col(j).iter().for_each(|v| counts[edges.of(j).partition_point(|e| e < v)] += 1);
        counts
    };
    assert!(counts(0).iter().all(|&c| (140..=180).contains(&c)), "{:?}", counts(0));
    let heavy = counts(1);
    assert_eq!(heavy.iter().filter(|&&c| c == 5_000).count(), 1, "{heavy:?}");
    assert!(heavy.iter().all(|&c| c == 5_000 || c < 180), "{heavy:?}");
    assert_eq!(BinEdges::fit(Mat::<f64>::zeros(0, 3).as_ref()).features(), 3);
    assert!(BinEdges::from_edges(vec![vec![1.0, 1.0]]).is_none());
    assert!(BinEdges::from_edges(vec![vec![f64::NAN]]).is_none());
}

#[test]
fn bad_input_is_refused() {
    let Planted { rows, y } = planted(14, 100, 3, 0.5);
    let rows_b = binned(&rows);
    let spec = eager();
    assert!(fit(&rows_b, &y[1..], None, None, None, &spec).is_none());
    assert!(fit(&rows_b, &[f64::NAN; 100], None, None, None, &spec).is_none());
    assert!(fit(&rows_b, &y, Some(&[-1.0; 100]), None, None, &spec).is_none());
    assert!(fit(&rows_b, &y, Some(&[0.0; 100]), None, None, &spec).is_none());
    assert!(fit(&rows_b, &y, None, Some(&[f64::INFINITY; 100]), None, &spec).is_none());
    assert!(fit(&rows_b, &y, None, None, None, &TreesSpec { learning_rate: 0.0, ..eager() }).is_none());
    assert!(fit(&rows_b, &y, None, None, None, &TreesSpec { leaves: 1, ..eager() }).is_none());
    let other = Binned::from_rows(&BinEdges::from_edges(vec![vec![0.0]; 3]).unwrap(), rows.as_ref()).unwrap();
    let held_out = HeldOut { rows: &other, target: &y, weight: None, init: None };
    assert!(fit(&rows_b, &y, None, None, Some(held_out), &spec).is_none());
    let ensemble = fit(&rows_b, &y, None, None, None, &spec).unwrap();
    assert!(ensemble.score_binned(&other).is_none());
    assert!(fit(&Binned::new(BinEdges::fit(rows.as_ref())), &[], None, None, None, &spec).is_none());
    // Nothing to learn is not an error: a constant target, or no feature that varies.
    assert_eq!(fit(&rows_b, &[3.5; 100], None, None, None, &spec).unwrap().rounds(), 0);
    let flat = fit(&binned(&Mat::zeros(100, 2)), &y, None, None, None, &spec).unwrap();
    assert_eq!(flat.rounds(), 0);
    assert!((flat.base() - y.iter().sum::<f64>() / 100.0).abs() < 1e-12);
    // Sizes at the ends of floating point neither panic nor leave it.
    for size in [1e-320, 1e-150, 1e150, 1e300] {
        let far: Vec<f64> = y.iter().map(|v| v * size).collect();
        if let Some(e) = fit(&rows_b, &far, None, None, None, &spec) {
            assert!(e.score_binned(&rows_b).unwrap().iter().all(|s| s.is_finite()), "{size}");
        }
    }
}

#[test]
fn arrays_give_the_ensemble_back_and_hostile_ones_an_error() {
    let Planted { rows, y } = planted(15, 400, 6, 0.6);
    let ensemble = fit(&binned(&rows), &y, None, None, None, &eager()).unwrap();
    let arrays = ensemble.to_arrays();
    let read = |a: &std::collections::BTreeMap<&'static str, Vec<f64>>| {
        Ensemble::from_arrays(|name| a.get(name).map(Vec::as_slice))
    };
    assert_eq!(read(&arrays).unwrap(), ensemble);
    for name in arrays.keys() {
        let mut fewer = arrays.clone();
        fewer.remove(name);
        assert_eq!(read(&fewer), Err(TreesError::Missing { name }));
        let mut longer = arrays.clone();
        longer.get_mut(name).unwrap().push(0.0);
        // One more tree of no nodes would need one more value.
        assert!(read(&longer).is_err(), "{name}");
    }
    let mut rng = Seed(16).rng();
    let names: Vec<&str> = arrays.keys().copied().collect();
    let bad = [f64::NAN, f64::INFINITY, -1.0, 0.0, 1.0, 0.5, 7.0, -7.0, -9.0, 1e18, -1e300, 3.0];
    let mut refused = 0;
    for _ in 0..4_000 {
        let mut broken = arrays.clone();
        let values = broken.get_mut(names[rng.random_range(0..names.len())]).unwrap();
        let at = rng.random_range(0..values.len());
        values[at] = bad[rng.random_range(0..bad.len())];
        match read(&broken) {
            Err(_) => refused += 1,
            // What is accepted can be scored: every walk ends in a leaf.
            Ok(e) => assert!(e.score(&vec![0.1; e.features()]).is_some_and(f64::is_finite)),
        }
    }
    assert!(refused > 1_500, "{refused}");
    // A child that is its own ancestor.
    let mut looped = arrays.clone();
    looped.get_mut("left").unwrap()[0] = 0.0;
    let error = read(&looped).unwrap_err().to_string();
    assert_eq!(error, "trees: left value 0 is 0, expected a later node or a leaf that has no parent yet");
}

#[test]
fn whoever_watches_a_fit_hears_of_every_round_and_changes_nothing() {
    let Planted { rows, y } = planted(3, 400, 5, 0.6);
    let binned = binned(&rows);
    let heard = std::cell::Cell::new(0);
    let hear = || heard.set(heard.get() + 1);
    let watched = fit_watched(&binned, &y, None, None, None, &eager(), &hear).unwrap();
    assert_eq!(Some(&watched), fit(&binned, &y, None, None, None, &eager()).as_ref());
    assert_eq!(heard.get(), eager().rounds);
}
