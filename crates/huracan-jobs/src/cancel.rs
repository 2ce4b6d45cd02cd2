//! How a running job learns that it should stop.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use serde::{Deserialize, Serialize};

/// Why a running job is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum CancelReason {
    /// Somebody cancelled it.
    Cancelled = 1,
    /// It ran longer than its cap.
    WallCap = 2,
    /// Its lease is gone: others may be at it.
    LeaseLost = 3,
    /// The worker stops and will wait no longer.
    Stopping = 4,
}

/// A flag shared between a running job and whoever may stop it. Only the first reason counts.
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Arc<AtomicU8>);

impl CancelToken {
    /// A token that nobody has cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the job to stop.
    pub fn cancel(&self, reason: CancelReason) {
        let _ = self.0.compare_exchange(0, reason as u8, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Whether the job should stop: cheap enough for an inner loop.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire) != 0
    }

    /// Why it should stop, if it should.
    pub fn reason(&self) -> Option<CancelReason> {
        match self.0.load(Ordering::Acquire) {
            1 => Some(CancelReason::Cancelled),
            2 => Some(CancelReason::WallCap),
            3 => Some(CancelReason::LeaseLost),
            4 => Some(CancelReason::Stopping),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_stays() {
        let token = CancelToken::new();
        let other = token.clone();
        assert!(!token.is_cancelled() && token.reason().is_none());
        other.cancel(CancelReason::WallCap);
        other.cancel(CancelReason::Cancelled);
        assert!(token.is_cancelled());
        assert_eq!(token.reason(), Some(CancelReason::WallCap));
    }
}
