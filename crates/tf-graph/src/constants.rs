//! Values that depend on constants alone.

use std::collections::HashMap;

use tf_checkpoint::{MetaGraph, NodeId, Tensor};

use crate::array::Array;
use crate::failure::Failure;
use crate::flow::Flow;
use crate::meter::Meter;
use crate::operations::unsupported;
use crate::refusal::Refusal;
use crate::run::{Leaf, Run};
use crate::slice::Slice;

/// Returns the value of a `Const`; an error for any other node that the evaluator does not compute.
pub(crate) fn literal(
    graph: &MetaGraph,
    node: NodeId,
    meter: &Meter<'_>,
) -> Result<Array, Failure> {
    let op = graph.op(node);
    if op != "Const" {
        return Err(Failure::Unsupported(unsupported(op)));
    }
    let Some(literal) = graph.literal(node) else {
        return Err(Failure::Unsupported(
            "the value of this constant is of an unsupported dtype, or too large".to_owned(),
        ));
    };
    Array::from_literal(&literal, meter)
}

/// Returns the value of a tensor that depends on constants alone; `None` for any other tensor.
pub(crate) fn constant(flow: &Flow<'_>, tensor: Tensor) -> Option<Array> {
    let leaf = |node| literal(flow.graph, node, flow.walk.meter());
    evaluate(flow, tensor, &leaf).ok()
}

/// Returns the value of a tensor that depends on constants, and on what `leaf` gives.
pub(crate) fn evaluate(flow: &Flow<'_>, tensor: Tensor, leaf: Leaf<'_>) -> Result<Array, Refusal> {
    let slice = Slice::new(flow, &[tensor])?;
    let run = Run {
        flow,
        leaf,
        feeds: &HashMap::new(),
        rebatch: None,
        widens: false,
        meter: flow.walk.meter(),
    };
    let mut values = run.outputs(&slice)?;
    values
        .pop()
        .ok_or_else(|| Refusal::unsupported(tensor.node, "this tensor has no value"))
}
