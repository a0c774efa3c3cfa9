//! The tokens that a slice, gather, split or unpack selects from `[batch, sequence, hidden]`.
//!
//! The same operations also take one layer out of a stack of the encoder's layers (`Pack`).

use tf_checkpoint::{NodeId, Tensor};

use super::dropout::constant;
use super::view::View;

/// The operations that select.
pub(super) const OPERATIONS: &[&str] = &[
    "StridedSlice",
    "Slice",
    "GatherV2",
    "Gather",
    "GatherNd",
    "ResourceGather",
    "Split",
    "SplitV",
    "Unpack",
];

/// The result of a selection.
#[derive(Clone, Copy)]
pub(super) enum Selected {
    /// This whole tensor.
    AllOf(Tensor),
    /// The first token of each sequence in this tensor.
    FirstOf(Tensor),
    /// The tokens at several chosen positions of each sequence in this tensor.
    PositionsOf(Tensor),
    /// Something else, described for messages.
    Other(&'static str),
}

/// Part of the tokens, but not the first one.
const PART: Selected = Selected::Other("a part of the tokens");

/// Reads what an operation in [`OPERATIONS`] selects. The error is the node that is not recognised.
pub(super) fn read(view: &View<'_>, tensor: Tensor) -> Result<Selected, NodeId> {
    let graph = view.graph();
    let node = tensor.node;
    let input = |operand| graph.input(node, operand).ok_or(node);
    match graph.op(node) {
        "Split" => {
            let axis = constant(view, input(0)?);
            chunk(view, tensor, axis, input(1)?)
        }
        "SplitV" => {
            let axis = constant(view, input(2)?);
            chunk(view, tensor, axis, input(0)?)
        }
        "Unpack" => {
            let axis = graph.integer(node, "axis");
            #[allow(clippy::cast_precision_loss, reason = "an axis")]
            chunk(view, tensor, Some(axis as f64), input(0)?)
        }
        "GatherV2" | "Gather" | "GatherNd" => gather(view, node, input(0)?),
        _ => slice(view, node, input(0)?),
    }
}

/// Reads one output of a split along `axis`.
fn chunk(
    view: &View<'_>,
    tensor: Tensor,
    axis: Option<f64>,
    from: Tensor,
) -> Result<Selected, NodeId> {
    let graph = view.graph();
    let layers = view.flat_origin(from).node;
    if axis == Some(0.0) && graph.op(layers) == "Pack" {
        return unpack(view, layers, i64::from(tensor.output));
    }
    // A chunk of a split may hold several tokens.
    let is_token = graph.op(tensor.node) == "Unpack"
        || graph
            .shape(tensor)
            .is_some_and(|shape| shape.get(1) == Some(&1));
    match (axis, tensor.output) {
        (Some(1.0), 0) if is_token => Ok(Selected::FirstOf(from)),
        (Some(1.0), _) if is_token => Ok(Selected::Other("another token than the first")),
        _ => Err(tensor.node),
    }
}

/// Takes tensor `index` out of a stack along its first axis.
fn unpack(view: &View<'_>, stack: NodeId, index: i64) -> Result<Selected, NodeId> {
    let graph = view.graph();
    let axis = graph.integer(stack, "axis");
    let tensors = graph.inputs(stack);
    let len = i64::try_from(tensors.len()).map_err(|_| stack)?;
    let at = if index < 0 { index + len } else { index };
    let tensor = usize::try_from(at).ok().and_then(|at| tensors.get(at));
    match tensor {
        Some(&tensor) if axis == 0 && !tensor.is_missing() => Ok(Selected::AllOf(tensor)),
        _ => Err(stack),
    }
}

/// The part of one axis that a slice takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    All,
    /// The element at this index.
    One(i64),
    Some,
}

/// Reads a slice.
fn slice(view: &View<'_>, node: NodeId, from: Tensor) -> Result<Selected, NodeId> {
    let graph = view.graph();
    let parts = match graph.op(node) {
        "Slice" => slice_parts(view, node),
        _ => strided_slice_parts(view, node),
    };
    let parts = parts.ok_or(node)?;
    let are_whole = |parts: &[Part]| parts.iter().all(|part| *part == Part::All);
    let stack = view.origin(from, |_| false).node;
    if graph.op(stack) == "Pack" {
        return match parts[..] {
            [Part::One(index), ref rest @ ..] if are_whole(rest) => unpack(view, stack, index),
            _ => Err(node),
        };
    }
    // `[batch, sequence, hidden]`: in flattened tokens the second axis is not the sequence.
    if graph.shape(from).is_some_and(|shape| shape.len() != 3) {
        return Err(node);
    }
    match parts[..] {
        _ if are_whole(&parts) => Ok(Selected::AllOf(from)),
        [Part::All, Part::One(0), ref rest @ ..] if are_whole(rest) => Ok(Selected::FirstOf(from)),
        [Part::All, _, ref rest @ ..] if are_whole(rest) => Ok(PART),
        _ => Err(node),
    }
}

/// Returns the numbers of a constant input.
fn numbers(view: &View<'_>, node: NodeId, operand: usize) -> Option<Vec<i64>> {
    let graph = view.graph();
    let input = view.flat_origin(graph.input(node, operand)?);
    let values = graph.constant(input.node)?.values;
    #[allow(clippy::cast_possible_truncation, reason = "checked to be whole")]
    let whole = |value: f64| (value.fract() == 0.0).then_some(value as i64);
    values.into_iter().map(whole).collect()
}

fn slice_parts(view: &View<'_>, node: NodeId) -> Option<Vec<Part>> {
    let graph = view.graph();
    let [begin, size] = [numbers(view, node, 1)?, numbers(view, node, 2)?];
    let shape = graph.shape(graph.input(node, 0)?).unwrap_or_default();
    let parts = std::iter::zip(begin, size)
        .enumerate()
        .map(|(axis, (begin, size))| {
            let all = size == -1 || shape.get(axis).is_some_and(|&len| len == size);
            match (begin, size) {
                (0, _) if all => Part::All,
                (_, 1) => Part::One(begin),
                _ => Part::Some,
            }
        });
    Some(parts.collect())
}

fn strided_slice_parts(view: &View<'_>, node: NodeId) -> Option<Vec<Part>> {
    let graph = view.graph();
    let mask = |key| graph.integer(node, key);
    let [begin_mask, end_mask, shrink] = ["begin_mask", "end_mask", "shrink_axis_mask"].map(mask);
    if mask("ellipsis_mask") != 0 || mask("new_axis_mask") != 0 {
        return None;
    }
    let [begin, end, strides] = [1, 2, 3].map(|operand| numbers(view, node, operand));
    let (begin, end, strides) = (begin?, end?, strides?);
    let shape = graph.shape(graph.input(node, 0)?).unwrap_or_default();
    let axes = std::iter::zip(std::iter::zip(begin, end), strides).enumerate();
    let parts = axes.map(|(axis, ((begin, end), stride))| {
        let has = |mask: i64| axis < 63 && mask & (1 << axis) != 0;
        let from_start = has(begin_mask) || begin == 0;
        let to_end = has(end_mask) || shape.get(axis).is_some_and(|&len| len == end);
        if has(shrink) {
            Part::One(begin)
        } else if stride == 1 && from_start && to_end {
            Part::All
        } else if stride == 1 && from_start && end == 1 {
            Part::One(0)
        } else if stride == 1 && begin == -1 && to_end {
            Part::One(-1)
        } else {
            Part::Some
        }
    });
    Some(parts.collect())
}

/// Reads a gather: a constant 0 along the sequence, or positions in flattened tokens.
fn gather(view: &View<'_>, node: NodeId, from: Tensor) -> Result<Selected, NodeId> {
    let graph = view.graph();
    let indices = graph.input(node, 1).ok_or(node)?;
    let axis = match graph.op(node) {
        "GatherV2" => graph.input(node, 2).and_then(|axis| constant(view, axis)),
        _ => Some(0.0),
    };
    let index = numbers(view, node, 1);
    let stack = view.origin(from, |_| false).node;
    if let (Some(0.0), Some([index]), "Pack") = (axis, index.as_deref(), graph.op(stack)) {
        return unpack(view, stack, *index);
    }
    if axis == Some(1.0) {
        return match index.as_deref() {
            Some([0]) => Ok(Selected::FirstOf(from)),
            Some(_) => Ok(PART),
            None => Err(node),
        };
    }
    // `[batch * sequence, hidden]`, at several positions of each sequence.
    let shape_of = |tensor| {
        graph
            .shape(tensor)
            .filter(|shape| shape.iter().all(|&n| n > 0))
    };
    let count = |shape: &[i64]| shape.iter().try_fold(1_i64, |n, &axis| n.checked_mul(axis));
    let (tokens, positions) = (shape_of(from), shape_of(indices));
    match (
        tokens.as_deref(),
        positions.as_deref().and_then(count),
        batch_size(view),
    ) {
        (Some([_, _]), Some(positions), Some(batch))
            if graph.op(node) != "GatherNd" && positions > batch && positions % batch == 0 =>
        {
            Ok(Selected::PositionsOf(from))
        }
        _ => Err(node),
    }
}

/// Returns the batch size of the graph, from the recorded shape of attention scores.
fn batch_size(view: &View<'_>) -> Option<i64> {
    let graph = view.graph();
    let softmax = graph.nodes().filter(|&node| graph.op(node) == "Softmax");
    let mut shapes = softmax.filter_map(|node| graph.shape(node.into()));
    let shape = shapes.find(|shape| shape.len() == 4)?;
    Some(shape[0]).filter(|&batch| batch > 0)
}
