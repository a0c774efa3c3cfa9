//! TensorBundles: the index, and the object graph that TensorFlow 2 adds.

mod index;
mod object_graph;
mod reader;

pub(crate) use reader::Bundle;
