//! Limits on the memory and the work of an evaluation.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::failure::{Failure, invalid};

/// The most axes of an array. TensorFlow's own kernels support 8 in most operations.
pub(crate) const MAX_RANK: usize = 16;

/// Limits on the memory and the work of an evaluation, and a way to cancel it.
///
/// The memory is that of the values that are alive, and of the one that is about to be computed.
pub struct Meter<'a> {
    memory: u64,
    live: AtomicU64,
    work: AtomicU64,
    cancel: &'a (dyn Fn() -> bool + Sync),
}

impl<'a> Meter<'a> {
    /// Returns a meter with limits in bytes and in floating-point operations, and a function that returns
    /// true once the evaluation is to stop.
    pub fn new(memory: u64, work: u64, cancel: &'a (dyn Fn() -> bool + Sync)) -> Self {
        Self {
            memory,
            live: AtomicU64::new(0),
            work: AtomicU64::new(work),
            cancel,
        }
    }

    /// Returns the bytes of live values.
    pub fn live(&self) -> u64 {
        self.live.load(Relaxed)
    }

    /// Returns the work that is left, in floating-point operations.
    pub fn work_left(&self) -> u64 {
        self.work.load(Relaxed)
    }

    /// Fails if the evaluation was cancelled.
    pub fn check_cancelled(&self) -> Result<(), Failure> {
        if (self.cancel)() {
            return Err(Failure::Cancelled);
        }
        Ok(())
    }

    /// Records that a value of this many bytes is live.
    pub(crate) fn hold(&self, bytes: usize) {
        self.live.fetch_add(bytes as u64, Relaxed);
    }

    /// Records that a value of this many bytes was freed.
    pub(crate) fn release(&self, bytes: usize) {
        let freed = |live: u64| Some(live.saturating_sub(bytes as u64));
        // The closure always returns a value, so the update cannot fail.
        let _ = self.live.fetch_update(Relaxed, Relaxed, freed);
    }

    /// Checks that an array of this shape fits into the memory that is left; returns its number of elements.
    pub(crate) fn room<T>(&self, shape: &[usize]) -> Result<usize, Failure> {
        if shape.len() > MAX_RANK {
            return invalid(format!(
                "the result has {} axes; the most supported is {MAX_RANK}",
                shape.len()
            ));
        }
        // Axes of length 0 do not hide overflow: ndarray checks the product of the others.
        let product = |shape: &[usize]| {
            shape
                .iter()
                .try_fold(size_of::<T>().max(1), |product, &axis| {
                    product.checked_mul(axis.max(1))
                })
        };
        let available = self.memory.saturating_sub(self.live());
        let too_large = |needed| {
            Err(Failure::TooLarge {
                what: "memory",
                unit: "bytes",
                needed,
                available,
            })
        };
        let Some(bytes) = product(shape).filter(|&bytes| isize::try_from(bytes).is_ok()) else {
            return too_large(u64::MAX);
        };
        if shape.contains(&0) {
            return Ok(0);
        }
        if bytes as u64 > available {
            return too_large(bytes as u64);
        }
        Ok(bytes / size_of::<T>().max(1))
    }

    /// Subtracts floating-point operations from the work that is left.
    pub(crate) fn work(&self, operations: u64) -> Result<(), Failure> {
        self.check_cancelled()?;
        let spend = |left: u64| left.checked_sub(operations);
        match self.work.fetch_update(Relaxed, Relaxed, spend) {
            Ok(_) => Ok(()),
            Err(available) => Err(Failure::TooLarge {
                what: "work",
                unit: "floating-point operations",
                needed: operations,
                available,
            }),
        }
    }
}

impl Meter<'static> {
    /// Returns a meter for values that do not depend on what is fed: shapes, conditions, rates.
    pub(crate) fn small() -> Self {
        Self::new(1 << 26, 1 << 30, &|| false)
    }
}

impl fmt::Debug for Meter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter")
            .field("memory", &self.memory)
            .field("live", &self.live)
            .field("work", &self.work)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_are_checked_without_overflow() {
        let meter = Meter::new(1000, 10, &|| false);
        assert_eq!(meter.room::<f32>(&[5, 50]), Ok(250));
        assert!(matches!(
            meter.room::<f32>(&[5, 51]),
            Err(Failure::TooLarge { needed: 1020, .. })
        ));
        meter.hold(900);
        assert!(meter.room::<f32>(&[5, 50]).is_err());
        meter.release(900);
        assert_eq!(meter.room::<f32>(&[5, 50]), Ok(250));
        assert!(meter.room::<f32>(&[usize::MAX, usize::MAX]).is_err());
        assert!(meter.room::<f32>(&[0, usize::MAX]).is_err());
        assert!(meter.room::<f32>(&[1; MAX_RANK + 1]).is_err());
        assert_eq!(meter.room::<f32>(&[0, 7]), Ok(0));
    }

    #[test]
    fn work_runs_out() {
        let meter = Meter::new(0, 10, &|| false);
        assert_eq!(meter.work(6), Ok(()));
        assert!(matches!(
            meter.work(5),
            Err(Failure::TooLarge { available: 4, .. })
        ));
        assert_eq!(Meter::new(0, 10, &|| true).work(1), Err(Failure::Cancelled));
    }
}
