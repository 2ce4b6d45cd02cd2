//! trial/mod
