//! The crate's one error: what was found where, what was expected, and what to do.

use std::path::PathBuf;

use huracan_core::series::SeriesError;

/// Why market data could not be read or written.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are the words of each variant's message")]
pub enum Error {
    /// The folder is not there.
    #[error("{}: no such folder; give the folder that holds the candle files", path.display())]
    MissingFolder { path: PathBuf },
    /// The path is a file.
    #[error("{}: a file, expected a folder; give the folder that holds the candle files", path.display())]
    NotAFolder { path: PathBuf },
    /// Nothing in the folder looks like candles.
    #[error(
        "{}: no candle file found; expected .parquet, .csv, .csv.gz or .zip files at any depth",
        path.display()
    )]
    EmptyFolder { path: PathBuf },
    /// The operating system refused.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io { path: PathBuf, action: &'static str, source: std::io::Error },
    /// A file named `.parquet` that is none, or is cut off.
    #[error("{}: not a readable Parquet file ({found}); copy it again or remove it", path.display())]
    NotParquet { path: PathBuf, found: String },
    /// A file format that is not known.
    #[error("{}: unknown format, expected .parquet, .csv, .csv.gz or .zip", path.display())]
    UnknownFormat { path: PathBuf },
    /// A zip or gzip file that cannot be opened, or holds something else.
    #[error("{}: {found}; expected one CSV file inside, copy the archive again", path.display())]
    BadArchive { path: PathBuf, found: String },
    /// The checksum beside the file says it is damaged.
    #[error(
        "{}: sha256 is {found}, its .CHECKSUM file says {expected}; download the file again",
        path.display()
    )]
    ChecksumMismatch { path: PathBuf, found: String, expected: String },
    /// A `.CHECKSUM` file without a sha256.
    #[error("{}: no sha256 in it ({found:?}); download it again", path.display())]
    BadChecksumFile { path: PathBuf, found: String },
    /// A needed column is not there.
    #[error("{}: no column {expected}; the columns are {found}", path.display())]
    MissingColumn { path: PathBuf, expected: &'static str, found: String },
    /// A column of an unusable type.
    #[error("{}: column {column} is {found}, expected {expected}", path.display())]
    WrongType { path: PathBuf, column: String, found: String, expected: &'static str },
    /// Columns of one file differ in length: a damaged file.
    #[error("{}: column {column} has {found} rows, expected {expected}; the file is damaged", path.display())]
    RaggedColumns { path: PathBuf, column: String, found: usize, expected: usize },
    /// A line that cannot be read.
    #[error("{} line {line}: {found}, expected {expected}", path.display())]
    BadLine { path: PathBuf, line: u64, found: String, expected: &'static str },
    /// A CSV of several symbols.
    #[error("{} line {line}: symbol {found}, the lines before are of {expected}; split the file by symbol", path.display())]
    SeveralSymbols { path: PathBuf, line: u64, found: String, expected: String },
    /// No row.
    #[error("{}: no row in it; remove it", path.display())]
    NoRows { path: PathBuf },
    /// Times outside 2009..2100.
    #[error(
        "{}: {count} of {rows} times are not between 2009 and 2100 (the first is {first}); the time \
         column must be UTC milliseconds, microseconds, nanoseconds, seconds or a timestamp type",
        path.display()
    )]
    ImplausibleTimes { path: PathBuf, count: usize, rows: usize, first: String },
    /// Two venues would be mixed under one name.
    #[error("{}: bars of {found}, the folder holds bars of {expected}; use another folder", path.display())]
    OtherVenue { path: PathBuf, found: String, expected: String },
    /// The rows could not become a series.
    #[error(transparent)]
    Series(#[from] SeriesError),
    /// A panic while reading one series, fenced off from the others.
    #[error("{symbol}: reading its files broke a promise of the program ({found}); please report it")]
    Broken { symbol: String, found: String },
}

impl Error {
    /// Stable code of the kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            Error::MissingFolder { .. } => "missing_folder",
            Error::NotAFolder { .. } => "not_a_folder",
            Error::EmptyFolder { .. } => "empty_folder",
            Error::Io { .. } => "io",
            Error::NotParquet { .. } => "not_parquet",
            Error::UnknownFormat { .. } => "unknown_format",
            Error::BadArchive { .. } => "bad_archive",
            Error::ChecksumMismatch { .. } => "checksum_mismatch",
            Error::BadChecksumFile { .. } => "bad_checksum_file",
            Error::MissingColumn { .. } => "missing_column",
            Error::WrongType { .. } => "wrong_type",
            Error::RaggedColumns { .. } => "ragged_columns",
            Error::BadLine { .. } => "bad_line",
            Error::SeveralSymbols { .. } => "several_symbols",
            Error::NoRows { .. } => "no_rows",
            Error::ImplausibleTimes { .. } => "implausible_times",
            Error::OtherVenue { .. } => "other_venue",
            Error::Series(_) => "no_series",
            Error::Broken { .. } => "broken",
        }
    }
}
