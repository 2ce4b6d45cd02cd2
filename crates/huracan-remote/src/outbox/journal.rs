//! The journal: what both sides were last known to agree on, kept among the local store's own files.
//!
//! It is a cache of knowledge, never the truth: lost or broken it is made again by comparing contents,
//! and an entry that was not written before a crash costs one comparison.

use super::error::{OutboxError, Result};
use huracan_store::{LocalStore, Revision, StoreError, StorePath};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

const SCHEMA: &str = "outbox-journal/1";

/// One file both sides agreed on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Synced {
    /// SHA-256 of its bytes.
    pub sha256: String,
    /// Their number.
    pub size_bytes: u64,
    /// The state it had in the remote, as the remote names it.
    pub revision: String,
}

#[derive(Serialize, Deserialize)]
struct Document {
    schema: String,
    remote: String,
    synced: BTreeMap<String, Synced>,
}

/// What both sides were last known to agree on.
#[derive(Debug)]
pub(crate) struct Journal {
    file: PathBuf,
    remote: String,
    synced: BTreeMap<StorePath, Synced>,
    is_new: bool,
    is_written: bool,
}

impl Journal {
    /// The journal of a folder and its remote; empty and [`Journal::is_new`] when there is none or it
    /// cannot be read.
    ///
    /// # Errors
    /// `OtherRemote` when the folder belongs to another one, `Store` when the file cannot be opened.
    pub(crate) fn open(local: &LocalStore, remote: &str) -> Result<Journal> {
        let file = local.root().join(".huracan").join("outbox.json");
        let mut journal = Journal {
            file,
            remote: remote.to_owned(),
            synced: BTreeMap::new(),
            is_new: true,
            is_written: false,
        };
        let bytes = match fs::read(&journal.file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(journal),
            Err(source) => return Err(failed(&journal.file, "read it", source).into()),
        };
        match serde_json::from_slice::<Document>(&bytes) {
            Ok(document) if document.schema == SCHEMA && document.remote != remote => {
                Err(OutboxError::OtherRemote {
                    folder: local.root().display().to_string(),
                    found: document.remote,
                    expected: remote.to_owned(),
                })
            }
            Ok(document) if document.schema == SCHEMA => {
                let path = |(path, synced)| StorePath::new(path).ok().map(|path| (path, synced));
                journal.synced = document.synced.into_iter().filter_map(path).collect();
                (journal.is_new, journal.is_written) = (false, true);
                Ok(journal)
            }
            _ => {
                tracing::warn!(file = %journal.file.display(), "the outbox's journal is not readable; comparing contents instead");
                Ok(journal)
            }
        }
    }

    /// Whether there was no usable journal.
    pub(crate) fn is_new(&self) -> bool {
        self.is_new
    }

    /// What is known of a file.
    pub(crate) fn get(&self, path: &StorePath) -> Option<&Synced> {
        self.synced.get(path)
    }

    /// Every file that is known, sorted.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &StorePath> {
        self.synced.keys()
    }

    /// Both sides have these bytes.
    pub(crate) fn note(&mut self, path: &StorePath, bytes: &[u8], revision: &Revision) {
        let synced = Synced {
            sha256: huracan_store::sha256_hex(bytes),
            size_bytes: bytes.len() as u64,
            revision: revision.to_string(),
        };
        if self.synced.get(path) != Some(&synced) {
            self.synced.insert(path.clone(), synced);
            self.is_written = false;
        }
    }

    /// Nothing is known of this file any more.
    pub(crate) fn forget(&mut self, path: &StorePath) {
        self.is_written &= self.synced.remove(path).is_none();
    }

    /// Writes the journal so that a crash leaves the old one or the new one.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn save(&mut self) -> Result<()> {
        if self.is_written {
            return Ok(());
        }
        let synced = self.synced.iter().map(|(path, synced)| (path.to_string(), synced.clone())).collect();
        let document = Document { schema: SCHEMA.to_owned(), remote: self.remote.clone(), synced };
        let bytes = serde_json::to_vec(&document)
            .map_err(|e| failed(&self.file, "write it", std::io::Error::other(e)))?;
        write_whole(&self.file, &bytes).map_err(|source| failed(&self.file, "write it", source))?;
        (self.is_new, self.is_written) = (false, true);
        Ok(())
    }
}

fn write_whole(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let temporary = file.with_extension("json.new");
    let mut opened = File::create(&temporary)?;
    opened.write_all(bytes)?;
    opened.sync_all()?;
    fs::rename(&temporary, file)?;
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    Ok(())
}

fn failed(file: &Path, action: &'static str, source: std::io::Error) -> StoreError {
    StoreError::Io { path: file.display().to_string(), action, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_there_again_and_belongs_to_one_remote() {
        let folder = tempfile::tempdir().unwrap();
        let local = LocalStore::create(folder.path()).unwrap();
        let path = StorePath::new("champions/BTCUSDT.json").unwrap();
        let mut journal = Journal::open(&local, "s3://a").unwrap();
        assert!(journal.is_new());
        journal.note(&path, b"x", &Revision::new("7"));
        journal.save().unwrap();
        let again = Journal::open(&local, "s3://a").unwrap();
        assert_eq!((again.is_new(), again.get(&path)), (false, journal.get(&path)));
        let other = Journal::open(&local, "s3://b").unwrap_err();
        assert_eq!(other.code(), "store_other_remote");
        assert!(local_is_empty(&local), "the journal is no object of the store");
    }

    #[test]
    fn a_broken_journal_is_as_good_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let local = LocalStore::create(folder.path()).unwrap();
        fs::create_dir_all(folder.path().join(".huracan")).unwrap();
        for text in ["", "{", "{\"schema\":\"outbox-journal/2\",\"remote\":\"x\",\"synced\":{}}"] {
            fs::write(folder.path().join(".huracan/outbox.json"), text).unwrap();
            assert!(Journal::open(&local, "s3://a").unwrap().is_new(), "{text}");
        }
    }

    fn local_is_empty(local: &LocalStore) -> bool {
        huracan_store::Store::list(local, None).unwrap().is_empty()
    }
}
