//! Opens the files that a person, or a checkpoint, names.
//!
//! Every file that this crate reads is opened here. Only regular files are: opening or reading a named
//! pipe or a device may block for ever, or yield bytes without end. What is at a path is checked
//! before it is opened, because opening some devices has an effect, and again on the descriptor,
//! because another file may have taken the name meanwhile; the open itself never blocks.
//!
//! A question about a path has three answers: there, not there, or an error where that cannot be known
//! (no permission, a loop of links, a failing disk).

use std::fmt;
use std::fs::{self, File, FileType, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

/// The longest name that a Linux file system accepts, in bytes.
const MAX_NAME_LEN: usize = 255;

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// Anything else, such as `a named pipe`.
    Other(&'static str),
}

impl Kind {
    fn of(file_type: FileType) -> Self {
        if file_type.is_file() {
            Self::File
        } else if file_type.is_dir() {
            Self::Directory
        } else if file_type.is_fifo() {
            Self::Other("a named pipe")
        } else if file_type.is_socket() {
            Self::Other("a socket")
        } else {
            Self::Other("a device")
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

/// Returns what is at `path`, after following links; `None` if there is nothing.
pub fn kind(path: &Path) -> io::Result<Option<Kind>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(Kind::of(metadata.file_type()))),
        Err(error) if is_absence(&error) || is_impossible(path) => Ok(None),
        Err(error) => Err(error),
    }
}

/// True when an error says that there is no such file.
pub(crate) fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// True when no file can have this name.
fn is_impossible(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.len() > MAX_NAME_LEN)
}

/// Opens a regular file for reading.
///
/// # Errors
/// An error that says what is at `path` if it is not a regular file, or whatever the system reports.
pub fn open(path: &Path) -> io::Result<File> {
    Kind::of(fs::metadata(path)?.file_type()).check()?;
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    Kind::of(file.metadata()?.file_type()).check()?;
    Ok(file)
}

/// Reads a whole regular file of at most `limit` bytes.
///
/// # Errors
/// `FileTooLarge` above the limit, or what [`open`] and reading report.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    check_limit(file.metadata()?.len(), limit)?;
    let mut bytes = Vec::new();
    // Some files are longer than the system says, and files grow.
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    check_limit(bytes.len() as u64, limit)?;
    Ok(bytes)
}

/// Returns the length of a file that is to be held in memory.
pub(crate) fn check_limit(len: u64, limit: u64) -> io::Result<usize> {
    usize::try_from(len)
        .ok()
        .filter(|_| len <= limit)
        .ok_or_else(|| {
            let what = format!("its {len} bytes are more than the {limit} allowed");
            io::Error::new(io::ErrorKind::FileTooLarge, what)
        })
}
