//! After a run: what the store says of it, as a file for Prometheus.

use super::now;
use crate::metrics::{RequestCounts, RunFacts, families, render, write_file};
use huracan_store::formats::run::{ExitStatus, Run};
use huracan_store::{Store, StoreError, runs};
use huracan_train::pipeline::{Ending, RunError};
use std::path::Path;

/// Writes the figures of the run that has just ended; a file that cannot be written is a warning, not
/// the end of a run. A run that left no record, because another one held the store, leaves the file as
/// it was.
pub(super) fn write(
    path: &Path,
    store: &dyn Store,
    requests: RequestCounts,
    ended: &Result<Ending, RunError>,
) {
    let text = match text(store, requests, ended) {
        Ok(Some(text)) => text,
        Ok(None) => return,
        Err(error) => {
            tracing::warn!(%error, "no metrics: the run's record cannot be read");
            return;
        }
    };
    if let Err(error) = write_file(path, &text) {
        tracing::warn!(%error, path = %path.display(), "the metrics could not be written");
    }
}

fn text(
    store: &dyn Store,
    requests: RequestCounts,
    ended: &Result<Ending, RunError>,
) -> Result<Option<String>, StoreError> {
    let (run, status) = match ended {
        Ok(Ending::UpToDate { run_id, .. }) => (Some(runs::read(store, run_id)?), "up_to_date"),
        Ok(Ending::Ran(finished)) if finished.blocked() => {
            (Some(runs::read(store, &finished.run_id)?), "blocked")
        }
        Ok(Ending::Ran(finished)) => (Some(runs::read(store, &finished.run_id)?), "complete"),
        Err(RunError::Store(StoreError::Locked { .. })) => (None, "failed"),
        Err(RunError::Interrupted(_)) => (runs::latest(store)?, "interrupted"),
        Err(_) => (runs::latest(store)?, "failed"),
    };
    let Some(run) = run else { return Ok(None) };
    let ended_ms = match status {
        "up_to_date" => now().0,
        _ => run.finished_at.map_or_else(|| now().0, |end| end.0.0),
    };
    let published = |run: &Run| run.exit_status == ExitStatus::Complete && run.inputs.placebo_seed.is_none();
    let last_success_ms = match status {
        "up_to_date" => Some(ended_ms),
        _ => runs::latest_of(store, &published)?.and_then(|run| run.finished_at).map(|end| end.0.0),
    };
    let costs = runs::unit_costs(store, &run.run_id)?;
    let money: Vec<f64> = costs.iter().filter_map(|cost| cost.cost_usd).collect();
    let (profile, events) = (runs::read_profile(store, &run.run_id)?, runs::events(store, &run.run_id)?);
    let facts = RunFacts {
        run: &run,
        profile: profile.as_ref(),
        events: &events,
        cost_usd: (!money.is_empty()).then(|| money.iter().sum()),
        status,
        ended_ms,
        last_success_ms,
        requests,
    };
    Ok(Some(render(&families(&facts))))
}
