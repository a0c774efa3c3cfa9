//! Converts Google Research ELECTRA TensorFlow checkpoints to Hugging Face models, without TensorFlow.
//!
//! Data flows one way:
//!
//! ```text
//! locate → open → assign roles → plan → write to a staging directory → verify → publish → report
//! ```
//!
//! | module | contents |
//! |---|---|
//! | crate [`tf_checkpoint`] | TensorFlow's file formats: finds the files, lists and reads variables |
//! | crate [`candle_electra`] | ELECTRA in candle: its configuration, the eight classes |
//! | crate [`tensor_bytes`] | what is done to every byte of a tensor: buffers, transposing, casts |
//! | [`variables`] | names and roles of variables, the models that they make up |
//! | [`config`] | each value of a configuration, and where it comes from |
//! | [`tasks`] | heads of fine-tuned models |
//! | [`tokenizer`] | from a vocab.txt to the tokenizer files |
//! | [`mod@plan`] | what an export will be, as plain data |
//! | [`export`] | writes, publishes and reads the files of an export |
//! | [`batch`] | many conversions: finding, planning, resuming, running |
//! | [`probe`] | what a converted model computes for text |
//! | [`report`] | what was found and done, as data that serialises |
//! | `cli` (feature `cli`) | the command line, which is also what other languages call |
//! | [`verify`] | what must be true of a converted directory |
//!
//! [`Conversion`] runs all steps; [`Progress`] reports progress and cancels in every phase.
//!
//! ```no_run
//! use electra_convert::{Conversion, ElectraCheckpoint, Model};
//!
//! let checkpoint = ElectraCheckpoint::open("model.ckpt-400")?;
//! let exports = Conversion::new(&checkpoint, Model::Discriminator).run("out", &())?;
//! println!("wrote {} tensors", exports[0].plan.tensors.len());
//! # Ok::<(), electra_convert::Error>(())
//! ```

// Values are written as they lie in memory.
#[cfg(not(all(target_endian = "little", target_pointer_width = "64")))]
compile_error!("electra-convert needs a 64-bit little-endian target");

pub mod batch;
#[cfg(feature = "cli")]
pub mod cli;
pub mod config;
mod conversion;
mod electra_checkpoint;
mod error;
pub mod export;
mod head_norms;
mod model_card;
pub mod plan;
mod printable;
pub mod probe;
mod progress;
mod record;
pub mod report;
mod saved_twice;
mod streamed_model;
mod surroundings;
mod sys;
pub mod tasks;
mod threads;
pub mod tokenizer;
pub mod variables;
pub mod verify;

pub use candle_electra;
pub use conversion::{ComputedTensor, Conversion, Export, Models, PlannedConversion, TextRequest};
pub use electra_checkpoint::{ElectraCheckpoint, OpenOptions};
pub use error::{Error, ErrorKind};
pub use model_card::ModelCard;
pub use plan::{Plan, PlanOptions, TargetDtype};
pub use progress::{Phase, Progress};
pub use record::{Fingerprint, Record};
pub use tensor_bytes;
pub use tf_checkpoint;
pub use tf_checkpoint::Checkpoint;
pub use threads::with_threads;
pub use variables::{Inventory, Model, Rename, TrainingSetup};
