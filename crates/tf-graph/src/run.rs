//! Computes the nodes of a slice in order, and drops each value after its last use.

use std::collections::HashMap;

use tf_checkpoint::{NodeId, Tensor};

use crate::array::Array;
use crate::batch::{Carry, Rebatch};
use crate::failure::Failure;
use crate::flow::Flow;
use crate::meter::Meter;
use crate::ops::{self, Operation};
use crate::refusal::Refusal;
use crate::slice::Slice;

/// Returns the value of a node that holds one, such as a constant.
pub(crate) type Leaf<'a> = &'a dyn Fn(NodeId) -> Result<Array, Failure>;

/// The value of a tensor, and where its batch is.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    pub(crate) array: Array,
    pub(crate) carry: Option<Carry>,
}

/// A computation of a slice.
pub(crate) struct Run<'a> {
    pub(crate) flow: &'a Flow<'a>,
    pub(crate) leaf: Leaf<'a>,
    pub(crate) feeds: &'a HashMap<Tensor, Value>,
    pub(crate) rebatch: Option<Rebatch>,
    /// Computes in float64.
    pub(crate) widens: bool,
    pub(crate) meter: &'a Meter<'a>,
}

impl Run<'_> {
    /// Returns the values of the slice's outputs.
    pub(crate) fn outputs(&self, slice: &Slice) -> Result<Vec<Array>, Refusal> {
        let mut values = Values::new(slice, self.feeds, self.meter);
        for &node in &slice.order {
            let refused = |reason| Refusal::at(node, reason);
            self.meter.check_cancelled().map_err(refused)?;
            let inputs = slice.inputs(node).iter().map(|&input| values.take(input));
            let inputs: Option<Vec<Value>> = inputs.collect();
            let missing = || Failure::Invalid("an output of this node does not exist".to_owned());
            let inputs = inputs.ok_or_else(|| refused(missing()))?;
            let computed = self.compute(node, inputs).map_err(refused)?;
            values.put(node, computed);
        }
        let outputs = slice.outputs.iter().map(|&output| {
            let missing = Failure::Invalid("an output of this node does not exist".to_owned());
            let value = values.take(output).map(|value| value.array);
            value.ok_or_else(|| Refusal::at(output.node, missing))
        });
        outputs.collect()
    }

    fn compute(&self, node: NodeId, inputs: Vec<Value>) -> Result<Vec<Value>, Failure> {
        let graph = self.flow.graph;
        let (mut arrays, carries): (Vec<Array>, Vec<Option<Carry>>) = inputs
            .into_iter()
            .map(|value| (value.array, value.carry))
            .unzip();
        let operation = Operation { graph, node };
        if !ops::is_known(graph.op(node)) {
            let array = self.adjusted((self.leaf)(node)?);
            return Ok(vec![Value { array, carry: None }]);
        }
        let reshaped = match &self.rebatch {
            Some(rebatch) => rebatch.adapt(operation, &mut arrays, &carries)?,
            None => None,
        };
        let outputs = ops::compute(operation, arrays, self.meter)?;
        let values = std::iter::zip(outputs, 0..).map(|(array, output)| {
            let array = self.adjusted(array);
            let carry = match &self.rebatch {
                Some(rebatch) => {
                    let tensor = Tensor { node, output };
                    let placed =
                        rebatch.place(operation, tensor, array.shape(), &carries, reshaped);
                    // Further outputs are rarely used, and their shapes are often not recorded; a use
                    // without a known batch is refused.
                    if output == 0 {
                        placed?
                    } else {
                        placed.unwrap_or_default()
                    }
                }
                None => None,
            };
            Ok(Value { array, carry })
        });
        values.collect()
    }

    fn adjusted(&self, array: Array) -> Array {
        if self.widens { array.widened() } else { array }
    }
}

/// The values that are still needed.
struct Values<'a> {
    meter: &'a Meter<'a>,
    of_nodes: HashMap<NodeId, Vec<Value>>,
    fed: HashMap<Tensor, Value>,
    /// The number of times that each value will be requested.
    uses: HashMap<NodeId, usize>,
}

impl<'a> Values<'a> {
    fn new(slice: &Slice, feeds: &HashMap<Tensor, Value>, meter: &'a Meter<'a>) -> Self {
        let mut uses: HashMap<NodeId, usize> = HashMap::new();
        let inputs = slice.order.iter().flat_map(|&node| slice.inputs(node));
        for tensor in inputs.chain(&slice.outputs) {
            *uses.entry(tensor.node).or_default() += 1;
        }
        Self {
            of_nodes: HashMap::new(),
            fed: feeds.clone(),
            uses,
            meter,
        }
    }

    fn put(&mut self, node: NodeId, values: Vec<Value>) {
        if self.uses.get(&node).is_some_and(|&uses| uses > 0) {
            self.meter.hold(size(&values));
            self.of_nodes.insert(node, values);
        }
    }

    /// Returns the value of a tensor; the last request takes it away.
    fn take(&mut self, tensor: Tensor) -> Option<Value> {
        if let Some(value) = self.fed.get(&tensor) {
            return Some(value.clone());
        }
        let uses = self.uses.get_mut(&tensor.node)?;
        *uses = uses.checked_sub(1)?;
        let output = tensor.output as usize;
        if *uses > 0 {
            return self.of_nodes.get(&tensor.node)?.get(output).cloned();
        }
        let mut values = self.of_nodes.remove(&tensor.node)?;
        self.meter.release(size(&values));
        (output < values.len()).then(|| values.swap_remove(output))
    }
}

fn size(values: &[Value]) -> usize {
    values.iter().map(|value| value.array.bytes()).sum()
}
