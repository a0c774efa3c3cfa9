//! The training graph beside a checkpoint.

mod attributes;
mod functions;
mod literal;
mod meta_graph;
mod nodes;
mod proto;

pub use attributes::Constant;
pub use literal::Literal;
pub use meta_graph::MetaGraph;
pub use nodes::{NodeId, Tensor, Use};
