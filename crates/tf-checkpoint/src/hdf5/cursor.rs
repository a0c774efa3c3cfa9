//! Little-endian numbers from a slice of bytes.

use super::problem::Problem;

/// The unread rest of a structure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the next `len` bytes.
    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], Problem> {
        let (bytes, rest) = self.0.split_at_checked(len).ok_or_else(cut_short)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or_else(cut_short)?;
        self.0 = rest;
        Ok(*bytes)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Problem> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Problem> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Problem> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Problem> {
        self.array().map(u64::from_le_bytes)
    }

    /// Skips `len` bytes.
    pub(super) fn skip(&mut self, len: usize) -> Result<(), Problem> {
        self.bytes(len).map(drop)
    }

    /// Skips `len` bytes, or all that are left.
    pub(super) fn skip_at_most(&mut self, len: usize) {
        self.0 = &self.0[len.min(self.0.len())..];
    }

    /// Reads a signature of four bytes.
    pub(super) fn signature(&mut self, expected: [u8; 4]) -> Result<(), Problem> {
        let found: [u8; 4] = self.array()?;
        if found == expected {
            return Ok(());
        }
        let what = format!(
            "starts with \"{}\", not \"{}\"",
            found.escape_ascii(),
            expected.escape_ascii()
        );
        Err(Problem::Damaged(what))
    }
}

fn cut_short() -> Problem {
    Problem::damaged("has a structure that is cut short")
}
