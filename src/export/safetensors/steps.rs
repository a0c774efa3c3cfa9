//! Reads parts of variables in steps.
//!
//! A step stays in the cache from the read to its last use: the checksum is computed, the elements are cast,
//! then the step is written or transposed. The checksum is that of the bytes in the checkpoint, so it is
//! computed before the cast.

use std::ops::Range;

use super::target::Streamed;
use crate::export::Error;
use crate::export::buffer::AlignedBytes;
use crate::export::materialise::overflow_of;
use crate::export::transform::{Overflow, cast_into};
use crate::progress::Watch;

/// Bytes of a step: they fit into the second-level cache and contain many rows of a kernel, which fill cache
/// lines of the transposed one.
pub(crate) const STEP: usize = 1 << 20;

/// The buffers of one thread.
pub(super) struct Steps<'a> {
    watch: &'a Watch<'a>,
    read: AlignedBytes,
    cast: AlignedBytes,
}

impl<'a> Steps<'a> {
    pub(super) fn new(watch: &'a Watch<'a>) -> Self {
        Self {
            watch,
            read: AlignedBytes::default(),
            cast: AlignedBytes::default(),
        }
    }

    /// Reads a part of the variable in steps of `len` bytes. Each step is cast and passed to `sink` with its
    /// start in the variable, in bytes. Returns the CRC-32C of the part.
    ///
    /// # Errors
    /// At an overflow that of the first element of the whole variable, unless the variable is damaged.
    pub(super) fn cast(
        &mut self,
        source: &Streamed<'_>,
        part: Range<u64>,
        len: usize,
        mut sink: impl FnMut(&AlignedBytes, u64) -> Result<(), Error>,
    ) -> Result<u32, Error> {
        let cast = source.tensor.cast;
        let target = &mut self.cast;
        let mut overflows = false;
        let sum = read(&mut self.read, source, part, len, |step, start| {
            if cast.is_none() {
                sink(step, start)?;
            } else {
                let offset = source.offset + source.written_len(start);
                target.resize_aligned_to(cast.written_len(step.len()), offset);
                cast_into(step, cast, target.as_bytes_mut()).map_err(|overflow| {
                    overflows = true;
                    overflow_of(source.tensor, overflow)
                })?;
                sink(target, start)?;
            }
            Ok(self.watch.advance(step.len() as u64)?)
        });
        if overflows {
            return Err(self.first_overflow(source));
        }
        sum
    }

    /// Returns the error of a variable that has an overflow. The variable is read again as a whole, because
    /// damaged bytes are not an overflow, and because another thread may have the first one.
    fn first_overflow(&mut self, source: &Streamed<'_>) -> Error {
        let cast = source.tensor.cast;
        let target = &mut self.cast;
        let mut first = None;
        let whole = 0..source.tensor.source_bytes();
        let sum = read(&mut self.read, source, whole, STEP, |step, start| {
            target.resize_aligned_to(cast.written_len(step.len()), 0);
            if first.is_none()
                && let Err(overflow) = cast_into(step, cast, target.as_bytes_mut())
            {
                let before = usize::try_from(start).expect("the platform has 64 bits");
                first = Some(Overflow {
                    index: before / cast.source_size() + overflow.index,
                    ..overflow
                });
            }
            Ok(self.watch.check()?)
        });
        match sum.and_then(|sum| Ok(source.variable.check(sum)?)) {
            Err(error) => error,
            Ok(()) => overflow_of(source.tensor, first.expect("an element did not fit")),
        }
    }
}

/// Reads a part of the variable in steps of `len` bytes. Each step is passed to `sink` with its start in the
/// variable, in bytes. Returns the CRC-32C of the part.
fn read(
    buffer: &mut AlignedBytes,
    source: &Streamed<'_>,
    part: Range<u64>,
    len: usize,
    mut sink: impl FnMut(&AlignedBytes, u64) -> Result<(), Error>,
) -> Result<u32, Error> {
    let variable = &source.variable;
    let mut sum = 0;
    let mut at = part.start;
    while at < part.end {
        let len = usize::try_from(part.end - at).map_or(len, |left| left.min(len));
        buffer.resize_aligned_to(len, variable.offset() + at);
        variable.read(buffer.as_bytes_mut(), at)?;
        sum = crc32c::crc32c_append(sum, buffer.as_bytes());
        sink(buffer, at)?;
        at += len as u64;
    }
    Ok(sum)
}
