//! features/mod
