//! What can go wrong between a program and its store: one variant for each thing a caller treats
//! differently, each with a stable code.

use std::io;

/// The result of a store operation.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Why the store refused or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Something that must be there is not.
    #[error("{path} is not in the store; {help}")]
    NotFound {
        /// What was looked for, relative to the store (or the store's own folder).
        path: String,
        /// What to do about it.
        help: &'static str,
    },
    /// A create met an object that is already there.
    #[error("{path} already exists; it is written once and never replaced")]
    AlreadyExists {
        /// The object in the way.
        path: String,
    },
    /// A compare-and-swap lost: somebody else moved the object first.
    #[error(
        "{path} changed meanwhile: found revision {found}, expected {expected}; read it again and decide again"
    )]
    Stale {
        /// The contended object.
        path: String,
        /// The revision the caller had seen.
        expected: String,
        /// The revision that is there now, or `none`.
        found: String,
    },
    /// The store may be read but not written.
    #[error(
        "{path} cannot be written: the store is read-only here; check the folder's owner and permissions"
    )]
    ReadOnly {
        /// What was to be written.
        path: String,
        /// The operating system's reason, where there is one.
        #[source]
        source: Option<io::Error>,
    },
    /// The disk (or quota) is full. Nothing that was there before is harmed.
    #[error(
        "{path} cannot be written: no space left for the store; free some and run again, finished work is kept"
    )]
    NoSpace {
        /// What was to be written.
        path: String,
        /// The operating system's reason.
        #[source]
        source: io::Error,
    },
    /// A file of a later version of its format.
    #[error("{path} has format {found}, this program reads up to {supported}; use a newer huracan")]
    NewerFormat {
        /// The file.
        path: String,
        /// The schema found in it.
        found: String,
        /// The newest schema this program reads.
        supported: String,
    },
    /// A file that does not keep its format's promises.
    #[error("{path} is not usable: {reason}")]
    Corrupt {
        /// The file.
        path: String,
        /// What was found and what was expected.
        reason: String,
    },
    /// A value this program was about to write breaks the format's promises.
    #[error("{what} is not writable: {reason}")]
    Refused {
        /// The document or verb.
        what: String,
        /// What was found and what was expected.
        reason: String,
    },
    /// Another run holds the store.
    #[error("the store is in use by another run ({holder}); wait for it to end or use another store")]
    Locked {
        /// Process, host and start of the holder, as it wrote them.
        holder: String,
    },
    /// A text that is not a path inside a store.
    #[error("{text:?} is not a path inside a store: {reason}")]
    InvalidPath {
        /// The text.
        text: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// A remote store did not answer, or answered that it is busy or broken, as often as it was asked.
    /// Nothing is known to be wrong with what was asked: it may succeed later.
    #[error(
        "{path}: the store did not do it in {attempts} attempts, last: {reason}; check the network and try again, finished work is kept"
    )]
    Unavailable {
        /// What was asked for.
        path: String,
        /// How often it was tried.
        attempts: u32,
        /// What was found at the last attempt.
        reason: String,
    },
    /// A remote store does not accept the credentials.
    #[error("{path}: the store refuses our credentials: {reason}; check them and their permissions")]
    Denied {
        /// What was asked for.
        path: String,
        /// The store's own words.
        reason: String,
    },
    /// Any other refusal of the operating system.
    #[error("{path}: cannot {action}: {source}")]
    Io {
        /// The object or folder.
        path: String,
        /// What was being done.
        action: &'static str,
        /// The operating system's reason.
        source: io::Error,
    },
}

impl StoreError {
    /// Stable code for files, logs and exit statuses; never reworded.
    pub fn code(&self) -> &'static str {
        match self {
            StoreError::NotFound { .. } => "store_not_found",
            StoreError::AlreadyExists { .. } => "store_already_exists",
            StoreError::Stale { .. } => "store_stale",
            StoreError::ReadOnly { .. } => "store_read_only",
            StoreError::NoSpace { .. } => "store_no_space",
            StoreError::NewerFormat { .. } => "store_newer_format",
            StoreError::Corrupt { .. } => "store_corrupt",
            StoreError::Refused { .. } => "store_refused",
            StoreError::Locked { .. } => "store_locked",
            StoreError::InvalidPath { .. } => "store_invalid_path",
            StoreError::Unavailable { .. } => "store_unavailable",
            StoreError::Denied { .. } => "store_denied",
            StoreError::Io { .. } => "store_io",
        }
    }

    /// Whether the same call may succeed later with nothing changed here.
    pub fn is_transient(&self) -> bool {
        matches!(self, StoreError::Unavailable { .. })
    }

    /// Sorts an operating system error of a write into the variant a caller acts on.
    pub(crate) fn writing(path: impl ToString, action: &'static str, source: io::Error) -> StoreError {
        let path = path.to_string();
        match source.kind() {
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
                StoreError::ReadOnly { path, source: Some(source) }
            }
            // A limit on the size of files is a quota too: what is to be done is the same.
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                StoreError::NoSpace { path, source }
            }
            _ => StoreError::Io { path, action, source },
        }
    }

    /// A file that breaks its format's promises.
    pub(crate) fn corrupt(path: impl ToString, reason: impl ToString) -> StoreError {
        StoreError::Corrupt { path: path.to_string(), reason: reason.to_string() }
    }

    /// A value that must not be written.
    pub(crate) fn refused(what: impl ToString, reason: impl ToString) -> StoreError {
        StoreError::Refused { what: what.to_string(), reason: reason.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_the_disk_get_their_own_codes() {
        let check = |kind: io::ErrorKind, code: &str| {
            assert_eq!(StoreError::writing("a", "write", io::Error::from(kind)).code(), code);
        };
        check(io::ErrorKind::ReadOnlyFilesystem, "store_read_only");
        check(io::ErrorKind::PermissionDenied, "store_read_only");
        check(io::ErrorKind::StorageFull, "store_no_space");
        check(io::ErrorKind::QuotaExceeded, "store_no_space");
        check(io::ErrorKind::FileTooLarge, "store_no_space");
        check(io::ErrorKind::BrokenPipe, "store_io");
    }

    #[test]
    fn only_an_unavailable_store_is_worth_asking_again_later() {
        let away =
            StoreError::Unavailable { path: "roster.json".into(), attempts: 6, reason: "status 503".into() };
        assert!(away.is_transient() && away.to_string().contains("6 attempts, last: status 503"));
        let denied = StoreError::Denied { path: "roster.json".into(), reason: "ExpiredToken".into() };
        assert!(!denied.is_transient());
        assert_eq!([away.code(), denied.code()], ["store_unavailable", "store_denied"]);
    }

    #[test]
    fn messages_start_small_and_end_without_a_full_stop() {
        let locked = StoreError::Locked { holder: "pid 7 on box since 2025-01-01T00:00:00Z".into() };
        let text = locked.to_string();
        assert!(text.contains("pid 7 on box") && !text.ends_with('.'));
    }
}
