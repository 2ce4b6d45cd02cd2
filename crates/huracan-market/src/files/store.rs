//! The local candle store: one Parquet file a month, `candles/{market}/{BAR}/{SYMBOL}/{YYYY-MM}.parquet`.
//!
//! Importing keeps every row as it was read, defects included (only rows that repeat a bar are
//! dropped), so that a later check still sees them. A month that gains nothing is not touched.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use huracan_core::series::Bars;
use huracan_core::words::{Symbol, Timeframe, UtcMs};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::data_type::{DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;

use super::candles::read;
use super::rows::append;
use super::scan::{Scan, SeriesFiles, venue_name};
use super::table_file;
use crate::error::Error;

/// One series that was imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Whose bars.
    pub symbol: Symbol,
    /// Length of a bar.
    pub timeframe: Timeframe,
    /// Rows the files held.
    pub rows_read: usize,
    /// Rows the store did not have before.
    pub rows_new: usize,
    /// Rows that contradict one already there; the store's row stays.
    pub rows_contradicting: usize,
    /// Month files written.
    pub months_written: usize,
    /// Month files that stayed as they were.
    pub months_unchanged: usize,
}

/// One series that could not be imported.
#[derive(Debug)]
pub struct ImportFailure {
    /// Whose bars.
    pub symbol: Symbol,
    /// Length of a bar.
    pub timeframe: Timeframe,
    /// Why.
    pub error: Error,
}

/// What an import did; the unusable files of the scan are reported by the scan.
#[derive(Debug, Default)]
pub struct ImportReport {
    /// Series now in the store, in scan order.
    pub imported: Vec<Imported>,
    /// Series that failed, in scan order; the others are not affected.
    pub failed: Vec<ImportFailure>,
}

/// Imports every series of a scan into the candle store below `dest_dir` (the folder that holds
/// `candles/`).
///
/// Months already there are merged: a bar the store has stays as it is. Importing the same files
/// again writes nothing; the same rows give the same bytes. Each month is written to a temporary
/// file, synced and renamed.
pub fn import(scan: &Scan, dest_dir: &Path) -> ImportReport {
    let mut report = ImportReport::default();
    for series in &scan.series {
        match import_series(series, dest_dir) {
            Ok(imported) => report.imported.push(imported),
            Err(error) => report.failed.push(ImportFailure {
                symbol: series.symbol.clone(),
                timeframe: series.timeframe,
                error,
            }),
        }
    }
    report
}

/// Where the store keeps one month (`YYYY-MM`) of a series.
pub fn month_path(dest_dir: &Path, symbol: &Symbol, timeframe: Timeframe, month: &str) -> PathBuf {
    let market = symbol.market().code();
    let folder = dest_dir.join("candles").join(market).join(timeframe.to_string()).join(symbol.to_string());
    folder.join(format!("{month}.parquet"))
}

fn import_series(series: &SeriesFiles, dest_dir: &Path) -> Result<Imported, Error> {
    let candles = read(series)?;
    let mut imported = Imported {
        symbol: series.symbol.clone(),
        timeframe: series.timeframe,
        rows_read: candles.bars.open_time.len(),
        rows_new: 0,
        rows_contradicting: 0,
        months_written: 0,
        months_unchanged: 0,
    };
    for (month, rows) in by_month(&candles.bars.open_time) {
        let path = month_path(dest_dir, &series.symbol, series.timeframe, &month);
        let (known, known_venue) = read_month(&path)?;
        if let (Some(theirs), Some(ours)) = (&known_venue, &candles.venue)
            && venue_name(theirs) != venue_name(ours)
        {
            return Err(Error::OtherVenue { path, found: ours.clone(), expected: theirs.clone() });
        }
        let known_rows = known.open_time.len();
        let mut both = known;
        append(&mut both, select(&candles.bars, &rows));
        let (order, contradicting) = first_of_each_bar(&both);
        imported.rows_contradicting += contradicting;
        if order.iter().all(|&row| row < known_rows) && known_rows == order.len() {
            imported.months_unchanged += 1;
            continue;
        }
        imported.rows_new += order.len() - order.iter().filter(|&&row| row < known_rows).count();
        let venue = known_venue.or_else(|| candles.venue.clone());
        write_month(&path, series, venue, &select(&both, &order))?;
        imported.months_written += 1;
    }
    if imported.months_written > 0 {
        sync_folder(dest_dir, series)?;
    }
    Ok(imported)
}

/// Row numbers of each month, in reading order.
fn by_month(times: &[i64]) -> BTreeMap<String, Vec<usize>> {
    let mut months: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut days: BTreeMap<i64, String> = BTreeMap::new();
    for (row, &time) in times.iter().enumerate() {
        let month = days.entry(UtcMs(time).day()).or_insert_with(|| UtcMs(time).month());
        match months.get_mut(month) {
            Some(rows) => rows.push(row),
            None => {
                months.insert(month.clone(), vec![row]);
            }
        }
    }
    months
}

fn read_month(path: &Path) -> Result<(Bars, Option<String>), Error> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes::Bytes::from(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((Bars::default(), None)),
        Err(source) => return Err(Error::Io { path: path.to_owned(), action: "read", source }),
    };
    let venue = table_file::footer(path, bytes.clone())?.venue;
    Ok((table_file::read(path, bytes)?.bars, venue))
}

/// Rows in time order, the first as read of each bar; and how many others contradict it.
fn first_of_each_bar(bars: &Bars) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..bars.open_time.len()).collect();
    order.sort_by_key(|&row| bars.open_time[row]);
    let same = |column: &[f64], a: usize, b: usize| {
        column[a] == column[b] || (column[a].is_nan() && column[b].is_nan())
    };
    let mut contradicting = 0;
    order.dedup_by(|later, first| {
        let repeats = bars.open_time[*later] == bars.open_time[*first];
        let agree = [&bars.open, &bars.high, &bars.low, &bars.close, &bars.volume]
            .iter()
            .all(|column| same(column, *first, *later));
        contradicting += usize::from(repeats && !agree);
        repeats
    });
    (order, contradicting)
}

fn select(bars: &Bars, rows: &[usize]) -> Bars {
    let pick = |column: &[f64]| rows.iter().map(|&row| column[row]).collect::<Vec<f64>>();
    let optional = |column: &Option<Vec<f64>>| {
        column.as_deref().map(pick).filter(|values| values.iter().any(|value| !value.is_nan()))
    };
    Bars {
        open_time: rows.iter().map(|&row| bars.open_time[row]).collect(),
        open: pick(&bars.open),
        high: pick(&bars.high),
        low: pick(&bars.low),
        close: pick(&bars.close),
        volume: pick(&bars.volume),
        quote_volume: optional(&bars.quote_volume),
        trades: optional(&bars.trades),
        taker_buy_base: optional(&bars.taker_buy_base),
        taker_buy_quote: optional(&bars.taker_buy_quote),
    }
}

fn write_month(path: &Path, series: &SeriesFiles, venue: Option<String>, bars: &Bars) -> Result<(), Error> {
    let refused = |action| move |source| Error::Io { path: path.to_owned(), action, source };
    let bytes = encode(series, venue, bars).map_err(|error| refused("encode")(error.into()))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(refused("create the folder of"))?;
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(&bytes)?;
        file.sync_all()
    });
    let moved = written.and_then(|()| fs::rename(&temporary, path)).map_err(refused("write"));
    if moved.is_err() {
        // The error that matters is already in hand; a temporary file left behind is passed over.
        let _ = fs::remove_file(&temporary);
    }
    moved
}

/// Makes the renames of a series' months durable, once for all of them.
fn sync_folder(dest_dir: &Path, series: &SeriesFiles) -> Result<(), Error> {
    let month = month_path(dest_dir, &series.symbol, series.timeframe, "");
    let path = month.parent().unwrap_or(dest_dir).to_owned();
    let synced = File::open(&path).and_then(|folder| folder.sync_all());
    synced.map_err(|source| Error::Io { path, action: "sync", source })
}

/// The month as Parquet bytes: the same rows always give the same bytes.
fn encode(series: &SeriesFiles, venue: Option<String>, bars: &Bars) -> Result<Vec<u8>, ParquetError> {
    let mut columns = vec![
        ("open", Some(&bars.open)),
        ("high", Some(&bars.high)),
        ("low", Some(&bars.low)),
        ("close", Some(&bars.close)),
        ("volume", Some(&bars.volume)),
        ("quote_volume", bars.quote_volume.as_ref()),
        ("trades", bars.trades.as_ref()),
        ("taker_buy_base", bars.taker_buy_base.as_ref()),
        ("taker_buy_quote", bars.taker_buy_quote.as_ref()),
    ];
    columns.retain(|(_, values)| values.is_some());
    let fields: String = columns.iter().map(|(name, _)| format!("required double {name}; ")).collect();
    let schema = parse_message_type(&format!("message candles {{ required int64 open_time; {fields}}}"))?;
    let pair = |key: &str, value: String| KeyValue::new(key.to_owned(), value);
    let mut metadata = vec![
        pair("symbol", series.symbol.to_string()),
        pair("timeframe", series.timeframe.to_string()),
        pair("market", series.symbol.market().code().to_owned()),
    ];
    metadata.extend(venue.map(|venue| pair("venue", venue)));
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .set_dictionary_enabled(false)
        .set_column_encoding(ColumnPath::from("open_time"), Encoding::DELTA_BINARY_PACKED)
        .set_created_by("huracan".to_owned())
        .set_key_value_metadata(Some(metadata))
        .build();
    let mut writer = SerializedFileWriter::new(Vec::new(), Arc::new(schema), Arc::new(properties))?;
    let mut group = writer.next_row_group()?;
    if let Some(mut column) = group.next_column()? {
        column.typed::<Int64Type>().write_batch(&bars.open_time, None, None)?;
        column.close()?;
    }
    for values in columns.into_iter().filter_map(|(_, values)| values) {
        if let Some(mut column) = group.next_column()? {
            column.typed::<DoubleType>().write_batch(values, None, None)?;
            column.close()?;
        }
    }
    group.close()?;
    writer.into_inner()
}
