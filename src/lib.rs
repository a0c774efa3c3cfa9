//! Reads Google Research ELECTRA TensorFlow checkpoints, without TensorFlow.

#[cfg(not(all(unix, target_endian = "little", target_pointer_width = "64")))]
compile_error!("electra-convert runs on 64-bit little-endian Unix systems");

pub mod checkpoint;
pub mod electra;

pub use checkpoint::Checkpoint;
pub use electra::{Inventory, Model, Rename, Setup};
