//! Writes, publishes and reads the files of an export.
//!
//! `write` streams the tensors of a plan into a staging directory, `publish` moves the result to its
//! place, and [`WeightsFile`] reads the weights again.

mod buffer;
pub(crate) mod checksums;
mod error;
mod files;
mod gelu_offset;
mod materialise;
mod publish;
mod reader;
mod stream;
mod transform;
mod write;

pub use buffer::AlignedBytes;
pub use error::Error;
pub use files::{CONFIG_FILE, TASK_KEY, WEIGHTS_FILE, WEIGHTS_KEY};
pub(crate) use files::{provenance, write_text};
pub(crate) use materialise::{convert_tensor, read_floats};
pub(crate) use publish::{Contents, HIDDEN, Stage};
pub(crate) use reader::WatchedWeights;
pub use reader::{LoadError, MAX_CONFIG_LEN, WeightsFile, read_config};
pub use transform::transpose;
pub(crate) use transform::uncast;
pub(crate) use write::write_safetensors;
