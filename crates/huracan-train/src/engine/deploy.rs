//! Which lane and which policy a fold deploys, on the validations up to its own, and what every lane
//! foretold out of sample. What does not live here: what came of it (`verdicts`).

use super::lanes::{Lane, PLACEBO};
use super::tape::policy_grid;
use super::trial::{ScoreSums, Trials};
use crate::settings::Settings;
use huracan_core::stats::moments::{mean, variance};
use huracan_core::trial::simulate::Totals;

/// What one lane promised on the validations up to a fold's own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LaneEvidence {
    /// The lane.
    pub lane: Lane,
    /// Correlation of its heads with the label over all coins, mean over the validations so far.
    pub validation_ic: Option<f64>,
    /// Net of its best policy on the validations so far, bps summed over coins.
    pub validation_net_bps: f64,
}

/// What is deployed in one fold, chosen on the validations up to its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployed {
    /// The lane.
    pub lane: Lane,
    /// The best lane with a shared encoder; `lane` itself where it has one.
    pub encoded: Option<Lane>,
    /// Every lane that competed.
    pub evidence: Vec<LaneEvidence>,
    /// Its policy.
    pub policy: Threshold,
}

/// The trading policy of one fold, chosen on the validations up to its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    /// Position in the grid.
    pub index: usize,
    /// Multiple of the round-trip cost asked for entry.
    pub multiple: f64,
    /// Share of the entry threshold below which a position is left.
    pub exit_band: f64,
    /// Net of every policy of the grid on the validations so far, bps summed over coins.
    pub validation_net_bps: Vec<f64>,
    /// Whether not trading at all did better than every policy: the zero head is deployed.
    pub is_zero: bool,
}

/// Chooses lane and policy of a fold on the validations up to its own: the lane by the correlation of
/// its heads with the label over all coins, the policy by net, and none at all where that is not
/// above zero.
pub(super) fn deploy(settings: &Settings, trials: &Trials, f: usize) -> Deployed {
    let coins = trials.coins.iter().flatten();
    let ic = |lane: Lane| {
        let folds = (0..=f).filter_map(|g| {
            let mut sums = ScoreSums::default();
            coins.clone().for_each(|t| sums.add(&t.validation_scores[g][lane.at()], 1.0));
            sums.correlation()
        });
        // A fold without a correlation counts as none: lanes are compared on the same folds.
        let (sum, n) = folds.fold((0.0, 0.0), |(s, n), v| (s + v, n + 1.0));
        (n > 0.0).then(|| sum / (f + 1) as f64)
    };
    let policy = |lane: Lane| {
        threshold(settings, coins.clone().flat_map(|t| (0..=f).map(move |g| &t.validation[g][lane.at()])))
    };
    let evidence: Vec<LaneEvidence> = Lane::ALL
        .into_iter()
        .filter(|lane| lane.may_deploy(settings) && trials.tried.contains(lane))
        .map(|lane| {
            let policy = policy(lane);
            let validation_net_bps = policy.validation_net_bps[policy.index];
            LaneEvidence { lane, validation_ic: ic(lane), validation_net_bps }
        })
        .collect();
    let key = |e: &LaneEvidence| e.validation_ic.unwrap_or(f64::NEG_INFINITY);
    // On a tie the simpler, which comes first.
    let best = |fits: &dyn Fn(Lane) -> bool| {
        let candidates = evidence.iter().filter(|e| fits(e.lane));
        candidates.reduce(|a, b| if key(b) > key(a) { b } else { a }).map(|e| e.lane)
    };
    let lane = best(&|_| true).unwrap_or(Lane::Plain);
    let encoded = best(&|l| l.encoder().is_some());
    Deployed { lane, encoded, policy: policy(lane), evidence }
}

/// The policy with the best validation net over all coins; the last of the grid (the most cautious)
/// on a tie.
fn threshold<'a>(settings: &Settings, coins: impl Iterator<Item = &'a Vec<Totals>>) -> Threshold {
    let grid = policy_grid(settings);
    let mut net = vec![0.0; grid.len()];
    for totals in coins {
        net.iter_mut().zip(totals).for_each(|(sum, t)| *sum += t.net_bps);
    }
    let index = (0..net.len()).reduce(|best, k| if net[k] >= net[best] { k } else { best }).unwrap_or(0);
    let (multiple, exit_band) = grid[index];
    let is_zero = settings.trading.zero_competes && net[index] <= 0.0;
    Threshold { index, multiple, exit_band, validation_net_bps: net, is_zero }
}

/// Mean net percent over coins of every placebo, each at the policies its own validations chose.
pub(super) fn placebos(settings: &Settings, trials: &Trials, judged: usize, tested: usize) -> Vec<f64> {
    (0..settings.placebos)
        .map(|placebo| {
            let net: f64 = (0..tested)
                .map(|f| {
                    let known = || trials.coins.iter().flatten();
                    let seen =
                        known().flat_map(|t| (0..=f).map(move |g| &t.validation[g][PLACEBO + placebo]));
                    let chosen = threshold(settings, seen);
                    if chosen.is_zero {
                        return 0.0;
                    }
                    known().map(|t| t.placebos[f][placebo][chosen.index].net_bps).sum::<f64>()
                })
                .sum();
            net / 100.0 / judged.max(1) as f64
        })
        .collect()
}

/// A lane's information coefficient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LaneIc {
    /// Mean over folds.
    pub mean: f64,
    /// Standard error of that mean, from its variation between folds; `None` with one fold.
    pub std_error: Option<f64>,
}

pub(super) fn lane_ic(trials: &Trials, lane: Lane, tested: usize) -> Option<LaneIc> {
    let of = |f: usize| {
        let mut sums = ScoreSums::default();
        let coins = trials.coins.iter().flatten();
        coins.filter_map(|t| t.test_scores.get(f)).for_each(|s| sums.add(&s[lane.at()], 1.0));
        sums.correlation()
    };
    let ics: Vec<f64> = (0..tested).filter_map(of).collect();
    let spread = variance(&ics).map(|v| (v / ics.len() as f64).sqrt());
    mean(&ics).map(|mean| LaneIc { mean, std_error: spread })
}
