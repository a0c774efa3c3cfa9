//! The Windows side, with what the standard library offers on its stable channel.

use std::ffi::OsString;
use std::fs::{File, FileType, Metadata};
use std::io;
use std::os::windows::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

/// The environment variable that selects the directory for temporary files.
pub(crate) const TEMP_VARIABLE: &str = "TMP";

/// The identity of a file: equal for two names of one file, in general different for two files.
///
/// On Windows the time of creation in units of 100 ns, because the stable standard library does not
/// expose the volume and the file index. Two files that were created in the same instant are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId {
    created: u64,
}

impl FileId {
    /// Returns the identity of the file that `metadata` was read from.
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            created: metadata.creation_time(),
        }
    }
}

/// Opens a file for reading. The metadata of a pipe or a console cannot be read, so that the check
/// before opening fails for them.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// Fills `buf` with the bytes from `offset` on; `UnexpectedEof` if the file ends before.
pub(crate) fn read_exact_at(file: &File, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buf.is_empty() {
        match file.seek_read(buf, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                buf = &mut buf[read..];
                offset += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Returns what a file is that is neither a regular file nor a directory.
pub(crate) fn special_file(_: FileType) -> &'static str {
    "a device"
}

/// Returns true if no file can have the name at the end of `_path`, for which the system returned
/// `error`.
pub(crate) fn is_impossible_name(_path: &Path, error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidFilename
}

/// Returns the name with these bytes, which are UTF-8; an invalid sequence is replaced, so that a file
/// with such a name is not found.
pub(crate) fn os_string(bytes: &[u8]) -> OsString {
    String::from_utf8_lossy(bytes).into_owned().into()
}

/// Returns `None`: the stable standard library does not expose the free space. A full disk is reported
/// when it is reached.
pub(crate) fn free_space(_: &File) -> Option<u64> {
    None
}
