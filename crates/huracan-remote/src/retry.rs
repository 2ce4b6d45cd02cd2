//! How often and how long a remote store is asked again, and when to give up.

use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use huracan_store::{Result, StoreError};

/// When to ask again after a failure that may pass: a network that is away, a server that is busy
/// (429) or broken (5xx). Waits double from `wait_min` to `wait_max`, each with jitter, and are longer
/// where the server says so (`Retry-After`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RetryPolicy {
    /// Attempts in all, at least one.
    pub attempts_max: u32,
    /// The first wait.
    pub wait_min: Duration,
    /// The longest wait of our own choice.
    pub wait_max: Duration,
    /// From the first attempt on; a wait that would end later is not begun.
    pub total_max: Duration,
}

impl Default for RetryPolicy {
    fn default() -> RetryPolicy {
        RetryPolicy {
            attempts_max: 6,
            wait_min: Duration::from_millis(250),
            wait_max: Duration::from_secs(20),
            total_max: Duration::from_secs(120),
        }
    }
}

/// A failure that may pass.
#[derive(Debug)]
pub(crate) struct Transient {
    /// What was found.
    pub(crate) reason: String,
    /// How long the server asks us to wait.
    pub(crate) retry_after: Option<Duration>,
}

/// The attempts at one operation.
pub(crate) struct Retries {
    waits: ExponentialBackoff,
    started: Instant,
    total_max: Duration,
    attempts: u32,
}

impl Retries {
    /// Counts the first attempt.
    pub(crate) fn new(policy: &RetryPolicy) -> Retries {
        let waits = ExponentialBuilder::default()
            .with_min_delay(policy.wait_min)
            .with_max_delay(policy.wait_max)
            .with_max_times(policy.attempts_max.saturating_sub(1) as usize)
            .with_jitter();
        Retries { waits: waits.build(), started: Instant::now(), total_max: policy.total_max, attempts: 1 }
    }

    /// Attempts so far.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Waits until the next attempt is due.
    ///
    /// # Errors
    /// `Unavailable` when there is to be none.
    pub(crate) async fn again(&mut self, path: &str, failed: Transient) -> Result<()> {
        match self.next_wait(failed.retry_after) {
            Ok(wait) => {
                tracing::debug!(
                    path,
                    reason = failed.reason,
                    wait_ms = wait.as_millis() as u64,
                    "asking again"
                );
                tokio::time::sleep(wait).await;
                self.attempts += 1;
                Ok(())
            }
            Err(limit) => Err(StoreError::Unavailable {
                path: path.to_owned(),
                attempts: self.attempts,
                reason: format!("{}{limit}", failed.reason),
            }),
        }
    }

    /// The next wait, or which limit forbids it.
    fn next_wait(&mut self, retry_after: Option<Duration>) -> std::result::Result<Duration, String> {
        let Some(wait) = self.waits.next() else { return Err(String::new()) };
        let wait = wait.max(retry_after.unwrap_or_default());
        if self.started.elapsed() + wait > self.total_max {
            return Err(format!(
                " (the next attempt is due in {} s, more than the {} s allowed in all)",
                wait.as_secs(),
                self.total_max.as_secs()
            ));
        }
        Ok(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> RetryPolicy {
        RetryPolicy {
            attempts_max: 4,
            wait_min: Duration::from_millis(100),
            wait_max: Duration::from_millis(300),
            total_max: Duration::from_secs(60),
        }
    }

    #[test]
    fn waits_double_with_jitter_and_end_after_the_last_attempt() {
        let mut retries = Retries::new(&policy());
        let waits: Vec<u64> = (0..3).map(|_| retries.next_wait(None).unwrap().as_millis() as u64).collect();
        for (wait, from) in waits.iter().zip([100, 200, 300]) {
            assert!((from..=2 * from).contains(wait), "{waits:?}");
        }
        assert_eq!(retries.next_wait(None), Err(String::new()));
    }

    #[test]
    fn the_servers_own_wait_is_kept_unless_it_is_too_long() {
        let mut retries = Retries::new(&policy());
        assert_eq!(retries.next_wait(Some(Duration::from_secs(7))), Ok(Duration::from_secs(7)));
        let error = retries.next_wait(Some(Duration::from_secs(600))).unwrap_err();
        assert!(error.contains("600 s") && error.contains("60 s allowed"), "{error}");
    }
}
