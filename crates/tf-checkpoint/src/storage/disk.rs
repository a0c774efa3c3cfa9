//! The local file system.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::Storage;
use super::read_at::ReadAt;
use super::regular::{self, Kind, is_absence};
use crate::error::Error;

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
        let opened = self.opened.lock();
        for (path, stamp) in opened.iter().filter(|(path, _)| is_part(path)) {
            if stamp.is_outdated(path)? {
                return Ok(Some(path.clone()));
            }
        }
        Ok(None)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadAt>> {
        let file = LocalFile::open(path)?;
        self.opened.lock().push((path.to_owned(), file.stamp));
        Ok(Arc::new(file))
    }
}

/// Which file it was, and when it was changed last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
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
    pub(crate) fn is_outdated(&self, path: &Path) -> Result<bool, Error> {
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
    pub(crate) fn new(file: File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self {
            file,
            stamp: Stamp::of(&metadata),
        })
    }

    /// What it was when it was opened.
    pub(crate) fn stamp(&self) -> Stamp {
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
