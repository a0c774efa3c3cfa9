//! Turns Google Research ELECTRA TensorFlow checkpoints into Hugging Face models, without
//! TensorFlow.
//!
//! Data flows one way:
//!
//! ```text
//! locate → open → inventory → plan → write (staged) → publish → report
//! ```
//!
//! | module | knows |
//! |---|---|
//! | [`checkpoint`] | TensorFlow's file formats: finds the files, lists and reads variables |
//! | [`electra`] | ELECTRA: roles of variables, the two models, their configuration, the names |
//! | [`mod@convert`] | the plan of an export, writing and publishing it |
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

mod request;
mod source;

pub use checkpoint::Checkpoint;
pub use convert::{Error, Plan, PlanOptions, Progress, TargetDtype};
pub use electra::{Inventory, Model, Rename, Setup};
pub use request::{Export, Request};
pub use source::Source;

use convert::{CONFIG_FILE, Stage, WEIGHTS_FILE, provenance, write_config, write_safetensors};

/// Writes the planned models and publishes them together.
///
/// `plans` are those of [`Request::plan`]. On any error OUT is as it was before.
pub fn convert(
    source: &Source,
    request: &Request,
    plans: Vec<Plan>,
    progress: &dyn Progress,
) -> Result<Vec<Export>, Error> {
    for tensor in plans.iter().flat_map(|plan| &plan.tensors) {
        source.checkpoint().check_present(&tensor.variable)?;
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
        let files = vec![
            (
                request.out.join(&config),
                write_config(&plan, &stage.path(&config))?,
            ),
            (
                request.out.join(&weights),
                write_safetensors(
                    &plan,
                    source.checkpoint(),
                    &provenance(&plan, source.checkpoint().location(), step),
                    &stage.path(&weights),
                    progress,
                )?,
            ),
        ];
        exports.push(Export { plan, files });
    }
    stage.publish()?;
    Ok(exports)
}
