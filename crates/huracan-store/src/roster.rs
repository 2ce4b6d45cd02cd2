//! The roster: written last, read by everybody.

use crate::champions;
use crate::error::{Result, StoreError};
use crate::formats;
use crate::formats::roster::{Roster, RosterLine};
use crate::path::StorePath;
use crate::store::{Revision, Store};
use crate::typed;

fn path() -> Result<StorePath> {
    StorePath::new("champions/roster.json")
}

/// The roster and the state it was read in, or `None` before the first run.
///
/// # Errors
/// `Corrupt`, `NewerFormat`, or what the store refuses.
pub fn read(store: &dyn Store) -> Result<Option<(Roster, Revision)>> {
    typed::get(store, &path()?)
}

/// Publishes a roster over exactly the state the caller has seen; the same bytes are a no-op.
///
/// # Errors
/// `Refused` when a line is not what its coin's champion says, `Stale` when the roster changed since
/// `seen` was read.
pub fn publish(store: &dyn Store, roster: &Roster, seen: Option<&Revision>) -> Result<Revision> {
    let bytes = formats::to_bytes(roster)?;
    for line in &roster.symbols {
        agrees_with_champion(store, line)?;
    }
    let path = path()?;
    match store.get(&path)? {
        Some(found) if found.bytes == bytes => Ok(found.revision),
        _ => typed::swap(store, &path, &bytes, seen),
    }
}

fn agrees_with_champion(store: &dyn Store, line: &RosterLine) -> Result<()> {
    let refused = |reason: String| StoreError::refused(format!("the roster line of {}", line.symbol), reason);
    let (champion, _) = champions::read(store, &line.symbol)?
        .ok_or_else(|| refused("the coin has no champion, expected one".to_owned()))?;
    let found =
        (&line.model_path, &line.model_sha256, &line.encoder_id, line.trade_ok, line.model_expires_at);
    let expected = (
        &champion.model_path,
        &champion.model_sha256,
        &champion.encoder_id,
        champion.trade_ok,
        champion.expires_at,
    );
    if found == expected {
        Ok(())
    } else {
        Err(refused(format!("it says {found:?}, the champion {expected:?}")))
    }
}
