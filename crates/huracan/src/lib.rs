//! The binary's shell: configuration, command line, progress, tables, and the wiring between them
//! and the Engine.
//!
//! What lives here: everything that talks to a person or to the operating system. What does not:
//! any computation with prices (`huracan-core`), any file format (`huracan-store`,
//! `huracan-market`), any training (`huracan-train`).

pub mod cli;
pub mod config;
pub mod failure;
pub mod interrupt;
pub mod logs;
pub mod metrics;
pub mod progress;
pub mod table;
pub mod wiring;
