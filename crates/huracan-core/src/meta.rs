//! The meta learner: how much each expert is believed in each regime.
//!
//! An expert is a way to score the same coins (the head with codes, without, the pooled head, no
//! position). Day by day each is paid what it earned after costs out of sample; weights follow by
//! exponentiated gradient, separately for every regime. The weights in force on a day are made of
//! earlier days alone, so that the mixture has an out-of-sample record of its own; whether it may
//! be used is decided on that record ([`gain`]).
//!
//! The learning rate is AdaHedge's (de Rooij, van Erven, Grünwald, Koolen 2014): ln K over the
//! mixability gaps so far. It needs neither the scale of the data nor the number of days, and
//! promises for losses of range s_t on day t a regret of at most
//! `√(Σ s_t² · ln K) + max s_t · (4/3 · ln K + 2)`.
//!
//! A day's trades over hundreds of coins are one bet, not hundreds, and early weights are bold:
//! they are shrunk toward equal ones by n/(n + 200), n the trades seen in the regime.
//!
//! Results are linear in the weights: a mixture of positions pays at most the mixed costs.

use std::collections::BTreeMap;

use crate::regime::Regime;
use crate::stats::bootstrap::{percentile_interval, stationary_means};
use crate::stats::hedge::{hedge_update, uniform_weights};
use crate::words::Seed;

/// The product's experts, in the order of `meta_learner.json`.
pub const EXPERTS: [&str; 4] = ["with_codes", "without_codes", "pooled", "zero"];

/// Trades at which what was learned counts for one half.
pub const SHRINK_TRADES: f64 = 200.0;

/// Paired days below which no mixture is used.
pub const GAIN_DAYS_MIN: usize = 20;

/// Level of the interval a gain must lie above zero with; its lower end leaves 5 % below.
const GAIN_LEVEL: f64 = 0.90;
const GAIN_REPETITIONS: usize = 1_000;

/// What every expert earned on one day in one regime.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// UTC day, days since the epoch.
    pub day: i64,
    /// The regime these coins were in when the positions were taken.
    pub regime: Regime,
    /// After-cost bps of capital, one an expert, summed over the coins in this regime and divided
    /// by the number of all coins: the regimes of a day add up to the day of the average coin.
    pub net_bps: Vec<f64>,
    /// Trades behind it, all experts together or those of the busiest one; the shrinkage's n.
    pub trades: u64,
}

/// Outcomes that cannot be learned from.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MetaError {
    /// No expert was named.
    #[error("there are no experts, expected at least one name")]
    NoExperts,
    /// A row of the wrong length.
    #[error("day {day}, {regime}: {found} results, expected {expected}, one an expert")]
    Shape {
        /// Day of the outcome.
        day: i64,
        /// Its regime.
        regime: Regime,
        /// Results given.
        found: usize,
        /// Experts.
        expected: usize,
    },
    /// A result that is no number.
    #[error("day {day}, {regime}: a result is {found}, expected a finite number")]
    NotFinite {
        /// Day of the outcome.
        day: i64,
        /// Its regime.
        regime: Regime,
        /// The first such result.
        found: f64,
    },
    /// Days out of order, or one regime twice on a day.
    #[error("day {day}, {regime} comes after day {before}; expected ascending days, each regime once a day")]
    Order {
        /// Day of the outcome.
        day: i64,
        /// Its regime.
        regime: Regime,
        /// The day before it in the input.
        before: i64,
    },
}

/// Weights of one regime.
#[derive(Clone, Debug, PartialEq)]
pub struct RegimeWeights {
    /// One an expert, sum 1, after shrinking.
    pub weights: Vec<f64>,
    /// Trades behind them.
    pub trades: u64,
    /// Days behind them.
    pub days: usize,
}

/// What was believed on one day in one regime, and what it earned.
#[derive(Clone, Debug, PartialEq)]
pub struct MetaStep {
    /// UTC day, days since the epoch.
    pub day: i64,
    /// The regime.
    pub regime: Regime,
    /// In force before the day: made of earlier days alone.
    pub before: RegimeWeights,
    /// What the mixture earned, bps, in the unit of [`Outcome::net_bps`].
    pub mixture_bps: f64,
}

/// The learner's whole history and what it believes now.
#[derive(Clone, Debug, PartialEq)]
pub struct MetaPath {
    /// Names of the experts, in the order of all weights.
    pub experts: Vec<String>,
    /// One an outcome, in the order given.
    pub steps: Vec<MetaStep>,
    /// In force after the last day, for every regime; equal weights where nothing was seen.
    pub final_weights: BTreeMap<Regime, RegimeWeights>,
}

impl MetaPath {
    /// Net bps of the mixture a day, ascending; the regimes of a day are added up.
    pub fn daily_net_bps(&self) -> Vec<(i64, f64)> {
        let mut days: Vec<(i64, f64)> = Vec::new();
        for step in &self.steps {
            match days.last_mut() {
                Some((day, sum)) if *day == step.day => *sum += step.mixture_bps,
                _ => days.push((step.day, step.mixture_bps)),
            }
        }
        days
    }
}

/// Learns from `outcomes` (days ascending, each regime at most once a day); linear in their number.
///
/// # Errors
/// [`MetaError`] names the first outcome that cannot be learned from.
pub fn learn(experts: &[&str], outcomes: &[Outcome]) -> Result<MetaPath, MetaError> {
    check(experts.len(), outcomes)?;
    let mut learners: Vec<Learner> = Regime::ALL.iter().map(|_| Learner::new(experts.len())).collect();
    let steps = outcomes
        .iter()
        .map(|outcome| {
            let learner = &mut learners[outcome.regime.index()];
            let before = learner.believed();
            let mixture_bps = dot(&before.weights, &outcome.net_bps);
            learner.learn(outcome);
            MetaStep { day: outcome.day, regime: outcome.regime, before, mixture_bps }
        })
        .collect();
    let last = Regime::ALL.iter().map(|regime| (*regime, learners[regime.index()].believed()));
    Ok(MetaPath {
        experts: experts.iter().map(|&name| name.to_owned()).collect(),
        steps,
        final_weights: last.collect(),
    })
}

fn check(experts: usize, outcomes: &[Outcome]) -> Result<(), MetaError> {
    if experts == 0 {
        return Err(MetaError::NoExperts);
    }
    let mut last_day = [i64::MIN; Regime::ALL.len()];
    let mut before = i64::MIN;
    for Outcome { day, regime, net_bps, .. } in outcomes {
        let (day, regime) = (*day, *regime);
        if net_bps.len() != experts {
            return Err(MetaError::Shape { day, regime, found: net_bps.len(), expected: experts });
        }
        if let Some(&found) = net_bps.iter().find(|v| !v.is_finite()) {
            return Err(MetaError::NotFinite { day, regime, found });
        }
        let seen = std::mem::replace(&mut last_day[regime.index()], day);
        if day < before || seen == day {
            return Err(MetaError::Order { day, regime, before });
        }
        before = day;
    }
    Ok(())
}

/// AdaHedge over the days of one regime.
struct Learner {
    losses: Vec<f64>,
    gap: f64,
    trades: u64,
    days: usize,
}

impl Learner {
    fn new(experts: usize) -> Learner {
        Learner { losses: vec![0.0; experts], gap: 0.0, trades: 0, days: 0 }
    }

    /// `None` while no gap was seen: the rate is infinite and only the leaders are believed.
    fn rate(&self) -> Option<f64> {
        let rate = (self.losses.len() as f64).ln() / self.gap;
        (self.gap > 0.0 && rate.is_finite()).then_some(rate)
    }

    /// AdaHedge's own weights, before shrinking.
    fn bold(&self) -> Vec<f64> {
        let mut weights = uniform_weights(self.losses.len());
        match self.rate() {
            Some(rate) => hedge_update(&mut weights, &self.losses, rate),
            None => {
                let least = smallest(&self.losses);
                let leaders = self.losses.iter().filter(|loss| **loss == least).count() as f64;
                let share = |loss: &f64| if *loss == least { 1.0 / leaders } else { 0.0 };
                weights = self.losses.iter().map(share).collect();
            }
        }
        weights
    }

    fn believed(&self) -> RegimeWeights {
        let trust = self.trades as f64 / (self.trades as f64 + SHRINK_TRADES);
        let even = 1.0 / self.losses.len() as f64;
        let weights = self.bold().iter().map(|w| trust * w + (1.0 - trust) * even).collect();
        RegimeWeights { weights, trades: self.trades, days: self.days }
    }

    fn learn(&mut self, outcome: &Outcome) {
        let losses: Vec<f64> = outcome.net_bps.iter().map(|net| -net).collect();
        let weights = self.bold();
        let mixed = dot(&weights, &losses);
        let least = smallest(&losses);
        let mix_loss = match self.rate() {
            // Taken about the smallest loss, so that nothing overflows; weights may be 0 there.
            Some(rate) => {
                let kept = |(w, loss): (&f64, &f64)| w * (-rate * (loss - least)).exp();
                least - weights.iter().zip(&losses).map(kept).sum::<f64>().ln() / rate
            }
            None => weights
                .iter()
                .zip(&losses)
                .filter(|(w, _)| **w > 0.0)
                .map(|(_, loss)| *loss)
                .fold(f64::INFINITY, f64::min),
        };
        let gap = (mixed - mix_loss).max(0.0);
        self.gap += if gap.is_finite() { gap } else { 0.0 };
        self.losses.iter_mut().zip(&losses).for_each(|(sum, loss)| *sum += loss);
        self.trades += outcome.trades;
        self.days += 1;
    }
}

fn smallest(x: &[f64]) -> f64 {
    x.iter().copied().fold(f64::INFINITY, f64::min)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// What the mixture earned beyond what is deployed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MetaGain {
    /// Mean of (mixture − deployed), bps a day.
    pub mean_bps: f64,
    /// 90 % stationary-bootstrap interval of that mean; `None` when the two never differed or there
    /// are fewer than [`GAIN_DAYS_MIN`] days.
    pub interval_bps: Option<[f64; 2]>,
    /// Days compared.
    pub days: usize,
    /// Whether the interval lies above zero: only then is the mixture used.
    pub used: bool,
}

/// Compares the mixture with what is deployed, both daily net bps on the same days in the same
/// order. `None` when lengths differ, there are no days, or a value is not finite.
pub fn gain(
    mixture_daily: &[f64],
    deployed_daily: &[f64],
    mean_block_days: f64,
    seed: Seed,
) -> Option<MetaGain> {
    let days = mixture_daily.len();
    let differences: Vec<f64> = mixture_daily.iter().zip(deployed_daily).map(|(m, d)| m - d).collect();
    let finite = differences.iter().all(|d| d.is_finite());
    if days == 0 || days != deployed_daily.len() || !finite {
        return None;
    }
    let varies = differences.iter().any(|d| *d != differences[0]);
    let interval_bps = (varies && days >= GAIN_DAYS_MIN)
        .then(|| stationary_means(&differences, mean_block_days, GAIN_REPETITIONS, seed.child("meta", 0)))
        .and_then(|means| percentile_interval(means, GAIN_LEVEL));
    Some(MetaGain {
        mean_bps: differences.iter().sum::<f64>() / days as f64,
        interval_bps,
        days,
        used: interval_bps.is_some_and(|[low, _]| low > 0.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_distr::{Distribution, StandardNormal, StudentT};

    /// `days` of one regime; expert j earns `edge[j]` a day plus heavy-tailed noise, zero nothing.
    fn outcomes(days: i64, edge: &[f64], trades: u64, seed: u64) -> Vec<Outcome> {
        let mut rng = Seed(seed).rng();
        let tails = StudentT::new(3.0).unwrap();
        (0..days)
            .map(|day| {
                let common: f64 = StandardNormal.sample(&mut rng);
                let mut earn = |e: &f64| e + 10.0 * common + 10.0 * tails.sample(&mut rng);
                let mut net_bps: Vec<f64> = edge.iter().map(&mut earn).collect();
                net_bps.push(0.0);
                Outcome { day, regime: Regime::ALL[(day % 2) as usize], net_bps, trades }
            })
            .collect()
    }

    #[test]
    fn weights_before_a_day_do_not_depend_on_that_day_or_later_ones() {
        let known = outcomes(120, &[2.0, 0.0, -1.0], 30, 1);
        let before = learn(&EXPERTS, &known).unwrap();
        for cut in [0, 1, 57, 119] {
            let mut bent = known.clone();
            for outcome in &mut bent[cut..] {
                outcome.net_bps = vec![-1e5, 7.0, 1e6, 3.0];
                outcome.trades = 10_000;
            }
            let after = learn(&EXPERTS, &bent).unwrap();
            let weights = |path: &MetaPath| -> Vec<RegimeWeights> {
                path.steps[..=cut].iter().map(|s| s.before.clone()).collect()
            };
            assert_eq!(weights(&before), weights(&after), "day {cut}");
            assert_eq!(before.steps[..cut], after.steps[..cut]);
            if cut < 119 {
                assert_ne!(before.steps[cut + 2..], after.steps[cut + 2..]);
            }
            assert_eq!(learn(&EXPERTS, &known[..cut]).unwrap().steps, before.steps[..cut]);
        }
    }

    #[test]
    fn the_regret_keeps_its_promise_on_any_sequence() {
        for seed in 0..60 {
            let mut days = outcomes(400, &[3.0, 0.0, -3.0], 1, seed);
            for (i, outcome) in days.iter_mut().enumerate() {
                outcome.regime = Regime::Panic;
                match seed % 4 {
                    // The winner of yesterday loses today.
                    1 => outcome.net_bps = (0..4).map(|j| f64::from(u8::from(i % 4 == j))).collect(),
                    // Two experts in turn, after one uneven day: follow-the-leader's worst case.
                    2 => {
                        let size = if i == 0 { 0.5 } else { 1.0 };
                        outcome.net_bps = vec![if i % 2 == 0 { size } else { 0.0 }; 4];
                        outcome.net_bps[1] = if i % 2 == 1 { size } else { 0.0 };
                    }
                    // A scale that explodes.
                    3 => outcome.net_bps.iter_mut().for_each(|v| *v *= 1.02_f64.powi(i as i32)),
                    _ => {}
                }
            }
            let mut learner = Learner::new(4);
            let (mut earned, mut squares, mut widest) = (0.0, 0.0, 0.0_f64);
            let mut totals = [0.0; 4];
            for outcome in &days {
                earned += dot(&learner.bold(), &outcome.net_bps);
                let high = outcome.net_bps.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let range = high - smallest(&outcome.net_bps);
                squares += range * range;
                widest = widest.max(range);
                totals.iter_mut().zip(&outcome.net_bps).for_each(|(t, v)| *t += v);
                learner.learn(outcome);
            }
            let best = totals.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let bound = (squares * 4.0_f64.ln()).sqrt() + widest * (4.0 / 3.0 * 4.0_f64.ln() + 2.0);
            assert!(best - earned <= bound, "seed {seed}: regret {} over {bound}", best - earned);
        }
    }

    #[test]
    fn a_clearly_better_expert_is_found_in_its_own_regime_only() {
        let days: Vec<Outcome> = (0..300)
            .map(|day| {
                let trend = day % 3 == 0;
                let net_bps = if trend { vec![8.0, -4.0, 1.0, 0.0] } else { vec![-5.0, -5.0, -5.0, 0.0] };
                let regime = if trend { Regime::Trend } else { Regime::Range };
                Outcome { day, regime, net_bps, trades: 100 }
            })
            .collect();
        let path = learn(&EXPERTS, &days).unwrap();
        assert!(path.final_weights[&Regime::Trend].weights[0] > 0.95);
        assert!(path.final_weights[&Regime::Range].weights[3] > 0.95);
        assert_eq!(path.final_weights[&Regime::Panic].weights, vec![0.25; 4]);
        assert_eq!(path.final_weights[&Regime::Trend].days, 100);
        let late: f64 = path.daily_net_bps()[200..].iter().map(|(_, net)| net).sum();
        assert!(late / 100.0 > 2.3, "{late}");
    }

    #[test]
    fn few_trades_are_close_to_even_and_many_are_not() {
        let weights = |trades| {
            let mut days = outcomes(60, &[50.0, 0.0, 0.0], trades, 3);
            days.iter_mut().for_each(|o| o.regime = Regime::Trend);
            learn(&EXPERTS, &days).unwrap().final_weights[&Regime::Trend].weights.clone()
        };
        assert_eq!(weights(0), vec![0.25; 4]);
        let (few, half, many) = (weights(1), weights(10), weights(1_000_000));
        // 60 days of 10 trades: 600/(600 + 200) of what many trades believe.
        for j in 0..4 {
            let expected = |trust: f64| trust * many[j] + (1.0 - trust) * 0.25;
            assert!((half[j] - expected(0.75)).abs() < 1e-4);
            assert!((few[j] - expected(60.0 / 260.0)).abs() < 1e-4);
        }
        assert!(many[0] > 0.9);
    }

    #[test]
    fn regimes_of_a_day_add_up_and_scale_does_not_matter() {
        let mut days = outcomes(40, &[1.0, 0.0, 0.0], 50, 5);
        for pair in days.chunks_mut(2) {
            pair[1].day = pair[0].day;
        }
        let path = learn(&EXPERTS, &days).unwrap();
        let daily = path.daily_net_bps();
        assert_eq!(daily.len(), 20);
        let sum: f64 = path.steps.iter().map(|s| s.mixture_bps).sum();
        assert!((daily.iter().map(|(_, net)| net).sum::<f64>() - sum).abs() < 1e-9);
        days.iter_mut().flat_map(|o| &mut o.net_bps).for_each(|v| *v *= 1024.0);
        let scaled = learn(&EXPERTS, &days).unwrap();
        for (a, b) in path.steps.iter().zip(&scaled.steps) {
            let far = a.before.weights.iter().zip(&b.before.weights).any(|(a, b)| (a - b).abs() > 1e-9);
            assert!(!far);
        }
    }

    #[test]
    fn what_cannot_be_learned_from_is_named() {
        let good = || outcomes(4, &[0.0, 0.0, 0.0], 1, 1);
        assert_eq!(learn(&[], &good()), Err(MetaError::NoExperts));
        assert!(matches!(learn(&["a"], &good()), Err(MetaError::Shape { found: 4, expected: 1, .. })));
        let mut bad = good();
        bad[2].net_bps[1] = f64::NAN;
        assert!(matches!(learn(&EXPERTS, &bad), Err(MetaError::NotFinite { day: 2, .. })));
        let mut bad = good();
        bad.swap(1, 2);
        assert!(matches!(learn(&EXPERTS, &bad), Err(MetaError::Order { day: 1, before: 2, .. })));
        let mut bad = good();
        bad[1] = bad[0].clone();
        assert!(matches!(learn(&EXPERTS, &bad), Err(MetaError::Order { .. })));
        assert!(learn(&EXPERTS, &[]).unwrap().steps.is_empty());
        let alone = learn(&["only"], &[Outcome { net_bps: vec![-3.0], ..good()[0].clone() }]).unwrap();
        assert_eq!((alone.steps[0].mixture_bps, alone.steps[0].before.weights.clone()), (-3.0, vec![1.0]));
    }

    #[test]
    fn a_mixture_is_used_only_where_it_surely_gains() {
        let mut rng = Seed(6).rng();
        let noise: Vec<f64> = (0..150).map(|_| StandardNormal.sample(&mut rng)).collect();
        let plus = |edge: f64| -> Vec<f64> { noise.iter().map(|v| v + edge).collect() };
        let flat = vec![0.0; 150];
        assert!(gain(&plus(0.5), &flat, 3.0, Seed(1)).unwrap().used);
        assert!(!gain(&plus(-0.5), &flat, 3.0, Seed(1)).unwrap().used);
        assert!(!gain(&plus(0.5)[..19], &flat[..19], 3.0, Seed(1)).unwrap().used);
        let same = gain(&noise, &noise, 3.0, Seed(1)).unwrap();
        assert_eq!((same.mean_bps, same.interval_bps, same.used), (0.0, None, false));
        assert_eq!(gain(&noise, &flat[..3], 3.0, Seed(1)), None);
        assert_eq!(gain(&[f64::NAN], &[0.0], 3.0, Seed(1)), None);
        assert_eq!(gain(&[], &[], 3.0, Seed(1)), None);
    }

    #[test]
    fn without_a_true_difference_the_mixture_is_rarely_used() {
        let used = |seed: u64| {
            let days = outcomes(150, &[0.0, 0.0, 0.0], 100, seed);
            let path = learn(&EXPERTS, &days).unwrap();
            let mixture: Vec<f64> = path.daily_net_bps().iter().map(|(_, net)| *net).collect();
            let deployed: Vec<f64> = days.iter().map(|o| o.net_bps[0]).collect();
            gain(&mixture, &deployed, 3.0, Seed(seed)).unwrap().used
        };
        let wrong = (0..200).filter(|&seed| used(seed)).count();
        assert!(wrong <= 24, "{wrong} of 200");
    }
}
