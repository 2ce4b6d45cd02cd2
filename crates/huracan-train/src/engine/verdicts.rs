//! Verdicts: thresholds from validation, metrics from the test span, significance over coins,
//! `trade_ok`. Everything here reads trials; nothing is fitted on a test row.

use super::Engine;
use super::book::{CrossSectionalIc, RankBandBook, information_coefficients, rank_band, recent_ic};
pub use super::comparisons::{COMPARISONS, Compared, Comparison, ENCODER, Side};
pub use super::deploy::{Deployed, LaneEvidence, LaneIc, Threshold};
use super::deploy::{deploy, lane_ic, placebos};
use super::experts::{self, Experts, RegimeFigures, by_regime};
use super::lanes::Lane;
use super::survey::{Coin, Survey};
use super::tape::{FoldRecord, hedged, policy_grid};
use super::trial::explain::Explained;
use super::trial::{CoinTrial, FinalHead, FoldFacts, POOLED, Trials};
use crate::settings::{PriorTrials, Settings};
use huracan_core::choose::overfitting::RunOverfitting;
use huracan_core::choose::sharing::{SharingGain, SharingVerdict, gains, hurt};
use huracan_core::choose::trade_ok::{Evidence, GateAnswer, judge, product_gates_ok, trade_ok};
use huracan_core::drift::{self, DriftAction, DriftReport};
use huracan_core::regime::Regime;
use huracan_core::stats::moments::variance;
use huracan_core::stats::multiple_testing::benjamini_hochberg;
use huracan_core::stats::sharpe::sharpe;
use huracan_core::trial::metrics::{MetricOptions, Metrics, ScoreQuality, Trade, measure};
use huracan_core::trial::plan::Plan;
use huracan_core::words::UtcMs;

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
    /// Buy-and-hold, zero, every lane, the pooled head.
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
    /// Lane that is deployed.
    pub lane: Lane,
    /// Lane of every tested fold.
    pub lanes: Vec<Lane>,
    /// The head to be written.
    pub head: FinalHead,
    /// Whether the coin is judged against the market.
    pub hedged: bool,
    /// Its trades by regime, in the order of `Regime::ALL`.
    pub by_regime: Vec<RegimeFigures>,
    /// Regime at the end of the data.
    pub regime: Regime,
    /// What each feature is worth, and whether the last week looks like training.
    pub explained: Explained,
    /// What to do about drift.
    pub drift_action: DriftAction,
    /// Whether drift forbids promotion.
    pub promotion_held: bool,
}

/// The run's verdicts.
pub struct Verdicts {
    /// One per coin with a head, in the survey's order.
    pub coins: Vec<CoinVerdict>,
    /// Coins of the survey that got no head: positions.
    pub headless: Vec<usize>,
    /// Per fold, the final one last.
    pub deployed: Vec<Deployed>,
    /// Correlation with the label out of sample of every lane's heads, over all coins, mean over folds, with
    /// its standard error over folds; whether or not anything was traded on it.
    pub lane_ics: Vec<(Lane, Option<LaneIc>)>,
    /// Every way of sharing against doing without.
    pub sharing: Vec<Compared>,
    /// Head and policy variants that competed for the label, per coin.
    pub variants_tried: usize,
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
    /// The meta learner; `None` when there was nothing to learn from.
    pub experts: Option<Experts>,
    /// The probability that the best variant was luck; `None` with too few days or variants.
    pub overfitting: Option<RunOverfitting>,
    /// Mean cross-sectional information coefficient of the last 14 days with labels.
    pub recent_ic: Option<f64>,
    /// What this run has tried.
    pub tried: PriorTrials,
}

impl Verdicts {
    /// Takes in what was found out after the verdicts: drift may forbid trading or promotion.
    pub(super) fn explained(&mut self, settings: &Settings, explained: Vec<Explained>) {
        for (coin, explained) in self.coins.iter_mut().zip(explained) {
            let report = explained.drift.as_ref();
            coin.drift_action = report.map_or(DriftAction::None, |r| drift::policy(r, self.recent_ic));
            coin.promotion_held = report.is_some_and(|r| drift::drifted_and_failing(r, self.recent_ic));
            coin.gates.extend(drift_gates(report, coin.promotion_held));
            coin.agreement = explained.agreement;
            coin.trade_ok = trade_ok(&coin.gates);
            coin.explained = explained;
        }
        debug_assert!(settings.placebos > 0 || !self.coins.iter().any(|c| c.trade_ok));
    }
}

/// `drift`: share of the heavy features beyond what their quiet weeks reached, which forbids trading only
/// where predictions fail too. `encoder_fit`: share of the week's rows that the head's encoder reconstructs
/// worse than 99 % of its training rows. Neither is asked of a coin whose week could not be compared.
fn drift_gates(report: Option<&DriftReport>, failing: bool) -> [GateAnswer; 2] {
    let reconstruction = report.and_then(|r| r.reconstruction);
    [
        GateAnswer {
            gate: "drift",
            value: report.and_then(|r| r.heavy_breached_share),
            limit: Some(drift::HEAVY_BREACHED_SHARE_MAX),
            comparison: "<=, or the information coefficient of 14 days above 0",
            passed: !failing,
        },
        GateAnswer {
            gate: "encoder_fit",
            value: reconstruction.map(|r| r.share_above),
            limit: Some(drift::RECONSTRUCTION_SHARE_MAX),
            comparison: "<=",
            passed: !report.is_some_and(drift::encoder_misfit),
        },
    ]
}

/// Trades at which a coin's own average counts for one half.
const SHRINK_TRADES: f64 = 300.0;

/// Judges the run.
pub fn verdicts(engine: &Engine<'_>, survey: &Survey, plan: &Plan, trials: &Trials) -> Verdicts {
    let settings = engine.settings;
    engine.observer.stage_started("verdicts", 3);
    let deployed: Vec<Deployed> = (0..plan.folds.len()).map(|f| deploy(settings, trials, f)).collect();
    let days = test_days(plan);
    let judged: Vec<usize> = (0..survey.coins.len())
        .filter(|&i| trials.coins[i].as_ref().is_some_and(|t| t.heads[Lane::Plain.at()].is_some()))
        .collect();
    let trial = |i: usize| trials.coins[i].as_ref().expect("judged coins have a trial");
    // Sharing: paired days at equal policies, and causally who had to do without in which fold.
    let tested = plan.tested().len();
    let side_at = |side: Side, f: usize| match side {
        Side::Lane(lane) => lane,
        Side::BestEncoder => deployed[f].encoded.unwrap_or(Lane::Plain),
        Side::BestWithoutIt => deployed[f].encoded.unwrap_or(Lane::Plain).without_encoder(),
        Side::Deployed => deployed[f].lane,
    };
    let side_days = |i: usize, side: Side, folds: usize| -> Vec<f64> {
        let mut daily = vec![0.0; days];
        let trades = |f: usize| side != Side::Deployed || !deployed[f].policy.is_zero;
        for f in (0..folds).filter(|&f| trades(f)) {
            add_days(&mut daily, &trial(i).records[f][side_at(side, f).at()][deployed[f].policy.index]);
        }
        daily
    };
    let difference = |i: usize, c: &Comparison, folds: usize| -> Vec<f64> {
        let without = side_days(i, c.without, folds);
        side_days(i, c.with, folds).iter().zip(without).map(|(a, b)| a - b).collect()
    };
    let rate = settings.trade_gates.false_discovery_rate;
    let MetricOptions { hac_lag_days: lag, mean_block_days, .. } = settings.metric_options(settings.seed);
    let hurt_by = |comparison: &Comparison| -> Vec<Vec<bool>> {
        let before = |f: usize| {
            let fold_end =
                plan.folds[f].test.map_or(days, |(start, _)| (start.day() - plan.test_start.day()) as usize);
            let past: Vec<Vec<f64>> =
                judged.iter().map(|&i| difference(i, comparison, f)[..fold_end].to_vec()).collect();
            hurt(&past, rate, lag)
        };
        (0..=tested).map(before).collect()
    };
    let [by_encoder, .., by_pooling] = &COMPARISONS;
    let (hurt_by_encoder, hurt_by_pooling) = (hurt_by(by_encoder), hurt_by(by_pooling));
    let is_tried = |side: Side| match side {
        Side::Lane(lane) => trials.tried.contains(&lane),
        Side::BestEncoder | Side::BestWithoutIt => trials.tried.iter().any(|l| l.encoder().is_some()),
        Side::Deployed => true,
    };
    let sharing: Vec<Compared> = COMPARISONS
        .iter()
        .filter(|c| is_tried(c.with) && is_tried(c.without))
        .map(|comparison| {
            let differences: Vec<Vec<f64>> =
                judged.iter().map(|&i| difference(i, comparison, tested)).collect();
            let all: Vec<f64> = (0..days).map(|d| mean(differences.iter().map(|c| c[d]))).collect();
            let seed = settings.seed.child("sharing", 0);
            Compared {
                comparison: *comparison,
                coins: gains(&differences, rate, mean_block_days, lag, seed),
                pooled: gains(&[all], rate, mean_block_days, lag, seed)[0],
            }
        })
        .collect();
    engine.observer.stage_advanced("verdicts", 1, "sharing");
    let lane_of = |position: usize, f: usize| {
        let lane = deployed[f].lane;
        if !lane.is_unpooled() && hurt_by_pooling[f][position] {
            Lane::Unpooled
        } else if hurt_by_encoder[f][position] {
            lane.without_encoder()
        } else {
            lane
        }
    };
    let nothing = FoldRecord::default();
    let records: Vec<Vec<&FoldRecord>> = judged
        .iter()
        .enumerate()
        .map(|(n, &i)| {
            let of = |f: usize| match deployed[f].policy.is_zero {
                true => &nothing,
                false => &trial(i).records[f][lane_of(n, f).at()][deployed[f].policy.index],
            };
            (0..tested).map(of).collect()
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
    let lanes_tried = trials.tried.iter().filter(|lane| lane.may_deploy(settings)).count();
    let variants_tried = lanes_tried * policy_grid(settings).len() + 1;
    let tried = PriorTrials {
        until: survey.until,
        variants: variants_tried,
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
    let experts = experts::experts(
        settings,
        plan,
        trials,
        &deployed,
        &judged,
        &(0..days).map(|d| mean(daily.iter().map(|c| c[d]))).collect::<Vec<f64>>(),
    );
    let overfitting = experts::overfitting(settings, plan, trials, &judged);
    let recent_ic = recent_ic(settings, &trials.panel);
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
            let mut gates = gates;
            // What did not pay on the last validation is deployed as a head that never trades.
            let policy = &deployed[tested].policy;
            gates.push(GateAnswer {
                gate: "policy_trades",
                value: Some(policy.validation_net_bps[policy.index]),
                limit: Some(0.0),
                comparison: ">",
                passed: !policy.is_zero,
            });
            Draft { ok: trade_ok(&gates), gates, oos_bars }
        })
        .collect();
    let mut coins = Vec::with_capacity(judged.len());
    for (n, (&i, draft)) in judged.iter().zip(inputs).enumerate() {
        let final_lane = lane_of(n, tested);
        let Some(head) = trial(i).heads[final_lane.at()].clone() else { continue };
        let context = CoinContext {
            settings,
            survey,
            plan,
            trial: trial(i),
            deployed: &deployed,
            tried: &trials.tried,
            days,
        };
        coins.push(context.verdict(Parts {
            index: i,
            lane: final_lane,
            lanes: (0..tested).map(|f| lane_of(n, f)).collect(),
            metrics: measured[n].clone(),
            daily: daily[n].clone(),
            records: &records[n],
            sharing: sharing.iter().find(|c| c.comparison.code == ENCODER).map(|c| c.coins[n]),
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
        deployed,
        lane_ics: trials.tried.iter().map(|&lane| (lane, lane_ic(trials, lane, tested))).collect(),
        sharing,
        variants_tried,
        universe_net_pct,
        placebo_net_pct,
        universe_daily_net_bps: universe_daily,
        ics,
        book,
        experts,
        overfitting,
        recent_ic,
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
    lane: Lane,
    lanes: Vec<Lane>,
    metrics: Metrics,
    daily: Vec<f64>,
    records: &'a [&'a FoldRecord],
    sharing: Option<SharingGain>,
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
    deployed: &'a [Deployed],
    tried: &'a [Lane],
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
            windows: self.windows(parts.records, &parts.lanes),
            agreement: None,
            baselines: self.baselines(),
            encoder_gain: parts.sharing.unwrap_or(NO_GAIN),
            q_value: parts.q_value,
            shrunk_trade_bps: (n * own + SHRINK_TRADES * parts.pool_trade_bps) / (n + SHRINK_TRADES),
            one_side_bps: mean(judged.iter().map(|f| f.one_side_bps)),
            oos_bars: parts.draft.oos_bars,
            product_ok: product_gates_ok(&parts.draft.gates),
            gates: parts.draft.gates,
            trade_ok: parts.draft.ok,
            lane: parts.lane,
            lanes: parts.lanes,
            head: parts.head,
            hedged: hedged(self.settings, coin.symbol.market()),
            by_regime: by_regime(
                self.plan,
                &parts
                    .records
                    .iter()
                    .flat_map(|r| r.trades.iter().copied().zip(r.regimes.iter().copied()))
                    .collect::<Vec<_>>(),
                &self.trial.regime_shares,
            ),
            regime: self.trial.regime,
            explained: Explained::default(),
            drift_action: DriftAction::None,
            promotion_held: false,
            metrics: parts.metrics,
            daily_net_bps: parts.daily,
        }
    }

    fn windows(&self, records: &[&FoldRecord], lanes: &[Lane]) -> Vec<Window> {
        let tests = self.plan.tested().iter().filter_map(|f| f.test);
        tests
            .zip(records)
            .zip(&self.trial.folds)
            .enumerate()
            .map(|(f, ((test, record), facts))| {
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
                    ic: self.trial.test_scores[f][lanes[f].at()].correlation(),
                }
            })
            .collect()
    }

    fn baselines(&self) -> Vec<Baseline> {
        let lane = |name, kept: usize| {
            let mut daily = vec![0.0; self.days];
            let mut trades = 0;
            for (f, fold) in self.trial.records.iter().enumerate() {
                let record = &fold[kept][self.deployed[f].policy.index];
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
        let zero = Baseline { name: "zero", net_pnl_pct: 0.0, sharpe: None, trades: 0 };
        let tried = self.tried.iter().copied();
        let lanes = tried.map(|l| lane(l.code(), l.at()));
        [hold, zero].into_iter().chain(lanes).chain([lane("pooled_head", POOLED)]).collect()
    }
}

/// UTC days touched by the test span.
pub fn test_days(plan: &Plan) -> usize {
    ((plan.test_end.0 - 1).div_euclid(UtcMs::DAY) - plan.test_start.day() + 1).max(1) as usize
}

/// Adds a record's days.
pub fn add_days(daily: &mut [f64], record: &FoldRecord) {
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

/// Coins without any comparison.
const NO_GAIN: SharingGain =
    SharingGain { mean_bps: 0.0, interval_bps: None, verdict: SharingVerdict::Undecided };

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
