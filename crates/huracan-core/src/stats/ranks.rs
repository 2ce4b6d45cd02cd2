//! Ranks with ties, and the percentile positions made from them.

/// Ranks 1..=n; equal values share the mean of their ranks. NaN sorts last (`total_cmp`).
pub fn ranks(x: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..x.len()).collect();
    order.sort_by(|&a, &b| x[a].total_cmp(&x[b]));
    let mut ranks = vec![0.0; x.len()];
    let mut first = 0;
    while first < order.len() {
        let value = x[order[first]];
        let mut after = first + 1;
        while after < order.len() && x[order[after]] == value {
            after += 1;
        }
        let shared = 0.5 * (first + 1 + after) as f64;
        order[first..after].iter().for_each(|&i| ranks[i] = shared);
        first = after;
    }
    ranks
}

/// Position of each value among all in 0..=1: (rank − 1) / (n − 1); 0.5 when alone.
pub fn percentiles(x: &[f64]) -> Vec<f64> {
    if x.len() < 2 {
        return vec![0.5; x.len()];
    }
    let span = (x.len() - 1) as f64;
    ranks(x).into_iter().map(|rank| (rank - 1.0) / span).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_share_their_mean_rank() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0, -0.0, 0.0]), vec![5.5, 3.0, 5.5, 4.0, 1.5, 1.5]);
        assert_eq!(ranks(&[]), Vec::<f64>::new());
        assert_eq!(percentiles(&[10.0, 30.0, 20.0]), vec![0.0, 1.0, 0.5]);
        assert_eq!(percentiles(&[7.0]), vec![0.5]);
    }
}
