//! The small market's folder, and a store trained on it once, for all tests that look at what a run
//! leaves behind.

pub use crate::contents::{CLOCKED, files};
use crate::run::{Ran, huracan_in};
pub use crate::small_market::{CONFIG, spec, write_market};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A folder below the build's own place for test files, empty.
pub fn fresh(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// The folder of candles, written once.
pub fn candles() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = fresh("market");
        write_market(&folder.join("bars"), None);
        std::fs::write(folder.join("test.yaml"), CONFIG).unwrap();
        folder
    })
}

/// `huracan train` over a folder with the tests' configuration.
pub fn train(folder: &Path, bars: &str, store: &str, more: &[&str]) -> Ran {
    let fixed = ["train", "--candles", bars, "--symbols", "all", "--store", store];
    let config = candles().join("test.yaml");
    let config = ["--config", config.to_str().unwrap()];
    huracan_in(folder, &[&fixed[..], &config[..], more].concat(), &[])
}

/// The store of one undisturbed run over [`candles`].
pub fn trained() -> &'static Path {
    static STORE: OnceLock<PathBuf> = OnceLock::new();
    STORE.get_or_init(|| {
        let ran = train(candles(), "bars", "store", &[]);
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
        candles().join("store")
    })
}

/// Panics with the names of the files that differ.
pub fn assert_same(found: &BTreeMap<String, Vec<u8>>, expected: &BTreeMap<String, Vec<u8>>) {
    let names = found.keys().chain(expected.keys());
    let differ: Vec<&String> = names.filter(|name| found.get(*name) != expected.get(*name)).collect();
    assert!(differ.is_empty(), "{differ:?}");
    assert!(found.len() > 20, "only {} files", found.len());
}
