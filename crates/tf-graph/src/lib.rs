//! Evaluates parts of TensorFlow graphs without TensorFlow.
//!
//! An [`Evaluation`] feeds some tensors of a [`MetaGraph`](tf_checkpoint::MetaGraph) and computes others. It
//! reads variables through [`Variables`], leaves dropout out, and stops with a [`Refusal`] that names the node
//! where the graph cannot be evaluated. [`Array`] is the value of a tensor; [`Meter`] limits memory and work.
//!
//! | file | does |
//! |---|---|
//! | `evaluation` | the public interface |
//! | `flow` | follows copies of tensors, and branches, to their origins |
//! | `conditions` | evaluates the conditions of branches |
//! | `slice` | collects the nodes that an output depends on |
//! | `dropout` | finds dropout and the tensor that it stands for |
//! | `batch` | changes the batch size of the graph |
//! | `run` | computes nodes in order, and drops values after their last use |
//! | `ops` | the operations |
//!
//! # Untrusted graphs
//!
//! Shapes, types and indices are checked before anything is allocated or computed, cycles are found, and nothing
//! is recursive in the size of the graph.

mod array;
mod batch;
mod conditions;
mod constants;
mod dropout;
mod evaluation;
mod failure;
mod flow;
mod literal;
mod meter;
mod operations;
mod ops;
mod parallel;
mod refusal;
mod run;
mod slice;
mod strided;
#[cfg(feature = "tensorflow")]
mod tensorflow;
mod types;

pub use array::{Array, ArrayType};
pub use evaluation::{Evaluated, Evaluation, Precision, Variables};
pub use failure::Failure;
pub use meter::Meter;
pub use operations::{is_of_shape, is_variable};
pub use refusal::Refusal;
#[cfg(feature = "tensorflow")]
pub use tensorflow::load_tensorflow;
pub use types::data_type;
