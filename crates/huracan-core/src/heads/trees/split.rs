//! The best split of one leaf.

use super::bins::{BinEdges, MISSING};
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

/// A candidate's gain as a fraction, so that candidates are compared without dividing.
#[derive(Clone, Copy)]
struct Best {
    numerator: f64,
    denominator: f64,
    bin: usize,
    left: i64,
}

/// The split of highest gain among those the limits allow; of equal ones the first by feature, then
/// by bin, then with the missing on the right. `total` is the sum of the leaf's cells.
pub(super) fn best(
    histogram: &Histogram,
    chosen: &Chosen,
    edges: &BinEdges,
    total: i64,
    scale: Scale,
    limits: &Limits,
) -> Option<Split> {
    let (sum, weight) = scale.parts(total);
    if weight < 2.0 * limits.weight_min {
        return None;
    }
    let whole = sum * sum / (weight + limits.lambda);
    let mut found: Option<Split> = None;
    for (sums, &feature) in histogram.iter().zip(&chosen.features) {
        let missing = sums[usize::from(MISSING)];
        let cuts = edges.of(feature).len();
        let values = &sums[..=cuts];
        // Without missing rows the last bin has nothing to its right.
        let right = scan(if missing == 0 { &values[..cuts] } else { values }, 0, total, scale, limits);
        let left = if missing == 0 { None } else { scan(&values[..cuts], missing, total, scale, limits) };
        for (candidate, missing_left) in [(right, false), (left, true)] {
            let Some(c) = candidate else { continue };
            let gain = c.numerator / c.denominator - whole;
            if gain > found.map_or(limits.gain_min, |f| f.gain) {
                // Who never saw a missing row sends it where most rows go.
                let heavier_left = missing == 0 && 2.0 * scale.parts(c.left).1 >= weight;
                let missing_left = missing_left || heavier_left;
                found = Some(Split { feature, bin: c.bin as u8, missing_left, gain, left: c.left });
            }
        }
    }
    found
}

/// The best of the cuts after each of `sums`, with `start` already on the left.
fn scan(sums: &[i64], start: i64, total: i64, scale: Scale, limits: &Limits) -> Option<Best> {
    let (sum, weight) = scale.parts(total);
    let mut best = Best { numerator: -1.0, denominator: 1.0, bin: 0, left: 0 };
    let mut left = start;
    for (bin, &cell) in sums.iter().enumerate() {
        left = left.wrapping_add(cell);
        let (sum_left, weight_left) = scale.parts(left);
        if weight_left < limits.weight_min {
            continue;
        }
        let weight_right = weight - weight_left;
        if weight_right < limits.weight_min {
            break;
        }
        let sum_right = sum - sum_left;
        let (a, b) = (weight_left + limits.lambda, weight_right + limits.lambda);
        let (numerator, denominator) = (sum_left * sum_left * b + sum_right * sum_right * a, a * b);
        if numerator * best.denominator > best.numerator * denominator {
            best = Best { numerator, denominator, bin, left };
        }
    }
    (best.numerator >= 0.0).then_some(best)
}
