//! What runs left in the store about themselves: for `status`, `costs` and `failures`.

use super::{now, train::open};
use crate::cli::costs::{CoinCost, CostsView, StageCost};
use crate::cli::failures::{FailureRow, FailuresView};
use crate::cli::status::{HeartRow, LastRun, StatusView};
use crate::failure::Failure;
use huracan_core::words::UtcMs;
use huracan_store::formats::heartbeat::Heartbeat;
use huracan_store::formats::run::{CostBasis, ExitStatus, Run, UnitCost};
use huracan_store::heartbeats::{self, Service};
use huracan_store::{Store, StoreError, runs};
use std::collections::BTreeMap;
use std::path::Path;

/// What every program does now, and how the last run went.
///
/// # Errors
/// When the store cannot be read.
pub fn status(store: &Path) -> Result<StatusView, Failure> {
    let store = open(store)?;
    let now = now();
    let mut hearts = Vec::new();
    for service in [Service::Engine, Service::Mechanic, Service::Hamilton] {
        hearts.extend(heartbeats::read(&store, service)?.map(|heart| heart_row(service, &heart, now)));
    }
    let last = runs::latest(&store)?;
    let failures = match &last {
        Some(run) => failure_rows(&store, &run.run_id)?,
        None => Vec::new(),
    };
    let published = |run: &Run| run.exit_status == ExitStatus::Complete && run.inputs.placebo_seed.is_none();
    let last_success = runs::latest_of(&store, &published)?;
    Ok(StatusView {
        at: now.to_string(),
        hearts,
        last_run: last.as_ref().map(last_run),
        last_success: last_success.as_ref().map(last_run),
        failures,
    })
}

fn heart_row(service: Service, heart: &Heartbeat, now: UtcMs) -> HeartRow {
    HeartRow {
        service: service.code().to_owned(),
        beat_at: heart.utc_timestamp.to_string(),
        age_s: now.0.saturating_sub(heart.utc_timestamp.0.0).max(0) as f64 / 1e3,
        stale: heartbeats::is_stale(heart, now),
        phase: heart.phase.clone(),
        stage: heart.stage.clone(),
        symbol: heart.current_symbol.as_ref().map(ToString::to_string),
        progress: heart.progress,
        done: heart.done,
        total: heart.total,
        eta_s: heart.eta_s,
        last_error: heart.last_error.clone(),
    }
}

fn last_run(run: &Run) -> LastRun {
    LastRun {
        run_id: run.run_id.clone(),
        status: word(run.exit_status).to_owned(),
        started_at: run.started_at.to_string(),
        finished_at: run.finished_at.map(|end| end.to_string()),
        seconds: run.finished_at.map(|end| (end.0.0 - run.started_at.0.0) as f64 / 1e3),
        counts: run.counts.clone(),
    }
}

fn word(status: ExitStatus) -> &'static str {
    match status {
        ExitStatus::Running => "running",
        ExitStatus::Complete => "complete",
        ExitStatus::Failed => "failed",
        ExitStatus::Interrupted => "interrupted",
        ExitStatus::Blocked => "blocked",
    }
}

/// The run asked for, else the last one.
fn chosen(store: &dyn Store, run_id: Option<&str>) -> Result<Run, Failure> {
    let found = match run_id {
        Some(id) => Some(runs::read(store, id)?),
        None => runs::latest(store)?,
    };
    found.ok_or_else(|| {
        StoreError::NotFound { path: "runs".to_owned(), help: "there is no run in the store yet" }.into()
    })
}

/// What failed in a run.
///
/// # Errors
/// When there is no such run, or the store cannot be read.
pub fn failures(store: &Path, run_id: Option<&str>) -> Result<FailuresView, Failure> {
    let store = open(store)?;
    let run = chosen(&store, run_id)?;
    Ok(FailuresView { failures: failure_rows(&store, &run.run_id)?, run: last_run(&run) })
}

fn failure_rows(store: &dyn Store, run_id: &str) -> Result<Vec<FailureRow>, Failure> {
    let row = |line: huracan_store::formats::run::Failure| FailureRow {
        at: line.at.to_string(),
        symbol: line.symbol,
        step: line.step,
        code: line.code,
        error_chain: line.error_chain,
        attempts: line.attempts,
        tried: line.tried,
        help: line.help,
    };
    Ok(runs::failures(store, run_id)?.into_iter().map(row).collect())
}

/// What a run used, by stage and by coin.
///
/// # Errors
/// When there is no such run, or the store cannot be read.
pub fn costs(store: &Path, run_id: Option<&str>) -> Result<CostsView, Failure> {
    let store = open(store)?;
    let run = chosen(&store, run_id)?;
    let units = runs::unit_costs(&store, &run.run_id)?;
    let profile = runs::read_profile(&store, &run.run_id)?;
    Ok(view(last_run(&run), &units, profile.and_then(|p| p.cpu_s)))
}

fn view(run: LastRun, units: &[UnitCost], process_cpu_s: Option<f64>) -> CostsView {
    let mut stages: Vec<StageCost> = Vec::new();
    let mut coins: BTreeMap<&str, CoinCost> = BTreeMap::new();
    for unit in units {
        let at = stages.iter().position(|stage| stage.stage == unit.stage).unwrap_or_else(|| {
            stages.push(StageCost { stage: unit.stage.clone(), ..StageCost::default() });
            stages.len() - 1
        });
        let stage = &mut stages[at];
        stage.jobs += 1;
        stage.cached += u64::from(unit.cached == Some(true));
        stage.is_measured = unit.basis == Some(CostBasis::Thread);
        stage.used.add(unit);
        let coin = coins.entry(&unit.symbol).or_insert_with(|| CoinCost {
            symbol: unit.symbol.clone(),
            is_measured: true,
            ..CoinCost::default()
        });
        coin.is_measured &= unit.basis == Some(CostBasis::Thread);
        if unit.wall_s >= coin.slowest_stage_s {
            (coin.slowest_stage, coin.slowest_stage_s) = (unit.stage.clone(), unit.wall_s);
        }
        coin.used.add(unit);
    }
    let mut total = crate::cli::costs::Used::default();
    units.iter().for_each(|unit| total.add(unit));
    let unattributed_cpu_s = process_cpu_s.zip(total.cpu_s).map(|(all, coins)| (all - coins).max(0.0));
    CostsView { run, stages, coins: coins.into_values().collect(), total, process_cpu_s, unattributed_cpu_s }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(symbol: &str, stage: &str, cpu_s: Option<f64>, wall_s: f64, cost_usd: Option<f64>) -> UnitCost {
        UnitCost {
            symbol: symbol.to_owned(),
            stage: stage.to_owned(),
            cpu_s,
            wall_s,
            rows: 10,
            bytes_read: 100,
            bytes_written: 10,
            requests: 1,
            cost_usd,
            basis: Some(CostBasis::Thread),
            attempts: Some(1),
            cached: Some(false),
        }
    }

    #[test]
    fn stages_and_coins_add_up_to_the_total() {
        let units = [
            unit("BTCUSDT", "survey", Some(1.0), 2.0, Some(0.5)),
            unit("ETHUSDT", "survey", Some(3.0), 4.0, Some(0.25)),
            UnitCost { cached: Some(true), ..unit("BTCUSDT", "trial", None, 8.0, None) },
        ];
        let view = view(LastRun::default(), &units, Some(5.0));
        assert_eq!(view.total.cpu_s, Some(4.0));
        assert_eq!((view.total.wall_s, view.total.cost_usd, view.total.requests), (14.0, Some(0.75), 3));
        assert_eq!(view.unattributed_cpu_s, Some(1.0));
        let stages: Vec<_> = view.stages.iter().map(|s| (s.stage.as_str(), s.jobs, s.cached)).collect();
        assert_eq!(stages, [("survey", 2, 0), ("trial", 1, 1)]);
        let btc = &view.coins[0];
        assert_eq!((btc.slowest_stage.as_str(), btc.used.wall_s), ("trial", 10.0));
        assert_eq!(view.stages[1].used.cost_usd, None);
    }
}
