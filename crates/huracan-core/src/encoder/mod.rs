//! encoder/mod
