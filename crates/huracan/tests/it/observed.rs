//! What a run tells about itself: to a person, to a script, to Prometheus.

use crate::market::{candles, fresh, train, trained};
use crate::run::{Ran, huracan_in};
use serde_json::Value;
use std::path::Path;

fn in_store(store: &Path, arguments: &[&str]) -> Ran {
    let place = ["--store", store.to_str().unwrap()];
    huracan_in(store.parent().unwrap(), &[arguments, &place[..]].concat(), &[])
}

#[test]
fn a_run_that_went_well_is_told_with_its_costs_and_without_failures() {
    let store = trained();
    let status = in_store(store, &["status", "--json"]).json();
    let status = &status["status"];
    let heart = &status["hearts"][0];
    assert_eq!((&heart["service"], &heart["phase"]), (&"engine".into(), &"complete".into()));
    assert_eq!((&heart["stale"], &heart["progress"]), (&false.into(), &1.0.into()));
    let run_id = status["last_run"]["run_id"].as_str().unwrap();
    assert_eq!(
        (&status["last_run"]["status"], &status["last_success"]["run_id"]),
        (&"complete".into(), &run_id.into())
    );
    let text = in_store(store, &["status"]).out;
    assert!(text.starts_with("engine: complete since ") && text.contains(run_id), "{text}");

    let costs = in_store(store, &["costs", run_id, "--top", "3", "--json"]).json();
    let costs = &costs["costs"];
    assert_eq!(costs["coins"].as_array().unwrap().len(), 3);
    let sum = |of: &dyn Fn(&Value) -> f64| costs["stages"].as_array().unwrap().iter().map(of).sum::<f64>();
    let total = costs["total"]["cost_usd"].as_f64().unwrap();
    assert!(total > 0.0 && (sum(&|stage| stage["used"]["cost_usd"].as_f64().unwrap()) - total).abs() < 1e-9);
    let fingerprints = &costs["stages"][0];
    assert_eq!(
        (&fingerprints["stage"], &fingerprints["is_measured"]),
        (&"fingerprints".into(), &true.into())
    );
    assert!(in_store(store, &["costs"]).out.contains("USD"));

    let failures = in_store(store, &["failures"]);
    assert!(failures.code == 0 && failures.out.contains("complete, 0 failed"), "{}", failures.out);
    assert_eq!(in_store(store, &["costs", "20200101T000000Z-00000000"]).code, 5);

    // In a place of its own: other tests' runs end in the one beside the candles, too.
    let place = fresh("observed");
    let bars = candles().join("bars");
    let ran = train(&place, bars.to_str().unwrap(), "store", &[]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let prom = std::fs::read_to_string(place.join("huracan.prom")).unwrap();
    for line in ["huracan_last_run_status{status=\"complete\"} 1\n", "# TYPE huracan_store_requests gauge\n"]
    {
        assert!(prom.contains(line), "{line} is not in\n{prom}");
    }
    let puts =
        prom.lines().find_map(|line| line.strip_prefix("huracan_store_requests{verb=\"put\"} ")).unwrap();
    assert!(puts.parse::<u64>().unwrap() > 20, "{puts}");
}

#[test]
fn a_run_that_fails_is_told_with_its_error_and_what_to_do() {
    let place = fresh("failing");
    let bars = candles().join("bars");
    let bars = bars.to_str().unwrap();
    // Nothing is that liquid.
    let variables = [
        ("HURACAN__GATES__ADV_USD_MIN", "1e14"),
        ("HURACAN__OBSERVABILITY__PROMETHEUS_FILE", "huracan.prom"),
        ("RUST_LOG", "info"),
    ];
    let ran =
        huracan_in(&place, &["train", "--candles", bars, "--store", "store", "--log", "json"], &variables);
    assert_eq!(ran.code, 3, "{}", ran.err);
    let logged = ran.err.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let told: Vec<Value> = logged.filter(|line| line["fields"]["message"] == "stage finished").collect();
    assert!(
        told.iter().any(|line| line["fields"]["stage"] == "survey" && line["fields"]["elapsed_ms"].is_u64())
    );

    let store = place.join("store");
    let failures = in_store(&store, &["failures", "--json"]).json();
    assert_eq!(failures["run"]["status"], "failed");
    let line = &failures["failures"][0];
    assert_eq!(
        (&line["code"], &line["step"], &line["symbol"]),
        (&"nothing_trainable".into(), &"survey".into(), &Value::Null)
    );
    let text = in_store(&store, &["status"]).out;
    for part in [
        "engine: failed since ",
        "last that published: none",
        "the run: survey [nothing_trainable]",
        "help: ",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let prom = std::fs::read_to_string(place.join("huracan.prom")).unwrap();
    assert!(prom.contains("status=\"failed\"} 1\n") && !prom.contains("last_success"), "{prom}");
}
