//! The jobs, their sizes, and which of them is done next.
//!
//! The largest tensors come first: the last jobs are small, so that all threads end together. Tensors that are fetched
//! over a network come as they arrive: a slow connection delays its own tensors only.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use tf_checkpoint::Checkpoint;

use super::kernel::bands;
use super::steps::STEP;
use super::target::Target;
use super::worker::Job;
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
    /// Returns the number of threads, `requested` or as many as there are cores, and divides the memory
    /// among them. By default there are only so many threads that the largest kernel fits into the memory
    /// of one, because more threads would only wait for each other's writes; but there are at least two of
    /// the cores.
    pub(super) fn new(target: &Target<'_>, requested: Option<NonZeroUsize>) -> Self {
        let transposed = target
            .tensors
            .iter()
            .map(|(tensor, _)| match tensor.recipe {
                Recipe::Copy => STEP,
                _ => tensor.bytes(),
            });
        let largest = transposed.max().unwrap_or(STEP).max(1);
        let count = requested.map_or_else(
            || available().min((BANDS / largest).max(2)),
            NonZeroUsize::get,
        );
        Self {
            count,
            band: (BANDS / count).max(MIN_BAND),
            part: PART,
        }
    }
}

/// The jobs that are not yet started.
pub(super) struct Queue<F> {
    waiting: Mutex<VecDeque<Job>>,
    /// Returns true if bytes that a job reads are being fetched.
    is_coming: F,
}

impl<F: Fn(&Job) -> bool> Queue<F> {
    /// Takes the next job; waits while the bytes of all jobs are being fetched.
    pub(super) fn next(&self) -> Option<Job> {
        loop {
            let mut waiting = self.waiting.lock();
            let next = waiting.iter().position(|job| !(self.is_coming)(job));
            if next.is_some() || waiting.is_empty() {
                return waiting.remove(next?);
            }
            drop(waiting);
            thread::sleep(LOOK);
        }
    }

    /// Drops the jobs that are not yet started.
    pub(super) fn clear(&self) {
        self.waiting.lock().clear();
    }
}

/// Returns the jobs that write all tensors.
pub(super) fn queue<'a>(
    target: &'a Target<'a>,
    checkpoint: &'a Checkpoint,
    threads: Threads,
) -> Queue<impl Fn(&Job) -> bool + 'a> {
    let is_coming = |job: &Job| {
        let (tensor, _) = target.tensors[job.tensor];
        tensor.variables.iter().any(|variable| {
            let Some(stored) = checkpoint.contiguous(variable) else {
                return false;
            };
            match &job.part {
                Some(part) if tensor.recipe == Recipe::Copy => stored.is_coming(part),
                // A band has bytes of all rows.
                _ => stored.is_coming(&(0..variable.bytes())),
            }
        })
    };
    Queue {
        waiting: Mutex::new(jobs(target, checkpoint, threads)),
        is_coming,
    }
}

fn jobs(target: &Target<'_>, checkpoint: &Checkpoint, threads: Threads) -> VecDeque<Job> {
    let mut order: Vec<usize> = (0..target.tensors.len()).collect();
    if !checkpoint.location().storage().is_remote() {
        order.sort_by_key(|&at| std::cmp::Reverse(target.tensors[at].0.bytes()));
    }
    let mut jobs = VecDeque::with_capacity(order.len());
    for tensor in order {
        let (planned, _) = target.tensors[tensor];
        let mut add = |part| jobs.push_back(Job { tensor, part });
        if target.streamed(tensor, checkpoint).is_none() {
            add(None);
        } else if planned.recipe == Recipe::Transpose {
            bands(planned, threads.band)
                .into_iter()
                .map(Some)
                .for_each(add);
        } else {
            let len = planned.source_bytes();
            let part = threads.part;
            let starts = (0..len.div_ceil(part).max(1)).map(|n| n * part);
            starts.for_each(|start| add(Some(start..len.min(start + part))));
        }
    }
    jobs
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn jobs_come_as_their_bytes_arrive() {
        // A bit for each job.
        let arrived = AtomicUsize::new(0b0110);
        let jobs = (0..4).map(|tensor| Job { tensor, part: None });
        let queue = Queue {
            waiting: Mutex::new(jobs.collect()),
            is_coming: |job: &Job| arrived.load(Ordering::Relaxed) >> job.tensor & 1 == 0,
        };
        let next = || queue.next().map(|job| job.tensor);
        assert_eq!([next(), next()], [Some(1), Some(2)]);
        let waited = thread::scope(|scope| {
            let waiting = scope.spawn(next);
            arrived.store(0b1110, Ordering::Relaxed);
            waiting.join().unwrap()
        });
        assert_eq!(waited, Some(3));
        queue.clear();
        assert_eq!(next(), None);
    }
}
