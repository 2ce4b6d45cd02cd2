//! costs/mod
