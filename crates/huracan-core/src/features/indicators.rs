//! Technical indicators as incremental engines with TA-Lib's numbers: the same seeds, the same
//! first index, the same answer to 0/0.
//!
//! Engines take prices in any unit; features feed them log prices and normalise what comes out.
//! Every engine answers NaN until it has seen as many bars as TA-Lib needs. Volatility, dependence
//! and microstructure live in files of their own.

use super::memory;
use super::window::{Delay, Highest, Line, Peak, Window, variance};

/// Exponential moving average, weight 2/(n+1), seeded with the mean of its first `n` values.
#[derive(Clone, Debug)]
pub struct Ema {
    weight: f64,
    n: f64,
    skip: usize,
    left: usize,
    value: f64,
}

impl Ema {
    /// An average over `n` values.
    pub fn new(n: usize) -> Ema {
        memory::note_endless();
        Ema::after(0, n)
    }

    /// An average that ignores the first `skip` values (TA-Lib lines up MACD's averages so).
    pub fn after(skip: usize, n: usize) -> Ema {
        Ema { weight: 2.0 / (n as f64 + 1.0), n: n as f64, skip, left: n.max(1), value: 0.0 }
    }

    /// The average after the next value; NaN before `skip + n` values.
    #[inline(always)]
    pub fn push(&mut self, x: f64) -> f64 {
        if self.left > 0 {
            return self.seed(x);
        }
        self.value += self.weight * (x - self.value);
        self.value
    }

    #[inline(never)]
    fn seed(&mut self, x: f64) -> f64 {
        if self.skip > 0 {
            self.skip -= 1;
            return f64::NAN;
        }
        self.value += x;
        self.left -= 1;
        if self.left > 0 {
            return f64::NAN;
        }
        self.value /= self.n;
        self.value
    }
}

/// Wilder's smoothed average, weight 1/n, seeded with the mean of its first `n` values.
#[derive(Clone, Debug)]
pub struct Wilder {
    weight: f64,
    left: usize,
    value: f64,
}

impl Wilder {
    /// An average over `n` values.
    pub fn new(n: usize) -> Wilder {
        memory::note_endless();
        Wilder { weight: (n as f64).recip(), left: n.max(1), value: 0.0 }
    }

    /// The average after the next value; NaN before `n` values.
    #[inline(always)]
    pub fn push(&mut self, x: f64) -> f64 {
        if self.left > 0 {
            self.value += x;
            self.left -= 1;
            if self.left > 0 {
                return f64::NAN;
            }
            self.value *= self.weight;
            return self.value;
        }
        self.value += self.weight * (x - self.value);
        self.value
    }
}

/// Wilder-smoothed gains against losses: RSI and Chande's momentum oscillator as TA-Lib has them.
#[derive(Clone, Debug)]
pub struct Balance {
    gain: Wilder,
    loss: Wilder,
    last: f64,
}

impl Balance {
    /// Over `n` changes.
    pub fn new(n: usize) -> Balance {
        memory::note_endless();
        Balance { gain: Wilder::new(n), loss: Wilder::new(n), last: f64::NAN }
    }

    #[inline(always)]
    fn averages(&mut self, price: f64) -> (f64, f64) {
        let change = price - std::mem::replace(&mut self.last, price);
        if change.is_nan() {
            return (f64::NAN, f64::NAN);
        }
        (self.gain.push(change.max(0.0)), self.loss.push((-change).max(0.0)))
    }

    /// CMO/100 in [−1, 1]: (gain − loss)/(gain + loss); 0 for a flat price.
    #[inline(always)]
    pub fn cmo(&mut self, price: f64) -> f64 {
        let (gain, loss) = self.averages(price);
        if gain + loss == 0.0 { 0.0 } else { (gain - loss) / (gain + loss) }
    }

    /// RSI in [0, 100]; 0 for a flat price, as TA-Lib.
    pub fn rsi(&mut self, price: f64) -> f64 {
        let (gain, loss) = self.averages(price);
        if gain + loss == 0.0 { 0.0 } else { 100.0 * gain / (gain + loss) }
    }
}

/// Wilder's true range: max(h, previous close) − min(l, previous close); NaN on the first bar.
#[derive(Clone, Debug)]
pub struct TrueRange {
    last: f64,
}

impl Default for TrueRange {
    fn default() -> Self {
        TrueRange { last: f64::NAN }
    }
}

impl TrueRange {
    /// The range after the next bar.
    #[inline(always)]
    pub fn push(&mut self, high: f64, low: f64, close: f64) -> f64 {
        let last = std::mem::replace(&mut self.last, close);
        if last.is_nan() { f64::NAN } else { high.max(last) - low.min(last) }
    }
}

/// Average true range (Wilder).
#[derive(Clone, Debug)]
pub struct Atr {
    range: TrueRange,
    average: Wilder,
}

impl Atr {
    /// Over `n` ranges.
    pub fn new(n: usize) -> Atr {
        Atr { range: TrueRange::default(), average: Wilder::new(n) }
    }

    /// The average after the next bar, in price units; NaN before `n + 1` bars.
    #[inline(always)]
    pub fn push(&mut self, high: f64, low: f64, close: f64) -> f64 {
        let range = self.range.push(high, low, close);
        if range.is_nan() { f64::NAN } else { self.average.push(range) }
    }
}

/// What [`Directional`] answers, each in [0, 100].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Directions {
    /// +DI.
    pub plus: f64,
    /// −DI.
    pub minus: f64,
    /// ADX; NaN for `n − 1` bars longer than the other two.
    pub adx: f64,
}

/// Wilder's directional movement (+DI, −DI, ADX) with TA-Lib's seeding.
#[derive(Clone, Debug)]
pub struct Directional {
    n: f64,
    seed_left: usize,
    range: TrueRange,
    high: f64,
    low: f64,
    sum_range: f64,
    sum_plus: f64,
    sum_minus: f64,
    adx_left: usize,
    adx: f64,
}

impl Directional {
    /// Over `n` ≥ 2 bars.
    pub fn new(n: usize) -> Directional {
        memory::note_endless();
        Directional {
            n: n as f64,
            seed_left: n - 1,
            range: TrueRange::default(),
            high: f64::NAN,
            low: f64::NAN,
            sum_range: 0.0,
            sum_plus: 0.0,
            sum_minus: 0.0,
            adx_left: n,
            adx: 0.0,
        }
    }

    /// The values after the next bar; NaN before `n + 1` bars (ADX: `2n`).
    #[inline(always)]
    pub fn push(&mut self, high: f64, low: f64, close: f64) -> Directions {
        let nothing = Directions { plus: f64::NAN, minus: f64::NAN, adx: f64::NAN };
        let range = self.range.push(high, low, close);
        let up = high - std::mem::replace(&mut self.high, high);
        let down = std::mem::replace(&mut self.low, low) - low;
        if range.is_nan() {
            return nothing;
        }
        let plus = if up > 0.0 && up > down { up } else { 0.0 };
        let minus = if down > 0.0 && down > up { down } else { 0.0 };
        let keep = if self.seed_left > 0 { 1.0 } else { 1.0 - 1.0 / self.n };
        self.sum_range = keep * self.sum_range + range;
        self.sum_plus = keep * self.sum_plus + plus;
        self.sum_minus = keep * self.sum_minus + minus;
        if self.seed_left > 0 {
            self.seed_left -= 1;
            return nothing;
        }
        let total = self.sum_plus + self.sum_minus;
        let index =
            if total > 0.0 { 100.0 * (self.sum_plus - self.sum_minus).abs() / total } else { f64::NAN };
        let adx = self.average(index);
        let share = if self.sum_range > 0.0 { 100.0 / self.sum_range } else { 0.0 };
        Directions { plus: share * self.sum_plus, minus: share * self.sum_minus, adx }
    }

    /// ADX: the mean of the first `n` indices, then Wilder's smoothing; an undefined index is
    /// passed over.
    #[inline(always)]
    fn average(&mut self, index: f64) -> f64 {
        if self.adx_left > 0 {
            self.adx += if index.is_nan() { 0.0 } else { index / self.n };
            self.adx_left -= 1;
            return if self.adx_left > 0 { f64::NAN } else { self.adx };
        }
        if !index.is_nan() {
            self.adx += (index - self.adx) / self.n;
        }
        self.adx
    }
}

/// MACD line, signal and histogram.
#[derive(Clone, Debug)]
pub struct Macd {
    fast: Ema,
    slow: Ema,
    signal: Ema,
}

impl Macd {
    /// Averages over `fast` < `slow` values, signal over `signal`.
    pub fn new(fast: usize, slow: usize, signal: usize) -> Macd {
        Macd { fast: Ema::after(slow - fast, fast), slow: Ema::new(slow), signal: Ema::new(signal) }
    }

    /// (line, signal); NaN before `slow` and `slow + signal − 1` values.
    #[inline(always)]
    pub fn push(&mut self, price: f64) -> (f64, f64) {
        let line = self.fast.push(price) - self.slow.push(price);
        if line.is_nan() { (f64::NAN, f64::NAN) } else { (line, self.signal.push(line)) }
    }
}

/// Mean and population standard deviation over a window: SMA, STDDEV and Bollinger's bands.
#[derive(Clone, Debug)]
pub struct Bands {
    sums: Window<[f64; 2]>,
    part: f64,
}

impl Bands {
    /// Over `n` values.
    pub fn new(n: usize) -> Bands {
        Bands { sums: Window::new(n), part: (n as f64).recip() }
    }

    /// (mean, standard deviation) after the next value; NaN before `n` values.
    #[inline(always)]
    pub fn push(&mut self, x: f64) -> (f64, f64) {
        let [sum, square] = self.sums.push([x, x * x]);
        if self.sums.is_full() {
            (sum * self.part, variance(sum, square, self.part).sqrt())
        } else {
            (f64::NAN, f64::NAN)
        }
    }
}

/// Highest high and lowest low over a window of bars.
#[derive(Clone, Debug)]
pub struct Channel {
    high: Window<Highest>,
    low: Window<Highest>,
}

impl Channel {
    /// Over `n` bars.
    pub fn new(n: usize) -> Channel {
        Channel { high: Window::new(n), low: Window::new(n) }
    }

    /// (highest, lowest) after the next bar; NaN before `n` bars.
    #[inline(always)]
    pub fn push(&mut self, high: f64, low: f64) -> (f64, f64) {
        let top = self.high.push(Highest(high)).0;
        let bottom = -self.low.push(Highest(-low)).0;
        if self.high.is_full() { (top, bottom) } else { (f64::NAN, f64::NAN) }
    }
}

/// Slow stochastic: %K smoothed by a simple mean, and %D, the mean of that.
#[derive(Clone, Debug)]
pub struct Stochastic {
    channel: Channel,
    slow: Window<[f64; 1]>,
    signal: Window<[f64; 1]>,
    slow_n: f64,
    signal_n: f64,
}

impl Stochastic {
    /// Range over `n` bars, means over `slow` and `signal` values.
    pub fn new(n: usize, slow: usize, signal: usize) -> Stochastic {
        Stochastic {
            channel: Channel::new(n),
            slow: Window::new(slow),
            signal: Window::new(signal),
            slow_n: slow as f64,
            signal_n: signal as f64,
        }
    }

    /// (%K, %D) in [0, 100], 0 where the range is nothing; NaN before `n + slow + signal − 2` bars.
    #[inline(always)]
    pub fn push(&mut self, high: f64, low: f64, close: f64) -> (f64, f64) {
        let nothing = (f64::NAN, f64::NAN);
        let (top, bottom) = self.channel.push(high, low);
        if top.is_nan() {
            return nothing;
        }
        let fast = if top > bottom { 100.0 * (close - bottom) / (top - bottom) } else { 0.0 };
        let [k] = self.slow.push([fast]);
        if !self.slow.is_full() {
            return nothing;
        }
        let k = k / self.slow_n;
        let [d] = self.signal.push([k]);
        if self.signal.is_full() { (k, d / self.signal_n) } else { nothing }
    }
}

/// Williams' %R in [−100, 0]; 0 where the range is nothing.
#[derive(Clone, Debug)]
pub struct Williams {
    channel: Channel,
}

impl Williams {
    /// Over `n` bars.
    pub fn new(n: usize) -> Williams {
        Williams { channel: Channel::new(n) }
    }

    /// %R after the next bar; NaN before `n` bars.
    #[inline(always)]
    pub fn push(&mut self, high: f64, low: f64, close: f64) -> f64 {
        let (top, bottom) = self.channel.push(high, low);
        if top == bottom { 0.0 } else { -100.0 * (top - close) / (top - bottom) }
    }
}

/// Lambert's commodity channel index of the typical price.
///
/// The mean absolute deviation has no O(1) form, so a push looks at all `n` values: for short
/// windows only.
#[derive(Clone, Debug)]
pub struct Cci {
    ring: Box<[f64]>,
    at: usize,
    seen: usize,
}

impl Cci {
    /// Over `n` bars.
    pub fn new(n: usize) -> Cci {
        // Its sums run in the order of the ring.
        memory::note_window(n);
        Cci { ring: vec![0.0; n].into_boxed_slice(), at: 0, seen: 0 }
    }

    /// The index after the next typical price; 0 for a constant window, NaN before `n` bars.
    #[inline(always)]
    pub fn push(&mut self, typical: f64) -> f64 {
        let n = self.ring.len();
        self.ring[self.at] = typical;
        self.at = if self.at + 1 == n { 0 } else { self.at + 1 };
        if self.seen + 1 < n {
            self.seen += 1;
            return f64::NAN;
        }
        let mean = four_lanes(&self.ring, |x| x) / n as f64;
        let deviation = four_lanes(&self.ring, |x| (x - mean).abs()) / n as f64;
        if deviation > 1e-13 * mean.abs() { (typical - mean) / (0.015 * deviation) } else { 0.0 }
    }
}

/// Σ f(x) in four interleaved lanes: a fixed order the machine can add side by side.
#[inline(always)]
fn four_lanes(values: &[f64], f: impl Fn(f64) -> f64) -> f64 {
    let mut lanes = [0.0; 4];
    let chunks = values.chunks_exact(4);
    let rest: f64 = chunks.remainder().iter().map(|&x| f(x)).sum();
    for chunk in chunks {
        for k in 0..4 {
            lanes[k] += f(chunk[k]);
        }
    }
    (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]) + rest
}

/// Money flow index: typical price × volume on rising against falling bars.
#[derive(Clone, Debug)]
pub struct MoneyFlow {
    sums: Window<[f64; 2]>,
    last: f64,
}

impl MoneyFlow {
    /// Over `n` changes.
    pub fn new(n: usize) -> MoneyFlow {
        MoneyFlow { sums: Window::new(n), last: f64::NAN }
    }

    /// (rising − falling)/(rising + falling) in [−1, 1], which is MFI/50 − 1; 0 without flow, NaN
    /// before `n + 1` bars.
    ///
    /// TA-Lib answers MFI = 0 where the flow is below 1.0 in money; that depends on the currency
    /// and is left out.
    #[inline(always)]
    pub fn push(&mut self, typical: f64, volume: f64) -> f64 {
        let last = std::mem::replace(&mut self.last, typical);
        if last.is_nan() {
            return f64::NAN;
        }
        let flow = typical * volume;
        let rising = if typical > last { flow } else { 0.0 };
        let falling = if typical < last { flow } else { 0.0 };
        let [up, down] = self.sums.push([rising, falling]);
        match self.sums.is_full() {
            false => f64::NAN,
            true if up + down > 0.0 => (up - down) / (up + down),
            true => 0.0,
        }
    }
}

/// On-balance volume (Granville), starting at the first bar's volume.
#[derive(Clone, Debug)]
pub struct OnBalance {
    last: f64,
    value: f64,
}

impl Default for OnBalance {
    fn default() -> Self {
        OnBalance { last: f64::NEG_INFINITY, value: 0.0 }
    }
}

impl OnBalance {
    /// The balance after the next bar, in volume units. It remembers for ever; features use its
    /// windowed, normalised form.
    pub fn push(&mut self, close: f64, volume: f64) -> f64 {
        let last = std::mem::replace(&mut self.last, close);
        if close > last {
            self.value += volume;
        } else if close < last {
            self.value -= volume;
        }
        self.value
    }
}

/// Relative change over `n` values, in percent (ROC).
#[derive(Clone, Debug)]
pub struct RateOfChange {
    back: Delay,
}

impl RateOfChange {
    /// Over `n` steps.
    pub fn new(n: usize) -> RateOfChange {
        RateOfChange { back: Delay::new(n) }
    }

    /// The change after the next price; NaN before `n + 1` values.
    pub fn push(&mut self, price: f64) -> f64 {
        100.0 * (price / self.back.push(price) - 1.0)
    }
}

/// Least-squares line over a window.
#[derive(Clone, Debug)]
pub struct Regression {
    window: Window<Line>,
}

impl Regression {
    /// Over `n` ≥ 2 values.
    pub fn new(n: usize) -> Regression {
        Regression { window: Window::new(n) }
    }

    /// The line after the next value, or `None` before `n` values.
    #[inline(always)]
    pub fn push(&mut self, x: f64) -> Option<Line> {
        let line = self.window.push(Line::of(x));
        self.window.is_full().then_some(line)
    }
}

/// Aroon oscillator (Chande): bars since the low minus bars since the high, in [−100, 100].
#[derive(Clone, Debug)]
pub struct Aroon {
    high: Window<Peak>,
    low: Window<Peak>,
    scale: f64,
    at: i64,
}

impl Aroon {
    /// Over the last `n` bars and the one before.
    pub fn new(n: usize) -> Aroon {
        Aroon { high: Window::new(n + 1), low: Window::new(n + 1), scale: 100.0 / n as f64, at: 0 }
    }

    /// The oscillator after the next bar; NaN before `n + 1` bars.
    #[inline(always)]
    pub fn push(&mut self, high: f64, low: f64) -> f64 {
        let top = self.high.push(Peak { value: high, at: self.at });
        let bottom = self.low.push(Peak { value: -low, at: self.at });
        self.at += 1;
        if self.high.is_full() { self.scale * (top.at - bottom.at) as f64 } else { f64::NAN }
    }
}

/// Three averages one over the other, the smooth part of TRIX.
#[derive(Clone, Debug)]
pub struct TripleEma {
    stages: [Ema; 3],
}

impl TripleEma {
    /// Each over `n` values.
    pub fn new(n: usize) -> TripleEma {
        TripleEma { stages: [Ema::new(n), Ema::new(n), Ema::new(n)] }
    }

    /// The third average; NaN before `3n − 2` values.
    #[inline(always)]
    pub fn push(&mut self, x: f64) -> f64 {
        let mut value = x;
        for stage in &mut self.stages {
            value = stage.push(value);
            if value.is_nan() {
                return value;
            }
        }
        value
    }
}

/// Chaikin's oscillator (TA-Lib ADOSC): fast minus slow average of the accumulation line.
///
/// Kept as the line's distance to each average, so that the line itself, which grows for ever, is
/// never formed.
#[derive(Clone, Debug)]
pub struct Chaikin {
    fast_keep: f64,
    slow_keep: f64,
    fast_gap: f64,
    slow_gap: f64,
    left: usize,
    started: bool,
}

impl Chaikin {
    /// Averages over `fast` and `slow` values, seeded with the first.
    pub fn new(fast: usize, slow: usize) -> Chaikin {
        let keep = |n: usize| 1.0 - 2.0 / (n as f64 + 1.0);
        Chaikin {
            fast_keep: keep(fast),
            slow_keep: keep(slow),
            fast_gap: 0.0,
            slow_gap: 0.0,
            left: slow.max(fast) - 1,
            started: false,
        }
    }

    /// The oscillator after a bar whose close lies at `location` of its range (−1 low, 1 high),
    /// in volume units; NaN before `slow` bars.
    #[inline(always)]
    pub fn push(&mut self, location: f64, volume: f64) -> f64 {
        if self.started {
            let flow = location * volume;
            self.fast_gap = self.fast_keep * (self.fast_gap + flow);
            self.slow_gap = self.slow_keep * (self.slow_gap + flow);
        }
        self.started = true;
        if self.left > 0 {
            self.left -= 1;
            return f64::NAN;
        }
        self.slow_gap - self.fast_gap
    }
}

/// Where a close lies in its bar: −1 at the low, 1 at the high, 0 for a bar without range.
#[inline(always)]
pub fn close_location(high: f64, low: f64, close: f64) -> f64 {
    if high > low { ((close - low) - (high - close)) / (high - low) } else { 0.0 }
}
