//! A store that is carried elsewhere: runs with and without their remote, other machines, checks.

use crate::market::{assert_same, candles, files, fresh, train, trained};
use crate::run::{Ran, huracan_in};
use std::path::{Path, PathBuf};

/// A place with the candles, an undisturbed run in `work`, and nothing else.
fn place(name: &str) -> PathBuf {
    let place = fresh(name);
    for (from, to) in [(candles().join("bars"), "bars"), (trained().to_owned(), "work")] {
        for (name, bytes) in files(&from, &[]) {
            let path = place.join(to).join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }
    place
}

fn at_remote(place: &Path, local: &str, arguments: &[&str]) -> Ran {
    let store = ["--store", "remote", "--store-local", local];
    huracan_in(place, &[arguments, &store[..]].concat(), &[])
}

fn carried(place: &Path) -> Ran {
    train(place, "bars", "remote", &["--store-local", "work", "--json"])
}

#[test]
fn a_run_is_carried_and_another_machine_reads_verifies_and_checks_it() {
    let place = place("carried");
    std::fs::create_dir(place.join("remote")).unwrap();
    let ran = carried(&place);
    assert_eq!((ran.code, &ran.json()["run"]["carried"]), (0, &true.into()), "{}{}", ran.out, ran.err);
    assert!(ran.json()["run"]["up_to_date"] == true, "where results are kept is no input of a run");
    assert_same(&files(&place.join("remote"), &["heartbeats"]), &files(&place.join("work"), &["heartbeats"]));

    let again = at_remote(&place, "work", &["store", "sync", "--json"]).json();
    assert_eq!((&again["sync"]["pushed_files"], &again["sync"]["pulled_files"]), (&0.into(), &0.into()));

    let unread = at_remote(&place, "other", &["roster"]);
    assert_eq!(unread.code, 5);
    assert!(unread.err.contains("help: --refresh brings what is published in remote"), "{}", unread.err);
    let roster = at_remote(&place, "other", &["roster", "--refresh", "--json"]);
    assert_eq!(roster.code, 0, "{}{}", roster.out, roster.err);
    let verified = at_remote(&place, "other", &["verify", "all"]);
    assert_eq!(verified.code, 0, "{}{}", verified.out, verified.err);
    let checked = at_remote(&place, "other", &["store", "check"]);
    assert_eq!(checked.code, 0, "{}{}", checked.out, checked.err);
    let listed = at_remote(&place, "other", &["store", "ls", "champions", "--remote"]);
    assert!(listed.code == 0 && listed.out.contains("champions/roster.json"), "{}", listed.out);

    // A folder knows where it belongs.
    std::fs::create_dir(place.join("elsewhere")).unwrap();
    let wrong = ["store", "sync", "--store", "elsewhere", "--store-local", "work"];
    let ran = huracan_in(&place, &wrong, &[]);
    assert!(ran.code == 2 && ran.err.contains("error[store_other_remote]"), "{}", ran.err);

    let model = files(&place.join("remote/models"), &[]).into_keys().find(|name| name.ends_with("model.bin"));
    std::fs::write(place.join("remote/models").join(model.unwrap()), "x").unwrap();
    let checked = at_remote(&place, "other", &["store", "check", "--json"]);
    assert_eq!((checked.code, &checked.json()["ok"]), (4, &false.into()));
    let problems = checked.json()["problems"].as_array().unwrap().clone();
    for (side, problem) in [("there", "differs"), ("there", "orphan"), ("both", "differs")] {
        assert!(problems.iter().any(|p| p["side"] == side && p["problem"] == problem), "{problems:?}");
    }
}

#[test]
fn a_run_whose_remote_is_away_is_published_here_says_so_and_is_carried_later() {
    let place = place("away");
    let ran = carried(&place);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let run = ran.json()["run"].clone();
    assert_eq!((&run["published"], &run["carried"]), (&true.into(), &false.into()));
    let notes = run["notes"].to_string();
    assert!(notes.contains("not yet carried to remote: huracan store sync"), "{notes}");
    assert!(!place.join("remote").exists(), "a drive that is not mounted was made");

    let away = at_remote(&place, "work", &["store", "sync"]);
    assert!(away.code == 6 && away.err.contains("error[store_away]"), "{}", away.err);
    std::fs::create_dir(place.join("remote")).unwrap();
    let synced = at_remote(&place, "work", &["store", "sync"]);
    assert_eq!(synced.code, 0, "{}{}", synced.out, synced.err);
    assert_same(&files(&place.join("remote"), &["heartbeats"]), &files(&place.join("work"), &["heartbeats"]));
}

#[test]
fn a_collection_says_what_would_go_before_it_goes() {
    let place = place("tidied");
    let half = place.join("work/models/XRPUSDT.P/baseline_20200101");
    std::fs::create_dir_all(&half).unwrap();
    std::fs::write(half.join("model.bin"), "half").unwrap();
    let work = |arguments: &[&str]| huracan_in(&place, &[arguments, &["--store", "work"]].concat(), &[]);
    let planned = work(&["store", "gc", "--json"]);
    let rows = planned.json()["gc"]["rows"].as_array().unwrap().clone();
    assert_eq!((planned.code, rows.len()), (0, 1), "{rows:?}");
    assert_eq!(rows[0]["path"], "models/XRPUSDT.P/baseline_20200101");
    assert!(half.join("model.bin").exists());
    assert_eq!(work(&["store", "check"]).code, 4);
    assert!(work(&["store", "gc", "--yes"]).out.contains("1 folders removed (4 bytes)"));
    assert!(!half.join("model.bin").exists());
    assert_eq!(work(&["store", "check"]).code, 0);
    assert_eq!(work(&["verify", "all"]).code, 0);
}

#[test]
fn places_that_cannot_be_meant_or_reached_are_refused_before_anything_is_done() {
    let place = fresh("places");
    let check = |store: &str, arguments: &[&str], code: &str| {
        let more = ["--store", store, "--store-local", "w", "--json"];
        let ran = huracan_in(&place, &[arguments, &more[..]].concat(), &[]);
        assert_eq!((ran.code, &ran.json()["error"]["code"]), (2, &code.into()), "{store}");
    };
    let run = ["train", "--candles", candles().to_str().unwrap()];
    check("memory:", &["store", "sync"], "store_place");
    check("s3://bucket/../x", &["roster"], "store_place");
    check("s3://bucket/x", &["store", "sync"], "s3_credentials");
    check("dropbox:/Huracan", &run, "store_credentials");
    std::fs::create_dir(place.join("w")).unwrap();
    check("./w", &["store", "sync"], "store_place");
    check(".", &["store", "gc", "--yes"], "store_place");
    let alone = huracan_in(&place, &["store", "sync", "--store", "w"], &[]);
    assert!(alone.code == 2 && alone.err.contains("error[store_not_carried]"), "{}", alone.err);
}
