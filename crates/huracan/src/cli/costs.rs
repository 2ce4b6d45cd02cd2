//! `huracan costs`: what a run used, by stage and by coin, and what that costs.

use super::status::LastRun;
use super::{Global, Output, World, settings};
use crate::failure::Failure;
use crate::progress::duration;
use crate::table::{Align, Table, count, figure};
use crate::wiring;
use clap::Args;
use huracan_store::formats::run::UnitCost;
use serde::Serialize;
use serde_json::json;

/// Flags of `costs`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Money is counted at the rates of the run's configuration (observability.usd_per_cpu_hour and its
neighbours); without one there is none. A stage marked * was not measured job by job: its coins share
the stage's clock, and only their sum is exact.

Examples:
  huracan costs
  huracan costs 20250701T000000Z-0a1b2c3d --top 20
  huracan costs --json")]
pub struct CostsArgs {
    /// The run [default: the one that started last]
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// Coins to list
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub top: usize,
}

/// What was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Used {
    /// Processor time, as far as it could be told; `None` where none could.
    pub cpu_s: Option<f64>,
    /// Time on the clock, all jobs one after the other.
    pub wall_s: f64,
    /// Rows worked on.
    pub rows: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Requests to others.
    pub requests: u64,
    /// Money; `None` without a rate.
    pub cost_usd: Option<f64>,
}

impl Used {
    /// Adds what one coin's stage used.
    pub fn add(&mut self, unit: &UnitCost) {
        let sum = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => Some(a + b),
            (one, other) => one.or(other),
        };
        self.cpu_s = sum(self.cpu_s, unit.cpu_s);
        self.wall_s += unit.wall_s;
        self.rows += unit.rows;
        self.bytes_read += unit.bytes_read;
        self.bytes_written += unit.bytes_written;
        self.requests += unit.requests;
        self.cost_usd = sum(self.cost_usd, unit.cost_usd);
    }
}

/// What a stage used.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StageCost {
    /// The stage.
    pub stage: String,
    /// Jobs, a coin each.
    pub jobs: u64,
    /// Those whose result was there already.
    pub cached: u64,
    /// Whether each job was measured on its own thread.
    pub is_measured: bool,
    /// What they used together.
    pub used: Used,
}

/// What a coin used.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CoinCost {
    /// The coin.
    pub symbol: String,
    /// Its longest stage.
    pub slowest_stage: String,
    /// How long that took.
    pub slowest_stage_s: f64,
    /// Whether all its jobs were measured on their own threads.
    pub is_measured: bool,
    /// What its jobs used together.
    pub used: Used,
}

/// What a run used.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CostsView {
    /// The run.
    pub run: LastRun,
    /// By stage, in the order they ran.
    pub stages: Vec<StageCost>,
    /// By coin; alphabetical, cut and sorted for people.
    pub coins: Vec<CoinCost>,
    /// All coins' jobs.
    pub total: Used,
    /// Processor time of the whole process.
    pub process_cpu_s: Option<f64>,
    /// What of it no coin's job used.
    pub unattributed_cpu_s: Option<f64>,
}

/// Runs the command.
///
/// # Errors
/// What the store refuses.
pub fn run(args: &CostsArgs, global: &Global, world: &World) -> Result<Output, Failure> {
    let store = settings::store(global, world)?;
    let mut view = wiring::costs(&store, args.run.as_deref())?;
    // The most expensive first; without money, the slowest.
    let weight = |coin: &CoinCost| (coin.used.cost_usd.unwrap_or(0.0), coin.used.wall_s);
    view.coins.sort_by(|a, b| {
        let (a, b) = (weight(a), weight(b));
        b.0.total_cmp(&a.0).then(b.1.total_cmp(&a.1))
    });
    view.coins.truncate(args.top);
    let json = json!({"schema": "huracan-cli-costs/1", "costs": view});
    Ok(Output::ok(text(&view, world.width), json))
}

const COLUMNS: [(&str, Align); 7] = [
    ("cpu s", Align::Right),
    ("clock s", Align::Right),
    ("rows", Align::Right),
    ("read MiB", Align::Right),
    ("written MiB", Align::Right),
    ("requests", Align::Right),
    ("usd", Align::Right),
];

fn cells(used: &Used) -> [String; 7] {
    let mib = |bytes: u64| figure(Some(bytes as f64 / (1u64 << 20) as f64), 1);
    [
        figure(used.cpu_s, 2),
        figure(Some(used.wall_s), 2),
        count(used.rows),
        mib(used.bytes_read),
        mib(used.bytes_written),
        count(used.requests),
        figure(used.cost_usd, 6),
    ]
}

fn text(view: &CostsView, width: Option<usize>) -> String {
    let LastRun { run_id, status, seconds, .. } = &view.run;
    let took = seconds.map_or(String::new(), |s| format!(", took {}", duration(s)));
    let mut text = format!("run {run_id}: {status}{took}\n");
    if view.stages.is_empty() {
        text.push_str("It left no unit costs.\n");
        return text;
    }
    let mut stages = Table::new(
        &[&[("stage", Align::Left), ("jobs", Align::Right), ("cached", Align::Right)], &COLUMNS[..]].concat(),
    );
    for stage in &view.stages {
        let mark = if stage.is_measured { "" } else { " *" };
        let first = [format!("{}{mark}", stage.stage), count(stage.jobs), count(stage.cached)];
        stages.row(first.into_iter().chain(cells(&stage.used)));
    }
    let jobs = view.stages.iter().map(|stage| stage.jobs).sum();
    let cached = view.stages.iter().map(|stage| stage.cached).sum();
    stages.row(["total".to_owned(), count(jobs), count(cached)].into_iter().chain(cells(&view.total)));
    text.push_str(&format!("\n{}", stages.render(width)));
    if view.stages.iter().any(|stage| !stage.is_measured) {
        text.push_str("* not measured job by job: coins share the stage's clock, only the sum is exact\n");
    }
    let order = if view.total.cost_usd.is_some() { "most expensive" } else { "slowest" };
    let mut coins =
        Table::new(&[&[(order, Align::Left), ("longest stage", Align::Left)], &COLUMNS[..]].concat());
    for coin in &view.coins {
        let first =
            [coin.symbol.clone(), format!("{} ({})", coin.slowest_stage, duration(coin.slowest_stage_s))];
        coins.row(first.into_iter().chain(cells(&coin.used)));
    }
    if !coins.is_empty() {
        text.push_str(&format!("\n{}", coins.render(width)));
    }
    if let Some(cpu_s) = view.unattributed_cpu_s {
        text.push_str(&format!("\nprocessor time that no coin's job used: {cpu_s:.1} s\n"));
    }
    text.push_str(&match view.total.cost_usd {
        Some(usd) => format!("all coins' jobs together: {usd:.6} USD\n"),
        None => {
            "no money: no rate is configured (observability.usd_per_cpu_hour and its neighbours)\n".to_owned()
        }
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_marked_and_money_is_told_or_said_to_be_missing() {
        let used =
            Used { cpu_s: Some(1.5), wall_s: 2.0, rows: 7000, cost_usd: Some(0.25), ..Used::default() };
        let stage = StageCost { stage: "trial".into(), jobs: 2, cached: 1, is_measured: false, used };
        let coin =
            CoinCost { symbol: "BTCUSDT".into(), slowest_stage: "trial".into(), used, ..CoinCost::default() };
        let mut view = CostsView {
            stages: vec![stage],
            coins: vec![coin],
            total: used,
            unattributed_cpu_s: Some(3.0),
            ..CostsView::default()
        };
        let told = text(&view, None);
        for part in
            ["trial *", "* not measured", "most expensive", "7 000", "together: 0.250000 USD", "used: 3.0 s"]
        {
            assert!(told.contains(part), "{part} is not in\n{told}");
        }
        view.total.cost_usd = None;
        view.stages[0].is_measured = true;
        let told = text(&view, None);
        assert!(
            told.contains("no rate is configured") && told.contains("slowest") && !told.contains('*'),
            "{told}"
        );
        assert!(text(&CostsView::default(), None).contains("left no unit costs"));
    }
}
