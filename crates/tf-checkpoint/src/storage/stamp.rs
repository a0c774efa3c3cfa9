//! The state of a file at one time, to notice later that it was changed or replaced.

use std::fs::{self, Metadata};
use std::io;
use std::path::Path;
use std::time::SystemTime;

use super::regular::is_absence;
use crate::sys::FileId;

/// Identity, length and time of the last change of a file.
///
/// ```
/// use tf_checkpoint::storage::FileStamp;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("checkpoint");
/// std::fs::write(&path, "model.ckpt-1")?;
/// let stamp = FileStamp::of(&std::fs::metadata(&path)?);
/// assert!(!stamp.is_outdated(&path)?);
/// std::fs::write(&path, "model.ckpt-10")?;
/// assert!(stamp.is_outdated(&path)?);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStamp {
    id: FileId,
    len: u64,
    /// `None` on a file system that does not record it.
    modified: Option<SystemTime>,
}

impl FileStamp {
    /// Returns the stamp of the file that `metadata` was read from.
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            id: FileId::of(metadata),
            len: metadata.len(),
            modified: metadata.modified().ok(),
        }
    }

    /// Returns the identity of the file.
    pub fn id(&self) -> FileId {
        self.id
    }

    /// Returns the length of the file in bytes.
    pub(crate) fn file_len(&self) -> u64 {
        self.len
    }

    /// Returns true if the file at `path` is another one now, or was changed. A file that was removed is
    /// not outdated: whoever has it open reads it to its end.
    ///
    /// # Errors
    /// If the metadata of `path` cannot be read.
    pub fn is_outdated(&self, path: &Path) -> io::Result<bool> {
        match fs::metadata(path) {
            Ok(now) => Ok(Self::of(&now) != *self),
            Err(error) if is_absence(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
