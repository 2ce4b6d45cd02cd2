//! Defaults, file, environment and flags laid over each other, each value with its origin.
//!
//! What lives here: which layer wins, and refusing keys and types that do not fit, each with its
//! place. What does not: limits and meaning ([`super::meant`]). Layers later in
//! `defaults < file < environment < flags` win, key by key; a list is one value.

use super::address;
use super::tree::{get, join, leaves, meant, set};
use super::written::Written;
use super::yaml::{self, Position, Tree};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;

/// Environment variables that begin like this are settings.
pub const ENVIRONMENT_PREFIX: &str = "HURACAN__";

/// Who said a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody; the product's default.
    Default,
    /// A configuration file, with the place in it.
    File {
        /// The file's name as given.
        file: String,
        /// Where in it, when known.
        at: Option<Position>,
    },
    /// An environment variable.
    Environment(String),
    /// A command-line flag.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { file, at: Some(at) } => write!(f, "{file}:{}:{}", at.line, at.column),
            Origin::File { file, at: None } => f.write_str(file),
            Origin::Environment(name) => f.write_str(name),
            Origin::Flag(flag) => f.write_str(flag),
        }
    }
}

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// Stable code.
    pub code: &'static str,
    /// Who said it, when it is one value's fault.
    pub origin: Option<Origin>,
    /// What was found and what was expected.
    pub message: String,
    /// What to do, when that is known.
    pub help: Option<String>,
}

impl Problem {
    /// The problem as JSON: `code`, `origin`, `line`, `column`, `message`, `help`.
    pub fn to_json(&self) -> Value {
        let at = match &self.origin {
            Some(Origin::File { at, .. }) => *at,
            _ => None,
        };
        json!({
            "code": self.code,
            "origin": self.origin.as_ref().map(Origin::to_string),
            "line": at.map(|p| p.line),
            "column": at.map(|p| p.column),
            "message": self.message,
            "help": self.help,
        })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Some(Origin::Default) | None => f.write_str(&self.message),
            Some(origin) => write!(f, "{origin}: {}", self.message),
        }
    }
}

/// One value that somebody said.
#[derive(Clone, Debug)]
pub struct Said {
    /// Its key: `engine.target_symbols`.
    pub path: String,
    /// The value.
    pub value: Value,
    /// Who said it.
    pub origin: Origin,
}

/// The values of a YAML file; every problem goes to `problems`.
pub fn from_file(file: &str, text: &str, known: &Value, problems: &mut Vec<Problem>) -> Vec<Said> {
    let origin = |at| Origin::File { file: file.to_owned(), at };
    let tree = match yaml::read(text) {
        Ok(tree) => tree,
        Err(error) => {
            let (code, message, help) = match &error.duplicate {
                Some(key) => {
                    ("duplicate_key", format!("the key {key:?} is there twice"), Some("keep one of them"))
                }
                None => ("not_yaml", error.message, None),
            };
            let help = help.map(str::to_owned);
            problems.push(Problem { code, origin: Some(origin(error.at)), message, help });
            return Vec::new();
        }
    };
    let mut said = Vec::new();
    collect("", tree, None, known, &origin, &mut said, problems);
    said
}

fn collect(
    path: &str,
    tree: Tree,
    at: Option<Position>,
    known: &Value,
    origin: &dyn Fn(Option<Position>) -> Origin,
    said: &mut Vec<Said>,
    problems: &mut Vec<Problem>,
) {
    let group = if path.is_empty() { Some(known) } else { get(known, path) }.and_then(Value::as_object);
    match (tree, group) {
        (Tree::Leaf(Value::Null), Some(_)) => {}
        (Tree::Leaf(value), None) => said.push(Said { path: path.to_owned(), value, origin: origin(at) }),
        (Tree::Leaf(value), Some(group)) => {
            let keys: Vec<&str> = group.keys().map(String::as_str).collect();
            let name = if path.is_empty() { "the configuration" } else { path };
            problems.push(Problem {
                code: "not_a_group",
                origin: Some(origin(at)),
                message: format!(
                    "{name} is {}, expected a group of keys",
                    address::repeated(path, &value.to_string())
                ),
                help: Some(format!("its keys are {}", keys.join(", "))),
            });
        }
        (Tree::Group(_), None) => problems.push(Problem {
            code: "not_a_value",
            origin: Some(origin(at)),
            message: format!("{path} is a group of keys, expected one value"),
            help: None,
        }),
        (Tree::Group(entries), Some(group)) => {
            for entry in entries {
                let path_below = join(path, &entry.key);
                if group.contains_key(&entry.key) {
                    collect(&path_below, entry.value, Some(entry.value_at), known, origin, said, problems);
                } else {
                    problems.push(unknown(known, path, &entry.key, origin(Some(entry.key_at))));
                }
            }
        }
    }
}

fn unknown(known: &Value, group: &str, key: &str, origin: Origin) -> Problem {
    let place = if group.is_empty() { String::new() } else { format!(" in {group}") };
    let path = join(group, key);
    let dotted = key.contains('.') && get(known, &path).is_some();
    let help = dotted
        .then(|| {
            format!(
                "a key is written below its group: {}",
                path.replace('.', ": {") + ": …" + &"}".repeat(path.matches('.').count())
            )
        })
        .or_else(|| meant(known, group, key).map(|path| format!("did you mean {path}?")))
        .or_else(|| Some("huracan config schema lists every key".to_owned()));
    Problem {
        code: "unknown_key",
        origin: Some(origin),
        message: format!("unknown key {key:?}{place}"),
        help,
    }
}

/// The values of environment variables named `HURACAN__GROUP__KEY`; others are ignored.
pub fn from_environment(
    variables: &[(String, String)],
    known: &Value,
    problems: &mut Vec<Problem>,
) -> Vec<Said> {
    let mut said = Vec::new();
    for (name, text) in variables {
        let Some(rest) = name.strip_prefix(ENVIRONMENT_PREFIX) else { continue };
        let origin = Origin::Environment(name.clone());
        let path = rest.to_ascii_lowercase().replace("__", ".");
        if get(known, &path).is_none() {
            let (group, key) = path.rsplit_once('.').unwrap_or(("", &path));
            problems.push(unknown(known, group, key, origin));
            continue;
        }
        match yaml::read(text) {
            Ok(tree) => collect(&path, tree, None, known, &|_| origin.clone(), &mut said, problems),
            Err(error) => problems.push(Problem {
                code: "not_yaml",
                origin: Some(origin),
                message: format!(
                    "{} is not a value: {}",
                    address::repeated(&path, &format!("{text:?}")),
                    error.message
                ),
                help: None,
            }),
        }
    }
    said
}

/// What all layers say together.
#[derive(Debug)]
pub struct Effective {
    /// The configuration, every key present.
    pub written: Written,
    /// Who said each value, by path.
    pub origins: BTreeMap<String, Origin>,
}

/// Lays values over the defaults, later ones over earlier ones. A value of the wrong type is
/// reported and left out.
pub fn lay(said: Vec<Said>, problems: &mut Vec<Problem>) -> Effective {
    let mut written = Written::default();
    let mut tree = as_tree(&written);
    let mut origins: BTreeMap<String, Origin> =
        leaves(&tree).into_iter().map(|(path, _)| (path, Origin::Default)).collect();
    for Said { path, value, origin } in said {
        let mut changed = tree.clone();
        if !set(&mut changed, &path, value) {
            continue;
        }
        match serde_json::from_value::<Written>(changed.clone()) {
            Ok(read) => {
                written = read;
                tree = changed;
                origins.insert(path, origin);
            }
            Err(error) => {
                let words = in_plain_words(&error.to_string());
                let (found, expected) = words.split_at(words.rfind(", expected").unwrap_or(words.len()));
                problems.push(Problem {
                    code: "wrong_type",
                    origin: Some(origin),
                    message: format!("{path}: {}{expected}", address::repeated(&path, found)),
                    help: None,
                });
            }
        }
    }
    Effective { written, origins }
}

/// The configuration as a JSON tree.
pub fn as_tree(written: &Written) -> Value {
    serde_json::to_value(written).unwrap_or_default()
}

/// Rust's names of types are no help to somebody who writes YAML.
fn in_plain_words(error: &str) -> String {
    error
        .trim_start_matches("invalid type: ")
        .trim_start_matches("invalid value: ")
        .replace("expected u64", "expected a whole number from 0")
        .replace("expected f64", "expected a number")
        .replace("expected a sequence", "expected a list")
        .replace("expected a boolean", "expected true or false")
}
