//! A store that may be looked at and not touched: for `serve`, `why`, `verify`.

use crate::error::{Result, StoreError};
use crate::path::StorePath;
use crate::run_lock::{RunLock, RunOwner};
use crate::store::{Entry, Object, PutMode, Revision, Store, Usage};

/// Passes reads through and refuses writes.
#[derive(Debug)]
pub struct ReadOnly<S>(pub S);

fn refuse(path: &str) -> StoreError {
    StoreError::ReadOnly { path: path.to_owned(), source: None }
}

impl<S: Store> Store for ReadOnly<S> {
    fn get(&self, path: &StorePath) -> Result<Option<Object>> {
        self.0.get(path)
    }

    fn put(&self, path: &StorePath, _bytes: &[u8], _mode: PutMode) -> Result<Revision> {
        Err(refuse(path.as_str()))
    }

    fn list(&self, folder: Option<&StorePath>) -> Result<Vec<Entry>> {
        self.0.list(folder)
    }

    fn delete(&self, path: &StorePath) -> Result<()> {
        Err(refuse(path.as_str()))
    }

    fn lock_run(&self, _owner: &RunOwner) -> Result<RunLock> {
        Err(refuse("the run lock"))
    }

    fn usage(&self) -> Option<Usage> {
        self.0.usage()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStore;

    #[test]
    fn reads_pass_and_writes_are_refused() {
        let store = MemoryStore::default();
        let path = StorePath::new("a/b").unwrap();
        store.put(&path, b"x", PutMode::Create).unwrap();
        let locked = ReadOnly(store);
        assert_eq!(locked.get(&path).unwrap().unwrap().bytes, b"x");
        assert_eq!(locked.list(None).unwrap().len(), 1);
        assert_eq!(locked.put(&path, b"y", PutMode::Overwrite).unwrap_err().code(), "store_read_only");
        assert_eq!(locked.delete(&path).unwrap_err().code(), "store_read_only");
    }
}
