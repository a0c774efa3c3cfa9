//! Tests of the boundary: real graphs, and small ones that are spelled in many ways.

mod copies;
mod fixtures;
mod hostile;
mod ids;
mod masks;
mod positions;
mod small;
mod tables;

use std::fmt::Write as _;

use tf_checkpoint::Tensor;

use super::boundary::Boundary;
use super::refusal::Refusal;
use crate::config::graph::View;

/// Describes a boundary, one line for each tensor: what is fed or read, its name, its operation, its shape.
fn describe(view: &View<'_>, found: &Result<Boundary, Refusal>) -> String {
    let graph = view.graph();
    let boundary = match found {
        Ok(boundary) => boundary,
        Err(refusal) => {
            let node = refusal
                .node
                .map_or_else(String::new, |node| graph.name(node));
            return format!("refused {node}: {}\n", refusal.reason);
        }
    };
    let mut text = String::new();
    let mut line = |what: &str, tensor: Tensor, details: &str| {
        let Tensor { node, output } = tensor;
        let shape = graph.shape(tensor);
        let shape = shape.map_or_else(|| "[...]".to_owned(), |shape| format!("{shape:?}"));
        let (name, op) = (graph.name(node), graph.op(node));
        let index = if output == 0 {
            String::new()
        } else {
            format!(":{output}")
        };
        writeln!(text, "{what} {name}{index} {op} {shape}{details}").unwrap();
    };
    line("output", boundary.output, "");
    for &tensor in &boundary.ids {
        line("ids", tensor, "");
    }
    for &tensor in &boundary.types {
        line("types", tensor, "");
    }
    for &tensor in &boundary.position_ids {
        line("position_ids", tensor, "");
    }
    for mask in &boundary.masks {
        let one = if mask.one_is_attended {
            "attended"
        } else {
            "padding"
        };
        line("mask", mask.tensor, &format!(" {:?} 1={one}", mask.form));
    }
    for positions in &boundary.positions {
        let count = positions
            .per_row
            .map_or("any".to_owned(), |count| count.to_string());
        let details = format!(" {:?} {count}", positions.form);
        line("positions", positions.indices, &details);
    }
    if boundary.has_unmasked_attention {
        text.push_str("unmasked attention\n");
    }
    let size = |size: Option<usize>| size.map_or("any".to_owned(), |size| size.to_string());
    let (batch, length) = (size(boundary.batch), size(boundary.length));
    writeln!(text, "batch {batch} x {length}").unwrap();
    text
}
