//! The shared encoder: one map from a coin's scaled features to a few codes, fitted on all coins.
//!
//! Fitting sees pooled second moments only (`gram`), so one encoder a fold costs one small
//! eigendecomposition. What lives here: the robust scaler in front of it and the encoder itself.
//! What does not: heads.

mod pca;
mod scaler;

pub use pca::{Eigenbasis, Encoder, EncoderKind, SeenData};
pub use scaler::{Scaler, WINSOR, missing_share_scaled};
