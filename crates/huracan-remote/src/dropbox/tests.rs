//! The store in Dropbox against the stand-in: conditions, batches, pauses, tokens, lost answers,
//! listings, and how many requests each takes. No real account is asked.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use huracan_core::words::UtcMs;
use huracan_store::{PutMode, Revision, RunOwner, Store, StoreError, StorePath};

use super::{Change, Credentials, DropboxConfig, DropboxConfigError, DropboxStore, content_hash};
use crate::lease::LeaseTerms;
use crate::retry::RetryPolicy;
use crate::testing::dropbox::{DropboxStandIn, Fault};

const MIB: usize = 1 << 20;
const ATTEMPTS: u32 = 8;
const UPLOAD: &str = "files/upload";
const START: &str = "files/upload_session/start";
const APPEND: &str = "files/upload_session/append_v2";
const FINISH_BATCH: &str = "files/upload_session/finish_batch_v2";

fn path(text: &str) -> StorePath {
    StorePath::new(text).unwrap()
}

fn owner(pid: u32) -> RunOwner {
    RunOwner { purpose: "train".into(), pid, host: "box".into(), since: UtcMs(1_754_006_400_000) }
}

fn config(stand_in: &DropboxStandIn) -> DropboxConfig {
    // A second installation is refused, which is fine: the provider is there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let retry = RetryPolicy {
        attempts_max: ATTEMPTS,
        wait_min: Duration::from_millis(1),
        wait_max: Duration::from_millis(20),
        ..RetryPolicy::default()
    };
    DropboxConfig {
        endpoints: stand_in.endpoints(),
        retry,
        trust: Duration::from_secs(3600),
        ..DropboxConfig::new(stand_in.credentials())
    }
}

fn open(stand_in: &DropboxStandIn) -> DropboxStore {
    DropboxStore::open(config(stand_in)).unwrap()
}

fn fresh() -> (DropboxStandIn, DropboxStore) {
    let stand_in = DropboxStandIn::start().unwrap();
    let store = open(&stand_in);
    (stand_in, store)
}

/// For thousands of requests of which nearly every second one fails.
fn fresh_and_patient() -> (DropboxStandIn, DropboxStore) {
    let stand_in = DropboxStandIn::start().unwrap();
    let mut patient = config(&stand_in);
    patient.retry.attempts_max = 30;
    let store = DropboxStore::open(patient).unwrap();
    (stand_in, store)
}

fn next(stand_in: &DropboxStandIn, route: &str, fault: Fault) {
    stand_in.switch(|switches| switches.next.push_back((route.into(), fault)));
}

/// Requests since the last question, tokens apart.
fn asked(stand_in: &DropboxStandIn) -> usize {
    let asked = stand_in.requests().iter().filter(|request| request.route != "oauth2/token").count();
    stand_in.forget_requests();
    asked
}

fn files(count: usize, salt: &str) -> Vec<(StorePath, Vec<u8>, PutMode)> {
    let file = |i: usize| {
        let name = format!("models/COIN{}/baseline_20250801/{}.json", i / 5, i % 5);
        (path(&name), format!("{salt} {i}").into_bytes(), PutMode::Overwrite)
    };
    (0..count).map(file).collect()
}

fn all_written(results: &[huracan_store::Result<Revision>]) {
    let failed: Vec<_> = results.iter().filter(|result| result.is_err()).collect();
    assert!(failed.is_empty(), "{} failed, such as {:?}", failed.len(), failed[0]);
}

#[test]
fn the_contract_of_stores_holds() {
    let (_stand_in, store) = fresh();
    huracan_store::contract::holds_for(&store);
}

#[test]
fn the_contract_holds_for_one_writer_whose_answers_get_lost() {
    let (stand_in, store) = fresh_and_patient();
    stand_in.switch(|switches| {
        switches.every = vec![
            (5, Fault::TooManyRequests { retry_after_s: 0 }),
            (7, Fault::LoseAnswer),
            (11, Fault::Status(500)),
            (13, Fault::CutRequest),
            (17, Fault::EndToken),
        ];
        switches.crowded_entry_every = Some(5);
    });
    huracan_store::contract::holds_for_one_writer(&store);
}

/// No answers get lost here: of two who race to write the same bytes, one in doubt takes the other's
/// for its own.
#[test]
fn the_contract_holds_when_much_is_refused() {
    let (stand_in, store) = fresh_and_patient();
    stand_in.switch(|switches| {
        switches.every = vec![
            (5, Fault::TooManyRequests { retry_after_s: 0 }),
            (7, Fault::TooManyWrites { retry_after_s: 0 }),
            (17, Fault::EndToken),
        ];
        switches.crowded_entry_every = Some(5);
    });
    huracan_store::contract::holds_for(&store);
}

#[test]
fn conditions_decide_who_writes() {
    let (stand_in, store) = fresh();
    let x = path("champions/BTCUSDT.json");
    assert_eq!(store.get(&x).unwrap(), None);
    let first = store.put(&x, b"1", PutMode::Create).unwrap();
    assert!(matches!(store.put(&x, b"1", PutMode::Create), Err(StoreError::AlreadyExists { .. })));
    let second = store.put(&x, b"2", PutMode::IfRevision(first.clone())).unwrap();
    match store.put(&x, b"3", PutMode::IfRevision(first.clone())).unwrap_err() {
        StoreError::Stale { expected, found, .. } => {
            assert_eq!((expected.as_str(), found.as_str()), (first.as_str(), second.as_str()));
        }
        other => panic!("{other}"),
    }
    // The bytes that are there are no leave to swap against another state.
    let error = store.put(&x, b"2", PutMode::IfRevision(first.clone())).unwrap_err();
    assert_eq!(error.code(), "store_stale");
    for revision in [first, Revision::of(b"x"), Revision::new("not a rev")] {
        match store.put(&path("nowhere"), b"3", PutMode::IfRevision(revision)).unwrap_err() {
            StoreError::Stale { found, .. } => assert_eq!(found, "none"),
            other => panic!("{other}"),
        }
    }
    let found = store.get(&x).unwrap().unwrap();
    assert_eq!((found.bytes.as_slice(), found.revision), (&b"2"[..], second));
    assert_eq!(stand_in.files(), BTreeMap::from([("/Huracan/champions/BTCUSDT.json".into(), b"2".to_vec())]));
}

#[test]
fn an_overwrite_wins_against_whatever_is_there() {
    let (stand_in, one) = fresh();
    let two = open(&stand_in);
    for round in 0..3 {
        one.put(&path("x"), format!("one {round}").as_bytes(), PutMode::Overwrite).unwrap();
        two.put(&path("x"), format!("two {round}").as_bytes(), PutMode::Overwrite).unwrap();
        assert_eq!(one.get(&path("x")).unwrap().unwrap().bytes, format!("two {round}").as_bytes());
    }
    // What somebody else removed is simply written again.
    two.delete(&path("x")).unwrap();
    one.put(&path("x"), b"back", PutMode::Overwrite).unwrap();
    assert_eq!(two.get(&path("x")).unwrap().unwrap().bytes, b"back");
}

#[test]
fn paths_that_differ_in_case_are_kept_apart_by_an_error() {
    let (stand_in, store) = fresh();
    store.put(&path("models/BTC/a"), b"1", PutMode::Create).unwrap();
    for store in [&store, &open(&stand_in)] {
        for other in ["models/BTC/A", "models/btc/a", "Models/BTC/a", "models/btc/b"] {
            for mode in [PutMode::Create, PutMode::Overwrite] {
                let error = store.put(&path(other), b"2", mode).unwrap_err();
                let text = error.to_string();
                assert!(text.contains("upper from lower case") && text.contains("models/BTC/"), "{text}");
            }
            store.delete(&path(other)).unwrap();
        }
        assert!(store.get(&path("models/btc/a")).is_err());
    }
    let batch: Vec<_> =
        ["x/a", "x/A", "models/BTC/A"].map(|name| (path(name), vec![3], PutMode::Overwrite)).into();
    let results = store.put_many(&batch);
    assert!(results[0].is_ok() && results[1].is_err() && results[2].is_err(), "{results:?}");
    let expected = [("/Huracan/models/BTC/a".into(), vec![b'1']), ("/Huracan/x/a".into(), vec![3])];
    assert_eq!(stand_in.files(), BTreeMap::from(expected));
}

#[test]
fn a_folder_is_neither_object_nor_removed() {
    let (stand_in, store) = fresh();
    store.put(&path("a/b"), b"1", PutMode::Create).unwrap();
    assert_eq!(store.get(&path("a")).unwrap(), None);
    open(&stand_in).delete(&path("a")).unwrap();
    for (name, reason) in [("a", "a folder of this name"), ("a/b/c", "is a file")] {
        for mode in [PutMode::Create, PutMode::Overwrite] {
            let error = store.put(&path(name), b"2", mode).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
    assert_eq!(stand_in.files().len(), 1);
}

#[test]
fn a_removal_is_of_what_is_there_now() {
    let (stand_in, one) = fresh();
    let two = open(&stand_in);
    one.put(&path("x"), b"1", PutMode::Create).unwrap();
    two.put(&path("x"), b"2", PutMode::Overwrite).unwrap();
    one.delete(&path("x")).unwrap();
    assert!(stand_in.files().is_empty());
    // A folder came where the object was.
    one.put(&path("x"), b"1", PutMode::Create).unwrap();
    two.delete(&path("x")).unwrap();
    two.put(&path("x/y"), b"1", PutMode::Create).unwrap();
    one.delete(&path("x")).unwrap();
    assert_eq!(stand_in.files().len(), 1);
}

#[test]
fn a_lost_answer_is_no_conflict_with_ourselves() {
    for fault in [Fault::LoseAnswer, Fault::CutRequest] {
        let (stand_in, store) = fresh();
        let x = path("x");
        next(&stand_in, UPLOAD, fault);
        let first = store.put(&x, b"one", PutMode::Create).unwrap();
        assert_eq!(store.get(&x).unwrap().unwrap().revision, first);
        next(&stand_in, UPLOAD, fault);
        let second = store.put(&x, b"two", PutMode::IfRevision(first.clone())).unwrap();
        let found = store.get(&x).unwrap().unwrap();
        assert_eq!((found.bytes.as_slice(), &found.revision), (&b"two"[..], &second));
        next(&stand_in, UPLOAD, fault);
        let third = store.put(&x, b"three", PutMode::Overwrite).unwrap();
        assert_eq!(store.get(&x).unwrap().unwrap().revision, third);
        // Doubt is no leave: what is there is not ours.
        next(&stand_in, UPLOAD, Fault::Status(500));
        assert_eq!(store.put(&x, b"four", PutMode::Create).unwrap_err().code(), "store_already_exists");
        next(&stand_in, UPLOAD, Fault::Status(503));
        assert_eq!(store.put(&x, b"four", PutMode::IfRevision(first)).unwrap_err().code(), "store_stale");
        next(&stand_in, "files/delete_v2", fault);
        store.delete(&x).unwrap();
        assert_eq!(store.get(&x).unwrap(), None);
    }
}

#[test]
fn in_doubt_older_bytes_like_ours_are_not_ours() {
    let (stand_in, store) = fresh();
    store.put(&path("x"), b"1", PutMode::Create).unwrap();
    next(&stand_in, UPLOAD, Fault::Status(500));
    assert_eq!(store.put(&path("x"), b"1", PutMode::Create).unwrap_err().code(), "store_already_exists");
    // Another process does not know the state, but the time.
    stand_in.switch(|switches| switches.clock_shift_s = 5);
    next(&stand_in, UPLOAD, Fault::Status(500));
    let error = open(&stand_in).put(&path("x"), b"1", PutMode::Create).unwrap_err();
    assert_eq!(error.code(), "store_already_exists");
}

#[test]
fn large_objects_go_in_pieces_and_survive_broken_lines() {
    let stand_in = DropboxStandIn::start().unwrap();
    let store =
        DropboxStore::open(DropboxConfig { request_bytes_max: 4 * MIB, ..config(&stand_in) }).unwrap();
    let content: Vec<u8> = (0..9 * MIB).map(|i| (i % 251) as u8).collect();
    next(&stand_in, APPEND, Fault::LoseAnswer);
    next(&stand_in, APPEND, Fault::CutRequest);
    next(&stand_in, APPEND, Fault::LoseAnswer);
    let first = store.put(&path("big"), &content, PutMode::Create).unwrap();
    assert_eq!((stand_in.count(START), stand_in.count(UPLOAD)), (1, 0));
    let found = store.get(&path("big")).unwrap().unwrap();
    assert!(found.bytes == content && found.revision == first);
    next(&stand_in, "files/upload_session/finish", Fault::LoseAnswer);
    store.put(&path("big"), &content[1..], PutMode::IfRevision(first.clone())).unwrap();
    assert!(store.get(&path("big")).unwrap().unwrap().bytes == content[1..]);
    let error = store.put(&path("big"), &content, PutMode::IfRevision(first)).unwrap_err();
    assert_eq!(error.code(), "store_stale");
    let batch =
        [("p", 5 * MIB), ("q", 12)].map(|(name, n)| (path(name), content[..n].to_vec(), PutMode::Create));
    all_written(&store.put_many(&batch));
    assert!(store.get(&path("p")).unwrap().unwrap().bytes == content[..5 * MIB]);
}

#[test]
fn a_damaged_download_is_fetched_again() {
    let (stand_in, store) = fresh();
    store.put(&path("x"), b"whole", PutMode::Create).unwrap();
    next(&stand_in, "files/download", Fault::DamageDownload);
    assert_eq!(store.get(&path("x")).unwrap().unwrap().bytes, b"whole");
    assert_eq!(stand_in.count("files/download"), 2);
    stand_in.switch(|switches| switches.every.push((1, Fault::DamageDownload)));
    let error = store.get(&path("x")).unwrap_err().to_string();
    assert!(error.contains(&content_hash(b"whole")), "{error}");
}

#[test]
fn pauses_are_kept_and_patience_ends() {
    let (stand_in, store) = fresh();
    next(&stand_in, UPLOAD, Fault::TooManyRequests { retry_after_s: 1 });
    next(&stand_in, UPLOAD, Fault::TooManyWrites { retry_after_s: 0 });
    next(&stand_in, UPLOAD, Fault::Status(500));
    let begun = Instant::now();
    store.put(&path("x"), b"1", PutMode::Create).unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!((stand_in.count(UPLOAD), store.usage().unwrap().retries), (4, 3));
    next(&stand_in, UPLOAD, Fault::TooManyRequests { retry_after_s: 3600 });
    let error = store.put(&path("y"), b"1", PutMode::Create).unwrap_err().to_string();
    assert!(error.contains("3600 s"), "{error}");
    stand_in.switch(|switches| switches.every.push((1, Fault::Status(503))));
    stand_in.forget_requests();
    let error = store.get(&path("x")).unwrap_err().to_string();
    assert!(error.contains("503"), "{error}");
    assert_eq!(stand_in.count("files/download"), ATTEMPTS as usize);
}

#[test]
fn a_full_account_is_no_space() {
    let (stand_in, store) = fresh();
    stand_in.switch(|switches| switches.quota_bytes = Some(10));
    store.put(&path("x"), b"12345", PutMode::Create).unwrap();
    assert_eq!(store.put(&path("y"), b"123456", PutMode::Create).unwrap_err().code(), "store_no_space");
    let batch = [("y", 6), ("z", 5)].map(|(name, n)| (path(name), vec![0; n], PutMode::Create));
    let results = store.put_many(&batch);
    assert_eq!(results[0].as_ref().unwrap_err().code(), "store_no_space");
    assert!(results[1].is_ok());
    next(&stand_in, UPLOAD, Fault::Status(507));
    assert_eq!(store.put(&path("w"), b"", PutMode::Create).unwrap_err().code(), "store_no_space");
}

#[test]
fn one_request_for_a_new_token_however_many_threads_need_it() {
    let (stand_in, store) = fresh();
    stand_in.switch(|switches| switches.token_requests = Some(40));
    std::thread::scope(|scope| {
        for worker in 0..8 {
            let store = &store;
            scope.spawn(move || {
                for i in 0..20 {
                    store.put(&path(&format!("{worker}/{i}")), b"1", PutMode::Create).unwrap();
                }
            });
        }
    });
    assert_eq!(stand_in.files().len(), 160);
    let refused = stand_in.requests().iter().filter(|request| request.status == 401).count();
    assert!(refused >= 3, "tokens ended {refused} times");
    assert_eq!(stand_in.count("oauth2/token"), 4, "one token for every forty requests");
}

#[test]
fn a_token_is_renewed_before_it_ends() {
    let (stand_in, store) = fresh();
    stand_in.switch(|switches| switches.token_lives_s = Some(2));
    store.put(&path("x"), b"1", PutMode::Create).unwrap();
    std::thread::sleep(Duration::from_millis(1100));
    next(&stand_in, "oauth2/token", Fault::Status(500));
    store.put(&path("y"), b"1", PutMode::Create).unwrap();
    assert_eq!(stand_in.count("oauth2/token"), 3);
    assert!(stand_in.requests().iter().all(|request| request.status != 401));
}

#[test]
fn wrong_credentials_are_said_so_and_not_repeated() {
    let stand_in = DropboxStandIn::start().unwrap();
    for credentials in [
        Credentials::new("wrong-refresh-token", "stand-in-app-key", None),
        Credentials::new("stand-in-refresh-token", "wrong-key", None),
        Credentials::new("stand-in-refresh-token", "stand-in-app-key", Some("wrong-secret".into())),
    ] {
        let store = DropboxStore::open(DropboxConfig { credentials, ..config(&stand_in) }).unwrap();
        stand_in.forget_requests();
        let error = store.get(&path("x")).unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains("refresh token") && !text.contains("wrong-"), "{text}");
        assert_eq!(stand_in.requests().len(), 1);
    }
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let stand_in = DropboxStandIn::start().unwrap();
    for root in ["Huracan", "/", "/Huracan/", "/a//b"] {
        let error = DropboxStore::open(DropboxConfig { root: root.into(), ..config(&stand_in) }).unwrap_err();
        assert!(matches!(error, DropboxConfigError::Root { .. }), "{root}: {error}");
    }
    let odd = DropboxConfig { request_bytes_max: 5 * MIB, ..config(&stand_in) };
    assert!(DropboxStore::open(odd).unwrap_err().to_string().contains("5242880"));
    let mut open_line = config(&stand_in);
    open_line.endpoints.token = "http://api.dropboxapi.com/oauth2/token".into();
    assert!(DropboxStore::open(open_line).unwrap_err().to_string().contains("https"));
    let shown = format!("{:?}", config(&stand_in));
    assert!(shown.contains("***") && !shown.contains("stand-in-app-secret"), "{shown}");
}

#[test]
fn any_root_is_a_store() {
    let stand_in = DropboxStandIn::start().unwrap();
    for root in ["", "/Huracan", "/Größe/my store"] {
        let store = DropboxStore::open(DropboxConfig { root: root.into(), ..config(&stand_in) }).unwrap();
        assert!(store.list(None).unwrap().is_empty(), "{root}");
        store.put(&path("a/b"), b"1", PutMode::Create).unwrap();
        let names: Vec<String> =
            store.list(None).unwrap().iter().map(|entry| entry.path.to_string()).collect();
        assert_eq!(names, ["a/b"], "{root}");
        assert_eq!(store.get(&path("a/b")).unwrap().unwrap().bytes, b"1");
        store.delete(&path("a/b")).unwrap();
    }
}

#[test]
fn publishing_costs_one_request_a_file_and_nothing_where_nothing_changed() {
    let (stand_in, store) = fresh();
    let batch = files(2000, "first");
    all_written(&store.put_many(&batch));
    let cost = asked(&stand_in);
    println!("2000 new files: {cost} requests");
    assert!(cost <= 2400, "{cost}");

    all_written(&store.put_many(&batch));
    assert_eq!(asked(&stand_in), 0, "nothing changed");

    // Another process knows nothing yet: it lists, and that is all.
    let other = open(&stand_in);
    all_written(&other.put_many(&batch));
    let cost = asked(&stand_in);
    println!("the same 2000 from another process: {cost} requests");
    assert!(cost <= 3, "{cost}");

    let mut changed = batch;
    changed.iter_mut().take(500).for_each(|file| file.1.extend_from_slice(b" changed"));
    all_written(&open(&stand_in).put_many(&changed));
    let cost = asked(&stand_in);
    println!("500 of them changed: {cost} requests");
    assert!(cost <= 600, "{cost}");
    let found = stand_in.files();
    assert!(changed.iter().all(|(path, bytes, _)| found[&format!("/Huracan/{path}")] == *bytes));
}

#[test]
fn a_batch_keeps_every_condition() {
    let (stand_in, store) = fresh();
    let rev = |name: &str| store.put(&path(name), b"old", PutMode::Create).unwrap();
    let (good, bad) = (rev("good"), rev("bad"));
    let there = rev("there");
    open(&stand_in).put(&path("bad"), b"theirs", PutMode::IfRevision(bad.clone())).unwrap();
    let batch = [
        (path("good"), b"new".to_vec(), PutMode::IfRevision(good)),
        (path("bad"), b"new".to_vec(), PutMode::IfRevision(bad)),
        (path("there"), b"new".to_vec(), PutMode::Create),
        (path("fresh"), b"".to_vec(), PutMode::Create),
        (path("there"), b"newer".to_vec(), PutMode::Overwrite),
        (path("odd"), b"new".to_vec(), PutMode::IfRevision(Revision::new("odd"))),
        (path("theirs"), b"x".to_vec(), PutMode::Overwrite),
    ];
    open(&stand_in).put(&path("theirs"), b"y", PutMode::Create).unwrap();
    let results = store.put_many(&batch);
    let codes: Vec<&str> =
        results.iter().map(|r| r.as_ref().map_or_else(StoreError::code, |_| "ok")).collect();
    let expected = ["ok", "store_stale", "store_already_exists", "ok", "ok", "store_stale", "ok"];
    assert_eq!(codes, expected);
    assert_ne!(results[4].as_ref().unwrap(), &there);
    let found = stand_in.files();
    for (name, bytes) in
        [("good", "new"), ("bad", "theirs"), ("there", "newer"), ("fresh", ""), ("theirs", "x")]
    {
        assert_eq!(found[&format!("/Huracan/{name}")], bytes.as_bytes(), "{name}");
    }
    assert_eq!(found.len(), 5);
}

#[test]
fn a_crowded_batch_repeats_only_what_was_refused() {
    let (stand_in, store) = fresh();
    stand_in.switch(|switches| switches.crowded_entry_every = Some(7));
    let batch = files(100, "x");
    all_written(&store.put_many(&batch));
    assert_eq!((stand_in.files().len(), stand_in.count(START)), (100, 100));
    // 100 + 14 + 2 entries: what went through is not committed again.
    assert_eq!(stand_in.count(FINISH_BATCH), 3);
    stand_in.switch(|switches| switches.crowded_entry_every = Some(1));
    let results = store.put_many(&files(3, "y"));
    let text = results[2].as_ref().unwrap_err().to_string();
    assert!(text.contains("too_many_write_operations"), "{text}");
}

#[test]
fn a_batch_whose_answer_was_lost_is_there() {
    for mode in [PutMode::Create, PutMode::Overwrite] {
        let (stand_in, store) = fresh();
        let mut batch = files(20, "x");
        batch.iter_mut().for_each(|file| file.2 = mode.clone());
        next(&stand_in, FINISH_BATCH, Fault::LoseAnswer);
        next(&stand_in, START, Fault::LoseAnswer);
        let results = store.put_many(&batch);
        all_written(&results);
        let listed = store.list_hashes().unwrap();
        for ((path, bytes, _), rev) in batch.iter().zip(results) {
            let found = &listed[path];
            assert_eq!(
                (&found.content_hash, found.rev.as_str()),
                (&content_hash(bytes), rev.unwrap().as_str())
            );
        }
    }
}

#[test]
fn everything_fails_now_and_then_and_nothing_is_lost() {
    let (stand_in, store) = fresh_and_patient();
    stand_in.switch(|switches| {
        switches.every = vec![
            (7, Fault::TooManyRequests { retry_after_s: 0 }),
            (11, Fault::Status(500)),
            (13, Fault::LoseAnswer),
            (17, Fault::CutRequest),
            (19, Fault::DamageDownload),
            (23, Fault::TooManyWrites { retry_after_s: 0 }),
            (29, Fault::EndToken),
        ];
        switches.crowded_entry_every = Some(9);
    });
    let batch = files(300, "first");
    all_written(&store.put_many(&batch));
    std::thread::scope(|scope| {
        for part in batch.chunks(75) {
            let store = &store;
            scope.spawn(move || {
                for (path, bytes, _) in part {
                    let found = store.get(path).unwrap().unwrap();
                    assert_eq!(found.bytes, *bytes);
                    store.put(path, b"second", PutMode::IfRevision(found.revision)).unwrap();
                }
            });
        }
    });
    assert!(stand_in.files().values().all(|bytes| bytes == b"second"));
    assert_eq!(stand_in.files().len(), 300);
    println!("{:?}", store.usage().unwrap());
}

#[test]
fn a_listing_goes_over_many_pages_and_knows_the_hashes() {
    let (stand_in, store) = fresh();
    let batch = files(4100, "x");
    all_written(&store.put_many(&batch));
    // A line no store would give a name to is left out.
    let stranger =
        DropboxStore::open(DropboxConfig { root: "/Huracan/my notes".into(), ..config(&stand_in) }).unwrap();
    stranger.put(&path("a"), b"1", PutMode::Create).unwrap();
    asked(&stand_in);
    for forget_folder_case in [false, true] {
        stand_in.switch(|switches| switches.forget_folder_case = forget_folder_case);
        let other = open(&stand_in);
        let listed = other.list_hashes().unwrap();
        assert_eq!(listed.len(), 4100);
        for (path, bytes, _) in &batch {
            let found = &listed[path];
            assert_eq!((found.size_bytes, &found.content_hash), (bytes.len() as u64, &content_hash(bytes)));
        }
        let entries = other.list(Some(&path("models/COIN7"))).unwrap();
        assert!(entries.is_sorted() && entries.len() == 5, "{entries:?}");
        assert!(entries.iter().all(|entry| entry.path.as_str().starts_with("models/COIN7/baseline")));
        assert!(
            other.list(Some(&path("models/coin7"))).unwrap().is_empty(),
            "another case is another folder"
        );
        assert!(other.list(Some(&path("models/COIN"))).unwrap().is_empty());
        assert!(other.list(Some(&entries[0].path)).unwrap().is_empty(), "an object is not below itself");
    }
    // 4100 files and 1642 folders on pages of 2000, twice.
    assert_eq!(stand_in.count("files/list_folder/continue"), 4);
}

#[test]
fn changes_since_a_cursor_are_told() {
    let (stand_in, store) = fresh();
    let nothing = store.changes(None).unwrap();
    assert_eq!((nothing.changes.len(), &nothing.cursor), (0, &None));
    all_written(&store.put_many(&files(7, "x")));
    let all = store.changes(None).unwrap();
    assert_eq!((all.changes.len(), all.restarted), (7, true));
    let none = store.changes(all.cursor.as_deref()).unwrap();
    assert_eq!((none.changes.len(), none.restarted), (0, false));
    let rev = store.put(&path("champions/X.json"), b"new", PutMode::Create).unwrap();
    store.delete(&path("models/COIN0/baseline_20250801/0.json")).unwrap();
    let some = store.changes(none.cursor.as_deref()).unwrap();
    assert_eq!(some.changes.len(), 2);
    assert!(some.changes.iter().any(|change| matches!(change, Change::Written { path, listed }
        if path.as_str() == "champions/X.json" && listed.rev == rev.as_str())));
    let gone = Change::Removed { path: path("models/COIN0/baseline_20250801/0.json") };
    assert!(some.changes.contains(&gone));
    stand_in.switch(|switches| switches.reset_cursors = true);
    let anew = store.changes(some.cursor.as_deref()).unwrap();
    assert_eq!((anew.changes.len(), anew.restarted), (7, true));
}

#[test]
fn bytes_known_to_be_there_are_not_sent() {
    let (stand_in, store) = fresh();
    let x = path("x");
    let first = store.put(&x, b"1", PutMode::Overwrite).unwrap();
    asked(&stand_in);
    assert_eq!(store.put(&x, b"1", PutMode::Overwrite).unwrap(), first);
    assert_eq!(asked(&stand_in), 0);
    // Known but other bytes: one request, a swap.
    store.put(&x, b"2", PutMode::Overwrite).unwrap();
    assert_eq!(asked(&stand_in), 1);
    // A listing that saw somebody else's write takes the knowledge away.
    open(&stand_in).put(&x, b"3", PutMode::Overwrite).unwrap();
    store.list(None).unwrap();
    store.put(&x, b"2", PutMode::Overwrite).unwrap();
    assert_eq!(stand_in.files()["/Huracan/x"], b"2");
    // Conditions are asked of Dropbox always.
    assert!(store.put(&x, b"2", PutMode::Create).is_err());
    store.delete(&x).unwrap();
    store.put(&x, b"2", PutMode::Overwrite).unwrap();
    assert_eq!(stand_in.files()["/Huracan/x"], b"2");
    let doubter = DropboxStore::open(DropboxConfig { trust: Duration::ZERO, ..config(&stand_in) }).unwrap();
    doubter.list(None).unwrap();
    asked(&stand_in);
    doubter.put(&x, b"2", PutMode::Overwrite).unwrap();
    assert_eq!(asked(&stand_in), 1);
}

#[test]
fn the_run_lock_is_exclusive_named_and_given_back() {
    let (stand_in, one) = fresh();
    let two = open(&stand_in);
    let held = one.lock_run(&owner(7)).unwrap();
    let error = two.lock_run(&owner(8)).unwrap_err();
    assert_eq!(error.code(), "store_locked");
    assert!(error.to_string().contains("train, pid 7 on box since 2025-08-01T00:00:00Z"), "{error}");
    drop(held);
    drop(two.lock_run(&owner(9)).unwrap());
}

#[test]
fn a_lease_that_is_not_renewed_is_over_by_the_clock_of_dropbox() {
    let (stand_in, one) = fresh();
    let two = open(&stand_in);
    let held = one.lock_run(&owner(7)).unwrap();
    let shift = |s: i64| stand_in.switch(|switches| switches.clock_shift_s = s);
    shift(55);
    assert_eq!(two.lock_run(&owner(8)).unwrap_err().code(), "store_locked");
    shift(70);
    let taken = two.lock_run(&owner(8)).unwrap();
    // The first still believes it holds; giving back must not take what is another's.
    drop(held);
    assert!(taken.still_held());
    assert_eq!(one.lock_run(&owner(9)).unwrap_err().code(), "store_locked");
    drop(taken);
    drop(one.lock_run(&owner(9)).unwrap());
}

#[test]
fn a_lease_is_renewed_and_who_lost_it_finds_out() {
    let stand_in = DropboxStandIn::start().unwrap();
    let lease = LeaseTerms { term: Duration::from_secs(3) };
    let short = || DropboxStore::open(DropboxConfig { lease, ..config(&stand_in) }).unwrap();
    let (one, two) = (short(), short());
    let held = one.lock_run(&owner(7)).unwrap();
    // A renewal whose answer is lost is one all the same.
    next(&stand_in, UPLOAD, Fault::LoseAnswer);
    std::thread::sleep(Duration::from_millis(3500));
    assert!(held.still_held());
    assert_eq!(two.lock_run(&owner(8)).unwrap_err().code(), "store_locked");
    // The clock jumps, another run takes over, and the first finds out with its next renewal.
    stand_in.switch(|switches| switches.clock_shift_s = 3600);
    let taken = two.lock_run(&owner(8)).unwrap();
    let begun = Instant::now();
    while held.still_held() {
        assert!(begun.elapsed() < lease.term + Duration::from_secs(1));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(taken.still_held());
    drop(held);
    assert!(taken.still_held());
}

#[test]
fn it_may_be_called_where_others_await() {
    let (_stand_in, store) = fresh();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        store.put(&path("x"), b"1", PutMode::Create).unwrap();
        assert_eq!(store.get(&path("x")).unwrap().unwrap().bytes, b"1");
        drop(store);
    });
}

/// What the stand-in is worth: Dropbox's own client must find itself at home in it.
#[test]
fn the_official_sdk_agrees_with_the_stand_in() {
    let python = "python3";
    let there = Command::new(python).args(["-c", "import dropbox"]).output();
    if !there.is_ok_and(|output| output.status.success()) {
        crate::testing::skip("no Python dropbox SDK");
        return;
    }
    let stand_in = DropboxStandIn::start().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/dropbox_sdk.py");
    let output = Command::new(python).arg(script).arg(stand_in.url()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    // And our own client reads what theirs wrote.
    let store = DropboxStore::open(DropboxConfig { root: "/sdk".into(), ..config(&stand_in) }).unwrap();
    let found = store.get(&path("kept.bin")).unwrap().unwrap();
    assert_eq!(found.bytes, b"written by the SDK");
    assert!(said.contains(&format!("kept.bin has rev {}", found.revision)), "{said}");
}
