//! `huracan verify`: every file a champion leads to, the candles it was trained on, and with
//! `--retrain` the same models made once more.

use super::train::{open, run};
use super::{Session, demo, published, settings};
use crate::cli::verify::{VerifyRequest, VerifyRow};
use crate::config::{self, Loaded, Sources};
use crate::failure::{Exit, Failure};
use huracan_core::words::Symbol;
use huracan_store::formats::manifest::{ARTIFACTS, InputFile};
use huracan_store::formats::roster::Roster;
use huracan_store::formats::run::{Run, RunSource, RunUniverse};
use huracan_store::{
    LocalStore, PutMode, Store as _, StoreError, StorePath, models, runs, sha256_hex, verify as walk,
};
use huracan_train::settings::Universe;
use huracan_train::source::{CandleSource as _, Entry, FolderSource, SynthSource};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

/// Checks stored results against their manifests, and by training again where asked.
///
/// # Errors
/// [`Exit::Store`] when the store cannot be read, [`Exit::Usage`] for a coin without a rank. A
/// result that does not verify is a row.
pub fn verify(request: &VerifyRequest, session: &Session) -> Result<Vec<VerifyRow>, Failure> {
    let store = open(&request.store)?;
    let roster = published::read(&store)?;
    let symbols = symbols(request, &roster)?;
    let candles = Candles::new(&store, request.candles.clone());
    let mut rows = Vec::new();
    session.observer.stage_started("verify", symbols.len() as u64);
    let began = std::time::Instant::now();
    for (done, symbol) in symbols.iter().enumerate() {
        if session.interrupted.load(Ordering::Relaxed) {
            return Err(Failure::new(Exit::Interrupted, "interrupted", "the verification was stopped"));
        }
        let hash = |input: &InputFile| candles.sha256(symbol, input);
        let report = walk::verify_symbol(&store, symbol, Some(&hash));
        rows.extend(report.rows.into_iter().map(|row| of_row(&symbol.to_string(), row)));
        session.observer.stage_advanced("verify", done as u64 + 1, &symbol.to_string());
    }
    session.observer.stage_finished("verify", began.elapsed().as_secs_f64());
    if request.names.is_none() {
        rows.extend(walk::verify_shared(&store).into_iter().map(|row| of_row("shared", row)));
    }
    if request.retrain {
        rows.extend(retrained(&store, request, &roster, &symbols, session)?);
    }
    Ok(rows)
}

fn of_row(subject: &str, row: walk::Row) -> VerifyRow {
    VerifyRow {
        subject: subject.to_owned(),
        what: row.check,
        ok: Some(row.ok),
        found: row.found,
        expected: row.expected,
    }
}

/// The coins to look at: one by name, or all that have a rank.
fn symbols(request: &VerifyRequest, roster: &Roster) -> Result<Vec<Symbol>, Failure> {
    let ranked: Vec<Symbol> = roster.symbols.iter().map(|line| line.symbol.0.clone()).collect();
    let Some(names) = &request.names else { return Ok(ranked) };
    match names.iter().find(|name| ranked.contains(name)) {
        Some(name) => Ok(vec![name.clone()]),
        None => {
            let wanted = names.first().map_or_else(String::new, Symbol::to_string);
            let message = format!("{wanted} has no rank in the roster of run {}", roster.run_id);
            Err(Failure::new(Exit::Usage, "unknown_symbol", message)
                .help("huracan why SYMBOL says whether it was skipped or failed"))
        }
    }
}

/// Where the candles of each run are now.
struct Candles<'a> {
    store: &'a LocalStore,
    moved_to: Option<PathBuf>,
    folders: std::cell::RefCell<BTreeMap<String, Result<PathBuf, String>>>,
    generated: std::cell::OnceCell<SynthSource>,
}

impl<'a> Candles<'a> {
    fn new(store: &'a LocalStore, moved_to: Option<PathBuf>) -> Candles<'a> {
        Candles { store, moved_to, folders: Default::default(), generated: Default::default() }
    }

    fn sha256(&self, symbol: &Symbol, input: &InputFile) -> Result<String, String> {
        if input.path.starts_with("synth/") {
            return self.generated(symbol);
        }
        let folder = match &self.moved_to {
            Some(folder) => folder.clone(),
            None => self.folder_of(symbol)?,
        };
        let path = folder.join(&input.path);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(sha256_hex(&bytes)),
            Err(error) => Err(format!("{}: {error}", path.display())),
        }
    }

    /// Bars of the demo are made again.
    fn generated(&self, symbol: &Symbol) -> Result<String, String> {
        let source = self.generated.get_or_init(demo::source);
        let index = source.entries().iter().position(|e| matches!(e, Entry::Coin(s) if s == symbol));
        let index = index.ok_or("not a coin of the generated market")?;
        let loaded = source.load(index).map_err(|failure| failure.text)?;
        loaded.inputs.first().map(|input| input.sha256.clone()).ok_or_else(|| "no bars".to_owned())
    }

    /// The folder that the run of the coin's champion was given.
    fn folder_of(&self, symbol: &Symbol) -> Result<PathBuf, String> {
        let manifest = huracan_store::champions::read(self.store, symbol)
            .and_then(|found| {
                let (champion, _) = found.ok_or(StoreError::NotFound {
                    path: format!("champions/{symbol}.json"),
                    help: "train first",
                })?;
                models::read_manifest(self.store, &StorePath::new(champion.model_path)?)
            })
            .map_err(|error| error.to_string())?;
        let run_id = manifest.lineage.run_id;
        let mut folders = self.folders.borrow_mut();
        let read = |id: &String| match runs::read(self.store, id).map(|run| run.inputs.source) {
            Ok(Some(RunSource::Folder { path })) => Ok(PathBuf::from(path)),
            Ok(_) => Err(format!("run {id} names no folder of candles; give it with --candles")),
            Err(error) => Err(format!("{error}; give the folder with --candles")),
        };
        folders.entry(run_id).or_insert_with_key(read).clone()
    }
}

/// Trains the roster's run again into a temporary store and compares every artifact of its models
/// and its encoder, byte by byte. A champion of an earlier run is undecided; where all are, nothing
/// is trained, and that nothing was compared is a difference.
fn retrained(
    store: &LocalStore,
    request: &VerifyRequest,
    roster: &Roster,
    symbols: &[Symbol],
    session: &Session,
) -> Result<Vec<VerifyRow>, Failure> {
    let mut rows = Vec::new();
    let mut of_run = Vec::new();
    for line in roster.symbols.iter().filter(|line| symbols.contains(&line.symbol)) {
        let folder = StorePath::new(line.model_path.clone())?;
        let lineage = models::read_manifest(store, &folder)?.lineage;
        if lineage.run_id == roster.run_id {
            of_run.push((line, folder, lineage.encoder_id));
        } else {
            rows.push(VerifyRow {
                subject: line.symbol.to_string(),
                what: "retrained".to_owned(),
                ok: None,
                found: format!("not retrained: of run {}", lineage.run_id),
                expected: format!("of run {}", roster.run_id),
            });
        }
    }
    if of_run.is_empty() {
        rows.push(VerifyRow {
            subject: format!("run {}", roster.run_id),
            what: "retrained".to_owned(),
            ok: Some(false),
            found: "no model of this run is a champion: nothing was compared".to_owned(),
            expected: "a model to make again".to_owned(),
        });
        return Ok(rows);
    }
    let run = runs::read(store, &roster.run_id)?;
    let temporary = Temporary::new()?;
    // How much was tried before is an input of the run.
    let ledger = StorePath::new("champions/trials.jsonl")?;
    if let Some(bytes) = bytes_of(store, &ledger)? {
        LocalStore::create(&temporary.0)?.put(&ledger, &bytes, PutMode::Overwrite)?;
    }
    train_again(&run, request, &temporary.0, session)?;
    let again = open(&temporary.0)?;
    let mut encoders = std::collections::BTreeSet::new();
    for (line, folder, encoder_id) in of_run {
        let made = huracan_store::champions::read(&again, &line.symbol)?.map(|(c, _)| c.model_path);
        for name in ARTIFACTS {
            let theirs = made.as_ref().map(|path| StorePath::new(path.clone())).transpose()?;
            let found = theirs.map(|path| bytes_of(&again, &path.join(name)?)).transpose()?.flatten();
            let expected = bytes_of(store, &folder.join(name)?)?;
            rows.push(compared(&line.symbol.to_string(), name, found, expected));
        }
        encoders.extend(encoder_id);
    }
    for id in encoders {
        for name in ["shared_encoder.json", "shared_encoder.pkl", "shared_encoder.safetensors"] {
            let path = StorePath::new(format!("meta/encoders/{id}/{name}"))?;
            let (found, expected) = (bytes_of(&again, &path)?, bytes_of(store, &path)?);
            rows.push(compared(&format!("encoder {id}"), name, found, expected));
        }
    }
    Ok(rows)
}

fn bytes_of(store: &LocalStore, path: &StorePath) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(store.get(path)?.map(|object| object.bytes))
}

fn compared(subject: &str, name: &str, found: Option<Vec<u8>>, expected: Option<Vec<u8>>) -> VerifyRow {
    let text = |bytes: &Option<Vec<u8>>| match bytes {
        Some(bytes) => format!("{} ({} bytes)", sha256_hex(bytes), bytes.len()),
        None => "nothing there".to_owned(),
    };
    VerifyRow {
        subject: subject.to_owned(),
        what: format!("retrained {name}"),
        ok: Some(found.is_some() && found == expected),
        found: text(&found),
        expected: text(&expected),
    }
}

/// The same run from its record: configuration, coins and end of data as they were.
fn train_again(run: &Run, request: &VerifyRequest, into: &Path, session: &Session) -> Result<(), Failure> {
    let inputs = &run.inputs;
    let lost = |what: &str| {
        Failure::new(Exit::Store, "store_corrupt", format!("run {} does not record its {what}", run.run_id))
    };
    let sources = Sources { file: Some((run.run_id.as_str(), inputs.config.as_str())), ..Sources::default() };
    let loaded: Loaded = config::load(&sources, std::thread::available_parallelism().map_or(1, usize::from))?;
    let universe = match inputs.universe.as_ref().ok_or_else(|| lost("universe"))? {
        RunUniverse::All => Universe::All,
        RunUniverse::Top { coins } => Universe::Top(*coins as usize),
        RunUniverse::Named { symbols } => Universe::List(symbols.iter().map(|s| s.0.clone()).collect()),
    };
    let until = inputs.until.ok_or_else(|| lost("end of data"))?.0;
    let settings = settings::settings(&loaded.config, universe, Some(until), None);
    let origin = inputs.source.clone().ok_or_else(|| lost("source"))?;
    match (&request.candles, &origin) {
        (None, RunSource::Demo) => run_on(&demo::source(), into, settings, &loaded, origin.clone(), session),
        (Some(folder), _) => {
            let source = FolderSource::open(folder, loaded.config.bar, Some(loaded.config.market))?;
            run_on(&source, into, settings, &loaded, origin, session)
        }
        (None, RunSource::Folder { path }) => {
            let source =
                FolderSource::open(Path::new(path), loaded.config.bar, Some(loaded.config.market))
                    .map_err(|error| Failure::from(error).help("where the candles are now: --candles DIR"))?;
            run_on(&source, into, settings, &loaded, origin.clone(), session)
        }
    }
}

fn run_on(
    source: &dyn huracan_train::source::CandleSource,
    into: &Path,
    settings: huracan_train::settings::Settings,
    loaded: &Loaded,
    origin: RunSource,
    session: &Session,
) -> Result<(), Failure> {
    run(into, settings, loaded, origin, source, session).map(|_| ())
}

/// A folder of this process in the system's place for such, removed in the end.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> Result<Temporary, Failure> {
        let path = std::env::temp_dir().join(format!("huracan-verify-{}", std::process::id()));
        std::fs::create_dir(&path).map_err(|error| {
            let message = format!("{}: cannot be made: {error}", path.display());
            Failure::new(Exit::Store, "temporary_folder", message)
        })?;
        Ok(Temporary(path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Best effort: the system's place for temporary files is swept by others.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
