//! The configuration's JSON Schema: shape from the types, bounds from the table, defaults from the
//! defaults.

use super::layers::as_tree;
use super::ranges::RANGES;
use super::tree::leaves;
use super::written::Written;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// The JSON Schema (draft 2020-12) of a configuration file.
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<Written>().to_value();
    for range in RANGES {
        let Some(node) = property(&mut schema, range.path) else { continue };
        let bounded = if node.contains_key("items") {
            node.get_mut("items").and_then(Value::as_object_mut)
        } else {
            Some(node)
        };
        if let Some(bounded) = bounded {
            let whole = bounded.get("type").is_some_and(|kind| kind.to_string().contains("integer"));
            let bound = |x: f64| if whole { json!(x as u64) } else { json!(x) };
            bounded.insert("minimum".to_owned(), bound(range.min));
            bounded.insert("maximum".to_owned(), bound(range.max));
        }
    }
    for (path, default) in leaves(&as_tree(&Written::default())) {
        if let Some(node) = property(&mut schema, &path) {
            node.insert("default".to_owned(), default);
        }
    }
    schema
}

fn property<'s>(schema: &'s mut Value, path: &str) -> Option<&'s mut Map<String, Value>> {
    let node = path.split('.').try_fold(schema, |node, key| node.get_mut("properties")?.get_mut(key));
    node.and_then(Value::as_object_mut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_description_and_a_default_and_numbers_have_bounds() {
        let mut schema = schema();
        for (path, default) in leaves(&as_tree(&Written::default())) {
            let node = property(&mut schema, &path).unwrap_or_else(|| panic!("{path} is not in the schema"));
            assert_eq!(node.get("default"), Some(&default), "{path}");
            assert!(node.contains_key("description"), "{path}");
        }
        let target = property(&mut schema, "engine.target_symbols").unwrap();
        assert_eq!((&target["minimum"], &target["maximum"]), (&json!(1), &json!(100_000)));
        assert_eq!(schema["additionalProperties"], json!(false));
    }
}
