//! Heads: one coin's map from features (and codes) to an expected label.
//!
//! Three layers, each fitted on training moments only:
//! 1. the pooled ridge head over all coins, without the coin's own underlying ([`pooled`]);
//! 2. how strongly this coin follows it, by empirical Bayes over all coins ([`slopes`]);
//! 3. what the coin does besides, shrunk to zero unless the evidence asks for it ([`own`]).
//!
//! What does not live here: turning a score into trades (`trial`).

pub mod own;
pub mod pooled;
pub mod slopes;
pub mod trees;
