//! The pure quantitative core of Huracan.
//!
//! Everything here is a function of its arguments: no clock, no file, no socket, no environment,
//! no thread, no unseeded dice. The crates above decide when and where; this one decides what.

pub mod bank;
pub mod choose;
pub mod costs;
pub mod drift;
pub mod encoder;
pub mod features;
pub mod gates;
pub mod gram;
pub mod heads;
pub mod labels;
pub mod meta;
pub mod regime;
pub mod series;
pub mod stats;
pub mod synth;
pub mod trial;
pub mod wire;
pub mod words;
