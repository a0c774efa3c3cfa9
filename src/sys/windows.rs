//! The Windows side, with the stable standard library alone. It compiles and was never run.

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::os::windows::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

// Constants of `CreateFileW`.
const GENERIC_WRITE: u32 = 0x4000_0000;
const DELETE: u32 = 0x0001_0000;
const FILE_SHARE_READ: u32 = 1;
const FILE_SHARE_WRITE: u32 = 2;
const FILE_FLAG_BACKUP_SEMANTICS: u32 = 0x0200_0000;
const FILE_FLAG_DELETE_ON_CLOSE: u32 = 0x0400_0000;
const ERROR_SHARING_VIOLATION: i32 = 32;

/// The name of the lock file.
const LOCK_FILE: &str = ".electra-convert.lock";

/// Writes all of `buf` at `offset`. Several threads may write to one file.
pub(crate) fn write_all_at(file: &File, mut buf: &[u8], mut offset: u64) -> io::Result<()> {
    while !buf.is_empty() {
        match file.seek_write(buf, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                buf = &buf[written..];
                offset += written as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Returns the time of creation, in units of 100 ns; a rename does not change it.
pub(crate) fn file_number(metadata: &Metadata) -> u64 {
    metadata.creation_time()
}

/// Does nothing: Windows has no call for it, and NTFS logs renames.
pub(crate) fn sync_directory(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// An open directory, locked against other processes that take this lock.
///
/// `LockFileEx` locks no directories. The lock is a file in the directory that is open without sharing
/// and is deleted when the system closes it, at the latest at the end of the process. While the directory
/// is open, nobody can move or remove it.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    path: PathBuf,
    /// Lock file and directory; `None` once they are released.
    held: Option<(File, File)>,
}

impl DirectoryLock {
    /// Opens and locks a directory.
    ///
    /// # Errors
    /// `WouldBlock` if another process holds the lock.
    pub(crate) fn acquire(path: &Path) -> Result<Self, TryLockError> {
        let directory = OpenOptions::new()
            .read(true)
            .share_mode(FILE_SHARE_READ | FILE_SHARE_WRITE)
            .custom_flags(FILE_FLAG_BACKUP_SEMANTICS)
            .open(path)
            .map_err(TryLockError::Error)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .access_mode(GENERIC_WRITE | DELETE)
            .share_mode(0)
            .custom_flags(FILE_FLAG_DELETE_ON_CLOSE)
            .open(path.join(LOCK_FILE))
            .map_err(|error| match error.raw_os_error() {
                Some(ERROR_SHARING_VIOLATION) => TryLockError::WouldBlock,
                _ => TryLockError::Error(error),
            })?;
        Ok(Self {
            path: path.to_owned(),
            held: Some((lock, directory)),
        })
    }

    /// Returns true: sharing modes exist on every file system.
    pub(crate) fn is_exclusive(&self) -> bool {
        self.held.is_some()
    }

    /// True if `path` names the locked directory, which nobody can have moved.
    pub(crate) fn is_of(&self, path: &Path) -> io::Result<bool> {
        Ok(self.held.is_some() && path == self.path)
    }

    /// Creates a directory in the locked directory.
    pub(crate) fn create_dir(&self, name: &str) -> io::Result<()> {
        fs::create_dir(self.path.join(name))
    }

    /// Prepares for the removal of the locked directory by this process, which the lock file and the open
    /// directory would prevent: releases the lock.
    pub(crate) fn allow_removal(&mut self) {
        self.held = None;
    }
}
