//! Serial dependence of returns: autocorrelation, variance ratio, scaling exponent, efficiency.

use super::window::{Delay, Pairs, Window, variance};

/// Pearson correlation of a value with the one `lag` before.
#[derive(Clone, Debug)]
pub struct Autocorrelation {
    back: Delay,
    pairs: Pairs,
    left: usize,
}

impl Autocorrelation {
    /// Over `n` pairs, `lag` ≥ 1 apart.
    pub fn new(lag: usize, n: usize) -> Autocorrelation {
        Autocorrelation { back: Delay::filled(lag, 0.0), pairs: Pairs::new(n), left: lag }
    }

    /// The correlation after the next value; meaningful once `n + lag` values have come.
    #[inline(always)]
    pub fn push(&mut self, x: f64) -> f64 {
        let before = self.back.push(x);
        if self.left > 0 {
            self.left -= 1;
            return f64::NAN;
        }
        self.pairs.push(before, x).correlation()
    }
}

/// Variance of overlapping `q`-step sums of returns over a window.
#[derive(Clone, Debug)]
pub struct StepVariance {
    step: Window<[f64; 1]>,
    sums: Window<[f64; 2]>,
    n: f64,
}

impl StepVariance {
    /// The `n − q + 1` sums of `q` that fit into `n` returns.
    pub fn new(q: usize, n: usize) -> StepVariance {
        let count = n - q + 1;
        StepVariance { step: Window::new(q), sums: Window::new(count), n: count as f64 }
    }

    /// Population variance after the next return; meaningful once `n` returns have come.
    #[inline(always)]
    pub fn push(&mut self, ret: f64) -> f64 {
        let [x] = self.step.push([ret]);
        let [sum, square] = self.sums.push([x, x * x]);
        variance(sum, square, self.n)
    }
}

/// Lo & MacKinlay (1988) variance ratio: Var(q-step)/(q·Var(1-step)); 1 for a random walk.
#[derive(Clone, Debug)]
pub struct VarianceRatio {
    one: StepVariance,
    many: StepVariance,
    q: f64,
}

impl VarianceRatio {
    /// Of `q` steps over `n` returns.
    pub fn new(q: usize, n: usize) -> VarianceRatio {
        VarianceRatio { one: StepVariance::new(1, n), many: StepVariance::new(q, n), q: q as f64 }
    }

    /// The ratio after the next return; 1 for a constant window.
    #[inline(always)]
    pub fn push(&mut self, ret: f64) -> f64 {
        let (one, many) = (self.one.push(ret), self.many.push(ret));
        if one > 0.0 { many / (self.q * one) } else { 1.0 }
    }
}

/// Kaufman's efficiency ratio, signed: net change over path length, in [−1, 1].
#[derive(Clone, Debug)]
pub struct Efficiency {
    sums: Window<[f64; 2]>,
}

impl Efficiency {
    /// Over `n` returns.
    pub fn new(n: usize) -> Efficiency {
        Efficiency { sums: Window::new(n) }
    }

    /// The ratio after the next return; 0 for a flat window.
    #[inline(always)]
    pub fn push(&mut self, ret: f64) -> f64 {
        let [net, path] = self.sums.push([ret, ret.abs()]);
        if path > 0.0 { net / path } else { 0.0 }
    }
}
