//! A variable that is stored as one run of bytes and can be read in parts.

use std::io;
use std::path::Path;

use crate::error::Error;
use crate::foreign::{self, refuse_stand_in};
use crate::storage::ReadAt;
use crate::variable::{Piece, StoredBytes, Variable};

/// The length of the longest counter, an `int64`, in bytes.
const MAX_COUNTER_LEN: u64 = 8;
/// The number of bytes of a copy that are compared at a time.
const COMPARED: usize = 64 << 10;

/// The bytes of a variable as one run in a data file, little-endian and row-major, to be read in parts.
///
/// The caller computes the CRC-32C over all of the bytes and passes it to [`check`](Self::check). An HDF5
/// file has no checksums; what it stores twice is compared.
#[derive(Debug)]
pub struct Contiguous<'a> {
    pub(crate) path: &'a Path,
    pub(crate) file: &'a dyn ReadAt,
    pub(crate) variable: &'a Variable,
    pub(crate) piece: &'a Piece,
    /// The offsets of further copies of the bytes, which must be equal.
    pub(crate) copies: &'a [u64],
}

impl Contiguous<'_> {
    pub(crate) fn extent(&self) -> StoredBytes {
        extent(self.piece)
    }

    /// Returns the offset of the run in the data file, in bytes.
    pub fn offset(&self) -> u64 {
        self.extent().offset
    }

    /// Returns the end of the run in the data file; the index was checked for overflow.
    pub(crate) fn end(&self) -> u64 {
        self.offset() + self.piece.len
    }

    pub(crate) fn truncated(&self) -> Error {
        self.stand_in().unwrap_or_else(|| Error::ShardTruncated {
            path: self.path.to_owned(),
            variable: self.variable.name.clone(),
            end: self.end(),
            len: self.file.len(),
        })
    }

    /// Returns the error for a stand-in for the data file, if it is one.
    fn stand_in(&self) -> Option<Error> {
        let start = foreign::start(self.file).ok()?;
        refuse_stand_in(self.path, &start).err()
    }

    /// Fills `buf` with the bytes of the run from `at` on.
    ///
    /// # Errors
    /// [`Error::ShardTruncated`] if the data file is too short, [`Error::CopiesDiffer`] if the bytes are
    /// stored twice and differ, or [`Error::Io`].
    pub fn read(&self, buf: &mut [u8], at: u64) -> Result<(), Error> {
        let offset = self.offset() + at;
        // A counter may be the only value read of an archive.
        let read = if self.piece.len <= MAX_COUNTER_LEN {
            self.file.read_once(buf, offset)
        } else {
            self.file.read_exact_at(buf, offset)
        };
        read.map_err(|source| self.failed(source))?;
        self.copies
            .iter()
            .try_for_each(|copy| self.compare(buf, at, *copy))
    }

    fn failed(&self, source: io::Error) -> Error {
        match source.kind() {
            io::ErrorKind::UnexpectedEof => self.truncated(),
            // Removed from a bucket since it was listed.
            io::ErrorKind::NotFound => Error::ShardMissing {
                path: self.path.to_owned(),
                variable: self.variable.name.clone(),
            },
            _ => Error::reading(self.path, source),
        }
    }

    /// Compares the bytes of the run from `at` on with those of the copy at `copy`.
    fn compare(&self, bytes: &[u8], at: u64, copy: u64) -> Result<(), Error> {
        let mut buf = vec![0; bytes.len().min(COMPARED)];
        let mut offset = copy + at;
        for part in bytes.chunks(COMPARED) {
            let buf = &mut buf[..part.len()];
            let read = self.file.read_exact_at(buf, offset);
            read.map_err(|source| self.failed(source))?;
            if buf != part {
                return Err(Error::CopiesDiffer {
                    path: self.path.to_owned(),
                    variable: self.variable.name.clone(),
                    offsets: [self.offset(), copy],
                });
            }
            offset += part.len() as u64;
        }
        Ok(())
    }

    /// Returns true if the checkpoint has a checksum of the bytes.
    pub fn has_checksum(&self) -> bool {
        self.extent().crc32c.is_some()
    }

    /// Checks `found`, the CRC-32C of the whole run, against the one in the index, if there is one.
    ///
    /// # Errors
    /// [`Error::Checksum`] if they differ.
    pub fn check(&self, found: u32) -> Result<(), Error> {
        let StoredBytes { offset, crc32c, .. } = self.extent();
        let Some(crc32c) = crc32c.filter(|expected| *expected != found) else {
            return Ok(());
        };
        Err(self.stand_in().unwrap_or_else(|| Error::Checksum {
            path: self.path.to_owned(),
            variable: self.variable.name.clone(),
            offset,
            len: self.piece.len,
            expected: crc32c,
            found,
        }))
    }
}

pub(crate) fn extent(piece: &Piece) -> StoredBytes {
    piece.extent.expect("contiguous pieces have one")
}
