//! Choosing: may a coin be traded, is a new model really better, who ranks where.
//!
//! Every rule writes down its value and its limit. What does not live here: where the figures come
//! from (`trial`), and where the answers go (the store).

pub mod capacity;
pub mod champion;
pub mod overfitting;
pub mod rank;
pub mod sharing;
pub mod trade_ok;
