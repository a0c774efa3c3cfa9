//! TensorBundles: the index, and the object graph that TensorFlow 2 adds.

mod index;
mod object_graph;
mod object_paths;
mod reader;

pub(crate) use reader::Bundle;
