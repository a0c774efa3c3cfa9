//! What the training graph tells of a model: its head count and its activation.
//!
//! In the original code's attention, `…/self/Mul/y` is the constant 1/sqrt(head size) and
//! `…/self/Reshape/shape` ends in head count and head size; the activation is an operation directly
//! in the scope of `…/intermediate/dense`.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use super::Error;
use super::claim::{Claim, Source};
use super::config::Activation;
use super::role::Inventory;
use crate::checkpoint::{Constant, MetaGraph, Node};

/// What the graph says, once for each layer that says it.
#[derive(Debug, Default)]
pub(super) struct GraphFacts {
    pub(super) head_sizes: Vec<Claim<usize>>,
    pub(super) head_counts: Vec<Claim<usize>>,
    pub(super) activations: Vec<Claim<Activation>>,
}

/// Operations in the dense scope that tell an activation. `Tanh` beside `Pow` is the tanh
/// approximation of gelu, not tanh.
const ACTIVATIONS: &[(&[&str], Activation)] = &[
    (&["Erf"], Activation::Gelu),
    (&["Pow", "Tanh"], Activation::GeluNew),
    (&["Tanh"], Activation::Tanh),
    (&["Relu"], Activation::Relu),
];

impl GraphFacts {
    /// Reads the nodes of the encoder in scope `body`. Node names go through the same renames as
    /// variables do.
    pub(super) fn read(
        graph: &MetaGraph,
        body: &str,
        inventory: &Inventory,
    ) -> Result<Self, Error> {
        let attention = pattern(body, "attention/self/(Mul/y|Reshape/shape)");
        let activation = pattern(body, "(intermediate/dense)/[^/]+");
        let mut facts = Self::default();
        let mut operations: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        graph.scan(|node| {
            let name = inventory.rename(&node.name);
            if let Some(found) = attention.captures(&name) {
                facts.take_head_size(node, &found[1], graph)?;
            } else if activation.is_match(&name)
                && ACTIVATIONS
                    .iter()
                    .any(|(ops, _)| ops.contains(&node.op.as_str()))
                && let Some((scope, _)) = node.name.rsplit_once('/')
            {
                let scope = operations.entry(scope.to_owned()).or_default();
                scope.insert(node.op.clone());
            }
            Ok(())
        })?;
        for (scope, found) in operations {
            let known = ACTIVATIONS
                .iter()
                .find(|(ops, _)| found.iter().map(String::as_str).eq(ops.iter().copied()));
            if let Some((_, activation)) = known {
                facts.activations.push(Claim::new(
                    *activation,
                    Source::Graph {
                        path: graph.path().to_owned(),
                        node: format!("{scope}/{}", found.last().expect("not empty")),
                    },
                ));
            }
        }
        Ok(facts)
    }

    fn take_head_size(
        &mut self,
        node: &Node<'_>,
        kind: &str,
        graph: &MetaGraph,
    ) -> Result<(), crate::checkpoint::Error> {
        let source = || Source::Graph {
            path: graph.path().to_owned(),
            node: node.name.clone(),
        };
        match (kind, node.constant()?) {
            ("Mul/y", Some(Constant::Floats(values))) => {
                if let [factor] = values[..]
                    && let Some(size) = head_size(factor)
                {
                    self.head_sizes.push(Claim::new(size, source()));
                }
            }
            ("Reshape/shape", Some(Constant::Ints(values))) => {
                if let [.., heads, size] = values[..]
                    && let (Ok(heads), Ok(size)) = (usize::try_from(heads), usize::try_from(size))
                {
                    self.head_counts.push(Claim::new(heads, source()));
                    self.head_sizes.push(Claim::new(size, source()));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn pattern(body: &str, rest: &str) -> Regex {
    Regex::new(&format!(
        "^{}/encoder/layer_[0-9]+/{rest}$",
        regex::escape(body)
    ))
    .expect("a valid pattern around an escaped scope")
}

/// The head size behind the float32 constant 1/sqrt(head size).
fn head_size(factor: f64) -> Option<usize> {
    let size = (1.0 / (factor * factor)).round();
    let is_exact = (1.0 / size.sqrt() - factor).abs() <= factor * f64::from(f32::EPSILON);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a positive whole number below 2^32"
    )]
    (is_exact && (1.0..=4_294_967_295.0).contains(&size)).then_some(size as usize)
}

#[cfg(test)]
mod tests {
    use super::head_size;

    #[test]
    #[allow(clippy::cast_precision_loss)]
    fn head_size_inverts_the_factor() {
        for size in [1_usize, 7, 8, 32, 48, 64, 80, 128, 1024] {
            let factor = 1.0 / (size as f32).sqrt();
            assert_eq!(head_size(f64::from(factor)), Some(size));
        }
        for factor in [0.0, -0.125, f64::NAN, f64::INFINITY, 0.13] {
            assert_eq!(head_size(factor), None, "{factor}");
        }
    }
}
