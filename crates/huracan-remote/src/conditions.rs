//! Whether a server keeps the one promise everything rests on. Older servers that speak S3 ignore the
//! conditions of a write: there two runs would both believe that they moved a pointer.

use huracan_store::{PutMode, Result, Store, StoreError, StorePath, unique};

/// Tries the conditions of writes on an object of its own, which it removes again; six requests.
///
/// # Errors
/// `Refused` where the server carries out a write whose condition does not hold; otherwise as
/// [`Store::put`].
pub fn check_conditions(store: &dyn Store) -> Result<()> {
    let probe = StorePath::new(format!("locks/probe-{}", unique()))?;
    let first = store.put(&probe, b"first", PutMode::Create)?;
    let kept = refuses(store, &probe, PutMode::Create, "a create over an object that is there")
        .and_then(|()| store.put(&probe, b"second", PutMode::IfRevision(first.clone())))
        .and_then(|_| refuses(store, &probe, PutMode::IfRevision(first), "a swap from a state that is gone"));
    let removed = store.delete(&probe);
    kept.and(removed)
}

fn refuses(store: &dyn Store, probe: &StorePath, mode: PutMode, what: &str) -> Result<()> {
    match store.put(probe, b"third", mode) {
        Err(StoreError::AlreadyExists { .. } | StoreError::Stale { .. }) => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(StoreError::Refused {
            what: "a store on this server".to_owned(),
            reason: format!("it carried out {what}; expected a server that keeps the conditions of writes"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use huracan_store::{Entry, MemoryStore, Object, Revision, RunLock, RunOwner};

    use super::*;

    /// A server that ignores one of the conditions.
    struct Careless {
        objects: MemoryStore,
        ignores_create: bool,
    }

    impl Store for Careless {
        fn get(&self, path: &StorePath) -> Result<Option<Object>> {
            self.objects.get(path)
        }
        fn put(&self, path: &StorePath, bytes: &[u8], mode: PutMode) -> Result<Revision> {
            let ignored = (mode == PutMode::Create) == self.ignores_create;
            self.objects.put(path, bytes, if ignored { PutMode::Overwrite } else { mode })
        }
        fn list(&self, folder: Option<&StorePath>) -> Result<Vec<Entry>> {
            self.objects.list(folder)
        }
        fn delete(&self, path: &StorePath) -> Result<()> {
            self.objects.delete(path)
        }
        fn lock_run(&self, owner: &RunOwner) -> Result<RunLock> {
            self.objects.lock_run(owner)
        }
    }

    #[test]
    fn a_server_that_ignores_conditions_is_found_out() {
        for (ignores_create, what) in [(true, "a create over"), (false, "a swap from")] {
            let store = Careless { objects: MemoryStore::default(), ignores_create };
            let error = check_conditions(&store).unwrap_err();
            assert!(error.to_string().contains(what), "{error}");
            assert!(store.list(None).unwrap().is_empty());
        }
    }

    #[test]
    fn a_server_that_keeps_them_passes_and_is_left_as_it_was() {
        let store = MemoryStore::default();
        check_conditions(&store).unwrap();
        assert!(store.list(None).unwrap().is_empty());
    }
}
