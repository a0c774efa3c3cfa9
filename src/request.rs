//! What to export, where to, and what came of it.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use crate::export::{CONFIG_FILE, Contents, WEIGHTS_FILE};
use crate::plan::{Plan, PlanOptions};
use crate::variables::{Model, follows_head_rule};
use crate::verify::Report;
use crate::{Error, Source, tokenizer};

/// What to export, and where to.
#[derive(Clone, Debug)]
pub struct Request {
    /// The models, each once. One goes into `out` itself, two into folders named after them.
    pub models: Vec<Model>,
    /// The folder to write into; made if need be.
    pub out: PathBuf,
    /// Choices that shape the plan.
    pub options: PlanOptions,
    /// Replace files of an earlier export.
    pub force: bool,
    /// Verify what was written before it is published.
    pub verify: bool,
    /// How many threads convert; by default as many as there are cores.
    pub threads: Option<NonZeroUsize>,
    /// Measure the models on text as part of verification.
    pub text: Option<TextRequest>,
}

/// Text to measure a model on.
#[derive(Clone, Debug)]
pub struct TextRequest {
    /// A few kilobytes in the model's language.
    pub text: String,
    /// The file that it comes from, for messages.
    pub path: PathBuf,
    /// Fixes what is drawn at random.
    pub seed: u64,
}

impl Request {
    /// Where a file of `model` goes, below `out`.
    pub(crate) fn below_out(&self, model: Model, file: &str) -> PathBuf {
        if self.models.len() > 1 {
            Path::new(model.key()).join(file)
        } else {
            PathBuf::from(file)
        }
    }

    /// Every file to write, below `out`. The weights come last: where they are, the rest is there.
    pub(crate) fn contents(&self, plans: &[Plan], source: &Source) -> Contents {
        let folders: Vec<PathBuf> = plans
            .iter()
            .map(|plan| self.below_out(plan.model, ""))
            .collect();
        let of_model = |(plan, folder): (&Plan, &PathBuf)| -> Vec<PathBuf> {
            let texts = tokenizer::FILES.iter().filter(|_| plan.tokenizer.is_some());
            let files = [CONFIG_FILE].iter().chain(texts).chain(&[WEIGHTS_FILE]);
            files.map(|file| folder.join(file)).collect()
        };
        let files = plans.iter().zip(&folders).flat_map(of_model).collect();
        let checkpoint = source.checkpoint().location().folder();
        Contents::new(folders, files, checkpoint.to_owned())
    }

    /// Returns one plan for each model.
    ///
    /// # Errors
    /// Those of [`Source::plan`], and [`tokenizer::Error::Needed`] for a measurement on text without
    /// a tokenizer.
    pub fn plan(&self, source: &Source) -> Result<Vec<Plan>, Error> {
        if self.text.is_some() && self.options.tokenizer.is_none() {
            return Err(tokenizer::Error::Needed { what: "--text" }.into());
        }
        self.models
            .iter()
            .map(|&model| {
                if self.models.len() > 1 {
                    source.plan(model, &self.options_beside(source, model)?)
                } else {
                    source.plan(model, &self.options)
                }
            })
            .collect()
    }

    /// The options for `model` where both models are made: then what is said of the configuration
    /// describes the discriminator.
    pub(crate) fn options_beside(
        &self,
        source: &Source,
        model: Model,
    ) -> Result<PlanOptions, Error> {
        let mut options = self.options.clone();
        let (_, scopes) = source.setup()?.place(model)?;
        if follows_head_rule(model, scopes) {
            options.stated = options.stated.for_generator_beside();
        }
        Ok(options)
    }
}

/// A published model.
#[derive(Debug)]
pub struct Export {
    /// What was done.
    pub plan: Plan,
    /// The files that were written with their lengths, in the order in which they appeared.
    pub files: Vec<(PathBuf, u64)>,
    /// What verification found; `None` where it was not requested.
    pub report: Option<Report>,
    /// The training step, where it is known.
    pub step: Option<u64>,
    /// Warnings about files that were in `out` and stay there.
    pub warnings: Vec<String>,
}
