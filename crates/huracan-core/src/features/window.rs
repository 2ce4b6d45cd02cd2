//! Rolling windows in O(1) amortised per push, whatever their length, and without drift.
//!
//! A window is a fold over its last `n` values. The older half of the ring holds suffix folds of
//! the block before, the newer half raw values whose running fold is kept; the answer is one merge
//! of the two, and once per block the suffix folds are rebuilt (the two-stack queue; for extremes
//! the van Herk–Gil–Werman algorithm). Nothing is ever subtracted, so an outlier leaves no trace
//! once it has left the window. What is computed from the folds lives in the indicator files.

use super::memory;

/// Something that can be folded over a window: an associative merge with a neutral element.
pub trait Merge: Copy {
    /// The fold of no values.
    const NOTHING: Self;
    /// The fold of `older` values followed by `newer` ones.
    fn merge(older: Self, newer: Self) -> Self;
}

/// `K` sums side by side.
impl<const K: usize> Merge for [f64; K] {
    const NOTHING: Self = [0.0; K];
    #[inline(always)]
    fn merge(older: Self, newer: Self) -> Self {
        std::array::from_fn(|k| older[k] + newer[k])
    }
}

/// The largest value; push negated values for the smallest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Highest(pub f64);

impl Merge for Highest {
    const NOTHING: Self = Highest(f64::NEG_INFINITY);
    #[inline(always)]
    fn merge(older: Self, newer: Self) -> Self {
        if newer.0 >= older.0 { newer } else { older }
    }
}

/// The largest value and when it came; of equal values the latest wins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Peak {
    /// The value.
    pub value: f64,
    /// The number the caller gave this push, growing by one each time.
    pub at: i64,
}

impl Merge for Peak {
    const NOTHING: Self = Peak { value: f64::NEG_INFINITY, at: 0 };
    #[inline(always)]
    fn merge(older: Self, newer: Self) -> Self {
        if newer.value >= older.value { newer } else { older }
    }
}

/// What a least-squares line over equally spaced values needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    n: f64,
    sum: f64,
    square: f64,
    moment: f64,
}

impl Line {
    /// One value.
    #[inline(always)]
    pub fn of(x: f64) -> Line {
        Line { n: 1.0, sum: x, square: x * x, moment: 0.0 }
    }

    /// Σ(t − t̄)·x over the window, t counting its bars.
    #[inline(always)]
    fn centred_moment(&self) -> f64 {
        self.moment - 0.5 * (self.n - 1.0) * self.sum
    }

    /// Slope per step of the least-squares line.
    #[inline(always)]
    pub fn slope(&self) -> f64 {
        12.0 * self.centred_moment() / (self.n * (self.n * self.n - 1.0))
    }

    /// Correlation of the values with time, in [−1, 1]; 0 for a constant window.
    #[inline(always)]
    pub fn correlation(&self) -> f64 {
        let time = self.n * (self.n * self.n - 1.0) / 12.0;
        let values = self.square - self.sum * self.sum / self.n;
        if values <= 1e-13 * self.square {
            return 0.0;
        }
        (self.centred_moment() / (time * values).sqrt()).clamp(-1.0, 1.0)
    }
}

impl Merge for Line {
    const NOTHING: Self = Line { n: 0.0, sum: 0.0, square: 0.0, moment: 0.0 };
    #[inline(always)]
    fn merge(older: Self, newer: Self) -> Self {
        Line {
            n: older.n + newer.n,
            sum: older.sum + newer.sum,
            square: older.square + newer.square,
            moment: older.moment + newer.moment + older.n * newer.sum,
        }
    }
}

/// The fold of the last `n` pushed values; of fewer while it fills.
#[derive(Clone, Debug)]
pub struct Window<T> {
    ring: Box<[T]>,
    at: usize,
    fresh: T,
    full: bool,
}

impl<T: Merge> Window<T> {
    /// A window over the last `n` values; a window of zero is one of one.
    pub fn new(n: usize) -> Window<T> {
        memory::note_window(n.max(1));
        let ring = vec![T::NOTHING; n.max(1)].into_boxed_slice();
        Window { ring, at: 0, fresh: T::NOTHING, full: false }
    }

    /// Takes the next value and gives the fold of the window it ends.
    #[inline(always)]
    pub fn push(&mut self, x: T) -> T {
        self.fresh = T::merge(self.fresh, x);
        self.ring[self.at] = x;
        self.at += 1;
        if self.at < self.ring.len() {
            return T::merge(self.ring[self.at], self.fresh);
        }
        rebase(&mut self.ring);
        self.at = 0;
        self.full = true;
        std::mem::replace(&mut self.fresh, T::NOTHING)
    }

    /// Whether `n` values have been pushed.
    pub fn is_full(&self) -> bool {
        self.full
    }
}

/// Turns a finished block of values into its suffix folds; once per `n` pushes, and out of line so
/// that a window's own state can stay in registers.
#[inline(never)]
fn rebase<T: Merge>(block: &mut [T]) {
    let mut fold = T::NOTHING;
    for slot in block.iter_mut().rev() {
        fold = T::merge(*slot, fold);
        *slot = fold;
    }
}

/// The value pushed `n` pushes ago; NaN until there is one.
#[derive(Clone, Debug)]
pub struct Delay {
    ring: Box<[f64]>,
    at: usize,
}

impl Delay {
    /// A delay of `n` ≥ 1 pushes.
    pub fn new(n: usize) -> Delay {
        Delay::filled(n, f64::NAN)
    }

    /// A delay that answers `fill` until there is a value.
    pub fn filled(n: usize, fill: f64) -> Delay {
        Delay { ring: vec![fill; n.max(1)].into_boxed_slice(), at: 0 }
    }

    /// Takes the next value and gives the one from `n` pushes before it.
    #[inline(always)]
    pub fn push(&mut self, x: f64) -> f64 {
        let old = std::mem::replace(&mut self.ring[self.at], x);
        self.at += 1;
        if self.at == self.ring.len() {
            self.at = 0;
        }
        old
    }
}

/// Population variance from a sum and a sum of squares, `part` being one over their number; 0 where
/// rounding is all there is.
#[inline(always)]
pub fn variance(sum: f64, square: f64, part: f64) -> f64 {
    let raw = square - sum * sum * part;
    if raw > 1e-13 * square { raw * part } else { 0.0 }
}

/// Least-squares and correlation sums of pairs over a window.
#[derive(Clone, Debug)]
pub struct Pairs {
    sums: Window<[f64; 5]>,
    part: f64,
}

/// Second moments of a window of pairs (population, centred) and its means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moments2 {
    /// Mean of x.
    pub mean_x: f64,
    /// Mean of y.
    pub mean_y: f64,
    /// Variance of x.
    pub var_x: f64,
    /// Variance of y.
    pub var_y: f64,
    /// Covariance.
    pub cov: f64,
}

impl Pairs {
    /// A window over the last `n` pairs.
    pub fn new(n: usize) -> Pairs {
        Pairs { sums: Window::new(n), part: (n as f64).recip() }
    }

    /// Takes the next pair; meaningful once `n` pairs have come.
    #[inline(always)]
    pub fn push(&mut self, x: f64, y: f64) -> Moments2 {
        let [sx, sy, sxx, syy, sxy] = self.sums.push([x, y, x * x, y * y, x * y]);
        let part = self.part;
        let (mean_x, mean_y) = (sx * part, sy * part);
        Moments2 {
            mean_x,
            mean_y,
            var_x: variance(sx, sxx, part),
            var_y: variance(sy, syy, part),
            cov: sxy * part - mean_x * mean_y,
        }
    }
}

impl Moments2 {
    /// Pearson correlation in [−1, 1]; 0 where either side is constant.
    #[inline(always)]
    pub fn correlation(&self) -> f64 {
        let scale = self.var_x * self.var_y;
        if scale > 0.0 { (self.cov / scale.sqrt()).clamp(-1.0, 1.0) } else { 0.0 }
    }

    /// Slope of y on x; 0 where x is constant.
    #[inline(always)]
    pub fn slope(&self) -> f64 {
        if self.var_x > 0.0 { self.cov / self.var_x } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(n: usize) -> Vec<f64> {
        let mut state = 7_u64;
        let step = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5
        };
        (0..n).map(step).collect()
    }

    #[test]
    fn folds_equal_a_fresh_computation_for_every_length() {
        let x = noise(500);
        for n in [1, 2, 3, 7, 64, 199] {
            let (mut sums, mut high, mut line) = (Window::new(n), Window::new(n), Window::new(n));
            for i in 0..x.len() {
                let [sum] = sums.push([x[i]]);
                let top = high.push(Highest(x[i])).0;
                let fit: Line = line.push(Line::of(x[i]));
                let seen = &x[(i + 1).saturating_sub(n)..=i];
                assert!((sum - seen.iter().sum::<f64>()).abs() < 1e-12);
                assert_eq!(top, seen.iter().copied().fold(f64::NEG_INFINITY, f64::max));
                let middle = (seen.len() as f64 - 1.0) / 2.0;
                let moment: f64 = seen.iter().enumerate().map(|(t, v)| (t as f64 - middle) * v).sum();
                assert!((fit.centred_moment() - moment).abs() < 1e-10);
            }
        }
    }

    #[test]
    fn an_outlier_leaves_no_trace() {
        let mut x = noise(3_000);
        x[1_500] *= 1e6;
        let mut sums: Window<[f64; 1]> = Window::new(100);
        for i in 0..x.len() {
            let [sum] = sums.push([x[i].powi(4)]);
            if i >= 1_600 {
                let fresh: f64 = x[i - 99..=i].iter().map(|v| v.powi(4)).sum();
                assert!((sum / fresh - 1.0).abs() < 1e-12, "bar {i}: {sum} against {fresh}");
            }
        }
    }

    #[test]
    fn sums_do_not_drift_over_a_million_bars() {
        let x = noise(1_000_000);
        let mut sums: Window<[f64; 1]> = Window::new(720);
        let last = x.iter().fold(0.0, |_, &v| sums.push([v * v])[0]);
        let fresh: f64 = x[x.len() - 720..].iter().map(|v| v * v).sum();
        assert!((last / fresh - 1.0).abs() < 1e-13);
    }

    #[test]
    fn of_equal_peaks_the_latest_wins() {
        let mut peaks = Window::new(3);
        let seen: Vec<i64> = [2.0, 2.0, 1.0, 0.0]
            .iter()
            .zip(0..)
            .map(|(&value, at)| peaks.push(Peak { value, at }).at)
            .collect();
        assert_eq!(seen, [0, 1, 1, 1]);
    }
}
