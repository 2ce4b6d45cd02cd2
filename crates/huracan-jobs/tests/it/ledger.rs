//! What the ledger promises: rows that stay, one result a key, and a death that costs no attempt.

use std::{collections::BTreeSet, fs, sync::Arc, thread};

use huracan_jobs::{
    Error, Event, JobError, JobId, Ledger, NewJob, Next, RetryPolicy, Selector, Status, Usage,
};
use tempfile::TempDir;

const USAGE: Usage = Usage { cpu_s: 1.5, wall_s: 2.5, peak_bytes: 1 << 33 };
const POLICY: RetryPolicy = RetryPolicy { max_attempts: 2, base_s: 1.0, cap_s: 60.0 };

fn btc() -> JobId {
    JobId::new("run1", "head", "BTCUSDT")
}

fn eth() -> JobId {
    JobId::new("run1", "head", "ETHUSDT")
}

fn two_jobs() -> [NewJob; 2] {
    [NewJob::new("BTCUSDT", "k1"), NewJob { index: 1, ..NewJob::new("ETHUSDT", "k2") }]
}

fn declared() -> Ledger {
    let ledger = Ledger::in_memory().unwrap();
    declare(&ledger);
    ledger
}

fn declare(ledger: &Ledger) {
    ledger.begin_run("run1", "nightly", "w0").unwrap();
    ledger.declare("run1", "head", &two_jobs()).unwrap();
}

fn events(ledger: &Ledger, job: &JobId) -> Vec<Event> {
    ledger.job(job).unwrap().1.iter().map(|line| line.event).collect()
}

#[test]
fn a_job_goes_from_declared_to_completed_and_all_of_it_is_kept() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("ledger.sqlite");
    {
        let ledger = Ledger::open(&path).unwrap();
        declare(&ledger);
        assert_eq!(ledger.started(&btc(), "w1").unwrap(), 1);
        ledger.completed(&btc(), "d1", USAGE).unwrap();
    }
    let ledger = Ledger::open(&path).unwrap();
    let (row, lines) = ledger.job(&btc()).unwrap();
    assert_eq!((row.status, row.attempt, row.key.as_str()), (Status::Completed, 1, "k1"));
    assert_eq!((row.digest.as_deref(), row.worker.as_deref()), (Some("d1"), Some("w1")));
    assert_eq!(row.usage, Some(USAGE));
    assert!(row.started_at_ms.unwrap() <= row.finished_at_ms.unwrap());
    let events: Vec<Event> = lines.iter().map(|line| line.event).collect();
    assert_eq!(events, [Event::Declared, Event::Started, Event::Completed]);
    let runs = ledger.runs().unwrap();
    assert_eq!((runs[0].run.as_str(), runs[0].jobs.pending, runs[0].jobs.completed), ("run1", 1, 1));
    assert!(runs[0].jobs.total() == 2 && !runs[0].jobs.is_done());
    ledger.end_run("run1", "published").unwrap();
    assert_eq!(ledger.runs().unwrap()[0].outcome.as_deref(), Some("published"));
}

#[test]
fn declaring_again_keeps_what_is_done_under_the_same_key_and_renews_the_rest() {
    let ledger = declared();
    for job in [btc(), eth()] {
        ledger.started(&job, "w1").unwrap();
        ledger.completed(&job, "d", USAGE).unwrap();
    }
    let jobs = [NewJob { priority: -3, ..NewJob::new("BTCUSDT", "k1") }, NewJob::new("ETHUSDT", "changed")];
    ledger.declare("run1", "head", &jobs).unwrap();
    let (row, lines) = ledger.job(&btc()).unwrap();
    assert_eq!((row.status, row.priority, lines.len()), (Status::Completed, -3, 3));
    let row = ledger.job(&eth()).unwrap().0;
    assert_eq!((row.status, row.attempt, row.digest), (Status::Pending, 0, None));
}

#[test]
fn a_refused_declaration_enters_nothing() {
    let ledger = declared();
    ledger.started(&eth(), "w1").unwrap();
    let jobs = [NewJob::new("ADAUSDT", "k"), NewJob::new("ETHUSDT", "changed")];
    let error = ledger.declare("run1", "head", &jobs).unwrap_err();
    assert_eq!(error.to_string(), "job run1/head/ETHUSDT is running by w1: cannot be given another key");
    assert_eq!(ledger.jobs(&Selector::all()).unwrap().len(), 2);
    assert!(matches!(ledger.declare("nobody", "head", &jobs), Err(Error::UnknownRun { .. })));
}

#[test]
fn one_result_a_key() {
    let ledger = declared();
    ledger.started(&btc(), "w1").unwrap();
    ledger.completed(&btc(), "d1", USAGE).unwrap();
    assert!(ledger.verify_exactly_once("run1").unwrap().is_empty());
    ledger.completed(&btc(), "d1", USAGE).unwrap();
    let error = ledger.completed(&btc(), "d2", USAGE).unwrap_err();
    assert_eq!(
        error.to_string(),
        "job run1/head/BTCUSDT, key k1: digest d2, but d1 is recorded; equal keys must give equal results"
    );
    assert_eq!(ledger.job(&btc()).unwrap().0.digest.as_deref(), Some("d1"));
    let repeats = ledger.verify_exactly_once("run1").unwrap();
    assert_eq!((repeats.len(), repeats[0].results, &repeats[0].job), (1, 3, &btc()));
    assert_eq!(repeats[0].digests, ["d1", "d2"]);
}

#[test]
fn a_result_that_is_gone_may_be_made_again() {
    let ledger = declared();
    for _ in 0..2 {
        ledger.started(&btc(), "w1").unwrap();
        ledger.completed(&btc(), "d1", USAGE).unwrap();
        assert!(ledger.verify_exactly_once("run1").unwrap().is_empty());
        ledger.result_lost(&btc(), "not in the store").unwrap();
    }
}

#[test]
fn attempts_end_in_the_dead_letters_and_a_hand_brings_them_back() {
    let ledger = declared();
    let error = JobError::transient("net", "connection reset");
    ledger.started(&btc(), "w1").unwrap();
    assert!(matches!(ledger.failed(&btc(), &error, &POLICY).unwrap(), Next::Again { .. }));
    let row = ledger.job(&btc()).unwrap().0;
    assert!(row.status == Status::Pending && row.not_before_ms.is_some() && row.error == Some(error.clone()));
    assert_eq!(ledger.started(&btc(), "w1").unwrap(), 2);
    assert_eq!(ledger.failed(&btc(), &error, &POLICY).unwrap(), Next::Never);
    ledger.started(&eth(), "w1").unwrap();
    assert_eq!(ledger.failed(&eth(), &JobError::permanent("bug", "x"), &POLICY).unwrap(), Next::Never);
    let dead: Vec<JobId> = ledger.dead_letters().unwrap().into_iter().map(|row| row.id).collect();
    assert_eq!(dead, [btc(), eth()]);
    assert_eq!(ledger.retry(&Selector::run("run1").symbol("BTCUSDT")).unwrap(), 1);
    assert_eq!(ledger.started(&btc(), "w1").unwrap(), 1);
    assert_eq!(ledger.dead_letters().unwrap().len(), 1);
    // What a run that is over has said is not tried again.
    ledger.end_run("run1", "complete").unwrap();
    let error = ledger.retry(&Selector::run("run1")).unwrap_err();
    assert!(matches!(&error, Error::RunOver { run } if run == "run1"), "{error}");
    assert_eq!(ledger.retry(&Selector::all()).unwrap(), 0);
    ledger.begin_run("run1", "train", "w1").unwrap();
    assert_eq!(ledger.retry(&Selector::all()).unwrap(), 1);
}

#[test]
fn the_dead_leave_their_jobs_to_others_and_the_living_keep_theirs() {
    let ledger = declared();
    ledger.started(&btc(), "dead").unwrap();
    ledger.started(&eth(), "alive").unwrap();
    let orphans = ledger.recover(|worker| worker == "alive").unwrap();
    assert_eq!((orphans.len(), &orphans[0].id, orphans[0].crashes), (1, &btc(), 1));
    let row = ledger.job(&btc()).unwrap().0;
    assert_eq!((row.status, row.attempt), (Status::Pending, 0));
    assert_eq!(ledger.job(&eth()).unwrap().0.status, Status::Running);
    assert_eq!(ledger.started(&btc(), "alive").unwrap(), 1);
}

#[test]
fn a_job_under_which_processes_die_is_run_alone_and_only_then_condemned() {
    let ledger = declared();
    for crash in 1..=7 {
        assert_eq!(ledger.suspects("run1").unwrap().len(), usize::from(crash > 3));
        ledger.started(&btc(), "w1").unwrap();
        ledger.recover(|_| false).unwrap();
    }
    for _ in 0..3 {
        assert_eq!(ledger.suspects("run1").unwrap()[0].id, btc());
        ledger.started_alone(&btc(), "w1").unwrap();
        ledger.recover(|_| false).unwrap();
    }
    assert!(ledger.suspects("run1").unwrap().is_empty());
    let dead = ledger.dead_letters().unwrap();
    assert_eq!(dead[0].error.as_ref().unwrap().code, "job_kills_process");
    assert!(ledger.started(&btc(), "w1").is_err());
}

#[test]
fn cancelling_skips_what_waits_and_tells_what_runs() {
    let ledger = declared();
    ledger.started(&btc(), "w1").unwrap();
    assert!(!ledger.is_cancelled(&btc()).unwrap());
    assert_eq!(ledger.cancel(&Selector::run("run1")).unwrap(), 2);
    assert_eq!(ledger.cancel(&Selector::run("run1")).unwrap(), 0);
    assert!(ledger.is_cancelled(&btc()).unwrap() && ledger.is_cancelled(&eth()).unwrap());
    assert!(!ledger.is_cancelled(&JobId::new("run1", "head", "NOBODY")).unwrap());
    assert_eq!(ledger.job(&btc()).unwrap().0.status, Status::Running);
    ledger.skipped(&btc(), "cancelled").unwrap();
    assert_eq!(ledger.retry(&Selector::run("run1")).unwrap(), 2);
    assert!(!ledger.is_cancelled(&btc()).unwrap());
    assert_eq!(ledger.jobs(&Selector::run("run1").status(Status::Pending)).unwrap().len(), 2);
}

#[test]
fn jobs_come_in_the_order_in_which_they_should_begin() {
    let ledger = Ledger::in_memory().unwrap();
    ledger.begin_run("r", "", "w").unwrap();
    let jobs = [
        NewJob { priority: 1, ..NewJob::new("A", "k") },
        NewJob { priority: -1, ..NewJob::new("Z", "k") },
        NewJob { priority: 1, ..NewJob::new("B", "k") },
    ];
    ledger.declare("r", "s", &jobs).unwrap();
    let order: Vec<String> =
        ledger.jobs(&Selector::run("r").stage("s")).unwrap().into_iter().map(|row| row.id.symbol).collect();
    assert_eq!(order, ["Z", "A", "B"]);
}

#[test]
fn old_runs_are_forgotten_unless_something_of_them_runs() {
    let ledger = declared();
    ledger.begin_run("run2", "nightly", "w0").unwrap();
    ledger.declare("run2", "head", &two_jobs()).unwrap();
    ledger.started(&btc(), "w1").unwrap();
    assert_eq!(ledger.forget_runs_before(0).unwrap(), 0);
    assert_eq!(ledger.forget_runs_before(i64::MAX).unwrap(), 1);
    let left: BTreeSet<String> =
        ledger.jobs(&Selector::all()).unwrap().into_iter().map(|row| row.id.run).collect();
    assert_eq!(left, BTreeSet::from(["run1".to_owned()]));
    assert_eq!(events(&ledger, &btc()), [Event::Declared, Event::Started]);
}

#[test]
fn many_threads_and_handles_start_each_job_once() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let first = Ledger::open(&path).unwrap();
    first.begin_run("r", "", "w").unwrap();
    let jobs: Vec<NewJob> = (0..60).map(|n| NewJob::new(format!("C{n:03}"), "k")).collect();
    first.declare("r", "s", &jobs).unwrap();
    let handles = [Arc::new(first), Arc::new(Ledger::open(&path).unwrap())];
    let threads: Vec<_> = (0..4)
        .map(|n| {
            let ledger = handles[n % 2].clone();
            thread::spawn(move || {
                let mut won = 0;
                for symbol in 0..60 {
                    let job = JobId::new("r", "s", format!("C{symbol:03}"));
                    match ledger.started(&job, &format!("w{n}")) {
                        Ok(_) => {
                            ledger.completed(&job, "d", USAGE).unwrap();
                            won += 1;
                        }
                        Err(Error::NotAllowed { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
                won
            })
        })
        .collect();
    let won: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert_eq!(won, 60);
    assert!(handles[0].verify_exactly_once("r").unwrap().is_empty());
}

#[test]
fn many_may_make_the_same_ledger_at_once() {
    let folder = TempDir::new().unwrap();
    for round in 0..10 {
        let path = folder.path().join(format!("ledger{round}.sqlite"));
        let threads: Vec<_> = (0..4)
            .map(|n| {
                let path = path.clone();
                thread::spawn(move || Ledger::open(&path)?.begin_run(&format!("run{n}"), "", "w"))
            })
            .collect();
        for thread in threads {
            thread.join().unwrap().unwrap();
        }
        assert_eq!(Ledger::open(&path).unwrap().runs().unwrap().len(), 4);
    }
}

#[test]
fn files_that_are_no_ledger_are_refused_and_left_alone() {
    let folder = TempDir::new().unwrap();
    let text = folder.path().join("text");
    fs::write(&text, "not a database, and longer than a hundred bytes: ".repeat(40)).unwrap();
    assert!(matches!(Ledger::open(&text), Err(Error::Corrupt { .. })));
    assert!(fs::read_to_string(&text).unwrap().starts_with("not a database"));

    let torn = folder.path().join("torn");
    declare(&Ledger::open(&torn).unwrap());
    let mut bytes = fs::read(&torn).unwrap();
    for byte in &mut bytes[4096..20480] {
        *byte = 0xa5;
    }
    fs::write(&torn, bytes).unwrap();
    assert!(matches!(Ledger::open(&torn), Err(Error::Corrupt { .. })));

    assert!(matches!(Ledger::open(&folder.path().join("no/such/folder")), Err(Error::Open { .. })));
}

#[test]
fn a_ledger_of_a_later_version_is_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("ledger.sqlite");
    drop(Ledger::open(&path).unwrap());
    // The format is four bytes at offset 60 of the file's header.
    let mut bytes = fs::read(&path).unwrap();
    bytes[60..64].copy_from_slice(&9u32.to_be_bytes());
    fs::write(&path, bytes).unwrap();
    let error = Ledger::open(&path).unwrap_err().to_string();
    assert!(error.ends_with("format 9, this version knows up to 1; use the newer program"), "{error}");
}
