//! Transposes kernels in bands.
//!
//! A kernel `[in, out]` is written as a weight `[out, in]`. A kernel whose transposed bytes fit into the memory of
//! a thread is one band: it is read row by row and written at once. A larger one is cut into bands of columns,
//! which are ranges of rows of the weight: each is read with one positioned read for each row of the kernel,
//! and written at once. Short reads are cheaper than short writes: threads read a file at the same time, but
//! the kernel's lock on a file lets one thread write at a time.

use std::ops::Range;

use tensor_bytes::{AlignedBytes, transpose_rows};

use super::steps::{STEP, Steps};
use super::target::{Streamed, Target};
use crate::export::Error;
use crate::plan::PlannedTensor;

/// Columns of a band are a multiple of this: a cache line of float32.
const COLUMNS: usize = 16;

/// Returns the bands of a kernel, as ranges of bytes of a variable that has the order of the weight. The transposed
/// bytes of a band are `memory` at most, rounded up to [`COLUMNS`].
pub(super) fn bands(kernel: &PlannedTensor, memory: usize) -> Vec<Range<u64>> {
    let [width, height] = kernel.matrix();
    let count = kernel.bytes().div_ceil(memory.max(1)).max(1);
    // Bands of about the same width, so that the reads of the last one are not much shorter.
    let columns = width.div_ceil(count).next_multiple_of(COLUMNS);
    let column = (height * kernel.cast.source_size()) as u64;
    let band = |first: usize| first as u64 * column..width.min(first + columns) as u64 * column;
    (0..width.max(1))
        .step_by(columns.max(1))
        .map(band)
        .collect()
}

/// Reads a band of a kernel, transposes its rows while they are in the cache, and writes it. Returns the
/// contribution of the band to the CRC-32C of the variable: the exclusive or of those of all bands is the
/// checksum. Afterwards `buffer` has the transposed bytes.
pub(super) fn transpose_band(
    steps: &mut Steps<'_>,
    buffer: &mut AlignedBytes,
    kernel: &Streamed<'_>,
    band: Range<u64>,
    target: &Target<'_>,
) -> Result<u32, Error> {
    let [width, height] = kernel.tensor.matrix();
    let element = kernel.tensor.cast.to_size();
    let source_size = kernel.tensor.cast.source_size();
    let column_at = |at: u64| {
        let column = (height * source_size).max(1) as u64;
        usize::try_from(at / column).expect("a column of the kernel")
    };
    let columns = column_at(band.start)..column_at(band.end);
    let offset = kernel.offset + kernel.written_len(band.start);
    buffer.resize_aligned_to(columns.len() * height * element, offset);
    let mut transpose = |step: &AlignedBytes, first: usize| {
        transpose_rows(step, height, first, element, buffer.as_bytes_mut());
        Ok(())
    };
    let sum = if columns.len() == width {
        let row = (width * source_size).max(1);
        let step = (STEP / row).max(1) * row;
        let row_at = |at: u64| usize::try_from(at / row as u64).expect("a row of the kernel");
        steps.cast(kernel, band, step, |step, start| {
            transpose(step, row_at(start))
        })?
    } else {
        steps.cast_columns(kernel, columns, transpose)?
    };
    target.write(buffer.as_bytes(), offset)?;
    Ok(sum)
}
