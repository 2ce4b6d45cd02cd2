//! A slope that one wild point cannot move (Theil 1950, Sen 1968).

use super::distributions::normal_quantile;
use super::quantiles::median;

/// Median of pairwise slopes with its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TheilSen {
    /// Median slope over all pairs with different x.
    pub slope: f64,
    /// median(y) − slope × median(x).
    pub intercept: f64,
    /// Sen's (1968) interval for the slope.
    pub interval: [f64; 2],
}

/// Theil–Sen line of `y` on `x` with the `level` (such as 0.95) interval of the slope.
///
/// O(n²) slopes: meant for hundreds of points. `None` when no two x differ or with NaN.
pub fn theil_sen(x: &[f64], y: &[f64], level: f64) -> Option<TheilSen> {
    if x.len() != y.len() || x.iter().chain(y).any(|v| !v.is_finite()) || !(0.0..1.0).contains(&level) {
        return None;
    }
    let mut slopes = Vec::with_capacity(x.len() * x.len().saturating_sub(1) / 2);
    for i in 0..x.len() {
        for j in i + 1..x.len() {
            if x[j] != x[i] {
                slopes.push((y[j] - y[i]) / (x[j] - x[i]));
            }
        }
    }
    slopes.sort_unstable_by(f64::total_cmp);
    let slope = median(&slopes)?;
    let intercept = median(y)? - slope * median(x)?;
    Some(TheilSen { slope, intercept, interval: sen_interval(&slopes, x, y, level) })
}

/// Sen (1968) equation 2.6: order statistics of the slopes, with corrections for ties.
fn sen_interval(slopes: &[f64], x: &[f64], y: &[f64], level: f64) -> [f64; 2] {
    let n = x.len() as f64;
    let tie_term = |values: &[f64]| -> f64 {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let runs = sorted.chunk_by(|a, b| a == b).map(|run| run.len() as f64);
        runs.map(|k| k * (k - 1.0) * (2.0 * k + 5.0)).sum()
    };
    let variance = (n * (n - 1.0) * (2.0 * n + 5.0) - tie_term(x) - tie_term(y)) / 18.0;
    let z = normal_quantile((1.0 - level) / 2.0);
    let count = slopes.len() as f64;
    let half_width = z * variance.max(0.0).sqrt();
    let last = slopes.len() - 1;
    let upper = (((count - half_width) / 2.0).round() as usize).min(last);
    let lower = ((((count + half_width) / 2.0).round() - 1.0).max(0.0) as usize).min(last);
    [slopes[lower], slopes[upper]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wild_point_does_not_move_the_line() {
        let x: Vec<f64> = (0..21).map(f64::from).collect();
        let mut y: Vec<f64> = x.iter().map(|v| 2.0 * v + 1.0).collect();
        y[20] = 1e6;
        let line = theil_sen(&x, &y, 0.95).unwrap();
        assert_eq!((line.slope, line.intercept), (2.0, 1.0));
        assert_eq!(theil_sen(&[1.0, 1.0], &[1.0, 2.0], 0.95), None);
        assert_eq!(theil_sen(&[], &[], 0.95), None);
    }
}
