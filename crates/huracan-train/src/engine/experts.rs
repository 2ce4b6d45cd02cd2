//! What the trials say beyond each coin's own record: results by regime, the meta learner over the
//! experts, and how often the best of all variants would have been luck.

use super::lanes::Lane;
use super::tape::policy_grid;
use super::trial::{CoinTrial, POOLED, Trials};
use super::verdicts::{Deployed, add_days, test_days};
use crate::settings::Settings;
use huracan_core::choose::overfitting::{RunOverfitting, run_overfitting};
use huracan_core::meta::{self, EXPERTS, MetaGain, MetaPath, Outcome};
use huracan_core::regime::Regime;
use huracan_core::stats::sharpe::sharpe;
use huracan_core::trial::metrics::Trade;
use huracan_core::trial::plan::Plan;
use huracan_core::words::UtcMs;
use std::collections::BTreeMap;

/// Trades decided in one regime.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RegimeFigures {
    /// The regime at the decision.
    pub regime: Regime,
    /// Share of the judged bars in it.
    pub share: f64,
    /// Closed trades.
    pub trades: usize,
    /// Net, percent of capital.
    pub net_pnl_pct: f64,
    /// Annualised Sharpe of the daily net of these trades, on the day they closed; `None` when
    /// undefined.
    pub sharpe: Option<f64>,
    /// Share of trades with net > 0; `None` without trades.
    pub hit_rate: Option<f64>,
}

/// Figures by regime of one coin's trades; `share` in the order of [`Regime::ALL`].
pub fn by_regime(plan: &Plan, trades: &[(Trade, Regime)], share: &[f64]) -> Vec<RegimeFigures> {
    let days = test_days(plan);
    Regime::ALL
        .into_iter()
        .map(|regime| {
            let of = || trades.iter().filter(|(_, r)| *r == regime).map(|(trade, _)| trade);
            let mut daily = vec![0.0; days];
            for trade in of() {
                if let Some(day) = daily.get_mut(day_of(plan, trade)) {
                    *day += trade.gross_bps - trade.cost_bps;
                }
            }
            let count = of().count();
            let won = of().filter(|t| t.gross_bps > t.cost_bps).count();
            RegimeFigures {
                regime,
                share: share.get(regime.index()).copied().unwrap_or(0.0),
                trades: count,
                net_pnl_pct: daily.iter().sum::<f64>() / 100.0,
                sharpe: sharpe(&daily).map(|s| s * 365.0_f64.sqrt()),
                hit_rate: (count > 0).then(|| won as f64 / count as f64),
            }
        })
        .collect()
}

fn day_of(plan: &Plan, trade: &Trade) -> usize {
    let last = test_days(plan) as i64 - 1;
    (trade.exit.day() - plan.test_start.day()).clamp(0, last.max(0)) as usize
}

/// The meta learner on the run's out-of-sample trades.
#[derive(Clone, Debug)]
pub struct Experts {
    /// Weights by regime, their history, and what is believed now.
    pub path: MetaPath,
    /// The mixture against what is deployed; `None` when it cannot be told.
    pub gain: Option<MetaGain>,
}

/// One expert's trade.
struct Bet {
    decided: i64,
    closed: i64,
    regime: Regime,
    expert: usize,
    net_bps: f64,
}

/// Learns weights over the head with codes, the head without, the pooled head and doing nothing, from
/// the trades of all judged coins.
///
/// A trade is learnt from on the day it closed and weighed by what was believed before the day it was
/// decided on, so that the mixture's record is out of sample.
pub fn experts(
    settings: &Settings,
    plan: &Plan,
    trials: &Trials,
    deployed: &[Deployed],
    judged: &[usize],
    deployed_daily: &[f64],
) -> Option<Experts> {
    let first = plan.test_start.day();
    let coins = judged.len().max(1) as f64;
    let lag_ms = settings.label.entry_lag_bars as i64 * settings.timeframe.ms();
    let mut bets: Vec<Bet> = Vec::new();
    for trial in judged.iter().filter_map(|&i| trials.coins[i].as_ref()) {
        for (f, chosen) in deployed.iter().enumerate().take(trial.records.len()) {
            let lanes = [chosen.encoded.unwrap_or(Lane::Plain).at(), Lane::Plain.at(), POOLED];
            for (expert, lane) in lanes.into_iter().enumerate() {
                let record = &trial.records[f][lane][chosen.policy.index];
                bets.extend(record.trades.iter().zip(&record.regimes).map(|(trade, regime)| Bet {
                    decided: UtcMs(trade.entry.0 - lag_ms).day(),
                    closed: trade.exit.day(),
                    regime: *regime,
                    expert,
                    net_bps: (trade.gross_bps - trade.cost_bps) / coins,
                }));
            }
        }
    }
    let mut outcomes: BTreeMap<(i64, usize), Outcome> = BTreeMap::new();
    for bet in &bets {
        let outcome = outcomes.entry((bet.closed, bet.regime.index())).or_insert_with(|| Outcome {
            day: bet.closed,
            regime: bet.regime,
            net_bps: vec![0.0; EXPERTS.len()],
            trades: 0,
        });
        outcome.net_bps[bet.expert] += bet.net_bps;
        outcome.trades += 1;
    }
    let outcomes: Vec<Outcome> = outcomes.into_values().collect();
    let path = meta::learn(&EXPERTS, &outcomes).ok()?;
    let believed = |regime: Regime, day: i64, expert: usize| {
        let steps = path.steps.iter().filter(|s| s.regime == regime);
        let before = steps.clone().find(|s| s.day >= day).map(|s| &s.before);
        before.or_else(|| path.final_weights.get(&regime)).map_or(0.0, |w| w.weights[expert])
    };
    // One look-up a (regime, day): there are many trades and few days.
    let mut known: BTreeMap<(usize, i64, usize), f64> = BTreeMap::new();
    let mut mixture = vec![0.0; deployed_daily.len()];
    for bet in &bets {
        let weight = *known
            .entry((bet.regime.index(), bet.decided, bet.expert))
            .or_insert_with(|| believed(bet.regime, bet.decided, bet.expert));
        if let Some(day) = mixture.get_mut((bet.closed - first).max(0) as usize) {
            *day += weight * bet.net_bps;
        }
    }
    let block = settings.metric_options(settings.seed).mean_block_days;
    let gain = meta::gain(&mixture, deployed_daily, block, settings.seed);
    Some(Experts { path, gain })
}

/// The probability that the best variant of the run (lane × policy, mean over judged coins) was luck.
pub fn overfitting(
    settings: &Settings,
    plan: &Plan,
    trials: &Trials,
    judged: &[usize],
) -> Option<RunOverfitting> {
    let days = test_days(plan);
    let lanes = Lane::ALL.into_iter().filter(|lane| lane.may_deploy(settings));
    let policies = policy_grid(settings).len();
    let coins: Vec<&CoinTrial> = judged.iter().filter_map(|&i| trials.coins[i].as_ref()).collect();
    let variants: Vec<Vec<f64>> = lanes
        .flat_map(|lane| (0..policies).map(move |policy| (lane, policy)))
        .map(|(lane, policy)| {
            let mut daily = vec![0.0; days];
            let records = coins.iter().flat_map(|t| &t.records).map(|fold| &fold[lane.at()][policy]);
            records.for_each(|record| add_days(&mut daily, record));
            daily.iter().map(|v| v / coins.len().max(1) as f64).collect()
        })
        .collect();
    run_overfitting(&variants.iter().map(Vec::as_slice).collect::<Vec<_>>())
}
