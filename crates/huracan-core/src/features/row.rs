//! One bar as features see it: logs, ranges, volumes and market context, computed once per bar and
//! shared by every operator.
//!
//! Everything in a [`Row`] but `defined` and the market's multi-bar figures is always finite, so no
//! operator can be poisoned. A missing bar becomes a flat bar at the last close without volume:
//! time stays aligned and every window sees "nothing happened". What a missing bar may show to the
//! outside is decided by `defined`, not here.

use super::context::{MarketContext, MarketFigures, RANKS, RankTables};
use super::microstructure::{bulk_imbalance, corwin_schultz};
use super::volatility::{Mean, garman_klass, parkinson, rogers_satchell};
use super::window::Delay;
use crate::series::{Bar, Series};
use crate::words::{Timeframe, UtcMs};

/// Weight of the newest squared return in σ, a half-life of 23 bars.
pub const SIGMA_WEIGHT: f64 = 0.03;
/// Bars until σ counts as known: 24 returns.
pub const SIGMA_WARM: usize = 25;
/// σ is never taken below this (0.1 bps a bar), so that a flat stretch divides to 0 and not to 0/0.
pub const SIGMA_MIN: f64 = 1e-5;
/// Weight of the newest bar in the slow level of log volume and log trade size.
const SLOW_WEIGHT: f64 = 0.01;
/// A bar's log volume is never taken more than this (a factor of 1,100) below its slow level; a bar
/// without volume stands exactly there.
const QUIET: f64 = 7.0;

/// What a feature needs to be defined on a row; the bits of [`Row::defined`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Needs {
    /// Prices and volume.
    Ohlcv,
    /// The number of trades.
    Trades,
    /// The taker-bought volume.
    Taker,
    /// The market's mean return at this time.
    Market,
    /// Bitcoin's return at this time.
    Bitcoin,
    /// Ether's return at this time.
    Ether,
    /// Where the coin stands among the others at this time.
    CrossSection,
}

impl Needs {
    /// This need's bit in [`Row::defined`].
    #[inline(always)]
    pub const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// The primitive inputs of one bar. Prices are natural logs, returns log returns, volumes in quote
/// currency where named `quote`, in base units where named `volume`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// When the bar is complete, UTC milliseconds.
    pub close_time: i64,
    /// Which [`Needs`] this row meets; 0 for a missing bar.
    pub defined: u32,
    /// ln open.
    pub open: f64,
    /// ln high.
    pub high: f64,
    /// ln low.
    pub low: f64,
    /// ln close.
    pub close: f64,
    /// Close to close; 0 on the first bar.
    pub ret: f64,
    /// |ret|.
    pub abs_ret: f64,
    /// Previous close to open; 0 on the first bar.
    pub gap: f64,
    /// Open to close.
    pub body: f64,
    /// Low to high.
    pub range: f64,
    /// Where the close lies in the range: −1 low, 1 high, 0 without range.
    pub location: f64,
    /// Parkinson's variance of the bar.
    pub parkinson: f64,
    /// Garman–Klass variance of the bar.
    pub garman_klass: f64,
    /// Rogers–Satchell variance of the bar.
    pub rogers_satchell: f64,
    /// σ: root of the exponentially weighted mean squared return (weight 0.03, plain mean over the
    /// first 33 returns), this bar included, at least [`SIGMA_MIN`].
    pub sigma: f64,
    /// 1/σ.
    pub inv_sigma: f64,
    /// Bought minus sold share of the volume by bulk classification, from `ret`/σ.
    pub bulk: f64,
    /// Corwin–Schultz spread of this bar and the one before (a fraction), negative ones cut to 0.
    pub corwin_schultz: f64,
    /// 1 for a bar that is there and has no range.
    pub flat: f64,
    /// 1 for a bar that is there and has no volume.
    pub quiet: f64,
    /// 1 for a missing bar.
    pub missing: f64,
    /// (high + low + close)/3, as a price and not a log.
    pub typical: f64,
    /// Base volume.
    pub volume: f64,
    /// Quote volume.
    pub quote: f64,
    /// ln quote volume, at least its slow level − 7; 0 before the first volume.
    pub log_quote: f64,
    /// |ret|/quote, 0 without volume.
    pub impact: f64,
    /// 1 if the bar traded.
    pub traded: f64,
    /// Taker-bought minus taker-sold share of the volume in [−1, 1]; 0 where unknown.
    pub taker: f64,
    /// ln number of trades, at least its slow level − 7; 0 before the first trade.
    pub log_trades: f64,
    /// ln quote volume per trade; the last known where there was no trade, 0 before.
    pub log_size: f64,
    /// Days since the first bar.
    pub age_days: f64,
    /// The market's mean return over this bar; 0 where undefined.
    pub market_ret: f64,
    /// Bitcoin's return over this bar; 0 where undefined.
    pub btc_ret: f64,
    /// Ether's return over this bar; 0 where undefined.
    pub eth_ret: f64,
    /// The market's figures at this time, NaN where undefined.
    pub market: MarketFigures,
    /// Standing among all coins in [−1, 1], in the order of [`CrossVariable`]; NaN where undefined.
    pub ranks: [f64; RANKS],
}

/// What coins are ranked by, the index into [`Row::ranks`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CrossVariable {
    /// Return over 24 bars in σ.
    Return24,
    /// Return over 72 bars in σ.
    Return72,
    /// Return over 168 bars in σ.
    Return168,
    /// σ of a day.
    Volatility,
    /// Mean log volume of 24 bars against 168.
    VolumeSurge,
    /// Mean log volume of 24 bars, a day's worth in USD.
    Turnover,
}

/// Bars until every [`CrossVariable`] is known.
pub const CROSS_WARM: usize = 169;

/// A logarithm that survives silence: values at or below nothing stand `QUIET` under the slow level.
#[derive(Clone, Debug, Default)]
struct QuietLog {
    slow: f64,
    seen: f64,
}

impl QuietLog {
    #[inline(always)]
    fn push(&mut self, x: f64) -> f64 {
        if x > 0.0 {
            let log = x.ln();
            self.seen += 1.0;
            let weight = if self.seen < SLOW_WEIGHT.recip() { self.seen.recip() } else { SLOW_WEIGHT };
            self.slow += weight * (log - self.slow);
            log.max(self.slow - QUIET)
        } else if self.seen > 0.0 {
            self.slow - QUIET
        } else {
            0.0
        }
    }
}

/// The coin's own side of the cross-section, each variable squashed into (−1, 1).
#[derive(Clone, Debug)]
struct CrossState {
    back: [Delay; 3],
    day: Mean,
    week: Mean,
    log_day_root: f64,
    log_bars_per_day: f64,
}

/// Volatility of a day that ranks in the middle bin (5 %), and turnover of a day (20 million USD).
const TYPICAL_DAY_SIGMA: f64 = 0.05;
const TYPICAL_DAY_QUOTE: f64 = 2e7;

impl CrossState {
    fn new(timeframe: Timeframe) -> CrossState {
        let bars = timeframe.bars_per_day();
        CrossState {
            back: [Delay::new(24), Delay::new(72), Delay::new(168)],
            day: Mean::new(24),
            week: Mean::new(168),
            log_day_root: 0.5 * bars.ln() - TYPICAL_DAY_SIGMA.ln(),
            log_bars_per_day: bars.ln() - TYPICAL_DAY_QUOTE.ln(),
        }
    }

    /// The variables after a bar; those not yet known are NaN or not meaningful.
    #[inline(always)]
    fn push(&mut self, row: &Row) -> [f64; RANKS] {
        const ROOTS: [f64; 3] = [0.204_124_145_231_931_5, 0.117_851_130_197_757_9, 0.077_151_674_981_045_96];
        let scaled: [f64; 3] =
            std::array::from_fn(|k| (row.close - self.back[k].push(row.close)) * row.inv_sigma * ROOTS[k]);
        let (day, week) = (self.day.push(row.log_quote), self.week.push(row.log_quote));
        [
            squash(scaled[0], 3.0),
            squash(scaled[1], 3.0),
            squash(scaled[2], 3.0),
            squash(row.sigma.ln() + self.log_day_root, 1.5),
            squash(day - week, 1.5),
            squash(day + self.log_bars_per_day, 3.0),
        ]
    }
}

/// x/√(x² + s²): near linear within ±s, never outside (−1, 1).
#[inline(always)]
fn squash(x: f64, s: f64) -> f64 {
    x / (x * x + s * s).sqrt()
}

/// Makes rows from bars, one after the other.
#[derive(Clone, Debug)]
pub struct RowBuilder {
    timeframe_ms: i64,
    pushed: usize,
    close: f64,
    close_price: f64,
    band: (f64, f64),
    variance: f64,
    returns: f64,
    quote: QuietLog,
    trades: QuietLog,
    log_size: f64,
    cross: CrossState,
}

impl RowBuilder {
    /// A builder at the start of a series of this bar length.
    pub fn new(timeframe: Timeframe) -> RowBuilder {
        RowBuilder {
            timeframe_ms: timeframe.ms(),
            pushed: 0,
            close: f64::NAN,
            close_price: f64::NAN,
            band: (0.0, 0.0),
            variance: 0.0,
            returns: 0.0,
            quote: QuietLog::default(),
            trades: QuietLog::default(),
            log_size: 0.0,
            cross: CrossState::new(timeframe),
        }
    }

    /// The row of the bar that starts at `time`, without market context, and the squashed variables
    /// it is ranked by. A bar with an impossible price or volume counts as missing.
    ///
    /// Bars before the first present one give rows of zeros.
    pub(super) fn push(&mut self, time: UtcMs, bar: &Bar) -> (Row, [f64; RANKS]) {
        let present = is_sound(bar);
        let bar = if present { *bar } else { flat_bar(self.close_price) };
        let (open, high, low, close) = if present {
            (bar.open.ln(), bar.high.ln(), bar.low.ln(), bar.close.ln())
        } else if self.pushed > 0 {
            (self.close, self.close, self.close, self.close)
        } else {
            (0.0, 0.0, 0.0, 0.0)
        };
        let first = self.pushed == 0;
        let before = if first { close } else { self.close };
        let before_open = if first { open } else { self.close };
        let (ret, gap, body, range) = (close - before, open - before_open, close - open, high - low);
        let sigma = self.sigma(ret, first);
        let inv_sigma = sigma.recip();
        let quote = if bar.quote_volume.is_finite() { bar.quote_volume.max(0.0) } else { bar.close * bar.volume };
        let quote = if present { quote } else { 0.0 };
        let traded = quote > 0.0;
        let has_trades = present && bar.trades.is_finite();
        let has_taker = present && bar.taker_buy_base.is_finite();
        let taker = if has_taker && bar.volume > 0.0 {
            ((2.0 * bar.taker_buy_base - bar.volume) / bar.volume).clamp(-1.0, 1.0)
        } else {
            0.0
        };
        let log_quote = self.quote.push(quote);
        let log_trades = self.trades.push(if has_trades { bar.trades } else { 0.0 });
        if has_trades && bar.trades > 0.0 && traded {
            self.log_size = (quote / bar.trades).ln();
        }
        let spread = if first { 0.0 } else { corwin_schultz(self.band, (high, low)).max(0.0) };
        let bits = |on: bool, need: Needs| if on { need.bit() } else { 0 };
        let mut row = Row {
            close_time: time.0 + self.timeframe_ms,
            defined: bits(present, Needs::Ohlcv)
                | bits(has_trades, Needs::Trades)
                | bits(has_taker, Needs::Taker),
            open,
            high,
            low,
            close,
            ret,
            abs_ret: ret.abs(),
            gap,
            body,
            range,
            location: if range > 0.0 { ((close - low) - (high - close)) / range } else { 0.0 },
            parkinson: parkinson(range),
            garman_klass: garman_klass(range, body),
            rogers_satchell: rogers_satchell(open, high, low, close),
            sigma,
            inv_sigma,
            bulk: bulk_imbalance(ret * inv_sigma),
            corwin_schultz: spread,
            flat: f64::from(present && range <= 0.0),
            quiet: f64::from(present && !traded),
            missing: f64::from(!present),
            typical: if present { (bar.high + bar.low + bar.close) / 3.0 } else { bar.close },
            volume: if present { bar.volume } else { 0.0 },
            quote,
            log_quote,
            impact: if traded { ret.abs() / quote } else { 0.0 },
            traded: f64::from(traded),
            taker,
            log_trades,
            log_size: self.log_size,
            age_days: self.pushed as f64 * self.timeframe_ms as f64 / UtcMs::DAY as f64,
            market_ret: 0.0,
            btc_ret: 0.0,
            eth_ret: 0.0,
            market: MarketFigures::UNDEFINED,
            ranks: [f64::NAN; RANKS],
        };
        if !present && first {
            row.typical = 0.0;
            return (row, [f64::NAN; RANKS]);
        }
        self.pushed += 1;
        self.close = close;
        self.close_price = bar.close;
        self.band = (high, low);
        let mut cross = self.cross.push(&row);
        if self.pushed < CROSS_WARM || !present {
            cross = [f64::NAN; RANKS];
        }
        (row, cross)
    }

    /// The next σ.
    #[inline(always)]
    fn sigma(&mut self, ret: f64, first: bool) -> f64 {
        if !first {
            self.returns += 1.0;
            let weight = if self.returns < SIGMA_WEIGHT.recip() { self.returns.recip() } else { SIGMA_WEIGHT };
            self.variance += weight * (ret * ret - self.variance);
        }
        self.variance.sqrt().max(SIGMA_MIN)
    }
}

impl Row {
    /// Adds what the market did at this bar's time.
    #[inline(always)]
    pub(super) fn attach(&mut self, market: &MarketFigures, tables: &RankTables, cross: &[f64; RANKS]) {
        let known = |x: f64| if x.is_nan() { 0.0 } else { x };
        self.market = *market;
        self.market_ret = known(market.returns[0]);
        self.btc_ret = known(market.btc[0]);
        self.eth_ret = known(market.eth[0]);
        if self.missing > 0.0 {
            return;
        }
        let bit = |x: f64, need: Needs| if x.is_nan() { 0 } else { need.bit() };
        self.defined |= bit(market.returns[0], Needs::Market)
            | bit(market.btc[0], Needs::Bitcoin)
            | bit(market.eth[0], Needs::Ether);
        for k in 0..RANKS {
            self.ranks[k] = tables.rank(k, cross[k]);
        }
        self.defined |= bit(self.ranks[0], Needs::CrossSection);
    }

    /// Where the coin stands by `variable`, in [−1, 1].
    #[inline(always)]
    pub fn rank(&self, variable: CrossVariable) -> f64 {
        self.ranks[variable as usize]
    }
}

/// Prices finite and above zero, volume finite and not negative, high and low where they belong.
fn is_sound(bar: &Bar) -> bool {
    let price = |x: f64| x > 0.0 && x < f64::INFINITY;
    price(bar.low)
        && price(bar.high)
        && bar.low <= bar.open
        && bar.low <= bar.close
        && bar.open <= bar.high
        && bar.close <= bar.high
        && bar.volume >= 0.0
        && bar.volume < f64::INFINITY
}

fn flat_bar(price: f64) -> Bar {
    Bar {
        open: price,
        high: price,
        low: price,
        close: price,
        volume: 0.0,
        quote_volume: 0.0,
        trades: f64::NAN,
        taker_buy_base: f64::NAN,
    }
}

/// Rows of a whole series in its market.
pub fn rows(series: &Series, context: &MarketContext) -> Vec<Row> {
    let mut builder = RowBuilder::new(series.timeframe);
    (0..series.len()).map(|i| row_in_market(&mut builder, series.time(i), &series.bar(i), context)).collect()
}

/// The next row of a series in its market.
#[inline(always)]
pub(super) fn row_in_market(
    builder: &mut RowBuilder,
    time: UtcMs,
    bar: &Bar,
    context: &MarketContext,
) -> Row {
    let (mut row, cross) = builder.push(time, bar);
    if let Some(step) = context.position(time) {
        row.attach(&context.values(step), context.tables(step), &cross);
    }
    row
}
