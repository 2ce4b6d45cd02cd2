//! Adjusted p-values for many tests at once: Holm (1979), Benjamini–Hochberg (1995),
//! Benjamini–Yekutieli (2001).
//!
//! An adjusted p-value ≤ α is a rejection at α. Output order is input order. p-values must be in
//! 0..=1; a coin without a p-value must be left out or given 1.

/// Benjamini–Hochberg: the expected share of false among the rejected stays ≤ α when tests are
/// independent or positively dependent.
pub fn benjamini_hochberg(p: &[f64]) -> Vec<f64> {
    step_up(p, 1.0)
}

/// Benjamini–Yekutieli: the same promise under any dependence, dearer by Σ 1/i.
pub fn benjamini_yekutieli(p: &[f64]) -> Vec<f64> {
    step_up(p, (1..=p.len()).map(|i| 1.0 / i as f64).sum())
}

/// Holm: the chance of any false rejection stays ≤ α under any dependence.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let order = ascending(p);
    let mut adjusted = vec![1.0; p.len()];
    let mut largest = 0.0_f64;
    for (position, &i) in order.iter().enumerate() {
        largest = largest.max(p[i] * (p.len() - position) as f64);
        adjusted[i] = largest.min(1.0);
    }
    adjusted
}

fn step_up(p: &[f64], penalty: f64) -> Vec<f64> {
    let order = ascending(p);
    let mut adjusted = vec![1.0; p.len()];
    let mut smallest = 1.0_f64;
    for (position, &i) in order.iter().enumerate().rev() {
        smallest = smallest.min(p[i] * penalty * p.len() as f64 / (position + 1) as f64);
        adjusted[i] = smallest;
    }
    adjusted
}

/// Indexes from the smallest p-value to the largest; NaN last, so it is never a discovery.
fn ascending(p: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_test_needs_no_correction_and_order_is_kept() {
        for adjust in [benjamini_hochberg, benjamini_yekutieli, holm] {
            assert_eq!(adjust(&[0.03]), vec![0.03]);
            assert_eq!(adjust(&[]), Vec::<f64>::new());
            let both = adjust(&[0.9, 0.001]);
            assert!(both[0] >= 0.9 && both[1] < 0.01);
        }
    }

    #[test]
    fn a_missing_p_value_is_never_a_discovery() {
        for adjust in [benjamini_hochberg, benjamini_yekutieli, holm] {
            assert!(adjust(&[f64::NAN, 0.5])[0].is_nan() || adjust(&[f64::NAN, 0.5])[0] == 1.0);
        }
    }
}
