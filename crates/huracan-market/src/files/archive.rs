//! Compressed candles: gzip, zip, and the exchange's `.CHECKSUM` beside them.

use std::fs;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};

use zip::ZipArchive;

use crate::error::Error;

/// No candle file is longer than this when unpacked; more is an accident or an attack.
const UNPACKED_BYTES_MAX: u64 = 4 << 30;

/// Reads at most a number of bytes, then fails instead of ending quietly.
struct Capped<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Capped<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "unpacks to more than 4 GiB, no candle file does")
        })?;
        Ok(count)
    }
}

/// Unpacks gzip while it is read.
pub(super) fn gunzip(bytes: &[u8]) -> impl Read + '_ {
    Capped { inner: flate2::read::MultiGzDecoder::new(bytes), left: UNPACKED_BYTES_MAX }
}

/// Hands the one CSV file inside a zip to `consume`.
pub(super) fn unzip<T>(
    path: &Path,
    bytes: &[u8],
    consume: impl FnOnce(&mut dyn Read) -> Result<T, Error>,
) -> Result<T, Error> {
    let bad = |found: String| Error::BadArchive { path: path.to_owned(), found };
    let mut archive =
        ZipArchive::new(Cursor::new(bytes)).map_err(|error| bad(format!("not a readable zip ({error})")))?;
    let is_csv = |index: &usize| match archive.name_for_index(*index) {
        Some(Ok(name)) => name.to_ascii_lowercase().ends_with(".csv"),
        _ => false,
    };
    let found: Vec<usize> = (0..archive.len()).filter(is_csv).collect();
    let [index] = found[..] else {
        return Err(bad(format!("{} CSV files in {} entries", found.len(), archive.len())));
    };
    let entry =
        archive.by_index(index).map_err(|error| bad(format!("the CSV cannot be opened ({error})")))?;
    consume(&mut Capped { inner: entry, left: UNPACKED_BYTES_MAX })
}

/// Compares the file's sha256 with the `.CHECKSUM` file beside it, where there is one.
pub(super) fn verify_checksum(path: &Path, sha256: &str) -> Result<(), Error> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".CHECKSUM");
    let beside = PathBuf::from(beside);
    let text = match fs::read(&beside) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(Error::Io { path: beside, action: "read", source }),
    };
    let expected = text.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
    if expected.len() != 64 || !expected.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(Error::BadChecksumFile { path: beside, found: text.chars().take(80).collect() });
    }
    if expected == sha256 {
        return Ok(());
    }
    Err(Error::ChecksumMismatch { path: path.to_owned(), found: sha256.to_owned(), expected })
}
