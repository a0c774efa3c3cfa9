//! Values that depend on constants alone.

use std::collections::HashMap;

use tf_checkpoint::{MetaGraph, NodeId, Tensor};

use crate::array::{Array, ArrayType};
use crate::failure::Failure;
use crate::flow::Flow;
use crate::meter::Meter;
use crate::operations::unsupported;
use crate::refusal::Refusal;
use crate::run::{Leaf, Run};
use crate::slice::Slice;
use crate::types::data_type;

/// The deepest nesting of conditions.
const MAX_DEPTH: usize = 16;

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
    let leaf = |node| literal(flow.graph, node, &Meter::small());
    evaluate(flow, tensor, &leaf).ok()
}

fn evaluate(flow: &Flow<'_>, tensor: Tensor, leaf: Leaf<'_>) -> Result<Array, Refusal> {
    let slice = Slice::new(flow, &[tensor])?;
    let run = Run {
        flow,
        leaf,
        feeds: &HashMap::new(),
        rebatch: None,
        widens: false,
        meter: &Meter::small(),
    };
    let mut values = run.outputs(&slice)?;
    values
        .pop()
        .ok_or_else(|| Refusal::unsupported(tensor.node, "this tensor has no value"))
}

/// Evaluates the condition of a branch. A boolean placeholder is false: it says that the graph trains.
pub(crate) fn decide(graph: &MetaGraph, condition: Tensor, depth: usize) -> Result<bool, Refusal> {
    if depth >= MAX_DEPTH {
        let why = "conditions are nested too deeply";
        return Err(Refusal::unsupported(condition.node, why));
    }
    let inner = |condition| decide(graph, condition, depth + 1);
    let flow = Flow::new(graph, [], &inner);
    let leaf = |node: NodeId| {
        let is_placeholder = matches!(graph.op(node), "Placeholder" | "PlaceholderV2");
        if is_placeholder && data_type(graph, node.into()) == Some(ArrayType::Bool) {
            return Ok(Array::scalar_of(ArrayType::Bool, 0.0));
        }
        literal(graph, node, &Meter::small())
    };
    let array = evaluate(&flow, condition, &leaf)?;
    array.scalar().map(|value| value != 0.0).ok_or_else(|| {
        Refusal::unsupported(condition.node, "the condition of a branch is no scalar")
    })
}
