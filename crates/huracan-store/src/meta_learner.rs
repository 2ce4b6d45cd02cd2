//! The meta learner's weights: read and replaced whole.

use crate::error::Result;
use crate::formats::meta_learner::MetaLearner;
use crate::path::StorePath;
use crate::store::{Revision, Store};
use crate::typed;

fn path() -> Result<StorePath> {
    StorePath::new("meta/meta_learner.json")
}

/// The weights, or `None` when no run has published any.
///
/// # Errors
/// `Corrupt`, `NewerFormat`, or what the store refuses.
pub fn read(store: &dyn Store) -> Result<Option<MetaLearner>> {
    Ok(typed::get(store, &path()?)?.map(|(weights, _)| weights))
}

/// Replaces the weights.
///
/// # Errors
/// `Refused` when they break their format.
pub fn publish(store: &dyn Store, weights: &MetaLearner) -> Result<Revision> {
    typed::overwrite(store, &path()?, weights)
}
