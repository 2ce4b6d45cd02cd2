//! The store as a place: opening a remote, carrying to it and from it, checking and tidying.

use super::{Session, now};
use crate::cli::store::{
    CheckRow, CheckView, GcRequest, GcRow, GcView, LsRow, RemoteCost, SyncRequest, SyncView,
};
use crate::config::{StorePlan, StoreUrl};
use crate::failure::{Exit, Failure};
use crate::progress::Observer;
use huracan_remote::dropbox::{self, DropboxConfig, DropboxStore, Endpoints};
use huracan_remote::outbox::check::{Checked, check_store, compare};
use huracan_remote::outbox::gc::{self, Rules};
use huracan_remote::outbox::{Clash, Mirror, OnClash, OutboxError, Pulled, Pushed, Step};
use huracan_remote::s3::{self, S3Config, S3ConfigError, S3Store};
use huracan_remote::{RetryPolicy, check_conditions};
use huracan_store::{LocalStore, RunOwner, Store, StoreError, StorePath, Usage};
use huracan_train::pipeline::Rates;
use serde_json::json;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Days below which nothing is ever removed: somebody may be about to point at it.
const GRACE_DAYS: f64 = 3.0;

/// Opens the place results are carried to.
///
/// # Errors
/// [`Exit::Network`] when it cannot be reached now, [`Exit::Usage`] when this program cannot reach such
/// a place at all, or it is the working folder itself.
pub fn open_remote(plan: &StorePlan) -> Result<Box<dyn Store>, Failure> {
    match &plan.url {
        StoreUrl::Folder(folder) => {
            if overlap(folder, &plan.local) {
                let (store, local) = (folder.display(), plan.local.display());
                let message = format!(
                    "the store {store} and its working folder {local} lie in one another, expected two"
                );
                return Err(Failure::new(Exit::Usage, "store_place", message)
                    .help("leave --store-local out, or name another folder"));
            }
            // Never made here: where a drive is not mounted its folder would be made on another one.
            let store = LocalStore::open(folder).map_err(|error| {
                let message = format!("{} cannot be reached: {error}", folder.display());
                Failure::new(Exit::Network, "store_away", message)
                    .help("is it mounted? the first time, make the folder")
            })?;
            Ok(Box::new(store))
        }
        StoreUrl::S3 { bucket, prefix } => {
            let unusable = |error: S3ConfigError| Failure::new(Exit::Usage, error.code(), error.to_string());
            let credentials = match std::env::var_os(S3_KEYS_FILE) {
                Some(file) => s3::Credentials::from_file(Path::new(&file), "default"),
                None => s3::Credentials::from_environment(|name| std::env::var(name).ok()),
            };
            let config = S3Config {
                endpoint: plan.s3.endpoint.clone(),
                path_style: plan.s3.path_style,
                retry: retry(plan),
                ..S3Config::new(
                    bucket.as_str(),
                    prefix.as_str(),
                    plan.s3.region.as_str(),
                    credentials.map_err(unusable)?,
                )
            };
            Ok(Box::new(S3Store::open(config).map_err(unusable)?))
        }
        StoreUrl::Dropbox { folder } => {
            let credentials = match std::env::var_os(DROPBOX_KEYS_FILE) {
                Some(file) => dropbox::Credentials::from_file(Path::new(&file)),
                None => dropbox::Credentials::from_env(),
            };
            let credentials = credentials
                .map_err(|error| Failure::new(Exit::Usage, "store_credentials", error.to_string()))?;
            let config = DropboxConfig {
                root: folder.clone(),
                endpoints: Endpoints {
                    api: plan.dropbox.api_url.clone(),
                    content: plan.dropbox.content_url.clone(),
                    token: plan.dropbox.token_url.clone(),
                },
                retry: retry(plan),
                ..DropboxConfig::new(credentials)
            };
            let opened = DropboxStore::open(config);
            Ok(Box::new(opened.map_err(|error| Failure::new(Exit::Usage, "store_place", error.to_string()))?))
        }
    }
}

/// Files of keys, for whoever does not want them in the environment.
const S3_KEYS_FILE: &str = "AWS_SHARED_CREDENTIALS_FILE";
const DROPBOX_KEYS_FILE: &str = "HURACAN_DROPBOX_KEYS_FILE";

fn retry(plan: &StorePlan) -> RetryPolicy {
    RetryPolicy {
        attempts_max: plan.attempts_max,
        total_max: Duration::from_secs_f64(plan.retry_s_max),
        ..RetryPolicy::default()
    }
}

/// Opens the place results are carried to, and makes sure that it keeps the conditions of writes: an S3
/// server that ignores them would let two runs believe that both moved a pointer.
///
/// # Errors
/// As [`open_remote`]; [`Exit::Store`] for such a server.
pub fn open_for_writing(plan: &StorePlan) -> Result<Box<dyn Store>, Failure> {
    let store = open_remote(plan)?;
    if matches!(plan.url, StoreUrl::S3 { .. }) {
        check_conditions(store.as_ref()).map_err(|error| failure(OutboxError::Store(error)))?;
    }
    Ok(store)
}

/// The working folder, made where it is missing.
fn open_local(plan: &StorePlan) -> Result<LocalStore, Failure> {
    Ok(LocalStore::create(&plan.local)?)
}

/// Whether one folder is the other, or inside it.
fn overlap(a: &Path, b: &Path) -> bool {
    let real = |path: &Path| std::fs::canonicalize(path).or_else(|_| std::path::absolute(path)).ok();
    let (a, b) = (real(a), real(b));
    a.zip(b).is_some_and(|(a, b)| a.starts_with(&b) || b.starts_with(&a))
}

/// The name by which a working folder knows its remote: a folder by where it is from everywhere.
fn identity(plan: &StorePlan) -> String {
    match &plan.url {
        StoreUrl::Folder(folder) => {
            std::path::absolute(folder).unwrap_or_else(|_| folder.clone()).display().to_string()
        }
        url => url.to_string(),
    }
}

fn owner(purpose: &str) -> RunOwner {
    RunOwner {
        purpose: purpose.to_owned(),
        pid: std::process::id(),
        host: super::train::host(),
        since: now(),
    }
}

/// What is wrong with carrying, as one failure.
fn failure(error: OutboxError) -> Failure {
    let is_away = error.is_away();
    let (code, message) = (error.code(), error.to_string());
    match error {
        OutboxError::Conflict { clashes } => {
            let names: Vec<&str> = clashes.iter().take(5).map(|clash| clash.path.as_str()).collect();
            let more = clashes.len().saturating_sub(names.len());
            let and_more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let message = format!(
                "{}{and_more} changed here and there, expected nobody else to have published since the last pull",
                names.join(", ")
            );
            let mut failure = Failure::new(Exit::Store, code, message).help(
                "huracan store sync --theirs gives up what was decided here and takes what is published; \
                 huracan train then decides again",
            );
            failure.problems = clashes.iter().map(clash_json).collect();
            failure
        }
        OutboxError::Changed { clash } => {
            let mut failure = Failure::new(Exit::VerificationFailed, code, message)
                .help("huracan store check says what is sound on each side");
            failure.problems = vec![clash_json(&clash)];
            failure
        }
        OutboxError::OtherRemote { .. } => {
            Failure::new(Exit::Usage, code, message).help("name another working folder with --store-local")
        }
        OutboxError::Interrupted => Failure::new(Exit::Interrupted, code, message),
        OutboxError::Store(error) => {
            let is_locked = matches!(error, StoreError::Locked { .. });
            let mut failure = Failure::from(error);
            if is_away && !is_locked {
                failure.exit = Exit::Network;
            }
            failure
        }
        _ => Failure::new(Exit::Store, code, message),
    }
}

fn clash_json(clash: &Clash) -> serde_json::Value {
    json!({"path": clash.path, "here": clash.ours, "there": clash.theirs})
}

/// The outbox's steps as stages: one a word, from its first step to its last.
struct Drawn<'a> {
    observer: &'a dyn Observer,
    running: Mutex<BTreeMap<&'static str, Instant>>,
}

impl<'a> Drawn<'a> {
    fn new(observer: &'a dyn Observer) -> Drawn<'a> {
        Drawn { observer, running: Mutex::default() }
    }

    fn on(&self, step: Step<'_>) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if !running.contains_key(step.stage) {
            self.observer.stage_started(step.stage, step.total as u64);
        }
        let began = *running.entry(step.stage).or_insert_with(Instant::now);
        self.observer.stage_advanced(step.stage, step.done as u64, step.detail);
        if step.done >= step.total {
            running.remove(step.stage);
            self.observer.stage_finished(step.stage, began.elapsed().as_secs_f64());
        }
    }

    fn counted(&self, stage: &'static str) -> impl Fn(usize, usize) + '_ {
        move |done, total| self.on(Step { stage, done, total, detail: "" })
    }
}

/// Opens both sides and lets `act` carry.
fn with_mirror<T>(
    plan: &StorePlan,
    session: &Session,
    cost: &Cost,
    act: impl FnOnce(&mut Mirror<'_>) -> Result<T, OutboxError>,
) -> Result<T, Failure> {
    let remote = open_remote(plan)?;
    let local = open_local(plan)?;
    let drawn = Drawn::new(session.observer.as_ref());
    let watch = |step: Step<'_>| {
        drawn.on(step);
        !session.interrupted.load(Ordering::Relaxed)
    };
    let mirror = Mirror::open(&local, remote.as_ref(), &identity(plan), owner("carry"), &watch);
    let done = mirror.and_then(|mut mirror| act(&mut mirror));
    cost.add(remote.usage());
    done.map_err(failure)
}

/// What asking a remote has cost so far.
#[derive(Debug, Default)]
pub(super) struct Cost {
    usd_per_1000_requests: Option<f64>,
    so_far: Cell<Option<RemoteCost>>,
}

impl Cost {
    /// Nothing yet, at a rate.
    pub fn at(rates: &Rates) -> Cost {
        Cost { usd_per_1000_requests: rates.usd_per_1000_requests, so_far: Cell::default() }
    }

    /// Adds what a store has counted since it was opened.
    pub fn add(&self, usage: Option<Usage>) {
        let Some(usage) = usage else { return };
        let mut so_far = self.so_far.get().unwrap_or_default();
        so_far.add(RemoteCost {
            requests: usage.requests,
            retries: usage.retries,
            bytes_sent: usage.bytes_up,
            bytes_received: usage.bytes_down,
            cost_usd: self.usd_per_1000_requests.map(|usd| usd * usage.requests as f64 / 1000.0),
        });
        self.so_far.set(Some(so_far));
    }

    /// All of it; `None` where nobody counts.
    pub fn told(&self) -> Option<RemoteCost> {
        self.so_far.get()
    }
}

fn pull(plan: &StorePlan, on_clash: OnClash, session: &Session, cost: &Cost) -> Result<Pulled, Failure> {
    with_mirror(plan, session, cost, |mirror| mirror.pull(on_clash))
}

fn push(plan: &StorePlan, session: &Session, cost: &Cost) -> Result<Pushed, Failure> {
    with_mirror(plan, session, cost, |mirror| mirror.push())
}

/// Brings what others published before something is read; what keeps it from being brought is a note.
///
/// # Errors
/// When this program cannot reach such a place at all.
pub fn refresh(plan: &StorePlan, session: &Session) -> Result<(), Failure> {
    match plan.is_carried().then(|| pull(plan, OnClash::Refuse, session, &Cost::default())) {
        None | Some(Ok(_)) => Ok(()),
        Some(Err(failure)) if failure.exit == Exit::Usage => Err(failure),
        Some(Err(failure)) => {
            session.observer.note(&format!("what others published was not brought: {}", failure.message));
            Ok(())
        }
    }
}

/// `huracan store sync`.
///
/// # Errors
/// [`Exit::Usage`] where there is nothing to carry to, [`Exit::Network`] when it cannot be reached,
/// [`Exit::Store`] when both sides have changed the same thing.
pub fn sync(
    plan: &StorePlan,
    request: &SyncRequest,
    rates: &Rates,
    session: &Session,
) -> Result<SyncView, Failure> {
    let cost = Cost::at(rates);
    if !plan.is_carried() {
        let message = format!("{} is the store itself: there is nothing to carry", plan.local.display());
        return Err(Failure::new(Exit::Usage, "store_not_carried", message)
            .help("name a remote with --store, or the folder to work in with --store-local"));
    }
    let on_clash = if request.theirs { OnClash::TakeTheirs } else { OnClash::Refuse };
    let pulled = request.pull.then(|| pull(plan, on_clash, session, &cost)).transpose()?.unwrap_or_default();
    let pushed = request.push.then(|| push(plan, session, &cost)).transpose()?.unwrap_or_default();
    Ok(SyncView {
        url: plan.url.to_string(),
        local: plan.local.display().to_string(),
        pulled_files: pulled.files,
        pulled_bytes: pulled.bytes,
        pushed_files: pushed.files,
        pushed_bytes: pushed.bytes,
        pointers_moved: pushed.pointers,
        given_up: pulled.given_up.into_iter().map(|clash| clash.path).collect(),
        unusable: pulled.unusable,
        cost: cost.told(),
    })
}

/// `huracan store ls`.
///
/// # Errors
/// [`Exit::Usage`] for a text that is no path, and what the store refuses.
pub fn ls(plan: &StorePlan, path: Option<&str>, remote: bool) -> Result<Vec<LsRow>, Failure> {
    let below = path
        .map(|text| StorePath::new(text.trim_matches('/')))
        .transpose()
        .map_err(|error| Failure::new(Exit::Usage, error.code(), error.to_string()))?;
    let store = match remote && plan.is_carried() {
        true => open_remote(plan)?,
        false => Box::new(super::train::open(&plan.local)?),
    };
    let rows = store.list(below.as_ref())?.into_iter();
    Ok(rows.map(|entry| LsRow { path: entry.path.to_string(), size_bytes: entry.size_bytes }).collect())
}

/// `huracan store check`.
///
/// # Errors
/// When a side cannot be reached or listed. What is wrong in it is a row.
pub fn check(plan: &StorePlan, session: &Session) -> Result<CheckView, Failure> {
    let drawn = Drawn::new(session.observer.as_ref());
    let local = super::train::open(&plan.local)?;
    let mut view = CheckView::default();
    let mut add = |side: &'static str, checked: Checked| {
        view.looked_at += checked.looked_at;
        view.rows.extend(checked.findings.into_iter().map(|finding| CheckRow {
            side,
            path: finding.path,
            problem: finding.problem.code(),
            detail: finding.detail,
        }));
    };
    add("here", check_store(&local, &drawn.counted("check here"))?);
    if plan.is_carried() {
        let remote = open_remote(plan)?;
        add("there", check_store(remote.as_ref(), &drawn.counted("check there"))?);
        add("both", compare(&local, remote.as_ref(), &drawn.counted("compare"))?);
    }
    Ok(view)
}

/// `huracan store gc`: the working folder, and the remote where there is one.
///
/// # Errors
/// [`Exit::Store`] while a run holds a side, or something that points cannot be read.
pub fn collect(plan: &StorePlan, request: &GcRequest, session: &Session) -> Result<GcView, Failure> {
    let drawn = Drawn::new(session.observer.as_ref());
    let rules = Rules {
        now: now(),
        retention_days: request.retention_days,
        runs_kept: request.runs_kept,
        grace_days: GRACE_DAYS,
    };
    let mut view = GcView { removed: request.remove, ..GcView::default() };
    let mut side = |name: &'static str, store: &dyn Store| -> Result<(), Failure> {
        let watch = drawn.counted("remove");
        let plan = gc::collect(store, &rules, &owner("gc"), request.remove, &watch)?;
        view.kept += plan.keep.len();
        view.bytes += plan.bytes();
        let row = |(path, bytes, why): (StorePath, u64, String)| GcRow {
            side: name,
            path: path.to_string(),
            bytes,
            why,
        };
        view.rows.extend(plan.remove.into_iter().map(row));
        Ok(())
    };
    // Nothing goes here before it is known that there is a there.
    let there = plan.is_carried().then(|| open_remote(plan)).transpose()?;
    side("here", &super::train::open(&plan.local)?)?;
    if let Some(there) = there {
        side("there", there.as_ref())?;
    }
    Ok(view)
}

/// What became of carrying a run.
pub(super) struct Carried {
    /// Whether everything is there.
    pub done: bool,
    /// What keeps it from being there, where waiting alone does not help.
    pub broken: Option<Failure>,
}

/// How often a run decides again because somebody else was first.
const ATTEMPTS_MAX: usize = 3;

/// Brings what others published, lets `run` decide on it, and carries what it made; where somebody else
/// was first, brings that and lets it decide again. What cannot be reached keeps nobody from running.
///
/// # Errors
/// What `run` refuses, and a place this program cannot reach at all.
pub(super) fn around<T>(
    plan: &StorePlan,
    session: &Session,
    cost: &Cost,
    mut run: impl FnMut() -> Result<T, Failure>,
) -> Result<(T, Carried, Vec<String>), Failure> {
    let mut notes = Vec::new();
    let bring = |notes: &mut Vec<String>| -> Result<(), Failure> {
        match pull(plan, OnClash::TakeTheirs, session, cost) {
            Ok(pulled) => {
                if !pulled.given_up.is_empty() {
                    notes.push(format!(
                        "{} decisions made here were given up for what others had published first",
                        pulled.given_up.len()
                    ));
                }
                for (path, reason) in &pulled.unusable {
                    notes.push(format!("{path} as published cannot be used: {reason}"));
                }
                Ok(())
            }
            Err(failure) if failure.exit == Exit::Network => {
                notes.push(format!("went on with what is here: {}", failure.message));
                Ok(())
            }
            Err(failure) => Err(failure),
        }
    };
    bring(&mut notes)?;
    for attempt in 1.. {
        let made = run()?;
        let failure = match push(plan, session, cost) {
            Ok(_) => return Ok((made, Carried { done: true, broken: None }, notes)),
            Err(failure) => failure,
        };
        if failure.code == "store_conflict" && attempt < ATTEMPTS_MAX {
            session.observer.note("somebody else published first: reading that and deciding again");
            bring(&mut notes)?;
            continue;
        }
        notes.push(format!(
            "published in {}, not yet carried to {}: huracan store sync ({})",
            plan.local.display(),
            plan.url,
            failure.message
        ));
        let waits = failure.exit == Exit::Network
            || ["store_conflict", "store_locked"].contains(&failure.code.as_str());
        return Ok((made, Carried { done: false, broken: (!waits).then_some(failure) }, notes));
    }
    unreachable!("the loop returns")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, load};
    use crate::progress::Lines;
    use huracan_core::words::UtcMs;
    use huracan_store::formats::trials::RunTrials;
    use huracan_store::trials;
    use std::sync::Arc;

    fn session() -> Session {
        let quiet = Lines::new(Box::new(std::io::sink()), Box::new(std::time::Duration::default));
        Session { observer: Arc::new(quiet), interrupted: Arc::default() }
    }

    fn tried(number: u32) -> RunTrials {
        let until = UtcMs(1_754_006_400_000).into();
        let run_id = format!("20250801T000000Z-{number:08x}");
        RunTrials { run_id, until, variants: 2, coins: 3, sharpe_variance: None }
    }

    #[test]
    fn a_run_that_was_overtaken_reads_what_was_published_and_decides_again() {
        let folder = tempfile::tempdir().unwrap();
        let (remote, local) = (folder.path().join("remote"), folder.path().join("local"));
        let text = format!("store: {{url: {remote:?}, local: {local:?}}}");
        let plan = load(&Sources { file: Some(("h", &text)), ..Sources::default() }, 1).unwrap().store;
        let there = LocalStore::create(&remote).unwrap();
        let (mut runs, others) = (0, std::cell::Cell::new(0));
        let mut with_overtakers = |overtakers: u32| {
            runs = 0;
            around(&plan, &session(), &Cost::default(), || {
                runs += 1;
                if runs <= overtakers {
                    others.set(others.get() + 1);
                    trials::append(&there, &tried(100 + others.get()))?;
                }
                trials::append(&LocalStore::open(&local)?, &tried(overtakers))?;
                Ok(runs)
            })
            .unwrap()
        };
        let (made, carried, notes) = with_overtakers(1);
        assert_eq!((made, carried.done), (2, true), "{notes:?}");
        assert!(notes.iter().any(|note| note.contains("given up")), "{notes:?}");
        assert_eq!(trials::read(&there).unwrap().last().unwrap().run.run_id, tried(1).run_id);

        // Somebody who is always first: the run is published here, and waits.
        let (made, carried, notes) = with_overtakers(9);
        assert_eq!((made, carried.done, carried.broken), (3, false, None), "{notes:?}");
        assert!(notes.last().unwrap().contains("not yet carried"), "{notes:?}");
    }
}
