//! Turns Google Research ELECTRA TensorFlow checkpoints into Hugging Face models, without
//! TensorFlow.
//!
//! Data flows one way:
//!
//! ```text
//! locate → open → inventory → plan → write (staged) → verify → publish → report
//! ```
//!
//! | module | knows |
//! |---|---|
//! | [`checkpoint`] | TensorFlow's file formats: finds the files, lists and reads variables |
//! | [`electra`] | ELECTRA: roles of variables, the two models, their configuration, the names |
//! | [`mod@convert`] | the plan of an export, writing and publishing it |
//! | [`model`] | ELECTRA in candle, with eight heads |
//! | [`tokenizer`] | from a vocab.txt to the tokenizer files |
//! | [`probe`] | what a converted model makes of text |
//! | [`verify`] | what must be true of a converted folder |
//!
//! [`Progress`] shows and stops the work in all phases.
//!
//! ```no_run
//! use electra_convert::{Model, PlanOptions, Request, Source, convert};
//!
//! let source = Source::open("model.ckpt-400".as_ref(), None, &[])?;
//! let request = Request {
//!     models: vec![Model::Discriminator],
//!     out: "out".into(),
//!     options: PlanOptions::default(),
//!     force: false,
//!     verify: true,
//!     threads: None,
//!     text: None,
//! };
//! let plans = request.plan(&source)?;
//! let exports = convert(&source, &request, plans, &())?;
//! println!("wrote {} tensors", exports[0].plan.tensors.len());
//! # Ok::<(), electra_convert::Error>(())
//! ```

#[cfg(not(all(unix, target_endian = "little", target_pointer_width = "64")))]
compile_error!("electra-convert runs on 64-bit little-endian Unix systems");

pub mod checkpoint;
pub mod convert;
pub mod electra;
pub mod model;
pub mod probe;
pub mod tokenizer;
pub mod verify;

mod progress;
mod request;
mod source;
mod threads;

pub use checkpoint::Checkpoint;
pub use convert::{Plan, PlanOptions, TargetDtype};
pub use electra::{Inventory, Model, Rename, Setup};
pub use progress::{Phase, Progress};
pub use request::{Export, Request, TextRequest};
pub use source::Source;
pub use threads::with_threads;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use checkpoint::{Variable, address};
use convert::{CONFIG_FILE, Stage, WEIGHTS_FILE, provenance, write_safetensors, write_text};
use probe::text_check::Text;
use progress::Watch;
use verify::{Original, References, Report};

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
    let total = tensors.map(convert::PlannedTensor::source_bytes).sum();
    watch.begin(Phase::Converting, total);
    let mut texts = vec![(CONFIG_FILE, plan.config().to_json())];
    if let Some(tokenizer) = &plan.tokenizer {
        let files = tokenizer.files(plan.config().max_position_embeddings);
        texts.extend(files.map_err(convert::Error::from)?);
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
    let original = Original::Checkpoint(source.checkpoint(), plan);
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

/// Why there is no export.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The checkpoint cannot be read, the model cannot be made from it, or the files cannot be
    /// written.
    #[error(transparent)]
    Convert(#[from] convert::Error),
    /// There is nothing to verify.
    #[error(transparent)]
    Verify(#[from] verify::Error),
    /// The export was written and is wrong.
    #[error("the {model} was not published, it did not pass verification: {}", report.summary())]
    Rejected {
        /// The model.
        model: Model,
        /// Every check.
        report: Box<Report>,
    },
}

impl From<progress::Stopped> for Error {
    fn from(stopped: progress::Stopped) -> Self {
        convert::Error::from(stopped).into()
    }
}

impl From<checkpoint::Error> for Error {
    fn from(error: checkpoint::Error) -> Self {
        convert::Error::from(error).into()
    }
}

impl From<tokenizer::Error> for Error {
    fn from(error: tokenizer::Error) -> Self {
        convert::Error::from(error).into()
    }
}

impl From<electra::Error> for Error {
    fn from(error: electra::Error) -> Self {
        convert::Error::from(error).into()
    }
}
