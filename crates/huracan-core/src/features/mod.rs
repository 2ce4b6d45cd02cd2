//! The FEATURES table: what a bar tells about a coin, as incremental operators.
//!
//! Every feature is one [`Operator`] and one line in a family's table (`table/`). Adding one is
//! exactly that. The engines the operators are made of live beside: [`window`] (rolling folds),
//! [`indicators`] (TA-Lib's), [`volatility`], [`dependence`], [`microstructure`]. What all of them
//! read of a bar is made once, in [`row`]; what the other coins did, in [`context`].
//!
//! # The row convention
//! Row `i` of a [`FeatureMatrix`] belongs to bar `i` of the series and uses bars `0..=i`, the last
//! one complete: it is known at `series.time(i) + timeframe` and not before. Market context at row
//! `i` uses only coins with a bar at that time. NaN means undefined, and nothing else does:
//! - the first `lookback − 1` rows of a feature (warm-up);
//! - a missing bar's row: state advances as if a flat bar at the last close without volume had
//!   come, so time stays aligned and later rows are sound;
//! - rows that lack what the feature [`Needs`] (a column the source does not carry, a time without
//!   market context).
//!
//! An operator answers a number for every row; these three rules are applied in one place (batch
//! and live alike), never inside an operator. Where a figure is 0/0 (a flat or silent window) it
//! has a neutral value, mostly 0, which its line in the table states.
//!
//! Features are causal and stationary in level: multiplying all prices by one number and all
//! volumes by another changes nothing (but `rank_turnover`, which compares volumes in USD).
//! What is not here: scaling, winsorising and filling, which belong to the fitted recipe.

pub mod context;
pub mod dependence;
pub mod indicators;
mod matrix;
mod memory;
pub mod microstructure;
pub mod row;
mod table;
pub mod volatility;
pub mod window;

pub use context::{ContextError, ContextSums, MarketContext, MarketFigures, MarketRow};
pub use matrix::{FeatureMatrix, LiveError, LiveFeatures, matrix, matrix_from};
pub use row::{Needs, Row, rows};
pub use table::FEATURES;

/// What a group of features is about; the unit in which ablations and reports speak.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Family {
    /// Returns over spans and the shape of the bar.
    Return,
    /// Where the price stands between highs and lows.
    Location,
    /// Direction and strength of the trend.
    Trend,
    /// Bounded oscillators.
    Oscillator,
    /// Size of moves and its change.
    Volatility,
    /// Asymmetry, tails and jumps.
    Distribution,
    /// Serial dependence.
    Dependence,
    /// Volume and its relation to price.
    Volume,
    /// Price impact and bulk-classified order flow.
    Liquidity,
    /// Taker flow and trade sizes.
    Flow,
    /// Estimated spreads.
    Spread,
    /// Missing, flat and silent bars; age.
    Quality,
    /// Time of day and week.
    Calendar,
    /// The market as a whole, Bitcoin and Ether, and the coin against them.
    Market,
    /// Standing among all coins.
    CrossSection,
}

impl Family {
    /// Every family, in the order of the table.
    pub const ALL: [Family; 15] = [
        Family::Return,
        Family::Location,
        Family::Trend,
        Family::Oscillator,
        Family::Volatility,
        Family::Distribution,
        Family::Dependence,
        Family::Volume,
        Family::Liquidity,
        Family::Flow,
        Family::Spread,
        Family::Quality,
        Family::Calendar,
        Family::Market,
        Family::CrossSection,
    ];

    /// The name in files, never reworded.
    pub const fn code(self) -> &'static str {
        match self {
            Family::Return => "return",
            Family::Location => "location",
            Family::Trend => "trend",
            Family::Oscillator => "oscillator",
            Family::Volatility => "volatility",
            Family::Distribution => "distribution",
            Family::Dependence => "dependence",
            Family::Volume => "volume",
            Family::Liquidity => "liquidity",
            Family::Flow => "flow",
            Family::Spread => "spread",
            Family::Quality => "quality",
            Family::Calendar => "calendar",
            Family::Market => "market",
            Family::CrossSection => "cross_section",
        }
    }
}

/// One feature.
#[derive(Clone, Copy, Debug)]
pub struct FeatureDef {
    /// Unique name, `snake_case`, spans in bars.
    pub name: &'static str,
    /// What it is about.
    pub family: Family,
    /// Bars needed for the first defined value, which stands at row `lookback − 1` of a clean series.
    pub lookback: usize,
    /// Further bars until a start with no history at all no longer shows (below 1e-6): 0 for a
    /// finite window, more where an exponential average is inside.
    pub decay: usize,
    /// Unit of the value: `sigma`, `ratio`, `log`, `bps`, `days`, …
    pub unit: &'static str,
    /// What it says, in one sentence.
    pub doc: &'static str,
    /// Where the definition comes from.
    pub source: &'static str,
    /// What a row must have.
    pub needs: Needs,
    /// A fresh operator. What never forgets says so as it is made (`memory`).
    pub make: fn() -> Box<dyn Operator>,
}

/// A feature's state: takes rows in order, gives one number each.
pub trait Operator: Send {
    /// The value after the next row.
    fn push(&mut self, row: &Row) -> f64;

    /// [`Operator::push`] for each row, compiled as one loop per operator.
    ///
    /// `out` is as long as `rows`.
    fn run(&mut self, rows: &[Row], out: &mut [f64]) {
        for (slot, row) in out.iter_mut().zip(rows) {
            *slot = self.push(row);
        }
    }
}

/// Index of a feature in [`FEATURES`].
pub fn index_of(name: &str) -> Option<usize> {
    FEATURES.iter().position(|f| f.name == name)
}

/// A text line per feature, in table order: name, family, lookback, unit, what it says.
pub fn describe() -> impl Iterator<Item = String> {
    FEATURES.iter().map(|f| {
        format!(
            "{:<24} {:<13} {:>4} {:<6} {} [{}]",
            f.name,
            f.family.code(),
            f.lookback,
            f.unit,
            f.doc,
            f.source
        )
    })
}
