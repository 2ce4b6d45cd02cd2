//! The words of the field, parsed once at the edge and passed on as themselves.
//!
//! What lives here: symbols, markets, times, timeframes, seeds. What does not: anything that
//! computes with prices.

mod seed;
mod symbol;
mod time;

pub use seed::Seed;
pub use symbol::{InvalidSymbol, Market, Symbol};
pub use time::{InvalidTime, InvalidTimeframe, Timeframe, UtcMs};
