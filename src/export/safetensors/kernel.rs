//! Transposes kernels in bands of rows.
//!
//! A kernel `[in, out]` is read row by row and written as a weight `[out, in]`. A thread keeps the transposed
//! bytes of one band. A kernel that fits into the memory of a thread is one band and is written at once; a
//! larger one is cut into bands of rows of the variable, and each band is a range of columns of the weight,
//! written with one positioned write for each of its rows. So the variable is read sequentially in both
//! cases, which its checksum requires. Short writes are slow: on a busy machine, writes of 4 KiB took about
//! one and a half times as long as one write of the same bytes, writes of 16 KiB about as long as one.

use std::ops::Range;

use super::steps::{STEP, Steps};
use super::target::{Streamed, Target};
use crate::export::Error;
use crate::export::buffer::AlignedBytes;
use crate::export::transform::transpose_rows;
use crate::plan::PlannedTensor;

/// Returns the bands of a kernel as ranges of bytes of the variable. The transposed bytes of a band are at most
/// `memory`, but a band has at least one row.
pub(super) fn bands(kernel: &PlannedTensor, memory: usize) -> Vec<Range<u64>> {
    let [width, height] = kernel.matrix();
    let count = kernel.bytes().div_ceil(memory.max(1)).max(1);
    // Bands of the same height, so that the writes of the last one are not shorter than the others.
    let rows = height.div_ceil(count).max(1);
    let row = (width * kernel.cast.source_size()) as u64;
    let band = |first: usize| first as u64 * row..height.min(first + rows) as u64 * row;
    (0..height.max(1)).step_by(rows).map(band).collect()
}

/// Reads a band of a kernel, transposes its rows while they are in the cache, and writes it. Returns
/// the CRC-32C of the band in the checkpoint. Afterwards `buffer` has the transposed bytes.
pub(super) fn transpose_band(
    steps: &mut Steps<'_>,
    buffer: &mut AlignedBytes,
    kernel: &Streamed<'_>,
    band: Range<u64>,
    target: &Target<'_>,
) -> Result<u32, Error> {
    let [width, height] = kernel.tensor.matrix();
    let element = kernel.tensor.cast.to_size();
    let row = width * kernel.tensor.cast.source_size();
    let row_at = |at: u64| usize::try_from(at / row.max(1) as u64).expect("a row of the kernel");
    let first = row_at(band.start);
    let rows = row_at(band.end) - first;
    buffer.resize_aligned_to(
        width * rows * element,
        kernel.offset + (first * element) as u64,
    );
    let step = (STEP / row.max(1)).max(1) * row;
    let sum = steps.cast(kernel, band, step, |step, start| {
        let transposed = buffer.as_bytes_mut();
        transpose_rows(step, rows, row_at(start) - first, element, transposed);
        Ok(())
    })?;
    let bytes = buffer.as_bytes();
    if rows == height {
        target.write(bytes, kernel.offset)?;
    } else {
        let offset = kernel.offset + (first * element) as u64;
        target.write_strided(bytes, rows * element, offset, height * element)?;
    }
    Ok(sum)
}
