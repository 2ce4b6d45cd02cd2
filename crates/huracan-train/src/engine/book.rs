//! The whole universe at once: cross-sectional information coefficients of the pooled heads, and
//! the long/short rank-band book beside the coins.

use super::trial::Panel;
use crate::settings::Settings;
use huracan_core::stats::hac::{SmallSample, newey_west_mean};
use huracan_core::stats::ranks::ranks;
use huracan_core::stats::sharpe::annualised_sharpe;
use huracan_core::trial::plan::Plan;
use huracan_core::words::UtcMs;

/// Fewest coins with score and label for a cross-section to count.
const CROSS_SECTION_MIN: usize = 10;
/// Enter the book within this share of the ranks, at either end.
pub const ENTER_SHARE: f64 = 0.10;
/// Leave it outside this share.
pub const LEAVE_SHARE: f64 = 0.25;

/// Rank agreement of the pooled score with the label over coins, at each time, for one horizon.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CrossSectionalIc {
    /// Horizon in bars.
    pub horizon_bars: usize,
    /// Mean Spearman correlation over times.
    pub mean: Option<f64>,
    /// HAC t of that mean (lag: horizon + one day).
    pub t: Option<f64>,
    /// Times with enough coins.
    pub times: usize,
    /// Mean number of coins a time.
    pub mean_coins: f64,
}

/// Information coefficients for every horizon of the panel.
pub fn information_coefficients(settings: &Settings, panel: &Panel) -> Vec<CrossSectionalIc> {
    (0..panel.horizons.len()).map(|h| one_horizon(settings, panel, h)).collect()
}

/// Mean cross-sectional information coefficient of the label's own horizon over the last 14 days whose
/// labels are known; `None` without them.
pub fn recent_ic(settings: &Settings, panel: &Panel) -> Option<f64> {
    let (series, _) = cross_sections(panel, 0);
    let recent = settings.timeframe.bars_in_days(14.0).min(series.len());
    let last = &series[series.len() - recent..];
    (!last.is_empty()).then(|| last.iter().sum::<f64>() / last.len() as f64)
}

fn one_horizon(settings: &Settings, panel: &Panel, h: usize) -> CrossSectionalIc {
    let (series, coins) = cross_sections(panel, h);
    let lag = panel.horizons[h] + settings.timeframe.bars_in_days(1.0);
    let test = newey_west_mean(&series, lag, SmallSample::Asymptotic);
    CrossSectionalIc {
        horizon_bars: panel.horizons[h],
        mean: test.map(|t| t.mean),
        t: test.map(|t| t.t),
        times: series.len(),
        mean_coins: coins as f64 / series.len().max(1) as f64,
    }
}

/// Rank agreement at every time with enough coins, and the coins of all of them.
fn cross_sections(panel: &Panel, h: usize) -> (Vec<f64>, usize) {
    let mut series = Vec::with_capacity(panel.times);
    let mut coins = 0;
    for t in 0..panel.times {
        let row = t * panel.coins..(t + 1) * panel.coins;
        let pairs: Vec<(f64, f64)> = panel.scores[h][row.clone()]
            .iter()
            .zip(&panel.labels[h][row])
            .filter(|(s, y)| s.is_finite() && y.is_finite())
            .map(|(&s, &y)| (f64::from(s), f64::from(y)))
            .collect();
        if pairs.len() < CROSS_SECTION_MIN {
            continue;
        }
        if let Some(ic) = spearman(&pairs) {
            series.push(ic);
            coins += pairs.len();
        }
    }
    (series, coins)
}

fn spearman(pairs: &[(f64, f64)]) -> Option<f64> {
    let (a, b): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let (a, b) = (ranks(&a), ranks(&b));
    let mean = (a.len() as f64 + 1.0) / 2.0;
    let moment = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - mean) * (y - mean)).sum::<f64>();
    let scale = (moment(&a, &a) * moment(&b, &b)).sqrt();
    (scale > 0.0).then(|| moment(&a, &b) / scale)
}

/// The rank-band book: one unit of capital long, one unit short, equal weights inside a leg.
#[derive(Clone, Debug, PartialEq)]
pub struct RankBandBook {
    /// Net bps per UTC day of the test span.
    pub daily_net_bps: Vec<f64>,
    /// Mean net bps a day.
    pub mean_net_bps: f64,
    /// Mean gross bps a day.
    pub mean_gross_bps: f64,
    /// Mean one-way turnover a day, in units of one leg.
    pub turnover_per_day: f64,
    /// Annualised Sharpe of the daily net.
    pub sharpe: Option<f64>,
    /// HAC t of the daily net.
    pub t: Option<f64>,
    /// Mean net bps a day of the long leg alone, and of the short leg alone, before hedging.
    pub legs_net_bps: [f64; 2],
}

/// Runs the book on the label's horizon: decided at every bar, carried out `entry_lag_bars` later,
/// taker costs on every change of weight, nothing for funding.
pub fn rank_band(settings: &Settings, plan: &Plan, panel: &Panel) -> RankBandBook {
    let coins = panel.coins;
    let days = ((plan.test_end.0 - 1).div_euclid(UtcMs::DAY) - plan.test_start.day() + 1).max(1) as usize;
    let (mut net, mut gross, mut turnover) = (vec![0.0; days], vec![0.0; days], 0.0);
    let mut legs = [0.0; 2];
    let lag = settings.label.entry_lag_bars;
    let mut side = vec![0_i8; coins];
    let mut weights = vec![0.0_f64; coins];
    let mut waiting: Vec<Vec<f64>> = Vec::new();
    // A coin without a cost in this fold is charged what it was last known to cost, one that never had any
    // what the dearest does.
    let dearest = panel.one_side_bps.iter().flatten().copied().filter(|c| c.is_finite()).fold(0.0, f32::max);
    let mut known_cost = vec![f64::from(dearest); coins];
    let mut fold = None;
    for t in 0..panel.times {
        let now = plan.tested_at(UtcMs(plan.test_start.0 + t as i64 * plan.timeframe.ms()));
        if fold.replace(now) != Some(now) {
            let costs = known_cost.iter_mut().zip(&panel.one_side_bps[now]);
            costs.filter(|(_, now)| now.is_finite()).for_each(|(known, now)| *known = f64::from(*now));
        }
        let day = (plan.test_start.0 + t as i64 * plan.timeframe.ms()).div_euclid(UtcMs::DAY)
            - plan.test_start.day();
        let day = (day as usize).min(days - 1);
        let row = t * coins;
        for (c, weight) in weights.iter().enumerate().filter(|(_, w)| **w != 0.0) {
            let r = f64::from(panel.returns_bps[row + c]);
            if r.is_finite() {
                gross[day] += weight * r;
                net[day] += weight * r;
                legs[usize::from(*weight < 0.0)] += weight * r;
            }
        }
        if waiting.len() == lag {
            let next = waiting.remove(0);
            for c in 0..coins {
                let change = (next[c] - weights[c]).abs();
                if change > 0.0 {
                    let charged = change * known_cost[c];
                    net[day] -= charged;
                    legs[usize::from(next[c] < 0.0 || (next[c] == 0.0 && weights[c] < 0.0))] -= charged;
                    turnover += change;
                }
            }
            weights = next;
        }
        decide(&panel.scores[0][row..row + coins], &mut side);
        waiting.push(leg_weights(&side));
    }
    let mean = |v: &[f64]| v.iter().sum::<f64>() / days as f64;
    let test =
        newey_west_mean(&net, settings.metric_options(settings.seed).hac_lag_days, SmallSample::Asymptotic);
    RankBandBook {
        mean_net_bps: mean(&net),
        mean_gross_bps: mean(&gross),
        turnover_per_day: turnover / days as f64,
        sharpe: annualised_sharpe(&net, 365.0),
        t: test.map(|t| t.t),
        legs_net_bps: legs.map(|l| l / days as f64),
        daily_net_bps: net,
    }
}

/// Updates who is long (+1), short (−1) or out (0) from one cross-section of scores. A coin without
/// a score leaves.
fn decide(scores: &[f32], side: &mut [i8]) {
    let mut order: Vec<usize> = (0..scores.len()).filter(|&c| scores[c].is_finite()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
    let n = order.len() as f64;
    let mut next = vec![0_i8; side.len()];
    if order.len() >= CROSS_SECTION_MIN {
        for (place, &c) in order.iter().enumerate() {
            let from_top = (place as f64 + 0.5) / n;
            let from_bottom = 1.0 - from_top;
            let stays =
                |s: i8, distance: f64| distance <= ENTER_SHARE || (side[c] == s && distance <= LEAVE_SHARE);
            next[c] = if stays(1, from_top) {
                1
            } else if stays(-1, from_bottom) {
                -1
            } else {
                0
            };
        }
    }
    side.copy_from_slice(&next);
}

fn leg_weights(side: &[i8]) -> Vec<f64> {
    let count = |s: i8| side.iter().filter(|&&x| x == s).count().max(1) as f64;
    let (long, short) = (count(1), count(-1));
    side.iter()
        .map(|&s| match s {
            1 => 1.0 / long,
            -1 => -1.0 / short,
            _ => 0.0,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_band_keeps_who_is_in_and_asks_more_of_who_is_not() {
        let mut scores: Vec<f32> = (0..40).map(|i| -(i as f32)).collect();
        let mut side = vec![0; 40];
        decide(&scores, &mut side);
        assert_eq!(side.iter().filter(|&&s| s == 1).count(), 4);
        assert_eq!((side[0], side[3], side[4], side[39]), (1, 1, 0, -1));
        // Coin 0 falls to place 8 of 40: still inside the wide band; coin 1 to place 20: out.
        scores[0] = -8.5;
        scores[1] = -20.5;
        decide(&scores, &mut side);
        assert_eq!((side[0], side[1]), (1, 0));
        scores[2] = f32::NAN;
        decide(&scores, &mut side);
        assert_eq!(side[2], 0);
    }

    #[test]
    fn legs_hold_one_unit_each() {
        let weights = leg_weights(&[1, 1, 0, -1]);
        assert_eq!(weights, [0.5, 0.5, 0.0, -1.0]);
    }

    #[test]
    fn spearman_sees_order_only() {
        assert_eq!(spearman(&[(1.0, 1.0), (2.0, 8.0), (3.0, 27.0)]), Some(1.0));
        assert_eq!(spearman(&[(1.0, 2.0), (2.0, 2.0)]), None);
    }
}
