//! What was counted, for people and for programs.

use super::{Reference, Tally};
use serde_json::{Value, json};
use std::rc::Rc;
use std::time::Duration;

fn seconds(times: &[Duration], share: f64) -> f64 {
    let mut sorted: Vec<f64> = times.iter().map(Duration::as_secs_f64).collect();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len().saturating_sub(1) as f64 * share).round() as usize;
    sorted.get(at).copied().unwrap_or(0.0)
}

fn mean(shares: &[f64]) -> f64 {
    shares.iter().sum::<f64>() / shares.len().max(1) as f64
}

/// A column: its head, and its cell of a tally.
type Column = (&'static str, fn(&Tally) -> String);

const COLUMNS: [Column; 14] = [
    ("kills", |t| t.kills.to_string()),
    ("refused", |t| t.refused.to_string()),
    ("looked at", |t| t.looked_at.to_string()),
    ("completed", |t| t.completed.to_string()),
    ("lost", |t| t.lost.len().to_string()),
    ("duplicated", |t| t.duplicated.len().to_string()),
    ("differing bytes", |t| t.differing_bytes().to_string()),
    ("dangling", |t| t.dangling.len().to_string()),
    ("unverified", |t| t.unverified.len().to_string()),
    ("temporaries swept", |t| t.temporaries.to_string()),
    ("files torn", |t| t.torn.to_string()),
    ("resumed", |t| format!("{:.0} %", 100.0 * mean(&t.resumed))),
    ("recovery p50", |t| format!("{:.1} s", seconds(&t.recovery, 0.5))),
    ("max", |t| format!("{:.1} s", seconds(&t.recovery, 1.0))),
];

/// A scenario and what came of it.
pub struct Line {
    /// The scenario.
    pub name: &'static str,
    /// What was counted.
    pub tally: Tally,
    /// What it was held against.
    pub reference: Rc<Reference>,
}

/// The table, a line a scenario, and where the kills hit.
pub fn text(all: &[Line]) -> String {
    let head =
        std::iter::once("scenario".to_owned()).chain(COLUMNS.iter().map(|(name, _)| (*name).to_owned()));
    let mut lines: Vec<Vec<String>> = vec![head.collect()];
    for Line { name, tally, .. } in all {
        let cells = COLUMNS.iter().map(|(_, cell)| cell(tally));
        lines.push(std::iter::once((*name).to_owned()).chain(cells).collect());
    }
    let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..=COLUMNS.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let cells: Vec<String> = line
            .iter()
            .zip(&widths)
            .enumerate()
            .map(
                |(i, (cell, width))| {
                    if i == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
                },
            )
            .collect();
        text.push_str(&format!("{}\n", cells.join("  ")));
    }
    for Line { name, tally, reference } in all {
        let stages: Vec<String> =
            tally.kills_by_stage.iter().map(|(stage, n)| format!("{stage} {n}")).collect();
        text.push_str(&format!(
            "\n{name}: an undisturbed run takes {:.1} s, {:.1} s of them from its first publication, {:.1} s of \
             processor, and leaves {} files\n  killed in: {}\n",
            reference.pace.wall.as_secs_f64(),
            reference.pace.publish.as_secs_f64(),
            reference.cpu_s,
            reference.files.len(),
            stages.join(", ")
        ));
        for violation in tally.violations() {
            text.push_str(&format!("  BROKEN {violation}\n"));
        }
    }
    text
}

/// The same as one document.
pub fn json(all: &[Line], seed: u64) -> Value {
    let line = |Line { name, tally, reference }: &Line| {
        json!({
            "scenario": name,
            "kills": tally.kills,
            "kills_by_stage": tally.kills_by_stage,
            "refused": tally.refused,
            "looked_at": tally.looked_at,
            "completed": tally.completed,
            "lost": tally.lost.len(),
            "duplicated": tally.duplicated.len(),
            "differing_bytes": tally.differing_bytes(),
            "dangling": tally.dangling.len(),
            "unverified": tally.unverified.len(),
            "temporaries_swept": tally.temporaries,
            "torn": tally.torn,
            "resumed_share": mean(&tally.resumed),
            "recovery_p50_s": seconds(&tally.recovery, 0.5),
            "recovery_max_s": seconds(&tally.recovery, 1.0),
            "violations": tally.violations(),
            "undisturbed": {
                "wall_s": reference.pace.wall.as_secs_f64(),
                "publish_s": reference.pace.publish.as_secs_f64(),
                "cpu_s": reference.cpu_s,
                "files": reference.files.len(),
            },
        })
    };
    json!({
        "schema": "huracan-kill-loop/1",
        "seed": seed,
        "scenarios": all.iter().map(line).collect::<Vec<Value>>(),
    })
}
