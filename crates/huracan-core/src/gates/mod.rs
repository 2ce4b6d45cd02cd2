//! gates/mod
