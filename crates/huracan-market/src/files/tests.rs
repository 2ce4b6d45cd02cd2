//! Folders of generated files, scanned, read, imported and checked.

use std::fs;
use std::path::Path;

use huracan_core::gates::SkipReason;
use huracan_core::words::{Market, Symbol, Timeframe};

use super::scan::Format;
use super::testing::*;
use super::*;

fn scanned(dir: &Path) -> Scan {
    scan(dir, &ScanOptions::default()).unwrap()
}

fn only(dir: &Path) -> SeriesFiles {
    let found = scanned(dir);
    assert_eq!((found.series.len(), &found.unusable), (1, &vec![]), "{found:?}");
    found.series.into_iter().next().unwrap()
}

fn names(found: &Scan) -> Vec<String> {
    found.series.iter().map(|series| format!("{} {}", series.symbol, series.timeframe)).collect()
}

fn reasons(found: &Scan) -> Vec<(&str, &str)> {
    found.unusable.iter().map(|unusable| (unusable.name.as_str(), unusable.reason.code())).collect()
}

#[test]
fn a_parquet_series_is_known_by_its_metadata_and_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let written = bars(START, 100);
    let facts = [("symbol", "SOL-USDT:USDT"), ("timeframe", "1h"), ("venue", "okx")];
    parquet(&dir.path().join("deep/er/anything.parquet"), &written, &facts);
    let series = only(dir.path());
    assert_eq!((series.symbol.to_string().as_str(), series.timeframe), ("SOLUSDT.P", Timeframe::H1));
    assert_eq!((series.venue.as_deref(), series.rows), (Some("okx"), Some(100)));
    let candles = read(&series).unwrap();
    assert_eq!((candles.bars.open_time, candles.bars.close), (written.open_time, written.close));
    assert_eq!((candles.inputs.len(), candles.inputs[0].sha256.len()), (1, 64));
    assert_eq!((candles.venue.as_deref(), candles.notes.len()), (Some("okx"), 0));
}

#[test]
fn time_units_and_types_of_parquet_all_mean_the_same_moment() {
    let written = bars(START, 50);
    let check = |field: &str, unit: i64| {
        let dir = tempfile::tempdir().unwrap();
        let times: Vec<i64> = written.open_time.iter().map(|time| time * unit).collect();
        let columns = [
            Values::Longs(&times),
            Values::Doubles(&written.open),
            Values::Doubles(&written.high),
            Values::Doubles(&written.low),
            Values::Doubles(&written.close),
            Values::Doubles(&written.volume),
        ];
        let path = dir.path().join("BTCUSDT.parquet");
        parquet_with(&path, &format!("required int64 {field}; {OHLCV}"), &columns, &[]);
        let series = only(dir.path());
        assert_eq!(series.timeframe, Timeframe::H1, "{field}");
        assert_eq!(read(&series).unwrap().bars.open_time, written.open_time, "{field}");
    };
    check("open_time", 1);
    check("timestamp", 1000);
    check("timestamp", 1_000_000);
    check("timestamp (TIMESTAMP(MILLIS,true))", 1);
    check("datetime (TIMESTAMP(MICROS,true))", 1000);
    check("date (TIMESTAMP(NANOS,false))", 1_000_000);
}

#[test]
fn integer_columns_are_numbers_and_a_wrong_second_time_is_noted() {
    let dir = tempfile::tempdir().unwrap();
    let written = bars(START, 50);
    let wrong: Vec<i64> = written.open_time.iter().map(|time| time / 1000).collect();
    let trades: Vec<i64> = (0..50).collect();
    let columns = [
        Values::Longs(&written.open_time),
        Values::Doubles(&written.open),
        Values::Doubles(&written.high),
        Values::Doubles(&written.low),
        Values::Doubles(&written.close),
        Values::Doubles(&written.volume),
        Values::Longs(&wrong),
        Values::Longs(&trades),
    ];
    let schema = format!(
        "required int64 timestamp; {OHLCV} required int64 ts (TIMESTAMP(MILLIS,true)); required int64 trades;"
    );
    parquet_with(&dir.path().join("SOL-USDT_1h_2025.parquet"), &schema, &columns, &[]);
    let candles = read(&only(dir.path())).unwrap();
    assert_eq!(candles.bars.open_time, written.open_time);
    assert_eq!(candles.bars.trades.unwrap()[49], 49.0);
    assert_eq!((candles.notes[0].code, candles.notes[0].untrustworthy), ("time_column_contradiction", false));
}

#[test]
fn nulls_are_missing_numbers_in_their_place() {
    let dir = tempfile::tempdir().unwrap();
    let written = bars(START, 4);
    let close = [Some(1.5), None, Some(2.5), None];
    let quote: [Option<f64>; 4] = [None; 4];
    let columns = [
        Values::Longs(&written.open_time),
        Values::Doubles(&written.open),
        Values::Doubles(&written.high),
        Values::Doubles(&written.low),
        Values::Nullable(&close),
        Values::Doubles(&written.volume),
        Values::Nullable(&quote),
    ];
    let schema = format!("required int64 open_time; {OHLCV} optional double quote_volume;")
        .replace("required double close", "optional double close");
    parquet_with(&dir.path().join("BTCUSDT-1h.parquet"), &schema, &columns, &[]);
    let bars = read(&only(dir.path())).unwrap().bars;
    let back: Vec<Option<f64>> =
        bars.close.iter().map(|value| Some(*value).filter(|v| !v.is_nan())).collect();
    assert_eq!(back, close);
    assert!(bars.quote_volume.unwrap().iter().all(|value| value.is_nan()));
}

#[test]
fn the_archives_zips_are_read_as_they_stand_and_verified() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (bars(START, 744), bars(START + 744 * HOUR, 24));
    let folder = dir.path().join("data/spot/monthly/klines/DOGEUSDT/1h");
    let january = zipped("DOGEUSDT-1h-2025-01.csv", &archive_csv(&first, 1));
    let zip = folder.join("DOGEUSDT-1h-2025-01.zip");
    write(&zip, &january);
    write(&folder.join("DOGEUSDT-1h-2025-02.zip"), &zipped("x.csv", &archive_csv(&second, 1000)));
    let hash = read(&only(dir.path())).unwrap().inputs[0].sha256.clone();
    let beside = folder.join("DOGEUSDT-1h-2025-01.zip.CHECKSUM");
    write(&beside, format!("{hash}  DOGEUSDT-1h-2025-01.zip\n").as_bytes());
    let series = only(dir.path());
    assert_eq!((series.symbol.market(), series.files.len()), (Market::Spot, 2));
    let candles = read(&series).unwrap();
    assert_eq!(candles.bars.open_time.len(), 768);
    assert!(candles.bars.open_time.windows(2).all(|pair| pair[1] - pair[0] == HOUR));
    assert_eq!(candles.bars.quote_volume.unwrap()[..744], first.quote_volume.unwrap());

    write(&beside, format!("{}  x.zip\n", "0".repeat(64)).as_bytes());
    let error = read(&series).unwrap_err();
    assert_eq!(error.code(), "checksum_mismatch");
    assert!(error.to_string().contains("DOGEUSDT-1h-2025-01.zip"), "{error}");
    write(&beside, b"<html>");
    assert_eq!(read(&series).unwrap_err().code(), "bad_checksum_file");
}

#[test]
fn csv_and_gzip_read_alike_and_a_symbol_column_counts() {
    let dir = tempfile::tempdir().unwrap();
    let text = "date,open,high,low,close,volume,ticker\n\
                2021-04-04 21:00:00,1,2,1,2,5,LUNAUSDT\n2021-04-04 22:00:00,2,3,1,3,6,LUNAUSDT\n";
    write(&dir.path().join("one.csv"), text.as_bytes());
    write(&dir.path().join("two.csv.gz"), &gzipped(&text.replace("LUNA", "SUN").replace("-04 2", "-05 2")));
    let found = scanned(dir.path());
    assert_eq!(names(&found), ["LUNAUSDT 1h", "SUNUSDT 1h"]);
    let read_all: Vec<f64> = found.series.iter().map(|series| read(series).unwrap().bars.close[1]).collect();
    assert_eq!(read_all, [3.0, 3.0]);
}

#[test]
fn files_of_one_series_are_joined_and_missing_columns_are_nan() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("ETHUSDT-1h-a.csv"), archive_csv(&bars(START, 10), 1).as_bytes());
    parquet(&dir.path().join("ETHUSDT-1h-b.parquet"), &bars(START + 10 * HOUR, 10), &[]);
    let bars = read(&only(dir.path())).unwrap().bars;
    assert_eq!(bars.open_time.len(), 20);
    let quote = bars.quote_volume.unwrap();
    assert!(quote[..10].iter().all(|v| v.is_finite()) && quote[10..].iter().all(|v| v.is_nan()));
    assert_eq!(bars.taker_buy_quote.unwrap().len(), 20);
}

#[test]
fn options_help_files_that_say_nothing() {
    let dir = tempfile::tempdir().unwrap();
    parquet(&dir.path().join("prices.parquet"), &bars(START, 10), &[]);
    assert_eq!(reasons(&scanned(dir.path())), [("prices.parquet", "invalid_symbol")]);
    let symbol: Symbol = "BTCUSDT.P".parse().unwrap();
    let options = ScanOptions { symbol: Some(symbol), bar: None, market: None };
    assert_eq!(names(&scan(dir.path(), &options).unwrap()), ["BTCUSDT.P 1h"]);
    fs::rename(dir.path().join("prices.parquet"), dir.path().join("BTCUSDT.parquet")).unwrap();
    let options = ScanOptions { market: Some(Market::Perp), bar: Some(Timeframe::M15), symbol: None };
    assert_eq!(names(&scan(dir.path(), &options).unwrap()), ["BTCUSDT.P 15m"]);
}

#[test]
fn what_cannot_be_used_is_listed_with_its_reason_and_stops_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let good = bars(START, 30);
    parquet(&at("GOODUSDT.parquet"), &good, &[]);
    parquet(&at("a.parquet"), &good, &[("symbol", "币安人生USDT"), ("timeframe", "1h")]);
    parquet(&at("b.parquet"), &good, &[("symbol", "../../etc/passwd"), ("timeframe", "1h")]);
    parquet(&at("x/TWOUSDT.parquet"), &good, &[("venue", "binance spot")]);
    parquet(&at("y/TWOUSDT.parquet"), &good, &[("venue", "kraken")]);
    parquet(&at("BARUSDT.parquet"), &good, &[("timeframe", "7m")]);
    parquet_with(
        &at("FUNDUSDT.parquet"),
        "required int64 funding_time; required double funding_rate;",
        &[Values::Longs(&[1]), Values::Doubles(&[0.1])],
        &[],
    );
    write(&at("LIEUSDT.parquet"), b"not a parquet file at all");
    write(&at("OLDUSDT.feather"), b"?");
    write(&at("DOGEUSDT-1s-2025.csv"), archive_csv(&good, 1).as_bytes());
    write(&at("ODDUSDT.csv"), b"1735689600000,1,1,1,1,1\n1735689607000,1,1,1,1,1\n");
    write(&at("XRPETH-aggTrades-2019-10-11.csv"), b"1,0.01,4.7,2,2,1498793709153,True,True\n");
    write(&at("cm_BTCUSD_PERP-1h-2023.csv"), archive_csv(&good, 1).as_bytes());
    write(&at("README.md"), b"no candles");
    write(&at(".hidden.parquet"), b"no candles");
    let found = scanned(dir.path());
    assert_eq!(names(&found), ["GOODUSDT 1h"]);
    let mut expected = vec![
        ("../../etc/passwd", "invalid_symbol"),
        ("BARUSDT", "unreadable"),
        ("DOGEUSDT", "unreadable"),
        ("FUNDUSDT.parquet", "unreadable"),
        ("LIEUSDT.parquet", "unreadable"),
        ("ODDUSDT", "mixed_bars"),
        ("OLDUSDT.feather", "unreadable"),
        ("TWOUSDT", "two_venues"),
        ("XRPETH-aggTrades-2019-10-11.csv", "unreadable"),
        ("cm_BTCUSD_PERP-1h-2023.csv", "unreadable"),
        ("币安人生USDT", "invalid_symbol"),
    ];
    expected.sort_unstable();
    assert_eq!(reasons(&found), expected);
    assert_eq!(scanned(dir.path()), found);
}

#[test]
fn spellings_of_one_venue_are_one_venue() {
    let dir = tempfile::tempdir().unwrap();
    parquet(&dir.path().join("a/BTCUSDT.parquet"), &bars(START, 30), &[("venue", "binance spot")]);
    parquet(&dir.path().join("b/BTCUSDT.parquet"), &bars(START, 30), &[("venue", "Binance")]);
    parquet(&dir.path().join("c/BTCUSDT.parquet"), &bars(START, 30), &[]);
    assert_eq!(only(dir.path()).files.len(), 3);
}

#[test]
fn folders_that_cannot_be_used_say_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let code = |path: &Path| scan(path, &ScanOptions::default()).unwrap_err().code();
    assert_eq!(code(&dir.path().join("nowhere")), "missing_folder");
    assert_eq!(code(dir.path()), "empty_folder");
    write(&dir.path().join("file.txt"), b"");
    assert_eq!(code(&dir.path().join("file.txt")), "not_a_folder");
    assert_eq!(code(dir.path()), "empty_folder");
}

#[test]
fn wrong_columns_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("BTCUSDT.parquet");
    let one = [1.0];
    let check = |close: &str, value: Values<'_>, expected: &str| {
        let schema = format!("required int64 open_time; {OHLCV}").replace("required double close", close);
        let [open, high, low, volume] = [(); 4].map(|()| Values::Doubles(&one));
        parquet_with(&path, &schema, &[Values::Longs(&[START]), open, high, low, value, volume], &[]);
        let found = scanned(dir.path());
        let SkipReason::Unreadable { found } = &found.unusable[0].reason else { panic!("{found:?}") };
        assert!(found.ends_with(expected), "{found}");
    };
    check(
        "required double last",
        Values::Doubles(&one),
        "no column close; the columns are open_time, open, high, low, last, volume",
    );
    check("required int64 close (DECIMAL(18,2))", Values::Longs(&[1]), "expected double, float or integer");
}

#[test]
fn damaged_parquet_is_an_error_never_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("BTCUSDT.parquet");
    parquet(&path, &bars(START, 200), &[("symbol", "BTCUSDT"), ("timeframe", "1h")]);
    let series = only(dir.path());
    let whole = fs::read(&path).unwrap();
    for length in (0..whole.len()).step_by(97) {
        write(&path, &whole[..length]);
        assert!(read(&series).is_err(), "cut at {length}");
    }
    for at in (0..whole.len()).step_by(61) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x55;
        write(&path, &flipped);
        // Any outcome but a panic: a flipped price is still a price.
        let _ = read(&series);
        let _ = scan(dir.path(), &ScanOptions::default());
    }
}

#[test]
fn single_impossible_times_are_dropped_and_many_refuse_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("BTCUSDT-1h.parquet");
    let mut written = bars(START, 200);
    written.open_time[5] = 0;
    parquet(&path, &written, &[]);
    let candles = read(&only(dir.path())).unwrap();
    assert_eq!((candles.bars.close.len(), candles.notes[0].code), (199, "implausible_times"));
    written.open_time.iter_mut().for_each(|time| *time /= 1_000_000);
    parquet(&path, &written, &[]);
    assert_eq!(read(&only(dir.path())).unwrap_err().code(), "implausible_times");
}

#[test]
fn an_import_is_split_by_month_and_idempotent() {
    let (source, dest) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let written = bars(START, 24 * 40);
    write(&source.path().join("spot_SOLUSDT-1h.csv"), archive_csv(&written, 1).as_bytes());
    let found = scanned(source.path());
    let first = import(&found, dest.path());
    assert!(first.failed.is_empty());
    assert_eq!((first.imported[0].months_written, first.imported[0].rows_new), (2, 960));
    let january = dest.path().join("candles/spot/1h/SOLUSDT/2025-01.parquet");
    let bytes = fs::read(&january).unwrap();
    let modified = fs::metadata(&january).unwrap().modified().unwrap();

    let again = import(&found, dest.path());
    assert_eq!((again.imported[0].months_written, again.imported[0].months_unchanged), (0, 2));
    assert_eq!(fs::metadata(&january).unwrap().modified().unwrap(), modified);
    let elsewhere = tempfile::tempdir().unwrap();
    import(&found, elsewhere.path());
    assert_eq!(fs::read(elsewhere.path().join("candles/spot/1h/SOLUSDT/2025-01.parquet")).unwrap(), bytes);

    let stored = only(dest.path());
    assert_eq!((stored.symbol.to_string().as_str(), stored.files.len()), ("SOLUSDT", 2));
    let back = read(&stored).unwrap().bars;
    assert_eq!(
        (&back.open_time, &back.close, &back.trades),
        (&written.open_time, &written.close, &written.trades)
    );
    let left: Vec<_> = fs::read_dir(january.parent().unwrap()).unwrap().collect();
    assert_eq!(left.len(), 2, "no temporary file stays behind");
}

#[test]
fn an_import_merges_and_keeps_what_the_store_has() {
    let (source, dest) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = source.path().join("ADAUSDT-1h.parquet");
    let mut written = bars(START, 48);
    parquet(&file, &written, &[]);
    import(&scanned(source.path()), dest.path());
    let kept = written.close[10];
    written = bars(START, 60);
    written.close[10] = kept * 1.0001;
    parquet(&file, &written, &[]);
    let report = import(&scanned(source.path()), dest.path());
    assert_eq!((report.imported[0].rows_new, report.imported[0].rows_contradicting), (12, 1));
    let back = read(&only(dest.path())).unwrap().bars;
    assert_eq!((back.open_time.len(), back.close[10]), (60, kept));
}

#[test]
fn a_broken_symbol_does_not_stop_an_import() {
    let (source, dest) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    parquet(&source.path().join("ADAUSDT-1h.parquet"), &bars(START, 48), &[]);
    write(&source.path().join("BADUSDT-1h-2025-01.zip"), b"no zip");
    parquet(&source.path().join("XRPUSDT-1h.parquet"), &bars(START, 48), &[("venue", "binance")]);
    let found = scanned(source.path());
    let report = import(&found, dest.path());
    assert_eq!((report.imported.len(), report.failed.len()), (2, 1));
    assert_eq!((report.failed[0].symbol.pair(), report.failed[0].error.code()), ("BADUSDT", "bad_archive"));

    parquet(&source.path().join("XRPUSDT-1h.parquet"), &bars(START, 60), &[("venue", "kraken")]);
    let report = import(&scanned(source.path()), dest.path());
    assert_eq!(report.failed[1].error.code(), "other_venue");
}

#[test]
fn a_check_lists_everything_and_does_not_depend_on_threads() {
    let dir = tempfile::tempdir().unwrap();
    for (i, name) in ["AAAUSDT", "BBBUSDT", "CCCUSDT", "DDDUSDT"].iter().enumerate() {
        let mut written = bars(START, 24 * 150 + i);
        written.volume.iter_mut().for_each(|volume| *volume *= 100.0);
        parquet(&dir.path().join(format!("{name}-1h.parquet")), &written, &[]);
    }
    parquet(&dir.path().join("USDCUSDT-1h.parquet"), &bars(START, 24 * 20), &[]);
    parquet(&dir.path().join("QUARTERUSDT-15m.parquet"), &bars(START, 100), &[]);
    write(&dir.path().join("BADUSDT-1h-2025-01.zip"), b"no zip");
    write(&dir.path().join("EVILUSDT.parquet"), b"no parquet");
    let checked = profile_folder(dir.path(), Some(Timeframe::H1), None, 1).unwrap();
    assert_eq!(checked, profile_folder(dir.path(), Some(Timeframe::H1), None, 8).unwrap());
    let listed: Vec<(&str, bool)> = checked.iter().map(|one| (one.symbol.as_str(), one.train_ok)).collect();
    assert_eq!(
        listed,
        [
            ("AAAUSDT", true),
            ("BADUSDT", false),
            ("BBBUSDT", true),
            ("CCCUSDT", true),
            ("DDDUSDT", true),
            ("EVILUSDT.parquet", false),
            ("USDCUSDT", false),
        ]
    );
    let codes: Vec<&str> = checked[6].skip_reasons.iter().map(|reason| reason.code).collect();
    assert_eq!(codes, ["short_history", "stablecoin_or_pegged"]);
    assert_eq!(checked[6].trade_reasons.last().map(|reason| reason.code), Some("stale"));
    let json = serde_json::to_value(&checked).unwrap();
    assert_eq!(json[6]["skip_reasons"][0]["found"], 20.0);
    assert!(
        table(&checked).ends_with("7 series: 4 may be trained, 4 may be traded\n"),
        "{}",
        table(&checked)
    );
}

#[test]
fn formats_are_known_by_extension() {
    assert_eq!(Format::of(Path::new("a/B.PARQUET")), Some(Format::Parquet));
    assert_eq!(Format::of(Path::new("a.csv.gz")), Some(Format::Gzip));
    assert_eq!(Format::of(Path::new("a.json")), None);
}
