//! Champions from outside: who it is and was, and the way back.

use crate::market::{candles, files, fresh, spec, train};
use crate::run::{Ran, huracan_in};
use huracan_core::words::UtcMs;
use serde_json::Value;
use std::path::Path;

fn champion(place: &Path, more: &[&str]) -> Ran {
    let fixed = ["champion", "BTCUSDT", "--json", "--store", "store"];
    huracan_in(place, &[&fixed[..], more].concat(), &[])
}

#[test]
fn a_champion_is_shown_explained_and_brought_back_and_the_next_run_leaves_it() {
    let place = fresh("champions");
    let bars = candles().join("bars");
    let run = |days_before_end: i64| {
        let until = UtcMs(spec().end().0 - days_before_end * UtcMs::DAY).to_string();
        let ran = train(&place, bars.to_str().unwrap(), "store", &["--until", until.as_str()]);
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
        ran
    };
    run(5);
    let nowhere = champion(&place, &["--rollback", "--yes"]);
    assert_eq!((nowhere.code, &nowhere.json()["error"]["code"]), (5, &"store_not_found".into()));
    run(2);

    let shown = champion(&place, &[]).json()["champion"].clone();
    let in_force = shown["model_path"].as_str().unwrap().to_owned();
    let history = champion(&place, &["--history"]).json()["history"].clone();
    assert_eq!(history.as_array().unwrap().len(), 2);
    assert_eq!(history[0]["event"], "engine_update");
    assert!(history[1]["rule_values"].as_array().unwrap().len() > 30);
    let first = history[0]["after"].as_str().unwrap();
    let noon = UtcMs(spec().end().0 - 3 * UtcMs::DAY).to_string();
    let then = champion(&place, &["--at", noon.as_str()]).json()["at"].clone();
    assert_eq!((&then["decision"]["after"], &then["at"]), (&first.into(), &noon.as_str().into()));
    let before = champion(&place, &["--at", "2020-01-01"]).json()["at"].clone();
    assert_eq!(before["decision"], Value::Null);
    assert_eq!(champion(&place, &["--at", "noon"]).code, 2);

    // To the folder that is not in force, whichever won.
    let names = files(&place.join("store"), &[]).into_keys();
    let mut folders = names.filter_map(|n| n.strip_suffix("/manifest.json").map(str::to_owned));
    let other = folders.find(|f| f.starts_with("models/BTCUSDT.P/") && *f != in_force).unwrap();
    let untouched = files(&place.join("store"), &["heartbeats"]);
    let asked = champion(&place, &["--rollback", "--to", other.as_str()]);
    assert_eq!((asked.code, &asked.json()["error"]["code"]), (2, &"not_confirmed".into()));
    let foreign = champion(&place, &["--rollback", "--yes", "--to", "models/ETHUSDT.P/baseline_20250101"]);
    assert_eq!(foreign.code, 5);
    assert_eq!(files(&place.join("store"), &["heartbeats"]), untouched);
    let back = champion(&place, &["--rollback", "--yes", "--to", other.as_str(), "--reason", "it loses"]);
    assert_eq!((back.code, &back.json()["rollback"]["to"]), (0, &other.as_str().into()), "{}", back.out);
    let verified = huracan_in(&place, &["verify", "BTCUSDT", "--store", "store"], &[]);
    assert_eq!(verified.code, 0, "{}", verified.out);
    let why = huracan_in(&place, &["why", "BTCUSDT", "--store", "store"], &[]).out;
    assert!(why.contains("runs_since_rollback") && why.contains("it loses"), "{why}");

    run(0);
    let shown = champion(&place, &[]).json()["champion"].clone();
    assert_eq!(shown["model_path"], other.as_str());
    assert_eq!(
        (&shown["brought_by"]["event"], &shown["brought_by"]["decided_by"]),
        (&"rollback".into(), &"operator".into())
    );
    assert_eq!(shown["latest"]["event"], "reject");
    let values = shown["latest"]["rule_values"].as_array().unwrap();
    let value = |name: &str| values.iter().find(|pair| pair[0] == name).unwrap()[1].as_f64().unwrap();
    assert!(value("q_value_max") <= 0.01 && value("days_since_chosen") < 7.0, "{values:?}");
    let verified = huracan_in(&place, &["verify", "all", "--store", "store"], &[]);
    assert_eq!(verified.code, 0, "{}", verified.out);
}
