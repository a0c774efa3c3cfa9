//! The local file system.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::Storage;
use super::read_at::ReadAt;
use super::regular::{self, Kind};
use super::stamp::FileStamp;
use crate::error::Error;
use crate::sys;

/// The local file system. Records the files that were opened, for [`Storage::changed`].
#[derive(Debug, Default)]
pub struct Disk {
    opened: Mutex<Vec<(PathBuf, FileStamp)>>,
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

    fn without_links(&self, folder: &Path) -> io::Result<Option<PathBuf>> {
        folder.canonicalize().map(Some)
    }

    fn changed(&self, is_part: &dyn Fn(&Path) -> bool) -> Result<Option<PathBuf>, Error> {
        let opened = self.opened.lock();
        for (path, stamp) in opened.iter().filter(|(path, _)| is_part(path)) {
            let outdated = stamp.is_outdated(path);
            if outdated.map_err(|source| Error::reading(path, source))? {
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

/// An open regular file of a local file system. Its length is the one at the time of opening.
#[derive(Debug)]
pub struct LocalFile {
    file: File,
    stamp: FileStamp,
}

impl LocalFile {
    /// Opens `path` for reading.
    ///
    /// # Errors
    /// If `path` is not a regular file, or opening it fails.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::new(regular::open(path)?)
    }

    /// Wraps an open file.
    pub(crate) fn new(file: File) -> io::Result<Self> {
        let stamp = FileStamp::of(&file.metadata()?);
        Ok(Self { file, stamp })
    }

    /// Returns the stamp of the file at the time of opening.
    pub fn stamp(&self) -> FileStamp {
        self.stamp
    }
}

impl ReadAt for LocalFile {
    fn len(&self) -> u64 {
        self.stamp.file_len()
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        sys::read_exact_at(&self.file, buf, offset)
    }
}
