//! Shared support for the tests, benchmarks and fuzz targets of `electra-convert`.
//!
//! - [`bundle_writer`], [`v1_writer`] and [`graph_writer`] write checkpoints and training graphs,
//!   valid and invalid. They use no code of the program, so that a bug cannot hide in both.
//! - [`saved_model`] and [`write_saved_model`] put a graph and variables into a SavedModel.
//! - [`fixture`], [`copy_of`], [`unpacked`] and [`temp`] give a test its input files; [`graph_checkpoint`] makes a
//!   checkpoint for a training graph.
//! - [`run!`], [`command`] and [`export()`] run the program; [`Run`] checks the result.
//! - [`bucket_server`] is a store for the tests of buckets.
//! - [`read_weights`], [`read_json`] and [`raw_variable`] read files without the program.
//!
//! Every function panics on a failure: the panic fails the test.

pub mod bucket_server;
pub mod bundle_writer;
mod export;
mod exported;
mod fixtures;
mod graph_checkpoint;
pub mod graph_writer;
#[cfg(target_os = "linux")]
mod memory;
mod program;
mod saved_model_writer;
pub mod v1_writer;

pub use export::{Export, export, export_again, export_bundle};
pub use exported::{
    EXPORTED, Tensor, assert_close, listing, raw_variable, read_json, read_weights, transposed,
};
pub use fixtures::{copy_of, fixture, fixtures, temp, unpacked};
pub use graph_checkpoint::graph_checkpoint;
#[cfg(target_os = "linux")]
pub use memory::peak_during;
pub use program::{Run, command, program, send_signal};
pub use saved_model_writer::{saved_model, write_saved_model};
