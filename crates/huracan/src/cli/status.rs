//! `huracan status`: what every program does now, how the last run went and what failed in it.

use super::failures::{FailureRow, said};
use super::{Global, Output, World, settings};
use crate::failure::Failure;
use crate::progress::duration;
use crate::wiring;
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;

/// What a store says of the programs that work with it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StatusView {
    /// When this was asked.
    pub at: String,
    /// Programs that have ever beaten.
    pub hearts: Vec<HeartRow>,
    /// The run that started last.
    pub last_run: Option<LastRun>,
    /// The last one that published.
    pub last_success: Option<LastRun>,
    /// What failed in the run that started last.
    pub failures: Vec<FailureRow>,
}

/// A program's last heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct HeartRow {
    /// The program.
    pub service: String,
    /// When it beat.
    pub beat_at: String,
    /// How long ago that is.
    pub age_s: f64,
    /// Whether it has been silent for too long without having ended.
    pub stale: bool,
    /// What it does.
    pub phase: String,
    /// The stage within the phase.
    pub stage: Option<String>,
    /// The coin it works on.
    pub symbol: Option<String>,
    /// Share of the stage that is done, 0 to 1.
    pub progress: f64,
    /// Pieces of the stage that are done.
    pub done: u64,
    /// Its pieces.
    pub total: u64,
    /// Seconds the stage still takes; `None` when nobody can tell.
    pub eta_s: Option<f64>,
    /// The latest error.
    pub last_error: Option<String>,
}

/// A run in a line.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LastRun {
    /// Its id.
    pub run_id: String,
    /// `running`, `complete`, `failed`, `interrupted`, `blocked`.
    pub status: String,
    /// When it started.
    pub started_at: String,
    /// When it ended.
    pub finished_at: Option<String>,
    /// How long it took.
    pub seconds: Option<f64>,
    /// Coins by what became of them.
    pub counts: BTreeMap<String, u64>,
}

/// Failures shown before a reader is sent to `huracan failures`.
const FAILURES_SHOWN: usize = 3;

/// Runs the command.
///
/// # Errors
/// What the store refuses.
pub fn run(global: &Global, world: &World) -> Result<Output, Failure> {
    let store = settings::store(global, world)?;
    let view = wiring::status(&store)?;
    let json = json!({"schema": "huracan-cli-status/1", "status": view});
    Ok(Output::ok(text(&view, &store), json))
}

fn text(view: &StatusView, store: &Path) -> String {
    let mut text: String = view.hearts.iter().map(heart).collect();
    if view.hearts.is_empty() {
        text.push_str("no program has worked with this store yet\n");
    }
    match &view.last_run {
        Some(run) => {
            text.push_str(&format!("last run: {}\n", line(run)));
            let died = view.hearts.iter().any(|heart| heart.service == "engine" && heart.stale);
            if run.status == "running" && died {
                text.push_str("  it says that it is running, and its heart has stopped: it died\n");
            }
        }
        None => text.push_str("last run: none\n"),
    }
    match &view.last_success {
        Some(run) if Some(run) != view.last_run.as_ref() => {
            text.push_str(&format!("last that published: {}\n", line(run)));
        }
        Some(_) => {}
        None => text.push_str("last that published: none\n"),
    }
    text.extend(view.failures.iter().take(FAILURES_SHOWN).map(said));
    if view.failures.len() > FAILURES_SHOWN {
        let more = view.failures.len() - FAILURES_SHOWN;
        text.push_str(&format!("\nand {more} more: huracan failures --store {}\n", store.display()));
    }
    text
}

fn heart(heart: &HeartRow) -> String {
    let HeartRow { service, phase, beat_at, done, total, .. } = heart;
    if matches!(phase.as_str(), "complete" | "failed") {
        let error = heart.last_error.as_ref().map_or(String::new(), |error| format!(": {error}"));
        return format!("{service}: {phase} since {beat_at}{error}\n");
    }
    let silent = duration(heart.age_s);
    let stale = match heart.stale {
        true => format!("STALE, silent for {silent}, was "),
        false => String::new(),
    };
    let stage = heart.stage.as_ref().map_or(String::new(), |stage| format!(", {stage}"));
    let steps = match total {
        0 => String::new(),
        _ => format!(" {done}/{total} ({:.0} %)", 100.0 * heart.progress),
    };
    let symbol = heart.symbol.as_ref().map_or(String::new(), |symbol| format!(", at {symbol}"));
    let left = match heart.eta_s {
        Some(s) if !heart.stale => format!(", about {} left of it", duration(s)),
        _ => String::new(),
    };
    let error = heart.last_error.as_ref().map_or(String::new(), |error| format!("; last error: {error}"));
    format!("{service}: {stale}{phase}{stage}{steps}{symbol}{left} (beat {silent} ago){error}\n")
}

fn line(run: &LastRun) -> String {
    let mut text = format!("{} {}, started {}", run.run_id, run.status, run.started_at);
    if let Some(seconds) = run.seconds {
        text.push_str(&format!(", took {}", duration(seconds)));
    }
    let counts = run.counts.iter().map(|(status, n)| format!("{n} {status}")).collect::<Vec<_>>();
    if !counts.is_empty() {
        text.push_str(&format!("; {}", counts.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn working(stale: bool) -> HeartRow {
        HeartRow {
            service: "engine".into(),
            age_s: if stale { 91.0 } else { 12.0 },
            stale,
            phase: "validating".into(),
            stage: Some("trial".into()),
            symbol: Some("BTCUSDT".into()),
            progress: 0.25,
            done: 100,
            total: 400,
            eta_s: Some(600.0),
            ..HeartRow::default()
        }
    }

    #[test]
    fn a_silent_heart_is_called_stale_and_promises_nothing() {
        let live = heart(&working(false));
        let expected =
            "engine: validating, trial 100/400 (25 %), at BTCUSDT, about 10 min left of it (beat 12 s ago)\n";
        assert_eq!(live, expected);
        let stale = heart(&working(true));
        assert!(
            stale.contains("STALE, silent for 91 s, was validating") && !stale.contains("left"),
            "{stale}"
        );
        let ended =
            HeartRow { phase: "failed".into(), last_error: Some("no space".into()), ..working(false) };
        assert_eq!(heart(&ended), "engine: failed since : no space\n");
    }

    #[test]
    fn a_run_whose_heart_stopped_is_said_to_have_died_and_few_failures_are_shown() {
        let run = LastRun { run_id: "R".into(), status: "running".into(), ..LastRun::default() };
        let failures = vec![FailureRow { step: "trial".into(), ..FailureRow::default() }; 5];
        let mut view = StatusView {
            hearts: vec![working(true)],
            last_run: Some(run),
            failures,
            ..StatusView::default()
        };
        let told = text(&view, Path::new("s"));
        assert!(
            told.contains("it died") && told.contains("and 2 more: huracan failures --store s"),
            "{told}"
        );
        assert!(told.contains("last that published: none"), "{told}");
        view.hearts[0].stale = false;
        assert!(!text(&view, Path::new("s")).contains("it died"));
        assert!(text(&StatusView::default(), Path::new("s")).contains("last run: none"));
    }
}
