//! The best split of one leaf.

use super::bins::{CELLS, MISSING};
use super::histogram::{Chosen, Histogram};
use super::quantise::Scale;

/// What a split must respect, in the units of cells.
pub(super) struct Limits {
    /// Added to a side's weight, in steps.
    pub lambda: f64,
    /// Least weight of a side, in steps.
    pub weight_min: f64,
    /// The gain a split must exceed, in levels² a step.
    pub gain_min: f64,
}

/// A way to cut a leaf in two.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Split {
    /// Feature number.
    pub feature: usize,
    /// Rows in this bin or a lower one go left.
    pub bin: u8,
    /// Whether rows without a value go left.
    pub missing_left: bool,
    /// What the cut gains, in levels² a step.
    pub gain: f64,
    /// Sum of the cells that go left.
    pub left: i64,
}

/// The split of highest gain among those the limits allow; of equal ones the first by feature, then
/// with the missing on the right, then by bin. `total` is the sum of the leaf's cells.
pub(super) fn best(
    histogram: &Histogram,
    chosen: &Chosen,
    total: i64,
    scale: Scale,
    limits: &Limits,
) -> Option<Split> {
    let leaf = Leaf::new(total, scale, limits)?;
    let mut bar = (limits.gain_min - leaf.offset) / leaf.whole;
    let mut found = None;
    let (mut lefts, mut scores) = ([0; CELLS], [0.0; CELLS]);
    for (sums, &feature) in histogram.iter().zip(&chosen.features) {
        let missing = sums[usize::from(MISSING)];
        running(sums, &mut lefts);
        for missing_left in [false, true] {
            if missing_left && missing == 0 {
                continue;
            }
            let start = if missing_left { missing } else { 0 };
            let score = leaf.score(&lefts, start, &mut scores);
            if score <= bar * (1.0 + ROUNDING) {
                continue;
            }
            bar = score;
            let bin = scores.iter().position(|&s| s == score)?;
            let left = lefts[bin].wrapping_add(start);
            // Who never saw a missing row sends it where most rows go.
            let heavier_left = missing == 0 && 2.0 * scale.parts(left).1 >= leaf.weight;
            found = Some(Split {
                feature,
                bin: bin as u8,
                missing_left: missing_left || heavier_left,
                gain: score * leaf.whole + leaf.offset,
                left,
            });
        }
    }
    found
}

/// What lies left of the cut after each bin, without the missing.
fn running(sums: &[i64; CELLS], lefts: &mut [i64; CELLS]) {
    let mut left = 0_i64;
    for (at, &cell) in lefts.iter_mut().zip(sums).take(usize::from(MISSING)) {
        left = left.wrapping_add(cell);
        *at = left;
    }
    // Nothing is cut after the missing: the same as the bin before, and never the first of equals.
    lefts[usize::from(MISSING)] = left;
}

/// Scores this close are equal: a cut and its mirror image differ by rounding alone.
const ROUNDING: f64 = 1e-12;

/// The score of a cut the limits do not allow; others are not negative.
const REFUSED: f64 = -1.0;

/// What all cuts of one leaf have in common.
///
/// Let `a` and `b` be the weights of the sides with λ each, `T = a + b`, `g` the residual sum on the
/// left and `G` that of the leaf. Then `g²/a + (G − g)²/b = T s + G²/T` with the score
/// `s = (g − a G/T)² / (a b)`, so that what differs between cuts is one square and nothing cancels.
struct Leaf {
    weight: f64,
    weight_min: f64,
    lambda: f64,
    /// `T`.
    whole: f64,
    /// `G / T`.
    slope: f64,
    /// `G²/T` less the leaf's own term, `G²/(T − λ)`.
    offset: f64,
    shift: u32,
}

impl Leaf {
    /// `None` when the leaf is too light to be cut.
    fn new(total: i64, scale: Scale, limits: &Limits) -> Option<Leaf> {
        let (sum, weight) = scale.parts(total);
        let (lambda, weight_min) = (limits.lambda, limits.weight_min);
        let whole = weight + 2.0 * lambda;
        let offset = sum * sum / whole - sum * sum / (whole - lambda);
        let slope = sum / whole;
        let leaf = Leaf { weight, weight_min, lambda, whole, slope, offset, shift: scale.shift };
        (weight >= 2.0 * weight_min).then_some(leaf)
    }

    /// Fills in the scores of the cuts after each bin, with `start` on the left of each; the highest.
    ///
    /// Written so that it compiles to vector instructions: no branch, and integers become floating
    /// point by being laid into the low bits of 2⁵² rather than by conversion.
    fn score(&self, lefts: &[i64; CELLS], start: i64, scores: &mut [f64; CELLS]) -> f64 {
        const TWO_52: f64 = (1_u64 << 52) as f64;
        let mask = (1_u64 << self.shift) - 1;
        // With its sign bit turned, a residual sum is shifted up by half its range.
        let low = TWO_52 + (1_u64 << (63 - self.shift)) as f64;
        let weight_max = self.weight - self.weight_min;
        for (score, &left) in scores.iter_mut().zip(lefts) {
            let cell = left.wrapping_add(start) as u64 ^ (1 << 63);
            let sum = f64::from_bits((cell >> self.shift) | TWO_52.to_bits()) - low;
            let weight = f64::from_bits((cell & mask) | TWO_52.to_bits()) - TWO_52;
            let a = weight + self.lambda;
            let off = sum - a * self.slope;
            let allowed = (weight >= self.weight_min) & (weight <= weight_max);
            let value = off * off / (a * (self.whole - a));
            *score = if allowed { value } else { REFUSED };
        }
        let larger = |a: f64, b: f64| if b > a { b } else { a };
        let mut lanes = [REFUSED; 4];
        for quad in scores.as_chunks::<4>().0 {
            for k in 0..4 {
                lanes[k] = larger(lanes[k], quad[k]);
            }
        }
        lanes.into_iter().fold(REFUSED, larger)
    }
}
