//! The run's claim on the store: an object swapped by `rev`, which is over when it was not renewed in
//! time by the clock of Dropbox. No clock of ours is compared with another's.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use huracan_core::words::UtcMs;
use huracan_store::{Claim, PutMode, Revision, RunLock, RunOwner, StoreError, StorePath};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::error::{Failure, store_error};
use super::transport::Style;
use crate::unique::unique;

use super::{Account, Claimed, Download, Network, Result};

/// Less than this could not be renewed in time over a slow line.
pub(super) const CLAIM_MIN: Duration = Duration::from_secs(5);
/// How long giving a claim back may keep its holder.
const GIVE_BACK_MAX: Duration = Duration::from_secs(10);
const SCHEMA: &str = "run_claim/1";
const WHERE: &str = "locks/run.json";
/// The server's times are whole seconds, and those of two servers may differ by one.
const MARGIN_MS: i64 = 2000;
/// After losing this often to others between reading and writing, one of them has it.
const ROUNDS_MAX: usize = 4;

/// What the object says.
#[derive(Clone, Serialize, Deserialize)]
struct Written {
    schema: String,
    /// For whoever comes second.
    holder: String,
    /// Told apart from every other claim.
    claim: String,
    /// Counts renewals, so that no two have the same bytes: those would not be written again.
    beat: u64,
    /// How long it holds from when it was written.
    ttl_s: u64,
}

impl Written {
    fn bytes(&self) -> Bytes {
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        Bytes::from(text)
    }
}

/// Renews a claim until it is dropped, then gives it back.
struct Held {
    account: Arc<Account>,
    stop: Option<mpsc::Sender<()>>,
    given_back: Mutex<mpsc::Receiver<()>>,
}

impl Claim for Held {
    fn still_held(&self) -> bool {
        self.account.permitted().is_ok()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.stop.take();
        let given_back = self.given_back.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Too slow, or a thread that has ended: either way the claim runs out by itself.
        let _ = given_back.recv_timeout(GIVE_BACK_MAX);
    }
}

/// Claims the store for a run.
///
/// # Errors
/// `Locked` when another run's claim holds.
pub(super) fn claim(
    account: &Arc<Account>,
    network: &Arc<Network>,
    ttl: Duration,
    owner: &RunOwner,
) -> Result<RunLock> {
    let path = StorePath::new(WHERE)?;
    let written = Written {
        schema: SCHEMA.into(),
        holder: owner.to_string(),
        claim: unique(),
        beat: 0,
        ttl_s: ttl.as_secs(),
    };
    let (rev, asked) = network.run(take(account, &path, &written))?;
    note(account, Some(Claimed { until: asked + ttl, lost_to: None }));
    let (stop, stopped) = mpsc::channel();
    let held = account.clone();
    let (account, network) = (account.clone(), network.clone());
    let (done, given_back) = mpsc::channel();
    let work = move || {
        renew(&account, &network, ttl, &path, written, rev, &stopped);
        // Nobody waits any more when it took too long.
        let _ = done.send(());
    };
    std::thread::Builder::new().name("run-claim".into()).spawn(work).map_err(|source| StoreError::Io {
        path: WHERE.into(),
        action: "start the thread that renews it",
        source,
    })?;
    Ok(RunLock::new(Held { account: held, stop: Some(stop), given_back: Mutex::new(given_back) }))
}

fn note(account: &Account, claim: Option<Claimed>) {
    *account.claim.lock().unwrap_or_else(PoisonError::into_inner) = claim;
}

/// Takes the claim if it is free or over; its revision, and when it was asked for.
async fn take(account: &Account, path: &StorePath, ours: &Written) -> Result<(Revision, Instant)> {
    let mut holder = String::new();
    for _ in 0..ROUNDS_MAX {
        let mode = match account.get(path).await? {
            None => PutMode::Create,
            Some(found) => {
                let rev = Revision::new(found.metadata.rev.clone());
                match holding(&found)? {
                    Some(other) => return Err(StoreError::Locked { holder: other }),
                    None => PutMode::IfRevision(rev),
                }
            }
        };
        let asked = Instant::now();
        match account.put_unguarded(path, ours.bytes(), &mode).await {
            Ok(rev) => return Ok((rev, asked)),
            Err(error @ (StoreError::AlreadyExists { .. } | StoreError::Stale { .. })) => {
                holder = format!("another run that came first: {error}");
            }
            Err(error) => return Err(error),
        }
    }
    Err(StoreError::Locked { holder })
}

/// Who holds the claim, if it is not over.
fn holding(found: &Download) -> Result<Option<String>> {
    let bad =
        |why: String| store_error(WHERE, "judge it", Failure::BadAnswer { route: "files/download", why });
    let now = found.date.ok_or_else(|| bad("no Date, expected one in every answer".into()))?;
    let since: UtcMs =
        found.metadata.server_modified.parse().map_err(|e| bad(format!("server_modified: {e}")))?;
    let (holder, ttl_s) = match serde_json::from_slice::<Written>(&found.content) {
        Ok(written) => (written.holder, written.ttl_s),
        // Somebody else's, or of a later version; it is given the time a claim of ours would have.
        Err(_) => (format!("what is in {WHERE} is no claim of a run that this program can read"), 120),
    };
    let until_ms =
        since.0.saturating_add(i64::try_from(ttl_s).unwrap_or(i64::MAX / 2000).saturating_mul(1000));
    Ok((now.0 <= until_ms.saturating_add(MARGIN_MS)).then_some(holder))
}

fn is_ours(found: &Download, ours: &Written) -> bool {
    serde_json::from_slice::<Written>(&found.content).is_ok_and(|written| written.claim == ours.claim)
}

/// Renews every third of the time it holds, until told to stop; then gives it back.
fn renew(
    account: &Account,
    network: &Network,
    ttl: Duration,
    path: &StorePath,
    mut written: Written,
    mut rev: Revision,
    stopped: &mpsc::Receiver<()>,
) {
    while stopped.recv_timeout(ttl / 3) == Err(RecvTimeoutError::Timeout) {
        written.beat += 1;
        let asked = Instant::now();
        let mode = PutMode::IfRevision(rev.clone());
        match network.run(account.put_unguarded(path, written.bytes(), &mode)) {
            Ok(now) => {
                rev = now;
                note(account, Some(Claimed { until: asked + ttl, lost_to: None }));
            }
            Err(error @ StoreError::Stale { .. }) => {
                let found = match network.run(account.get(path)) {
                    Ok(found) => found,
                    Err(error) => {
                        tracing::warn!(%error, "whose the store is now cannot be told; trying again");
                        continue;
                    }
                };
                // A renewal that was given up may have arrived after all; the next one starts from there.
                if let Some(ours) = found.as_ref().filter(|found| is_ours(found, &written)) {
                    rev = Revision::new(ours.metadata.rev.clone());
                    continue;
                }
                let holder = found.and_then(|found| holding(&found).ok().flatten());
                let holder = holder.unwrap_or_else(|| "another run, since this one's claim was over".into());
                tracing::error!(%error, %holder, "the run's claim on the store is lost; it writes nothing more");
                note(account, Some(Claimed { until: asked, lost_to: Some(holder) }));
                // Until the run ends the account must go on refusing to write for it.
                let _ = stopped.recv();
                note(account, None);
                return;
            }
            Err(error) => {
                tracing::warn!(%error, "the run's claim on the store was not renewed; trying again")
            }
        }
    }
    let argument = json!({ "path": account.full(path), "parent_rev": rev.as_str() });
    let given_back = network.run(account.transport.call("files/delete_v2", &argument, Style::Rpc));
    if let Err(error) = given_back {
        tracing::warn!(%error, "the run's claim on the store was not given back; it runs out by itself");
    }
    note(account, None);
}
