//! Combinatorial purged cross-validation (López de Prado 2018, chapter 12).

use std::ops::Range;

/// One way to choose test blocks, with the rows that may train against it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurgedSplit {
    /// Which blocks are tested, ascending.
    pub test_blocks: Vec<usize>,
    /// Row ranges of the test blocks, same order.
    pub test: Vec<Range<usize>>,
    /// Rows left for training after purge and embargo, ascending.
    pub train: Vec<usize>,
}

/// All C(`blocks`, `test_blocks`) splits of rows 0..n, n = `label_end.len()`, in lexicographic
/// order. Row i's label uses data up to row `label_end[i]` (≥ i, not decreasing).
///
/// A row is dropped from training when its span `[i, label_end[i]]` touches a test block's
/// `[first, label_end[last] + embargo]`. `None` when `test_blocks` is not in 1..`blocks` or there
/// are fewer rows than blocks.
pub fn combinatorial_purged_splits(
    label_end: &[usize],
    blocks: usize,
    test_blocks: usize,
    embargo: usize,
) -> Option<Vec<PurgedSplit>> {
    if test_blocks == 0 || test_blocks >= blocks || label_end.len() < blocks {
        return None;
    }
    let spans = near_equal_blocks(label_end.len(), blocks);
    let split = |chosen: Vec<usize>| {
        let test: Vec<Range<usize>> = chosen.iter().map(|&b| spans[b].clone()).collect();
        let touches = |row: usize| {
            test.iter().any(|t| row <= label_end[t.end - 1] + embargo && label_end[row] >= t.start)
        };
        let train = (0..label_end.len()).filter(|&row| !touches(row)).collect();
        PurgedSplit { test_blocks: chosen, test, train }
    };
    Some(combinations(blocks, test_blocks).into_iter().map(split).collect())
}

/// Number of complete backtest paths the splits make up: C(N, k)·k/N.
pub fn backtest_paths(blocks: usize, test_blocks: usize) -> usize {
    (combinations(blocks, test_blocks).len() * test_blocks).checked_div(blocks).unwrap_or(0)
}

/// `rows` cut into `blocks` consecutive ranges whose lengths differ by at most one, the longer
/// ones first (numpy's `array_split`).
pub fn near_equal_blocks(rows: usize, blocks: usize) -> Vec<Range<usize>> {
    let mut start = 0;
    let take = |block: usize| {
        let length = rows / blocks + usize::from(block < rows % blocks);
        start += length;
        start - length..start
    };
    (0..blocks).map(take).collect()
}

/// All ways to choose `k` of 0..n, each ascending, in lexicographic order.
pub fn combinations(n: usize, k: usize) -> Vec<Vec<usize>> {
    if k > n {
        return Vec::new();
    }
    let mut current: Vec<usize> = (0..k).collect();
    let mut all = vec![current.clone()];
    while let Some(place) = (0..k).rev().find(|&i| current[i] < n - k + i) {
        current[place] += 1;
        for i in place + 1..k {
            current[i] = current[i - 1] + 1;
        }
        all.push(current.clone());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn combinations_and_blocks_are_complete() {
        assert_eq!(combinations(4, 2).len(), 6);
        assert_eq!(combinations(3, 3), vec![vec![0, 1, 2]]);
        assert_eq!(combinations(2, 3), Vec::<Vec<usize>>::new());
        assert_eq!(near_equal_blocks(7, 3), vec![0..3, 3..5, 5..7]);
        assert_eq!(backtest_paths(6, 2), 5);
    }

    #[test]
    fn no_training_label_touches_a_test_span() {
        let ends: Vec<usize> = (0..60_usize).map(|i| (i + 4).min(59)).collect();
        for split in combinatorial_purged_splits(&ends, 5, 2, 3).unwrap() {
            for (row, t) in split.train.iter().flat_map(|r| split.test.iter().map(move |t| (*r, t))) {
                assert!(ends[row] < t.start || row > ends[t.end - 1] + 3);
            }
        }
        assert_eq!(combinatorial_purged_splits(&ends, 5, 5, 0), None);
    }
}
