//! The number of attention heads, from the computation of attention scores.
//!
//! Queries `[batch, sequence, hidden]` are split into `[…, heads, head size]` by a reshape, multiplied
//! by the keys, and scaled by `1/√(head size)` before the softmax. The split and the scale each show the
//! head size. Any other scale, or no scale at all, is a computation that no ELECTRA class has.

use std::collections::HashSet;

use tf_checkpoint::{NodeId, Tensor};

use super::dropout::constant;
use super::findings::Findings;
use super::unrecognised::Unrecognised;
use super::view::View;

/// The largest relative deviation of a scale from `1/√(head size)`; scales are float32.
const TOLERANCE: f64 = 1e-6;
/// The largest head size that is recognised.
const MAX_SIZE: f64 = 65_536.0;
/// The largest number of operations between a projection and its softmax.
const MAX_STEPS: usize = 64;
/// The largest number of nodes visited from the projections of one layer.
const MAX_NODES: usize = 512;

/// The number and the size of attention heads in the graph.
#[derive(Debug, Default)]
pub(crate) struct HeadFindings {
    pub(crate) counts: Findings<usize>,
    pub(crate) sizes: Findings<usize>,
}

/// The path from a tensor back to a projection.
#[derive(Debug)]
struct Path {
    /// The node that adds the projection's bias.
    projection: NodeId,
    /// The product of all factors on the path.
    scale: f64,
    /// The nodes that split the last axis, nearest first.
    splits: Vec<NodeId>,
}

/// Adds what the attention of `layer` shows to the findings.
pub(super) fn read(view: &View<'_>, layer: &str, findings: &mut HeadFindings) {
    let outputs = |name: &str| -> HashSet<NodeId> {
        let dense = format!("{layer}/attention/self/{name}");
        view.dense_outputs(&dense).into_iter().collect()
    };
    let [queries, keys] = [outputs("query"), outputs("key")];
    let graph = view.graph();
    // An Einsum projects and splits in one operation.
    for &query in &queries {
        if let Some([_, _, heads, size]) = graph.shape(query.into()).as_deref() {
            let found = |axis: i64| Ok(usize::try_from(axis).ok().map(|axis| (axis, query)));
            findings.counts.add(view, found(*heads));
            findings.sizes.add(view, found(*size));
        }
    }
    for part in ["query", "key"] {
        let kernel = format!("{layer}/attention/self/{part}/kernel");
        if let Some(node) = view.unknown_product(&kernel) {
            let why = "the layer does not multiply by its kernel";
            findings
                .counts
                .add(view, Err(unrecognised(layer, node, why)));
        }
    }
    let mut found_scores = false;
    for node in downstream(view, &queries) {
        if !view.is_product(node) {
            continue;
        }
        let [Some(left), Some(right)] = [0, 1].map(|operand| graph.input(node, operand)) else {
            continue;
        };
        let [left, right] = [left, right].map(|operand| path(view, operand, &queries, &keys));
        let (Some(left), Some(right)) = (left, right) else {
            continue;
        };
        if queries.contains(&left.projection) == queries.contains(&right.projection) {
            continue;
        }
        found_scores = true;
        for split in left.splits.iter().chain(&right.splits) {
            read_split(view, *split, findings);
        }
        let size = read_scale(view, layer, node, left.scale * right.scale);
        findings.sizes.add(view, size);
    }
    if let (false, Some(&query)) = (found_scores, queries.iter().min()) {
        let has_keys = !keys.is_empty();
        let why = "no product of these queries with the layer's keys was found";
        let error = unrecognised(layer, query, why);
        // A graph without keys ends before the scores, and shows nothing.
        findings
            .counts
            .add(view, if has_keys { Err(error) } else { Ok(None) });
    }
}

fn unrecognised(layer: &str, node: NodeId, why: &str) -> Unrecognised {
    Unrecognised {
        subject: format!("the number of attention heads of {layer}"),
        node,
        why: why.to_owned(),
        is_foreign: false,
    }
}

/// Returns the nodes that can be reached from projections through changes of shape and constant factors,
/// and the consumers of these nodes.
fn downstream(view: &View<'_>, from: &HashSet<NodeId>) -> Vec<NodeId> {
    let graph = view.graph();
    let mut seen: HashSet<NodeId> = from.clone();
    let mut open: Vec<(NodeId, usize)> = from.iter().map(|&node| (node, 0)).collect();
    let mut reached = Vec::new();
    while let Some((node, steps)) = open.pop() {
        for next in graph.consumers(node) {
            if steps < MAX_STEPS && reached.len() < MAX_NODES && seen.insert(next.node) {
                reached.push(next.node);
                if step(view, next.node, next.operand as usize).is_some() {
                    open.push((next.node, steps + 1));
                }
            }
        }
    }
    reached.sort_unstable();
    reached
}

/// Returns the factor that a node applies to its input `operand`; `None` if the node does more than scale,
/// reshape or transpose that input.
fn step(view: &View<'_>, node: NodeId, operand: usize) -> Option<f64> {
    let graph = view.graph();
    let input = graph.input(node, operand)?;
    let origin = view.origin(node.into(), |passing| {
        passing == node && (view.keeps_order(node) || graph.op(node) == "Transpose")
    });
    if operand == 0 && origin != Tensor::from(node) {
        return Some(1.0);
    }
    let other = || {
        let other = graph.input(node, 1 - operand.min(1))?;
        constant(view, other).filter(|_| other != input)
    };
    match graph.op(node) {
        "Mul" => other(),
        "RealDiv" | "Div" if operand == 0 => other().map(f64::recip),
        _ => None,
    }
}

/// Follows an operand of a product back to one of the projections.
fn path(
    view: &View<'_>,
    operand: Tensor,
    queries: &HashSet<NodeId>,
    keys: &HashSet<NodeId>,
) -> Option<Path> {
    let graph = view.graph();
    let mut path = Path {
        projection: operand.node,
        scale: 1.0,
        splits: Vec::new(),
    };
    for _ in 0..MAX_STEPS {
        let node = path.projection;
        if queries.contains(&node) || keys.contains(&node) {
            return Some(path);
        }
        if graph.op(node) == "Reshape" {
            path.splits.push(node);
        }
        let (operand, factor) = [0, 1]
            .into_iter()
            .find_map(|operand| Some((operand, step(view, node, operand)?)))?;
        path.scale *= factor;
        path.projection = graph.input(node, operand)?.node;
    }
    None
}

/// Reads `[…, heads, head size]` from the new shape of a reshape.
fn read_split(view: &View<'_>, reshape: NodeId, findings: &mut HeadFindings) {
    let graph = view.graph();
    let axes = graph
        .input(reshape, 1)
        .map(|shape| constant_axes(view, shape));
    let [.., heads, size] = axes.unwrap_or_default()[..] else {
        return;
    };
    let found = |axis: Option<usize>| Ok(axis.map(|axis| (axis, reshape)));
    // Only a reshape to four axes splits: [rows, hidden] does not.
    findings.counts.add(view, found(heads));
    findings.sizes.add(view, found(size));
}

/// Returns the axes of a shape of rank 4; `None` for an axis that is not a positive constant.
fn constant_axes(view: &View<'_>, shape: Tensor) -> Vec<Option<usize>> {
    const RANK: usize = 4;
    let graph = view.graph();
    let shape = view.flat_origin(shape).node;
    let positive = |value: f64| {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked to be a small positive whole number"
        )]
        (value.fract() == 0.0 && (1.0..=MAX_SIZE).contains(&value)).then_some(value as usize)
    };
    let axes: Vec<Option<usize>> = match graph.op(shape) {
        "Const" => {
            let values = graph.constant(shape).map(|constant| constant.values);
            values.into_iter().flatten().map(positive).collect()
        }
        "Pack" => graph
            .inputs(shape)
            .iter()
            .map(|&axis| {
                if axis.is_missing() {
                    return None;
                }
                constant(view, axis).and_then(positive)
            })
            .collect(),
        _ => Vec::new(),
    };
    if axes.len() == RANK { axes } else { Vec::new() }
}

/// Follows scores to their softmax and reads the head size from the factors on the path.
fn read_scale(
    view: &View<'_>,
    layer: &str,
    scores: NodeId,
    mut scale: f64,
) -> Result<Option<(usize, NodeId)>, Unrecognised> {
    let graph = view.graph();
    let mut node = scores;
    let mut last = scores;
    for _ in 0..MAX_STEPS {
        let mut consumers = graph.consumers(node).iter().take(MAX_STEPS);
        let next = consumers.find_map(|next| {
            if graph.op(next.node) == "Softmax" {
                return Some((next.node, 1.0));
            }
            let factor = step(view, next.node, next.operand as usize);
            let is_sum = matches!(
                graph.op(next.node),
                "Add" | "AddV2" | "Sub" | "SelectV2" | "Select" | "Maximum"
            );
            let leads_on = || leads_to_softmax(view, next.node);
            factor
                .or((is_sum && leads_on()).then_some(1.0))
                .filter(|_| leads_on())
                .map(|factor| (next.node, factor))
        });
        let Some((next, factor)) = next else {
            // A graph that ends at the scores shows nothing more.
            if graph.consumers(node).is_empty() {
                return Ok(None);
            }
            let why = "no softmax of these attention scores was found";
            return Err(unrecognised(layer, node, why));
        };
        if graph.op(next) == "Softmax" {
            return match head_size(scale) {
                Some(size) => Ok(Some((size, last))),
                None => Err(Unrecognised {
                    subject: format!("the number of attention heads of {layer}"),
                    node: last,
                    why: match scale {
                        1.0 => "attention scores are not scaled by 1/√(head size)".to_owned(),
                        _ => format!(
                            "attention scores are scaled by {scale}, which is not 1/√(head size) \
                             for any head size"
                        ),
                    },
                    is_foreign: true,
                }),
            };
        }
        #[allow(clippy::float_cmp, reason = "exactly 1 if there is no factor")]
        if factor != 1.0 {
            last = next;
        }
        scale *= factor;
        node = next;
    }
    Ok(None)
}

/// Returns true if a softmax follows within a few operations on scores.
fn leads_to_softmax(view: &View<'_>, from: NodeId) -> bool {
    /// Scaling, masking, and changes of shape between them.
    const MAX_DEPTH: usize = 8;
    let graph = view.graph();
    let mut level = vec![from];
    for _ in 0..MAX_DEPTH {
        if level.iter().any(|&node| graph.op(node) == "Softmax") {
            return true;
        }
        let consumers = |node: &NodeId| graph.consumers(*node).iter().take(MAX_STEPS);
        let next = level.iter().flat_map(consumers);
        let mut next: Vec<NodeId> = next
            .map(|next| next.node)
            .filter(|&node| !view.is_product(node))
            .collect();
        next.sort_unstable();
        next.dedup();
        next.truncate(MAX_STEPS);
        level = next;
    }
    false
}

/// Returns the head size for the factor `1/√(head size)`.
fn head_size(factor: f64) -> Option<usize> {
    let size = (1.0 / (factor * factor)).round();
    // A factor of 1 means no scale, not heads of size 1.
    let is_exact = size > 1.0 && (factor * size.sqrt() - 1.0).abs() <= TOLERANCE;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a positive whole number below MAX_SIZE"
    )]
    (is_exact && (1.0..=MAX_SIZE).contains(&size)).then_some(size as usize)
}

#[cfg(test)]
mod tests {
    use super::head_size;

    #[test]
    #[allow(clippy::cast_precision_loss)]
    fn head_size_inverts_the_factor() {
        for size in [2_usize, 7, 8, 32, 48, 64, 80, 128, 1024] {
            let factor = 1.0 / (size as f32).sqrt();
            assert_eq!(head_size(f64::from(factor)), Some(size));
        }
        for factor in [1.0, 0.0, -0.125, f64::NAN, f64::INFINITY, 0.13] {
            assert_eq!(head_size(factor), None, "{factor}");
        }
    }
}
