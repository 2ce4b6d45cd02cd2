//! What a run found out beyond its coins' records, as the report page shows it: sharing, what was
//! tried, features, regimes, drift, champions. Figures are those of the verdicts; sums over coins and
//! names for people are all that is added.

use super::bank;
use crate::engine::Outcome;
use crate::engine::lanes::Lane;
use crate::engine::tape::policy_grid;
use crate::engine::verdicts::{CoinVerdict, Compared};
use crate::report::{
    BankFeature, ChampionEvent, Drift, DriftRow, EpochLoss, Lift, MetaLearner, MetaWeights, RegimeResult,
    Regimes, Sharing, Variant, Variants,
};
use crate::settings::Settings;
use huracan_core::bank::{aggregate, shared_features, worth};
use huracan_core::drift::{DriftAction, DriftReport, FeatureDrift};
use huracan_core::regime::Regime;
use huracan_core::stats::moments::variance;
use huracan_core::stats::sharpe::{SharpeSample, sharpe};
use huracan_core::words::UtcMs;
use huracan_store::formats::promotion::{EventKind, Promotion};
use std::collections::BTreeMap;

/// Heavy features in the drift map.
const DRIFT_ROWS: usize = 30;

/// Every comparison; nothing where no coin was judged.
pub(super) fn sharing(outcome: &Outcome) -> Vec<Sharing> {
    let coins = &outcome.verdicts.coins;
    if coins.is_empty() {
        return Vec::new();
    }
    outcome.verdicts.sharing.iter().map(|compared| one_sharing(outcome, compared)).collect()
}

fn one_sharing(outcome: &Outcome, compared: &Compared) -> Sharing {
    let (with, without) = sides(compared.comparison.code);
    let (helped, hurt, undecided) = compared.counts();
    let coins = outcome.verdicts.coins.iter().zip(&compared.coins).filter_map(|(v, gain)| {
        let [low_bps, high_bps] = gain.interval_bps?;
        Some(Lift {
            symbol: outcome.survey.coins[v.index].symbol.to_string(),
            mean_bps: gain.mean_bps,
            low_bps,
            high_bps,
            verdict: gain.verdict.code().to_owned(),
        })
    });
    Sharing {
        with: with.to_owned(),
        without: without.to_owned(),
        helped,
        hurt,
        undecided,
        mean_bps: Some(compared.pooled.mean_bps),
        interval_bps: compared.pooled.interval_bps,
        coins: coins.collect(),
    }
}

/// The two sides of a comparison in words.
fn sides(code: &str) -> (&str, &str) {
    match code {
        "encoder" => ("best encoder", "none"),
        "pca" => ("PCA", "none"),
        "rrr" => ("RRR", "none"),
        "autoencoder" => ("autoencoder", "none"),
        "pca_over_own_pca" => ("shared PCA", "own PCA"),
        "pooled_prior" => ("pooled prior", "own head"),
        "encoder_of_own_heads" => ("own head on PCA", "own head"),
        "trees" => ("trees", "ridge"),
        "sharing" => ("all that is deployed", "nothing shared"),
        other => (other, "without"),
    }
}

/// Head and encoder of a lane in words.
fn lane_words(lane: Lane) -> (&'static str, &'static str) {
    match lane {
        Lane::Plain => ("ridge", "none"),
        Lane::Pca => ("ridge", "PCA"),
        Lane::Rrr => ("ridge", "RRR"),
        Lane::OwnPca => ("ridge", "own PCA"),
        Lane::Unpooled => ("own ridge", "none"),
        Lane::UnpooledCodes => ("own ridge", "PCA"),
        Lane::Autoencoder => ("ridge", "autoencoder"),
        Lane::Trees => ("trees", "none"),
        Lane::TreesCoded => ("trees", "PCA"),
    }
}

/// Lanes by the evidence of the final fold, and what choosing among them may have been worth in luck.
///
/// The variance of the trials' Sharpe ratios is that over coins, as in each coin's own figure: the
/// daily results of every variant over all coins are not kept.
pub(super) fn variants(settings: &Settings, outcome: &Outcome) -> Variants {
    let verdicts = &outcome.verdicts;
    let coins = &verdicts.coins;
    let sharpes: Vec<f64> = coins.iter().filter_map(|v| sharpe(&v.daily_net_bps)).collect();
    let deflated = SharpeSample::of(&verdicts.universe_daily_net_bps)
        .zip(variance(&sharpes))
        .and_then(|(sample, variance)| sample.deflated(verdicts.variants_tried.max(1), variance));
    Variants {
        rows: lane_rows(settings, outcome),
        tried: verdicts.variants_tried,
        tried_ever: None,
        deflated_sharpe: deflated,
        overfitting_probability: verdicts.overfitting.as_ref().map(|o| o.pbo),
    }
}

fn lane_rows(settings: &Settings, outcome: &Outcome) -> Vec<Variant> {
    let (plan, verdicts) = (&outcome.plan, &outcome.verdicts);
    let Some(last) = verdicts.deployed.last() else { return Vec::new() };
    let coins = verdicts.coins.len().max(1) as f64;
    let validated_ms: i64 = plan.folds.iter().map(|f| f.train_end.0 - f.validation_start.0).sum();
    let validated_days = validated_ms as f64 / UtcMs::DAY as f64;
    let test_days = verdicts.universe_daily_net_bps.len().max(1) as f64;
    let policies = policy_grid(settings).len();
    let tested_bps = |lane: Lane| {
        let of = |v: &CoinVerdict| v.baselines.iter().find(|b| b.name == lane.code()).map(|b| b.net_pnl_pct);
        let nets: Vec<f64> = verdicts.coins.iter().filter_map(of).collect();
        (!nets.is_empty()).then(|| 100.0 * nets.iter().sum::<f64>() / nets.len() as f64 / test_days)
    };
    let mut rows: Vec<Variant> = last
        .evidence
        .iter()
        .map(|evidence| {
            let (head, encoder) = lane_words(evidence.lane);
            let net = evidence.validation_net_bps / coins / validated_days;
            Variant {
                head: head.to_owned(),
                encoder: encoder.to_owned(),
                validation_ic: evidence.validation_ic,
                validation_net_bps: Some(net).filter(|net| net.is_finite()),
                test_net_bps: tested_bps(evidence.lane),
                test_ic: verdicts
                    .lane_ics
                    .iter()
                    .find(|(l, _)| *l == evidence.lane)
                    .and_then(|(_, ic)| ic.map(|ic| ic.mean)),
                tried: policies,
                chosen: evidence.lane == last.lane && !last.policy.is_zero,
            }
        })
        .collect();
    rows.push(Variant {
        head: "zero".to_owned(),
        encoder: "none".to_owned(),
        validation_ic: None,
        validation_net_bps: Some(0.0),
        test_net_bps: Some(0.0),
        test_ic: None,
        tried: 1,
        chosen: last.policy.is_zero,
    });
    rows
}

/// Features by what permuting them cost, and by their share of the heads' weights.
///
/// Coins live through the same days, so the error of a mean over coins is the mean of their errors.
pub(super) fn feature_bank(outcome: &Outcome) -> Vec<BankFeature> {
    let coins = &outcome.verdicts.coins;
    let known = aggregate(&bank::weights(outcome, coins.iter()));
    let measured = worth(&bank::deltas(outcome, coins.iter()));
    let shared = shared_features(&measured);
    let error = |name: &String| {
        let of = |v: &CoinVerdict| v.explained.deltas.get(name).map(|delta| delta.std_error_bps);
        mean(coins.iter().filter_map(of))
    };
    let feature = |(name, entry): (&String, &huracan_core::bank::FeatureEntry)| {
        let found = measured.get(name);
        let (helped, hurt) = found.map_or((0, 0), |w| (w.helped.len(), w.hurt.len()));
        BankFeature {
            name: name.clone(),
            delta_net_bps: found.map(|w| w.mean_delta_net_bps),
            delta_error_bps: error(name),
            helped,
            hurt,
            neither: found.map_or(0, |w| w.coins.saturating_sub(helped + hurt)),
            weight_share: Some(entry.avg_importance),
            coins_using: entry.symbols_using.len(),
            shared: shared.contains(name),
        }
    };
    known.iter().map(feature).collect()
}

/// Results by regime over all coins, and the mixture of experts. The Sharpe ratio of a regime's days
/// over all coins is not known: each coin keeps its own.
pub(super) fn regimes(outcome: &Outcome) -> Regimes {
    let coins = &outcome.verdicts.coins;
    let bars: f64 = coins.iter().map(|v| v.oos_bars as f64).sum();
    let tag = |regime: Regime| {
        let of = || coins.iter().flat_map(|v| v.by_regime.iter().filter(move |r| r.regime == regime));
        let trades: usize = of().map(|r| r.trades).sum();
        let net_pct: f64 = of().map(|r| r.net_pnl_pct).sum();
        let won: f64 = of().filter_map(|r| Some(r.hit_rate? * r.trades as f64)).sum();
        let spent: f64 = coins
            .iter()
            .flat_map(|v| {
                v.by_regime.iter().filter(|r| r.regime == regime).map(|r| r.share * v.oos_bars as f64)
            })
            .sum();
        RegimeResult {
            tag: regime.code().to_owned(),
            time_share: (bars > 0.0).then(|| spent / bars),
            coins_now: coins.iter().filter(|v| v.regime == regime).count(),
            trades,
            net_per_trade_bps: (trades > 0).then(|| 100.0 * net_pct / trades as f64),
            sharpe: None,
            hit_rate: (trades > 0).then(|| won / trades as f64),
        }
    };
    let tags = Regime::ALL.into_iter().map(tag);
    Regimes {
        tags: tags.filter(|t| t.trades > 0 || t.coins_now > 0 || t.time_share > Some(0.0)).collect(),
        meta: meta_learner(outcome),
    }
}

fn meta_learner(outcome: &Outcome) -> Option<MetaLearner> {
    let experts = outcome.verdicts.experts.as_ref()?;
    let name = |code: &String| match code.as_str() {
        "with_codes" => "with codes".to_owned(),
        "without_codes" => "without codes".to_owned(),
        other => other.to_owned(),
    };
    let weights = experts.path.final_weights.iter().filter(|(_, w)| w.trades > 0).map(|(regime, w)| {
        MetaWeights { tag: regime.code().to_owned(), weights: w.weights.clone(), trades: w.trades as usize }
    });
    Some(MetaLearner {
        experts: experts.path.experts.iter().map(name).collect(),
        weights: weights.collect(),
        gain_bps: experts.gain.map(|g| g.mean_bps),
        interval_bps: experts.gain.and_then(|g| g.interval_bps),
        used: experts.gain.is_some_and(|g| g.used),
    })
}

/// How many coins ask for which action, mildest first; coins whose week could not be compared are
/// left out.
pub fn drift_actions(outcome: &Outcome) -> Vec<(DriftAction, usize)> {
    let compared: Vec<&CoinVerdict> =
        outcome.verdicts.coins.iter().filter(|v| v.explained.drift.is_some()).collect();
    let all = [DriftAction::None, DriftAction::Warn, DriftAction::NoPromotion, DriftAction::RefitEncoder];
    let count = |action| compared.iter().filter(|v| v.drift_action == action).count();
    all.into_iter().map(|action| (action, count(action))).collect()
}

/// The last week of every coin against training: the features that are heavy in most heads. What the
/// run as a whole should do is what at least half of the coins ask for.
pub(super) fn drift(outcome: &Outcome) -> Option<Drift> {
    let named = |v: &CoinVerdict| outcome.survey.coins[v.index].symbol.to_string();
    let coins = outcome.verdicts.coins.iter();
    let reports: Vec<(String, &DriftReport)> =
        coins.filter_map(|v| Some((named(v), v.explained.drift.as_ref()?))).collect();
    if reports.is_empty() {
        return None;
    }
    let actions = drift_actions(outcome);
    let half = reports.len().div_ceil(2);
    let mut asked = 0;
    let action = actions.iter().rev().find(|(_, coins)| {
        asked += coins;
        asked >= half
    });
    let words = |(action, coins): &(DriftAction, usize)| {
        let words = match action {
            DriftAction::None => "ask for nothing",
            DriftAction::Warn => "are to be watched",
            DriftAction::NoPromotion => "are not to be promoted",
            DriftAction::RefitEncoder => "ask for another encoder",
        };
        (*coins > 0).then(|| format!("{coins} {words}"))
    };
    let counted: Vec<String> = actions.iter().filter_map(words).collect();
    Some(Drift {
        action: action.map_or(DriftAction::None, |(action, _)| *action).code().to_owned(),
        reason: format!("Of {} coins {}", reports.len(), counted.join(", ")),
        across: "coins".to_owned(),
        columns: reports.iter().map(|(symbol, _)| symbol.clone()).collect(),
        rows: drift_rows(&reports),
        heavy_breached_share: mean(reports.iter().filter_map(|(_, r)| r.heavy_breached_share)),
        recent_ic: outcome.verdicts.recent_ic,
        reconstruction_share: mean(reports.iter().filter_map(|(_, r)| Some(r.reconstruction?.share_above))),
    })
}

/// PSI over its limit for the features that are heavy in most coins' heads.
fn drift_rows(reports: &[(String, &DriftReport)]) -> Vec<DriftRow> {
    let mut heavy: BTreeMap<&str, usize> = BTreeMap::new();
    for feature in reports.iter().flat_map(|(_, r)| r.features.iter()) {
        *heavy.entry(&feature.name).or_default() += usize::from(feature.heavy);
    }
    let mut names: Vec<(&str, usize)> = heavy.into_iter().filter(|(_, coins)| *coins > 0).collect();
    names.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    names.truncate(DRIFT_ROWS);
    let ratio = |f: &FeatureDrift| Some(f.psi? / f.psi_max.filter(|max| *max > 0.0)?);
    let of =
        |report: &DriftReport, name: &str| report.features.iter().find(|f| f.name == name).and_then(ratio);
    let row = |(name, _): &(&str, usize)| DriftRow {
        name: (*name).to_owned(),
        ratios: reports.iter().map(|(_, report)| of(report, name)).collect(),
    };
    names.iter().map(row).collect()
}

/// Loss by epoch of the shared autoencoder in force, and the epoch whose weights were kept, from 1.
pub(super) fn training_loss(outcome: &Outcome) -> (Vec<EpochLoss>, Option<usize>) {
    let epochs = outcome.extra.autoencoder().map_or(&[][..], |encoder| &encoder.training_loss);
    let kept = (0..epochs.len()).reduce(|a, b| if epochs[b].holdout < epochs[a].holdout { b } else { a });
    let finite = |v: f64| Some(v).filter(|v| v.is_finite());
    let loss = epochs.iter().map(|e| EpochLoss { train: finite(e.train), holdout: finite(e.holdout) });
    (loss.collect(), kept.map(|epoch| epoch + 1))
}

/// The champions' history as the page shows it.
pub fn champion_events(log: &[Promotion]) -> Vec<ChampionEvent> {
    log.iter()
        .map(|line| ChampionEvent {
            at_ms: line.event.at.0.0,
            symbol: line.event.symbol.to_string(),
            event: match line.event.event {
                EventKind::Promote => "promote",
                EventKind::Rollback => "rollback",
                EventKind::Reject => "reject",
                EventKind::EngineUpdate => "engine_update",
                EventKind::Expire => "expire",
            }
            .to_owned(),
            reason: line.event.promotion_reason.clone(),
            decided_by: line.event.decided_by.clone(),
        })
        .collect()
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.fold((0.0, 0.0), |(sum, n), v| (sum + v, n + 1.0));
    (n > 0.0).then(|| sum / n)
}
