//! A stand-in for Dropbox: the endpoints that the store uses, in memory, over plain HTTP on this
//! machine, with faults to order.
//!
//! It follows the published interface: tags of errors, `rev`s, paths whose case is kept but not told
//! apart, cursors, upload sessions. Dropbox's own Python SDK is driven against it
//! (`peers/dropbox_sdk.py`), so that what the store is tested with is not only what its author
//! believed. Arguments that Dropbox would not know are refused, as Dropbox does.

mod account;
mod http;
mod routes;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use serde::{Deserialize, Serialize};

use crate::dropbox::{Credentials, Endpoints};
use account::Contents;

/// What can be made to go wrong with one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// 429 with `Retry-After`, because of too many requests.
    TooManyRequests {
        /// The pause asked for.
        retry_after_s: u64,
    },
    /// 429 with `Retry-After`, because another write is under way.
    TooManyWrites {
        /// The pause asked for.
        retry_after_s: u64,
    },
    /// Another status, with a text for a body.
    Status(u16),
    /// The connection is cut when half of the request's body has been read. Nothing was done.
    CutRequest,
    /// The request is carried out and the connection cut instead of an answer.
    LoseAnswer,
    /// A download arrives with one byte changed.
    DamageDownload,
    /// The access token ends with this request, which is refused.
    EndToken,
}

/// How the stand-in misbehaves.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Switches {
    /// Every n-th request meets a fault.
    pub every: Vec<(u64, Fault)>,
    /// The next request to a route (`*`: to any) meets a fault, in this order.
    pub next: VecDeque<(String, Fault)>,
    /// Every n-th entry of a batch is told `too_many_write_operations`.
    pub crowded_entry_every: Option<u64>,
    /// An access token ends after this many requests.
    pub token_requests: Option<u64>,
    /// How long access tokens live.
    pub token_lives_s: Option<u64>,
    /// The account holds no more bytes than this.
    pub quota_bytes: Option<u64>,
    /// Added to the machine's clock for `Date` and `server_modified`.
    pub clock_shift_s: i64,
    /// Every cursor handed out so far is answered with `reset`, once.
    pub reset_cursors: bool,
    /// Folders in listings are shown in lower case, as Dropbox sometimes does.
    pub forget_folder_case: bool,
}

/// One request as it arrived and was answered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Request {
    /// The route below `/2/`, or `oauth2/token`.
    pub route: String,
    /// The status answered; 0 where the connection was cut instead.
    pub status: u16,
    /// Length of the request's body.
    pub body_bytes: usize,
}

/// All there is to it, behind one lock: requests are carried out one at a time.
#[derive(Default)]
struct State {
    switches: Switches,
    requests: Vec<Request>,
    counted: u64,
    contents: Contents,
    /// Access tokens by the number of requests they were used for; `None` when ended.
    tokens: BTreeMap<String, Option<u64>>,
    entries_counted: u64,
    stopping: bool,
}

/// A Dropbox of our own on a port of this machine. Stops when dropped.
pub struct DropboxStandIn {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    listening: Option<JoinHandle<()>>,
}

const REFRESH_TOKEN: &str = "stand-in-refresh-token";
const APP_KEY: &str = "stand-in-app-key";
const APP_SECRET: &str = "stand-in-app-secret";

impl DropboxStandIn {
    /// Starts on a free port.
    ///
    /// # Errors
    /// When there is none.
    pub fn start() -> io::Result<DropboxStandIn> {
        DropboxStandIn::start_at(0)
    }

    /// Starts on a port of this machine; 0 is a free one.
    ///
    /// # Errors
    /// When the port is taken.
    pub fn start_at(port: u16) -> io::Result<DropboxStandIn> {
        let listener = TcpListener::bind(("127.0.0.1", port))?;
        let address = listener.local_addr()?;
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        let listening = std::thread::Builder::new().name("dropbox-stand-in".into()).spawn(move || {
            for connection in listener.incoming() {
                if lock(&shared).stopping {
                    return;
                }
                let Ok(connection) = connection else { continue };
                let shared = shared.clone();
                std::thread::spawn(move || {
                    http::serve(&connection, |request| routes::answer(&shared, request))
                });
            }
        })?;
        Ok(DropboxStandIn { address, state, listening: Some(listening) })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where a store finds it.
    pub fn endpoints(&self) -> Endpoints {
        let url = self.url();
        Endpoints { token: format!("{url}/oauth2/token"), api: url.clone(), content: url }
    }

    /// What it lets in.
    pub fn credentials(&self) -> Credentials {
        Credentials::new(REFRESH_TOKEN, APP_KEY, Some(APP_SECRET.into()))
    }

    /// The keys it accepts, as a file of keys says them.
    pub fn keys_file(&self) -> String {
        format!(
            "{{\"refresh_token\": {REFRESH_TOKEN:?}, \"app_key\": {APP_KEY:?}, \"app_secret\": {APP_SECRET:?}}}\n"
        )
    }

    /// Changes how it misbehaves.
    pub fn switch(&self, change: impl FnOnce(&mut Switches)) {
        change(&mut lock(&self.state).switches);
    }

    /// The requests so far, in the order of their answers.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.state).requests.clone()
    }

    /// Forgets the requests so far.
    pub fn forget_requests(&self) {
        lock(&self.state).requests.clear();
    }

    /// How many requests went to a route since they were last forgotten.
    pub fn count(&self, route: &str) -> usize {
        lock(&self.state).requests.iter().filter(|request| request.route == route).count()
    }

    /// Every file by the path it is shown under.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        lock(&self.state).contents.files()
    }
}

impl Drop for DropboxStandIn {
    fn drop(&mut self) {
        lock(&self.state).stopping = true;
        // Wakes the listener, which then sees that it is to stop.
        let woken = TcpStream::connect(self.address).is_ok();
        if let Some(listening) = self.listening.take().filter(|_| woken) {
            let _ = listening.join();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
