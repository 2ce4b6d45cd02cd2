//! Principal components of the pooled, standardised features of all coins.
//!
//! The correlation matrix is decomposed once (`Eigenbasis`); an encoder keeps its first k vectors.
//! Signs are fixed so that the largest |loading| of each is positive, ties by index.

use crate::words::UtcMs;
use faer::{Mat, Side};

/// Eigenvalues (descending) and orthonormal eigenvectors of a pooled correlation matrix.
#[derive(Clone, Debug)]
pub struct Eigenbasis {
    /// Eigenvalues, largest first, never below zero.
    pub values: Vec<f64>,
    /// Eigenvectors as columns, p × p, in the order of `values`.
    pub vectors: Mat<f64>,
    /// Number of eigenvalues above 1e-10 of the largest.
    pub rank: usize,
}

impl Eigenbasis {
    /// Decomposes a symmetric matrix; `None` when it holds a number that is not finite.
    pub fn new(correlation: &Mat<f64>) -> Option<Eigenbasis> {
        let p = correlation.nrows();
        let finite = (0..p).all(|j| (0..p).all(|i| correlation[(i, j)].is_finite()));
        if !finite {
            return None;
        }
        let eigen = correlation.self_adjoint_eigen(Side::Lower).ok()?;
        let ascending = eigen.S().column_vector();
        let u = eigen.U();
        let values: Vec<f64> = (0..p).rev().map(|j| ascending[j].max(0.0)).collect();
        let mut vectors = Mat::from_fn(p, p, |i, j| u[(i, p - 1 - j)]);
        for j in 0..p {
            let mut largest = 0;
            for i in 1..p {
                if vectors[(i, j)].abs() > vectors[(largest, j)].abs() + 1e-12 {
                    largest = i;
                }
            }
            if p > 0 && vectors[(largest, j)] < 0.0 {
                (0..p).for_each(|i| vectors[(i, j)] = -vectors[(i, j)]);
            }
        }
        let floor = 1e-10 * values.first().copied().unwrap_or(0.0);
        let rank = values.iter().filter(|&&v| v > floor).count();
        Some(Eigenbasis { values, vectors, rank })
    }
}

/// Which kind of encoder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EncoderKind {
    /// Principal components.
    Pca,
}

impl EncoderKind {
    /// The word written in files.
    pub fn code(self) -> &'static str {
        match self {
            EncoderKind::Pca => "pca",
        }
    }
}

/// A fitted encoder: `codes = loadings' · (z / scale)` for a scaled feature row `z`.
#[derive(Clone, Debug)]
pub struct Encoder {
    /// Its kind.
    pub kind: EncoderKind,
    /// Pooled standard deviation of each scaled feature; 0 for one that never varies.
    pub scale: Vec<f64>,
    /// p × k.
    pub loadings: Mat<f64>,
    /// Share of the pooled variance each code explains, length k.
    pub explained_variance_ratio: Vec<f64>,
    /// Nothing at or after this moment was seen in fitting.
    pub fitted_until: UtcMs,
}

/// An encoder was asked to encode data it had been fitted on, as if it were a test.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "encoder fitted until {fitted_until} cannot be tested on rows from {test_start}; fit one that ends before"
)]
pub struct SeenData {
    /// End of the fit window.
    pub fitted_until: UtcMs,
    /// First row it was to be tested on.
    pub test_start: UtcMs,
}

impl Encoder {
    /// The first `min(components, rank)` principal components.
    pub fn pca(basis: &Eigenbasis, scale: &[f64], components: usize, fitted_until: UtcMs) -> Encoder {
        let (p, k) = (basis.values.len(), components.min(basis.rank));
        let total: f64 = basis.values.iter().sum();
        let share = |v: &f64| if total > 0.0 { v / total } else { 0.0 };
        Encoder {
            kind: EncoderKind::Pca,
            scale: scale.to_vec(),
            loadings: Mat::from_fn(p, k, |i, j| basis.vectors[(i, j)]),
            explained_variance_ratio: basis.values[..k].iter().map(share).collect(),
            fitted_until,
        }
    }

    /// Number of codes.
    pub fn components(&self) -> usize {
        self.loadings.ncols()
    }

    /// The encoder itself, if it may be judged on rows from `test_start` on.
    ///
    /// # Errors
    /// [`SeenData`] when its fit window reaches past `test_start`.
    pub fn for_test_from(&self, test_start: UtcMs) -> Result<&Encoder, SeenData> {
        if self.fitted_until <= test_start {
            Ok(self)
        } else {
            Err(SeenData { fitted_until: self.fitted_until, test_start })
        }
    }

    /// Codes of one scaled row `z` (length p) into `out` (length k).
    pub fn encode(&self, z: &[f64], out: &mut [f64]) {
        let unit = |(v, scale): (&f64, &f64)| if *scale > 0.0 { v / scale } else { 0.0 };
        let standardised: Vec<f64> = z.iter().zip(&self.scale).map(unit).collect();
        for (k, code) in out.iter_mut().enumerate() {
            *code = standardised.iter().enumerate().map(|(i, v)| self.loadings[(i, k)] * v).sum();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn components_never_exceed_the_rank() {
        let twin = Mat::from_fn(3, 3, |i, j| if (i < 2) == (j < 2) { 1.0 } else { 0.0 });
        let basis = Eigenbasis::new(&twin).unwrap();
        assert_eq!(basis.rank, 2);
        let encoder = Encoder::pca(&basis, &[1.0; 3], 10, UtcMs(0));
        assert_eq!(encoder.components(), 2);
        assert!((encoder.explained_variance_ratio.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn an_encoder_refuses_to_be_tested_on_what_it_has_seen() {
        let basis = Eigenbasis::new(&correlation()).unwrap();
        let encoder = Encoder::pca(&basis, &[1.0; 3], 2, UtcMs(1000));
        assert!(encoder.for_test_from(UtcMs(1000)).is_ok());
        let error = encoder.for_test_from(UtcMs(999)).unwrap_err();
        assert_eq!(error, SeenData { fitted_until: UtcMs(1000), test_start: UtcMs(999) });
    }
}
