//! Prometheus' text format (version 0.0.4) and the file node_exporter's textfile collector reads.
//!
//! The collector refuses a file with timestamps, a family told twice, or a series told twice; what it
//! reads must be whole at any instant.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

/// A metric with its samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    name: &'static str,
    help: &'static str,
    samples: Vec<(Vec<(&'static str, String)>, f64)>,
}

impl Family {
    /// A gauge without samples.
    pub fn gauge(name: &'static str, help: &'static str) -> Family {
        Family { name, help, samples: Vec::new() }
    }

    /// With a sample without labels.
    pub fn value(self, value: f64) -> Family {
        self.labelled(&[], value)
    }

    /// With a sample without labels, where there is one.
    pub fn maybe(self, value: Option<f64>) -> Family {
        match value {
            Some(value) => self.value(value),
            None => self,
        }
    }

    /// With a sample of these labels.
    pub fn labelled(mut self, labels: &[(&'static str, &str)], value: f64) -> Family {
        let owned = labels.iter().map(|(name, text)| (*name, (*text).to_owned()));
        self.samples.push((owned.collect(), value));
        self
    }

    /// Whether it has no sample.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }
}

/// Families as text; those without a sample are left out.
pub fn render(families: &[Family]) -> String {
    let mut text = String::new();
    for family in families.iter().filter(|family| !family.is_empty()) {
        let Family { name, help, .. } = family;
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} gauge", escape(help, false));
        for (labels, value) in &family.samples {
            let labels: Vec<String> =
                labels.iter().map(|(name, text)| format!("{name}=\"{}\"", escape(text, true))).collect();
            let braces = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            let _ = writeln!(text, "{name}{braces} {}", number(*value));
        }
    }
    text
}

/// Backslash and line break; in a label's text the quotation mark too.
fn escape(text: &str, is_label: bool) -> String {
    let text = text.replace('\\', "\\\\").replace('\n', "\\n");
    if is_label { text.replace('"', "\\\"") } else { text }
}

fn number(value: f64) -> String {
    match value {
        v if v.is_nan() => "NaN".to_owned(),
        v if v.is_infinite() => if v > 0.0 { "+Inf" } else { "-Inf" }.to_owned(),
        v => v.to_string(),
    }
}

/// Writes the text so that a reader sees the old file or the new one: beside it under a name that is not
/// collected, to the disk, then renamed.
///
/// # Errors
/// When the folder does not exist or cannot be written.
pub fn write_file(path: &Path, text: &str) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
    let written = File::create(&beside)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // The first error is the one told.
        let _ = fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    /// Series by name and labels, read back as strictly as the collector reads: HELP and TYPE once and
    /// before the samples, a family in one piece, legal names, no series twice, a number at the end.
    pub fn parse(text: &str) -> BTreeMap<String, f64> {
        assert!(text.is_empty() || text.ends_with('\n'), "the last line is not ended");
        let (mut done, mut series) = (BTreeSet::new(), BTreeMap::new());
        let (mut helped, mut current) = (String::new(), String::new());
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                helped = rest.split_once(' ').expect("a help has a text").0.to_owned();
                assert!(done.insert(helped.clone()), "{helped} is told twice");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type has a kind");
                assert!(name == helped && kind == "gauge", "{line}");
                current = name.to_owned();
            } else {
                let end = line.find(['{', ' ']).expect("a sample has a value");
                assert_eq!(line[..end], current, "a sample outside of its family");
                let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
                assert!(current.chars().all(legal) && !current.starts_with(|c: char| c.is_ascii_digit()));
                let (labels, value) = labels(&line[end..]);
                let value = value.strip_prefix(' ').expect("one space before the value");
                let value = value.replace("Inf", "inf").parse().unwrap_or_else(|e| panic!("{line}: {e}"));
                let id = format!("{current}{labels:?}");
                assert!(series.insert(id.clone(), value).is_none(), "{id} is there twice");
            }
        }
        series
    }

    /// The labels at the start of a text and what comes behind them.
    fn labels(text: &str) -> (BTreeMap<String, String>, &str) {
        let mut found = BTreeMap::new();
        let Some(mut rest) = text.strip_prefix('{') else { return (found, text) };
        loop {
            let (name, after) = rest.split_once("=\"").expect("a label has a text in quotation marks");
            let (mut value, mut chars) = (String::new(), after.char_indices());
            let end = loop {
                match chars.next().expect("a text is ended") {
                    (_, '\\') => match chars.next().expect("an escape has a letter").1 {
                        'n' => value.push('\n'),
                        c @ ('\\' | '"') => value.push(c),
                        other => panic!("\\{other} is no escape"),
                    },
                    (at, '"') => break at,
                    (_, c) => value.push(c),
                }
            };
            assert!(found.insert(name.to_owned(), value).is_none(), "{name} twice");
            rest = &after[end + 1..];
            match rest.strip_prefix(',') {
                Some(more) => rest = more,
                None => return (found, rest.strip_prefix('}').expect("labels are closed")),
            }
        }
    }

    #[test]
    fn whatever_a_label_holds_is_read_back() {
        let nasty = "a\\b\"c\nd,e}=é";
        let family = Family::gauge("huracan_x", "back\\slash\nand \"quotes\"")
            .labelled(&[("stage", nasty), ("status", "")], 1.5)
            .labelled(&[("stage", "n"), ("status", "")], f64::NAN)
            .value(-0.000_001);
        let text = render(&[family.clone(), Family::gauge("huracan_none", "nothing")]);
        assert_eq!(text.lines().count(), 5, "{text}");
        assert!(
            text.starts_with("# HELP huracan_x back\\\\slash\\nand \"quotes\"\n# TYPE huracan_x gauge\n")
        );
        let series = parse(&text);
        let labels = BTreeMap::from([("stage", nasty), ("status", "")]);
        assert_eq!(series[&format!("huracan_x{labels:?}")], 1.5);
        assert_eq!(series["huracan_x{}"], -1e-6);
    }

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("huracan.prom");
        write_file(&path, "a 1\n").unwrap();
        write_file(&path, "a 2\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "a 2\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(write_file(&folder.path().join("none/huracan.prom"), "").is_err());
        // Where the rename fails the temporary file goes too.
        fs::create_dir_all(folder.path().join("b.prom/full")).unwrap();
        assert!(write_file(&folder.path().join("b.prom"), "").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
