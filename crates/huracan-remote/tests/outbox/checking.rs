//! What a check finds, and that it finds nothing where nothing is wrong.

use super::{FIRST, Machine, at, contents};
use huracan_remote::outbox::check::{Checked, Problem, check_store, compare};
use huracan_store::{MemoryStore, PutMode, Store};

fn carried() -> (Machine, MemoryStore) {
    let (machine, remote) = (Machine::with_run("a"), MemoryStore::default());
    machine.push(&remote).unwrap();
    (machine, remote)
}

fn found(checked: &Checked) -> Vec<(&str, Problem)> {
    checked.findings.iter().map(|finding| (finding.path.as_str(), finding.problem)).collect()
}

#[test]
fn a_carried_store_has_nothing_wrong_on_either_side() {
    let (machine, remote) = carried();
    for store in [&machine.local as &dyn Store, &remote] {
        let checked = check_store(store, &|_, _| {}).unwrap();
        assert_eq!(found(&checked), []);
        assert!(checked.looked_at > 15, "{}", checked.looked_at);
    }
    let compared = compare(&machine.local, &remote, &|_, _| {}).unwrap();
    assert_eq!((found(&compared), compared.looked_at), (vec![], contents(&remote).len()));
}

#[test]
fn everything_that_can_be_wrong_is_named_by_file() {
    const MODEL: &str = "models/BTCUSDT/baseline_20250801";
    let check = |spoil: &dyn Fn(&MemoryStore), expected: &[(&str, Problem)]| {
        let (_, remote) = carried();
        spoil(&remote);
        let checked = check_store(&remote, &|_, _| {}).unwrap();
        for finding in expected {
            assert!(found(&checked).contains(finding), "{finding:?} is not in {:?}", checked.findings);
        }
        assert_eq!(checked.findings.len(), expected.len(), "{:?}", checked.findings);
    };
    let put = |store: &MemoryStore, path: &str, bytes: &[u8]| {
        store.put(&at(path), bytes, PutMode::Overwrite).unwrap();
    };
    let model = |name: &str| format!("{MODEL}/{name}");
    let (costs, bin) = (model("costs.json"), model("model.bin"));
    let orphan = ("champions/BTCUSDT.json", Problem::Orphan);
    check(&|s| put(s, &costs, b"{}"), &[(&costs, Problem::Differs), orphan]);
    check(&|s| s.delete(&at(&bin)).unwrap(), &[(&bin, Problem::Missing), orphan]);
    check(&|s| s.delete(&at(&model("manifest.json"))).unwrap(), &[(MODEL, Problem::Partial), orphan]);
    check(
        &|s| put(s, "champions/BTCUSDT.json", b"{"),
        &[("champions/BTCUSDT.json", Problem::Unreadable), ("champions/roster.json", Problem::Orphan)],
    );
    check(&|s| put(s, "champions/trials.jsonl", b"x\n"), &[("champions/trials.jsonl", Problem::Unreadable)]);
    check(&|s| put(s, "meta/feature_bank.json", b""), &[("meta/feature_bank.json", Problem::Unreadable)]);
    let record = format!("runs/{FIRST}/run.json");
    check(&|s| put(s, &record, b"[]"), &[(&record, Problem::Unreadable)]);
}

#[test]
fn a_comparison_names_what_is_missing_and_what_differs() {
    let (machine, remote) = carried();
    remote.delete(&at("models/ETHUSDT/baseline_20250801/costs.json")).unwrap();
    remote.put(&at("champions/roster.json"), b"{}", PutMode::Overwrite).unwrap();
    machine.local.delete(&at("meta/feature_bank.json")).unwrap();
    let compared = compare(&machine.local, &remote, &|_, _| {}).unwrap();
    assert_eq!(
        found(&compared),
        [
            ("champions/roster.json", Problem::Differs),
            ("meta/feature_bank.json", Problem::Missing),
            ("models/ETHUSDT/baseline_20250801/costs.json", Problem::Missing),
        ]
    );
}
