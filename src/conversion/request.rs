//! What to convert, and how.

use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::ThreadPool;

use crate::electra_checkpoint::ElectraCheckpoint;
use crate::error::Error;
use crate::model_card::ModelCard;
use crate::plan::{Plan, PlanOptions};
use crate::record::Record;
use crate::variables::{Model, follows_head_rule};

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
    pub(super) checkpoint: &'a ElectraCheckpoint,
    pub(super) models: Models,
    pub(super) options: PlanOptions,
    pub(super) replace: bool,
    pub(super) verify: bool,
    pub(super) compare_with_graph: bool,
    pub(super) threads: Option<NonZeroUsize>,
    pub(super) text: Option<TextRequest>,
    pub(super) model_card: Option<ModelCard>,
    pub(super) for_page: bool,
    pub(super) record: Option<Record>,
    pub(super) pool: Option<Arc<ThreadPool>>,
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

    /// Plans as [`plan`](Self::plan), without reading any values: settings that only values or an evaluation of the training
    /// graph show have a default, or are an error.
    pub(crate) fn plan_by_index(&self) -> Result<Vec<Plan>, Error> {
        let models = self.models.list().into_iter();
        let plan = |model| {
            let options = self.options_of(model)?;
            self.checkpoint.plan_by_index(model, &options)
        };
        models.map(plan).collect()
    }

    /// Returns the options for one of the models.
    pub(super) fn options_of(&self, model: Model) -> Result<Cow<'_, PlanOptions>, Error> {
        Ok(match self.models {
            Models::One(_) => Cow::Borrowed(&self.options),
            Models::Both => Cow::Owned(self.options_for(model)?),
        })
    }

    /// Returns the options for `model` where both models are exported: options about the
    /// configuration describe the discriminator.
    pub(super) fn options_for(&self, model: Model) -> Result<PlanOptions, Error> {
        let mut options = self.options.clone();
        let (_, scopes) = self.checkpoint.setup()?.place(model)?;
        if follows_head_rule(model, scopes) {
            options.config = options.config.for_generator_beside();
        }
        Ok(options)
    }
}
