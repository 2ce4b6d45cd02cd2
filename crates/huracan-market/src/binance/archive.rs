//! The exchange's public archive: which files a span of time needs, and one verified file.
//!
//! The archive publishes a zip a month and a zip a day for each symbol and bar, each with a
//! `.CHECKSUM`. A file gets its final name only after its SHA-256 and its first candle agree with
//! what its name says, so a name under `archive/` is a promise. Reading candles out of these files
//! is not done here.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Cursor};
use std::ops::Range;
use std::path::{Path, PathBuf};

use huracan_core::words::{Market, Symbol, Timeframe, UtcMs};
use sha2::{Digest, Sha256};

use super::disk;
use super::error::FetchError;
use super::http::{Host, Tally};
use super::rest::epoch_ms;

/// How often the archive publishes a file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Cadence {
    Monthly,
    Daily,
}

/// The whole UTC days one archive file covers, counted since the epoch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Period {
    pub(super) cadence: Cadence,
    pub(super) days: Range<i64>,
}

impl Period {
    fn daily(day: i64) -> Period {
        Period { cadence: Cadence::Daily, days: day..day + 1 }
    }

    /// The days of a period, each as its own.
    pub(super) fn split(&self) -> Vec<Period> {
        self.days.clone().map(Period::daily).collect()
    }

    /// First millisecond covered, and the first one after.
    pub(super) fn span(&self) -> Range<i64> {
        self.days.start * UtcMs::DAY..self.days.end * UtcMs::DAY
    }

    /// The file's name without its ending: `BTCUSDT-1h-2024-12`, `BTCUSDT-1h-2024-12-31`.
    fn stem(&self, symbol: &Symbol, timeframe: Timeframe) -> String {
        let first = UtcMs(self.span().start);
        let date = match self.cadence {
            Cadence::Monthly => first.format("%Y-%m"),
            Cadence::Daily => first.format("%Y-%m-%d"),
        };
        format!("{}-{timeframe}-{date}", symbol.pair())
    }

    /// The file's path below the archive's address, the same on our disk:
    /// `data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2024-12.zip`.
    pub(super) fn path(&self, symbol: &Symbol, timeframe: Timeframe) -> String {
        let market = match symbol.market() {
            Market::Spot => "spot",
            Market::Perp => "futures/um",
        };
        let cadence = match self.cadence {
            Cadence::Monthly => "monthly",
            Cadence::Daily => "daily",
        };
        let pair = symbol.pair();
        let stem = self.stem(symbol, timeframe);
        format!("data/{market}/{cadence}/klines/{pair}/{timeframe}/{stem}.zip")
    }
}

/// The files that cover `from..until`: a monthly one for every month that ends by then, daily ones
/// for the days after the last such month. Today's day (at `now`) is never published and left out.
pub(super) fn periods(from: UtcMs, until: UtcMs, now: UtcMs) -> Vec<Period> {
    let day_after = |at: UtcMs| UtcMs(at.0 + UtcMs::DAY - 1).day();
    let end = day_after(until).min(now.day());
    let mut periods = Vec::new();
    let mut day = from.day();
    while day < end {
        let month = month_of(day);
        if month.end <= end {
            day = month.end;
            periods.push(Period { cadence: Cadence::Monthly, days: month });
        } else {
            periods.extend((day..end).map(Period::daily));
            day = end;
        }
    }
    periods
}

/// The days of the month `day` lies in: the run of days around it with the same `YYYY-MM`.
fn month_of(day: i64) -> Range<i64> {
    let label = |day: i64| UtcMs(day * UtcMs::DAY).month();
    let month = label(day);
    // No month has more than 31 days, which also bounds the search outside the calendar.
    let first = (day - 30..=day).find(|&d| label(d) == month).unwrap_or(day);
    let end = (day + 1..=day + 31).find(|&d| label(d) != month).unwrap_or(day + 31);
    first..end
}

/// What became of one archive file.
#[derive(Debug)]
pub(super) enum Held {
    /// It was there already and its checksum still holds.
    Kept,
    /// Fetched, verified and named; the size of the zip in bytes.
    Fetched(u64),
    /// The archive has no such file.
    NotPublished,
    /// It could not be had; the next fetch asks again.
    Failed(FetchError),
}

impl Held {
    /// Whether the file is on our disk now.
    pub(super) fn is_here(&self) -> bool {
        matches!(self, Held::Kept | Held::Fetched(_))
    }
}

/// Where an archive file lies on our disk.
pub(super) fn local_path(dest: &Path, path: &str) -> PathBuf {
    dest.join("archive").join(path)
}

/// Makes sure the file of one period lies verified under `dest/archive`, or says why it does not.
pub(super) async fn hold(
    host: &Host,
    dest: &Path,
    symbol: &Symbol,
    timeframe: Timeframe,
    period: &Period,
    tally: &Tally,
) -> Held {
    if host.is_cancelled() {
        return Held::Failed(FetchError::Cancelled);
    }
    let path = period.path(symbol, timeframe);
    let target = local_path(dest, &path);
    let stem = period.stem(symbol, timeframe);
    let known = target.clone();
    if blocking(&path, move || Ok(is_verified(&known))).await.unwrap_or(false) {
        return Held::Kept;
    }
    let fetched = host.retrying(tally, || fetch(host, &path, &stem, period.span(), tally)).await;
    match fetched {
        Ok(Some((zip, checksum))) => {
            let size = zip.len() as u64;
            // The zip last: its name is the promise that both are there.
            let store = move || {
                disk::put(&checksum_path(&target), &checksum)?;
                disk::put(&target, &zip)
            };
            blocking(&path, store).await.map_or_else(Held::Failed, |()| Held::Fetched(size))
        }
        Ok(None) => Held::NotPublished,
        Err(error) => Held::Failed(error),
    }
}

/// One attempt at a zip and its checksum, verified; `None` when the archive has no such zip.
async fn fetch(
    host: &Host,
    path: &str,
    stem: &str,
    span: Range<i64>,
    tally: &Tally,
) -> Result<Option<(Vec<u8>, Vec<u8>)>, FetchError> {
    let url = host.url(path);
    let Some(zip) = host.get(path, 0, tally).await? else { return Ok(None) };
    let checksum = host.get(&format!("{path}.CHECKSUM"), 0, tally).await?;
    let checksum = checksum.ok_or_else(|| FetchError::NoChecksum { url: url.clone() })?;
    let csv_name = format!("{stem}.csv");
    let verify = move || {
        let (found, expected) = (sha256_hex(&zip), named_sha256(&checksum));
        if found != expected {
            return Err(FetchError::Checksum { url, found, expected });
        }
        check_first_candle(&zip, &csv_name, span).map_err(|why| FetchError::BadZip { url, why })?;
        Ok(Some((zip, checksum)))
    };
    blocking(path, verify).await
}

/// Runs work on the disk or the processor off the async threads, fencing a panic to `what`.
pub(super) async fn blocking<T: Send + 'static>(
    what: &str,
    work: impl FnOnce() -> Result<T, FetchError> + Send + 'static,
) -> Result<T, FetchError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(FetchError::Bug { what: what.to_owned() }))
}

/// Whether zip and `.CHECKSUM` both lie on the disk and agree.
fn is_verified(zip: &Path) -> bool {
    let both = std::fs::read(checksum_path(zip)).and_then(|sum| Ok((sum, std::fs::read(zip)?)));
    both.is_ok_and(|(sum, bytes)| named_sha256(&sum) == sha256_hex(&bytes))
}

fn checksum_path(zip: &Path) -> PathBuf {
    let mut path = zip.as_os_str().to_owned();
    path.push(".CHECKSUM");
    PathBuf::from(path)
}

/// The hash a `.CHECKSUM` names: its first word, `<64 hex>  <file name>`.
fn named_sha256(checksum: &[u8]) -> String {
    let text = String::from_utf8_lossy(checksum);
    text.split_whitespace().next().unwrap_or("nothing").to_ascii_lowercase()
}

fn sha256_hex(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing into a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Checks that the zip holds the one CSV its name promises and that the first candle lies in the
/// file's own span; times are milliseconds, or microseconds as spot has them since 2025.
fn check_first_candle(zip: &[u8], csv_name: &str, span: Range<i64>) -> Result<(), String> {
    let mut archive = zip::ZipArchive::new(Cursor::new(zip)).map_err(|e| e.to_string())?;
    let csv = archive.by_name(csv_name).map_err(|e| format!("{csv_name} is not in it: {e}"))?;
    let mut lines = BufReader::new(csv).lines();
    let first = loop {
        let line = lines.next().ok_or("it holds no candle")?.map_err(|e| e.to_string())?;
        let headed = line.starts_with(|c: char| c.is_ascii_alphabetic());
        if !headed {
            break line;
        }
    };
    let columns = first.split(',').count();
    if columns != 12 {
        return Err(format!("its first candle has {columns} columns, expected 12"));
    }
    let opened = first.split(',').next().and_then(|text| text.trim().parse().ok()).map(epoch_ms);
    match opened {
        Some(at) if span.contains(&at) => Ok(()),
        Some(at) => Err(format!(
            "its first candle opens at {}, expected {} or later and before {}",
            UtcMs(at),
            UtcMs(span.start),
            UtcMs(span.end)
        )),
        None => Err(format!("its first candle starts with {first:?}, expected a time")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> UtcMs {
        text.parse().unwrap()
    }

    #[test]
    fn full_months_come_by_month_and_the_rest_by_day() {
        let check = |from: &str, until: &str, now: &str, expected: &[&str]| {
            let symbol: Symbol = "BTCUSDT".parse().unwrap();
            let stem = |p: &Period| p.stem(&symbol, Timeframe::H1).replace("BTCUSDT-1h-", "");
            let found: Vec<String> = periods(at(from), at(until), at(now)).iter().map(stem).collect();
            assert_eq!(found, expected, "{from} {until} {now}");
        };
        let now = "2025-03-03T10:00:00Z";
        check("2024-12-07", now, now, &["2024-12", "2025-01", "2025-02", "2025-03-01", "2025-03-02"]);
        check("2025-01-30", "2025-02-02T01:00:00Z", now, &["2025-01", "2025-02-01", "2025-02-02"]);
        check("2024-02-01", "2024-03-01", now, &["2024-02"]);
        check("2024-02-28", "2024-03-01", now, &["2024-02"]);
        check("2024-02-28", "2024-02-29T23:00:00Z", now, &["2024-02"]);
        check("2024-02-28", "2024-02-29", now, &["2024-02-28"]);
        check("2025-03-03", now, now, &[]);
        check("2025-03-05", "2025-03-09", now, &[]);
    }

    #[test]
    fn paths_are_the_archives_own() {
        let month = Period { cadence: Cadence::Monthly, days: month_of(at("2024-12-09").day()) };
        let check = |symbol: &str, period: &Period, expected: &str| {
            assert_eq!(period.path(&symbol.parse().unwrap(), Timeframe::H1), expected);
        };
        check("BTCUSDT", &month, "data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2024-12.zip");
        check(
            "BTCUSDT.P",
            &month.split()[30],
            "data/futures/um/daily/klines/BTCUSDT/1h/BTCUSDT-1h-2024-12-31.zip",
        );
    }
}
