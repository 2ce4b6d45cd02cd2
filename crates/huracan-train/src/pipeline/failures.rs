//! What went wrong, as it is kept: a line for each coin whose job broke and for a run that did not come
//! to its end, with what was tried and what to do.

use super::meter::error_chain;
use super::recorder::{JobHistory, Recorder};
use super::{Job, RunError, meter};
use crate::engine::survey::Failed;
use huracan_core::words::UtcMs;
use huracan_store::formats::run::{ExitStatus, Failure, Run, RunInputs};
use huracan_store::runs::{self, RunLog};
use huracan_store::{StoreError, run_id};
use std::collections::BTreeMap;

/// What to do about a coin whose job failed, by the code of its failure.
fn coin_help(code: &str) -> &'static str {
    match code {
        "wall_cap" => {
            "the other coins are not affected; raise `jobs.wall_cap_s`: the next run tries it anew, one that is \
             not over after `huracan jobs retry`"
        }
        "memory_cap" => {
            "the other coins are not affected; raise `jobs.memory_cap_mib`: the next run tries it anew, one that \
             is not over after `huracan jobs retry`"
        }
        "cancelled" | "skipped" => {
            "the other coins are not affected; the next run tries it anew, one that is not over after \
             `huracan jobs retry`"
        }
        _ => {
            "the other coins are not affected; look at the coin's candles with `huracan data check`, and report \
             the error if they are sound"
        }
    }
}

/// The lines of all coins that failed: those the Engine names, and those whose last attempt failed
/// without it.
pub(super) fn coins<'f>(
    failed: impl Iterator<Item = &'f Failed>,
    histories: &[JobHistory],
    now: UtcMs,
) -> Vec<Failure> {
    let mut lines: BTreeMap<(String, String), Failure> = BTreeMap::new();
    for failed in failed {
        let of_coin = || histories.iter().filter(|h| h.symbol == failed.symbol && h.failure().is_some());
        let history = of_coin().find(|h| h.stage == failed.step).or_else(|| of_coin().next());
        let line = match history {
            Some(history) => of_history(history, now),
            None => Failure {
                at: now.into(),
                symbol: Some(failed.symbol.clone()),
                step: failed.step.to_owned(),
                code: failed.code.clone(),
                error_chain: vec![failed.error.clone()],
                help: coin_help(&failed.code).to_owned(),
                attempts: Some(1),
                tried: Vec::new(),
            },
        };
        lines.insert((failed.symbol.clone(), line.step.clone()), line);
    }
    for history in histories.iter().filter(|h| h.failure().is_some()) {
        let key = (history.symbol.clone(), history.stage.to_owned());
        lines.entry(key).or_insert_with(|| of_history(history, now));
    }
    lines.into_values().collect()
}

fn of_history(history: &JobHistory, now: UtcMs) -> Failure {
    let (code, chain) = history.failure().unwrap_or((meter::JOB_BROKE, &[]));
    let untold = || vec!["the job told no error".to_owned()];
    Failure {
        at: now.into(),
        symbol: Some(history.symbol.clone()),
        step: history.stage.to_owned(),
        code: code.to_owned(),
        error_chain: if chain.is_empty() { untold() } else { chain.to_vec() },
        help: coin_help(code).to_owned(),
        attempts: Some(history.tries()),
        tried: history.tried(),
    }
}

/// Keeps the record of a run that ended with an error. What stopped the run may also keep it from being
/// noted; then only the log says so.
pub(super) fn keep(job: &Job<'_>, recorder: &Recorder<'_>, error: &RunError) {
    if let Err(refused) = kept(job, recorder, error) {
        tracing::warn!(error = %refused, "the run's failure could not be written to its record");
    }
}

fn kept(job: &Job<'_>, recorder: &Recorder<'_>, error: &RunError) -> Result<(), StoreError> {
    // Where a run breaks before the end of its data is known, its own start stands in for it.
    let unnamed = || run_id(recorder.started_at, job.config_id.as_bytes());
    let run_id = recorder.run_id().unwrap_or_else(unnamed);
    if matches!(runs::read(job.store, &run_id), Err(StoreError::NotFound { .. })) {
        runs::write(job.store, &record(job, recorder, &run_id, error))?;
    }
    let log = RunLog::open(job.store, &run_id)?;
    let histories = recorder.histories();
    coins([].iter(), &histories, recorder.now()).iter().try_for_each(|line| log.failure(line))?;
    log.failure(&of_run(error, recorder.stage(), recorder.now()))?;
    let (events, unit_costs) = recorder.lines(&|_| 0);
    events.iter().try_for_each(|event| log.event(event))?;
    unit_costs.iter().try_for_each(|cost| log.unit_cost(cost))?;
    log.flush()?;
    runs::write_profile(job.store, &recorder.profile(&run_id, job.workers))
}

fn of_run(error: &RunError, step: &str, now: UtcMs) -> Failure {
    Failure {
        at: now.into(),
        symbol: None,
        step: step.to_owned(),
        code: error.code().to_owned(),
        error_chain: error_chain(error),
        help: help(error).to_owned(),
        attempts: Some(1),
        tried: Vec::new(),
    }
}

fn help(error: &RunError) -> &'static str {
    match error {
        RunError::Interrupted(_) => "nothing was published; run the same command again",
        RunError::Store(StoreError::NoSpace { .. }) => {
            "free space where the store is and run the same command again; what is in force was left as it was"
        }
        RunError::Store(_) => {
            "what is in force was left as it was; `huracan doctor` looks at the store and `huracan verify all` \
             at what is in it, then run the same command again"
        }
        RunError::NoSeries { .. } => "give the bar of the files with --bar",
        RunError::Engine(_) => {
            "nothing was published and what is in force was left as it was; `huracan data check` says what is in \
             the candles"
        }
    }
}

fn record(job: &Job<'_>, recorder: &Recorder<'_>, run_id: &str, error: &RunError) -> Run {
    Run {
        run_id: run_id.to_owned(),
        inputs: RunInputs {
            config: job.config.clone(),
            config_id: job.config_id.clone(),
            code_version: job.code_version.clone(),
            data_fingerprints: recorder.fingerprints(),
            seed: job.settings.seed.0,
            source: Some(job.origin.clone()),
            universe: None,
            until: None,
            placebo_seed: job.settings.placebo_run.map(|seed| seed.0),
        },
        started_at: recorder.started_at.into(),
        finished_at: Some(recorder.now().max(recorder.started_at).into()),
        exit_status: error.exit_status(),
        counts: BTreeMap::new(),
        encoder_id: None,
        timings: recorder.timings(),
        peak_memory_bytes: meter::peak_memory_bytes(),
        canaries: Vec::new(),
        canary_summary: None,
    }
}

impl RunError {
    /// Stable code for scripts.
    pub fn code(&self) -> &'static str {
        match self {
            RunError::Interrupted(_) => "interrupted",
            RunError::Engine(error) => error.code(),
            RunError::Store(error) => error.code(),
            RunError::NoSeries { .. } => "no_series",
        }
    }

    /// How a run that ended so is recorded.
    pub fn exit_status(&self) -> ExitStatus {
        match self {
            RunError::Interrupted(_) => ExitStatus::Interrupted,
            _ => ExitStatus::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::JobFault;
    use crate::pipeline::meter::{JobFacts, JobOutcome};

    #[test]
    fn a_failed_coin_is_told_once_with_every_attempt() {
        let attempt = |symbol: &str, attempt: u32, error: &str| JobFacts {
            stage: "trial",
            symbol: symbol.to_owned(),
            attempt,
            worker: "w".to_owned(),
            wall_s: 1.0,
            cpu_s: None,
            bytes_read: 0,
            bytes_written: 0,
            requests: 0,
            cached: false,
            outcome: JobOutcome::Failed { code: "timed_out".to_owned(), error_chain: vec![error.to_owned()] },
        };
        let history = |symbol: &str, attempts: Vec<JobFacts>| JobHistory {
            stage: "trial",
            symbol: symbol.to_owned(),
            attempts,
        };
        let histories = [
            history("ETHUSDT", vec![attempt("ETHUSDT", 1, "slow"), attempt("ETHUSDT", 2, "slower")]),
            history("XRPUSDT", vec![attempt("XRPUSDT", 1, "slow")]),
        ];
        let named = |symbol: &str| Failed {
            symbol: symbol.to_owned(),
            step: "trial",
            code: "job_broke".to_owned(),
            error: "as the Engine says".to_owned(),
        };
        let engine = [named("BTCUSDT"), named("ETHUSDT")];
        let lines = coins(engine.iter(), &histories, UtcMs(0));
        let told = |i: usize| (lines[i].symbol.clone().unwrap(), lines[i].code.as_str(), lines[i].attempts);
        assert_eq!(lines.len(), 3);
        assert_eq!(told(0), ("BTCUSDT".to_owned(), "job_broke", Some(1)));
        assert_eq!(told(1), ("ETHUSDT".to_owned(), "timed_out", Some(2)));
        assert_eq!(told(2), ("XRPUSDT".to_owned(), "timed_out", Some(1)));
        assert_eq!((lines[1].error_chain.as_slice(), lines[1].tried.len()), (&["slower".to_owned()][..], 2));
    }

    #[test]
    fn what_to_do_about_a_coin_follows_from_why_its_job_stopped() {
        let failed = |code: &str| {
            let fault = JobFault::permanent(code, "as the job says");
            Failed::new(format!("{code}USDT"), "trial", fault)
        };
        let advice = [
            ("cancelled", "cancelled", "`huracan jobs retry`"),
            ("memory_cap", "memory_cap", "`jobs.memory_cap_mib`"),
            ("panicked", "job_broke", "`huracan data check`"),
            ("skipped", "skipped", "`huracan jobs retry`"),
            ("wall_cap", "wall_cap", "`jobs.wall_cap_s`"),
        ];
        let lines = coins(advice.map(|(code, ..)| failed(code)).iter(), &[], UtcMs(0));
        assert_eq!(lines.len(), advice.len());
        for (line, (_, kept, help)) in lines.iter().zip(advice) {
            assert_eq!(line.code, kept);
            assert!(line.help.contains(help), "{kept}: {}", line.help);
        }
    }
}
