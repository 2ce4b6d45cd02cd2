//! Bringing what others have published: everything a pointer can reach, before the pointer.

use super::error::{Clash, OutboxError, Result};
use super::kind::{Kind, folder_of, seal_of};
use super::mirror::{Mirror, begins_with_lines};
use huracan_store::formats::champion::Champion;
use huracan_store::formats::encoder::EncoderCard;
use huracan_store::formats::from_bytes;
use huracan_store::formats::run::{ExitStatus, Run};
use huracan_store::{
    MemoryStore, Object, PutMode, Revision, Store as _, StoreError, StorePath, encoder, models, runs,
    sha256_hex, trials,
};
use std::collections::{BTreeMap, BTreeSet};

/// The files of a folder as they were brought, or its path and what keeps it from being used.
type Brought = std::result::Result<Vec<(StorePath, Vec<u8>, Revision)>, (String, String)>;

const TRIALS: &str = "champions/trials.jsonl";

/// What happens where both sides have changed the same thing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnClash {
    /// Nothing is brought, and the files are named.
    Refuse,
    /// Every decision that was made here and not carried is given up for what is published, and the runs
    /// that made them count as interrupted, so that they are made again.
    TakeTheirs,
}

/// What was brought.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pulled {
    /// Files written here.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Decisions made here that were given up.
    pub given_up: Vec<Clash>,
    /// What is published and cannot be used, each with the reason; it was left as it was here.
    pub unusable: Vec<(String, String)>,
}

/// A document as it is here and there.
struct Pair {
    kind: Kind,
    path: StorePath,
    ours: Option<Object>,
    theirs: Option<Object>,
}

impl Pair {
    fn clash(&self) -> Clash {
        let hash = |object: &Option<Object>| {
            object.as_ref().map_or_else(|| "none".to_owned(), |object| sha256_hex(&object.bytes))
        };
        Clash { path: self.path.to_string(), ours: hash(&self.ours), theirs: hash(&self.theirs) }
    }
}

/// What is to become of a document here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Both sides have it.
    Same,
    /// It stays, to be pushed or because nothing is there.
    Stays,
    /// Theirs replaces it.
    Taken,
    /// Both sides have changed it.
    Clashes,
}

impl Mirror<'_> {
    /// Brings what others have published since the last time: pointers, roster, promotions and trials,
    /// feature bank, meta learner, overrides, records of runs, and every model and encoder that a
    /// pointer needs, before the pointer. What was changed here only stays.
    ///
    /// # Errors
    /// `Conflict` where both sides changed the same thing and `on_clash` refuses: nothing is written
    /// then. `Store` when one of the two refuses. After an error the same call goes on where this one
    /// stopped.
    pub fn pull(&mut self, on_clash: OnClash) -> Result<Pulled> {
        let local = self.local;
        let _claimed = local.lock_run(&self.owner)?;
        let mut pulled = Pulled::default();
        let mut ended = self.rebuild().and_then(|()| self.pull_changes(on_clash, &mut pulled));
        if ended.is_ok() && !pulled.unusable.is_empty() {
            // Somebody may have been carrying while this looked: a pointer newer than the listing.
            pulled.unusable.clear();
            ended = self.pull_changes(on_clash, &mut pulled);
        }
        // What was brought is noted whatever stopped the rest; the first error is the one told.
        let saved = self.journal.save();
        ended.and(saved).map(|()| pulled)
    }

    fn pull_changes(&mut self, on_clash: OnClash, pulled: &mut Pulled) -> Result<()> {
        let listed: BTreeSet<StorePath> =
            self.remote.list(None)?.into_iter().map(|entry| entry.path).collect();
        let here: BTreeSet<StorePath> = self.local.list(None)?.into_iter().map(|entry| entry.path).collect();
        let pairs = self.pairs(&listed, &here)?;
        let mut fates: Vec<Fate> = pairs.iter().map(|pair| self.fate(pair)).collect();
        let clashes: Vec<Clash> = pairs
            .iter()
            .zip(&fates)
            .filter(|(_, fate)| **fate == Fate::Clashes)
            .map(|(pair, _)| pair.clash())
            .collect();
        if !clashes.is_empty() && on_clash == OnClash::Refuse {
            return Err(OutboxError::Conflict { clashes });
        }
        if !clashes.is_empty() {
            self.give_up(&pairs, &mut fates, pulled)?;
        }
        self.bring(&pairs, &fates, &listed, pulled)
    }

    /// Every document that may have changed, as it is here and there, in the order of its kind.
    fn pairs(&self, listed: &BTreeSet<StorePath>, here: &BTreeSet<StorePath>) -> Result<Vec<Pair>> {
        let may_differ = |path: &&StorePath| match Kind::of(path) {
            Some(Kind::Record) => {
                path.name() == "run.json" && !(here.contains(path) && self.journal.get(path).is_some())
            }
            Some(Kind::Seal) => here.contains(path) && self.journal.get(path).is_none(),
            Some(Kind::Trades) => here.contains(path),
            Some(Kind::Piece | Kind::Heartbeat) | None => false,
            Some(_) => true,
        };
        let there: Vec<StorePath> = listed.iter().filter(may_differ).cloned().collect();
        let mut pairs = Vec::new();
        for (path, theirs) in self.fetch("look", &there)? {
            let Some(kind) = Kind::of(&path) else { continue };
            let ours = self.local.get(&path)?;
            pairs.push(Pair { kind, path, ours, theirs });
        }
        for path in here.iter().filter(|path| !listed.contains(path)) {
            if let Some(kind) = Kind::of(path).filter(|kind| kind.is_decided()) {
                pairs.push(Pair { kind, path: path.clone(), ours: self.local.get(path)?, theirs: None });
            }
        }
        pairs.sort_by(|a, b| (a.kind, &a.path).cmp(&(b.kind, &b.path)));
        Ok(pairs)
    }

    fn fate(&self, pair: &Pair) -> Fate {
        let (ours, theirs) = match (&pair.ours, &pair.theirs) {
            (_, None) => return Fate::Stays,
            (None, Some(_)) => return Fate::Taken,
            (Some(ours), Some(theirs)) if ours.bytes == theirs.bytes => return Fate::Same,
            (Some(ours), Some(theirs)) => (&ours.bytes, &theirs.bytes),
        };
        let is_log = matches!(pair.kind, Kind::Log | Kind::Trades);
        if is_log && begins_with_lines(theirs, ours) {
            return Fate::Taken;
        }
        if is_log && begins_with_lines(ours, theirs) {
            return Fate::Stays;
        }
        let base = self.journal.get(&pair.path).map(|known| known.sha256.as_str());
        let is_base = |bytes: &[u8]| Some(sha256_hex(bytes).as_str()) == base;
        match pair.kind {
            _ if is_base(theirs) => Fate::Stays,
            _ if is_base(ours) => Fate::Taken,
            Kind::Overrides => Fate::Taken,
            Kind::Record | Kind::Trades => Fate::Stays,
            _ => Fate::Clashes,
        }
    }

    /// Gives up what was decided here and not carried: the runs that decided it count as interrupted,
    /// pointers that are nowhere else go, folders that clash go with the pointers that name them, and
    /// everything else decided is to be taken.
    fn give_up(&mut self, pairs: &[Pair], fates: &mut [Fate], pulled: &mut Pulled) -> Result<()> {
        for id in runs::list(self.local)? {
            let path = StorePath::new(format!("runs/{id}/run.json"))?;
            let Some(object) = self.local.get(&path)? else { continue };
            let is_carried =
                self.journal.get(&path).is_some_and(|known| known.sha256 == sha256_hex(&object.bytes));
            if !is_carried
                && let Ok(run) = from_bytes::<Run>(&path, &object.bytes)
                && run.exit_status == ExitStatus::Complete
            {
                runs::write(self.local, &Run { exit_status: ExitStatus::Interrupted, ..run })?;
            }
        }
        let clashing: BTreeSet<StorePath> = pairs
            .iter()
            .zip(fates.iter())
            .filter(|(pair, fate)| pair.kind == Kind::Seal && **fate == Fate::Clashes)
            .filter_map(|(pair, _)| folder_of(&pair.path))
            .collect();
        for (pair, fate) in pairs.iter().zip(fates.iter_mut()) {
            if *fate == Fate::Same || !(pair.kind.is_made_again() || *fate == Fate::Clashes) {
                continue;
            }
            let is_ours_alone = pair.theirs.is_none();
            if pair.kind == Kind::Pointer {
                let names = |object: &Object| {
                    from_bytes::<Champion>(&pair.path, &object.bytes)
                        .ok()
                        .and_then(|champion| StorePath::new(champion.model_path).ok())
                };
                let named = pair.ours.as_ref().and_then(names);
                if is_ours_alone || named.is_some_and(|folder| clashing.contains(&folder)) {
                    self.local.delete(&pair.path)?;
                }
            } else if is_ours_alone && pair.ours.is_some() {
                self.local.delete(&pair.path)?;
            }
            if pair.ours.is_some() {
                pulled.given_up.push(pair.clash());
            }
            *fate = if is_ours_alone { Fate::Stays } else { Fate::Taken };
        }
        for folder in &clashing {
            self.local.delete(&seal_of(folder)?)?;
            for entry in self.local.list(Some(folder))? {
                self.local.delete(&entry.path)?;
            }
        }
        Ok(())
    }

    /// Brings folders, then documents, in the order of their kinds.
    fn bring(
        &mut self,
        pairs: &[Pair],
        fates: &[Fate],
        listed: &BTreeSet<StorePath>,
        pulled: &mut Pulled,
    ) -> Result<()> {
        let mut reached: BTreeSet<StorePath> = BTreeSet::new();
        // What a document cannot do without, by its path.
        let mut needs: BTreeMap<&StorePath, Vec<StorePath>> = BTreeMap::new();
        for (pair, fate) in pairs.iter().zip(fates) {
            let is_taken = *fate == Fate::Taken;
            let Some(object) = (if is_taken { &pair.theirs } else { &pair.ours }) else { continue };
            let (needed, wished) = match needed(pair.kind, &pair.path, &object.bytes) {
                Ok(found) => found,
                Err(error) if is_taken => {
                    pulled.unusable.push((pair.path.to_string(), error.to_string()));
                    needs.insert(&pair.path, vec![pair.path.clone()]);
                    continue;
                }
                // What is broken here is for `check` to tell.
                Err(_) => continue,
            };
            reached.extend(needed.iter().chain(&wished).cloned());
            if is_taken {
                needs.insert(&pair.path, needed);
            }
        }
        self.forget_what_went(&reached, listed);
        for pair in pairs.iter().zip(fates).filter(|(pair, f)| pair.kind == Kind::Seal && **f == Fate::Taken)
        {
            reached.extend(folder_of(&pair.0.path));
        }
        let missing = |folder: &&StorePath| -> Result<bool> {
            let seal = seal_of(folder)?;
            Ok(listed.contains(&seal) && self.local.get(&seal)?.is_none())
        };
        let mut wanted = Vec::new();
        for folder in &reached {
            if missing(&folder)? {
                wanted.push(folder.clone());
            }
        }
        let brought = self.each("folders", &wanted, |folder| self.bring_folder(folder, listed))?;
        for files in brought {
            match files {
                Ok(files) => {
                    for (path, bytes, revision) in files {
                        pulled.files += 1;
                        pulled.bytes += bytes.len() as u64;
                        self.journal.note(&path, &bytes, &revision);
                    }
                }
                Err((folder, reason)) => pulled.unusable.push((folder, reason)),
            }
        }
        self.journal.save()?;
        for (pair, fate) in pairs.iter().zip(fates) {
            let Some(theirs) = &pair.theirs else { continue };
            if pair.kind == Kind::Seal {
                // Brought with its folder above.
                if *fate == Fate::Same {
                    self.journal.note(&pair.path, &theirs.bytes, &theirs.revision);
                }
                continue;
            }
            match fate {
                Fate::Same => self.journal.note(&pair.path, &theirs.bytes, &theirs.revision),
                Fate::Stays | Fate::Clashes => {}
                Fate::Taken => {
                    let lacks =
                        needs.get(&pair.path).map(|needed| self.lacking(needed)).transpose()?.flatten();
                    if let Some(lacking) = lacks {
                        let reason = format!("it needs {lacking}, which is not whole in the remote");
                        if !pulled.unusable.iter().any(|(path, _)| path == pair.path.as_str()) {
                            pulled.unusable.push((pair.path.to_string(), reason));
                        }
                        continue;
                    }
                    self.replace(pair, theirs)?;
                    pulled.files += 1;
                    pulled.bytes += theirs.bytes.len() as u64;
                    self.journal.note(&pair.path, &theirs.bytes, &theirs.revision);
                }
            }
        }
        Ok(())
    }

    /// Writes theirs over exactly what was here when the pull looked.
    fn replace(&self, pair: &Pair, theirs: &Object) -> Result<()> {
        let seen = self.local.get(&pair.path)?;
        let mode = match (&pair.ours, &seen) {
            (_, None) => PutMode::Create,
            (Some(ours), Some(_)) => PutMode::IfRevision(ours.revision.clone()),
            (None, Some(found)) => {
                return Err(OutboxError::Store(StoreError::Stale {
                    path: pair.path.to_string(),
                    expected: "none".to_owned(),
                    found: found.revision.to_string(),
                }));
            }
        };
        let bytes = match &pair.ours {
            Some(ours) if pair.path.as_str() == TRIALS => {
                with_our_trials(&pair.path, &ours.bytes, &theirs.bytes)?
            }
            _ => theirs.bytes.clone(),
        };
        self.local.put(&pair.path, &bytes, mode)?;
        Ok(())
    }

    /// The first of these folders that is not whole here.
    fn lacking(&self, folders: &[StorePath]) -> Result<Option<StorePath>> {
        for folder in folders {
            let is_folder = folder.segments().count() == 3;
            if !is_folder || self.local.get(&seal_of(folder)?)?.is_none() {
                return Ok(Some(folder.clone()));
            }
        }
        Ok(None)
    }

    /// Brings a folder, its seal last, and reads it back; the inner error is of a folder that cannot be
    /// used.
    fn bring_folder(&self, folder: &StorePath, listed: &BTreeSet<StorePath>) -> Result<Brought> {
        let seal = seal_of(folder)?;
        let pieces = listed.iter().filter(|path| path.is_below(Some(folder)) && **path != seal);
        let mut files = Vec::new();
        for path in pieces.chain(std::iter::once(&seal)) {
            let Some(object) = self.remote.get(path)? else { continue };
            self.local.put(path, &object.bytes, PutMode::Overwrite)?;
            files.push((path.clone(), object.bytes, object.revision));
        }
        let read = match folder.as_str().strip_prefix("meta/encoders/") {
            Some(id) => encoder::load(self.local, id).map(|_| ()),
            None => models::read_model(self.local, folder).map(|_| ()),
        };
        match read {
            Ok(()) => Ok(Ok(files)),
            Err(error @ (StoreError::Corrupt { .. } | StoreError::NotFound { .. })) => {
                self.local.delete(&seal)?;
                Ok(Err((folder.to_string(), error.to_string())))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What both sides agreed on and is not there any more: a decision or what a pointer needs is carried
    /// again; the rest was removed because nothing reached it, and stays away.
    fn forget_what_went(&mut self, reached: &BTreeSet<StorePath>, listed: &BTreeSet<StorePath>) {
        let comes_back = |path: &&StorePath| match Kind::of(path) {
            Some(kind) if kind.is_sealed() => folder_of(path).is_some_and(|folder| reached.contains(&folder)),
            Some(kind) => kind != Kind::Record,
            None => true,
        };
        let gone: Vec<StorePath> =
            self.journal.paths().filter(|path| !listed.contains(path)).filter(comes_back).cloned().collect();
        for path in gone {
            self.journal.forget(&path);
        }
    }
}

/// Theirs, and after it what was tried here and is not in it: tried is tried, whoever published first.
fn with_our_trials(path: &StorePath, ours: &[u8], theirs: &[u8]) -> Result<Vec<u8>> {
    let (here, merged) = (MemoryStore::default(), MemoryStore::default());
    here.put(path, ours, PutMode::Create)?;
    merged.put(path, theirs, PutMode::Create)?;
    match trials::read(&here) {
        Ok(lines) => {
            for line in lines {
                trials::append(&merged, &line.run)?;
            }
        }
        // What is broken here is no record of anything.
        Err(StoreError::Corrupt { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(merged.get(path)?.map_or_else(|| theirs.to_vec(), |object| object.bytes))
}

/// The folders a document cannot do without, and those that are good to have.
fn needed(
    kind: Kind,
    path: &StorePath,
    bytes: &[u8],
) -> huracan_store::Result<(Vec<StorePath>, Vec<StorePath>)> {
    let encoder = |id: &String| StorePath::new(format!("meta/encoders/{id}"));
    match kind {
        Kind::Pointer => {
            let champion: Champion = from_bytes(path, bytes)?;
            let mut needed = vec![StorePath::new(champion.model_path)?];
            needed.extend(champion.encoder_id.as_ref().map(encoder).transpose()?);
            let mut wished = Vec::new();
            if let Some(before) = champion.previous {
                wished.push(StorePath::new(before.model_path)?);
                wished.extend(before.encoder_id.as_ref().map(encoder).transpose()?);
            }
            Ok((needed, wished))
        }
        Kind::InForce => {
            let card: EncoderCard = from_bytes(path, bytes)?;
            Ok((vec![encoder(&card.encoder_id)?], Vec::new()))
        }
        _ => Ok((Vec::new(), Vec::new())),
    }
}
