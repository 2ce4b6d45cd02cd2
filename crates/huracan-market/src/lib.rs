//! Market data at the edge: candle files of any layout in, bars out.
//!
//! What lives here: reading the world's candle files and venues. What does not: judging bars
//! (`huracan_core::gates`), models, orders' decisions. Nothing here keeps a defect to itself: what
//! cannot be used is returned with a reason, what was repaired is counted.

pub mod binance;
pub mod error;
pub mod files;

pub use error::Error;
