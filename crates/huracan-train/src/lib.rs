//! train

pub mod report;
