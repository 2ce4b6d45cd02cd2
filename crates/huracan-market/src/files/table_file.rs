//! Parquet candles, read column by column without arrow.

use std::path::Path;

use bytes::Bytes;
use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::DataType;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::{ChunkReader, FileReader, SerializedFileReader};
use parquet::schema::types::{ColumnDescriptor, SchemaDescriptor};

use super::rows::{Column, Rows, TIME_NAMES, fold};
use super::times;
use crate::error::Error;

/// Rows decoded at a time.
const BATCH: usize = 1 << 16;

/// What the footer says about the file.
#[derive(Clone, Debug, Default)]
pub(super) struct Footer {
    pub symbol: Option<String>,
    pub timeframe: Option<String>,
    pub market: Option<String>,
    pub venue: Option<String>,
    pub rows: u64,
}

fn damaged(path: &Path) -> impl Fn(ParquetError) -> Error + '_ {
    move |error| Error::NotParquet { path: path.to_owned(), found: error.to_string() }
}

fn open<R: ChunkReader + 'static>(path: &Path, source: R) -> Result<SerializedFileReader<R>, Error> {
    SerializedFileReader::new(source).map_err(damaged(path))
}

/// Reads the footer, and refuses files that hold no candles by their columns.
pub(super) fn footer<R: ChunkReader + 'static>(path: &Path, source: R) -> Result<Footer, Error> {
    let reader = open(path, source)?;
    let metadata: &ParquetMetaData = reader.metadata();
    let schema = metadata.file_metadata().schema_descr();
    time_columns(path, schema)?;
    for column in Column::ALL {
        locate(path, schema, column)?;
    }
    let pairs = metadata.file_metadata().key_value_metadata();
    let value = |key: &str| {
        let found = pairs?.iter().find(|pair| pair.key.eq_ignore_ascii_case(key))?;
        found.value.clone().filter(|text| !text.is_empty())
    };
    Ok(Footer {
        symbol: value("symbol"),
        timeframe: value("timeframe"),
        market: value("market"),
        venue: value("venue"),
        rows: u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(0),
    })
}

/// Times of the first rows, in milliseconds, to infer the bar from.
pub(super) fn first_times<R: ChunkReader + 'static>(path: &Path, source: R) -> Result<Vec<i64>, Error> {
    const ROWS: usize = 512;
    let reader = open(path, source)?;
    let index = time_columns(path, reader.metadata().file_metadata().schema_descr())?[0];
    read_times(path, &reader, index, ROWS)
}

/// Reads every row.
pub(super) fn read(path: &Path, bytes: Bytes) -> Result<Rows, Error> {
    let reader = open(path, bytes)?;
    let schema = reader.metadata().file_metadata().schema_descr();
    let mut rows = Rows::default();
    for (rank, index) in time_columns(path, schema)?.into_iter().enumerate() {
        let times = read_times(path, &reader, index, usize::MAX)?;
        match rank {
            0 => rows.bars.open_time = times,
            _ => rows.second_times.push((schema.column(index).name().to_owned(), times)),
        }
    }
    let expected = rows.bars.open_time.len();
    for column in Column::ALL {
        let Some(index) = locate(path, schema, column)? else { continue };
        let values = read_numbers(path, &reader, index)?;
        if values.len() != expected {
            let column = schema.column(index).name().to_owned();
            return Err(Error::RaggedColumns {
                path: path.to_owned(),
                column,
                found: values.len(),
                expected,
            });
        }
        *rows.column(column) = values;
    }
    Ok(rows)
}

/// Top-level column of one of the given names, the earliest name first.
fn find(schema: &SchemaDescriptor, names: &[&str]) -> Option<usize> {
    let flat = |i: &usize| schema.column(*i).path().parts().len() == 1;
    names.iter().find_map(|name| {
        (0..schema.num_columns()).filter(flat).find(|&i| fold(schema.column(i).name()) == *name)
    })
}

fn columns_text(schema: &SchemaDescriptor) -> String {
    let names: Vec<&str> = schema.columns().iter().map(|column| column.name()).collect();
    names.join(", ")
}

/// The time column to use, then further ones, by rank of their names.
fn time_columns(path: &Path, schema: &SchemaDescriptor) -> Result<Vec<usize>, Error> {
    let found: Vec<usize> = TIME_NAMES.iter().filter_map(|name| find(schema, &[name])).collect();
    let Some(&first) = found.first() else {
        return Err(Error::MissingColumn {
            path: path.to_owned(),
            expected: "open_time or timestamp",
            found: columns_text(schema),
        });
    };
    let usable = |index: &usize| time_unit(&schema.column(*index)).is_some();
    if !usable(&first) {
        let column = schema.column(first);
        return Err(Error::WrongType {
            path: path.to_owned(),
            column: column.name().to_owned(),
            found: type_text(&column),
            expected: "int64, a timestamp or a date",
        });
    }
    Ok(found.into_iter().filter(usable).collect())
}

fn locate(path: &Path, schema: &SchemaDescriptor, column: Column) -> Result<Option<usize>, Error> {
    let Some(index) = find(schema, column.names()) else {
        if !column.required() {
            return Ok(None);
        }
        let expected = column.names()[0];
        return Err(Error::MissingColumn { path: path.to_owned(), expected, found: columns_text(schema) });
    };
    let descriptor = schema.column(index);
    let numeric =
        matches!(descriptor.physical_type(), Type::DOUBLE | Type::FLOAT | Type::INT32 | Type::INT64);
    let decimal = matches!(descriptor.logical_type_ref(), Some(LogicalType::Decimal(_)))
        || descriptor.converted_type() == ConvertedType::DECIMAL;
    if !numeric || decimal || descriptor.max_rep_level() > 0 {
        return Err(Error::WrongType {
            path: path.to_owned(),
            column: descriptor.name().to_owned(),
            found: type_text(&descriptor),
            expected: "double, float or integer",
        });
    }
    Ok(Some(index))
}

fn type_text(column: &ColumnDescriptor) -> String {
    match column.logical_type_ref() {
        Some(logical) => format!("{} ({logical:?})", column.physical_type()),
        None => column.physical_type().to_string(),
    }
}

/// How a time column's numbers become milliseconds.
#[derive(Clone, Copy)]
enum Unit {
    BySize,
    Millis,
    Micros,
    Nanos,
    Days,
}

fn time_unit(column: &ColumnDescriptor) -> Option<Unit> {
    if column.max_rep_level() > 0 {
        return None;
    }
    let logical = match column.logical_type_ref() {
        Some(LogicalType::Timestamp(stamp)) => Some(match stamp.unit {
            TimeUnit::MILLIS => Unit::Millis,
            TimeUnit::MICROS => Unit::Micros,
            TimeUnit::NANOS => Unit::Nanos,
        }),
        Some(LogicalType::Date) => Some(Unit::Days),
        _ => None,
    };
    let converted = match column.converted_type() {
        ConvertedType::TIMESTAMP_MILLIS => Some(Unit::Millis),
        ConvertedType::TIMESTAMP_MICROS => Some(Unit::Micros),
        ConvertedType::DATE => Some(Unit::Days),
        _ => None,
    };
    match (column.physical_type(), logical.or(converted)) {
        (Type::INT64, unit) => Some(unit.unwrap_or(Unit::BySize)),
        (Type::INT32, Some(Unit::Days)) => Some(Unit::Days),
        (Type::INT32 | Type::DOUBLE, None) => Some(Unit::BySize),
        (Type::INT96, _) => Some(Unit::Millis),
        _ => None,
    }
}

impl Unit {
    fn to_ms(self, value: i64) -> i64 {
        match self {
            Unit::BySize => times::from_number(value),
            Unit::Millis => value,
            Unit::Micros => value.div_euclid(1000),
            Unit::Nanos => value.div_euclid(1_000_000),
            Unit::Days => value.saturating_mul(huracan_core::words::UtcMs::DAY),
        }
    }
}

/// Appends up to `limit` values of one column chunk; nulls become `null`.
fn drain<T: DataType, U: Copy>(
    mut reader: ColumnReaderImpl<T>,
    nullable: bool,
    limit: usize,
    null: U,
    convert: impl Fn(&T::T) -> U,
    out: &mut Vec<U>,
) -> Result<(), ParquetError> {
    let mut values: Vec<T::T> = Vec::new();
    let mut levels: Vec<i16> = Vec::new();
    while out.len() < limit {
        values.clear();
        levels.clear();
        let wanted = BATCH.min(limit - out.len());
        let (records, present, _) =
            reader.read_records(wanted, nullable.then_some(&mut levels), None, &mut values)?;
        if records == 0 {
            break;
        }
        if present == records {
            out.extend(values.iter().map(&convert));
            continue;
        }
        let mut defined = values.iter();
        let top = levels.iter().copied().max().unwrap_or(0);
        for &level in &levels {
            let value = if level == top && level > 0 { defined.next().map(&convert) } else { None };
            out.push(value.unwrap_or(null));
        }
    }
    Ok(())
}

fn read_times<R: ChunkReader + 'static>(
    path: &Path,
    reader: &SerializedFileReader<R>,
    index: usize,
    limit: usize,
) -> Result<Vec<i64>, Error> {
    let column = reader.metadata().file_metadata().schema_descr().column(index);
    let unit = time_unit(&column).unwrap_or(Unit::BySize);
    let nullable = column.max_def_level() > 0;
    let mut out = Vec::new();
    for group in 0..reader.num_row_groups() {
        let chunk = reader.get_row_group(group).and_then(|group| group.get_column_reader(index));
        let null = i64::MIN;
        let done = match chunk.map_err(damaged(path))? {
            ColumnReader::Int64ColumnReader(r) => {
                drain(r, nullable, limit, null, |v| unit.to_ms(*v), &mut out)
            }
            ColumnReader::Int32ColumnReader(r) => {
                drain(r, nullable, limit, null, |v| unit.to_ms(i64::from(*v)), &mut out)
            }
            ColumnReader::DoubleColumnReader(r) => {
                drain(r, nullable, limit, null, |v| unit.to_ms(*v as i64), &mut out)
            }
            ColumnReader::Int96ColumnReader(r) => {
                drain(r, nullable, limit, null, |v| v.to_millis(), &mut out)
            }
            _ => Ok(()),
        };
        done.map_err(damaged(path))?;
    }
    Ok(out)
}

fn read_numbers(path: &Path, reader: &SerializedFileReader<Bytes>, index: usize) -> Result<Vec<f64>, Error> {
    let column = reader.metadata().file_metadata().schema_descr().column(index);
    let nullable = column.max_def_level() > 0;
    let mut out = Vec::new();
    for group in 0..reader.num_row_groups() {
        let chunk = reader.get_row_group(group).and_then(|group| group.get_column_reader(index));
        let (all, null) = (usize::MAX, f64::NAN);
        let done = match chunk.map_err(damaged(path))? {
            ColumnReader::DoubleColumnReader(r) => drain(r, nullable, all, null, |v| *v, &mut out),
            ColumnReader::FloatColumnReader(r) => drain(r, nullable, all, null, |v| f64::from(*v), &mut out),
            ColumnReader::Int64ColumnReader(r) => drain(r, nullable, all, null, |v| *v as f64, &mut out),
            ColumnReader::Int32ColumnReader(r) => drain(r, nullable, all, null, |v| f64::from(*v), &mut out),
            _ => Ok(()),
        };
        done.map_err(damaged(path))?;
    }
    Ok(out)
}
