//! What the tests of operations share.

use std::path::Path;

use ndarray::ArrayD;
use testkit::graph_writer::{Attr, Graph};
use tf_checkpoint::{Limits, MetaGraph};

use super::{Operation, compute};
use crate::array::Array;
use crate::failure::Failure;
use crate::meter::Meter;

/// Computes one operation within 1 MiB and 10^6 floating-point operations.
pub(crate) fn run(
    op: &str,
    attributes: &[(&str, Attr)],
    inputs: Vec<Array>,
) -> Result<Vec<Array>, Failure> {
    let mut graph = Graph::default();
    graph.with(op, &[], attributes);
    let graph = MetaGraph::parse(Path::new("test.meta"), graph.meta(), &Limits::default());
    let graph = graph.expect("the graph is well-formed");
    let node = graph.nodes().next().expect("one node");
    let operation = Operation {
        graph: &graph,
        node,
    };
    compute(
        operation,
        inputs,
        &Meter::new(1 << 20, 1_000_000, &|| false),
    )
}

/// Computes an operation with one output.
pub(crate) fn run_one(
    op: &str,
    attributes: &[(&str, Attr)],
    inputs: Vec<Array>,
) -> Result<Array, Failure> {
    let mut outputs = run(op, attributes, inputs)?;
    assert_eq!(outputs.len(), 1);
    Ok(outputs.remove(0))
}

pub(crate) fn f32s(shape: &[usize], values: &[f32]) -> Array {
    ArrayD::from_shape_vec(shape, values.to_vec())
        .expect("as many values as the shape has")
        .into()
}

pub(crate) fn i32s(shape: &[usize], values: &[i32]) -> Array {
    ArrayD::from_shape_vec(shape, values.to_vec())
        .expect("as many values as the shape has")
        .into()
}
