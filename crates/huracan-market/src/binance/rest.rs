//! The exchange's REST klines: what the archive does not have yet, kept as one CSV a symbol in the
//! archive's own twelve columns.
//!
//! Numbers are written as the exchange wrote them; nothing is rounded on the way to the file.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};

use huracan_core::series::Bars;
use huracan_core::words::{Market, Symbol, Timeframe, UtcMs};
use serde_json::Value;

use super::archive::blocking;
use super::disk;
use super::error::FetchError;
use super::http::{Host, Tally};

/// Exchange code for a symbol it does not list.
const INVALID_SYMBOL: &str = "-1121";

/// The measures of a candle in the archive's order, times aside: open, high, low, close, volume,
/// quote volume, trades, taker-bought base, taker-bought quote.
const MEASURES: [usize; 9] = [1, 2, 3, 4, 5, 7, 8, 9, 10];

/// One finished candle: times in UTC milliseconds, the other columns as text and as numbers.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    close_time: i64,
    text: [String; 9],
    values: [f64; 9],
}

/// Candles by open time, UTC milliseconds.
type Rows = BTreeMap<i64, Row>;

/// Milliseconds of a time in milliseconds or, as spot archives have them since 2025, microseconds.
/// The two cannot be confused: 10¹⁴ is the year 5138 in one and 1973 in the other.
pub(super) fn epoch_ms(time: i64) -> i64 {
    if time.unsigned_abs() >= 100_000_000_000_000 { time.div_euclid(1000) } else { time }
}

/// What the REST API added.
pub(super) struct TopUp {
    /// Every candle the symbol's REST file holds now.
    pub(super) bars: Bars,
    /// Candles that were not in the file before.
    pub(super) rows_new: usize,
    /// Why it stopped early; what came before is kept.
    pub(super) error: Option<FetchError>,
}

/// Where a symbol's REST candles lie: `rest/{market}/{bar}/{SYMBOL}.csv`.
pub(super) fn local_path(dest: &Path, symbol: &Symbol, timeframe: Timeframe) -> PathBuf {
    dest.join("rest").join(symbol.market().code()).join(timeframe.to_string()).join(format!("{symbol}.csv"))
}

/// Fills `spans` (open times of finished bars, UTC ms, on the bar's grid) from the REST API and
/// merges them into the symbol's CSV.
pub(super) async fn top_up(
    host: &Host,
    dest: &Path,
    symbol: &Symbol,
    timeframe: Timeframe,
    spans: &[Range<i64>],
    tally: &Tally,
) -> TopUp {
    let path = local_path(dest, symbol, timeframe);
    let name = symbol.to_string();
    let file = path.clone();
    let (mut rows, before) = match blocking(&name, move || read_csv(&file)).await {
        Ok(read) => read,
        Err(error) => return TopUp { bars: Bars::default(), rows_new: 0, error: Some(error) },
    };
    let known = rows.len();
    let mut error = None;
    for span in spans {
        if let Err(stop) = fill(host, symbol, timeframe, span.clone(), &mut rows, tally).await {
            error = Some(stop);
            break;
        }
    }
    let after = write_csv(&rows);
    if after.as_bytes() != before {
        let written = blocking(&name, move || disk::put(&path, after.as_bytes())).await;
        error = error.or(written.err());
    }
    TopUp { bars: to_bars(&rows), rows_new: rows.len() - known, error }
}

/// Pages through one span, starting after what is known of it without a hole.
async fn fill(
    host: &Host,
    symbol: &Symbol,
    timeframe: Timeframe,
    span: Range<i64>,
    rows: &mut Rows,
    tally: &Tally,
) -> Result<(), FetchError> {
    let bar = timeframe.ms();
    let mut start = span.start;
    while start < span.end {
        if rows.contains_key(&start) {
            start += bar;
            continue;
        }
        let page = Page { symbol, timeframe, open_times: start..span.end };
        let candles = host.retrying(tally, || page.get(host, tally)).await.map_err(|error| match error {
            FetchError::Refused { said, .. } if said.contains(INVALID_SYMBOL) => {
                FetchError::NotListed { symbol: symbol.to_string() }
            }
            other => other,
        })?;
        let received = candles.len() as i64;
        let Some(last) = candles.last_key_value().map(|(&opened, _)| opened) else { return Ok(()) };
        rows.extend(candles);
        if received < page.limit() {
            return Ok(());
        }
        start = last + bar;
    }
    Ok(())
}

/// One request for klines.
struct Page<'a> {
    symbol: &'a Symbol,
    timeframe: Timeframe,
    open_times: Range<i64>,
}

impl Page<'_> {
    /// As many bars as the span can hold, at most what one request gives.
    fn limit(&self) -> i64 {
        let most = match self.symbol.market() {
            Market::Spot => 1000,
            Market::Perp => 1500,
        };
        let bar = self.timeframe.ms();
        ((self.open_times.end - self.open_times.start + bar - 1) / bar).clamp(1, most)
    }

    /// Request weight by the exchange's documentation: 2 for spot; by `limit` for perpetuals.
    fn weight(&self) -> u32 {
        match (self.symbol.market(), self.limit()) {
            (Market::Spot, _) => 2,
            (Market::Perp, ..100) => 1,
            (Market::Perp, ..500) => 2,
            (Market::Perp, ..=1000) => 5,
            (Market::Perp, _) => 10,
        }
    }

    fn path(&self) -> String {
        let path = match self.symbol.market() {
            Market::Spot => "api/v3/klines",
            Market::Perp => "fapi/v1/klines",
        };
        format!(
            "{path}?symbol={}&interval={}&startTime={}&endTime={}&limit={}",
            self.symbol.pair(),
            self.timeframe,
            self.open_times.start,
            self.open_times.end - 1,
            self.limit()
        )
    }

    /// One attempt; candles outside the span are left out.
    async fn get(&self, host: &Host, tally: &Tally) -> Result<Rows, FetchError> {
        let path = self.path();
        let bad = |why: String| FetchError::BadAnswer { url: host.url(&path), why };
        let body = host.get(&path, self.weight(), tally).await?;
        let body = body.ok_or_else(|| bad("404, expected klines".to_owned()))?;
        let candles: Vec<Vec<Value>> =
            serde_json::from_slice(&body).map_err(|e| bad(format!("expected an array of klines: {e}")))?;
        let mut rows = Rows::new();
        for (i, candle) in candles.iter().enumerate() {
            let columns: Vec<String> = candle.iter().map(plain_text).collect();
            let (opened, row) = read_row(&columns).map_err(|why| bad(format!("kline {i}: {why}")))?;
            if opened.rem_euclid(self.timeframe.ms()) != 0 {
                let why = format!("kline {i} opens at {}, not on the {} grid", UtcMs(opened), self.timeframe);
                return Err(bad(why));
            }
            if self.open_times.contains(&opened) {
                rows.insert(opened, row);
            }
        }
        Ok(rows)
    }
}

fn plain_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A candle from the archive's twelve columns: `(open time, row)`.
fn read_row<S: AsRef<str>>(columns: &[S]) -> Result<(i64, Row), String> {
    if columns.len() != 12 {
        return Err(format!("{} columns, expected 12", columns.len()));
    }
    let time = |i: usize| {
        let text = columns[i].as_ref();
        text.parse().map(epoch_ms).map_err(|_| format!("column {} is {text:?}, expected a time", i + 1))
    };
    let mut values = [0.0; 9];
    for (value, i) in values.iter_mut().zip(MEASURES) {
        let text = columns[i].as_ref();
        let number: Option<f64> = text.parse().ok();
        *value = number
            .filter(|n| n.is_finite())
            .ok_or_else(|| format!("column {} is {text:?}, expected a number", i + 1))?;
    }
    let text = MEASURES.map(|i| columns[i].as_ref().to_owned());
    Ok((time(0)?, Row { close_time: time(6)?, text, values }))
}

/// The candles of a CSV and its bytes; none of either when there is no such file.
fn read_csv(path: &Path) -> Result<(Rows, Vec<u8>), FetchError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok((Rows::new(), Vec::new())),
        Err(source) => return Err(FetchError::Io { path: path.to_owned(), source }),
    };
    let mut rows = Rows::new();
    for (i, line) in String::from_utf8_lossy(&bytes).lines().enumerate() {
        let columns: Vec<&str> = line.split(',').collect();
        let bad = |why| FetchError::BadCsv { path: path.to_owned(), line: i + 1, why };
        rows.extend([read_row(&columns).map_err(bad)?]);
    }
    Ok((rows, bytes))
}

fn write_csv(rows: &Rows) -> String {
    let mut csv = String::new();
    for (opened, row) in rows {
        let [open, high, low, close, volume, quote, trades, taker_base, taker_quote] = &row.text;
        let close_time = row.close_time;
        // Writing into a String cannot fail.
        let _ = writeln!(
            csv,
            "{opened},{open},{high},{low},{close},{volume},{close_time},{quote},{trades},{taker_base},{taker_quote},0"
        );
    }
    csv
}

fn to_bars(rows: &Rows) -> Bars {
    let column = |i: usize| rows.values().map(|row| row.values[i]).collect::<Vec<f64>>();
    Bars {
        open_time: rows.keys().copied().collect(),
        open: column(0),
        high: column(1),
        low: column(2),
        close: column(3),
        volume: column(4),
        quote_volume: Some(column(5)),
        trades: Some(column(6)),
        taker_buy_base: Some(column(7)),
        taker_buy_quote: Some(column(8)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_asks_and_weighs_no_more_than_it_needs() {
        let check = |symbol: &str, bars: i64, limit: i64, weight: u32| {
            let symbol: Symbol = symbol.parse().unwrap();
            let open_times = 0..bars * UtcMs::HOUR;
            let page = Page { symbol: &symbol, timeframe: Timeframe::H1, open_times };
            assert_eq!((page.limit(), page.weight()), (limit, weight), "{symbol} {bars}");
        };
        check("BTCUSDT", 30, 30, 2);
        check("BTCUSDT", 5000, 1000, 2);
        check("BTCUSDT.P", 99, 99, 1);
        check("BTCUSDT.P", 100, 100, 2);
        check("BTCUSDT.P", 1000, 1000, 5);
        check("BTCUSDT.P", 5000, 1500, 10);
    }

    #[test]
    fn times_are_read_in_milliseconds_and_microseconds() {
        assert_eq!(epoch_ms(1_735_689_600_000), 1_735_689_600_000);
        assert_eq!(epoch_ms(1_735_689_600_000_000), 1_735_689_600_000);
        assert_eq!(epoch_ms(1_735_693_199_999_999), 1_735_693_199_999);
    }

    #[test]
    fn a_csv_in_microseconds_reads_like_one_in_milliseconds() {
        let line = |open: &str, close: &str| format!("{open},1,2,0.50,1.5,10,{close},15,3,4,6,0");
        let read = |text: String| read_row(&text.split(',').collect::<Vec<_>>()).unwrap();
        let us = read(line("1735689600000000", "1735693199999999"));
        assert_eq!(us, read(line("1735689600000", "1735693199999")));
        assert_eq!(write_csv(&Rows::from([us])), line("1735689600000", "1735693199999") + "\n");
    }

    #[test]
    fn a_row_that_is_no_candle_says_why() {
        let check = |line: &str, expected: &str| {
            assert_eq!(read_row(&line.split(',').collect::<Vec<_>>()).unwrap_err(), expected);
        };
        check("1,2,3", "3 columns, expected 12");
        check("x,1,2,1,1,1,2,1,1,1,1,0", "column 1 is \"x\", expected a time");
        check("0,1,NaN,1,1,1,2,1,1,1,1,0", "column 3 is \"NaN\", expected a number");
    }
}
