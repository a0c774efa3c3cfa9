//! `model.safetensors`, written and read.
//!
//! The file has eight bytes with the length of the header, the header as JSON, padded with spaces to a
//! multiple of eight bytes, and the bytes of the tensors without gaps. The header holds element type,
//! shape and place of each tensor, and the strings of `__metadata__`.
//!
//! | file | contents |
//! |---|---|
//! | `header` | the header: encoding, reading, limits |
//! | `metadata` | what a conversion writes into `__metadata__` besides the checksums |
//! | `checksums` | the checksum of each tensor in `__metadata__` |
//! | `writer` | layout of the file; writes it from a plan |
//! | `target` | the open file and the places of the tensors |
//! | `stream` | copies and transposes the tensors on several threads |
//! | `queue` | the jobs, their sizes, and which of them is next |
//! | `worker` | the work of one thread |
//! | `kernel` | transposes kernels in bands |
//! | `columns_checksum` | the checksum of a kernel that is read in bands |
//! | `steps` | reads parts of variables in steps |
//! | `reader` | an open file, as candle reads weights from it |

mod checksums;
mod columns_checksum;
mod header;
mod kernel;
mod metadata;
mod queue;
mod reader;
mod steps;
mod stream;
mod target;
mod worker;
mod writer;

pub(crate) use checksums::{SliceChecksum, TensorChecksums};
pub(crate) use metadata::provenance;
pub use metadata::{TASK_KEY, WEIGHTS_KEY};
pub(crate) use queue::thread_count;
pub use reader::WeightsFile;
pub(crate) use steps::STEP;
pub(crate) use writer::write_safetensors;
