//! The operator's wishes. A missing file means the configuration's defaults. A broken one is an error
//! the caller acts on: keep the last good state, take no new position, say so.

use huracan_core::words::UtcMs;

use crate::error::{Result, StoreError};
use crate::formats;
use crate::formats::overrides::Overrides;
use crate::path::StorePath;
use crate::store::{Revision, Store};
use crate::typed;

/// Attempts of a change that keeps losing to others.
const ATTEMPTS_MAX: usize = 16;

fn path() -> Result<StorePath> {
    StorePath::new("runtime/overrides.json")
}

/// The wishes in force and the state they were read in (`None`: there is no file, these are the
/// defaults).
///
/// # Errors
/// `Corrupt` or `NewerFormat` for a file that cannot be believed, and whatever the store refuses.
pub fn read(store: &dyn Store, defaults: &Overrides) -> Result<(Overrides, Option<Revision>)> {
    let found = typed::get(store, &path()?)?;
    Ok(match found {
        Some((overrides, revision)) => (overrides, Some(revision)),
        None => (defaults.clone(), None),
    })
}

/// Changes the wishes: `edit` works on what is in force, and again if somebody else was first.
/// Revision, time and author are set here.
///
/// # Errors
/// `Corrupt` when the file is broken ([`reset`] replaces it), `Refused` when the edit breaks the format.
pub fn change(
    store: &dyn Store,
    defaults: &Overrides,
    now: UtcMs,
    by: &str,
    edit: impl Fn(&mut Overrides),
) -> Result<Overrides> {
    let path = path()?;
    for _ in 0..ATTEMPTS_MAX {
        let (mut overrides, seen) = read(store, defaults)?;
        edit(&mut overrides);
        overrides.revision = if seen.is_some() { overrides.revision.saturating_add(1) } else { 1 };
        overrides.updated_at = now.into();
        overrides.updated_by = by.to_owned();
        match typed::swap(store, &path, &formats::to_bytes(&overrides)?, seen.as_ref()) {
            Ok(_) => return Ok(overrides),
            Err(StoreError::Stale { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Err(StoreError::Stale {
        path: path.to_string(),
        expected: "a moment without other writers".to_owned(),
        found: format!("{ATTEMPTS_MAX} changes in a row"),
    })
}

/// Replaces whatever is there, broken or not, on an operator's explicit order.
///
/// # Errors
/// `Refused` when the new ones break the format.
pub fn reset(store: &dyn Store, overrides: &Overrides) -> Result<()> {
    typed::overwrite(store, &path()?, overrides).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStore;
    use crate::samples;
    use crate::store::PutMode;

    #[test]
    fn missing_means_defaults_and_broken_is_an_error_until_reset() {
        let store = MemoryStore::default();
        let defaults = samples::overrides();
        assert_eq!(read(&store, &defaults).unwrap(), (defaults.clone(), None));
        store.put(&path().unwrap(), b"{\"trade_n\":", PutMode::Create).unwrap();
        assert_eq!(read(&store, &defaults).unwrap_err().code(), "store_corrupt");
        let changed = change(&store, &defaults, UtcMs(0), "op", |o| o.paused = true);
        assert_eq!(changed.unwrap_err().code(), "store_corrupt");
        reset(&store, &defaults).unwrap();
        assert_eq!(read(&store, &defaults).unwrap().0, defaults);
    }

    #[test]
    fn changes_from_two_sides_are_both_kept() {
        let store = MemoryStore::default();
        let defaults = samples::overrides();
        std::thread::scope(|scope| {
            scope.spawn(|| change(&store, &defaults, UtcMs(0), "one", |o| o.paused = true).unwrap());
            scope.spawn(|| change(&store, &defaults, UtcMs(0), "two", |o| o.trade_n = 7).unwrap());
        });
        let (found, _) = read(&store, &defaults).unwrap();
        assert_eq!((found.paused, found.trade_n, found.revision), (true, 7, 2));
    }
}
