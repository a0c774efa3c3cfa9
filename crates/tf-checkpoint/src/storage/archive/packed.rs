//! What a format of archives knows about its members.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use crate::storage::ReadAt;

/// The entries of an archive.
pub(super) struct Listing {
    /// The entries, in the order of the archive.
    pub(super) entries: Box<dyn Iterator<Item = Listed>>,
    /// The memory that each [`Packed`] takes, in bytes.
    pub(super) member_size: usize,
    /// The number of bytes that listing has inflated into a temporary file.
    pub(super) inflated: u64,
}

/// An entry of an archive.
pub(super) struct Listed {
    /// The name, usually UTF-8.
    pub(super) name: Vec<u8>,
    /// The contents; `None` for a directory.
    pub(super) member: Option<Box<dyn Packed>>,
}

/// A member as the archive stores it.
pub(super) trait Packed: Send + Sync {
    /// Returns the length of the member in bytes, unpacked.
    fn len(&self) -> u64;

    /// Returns the CRC-32 of the bytes, if it is known.
    fn crc32(&self) -> Option<u32>;

    /// Returns the largest member of this kind that may be read into memory, in bytes.
    fn max_memory(&self) -> u64;

    /// Fails for members that cannot be read and for those that are not plausible files.
    fn check(&self) -> io::Result<()>;

    /// Returns where the bytes are; `None` if they are compressed.
    fn in_place(&self) -> io::Result<Option<Section>>;

    /// Fills `buf` with the bytes from `offset` on if they were kept when the archive was listed, else
    /// returns false.
    fn read_kept(&self, _buf: &mut [u8], _offset: u64) -> io::Result<bool> {
        Ok(false)
    }

    /// Passes a reader of the member's bytes to `read`, of which it may read the first `len`.
    fn unpack(
        &self,
        len: u64,
        read: &mut dyn FnMut(&mut dyn Read) -> io::Result<()>,
    ) -> io::Result<()>;
}

/// A range of a file.
#[derive(Clone, Debug)]
pub(super) struct Section {
    pub(super) file: Arc<dyn ReadAt>,
    pub(super) start: u64,
    pub(super) len: u64,
}

impl Section {
    /// Returns a reader of the range from its start to its end.
    pub(super) fn reader(self) -> SectionReader {
        SectionReader {
            section: self,
            at: 0,
        }
    }

    /// Returns the place of a range in the file.
    fn inside(&self, range: &Range<u64>) -> Range<u64> {
        let inside = |at: u64| self.start + at.min(self.len);
        inside(range.start)..inside(range.end)
    }
}

impl ReadAt for Section {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64);
        if end.is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.file.read_exact_at(buf, self.start + offset)
    }

    fn prepare(&self, ranges: &[Range<u64>]) {
        let ranges: Vec<Range<u64>> = ranges.iter().map(|range| self.inside(range)).collect();
        self.file.prepare(&ranges);
    }

    fn is_pending(&self, range: &Range<u64>) -> bool {
        self.file.is_pending(&self.inside(range))
    }
}

/// Reads a [`Section`] from its start to its end.
pub(super) struct SectionReader {
    section: Section,
    at: u64,
}

impl Read for SectionReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.section.len - self.at;
        let len = usize::try_from(left).map_or(buf.len(), |left| left.min(buf.len()));
        self.section.read_exact_at(&mut buf[..len], self.at)?;
        self.at += len as u64;
        Ok(len)
    }
}

/// Returns the error for an entry that leads to other files or devices.
pub(super) fn not_followed(what: &str) -> io::Error {
    unsupported(format!(
        "it is {what} in the archive, which is not followed; unpack the archive if you trust it"
    ))
}

pub(super) fn unsupported(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, what.into())
}

pub(super) fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}
