//! Histograms: for every feature a tree may use, sums of cells by bin.

use super::bins::{BLOCK, Binned, CELLS};

/// Sums of cells by bin, for each of the tree's features in order.
pub(super) type Histogram = Vec<[i64; CELLS]>;

/// The features a tree may use, ascending, as places within blocks.
pub(super) struct Chosen {
    /// All of them.
    pub features: Vec<usize>,
    /// Block number and the places within it.
    blocks: Vec<(usize, Vec<u8>)>,
}

impl Chosen {
    /// From ascending feature numbers.
    pub fn new(features: Vec<usize>) -> Chosen {
        let mut blocks: Vec<(usize, Vec<u8>)> = Vec::new();
        for &feature in &features {
            let place = (feature % BLOCK) as u8;
            match blocks.last_mut() {
                Some((block, places)) if *block == feature / BLOCK => places.push(place),
                _ => blocks.push((feature / BLOCK, vec![place])),
            }
        }
        Chosen { features, blocks }
    }
}

/// Fills `histogram` with the sums over `rows`; `cells[i]` belongs to `rows[i]`.
pub(super) fn build(
    binned: &Binned,
    chosen: &Chosen,
    rows: &[u32],
    cells: &[i64],
    histogram: &mut Histogram,
) {
    histogram.clear();
    histogram.resize(chosen.features.len(), [0; CELLS]);
    let mut rest = histogram.as_mut_slice();
    for (block, places) in &chosen.blocks {
        let (mine, after) = rest.split_at_mut(places.len());
        rest = after;
        let bins = binned.block(*block);
        match <&mut [[i64; CELLS]; BLOCK]>::try_from(&mut *mine) {
            Ok(full) => add_full(bins, rows, cells, full),
            Err(_) => add_some(bins, places, rows, cells, mine),
        }
    }
}

/// All 32 features of a block: fixed sizes leave no bound to check.
fn add_full(bins: &[[u8; BLOCK]], rows: &[u32], cells: &[i64], histogram: &mut [[i64; CELLS]; BLOCK]) {
    for (&row, &cell) in rows.iter().zip(cells) {
        let bins = &bins[row as usize];
        for place in 0..BLOCK {
            let sum = &mut histogram[place][usize::from(bins[place]) % CELLS];
            *sum = sum.wrapping_add(cell);
        }
    }
}

/// Some features of a block.
fn add_some(
    bins: &[[u8; BLOCK]],
    places: &[u8],
    rows: &[u32],
    cells: &[i64],
    histogram: &mut [[i64; CELLS]],
) {
    for (&row, &cell) in rows.iter().zip(cells) {
        let bins = &bins[row as usize];
        for (sums, &place) in histogram.iter_mut().zip(places) {
            let sum = &mut sums[usize::from(bins[usize::from(place) % BLOCK]) % CELLS];
            *sum = sum.wrapping_add(cell);
        }
    }
}

/// Turns a parent's histogram into that of the child that is not `child`.
pub(super) fn subtract(parent: &mut Histogram, child: &Histogram) {
    for (sums, less) in parent.iter_mut().zip(child) {
        for (sum, &l) in sums.iter_mut().zip(less) {
            *sum = sum.wrapping_sub(l);
        }
    }
}
