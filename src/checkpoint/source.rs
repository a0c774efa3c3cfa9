//! Where a checkpoint's bytes are: [`ReadAt`] for one file, [`Storage`] for a place that holds files.
//!
//! A format is read through these two traits alone, so that a checkpoint in an archive is read as one
//! in a folder is. Files are never mapped: a file that shrinks under a mapping kills the process.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::Error;
use super::foreign::{START_LEN, Start};
use super::regular::{self, Kind, check_limit, is_absence};
use crate::threads::lock;

/// Bytes of a known length that can be read at any position, from several threads at once.
pub trait ReadAt: fmt::Debug + Send + Sync {
    /// Length in bytes.
    fn len(&self) -> u64;

    /// True when there are no bytes at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buf` from `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` when the bytes end before `buf` is full, or whatever the device reports.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// As [`read_exact_at`](Self::read_exact_at), for a few bytes of a file of which no more may be
    /// wanted: nothing is prepared for further reads.
    fn read_once(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(buf, offset)
    }
}

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
        start(file.as_ref())
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

/// Returns the first bytes of a file, as many as show what it is.
pub(crate) fn start(file: &dyn ReadAt) -> io::Result<Vec<u8>> {
    let len = usize::try_from(file.len()).unwrap_or(usize::MAX);
    let mut bytes = vec![0; len.min(START_LEN)];
    file.read_once(&mut bytes, 0)?;
    Ok(bytes)
}

/// The local file system, and what was opened on it.
#[derive(Debug, Default)]
pub struct Disk {
    opened: Mutex<Vec<(PathBuf, Stamp)>>,
}

impl Storage for Disk {
    fn kind(&self, path: &Path) -> io::Result<Option<Kind>> {
        regular::kind(path)
    }

    fn file_names(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        fs::read_dir(folder)?
            .map(|entry| Ok(entry?.file_name()))
            .collect()
    }

    fn above(&self, folder: &Path) -> Option<PathBuf> {
        match folder.canonicalize() {
            Ok(folder) => Some(folder.parent()?.to_owned()),
            // Opening a file there reports what is wrong.
            Err(_) => Some(folder.join("..")),
        }
    }

    fn changed(&self, is_part: &dyn Fn(&Path) -> bool) -> Result<Option<PathBuf>, Error> {
        let opened = lock(&self.opened);
        for (path, stamp) in opened.iter().filter(|(path, _)| is_part(path)) {
            if stamp.is_outdated(path)? {
                return Ok(Some(path.clone()));
            }
        }
        Ok(None)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadAt>> {
        let file = LocalFile::open(path)?;
        lock(&self.opened).push((path.to_owned(), file.stamp));
        Ok(Arc::new(file))
    }
}

/// Which file it was, and when it was changed last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    len: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }

    /// True when there is another file at `path` now, or the same with other contents.
    pub(super) fn is_outdated(&self, path: &Path) -> Result<bool, Error> {
        match fs::metadata(path) {
            Ok(now) => Ok(Self::of(&now) != *self),
            Err(error) if is_absence(&error) => Ok(false),
            Err(source) => Err(Error::reading(path, source)),
        }
    }
}

/// A file on a local file system.
#[derive(Debug)]
pub struct LocalFile {
    file: File,
    stamp: Stamp,
}

impl LocalFile {
    /// Opens `path`, which must be a regular file.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::new(regular::open(path)?)
    }

    /// An open file.
    pub(super) fn new(file: File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self {
            file,
            stamp: Stamp::of(&metadata),
        })
    }

    /// What it was when it was opened.
    pub(super) fn stamp(&self) -> Stamp {
        self.stamp
    }
}

impl ReadAt for LocalFile {
    fn len(&self) -> u64 {
        self.stamp.len
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }
}

impl ReadAt for &[u8] {
    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let bytes = usize::try_from(offset)
            .ok()
            .and_then(|start| self.get(start..)?.get(..buf.len()))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(bytes);
        Ok(())
    }
}

impl<R: ReadAt + ?Sized> ReadAt for Arc<R> {
    fn len(&self) -> u64 {
        (**self).len()
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read_exact_at(buf, offset)
    }

    fn read_once(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read_once(buf, offset)
    }
}
