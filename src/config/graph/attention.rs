//! The number of attention heads, by how queries and keys become attention scores.
//!
//! Queries `[batch, sequence, hidden]` are split into `[…, heads, head size]` by a reshape, multiplied
//! by the keys, and scaled by `1/√(head size)` before the softmax. Both the split and the scale say
//! the head size, on their own. A scale that is not that of any head size, or none at all, is a
//! computation that no ELECTRA class has.

use std::collections::HashSet;

use tf_checkpoint::{NodeId, Tensor};

use super::dropout::mean_over_draws;
use super::view::View;
use super::{GraphFacts, NotUnderstood};

/// How far a scale may be off `1/√(head size)`, relative to it: it is a float32.
const TOLERANCE: f64 = 1e-6;
/// The largest head size looked for.
const MAX_SIZE: f64 = 65_536.0;
/// How many operations may lie between a projection and its softmax.
const MAX_STEPS: usize = 64;
/// How many nodes are looked at behind the projections of one layer.
const MAX_NODES: usize = 512;

/// The way from a tensor back to a projection.
#[derive(Debug)]
struct Path {
    /// The node that adds the projection's bias.
    projection: NodeId,
    /// The product of all factors on the way.
    scale: f64,
    /// Nodes that split the last axis, nearest first.
    splits: Vec<NodeId>,
}

/// Adds what the attention of `layer` shows to the facts.
pub(super) fn read(view: &View<'_>, layer: &str, facts: &mut GraphFacts) {
    let outputs = |name: &str| -> HashSet<NodeId> {
        let dense = format!("{layer}/attention/self/{name}");
        view.dense_outputs(&dense).into_iter().collect()
    };
    let [queries, keys] = [outputs("query"), outputs("key")];
    let graph = view.graph();
    // An Einsum projects into heads by itself.
    for &query in &queries {
        if let Some([_, _, heads, size]) = graph.shape(query.into()).as_deref() {
            let claim = |axis: i64| Ok(usize::try_from(axis).ok().map(|axis| (axis, query)));
            facts.heads.add(view, claim(*heads));
            facts.head_sizes.add(view, claim(*size));
        }
    }
    for part in ["query", "key"] {
        let kernel = format!("{layer}/attention/self/{part}/kernel");
        if let Some(node) = view.unknown_product(&kernel) {
            let why = "the layer is not computed as a product with its kernel";
            facts.heads.add(view, Err(not_understood(layer, node, why)));
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
            read_split(view, *split, facts);
        }
        let size = read_scale(view, layer, node, left.scale * right.scale);
        facts.head_sizes.add(view, size);
    }
    if let (false, Some(&query)) = (found_scores, queries.iter().min()) {
        let has_keys = !keys.is_empty();
        let why = "no product of these queries with the layer's keys was found";
        let error = not_understood(layer, query, why);
        // Without keys the graph is cut, and shows nothing.
        facts
            .heads
            .add(view, if has_keys { Err(error) } else { Ok(None) });
    }
}

fn not_understood(layer: &str, node: NodeId, why: &str) -> NotUnderstood {
    NotUnderstood {
        subject: format!("the number of attention heads of {layer}"),
        node,
        why: why.to_owned(),
        is_foreign: false,
    }
}

/// The nodes that can be reached from projections through changes of shape and constant factors,
/// and what consumes them.
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

/// The factor that a node applies to its input `operand`, if it does no more than scale, reshape or
/// transpose that input.
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
        match mean_over_draws(view, other, &[]).ok()?.0[..] {
            [factor] if other != input => Some(factor),
            _ => None,
        }
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

/// Reads `[…, heads, head size]` from the shape that a reshape makes.
fn read_split(view: &View<'_>, reshape: NodeId, facts: &mut GraphFacts) {
    let graph = view.graph();
    let axes = graph
        .input(reshape, 1)
        .map(|shape| constant_axes(view, shape));
    let [.., heads, size] = axes.unwrap_or_default()[..] else {
        return;
    };
    let claim = |axis: Option<usize>| Ok(axis.map(|axis| (axis, reshape)));
    // A reshape to [rows, hidden] splits nothing: queries have four axes.
    facts.heads.add(view, claim(heads));
    facts.head_sizes.add(view, claim(size));
}

/// The axes of a shape of four: each where it is a positive constant.
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
                let (value, _) = mean_over_draws(view, axis, &[]).ok()?;
                value.first().copied().and_then(positive)
            })
            .collect(),
        _ => Vec::new(),
    };
    if axes.len() == RANK { axes } else { Vec::new() }
}

/// Follows scores to their softmax and reads the head size from the factors on the way.
fn read_scale(
    view: &View<'_>,
    layer: &str,
    scores: NodeId,
    mut scale: f64,
) -> Result<Option<(usize, NodeId)>, NotUnderstood> {
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
            // A graph that is cut behind the scores shows nothing more.
            if graph.consumers(node).is_empty() {
                return Ok(None);
            }
            let why = "no softmax of these attention scores was found";
            return Err(not_understood(layer, node, why));
        };
        if graph.op(next) == "Softmax" {
            return match head_size(scale) {
                Some(size) => Ok(Some((size, last))),
                None => Err(NotUnderstood {
                    subject: format!("the number of attention heads of {layer}"),
                    node: last,
                    why: match scale {
                        1.0 => "attention scores are not scaled by 1/√(head size)".to_owned(),
                        _ => format!(
                            "attention scores are scaled by {scale}, which is not 1/√(head size) \
                             of any head size"
                        ),
                    },
                    is_foreign: true,
                }),
            };
        }
        #[allow(clippy::float_cmp, reason = "exactly 1 where there is no factor")]
        if factor != 1.0 {
            last = next;
        }
        scale *= factor;
        node = next;
    }
    Ok(None)
}

/// True where a softmax follows within a few operations on scores.
fn leads_to_softmax(view: &View<'_>, from: NodeId) -> bool {
    /// Scaling, masking, and the changes of shape between them.
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

/// The head size behind the factor `1/√(head size)`.
fn head_size(factor: f64) -> Option<usize> {
    let size = (1.0 / (factor * factor)).round();
    // A factor of 1 is no scale at all, rather than that of heads of size 1.
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
