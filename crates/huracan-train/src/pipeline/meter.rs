//! What was used, as the kernel tells it under `/proc`; nothing elsewhere. The whole process by
//! `Usage`, one thread's job by [`ThreadMeter`], and a job from start to end by [`measured`].

use crate::engine::Observer;
use crate::jobs::{JobFault, PANICKED, fault_of_unwinding};
use std::fs;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Instant;

/// Clock ticks of `/proc/self/stat` in a second: fixed by Linux's user interface.
const TICKS_PER_S: f64 = 100.0;

/// What one attempt at one coin's stage used and came to.
#[derive(Clone, Debug, PartialEq)]
pub struct JobFacts {
    /// The stage.
    pub stage: &'static str,
    /// The coin.
    pub symbol: String,
    /// 1 for the first try.
    pub attempt: u32,
    /// Who worked on it.
    pub worker: String,
    /// Time on the clock.
    pub wall_s: f64,
    /// Processor time of the thread; `None` where it cannot be told.
    pub cpu_s: Option<f64>,
    /// Bytes the thread read, caches included.
    pub bytes_read: u64,
    /// Bytes the thread wrote, caches included.
    pub bytes_written: u64,
    /// Requests to others.
    pub requests: u64,
    /// Whether the result was there already.
    pub cached: bool,
    /// What it came to.
    pub outcome: JobOutcome,
}

/// What an attempt came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobOutcome {
    /// Done.
    Completed,
    /// Decided not to be done.
    Skipped {
        /// Why.
        reason: String,
    },
    /// Broken; the last attempt's outcome is the job's.
    Failed {
        /// Stable code of the error.
        code: String,
        /// The error and its causes, outermost first.
        error_chain: Vec<String>,
    },
}

impl JobOutcome {
    /// A failure by an error and its causes.
    pub fn failed(code: impl Into<String>, error: &dyn std::error::Error) -> JobOutcome {
        JobOutcome::Failed { code: code.into(), error_chain: error_chain(error) }
    }
}

/// Code of a job that panicked, as it is kept.
pub const JOB_BROKE: &str = "job_broke";

/// The code that a fault is kept under.
pub fn kept_code(fault: &JobFault) -> &str {
    if fault.code == PANICKED { JOB_BROKE } else { &fault.code }
}

/// An error and its causes, outermost first; a cause that its effect already tells is left out.
pub fn error_chain(error: &dyn std::error::Error) -> Vec<String> {
    let mut chain = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !chain.iter().any(|told| told.contains(&said)) {
            chain.push(said);
        }
        cause = error.source();
    }
    chain
}

/// An attempt that is about to be made.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The stage.
    pub stage: &'static str,
    /// The coin.
    pub symbol: &'a str,
    /// 1 for the first try.
    pub number: u32,
    /// Who works on it; empty: the thread's name.
    pub worker: &'a str,
}

/// Runs an attempt on this thread inside its span, and tells the observer what it used. `came_to`
/// reads outcome, requests and whether the result was cached from what `work` returned; a panic, and a job
/// that was told to stop, are told as failures by their own codes and go on. The observer is told inside the
/// span.
pub fn measured<T>(
    observer: &dyn Observer,
    attempt: Attempt<'_>,
    work: impl FnOnce() -> T,
    came_to: impl FnOnce(&T) -> (JobOutcome, u64, bool),
) -> T {
    let span = observer.job_span(attempt.stage, attempt.symbol, attempt.number);
    let entered = span.enter();
    let meter = ThreadMeter::start();
    let result = catch_unwind(AssertUnwindSafe(work));
    let used = meter.stop();
    let (outcome, requests, cached) = match &result {
        Ok(value) => came_to(value),
        Err(unwound) => {
            let fault = fault_of_unwinding(&**unwound);
            let code = kept_code(&fault).to_owned();
            (JobOutcome::Failed { code, error_chain: vec![fault.text] }, 0, false)
        }
    };
    span.record("elapsed_ms", (1e3 * used.wall_s).round() as u64);
    observer.job_finished(&JobFacts {
        stage: attempt.stage,
        symbol: attempt.symbol.to_owned(),
        attempt: attempt.number,
        worker: worker_name(attempt.worker),
        wall_s: used.wall_s,
        cpu_s: used.cpu_s,
        bytes_read: used.bytes_read,
        bytes_written: used.bytes_written,
        requests,
        cached,
        outcome,
    });
    drop(entered);
    result.unwrap_or_else(|unwound| resume_unwind(unwound))
}

/// The name given, else the thread's, else its number.
fn worker_name(given: &str) -> String {
    let thread = std::thread::current();
    match (given, thread.name()) {
        ("", Some(name)) => name.to_owned(),
        ("", None) => format!("{:?}", thread.id()),
        (name, _) => name.to_owned(),
    }
}

/// A meter over the calling thread. It cannot leave the thread it was started on.
#[derive(Debug)]
pub struct ThreadMeter {
    began: Instant,
    at_start: Usage,
    stays: PhantomData<*const ()>,
}

/// What a thread used between start and stop.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ThreadUsage {
    /// Time on the clock.
    pub wall_s: f64,
    /// Processor time; `None` where it cannot be told.
    pub cpu_s: Option<f64>,
    /// Bytes read, caches included; 0 where it cannot be told.
    pub bytes_read: u64,
    /// Bytes written, caches included; 0 where it cannot be told.
    pub bytes_written: u64,
}

impl ThreadMeter {
    /// Begins to measure.
    pub fn start() -> ThreadMeter {
        let at_start = Usage::of_thread();
        ThreadMeter { began: Instant::now(), at_start, stays: PhantomData }
    }

    /// What the thread used since.
    pub fn stop(self) -> ThreadUsage {
        let wall_s = self.began.elapsed().as_secs_f64();
        let used = Usage::of_thread().since(&self.at_start);
        ThreadUsage {
            wall_s,
            cpu_s: used.cpu_s,
            bytes_read: used.bytes_read,
            bytes_written: used.bytes_written,
        }
    }
}

/// Totals since a process or thread began.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Usage {
    /// Processor time; `None` where it cannot be told.
    pub cpu_s: Option<f64>,
    /// Bytes read, caches included.
    pub bytes_read: u64,
    /// Bytes written, caches included.
    pub bytes_written: u64,
}

impl Usage {
    /// All threads of this process.
    pub fn now() -> Usage {
        Usage::at("/proc/self", cpu_s(&read("/proc/self/stat")))
    }

    /// The calling thread. The scheduler counts nanoseconds, where it is built to; else there are ticks.
    fn of_thread() -> Usage {
        let exact = run_s(&read("/proc/thread-self/schedstat"));
        Usage::at("/proc/thread-self", exact.or_else(|| cpu_s(&read("/proc/thread-self/stat"))))
    }

    fn at(place: &str, cpu_s: Option<f64>) -> Usage {
        let io = read(&format!("{place}/io"));
        Usage {
            cpu_s,
            bytes_read: field(&io, "rchar:").unwrap_or(0),
            bytes_written: field(&io, "wchar:").unwrap_or(0),
        }
    }

    /// What was used since `before`.
    pub fn since(&self, before: &Usage) -> Usage {
        Usage {
            cpu_s: self.cpu_s.zip(before.cpu_s).map(|(now, then)| (now - then).max(0.0)),
            bytes_read: self.bytes_read.saturating_sub(before.bytes_read),
            bytes_written: self.bytes_written.saturating_sub(before.bytes_written),
        }
    }
}

/// Resident memory now; `None` where it cannot be told.
pub fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    field(&status, "VmRSS:").map(|kib| 1024 * kib)
}

/// Largest resident memory so far; `None` where it cannot be told.
pub(super) fn peak_memory_bytes() -> Option<u64> {
    field(&read("/proc/self/status"), "VmHWM:").map(|kib| 1024 * kib)
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Time on a processor: the first field of `schedstat`, in nanoseconds.
fn run_s(schedstat: &str) -> Option<f64> {
    let mut fields = schedstat.split_whitespace();
    let run_ns: u64 = fields.next()?.parse().ok()?;
    fields.next()?;
    Some(run_ns as f64 / 1e9)
}

/// User and system time: fields 14 and 15, counted after the name in parentheses.
fn cpu_s(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_S)
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::{Cancel, checkpoint, fenced, stoppable};
    use std::sync::{Arc, Mutex};

    #[test]
    fn processor_time_is_found_behind_any_process_name() {
        let stat = "7 (a b) c) S 1 1 1 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 3 0 1 1 1";
        assert_eq!(cpu_s(stat), Some(3.0));
        assert_eq!(cpu_s("garbage"), None);
        assert_eq!(run_s("1500000000 296722 1\n"), Some(1.5));
        assert_eq!((run_s("0"), run_s("")), (None, None));
        assert_eq!(field("VmPeak: 9 kB\nVmHWM:\t  12 kB\n", "VmHWM:"), Some(12));
    }

    #[test]
    fn use_only_grows() {
        let before = Usage::now();
        let since = Usage::now().since(&before);
        assert!(since.cpu_s.is_none_or(|s| s >= 0.0));
    }

    /// Work until the thread's own clock has moved, and as much beside it on another thread.
    #[test]
    fn a_thread_is_charged_for_its_own_work_only() {
        if Usage::of_thread().cpu_s.is_none() {
            return;
        }
        let burn = |cpu_s: f64| {
            let start = Usage::of_thread();
            let mut x = 1u64;
            while Usage::of_thread().since(&start).cpu_s.unwrap() < cpu_s {
                (0..10_000).for_each(|i| x = std::hint::black_box(x.wrapping_mul(31).wrapping_add(i)));
            }
        };
        let (idle, busy) = std::thread::scope(|scope| {
            let idle = ThreadMeter::start();
            let busy = scope.spawn(move || {
                let busy = ThreadMeter::start();
                burn(0.1);
                busy.stop()
            });
            let busy = busy.join().unwrap();
            (idle.stop(), busy)
        });
        assert!(busy.cpu_s.unwrap() >= 0.1 && busy.wall_s > 0.0, "{busy:?}");
        assert!(idle.cpu_s.unwrap() < 0.05, "{idle:?} was charged for {busy:?}");
        assert!(idle.wall_s >= busy.wall_s * 0.5, "{idle:?} {busy:?}");
    }

    #[derive(Default)]
    struct Told(Mutex<Vec<JobFacts>>);

    impl Observer for Told {
        fn stage_started(&self, _: &'static str, _: usize) {}
        fn stage_advanced(&self, _: &'static str, _: usize, _: &str) {}
        fn stage_finished(&self, _: &'static str) {}
        fn note(&self, _: &str) {}
        fn job_finished(&self, job: &JobFacts) {
            self.0.lock().unwrap().push(job.clone());
        }
    }

    #[test]
    fn a_job_is_told_whether_it_returns_or_panics() {
        let told = Told::default();
        let attempt = |number| Attempt { stage: "trial", symbol: "BTCUSDT", number, worker: "w" };
        let five = measured(&told, attempt(1), || 5, |_| (JobOutcome::Completed, 2, true));
        let broken = || -> u8 { panic!("a broken promise") };
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            measured(&told, attempt(2), broken, |_| (JobOutcome::Completed, 0, false))
        }));
        let told = told.0.into_inner().unwrap();
        assert_eq!((five, told.len(), panicked.is_err()), (5, 2, true));
        assert_eq!((told[0].requests, told[0].cached, told[0].attempt), (2, true, 1));
        assert_eq!(told[0].outcome, JobOutcome::Completed);
        let JobOutcome::Failed { code, error_chain } = &told[1].outcome else { panic!("{:?}", told[1]) };
        assert_eq!(
            (code.as_str(), error_chain.as_slice()),
            ("job_broke", &["a broken promise".to_owned()][..])
        );
    }

    #[test]
    fn a_job_that_was_told_to_stop_is_told_with_the_reason_and_ends_with_it() {
        for code in ["wall_cap", "memory_cap", "cancelled"] {
            let told = Told::default();
            let cancel = Arc::new(Cancel::default());
            let fault = JobFault::permanent(code, "why it was stopped");
            let attempt = Attempt { stage: "trial", symbol: "BTCUSDT", number: 1, worker: "w" };
            cancel.raise(fault.clone());
            let work = || measured(&told, attempt, checkpoint, |()| (JobOutcome::Completed, 0, false));
            assert_eq!(fenced(|| stoppable(cancel, work)), Err(fault));
            let told = told.0.into_inner().unwrap();
            let error_chain = vec!["why it was stopped".to_owned()];
            assert_eq!(told[0].outcome, JobOutcome::Failed { code: code.to_owned(), error_chain });
        }
    }
}
