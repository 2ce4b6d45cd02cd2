//! What bars say about trading costs and order flow: impact, imbalance, toxicity, spread.
//!
//! Spreads here are features, in fractions of the price and signed as estimated. The spread that is
//! charged as a cost is `costs`' business.

use super::window::{Pairs, Window};
use statrs::function::erf::erf;

/// Bulk volume classification (Easley, López de Prado & O'Hara 2012): bought minus sold share of a
/// bar's volume, 2Φ(z) − 1, for a return of `z` standard deviations.
#[inline]
pub fn bulk_imbalance(z: f64) -> f64 {
    erf(z * std::f64::consts::FRAC_1_SQRT_2)
}

/// Amihud (2002): mean of |return| per unit of quote volume over the bars that traded.
#[derive(Clone, Debug)]
pub struct Amihud {
    sums: Window<[f64; 2]>,
}

impl Amihud {
    /// Over `n` bars.
    pub fn new(n: usize) -> Amihud {
        Amihud { sums: Window::new(n) }
    }

    /// The mean after a bar with this |return|/volume (0 if it did not trade) and `traded` ∈ {0, 1};
    /// 0 where nothing traded.
    #[inline(always)]
    pub fn push(&mut self, impact: f64, traded: f64) -> f64 {
        let [sum, count] = self.sums.push([impact, traded]);
        if count > 0.0 { sum / count } else { 0.0 }
    }
}

/// Kyle (1985): price impact as the least-squares slope of returns on signed volume.
#[derive(Clone, Debug)]
pub struct Kyle {
    pairs: Pairs,
}

impl Kyle {
    /// Over `n` bars.
    pub fn new(n: usize) -> Kyle {
        Kyle { pairs: Pairs::new(n) }
    }

    /// λ, return per unit of signed volume; 0 where signed volume is constant.
    #[inline(always)]
    pub fn lambda(&mut self, signed_volume: f64, ret: f64) -> f64 {
        self.pairs.push(signed_volume, ret).slope()
    }

    /// λ in standard units, slope × sd(signed volume)/sd(return), in [−1, 1]; 0 where either is
    /// constant.
    #[inline(always)]
    pub fn standard(&mut self, signed_volume: f64, ret: f64) -> f64 {
        self.pairs.push(signed_volume, ret).correlation()
    }
}

/// Net signed volume and absolute signed volume, each over all volume.
#[derive(Clone, Debug)]
pub struct Imbalance {
    sums: Window<[f64; 3]>,
}

impl Imbalance {
    /// Over `n` bars.
    pub fn new(n: usize) -> Imbalance {
        Imbalance { sums: Window::new(n) }
    }

    /// (Σ signed/Σ volume in [−1, 1], VPIN = Σ |signed|/Σ volume in [0, 1]); (0, 0) without volume.
    #[inline(always)]
    pub fn push(&mut self, signed: f64, volume: f64) -> (f64, f64) {
        let [net, gross, all] = self.sums.push([signed, signed.abs(), volume]);
        if all > 0.0 { (net / all, gross / all) } else { (0.0, 0.0) }
    }
}

/// Root with the sign kept.
#[inline(always)]
fn signed_root(x: f64) -> f64 {
    x.abs().sqrt().copysign(x)
}

/// Abdi & Ranaldo (2017): 2√mean((c₋₁ − e₋₁)(c₋₁ − e)), e the middle of a bar's log range.
#[derive(Clone, Debug)]
pub struct AbdiRanaldo {
    sums: Window<[f64; 1]>,
    part: f64,
    offset: f64,
    close: f64,
}

impl AbdiRanaldo {
    /// Over `n` pairs of bars.
    pub fn new(n: usize) -> AbdiRanaldo {
        AbdiRanaldo { sums: Window::new(n), part: (n as f64).recip(), offset: f64::NAN, close: 0.0 }
    }

    /// The signed spread after the next bar (log prices); NaN on the first bar, meaningful after
    /// `n + 1`.
    #[inline(always)]
    pub fn push(&mut self, high: f64, low: f64, close: f64) -> f64 {
        let middle = 0.5 * (high + low);
        let (offset, before) = (self.offset, self.close);
        self.offset = close - middle;
        self.close = close;
        if offset.is_nan() {
            return f64::NAN;
        }
        let [sum] = self.sums.push([offset * (before - middle)]);
        signed_root(4.0 * self.part * sum)
    }
}

/// Corwin & Schultz (2012): the spread seen by two neighbouring bars, from their log highs and lows.
/// Negative where the range over both is larger than volatility explains.
#[inline]
pub fn corwin_schultz(before: (f64, f64), now: (f64, f64)) -> f64 {
    let square = |x: f64| x * x;
    let beta = square(now.0 - now.1) + square(before.0 - before.1);
    let gamma = square(now.0.max(before.0) - now.1.min(before.1));
    const K: f64 = 3.0 - 2.0 * std::f64::consts::SQRT_2;
    let alpha = ((2.0 * beta).sqrt() - beta.sqrt()) / K - (gamma / K).sqrt();
    2.0 * (0.5 * alpha).tanh()
}

/// Roll (1984): 2√(−Cov(r, r₋₁)), signed.
#[derive(Clone, Debug)]
pub struct Roll {
    pairs: Pairs,
    last: f64,
}

impl Roll {
    /// Over `n` pairs of returns.
    pub fn new(n: usize) -> Roll {
        Roll { pairs: Pairs::new(n), last: f64::NAN }
    }

    /// The signed spread after the next return; NaN on the first, meaningful after `n + 1`.
    #[inline(always)]
    pub fn push(&mut self, ret: f64) -> f64 {
        let before = std::mem::replace(&mut self.last, ret);
        if before.is_nan() { f64::NAN } else { -2.0 * signed_root(self.pairs.push(before, ret).cov) }
    }
}
