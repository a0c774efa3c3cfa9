//! The values of the graph's variables: those of the checkpoint, rounded as they are exported.
//!
//! If the export rounds weights (`--dtype float16`), the graph computes with the rounded values too, so
//! that the comparison still shows whether the computations are equal.

use std::collections::HashMap;

use half::{bf16, f16};
use safetensors::Dtype;
use tf_checkpoint::{Checkpoint, MetaGraph, NodeId};
use tf_graph::{Array, Variables};

use crate::config::graph::View;
use crate::export::read_singles;
use crate::plan::Plan;
use crate::progress::Watch;
use crate::variables::Inventory;

/// Reads variables of the graph from a checkpoint.
pub(super) struct Values<'a> {
    graph: &'a MetaGraph,
    checkpoint: &'a Checkpoint,
    inventory: &'a Inventory,
    /// The name of each variable of the graph, in the original code.
    names: HashMap<NodeId, String>,
    /// The type that the export rounds a variable to, by its name in the checkpoint.
    rounded: HashMap<&'a str, Dtype>,
    watch: &'a Watch<'a>,
}

impl<'a> Values<'a> {
    pub(super) fn new(
        view: &View<'a>,
        checkpoint: &'a Checkpoint,
        inventory: &'a Inventory,
        plan: &'a Plan,
        watch: &'a Watch<'a>,
    ) -> Self {
        let tensors = plan.tensors.iter().filter(|tensor| tensor.cast.is_lossy());
        let rounded = tensors.flat_map(|tensor| {
            let variables = tensor.variables.iter();
            variables.map(|variable| (variable.name.as_str(), tensor.cast.to))
        });
        Self {
            graph: view.graph(),
            checkpoint,
            inventory,
            names: view.names(),
            rounded: rounded.collect(),
            watch,
        }
    }
}

impl Variables for Values<'_> {
    fn read(&self, node: NodeId) -> Result<Array, String> {
        let name = self
            .names
            .get(&node)
            .ok_or("the graph does not save this variable")?;
        let entry = self.inventory.get(name);
        let Some(entry) = entry else {
            return Err(format!("the checkpoint has no variable {name}"));
        };
        let variable = &entry.variable;
        let own = self
            .graph
            .shape(node.into())
            .map(|axes| axes.into_iter().map(usize::try_from));
        let own: Option<Vec<usize>> = own.and_then(|axes| axes.collect::<Result<_, _>>().ok());
        if own.is_some_and(|own| !own.is_empty() && own != variable.shape) {
            return Err(format!(
                "the node holds a part of variable {name}, not all of it"
            ));
        }
        let mut values = read_singles(variable, self.checkpoint).map_err(|e| e.to_string())?;
        let counted = self.watch.advance(variable.bytes());
        counted.map_err(|stopped| stopped.to_string())?;
        match self.rounded.get(variable.name.as_str()) {
            Some(Dtype::F16) => round(&mut values, |value| f16::from_f32(value).into()),
            Some(Dtype::BF16) => round(&mut values, |value| bf16::from_f32(value).into()),
            _ => {}
        }
        Array::from_floats(&variable.shape, values).map_err(|error| error.to_string())
    }
}

fn round(values: &mut [f32], to: impl Fn(f32) -> f32) {
    for value in values {
        *value = to(*value);
    }
}
