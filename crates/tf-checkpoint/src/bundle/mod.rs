//! TensorBundles: the index, and the graph of objects that TensorFlow 2 adds to it.

mod index;
mod object_graph;
mod reader;

pub(crate) use reader::Bundle;
