//! Settings as paths into a tree: `engine.target_symbols`.
//!
//! What lives here: reading and writing by path, and finding the key somebody meant. What does
//! not: which keys exist and what they mean.

use serde_json::Value;

/// Every leaf with its path, in the tree's order. Objects are groups; anything else is a leaf.
pub fn leaves(tree: &Value) -> Vec<(String, Value)> {
    fn walk(prefix: &str, value: &Value, found: &mut Vec<(String, Value)>) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    walk(&join(prefix, key), value, found);
                }
            }
            leaf => found.push((prefix.to_owned(), leaf.clone())),
        }
    }
    let mut found = Vec::new();
    walk("", tree, &mut found);
    found
}

/// `a.b` from `a` and `b`; `b` where the prefix is empty.
pub fn join(prefix: &str, key: &str) -> String {
    if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") }
}

/// The value at a path.
pub fn get<'t>(tree: &'t Value, path: &str) -> Option<&'t Value> {
    path.split('.').try_fold(tree, |value, key| value.get(key))
}

/// Replaces the value at a path that exists; says whether it did.
pub fn set(tree: &mut Value, path: &str, new: Value) -> bool {
    let slot = path.split('.').try_fold(tree, |value, key| value.get_mut(key));
    slot.map(|slot| *slot = new).is_some()
}

/// The known key that was probably meant, as a full path: a sibling spelled alike, else the same
/// or a similar name anywhere.
pub fn meant(known: &Value, group: &str, key: &str) -> Option<String> {
    let siblings = if group.is_empty() { Some(known) } else { get(known, group) };
    let names = siblings.and_then(Value::as_object).into_iter().flat_map(|map| map.keys());
    if let Some(name) = closest(key, names.map(String::as_str)) {
        return Some(join(group, name));
    }
    let all = leaves(known);
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let named: Vec<(String, &str)> = all.iter().map(|(path, _)| (last(path), path.as_str())).collect();
    let name = closest(key, named.iter().map(|(name, _)| name.as_str()))?;
    named.iter().find(|(last, _)| last == name).map(|(_, path)| (*path).to_owned())
}

/// The candidate within a third of its length in edits, nearest first, then in order.
pub fn closest<'c>(text: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    candidates
        .map(|candidate| (edits(text, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance, in characters.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_nearest_name_is_offered_and_nothing_far() {
        let known = json!({"engine": {"target_symbols": 1, "parallel_tasks": 2}, "seed": 0});
        let check = |group: &str, key: &str, expected: Option<&str>| {
            assert_eq!(meant(&known, group, key).as_deref(), expected, "{group} {key}");
        };
        check("engine", "target_symbol", Some("engine.target_symbols"));
        check("engine", "targetsymbols", Some("engine.target_symbols"));
        check("", "engin", Some("engine"));
        check("", "parallel_tasks", Some("engine.parallel_tasks"));
        check("engine", "colour", None);
    }

    #[test]
    fn edits_count_insertions_deletions_and_replacements() {
        assert_eq!((edits("kitten", "sitting"), edits("", "abc"), edits("abc", "abc")), (3, 3, 0));
    }
}
