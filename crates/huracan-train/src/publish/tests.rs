//! One small run, published in many ways.

use super::*;
use crate::engine::testing::settings;
use crate::engine::{self, Silent};
use crate::source::SynthSource;
use huracan_core::synth;
use huracan_core::words::{Seed, Symbol};
use huracan_store::champions::{self as pointers, Nomination};
use huracan_store::formats::champion::PromotedBy;
use huracan_store::formats::promotion::{EventKind, PromotionEvent};
use huracan_store::formats::roster::RosterLine;
use huracan_store::{MemoryStore, PutMode, StorePath, promotions, roster as rosters, verify};
use std::sync::OnceLock;

const RUN_ID: &str = "20250425T000000Z-00000001";

/// The run, made once.
fn outcome() -> &'static Outcome {
    static OUTCOME: OnceLock<Outcome> = OnceLock::new();
    OUTCOME.get_or_init(made)
}

fn made() -> Outcome {
    let spec = synth::MarketSpec {
        coins: 9,
        days: 175,
        planted_shared: 4,
        planted_private: 2,
        stablecoins: 1,
        dirty: 0,
        late_listings: 0,
        thin: 0,
        outages: 0,
        ..synth::MarketSpec::default()
    };
    engine::testing::run_with(&settings(), 2, &SynthSource::new(&spec)).unwrap()
}

fn stamp() -> Stamp {
    Stamp { run_id: RUN_ID.to_owned(), config_id: "ab".repeat(32), code_version: "0.1.0".to_owned() }
}

fn publish_into(store: &dyn Store) -> Result<Published, PublishError> {
    publish_of(store, outcome())
}

fn publish_of(store: &dyn Store, outcome: &Outcome) -> Result<Published, PublishError> {
    let (settings, stamp, stop) = (settings(), stamp(), AtomicBool::new(false));
    publish(&Publication {
        store,
        settings: &settings,
        outcome,
        stamp: &stamp,
        workers: 2,
        stop: &stop,
        observer: &Silent,
        jobs: &crate::jobs::Here,
    })
}

fn content(store: &MemoryStore) -> Vec<(String, Vec<u8>)> {
    let paths = store.list(None).unwrap();
    let read = |path: &StorePath| store.get(path).unwrap().unwrap().bytes;
    paths.iter().map(|entry| (entry.path.to_string(), read(&entry.path))).collect()
}

fn models_of(store: &MemoryStore) -> Vec<models::Model> {
    let (roster, _) = rosters::read(store).unwrap().unwrap();
    let path = |line: &RosterLine| StorePath::new(line.model_path.clone());
    roster.symbols.iter().map(|line| models::read_model(store, &path(line).unwrap()).unwrap()).collect()
}

#[test]
fn every_coin_is_published_once_verifies_and_repeats_to_the_byte() {
    let store = MemoryStore::default();
    let published = publish_into(&store).unwrap();
    let survey = &outcome().survey;
    let total = survey.coins.len() + survey.skipped.len() + survey.failed.len();
    assert_eq!(published.roster.total_symbols as usize, total);
    assert_eq!(published.champions_moved, published.roster.symbols.len());
    assert!(published.roster.symbols.len() >= 7 && published.failed.is_empty());
    for line in &published.roster.symbols {
        let report = verify::verify_symbol(&store, &line.symbol, None);
        assert!(report.is_ok(), "{:#?}", report.rows);
    }
    let before = content(&store);
    let again = publish_into(&store).unwrap();
    assert_eq!((again.champions_moved, again.champions_kept), (0, 0));
    assert_eq!(content(&store), before);
}

/// Every way of making a head, deployed: what its files say of a row is what the Engine would say.
#[test]
fn files_of_every_variant_score_a_row_as_the_engine_does() {
    use crate::engine::lanes::Lane;
    use crate::engine::statistics::Stage;
    use huracan_store::formats::onnx::Scorer;
    let spec = synth::MarketSpec {
        coins: 7,
        days: 175,
        planted_shared: 5,
        stablecoins: 0,
        dirty: 0,
        late_listings: 0,
        thin: 0,
        outages: 0,
        ..synth::MarketSpec::default()
    };
    let lanes = [Lane::Plain, Lane::Pca, Lane::Rrr, Lane::UnpooledCodes, Lane::Autoencoder];
    for lane in lanes.into_iter().chain([Lane::Trees, Lane::TreesCoded]) {
        let mut settings = settings();
        settings.heads.deploy = vec![lane];
        let outcome = engine::testing::run_with(&settings, 2, &SynthSource::new(&spec)).unwrap();
        let store = MemoryStore::default();
        let (stamp, stop) = (stamp(), AtomicBool::new(false));
        let publication = Publication {
            store: &store,
            settings: &settings,
            outcome: &outcome,
            stamp: &stamp,
            workers: 2,
            stop: &stop,
            observer: &Silent,
            jobs: &crate::jobs::Here,
        };
        publish(&publication).unwrap();
        let last = outcome.plan.folds.len() - 1;
        let stage = Stage::Full.at(last);
        let pool = &outcome.pools.stages[stage];
        let mut deployed = 0;
        for model in models_of(&store) {
            let head = &model.artifacts.head;
            let of = |v: &&CoinVerdict| outcome.survey.coins[v.index].symbol == head.symbol.0;
            let verdict = outcome.verdicts.coins.iter().find(of).unwrap();
            let (own, p) = (&verdict.head, verdict.head.weights.len());
            deployed += usize::from(own.lane == lane);
            let encoder =
                head.encoder_id.as_ref().map(|id| huracan_store::encoder::load(&store, id).unwrap());
            assert_eq!(encoder.is_some(), own.lane.encoder().is_some(), "{lane:?}");
            let scorer = Scorer::of(head, &model.artifacts.features, encoder.as_ref(), Default::default());
            // The missing share is made from the row: one that misses nothing has -1.
            let mut z: Vec<f64> = (0..p).map(|i| ((i * 37 % 11) as f64 - 5.0) / 3.0).collect();
            z[p - 1] = -1.0;
            let scaler = &model.artifacts.features.scaler;
            let row: Vec<f64> = (0..p - 1).map(|i| scaler.center[i] + scaler.scale[i] * z[i]).collect();
            let found = scorer.unwrap().score(&row, 0.01).score;
            let linear = (0..p).filter(|&i| pool.deviation[i] > 0.0);
            let mut expected: f64 =
                linear.map(|i| own.weights[i] * (z[i] - own.mean[i]) / pool.deviation[i]).sum();
            let z = faer::Mat::from_fn(1, p, |_, j| z[j]);
            let half = crate::engine::extra::half(head.symbol.0.underlying());
            let codes = outcome.extra.codes_of(&outcome.pools, z.as_ref(), half, last, Stage::Full);
            for (c, w) in own.code_weights.iter().enumerate() {
                expected += w * (codes[(0, c)] - own.code_mean[c]);
            }
            let error = (found - expected).abs();
            assert!(error < 1e-5 * (1.0 + expected.abs()), "{lane:?}: {found} {expected}");
        }
        assert!(deployed > 3, "{lane:?} was hardly deployed");
    }
}

#[test]
fn figures_of_the_files_are_those_of_the_verdicts() {
    let store = MemoryStore::default();
    publish_into(&store).unwrap();
    for model in models_of(&store) {
        let metrics = &model.artifacts.metrics;
        let daily = metrics.daily.as_ref().unwrap();
        assert!((daily.net_bps.iter().sum::<f64>() / 100.0 - metrics.net_pnl_pct).abs() < 1e-6);
        assert_eq!(daily.first_day, outcome().plan.test_start.date());
        assert_eq!(metrics.windows.len(), 3);
        let trades: u64 = metrics.windows.iter().map(|w| w.trades).sum();
        assert_eq!(trades, metrics.sample_size);
        if let Some(used) = &metrics.costs_used {
            let p = &used.round_trip;
            let parts = p.fee_bps + p.spread_bps + p.slippage_bps + p.funding_bps + p.remainder_bps.unwrap();
            assert!((parts - used.total_bps).abs() < 1e-9);
        }
        assert!(model.artifacts.head.decision_threshold_bps > 0.0);
    }
}

/// The verdict on a coin, by its symbol.
fn verdict_of(symbol: &huracan_store::formats::wire::Coin) -> &'static CoinVerdict {
    let is = |v: &&CoinVerdict| outcome().survey.coins[v.index].symbol == symbol.0;
    outcome().verdicts.coins.iter().find(is).unwrap()
}

#[test]
fn a_coins_file_tells_of_sharing_lanes_regimes_and_drift() {
    let store = MemoryStore::default();
    publish_into(&store).unwrap();
    let tried = crate::engine::lanes::Lane::ALL.iter().filter(|lane| lane.is_tried(&settings())).count();
    let mut with_trades = 0;
    for model in models_of(&store) {
        let metrics = &model.artifacts.metrics;
        let verdict = verdict_of(&metrics.symbol);
        let gain = metrics.encoder_gain.as_ref().unwrap();
        assert_eq!(&metrics.sharing["encoder"], gain);
        assert_eq!(metrics.sharing.len(), outcome().verdicts.sharing.len());
        assert!(metrics.sharing.contains_key("pca_over_own_pca"));
        assert_eq!(metrics.variant.as_deref(), Some(verdict.lane.code()));
        assert_eq!(metrics.baselines.lanes.len(), tried);
        assert_eq!(metrics.baselines.lanes.get("ridge"), metrics.baselines.without_encoder.as_ref());
        assert_eq!(metrics.regime.as_deref(), Some(verdict.regime.code()));

        let regimes = metrics.by_regime.values();
        let (trades, net): (u64, f64) =
            regimes.clone().fold((0, 0.0), |(n, net), r| (n + r.trades, net + r.net_pnl_pct));
        assert_eq!(trades, metrics.sample_size);
        let all = metrics.avg_trade_bps.unwrap_or(0.0) * trades as f64 / 100.0;
        assert!((net - all).abs() < 1e-6, "{net} {all}");
        let bars = regimes.clone().map(|r| r.bars).sum::<u64>();
        assert!(bars.abs_diff(metrics.oos_bars) <= 5, "{bars} {}", metrics.oos_bars);
        assert!(regimes.clone().all(|r| r.avg_trade_bps.is_some() == (r.trades > 0)));
        with_trades += usize::from(trades > 0);

        let drift = metrics.drift.as_ref().unwrap();
        assert_eq!(drift.action, verdict.drift_action.code());
        assert_eq!(drift.coverage, verdict.explained.drift.as_ref().unwrap().coverage);
    }
    assert!(with_trades > 0);
}

#[test]
fn the_bank_shares_what_permutation_found_and_orders_the_rest() {
    let store = MemoryStore::default();
    publish_into(&store).unwrap();
    let (bank, _) = huracan_store::bank::read(&store).unwrap().unwrap();
    let priority = bank.priority.as_ref().unwrap();
    assert_eq!(priority.len(), outcome().feature_names.len());
    let scores: Vec<f64> = priority.iter().map(|name| bank.features[name].score).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    let enough = |name: &String| bank.features[name].helped >= 5;
    assert!(bank.shared_features.iter().all(enough), "{:?}", bank.shared_features);

    let mut moved = 0;
    for (name, feature) in &bank.features {
        let coins = bank.symbols.values().filter_map(|coin| coin.delta_net_bps.get(name));
        let deltas: Vec<f64> = coins.copied().collect();
        let mean = deltas.iter().sum::<f64>() / deltas.len() as f64;
        let told = feature.mean_delta_net_bps.unwrap();
        assert!((told - mean).abs() < 1e-9, "{name}: {told} {mean}");
        let (up, down) = (deltas.iter().filter(|d| **d > 0.0), deltas.iter().filter(|d| **d < 0.0));
        assert!(feature.helped <= up.count() as u64 && feature.hurt <= down.count() as u64);
        moved += usize::from(told != 0.0);
    }
    assert!(moved > 10, "{moved}");
    for (symbol, coin) in &bank.symbols {
        let verdict = verdict_of(symbol);
        assert_eq!(coin.delta_net_bps.len(), verdict.explained.deltas.len());
        let sum: f64 = coin.feature_importance.values().sum();
        assert!((sum - 1.0).abs() < 1e-9);
    }
}

#[test]
fn the_meta_learner_is_written_and_says_whether_it_pays() {
    let store = MemoryStore::default();
    publish_into(&store).unwrap();
    let written = huracan_store::meta_learner::read(&store).unwrap().unwrap();
    let experts = outcome().verdicts.experts.as_ref().unwrap();
    let gain = experts.gain.unwrap();
    assert_eq!((written.run_id.as_str(), written.used), (RUN_ID, Some(gain.used)));
    assert_eq!(written.gain.as_ref().unwrap().mean_net_bps, gain.mean_bps);
    assert_eq!(written.regimes.len(), experts.path.final_weights.len());
    for (regime, weights) in &experts.path.final_weights {
        let told = &written.regimes[regime.code()];
        let told = [told.with_codes, told.without_codes, told.pooled, told.zero];
        assert_eq!(told.as_slice(), weights.weights.as_slice(), "{regime}");
    }
}

#[test]
fn a_round_trip_is_the_same_in_roster_threshold_and_capacity() {
    let store = MemoryStore::default();
    let roster = publish_into(&store).unwrap().roster;
    let bitcoin = roster.symbols.iter().find(|line| line.symbol.0.underlying() == "BTC").unwrap();
    let taker = |line: &RosterLine| 2.0 * line.fee_bps + line.spread_bps + 2.0 * line.avg_slip_bps;
    let policy = &outcome().verdicts.deployed.last().unwrap().policy;
    assert!(!policy.is_zero);
    let multiple = policy.multiple;
    let mut with_capacity = 0;
    for (line, model) in roster.symbols.iter().zip(models_of(&store)) {
        // Relative labels on perpetuals are hedged; 24 hours hold three fundings of 1 bps.
        let beyond = taker(bitcoin) + 3.0;
        assert!((line.total_cost_bps - taker(line) - beyond).abs() < 1e-9, "{line:#?}");
        let threshold = model.artifacts.head.decision_threshold_bps;
        assert!((threshold - multiple * line.total_cost_bps).abs() < 1e-9);
        let (metrics, head) = (&model.artifacts.metrics, &model.artifacts.head);
        let size: f64 = head.metadata[head::POSITION_SIZE].parse().unwrap();
        let edge = 100.0 * metrics.gross_pnl_pct / metrics.sample_size.max(1) as f64 / size;
        let left = edge - beyond - 2.0 * line.fee_bps - line.spread_bps;
        assert_eq!(line.capacity_usd.is_some(), left > 0.0);
        assert_eq!(line.regime, verdict_of(&line.symbol).regime.code());
        if let Some(usd) = line.capacity_usd {
            // At capacity a round trip leaves nothing, or the order is a hundredth of a day's volume.
            let root = (usd / settings().costs.reference_order_usd).sqrt();
            let eaten = (2.0 * line.avg_slip_bps * root - left).abs() < 1e-6 * left;
            assert!(eaten || (usd - 0.01 * line.adv_usd).abs() < 1e-6 * usd, "{line:#?}");
            assert!(usd <= 0.01 * line.adv_usd * (1.0 + 1e-12));
        }
        with_capacity += usize::from(left > 0.0);
    }
    assert!(with_capacity > 0);
}

/// Publishes champions of a day before whose record is shifted by `shift_bps` a day, with a little
/// noise of its own.
fn predecessors(store: &MemoryStore, shift_bps: f64) {
    predecessors_until(store, shift_bps, 7 * UtcMs::DAY);
}

/// The same, fit for use for `life_ms` from their day on.
fn predecessors_until(store: &MemoryStore, shift_bps: f64, life_ms: i64) {
    predecessors_by(store, shift_bps, life_ms, PromotedBy::Engine, |_| ());
}

/// The same, put in force by `promoted_by`, their figures spoilt.
fn predecessors_by(
    store: &MemoryStore,
    shift_bps: f64,
    life_ms: i64,
    promoted_by: PromotedBy,
    spoil: fn(&mut huracan_store::formats::metrics::Metrics),
) {
    let made = MemoryStore::default();
    publish_into(&made).unwrap();
    let until = UtcMs(outcome().survey.until.0 - UtcMs::DAY);
    if let Some(encoder) = huracan_store::encoder::in_force(&made).unwrap() {
        huracan_store::encoder::publish(store, &encoder).unwrap();
    }
    for (n, model) in models_of(&made).into_iter().enumerate() {
        let mut artifacts = model.artifacts;
        let daily = artifacts.metrics.daily.as_mut().unwrap();
        for (day, net) in daily.net_bps.iter_mut().enumerate() {
            let noise = Seed(n as u64).child("noise", day as u64).0 as f64 / u64::MAX as f64 - 0.5;
            *net += shift_bps + noise;
        }
        artifacts.metrics.trade_ok = false;
        spoil(&mut artifacts.metrics);
        let folder = ModelFolder::Baseline(until);
        let written = models::write_model_folder(store, folder, &artifacts, &model.manifest.lineage).unwrap();
        let nomination = Nomination {
            model_path: written.path,
            trade_ok: false,
            promoted_by,
            at: until,
            expires_at: UtcMs(until.0 + life_ms),
        };
        pointers::point(store, &nomination, None).unwrap();
    }
}

/// What this run's publication decided.
fn decisions(store: &MemoryStore) -> Vec<PromotionEvent> {
    let log = promotions::read(store).unwrap().into_iter().map(|line| line.event);
    log.filter(|event| event.at.0 == outcome().survey.until).collect()
}

fn events(store: &MemoryStore) -> Vec<(EventKind, String)> {
    decisions(store).into_iter().map(|event| (event.event, event.promotion_reason)).collect()
}

/// Takes this run's decisions out of the log, as if the process had died before they were written.
fn forget_decisions(store: &MemoryStore) {
    let path = StorePath::new("champions/promotions.jsonl").unwrap();
    let log = promotions::read(store).unwrap().into_iter().map(|line| line.event);
    let before: Vec<_> = log.filter(|event| event.at.0 != outcome().survey.until).collect();
    store.delete(&path).unwrap();
    promotions::append(store, &before).unwrap();
}

#[test]
fn better_candidates_take_over_and_a_repeated_publication_decides_the_same() {
    let store = MemoryStore::default();
    predecessors(&store, -100.0);
    let published = publish_into(&store).unwrap();
    let decided = decisions(&store);
    assert_eq!(decided.len(), published.roster.symbols.len());
    // One that hardly traded is no better than anybody.
    let traded = |event: &PromotionEvent| event.rule_values["trades"] >= event.rule_values["sample_size_min"];
    assert!(decided.iter().filter(|event| traded(event)).count() >= 5);
    assert_eq!(published.champions_kept, decided.iter().filter(|event| !traded(event)).count());
    for event in decided.iter().filter(|event| traded(event)) {
        assert_eq!(
            (event.event, event.promotion_reason.as_str()),
            (EventKind::EngineUpdate, "better on the same bars, significantly")
        );
    }
    let moved = decided.iter().find(|event| traded(event)).unwrap();
    let (champion, _) = pointers::read(&store, &moved.symbol).unwrap().unwrap();
    assert_eq!(champion.revision, 2);
    assert!(champion.previous.is_some());

    // As if the process had died between the pointers and the log, or right before the roster.
    let before = content(&store);
    forget_decisions(&store);
    for lost in ["champions/roster.json", "meta/feature_bank.json"] {
        store.delete(&StorePath::new(lost).unwrap()).unwrap();
    }
    publish_into(&store).unwrap();
    assert_eq!(content(&store), before);
}

#[test]
fn nothing_is_promoted_while_a_coin_has_drifted_and_its_champion_is_not_traded() {
    let store = MemoryStore::default();
    predecessors(&store, -100.0);
    let mut drifted = made();
    for coin in &mut drifted.verdicts.coins {
        coin.promotion_held = true;
        coin.gates.iter_mut().filter(|gate| gate.gate == "drift").for_each(|gate| gate.passed = false);
    }
    let published = publish_of(&store, &drifted).unwrap();
    assert_eq!(published.champions_moved, 0);
    let held = decisions(&store).into_iter().filter(|e| e.promotion_reason.contains("drifted"));
    assert!(held.count() >= 5, "the same candidates are promoted without drift");
    for line in &published.roster.symbols {
        let drift: Vec<_> = line.trade_ok_reasons.iter().filter(|gate| gate.gate == "drift").collect();
        assert!(!line.trade_ok && drift.len() == 1 && !drift[0].passed);
    }
}

#[test]
fn candidates_that_are_no_better_leave_the_champions_in_force_and_are_logged() {
    let store = MemoryStore::default();
    predecessors(&store, 100.0);
    let published = publish_into(&store).unwrap();
    assert_eq!((published.champions_moved, published.champions_kept), (0, published.roster.symbols.len()));
    for line in &published.roster.symbols {
        assert!(!line.trade_ok && line.model_path.contains("baseline_"));
        let (champion, _) = pointers::read(&store, &line.symbol).unwrap().unwrap();
        assert_eq!(champion.revision, 1);
        assert!(line.trade_ok_reasons.iter().any(|gate| gate.gate == "model_days_left" && gate.passed));
    }
    assert!(events(&store).iter().all(|(kind, _)| *kind == EventKind::Reject));
    assert!(decisions(&store)[0].rule_values.contains_key("net_gain_pct_min"));
    let before = content(&store);
    publish_into(&store).unwrap();
    assert_eq!(content(&store), before);
}

#[test]
fn a_pointer_that_moved_without_a_line_gets_one_before_anything_is_decided() {
    let store = MemoryStore::default();
    predecessors(&store, 100.0);
    publish_into(&store).unwrap();
    let of_coin = |symbol: &Symbol| {
        let log = promotions::read(&store).unwrap().into_iter().map(|line| line.event);
        log.filter(|event| event.symbol.0 == *symbol).collect::<Vec<_>>()
    };
    // The predecessors' pointers were moved by hand; so is one more, to the refused candidate.
    let symbol = pointers::list(&store).unwrap().remove(0);
    let refused = of_coin(&symbol);
    assert_eq!((refused[0].event, refused[1].event), (EventKind::EngineUpdate, EventKind::Reject));
    assert_eq!(refused[0].after_model_path, refused[1].before_model_path);
    let (champion, revision) = pointers::read(&store, &symbol).unwrap().unwrap();
    let (until, old) = (outcome().survey.until, StorePath::new(champion.model_path.clone()).unwrap());
    let folders = store.list(Some(&StorePath::new(format!("models/{symbol}")).unwrap())).unwrap();
    let other = folders
        .iter()
        .find(|e| e.path.name() == "manifest.json" && !e.path.as_str().starts_with(old.as_str()));
    let (candidate, _) = other.unwrap().path.as_str().rsplit_once('/').unwrap();
    let nomination = Nomination {
        model_path: StorePath::new(candidate).unwrap(),
        trade_ok: false,
        promoted_by: PromotedBy::Operator,
        at: UtcMs(until.0 + 1),
        expires_at: UtcMs(until.0 + UtcMs::DAY),
    };
    pointers::point(&store, &nomination, Some(&revision)).unwrap();
    publish_into(&store).unwrap();
    let told = of_coin(&symbol);
    assert_eq!(told.len(), 3, "{told:#?}");
    assert_eq!((told[2].event, told[2].decided_by.as_str()), (EventKind::Promote, "operator"));
    assert_eq!(told[2].before_model_path.as_deref(), Some(old.as_str()));
    assert_eq!(told[2].after_model_path.as_deref(), Some(candidate));
}

#[test]
fn a_champion_past_its_age_gives_way_to_a_candidate_that_is_not_worse() {
    let reason = "the champion is past its age; the candidate is not worse on the common days";
    // Better by a hair, which no rule asks for: only age can decide.
    let store = MemoryStore::default();
    predecessors_until(&store, -0.1, UtcMs::DAY);
    let published = publish_into(&store).unwrap();
    assert_eq!(published.champions_kept, 0);
    let expected = (EventKind::EngineUpdate, reason.to_owned());
    assert!(events(&store).iter().all(|event| *event == expected), "{:?}", events(&store));
    for line in &published.roster.symbols {
        let (champion, _) = pointers::read(&store, &line.symbol).unwrap().unwrap();
        assert!(champion.expires_at.0 > outcome().survey.until);
    }

    // Repeated, and as if the process had died between the pointers and the log.
    let before = content(&store);
    publish_into(&store).unwrap();
    assert_eq!(content(&store), before);
    forget_decisions(&store);
    publish_into(&store).unwrap();
    assert_eq!(content(&store), before);

    // A millisecond younger it stays, and so does an expired one that is really better.
    for (shift_bps, life_ms) in [(-0.1, UtcMs::DAY + 1), (100.0, UtcMs::DAY)] {
        let store = MemoryStore::default();
        predecessors_until(&store, shift_bps, life_ms);
        assert_eq!(publish_into(&store).unwrap().champions_moved, 0);
        assert!(events(&store).iter().all(|(kind, _)| *kind == EventKind::Reject));
    }
}

#[test]
fn what_an_operator_brought_back_stays_unless_the_evidence_is_strong() {
    // Past its age, and the candidate is no worse: from the Engine it would have to go.
    let store = MemoryStore::default();
    predecessors_by(&store, -0.1, UtcMs::DAY, PromotedBy::Rollback, |_| ());
    assert_eq!(publish_into(&store).unwrap().champions_moved, 0);
    let decided = decisions(&store);
    assert!(decided.iter().all(|event| event.event == EventKind::Reject));
    let value = |name: &str| decided[0].rule_values[name].unwrap();
    assert_eq!((value("days_since_chosen"), value("choices_lately")), (1.0, 1.0));
    let tonight = huracan_core::choose::champion::rate_of_one_night(0.005, 1.0, value("common_days"));
    assert!((value("q_value_max") - tonight).abs() < 1e-12 && tonight < 0.005);
    let before = content(&store);
    publish_into(&store).unwrap();
    assert_eq!(content(&store), before);

    let store = MemoryStore::default();
    predecessors_by(&store, -100.0, UtcMs::DAY, PromotedBy::Rollback, |_| ());
    assert!(publish_into(&store).unwrap().champions_moved >= 5);
    let before = content(&store);
    forget_decisions(&store);
    publish_into(&store).unwrap();
    assert_eq!(content(&store), before);
}

#[test]
fn a_champion_is_charged_the_fees_of_the_candidate() {
    let store = MemoryStore::default();
    predecessors_by(&store, 0.0, 7 * UtcMs::DAY, PromotedBy::Engine, |metrics| {
        if let Some(used) = &mut metrics.costs_used {
            used.per_side.fee_bps -= 2.0;
            used.round_trip.fee_bps -= 4.0;
            used.total_bps -= 4.0;
        }
    });
    publish_into(&store).unwrap();
    let mut charged = 0;
    for event in decisions(&store) {
        let path = StorePath::new(event.before_model_path.unwrap()).unwrap();
        let artifacts = models::read_model(&store, &path).unwrap().artifacts;
        let size: f64 = artifacts.head.metadata[head::POSITION_SIZE].parse().unwrap();
        // Two bps more a side, on the coin and on its hedge.
        let expected = 4.0 * size * artifacts.metrics.turnover_per_day;
        let found = event.rule_values["recharged_bps_per_day"].unwrap();
        assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        charged += usize::from(found > 0.0);
    }
    assert!(charged >= 5);
}

#[test]
fn a_champion_that_does_not_verify_is_replaced_with_a_reason() {
    let store = MemoryStore::default();
    predecessors(&store, 100.0);
    let symbol = huracan_store::champions::list(&store).unwrap().remove(0);
    let (champion, _) = pointers::read(&store, &symbol).unwrap().unwrap();
    let file = StorePath::new(format!("{}/metrics.json", champion.model_path)).unwrap();
    store.put(&file, b"{}", PutMode::Overwrite).unwrap();
    let published = publish_into(&store).unwrap();
    assert_eq!(published.champions_moved, 1);
    let decided = decisions(&store).into_iter().find(|event| event.symbol.0 == symbol).unwrap();
    assert_eq!(decided.event, EventKind::EngineUpdate);
    assert!(decided.promotion_reason.contains("does not verify"), "{}", decided.promotion_reason);
}

#[test]
fn a_raised_stop_leaves_no_pointer_behind() {
    let store = MemoryStore::default();
    let (settings, stamp, stop) = (settings(), stamp(), AtomicBool::new(true));
    let publication = Publication {
        store: &store,
        settings: &settings,
        outcome: outcome(),
        stamp: &stamp,
        workers: 2,
        stop: &stop,
        observer: &Silent,
        jobs: &crate::jobs::Here,
    };
    assert!(matches!(publish(&publication), Err(PublishError::Interrupted(_))));
    assert!(content(&store).iter().all(|(path, _)| !path.starts_with("champions/")));
}

#[test]
fn the_report_is_filled() {
    let store = MemoryStore::default();
    let published = publish_into(&store).unwrap();
    let log = promotions::read(&store).unwrap();
    let facts = RunFacts {
        run_id: RUN_ID.to_owned(),
        champion_events: Some(champion_events(&log)),
        ..RunFacts::default()
    };
    let data = report_data(&settings(), outcome(), &published.roster, published.encoder.as_ref(), &facts);
    assert_eq!(data.roster.len(), published.roster.symbols.len());
    assert_eq!(data.folds.len(), 3);
    let verdicts = &outcome().verdicts;
    let days = verdicts.universe_daily_net_bps.len();
    assert_eq!(data.universe.as_ref().unwrap().net.pct.len(), days);
    assert!(data.roster.iter().all(|row| row.equity.pct.len() == days && !row.reasons.is_empty()));
    let coins = verdicts.coins.len();
    assert_eq!(data.sharing.len(), verdicts.sharing.len());
    for (sharing, compared) in data.sharing.iter().zip(&verdicts.sharing) {
        assert_eq!(sharing.helped + sharing.hurt + sharing.undecided, coins);
        assert_eq!(sharing.mean_bps, Some(compared.pooled.mean_bps));
    }

    let variants = data.variants.as_ref().unwrap();
    assert_eq!(variants.rows.iter().map(|row| row.tried).sum::<usize>(), verdicts.variants_tried);
    assert_eq!(variants.rows.iter().filter(|row| row.chosen).count(), 1);
    assert!(variants.rows.iter().all(|row| row.test_net_bps.is_some()));
    let plain = variants.rows.iter().find(|row| row.head == "ridge" && row.encoder == "none").unwrap();
    let net = |v: &CoinVerdict| v.baselines.iter().find(|b| b.name == "ridge").unwrap().net_pnl_pct;
    let mean_pct = verdicts.coins.iter().map(net).sum::<f64>() / coins as f64;
    assert!((plain.test_net_bps.unwrap() * days as f64 / 100.0 - mean_pct).abs() < 1e-9);
    assert!(variants.deflated_sharpe.is_some_and(|p| (0.0..=1.0).contains(&p)));

    let regimes = data.regimes.as_ref().unwrap();
    let trades: usize = verdicts.coins.iter().map(|v| v.metrics.sample_size).sum();
    assert_eq!(regimes.tags.iter().map(|tag| tag.trades).sum::<usize>(), trades);
    assert_eq!(regimes.tags.iter().map(|tag| tag.coins_now).sum::<usize>(), coins);
    let shares: f64 = regimes.tags.iter().filter_map(|tag| tag.time_share).sum();
    assert!((shares - 1.0).abs() < 1e-9, "{shares}");
    assert_eq!(regimes.meta.as_ref().unwrap().experts.len(), 4);

    let drift = data.drift.as_ref().unwrap();
    assert_eq!((drift.columns.len(), drift.recent_ic), (coins, verdicts.recent_ic));
    assert!(drift.rows.len() == 30 && drift.rows.iter().all(|row| row.ratios.len() == coins));
    assert_eq!(drift_actions(outcome()).iter().map(|(_, n)| n).sum::<usize>(), coins);
    assert_eq!(data.feature_bank.len(), outcome().feature_names.len());
    assert!(data.feature_bank.iter().all(|f| f.helped + f.hurt + f.neither == coins));
    assert_eq!(data.champion_events.as_ref().unwrap().len(), log.len());

    let page = crate::report::render(&data);
    assert!(page.contains(RUN_ID) && page.contains("BTCUSDT.P"));
    for missing in ["was not measured in this run", "were not split by regime", "was not read for this page"]
    {
        assert!(!page.contains(missing), "{missing}");
    }
}
