//! The identity of a configuration.
//!
//! Two configurations that can only produce the same results have the same id, however they were
//! written.

use super::layers::as_tree;
use super::written::Written;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// SHA-256, as 64 hex digits, of the canonical JSON of the effective configuration without
/// `engine.parallel_tasks`, `jobs`, `observability` and `store`: eight workers write the same bytes as
/// one, ids included, on however many machines, watched or not, and wherever results are kept.
pub fn config_id(written: &Written) -> String {
    Sha256::digest(decisive_text(written).as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the id is of, as a text that is itself a configuration file: the same wherever it was written.
pub fn decisive_text(written: &Written) -> String {
    let mut text = String::new();
    canonical(&deciding(written), &mut text);
    text
}

/// The keys that can change a result.
pub fn deciding(written: &Written) -> Value {
    let mut tree = as_tree(written);
    if let Some(engine) = tree.get_mut("engine").and_then(Value::as_object_mut) {
        engine.remove("parallel_tasks");
    }
    if let Some(groups) = tree.as_object_mut() {
        for group in ["jobs", "observability", "store"] {
            groups.remove(group);
        }
    }
    tree
}

/// JSON with sorted keys and no white space, whatever order the map keeps.
fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            text.push('{');
            for (i, key) in keys.into_iter().enumerate() {
                if i > 0 {
                    text.push(',');
                }
                text.push_str(&Value::from(key.as_str()).to_string());
                text.push(':');
                canonical(&map[key.as_str()], text);
            }
            text.push('}');
        }
        Value::Array(list) => {
            text.push('[');
            for (i, item) in list.iter().enumerate() {
                if i > 0 {
                    text.push(',');
                }
                canonical(item, text);
            }
            text.push(']');
        }
        leaf => text.push_str(&leaf.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_and_watchers_are_no_part_of_the_identity_and_the_seed_is() {
        let base = Written::default();
        let mut other = base.clone();
        other.engine.parallel_tasks = Some(8);
        other.observability.usd_per_cpu_hour = Some(0.04);
        other.observability.prometheus_file = "huracan.prom".to_owned();
        assert_eq!(config_id(&base), config_id(&other));
        other.jobs.url = "postgres://jobs.example/huracan".to_owned();
        other.store.url = "s3://bucket/prefix".to_owned();
        other.store.s3.path_style = true;
        assert_eq!(config_id(&base), config_id(&other));
        other.seed = 2;
        assert_ne!(config_id(&base), config_id(&other));
        assert_eq!(config_id(&base).len(), 64);
    }

    #[test]
    fn canonical_json_sorts_keys_and_drops_white_space() {
        let mut text = String::new();
        canonical(&serde_json::json!({"b": [1, 2.0], "a": {"d": null, "c": "x"}}), &mut text);
        assert_eq!(text, r#"{"a":{"c":"x","d":null},"b":[1,2.0]}"#);
    }
}
