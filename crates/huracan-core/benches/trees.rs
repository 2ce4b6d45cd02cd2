//! What boosted trees cost: a coin of 4,500 rows and 73 features, a hundred rounds of eight leaves and
//! of thirty-one, all features or half of them, and what comes before and after.
//!
//! `cargo bench -p huracan-core --bench trees`. `peers/trees_peer.py` measures the same beside LightGBM.

use criterion::{Criterion, Throughput};
use faer::Mat;
use huracan_core::heads::trees::{BinEdges, Binned, TreesSpec, fit};
use huracan_core::words::Seed;
use rand_distr::{Distribution, StandardNormal};
use std::hint::black_box;

const ROWS: usize = 4_500;
const FEATURES: usize = 73;

fn main() {
    let mut rng = Seed(1).child("bench", 0).rng();
    let rows = Mat::from_fn(ROWS, FEATURES, |_, _| StandardNormal.sample(&mut rng));
    let label = |i: usize| {
        let noise: f64 = StandardNormal.sample(&mut rng);
        rows[(i, 0)] * rows[(i, 1)] + noise
    };
    let target: Vec<f64> = (0..ROWS).map(label).collect();
    let edges = BinEdges::fit(rows.as_ref());
    let Some(binned) = Binned::from_rows(&edges, rows.as_ref()) else { return };
    let spec = |leaves: usize, feature_share: f64| TreesSpec {
        rounds: 100,
        leaves,
        feature_share,
        lambda_l2: 10.0,
        min_leaf_weight: 50.0,
        min_gain: 0.0,
        ..TreesSpec::default()
    };

    let mut criterion = Criterion::default().configure_from_args().sample_size(10);
    let mut group = criterion.benchmark_group("trees");
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("edges", |b| b.iter(|| BinEdges::fit(black_box(rows.as_ref()))));
    group.bench_function("bin", |b| b.iter(|| Binned::from_rows(&edges, black_box(rows.as_ref()))));
    for (leaves, share) in [(8, 1.0), (8, 0.5), (31, 1.0)] {
        let spec = spec(leaves, share);
        let name = format!("fit_{leaves}_leaves_of_{:.0}_percent", 100.0 * share);
        group.bench_function(name, |b| b.iter(|| fit(&binned, black_box(&target), None, None, None, &spec)));
    }
    if let Some(ensemble) = fit(&binned, &target, None, None, None, &spec(8, 1.0)) {
        group.bench_function("score_rows", |b| b.iter(|| ensemble.score_rows(black_box(rows.as_ref()))));
        group.bench_function("score_binned", |b| b.iter(|| ensemble.score_binned(black_box(&binned))));
    }
    group.finish();
    criterion.final_summary();
}
