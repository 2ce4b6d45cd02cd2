//! What is in the account, and what each verb does to it. Nothing here knows of HTTP or of faults.

use std::collections::BTreeMap;

use huracan_core::words::UtcMs;
use serde_json::{Value, json};

use crate::dropbox::content_hash;

/// A refusal with its tags, as Dropbox writes them.
pub(super) type Refusal = Value;

struct File {
    display: String,
    content: Vec<u8>,
    content_hash: String,
    rev: String,
    id: u64,
    modified: UtcMs,
}

struct Session {
    content: Vec<u8>,
    closed: bool,
}

/// Where a listing goes on.
#[derive(Clone)]
struct Cursor {
    folder: String,
    recursive: bool,
    limit: usize,
    /// Entries still to be handed out.
    rest: Vec<Value>,
    /// What happened up to here is among them.
    until: usize,
}

/// Files and folders by path in lower case, and all that refers to them.
#[derive(Default)]
pub(super) struct Contents {
    files: BTreeMap<String, File>,
    folders: BTreeMap<String, String>,
    /// Paths in the order they were touched, with how they were shown.
    journal: Vec<(String, String)>,
    sessions: BTreeMap<String, Session>,
    cursors: BTreeMap<String, Cursor>,
    made: u64,
}

/// `{".tag": tag, tag: inner}`.
pub(super) fn tagged(tag: &str, inner: Value) -> Value {
    let mut whole = json!({ ".tag": tag });
    whole[tag] = inner;
    whole
}

fn tag(name: &str) -> Value {
    json!({ ".tag": name })
}

fn conflict(with: &str) -> Refusal {
    tagged("conflict", tag(with))
}

fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').skip(1).map(|(at, _)| &path[..at])
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Whether Dropbox takes this for the path of a file.
fn is_path(path: &str) -> bool {
    path.len() > 1
        && path.starts_with('/')
        && path[1..]
            .split('/')
            .all(|part| !part.is_empty() && part.trim_end() == part && !part.ends_with('.'))
}

fn mode_of(commit: &Value) -> (&str, Option<&str>) {
    let mode = &commit["mode"];
    let name = mode.as_str().or_else(|| mode[".tag"].as_str()).unwrap_or("add");
    (name, mode["update"].as_str())
}

impl Contents {
    fn make(&mut self) -> u64 {
        self.made += 1;
        self.made
    }

    pub(super) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.files.values().map(|file| (file.display.clone(), file.content.clone())).collect()
    }

    fn bytes(&self) -> u64 {
        self.files.values().map(|file| file.content.len() as u64).sum()
    }

    fn file(&self, lower: &str) -> Option<Value> {
        let file = self.files.get(lower)?;
        Some(json!({
            ".tag": "file",
            "name": last(&file.display),
            "path_lower": lower,
            "path_display": file.display,
            "id": format!("id:{:022}", file.id),
            "client_modified": file.modified.to_string(),
            "server_modified": file.modified.to_string(),
            "rev": file.rev,
            "size": file.content.len(),
            "is_downloadable": true,
            "content_hash": file.content_hash,
        }))
    }

    fn folder(&self, lower: &str) -> Option<Value> {
        let display = self.folders.get(lower)?;
        Some(json!({
            ".tag": "folder",
            "name": last(display),
            "path_lower": lower,
            "path_display": display,
            "id": format!("id:{}", &content_hash(lower.as_bytes())[..22]),
        }))
    }

    /// What is at a path.
    pub(super) fn metadata(&self, path: &str) -> Result<Value, Refusal> {
        let lower = path.to_lowercase();
        self.file(&lower).or_else(|| self.folder(&lower)).ok_or_else(|| tag("not_found"))
    }

    /// A file's metadata and content.
    pub(super) fn download(&self, path: &str) -> Result<(Value, Vec<u8>), Refusal> {
        let lower = path.to_lowercase();
        match (self.file(&lower), self.files.get(&lower)) {
            (Some(metadata), Some(file)) => Ok((metadata, file.content.clone())),
            _ if self.folders.contains_key(&lower) => Err(tag("not_file")),
            _ => Err(tag("not_found")),
        }
    }

    /// Makes bytes a file, on the condition of its commit info; its metadata, or a write error.
    pub(super) fn commit(
        &mut self,
        commit: &Value,
        content: Vec<u8>,
        now: UtcMs,
        quota_bytes: Option<u64>,
    ) -> Result<Value, Refusal> {
        let path = commit["path"].as_str().unwrap_or_default().to_owned();
        if !is_path(&path) {
            return Err(tagged("malformed_path", Value::Null));
        }
        let strict = commit["strict_conflict"].as_bool().unwrap_or(false);
        let hash = content_hash(&content);
        let met = self.meets(&path.to_lowercase(), mode_of(commit), strict, &hash);
        let path = match met {
            Ok(true) => path,
            Ok(false) => return Ok(self.file(&path.to_lowercase()).unwrap_or_default()),
            Err(refusal) if commit["autorename"] == json!(true) => self.renamed(&path).ok_or(refusal)?,
            Err(refusal) => return Err(refusal),
        };
        let lower = path.to_lowercase();
        let before = self.files.get(&lower).map_or(0, |file| file.content.len() as u64);
        if quota_bytes.is_some_and(|quota| self.bytes() - before + content.len() as u64 > quota) {
            return Err(tag("insufficient_space"));
        }
        let mut display = String::new();
        for parent in parents(&path).map(str::to_owned).collect::<Vec<_>>() {
            let written = format!("{display}/{}", last(&parent));
            display = self.folders.entry(parent.to_lowercase()).or_insert(written).clone();
        }
        let display = format!("{display}/{}", last(&path));
        let number = self.make();
        let (id, display) =
            self.files.get(&lower).map_or((number, display), |file| (file.id, file.display.clone()));
        self.journal.push((lower.clone(), display.clone()));
        let rev = format!("{:016x}", 0x5f3_0000_0000 + number);
        self.files
            .insert(lower.clone(), File { display, content, content_hash: hash, rev, id, modified: now });
        Ok(self.file(&lower).unwrap_or_default())
    }

    /// Whether a write may happen; `false` when the same bytes are there and nothing is to be written.
    fn meets(
        &self,
        lower: &str,
        mode: (&str, Option<&str>),
        strict: bool,
        hash: &str,
    ) -> Result<bool, Refusal> {
        if parents(lower).any(|parent| self.files.contains_key(parent)) {
            return Err(conflict("file_ancestor"));
        }
        if self.folders.contains_key(lower) {
            return Err(conflict("folder"));
        }
        let Some(file) = self.files.get(lower) else {
            return if strict && mode.0 == "update" { Err(conflict("file")) } else { Ok(true) };
        };
        let same = file.content_hash == hash;
        match mode {
            ("overwrite", _) => Ok(!same),
            ("update", Some(rev)) if rev == file.rev => Ok(!same),
            _ if same && !strict => Ok(false),
            _ => Err(conflict("file")),
        }
    }

    /// A free name beside one that is taken.
    fn renamed(&self, path: &str) -> Option<String> {
        let (stem, extension) = path.rsplit_once('.').unwrap_or((path, ""));
        let dot = if extension.is_empty() { "" } else { "." };
        let name = |n| format!("{stem} ({n}){dot}{extension}");
        (1..1000).map(name).find(|name| !self.files.contains_key(&name.to_lowercase()))
    }

    /// Removes a file, or a folder with all below it; what it was.
    pub(super) fn delete(&mut self, path: &str, parent_rev: Option<&str>) -> Result<Value, Refusal> {
        let lower = path.to_lowercase();
        let found = self.metadata(path).map_err(|refusal| tagged("path_lookup", refusal))?;
        if parent_rev.is_some_and(|rev| found["rev"] != json!(rev)) {
            return Err(tagged("path_write", conflict("file")));
        }
        let below = format!("{lower}/");
        self.files.retain(|at, _| *at != lower && !at.starts_with(&below));
        self.folders.retain(|at, _| *at != lower && !at.starts_with(&below));
        let display = found["path_display"].as_str().unwrap_or(path).to_owned();
        self.journal.push((lower, display));
        Ok(found)
    }

    /// Starts a session with some content.
    pub(super) fn start(&mut self, content: Vec<u8>, closed: bool) -> String {
        let session_id = format!("pid_upload_session:stand-in:{:08}", self.make());
        self.sessions.insert(session_id.clone(), Session { content, closed });
        session_id
    }

    /// Adds to a session.
    pub(super) fn append(&mut self, cursor: &Value, content: &[u8], close: bool) -> Result<(), Refusal> {
        let session = self.session(cursor)?;
        if session.closed {
            return Err(tag("closed"));
        }
        offset_of(cursor, session.content.len())?;
        session.content.extend_from_slice(content);
        session.closed = close;
        Ok(())
    }

    /// Makes a session a file; `more` is the last of its content.
    pub(super) fn finish(
        &mut self,
        entry: &Value,
        more: &[u8],
        must_be_closed: bool,
        now: UtcMs,
        quota_bytes: Option<u64>,
    ) -> Result<Value, Refusal> {
        let lookup = |refusal| tagged("lookup_failed", refusal);
        let session = self.session(&entry["cursor"]).map_err(lookup)?;
        if must_be_closed && !session.closed {
            return Err(lookup(tag("not_closed")));
        }
        if session.closed && !more.is_empty() {
            return Err(lookup(tag("closed")));
        }
        offset_of(&entry["cursor"], session.content.len()).map_err(lookup)?;
        let mut content = session.content.clone();
        content.extend_from_slice(more);
        let done = self.commit(&entry["commit"], content, now, quota_bytes);
        let done = done.map_err(|refusal| tagged("path", refusal))?;
        // A session makes one file.
        self.sessions.remove(entry["cursor"]["session_id"].as_str().unwrap_or_default());
        Ok(done)
    }

    fn session(&mut self, cursor: &Value) -> Result<&mut Session, Refusal> {
        let id = cursor["session_id"].as_str().unwrap_or_default();
        self.sessions.get_mut(id).ok_or_else(|| tag("not_found"))
    }

    /// The first page of a folder.
    pub(super) fn list(&mut self, argument: &Value) -> Result<Value, Refusal> {
        let folder = argument["path"].as_str().unwrap_or_default().to_lowercase();
        if self.files.contains_key(&folder) {
            return Err(tag("not_folder"));
        }
        if !folder.is_empty() && !self.folders.contains_key(&folder) {
            return Err(tag("not_found"));
        }
        let cursor = Cursor {
            recursive: argument["recursive"].as_bool().unwrap_or(false),
            limit: argument["limit"].as_u64().unwrap_or(500) as usize,
            rest: Vec::new(),
            until: self.journal.len(),
            folder,
        };
        let paths = self.folders.keys().chain(self.files.keys());
        let paths: Vec<String> = paths.filter(|path| cursor.covers(path)).cloned().collect();
        let rest = paths.iter().filter_map(|path| self.folder(path).or_else(|| self.file(path))).collect();
        Ok(self.page(Cursor { rest, ..cursor }))
    }

    /// The next page, or what happened since the last.
    pub(super) fn list_on(&mut self, cursor: &str) -> Option<Value> {
        let mut cursor = self.cursors.get(cursor)?.clone();
        if cursor.rest.is_empty() {
            let mut touched: BTreeMap<&String, &String> = BTreeMap::new();
            for (path, display) in self.journal[cursor.until..].iter().filter(|line| cursor.covers(&line.0)) {
                touched.insert(path, display);
            }
            let gone = |path: &str, display: &str| json!({ ".tag": "deleted", "name": last(display), "path_lower": path, "path_display": display });
            let entry = |(path, display): (&String, &String)| {
                self.file(path).or_else(|| self.folder(path)).unwrap_or_else(|| gone(path, display))
            };
            cursor.rest = touched.into_iter().map(entry).collect();
            cursor.until = self.journal.len();
        }
        Some(self.page(cursor))
    }

    fn page(&mut self, mut cursor: Cursor) -> Value {
        let rest = cursor.rest.split_off(cursor.rest.len().min(cursor.limit));
        let entries = std::mem::replace(&mut cursor.rest, rest);
        let has_more = !cursor.rest.is_empty();
        let name = format!("AAStandIn{:08}", self.make());
        self.cursors.insert(name.clone(), cursor);
        json!({ "entries": entries, "cursor": name, "has_more": has_more })
    }

    pub(super) fn forget_cursors(&mut self) {
        self.cursors.clear();
    }
}

impl Cursor {
    fn covers(&self, path: &str) -> bool {
        // A recursive listing has the folder itself among its lines, but for the account's root.
        if self.recursive && path == self.folder {
            return !path.is_empty();
        }
        let below = path.strip_prefix(&self.folder).and_then(|rest| rest.strip_prefix('/'));
        below.is_some_and(|rest| self.recursive || !rest.contains('/'))
    }
}

fn offset_of(cursor: &Value, expected: usize) -> Result<(), Refusal> {
    if cursor["offset"] == json!(expected) {
        return Ok(());
    }
    Err(json!({ ".tag": "incorrect_offset", "correct_offset": expected }))
}
