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
//! | [`verify`] | what must be true of a converted folder |
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
pub mod verify;

mod request;
mod source;

pub use checkpoint::Checkpoint;
pub use convert::{Plan, PlanOptions, Progress, TargetDtype};
pub use electra::{Inventory, Model, Rename, Setup};
pub use request::{Export, Request};
pub use source::Source;

use std::ops::ControlFlow;
use std::path::Path;

use convert::{CONFIG_FILE, Stage, WEIGHTS_FILE, provenance, write_config, write_safetensors};
use verify::{Original, Report};

/// Writes the planned models, verifies them and publishes them together.
///
/// `plans` are those of [`Request::plan`]. On any error OUT is as it was before.
pub fn convert(
    source: &Source,
    request: &Request,
    plans: Vec<Plan>,
    progress: &dyn Progress,
) -> Result<Vec<Export>, Error> {
    let checkpoint = source.checkpoint();
    for tensor in plans.iter().flat_map(|plan| &plan.tensors) {
        checkpoint.check_present(&tensor.variable)?;
    }
    let step = source.step()?;
    // The weights last: their presence says that the rest is there.
    let files = [CONFIG_FILE, WEIGHTS_FILE]
        .iter()
        .flat_map(|file| plans.iter().map(|plan| request.below_out(plan.model, file)))
        .collect();
    let stage = Stage::new(&request.out, files, request.force)?;

    let mut exports = Vec::with_capacity(plans.len());
    for plan in plans {
        let config = request.below_out(plan.model, CONFIG_FILE);
        let weights = request.below_out(plan.model, WEIGHTS_FILE);
        let metadata = provenance(&plan, checkpoint.location(), step);
        let staged = stage.path(&weights);
        let files = vec![
            (
                request.out.join(&config),
                write_config(&plan, &stage.path(&config))?,
            ),
            (
                request.out.join(&weights),
                write_safetensors(&plan, checkpoint, &metadata, &staged, progress)?,
            ),
        ];
        let report = request
            .verify
            .then(|| prove(checkpoint, &plan, staged.parent().unwrap_or(&staged)))
            .transpose()?;
        if progress.advance(0) == ControlFlow::Break(()) {
            return Err(convert::Error::Interrupted.into());
        }
        exports.push(Export {
            plan,
            files,
            report,
        });
    }
    stage.publish()?;
    Ok(exports)
}

/// Verifies a staged model; a failed check is an error.
fn prove(checkpoint: &Checkpoint, plan: &Plan, folder: &Path) -> Result<Report, Error> {
    let report = verify::verify(folder, Original::Checkpoint(checkpoint, plan), None)?;
    if report.passed() {
        return Ok(report);
    }
    Err(Error::Rejected {
        model: plan.model,
        report: Box::new(report),
    })
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

impl From<checkpoint::Error> for Error {
    fn from(error: checkpoint::Error) -> Self {
        convert::Error::from(error).into()
    }
}

impl From<electra::Error> for Error {
    fn from(error: electra::Error) -> Self {
        convert::Error::from(error).into()
    }
}
