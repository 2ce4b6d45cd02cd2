//! Local-first: a run works on a folder of this machine and is carried to its remote store when the
//! network allows, what is pointed at before what points, the roster last.
//!
//! A [`Mirror`] is a local folder, the remote it belongs to and a journal of what both were last known
//! to agree on. [`Mirror::pull`] brings what others have published, [`Mirror::push`] carries what was
//! made here. Wherever either is cut off, no pointer on either side names a folder that is not whole,
//! and the same call made again ends in the same bytes. [`check`] compares a store with its manifests
//! and a folder with its remote; [`gc`] says what nothing reaches any more and removes it.
//!
//! Nothing here asks what time it is, opens a socket or decides who is champion: whoever loses a race
//! pulls and decides again.

pub mod check;
mod error;
pub mod gc;
mod journal;
mod kind;
mod mirror;
mod pull;
mod push;

pub use error::{Clash, OutboxError, Result};
pub use mirror::{Mirror, Step, Watch};
pub use pull::{OnClash, Pulled};
pub use push::Pushed;
