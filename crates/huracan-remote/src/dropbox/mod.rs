//! A store in a Dropbox folder, over Dropbox's HTTP interface.
//!
//! A [`Revision`] is Dropbox's `rev`, and compare-and-swap is an upload in `update` mode with
//! `strict_conflict`. Nothing is ever written without a condition while another state is possible: an
//! overwrite of a path nobody has looked at is tried as a creation, then as a swap against what was
//! found. That is what keeps two paths that differ only in case apart: Dropbox takes them for one,
//! and here the second one is an error instead of an overwrite.
//!
//! A write whose answer was lost looks at what is there: bytes like its own are taken for its own,
//! unless that state was known before or is older by Dropbox's clock. So of two writers that race to
//! write the same bytes within two seconds, one in doubt may take the other's write for its own;
//! whoever must know writes bytes that nobody else does, as a run's lease.
//!
//! Requests are counted, because a service that limits them is asked as little as possible: bytes
//! that are known to be there are not sent ([`DropboxConfig::trust`]), and [`Store::put_many`]
//! sends each file once and commits a thousand of them with one more request.

mod credentials;
mod error;
mod hash;
mod index;
mod list;
mod put;
#[cfg(test)]
mod tests;
mod transport;
mod wire;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use huracan_core::words::UtcMs;
use huracan_store::{
    Entry, Object, PutMode, Revision, RunLock, RunOwner, Store, StoreError, StorePath, Usage,
};
use serde_json::json;

use crate::lease::{self, Dated, LeaseTerms, RUN_LEASE, ServerClock};
use crate::retry::RetryPolicy;
use crate::runtime::Runtime;
use error::{Failure, store_error};
use index::{Index, Known};
use transport::{Style, Transport};
use wire::{FileMetadata, Metadata};

pub use credentials::{Credentials, CredentialsError};
pub use hash::content_hash;
pub use list::{Change, Changes, Listed};
pub use transport::Endpoints;

type Result<T> = huracan_store::Result<T>;

/// The most one request may carry: Dropbox takes 150 MiB.
const REQUEST_BYTES_MAX: usize = 144 << 20;
/// Dropbox's own block; sessions are continued at multiples of it.
const BLOCK_BYTES: usize = 4 << 20;

/// How many writers in a row may come before a removal until it is given up.
const WRITERS_MAX: usize = 4;

const LOOPBACK: &str = "http://127.0.0.1:";

/// What a store in Dropbox needs to know.
#[derive(Clone, Debug)]
pub struct DropboxConfig {
    /// Who we are.
    pub credentials: Credentials,
    /// The folder that is the store, `/Huracan`, or nothing for the whole of an app's folder.
    pub root: String,
    /// Where Dropbox is.
    pub endpoints: Endpoints,
    /// When to ask again.
    pub retry: RetryPolicy,
    /// How many files [`Store::put_many`] sends at once.
    pub parallel_max: usize,
    /// Larger objects are sent in pieces of this size: a multiple of 4 MiB, at most 144 MiB.
    pub request_bytes_max: usize,
    /// How long what a listing or our own write has shown is taken to be there still, so that an
    /// overwrite with the same bytes asks nothing of Dropbox. Compare-and-swap never relies on it.
    pub trust: Duration,
    /// How long a run's lease lasts.
    pub lease: LeaseTerms,
}

impl DropboxConfig {
    /// The folder `/Huracan` of the account of `credentials`, with everything else as it suits most.
    pub fn new(credentials: Credentials) -> DropboxConfig {
        DropboxConfig {
            credentials,
            root: "/Huracan".into(),
            endpoints: Endpoints::default(),
            retry: RetryPolicy::default(),
            parallel_max: 8,
            request_bytes_max: REQUEST_BYTES_MAX,
            trust: Duration::from_secs(60),
            lease: LeaseTerms::default(),
        }
    }
}

/// Why a store could not be set up. Nothing was sent yet.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DropboxConfigError {
    /// The folder is not one.
    #[error(
        "{found:?} is not a Dropbox folder: expected nothing, or a path such as /Huracan that starts \
             with a slash, does not end with one and has no empty part"
    )]
    Root {
        /// What was given.
        found: String,
    },
    /// An address that secrets must not be sent to.
    #[error(
        "{found:?} is not where Dropbox may be: expected an address with https, or http://127.0.0.1 for tests"
    )]
    Endpoint {
        /// What was given.
        found: String,
    },
    /// Pieces that Dropbox does not put together.
    #[error("request_bytes_max is {found}, expected a multiple of 4194304 up to 150994944")]
    RequestBytes {
        /// What was given.
        found: usize,
    },
    /// The program that uses this has not chosen its TLS provider.
    #[error("no TLS provider is installed; expected rustls's ring provider to be installed at start")]
    NoTlsProvider,
    /// The HTTP client cannot be made.
    #[error("the HTTP client cannot be made: {0}")]
    Client(#[source] reqwest::Error),
    /// The threads for the network cannot be started.
    #[error("the network threads cannot be started: {0}")]
    Threads(#[source] std::io::Error),
}

/// The account and what is known of it; shared by all threads.
struct Account {
    transport: Transport,
    root: String,
    index: Index,
    trust: Duration,
    parallel_max: usize,
    request_bytes_max: usize,
}

/// An object as downloaded.
struct Download {
    metadata: FileMetadata,
    content: Vec<u8>,
    /// The server's clock when it answered.
    date: Option<UtcMs>,
}

/// A store in a folder of a Dropbox account. Clones share connections, threads and knowledge.
#[derive(Clone)]
pub struct DropboxStore {
    account: Arc<Account>,
    runtime: Arc<Runtime>,
    lease: LeaseTerms,
}

impl DropboxStore {
    /// Prepares to talk to Dropbox; nothing is sent yet.
    ///
    /// # Errors
    /// When the configuration cannot be meant, or client or threads cannot be made.
    pub fn open(config: DropboxConfig) -> std::result::Result<DropboxStore, DropboxConfigError> {
        let root = config.root;
        let parts = root.strip_prefix('/').map(|rest| rest.split('/').all(|part| !part.trim().is_empty()));
        if !root.is_empty() && parts != Some(true) {
            return Err(DropboxConfigError::Root { found: root });
        }
        let Endpoints { api, content, token } = &config.endpoints;
        if let Some(found) = [api, content, token].into_iter().find(|url| !is_safe(url)) {
            return Err(DropboxConfigError::Endpoint { found: found.clone() });
        }
        let bytes = config.request_bytes_max;
        if bytes == 0 || bytes > REQUEST_BYTES_MAX || !bytes.is_multiple_of(BLOCK_BYTES) {
            return Err(DropboxConfigError::RequestBytes { found: bytes });
        }
        // The client panics instead of returning this.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(DropboxConfigError::NoTlsProvider);
        }
        let mut client = reqwest::Client::builder()
            .user_agent(concat!("huracan/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(10))
            .redirect(reqwest::redirect::Policy::none());
        if config.endpoints.api.starts_with(LOOPBACK) {
            // No proxy reaches this machine's loopback.
            client = client.no_proxy();
        }
        let client = client.build().map_err(DropboxConfigError::Client)?;
        let runtime = Runtime::start().map_err(DropboxConfigError::Threads)?;
        let account = Account {
            transport: Transport::new(client, config.endpoints, config.credentials, config.retry),
            root,
            index: Index::default(),
            trust: config.trust,
            parallel_max: config.parallel_max.max(1),
            request_bytes_max: bytes,
        };
        Ok(DropboxStore { account: Arc::new(account), runtime: Arc::new(runtime), lease: config.lease })
    }

    /// Carries out what must await.
    fn run<T, Work>(&self, work: impl FnOnce(Arc<Account>) -> Work) -> T
    where
        T: Send + 'static,
        Work: Future<Output = T> + Send + 'static,
    {
        self.runtime.run(work(self.account.clone()))
    }

    /// Every object with its content hash, `rev` and size, so that what is the same need not be read.
    ///
    /// # Errors
    /// When Dropbox cannot tell.
    pub fn list_hashes(&self) -> Result<BTreeMap<StorePath, Listed>> {
        self.run(|account| async move { account.list(None).await })
    }

    /// What changed since the listing that `cursor` was handed out by; everything, without one.
    ///
    /// # Errors
    /// When Dropbox cannot tell.
    pub fn changes(&self, cursor: Option<&str>) -> Result<Changes> {
        let cursor = cursor.map(str::to_owned);
        self.run(|account| async move { account.changes(cursor.as_deref()).await })
    }
}

impl fmt::Debug for DropboxStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DropboxStore").field("root", &self.account.root).finish_non_exhaustive()
    }
}

impl Store for DropboxStore {
    fn get(&self, path: &StorePath) -> Result<Option<Object>> {
        let path = path.clone();
        let found = self.run(|account| async move { account.get(&path).await })?;
        Ok(found.map(Download::object))
    }

    fn put(&self, path: &StorePath, bytes: &[u8], mode: PutMode) -> Result<Revision> {
        let (path, content) = (path.clone(), Bytes::copy_from_slice(bytes));
        self.run(|account| async move { account.put(&path, content, &mode).await })
    }

    /// One request a file and one more for every thousand. One path twice is written in that order.
    fn put_many(&self, items: &[(StorePath, Vec<u8>, PutMode)]) -> Vec<Result<Revision>> {
        let items = items.to_vec();
        self.run(|account| async move { account.put_many(&items).await })
    }

    fn list(&self, folder: Option<&StorePath>) -> Result<Vec<Entry>> {
        let folder = folder.cloned();
        let listed = self.run(|account| async move { account.list(folder.as_ref()).await })?;
        let entry = |(path, found): (StorePath, Listed)| Entry {
            path,
            size_bytes: found.size_bytes,
            revision: Some(Revision::new(found.rev)),
        };
        Ok(listed.into_iter().map(entry).collect())
    }

    fn delete(&self, path: &StorePath) -> Result<()> {
        let path = path.clone();
        self.run(|account| async move { account.delete(&path).await })
    }

    /// The claim is the lease `locks/run.json`.
    fn lock_run(&self, owner: &RunOwner) -> Result<RunLock> {
        lease::take(Arc::new(self.clone()), &StorePath::new(RUN_LEASE)?, owner, self.lease)
    }

    fn usage(&self) -> Option<Usage> {
        Some(self.account.transport.usage())
    }
}

impl ServerClock for DropboxStore {
    fn get_dated(&self, path: &StorePath) -> Result<Option<Dated>> {
        let wanted = path.clone();
        let Some(found) = self.run(|account| async move { account.get(&wanted).await })? else {
            return Ok(None);
        };
        let unusable = |reason: String| StoreError::Corrupt { path: path.to_string(), reason };
        let now = found.date.ok_or_else(|| unusable("Dropbox gave no Date with it, expected one".into()))?;
        let modified = found.metadata.server_modified.parse();
        let modified = modified.map_err(|error| unusable(format!("its server_modified: {error}")))?;
        Ok(Some(Dated { object: found.object(), modified, now }))
    }
}

impl Download {
    fn object(self) -> Object {
        Object { bytes: self.content, revision: Revision::new(self.metadata.rev) }
    }
}

/// Whether secrets may be sent there.
fn is_safe(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with(LOOPBACK)
}

impl Account {
    /// The path as Dropbox has it.
    fn full(&self, path: &StorePath) -> String {
        format!("{}/{path}", self.root)
    }

    /// How many parts of a full path are the root's.
    fn root_depth(&self) -> usize {
        self.root.matches('/').count()
    }

    async fn get(&self, path: &StorePath) -> Result<Option<Download>> {
        let failed = |failure| store_error(path, "read it", failure);
        let route = "files/download";
        let asked = Instant::now();
        let argument = json!({ "path": self.full(path) });
        let reply = self.transport.call(route, &argument, Style::Download).await.map_err(failed)?;
        match reply.outcome {
            Ok(result) => {
                let metadata: FileMetadata = transport::parse(route, result).map_err(failed)?;
                if let Some(found) = self.other_case(path, &metadata).await.map_err(failed)? {
                    return Err(StoreError::Corrupt {
                        path: path.to_string(),
                        reason: differs_in_case(&found),
                    });
                }
                if let Some(known) = known(path, &metadata) {
                    self.index.saw(known, asked);
                }
                Ok(Some(Download { metadata, content: reply.content, date: reply.date }))
            }
            Err(tags) if tags == "path/not_found" || tags == "path/not_file" => Ok(None),
            Err(tags) => Err(failed(Failure::refused(route, &tags))),
        }
    }

    /// What is at a path, a folder perhaps.
    async fn metadata(&self, full: &str) -> std::result::Result<Option<Metadata>, Failure> {
        let route = "files/get_metadata";
        let reply = self.transport.call(route, &json!({ "path": full }), Style::Rpc).await?;
        match &reply.outcome {
            Err(tags) if tags == "path/not_found" => Ok(None),
            _ => reply.read(route).map(Some),
        }
    }

    /// The path that is really there, when it differs in case from the one asked for.
    ///
    /// Of `path_display` Dropbox vouches for the last part only; a folder that seems to differ is asked
    /// for its own name.
    async fn other_case(
        &self,
        path: &StorePath,
        found: &FileMetadata,
    ) -> std::result::Result<Option<String>, Failure> {
        let Some(display) = &found.path_display else { return Ok(None) };
        let below_root: Vec<&str> =
            display.trim_start_matches('/').split('/').skip(self.root_depth()).collect();
        let wanted: Vec<&str> = path.segments().collect();
        let mut folder = self.root.clone();
        for (i, part) in wanted.iter().enumerate() {
            folder = format!("{folder}/{part}");
            if below_root.get(i) == Some(part) {
                continue;
            }
            let last = i + 1 == wanted.len();
            let named = match if last { None } else { self.metadata(&folder).await? } {
                Some(Metadata::Folder(named)) => named.name == *part,
                _ => false,
            };
            if !named {
                return Ok(Some(below_root.join("/")));
            }
        }
        Ok(None)
    }

    async fn delete(&self, path: &StorePath) -> Result<()> {
        let failed = |failure| store_error(path, "delete it", failure);
        let writing = self.index.begin(path);
        let mut writers = WRITERS_MAX;
        let mut rev = writing.before.as_ref().map(|known| known.rev.clone());
        let done = async {
            // Dropbox would remove a folder with all that is in it, and the object of another case: only
            // a state that was seen to be this object is removed.
            loop {
                let Some(seen) = rev.take() else {
                    match self.metadata(&self.full(path)).await? {
                        Some(Metadata::File(found)) if self.other_case(path, &found).await?.is_none() => {
                            rev = Some(found.rev);
                            continue;
                        }
                        _ => return Ok(()),
                    }
                };
                let route = "files/delete_v2";
                let argument = json!({ "path": self.full(path), "parent_rev": seen });
                match self.transport.call(route, &argument, Style::Rpc).await?.outcome {
                    Ok(_) => return Ok(()),
                    Err(tags) if tags == "path_lookup/not_found" => return Ok(()),
                    // Somebody wrote it meanwhile.
                    Err(tags) if tags.contains("conflict") && writers > 0 => writers -= 1,
                    Err(tags) => return Err(Failure::refused(route, &tags)),
                }
            }
        };
        let done = done.await.map_err(failed);
        self.index.end(path, &writing, None);
        done
    }
}

/// What metadata tell for the index.
fn known(path: &StorePath, found: &FileMetadata) -> Option<Known> {
    let content_hash = found.content_hash.clone()?;
    Some(Known { path: path.clone(), rev: found.rev.clone(), content_hash })
}

fn differs_in_case(found: &str) -> String {
    format!("Dropbox does not tell upper from lower case and has {found} there; rename one of the two")
}
