//! Resampling that keeps serial dependence: the stationary bootstrap (Politis and Romano 1994) and
//! the circular block bootstrap (Politis and Romano 1992).
//!
//! A resample is drawn as blocks, never as rows: with prefix sums a block costs O(1), so hundreds
//! of repetitions over hundreds of coins take milliseconds.

use rand::RngExt;
use rand::rngs::StdRng;

use super::quantiles::quantile_sorted;
use crate::words::Seed;

/// Draws the blocks of one stationary resample of `n` ≥ 1 rows: calls `block(start, length)` until
/// the lengths add up to `n`. Starts are uniform, lengths geometric with mean `mean_block` (at
/// least 1); a block runs past the end into the beginning.
pub fn stationary_blocks(n: usize, mean_block: f64, rng: &mut StdRng, mut block: impl FnMut(usize, usize)) {
    let log_stay = log_stay(mean_block);
    let mut left = n;
    while left > 0 {
        // One draw serves both: the high half picks the start, the low half the length.
        let bits: u64 = rng.random();
        let start = (((bits >> 32) * n as u64) >> 32) as usize;
        let uniform = (f64::from(bits as u32) + 0.5) / 4_294_967_296.0;
        let length = 1.0 + (uniform.ln() / log_stay).floor();
        let length = if length < left as f64 { length as usize } else { left };
        block(start, length);
        left -= length;
    }
}

/// ln(1 − 1/mean): minus infinity when every block has one row.
fn log_stay(mean_block: f64) -> f64 {
    (1.0 - 1.0 / mean_block.max(1.0)).ln()
}

/// Row numbers of one stationary resample of `n` rows.
pub fn stationary_rows(n: usize, mean_block: f64, rng: &mut StdRng) -> Vec<usize> {
    let mut rows = Vec::with_capacity(n);
    if n > 0 {
        stationary_blocks(n, mean_block, rng, |start, length| {
            rows.extend((0..length).map(|offset| (start + offset) % n));
        });
    }
    rows
}

/// Means of `repetitions` stationary resamples of `x`, in the order drawn; empty when `x` is.
pub fn stationary_means(x: &[f64], mean_block: f64, repetitions: usize, seed: Seed) -> Vec<f64> {
    let sums = PrefixSums::new(x, 0.0);
    resampled_sums(&sums, x.len(), mean_block, repetitions, seed)
        .map(|(sum, _)| sum / x.len() as f64)
        .collect()
}

/// Per-period Sharpe ratios (n − 1) of `repetitions` stationary resamples of `x`, in the order
/// drawn. Resamples without variance are left out, so fewer may come back.
pub fn stationary_sharpes(x: &[f64], mean_block: f64, repetitions: usize, seed: Seed) -> Vec<f64> {
    let n = x.len() as f64;
    if x.len() < 2 {
        return Vec::new();
    }
    // Squares are summed about the sample mean, so that nothing cancels.
    let centre = x.iter().sum::<f64>() / n;
    let sums = PrefixSums::new(x, centre);
    let floor = 1e-20 * sums.squares[x.len()];
    resampled_sums(&sums, x.len(), mean_block, repetitions, seed)
        .filter_map(|(sum, squares)| {
            let deviations = squares - sum * sum / n;
            (deviations > floor).then(|| (centre + sum / n) / (deviations / (n - 1.0)).sqrt())
        })
        .collect()
}

/// The central `level` (such as 0.95) percentile interval of resampled figures; `None` when there
/// are fewer than 20 or one is NaN.
pub fn percentile_interval(mut resampled: Vec<f64>, level: f64) -> Option<[f64; 2]> {
    if resampled.len() < 20 || resampled.iter().any(|v| v.is_nan()) {
        return None;
    }
    resampled.sort_unstable_by(f64::total_cmp);
    let tail = (1.0 - level) / 2.0;
    Some([quantile_sorted(&resampled, tail)?, quantile_sorted(&resampled, 1.0 - tail)?])
}

/// Sums of values and squares from the first row on, over two rounds of the circle.
struct PrefixSums {
    values: Vec<f64>,
    squares: Vec<f64>,
}

impl PrefixSums {
    fn new(x: &[f64], centre: f64) -> PrefixSums {
        let mut values = Vec::with_capacity(2 * x.len() + 1);
        let mut squares = Vec::with_capacity(2 * x.len() + 1);
        let (mut sum, mut square) = (0.0, 0.0);
        values.push(0.0);
        squares.push(0.0);
        for v in x.iter().chain(x) {
            let e = v - centre;
            sum += e;
            square += e * e;
            values.push(sum);
            squares.push(square);
        }
        PrefixSums { values, squares }
    }
}

/// Sum of values and of squares of each resample.
fn resampled_sums(
    sums: &PrefixSums,
    n: usize,
    mean_block: f64,
    repetitions: usize,
    seed: Seed,
) -> impl Iterator<Item = (f64, f64)> {
    let mut rng = seed.rng();
    let repetitions = if n == 0 { 0 } else { repetitions };
    (0..repetitions).map(move |_| {
        let (mut sum, mut square) = (0.0, 0.0);
        stationary_blocks(n, mean_block, &mut rng, |start, length| {
            sum += sums.values[start + length] - sums.values[start];
            square += sums.squares[start + length] - sums.squares[start];
        });
        (sum, square)
    })
}

/// Mean of each circular block resample of `x`: repetition `r` joins blocks of `block` rows that
/// start at `starts[r]` (each < n) and wrap around. `None` when `x` or a repetition is empty, or a
/// start or the block is longer than the series.
pub fn circular_block_means(x: &[f64], starts: &[Vec<usize>], block: usize) -> Option<Vec<f64>> {
    let fits = |row: &Vec<usize>| !row.is_empty() && row.iter().all(|&s| s < x.len());
    if block == 0 || block > x.len() || !starts.iter().all(fits) {
        return None;
    }
    let sums = PrefixSums::new(x, 0.0);
    let total = |row: &Vec<usize>| row.iter().map(|&s| sums.values[s + block] - sums.values[s]).sum::<f64>();
    Some(starts.iter().map(|row| total(row) / (row.len() * block) as f64).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::moments::{mean, std_dev};
    use crate::stats::sharpe::sharpe;

    #[test]
    fn blocks_have_the_asked_mean_length_and_fill_the_sample() {
        let mut rng = Seed(1).rng();
        let (mut blocks, mut rows) = (0, 0);
        for _ in 0..200 {
            stationary_blocks(1000, 5.0, &mut rng, |start, length| {
                assert!(start < 1000);
                blocks += 1;
                rows += length;
            });
        }
        assert_eq!(rows, 200_000);
        assert!((rows as f64 / f64::from(blocks) - 5.0).abs() < 0.1);
    }

    #[test]
    fn sums_by_blocks_equal_sums_by_rows() {
        let x: Vec<f64> = (0..50).map(|i| f64::from(i * i % 17) - 6.0).collect();
        let fast = stationary_sharpes(&x, 4.0, 30, Seed(9));
        let mut rng = Seed(9).rng();
        for found in fast {
            let rows = stationary_rows(50, 4.0, &mut rng);
            let sample: Vec<f64> = rows.iter().map(|&i| x[i]).collect();
            assert!((found - sharpe(&sample).unwrap()).abs() < 1e-12);
        }
    }

    #[test]
    fn a_block_of_one_is_the_ordinary_bootstrap() {
        let x: Vec<f64> = (0..100).map(f64::from).collect();
        let means = stationary_means(&x, 1.0, 4000, Seed(2));
        let expected = std_dev(&x).unwrap() / 10.0;
        assert!((std_dev(&means).unwrap() / expected - 1.0).abs() < 0.05);
        assert!((mean(&means).unwrap() - 49.5).abs() < 0.3);
    }

    #[test]
    fn the_same_seed_gives_the_same_interval_and_empty_gives_none() {
        let x = [1.0, -2.0, 3.0, 0.5, 0.2, -0.7];
        let interval = |seed| percentile_interval(stationary_sharpes(&x, 2.0, 100, Seed(seed)), 0.95);
        assert_eq!(interval(4), interval(4));
        assert_ne!(interval(4), interval(5));
        assert!(stationary_sharpes(&[0.0; 40], 3.0, 100, Seed(1)).is_empty());
        assert!(stationary_means(&[], 3.0, 100, Seed(1)).is_empty());
        assert_eq!(percentile_interval(vec![], 0.95), None);
        assert_eq!(circular_block_means(&x, &[vec![6]], 2), None);
    }
}
