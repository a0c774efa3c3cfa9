//! What every read of a checkpoint needs: cancellation, a changed file, archives.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use tf_checkpoint::storage::Storage;
use tf_checkpoint::{Checkpoint, Variable};

use crate::error::Error;
use crate::export::{self, Destination};
use crate::plan::Plan;
use crate::progress::{Phase, Stopped, Watch};
use crate::threads;

/// Runs `work`, and ends reads and uploads that wait for a network as soon as `watch` cancels it.
pub(crate) fn cancelling<T>(
    storage: &dyn Storage,
    destination: Option<&Destination>,
    watch: &Watch<'_>,
    work: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    let writes = destination.is_some_and(Destination::is_remote);
    if !storage.is_remote() && !writes {
        return work();
    }
    let result = threads::observed(work, || {
        if let Some(bytes) = storage.fetched_bytes() {
            watch.fetched(bytes);
        }
        if watch.check().is_ok() {
            return ControlFlow::Continue(());
        }
        storage.cancel();
        if let Some(destination) = destination {
            destination.cancel();
        }
        ControlFlow::Break(())
    });
    match result.map_err(Error::Threads)? {
        // It names what is left in a bucket.
        Err(error @ Error::Export(export::Error::Unclean { .. })) => Err(error),
        // The error of a read or an upload that was cancelled.
        Err(_) if watch.is_stopped() => Err(Stopped.into()),
        result => result,
    }
}

/// Fails if the checkpoint has changed, which explains a checksum mismatch. What was read of a file in a bucket belongs
/// to one version of it, and the checksums are those of the index: there, a success needs no explanation.
pub(super) fn explained<T>(checkpoint: &Checkpoint, result: Result<T, Error>) -> Result<T, Error> {
    if result.is_err() || !checkpoint.location().storage().is_remote() {
        checkpoint.check_unchanged()?;
    }
    result
}

/// Reads one variable of every data file, so that files in an archive are inflated before anything is
/// written.
pub(super) fn make_ready(
    checkpoint: &Checkpoint,
    plans: &[Plan],
    watch: &Watch<'_>,
) -> Result<(), Error> {
    let mut smallest: BTreeMap<usize, &Variable> = BTreeMap::new();
    for variable in plans.iter().flat_map(Plan::variables) {
        for piece in &variable.pieces {
            let known = smallest.entry(piece.shard).or_insert(variable);
            if variable.bytes() < known.bytes() {
                *known = variable;
            }
        }
    }
    watch.begin(Phase::Reading, smallest.len() as u64);
    for variable in smallest.into_values() {
        let len = usize::try_from(variable.bytes()).expect("checked when opened");
        checkpoint.read(variable, &mut vec![0; len])?;
        watch.advance(1)?;
    }
    Ok(())
}
