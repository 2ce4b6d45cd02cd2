//! A denoising autoencoder of standardised features: features → hidden → codes → hidden → features.
//!
//! What lives here: the network, its training and its arrays. What does not: files.

mod activation;
mod adam;
mod network;
mod step;
mod train;

#[cfg(test)]
mod tests;

pub use network::{NamedArray, Network, Scratch};
pub use train::{AutoencoderSpec, train, train_watched};

/// Mean Huber loss a feature after an epoch.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct TrainingEpoch {
    /// Over the training rows as they were shown, masked.
    pub train: f64,
    /// Over the holdout rows, unmasked.
    pub holdout: f64,
}

/// What training left.
#[derive(Clone, Debug, PartialEq)]
pub struct Trained {
    /// The network of the best epoch on the holdout; each of its codes has mean 0 and standard
    /// deviation 1 over the training rows.
    pub network: Network,
    /// One an epoch.
    pub loss: Vec<TrainingEpoch>,
    /// Epochs after which the kept weights were found.
    pub epochs: usize,
}
