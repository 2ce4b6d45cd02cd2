//! The configuration through the binary: places of errors, layers, schema.

use crate::run::{Ran, huracan, huracan_in};
use serde_json::json;

fn check_file(text: &str, arguments: &[&str]) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("huracan.yaml"), text).unwrap();
    huracan_in(folder.path(), &[&["config", "check", "huracan.yaml"], arguments].concat(), &[])
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_a_suggestion() {
    let ran = check_file("engine:\n  target_symbols: 3\n  paralel_tasks: 2\n", &[]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    let expected = "error[unknown_key]: huracan.yaml:3:3: unknown key \"paralel_tasks\" in engine\n  \
                    help: did you mean engine.parallel_tasks?\n";
    assert_eq!(ran.err, expected);
}

#[test]
fn a_duplicate_key_is_refused_with_its_line() {
    let ran = check_file("seed: 1\ngates: {coverage_min: 0.9}\ngates: {}\n", &["--json"]);
    assert_eq!(ran.code, 2);
    let problem = &ran.json()["error"]["problems"][0];
    assert_eq!((&problem["code"], &problem["line"]), (&json!("duplicate_key"), &json!(3)));
}

#[test]
fn all_problems_of_a_file_are_named_at_once() {
    let ran = check_file("trade_ok: {fdr: 0.9, sharpe_min: -1}\nlabels: {entry_lag_bars: 0}\n", &["--json"]);
    assert_eq!(ran.json()["error"]["problems"].as_array().unwrap().len(), 3);
}

#[test]
fn a_good_file_and_a_missing_file() {
    let ran = check_file("engine: {target_symbols: 400, start_with_symbols: 150, parallel_tasks: 2}\n", &[]);
    assert!(ran.code == 0 && ran.out.starts_with("huracan.yaml: ok, config_id "), "{} {}", ran.out, ran.err);
    let ran = huracan(&["config", "check", "nowhere.yaml"]);
    assert!(ran.code == 2 && ran.err.contains("error[config_unreadable]"), "{}", ran.err);
}

#[test]
fn the_schema_is_json_and_closed() {
    let ran = huracan(&["config", "schema"]);
    assert_eq!(ran.code, 0);
    let schema = ran.json();
    assert_eq!(schema["additionalProperties"], false);
    let kind = &schema["properties"]["engine"]["properties"]["shared_encoder"]["properties"]["type"];
    assert_eq!(kind["default"], "auto");
    assert!(schema["$schema"].as_str().unwrap().contains("2020-12"));
}

#[test]
fn layers_win_in_the_promised_order_and_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let text = "seed: 5\nengine: {target_symbols: 300, start_with_symbols: 30, parallel_tasks: 7}\n";
    std::fs::write(folder.path().join("h.yaml"), text).unwrap();
    let variables = [("HURACAN__ENGINE__TARGET_SYMBOLS", "200"), ("HURACAN_CONFIG", "h.yaml")];
    let shown = huracan_in(folder.path(), &["config", "show", "--json"], &variables).json();
    assert_eq!(shown["config"]["engine"]["target_symbols"], 200);
    assert_eq!(shown["config"]["engine"]["start_with_symbols"], 30);
    assert_eq!((&shown["config"]["seed"], &shown["workers"]), (&json!(5), &json!(7)));
    assert_eq!(shown["origins"]["engine.target_symbols"], "HURACAN__ENGINE__TARGET_SYMBOLS");
    assert_eq!(shown["origins"]["seed"], "h.yaml:1:7");
    assert_eq!(shown["origins"]["labels.horizon_bars"], "default");
}

#[test]
fn what_is_shown_is_a_configuration_file_with_the_same_identity() {
    let folder = tempfile::tempdir().unwrap();
    let first = huracan_in(folder.path(), &["config", "show"], &[("HURACAN__SEED", "12")]);
    std::fs::write(folder.path().join("shown.yaml"), &first.out).unwrap();
    let second = huracan_in(folder.path(), &["config", "show", "--config", "shown.yaml"], &[]);
    assert_eq!(first.out.lines().next(), second.out.lines().next());
}

#[test]
fn a_misspelled_variable_stops_every_command_that_reads_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let variables = [("HURACAN__ENGINE__TARGET", "2")];
    let ran = huracan_in(folder.path(), &["train", "--candles", "c"], &variables);
    assert!(ran.code == 2 && ran.err.contains("HURACAN__ENGINE__TARGET: unknown key"), "{}", ran.err);
}
