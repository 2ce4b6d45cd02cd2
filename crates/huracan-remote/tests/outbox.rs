//! The outbox from outside: cut off anywhere, offline, two machines, nothing to do.

#![allow(missing_docs, reason = "a test: its names say what its helpers are")]

use huracan_core::words::{Symbol, UtcMs};
use huracan_remote::outbox::{Mirror, OnClash, OutboxError, Pulled, Pushed};
use huracan_store::faults::{Crash, Faulty};
use huracan_store::formats::promotion::PromotionEvent;
use huracan_store::formats::run::Run;
use huracan_store::formats::trials::RunTrials;
use huracan_store::models::write_model_folder;
use huracan_store::{
    LocalStore, MemoryStore, PutMode, Result, RunOwner, Store, StorePath, bank, champions, encoder, formats,
    models, overrides, promotions, roster, runs, samples, trials, verify,
};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

#[path = "outbox/checking.rs"]
mod checking;
#[path = "outbox/collecting.rs"]
mod collecting;

pub const FIRST: &str = "20250801T000000Z-0a1b2c3d";
pub const SECOND: &str = "20250802T000000Z-0a1b2c3e";
pub const THIRD: &str = "20250803T000000Z-0a1b2c3f";

pub fn at(text: &str) -> StorePath {
    StorePath::new(text).unwrap()
}

pub fn coin(text: &str) -> Symbol {
    text.parse().unwrap()
}

pub fn owner(host: &str) -> RunOwner {
    RunOwner { purpose: "carry".into(), pid: 7, host: host.into(), since: UtcMs(1_754_006_400_000) }
}

/// A whole run of two coins as the Engine publishes it: the same `gain` gives the same bytes, another
/// one other models, to which the pointers move.
pub fn publish(store: &dyn Store, gain: f64, run_id: &str) -> Result<()> {
    trials::append(store, &RunTrials { run_id: run_id.into(), ..samples::run_trials() })?;
    encoder::publish(store, &samples::encoder())?;
    let mut roster = samples::roster();
    roster.run_id = run_id.into();
    for line in &mut roster.symbols {
        let symbol = line.symbol.to_string();
        let mut artifacts = samples::artifacts(&symbol);
        artifacts.metrics.net_pnl_pct += gain;
        let mut lineage = samples::lineage(&symbol);
        lineage.run_id = run_id.into();
        let written = write_model_folder(store, samples::folder(), &artifacts, &lineage)?;
        let before = champions::read(store, &line.symbol)?;
        let nomination =
            champions::Nomination { trade_ok: line.trade_ok, ..samples::nomination(written.path.clone()) };
        champions::point(store, &nomination, before.as_ref().map(|(_, revision)| revision))?;
        line.model_path = written.path.to_string();
        line.metrics = artifacts.metrics.figures().without_window();
        let event = PromotionEvent {
            symbol: line.symbol.clone(),
            before_model_path: before.map(|(champion, _)| champion.model_path),
            after_model_path: Some(written.path.to_string()),
            ..samples::promotion_event()
        };
        promotions::append(store, &[event])?;
    }
    let seen = bank::read(store)?.map(|(_, revision)| revision);
    bank::publish(store, &samples::feature_bank(), seen.as_ref())?;
    let seen = roster::read(store)?.map(|(_, revision)| revision);
    roster::publish(store, &roster, seen.as_ref())?;
    runs::write(store, &Run { run_id: run_id.into(), ..samples::run() })
}

/// Everything of a store but signs of life.
pub fn contents(store: &dyn Store) -> BTreeMap<StorePath, Vec<u8>> {
    let entries = store.list(None).unwrap().into_iter();
    entries.map(|entry| (entry.path.clone(), store.get(&entry.path).unwrap().unwrap().bytes)).collect()
}

/// Another store of the same contents.
pub fn copy_of(store: &dyn Store) -> MemoryStore {
    let copy = MemoryStore::default();
    for (path, bytes) in contents(store) {
        copy.put(&path, &bytes, PutMode::Create).unwrap();
    }
    copy
}

/// What must hold at every moment: whatever a pointer names is whole.
pub fn no_pointer_dangles(store: &dyn Store) {
    for symbol in champions::list(store).unwrap() {
        let (champion, _) = champions::read(store, &symbol).unwrap().unwrap();
        models::read_model(store, &at(&champion.model_path)).unwrap();
        encoder::load(store, &champion.encoder_id.unwrap()).unwrap();
    }
    if let Some((roster, _)) = roster::read(store).unwrap() {
        for line in roster.symbols {
            models::read_model(store, &at(&line.model_path)).unwrap();
        }
    }
    encoder::in_force(store).unwrap();
    promotions::read(store).unwrap();
    trials::read(store).unwrap();
    bank::read(store).unwrap();
}

/// A machine: a folder of its own. Its mirror is opened anew for every call, as by a new process.
pub struct Machine {
    pub name: &'static str,
    pub local: LocalStore,
    pub folder: tempfile::TempDir,
}

impl Machine {
    pub fn new(name: &'static str) -> Machine {
        let folder = tempfile::tempdir().unwrap();
        Machine { name, local: LocalStore::create(folder.path()).unwrap(), folder }
    }

    pub fn with_run(name: &'static str) -> Machine {
        let machine = Machine::new(name);
        publish(&machine.local, 0.0, FIRST).unwrap();
        machine
    }

    /// The same machine at this moment, journal included, without what syncing the disk costs.
    pub fn copied(&self) -> Machine {
        fn copy(from: &std::path::Path, to: &std::path::Path) {
            std::fs::create_dir_all(to).unwrap();
            for entry in std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
                let target = to.join(entry.file_name());
                match entry.file_type().unwrap().is_dir() {
                    true => copy(&entry.path(), &target),
                    false => drop(std::fs::copy(entry.path(), target).unwrap()),
                }
            }
        }
        let machine = Machine::new(self.name);
        copy(self.folder.path(), machine.folder.path());
        machine
    }

    pub fn pull(&self, remote: &dyn Store, on_clash: OnClash) -> huracan_remote::outbox::Result<Pulled> {
        let quiet = |_: huracan_remote::outbox::Step<'_>| true;
        let mirror = Mirror::open(&self.local, remote, "memory:a", owner(self.name), &quiet)?;
        mirror.requests_at_once(1).pull(on_clash)
    }

    pub fn push(&self, remote: &dyn Store) -> huracan_remote::outbox::Result<Pushed> {
        let quiet = |_: huracan_remote::outbox::Step<'_>| true;
        let mirror = Mirror::open(&self.local, remote, "memory:a", owner(self.name), &quiet)?;
        mirror.requests_at_once(1).push()
    }
}

#[test]
fn a_carried_store_has_the_same_bytes_and_carrying_it_again_asks_nothing() {
    let (machine, remote) = (Machine::with_run("a"), MemoryStore::default());
    let pushed = machine.push(&remote).unwrap();
    assert_eq!(contents(&remote), contents(&machine.local));
    assert_eq!((pushed.files, pushed.pointers), (contents(&remote).len(), 2));
    for symbol in ["BTCUSDT", "ETHUSDT"] {
        assert!(verify::verify_symbol(&remote, &coin(symbol), None).is_ok());
    }
    let counted = Faulty::never(remote.clone());
    assert_eq!(machine.push(&counted).unwrap(), Pushed::default());
    assert_eq!(counted.operations(), 0);
}

/// The remote dies at every operation, before and after it took effect; the next push ends where an
/// undisturbed one would have, and at no cut does a pointer dangle.
fn cut_anywhere(prepare: impl Fn(&Machine, &MemoryStore)) -> usize {
    let (machine, remote) = (Machine::with_run("a"), MemoryStore::default());
    prepare(&machine, &remote);
    let (before, seen) = (machine.copied(), copy_of(&remote));
    let counted = Faulty::never(remote.clone());
    machine.push(&counted).unwrap();
    let (operations, expected) = (counted.operations(), contents(&remote));
    assert_eq!(expected, contents(&machine.local));
    for crash in [Crash::Before, Crash::After] {
        for fatal in 0..operations {
            let (machine, remote) = (before.copied(), copy_of(&seen));
            let error = machine.push(&Faulty::dying(remote.clone(), fatal, crash)).unwrap_err();
            assert!(error.is_away(), "{crash:?} {fatal}: {error}");
            no_pointer_dangles(&remote);
            machine.push(&remote).unwrap_or_else(|error| panic!("{crash:?} {fatal}: {error}"));
            assert!(contents(&remote) == expected, "{crash:?} {fatal}");
            let counted = Faulty::never(remote.clone());
            machine.push(&counted).unwrap();
            assert_eq!(counted.operations(), 0, "{crash:?} {fatal}");
        }
    }
    operations
}

#[test]
fn a_first_push_that_is_cut_anywhere_is_finished_by_the_next() {
    let operations = cut_anywhere(|_, _| {});
    assert!(operations > 30, "{operations}");
}

#[test]
fn a_push_over_what_was_carried_before_that_is_cut_anywhere_is_finished_by_the_next() {
    let operations = cut_anywhere(|machine, remote| {
        machine.push(remote).unwrap();
        publish(&machine.local, 1.0, SECOND).unwrap();
    });
    assert!(operations > 30, "{operations}");
}

#[test]
fn a_cut_push_whose_journal_is_lost_too_is_finished_by_comparing_contents() {
    let expected = contents(&Machine::with_run("a").local);
    let (machine, remote) = (Machine::with_run("a"), MemoryStore::default());
    let before = machine.copied();
    let counted = Faulty::never(remote.clone());
    machine.push(&counted).unwrap();
    for fatal in 0..counted.operations() {
        let (machine, remote) = (before.copied(), MemoryStore::default());
        machine.push(&Faulty::dying(remote.clone(), fatal, Crash::After)).unwrap_err();
        let journal = machine.folder.path().join(".huracan/outbox.json");
        if fatal % 2 == 0 && journal.exists() {
            std::fs::remove_file(&journal).unwrap();
        } else {
            std::fs::write(&journal, "{\"schema\":").unwrap();
        }
        machine.push(&remote).unwrap_or_else(|error| panic!("{fatal}: {error}"));
        assert!(contents(&remote) == expected, "{fatal}");
    }
}

#[test]
fn many_requests_at_once_end_in_the_same_bytes() {
    let (machine, remote) = (Machine::with_run("a"), MemoryStore::default());
    let steps = AtomicUsize::new(0);
    let count = |_: huracan_remote::outbox::Step<'_>| {
        steps.fetch_add(1, Ordering::Relaxed);
        true
    };
    Mirror::open(&machine.local, &remote, "memory:a", owner("a"), &count).unwrap().push().unwrap();
    assert_eq!(contents(&remote), contents(&machine.local));
    assert!(steps.load(Ordering::Relaxed) > contents(&remote).len());
    let other = Machine::new("b");
    let mut mirror = Mirror::open(&other.local, &remote, "memory:a", owner("b"), &count).unwrap();
    mirror.pull(OnClash::Refuse).unwrap();
    assert_eq!(contents(&other.local), contents(&remote));
}

#[test]
fn a_pull_brings_everything_a_pointer_reaches_and_no_request_too_many_the_second_time() {
    let (machine, remote) = (Machine::with_run("a"), MemoryStore::default());
    machine.push(&remote).unwrap();
    let other = Machine::new("b");
    let pulled = other.pull(&remote, OnClash::Refuse).unwrap();
    assert_eq!(contents(&other.local), contents(&remote));
    assert_eq!((pulled.files, pulled.unusable.len()), (contents(&remote).len(), 0));
    let counted = Faulty::never(remote.clone());
    assert_eq!(other.pull(&counted, OnClash::Refuse).unwrap(), Pulled::default());
    // One listing, and a look at each document that may have changed: two pointers, roster, two logs,
    // the bank, and the three files of the encoder in force.
    assert_eq!(counted.operations(), 1 + 9);
    let counted = Faulty::never(remote.clone());
    assert_eq!(other.push(&counted).unwrap(), Pushed::default());
    assert_eq!(counted.operations(), 0);
}

#[test]
fn a_pull_that_is_cut_anywhere_is_finished_by_the_next_and_leaves_no_pointer_dangling() {
    let (machine, remote) = (Machine::with_run("a"), MemoryStore::default());
    machine.push(&remote).unwrap();
    let before = Machine::new("b");
    before.pull(&remote, OnClash::Refuse).unwrap();
    publish(&machine.local, 1.0, SECOND).unwrap();
    machine.push(&remote).unwrap();
    let expected = contents(&remote);
    for is_new in [true, false] {
        let prepared = || if is_new { Machine::new("b") } else { before.copied() };
        let counted = Faulty::never(remote.clone());
        prepared().pull(&counted, OnClash::Refuse).unwrap();
        for fatal in 0..counted.operations() {
            let other = prepared();
            other.pull(&Faulty::dying(remote.clone(), fatal, Crash::Before), OnClash::Refuse).unwrap_err();
            no_pointer_dangles(&other.local);
            other.pull(&remote, OnClash::Refuse).unwrap();
            assert!(contents(&other.local) == expected, "{is_new} {fatal}");
        }
    }
}

#[test]
fn a_run_made_offline_is_carried_when_the_network_is_back() {
    let (machine, remote) = (Machine::new("a"), MemoryStore::default());
    let away = Faulty::dying(remote.clone(), 0, Crash::Before);
    assert!(machine.pull(&away, OnClash::Refuse).unwrap_err().is_away());
    publish(&machine.local, 0.0, FIRST).unwrap();
    assert!(machine.push(&away).unwrap_err().is_away());
    publish(&machine.local, 1.0, SECOND).unwrap();
    assert!(machine.push(&away).unwrap_err().is_away());
    assert!(contents(&remote).is_empty());
    machine.pull(&remote, OnClash::Refuse).unwrap();
    machine.push(&remote).unwrap();
    assert_eq!(contents(&remote), contents(&machine.local));
}

/// Two machines that agreed, then each made another run.
fn two_that_ran() -> (Machine, Machine, MemoryStore) {
    let (a, b, remote) = (Machine::with_run("a"), Machine::new("b"), MemoryStore::default());
    a.push(&remote).unwrap();
    b.pull(&remote, OnClash::Refuse).unwrap();
    publish(&a.local, 1.0, SECOND).unwrap();
    publish(&b.local, 2.0, THIRD).unwrap();
    a.push(&remote).unwrap();
    (a, b, remote)
}

#[test]
fn of_two_machines_the_loser_moves_no_pointer_reads_again_and_decides_again() {
    let (a, b, remote) = two_that_ran();
    let published = contents(&remote);
    let error = b.push(&remote).unwrap_err();
    assert!(matches!(&error, OutboxError::Conflict { clashes } if !clashes.is_empty()), "{error}");
    assert_eq!(contents(&remote), published, "the loser changed what is published");
    // A plain pull refuses as well, and says which.
    let ours = contents(&b.local);
    let OutboxError::Conflict { clashes } = b.pull(&remote, OnClash::Refuse).unwrap_err() else { panic!() };
    for path in ["champions/BTCUSDT.json", "champions/trials.jsonl", "champions/roster.json"] {
        assert!(clashes.iter().any(|clash| clash.path == path), "{path} is not in {clashes:?}");
    }
    assert_eq!(contents(&b.local), ours);

    let pulled = b.pull(&remote, OnClash::TakeTheirs).unwrap();
    assert!(pulled.given_up.iter().any(|clash| clash.path == "champions/roster.json"));
    no_pointer_dangles(&b.local);
    let lost = runs::read(&b.local, THIRD).unwrap();
    assert_eq!(lost.exit_status, formats::run::ExitStatus::Interrupted, "it must be made again");
    publish(&b.local, 2.0, THIRD).unwrap();
    b.push(&remote).unwrap();
    no_pointer_dangles(&remote);
    let symbol = coin("BTCUSDT");
    let (champion, _) = champions::read(&remote, &symbol).unwrap().unwrap();
    let (before, _) = champions::read(&a.local, &symbol).unwrap().unwrap();
    assert_eq!(champion.previous.unwrap().model_path, before.model_path, "it was held against the winner's");
    assert_eq!(promotions::read(&remote).unwrap().len(), 6);
    assert_eq!(trials::read(&remote).unwrap().len(), 3);

    a.pull(&remote, OnClash::Refuse).unwrap();
    for path in ["champions/BTCUSDT.json", "champions/roster.json", "champions/promotions.jsonl"] {
        assert_eq!(contents(&a.local)[&at(path)], contents(&remote)[&at(path)], "{path}");
    }
}

#[test]
fn a_giving_up_that_is_cut_anywhere_is_finished_by_the_next() {
    let (_, b, remote) = two_that_ran();
    let (before, seen) = (b.copied(), copy_of(&remote));
    let counted = Faulty::never(remote.clone());
    b.pull(&counted, OnClash::TakeTheirs).unwrap();
    for fatal in 0..counted.operations() {
        let (b, remote) = (before.copied(), copy_of(&seen));
        b.pull(&Faulty::dying(remote.clone(), fatal, Crash::Before), OnClash::TakeTheirs).unwrap_err();
        b.pull(&remote, OnClash::TakeTheirs).unwrap();
        no_pointer_dangles(&b.local);
        publish(&b.local, 2.0, THIRD).unwrap();
        b.push(&remote).unwrap();
        no_pointer_dangles(&remote);
        assert_eq!(promotions::read(&remote).unwrap().len(), 6, "{fatal}");
        assert_eq!(trials::read(&remote).unwrap().len(), 3, "{fatal}");
    }
}

#[test]
fn two_first_runs_that_wrote_different_models_of_one_name_clash_and_the_second_goes_beside() {
    let (a, b, remote) = (Machine::new("a"), Machine::new("b"), MemoryStore::default());
    publish(&a.local, 0.0, FIRST).unwrap();
    publish(&b.local, 1.0, SECOND).unwrap();
    a.push(&remote).unwrap();
    let published = contents(&remote);
    let error = b.push(&remote).unwrap_err();
    let OutboxError::Conflict { .. } = &error else { panic!("{error}") };
    assert_eq!(contents(&remote), published);
    b.pull(&remote, OnClash::TakeTheirs).unwrap();
    no_pointer_dangles(&b.local);
    publish(&b.local, 1.0, SECOND).unwrap();
    b.push(&remote).unwrap();
    no_pointer_dangles(&remote);
    let (champion, _) = champions::read(&remote, &coin("BTCUSDT")).unwrap().unwrap();
    assert_eq!(champion.model_path, "models/BTCUSDT/baseline_20250801.2");
}

#[test]
fn two_machines_that_made_the_same_run_do_not_disturb_each_other() {
    let (a, b, remote) = (Machine::with_run("a"), Machine::with_run("b"), MemoryStore::default());
    let other = Run { peak_memory_bytes: Some(1), ..samples::run() };
    runs::write(&b.local, &other).unwrap();
    a.push(&remote).unwrap();
    b.push(&remote).unwrap();
    assert_eq!(contents(&a.local), contents(&b.local), "the record of the first stands");
    let counted = Faulty::never(remote.clone());
    b.push(&counted).unwrap();
    assert_eq!(counted.operations(), 0);
}

#[test]
fn a_sealed_folder_that_was_changed_after_it_was_carried_is_named_with_both_hashes() {
    let (machine, remote) = (Machine::with_run("a"), MemoryStore::default());
    machine.push(&remote).unwrap();
    let path = at("models/BTCUSDT/baseline_20250801/costs.json");
    let theirs = huracan_store::sha256_hex(&machine.local.get(&path).unwrap().unwrap().bytes);
    machine.local.put(&path, b"{}", PutMode::Overwrite).unwrap();
    let error = machine.push(&remote).unwrap_err();
    let OutboxError::Changed { clash } = &error else { panic!("{error}") };
    assert_eq!((clash.path.as_str(), &clash.theirs), (path.as_str(), &theirs));
    assert_eq!(clash.ours, huracan_store::sha256_hex(b"{}"));
}

#[test]
fn a_folder_is_not_carried_to_another_remote_by_accident() {
    let (machine, remote) = (Machine::with_run("a"), MemoryStore::default());
    machine.push(&remote).unwrap();
    let quiet = |_: huracan_remote::outbox::Step<'_>| true;
    let other = Mirror::open(&machine.local, &remote, "memory:b", owner("a"), &quiet);
    assert_eq!(other.err().unwrap().code(), "store_other_remote");
}

#[test]
fn logs_that_go_on_where_the_other_side_ended_are_no_conflict() {
    let (a, b, remote) = (Machine::with_run("a"), Machine::new("b"), MemoryStore::default());
    a.push(&remote).unwrap();
    b.pull(&remote, OnClash::Refuse).unwrap();
    let tried = RunTrials { run_id: SECOND.into(), ..samples::run_trials() };
    trials::append(&a.local, &tried).unwrap();
    a.push(&remote).unwrap();
    assert_eq!(trials::read(&remote).unwrap().len(), 2);
    b.pull(&remote, OnClash::Refuse).unwrap();
    assert_eq!(trials::read(&b.local).unwrap().len(), 2);
}

#[test]
fn what_the_operator_said_there_wins_over_what_was_said_here() {
    let (a, remote) = (Machine::with_run("a"), MemoryStore::default());
    let say = |store: &dyn Store, n: u64| {
        overrides::change(store, &samples::overrides(), UtcMs(0), "op", |o| o.trade_n = n).unwrap();
    };
    let said = |store: &dyn Store| overrides::read(store, &samples::overrides()).unwrap().0.trade_n;
    say(&a.local, 3);
    a.push(&remote).unwrap();
    assert_eq!(said(&remote), 3);
    say(&a.local, 4);
    say(&remote, 9);
    a.push(&remote).unwrap();
    assert_eq!(said(&remote), 9);
    a.pull(&remote, OnClash::Refuse).unwrap();
    assert_eq!(said(&a.local), 9);
}

#[test]
fn unfinished_folders_leases_and_notes_stay_here() {
    let (machine, remote) = (Machine::with_run("a"), MemoryStore::default());
    let expected = contents(&machine.local);
    for path in ["models/XRPUSDT/baseline_20250801/model.bin", "locks/run.json", "notes.txt"] {
        machine.local.put(&at(path), b"x", PutMode::Create).unwrap();
    }
    std::fs::create_dir_all(machine.folder.path().join(".scratch")).unwrap();
    std::fs::write(machine.folder.path().join(".scratch/columns"), "x").unwrap();
    machine.push(&remote).unwrap();
    assert_eq!(contents(&remote), expected);
}

#[test]
fn what_was_lost_there_is_carried_again_unless_nothing_reaches_it() {
    let (machine, remote) = (Machine::with_run("a"), MemoryStore::default());
    publish(&machine.local, 1.0, SECOND).unwrap();
    publish(&machine.local, 2.0, THIRD).unwrap();
    machine.push(&remote).unwrap();
    let whole = contents(&remote);
    // The third's champions name the second's as those before; nothing names the first's any more.
    for entry in remote.list(Some(&at("models"))).unwrap() {
        remote.delete(&entry.path).unwrap();
    }
    remote.delete(&at("champions/ETHUSDT.json")).unwrap();
    machine.pull(&remote, OnClash::Refuse).unwrap();
    machine.push(&remote).unwrap();
    no_pointer_dangles(&remote);
    let now = contents(&remote);
    let lost: Vec<&StorePath> = whole.keys().filter(|path| !now.contains_key(path)).collect();
    assert!(
        !lost.is_empty()
            && lost.iter().all(|path| {
                let folder = path.segments().nth(2).unwrap();
                path.as_str().starts_with("models/") && folder == "baseline_20250801"
            }),
        "{lost:?}"
    );
}

#[test]
fn a_published_pointer_whose_model_is_not_whole_is_left_and_told() {
    let (a, b, remote) = (Machine::with_run("a"), Machine::new("b"), MemoryStore::default());
    a.push(&remote).unwrap();
    remote.delete(&at("models/ETHUSDT/baseline_20250801/model.bin")).unwrap();
    let pulled = b.pull(&remote, OnClash::Refuse).unwrap();
    let told = |name: &str| pulled.unusable.iter().any(|(path, _)| path == name);
    assert!(told("champions/ETHUSDT.json") && !told("champions/BTCUSDT.json"), "{:?}", pulled.unusable);
    assert!(champions::read(&b.local, &coin("ETHUSDT")).unwrap().is_none());
    assert!(champions::read(&b.local, &coin("BTCUSDT")).unwrap().is_some());
}

#[test]
fn a_model_that_does_not_verify_here_moves_no_pointer_there() {
    let (machine, remote) = (Machine::with_run("a"), MemoryStore::default());
    let path = at("models/BTCUSDT/baseline_20250801/metrics.json");
    machine.local.put(&path, b"{}", PutMode::Overwrite).unwrap();
    assert_eq!(machine.push(&remote).unwrap_err().code(), "store_corrupt");
    assert!(champions::list(&remote).unwrap().is_empty());
    assert!(roster::read(&remote).unwrap().is_none());
}

#[test]
fn a_store_that_another_machine_carries_to_is_tried_later() {
    let (machine, remote) = (Machine::with_run("a"), MemoryStore::default());
    let held = remote.lock_run(&owner("b")).unwrap();
    assert!(machine.push(&remote).unwrap_err().is_away());
    drop(held);
    machine.push(&remote).unwrap();
}

#[test]
fn what_was_tried_here_still_counts_after_somebody_else_was_first() {
    let (_, b, remote) = two_that_ran();
    let tried = RunTrials { run_id: "20250804T000000Z-0a1b2c40".into(), ..samples::run_trials() };
    trials::append(&b.local, &tried).unwrap();
    b.pull(&remote, OnClash::TakeTheirs).unwrap();
    let runs: Vec<String> = trials::read(&b.local).unwrap().into_iter().map(|line| line.run.run_id).collect();
    assert_eq!(runs, [FIRST, SECOND, THIRD, &tried.run_id]);
}

#[test]
fn trades_are_added_to_and_never_given_up() {
    let (a, b, remote) = two_that_ran();
    let path = at("trades/20250801.jsonl");
    let put = |store: &dyn Store, text: &str| store.put(&path, text.as_bytes(), PutMode::Overwrite).unwrap();
    put(&b.local, "{\"n\":1}\n");
    b.pull(&remote, OnClash::TakeTheirs).unwrap();
    b.push(&remote).unwrap();
    put(&b.local, "{\"n\":1}\n{\"n\":2}\n");
    b.push(&remote).unwrap();
    assert_eq!(contents(&remote)[&path], contents(&b.local)[&path]);
    put(&a.local, "{\"n\":7}\n");
    a.pull(&remote, OnClash::Refuse).unwrap();
    a.push(&remote).unwrap();
    assert_eq!(contents(&a.local)[&path], b"{\"n\":7}\n");
    assert_eq!(contents(&remote)[&path], contents(&b.local)[&path], "another trader's is not written over");
}

#[test]
fn somebody_who_asks_to_stop_is_heard_and_the_next_push_goes_on() {
    let (machine, remote) = (Machine::with_run("a"), MemoryStore::default());
    let stop = |step: huracan_remote::outbox::Step<'_>| step.stage != "folders";
    let mut mirror = Mirror::open(&machine.local, &remote, "memory:a", owner("a"), &stop).unwrap();
    assert_eq!(mirror.push().unwrap_err().code(), "interrupted");
    assert!(champions::list(&remote).unwrap().is_empty());
    machine.push(&remote).unwrap();
    assert_eq!(contents(&remote), contents(&machine.local));
}

#[test]
fn a_pointer_that_stays_on_its_folder_does_not_read_it_back_again() {
    let (machine, remote) = (Machine::with_run("a"), MemoryStore::default());
    machine.push(&remote).unwrap();
    let (symbol, folder) = (coin("BTCUSDT"), at("models/BTCUSDT/baseline_20250801"));
    let (champion, seen) = champions::read(&machine.local, &symbol).unwrap().unwrap();
    let expires_at = UtcMs(champion.expires_at.0.0 + UtcMs::DAY);
    let nomination = champions::Nomination { expires_at, ..samples::nomination(folder) };
    assert!(champions::point(&machine.local, &nomination, Some(&seen)).unwrap().moved);
    let counted = Faulty::never(remote.clone());
    assert_eq!(machine.push(&counted).unwrap().pointers, 1);
    // The lock, a look at the folder the pointer names there, one at its state and at the two files that
    // every publication changes, and the put.
    assert_eq!(counted.operations(), 6);
    assert_eq!(contents(&remote), contents(&machine.local));
}
