//! Probability of backtest overfitting by combinatorially symmetric cross-validation (Bailey,
//! Borwein, López de Prado, Zhu 2017).

use super::ranks::ranks;
use super::splits::{combinations, near_equal_blocks};

/// How the in-sample winner fares out of sample.
#[derive(Clone, Debug, PartialEq)]
pub struct OverfittingProbability {
    /// Share of splits in which the in-sample best was at or below the out-of-sample median.
    pub pbo: f64,
    /// Logit of the winner's relative out-of-sample rank, one a split, in order of combinations.
    pub logits: Vec<f64>,
    /// The winner's own performance, one a split, in the same order.
    pub winners: Vec<WinnerSharpe>,
}

/// Sharpe ratio per period of the in-sample best; `None` in a half where it has no variance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WinnerSharpe {
    /// On the half it was chosen on.
    pub in_sample: Option<f64>,
    /// On the other half.
    pub out_of_sample: Option<f64>,
}

/// PBO of `strategies` (one column of per-period returns each, equal lengths) over all ways to
/// take half of `blocks` (even, ≥ 2) time blocks as in-sample, judged by the Sharpe ratio.
///
/// A strategy without variance in a half has no ratio there and ranks below all others. `None`
/// when the shapes do not allow it: fewer than two strategies, an odd number of blocks, more
/// blocks than rows, or a non-finite value.
pub fn probability_of_overfitting(strategies: &[&[f64]], blocks: usize) -> Option<OverfittingProbability> {
    let rows = strategies.first()?.len();
    let regular = strategies.iter().all(|s| s.len() == rows && s.iter().all(|v| v.is_finite()));
    if strategies.len() < 2 || !regular || blocks < 2 || !blocks.is_multiple_of(2) || rows < 2 * blocks {
        return None;
    }
    let spans = near_equal_blocks(rows, blocks);
    let sums: Vec<Vec<Sums>> =
        strategies.iter().map(|s| spans.iter().map(|span| Sums::of(&s[span.clone()])).collect()).collect();
    let (mut logits, mut winners) = (Vec::new(), Vec::new());
    for chosen in combinations(blocks, blocks / 2) {
        let half = |inside: bool| -> Vec<f64> {
            let wanted = |block: &usize| chosen.contains(block) == inside;
            sums.iter().map(|s| (0..blocks).filter(wanted).map(|b| s[b]).sum::<Sums>().sharpe()).collect()
        };
        let (inside, outside) = (half(true), half(false));
        let winner = first_largest(&inside);
        let relative = ranks(&outside)[winner] / (strategies.len() + 1) as f64;
        let known = |sharpe: f64| sharpe.is_finite().then_some(sharpe);
        winners
            .push(WinnerSharpe { in_sample: known(inside[winner]), out_of_sample: known(outside[winner]) });
        logits.push((relative / (1.0 - relative)).ln());
    }
    let pbo = logits.iter().filter(|l| **l <= 0.0).count() as f64 / logits.len() as f64;
    Some(OverfittingProbability { pbo, logits, winners })
}

#[derive(Clone, Copy, Default)]
struct Sums {
    n: f64,
    x: f64,
    xx: f64,
}

impl Sums {
    fn of(x: &[f64]) -> Sums {
        Sums { n: x.len() as f64, x: x.iter().sum(), xx: x.iter().map(|v| v * v).sum() }
    }

    fn sharpe(self) -> f64 {
        let variance = (self.xx - self.x * self.x / self.n) / (self.n - 1.0);
        let noise = 1e-13 * self.xx / self.n;
        if variance > noise { self.x / self.n / variance.sqrt() } else { f64::NEG_INFINITY }
    }
}

impl std::iter::Sum for Sums {
    fn sum<I: Iterator<Item = Sums>>(iter: I) -> Sums {
        iter.fold(Sums::default(), |a, b| Sums { n: a.n + b.n, x: a.x + b.x, xx: a.xx + b.xx })
    }
}

fn first_largest(x: &[f64]) -> usize {
    (1..x.len()).fold(0, |best, i| if x[i] > x[best] { i } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_truly_better_strategy_is_not_overfitting() {
        let wave = |shift: usize| -> Vec<f64> {
            (0..80_usize).map(|i| ((i * 7 + shift * 13) % 11) as f64 / 11.0 - 0.45).collect()
        };
        let (a, b) = (wave(1), wave(2));
        let good: Vec<f64> = wave(3).iter().map(|v| v + 1.0).collect();
        let found = probability_of_overfitting(&[&a, &good, &b], 8).unwrap();
        assert_eq!((found.pbo, found.logits.len()), (0.0, 70));
    }

    #[test]
    fn impossible_shapes_are_none() {
        let x = [0.0; 40];
        assert_eq!(probability_of_overfitting(&[], 4), None);
        assert_eq!(probability_of_overfitting(&[&x], 4), None);
        assert_eq!(probability_of_overfitting(&[&x, &x], 3), None);
        assert_eq!(probability_of_overfitting(&[&x, &x[..20]], 4), None);
    }
}
