//! Gates decide whether a coin may be trained or traded; they never fix data.
//!
//! Every gate is one line of [`GATES`]; [`judge`] walks the whole table and reports each gate that
//! fails, not the first. Whatever forbids training forbids trading too; a coin gated for trading
//! only may still train in shadow. Repairs made on the way in are warnings, never silent.

mod limits;
mod pegs;
mod reason;
mod table;
mod warnings;

pub use limits::GateLimits;
pub use pegs::PEGGED_ASSETS;
pub use reason::{Figure, SkipReason};
pub use table::{Facts, GATES, Gate, Purpose, adv_usd};
pub use warnings::Warning;

use crate::series::Profile;
use crate::words::Timeframe;

/// What the gates say about one coin.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// Why the coin must not be trained; empty when it may be.
    pub train: Vec<SkipReason>,
    /// Why it must not be traded (everything in `train` included); empty when it may be.
    pub trade: Vec<SkipReason>,
    /// What was repaired, cut or is odd without being forbidden.
    pub warnings: Vec<Warning>,
}

impl Verdict {
    /// Whether the coin may be trained.
    pub fn may_train(&self) -> bool {
        self.train.is_empty()
    }

    /// Whether the coin may be traded, as far as its data say.
    pub fn may_trade(&self) -> bool {
        self.trade.is_empty()
    }
}

/// Judges one coin by every gate, in table order.
///
/// `spread_bps` is the estimated median spread where somebody has estimated it (`costs`); without
/// it the spread gate is silent. Where the same gate fails with both limits, `trade` repeats the
/// reason of `train`.
pub fn judge(
    profile: &Profile,
    spread_bps: Option<f64>,
    limits: &GateLimits,
    timeframe: Timeframe,
) -> Verdict {
    let facts = Facts { profile, spread_bps, limits, timeframe };
    let mut verdict = Verdict { warnings: warnings::of(&facts), ..Verdict::default() };
    for gate in GATES {
        let Some(check) = gate.check else { continue };
        if let Some(reason) = check(&facts, Purpose::Train) {
            verdict.train.push(reason.clone());
            verdict.trade.push(reason);
        } else if let Some(reason) = check(&facts, Purpose::Trade) {
            verdict.trade.push(reason);
        }
    }
    verdict
}

#[cfg(test)]
mod tests;
