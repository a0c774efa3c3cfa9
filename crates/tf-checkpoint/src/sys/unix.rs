//! The Unix side.

use std::ffi::{OsStr, OsString};
use std::fs::{File, FileType, Metadata, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

/// The environment variable that selects the directory for temporary files.
pub(crate) const TEMP_VARIABLE: &str = "TMPDIR";

/// The longest name that a Linux or macOS file system accepts, in bytes.
const MAX_NAME_LEN: usize = 255;

/// The identity of a file: equal for two names of one file, different for any two files that exist at
/// the same time.
///
/// On Unix the device and the inode number; an inode number may be used again after a file is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// Returns the identity of the file that `metadata` was read from.
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}

/// Opens a file for reading without waiting, as opening a named pipe would.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
}

/// Fills `buf` with the bytes from `offset` on; `UnexpectedEof` if the file ends before.
pub(crate) fn read_exact_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<()> {
    file.read_exact_at(buf, offset)
}

/// Returns what a file is that is neither a regular file nor a directory.
pub(crate) fn special_file(file_type: FileType) -> &'static str {
    if file_type.is_fifo() {
        "a named pipe"
    } else if file_type.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

/// Returns true if no file can have the name at the end of `path`, for which the system returned
/// `_error`.
pub(crate) fn is_impossible_name(path: &Path, _error: &io::Error) -> bool {
    path.file_name()
        .is_some_and(|name| name.len() > MAX_NAME_LEN)
}

/// Returns the name with these bytes.
pub(crate) fn os_string(bytes: &[u8]) -> OsString {
    OsStr::from_bytes(bytes).to_owned()
}

/// Returns the free space of the file system of `file`, in bytes; `None` if it cannot be determined.
pub(crate) fn free_space(file: &File) -> Option<u64> {
    let space = rustix::fs::fstatvfs(file).ok()?;
    Some(space.f_bavail.saturating_mul(space.f_frsize))
}
