//! Weights over experts by exponentiated gradient (Hedge: Freund and Schapire 1997).

/// Equal weights for `experts` experts.
pub fn uniform_weights(experts: usize) -> Vec<f64> {
    vec![1.0 / experts as f64; experts]
}

/// Multiplies each weight by exp(−`eta` × loss) and rescales to sum 1, in place.
///
/// The smallest loss is taken off first, so that large losses cannot wipe out every weight; a
/// non-finite loss counts as the worst finite one. Weights and losses have equal length.
pub fn hedge_update(weights: &mut [f64], losses: &[f64], eta: f64) {
    let known = || losses.iter().copied().filter(|loss| loss.is_finite());
    let best = known().fold(f64::INFINITY, f64::min);
    let worst = known().fold(f64::NEG_INFINITY, f64::max);
    if !best.is_finite() {
        return;
    }
    for (weight, loss) in weights.iter_mut().zip(losses) {
        let loss = if loss.is_finite() { *loss } else { worst };
        *weight *= (-eta * (loss - best)).exp();
    }
    let total: f64 = weights.iter().sum();
    if total > 0.0 {
        weights.iter_mut().for_each(|weight| *weight /= total);
    } else {
        weights.copy_from_slice(&uniform_weights(weights.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_better_expert_gains_and_weights_stay_a_distribution() {
        let mut weights = uniform_weights(3);
        for _ in 0..50 {
            hedge_update(&mut weights, &[1000.0, 1001.0, f64::NAN], 0.5);
        }
        assert!(weights[0] > 0.99);
        assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn losses_that_nobody_knows_change_nothing() {
        let mut weights = vec![0.25, 0.75];
        hedge_update(&mut weights, &[f64::NAN, f64::NAN], 1.0);
        assert_eq!(weights, vec![0.25, 0.75]);
    }
}
