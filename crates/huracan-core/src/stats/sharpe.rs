//! The Sharpe ratio and what is known about how far to believe one.
//!
//! Ratios are per period (say, per day) unless the name says annual. Lo (2002); Bailey and López
//! de Prado (2012) PSR and MinTRL; Bailey and López de Prado (2014) deflated Sharpe.

use super::distributions::{EULER_GAMMA, normal_cdf, normal_quantile};
use super::moments::{kurtosis, mean, skewness, std_dev};

/// Mean over standard deviation (n − 1), per period; `None` when n < 2 or without variance.
pub fn sharpe(returns: &[f64]) -> Option<f64> {
    Some(mean(returns)? / std_dev(returns)?)
}

/// Sharpe ratio × √`periods_per_year`: right only for independent returns.
pub fn annualised_sharpe(returns: &[f64], periods_per_year: f64) -> Option<f64> {
    Some(sharpe(returns)? * periods_per_year.sqrt())
}

/// The factor that annualises a per-period Sharpe ratio under serial correlation (Lo 2002):
/// √periods / √(1 + 2 Σₖ₌₁^{q−1} (1 − k/q) ρₖ), `autocorrelations[k]` = ρₖ from lag 0.
///
/// `None` when fewer than `q` autocorrelations are given, q = 0, or the sum is not positive.
pub fn lo_annualisation(autocorrelations: &[f64], q: usize, periods_per_year: f64) -> Option<f64> {
    if q == 0 || autocorrelations.len() < q {
        return None;
    }
    let weighted: f64 = (1..q).map(|k| (1.0 - k as f64 / q as f64) * autocorrelations[k]).sum();
    let inflation = 1.0 + 2.0 * weighted;
    (inflation > 0.0).then(|| (periods_per_year / inflation).sqrt())
}

/// A Sharpe ratio's sample: everything the probabilistic figures need.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SharpeSample {
    /// Per period.
    pub sharpe: f64,
    /// Number of returns.
    pub periods: usize,
    /// Biased skewness.
    pub skewness: f64,
    /// Biased Pearson kurtosis (3 for a normal).
    pub kurtosis: f64,
}

impl SharpeSample {
    /// Measures `returns`; `None` when they have no Sharpe ratio.
    pub fn of(returns: &[f64]) -> Option<SharpeSample> {
        Some(SharpeSample {
            sharpe: sharpe(returns)?,
            periods: returns.len(),
            skewness: skewness(returns)?,
            kurtosis: kurtosis(returns)?,
        })
    }

    /// Variance of the ratio × periods: 1 − γ₃·SR + (γ₄ − 1)/4·SR².
    fn spread(&self) -> Option<f64> {
        let sr = self.sharpe;
        let spread = 1.0 - self.skewness * sr + (self.kurtosis - 1.0) / 4.0 * sr * sr;
        (spread > 0.0).then_some(spread)
    }

    /// Probabilistic Sharpe ratio: P(true ratio > `benchmark`), both per period.
    pub fn probabilistic(&self, benchmark: f64) -> Option<f64> {
        let steps = (self.periods as f64 - 1.0).sqrt();
        Some(normal_cdf((self.sharpe - benchmark) * steps / self.spread()?.sqrt()))
    }

    /// Deflated Sharpe ratio: the probabilistic one against the ratio that the best of `trials`
    /// worthless strategies would show, `trial_variance` being the variance of their per-period
    /// ratios.
    pub fn deflated(&self, trials: usize, trial_variance: f64) -> Option<f64> {
        self.probabilistic(expected_max_sharpe(trials, trial_variance)?)
    }

    /// Minimum track record length: periods needed to say at `confidence` (such as 0.95) that the
    /// true ratio exceeds `benchmark`. `None` when the observed ratio does not.
    pub fn minimum_track_record(&self, benchmark: f64, confidence: f64) -> Option<f64> {
        if self.sharpe <= benchmark || !(0.0..1.0).contains(&confidence) {
            return None;
        }
        Some(1.0 + self.spread()? * (normal_quantile(confidence) / (self.sharpe - benchmark)).powi(2))
    }
}

/// Expected largest per-period Sharpe ratio among `trials` worthless strategies whose ratios have
/// variance `trial_variance`: √V((1 − γ)Φ⁻¹(1 − 1/N) + γΦ⁻¹(1 − 1/(Ne))); 0 for one trial.
pub fn expected_max_sharpe(trials: usize, trial_variance: f64) -> Option<f64> {
    if trials == 0 || !trial_variance.is_finite() || trial_variance < 0.0 {
        return None;
    }
    if trials == 1 {
        return Some(0.0);
    }
    let n = trials as f64;
    let first = normal_quantile(1.0 - 1.0 / n);
    let second = normal_quantile(1.0 - 1.0 / (n * std::f64::consts::E));
    Some(trial_variance.sqrt() * ((1.0 - EULER_GAMMA) * first + EULER_GAMMA * second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flat_line_has_no_sharpe() {
        assert_eq!(sharpe(&[0.0; 30]), None);
        assert_eq!(sharpe(&[0.1; 30]), None);
        assert_eq!(sharpe(&[1.0]), None);
        assert_eq!(SharpeSample::of(&[]), None);
    }

    #[test]
    fn more_trials_deflate_more() {
        let sample = SharpeSample { sharpe: 0.2, periods: 150, skewness: 0.0, kurtosis: 3.0 };
        let deflated = |n| sample.deflated(n, 0.004).unwrap();
        assert!(deflated(1) > deflated(10) && deflated(10) > deflated(1000));
        assert_eq!(sample.deflated(0, 0.004), None);
        assert_eq!(sample.minimum_track_record(0.3, 0.95), None);
    }

    #[test]
    fn positive_autocorrelation_lowers_the_annual_figure() {
        let plain = lo_annualisation(&[1.0, 0.0, 0.0], 3, 365.0).unwrap();
        assert!((plain - 365_f64.sqrt()).abs() < 1e-12);
        assert!(lo_annualisation(&[1.0, 0.4, 0.2], 3, 365.0).unwrap() < plain);
        assert_eq!(lo_annualisation(&[1.0, -0.9, -0.9], 3, 365.0), None);
        assert_eq!(lo_annualisation(&[1.0], 3, 365.0), None);
    }
}
