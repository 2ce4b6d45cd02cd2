//! What the generated market promises, measured.

use super::*;
use crate::series::Series;

/// Hourly, 180 days: long enough for averages over coins, short enough for a test.
fn spec() -> MarketSpec {
    MarketSpec {
        seed: Seed(7),
        coins: 90,
        days: 180,
        planted_shared: 16,
        planted_private: 8,
        late_listings: 4,
        thin: 3,
        ..MarketSpec::default()
    }
}

/// Columns of the clean coins on the market's grid, NaN where there is no bar.
struct Panel {
    coins: Vec<Coin>,
    close: Vec<Vec<f64>>,
    volume: Vec<Vec<f64>>,
}

fn panel(spec: &MarketSpec) -> Panel {
    let clean = |coin: &Coin| !matches!(coin.truth.kind, Kind::Dirty(_) | Kind::Stable);
    let coins: Vec<Coin> = coins(spec).filter(clean).collect();
    let on_grid = |coin: &Coin, column: &[f64]| {
        let mut grid = vec![f64::NAN; spec.bars()];
        for (time, value) in coin.bars.open_time.iter().zip(column) {
            grid[((time - spec.start.0) / spec.timeframe.ms()) as usize] = *value;
        }
        grid
    };
    let close = coins.iter().map(|c| on_grid(c, &c.bars.close)).collect();
    let volume = coins.iter().map(|c| on_grid(c, &c.bars.volume)).collect();
    Panel { coins, close, volume }
}

impl Panel {
    /// `ln close[t] − ln close[t−bars]`.
    fn back(&self, coin: usize, t: usize, bars: usize) -> f64 {
        (self.close[coin][t] / self.close[coin][t - bars]).ln()
    }

    /// Forward 24-bar return entered one bar late, less the mean over coins, for every coin.
    fn labels(&self, t: usize) -> Vec<f64> {
        let ahead = |c: &Vec<f64>| (c[t + 25] / c[t + 1]).ln();
        let raw: Vec<f64> = self.close.iter().map(ahead).collect();
        let present: Vec<f64> = raw.iter().copied().filter(|r| r.is_finite()).collect();
        let mean = present.iter().sum::<f64>() / present.len() as f64;
        raw.iter().map(|r| r - mean).collect()
    }
}

/// Root mean square of the relative hourly returns over the past 96 bars.
fn volatility(panel: &Panel, market: &[f64], coin: usize, t: usize) -> f64 {
    let square = |k: usize| (panel.back(coin, k, 1) - market[k]).powi(2);
    let known: Vec<f64> = (t - 95..=t).map(square).filter(|s| s.is_finite()).collect();
    (known.iter().sum::<f64>() / known.len() as f64).sqrt()
}

fn market_returns(panel: &Panel, bars: usize) -> Vec<f64> {
    let mean = |t: usize| {
        let all = (0..panel.coins.len()).map(|c| panel.back(c, t, 1));
        let known: Vec<f64> = all.filter(|r| r.is_finite()).collect();
        known.iter().sum::<f64>() / known.len() as f64
    };
    std::iter::once(0.0).chain((1..bars).map(mean)).collect()
}

fn correlation(pairs: &[(f64, f64)]) -> f64 {
    let n = pairs.len() as f64;
    let (mx, my) = pairs.iter().fold((0.0, 0.0), |m, p| (m.0 + p.0 / n, m.1 + p.1 / n));
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (x, y) in pairs {
        xx += (x - mx) * (x - mx);
        yy += (y - my) * (y - my);
        xy += (x - mx) * (y - my);
    }
    xy / (xx * yy).sqrt()
}

/// Lagged predictors of coin `c` at `t`, all known at the close of bar `t`.
fn predictors(panel: &Panel, market: &[f64], c: usize, t: usize) -> [f64; 8] {
    let sigma = volatility(panel, market, c, t);
    let past_market = |bars: usize| market[t + 1 - bars..=t].iter().sum::<f64>();
    let own = |bars: usize| panel.back(c, t, bars) / (sigma * (bars as f64).sqrt());
    let relative = (panel.back(c, t, 72) - past_market(72)) / (sigma * 72.0_f64.sqrt());
    let surge = (panel.volume[c][t] / panel.volume[c][t - 24]).ln();
    [own(1), own(4), own(24), own(72), own(168), relative, past_market(24) * 50.0, surge]
}

#[test]
fn noise_coins_are_martingales_relative_to_the_market_and_planted_ones_are_not() {
    let spec = spec();
    let panel = panel(&spec);
    let market = market_returns(&panel, spec.bars());
    let (mut noise, mut drift, mut planted) = (Vec::new(), Vec::new(), Vec::new());
    let mut samples: Vec<Vec<([f64; 8], f64)>> = vec![Vec::new(); panel.coins.len()];
    for t in (400..spec.bars() - 26).step_by(25) {
        let labels = panel.labels(t);
        for c in 0..panel.coins.len() {
            let row = predictors(&panel, &market, c, t);
            let label = labels[c] / (volatility(&panel, &market, c, t) * 24.0_f64.sqrt());
            if label.is_finite() && row.iter().all(|x| x.is_finite()) {
                samples[c].push((row, label.clamp(-6.0, 6.0)));
            }
        }
    }
    for (coin, rows) in panel.coins.iter().zip(&samples) {
        if rows.len() < 60 {
            continue;
        }
        for k in 0..8 {
            // Means are zero by construction; subtracting sample means would bias momentum down.
            let products = || rows.iter().map(|(x, y)| x[k] * y);
            let sum = products().sum::<f64>();
            let t = sum / products().map(|p| p * p).sum::<f64>().sqrt();
            match coin.truth.kind {
                Kind::Noise => {
                    noise.push(t.abs());
                    drift.push(sum / (rows.len() as f64).sqrt());
                }
                Kind::PlantedShared if k == 5 => planted.push(t),
                _ => {}
            }
        }
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (size, bias, found) = (mean(&noise), mean(&drift), mean(&planted));
    eprintln!("noise: {} t-values, mean |t| {size:.3}, bias {bias:.3}", noise.len());
    eprintln!("planted: mean t {found:.2}");
    // The mean of |t| of independent draws is √(2/π) = 0.798. The bias is judged on the
    // numerators: a t of a persistent predictor leans down even on a martingale (Dickey–Fuller).
    assert!((0.70..0.92).contains(&size), "mean |t| {size}");
    assert!(bias.abs() < 0.3, "bias {bias}");
    assert!(found > 2.5, "mean planted t {found}");
}

#[test]
fn a_planted_drift_has_the_promised_correlation_with_its_label() {
    let spec = spec();
    let panel = panel(&spec);
    let mut by_kind = [Vec::new(), Vec::new()];
    let mut edge_bps = Vec::new();
    let mut sharpe = Vec::new();
    for (c, coin) in panel.coins.iter().enumerate() {
        if !coin.truth.kind.is_planted() {
            assert!(coin.truth.drift.is_empty());
            continue;
        }
        let mut pairs = Vec::new();
        let mut gain = Vec::new();
        let market = market_returns(&panel, spec.bars());
        for t in (400..spec.bars() - 26).step_by(3) {
            let label = panel.labels(t)[c];
            let sigma = volatility(&panel, &market, c, t);
            let signal = coin.truth.drift[t + 1];
            if label.is_finite() && sigma.is_finite() {
                pairs.push((signal / sigma, label / (sigma * 24.0_f64.sqrt())));
                gain.push(label * signal.signum() * 1e4);
            }
        }
        let shared = coin.truth.kind == Kind::PlantedShared;
        by_kind[usize::from(!shared)].push(correlation(&pairs));
        let n = gain.len() as f64;
        let mean = gain.iter().sum::<f64>() / n;
        let sd = (gain.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / n).sqrt();
        edge_bps.push(mean);
        // A full round trip of 25 bps every day, more than a real book would pay.
        sharpe.push((mean - 25.0) / sd * 365.0_f64.sqrt());
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (shared, private) = (mean(&by_kind[0]), mean(&by_kind[1]));
    eprintln!("label correlation: shared {shared:.3}, private {private:.3}");
    let (gain, sharpe) = (mean(&edge_bps), mean(&sharpe));
    eprintln!("following the sign: {gain:.1} bps per 24 bars, Sharpe after costs {sharpe:.2}");
    assert!((0.19..0.31).contains(&shared), "shared {shared}");
    assert!((0.19..0.31).contains(&private), "private {private}");
    assert!(gain > 65.0, "worth {gain} bps before costs");
    assert!(sharpe > 1.5, "Sharpe {sharpe} after costs");
}

#[test]
fn planted_drifts_add_up_to_zero_in_every_bar() {
    let spec = MarketSpec { coins: 30, days: 40, planted_shared: 5, planted_private: 3, ..spec() };
    let planted: Vec<Coin> = coins(&spec).filter(|coin| coin.truth.kind.is_planted()).collect();
    assert_eq!(planted.len(), 8);
    let mut moving = 0;
    for bar in 0..spec.bars() {
        let sum: f64 = planted.iter().map(|coin| coin.truth.drift[bar]).sum();
        assert!(sum.abs() < 1e-12, "bar {bar}: {sum}");
        moving += usize::from(planted[0].truth.drift[bar] != 0.0);
    }
    assert!(moving > 500);
}

#[test]
fn a_drift_does_not_know_the_future() {
    let long = MarketSpec { coins: 20, days: 60, outages: 0, late_listings: 0, ..spec() };
    let short = MarketSpec { days: 45, ..long.clone() };
    let mut compared = 0;
    for (a, b) in coins(&long).zip(coins(&short)) {
        if a.truth.kind.is_planted() {
            compared += 1;
            assert_eq!(a.truth.drift[..short.bars()], b.truth.drift[..]);
            assert_eq!(a.bars.close[..short.bars()], b.bars.close[..]);
        }
    }
    assert!(compared > 5);
}

#[test]
fn the_spread_is_in_the_prices() {
    // A quiet market shows the bounce: Roll's estimator 2·√(−cov) on one-minute bars.
    let spec = MarketSpec {
        seed: Seed(3),
        coins: 40,
        days: 20,
        timeframe: Timeframe::M1,
        planted_shared: 0,
        planted_private: 0,
        stablecoins: 0,
        dirty: 0,
        late_listings: 0,
        outages: 0,
        ..MarketSpec::default()
    };
    let mut ratios = Vec::new();
    for coin in coins(&spec).filter(|coin| coin.truth.true_spread_bps > 6.0) {
        let closes = &coin.bars.close;
        let returns: Vec<f64> = closes.windows(2).map(|w| (w[1] / w[0]).ln()).collect();
        let n = returns.len() as f64 - 1.0;
        let covariance = returns.windows(2).map(|w| w[0] * w[1]).sum::<f64>() / n;
        let roll_bps = 2e4 * (-covariance).max(0.0).sqrt();
        ratios.push(roll_bps / coin.truth.true_spread_bps);
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios[ratios.len() / 2];
    eprintln!("Roll / true spread over {} coins: median {median:.3}", ratios.len());
    assert!(ratios.len() >= 5);
    assert!((0.8..1.25).contains(&median), "Roll sees {median} of the true spread");
}

#[test]
fn the_same_seed_gives_the_same_bits_in_any_order_and_another_seed_does_not() {
    let spec = MarketSpec { coins: 24, days: 30, ..spec() };
    let bits = |coin: &Coin| -> Vec<u64> { coin.bars.close.iter().map(|p| p.to_bits()).collect() };
    let forward: Vec<Vec<u64>> = coins(&spec).map(|coin| bits(&coin)).collect();
    let factors = Factors::new(&spec);
    for index in (0..spec.coins).rev() {
        assert_eq!(bits(&coin(&spec, &factors, index)), forward[index]);
    }
    let other = MarketSpec { seed: Seed(8), ..spec };
    assert_ne!(bits(&coins(&other).next().unwrap()), forward[0]);
}

#[test]
fn a_clean_coin_looks_like_a_coin() {
    let spec = spec();
    let mut volume_ratio = Vec::new();
    let mut coupling = Vec::new();
    let mut kurtosis = Vec::new();
    for coin in coins(&spec) {
        let bars = &coin.bars;
        if matches!(coin.truth.kind, Kind::Dirty(_)) {
            continue;
        }
        assert!(bars.open_time.windows(2).all(|w| w[0] < w[1]));
        for i in 0..bars.close.len() {
            let (low, high) = (bars.low[i], bars.high[i]);
            assert!(low > 0.0 && low <= bars.open[i] && bars.open[i] <= high, "{} {i}", coin.symbol);
            assert!(low <= bars.close[i] && bars.close[i] <= high, "{} {i}", coin.symbol);
            assert!(bars.volume[i] > 0.0);
        }
        let n = bars.close.len() as f64;
        if coin.truth.kind == Kind::Stable {
            let mean = bars.close.iter().sum::<f64>() / n;
            let sd = (bars.close.iter().map(|c| (c - mean).powi(2)).sum::<f64>() / n).sqrt();
            assert!((mean - 1.0).abs() < 1e-3 && (2e-5..5e-4).contains(&sd), "{mean} ± {sd}");
            continue;
        }
        let quote = bars.quote_volume.as_ref().unwrap();
        let mut days: Vec<f64> = quote.chunks(24).map(|day| day.iter().sum()).collect();
        days.sort_by(f64::total_cmp);
        volume_ratio.push(days[days.len() / 2] / coin.truth.adv_usd);
        let returns: Vec<f64> = bars.close.windows(2).map(|w| (w[1] / w[0]).ln()).collect();
        let pair = |(r, q): (&f64, &f64)| ((r.abs() + 1e-5).ln(), q.ln());
        coupling.push(correlation(&returns.iter().zip(&quote[1..]).map(pair).collect::<Vec<_>>()));
        let second = returns.iter().map(|r| r.powi(2)).sum::<f64>() / returns.len() as f64;
        let fourth = returns.iter().map(|r| r.powi(4)).sum::<f64>() / returns.len() as f64;
        kurtosis.push(fourth / (second * second));
    }
    let median = |values: &mut Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let (volume, coupled, tails) = (median(&mut volume_ratio), median(&mut coupling), median(&mut kurtosis));
    eprintln!("median day/ADV {volume:.2}, volume-volatility {coupled:.2}, kurtosis {tails:.1}");
    assert!((0.7..1.4).contains(&volume), "median day volume is {volume} of ADV");
    assert!(coupled > 0.15, "volume is not coupled to volatility: {coupled}");
    assert!(tails > 5.0, "tails are thin: kurtosis {tails}");
}

#[test]
fn every_defect_is_really_there() {
    let spec = MarketSpec { coins: 40, days: 120, dirty: 9, outages: 0, ..spec() };
    let hour = spec.timeframe.ms();
    let mut found = Vec::new();
    for coin in coins(&spec) {
        let Kind::Dirty(defect) = coin.truth.kind else { continue };
        found.push(defect.code());
        let bars = &coin.bars;
        let n = bars.close.len();
        let steps = || bars.open_time.windows(2).map(|w| w[1] - w[0]);
        let jump = || {
            let jumps = bars.close.windows(2).map(|w| (w[1] / w[0]).ln().abs());
            jumps.fold(0.0, f64::max)
        };
        let silent = bars.volume.iter().filter(|v| **v == 0.0).count();
        match defect {
            Defect::Gap => assert!(steps().max() > Some(119 * hour)),
            Defect::Duplicates => {
                assert_eq!(steps().filter(|s| *s < 0).count(), 1);
                let mut times = bars.open_time.clone();
                times.sort_unstable();
                times.dedup();
                assert_eq!(n - times.len(), 24);
            }
            Defect::Relisting => {
                assert!(steps().max() > Some(436 * hour));
                assert!(jump() > 2.5);
            }
            Defect::Redenomination => {
                assert!(steps().max() < Some(24 * hour));
                assert!(jump() > 6.0);
            }
            Defect::DeadTail => {
                assert_eq!(silent, 240);
                assert!(bars.open_time[n - 1] < spec.end().0 - 239 * hour);
            }
            Defect::ZeroVolume => assert_eq!(silent, 720),
            Defect::EightRows => assert_eq!(n, 8),
            Defect::NanPrice => {
                assert!(bars.close.iter().any(|c| c.is_nan()));
                assert!(bars.close.iter().any(|c| *c < 0.0));
            }
            Defect::OhlcViolation => {
                let broken = (0..n).filter(|&i| bars.high[i] < bars.low[i].max(bars.close[i]));
                assert!(broken.count() > 30);
            }
        }
    }
    found.sort_unstable();
    let mut expected = Defect::ALL.map(Defect::code);
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn late_listings_start_late_and_small_markets_deal_what_they_can() {
    let spec = spec();
    let late = coins(&spec).filter(|coin| {
        coin.truth.kind == Kind::Noise && coin.truth.listed_at.0 > spec.start.0 + 30 * UtcMs::DAY
    });
    assert_eq!(late.count(), spec.late_listings);
    for coins_in_all in [0, 1, 2, 3, 60] {
        for days in [0, 1, 3] {
            let small = MarketSpec { coins: coins_in_all, days, ..MarketSpec::default() };
            assert_eq!(coins(&small).count(), coins_in_all);
        }
    }
}

/// A coin's bars as a series, gaps as NaN.
fn series(spec: &MarketSpec, coin: &Coin) -> Series {
    let len = spec.bars();
    let bars = &coin.bars;
    let grid = |column: &[f64]| {
        let mut out = vec![f64::NAN; len];
        for (time, value) in bars.open_time.iter().zip(column) {
            out[((time - spec.start.0) / spec.timeframe.ms()) as usize] = *value;
        }
        out
    };
    Series {
        symbol: coin.symbol.clone(),
        timeframe: spec.timeframe,
        start: spec.start,
        open: grid(&bars.open),
        high: grid(&bars.high),
        low: grid(&bars.low),
        close: grid(&bars.close),
        volume: grid(&bars.volume),
        quote_volume: grid(bars.quote_volume.as_ref().unwrap()),
        trades: bars.trades.as_ref().map(|c| grid(c)),
        taker_buy_base: bars.taker_buy_base.as_ref().map(|c| grid(c)),
    }
}

/// Correlation of 72-bar momentum with the outright 24-bar return entered one bar late.
/// Correlation of the 72-bar momentum with the 24-bar return entered one bar late, both relative to
/// the market of the returns' grid.
fn momentum_correlation(returns: &[f64], market: &[f64]) -> f64 {
    let mut path = vec![0.0];
    for (r, m) in returns.iter().zip(market) {
        let relative = if r.is_nan() { 0.0 } else { r - m };
        path.push(path[path.len() - 1] + relative);
    }
    let rows = (400..path.len() - 25).map(|t| (path[t] - path[t - 72], path[t + 25] - path[t + 1]));
    correlation(&rows.collect::<Vec<_>>())
}

fn mean_over(paths: &[Vec<f64>]) -> Vec<f64> {
    let at = |t: usize| paths.iter().map(move |p| p[t]).filter(|r| !r.is_nan());
    (0..paths[0].len()).map(|t| at(t).sum::<f64>() / at(t).count().max(1) as f64).collect()
}

#[test]
fn a_noise_twin_loses_the_edge_and_a_planted_twin_has_one() {
    let spec = MarketSpec { coins: 30, days: 240, planted_shared: 24, planted_private: 0, ..spec() };
    let real: Vec<Series> =
        coins(&spec).filter(|coin| coin.truth.kind.is_planted()).map(|coin| series(&spec, &coin)).collect();
    let len = spec.bars();
    let no_signs = |s: &Series| {
        let step = |i: usize| (s.close[i] / s.close[i.max(1) - 1]).ln();
        (0..len).map(step).collect::<Vec<f64>>()
    };
    let signs = TwinSigns::new(Seed(3), 0, spec.timeframe);
    let paths: Vec<Vec<f64>> = real.iter().map(|s| twin_returns(s, &signs, spec.start, len)).collect();
    let market = mean_over(&paths);
    let drifts = planted_drifts(&paths[..10], &market, 0.25);
    for t in 0..len {
        let sum: f64 = drifts.iter().map(|d| d[t]).sum();
        assert!(sum.abs() < 1e-12, "the drifts add up to {sum} at bar {t}");
    }
    let told: Vec<Series> = real
        .iter()
        .enumerate()
        .map(|(k, s)| match drifts.get(k) {
            Some(drift) => planted_twin(s, &signs, spec.start, drift),
            None => noise_twin(s, &signs),
        })
        .collect();
    let told_paths: Vec<Vec<f64>> = told.iter().map(no_signs).collect();
    let real_paths: Vec<Vec<f64>> = real.iter().map(no_signs).collect();
    let mean = |paths: &[Vec<f64>], market: &[f64]| {
        paths.iter().map(|p| momentum_correlation(p, market)).sum::<f64>() / paths.len() as f64
    };
    let before = mean(&real_paths, &mean_over(&real_paths));
    let told_market = mean_over(&told_paths);
    let (planted, noise) = (mean(&told_paths[..10], &told_market), mean(&told_paths[10..], &told_market));
    eprintln!("momentum correlation: real {before:.3}, planted {planted:.3}, noise {noise:.3}");
    assert!(before > 0.08, "{before}");
    assert!(noise.abs() < 0.06, "{noise}");
    assert!((0.17..0.33).contains(&planted), "{planted}");
}

#[test]
fn a_twin_keeps_every_size_and_the_past_of_its_signs() {
    let none = MarketSpec { planted_shared: 0, planted_private: 0, stablecoins: 0, dirty: 0, ..spec() };
    let spec = MarketSpec { coins: 4, days: 40, late_listings: 0, thin: 0, ..none };
    let real = series(&spec, &coins(&spec).nth(2).unwrap());
    let signs = TwinSigns::new(Seed(5), 1, spec.timeframe);
    let noise = noise_twin(&real, &signs);
    let mut turned = 0;
    for i in 0..real.len() {
        let size = |s: &Series| (s.high[i] / s.low[i]).ln();
        let (a, b) = (size(&real), size(&noise));
        assert!(a.is_nan() == b.is_nan() && (a.is_nan() || (a - b).abs() < 1e-9));
        let bar = noise.bar(i);
        let within = |x: f64| bar.low <= x && x <= bar.high;
        assert!(!bar.is_present() || (within(bar.open) && within(bar.close)));
        assert!(!bar.is_present() || (0.0..=bar.volume).contains(&bar.taker_buy_base));
        assert!(!bar.is_present() || bar.quote_volume == real.quote_volume[i]);
        turned += usize::from((bar.close > bar.open) != (real.close[i] > real.open[i]));
    }
    assert!((0.4..0.6).contains(&(turned as f64 / real.len() as f64)), "{turned} bars were turned");
    // The signs belong to moments, not to positions in a series.
    let later = UtcMs(spec.start.0 + 100 * spec.timeframe.ms());
    assert_eq!(signs.over(spec.start, 300)[100..], signs.over(later, 200));
    let other = TwinSigns::new(Seed(5), 2, spec.timeframe);
    assert_ne!(other.over(spec.start, 300), signs.over(spec.start, 300));
}
