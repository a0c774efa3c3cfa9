//! The steps from an open checkpoint to published models.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use tf_checkpoint::{Checkpoint, Variable, address};

use crate::error::Error;
use crate::export::{CONFIG_FILE, Stage, WEIGHTS_FILE, provenance, write_safetensors, write_text};
use crate::plan::{Plan, PlannedTensor};
use crate::probe::text_check::Text;
use crate::progress::{Phase, Progress, Watch};
use crate::request::{Export, Request};
use crate::source::Source;
use crate::threads::with_threads;
use crate::variables::Model;
use crate::verify::{self, CompareWith, References, Report};

/// Writes the planned models, verifies them and publishes them together.
///
/// `plans` are those of [`Request::plan`]. On any error OUT is as it was before.
pub fn convert(
    source: &Source,
    request: &Request,
    plans: Vec<Plan>,
    progress: &dyn Progress,
) -> Result<Vec<Export>, Error> {
    address::refuse(&request.out, address::Use::Output)?;
    for tensor in plans.iter().flat_map(|plan| &plan.tensors) {
        tensor.check_present(source.checkpoint())?;
    }
    let watch = &Watch::new(progress);
    let ready = make_ready(source.checkpoint(), &plans, watch).and_then(|()| source.step());
    // Checked first: this error explains a checksum mismatch.
    source.checkpoint().check_unchanged()?;
    let step = ready?;
    // Before there is anything that a signal must not leave behind.
    watch.begin(Phase::Converting, 0);
    watch.check()?;
    let stage = Stage::new(
        &request.out,
        request.contents(&plans, source),
        request.force,
    )?;

    let mut exports = Vec::with_capacity(plans.len());
    for plan in plans {
        let below = |file: &str| request.below_out(plan.model, file);
        let path = |file: &str| stage.path(&below(file));
        let staged = write(source, &plan, path, request.threads, watch);
        // Says more than what came of it, such as a checksum.
        source.checkpoint().check_unchanged()?;
        let staged = staged?;
        let report = request
            .verify
            .then(|| prove(source, request, &plan, &stage, watch))
            .transpose()?;
        watch.check()?;
        let published = |(file, len)| (request.out.join(below(file)), len);
        exports.push(Export {
            files: staged.into_iter().map(published).collect(),
            report,
            plan,
            step,
            warnings: Vec::new(),
        });
    }
    let warnings = stage.publish()?;
    if let Some(first) = exports.first_mut() {
        first.warnings = warnings;
    }
    Ok(exports)
}

/// Reads a variable of every data file, so that those in an archive are inflated.
fn make_ready(checkpoint: &Checkpoint, plans: &[Plan], watch: &Watch<'_>) -> Result<(), Error> {
    let mut smallest: BTreeMap<usize, &Variable> = BTreeMap::new();
    let tensors = plans.iter().flat_map(|plan| &plan.tensors);
    for variable in tensors.flat_map(|tensor| &tensor.variables) {
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

/// Writes every file of a model to where `path` puts it; returns the files with their lengths.
fn write(
    source: &Source,
    plan: &Plan,
    path: impl Fn(&str) -> PathBuf,
    threads: Option<NonZeroUsize>,
    watch: &Watch<'_>,
) -> Result<Vec<(&'static str, u64)>, Error> {
    let tensors = plan.tensors.iter();
    let total = tensors.map(PlannedTensor::source_bytes).sum();
    watch.begin(Phase::Converting, total);
    let mut texts = vec![(CONFIG_FILE, plan.config().to_json())];
    if let Some(tokenizer) = &plan.tokenizer {
        let files = tokenizer.files(plan.config().max_position_embeddings);
        texts.extend(files?);
    }
    let mut written = Vec::new();
    for (file, text) in texts {
        written.push((file, write_text(&text, &path(file))?));
    }
    let checkpoint = source.checkpoint();
    let metadata = provenance(plan, checkpoint.location(), source.step()?);
    let weights = path(WEIGHTS_FILE);
    let len = write_safetensors(plan, checkpoint, &metadata, &weights, threads, watch)?;
    written.push((WEIGHTS_FILE, len));
    Ok(written)
}

/// Verifies a staged model; a failed check is an error.
fn prove(
    source: &Source,
    request: &Request,
    plan: &Plan,
    stage: &Stage,
    watch: &Watch<'_>,
) -> Result<Report, Error> {
    let weights = stage.path(&request.below_out(plan.model, WEIGHTS_FILE));
    let folder = weights.parent().unwrap_or(&weights);
    let generator = match &request.text {
        Some(_) if plan.model == Model::Discriminator => {
            stage_generator(source, request, stage, watch)?
        }
        _ => None,
    };
    let text = request.text.as_ref().map(|text| Text {
        text: &text.text,
        path: &text.path,
        generator: generator.as_deref(),
        seed: text.seed,
    });
    let references = References { golden: None, text };
    let original = CompareWith::Checkpoint(source.checkpoint(), plan);
    let report = with_threads(request.threads, || {
        verify::watched(folder, original, references, watch)
    })
    .map_err(verify::Error::Threads)?;
    watch.check()?;
    let report = report?;
    if report.passed() {
        return Ok(report);
    }
    Err(Error::Rejected {
        model: plan.model,
        report: Box::new(report),
    })
}

/// Writes the generator of the checkpoint beside the staged files, for a measurement that needs it;
/// `None` where there is none. It goes with the stage.
fn stage_generator(
    source: &Source,
    request: &Request,
    stage: &Stage,
    watch: &Watch<'_>,
) -> Result<Option<PathBuf>, Error> {
    if source.setup()?.place(Model::Generator).is_err() {
        return Ok(None);
    }
    let mut options = request.options_beside(source, Model::Generator)?;
    options.allow_inexact = true;
    let plan = source.plan(Model::Generator, &options)?;
    let folder = stage.scratch(Model::Generator.key())?;
    write(
        source,
        &plan,
        |file| folder.join(file),
        request.threads,
        watch,
    )?;
    Ok(Some(folder))
}
