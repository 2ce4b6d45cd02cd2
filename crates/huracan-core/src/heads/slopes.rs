//! How strongly each coin follows the pooled head, by nonparametric empirical Bayes.
//!
//! Each coin gives a slope of its label on the pooled score (fitted without that coin) and a
//! standard error. The distribution of true slopes over coins is estimated by nonparametric maximum
//! likelihood on a grid (Kiefer & Wolfowitz 1956; Koenker & Mizera 2014) with the EM fixed point;
//! a coin's slope is its posterior mean. When coins do not differ this is full pooling; when a few
//! coins carry the pattern and the rest do not, those few keep it and the rest get next to nothing.

/// One coin's estimate: `slope ± std_error`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlopeEstimate {
    /// Least-squares slope of the label on the pooled score.
    pub slope: f64,
    /// Its standard error, from the effective number of independent rows.
    pub std_error: f64,
}

impl SlopeEstimate {
    /// From a score's variance and covariance with the label, the label's variance and the
    /// effective number of rows; `None` when the score does not vary.
    pub fn new(
        score_variance: f64,
        covariance: f64,
        label_variance: f64,
        rows_effective: f64,
    ) -> Option<SlopeEstimate> {
        if !(score_variance > 0.0 && label_variance > 0.0 && rows_effective > 2.0) {
            return None;
        }
        let slope = covariance / score_variance;
        let residual = (label_variance - slope * covariance).max(0.05 * label_variance);
        Some(SlopeEstimate { slope, std_error: (residual / (rows_effective * score_variance)).sqrt() })
    }
}

const GRID: usize = 61;
const ITERATIONS: usize = 60;

/// The distribution of slopes over coins: atoms and their weights.
#[derive(Clone, Debug, PartialEq)]
pub struct SlopePrior {
    /// Slopes on an even grid.
    pub atoms: Vec<f64>,
    /// Their probabilities; sum 1.
    pub weights: Vec<f64>,
}

impl SlopePrior {
    /// The prior of a run with no coin to learn from: everybody follows the pooled head fully.
    pub fn full_pooling() -> SlopePrior {
        SlopePrior { atoms: vec![1.0], weights: vec![1.0] }
    }

    /// Maximum-likelihood prior of the given estimates.
    pub fn fit(estimates: &[SlopeEstimate]) -> SlopePrior {
        let low = estimates.iter().map(|e| e.slope).fold(f64::INFINITY, f64::min);
        let high = estimates.iter().map(|e| e.slope).fold(f64::NEG_INFINITY, f64::max);
        if !(low.is_finite() && high.is_finite()) {
            return SlopePrior::full_pooling();
        }
        if high - low < 1e-12 {
            return SlopePrior { atoms: vec![low], weights: vec![1.0] };
        }
        let atoms: Vec<f64> = (0..GRID).map(|g| low + (high - low) * g as f64 / (GRID - 1) as f64).collect();
        let likelihood: Vec<Vec<f64>> = estimates.iter().map(|e| likelihoods(&atoms, e)).collect();
        let mut weights = vec![1.0 / GRID as f64; GRID];
        for _ in 0..ITERATIONS {
            let mut next = vec![0.0; GRID];
            for row in &likelihood {
                let total: f64 = row.iter().zip(&weights).map(|(l, w)| l * w).sum();
                if total > 0.0 {
                    let scale = 1.0 / total;
                    next.iter_mut().zip(row).for_each(|(n, l)| *n += l * scale);
                }
            }
            let sum: f64 = next.iter().zip(&weights).map(|(n, w)| n * w).sum();
            if sum <= 0.0 {
                break;
            }
            weights.iter_mut().zip(&next).for_each(|(w, n)| *w *= n / sum);
        }
        SlopePrior { atoms, weights }
    }

    /// Mean slope of the prior: what a coin with no history gets.
    pub fn mean(&self) -> f64 {
        self.atoms.iter().zip(&self.weights).map(|(a, w)| a * w).sum()
    }

    /// Posterior mean slope of a coin with this estimate; the prior mean without one.
    pub fn posterior(&self, estimate: Option<SlopeEstimate>) -> f64 {
        let Some(estimate) = estimate else { return self.mean() };
        let likelihood = likelihoods(&self.atoms, &estimate);
        let joint: Vec<f64> = likelihood.iter().zip(&self.weights).map(|(l, w)| l * w).collect();
        let total: f64 = joint.iter().sum();
        if total <= 0.0 {
            return self.mean();
        }
        joint.iter().zip(&self.atoms).map(|(j, a)| j * a).sum::<f64>() / total
    }
}

/// Normal likelihoods of an estimate at every atom, scaled so that the largest is 1.
fn likelihoods(atoms: &[f64], estimate: &SlopeEstimate) -> Vec<f64> {
    let exponent = |a: &f64| {
        let z = (estimate.slope - a) / estimate.std_error;
        -0.5 * z * z
    };
    let best = atoms.iter().map(exponent).fold(f64::NEG_INFINITY, f64::max);
    atoms.iter().map(|a| (exponent(a) - best).exp()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_distr::{Distribution, StandardNormal};

    fn noisy(truth: &[f64], std_error: f64) -> Vec<SlopeEstimate> {
        let mut rng = crate::words::Seed(5).rng();
        let mut one = |&t: &f64| {
            let noise: f64 = StandardNormal.sample(&mut rng);
            SlopeEstimate { slope: t + std_error * noise, std_error }
        };
        truth.iter().map(&mut one).collect()
    }

    #[test]
    fn equal_coins_are_pooled_fully() {
        let estimates = noisy(&[1.0; 300], 2.0);
        let prior = SlopePrior::fit(&estimates);
        let spread = |values: Vec<f64>| {
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
        };
        let posterior: Vec<f64> = estimates.iter().map(|e| prior.posterior(Some(*e))).collect();
        let before = spread(estimates.iter().map(|e| e.slope).collect());
        assert!((prior.mean() - 1.0).abs() < 0.4, "{}", prior.mean());
        assert!(spread(posterior) < 0.35 * before);
    }

    #[test]
    fn a_few_that_carry_the_pattern_keep_it_and_the_rest_get_next_to_nothing() {
        let mut truth = vec![0.0; 370];
        truth.extend([16.0; 30]);
        let estimates = noisy(&truth, 4.0);
        let prior = SlopePrior::fit(&estimates);
        let posterior: Vec<f64> = estimates.iter().map(|e| prior.posterior(Some(*e))).collect();
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
        assert!(mean(&posterior[..370]).abs() < 1.2, "{}", mean(&posterior[..370]));
        assert!(mean(&posterior[370..]) > 11.0, "{}", mean(&posterior[370..]));
    }

    #[test]
    fn no_coin_to_learn_from_is_full_pooling() {
        assert_eq!(SlopePrior::fit(&[]).posterior(None), 1.0);
        assert_eq!(SlopeEstimate::new(0.0, 1.0, 1.0, 100.0), None);
    }
}
