//! A fitted encoder: one type for all kinds, so that whoever uses codes need not know which.

use super::autoencoder::{Network, Trained, TrainingEpoch};
use super::dense::add_product;
use super::{Eigenbasis, EncoderKind};
use crate::words::UtcMs;
use faer::{Mat, MatRef};

/// A fitted encoder: codes of a scaled feature row `z`, by way of the standardised row `z / scale`.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Encoder {
    /// Its kind.
    pub kind: EncoderKind,
    /// Pooled standard deviation of each scaled feature; 0 for one that never varies, which is
    /// ignored.
    pub scale: Vec<f64>,
    /// From standardised features to codes.
    pub map: CodeMap,
    /// Share of the pooled variance each code explains, length k; empty where the kind has none.
    pub explained_variance_ratio: Vec<f64>,
    /// Loss after each epoch; empty where nothing was trained by gradients.
    pub training_loss: Vec<TrainingEpoch>,
    /// Nothing at or after this moment was seen in fitting.
    pub fitted_until: UtcMs,
}

/// How standardised features become codes.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub enum CodeMap {
    /// Orthonormal loadings W, p × k: `codes = W'z`.
    Linear(#[serde(with = "crate::wire::mat")] Mat<f64>),
    /// An autoencoder.
    Network(Network),
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
            map: CodeMap::Linear(Mat::from_fn(p, k, |i, j| basis.vectors[(i, j)])),
            explained_variance_ratio: basis.values[..k].iter().map(share).collect(),
            training_loss: Vec::new(),
            fitted_until,
        }
    }

    /// The directions of a reduced-rank regression, `loadings` orthonormal, p × k.
    pub fn rrr(loadings: Mat<f64>, scale: &[f64], fitted_until: UtcMs) -> Encoder {
        Encoder {
            kind: EncoderKind::Rrr,
            scale: scale.to_vec(),
            map: CodeMap::Linear(loadings),
            explained_variance_ratio: Vec::new(),
            training_loss: Vec::new(),
            fitted_until,
        }
    }

    /// A trained autoencoder.
    pub fn autoencoder(trained: Trained, scale: &[f64], fitted_until: UtcMs) -> Encoder {
        Encoder {
            kind: EncoderKind::Autoencoder,
            scale: scale.to_vec(),
            map: CodeMap::Network(trained.network),
            explained_variance_ratio: Vec::new(),
            training_loss: trained.loss,
            fitted_until,
        }
    }

    /// Number of codes.
    pub fn components(&self) -> usize {
        match &self.map {
            CodeMap::Linear(loadings) => loadings.ncols(),
            CodeMap::Network(network) => network.codes(),
        }
    }

    /// Orthonormal loadings, p × k, of a linear encoder.
    pub fn loadings(&self) -> Option<&Mat<f64>> {
        match &self.map {
            CodeMap::Linear(loadings) => Some(loadings),
            CodeMap::Network(_) => None,
        }
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
        let standardised = z.iter().zip(&self.scale).map(|(&z, &scale)| standardise(z, scale));
        match &self.map {
            CodeMap::Linear(loadings) => {
                let standardised: Vec<f64> = standardised.collect();
                for (code, loadings) in out.iter_mut().zip(loadings.col_iter()) {
                    *code = loadings.iter().zip(&standardised).fold(0.0, |sum, (w, v)| sum + w * v);
                }
            }
            CodeMap::Network(network) => {
                let standardised: Vec<f32> = standardised.map(|v| v as f32).collect();
                let mut scratch = network.scratch();
                network.encode(&standardised, &mut scratch);
                out.iter_mut().zip(&scratch.codes).for_each(|(code, &v)| *code = f64::from(v));
            }
        }
    }

    /// Codes of scaled rows, n × p to n × k: bit for bit those of [`Encoder::encode`] row by row.
    pub fn encode_rows(&self, z: MatRef<'_, f64>) -> Mat<f64> {
        let mut out = Mat::zeros(z.nrows(), self.components());
        self.for_each_row(z, Want::Codes, |i, row| {
            row.codes.iter().enumerate().for_each(|(k, &code)| out[(i, k)] = code);
        });
        out
    }

    /// What the codes of scaled rows tell of the rows, in standardised units, n × p to n × p: `WW'z`
    /// of a linear encoder, the decoder's output of a network; 0 for a feature that never varies.
    pub fn reconstruct_rows(&self, z: MatRef<'_, f64>) -> Mat<f64> {
        let mut out = Mat::zeros(z.nrows(), self.scale.len());
        self.for_each_row(z, Want::Reconstruction, |i, row| {
            row.reconstruction.iter().enumerate().for_each(|(j, &v)| out[(i, j)] = v);
        });
        out
    }

    /// Squared difference between each standardised row and its reconstruction, mean over the features
    /// that vary; 0 where none does.
    pub fn reconstruction_error(&self, z: MatRef<'_, f64>) -> Vec<f64> {
        let varying = self.scale.iter().filter(|&&scale| scale > 0.0).count().max(1) as f64;
        let mut out = vec![0.0; z.nrows()];
        self.for_each_row(z, Want::Reconstruction, |i, row| {
            let pairs = row.standardised.iter().zip(&row.reconstruction);
            out[i] = pairs.map(|(v, back)| (v - back) * (v - back)).sum::<f64>() / varying;
        });
        out
    }

    /// Shows every row of `z` to `visit`, encoded and, where wanted, decoded.
    fn for_each_row(&self, z: MatRef<'_, f64>, want: Want, mut visit: impl FnMut(usize, &Row)) {
        let (p, k) = (self.scale.len(), self.components());
        let mut row = Row { standardised: vec![0.0; p], codes: vec![0.0; k], reconstruction: vec![0.0; p] };
        let mut reader = RowReader::new(z, &self.scale);
        match &self.map {
            CodeMap::Linear(loadings) => {
                let by_feature: Vec<f64> = loadings.row_iter().flat_map(|w| w.iter().copied()).collect();
                let by_code: Vec<f64> = loadings.col_iter().flat_map(|w| w.iter().copied()).collect();
                for i in 0..z.nrows() {
                    reader.read(i, &mut row.standardised);
                    row.codes.fill(0.0);
                    add_product(&by_feature, &row.standardised, &mut row.codes);
                    if want == Want::Reconstruction {
                        row.reconstruction.fill(0.0);
                        add_product(&by_code, &row.codes, &mut row.reconstruction);
                        self.silence(&mut row.reconstruction);
                    }
                    visit(i, &row);
                }
            }
            CodeMap::Network(network) => {
                let mut scratch = network.scratch();
                let mut input = vec![0.0_f32; p];
                for i in 0..z.nrows() {
                    reader.read(i, &mut row.standardised);
                    input.iter_mut().zip(&row.standardised).for_each(|(to, &v)| *to = v as f32);
                    network.encode(&input, &mut scratch);
                    row.codes.iter_mut().zip(&scratch.codes).for_each(|(to, &v)| *to = f64::from(v));
                    if want == Want::Reconstruction {
                        network.decode(&mut scratch);
                        let back = row.reconstruction.iter_mut().zip(&scratch.reconstruction);
                        back.for_each(|(to, &v)| *to = f64::from(v));
                        self.silence(&mut row.reconstruction);
                    }
                    visit(i, &row);
                }
            }
        }
    }

    fn silence(&self, row: &mut [f64]) {
        row.iter_mut().zip(&self.scale).filter(|(_, scale)| **scale <= 0.0).for_each(|(v, _)| *v = 0.0);
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Want {
    Codes,
    Reconstruction,
}

/// One row on its way through an encoder.
struct Row {
    standardised: Vec<f64>,
    codes: Vec<f64>,
    reconstruction: Vec<f64>,
}

/// Reads rows of a column-major matrix a block at a time, so that each column is walked along.
struct RowReader<'a> {
    z: MatRef<'a, f64>,
    scale: &'a [f64],
    block: Vec<f64>,
}

/// Rows in a block.
const BLOCK: usize = 32;

impl<'a> RowReader<'a> {
    fn new(z: MatRef<'a, f64>, scale: &'a [f64]) -> RowReader<'a> {
        RowReader { z, scale, block: vec![0.0; BLOCK * scale.len()] }
    }

    /// Row `i`, standardised; rows are asked for in order.
    fn read(&mut self, i: usize, out: &mut [f64]) {
        let p = self.scale.len();
        if i.is_multiple_of(BLOCK) {
            let count = BLOCK.min(self.z.nrows() - i);
            for (j, &scale) in self.scale.iter().enumerate() {
                for b in 0..count {
                    self.block[b * p + j] = standardise(self.z[(i + b, j)], scale);
                }
            }
        }
        out.copy_from_slice(&self.block[i % BLOCK * p..][..p]);
    }
}

#[inline]
fn standardise(z: f64, scale: f64) -> f64 {
    if scale > 0.0 { z / scale } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoder_refuses_to_be_tested_on_what_it_has_seen() {
        let encoder = Encoder::rrr(Mat::identity(3, 2), &[1.0; 3], UtcMs(1000));
        assert!(encoder.for_test_from(UtcMs(1000)).is_ok());
        let error = encoder.for_test_from(UtcMs(999)).unwrap_err();
        assert_eq!(error, SeenData { fitted_until: UtcMs(1000), test_start: UtcMs(999) });
    }
}
