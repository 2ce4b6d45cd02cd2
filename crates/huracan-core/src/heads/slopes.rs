//! How strongly each coin follows the pooled head, by nonparametric empirical Bayes.
//!
//! Each coin gives a slope of its label on the pooled score (fitted without that coin) and a
//! standard error. The distribution of true slopes over coins is estimated by nonparametric maximum
//! likelihood on a grid (Kiefer & Wolfowitz 1956; Koenker & Mizera 2014) with the EM fixed point;
//! a coin's slope is its posterior mean. When coins do not differ this is full pooling; when a few
//! coins carry the pattern and the rest do not, those few keep it and the rest get next to nothing.

/// One coin's estimate: `slope ± std_error`.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
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

/// Atoms of the even grid; 0 (does not follow) and the weighted mean (follows as all do) come beside.
const GRID: usize = 61;
/// The grid reaches this many weighted standard deviations to either side of the weighted mean.
const SPREADS: f64 = 5.0;
const ITERATIONS: usize = 60;

/// The distribution of slopes over coins: atoms and their weights.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SlopePrior {
    /// Candidate slopes.
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
        let weights: Vec<f64> = estimates.iter().map(|e| 1.0 / (e.std_error * e.std_error)).collect();
        let total: f64 = weights.iter().sum();
        if !(total.is_finite() && total > 0.0) {
            return SlopePrior::full_pooling();
        }
        let weighed = |f: &dyn Fn(&SlopeEstimate) -> f64| {
            estimates.iter().zip(&weights).map(|(e, w)| w * f(e)).sum::<f64>() / total
        };
        let mean = weighed(&|e| e.slope);
        let spread = weighed(&|e| (e.slope - mean).powi(2)).sqrt();
        let reach = SPREADS * spread;
        // A coin whose score hardly varies has a slope of any size: where such coins lie must not
        // stretch the grid until it has no atom left where the others are.
        let mut atoms = vec![0.0, mean];
        if reach > 1e-12 {
            atoms.extend((0..GRID).map(|g| mean - reach + 2.0 * reach * g as f64 / (GRID - 1) as f64));
        }
        let likelihood: Vec<Vec<f64>> = estimates.iter().map(|e| likelihoods(&atoms, e)).collect();
        let mut weights = vec![1.0 / atoms.len() as f64; atoms.len()];
        for _ in 0..ITERATIONS {
            let mut next = vec![0.0; atoms.len()];
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
    fn a_coin_whose_score_hardly_varies_does_not_blind_the_grid() {
        let mut estimates = noisy(&[1.0; 300], 0.8);
        estimates.push(SlopeEstimate { slope: 4000.0, std_error: 3000.0 });
        estimates.push(SlopeEstimate { slope: -2500.0, std_error: 3000.0 });
        let prior = SlopePrior::fit(&estimates);
        for estimate in &estimates[..300] {
            let posterior = prior.posterior(Some(*estimate));
            assert!((0.5..1.5).contains(&posterior), "{posterior}");
        }
        assert!((prior.posterior(Some(estimates[300])) - 1.0).abs() < 0.5);
    }

    #[test]
    fn no_coin_to_learn_from_is_full_pooling() {
        assert_eq!(SlopePrior::fit(&[]).posterior(None), 1.0);
        assert_eq!(SlopeEstimate::new(0.0, 1.0, 1.0, 100.0), None);
    }
}
