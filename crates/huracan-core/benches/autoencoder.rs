//! What training and using an autoencoder cost: 150 features, 128 hidden, 20 codes.
//!
//! `cargo bench -p huracan-core --bench autoencoder`; training should see 400,000 samples a second.

use criterion::{Criterion, Throughput};
use faer::Mat;
use huracan_core::encoder::Encoder;
use huracan_core::encoder::autoencoder::{AutoencoderSpec, train};
use huracan_core::words::{Seed, UtcMs};
use rand::RngExt;
use std::hint::black_box;
use std::time::Instant;

const FEATURES: usize = 150;
const FACTORS: usize = 12;
const ROWS: usize = 32_768;
const HOLDOUT: usize = 2_048;

/// Features that bend a few factors, plus noise; one column a row of data.
fn rows(count: usize, seed: u64) -> Mat<f32> {
    let (mut same, mut rng) = (Seed(0).rng(), Seed(seed).child("bench", 0).rng());
    let mixing = Mat::from_fn(FEATURES, FACTORS, |_, _| 2.0 * same.random::<f32>() - 1.0);
    let mut draw = || 2.0 * rng.random::<f32>() - 1.0;
    let factors = Mat::from_fn(FACTORS, count, |_, _| draw());
    let mut out = &mixing * &factors;
    for column in out.col_iter_mut() {
        column.iter_mut().for_each(|v| *v = v.sin() + 0.3 * draw());
    }
    out
}

/// Seconds of processor this thread has used so far, where the system tells; else of the clock.
#[allow(clippy::disallowed_methods, reason = "a bench measures")]
fn processor_seconds(start: Instant) -> f64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = told.and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    nanoseconds.map_or_else(|| start.elapsed().as_secs_f64(), |ns| ns * 1e-9)
}

/// The least of five runs.
#[allow(clippy::disallowed_methods, reason = "a bench measures")]
fn seconds(mut work: impl FnMut()) -> f64 {
    let start = Instant::now();
    let once = |_| {
        let from = processor_seconds(start);
        work();
        processor_seconds(start) - from
    };
    (0..5).map(once).fold(f64::INFINITY, f64::min)
}

fn main() {
    let (data, holdout) = (rows(ROWS, 1), rows(HOLDOUT, 2));
    for batch in [256, 512, 1024] {
        // The difference between four epochs and one leaves out what is done once.
        let spec = |epochs_max| AutoencoderSpec { batch, epochs_max, patience: 9, ..Default::default() };
        let run =
            |epochs| drop(black_box(train(&spec(epochs), data.as_ref(), holdout.as_ref(), Seed(1), None)));
        let speed = 3.0 * ROWS as f64 / (seconds(|| run(4)) - seconds(|| run(1)));
        println!("batches of {batch}: {speed:.0} samples a processor second");
    }

    let spec = AutoencoderSpec { epochs_max: 1, ..Default::default() };
    let trained = train(&spec, data.as_ref(), holdout.as_ref(), Seed(1), None).expect("finite rows");
    println!("loss {:?}", trained.loss);
    let encoder = Encoder::autoencoder(trained, &[1.0; FEATURES], UtcMs(0));
    let z = Mat::from_fn(HOLDOUT, FEATURES, |i, j| f64::from(holdout[(j, i)]));
    let row: Vec<f64> = (0..FEATURES).map(|j| z[(0, j)]).collect();
    let mut codes = vec![0.0; encoder.components()];

    const TIMES: usize = 50;
    let encode = || (0..TIMES).for_each(|_| drop(black_box(encoder.encode_rows(z.as_ref()))));
    println!("encoding: {:.0} rows a processor second", (TIMES * HOLDOUT) as f64 / seconds(encode));

    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("autoencoder");
    group.bench_function("encode_one_row", |b| b.iter(|| encoder.encode(black_box(&row), &mut codes)));
    group.throughput(Throughput::Elements(HOLDOUT as u64));
    group.bench_function("encode_rows", |b| b.iter(|| encoder.encode_rows(black_box(z.as_ref()))));
    group.bench_function("reconstruction_error", |b| b.iter(|| encoder.reconstruction_error(z.as_ref())));
    group.sample_size(10).throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("train_one_epoch", |b| {
        b.iter(|| train(&spec, data.as_ref(), holdout.as_ref(), Seed(1), None))
    });
    group.finish();
    criterion.final_summary();
}
