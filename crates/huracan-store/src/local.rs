//! A store in a folder, safe against crashes, other processes and a full disk.
//!
//! A put writes a temporary file in the target's folder, fsyncs it, compares and
//! renames under the commit lock, and fsyncs the folder: readers see the old object or the new one, never part of
//! one, and need no lock. The locks are the operating system's, so a dead process holds none.
//!
//! The store's own files all start with a dot, which no [`StorePath`] can: `.huracan/*` (locks) and
//! `.tmp-*` (temporaries). Symbolic links inside the store are not followed.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::error::{Result, StoreError};
use crate::memory::permit;
use crate::path::StorePath;
use crate::run_lock::{RunLock, RunOwner};
use crate::store::{Entry, Object, PutMode, Revision, Store};
use crate::unique::unique;

const LOCKS: &str = ".huracan";
const TEMPORARY: &str = ".tmp-";

/// A folder on a local disk.
#[derive(Debug)]
pub struct LocalStore {
    root: PathBuf,
}

impl LocalStore {
    /// Opens a folder that is there, and removes what a crashed writer left behind (only when no
    /// writer is alive; a folder that may not be written is opened for reading).
    ///
    /// # Errors
    /// `NotFound` when there is no such folder.
    pub fn open(root: impl Into<PathBuf>) -> Result<LocalStore> {
        let root = root.into();
        if !root.is_dir() {
            return Err(StoreError::NotFound {
                path: root.display().to_string(),
                help: "expected the folder of a store; train first, or check --store",
            });
        }
        let store = LocalStore { root };
        store.sweep()?;
        Ok(store)
    }

    /// Makes the folder if it is missing, then opens it.
    ///
    /// # Errors
    /// `ReadOnly`, `NoSpace` or `Io` when the folder cannot be made.
    pub fn create(root: impl Into<PathBuf>) -> Result<LocalStore> {
        let root = root.into();
        fs::create_dir_all(&root)
            .map_err(|e| StoreError::writing(root.display(), "make the store's folder", e))?;
        LocalStore::open(root)
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Removes temporaries of dead writers. Every writer holds `writers` shared while it writes, so
    /// having it exclusively means that no temporary is in use.
    fn sweep(&self) -> Result<()> {
        let Ok(writers) = self.lock_file("writers") else { return Ok(()) };
        if !locked_soon(&writers) {
            return Ok(());
        }
        let mut left_behind = Vec::new();
        walk(&self.root, &mut |path, name, _| {
            if name.starts_with(TEMPORARY) {
                left_behind.push(path.to_path_buf());
            }
            Ok(())
        })
        .map_err(|e| self.reading("look for temporary files", e))?;
        for path in left_behind {
            tracing::warn!(path = %path.display(), "removing a temporary file of a crashed writer");
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "the temporary file stays");
            }
        }
        Ok(())
    }

    /// Opens (and makes, the first time) one of the store's own lock files.
    fn lock_file(&self, name: &str) -> Result<File> {
        let folder = self.root.join(LOCKS);
        let path = folder.join(format!("{name}.lock"));
        let failed = |e| StoreError::writing(path.display(), "open the lock file", e);
        if !folder.is_dir() {
            fs::create_dir_all(&folder).map_err(failed)?;
        }
        OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)
    }

    fn reading(&self, action: &'static str, source: io::Error) -> StoreError {
        StoreError::Io { path: self.root.display().to_string(), action, source }
    }

    /// Where an object is on disk.
    ///
    /// # Errors
    /// `InvalidPath` when a symbolic link is on the way: it could lead out of the store.
    fn locate(&self, path: &StorePath) -> Result<PathBuf> {
        let mut file = self.root.clone();
        for segment in path.segments() {
            file.push(segment);
            if fs::symlink_metadata(&file).is_ok_and(|found| found.is_symlink()) {
                return Err(StoreError::InvalidPath {
                    text: path.to_string(),
                    reason: "it leads through a symbolic link, which a store does not follow",
                });
            }
        }
        Ok(file)
    }
}

/// The bytes of a file, or `None` when there is none (or a folder has its name).
fn read_file(path: &StorePath, file: &Path) -> Result<Option<Vec<u8>>> {
    let failed = |source| StoreError::Io { path: path.to_string(), action: "read it", source };
    let mut opened = match File::open(file) {
        Ok(opened) => opened,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(e) => return Err(failed(e)),
    };
    let found = opened.metadata().map_err(failed)?;
    if found.is_dir() {
        return Ok(None);
    }
    let mut bytes = Vec::with_capacity(found.len() as usize);
    opened.read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(bytes))
}

/// Calls `visit(path, name, size)` for every file below `folder`, links excluded.
fn walk(folder: &Path, visit: &mut dyn FnMut(&Path, &str, u64) -> io::Result<()>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(()),
        Err(e) => return Err(e),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let kind = entry.file_type()?;
        if kind.is_dir() {
            walk(&entry.path(), visit)?;
        } else if kind.is_file() {
            // A temporary may be renamed between the listing and this question.
            match entry.metadata() {
                Ok(found) => visit(&entry.path(), name, found.len())?,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
    }
    Ok(())
}

/// Makes every missing folder down to `folder` and fsyncs the parent of each one made.
fn make_folders(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        make_folders(parent)?;
        match fs::create_dir(folder) {
            Ok(()) => sync_folder(parent)?,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Elsewhere a folder cannot be opened as a file; the rename is as durable as the system makes it.
#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

/// A temporary file that goes away unless it was renamed.
struct Temporary(Option<PathBuf>);

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = self.0.take() {
            // The error that brought us here is already on its way to the caller; what stays is swept
            // at the next opening.
            let _ = fs::remove_file(path);
        }
    }
}

fn write_temporary(folder: &Path, bytes: &[u8]) -> io::Result<(Temporary, PathBuf)> {
    // Not the process's id: two containers have the same and may share a folder.
    let path = folder.join(format!("{TEMPORARY}{}", unique()));
    let mut file = OpenOptions::new().create_new(true).write(true).open(&path)?;
    let temporary = Temporary(Some(path.clone()));
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok((temporary, path))
}

impl Store for LocalStore {
    fn get(&self, path: &StorePath) -> Result<Option<Object>> {
        let bytes = read_file(path, &self.locate(path)?)?;
        Ok(bytes.map(|bytes| Object { revision: Revision::of(&bytes), bytes }))
    }

    fn put(&self, path: &StorePath, bytes: &[u8], mode: PutMode) -> Result<Revision> {
        let failed = |e| StoreError::writing(path, "write it", e);
        let target = self.locate(path)?;
        let folder = target.parent().unwrap_or(&self.root);

        let writers = self.lock_file("writers")?;
        writers.lock_shared().map_err(failed)?;
        make_folders(folder).map_err(failed)?;
        let (mut temporary, file) = write_temporary(folder, bytes).map_err(failed)?;

        let commit = self.lock_file("commit")?;
        commit.lock().map_err(failed)?;
        if mode != PutMode::Overwrite {
            let found = read_file(path, &target)?.map(|found| Revision::of(&found));
            permit(path, &mode, found.as_ref())?;
        }
        fs::rename(&file, &target).map_err(failed)?;
        temporary.0 = None;
        drop(commit);
        sync_folder(folder).map_err(failed)?;
        Ok(Revision::of(bytes))
    }

    fn list(&self, folder: Option<&StorePath>) -> Result<Vec<Entry>> {
        let top = match folder {
            Some(folder) => self.locate(folder)?,
            None => self.root.clone(),
        };
        let mut entries = Vec::new();
        walk(&top, &mut |path, _, size_bytes| {
            let relative = path.strip_prefix(&self.root).ok().and_then(Path::to_str);
            let text = relative.map(|text| text.replace(std::path::MAIN_SEPARATOR, "/"));
            // Files that are not the store's (`.DS_Store`, notes with blanks) are nobody's objects.
            if let Some(Ok(path)) = text.map(StorePath::new) {
                entries.push(Entry { path, size_bytes, revision: None });
            }
            Ok(())
        })
        .map_err(|e| self.reading("list it", e))?;
        entries.sort();
        Ok(entries)
    }

    fn delete(&self, path: &StorePath) -> Result<()> {
        let failed = |e| StoreError::writing(path, "delete it", e);
        let target = self.locate(path)?;
        let commit = self.lock_file("commit")?;
        commit.lock().map_err(failed)?;
        match fs::remove_file(&target) {
            Ok(()) => sync_folder(target.parent().unwrap_or(&self.root)).map_err(failed),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(()),
            Err(e) => Err(failed(e)),
        }
    }

    fn lock_run(&self, owner: &RunOwner) -> Result<RunLock> {
        let lock = self.lock_file("run")?;
        let note = self.root.join(LOCKS).join("run.holder");
        match lock.try_lock() {
            Ok(()) => {
                fs::write(&note, owner.to_string())
                    .map_err(|e| StoreError::writing(note.display(), "name the run's holder", e))?;
                Ok(RunLock::new(lock))
            }
            Err(TryLockError::WouldBlock) => {
                let holder = fs::read_to_string(&note).unwrap_or_default();
                let holder = if holder.is_empty() { "it has not said who it is".to_owned() } else { holder };
                Err(StoreError::Locked { holder })
            }
            Err(TryLockError::Error(e)) => Err(StoreError::writing(note.display(), "lock the store", e)),
        }
    }
}

/// Takes a lock exclusively, if it is free or becomes so within a moment. A process that is just
/// being started holds copies of its parent's locks until it runs its own program: such a lock is
/// nobody's and goes by itself.
fn locked_soon(file: &File) -> bool {
    for _ in 0..100 {
        match file.try_lock() {
            Ok(()) => return true,
            Err(TryLockError::WouldBlock) => std::thread::sleep(std::time::Duration::from_millis(5)),
            Err(TryLockError::Error(_)) => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> StorePath {
        StorePath::new(text).unwrap()
    }

    #[test]
    fn leftovers_of_a_crashed_writer_are_swept_and_never_listed() {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::create(folder.path()).unwrap();
        store.put(&path("a/b"), b"x", PutMode::Create).unwrap();
        let leftover = folder.path().join("a/.tmp-1-0");
        fs::write(&leftover, b"half").unwrap();
        assert_eq!(store.list(None).unwrap().len(), 1);
        LocalStore::open(folder.path()).unwrap();
        assert!(!leftover.exists());
    }

    #[test]
    fn a_living_writer_keeps_its_temporary_when_another_opens_the_store() {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::create(folder.path()).unwrap();
        let writer = store.lock_file("writers").unwrap();
        writer.lock_shared().unwrap();
        let temporary = folder.path().join(".tmp-1-0");
        fs::write(&temporary, b"half").unwrap();
        LocalStore::open(folder.path()).unwrap();
        assert!(temporary.exists());
        drop(writer);
        LocalStore::open(folder.path()).unwrap();
        assert!(!temporary.exists());
    }

    #[test]
    fn a_missing_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = LocalStore::open(folder.path().join("nowhere")).unwrap_err();
        assert_eq!(error.code(), "store_not_found");
        assert!(error.to_string().contains("nowhere"));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_out_of_the_store_is_not_followed() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), b"s").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::create(folder.path()).unwrap();
        std::os::unix::fs::symlink(outside.path(), folder.path().join("models")).unwrap();
        assert_eq!(store.get(&path("models/secret")).unwrap_err().code(), "store_invalid_path");
        let put = store.put(&path("models/x"), b"x", PutMode::Create);
        assert_eq!(put.unwrap_err().code(), "store_invalid_path");
        assert!(store.list(None).unwrap().is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_without_write_permission_still_reads_and_says_why_it_does_not_write() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::create(folder.path()).unwrap();
        store.put(&path("a/b"), b"x", PutMode::Create).unwrap();
        let bar = |mode: u32| {
            for part in ["a", LOCKS, ""] {
                fs::set_permissions(folder.path().join(part), fs::Permissions::from_mode(mode)).unwrap();
            }
        };
        bar(0o555);
        let privileged = fs::write(folder.path().join("probe"), b"").is_ok();
        let reopened = LocalStore::open(folder.path()).unwrap();
        assert_eq!(reopened.get(&path("a/b")).unwrap().unwrap().bytes, b"x");
        let put = reopened.put(&path("a/c"), b"y", PutMode::Create);
        bar(0o755);
        if privileged {
            println!("skipped in part: this user may write anywhere");
        } else {
            assert_eq!(put.unwrap_err().code(), "store_read_only");
        }
    }

    /// The test runs itself again as the process that holds the lock and dies with it.
    #[test]
    fn the_lock_of_a_killed_run_is_free() {
        use std::io::BufRead as _;
        use std::process::{Command, Stdio};
        const ROLE: &str = "HURACAN_TEST_HOLDS_LOCK_OF";
        let owner = |pid| RunOwner {
            purpose: "train".into(),
            pid,
            host: "box".into(),
            since: huracan_core::words::UtcMs(0),
        };
        if let Some(root) = std::env::var_os(ROLE) {
            let store = LocalStore::open(root).unwrap();
            let _held = store.lock_run(&owner(std::process::id())).unwrap();
            println!("held");
            io::stdin().read_line(&mut String::new()).unwrap();
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::create(folder.path()).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "local::tests::the_lock_of_a_killed_run_is_free", "--nocapture"])
            .env(ROLE, folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = io::BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.map_while(|line| line.ok()).any(|line| line.ends_with("held")));
        let error = store.lock_run(&owner(1)).unwrap_err();
        assert!(error.to_string().contains(&format!("pid {}", child.id())), "{error}");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(store.lock_run(&owner(1)).is_ok());
    }
}
