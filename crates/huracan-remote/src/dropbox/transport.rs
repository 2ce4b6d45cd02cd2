//! One request at a time: tokens, retries, pauses and counting. What a request means is not known here.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, UNIX_EPOCH};

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use bytes::Bytes;
use huracan_core::words::UtcMs;
use huracan_store::Usage;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderValue, RETRY_AFTER};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::credentials::Credentials;
use super::error::{Failure, tags};
use super::hash::content_hash;
use crate::retry::RetryPolicy;

/// A token is renewed this long before it ends, so that no request starts with one about to end.
const RENEW_BEFORE: Duration = Duration::from_secs(60);
/// How often one request may find its token ended before we believe that renewing does not help.
const RENEWALS_MAX: usize = 5;
/// How much of what the service says is worth repeating.
const SAID_CHARS_MAX: usize = 200;
/// A body larger than this is not an object of a store.
const DOWNLOAD_BYTES_MAX: u64 = 4 << 30;

/// Where Dropbox is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoints {
    /// Base address of calls without a body, without a slash at the end.
    pub api: String,
    /// Base address of uploads and downloads.
    pub content: String,
    /// Full address that exchanges a refresh token for an access token.
    pub token: String,
}

impl Default for Endpoints {
    fn default() -> Endpoints {
        Endpoints {
            api: "https://api.dropboxapi.com".into(),
            content: "https://content.dropboxapi.com".into(),
            token: "https://api.dropboxapi.com/oauth2/token".into(),
        }
    }
}

/// The waits between the attempts of one request.
pub(super) struct Waits {
    waits: ExponentialBackoff,
    started: Instant,
    attempts: u32,
}

#[derive(Default)]
struct Tally {
    requests: AtomicU64,
    retries: AtomicU64,
    bytes_up: AtomicU64,
    bytes_down: AtomicU64,
}

fn add(counter: &AtomicU64, n: usize) {
    counter.fetch_add(n as u64, Ordering::Relaxed);
}

/// The three ways Dropbox takes arguments and content.
#[derive(Clone)]
pub(super) enum Style {
    /// Arguments in the body.
    Rpc,
    /// Arguments in a header, content in the body.
    Upload(Bytes),
    /// Arguments in a header, content in the answer.
    Download,
}

/// An answer to use, or the refusal of an endpoint for the caller to judge.
pub(super) struct Reply {
    /// The result, or the error with its tags.
    pub outcome: Result<Value, String>,
    /// The content of a download.
    pub content: Vec<u8>,
    /// An earlier attempt of this request broke off and may have been carried out.
    pub doubtful: bool,
    /// The server's clock when it answered.
    pub date: Option<UtcMs>,
}

impl Reply {
    /// The result as the type it should be; a refusal becomes a failure.
    pub(super) fn read<T: DeserializeOwned>(self, route: &'static str) -> Result<T, Failure> {
        match self.outcome {
            Ok(result) => parse(route, result),
            Err(tags) => Err(Failure::refused(route, &tags)),
        }
    }
}

/// A result as the type it should be.
pub(super) fn parse<T: DeserializeOwned>(route: &'static str, result: Value) -> Result<T, Failure> {
    serde_json::from_value(result).map_err(|error| Failure::BadAnswer { route, why: error.to_string() })
}

/// How one attempt ended, when not with an answer.
enum Broken {
    /// Try again: after our own wait, or the pause asked for.
    Again { failure: Failure, pause: Option<Duration>, doubtful: bool },
    /// The access token has ended.
    TokenEnded(Failure),
    /// No use in trying again.
    ForGood(Failure),
}

#[derive(Clone)]
struct Token {
    access: String,
    until: Instant,
}

/// The connection to Dropbox, shared by all threads.
pub(super) struct Transport {
    client: reqwest::Client,
    endpoints: Endpoints,
    credentials: Credentials,
    retry: RetryPolicy,
    /// Held while a token is asked for, so that many requests ask once.
    token: tokio::sync::Mutex<Option<Token>>,
    tally: Tally,
    /// The clock of Dropbox when it last answered.
    clock: Mutex<Option<(UtcMs, Instant)>>,
}

impl Transport {
    pub(super) fn new(
        client: reqwest::Client,
        endpoints: Endpoints,
        credentials: Credentials,
        retry: RetryPolicy,
    ) -> Transport {
        let token = tokio::sync::Mutex::new(None);
        Transport {
            client,
            endpoints,
            credentials,
            retry,
            token,
            tally: Tally::default(),
            clock: Mutex::new(None),
        }
    }

    /// What was asked of the network so far, tokens included.
    pub(super) fn usage(&self) -> Usage {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Usage {
            requests: read(&self.tally.requests),
            retries: read(&self.tally.retries),
            bytes_up: read(&self.tally.bytes_up),
            bytes_down: read(&self.tally.bytes_down),
        }
    }

    /// The clock of Dropbox, from its last answer; the first one is that for the token.
    pub(super) async fn now(&self) -> Option<UtcMs> {
        let read = || *self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        if read().is_none() {
            // Whatever fails here fails again, and is told, where the token is used.
            let _ = self.token(None).await;
        }
        let (then, answered) = read()?;
        Some(UtcMs(then.0 + i64::try_from(answered.elapsed().as_millis()).ok()?))
    }

    pub(super) fn waits(&self) -> Waits {
        waits(&self.retry)
    }

    /// Sends a request until it is answered, refused for good, or patience ends.
    pub(super) async fn call(
        &self,
        route: &'static str,
        argument: &Value,
        style: Style,
    ) -> Result<Reply, Failure> {
        let mut waits = self.waits();
        let mut doubtful = false;
        let mut renewals = 0;
        let mut ended: Option<Token> = None;
        loop {
            let token = self.token(ended.take()).await?;
            let (failure, pause) = match self.attempt(route, argument, &style, &token.access).await {
                Ok(reply) => return Ok(Reply { doubtful, ..reply }),
                Err(Broken::TokenEnded(failure)) => {
                    renewals += 1;
                    if renewals > RENEWALS_MAX {
                        return Err(failure);
                    }
                    ended = Some(token);
                    continue;
                }
                Err(Broken::ForGood(failure)) => return Err(failure),
                Err(Broken::Again { failure, pause, doubtful: now }) => {
                    doubtful |= now;
                    (failure, pause)
                }
            };
            self.wait(&mut waits, failure, pause).await?;
        }
    }

    /// Waits before the next attempt, or returns why there is none.
    pub(super) async fn wait(
        &self,
        waits: &mut Waits,
        failure: Failure,
        pause: Option<Duration>,
    ) -> Result<(), Failure> {
        let failure = failure.after(waits.attempts);
        let Some(own) = waits.waits.next() else { return Err(failure) };
        // Everybody who was refused at once would come back at once.
        let wait = match pause {
            Some(pause) => {
                let share = random_u64() as f64 / u64::MAX as f64;
                own.max(pause + self.retry.wait_min.mul_f64(share))
            }
            None => own,
        };
        if waits.started.elapsed() + wait > self.retry.total_max {
            return Err(failure);
        }
        waits.attempts += 1;
        add(&self.tally.retries, 1);
        tracing::debug!(%failure, wait_ms = wait.as_millis() as u64, "asking Dropbox again");
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// A token to use; never `ended`. One request asks, all others wait for its answer.
    async fn token(&self, ended: Option<Token>) -> Result<Token, Failure> {
        let mut held = self.token.lock().await;
        if let Some(token) = held.as_ref() {
            let unusable = ended.is_some_and(|ended| ended.access == token.access);
            if !unusable && token.until > Instant::now() {
                return Ok(token.clone());
            }
        }
        let mut waits = self.waits();
        loop {
            match self.ask_for_token().await {
                Ok(token) => return Ok(held.insert(token).clone()),
                Err(Broken::Again { failure, pause, .. }) => self.wait(&mut waits, failure, pause).await?,
                Err(Broken::ForGood(failure) | Broken::TokenEnded(failure)) => return Err(failure),
            }
        }
    }

    async fn ask_for_token(&self) -> Result<Token, Broken> {
        #[derive(Deserialize)]
        struct Issued {
            access_token: String,
            expires_in: u64,
        }
        let route = "oauth2/token";
        let mut fields = vec![
            ("grant_type", "refresh_token"),
            ("refresh_token", &self.credentials.refresh_token),
            ("client_id", &self.credentials.app_key),
        ];
        if let Some(secret) = &self.credentials.app_secret {
            fields.push(("client_secret", secret));
        }
        // The query of an address and a form have one encoding.
        let form = reqwest::Url::parse_with_params("http://form", fields)
            .ok()
            .and_then(|url| url.query().map(str::to_owned))
            .unwrap_or_default();
        add(&self.tally.requests, 1);
        let asked = Instant::now();
        let request = self
            .client
            .post(&self.endpoints.token)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .timeout(Duration::from_secs(60))
            .body(form);
        let (status, headers, body) = self.exchange(route, request).await?;
        if status != 200 {
            return Err(match refusal(route, status, &headers, &body) {
                // A bad grant is a bad request here, and for good.
                Broken::ForGood(Failure::Refused { said, .. })
                | Broken::TokenEnded(Failure::Denied { said, .. }) => {
                    Broken::ForGood(Failure::Denied { route, said: self.credentials.scrub(&said) })
                }
                broken => broken,
            });
        }
        // serde's message may quote the token.
        let unreadable = || {
            let why = "expected JSON with access_token and expires_in".to_owned();
            Broken::ForGood(Failure::BadAnswer { route, why })
        };
        let issued: Issued = serde_json::from_slice(&body).map_err(|_| unreadable())?;
        let lives = Duration::from_secs(issued.expires_in);
        // A short-lived token is at least used for half its life.
        let until = asked + lives.saturating_sub(RENEW_BEFORE).max(lives / 2);
        Ok(Token { access: issued.access_token, until })
    }

    async fn attempt(
        &self,
        route: &'static str,
        argument: &Value,
        style: &Style,
        access: &str,
    ) -> Result<Reply, Broken> {
        let host = if matches!(style, Style::Rpc) { &self.endpoints.api } else { &self.endpoints.content };
        let mut authorization = HeaderValue::from_str(&format!("Bearer {access}")).map_err(|_| {
            let why = "the access token has characters no header may have".to_owned();
            Broken::ForGood(Failure::BadAnswer { route: "oauth2/token", why })
        })?;
        authorization.set_sensitive(true);
        let request = self.client.post(format!("{host}/2/{route}")).header(AUTHORIZATION, authorization);
        let request = match style {
            Style::Rpc => request
                .header(CONTENT_TYPE, "application/json")
                .timeout(Duration::from_secs(120))
                .body(argument.to_string()),
            Style::Upload(content) => {
                add(&self.tally.bytes_up, content.len());
                // A minute, and what a line of 1 Mbit/s needs.
                let patience = Duration::from_secs(60 + (content.len() as u64 >> 17));
                request
                    .header("Dropbox-API-Arg", header_json(argument))
                    .header(CONTENT_TYPE, "application/octet-stream")
                    .timeout(patience)
                    .body(content.clone())
            }
            Style::Download => {
                request.header("Dropbox-API-Arg", header_json(argument)).timeout(Duration::from_secs(900))
            }
        };
        add(&self.tally.requests, 1);
        let (status, headers, body) = self.exchange(route, request).await?;
        let date = date(&headers);
        let reply = |outcome, content| Reply { outcome, content, doubtful: false, date };
        match status {
            200 => {
                let unusable = |why: String| Broken::ForGood(Failure::BadAnswer { route, why });
                if !matches!(style, Style::Download) {
                    let result =
                        serde_json::from_slice(&body).map_err(|error| unusable(error.to_string()))?;
                    return Ok(reply(Ok(result), Vec::new()));
                }
                let result =
                    headers.get("Dropbox-API-Result").map(|text| text.as_bytes()).unwrap_or_default();
                let result: Value = serde_json::from_slice(result)
                    .map_err(|error| unusable(format!("its Dropbox-API-Result: {error}")))?;
                add(&self.tally.bytes_down, body.len());
                whole(route, &result, &body)?;
                Ok(reply(Ok(result), body))
            }
            409 => {
                let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
                let tags = tags(&answer["error"]);
                let again = |reason: &str| Broken::Again {
                    failure: Failure::Throttled { route, reason: reason.to_owned(), pause_s: 0, attempts: 1 },
                    pause: None,
                    doubtful: false,
                };
                if tags.ends_with("too_many_write_operations") {
                    Err(again("too_many_write_operations"))
                } else if tags.ends_with("content_hash_mismatch") {
                    Err(again("the content was damaged on its way"))
                } else if tags.is_empty() {
                    Err(Broken::ForGood(Failure::Refused { route, said: said(&body) }))
                } else {
                    // The one tag with a number in it; whoever appends needs it.
                    let offset = &answer["error"]["correct_offset"];
                    let tags = offset.as_u64().map_or(tags.clone(), |offset| format!("{tags}/{offset}"));
                    Ok(reply(Err(tags), Vec::new()))
                }
            }
            _ => Err(refusal(route, status, &headers, &body)),
        }
    }

    /// Sends and reads whole.
    async fn exchange(
        &self,
        route: &'static str,
        request: reqwest::RequestBuilder,
    ) -> Result<(u16, HeaderMap, Vec<u8>), Broken> {
        // Until the connection stands nothing was sent, so nothing was done.
        let broken = |error: reqwest::Error| Broken::Again {
            doubtful: !error.is_connect(),
            failure: Failure::Unreachable { route, reason: root_cause(&error), attempts: 1 },
            pause: None,
        };
        let mut response = request.send().await.map_err(broken)?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        if let Some(date) = date(&headers) {
            *self.clock.lock().unwrap_or_else(PoisonError::into_inner) = Some((date, Instant::now()));
        }
        let mut body = Vec::with_capacity(response.content_length().unwrap_or(0).min(64 << 20) as usize);
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            if body.len() as u64 + chunk.len() as u64 > DOWNLOAD_BYTES_MAX {
                let why = format!("more than {DOWNLOAD_BYTES_MAX} bytes");
                return Err(Broken::ForGood(Failure::BadAnswer { route, why }));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((status, headers, body))
    }
}

/// The waits that a policy allows.
fn waits(retry: &RetryPolicy) -> Waits {
    let waits = ExponentialBuilder::default()
        .with_min_delay(retry.wait_min)
        .with_max_delay(retry.wait_max)
        .with_max_times(retry.attempts_max.saturating_sub(1) as usize)
        .with_jitter();
    Waits { waits: waits.build(), started: Instant::now(), attempts: 1 }
}

/// A download must be what its own metadata says; if not, it was damaged on its way.
fn whole(route: &'static str, result: &Value, content: &[u8]) -> Result<(), Broken> {
    let Some(expected) = result["content_hash"].as_str() else { return Ok(()) };
    let found = content_hash(content);
    if found == expected {
        return Ok(());
    }
    let why = format!("{} bytes with content hash {found}, expected {expected}", content.len());
    Err(Broken::Again { failure: Failure::BadAnswer { route, why }, pause: None, doubtful: false })
}

/// What a status other than 200 and 409 means.
fn refusal(route: &'static str, status: u16, headers: &HeaderMap, body: &[u8]) -> Broken {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    match status {
        401 if matches!(tags(&answer["error"]).as_str(), "expired_access_token" | "invalid_access_token") => {
            Broken::TokenEnded(Failure::Denied { route, said: tags(&answer["error"]) })
        }
        401 | 403 => Broken::ForGood(Failure::Denied { route, said: said(body) }),
        429 => {
            let pause = headers.get(RETRY_AFTER).and_then(|text| text.to_str().ok()?.parse().ok());
            let pause_s = pause.or_else(|| answer["error"]["retry_after"].as_u64()).unwrap_or(0);
            let reason = answer["error"]["reason"][".tag"].as_str().unwrap_or("too_many_requests").to_owned();
            Broken::Again {
                failure: Failure::Throttled { route, reason, pause_s, attempts: 1 },
                pause: Some(Duration::from_secs(pause_s)),
                doubtful: false,
            }
        }
        507 => Broken::ForGood(Failure::Full { route }),
        408 | 500..=599 => Broken::Again {
            failure: Failure::Server { route, status, attempts: 1 },
            pause: None,
            doubtful: true,
        },
        _ => Broken::ForGood(Failure::Refused { route, said: format!("status {status}: {}", said(body)) }),
    }
}

fn said(body: &[u8]) -> String {
    String::from_utf8_lossy(body).trim().chars().take(SAID_CHARS_MAX).collect()
}

/// JSON for a header: everything beyond ASCII is escaped.
fn header_json(argument: &Value) -> String {
    let mut text = String::new();
    for c in argument.to_string().chars() {
        if c.is_ascii() && c != '\x7f' {
            text.push(c);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    text
}

fn date(headers: &HeaderMap) -> Option<UtcMs> {
    headers.get(DATE).and_then(|date| http_date(date.to_str().ok()?))
}

fn http_date(text: &str) -> Option<UtcMs> {
    let since = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(UtcMs(i64::try_from(since.as_millis()).ok()?))
}

/// A number nobody can foresee, from the seed that hash maps get of the operating system.
pub(super) fn random_u64() -> u64 {
    RandomState::new().hash_one(())
}

/// The innermost cause: the client's own sentence repeats the address and hides the reason.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_ascii() {
        let argument = serde_json::json!({"path": "/Größe/𝄞\u{7f}"});
        assert_eq!(header_json(&argument), r#"{"path":"/Gr\u00f6\u00dfe/\ud834\udd1e\u007f"}"#);
    }

    #[test]
    fn the_date_of_a_server_is_read() {
        assert_eq!(http_date("Fri, 01 Aug 2025 00:00:00 GMT"), Some(UtcMs(1_754_006_400_000)));
        assert_eq!(http_date("yesterday"), None);
    }
}
