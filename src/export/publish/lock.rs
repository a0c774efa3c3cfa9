//! Creates the output directory if it is missing, and locks it against other conversions.
//!
//! Another conversion may remove an output directory that it created, so that a lock can be on a directory
//! whose path now names another one, or none. Three rules keep conversions apart:
//!
//! - After locking, the locked directory and the path must be the same directory; otherwise try again.
//! - On Unix the staging directory is created through the open directory (`mkdirat`), which fails in a
//!   removed directory and never lands in one that was created since; after a failure try again. On
//!   Windows an open directory cannot be removed.
//! - A directory is only removed if it is empty (`rmdir`), so that the removal fails as soon as a staging
//!   directory is in it. A conversion that finds the output directory locked removes nothing.

use std::fs::{self, TryLockError};
use std::path::{Path, PathBuf};
use std::{io, thread};

use super::files;
use crate::export::Error;
use crate::sys::DirectoryLock;

/// How often to try again when other conversions remove the output directory. Each failed attempt means
/// that another conversion failed in the meantime.
pub(super) const ATTEMPTS: usize = 100;

/// The output directory, locked by this conversion. Dropping it removes the directories that were created
/// for it and are empty, then releases the lock.
#[derive(Debug)]
pub(super) struct LockedDirectory {
    pub(super) created: Created,
    pub(super) lock: DirectoryLock,
}

/// Directories that were missing when this conversion began, outermost first; removed on drop unless kept.
#[derive(Debug, Default)]
pub(super) struct Created(Vec<PathBuf>);

impl LockedDirectory {
    /// Creates `out` if it is missing, and locks it.
    ///
    /// # Errors
    /// [`Error::Busy`] if another conversion holds the lock.
    pub(super) fn new(out: &Path) -> Result<Self, Error> {
        let mut created = Created::default();
        let mut last = io::ErrorKind::NotFound.into();
        for _ in 0..ATTEMPTS {
            match attempt(out, &mut created) {
                Ok(Some(lock)) => return Ok(Self { created, lock }),
                Ok(None) => {}
                Err(TryLockError::WouldBlock) => {
                    created.keep();
                    return Err(Error::Busy {
                        path: out.to_owned(),
                    });
                }
                // Another conversion removed `out`, or a directory above it.
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::NotFound => {
                    last = error;
                }
                Err(TryLockError::Error(error)) => return Err(Error::writing(out)(error)),
            }
            thread::yield_now();
        }
        Err(Error::writing(out)(last))
    }
}

impl Drop for LockedDirectory {
    fn drop(&mut self) {
        if !self.created.0.is_empty() {
            self.lock.allow_removal();
        }
    }
}

/// Returns the lock; `None` if `out` was replaced in the meantime.
fn attempt(out: &Path, created: &mut Created) -> Result<Option<DirectoryLock>, TryLockError> {
    created.create(out).map_err(TryLockError::Error)?;
    let lock = DirectoryLock::acquire(out)?;
    let is_current = lock.is_of(out).map_err(TryLockError::Error)?;
    Ok(is_current.then_some(lock))
}

impl Created {
    /// Creates a directory and those above it that are missing.
    pub(super) fn create(&mut self, path: &Path) -> io::Result<()> {
        let missing: Vec<&Path> = path
            .ancestors()
            .take_while(|path| !path.as_os_str().is_empty() && !path.exists())
            .collect();
        for folder in missing.into_iter().rev() {
            match fs::create_dir(folder) {
                // Another conversion created it first. If that one fails first, this one removes it.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => made?,
            }
            if !self.0.iter().any(|known| known == folder) {
                self.0.push(folder.to_owned());
            }
        }
        Ok(())
    }

    /// Syncs the entries of these directories in the directories above them.
    pub(super) fn sync(&self) -> Result<(), Error> {
        self.0.iter().try_for_each(|folder| {
            let above = folder.parent().filter(|path| !path.as_os_str().is_empty());
            match files::sync(above.unwrap_or(Path::new("."))) {
                // A directory can be writable and not readable; then it cannot be opened to sync it.
                Err(Error::Write { source, .. })
                    if source.kind() == io::ErrorKind::PermissionDenied =>
                {
                    Ok(())
                }
                synced => synced,
            }
        })
    }

    /// Keeps the directories on drop.
    pub(super) fn keep(&mut self) {
        self.0.clear();
    }
}

impl Drop for Created {
    fn drop(&mut self) {
        for folder in self.0.iter().rev() {
            // Fails if the directory has other files in it; then it must stay.
            let _ = fs::remove_dir(folder);
        }
    }
}
