//! The whole job: choose models and options, plan, run.
//!
//! A [`Conversion`] is a builder over an open checkpoint. [`plan`](Conversion::plan) turns it into a
//! [`PlannedConversion`], which shows what will be done, and [`run`](PlannedConversion::run) does it: the
//! tensors are streamed into a staging directory, verified there, and published together. On any error the output directory is as it was before.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rayon::ThreadPool;
use safetensors::Dtype;
use tensor_bytes::AlignedBytes;
use tf_checkpoint::storage::Storage;
use tf_checkpoint::{Checkpoint, Variable};

use crate::electra_checkpoint::ElectraCheckpoint;
use crate::error::Error;
use crate::export::{
    self, CARD_FILE, CONFIG_FILE, Destination, ExportFiles, Parts, RECORD_FILE, Stage,
    WEIGHTS_FILE, convert_tensor, provenance, write_safetensors, write_text,
};
use crate::model_card::{Described, ModelCard};
use crate::plan::{Plan, PlanOptions, PlannedTensor};
use crate::probe::text_check::Text;
use crate::progress::{Phase, Progress, Stopped, Watch};
use crate::record::Record;
use crate::threads;
use crate::tokenizer;
use crate::variables::{Model, follows_head_rule};
use crate::verify::{self, CompareWith, References, Report};

/// The models to export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Models {
    /// One model, into the output directory itself.
    One(Model),
    /// Discriminator and generator, each into a directory named after it.
    Both,
}

impl Models {
    /// Returns the models, in the order in which they are exported.
    pub fn list(self) -> Vec<Model> {
        match self {
            Self::One(model) => vec![model],
            Self::Both => Model::BOTH.into(),
        }
    }

    /// Returns the name in options and in JSON.
    pub fn key(self) -> &'static str {
        match self {
            Self::One(model) => model.key(),
            Self::Both => "both",
        }
    }

    /// Returns the path of a file of `model` below the output directory.
    pub(crate) fn below_out(self, model: Model, file: &str) -> PathBuf {
        match self {
            Self::One(_) => PathBuf::from(file),
            Self::Both => Path::new(model.key()).join(file),
        }
    }
}

impl From<Model> for Models {
    fn from(model: Model) -> Self {
        Self::One(model)
    }
}

/// A text that a model is measured on.
#[derive(Clone, Debug)]
pub struct TextRequest {
    /// A few kilobytes in the model's language.
    pub text: String,
    /// The file that the text comes from, for messages.
    pub path: PathBuf,
    /// The seed of everything that is drawn at random.
    pub seed: u64,
}

/// A conversion: a checkpoint, the models to export, and options with defaults.
///
/// ```no_run
/// use electra_convert::{Conversion, ElectraCheckpoint, Model};
///
/// let checkpoint = ElectraCheckpoint::open("model.ckpt-400")?;
/// let exports = Conversion::new(&checkpoint, Model::Discriminator).run("out", &())?;
/// println!("wrote {} tensors", exports[0].plan.tensors.len());
/// # Ok::<(), electra_convert::Error>(())
/// ```
#[derive(Clone, Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the builder"
)]
pub struct Conversion<'a> {
    checkpoint: &'a ElectraCheckpoint,
    models: Models,
    options: PlanOptions,
    replace: bool,
    verify: bool,
    compare_with_graph: bool,
    threads: Option<NonZeroUsize>,
    text: Option<TextRequest>,
    model_card: Option<ModelCard>,
    for_page: bool,
    record: Option<Record>,
    pool: Option<Arc<ThreadPool>>,
}

impl<'a> Conversion<'a> {
    /// Creates a conversion of `models` with the default options: element types are kept, the result is
    /// verified, an earlier export is not replaced, no tokenizer is written.
    pub fn new(checkpoint: &'a ElectraCheckpoint, models: impl Into<Models>) -> Self {
        Self {
            checkpoint,
            models: models.into(),
            options: PlanOptions::default(),
            replace: false,
            verify: true,
            compare_with_graph: true,
            threads: None,
            text: None,
            model_card: None,
            for_page: false,
            record: None,
            pool: None,
        }
    }

    /// Sets the options that shape the plans.
    #[must_use]
    pub fn options(mut self, options: PlanOptions) -> Self {
        self.options = options;
        self
    }

    /// Replaces an earlier export in the output directory, as a whole.
    #[must_use]
    pub fn replace(mut self, replace: bool) -> Self {
        self.replace = replace;
        self
    }

    /// Verifies what was written before it is published; the default.
    #[must_use]
    pub fn verify(mut self, verify: bool) -> Self {
        self.verify = verify;
        self
    }

    /// Compares the models with the training graph as a part of verification, if there is one; the default.
    #[must_use]
    pub fn compare_with_graph(mut self, compare: bool) -> Self {
        self.compare_with_graph = compare;
        self
    }

    /// Limits the number of threads that convert and verify; by default it is the number of cores.
    #[must_use]
    pub fn threads(mut self, threads: Option<NonZeroUsize>) -> Self {
        self.threads = threads;
        self
    }

    /// Measures the models on a text as a part of verification.
    #[must_use]
    pub fn text(mut self, text: Option<TextRequest>) -> Self {
        self.text = text;
        self
    }

    /// Writes a model card (`README.md`) for each model; by default none.
    #[must_use]
    pub fn model_card(mut self, card: Option<ModelCard>) -> Self {
        self.model_card = card;
        self
    }

    /// Also measures during verification what only a [`Page`](crate::report::Page) shows.
    #[must_use]
    pub fn for_page(mut self, for_page: bool) -> Self {
        self.for_page = for_page;
        self
    }

    /// Writes a record of the inputs beside each model.
    #[must_use]
    pub(crate) fn record(mut self, record: Option<Record>) -> Self {
        self.record = record;
        self
    }

    /// Converts on the threads of `pool`, which conversions share, instead of starting some.
    #[must_use]
    pub(crate) fn pool(mut self, pool: Arc<ThreadPool>) -> Self {
        self.pool = Some(pool);
        self
    }

    /// Plans the export of each model. Nothing is written. Attention weights are read if the training
    /// graph does not show the head count, and an HDF5 file that was passed over for a SavedModel, to compare
    /// the two.
    ///
    /// # Errors
    /// Those of [`ElectraCheckpoint::plan`], [`Error::SavedTwice`], and [`tokenizer::Error::Needed`] for a
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
        if self.text.is_some() && self.options.tokenizer.is_none() {
            return Err(tokenizer::Error::Needed { what: "--text" }.into());
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

    /// As [`plan`](Self::plan), without reading any values: settings that only values or an evaluation of the training
    /// graph show have a default, or are an error.
    pub(crate) fn plan_by_index(&self) -> Result<Vec<Plan>, Error> {
        let models = self.models.list().into_iter();
        let plan = |model| {
            let options = self.options_of(model)?;
            self.checkpoint.plan_by_index(model, &options)
        };
        models.map(plan).collect()
    }

    /// Plans, and runs the plans: see [`PlannedConversion::run`].
    pub fn run(self, out: impl AsRef<Path>, progress: &dyn Progress) -> Result<Vec<Export>, Error> {
        self.plan_with(progress)?.run(out, progress)
    }

    /// Returns the options for one of the models.
    fn options_of(&self, model: Model) -> Result<Cow<'_, PlanOptions>, Error> {
        Ok(match self.models {
            Models::One(_) => Cow::Borrowed(&self.options),
            Models::Both => Cow::Owned(self.options_for(model)?),
        })
    }

    /// Returns the options for `model` where both models are exported: options about the
    /// configuration describe the discriminator.
    fn options_for(&self, model: Model) -> Result<PlanOptions, Error> {
        let mut options = self.options.clone();
        let (_, scopes) = self.checkpoint.setup()?.place(model)?;
        if follows_head_rule(model, scopes) {
            options.config = options.config.for_generator_beside();
        }
        Ok(options)
    }
}

/// A published model.
#[derive(Debug)]
#[non_exhaustive]
pub struct Export {
    /// What was done.
    pub plan: Plan,
    /// The files that were written with their lengths in bytes, in the order in which they appeared.
    pub files: Vec<(PathBuf, u64)>,
    /// What verification found; `None` if it was switched off.
    pub report: Option<Report>,
    /// The training step; `None` if it is not known.
    pub step: Option<u64>,
    /// Warnings about files that were in the output directory and stay there.
    pub warnings: Vec<String>,
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

    /// Writes the planned models, verifies them and publishes them together in the directory `out`, which may be the
    /// URL of a directory in a bucket (feature `cloud`).
    ///
    /// `progress` covers all phases, verification and upload included, and may stop them. On any error `out` is
    /// as it was before, except after [`Stranded`](export::Error::Stranded) and
    /// [`Unclean`](export::Error::Unclean).
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

/// Runs `work`, and ends reads and uploads that wait for a network as soon as `watch` cancels it.
fn cancelling<T>(
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
    match result {
        // It names what is left in a bucket.
        Err(error @ Error::Export(export::Error::Unclean { .. })) => Err(error),
        // The error of a read or an upload that was cancelled.
        Err(_) if watch.is_stopped() => Err(Stopped.into()),
        result => result,
    }
}

/// A conversion that is running.
struct Run<'a> {
    conversion: &'a Conversion<'a>,
    destination: &'a Destination,
    watch: &'a Watch<'a>,
}

impl Run<'_> {
    fn publish(&self, plans: Vec<Plan>) -> Result<Vec<Export>, Error> {
        let source = self.conversion.checkpoint;
        let checkpoint = source.checkpoint();
        let files = self.files(&plans);
        self.destination.check(&files, self.conversion.replace)?;
        checkpoint.prepare(plans.iter().flat_map(Plan::variables));
        let ready = make_ready(checkpoint, &plans, self.watch).and_then(|()| source.step());
        let step = explained(checkpoint, ready)?;
        // Before there is anything that a signal must not leave behind.
        self.watch.begin(Phase::Converting, 0);
        self.watch.check()?;
        let stage = Stage::new(self.destination, files, self.conversion.replace)?;

        let mut exports = Vec::with_capacity(plans.len());
        for plan in plans {
            let below = |file: &str| self.conversion.models.below_out(plan.model, file);
            let staged = self.write(&plan, |file| stage.path(&below(file)));
            let mut staged = explained(checkpoint, staged)?;
            let verify = || self.verify(&plan, &stage);
            let report = self.conversion.verify.then(verify).transpose()?;
            self.watch.check()?;
            if let Some(card) = &self.conversion.model_card {
                let text = card.text(&Described {
                    plan: &plan,
                    checkpoint: &checkpoint.location().name(),
                    step,
                    report: report.as_ref(),
                });
                let len = write_text(&text, &stage.path(&below(CARD_FILE)))?;
                // The order in which files appear begins with the card.
                staged.insert(0, (CARD_FILE, len));
            }
            if let Some(record) = &self.conversion.record {
                let text = record.text(&staged);
                let len = write_text(&text, &stage.path(&below(RECORD_FILE)))?;
                // Before the weights.
                staged.insert(staged.len() - 1, (RECORD_FILE, len));
            }
            let published = |(file, len)| (self.destination.path(&below(file)), len);
            exports.push(Export {
                files: staged.into_iter().map(published).collect(),
                report,
                plan,
                step,
                warnings: Vec::new(),
            });
        }
        let warnings = stage.publish(self.watch)?;
        if let Some(first) = exports.first_mut() {
            first.warnings = warnings;
        }
        Ok(exports)
    }

    /// Lists the files to write.
    fn files(&self, plans: &[Plan]) -> ExportFiles {
        let models = plans.iter().map(|plan| {
            let folder = self.conversion.models.below_out(plan.model, "");
            let parts = Parts {
                tokenizer: plan.tokenizer.is_some(),
                card: self.conversion.model_card.is_some(),
                record: self.conversion.record.is_some(),
            };
            (folder, parts)
        });
        let checkpoint = self.conversion.checkpoint.checkpoint();
        ExportFiles::new(models, checkpoint.location().folder().to_owned())
    }

    /// Writes every file of a model to the path that `path` gives it; returns the files with their
    /// lengths.
    fn write(
        &self,
        plan: &Plan,
        path: impl Fn(&str) -> PathBuf,
    ) -> Result<Vec<(&'static str, u64)>, Error> {
        let tensors = plan.tensors.iter();
        let total = tensors.map(PlannedTensor::source_bytes).sum();
        self.watch.begin(Phase::Converting, total);
        let mut texts = vec![(CONFIG_FILE, plan.config().to_json())];
        if let Some(tokenizer) = &plan.tokenizer {
            texts.extend(tokenizer.files(plan.config().max_position_embeddings)?);
        }
        let mut written = Vec::new();
        for (file, text) in texts {
            written.push((file, write_text(&text, &path(file))?));
        }
        let source = self.conversion.checkpoint;
        let checkpoint = source.checkpoint();
        let metadata = provenance(plan, checkpoint.location(), source.step()?);
        let weights = path(WEIGHTS_FILE);
        let len = write_safetensors(
            plan,
            checkpoint,
            &metadata,
            &weights,
            self.conversion.threads,
            self.watch,
        )?;
        written.push((WEIGHTS_FILE, len));
        Ok(written)
    }

    /// Verifies a staged model; a failed check is an error.
    fn verify(&self, plan: &Plan, stage: &Stage) -> Result<Report, Error> {
        let weights = stage.path(&self.conversion.models.below_out(plan.model, WEIGHTS_FILE));
        let folder = weights.parent().unwrap_or(&weights);
        let generator = match &self.conversion.text {
            Some(_) if plan.model == Model::Discriminator => self.stage_generator(stage)?,
            _ => None,
        };
        let text = self.conversion.text.as_ref().map(|text| Text {
            text: &text.text,
            path: &text.path,
            generator: generator.as_deref(),
            seed: text.seed,
        });
        let graph = self.conversion.checkpoint.training_graph();
        let references = References {
            golden: None,
            graph: graph.filter(|_| self.conversion.compare_with_graph),
            text,
            for_page: self.conversion.for_page,
        };
        let checkpoint = self.conversion.checkpoint.checkpoint();
        let original = CompareWith::Checkpoint(checkpoint, plan);
        let report = verify::watched(folder, original, references, self.watch);
        self.watch.check()?;
        let report = report?;
        if report.passed() {
            return Ok(report);
        }
        Err(Error::Rejected {
            model: plan.model,
            report: Box::new(report),
        })
    }

    /// Writes the generator of the checkpoint into a scratch directory of the stage, for a measurement
    /// that needs it; returns `None` if there is no generator.
    fn stage_generator(&self, stage: &Stage) -> Result<Option<PathBuf>, Error> {
        let source = self.conversion.checkpoint;
        if source.setup()?.place(Model::Generator).is_err() {
            return Ok(None);
        }
        let mut options = self.conversion.options_for(Model::Generator)?;
        options.allow_inexact = true;
        let plan = source.plan_watched(Model::Generator, &options, self.watch)?;
        let folder = stage.scratch(Model::Generator.key())?;
        self.write(&plan, |file| folder.join(file))?;
        Ok(Some(folder))
    }
}

/// Fails if the checkpoint has changed, which explains a checksum mismatch. What was read of a file in a bucket belongs
/// to one version of it, and the checksums are those of the index: there, a success needs no explanation.
fn explained<T>(checkpoint: &Checkpoint, result: Result<T, Error>) -> Result<T, Error> {
    if result.is_err() || !checkpoint.location().storage().is_remote() {
        checkpoint.check_unchanged()?;
    }
    result
}

/// Reads one variable of every data file, so that files in an archive are inflated before anything is
/// written.
fn make_ready(checkpoint: &Checkpoint, plans: &[Plan], watch: &Watch<'_>) -> Result<(), Error> {
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
