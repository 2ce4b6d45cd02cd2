//! One tree, best-first: of all leaves the one whose split gains most is cut next.

use super::bins::Binned;
use super::ensemble::{BinNode, Node, Tree};
use super::histogram::{self, Chosen, Histogram};
use super::quantise::Scale;
use super::split::{self, Limits, Split};
use std::ops::Range;

/// What one tree is grown on and how far.
pub(super) struct Growth<'a> {
    pub binned: &'a Binned,
    pub chosen: &'a Chosen,
    pub scale: Scale,
    pub limits: &'a Limits,
    pub leaves_max: usize,
    pub depth_max: usize,
    pub learning_rate: f64,
}

/// The rows of a tree and their cells, sorted by leaf as the tree grows; buffers for reuse.
#[derive(Default)]
pub(super) struct Rows {
    /// Row numbers, ascending within a leaf.
    pub rows: Vec<u32>,
    /// The cell of each of `rows`.
    pub cells: Vec<i64>,
    aside_rows: Vec<u32>,
    aside_cells: Vec<i64>,
    pool: Vec<Histogram>,
}

/// A tree with what fitting needs to know of it.
pub(super) struct Grown {
    pub tree: Tree,
    /// The tree's nodes in bins.
    pub nodes: Vec<BinNode>,
    /// Where each leaf's rows are in [`Rows::rows`].
    pub leaves: Vec<Range<usize>>,
}

/// A leaf that may still be cut.
struct Leaf {
    range: Range<usize>,
    depth: usize,
    total: i64,
    histogram: Option<Histogram>,
    split: Option<Split>,
    /// The node above, and whether this is its left child.
    parent: Option<(usize, bool)>,
}

/// Grows a tree on `rows`; `None` when no split of the root is worth it.
pub(super) fn grow(growth: &Growth<'_>, rows: &mut Rows) -> Option<Grown> {
    let total = rows.cells.iter().fold(0_i64, |sum, &cell| sum.wrapping_add(cell));
    let mut root =
        Leaf { range: 0..rows.rows.len(), depth: 0, total, histogram: None, split: None, parent: None };
    if growth.may_split(&root) {
        let histogram = rows.histogram(growth, &root.range);
        growth.find_split(&mut root, histogram);
    }
    let mut leaves = vec![root];
    let (mut nodes, mut bin_nodes) = (Vec::new(), Vec::new());
    while leaves.len() < growth.leaves_max {
        let Some((at, split)) = best_leaf(&leaves) else { break };
        let number = nodes.len();
        let (node, bin_node) = growth.node(&split);
        nodes.push(node);
        bin_nodes.push(bin_node);
        let (range, depth) = (leaves[at].range.clone(), leaves[at].depth + 1);
        let middle = rows.partition(growth.binned, range.clone(), bin_node);
        let child = |range: Range<usize>, total: i64, is_left: bool| Leaf {
            range,
            depth,
            total,
            histogram: None,
            split: None,
            parent: Some((number, is_left)),
        };
        let mut left = child(range.start..middle, split.left, true);
        let mut right = child(middle..range.end, leaves[at].total.wrapping_sub(split.left), false);
        let parent_histogram = leaves[at].histogram.take();
        // The last cut's children are never cut themselves.
        if leaves.len() + 1 < growth.leaves_max {
            rows.split_children(growth, &mut left, &mut right, parent_histogram);
        } else {
            rows.pool.extend(parent_histogram);
        }
        if let Some((above, is_left)) = leaves[at].parent {
            nodes[above].set_child(is_left, number as i32);
            bin_nodes[above].set_child(is_left, number as i32);
        }
        leaves[at] = left;
        leaves.push(right);
    }
    for (number, leaf) in leaves.iter_mut().enumerate() {
        rows.pool.extend(leaf.histogram.take());
        if let Some((above, is_left)) = leaf.parent {
            nodes[above].set_child(is_left, !(number as i32));
            bin_nodes[above].set_child(is_left, !(number as i32));
        }
    }
    if nodes.is_empty() {
        return None;
    }
    let values = leaves.iter().map(|leaf| growth.leaf_value(leaf.total)).collect();
    let ranges = leaves.into_iter().map(|leaf| leaf.range).collect();
    Some(Grown { tree: Tree { nodes, values }, nodes: bin_nodes, leaves: ranges })
}

/// The leaf to cut next and how: highest gain, the first of equals.
fn best_leaf(leaves: &[Leaf]) -> Option<(usize, Split)> {
    let mut best: Option<(usize, Split)> = None;
    for (at, leaf) in leaves.iter().enumerate() {
        if let Some(split) = leaf.split
            && best.is_none_or(|(_, b)| split.gain > b.gain)
        {
            best = Some((at, split));
        }
    }
    best
}

impl Growth<'_> {
    fn may_split(&self, leaf: &Leaf) -> bool {
        leaf.depth < self.depth_max && self.scale.parts(leaf.total).1 >= 2.0 * self.limits.weight_min
    }

    /// Looks for the leaf's split, and keeps the histogram for its children.
    fn find_split(&self, leaf: &mut Leaf, histogram: Histogram) {
        let edges = self.binned.edges();
        leaf.split = split::best(&histogram, self.chosen, edges, leaf.total, self.scale, self.limits);
        leaf.histogram = Some(histogram);
    }

    fn node(&self, split: &Split) -> (Node, BinNode) {
        let node = Node {
            feature: split.feature,
            threshold: self.binned.edges().threshold(split.feature, split.bin),
            missing_left: split.missing_left,
            left: 0,
            right: 0,
            gain: split.gain * self.scale.level * self.scale.level * self.scale.step,
        };
        let bin_node = BinNode::new(&node, split.bin);
        (node, bin_node)
    }

    fn leaf_value(&self, total: i64) -> f64 {
        let (sum, weight) = self.scale.parts(total);
        self.learning_rate * (sum * self.scale.level / (weight + self.limits.lambda))
    }
}

impl Node {
    fn set_child(&mut self, is_left: bool, child: i32) {
        *(if is_left { &mut self.left } else { &mut self.right }) = child;
    }
}

impl BinNode {
    fn set_child(&mut self, is_left: bool, child: i32) {
        *(if is_left { &mut self.left } else { &mut self.right }) = child;
    }
}

impl Rows {
    fn histogram(&mut self, growth: &Growth<'_>, range: &Range<usize>) -> Histogram {
        let mut histogram = self.pool.pop().unwrap_or_default();
        let (rows, cells) = (&self.rows[range.clone()], &self.cells[range.clone()]);
        histogram::build(growth.binned, growth.chosen, rows, cells, &mut histogram);
        histogram
    }

    /// Splits of two siblings: one histogram is summed, over the fewer rows, the other subtracted.
    fn split_children(
        &mut self,
        growth: &Growth<'_>,
        left: &mut Leaf,
        right: &mut Leaf,
        parent: Option<Histogram>,
    ) {
        let (small, large) =
            if left.range.len() <= right.range.len() { (left, right) } else { (right, left) };
        let Some(mut rest) = parent else { return };
        if !growth.may_split(small) && !growth.may_split(large) {
            self.pool.push(rest);
            return;
        }
        let histogram = self.histogram(growth, &small.range);
        histogram::subtract(&mut rest, &histogram);
        for (leaf, histogram) in [(small, histogram), (large, rest)] {
            if growth.may_split(leaf) {
                growth.find_split(leaf, histogram);
            } else {
                self.pool.push(histogram);
            }
        }
    }

    /// Moves the rows of a leaf that go left before those that go right, each in their order; where
    /// the right ones start.
    fn partition(&mut self, binned: &Binned, range: Range<usize>, node: BinNode) -> usize {
        let bins = binned.block(node.block as usize);
        let (rows, cells) = (&mut self.rows[range.clone()], &mut self.cells[range.clone()]);
        self.aside_rows.resize(self.aside_rows.len().max(rows.len()), 0);
        self.aside_cells.resize(self.aside_cells.len().max(rows.len()), 0);
        let (mut left, mut right) = (0, 0);
        for i in 0..rows.len() {
            let (row, cell) = (rows[i], cells[i]);
            let goes_left = node.goes_left(bins[row as usize][usize::from(node.place)]);
            // Both are written and one is kept: no branch to mispredict.
            rows[left] = row;
            cells[left] = cell;
            self.aside_rows[right] = row;
            self.aside_cells[right] = cell;
            left += usize::from(goes_left);
            right += usize::from(!goes_left);
        }
        rows[left..].copy_from_slice(&self.aside_rows[..right]);
        cells[left..].copy_from_slice(&self.aside_cells[..right]);
        range.start + left
    }
}
