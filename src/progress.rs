//! Progress and cancellation: one mechanism for every phase.
//!
//! A caller gives a [`Progress`] by reference. The work calls it often, at least between the tensors
//! and the layers of a model, and stops as soon as it answers `Break`.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A part of the work, with a total of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// The checkpoint's files are made ready, an archive's inflated; the unit is a file. Nothing has
    /// been written to OUT.
    Reading,
    /// Tensors are converted and written. From here on an interrupted process must clean up.
    Converting,
    /// The written files are verified.
    Verifying,
    /// A model is measured on text; the unit is a sequence.
    Measuring,
}

impl Phase {
    /// The name, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reading => "reading",
            Self::Converting => "converting",
            Self::Verifying => "verifying",
            Self::Measuring => "measuring",
        }
    }

    /// True if the unit of the total is a byte.
    pub fn is_in_bytes(self) -> bool {
        matches!(self, Self::Converting | Self::Verifying)
    }
}

/// Receives progress and may stop the work.
pub trait Progress: Sync {
    /// A phase begins; all further units are its own. Their sum never exceeds `total`.
    fn begin(&self, phase: Phase, total: u64) {
        let _ = (phase, total);
    }

    /// So many more units are done, possibly none; `Break` stops the work, which then cleans up.
    fn advance(&self, units: u64) -> ControlFlow<()>;
}

/// Ignores progress and never stops.
impl Progress for () {
    fn advance(&self, _units: u64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// The work was stopped.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("interrupted")]
pub(crate) struct Stopped;

/// A [`Progress`] with its bookkeeping: units stay within the total, and a stop is remembered, so that
/// it is not lost in an error of a library in between.
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

    /// Counts units, as far as the total allows.
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

    /// Asks whether to go on.
    pub(crate) fn check(&self) -> Result<(), Stopped> {
        self.advance(0)
    }

    /// As [`check`](Self::check), for use between the operations of candle.
    pub(crate) fn check_candle(&self) -> candle_core::Result<()> {
        self.check().map_err(candle_core::Error::wrap)
    }

    /// Counts what is left of the phase.
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
