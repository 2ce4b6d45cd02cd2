//! The requests: signed, sent, repeated where that may help, and turned into what a store says.

use std::io;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use huracan_core::words::UtcMs;
use huracan_store::{Entry, Object, PutMode, Result, Revision, StoreError, StorePath, Usage, unique};
use reqwest::header::{CONTENT_LENGTH, DATE, ETAG, HeaderMap, HeaderName, LAST_MODIFIED, RETRY_AFTER};
use reqwest::{Method, Url};
use rusty_s3::actions::{ListObjectsV2, S3Action};
use rusty_s3::{Bucket, UrlStyle};

use super::{S3Config, S3ConfigError};
use crate::retry::{Retries, RetryPolicy, Transient};

/// Metadata of an object: which put wrote it. Two writers may write equal bytes; this tells whose
/// they are when an answer was lost.
const WRITTEN_BY: &str = "x-amz-meta-huracan-put";

/// How long a signature is good for; a request takes seconds.
const SIGNED_FOR: Duration = Duration::from_secs(900);
/// A server that refuses us while our clock is wrong by this much refuses us for that.
const CLOCK_WRONG_MS: i64 = 60_000;
/// What the timeout of a request adds for its body.
const BYTES_PER_SECOND_MIN: u64 = 64 << 10;
/// How much of a refusal is worth repeating.
const SAID_CHARS_MAX: usize = 200;

/// One bucket, or a folder in it.
///
/// A write that was given up for lost may still be on its way: one on a condition is refused when it
/// arrives late, an unconditional one may undo what was written since.
pub(super) struct Client {
    http: reqwest::Client,
    bucket: Bucket,
    prefix: Option<StorePath>,
    config: S3Config,
    /// How far the server's clock is ahead of ours, as its last answer told.
    clock_ahead_ms: AtomicI64,
    requests: AtomicU64,
    retries: AtomicU64,
    bytes_up: AtomicU64,
    bytes_down: AtomicU64,
}

/// An object with its times by the server's clock, where it told them.
pub(super) struct Found {
    pub(super) object: Object,
    pub(super) modified: Option<UtcMs>,
    pub(super) now: Option<UtcMs>,
    written_by: Option<String>,
}

/// An answer that came whole.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

/// Why one attempt was not answered in a way that the caller can use.
enum Fault {
    /// It may succeed when repeated. `maybe_done` is false where the server says, or must have, done
    /// nothing.
    Transient {
        failed: Transient,
        maybe_done: bool,
    },
    Final(StoreError),
}

/// What a request is for, and so what a refusal of it means.
#[derive(Clone, Copy, PartialEq)]
enum Purpose {
    Read,
    Write,
}

impl Client {
    pub(super) fn new(config: S3Config) -> std::result::Result<Client, S3ConfigError> {
        let name = &config.bucket;
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-');
        if !(3..=63).contains(&name.len()) || !name.bytes().all(plain) || name.contains("..") {
            return Err(S3ConfigError::Bucket { found: name.clone() });
        }
        let prefix = match config.prefix.trim_matches('/') {
            "" => None,
            text => Some(
                StorePath::new(text)
                    .map_err(|source| S3ConfigError::Prefix { found: config.prefix.clone(), source })?,
            ),
        };
        let bucket = bucket(&config)?;
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // reqwest panics without one. Another thread may have been faster: then there is one.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let loopback = bucket.base_url().host_str().is_some_and(is_loopback);
        let builder = reqwest::Client::builder();
        // A proxy for the world outside is not for this machine.
        let http = if loopback { builder.no_proxy() } else { builder }
            .user_agent(concat!("huracan/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(10))
            // A redirect would be followed with a signature for another host.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(S3ConfigError::Http)?;
        let (clock_ahead_ms, requests, retries, bytes_up, bytes_down) = Default::default();
        Ok(Client { http, bucket, prefix, config, clock_ahead_ms, requests, retries, bytes_up, bytes_down })
    }

    /// `s3://bucket/prefix`.
    pub(super) fn place(&self) -> String {
        let prefix = self.prefix.as_ref().map_or(String::new(), |prefix| format!("/{prefix}"));
        format!("s3://{}{prefix}", self.bucket.name())
    }

    pub(super) fn usage(&self) -> Usage {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Usage {
            requests: read(&self.requests),
            retries: read(&self.retries),
            bytes_up: read(&self.bytes_up),
            bytes_down: read(&self.bytes_down),
        }
    }

    pub(super) async fn get(&self, path: &StorePath) -> Result<Option<Found>> {
        let key = self.key(path);
        let credentials = self.config.credentials.signing();
        let ask = || {
            let action = self.bucket.get_object(Some(credentials), &key);
            self.send(path.as_str(), Purpose::Read, action, Bytes::new())
        };
        let mut retries = self.retries();
        let answer = loop {
            match ask().await {
                Ok(answer) => break answer,
                Err(fault) => self.again(&mut retries, path.as_str(), fault).await?,
            }
        };
        if answer.status == 404 {
            return self.missing(&answer).map(|()| None);
        }
        let object = Object { revision: revision(path, &answer.headers)?, bytes: answer.body.to_vec() };
        Ok(Some(Found {
            object,
            modified: time(&answer.headers, LAST_MODIFIED),
            now: time(&answer.headers, DATE),
            written_by: answer.headers.get(WRITTEN_BY).and_then(|put| put.to_str().ok()).map(str::to_owned),
        }))
    }

    /// A conflict is only reported when it is one: after a repeat the object is read back, and may
    /// turn out to be what this very put wrote before its answer was lost. Where that cannot be told,
    /// because others wrote since, the error says that nobody knows.
    pub(super) async fn put(&self, path: &StorePath, bytes: Bytes, mode: &PutMode) -> Result<Revision> {
        let key = self.key(path);
        let credentials = self.config.credentials.signing();
        let this_put = unique();
        let mut retries = self.retries();
        let (mut repeated, mut unsure) = (false, false);
        loop {
            let mut action = self.bucket.put_object(Some(credentials), &key);
            action.headers_mut().insert(WRITTEN_BY, this_put.as_str());
            match mode {
                PutMode::Create => action.headers_mut().insert("if-none-match", "*"),
                PutMode::IfRevision(expected) => {
                    action.headers_mut().insert("if-match", format!("\"{expected}\""));
                }
                PutMode::Overwrite => {}
            }
            let fault = match self.send(path.as_str(), Purpose::Write, action, bytes.clone()).await {
                Ok(Answer { status: 404, body, .. }) if code_of(&body) == "NoSuchBucket" => {
                    return Err(self.no_bucket());
                }
                Ok(Answer { status: 412, .. }) if *mode == PutMode::Create && !repeated => {
                    return Err(StoreError::AlreadyExists { path: path.to_string() });
                }
                Ok(Answer { status: status @ (404 | 409 | 412), body, .. }) => {
                    let found = self.get(path).await?;
                    if let Some(found) = &found
                        && found.written_by.as_ref() == Some(&this_put)
                    {
                        return Ok(found.object.revision.clone());
                    }
                    if let Err(conflict) = permit(path, mode, found.map(|found| found.object.revision)) {
                        return Err(if unsure {
                            unknown(path, retries.attempts(), conflict)
                        } else {
                            conflict
                        });
                    }
                    // What was in the way has just gone, or two writers met and neither was let in.
                    let failed = Transient { reason: said(status, &body), retry_after: None };
                    Fault::Transient { failed, maybe_done: false }
                }
                Ok(answer) => return revision(path, &answer.headers),
                Err(fault) => fault,
            };
            repeated = true;
            unsure |= matches!(fault, Fault::Transient { maybe_done: true, .. });
            self.again(&mut retries, path.as_str(), fault).await?;
        }
    }

    pub(super) async fn delete(&self, path: &StorePath) -> Result<()> {
        let key = self.key(path);
        let credentials = self.config.credentials.signing();
        let mut retries = self.retries();
        loop {
            let action = self.bucket.delete_object(Some(credentials), &key);
            let fault = match self.send(path.as_str(), Purpose::Write, action, Bytes::new()).await {
                Ok(answer) if answer.status == 404 => return self.missing(&answer),
                // Another's write was under way.
                Ok(Answer { status: status @ (409 | 412), body, .. }) => {
                    let failed = Transient { reason: said(status, &body), retry_after: None };
                    Fault::Transient { failed, maybe_done: false }
                }
                Ok(_) => return Ok(()),
                Err(fault) => fault,
            };
            self.again(&mut retries, path.as_str(), fault).await?;
        }
    }

    pub(super) async fn list(&self, folder: Option<&StorePath>) -> Result<Vec<Entry>> {
        let what = folder.map_or_else(|| self.place(), StorePath::to_string);
        let below = |path: &StorePath| format!("{path}/");
        let prefix = match folder {
            Some(folder) => format!("{}/", self.key(folder)),
            None => self.prefix.as_ref().map(below).unwrap_or_default(),
        };
        let own = self.prefix.as_ref().map(below).unwrap_or_default();
        let mut entries = Vec::new();
        let mut token = None;
        loop {
            let page = self.page(&what, &prefix, token).await?;
            for content in page.contents {
                // Keys that no path of ours can have are nobody's objects.
                let path = content.key.strip_prefix(&own).map(StorePath::new);
                if let Some(Ok(path)) = path {
                    let revision = content.etag.as_deref().map(revision_of);
                    entries.push(Entry { path, size_bytes: content.size.unwrap_or_default(), revision });
                }
            }
            token = page.next_continuation_token;
            if token.is_none() {
                entries.sort();
                return Ok(entries);
            }
        }
    }

    /// One page of a listing.
    async fn page(
        &self,
        what: &str,
        prefix: &str,
        token: Option<String>,
    ) -> Result<rusty_s3::actions::ListObjectsV2Response> {
        let credentials = self.config.credentials.signing();
        let mut retries = self.retries();
        loop {
            let mut action = self.bucket.list_objects_v2(Some(credentials));
            action.with_prefix(prefix);
            if let Some(token) = &token {
                action.with_continuation_token(token);
            }
            let fault = match self.send(what, Purpose::Read, action, Bytes::new()).await {
                Ok(answer) if answer.status == 404 => return Err(self.no_bucket()),
                Ok(answer) => {
                    let text = String::from_utf8_lossy(&answer.body);
                    match ListObjectsV2::parse_response(&text) {
                        Ok(page) => return Ok(page),
                        Err(error) => Fault::Final(StoreError::Io {
                            path: what.to_owned(),
                            action: "list it",
                            source: io::Error::new(io::ErrorKind::InvalidData, error.to_string()),
                        }),
                    }
                }
                Err(fault) => fault,
            };
            self.again(&mut retries, what, fault).await?;
        }
    }

    fn retries(&self) -> Retries {
        Retries::new(self.policy())
    }

    fn policy(&self) -> &RetryPolicy {
        &self.config.retry
    }

    async fn again(&self, retries: &mut Retries, path: &str, fault: Fault) -> Result<()> {
        match fault {
            Fault::Final(error) => Err(error),
            Fault::Transient { failed, .. } => {
                retries.again(path, failed).await?;
                self.retries.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    fn key(&self, path: &StorePath) -> String {
        self.prefix.as_ref().map_or_else(|| path.to_string(), |prefix| format!("{prefix}/{path}"))
    }

    /// Whether a 404 means the object, as it should.
    fn missing(&self, answer: &Answer) -> Result<()> {
        if code_of(&answer.body) == "NoSuchBucket" { Err(self.no_bucket()) } else { Ok(()) }
    }

    fn no_bucket(&self) -> StoreError {
        StoreError::NotFound {
            path: self.place(),
            help: "the server has no such bucket; make it first, or check its name and the endpoint",
        }
    }

    /// One attempt at one request: an answer of 2xx or 404, for a write also 409 and 412, or why there
    /// is none.
    async fn send<'a>(
        &self,
        path: &str,
        purpose: Purpose,
        mut action: impl S3Action<'a>,
        body: Bytes,
    ) -> std::result::Result<Answer, Fault> {
        let ahead_ms = self.clock_ahead_ms.load(Ordering::Relaxed);
        let headers: Vec<_> =
            action.headers_mut().iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let (method, url) = signed(&action, ahead_ms);
        let timeout =
            self.config.request_timeout + Duration::from_secs(body.len() as u64 / BYTES_PER_SECOND_MIN);
        let mut request = self.http.request(method.clone(), url).timeout(timeout);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if method == Method::PUT {
            // reqwest leaves an empty body's length out, which S3 refuses.
            request = request.header(CONTENT_LENGTH, body.len()).body(body.clone());
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.bytes_up.fetch_add(body.len() as u64, Ordering::Relaxed);
        let response = request.send().await.map_err(|error| lost(error, timeout))?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        if let Some(now) = time(&headers, DATE) {
            self.clock_ahead_ms.store(now.0 - now_ms(), Ordering::Relaxed);
        }
        let body = response.bytes().await.map_err(|error| lost(error, timeout))?;
        self.bytes_down.fetch_add(body.len() as u64, Ordering::Relaxed);
        match status {
            200..=299 | 404 => Ok(Answer { status, headers, body }),
            409 | 412 if purpose == Purpose::Write => Ok(Answer { status, headers, body }),
            _ => {
                let off_ms = self.clock_ahead_ms.load(Ordering::Relaxed) - ahead_ms;
                Err(refusal(path, purpose, status, &headers, &body, off_ms))
            }
        }
    }
}

fn bucket(config: &S3Config) -> std::result::Result<Bucket, S3ConfigError> {
    let text =
        config.endpoint.clone().unwrap_or_else(|| format!("https://s3.{}.amazonaws.com", config.region));
    let failed = |reason: String| S3ConfigError::Endpoint { found: text.clone(), reason };
    let endpoint = Url::parse(&text).map_err(|error| failed(format!("{error}, expected https://host")))?;
    if !endpoint.username().is_empty() || endpoint.password().is_some() {
        // The text is not repeated: it has a password in it.
        let found = endpoint.host_str().unwrap_or_default().to_owned();
        let reason = "it has a user name or password, expected them in the credentials".to_owned();
        return Err(S3ConfigError::Endpoint { found, reason });
    }
    let loopback = endpoint.host_str().is_some_and(is_loopback);
    if endpoint.scheme() != "https" && !(endpoint.scheme() == "http" && loopback) {
        return Err(failed("expected https; plain http is for servers on this machine".to_owned()));
    }
    let style = if config.path_style { UrlStyle::Path } else { UrlStyle::VirtualHost };
    Bucket::new(endpoint, style, config.bucket.clone(), config.region.clone()).map_err(|error| {
        failed(format!("{error}; a server reached by its address needs the bucket in the path (path style)"))
    })
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// The method and the URL, signed by the time the server has.
fn signed<'a, A: S3Action<'a>>(action: &A, ahead_ms: i64) -> (Method, Url) {
    let now = UNIX_EPOCH + Duration::from_millis(now_ms().saturating_add(ahead_ms).max(0) as u64);
    // rusty-s3 has its own version of the time's type; the standard one leads there.
    let url = match now.try_into() {
        Ok(time) => action.sign_with_time(SIGNED_FOR, &time),
        Err(_) => action.sign(SIGNED_FOR),
    };
    let method = match A::METHOD {
        rusty_s3::Method::Put => Method::PUT,
        rusty_s3::Method::Delete => Method::DELETE,
        _ => Method::GET,
    };
    (method, url)
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

fn time(headers: &HeaderMap, name: HeaderName) -> Option<UtcMs> {
    let time = httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()?;
    Some(UtcMs(time.duration_since(UNIX_EPOCH).ok()?.as_millis() as i64))
}

/// The revision that an ETag names; quotes are its packaging.
fn revision_of(etag: &str) -> Revision {
    Revision::new(etag.trim_matches('"'))
}

fn revision(path: &StorePath, headers: &HeaderMap) -> Result<Revision> {
    match headers.get(ETAG).and_then(|etag| etag.to_str().ok()) {
        Some(etag) => Ok(revision_of(etag)),
        None => Err(StoreError::Corrupt {
            path: path.to_string(),
            reason: "the server gave no ETag with it, expected one to tell its states apart".to_owned(),
        }),
    }
}

/// Whether `mode` permits a put over what was found.
fn permit(path: &StorePath, mode: &PutMode, found: Option<Revision>) -> Result<()> {
    match (mode, found) {
        (PutMode::Create, Some(_)) => Err(StoreError::AlreadyExists { path: path.to_string() }),
        (PutMode::IfRevision(expected), found) if found.as_ref() != Some(expected) => {
            Err(StoreError::Stale {
                path: path.to_string(),
                expected: expected.to_string(),
                found: found.map_or("none".to_owned(), |found| found.to_string()),
            })
        }
        _ => Ok(()),
    }
}

/// A conflict that may be with what this put itself brought about.
fn unknown(path: &StorePath, attempts: u32, conflict: StoreError) -> StoreError {
    StoreError::Unavailable {
        path: path.to_string(),
        attempts,
        reason: format!(
            "an answer was lost, and others wrote since, so that it is not known whether this write took place: {conflict}"
        ),
    }
}

/// A request without an answer. The URL is left out of what is told: it is signed.
fn lost(error: reqwest::Error, timeout: Duration) -> Fault {
    let maybe_done = !error.is_connect();
    let error = error.without_url();
    let mut reason = if error.is_timeout() {
        format!("no answer within {} s", timeout.as_secs())
    } else {
        error.to_string()
    };
    let mut cause = std::error::Error::source(&error);
    while let Some(next) = cause {
        reason = format!("{reason}: {next}");
        cause = next.source();
    }
    Fault::Transient { failed: Transient { reason, retry_after: None }, maybe_done }
}

/// What a status that is no answer means to the caller.
fn refusal(
    path: &str,
    purpose: Purpose,
    status: u16,
    headers: &HeaderMap,
    body: &[u8],
    off_ms: i64,
) -> Fault {
    let code = code_of(body);
    let reason = said(status, body);
    let path = path.to_owned();
    let transient = |reason, maybe_done| {
        let retry_after = headers.get(RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?));
        Fault::Transient { failed: Transient { reason, retry_after }, maybe_done }
    };
    match (status, code.as_str()) {
        (507, _) | (_, "XMinioStorageFull" | "QuotaExceeded") => {
            let source = io::Error::new(io::ErrorKind::StorageFull, reason);
            Fault::Final(StoreError::NoSpace { path, source })
        }
        (429 | 503, _) => transient(reason, false),
        (408 | 500 | 502 | 504 | 506..=599, _) | (400, "RequestTimeout") => transient(reason, true),
        (400 | 403, _) if off_ms.abs() > CLOCK_WRONG_MS => {
            transient(format!("{reason} (our clock and the server's differ by {} s)", off_ms / 1000), false)
        }
        (403, "AccessDenied") if purpose == Purpose::Write => {
            let source = Some(io::Error::new(io::ErrorKind::PermissionDenied, reason));
            Fault::Final(StoreError::ReadOnly { path, source })
        }
        (401 | 403, _) | (400, "ExpiredToken" | "InvalidToken") => {
            Fault::Final(StoreError::Denied { path, reason })
        }
        (300..=399, _) => {
            let region = headers.get("x-amz-bucket-region").and_then(|region| region.to_str().ok());
            let reason = match region {
                Some(region) => format!("{reason}; the bucket is in region {region}"),
                None => format!("{reason}; the server points elsewhere, check region and endpoint"),
            };
            Fault::Final(other(path, reason))
        }
        _ => Fault::Final(other(path, reason)),
    }
}

fn other(path: String, reason: String) -> StoreError {
    StoreError::Io { path, action: "have the server do it", source: io::Error::other(reason) }
}

/// Seconds, or a date.
fn retry_after(text: &str) -> Option<Duration> {
    match text.trim().parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::now()).ok(),
    }
}

/// The text of an element of an error document. Its fields are flat and have no attributes.
fn element(body: &[u8], name: &str) -> String {
    let text = String::from_utf8_lossy(body);
    let inside = text
        .split_once(&format!("<{name}>"))
        .and_then(|(_, rest)| rest.split_once(&format!("</{name}>")))
        .map_or("", |(inside, _)| inside);
    inside.trim().chars().take(SAID_CHARS_MAX).collect()
}

fn code_of(body: &[u8]) -> String {
    element(body, "Code")
}

/// Only the code and the message are repeated: the rest of an error document may quote our request.
fn said(status: u16, body: &[u8]) -> String {
    match (code_of(body), element(body, "Message")) {
        (code, _) if code.is_empty() => format!("status {status}"),
        (code, message) => format!("status {status} {code}: {}", message.trim_end_matches('.')),
    }
}
