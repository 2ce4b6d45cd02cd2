//! How fast one host may be asked: the pause it demands, and the weight it allows a minute.
//!
//! Nothing here sends a request. Time is injected, so that tests wait hours in no time.

use std::future::Future;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

/// A longer pause than this is not waited out: the fetch reports it and the operator comes back.
/// The exchange's bans run from 2 minutes to 3 days.
const PAUSE_MAX: Duration = Duration::from_secs(600);
/// The pause when a 429 or 418 names none: the exchange counts weight by the minute.
const PAUSE_UNNAMED: Duration = Duration::from_secs(60);
/// We plan to use at most this much of a host's weight; others may share our address.
const BUDGET_PCT: u32 = 80;
/// When the host says this much of the weight is used, we wait for its next minute.
const USED_PCT_MAX: u32 = 90;
/// Most weight spent at once before the budget spreads requests out.
const BURST_WEIGHT: NonZeroU32 = NonZeroU32::new(200).unwrap();

/// The passing of time: the wall's, or a test's.
pub(super) trait Time: Send + Sync + 'static {
    /// Time since some fixed start.
    fn elapsed(&self) -> Duration;
    /// Completes after `wait`.
    fn sleep(&self, wait: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// Real time.
pub(super) struct WallTime(Instant);

impl WallTime {
    /// Starts now.
    pub(super) fn start() -> Arc<dyn Time> {
        Arc::new(WallTime(Instant::now()))
    }
}

impl Time for WallTime {
    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
    fn sleep(&self, wait: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(wait))
    }
}

/// [`Time`] as governor reads it.
#[derive(Clone)]
struct BudgetClock(Arc<dyn Time>);

impl Clock for BudgetClock {
    type Instant = Duration;
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

type Budget = RateLimiter<NotKeyed, InMemoryState, BudgetClock, NoOpMiddleware<Duration>>;

/// The gate in front of one host, shared by everybody who asks it.
pub(super) struct Gate {
    time: Arc<dyn Time>,
    /// The host's weight limit a minute and our own budget below it, where the host counts weight.
    weighed: Option<(u32, Budget)>,
    /// Shut until this reading of `time`.
    shut_until: Mutex<Duration>,
}

impl Gate {
    /// A gate for a host that allows `weight_per_minute`, or does not count.
    pub(super) fn new(time: Arc<dyn Time>, weight_per_minute: Option<u32>) -> Gate {
        let weighed = weight_per_minute.and_then(|limit| {
            let share = NonZeroU32::new(limit / 100 * BUDGET_PCT)?;
            let quota = Quota::per_minute(share).allow_burst(BURST_WEIGHT.min(share));
            Some((limit, RateLimiter::direct_with_clock(quota, BudgetClock(time.clone()))))
        });
        Gate { time, weighed, shut_until: Mutex::new(Duration::ZERO) }
    }

    /// Waits until a request of this weight may be sent; 0 where the host does not count.
    ///
    /// # Errors
    /// The rest of the pause, when the host demands more than ten minutes.
    pub(super) async fn admit(&self, weight: u32) -> Result<(), Duration> {
        // More than a burst would never fit; the host's own count corrects for the difference.
        let weight = NonZeroU32::new(weight.min(BURST_WEIGHT.get()));
        loop {
            let shut = self.shut_for();
            if shut > PAUSE_MAX {
                return Err(shut);
            }
            if !shut.is_zero() {
                self.time.sleep(shut).await;
                continue;
            }
            let (Some((_, budget)), Some(weight)) = (&self.weighed, weight) else { return Ok(()) };
            let Ok(Err(not_until)) = budget.check_n(weight) else { return Ok(()) };
            self.time.sleep(not_until.wait_time_from(self.time.elapsed())).await;
        }
    }

    /// Shuts the gate for the pause a 429, 418 or 5xx asks for; returns that pause.
    pub(super) fn shut(&self, headers: &HeaderMap) -> Duration {
        let pause = retry_after(headers).unwrap_or(PAUSE_UNNAMED);
        self.shut_at_least(pause);
        pause
    }

    /// Shuts the gate only if the answer names a pause.
    pub(super) fn shut_if_asked(&self, headers: &HeaderMap) {
        if let Some(pause) = retry_after(headers) {
            self.shut_at_least(pause);
        }
    }

    /// Reads the weight the host says we used this minute (`X-MBX-USED-WEIGHT-1M`) and waits for
    /// its next minute when little is left.
    pub(super) fn note_used_weight(&self, headers: &HeaderMap) {
        let header = headers.get("x-mbx-used-weight-1m");
        let used = header.and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
        let (Some(used), Some((limit, _))) = (used, &self.weighed) else { return };
        if used >= limit / 100 * USED_PCT_MAX {
            self.shut_at_least(to_next_minute(headers));
        }
    }

    fn shut_at_least(&self, pause: Duration) {
        let until = self.time.elapsed().saturating_add(pause);
        let mut shut_until = self.shut_until.lock().unwrap_or_else(PoisonError::into_inner);
        *shut_until = until.max(*shut_until);
    }

    fn shut_for(&self) -> Duration {
        let shut_until = *self.shut_until.lock().unwrap_or_else(PoisonError::into_inner);
        shut_until.saturating_sub(self.time.elapsed())
    }
}

/// `Retry-After` in either of its forms (RFC 9110 §10.2.3); a date counts from the answer's own `Date`.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let wanted = http_date(text)?;
    let asked = http_date(headers.get(DATE)?.to_str().ok()?)?;
    Some(Duration::from_secs(u64::try_from(wanted - asked).unwrap_or(0)))
}

/// Until the host's clock starts a new minute; a whole minute when it does not tell its time.
fn to_next_minute(headers: &HeaderMap) -> Duration {
    let date = headers.get(DATE).and_then(|value| http_date(value.to_str().ok()?));
    let into = date.map_or(0, |seconds| seconds.rem_euclid(60));
    Duration::from_secs(u64::try_from(60 - into).unwrap_or(60))
}

/// Seconds since the epoch of an HTTP date.
fn http_date(text: &str) -> Option<i64> {
    jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binance::tests::FakeTime;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|&(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let date = ("date", "Wed, 21 Oct 2015 07:28:00 GMT");
        let check = |pairs: &[(&'static str, &str)], seconds: Option<u64>| {
            assert_eq!(retry_after(&headers(pairs)), seconds.map(Duration::from_secs), "{pairs:?}");
        };
        check(&[("retry-after", "17")], Some(17));
        check(&[("retry-after", "Wed, 21 Oct 2015 07:29:30 GMT"), date], Some(90));
        check(&[("retry-after", "Wed, 21 Oct 2015 07:00:00 GMT"), date], Some(0));
        check(&[("retry-after", "soon"), date], None);
        check(&[date], None);
    }

    #[tokio::test]
    async fn the_budget_spreads_weight_over_the_minute() {
        let time = FakeTime::start();
        let gate = Gate::new(time.clone(), Some(6000));
        for _ in 0..1000 {
            gate.admit(10).await.unwrap();
        }
        // 10,000 of weight at 4,800 a minute, 200 of them at once: (10,000 − 200) / 80 per second.
        assert!((time.elapsed().as_secs_f64() - 122.5).abs() < 0.1, "{:?}", time.elapsed());
    }

    #[tokio::test]
    async fn a_nearly_used_up_weight_waits_for_the_hosts_next_minute() {
        let time = FakeTime::start();
        let gate = Gate::new(time.clone(), Some(2400));
        let at_48_s = ("date", "Wed, 21 Oct 2015 07:28:48 GMT");
        gate.note_used_weight(&headers(&[("x-mbx-used-weight-1m", "2159"), at_48_s]));
        gate.admit(1).await.unwrap();
        assert_eq!(time.elapsed(), Duration::ZERO);
        gate.note_used_weight(&headers(&[("x-mbx-used-weight-1m", "2160"), at_48_s]));
        gate.admit(1).await.unwrap();
        assert_eq!(time.elapsed(), Duration::from_secs(12));
    }

    #[tokio::test]
    async fn a_long_ban_is_reported_and_not_waited_out() {
        let time = FakeTime::start();
        let gate = Gate::new(time.clone(), None);
        gate.shut(&headers(&[("retry-after", "259200")]));
        gate.shut(&headers(&[("retry-after", "1")]));
        assert_eq!(gate.admit(1).await, Err(Duration::from_secs(259_200)));
        assert_eq!(time.elapsed(), Duration::ZERO);
    }
}
