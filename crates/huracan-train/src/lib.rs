//! The Engine: from candles to a ranked roster.
//!
//! What lives here: the passes over all coins ([`engine`]), the pool they run on, where candles
//! come from ([`source`]), what is written where ([`publish`]), the report. What does not: anything
//! that trades, and any formula that does not need more than one coin or a thread (that is
//! `huracan-core`).

pub mod cache;
pub mod canary;
pub mod engine;
pub mod jobs;
pub mod lookahead;
pub mod pipeline;
pub mod pool;
pub mod publish;
pub mod report;
pub mod scratch;
pub mod settings;
pub mod source;
