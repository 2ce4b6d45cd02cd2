//! The walk-forward plan: which rows train, which validate, which are tested, with purge and
//! embargo (López de Prado 2018, ch. 7), as spans of one common set of time segments.
//!
//! Every training set is a prefix of the segments and every inner validation a run of them, so
//! sufficient statistics are kept once per segment and summed.

use crate::words::{Timeframe, UtcMs};
use std::ops::Range;

/// How the out-of-sample span is cut. Days are UTC days of 24 h.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WalkForward {
    /// Number of test folds.
    pub folds: usize,
    /// Length of each test fold.
    pub fold_days: f64,
    /// Days between the last training label and the first test row, and between inner training and
    /// inner validation; at least the label's window is used.
    pub embargo_days: f64,
    /// Length of the inner validation, the last days of training.
    pub inner_days: f64,
}

/// One fold: what is fitted on which segments, and the span it is tested on.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Fold {
    /// Segments of inner training: everything that may be known when validation begins.
    pub inner_train: Range<usize>,
    /// Segments of inner validation.
    pub validation: Range<usize>,
    /// Segments of training (inner validation included).
    pub train: Range<usize>,
    /// Start of inner validation (bar start).
    pub validation_start: UtcMs,
    /// No training label ends after this moment.
    pub train_end: UtcMs,
    /// No inner training label ends after this moment.
    pub inner_train_end: UtcMs,
    /// Bars judged, `[start, end)`; `None` for the final fit, which is judged by nobody yet.
    pub test: Option<(UtcMs, UtcMs)>,
}

/// A whole plan: segments of row times and the folds made of them. The last fold is the final fit.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Plan {
    /// Segment `s` holds rows with `edges[s] ≤ bar start < edges[s + 1]`; the first edge is the
    /// start of the grid.
    pub edges: Vec<UtcMs>,
    /// Test folds in time order, then the final fit.
    pub folds: Vec<Fold>,
    /// First tested bar.
    pub test_start: UtcMs,
    /// End of the last tested bar.
    pub test_end: UtcMs,
    /// Bars from a decision to the end of its label.
    pub window_bars: usize,
    /// Length of a bar.
    pub timeframe: Timeframe,
}

/// The data are too short for the plan.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error(
    "candles span {found_days:.1} days, but {folds} folds of {fold_days} days with their inner validation \
     and embargo need at least {needed_days:.1}; give more history or fewer folds (walk_forward.folds)"
)]
pub struct TooShort {
    /// Days between the first and the last bar.
    pub found_days: f64,
    /// Days the plan needs.
    pub needed_days: f64,
    /// Folds asked for.
    pub folds: usize,
    /// Days a fold.
    pub fold_days: f64,
}

impl Plan {
    /// Lays the plan over `[start, end)`, folds counted back from `end`.
    ///
    /// # Errors
    /// [`TooShort`] when fewer than `min_train_days` would be left for the first inner training.
    pub fn new(
        walk: &WalkForward,
        timeframe: Timeframe,
        window_bars: usize,
        start: UtcMs,
        end: UtcMs,
        min_train_days: f64,
    ) -> Result<Plan, TooShort> {
        let bar = timeframe.ms();
        let days = |d: f64| timeframe.bars_in_days(d) as i64 * bar;
        let embargo = days(walk.embargo_days).max((window_bars as i64) * bar);
        let (fold, inner) = (days(walk.fold_days), days(walk.inner_days));
        let test_start = end.0 - fold * walk.folds as i64;
        let first_inner_end = test_start - embargo - inner - embargo;
        let found = (end.0 - start.0) as f64 / UtcMs::DAY as f64;
        let needed = (end.0 - first_inner_end) as f64 / UtcMs::DAY as f64 + min_train_days;
        if found < needed || walk.folds == 0 {
            let (folds, fold_days) = (walk.folds, walk.fold_days);
            return Err(TooShort { found_days: found, needed_days: needed, folds, fold_days });
        }
        let window = window_bars as i64 * bar;
        let ends = (0..=walk.folds as i64).map(|f| {
            let last = f == walk.folds as i64;
            if last { end.0 } else { test_start + f * fold - embargo }
        });
        // A row may train towards `e` when its label's last close is known at e.
        let rows_until = |e: i64| e - window;
        struct Times {
            train_end: i64,
            validation_start: i64,
            inner_end: i64,
        }
        let times: Vec<Times> = ends
            .map(|train_end| {
                let validation_start = train_end - inner;
                Times { train_end, validation_start, inner_end: validation_start - embargo }
            })
            .collect();
        let mut edges = vec![start.0];
        for t in &times {
            edges.extend([rows_until(t.inner_end), t.validation_start, rows_until(t.train_end)]);
        }
        edges.sort_unstable();
        edges.dedup();
        let at = |edge: i64| edges.partition_point(|&e| e < edge);
        let folds = times.iter().enumerate().map(|(f, t)| Fold {
            inner_train: 0..at(rows_until(t.inner_end)),
            validation: at(t.validation_start)..at(rows_until(t.train_end)),
            train: 0..at(rows_until(t.train_end)),
            validation_start: UtcMs(t.validation_start),
            train_end: UtcMs(t.train_end),
            inner_train_end: UtcMs(t.inner_end),
            test: (f < walk.folds).then(|| {
                let from = test_start + f as i64 * fold;
                (UtcMs(from), UtcMs(from + fold))
            }),
        });
        Ok(Plan {
            folds: folds.collect(),
            edges: edges.into_iter().map(UtcMs).collect(),
            test_start: UtcMs(test_start),
            test_end: end,
            window_bars,
            timeframe,
        })
    }

    /// Number of segments.
    pub fn segments(&self) -> usize {
        self.edges.len() - 1
    }

    /// The folds that are tested.
    pub fn tested(&self) -> &[Fold] {
        &self.folds[..self.folds.len() - 1]
    }

    /// UTC days in the test span.
    pub fn test_days(&self) -> usize {
        (self.test_end.0 - self.test_start.0).div_euclid(UtcMs::DAY) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        let walk = WalkForward { folds: 5, fold_days: 30.0, embargo_days: 5.0, inner_days: 30.0 };
        let end = UtcMs(282 * UtcMs::DAY);
        Plan::new(&walk, Timeframe::H1, 25, UtcMs(0), end, 30.0).unwrap()
    }

    #[test]
    fn no_training_label_reaches_into_its_embargo_or_test() {
        let plan = plan();
        let window = plan.window_bars as i64 * plan.timeframe.ms();
        for fold in &plan.folds {
            let last_row = plan.edges[fold.train.end].0 - plan.timeframe.ms();
            let label_known_at = last_row + window + plan.timeframe.ms();
            assert!(label_known_at <= fold.train_end.0);
            if let Some((from, _)) = fold.test {
                assert!(label_known_at + 5 * UtcMs::DAY <= from.0);
            }
            let inner_known_at = plan.edges[fold.inner_train.end].0 + window;
            assert!(inner_known_at + 5 * UtcMs::DAY <= fold.validation_start.0);
            assert_eq!(plan.edges[fold.validation.start], fold.validation_start);
            assert!(fold.validation.end <= fold.train.end);
        }
    }

    #[test]
    fn tests_tile_the_span_and_the_last_fold_is_the_final_fit() {
        let plan = plan();
        let tests: Vec<_> = plan.tested().iter().map(|f| f.test.unwrap()).collect();
        assert!(tests.windows(2).all(|w| w[0].1 == w[1].0));
        assert_eq!((tests[0].0, tests[4].1), (plan.test_start, plan.test_end));
        assert_eq!(plan.folds.len(), 6);
        assert_eq!(plan.folds[5].test, None);
        assert_eq!(plan.test_days(), 150);
    }

    #[test]
    fn too_little_history_is_refused_with_what_is_needed() {
        let walk = WalkForward { folds: 5, fold_days: 30.0, embargo_days: 5.0, inner_days: 30.0 };
        let error = Plan::new(&walk, Timeframe::H1, 25, UtcMs(0), UtcMs(100 * UtcMs::DAY), 30.0).unwrap_err();
        assert_eq!((error.found_days, error.needed_days), (100.0, 220.0));
    }
}
