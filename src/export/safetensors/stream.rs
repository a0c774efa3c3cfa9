//! Streams tensors from the checkpoint into the file, on several threads.
//!
//! The layout is known before the first byte is read, so tensors are independent jobs, the largest first. A
//! tensor with the same bytes as its variable is split into parts whose checksums are combined, so that
//! the word embeddings do not occupy one thread while the others are idle. A kernel is transposed while it
//! is read, and written as a whole. All other tensors (casts, slices, V1, computed heads) are made in memory
//! by [`convert_tensor`].
//!
//! Bytes are read in steps that stay in the cache until their checksum is computed and they are transposed
//! or written. Each thread keeps two buffers; where their memory comes from matters as much as anything
//! else here (see `buffer`).
//!
//! Measurements with ELECTRA-Large in the page cache (`scripts/bench.sh`) on two cores of an AMD EPYC; `cp`
//! of the same bytes takes 0.54 s:
//!
//! | | s |
//! |---|---|
//! | one tensor after the other | 3.3 |
//! | two threads that read a kernel, then transpose it in bands of 256 KiB and write each | 0.85 |
//! | the same in bands of 1 MiB | 0.76 |
//! | transposed while it is in the cache and written as a whole, tensors in the order of the file | 0.9 |
//! | the same, the largest first | 0.67 |
//! | with huge pages | 0.66 |
//! | with huge pages and buffers half a cache line away from the alignment of the bytes in the file | 0.54 |
//! | steps of 1 MiB instead of 256 KiB: **this code** | 0.51 |
//! | parts of embeddings spread among the kernels | 0.66 |
//!
//! `fallocate` instead of `ftruncate` takes 0.33 s by itself and saves 0.25 s of writing; transposing into
//! a mapping of the output costs 0.7 s of page faults; a mutex around the writes changes nothing. The
//! remaining limit: the kernel's lock on the file lets one thread write at a time, and writing alone takes
//! 0.45 s, most of it for new pages. `copy_file_range` is no option because checksums are computed.

use std::fs::File;
use std::num::NonZeroUsize;
use std::ops::{ControlFlow, Range};
use std::path::Path;

use parking_lot::Mutex;
use tf_checkpoint::{Checkpoint, Contiguous};

use super::checksums::RecordedChecksums;
use crate::export::Error;
use crate::export::buffer::AlignedBytes;
use crate::export::materialise::convert_tensor;
use crate::export::transform::transpose_rows;
use crate::plan::PlannedTensor;
use crate::progress::Watch;
use crate::sys;
use crate::threads::{available, each};
use crate::variables::Recipe;

/// Bytes that are read, checked and transposed or written at a time: they fit into the second-level cache
/// and contain many rows of a kernel, which fill cache lines of the transposed one.
const STEP: usize = 1 << 20;
/// Bytes that one job copies.
const PART: u64 = 8 << 20;
/// The memory for the buffers of all threads in bytes; two threads may take more.
const BUFFERS: usize = 40 << 20;

/// The file that the tensors are written to.
pub(super) struct Target<'a> {
    pub(super) file: &'a File,
    pub(super) path: &'a Path,
    /// The tensors with their offsets in the file.
    pub(super) tensors: &'a [(&'a PlannedTensor, u64)],
}

/// A tensor or a part of it.
struct Job {
    /// Index into [`Target::tensors`].
    tensor: usize,
    /// The bytes of the part; `None` for the whole tensor.
    part: Option<Range<u64>>,
}

/// The results of all threads.
#[derive(Default)]
struct Results {
    /// The first error.
    error: Option<Error>,
    parts: Vec<CopiedPart>,
}

/// A part of a tensor that was copied; ordered by tensor and start.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct CopiedPart {
    /// Index into [`Target::tensors`].
    tensor: usize,
    /// In bytes, as `len`.
    start: u64,
    len: usize,
    crc32c: u32,
}

/// Writes every tensor to its place, and records the checksums of written tensors in `checksums`.
pub(super) fn stream(
    target: &Target<'_>,
    checkpoint: &Checkpoint,
    checksums: &mut RecordedChecksums,
    threads: Option<NonZeroUsize>,
    watch: &Watch<'_>,
) -> Result<(), Error> {
    let jobs = jobs(target, checkpoint);
    let results = Mutex::new(Results::default());
    let checksums = Mutex::new(checksums);
    let worker = || Worker {
        target,
        checkpoint,
        watch,
        source: AlignedBytes::default(),
        transposed: AlignedBytes::default(),
    };
    let work = |worker: &mut Worker<'_>, job: usize| match worker.run(&jobs[job], &checksums) {
        Ok(part) => {
            results.lock().parts.extend(part);
            ControlFlow::Continue(())
        }
        Err(error) => {
            results.lock().error.get_or_insert(error);
            ControlFlow::Break(())
        }
    };
    each(jobs.len(), thread_count(target, threads), worker, work);
    let mut results = results.into_inner();
    if let Some(error) = results.error {
        return Err(error);
    }
    results.parts.sort_unstable();
    for parts in results.parts.chunk_by(|a, b| a.tensor == b.tensor) {
        let crc32c = parts.iter().fold(0, |crc32c, part| {
            crc32c::crc32c_combine(crc32c, part.crc32c, part.len)
        });
        let (tensor, _) = target.tensors[parts[0].tensor];
        let variable = checkpoint.contiguous(&tensor.variables[0]);
        variable.expect("was copied as such").check(crc32c)?;
    }
    Ok(())
}

/// Returns the number of threads: `requested`, or as many as there are cores, limited by the memory of
/// their buffers, but at least two of the cores.
fn thread_count(target: &Target<'_>, requested: Option<NonZeroUsize>) -> usize {
    if let Some(requested) = requested {
        return requested.get();
    }
    let transposed = target
        .tensors
        .iter()
        .map(|(tensor, _)| match tensor.recipe {
            Recipe::Copy => STEP,
            _ => tensor.bytes(),
        });
    let largest = transposed.max().unwrap_or(STEP).max(1);
    available().min((BUFFERS / largest).max(2))
}

/// Returns the jobs, the largest tensors first: the last jobs are small, so that all threads end together.
fn jobs(target: &Target<'_>, checkpoint: &Checkpoint) -> Vec<Job> {
    let mut order: Vec<usize> = (0..target.tensors.len()).collect();
    order.sort_by_key(|&at| std::cmp::Reverse(target.tensors[at].0.bytes()));
    let mut jobs = Vec::with_capacity(order.len());
    for tensor in order {
        let (planned, _) = target.tensors[tensor];
        let is_copied = planned.recipe == Recipe::Copy
            && planned.cast.is_none()
            && checkpoint.contiguous(&planned.variables[0]).is_some();
        if !is_copied {
            jobs.push(Job { tensor, part: None });
            continue;
        }
        let len = planned.bytes() as u64;
        let parts = (0..len.div_ceil(PART)).map(|n| n * PART);
        jobs.extend(parts.map(|start| Job {
            tensor,
            part: Some(start..len.min(start + PART)),
        }));
    }
    jobs
}

/// The state of one thread.
struct Worker<'a> {
    target: &'a Target<'a>,
    checkpoint: &'a Checkpoint,
    watch: &'a Watch<'a>,
    source: AlignedBytes,
    transposed: AlignedBytes,
}

impl Worker<'_> {
    /// Runs a job; returns the part if it is one.
    fn run(
        &mut self,
        job: &Job,
        checksums: &Mutex<&mut RecordedChecksums>,
    ) -> Result<Option<CopiedPart>, Error> {
        let (tensor, offset) = self.target.tensors[job.tensor];
        if let Some(part) = &job.part {
            let variable = self.checkpoint.contiguous(&tensor.variables[0]);
            let variable = variable.expect("only contiguous variables have parts");
            return Ok(Some(CopiedPart {
                tensor: job.tensor,
                start: part.start,
                len: usize::try_from(part.end - part.start).expect("at most PART"),
                crc32c: self.copy(&variable, part.clone(), offset)?,
            }));
        }
        if tensor.recipe == Recipe::Transpose
            && tensor.cast.is_none()
            && let Some(variable) = self.checkpoint.contiguous(&tensor.variables[0])
        {
            self.transpose(&variable, tensor, offset)?;
            return Ok(None);
        }
        self.watch.check()?;
        let bytes = convert_tensor(tensor, self.checkpoint)?;
        self.watch.check()?;
        self.write(bytes.as_bytes(), offset)?;
        checksums
            .lock()
            .record(&tensor.name, tensor.cast.to, bytes.as_bytes());
        self.watch.advance(tensor.source_bytes())?;
        Ok(None)
    }

    fn write(&self, bytes: &[u8], offset: u64) -> Result<(), Error> {
        sys::write_all_at(self.target.file, bytes, offset).map_err(Error::writing(self.target.path))
    }

    /// Copies a part of a variable; returns its CRC-32C.
    fn copy(
        &mut self,
        variable: &Contiguous<'_>,
        part: Range<u64>,
        offset: u64,
    ) -> Result<u32, Error> {
        let first = variable.offset() + part.start;
        self.source.resize_aligned_to(STEP, first);
        let mut sum = 0;
        let mut at = part.start;
        while at < part.end {
            let len = usize::try_from(part.end - at).map_or(STEP, |left| left.min(STEP));
            let step = &mut self.source.as_bytes_mut()[..len];
            variable.read(step, at)?;
            sum = crc32c::crc32c_append(sum, step);
            self.write(&self.source.as_bytes()[..len], offset + at)?;
            at += len as u64;
            self.watch.advance(len as u64)?;
        }
        Ok(sum)
    }

    /// Reads a kernel, transposes its rows while they are in the cache, checks its checksum and writes it.
    fn transpose(
        &mut self,
        variable: &Contiguous<'_>,
        tensor: &PlannedTensor,
        offset: u64,
    ) -> Result<(), Error> {
        let [width, height] = tensor.matrix();
        let element = tensor.cast.to_size();
        let row = width * element;
        let step = (STEP / row.max(1)).max(1);
        self.transposed.resize_aligned_to(tensor.bytes(), offset);
        let mut sum = 0;
        for first in (0..height).step_by(step) {
            let at = (first * row) as u64;
            let len = step.min(height - first) * row;
            self.source.resize_aligned_to(len, variable.offset() + at);
            variable.read(self.source.as_bytes_mut(), at)?;
            sum = crc32c::crc32c_append(sum, self.source.as_bytes());
            let target = self.transposed.as_bytes_mut();
            transpose_rows(&self.source, height, first, element, target);
            self.watch.advance(len as u64)?;
        }
        variable.check(sum)?;
        self.write(self.transposed.as_bytes(), offset)?;
        Ok(())
    }
}
