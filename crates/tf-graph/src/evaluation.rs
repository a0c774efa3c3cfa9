//! The evaluation of a part of a graph: what is fed, what is read, and with which limits.

use std::collections::HashMap;

use tf_checkpoint::{MetaGraph, NodeId, Tensor};

use crate::array::Array;
use crate::batch::{Carry, Rebatch};
use crate::conditions::Conditions;
use crate::constants::literal;
use crate::dropout::neutralised;
use crate::failure::Failure;
use crate::flow::Flow;
use crate::meter::Meter;
use crate::operations::{is_random, is_variable, unsupported};
use crate::ops;
use crate::refusal::Refusal;
use crate::run::{Run, Value};
use crate::slice::Slice;
#[cfg(feature = "tensorflow")]
use crate::tensorflow::Extract;

/// The values of a graph's variables.
pub trait Variables {
    /// Returns the value of the variable at a node, or the reason why it has no value.
    fn read(&self, node: NodeId) -> Result<Array, String>;
}

/// The floating-point type that a graph is evaluated in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// That of the graph; values of 16 bits are computed in float32.
    #[default]
    OfGraph,
    /// float64 instead of float32.
    Double,
}

/// A part of a graph to evaluate.
///
/// See the [crate's documentation](crate) for an example.
pub struct Evaluation<'a> {
    graph: &'a MetaGraph,
    variables: &'a dyn Variables,
    feeds: HashMap<Tensor, Value>,
    rebatch: Option<Rebatch>,
    precision: Precision,
    meter: Meter<'a>,
}

/// What was evaluated.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Evaluated {
    /// The values of the requested tensors, in their order.
    pub values: Vec<Array>,
    /// The number of nodes that were computed.
    pub nodes: usize,
    /// The number of dropouts that were left out.
    pub dropouts: usize,
}

impl<'a> Evaluation<'a> {
    /// Creates an evaluation without feeds.
    pub fn new(graph: &'a MetaGraph, variables: &'a dyn Variables) -> Self {
        Self {
            graph,
            variables,
            feeds: HashMap::new(),
            rebatch: None,
            precision: Precision::default(),
            meter: Meter::small(),
        }
    }

    /// Gives a tensor a value, whatever computes it in the graph. Its first axis is the batch, with `inner`
    /// elements for each sequence.
    #[must_use]
    pub fn feed(mut self, tensor: Tensor, array: Array, inner: usize) -> Self {
        let carry = Some(Carry { axis: 0, inner });
        self.feeds.insert(tensor, Value { array, carry });
        self
    }

    /// Evaluates with `to` sequences a graph that was built for a batch of `from`. Equal sizes change nothing.
    #[must_use]
    pub fn batch(mut self, from: usize, to: usize) -> Self {
        self.rebatch = (from != to).then_some(Rebatch { from, to });
        self
    }

    /// Sets the floating-point type.
    #[must_use]
    pub fn precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// Sets the limits on memory and work, and what cancels the evaluation.
    #[must_use]
    pub fn meter(mut self, meter: Meter<'a>) -> Self {
        self.meter = meter;
        self
    }

    /// Returns the values of tensors.
    ///
    /// # Errors
    /// [`Refusal`] if a node has an operation that is not supported, draws random numbers other than for a
    /// dropout, needs an input that is not fed, or if a limit is reached.
    pub fn run(&self, outputs: &[Tensor]) -> Result<Evaluated, Refusal> {
        let conditions = Conditions::new(self.graph, &self.meter);
        let mut flow = Flow::new(self.graph, self.feeds.keys().copied(), &conditions);
        let (slice, dropouts) = neutral_slice(&mut flow, outputs)?;
        let leaf = |node| self.leaf(node);
        let widens = self.precision == Precision::Double;
        let widened = |value: &Value| Value {
            array: value.array.clone().widened(),
            carry: value.carry,
        };
        let feeds: HashMap<Tensor, Value> = if widens {
            let feeds = self.feeds.iter();
            feeds.map(|(&at, value)| (at, widened(value))).collect()
        } else {
            self.feeds.clone()
        };
        let run = Run {
            flow: &flow,
            leaf: &leaf,
            feeds: &feeds,
            rebatch: self.rebatch,
            widens,
            meter: &self.meter,
        };
        Ok(Evaluated {
            values: run.outputs(&slice)?,
            nodes: slice.order.len(),
            dropouts,
        })
    }

    /// As [`run`](Self::run), in TensorFlow's own library. The batch must have the graph's own size, and
    /// the precision is that of the graph.
    ///
    /// # Errors
    /// As [`run`](Self::run), and if the library cannot be loaded or does not accept the nodes.
    #[cfg(feature = "tensorflow")]
    pub fn run_in_tensorflow(&self, outputs: &[Tensor]) -> Result<Evaluated, Refusal> {
        let conditions = Conditions::new(self.graph, &self.meter);
        let mut flow = Flow::new(self.graph, self.feeds.keys().copied(), &conditions);
        let (slice, dropouts) = neutral_slice(&mut flow, outputs)?;
        let feeds = self
            .feeds
            .iter()
            .map(|(&at, value)| (at, value.array.clone()));
        let values = Extract::new(self.graph).run(&slice, feeds, |node| self.leaf(node))?;
        Ok(Evaluated {
            values,
            nodes: slice.order.len(),
            dropouts,
        })
    }

    /// Returns the nodes that would be computed, each after those that it depends on.
    ///
    /// # Errors
    /// As [`run`](Self::run), as far as they show without values.
    pub fn nodes(&self, outputs: &[Tensor]) -> Result<Vec<NodeId>, Refusal> {
        let conditions = Conditions::new(self.graph, &self.meter);
        let mut flow = Flow::new(self.graph, self.feeds.keys().copied(), &conditions);
        Ok(neutral_slice(&mut flow, outputs)?.0.order)
    }

    /// Returns the value of a node that is not computed.
    fn leaf(&self, node: NodeId) -> Result<Array, Failure> {
        let graph = self.graph;
        let op = graph.op(node);
        if is_variable(op) {
            return self.variables.read(node).map_err(Failure::Unsupported);
        }
        if is_random(op) {
            let why = format!("random numbers of {op} are not those of a dropout");
            return Err(Failure::Unsupported(why));
        }
        literal(graph, node, &self.meter)
    }
}

/// Collects what `outputs` depend on without dropout; returns the number of dropouts.
fn neutral_slice(flow: &mut Flow<'_>, outputs: &[Tensor]) -> Result<(Slice, usize), Refusal> {
    let slice = Slice::new(flow, outputs)?;
    // Checked first: behind such a node nothing depends on what is fed.
    for &node in &slice.order {
        let op = flow.graph.op(node);
        let has_value = ops::is_known(op) || op == "Const" || is_variable(op);
        if !has_value && !is_random(op) {
            return Err(Refusal::unsupported(node, unsupported(op)));
        }
    }
    let aliases = neutralised(flow, &slice)?;
    if aliases.is_empty() {
        return Ok((slice, 0));
    }
    let dropouts = aliases.len();
    flow.alias(aliases);
    Ok((Slice::new(flow, outputs)?, dropouts))
}
