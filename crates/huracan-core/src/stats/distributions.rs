//! Tail probabilities and quantiles of the distributions the tests here refer to.
//!
//! Special functions come from `statrs`; this file only gives them the field's names and the
//! tails that stay accurate far out (`1 − cdf` does not).

use statrs::function::{beta, erf, gamma};

/// Euler–Mascheroni constant.
pub const EULER_GAMMA: f64 = 0.577_215_664_901_532_9;

/// Standard normal density.
pub fn normal_pdf(x: f64) -> f64 {
    (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

/// P(Z ≤ x) for a standard normal Z.
pub fn normal_cdf(x: f64) -> f64 {
    0.5 * erf::erfc(-x / std::f64::consts::SQRT_2)
}

/// P(Z > x) for a standard normal Z, accurate in the far tail.
pub fn normal_sf(x: f64) -> f64 {
    normal_cdf(-x)
}

/// The x with P(Z ≤ x) = p; −∞ at 0, +∞ at 1, NaN outside.
///
/// One Halley step on the rational start makes it exact to rounding.
pub fn normal_quantile(p: f64) -> f64 {
    if !(0.0..=1.0).contains(&p) {
        return f64::NAN;
    }
    if p == 0.0 || p == 1.0 {
        return if p == 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    let x = -std::f64::consts::SQRT_2 * erf::erfc_inv(2.0 * p);
    let density = normal_pdf(x);
    if density < 1e-300 {
        return x;
    }
    let step = (normal_cdf(x) - p) / density;
    x - step / (1.0 + 0.5 * x * step)
}

/// P(T > t) for Student's t with `df` > 0 degrees of freedom.
pub fn student_t_sf(t: f64, df: f64) -> f64 {
    if t.is_nan() || df.is_nan() || df <= 0.0 {
        return f64::NAN;
    }
    if t.is_infinite() {
        return if t > 0.0 { 0.0 } else { 1.0 };
    }
    let half_tail = 0.5 * beta::beta_reg(0.5 * df, 0.5, df / (df + t * t));
    if t >= 0.0 { half_tail } else { 1.0 - half_tail }
}

/// P(X > x) for χ² with `df` > 0 degrees of freedom.
pub fn chi_square_sf(x: f64, df: f64) -> f64 {
    if x <= 0.0 { 1.0 } else { gamma::gamma_ur(0.5 * df, 0.5 * x) }
}

/// P(D > d) for the two-sided one-sample Kolmogorov–Smirnov statistic of `n` observations.
///
/// Where n·d² ≥ 2.2 twice the exact one-sided tail of Smirnov, which has there more than ten
/// correct digits (Simard and L'Ecuyer 2011); below, where every p is above about 0.02, the
/// limiting series with Stephens' (1970) correction, good to about 0.002.
pub fn kolmogorov_sf(d: f64, n: usize) -> f64 {
    if n == 0 || d.is_nan() {
        return f64::NAN;
    }
    if d <= 0.0 || d >= 1.0 {
        return if d <= 0.0 { 1.0 } else { 0.0 };
    }
    let size = n as f64;
    if size * d * d >= 2.2 {
        return (2.0 * smirnov_sf(d, n)).min(1.0);
    }
    let lambda = (size.sqrt() + 0.12 + 0.11 / size.sqrt()) * d;
    if lambda < 0.2 {
        return 1.0;
    }
    let term = |k: i32| (-2.0 * f64::from(k * k) * lambda * lambda).exp();
    let series: f64 = (1..=100).map(|k| if k % 2 == 1 { term(k) } else { -term(k) }).sum();
    (2.0 * series).clamp(0.0, 1.0)
}

/// P(D⁺ > d) of the one-sided statistic, by the Birnbaum–Tingey (1951) sum in logarithms.
fn smirnov_sf(d: f64, n: usize) -> f64 {
    let size = n as f64;
    let last = (size * (1.0 - d)).floor() as usize;
    let mut log_choose = 0.0;
    let mut sum = 0.0;
    for j in 0..=last.min(n) {
        let at = d + j as f64 / size;
        let rest = 1.0 - at;
        let left = (n - j) as f64;
        if rest > 0.0 {
            sum += (log_choose + (j as f64 - 1.0) * at.ln() + left * rest.ln()).exp();
        }
        log_choose += (left / (j as f64 + 1.0)).ln();
    }
    d * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantile_inverts_the_distribution_deep_into_both_tails() {
        for p in [1e-12, 1e-5, 0.025, 0.5, 0.8, 0.999, 1.0 - 1e-9] {
            let back = normal_cdf(normal_quantile(p));
            assert!((back / p - 1.0).abs() < 1e-12, "{p} {back}");
        }
        assert!((normal_quantile(0.975) - 1.959_963_984_540_054).abs() < 1e-14);
        assert!(normal_quantile(1.5).is_nan());
    }

    #[test]
    fn tails_match_tables() {
        let check = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-9, "{found}");
        check(student_t_sf(2.228_138_851_964_939, 10.0), 0.025);
        check(student_t_sf(-2.228_138_851_964_939, 10.0), 0.975);
        check(chi_square_sf(3.841_458_820_694_124, 1.0), 0.05);
        assert!((kolmogorov_sf(1.358_1 / 100.0, 10_000) - 0.05).abs() < 2e-3);
        assert_eq!(kolmogorov_sf(0.0, 10), 1.0);
    }
}
