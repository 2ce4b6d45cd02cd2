//! heads/mod
