//! Volatility, higher moments and jumps of log prices, over windows and exponentially weighted.
//!
//! Engines give raw figures per bar (variances of log returns, not annualised); features take logs
//! and ratios of them.

use super::memory;
use super::window::{Window, variance};

/// Parkinson (1980): variance of a bar from its log range.
#[inline(always)]
pub fn parkinson(range: f64) -> f64 {
    range * range / (4.0 * std::f64::consts::LN_2)
}

/// Garman–Klass (1980): variance of a bar from log range and log body (close − open).
#[inline(always)]
pub fn garman_klass(range: f64, body: f64) -> f64 {
    0.5 * range * range - (2.0 * std::f64::consts::LN_2 - 1.0) * body * body
}

/// Rogers–Satchell (1991): variance of a bar from its log prices, free of drift.
#[inline(always)]
pub fn rogers_satchell(open: f64, high: f64, low: f64, close: f64) -> f64 {
    (high - close) * (high - open) + (low - close) * (low - open)
}

/// Mean of the last `n` values.
#[derive(Clone, Debug)]
pub struct Mean {
    sums: Window<[f64; 1]>,
    part: f64,
}

impl Mean {
    /// Over `n` values.
    pub fn new(n: usize) -> Mean {
        Mean { sums: Window::new(n), part: (n as f64).recip() }
    }

    /// The mean after the next value; meaningful once `n` values have come.
    #[inline(always)]
    pub fn push(&mut self, x: f64) -> f64 {
        self.part * self.sums.push([x])[0]
    }
}

/// Sample variance (÷ n − 1) of the last `n` values.
#[derive(Clone, Debug)]
pub struct SampleVariance {
    sums: Window<[f64; 2]>,
    part: f64,
    sample: f64,
}

impl SampleVariance {
    /// Over `n` ≥ 2 values.
    pub fn new(n: usize) -> SampleVariance {
        let m = n as f64;
        SampleVariance { sums: Window::new(n), part: m.recip(), sample: m / (m - 1.0) }
    }

    /// The variance after the next value; meaningful once `n` values have come.
    #[inline(always)]
    pub fn push(&mut self, x: f64) -> f64 {
        let [sum, square] = self.sums.push([x, x * x]);
        variance(sum, square, self.part) * self.sample
    }
}

/// Yang & Zhang (2000): overnight, open-to-close and Rogers–Satchell parts at minimum variance.
#[derive(Clone, Debug)]
pub struct YangZhang {
    sums: Window<[f64; 5]>,
    part: f64,
    sample: f64,
    k: f64,
}

impl YangZhang {
    /// Over `n` ≥ 2 bars; k = 0.34/(1.34 + (n+1)/(n−1)).
    pub fn new(n: usize) -> YangZhang {
        let m = n as f64;
        YangZhang {
            sums: Window::new(n),
            part: m.recip(),
            sample: m / (m - 1.0),
            k: 0.34 / (1.34 + (m + 1.0) / (m - 1.0)),
        }
    }

    /// The variance after a bar with this opening gap (open − previous close), body (close − open)
    /// and Rogers–Satchell term; meaningful once `n` bars have come.
    #[inline(always)]
    pub fn push(&mut self, gap: f64, body: f64, rogers_satchell: f64) -> f64 {
        let [g, gg, b, bb, rs] = self.sums.push([gap, gap * gap, body, body * body, rogers_satchell]);
        let overnight = variance(g, gg, self.part);
        let inside = variance(b, bb, self.part);
        self.sample * (overnight + self.k * inside) + (1.0 - self.k) * self.part * rs
    }
}

/// Exponentially weighted mean of squares, started with the first value.
#[derive(Clone, Debug)]
pub struct EwmaVariance {
    weight: f64,
    value: f64,
}

impl EwmaVariance {
    /// With `weight` on the newest value (1 − λ).
    pub fn new(weight: f64) -> EwmaVariance {
        memory::note_endless();
        EwmaVariance { weight, value: f64::NAN }
    }

    /// The variance after the next return.
    pub fn push(&mut self, ret: f64) -> f64 {
        let square = ret * ret;
        self.value =
            if self.value.is_nan() { square } else { self.value + self.weight * (square - self.value) };
        self.value
    }
}

/// Realised variance and bipower variation (Barndorff-Nielsen & Shephard 2004).
#[derive(Clone, Debug)]
pub struct Bipower {
    squares: Window<[f64; 1]>,
    products: Window<[f64; 1]>,
    last: f64,
}

impl Bipower {
    /// Over `n` ≥ 2 returns and the `n − 1` pairs between them.
    pub fn new(n: usize) -> Bipower {
        Bipower { squares: Window::new(n), products: Window::new(n - 1), last: 0.0 }
    }

    /// (Σ r², π/2 Σ |r||r₋₁|) after the next return; meaningful once `n` returns have come.
    #[inline(always)]
    pub fn push(&mut self, ret: f64) -> (f64, f64) {
        let size = ret.abs();
        let [realised] = self.squares.push([ret * ret]);
        let [pairs] = self.products.push([size * self.last]);
        self.last = size;
        (realised, std::f64::consts::FRAC_PI_2 * pairs)
    }
}

/// Realised semivariances: Σ r² over rises and over falls (Barndorff-Nielsen, Kinnebrock & Shephard 2010).
#[derive(Clone, Debug)]
pub struct Semivariance {
    sums: Window<[f64; 2]>,
}

impl Semivariance {
    /// Over `n` returns.
    pub fn new(n: usize) -> Semivariance {
        Semivariance { sums: Window::new(n) }
    }

    /// (up, down) after the next return; meaningful once `n` returns have come.
    #[inline(always)]
    pub fn push(&mut self, ret: f64) -> (f64, f64) {
        let (up, down) = (ret.max(0.0), ret.min(0.0));
        let [up, down] = self.sums.push([up * up, down * down]);
        (up, down)
    }
}

/// Skewness and kurtosis of a window (population moments).
#[derive(Clone, Debug)]
pub struct Shape {
    sums: Window<[f64; 4]>,
    part: f64,
}

impl Shape {
    /// Over `n` values.
    pub fn new(n: usize) -> Shape {
        Shape { sums: Window::new(n), part: (n as f64).recip() }
    }

    /// (skewness, kurtosis, 3 for a normal) after the next value; (0, 3) for a constant window.
    #[inline(always)]
    pub fn push(&mut self, x: f64) -> (f64, f64) {
        let square = x * x;
        let sums = self.sums.push([x, square, square * x, square * square]);
        let [m1, m2, m3, m4] = sums.map(|s| s * self.part);
        let spread = m2 - m1 * m1;
        if spread <= 1e-13 * m2 {
            return (0.0, 3.0);
        }
        let third = m3 - m1 * (3.0 * m2 - 2.0 * m1 * m1);
        let fourth = m4 - m1 * (4.0 * m3 - m1 * (6.0 * m2 - 3.0 * m1 * m1));
        (third / (spread * spread.sqrt()), fourth / (spread * spread))
    }
}
