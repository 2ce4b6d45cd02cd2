//! The champion rule: a new model takes over only when it is really better on the same bars.
//!
//! One coin's paired daily difference is far too noisy to decide alone, so the evidence is pooled:
//! each coin's mean difference is shrunk toward the mean over coins, whose own uncertainty comes
//! from the coin-average series (coins are one bet). The product's two criteria stay necessary.

use crate::stats::bootstrap::stationary_means;
use crate::stats::distributions::normal_sf;
use crate::stats::multiple_testing::benjamini_hochberg;
use crate::stats::performance::max_drawdown;
use crate::stats::sharpe::annualised_sharpe;
use crate::words::Seed;
use std::collections::BTreeMap;

/// Thresholds of the rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChampionRule {
    /// Either this much more Sharpe with no less net …
    pub sharpe_gain_min: f64,
    /// … or this much more net (points of percent) with no less Sharpe.
    pub net_gain_pct_min: f64,
    /// The new drawdown may exceed the old one by this many points.
    pub drawdown_slack_pct: f64,
    /// Days both must have been judged on.
    pub common_days_min: usize,
    /// False-discovery rate over coins.
    pub false_discovery_rate: f64,
}

impl Default for ChampionRule {
    fn default() -> Self {
        ChampionRule {
            sharpe_gain_min: 0.1,
            net_gain_pct_min: 0.5,
            drawdown_slack_pct: 1.0,
            common_days_min: 60,
            false_discovery_rate: 0.10,
        }
    }
}

/// A model's out-of-sample record: daily net bps from `first_day` (days since the epoch).
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// UTC day of the first value.
    pub first_day: i64,
    /// Net bps a day, costs included, zeros on flat days.
    pub daily_net_bps: Vec<f64>,
}

impl Record {
    /// The values of both records on the days they share.
    pub fn common<'a>(&'a self, other: &'a Record) -> (&'a [f64], &'a [f64]) {
        let first = self.first_day.max(other.first_day);
        let end = |r: &Record| r.first_day + r.daily_net_bps.len() as i64;
        let last = end(self).min(end(other));
        let cut = |r: &'a Record| -> &'a [f64] {
            if last <= first {
                &[]
            } else {
                &r.daily_net_bps[(first - r.first_day) as usize..(last - r.first_day) as usize]
            }
        };
        (cut(self), cut(other))
    }
}

/// The figures a decision was made on.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Days both records cover.
    pub common_days: usize,
    /// Candidate minus champion, annualised daily Sharpe.
    pub sharpe_gain: Option<f64>,
    /// Candidate minus champion, points of percent net.
    pub net_gain_pct: f64,
    /// Candidate minus champion, points of percent drawdown.
    pub drawdown_change_pct: f64,
    /// Partially pooled mean of the paired daily difference, bps.
    pub pooled_gain_bps: Option<f64>,
    /// One-sided adjusted p of that gain.
    pub q_value: Option<f64>,
    /// Whether the candidate takes over.
    pub replaces: bool,
    /// Whether the candidate is significantly worse over all coins, by the same test turned round.
    pub worse: bool,
    /// The first condition that was not met, or why it takes over.
    pub reason: &'static str,
}

/// Decides for all coins at once; `pairs` are (champion, candidate) records.
pub fn challenge(
    pairs: &[(Record, Record)],
    rule: &ChampionRule,
    mean_block_days: f64,
    seed: Seed,
) -> Vec<Comparison> {
    let differences: Vec<Difference> = pairs
        .iter()
        .map(|(old, new)| {
            let (a, b) = old.common(new);
            Difference {
                first_day: old.first_day.max(new.first_day),
                bps: a.iter().zip(b).map(|(a, b)| b - a).collect(),
            }
        })
        .collect();
    let posterior = pool(&differences, mean_block_days, seed);
    let better = q_values(&posterior, |(mean, error)| normal_sf(mean / error));
    let worse = q_values(&posterior, |(mean, error)| normal_sf(-mean / error));
    pairs
        .iter()
        .enumerate()
        .map(|(i, (old, new))| {
            let mut comparison = compare(old, new, posterior[i].map(|v| v.0), better[i], rule);
            comparison.worse = worse[i].is_some_and(|q| q <= rule.false_discovery_rate);
            comparison
        })
        .collect()
}

/// One coin's daily paired differences from `first_day` on.
struct Difference {
    first_day: i64,
    bps: Vec<f64>,
}

/// Benjamini–Hochberg over the coins that can be tested.
fn q_values(posterior: &[Option<(f64, f64)>], p: impl Fn((f64, f64)) -> f64) -> Vec<Option<f64>> {
    let tested: Vec<usize> = (0..posterior.len()).filter(|&i| posterior[i].is_some()).collect();
    let values: Vec<f64> = posterior.iter().flatten().map(|&v| p(v)).collect();
    let mut q = vec![None; posterior.len()];
    tested.iter().zip(benjamini_hochberg(&values)).for_each(|(&i, value)| q[i] = Some(value));
    q
}

fn compare(
    old: &Record,
    new: &Record,
    pooled_gain: Option<f64>,
    q: Option<f64>,
    rule: &ChampionRule,
) -> Comparison {
    let (a, b) = old.common(new);
    let net = |r: &[f64]| r.iter().sum::<f64>() / 100.0;
    let drawdown = |r: &[f64]| max_drawdown(r) / 100.0;
    let sharpe = |r: &[f64]| annualised_sharpe(r, 365.0);
    // A champion that never traded stands for the zero model; a candidate that never traded for
    // nothing at all.
    let sharpe_gain = sharpe(b).map(|b| b - sharpe(a).unwrap_or(0.0));
    let net_gain = net(b) - net(a);
    let drawdown_change = drawdown(b) - drawdown(a);
    let product = sharpe_gain.is_some_and(|gain| {
        (gain >= rule.sharpe_gain_min && net_gain >= 0.0)
            || (net_gain >= rule.net_gain_pct_min && gain >= 0.0)
    });
    let (replaces, reason) = if a.len() < rule.common_days_min {
        (false, "too few common out-of-sample days")
    } else if a == b {
        (false, "the records are equal")
    } else if !product {
        (false, "neither Sharpe nor net gained enough without harm to the other")
    } else if drawdown_change > rule.drawdown_slack_pct {
        (false, "the drawdown grew too much")
    } else if q.is_none_or(|q| q > rule.false_discovery_rate) {
        (false, "the pooled paired gain is not significant over all coins")
    } else {
        (true, "better on the same bars, significantly")
    };
    Comparison {
        common_days: a.len(),
        sharpe_gain,
        net_gain_pct: net_gain,
        drawdown_change_pct: drawdown_change,
        pooled_gain_bps: pooled_gain,
        q_value: q,
        replaces,
        worse: false,
        reason,
    }
}

/// Partially pooled means and standard errors of the daily differences: DerSimonian–Laird spread
/// between coins, prior mean and its error from the coin-average series. `None` for a coin whose
/// difference never varies.
fn pool(differences: &[Difference], mean_block_days: f64, seed: Seed) -> Vec<Option<(f64, f64)>> {
    let own: Vec<Option<(f64, f64)>> = differences
        .iter()
        .enumerate()
        .map(|(i, d)| mean_and_error(&d.bps, mean_block_days, seed.child("champion", i as u64)))
        .collect();
    let known: Vec<(f64, f64)> = own.iter().flatten().copied().collect();
    if known.is_empty() {
        return own;
    }
    let mut by_day: BTreeMap<i64, (f64, f64)> = BTreeMap::new();
    for difference in differences {
        for (day, bps) in (difference.first_day..).zip(&difference.bps) {
            let (sum, coins) = by_day.entry(day).or_default();
            *sum += bps;
            *coins += 1.0;
        }
    }
    let average: Vec<f64> = by_day.values().map(|(sum, coins)| sum / coins).collect();
    let weights: Vec<f64> = known.iter().map(|(_, se)| 1.0 / (se * se)).collect();
    let total: f64 = weights.iter().sum();
    let centre = known.iter().zip(&weights).map(|((m, _), w)| m * w).sum::<f64>() / total;
    let spread_q: f64 = known.iter().zip(&weights).map(|((m, _), w)| w * (m - centre).powi(2)).sum();
    let squared: f64 = weights.iter().map(|w| w * w).sum();
    let scale = total - squared / total;
    let between = if scale > 0.0 { ((spread_q - (known.len() as f64 - 1.0)) / scale).max(0.0) } else { 0.0 };
    let pooled_mean = average.iter().sum::<f64>() / average.len().max(1) as f64;
    let pooled_error =
        mean_and_error(&average, mean_block_days, seed.child("champion-pool", 0)).map_or(0.0, |v| v.1);
    let prior_variance = between + pooled_error * pooled_error;
    let shrink = |(mean, se): (f64, f64)| {
        if prior_variance <= 0.0 {
            return (pooled_mean, se);
        }
        let precision = 1.0 / prior_variance + 1.0 / (se * se);
        ((pooled_mean / prior_variance + mean / (se * se)) / precision, (1.0 / precision).sqrt())
    };
    own.into_iter().map(|o| o.map(shrink)).collect()
}

fn mean_and_error(d: &[f64], mean_block_days: f64, seed: Seed) -> Option<(f64, f64)> {
    if d.len() < 2 || d.iter().all(|v| *v == d[0]) {
        return None;
    }
    let mean = d.iter().sum::<f64>() / d.len() as f64;
    let resampled = stationary_means(d, mean_block_days, 300, seed);
    let centre = resampled.iter().sum::<f64>() / resampled.len() as f64;
    let variance = resampled.iter().map(|m| (m - centre).powi(2)).sum::<f64>() / resampled.len() as f64;
    (variance > 0.0).then(|| (mean, variance.sqrt()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_distr::{Distribution, StandardNormal};

    fn records(seed: u64, coins: usize, gain_bps: f64) -> Vec<(Record, Record)> {
        let mut rng = Seed(seed).rng();
        let mut noise = |scale: f64| -> f64 {
            let z: f64 = StandardNormal.sample(&mut rng);
            scale * z
        };
        (0..coins)
            .map(|_| {
                let old: Vec<f64> = (0..120).map(|_| 5.0 + noise(80.0)).collect();
                let new: Vec<f64> = old.iter().map(|v| v + gain_bps + noise(40.0)).collect();
                (Record { first_day: 100, daily_net_bps: old }, Record { first_day: 100, daily_net_bps: new })
            })
            .collect()
    }

    #[test]
    fn newest_does_not_win_by_luck_and_a_real_gain_does() {
        let replaced = |gain: f64| {
            let decisions = challenge(&records(3, 100, gain), &ChampionRule::default(), 3.0, Seed(1));
            decisions.iter().filter(|d| d.replaces).count()
        };
        assert!(replaced(0.0) <= 2, "{}", replaced(0.0));
        assert!(replaced(12.0) >= 80, "{}", replaced(12.0));
    }

    #[test]
    fn a_loss_is_named_and_an_equal_is_not() {
        let worse = |gain: f64| {
            let decisions = challenge(&records(5, 100, gain), &ChampionRule::default(), 3.0, Seed(1));
            decisions.iter().filter(|d| d.worse).count()
        };
        assert!(worse(0.0) <= 2, "{}", worse(0.0));
        assert!(worse(-12.0) >= 80, "{}", worse(-12.0));
    }

    #[test]
    fn a_candidate_that_never_traded_replaces_nobody() {
        let (old, _) = records(8, 1, 0.0).remove(0);
        let flat = Record { daily_net_bps: vec![0.0; 120], ..old.clone() };
        let decision = &challenge(&[(old, flat)], &ChampionRule::default(), 3.0, Seed(1))[0];
        assert_eq!((decision.replaces, decision.sharpe_gain), (false, None));
    }

    #[test]
    fn only_common_days_count() {
        let old = Record { first_day: 10, daily_net_bps: (0..50).map(f64::from).collect() };
        let new = Record { first_day: 40, daily_net_bps: (0..50).map(f64::from).collect() };
        let (a, b) = old.common(&new);
        assert_eq!((a.len(), b.len(), a[0], b[0]), (20, 20, 30.0, 0.0));
        let far = Record { first_day: 500, daily_net_bps: vec![1.0] };
        assert!(old.common(&far).0.is_empty());
        let decision = &challenge(&[(old, far)], &ChampionRule::default(), 3.0, Seed(1))[0];
        assert_eq!((decision.replaces, decision.reason), (false, "too few common out-of-sample days"));
    }

    #[test]
    fn equal_records_keep_the_champion() {
        let (old, _) = records(8, 1, 0.0).remove(0);
        let decision = &challenge(&[(old.clone(), old)], &ChampionRule::default(), 3.0, Seed(1))[0];
        assert!(!decision.replaces);
        assert_eq!(decision.reason, "the records are equal");
    }
}
