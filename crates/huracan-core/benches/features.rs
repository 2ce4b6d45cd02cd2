//! What the FEATURES table costs: nanoseconds per feature and bar on one core, over the whole
//! table, per family, and for the dearest single features.
//!
//! `cargo bench -p huracan-core --bench features`; the budget is 8 ns on average, rows included.

mod walk;

use criterion::{Criterion, Throughput};
use huracan_core::features::{ContextSums, FEATURES, Family, MarketContext, matrix, rows};
use huracan_core::series::Series;
use huracan_core::words::Timeframe;
use std::hint::black_box;
use std::time::Instant;
use walk::{BARS, START, market, walk};

/// Best of `times` runs in nanoseconds per bar.
#[allow(clippy::disallowed_methods, reason = "a bench measures")]
fn ns_per_bar(times: usize, mut work: impl FnMut()) -> f64 {
    let once = |_| {
        let from = Instant::now();
        work();
        from.elapsed().as_secs_f64() * 1e9 / BARS as f64
    };
    (0..times).map(once).fold(f64::INFINITY, f64::min)
}

fn report(series: &Series, context: &MarketContext) {
    let base = ns_per_bar(15, || drop(black_box(matrix(series, context, &[]))));
    let of = |columns: &[usize]| ns_per_bar(15, || drop(black_box(matrix(series, context, columns))));
    let all: Vec<usize> = (0..FEATURES.len()).collect();
    let whole = of(&all);
    println!("rows {base:.0} ns a bar; {} features and rows {whole:.0} ns a bar", all.len());
    println!("whole table, rows included: {:.2} ns per feature and bar", whole / all.len() as f64);
    for family in Family::ALL {
        let columns: Vec<usize> = all.iter().copied().filter(|&j| FEATURES[j].family == family).collect();
        let each = (of(&columns) - base) / columns.len() as f64;
        println!("{:<14} {:>3} features  {each:>6.2} ns", family.code(), columns.len());
    }
    let mut single: Vec<(f64, &str)> = all.iter().map(|&j| (of(&[j]) - base, FEATURES[j].name)).collect();
    single.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (ns, name) in &single[..12] {
        println!("{name:<24} {ns:>6.1} ns");
    }
}

fn main() {
    let (series, context) = (walk(3), market());
    report(&series, &context);
    let all: Vec<usize> = (0..FEATURES.len()).collect();
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("features");
    group.throughput(Throughput::Elements((BARS * all.len()) as u64));
    group.bench_function("matrix", |b| b.iter(|| matrix(black_box(&series), &context, &all)));
    group.throughput(Throughput::Elements(BARS as u64));
    group.bench_function("rows", |b| b.iter(|| rows(black_box(&series), &context)));
    group.bench_function("context_add", |b| {
        b.iter_batched(
            || ContextSums::new(Timeframe::H1, START, BARS),
            |mut sums| sums.add(&series).map(|()| sums),
            criterion::BatchSize::LargeInput,
        )
    });
    group.finish();
    criterion.final_summary();
}
