//! `huracan data check`: every series of a folder profiled and judged, as a table and as JSON.

use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use huracan_core::gates::{Figure, GateLimits, SkipReason, Verdict, judge};
use huracan_core::series::{Profile, align, cut_at_last_relisting};
use huracan_core::words::{Timeframe, UtcMs};
use serde::Serialize;

use super::candles::{InputFile, read};
use super::scan::{ScanOptions, SeriesFiles, Unusable, scan};
use crate::error::Error;

/// One failed gate as written to files.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FailedGate {
    /// Stable code.
    pub code: &'static str,
    /// What was found: a number in the gate's unit, or a text.
    pub found: serde_json::Value,
    /// What is allowed.
    pub limit: serde_json::Value,
    /// The sentence for people.
    pub text: String,
}

/// The figures of a profile that a reader of the check looks for first.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the fields are those of huracan_core::series::Profile, in its units")]
pub struct Figures {
    pub rows_read: usize,
    pub rows_kept: usize,
    pub first: String,
    pub last: String,
    pub span_days: f64,
    pub coverage: f64,
    pub missing_runs: usize,
    pub longest_missing_bars: usize,
    pub longest_missing_start: Option<String>,
    pub zero_volume_share: f64,
    pub zero_volume_share_30d: f64,
    pub longest_zero_volume_run: usize,
    pub flat_share: f64,
    pub flat_share_30d: f64,
    pub largest_log_return: Option<f64>,
    pub relistings: Vec<String>,
    pub adv_quote: Option<f64>,
    pub close_variation: f64,
    pub realised_vol_30d_pct: Option<f64>,
    pub stale_bars: Option<i64>,
}

/// One series, checked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CheckedSeries {
    /// Symbol, or the file's name where there is none.
    pub symbol: String,
    /// Bar length, where it is known.
    pub timeframe: Option<String>,
    /// The venue the files name.
    pub venue: Option<String>,
    /// Files with their hashes, in order; paths as scanned.
    pub inputs: Vec<String>,
    /// What was found; `None` where the files cannot be read.
    pub figures: Option<Figures>,
    /// Whether the coin may be trained, and traded, as far as its data say (spread not judged).
    pub train_ok: bool,
    /// See `train_ok`.
    pub trade_ok: bool,
    /// Gates that forbid training.
    pub skip_reasons: Vec<FailedGate>,
    /// Gates that forbid only trading.
    pub trade_reasons: Vec<FailedGate>,
    /// Repairs and oddities: code and sentence.
    pub warnings: Vec<(String, String)>,
    /// The whole profile, for callers in this process.
    #[serde(skip)]
    pub profile: Option<Profile>,
}

/// What one worker makes of one series.
type Profiled = Result<(Profile, Vec<InputFile>), Error>;

/// Profiles and judges every series below `dir`.
///
/// Each is read, aligned, cut at its last relisting and judged with the default limits, without a
/// spread. `bar` names the bar of files that do not say theirs, and leaves out series of other
/// bars. Without `until`, a series is stale against the newest bar in the folder. The result does
/// not depend on `threads`: usable and unusable series in one list, by symbol, then bar.
///
/// # Errors
/// Only when the folder itself cannot be used; a broken file is an entry of the list.
pub fn profile_folder(
    dir: &Path,
    bar: Option<Timeframe>,
    until: Option<UtcMs>,
    threads: usize,
) -> Result<Vec<CheckedSeries>, Error> {
    let mut found = scan(dir, &ScanOptions { bar, ..ScanOptions::default() })?;
    found.series.retain(|series| bar.is_none_or(|bar| series.timeframe == bar));
    let profiled = profile_all(&found.series, until, threads.max(1));
    let ends = profiled.iter().flatten().map(|(profile, _)| end(profile));
    let reference = until.or(ends.max().map(UtcMs));
    let mut checked: Vec<CheckedSeries> = Vec::new();
    for (series, outcome) in found.series.iter().zip(profiled) {
        checked.push(match outcome {
            Ok((mut profile, inputs)) => {
                let late = reference.map(|until| (until.0 - end(&profile)) / series.timeframe.ms());
                profile.stale_bars = late.map(|bars| bars.max(0));
                let verdict = judge(&profile, None, &GateLimits::default(), series.timeframe);
                of_profile(series, profile, inputs, &verdict)
            }
            Err(error) => {
                let reason = SkipReason::Unreadable { found: error.to_string() };
                unread(series.symbol.to_string(), Some(series), &reason)
            }
        });
    }
    checked.extend(
        found.unusable.iter().map(|Unusable { name, reason, .. }| unread(name.clone(), None, reason)),
    );
    checked.sort_by(|a, b| (&a.symbol, &a.timeframe).cmp(&(&b.symbol, &b.timeframe)));
    Ok(checked)
}

fn end(profile: &Profile) -> i64 {
    profile.last.0 + profile.timeframe.ms()
}

/// Workers take the next series until none is left; results stand in the order of the series.
fn profile_all(series: &[SeriesFiles], until: Option<UtcMs>, threads: usize) -> Vec<Profiled> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Profiled)>> = Mutex::new(Vec::with_capacity(series.len()));
    thread::scope(|scope| {
        for _ in 0..threads.min(series.len()) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(one) = series.get(at) else { break };
                    let outcome = fenced(one, until);
                    done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((at, outcome));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, outcome)| outcome).collect()
}

/// A panic over one hostile file is that series' failure, not the folder's.
fn fenced(series: &SeriesFiles, until: Option<UtcMs>) -> Profiled {
    catch_unwind(AssertUnwindSafe(|| profile_one(series, until))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let found = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned();
        Err(Error::Broken { symbol: series.symbol.to_string(), found })
    })
}

fn profile_one(series: &SeriesFiles, until: Option<UtcMs>) -> Profiled {
    let candles = read(series)?;
    let (aligned, mut profile) = align(&series.symbol, series.timeframe, candles.bars, until)?;
    profile.notes = candles.notes;
    let (_, profile) = cut_at_last_relisting(aligned, &profile);
    Ok((profile, candles.inputs))
}

fn of_profile(
    series: &SeriesFiles,
    profile: Profile,
    inputs: Vec<InputFile>,
    verdict: &Verdict,
) -> CheckedSeries {
    let only_trade = verdict.trade.iter().filter(|reason| !verdict.train.contains(reason));
    CheckedSeries {
        symbol: series.symbol.to_string(),
        timeframe: Some(series.timeframe.to_string()),
        venue: series.venue.clone(),
        inputs: inputs.iter().map(|input| format!("{}  {}", input.sha256, input.path.display())).collect(),
        figures: Some(figures(&profile)),
        train_ok: verdict.may_train(),
        trade_ok: verdict.may_trade(),
        skip_reasons: verdict.train.iter().map(failed_gate).collect(),
        trade_reasons: only_trade.map(failed_gate).collect(),
        warnings: verdict.warnings.iter().map(|w| (w.code.to_owned(), w.text.clone())).collect(),
        profile: Some(profile),
    }
}

fn unread(symbol: String, series: Option<&SeriesFiles>, reason: &SkipReason) -> CheckedSeries {
    CheckedSeries {
        symbol,
        timeframe: series.map(|series| series.timeframe.to_string()),
        venue: series.and_then(|series| series.venue.clone()),
        inputs: Vec::new(),
        figures: None,
        train_ok: false,
        trade_ok: false,
        skip_reasons: vec![failed_gate(reason)],
        trade_reasons: Vec::new(),
        warnings: Vec::new(),
        profile: None,
    }
}

fn failed_gate(reason: &SkipReason) -> FailedGate {
    let json = |figure: Figure| match figure {
        Figure::Number(number) => serde_json::Value::from(number),
        Figure::Text(text) => serde_json::Value::from(text),
    };
    FailedGate {
        code: reason.code(),
        found: json(reason.found()),
        limit: json(reason.limit()),
        text: reason.to_string(),
    }
}

fn figures(profile: &Profile) -> Figures {
    let cut = profile.cut.iter().map(|cut| cut.at);
    Figures {
        rows_read: profile.rows_read,
        rows_kept: profile.rows_kept,
        first: profile.first.to_string(),
        last: profile.last.to_string(),
        span_days: profile.span_days,
        coverage: profile.coverage,
        missing_runs: profile.missing_runs,
        longest_missing_bars: profile.longest_missing.map_or(0, |run| run.bars),
        longest_missing_start: profile.longest_missing.map(|run| run.start.to_string()),
        zero_volume_share: profile.zero_volume_share,
        zero_volume_share_30d: profile.zero_volume_share_30d,
        longest_zero_volume_run: profile.longest_zero_volume_run,
        flat_share: profile.flat_share,
        flat_share_30d: profile.flat_share_30d,
        largest_log_return: profile.largest_log_return.map(|(_, value)| value),
        relistings: cut.map(|at| at.to_string()).collect(),
        adv_quote: profile.adv_quote,
        close_variation: profile.close_variation,
        realised_vol_30d_pct: profile.realised_vol_30d_pct,
        stale_bars: profile.stale_bars,
    }
}

/// The check as text: one line a series, its reasons and warnings below it.
pub fn table(checked: &[CheckedSeries]) -> String {
    let mut text = format!(
        "{:<20} {:>4} {:>8} {:>7} {:>7} {:>13} {:>7}  verdict\n",
        "symbol", "bar", "days", "cover", "miss h", "USD a day", "vol %"
    );
    for series in checked {
        // Writing into a String cannot fail.
        let _ = match (&series.figures, &series.profile) {
            (Some(figures), Some(profile)) => {
                let hours =
                    figures.longest_missing_bars as f64 * profile.timeframe.ms() as f64 / UtcMs::HOUR as f64;
                writeln!(
                    text,
                    "{:<20} {:>4} {:>8.1} {:>7.4} {:>7.1} {:>13} {:>7}  {}",
                    series.symbol,
                    profile.timeframe.to_string(),
                    figures.span_days,
                    figures.coverage,
                    hours,
                    figures.adv_quote.map_or("-".to_owned(), |adv| format!("{adv:.0}")),
                    figures.realised_vol_30d_pct.map_or("-".to_owned(), |vol| format!("{vol:.1}")),
                    verdict_word(series)
                )
            }
            _ => writeln!(text, "{:<20} {:>4} {:>50}  unusable", series.symbol, "-", ""),
        };
        for reason in series.skip_reasons.iter().chain(&series.trade_reasons) {
            let _ = writeln!(text, "    {}: {}", reason.code, reason.text);
        }
        for (code, sentence) in &series.warnings {
            let _ = writeln!(text, "    ({code}) {sentence}");
        }
    }
    let train = checked.iter().filter(|series| series.train_ok).count();
    let trade = checked.iter().filter(|series| series.trade_ok).count();
    let _ = writeln!(text, "{} series: {train} may be trained, {trade} may be traded", checked.len());
    text
}

fn verdict_word(series: &CheckedSeries) -> &'static str {
    match (series.train_ok, series.trade_ok) {
        (true, true) => "train, trade",
        (true, false) => "train in shadow",
        _ => "skip",
    }
}
