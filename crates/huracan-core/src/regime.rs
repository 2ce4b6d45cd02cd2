//! Regimes: what kind of market a coin is in, one tag a bar, each from the coin's own past.
//!
//! Three figures are known at a bar's close: how strongly the price trends, how much it moves, how
//! much is traded. Each is ranked against the coin's own trailing window, the bar itself left out,
//! so a tag means "for this coin, of late" and no unit is compared between coins. What lives here
//! only names; what to believe in a regime is `meta`'s.
//!
//! The first rule that holds gives the tag:
//! 1. [`Regime::Unknown`]: the bar is missing, or a figure cannot be ranked yet.
//! 2. [`Regime::Panic`]: volatility at or above its 95th percentile.
//! 3. [`Regime::Illiquid`]: dollar volume at or below its 10th percentile.
//! 4. [`Regime::Trend`]: trend strength at or above its 70th percentile.
//! 5. [`Regime::Range`]: everything else.
//!
//! Each condition once met holds until its figure has come back a little further
//! ([`Band::leave`]), so that tags do not flicker at a threshold. The percentiles are judgements.

use std::fmt;
use std::str::FromStr;

use crate::features::indicators::Ema;
use crate::features::window::Window;
use crate::series::Series;
use crate::stats::order_counts::{OrderCounts, Places};

/// What kind of market a coin is in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub enum Regime {
    /// The price moves one way, strongly for its volatility.
    Trend,
    /// Nothing out of the ordinary.
    Range,
    /// Volatility is among the highest of the coin's recent past.
    Panic,
    /// Hardly anything is traded, by the coin's own measure.
    Illiquid,
    /// Not to be told: too little past, or no bar.
    Unknown,
}

/// A text that names no regime.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a regime; expected one of trend range panic illiquid unknown")]
pub struct InvalidRegime(pub String);

impl Regime {
    /// Every regime, in the order of [`Regime::index`].
    pub const ALL: [Regime; 5] =
        [Regime::Trend, Regime::Range, Regime::Panic, Regime::Illiquid, Regime::Unknown];

    /// The word written in files; never reworded.
    pub fn code(self) -> &'static str {
        match self {
            Regime::Trend => "trend",
            Regime::Range => "range",
            Regime::Panic => "panic",
            Regime::Illiquid => "illiquid",
            Regime::Unknown => "unknown",
        }
    }

    /// Place in [`Regime::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Regime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for Regime {
    type Err = InvalidRegime;
    fn from_str(text: &str) -> Result<Self, InvalidRegime> {
        let known = Regime::ALL.into_iter().find(|regime| regime.code() == text);
        known.ok_or_else(|| InvalidRegime(text.to_owned()))
    }
}

/// Where a condition begins and where it ends, as percentiles 0..1 of the figure's own past.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Band {
    /// Met at this percentile.
    pub enter: f64,
    /// Over once the figure is back beyond this one.
    pub leave: f64,
}

/// How far back to look and where the lines are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RegimeRules {
    /// The past a figure is ranked against, days.
    pub window_days: f64,
    /// As much of it must be known before anything is ranked, days.
    pub window_days_min: f64,
    /// Volatility and dollar volume are of this span, days (at least [`SPAN_BARS_MIN`] bars).
    pub span_days: f64,
    /// Span of the moving average whose slope is the trend, and of its σ, days.
    pub trend_days: f64,
    /// Panic, of volatility.
    pub panic: Band,
    /// Illiquid, of dollar volume; entered from above.
    pub illiquid: Band,
    /// Trend, of trend strength.
    pub trend: Band,
}

/// Fewest bars a figure is made of, whatever the bar.
pub const SPAN_BARS_MIN: usize = 5;

impl Default for RegimeRules {
    fn default() -> RegimeRules {
        RegimeRules {
            window_days: 60.0,
            window_days_min: 20.0,
            span_days: 1.0,
            trend_days: 3.0,
            panic: Band { enter: 0.95, leave: 0.90 },
            illiquid: Band { enter: 0.10, leave: 0.15 },
            trend: Band { enter: 0.70, leave: 0.60 },
        }
    }
}

/// One tag a bar, each known at that bar's close and of nothing later.
///
/// Volatility is the root mean square log return between neighbouring bars over the span, volume
/// the mean dollar volume of a bar over it, trend strength the step of the log price's exponential
/// average over the root mean square return of the trend span (0 where the price did not move).
/// Missing bars are stepped over: a figure needs half of its span. O(n log n).
pub fn tags(series: &Series, rules: &RegimeRules) -> Vec<Regime> {
    let bars = |days: f64| series.timeframe.bars_in_days(days);
    let (window, least) = (bars(rules.window_days), bars(rules.window_days_min));
    let [trend, volatility, volume] = figures(series, rules).map(|x| past_percentiles(&x, window, least));
    let (mut panic, mut illiquid, mut trending) = (false, false, false);
    (0..series.len())
        .map(|i| {
            let known = (trend[i], volatility[i], volume[i]);
            let (Some(trend), Some(volatility), Some(volume)) = known else { return Regime::Unknown };
            panic = at_least(rules.panic, volatility, panic);
            illiquid = at_most(rules.illiquid, volume, illiquid);
            trending = at_least(rules.trend, trend, trending);
            match (panic, illiquid, trending) {
                (true, ..) => Regime::Panic,
                (_, true, _) => Regime::Illiquid,
                (.., true) => Regime::Trend,
                _ => Regime::Range,
            }
        })
        .collect()
}

fn at_least(band: Band, percentile: f64, already: bool) -> bool {
    percentile >= if already { band.leave } else { band.enter }
}

fn at_most(band: Band, percentile: f64, already: bool) -> bool {
    percentile <= if already { band.leave } else { band.enter }
}

/// Trend strength, volatility and dollar volume of every bar; NaN where not known.
fn figures(series: &Series, rules: &RegimeRules) -> [Vec<f64>; 3] {
    let bars = |days: f64| series.timeframe.bars_in_days(days).max(SPAN_BARS_MIN);
    let (span, trend_span) = (bars(rules.span_days), bars(rules.trend_days));
    let mut out = [(); 3].map(|()| Vec::with_capacity(series.len()));
    let mut average = Ema::new(trend_span);
    let mut level = f64::NAN;
    let (mut short, mut long, mut volumes) = (Mean::new(span), Mean::new(trend_span), Mean::new(span));
    let mut before = f64::NAN;
    for i in 0..series.len() {
        let price = series.close[i].ln();
        let square = (price - before).powi(2);
        before = price;
        let volatility = short.push(square).sqrt();
        let sigma = long.push(square).sqrt();
        let volume = volumes.push(series.quote_volume[i]);
        if price.is_nan() {
            out.iter_mut().for_each(|figure| figure.push(f64::NAN));
            continue;
        }
        let step = average.push(price);
        let slope = step - std::mem::replace(&mut level, step);
        // A price that has not moved has no trend; its average has rounding noise.
        let still = sigma == 0.0 && !slope.is_nan();
        let strength = if still { 0.0 } else { slope.abs() / sigma };
        for (figure, value) in out.iter_mut().zip([strength, volatility, volume]) {
            figure.push(value);
        }
    }
    out
}

/// Mean of the known among the last `n` values; NaN when fewer than half of them are.
struct Mean {
    sums: Window<[f64; 2]>,
    n: usize,
}

impl Mean {
    fn new(n: usize) -> Mean {
        Mean { sums: Window::new(n), n }
    }

    fn push(&mut self, x: f64) -> f64 {
        let [sum, count] = self.sums.push(if x.is_finite() { [x, 1.0] } else { [0.0, 0.0] });
        if 2.0 * count >= self.n as f64 { sum / count } else { f64::NAN }
    }
}

/// Percentile of each value among the known of the `window` before it, itself left out; `None`
/// where it is not known or fewer than `least` of those are.
fn past_percentiles(x: &[f64], window: usize, least: usize) -> Vec<Option<f64>> {
    let places = Places::new(x);
    let mut past = OrderCounts::new(places.values.len());
    (0..x.len())
        .map(|i| {
            if let Some(left) = i.checked_sub(window + 1).and_then(|old| places.of[old]) {
                past.remove(left);
            }
            let place = places.of[i]?;
            let percentile = if past.total() >= least { past.percentile(place) } else { None };
            past.add(place);
            percentile
        })
        .collect()
}

/// Mean number of bars a tag lasts; `None` when there is none.
pub fn mean_spell_bars(tags: &[Regime]) -> Option<f64> {
    let changes = tags.windows(2).filter(|pair| pair[0] != pair[1]).count();
    (!tags.is_empty()).then(|| tags.len() as f64 / (changes + 1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::{Market, Seed, Symbol, Timeframe, UtcMs};
    use rand::RngExt;
    use rand_distr::{Distribution, StandardNormal};

    /// Hourly closes that move by `step(bar, normal draw)`, volume by `volume(bar)`.
    fn coin(bars: usize, step: impl Fn(usize, f64) -> f64, volume: impl Fn(usize) -> f64) -> Series {
        let mut rng = Seed(8).rng();
        let mut price = 100.0_f64;
        let mut close = Vec::new();
        let mut quote_volume = Vec::new();
        for i in 0..bars {
            price *= step(i, StandardNormal.sample(&mut rng)).exp();
            close.push(price);
            quote_volume.push(volume(i) * (0.5 + rng.random::<f64>()));
        }
        Series {
            symbol: Symbol::parse("AAAUSDT", Market::Perp).unwrap(),
            timeframe: Timeframe::H1,
            start: UtcMs(0),
            open: close.clone(),
            high: close.clone(),
            low: close.clone(),
            volume: quote_volume.iter().zip(&close).map(|(q, c)| q / c).collect(),
            close,
            quote_volume,
            trades: None,
            taker_buy_base: None,
        }
    }

    fn share(tags: &[Regime], regime: Regime) -> f64 {
        tags.iter().filter(|t| **t == regime).count() as f64 / tags.len() as f64
    }

    #[test]
    fn codes_are_words_and_come_back() {
        for (place, regime) in Regime::ALL.into_iter().enumerate() {
            assert_eq!((regime.code().parse(), regime.index()), (Ok(regime), place));
        }
        assert!("calm".parse::<Regime>().is_err());
    }

    #[test]
    fn changing_the_future_changes_no_past_tag() {
        let series = coin(3_000, |_, z| 0.01 * z, |_| 1e6);
        let before = tags(&series, &RegimeRules::default());
        for cut in [600, 1_441, 2_500, 2_999] {
            let mut bent = series.clone();
            for i in cut..bent.len() {
                bent.close[i] *= 1.0 + 0.3 * (i % 7) as f64;
                bent.quote_volume[i] = if i % 3 == 0 { f64::NAN } else { 1e15 };
            }
            assert_eq!(tags(&bent, &RegimeRules::default())[..cut], before[..cut], "{cut}");
            let mut short = series.clone();
            for column in [&mut short.close, &mut short.quote_volume] {
                column.truncate(cut);
            }
            assert_eq!(tags(&short, &RegimeRules::default()), before[..cut], "{cut}");
        }
    }

    #[test]
    fn a_percentile_is_the_share_of_the_window_before() {
        let mut rng = Seed(9).rng();
        let mut x: Vec<f64> = (0..400).map(|_| f64::from(rng.random_range(0..30_u8))).collect();
        (150..170).chain([300]).for_each(|i| x[i] = f64::NAN);
        let found = past_percentiles(&x, 60, 45);
        for i in 0..x.len() {
            let past: Vec<f64> = x[i.saturating_sub(60)..i].iter().copied().filter(|v| !v.is_nan()).collect();
            let below = past.iter().filter(|v| **v < x[i]).count();
            let same = past.iter().filter(|v| **v == x[i]).count();
            let share = (below as f64 + 0.5 * same as f64) / past.len() as f64;
            assert_eq!(found[i], (past.len() >= 45 && !x[i].is_nan()).then_some(share), "{i}");
            assert_eq!(past_percentiles(&x[..=i], 60, 45)[i], found[i]);
        }
    }

    #[test]
    fn planted_storms_droughts_and_trends_are_named() {
        let storm = 1_500..1_560;
        let drought = 1_900..2_000;
        let climb = 2_400..2_550;
        let series = coin(
            3_000,
            |i, z| {
                let wild = if storm.contains(&i) { 6.0 } else { 1.0 };
                0.005 * wild * z + if climb.contains(&i) { 0.006 } else { 0.0 }
            },
            |i| if drought.contains(&i) { 1e4 } else { 1e6 },
        );
        let found = tags(&series, &RegimeRules::default());
        assert!(found[..500].iter().all(|t| *t == Regime::Unknown));
        assert!(share(&found[1_510..1_560], Regime::Panic) > 0.9);
        assert!(share(&found[1_925..2_000], Regime::Illiquid) > 0.9);
        assert!(share(&found[2_440..2_550], Regime::Trend) > 0.9);
        assert!(share(&found[600..], Regime::Range) > 0.35);
        assert_eq!(share(&found[600..], Regime::Unknown), 0.0);
    }

    #[test]
    fn a_missing_bar_is_unknown_and_units_do_not_matter() {
        let mut series = coin(2_000, |_, z| 0.01 * z, |_| 1e6);
        let whole = tags(&series, &RegimeRules::default());
        for column in [&mut series.close, &mut series.quote_volume] {
            column[1_200] = f64::NAN;
        }
        let found = tags(&series, &RegimeRules::default());
        assert_eq!(found[1_200], Regime::Unknown);
        let same = found.iter().zip(&whole).filter(|(a, b)| a == b).count();
        assert!(same > 1_950, "{same}");
        series.quote_volume.iter_mut().for_each(|v| *v *= 1024.0);
        assert_eq!(tags(&series, &RegimeRules::default()), found);
    }

    #[test]
    fn a_dead_price_an_empty_series_and_a_short_one_are_no_trouble() {
        let rules = RegimeRules::default();
        let flat = tags(&coin(2_000, |_, _| 0.0, |_| 1e6), &rules);
        assert!(flat.iter().all(|t| [Regime::Unknown, Regime::Range, Regime::Illiquid].contains(t)));
        assert!(tags(&coin(0, |_, z| z, |_| 1.0), &rules).is_empty());
        let short = tags(&coin(400, |_, z| 0.01 * z, |_| 1e6), &rules);
        assert!(short.iter().all(|t| *t == Regime::Unknown));
    }

    #[test]
    fn hysteresis_makes_spells_longer() {
        let series = coin(6_000, |_, z| 0.01 * z, |_| 1e6);
        let soft = RegimeRules::default();
        let sharp = |band: Band| Band { leave: band.enter, ..band };
        let hard = RegimeRules {
            panic: sharp(soft.panic),
            illiquid: sharp(soft.illiquid),
            trend: sharp(soft.trend),
            ..soft
        };
        let spell = |rules: &RegimeRules| mean_spell_bars(&tags(&series, rules)[600..]).unwrap();
        assert!(spell(&soft) > 1.3 * spell(&hard), "{} {}", spell(&soft), spell(&hard));
        assert_eq!(mean_spell_bars(&[]), None);
    }
}
