//! Gradient-boosted trees on histograms of binned features, for squared loss.
//!
//! Rows become u8 bins once ([`Binned`], at most 63 bins a feature and one for what is missing), in
//! blocks of 32 features, so that a block's histogram stays in the first-level cache. Residuals are
//! quantised to 16 bits and packed with the row's weight into one integer: histogram sums are exact,
//! hence independent of the order of rows, and a sibling is the parent minus its twin. Trees grow
//! best-first (Shi 2007; Ke et al. 2017) by the second-order gain of Chen & Guestrin (2016).
//!
//! A value that is not finite is missing and goes to the side the training rows say. What does not
//! live here: which rows may be seen, and what a score is worth.

mod arrays;
mod bins;
mod ensemble;
mod fit;
mod grow;
mod histogram;
mod lightgbm;
mod quantise;
mod split;

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;

pub use arrays::TreesError;
pub use bins::{BinEdges, Binned, EDGES_MAX};
pub use ensemble::Ensemble;
pub use fit::{fit, fit_watched};

use crate::words::Seed;

/// How trees are grown and how many.
///
/// The default is for faint signals: a split must earn what noise hardly ever earns, so that pure
/// noise is given no tree at all. It counts a row as one independent observation: where labels
/// overlap, give weights of 1 / horizon. A `row_share` of that size only thins what each tree sees;
/// together they see every row, and on labels of random sign some earned a tree.
#[derive(Clone, Debug, PartialEq)]
pub struct TreesSpec {
    /// Most trees.
    pub rounds: usize,
    /// Most leaves of a tree, at least 2.
    pub leaves: usize,
    /// Shrinkage of every tree, in (0, 1].
    pub learning_rate: f64,
    /// Added to the weight of a leaf when its value is estimated, in rows of weight 1.
    pub lambda_l2: f64,
    /// Least weight of a leaf, in rows of weight 1.
    pub min_leaf_weight: f64,
    /// Least gain of a split, in weighted mean squares of what is to be fitted. Without signal a
    /// given split's gain is about χ² with one degree of freedom.
    pub min_gain: f64,
    /// Share of the features each tree may use, in (0, 1].
    pub feature_share: f64,
    /// Share of the rows each tree is grown on, in (0, 1]; drawn by row, without replacement.
    pub row_share: f64,
    /// Stop when the held-out loss has had no new minimum for so many rounds; `None` tries all.
    pub early_stop_rounds: Option<usize>,
    /// Most splits between root and leaf.
    pub max_depth: Option<usize>,
    /// Where the draws of features and rows start.
    pub seed: Seed,
}

impl Default for TreesSpec {
    fn default() -> TreesSpec {
        TreesSpec {
            rounds: 200,
            leaves: 8,
            learning_rate: 0.05,
            lambda_l2: 100.0,
            min_leaf_weight: 100.0,
            min_gain: 20.0,
            feature_share: 0.5,
            row_share: 1.0,
            early_stop_rounds: Some(20),
            max_depth: None,
            seed: Seed(0),
        }
    }
}

impl TreesSpec {
    /// Whether every number is in the range its field says.
    fn is_valid(&self) -> bool {
        let share = |s: f64| s > 0.0 && s <= 1.0;
        let amount = |a: f64| a.is_finite() && a >= 0.0;
        self.leaves >= 2
            && [self.learning_rate, self.feature_share, self.row_share].into_iter().all(share)
            && [self.lambda_l2, self.min_leaf_weight, self.min_gain].into_iter().all(amount)
    }
}

/// Rows that are not trained on, by which the number of rounds is chosen.
#[derive(Clone, Copy, Debug)]
pub struct HeldOut<'a> {
    /// Binned with the edges of the training rows.
    pub rows: &'a Binned,
    /// What is to be foretold, length n.
    pub target: &'a [f64],
    /// Row weights, length n.
    pub weight: Option<&'a [f64]>,
    /// Scores to start from, length n; given exactly when the training rows have them.
    pub init: Option<&'a [f64]>,
}
