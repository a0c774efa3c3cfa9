//! Streams tensors from the checkpoint into the file, on several threads.
//!
//! The layout is known before the first byte, so tensors are independent jobs, the largest first. A
//! tensor that is its variable as it lies there is cut into parts, whose checksums are combined, so
//! that no thread is left alone with the word embeddings. A kernel is transposed as it is read and written
//! as a whole; whatever else there is (casts, slices, V1, computed heads) is made in memory by
//! [`convert_tensor`].
//!
//! Bytes are read in steps that stay in the cache until their checksum is taken and they are
//! transposed or written. Each thread has two buffers, which it keeps; what they are made of matters
//! as much as anything here (`buffer`).
//!
//! What was tried, on ELECTRA-Large in memory (`scripts/bench.sh`), two cores of an AMD EPYC, where `cp`
//! of the same bytes takes 0.54 s:
//!
//! | | s |
//! |---|---|
//! | one tensor after the other | 3.3 |
//! | two threads that read a kernel, then transpose it in bands of 256 KiB and write each | 0.85 |
//! | the same in bands of 1 MiB | 0.76 |
//! | transposed while it is hot and written as a whole, tensors in the order of the file | 0.9 |
//! | the same, the largest first | 0.67 |
//! | with huge pages | 0.66 |
//! | with huge pages and buffers half a line from where the bytes are in the file | 0.54 |
//! | steps of 1 MiB instead of 256 KiB: **this** | 0.51 |
//! | parts of embeddings spread among the kernels | 0.66 |
//!
//! `fallocate` instead of `ftruncate` takes 0.33 s alone and saves 0.25 s of writing; transposing into a
//! mapping of the output costs 0.7 s of page faults; a lock of our own around the writes changes
//! nothing. What is left: the lock of the file lets one thread write at a time, and writing alone
//! takes 0.45 s, most of it for new pages. `copy_file_range` has no use where a checksum is taken.

use std::fs::File;
use std::num::NonZeroUsize;
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::FileExt;
use std::path::Path;

use parking_lot::Mutex;
use tf_checkpoint::{Checkpoint, Contiguous};

use crate::export::Error;
use crate::export::buffer::AlignedBytes;
use crate::export::checksums::{self, Record};
use crate::export::materialise::convert_tensor;
use crate::export::transform::transpose_rows;
use crate::plan::PlannedTensor;
use crate::progress::Watch;
use crate::threads::{available, each};
use crate::variables::Recipe;

/// Bytes read, checked and transposed or written at a time: they fit into the second-level cache, and are
/// many rows of a kernel, which fill lines of the transposed one.
const STEP: usize = 1 << 20;
/// Bytes of a tensor that is copied by one job.
const PART: u64 = 8 << 20;
/// What the buffers of all threads may take together, in bytes, where two threads can do with it.
const BUFFERS: usize = 40 << 20;

/// Where the tensors go.
pub(super) struct Target<'a> {
    pub(super) file: &'a File,
    pub(super) path: &'a Path,
    /// The tensors with their places in the file.
    pub(super) tensors: &'a [(&'a PlannedTensor, u64)],
}

/// A tensor, by its number, or a part of it.
struct Job {
    tensor: usize,
    part: Option<Range<u64>>,
}

/// What the threads have found out together.
#[derive(Default)]
struct Found {
    error: Option<Error>,
    /// Of each part its tensor, its start, its length and its CRC-32C.
    parts: Vec<(usize, u64, u64, u32)>,
}

/// Writes every tensor to its place. Checksums of what is written are noted in `record`.
pub(super) fn stream(
    target: &Target<'_>,
    checkpoint: &Checkpoint,
    record: &mut Record,
    threads: Option<NonZeroUsize>,
    watch: &Watch<'_>,
) -> Result<(), Error> {
    let jobs = jobs(target, checkpoint);
    let found = Mutex::new(Found::default());
    let record = Mutex::new(record);
    let worker = || Worker {
        target,
        checkpoint,
        watch,
        source: AlignedBytes::default(),
        transposed: AlignedBytes::default(),
    };
    let work = |worker: &mut Worker<'_>, job: usize| match worker.run(&jobs[job], &record) {
        Ok(part) => {
            found.lock().parts.extend(part);
            ControlFlow::Continue(())
        }
        Err(error) => {
            found.lock().error.get_or_insert(error);
            ControlFlow::Break(())
        }
    };
    each(jobs.len(), thread_count(target, threads), worker, work);
    let mut found = found.into_inner();
    if let Some(error) = found.error {
        return Err(error);
    }
    found.parts.sort_unstable();
    for parts in found.parts.chunk_by(|a, b| a.0 == b.0) {
        let sums = parts.iter().map(|(_, _, len, sum)| (*len, *sum));
        let (_, sum) = sums
            .reduce(|(_, before), (len, sum)| {
                let bytes = usize::try_from(len).expect("no longer than the variable");
                (len, crc32c::crc32c_combine(before, sum, bytes))
            })
            .expect("no chunk is empty");
        let (tensor, _) = target.tensors[parts[0].0];
        let contiguous = checkpoint.contiguous(&tensor.variables[0]);
        contiguous.expect("it was read as such").check(sum)?;
    }
    Ok(())
}

/// As many as there are cores, but not so many that their buffers take too much; at least two where
/// there are two.
fn thread_count(target: &Target<'_>, asked: Option<NonZeroUsize>) -> usize {
    if let Some(asked) = asked {
        return asked.get();
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

/// The largest first: what is left at the end is small, so that all threads end together.
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

/// One thread with its buffers.
struct Worker<'a> {
    target: &'a Target<'a>,
    checkpoint: &'a Checkpoint,
    watch: &'a Watch<'a>,
    source: AlignedBytes,
    transposed: AlignedBytes,
}

impl Worker<'_> {
    /// Does a job; returns the checksum of a part.
    fn run(
        &mut self,
        job: &Job,
        record: &Mutex<&mut Record>,
    ) -> Result<Option<(usize, u64, u64, u32)>, Error> {
        let (tensor, offset) = self.target.tensors[job.tensor];
        if let Some(part) = &job.part {
            let variable = self.checkpoint.contiguous(&tensor.variables[0]);
            let sum = self.copy(&variable.expect("told so"), part.clone(), offset)?;
            return Ok(Some((job.tensor, part.start, part.end - part.start, sum)));
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
        checksums::note(
            &mut record.lock(),
            &tensor.name,
            tensor.cast.to,
            bytes.as_bytes(),
        );
        self.watch.advance(tensor.source_bytes())?;
        Ok(None)
    }

    fn write(&self, bytes: &[u8], offset: u64) -> Result<(), Error> {
        let written = self.target.file.write_all_at(bytes, offset);
        written.map_err(Error::writing(self.target.path))
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

    /// Reads a kernel, transposes the rows while they are in the cache, checks and writes it.
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
