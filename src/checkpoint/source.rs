//! Where a checkpoint's bytes are: [`ReadAt`] for one file, [`Storage`] for a place that holds files.
//!
//! A format is read through these two traits alone, so that a checkpoint in an archive is read as one
//! in a folder is. Files are never mapped: a file that shrinks under a mapping kills the process.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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

/// The local file system.
#[derive(Debug)]
pub struct Disk;

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

    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadAt>> {
        Ok(Arc::new(LocalFile::open(path)?))
    }
}

/// A file on a local file system.
#[derive(Debug)]
pub struct LocalFile {
    file: File,
    len: u64,
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
            len: metadata.len(),
        })
    }
}

impl ReadAt for LocalFile {
    fn len(&self) -> u64 {
        self.len
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
