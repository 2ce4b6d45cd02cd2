//! `huracan failures`: what failed in a run, what was tried, and what to do.

use super::status::LastRun;
use super::{Global, Output, World, settings};
use crate::failure::Failure;
use crate::wiring;
use clap::Args;
use serde::Serialize;
use serde_json::json;

/// Flags of `failures`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Coins that were skipped by their gates did not fail; `huracan roster` lists them with their reasons.

Examples:
  huracan failures
  huracan failures 20250701T000000Z-0a1b2c3d --json")]
pub struct FailuresArgs {
    /// The run [default: the one that started last]
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
}

/// A coin's job, or the whole run, that failed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FailureRow {
    /// When it was noted.
    pub at: String,
    /// The coin; `None`: the whole run.
    pub symbol: Option<String>,
    /// The step that broke.
    pub step: String,
    /// Stable code.
    pub code: String,
    /// The error and its causes, outermost first.
    pub error_chain: Vec<String>,
    /// Attempts made, where that is known.
    pub attempts: Option<u32>,
    /// What each came to.
    pub tried: Vec<String>,
    /// What to do.
    pub help: String,
}

/// What failed in a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FailuresView {
    /// The run.
    pub run: LastRun,
    /// What failed.
    pub failures: Vec<FailureRow>,
}

/// Runs the command.
///
/// # Errors
/// What the store refuses.
pub fn run(args: &FailuresArgs, global: &Global, world: &World) -> Result<Output, Failure> {
    let store = settings::store(global, world)?;
    let view = wiring::failures(&store, args.run.as_deref())?;
    let mut text = format!("run {}: {}, {} failed\n", view.run.run_id, view.run.status, view.failures.len());
    text.extend(view.failures.iter().map(said));
    let json = json!({"schema": "huracan-cli-failures/1", "run": view.run, "failures": view.failures});
    Ok(Output::ok(text, json))
}

/// One failure as a paragraph. Line breaks of an error become spaces, so that none imitates another.
pub fn said(row: &FailureRow) -> String {
    let plain = |text: &str| text.replace(|c: char| c.is_control(), " ");
    let what = row.symbol.as_deref().unwrap_or("the run");
    let mut text = format!("\n{}: {} [{}]\n", plain(what), plain(&row.step), plain(&row.code));
    for (depth, error) in row.error_chain.iter().enumerate() {
        let because = if depth == 0 { "" } else { "because: " };
        text.push_str(&format!("  {}{because}{}\n", "  ".repeat(depth), plain(error)));
    }
    if let Some(attempts) = row.attempts.filter(|n| *n > 1 || !row.tried.is_empty()) {
        text.push_str(&format!("  tried {attempts} {}\n", if attempts == 1 { "time" } else { "times" }));
        text.extend(row.tried.iter().map(|tried| format!("    {}\n", plain(tried))));
    }
    text.push_str(&format!("  help: {}\n", plain(&row.help)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_step_causes_attempts_and_what_to_do() {
        let row = FailureRow {
            symbol: Some("XRPUSDT".into()),
            step: "trial".into(),
            code: "not_finite".into(),
            error_chain: vec!["no head".into(), "close of bar 7\nis NaN".into()],
            attempts: Some(2),
            tried: vec!["attempt 1 on a: slow".into(), "attempt 2 on b: slow".into()],
            help: "look".into(),
            ..FailureRow::default()
        };
        let expected = "\nXRPUSDT: trial [not_finite]\n  no head\n    because: close of bar 7 is NaN\n  tried 2 times\n    \
                        attempt 1 on a: slow\n    attempt 2 on b: slow\n  help: look\n";
        assert_eq!(said(&row), expected);
        let once = FailureRow { symbol: None, attempts: Some(1), tried: vec![], ..row };
        assert!(said(&once).starts_with("\nthe run: ") && !said(&once).contains("tried"));
    }
}
