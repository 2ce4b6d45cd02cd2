//! After a collection everything in force verifies, and every champion can still be rolled back.

use super::{FIRST, Machine, SECOND, THIRD, at, coin, contents, no_pointer_dangles, owner, publish, samples};
use huracan_core::words::UtcMs;
use huracan_remote::outbox::check::check_store;
use huracan_remote::outbox::gc::{Rules, collect};
use huracan_store::formats::run::Run;
use huracan_store::{MemoryStore, PutMode, Store, StorePath, champions, runs, verify, work};

/// Long after the samples' day.
const LATER: UtcMs = UtcMs(1_754_006_400_000 + 400 * UtcMs::DAY);

fn rules() -> Rules {
    Rules { now: LATER, retention_days: 90.0, runs_kept: 1, grace_days: 3.0 }
}

fn three_runs(store: &dyn Store) {
    for (gain, run) in [(0.0, FIRST), (1.0, SECOND), (2.0, THIRD)] {
        publish(store, gain, run).unwrap();
    }
}

#[test]
fn what_nothing_reaches_goes_and_everything_else_still_works() {
    let store = MemoryStore::default();
    three_runs(&store);
    store.put(&at("models/XRPUSDT/baseline_20250801/model.bin"), b"half", PutMode::Create).unwrap();
    store.put(&at(&format!("runs/{FIRST}/report.html")), b"old", PutMode::Create).unwrap();
    store.put(&at(&format!("runs/{THIRD}/report.html")), b"new", PutMode::Create).unwrap();
    let before = contents(&store);
    let quiet = |_: usize, _: usize| {};
    let planned = collect(&store, &rules(), &owner("a"), false, &quiet).unwrap();
    assert_eq!(contents(&store), before, "a plan alone removes nothing");
    let done = collect(&store, &rules(), &owner("a"), true, &quiet).unwrap();
    assert_eq!(planned, done);
    let gone: Vec<&str> = done.remove.iter().map(|(path, _, _)| path.as_str()).collect();
    assert_eq!(
        gone,
        [
            "models/BTCUSDT/baseline_20250801",
            "models/ETHUSDT/baseline_20250801",
            "models/XRPUSDT/baseline_20250801",
            &format!("runs/{FIRST}"),
        ]
    );
    let bytes =
        |all: &std::collections::BTreeMap<_, Vec<u8>>| all.values().map(|b| b.len() as u64).sum::<u64>();
    assert_eq!(bytes(&before) - bytes(&contents(&store)), done.bytes());
    assert_eq!(
        runs::list(&store).unwrap(),
        [FIRST, SECOND, THIRD],
        "how many runs there were is still known"
    );

    no_pointer_dangles(&store);
    assert_eq!(check_store(&store, &quiet).unwrap().findings, []);
    for symbol in ["BTCUSDT", "ETHUSDT"].map(coin) {
        let report = verify::verify_symbol(&store, &symbol, None);
        let broken: Vec<_> = report.rows.iter().filter(|row| !row.ok).collect();
        assert!(broken.is_empty(), "{broken:?}");
        let (_, seen) = champions::read(&store, &symbol).unwrap().unwrap();
        let (at, expires_at) = (LATER, UtcMs(LATER.0 + UtcMs::DAY));
        let wish = champions::Rollback { symbol, to: None, at, expires_at, reason: String::new() };
        let back = champions::roll_back(&store, &wish, &seen).unwrap();
        assert!(back.champion.model_path.ends_with("baseline_20250801.2"));
    }
    assert!(collect(&store, &rules(), &owner("a"), true, &quiet).unwrap().remove.is_empty());
}

#[test]
fn decisions_within_the_retention_keep_both_of_their_models() {
    let store = MemoryStore::default();
    three_runs(&store);
    let rules = Rules { retention_days: 500.0, ..rules() };
    assert_eq!(collect(&store, &rules, &owner("a"), true, &|_, _| {}).unwrap().remove, []);
}

#[test]
fn what_is_young_stays_and_a_store_in_use_is_refused() {
    let store = MemoryStore::default();
    three_runs(&store);
    let fresh = Rules { now: UtcMs(1_754_006_400_000 + UtcMs::DAY), retention_days: 0.0, ..rules() };
    assert_eq!(collect(&store, &fresh, &owner("a"), true, &|_, _| {}).unwrap().remove, []);
    let held = store.lock_run(&owner("b")).unwrap();
    let error = collect(&store, &rules(), &owner("a"), true, &|_, _| {}).unwrap_err();
    assert_eq!(error.code(), "store_locked");
    drop(held);
}

#[test]
fn what_cannot_be_read_stops_everything() {
    let store = MemoryStore::default();
    three_runs(&store);
    store.put(&at("champions/ETHUSDT.json"), b"{", PutMode::Overwrite).unwrap();
    let before = contents(&store);
    assert!(collect(&store, &rules(), &owner("a"), true, &|_, _| {}).is_err());
    assert_eq!(contents(&store), before);
}

#[test]
fn a_run_that_ran_lately_on_old_data_keeps_its_papers() {
    let store = MemoryStore::default();
    three_runs(&store);
    store.put(&at(&format!("runs/{FIRST}/report.html")), b"old", PutMode::Create).unwrap();
    let lately = Run { run_id: FIRST.into(), finished_at: Some(LATER.into()), ..samples::run() };
    runs::write(&store, &lately).unwrap();
    let plan = collect(&store, &rules(), &owner("a"), true, &|_, _| {}).unwrap();
    assert!(plan.remove.iter().all(|(path, _, _)| !path.as_str().starts_with("runs/")), "{plan:?}");
}

#[test]
fn a_collection_here_and_there_brings_nothing_back() {
    let (machine, remote) = (Machine::new("a"), MemoryStore::default());
    three_runs(&machine.local);
    machine.push(&remote).unwrap();
    collect(&remote, &rules(), &owner("a"), true, &|_, _| {}).unwrap();
    let collected = contents(&remote);
    machine.pull(&remote, huracan_remote::outbox::OnClash::Refuse).unwrap();
    machine.push(&remote).unwrap();
    assert_eq!(contents(&remote), collected);
    collect(&machine.local, &rules(), &owner("a"), true, &|_, _| {}).unwrap();
    machine.pull(&remote, huracan_remote::outbox::OnClash::Refuse).unwrap();
    machine.push(&remote).unwrap();
    assert_eq!(contents(&remote), collected);
    assert_eq!(contents(&machine.local), collected);
}

#[test]
fn what_was_left_in_a_run_that_does_not_go_on_goes_and_in_one_that_does_stays() {
    let store = MemoryStore::default();
    three_runs(&store);
    let left = |run: &str, begun: Option<UtcMs>| {
        begun.iter().for_each(|at| work::begin(&store, run, *at).unwrap());
        store.put(&at(&format!("work/{run}/results/k/0")), b"result", PutMode::Create).unwrap();
    };
    let hours_ago = |hours: i64| UtcMs(LATER.0 - hours * UtcMs::HOUR);
    let [going_on, given_up, too_late, unread] = ["a", "b", "c", "d"].map(|digit| digit.repeat(8));
    left(&going_on, Some(hours_ago(71)));
    left(&given_up, Some(hours_ago(73)));
    left(&too_late, None);
    left(&unread, None);
    store.put(&at(&format!("work/{unread}/begun.json")), b"{}", PutMode::Create).unwrap();
    // Not ours.
    store.put(&at("work/models/A/x/model.bin"), b"x", PutMode::Create).unwrap();
    store.put(&at(&format!("work/{too_late}/notes/x")), b"x", PutMode::Create).unwrap();
    let plan = collect(&store, &rules(), &owner("a"), true, &|_, _| {}).unwrap();
    let ours = |path: &&StorePath| path.as_str().starts_with("work/");
    let gone: Vec<&StorePath> = plan.remove.iter().map(|(path, _, _)| path).filter(ours).collect();
    assert_eq!(gone, [&given_up, &too_late].map(|run| work::folder(run).unwrap()).iter().collect::<Vec<_>>());
    let left: Vec<StorePath> = contents(&store).into_keys().filter(|path| ours(&path)).collect();
    let expected = [
        format!("work/{going_on}/begun.json"),
        format!("work/{going_on}/results/k/0"),
        format!("work/{too_late}/notes/x"),
        format!("work/{unread}/begun.json"),
        format!("work/{unread}/results/k/0"),
        "work/models/A/x/model.bin".to_owned(),
    ];
    assert_eq!(left, expected.each_ref().map(|path| at(path)));
    // Taken up again, it is young again.
    work::begin(&store, &going_on, LATER).unwrap();
    let later = Rules { now: UtcMs(LATER.0 + 2 * UtcMs::DAY), ..rules() };
    let plan = collect(&store, &later, &owner("a"), true, &|_, _| {}).unwrap();
    assert!(plan.remove.iter().all(|(path, _, _)| !ours(&path)), "{plan:?}");
}
