//! What a folder holds, byte for byte.

use std::collections::BTreeMap;
use std::path::Path;

/// Every file of a store by its path, but for those in `left_out` folders.
pub fn files(store: &Path, left_out: &[&str]) -> BTreeMap<String, Vec<u8>> {
    fn walk(root: &Path, folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, found);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(store, store, &mut found);
    found.retain(|name, _| {
        !name.starts_with('.') && !left_out.iter().any(|folder| name.starts_with(&format!("{folder}/")))
    });
    found
}

/// What carries the wall clock.
pub const CLOCKED: [&str; 2] = ["runs", "heartbeats"];
