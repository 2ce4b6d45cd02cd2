//! Candle files written by the tests themselves.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use huracan_core::series::Bars;
use parquet::data_type::{DoubleType, Int64Type};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

/// 2025-01-01T00:00:00Z.
pub const START: i64 = 1_735_689_600_000;
pub const HOUR: i64 = 3_600_000;

/// `n` hourly bars of a deterministic walk from `start`, with all optional columns.
pub fn bars(start: i64, n: usize) -> Bars {
    let mut bars = Bars::default();
    let (mut price, mut state) = (100.0_f64, 7_u64);
    let mut quote = Vec::new();
    for i in 0..n {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let step = ((state >> 40) as f64 / (1_u64 << 24) as f64 - 0.5) * 0.02;
        let close = price * step.exp();
        bars.open_time.push(start + i as i64 * HOUR);
        bars.open.push(price);
        bars.high.push(price.max(close) * 1.001);
        bars.low.push(price.min(close) * 0.999);
        bars.close.push(close);
        bars.volume.push(1000.0 + i as f64);
        quote.push((1000.0 + i as f64) * close);
        price = close * 1.000_01;
    }
    bars.trades = Some((0..n).map(|i| 10.0 + i as f64).collect());
    bars.quote_volume = Some(quote);
    bars
}

/// One column of a written Parquet file.
pub enum Values<'a> {
    Longs(&'a [i64]),
    Doubles(&'a [f64]),
    /// Of an optional column: `None` is null.
    Nullable(&'a [Option<f64>]),
}

/// Writes a Parquet file with the fields of `schema` (message syntax without the frame).
pub fn parquet_with(path: &Path, schema: &str, columns: &[Values<'_>], metadata: &[(&str, &str)]) {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).unwrap();
    }
    let schema = parse_message_type(&format!("message m {{ {schema} }}")).unwrap();
    let pairs = metadata.iter().map(|(key, value)| KeyValue::new((*key).to_owned(), (*value).to_owned()));
    let properties = WriterProperties::builder().set_key_value_metadata(Some(pairs.collect())).build();
    let file = fs::File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties)).unwrap();
    let mut group = writer.next_row_group().unwrap();
    for values in columns {
        let mut column = group.next_column().unwrap().unwrap();
        match values {
            Values::Longs(values) => column.typed::<Int64Type>().write_batch(values, None, None).unwrap(),
            Values::Nullable(values) => {
                let levels: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
                let defined: Vec<f64> = values.iter().flatten().copied().collect();
                column.typed::<DoubleType>().write_batch(&defined, Some(&levels), None).unwrap()
            }
            Values::Doubles(values) => column.typed::<DoubleType>().write_batch(values, None, None).unwrap(),
        };
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
}

pub const OHLCV: &str = "required double open; required double high; required double low; \
                         required double close; required double volume;";

/// Writes OHLCV bars with `open_time` as bare milliseconds.
pub fn parquet(path: &Path, bars: &Bars, metadata: &[(&str, &str)]) {
    let columns = [
        Values::Longs(&bars.open_time),
        Values::Doubles(&bars.open),
        Values::Doubles(&bars.high),
        Values::Doubles(&bars.low),
        Values::Doubles(&bars.close),
        Values::Doubles(&bars.volume),
    ];
    parquet_with(path, &format!("required int64 open_time; {OHLCV}"), &columns, metadata);
}

/// The archive's twelve bare columns, times multiplied by `unit` (1 for ms, 1000 for µs).
pub fn archive_csv(bars: &Bars, unit: i64) -> String {
    let quote = bars.quote_volume.as_ref().unwrap();
    let rows = (0..bars.open_time.len()).map(|i| {
        format!(
            "{},{},{},{},{},{},{},{},{},1,2,0\n",
            bars.open_time[i] * unit,
            bars.open[i],
            bars.high[i],
            bars.low[i],
            bars.close[i],
            bars.volume[i],
            (bars.open_time[i] + HOUR) * unit - 1,
            quote[i],
            bars.trades.as_ref().unwrap()[i]
        )
    });
    rows.collect()
}

pub fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

pub fn zipped(name: &str, content: &str) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    writer.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
    writer.write_all(content.as_bytes()).unwrap();
    writer.finish().unwrap().into_inner()
}

pub fn gzipped(content: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content.as_bytes()).unwrap();
    encoder.finish().unwrap()
}
