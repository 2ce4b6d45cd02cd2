//! Statistics as plain functions over slices: one idea a file, each with its source, each checked
//! against trusted libraries in `tests/stats_reference.rs`.
//!
//! What lives here knows nothing of coins, trades or costs. A statistic that does not exist for an
//! input (fewer than two values, no variance, a non-finite input where it matters) is `None`, never
//! a sentinel. Random draws start from a [`Seed`](crate::words::Seed).

pub mod association;
pub mod autocorrelation;
pub mod bootstrap;
pub mod conformal;
pub mod data_snooping;
pub mod distributions;
pub mod divergence;
pub mod forecast_comparison;
pub mod hac;
pub mod hedge;
pub mod isotonic;
pub mod moments;
pub mod multiple_testing;
pub mod order_counts;
pub mod overfitting;
pub mod performance;
pub mod quantiles;
pub mod ranks;
pub mod regression;
pub mod sharpe;
pub mod splits;
pub mod theil_sen;
