//! An ensemble as a LightGBM model text (format `v4`, what `Booster.save_model` writes).

use super::ensemble::{Ensemble, Node, Tree};
use std::fmt::{Display, Write};

/// `decision_type`: missing values are NaN, and a numerical cut.
const MISSING_IS_NAN: u8 = 2 << 2;
/// `decision_type`: missing values go left.
const DEFAULT_LEFT: u8 = 1 << 1;

impl Ensemble {
    /// The text `lightgbm.Booster(model_str=…)` loads, which then predicts the same scores. The base
    /// score is a first tree of one leaf. Infinities, missing here, are not for LightGBM.
    ///
    /// `None` unless there is a name a feature, each without blanks and not empty.
    pub fn to_lightgbm_text(&self, feature_names: &[&str]) -> Option<String> {
        let plain = |name: &&str| !name.is_empty() && !name.contains(char::is_whitespace);
        if feature_names.len() != self.features || !feature_names.iter().all(plain) {
            return None;
        }
        let base = Tree { nodes: Vec::new(), values: vec![self.base] };
        let trees: Vec<String> =
            std::iter::once(&base).chain(&self.trees).enumerate().map(|(i, t)| tree_text(i, t)).collect();
        let names = feature_names.join(" ");
        let ranges = line(feature_names, |_| "[-1e+308:1e+308]");
        let sizes = line(&trees, |t| t.len());
        let last = self.features.saturating_sub(1);
        Some(format!(
            "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\n\
             max_feature_idx={last}\nobjective=regression\nfeature_names={names}\n\
             feature_infos={ranges}\ntree_sizes={sizes}\n\n{}end of trees\n\n\
             feature_importances:\n\nparameters:\nend of parameters\n\npandas_categorical:null\n",
            trees.concat()
        ))
    }
}

/// One tree with the blank lines that end it.
fn tree_text(number: usize, tree: &Tree) -> String {
    let nodes = &tree.nodes;
    let mut text = format!("Tree={number}\nnum_leaves={}\nnum_cat=0\n", tree.values.len());
    let mut field = |name: &str, values: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name}={values}");
    };
    if !nodes.is_empty() {
        field("split_feature", line(nodes, |n| n.feature));
        field("split_gain", line(nodes, |n| n.gain));
        field("threshold", line(nodes, |n| Exact(n.threshold)));
        field("decision_type", line(nodes, decision_type));
        field("left_child", line(nodes, |n| n.left));
        field("right_child", line(nodes, |n| n.right));
    }
    field("leaf_value", line(&tree.values, |&v| Exact(v)));
    text + "is_linear=0\nshrinkage=1\n\n\n"
}

fn decision_type(node: &Node) -> u8 {
    MISSING_IS_NAN | if node.missing_left { DEFAULT_LEFT } else { 0 }
}

/// Values with a blank between.
fn line<T, D: Display>(values: &[T], write: impl Fn(&T) -> D) -> String {
    values.iter().map(|v| write(v).to_string()).collect::<Vec<_>>().join(" ")
}

/// A number with the digits that read back as the same, in scientific notation.
struct Exact(f64);

impl Display for Exact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:e}", self.0)
    }
}
