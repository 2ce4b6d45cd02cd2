//! `huracan data`: check, import and fetch candles.

use super::settings::{self, CandleFlags};
use super::symbols::{Selector, Universe};
use super::{Global, Output, World};
use crate::failure::{Exit, Failure};
use crate::table::{Align, Table, count, figure};
use crate::wiring::{self, Session};
use clap::{Args, Subcommand};
use huracan_core::words::{Symbol, UtcMs};
use serde::Serialize;
use serde_json::{Value, json};
use std::path::PathBuf;

/// What to do with candles.
#[derive(Clone, Debug, Subcommand)]
pub enum DataCommand {
    /// Say what is in a folder of candles and which gates each coin passes
    Check(CheckArgs),
    /// Copy candles of any known form into the local Parquet candle store
    Import(ImportArgs),
    /// Download candles from the exchange's public archive, and the newest from its REST API
    Fetch(FetchArgs),
}

/// Flags of `data check`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Reads Parquet, CSV, gzipped CSV and the exchange's zip archives at any depth. Nothing is changed. A
broken file is a line of the table, never the end of the check.

Examples:
  huracan data check --candles ./candles
  huracan data check --candles ./candles --bar 1h --until 2025-07-01 --json")]
pub struct CheckArgs {
    /// Folder of candle files, any depth
    #[arg(long, value_name = "DIR")]
    pub candles: PathBuf,
    /// Flags that are settings.
    #[command(flatten)]
    pub flags: CandleFlags,
    /// Judge as of this time [default: the end of the data]
    #[arg(long, value_name = "TIME")]
    pub until: Option<UtcMs>,
}

/// Flags of `data import`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Importing again changes nothing; new bars are merged with those that are there.

Examples:
  huracan data import --candles ./downloads --into ./candles
  huracan data import --candles ./csv --into ./candles --bar 15m --market spot")]
pub struct ImportArgs {
    /// Folder of candle files, any depth
    #[arg(long, value_name = "DIR")]
    pub candles: PathBuf,
    /// The candle store
    #[arg(long, value_name = "DIR", default_value = "huracan-candles")]
    pub into: PathBuf,
    /// Flags that are settings.
    #[command(flatten)]
    pub flags: CandleFlags,
}

/// Flags of `data fetch`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Whole months come from the archive, then whole days, the rest from the REST API. Every archive is
checked against its SHA-256; what is there and verifies is not downloaded again.

Examples:
  huracan data fetch --symbols BTCUSDT,ETHUSDT --from 2024-01-01 --bar 1h --market perp
  huracan data fetch --symbols @coins.txt --from 2024-01-01 --until 2025-01-01 --into ./candles")]
pub struct FetchArgs {
    /// Coins: a list such as BTCUSDT,ETHUSDT.P, or @FILE
    #[arg(long, value_name = "SYMBOLS")]
    pub symbols: Selector,
    /// First time wanted
    #[arg(long, value_name = "TIME")]
    pub from: UtcMs,
    /// Time to stop before [default: now]
    #[arg(long, value_name = "TIME")]
    pub until: Option<UtcMs>,
    /// Where the files go
    #[arg(long, value_name = "DIR", default_value = "huracan-candles")]
    pub into: PathBuf,
    /// Downloads at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub parallel: u16,
    /// Base URL of the archive [default: the exchange's]
    #[arg(long, value_name = "URL")]
    pub archive_url: Option<String>,
    /// Base URL of the REST API, spot and perpetual [default: the exchange's]
    #[arg(long, value_name = "URL")]
    pub rest_url: Option<String>,
    /// Flags that are settings.
    #[command(flatten)]
    pub flags: CandleFlags,
}

/// What `data check` looks at.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckRequest {
    /// Folder of candles.
    pub candles: PathBuf,
    /// Judge as of then; `None` is the end of the data.
    pub until: Option<UtcMs>,
}

/// One gate that a coin does not pass.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reason {
    /// Stable code.
    pub code: String,
    /// What was found: a number in the gate's unit, or a text.
    pub found: Value,
    /// What is asked for.
    pub limit: Value,
    /// The sentence for people.
    pub text: String,
}

/// One series as found, and what the gates say.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CheckedCandles {
    /// The coin, or the file's name where no symbol could be read.
    pub symbol: String,
    /// Length of a bar, where known.
    pub bar: Option<String>,
    /// First bar.
    pub first: Option<String>,
    /// Last bar.
    pub last: Option<String>,
    /// Bars that are there.
    pub bars: u64,
    /// Share of expected bars that are there, 0..1.
    pub coverage: Option<f64>,
    /// Longest run of missing bars, hours.
    pub missing_run_hours: Option<f64>,
    /// Median daily quote volume over 30 days, quote currency.
    pub adv_usd: Option<f64>,
    /// Gates that keep it from being trained.
    pub train_reasons: Vec<Reason>,
    /// Gates that keep it from being traded only.
    pub trade_reasons: Vec<Reason>,
    /// What was repaired or should be known.
    pub warnings: Vec<String>,
    /// Why nothing could be read, where that is so.
    pub error: Option<String>,
}

/// What `data import` copies.
#[derive(Clone, Debug, PartialEq)]
pub struct ImportRequest {
    /// Folder of candles.
    pub candles: PathBuf,
    /// The candle store.
    pub into: PathBuf,
}

/// One imported series.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Imported {
    /// The coin, or the file's name where no symbol could be read.
    pub symbol: String,
    /// Length of a bar, where known.
    pub bar: Option<String>,
    /// Bars read.
    pub rows: u64,
    /// Month files written; 0 where nothing was new.
    pub months_written: u64,
    /// Why it could not be imported, where that is so.
    pub error: Option<String>,
}

/// What `data fetch` downloads.
#[derive(Clone, Debug, PartialEq)]
pub struct FetchRequest {
    /// The coins.
    pub symbols: Vec<Symbol>,
    /// First time wanted.
    pub from: UtcMs,
    /// Time to stop before; `None` is now.
    pub until: Option<UtcMs>,
    /// Where the files go.
    pub into: PathBuf,
    /// Downloads at once.
    pub parallel: usize,
    /// Base URL of the archive; `None` is the exchange's.
    pub archive_url: Option<String>,
    /// Base URL of the REST API, spot and perpetual; `None` is the exchange's.
    pub rest_url: Option<String>,
}

/// What was downloaded of one coin.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fetched {
    /// The coin.
    pub symbol: String,
    /// Monthly archives that are there now.
    pub months: u64,
    /// Daily archives that are there now.
    pub days: u64,
    /// Files the exchange does not publish.
    pub not_published: u64,
    /// Bars from the REST API.
    pub rest_rows: u64,
    /// Bytes downloaded.
    pub bytes: u64,
    /// Requests that had to be sent again.
    pub retries: u64,
    /// What could not be downloaded.
    pub errors: Vec<String>,
}

/// Runs a command.
///
/// # Errors
/// What the configuration, the folder or the network refuse.
pub fn run(
    command: &DataCommand,
    global: &Global,
    world: &World,
    session: &Session,
) -> Result<Output, Failure> {
    match command {
        DataCommand::Check(args) => {
            let config = settings::load(global, world, args.flags.said())?.config;
            let request = CheckRequest { candles: args.candles.clone(), until: args.until };
            Ok(checked(&wiring::data_check(&request, &config, session)?, world.width))
        }
        DataCommand::Import(args) => {
            let config = settings::load(global, world, args.flags.said())?.config;
            let request = ImportRequest { candles: args.candles.clone(), into: args.into.clone() };
            Ok(imported(&wiring::data_import(&request, &config, session)?, world.width))
        }
        DataCommand::Fetch(args) => {
            let config = settings::load(global, world, args.flags.said())?.config;
            if args.until.is_some_and(|until| until <= args.from) {
                let message = format!("--until must be after --from ({})", args.from);
                return Err(Failure::new(Exit::Usage, "empty_span", message));
            }
            let Universe::Named(symbols) = args.symbols.resolve(config.market)? else {
                let message = "data fetch wants symbols by name, expected a list or @FILE";
                return Err(Failure::new(Exit::Usage, "symbols_by_name", message));
            };
            let request = FetchRequest {
                symbols,
                from: args.from,
                until: args.until,
                into: args.into.clone(),
                parallel: usize::from(args.parallel),
                archive_url: args.archive_url.clone(),
                rest_url: args.rest_url.clone(),
            };
            Ok(fetched(&wiring::data_fetch(&request, &config, session)?, world.width))
        }
    }
}

fn checked(rows: &[CheckedCandles], width: Option<usize>) -> Output {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("symbol", Left),
        ("bar", Left),
        ("first", Left),
        ("last", Left),
        ("bars", Right),
        ("cover", Right),
        ("gap h", Right),
        ("adv usd", Right),
        ("verdict", Left),
    ]);
    for row in rows {
        table.row([
            row.symbol.clone(),
            row.bar.clone().unwrap_or_default(),
            row.first.as_deref().map(day).unwrap_or_default(),
            row.last.as_deref().map(day).unwrap_or_default(),
            count(row.bars),
            figure(row.coverage, 3),
            figure(row.missing_run_hours, 0),
            figure(row.adv_usd, 0),
            verdict(row),
        ]);
    }
    let may_train = |row: &&CheckedCandles| row.error.is_none() && row.train_reasons.is_empty();
    let may_trade = |row: &&CheckedCandles| may_train(row) && row.trade_reasons.is_empty();
    let (train, trade) = (rows.iter().filter(may_train).count(), rows.iter().filter(may_trade).count());
    let unread = rows.iter().filter(|row| row.error.is_some()).count();
    let text = format!(
        "{}\n{} series: {train} may be trained, {trade} pass the gates for trading, {unread} cannot be read\n",
        table.render(width),
        rows.len()
    );
    let exit = if unread == rows.len() { Exit::InputData } else { Exit::Ok };
    Output { exit, text, json: json!({"schema": "huracan-cli-data-check/1", "series": rows}) }
}

fn verdict(row: &CheckedCandles) -> String {
    if let Some(error) = &row.error {
        return format!("unreadable: {error}");
    }
    let codes = |reasons: &[Reason]| {
        let codes: Vec<&str> = reasons.iter().map(|reason| reason.code.as_str()).collect();
        codes.join(", ")
    };
    let mut text = match (row.train_reasons.is_empty(), row.trade_reasons.is_empty()) {
        (false, _) => format!("skip: {}", codes(&row.train_reasons)),
        (true, false) => format!("shadow: {}", codes(&row.trade_reasons)),
        (true, true) => "ok".to_owned(),
    };
    if !row.warnings.is_empty() {
        text.push_str(&format!(" ({})", row.warnings.join("; ")));
    }
    text
}

/// The day of an RFC 3339 time.
fn day(time: &str) -> String {
    time.chars().take(10).collect()
}

fn imported(rows: &[Imported], width: Option<usize>) -> Output {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("symbol", Left),
        ("bar", Left),
        ("rows", Right),
        ("months written", Right),
        ("error", Left),
    ]);
    for row in rows {
        table.row([
            row.symbol.clone(),
            row.bar.clone().unwrap_or_default(),
            count(row.rows),
            row.months_written.to_string(),
            row.error.clone().unwrap_or_default(),
        ]);
    }
    let failed = rows.iter().filter(|row| row.error.is_some()).count();
    let text = format!("{}\n{} series imported, {failed} failed\n", table.render(width), rows.len() - failed);
    let exit = if failed > 0 || rows.is_empty() { Exit::InputData } else { Exit::Ok };
    Output { exit, text, json: json!({"schema": "huracan-cli-data-import/1", "series": rows}) }
}

fn fetched(rows: &[Fetched], width: Option<usize>) -> Output {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("symbol", Left),
        ("months", Right),
        ("days", Right),
        ("not published", Right),
        ("rest rows", Right),
        ("bytes", Right),
        ("errors", Right),
    ]);
    for row in rows {
        table.row([
            row.symbol.clone(),
            row.months.to_string(),
            row.days.to_string(),
            row.not_published.to_string(),
            count(row.rest_rows),
            count(row.bytes),
            row.errors.len().to_string(),
        ]);
    }
    let failed = rows.iter().filter(|row| !row.errors.is_empty()).count();
    let mut text =
        format!("{}\n{} symbols asked for, {failed} incomplete\n", table.render(width), rows.len());
    for row in rows {
        for error in &row.errors {
            text.push_str(&format!("  {}: {error}\n", row.symbol));
        }
    }
    let exit = if failed > 0 { Exit::Network } else { Exit::Ok };
    Output { exit, text, json: json!({"schema": "huracan-cli-data-fetch/1", "symbols": rows}) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(train: &[&str], trade: &[&str], error: Option<&str>) -> CheckedCandles {
        let reason = |code: &&str| Reason {
            code: (*code).to_owned(),
            found: json!(1),
            limit: json!(0),
            text: (*code).to_owned(),
        };
        let own = |codes: &[&str]| codes.iter().map(reason).collect();
        CheckedCandles {
            symbol: "BTCUSDT.P".into(),
            bar: Some("1h".into()),
            first: Some("2024-10-23T00:00:00Z".into()),
            last: Some("2025-07-31T23:00:00Z".into()),
            bars: 6_763,
            coverage: Some(1.0),
            missing_run_hours: Some(0.0),
            adv_usd: Some(1.5e9),
            train_reasons: own(train),
            trade_reasons: own(trade),
            warnings: vec![],
            error: error.map(str::to_owned),
        }
    }

    #[test]
    fn verdicts_say_the_strongest_reason() {
        let check = |row: CheckedCandles, expected: &str| assert_eq!(verdict(&row), expected);
        check(series(&[], &[], None), "ok");
        check(series(&[], &["wide_spread"], None), "shadow: wide_spread");
        check(series(&["stale", "missing_run"], &["wide_spread"], None), "skip: stale, missing_run");
        check(series(&[], &[], Some("not Parquet")), "unreadable: not Parquet");
    }

    #[test]
    fn a_broken_file_is_a_line_and_a_folder_of_broken_files_a_failure() {
        let broken = series(&[], &[], Some("not Parquet"));
        let some = checked(&[series(&[], &[], None), broken.clone()], None);
        assert_eq!(some.exit, Exit::Ok);
        assert!(some.text.contains("2 series: 1 may be trained, 1 pass"), "{}", some.text);
        assert_eq!(checked(&[broken], None).exit, Exit::InputData);
    }

    #[test]
    fn an_incomplete_download_and_a_failed_import_are_told_to_the_shell() {
        let row = Fetched {
            symbol: "A".into(),
            months: 0,
            days: 0,
            not_published: 0,
            rest_rows: 0,
            bytes: 0,
            retries: 0,
            errors: vec!["checksum".into()],
        };
        assert_eq!(fetched(&[row], None).exit, Exit::Network);
        let row =
            Imported { symbol: "A".into(), bar: None, rows: 0, months_written: 0, error: Some("x".into()) };
        assert_eq!(imported(&[row], None).exit, Exit::InputData);
    }
}
