//! The training graph beside a checkpoint, and the graph of a SavedModel.

mod attributes;
mod functions;
mod literal;
mod meta_graph;
mod nodes;
mod proto;
mod saved_functions;
mod saved_model;
mod saved_variables;

pub use attributes::Constant;
pub use literal::Literal;
pub use meta_graph::MetaGraph;
pub use nodes::{NodeId, Tensor, Use};
