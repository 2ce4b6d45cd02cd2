//! What Dropbox writes about files and folders, as far as we read it.

use serde::Deserialize;

/// A file as it is.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct FileMetadata {
    pub(super) path_lower: Option<String>,
    pub(super) path_display: Option<String>,
    pub(super) rev: String,
    pub(super) size: u64,
    pub(super) content_hash: Option<String>,
    pub(super) server_modified: String,
}

/// A folder, or something that is gone.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct NameMetadata {
    pub(super) name: String,
    pub(super) path_lower: Option<String>,
    pub(super) path_display: Option<String>,
}

/// A line of a listing.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = ".tag", rename_all = "snake_case")]
pub(super) enum Metadata {
    File(FileMetadata),
    Folder(NameMetadata),
    Deleted(NameMetadata),
}

/// A page of a listing.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    pub(super) entries: Vec<Metadata>,
    pub(super) cursor: String,
    pub(super) has_more: bool,
}

/// A session that content was put into.
#[derive(Debug, Deserialize)]
pub(super) struct Session {
    pub(super) session_id: String,
}

/// What became of the entries of a batch, in their order.
#[derive(Debug, Deserialize)]
pub(super) struct BatchResult {
    pub(super) entries: Vec<serde_json::Value>,
}
