//! What one more bar costs a running coin: features, scaling, codes and the head's score.
//!
//! `cargo bench -p huracan-core --bench live_row`; the budget is 20 µs a bar with the whole table
//! and 50 codes.

mod walk;

use criterion::Criterion;
use faer::Mat;
use huracan_core::encoder::{Eigenbasis, Encoder, Scaler, missing_share_scaled};
use huracan_core::features::{FEATURES, LiveFeatures, MarketRow, matrix};
use huracan_core::gram::Gram;
use huracan_core::heads::pooled;
use huracan_core::series::{Bar, Series};
use huracan_core::words::{Timeframe, UtcMs};
use std::hint::black_box;
use walk::{BARS, START, market, walk};

const CODES: usize = 50;

/// A coin's fitted model, as a live row needs it.
struct Model {
    scaler: Scaler,
    encoder: Encoder,
    /// Weights of the codes.
    codes: Vec<f64>,
    /// Weights of the scaled features, missing share last.
    own: Vec<f64>,
}

/// A model of the next return, on all rows of the walk.
fn fit(series: &Series, context: &huracan_core::features::MarketContext, columns: &[usize]) -> Model {
    let x = matrix(series, context, columns);
    let scaler = Scaler::fit(&x, 0..x.n);
    let design = scaler.design(&x, &scaler);
    let next = |i: usize| (series.close[(i + 1).min(BARS - 1)] / series.close[i]).ln();
    let target = Mat::from_fn(x.n, 1, |i, _| next(i));
    let mut gram = Gram::new(x.p + 1, 1);
    gram.add_rows(design.as_ref(), target.as_ref());
    let moments = gram.moments().expect("more than one row");
    let deviations = moments.deviations();
    let moments = moments.standardised(&deviations);
    let basis = Eigenbasis::new(&moments.cov).expect("finite moments");
    let encoder = Encoder::pca(&basis, &deviations, CODES, START);
    let beta = pooled::ridge_in_basis(&basis, &moments.cross, 1.0, CODES);
    let beta: Vec<f64> = (0..x.p + 1).map(|i| beta[(i, 0)]).collect();
    let (codes, own) = pooled::split(&beta, encoder.loadings().expect("a linear encoder"));
    let in_scaled_units = |(w, d): (f64, &f64)| if *d > 0.0 { w / d } else { 0.0 };
    let own = own.into_iter().zip(&deviations).map(in_scaled_units).collect();
    Model { scaler, encoder, codes, own }
}

/// Buffers of one row.
struct Scratch {
    scaled: Vec<f64>,
    codes: Vec<f64>,
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn scale(model: &Model, features: &[f64], scaled: &mut [f64]) {
    for (j, (z, &x)) in scaled.iter_mut().zip(features).enumerate() {
        *z = model.scaler.apply(j, x);
    }
    let missing = features.iter().filter(|x| x.is_nan()).count();
    scaled[features.len()] = missing_share_scaled(missing, features.len());
}

fn score(model: &Model, features: &[f64], scratch: &mut Scratch) -> f64 {
    scale(model, features, &mut scratch.scaled);
    model.encoder.encode(&scratch.scaled, &mut scratch.codes);
    dot(&model.codes, &scratch.codes) + dot(&model.own, &scratch.scaled)
}

/// The walk over and over, on a clock that runs on.
struct Feed {
    live: LiveFeatures,
    bars: Vec<(Bar, MarketRow)>,
    pushed: usize,
}

impl Feed {
    fn next(&mut self) -> &[f64] {
        let (bar, market) = &self.bars[self.pushed % BARS];
        let time = UtcMs(START.0 + self.pushed as i64 * Timeframe::H1.ms());
        self.pushed += 1;
        self.live.push(time, bar, market).expect("the next bar")
    }
}

fn main() {
    let (series, context) = (walk(3), market());
    let columns: Vec<usize> = (0..FEATURES.len()).collect();
    let model = fit(&series, &context, &columns);
    let bars = (0..BARS).map(|i| (series.bar(i), context.row_at(series.time(i)))).collect();
    let live = LiveFeatures::new(&columns, series.symbol.clone(), series.timeframe);
    let mut feed = Feed { live, bars, pushed: 0 };
    (0..BARS).for_each(|_| {
        black_box(feed.next());
    });
    let features = feed.next().to_vec();
    let mut scratch = Scratch { scaled: vec![0.0; columns.len() + 1], codes: vec![0.0; CODES] };
    println!("{} features, {} codes", columns.len(), model.encoder.components());

    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("live_row");
    group.bench_function("features", |b| b.iter(|| black_box(feed.next())[0]));
    group.bench_function("scaling", |b| b.iter(|| scale(&model, black_box(&features), &mut scratch.scaled)));
    group.bench_function("codes", |b| {
        b.iter(|| model.encoder.encode(black_box(&scratch.scaled), &mut scratch.codes))
    });
    group.bench_function("whole", |b| b.iter(|| score(&model, feed.next(), &mut scratch)));
    group.finish();
    criterion.final_summary();
}
