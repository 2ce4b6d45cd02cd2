//! From efficient returns to bars: a bridge of trades inside each bar, the half-spread each trade
//! pays, the tick, and the volume columns.

use super::MarketSpec;
use super::shocks::{Shocks, Traits, draw, toss, uniform};
use crate::series::Bars;
use rand::RngExt;
use rand::rngs::StdRng;

/// Trades that make a bar's open, high, low and close.
const TRADES: usize = 8;
/// USD of a typical trade on a coin with 10⁸ USD a day.
const TRADE_USD: f64 = 400.0;

/// The bars of a coin on the market's full grid.
pub(super) fn bars(
    spec: &MarketSpec,
    traits: &Traits,
    shocks: &Shocks,
    drift: &[f64],
    rng: &mut StdRng,
) -> Bars {
    let mut out = empty(spec.bars());
    let tick = Tick::below(traits.price * traits.spread_bps * 1e-4 / 5.0);
    let half = traits.spread_bps * 1e-4 / 2.0;
    let trade_usd = TRADE_USD * (traits.adv_usd / 1e8).powf(0.3);
    let mut price = traits.price.ln();
    let mut steps = [0.0; TRADES];
    for bar in 0..spec.bars() {
        let ret = shocks.ret[bar] + drift.get(bar).copied().unwrap_or(0.0);
        let step_sd = shocks.scale[bar] / (TRADES as f64).sqrt();
        let mut sum = 0.0;
        for step in &mut steps {
            *step = step_sd * draw(rng);
            sum += *step;
        }
        // Eight increments that add up to the bar's return: a random-walk bridge.
        let shift = (ret - sum) / TRADES as f64;
        let sides: u8 = rng.random();
        let (mut open, mut high, mut low, mut close) = (0.0, f64::MIN, f64::MAX, 0.0);
        for (k, step) in steps.iter().enumerate() {
            price += step + shift;
            let traded = if sides >> k & 1 == 1 { price + half } else { price - half };
            if k == 0 {
                open = traded;
            }
            high = f64::max(high, traded);
            low = f64::min(low, traded);
            close = traded;
        }
        let dither = rng.random::<f64>();
        let round = |log_price: f64| tick.round(log_price.exp(), dither);
        let quote = shocks.log_volume[bar].exp();
        // Takers lean with the bar's move; the lean says nothing about the next bar.
        let lean = 0.12 * (ret / shocks.scale[bar]).tanh() + 0.05 * draw(rng);
        let candle = Candle {
            open: round(open),
            high: round(high),
            low: round(low),
            close: round(close),
            quote,
            buy_share: (0.5 + lean).clamp(0.05, 0.95),
            trades: (quote / trade_usd * (0.2 * draw(rng)).exp()).round().max(1.0),
        };
        push(&mut out, spec, bar, &candle);
    }
    out
}

/// The bars of a peg: 1 plus a deviation of 10⁻⁴ that reverts within a day.
pub(super) fn peg(spec: &MarketSpec, traits: &Traits, rng: &mut StdRng) -> Bars {
    let mut out = empty(spec.bars());
    let tick = Tick::below(1e-4);
    let keep = (-1.0 / spec.timeframe.bars_per_day()).exp();
    let kick = 1e-4 * (1.0 - keep * keep).sqrt();
    let mut deviation = 1e-4 * draw(rng);
    let quote_bar = traits.adv_usd / spec.timeframe.bars_per_day();
    for bar in 0..spec.bars() {
        let before = deviation;
        deviation = keep * deviation + kick * draw(rng);
        let wick = 1e-4 * uniform(rng);
        let dither = rng.random::<f64>();
        let round = |offset: f64| tick.round(1.0 + offset, dither);
        let quote = quote_bar * (0.5 * draw(rng)).exp();
        let candle = Candle {
            open: round(before),
            high: round(before.max(deviation) + wick),
            low: round(before.min(deviation) - wick),
            close: round(deviation),
            quote,
            buy_share: (0.5 + 0.02 * toss(rng)).clamp(0.05, 0.95),
            trades: (quote / TRADE_USD).round().max(1.0),
        };
        push(&mut out, spec, bar, &candle);
    }
    out
}

/// One bar before it is spread over the columns.
struct Candle {
    open: f64,
    high: f64,
    low: f64,
    close: f64,
    quote: f64,
    buy_share: f64,
    trades: f64,
}

fn push(out: &mut Bars, spec: &MarketSpec, bar: usize, candle: &Candle) {
    let typical = (candle.open + candle.high + candle.low + candle.close) / 4.0;
    let base = candle.quote / typical;
    out.open_time.push(spec.start.0 + bar as i64 * spec.timeframe.ms());
    out.open.push(candle.open);
    out.high.push(candle.high);
    out.low.push(candle.low);
    out.close.push(candle.close);
    out.volume.push(base);
    let optional = |column: &mut Option<Vec<f64>>, value: f64| {
        column.get_or_insert_default().push(value);
    };
    optional(&mut out.quote_volume, candle.quote);
    optional(&mut out.trades, candle.trades);
    optional(&mut out.taker_buy_base, base * candle.buy_share);
    optional(&mut out.taker_buy_quote, candle.quote * candle.buy_share);
}

fn empty(bars: usize) -> Bars {
    let column = || Vec::with_capacity(bars);
    Bars {
        open_time: Vec::with_capacity(bars),
        open: column(),
        high: column(),
        low: column(),
        close: column(),
        volume: column(),
        quote_volume: Some(column()),
        trades: Some(column()),
        taker_buy_base: Some(column()),
        taker_buy_quote: Some(column()),
    }
}

/// A power of ten that prices are multiples of, kept as its whole inverse where it is below one
/// so that a price is the double nearest to its decimal.
struct Tick {
    size: f64,
    inverse: f64,
}

impl Tick {
    /// The largest power of ten not above `limit`.
    fn below(limit: f64) -> Tick {
        let power = limit.log10().floor();
        let exact = 10.0_f64.powi(power.abs() as i32);
        if power < 0.0 {
            Tick { size: 1.0 / exact, inverse: exact }
        } else {
            Tick { size: exact, inverse: 1.0 / exact }
        }
    }

    /// Rounds to the tick, up with the probability of the remainder when `dither` is uniform on
    /// [0, 1): unbiased, and monotone for one dither, so a bar stays consistent. At least a tick.
    fn round(&self, price: f64, dither: f64) -> f64 {
        if self.size < 1.0 {
            (price * self.inverse + dither).floor().max(1.0) / self.inverse
        } else {
            (price / self.size + dither).floor().max(1.0) * self.size
        }
    }
}
