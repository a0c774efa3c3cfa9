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

/// Returns 0 to 11 in the shape `[2, 2, 3]`.
pub(crate) fn cube() -> Array {
    i32s(&[2, 2, 3], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
}

/// Returns an array of one axis.
pub(crate) fn list(values: &[i32]) -> Array {
    i32s(&[values.len()], values)
}

/// Returns shape and values of an array of integers.
pub(crate) fn parts(result: Result<Array, Failure>) -> (Vec<usize>, Vec<i64>) {
    let array = result.unwrap();
    (array.shape().to_vec(), array.integers().unwrap())
}

/// Returns the numbers from 0 in a shape.
pub(crate) fn counted(shape: &[usize]) -> Array {
    let len = shape.iter().product();
    let values: Vec<f32> = std::iter::successors(Some(0.0), |x| Some(x + 1.0))
        .take(len)
        .collect();
    f32s(shape, &values)
}
