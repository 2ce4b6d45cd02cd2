//! Finding candle files and grouping them into series, by footers and first lines only.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use huracan_core::gates::SkipReason;
use huracan_core::words::{Market, Symbol, Timeframe};

use super::name::{self, PathFacts};
use super::{candles, table_file};
use crate::error::Error;

/// What the caller knows about files that do not say it themselves.
#[derive(Clone, Debug, Default)]
pub struct ScanOptions {
    /// Bar length of files that name none; without it the bar is inferred from their times.
    pub bar: Option<Timeframe>,
    /// Market of files that name none; spot without it.
    pub market: Option<Market>,
    /// Symbol of files that name none.
    pub symbol: Option<Symbol>,
}

/// All files of one series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesFiles {
    /// Whose bars; the market is part of the symbol.
    pub symbol: Symbol,
    /// Length of a bar.
    pub timeframe: Timeframe,
    /// The venue the files name, where they do.
    pub venue: Option<String>,
    /// The files in path order.
    pub files: Vec<PathBuf>,
    /// Rows by the footers; `None` where a file has no footer.
    pub rows: Option<u64>,
}

/// Files that cannot be used, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Unusable {
    /// The symbol as far as it is known, else the file's path below the scanned folder.
    pub name: String,
    /// The symbol, where it is one.
    pub symbol: Option<Symbol>,
    /// The files.
    pub files: Vec<PathBuf>,
    /// Why; `invalid_symbol`, `two_venues`, `mixed_bars` or `unreadable`.
    pub reason: SkipReason,
}

/// What a folder holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scan {
    /// Readable series, by symbol, then bar.
    pub series: Vec<SeriesFiles>,
    /// Everything else that was found, by name.
    pub unusable: Vec<Unusable>,
}

/// How a file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Parquet,
    Csv,
    Gzip,
    Zip,
}

impl Format {
    /// By the file's extension.
    pub fn of(path: &Path) -> Option<Format> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let known = [
            (".parquet", Format::Parquet),
            (".csv.gz", Format::Gzip),
            (".csv", Format::Csv),
            (".zip", Format::Zip),
        ];
        known.into_iter().find(|(extension, _)| name.ends_with(extension)).map(|(_, format)| format)
    }
}

/// Companions of candle files that are no candles: passed over without a word.
const COMPANIONS: [&str; 6] = [".checksum", ".md", ".txt", ".json", ".tmp", ".lock"];

/// One usable file.
struct Found {
    path: PathBuf,
    symbol: Symbol,
    timeframe: Timeframe,
    venue: Option<String>,
    rows: Option<u64>,
}

/// Walks `dir` at any depth and groups its candle files by symbol and bar.
///
/// What a file says about itself counts in this order: Parquet metadata (`symbol`, `timeframe`,
/// `market`, `venue`) or a symbol column, its path, the options, its times. Hidden files, links to
/// folders and companions (`.CHECKSUM`, `.json`, `.md`, `.txt`) are passed over; every other file
/// ends in a series or in [`Scan::unusable`]. The order is the same on every machine.
///
/// # Errors
/// When the folder is missing, is a file, cannot be listed, or holds no candle file at all.
pub fn scan(dir: &Path, options: &ScanOptions) -> Result<Scan, Error> {
    match fs::metadata(dir) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => return Err(Error::NotAFolder { path: dir.to_owned() }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::MissingFolder { path: dir.to_owned() });
        }
        Err(source) => return Err(Error::Io { path: dir.to_owned(), action: "open", source }),
    }
    let mut paths = Vec::new();
    walk(dir, &mut paths)?;
    paths.sort();
    if !paths.iter().any(|path| Format::of(path).is_some()) {
        return Err(Error::EmptyFolder { path: dir.to_owned() });
    }
    let mut scan = Scan::default();
    let mut groups: BTreeMap<(Symbol, Timeframe), Vec<Found>> = BTreeMap::new();
    for path in paths {
        match inspect(dir, &path, options) {
            Ok(found) => groups.entry((found.symbol.clone(), found.timeframe)).or_default().push(found),
            Err(unusable) => scan.unusable.push(*unusable),
        }
    }
    for ((symbol, timeframe), found) in groups {
        match group(symbol, timeframe, found) {
            Ok(series) => scan.series.push(series),
            Err(unusable) => scan.unusable.push(*unusable),
        }
    }
    scan.unusable.sort_by(|a, b| (&a.name, &a.files).cmp(&(&b.name, &b.files)));
    Ok(scan)
}

fn walk(dir: &Path, paths: &mut Vec<PathBuf>) -> Result<(), Error> {
    let refused = |source| Error::Io { path: dir.to_owned(), action: "list", source };
    for entry in fs::read_dir(dir).map_err(refused)? {
        let entry = entry.map_err(refused)?;
        let name = entry.file_name().to_string_lossy().to_ascii_lowercase();
        if name.starts_with('.') {
            continue;
        }
        let kind = entry.file_type().map_err(refused)?;
        if kind.is_dir() {
            walk(&entry.path(), paths)?;
        } else if !COMPANIONS.iter().any(|companion| name.ends_with(companion))
            && fs::metadata(entry.path()).is_ok_and(|target| target.is_file())
        {
            paths.push(entry.path());
        }
    }
    Ok(())
}

/// The path below the scanned folder, with the folder's own last names in front: they may say the
/// market or the bar.
fn telling_path(dir: &Path, path: &Path) -> PathBuf {
    const OWN_NAMES: usize = 5;
    let absolute = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    let own: Vec<_> = absolute.iter().collect();
    let mut telling: PathBuf = own[own.len().saturating_sub(OWN_NAMES)..].iter().collect();
    telling.push(path.strip_prefix(dir).unwrap_or(path));
    telling
}

/// What a file's content says about it.
#[derive(Default)]
struct Content {
    symbol: Option<String>,
    timeframe: Option<String>,
    market: Option<String>,
    venue: Option<String>,
    rows: Option<u64>,
    times: Vec<i64>,
}

fn inspect(dir: &Path, path: &Path, options: &ScanOptions) -> Result<Found, Box<Unusable>> {
    let facts = name::facts(&telling_path(dir, path));
    let shown = path.strip_prefix(dir).unwrap_or(path).display().to_string();
    let unusable = |name: &str, symbol: Option<Symbol>, reason: SkipReason| {
        Box::new(Unusable { name: name.to_owned(), symbol, files: vec![path.to_owned()], reason })
    };
    let unreadable = |name: &str, symbol: Option<Symbol>, found: String| {
        unusable(name, symbol, SkipReason::Unreadable { found })
    };
    if facts.coin_margined {
        let found = format!(
            "{shown}: a coin-margined contract, whose volume counts contracts; use spot or USD-margined candles"
        );
        return Err(unreadable(&shown, None, found));
    }
    let content =
        look_inside(path, &facts, options).map_err(|error| unreadable(&shown, None, error.to_string()))?;
    let venue = content.venue.clone();
    let market = market_of(&content, &facts, options);
    let text = content.symbol.as_ref().or(facts.symbol.as_ref());
    let symbol = match (text, &options.symbol) {
        (Some(text), _) => Symbol::parse(text.trim(), market).map_err(|_| {
            unusable(text, None, SkipReason::InvalidSymbol { found: format!("{text:?} of {shown}") })
        })?,
        (None, Some(symbol)) => symbol.clone(),
        (None, None) => {
            let found = format!("the name of {shown}");
            return Err(unusable(&shown, None, SkipReason::InvalidSymbol { found }));
        }
    };
    let name = symbol.to_string();
    let stated = match &content.timeframe {
        Some(text) => Some(text.parse::<Timeframe>().map_err(|error| {
            unreadable(&name, Some(symbol.clone()), format!("{shown}: timeframe {error}"))
        })?),
        None => facts.timeframe,
    };
    if let (None, Some(bar)) = (stated, &facts.unsupported_bar) {
        let supported: Vec<String> = Timeframe::all().map(|bar| bar.to_string()).collect();
        let found =
            format!("{shown}: bars of {bar} are not supported, expected one of {}", supported.join(" "));
        return Err(unreadable(&name, Some(symbol), found));
    }
    match stated.or(options.bar).map_or_else(|| infer_bar(&content.times), Ok) {
        Ok(timeframe) => Ok(Found { path: path.to_owned(), symbol, timeframe, venue, rows: content.rows }),
        Err(found) => {
            let expected = "one supported bar throughout".to_owned();
            Err(unusable(&name, Some(symbol), SkipReason::MixedBars { found, expected }))
        }
    }
}

/// Reads a footer, or the first lines of a text unless its path has said everything.
fn look_inside(path: &Path, facts: &PathFacts, options: &ScanOptions) -> Result<Content, Error> {
    const LINES: usize = 512;
    let format = Format::of(path).ok_or_else(|| Error::UnknownFormat { path: path.to_owned() })?;
    let refused = |source| Error::Io { path: path.to_owned(), action: "read", source };
    let bar_known = facts.timeframe.or(options.bar).is_some();
    if format == Format::Parquet {
        let file = File::open(path).map_err(refused)?;
        let footer = table_file::footer(path, file.try_clone().map_err(refused)?)?;
        let times = match bar_known || footer.timeframe.is_some() {
            true => Vec::new(),
            false => table_file::first_times(path, file)?,
        };
        return Ok(Content {
            symbol: footer.symbol,
            timeframe: footer.timeframe,
            market: footer.market,
            venue: footer.venue,
            rows: Some(footer.rows),
            times,
        });
    }
    if format == Format::Zip && bar_known && facts.symbol.is_some() {
        return Ok(Content::default());
    }
    let mut bytes = Vec::new();
    let head = if format == Format::Zip { u64::MAX } else { 1 << 18 };
    File::open(path).and_then(|file| file.take(head).read_to_end(&mut bytes)).map_err(refused)?;
    if format == Format::Csv && bytes.len() as u64 == head {
        // The last line of a cut text is not a line.
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        bytes.truncate(whole);
    }
    let rows = candles::read_text(path, format, &bytes, LINES)?;
    Ok(Content { symbol: rows.symbol, times: rows.bars.open_time, ..Content::default() })
}

/// A venue's short name may say the market; a long remark may mention any.
fn market_of(content: &Content, facts: &PathFacts, options: &ScanOptions) -> Market {
    const VENUE_WORDS: usize = 3;
    let short = content.venue.as_deref().filter(|venue| venue.split_whitespace().count() <= VENUE_WORDS);
    let written =
        content.market.as_deref().and_then(|text| text.parse().ok().or_else(|| name::market_words(text)));
    written
        .or_else(|| short.and_then(name::market_words))
        .or(facts.market)
        .or(options.market)
        .unwrap_or(Market::Spot)
}

/// The bar most neighbouring rows are apart; the sentence says what was found instead.
fn infer_bar(times: &[i64]) -> Result<Timeframe, String> {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let mut steps: Vec<i64> =
        sorted.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).filter(|step| *step > 0).collect();
    steps.sort_unstable();
    let longest = steps.chunk_by(|a, b| a == b).rev().max_by_key(|run| run.len());
    let Some(run) = longest else {
        return Err(format!("{} distinct rows, from which no bar can be inferred", steps.len() + 1));
    };
    Timeframe::from_ms(run[0]).ok_or_else(|| format!("rows {} ms apart", run[0]))
}

fn group(symbol: Symbol, timeframe: Timeframe, found: Vec<Found>) -> Result<SeriesFiles, Box<Unusable>> {
    let venues: BTreeSet<String> =
        found.iter().filter_map(|file| file.venue.as_deref()).map(venue_name).collect();
    let venue = found.iter().find_map(|file| file.venue.clone());
    let rows = found.iter().map(|file| file.rows).sum();
    let files: Vec<PathBuf> = found.into_iter().map(|file| file.path).collect();
    if venues.len() > 1 {
        let found = venues.into_iter().collect::<Vec<_>>().join(" and ");
        let reason = SkipReason::TwoVenues { found };
        return Err(Box::new(Unusable { name: symbol.to_string(), symbol: Some(symbol), files, reason }));
    }
    Ok(SeriesFiles { symbol, timeframe, venue, files, rows })
}

/// A venue without the words for its market: `binance spot` and `binance` are one venue (the
/// market is part of the symbol).
pub(super) fn venue_name(venue: &str) -> String {
    const MARKET_WORDS: [&str; 8] = ["spot", "perp", "um", "um_perp", "usd-m", "usdm", "futures", "linear"];
    let lower = venue.to_lowercase();
    let words: Vec<&str> = lower.split_whitespace().filter(|word| !MARKET_WORDS.contains(word)).collect();
    words.join(" ")
}
