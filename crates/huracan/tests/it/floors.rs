//! The walls of the house: which crate may import which, and what the pure core never touches.
//!
//! The table stands in ARCHITECTURE.md, for people; this test reads it there, so the two cannot
//! differ.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

/// What would let the core read a clock, a file, a socket or a wire format.
const NOT_IN_THE_CORE: [&str; 17] = [
    "anyhow",
    "axum",
    "clap",
    "csv",
    "ctrlc",
    "hyper",
    "indicatif",
    "parquet",
    "reqwest",
    "rustls",
    "safetensors",
    "serde-saphyr",
    "serde_json",
    "sqlx",
    "tokio",
    "tracing",
    "zip",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("crates/huracan").to_owned()
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// `crate | may import` rows: those whose first cell is a crate of ours.
fn floors(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut table = BTreeMap::new();
    for line in text.lines().map(str::trim).filter(|line| line.starts_with('|')) {
        let cells: Vec<String> =
            line.trim_matches('|').split('|').map(|cell| cell.replace('`', "")).collect();
        let [name, imports] = cells.as_slice() else { continue };
        let name = name.trim();
        if name != "huracan" && !name.starts_with("huracan-") {
            continue;
        }
        let ours = imports.split(',').map(str::trim).filter(|import| import.starts_with("huracan"));
        let before = table.insert(name.to_owned(), ours.map(str::to_owned).collect());
        assert!(before.is_none(), "{name} is in the table twice");
    }
    table
}

/// What each crate's manifest lists of ours, for building, testing and running.
fn manifests() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = cargo(&["metadata", "--no-deps", "--format-version", "1", "--offline"]);
    let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
    let own = |package: &serde_json::Value| {
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        let names = dependencies.filter_map(|dependency| dependency["name"].as_str());
        let ours = names.filter(|name| name.starts_with("huracan")).map(str::to_owned);
        (package["name"].as_str().unwrap().to_owned(), ours.collect())
    };
    metadata["packages"].as_array().unwrap().iter().map(own).collect()
}

#[test]
fn no_crate_imports_what_the_table_of_floors_does_not_allow() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md is missing");
    let (allowed, found) = (floors(&text), manifests());
    assert!(!allowed.is_empty(), "ARCHITECTURE.md has no table of floors (| crate | may import |)");
    let names = |table: &BTreeMap<String, BTreeSet<String>>| table.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&allowed), names(&found), "the table of floors and the workspace list different crates");
    for (name, imports) in found {
        let above: Vec<_> = imports.difference(&allowed[&name]).collect();
        assert!(
            above.is_empty(),
            "{name} imports {above:?}; the table of floors in ARCHITECTURE.md forbids it"
        );
    }
}

#[test]
fn the_table_itself_has_no_circle() {
    let mut left = floors(&std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap());
    while let Some(name) = left.iter().find(|(_, imports)| imports.is_empty()).map(|(name, _)| name.clone()) {
        left.remove(&name);
        for imports in left.values_mut() {
            imports.remove(&name);
        }
    }
    assert!(left.is_empty(), "these crates stand on each other: {left:?}");
}

#[test]
fn the_core_stays_pure() {
    let tree = cargo(&["tree", "-p", "huracan-core", "-e", "normal", "--offline", "--prefix", "none"]);
    let names: BTreeSet<&str> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(names.contains("huracan-core"), "cargo tree says nothing about the core: {tree}");
    for forbidden in NOT_IN_THE_CORE {
        assert!(!names.contains(forbidden), "huracan-core depends on {forbidden}");
    }
    assert!(!names.iter().any(|name| name.starts_with("huracan-") && *name != "huracan-core"));
}

#[test]
fn the_reader_of_the_table_sees_rows_and_only_rows() {
    let text = "| crate | may import |\n|---|---|\n| `huracan-core` | nothing of ours |\n| huracan-train | huracan-core, `huracan-store` |\n| other | x |\n";
    let table = floors(text);
    assert_eq!(table.len(), 2);
    assert!(table["huracan-core"].is_empty());
    assert_eq!(table["huracan-train"], ["huracan-core", "huracan-store"].map(str::to_owned).into());
}
