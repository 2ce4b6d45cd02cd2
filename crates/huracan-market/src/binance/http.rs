//! One host asked over HTTP: retries, statuses turned into outcomes and errors, and a stop that
//! takes effect at once. How many ask at once is the caller's business.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::sync::watch;

use super::error::FetchError;
use super::limits::{Gate, Time};

/// A candle archive or a page of klines is far smaller; more is not what we asked for.
const BODY_BYTES_MAX: usize = 256 << 20;
/// How much of a refusal is worth repeating.
const SAID_CHARS_MAX: usize = 200;

/// What the work on one symbol cost, counted as it happens.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) requests: AtomicU64,
    pub(super) retries: AtomicU64,
    pub(super) bytes: AtomicU64,
}

impl Tally {
    fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }
}

/// One base URL and the manners we keep with it.
pub(super) struct Host {
    base: String,
    client: reqwest::Client,
    gate: Gate,
    time: Arc<dyn Time>,
    cancel: watch::Receiver<bool>,
}

impl Host {
    /// A host that allows `weight_per_minute`, where it counts.
    pub(super) fn new(
        base: &str,
        client: reqwest::Client,
        time: Arc<dyn Time>,
        weight_per_minute: Option<u32>,
        cancel: watch::Receiver<bool>,
    ) -> Host {
        Host {
            base: base.trim_end_matches('/').to_owned(),
            client,
            gate: Gate::new(time.clone(), weight_per_minute),
            time,
            cancel,
        }
    }

    /// The full address of `path`, which starts without a slash.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.base)
    }

    /// Whether the caller asked to stop.
    pub(super) fn is_cancelled(&self) -> bool {
        *self.cancel.borrow()
    }

    /// One request of a given weight: the body, or `None` for a 404.
    ///
    /// # Errors
    /// Anything but 200 and 404, and anything that keeps the body from arriving whole.
    pub(super) async fn get(
        &self,
        path: &str,
        weight: u32,
        tally: &Tally,
    ) -> Result<Option<Vec<u8>>, FetchError> {
        let url = self.url(path);
        if let Err(left) = self.gate.admit(weight).await {
            return Err(FetchError::ShutOut { url, wait_s: left.as_secs() });
        }
        Tally::add(&tally.requests, 1);
        let response = match self.client.get(&url).send().await {
            Ok(response) => response,
            Err(source) => return Err(FetchError::Unreachable { url, source }),
        };
        self.gate.note_used_weight(response.headers());
        match response.status().as_u16() {
            200 => read_body(url, response, tally).await.map(Some),
            404 => Ok(None),
            status @ (418 | 429) => {
                let retry_after_s = self.gate.shut(response.headers()).as_secs();
                Err(FetchError::Throttled { url, status, retry_after_s })
            }
            status @ (408 | 500..=599) => {
                self.gate.shut_if_asked(response.headers());
                Err(FetchError::Server { url, status })
            }
            status => {
                let body = read_body(url.clone(), response, tally).await.unwrap_or_default();
                let said = String::from_utf8_lossy(&body).trim().chars().take(SAID_CHARS_MAX).collect();
                Err(FetchError::Refused { url, status, said })
            }
        }
    }

    /// Runs `attempt` until it succeeds, fails for good, has failed six times, or is cancelled.
    pub(super) async fn retrying<T, Attempt>(
        &self,
        tally: &Tally,
        mut attempt: impl FnMut() -> Attempt,
    ) -> Result<T, FetchError>
    where
        Attempt: Future<Output = Result<T, FetchError>>,
    {
        let backoff = ExponentialBuilder::default()
            .with_min_delay(Duration::from_secs(1))
            .with_max_delay(Duration::from_secs(30))
            .with_max_times(5)
            .with_jitter();
        let mut waits = backoff.build();
        let work = async {
            loop {
                let error = match attempt().await {
                    Err(error) if error.is_transient() => error,
                    done => return done,
                };
                let Some(wait) = waits.next() else { return Err(error) };
                Tally::add(&tally.retries, 1);
                tracing::debug!(%error, wait_ms = wait.as_millis() as u64, "retrying");
                self.time.sleep(wait).await;
            }
        };
        tokio::select! {
            biased;
            () = cancelled(self.cancel.clone()) => Err(FetchError::Cancelled),
            done = work => done,
        }
    }
}

async fn read_body(
    url: String,
    mut response: reqwest::Response,
    tally: &Tally,
) -> Result<Vec<u8>, FetchError> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                Tally::add(&tally.bytes, chunk.len() as u64);
                body.extend_from_slice(&chunk);
            }
            Ok(None) => return Ok(body),
            Err(source) => return Err(FetchError::Unreachable { url, source }),
        }
        if body.len() > BODY_BYTES_MAX {
            let why = format!("more than {BODY_BYTES_MAX} bytes, expected a few megabytes at most");
            return Err(FetchError::BadAnswer { url, why });
        }
    }
}

/// Completes when the caller asks to stop; never, once nobody can ask any more.
async fn cancelled(mut cancel: watch::Receiver<bool>) {
    let nobody_left = cancel.wait_for(|stop| *stop).await.is_err();
    if nobody_left {
        std::future::pending::<()>().await;
    }
}

/// A client with our timeouts.
///
/// # Errors
/// When no TLS provider is installed, or the system's certificates cannot be used.
pub(super) fn client() -> Result<reqwest::Client, FetchError> {
    // reqwest panics instead of returning this.
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        return Err(FetchError::NoTlsProvider);
    }
    reqwest::Client::builder()
        .user_agent(concat!("huracan/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(10))
        .read_timeout(Duration::from_secs(30))
        .timeout(Duration::from_secs(300))
        .build()
        .map_err(FetchError::Client)
}
