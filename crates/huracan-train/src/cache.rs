//! Pieces of a run kept from one run to the next, addressed by everything they were made of.
//!
//! A piece's key is a hash of the code's version, the settings, and the data it was allowed to see; what
//! is found under a key is therefore what would be made again, bit for bit, and nothing is ever
//! invalidated: other inputs have another key. The folder is cache and nothing else. A file that is torn,
//! damaged or gone is a miss, a disk that refuses is a cache that keeps nothing more, and neither ends a
//! run. Several processes may use one folder: files appear whole, by rename, and equal keys hold equal
//! bytes. What is not used goes first when the folder grows beyond its bound.
//!
//! What a piece may depend on is not decided here (`engine::known`).

use huracan_store::unique;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// Part of every key, as is the program's file itself.
pub const CODE_VERSION: &str = concat!("1/", env!("CARGO_PKG_VERSION"));

/// A SHA-256 hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest([u8; 32]);

impl Digest {
    /// In lower-case hexadecimal digits.
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.hex()[..16])
    }
}

/// Hashes inputs one after the other. Every part is preceded by its length, so that no two lists of
/// parts look the same.
#[derive(Clone)]
pub struct Inputs(Sha256);

impl Inputs {
    /// Nothing but what the hash is of.
    pub fn of(what: &str) -> Inputs {
        Inputs(Sha256::new()).text(what)
    }

    /// A text.
    #[must_use]
    pub fn text(mut self, text: &str) -> Inputs {
        self.0.update((text.len() as u64).to_le_bytes());
        self.0.update(text.as_bytes());
        self
    }

    /// A whole number.
    #[must_use]
    pub fn number(mut self, number: i64) -> Inputs {
        self.0.update(number.to_le_bytes());
        self
    }

    /// Numbers, by their bits.
    #[must_use]
    pub fn numbers(mut self, numbers: &[f64]) -> Inputs {
        self.0.update((numbers.len() as u64).to_le_bytes());
        self.extend(numbers.iter().copied());
        self
    }

    /// Another hash.
    #[must_use]
    pub fn digest(mut self, digest: &Digest) -> Inputs {
        self.0.update(digest.0);
        self
    }

    /// Numbers without their count in front, for a prefix that is still growing.
    pub fn extend(&mut self, numbers: impl IntoIterator<Item = f64>) {
        // A hash takes many bytes at once far faster than a few at a time.
        let mut held = [0; 4096];
        let mut filled = 0;
        for number in numbers {
            held[filled..filled + 8].copy_from_slice(&number.to_bits().to_le_bytes());
            filled += 8;
            if filled == held.len() {
                self.0.update(held);
                filled = 0;
            }
        }
        self.0.update(&held[..filled]);
    }

    /// The hash of all parts so far.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

/// What a piece is and what it was made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key {
    kind: &'static str,
    inputs: Digest,
}

impl Key {
    /// `kind` is a word of the engine's, the first part of a file name.
    pub fn new(kind: &'static str, inputs: Digest) -> Key {
        Key { kind, inputs }
    }

    fn path(&self, dir: &Path) -> PathBuf {
        let hex = self.inputs.hex();
        dir.join(&hex[..2]).join(format!("{}-{}", self.kind, &hex[2..]))
    }
}

/// How often a kind of piece was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Found.
    pub hits: u64,
    /// Not found, and made.
    pub misses: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
}

std::thread_local! {
    /// Pieces that this thread has found, and those it has not.
    static THREAD: std::cell::Cell<(u64, u64)> = const { std::cell::Cell::new((0, 0)) };
}

/// How many pieces this thread has looked for so far: found, and not found.
pub fn looked_for_by_this_thread() -> (u64, u64) {
    THREAD.with(std::cell::Cell::get)
}

/// A folder of pieces, or none at all.
#[derive(Debug)]
pub struct Cache {
    dir: Option<PathBuf>,
    /// Told apart by what made them beside the code: another build, another kind of processor.
    build: String,
    bytes_max: u64,
    bytes: AtomicU64,
    is_full: AtomicBool,
    is_closed: AtomicBool,
    counts: Mutex<BTreeMap<&'static str, Counts>>,
}

impl Cache {
    /// Keeps nothing and finds nothing.
    pub fn none() -> Cache {
        Cache {
            dir: None,
            build: String::new(),
            bytes_max: 0,
            bytes: AtomicU64::new(0),
            is_full: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            counts: Mutex::default(),
        }
    }

    /// The pieces in a folder, which is made when the first one is kept; at most `bytes_max` stay. Pieces
    /// of another `build` are not found.
    pub fn open(dir: &Path, bytes_max: u64, build: &str) -> Cache {
        let Some(id) = build_id() else { return Cache::none() };
        let cache =
            Cache { dir: Some(dir.to_owned()), build: format!("{build} {id}"), bytes_max, ..Cache::none() };
        cache.sweep();
        cache
    }

    /// Whether anything can be found or kept.
    pub fn is_used(&self) -> bool {
        self.dir.is_some()
    }

    /// The start of every key: nothing made by another program is the same.
    pub fn inputs(&self, what: &str) -> Inputs {
        Inputs::of(what).text(&self.build)
    }

    /// A piece as it was kept; anything less is `None`.
    pub fn get<T: DeserializeOwned>(&self, key: &Key) -> Option<T> {
        let dir = self.dir.as_ref().filter(|_| !self.is_closed.load(Ordering::Relaxed))?;
        let found = read(&key.path(dir), key).and_then(|bytes| {
            let (piece, rest) = postcard::take_from_bytes(&bytes).ok()?;
            rest.is_empty().then_some((piece, bytes.len() as u64))
        });
        self.note(key, found.as_ref().map(|(_, bytes)| *bytes));
        found.map(|(piece, _)| piece)
    }

    /// Whether there is a piece, whole or not: who reads it later finds out.
    pub fn has(&self, key: &Key) -> bool {
        let dir = self.dir.as_ref().filter(|_| !self.is_closed.load(Ordering::Relaxed));
        let is_there = dir.is_some_and(|dir| {
            let path = key.path(dir);
            let there = path.is_file();
            if there {
                // Needed, though perhaps not read: it is not the first to go.
                note_use(&path);
            }
            there
        });
        self.note(key, is_there.then_some(0));
        is_there
    }

    /// Counts a piece that was found, with its bytes, or not.
    fn note(&self, key: &Key, found: Option<u64>) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = counts.entry(key.kind).or_default();
        let (hit, miss) = (u64::from(found.is_some()), u64::from(found.is_none()));
        THREAD.with(|thread| thread.set((thread.get().0 + hit, thread.get().1 + miss)));
        counts.hits += hit;
        counts.misses += miss;
        counts.bytes_read += found.unwrap_or(0);
    }

    /// Keeps a piece, or does without.
    pub fn put<T: Serialize>(&self, key: &Key, piece: &T) {
        self.keeps(key, piece);
    }

    /// Keeps a piece; whether it is kept. The first refusal of the disk is told and ends the keeping, not
    /// the run.
    pub fn keeps<T: Serialize>(&self, key: &Key, piece: &T) -> bool {
        let Some(dir) = &self.dir else { return false };
        if self.is_full.load(Ordering::Relaxed) || self.is_closed.load(Ordering::Relaxed) {
            return false;
        }
        let Ok(bytes) = postcard::to_stdvec(piece) else { return false };
        match self.write(dir, key, &bytes) {
            Ok(()) => {
                let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
                counts.entry(key.kind).or_default().bytes_written += bytes.len() as u64;
                drop(counts);
                let size = (bytes.len() + HEADER) as u64;
                if self.bytes.fetch_add(size, Ordering::Relaxed) + size > self.bytes_max {
                    self.sweep();
                }
                true
            }
            Err(error) => {
                if !self.is_full.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        path = %dir.display(), %error,
                        "nothing more is kept in the cache; free some space, the run goes on without it"
                    );
                }
                false
            }
        }
    }

    /// The piece of a key, made when it is not there.
    pub fn get_or<T: Serialize + DeserializeOwned>(&self, key: &Key, make: impl FnOnce() -> T) -> T {
        match self.get(key) {
            Some(piece) => piece,
            None => {
                let piece = make();
                self.put(key, &piece);
                piece
            }
        }
    }

    /// Keeps and finds nothing from here on: what is made without a coin that broke is not what was made
    /// with it.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }

    /// What was found and made so far, by kind.
    pub fn counts(&self) -> BTreeMap<&'static str, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn write(&self, dir: &Path, key: &Key, bytes: &[u8]) -> io::Result<()> {
        let path = key.path(dir);
        if let Some(shelf) = path.parent() {
            fs::create_dir_all(shelf)?;
        }
        // Writers of one piece may be threads, processes or containers with equal process ids.
        let temporary = dir.join(format!("{TEMPORARY}{}", unique()));
        let written = fs::File::create_new(&temporary).and_then(|mut file| {
            file.write_all(&header(key, bytes))?;
            file.write_all(bytes)
        });
        // Not forced to disk: a file that a power cut tears does not match its checksum.
        written.and_then(|()| fs::rename(&temporary, &path)).inspect_err(|_| {
            // Best effort: what stays behind is swept a day later.
            let _ = fs::remove_file(&temporary);
        })
    }

    /// Removes what was not used for longest until the folder is within its bound, and what killed
    /// processes left. Files that others remove meanwhile are gone as well.
    fn sweep(&self) {
        let Some(dir) = &self.dir else { return };
        let now = SystemTime::now();
        let mut pieces: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for entry in entries(dir) {
            let path = entry.path();
            if path.is_dir() {
                pieces.extend(entries(&path).filter_map(|file| {
                    let found = file.metadata().ok().filter(fs::Metadata::is_file)?;
                    Some((found.modified().ok()?, found.len(), file.path()))
                }));
            } else if entry.file_name().to_string_lossy().starts_with(TEMPORARY)
                && entry
                    .metadata()
                    .and_then(|found| found.modified())
                    .is_ok_and(|at| now.duration_since(at).is_ok_and(|age| age > TEMPORARY_KEPT))
            {
                let _ = fs::remove_file(&path);
            }
        }
        let mut bytes: u64 = pieces.iter().map(|(_, size, _)| size).sum();
        if bytes > self.bytes_max {
            // Somewhat below, so that not every piece kept sweeps again.
            let wanted = self.bytes_max / 10 * 9;
            pieces.sort_unstable();
            for (_, size, path) in pieces {
                if bytes <= wanted {
                    break;
                }
                let _ = fs::remove_file(path);
                bytes -= size;
            }
        }
        self.bytes.store(bytes, Ordering::Relaxed);
    }
}

/// Start of the names of files that are not whole yet.
const TEMPORARY: &str = "temporary-";
/// How long such a file may belong to a process that lives.
const TEMPORARY_KEPT: Duration = Duration::from_secs(86_400);
/// How much older than now a piece's time of use may be before it is set again.
const USE_NOTED: Duration = Duration::from_secs(3_600);
/// Key, length and checksum in front of the bytes.
const HEADER: usize = 48;

fn entries(dir: &Path) -> impl Iterator<Item = fs::DirEntry> {
    fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok)
}

fn header(key: &Key, bytes: &[u8]) -> Vec<u8> {
    let mut header = key.inputs.0.to_vec();
    header.extend((bytes.len() as u64).to_le_bytes());
    header.extend(checksum(bytes).to_le_bytes());
    header
}

fn read(path: &Path, key: &Key) -> Option<Vec<u8>> {
    let mut file = fs::File::open(path).ok()?;
    let mut all = Vec::new();
    file.read_to_end(&mut all).ok()?;
    let bytes = all.get(HEADER..)?;
    if all[..HEADER] != header(key, bytes)[..] {
        return None;
    }
    note_use(path);
    all.drain(..HEADER);
    Some(all)
}

/// Notes the time of use, which decides what goes first and nothing else.
fn note_use(path: &Path) {
    let now = SystemTime::now();
    let used = fs::metadata(path).and_then(|found| found.modified()).ok();
    if used.is_none_or(|at| now.duration_since(at).is_ok_and(|age| age > USE_NOTED)) {
        let _ = fs::File::open(path).and_then(|file| file.set_modified(now));
    }
}

/// A multiplicative hash: notices torn and damaged files, defends against nobody.
fn checksum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut tail = [0; 8];
    tail[..rest.len()].copy_from_slice(rest);
    let sum = checksum_of(words, |word| u64::from_le_bytes(*word));
    [u64::from_le_bytes(tail), bytes.len() as u64].into_iter().fold(sum, step)
}

/// The same of whole words.
pub(crate) fn checksum_of<T>(items: &[T], word: impl Fn(&T) -> u64) -> u64 {
    // Four at once: one after the other waits for each multiplication.
    let (fours, left) = items.as_chunks::<4>();
    let mut lanes = [0x9e37_79b9_7f4a_7c15_u64, 1, 2, 3];
    for four in fours {
        for (lane, item) in lanes.iter_mut().zip(four) {
            *lane = step(*lane, word(item));
        }
    }
    lanes.into_iter().chain(left.iter().map(word)).fold(0, step)
}

fn step(hash: u64, word: u64) -> u64 {
    (hash ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(29)
}

/// This very program, by the hash of its file; `None` where it cannot be read. A build that differs in one
/// line may make other pieces, and nobody has to remember to say so.
fn program() -> Option<String> {
    static HASH: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let read = || {
        // The file that runs, even where another has taken its name since.
        let file = fs::read("/proc/self/exe").or_else(|_| fs::read(std::env::current_exe()?)).ok()?;
        Some(Digest(Sha256::digest(&file).into()).hex())
    };
    HASH.get_or_init(read).clone()
}

/// What decides a result's last bits beside its inputs: the program's own bytes, and the processor.
/// `None` where the program cannot be read.
pub fn build_id() -> Option<String> {
    Some(format!("{CODE_VERSION} {} {}", program()?, processor()))
}

/// What of the processor decides which kernels matrices are multiplied with, and so the last bits.
fn processor() -> String {
    let mut known = vec![std::env::consts::ARCH];
    #[cfg(target_arch = "x86_64")]
    {
        let has = [
            ("avx2", std::arch::is_x86_feature_detected!("avx2")),
            ("fma", std::arch::is_x86_feature_detected!("fma")),
            ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
        ];
        known.extend(has.into_iter().filter(|(_, has)| *has).map(|(name, _)| name));
    }
    known.join("+")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: i64) -> Key {
        Key::new("thing", Inputs::of("test").number(n).finish())
    }

    fn count(cache: &Cache) -> (u64, u64) {
        let counts = cache.counts().get("thing").copied().unwrap_or_default();
        (counts.hits, counts.misses)
    }

    #[test]
    fn a_piece_comes_back_bit_for_bit_in_another_process_s_eyes() {
        let dir = tempfile::tempdir().unwrap();
        let piece = vec![1.5, -0.0, f64::MIN_POSITIVE, f64::NAN];
        Cache::open(dir.path(), 1 << 20, "a").put(&key(1), &piece);
        let cache = Cache::open(dir.path(), 1 << 20, "a");
        let bits = |v: &[f64]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&cache.get::<Vec<f64>>(&key(1)).unwrap()), bits(&piece));
        assert_eq!(cache.get::<Vec<f64>>(&key(2)), None);
        assert_eq!(count(&cache), (1, 1));
        assert_eq!(cache.get_or(&key(2), || vec![7.0]), vec![7.0]);
        assert_eq!(cache.get_or(&key(2), || vec![8.0]), vec![7.0]);
        assert_eq!(count(&cache), (2, 2));
    }

    #[test]
    fn keys_tell_parts_apart_and_builds() {
        let of = |a: &str, b: &str| Inputs::of(a).text(b).finish();
        assert_ne!(of("ab", "c"), of("a", "bc"));
        let numbers = |a: &[f64], b: &[f64]| Inputs::of("n").numbers(a).numbers(b).finish();
        assert_ne!(numbers(&[1.0], &[]), numbers(&[], &[1.0]));
        assert_ne!(numbers(&[0.0], &[]), numbers(&[-0.0], &[]));
        let dir = tempfile::tempdir().unwrap();
        let [a, b] = ["one", "two"].map(|build| Cache::open(dir.path(), 1, build).inputs("x").finish());
        assert_ne!(a, b);
    }

    #[test]
    fn torn_damaged_swapped_and_foreign_files_are_misses() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path(), 1 << 20, "a");
        let keep = |n: i64| {
            cache.put(&key(n), &vec![1.0, 2.0, 3.0]);
            key(n).path(dir.path())
        };
        let whole = fs::read(keep(1)).unwrap();
        for cut in 0..whole.len() {
            fs::write(keep(1), &whole[..cut]).unwrap();
            assert_eq!(cache.get::<Vec<f64>>(&key(1)), None, "cut at {cut}");
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            fs::write(keep(1), damaged).unwrap();
            assert_eq!(cache.get::<Vec<f64>>(&key(1)), None, "damaged at {at}");
        }
        fs::copy(keep(2), keep(3)).unwrap();
        assert_eq!(cache.get::<Vec<f64>>(&key(3)), None, "another key's piece");
        keep(4);
        assert_eq!(cache.get::<Vec<String>>(&key(4)), None, "not what was asked for");
        assert_eq!(cache.get::<Vec<f64>>(&key(4)), Some(vec![1.0, 2.0, 3.0]));
    }

    #[test]
    fn a_folder_that_cannot_be_written_keeps_nothing_and_ends_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("in the way");
        fs::write(&file, b"x").unwrap();
        let cache = Cache::open(&file, 1 << 20, "a");
        assert_eq!(cache.get_or(&key(1), || 5_u64), 5);
        assert!(cache.is_full.load(Ordering::Relaxed));
        assert_eq!(cache.get_or(&key(1), || 6_u64), 6);
        assert_eq!(Cache::none().get_or(&key(1), || 7_u64), 7);
    }

    #[test]
    fn a_closed_cache_finds_and_keeps_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path(), 1 << 20, "a");
        cache.put(&key(1), &1_u64);
        cache.close();
        cache.put(&key(2), &2_u64);
        assert_eq!((cache.get::<u64>(&key(1)), cache.get::<u64>(&key(2))), (None, None));
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let dir = tempfile::tempdir().unwrap();
        let piece = vec![0.5; 1000];
        let cache = Cache::open(dir.path(), 100_000, "a");
        for n in 0..10 {
            cache.put(&key(n), &piece);
            let aged = SystemTime::now() - Duration::from_secs(86_400 * (20 - n as u64));
            let file = fs::File::options().write(true).open(key(n).path(dir.path())).unwrap();
            file.set_modified(aged).unwrap();
        }
        // The oldest is used again; four more do not fit.
        assert!(cache.get::<Vec<f64>>(&key(0)).is_some());
        (10..14).for_each(|n| cache.put(&key(n), &piece));
        let there: Vec<i64> = (0..14).filter(|&n| key(n).path(dir.path()).exists()).collect();
        assert_eq!(there, [0, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
        let left = dir.path().join(format!("{TEMPORARY}1-1"));
        fs::write(&left, b"half").unwrap();
        let day = SystemTime::now() - 2 * TEMPORARY_KEPT;
        fs::File::options().write(true).open(&left).unwrap().set_modified(day).unwrap();
        Cache::open(dir.path(), 100_000, "a");
        assert!(!left.exists());
    }

    #[test]
    fn many_writers_of_one_key_leave_it_whole() {
        let dir = tempfile::tempdir().unwrap();
        let caches: Vec<Cache> = (0..2).map(|_| Cache::open(dir.path(), 1 << 24, "a")).collect();
        let piece = vec![0.25; 4000];
        std::thread::scope(|scope| {
            for cache in caches.iter().cycle().take(6) {
                scope.spawn(|| {
                    for _ in 0..50 {
                        cache.put(&key(1), &piece);
                        assert_eq!(cache.get::<Vec<f64>>(&key(1)).as_ref(), Some(&piece));
                    }
                });
            }
        });
    }
}
