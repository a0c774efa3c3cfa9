//! Reads the metadata of a file, in limited amount.

use std::io;
use std::sync::Arc;

use super::problem::Problem;
use crate::limits::{Budget, Limits};
use crate::storage::ReadAt;

/// Metadata that may be read in addition to the length of the file, in bytes: small structures, such as the
/// header of a dataset that several groups list, may be read again.
const READ_AGAIN: u64 = 64 << 10;

/// A file, and what may still be read and kept of its metadata.
#[derive(Debug)]
pub(super) struct Source {
    file: Arc<dyn ReadAt>,
    /// The bytes of metadata that may still be read.
    unread: u64,
    /// The memory that may still be kept.
    pub(super) budget: Budget,
}

impl Source {
    pub(super) fn new(file: Arc<dyn ReadAt>, limits: &Limits) -> Self {
        Self {
            unread: file.len().saturating_add(READ_AGAIN),
            budget: limits.budget(file.len()),
            file,
        }
    }

    pub(super) fn file_len(&self) -> u64 {
        self.file.len()
    }

    pub(super) fn into_file(self) -> Arc<dyn ReadAt> {
        self.file
    }

    /// Reads `len` bytes at `address`.
    pub(super) fn read(&mut self, address: u64, len: u64) -> Result<Vec<u8>, Problem> {
        let end = address.checked_add(len);
        if end.is_none_or(|end| end > self.file.len()) {
            return Err(Problem::Damaged(format!(
                "has a structure of {len} bytes at {address}, beyond the end of the file at {}",
                self.file.len()
            )));
        }
        self.unread = self.unread.checked_sub(len).ok_or_else(|| {
            Problem::damaged("has structures that overlap: they have more bytes than the file")
        })?;
        let len = usize::try_from(len).map_err(|_| Problem::damaged("is too large for memory"))?;
        self.budget.check(len)?;
        let mut bytes = vec![0; len];
        match self.file.read_exact_at(&mut bytes, address) {
            Ok(()) => Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(Problem::damaged("lies beyond the end of the file"))
            }
            Err(error) => Err(Problem::Io(error)),
        }
    }
}
