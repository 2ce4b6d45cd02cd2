//! How two samples move together: Pearson, Spearman, Kendall.

use super::distributions::student_t_sf;
use super::moments::mean;
use super::ranks::ranks;

/// A correlation and its two-sided p-value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Correlation {
    /// In −1..=1.
    pub coefficient: f64,
    /// Two-sided, from t = r√((n−2)/(1−r²)) with n − 2 degrees of freedom; assumes independent
    /// rows. NaN when n = 2.
    pub p_two_sided: f64,
}

/// Product-moment correlation; `None` when the lengths differ, n < 2, or one side does not vary.
pub fn pearson(x: &[f64], y: &[f64]) -> Option<Correlation> {
    if x.len() != y.len() || x.len() < 2 {
        return None;
    }
    let (mx, my) = (mean(x)?, mean(y)?);
    let (mut sxy, mut sxx, mut syy) = (0.0, 0.0, 0.0);
    for (a, b) in x.iter().zip(y) {
        sxy += (a - mx) * (b - my);
        sxx += (a - mx).powi(2);
        syy += (b - my).powi(2);
    }
    let noise = |m: f64| 1e-24 * m * m * x.len() as f64;
    if sxx <= noise(mx) || syy <= noise(my) {
        return None;
    }
    let coefficient = (sxy / (sxx * syy).sqrt()).clamp(-1.0, 1.0);
    let df = x.len() as f64 - 2.0;
    let t = coefficient.abs() * (df / (1.0 - coefficient * coefficient)).sqrt();
    let p_two_sided = if df > 0.0 { 2.0 * student_t_sf(t, df) } else { f64::NAN };
    Some(Correlation { coefficient, p_two_sided })
}

/// Spearman's ρ: [`pearson`] of the ranks, ties at their mean rank.
pub fn spearman(x: &[f64], y: &[f64]) -> Option<Correlation> {
    if x.iter().chain(y).any(|v| v.is_nan()) {
        return None;
    }
    pearson(&ranks(x), &ranks(y))
}

/// Kendall's τ-b in O(n log n) (Knight 1966); `None` when undefined or with NaN.
pub fn kendall(x: &[f64], y: &[f64]) -> Option<f64> {
    if x.len() != y.len() || x.len() < 2 || x.iter().chain(y).any(|v| v.is_nan()) {
        return None;
    }
    let mut pairs: Vec<(f64, f64)> = x.iter().map(|v| v + 0.0).zip(y.iter().map(|v| v + 0.0)).collect();
    pairs.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let total = pair_count(pairs.len());
    let tied_x = tied_pairs(&pairs, |a, b| a.0 == b.0);
    let tied_both = tied_pairs(&pairs, |a, b| a == b);
    let mut ys: Vec<f64> = pairs.iter().map(|p| p.1).collect();
    let swaps = inversions(&mut ys);
    let sorted: Vec<(f64, f64)> = ys.iter().map(|&v| (v, v)).collect();
    let tied_y = tied_pairs(&sorted, |a, b| a.0 == b.0);
    let numerator = total - tied_x - tied_y + tied_both - 2.0 * swaps;
    let denominator = ((total - tied_x) * (total - tied_y)).sqrt();
    (denominator > 0.0).then(|| numerator / denominator)
}

fn pair_count(n: usize) -> f64 {
    n as f64 * (n as f64 - 1.0) / 2.0
}

/// Number of pairs inside runs of equal neighbours.
fn tied_pairs(sorted: &[(f64, f64)], same: fn(&(f64, f64), &(f64, f64)) -> bool) -> f64 {
    sorted.chunk_by(same).map(|run| pair_count(run.len())).sum()
}

/// Sorts ascending by merging and counts how many pairs stood the wrong way round.
fn inversions(x: &mut [f64]) -> f64 {
    if x.len() < 2 {
        return 0.0;
    }
    let middle = x.len() / 2;
    let mut count = inversions(&mut x[..middle]) + inversions(&mut x[middle..]);
    let mut merged = Vec::with_capacity(x.len());
    let (mut a, mut b) = (0, middle);
    while a < middle || b < x.len() {
        if b == x.len() || (a < middle && x[a] <= x[b]) {
            merged.push(x[a]);
            a += 1;
        } else {
            merged.push(x[b]);
            b += 1;
            count += (middle - a) as f64;
        }
    }
    x.copy_from_slice(&merged);
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_alone_decides_rank_correlations() {
        let x = [1.0, 2.0, 3.0, 4.0];
        let y = [1.0, 10.0, 100.0, 1000.0];
        assert_eq!(spearman(&x, &y).map(|c| c.coefficient), Some(1.0));
        assert_eq!(kendall(&x, &y), Some(1.0));
        assert!(pearson(&x, &y).unwrap().coefficient < 0.9);
    }

    #[test]
    fn kendall_counts_ties_as_tau_b() {
        // 6 pairs: 4 concordant, 1 tied in x only, 1 tied in y only: 4 / √(5·5).
        assert_eq!(kendall(&[1.0, 1.0, 2.0, 3.0], &[1.0, 2.0, 3.0, 3.0]), Some(0.8));
    }

    #[test]
    fn nothing_varies_nothing_correlates() {
        assert_eq!(pearson(&[0.1, 0.1, 0.1], &[1.0, 2.0, 3.0]), None);
        assert_eq!(spearman(&[1.0, 2.0], &[5.0, 5.0]), None);
        assert_eq!(kendall(&[1.0, 1.0], &[1.0, 2.0]), None);
        assert_eq!(pearson(&[1.0], &[1.0]), None);
        assert_eq!(spearman(&[1.0, f64::NAN, 2.0], &[1.0, 2.0, 3.0]), None);
    }
}
