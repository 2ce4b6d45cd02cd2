//! The ledger on files, and the queue on a PostgreSQL started for it.

mod ledger;
