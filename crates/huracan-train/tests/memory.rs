//! The memory cap of a local run, on real memory. It is the process's that is measured, so these tests have
//! one of their own, and take turns.

use huracan_core::words::UtcMs;
use huracan_jobs::{Caps, JobId, JobRow, Ledger, RetryPolicy, Status};
use huracan_train::jobs::ledgered::{LedgerOffice, Rules};
use huracan_train::jobs::{Hire as _, JobFault, JobName, Trouble, checkpoint};
use huracan_train::pipeline::meter::resident_bytes;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const CAP_BYTES: u64 = 64 << 20;
const YOUNGER: JobName<'static> = JobName { stage: "trial", name: "BTCUSDT", item: 0 };
const OLDER: JobName<'static> = JobName { stage: "trial", name: "ETHUSDT", item: 1 };

static TURN: Mutex<()> = Mutex::new(());

/// A run under the cap, in a ledger of its own, with both jobs declared.
fn with_run(test: impl FnOnce(&Ledger, &dyn huracan_train::jobs::Jobs)) {
    if resident_bytes().is_none() {
        return;
    }
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let ledger = Ledger::open(&path).unwrap();
    let retry = RetryPolicy { max_attempts: 3, base_s: 0.0, cap_s: 0.0 };
    let caps = Caps { wall_s: None, memory_bytes: Some(CAP_BYTES) };
    let stop = AtomicBool::new(false);
    let office = LedgerOffice {
        path,
        worker: "box:1".to_owned(),
        purpose: "train".to_owned(),
        begun_at: UtcMs(0),
        rules: Rules { retry, caps },
        stop: &stop,
    };
    let hands = office.hire("run").unwrap();
    hands.declare(YOUNGER.stage, &[YOUNGER.name.to_owned(), OLDER.name.to_owned()]).unwrap();
    test(&ledger, &*hands);
}

fn row(ledger: &Ledger, job: JobName<'_>) -> JobRow {
    ledger.job(&JobId::new("run", job.stage, job.name)).unwrap().0
}

/// Takes memory, and touches it, until it is stopped.
fn hoard() -> Result<(), JobFault> {
    let mut held: Vec<Vec<u8>> = Vec::new();
    for _ in 0..60 {
        checkpoint();
        held.push(std::hint::black_box(vec![1; (CAP_BYTES / 4) as usize]));
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

#[test]
fn a_job_over_the_memory_cap_stops_at_its_next_checkpoint_and_is_given_up_where_it_was_alone() {
    with_run(|ledger, hands| {
        let fault = match hands.perform(YOUNGER, &mut |_| hoard()) {
            Err(Trouble::Fault(fault)) => fault,
            other => panic!("expected a fault, found {other:?}"),
        };
        let row = row(ledger, YOUNGER);
        assert_eq!((fault.code.as_str(), row.status, row.attempt), ("memory_cap", Status::Failed, 1));
    });
}

#[test]
fn of_jobs_over_the_memory_cap_together_the_youngest_stops_and_is_tried_again_alone() {
    with_run(|ledger, hands| {
        let until = |job: JobName<'_>, is_running: bool| {
            while (row(ledger, job).status == Status::Running) != is_running {
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        let older_is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let older = scope.spawn(|| {
                hands.perform(OLDER, &mut |_| {
                    until(YOUNGER, true);
                    until(YOUNGER, false);
                    std::thread::sleep(Duration::from_millis(100));
                    older_is_over.store(true, Ordering::Relaxed);
                    Ok(())
                })
            });
            until(OLDER, true);
            let mut others_were_over = Vec::new();
            let ended = hands.perform(YOUNGER, &mut |number| {
                others_were_over.push(older_is_over.load(Ordering::Relaxed));
                if number == 1 { hoard() } else { Ok(()) }
            });
            assert!(ended.is_ok() && older.join().unwrap().is_ok());
            assert_eq!(others_were_over, [false, true]);
        });
        let younger = row(ledger, YOUNGER);
        assert!(younger.alone && younger.attempt == 2, "{younger:?}");
        assert_eq!(row(ledger, OLDER).status, Status::Completed);
    });
}
