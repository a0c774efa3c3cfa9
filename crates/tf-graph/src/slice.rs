//! The nodes that a set of tensors depends on, in an order in which they can be computed.

use std::collections::{HashMap, HashSet};

use tf_checkpoint::{NodeId, Tensor};

use crate::flow::Flow;
use crate::operations::is_of_shape;
use crate::ops;
use crate::refusal::Refusal;

/// The most nodes of a slice. An encoder of 24 layers takes 4,000.
const MAX_NODES: usize = 1 << 17;

/// A part of a graph, without the nodes that only forward tensors.
#[derive(Debug)]
pub(crate) struct Slice {
    /// Every node after those that it depends on.
    pub(crate) order: Vec<NodeId>,
    /// The inputs of each node, forwarded tensors replaced by their origins. A node that holds a value
    /// has none.
    inputs: HashMap<NodeId, Vec<Tensor>>,
    /// The origins of the tensors that were requested.
    pub(crate) outputs: Vec<Tensor>,
}

impl Slice {
    /// Collects what `outputs` depend on.
    pub(crate) fn new(flow: &Flow<'_>, outputs: &[Tensor]) -> Result<Self, Refusal> {
        let mut slice = Self {
            order: Vec::new(),
            inputs: HashMap::new(),
            outputs: Vec::new(),
        };
        for &output in outputs {
            let origin = flow.origin(output)?;
            slice.outputs.push(origin);
            slice.add(flow, origin)?;
        }
        Ok(slice)
    }

    /// Adds the nodes of a tensor, depth first.
    fn add(&mut self, flow: &Flow<'_>, tensor: Tensor) -> Result<(), Refusal> {
        if flow.is_fed(tensor) || self.inputs.contains_key(&tensor.node) {
            return Ok(());
        }
        self.begin(flow, tensor.node)?;
        let mut open = HashSet::from([tensor.node]);
        let mut stack = vec![(tensor.node, 0)];
        while let Some((node, operand)) = stack.last_mut() {
            let Some(&input) = self.inputs[node].get(*operand) else {
                self.order.push(*node);
                open.remove(node);
                stack.pop();
                continue;
            };
            *operand += 1;
            if flow.is_fed(input) {
                continue;
            }
            if open.contains(&input.node) {
                let why = "the graph has a cycle here";
                return Err(Refusal::unsupported(input.node, why));
            }
            if !self.inputs.contains_key(&input.node) {
                self.begin(flow, input.node)?;
                open.insert(input.node);
                stack.push((input.node, 0));
            }
        }
        Ok(())
    }

    /// Resolves the inputs of a node.
    fn begin(&mut self, flow: &Flow<'_>, node: NodeId) -> Result<(), Refusal> {
        let graph = flow.graph;
        if self.inputs.len() >= MAX_NODES {
            let why = format!("the computation has more than {MAX_NODES} nodes");
            return Err(Refusal::unsupported(node, why));
        }
        let mut inputs = Vec::new();
        if ops::is_known(graph.op(node)) {
            for &input in graph.inputs(node) {
                if input.is_missing() {
                    let why = "an input of this node is not in the graph";
                    return Err(Refusal::unsupported(node, why));
                }
                flow.walk.step(node)?;
                inputs.push(flow.origin(input)?);
            }
        }
        self.inputs.insert(node, inputs);
        Ok(())
    }

    /// Returns the inputs of a node of the slice.
    pub(crate) fn inputs(&self, node: NodeId) -> &[Tensor] {
        self.inputs.get(&node).map_or(&[], Vec::as_slice)
    }

    /// Returns the nodes whose values depend on `roots`, or on a tensor for which `is_root` holds. Shapes do
    /// not carry values.
    pub(crate) fn dependent(
        &self,
        flow: &Flow<'_>,
        roots: impl Fn(NodeId) -> bool,
        is_root: impl Fn(Tensor) -> bool,
    ) -> HashSet<NodeId> {
        let mut found = HashSet::new();
        for &node in &self.order {
            let depends = |input: &Tensor| {
                is_root(*input) || (!flow.is_fed(*input) && found.contains(&input.node))
            };
            let carries_values = !is_of_shape(flow.graph.op(node));
            if roots(node) || (carries_values && self.inputs(node).iter().any(depends)) {
                found.insert(node);
            }
        }
        found
    }
}
