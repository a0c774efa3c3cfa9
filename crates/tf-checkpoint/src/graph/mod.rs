//! The training graph beside a checkpoint.

mod attributes;
mod functions;
mod meta_graph;
mod nodes;
mod proto;

pub use attributes::Constant;
pub use meta_graph::MetaGraph;
pub use nodes::{NodeId, Tensor, Use};
