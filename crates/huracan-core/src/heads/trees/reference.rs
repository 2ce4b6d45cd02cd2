//! Boosted trees as a textbook has them: no quantising, no histograms, every cut tried over the
//! rows themselves. The oracle of the tests.

use super::{BinEdges, TreesSpec};
use faer::Mat;

/// A cut as the oracle sees it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cut {
    pub feature: usize,
    pub threshold: f64,
    pub missing_left: bool,
    pub gain: f64,
}

/// Trees' cuts in the order they were made, and the scores of the training rows.
pub(super) struct Fitted {
    pub cuts: Vec<Vec<Cut>>,
    pub scores: Vec<f64>,
}

/// Fits as `fit` does, without draws, depth limit or held-out rows.
pub(super) fn fit(rows: &Mat<f64>, edges: &BinEdges, y: &[f64], w: &[f64], spec: &TreesSpec) -> Fitted {
    let total: f64 = w.iter().sum();
    let base = y.iter().zip(w).map(|(y, w)| y * w).sum::<f64>() / total;
    let mut scores = vec![base; y.len()];
    let square = y.iter().zip(w).map(|(y, w)| w * (y - base).powi(2)).sum::<f64>() / total;
    let mut cuts = Vec::new();
    for _ in 0..spec.rounds {
        let residual: Vec<f64> = y.iter().zip(&scores).map(|(y, s)| y - s).collect();
        let tree = Tree { rows, edges, residual: &residual, w, spec, gain_min: spec.min_gain * square };
        let (made, leaves) = tree.grow();
        if made.is_empty() {
            break;
        }
        for leaf in leaves {
            let (sum, weight) = tree.sums(&leaf);
            leaf.iter().for_each(|&i| scores[i] += spec.learning_rate * sum / (weight + spec.lambda_l2));
        }
        cuts.push(made);
    }
    Fitted { cuts, scores }
}

struct Tree<'a> {
    rows: &'a Mat<f64>,
    edges: &'a BinEdges,
    residual: &'a [f64],
    w: &'a [f64],
    spec: &'a TreesSpec,
    gain_min: f64,
}

impl Tree<'_> {
    fn grow(&self) -> (Vec<Cut>, Vec<Vec<usize>>) {
        let mut leaves = vec![(0..self.w.len()).collect::<Vec<_>>()];
        let mut cuts = Vec::new();
        while leaves.len() < self.spec.leaves {
            let mut best: Option<(usize, Cut)> = None;
            for (at, leaf) in leaves.iter().enumerate() {
                if let Some(cut) = self.best(leaf)
                    && best.as_ref().is_none_or(|(_, b)| cut.gain > b.gain)
                {
                    best = Some((at, cut));
                }
            }
            let Some((at, cut)) = best else { break };
            let (left, right) = self.cut(&leaves[at], &cut);
            leaves[at] = left;
            leaves.push(right);
            cuts.push(cut);
        }
        (cuts, leaves)
    }

    fn best(&self, leaf: &[usize]) -> Option<Cut> {
        let mut best: Option<Cut> = None;
        for feature in 0..self.rows.ncols() {
            let missing = leaf.iter().any(|&i| !self.rows[(i, feature)].is_finite());
            let everything = missing.then_some(f64::MAX);
            for missing_left in [false, true] {
                if missing_left && !missing {
                    continue;
                }
                let last = if missing_left { None } else { everything };
                for &threshold in self.edges.of(feature).iter().chain(&last) {
                    let mut cut = Cut { feature, threshold, missing_left, gain: 0.0 };
                    let (left, right) = self.cut(leaf, &cut);
                    let ((gl, hl), (gr, hr), (g, h)) = (self.sums(&left), self.sums(&right), self.sums(leaf));
                    if hl.min(hr) < self.spec.min_leaf_weight || hl.min(hr) <= 0.0 {
                        continue;
                    }
                    let term = |g: f64, h: f64| g * g / (h + self.spec.lambda_l2);
                    cut.gain = term(gl, hl) + term(gr, hr) - term(g, h);
                    // Sums of other orders differ by rounding: equal gains are equal to 1e-9.
                    if cut.gain > best.as_ref().map_or(self.gain_min, |b| b.gain * (1.0 + 1e-9)) {
                        cut.missing_left |= !missing && hl >= hr;
                        best = Some(cut);
                    }
                }
            }
        }
        best
    }

    fn cut(&self, leaf: &[usize], cut: &Cut) -> (Vec<usize>, Vec<usize>) {
        leaf.iter().partition(|&&i| {
            let value = self.rows[(i, cut.feature)];
            if value.is_finite() { value <= cut.threshold } else { cut.missing_left }
        })
    }

    fn sums(&self, leaf: &[usize]) -> (f64, f64) {
        leaf.iter().fold((0.0, 0.0), |(g, h), &i| (g + self.w[i] * self.residual[i], h + self.w[i]))
    }
}
