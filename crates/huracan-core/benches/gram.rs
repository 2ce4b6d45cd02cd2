//! What sufficient statistics cost: a ten-month coin of 7,000 rows and 120 features with a label, two
//! research horizons and sixteen placebos, beside a square matrix product of as many operations.
//!
//! `cargo bench -p huracan-core --bench gram`. The share says how much of what the machine can do
//! right now, in faer's own product, the accumulation reaches.

use criterion::{Criterion, Throughput};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par};
use huracan_core::gram::Gram;
use huracan_core::words::Seed;
use rand::RngExt;
use std::hint::black_box;
use std::time::Instant;

const ROWS: usize = 7_000;
const FEATURES: usize = 120;
const TARGETS: usize = 19;
/// A square product of this size takes as many operations as the accumulation.
const SQUARE: usize = 408;
/// Rows of a sign block, and of a month: both start at multiples of 72.
const SEGMENTS: [usize; 2] = [72, 720];

fn random(rows: usize, columns: usize, seed: u64) -> Mat<f64> {
    let mut rng = Seed(seed).child("bench", 0).rng();
    Mat::from_fn(rows, columns, |_, _| rng.random::<f64>() - 0.5)
}

/// One Gram a segment of `rows` rows.
fn accumulate(design: &Mat<f64>, targets: &Mat<f64>, rows: usize) -> Vec<Gram> {
    let one = |from: usize| {
        let count = rows.min(ROWS - from);
        let mut gram = Gram::new(FEATURES, TARGETS);
        gram.add_rows(design.as_ref().subrows(from, count), targets.as_ref().subrows(from, count));
        gram
    };
    (0..ROWS).step_by(rows).map(one).collect()
}

/// Best of 60 runs, in operations (multiply or add) a nanosecond.
#[allow(clippy::disallowed_methods, reason = "a bench measures")]
fn gflops(operations: usize, mut work: impl FnMut()) -> f64 {
    let once = |_| {
        let from = Instant::now();
        work();
        from.elapsed().as_secs_f64() * 1e9
    };
    operations as f64 / (0..60).map(once).fold(f64::INFINITY, f64::min)
}

fn main() {
    let mut design = random(ROWS, FEATURES + 1, 1);
    (0..ROWS).for_each(|i| design[(i, FEATURES)] = 1.0);
    let targets = random(ROWS, TARGETS, 2);
    let (left, right) = (random(SQUARE, SQUARE, 3), random(SQUARE, SQUARE, 4));
    let mut product = Mat::<f64>::zeros(SQUARE, SQUARE);
    let mut square = || {
        matmul(&mut product, Accum::Replace, &left, &right, 1.0, Par::Seq);
        black_box(&product);
    };

    // The lower triangle of A'A once, and A'Y.
    let m = FEATURES + 1;
    let operations = ROWS * m * (m + 1) + 2 * ROWS * m * TARGETS;
    let peak = gflops(2 * SQUARE.pow(3), &mut square);
    println!("square product of {SQUARE}: {peak:.1} GFLOP/s");
    for rows in SEGMENTS {
        let speed = gflops(operations, || drop(black_box(accumulate(&design, &targets, rows))));
        println!("segments of {rows} rows: {speed:.1} GFLOP/s, {:.0} % of the product", 100.0 * speed / peak);
    }

    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("gram");
    group.throughput(Throughput::Elements(ROWS as u64));
    for rows in SEGMENTS {
        group.bench_function(format!("segments_of_{rows}"), |b| {
            b.iter(|| accumulate(black_box(&design), &targets, rows))
        });
    }
    group.bench_function("square_product", |b| b.iter(&mut square));
    group.finish();
    criterion.final_summary();
}
