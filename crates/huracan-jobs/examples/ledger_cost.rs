//! What a call to the ledger costs: `cargo run --release --example ledger_cost [jobs]`.

use std::{error::Error, time::Instant};

use huracan_jobs::{JobId, Ledger, NewJob, Selector, Usage};

fn main() -> Result<(), Box<dyn Error>> {
    let count: usize = std::env::args().nth(1).map_or(Ok(2000), |text| text.parse())?;
    let folder = tempfile::tempdir()?;
    let ledger = Ledger::open(&folder.path().join("ledger.sqlite"))?;
    ledger.begin_run("r", "measurement", "w")?;
    let jobs: Vec<NewJob> = (0..count).map(|n| NewJob::new(format!("C{n:05}"), "k")).collect();
    let ids: Vec<JobId> = jobs.iter().map(|job| JobId::new("r", "s", &job.symbol)).collect();

    let measure = |what: &str, calls: usize, work: &mut dyn FnMut() -> huracan_jobs::Result<()>| {
        let begun = Instant::now();
        let result = work();
        println!("{what:<28} {:8.1} µs a call", begun.elapsed().as_secs_f64() * 1e6 / calls as f64);
        result
    };
    measure("declare (a job)", count, &mut || ledger.declare("r", "s", &jobs))?;
    measure("declare again (a job)", count, &mut || ledger.declare("r", "s", &jobs))?;
    measure("started", count, &mut || ids.iter().try_for_each(|id| ledger.started(id, "w").map(drop)))?;
    measure("is_cancelled", count, &mut || ids.iter().try_for_each(|id| ledger.is_cancelled(id).map(drop)))?;
    measure("completed", count, &mut || {
        ids.iter().try_for_each(|id| ledger.completed(id, "d", Usage::default()))
    })?;
    measure("job", count, &mut || ids.iter().try_for_each(|id| ledger.job(id).map(drop)))?;
    measure("jobs (a row)", count, &mut || ledger.jobs(&Selector::run("r")).map(drop))?;
    measure("verify_exactly_once (a job)", count, &mut || ledger.verify_exactly_once("r").map(drop))?;
    Ok(())
}
