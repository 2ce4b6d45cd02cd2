//! Defects seen in real series, made on purpose. Each ends as a skip reason, a cut or a repair in
//! a correct pipeline, never as a wrong model.

use crate::series::Bars;
use crate::words::{Timeframe, UtcMs};
use rand::RngExt;
use rand::rngs::StdRng;

/// What is wrong with a dirty coin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// Five days without a bar.
    Gap,
    /// A day's rows delivered twice, one of the copies with another close.
    Duplicates,
    /// 437 hours of halt, then the same name at fifty-five times the price.
    Relisting,
    /// Prices divided by a thousand and volumes multiplied, from one bar to the next.
    Redenomination,
    /// Ten days of unchanged price and no volume, then ten days of nothing up to the end.
    DeadTail,
    /// Thirty days of zero volume that end fifteen days before the end.
    ZeroVolume,
    /// Eight rows in all.
    EightRows,
    /// Prices that are NaN, infinite, zero and negative.
    NanPrice,
    /// Highs below lows, closes outside the range.
    OhlcViolation,
}

impl Defect {
    /// Every kind, in the order they are dealt.
    pub const ALL: [Defect; 9] = [
        Defect::Gap,
        Defect::Duplicates,
        Defect::Relisting,
        Defect::Redenomination,
        Defect::DeadTail,
        Defect::ZeroVolume,
        Defect::EightRows,
        Defect::NanPrice,
        Defect::OhlcViolation,
    ];

    /// Stable name for files.
    pub fn code(self) -> &'static str {
        match self {
            Defect::Gap => "gap",
            Defect::Duplicates => "duplicates",
            Defect::Relisting => "relisting",
            Defect::Redenomination => "redenomination",
            Defect::DeadTail => "dead_tail",
            Defect::ZeroVolume => "zero_volume",
            Defect::EightRows => "eight_rows",
            Defect::NanPrice => "nan_price",
            Defect::OhlcViolation => "ohlc_violation",
        }
    }
}

/// Gives clean bars a defect. On markets shorter than the defect its stretches shrink to a
/// quarter of the series.
pub(super) fn soil(mut bars: Bars, defect: Defect, timeframe: Timeframe, rng: &mut StdRng) -> Bars {
    let n = bars.open_time.len();
    if n < 16 {
        return bars;
    }
    let hours = |hours: i64| ((hours * UtcMs::HOUR / timeframe.ms()) as usize).clamp(1, n / 4);
    let days = |days: i64| hours(24 * days);
    let middle = rng.random_range(n / 3..n / 2);
    match defect {
        Defect::Gap => keep(&bars, |i| i < middle || i >= middle + days(5)),
        Defect::Duplicates => {
            let until = middle + days(1);
            let order = (0..until).chain(middle..until).chain(until..n);
            let mut twice = take(&bars, order);
            twice.close[until] = twice.high[until];
            twice.open[until] = twice.low[until];
            twice
        }
        Defect::Relisting => {
            scale_from(&mut bars, middle, 55.0, 1.0 / 55.0);
            keep(&bars, |i| i < middle || i >= middle + hours(437))
        }
        Defect::Redenomination => {
            scale_from(&mut bars, middle, 1e-3, 1e3);
            bars
        }
        Defect::DeadTail => {
            let silent = n - days(20);
            silence(&mut bars, silent, n);
            keep(&bars, |i| i < n - days(10))
        }
        Defect::ZeroVolume => {
            let until = n - days(15);
            silence(&mut bars, until - days(30), until);
            bars
        }
        Defect::EightRows => keep(&bars, |i| i >= n - 8),
        Defect::NanPrice => {
            let nonsense = [f64::NAN, f64::INFINITY, 0.0, -1.0];
            for k in 0..12 {
                let at = rng.random_range(1..n - 1);
                bars.close[at] = nonsense[k % nonsense.len()];
            }
            bars
        }
        Defect::OhlcViolation => {
            for k in 0..48 {
                let at = rng.random_range(1..n - 1);
                if k % 2 == 0 {
                    bars.high[at] = bars.low[at] * 0.99;
                } else {
                    bars.close[at] = bars.high[at] * 1.02;
                }
            }
            bars
        }
    }
}

/// The rows of `bars` whose position passes.
pub(super) fn keep(bars: &Bars, pass: impl Fn(usize) -> bool) -> Bars {
    take(bars, (0..bars.open_time.len()).filter(|&i| pass(i)))
}

/// The rows of `bars` at the given positions, in that order.
fn take(bars: &Bars, rows: impl Iterator<Item = usize> + Clone) -> Bars {
    let pick = |column: &Vec<f64>| rows.clone().map(|i| column[i]).collect::<Vec<f64>>();
    Bars {
        open_time: rows.clone().map(|i| bars.open_time[i]).collect(),
        open: pick(&bars.open),
        high: pick(&bars.high),
        low: pick(&bars.low),
        close: pick(&bars.close),
        volume: pick(&bars.volume),
        quote_volume: bars.quote_volume.as_ref().map(pick),
        trades: bars.trades.as_ref().map(pick),
        taker_buy_base: bars.taker_buy_base.as_ref().map(pick),
        taker_buy_quote: bars.taker_buy_quote.as_ref().map(pick),
    }
}

/// Multiplies prices and base volumes from a row on.
fn scale_from(bars: &mut Bars, from: usize, price: f64, volume: f64) {
    for column in [&mut bars.open, &mut bars.high, &mut bars.low, &mut bars.close] {
        column[from..].iter_mut().for_each(|value| *value *= price);
    }
    let base = std::iter::once(&mut bars.volume).chain(bars.taker_buy_base.as_mut());
    base.for_each(|column| column[from..].iter_mut().for_each(|value| *value *= volume));
}

/// A price that does not move and nobody trades.
fn silence(bars: &mut Bars, from: usize, until: usize) {
    let price = bars.close[from - 1];
    for column in [&mut bars.open, &mut bars.high, &mut bars.low, &mut bars.close] {
        column[from..until].fill(price);
    }
    let optional =
        [&mut bars.quote_volume, &mut bars.trades, &mut bars.taker_buy_base, &mut bars.taker_buy_quote];
    let volumes = optional.into_iter().flatten();
    std::iter::once(&mut bars.volume).chain(volumes).for_each(|c| c[from..until].fill(0.0));
}
