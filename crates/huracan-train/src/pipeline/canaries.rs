//! What a run's canaries mean for the run: a gate of every coin, a word to whoever watches, lines of
//! its record.

use crate::canary::{Canaries, CanarySettings, FOUND_MIN, NOISE, PLANTED};
use crate::engine::verdicts::Verdicts;
use huracan_core::choose::trade_ok::{GateAnswer, trade_ok};
use huracan_core::words::UtcMs;
use huracan_store::formats::run::{Canary, CanarySummary, Failure};

/// What to do when they failed.
pub(super) const WHAT_TO_DO: &str = "the roster in force was left as it was: do not trust this run's \
     figures; `canaries` in its run.json names each coin, and what changed since the last run that \
     passed (candles, configuration, program) is where to look";

/// Adds the gate `canaries` to every coin: how many planted ones were found. Where they did not run,
/// the gate is undefined and fails, or is not asked when the configuration does not require them.
pub(super) fn gate(verdicts: &mut Verdicts, canaries: &Canaries, settings: &CanarySettings) {
    if matches!(canaries, Canaries::NotRun(_)) && !settings.required {
        return;
    }
    let value = match canaries {
        Canaries::Ran(said) => Some(said.planted_found() as f64),
        Canaries::NotRun(_) => None,
    };
    for coin in &mut verdicts.coins {
        coin.gates.push(GateAnswer {
            gate: "canaries",
            value,
            limit: Some(FOUND_MIN as f64),
            comparison: ">=",
            passed: canaries.passed(),
        });
        coin.trade_ok = trade_ok(&coin.gates);
    }
}

/// What nobody should miss; `None` when they passed.
pub(super) fn note(canaries: &Canaries, required: bool) -> Option<String> {
    match canaries {
        Canaries::Ran(said) if said.passed() => None,
        Canaries::Ran(said) => {
            Some(format!("CANARIES FAILED, nothing is published: {}; {WHAT_TO_DO}", said.sentence()))
        }
        Canaries::NotRun(reason) if required => Some(format!(
            "CANARIES DID NOT RUN, so no coin is trade_ok ({reason}); canaries.required: false would publish \
             without them"
        )),
        Canaries::NotRun(reason) => Some(format!(
            "CANARIES DID NOT RUN and canaries.required is false: nothing held this run against coins of known \
             truth ({reason})"
        )),
    }
}

/// One line each for run.json.
pub(super) fn lines(canaries: &Canaries) -> Vec<Canary> {
    let Canaries::Ran(said) = canaries else { return Vec::new() };
    let line = |c: &crate::canary::CanaryVerdict| Canary {
        name: c.name.clone(),
        kind: c.kind.code().to_owned(),
        passed: c.passed(),
        detail: c.detail(),
    };
    said.coins.iter().map(line).collect()
}

/// The sums for run.json.
pub(super) fn summary(canaries: &Canaries) -> CanarySummary {
    match canaries {
        Canaries::Ran(said) => CanarySummary {
            noise: said.noise() as u64,
            noise_trade_ok: said.noise_trade_ok() as u64,
            planted: said.planted() as u64,
            planted_found: said.planted_found() as u64,
            passed: said.passed(),
            not_run: None,
        },
        Canaries::NotRun(reason) => CanarySummary {
            noise: 0,
            noise_trade_ok: 0,
            planted: 0,
            planted_found: 0,
            passed: false,
            not_run: Some(reason.clone()),
        },
    }
}

/// The line of failures.jsonl for canaries that failed.
pub(super) fn failure(canaries: &Canaries, at: UtcMs) -> Failure {
    Failure {
        at: at.into(),
        symbol: None,
        step: "canaries".to_owned(),
        code: "canaries_failed".to_owned(),
        error_chain: vec![canaries.sentence()],
        help: WHAT_TO_DO.to_owned(),
        attempts: Some(1),
        tried: Vec::new(),
    }
}

const _: () = assert!(FOUND_MIN <= PLANTED && NOISE > 0, "canaries that no run could pass");
