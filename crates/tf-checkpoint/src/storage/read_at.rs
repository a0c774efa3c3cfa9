//! Positioned reads.

use std::ops::Range;
use std::sync::Arc;
use std::{fmt, io, slice};

/// Bytes of a known length that can be read at any position, from several threads at once.
pub trait ReadAt: fmt::Debug + Send + Sync {
    /// Returns the length in bytes.
    fn len(&self) -> u64;

    /// Returns true if the length is 0.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buf` with the bytes from `offset` on.
    ///
    /// # Errors
    /// `UnexpectedEof` if there are fewer bytes, or the error of the device.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// As [`read_exact_at`](Self::read_exact_at), for a few bytes of a file of which no more may be
    /// read: nothing is prepared for further reads, such as a temporary file.
    fn read_once(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(buf, offset)
    }

    /// Announces ranges that will be read, so that they can be fetched ahead, in this order and before those that were
    /// announced earlier. Returns at once.
    fn prepare(&self, ranges: &[Range<u64>]) {
        let _ = ranges;
    }

    /// Returns true if a read would wait because an announced range is not fetched yet. After a failure or a
    /// cancellation it must be false, because a read returns the error at once.
    fn is_pending(&self, range: &Range<u64>) -> bool {
        let _ = range;
        false
    }

    /// Announces that all of it will be read.
    fn prepare_all(&self) {
        self.prepare(slice::from_ref(&(0..self.len())));
    }
}

impl ReadAt for &[u8] {
    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let bytes = usize::try_from(offset)
            .ok()
            .and_then(|start| self.get(start..)?.get(..buf.len()))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(bytes);
        Ok(())
    }
}

impl<R: ReadAt + ?Sized> ReadAt for Arc<R> {
    fn len(&self) -> u64 {
        (**self).len()
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read_exact_at(buf, offset)
    }

    fn read_once(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read_once(buf, offset)
    }

    fn prepare(&self, ranges: &[Range<u64>]) {
        (**self).prepare(ranges);
    }

    fn is_pending(&self, range: &Range<u64>) -> bool {
        (**self).is_pending(range)
    }
}
