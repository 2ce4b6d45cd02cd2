//! A store as its writer left it when it died: read without opening it, so that nothing is swept,
//! locked or repaired by looking.

use huracan_core::words::Symbol;
use huracan_jobs::{Event, Ledger, Selector, Status};
use huracan_store::{
    MemoryStore, PutMode, Store as _, StoreError, StorePath, bank, champions, encoder, meta_learner, models,
    promotions, roster, runs, sha256_hex, trials,
};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// The objects of a dead store, as a store of their own.
#[derive(Default)]
pub struct Snapshot {
    store: MemoryStore,
    paths: Vec<StorePath>,
    acknowledged: BTreeMap<String, String>,
    /// Jobs that were done more than once, as the ledger remembers it.
    repeated: Vec<String>,
    /// Jobs that were done and then done again, because pieces of their results were gone.
    made_again: Vec<String>,
    /// Temporary files beside the objects.
    pub temporaries: u64,
}

impl Snapshot {
    /// Reads a store's folder; one that is not there is empty.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn take(folder: &Path) -> Result<Snapshot, String> {
        let (store, mut temporaries) = (MemoryStore::default(), 0);
        if folder.exists() {
            walk(folder, folder, &store, &mut temporaries)?;
        }
        let mut snapshot = Snapshot { temporaries, ..Snapshot::of(&store)? };
        snapshot.read_ledger(folder)?;
        Ok(snapshot)
    }

    /// What the ledger of jobs has said is done, from a copy: a dead ledger is recovered by being opened.
    fn read_ledger(&mut self, folder: &Path) -> Result<(), String> {
        let ledger = folder.join(".huracan/ledger.sqlite");
        if !ledger.exists() {
            return Ok(());
        }
        let failed = |error: &dyn std::fmt::Display| format!("the ledger: {error}");
        static COPIES: AtomicU64 = AtomicU64::new(0);
        let number = COPIES.fetch_add(1, Ordering::Relaxed);
        let copy = std::env::temp_dir().join(format!("huracan-ledger-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&copy).map_err(|error| failed(&error))?;
        for suffix in ["", "-wal"] {
            let name = format!("ledger.sqlite{suffix}");
            let from = folder.join(".huracan").join(&name);
            if from.exists() {
                std::fs::copy(from, copy.join(&name)).map_err(|error| failed(&error))?;
            }
        }
        let read = || -> Result<_, huracan_jobs::Error> {
            let ledger = Ledger::open(&copy.join("ledger.sqlite"))?;
            let done = ledger.jobs(&Selector::all().status(Status::Completed))?;
            let mut repeats = Vec::new();
            for run in ledger.runs()? {
                repeats.extend(ledger.verify_exactly_once(&run.run)?);
            }
            let mut made_again = Vec::new();
            for row in &done {
                let (_, history) = ledger.job(&row.id)?;
                if history.iter().any(|line| line.event == Event::Reset) {
                    made_again.push(format!("job {} was done again", row.id));
                }
            }
            Ok((done, repeats, made_again))
        };
        let read = read();
        let _ = std::fs::remove_dir_all(&copy);
        let (done, repeats, made_again) = read.map_err(|error| failed(&error))?;
        for row in done {
            self.acknowledged.insert(format!("job {}", row.id), row.digest.unwrap_or_default());
        }
        self.made_again = made_again;
        self.repeated = repeats.iter().map(|repeat| format!("job {}", repeat.job)).collect();
        Ok(())
    }

    /// The objects of a store in memory.
    ///
    /// # Errors
    /// When it cannot be listed.
    pub fn of(store: &MemoryStore) -> Result<Snapshot, String> {
        let entries = store.list(None).map_err(|error| error.to_string())?;
        let paths = entries.into_iter().map(|entry| entry.path).collect();
        let mut snapshot = Snapshot { store: store.clone(), paths, ..Snapshot::default() };
        snapshot.acknowledged = snapshot.acknowledged();
        Ok(snapshot)
    }

    fn bytes(&self, path: &StorePath) -> Vec<u8> {
        self.store.get(path).ok().flatten().map_or_else(Vec::new, |object| object.bytes)
    }

    fn folders_with(&self, file: &str, top: &[&str]) -> Vec<StorePath> {
        let is_in = |path: &StorePath| top.iter().any(|top| path.as_str().starts_with(&format!("{top}/")));
        let folder = |path: &StorePath| StorePath::new(path.as_str().strip_suffix(&format!("/{file}"))?).ok();
        self.paths.iter().filter(|path| is_in(path)).filter_map(folder).collect()
    }

    /// What the store has said is done, by name, with the digest of what was done: it may neither go
    /// nor change. Model folders with a manifest, encoders with a card, pointers, and the lines of the
    /// chained logs. (Whatever else keeps an account of finished work belongs here too.)
    fn acknowledged(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        let finished = [
            self.folders_with("manifest.json", &["models", "challengers"]),
            self.folders_with("shared_encoder.json", &["meta/encoders"]),
        ];
        for folder in finished.iter().flatten() {
            for path in self.paths.iter().filter(|path| path.is_below(Some(folder))) {
                all.insert(path.to_string(), sha256_hex(&self.bytes(path)));
            }
        }
        for log in ["champions/promotions.jsonl", "champions/trials.jsonl"] {
            let bytes = StorePath::new(log).map_or_else(|_| Vec::new(), |path| self.bytes(&path));
            for (number, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
                all.insert(format!("{log} line {}", number + 1), sha256_hex(line));
            }
        }
        all
    }

    /// Jobs that were done more than once because pieces of their results were gone.
    pub fn made_again(&self) -> Vec<String> {
        self.made_again.clone()
    }

    /// Acknowledged work of an earlier look that is not there any more, or not as it was.
    pub fn lost_since(&self, before: &Snapshot) -> Vec<String> {
        let is_lost = |(name, digest): &(&String, &String)| self.acknowledged.get(*name) != Some(*digest);
        let pointers = before.paths.iter().filter(|path| path.as_str().starts_with("champions/"));
        let gone = pointers.filter(|path| !self.paths.contains(path)).map(|path| path.to_string());
        let lost = before.acknowledged.iter().filter(is_lost).map(|(name, _)| name.clone());
        lost.chain(gone).collect()
    }

    /// Work that is there twice: a second folder of a coin and day, a run under two names, a line, a
    /// rank.
    pub fn duplicated(&self) -> Vec<String> {
        let mut all = Vec::new();
        let mut twice = |what: &str, names: Vec<String>| {
            let mut seen = std::collections::BTreeSet::new();
            all.extend(names.into_iter().filter(|n| !seen.insert(n.clone())).map(|n| format!("{what} {n}")));
        };
        let day = |folder: StorePath| {
            let (coin, name) = folder.as_str().rsplit_once('/').unwrap_or_default();
            format!("{coin}/{}", name.split('.').next().unwrap_or_default())
        };
        let folders = self.folders_with("manifest.json", &["models"]);
        twice("models of one coin and day:", folders.into_iter().map(day).collect());
        let data_end = |folder: StorePath| folder.name().split('-').next().unwrap_or_default().to_owned();
        let records = self.folders_with("run.json", &["runs"]);
        twice("records of one run:", records.into_iter().map(data_end).collect());
        let log = promotions::read(&self.store).unwrap_or_default();
        let line = |e: &huracan_store::formats::promotion::PromotionEvent| {
            format!("{} {:?} {:?} {:?}", e.symbol, e.event, e.at, e.after_model_path)
        };
        twice("line of promotions.jsonl:", log.iter().map(|l| line(&l.event)).collect());
        let tried = trials::read(&self.store).unwrap_or_default();
        twice("line of trials.jsonl:", tried.into_iter().map(|l| l.run.run_id).collect());
        if let Ok(Some((roster, _))) = roster::read(&self.store) {
            twice("rank of", roster.symbols.iter().map(|l| l.symbol.to_string()).collect());
        }
        all.extend(self.repeated.iter().cloned());
        all
    }

    /// Everything that names something missing or partial, or cannot be read itself.
    pub fn dangling(&self) -> Vec<String> {
        let mut all = Vec::new();
        let mut note = |what: String, found: Result<(), String>| {
            all.extend(found.err().map(|reason| format!("{what}: {reason}")));
        };
        let coins: Vec<Symbol> = champions::list(&self.store).unwrap_or_default();
        for symbol in &coins {
            note(format!("champions/{symbol}.json"), self.pointer(symbol));
        }
        note("champions/roster.json".to_owned(), self.roster());
        for folder in self.folders_with("manifest.json", &["models", "challengers"]) {
            note(folder.to_string(), nothing(models::read_model(&self.store, &folder)));
        }
        note("promotions.jsonl".to_owned(), self.log());
        note("trials.jsonl".to_owned(), nothing(trials::read(&self.store)));
        note("encoder in force".to_owned(), nothing(encoder::in_force(&self.store)));
        note("feature bank".to_owned(), nothing(bank::read(&self.store)));
        note("meta learner".to_owned(), nothing(meta_learner::read(&self.store)));
        for id in runs::list(&self.store).unwrap_or_default() {
            note(format!("runs/{id}"), nothing(runs::read(&self.store, &id)));
        }
        // Whatever is under a final name is whole, whether a pointer knows it or not; but for folders that
        // were never finished: a machine that goes down may tear those.
        let sealed = self.folders_with("manifest.json", &["models", "challengers"]);
        let is_whole = |path: &StorePath| {
            let of_a_model = ["models/", "challengers/"].iter().any(|top| path.as_str().starts_with(top));
            !of_a_model || sealed.iter().any(|folder| path.is_below(Some(folder)))
        };
        for path in self.paths.iter().filter(|path| path.name().ends_with(".json") && is_whole(path)) {
            let whole = serde_json::from_slice::<Value>(&self.bytes(path));
            note(path.to_string(), whole.map(|_| ()).map_err(|error| error.to_string()));
        }
        all
    }

    fn pointer(&self, symbol: &Symbol) -> Result<(), String> {
        let found = champions::read(&self.store, symbol).map_err(|error| error.to_string())?;
        let (champion, _) = found.ok_or("listed and not there")?;
        self.model(&champion.model_path, &champion.model_sha256, champion.encoder_id.as_deref())
    }

    /// A line names the champion, or the one before it while a later run moves the pointers.
    fn roster(&self) -> Result<(), String> {
        let found = roster::read(&self.store).map_err(|error| error.to_string())?;
        for line in found.map_or_else(Vec::new, |(roster, _)| roster.symbols) {
            self.model(&line.model_path, &line.model_sha256, line.encoder_id.as_deref())?;
            let pointer = champions::read(&self.store, &line.symbol).map_err(|error| error.to_string())?;
            let (champion, _) =
                pointer.ok_or_else(|| format!("{} has a rank and no champion", line.symbol))?;
            let before = champion.previous.map(|before| before.model_path);
            if line.model_path != champion.model_path && before.as_ref() != Some(&line.model_path) {
                return Err(format!(
                    "{} is neither the champion of {} nor was it",
                    line.model_path, line.symbol
                ));
            }
        }
        Ok(())
    }

    fn log(&self) -> Result<(), String> {
        for line in promotions::read(&self.store).map_err(|error| error.to_string())? {
            if let Some(path) = line.event.after_model_path {
                let folder = StorePath::new(path).map_err(|error| error.to_string())?;
                nothing(models::read_model(&self.store, &folder))?;
            }
        }
        Ok(())
    }

    fn model(&self, path: &str, sha256: &str, encoder_id: Option<&str>) -> Result<(), String> {
        let folder = StorePath::new(path).map_err(|error| error.to_string())?;
        let model = models::read_model(&self.store, &folder).map_err(|error| error.to_string())?;
        if model.manifest.files["model.bin"].sha256 != sha256 {
            return Err(format!("{path} holds another model than {sha256}"));
        }
        encoder_id.map_or(Ok(()), |id| nothing(encoder::load(&self.store, id)))
    }
}

/// Copies the objects below `folder` and counts the temporaries between them.
fn walk(root: &Path, folder: &Path, store: &MemoryStore, temporaries: &mut u64) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        if name.starts_with('.') {
            *temporaries += u64::from(name.starts_with(".tmp-"));
        } else if path.is_dir() {
            walk(root, &path, store, temporaries)?;
        } else {
            let text = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            let object = StorePath::new(text).map_err(|error| error.to_string())?;
            let bytes = std::fs::read(&path).map_err(failed)?;
            store.put(&object, &bytes, PutMode::Create).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

fn nothing<T>(found: Result<T, StoreError>) -> Result<(), String> {
    found.map(|_| ()).map_err(|error| error.to_string())
}

/// Processor seconds of the latest run that a store holds, by its own profile.
pub fn cpu_s(store: &Path) -> Option<f64> {
    let runs = std::fs::read_dir(store.join("runs")).ok()?;
    let run = runs.filter_map(|entry| Some(entry.ok()?.path())).max()?;
    let profile: Value = serde_json::from_slice(&std::fs::read(run.join("profile.json")).ok()?).ok()?;
    profile["cpu_s"].as_f64()
}
