//! When a failed attempt is followed by another.
//!
//! Exponential backoff with full jitter: the wait is uniform between nothing and a ceiling that
//! doubles, so that jobs which failed together do not come back together. The dice are a hash of
//! the job and its attempt, so equal runs wait equally long.

use serde::{Deserialize, Serialize};

use crate::words::JobError;

/// How often and how soon a job is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Attempts in all, the first included; at least 1 is meant.
    pub max_attempts: u32,
    /// Ceiling of the first wait.
    pub base_s: f64,
    /// Ceiling of every wait.
    pub cap_s: f64,
}

impl Default for RetryPolicy {
    /// Four attempts, a few seconds apart at first, never more than five minutes.
    fn default() -> Self {
        Self { max_attempts: 4, base_s: 2.0, cap_s: 300.0 }
    }
}

/// What follows a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Next {
    /// Another attempt after so many seconds.
    Again {
        /// How long to wait.
        delay_s: f64,
    },
    /// No other attempt: the job is failed and dead.
    Never,
}

impl RetryPolicy {
    /// What follows when attempt number `attempt` (the first is 1) of a job ends in `error`.
    ///
    /// A wait that the other side asked for is kept in full, with the jitter on top of it.
    pub fn next(&self, seed: u64, attempt: u32, error: &JobError) -> Next {
        if !error.transient || attempt >= self.max_attempts {
            return Next::Never;
        }
        let asked_s = error.retry_after_s.filter(|s| s.is_finite() && *s > 0.0).unwrap_or(0.0);
        Next::Again { delay_s: asked_s + self.jittered_s(seed, attempt) }
    }

    fn jittered_s(&self, seed: u64, attempt: u32) -> f64 {
        let doublings = attempt.saturating_sub(1).min(62) as i32;
        let ceiling_s = (self.base_s * 2f64.powi(doublings)).min(self.cap_s).max(0.0);
        ceiling_s * unit(seed ^ u64::from(attempt).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
}

/// A uniform number in [0, 1) from 64 mixed bits (the finaliser of splitmix64).
fn unit(seed: u64) -> f64 {
    let mut bits = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^= bits >> 31;
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy { max_attempts: 6, base_s: 1.0, cap_s: 10.0 };

    fn delay_s(seed: u64, attempt: u32, error: &JobError) -> f64 {
        match POLICY.next(seed, attempt, error) {
            Next::Again { delay_s } => delay_s,
            Next::Never => panic!("attempt {attempt} was the last"),
        }
    }

    #[test]
    fn waits_are_uniform_below_a_ceiling_that_doubles_up_to_the_cap() {
        let error = JobError::transient("x", "y");
        for (attempt, ceiling_s) in [(1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (5, 10.0)] {
            let waits: Vec<f64> = (0..2000).map(|seed| delay_s(seed, attempt, &error)).collect();
            assert!(waits.iter().all(|s| (0.0..ceiling_s).contains(s)));
            let mean = waits.iter().sum::<f64>() / waits.len() as f64;
            assert!((mean / ceiling_s - 0.5).abs() < 0.03, "attempt {attempt}: mean {mean}");
            assert!(waits.iter().any(|s| *s < ceiling_s * 0.01));
            assert!(waits.iter().any(|s| *s > ceiling_s * 0.99));
        }
    }

    #[test]
    fn equal_seeds_wait_equally_long() {
        let error = JobError::transient("x", "y");
        assert_eq!(delay_s(7, 2, &error), delay_s(7, 2, &error));
        assert_ne!(delay_s(7, 2, &error), delay_s(8, 2, &error));
    }

    #[test]
    fn a_wait_that_was_asked_for_is_kept_in_full() {
        let plain = JobError::transient("x", "y");
        let asked = plain.clone().retry_after(30.0);
        assert_eq!(delay_s(3, 1, &asked), 30.0 + delay_s(3, 1, &plain));
        assert_eq!(delay_s(3, 1, &plain.clone().retry_after(f64::NAN)), delay_s(3, 1, &plain));
    }

    #[test]
    fn permanent_errors_and_last_attempts_are_final() {
        assert_eq!(POLICY.next(0, 1, &JobError::permanent("x", "y")), Next::Never);
        assert_eq!(POLICY.next(0, 6, &JobError::transient("x", "y")), Next::Never);
        assert!(matches!(POLICY.next(0, 5, &JobError::transient("x", "y")), Next::Again { .. }));
    }

    #[test]
    fn a_thousandth_attempt_does_not_overflow() {
        let policy = RetryPolicy { max_attempts: u32::MAX, ..POLICY };
        let Next::Again { delay_s } = policy.next(1, 1000, &JobError::transient("x", "y")) else { panic!() };
        assert!(delay_s < 10.0);
    }
}
