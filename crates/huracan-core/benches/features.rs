//! What the FEATURES table costs: nanoseconds per feature and bar on one core, over the whole
//! table, per family, and for the dearest single features.
//!
//! `cargo bench -p huracan-core --bench features`; the budget is 8 ns on average, rows included.

use criterion::{Criterion, Throughput};
use huracan_core::features::{ContextSums, FEATURES, Family, MarketContext, matrix, rows};
use huracan_core::series::Series;
use huracan_core::words::{Market, Seed, Symbol, Timeframe, UtcMs};
use rand::RngExt;
use std::hint::black_box;
use std::time::Instant;

/// As many hourly bars as ten months have.
const BARS: usize = 6_800;
const START: UtcMs = UtcMs(1_735_689_600_000);

/// A random walk with every column a source can carry.
fn walk(seed: u64) -> Series {
    let mut rng = Seed(seed).child("bench", 0).rng();
    let mut column = |scale: f64| (0..BARS).map(|_| scale * rng.random::<f64>()).collect::<Vec<f64>>();
    let (steps, up, down, volume, share) =
        (column(0.02), column(0.004), column(0.004), column(1e6), column(1.0));
    let close: Vec<f64> = steps
        .iter()
        .scan(100.0, |p, s| {
            *p *= (s - 0.01).exp();
            Some(*p)
        })
        .collect();
    let open: Vec<f64> = (0..BARS).map(|i| if i == 0 { 100.0 } else { close[i - 1] }).collect();
    let edge = |i: usize, pick: fn(f64, f64) -> f64| pick(open[i], close[i]);
    Series {
        symbol: Symbol::parse(&format!("WALK{seed}USDT"), Market::Spot).expect("a symbol"),
        timeframe: Timeframe::H1,
        start: START,
        high: (0..BARS).map(|i| edge(i, f64::max) * (1.0 + up[i])).collect(),
        low: (0..BARS).map(|i| edge(i, f64::min) * (1.0 - down[i])).collect(),
        quote_volume: (0..BARS).map(|i| volume[i] * close[i]).collect(),
        trades: Some(volume.iter().map(|v| (v / 500.0).ceil()).collect()),
        taker_buy_base: Some(volume.iter().zip(&share).map(|(v, s)| v * s).collect()),
        open,
        close,
        volume,
    }
}

fn market() -> MarketContext {
    let coins: Vec<Series> = (0..12).map(walk).collect();
    let mut sums = ContextSums::new(Timeframe::H1, START, BARS);
    coins.iter().for_each(|coin| sums.add(coin).expect("one grid"));
    sums.finish(Some(&coins[0]), Some(&coins[1])).expect("one grid")
}

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
