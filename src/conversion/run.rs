//! Writes, verifies and publishes what is planned.

use std::fs;
use std::path::{Path, PathBuf};

use tf_checkpoint::Location;

use super::reading::{explained, make_ready};
use super::request::Conversion;
use crate::error::Error;
use crate::export::{
    CARD_FILE, CONFIG_FILE, Destination, ExportFiles, Inputs, Parts, RECORD_FILE, Stage,
    WEIGHTS_FILE, provenance, write_safetensors, write_text,
};
use crate::model_card::Described;
use crate::plan::{Plan, PlannedTensor};
use crate::probe::text_check::Text;
use crate::progress::{Phase, Watch};
use crate::variables::Model;
use crate::verify::{self, CompareWith, NoGraph, References, Report};

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

/// A conversion that is running.
pub(super) struct Run<'a> {
    pub(super) conversion: &'a Conversion<'a>,
    pub(super) destination: &'a Destination,
    pub(super) watch: &'a Watch<'a>,
}

/// Returns the directories whose files belong to a checkpoint.
fn directories(location: &Location) -> Vec<PathBuf> {
    let own = location.folder();
    let above = |path: &Path| match path.parent() {
        Some(above) if !above.as_os_str().is_empty() => above.to_owned(),
        _ => PathBuf::from("."),
    };
    let is_local = !location.storage().is_remote();
    let files = location.identifying_files().into_iter();
    let linked = files.filter_map(|file| fs::canonicalize(file).ok());
    // The path of a member begins with that of the archive and an exclamation mark.
    let mut archives = own
        .ancestors()
        .filter(|_| location.storage().archive().is_some());
    let archive = archives.find_map(|path| Some(PathBuf::from(path.to_str()?.strip_suffix('!')?)));
    let mut directories = vec![own.to_owned()];
    if is_local {
        let linked = linked.chain(
            archive
                .as_ref()
                .and_then(|path| fs::canonicalize(path).ok()),
        );
        directories.extend(linked.map(|file| above(&file)));
    }
    directories.extend(archive.map(|path| above(&path)));
    directories
}

impl Run<'_> {
    pub(super) fn publish(&self, plans: Vec<Plan>) -> Result<Vec<Export>, Error> {
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
            if let Some(record) = &self.conversion.record {
                // Without the card, which the user may edit.
                let text = record.text(&staged);
                let len = write_text(&text, &stage.path(&below(RECORD_FILE)))?;
                // Before the weights.
                staged.insert(staged.len() - 1, (RECORD_FILE, len));
            }
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
        let location = self.conversion.checkpoint.checkpoint().location();
        let inputs = Inputs {
            directories: directories(location),
            files: plans.iter().flat_map(|plan| plan.read.clone()).collect(),
        };
        ExportFiles::new(models, inputs)
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
        let graph = match self.conversion.checkpoint.training_graph() {
            _ if !self.conversion.compare_with_graph => Err(NoGraph::LeftOut),
            None => Err(NoGraph::Missing),
            Some(graph) => Ok(graph),
        };
        let references = References {
            golden: None,
            graph,
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
