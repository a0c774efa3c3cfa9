//! Where a checkpoint's bytes are: [`ReadAt`] for one file, [`Storage`] for a place that holds files.
//!
//! Formats are read through these two traits only, so that a checkpoint in an archive is read like one
//! in a directory. Files are never memory-mapped: a file that shrinks under a mapping kills the process.

pub(crate) mod archive;
#[cfg(feature = "cloud")]
mod bucket;
mod disk;
mod read_at;
pub mod regular;
mod stamp;

pub use crate::sys::FileId;
pub use disk::{Disk, LocalFile};
pub use read_at::ReadAt;
pub use regular::Kind;
pub use stamp::FileStamp;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io};

use crate::address::{self, Use};
use crate::error::Error;
use crate::foreign::{self, Start};
use crate::formats::ArchiveFormat;
use crate::sys;
use regular::{check_limit, is_absence};

/// Returns the storage of a path that a user gives, and the path in it: a URL of a bucket or a web server (feature
/// `cloud`), or a path of the local file system.
///
/// # Errors
/// [`Error::Unsupported`] for a URL that cannot be read, [`Error::Io`] if the client of its store cannot be set up.
pub fn of(path: &Path, given_as: Use) -> Result<(Arc<dyn Storage>, PathBuf), Error> {
    #[cfg(feature = "cloud")]
    if let Some(opened) = bucket::BucketStorage::of(path, given_as) {
        let (storage, path) = opened?;
        return Ok((Arc::new(storage), path));
    }
    address::refuse(path, given_as)?;
    Ok((Arc::new(Disk::default()), path.to_owned()))
}

/// Returns the number of bytes of all files that this process has fetched over a network so far.
pub fn fetched_bytes() -> u64 {
    #[cfg(feature = "cloud")]
    return remote_files::fetched_bytes();
    #[cfg(not(feature = "cloud"))]
    return 0;
}

/// Returns the free space of the file system of a directory, in bytes; `None` if it cannot be determined.
pub fn free_space(folder: &Path) -> Option<u64> {
    sys::free_space(&std::fs::File::open(folder).ok()?)
}

/// A place that holds files: the local file system, a bucket, or an archive in one of them.
pub trait Storage: fmt::Debug + Send + Sync {
    /// Returns the kind of file at `path`; `None` if there is no file.
    ///
    /// # Errors
    /// If the storage cannot tell whether there is one.
    fn kind(&self, path: &Path) -> io::Result<Option<Kind>>;

    /// Returns the names of the files and directories in a directory, in no particular order.
    ///
    /// # Errors
    /// `NotFound` or `NotADirectory` if there is no such directory, or the error of the storage.
    fn file_names(&self, folder: &Path) -> io::Result<Vec<OsString>>;

    /// Returns false if only names can be asked for, as of a web server.
    fn lists_directories(&self) -> bool {
        true
    }

    /// Returns the directories to search for checkpoints when `folder` is given: itself and, in an
    /// archive, those below it.
    fn folders(&self, folder: &Path) -> Vec<PathBuf> {
        vec![folder.to_owned()]
    }

    /// Returns `path` without `..` components; `None` if it leads out of this storage.
    fn plain_path(&self, path: &Path) -> Option<PathBuf> {
        Some(path.to_owned())
    }

    /// Returns the parent directory of `folder`; `None` if it is not in this storage.
    fn above(&self, folder: &Path) -> Option<PathBuf>;

    /// Returns the path of a directory without links; `None` if this storage has no links.
    ///
    /// # Errors
    /// If the directory cannot be followed.
    fn without_links(&self, folder: &Path) -> io::Result<Option<PathBuf>> {
        let _ = folder;
        Ok(None)
    }

    /// Opens the storage of `path` again, so that nothing is remembered of it; `None` if that needs no connection.
    ///
    /// # Errors
    /// If the client of a store cannot be set up, or [`cancel`](Self::cancel) was called.
    fn reopened(&self, path: &Path) -> Option<Result<Arc<dyn Storage>, Error>> {
        let _ = path;
        None
    }

    /// Returns one of the opened files for which `is_part` is true and that was changed or replaced since
    /// it was opened. A removed file counts as unchanged: whoever has it open reads it to its end. An
    /// archive is one file.
    ///
    /// # Errors
    /// If the metadata of a file cannot be read.
    fn changed(&self, is_part: &dyn Fn(&Path) -> bool) -> Result<Option<PathBuf>, Error>;

    /// Returns true if the files are fetched over a network.
    fn is_remote(&self) -> bool {
        false
    }

    /// Returns the number of bytes that were fetched over a network so far; `None` if the files are here.
    fn fetched_bytes(&self) -> Option<u64> {
        None
    }

    /// Ends all reads that wait for a network, with an error.
    fn cancel(&self) {}

    /// Returns the format of the archive; `None` if this is not an archive.
    fn archive(&self) -> Option<ArchiveFormat> {
        None
    }

    /// Returns the number of bytes that were inflated into temporary files so far; `None` if this is not an
    /// archive.
    fn inflated_bytes(&self) -> Option<u64> {
        None
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    /// `NotFound` if there is no file, `IsADirectory` or `Unsupported` if it is not a regular file, or the
    /// error of the storage.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadAt>>;

    /// Reads a whole file of at most `limit` bytes.
    ///
    /// # Errors
    /// `FileTooLarge` above the limit, or the error of opening or reading.
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let file = self.open(path)?;
        let mut bytes = vec![0; check_limit(file.len(), limit)?];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// As [`read`](Self::read), for an optional file; `None` if there is none. A file that is there and
    /// cannot be read is an error.
    fn read_if_there(&self, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
        if self.kind(path)?.is_none() {
            return Ok(None);
        }
        match self.read(path, limit) {
            Err(error) if is_absence(&error) => Ok(None),
            read => read.map(Some),
        }
    }

    /// Reads the start of a file, at most 1 KiB, by which its kind is recognised.
    fn start(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.open(path)?;
        foreign::start(file.as_ref())
    }

    /// Returns the error for a file that a server or git left in place of a checkpoint's file, such as an
    /// HTML page; `None` if the file may be the right one, or cannot be read.
    fn stand_in(&self, path: &Path) -> Option<Error> {
        let bytes = self.start(path).ok()?;
        let start = Start {
            bytes: &bytes,
            path,
            in_archive: self.archive().is_some(),
        };
        start.instead()
    }
}
