//! Opens regular files, and nothing else.
//!
//! Opening or reading a named pipe or a device may block for ever, or yield bytes without end. The kind
//! of file is checked before opening, because opening some devices has an effect, and again on the open
//! file, because another file may have taken the name in between; opening never blocks.
//!
//! A question about a path has three answers: present, absent, or an error (no permission, a loop of
//! links, a failing disk). An I/O error is not treated as absence.

use std::fmt;
use std::fs::{self, File, FileType};
use std::io::{self, Read as _};
use std::path::Path;

use crate::sys;

/// The kind of file at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// Anything else, in words, such as `a named pipe`.
    Other(&'static str),
}

impl Kind {
    fn of(file_type: FileType) -> Self {
        if file_type.is_file() {
            Self::File
        } else if file_type.is_dir() {
            Self::Directory
        } else {
            Self::Other(sys::special_file(file_type))
        }
    }

    /// Fails unless this is a regular file.
    pub(crate) fn check(self) -> io::Result<()> {
        let kind = match self {
            Self::File => return Ok(()),
            Self::Directory => io::ErrorKind::IsADirectory,
            Self::Other(_) => io::ErrorKind::Unsupported,
        };
        let what = format!("it is {self}, not a regular file");
        Err(io::Error::new(kind, what))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "a regular file",
            Self::Directory => "a directory",
            Self::Other(what) => what,
        })
    }
}

/// Returns the kind of file at `path`, after following links; `None` if there is no file.
///
/// # Errors
/// If the file system cannot tell whether there is one.
pub fn kind(path: &Path) -> io::Result<Option<Kind>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(Kind::of(metadata.file_type()))),
        Err(error) if is_absence(&error) || sys::is_impossible_name(path, &error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns true for the errors of a path at which there is no file.
pub(crate) fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Opens a regular file for reading.
///
/// # Errors
/// `IsADirectory` or `Unsupported` if `path` is not a regular file, or the error of the system.
pub fn open(path: &Path) -> io::Result<File> {
    Kind::of(fs::metadata(path)?.file_type()).check()?;
    let file = sys::open(path)?;
    Kind::of(file.metadata()?.file_type()).check()?;
    Ok(file)
}

/// Reads a whole regular file of at most `limit` bytes.
///
/// # Errors
/// `FileTooLarge` above the limit, or the error of [`open`] or of reading.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    check_limit(file.metadata()?.len(), limit)?;
    let mut bytes = Vec::new();
    // Some files are longer than their metadata, and files grow.
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    check_limit(bytes.len() as u64, limit)?;
    Ok(bytes)
}

/// Returns `len` as a `usize` if it does not exceed `limit`.
pub(crate) fn check_limit(len: u64, limit: u64) -> io::Result<usize> {
    usize::try_from(len)
        .ok()
        .filter(|_| len <= limit)
        .ok_or_else(|| {
            let what = format!("its {len} bytes are more than the {limit} allowed");
            io::Error::new(io::ErrorKind::FileTooLarge, what)
        })
}
