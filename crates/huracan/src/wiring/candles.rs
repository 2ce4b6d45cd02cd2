//! `huracan data check` and `import`: folders of candles, seen as a run would see them.

use super::Session;
use crate::cli::data::{CheckRequest, CheckedCandles, ImportRequest, Imported, Reason};
use crate::config::EngineConfig;
use crate::failure::{Exit, Failure};
use huracan_core::costs;
use huracan_core::gates::{Figure, SkipReason, judge};
use huracan_core::series::{Profile, align, cut_at_last_relisting};
use huracan_core::words::UtcMs;
use huracan_market::files::{self, ScanOptions};
use huracan_train::pool::run_ordered;
use huracan_train::settings::{Settings, Universe};
use huracan_train::source::{CandleSource, Entry, FolderSource};
use serde_json::Value;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// What one series turned out to be: its profile with its estimated spread, or why it cannot be read.
type Look = Result<(Profile, Option<f64>), String>;

/// What is in a folder of candles and what the gates say to it: read, aligned, cut and judged as a
/// run with this configuration would do it.
///
/// # Errors
/// [`Exit::InputData`] when the folder cannot be read. A broken series is a row.
pub fn data_check(
    request: &CheckRequest,
    config: &EngineConfig,
    session: &Session,
) -> Result<Vec<CheckedCandles>, Failure> {
    let source = FolderSource::open(&request.candles, config.bar, Some(config.market))?;
    let settings = super::settings::settings(config, Universe::All, request.until, None);
    let entries = source.entries();
    if entries.is_empty() {
        let message = format!("{} holds no series of {} bars", request.candles.display(), config.bar);
        return Err(
            Failure::new(Exit::InputData, "no_series", message).help("give the bar of the files with --bar")
        );
    }
    let began = Instant::now();
    session.observer.stage_started("check", entries.len() as u64);
    let mut looks: Vec<(String, Look)> = Vec::with_capacity(entries.len());
    let read = run_ordered(
        config.workers,
        entries.len(),
        &session.interrupted,
        |i| look(&source, &settings, i),
        |i, found| {
            let name = match &entries[i] {
                Entry::Coin(symbol) => symbol.to_string(),
                Entry::Refused { name, .. } => name.clone(),
            };
            session.observer.stage_advanced("check", i as u64 + 1, &name);
            looks.push((name, found.unwrap_or_else(Err)));
        },
    );
    session.observer.stage_finished("check", began.elapsed().as_secs_f64());
    if read.is_err() {
        return Err(Failure::new(Exit::Interrupted, "interrupted", "the check was stopped"));
    }
    let bar_ms = config.bar.ms();
    let ends = looks.iter().filter_map(|(_, look)| look.as_ref().ok()).map(|(p, _)| p.last.0 + bar_ms);
    let until = request.until.map_or_else(|| ends.max().unwrap_or(0), |until| until.0);
    Ok(looks.into_iter().map(|(name, look)| checked(name, look, config, until)).collect())
}

fn look(source: &FolderSource, settings: &Settings, index: usize) -> Look {
    let symbol = match &source.entries()[index] {
        Entry::Coin(symbol) => symbol,
        Entry::Refused { failure, .. } => return Err(failure.text.clone()),
    };
    let loaded = source.load(index).map_err(|failure| failure.text)?;
    let (series, mut profile) =
        align(symbol, settings.timeframe, loaded.bars, settings.until).map_err(|error| error.to_string())?;
    profile.notes.extend(loaded.notes);
    let (series, profile) = cut_at_last_relisting(series, &profile);
    let spread =
        costs::calibrate(&series, series.len(), &settings.fees, &settings.costs).map(|c| c.spread_bps);
    Ok((profile, spread))
}

fn checked(name: String, look: Look, config: &EngineConfig, until: i64) -> CheckedCandles {
    let (mut profile, spread) = match look {
        Ok(found) => found,
        Err(error) => return unread(name, error),
    };
    profile.stale_bars = Some((until - profile.last.0 - config.bar.ms()).div_euclid(config.bar.ms()).max(0));
    let verdict = judge(&profile, spread, &config.gates, config.bar);
    let only_trade = verdict.trade.iter().filter(|reason| !verdict.train.contains(reason));
    let longest = profile.longest_missing.map_or(0, |run| run.bars);
    CheckedCandles {
        symbol: name,
        bar: Some(profile.timeframe.to_string()),
        first: Some(profile.first.to_string()),
        last: Some(profile.last.to_string()),
        bars: profile.present_bars as u64,
        coverage: Some(profile.coverage),
        missing_run_hours: Some(longest as f64 * config.bar.ms() as f64 / UtcMs::HOUR as f64),
        adv_usd: profile.adv_quote,
        train_reasons: verdict.train.iter().map(reason).collect(),
        trade_reasons: only_trade.map(reason).collect(),
        warnings: verdict.warnings.iter().map(|warning| warning.text.clone()).collect(),
        error: None,
    }
}

fn reason(reason: &SkipReason) -> Reason {
    let json = |figure: Figure| match figure {
        Figure::Number(number) => Value::from(number),
        Figure::Text(text) => Value::from(text),
    };
    Reason {
        code: reason.code().to_owned(),
        found: json(reason.found()),
        limit: json(reason.limit()),
        text: reason.to_string(),
    }
}

fn unread(symbol: String, error: String) -> CheckedCandles {
    CheckedCandles {
        symbol,
        bar: None,
        first: None,
        last: None,
        bars: 0,
        coverage: None,
        missing_run_hours: None,
        adv_usd: None,
        train_reasons: Vec::new(),
        trade_reasons: Vec::new(),
        warnings: Vec::new(),
        error: Some(error),
    }
}

/// Copies candles of any known form into the local candle store.
///
/// # Errors
/// [`Exit::InputData`] when the folder cannot be read, [`Exit::Interrupted`] when a person stopped
/// it. A series that fails is a row.
pub fn data_import(
    request: &ImportRequest,
    config: &EngineConfig,
    session: &Session,
) -> Result<Vec<Imported>, Failure> {
    let options = ScanOptions { bar: Some(config.bar), market: Some(config.market), symbol: None };
    let scan = files::scan(&request.candles, &options)?;
    let began = Instant::now();
    session.observer.stage_started("import", scan.series.len() as u64);
    let mut rows = Vec::new();
    for (done, series) in scan.series.iter().enumerate() {
        if session.interrupted.load(Ordering::Relaxed) {
            return Err(Failure::new(Exit::Interrupted, "interrupted", "the import was stopped")
                .help("run the same command again; what is there is kept"));
        }
        let one = files::Scan { series: vec![series.clone()], unusable: Vec::new() };
        let report = files::import(&one, &request.into);
        rows.extend(report.imported.iter().map(|i| Imported {
            symbol: i.symbol.to_string(),
            bar: Some(i.timeframe.to_string()),
            rows: i.rows_read as u64,
            months_written: i.months_written as u64,
            error: None,
        }));
        rows.extend(report.failed.iter().map(|f| Imported {
            symbol: f.symbol.to_string(),
            bar: Some(f.timeframe.to_string()),
            rows: 0,
            months_written: 0,
            error: Some(f.error.to_string()),
        }));
        session.observer.stage_advanced("import", done as u64 + 1, &series.symbol.to_string());
    }
    session.observer.stage_finished("import", began.elapsed().as_secs_f64());
    rows.extend(scan.unusable.iter().map(|unusable| Imported {
        symbol: unusable.name.clone(),
        bar: None,
        rows: 0,
        months_written: 0,
        error: Some(unusable.reason.to_string()),
    }));
    Ok(rows)
}
