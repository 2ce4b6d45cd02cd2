//! Driving operators: down a whole series (batch) or bar by bar (live), with the same bits.
//!
//! The one place where warm-up, missing bars and unmet needs become NaN.

use super::context::{MarketContext, MarketRow};
use super::row::{Row, RowBuilder, row_in_market};
use super::{FEATURES, FeatureDef, Operator, memory};
use crate::series::{Bar, Series};
use crate::words::{Symbol, Timeframe, UtcMs};

/// Rows made at a time; small enough to stay in the cache while every operator reads them.
const BLOCK: usize = 128;

/// Feature values of one series: `n` rows, `p` columns, NaN where undefined.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureMatrix {
    /// Rows, one per bar of the series.
    pub n: usize,
    /// Columns, in the order asked for.
    pub p: usize,
    /// Values, column after column.
    pub data: Vec<f64>,
}

impl FeatureMatrix {
    /// Column `j`, `n` values.
    ///
    /// # Panics
    /// When `j` is not below `p`.
    pub fn column(&self, j: usize) -> &[f64] {
        &self.data[j * self.n..(j + 1) * self.n]
    }

    /// Row `i` as a copy, `p` values.
    ///
    /// # Panics
    /// When `i` is not below `n`.
    pub fn row(&self, i: usize) -> Vec<f64> {
        (0..self.p).map(|j| self.column(j)[i]).collect()
    }
}

/// One feature at work.
struct Column {
    operator: Box<dyn Operator>,
    need: u32,
    warm_left: usize,
    /// First row it is shown.
    start: usize,
}

impl Column {
    fn new(def: &FeatureDef) -> Column {
        Column::late(def, 0)
    }

    /// One whose values before row `first` nobody looks at.
    fn late(def: &FeatureDef, first: usize) -> Column {
        let (operator, memory) = memory::of(def.make);
        let start = memory.start(def.lookback, first);
        let warm_left = (def.lookback - 1).saturating_sub(start);
        Column { operator, need: def.needs.bit(), warm_left, start }
    }

    /// Values of the next rows; `met` are the needs all of them meet.
    fn run(&mut self, rows: &[Row], met: u32, out: &mut [f64]) {
        self.operator.run(rows, out);
        let warming = self.warm_left.min(out.len());
        out[..warming].fill(f64::NAN);
        self.warm_left -= warming;
        if met & self.need == 0 {
            for (slot, row) in out.iter_mut().zip(rows) {
                if row.defined & self.need == 0 {
                    *slot = f64::NAN;
                }
            }
        }
    }
}

/// The features `columns` (indices into [`FEATURES`]) of a series in its market.
///
/// # Panics
/// When an index is not in the table.
pub fn matrix(series: &Series, context: &MarketContext, columns: &[usize]) -> FeatureMatrix {
    matrix_from(series, context, columns, 0)
}

/// Rows `first..` of [`matrix`], bit for bit. Operators that remember a few windows only are started as late
/// as that allows.
///
/// # Panics
/// When an index is not in the table.
pub fn matrix_from(
    series: &Series,
    context: &MarketContext,
    columns: &[usize],
    first: usize,
) -> FeatureMatrix {
    let (n, p) = (series.len().saturating_sub(first), columns.len());
    let mut data = vec![0.0; n * p];
    let mut builder = RowBuilder::new(series.timeframe);
    let mut running: Vec<Column> = columns.iter().map(|&j| Column::late(&FEATURES[j], first)).collect();
    let mut rows = Vec::with_capacity(BLOCK);
    let mut passed = [0.0; BLOCK];
    for from in (0..series.len()).step_by(BLOCK) {
        let to = (from + BLOCK).min(series.len());
        rows.clear();
        rows.extend((from..to).map(|i| row_in_market(&mut builder, series.time(i), &series.bar(i), context)));
        let met = rows.iter().fold(u32::MAX, |met, row: &Row| met & row.defined);
        for (j, column) in running.iter_mut().enumerate() {
            if from >= first {
                column.run(&rows, met, &mut data[j * n + from - first..j * n + to - first]);
                continue;
            }
            let Some(seen) = rows.get(column.start.saturating_sub(from)..).filter(|seen| !seen.is_empty())
            else {
                continue;
            };
            let values = &mut passed[..seen.len()];
            column.run(seen, met, values);
            if first < to {
                let late = &values[seen.len() - (to - first)..];
                data[j * n..j * n + to - first].copy_from_slice(late);
            }
        }
    }
    FeatureMatrix { n, p, data }
}

/// A bar that does not continue a live series.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LiveError {
    /// The bar is not the one after the last.
    #[error(
        "{symbol}: bar at {found}, expected the one at {expected}; push each bar once and in order, absent ones as missing"
    )]
    NotNext {
        /// Whose bar.
        symbol: Symbol,
        /// Its start.
        found: UtcMs,
        /// The start that was due.
        expected: UtcMs,
    },
    /// The very first bar has no price.
    #[error("{symbol}: the first bar, at {found}, is missing; start at one that is there")]
    FirstMissing {
        /// Whose bar.
        symbol: Symbol,
        /// Its start.
        found: UtcMs,
    },
}

/// The same features bar by bar: equal to the rows of [`matrix`] bit for bit when both start at the
/// same bar. Started later, they agree to 1e-6 once `lookback + decay` bars have been pushed.
pub struct LiveFeatures {
    symbol: Symbol,
    timeframe: Timeframe,
    builder: RowBuilder,
    columns: Vec<Column>,
    values: Vec<f64>,
    next: Option<UtcMs>,
}

impl LiveFeatures {
    /// Features `columns` (indices into [`FEATURES`]) of one coin, before its first bar.
    ///
    /// # Panics
    /// When an index is not in the table.
    pub fn new(columns: &[usize], symbol: Symbol, timeframe: Timeframe) -> LiveFeatures {
        LiveFeatures {
            symbol,
            timeframe,
            builder: RowBuilder::new(timeframe),
            columns: columns.iter().map(|&j| Column::new(&FEATURES[j])).collect(),
            values: vec![f64::NAN; columns.len()],
            next: None,
        }
    }

    /// The values after the bar that started at `time`, in column order, NaN where undefined.
    ///
    /// # Errors
    /// When the bar is not the next of the grid, or the first one is missing; the state is unchanged.
    pub fn push(&mut self, time: UtcMs, bar: &Bar, market: &MarketRow) -> Result<&[f64], LiveError> {
        if let Some(expected) = self.next.filter(|&expected| expected != time) {
            return Err(LiveError::NotNext { symbol: self.symbol.clone(), found: time, expected });
        }
        if self.next.is_none() && !bar.is_present() {
            return Err(LiveError::FirstMissing { symbol: self.symbol.clone(), found: time });
        }
        self.next = Some(UtcMs(time.0 + self.timeframe.ms()));
        let (mut row, cross) = self.builder.push(time, bar);
        row.attach(&market.figures, &market.tables, &cross);
        let row = std::slice::from_ref(&row);
        for (column, slot) in self.columns.iter_mut().zip(&mut self.values) {
            column.run(row, row[0].defined, std::slice::from_mut(slot));
        }
        Ok(&self.values)
    }

    /// Whose features these are.
    pub fn symbol(&self) -> &Symbol {
        &self.symbol
    }
}
