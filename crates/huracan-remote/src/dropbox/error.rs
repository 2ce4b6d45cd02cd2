//! What can go wrong with a request, and the one place where it becomes an error of the store.

use std::io;

use huracan_store::StoreError;
use serde_json::Value;

/// Why a request failed for good. Cheap to repeat for every file of a batch.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Failure {
    /// No answer, after all attempts.
    #[error("{route}: {reason}")]
    Unreachable { route: &'static str, reason: String, attempts: u32 },
    /// Answers, but only of trouble on their side.
    #[error("{route}: status {status}")]
    Server { route: &'static str, status: u16, attempts: u32 },
    /// Asked to go slower, and more than we wait for.
    #[error("{route}: {reason}, and a pause of {pause_s} s asked for")]
    Throttled { route: &'static str, reason: String, pause_s: u64, attempts: u32 },
    /// The token or its scopes do not allow this.
    #[error(
        "{route}: {said}; the refresh token, the app key and the app's scopes decide \
         (files.content.read, files.content.write, files.metadata.read)"
    )]
    Denied { route: &'static str, said: String },
    /// The account is full.
    #[error("the Dropbox account has no space left ({route})")]
    Full { route: &'static str },
    /// A refusal that the caller did not expect.
    #[error("Dropbox refused {route}: {said}")]
    Refused { route: &'static str, said: String },
    /// An answer that we cannot use.
    #[error("Dropbox gave an answer to {route} that cannot be used: {why}")]
    BadAnswer { route: &'static str, why: String },
}

impl Failure {
    /// The same after another attempt.
    pub(super) fn after(mut self, tried: u32) -> Failure {
        if let Failure::Unreachable { attempts, .. }
        | Failure::Server { attempts, .. }
        | Failure::Throttled { attempts, .. } = &mut self
        {
            *attempts = tried;
        }
        self
    }

    /// The refusal of an endpoint, by its tags.
    pub(super) fn refused(route: &'static str, tags: &str) -> Failure {
        if tags.ends_with("insufficient_space") {
            Failure::Full { route }
        } else if tags.ends_with("no_write_permission") || tags.ends_with("access_restricted") {
            Failure::Denied { route, said: tags.to_owned() }
        } else {
            Failure::Refused { route, said: tags.to_owned() }
        }
    }
}

/// The one place where a failure becomes an error of the store.
pub(super) fn store_error(path: impl ToString, action: &'static str, failure: Failure) -> StoreError {
    let path = path.to_string();
    match failure {
        Failure::Full { .. } => {
            StoreError::NoSpace { path, source: io::Error::new(io::ErrorKind::StorageFull, failure) }
        }
        Failure::Unreachable { attempts, .. }
        | Failure::Server { attempts, .. }
        | Failure::Throttled { attempts, .. } => {
            StoreError::Unavailable { path, attempts, reason: failure.to_string() }
        }
        Failure::Denied { .. } => StoreError::Denied { path, reason: failure.to_string() },
        Failure::BadAnswer { .. } => {
            StoreError::Io { path, action, source: io::Error::new(io::ErrorKind::InvalidData, failure) }
        }
        Failure::Refused { .. } => StoreError::Io { path, action, source: io::Error::other(failure) },
    }
}

/// The tags of an error, outermost first: `path/conflict/file`.
pub(super) fn tags(error: &Value) -> String {
    let mut tags = Vec::new();
    let mut at = error;
    while let Some(tag) = at.as_str().or_else(|| at.get(".tag")?.as_str()) {
        tags.push(tag);
        // A struct in a union lies flat beside the tag; the one of uploads calls its cause `reason`.
        match at.get(tag).or_else(|| at.get("reason")) {
            Some(inner) => at = inner,
            None => break,
        }
    }
    tags.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_through_unions_and_structs() {
        let check = |error: Value, expected: &str| assert_eq!(tags(&error), expected);
        let conflict = serde_json::json!({".tag": "conflict", "conflict": {".tag": "file"}});
        check(
            serde_json::json!({".tag": "path", "reason": conflict, "upload_session_id": "x"}),
            "path/conflict/file",
        );
        check(serde_json::json!({".tag": "path", "path": conflict}), "path/conflict/file");
        check(
            serde_json::json!({".tag": "lookup_failed", "lookup_failed": "not_found"}),
            "lookup_failed/not_found",
        );
        check(serde_json::json!("reset"), "reset");
        check(serde_json::json!({}), "");
    }

    #[test]
    fn a_full_account_is_no_space_in_every_form() {
        for tags in ["path/insufficient_space", "path/team_folder_insufficient_space"] {
            let error = store_error("a", "write it", Failure::refused("files/upload", tags));
            assert_eq!(error.code(), "store_no_space");
        }
    }
}
