//! Trials: walk-forward plans, simulated trades, metrics. Everything a head is judged by.
//!
//! What lives here never fits anything; what is fitted (heads, encoder, costs) is handed in by
//! those who were told which rows they may see.

pub mod plan;
pub mod simulate;
