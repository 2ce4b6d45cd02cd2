//! A run from outside: what it leaves behind, what it does with a second try, with broken input, and
//! when it is killed.

use crate::market::{CLOCKED, assert_same, candles, files, fresh, spec, train, trained, write_market};
use crate::run::{Ran, huracan_in};
use huracan_core::words::UtcMs;
use huracan_store::formats::promotion::EventKind;
use huracan_store::{LocalStore, RunOwner, Store as _, promotions};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

fn in_store(store: &Path, arguments: &[&str]) -> Ran {
    let store = ["--store", store.to_str().unwrap()];
    huracan_in(store_parent(&store), &[arguments, &store[..]].concat(), &[])
}

/// Commands run where the run ran, because it was given its candles by a relative path.
fn store_parent<'a>(store: &[&'a str; 2]) -> &'a Path {
    Path::new(store[1]).parent().unwrap()
}

fn names(roster: &Value, list: &str) -> Vec<String> {
    let lines = roster[list].as_array().unwrap().iter();
    lines.map(|line| line["symbol"].as_str().unwrap().to_owned()).collect()
}

/// Every coin of the market in exactly one list.
fn assert_complete(roster: &Value, total: usize) {
    let lists = ["symbols", "skipped", "failed"].map(|list| names(roster, list));
    let all: Vec<&String> = lists.iter().flatten().collect();
    let distinct: BTreeSet<&String> = all.iter().copied().collect();
    assert_eq!((all.len(), distinct.len()), (total, total), "{lists:?}");
    assert_eq!(roster["total_symbols"], total);
}

#[test]
fn a_run_leaves_a_store_that_can_be_read_explained_and_verified() {
    let store = trained();
    let roster = in_store(store, &["roster", "--json"]).json();
    assert_complete(&roster, spec().coins);
    let ranked = names(&roster, "symbols");
    assert!(ranked.len() >= 8, "{ranked:?}");
    assert!(in_store(store, &["roster"]).out.contains("coins may be traded"));

    let why = in_store(store, &["why", "BTCUSDT", "--json"]).json();
    assert_eq!(why["why"]["symbol"], "BTCUSDT.P");
    let gates = why["why"]["gates"].as_array().unwrap();
    assert!(gates.len() >= 9 && gates.iter().all(|gate| gate["compare"] != ""), "{gates:?}");
    let text = in_store(store, &["why", "BTCUSDT"]).out;
    let parts = [
        "round trip today",
        "model sha256",
        "first champion",
        "entry threshold",
        "BTCUSDT-1h.csv",
        "sharing: pca ",
        "regime now",
        "drift, last week",
        "features that earn most",
    ];
    for part in parts {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let skipped = names(&roster, "skipped");
    let text = in_store(store, &["why", &skipped[0]]).out;
    assert!(text.contains("[skipped] not trained"), "{text}");
    assert_eq!(in_store(store, &["why", "NOSUCHUSDT"]).code, 2);

    let verified = in_store(store, &["verify", "all"]);
    assert_eq!(verified.code, 0, "{}", verified.out);
    let one = in_store(store, &["verify", "BTCUSDT"]);
    assert_eq!(one.code, 0, "{}", one.out);
    let again = in_store(store, &["verify", "all", "--retrain", "--json"]);
    assert_eq!(again.code, 0, "{}{}", again.out, again.err);
    let rows = again.json()["rows"].as_array().unwrap().clone();
    let retrained = rows.iter().filter(|r| r["what"].as_str().unwrap().starts_with("retrained")).count();
    assert!(retrained >= 4 * ranked.len(), "{retrained}");
}

#[test]
fn what_was_changed_after_the_run_is_found() {
    let place = fresh("tampered");
    copy(candles(), trained(), &place);
    let metrics = |symbol: &str| place.join(format!("store/models/{symbol}"));
    let folder = std::fs::read_dir(metrics("BTCUSDT.P")).unwrap().next().unwrap().unwrap().path();
    let path = folder.join("metrics.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("\"sample_size\": ", "\"sample_size\": 1", 1)).unwrap();
    let verified = in_store(&place.join("store"), &["verify", "all"]);
    assert_eq!(verified.code, 4);
    assert!(verified.out.contains("metrics.json sha256"), "{}", verified.out);

    let candle = place.join("bars/ETHUSDT-1h.csv");
    let text = std::fs::read_to_string(&candle).unwrap();
    std::fs::write(&candle, text + "1,1,1,1,1,1\n").unwrap();
    let verified = in_store(&place.join("store"), &["verify", "ETHUSDT"]);
    assert!(verified.code == 4 && verified.out.contains("candles ETHUSDT-1h.csv"), "{}", verified.out);
    let elsewhere = candles().join("bars");
    let moved = ["verify", "ETHUSDT", "--candles", elsewhere.to_str().unwrap()];
    assert_eq!(in_store(&place.join("store"), &moved).code, 0);
}

/// Copies candles and store to a place of their own.
fn copy(candles: &Path, store: &Path, place: &Path) {
    for (from, to) in [(candles.join("bars"), "bars"), (store.to_owned(), "store")] {
        for (name, bytes) in files(&from, &[]) {
            let path = place.join(to).join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }
}

#[test]
fn the_same_run_again_has_nothing_to_do() {
    let place = fresh("again");
    copy(candles(), trained(), &place);
    let store = place.join("store");
    let before = files(&store, &["heartbeats"]);
    let ran = train(&place, "bars", "store", &[]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("nothing to do"), "{}", ran.out);
    assert_same(&files(&store, &["heartbeats"]), &before);

    // A model that does not verify any more is something to do; the spoilt folder stays as it is.
    let symbol = store.join("models/BTCUSDT.P");
    let folder = std::fs::read_dir(&symbol).unwrap().next().unwrap().unwrap().path();
    std::fs::write(folder.join("metrics.json"), "{}").unwrap();
    let ran = train(&place, "bars", "store", &[]);
    assert!(ran.code == 0 && !ran.out.contains("nothing to do"), "{}{}", ran.out, ran.err);
    assert_eq!(std::fs::read_dir(&symbol).unwrap().count(), 2);
    assert_eq!(in_store(&store, &["verify", "BTCUSDT"]).code, 0);
}

#[test]
fn a_run_whose_papers_cannot_be_written_is_complete_and_says_which() {
    let place = fresh("papers");
    let bars = candles().join("bars");
    // The same inputs are the same run; where its report should be there is a folder.
    let run_id = std::fs::read_dir(trained().join("runs")).unwrap().next().unwrap().unwrap().file_name();
    let run = place.join("store/runs").join(run_id);
    std::fs::create_dir_all(run.join("report.html/taken")).unwrap();
    let ran = train(&place, bars.to_str().unwrap(), "store", &[]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("its report could not be written"), "{}", ran.err);
    assert!(!ran.out.contains("report: "), "{}", ran.out);
    let record: Value = serde_json::from_slice(&std::fs::read(run.join("run.json")).unwrap()).unwrap();
    assert_eq!(record["exit_status"], "complete");
    assert!(run.join("events.jsonl").exists() && run.join("profile.json").exists());
    let ran = train(&place, bars.to_str().unwrap(), "store", &[]);
    assert!(ran.out.contains("nothing to do"), "{}{}", ran.out, ran.err);
}

#[test]
fn one_worker_and_two_write_the_same_bytes() {
    let place = fresh("workers");
    let bars = candles().join("bars");
    let ran = train(&place, bars.to_str().unwrap(), "store", &["--workers", "1"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("report: "), "{}", ran.out);
    assert!(!place.join("store/.scratch").exists());
    assert_same(&files(&place.join("store"), &CLOCKED), &files(trained(), &CLOCKED));
}

/// The hashes of whole candle files: the only thing that may follow what was not used.
fn without_inputs(store: &Path) -> std::collections::BTreeMap<String, Vec<u8>> {
    let mut found = files(store, &CLOCKED);
    for (name, bytes) in &mut found {
        if name.ends_with(".json") {
            let mut document: Value = serde_json::from_slice(bytes).unwrap();
            let fields = document.as_object_mut().unwrap();
            fields.remove("inputs");
            *bytes = serde_json::to_vec(&document).unwrap();
        }
    }
    found
}

#[test]
fn bars_after_until_do_not_matter_and_a_later_run_challenges_the_champions() {
    let until = UtcMs(spec().end().0 - 5 * UtcMs::DAY);
    let place = fresh("until");
    write_market(&place.join("garbage"), Some(until));
    let bars = candles().join("bars");
    let until = until.to_string();
    let flags = ["--until", until.as_str()];
    let clean = train(&place, bars.to_str().unwrap(), "clean", &flags);
    assert_eq!(clean.code, 0, "{}{}", clean.out, clean.err);
    let spoilt = train(&place, "garbage", "spoilt", &flags);
    assert_eq!(spoilt.code, 0, "{}{}", spoilt.out, spoilt.err);
    let store = place.join("clean");
    assert_same(&without_inputs(&place.join("spoilt")), &without_inputs(&store));

    let first: BTreeSet<String> =
        names(&in_store(&store, &["roster", "--json"]).json(), "symbols").into_iter().collect();
    let later = train(&place, bars.to_str().unwrap(), "clean", &[]);
    assert_eq!(later.code, 0, "{}{}", later.out, later.err);
    let roster = in_store(&store, &["roster", "--json"]).json();
    assert_complete(&roster, spec().coins);
    let verified = in_store(&store, &["verify", "all"]);
    assert_eq!(verified.code, 0, "{}", verified.out);
    let log = promotions::read(&LocalStore::open(&store).unwrap()).unwrap();
    let challenged = log.iter().filter(|line| line.event.rule_values.contains_key("common_days"));
    let challenged: BTreeSet<String> = challenged.map(|line| line.event.symbol.to_string()).collect();
    let both: BTreeSet<String> =
        names(&roster, "symbols").into_iter().filter(|s| first.contains(s)).collect();
    assert_eq!(challenged, both);

    // Champions of the earlier run are not made again, and are not passed over in silence.
    let again = in_store(&store, &["verify", "all", "--retrain", "--json"]);
    let rows = again.json()["rows"].as_array().unwrap().clone();
    let of = |ok: Value| {
        let retrained = |row: &&Value| row["what"].as_str().unwrap().starts_with("retrained");
        rows.iter().filter(retrained).filter(|row| row["ok"] == ok).count()
    };
    let kept = log.iter().filter(|line| line.event.event == EventKind::Reject).count();
    assert_eq!(of(Value::Null), kept);
    assert!(kept > 0);
    let compared = of(true.into());
    assert_eq!((again.code, of(false.into())), if compared > 0 { (0, 0) } else { (4, 1) }, "{rows:#?}");

    // The same run repeated finds its own decisions; an older one never takes over.
    let before = files(&store, &["heartbeats"]);
    for flags in [&[][..], &flags[..]] {
        let ran = train(&place, bars.to_str().unwrap(), "clean", flags);
        assert!(ran.out.contains("nothing to do"), "{}{}", ran.out, ran.err);
    }
    assert_same(&files(&store, &["heartbeats"]), &before);
}

#[test]
fn a_run_that_cannot_begin_says_why_in_one_sentence() {
    let place = fresh("cannot");
    std::fs::create_dir(place.join("empty")).unwrap();
    std::fs::write(place.join("file"), "").unwrap();
    let bars = candles().join("bars");
    let bars = bars.to_str().unwrap();
    let check = |bars: &str, store: &str, more: &[&str], code: i32, error: &str| {
        let ran = train(&place, bars, store, &[more, &["--json"]].concat());
        let said = ran.json()["error"].clone();
        assert_eq!((ran.code, said["code"].as_str().unwrap()), (code, error), "{said}");
        assert!(said["message"].as_str().unwrap().len() > 20, "{said}");
    };
    check("nowhere", "s", &[], 3, "missing_folder");
    check("empty", "s", &[], 3, "empty_folder");
    check("file", "s", &[], 3, "not_a_folder");
    check(bars, "s", &["--bar", "4h"], 3, "no_series");
    check(bars, "s", &["--until", "2024-12-01"], 3, "nothing_trainable");
    check(bars, "file/store", &[], 5, "store_io");

    let newer = LocalStore::create(place.join("newer")).unwrap();
    std::fs::create_dir(place.join("newer/champions")).unwrap();
    std::fs::write(place.join("newer/champions/roster.json"), "{\"schema\": \"roster/2\"}").unwrap();
    drop(newer);
    check(bars, "newer", &[], 5, "store_newer_format");
    std::fs::write(place.join("newer/champions/roster.json"), "{").unwrap();
    check(bars, "newer", &[], 5, "store_corrupt");

    let held = LocalStore::create(place.join("held")).unwrap();
    let owner = RunOwner { purpose: "train".into(), pid: 7, host: "elsewhere".into(), since: UtcMs(0) };
    let lock = held.lock_run(&owner).unwrap();
    check(bars, "held", &[], 5, "store_locked");
    drop(lock);
    assert!(files(&place.join("held"), &[]).is_empty());
}

#[test]
fn broken_files_are_lines_of_the_roster_and_half_a_model_is_finished() {
    let place = fresh("broken");
    let store = place.join("store");
    let (market, bars) = (candles().join("bars"), place.join("bars"));
    std::fs::create_dir_all(&bars).unwrap();
    for (name, bytes) in files(&market, &[]) {
        std::fs::write(bars.join(name), bytes).unwrap();
    }
    std::fs::write(bars.join("NOTPARQUETUSDT-1h.parquet"), "this is no Parquet").unwrap();
    let text = std::fs::read_to_string(market.join("ETHUSDT-1h.csv")).unwrap();
    let sparse = |keep: fn(usize) -> bool| {
        let lines = text.lines().enumerate().filter(|(i, _)| *i == 0 || keep(*i));
        lines.map(|(_, line)| format!("{line}\n")).collect::<String>()
    };
    std::fs::write(bars.join("MIXEDUSDT-1h.csv"), sparse(|i| i < 1000 || i % 4 == 0)).unwrap();
    let date = spec().end().date();
    let half = store.join(format!("models/BTCUSDT.P/baseline_{date}"));
    std::fs::create_dir_all(&half).unwrap();
    std::fs::write(half.join("model.bin"), "half").unwrap();

    let ran = train(&place, "bars", "store", &[]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let roster = in_store(&store, &["roster", "--json"]).json();
    assert_complete(&roster, spec().coins + 2);
    let skipped = names(&roster, "skipped");
    assert!(skipped.iter().any(|name| name.starts_with("NOTPARQUETUSDT")), "{skipped:?}");
    assert!(skipped.iter().any(|name| name.starts_with("MIXEDUSDT")), "{skipped:?}");
    assert!(half.join("manifest.json").exists());
    assert_same_models(&store, trained());
    assert_eq!(in_store(&store, &["verify", "all"]).code, 0);
    assert_eq!(in_store(&store, &["why", "MIXEDUSDT"]).code, 0);
}

/// The same four artifacts of every coin: what cannot be read does not touch the others.
fn assert_same_models(found: &Path, expected: &Path) {
    let artifacts = |store: &Path| {
        let mut files = files(store, &CLOCKED);
        files.retain(|name, _| name.starts_with("models/") && !name.ends_with("manifest.json"));
        files
    };
    assert_same(&artifacts(found), &artifacts(expected));
}

/// A run in a process of its own, whose notes can be followed.
fn started(place: &Path, store: &str) -> (Child, BufReader<std::process::ChildStderr>) {
    let bars = candles().join("bars");
    let config = candles().join("test.yaml");
    let mut child = Command::new(env!("CARGO_BIN_EXE_huracan"))
        .args(["train", "--bar", "1h", "--symbols", "all", "--store", store])
        .arg("--candles")
        .arg(bars)
        .arg("--config")
        .arg(config)
        .current_dir(place)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let notes = BufReader::new(child.stderr.take().unwrap());
    (child, notes)
}

fn wait_for(notes: &mut BufReader<std::process::ChildStderr>, beginning: &str) {
    let mut line = String::new();
    while !line.starts_with(beginning) {
        line.clear();
        assert_ne!(notes.read_line(&mut line).unwrap(), 0, "the run ended before {beginning:?}");
    }
}

#[test]
fn a_publication_killed_twice_ends_in_the_bytes_of_an_undisturbed_one() {
    let place = fresh("killed");
    let store = place.join("store");
    let expected = files(trained(), &CLOCKED);
    // Once while the model folders are written …
    let (mut child, mut notes) = started(&place, "store");
    wait_for(&mut notes, "publish: started");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!store.join("champions/roster.json").exists());
    // … and once between the first pointers and the roster.
    let (mut child, _notes) = started(&place, "store");
    let pointers = || std::fs::read_dir(store.join("champions")).map_or(0, Iterator::count);
    while pointers() < 3 && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let bars = candles().join("bars");
    let ran = train(&place, bars.to_str().unwrap(), "store", &[]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert_same(&files(&store, &CLOCKED), &expected);
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_publishes_nothing_and_says_so() {
    let place = fresh("interrupted");
    let (mut child, mut notes) = started(&place, "store");
    wait_for(&mut notes, "statistics: started");
    let told = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(told.success());
    let mut rest = String::new();
    notes.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest}");
    let store = place.join("store");
    let left: Vec<String> = files(&store, &["runs"]).into_keys().collect();
    assert_eq!(left, ["heartbeats/engine.json"], "besides the record of what it did");
    assert!(!store.join(".scratch").exists());
    let heart: Value =
        serde_json::from_slice(&std::fs::read(store.join("heartbeats/engine.json")).unwrap()).unwrap();
    assert_eq!((&heart["phase"], &heart["last_error"]), (&"failed".into(), &"interrupted".into()));
}

#[test]
fn a_placebo_run_publishes_only_its_record() {
    let place = fresh("placebo");
    let bars = candles().join("bars");
    let ran = train(&place, bars.to_str().unwrap(), "store", &["--placebo", "7"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("on random signs: "), "{}", ran.out);
    assert!(files(&place.join("store"), &CLOCKED).is_empty());
    assert_eq!(
        files(&place.join("store"), &["heartbeats"]).keys().filter(|f| f.ends_with("/run.json")).count(),
        1
    );
}

#[test]
fn imported_candles_are_seen_like_the_files_they_came_from() {
    let place = fresh("imported");
    let bars = candles().join("bars");
    let bars = bars.to_str().unwrap();
    let imported =
        huracan_in(&place, &["data", "import", "--candles", bars, "--into", "store", "--json"], &[]);
    assert_eq!(imported.code, 0, "{}{}", imported.out, imported.err);
    let check = |candles: &str| {
        let ran = huracan_in(&place, &["data", "check", "--candles", candles, "--json"], &[]);
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
        ran.json()["series"].as_array().unwrap().clone()
    };
    let (theirs, ours) = (check(bars), check("store"));
    assert_eq!(theirs.len(), spec().coins);
    for (theirs, ours) in theirs.iter().zip(&ours) {
        for key in ["symbol", "first", "last", "bars", "coverage", "train_reasons"] {
            assert_eq!(theirs[key], ours[key], "{key}");
        }
    }
}
