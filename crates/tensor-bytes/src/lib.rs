#![doc = include_str!("../README.md")]

// Values are written as they lie in memory.
#[cfg(not(target_endian = "little"))]
compile_error!("tensor-bytes needs a little-endian target");

mod buffer;
mod cast;
mod float;
mod transpose;

pub use buffer::AlignedBytes;
pub use cast::{Overflow, cast_floats, to_f64};
pub use float::{Float, FloatType};
pub use transpose::{transpose, transpose_rows};
