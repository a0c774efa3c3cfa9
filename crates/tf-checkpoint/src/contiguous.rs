//! A variable whose bytes lie in one run, to be read in parts.

use std::io;
use std::path::Path;

use crate::error::Error;
use crate::foreign::{self, refuse_stand_in};
use crate::storage::ReadAt;
use crate::variable::{Piece, StoredBytes, Variable};

/// Length of the longest counter, in bytes: an `int64`.
const MAX_COUNTER_LEN: u64 = 8;

/// The bytes of a variable as one run in a data file, which can be read in parts.
#[derive(Debug)]
pub struct Contiguous<'a> {
    pub(crate) path: &'a Path,
    pub(crate) file: &'a dyn ReadAt,
    pub(crate) variable: &'a Variable,
    pub(crate) piece: &'a Piece,
}

impl Contiguous<'_> {
    pub(crate) fn extent(&self) -> StoredBytes {
        extent(self.piece)
    }

    /// Returns where the run begins in the file, in bytes.
    pub fn offset(&self) -> u64 {
        self.extent().offset
    }

    /// Where it ends in the file; the index was checked for sums that overflow.
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

    /// What the data file is, if it is not one at all.
    fn stand_in(&self) -> Option<Error> {
        let start = foreign::start(self.file).ok()?;
        refuse_stand_in(self.path, &start).err()
    }

    /// Fills `buf` from byte `at` of the run on.
    pub fn read(&self, buf: &mut [u8], at: u64) -> Result<(), Error> {
        let offset = self.offset() + at;
        // A counter is read where nothing else need be, such as to look at an archive.
        let read = if self.piece.len <= MAX_COUNTER_LEN {
            self.file.read_once(buf, offset)
        } else {
            self.file.read_exact_at(buf, offset)
        };
        read.map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => self.truncated(),
            _ => Error::reading(self.path, source),
        })
    }

    /// Compares the CRC-32C of the whole run with the one in the index.
    pub fn check(&self, found: u32) -> Result<(), Error> {
        let StoredBytes { offset, crc32c, .. } = self.extent();
        if found == crc32c {
            return Ok(());
        }
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
    piece.extent.expect("a bundle's pieces have one")
}
