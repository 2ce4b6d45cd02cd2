//! Listing: everything below a folder, or what changed since a cursor.

use std::collections::BTreeMap;
use std::time::Instant;

use huracan_store::StorePath;
use serde_json::{Value, json};

use super::error::{Failure, store_error};
use super::index::Known;
use super::transport::Style;
use super::wire::{FileMetadata, Metadata, Page};
use super::{Account, Result, known};

/// The most entries Dropbox puts on a page.
const PAGE_ENTRIES: u32 = 2000;
/// Dropbox may ask for a listing to be begun anew; if it does so again and again it is not our day.
const RESTARTS_MAX: usize = 3;
const LIST: &str = "files/list_folder";
const CONTINUE: &str = "files/list_folder/continue";
const ACTION: &str = "list it";

/// An object as listed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// Its content hash, as of [`content_hash`](super::content_hash).
    pub content_hash: String,
    /// Its revision.
    pub rev: String,
    /// Its length in bytes.
    pub size_bytes: u64,
}

/// Something that happened below the store's folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// An object is there, new or with other bytes than before.
    Written {
        /// Where.
        path: StorePath,
        /// What.
        listed: Listed,
    },
    /// An object is gone, or a folder with all that was below it.
    Removed {
        /// Of the object or the folder.
        path: StorePath,
    },
}

/// What happened since a cursor, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Changes {
    /// What happened. After a restart: everything that is there.
    pub changes: Vec<Change>,
    /// To be handed in the next time; nothing as long as the store's folder does not exist.
    pub cursor: Option<String>,
    /// The listing began anew: what is not among the changes is gone.
    pub restarted: bool,
}

/// The pages of one listing, put together.
struct Listing {
    entries: Vec<Metadata>,
    /// Nothing when there is no such folder.
    cursor: Option<String>,
    restarted: bool,
    asked: Instant,
}

impl Account {
    /// Every object below `folder` by path.
    pub(super) async fn list(&self, folder: Option<&StorePath>) -> Result<BTreeMap<StorePath, Listed>> {
        let at = folder.map_or(self.root.clone(), |folder| self.full(folder));
        let listing =
            self.pages(&at, None).await.map_err(|failure| store_error(named(&at), ACTION, failure))?;
        // Of a display path only the last part is sure to be written as it was made: folders tell their
        // own names.
        let mut folders: BTreeMap<String, String> = BTreeMap::new();
        let mut files: BTreeMap<String, FileMetadata> = BTreeMap::new();
        for entry in listing.entries {
            match entry {
                Metadata::Folder(found) => {
                    if let Some(lower) = found.path_lower {
                        folders.insert(lower, found.name);
                    }
                }
                Metadata::File(found) => {
                    if let Some(lower) = found.path_lower.clone() {
                        files.insert(lower, found);
                    }
                }
                // Removed while the pages were read.
                Metadata::Deleted(found) => {
                    let lower = found.path_lower.unwrap_or_default();
                    let below = format!("{lower}/");
                    files.retain(|path, _| *path != lower && !path.starts_with(&below));
                }
            }
        }
        let mut listed = BTreeMap::new();
        let mut seen: Vec<Known> = Vec::new();
        for (lower, found) in files {
            let Some(path) = self.named_by_folders(&lower, &found, folder, &folders) else {
                tracing::debug!(lower, "not a name a store would give; left out of the listing");
                continue;
            };
            if !path.is_below(folder) {
                tracing::warn!(%path, "differs in case from the folder listed; left out of the listing");
                continue;
            }
            seen.extend(known(&path, &found));
            listed.insert(path, line(found));
        }
        self.index.saw_all(folder, seen, listing.asked);
        Ok(listed)
    }

    /// What changed since `cursor`; everything, without one.
    pub(super) async fn changes(&self, cursor: Option<&str>) -> Result<Changes> {
        let failed = |failure| store_error(named(&self.root), ACTION, failure);
        let listing = self.pages(&self.root, cursor).await.map_err(failed)?;
        let mut changes = Vec::new();
        for entry in listing.entries {
            let (display, file) = match entry {
                Metadata::File(found) => (found.path_display.clone(), Some(found)),
                Metadata::Deleted(found) => (found.path_display, None),
                Metadata::Folder(_) => continue,
            };
            let below_root = display.as_deref().and_then(|display| self.below_root(display));
            let Some(path) = below_root.and_then(|path| StorePath::new(path).ok()) else { continue };
            changes.push(match file {
                Some(found) => Change::Written { path, listed: line(found) },
                None => Change::Removed { path },
            });
        }
        Ok(Changes { changes, cursor: listing.cursor, restarted: listing.restarted })
    }

    /// All pages from a cursor on, or of a whole folder.
    async fn pages(&self, at: &str, cursor: Option<&str>) -> std::result::Result<Listing, Failure> {
        let asked = Instant::now();
        let from = cursor.map(str::to_owned);
        let mut listing = Listing { entries: Vec::new(), cursor: from, restarted: cursor.is_none(), asked };
        let mut restarts = 0;
        loop {
            let (route, argument) = match &listing.cursor {
                Some(cursor) => (CONTINUE, json!({ "cursor": cursor })),
                None => (LIST, list_argument(at)),
            };
            let reply = self.transport.call(route, &argument, Style::Rpc).await?;
            match &reply.outcome {
                Err(tags) if tags == "path/not_found" || tags == "path/not_folder" => {
                    return Ok(Listing { entries: Vec::new(), cursor: None, restarted: true, asked });
                }
                Err(tags) if tags == "reset" && restarts < RESTARTS_MAX => {
                    restarts += 1;
                    let asked = Instant::now();
                    listing = Listing { entries: Vec::new(), cursor: None, restarted: true, asked };
                    continue;
                }
                _ => {}
            }
            let page: Page = reply.read(route)?;
            listing.entries.extend(page.entries);
            listing.cursor = Some(page.cursor);
            if !page.has_more {
                return Ok(listing);
            }
        }
    }

    /// The part of a full path that is ours; the root's own case does not matter.
    fn below_root(&self, display: &str) -> Option<String> {
        let parts: Vec<&str> = display.strip_prefix('/')?.split('/').skip(self.root_depth()).collect();
        Some(parts.join("/"))
    }

    /// The path of a listed file: above the folder listed as asked for, from there on as every folder
    /// and the file call themselves.
    fn named_by_folders(
        &self,
        lower: &str,
        found: &FileMetadata,
        folder: Option<&StorePath>,
        folders: &BTreeMap<String, String>,
    ) -> Option<StorePath> {
        let display = self.below_root(found.path_display.as_deref()?)?;
        let asked: Vec<&str> = folder.map(|folder| folder.segments().collect()).unwrap_or_default();
        let lower: Vec<&str> = lower.strip_prefix('/')?.split('/').collect();
        let shown: Vec<&str> = display.split('/').collect();
        let depth = self.root_depth();
        let mut parts = Vec::with_capacity(shown.len());
        for (i, &part) in shown.iter().enumerate() {
            let above = i + 1 < asked.len();
            let itself = i + 1 == shown.len();
            let folder = format!("/{}", lower.get(..=depth + i)?.join("/"));
            let own = folders.get(&folder).map(String::as_str).filter(|_| !itself);
            parts.push(if above { asked[i] } else { own.unwrap_or(part) });
        }
        StorePath::new(parts.join("/")).ok()
    }
}

fn list_argument(at: &str) -> Value {
    json!({ "path": at, "recursive": true, "limit": PAGE_ENTRIES })
}

fn named(at: &str) -> &str {
    if at.is_empty() { "the app's folder" } else { at }
}

fn line(found: FileMetadata) -> Listed {
    Listed { content_hash: found.content_hash.unwrap_or_default(), rev: found.rev, size_bytes: found.size }
}
