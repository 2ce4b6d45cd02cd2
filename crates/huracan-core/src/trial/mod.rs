//! Trials: what a head would have earned out of sample, and how far to believe it.

pub mod metrics;
