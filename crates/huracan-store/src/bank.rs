//! The feature bank: one writer, once a run, after the champions and before the roster.

use crate::error::Result;
use crate::formats;
use crate::formats::feature_bank::FeatureBank;
use crate::path::StorePath;
use crate::store::{Revision, Store};
use crate::typed;

fn path() -> Result<StorePath> {
    StorePath::new("meta/feature_bank.json")
}

/// The bank and the state it was read in, or `None` before the first run.
///
/// # Errors
/// `Corrupt`, `NewerFormat`, or what the store refuses.
pub fn read(store: &dyn Store) -> Result<Option<(FeatureBank, Revision)>> {
    typed::get(store, &path()?)
}

/// Publishes a bank over exactly the state the caller has seen; the same bytes are a no-op.
///
/// # Errors
/// `Refused` when it breaks its format, `Stale` when there was a second writer.
pub fn publish(store: &dyn Store, bank: &FeatureBank, seen: Option<&Revision>) -> Result<Revision> {
    let (path, bytes) = (path()?, formats::to_bytes(bank)?);
    match store.get(&path)? {
        Some(found) if found.bytes == bytes => Ok(found.revision),
        _ => typed::swap(store, &path, &bytes, seen),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStore;
    use crate::samples;

    #[test]
    fn a_second_writer_loses() {
        let store = MemoryStore::default();
        let mut bank = samples::feature_bank();
        let first = publish(&store, &bank, None).unwrap();
        assert_eq!(publish(&store, &bank, None).unwrap(), first);
        bank.shared_features.clear();
        assert_eq!(publish(&store, &bank, None).unwrap_err().code(), "store_stale");
        publish(&store, &bank, Some(&first)).unwrap();
        assert_eq!(read(&store).unwrap().unwrap().0, bank);
    }
}
