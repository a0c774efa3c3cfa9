//! The jobs, their sizes, and which of them is done next.
//!
//! The largest tensors come first: the last jobs are small, so that all threads end together. Tensors that are still being
//! fetched over a network come after those that have arrived, so that a slow connection delays its own tensors only.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use tf_checkpoint::{Checkpoint, FileRange};

use super::kernel::bands;
use super::steps::STEP;
use super::target::Target;
use super::worker::Job;
use crate::plan::PlannedTensor;
use crate::threads::available;
use crate::variables::Recipe;

/// Bytes of a variable that one job copies.
pub(super) const PART: u64 = 8 << 20;
/// The memory for the transposed bands of all threads in bytes.
pub(super) const BANDS: usize = 64 << 20;
/// The memory for the band of one thread, if there are many threads: with less, the reads are too short.
const MIN_BAND: usize = 4 << 20;
/// How often a thread looks whether the bytes of a job have arrived.
const LOOK: Duration = Duration::from_millis(2);

/// The threads, and the sizes of their jobs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Threads {
    pub(super) count: usize,
    /// The memory for the transposed band of one thread in bytes.
    pub(super) band: usize,
    /// Bytes of a variable that one job copies: a multiple of every element size.
    pub(super) part: u64,
}

impl Threads {
    /// Returns the number of threads, `requested` or [`thread_count`], and divides the memory among them.
    pub(super) fn new(target: &Target<'_>, requested: Option<NonZeroUsize>) -> Self {
        let tensors = target.tensors.iter().map(|&(tensor, _)| tensor);
        let count = requested.map_or_else(|| thread_count(tensors, available()), NonZeroUsize::get);
        Self {
            count,
            band: (BANDS / count).max(MIN_BAND),
            part: PART,
        }
    }
}

/// Returns how many of the available threads write tensors: only so many that the largest kernel fits into the memory of
/// one, because more threads would only wait for each other's writes; but two at least.
pub(crate) fn thread_count<'a>(
    tensors: impl Iterator<Item = &'a PlannedTensor>,
    available: usize,
) -> usize {
    let transposed = tensors.map(|tensor| match tensor.recipe {
        Recipe::Copy => STEP,
        _ => tensor.bytes(),
    });
    let largest = transposed.max().unwrap_or(STEP).max(1);
    available.min((BANDS / largest).max(2))
}

/// A job that is not yet started, with the ranges that it reads.
type Waiting<'a> = (Job, Vec<FileRange<'a>>);

/// The jobs that are not yet started.
pub(super) struct Queue<'a>(Mutex<VecDeque<Waiting<'a>>>);

impl<'a> Queue<'a> {
    /// Creates the jobs that write all tensors.
    pub(super) fn new(target: &Target<'a>, checkpoint: &'a Checkpoint, threads: Threads) -> Self {
        let mut order: Vec<usize> = (0..target.tensors.len()).collect();
        order.sort_by_key(|&at| Reverse(target.tensors[at].0.bytes()));
        let mut waiting = VecDeque::with_capacity(order.len());
        for tensor in order {
            let (planned, _) = target.tensors[tensor];
            let variables = planned.variables.iter();
            let ranges: Vec<FileRange<'a>> = variables
                .flat_map(|variable| checkpoint.ranges(variable))
                .collect();
            let mut add = |part, ranges| waiting.push_back((Job { tensor, part }, ranges));
            if target.streamed(tensor, checkpoint).is_none() {
                add(None, ranges);
            } else if planned.recipe == Recipe::Transpose {
                // A band has bytes of all rows.
                for band in bands(planned, threads.band) {
                    add(Some(band), ranges.clone());
                }
            } else {
                let len = planned.source_bytes();
                for number in 0..len.div_ceil(threads.part).max(1) {
                    let start = number * threads.part;
                    let part = start..len.min(start + threads.part);
                    let ranges = ranges.iter().map(|range| range.part(&part)).collect();
                    add(Some(part), ranges);
                }
            }
        }
        Self(Mutex::new(waiting))
    }

    /// Takes the next job; waits while the bytes of all jobs are being fetched. A cancellation or an error of the network
    /// ends the wait, because no range is pending then.
    pub(super) fn next(&self) -> Option<Job> {
        loop {
            let mut waiting = self.0.lock();
            let has_arrived = |(_, ranges): &Waiting<'_>| !ranges.iter().any(FileRange::is_pending);
            let next = waiting.iter().position(has_arrived);
            if next.is_some() || waiting.is_empty() {
                return waiting.remove(next?).map(|(job, _)| job);
            }
            drop(waiting);
            thread::sleep(LOOK);
        }
    }

    /// Drops the jobs that are not yet started.
    pub(super) fn clear(&self) {
        self.0.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::ops::Range;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tf_checkpoint::storage::ReadAt;

    use super::*;

    /// A file that arrives from its start.
    #[derive(Debug, Default)]
    struct Arriving {
        arrived: AtomicUsize,
        looks: AtomicUsize,
    }

    impl Arriving {
        /// Waits until a thread has looked for another time at least.
        fn seen(&self) {
            let before = self.looks.load(Ordering::Relaxed);
            while self.looks.load(Ordering::Relaxed) <= before + 2 {
                thread::yield_now();
            }
        }
    }

    impl ReadAt for Arriving {
        fn len(&self) -> u64 {
            4
        }

        fn read_exact_at(&self, _: &mut [u8], _: u64) -> io::Result<()> {
            unreachable!("the queue reads nothing")
        }

        fn is_pending(&self, range: &Range<u64>) -> bool {
            self.looks.fetch_add(1, Ordering::Relaxed);
            self.arrived.load(Ordering::Relaxed) as u64 <= range.start
        }
    }

    #[test]
    fn jobs_come_as_their_bytes_arrive() {
        let file = Arriving::default();
        file.arrived.store(2, Ordering::Relaxed);
        // The last byte comes first.
        let jobs = (0..4_u64).rev().map(|byte| {
            let range = byte..byte + 1;
            let tensor = usize::try_from(byte).unwrap();
            let file: &dyn ReadAt = &file;
            (Job { tensor, part: None }, vec![FileRange { file, range }])
        });
        let queue = Queue(Mutex::new(jobs.collect()));
        let next = || queue.next().map(|job| job.tensor);
        assert_eq!([next(), next()], [Some(1), Some(0)]);
        let waited = thread::scope(|scope| {
            let waiting = scope.spawn(next);
            file.seen();
            file.arrived.store(3, Ordering::Relaxed);
            waiting.join().unwrap()
        });
        assert_eq!(waited, Some(2));
        let cleared = thread::scope(|scope| {
            let waiting = scope.spawn(next);
            file.seen();
            queue.clear();
            waiting.join().unwrap()
        });
        assert_eq!(cleared, None);
    }
}
