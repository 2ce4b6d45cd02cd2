//! How a file gets its final name, and how a folder is kept for one fetch at a time. Nothing here
//! knows what is in the files.

use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::Path;

use super::error::FetchError;

/// Gives `bytes` the name `path` in one step: temporary file beside it, fsync, rename, fsync of
/// the folder. A reader sees the old file or the new one, never half of one.
///
/// The temporary name is fixed; [`lock`] keeps two writers apart, and what a killed fetch left
/// behind is overwritten by the next.
///
/// # Errors
/// When the disk refuses; the temporary file is then removed.
pub(super) fn put(path: &Path, bytes: &[u8]) -> Result<(), FetchError> {
    let failed = |source| FetchError::Io { path: path.to_owned(), source };
    let folder = path.parent().unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let part = folder.join(format!(".{name}.part"));
    let write = || {
        std::fs::create_dir_all(folder)?;
        let mut file = File::create(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&part, path)?;
        sync_folder(folder)
    };
    write().map_err(|source| {
        // Best effort: the error that matters is the one being reported.
        let _ = std::fs::remove_file(&part);
        failed(source)
    })
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Elsewhere a folder cannot be opened as a file; the rename itself is durable enough.
#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> std::io::Result<()> {
    Ok(())
}

/// Creates `dest` and keeps it until the returned file is dropped; the system releases it also
/// when the process dies.
///
/// # Errors
/// [`FetchError::Busy`] when another fetch keeps it; the disk's refusal otherwise.
pub(super) fn lock(dest: &Path) -> Result<File, FetchError> {
    let path = dest.join(".fetch.lock");
    let open = || {
        std::fs::create_dir_all(dest)?;
        File::options().create(true).write(true).truncate(false).open(&path)
    };
    let file = open().map_err(|source| FetchError::Io { path: path.clone(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(FetchError::Busy { path }),
        Err(TryLockError::Error(source)) => Err(FetchError::Io { path, source }),
    }
}
