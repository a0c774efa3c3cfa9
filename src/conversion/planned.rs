//! Plans a conversion; computes its tensors in memory.

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use rayon::ThreadPool;
use safetensors::Dtype;
use tensor_bytes::AlignedBytes;

use super::reading::{cancelling, explained, make_ready};
use super::request::Conversion;
use super::run::{Export, Run};
use crate::error::Error;
use crate::export::{Destination, convert_tensor};
use crate::plan::{Plan, PlannedTensor};
use crate::progress::{Phase, Progress, Watch};
use crate::threads;
use crate::tokenizer;

impl<'a> Conversion<'a> {
    /// Plans the export of each model. Nothing is written. Attention weights are read if the training
    /// graph does not show the head count, and an HDF5 file that was passed over for a SavedModel, to compare
    /// the two.
    ///
    /// # Errors
    /// Those of [`ElectraCheckpoint::plan`](crate::ElectraCheckpoint::plan), [`Error::SavedTwice`], and [`tokenizer::Error::Needed`] for a
    /// measurement on text without a tokenizer.
    pub fn plan(self) -> Result<PlannedConversion<'a>, Error> {
        self.plan_with(&())
    }

    /// As [`plan`](Self::plan), with progress and cancellation.
    ///
    /// # Errors
    /// As [`plan`](Self::plan).
    pub fn plan_with(self, progress: &dyn Progress) -> Result<PlannedConversion<'a>, Error> {
        let watch = Watch::new(progress);
        let storage = self.checkpoint.checkpoint().location().storage();
        cancelling(storage, None, &watch, || self.plan_watched(&watch))
    }

    /// As [`plan`](Self::plan), with cancellation.
    fn plan_watched(self, watch: &Watch<'_>) -> Result<PlannedConversion<'a>, Error> {
        if self.text.is_some() && self.options.tokenizer.setup().is_none() {
            let what = "--text";
            let looked = self.options.tokenizer.looked_for();
            return Err(tokenizer::Error::Needed { what, looked }.into());
        }
        let plan = |model| {
            let options = self.options_of(model)?;
            self.checkpoint.plan_watched(model, &options, watch)
        };
        let plans = || {
            self.checkpoint.check_saved_twice(watch)?;
            self.models.list().into_iter().map(plan).collect()
        };
        let pool = match &self.pool {
            Some(pool) => Arc::clone(pool),
            None => Arc::new(threads::pool(self.threads).map_err(Error::Threads)?),
        };
        let plans: Result<_, Error> = pool.install(plans);
        let plans = plans?;
        Ok(PlannedConversion {
            conversion: self,
            plans,
            pool,
        })
    }

    /// Plans, and runs the plans: see [`PlannedConversion::run`].
    pub fn run(self, out: impl AsRef<Path>, progress: &dyn Progress) -> Result<Vec<Export>, Error> {
        self.plan_with(progress)?.run(out, progress)
    }
}

/// A conversion with its plans.
#[derive(Clone, Debug)]
pub struct PlannedConversion<'a> {
    conversion: Conversion<'a>,
    plans: Vec<Plan>,
    /// The threads that plan and convert: no others are started.
    pool: Arc<ThreadPool>,
}

impl PlannedConversion<'_> {
    /// Returns the plan of each model.
    pub fn plans(&self) -> &[Plan] {
        &self.plans
    }

    /// Returns the warnings of the plans, each once.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<String> = Vec::new();
        for warning in self.plans.iter().flat_map(|plan| &plan.warnings) {
            if !warnings.contains(warning) {
                warnings.push(warning.clone());
            }
        }
        warnings
    }

    /// Writes the planned models, verifies them and publishes them together in the directory `out`, which may be the
    /// URL of a directory in a bucket (feature `cloud`).
    ///
    /// `progress` covers all phases, verification and upload included, and may stop them. On any error `out` is
    /// as it was before, except after [`Stranded`](crate::export::Error::Stranded) and
    /// [`Unclean`](crate::export::Error::Unclean).
    pub fn run(self, out: impl AsRef<Path>, progress: &dyn Progress) -> Result<Vec<Export>, Error> {
        let Self {
            conversion,
            plans,
            pool,
        } = self;
        let destination = Destination::of(out.as_ref())?;
        for tensor in plans.iter().flat_map(|plan| &plan.tensors) {
            tensor.check_present(conversion.checkpoint.checkpoint())?;
        }
        let watch = Watch::new(progress);
        let run = Run {
            conversion: &conversion,
            destination: &destination,
            watch: &watch,
        };
        let storage = conversion.checkpoint.checkpoint().location().storage();
        let publish = || pool.install(|| run.publish(plans));
        cancelling(storage, Some(&destination), &watch, publish)
    }

    /// Computes the planned tensors in memory, on all threads, and passes each of them to `take`, in any order.
    /// Nothing is written. The CRC-32C of each variable is checked where the checkpoint has it.
    pub fn compute(
        &self,
        progress: &dyn Progress,
        take: &mut (dyn FnMut(ComputedTensor) + Send),
    ) -> Result<(), Error> {
        let checkpoint = self.conversion.checkpoint.checkpoint();
        let tensors: Vec<&PlannedTensor> =
            self.plans.iter().flat_map(|plan| &plan.tensors).collect();
        for tensor in &tensors {
            tensor.check_present(checkpoint)?;
        }
        let watch = Watch::new(progress);
        let take = Mutex::new(take);
        let compute = || {
            checkpoint.prepare(self.plans.iter().flat_map(Plan::variables));
            make_ready(checkpoint, &self.plans, &watch)?;
            let total = tensors.iter().map(|tensor| tensor.source_bytes()).sum();
            watch.begin(Phase::Converting, total);
            threads::map(tensors.len(), |at| {
                let tensor = tensors[at];
                watch.check()?;
                let bytes = convert_tensor(tensor, checkpoint)?;
                take.lock()(ComputedTensor {
                    name: tensor.name.clone(),
                    shape: tensor.shape.clone(),
                    dtype: tensor.cast.to,
                    bytes,
                });
                Ok::<_, Error>(watch.advance(tensor.source_bytes())?)
            })?;
            Ok(())
        };
        let compute = || explained(checkpoint, self.pool.install(compute));
        cancelling(checkpoint.location().storage(), None, &watch, compute)
    }
}

/// A tensor in memory.
#[derive(Debug)]
#[non_exhaustive]
pub struct ComputedTensor {
    /// The name in transformers.
    pub name: String,
    /// The shape.
    pub shape: Vec<usize>,
    /// The element type.
    pub dtype: Dtype,
    /// The elements, row-major, little-endian.
    pub bytes: AlignedBytes,
}
