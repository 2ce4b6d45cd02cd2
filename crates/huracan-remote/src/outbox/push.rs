//! Carrying to the remote: folders sealed last, pointers after what they name was read back, the roster
//! after everything.

use super::Step;
use super::error::{Clash, OutboxError, Result};
use super::kind::{Kind, folder_of, seal_of};
use super::mirror::{Mirror, begins_with_lines, is_refusal};
use huracan_store::formats::champion::Champion;
use huracan_store::formats::from_bytes;
use huracan_store::formats::run::{ExitStatus, Run};
use huracan_store::{
    PutMode, Revision, Store as _, StoreError, StorePath, encoder, models, promotions, sha256_hex, trials,
};
use std::collections::{BTreeMap, BTreeSet};

/// Puts that are handed over at once, at most.
const BATCH_ITEMS: usize = 500;
/// Bytes that are handed over at once, unless one file has more.
const BATCH_BYTES: usize = 32 << 20;

/// What everybody who publishes changes: looked at even where it did not change here.
const SENTINELS: [&str; 2] = ["champions/promotions.jsonl", "champions/roster.json"];

/// What was carried.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pushed {
    /// Files written.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Champion pointers among them.
    pub pointers: usize,
}

/// So many files are looked for one by one; more are listed.
const LIST_FROM: usize = 5;

/// Some folders of the remote: every object with its state, where the listing tells it.
#[derive(Default)]
struct Listed {
    folders: &'static [&'static str],
    entries: BTreeMap<StorePath, Option<Revision>>,
}

impl Listed {
    /// Whether the listing shows a path as both sides last agreed on, without a look at its bytes: in
    /// the state that was noted, or, where nothing was, not there.
    fn is_as_noted(&self, mirror: &Mirror<'_>, path: &StorePath) -> bool {
        if !path.segments().next().is_some_and(|top| self.folders.contains(&top)) {
            return false;
        }
        match (self.entries.get(path), mirror.journal.get(path)) {
            (None, None) => true,
            (Some(Some(found)), Some(known)) => found.as_str() == known.revision,
            _ => false,
        }
    }
}

/// A file that is not what both sides last agreed on.
struct Change {
    kind: Kind,
    path: StorePath,
    /// The bytes when the push began; files of sealed folders cannot change and are read when needed.
    bytes: Option<Vec<u8>>,
}

/// How the remote stands to a changed file.
enum Standing {
    /// It has these bytes.
    InStep(Revision),
    /// It has what both agreed on last, or nothing.
    Waits(PutMode),
    /// A log that has more lines than ours, ours first.
    Ahead,
}

impl Mirror<'_> {
    /// Carries everything that is not what both sides last agreed on. Nothing to carry costs no
    /// request.
    ///
    /// The order: model and encoder folders, each file before the one that seals it; then, after the
    /// remote was found as it was last seen and every folder was read back and verified, the champion
    /// pointers by compare-and-swap; promotions and trials; the encoder in force; feature bank; meta
    /// learner; records of runs; the roster.
    ///
    /// # Errors
    /// `Conflict` when somebody published since the last pull, before any pointer moves (or, where it
    /// happens in that very moment, with the pointers that could move moved); `Changed` when a file of a
    /// sealed folder was changed after it was carried; `Store` when one of the two refuses. After an
    /// error the same call goes on where this one stopped.
    pub fn push(&mut self) -> Result<Pushed> {
        let local = self.local;
        let _claimed = local.lock_run(&self.owner)?;
        let mut pushed = Pushed::default();
        let ended = self.rebuild().and_then(|()| self.push_changes(&mut pushed));
        // What was carried is noted whatever stopped the rest; the first error is the one told.
        let saved = self.journal.save();
        ended.and(saved).map(|()| pushed)
    }

    fn push_changes(&mut self, pushed: &mut Pushed) -> Result<()> {
        let changes = self.changes()?;
        if changes.iter().all(|change| change.kind == Kind::Heartbeat) {
            return Ok(());
        }
        promotions::read(self.local)?;
        trials::read(self.local)?;
        let remote = self.remote;
        let carrying = remote.lock_run(&self.owner)?;
        let held = || match carrying.still_held() {
            true => Ok(()),
            false => Err(OutboxError::Store(StoreError::Locked {
                holder: "this claim ran out while its process was held up; another may have the store".into(),
            })),
        };
        let of = |wanted: &dyn Fn(Kind) -> bool| -> Vec<&Change> {
            changes.iter().filter(|change| wanted(change.kind)).collect()
        };
        // A look before the long part, so that a race that is lost already is not run.
        self.look(&of(&|kind| matches!(kind, Kind::Log | Kind::Roster)))?;
        for kind in [Kind::Piece, Kind::Seal] {
            held()?;
            self.carry_sealed(&of(&|k| k == kind), pushed)?;
        }
        self.verify(&of(&|kind| kind == Kind::Pointer))?;
        let mut standings = self.look(&of(&Kind::is_decided))?;
        // What was verified may be collected by whoever has taken the store over.
        held()?;
        for kind in [
            Kind::Pointer,
            Kind::Log,
            Kind::InForcePart,
            Kind::InForce,
            Kind::FeatureBank,
            Kind::MetaLearner,
            Kind::Record,
            Kind::Trades,
            Kind::Other,
            Kind::Overrides,
            Kind::Roster,
        ] {
            match kind {
                Kind::Record => self.carry_records(&of(&|k| k == kind), pushed)?,
                Kind::Overrides | Kind::Trades => self.carry_said(&of(&|k| k == kind), pushed)?,
                _ => self.carry_decided(&of(&|k| k == kind), &mut standings, pushed)?,
            }
        }
        for change in of(&|kind| kind == Kind::Heartbeat) {
            let bytes = change.bytes.as_deref().unwrap_or_default();
            match self.remote.put(&change.path, bytes, PutMode::Overwrite) {
                Ok(revision) => self.journal.note(&change.path, bytes, &revision),
                Err(error) => tracing::debug!(path = %change.path, %error, "a sign of life was not carried"),
            }
        }
        Ok(())
    }

    /// Everything here that is not what both sides last agreed on, in the order it is carried. Folders
    /// that were never sealed are unfinished work and stay.
    fn changes(&self) -> Result<Vec<Change>> {
        let entries = self.local.list(None)?;
        let sealed: BTreeSet<StorePath> = entries
            .iter()
            .filter(|entry| Kind::of(&entry.path) == Some(Kind::Seal))
            .filter_map(|entry| folder_of(&entry.path))
            .collect();
        let mut changes = Vec::new();
        for entry in entries {
            let Some(kind) = Kind::of(&entry.path) else { continue };
            let known = self.journal.get(&entry.path);
            if kind.is_sealed() {
                let is_whole = folder_of(&entry.path).is_some_and(|folder| sealed.contains(&folder));
                match known {
                    _ if !is_whole => {}
                    Some(known) if known.size_bytes == entry.size_bytes => {}
                    Some(known) => {
                        let ours = self.local.get(&entry.path)?.map_or_else(Vec::new, |object| object.bytes);
                        let (path, theirs) = (entry.path.to_string(), known.sha256.clone());
                        let clash = Clash { path, ours: sha256_hex(&ours), theirs };
                        return Err(OutboxError::Changed { clash });
                    }
                    None => changes.push(Change { kind, path: entry.path, bytes: None }),
                }
                continue;
            }
            let Some(object) = self.local.get(&entry.path)? else { continue };
            if known.is_none_or(|known| known.sha256 != sha256_hex(&object.bytes)) {
                changes.push(Change { kind, path: entry.path, bytes: Some(object.bytes) });
            }
        }
        changes.sort_by(|a, b| (a.kind, &a.path).cmp(&(b.kind, &b.path)));
        Ok(changes)
    }

    /// How the remote stands to these files and to what every publication changes.
    ///
    /// # Errors
    /// `Conflict` with every file that changed there since both sides last agreed.
    fn look(&self, changes: &[&Change]) -> Result<BTreeMap<StorePath, Standing>> {
        if changes.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut paths: BTreeSet<StorePath> = changes.iter().map(|change| change.path.clone()).collect();
        for path in SENTINELS {
            paths.insert(StorePath::new(path)?);
        }
        let paths: Vec<StorePath> = paths.into_iter().collect();
        let ours: BTreeMap<&StorePath, &[u8]> =
            changes.iter().map(|c| (&c.path, c.bytes.as_deref().unwrap_or_default())).collect();
        let mut standings = BTreeMap::new();
        let mut clashes = Vec::new();
        let listed = match paths.len() < LIST_FROM {
            true => Listed::default(),
            false => self.listed(&["champions", "meta"])?,
        };
        let (asked, unmoved): (Vec<StorePath>, Vec<StorePath>) =
            paths.into_iter().partition(|path| !listed.is_as_noted(self, path));
        for path in unmoved.into_iter().filter(|path| ours.contains_key(path)) {
            let known = self.journal.get(&path).map(|known| Revision::new(known.revision.clone()));
            standings.insert(path, Standing::Waits(known.map_or(PutMode::Create, PutMode::IfRevision)));
        }
        for (path, found) in self.fetch("look", &asked)? {
            let base = self.journal.get(&path).map(|known| known.sha256.as_str());
            let theirs = found.as_ref().map(|object| sha256_hex(&object.bytes));
            let as_last_seen = theirs.is_none() || theirs.as_deref() == base;
            let is_log = Kind::of(&path) == Some(Kind::Log);
            let standing = match (ours.get(&path), found) {
                (None, _) if as_last_seen => continue,
                (None, _) => None,
                (Some(_), None) => Some(Standing::Waits(PutMode::Create)),
                (Some(ours), Some(object)) if *ours == object.bytes => {
                    Some(Standing::InStep(object.revision))
                }
                (Some(ours), Some(object)) if is_log && begins_with_lines(&object.bytes, ours) => {
                    // Somebody has decided since: harmless only where nothing was decided here.
                    let is_alone = changes.iter().all(|c| !matches!(c.kind, Kind::Pointer | Kind::Roster));
                    is_alone.then_some(Standing::Ahead)
                }
                (Some(ours), Some(object))
                    if as_last_seen || (is_log && begins_with_lines(ours, &object.bytes)) =>
                {
                    Some(Standing::Waits(PutMode::IfRevision(object.revision)))
                }
                _ => None,
            };
            match standing {
                Some(standing) => {
                    standings.insert(path, standing);
                }
                None => clashes.push(Clash {
                    ours: ours
                        .get(&path)
                        .map_or_else(|| base.unwrap_or("none").to_owned(), |b| sha256_hex(b)),
                    theirs: theirs.unwrap_or_default(),
                    path: path.to_string(),
                }),
            }
        }
        if clashes.is_empty() { Ok(standings) } else { Err(OutboxError::Conflict { clashes }) }
    }

    /// Puts files in batches and notes those that were written; returns those that were refused because
    /// of what is there, with the bytes that were offered.
    fn carry<'c>(
        &mut self,
        stage: &'static str,
        changes: Vec<(&'c Change, PutMode)>,
        pushed: &mut Pushed,
    ) -> Result<Vec<(&'c Change, Vec<u8>)>> {
        let total = changes.len();
        let mut refused = Vec::new();
        let mut waiting = changes.into_iter().peekable();
        let mut done = 0;
        while waiting.peek().is_some() {
            let (mut batch, mut items, mut bytes_in_batch) = (Vec::new(), Vec::new(), 0);
            while items.len() < BATCH_ITEMS && bytes_in_batch < BATCH_BYTES {
                let Some((change, mode)) = waiting.next() else { break };
                let bytes = match &change.bytes {
                    Some(bytes) => bytes.clone(),
                    None => self.local.get(&change.path)?.map(|object| object.bytes).ok_or_else(|| {
                        let help = "it was there when the push began; push again";
                        StoreError::NotFound { path: change.path.to_string(), help }
                    })?,
                };
                bytes_in_batch += bytes.len();
                batch.push(change);
                items.push((change.path.clone(), bytes, mode));
            }
            let (mut broken, mut goes_on) = (None, true);
            let answers = self.remote.put_many(&items);
            for ((change, (path, bytes, _)), answer) in batch.into_iter().zip(items).zip(answers) {
                done += 1;
                match answer {
                    Ok(revision) => {
                        pushed.files += 1;
                        pushed.bytes += bytes.len() as u64;
                        pushed.pointers += usize::from(change.kind == Kind::Pointer);
                        self.journal.note(&path, &bytes, &revision);
                    }
                    Err(error) if is_refusal(&error) => refused.push((change, bytes)),
                    Err(error) => broken = broken.or(Some(error)),
                }
                goes_on &= (self.watch)(Step { stage, done, total, detail: path.as_str() });
            }
            // The last batch is noted with the end of the push, whatever that end is.
            if waiting.peek().is_some() {
                self.journal.save()?;
            }
            match broken {
                Some(error) => return Err(error.into()),
                None if !goes_on => return Err(OutboxError::Interrupted),
                None => {}
            }
        }
        Ok(refused)
    }

    /// Files of folders that never change. What an earlier push left there is gone on with.
    fn carry_sealed(&mut self, changes: &[&Change], pushed: &mut Pushed) -> Result<()> {
        let wanted = changes.iter().map(|change| (*change, PutMode::Create)).collect();
        let mut clashes = Vec::new();
        for (change, bytes) in self.carry("folders", wanted, pushed)? {
            let path = &change.path;
            let found = self.remote.get(path)?;
            if let Some(found) = &found
                && found.bytes == bytes
            {
                self.journal.note(path, &bytes, &found.revision);
                continue;
            }
            let folder = folder_of(path).unwrap_or_else(|| path.clone());
            let seal = if change.kind == Kind::Seal {
                found.clone()
            } else {
                self.remote.get(&seal_of(&folder)?)?
            };
            match (seal, found) {
                (None, found) => {
                    let mode = found.map_or(PutMode::Create, |found| PutMode::IfRevision(found.revision));
                    let revision = self.remote.put(path, &bytes, mode)?;
                    pushed.files += 1;
                    pushed.bytes += bytes.len() as u64;
                    self.journal.note(path, &bytes, &revision);
                }
                (Some(_), found) => clashes.push(Clash {
                    path: path.to_string(),
                    ours: sha256_hex(&bytes),
                    theirs: found.map_or_else(|| "none".to_owned(), |found| sha256_hex(&found.bytes)),
                }),
            }
        }
        if clashes.is_empty() { Ok(()) } else { Err(OutboxError::Conflict { clashes }) }
    }

    /// Reads back from the remote what these pointers are to name. A folder that the coin's pointer names
    /// there already was read back when it came to be named, and has not changed since.
    ///
    /// A listing that shows every file in the state that our own write of these bytes was answered with is
    /// as good as reading it.
    fn verify(&self, pointers: &[&Change]) -> Result<()> {
        let listed = match pointers.len() < LIST_FROM {
            true => Listed::default(),
            false => self.listed(&["models", "challengers"])?,
        };
        let encoders = self.each("verify", pointers, |change| {
            let bytes = change.bytes.as_deref().unwrap_or_default();
            let champion: Champion = from_bytes(&change.path, bytes)?;
            if self.is_whole(&listed, &champion)? {
                return Ok(champion.encoder_id);
            }
            let named = self.remote.get(&change.path)?;
            let named = named.and_then(|object| from_bytes::<Champion>(&change.path, &object.bytes).ok());
            let folder_and_needs =
                |c: &Champion| (c.model_path.clone(), c.model_sha256.clone(), c.encoder_id.clone());
            if named.as_ref().map(folder_and_needs) == Some(folder_and_needs(&champion)) {
                return Ok(None);
            }
            let folder = StorePath::new(champion.model_path)?;
            let model = models::read_model(self.remote, &folder)?;
            let found = model.manifest.files.get("model.bin").map_or("none", |file| file.sha256.as_str());
            if found != champion.model_sha256 {
                let path = format!("{folder}/model.bin");
                let clash = Clash { path, ours: champion.model_sha256, theirs: found.to_owned() };
                return Err(OutboxError::Conflict { clashes: vec![clash] });
            }
            Ok(champion.encoder_id)
        })?;
        let encoders: BTreeSet<String> = encoders.into_iter().flatten().collect();
        let encoders: Vec<String> = encoders.into_iter().collect();
        self.each("verify", &encoders, |id| Ok(encoder::load(self.remote, id).map(|_| ())?))?;
        Ok(())
    }

    /// Whether the folder that a pointer names is sealed here, is what the pointer says, and is listed
    /// there file by file as it was carried.
    fn is_whole(&self, listed: &Listed, champion: &Champion) -> Result<bool> {
        if listed.folders.is_empty() {
            return Ok(false);
        }
        let folder = StorePath::new(champion.model_path.as_str())?;
        let Ok(manifest) = models::read_manifest(self.local, &folder) else { return Ok(false) };
        let model = manifest.files.get("model.bin").map(|file| file.sha256.as_str());
        let mut whole = model == Some(champion.model_sha256.as_str());
        for name in manifest.files.keys().map(String::as_str).chain(["manifest.json"]) {
            let path = folder.join(name)?;
            whole &= listed.entries.contains_key(&path) && listed.is_as_noted(self, &path);
        }
        Ok(whole)
    }

    /// What a listing of these folders of the remote shows.
    fn listed(&self, folders: &'static [&'static str]) -> Result<Listed> {
        let mut entries = BTreeMap::new();
        for folder in folders {
            let listing = self.remote.list(Some(&StorePath::new(*folder)?))?;
            entries.extend(listing.into_iter().map(|entry| (entry.path, entry.revision)));
        }
        Ok(Listed { folders, entries })
    }

    /// Files somebody decided on, each over exactly the state that was seen.
    fn carry_decided(
        &mut self,
        changes: &[&Change],
        standings: &mut BTreeMap<StorePath, Standing>,
        pushed: &mut Pushed,
    ) -> Result<()> {
        let mut wanted = Vec::new();
        for change in changes {
            match standings.remove(&change.path) {
                Some(Standing::InStep(revision)) => {
                    self.journal.note(&change.path, change.bytes.as_deref().unwrap_or_default(), &revision);
                }
                Some(Standing::Waits(mode)) => wanted.push((*change, mode)),
                Some(Standing::Ahead) | None => {}
            }
        }
        let mut clashes = Vec::new();
        for (change, bytes) in self.carry("pointers", wanted, pushed)? {
            match self.remote.get(&change.path)? {
                Some(found) if found.bytes == bytes => {
                    self.journal.note(&change.path, &bytes, &found.revision);
                }
                found => clashes.push(Clash {
                    path: change.path.to_string(),
                    ours: sha256_hex(&bytes),
                    theirs: found.map_or_else(|| "none".to_owned(), |found| sha256_hex(&found.bytes)),
                }),
            }
        }
        if clashes.is_empty() { Ok(()) } else { Err(OutboxError::Conflict { clashes }) }
    }

    /// Records of runs. Two machines that made the same run keep the record of the first, unless only
    /// the second one's is of a completed run.
    fn carry_records(&mut self, changes: &[&Change], pushed: &mut Pushed) -> Result<()> {
        let last_seen = |change: &Change| match self.journal.get(&change.path) {
            Some(known) => PutMode::IfRevision(Revision::new(known.revision.clone())),
            None => PutMode::Create,
        };
        let wanted = changes.iter().map(|change| (*change, last_seen(change))).collect();
        for (change, bytes) in self.carry("records", wanted, pushed)? {
            let path = &change.path;
            let found = self.remote.get(path)?;
            let is_complete = |bytes: &[u8]| {
                from_bytes::<Run>(path, bytes).is_ok_and(|run| run.exit_status == ExitStatus::Complete)
            };
            match found {
                Some(found) if found.bytes == bytes || is_complete(&found.bytes) || !is_complete(&bytes) => {
                    if found.bytes != bytes {
                        self.local.put(path, &found.bytes, PutMode::Overwrite)?;
                    }
                    self.journal.note(path, &found.bytes, &found.revision);
                }
                found => {
                    let mode = found.map_or(PutMode::Create, |found| PutMode::IfRevision(found.revision));
                    let revision = self.remote.put(path, &bytes, mode)?;
                    pushed.files += 1;
                    pushed.bytes += bytes.len() as u64;
                    self.journal.note(path, &bytes, &revision);
                }
            }
        }
        Ok(())
    }

    /// What an operator said or a trader did here, unless it went on otherwise there meanwhile: that
    /// concerns no run, and stops none.
    fn carry_said(&mut self, changes: &[&Change], pushed: &mut Pushed) -> Result<()> {
        for change in changes {
            let ours = change.bytes.as_deref().unwrap_or_default();
            let mode = match (self.journal.get(&change.path), self.remote.get(&change.path)?) {
                (_, None) => PutMode::Create,
                (_, Some(found)) if found.bytes == ours => {
                    self.journal.note(&change.path, ours, &found.revision);
                    continue;
                }
                (_, Some(found)) if change.kind == Kind::Trades && begins_with_lines(ours, &found.bytes) => {
                    PutMode::IfRevision(found.revision)
                }
                (Some(known), Some(found)) if known.sha256 == sha256_hex(&found.bytes) => {
                    PutMode::IfRevision(found.revision)
                }
                _ => {
                    tracing::warn!(path = %change.path, "it went on otherwise in the remote; not carried");
                    continue;
                }
            };
            self.carry("records", vec![(*change, mode)], pushed)?;
        }
        Ok(())
    }
}
