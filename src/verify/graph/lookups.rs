//! Lookups in an embedding table, and the tensor with the ids of all tokens behind each.
//!
//! A lookup is a gather of rows of the table, or a product of a one-hot matrix with the table. The output
//! layer of a generator multiplies by the same table, but not a one-hot matrix. The index of a lookup may be
//! flattened; the ids are the nearest tensor `[batch, sequence]` that it is reshaped from.

use std::collections::HashSet;

use tf_checkpoint::{NodeId, Tensor};

use super::dependence::is_source;
use super::refusal::Refusal;
use crate::config::graph::View;

/// Operations that gather rows.
pub(super) const GATHERS: &[&str] = &["GatherV2", "Gather", "ResourceGather"];
/// Operations that compute an index within a part of a partitioned table.
const PARTITIONING: &[&str] = &["DynamicPartition", "FloorDiv", "FloorMod"];
/// The largest number of operations between the ids and a lookup.
const MAX_STEPS: usize = 64;
/// The largest number of lookups in one table.
const MAX_LOOKUPS: usize = 1 << 12;

/// A lookup in an embedding table.
#[derive(Debug)]
pub(super) struct Lookup {
    /// The rows of the table.
    pub(super) rows: Tensor,
    /// The index of each row.
    pub(super) index: Tensor,
    /// The ids `[batch, sequence]` that the index is reshaped from.
    pub(super) ids: Result<Tensor, Refusal>,
}

/// Returns the lookups in the variable `table`.
pub(super) fn lookups(view: &View<'_>, table: &str) -> Result<Vec<Lookup>, Refusal> {
    let graph = view.graph();
    let mut found: Vec<(NodeId, Tensor)> = Vec::new();
    for read in view.reads(table) {
        let uses = graph.consumers(read.node).iter();
        for next in uses.filter(|next| next.output == read.output) {
            let node = next.node;
            let index = if GATHERS.contains(&graph.op(node)) {
                (next.operand == 0).then(|| graph.input(node, 1)).flatten()
            } else if view.is_product(node) && next.operand < 2 {
                let other = graph.input(node, 1 - next.operand as usize);
                other.and_then(|other| one_hot_index(view, other))
            } else {
                None
            };
            found.extend(index.map(|index| (node, index)));
        }
    }
    found.sort_unstable();
    found.dedup();
    if found.len() > MAX_LOOKUPS {
        let why = format!("more than {MAX_LOOKUPS} lookups in {table}");
        return Err(Refusal::lacking(why));
    }
    let lookup = |(node, index): (NodeId, Tensor)| Lookup {
        rows: node.into(),
        index,
        ids: rows_behind(view, index),
    };
    Ok(found.into_iter().map(lookup).collect())
}

/// Returns the index of a one-hot matrix.
pub(super) fn one_hot_index(view: &View<'_>, tensor: Tensor) -> Option<Tensor> {
    let origin = view.flat_origin(tensor).node;
    let graph = view.graph();
    (graph.op(origin) == "OneHot")
        .then(|| graph.input(origin, 0))
        .flatten()
}

/// Returns the nearest tensor `[batch, sequence]` that `index` is reshaped from, or an input of the graph
/// whose rank is not recorded.
pub(super) fn rows_behind(view: &View<'_>, index: Tensor) -> Result<Tensor, Refusal> {
    let graph = view.graph();
    let mut tensor = index;
    let mut seen = HashSet::new();
    while seen.len() < MAX_STEPS && seen.insert(tensor) {
        let op = graph.op(tensor.node);
        let shape = graph.shape(tensor);
        let is_column = matches!(shape.as_deref(), Some([_, 1])) || op == "ExpandDims";
        let is_rows = shape.as_ref().is_some_and(|shape| shape.len() == 2);
        if is_rows && !is_column && op != "Transpose" {
            return Ok(tensor);
        }
        if shape.is_none() && is_source(view, tensor) {
            return Ok(tensor);
        }
        let passes = view.passes_on(tensor.node) || PARTITIONING.contains(&op) || op == "Transpose";
        let operand = match op {
            "IdentityN" => tensor.output as usize,
            _ if passes => 0,
            _ => break,
        };
        let Some(input) = graph.input(tensor.node, operand) else {
            break;
        };
        tensor = input;
    }
    let op = graph.op(tensor.node);
    Err(Refusal::at(
        tensor.node,
        format!("no tensor [batch, sequence] was found between the lookup and this {op}"),
    ))
}
