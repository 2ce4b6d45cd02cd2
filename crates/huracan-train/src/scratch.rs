//! Scratch columns on local disk: what one pass over the coins leaves for the next.
//!
//! Files of little-endian f64 with a length and a checksum in front. They are cache: deleted when
//! the run ends, swept when the next one starts, never part of the store's contract.

use crate::cache::{Cache, checksum_of};
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A folder of scratch columns, removed when dropped, and the cache of what outlives it.
pub struct Scratch {
    dir: PathBuf,
    cache: Arc<Cache>,
    beyond: Option<Arc<dyn Beyond>>,
}

/// Where other machines leave scratch columns and look for them.
pub trait Beyond: Send + Sync {
    /// Leaves the bytes of a column.
    ///
    /// # Errors
    /// When they cannot be left.
    fn leave(&self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// The bytes of a column that another machine left; `None` where none did.
    ///
    /// # Errors
    /// When nobody can tell.
    fn look(&self, name: &str) -> io::Result<Option<Vec<u8>>>;
}

/// A scratch file could not be written or read back.
#[derive(Debug, thiserror::Error)]
pub enum ScratchError {
    /// The disk refused.
    #[error("scratch file {path}: {source}; free some space or point the store at another disk")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The content is not what was written.
    #[error("scratch file {path} does not hold what was written to it; check the disk and run again")]
    Corrupt {
        /// The file.
        path: PathBuf,
    },
}

impl Scratch {
    /// A fresh, empty folder; whatever an interrupted run left there goes first.
    ///
    /// # Errors
    /// When the folder cannot be emptied or made.
    pub fn open(dir: &Path) -> Result<Scratch, ScratchError> {
        let io = |source| ScratchError::Io { path: dir.to_owned(), source };
        match fs::remove_dir_all(dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
        fs::create_dir_all(dir).map_err(io)?;
        Ok(Scratch { dir: dir.to_owned(), beyond: None, cache: Arc::new(Cache::none()) })
    }

    /// The same with pieces of other runs at hand.
    #[must_use]
    pub fn with_cache(mut self, cache: Arc<Cache>) -> Scratch {
        self.cache = cache;
        self
    }

    /// Pieces kept from run to run; nothing is kept unless it was given.
    pub fn cache(&self) -> &Arc<Cache> {
        &self.cache
    }

    /// The same folder, whose columns are left for other machines too, and looked for among theirs.
    pub fn beyond(self, beyond: Arc<dyn Beyond>) -> Scratch {
        let mut shared = self;
        shared.beyond = Some(beyond);
        shared
    }

    /// Writes a column under a name.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&self, name: &str, values: &[f64]) -> Result<(), ScratchError> {
        let path = self.dir.join(name);
        let io = |source| ScratchError::Io { path: path.clone(), source };
        if let Some(beyond) = &self.beyond {
            let mut bytes = Vec::with_capacity(8 * values.len() + HEADER);
            into(&mut bytes, values).map_err(io)?;
            fs::write(&path, &bytes).map_err(io)?;
            return beyond.leave(name, &bytes).map_err(io);
        }
        fs::File::create(&path).and_then(|mut file| into(&mut file, values)).map_err(io)
    }

    /// A column if there is one.
    ///
    /// # Errors
    /// When nobody can tell, or it is not as written.
    pub fn look(&self, name: &str) -> Result<Option<Vec<f64>>, ScratchError> {
        match self.read(name) {
            Err(ScratchError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }

    /// That a column does not hold what its reader left there.
    pub fn corrupt(&self, name: &str) -> ScratchError {
        ScratchError::Corrupt { path: self.dir.join(name) }
    }

    /// Reads a column back.
    ///
    /// # Errors
    /// When the file is gone or not as written.
    pub fn read(&self, name: &str) -> Result<Vec<f64>, ScratchError> {
        let path = self.dir.join(name);
        let io = |source| ScratchError::Io { path: path.clone(), source };
        let read = match (fs::File::open(&path), &self.beyond) {
            (Err(error), Some(beyond)) if error.kind() == io::ErrorKind::NotFound => {
                let found = self.fetch(beyond.as_ref(), name, error).map_err(io)?;
                out_of(&found[..], found.len() as u64)
            }
            (opened, _) => {
                let file = opened.map_err(io)?;
                let size = file.metadata().map_err(io)?.len();
                out_of(file, size)
            }
        };
        read.map_err(io)?.ok_or(ScratchError::Corrupt { path })
    }

    /// The bytes of a column that another machine left, which are here from now on.
    fn fetch(&self, beyond: &dyn Beyond, name: &str, missing: io::Error) -> io::Result<Vec<u8>> {
        let found = beyond.look(name)?.ok_or(missing)?;
        // Several threads may fetch one column: each writes a file of its own first.
        let number = FETCHED.fetch_add(1, Ordering::Relaxed);
        let fetched = self.dir.join(format!("{name}.fetched-{number}"));
        fs::write(&fetched, &found)?;
        fs::rename(&fetched, self.dir.join(name))?;
        Ok(found)
    }
}

/// Writes a column: its length, its checksum, its values.
fn into(to: &mut impl Write, values: &[f64]) -> io::Result<()> {
    let mut block = Vec::with_capacity(BLOCK);
    block.extend((values.len() as u64).to_le_bytes());
    block.extend(checksum_of(values, |v| v.to_bits()).to_le_bytes());
    for part in values.chunks(BLOCK / 8 - 2) {
        part.iter().for_each(|v| block.extend(v.to_le_bytes()));
        to.write_all(&block)?;
        block.clear();
    }
    to.write_all(&block)
}

/// Reads a column of so many bytes back; `None` where it is not what was written.
fn out_of(mut from: impl Read, size: u64) -> io::Result<Option<Vec<f64>>> {
    let mut block = vec![0; BLOCK];
    let filled = fill(&mut from, &mut block[..HEADER])?;
    let [len, sum] = [0, 8].map(|at| u64::from_le_bytes(array(&block[at..at + 8])));
    let expected = len.checked_mul(8).and_then(|bytes| bytes.checked_add(HEADER as u64));
    if filled < HEADER || expected != Some(size) {
        return Ok(None);
    }
    let mut values = Vec::with_capacity(len as usize);
    loop {
        let filled = fill(&mut from, &mut block)?;
        let (words, rest) = block[..filled].as_chunks::<8>();
        if !rest.is_empty() || (values.len() + words.len()) as u64 > len {
            return Ok(None);
        }
        values.extend(words.iter().map(|v| f64::from_le_bytes(*v)));
        if filled < BLOCK {
            break;
        }
    }
    let is_whole = values.len() as u64 == len && checksum_of(&values, |v: &f64| v.to_bits()) == sum;
    Ok(is_whole.then_some(values))
}

/// Reads until the buffer is full or there is nothing more: bytes read.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Bytes read or written at a time; a multiple of 8.
const BLOCK: usize = 1 << 16;

/// Tells files being fetched apart.
static FETCHED: AtomicU64 = AtomicU64::new(0);

/// Length and checksum in front of the values, bytes.
const HEADER: usize = 16;

fn array(bytes: &[u8]) -> [u8; 8] {
    let mut out = [0; 8];
    out.copy_from_slice(bytes);
    out
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Best effort: what stays behind is swept by the next run.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_come_back_bit_for_bit_and_damage_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = Scratch::open(&dir.path().join("s")).unwrap();
        let values = [1.5, f64::NAN, -0.0, f64::MIN_POSITIVE];
        scratch.write("a", &values).unwrap();
        let bits = |v: &[f64]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&scratch.read("a").unwrap()), bits(&values));
        let path = dir.path().join("s/a");
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
            assert!(matches!(scratch.read("a"), Err(ScratchError::Corrupt { .. })), "damaged at {at}");
            fs::write(&path, &whole[..at]).unwrap();
            assert!(matches!(scratch.read("a"), Err(ScratchError::Corrupt { .. })), "cut at {at}");
        }
        assert!(matches!(scratch.read("b"), Err(ScratchError::Io { .. })));
        // Lengths about those of a block.
        for len in [0_u32, 1, 8_189, 8_190, 8_191, 8_192, 8_193, 16_384, 30_000] {
            let column: Vec<f64> = (0..len).map(f64::from).collect();
            scratch.write("long", &column).unwrap();
            assert_eq!(scratch.read("long").unwrap(), column);
            assert_eq!(fs::metadata(dir.path().join("s/long")).unwrap().len(), 16 + 8 * u64::from(len));
        }
    }

    #[test]
    fn a_new_run_sweeps_what_the_last_one_left() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("left"), b"x").unwrap();
        let scratch = Scratch::open(dir.path()).unwrap();
        assert!(!dir.path().join("left").exists());
        drop(scratch);
        assert!(!dir.path().exists());
    }
}
