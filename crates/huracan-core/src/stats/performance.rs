//! Figures of a return series other than the Sharpe ratio: downside, drawdown, tails.

use super::moments::mean;
use super::quantiles::quantile;

/// Mean over the root mean square of negative returns (target 0), × √`periods_per_year` (Sortino
/// and van der Meer 1991). `None` when empty or without a negative return.
pub fn sortino(returns: &[f64], periods_per_year: f64) -> Option<f64> {
    let squares: Vec<f64> = returns.iter().map(|r| r.min(0.0).powi(2)).collect();
    let downside = mean(&squares)?.sqrt();
    (downside > 0.0).then_some(mean(returns)? / downside * periods_per_year.sqrt())
}

/// Largest fall of the running sum of `increments` below its peak so far, the start (0) included;
/// in the units of the increments, 0 when it never falls. Give log-returns for a log drawdown,
/// percent of fixed capital for a drawdown in percent of that capital.
pub fn max_drawdown(increments: &[f64]) -> f64 {
    let (mut level, mut peak, mut worst) = (0.0_f64, 0.0_f64, 0.0_f64);
    for step in increments {
        level += step;
        peak = peak.max(level);
        worst = worst.max(peak - level);
    }
    worst
}

/// Sum of gains over sum of losses; `None` without a loss.
pub fn profit_factor(results: &[f64]) -> Option<f64> {
    let gains: f64 = results.iter().filter(|r| **r > 0.0).sum();
    let losses: f64 = -results.iter().filter(|r| **r < 0.0).sum::<f64>();
    (losses > 0.0).then(|| gains / losses)
}

/// Share of results > 0; `None` when empty.
pub fn hit_rate(results: &[f64]) -> Option<f64> {
    let hits = results.iter().filter(|r| **r > 0.0).count();
    (!results.is_empty()).then(|| hits as f64 / results.len() as f64)
}

/// Historical value at risk: the `tail` (such as 0.05) quantile, negative for a loss.
pub fn value_at_risk(returns: &[f64], tail: f64) -> Option<f64> {
    quantile(returns, tail)
}

/// Expected shortfall: the mean of returns at or below [`value_at_risk`].
pub fn conditional_value_at_risk(returns: &[f64], tail: f64) -> Option<f64> {
    let limit = value_at_risk(returns, tail)?;
    let beyond: Vec<f64> = returns.iter().copied().filter(|r| *r <= limit).collect();
    mean(&beyond)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawdown_counts_from_the_start_and_from_peaks() {
        for (steps, expected) in
            [(vec![-3.0, 5.0, -1.0], 3.0), (vec![2.0, -1.5, 4.0, -2.0], 2.0), (vec![1.0, 1.0], 0.0)]
        {
            assert_eq!(max_drawdown(&steps), expected);
        }
        assert_eq!(max_drawdown(&[]), 0.0);
    }

    #[test]
    fn figures_without_losses_are_undefined() {
        assert_eq!(profit_factor(&[1.0, 2.0]), None);
        assert_eq!(sortino(&[1.0, 2.0], 365.0), None);
        assert_eq!(hit_rate(&[]), None);
        assert_eq!(hit_rate(&[1.0, 0.0, -1.0, 2.0]), Some(0.5));
        assert_eq!(profit_factor(&[3.0, -2.0]), Some(1.5));
        assert_eq!(conditional_value_at_risk(&[], 0.05), None);
    }
}
