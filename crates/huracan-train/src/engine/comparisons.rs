//! Every comparison of ways of sharing that a run makes, and its answers. What does not live here: the
//! daily differences they are made of (`verdicts`) and the tests (`choose::sharing`).

use super::lanes::Lane;
use huracan_core::choose::sharing::{SharingGain, SharingVerdict};

/// Two ways of doing, compared coin by coin on the same days at the same policy and costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// The word written in files.
    pub code: &'static str,
    /// What is measured.
    pub with: Side,
    /// Against what.
    pub without: Side,
}

/// One side of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A lane.
    Lane(Lane),
    /// The lane with a shared encoder that validation liked best; the lane without where it liked none.
    BestEncoder,
    /// The same head without the encoder.
    BestWithoutIt,
    /// What is deployed, were every coin to get it; nothing where nothing trades.
    Deployed,
}

/// Code of the comparison that `encoder_gain` is.
pub const ENCODER: &str = "encoder";

/// Every comparison of a run; those with a lane that is not tried are left out.
pub const COMPARISONS: [Comparison; 9] = [
    Comparison { code: ENCODER, with: Side::BestEncoder, without: Side::BestWithoutIt },
    Comparison { code: "pca", with: Side::Lane(Lane::Pca), without: Side::Lane(Lane::Plain) },
    Comparison { code: "rrr", with: Side::Lane(Lane::Rrr), without: Side::Lane(Lane::Plain) },
    Comparison { code: "autoencoder", with: Side::Lane(Lane::Autoencoder), without: Side::Lane(Lane::Plain) },
    Comparison { code: "pca_over_own_pca", with: Side::Lane(Lane::Pca), without: Side::Lane(Lane::OwnPca) },
    Comparison { code: "pooled_prior", with: Side::Lane(Lane::Plain), without: Side::Lane(Lane::Unpooled) },
    Comparison {
        code: "encoder_of_own_heads",
        with: Side::Lane(Lane::UnpooledCodes),
        without: Side::Lane(Lane::Unpooled),
    },
    Comparison { code: "trees", with: Side::Lane(Lane::Trees), without: Side::Lane(Lane::Plain) },
    Comparison { code: "sharing", with: Side::Deployed, without: Side::Lane(Lane::Unpooled) },
];

/// A comparison's answers.
#[derive(Clone, Debug)]
pub struct Compared {
    /// What was compared.
    pub comparison: Comparison,
    /// One per coin verdict, in their order.
    pub coins: Vec<SharingGain>,
    /// Mean over coins of the daily differences, with its interval: coins are one bet.
    pub pooled: SharingGain,
}

impl Compared {
    /// How many coins were helped, hurt, or left undecided.
    pub fn counts(&self) -> (usize, usize, usize) {
        let count = |v: SharingVerdict| self.coins.iter().filter(|c| c.verdict == v).count();
        (count(SharingVerdict::Helped), count(SharingVerdict::Hurt), count(SharingVerdict::Undecided))
    }
}
