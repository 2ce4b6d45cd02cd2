//! Bins: where a feature's values are cut, and rows stored as bin numbers.

use faer::MatRef;

/// Most edges of a feature: 63 bins of values.
pub const EDGES_MAX: usize = 62;
/// The bin of what is missing, beside 0..=62 for values.
pub(super) const MISSING: u8 = 63;
/// Cells of a feature's histogram.
pub(super) const CELLS: usize = 64;
/// Features of a block.
pub(super) const BLOCK: usize = 32;

/// Where the bins of every feature end; may be shared by any number of fits.
#[derive(Clone, Debug, PartialEq)]
pub struct BinEdges {
    /// A feature's finite ascending upper edges, at most [`EDGES_MAX`]; a value on an edge is below it.
    edges: Vec<Vec<f64>>,
}

impl BinEdges {
    /// Edges that give every bin about as many rows of the sample (n × p) as the next.
    ///
    /// A value that alone fills a bin gets one of its own (the rule of LightGBM's greedy bins).
    /// Edges lie halfway between neighbouring values. What is not finite is left out.
    pub fn fit(sample: MatRef<'_, f64>) -> BinEdges {
        let feature = |j: usize| {
            let mut values: Vec<f64> = sample.col(j).iter().copied().filter(|v| v.is_finite()).collect();
            values.sort_unstable_by(f64::total_cmp);
            edges_of(&values)
        };
        BinEdges { edges: (0..sample.ncols()).map(feature).collect() }
    }

    /// Edges given by the caller, one list a feature; `None` unless every list is finite, strictly
    /// ascending and of at most [`EDGES_MAX`].
    pub fn from_edges(edges: Vec<Vec<f64>>) -> Option<BinEdges> {
        let fine = |e: &Vec<f64>| {
            e.len() <= EDGES_MAX && e.iter().all(|v| v.is_finite()) && e.windows(2).all(|w| w[0] < w[1])
        };
        edges.iter().all(fine).then_some(BinEdges { edges })
    }

    /// Number of features.
    pub fn features(&self) -> usize {
        self.edges.len()
    }

    /// A feature's upper edges, ascending; empty for one that does not vary.
    pub fn of(&self, feature: usize) -> &[f64] {
        &self.edges[feature]
    }

    /// The value at or below which a row goes left when it is cut after `bin`.
    pub(super) fn threshold(&self, feature: usize, bin: u8) -> f64 {
        self.edges[feature].get(usize::from(bin)).copied().unwrap_or(f64::MAX)
    }

    /// The inverse of [`BinEdges::threshold`]; `None` when no edge has exactly this value.
    pub(super) fn bin_of_threshold(&self, feature: usize, threshold: f64) -> Option<u8> {
        let edges = &self.edges[feature];
        let at = edges.partition_point(|&e| e < threshold);
        let found = edges.get(at) == Some(&threshold) || (at == edges.len() && threshold == f64::MAX);
        found.then_some(at as u8)
    }
}

/// Edges of one feature from its sorted finite values.
fn edges_of(values: &[f64]) -> Vec<f64> {
    let mut distinct: Vec<(f64, usize)> = Vec::new();
    for &value in values {
        match distinct.last_mut() {
            Some((last, count)) if *last == value => *count += 1,
            _ => distinct.push((value, 1)),
        }
    }
    let cut = |i: usize| halfway(distinct[i].0, distinct[i + 1].0);
    let last = distinct.len().saturating_sub(1);
    if last <= EDGES_MAX {
        return (0..last).map(cut).collect();
    }
    let bins = EDGES_MAX + 1;
    let heavy = |i: usize| distinct[i].1 * bins >= values.len();
    let heavies = (0..distinct.len()).filter(|&i| heavy(i)).count();
    let mut light_rows: usize = distinct.iter().map(|d| d.1).filter(|c| c * bins < values.len()).sum();
    let mut light_bins = bins - heavies;
    let mut size = light_rows as f64 / light_bins.max(1) as f64;
    let mut edges = Vec::with_capacity(EDGES_MAX);
    let mut filled = 0_usize;
    for i in 0..last {
        if !heavy(i) {
            light_rows -= distinct[i].1;
        }
        filled += distinct[i].1;
        let before_heavy = heavy(i + 1) && filled as f64 >= (0.5 * size).max(1.0);
        if heavy(i) || filled as f64 >= size || before_heavy {
            edges.push(cut(i));
            if edges.len() == EDGES_MAX {
                break;
            }
            filled = 0;
            if !heavy(i) {
                light_bins = light_bins.saturating_sub(1);
                size = light_rows as f64 / light_bins.max(1) as f64;
            }
        }
    }
    edges
}

/// A number `m` with `low <= m < high`, halfway where there is one.
fn halfway(low: f64, high: f64) -> f64 {
    let middle = 0.5 * low + 0.5 * high;
    if low <= middle && middle < high { middle } else { low }
}

/// Rows as bin numbers, in blocks of 32 features, row-major within a block.
#[derive(Clone, Debug)]
pub struct Binned {
    edges: BinEdges,
    /// One list of rows a block; the places after the last feature hold 0.
    blocks: Vec<Vec<[u8; BLOCK]>>,
    rows: usize,
}

impl Binned {
    /// No rows yet.
    pub fn new(edges: BinEdges) -> Binned {
        let blocks = vec![Vec::new(); edges.features().div_ceil(BLOCK)];
        Binned { edges, blocks, rows: 0 }
    }

    /// Rows (n × p) binned by `edges`; `None` when p is not the edges'.
    pub fn from_rows(edges: &BinEdges, rows: MatRef<'_, f64>) -> Option<Binned> {
        let mut binned = Binned::new(edges.clone());
        binned.push_rows(rows).then_some(binned)
    }

    /// Appends rows (n × p); `false`, and nothing done, when p is not the edges'.
    #[must_use]
    pub fn push_rows(&mut self, rows: MatRef<'_, f64>) -> bool {
        if rows.ncols() != self.edges.features() {
            return false;
        }
        let from = self.rows;
        self.rows += rows.nrows();
        for (b, block) in self.blocks.iter_mut().enumerate() {
            block.resize(self.rows, [0; BLOCK]);
            for j in b * BLOCK..rows.ncols().min((b + 1) * BLOCK) {
                let padded = padded(&self.edges.edges[j]);
                let place = j % BLOCK;
                for (row, &value) in block[from..].iter_mut().zip(rows.col(j).iter()) {
                    row[place] = bin(&padded, value);
                }
            }
        }
        true
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Where the bins end.
    pub fn edges(&self) -> &BinEdges {
        &self.edges
    }

    /// The rows of one block of features.
    pub(super) fn block(&self, block: usize) -> &[[u8; BLOCK]] {
        &self.blocks[block]
    }
}

/// Edges filled up to a power of two with what no value exceeds.
fn padded(edges: &[f64]) -> [f64; CELLS] {
    let mut all = [f64::INFINITY; CELLS];
    all[..edges.len()].copy_from_slice(edges);
    all
}

/// The number of edges below a value, by halving without branches.
fn bin(padded: &[f64; CELLS], value: f64) -> u8 {
    if !value.is_finite() {
        return MISSING;
    }
    let mut below = 0;
    for step in [32, 16, 8, 4, 2, 1] {
        below += if padded[(below + step - 1) & (CELLS - 1)] < value { step } else { 0 };
    }
    below as u8
}
