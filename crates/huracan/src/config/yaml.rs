//! A YAML text as a tree of keys that still know their line and column.
//!
//! What lives here: reading YAML, and nothing about which keys exist.

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_saphyr::{Location, Spanned};
use std::fmt;

/// Where something stands in a text; both count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Line.
    pub line: u64,
    /// Column, in characters.
    pub column: u64,
}

/// A value as written: a group of keys, or anything else.
#[derive(Debug)]
pub enum Tree {
    /// Keys in their order.
    Group(Vec<Entry>),
    /// A number, text, truth value, null, or list.
    Leaf(Value),
}

/// One key of a group.
#[derive(Debug)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub key_at: Position,
    /// What it holds.
    pub value: Tree,
    /// Where the value stands.
    pub value_at: Position,
}

/// A text that is not YAML, or says one key twice.
#[derive(Debug)]
pub struct YamlError {
    /// Where, when the reader knows.
    pub at: Option<Position>,
    /// The key that is there twice, when that is what is wrong.
    pub duplicate: Option<String>,
    /// What is wrong, on one line.
    pub message: String,
}

/// Reads a YAML text.
///
/// # Errors
/// When it is not YAML, holds several documents, numbers that are not finite, or one key twice.
pub fn read(text: &str) -> Result<Tree, YamlError> {
    serde_saphyr::from_str::<Tree>(text).map_err(|error| {
        let plain = error.without_snippet();
        let duplicate = match plain {
            serde_saphyr::Error::DuplicateMappingKey { key, .. } => {
                Some(key.clone().unwrap_or_else(|| "?".to_owned()))
            }
            _ => None,
        };
        let at = plain.location().map(position);
        let rendered = plain.to_string();
        let first = rendered.lines().next().unwrap_or("not YAML");
        // What the reader advises next is meant for programs.
        let message = first.split("; use from_").next().unwrap_or(first);
        YamlError { at, duplicate, message: message.trim_start_matches("error: ").to_owned() }
    })
}

fn position(location: Location) -> Position {
    Position { line: location.line(), column: location.column() }
}

impl Tree {
    /// The tree without its positions.
    fn into_value(self) -> Value {
        match self {
            Tree::Leaf(value) => value,
            Tree::Group(entries) => {
                Value::Object(entries.into_iter().map(|e| (e.key, e.value.into_value())).collect())
            }
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("keys and values")
    }
    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Leaf(value.into()))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Leaf(value.into()))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Leaf(value.into()))
    }
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Tree, E> {
        let number = serde_json::Number::from_f64(value);
        number.map(|n| Tree::Leaf(n.into())).ok_or_else(|| E::custom("a number is not finite"))
    }
    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Leaf(value.into()))
    }
    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf(Value::Null))
    }
    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf(Value::Null))
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Tree>()? {
            list.push(item.into_value());
        }
        Ok(Tree::Leaf(Value::Array(list)))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut entries: Vec<Entry> = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let value = map.next_value::<Spanned<Tree>>()?;
            if entries.iter().any(|entry| entry.key == key.value) {
                return Err(A::Error::custom(format!("duplicate key {:?}", key.value)));
            }
            entries.push(Entry {
                key_at: position(key.referenced),
                key: key.value,
                value_at: position(value.referenced),
                value: value.value,
            });
        }
        Ok(Tree::Group(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_know_their_line_and_column() {
        let Ok(Tree::Group(top)) = read("seed: 3\nengine:\n  target_symbols: 12\n") else { panic!() };
        assert_eq!(
            (top[0].key_at, top[0].value_at),
            (Position { line: 1, column: 1 }, Position { line: 1, column: 7 })
        );
        let Tree::Group(engine) = &top[1].value else { panic!() };
        assert_eq!(engine[0].key_at, Position { line: 3, column: 3 });
        assert_eq!(engine[0].value_at, Position { line: 3, column: 19 });
    }

    #[test]
    fn a_key_said_twice_is_refused_where_it_stands_again() {
        let error = read("seed: 1\ndata: {bar: 1h}\nseed: 2\n").unwrap_err();
        assert_eq!(error.at.map(|p| p.line), Some(3));
        assert_eq!(error.duplicate.as_deref(), Some("seed"));
    }

    #[test]
    fn texts_that_are_no_configuration_are_refused_on_one_line() {
        for text in ["a: [1, 2", "a: .inf", "a: .nan", "a: 1\n b: 2", "\u{0}"] {
            let error = read(text).expect_err(text);
            assert!(!error.message.contains('\n') && !error.message.is_empty(), "{text:?}: {error:?}");
        }
    }

    #[test]
    fn an_empty_text_is_null() {
        assert!(matches!(read(""), Ok(Tree::Leaf(Value::Null))));
        assert!(matches!(read("# nothing\n"), Ok(Tree::Leaf(Value::Null))));
    }
}
