//! The walk-forward plan: which rows train, which validate, which are tested, with purge and
//! embargo (López de Prado 2018, ch. 7), as spans of one common set of time segments.
//!
//! Every training set is a prefix of the segments and every inner validation a run of them, so
//! sufficient statistics are kept once per segment and summed.
//!
//! Folds stand on a calendar of their own, multiples of a fold's length since the epoch, so that one
//! more day of bars moves the end of the last test and the final fit and nothing else: what was made
//! for the other folds stays true.

use crate::words::{Timeframe, UtcMs};
use std::ops::Range;

/// How the out-of-sample span is cut. Days are UTC days of 24 h.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WalkForward {
    /// Number of test folds.
    pub folds: usize,
    /// Length of each test fold; the last is up to one length longer.
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
    /// What the final fit fits on rows rather than on moments sees no label that ends after this
    /// moment: the last multiple of a week (of a fold, where that is shorter) since the epoch.
    pub frozen_end: UtcMs,
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

/// Share of the least training days by which a history must exceed what folds on the calendar need.
const SPARE: f64 = 0.5;
/// Days for which what is fitted on rows is kept.
pub const FROZEN_DAYS: i64 = 7;

impl Plan {
    /// Lays the plan over `[start, end)`. Test folds begin at multiples of their length since the epoch;
    /// the last runs on to `end` and is between one and two lengths long, so that the folds together
    /// never test less than was asked for. A history that is too short for the calendar but not for the
    /// folds has them counted back from `end`.
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
        // Days needed when the folds begin at a moment.
        let needed = |test_start: i64| {
            let first_inner_end = test_start - embargo - inner - embargo;
            (end.0 - first_inner_end) as f64 / UtcMs::DAY as f64 + min_train_days
        };
        let found = (end.0 - start.0) as f64 / UtcMs::DAY as f64;
        let counted_back = end.0 - fold * walk.folds as i64;
        if walk.folds == 0 || found < needed(counted_back) {
            let (folds, fold_days, needed_days) = (walk.folds, walk.fold_days, needed(counted_back));
            return Err(TooShort { found_days: found, needed_days, folds, fold_days });
        }
        let on_calendar = counted_back.div_euclid(fold) * fold;
        // Features warm up and labels end within the first inner training: it may be that much shorter than
        // it looks, and folds counted back have room to spare where those on the calendar might not.
        let spare = SPARE * min_train_days + window_bars as f64 / timeframe.bars_per_day();
        let test_start = if found < needed(on_calendar) + spare { counted_back } else { on_calendar };
        let frozen = (FROZEN_DAYS * UtcMs::DAY).min(fold);
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
                let last = f + 1 == walk.folds;
                (UtcMs(from), if last { end } else { UtcMs(from + fold) })
            }),
        });
        Ok(Plan {
            folds: folds.collect(),
            edges: edges.into_iter().map(UtcMs).collect(),
            test_start: UtcMs(test_start),
            test_end: end,
            frozen_end: UtcMs(end.0.div_euclid(frozen) * frozen),
            window_bars,
            timeframe,
        })
    }

    /// Number of segments.
    pub fn segments(&self) -> usize {
        self.edges.len() - 1
    }

    /// The tested fold whose test a moment is in; the nearest outside of all tests.
    pub fn tested_at(&self, moment: UtcMs) -> usize {
        let begun = self.tested().partition_point(|fold| fold.test.is_some_and(|(from, _)| from <= moment));
        begun.saturating_sub(1)
    }

    /// Bar start at which the training of the first fold ends.
    pub fn first_training_end(&self) -> UtcMs {
        self.edges[self.folds[0].train.end]
    }

    /// The folds that are tested.
    pub fn tested(&self) -> &[Fold] {
        &self.folds[..self.folds.len() - 1]
    }

    /// Bar starts before which rows may teach what is fitted on rows, for a fold's inner and full fit: the
    /// labels of training, but of the final fit only those that are frozen.
    pub fn learning_ends(&self, fold: usize) -> [UtcMs; 2] {
        let fold = &self.folds[fold];
        if fold.test.is_some() {
            return [self.edges[fold.inner_train.end], self.edges[fold.train.end]];
        }
        let since = fold.train_end.0 - self.frozen_end.0;
        let window = self.window_bars as i64 * self.timeframe.ms();
        [fold.inner_train_end, fold.train_end].map(|end| UtcMs(end.0 - since - window))
    }

    /// UTC days in the test span.
    pub fn test_days(&self) -> usize {
        (self.test_end.0 - self.test_start.0).div_euclid(UtcMs::DAY) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALK: WalkForward = WalkForward { folds: 5, fold_days: 30.0, embargo_days: 5.0, inner_days: 30.0 };

    fn plan_until(end: UtcMs) -> Plan {
        Plan::new(&WALK, Timeframe::H1, 25, UtcMs(0), end, 30.0).unwrap()
    }

    fn plan() -> Plan {
        plan_until(UtcMs(282 * UtcMs::DAY))
    }

    #[test]
    fn no_training_label_reaches_into_its_embargo_or_test() {
        (220..330).for_each(|days| lawful(&plan_until(UtcMs(days * UtcMs::DAY + 5 * UtcMs::HOUR))));
    }

    fn lawful(plan: &Plan) {
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

    /// What of a plan is over by `moment`: edges, and folds whose test has ended.
    fn settled(plan: &Plan, moment: UtcMs) -> (Vec<UtcMs>, Vec<Fold>) {
        let edges = plan.edges.iter().copied().filter(|e| *e <= moment).collect();
        let ended = |fold: &&Fold| fold.test.is_some_and(|(_, to)| to <= moment);
        (edges, plan.folds.iter().filter(ended).cloned().collect())
    }

    #[test]
    fn a_day_more_moves_the_last_test_s_end_and_the_final_fit_only() {
        let mut moved = 0;
        for day in 270..400 {
            let (before, after) =
                (plan_until(UtcMs(day * UtcMs::DAY)), plan_until(UtcMs((day + 1) * UtcMs::DAY)));
            if before.test_start != after.test_start {
                // A month is over: the folds move on by one, on the same calendar.
                moved += 1;
                assert_eq!(after.test_start.0 - before.test_start.0, 30 * UtcMs::DAY);
                let tests = |plan: &Plan, folds: std::ops::Range<usize>| -> Vec<_> {
                    plan.folds[folds].iter().map(|f| (f.test, f.train_end, f.validation_start)).collect()
                };
                assert_eq!(tests(&before, 1..4), tests(&after, 0..3));
                continue;
            }
            let last = before.tested().len() - 1;
            let begun = before.edges[before.folds[last].train.end];
            assert_eq!(settled(&before, begun), settled(&after, begun));
            assert_eq!(before.folds[..last], after.folds[..last]);
            let without_test = |plan: &Plan| Fold { test: None, ..plan.folds[last].clone() };
            assert_eq!(without_test(&before), without_test(&after));
            assert_eq!(before.folds[last].test.map(|t| t.0), after.folds[last].test.map(|t| t.0));
            // Where the final fit lies among the segments changes only with its own edges.
            assert!(before.folds[last].train.end < before.segments());
            assert!(before.edges[before.folds[last].train.end] <= before.folds[last + 1].validation_start);
        }
        assert_eq!(moved, 4);
    }

    #[test]
    fn the_last_test_is_one_to_two_folds_long_and_begins_on_the_calendar() {
        for hours in (270 * 24..400 * 24).step_by(7) {
            let end = UtcMs(hours * UtcMs::HOUR);
            let plan = plan_until(end);
            assert_eq!((plan.tested().len(), plan.test_end), (5, end));
            let (from, to) = plan.folds[4].test.unwrap();
            assert_eq!((from.0 % (30 * UtcMs::DAY), to), (0, end));
            assert!((30 * UtcMs::DAY..60 * UtcMs::DAY).contains(&(to.0 - from.0)), "{} ms", to.0 - from.0);
            // What is frozen knows all that the last tested fold knows, and at most a week less than the end.
            assert!(plan.frozen_end <= end && end.0 - plan.frozen_end.0 < 7 * UtcMs::DAY);
            assert!(plan.frozen_end > from && plan.frozen_end.0 % (7 * UtcMs::DAY) == 0);
            let [inner, full] = plan.learning_ends(5);
            let window = 25 * UtcMs::HOUR;
            assert_eq!((full.0 + window, full.0 - inner.0), (plan.frozen_end.0, 35 * UtcMs::DAY));
            assert!(inner.0 + window <= plan.folds[5].inner_train_end.0);
        }
    }

    #[test]
    fn a_history_too_short_for_the_calendar_has_its_folds_counted_back() {
        let plan = plan_until(UtcMs(220 * UtcMs::DAY + 5 * UtcMs::HOUR));
        assert_eq!(plan.test_end.0 - plan.test_start.0, 150 * UtcMs::DAY);
        assert!(
            plan.tested().iter().all(|f| f.test.is_some_and(|(from, to)| to.0 - from.0 == 30 * UtcMs::DAY))
        );
    }

    #[test]
    fn tests_tile_the_span_and_the_last_fold_is_the_final_fit() {
        let plan = plan();
        let tests: Vec<_> = plan.tested().iter().map(|f| f.test.unwrap()).collect();
        assert_eq!(tests[4].1.0 - tests[4].0.0, 42 * UtcMs::DAY);
        assert!(tests.windows(2).all(|w| w[0].1 == w[1].0));
        assert_eq!((tests[0].0, tests[4].1), (plan.test_start, plan.test_end));
        assert_eq!(plan.folds.len(), 6);
        assert_eq!(plan.folds[5].test, None);
        assert_eq!(plan.test_days(), 162);
        for (f, (from, to)) in tests.iter().enumerate() {
            assert_eq!((plan.tested_at(*from), plan.tested_at(UtcMs(to.0 - 1))), (f, f));
        }
        assert_eq!(plan.tested_at(UtcMs(0)), 0);
    }

    #[test]
    fn too_little_history_is_refused_with_what_is_needed() {
        let error = Plan::new(&WALK, Timeframe::H1, 25, UtcMs(0), UtcMs(100 * UtcMs::DAY), 30.0).unwrap_err();
        assert_eq!((error.found_days, error.needed_days), (100.0, 220.0));
    }
}
