//! The Unix side.

use std::fs::{self, File, Metadata, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use rustix::fs::{Mode, mkdirat};
use tf_checkpoint::storage::FileId;

/// Writes all of `buf` at `offset`. Several threads may write to one file.
pub(crate) fn write_all_at(file: &File, buf: &[u8], offset: u64) -> io::Result<()> {
    file.write_all_at(buf, offset)
}

/// Returns the number of a file within its file system; a rename does not change it.
pub(crate) fn file_number(metadata: &Metadata) -> u64 {
    metadata.ino()
}

/// Syncs the entries of a directory.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// An open directory, locked against other processes that take this lock: a `flock` on the directory,
/// which the system releases at the end of the process.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    directory: File,
    is_exclusive: bool,
}

impl DirectoryLock {
    /// Opens and locks a directory.
    ///
    /// # Errors
    /// `WouldBlock` if another process holds the lock. A file system without locks is not an error: see
    /// [`is_exclusive`](Self::is_exclusive).
    pub(crate) fn acquire(path: &Path) -> Result<Self, TryLockError> {
        let directory = File::open(path).map_err(TryLockError::Error)?;
        let is_exclusive = match directory.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock) => return Err(TryLockError::WouldBlock),
            Err(TryLockError::Error(_)) => false,
        };
        Ok(Self {
            directory,
            is_exclusive,
        })
    }

    /// False on a file system without locks.
    pub(crate) fn is_exclusive(&self) -> bool {
        self.is_exclusive
    }

    /// True if `path` names the locked directory.
    pub(crate) fn is_of(&self, path: &Path) -> io::Result<bool> {
        let locked = self.directory.metadata()?;
        match fs::metadata(path) {
            Ok(named) => Ok(FileId::of(&named) == FileId::of(&locked)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Creates a directory in the locked directory, whatever its path is by now; `NotFound` if the
    /// locked directory was removed.
    pub(crate) fn create_dir(&self, name: &str) -> io::Result<()> {
        Ok(mkdirat(
            &self.directory,
            name,
            Mode::from_bits_retain(0o777),
        )?)
    }

    /// Prepares for the removal of the locked directory by this process. On Unix the lock does not
    /// prevent that and is kept.
    #[allow(clippy::unused_self, reason = "the Windows side needs it")]
    pub(crate) fn allow_removal(&mut self) {}
}
