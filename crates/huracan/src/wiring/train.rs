//! `huracan train`: a folder of candles, a run, a summary.

use super::store as outbox;
use super::{Drawn, Session, jobs, metrics, now, settings};
use crate::cli::symbols;
use crate::cli::train::{
    CanaryReport, ChallengeFigures, Counted, DeployedVariant, Findings, HorizonIc, MixtureLine, PlaceboShare,
    RunSummary, SharingLine, TrainRequest, VariantIc,
};
use crate::config::{EngineConfig, Loaded, show};
use crate::failure::Failure;
use crate::logs;
use crate::metrics::CountedStore;
use huracan_core::regime::Regime;
use huracan_core::words::{Market, Symbol};
use huracan_store::formats::roster::Roster;
use huracan_store::formats::run::RunSource;
use huracan_store::{LocalStore, StoreError};
use huracan_train::engine::Outcome;
use huracan_train::engine::verdicts::ENCODER;
use huracan_train::jobs::Hire;
use huracan_train::pipeline::{self, Ending, Finished, Job};
use huracan_train::publish::drift_actions;
use huracan_train::settings::{Settings, Universe};
use huracan_train::source::{CandleSource, Entry, FolderSource};
use std::path::Path;
use std::time::Instant;

/// Below the store, with a leading dot as everything that is not the store's content.
const SCRATCH: &str = ".scratch";
/// Beside it, what one run leaves for the next.
const CACHE: &str = ".cache";
/// Bytes that may stay there: a night of 400 coins leaves about half of it.
const CACHE_BYTES_MAX: u64 = 4 << 30;

/// One run of the Engine.
///
/// # Errors
/// [`Exit::InputData`](crate::failure::Exit::InputData) when no candles can be read,
/// [`Exit::Store`](crate::failure::Exit::Store) when the store refuses or is held by another run,
/// [`Exit::Interrupted`](crate::failure::Exit::Interrupted) when a person stopped it.
pub fn train(request: &TrainRequest, loaded: &Loaded, session: &Session) -> Result<RunSummary, Failure> {
    let config = &loaded.config;
    let source = FolderSource::open(&request.candles, config.bar, Some(config.market))?;
    let universe = universe(&request.universe, config, source.entries());
    let settings = settings::settings(config, universe, request.until, request.placebo);
    let origin = RunSource::Folder { path: request.candles.display().to_string() };
    let once = || run(&request.store, settings.clone(), loaded, origin.clone(), &source, session);
    if !loaded.store.is_carried() {
        return once();
    }
    let cost = outbox::Cost::at(&config.observability.rates);
    let (mut summary, carried, notes) = outbox::around(&loaded.store, session, &cost, once)?;
    summary.carried = Some(carried.done);
    summary.remote_cost = match (summary.remote_cost, cost.told()) {
        (Some(mut run), Some(carrying)) => {
            run.add(carrying);
            Some(run)
        }
        (run, carrying) => run.or(carrying),
    };
    summary.carry_failure = carried.broken;
    summary.notes.extend(notes);
    Ok(summary)
}

/// A run on any source.
pub(super) fn run(
    store_dir: &Path,
    settings: Settings,
    loaded: &Loaded,
    origin: RunSource,
    source: &dyn CandleSource,
    session: &Session,
) -> Result<RunSummary, Failure> {
    let began = Instant::now();
    let store = CountedStore::new(LocalStore::create(store_dir)?);
    let drawn = Drawn::new(session.observer.as_ref());
    let scratch = store.inner().root().join(SCRATCH);
    let placebo = settings.placebo_run.is_some();
    let plan = &loaded.config.jobs;
    let root = store.inner().root().to_owned();
    // Runs on several machines keep their record in the queue, the others in the folder.
    let shared = match &plan.url {
        Some(url) => Some(jobs::shared(url, loaded, &settings, &scratch, session)?),
        None => None,
    };
    let office = jobs::ledger_office(&root, plan, &session.interrupted);
    let hire: &dyn Hire = match &shared {
        Some(shared) => &shared.office,
        None => &office,
    };
    let job = Job {
        settings,
        config_id: loaded.config.config_id.clone(),
        config: show::recorded(loaded),
        code_version: env!("CARGO_PKG_VERSION").to_owned(),
        origin,
        store: &store,
        scratch_dir: &scratch.join("engine"),
        cache: Some((&root.join(CACHE), CACHE_BYTES_MAX)),
        workers: loaded.config.workers,
        stop: &session.interrupted,
        observer: &drawn,
        clock: &now,
        hire,
        host: host(),
        rates: loaded.config.observability.rates,
    };
    if !logs::SENDS_SPANS && loaded.config.observability.otlp_endpoint.is_some() {
        let note = "observability.otlp_endpoint is set, but this program was built without the feature otlp: \
                    no spans are sent";
        session.observer.note(note);
    }
    let ending = pipeline::run(&job, source);
    let cost = outbox::Cost::at(&loaded.config.observability.rates);
    cost.add(shared.as_ref().and_then(|shared| shared.office.store.usage()));
    drop(shared);
    if let Some(path) = &loaded.config.observability.prometheus_file {
        metrics::write(path, store.inner(), store.counts(), &ending);
    }
    // Only when it is empty: another run may just have claimed the store.
    let _ = std::fs::remove_dir(&scratch);
    let mut summary = match ending? {
        Ending::UpToDate { run_id, roster } => up_to_date(&run_id, &roster),
        Ending::Ran(finished) => summary(&finished, store_dir, placebo),
    };
    summary.config_id = loaded.config.config_id.clone();
    summary.remote_cost = cost.told();
    summary.store = store_dir.to_owned();
    summary.seconds = began.elapsed().as_secs_f64();
    Ok(summary)
}

/// The coins that were asked for. A spot name of which only the perpetual is there means that one.
fn universe(wanted: &symbols::Universe, config: &EngineConfig, entries: &[Entry]) -> Universe {
    match wanted {
        symbols::Universe::Staged => {
            Universe::Staged { start: config.start_with_symbols, target: config.target_symbols }
        }
        symbols::Universe::All => Universe::All,
        symbols::Universe::Top(n) => Universe::Top(*n),
        symbols::Universe::Named(names) => {
            let there = |symbol: &Symbol| entries.iter().any(|e| matches!(e, Entry::Coin(s) if s == symbol));
            let meant = |symbol: &Symbol| {
                let perp = Symbol::parse(symbol.pair(), Market::Perp).ok().filter(&there);
                match perp {
                    Some(perp) if symbol.market() == Market::Spot && !there(symbol) => perp,
                    _ => symbol.clone(),
                }
            };
            let mut symbols: Vec<Symbol> = names.iter().map(meant).collect();
            symbols.sort();
            symbols.dedup();
            Universe::List(symbols)
        }
    }
}

pub(super) fn host() -> String {
    let name = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    match name.trim() {
        "" => "this machine".to_owned(),
        name => name.to_owned(),
    }
}

fn of_roster(run_id: &str, roster: &Roster) -> RunSummary {
    RunSummary {
        run_id: run_id.to_owned(),
        total: roster.total_symbols as usize,
        trained: roster.symbols.len(),
        skipped: roster.skipped.len(),
        failed: roster.failed.len(),
        trade_ok: roster.trade_ok_count as usize,
        encoder_id: roster.symbols.iter().find_map(|line| line.encoder_id.clone()),
        published: true,
        ..RunSummary::default()
    }
}

fn up_to_date(run_id: &str, roster: &Roster) -> RunSummary {
    let mut summary = of_roster(run_id, roster);
    summary.up_to_date = true;
    summary.notes.push(format!("nothing to do: run {run_id} has these inputs, is complete and verifies"));
    if roster.run_id != run_id {
        summary.notes.push(format!("a later run, {}, has written the roster since", roster.run_id));
    }
    summary
}

fn summary(finished: &Finished, store: &Path, placebo: bool) -> RunSummary {
    let Finished { run_id, outcome, published, report, .. } = finished;
    let coins = &outcome.verdicts.coins;
    let share = |passes: fn(&huracan_train::engine::verdicts::CoinVerdict) -> bool| {
        coins.iter().filter(|c| passes(c)).count() as f64 / coins.len().max(1) as f64
    };
    let mut summary = match published {
        Some(published) => of_roster(run_id, &published.roster),
        None => RunSummary {
            run_id: run_id.clone(),
            total: outcome.survey.coins.len() + outcome.survey.skipped.len() + outcome.survey.failed.len(),
            trained: coins.len(),
            skipped: outcome.survey.skipped.len() + outcome.verdicts.headless.len(),
            failed: outcome.failed.len(),
            trade_ok: coins.iter().filter(|c| c.trade_ok).count(),
            ..RunSummary::default()
        },
    };
    summary.placebo = placebo
        .then(|| PlaceboShare { product_ok: share(|c| c.product_ok), trade_ok: share(|c| c.trade_ok) });
    summary.encoder_id =
        published.as_ref().and_then(|p| p.encoder.as_ref()).map(|e| e.card.encoder_id.clone());
    summary.findings = Some(findings(finished));
    canaries(&mut summary, finished);
    summary.report = report.as_ref().map(|path| store.join(path.as_str()));
    summary
}

/// What the canaries said, and in words nobody can miss what follows from it.
fn canaries(summary: &mut RunSummary, finished: &Finished) {
    let Some(canaries) = &finished.canaries else { return };
    summary.canaries = Some(CanaryReport {
        passed: canaries.passed(),
        blocked: canaries.blocked(),
        found: canaries.sentence(),
    });
    if let Some(note) = finished.canary_note() {
        summary.notes.push(note);
    }
}

fn findings(finished: &Finished) -> Findings {
    let verdicts = &finished.outcome.verdicts;
    let (helped, hurt, undecided) = verdicts
        .sharing
        .iter()
        .find(|c| c.comparison.code == ENCODER)
        .map_or((0, 0, verdicts.coins.len()), |compared| compared.counts());
    Findings {
        universe_net_pct: verdicts.universe_net_pct,
        placebo_net_pct: verdicts.placebo_net_pct.clone(),
        pooled_ics: verdicts
            .ics
            .iter()
            .map(|ic| HorizonIc { horizon_bars: ic.horizon_bars, rank_ic: ic.mean, t: ic.t })
            .collect(),
        book_net_bps_per_day: verdicts.book.mean_net_bps,
        book_gross_bps_per_day: verdicts.book.mean_gross_bps,
        book_sharpe: verdicts.book.sharpe,
        book_t: verdicts.book.t,
        helped,
        hurt,
        undecided,
        deployed: deployed(&finished.outcome),
        variant_ics: variant_ics(&finished.outcome),
        sharing: sharing(&finished.outcome),
        overfitting_probability: verdicts.overfitting.as_ref().map(|o| o.pbo),
        meta_learner: verdicts.experts.as_ref().map(|experts| MixtureLine {
            used: experts.gain.is_some_and(|g| g.used),
            gain_bps: experts.gain.map(|g| g.mean_bps),
            interval_bps: experts.gain.and_then(|g| g.interval_bps),
        }),
        drift: drift_actions(&finished.outcome)
            .into_iter()
            .map(|(action, coins)| Counted { code: action.code().to_owned(), coins })
            .collect(),
        regimes_now: Regime::ALL
            .into_iter()
            .map(|regime| Counted {
                code: regime.code().to_owned(),
                coins: verdicts.coins.iter().filter(|c| c.regime == regime).count(),
            })
            .collect(),
        champions_moved: finished.published.as_ref().map_or(0, |p| p.champions_moved),
        champions_kept: finished.published.as_ref().map_or(0, |p| p.champions_kept),
        challenge: finished.published.as_ref().and_then(|p| p.evidence).map(|run| ChallengeFigures {
            coins: run.coins,
            days: run.days,
            gain_bps: run.pooled_gain_bps,
            error_bps: run.pooled_error_bps,
            minimum_detectable_gain_bps: run.detectable_gain_bps,
        }),
    }
}

fn deployed(outcome: &Outcome) -> Option<DeployedVariant> {
    let last = outcome.verdicts.deployed.last()?;
    Some(DeployedVariant {
        variant: last.lane.code().to_owned(),
        is_zero: last.policy.is_zero,
        entry_cost_multiple: last.policy.multiple,
        // A band of −1 leaves only when the edge has turned by the whole threshold: held to the horizon.
        exit_band: Some(last.policy.exit_band).filter(|band| *band > -1.0),
        variants_tried: outcome.verdicts.variants_tried,
    })
}

fn variant_ics(outcome: &Outcome) -> Vec<VariantIc> {
    let lanes = outcome.verdicts.lane_ics.iter();
    lanes
        .map(|(lane, ic)| VariantIc {
            variant: lane.code().to_owned(),
            ic: ic.map(|ic| ic.mean),
            std_error: ic.and_then(|ic| ic.std_error),
        })
        .collect()
}

fn sharing(outcome: &Outcome) -> Vec<SharingLine> {
    let line = |compared: &huracan_train::engine::verdicts::Compared| {
        let (helped, hurt, undecided) = compared.counts();
        SharingLine {
            comparison: compared.comparison.code.to_owned(),
            helped,
            hurt,
            undecided,
            mean_bps: compared.pooled.mean_bps,
            interval_bps: compared.pooled.interval_bps,
        }
    };
    outcome.verdicts.sharing.iter().map(line).collect()
}

/// Opens a store that must be there.
///
/// # Errors
/// When there is no such folder.
pub(super) fn open(store: &Path) -> Result<LocalStore, StoreError> {
    LocalStore::open(store)
}
