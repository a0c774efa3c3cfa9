//! Writes, publishes and reads the files of an export.
//!
//! What is done to every byte of a tensor (transposing, casts, buffers) is the crate `tensor_bytes`.
//!
//! | module | contents |
//! |---|---|
//! | `files` | names and order of the files |
//! | `config` | reads config.json |
//! | `materialise` | computes one tensor from its variables, in memory |
//! | `cast` | casts elements as planned |
//! | `gelu_offset` | the tensors of a classifier that have no variable |
//! | `safetensors` | `model.safetensors`: header, checksums, writer and reader |
//! | `publish` | moves a complete export to its place, or restores what was there |

mod cast;
mod config;
mod error;
mod files;
mod gelu_offset;
mod materialise;
mod publish;
mod safetensors;

pub(crate) use self::safetensors::{
    STEP, SliceChecksum, TensorChecksums, provenance, thread_count, write_safetensors,
};
pub use self::safetensors::{TASK_KEY, WEIGHTS_KEY, WeightsFile};
pub(crate) use cast::{float_type, uncast};
pub use config::{MAX_CONFIG_LEN, read_config};
pub use error::{Error, LoadError};
pub(crate) use files::{CARD_FILE, Parts, RECORD_FILE, write_text};
pub use files::{CONFIG_FILE, STAGED_FOR_UPLOAD, WEIGHTS_FILE};
pub(crate) use materialise::{cast_step, convert_tensor, read_bytes, read_floats, read_singles};
pub(crate) use publish::{Destination, ExportFiles, Inputs, STAGING, Stage};
