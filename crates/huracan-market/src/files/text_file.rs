//! CSV candles: with a header in any of its spellings, or the exchange archive's twelve bare
//! columns.

use std::io::Read;
use std::path::Path;

use csv::{ByteRecord, ReaderBuilder};

use super::rows::{Column, Rows, TIME_NAMES, fold};
use super::times;
use crate::error::Error;

/// The archive's column order; its seventh column is the close time.
const BARE: [(usize, Column); 9] = [
    (1, Column::Open),
    (2, Column::High),
    (3, Column::Low),
    (4, Column::Close),
    (5, Column::Volume),
    (7, Column::QuoteVolume),
    (8, Column::Trades),
    (9, Column::TakerBase),
    (10, Column::TakerQuote),
];
/// Bare rows have these many columns: OHLCV with a time, or the archive's eleven or twelve.
const BARE_WIDTHS: [usize; 3] = [6, 11, 12];

/// Where each known column stands.
struct Layout {
    times: Vec<(usize, String)>,
    numbers: Vec<(usize, Column)>,
    symbol: Option<usize>,
}

/// Reads up to `limit` rows.
pub(super) fn read(path: &Path, source: impl Read, limit: usize) -> Result<Rows, Error> {
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(source);
    let mut record = ByteRecord::new();
    let mut rows = Rows::default();
    if !next(path, &mut reader, &mut record)? {
        return Err(Error::NoRows { path: path.to_owned() });
    }
    let (layout, is_header) = layout(path, &record)?;
    rows.second_times = layout.times[1..].iter().map(|(_, name)| (name.clone(), Vec::new())).collect();
    let mut more = if is_header { next(path, &mut reader, &mut record)? } else { true };
    while more && rows.bars.open_time.len() < limit {
        take(path, &layout, &record, &mut rows)?;
        more = next(path, &mut reader, &mut record)?;
    }
    if rows.bars.open_time.is_empty() {
        return Err(Error::NoRows { path: path.to_owned() });
    }
    Ok(rows)
}

fn next(path: &Path, reader: &mut csv::Reader<impl Read>, record: &mut ByteRecord) -> Result<bool, Error> {
    reader.read_byte_record(record).map_err(|error| match error.into_kind() {
        csv::ErrorKind::Io(source) => Error::Io { path: path.to_owned(), action: "read", source },
        other => Error::BadLine {
            path: path.to_owned(),
            line: record.position().map_or(1, csv::Position::line),
            found: format!("{other:?}"),
            expected: "comma-separated values",
        },
    })
}

/// Reads the layout off the first record; says whether that was a header.
fn layout(path: &Path, first: &ByteRecord) -> Result<(Layout, bool), Error> {
    let texts: Vec<String> = first.iter().map(|field| String::from_utf8_lossy(field).into_owned()).collect();
    if texts.first().is_some_and(|text| times::from_text(text).is_some()) {
        if !BARE_WIDTHS.contains(&texts.len()) {
            return Err(Error::BadLine {
                path: path.to_owned(),
                line: 1,
                found: format!("{} columns without a header", texts.len()),
                expected: "6 (time, open, high, low, close, volume) or the archive's 12",
            });
        }
        let numbers = BARE.into_iter().filter(|(index, _)| *index < texts.len()).collect();
        return Ok((Layout { times: vec![(0, "open_time".to_owned())], numbers, symbol: None }, false));
    }
    let headers: Vec<String> = texts.iter().map(|text| fold(text)).collect();
    let find = |names: &[&str]| names.iter().find_map(|name| headers.iter().position(|h| h == name));
    let missing = |expected: &'static str| Error::MissingColumn {
        path: path.to_owned(),
        expected,
        found: texts.join(", "),
    };
    let times: Vec<(usize, String)> =
        TIME_NAMES.iter().filter_map(|name| find(&[name])).map(|i| (i, texts[i].clone())).collect();
    if times.is_empty() {
        return Err(missing("open_time, timestamp or date"));
    }
    let mut numbers = Vec::new();
    for column in Column::ALL {
        match find(column.names()) {
            Some(index) => numbers.push((index, column)),
            None if column.required() => return Err(missing(column.names()[0])),
            None => {}
        }
    }
    Ok((Layout { times, numbers, symbol: find(&["symbol", "ticker", "pair"]) }, true))
}

fn take(path: &Path, layout: &Layout, record: &ByteRecord, rows: &mut Rows) -> Result<(), Error> {
    let line = record.position().map_or(0, csv::Position::line);
    let field = |index: usize| record.get(index).unwrap_or_default();
    let bad = |index: usize, expected: &'static str| Error::BadLine {
        path: path.to_owned(),
        line,
        found: format!("{:?}", String::from_utf8_lossy(field(index))),
        expected,
    };
    let time_of = |index: usize| std::str::from_utf8(field(index)).ok().and_then(times::from_text);
    let at = layout.times[0].0;
    rows.bars.open_time.push(time_of(at).ok_or_else(|| bad(at, "a time"))?);
    for ((index, _), (_, column)) in layout.times[1..].iter().zip(&mut rows.second_times) {
        column.push(time_of(*index).unwrap_or(i64::MIN));
    }
    for &(index, column) in &layout.numbers {
        let value = number(field(index)).ok_or_else(|| bad(index, "a number"))?;
        rows.column(column).push(value);
    }
    if let Some(index) = layout.symbol {
        let found = String::from_utf8_lossy(field(index));
        match &rows.symbol {
            None => rows.symbol = Some(found.into_owned()),
            Some(expected) if *expected == found => {}
            Some(expected) => {
                return Err(Error::SeveralSymbols {
                    path: path.to_owned(),
                    line,
                    found: found.into_owned(),
                    expected: expected.clone(),
                });
            }
        }
    }
    Ok(())
}

/// A number; an empty field or a spelling of "not there" is NaN.
fn number(field: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(field).ok()?.trim();
    if text.is_empty() || ["null", "none", "na", "n/a", "-"].iter().any(|no| text.eq_ignore_ascii_case(no)) {
        return Some(f64::NAN);
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Result<Rows, Error> {
        read(Path::new("x.csv"), text.as_bytes(), usize::MAX)
    }

    #[test]
    fn the_archives_bare_columns_are_known_in_ms_and_us() {
        let read = rows(
            "1698364800000,1,4,0.5,2,10,1698368399999,20,7,3,6,0\n\
             1735689600000000,2,4,1,3,11,1735693199999999,33,8,4,12,0\n",
        )
        .unwrap();
        assert_eq!(read.bars.open_time, [1_698_364_800_000, 1_735_689_600_000]);
        assert_eq!(read.bars.close, [2.0, 3.0]);
        assert_eq!(read.bars.quote_volume, Some(vec![20.0, 33.0]));
        assert_eq!(read.bars.trades, Some(vec![7.0, 8.0]));
        assert_eq!(read.bars.taker_buy_quote, Some(vec![6.0, 12.0]));
    }

    #[test]
    fn headers_are_known_by_their_many_names() {
        let read = rows(
            "timestamp,open,high,low,close,volume,close_time,quote_asset_volume,number_of_trades,\
             taker_buy_base_asset_volume,taker_buy_quote_asset_volume,ignore\n\
             2025-02-05 13:00:00,1,2,1,2,5,2025-02-05 13:59:59.999,9,3,2,4,0\n",
        )
        .unwrap();
        assert_eq!(read.bars.open_time, [1_738_760_400_000]);
        assert_eq!(read.bars.taker_buy_base, Some(vec![2.0]));
        assert!(read.second_times.is_empty());
        let read = rows(
            "timestamp,open,high,low,close,volume,turnover,date\n1662681600000,1,1,1,1,1,7,2022-09-09\n",
        );
        let read = read.unwrap();
        assert_eq!(read.bars.quote_volume, Some(vec![7.0]));
        assert_eq!(read.second_times, [("date".to_owned(), vec![1_662_681_600_000])]);
    }

    #[test]
    fn missing_numbers_are_nan_and_nonsense_is_an_error_with_its_line() {
        let header = "date,open,high,low,close,volume,ticker\n";
        let read = rows(&format!("{header}2021-04-04 21:00:00,1,,1,null,1,LUNAUSDT\n")).unwrap();
        assert!(read.bars.high[0].is_nan() && read.bars.close[0].is_nan());
        assert_eq!(read.symbol.as_deref(), Some("LUNAUSDT"));
        let check = |line: &str, expected: &str| {
            let error = rows(&format!("{header}2021-04-04,1,1,1,1,1,A\n{line}\n")).unwrap_err();
            assert_eq!(error.to_string(), expected);
        };
        check("2021-04-05,1,1,1,abc,1,A", "x.csv line 3: \"abc\", expected a number");
        check("soon,1,1,1,1,1,A", "x.csv line 3: \"soon\", expected a time");
        check(
            "2021-04-05,1,1,1,1,1,B",
            "x.csv line 3: symbol B, the lines before are of A; split the file by symbol",
        );
    }

    #[test]
    fn other_tables_are_no_candles() {
        assert_eq!(rows("").unwrap_err().code(), "no_rows");
        assert_eq!(
            rows("26129,0.01633102,4.70443515,27781,27781,1498793709153,True,True\n").unwrap_err().code(),
            "bad_line"
        );
        assert_eq!(rows("time,price\n1,2\n").unwrap_err().code(), "missing_column");
    }
}
