//! Reads parts of variables in steps.
//!
//! A step stays in the cache from the read to its last use: the checksum is computed, the elements are cast,
//! then the step is written or transposed. The checksum is that of the bytes in the checkpoint, so it is
//! computed before the cast.

use std::ops::Range;

use tensor_bytes::{AlignedBytes, Overflow};

use super::columns_checksum::ColumnsChecksum;
use super::target::Streamed;
use crate::export::Error;
use crate::export::cast::cast_into;
use crate::export::materialise::overflow_of;
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
        let mut casting = Casting::new(source, &mut self.cast, self.watch);
        let sum = read(&mut self.read, source, part, len, |step, start| {
            let offset = source.offset + source.written_len(start);
            casting.pass(step, offset, |cast| sink(cast, start))
        });
        let overflows = casting.overflows;
        if overflows {
            return Err(self.first_overflow(source));
        }
        sum
    }

    /// As [`cast`](Self::cast), for columns of a matrix. A step is some rows of these columns, and is passed to
    /// `sink` with the index of its first row. Returns the part of the checksum that the columns contribute.
    pub(super) fn cast_columns(
        &mut self,
        source: &Streamed<'_>,
        columns: Range<usize>,
        mut sink: impl FnMut(&AlignedBytes, usize) -> Result<(), Error>,
    ) -> Result<u32, Error> {
        let [width, height] = source.tensor.matrix();
        let element = source.tensor.cast.source_size();
        let (row, len) = (width * element, columns.len() * element);
        let place = |row_index: usize| (row_index * row + columns.start * element) as u64;
        let mut sum = ColumnsChecksum::new(row);
        let mut casting = Casting::new(source, &mut self.cast, self.watch);
        let rows_of_step = (STEP / len.max(1)).max(1);
        for first in (0..height).step_by(rows_of_step) {
            let rows = rows_of_step.min(height - first);
            let offset = source.variable.offset() + place(first);
            self.read.resize_aligned_to(rows * len, offset);
            let parts = self.read.as_bytes_mut().chunks_exact_mut(len);
            for (at, part) in (first..).zip(parts) {
                source.variable.read(part, place(at))?;
                sum.add(part);
            }
            let passed = casting.pass(&self.read, 0, |cast| sink(cast, first));
            if casting.overflows {
                return Err(self.first_overflow(source));
            }
            passed?;
        }
        Ok(sum.end((width - columns.end) * element))
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

/// Casts steps of a tensor.
struct Casting<'a> {
    source: &'a Streamed<'a>,
    target: &'a mut AlignedBytes,
    watch: &'a Watch<'a>,
    overflows: bool,
}

impl<'a> Casting<'a> {
    fn new(source: &'a Streamed<'a>, target: &'a mut AlignedBytes, watch: &'a Watch<'a>) -> Self {
        Self {
            source,
            target,
            watch,
            overflows: false,
        }
    }

    /// Casts a step and passes it on; `offset` is its place in the file that is written.
    fn pass(
        &mut self,
        step: &AlignedBytes,
        offset: u64,
        sink: impl FnOnce(&AlignedBytes) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let cast = self.source.tensor.cast;
        if cast.is_none() {
            sink(step)?;
        } else {
            let len = cast.written_len(step.len());
            self.target.resize_aligned_to(len, offset);
            cast_into(step, cast, self.target.as_bytes_mut()).map_err(|overflow| {
                self.overflows = true;
                overflow_of(self.source.tensor, overflow)
            })?;
            sink(self.target)?;
        }
        Ok(self.watch.advance(step.len() as u64)?)
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
