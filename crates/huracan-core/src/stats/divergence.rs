//! How far apart two samples are: population stability index, Kolmogorov–Smirnov, Wasserstein-1,
//! maximum mean discrepancy. What counts as too far is decided in `drift`.

use faer::MatRef;

use super::distributions::kolmogorov_sf;
use super::quantiles::quantile_sorted;

/// Shares below this count as this inside the logarithm, so that an empty bin is not infinite.
const SHARE_MIN: f64 = 1e-4;

/// Inner edges of `bins` equal-share bins of `reference`, ascending; the end bins are open. Equal
/// edges (heavy ties) are merged, so there may be fewer. `None` when `bins` < 2 or `reference` is
/// empty or has NaN.
pub fn quantile_edges(reference: &[f64], bins: usize) -> Option<Vec<f64>> {
    if bins < 2 || reference.is_empty() || reference.iter().any(|v| v.is_nan()) {
        return None;
    }
    let mut sorted = reference.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let mut edges =
        (1..bins).map(|i| quantile_sorted(&sorted, i as f64 / bins as f64)).collect::<Option<Vec<f64>>>()?;
    edges.dedup();
    Some(edges)
}

/// Share of `x` in each of the `edges.len() + 1` bins; a value on an edge belongs above it. NaN
/// values are left out; `None` when nothing is left.
pub fn bin_shares(x: &[f64], edges: &[f64]) -> Option<Vec<f64>> {
    let mut counts = vec![0_usize; edges.len() + 1];
    for v in x.iter().filter(|v| !v.is_nan()) {
        counts[edges.partition_point(|edge| edge <= v)] += 1;
    }
    let total: usize = counts.iter().sum();
    (total > 0).then(|| counts.iter().map(|&c| c as f64 / total as f64).collect())
}

/// Population stability index Σ (q − p) ln(q/p) of two share vectors of equal length.
pub fn psi_of_shares(reference: &[f64], current: &[f64]) -> f64 {
    let term = |(p, q): (&f64, &f64)| (q - p) * (q.max(SHARE_MIN) / p.max(SHARE_MIN)).ln();
    reference.iter().zip(current).map(term).sum()
}

/// Population stability index of `current` against `reference` in `bins` quantile bins of the
/// reference with open ends.
pub fn psi(reference: &[f64], current: &[f64], bins: usize) -> Option<f64> {
    let edges = quantile_edges(reference, bins)?;
    Some(psi_of_shares(&bin_shares(reference, &edges)?, &bin_shares(current, &edges)?))
}

/// The two-sample Kolmogorov–Smirnov test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KolmogorovSmirnov {
    /// Largest distance between the two empirical distribution functions.
    pub statistic: f64,
    /// From the one-sample distribution at round(nm/(n+m)), as scipy's `asymp`; assumes
    /// independent rows, which market rows are not.
    pub p: f64,
}

/// Two-sample Kolmogorov–Smirnov; `None` when a side is empty or has NaN.
pub fn kolmogorov_smirnov(a: &[f64], b: &[f64]) -> Option<KolmogorovSmirnov> {
    let (a, b) = (sorted_finite(a)?, sorted_finite(b)?);
    let statistic = steps(&a, &b).map(|step| step.gap.abs()).fold(0.0, f64::max);
    let (n, m) = (a.len() as f64, b.len() as f64);
    let effective = (n * m / (n + m)).round().max(1.0) as usize;
    Some(KolmogorovSmirnov { statistic, p: kolmogorov_sf(statistic, effective) })
}

/// Wasserstein-1 (earth mover's) distance ∫|F − G|, in the units of the values.
pub fn wasserstein1(a: &[f64], b: &[f64]) -> Option<f64> {
    let (a, b) = (sorted_finite(a)?, sorted_finite(b)?);
    Some(steps(&a, &b).map(|step| step.gap.abs() * step.width).sum())
}

/// A stretch of the real line on which both distribution functions are flat.
struct Step {
    width: f64,
    gap: f64,
}

/// Walks both sorted samples together; the last step has width 0 and gap 0.
fn steps<'a>(a: &'a [f64], b: &'a [f64]) -> impl Iterator<Item = Step> + 'a {
    let (mut i, mut j) = (0, 0);
    std::iter::from_fn(move || {
        let at = match (a.get(i), b.get(j)) {
            (Some(x), Some(y)) => x.min(*y),
            (Some(x), None) => *x,
            (None, Some(y)) => *y,
            (None, None) => return None,
        };
        while a.get(i).is_some_and(|v| *v <= at) {
            i += 1;
        }
        while b.get(j).is_some_and(|v| *v <= at) {
            j += 1;
        }
        let gap = i as f64 / a.len() as f64 - j as f64 / b.len() as f64;
        let next = match (a.get(i), b.get(j)) {
            (Some(x), Some(y)) => x.min(*y),
            (Some(x), None) => *x,
            (None, Some(y)) => *y,
            (None, None) => at,
        };
        Some(Step { width: next - at, gap })
    })
}

fn sorted_finite(x: &[f64]) -> Option<Vec<f64>> {
    if x.is_empty() || x.iter().any(|v| !v.is_finite()) {
        return None;
    }
    let mut sorted = x.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    Some(sorted)
}

/// Unbiased squared maximum mean discrepancy with the kernel exp(−`gamma`‖x − y‖²) (Gretton et al.
/// 2012, equation 3). Rows are observations (n × d and m × d, n and m ≥ 2); may be negative.
pub fn mmd2_unbiased(a: MatRef<'_, f64>, b: MatRef<'_, f64>, gamma: f64) -> Option<f64> {
    if a.ncols() != b.ncols() || a.nrows() < 2 || b.nrows() < 2 {
        return None;
    }
    let (n, m) = (a.nrows() as f64, b.nrows() as f64);
    let within = |x: MatRef<'_, f64>| {
        let pairs = (0..x.nrows()).flat_map(|i| (0..i).map(move |j| (i, j)));
        2.0 * pairs.map(|(i, j)| kernel(x, i, x, j, gamma)).sum::<f64>()
    };
    let across: f64 = (0..a.nrows())
        .flat_map(|i| (0..b.nrows()).map(move |j| (i, j)))
        .map(|(i, j)| kernel(a, i, b, j, gamma))
        .sum();
    let value = within(a) / (n * (n - 1.0)) + within(b) / (m * (m - 1.0)) - 2.0 * across / (n * m);
    value.is_finite().then_some(value)
}

fn kernel(a: MatRef<'_, f64>, i: usize, b: MatRef<'_, f64>, j: usize, gamma: f64) -> f64 {
    let distance: f64 = (0..a.ncols()).map(|c| (a[(i, c)] - b[(j, c)]).powi(2)).sum();
    (-gamma * distance).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_does_not_differ_from_itself() {
        let x: Vec<f64> = (0..200).map(|i| f64::from(i * 37 % 101)).collect();
        assert_eq!(psi(&x, &x, 10), Some(0.0));
        assert_eq!(wasserstein1(&x, &x), Some(0.0));
        assert_eq!(kolmogorov_smirnov(&x, &x).map(|k| (k.statistic, k.p)), Some((0.0, 1.0)));
    }

    #[test]
    fn a_shift_is_its_own_distance_and_open_ends_catch_the_outside() {
        let x: Vec<f64> = (0..100).map(f64::from).collect();
        let y: Vec<f64> = x.iter().map(|v| v + 1000.0).collect();
        assert!((wasserstein1(&x, &y).unwrap() - 1000.0).abs() < 1e-9);
        assert_eq!(kolmogorov_smirnov(&x, &y).unwrap().statistic, 1.0);
        assert!(psi(&x, &y, 10).unwrap() > 5.0);
    }

    #[test]
    fn undefined_is_none_and_constants_do_not_crash() {
        assert_eq!(psi(&[], &[1.0], 10), None);
        assert_eq!(psi(&[1.0], &[f64::NAN], 10), None);
        assert_eq!(kolmogorov_smirnov(&[1.0], &[]), None);
        assert_eq!(psi(&[2.0; 50], &[2.0; 50], 10), Some(0.0));
        assert!(psi(&[2.0; 50], &[1.0; 50], 10).unwrap() > 1.0);
    }
}
