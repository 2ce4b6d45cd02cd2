//! Why something was not carried.

use huracan_store::StoreError;
use std::fmt;

/// The result of carrying.
pub type Result<T> = std::result::Result<T, OutboxError>;

/// One file that both sides have changed since they last agreed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Clash {
    /// Where, relative to the store.
    pub path: String,
    /// SHA-256 of what is here.
    pub ours: String,
    /// SHA-256 of what is there.
    pub theirs: String,
}

impl fmt::Display for Clash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (here {}, there {})", self.path, self.ours, self.theirs)
    }
}

/// Why something was not carried.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutboxError {
    /// Somebody else published since this folder last agreed with the remote. No pointer was moved.
    #[error(
        "{} files changed on both sides, {} among them; expected nobody else to have published since the last \
         pull: pull what they published and decide again",
        clashes.len(),
        clashes.first().map(|clash| clash.to_string()).unwrap_or_default()
    )]
    Conflict {
        /// At least one, sorted by path.
        clashes: Vec<Clash>,
    },
    /// A file that never changes has changed since it was carried.
    #[error("{clash} was carried once and never changes, expected the same bytes on both sides")]
    Changed {
        /// The file.
        clash: Clash,
    },
    /// The folder belongs to another remote.
    #[error("{folder} is the working folder of {found}, expected {expected}; use another folder")]
    OtherRemote {
        /// The local folder.
        folder: String,
        /// The remote its journal names.
        found: String,
        /// The remote that was asked for.
        expected: String,
    },
    /// Somebody asked to stop; the same call goes on where it stopped.
    #[error("stopped while carrying; the same command goes on")]
    Interrupted,
    /// One of the two stores refused, or the network is away.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl OutboxError {
    /// Stable code for files, logs and exit statuses; never reworded.
    pub fn code(&self) -> &'static str {
        match self {
            OutboxError::Conflict { .. } => "store_conflict",
            OutboxError::Changed { .. } => "store_changed",
            OutboxError::OtherRemote { .. } => "store_other_remote",
            OutboxError::Interrupted => "interrupted",
            OutboxError::Store(error) => error.code(),
        }
    }

    /// Whether the same call may succeed later without anybody doing anything: the network is away, or
    /// another machine is carrying.
    pub fn is_away(&self) -> bool {
        match self {
            OutboxError::Store(error) => {
                error.is_transient() || matches!(error, StoreError::Io { .. } | StoreError::Locked { .. })
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_names_the_first_file_with_both_hashes() {
        let clash = Clash { path: "champions/BTCUSDT.json".into(), ours: "ab".into(), theirs: "cd".into() };
        let error = OutboxError::Conflict { clashes: vec![clash.clone(), clash] };
        let text = error.to_string();
        assert!(
            text.starts_with("2 files changed on both sides, champions/BTCUSDT.json (here ab, there cd)")
        );
        assert!(!text.ends_with('.') && !error.is_away());
    }
}
