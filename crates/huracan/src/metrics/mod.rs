//! Figures of the last run for machines that watch: what they are called ([`families`]), how they are
//! written ([`render`]), and the store's requests ([`CountedStore`]).
//!
//! Everything is a gauge: the file tells of one run, and the next run writes it anew.

mod counted;
mod text;

pub use counted::{CountedStore, RequestCounts, VERBS};
pub use text::{Family, render, write_file};

use huracan_store::formats::run::{JobEvent, JobStatus, Profile, Run};
use std::collections::BTreeMap;

/// What there is to tell about the last run.
pub struct RunFacts<'a> {
    /// Its record.
    pub run: &'a Run,
    /// Where its time went, where it was written.
    pub profile: Option<&'a Profile>,
    /// Every job's transitions.
    pub events: &'a [JobEvent],
    /// Money for the coins' jobs, where there is a rate.
    pub cost_usd: Option<f64>,
    /// One of [`STATUSES`].
    pub status: &'static str,
    /// When it ended, in milliseconds.
    pub ended_ms: i64,
    /// When a run ended well for the last time, in milliseconds.
    pub last_success_ms: Option<i64>,
    /// Requests to the store.
    pub requests: RequestCounts,
}

/// How a run may have ended; `up_to_date`: there was nothing to do.
pub const STATUSES: [&str; 5] = ["complete", "up_to_date", "blocked", "failed", "interrupted"];

fn seconds(ms: i64) -> f64 {
    ms as f64 / 1e3
}

/// The families of a run, in a fixed order; those without a sample are left out.
pub fn families(facts: &RunFacts<'_>) -> Vec<Family> {
    let RunFacts { run, profile, requests, .. } = *facts;
    let mut all = vec![
        Family::gauge("huracan_last_run_timestamp_seconds", "When the last run ended, in Unix time.")
            .value(seconds(facts.ended_ms)),
        Family::gauge(
            "huracan_last_success_timestamp_seconds",
            "When a run last published or had nothing to do, in Unix time.",
        )
        .maybe(facts.last_success_ms.map(seconds)),
    ];
    let mut status =
        Family::gauge("huracan_last_run_status", "1 for how the last run ended, 0 for the others.");
    for name in STATUSES {
        status = status.labelled(&[("status", name)], f64::from(u8::from(name == facts.status)));
    }
    all.push(status);
    all.push(
        Family::gauge("huracan_last_run_info", "The run and the program that made it.")
            .labelled(&[("run_id", &run.run_id), ("code_version", &run.inputs.code_version)], 1.0),
    );
    all.push(
        Family::gauge("huracan_run_duration_seconds", "The run on the clock.")
            .maybe(run.finished_at.map(|end| seconds(end.0.0 - run.started_at.0.0))),
    );
    all.push(
        Family::gauge("huracan_run_cpu_seconds", "Processor time of the run.")
            .maybe(profile.and_then(|p| p.cpu_s)),
    );
    all.push(
        Family::gauge("huracan_run_peak_memory_bytes", "Largest resident memory of the run.")
            .maybe(run.peak_memory_bytes.map(|bytes| bytes as f64)),
    );
    all.push(
        Family::gauge("huracan_run_cost_usd", "Money for the coins' jobs at the configured rates.")
            .maybe(facts.cost_usd),
    );
    all.extend(stages(facts));
    let mut coins = Family::gauge("huracan_coins", "Coins of the run by what became of them.");
    for (status, n) in &run.counts {
        coins = coins.labelled(&[("status", status)], *n as f64);
    }
    all.push(coins);
    all.push(
        Family::gauge("huracan_trade_ok_coins", "Coins of the run that may be traded.")
            .maybe(run.counts.get("trade_ok").map(|n| *n as f64)),
    );
    let mut made = Family::gauge("huracan_store_requests", "Requests of the run to the store.");
    let mut refused =
        Family::gauge("huracan_store_request_failures", "Those of them that the store refused.");
    for (verb, (all, failed)) in VERBS.iter().zip(requests.by_verb) {
        made = made.labelled(&[("verb", verb)], all as f64);
        refused = refused.labelled(&[("verb", verb)], failed as f64);
    }
    all.extend([made, refused]);
    all.retain(|family| !family.is_empty());
    all
}

fn stages(facts: &RunFacts<'_>) -> Vec<Family> {
    let timings = facts.profile.map_or(&facts.run.timings, |profile| &profile.stages);
    let mut duration = Family::gauge("huracan_stage_duration_seconds", "A stage on the clock.");
    let mut cpu = Family::gauge("huracan_stage_cpu_seconds", "Processor time of a stage.");
    let mut job =
        Family::gauge("huracan_stage_job_duration_seconds", "Quantiles of a stage's jobs on the clock.");
    let mut hits = Family::gauge("huracan_cache_hits", "Jobs whose result was there already.");
    let mut misses = Family::gauge("huracan_cache_misses", "Jobs that had to work.");
    // A stage may run twice under one name; a series must not appear twice.
    let mut seen = std::collections::BTreeSet::new();
    for timing in timings.iter().filter(|t| seen.insert(t.stage.as_str())) {
        let same = || timings.iter().filter(|t| t.stage == timing.stage);
        let stage = [("stage", timing.stage.as_str())];
        duration = duration.labelled(&stage, same().map(|t| t.wall_s).sum());
        if let Some(cpu_s) = same().map(|t| t.cpu_s).sum::<Option<f64>>() {
            cpu = cpu.labelled(&stage, cpu_s);
        }
        for (quantile, value) in [("0.5", timing.p50_s), ("0.95", timing.p95_s), ("0.99", timing.p99_s)] {
            if let Some(value) = value {
                job = job.labelled(&[stage[0], ("quantile", quantile)], value);
            }
        }
        if let Some(outcomes) = timing.outcomes {
            hits = hits.labelled(&stage, outcomes.cache_hits as f64);
            misses = misses.labelled(&stage, outcomes.cache_misses as f64);
        }
    }
    vec![duration, cpu, job, jobs(facts.events), hits, misses]
}

/// Jobs by the state they came to last.
fn jobs(events: &[JobEvent]) -> Family {
    let mut last: BTreeMap<(&str, Option<&str>), JobStatus> = BTreeMap::new();
    for event in events {
        last.insert((&event.stage, event.symbol.as_deref()), event.status);
    }
    let mut counted: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for ((stage, _), status) in last {
        *counted.entry((stage, word(status))).or_default() += 1;
    }
    let mut family = Family::gauge("huracan_jobs", "Jobs by the state they came to.");
    for ((stage, status), n) in counted {
        family = family.labelled(&[("stage", stage), ("status", status)], n as f64);
    }
    family
}

fn word(status: JobStatus) -> &'static str {
    match status {
        JobStatus::Pending => "pending",
        JobStatus::Running => "running",
        JobStatus::Completed => "completed",
        JobStatus::Failed => "failed",
        JobStatus::Skipped => "skipped",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use huracan_store::formats::from_bytes;
    use huracan_store::formats::run::JobCounts;

    /// A record as it was before anything here was counted.
    fn record() -> Run {
        let text = include_str!("../../../huracan-store/tests/golden/v1/before_meters/run.json");
        from_bytes("run.json", text.as_bytes()).unwrap()
    }

    fn event(stage: &str, symbol: &str, status: JobStatus, attempt: u32) -> JobEvent {
        JobEvent {
            at: huracan_core::words::UtcMs(0).into(),
            symbol: Some(symbol.to_owned()),
            stage: stage.to_owned(),
            status,
            attempt,
            worker: "w".to_owned(),
            reason: None,
        }
    }

    #[test]
    fn a_runs_figures_are_a_file_that_the_collector_takes() {
        let mut run = record();
        run.counts.insert("trade_ok".to_owned(), 1);
        run.timings[0].outcomes = Some(JobCounts { cache_hits: 3, cache_misses: 4, ..JobCounts::default() });
        // The same stage once more: one series, both times.
        run.timings.push(run.timings[0].clone());
        let wall_s = run.timings[0].wall_s;
        let stage = run.timings[0].stage.clone();
        let events = [
            event(&stage, "BTCUSDT", JobStatus::Failed, 1),
            event(&stage, "BTCUSDT", JobStatus::Completed, 2),
            event(&stage, "ETHUSDT", JobStatus::Failed, 1),
        ];
        let facts = RunFacts {
            run: &run,
            profile: None,
            events: &events,
            cost_usd: Some(0.125),
            status: "complete",
            ended_ms: 1_754_006_461_250,
            last_success_ms: None,
            requests: RequestCounts { by_verb: [(9, 1), (2, 0), (1, 0), (0, 0), (1, 0)] },
        };
        let text = render(&families(&facts));
        let series = text::tests::parse(&text);
        let at = |name: &str, labels: &[(&str, &str)]| {
            let labels: BTreeMap<&str, &str> = labels.iter().copied().collect();
            let id = format!("{name}{labels:?}");
            *series.get(&id).unwrap_or_else(|| panic!("no {id} in\n{text}"))
        };
        let stage = ("stage", stage.as_str());
        assert_eq!(at("huracan_last_run_timestamp_seconds", &[]), 1_754_006_461.25);
        assert_eq!(at("huracan_run_duration_seconds", &[]), 61.25);
        assert_eq!(at("huracan_stage_duration_seconds", &[stage]), 2.0 * wall_s);
        assert_eq!(at("huracan_jobs", &[stage, ("status", "completed")]), 1.0);
        assert_eq!(at("huracan_jobs", &[stage, ("status", "failed")]), 1.0);
        assert_eq!(at("huracan_cache_hits", &[stage]), 3.0);
        assert_eq!(at("huracan_trade_ok_coins", &[]), 1.0);
        assert_eq!(at("huracan_run_cost_usd", &[]), 0.125);
        assert_eq!(at("huracan_store_requests", &[("verb", "get")]), 9.0);
        assert_eq!(at("huracan_store_request_failures", &[("verb", "get")]), 1.0);
        let statuses = STATUSES.map(|status| at("huracan_last_run_status", &[("status", status)]));
        assert_eq!(statuses, [1.0, 0.0, 0.0, 0.0, 0.0]);
        // Never succeeded is no success at the beginning of time.
        assert!(!text.contains("last_success"), "{text}");
    }
}
