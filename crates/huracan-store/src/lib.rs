//! The store: every file the programs exchange, written once and pointed at last.
//!
//! Three layers, each on the one before. [`Store`] moves bytes: a folder on disk, memory, and
//! wrappers around them. [`formats`] says what the bytes mean, one file per artifact, wire structs
//! apart from the domain. The typed verbs ([`models`], [`champions`], [`roster`], …) keep the
//! promises between files: a folder is immutable once its manifest exists, a pointer moves only by
//! compare-and-swap and only to a folder that has just been read back and verified.
//!
//! Nothing here asks what time it is: moments arrive as arguments. Candles and trades live elsewhere.

pub mod bank;
mod chained;
pub mod champions;
mod digest;
pub mod encoder;
mod error;
pub mod formats;
pub mod heartbeats;
mod local;
mod memory;
pub mod meta_learner;
pub mod models;
pub mod overrides;
mod path;
pub mod promotions;
mod read_only;
pub mod roster;
mod run_lock;
pub mod runs;
mod store;
pub mod trials;
mod typed;
mod unique;
pub mod verify;
pub mod work;

#[cfg(any(test, feature = "contract"))]
pub mod contract;
#[cfg(test)]
mod crash;
#[cfg(any(test, feature = "contract"))]
pub mod faults;
#[cfg(any(test, feature = "contract"))]
pub mod samples;

pub use digest::{canonical_json, is_hex, run_id, sha256_hex};
pub use error::{Result, StoreError};
pub use local::LocalStore;
pub use memory::MemoryStore;
pub use path::StorePath;
pub use read_only::ReadOnly;
pub use run_lock::{Claim, RunLock, RunOwner};
pub use store::{Entry, Object, PutMode, Revision, Store, Usage};
pub use unique::unique;
