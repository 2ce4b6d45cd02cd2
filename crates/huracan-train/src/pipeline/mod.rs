//! A run from end to end: claim the store, see whether there is anything to do, train, publish, keep
//! the record.
//!
//! Wall-clock times go to `runs/{run_id}/` and `heartbeats/` only. The run's id is made of its inputs:
//! the same candles, configuration, program and coins are the same run, and a run that is complete
//! and still verifies is not repeated.

mod canaries;
mod failures;
pub mod meter;
mod recorder;
#[cfg(test)]
mod tests;

pub use recorder::{Clock, Rates};

use crate::cache::{Cache, Counts};
use crate::canary::{self, Canaries};
use crate::engine::{self, Engine, EngineError, Observer, Outcome};
use crate::jobs::{Hire, JobsError};
use crate::pool::{Fenced, Interrupted, run_ordered};
use crate::publish::{self, Publication, PublishError, Published, RunFacts, Stamp};
use crate::report;
use crate::scratch::{Scratch, ScratchError};
use crate::settings::{PriorTrials, Settings, Universe};
use crate::source::{CandleSource, Entry};
use huracan_core::words::{Seed, UtcMs};
use huracan_store::formats::roster::Roster;
use huracan_store::formats::run::{ExitStatus, JobStatus, Run, RunInputs, RunSource, RunUniverse};
use huracan_store::formats::trials::RunTrials;
use huracan_store::heartbeats::INTERVAL_MS;
use huracan_store::runs::{self, RunLog};
use huracan_store::{
    PutMode, RunOwner, Store, StoreError, StorePath, bank, canonical_json, champions, encoder, models,
    promotions, roster, run_id, sha256_hex, trials, verify,
};
use meter::{Attempt, JobOutcome, measured};
use recorder::{Heart, Recorder};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// A run that is to be made.
pub struct Job<'a> {
    /// What the run is told. A staged universe is resolved here.
    pub settings: Settings,
    /// SHA-256 of the effective configuration.
    pub config_id: String,
    /// The effective configuration as text.
    pub config: String,
    /// Version of the program.
    pub code_version: String,
    /// Where the candles come from, as it is written to the record.
    pub origin: RunSource,
    /// Where results go.
    pub store: &'a dyn Store,
    /// Local scratch, emptied at the start and removed at the end.
    pub scratch_dir: &'a Path,
    /// Where pieces are kept from run to run, and how many bytes of them; `None`: nowhere.
    pub cache: Option<(&'a Path, u64)>,
    /// Worker threads.
    pub workers: usize,
    /// Raised to stop.
    pub stop: &'a AtomicBool,
    /// Who watches.
    pub observer: &'a dyn Observer,
    /// The time of day.
    pub clock: &'a Clock<'a>,
    /// Who does the jobs.
    pub hire: &'a dyn Hire,
    /// Host name, for whoever finds the store taken.
    pub host: String,
    /// What resources cost, for the record.
    pub rates: Rates,
}

/// How a run ended well.
pub enum Ending {
    /// The same run is in the store already, complete and verified.
    UpToDate {
        /// Its id.
        run_id: String,
        /// The roster that is in force.
        roster: Box<Roster>,
    },
    /// It ran.
    Ran(Box<Finished>),
}

/// A run that ran.
pub struct Finished {
    /// Its id.
    pub run_id: String,
    /// What it found out.
    pub outcome: Outcome,
    /// What its canaries said; `None` for a placebo run.
    pub canaries: Option<Canaries>,
    /// Whether coins may be `trade_ok` only where canaries passed.
    pub canaries_required: bool,
    /// What it published; `None` for a placebo run, and where the canaries forbade it.
    pub published: Option<Published>,
    /// Where its report is, relative to the store; `None` where nothing was published.
    pub report: Option<StorePath>,
}

impl Finished {
    /// Whether its canaries forbade the publication.
    pub fn blocked(&self) -> bool {
        self.canaries.as_ref().is_some_and(Canaries::blocked)
    }

    /// What a reader must know when canaries did not pass: what was found, what follows, what to do.
    pub fn canary_note(&self) -> Option<String> {
        self.canaries.as_ref().and_then(|canaries| canaries::note(canaries, self.canaries_required))
    }
}

/// What of the run was there already.
fn tell_cached(cache: &Cache) {
    for (kind, counts) in cache.counts() {
        let Counts { hits, misses, bytes_read, bytes_written } = counts;
        tracing::info!(kind, hits, misses, bytes_read, bytes_written, "pieces of earlier runs");
    }
}

/// Why a run ended badly.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Stopped on request.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// The Engine had nothing to work with.
    #[error(transparent)]
    Engine(EngineError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no candle series of the asked bar.
    #[error("there is no series of {bar} bars; `huracan data check` lists what is there")]
    NoSeries {
        /// The bar.
        bar: String,
    },
}

impl From<EngineError> for RunError {
    fn from(error: EngineError) -> RunError {
        match error {
            EngineError::Interrupted(interrupted) => RunError::Interrupted(interrupted),
            other => RunError::Engine(other),
        }
    }
}

impl From<JobsError> for RunError {
    fn from(error: JobsError) -> RunError {
        RunError::Engine(error.into())
    }
}

impl From<ScratchError> for RunError {
    fn from(error: ScratchError) -> RunError {
        RunError::Engine(error.into())
    }
}

impl From<PublishError> for RunError {
    fn from(error: PublishError) -> RunError {
        match error {
            PublishError::Interrupted(interrupted) => RunError::Interrupted(interrupted),
            PublishError::Store(store) => RunError::Store(store),
            PublishError::Jobs(jobs) => jobs.into(),
        }
    }
}

/// What went in, before anything is trained.
struct Inputs {
    universe: Universe,
    fingerprints: BTreeMap<String, String>,
    bytes: Vec<u8>,
}

/// Makes the run.
///
/// # Errors
/// [`RunError`]; whatever is in the store then is what was there before, or finished work without a
/// pointer to it. The heartbeat says `failed`.
pub fn run(job: &Job<'_>, source: &dyn CandleSource) -> Result<Ending, RunError> {
    let owner = RunOwner {
        purpose: "train".to_owned(),
        pid: std::process::id(),
        host: job.host.clone(),
        since: (job.clock)(),
    };
    let _claimed = job.store.lock_run(&owner)?;
    let recorder = Recorder::new(job.observer, job.store, job.clock, job.rates);
    let heart = Heart::new();
    let ended = std::thread::scope(|scope| {
        let _stops = heart.stop_on_drop();
        scope.spawn(|| {
            recorder.keep_beating(&heart, Duration::from_millis(INTERVAL_MS.unsigned_abs()));
        });
        recorder.span.in_scope(|| claimed(job, source, &recorder))
    });
    match &ended {
        Ok(Ending::Ran(finished)) if finished.blocked() => {
            recorder.last_words("failed", finished.canaries.as_ref().map(Canaries::sentence));
        }
        Ok(_) => recorder.last_words("complete", None),
        Err(error) => {
            failures::keep(job, &recorder, error);
            recorder.last_words("failed", Some(error.to_string()));
        }
    }
    ended
}

fn claimed(job: &Job<'_>, source: &dyn CandleSource, recorder: &Recorder<'_>) -> Result<Ending, RunError> {
    if source.entries().is_empty() {
        return Err(RunError::NoSeries { bar: job.settings.timeframe.to_string() });
    }
    look_at_store(job.store, &job.settings.universe, source.entries())?;
    let inputs = inputs(job, source, recorder)?;
    recorder.identify(&run_id(recorder.started_at, &inputs.bytes));
    recorder.read(&inputs.fingerprints);
    if job.settings.placebo_run.is_none()
        && let Some(done) = up_to_date(job.store, &inputs)?
    {
        return Ok(done);
    }
    let settings = Settings {
        universe: inputs.universe.clone(),
        prior_trials: prior_trials(job.store, &inputs)?,
        ..job.settings.clone()
    };
    let jobs = job.hire.hire(&input_hash(&inputs))?;
    let cache =
        job.cache.map_or_else(Cache::none, |(dir, bytes_max)| Cache::open(dir, bytes_max, &job.code_version));
    let scratch = Scratch::open(job.scratch_dir)?.with_cache(Arc::new(cache));
    let scratch = match jobs.beyond() {
        Some(beyond) => scratch.beyond(beyond),
        None => scratch,
    };
    let engine = Engine {
        settings: &settings,
        workers: job.workers,
        now: (job.clock)(),
        stop: job.stop,
        scratch: &scratch,
        observer: recorder,
        jobs: jobs.as_ref(),
    };
    let mut outcome = engine::run(&engine, source)?;
    let canaries = match settings.placebo_run {
        Some(_) => None,
        None => Some(canary::run(&engine, &outcome.survey, &job.scratch_dir.join("canaries"))?),
    };
    tell_cached(scratch.cache());
    drop(scratch);
    if let Some(canaries) = &canaries {
        canaries::gate(&mut outcome.verdicts, canaries, &settings.canaries);
        canaries::note(canaries, settings.canaries.required).iter().for_each(|text| recorder.note(text));
    }
    let stamp = Stamp {
        run_id: run_id(outcome.survey.until, &inputs.bytes),
        config_id: job.config_id.clone(),
        code_version: job.code_version.clone(),
    };
    recorder.identify(&stamp.run_id);
    let record = |status| Run {
        canaries: canaries.as_ref().map(canaries::lines).unwrap_or_default(),
        canary_summary: canaries.as_ref().map(canaries::summary),
        ..record(job, recorder, &settings, &inputs, &stamp, &outcome, status)
    };
    runs::write(job.store, &record(Status::Running))?;
    if settings.placebo_run.is_none() {
        // Tried is tried, whatever becomes of the publication.
        trials::append(job.store, &tried(&stamp, &outcome))?;
    }
    let blocked = canaries.as_ref().is_some_and(Canaries::blocked);
    let published = if settings.placebo_run.is_some() || blocked {
        Ok(None)
    } else {
        let publication = Publication {
            store: job.store,
            settings: &settings,
            outcome: &outcome,
            stamp: &stamp,
            workers: job.workers,
            stop: job.stop,
            observer: recorder,
            jobs: jobs.as_ref(),
        };
        publish::publish(&publication).map(Some)
    };
    let published = match published {
        Ok(published) => published,
        Err(error) => {
            let error = RunError::from(error);
            let status = error.exit_status();
            // What stopped the run may also keep it from being noted; the first error is the one told.
            let _ = runs::write(job.store, &record(Status::Ended(status, None)));
            return Err(error);
        }
    };
    // The roster is in force: from here on the run is complete, whatever becomes of its papers.
    let status = if blocked { ExitStatus::Blocked } else { ExitStatus::Complete };
    runs::write(job.store, &record(Status::Ended(status, published.as_ref())))?;
    let papers = Papers {
        job,
        recorder,
        settings: &settings,
        stamp: &stamp,
        outcome: &outcome,
        canaries: canaries.as_ref(),
    };
    if let Err(error) = jobs.close(!blocked && published.is_some()) {
        recorder.note(&format!("the run is complete, but its record of jobs stays open: {error}"));
    }
    let report = published.as_ref().and_then(|published| {
        let written = papers.report(published);
        written.map_err(|error| papers.missing("report", &error)).ok()
    });
    if let Err(error) = papers.lines(published.as_ref()) {
        papers.missing("event log", &error);
    }
    if let Err(error) = runs::write_profile(job.store, &recorder.profile(&stamp.run_id, job.workers)) {
        papers.missing("profile", &error);
    }
    let canaries_required = settings.canaries.required;
    let run_id = stamp.run_id;
    Ok(Ending::Ran(Box::new(Finished { run_id, outcome, canaries, canaries_required, published, report })))
}

/// Reads what a publication will have to read, so that a store that cannot be used is named before
/// the training and not after it.
fn look_at_store(store: &dyn Store, universe: &Universe, entries: &[Entry]) -> Result<(), StoreError> {
    roster::read(store)?;
    for entry in entries {
        match (entry, universe) {
            (Entry::Coin(symbol), Universe::List(wanted)) if !wanted.contains(symbol) => {}
            (Entry::Coin(symbol), _) => drop(champions::read(store, symbol)?),
            (Entry::Refused { .. }, _) => {}
        }
    }
    bank::read(store)?;
    promotions::read(store)?;
    trials::read(store)?;
    match encoder::in_force(store) {
        Err(StoreError::NotFound { .. } | StoreError::Corrupt { .. }) | Ok(_) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Completed runs that published: the stage a growing universe has reached.
fn completed_runs(store: &dyn Store) -> Result<usize, StoreError> {
    let mut completed = 0;
    for id in runs::list(store)? {
        let run = match runs::read(store, &id) {
            // A record that cannot be read is no completed run, and no reason to make none.
            Err(StoreError::Corrupt { .. }) => continue,
            other => other?,
        };
        let counts = run.exit_status == ExitStatus::Complete && run.inputs.placebo_seed.is_none();
        completed += usize::from(counts);
    }
    Ok(completed)
}

/// The universe with its stage resolved: the first run takes `start` coins, each completed run adds
/// as many. A selection of at least as many coins as there are is all of them.
fn resolved(universe: &Universe, completed: usize, entries: usize) -> Universe {
    let top = match universe {
        Universe::Staged { start, target } => start.saturating_mul(completed + 1).min(*target),
        Universe::Top(n) => *n,
        other => return other.clone(),
    };
    if top >= entries { Universe::All } else { Universe::Top(top) }
}

fn inputs(job: &Job<'_>, source: &dyn CandleSource, recorder: &Recorder<'_>) -> Result<Inputs, RunError> {
    let entries = source.entries();
    let completed = match job.settings.universe {
        Universe::Staged { .. } => completed_runs(job.store)?,
        _ => 0,
    };
    let universe = resolved(&job.settings.universe, completed, entries.len());
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let name = |i: usize| match &entries[i] {
        Entry::Coin(symbol) => symbol.to_string(),
        Entry::Refused { name, .. } => name.clone(),
    };
    recorder.stage_started("fingerprints", entries.len());
    run_ordered(
        job.workers,
        entries.len(),
        job.stop,
        |i| {
            let attempt = Attempt { stage: "fingerprints", symbol: &name(i), number: 1, worker: "" };
            let work = || source.fingerprint(i, job.settings.until);
            measured(recorder, attempt, work, |_| (JobOutcome::Completed, 0, false))
        },
        |i, fingerprint: Fenced<String>| {
            let name = name(i);
            recorder.stage_advanced("fingerprints", i + 1, &name);
            let fingerprint = fingerprint.unwrap_or_else(|panic| sha256_hex(panic.as_bytes()));
            found.entry(name).or_default().push(fingerprint);
        },
    )?;
    recorder.stage_finished("fingerprints");
    let one = |mut all: Vec<String>| match all.len() {
        1 => all.remove(0),
        _ => sha256_hex(all.concat().as_bytes()),
    };
    let fingerprints: BTreeMap<String, String> = found.into_iter().map(|(n, all)| (n, one(all))).collect();
    let bytes = canonical_json(&serde_json::json!({
        "config_id": job.config_id,
        "code_version": job.code_version,
        "candles": fingerprints,
        "universe": asked_for(&universe),
        "until_ms": job.settings.until.map(|until| until.0),
        "placebo_seed": job.settings.placebo_run.map(|seed| seed.0),
    }))?;
    Ok(Inputs { universe, fingerprints, bytes })
}

fn asked_for(universe: &Universe) -> RunUniverse {
    match universe {
        Universe::List(symbols) => {
            RunUniverse::Named { symbols: symbols.iter().cloned().map(Into::into).collect() }
        }
        Universe::Top(n) => RunUniverse::Top { coins: *n as u64 },
        Universe::All | Universe::Staged { .. } => RunUniverse::All,
    }
}

/// The second half of the run's id: it depends on the inputs alone, and so is known before the end of
/// the data is.
fn input_hash(inputs: &Inputs) -> String {
    let id = run_id(UtcMs(0), &inputs.bytes);
    id.split_once('-').map_or_else(String::new, |(_, hash)| hash.to_owned())
}

/// What the ledger says of earlier runs.
fn prior_trials(store: &dyn Store, inputs: &Inputs) -> Result<Vec<PriorTrials>, StoreError> {
    let before = trials::before(store, &input_hash(inputs))?;
    let prior = |run: RunTrials| PriorTrials {
        until: run.until.0,
        variants: run.variants as usize,
        coins: run.coins as usize,
        sharpe_variance: run.sharpe_variance,
    };
    Ok(before.into_iter().map(prior).collect())
}

/// This run's line of the ledger.
fn tried(stamp: &Stamp, outcome: &Outcome) -> RunTrials {
    let tried = &outcome.verdicts.tried;
    RunTrials {
        run_id: stamp.run_id.clone(),
        until: tried.until.into(),
        variants: tried.variants as u64,
        coins: tried.coins as u64,
        sharpe_variance: tried.sharpe_variance.filter(|v| v.is_finite()),
    }
}

/// The run of the same inputs, if it is complete and what is in force verifies. The end of the data
/// is a consequence of the inputs, so the id's second half finds it.
fn up_to_date(store: &dyn Store, inputs: &Inputs) -> Result<Option<Ending>, StoreError> {
    let mark = format!("-{}", input_hash(inputs));
    for id in runs::list(store)?.into_iter().filter(|id| id.ends_with(&mark)) {
        match runs::read(store, &id) {
            Ok(run) if run.exit_status == ExitStatus::Complete => {}
            Ok(_) | Err(StoreError::Corrupt { .. }) => continue,
            Err(error) => return Err(error),
        }
        let Some((roster, _)) = roster::read(store)? else { return Ok(None) };
        if verifies(store, &roster) {
            return Ok(Some(Ending::UpToDate { run_id: id, roster: Box::new(roster) }));
        }
    }
    Ok(None)
}

/// Whether every line's champion, model and encoder are there and whole, and what they share.
fn verifies(store: &dyn Store, roster: &Roster) -> bool {
    let shared = verify::verify_shared(store);
    shared.iter().all(|row| row.ok)
        && roster.symbols.iter().all(|line| {
            let pointer = champions::read(store, &line.symbol);
            let points = pointer.is_ok_and(|p| p.is_some_and(|(c, _)| c.model_sha256 == line.model_sha256));
            let model =
                StorePath::new(line.model_path.clone()).and_then(|path| models::read_model(store, &path));
            let whole = model.is_ok_and(|m| m.manifest.files["model.bin"].sha256 == line.model_sha256);
            points && whole && line.encoder_id.as_ref().is_none_or(|id| encoder::load(store, id).is_ok())
        })
}

/// How far a run is, for its record.
enum Status<'a> {
    Running,
    Ended(ExitStatus, Option<&'a Published>),
}

fn record(
    job: &Job<'_>,
    recorder: &Recorder<'_>,
    settings: &Settings,
    inputs: &Inputs,
    stamp: &Stamp,
    outcome: &Outcome,
    status: Status<'_>,
) -> Run {
    let (exit_status, published) = match status {
        Status::Running => (ExitStatus::Running, None),
        Status::Ended(exit, published) => (exit, published),
    };
    let running = exit_status == ExitStatus::Running;
    let roster = published.map(|p| &p.roster);
    let coins = &outcome.verdicts.coins;
    let count = |of: fn(&Roster) -> usize, else_: usize| roster.map_or(else_, of) as u64;
    let counts = [
        ("trained", count(|r| r.symbols.len(), coins.len())),
        (
            "skipped",
            count(|r| r.skipped.len(), outcome.survey.skipped.len() + outcome.verdicts.headless.len()),
        ),
        ("failed", count(|r| r.failed.len(), outcome.failed.len())),
        ("trade_ok", count(|r| r.trade_ok_count as usize, coins.iter().filter(|c| c.trade_ok).count())),
        ("product_ok", coins.iter().filter(|c| c.product_ok).count() as u64),
    ];
    Run {
        run_id: stamp.run_id.clone(),
        inputs: RunInputs {
            config: job.config.clone(),
            config_id: job.config_id.clone(),
            code_version: job.code_version.clone(),
            data_fingerprints: inputs.fingerprints.clone(),
            seed: settings.seed.0,
            source: Some(job.origin.clone()),
            universe: Some(asked_for(&inputs.universe)),
            until: Some(outcome.survey.until.into()),
            placebo_seed: settings.placebo_run.map(|Seed(seed)| seed),
        },
        started_at: recorder.started_at.into(),
        finished_at: (!running).then(|| recorder.now().max(recorder.started_at).into()),
        exit_status,
        counts: counts.into_iter().map(|(name, n)| (name.to_owned(), n)).collect(),
        encoder_id: published.and_then(|p| p.encoder.as_ref()).map(|e| e.card.encoder_id.clone()),
        timings: recorder.timings(),
        peak_memory_bytes: meter::peak_memory_bytes(),
        canaries: Vec::new(),
        canary_summary: None,
    }
}

/// What is written about a run that is complete.
struct Papers<'a> {
    job: &'a Job<'a>,
    recorder: &'a Recorder<'a>,
    settings: &'a Settings,
    stamp: &'a Stamp,
    outcome: &'a Outcome,
    canaries: Option<&'a Canaries>,
}

impl Papers<'_> {
    /// Says that one of them could not be written.
    fn missing(&self, paper: &str, error: &StoreError) {
        tracing::warn!(%error, "no {paper}");
        self.recorder.note(&format!("the run is complete, but its {paper} could not be written: {error}"));
    }

    fn report(&self, published: &Published) -> Result<StorePath, StoreError> {
        let Papers { job, recorder, settings, stamp, outcome, canaries } = *self;
        let timing = |t: huracan_store::formats::run::StageTiming| report::StageTiming {
            stage: t.stage,
            jobs: t.jobs as usize,
            wall_s: t.wall_s,
            cpu_s: t.cpu_s.unwrap_or(f64::NAN),
            p50_s: t.p50_s,
            p95_s: t.p95_s,
        };
        let facts = RunFacts {
            run_id: stamp.run_id.clone(),
            config_id: stamp.config_id.clone(),
            code_version: stamp.code_version.clone(),
            started_at: recorder.started_at,
            finished_at: recorder.now(),
            timings: recorder.timings().into_iter().map(timing).collect(),
            champion_events: promotions::read(job.store).ok().map(|log| publish::champion_events(&log)),
            canaries: match canaries {
                Some(Canaries::Ran(said)) => Some(publish::canary_facts(said)),
                _ => None,
            },
        };
        let data =
            publish::report_data(settings, outcome, &published.roster, published.encoder.as_ref(), &facts);
        let path = StorePath::new(format!("runs/{}/report.html", stamp.run_id))?;
        job.store.put(&path, report::render(&data).as_bytes(), PutMode::Overwrite)?;
        Ok(path)
    }

    /// Events, failures and unit costs.
    fn lines(&self, published: Option<&Published>) -> Result<(), StoreError> {
        let Papers { job, recorder, stamp, outcome, .. } = *self;
        for line in &outcome.survey.skipped {
            let codes: Vec<&str> = line.reasons.iter().map(|r| r.code.as_str()).collect();
            recorder.event(&line.symbol, "survey", JobStatus::Skipped, Some(codes.join(", ")));
        }
        let unwritten = published.map_or(&[][..], |p| &p.failed);
        let log = RunLog::open(job.store, &stamp.run_id)?;
        if let Some(canaries) = self.canaries.filter(|c| c.blocked()) {
            log.failure(&canaries::failure(canaries, recorder.now()))?;
        }
        for failed in outcome.failed.iter().chain(unwritten) {
            recorder.event(&failed.symbol, failed.step, JobStatus::Failed, Some(failed.error.clone()));
        }
        let lines =
            failures::coins(outcome.failed.iter().chain(unwritten), &recorder.histories(), recorder.now());
        lines.iter().try_for_each(|line| log.failure(line))?;
        let bars: BTreeMap<String, u64> =
            outcome.survey.coins.iter().map(|c| (c.symbol.to_string(), c.len() as u64)).collect();
        let (events, unit_costs) = recorder.lines(&|symbol| bars.get(symbol).copied().unwrap_or(0));
        events.iter().try_for_each(|event| log.event(event))?;
        unit_costs.iter().try_for_each(|cost| log.unit_cost(cost))?;
        log.flush()
    }
}
