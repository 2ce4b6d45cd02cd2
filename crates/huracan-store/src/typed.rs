//! Documents through a store: the step between bytes and the typed verbs.

use crate::error::{Result, StoreError};
use crate::formats::{self, Document};
use crate::path::StorePath;
use crate::store::{PutMode, Revision, Store};

/// A document and the state it was read in, or `None` when there is none.
pub(crate) fn get<D: Document>(store: &dyn Store, path: &StorePath) -> Result<Option<(D, Revision)>> {
    let Some(object) = store.get(path)? else { return Ok(None) };
    Ok(Some((formats::from_bytes(path, &object.bytes)?, object.revision)))
}

/// A document that must be there.
pub(crate) fn require<D: Document>(store: &dyn Store, path: &StorePath, help: &'static str) -> Result<D> {
    let found = get(store, path)?;
    found.map(|(document, _)| document).ok_or(StoreError::NotFound { path: path.to_string(), help })
}

/// Writes a document whatever is there, unless exactly it is there already.
pub(crate) fn overwrite<D: Document>(store: &dyn Store, path: &StorePath, document: &D) -> Result<Revision> {
    settle(store, path, &formats::to_bytes(document)?)
}

/// Makes an object have these bytes; writes nothing when it has them.
pub(crate) fn settle(store: &dyn Store, path: &StorePath, bytes: &[u8]) -> Result<Revision> {
    match store.get(path)? {
        Some(found) if found.bytes == bytes => Ok(found.revision),
        _ => store.put(path, bytes, PutMode::Overwrite),
    }
}

/// Writes over exactly the state the caller has seen (`None`: nothing was there).
///
/// # Errors
/// `Stale` when somebody else was first, whether by creating or by changing.
pub(crate) fn swap(
    store: &dyn Store,
    path: &StorePath,
    bytes: &[u8],
    seen: Option<&Revision>,
) -> Result<Revision> {
    let mode = seen.map_or(PutMode::Create, |revision| PutMode::IfRevision(revision.clone()));
    store.put(path, bytes, mode).map_err(|error| match error {
        StoreError::AlreadyExists { path } => {
            StoreError::Stale { path, expected: "none".to_owned(), found: "a first one".to_owned() }
        }
        other => other,
    })
}
