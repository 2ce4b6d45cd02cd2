//! Writing: one object, or many with one commit for a thousand.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use huracan_core::words::UtcMs;
use huracan_store::{PutMode, Revision, StoreError, StorePath};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::error::{Failure, store_error, tags};
use super::hash::content_hash;
use super::index::{Known, Writing};
use super::transport::{Style, parse};
use super::wire::{BatchResult, FileMetadata, Metadata, Session};
use super::{Account, Result, differs_in_case};

/// Dropbox commits at most this many files with one request.
const BATCH_MAX: usize = 1000;
/// From this many overwrites of unknown paths on, a listing costs less than finding out one by one.
const LIST_FIRST_FROM: usize = 50;
/// After losing this often against other writers an overwrite is sent without a condition.
const ROUNDS_MAX: usize = 4;
/// `rev`s are at least this long.
const REV_CHARS_MIN: usize = 9;
/// Dropbox tells times in whole seconds, and its servers may differ by as much.
const CLOCK_MARGIN_MS: i64 = 2000;
const WRITE: &str = "write it";

/// What must be there for a write to happen.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Condition {
    Nothing,
    Rev(String),
    Anything,
}

impl Condition {
    fn mode(&self) -> Value {
        match self {
            Condition::Nothing => json!("add"),
            Condition::Rev(rev) => json!({ ".tag": "update", "update": rev }),
            Condition::Anything => json!("overwrite"),
        }
    }
}

/// A refusal to be settled.
struct Refusal {
    route: &'static str,
    tags: String,
    /// An earlier attempt broke off and may be the reason for the refusal.
    doubtful: bool,
    round: usize,
}

/// What there was before a write began: what cannot be of its making.
struct Before {
    /// The state last known.
    rev: Option<String>,
    /// The clock of Dropbox, where it is known.
    now: Option<UtcMs>,
}

impl Before {
    /// Whether a file with our bytes can be what an attempt of ours left there.
    fn may_be_ours(&self, file: &FileMetadata) -> bool {
        let older = match (self.now, file.server_modified.parse::<UtcMs>()) {
            (Some(now), Ok(modified)) => modified.0 < now.0 - CLOCK_MARGIN_MS,
            _ => false,
        };
        !older && self.rev.as_ref() != Some(&file.rev)
    }
}

/// What a look at the object made of a refusal.
enum Settled {
    /// The bytes are there after all.
    Done(String),
    /// To be tried again on this condition.
    Again(Condition),
}

/// One file on its way through a batch.
struct Job<'a> {
    /// Its place among the entries.
    place: usize,
    path: &'a StorePath,
    content: &'a [u8],
    mode: &'a PutMode,
    content_hash: String,
    writing: Writing,
    before: Before,
    condition: Condition,
    session_id: String,
}

impl Account {
    pub(super) async fn put(&self, path: &StorePath, content: Bytes, mode: &PutMode) -> Result<Revision> {
        let content_hash = content_hash(&content);
        if let Some(rev) = self.is_there(path, mode, &content_hash) {
            return Ok(rev);
        }
        let writing = self.index.begin(path);
        let before = self.before(&writing).await;
        let done = match self.condition(path, mode, &writing).await {
            Ok(condition) => self.write(path, content, &content_hash, mode, &before, condition, false).await,
            Err(error) => Err(error),
        };
        self.end(path, &writing, content_hash, &done);
        done
    }

    async fn before(&self, writing: &Writing) -> Before {
        let rev = writing.before.as_ref().map(|known| known.rev.clone());
        Before { rev, now: self.transport.now().await }
    }

    /// Whether an overwrite has nothing to do.
    fn is_there(&self, path: &StorePath, mode: &PutMode, content_hash: &str) -> Option<Revision> {
        let known = self.index.get(path, self.trust).filter(|_| *mode == PutMode::Overwrite)?;
        (known.content_hash == content_hash).then(|| Revision::new(known.rev))
    }

    fn end(&self, path: &StorePath, writing: &Writing, content_hash: String, done: &Result<Revision>) {
        let now = done.as_ref().ok().map(|rev| Known {
            path: path.clone(),
            rev: rev.as_str().to_owned(),
            content_hash,
        });
        self.index.end(path, writing, now);
    }

    /// On what condition to try first.
    async fn condition(&self, path: &StorePath, mode: &PutMode, writing: &Writing) -> Result<Condition> {
        match mode {
            PutMode::Create => Ok(Condition::Nothing),
            PutMode::Overwrite => {
                let known = writing.before.as_ref().map(|known| known.rev.clone());
                Ok(known.map_or(Condition::Nothing, Condition::Rev))
            }
            PutMode::IfRevision(revision) if is_rev(revision.as_str()) => {
                Ok(Condition::Rev(revision.as_str().to_owned()))
            }
            // Dropbox would call it a bad request; it is a revision of some other store.
            PutMode::IfRevision(revision) => {
                let found = self.metadata(&self.full(path)).await.map_err(|e| store_error(path, WRITE, e))?;
                Err(stale(path, revision, found.as_ref()))
            }
        }
    }

    /// Writes on a condition; an overwrite goes on until it is done.
    async fn write(
        &self,
        path: &StorePath,
        content: Bytes,
        content_hash: &str,
        mode: &PutMode,
        before: &Before,
        mut condition: Condition,
        mut doubtful: bool,
    ) -> Result<Revision> {
        let mut round = 0;
        loop {
            let commit = self.commit(path, &content, content_hash, &condition).await;
            let (route, outcome, now) = commit.map_err(|failure| store_error(path, WRITE, failure))?;
            doubtful |= now;
            let tags = match outcome {
                Ok(metadata) => return self.written(path, &metadata, &condition).await,
                Err(tags) => tags,
            };
            round += 1;
            let refusal = Refusal { route, tags, doubtful, round };
            match self.settle(path, content_hash, mode, before, refusal).await? {
                Settled::Done(rev) => return Ok(Revision::new(rev)),
                Settled::Again(next) => condition = next,
            }
        }
    }

    /// One write: with one request where the object fits, else in pieces.
    async fn commit(
        &self,
        path: &StorePath,
        content: &Bytes,
        content_hash: &str,
        condition: &Condition,
    ) -> std::result::Result<(&'static str, std::result::Result<FileMetadata, String>, bool), Failure> {
        let mut argument = self.commit_info(path, condition);
        let (route, argument, body) = if content.len() <= self.request_bytes_max {
            argument["content_hash"] = json!(content_hash);
            ("files/upload", argument, content.clone())
        } else {
            let session_id = self.session(content).await?;
            let cursor = json!({ "session_id": session_id, "offset": content.len() });
            let argument = json!({ "cursor": cursor, "commit": argument });
            ("files/upload_session/finish", argument, Bytes::new())
        };
        let reply = self.transport.call(route, &argument, Style::Upload(body)).await?;
        let outcome = match reply.outcome {
            Ok(result) => Ok(parse(route, result)?),
            // The session was used up by an attempt whose answer was lost.
            Err(tags) if reply.doubtful && tags.starts_with("lookup_failed") => Err("path/conflict".into()),
            Err(tags) => Err(tags),
        };
        Ok((route, outcome, reply.doubtful))
    }

    fn commit_info(&self, path: &StorePath, condition: &Condition) -> Value {
        json!({
            "path": self.full(path),
            "mode": condition.mode(),
            "autorename": false,
            "strict_conflict": true,
            "mute": true,
        })
    }

    /// Sends content without making it a file yet; returns the session that holds it.
    async fn session(&self, content: &Bytes) -> std::result::Result<String, Failure> {
        let piece = |from: usize| content.slice(from..content.len().min(from + self.request_bytes_max));
        let first = piece(0);
        let route = "files/upload_session/start";
        let argument = json!({ "close": first.len() == content.len(), "content_hash": content_hash(&first) });
        let mut sent = first.len();
        let reply = self.transport.call(route, &argument, Style::Upload(first)).await?;
        let session_id = reply.read::<Session>(route)?.session_id;
        let route = "files/upload_session/append_v2";
        while sent < content.len() {
            let next = piece(sent);
            let last = sent + next.len() == content.len();
            let argument = json!({
                "cursor": { "session_id": session_id, "offset": sent },
                "close": last,
                "content_hash": content_hash(&next),
            });
            let arrived = sent + next.len();
            let reply = self.transport.call(route, &argument, Style::Upload(next)).await?;
            match reply.outcome {
                Ok(_) => sent = arrived,
                // The attempt whose answer was lost had arrived whole.
                Err(tags) if reply.doubtful && tags == format!("incorrect_offset/{arrived}") => {
                    sent = arrived
                }
                Err(tags) if reply.doubtful && last && tags == "closed" => sent = arrived,
                Err(tags) => return Err(Failure::refused(route, &tags)),
            }
        }
        Ok(session_id)
    }

    /// A write succeeded; was it the path that was meant?
    async fn written(
        &self,
        path: &StorePath,
        metadata: &FileMetadata,
        condition: &Condition,
    ) -> Result<Revision> {
        let failed = |failure| store_error(path, WRITE, failure);
        let Some(found) = self.other_case(path, metadata).await.map_err(failed)? else {
            return Ok(Revision::new(metadata.rev.clone()));
        };
        if *condition == Condition::Nothing {
            // A new file in a folder of another case: exactly this state is taken back.
            let argument = json!({ "path": self.full(path), "parent_rev": metadata.rev });
            let route = "files/delete_v2";
            self.transport.call(route, &argument, Style::Rpc).await.map_err(failed)?;
        }
        Err(refused(path, differs_in_case(&found)))
    }

    /// Finds out what a refusal means by looking at what is there.
    async fn settle(
        &self,
        path: &StorePath,
        content_hash: &str,
        mode: &PutMode,
        before: &Before,
        refusal: Refusal,
    ) -> Result<Settled> {
        let failed = |failure| store_error(path, WRITE, failure);
        if !refusal.tags.contains("conflict") {
            return Err(failed(Failure::refused(refusal.route, &refusal.tags)));
        }
        let again = |condition| {
            let lost_often = refusal.round >= ROUNDS_MAX;
            Ok(Settled::Again(if lost_often { Condition::Anything } else { condition }))
        };
        let exists = || Err(StoreError::AlreadyExists { path: path.to_string() });
        let found = self.metadata(&self.full(path)).await.map_err(failed)?;
        match found {
            Some(Metadata::File(file)) => {
                if let Some(other) = self.other_case(path, &file).await.map_err(failed)? {
                    return Err(refused(path, differs_in_case(&other)));
                }
                let ours = file.content_hash.as_deref() == Some(content_hash);
                match mode {
                    PutMode::Overwrite if ours => Ok(Settled::Done(file.rev)),
                    _ if ours && refusal.doubtful && before.may_be_ours(&file) => Ok(Settled::Done(file.rev)),
                    PutMode::Overwrite => again(Condition::Rev(file.rev)),
                    PutMode::Create => exists(),
                    // The very state that was asked for: the bytes were there before, or nothing was
                    // written and the next attempt may succeed.
                    PutMode::IfRevision(expected) if expected.as_str() == file.rev && ours => {
                        Ok(Settled::Done(file.rev))
                    }
                    PutMode::IfRevision(expected)
                        if expected.as_str() == file.rev && refusal.round < ROUNDS_MAX =>
                    {
                        Ok(Settled::Again(Condition::Rev(file.rev)))
                    }
                    PutMode::IfRevision(expected) => Err(stale(path, expected, Some(&Metadata::File(file)))),
                }
            }
            Some(Metadata::Folder(_)) => Err(refused(path, "a folder of this name is there".into())),
            Some(Metadata::Deleted(_)) | None => match mode {
                PutMode::IfRevision(expected) => Err(stale(path, expected, None)),
                _ if refusal.tags.ends_with("file_ancestor") => {
                    Err(refused(path, "a part of its folder's path is a file".into()))
                }
                // Somebody removed it in between.
                PutMode::Overwrite => again(Condition::Nothing),
                PutMode::Create if refusal.round < ROUNDS_MAX => Ok(Settled::Again(Condition::Nothing)),
                PutMode::Create => exists(),
            },
        }
    }

    pub(super) async fn put_many(
        self: &Arc<Account>,
        entries: &[(StorePath, Vec<u8>, PutMode)],
    ) -> Vec<Result<Revision>> {
        if let [(path, content, mode)] = entries {
            return vec![self.put(path, Bytes::copy_from_slice(content), mode).await];
        }
        let mut results: BTreeMap<usize, Result<Revision>> = BTreeMap::new();
        self.look_first(entries).await;
        let mut named: BTreeMap<String, &StorePath> = BTreeMap::new();
        let mut repeated = Vec::new();
        let mut jobs = Vec::new();
        for (place, (path, content, mode)) in entries.iter().enumerate() {
            match named.get(&path.as_str().to_ascii_lowercase()) {
                Some(first) if *first == path => {
                    repeated.push(place);
                    continue;
                }
                Some(first) => {
                    results.insert(place, Err(refused(path, differs_in_case(first.as_str()))));
                    continue;
                }
                None => named.insert(path.as_str().to_ascii_lowercase(), path),
            };
            match self.job(place, path, content, mode).await {
                Ok(Ok(job)) => jobs.push(job),
                Ok(Err(there)) => drop(results.insert(place, Ok(there))),
                Err(error) => drop(results.insert(place, Err(error))),
            }
        }
        while !jobs.is_empty() {
            let batch: Vec<Job<'_>> = jobs.drain(..jobs.len().min(BATCH_MAX)).collect();
            self.put_batch(batch, &mut results).await;
        }
        // One path twice is meant in this order.
        for place in repeated {
            let (path, content, mode) = &entries[place];
            let done = self.put(path, Bytes::copy_from_slice(content), mode).await;
            results.insert(place, done);
        }
        results.into_values().collect()
    }

    /// Lists once where many overwrites would otherwise each have to find out what is there.
    async fn look_first(&self, entries: &[(StorePath, Vec<u8>, PutMode)]) {
        let unknown =
            entries.iter().filter(|entry| entry.2 == PutMode::Overwrite && !self.index.has(&entry.0));
        if unknown.count() < LIST_FIRST_FROM {
            return;
        }
        if let Err(error) = self.list(None).await {
            tracing::debug!(%error, "Dropbox could not be listed before a batch; each file finds out by itself");
        }
    }

    /// What there is to do for an entry, or the revision that is there already.
    async fn job<'a>(
        &self,
        place: usize,
        path: &'a StorePath,
        content: &'a [u8],
        mode: &'a PutMode,
    ) -> Result<std::result::Result<Job<'a>, Revision>> {
        let content_hash = content_hash(content);
        if let Some(rev) = self.is_there(path, mode, &content_hash) {
            return Ok(Err(rev));
        }
        let writing = self.index.begin(path);
        let before = self.before(&writing).await;
        match self.condition(path, mode, &writing).await {
            Ok(condition) => {
                let session_id = String::new();
                Ok(Ok(Job {
                    place,
                    path,
                    content,
                    mode,
                    content_hash,
                    writing,
                    before,
                    condition,
                    session_id,
                }))
            }
            Err(error) => {
                self.index.end(path, &writing, None);
                Err(error)
            }
        }
    }

    /// Sends up to a thousand files and commits them together.
    async fn put_batch(
        self: &Arc<Account>,
        jobs: Vec<Job<'_>>,
        results: &mut BTreeMap<usize, Result<Revision>>,
    ) {
        let mut settle = |account: &Account, job: Job<'_>, done: Result<Revision>| {
            account.end(job.path, &job.writing, job.content_hash, &done);
            results.insert(job.place, done);
        };
        let mut pending = Vec::new();
        for (mut job, sent) in self.send_all(jobs).await {
            match sent {
                Ok(session_id) => {
                    job.session_id = session_id;
                    pending.push(job);
                }
                Err(failure) => {
                    let error = store_error(job.path, WRITE, failure);
                    settle(self, job, Err(error));
                }
            }
        }
        let mut waits = self.transport.waits();
        let mut doubtful = false;
        while !pending.is_empty() {
            let (entries, now) = match self.finish(&pending).await {
                Ok(finished) => finished,
                Err(failure) => {
                    for job in pending {
                        let error = store_error(job.path, WRITE, failure.clone());
                        settle(self, job, Err(error));
                    }
                    return;
                }
            };
            // A commit whose answer was lost may show only when what was crowded is committed again.
            doubtful |= now;
            let asked = pending.len();
            let mut crowded = Vec::new();
            for (job, entry) in pending.into_iter().zip(entries) {
                if tags(&entry).ends_with("too_many_write_operations") {
                    crowded.push(job);
                    continue;
                }
                let done = self.finished(&job, entry, doubtful).await;
                settle(self, job, done);
            }
            pending = crowded;
            if pending.is_empty() {
                return;
            }
            if pending.len() < asked {
                waits = self.transport.waits();
            }
            let reason = "too_many_write_operations".to_owned();
            let failure = Failure::Throttled { route: FINISH, reason, pause_s: 0, attempts: 1 };
            if let Err(failure) = self.transport.wait(&mut waits, failure, None).await {
                for job in pending {
                    let error = store_error(job.path, WRITE, failure.clone());
                    settle(self, job, Err(error));
                }
                return;
            }
        }
    }

    /// Sends the content of every job, a few at once.
    async fn send_all<'a>(
        self: &Arc<Account>,
        jobs: Vec<Job<'a>>,
    ) -> Vec<(Job<'a>, std::result::Result<String, Failure>)> {
        let free = Arc::new(Semaphore::new(self.parallel_max));
        let mut sending = JoinSet::new();
        for (i, job) in jobs.iter().enumerate() {
            let permit = free.clone().acquire_owned().await;
            let (account, content) = (self.clone(), Bytes::copy_from_slice(job.content));
            sending.spawn(async move {
                let _permit = permit;
                (i, account.session(&content).await)
            });
        }
        let mut sent: BTreeMap<usize, std::result::Result<String, Failure>> = BTreeMap::new();
        while let Some(done) = sending.join_next().await {
            match done {
                Ok((i, outcome)) => drop(sent.insert(i, outcome)),
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(_) => {}
            }
        }
        let broke_off = || Failure::Unreachable {
            route: "files/upload_session/start",
            reason: "broke off".into(),
            attempts: 1,
        };
        let outcome = |i| sent.remove(&i).unwrap_or_else(|| Err(broke_off()));
        let outcomes: Vec<_> = (0..jobs.len()).map(outcome).collect();
        jobs.into_iter().zip(outcomes).collect()
    }

    /// Commits the sessions of `jobs`; one line for each, in their order.
    async fn finish(&self, jobs: &[Job<'_>]) -> std::result::Result<(Vec<Value>, bool), Failure> {
        let entry = |job: &Job<'_>| {
            json!({
                "cursor": { "session_id": job.session_id, "offset": job.content.len() },
                "commit": self.commit_info(job.path, &job.condition),
            })
        };
        let argument = json!({ "entries": jobs.iter().map(entry).collect::<Vec<_>>() });
        let reply = self.transport.call(FINISH, &argument, Style::Rpc).await?;
        let doubtful = reply.doubtful;
        let entries = reply.read::<BatchResult>(FINISH)?.entries;
        if entries.len() == jobs.len() {
            return Ok((entries, doubtful));
        }
        let why = format!("{} results, expected {}", entries.len(), jobs.len());
        Err(Failure::BadAnswer { route: FINISH, why })
    }

    /// What one line of a commit means for its file.
    async fn finished(&self, job: &Job<'_>, entry: Value, doubtful: bool) -> Result<Revision> {
        let failed = |failure| store_error(job.path, WRITE, failure);
        let tags = tags(&entry);
        let Some(tags) = tags.strip_prefix("failure/") else {
            let metadata: FileMetadata = parse(FINISH, entry).map_err(failed)?;
            return self.written(job.path, &metadata, &job.condition).await;
        };
        let content = || Bytes::copy_from_slice(job.content);
        let rewrite = |condition, doubtful| {
            self.write(job.path, content(), &job.content_hash, job.mode, &job.before, condition, doubtful)
        };
        let used_up = tags.starts_with("lookup_failed");
        if used_up && !doubtful {
            // Dropbox has lost or dropped the content.
            return rewrite(job.condition.clone(), doubtful).await;
        }
        // Used up by a commit whose answer was lost, most likely: then the bytes are there.
        let tags = if used_up { "path/conflict" } else { tags };
        let refusal = Refusal { route: FINISH, tags: tags.to_owned(), doubtful, round: 0 };
        match self.settle(job.path, &job.content_hash, job.mode, &job.before, refusal).await? {
            Settled::Done(rev) => Ok(Revision::new(rev)),
            Settled::Again(condition) => rewrite(condition, doubtful).await,
        }
    }
}

const FINISH: &str = "files/upload_session/finish_batch_v2";

fn is_rev(text: &str) -> bool {
    text.len() >= REV_CHARS_MIN && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn stale(path: &StorePath, expected: &Revision, found: Option<&Metadata>) -> StoreError {
    let found = match found {
        Some(Metadata::File(file)) => file.rev.clone(),
        _ => "none".into(),
    };
    StoreError::Stale { path: path.to_string(), expected: expected.to_string(), found }
}

fn refused(path: &StorePath, reason: String) -> StoreError {
    StoreError::Refused { what: path.to_string(), reason }
}
