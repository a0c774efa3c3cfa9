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
}

/// A place that holds files: the local file system, or an archive on it.
pub trait Storage: fmt::Debug + Send + Sync {
    /// True when there is a file at `path`.
    fn is_file(&self, path: &Path) -> bool;

    /// True when there is a folder at `path`.
    fn is_dir(&self, path: &Path) -> bool;

    /// Names of the files in a folder, in no particular order.
    fn file_names(&self, folder: &Path) -> io::Result<Vec<OsString>>;

    /// The folders to look for checkpoints in when a person names `folder`: itself, and in an archive
    /// those below it.
    fn folders(&self, folder: &Path) -> Vec<PathBuf> {
        vec![folder.to_owned()]
    }

    /// The folder around `folder`, if it is of this storage.
    fn above(&self, folder: &Path) -> Option<PathBuf>;

    /// A file that was opened here, is one of those that `is_part` says, and has changed since: it has
    /// other contents, or its name is that of another file. One that is gone was read to the end by
    /// those who have it open. An archive is one file.
    fn changed(&self, is_part: &dyn Fn(&Path) -> bool) -> Option<PathBuf>;

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
        match self.read(path, limit) {
            Err(error) if is_absence(&error) => Ok(None),
            read => read.map(Some),
        }
    }
}

/// True when an error says that there is no such file.
fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory
    )
}

/// The length of a file that is to be held in memory.
pub(super) fn check_limit(len: u64, limit: u64) -> io::Result<usize> {
    usize::try_from(len)
        .ok()
        .filter(|_| len <= limit)
        .ok_or_else(|| {
            let what = format!("its {len} bytes are more than the {limit} allowed");
            io::Error::new(io::ErrorKind::FileTooLarge, what)
        })
}

/// The local file system, and what was opened on it.
#[derive(Debug, Default)]
pub struct Disk {
    opened: Mutex<Vec<(PathBuf, Stamp)>>,
}

impl Storage for Disk {
    fn is_file(&self, path: &Path) -> bool {
        path.is_file()
    }

    fn is_dir(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn file_names(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        fs::read_dir(folder)?
            .map(|entry| Ok(entry?.file_name()))
            .collect()
    }

    fn above(&self, folder: &Path) -> Option<PathBuf> {
        Some(folder.canonicalize().ok()?.parent()?.to_owned())
    }

    fn changed(&self, is_part: &dyn Fn(&Path) -> bool) -> Option<PathBuf> {
        let opened = lock(&self.opened);
        let mut parts = opened.iter().filter(|(path, _)| is_part(path));
        let changed = parts.find(|(path, stamp)| stamp.is_outdated(path))?;
        Some(changed.0.clone())
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
    pub(super) fn is_outdated(&self, path: &Path) -> bool {
        fs::metadata(path).is_ok_and(|now| Self::of(&now) != *self)
    }
}

/// A file on a local file system.
#[derive(Debug)]
pub struct LocalFile {
    file: File,
    stamp: Stamp,
}

impl LocalFile {
    /// Opens `path`, which must not be a folder.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::new(File::open(path)?)
    }

    /// An open file.
    pub(super) fn new(file: File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
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
}
