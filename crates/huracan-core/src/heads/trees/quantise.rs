//! From weights and residuals in floating point to integers whose sums are exact.
//!
//! A row is one i64 cell: its quantised weighted residual in the high bits, its weight in the low
//! bits. Sums of cells are sums of both, as long as neither half runs over; the scales see to that.

/// Largest quantised residual: 16 bits with the sign.
const LEVELS: f64 = 32_767.0;
/// Weight levels where weights are not small whole numbers.
const WEIGHT_LEVELS: f64 = 1_023.0;

/// Low bits of a cell at least, so that a residual sum has no more digits than an f64.
const SHIFT_MIN: u32 = 12;

/// Row weights in whole steps.
pub(super) struct Weights {
    /// A row's weight in steps, length n; 0 leaves the row out.
    pub steps: Vec<u32>,
    /// Weight of one step, in rows of weight 1.
    pub step: f64,
    /// Low bits of a cell, enough for the sum of all weights.
    pub shift: u32,
    /// Sum of all steps.
    pub total: u64,
    /// Whether no row has weight 0.
    pub all_count: bool,
}

impl Weights {
    /// Weights of n rows: 1 each when none are given, exact when they are whole and at most 1,023,
    /// else in 1,023 steps of the largest. `None` when one is negative or not finite, or all are 0.
    pub fn of(rows: usize, weight: Option<&[f64]>) -> Option<Weights> {
        let (steps, step) = match weight {
            None => (vec![1; rows], 1.0),
            Some(weight) => {
                if weight.len() != rows || !weight.iter().all(|w| w.is_finite() && *w >= 0.0) {
                    return None;
                }
                let largest = weight.iter().fold(0.0, |m: f64, &w| m.max(w));
                let whole = largest <= WEIGHT_LEVELS && weight.iter().all(|w| w.fract() == 0.0);
                let same = weight.iter().all(|&w| w == largest);
                let step = match (whole, same) {
                    (true, _) => 1.0,
                    (false, true) => largest,
                    (false, false) => largest / WEIGHT_LEVELS,
                };
                (weight.iter().map(|w| (w / step).round() as u32).collect(), step)
            }
        };
        let total: u64 = steps.iter().map(|&s| u64::from(s)).sum();
        let shift = (u64::BITS - total.leading_zeros()).max(SHIFT_MIN);
        (total > 0 && step > 0.0 && shift < 48).then(|| {
            let all_count = !steps.contains(&0);
            Weights { steps, step, shift, total, all_count }
        })
    }
}

/// Sums of cells read back.
#[derive(Clone, Copy)]
pub(super) struct Scale {
    /// Low bits that hold weight.
    pub shift: u32,
    /// Residual (times weight steps) of one quantised level.
    pub level: f64,
    /// Weight of one step.
    pub step: f64,
}

impl Scale {
    /// Residual sum in levels and weight in steps of a sum of cells.
    pub fn parts(self, cell: i64) -> (f64, f64) {
        ((cell >> self.shift) as f64, (cell & ((1 << self.shift) - 1)) as f64)
    }
}

/// Fills a cell a row from residuals; the scale to read sums of them. `None` when all residuals are
/// 0 or one is not finite.
pub(super) fn cells(residual: &[f64], weights: &Weights, cells: &mut Vec<i64>) -> Option<Scale> {
    let weighted = |(r, &s): (&f64, &u32)| r * f64::from(s);
    let both = || residual.iter().zip(&weights.steps);
    let largest = both().map(weighted).fold(0.0, |m: f64, g| if g.abs() <= m { m } else { g.abs() });
    if !(largest > 0.0 && largest.is_finite()) {
        return None;
    }
    let room = (1_u64 << (63 - weights.shift)) - 1;
    let mut levels = LEVELS;
    if residual.len() as u64 > room / (LEVELS as u64 + 1) {
        // A sum of whole numbers, so that the bound does not depend on the order of rows either.
        let total: u64 = both().map(|pair| (weighted(pair).abs() / largest * LEVELS) as u64 + 1).sum();
        if total > room {
            levels = (LEVELS * (room as f64 / total as f64)).floor() - 1.0;
        }
    }
    if levels < 1.0 {
        return None;
    }
    let level = largest / levels;
    let inverse = levels / largest;
    if !inverse.is_finite() {
        return None;
    }
    cells.clear();
    cells
        .extend(both().map(|pair| (nearest(weighted(pair) * inverse) << weights.shift) + i64::from(*pair.1)));
    Some(Scale { shift: weights.shift, level, step: weights.step })
}

/// The nearest whole number, of two the even one, for less than 2⁵¹ either way: what is left in the
/// low bits next to 1.5 × 2⁵².
fn nearest(value: f64) -> i64 {
    const MIDDLE: f64 = 1.5 * (1_u64 << 52) as f64;
    (value + MIDDLE).to_bits() as i64 - MIDDLE.to_bits() as i64
}

/// Weighted mean of values, the same whatever their order; `None` when one that counts is not finite.
///
/// Values are rounded to 2⁻⁵² of the largest and summed as integers.
pub(super) fn mean(values: impl Iterator<Item = f64> + Clone, weights: &Weights) -> Option<f64> {
    let counted = || values.clone().zip(&weights.steps).filter(|(_, steps)| **steps > 0);
    let largest = counted().fold(0.0, |m: f64, (v, _)| if v.abs() <= m { m } else { v.abs() });
    if !largest.is_finite() {
        return None;
    }
    let unit = largest / (1_u64 << 52) as f64;
    if unit < f64::MIN_POSITIVE {
        return Some(0.0);
    }
    let term = |(v, &steps): (f64, &u32)| (v / unit).round() as i128 * i128::from(steps);
    let sum: i128 = counted().map(term).sum();
    Some(sum as f64 / weights.total as f64 * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_half_of_a_cell_runs_over_however_little_room_there_is() {
        let residual: Vec<f64> = (0..5_000).map(|i| ((i * 37 % 101) as f64 - 30.0) / 7.0).collect();
        let exact: f64 = residual.iter().sum();
        for shift in [13, 30, 40, 46] {
            let weights = Weights { steps: vec![1; 5_000], step: 1.0, shift, total: 5_000, all_count: true };
            let mut all = Vec::new();
            let scale = cells(&residual, &weights, &mut all).unwrap();
            // The same sign throughout is the worst case.
            let worst: i128 = all.iter().map(|&c| i128::from(c >> shift).abs()).sum();
            assert!(worst < 1 << (63 - shift), "{shift}");
            let (sum, weight) = scale.parts(all.iter().sum());
            assert_eq!(weight, 5_000.0);
            assert!((sum * scale.level - exact).abs() <= 5_000.0 * scale.level, "{shift}");
        }
    }

    #[test]
    fn a_mean_is_the_same_in_any_order() {
        let mut values: Vec<f64> = (0..999).map(|i| (f64::from(i) * 0.7).sin() * 1e5 + 1e-7).collect();
        let weights = Weights::of(999, None).unwrap();
        let forward = mean(values.iter().copied(), &weights).unwrap();
        values.reverse();
        assert_eq!(mean(values.iter().copied(), &weights), Some(forward));
        let plain = values.iter().sum::<f64>() / 999.0;
        assert!((forward - plain).abs() < 1e-9);
    }

    #[test]
    fn rounding_is_to_the_nearest() {
        for (value, expected) in [(2.4, 2), (2.6, 3), (-2.4, -2), (-2.6, -3), (2.5, 2), (0.0, 0)] {
            assert_eq!(nearest(value), expected, "{value}");
        }
    }
}
