//! The ledger on files, and the queue on a PostgreSQL started for it.

mod ledger;
mod queue;
#[path = "../../src/testing.rs"]
mod testing;
