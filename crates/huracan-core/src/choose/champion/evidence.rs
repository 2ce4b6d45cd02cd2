//! Paired evidence with partial pooling: how much better each candidate is a day, and how sure.
//!
//! A coin's daily difference is the run's mean difference of that day plus the coin's deviation.
//! Days are resampled for all coins together (stationary bootstrap), because coins are one bet: what
//! happens to all of them on one day is one observation. The deviation of a coin's mean is shrunk by
//! B = τ²/(τ² + s²), where τ² is the spread between coins beyond sampling (DerSimonian and Laird 1986)
//! and s² the bootstrap variance of the deviation. The error of the sum is its bootstrap error and
//! what shrinking may have taken away, (1 − B)²τ². One coin alone is its own pool.

use std::collections::BTreeMap;

use crate::stats::bootstrap::stationary_blocks;
use crate::stats::distributions::{chi_square_sf, student_t_sf};
use crate::stats::moments::std_dev;
use crate::stats::multiple_testing::benjamini_hochberg;
use crate::words::Seed;

/// Resamples of the days.
const REPETITIONS: usize = 500;
/// Power at which the minimum detectable gain is stated.
const POWER: f64 = 0.8;
/// Coins are taken to differ when Cochran's Q has a p of at most this.
const SPREAD_P_MAX: f64 = 0.05;

/// One coin's daily paired differences, bps, from `first_day` on. An empty one is not tested.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// UTC day of the first value.
    pub first_day: i64,
    /// Candidate minus champion, bps a day.
    pub bps: Vec<f64>,
}

/// What is known of one coin's gain.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evidence {
    /// Mean of the coin's own paired differences, bps a day.
    pub own_gain_bps: f64,
    /// Standard deviation of the coin's own paired differences, bps.
    pub paired_sd_bps: f64,
    /// Partially pooled gain, bps a day.
    pub gain_bps: f64,
    /// Its standard error.
    pub error_bps: f64,
    /// Its one-sided lower bound at one minus the coin's rate.
    pub lower_bound_bps: f64,
    /// One-sided p of a gain, adjusted over coins (Benjamini and Hochberg 1995).
    pub q_value: f64,
    /// The same of a loss.
    pub q_value_worse: f64,
    /// Gain that this test finds with a power of 80 % at the coin's rate, bps a day.
    pub detectable_gain_bps: f64,
    /// The same for the coin without the pool.
    pub detectable_alone_bps: f64,
}

/// What a run's coins say together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RunEvidence {
    /// Coins tested.
    pub coins: usize,
    /// Days on which at least one of them was compared.
    pub days: usize,
    /// Mean difference over days of the coin average, bps a day.
    pub pooled_gain_bps: f64,
    /// Its bootstrap standard error.
    pub pooled_error_bps: f64,
    /// Its one-sided lower bound at one minus the rule's rate.
    pub lower_bound_bps: f64,
    /// Standard deviation of true gains between coins, τ.
    pub between_sd_bps: f64,
    /// Standard deviation of the coin average's daily difference, bps.
    pub paired_sd_bps: f64,
    /// Gain common to all coins that is found with a power of 80 % at the rule's rate, bps a day.
    pub detectable_gain_bps: f64,
}

/// What [`weigh`] found.
#[derive(Clone, Debug, PartialEq)]
pub struct Weighed {
    /// All coins together; `None` when none could be tested.
    pub run: Option<RunEvidence>,
    /// One per difference; `None` for one that is empty or never varies.
    pub coins: Vec<Option<Evidence>>,
}

/// Weighs all coins at once. `rates[i]` is the false-discovery rate coin `i` is held to, `rate` the
/// rule's. O(repetitions × coins × days).
pub fn weigh(
    differences: &[Difference],
    rates: &[f64],
    rate: f64,
    mean_block_days: f64,
    seed: Seed,
) -> Weighed {
    let tested: Vec<usize> = (0..differences.len()).filter(|&i| varies(&differences[i].bps)).collect();
    let mut coins = vec![None; differences.len()];
    let pool = Pool::new(tested.iter().map(|&i| &differences[i]));
    let blocks = pool.days() as f64 / mean_block_days.max(1.0);
    if tested.is_empty() || blocks < 2.0 {
        return Weighed { run: None, coins };
    }
    // Blocks of a finite sample vary by one part in their number less than those of the process.
    let variances = pool.resampled(mean_block_days, seed).scaled(blocks / (blocks - 1.0));
    let freedom = blocks - 1.0;
    // The average holds one part of each coin: deviations from it vary by so much less.
    let part = if tested.len() > 1 { tested.len() as f64 / (tested.len() as f64 - 1.0) } else { 1.0 };
    let own: Vec<f64> = variances.deviations.iter().map(|v| part * v).collect();
    let between = between(&pool.deviation_means, &own, freedom);
    let shrunk: Vec<(f64, f64)> = (0..tested.len())
        .map(|n| {
            let share = if between > 0.0 { between / (between + own[n]) } else { 0.0 };
            let taken = (1.0 - share).powi(2) * between;
            let sampled = variances.pooled
                + share * share * variances.deviations[n]
                + 2.0 * share * variances.covariances[n];
            (pool.mean + share * pool.deviation_means[n], (sampled.max(0.0) + taken).sqrt())
        })
        .collect();
    let p = |sign: f64| -> Vec<f64> {
        shrunk.iter().map(|&(gain, error)| tail(sign * gain, error, freedom)).collect()
    };
    let (better, worse) = (benjamini_hochberg(&p(1.0)), benjamini_hochberg(&p(-1.0)));
    let detectable =
        |error: f64, rate: f64| error * (t_quantile(rate, freedom) + t_quantile(1.0 - POWER, freedom));
    for (n, &i) in tested.iter().enumerate() {
        let (gain, error) = shrunk[n];
        let own = &differences[i].bps;
        // Of the coin's own mean: common part and deviation.
        let alone = variances.pooled + variances.deviations[n] + 2.0 * variances.covariances[n];
        coins[i] = Some(Evidence {
            own_gain_bps: own.iter().sum::<f64>() / own.len() as f64,
            paired_sd_bps: std_dev(own).unwrap_or(0.0),
            gain_bps: gain,
            error_bps: error,
            lower_bound_bps: gain - t_quantile(rates[i], freedom) * error,
            q_value: better[n],
            q_value_worse: worse[n],
            detectable_gain_bps: detectable(error, rates[i]),
            detectable_alone_bps: detectable(alone.max(0.0).sqrt(), rates[i]),
        });
    }
    let error = variances.pooled.sqrt();
    let run = RunEvidence {
        coins: tested.len(),
        days: pool.days(),
        pooled_gain_bps: pool.mean,
        pooled_error_bps: error,
        lower_bound_bps: pool.mean - t_quantile(rate, freedom) * error,
        between_sd_bps: between.sqrt(),
        paired_sd_bps: std_dev(&pool.average).unwrap_or(0.0),
        detectable_gain_bps: detectable(error, rate),
    };
    Weighed { run: Some(run), coins }
}

fn varies(bps: &[f64]) -> bool {
    bps.len() > 1 && bps.iter().all(|v| v.is_finite()) && bps.iter().any(|v| *v != bps[0])
}

/// One-sided p of a mean above zero.
fn tail(gain: f64, error: f64, freedom: f64) -> f64 {
    match error > 0.0 {
        true => student_t_sf(gain / error, freedom),
        false if gain > 0.0 => 0.0,
        false => 1.0,
    }
}

/// The t that is exceeded with probability `p` (0 < p < 1), by bisection.
fn t_quantile(p: f64, freedom: f64) -> f64 {
    let (mut low, mut high) = (-1.0, 1.0);
    while student_t_sf(high, freedom) > p && high < 1e12 {
        high *= 2.0;
    }
    while student_t_sf(low, freedom) < p && low > -1e12 {
        low *= 2.0;
    }
    for _ in 0..80 {
        let middle = 0.5 * (low + high);
        if student_t_sf(middle, freedom) > p { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// The tested coins' differences by day: the coin average, and each coin's deviation from it.
struct Pool {
    average: Vec<f64>,
    mean: f64,
    /// Per coin: positions of its days among all days, and its deviations there.
    deviations: Vec<(Vec<usize>, Vec<f64>)>,
    deviation_means: Vec<f64>,
}

/// Bootstrap variances and covariances of the means.
struct Variances {
    pooled: f64,
    deviations: Vec<f64>,
    covariances: Vec<f64>,
}

impl Variances {
    fn scaled(mut self, factor: f64) -> Variances {
        self.pooled *= factor;
        self.deviations.iter_mut().chain(&mut self.covariances).for_each(|v| *v *= factor);
        self
    }
}

impl Pool {
    fn new<'a>(differences: impl Iterator<Item = &'a Difference> + Clone) -> Pool {
        let mut by_day: BTreeMap<i64, (f64, f64)> = BTreeMap::new();
        for difference in differences.clone() {
            for (day, bps) in (difference.first_day..).zip(&difference.bps) {
                let (sum, coins) = by_day.entry(day).or_default();
                *sum += bps;
                *coins += 1.0;
            }
        }
        let position: BTreeMap<i64, usize> = by_day.keys().copied().zip(0..).collect();
        let average: Vec<f64> = by_day.values().map(|(sum, coins)| sum / coins).collect();
        let deviations: Vec<(Vec<usize>, Vec<f64>)> = differences
            .map(|d| {
                let days: Vec<usize> = (d.first_day..).zip(&d.bps).map(|(day, _)| position[&day]).collect();
                let values = days.iter().zip(&d.bps).map(|(&t, bps)| bps - average[t]).collect();
                (days, values)
            })
            .collect();
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len().max(1) as f64;
        Pool {
            mean: mean(&average),
            deviation_means: deviations.iter().map(|(_, values)| mean(values)).collect(),
            average,
            deviations,
        }
    }

    fn days(&self) -> usize {
        self.average.len()
    }

    /// Moments of the resampled means about the means of the sample.
    fn resampled(&self, mean_block_days: f64, seed: Seed) -> Variances {
        let (days, coins) = (self.days(), self.deviations.len());
        let mut rng = seed.rng();
        let mut drawn = vec![0.0; days];
        let mut sums = Variances { pooled: 0.0, deviations: vec![0.0; coins], covariances: vec![0.0; coins] };
        for _ in 0..REPETITIONS {
            drawn.fill(0.0);
            stationary_blocks(days, mean_block_days, &mut rng, |start, length| {
                (0..length).for_each(|offset| drawn[(start + offset) % days] += 1.0);
            });
            let total: f64 = drawn.iter().zip(&self.average).map(|(n, v)| n * v).sum();
            let pooled = total / days as f64 - self.mean;
            sums.pooled += pooled * pooled;
            for (n, (at, values)) in self.deviations.iter().enumerate() {
                let (mut total, mut count) = (0.0, 0.0);
                for (&t, v) in at.iter().zip(values) {
                    total += drawn[t] * v;
                    count += drawn[t];
                }
                if count > 0.0 {
                    let deviation = total / count - self.deviation_means[n];
                    sums.deviations[n] += deviation * deviation;
                    sums.covariances[n] += pooled * deviation;
                }
            }
        }
        sums.scaled(1.0 / REPETITIONS as f64)
    }
}

/// Variance of true deviations between coins (DerSimonian and Laird 1986); 0 where Cochran's Q does not
/// show that there is any, because half of all noise would count as spread and blunt the pool.
/// `freedom` are the degrees of freedom of each variance.
fn between(means: &[f64], variances: &[f64], freedom: f64) -> f64 {
    let known = || means.iter().zip(variances).filter(|(_, variance)| **variance > 0.0);
    let coins = known().count() as f64;
    if coins < 2.0 || freedom <= 2.0 {
        return 0.0;
    }
    let weights: f64 = known().map(|(_, v)| 1.0 / v).sum();
    let squares: f64 = known().map(|(_, v)| 1.0 / (v * v)).sum();
    let centre = known().map(|(m, v)| m / v).sum::<f64>() / weights;
    // 1/v is on average too large by freedom/(freedom − 2).
    let fair = (freedom - 2.0) / freedom;
    let spread: f64 = fair * known().map(|(m, v)| (m - centre).powi(2) / v).sum::<f64>();
    if chi_square_sf(spread, coins - 1.0) > SPREAD_P_MAX {
        return 0.0;
    }
    ((spread - (coins - 1.0)) / (weights - squares / weights)).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quantile_is_the_inverse_of_the_tail() {
        for (p, freedom, expected) in
            [(0.10, 19.0, 1.327_728), (0.05, 4.0, 2.131_847), (0.8, 39.0, -0.850_935)]
        {
            assert!(
                (t_quantile(p, freedom) - expected).abs() < 1e-5,
                "{p} {freedom}: {}",
                t_quantile(p, freedom)
            );
        }
    }

    #[test]
    fn the_spread_between_equal_coins_is_nothing_and_of_unlike_ones_what_it_is() {
        assert_eq!(between(&[1.0, 1.0, 1.0], &[4.0, 4.0, 4.0], 40.0), 0.0);
        assert_eq!(between(&[1.0, -1.0, 0.5], &[1.0, 1.0, 1.0], 40.0), 0.0);
        assert_eq!(between(&[5.0], &[1.0], 40.0), 0.0);
        // Σ(m − 0)²/v · 38/40 = 190, less one, over the scale 2 − 2/2 = 1.
        assert!((between(&[10.0, -10.0], &[1.0, 1.0], 40.0) - 189.0).abs() < 1e-9);
    }

    #[test]
    fn one_coin_is_its_own_pool() {
        let bps: Vec<f64> = (0..90).map(|i| 4.0 + f64::from(i * 37 % 23) - 11.0).collect();
        let one = weigh(&[Difference { first_day: 7, bps }], &[0.1], 0.1, 3.0, Seed(1));
        let (run, coin) = (one.run.unwrap(), one.coins[0].unwrap());
        assert_eq!((run.pooled_gain_bps, run.pooled_error_bps), (coin.gain_bps, coin.error_bps));
        assert!((coin.own_gain_bps - coin.gain_bps).abs() < 1e-12);
        assert_eq!(coin.detectable_alone_bps, coin.detectable_gain_bps);
    }
}
