//! Whether one forecast is better than another: Diebold and Mariano (1995) with the small-sample
//! factor of Harvey, Leybourne and Newbold (1997).

use super::autocorrelation::dot;
use super::distributions::student_t_sf;
use super::moments::{mean, std_dev};

/// The test of equal loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DieboldMariano {
    /// Mean difference over its rectangular-kernel standard error.
    pub statistic: f64,
    /// The same after the small-sample factor.
    pub hln: f64,
    /// Two-sided, Student's t with n − 1 degrees of freedom, from `hln`.
    pub p_two_sided: f64,
}

/// Tests that the mean of the loss `differences` is zero, for forecasts `horizon` ≥ 1 periods
/// ahead (autocovariances up to horizon − 1). `None` when n ≤ horizon, without variance, or when
/// the rectangular kernel gives no positive variance.
pub fn diebold_mariano(differences: &[f64], horizon: usize) -> Option<DieboldMariano> {
    std_dev(differences)?;
    if horizon == 0 || differences.len() <= horizon {
        return None;
    }
    let (n, h, m) = (differences.len() as f64, horizon as f64, mean(differences)?);
    let e: Vec<f64> = differences.iter().map(|v| v - m).collect();
    let autocovariance = |k: usize| dot(&e[k..], &e[..e.len() - k]) / n;
    let lagged: f64 = (1..horizon).map(autocovariance).sum();
    let variance = (autocovariance(0) + 2.0 * lagged) / n;
    if variance <= 0.0 {
        return None;
    }
    let statistic = m / variance.sqrt();
    let hln = statistic * ((n + 1.0 - 2.0 * h + h * (h - 1.0) / n) / n).sqrt();
    Some(DieboldMariano { statistic, hln, p_two_sided: 2.0 * student_t_sf(hln.abs(), n - 1.0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_forecasts_cannot_be_told_apart() {
        assert_eq!(diebold_mariano(&[0.0; 20], 1), None);
        assert_eq!(diebold_mariano(&[1.0, 2.0], 2), None);
        let even: Vec<f64> = (0..40).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
        assert_eq!(diebold_mariano(&even, 1).map(|d| d.p_two_sided), Some(1.0));
    }
}
