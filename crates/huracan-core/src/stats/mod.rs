//! stats/mod
