//! The champion rule: a new model takes over only when it is really better on the same days.
//!
//! Necessary, coin by coin: the product's criteria on the common days and enough trades. Sufficient:
//! the paired evidence ([`evidence`]), pooled over coins because one coin's paired daily difference is
//! far too noisy to decide alone, at a rate that [`Tenure`] makes stricter for champions chosen lately
//! and for coins that flip. Every number looked at is in the [`Comparison`].

pub mod evidence;
mod tenure;

pub use evidence::{Evidence, RunEvidence};
pub use tenure::{Tenure, rate_of_one_night};

use crate::stats::performance::max_drawdown;
use crate::stats::sharpe::annualised_sharpe;
use crate::words::Seed;

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
    /// Out-of-sample trades that the one of the two that trades more needs …
    pub sample_size_min: usize,
    /// … or, for horizons of a day and longer, this many …
    pub long_horizon_trades_min: usize,
    /// … on at least this many days with a position.
    pub long_horizon_active_days_min: usize,
    /// False-discovery rate over coins; one minus it is the confidence of the lower bound.
    pub false_discovery_rate: f64,
    /// Days for which a champion that evidence or a person has chosen is held.
    pub hold_days: f64,
    /// What the rate is multiplied with meanwhile.
    pub hold_rate_factor: f64,
    /// Days over which such choices of one coin are counted.
    pub flip_window_days: f64,
    /// What the rate is multiplied with for each of them.
    pub flip_rate_factor: f64,
}

impl Default for ChampionRule {
    fn default() -> Self {
        ChampionRule {
            sharpe_gain_min: 0.1,
            net_gain_pct_min: 0.5,
            drawdown_slack_pct: 1.0,
            common_days_min: 60,
            sample_size_min: 100,
            long_horizon_trades_min: 30,
            long_horizon_active_days_min: 60,
            false_discovery_rate: 0.10,
            hold_days: 7.0,
            hold_rate_factor: 0.1,
            flip_window_days: 30.0,
            flip_rate_factor: 0.5,
        }
    }
}

impl ChampionRule {
    /// The false-discovery rate a coin is held to: the rule's, times the hold factor while its
    /// champion is held, times the flip factor for every choice counted.
    pub fn rate(&self, tenure: &Tenure) -> f64 {
        let hold = if self.holds(tenure) { self.hold_rate_factor } else { 1.0 };
        self.false_discovery_rate * hold * self.flip_rate_factor.powi(tenure.choices_lately as i32)
    }

    /// Whether the champion was chosen less than the holding time ago.
    pub fn holds(&self, tenure: &Tenure) -> bool {
        tenure.days_since_chosen.is_some_and(|days| days < self.hold_days)
    }
}

/// A model's out-of-sample record: daily net bps from `first_day` (days since the epoch).
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// UTC day of the first value.
    pub first_day: i64,
    /// Net bps a day, costs included, zeros on flat days.
    pub daily_net_bps: Vec<f64>,
    /// Out-of-sample trades.
    pub trades: usize,
    /// Days with a position.
    pub active_days: usize,
}

impl Record {
    /// The values of both records on the days they share.
    pub fn common<'a>(&'a self, other: &'a Record) -> (&'a [f64], &'a [f64]) {
        let first = self.first_day.max(other.first_day);
        let end = |r: &Record| r.first_day.saturating_add(r.daily_net_bps.len() as i64);
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

/// One coin's question: does the candidate replace the champion?
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// Record of the model in force.
    pub champion: Record,
    /// Record of the model that wants its place, at the same costs.
    pub candidate: Record,
    /// How the champion came to its place.
    pub tenure: Tenure,
}

/// What all decisions of a run are made with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    /// The thresholds.
    pub rule: ChampionRule,
    /// Whether positions are meant to be held for a day or longer.
    pub long_horizon: bool,
    /// Mean block of the stationary bootstrap, days.
    pub mean_block_days: f64,
    /// Origin of the bootstrap draws.
    pub seed: Seed,
}

/// The figures a decision was made on.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Days both records cover.
    pub common_days: usize,
    /// Out-of-sample trades of the one that trades more.
    pub trades: usize,
    /// Days with a position of the one that has more.
    pub active_days: usize,
    /// Candidate minus champion, annualised daily Sharpe.
    pub sharpe_gain: Option<f64>,
    /// Candidate minus champion, points of percent net.
    pub net_gain_pct: f64,
    /// Candidate minus champion, points of percent drawdown.
    pub drawdown_change_pct: f64,
    /// The paired evidence; `None` for a coin that cannot be tested.
    pub evidence: Option<Evidence>,
    /// The false-discovery rate the coin is held to tonight.
    pub rate: f64,
    /// How the champion came to its place.
    pub tenure: Tenure,
    /// Whether the champion is held.
    pub held: bool,
    /// Whether the candidate takes over.
    pub replaces: bool,
    /// Whether the candidate is significantly worse over all coins, by the same test turned round.
    pub worse: bool,
    /// The first condition that was not met, or why it takes over.
    pub reason: &'static str,
}

/// All decisions of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Decisions {
    /// What the coins say together; `None` when none could be tested.
    pub run: Option<RunEvidence>,
    /// One per pair, in their order.
    pub coins: Vec<Comparison>,
}

/// Decides for all coins at once. Coins with fewer common days than the rule asks for, or whose
/// difference never varies, are not part of the pool.
pub fn challenge(pairs: &[Pair], terms: &Terms) -> Decisions {
    let rule = &terms.rule;
    let differences: Vec<evidence::Difference> = pairs
        .iter()
        .map(|pair| {
            let (a, b) = pair.champion.common(&pair.candidate);
            let enough = a.len() >= rule.common_days_min;
            evidence::Difference {
                first_day: pair.champion.first_day.max(pair.candidate.first_day),
                bps: if enough { a.iter().zip(b).map(|(a, b)| b - a).collect() } else { Vec::new() },
            }
        })
        .collect();
    let rates: Vec<f64> = pairs
        .iter()
        .zip(&differences)
        .map(|(pair, difference)| {
            let window = difference.bps.len() as f64;
            rate_of_one_night(rule.rate(&pair.tenure), pair.tenure.days_watched, window)
        })
        .collect();
    let weighed =
        evidence::weigh(&differences, &rates, rule.false_discovery_rate, terms.mean_block_days, terms.seed);
    let coins = pairs.iter().zip(weighed.coins).zip(rates);
    Decisions {
        coins: coins.map(|((pair, evidence), rate)| compare(pair, evidence, rate, terms)).collect(),
        run: weighed.run,
    }
}

fn compare(pair: &Pair, evidence: Option<Evidence>, rate: f64, terms: &Terms) -> Comparison {
    let rule = &terms.rule;
    let (a, b) = pair.champion.common(&pair.candidate);
    let net = |r: &[f64]| r.iter().sum::<f64>() / 100.0;
    let drawdown = |r: &[f64]| max_drawdown(r) / 100.0;
    let sharpe = |r: &[f64]| annualised_sharpe(r, 365.0);
    // A model that never traded is the zero head, whose Sharpe counts as 0: it may take the place of one
    // that loses.
    let flat = |r: &[f64]| r.iter().all(|v| *v == 0.0);
    let known = |r: &[f64]| if flat(r) { Some(0.0) } else { sharpe(r) };
    let sharpe_gain = known(b).zip(known(a)).map(|(b, a)| b - a);
    let net_gain = net(b) - net(a);
    let drawdown_change = drawdown(b) - drawdown(a);
    let product = sharpe_gain.is_some_and(|gain| {
        (gain >= rule.sharpe_gain_min && net_gain >= 0.0)
            || (net_gain >= rule.net_gain_pct_min && gain >= 0.0)
    });
    // The evidence is on the difference: a candidate that trades less than a losing champion is judged by
    // the champion's trades.
    let trades = pair.candidate.trades.max(pair.champion.trades);
    let active_days = pair.candidate.active_days.max(pair.champion.active_days);
    let enough_trades = trades >= rule.sample_size_min
        || (terms.long_horizon
            && trades >= rule.long_horizon_trades_min
            && active_days >= rule.long_horizon_active_days_min);
    let passes = |rate: f64| evidence.is_some_and(|e| e.lower_bound_bps > 0.0 && e.q_value <= rate);
    let (replaces, reason) = if a.len() < rule.common_days_min {
        (false, "too few common out-of-sample days")
    } else if a == b {
        (false, "the records are equal")
    } else if !enough_trades {
        (false, "too few out-of-sample trades of either model")
    } else if !product {
        (false, "neither Sharpe nor net gained enough without harm to the other")
    } else if drawdown_change > rule.drawdown_slack_pct {
        (false, "the drawdown grew too much")
    } else if passes(rate) {
        (true, "better on the same bars, significantly")
    } else if evidence.is_some_and(|e| e.q_value <= rule.false_discovery_rate) {
        (false, "the gain is significant, but replacing a choice this new asks for stronger evidence")
    } else {
        (false, "the pooled paired gain is not significant over all coins")
    };
    Comparison {
        common_days: a.len(),
        trades,
        active_days,
        sharpe_gain,
        net_gain_pct: net_gain,
        drawdown_change_pct: drawdown_change,
        evidence,
        rate,
        tenure: pair.tenure,
        held: rule.holds(&pair.tenure),
        replaces,
        worse: evidence.is_some_and(|e| e.q_value_worse <= rule.false_discovery_rate),
        reason,
    }
}

#[cfg(test)]
mod tests;
