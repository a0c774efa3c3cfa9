//! The work of one thread: copies, transposes or makes tensors, and combines the checksums of their parts.
//!
//! The thread that writes the last part of a tensor checks the checksum of the variable. It also records the
//! checksum of the written tensor where that of the variable is not enough.

use std::collections::BTreeMap;
use std::ops::Range;

use parking_lot::Mutex;
use tensor_bytes::AlignedBytes;
use tf_checkpoint::Checkpoint;

use super::checksums::RecordedChecksums;
use super::kernel::transpose_band;
use super::steps::{STEP, Steps};
use super::target::{Streamed, Target};
use crate::export::Error;
use crate::export::materialise::convert_tensor;
use crate::progress::Watch;
use crate::variables::Recipe;

/// A tensor or a part of it.
pub(super) struct Job {
    /// Index into [`Target::tensors`].
    pub(super) tensor: usize,
    /// The bytes of the variable, in the order in which they are written; `None` for a tensor that is made in
    /// memory.
    pub(super) part: Option<Range<u64>>,
}

/// A part of a variable that was written.
struct Written {
    /// The bytes of the variable, in the order in which they are written.
    part: Range<u64>,
    /// The checksum of these bytes, or the contribution of a band of a kernel.
    crc32c: u32,
    /// The checksum of the written bytes, if it is needed.
    output_crc32c: Option<u32>,
}

impl Written {
    /// Returns the number of bytes of the variable.
    fn len(&self) -> u64 {
        self.part.end - self.part.start
    }
}

/// The results of all threads.
pub(super) struct Results<'a> {
    checksums: &'a mut RecordedChecksums,
    /// The tensors with parts that are not yet written.
    unfinished: BTreeMap<usize, Unfinished>,
}

impl<'a> Results<'a> {
    pub(super) fn new(checksums: &'a mut RecordedChecksums) -> Self {
        Self {
            checksums,
            unfinished: BTreeMap::new(),
        }
    }

    /// Adds a part; returns all parts of the tensor if this was the last one, in the order of the file.
    fn add(&mut self, job: &Job, written: Written, len: u64) -> Option<Vec<Written>> {
        let tensor = self.unfinished.entry(job.tensor).or_default();
        tensor.len += written.len();
        tensor.parts.push(written);
        if tensor.len < len {
            return None;
        }
        let mut parts = self.unfinished.remove(&job.tensor)?.parts;
        parts.sort_unstable_by_key(|written| written.part.start);
        Some(parts)
    }
}

/// A tensor of which some parts are written.
#[derive(Default)]
struct Unfinished {
    parts: Vec<Written>,
    /// The bytes of the variable in these parts.
    len: u64,
}

/// The state of one thread.
pub(super) struct Worker<'a, 'r> {
    target: &'a Target<'a>,
    checkpoint: &'a Checkpoint,
    watch: &'a Watch<'a>,
    results: &'a Mutex<Results<'r>>,
    steps: Steps<'a>,
    band: AlignedBytes,
}

impl<'a, 'r> Worker<'a, 'r> {
    pub(super) fn new(
        target: &'a Target<'a>,
        checkpoint: &'a Checkpoint,
        results: &'a Mutex<Results<'r>>,
        watch: &'a Watch<'a>,
    ) -> Self {
        Self {
            target,
            checkpoint,
            watch,
            results,
            steps: Steps::new(watch),
            band: AlignedBytes::default(),
        }
    }

    /// Runs a job.
    pub(super) fn run(&mut self, job: &Job) -> Result<(), Error> {
        let Some(part) = &job.part else {
            return self.materialise(job.tensor);
        };
        let source = self.target.streamed(job.tensor, self.checkpoint);
        let source = source.expect("only streamed tensors have parts");
        let is_recorded = self.results.lock().checksums.needs(source.tensor);
        let written = match source.tensor.recipe {
            Recipe::Transpose => self.transpose(&source, part.clone(), is_recorded)?,
            _ => self.copy(&source, part.clone(), is_recorded)?,
        };
        let len = source.tensor.source_bytes();
        let finished = self.results.lock().add(job, written, len);
        if let Some(parts) = finished {
            self.finish(&source, &parts, is_recorded)?;
        }
        Ok(())
    }

    /// Makes a tensor in memory and writes it.
    fn materialise(&self, tensor: usize) -> Result<(), Error> {
        let (tensor, offset) = self.target.tensors[tensor];
        self.watch.check()?;
        let bytes = convert_tensor(tensor, self.checkpoint)?;
        self.watch.check()?;
        self.target.write(bytes.as_bytes(), offset)?;
        if self.results.lock().checksums.needs(tensor) {
            let crc32c = crc32c::crc32c(bytes.as_bytes());
            self.results.lock().checksums.record(tensor, crc32c);
        }
        self.watch.advance(tensor.source_bytes())?;
        Ok(())
    }

    /// Copies a part of a variable.
    fn copy(
        &mut self,
        source: &Streamed<'_>,
        part: Range<u64>,
        is_recorded: bool,
    ) -> Result<Written, Error> {
        let mut sum = 0;
        let crc32c = self.steps.cast(source, part.clone(), STEP, |step, start| {
            if is_recorded {
                sum = crc32c::crc32c_append(sum, step.as_bytes());
            }
            let offset = source.offset + source.written_len(start);
            self.target.write(step.as_bytes(), offset)
        })?;
        Ok(Written {
            part,
            crc32c,
            output_crc32c: is_recorded.then_some(sum),
        })
    }

    /// Transposes a band of a kernel.
    fn transpose(
        &mut self,
        source: &Streamed<'_>,
        band: Range<u64>,
        is_recorded: bool,
    ) -> Result<Written, Error> {
        let crc32c = transpose_band(
            &mut self.steps,
            &mut self.band,
            source,
            band.clone(),
            self.target,
        )?;
        Ok(Written {
            part: band,
            crc32c,
            output_crc32c: is_recorded.then(|| crc32c::crc32c(self.band.as_bytes())),
        })
    }

    /// Checks the checksum of a variable that was written as a whole, and records that of the tensor.
    fn finish(
        &self,
        source: &Streamed<'_>,
        parts: &[Written],
        is_recorded: bool,
    ) -> Result<(), Error> {
        let crc32c = match source.tensor.recipe {
            Recipe::Transpose => parts.iter().fold(0, |sum, written| sum ^ written.crc32c),
            _ => combine(parts.iter().map(|written| (written.crc32c, written.len()))),
        };
        source.variable.check(crc32c)?;
        if is_recorded {
            let crc32c = combine(parts.iter().map(|written| {
                let crc32c = written.output_crc32c.expect("computed for every part");
                (crc32c, source.written_len(written.len()))
            }));
            self.results.lock().checksums.record(source.tensor, crc32c);
        }
        Ok(())
    }
}

/// Returns the checksum of parts in their order, from the checksum and the length of each.
fn combine(parts: impl IntoIterator<Item = (u32, u64)>) -> u32 {
    parts.into_iter().fold(0, |sum, (crc32c, len)| {
        let len = usize::try_from(len).expect("the platform has 64 bits");
        crc32c::crc32c_combine(sum, crc32c, len)
    })
}
