//! `huracan verify`: are the stored files what was published, and can they be made again?

use super::{Global, Output, World, settings, symbols};
use crate::failure::{Exit, Failure};
use crate::table::{Align, Table};
use crate::wiring::{self, Session};
use clap::Args;
use huracan_core::words::Symbol;
use serde::Serialize;
use serde_json::json;
use std::path::PathBuf;

/// Flags of `verify`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Compares every file a champion pointer leads to with the size and SHA-256 in its manifest, loads the
model with its encoder, hashes the candles it was trained on, and with --retrain makes the roster's
run again from its recorded inputs and compares bytes; a champion of an earlier run stays undecided.
Ends with exit code 4 when anything differs, or when --retrain found nothing to compare.

Examples:
  huracan verify all
  huracan verify BTCUSDT
  huracan verify all --candles /mnt/archive/candles
  huracan verify all --retrain --candles ./candles")]
pub struct VerifyArgs {
    /// A coin, or all
    #[arg(value_name = "SYMBOL", default_value = "all")]
    pub target: String,
    /// Train again from the recorded inputs and compare
    #[arg(long)]
    pub retrain: bool,
    /// Where the candles are now, when they have moved
    #[arg(long, value_name = "DIR")]
    pub candles: Option<PathBuf>,
}

/// What is to be verified.
#[derive(Clone, Debug, PartialEq)]
pub struct VerifyRequest {
    /// Folder of results.
    pub store: PathBuf,
    /// The symbols one name may mean, likeliest first; `None` is every coin.
    pub names: Option<Vec<Symbol>>,
    /// Whether to train again.
    pub retrain: bool,
    /// Where the candles are now.
    pub candles: Option<PathBuf>,
}

/// One thing that was compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VerifyRow {
    /// The coin, or the shared artifact.
    pub subject: String,
    /// What was compared: a file, the model, a retrained figure.
    pub what: String,
    /// Whether it is what it should be; `None` (JSON `null`) where that could not be decided.
    pub ok: Option<bool>,
    /// What was found, where it differs.
    pub found: String,
    /// What was expected, where it differs.
    pub expected: String,
}

/// Runs the command.
///
/// # Errors
/// What the store refuses. Differences are output with [`Exit::VerificationFailed`].
pub fn run(args: &VerifyArgs, global: &Global, world: &World, session: &Session) -> Result<Output, Failure> {
    let loaded = settings::load(global, world, Vec::new())?;
    let names = match args.target.as_str() {
        "all" => None,
        name => Some(symbols::candidates(name, loaded.config.market)?),
    };
    let request = VerifyRequest {
        store: loaded.store.local.clone(),
        names,
        retrain: args.retrain,
        candles: args.candles.clone(),
    };
    Ok(output(&wiring::verify(&request, session)?, world.width))
}

fn output(rows: &[VerifyRow], width: Option<usize>) -> Output {
    let is = |ok: Option<bool>| rows.iter().filter(move |row| row.ok == ok);
    let (bad, undecided) = (is(Some(false)).count(), is(None).count());
    let mut text = String::new();
    if bad + undecided > 0 {
        let columns = [
            ("subject", Align::Left),
            ("what", Align::Left),
            ("found", Align::Left),
            ("expected", Align::Left),
        ];
        let mut table = Table::new(&columns);
        for row in is(Some(false)).chain(is(None)) {
            table.row([row.subject.clone(), row.what.clone(), row.found.clone(), row.expected.clone()]);
        }
        text.push_str(&format!("{}\n", table.render(width)));
    }
    text.push_str(&format!("{} compared, {bad} differ", rows.len() - undecided));
    text.push_str(&if undecided > 0 { format!(", {undecided} undecided\n") } else { "\n".to_owned() });
    let exit = if bad == 0 { Exit::Ok } else { Exit::VerificationFailed };
    let json = json!({"schema": "huracan-cli-verify/1", "ok": bad == 0, "rows": rows});
    Output { exit, text, json }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_difference_fails_the_verification() {
        let row = |ok: Option<bool>| VerifyRow {
            subject: "BTCUSDT".into(),
            what: "model.bin".into(),
            ok,
            found: "ab".into(),
            expected: "cd".into(),
        };
        let (good, bad, open) = (row(Some(true)), row(Some(false)), row(None));
        assert_eq!(output(std::slice::from_ref(&good), None).exit, Exit::Ok);
        let failed = output(&[good.clone(), bad], None);
        assert_eq!(failed.exit, Exit::VerificationFailed);
        assert!(failed.text.contains("2 compared, 1 differ\n") && failed.text.contains("model.bin"));
        let undecided = output(&[good, open], None);
        assert_eq!(undecided.exit, Exit::Ok);
        assert!(undecided.text.contains("1 compared, 0 differ, 1 undecided"), "{}", undecided.text);
    }
}
