//! Lanes: the heads that run side by side through every fold. How strongly each coin follows its pooled
//! head is found out in [`super::slopes`].
//!
//! A lane is a target with a variant per fold. The label has one lane for every way of sharing or of
//! doing without ([`Lane`]), every placebo one.

use super::pools::{Codes, Pools, Variant, group};
use super::statistics::Targets;
use crate::settings::Settings;
use huracan_core::encoder::EncoderKind;

/// The label's lanes, in the order of their positions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, serde::Serialize, serde::Deserialize)]
pub enum Lane {
    /// Pooled ridge over the coin's own features, no encoder.
    Plain,
    /// The same with the principal components of all coins.
    Pca,
    /// The same with the reduced-rank regression of all coins' labels.
    Rrr,
    /// The same with the coin's own principal components.
    OwnPca,
    /// The coin's ridge over its own features, nothing shared.
    Unpooled,
    /// The coin's ridge over the shared principal components: shared encoder, own head.
    UnpooledCodes,
    /// Pooled ridge with the codes of the shared autoencoder.
    Autoencoder,
    /// Pooled trees over own features.
    Trees,
    /// Pooled trees over own features and principal components.
    TreesCoded,
}

impl Lane {
    /// All, in order.
    pub const ALL: [Lane; 9] = [
        Lane::Plain,
        Lane::Pca,
        Lane::Rrr,
        Lane::OwnPca,
        Lane::Unpooled,
        Lane::UnpooledCodes,
        Lane::Autoencoder,
        Lane::Trees,
        Lane::TreesCoded,
    ];

    /// Position among the lanes.
    pub fn at(self) -> usize {
        self as usize
    }

    /// The word written in files.
    pub fn code(self) -> &'static str {
        match self {
            Lane::Plain => "ridge",
            Lane::Pca => "ridge_pca",
            Lane::Rrr => "ridge_rrr",
            Lane::OwnPca => "ridge_own_pca",
            Lane::Unpooled => "ridge_unpooled",
            Lane::UnpooledCodes => "ridge_unpooled_pca",
            Lane::Autoencoder => "ridge_autoencoder",
            Lane::Trees => "trees",
            Lane::TreesCoded => "trees_pca",
        }
    }

    /// The lane of a word, if it may be deployed at all.
    pub fn parse(code: &str) -> Option<Lane> {
        Lane::ALL.into_iter().find(|lane| lane.code() == code && *lane != Lane::OwnPca)
    }

    /// The shared encoder it reads.
    pub fn encoder(self) -> Option<EncoderKind> {
        match self {
            Lane::Pca | Lane::UnpooledCodes | Lane::TreesCoded => Some(EncoderKind::Pca),
            Lane::Rrr => Some(EncoderKind::Rrr),
            Lane::Autoencoder => Some(EncoderKind::Autoencoder),
            Lane::Plain | Lane::OwnPca | Lane::Unpooled | Lane::Trees => None,
        }
    }

    /// The same head without its encoder.
    pub fn without_encoder(self) -> Lane {
        match self {
            Lane::Unpooled | Lane::UnpooledCodes => Lane::Unpooled,
            Lane::Trees | Lane::TreesCoded => Lane::Trees,
            _ => Lane::Plain,
        }
    }

    /// Whether the run tries it.
    pub fn is_tried(self, settings: &Settings) -> bool {
        let encoder = self.encoder().is_none_or(|kind| settings.encoder.tries(kind));
        match self {
            Lane::OwnPca => settings.encoder.tries(EncoderKind::Pca),
            Lane::Trees => settings.heads.trees.is_some(),
            Lane::TreesCoded => {
                encoder && settings.heads.trees.is_some() && settings.heads.trees_components > 0
            }
            _ => encoder,
        }
    }

    /// Whether it may be deployed: a coin's own principal components are a yardstick only.
    pub fn may_deploy(self, settings: &Settings) -> bool {
        let wanted = settings.heads.deploy.is_empty() || settings.heads.deploy.contains(&self);
        self != Lane::OwnPca && wanted && self.is_tried(settings)
    }

    /// Whether it is linear in the features: its pooled head comes from second moments alone.
    pub fn is_linear(self) -> bool {
        self < Lane::Autoencoder
    }

    /// Whether its head knows no other coin's labels.
    pub fn is_unpooled(self) -> bool {
        matches!(self, Lane::Unpooled | Lane::UnpooledCodes)
    }
}

/// First placebo lane.
pub const PLACEBO: usize = Lane::ALL.len();

/// What one linear lane does in one fold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LaneFold {
    /// Column of its target.
    pub target: usize,
    /// Group of targets that its encoder is of.
    pub group: usize,
    /// Codes and penalty.
    pub variant: Variant,
    /// Validation slope of its pooled inner head.
    pub validation_slope: Option<f64>,
    /// Mean validation correlation of its pooled inner head, so far.
    pub validation_ic: Option<f64>,
    /// Whether anything is fitted for it here: pooled, linear, tried.
    pub is_fitted: bool,
}

/// All lanes of one fold. Nothing is fitted here for those that are not linear or know no pool.
pub fn lanes(settings: &Settings, pools: &Pools, fold: usize) -> Vec<LaneFold> {
    let choices = &pools.choices[fold];
    let targets = Targets::of(settings);
    let of = |target: usize, chosen: &super::pools::Chosen, is_fitted: bool| LaneFold {
        target,
        group: group(&targets, target),
        variant: chosen.variant,
        validation_slope: chosen.validation_slope,
        validation_ic: chosen.validation_ic,
        is_fitted,
    };
    let mut all: Vec<LaneFold> = Lane::ALL
        .into_iter()
        .map(|lane| {
            let chosen = match lane {
                Lane::Pca | Lane::OwnPca => &choices.pca,
                Lane::Rrr => &choices.rrr,
                _ => &choices.plain,
            };
            // A yardstick only: the final fit, which nobody tests, does without.
            let is_of_use = lane != Lane::OwnPca || fold + 1 < pools.choices.len();
            let fitted = lane.is_linear() && !lane.is_unpooled() && lane.is_tried(settings) && is_of_use;
            let mut out = of(0, chosen, fitted);
            if lane == Lane::OwnPca {
                out.variant.codes = Codes::OwnPca(out.variant.codes.count());
            }
            out
        })
        .collect();
    all.extend((0..targets.placebos).map(|i| {
        let target = targets.placebo(i);
        of(target, &choices.best[target], true)
    }));
    all
}
