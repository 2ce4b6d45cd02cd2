//! Faults from outside: kills, full, read-only and failing disks, torn files, signals. After each the
//! next run ends in the bytes of an undisturbed one, or refuses with one sentence.

mod disks;
mod failing_store;
mod jobs;
mod kills;
mod signals;
mod torn;

use crate::contents::{CLOCKED, files};
use crate::kill_loop::process::Bench;
use crate::market::candles;
use std::collections::BTreeMap;
use std::path::Path;

fn bench() -> Bench {
    let program = env!("CARGO_BIN_EXE_huracan").into();
    Bench {
        program,
        first: Vec::new(),
        market: candles().to_owned(),
        workers: None,
        until: None,
        environment: Vec::new(),
    }
}

/// What a store holds without what carries the clock.
fn published(store: &Path) -> BTreeMap<String, Vec<u8>> {
    files(store, &CLOCKED)
}

/// Copies a store.
fn copy(from: &Path, to: &Path) {
    for (name, bytes) in files(from, &[]) {
        let path = to.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}
