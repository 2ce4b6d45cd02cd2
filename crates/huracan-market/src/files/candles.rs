//! One series read completely: every file, in order, with its hash.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use huracan_core::series::{Bars, Note};
use sha2::{Digest, Sha256};

use super::rows::{self, Rows};
use super::scan::{Format, SeriesFiles};
use super::{archive, table_file, text_file, times};
use crate::error::Error;

/// One file that was read, for lineage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputFile {
    /// Where it lies, as scanned.
    pub path: PathBuf,
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256 of its bytes, lower-case hex.
    pub sha256: String,
}

/// A series as read: bars in file order, nothing aligned or judged yet.
#[derive(Clone, Debug, Default)]
pub struct Candles {
    /// All rows.
    pub bars: Bars,
    /// The files they came from, in order.
    pub inputs: Vec<InputFile>,
    /// The venue the files name, where they do.
    pub venue: Option<String>,
    /// What the files say that the bars do not show; put them into the profile before judging.
    pub notes: Vec<Note>,
}

/// Reads all files of a series and concatenates their rows.
///
/// A `.zip` (or any other file) with a `.CHECKSUM` beside it is verified first. Of several time
/// columns the one named `open_time`, then `timestamp` is used; a contradicting second one becomes
/// a note. Rows with single impossible times are dropped with a note.
///
/// # Errors
/// The first file that cannot be read, by name; the series is then unusable as a whole.
pub fn read(series: &SeriesFiles) -> Result<Candles, Error> {
    let mut candles = Candles { venue: series.venue.clone(), ..Candles::default() };
    for path in &series.files {
        let (mut rows, input) = read_file(path)?;
        candles.notes.extend(rows.drop_implausible_times(path)?);
        for (column, second) in &rows.second_times {
            let note = times::second_opinion(column, &rows.bars.open_time, second, series.timeframe);
            let known = |new: &Note| {
                candles.notes.iter().any(|old| (old.code, old.untrustworthy) == (new.code, new.untrustworthy))
            };
            if let Some(note) = note.filter(|note| !known(note)) {
                candles.notes.push(note);
            }
        }
        rows::append(&mut candles.bars, rows.bars);
        candles.inputs.push(input);
    }
    Ok(candles)
}

fn read_file(path: &Path) -> Result<(Rows, InputFile), Error> {
    let bytes =
        fs::read(path).map_err(|source| Error::Io { path: path.to_owned(), action: "read", source })?;
    let sha256 = hex(&Sha256::digest(&bytes));
    archive::verify_checksum(path, &sha256)?;
    let input = InputFile { path: path.to_owned(), bytes: bytes.len() as u64, sha256 };
    let rows = match Format::of(path) {
        Some(Format::Parquet) => table_file::read(path, Bytes::from(bytes))?,
        Some(text) => read_text(path, text, &bytes, usize::MAX)?,
        None => return Err(Error::UnknownFormat { path: path.to_owned() }),
    };
    if rows.bars.open_time.is_empty() {
        return Err(Error::NoRows { path: path.to_owned() });
    }
    Ok((rows, input))
}

/// Reads up to `limit` rows of a CSV, packed or not.
pub(super) fn read_text(path: &Path, format: Format, bytes: &[u8], limit: usize) -> Result<Rows, Error> {
    match format {
        Format::Gzip => text_file::read(path, archive::gunzip(bytes), limit),
        Format::Zip => archive::unzip(path, bytes, |csv| text_file::read(path, csv, limit)),
        Format::Csv | Format::Parquet => text_file::read(path, bytes, limit),
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
