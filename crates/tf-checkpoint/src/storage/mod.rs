//! Where a checkpoint's bytes are: [`ReadAt`] for one file, [`Storage`] for a place that holds files.
//!
//! A format is read through these two traits alone, so that a checkpoint in an archive is read as one
//! in a folder is. Files are never mapped: a file that shrinks under a mapping kills the process.

mod disk;
mod read_at;
pub mod regular;
pub(crate) mod zip;

pub use disk::{Disk, LocalFile};
pub use read_at::ReadAt;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io};

use crate::error::Error;
use crate::foreign::{self, Start};
use regular::{Kind, check_limit, is_absence};

/// A place that holds files: the local file system, or an archive on it.
pub trait Storage: fmt::Debug + Send + Sync {
    /// Returns what is at `path`; `None` if there is nothing.
    ///
    /// # Errors
    /// Whatever keeps the answer from being known.
    fn kind(&self, path: &Path) -> io::Result<Option<Kind>>;

    /// Names of the files in a folder, in no particular order.
    fn file_names(&self, folder: &Path) -> io::Result<Vec<OsString>>;

    /// The folders to look for checkpoints in when a person names `folder`: itself, and in an archive
    /// those below it.
    fn folders(&self, folder: &Path) -> Vec<PathBuf> {
        vec![folder.to_owned()]
    }

    /// Returns the path that `path`, with `..` in it, stands for; `None` if it leads out of this storage.
    fn plain_path(&self, path: &Path) -> Option<PathBuf> {
        Some(path.to_owned())
    }

    /// The folder around `folder`, if it is of this storage.
    fn above(&self, folder: &Path) -> Option<PathBuf>;

    /// A file that was opened here, is one of those that `is_part` says, and has changed since: it has
    /// other contents, or its name is that of another file. One that is gone was read to the end by
    /// those who have it open. An archive is one file.
    ///
    /// # Errors
    /// Where it cannot be known whether a file has changed.
    fn changed(&self, is_part: &dyn Fn(&Path) -> bool) -> Result<Option<PathBuf>, Error>;

    /// In an archive, how many bytes of it were inflated into temporary files so far.
    fn inflated_bytes(&self) -> Option<u64> {
        None
    }

    /// Opens a file.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadAt>>;

    /// Reads a whole file of at most `limit` bytes.
    ///
    /// # Errors
    /// `FileTooLarge` above the limit, or whatever opening and reading report.
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let file = self.open(path)?;
        let mut bytes = vec![0; check_limit(file.len(), limit)?];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// As [`read`](Self::read), of a file that need not be there. One that is there and cannot be read
    /// is an error.
    fn read_if_there(&self, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
        if self.kind(path)?.is_none() {
            return Ok(None);
        }
        match self.read(path, limit) {
            Err(error) if is_absence(&error) => Ok(None),
            read => read.map(Some),
        }
    }

    /// Returns the first bytes of a file, as many as show what it is.
    fn start(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.open(path)?;
        foreign::start(file.as_ref())
    }

    /// Returns what is in place of a checkpoint's own file at `path`, as an error; `None` if the file
    /// may be what it should be, or cannot be read.
    fn stand_in(&self, path: &Path) -> Option<Error> {
        let bytes = self.start(path).ok()?;
        let start = Start {
            bytes: &bytes,
            path,
            in_archive: self.inflated_bytes().is_some(),
        };
        start.instead()
    }
}
