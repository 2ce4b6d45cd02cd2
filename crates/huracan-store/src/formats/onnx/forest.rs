//! An ensemble of regression trees as a table of nodes, and as `TreeEnsembleRegressor`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::check::{self, Checked};
use super::graph::{Graph, ML_DOMAIN, Value, doubles, int, ints, string, strings};
use super::proto::{DOUBLE, ModelProto};

/// `score = base + Σ value of the leaf that the row reaches`, over all trees.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Forest {
    /// Score before any tree.
    pub base: f64,
    /// The trees.
    pub trees: Vec<Tree>,
}

/// Nodes with the root first; children come after their parent.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Tree {
    /// The nodes.
    pub nodes: Vec<Node>,
}

/// One node of a tree.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Node {
    /// Left where the column is at most the threshold (or is missing and `default_left`).
    Split {
        /// Column.
        feature: usize,
        /// Largest value that goes left.
        threshold: f64,
        /// Index of the left child.
        left: usize,
        /// Index of the right child.
        right: usize,
        /// Whether a missing value goes left.
        default_left: bool,
    },
    /// The end of a path.
    Leaf {
        /// What it adds to the score.
        value: f64,
    },
}

impl Forest {
    /// Reads the arrays of a head that is trees: `base` (1), `nodes` (one a tree: its number of
    /// splits), `feature`, `threshold`, `missing_left`, `left`, `right` (one a split), `value` (one a
    /// leaf, a tree has one more than splits). A child is a split of its tree, or −1 − leaf.
    ///
    /// # Errors
    /// What is missing or does not fit; whether it is a tree over some columns says [`Forest::check`].
    pub fn of(arrays: &BTreeMap<String, Vec<f64>>) -> Result<Forest, String> {
        let array = |name: &str| arrays.get(name).ok_or_else(|| format!("it has no {name}, expected one"));
        let base = array("base")?;
        check::same_len("base", base.len(), "scores", 1)?;
        let [feature, threshold, missing_left, left, right, value] =
            ["feature", "threshold", "missing_left", "left", "right", "value"].map(array);
        let (feature, value) = (feature?, value?);
        let of_splits = |name: &str, found: Result<_, String>| {
            let found: &Vec<f64> = found?;
            check::same_len(name, found.len(), "feature", feature.len()).map(|()| found)
        };
        let threshold = of_splits("threshold", threshold)?;
        let missing_left = of_splits("missing_left", missing_left)?;
        let (left, right) = (of_splits("left", left)?, of_splits("right", right)?);
        let (mut trees, mut split, mut leaf) = (Vec::new(), 0, 0);
        for &splits in array("nodes")? {
            let splits = whole("nodes", splits, feature.len() - split)?;
            let mut nodes = Vec::with_capacity(2 * splits + 1);
            for at in split..split + splits {
                nodes.push(Node::Split {
                    feature: whole("feature", feature[at], usize::MAX)?,
                    threshold: threshold[at],
                    left: child_index("left", left[at], splits)?,
                    right: child_index("right", right[at], splits)?,
                    default_left: missing_left[at] != 0.0,
                });
            }
            let leaves = value.get(leaf..=leaf + splits);
            let leaves = leaves.ok_or_else(|| format!("value has {} values, expected more", value.len()))?;
            nodes.extend(leaves.iter().map(|&value| Node::Leaf { value }));
            trees.push(Tree { nodes });
            (split, leaf) = (split + splits, leaf + splits + 1);
        }
        check::same_len("feature", feature.len(), "nodes", split)?;
        check::same_len("value", value.len(), "nodes", leaf)?;
        Ok(Forest { base: base[0], trees })
    }

    /// Whether every tree is one over `columns` columns: each node but the root has exactly one
    /// parent, which comes before it.
    ///
    /// # Errors
    /// The first thing that is not so.
    pub fn check(&self, columns: usize) -> Checked {
        check::that(self.base.is_finite(), || format!("base is {}, expected a finite number", self.base))?;
        for (t, tree) in self.trees.iter().enumerate() {
            tree.check(columns).map_err(|e| format!("tree {t}: {e}"))?;
        }
        Ok(())
    }

    /// The score of one row of columns, NaN where missing. An infinity is a number here; columns of a
    /// head have none.
    pub fn score(&self, row: &[f64]) -> f64 {
        self.base + self.trees.iter().map(|tree| tree.value(row)).sum::<f64>()
    }

    /// The ensemble alone: `columns` [N, p], NaN where missing → `score` [N, 1].
    pub fn to_onnx(&self, columns: usize) -> ModelProto {
        let mut graph = Graph::new("huracan_trees", "score = base + the leaf of every tree");
        let given = graph.input("columns", columns, "columns of the head; NaN where missing");
        let score = self.build(&mut graph, &given);
        graph.output(&score, "score", 1, "score of the ensemble");
        graph.model(&BTreeMap::new())
    }

    /// Adds the ensemble to a graph: `columns` [N, p] → [N, 1]. The operator adds up leaves in f64 and
    /// hands out f32 (its definition in `ai.onnx.ml` 3), so scores agree to about 1e-7 of their size.
    pub(super) fn build(&self, graph: &mut Graph, columns: &Value) -> Value {
        let base = graph.number("trees_base", self.base);
        if self.trees.is_empty() {
            // The operator wants a tree.
            return base;
        }
        let nodes = || self.trees.iter().enumerate().flat_map(|(t, tree)| tree.numbered(t as i64));
        let each = |of: fn(&Node) -> i64| nodes().map(|(_, _, node)| of(node)).collect::<Vec<i64>>();
        let leaves: Vec<(i64, i64, f64)> = nodes()
            .filter_map(|(t, n, node)| match node {
                Node::Leaf { value } => Some((t, n, *value)),
                Node::Split { .. } => None,
            })
            .collect();
        let thresholds: Vec<f64> = nodes().map(|(_, _, node)| node.threshold()).collect();
        let modes: Vec<&str> = nodes().map(|(_, _, node)| node.mode()).collect();
        let attributes = vec![
            string("aggregate_function", "SUM"),
            int("n_targets", 1),
            ints("nodes_treeids", nodes().map(|(t, ..)| t).collect()),
            ints("nodes_nodeids", nodes().map(|(_, n, _)| n).collect()),
            strings("nodes_modes", &modes),
            ints("nodes_featureids", each(|node| node.split().map_or(0, |(feature, ..)| feature as i64))),
            doubles("nodes_values_as_tensor", &thresholds),
            ints("nodes_truenodeids", each(|node| node.split().map_or(0, |(_, left, ..)| left as i64))),
            ints("nodes_falsenodeids", each(|node| node.split().map_or(0, |(_, _, right, _)| right as i64))),
            ints(
                "nodes_missing_value_tracks_true",
                each(|node| node.split().map_or(0, |(.., default_left)| i64::from(default_left))),
            ),
            string("post_transform", "NONE"),
            ints("target_treeids", leaves.iter().map(|leaf| leaf.0).collect()),
            ints("target_nodeids", leaves.iter().map(|leaf| leaf.1).collect()),
            ints("target_ids", vec![0; leaves.len()]),
            doubles("target_weights_as_tensor", &leaves.iter().map(|leaf| leaf.2).collect::<Vec<f64>>()),
        ];
        let sum = graph.node_of(ML_DOMAIN, "TreeEnsembleRegressor", &[columns], attributes);
        let sum = graph.node("Cast", &[&sum], vec![int("to", DOUBLE.into())]);
        graph.node("Add", &[&sum, &base], Vec::new())
    }
}

/// A whole number up to `most`.
fn whole(name: &str, value: f64, most: usize) -> Result<usize, String> {
    let fits = value.fract() == 0.0 && value >= 0.0 && value <= most as f64;
    check::that(fits, || format!("{name} holds {value}, expected a whole number up to {most}"))?;
    Ok(value as usize)
}

/// Where the child is in a table that has the tree's splits first, then its leaves.
fn child_index(name: &str, child: f64, splits: usize) -> Result<usize, String> {
    if child >= 0.0 { whole(name, child, splits) } else { Ok(splits + whole(name, -1.0 - child, splits)?) }
}

impl Tree {
    fn check(&self, columns: usize) -> Checked {
        let nodes = self.nodes.len();
        let mut has_parent = vec![false; nodes];
        check::that(nodes > 0, || "it has no node, expected a root".to_owned())?;
        has_parent[0] = true;
        for (n, node) in self.nodes.iter().enumerate() {
            check::that(has_parent[n], || format!("node {n} has no parent before it"))?;
            let number = match node {
                Node::Leaf { value } => *value,
                Node::Split { threshold, .. } => *threshold,
            };
            check::that(number.is_finite(), || format!("node {n} holds {number}, expected a finite number"))?;
            let Some((feature, left, right, _)) = node.split() else { continue };
            check::that(feature < columns, || {
                format!("node {n} asks column {feature}, expected one of {columns}")
            })?;
            for child in [left, right] {
                check::that(n < child && child < nodes, || {
                    format!("node {n} has the child {child}, expected one after it, below {nodes}")
                })?;
                check::that(!has_parent[child], || format!("node {child} has two parents, expected one"))?;
                has_parent[child] = true;
            }
        }
        Ok(())
    }

    /// The leaf's value; NaN from a table that [`Forest::check`] refuses. It ends because children
    /// come after their parent.
    fn value(&self, row: &[f64]) -> f64 {
        let mut at = 0;
        loop {
            match self.nodes.get(at) {
                None => return f64::NAN,
                Some(Node::Leaf { value }) => return *value,
                Some(&Node::Split { feature, threshold, left, right, default_left }) => {
                    let x = row.get(feature).copied().unwrap_or(f64::NAN);
                    let goes_left = if x.is_nan() { default_left } else { x <= threshold };
                    let child = if goes_left { left } else { right };
                    at = if child > at { child } else { self.nodes.len() };
                }
            }
        }
    }

    fn numbered(&self, tree: i64) -> impl Iterator<Item = (i64, i64, &Node)> {
        self.nodes.iter().enumerate().map(move |(n, node)| (tree, n as i64, node))
    }
}

impl Node {
    /// Column, left, right, default left.
    fn split(&self) -> Option<(usize, usize, usize, bool)> {
        match *self {
            Node::Split { feature, left, right, default_left, .. } => {
                Some((feature, left, right, default_left))
            }
            Node::Leaf { .. } => None,
        }
    }

    fn threshold(&self) -> f64 {
        match self {
            Node::Split { threshold, .. } => *threshold,
            Node::Leaf { .. } => 0.0,
        }
    }

    fn mode(&self) -> &'static str {
        match self {
            Node::Split { .. } => "BRANCH_LEQ",
            Node::Leaf { .. } => "LEAF",
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Two trees and a stump without a split, over three columns.
    pub(in super::super) fn forest() -> Forest {
        let split = |feature, threshold, left, right, default_left| Node::Split {
            feature,
            threshold,
            left,
            right,
            default_left,
        };
        let leaf = |value| Node::Leaf { value };
        let first = vec![
            split(0, 0.5, 1, 2, true),
            leaf(1.0),
            split(2, -1.25, 3, 4, false),
            leaf(-0.3),
            split(1, 0.1, 5, 6, true),
            leaf(0.1),
            leaf(1.0 / 3.0),
        ];
        let second = vec![split(1, 0.0, 1, 2, false), leaf(-2.0), leaf(0.25)];
        let trees = [first, second, vec![leaf(0.125)]].map(|nodes| Tree { nodes });
        Forest { base: 0.01, trees: trees.to_vec() }
    }

    #[test]
    fn a_row_goes_left_up_to_the_threshold_and_missing_values_their_own_way() {
        let nan = f64::NAN;
        for (row, expected) in [
            ([0.5, 0.0, 0.0], 1.0 - 2.0),
            ([0.6, 0.1, -1.25], -0.3 + 0.25),
            ([0.6, 0.1, -1.24], 0.1 + 0.25),
            ([nan, 1.0, 0.0], 1.0 + 0.25),
            ([1.0, nan, nan], 0.1 + 0.25),
        ] {
            let found = forest().score(&row);
            assert!((found - (0.01 + 0.125 + expected)).abs() < 1e-15, "{row:?}: {found}");
        }
    }

    #[test]
    fn the_arrays_of_a_head_are_read_as_trees() {
        let arrays = |spoil: fn(&mut BTreeMap<String, Vec<f64>>)| {
            let mut arrays: BTreeMap<String, Vec<f64>> = [
                ("base", &[0.01][..]),
                ("nodes", &[3.0, 1.0, 0.0]),
                ("feature", &[0.0, 2.0, 1.0, 1.0]),
                ("threshold", &[0.5, -1.25, 0.1, 0.0]),
                ("missing_left", &[1.0, 0.0, 1.0, 0.0]),
                ("left", &[-1.0, -2.0, -3.0, -1.0]),
                ("right", &[1.0, 2.0, -4.0, -2.0]),
                ("value", &[1.0, -0.3, 0.1, 1.0 / 3.0, -2.0, 0.25, 0.125]),
            ]
            .map(|(name, values)| (name.to_owned(), values.to_vec()))
            .into();
            spoil(&mut arrays);
            Forest::of(&arrays)
        };
        let found = arrays(|_| ()).unwrap();
        assert_eq!(found.check(3), Ok(()));
        let values = [f64::NAN, -2.0, 0.05, 0.5, 0.6];
        for row in values.iter().flat_map(|&a| values.iter().flat_map(move |&b| values.map(|c| [a, b, c]))) {
            assert_eq!(found.score(&row), forest().score(&row), "{row:?}");
        }
        let check = |spoil: fn(&mut BTreeMap<String, Vec<f64>>), says: &str| {
            let error = arrays(spoil).unwrap_err();
            assert!(error.contains(says), "{error}");
        };
        check(|a| drop(a.remove("value")), "no value");
        check(|a| drop(a.remove("base")), "no base");
        check(|a| a.get_mut("left").unwrap().truncate(3), "left has 3");
        check(|a| a.get_mut("nodes").unwrap()[0] = 9.0, "nodes holds 9");
        check(|a| a.get_mut("nodes").unwrap()[0] = 0.5, "nodes holds 0.5");
        check(|a| a.get_mut("nodes").unwrap().truncate(2), "value has 7");
        check(|a| a.get_mut("value").unwrap().truncate(6), "value has 6");
        check(|a| a.get_mut("right").unwrap()[0] = -5.5, "right holds");
        check(|a| a.get_mut("feature").unwrap()[0] = f64::NAN, "feature holds NaN");
    }

    #[test]
    fn what_is_no_tree_is_refused() {
        assert_eq!(forest().check(3), Ok(()));
        let check = |spoil: fn(&mut Forest), says: &str| {
            let mut forest = forest();
            spoil(&mut forest);
            let error = forest.check(3).unwrap_err();
            assert!(error.contains(says), "{error}");
        };
        check(|f| f.base = f64::NAN, "base is NaN");
        check(|f| f.trees[1].nodes.clear(), "tree 1: it has no node");
        check(|f| f.trees[0].nodes[1] = Node::Leaf { value: f64::INFINITY }, "node 1 holds inf");
        check(|f| f.trees[1].nodes.push(Node::Leaf { value: 0.0 }), "node 3 has no parent");
        let split =
            |feature, left, right| Node::Split { feature, threshold: 0.0, left, right, default_left: true };
        for (node, says) in [
            (split(3, 1, 2), "asks column 3"),
            (split(0, 0, 2), "has the child 0"),
            (split(0, 1, 3), "has the child 3"),
            (split(0, 1, 1), "two parents"),
        ] {
            let mut forest = forest();
            forest.trees[1].nodes[0] = node;
            let error = forest.check(3).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
