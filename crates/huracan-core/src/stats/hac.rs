//! Tests that stay honest under serial dependence: Newey–West (1987) with Bartlett weights.

use faer::prelude::*;
use faer::{Mat, MatRef, Side};

use super::autocorrelation::dot;
use super::distributions::{normal_sf, student_t_sf};
use super::moments::{mean, std_dev};

/// What is done about a sample that is not infinite.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SmallSample {
    /// Nothing: the normal distribution.
    Asymptotic,
    /// Covariance × n/(n − k), the normal distribution (statsmodels `use_correction=True`).
    Scaled,
    /// Covariance × n/(n − k), Student's t with n − k degrees of freedom.
    Student,
}

/// A mean tested against zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MeanTest {
    /// Sample mean.
    pub mean: f64,
    /// HAC standard error of the mean.
    pub std_error: f64,
    /// mean / std_error.
    pub t: f64,
    /// P(T ≥ t) under a zero mean: small means "greater than zero".
    pub p_one_sided: f64,
}

/// Newey–West test that the mean of `x` is greater than zero, with `lags` Bartlett lags (at most
/// n − 1). `None` when n < 2 or the values do not vary.
pub fn newey_west_mean(x: &[f64], lags: usize, small_sample: SmallSample) -> Option<MeanTest> {
    std_dev(x)?;
    let (n, m) = (x.len() as f64, mean(x)?);
    let e: Vec<f64> = x.iter().map(|v| v - m).collect();
    let lags = lags.min(x.len() - 1);
    let lagged: f64 = (1..=lags).map(|k| bartlett(k, lags) * dot(&e[k..], &e[..e.len() - k])).sum();
    let long_run = (dot(&e, &e) + 2.0 * lagged) * scale(small_sample, n, 1.0);
    if long_run <= 0.0 {
        return None;
    }
    let std_error = long_run.sqrt() / n;
    let t = m / std_error;
    Some(MeanTest { mean: m, std_error, t, p_one_sided: upper_tail(t, small_sample, n - 1.0) })
}

/// Ordinary least squares with HAC standard errors.
#[derive(Clone, Debug, PartialEq)]
pub struct OlsHac {
    /// One coefficient a column of the design.
    pub coefficients: Vec<f64>,
    /// HAC standard errors, same order.
    pub std_errors: Vec<f64>,
    /// coefficient / standard error.
    pub t: Vec<f64>,
    /// Two-sided p-values.
    pub p_two_sided: Vec<f64>,
    /// 1 − residual / centred total sum of squares.
    pub r2: f64,
}

/// OLS of `y` (n) on `design` (n × k; give the intercept its own column of ones) with Newey–West
/// covariance. `None` when n ≤ k, the shapes disagree, the design is singular or `y` is constant.
pub fn ols_hac(
    design: MatRef<'_, f64>,
    y: &[f64],
    lags: usize,
    small_sample: SmallSample,
) -> Option<OlsHac> {
    let (n, k) = (design.nrows(), design.ncols());
    if n != y.len() || n <= k || k == 0 {
        return None;
    }
    std_dev(y)?;
    let target = Mat::from_fn(n, 1, |i, _| y[i]);
    let factor = (design.transpose() * design).llt(Side::Lower).ok()?;
    let beta = factor.solve(design.transpose() * &target);
    let residual = &target - design * &beta;
    let scores = Mat::from_fn(n, k, |i, j| design[(i, j)] * residual[(i, 0)]);
    let lags = lags.min(n - 1);
    let mut meat = scores.transpose() * &scores;
    for lag in 1..=lags {
        let cross = scores.subrows(lag, n - lag).transpose() * scores.subrows(0, n - lag);
        meat += Scale(bartlett(lag, lags)) * (&cross + cross.transpose());
    }
    let half = factor.solve(&meat);
    let covariance = factor.solve(half.transpose());
    let factor = scale(small_sample, n as f64, k as f64);
    let coefficients: Vec<f64> = (0..k).map(|j| beta[(j, 0)]).collect();
    let std_errors: Vec<f64> = (0..k).map(|j| (covariance[(j, j)] * factor).sqrt()).collect();
    if coefficients.iter().chain(&std_errors).any(|v| !v.is_finite()) {
        return None;
    }
    let t: Vec<f64> = coefficients.iter().zip(&std_errors).map(|(b, s)| b / s).collect();
    let df = (n - k) as f64;
    let p_two_sided = t.iter().map(|t| 2.0 * upper_tail(t.abs(), small_sample, df)).collect();
    let m = mean(y)?;
    let total: f64 = y.iter().map(|v| (v - m).powi(2)).sum();
    let left: f64 = (0..n).map(|i| residual[(i, 0)].powi(2)).sum();
    Some(OlsHac { coefficients, std_errors, t, p_two_sided, r2: 1.0 - left / total })
}

fn bartlett(lag: usize, lags: usize) -> f64 {
    1.0 - lag as f64 / (lags + 1) as f64
}

fn scale(small_sample: SmallSample, n: f64, k: f64) -> f64 {
    match small_sample {
        SmallSample::Asymptotic => 1.0,
        SmallSample::Scaled | SmallSample::Student => n / (n - k),
    }
}

fn upper_tail(t: f64, small_sample: SmallSample, df: f64) -> f64 {
    match small_sample {
        SmallSample::Asymptotic | SmallSample::Scaled => normal_sf(t),
        SmallSample::Student => student_t_sf(t, df),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_lags_and_with_student_it_is_the_textbook_t_test() {
        let x = [1.0, 2.0, 4.0, 3.0];
        let test = newey_west_mean(&x, 0, SmallSample::Student).unwrap();
        let textbook = 2.5 / (std_dev(&x).unwrap() / 2.0);
        assert!((test.t - textbook).abs() < 1e-12);
        assert!((test.p_one_sided - student_t_sf(textbook, 3.0)).abs() < 1e-15);
    }

    #[test]
    fn repeated_days_do_not_count_twice() {
        let daily = [0.5, -1.0, 2.0, 1.0, -0.3, 0.9, 1.4, -0.2, 0.1, 0.8];
        let repeated: Vec<f64> = daily.iter().flat_map(|&v| [v; 8]).collect();
        let naive = newey_west_mean(&repeated, 0, SmallSample::Asymptotic).unwrap();
        let honest = newey_west_mean(&repeated, 12, SmallSample::Asymptotic).unwrap();
        assert!(honest.std_error > 2.0 * naive.std_error);
    }

    #[test]
    fn undefined_is_none() {
        assert_eq!(newey_west_mean(&[1.0], 3, SmallSample::Student), None);
        assert_eq!(newey_west_mean(&[0.0; 9], 3, SmallSample::Student), None);
        let singular = Mat::from_fn(5, 2, |_, _| 1.0);
        assert_eq!(ols_hac(singular.as_ref(), &[1.0, 2.0, 3.0, 4.0, 5.0], 1, SmallSample::Student), None);
    }
}
