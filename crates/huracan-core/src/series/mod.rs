//! One coin's bars: as read (`Bars`), then aligned to a regular grid (`Series`).
//!
//! Aligning finds and names defects; it never judges them (that is `gates`) and never invents a
//! price: a bar that is not there stays missing.

mod align;
mod jumps;
mod profile;

#[cfg(test)]
pub(crate) use profile::testing;

pub use align::{SeriesError, align};
pub use jumps::{Jump, MAD_SIGMAS_MIN, RELISTING_GAP_MS, RELISTING_LOG_RETURN};
pub use profile::{Cut, MissingRun, Note, Profile, cut_at_last_relisting};

use crate::words::{Symbol, Timeframe, UtcMs};
use std::ops::Range;

/// Bars as some source gave them: any order, duplicates and nonsense included.
///
/// All present columns have the same length. `open_time` is UTC milliseconds; `trades` counts
/// trades; `quote_volume` and `taker_buy_quote` are in the quote currency (USD for USDT pairs).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bars {
    /// Start of each bar, UTC milliseconds.
    pub open_time: Vec<i64>,
    /// First price.
    pub open: Vec<f64>,
    /// Highest price.
    pub high: Vec<f64>,
    /// Lowest price.
    pub low: Vec<f64>,
    /// Last price.
    pub close: Vec<f64>,
    /// Base-asset volume.
    pub volume: Vec<f64>,
    /// Quote-asset volume, where the source has it.
    pub quote_volume: Option<Vec<f64>>,
    /// Number of trades, where the source has it.
    pub trades: Option<Vec<f64>>,
    /// Base volume bought by takers, where the source has it.
    pub taker_buy_base: Option<Vec<f64>>,
    /// Quote volume bought by takers, where the source has it.
    pub taker_buy_quote: Option<Vec<f64>>,
}

/// One bar of a [`Series`]. Every field is NaN when the bar is missing; the last three also when
/// the source does not carry them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bar {
    /// First price.
    pub open: f64,
    /// Highest price.
    pub high: f64,
    /// Lowest price.
    pub low: f64,
    /// Last price.
    pub close: f64,
    /// Base-asset volume.
    pub volume: f64,
    /// Quote-asset volume (USD for USDT pairs); close × volume where the source has none.
    pub quote_volume: f64,
    /// Number of trades, or NaN.
    pub trades: f64,
    /// Base volume bought by takers, or NaN.
    pub taker_buy_base: f64,
}

impl Bar {
    /// A bar that is not there.
    pub const MISSING: Bar = Bar {
        open: f64::NAN,
        high: f64::NAN,
        low: f64::NAN,
        close: f64::NAN,
        volume: f64::NAN,
        quote_volume: f64::NAN,
        trades: f64::NAN,
        taker_buy_base: f64::NAN,
    };

    /// Whether the bar exists.
    pub fn is_present(&self) -> bool {
        !self.close.is_nan()
    }
}

/// One coin's bars on a regular grid: bar `i` starts at `start + i × timeframe`.
///
/// Invariants: all columns have equal length; a present bar has finite prices > 0, low ≤ open,
/// close ≤ high and volume ≥ 0; a missing bar is NaN in every column; the first and the last bar
/// are present.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Series {
    /// Whose bars these are.
    pub symbol: Symbol,
    /// Length of a bar.
    pub timeframe: Timeframe,
    /// Start of bar 0.
    pub start: UtcMs,
    /// First prices.
    pub open: Vec<f64>,
    /// Highest prices.
    pub high: Vec<f64>,
    /// Lowest prices.
    pub low: Vec<f64>,
    /// Last prices.
    pub close: Vec<f64>,
    /// Base-asset volumes.
    pub volume: Vec<f64>,
    /// Quote-asset volumes (close × volume where the source has none).
    pub quote_volume: Vec<f64>,
    /// Trade counts, where the source has them.
    pub trades: Option<Vec<f64>>,
    /// Taker-bought base volumes, where the source has them.
    pub taker_buy_base: Option<Vec<f64>>,
}

impl Series {
    /// Number of grid positions, missing ones included.
    pub fn len(&self) -> usize {
        self.close.len()
    }

    /// Whether there is no bar at all.
    pub fn is_empty(&self) -> bool {
        self.close.is_empty()
    }

    /// Start time of bar `i`.
    pub fn time(&self, i: usize) -> UtcMs {
        UtcMs(self.start.0 + i as i64 * self.timeframe.ms())
    }

    /// The moment the last bar is complete; `start` when empty.
    pub fn end(&self) -> UtcMs {
        self.time(self.len())
    }

    /// Grid position of the bar that starts at or after `at`, clamped to `0..=len`.
    pub fn index_at_or_after(&self, at: UtcMs) -> usize {
        let ms = self.timeframe.ms();
        let offset = (at.0 - self.start.0 + ms - 1).div_euclid(ms);
        offset.clamp(0, self.len() as i64) as usize
    }

    /// Some of its bars, as if it had no others.
    ///
    /// # Panics
    /// When the range reaches past the last bar.
    #[must_use]
    pub fn rows(&self, rows: Range<usize>) -> Series {
        let of = |column: &Vec<f64>| column[rows.clone()].to_vec();
        Series {
            symbol: self.symbol.clone(),
            timeframe: self.timeframe,
            start: self.time(rows.start),
            open: of(&self.open),
            high: of(&self.high),
            low: of(&self.low),
            close: of(&self.close),
            volume: of(&self.volume),
            quote_volume: of(&self.quote_volume),
            trades: self.trades.as_ref().map(of),
            taker_buy_base: self.taker_buy_base.as_ref().map(of),
        }
    }

    /// Bar `i` as one value.
    pub fn bar(&self, i: usize) -> Bar {
        let optional = |column: &Option<Vec<f64>>| column.as_ref().map_or(f64::NAN, |c| c[i]);
        Bar {
            open: self.open[i],
            high: self.high[i],
            low: self.low[i],
            close: self.close[i],
            volume: self.volume[i],
            quote_volume: self.quote_volume[i],
            trades: optional(&self.trades),
            taker_buy_base: optional(&self.taker_buy_base),
        }
    }
}
