//! choose/mod
