//! Help, exit codes, and the two channels.

use crate::run::{huracan, huracan_in};
use serde_json::json;

const COMMANDS: [&[&str]; 29] = [
    &["demo"],
    &["train"],
    &["roster"],
    &["why"],
    &["champion"],
    &["verify"],
    &["export"],
    &["status"],
    &["costs"],
    &["failures"],
    &["work"],
    &["jobs", "list"],
    &["jobs", "show"],
    &["jobs", "retry"],
    &["jobs", "cancel"],
    &["store", "ls"],
    &["store", "sync"],
    &["store", "check"],
    &["store", "gc"],
    &["data"],
    &["data", "check"],
    &["data", "import"],
    &["data", "fetch"],
    &["features"],
    &["lookahead"],
    &["config", "schema"],
    &["config", "check"],
    &["config", "show"],
    &["doctor"],
];

#[test]
fn every_command_explains_itself_on_standard_output() {
    for command in COMMANDS {
        let ran = huracan(&[command, &["--help"]].concat());
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{command:?}");
        assert!(ran.out.contains("Usage: huracan") && ran.out.contains("--json"), "{command:?}: {}", ran.out);
    }
}

#[test]
fn no_command_is_missing_from_the_list_above() {
    fn leaves(command: &clap::Command, path: &[String], found: &mut Vec<Vec<String>>) {
        for child in command.get_subcommands() {
            let path = [path, &[child.get_name().to_owned()]].concat();
            leaves(child, &path, found);
            if !child.has_subcommands() {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    leaves(&huracan::cli::definition(), &[], &mut found);
    for path in found.iter().filter(|path| *path != &["exit-codes"]) {
        assert!(COMMANDS.iter().any(|known| known == path), "{path:?} is not tested");
    }
}

#[test]
fn the_top_help_teaches_with_examples_and_exit_codes() {
    let ran = huracan(&["--help"]);
    for part in
        ["huracan demo", "huracan train --candles", "HURACAN__ENGINE__TARGET_SYMBOLS", "130  interrupted"]
    {
        assert!(ran.out.contains(part), "{part} is not in\n{}", ran.out);
    }
    assert!(huracan(&["help", "exit-codes"]).out.contains("130  interrupted"));
    let codes = huracan(&["exit-codes"]).out;
    for line in ["130  interrupted", " 70  a job over its caps or cancelled did not stop"] {
        assert!(codes.contains(line), "{line} is not in\n{codes}");
    }
}

#[test]
fn a_wrong_command_line_ends_with_two() {
    let check = |arguments: &[&str], part: &str| {
        let ran = huracan(arguments);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{arguments:?}");
        assert!(ran.err.contains(part), "{arguments:?}: {}", ran.err);
    };
    check(&[], "Usage: huracan");
    check(&["trian"], "train");
    check(&["train"], "--candles");
    check(&["train", "--candles", "c", "--bar", "7m"], "\"7m\" is not a bar length");
    check(&["train", "--candles", "c", "--until", "yesterday"], "\"yesterday\" is not a time");
    check(&["train", "--candles", "c", "--symbols", "top:0"], "chooses no coins");
    check(&["train", "--candles", "c", "--symbols", "btcusdt"], "chooses no coins");
    check(&["train", "--candles", "c", "--symbols", "@missing.txt"], "error[symbols_file]");
    check(
        &["train", "--candles", "c", "--workers", "0"],
        "--workers: engine.parallel_tasks is 0, expected 1 to 1024",
    );
    check(&["why", "../../etc/passwd"], "error[invalid_symbol]");
    check(&["why", "btcusdt"], "help: did you mean BTCUSDT?");
    check(&["data", "fetch", "--symbols", "all", "--from", "2024-01-01"], "error[symbols_by_name]");
    check(
        &["data", "fetch", "--symbols", "BTCUSDT", "--from", "2024-01-01", "--until", "2023-01-01"],
        "error[empty_span]",
    );
}

#[test]
fn with_json_errors_are_one_document_on_standard_output() {
    let usage = huracan(&["--json", "trian"]);
    assert_eq!((usage.code, usage.err.as_str()), (2, ""));
    assert_eq!(usage.json()["error"]["code"], "usage");

    let symbol = huracan(&["why", "btcusdt", "--json"]);
    assert_eq!((symbol.code, symbol.err.as_str()), (2, ""));
    let error = &symbol.json()["error"];
    assert_eq!((&error["code"], &error["exit_code"]), (&json!("invalid_symbol"), &json!(2)));
    assert_eq!(error["help"], "did you mean BTCUSDT?");
}

#[test]
fn the_doctor_finds_a_good_machine_good_and_a_bad_store_bad() {
    let folder = tempfile::tempdir().unwrap();
    let good = huracan_in(folder.path(), &["doctor", "--json"], &[]);
    assert_eq!(good.json()["schema"], "huracan-cli-doctor/1");
    let store = |ran: &crate::run::Ran| {
        let findings = ran.json()["findings"].as_array().unwrap().clone();
        findings.into_iter().find(|finding| finding["what"] == "store").unwrap()["ok"].clone()
    };
    assert_eq!(store(&good), true);
    std::fs::write(folder.path().join("file"), "").unwrap();
    let bad = huracan_in(folder.path(), &["doctor", "--json"], &[("HURACAN_STORE", "file/store")]);
    assert_eq!((store(&bad), bad.code), (json!(false), 5));
}

#[test]
fn the_table_of_features_is_listed_with_sources() {
    let rows = huracan(&["features", "--json"]).json()["features"].as_array().unwrap().clone();
    assert!(rows.len() >= 90, "{} features", rows.len());
    let told = |row: &serde_json::Value| ["name", "family", "unit", "what"].iter().all(|key| row[*key] != "");
    assert!(rows.iter().all(told));
    assert_eq!(huracan(&["features"]).out.lines().count(), rows.len() + 3);
}

#[test]
fn a_plan_that_cannot_be_fetched_is_a_usage_error() {
    let span = ["--from", "2025-01-01", "--until", "2025-01-02", "--archive-url", "ftp://x"];
    let command = ["data", "fetch", "--symbols", "BTCUSDT", "--json"];
    let bad_url = huracan(&[&command[..], &span[..]].concat());
    assert_eq!((bad_url.code, &bad_url.json()["error"]["code"]), (2, &json!("bad_plan")));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    use std::process::{Command, Stdio};
    let mut child = Command::new(env!("CARGO_BIN_EXE_huracan"))
        .args(["config", "schema"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
}

#[test]
fn lookahead_looks_at_what_it_is_asked_for_and_refuses_other_names() {
    let ran = huracan(&["lookahead", "--coins", "2", "--cuts", "1", "--features", "market,rsi_14", "--json"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let found = ran.json();
    assert_eq!((&found["ok"], &found["lookahead"]["coins"]), (&json!(true), &json!(2)));
    let families = found["lookahead"]["families"].as_array().unwrap();
    assert_eq!(families.len(), 2);
    assert!(families.iter().all(|f| f["values"].as_u64().unwrap() > 1_000 && f["truncated"] == 0));
    let ran = huracan(&["lookahead", "--features", "nonsense"]);
    assert!(ran.code == 2 && ran.err.contains("unknown_feature"), "{}", ran.err);
}
