//! Would the run's own way of choosing have chosen well? One figure for a whole run.
//!
//! Every lane at every policy is a variant that somebody could have picked. Combinatorially
//! symmetric cross-validation takes half of the days, picks the best variant there, and looks at it
//! on the other half, over all halves. It is reported, never a gate: with few days it is a noisy
//! number, and it says nothing of a single coin.

use std::collections::BTreeSet;

use crate::stats::overfitting::probability_of_overfitting;
use crate::stats::quantiles::median;
use crate::stats::regression::{Origin, least_squares_line};

/// Most time blocks: 12,870 halves.
pub const BLOCKS_MAX: usize = 16;
/// Fewest time blocks: 6 halves.
pub const BLOCKS_MIN: usize = 4;
/// Fewest days in a block, so that a block is longer than a position.
pub const BLOCK_DAYS_MIN: usize = 5;

/// How the choice among a run's variants would have fared.
#[derive(Clone, Debug, PartialEq)]
pub struct RunOverfitting {
    /// Share of halves whose best variant was at or below the median on the other half: .5 is no
    /// better than chance.
    pub pbo: f64,
    /// Share of halves whose best variant lost money on the other half.
    pub loss_probability: f64,
    /// Slope of the best variant's Sharpe ratio on the other half against its own on the half it
    /// was chosen on (performance degradation). The two halves make up one whole, which alone pulls
    /// it below zero: compare runs with it, do not test it. `None` when the former never varies.
    pub degradation_slope: Option<f64>,
    /// Median Sharpe ratio a day of the best variants where they were chosen.
    pub in_sample_sharpe: f64,
    /// Median Sharpe ratio a day of the same variants on the other half.
    pub out_of_sample_sharpe: f64,
    /// Variants compared: distinct ones that ever traded.
    pub variants: usize,
    /// Days each has.
    pub days: usize,
    /// Time blocks the days were cut into.
    pub blocks: usize,
    /// Halves looked at.
    pub halves: usize,
}

/// Overfitting of the choice among `variants`: one column of daily net results each, on the same
/// days. Copies (two policies that traded alike) count once, columns that never vary not at all.
///
/// Blocks are as many as days allow: even, at most [`BLOCKS_MAX`], each [`BLOCK_DAYS_MIN`] days or
/// longer. `None` when that leaves fewer than [`BLOCKS_MIN`] or fewer than two variants, lengths
/// differ or a value is not finite. O(halves × variants × (blocks + log variants)).
pub fn run_overfitting(variants: &[&[f64]]) -> Option<RunOverfitting> {
    let days = variants.first()?.len();
    let regular = variants.iter().all(|v| v.len() == days && v.iter().all(|x| x.is_finite()));
    let blocks = blocks(days)?;
    let distinct = distinct(variants);
    if !regular || distinct.len() < 2 {
        return None;
    }
    let found = probability_of_overfitting(&distinct, blocks)?;
    let pairs = found.winners.iter().filter_map(|w| w.in_sample.zip(w.out_of_sample));
    let (chosen, later): (Vec<f64>, Vec<f64>) = pairs.unzip();
    let losses = later.iter().filter(|sharpe| **sharpe < 0.0).count();
    Some(RunOverfitting {
        pbo: found.pbo,
        loss_probability: losses as f64 / found.winners.len() as f64,
        degradation_slope: least_squares_line(&chosen, &later, Origin::Free).map(|line| line.slope),
        in_sample_sharpe: median(&chosen)?,
        out_of_sample_sharpe: median(&later)?,
        variants: distinct.len(),
        days,
        blocks,
        halves: found.winners.len(),
    })
}

/// The largest even number of blocks these days allow.
fn blocks(days: usize) -> Option<usize> {
    let most = (days / BLOCK_DAYS_MIN).min(BLOCKS_MAX);
    let even = most - most % 2;
    (even >= BLOCKS_MIN).then_some(even)
}

/// The first of each group of equal columns that vary, in order.
fn distinct<'a>(variants: &[&'a [f64]]) -> Vec<&'a [f64]> {
    let mut seen = BTreeSet::new();
    let varies = |v: &[f64]| v.iter().any(|x| *x != v[0]);
    // + 0 makes one of the two zeros.
    let mut is_new = |v: &[f64]| seen.insert(v.iter().map(|x| (x + 0.0).to_bits()).collect::<Vec<u64>>());
    variants.iter().copied().filter(|v| varies(v) && is_new(v)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Seed;
    use rand_distr::{Distribution, StandardNormal};

    fn reference() -> Vec<Vec<f64>> {
        let csv = include_str!("../../tests/fixtures/stats_pbo_matrix.csv");
        let row = |line: &str| -> Vec<f64> { line.split(',').map(|cell| cell.parse().unwrap()).collect() };
        let rows: Vec<Vec<f64>> = csv.lines().skip(1).map(row).collect();
        (0..rows[0].len()).map(|j| rows.iter().map(|row| row[j]).collect()).collect()
    }

    fn columns(x: &[Vec<f64>]) -> Vec<&[f64]> {
        x.iter().map(Vec::as_slice).collect()
    }

    /// `edges.len()` variants that share half of their noise, with a daily edge each.
    fn planted(days: usize, edges: &[f64], seed: u64) -> Vec<Vec<f64>> {
        let mut rng = Seed(seed).rng();
        let mut normal = |_| -> f64 { StandardNormal.sample(&mut rng) };
        let common: Vec<f64> = (0..days).map(&mut normal).collect();
        edges.iter().map(|edge| common.iter().map(|c| edge + c + normal(0)).collect()).collect()
    }

    #[test]
    fn the_figures_are_those_of_the_reference() {
        // numpy 2.4 and scipy 1.17 (linregress) over all 12,870 halves of 16 blocks.
        let found = run_overfitting(&columns(&reference())).unwrap();
        assert_eq!((found.variants, found.days, found.blocks, found.halves), (12, 160, 16, 12_870));
        for (found, expected) in [
            (found.pbo, 0.4425019425019425),
            (found.degradation_slope.unwrap(), -0.5007935376509336),
            (found.loss_probability, 0.41647241647241645),
            (found.in_sample_sharpe, 0.20586953513041412),
            (found.out_of_sample_sharpe, 0.025871988948909304),
        ] {
            assert!((found / expected - 1.0).abs() < 1e-9, "{found} {expected}");
        }
    }

    #[test]
    fn a_truly_better_variant_is_chosen_rightly_and_noise_by_chance() {
        let mean = |edges: &[f64]| {
            let pbo = |seed| run_overfitting(&columns(&planted(150, edges, seed))).unwrap().pbo;
            (0..20).map(pbo).sum::<f64>() / 20.0
        };
        let mut edges = [0.0; 10];
        let noise = mean(&edges);
        assert!((0.35..0.65).contains(&noise), "{noise}");
        edges[4] = 1.0;
        assert!(mean(&edges) < 0.02);
        let good = run_overfitting(&columns(&planted(150, &edges, 1))).unwrap();
        assert!(good.loss_probability < 0.01 && good.out_of_sample_sharpe > 0.3);
    }

    #[test]
    fn copies_and_idle_variants_change_nothing() {
        let plain = planted(60, &[0.1, 0.0, 0.0], 7);
        let mut more = plain.clone();
        more.insert(1, plain[0].clone());
        more.push(vec![0.0; 60]);
        more.push(plain[2].clone());
        assert_eq!(run_overfitting(&columns(&more)), run_overfitting(&columns(&plain)));
    }

    #[test]
    fn blocks_follow_the_days_and_too_little_is_none() {
        for (days, expected) in
            [(19, None), (20, Some(4)), (29, Some(4)), (30, Some(6)), (79, Some(14)), (900, Some(16))]
        {
            assert_eq!(blocks(days), expected, "{days}");
        }
        let good = planted(40, &[0.0, 0.0], 1);
        assert!(run_overfitting(&columns(&good)).is_some());
        assert_eq!(run_overfitting(&columns(&[good[0].clone(), good[0].clone()])), None);
        assert_eq!(run_overfitting(&[&good[0], &good[1][1..]]), None);
        assert_eq!(run_overfitting(&[&good[0][..19], &good[1][..19]]), None);
        assert_eq!(run_overfitting(&[]), None);
        let mut broken = good.clone();
        broken[1][3] = f64::NAN;
        assert_eq!(run_overfitting(&columns(&broken)), None);
    }
}
