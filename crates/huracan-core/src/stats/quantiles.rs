//! Order statistics: quantiles as numpy's `linear` method has them, median and MAD.

/// Turns a MAD into the standard deviation of a normal sample: 1 / Φ⁻¹(0.75).
pub const MAD_TO_SIGMA: f64 = 1.482_602_218_505_602;

/// The `q`-quantile, linear between order statistics (Hyndman and Fan 1996, type 7, numpy's
/// default). `None` when empty, when a value is NaN, or when `q` is outside 0..=1.
pub fn quantile(x: &[f64], q: f64) -> Option<f64> {
    if x.iter().any(|v| v.is_nan()) {
        return None;
    }
    let mut sorted = x.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    quantile_sorted(&sorted, q)
}

/// [`quantile`] of values already in ascending order.
pub fn quantile_sorted(sorted: &[f64], q: f64) -> Option<f64> {
    if sorted.is_empty() || !(0.0..=1.0).contains(&q) {
        return None;
    }
    let position = q * (sorted.len() - 1) as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    let weight = position - below as f64;
    let (a, b) = (sorted[below], sorted[above]);
    // numpy's lerp: from whichever end is nearer, so that both ends are hit exactly.
    Some(if weight < 0.5 { a + (b - a) * weight } else { b - (b - a) * (1.0 - weight) })
}

/// The middle value, or the mean of the two middle ones; `None` when empty or with NaN.
pub fn median(x: &[f64]) -> Option<f64> {
    quantile(x, 0.5)
}

/// Median absolute deviation from the median, unscaled (× [`MAD_TO_SIGMA`] for a σ).
pub fn mad(x: &[f64]) -> Option<f64> {
    let centre = median(x)?;
    let deviations: Vec<f64> = x.iter().map(|v| (v - centre).abs()).collect();
    median(&deviations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate_and_hit_the_ends() {
        let x = [4.0, 1.0, 3.0, 2.0];
        for (q, expected) in [(0.0, 1.0), (0.25, 1.75), (0.5, 2.5), (1.0, 4.0)] {
            assert_eq!(quantile(&x, q), Some(expected));
        }
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[1.0, f64::NAN], 0.5), None);
        assert_eq!(quantile(&[1.0], 1.1), None);
    }

    #[test]
    fn mad_ignores_one_wild_value() {
        assert_eq!(mad(&[1.0, 2.0, 3.0, 4.0, 1e9]), Some(1.0));
    }
}
