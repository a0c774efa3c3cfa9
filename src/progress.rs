//! Progress and cancellation: one mechanism for every phase.
//!
//! A caller passes a [`Progress`] by reference. It is called often, at least between the tensors and the
//! layers of a model, and the work is cancelled as soon as it returns `Break`.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A phase of the work, with its own total.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// A checkpoint in a bucket is opened: its index and training graph, or a compressed archive, are fetched. There is no
    /// total; [`Progress::fetched`] counts the bytes. It begins only if that takes longer than a moment.
    Opening,
    /// Attention weights are read, if they must show the head count. Then data files are opened, and those in
    /// an archive inflated. The unit is a variable. Nothing has been written to the output directory.
    Reading,
    /// Tensors are converted and written; the unit is a byte. From here on a cancelled process must clean
    /// up.
    Converting,
    /// The written files are verified; the unit is a byte.
    Verifying,
    /// A model is compared with the training graph; the unit is a byte of the weights that either side reads.
    Comparing,
    /// A model is measured on text; the unit is a sequence.
    Measuring,
    /// The verified files are uploaded to a bucket; the unit is a byte. It does not begin for a disk.
    Uploading,
    /// Uploaded weights are read again and compared; the unit is a byte. It begins only for a store that verifies no
    /// checksum.
    ReadingBack,
}

impl Phase {
    /// Returns the name in words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Reading => "reading",
            Self::Converting => "converting",
            Self::Verifying => "verifying",
            Self::Comparing => "comparing",
            Self::Measuring => "measuring",
            Self::Uploading => "uploading",
            Self::ReadingBack => "reading back",
        }
    }

    /// True if the unit of the total is a byte.
    pub fn is_in_bytes(self) -> bool {
        match self {
            Self::Converting
            | Self::Verifying
            | Self::Comparing
            | Self::Uploading
            | Self::ReadingBack => true,
            Self::Opening | Self::Reading | Self::Measuring => false,
        }
    }
}

/// Receives progress and may cancel the work.
pub trait Progress: Sync {
    /// Begins a phase of `total` units. The units of all following calls of [`advance`](Self::advance) belong
    /// to it; their sum never exceeds `total`.
    fn begin(&self, phase: Phase, total: u64) {
        let _ = (phase, total);
    }

    /// Receives the number of bytes that were fetched over a network so far, some times a second while a checkpoint in a
    /// bucket is read.
    fn fetched(&self, bytes: u64) {
        let _ = bytes;
    }

    /// Adds finished units, possibly none. Returning `Break` cancels the work, which then cleans up.
    fn advance(&self, units: u64) -> ControlFlow<()>;
}

/// Forwards everything.
impl<P: Progress + ?Sized> Progress for &P {
    fn begin(&self, phase: Phase, total: u64) {
        (**self).begin(phase, total);
    }

    fn fetched(&self, bytes: u64) {
        (**self).fetched(bytes);
    }

    fn advance(&self, units: u64) -> ControlFlow<()> {
        (**self).advance(units)
    }
}

/// Ignores progress and never cancels.
impl Progress for () {
    fn advance(&self, _units: u64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// The work was cancelled.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("interrupted")]
pub(crate) struct Stopped;

/// A [`Progress`] with its state: units are limited to the total, and a cancellation is remembered, so
/// that it is not lost in an error of a library between caller and callee.
pub(crate) struct Watch<'a> {
    progress: &'a dyn Progress,
    left: AtomicU64,
    stopped: AtomicBool,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(progress: &'a dyn Progress) -> Self {
        Self {
            progress,
            left: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
        }
    }

    /// Begins a phase.
    pub(crate) fn begin(&self, phase: Phase, total: u64) {
        self.left.store(total, Ordering::Relaxed);
        self.progress.begin(phase, total);
    }

    /// Reports the number of bytes that were fetched over a network so far.
    pub(crate) fn fetched(&self, bytes: u64) {
        self.progress.fetched(bytes);
    }

    /// Adds units, limited to the rest of the total.
    pub(crate) fn advance(&self, units: u64) -> Result<(), Stopped> {
        let take = |left: u64| Some(left.saturating_sub(units));
        let left = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .unwrap_or_default();
        if self.progress.advance(units.min(left)).is_break() {
            self.stopped.store(true, Ordering::Relaxed);
        }
        if self.is_stopped() {
            Err(Stopped)
        } else {
            Ok(())
        }
    }

    /// Returns an error if the work was cancelled.
    pub(crate) fn check(&self) -> Result<(), Stopped> {
        self.advance(0)
    }

    /// As [`check`](Self::check), for use between the operations of candle.
    pub(crate) fn check_candle(&self) -> candle_core::Result<()> {
        self.check().map_err(candle_core::Error::wrap)
    }

    /// Adds the rest of the total.
    pub(crate) fn end(&self) -> Result<(), Stopped> {
        self.advance(u64::MAX)
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    #[test]
    fn units_stay_within_the_total_of_each_phase() {
        struct TensorChecksums(Mutex<Vec<(u64, u64)>>);
        impl Progress for TensorChecksums {
            fn begin(&self, _phase: Phase, total: u64) {
                self.0.lock().push((total, 0));
            }
            fn advance(&self, units: u64) -> ControlFlow<()> {
                self.0.lock().last_mut().unwrap().1 += units;
                ControlFlow::Continue(())
            }
        }
        let sums = TensorChecksums(Mutex::default());
        let watch = Watch::new(&sums);
        watch.begin(Phase::Converting, 10);
        watch.advance(4).unwrap();
        watch.advance(40).unwrap();
        watch.begin(Phase::Verifying, 7);
        watch.advance(1).unwrap();
        watch.end().unwrap();
        assert_eq!(*sums.0.lock(), [(10, 10), (7, 7)]);
    }
}
