//! Paths inside a store: relative, plain ASCII, the same on every file system and object store.
//! A text that could leave the store cannot become a [`StorePath`].

use std::fmt;
use std::str::FromStr;

use crate::error::{Result, StoreError};

/// A path inside a store such as `models/BTCUSDT/baseline_20250101/model.bin`.
///
/// Invariant: one or more segments joined by `/`; a segment is 1 to 120 of `A-Z a-z 0-9 . _ - + =`,
/// does not start with a dot (those names belong to the store's own locks and temporaries, and `..`
/// leaves the store) and does not end with one (Windows and Dropbox drop it).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StorePath(String);

const SEGMENT_LEN_MAX: usize = 120;
const PATH_LEN_MAX: usize = 512;

impl StorePath {
    /// Reads a path.
    ///
    /// # Errors
    /// [`StoreError::InvalidPath`] when the text breaks a rule of the invariant.
    pub fn new(text: impl Into<String>) -> Result<StorePath> {
        let text = text.into();
        let broken = if text.len() > PATH_LEN_MAX {
            Some("expected at most 512 characters")
        } else {
            text.split('/').find_map(broken_rule)
        };
        match broken {
            Some(reason) => Err(StoreError::InvalidPath { text, reason }),
            None => Ok(StorePath(text)),
        }
    }

    /// This path with one or more segments added.
    ///
    /// # Errors
    /// [`StoreError::InvalidPath`] when the result is not a path inside the store.
    pub fn join(&self, more: &str) -> Result<StorePath> {
        StorePath::new(format!("{}/{more}", self.0))
    }

    /// The text, `/`-separated.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The segments, outermost first.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// The last segment.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// Whether this path lies strictly below `folder`; everything lies below `None`, the store itself.
    pub fn is_below(&self, folder: Option<&StorePath>) -> bool {
        folder.is_none_or(|f| self.0.strip_prefix(&f.0).is_some_and(|rest| rest.starts_with('/')))
    }
}

fn broken_rule(segment: &str) -> Option<&'static str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'+' | b'=');
    if segment.is_empty() {
        Some("a segment is empty; expected a relative path without doubled, leading or trailing slashes")
    } else if segment.starts_with('.') || segment.ends_with('.') {
        Some("a segment starts or ends with a dot")
    } else if segment.len() > SEGMENT_LEN_MAX {
        Some("a segment is longer than 120 characters")
    } else if !segment.bytes().all(plain) {
        Some("expected only ASCII letters, digits and . _ - + = between slashes")
    } else {
        None
    }
}

impl fmt::Display for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for StorePath {
    type Err = StoreError;
    fn from_str(text: &str) -> Result<StorePath> {
        StorePath::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_could_leave_the_store_are_refused() {
        for text in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../x",
            "a/../b",
            "a/./b",
            "a//b",
            "a/",
            ".tmp",
            "a/.lock",
            "a\\b",
            "C:/x",
            "a\0b",
            "a b",
            "é",
            "a/b.",
            "~/x\n",
        ] {
            assert_eq!(StorePath::new(text).unwrap_err().code(), "store_invalid_path", "{text:?}");
        }
        assert!(StorePath::new("a".repeat(121)).is_err());
    }

    #[test]
    fn the_paths_of_the_contract_are_accepted() {
        for text in ["champions/BTCUSDT.P.json", "models/BTCUSDT/baseline_20250101.2/model.bin"] {
            assert_eq!(StorePath::new(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_folder_does_not_contain_its_namesakes() {
        let path = |text: &str| StorePath::new(text).unwrap();
        assert!(path("a/b/c").is_below(Some(&path("a/b"))));
        assert!(!path("a/bc").is_below(Some(&path("a/b"))));
        assert!(!path("a/b").is_below(Some(&path("a/b"))));
        assert!(path("a").is_below(None));
    }
}
