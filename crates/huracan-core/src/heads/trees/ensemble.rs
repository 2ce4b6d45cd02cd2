//! A fitted ensemble: scores of rows, and which features earned them.

use super::bins::{BLOCK, Binned, MISSING};
use faer::MatRef;

/// One cut. A child is a later node's number, or `!leaf` of a leaf.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct Node {
    pub feature: usize,
    /// Values at or below go left.
    pub threshold: f64,
    /// Whether what is not finite goes left.
    pub missing_left: bool,
    pub left: i32,
    pub right: i32,
    /// What the cut gained, in squared label units times weight.
    pub gain: f64,
}

/// One tree: nodes with the root first, and a value a leaf; a tree without nodes is one leaf.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct Tree {
    pub nodes: Vec<Node>,
    /// Already shrunk by the learning rate; one more than nodes.
    pub values: Vec<f64>,
}

/// A node with its threshold as a bin.
#[derive(Clone, Copy)]
pub(super) struct BinNode {
    pub block: u32,
    pub place: u8,
    pub bin: u8,
    pub missing_left: bool,
    pub left: i32,
    pub right: i32,
}

impl BinNode {
    pub fn new(node: &Node, bin: u8) -> BinNode {
        let (block, place) = ((node.feature / BLOCK) as u32, (node.feature % BLOCK) as u8);
        BinNode { block, place, bin, missing_left: node.missing_left, left: node.left, right: node.right }
    }

    /// Whether a row with this bin goes left.
    pub fn goes_left(self, bin: u8) -> bool {
        if bin == MISSING { self.missing_left } else { bin <= self.bin }
    }
}

impl Tree {
    /// The tree's share of the score of one raw row.
    fn value(&self, row: &[f64]) -> f64 {
        let mut at = self.root();
        while at >= 0 {
            let node = &self.nodes[at as usize];
            let value = row[node.feature];
            let left = if value.is_finite() { value <= node.threshold } else { node.missing_left };
            at = if left { node.left } else { node.right };
        }
        self.values[!at as usize]
    }

    /// Adds the tree's share to the score of every binned row.
    pub fn add_binned(&self, nodes: &[BinNode], binned: &Binned, scores: &mut [f64]) {
        for (row, score) in scores.iter_mut().enumerate() {
            let mut at = self.root();
            while at >= 0 {
                let node = nodes[at as usize];
                let bin = binned.block(node.block as usize)[row][usize::from(node.place) % BLOCK];
                at = if node.goes_left(bin) { node.left } else { node.right };
            }
            *score += self.values[!at as usize];
        }
    }

    /// The tree whose values have the other sign.
    pub fn negated(&self) -> Tree {
        Tree { nodes: self.nodes.clone(), values: self.values.iter().map(|v| -v).collect() }
    }

    fn root(&self) -> i32 {
        if self.nodes.is_empty() { !0 } else { 0 }
    }
}

/// Trees whose values add up to a score.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Ensemble {
    pub(super) features: usize,
    pub(super) base: f64,
    pub(super) trees: Vec<Tree>,
}

impl Ensemble {
    /// The score before any tree: the weighted mean target, or 0 when the fit started from scores.
    pub fn base(&self) -> f64 {
        self.base
    }

    /// Number of features a row has.
    pub fn features(&self) -> usize {
        self.features
    }

    /// Number of trees kept.
    pub fn rounds(&self) -> usize {
        self.trees.len()
    }

    /// The score of a raw row, in label units; where the fit started from scores, what to add to
    /// them. `None` when the row's length is not [`Ensemble::features`].
    pub fn score(&self, row: &[f64]) -> Option<f64> {
        let add = |score: f64, tree: &Tree| score + tree.value(row);
        (row.len() == self.features).then(|| self.trees.iter().fold(self.base, add))
    }

    /// Scores of raw rows (n × p), equal to [`Ensemble::score`] of each; `None` when p differs.
    pub fn score_rows(&self, rows: MatRef<'_, f64>) -> Option<Vec<f64>> {
        if rows.ncols() != self.features {
            return None;
        }
        let mut row = vec![0.0; self.features];
        let mut read: Vec<usize> =
            self.trees.iter().flat_map(|t| t.nodes.iter().map(|n| n.feature)).collect();
        read.sort_unstable();
        read.dedup();
        let mut one = |i: usize| {
            read.iter().for_each(|&j| row[j] = rows[(i, j)]);
            self.trees.iter().fold(self.base, |score, tree| score + tree.value(&row))
        };
        Some((0..rows.nrows()).map(&mut one).collect())
    }

    /// Scores of binned rows, equal to those of the raw rows they were made of.
    ///
    /// `None` unless every threshold is an edge of these bins: score with the edges of the fit.
    pub fn score_binned(&self, binned: &Binned) -> Option<Vec<f64>> {
        let edges = binned.edges();
        if edges.features() != self.features {
            return None;
        }
        let mut scores = vec![self.base; binned.rows()];
        for tree in &self.trees {
            let node = |n: &Node| Some(BinNode::new(n, edges.bin_of_threshold(n.feature, n.threshold)?));
            let nodes: Vec<BinNode> = tree.nodes.iter().map(node).collect::<Option<_>>()?;
            tree.add_binned(&nodes, binned, &mut scores);
        }
        Some(scores)
    }

    /// Total gain of each feature's cuts, in squared label units times weight, length p.
    pub fn importance(&self) -> Vec<f64> {
        let mut total = vec![0.0; self.features];
        for node in self.trees.iter().flat_map(|tree| &tree.nodes) {
            total[node.feature] += node.gain;
        }
        total
    }
}
