//! Laws every line of the FEATURES table keeps.

use huracan_core::features::{
    ContextSums, FEATURES, Family, FeatureMatrix, LiveError, LiveFeatures, MarketContext, MarketRow, Needs,
    index_of, matrix, matrix_from,
};
use huracan_core::series::{Bar, Series};
use huracan_core::words::{Market, Seed, Symbol, Timeframe, UtcMs};
use rand::RngExt;

const START: i64 = 1_735_689_600_000;
/// Bars of the market before the coins under test are listed, so that context is full for them.
const BEFORE: usize = 200;

/// A coin on hourly bars: random walk with stochastic volatility, volume coupled to it.
fn coin(seed: u64, start: UtcMs, bars: usize) -> Series {
    let mut rng = Seed(seed).child("coin", 0).rng();
    let mut normal = || {
        let uniform: f64 = (0..12).map(|_| rng.random::<f64>()).sum();
        uniform - 6.0
    };
    let mut series = Series {
        symbol: Symbol::parse(&format!("COIN{seed}USDT"), Market::Spot).unwrap(),
        timeframe: Timeframe::H1,
        start,
        open: vec![],
        high: vec![],
        low: vec![],
        close: vec![],
        volume: vec![],
        quote_volume: vec![],
        trades: Some(vec![]),
        taker_buy_base: Some(vec![]),
    };
    let (mut price, mut log_vol): (f64, f64) = (10.0 + (seed % 7) as f64, -5.0);
    for _ in 0..bars {
        log_vol += 0.02 * (-5.0 - log_vol) + 0.1 * normal();
        let step = log_vol.exp() / 2.0;
        let open = price * (0.1 * step * normal()).exp();
        let path: Vec<f64> = (0..4)
            .scan(open, |p, _| {
                *p *= (step * normal()).exp();
                Some(*p)
            })
            .collect();
        let close = path[3];
        let volume = (3.0 + 0.8 * (log_vol + 5.0) + 0.5 * normal()).exp() * 1e4;
        series.open.push(open);
        series.high.push(path.iter().copied().fold(open, f64::max));
        series.low.push(path.iter().copied().fold(open, f64::min));
        series.close.push(close);
        series.volume.push(volume);
        series.quote_volume.push(volume * 0.5 * (open + close));
        series.trades.as_mut().unwrap().push((volume / 300.0 * (0.3 * normal()).exp()).ceil());
        series.taker_buy_base.as_mut().unwrap().push(volume * (0.5 + 0.1 * normal()).clamp(0.0, 1.0));
        price = close;
    }
    series
}

/// A market of fifteen coins over `BEFORE + bars` hours.
fn market(bars: usize) -> MarketContext {
    let coins: Vec<Series> = (100..115).map(|seed| coin(seed, UtcMs(START), BEFORE + bars)).collect();
    let mut sums = ContextSums::new(Timeframe::H1, UtcMs(START), BEFORE + bars);
    coins.iter().for_each(|coin| sums.add(coin).unwrap());
    sums.finish(Some(&coins[0]), Some(&coins[1])).unwrap()
}

fn listed(seed: u64, bars: usize) -> Series {
    coin(seed, UtcMs(START + BEFORE as i64 * UtcMs::HOUR), bars)
}

fn all() -> Vec<usize> {
    (0..FEATURES.len()).collect()
}

fn whole(series: &Series, context: &MarketContext) -> FeatureMatrix {
    matrix(series, context, &all())
}

fn put(series: &mut Series, i: usize, bar: Bar) {
    series.open[i] = bar.open;
    series.high[i] = bar.high;
    series.low[i] = bar.low;
    series.close[i] = bar.close;
    series.volume[i] = bar.volume;
    series.quote_volume[i] = bar.quote_volume;
    series.trades.as_mut().unwrap()[i] = bar.trades;
    series.taker_buy_base.as_mut().unwrap()[i] = bar.taker_buy_base;
}

fn cut(series: &Series, from: usize, to: usize) -> Series {
    series.rows(from..to)
}

/// Asserts equality to `tolerance`, relative where the size is above 1; NaN equals NaN.
fn check_close(what: &str, found: f64, expected: f64, tolerance: f64) {
    let fine = (found.is_nan() && expected.is_nan())
        || (found - expected).abs() <= tolerance * expected.abs().max(1.0);
    assert!(fine, "{what}: {found}, expected {expected}");
}

#[test]
fn the_table_is_well_formed() {
    assert!(FEATURES.len() >= 100, "{} features", FEATURES.len());
    for (i, f) in FEATURES.iter().enumerate() {
        assert_eq!(index_of(f.name), Some(i), "{} is named twice", f.name);
        assert!(
            f.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
            "{}",
            f.name
        );
        assert!((1..=745).contains(&f.lookback), "{}", f.name);
        assert!(!f.unit.is_empty() && !f.doc.is_empty() && !f.source.is_empty(), "{}", f.name);
    }
    for family in Family::ALL {
        assert!(FEATURES.iter().any(|f| f.family == family), "{} is empty", family.code());
    }
}

#[test]
fn the_first_value_comes_exactly_at_the_lookback_and_none_is_missing_after() {
    let m = whole(&listed(1, 1_500), &market(1_500));
    for (j, f) in FEATURES.iter().enumerate() {
        let column = m.column(j);
        for (i, value) in column.iter().enumerate() {
            assert_eq!(value.is_finite(), i + 1 >= f.lookback, "{} at row {i}: {value}", f.name);
        }
        let spread = column[f.lookback..].iter().any(|v| *v != column[f.lookback]);
        assert!(
            spread || matches!(f.name, "missing_share_168" | "quiet_share_168" | "flat_share_168"),
            "{} is constant",
            f.name
        );
    }
}

#[test]
fn the_past_does_not_change_when_the_future_does() {
    let (series, context) = (listed(2, 1_200), market(1_200));
    let before = whole(&series, &context);
    let mut other = series.clone();
    let foreign = listed(3, 1_200);
    let from = 900;
    (from..1_200).for_each(|i| put(&mut other, i, foreign.bar(i)));
    let after = whole(&other, &context);
    let never = whole(&cut(&series, 0, from), &context);
    let mut changed = 0;
    for (j, f) in FEATURES.iter().enumerate() {
        for i in 0..from {
            let (a, b) = (before.column(j)[i], after.column(j)[i]);
            assert_eq!(a.to_bits(), b.to_bits(), "{} at row {i}", f.name);
            assert_eq!(a.to_bits(), never.column(j)[i].to_bits(), "{} at row {i}, no future", f.name);
        }
        changed += usize::from((from..1_200).any(|i| before.column(j)[i] != after.column(j)[i]));
    }
    assert!(changed > FEATURES.len() * 9 / 10, "only {changed} features saw the change");
}

#[test]
fn the_market_of_the_past_does_not_change_when_the_future_does() {
    let bars = 600;
    let coins: Vec<Series> = (100..115).map(|seed| coin(seed, UtcMs(START), bars)).collect();
    let context = |coins: &[Series]| {
        let mut sums = ContextSums::new(Timeframe::H1, UtcMs(START), bars);
        coins.iter().for_each(|coin| sums.add(coin).unwrap());
        sums.finish(Some(&coins[0]), Some(&coins[1])).unwrap()
    };
    let mut others = coins.clone();
    for (other, seed) in others.iter_mut().zip(500..) {
        let foreign = coin(seed, UtcMs(START), bars);
        (400..bars).for_each(|i| put(other, i, foreign.bar(i)));
    }
    let (a, b) = (context(&coins), context(&others));
    for i in 0..400 {
        let time = UtcMs(START + i * UtcMs::HOUR);
        assert_eq!(format!("{:?}", a.row_at(time)), format!("{:?}", b.row_at(time)), "hour {i}");
    }
}

#[test]
fn live_equals_batch_bit_for_bit() {
    let (mut series, context) = (listed(4, 1_100), market(1_100));
    (300..310).for_each(|i| put(&mut series, i, Bar::MISSING));
    let batch = whole(&series, &context);
    let mut live = LiveFeatures::new(&all(), series.symbol.clone(), Timeframe::H1);
    for i in 0..series.len() {
        let time = series.time(i);
        let row = live.push(time, &series.bar(i), &context.row_at(time)).unwrap();
        for (j, value) in row.iter().enumerate() {
            assert_eq!(value.to_bits(), batch.column(j)[i].to_bits(), "{} at row {i}", FEATURES[j].name);
        }
    }
}

#[test]
fn a_live_series_takes_each_bar_once_and_in_order() {
    let series = listed(5, 10);
    let mut live = LiveFeatures::new(&all(), series.symbol.clone(), Timeframe::H1);
    let nothing = MarketRow::UNDEFINED;
    let missing = live.push(series.time(0), &Bar::MISSING, &nothing).map(|_| ());
    assert!(matches!(missing, Err(LiveError::FirstMissing { .. })));
    assert!(live.push(series.time(0), &series.bar(0), &nothing).is_ok());
    for late in [0, 2] {
        let refused = live.push(series.time(late), &series.bar(late), &nothing).map(|_| ());
        assert!(matches!(refused, Err(LiveError::NotNext { .. })));
    }
    assert!(live.push(series.time(1), &series.bar(1), &nothing).is_ok());
}

#[test]
fn a_subset_of_columns_gives_the_same_columns() {
    let (series, context) = (listed(6, 900), market(900));
    let full = whole(&series, &context);
    let some: Vec<usize> = (0..FEATURES.len()).rev().step_by(7).collect();
    let part = matrix(&series, &context, &some);
    for (k, &j) in some.iter().enumerate() {
        let bits = |column: &[f64]| column.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(part.column(k)), bits(full.column(j)), "{}", FEATURES[j].name);
    }
}

/// A start in the middle agrees with a long history once lookback and decay have passed; for finite
/// windows right at the first value. This is what makes `lookback` true from below.
#[test]
fn history_before_lookback_and_decay_does_not_matter() {
    let bars = 4_000;
    let (series, context) = (listed(7, bars), market(bars));
    let from = 700;
    let (long, short) = (whole(&series, &context), whole(&cut(&series, from, bars), &context));
    for (j, f) in FEATURES.iter().enumerate().filter(|(_, f)| f.name != "listing_age") {
        for i in f.lookback - 1 + f.decay..bars - from {
            check_close(f.name, short.column(j)[i], long.column(j)[from + i], 1e-6);
        }
    }
}

/// Broken stretches: the same closes after them, then equal values after lookback and decay.
#[test]
fn nothing_poisons_later_values() {
    let bars = 4_200;
    let (series, context) = (listed(8, bars), market(bars));
    let clean = whole(&series, &context);
    let (from, to) = (300, 700);
    let last = series.close[from - 1];
    let flat = |volume: f64| Bar {
        open: last,
        high: last,
        low: last,
        close: last,
        volume,
        quote_volume: volume * last,
        trades: 0.0,
        taker_buy_base: 0.0,
    };
    let spike = |bar: Bar| Bar { high: bar.high * 1e6, volume: bar.volume * 1e6, ..bar };
    let no_columns = |bar: Bar| Bar { trades: f64::NAN, taker_buy_base: f64::NAN, ..bar };
    let broken = |bar: Bar| Bar { close: -1.0, ..bar };
    type Defect<'a> = (&'a str, Box<dyn Fn(usize, Bar) -> Bar + 'a>);
    let defects: Vec<Defect> = vec![
        ("missing", Box::new(|_, _| Bar::MISSING)),
        ("every third missing", Box::new(|i, bar| if i % 3 == 0 { Bar::MISSING } else { bar })),
        ("flat and silent", Box::new(|_, _| flat(0.0))),
        ("flat with volume", Box::new(|_, _| flat(1.0))),
        ("silent", Box::new(|_, bar| Bar { volume: 0.0, quote_volume: 0.0, ..bar })),
        ("spikes", Box::new(|i, bar| if i % 100 == 0 { spike(bar) } else { bar })),
        ("without columns", Box::new(|_, bar| no_columns(bar))),
        ("impossible", Box::new(|i, bar| if i % 5 == 0 { broken(bar) } else { bar })),
    ];
    for (what, defect) in &defects {
        let mut hurt = series.clone();
        (from..to).for_each(|i| put(&mut hurt, i, defect(i, series.bar(i))));
        let m = whole(&hurt, &context);
        for (j, f) in FEATURES.iter().enumerate() {
            let column = m.column(j);
            for (i, value) in column.iter().enumerate() {
                assert!(
                    !value.is_infinite() && value.abs() < 1e7 || value.is_nan(),
                    "{} at {i}, {what}: {value}",
                    f.name
                );
                let present = hurt.bar(i).is_present() && hurt.close[i] > 0.0;
                let column_there =
                    !matches!(f.needs, Needs::Taker | Needs::Trades) || !hurt.bar(i).trades.is_nan();
                let due = present
                    && column_there
                    && i + 1 >= f.lookback.max(if f.needs == Needs::CrossSection { 169 } else { 0 });
                assert_eq!(!value.is_nan(), due, "{} at row {i}, {what}: {value}", f.name);
            }
            for i in to + f.lookback + f.decay..bars {
                check_close(&format!("{} at {i}, {what}", f.name), column[i], clean.column(j)[i], 1e-6);
            }
        }
    }
}

#[test]
fn a_coin_flat_and_silent_from_birth_stays_finite_and_recovers() {
    let bars = 4_000;
    let (series, context) = (listed(9, bars), market(bars));
    let mut still = series.clone();
    for i in 0..300 {
        let price = series.open[0];
        let bar = Bar {
            open: price,
            high: price,
            low: price,
            close: price,
            volume: 0.0,
            quote_volume: 0.0,
            trades: 0.0,
            taker_buy_base: 0.0,
        };
        put(&mut still, i, bar);
    }
    let (m, clean) = (whole(&still, &context), whole(&series, &context));
    for (j, f) in FEATURES.iter().enumerate() {
        for i in f.lookback - 1..bars {
            let value = m.column(j)[i];
            assert!(value.is_finite() && value.abs() < 1e7, "{} at row {i}: {value}", f.name);
        }
        for i in 300 + f.lookback + f.decay..bars {
            check_close(f.name, m.column(j)[i], clean.column(j)[i], 1e-6);
        }
    }
}

#[test]
fn values_do_not_depend_on_the_unit_of_price_or_volume() {
    let (series, context) = (listed(10, 1_500), market(1_500));
    let scaled = |price: f64, volume: f64| {
        let mut other = series.clone();
        for column in [&mut other.open, &mut other.high, &mut other.low, &mut other.close] {
            column.iter_mut().for_each(|x| *x *= price);
        }
        other.volume.iter_mut().for_each(|x| *x *= volume);
        other.quote_volume.iter_mut().for_each(|x| *x *= price * volume);
        other.taker_buy_base.as_mut().unwrap().iter_mut().for_each(|x| *x *= volume);
        whole(&other, &context)
    };
    let base = whole(&series, &context);
    let (same_money, other_money) = (scaled(1_000.0, 0.001), scaled(1_000.0, 1.0 / 7.0));
    for (j, f) in FEATURES.iter().enumerate() {
        for i in 0..series.len() {
            let expected = base.column(j)[i];
            check_close(f.name, same_money.column(j)[i], expected, 1e-6);
            if f.name != "rank_turnover" {
                check_close(f.name, other_money.column(j)[i], expected, 1e-6);
            }
        }
    }
}

#[test]
fn a_shock_leaves_finite_windows_without_a_trace() {
    let bars = 2_600;
    let (series, context) = (listed(11, bars), market(bars));
    let clean = whole(&series, &context);
    let mut shocked = series.clone();
    let at = 800;
    let bar = series.bar(at);
    put(
        &mut shocked,
        at,
        Bar { high: bar.high * 1e6, volume: bar.volume * 1e6, quote_volume: bar.quote_volume * 1e6, ..bar },
    );
    let m = whole(&shocked, &context);
    for (j, f) in FEATURES.iter().enumerate().filter(|(_, f)| f.decay == 0) {
        for i in at + f.lookback..bars {
            check_close(&format!("{} at {i}", f.name), m.column(j)[i], clean.column(j)[i], 1e-9);
        }
    }
}

#[test]
fn features_without_their_columns_or_market_are_undefined_and_the_rest_is_not() {
    let mut series = listed(12, 900);
    series.trades = None;
    series.taker_buy_base = None;
    let m = whole(&series, &MarketContext::empty(Timeframe::H1));
    for (j, f) in FEATURES.iter().enumerate() {
        let defined = m.column(j)[899].is_finite();
        assert_eq!(defined, f.needs == Needs::Ohlcv, "{}", f.name);
    }
}

#[test]
fn spans_the_market_has_not_lived_yet_are_undefined() {
    let coins: Vec<Series> = (100..115).map(|seed| coin(seed, UtcMs(START), 400)).collect();
    let mut sums = ContextSums::new(Timeframe::H1, UtcMs(START), 400);
    coins.iter().for_each(|coin| sums.add(coin).unwrap());
    let context = sums.finish(Some(&coins[0]), None).unwrap();
    for (name, first) in [
        ("market_ret_72", 71),
        ("market_ret_168", 167),
        ("dispersion_24_168", 167),
        ("dispersion_sigma_24", 24),
        ("breadth_24", 23),
        ("btc_ret_24", 24),
        ("turnover_share_24_168", 167),
    ] {
        let m = matrix(&coins[5], &context, &[index_of(name).unwrap()]);
        assert_eq!(m.column(0).iter().position(|v| !v.is_nan()), Some(first), "{name}");
    }
}

#[test]
fn rows_from_a_bar_on_are_those_of_the_whole_matrix() {
    const BARS: usize = 4_000;
    let mut coins: Vec<Series> = (60..75).map(|seed| coin(seed, UtcMs(START), BARS)).collect();
    // Gaps, one of them about as long as the longest windows, and a flat stretch.
    [400..403, 1_900..1_960, 3_000..3_001]
        .into_iter()
        .flatten()
        .for_each(|i| put(&mut coins[2], i, Bar::MISSING));
    let flat = coins[2].bar(2_400);
    (2_400..2_600).for_each(|i| put(&mut coins[2], i, flat));
    let mut sums = ContextSums::new(Timeframe::H1, UtcMs(START), BARS);
    coins.iter().for_each(|coin| sums.add(coin).unwrap());
    let context = sums.finish(Some(&coins[0]), Some(&coins[1])).unwrap();
    let columns: Vec<usize> = (0..FEATURES.len()).collect();
    let whole = matrix(&coins[2], &context, &columns);
    for first in (0..20).chain((100..BARS).step_by(97)).chain([BARS - 1, BARS]) {
        let late = matrix_from(&coins[2], &context, &columns, first);
        assert_eq!((late.n, late.p), (BARS - first, columns.len()));
        for j in 0..columns.len() {
            let bits = |v: &[f64]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            let name = FEATURES[j].name;
            assert_eq!(bits(late.column(j)), bits(&whole.column(j)[first..]), "{name} from {first} on");
        }
    }
}

#[test]
fn a_market_does_not_know_a_coin_from_before_it_was_a_member() {
    let coins: Vec<Series> = (40..55).map(|seed| coin(seed, UtcMs(START), 400)).collect();
    let market = |late: Option<UtcMs>, n: usize| {
        let mut sums = ContextSums::new(Timeframe::H1, UtcMs(START), 400);
        coins[..n - 1].iter().for_each(|coin| sums.add(coin).unwrap());
        let last = &coins[n - 1];
        sums.add_from(last, late.unwrap_or(last.start)).unwrap();
        sums.finish(None, None).unwrap()
    };
    let joined = coins[0].time(250);
    let (without, with, late) = (market(None, 14), market(None, 15), market(Some(joined), 15));
    for i in 0..400 {
        let time = coins[0].time(i);
        let (without, with, late) = (without.row_at(time), with.row_at(time), late.row_at(time));
        let expected = if time < joined { without } else { with };
        assert_eq!(late.tables, expected.tables, "bar {i}");
        assert_eq!(late.figures.coins, expected.figures.coins, "bar {i}");
        let moved = |row: &MarketRow| row.figures.returns[0].to_bits();
        assert_eq!(moved(&late), moved(&expected), "bar {i}");
    }
}

#[test]
fn market_sums_are_the_same_bits_in_any_order_and_partition() {
    let mut coins: Vec<Series> = (20..34).map(|seed| coin(seed, UtcMs(START), 400)).collect();
    coins[3] = cut(&coins[3], 150, 400);
    coins[4] = coin(90, UtcMs(START - 50 * UtcMs::HOUR), 300);
    (100..130).for_each(|i| put(&mut coins[5], i, Bar::MISSING));
    let grid = || ContextSums::new(Timeframe::H1, UtcMs(START), 400);
    let mut forward = grid();
    coins.iter().for_each(|coin| forward.add(coin).unwrap());
    let mut backward = grid();
    coins.iter().rev().for_each(|coin| backward.add(coin).unwrap());
    let mut parts = [grid(), grid(), grid()];
    coins.iter().enumerate().for_each(|(i, coin)| parts[i % 3].add(coin).unwrap());
    let [mut merged, second, third] = parts;
    merged.merge(&third).unwrap();
    merged.merge(&second).unwrap();
    assert!(forward == backward && forward == merged);
}

#[test]
fn market_figures_do_not_depend_on_where_the_grid_starts() {
    let coins: Vec<Series> = (20..32).map(|seed| coin(seed, UtcMs(START), 700)).collect();
    let context = |skip: usize| {
        let mut sums = ContextSums::new(Timeframe::H1, UtcMs(START + skip as i64 * UtcMs::HOUR), 700 - skip);
        coins.iter().for_each(|coin| sums.add(coin).unwrap());
        sums.finish(Some(&coins[0]), None).unwrap()
    };
    let (long, short) = (context(0), context(300));
    for hour in 300 + 168..700 {
        let time = UtcMs(START + hour * UtcMs::HOUR);
        assert_eq!(format!("{:?}", long.row_at(time)), format!("{:?}", short.row_at(time)));
    }
}

#[test]
fn market_figures_are_means_over_the_coins_that_are_there() {
    let mut coins: Vec<Series> = (20..32).map(|seed| coin(seed, UtcMs(START), 300)).collect();
    put(&mut coins[2], 250, Bar::MISSING);
    put(&mut coins[3], 249, Bar::MISSING);
    let mut sums = ContextSums::new(Timeframe::H1, UtcMs(START), 300);
    coins.iter().for_each(|coin| sums.add(coin).unwrap());
    let row = sums.finish(None, Some(&coins[1])).unwrap().row_at(UtcMs(START + 250 * UtcMs::HOUR)).figures;
    let counted: Vec<f64> =
        coins.iter().map(|c| (c.close[250] / c.close[249]).ln()).filter(|r| r.is_finite()).collect();
    assert_eq!((counted.len(), row.coins), (10, 10.0));
    let mean = counted.iter().sum::<f64>() / 10.0;
    check_close("mean", row.returns[0], mean, 1e-11);
    let rising = counted.iter().filter(|r| **r > 0.0).count() as f64;
    check_close("breadth", row.breadth[0], (2.0 * rising - 10.0) / 10.0, 1e-11);
    check_close("ether", row.eth[1], (coins[1].close[250] / coins[1].close[246]).ln(), 1e-11);
    assert!(row.btc[0].is_nan());
}

#[test]
fn ranks_follow_the_order_of_the_coins() {
    let bars = 400;
    let coins: Vec<Series> = (20..60).map(|seed| coin(seed, UtcMs(START), bars)).collect();
    let mut sums = ContextSums::new(Timeframe::H1, UtcMs(START), bars);
    coins.iter().for_each(|coin| sums.add(coin).unwrap());
    let context = sums.finish(None, None).unwrap();
    let value = |series: &Series, name: &str| {
        *matrix(series, &context, &[index_of(name).unwrap()]).column(0).last().unwrap()
    };
    for (rank, plain) in [("rank_ret_72", "ret_72"), ("rank_volume_surge", "volume_surge_24_168")] {
        let mut seen: Vec<(f64, f64)> = coins.iter().map(|c| (value(c, plain), value(c, rank))).collect();
        seen.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(seen.windows(2).all(|w| w[0].1 <= w[1].1 + 1e-12), "{rank} is out of order");
        for (i, (_, found)) in seen.iter().enumerate() {
            let exact = (2.0 * i as f64 + 1.0) / 40.0 - 1.0;
            assert!((found - exact).abs() < 0.12, "{rank}: {found}, exact {exact}");
        }
    }
}

#[test]
fn a_series_that_does_not_fit_the_grid_is_refused() {
    let mut sums = ContextSums::new(Timeframe::M15, UtcMs(START), 10);
    let message = sums.add(&listed(1, 5)).unwrap_err().to_string();
    assert!(message.starts_with("COIN1USDT: bars of 1h, but the market context is made of 15m"), "{message}");
    let mut sums = ContextSums::new(Timeframe::H1, UtcMs(START + 1), 10);
    assert!(sums.add(&listed(1, 5)).is_err());
    assert!(sums.merge(&ContextSums::new(Timeframe::H1, UtcMs(START), 10)).is_err());
}
