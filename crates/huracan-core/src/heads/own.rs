//! What a coin does besides following the pooled head.
//!
//! A Gaussian deviation `δ ~ N(0, s²/(n τ) I)` from the prior head is fitted to the coin's own
//! moments for each τ of a grid; the marginal likelihood (MacKay 1992) says which τ, and whether
//! any is believed at all. τ = ∞ (no deviation, fully pooled) is the default and the fallback.

use crate::gram::Moments;
use faer::linalg::solvers::{Llt, Solve};
use faer::{Mat, Side};

/// A coin's deviation from its prior head.
#[derive(Clone, Debug, PartialEq)]
pub struct Deviation {
    /// Weights over standardised features, length p; all 0 when τ = ∞.
    pub weights: Vec<f64>,
    /// The penalty chosen, in units of τ/n; `None` is ∞.
    pub tau: Option<f64>,
    /// Log evidence against no deviation at all; 0 when τ = ∞.
    pub log_evidence: f64,
}

/// Deviations for every target of a coin.
///
/// `moments` are standardised; `prior` is p × q; `rows_effective` the number of independent rows;
/// a deviation is kept when its log evidence exceeds `log_odds_min` (the prior odds against coins
/// having a pattern of their own).
pub fn deviations(
    moments: &Moments,
    prior: &Mat<f64>,
    rows_effective: f64,
    taus: &[f64],
    log_odds_min: f64,
) -> Vec<Deviation> {
    let (p, q) = (prior.nrows(), prior.ncols());
    let predicted = &moments.cov * prior;
    let residual = &moments.cross - &predicted;
    let noise: Vec<f64> = (0..q).map(|j| residual_variance(moments, prior, &predicted, j)).collect();
    let none = Deviation { weights: vec![0.0; p], tau: None, log_evidence: 0.0 };
    let mut best = vec![none; q];
    for &tau in taus {
        let mut a = moments.cov.clone();
        (0..p).for_each(|i| a[(i, i)] += tau);
        let Ok(llt) = Llt::new(a.as_ref(), Side::Lower) else { continue };
        let log_determinant: f64 = (0..p).map(|i| 2.0 * llt.L()[(i, i)].ln()).sum();
        let solution = llt.solve(&residual);
        for j in 0..q {
            let fit: f64 = (0..p).map(|i| residual[(i, j)] * solution[(i, j)]).sum();
            if noise[j] <= 0.0 {
                continue;
            }
            let log_evidence =
                0.5 * (rows_effective * fit / noise[j] + p as f64 * tau.ln() - log_determinant);
            if log_evidence > log_odds_min && log_evidence > best[j].log_evidence {
                let weights = (0..p).map(|i| solution[(i, j)]).collect();
                best[j] = Deviation { weights, tau: Some(tau), log_evidence };
            }
        }
    }
    best
}

/// Variance of the label around the prior head's prediction: `v − 2b'c + b'Cb`, with `Cb` given.
fn residual_variance(moments: &Moments, prior: &Mat<f64>, predicted: &Mat<f64>, j: usize) -> f64 {
    let term = |i: usize| prior[(i, j)] * (predicted[(i, j)] - 2.0 * moments.cross[(i, j)]);
    moments.var_y[j] + (0..prior.nrows()).map(term).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_distr::{Distribution, StandardNormal};

    fn coin(seed: u64, n: usize, p: usize, strength: f64) -> Moments {
        let mut rng = crate::words::Seed(seed).rng();
        let a = Mat::from_fn(n, p + 1, |_, j| if j == p { 1.0 } else { StandardNormal.sample(&mut rng) });
        let y = Mat::from_fn(n, 1, |i, _| {
            let noise: f64 = StandardNormal.sample(&mut rng);
            strength * a[(i, 2)] + noise
        });
        let mut gram = crate::gram::Gram::new(p, 1);
        gram.add_rows(a.as_ref(), y.as_ref());
        let m = gram.moments().unwrap();
        m.standardised(&m.deviations())
    }

    #[test]
    fn noise_is_not_given_a_deviation_and_a_pattern_is() {
        let prior = Mat::zeros(20, 1);
        let taus = [0.1, 1.0, 10.0];
        let kept = |seed: u64, strength: f64| {
            let d = deviations(&coin(seed, 300, 20, strength), &prior, 300.0, &taus, 3.0);
            d[0].tau.is_some()
        };
        let noise = (0..40).filter(|&s| kept(s, 0.0)).count();
        let pattern = (100..140).filter(|&s| kept(s, 0.45)).count();
        assert!(noise <= 2, "{noise} of 40 noise coins");
        assert!(pattern >= 36, "{pattern} of 40 patterned coins");
    }

    #[test]
    fn a_deviation_is_the_ridge_toward_the_prior() {
        let m = coin(7, 400, 6, 0.8);
        let prior = Mat::from_fn(6, 1, |i, _| 0.1 * i as f64);
        let d = &deviations(&m, &prior, 400.0, &[0.5], -1e9)[0];
        let a = Mat::from_fn(6, 6, |i, j| m.cov[(i, j)] + if i == j { 0.5 } else { 0.0 });
        let rhs = Mat::from_fn(6, 1, |i, _| m.cross[(i, 0)] + 0.5 * prior[(i, 0)]);
        let direct = Llt::new(a.as_ref(), Side::Lower).unwrap().solve(&rhs);
        for i in 0..6 {
            assert!((prior[(i, 0)] + d.weights[i] - direct[(i, 0)]).abs() < 1e-12);
        }
    }
}
