//! Principal components of the pooled, standardised features of all coins.
//!
//! The correlation matrix is decomposed once (`Eigenbasis`); an encoder keeps its first k vectors.
//! Signs are fixed so that the largest |loading| of each is positive, ties by index.

use faer::{Mat, Side};

/// Eigenvalues (descending) and orthonormal eigenvectors of a pooled correlation matrix.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Eigenbasis {
    /// Eigenvalues, largest first, never below zero.
    pub values: Vec<f64>,
    /// Eigenvectors as columns, p × p, in the order of `values`.
    #[serde(with = "crate::wire::mat")]
    pub vectors: Mat<f64>,
    /// Number of eigenvalues above 1e-10 of the largest.
    pub rank: usize,
}

impl Eigenbasis {
    /// Decomposes a symmetric matrix; `None` when it is empty or holds a number that is not finite.
    pub fn new(correlation: &Mat<f64>) -> Option<Eigenbasis> {
        let p = correlation.nrows();
        let finite = (0..p).all(|j| (0..p).all(|i| correlation[(i, j)].is_finite()));
        if p == 0 || !finite {
            return None;
        }
        let eigen = correlation.self_adjoint_eigen(Side::Lower).ok()?;
        let ascending = eigen.S().column_vector();
        let u = eigen.U();
        let values: Vec<f64> = (0..p).rev().map(|j| ascending[j].max(0.0)).collect();
        let mut vectors = Mat::from_fn(p, p, |i, j| u[(i, p - 1 - j)]);
        fix_signs(&mut vectors);
        let floor = 1e-10 * values.first().copied().unwrap_or(0.0);
        let rank = values.iter().filter(|&&v| v > floor).count();
        Some(Eigenbasis { values, vectors, rank })
    }
}

/// Turns columns so that the largest |entry| of each is positive, ties by index.
pub(super) fn fix_signs(vectors: &mut Mat<f64>) {
    for j in 0..vectors.ncols() {
        let mut largest = 0;
        for i in 1..vectors.nrows() {
            if vectors[(i, j)].abs() > vectors[(largest, j)].abs() + 1e-12 {
                largest = i;
            }
        }
        if vectors.nrows() > 0 && vectors[(largest, j)] < 0.0 {
            vectors.col_mut(j).iter_mut().for_each(|v| *v = -*v);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Encoder;
    use super::*;
    use crate::words::UtcMs;

    fn correlation() -> Mat<f64> {
        let c = [[1.0, 0.8, 0.1], [0.8, 1.0, 0.0], [0.1, 0.0, 1.0]];
        Mat::from_fn(3, 3, |i, j| c[i][j])
    }

    #[test]
    fn vectors_are_orthonormal_ordered_and_sign_fixed() {
        let basis = Eigenbasis::new(&correlation()).unwrap();
        assert!(basis.values.windows(2).all(|w| w[0] >= w[1]));
        assert!((basis.values.iter().sum::<f64>() - 3.0).abs() < 1e-12);
        for a in 0..3 {
            let largest = (0..3)
                .map(|i| basis.vectors[(i, a)])
                .fold(0.0, |m: f64, v| if v.abs() > m.abs() { v } else { m });
            assert!(largest > 0.0);
            for b in 0..3 {
                let dot: f64 = (0..3).map(|i| basis.vectors[(i, a)] * basis.vectors[(i, b)]).sum();
                assert!((dot - f64::from(u8::from(a == b))).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn nothing_has_no_basis() {
        assert!(Eigenbasis::new(&Mat::zeros(0, 0)).is_none());
        assert!(Eigenbasis::new(&Mat::from_fn(1, 1, |_, _| f64::NAN)).is_none());
    }

    #[test]
    fn components_never_exceed_the_rank() {
        let twin = Mat::from_fn(3, 3, |i, j| if (i < 2) == (j < 2) { 1.0 } else { 0.0 });
        let basis = Eigenbasis::new(&twin).unwrap();
        assert_eq!(basis.rank, 2);
        let encoder = Encoder::pca(&basis, &[1.0; 3], 10, UtcMs(0));
        assert_eq!(encoder.components(), 2);
        assert!((encoder.explained_variance_ratio.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }
}
