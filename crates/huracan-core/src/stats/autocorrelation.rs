//! Serial dependence: autocorrelations and the Ljung–Box test.

use super::distributions::chi_square_sf;
use super::moments::{mean, std_dev};

/// Autocorrelations at lags 0..=`max_lag` (biased: every lag divided by the full sum of squares,
/// as `statsmodels.tsa.acf`). `None` without variance or when `max_lag` ≥ n.
pub fn autocorrelations(x: &[f64], max_lag: usize) -> Option<Vec<f64>> {
    std_dev(x)?;
    if max_lag >= x.len() {
        return None;
    }
    let m = mean(x)?;
    let e: Vec<f64> = x.iter().map(|v| v - m).collect();
    let total = dot(&e, &e);
    Some((0..=max_lag).map(|lag| dot(&e[lag..], &e[..e.len() - lag]) / total).collect())
}

/// A statistic with its p-value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LjungBox {
    /// n(n+2) Σ ρ²ₖ/(n−k).
    pub statistic: f64,
    /// P(χ²(lags) > statistic): small means dependence.
    pub p: f64,
}

/// Ljung and Box (1978) test that the first `lags` ≥ 1 autocorrelations are zero.
pub fn ljung_box(x: &[f64], lags: usize) -> Option<LjungBox> {
    if lags == 0 {
        return None;
    }
    let rho = autocorrelations(x, lags)?;
    let n = x.len() as f64;
    let sum: f64 = (1..=lags).map(|k| rho[k] * rho[k] / (n - k as f64)).sum();
    let statistic = n * (n + 2.0) * sum;
    Some(LjungBox { statistic, p: chi_square_sf(statistic, lags as f64) })
}

/// Σ aᵢbᵢ over the shorter length.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alternating_series_is_anticorrelated() {
        let x: Vec<f64> = (0..100).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
        let rho = autocorrelations(&x, 2).unwrap();
        assert!((rho[1] + 0.99).abs() < 1e-12 && (rho[2] - 0.98).abs() < 1e-12);
        assert!(ljung_box(&x, 1).unwrap().p < 1e-20);
    }

    #[test]
    fn a_constant_has_no_autocorrelation() {
        assert_eq!(autocorrelations(&[3.0; 5], 1), None);
        assert_eq!(autocorrelations(&[1.0, 2.0], 2), None);
        assert_eq!(ljung_box(&[1.0, 2.0, 1.5], 0), None);
    }
}
