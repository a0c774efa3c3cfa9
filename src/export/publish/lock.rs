//! Takes hold of OUT: creates it if need be, and locks it against other conversions.
//!
//! The lock is a `flock` on the directory, which the system releases with the process. Another
//! conversion may remove an OUT that it created, so a lock can be on a directory that OUT no longer
//! names. Three rules keep conversions apart all the same:
//!
//! - After locking, the descriptor and the path must be the same directory; otherwise try again.
//! - The staging directory is created through the descriptor (`mkdirat`), which fails in a removed
//!   directory and never lands in one that somebody else has created since; then try again too.
//! - A directory is only ever removed with `rmdir`, which fails as soon as a staging directory is in
//!   it. A conversion that finds OUT locked removes nothing.

use std::fs::{self, File, Metadata, TryLockError};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::{io, thread};

use rustix::fs::{Mode, mkdirat};

use super::{Error, files};

/// How often OUT is looked for again when other conversions remove it. Each of these attempts means
/// that another conversion has failed in the meantime.
pub(super) const ATTEMPTS: usize = 100;

/// OUT as this conversion holds it.
#[derive(Debug)]
pub(super) struct Held {
    /// Directories that this conversion has to remove if it fails.
    pub(super) created: Created,
    pub(super) lock: Lock,
}

/// An open OUT, locked where the file system has locks.
#[derive(Debug)]
pub(super) struct Lock {
    folder: File,
    is_locked: bool,
}

/// Directories that were missing when this conversion began, outermost first; removed unless kept.
#[derive(Debug, Default)]
pub(super) struct Created(Vec<PathBuf>);

impl Held {
    /// Creates OUT if it is missing, and locks it. Fails with [`Error::Busy`] when another conversion
    /// holds the lock.
    pub(super) fn new(out: &Path) -> Result<Self, Error> {
        let mut created = Created::default();
        let mut last = io::ErrorKind::NotFound.into();
        for _ in 0..ATTEMPTS {
            match Self::attempt(out, &mut created) {
                Ok(Some(lock)) => return Ok(Self { created, lock }),
                Ok(None) => {}
                Err(Attempt::Busy) => {
                    created.keep();
                    return Err(Error::Busy {
                        path: out.to_owned(),
                    });
                }
                // OUT, or a directory above it, was removed by another conversion.
                Err(Attempt::Io(error)) if error.kind() == io::ErrorKind::NotFound => last = error,
                Err(Attempt::Io(error)) => return Err(Error::writing(out)(error)),
            }
            thread::yield_now();
        }
        Err(Error::writing(out)(last))
    }

    /// The lock; `None` when OUT was replaced while it was taken.
    fn attempt(out: &Path, created: &mut Created) -> Result<Option<Lock>, Attempt> {
        created.create(out)?;
        let folder = File::open(out)?;
        let is_locked = match folder.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock) => return Err(Attempt::Busy),
            Err(TryLockError::Error(_)) => false,
        };
        let lock = Lock { folder, is_locked };
        Ok(lock.is_of(out)?.then_some(lock))
    }
}

/// Why an attempt failed.
enum Attempt {
    Busy,
    Io(io::Error),
}

impl From<io::Error> for Attempt {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Lock {
    /// False where the file system has no locks.
    pub(super) fn is_locked(&self) -> bool {
        self.is_locked
    }

    /// True when `out` still names the directory that is locked.
    pub(super) fn is_of(&self, out: &Path) -> io::Result<bool> {
        let held = self.folder.metadata()?;
        match fs::metadata(out) {
            Ok(named) => Ok(directory(&held) == directory(&named)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Creates a directory in the locked one.
    pub(super) fn create_dir(&self, name: &str) -> io::Result<()> {
        Ok(mkdirat(&self.folder, name, Mode::from_bits_retain(0o777))?)
    }
}

/// What tells one directory from another.
pub(super) fn directory(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
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
                // Another conversion was faster. If it fails first, this one has to remove it.
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
                // One may write into a directory that one may not open.
                Err(Error::Write { source, .. })
                    if source.kind() == io::ErrorKind::PermissionDenied =>
                {
                    Ok(())
                }
                synced => synced,
            }
        })
    }

    /// Leaves the directories where they are.
    pub(super) fn keep(&mut self) {
        self.0.clear();
    }
}

impl Drop for Created {
    fn drop(&mut self) {
        for folder in self.0.iter().rev() {
            // Fails where somebody else has put something; then it is no longer ours to remove.
            let _ = fs::remove_dir(folder);
        }
    }
}
