//! The shared encoder: one map from a coin's scaled features to a few codes, fitted on all coins.
//!
//! Principal components and reduced-rank regression see pooled second moments only (`gram`), so one
//! encoder a fold costs one small eigendecomposition; the autoencoder sees rows. What lives here: the
//! robust scaler in front of the encoder, its kinds, and the fitted encoder itself. What does not:
//! heads.

pub mod autoencoder;
mod dense;
mod fitted;
mod kind;
mod pca;
mod rrr;
mod scaler;

pub use autoencoder::{Network, Trained, TrainingEpoch};
pub use fitted::{CodeMap, Encoder, SeenData};
pub use kind::{EncoderKind, UnknownEncoder};
pub use pca::Eigenbasis;
pub use rrr::reduced_rank;
pub use scaler::{Scaler, WINSOR, missing_share_scaled};
