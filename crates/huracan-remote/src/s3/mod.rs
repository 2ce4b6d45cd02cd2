//! A store in a bucket of S3 or of a server that speaks its language.
//!
//! Writes are single conditional requests (`If-None-Match: *`, `If-Match`), so the server decides who
//! wins; a revision is an ETag. Requests are signed by `rusty-s3`, sent by our own `reqwest` client and
//! repeated by our own rules, because a lease needs the server's clock, a busy server wants to be
//! waited for, and a write whose answer was lost must be looked up before it is called a conflict.

mod client;
mod credentials;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use huracan_store::{
    Entry, Object, PutMode, Result, Revision, RunLock, RunOwner, Store, StoreError, StorePath, Usage,
};
use tokio::sync::Semaphore;

use crate::lease::{self, Dated, LeaseTerms, RUN_LEASE, ServerClock};
use crate::retry::RetryPolicy;
use crate::runtime::Runtime;
use client::Client;
pub use credentials::Credentials;

/// Where the bucket is and how to talk to it.
#[derive(Clone, Debug)]
pub struct S3Config {
    /// The bucket's name.
    pub bucket: String,
    /// The folder inside the bucket; empty for the whole bucket.
    pub prefix: String,
    /// The region that requests are signed for; servers other than AWS mostly accept `us-east-1`.
    pub region: String,
    /// The server's base URL; `None` is AWS in that region. Plain `http` is for loopback only.
    pub endpoint: Option<String>,
    /// The bucket in the path (`https://host/bucket/key`) instead of the host name.
    pub path_style: bool,
    /// Whose requests these are.
    pub credentials: Credentials,
    /// When to ask again.
    pub retry: RetryPolicy,
    /// How long one request may take; large bodies get more, by 64 KiB a second.
    pub request_timeout: Duration,
    /// How many objects [`Store::put_many`] sends at once.
    pub parallel_max: usize,
    /// How long a run's lease lasts.
    pub lease: LeaseTerms,
}

impl S3Config {
    /// A bucket at AWS, with the defaults of everything else.
    pub fn new(
        bucket: impl Into<String>,
        prefix: impl Into<String>,
        region: impl Into<String>,
        credentials: Credentials,
    ) -> S3Config {
        S3Config {
            bucket: bucket.into(),
            prefix: prefix.into(),
            region: region.into(),
            endpoint: None,
            path_style: false,
            credentials,
            retry: RetryPolicy::default(),
            request_timeout: Duration::from_secs(60),
            parallel_max: 16,
            lease: LeaseTerms::default(),
        }
    }
}

/// Why a bucket cannot be talked to at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum S3ConfigError {
    /// A text that is no bucket's name.
    #[error(
        "{found:?} is not a bucket's name; expected 3 to 63 lower-case letters, digits, dots and hyphens"
    )]
    Bucket {
        /// The text.
        found: String,
    },
    /// A text that is no path inside a bucket.
    #[error("the folder {found:?} inside the bucket is not usable: {source}")]
    Prefix {
        /// The text.
        found: String,
        /// Which rule it breaks.
        source: StoreError,
    },
    /// A text that is no usable base URL.
    #[error("the S3 endpoint {found:?} is not usable: {reason}")]
    Endpoint {
        /// The text.
        found: String,
        /// What was expected.
        reason: String,
    },
    /// Credentials that are missing or not safe where they are.
    #[error("S3 credentials from {place} are not usable: {reason}")]
    Credentials {
        /// The file or variable.
        place: String,
        /// What was found and what was expected.
        reason: String,
    },
    /// The HTTP client could not be made.
    #[error("cannot make the HTTP client: {0}")]
    Http(#[source] reqwest::Error),
    /// The system gives no threads.
    #[error("cannot start the threads of the store: {0}")]
    Threads(#[source] io::Error),
}

impl S3ConfigError {
    /// Stable code for files, logs and exit statuses; never reworded.
    pub fn code(&self) -> &'static str {
        match self {
            S3ConfigError::Bucket { .. } => "s3_bucket",
            S3ConfigError::Prefix { .. } => "s3_prefix",
            S3ConfigError::Endpoint { .. } => "s3_endpoint",
            S3ConfigError::Credentials { .. } => "s3_credentials",
            S3ConfigError::Http(_) => "s3_http",
            S3ConfigError::Threads(_) => "s3_threads",
        }
    }
}

/// A store in a bucket. Clones share connections, threads and counters.
#[derive(Clone)]
pub struct S3Store {
    client: Arc<Client>,
    runtime: Arc<Runtime>,
    parallel_max: usize,
    lease: LeaseTerms,
}

impl S3Store {
    /// Prepares to talk to the bucket; nothing is sent yet.
    ///
    /// # Errors
    /// When the configuration cannot be meant, or the system gives no threads.
    pub fn open(config: S3Config) -> std::result::Result<S3Store, S3ConfigError> {
        let (parallel_max, lease) = (config.parallel_max.max(1), config.lease);
        let runtime = Runtime::start().map_err(S3ConfigError::Threads)?;
        Ok(S3Store {
            client: Arc::new(Client::new(config)?),
            runtime: Arc::new(runtime),
            parallel_max,
            lease,
        })
    }
}

/// Names the place, never the credentials.
impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Store").field("place", &self.client.place()).finish_non_exhaustive()
    }
}

impl Store for S3Store {
    fn get(&self, path: &StorePath) -> Result<Option<Object>> {
        Ok(self.get_with_times(path)?.map(|found| found.object))
    }

    fn put(&self, path: &StorePath, bytes: &[u8], mode: PutMode) -> Result<Revision> {
        let (client, path, bytes) = (Arc::clone(&self.client), path.clone(), bytes.to_vec());
        self.runtime.run(async move { client.put(&path, bytes.into(), &mode).await })
    }

    fn put_many(&self, items: &[(StorePath, Vec<u8>, PutMode)]) -> Vec<Result<Revision>> {
        let (client, items, parallel_max) = (Arc::clone(&self.client), items.to_vec(), self.parallel_max);
        self.runtime.run(async move {
            let turns = Arc::new(Semaphore::new(parallel_max));
            let tasks: Vec<_> = items
                .into_iter()
                .map(|(path, bytes, mode)| {
                    let (client, turns) = (Arc::clone(&client), Arc::clone(&turns));
                    tokio::spawn(async move {
                        // The semaphore is never closed; without a turn it would only be less polite.
                        let _turn = turns.acquire().await;
                        client.put(&path, bytes.into(), &mode).await
                    })
                })
                .collect();
            let mut answers = Vec::with_capacity(tasks.len());
            for task in tasks {
                answers
                    .push(task.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())));
            }
            answers
        })
    }

    fn list(&self, folder: Option<&StorePath>) -> Result<Vec<Entry>> {
        let (client, folder) = (Arc::clone(&self.client), folder.cloned());
        self.runtime.run(async move { client.list(folder.as_ref()).await })
    }

    fn delete(&self, path: &StorePath) -> Result<()> {
        let (client, path) = (Arc::clone(&self.client), path.clone());
        self.runtime.run(async move { client.delete(&path).await })
    }

    /// The claim is the lease `locks/run.json`.
    fn lock_run(&self, owner: &RunOwner) -> Result<RunLock> {
        lease::take(Arc::new(self.clone()), &StorePath::new(RUN_LEASE)?, owner, self.lease)
    }

    fn usage(&self) -> Option<Usage> {
        Some(self.client.usage())
    }
}

impl S3Store {
    fn get_with_times(&self, path: &StorePath) -> Result<Option<client::Found>> {
        let (client, path) = (Arc::clone(&self.client), path.clone());
        self.runtime.run(async move { client.get(&path).await })
    }
}

impl ServerClock for S3Store {
    fn get_dated(&self, path: &StorePath) -> Result<Option<Dated>> {
        let Some(found) = self.get_with_times(path)? else { return Ok(None) };
        match (found.modified, found.now) {
            (Some(modified), Some(now)) => Ok(Some(Dated { object: found.object, modified, now })),
            (modified, _) => Err(StoreError::Corrupt {
                path: path.to_string(),
                reason: format!(
                    "the server gave no {} with it, expected one to judge its age by",
                    if modified.is_none() { "Last-Modified" } else { "Date" }
                ),
            }),
        }
    }
}
