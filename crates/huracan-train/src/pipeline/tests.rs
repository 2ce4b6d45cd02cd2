//! Runs from end to end on a store in memory.

use super::*;
use crate::canary::CanarySettings;
use crate::engine::{Silent, testing};
use crate::source::SynthSource;
use huracan_core::synth::MarketSpec;
use huracan_store::MemoryStore;
use huracan_store::formats::roster::RosterLine;
use huracan_store::heartbeats::{self, Service};

#[test]
fn a_staged_universe_grows_by_its_start_up_to_its_target() {
    let staged = Universe::Staged { start: 150, target: 400 };
    assert_eq!(resolved(&staged, 0, 500), Universe::Top(150));
    assert_eq!(resolved(&staged, 1, 500), Universe::Top(300));
    assert_eq!(resolved(&staged, 2, 500), Universe::Top(400));
    assert_eq!(resolved(&staged, 9, 300), Universe::All);
    assert_eq!(resolved(&Universe::Top(7), 0, 7), Universe::All);
}

fn market() -> SynthSource {
    SynthSource::new(&MarketSpec {
        coins: 12,
        days: 205,
        planted_shared: 4,
        planted_private: 1,
        label_correlation: 0.5,
        stablecoins: 0,
        dirty: 0,
        late_listings: 0,
        thin: 0,
        outages: 1,
        ..MarketSpec::default()
    })
}

fn settings(canaries: CanarySettings) -> Settings {
    let mut settings = Settings { canaries, ..testing::settings() };
    settings.walk.folds = 4;
    settings
}

fn run_into(store: &MemoryStore, settings: Settings) -> Finished {
    let folder = tempfile::tempdir().unwrap();
    let job = Job {
        config_id: sha256_hex(format!("{settings:?}").as_bytes()),
        settings,
        config: String::new(),
        code_version: "0.1.0".to_owned(),
        origin: RunSource::Demo,
        store,
        scratch_dir: &folder.path().join("scratch"),
        cache: None,
        workers: 2,
        stop: &AtomicBool::new(false),
        observer: &Silent,
        clock: &|| UtcMs(1_800_000_000_000),
        hire: &crate::jobs::Here,
        host: "a test".to_owned(),
        rates: Rates { usd_per_cpu_hour: Some(0.05), ..Rates::default() },
    };
    match run(&job, &market()).unwrap() {
        Ending::Ran(finished) => *finished,
        Ending::UpToDate { .. } => panic!("nothing ran"),
    }
}

/// Everything below these folders.
fn content(store: &MemoryStore, folders: &[&str]) -> Vec<(String, Vec<u8>)> {
    let of = |path: &StorePath| folders.iter().any(|folder| path.to_string().starts_with(folder));
    let paths: Vec<StorePath> = store.list(None).unwrap().into_iter().map(|entry| entry.path).collect();
    let read = |path: &StorePath| (path.to_string(), store.get(path).unwrap().unwrap().bytes);
    paths.iter().filter(|path| of(path)).map(read).collect()
}

/// A planted correlation of zero: there is nothing to be found.
const NOTHING_TO_FIND: CanarySettings =
    CanarySettings { enabled: true, required: true, label_correlation: 0.0 };

#[test]
fn canaries_that_fail_leave_what_is_in_force_as_it_was_and_the_rest_on_record() {
    let store = MemoryStore::default();
    let good = run_into(&store, settings(CanarySettings::default()));
    let Some(Canaries::Ran(said)) = &good.canaries else { panic!("{:?}", good.canaries) };
    assert!(said.passed(), "{}", said.sentence());
    let published = good.published.as_ref().unwrap();
    let gates = published.roster.symbols.iter().map(|line| &line.trade_ok_reasons);
    assert!(gates.clone().all(|g| g.iter().any(|gate| gate.gate == "canaries" && gate.passed)));
    let record = runs::read(&store, &good.run_id).unwrap();
    assert_eq!((record.exit_status, record.canaries.len()), (ExitStatus::Complete, 30));
    assert!(good.canary_note().is_none());
    let profile = runs::read_profile(&store, &good.run_id).unwrap().unwrap();
    let told = profile.stages.iter().find(|stage| stage.stage == "fingerprints").unwrap();
    assert_eq!(told.outcomes.map(|jobs| jobs.cache_misses), Some(12));
    let trial = profile.stages.iter().find(|stage| stage.stage == "trial").unwrap();
    assert!(trial.p99_s >= trial.p95_s && !trial.slowest.is_empty());
    let costs = runs::unit_costs(&store, &good.run_id).unwrap();
    assert!(costs.iter().any(|cost| cost.cost_usd.is_some_and(|usd| usd > 0.0)));
    let in_force = ["champions", "models", "meta"];
    // What was tried is counted, whatever becomes of the publication.
    let in_force = |store: &MemoryStore| -> Vec<(String, Vec<u8>)> {
        let all = content(store, &in_force).into_iter();
        all.filter(|(path, _)| path != "champions/trials.jsonl").collect()
    };
    let before = in_force(&store);
    assert!(before.len() > 20);

    let blocked = run_into(&store, settings(NOTHING_TO_FIND));
    assert!(blocked.published.is_none() && blocked.blocked());
    assert!(in_force(&store) == before, "a blocked run changed what is in force");
    assert_eq!(trials::read(&store).unwrap().len(), 2);
    let record = runs::read(&store, &blocked.run_id).unwrap();
    let sums = record.canary_summary.unwrap();
    assert_eq!(record.exit_status, ExitStatus::Blocked);
    assert!(!sums.passed && sums.planted_found < 7 && sums.noise == 20 && sums.noise_trade_ok == 0);
    assert_eq!(record.canaries.iter().filter(|c| c.kind == "noise").count(), 20);
    let failures = content(&store, &[&format!("runs/{}/failures.jsonl", blocked.run_id)]);
    assert!(String::from_utf8_lossy(&failures[0].1).contains("canaries_failed"));
    assert!(blocked.canary_note().unwrap().contains("CANARIES FAILED"));
    let heart = heartbeats::read(&store, Service::Engine).unwrap().unwrap();
    assert_eq!(heart.phase, "failed");

    // Real coins know nothing of canaries: their figures are the same with any.
    let daily = |f: &Finished| -> Vec<Vec<f64>> {
        f.outcome.verdicts.coins.iter().map(|c| c.daily_net_bps.clone()).collect()
    };
    assert_eq!(daily(&good), daily(&blocked));
}

#[test]
fn canaries_that_did_not_run_forbid_trading_unless_they_are_not_required() {
    let off = |required| CanarySettings { enabled: false, required, ..CanarySettings::default() };
    let strict = run_into(&MemoryStore::default(), settings(off(true)));
    let roster = strict.published.as_ref().unwrap().roster.clone();
    assert!(!roster.symbols.is_empty() && roster.trade_ok_count == 0);
    for line in &roster.symbols {
        let gate = line.trade_ok_reasons.iter().find(|gate| gate.gate == "canaries").unwrap();
        assert!(!gate.passed && gate.value.is_none());
    }
    assert!(strict.canary_note().unwrap().contains("DID NOT RUN"));
    let lax = run_into(&MemoryStore::default(), settings(off(false)));
    let roster = &lax.published.as_ref().unwrap().roster;
    let asked = |line: &RosterLine| line.trade_ok_reasons.iter().any(|gate| gate.gate == "canaries");
    assert!(!roster.symbols.iter().any(asked));
    assert!(lax.canary_note().unwrap().contains("canaries.required is false"));
}

/// A run on a small generated market that ends at `until`.
fn run_until(store: &dyn Store, until: UtcMs) -> Ending {
    let spec = MarketSpec {
        coins: 8,
        days: 190,
        planted_shared: 4,
        planted_private: 0,
        stablecoins: 0,
        dirty: 0,
        late_listings: 0,
        thin: 0,
        outages: 0,
        ..MarketSpec::default()
    };
    let folder = tempfile::tempdir().unwrap();
    let job = Job {
        settings: Settings { until: Some(until), placebos: 1, ..testing::settings() },
        config_id: "ab".repeat(32),
        config: String::new(),
        code_version: "0.1.0".to_owned(),
        origin: RunSource::Folder { path: "made".to_owned() },
        store,
        scratch_dir: folder.path(),
        cache: None,
        workers: 2,
        stop: &AtomicBool::new(false),
        observer: &engine::Silent,
        clock: &|| UtcMs(4_000_000_000_000),
        hire: &crate::jobs::Here,
        host: "here".to_owned(),
        rates: Rates::default(),
    };
    run(&job, &SynthSource::new(&spec)).unwrap()
}

fn ran(ending: Ending) -> Box<Finished> {
    match ending {
        Ending::Ran(finished) => finished,
        Ending::UpToDate { run_id, .. } => panic!("{run_id} is there already"),
    }
}

#[test]
fn a_run_counts_the_trials_of_runs_before_it_and_of_no_other() {
    let end = UtcMs(MarketSpec::default().start.0 + 190 * UtcMs::DAY);
    let day_before = UtcMs(end.0 - UtcMs::DAY);
    let store = MemoryStore::default();
    let trials_of = |finished: &Finished| finished.outcome.verdicts.coins[0].metrics.n_trials;
    let first = ran(run_until(&store, day_before));
    let second = ran(run_until(&store, end));
    let own = |finished: &Finished| {
        let tried = &finished.outcome.verdicts.tried;
        tried.variants * tried.coins
    };
    assert!(own(&first) > 0);
    assert_eq!(trials_of(&first), own(&first));
    assert_eq!(trials_of(&second), own(&first) + own(&second));
    assert!(matches!(run_until(&store, day_before), Ending::UpToDate { .. }));
    let log = trials::read(&store).unwrap();
    assert_eq!(log.len(), 2);
    assert_eq!(log[1].cumulative_trials as usize, trials_of(&second));

    // The earlier run made once more beside the later one's ledger: the same figures, no new line.
    let again = MemoryStore::default();
    for line in &log {
        trials::append(&again, &line.run).unwrap();
    }
    let repeated = ran(run_until(&again, day_before));
    assert_eq!(repeated.outcome.verdicts.coins[0].metrics, first.outcome.verdicts.coins[0].metrics);
    assert_eq!(trials::read(&again).unwrap(), log);
}

#[test]
fn a_run_that_fails_leaves_its_record_with_the_error_and_what_to_do() {
    let store = MemoryStore::default();
    let folder = tempfile::tempdir().unwrap();
    let job = Job {
        settings: settings(CanarySettings::default()),
        config_id: "ab".repeat(32),
        config: "seed: 1".to_owned(),
        code_version: "0.1.0".to_owned(),
        origin: RunSource::Demo,
        store: &store,
        scratch_dir: folder.path(),
        cache: None,
        workers: 2,
        stop: &AtomicBool::new(false),
        observer: &Silent,
        clock: &|| UtcMs(1_600_000_000_000),
        hire: &crate::jobs::Here,
        host: "here".to_owned(),
        rates: Rates::default(),
    };
    // The clock stands before the data: no bar of any coin is believed.
    let error = run(&job, &market()).err().expect("the clock is wrong");
    assert_eq!(error.code(), "nothing_readable");
    let record = runs::latest(&store).unwrap().unwrap();
    assert_eq!(record.exit_status, ExitStatus::Failed);
    assert_eq!((record.inputs.data_fingerprints.len(), record.inputs.until), (12, None));
    let failures = runs::failures(&store, &record.run_id).unwrap();
    assert_eq!((failures.len(), failures[0].step.as_str()), (1, "survey"));
    assert!(failures[0].error_chain[0].contains("none of 12 candle series"), "{failures:?}");
    assert!(runs::read_profile(&store, &record.run_id).unwrap().is_some());
    let costs = runs::unit_costs(&store, &record.run_id).unwrap();
    assert_eq!(costs.iter().filter(|cost| cost.stage == "fingerprints").count(), 12);
    let heart = heartbeats::read(&store, Service::Engine).unwrap().unwrap();
    assert_eq!((heart.phase.as_str(), heart.last_error), ("failed", Some(error.to_string())));
}
