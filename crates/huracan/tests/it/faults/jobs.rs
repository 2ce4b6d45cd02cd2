//! A coin that fails in a local run, seen through `huracan jobs`; and queues that cannot be reached.

use super::bench;
use crate::kill_loop::process::When;
use crate::market::{candles, fresh, train};
use crate::run::{Ran, huracan_in};
use huracan_jobs::{JobError, JobId, Ledger, NewJob, RetryPolicy, Selector, Status};
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const WHY: &str = "the matrix is not positive";

fn jobs(place: &Path, arguments: &[&str]) -> Ran {
    huracan_in(place, &[&["jobs"], arguments, &["--store", "store"]].concat(), &[])
}

fn json(place: &Path, arguments: &[&str]) -> Value {
    let ran = jobs(place, &[arguments, &["--json"]].concat());
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{arguments:?}: {}", ran.out);
    ran.json()
}

fn text(place: &Path, arguments: &[&str]) -> String {
    let ran = jobs(place, arguments);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{arguments:?}: {}", ran.out);
    ran.out
}

/// Writes into the ledger of a killed run that the trial of a coin failed for good; the run and the coin.
fn condemn(store: &Path) -> JobId {
    let ledger = Ledger::open(&store.join(".huracan/ledger.sqlite")).unwrap();
    ledger.recover(|_| false).unwrap();
    let run = ledger.runs().unwrap().pop().unwrap().run;
    let done = ledger.jobs(&Selector::run(run.as_str()).stage("slopes").status(Status::Completed)).unwrap();
    let tried = ledger.jobs(&Selector::run(run.as_str()).stage("trial")).unwrap();
    let is_new =
        |coin: &String| tried.iter().all(|row| row.id.symbol != *coin || row.status == Status::Pending);
    let coin = done.into_iter().map(|row| row.id.symbol).find(is_new);
    let id = JobId::new(run.as_str(), "trial", coin.unwrap());
    ledger.declare(&run, "trial", &[NewJob::new(id.symbol.as_str(), run.as_str())]).unwrap();
    fail(store, &id);
    id
}

fn fail(store: &Path, id: &JobId) {
    let ledger = Ledger::open(&store.join(".huracan/ledger.sqlite")).unwrap();
    ledger.started(id, "box:1").unwrap();
    ledger.failed(id, &JobError::permanent("panicked", WHY), &RetryPolicy::default()).unwrap();
}

#[test]
fn a_coin_that_failed_in_a_local_run_is_listed_shown_cancelled_and_tried_again() {
    let place = fresh("failed-coin");
    let store = place.join("store");
    let killed = bench().start(&store).unwrap().kill_at(When::InStage("trial", Duration::ZERO)).unwrap();
    assert!(killed.killed, "{killed:?}");
    let id = condemn(&store);
    let (run, coin) = (id.run.as_str(), id.symbol.as_str());

    let selected = ["--run", run, "--stage", "trial", "--symbol", coin];
    let changed = |verb: &str, schema: &str, word: &str| {
        let changed = json(&place, &[&[verb], &selected[..]].concat());
        assert_eq!((&changed["schema"], &changed[word]), (&schema.into(), &1.into()), "{changed}");
        json(&place, &["show", run, "trial", coin])["job"]["status"].clone()
    };
    assert_eq!(changed("retry", "huracan-cli-jobs-retry/1", "retried"), "pending");
    assert_eq!(changed("cancel", "huracan-cli-jobs-cancel/1", "cancelled"), "skipped");
    assert_eq!(text(&place, &[&["retry"], &selected[..]].concat()), "1 jobs will be tried again\n");
    assert_eq!(text(&place, &[&["cancel"], &selected[..]].concat()), "1 jobs cancelled\n");

    assert_eq!(text(&place, &[&["retry"], &selected[..]].concat()), "1 jobs will be tried again\n");
    fail(&store, &id);
    let ran = train(&place, candles().join("bars").to_str().unwrap(), "store", &[]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);

    let failures = huracan_in(&place, &["failures", "--store", "store"], &[]).out;
    assert!(failures.contains(coin) && failures.contains(WHY), "{failures}");

    let runs = json(&place, &["list"]);
    assert_eq!(runs["schema"], "huracan-cli-jobs-list/1");
    let row = &runs["runs"][0];
    assert_eq!((&row["run"], &row["jobs"]["failed"]), (&run.into(), &1.into()), "{row}");
    assert!(text(&place, &["list"]).contains("complete"));

    let dead = |more: &[&str]| {
        let listed = json(&place, &[&["list", "--dead"], more].concat());
        listed["jobs"].as_array().unwrap().iter().map(|job| job["id"]["symbol"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(dead(&[]), [coin]);
    assert_eq!(dead(&["--run", run, "--stage", "trial", "--symbol", coin]), [coin]);
    assert_eq!(dead(&["--stage", "codes"]), [""; 0], "--dead leaves out what the others leave out");
    let listed = text(&place, &["list", "--dead", "--run", &format!("20250701T000000Z-{run}")]);
    assert!([coin, "trial", "failed", "panicked", WHY].iter().all(|part| listed.contains(part)), "{listed}");
    assert_eq!(jobs(&place, &["list", "--dead", "--status", "pending"]).code, 2);

    let shown = json(&place, &["show", run, "trial", coin]);
    assert_eq!(shown["schema"], "huracan-cli-jobs-show/1");
    assert_eq!((&shown["job"]["status"], &shown["job"]["dead"]), (&"failed".into(), &true.into()));
    let shown = text(&place, &["show", run, "trial", coin]);
    assert!(shown.contains("is failed") && shown.contains("box:1") && shown.contains(WHY), "{shown}");

    // The run is over: what it said of its coins stays.
    let over = jobs(&place, &["retry", "--run", run]);
    assert!(over.code == 2 && over.err.starts_with("error[run_over]: "), "{}", over.err);
    assert_eq!(text(&place, &["retry", "--status", "failed"]), "0 jobs will be tried again\n");

    for arguments in [
        &["list", "--run", "feedc0de"][..],
        &["list", "--dead", "--run", "feedc0de"],
        &["show", "feedc0de", "trial", coin],
        &["retry", "--run", "feedc0de"],
        &["cancel", "--run", "feedc0de"],
    ] {
        let ran = jobs(&place, arguments);
        let expected = format!("error[unknown_run]: run \"feedc0de\" is not known, expected one of: {run}\n");
        assert!(ran.code == 2 && ran.err.starts_with(&expected), "{arguments:?}: {}{}", ran.out, ran.err);
    }
    assert_eq!(jobs(&place, &["show", run, "trial", "NOSUCHUSDT.P"]).code, 2);
    assert_eq!(jobs(&place, &["cancel"]).code, 2);
}

/// An address at which nobody listens.
fn nobody() -> String {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    format!("postgres://jobs@127.0.0.1:{port}/jobs")
}

#[test]
fn a_queue_that_is_away_is_told_soon_with_the_reason_and_an_address_that_cannot_be_meant_as_usage() {
    let place = fresh("queue-away");
    let (began, url) = (Instant::now(), nobody());
    let ran = huracan_in(&place, &["jobs", "list"], &[("HURACAN__JOBS__URL", &url)]);
    assert_eq!(ran.code, 6, "{}", ran.err);
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    let parts = ["connecting failed: ", "efused", "\n  help: "];
    assert!(parts.iter().all(|part| ran.err.contains(part)), "{}", ran.err);
    for url in ["postgres://jobs@host/jobs?sslmode=sometimes", "postgres://jobs:p/wS3CRET@host/jobs"] {
        for command in [&["jobs", "list"][..], &["work", "--store", "made"], &["config", "show"]] {
            let ran = huracan_in(&place, command, &[("HURACAN__JOBS__URL", url)]);
            let is_shown = command[0] == "config" && !url.contains("S3CRET");
            assert_eq!(ran.code, if is_shown { 0 } else { 2 }, "{command:?} {url}: {}{}", ran.out, ran.err);
            assert!(!ran.out.contains("S3CRET") && !ran.err.contains("S3CRET"), "{}{}", ran.out, ran.err);
            assert!(is_shown || ran.err.contains("postgres://USER@HOST"), "{}", ran.err);
        }
    }
    assert!(!place.join("made").exists(), "a worker that cannot work makes no folder");
}

#[test]
fn a_worker_says_that_it_waits_for_the_queue_and_makes_no_folder_before_it_answers() {
    let place = fresh("worker-waits");
    let unnamed = huracan_in(&place, &["work"], &[("HURACAN__JOBS__URL", &nobody())]);
    assert!(unnamed.code == 2 && unnamed.err.starts_with("error[no_store]: "), "{}", unnamed.err);
    let mut child = Command::new(env!("CARGO_BIN_EXE_huracan"))
        .args(["work", "--store", "store"])
        .current_dir(&place)
        .env("HURACAN__JOBS__URL", nobody())
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(line.starts_with("the queue at postgres://jobs@127.0.0.1:"), "{line}");
    assert!(line.contains("does not answer; trying for another"), "{line}");
    assert_eq!(std::fs::read_dir(&place).unwrap().count(), 0, "a folder was made");
}
