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
    OUTCOME.get_or_init(|| {
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
    })
}

fn stamp() -> Stamp {
    Stamp { run_id: RUN_ID.to_owned(), config_id: "ab".repeat(32), code_version: "0.1.0".to_owned() }
}

fn publish_into(store: &dyn Store) -> Result<Published, PublishError> {
    let (settings, stamp, stop) = (settings(), stamp(), AtomicBool::new(false));
    publish(&Publication {
        store,
        settings: &settings,
        outcome: outcome(),
        stamp: &stamp,
        workers: 2,
        stop: &stop,
        observer: &Silent,
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

#[test]
fn the_stored_head_scores_a_row_as_the_engines_own_weights_do() {
    let store = MemoryStore::default();
    publish_into(&store).unwrap();
    let stage = crate::engine::statistics::Stage::Full.at(outcome().plan.folds.len() - 1);
    let deviation = &outcome().pools.stages[stage].deviation;
    let mut with_codes = 0;
    for model in models_of(&store) {
        let head = &model.artifacts.head;
        let verdict = outcome().verdicts.coins.iter().find(|v| {
            let symbol: &Symbol = &outcome().survey.coins[v.index].symbol;
            *symbol == head.symbol.0
        });
        let own = &verdict.unwrap().head;
        let p = own.weights.len();
        let z: Vec<f64> = (0..p).map(|i| ((i * 37 % 11) as f64 - 5.0) / 3.0).collect();
        let expected: f64 = (0..p)
            .filter(|&i| deviation[i] > 0.0)
            .map(|i| own.weights[i] * (z[i] - own.mean[i]) / deviation[i])
            .sum();

        let standardised: Vec<f64> = z.iter().zip(&head.arrays["scale"]).map(|(z, s)| z / s).collect();
        let mut row = Vec::new();
        if let Some(id) = &head.encoder_id {
            with_codes += 1;
            let encoder = huracan_store::encoder::load(&store, id).unwrap();
            assert_eq!(encoder.card.meaning.scale, head.arrays["scale"]);
            let components = &encoder.tensors["components"].data;
            let code = |c: &[f64]| c.iter().zip(&standardised).map(|(c, z)| c * z).sum::<f64>();
            row.extend(components.chunks_exact(p).map(code));
        }
        row.extend(&standardised);
        assert_eq!(row.len(), head.columns.len());
        let weights = &head.arrays["weights"];
        let found = weights.iter().zip(&row).map(|(w, x)| w * x).sum::<f64>() + head.arrays["intercept"][0];
        assert!((found - expected).abs() < 1e-9 * (1.0 + expected.abs()), "{found} {expected}");
    }
    let expected = outcome().verdicts.coins.iter().filter(|v| v.lane == crate::engine::lanes::SHARED).count();
    assert_eq!(with_codes, expected);
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

#[test]
fn a_round_trip_is_the_same_in_roster_threshold_and_capacity() {
    let store = MemoryStore::default();
    let roster = publish_into(&store).unwrap().roster;
    let bitcoin = roster.symbols.iter().find(|line| line.symbol.0.underlying() == "BTC").unwrap();
    let taker = |line: &RosterLine| 2.0 * line.fee_bps + line.spread_bps + 2.0 * line.avg_slip_bps;
    let multiple = outcome().verdicts.thresholds.last().unwrap().multiple;
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
    assert!((value("q_value_max") - 0.005).abs() < 1e-12);
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
    };
    assert!(matches!(publish(&publication), Err(PublishError::Interrupted(_))));
    assert!(content(&store).iter().all(|(path, _)| !path.starts_with("champions/")));
}

#[test]
fn the_report_is_filled() {
    let store = MemoryStore::default();
    let published = publish_into(&store).unwrap();
    let facts = RunFacts { run_id: RUN_ID.to_owned(), ..RunFacts::default() };
    let data = report_data(&settings(), outcome(), &published.roster, published.encoder.as_ref(), &facts);
    assert_eq!(data.roster.len(), published.roster.symbols.len());
    assert_eq!(data.folds.len(), 3);
    let days = outcome().verdicts.universe_daily_net_bps.len();
    assert_eq!(data.universe.as_ref().unwrap().net.pct.len(), days);
    assert!(data.roster.iter().all(|row| row.equity.pct.len() == days && !row.reasons.is_empty()));
    let page = crate::report::render(&data);
    assert!(page.contains(RUN_ID) && page.contains("BTCUSDT.P"));
}
