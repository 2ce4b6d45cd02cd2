//! Whether a store is what its manifests say, and a folder what its remote has.
//!
//! A check that fails never hides the next: every file that can still be read is read.

use super::kind::{Kind, folder_of, seal_of};
use huracan_store::formats::manifest::ARTIFACTS;
use huracan_store::{
    Result, Store, StoreError, StorePath, bank, champions, encoder, meta_learner, models, promotions, roster,
    runs, sha256_hex, trials,
};
use std::collections::BTreeSet;

/// What is wrong with a file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Problem {
    /// It must be there and is not.
    Missing,
    /// Its bytes are not what they must be.
    Differs,
    /// It cannot be read, or breaks its format's promises.
    Unreadable,
    /// It points at something that is not whole.
    Orphan,
    /// A folder that was never sealed: unfinished work.
    Partial,
}

impl Problem {
    /// Stable code; never reworded.
    pub fn code(self) -> &'static str {
        match self {
            Problem::Missing => "missing",
            Problem::Differs => "differs",
            Problem::Unreadable => "unreadable",
            Problem::Orphan => "orphan",
            Problem::Partial => "partial",
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Finding {
    /// The file or folder.
    pub path: String,
    /// What is wrong with it.
    pub problem: Problem,
    /// What was found and what was expected.
    pub detail: String,
}

/// What a check came to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Checked {
    /// Files and folders that were looked at.
    pub looked_at: usize,
    /// What is wrong, sorted by path.
    pub findings: Vec<Finding>,
}

impl Checked {
    fn wrong(&mut self, path: impl ToString, problem: Problem, detail: impl ToString) {
        self.findings.push(Finding { path: path.to_string(), problem, detail: detail.to_string() });
    }

    /// Notes why something could not be read.
    fn read<T>(&mut self, path: &str, found: Result<T>) -> Option<T> {
        self.looked_at += 1;
        match found {
            Ok(found) => Some(found),
            Err(error) => {
                let problem = match &error {
                    StoreError::NotFound { .. } => Problem::Missing,
                    _ => Problem::Unreadable,
                };
                self.wrong(path, problem, error);
                None
            }
        }
    }

    fn sorted(mut self) -> Checked {
        self.findings.sort();
        self.findings.dedup();
        self
    }
}

/// Checks a store by itself: every sealed folder against its manifest, every pointer, roster line and
/// the encoder in force against what they name, both logs against their chains, every document against
/// its format. `watch` is told how many of how many folders are done.
///
/// # Errors
/// When the store cannot be listed. Everything else is a finding.
pub fn check_store(store: &dyn Store, watch: &dyn Fn(usize, usize)) -> Result<Checked> {
    let paths: BTreeSet<StorePath> = store.list(None)?.into_iter().map(|entry| entry.path).collect();
    let sealed = |path: &&StorePath| Kind::of(path).is_some_and(Kind::is_sealed);
    let folders: BTreeSet<StorePath> = paths.iter().filter(sealed).filter_map(folder_of).collect();
    let mut checked = Checked::default();
    let mut whole: BTreeSet<&StorePath> = BTreeSet::new();
    for (done, folder) in folders.iter().enumerate() {
        watch(done, folders.len());
        checked.looked_at += 1;
        if !paths.contains(&seal_of(folder)?) {
            let detail = "it has no manifest, expected one: it was never finished; the next run finishes it \
                          and huracan store gc removes it";
            checked.wrong(folder, Problem::Partial, detail);
        } else if is_whole(&mut checked, store, folder) {
            whole.insert(folder);
        }
    }
    watch(folders.len(), folders.len());
    check_pointers(&mut checked, store, &whole)?;
    if let Some(Some((roster, _))) = checked.read("champions/roster.json", roster::read(store)) {
        for line in &roster.symbols {
            let found = champions::read(store, &line.symbol).ok().flatten().map(|(c, _)| c.model_path);
            if found.as_ref() != Some(&line.model_path) {
                let detail = format!(
                    "its line of {} names {}, the champion is {}",
                    line.symbol,
                    line.model_path,
                    found.as_deref().unwrap_or("none")
                );
                checked.wrong("champions/roster.json", Problem::Orphan, detail);
            }
        }
    }
    checked.read("champions/promotions.jsonl", promotions::read(store));
    checked.read("champions/trials.jsonl", trials::read(store));
    checked.read("meta/shared_encoder.json", encoder::in_force(store));
    checked.read("meta/feature_bank.json", bank::read(store));
    checked.read("meta/meta_learner.json", meta_learner::read(store));
    if let Some(ids) = checked.read("runs", runs::list(store)) {
        for id in ids {
            checked.read(&format!("runs/{id}/run.json"), runs::read(store, &id));
        }
    }
    Ok(checked.sorted())
}

/// Whether a sealed folder is what its seal says; each file that is not is a finding.
fn is_whole(checked: &mut Checked, store: &dyn Store, folder: &StorePath) -> bool {
    if let Some(id) = folder.as_str().strip_prefix("meta/encoders/") {
        return checked.read(folder.as_str(), encoder::load(store, id)).is_some();
    }
    let manifest_path = format!("{folder}/manifest.json");
    let Some(manifest) = checked.read(&manifest_path, models::read_manifest(store, folder)) else {
        return false;
    };
    let before = checked.findings.len();
    for name in ARTIFACTS {
        let path = format!("{folder}/{name}");
        let found = folder.join(name).and_then(|path| store.get(&path));
        let Some(found) = checked.read(&path, found) else { continue };
        let Some(found) = found else {
            checked.wrong(&path, Problem::Missing, "nothing is there, expected it as in the manifest");
            continue;
        };
        let (found, size) = (sha256_hex(&found.bytes), found.bytes.len());
        let expected = &manifest.files[name];
        if found != expected.sha256 {
            let detail = format!(
                "{size} bytes of SHA-256 {found}, its manifest says {} bytes of {}",
                expected.size_bytes, expected.sha256
            );
            checked.wrong(&path, Problem::Differs, detail);
        }
    }
    let is_sound = checked.findings.len() == before;
    is_sound && checked.read(folder.as_str(), models::read_model(store, folder)).is_some()
}

fn check_pointers(checked: &mut Checked, store: &dyn Store, whole: &BTreeSet<&StorePath>) -> Result<()> {
    for symbol in champions::list(store)? {
        let path = format!("champions/{symbol}.json");
        let Some(Some((champion, _))) = checked.read(&path, champions::read(store, &symbol)) else {
            continue;
        };
        let mut named = vec![("its model", champion.model_path.clone())];
        let encoder = |id: &String| format!("meta/encoders/{id}");
        named.extend(champion.encoder_id.as_ref().map(|id| ("its encoder", encoder(id))));
        if let Some(before) = &champion.previous {
            named.push(("the champion before", before.model_path.clone()));
            named.extend(before.encoder_id.as_ref().map(|id| ("the encoder before", encoder(id))));
        }
        for (what, folder) in named {
            if !StorePath::new(folder.as_str()).is_ok_and(|folder| whole.contains(&folder)) {
                checked.wrong(&path, Problem::Orphan, format!("{what}, {folder}, is not whole"));
            }
        }
    }
    Ok(())
}

/// Compares a folder with its remote, file by file: whatever is here must be there in the same bytes.
/// What is there alone is what others have published and nobody here has needed.
///
/// # Errors
/// When one of the two cannot be listed or read.
pub fn compare(local: &dyn Store, remote: &dyn Store, watch: &dyn Fn(usize, usize)) -> Result<Checked> {
    let carried = |store: &dyn Store| -> Result<Vec<StorePath>> {
        let is_carried = |path: &StorePath| Kind::of(path).is_some_and(|kind| kind != Kind::Heartbeat);
        Ok(store.list(None)?.into_iter().map(|entry| entry.path).filter(is_carried).collect())
    };
    let (ours, theirs) = (carried(local)?, carried(remote)?);
    let there: BTreeSet<&StorePath> = theirs.iter().collect();
    let here: BTreeSet<&StorePath> = ours.iter().collect();
    let mut checked = Checked::default();
    for (done, path) in ours.iter().enumerate() {
        watch(done, ours.len());
        let kind = Kind::of(path);
        let is_unfinished = kind.is_some_and(Kind::is_sealed)
            && folder_of(path)
                .and_then(|folder| seal_of(&folder).ok())
                .is_none_or(|seal| !here.contains(&seal));
        if is_unfinished {
            continue;
        }
        checked.looked_at += 1;
        if !there.contains(path) {
            checked.wrong(
                path,
                Problem::Missing,
                "it is here and not there, expected both; carry it with \
                                                   huracan store sync",
            );
            continue;
        }
        let (ours, theirs) = (local.get(path)?, remote.get(path)?);
        let hash = |object: Option<huracan_store::Object>| {
            object.map_or_else(|| "none".to_owned(), |object| sha256_hex(&object.bytes))
        };
        let (ours, theirs) = (hash(ours), hash(theirs));
        if ours != theirs {
            let detail = format!("SHA-256 {ours} here and {theirs} there, expected the same");
            checked.wrong(path, Problem::Differs, detail);
        }
    }
    for path in theirs.iter().filter(|path| !here.contains(path)) {
        if Kind::of(path).is_some_and(Kind::is_decided) {
            checked.wrong(
                path,
                Problem::Missing,
                "it is there and not here, expected both; bring it with \
                                                   huracan store sync",
            );
        }
    }
    watch(ours.len(), ours.len());
    Ok(checked.sorted())
}
