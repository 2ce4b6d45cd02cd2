//! How many jobs a second go through PostgreSQL when they do nothing:
//! `cargo run --release --example noop_rate [jobs] [concurrency]`.
//!
//! One coordinator submits in bulk and hears of every end, one worker process claims and records.
//! On the queue at `HURACAN_QUEUE_URL`, or on a PostgreSQL of its own (fsync on) where that is unset.

#[allow(dead_code, reason = "tests use what this does not")]
#[path = "../src/testing.rs"]
mod testing;

use std::{
    env,
    error::Error,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use huracan_jobs::{
    CancelToken, Claimed, Done, JobError, NewJob, Queue, QueueOptions, Usage, Watch, WorkerOptions, work,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let mut number = |default: usize| arguments.next().map_or(Ok(default), |text| text.parse());
    let (count, concurrency) = (number(5000)?, number(16)?);
    if let Ok(url) = env::var("NOOP_WORKER_URL") {
        return serve(&url, concurrency);
    }
    let (url, _cluster) = match env::var("HURACAN_QUEUE_URL") {
        Ok(url) => (url, None),
        Err(_) => {
            let Some(cluster) = testing::Cluster::start_in(&env::temp_dir()) else { return Ok(()) };
            (cluster.url(), Some(cluster))
        }
    };
    let queue = Queue::connect(&url, &QueueOptions::default())?;
    let name = format!("noop-{}", std::process::id());
    let run = queue.open_run(&name, "measurement", b"", "noop_rate")?;
    let jobs: Vec<NewJob> = (0..count).map(|n| NewJob::new(format!("C{n:06}"), "k")).collect();

    let mut worker = Command::new(env::current_exe()?)
        .args([count.to_string(), concurrency.to_string()])
        .env("NOOP_WORKER_URL", &url)
        .spawn()?;
    // A first job tells that the worker is there.
    let mut watch = Watch::default();
    run.submit("warm", &jobs[..1])?;
    while run.wait_changes("warm", &mut watch, Duration::from_secs(60))?.is_empty() {}

    let begun = Instant::now();
    run.submit("noop", &jobs)?;
    let submitted_s = begun.elapsed().as_secs_f64();
    let (mut watch, mut heard) = (Watch::default(), 0);
    while heard < count {
        heard += run.wait_changes("noop", &mut watch, Duration::from_secs(60))?.len();
    }
    let all_s = begun.elapsed().as_secs_f64();
    println!(
        "{count} jobs, {concurrency} at a time: submitted in {submitted_s:.2} s, all heard of after {all_s:.2} s, \
         {:.0} jobs/s; repeated {}",
        count as f64 / all_s,
        queue.verify_exactly_once(&name)?.len()
    );
    worker.kill()?;
    worker.wait()?;
    run.close("measured")?;
    Ok(())
}

fn serve(url: &str, concurrency: usize) -> Result<(), Box<dyn Error>> {
    let handler = |job: &Claimed, _: &CancelToken| {
        Ok::<_, JobError>(Done { digest: job.key.clone(), usage: Usage::default() })
    };
    let stop = Arc::new(AtomicBool::new(false));
    let (asked, parent) = (stop.clone(), std::os::unix::process::parent_id());
    thread::spawn(move || {
        while std::os::unix::process::parent_id() == parent {
            thread::sleep(Duration::from_millis(100));
        }
        asked.store(true, Ordering::Release);
    });
    work(url, &QueueOptions::default(), WorkerOptions::new("noop", concurrency), Arc::new(handler), stop)?;
    Ok(())
}
