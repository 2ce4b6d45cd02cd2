//! Append-only logs whose lines carry the hash of the line before, so that a line changed, lost or put
//! in later shows.

use crate::error::{Result, StoreError};
use crate::formats::{Document, from_lines, to_line};
use crate::path::StorePath;
use crate::store::{Revision, Store};
use crate::typed;

/// Attempts of an append that keeps losing to others; each loss means another one's success.
const ATTEMPTS_MAX: usize = 64;

/// A line of such a log. Its document check holds `hash` against the line's content.
pub trait Link: Document {
    /// `hash` of the line before; `None` on the first.
    fn prev(&self) -> Option<&str>;
    /// SHA-256 of the line's content and `prev`.
    fn hash(&self) -> &str;
}

/// Whether every line carries the hash of the one before. (That each carries its own is checked when
/// it is read.)
///
/// # Errors
/// The number of the first line that does not.
pub fn verify<L: Link>(log: &[L]) -> std::result::Result<(), String> {
    let mut before = None;
    for (i, line) in log.iter().enumerate() {
        if line.prev() != before {
            return Err(format!("line {} follows {:?}, the line before is {before:?}", i + 1, line.prev()));
        }
        before = Some(line.hash());
    }
    Ok(())
}

/// The whole log with its chain verified; empty before the first line.
///
/// # Errors
/// `Corrupt` naming the first line that is not what it was, or does not follow the one before.
pub(crate) fn read<L: Link>(store: &dyn Store, path: &StorePath) -> Result<Vec<L>> {
    Ok(read_raw(store, path)?.0)
}

type RawLog<L> = (Vec<L>, Vec<u8>, Option<Revision>);

fn read_raw<L: Link>(store: &dyn Store, path: &StorePath) -> Result<RawLog<L>> {
    let Some(object) = store.get(path)? else { return Ok((Vec::new(), Vec::new(), None)) };
    let log: Vec<L> = from_lines(path, &object.bytes)?;
    verify(&log).map_err(|reason| StoreError::corrupt(path, reason))?;
    if !object.bytes.is_empty() && !object.bytes.ends_with(b"\n") {
        return Err(StoreError::corrupt(path, "its last line has no end"));
    }
    Ok((log, object.bytes, Some(object.revision)))
}

/// Lets `extend` add lines to the log it is shown and writes them, all or none; returns how many there
/// are. Called again when somebody else was first.
///
/// # Errors
/// `Corrupt` when the log's chain is broken, `Refused` when a line breaks its format.
pub(crate) fn append<L: Link>(
    store: &dyn Store,
    path: &StorePath,
    extend: impl Fn(&mut Vec<L>) -> Result<()>,
) -> Result<usize> {
    for _ in 0..ATTEMPTS_MAX {
        let (mut log, mut bytes, revision) = read_raw(store, path)?;
        let old = log.len();
        extend(&mut log)?;
        if log.len() == old {
            return Ok(0);
        }
        for line in &log[old..] {
            bytes.extend_from_slice(&to_line(line)?);
        }
        match typed::swap(store, path, &bytes, revision.as_ref()) {
            Ok(_) => return Ok(log.len() - old),
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
