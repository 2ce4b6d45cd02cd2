//! Means, spreads and shapes of a sample. NaN in, `None` out.

/// Arithmetic mean; `None` when empty or not finite.
pub fn mean(x: &[f64]) -> Option<f64> {
    if x.is_empty() {
        return None;
    }
    finite(x.iter().sum::<f64>() / x.len() as f64)
}

/// Unbiased variance (divisor n − 1), two passes; `None` when n < 2.
pub fn variance(x: &[f64]) -> Option<f64> {
    if x.len() < 2 {
        return None;
    }
    finite(central_sums(x)?.1 / (x.len() - 1) as f64)
}

/// Standard deviation (divisor n − 1); `None` when n < 2 or when the values do not vary.
///
/// Values whose spread is rounding noise (below 1e-12 of their size) count as constant.
pub fn std_dev(x: &[f64]) -> Option<f64> {
    let sd = variance(x)?.sqrt();
    (sd > 1e-12 * mean(x)?.abs()).then_some(sd)
}

/// Biased skewness m₃ / m₂^1.5 with population moments; `None` without variance.
pub fn skewness(x: &[f64]) -> Option<f64> {
    std_dev(x)?;
    let n = x.len() as f64;
    let (_, s2, s3, _) = central_sums(x)?;
    finite((s3 / n) / (s2 / n).powf(1.5))
}

/// Skewness with the small-sample factor √(n(n−1))/(n−2) (Joanes and Gill 1998, G₁); needs n ≥ 3.
pub fn skewness_unbiased(x: &[f64]) -> Option<f64> {
    let n = x.len() as f64;
    if x.len() < 3 {
        return None;
    }
    Some(skewness(x)? * (n * (n - 1.0)).sqrt() / (n - 2.0))
}

/// Biased Pearson kurtosis m₄ / m₂² (3 for a normal); `None` without variance.
pub fn kurtosis(x: &[f64]) -> Option<f64> {
    std_dev(x)?;
    let n = x.len() as f64;
    let (_, s2, _, s4) = central_sums(x)?;
    finite((s4 / n) / (s2 / n).powi(2))
}

/// Mean and the sums of squared, cubed and fourth-power deviations from it.
fn central_sums(x: &[f64]) -> Option<(f64, f64, f64, f64)> {
    let m = mean(x)?;
    let sums = x.iter().fold((0.0, 0.0, 0.0), |(s2, s3, s4), v| {
        let e = v - m;
        let e2 = e * e;
        (s2 + e2, s3 + e2 * e, s4 + e2 * e2)
    });
    Some((m, sums.0, sums.1, sums.2))
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_exist_is_none() {
        assert_eq!(mean(&[]), None);
        assert_eq!(mean(&[1.0, f64::NAN]), None);
        assert_eq!(variance(&[1.0]), None);
        assert_eq!(std_dev(&[0.1; 7]), None);
        assert_eq!(skewness(&[2.0, 2.0, 2.0]), None);
        assert_eq!(kurtosis(&[]), None);
        assert_eq!(skewness_unbiased(&[1.0, 2.0]), None);
    }

    #[test]
    fn small_samples_by_hand() {
        assert_eq!(variance(&[1.0, 3.0]), Some(2.0));
        assert_eq!(skewness(&[-1.0, 0.0, 1.0]), Some(0.0));
        assert_eq!(kurtosis(&[-1.0, -1.0, 1.0, 1.0]), Some(1.0));
    }
}
