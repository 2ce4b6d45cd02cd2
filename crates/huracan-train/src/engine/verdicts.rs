//! Verdicts: thresholds from validation, metrics from the test span, significance over coins,
//! `trade_ok`. Everything here reads trials; nothing is fitted on a test row.

use super::Engine;
use super::book::{CrossSectionalIc, RankBandBook, information_coefficients, rank_band};
use super::lanes::{PLACEBO, PLAIN, SHARED};
use super::pools::Pools;
use super::survey::{Coin, Survey};
use super::tape::{FoldRecord, hedged, policy_grid};
use super::trial::{CoinTrial, FinalHead, FoldFacts, POOLED, Trials};
use crate::settings::{PriorTrials, Settings};
use huracan_core::choose::sharing::{SharingGain, SharingVerdict, gains, hurt};
use huracan_core::choose::trade_ok::{Evidence, GateAnswer, judge, product_gates_ok, trade_ok};
use huracan_core::stats::moments::variance;
use huracan_core::stats::multiple_testing::benjamini_hochberg;
use huracan_core::stats::sharpe::sharpe;
use huracan_core::trial::metrics::{MetricOptions, Metrics, ScoreQuality, Trade, measure};
use huracan_core::trial::plan::Plan;
use huracan_core::trial::simulate::Totals;
use huracan_core::words::UtcMs;

/// The trading policy of one fold, chosen on its validation.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    /// Position in the grid.
    pub index: usize,
    /// Multiple of the round-trip cost asked for entry.
    pub multiple: f64,
    /// Share of the entry threshold below which a position is left.
    pub exit_band: f64,
    /// Validation net of every policy of the grid, bps summed over coins.
    pub validation_net_bps: Vec<f64>,
}

/// One fold of one coin.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// Test span.
    pub test: (UtcMs, UtcMs),
    /// Training rows.
    pub train_rows: f64,
    /// Closed trades.
    pub trades: usize,
    /// Net, percent.
    pub net_pnl_pct: f64,
    /// Annualised Sharpe of daily net.
    pub sharpe: Option<f64>,
    /// Correlation of score and label.
    pub ic: Option<f64>,
}

/// A baseline's after-cost result over the same bars, thresholds and costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Baseline {
    /// Stable name.
    pub name: &'static str,
    /// Net, percent of capital.
    pub net_pnl_pct: f64,
    /// Annualised Sharpe; `None` when undefined.
    pub sharpe: Option<f64>,
    /// Closed trades.
    pub trades: usize,
}

/// All that is known of one coin at the end of a run.
#[derive(Clone, Debug)]
pub struct CoinVerdict {
    /// Position in the survey.
    pub index: usize,
    /// Out-of-sample, after costs.
    pub metrics: Metrics,
    /// Net bps per UTC day of the test span.
    pub daily_net_bps: Vec<f64>,
    /// Per fold.
    pub windows: Vec<Window>,
    /// Score against label.
    pub agreement: Option<ScoreQuality>,
    /// Buy-and-hold, zero, no encoder, own PCA, pooled.
    pub baselines: Vec<Baseline>,
    /// Shared encoder minus none.
    pub encoder_gain: SharingGain,
    /// Adjusted p among the run's coins.
    pub q_value: Option<f64>,
    /// Average net bps a trade, shrunk to the pool by n/(n + 300).
    pub shrunk_trade_bps: f64,
    /// Mean one-side cost as charged, bps.
    pub one_side_bps: f64,
    /// Bars judged.
    pub oos_bars: usize,
    /// Every gate.
    pub gates: Vec<GateAnswer>,
    /// Whether the coin may be traded.
    pub trade_ok: bool,
    /// Whether the product's five gates alone pass.
    pub product_ok: bool,
    /// Lane that is deployed: shared encoder or none.
    pub lane: usize,
    /// The head to be written.
    pub head: FinalHead,
    /// Whether the coin is judged against the market.
    pub hedged: bool,
}

/// The run's verdicts.
pub struct Verdicts {
    /// One per coin with a head, in the survey's order.
    pub coins: Vec<CoinVerdict>,
    /// Coins of the survey that got no head: positions.
    pub headless: Vec<usize>,
    /// Per fold, the final one last.
    pub thresholds: Vec<Threshold>,
    /// Mean net over judged coins, percent.
    pub universe_net_pct: f64,
    /// The same for every placebo.
    pub placebo_net_pct: Vec<f64>,
    /// Mean daily net over judged coins, bps.
    pub universe_daily_net_bps: Vec<f64>,
    /// Cross-sectional information coefficients.
    pub ics: Vec<CrossSectionalIc>,
    /// The rank-band book.
    pub book: RankBandBook,
    /// What this run has tried.
    pub tried: PriorTrials,
}

/// Trades at which a coin's own average counts for one half.
const SHRINK_TRADES: f64 = 300.0;

/// Judges the run.
pub fn verdicts(
    engine: &Engine<'_>,
    survey: &Survey,
    plan: &Plan,
    pools: &Pools,
    trials: &Trials,
) -> Verdicts {
    let settings = engine.settings;
    engine.observer.stage_started("verdicts", 3);
    let deployed: Vec<usize> =
        pools.choices.iter().map(|c| if c.use_encoder { SHARED } else { PLAIN }).collect();
    let thresholds: Vec<Threshold> = (0..plan.folds.len())
        .map(|f| threshold(settings, trials.coins.iter().flatten().map(|t| &t.validation[f][deployed[f]])))
        .collect();
    let days = test_days(plan);
    let judged: Vec<usize> = (0..survey.coins.len())
        .filter(|&i| trials.coins[i].as_ref().is_some_and(|t| t.heads[PLAIN].is_some()))
        .collect();
    let trial = |i: usize| trials.coins[i].as_ref().expect("judged coins have a trial");
    // Sharing: paired days at equal thresholds, and causally who had to do without in which fold.
    let tested = plan.tested().len();
    let lane_days = |i: usize, kept: usize, folds: usize| -> Vec<f64> {
        let mut daily = vec![0.0; days];
        for f in 0..folds {
            add_days(&mut daily, &trial(i).records[f][kept][thresholds[f].index]);
        }
        daily
    };
    let difference = |i: usize, folds: usize| -> Vec<f64> {
        lane_days(i, SHARED, folds).iter().zip(lane_days(i, PLAIN, folds)).map(|(a, b)| a - b).collect()
    };
    let rate = settings.trade_gates.false_discovery_rate;
    let MetricOptions { hac_lag_days: lag, mean_block_days, .. } = settings.metric_options(settings.seed);
    let without: Vec<Vec<bool>> = (0..=tested)
        .map(|f| {
            let fold_end =
                plan.folds[f].test.map_or(days, |(start, _)| (start.day() - plan.test_start.day()) as usize);
            let past: Vec<Vec<f64>> = judged.iter().map(|&i| difference(i, f)[..fold_end].to_vec()).collect();
            hurt(&past, rate, lag)
        })
        .collect();
    let sharing = gains(
        &judged.iter().map(|&i| difference(i, tested)).collect::<Vec<_>>(),
        rate,
        mean_block_days,
        lag,
        settings.seed.child("sharing", 0),
    );
    engine.observer.stage_advanced("verdicts", 1, "sharing");
    let lane_of = |position: usize, f: usize| if without[f][position] { PLAIN } else { deployed[f] };
    let records: Vec<Vec<&FoldRecord>> = judged
        .iter()
        .enumerate()
        .map(|(n, &i)| {
            (0..tested).map(|f| &trial(i).records[f][lane_of(n, f)][thresholds[f].index]).collect()
        })
        .collect();
    let daily: Vec<Vec<f64>> = records
        .iter()
        .map(|folds| {
            let mut sum = vec![0.0; days];
            folds.iter().for_each(|record| add_days(&mut sum, record));
            sum
        })
        .collect();
    let sharpes: Vec<f64> = daily.iter().filter_map(|d| sharpe(d)).collect();
    let tried = PriorTrials {
        until: survey.until,
        variants: policy_grid(settings).len() * 2,
        coins: judged.len(),
        sharpe_variance: variance(&sharpes),
    };
    let (n_trials, trial_sharpe_variance) = settings.all_trials(&tried);
    let measured: Vec<Metrics> = judged
        .iter()
        .enumerate()
        .map(|(n, &i)| {
            let options = MetricOptions {
                n_trials,
                trial_sharpe_variance,
                ..settings.metric_options(settings.seed.child("bootstrap", i as u64))
            };
            coin_metrics(plan, trial(i), &records[n], &daily[n], &options)
        })
        .collect();
    engine.observer.stage_advanced("verdicts", 2, "metrics");
    let universe_net_pct = mean(measured.iter().map(|m| m.net_pnl_pct));
    let placebo_net_pct = placebos(settings, trials, judged.len(), tested);
    let q_values = adjusted(&measured);
    let pool_trade_bps = pooled_trade(&records);
    let best_placebo = placebo_net_pct.iter().copied().reduce(f64::max);
    let ics = information_coefficients(settings, &trials.panel);
    let book = rank_band(settings, plan, &trials.panel);
    engine.observer.stage_advanced("verdicts", 3, "cross-sections");
    let inputs: Vec<Draft> = judged
        .iter()
        .enumerate()
        .map(|(n, &i)| {
            let coin = &survey.coins[i];
            let oos_bars = trial(i).folds.iter().map(|f| f.bars).sum::<usize>();
            let gates = judge(
                &Evidence {
                    net_pnl_pct: measured[n].net_pnl_pct,
                    sample_size: measured[n].sample_size,
                    active_days: measured[n].active_days,
                    sharpe: measured[n].sharpe,
                    hit_rate: measured[n].hit_rate,
                    max_drawdown_pct: measured[n].max_drawdown_pct,
                    oos_days: oos_bars as f64 / settings.timeframe.bars_per_day(),
                    long_horizon: settings.long_horizon(),
                    q_value: q_values[n],
                    universe_net_pct,
                    best_placebo_net_pct: best_placebo,
                    data_gates_failed: coin.verdict.trade.len(),
                },
                &settings.trade_gates,
            );
            Draft { ok: trade_ok(&gates), gates, oos_bars }
        })
        .collect();
    let mut coins = Vec::with_capacity(judged.len());
    for (n, (&i, draft)) in judged.iter().zip(inputs).enumerate() {
        let final_lane = lane_of(n, tested);
        let Some(head) = trial(i).heads[final_lane].clone() else { continue };
        let context = CoinContext { settings, survey, plan, trial: trial(i), thresholds: &thresholds, days };
        coins.push(context.verdict(Parts {
            index: i,
            lane: final_lane,
            metrics: measured[n].clone(),
            daily: daily[n].clone(),
            records: &records[n],
            sharing: sharing[n],
            q_value: q_values[n],
            pool_trade_bps,
            draft,
            head,
        }));
    }
    let headless =
        (0..survey.coins.len()).filter(|i| trials.coins[*i].is_some() && !judged.contains(i)).collect();
    let universe_daily = (0..days).map(|d| mean(daily.iter().map(|c| c[d]))).collect();
    Verdicts {
        coins,
        headless,
        thresholds,
        universe_net_pct,
        placebo_net_pct,
        universe_daily_net_bps: universe_daily,
        ics,
        book,
        tried,
    }
}

struct Draft {
    gates: Vec<GateAnswer>,
    ok: bool,
    oos_bars: usize,
}

struct Parts<'a> {
    index: usize,
    lane: usize,
    metrics: Metrics,
    daily: Vec<f64>,
    records: &'a [&'a FoldRecord],
    sharing: SharingGain,
    q_value: Option<f64>,
    pool_trade_bps: f64,
    draft: Draft,
    head: FinalHead,
}

struct CoinContext<'a> {
    settings: &'a Settings,
    survey: &'a Survey,
    plan: &'a Plan,
    trial: &'a CoinTrial,
    thresholds: &'a [Threshold],
    days: usize,
}

impl CoinContext<'_> {
    fn verdict(&self, parts: Parts<'_>) -> CoinVerdict {
        let coin: &Coin = &self.survey.coins[parts.index];
        let n = parts.metrics.sample_size as f64;
        let own = parts.metrics.avg_trade_bps.unwrap_or(0.0);
        let judged: Vec<&FoldFacts> = self.trial.folds.iter().filter(|f| f.bars > 0).collect();
        CoinVerdict {
            index: parts.index,
            windows: self.windows(parts.records),
            agreement: self.trial.agreement,
            baselines: self.baselines(),
            encoder_gain: parts.sharing,
            q_value: parts.q_value,
            shrunk_trade_bps: (n * own + SHRINK_TRADES * parts.pool_trade_bps) / (n + SHRINK_TRADES),
            one_side_bps: mean(judged.iter().map(|f| f.one_side_bps)),
            oos_bars: parts.draft.oos_bars,
            product_ok: product_gates_ok(&parts.draft.gates),
            gates: parts.draft.gates,
            trade_ok: parts.draft.ok,
            lane: parts.lane,
            head: parts.head,
            hedged: hedged(self.settings, coin.symbol.market()),
            metrics: parts.metrics,
            daily_net_bps: parts.daily,
        }
    }

    fn windows(&self, records: &[&FoldRecord]) -> Vec<Window> {
        let tests = self.plan.tested().iter().filter_map(|f| f.test);
        tests
            .zip(records)
            .zip(&self.trial.folds)
            .map(|((test, record), facts)| {
                let mut daily = vec![0.0; self.days];
                add_days(&mut daily, record);
                let from = (test.0.day() - self.plan.test_start.day()) as usize;
                let to = ((test.1.0 - 1).div_euclid(UtcMs::DAY) + 1 - self.plan.test_start.day()) as usize;
                let span = &daily[from.min(self.days)..to.min(self.days)];
                Window {
                    test,
                    train_rows: facts.train_rows,
                    trades: record.trades.len(),
                    net_pnl_pct: record.daily.iter().map(|d| d.1).sum::<f64>() / 100.0,
                    sharpe: sharpe(span).map(|s| s * 365.0_f64.sqrt()),
                    ic: facts.ic,
                }
            })
            .collect()
    }

    fn baselines(&self) -> Vec<Baseline> {
        let lane = |name, kept: usize| {
            let mut daily = vec![0.0; self.days];
            let mut trades = 0;
            for (f, fold) in self.trial.records.iter().enumerate() {
                let record = &fold[kept][self.thresholds[f].index];
                add_days(&mut daily, record);
                trades += record.trades.len();
            }
            Baseline {
                name,
                net_pnl_pct: daily.iter().sum::<f64>() / 100.0,
                sharpe: sharpe(&daily).map(|s| s * 365.0_f64.sqrt()),
                trades,
            }
        };
        let hold = Baseline {
            name: "buy_and_hold",
            net_pnl_pct: self.trial.buy_and_hold_pct,
            sharpe: None,
            trades: 1,
        };
        vec![
            hold,
            Baseline { name: "zero", net_pnl_pct: 0.0, sharpe: None, trades: 0 },
            lane("shared_encoder", SHARED),
            lane("without_encoder", PLAIN),
            lane("own_pca", super::lanes::OWN_PCA),
            lane("pooled_head", POOLED),
        ]
    }
}

/// UTC days touched by the test span.
pub fn test_days(plan: &Plan) -> usize {
    ((plan.test_end.0 - 1).div_euclid(UtcMs::DAY) - plan.test_start.day() + 1).max(1) as usize
}

fn add_days(daily: &mut [f64], record: &FoldRecord) {
    for &(day, net) in &record.daily {
        if let Some(sum) = daily.get_mut(day as usize) {
            *sum += net;
        }
    }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, n) = values.fold((0.0, 0.0), |(s, n), v| (s + v, n + 1.0));
    if n > 0.0 { sum / n } else { 0.0 }
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
    Threshold { index, multiple, exit_band, validation_net_bps: net }
}

/// Mean net percent over coins of every placebo, each at the thresholds its own validation chose.
fn placebos(settings: &Settings, trials: &Trials, judged: usize, tested: usize) -> Vec<f64> {
    (0..settings.placebos)
        .map(|placebo| {
            let net: f64 = (0..tested)
                .map(|f| {
                    let known = || trials.coins.iter().flatten();
                    let k = threshold(settings, known().map(|t| &t.validation[f][PLACEBO + placebo])).index;
                    known().map(|t| t.placebos[f][placebo][k].net_bps).sum::<f64>()
                })
                .sum();
            net / 100.0 / judged.max(1) as f64
        })
        .collect()
}

fn coin_metrics(
    plan: &Plan,
    trial: &CoinTrial,
    records: &[&FoldRecord],
    daily: &[f64],
    options: &MetricOptions,
) -> Metrics {
    let trades: Vec<Trade> = records.iter().flat_map(|r| r.trades.iter().copied()).collect();
    let bars: usize = trial.folds.iter().map(|f| f.bars).sum();
    let held: usize = records.iter().map(|r| r.bars_held).sum();
    let exposure = held as f64 / bars.max(1) as f64;
    measure(&trades, daily, (plan.test_start, plan.test_end), exposure, options)
}

/// Benjamini–Hochberg over the coins that have a p-value.
fn adjusted(measured: &[Metrics]) -> Vec<Option<f64>> {
    let known: Vec<usize> = (0..measured.len()).filter(|&i| measured[i].hac_p_one_sided.is_some()).collect();
    let p: Vec<f64> = known.iter().filter_map(|&i| measured[i].hac_p_one_sided).collect();
    let mut out = vec![None; measured.len()];
    known.iter().zip(benjamini_hochberg(&p)).for_each(|(&i, q)| out[i] = Some(q));
    out
}

fn pooled_trade(records: &[Vec<&FoldRecord>]) -> f64 {
    mean(records.iter().flatten().flat_map(|r| &r.trades).map(|t| t.gross_bps - t.cost_bps))
}

/// How many coins sharing helped, hurt, or left undecided.
pub fn sharing_counts(coins: &[CoinVerdict]) -> (usize, usize, usize) {
    let count = |v: SharingVerdict| coins.iter().filter(|c| c.encoder_gain.verdict == v).count();
    (count(SharingVerdict::Helped), count(SharingVerdict::Hurt), count(SharingVerdict::Undecided))
}
