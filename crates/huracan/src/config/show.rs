//! The effective configuration, written so that it can be read back as a configuration file.

use super::Loaded;
use super::layers::{Origin, as_tree};
use serde_json::{Value, json};

/// YAML with the origin of each value as a comment; reading it back gives
/// the same configuration.
pub fn yaml(loaded: &Loaded) -> String {
    let mut text = format!("# config_id {}\n", loaded.config.config_id);
    write_group("", &as_tree(&loaded.effective.written), 0, loaded, &mut text);
    text
}

/// The same without what changes no result: who did the jobs, who was told, and where results are kept
/// belongs to no record of a run.
pub fn recorded(loaded: &Loaded) -> String {
    let tree = super::id::deciding(&loaded.effective.written);
    let mut text = format!("# config_id {}\n", loaded.config.config_id);
    write_group("", &tree, 0, loaded, &mut text);
    text
}

fn write_group(path: &str, value: &Value, depth: usize, loaded: &Loaded, text: &mut String) {
    let Some(map) = value.as_object() else { return };
    let indent = "  ".repeat(depth);
    for (key, value) in map {
        let path = super::tree::join(path, key);
        if value.is_object() {
            text.push_str(&format!("{indent}{key}:\n"));
            write_group(&path, value, depth + 1, loaded, text);
            continue;
        }
        let line = format!("{indent}{key}: {value}");
        let origin = loaded.effective.origins.get(&path).unwrap_or(&Origin::Default);
        text.push_str(&format!("{line:<44} # {origin}\n"));
    }
}

/// The same as JSON: `config_id`, `config`, and `origins` by path.
pub fn json(loaded: &Loaded) -> Value {
    let origins: serde_json::Map<String, Value> = loaded
        .effective
        .origins
        .iter()
        .map(|(path, origin)| (path.clone(), origin.to_string().into()))
        .collect();
    json!({
        "schema": "huracan-cli-config/1",
        "config_id": loaded.config.config_id,
        "config": as_tree(&loaded.effective.written),
        "workers": loaded.config.workers,
        "origins": origins,
    })
}

#[cfg(test)]
mod tests {
    use crate::config::{Sources, load};

    #[test]
    fn what_is_shown_reads_back_as_the_same_configuration() {
        let file = ("a.yaml", "seed: 9\nheads: {lambda_grid: [1, 2]}\nengine: {parallel_tasks: 3}\n");
        let first = load(&Sources { file: Some(file), ..Sources::default() }, 2).unwrap();
        let shown = super::yaml(&first);
        assert!(shown.contains("# a.yaml:1:7"), "{shown}");
        let again = load(&Sources { file: Some(("b.yaml", &shown)), ..Sources::default() }, 2).unwrap();
        assert_eq!(first.config, again.config);
        let recorded = super::recorded(&first);
        assert!(!recorded.contains("huracan-store") && recorded.contains("seed: 9"), "{recorded}");
        assert!(!recorded.contains("parallel_tasks") && !recorded.contains("jobs:"), "{recorded}");
        let again = load(&Sources { file: Some(("c.yaml", &recorded)), ..Sources::default() }, 3).unwrap();
        assert_eq!(first.config, again.config);
        // What a worker elsewhere is told is the same text whoever wrote it, and means the same.
        let decisive = super::super::id::decisive_text(&first.effective.written);
        let again = load(&Sources { file: Some(("d.json", &decisive)), ..Sources::default() }, 3).unwrap();
        assert_eq!(first.config, again.config);
    }
}
