//! Split conformal prediction: a margin that covers with a promise (Vovk et al. 2005; Lei et al.
//! 2018). The promise needs exchangeable rows; market rows are only roughly so.

/// The margin q with P(new score ≤ q) ≥ 1 − `alpha`: the ⌈(n+1)(1−α)⌉-th smallest calibration
/// score. `None` when n is too small for `alpha`, a score is NaN, or `alpha` is outside 0..1.
pub fn split_conformal_quantile(scores: &[f64], alpha: f64) -> Option<f64> {
    if !(0.0..1.0).contains(&alpha) || scores.iter().any(|v| v.is_nan()) {
        return None;
    }
    // A hair is taken off before rounding up, so that 100 × 0.9 is 90 and not 91.
    let place = ((scores.len() + 1) as f64 * (1.0 - alpha) - 1e-9).ceil().max(1.0) as usize;
    let mut sorted = scores.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(place - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nineteen_scores_just_reach_five_percent() {
        let scores: Vec<f64> = (1..=19).map(f64::from).collect();
        assert_eq!(split_conformal_quantile(&scores, 0.05), Some(19.0));
        assert_eq!(split_conformal_quantile(&scores[..18], 0.05), None);
        assert_eq!(split_conformal_quantile(&[], 0.1), None);
    }
}
