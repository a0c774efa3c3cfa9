//! The part of a graph that an output is computed from, and the dependences between its tensors.
//!
//! A [`Slice`] holds the tensors that an output needs, down to the tensors that are fed, in an order in which
//! inputs come first. Dependence is by value: the result of `Shape` or `ZerosLike` does not depend on the
//! elements of its input. A `Merge` of a loop takes its value from the loop's `Enter`; a `Merge` of a
//! conditional depends on all branches, because the branch does not change what is fed.

use std::collections::HashSet;

use tf_checkpoint::Tensor;
use tf_graph::is_of_shape;

use super::refusal::Refusal;
use crate::config::graph::{View, constant};

/// Operations that draw random numbers.
const RANDOM: &[&str] = &[
    "Random",
    "StatelessRandom",
    "TruncatedNormal",
    "Multinomial",
];
/// Operations that return inputs of the graph although they have inputs: iterators, queues, records.
const SOURCES: &[&str] = &[
    "IteratorGetNext",
    "OptionalGetValue",
    "InfeedDequeue",
    "QueueDequeue",
    "Unstage",
    "ParseExample",
    "ParseSingleExample",
    "PyFunc",
    "EagerPyFunc",
];
/// Operations with a constant value of their own.
const CONSTANTS: &[&str] = &["Const", "HostConst"];
/// The most tensors in a slice. A model of 24 layers has 6,000.
const MAX_TENSORS: usize = 1 << 18;

/// The most inputs of the tensors in a slice together.
const MAX_EDGES: usize = 1 << 20;

/// The tensors that an output is computed from.
#[derive(Debug)]
pub(super) struct Slice<'a> {
    view: &'a View<'a>,
    /// Inputs before their consumers.
    order: Vec<Tensor>,
}

/// The tensors of a slice by what they depend on.
#[derive(Debug)]
pub(super) struct Dependence {
    /// On the rows of an embedding table.
    pub(super) features: HashSet<Tensor>,
    /// On fed ids or token types.
    pub(super) fed: HashSet<Tensor>,
    /// On other inputs of the graph, or on random numbers.
    pub(super) data: HashSet<Tensor>,
}

impl<'a> Slice<'a> {
    /// Collects the tensors that `output` needs, without the tensors in `fed` and what is before them.
    pub(super) fn new(
        view: &'a View<'a>,
        output: Tensor,
        fed: &HashSet<Tensor>,
    ) -> Result<Self, Refusal> {
        let mut order = Vec::new();
        let mut seen = HashSet::new();
        // A tensor is visited twice: before and after its inputs.
        let mut open = vec![(output, false)];
        let mut edges = 0;
        while let Some((tensor, is_done)) = open.pop() {
            if is_done {
                order.push(tensor);
                continue;
            }
            if fed.contains(&tensor) || !seen.insert(tensor) {
                continue;
            }
            if seen.len() > MAX_TENSORS {
                let why = format!("the output is computed from more than {MAX_TENSORS} tensors");
                return Err(Refusal::at(tensor.node, why));
            }
            open.push((tensor, true));
            let inputs = inputs(view, tensor);
            edges += inputs.len();
            if edges > MAX_EDGES {
                let why = format!("the output is computed from more than {MAX_EDGES} inputs");
                return Err(Refusal::at(tensor.node, why));
            }
            let inputs = inputs.into_iter();
            let unseen = inputs.filter(|input| !seen.contains(input));
            open.extend(unseen.map(|input| (input, false)));
        }
        Ok(Self { view, order })
    }

    /// Returns the tensors, inputs before their consumers.
    pub(super) fn tensors(&self) -> &[Tensor] {
        &self.order
    }

    /// Returns the tensors in `roots`, and those that depend on the values of one of them.
    pub(super) fn dependents(&self, roots: &HashSet<Tensor>) -> HashSet<Tensor> {
        self.dependents_where(roots.clone(), |_| false)
    }

    /// Returns the tensors that depend on data: on an input of the graph, on a random number, or on a constant
    /// `[batch, sequence]` whose elements differ, in a graph that is built around one batch.
    pub(super) fn data(&self, shape: BatchShape) -> HashSet<Tensor> {
        self.dependents_where(HashSet::new(), |tensor| {
            is_data(self.view, tensor) || is_batch(self.view, tensor, shape)
        })
    }

    fn dependents_where(
        &self,
        mut found: HashSet<Tensor>,
        is_root: impl Fn(Tensor) -> bool,
    ) -> HashSet<Tensor> {
        for &tensor in &self.order {
            let depends = || {
                value_inputs(self.view, tensor)
                    .iter()
                    .any(|input| found.contains(input))
            };
            if is_root(tensor) || depends() {
                found.insert(tensor);
            }
        }
        found
    }
}

/// Returns the inputs that a tensor takes its value from, apart from missing ones.
pub(super) fn value_inputs(view: &View<'_>, tensor: Tensor) -> Vec<Tensor> {
    if is_of_shape(view.graph().op(tensor.node)) {
        return Vec::new();
    }
    inputs(view, tensor)
}

/// Returns the inputs that a tensor is computed from, apart from missing ones.
fn inputs(view: &View<'_>, tensor: Tensor) -> Vec<Tensor> {
    let graph = view.graph();
    let node = tensor.node;
    let only = |operand: usize| graph.input(node, operand).into_iter().collect();
    match graph.op(node) {
        "Merge" | "RefMerge" => {
            let inputs = graph.inputs(node).iter().copied();
            let inputs: Vec<Tensor> = inputs.filter(|input| !input.is_missing()).collect();
            let is_entry = |input: &&Tensor| matches!(graph.op(input.node), "Enter" | "RefEnter");
            match inputs.iter().find(is_entry) {
                Some(&entry) => vec![entry],
                None => inputs,
            }
        }
        "Switch" | "RefSwitch" => only(0),
        "IdentityN" => only(tensor.output as usize),
        _ => {
            let inputs = graph.inputs(node).iter().copied();
            inputs.filter(|input| !input.is_missing()).collect()
        }
    }
}

/// Returns true for an input of the graph (a placeholder, an iterator, a node that the file lacks) and
/// for a random operation.
fn is_data(view: &View<'_>, tensor: Tensor) -> bool {
    let graph = view.graph();
    let op = graph.op(tensor.node);
    let is_random = RANDOM.iter().any(|random| op.starts_with(random));
    is_random || is_source(view, tensor)
}

/// Returns true for a constant `[batch, sequence]` whose elements differ.
fn is_batch(view: &View<'_>, tensor: Tensor, shape: BatchShape) -> bool {
    let graph = view.graph();
    graph.op(tensor.node) == "Const"
        && shape.batch.is_some()
        && shape.length.is_some()
        && graph
            .shape(tensor)
            .is_some_and(|found| shape.is_rows(&found))
        && constant(view, tensor).is_none()
}

/// Returns true for an input of the graph.
pub(super) fn is_source(view: &View<'_>, tensor: Tensor) -> bool {
    let graph = view.graph();
    let node = tensor.node;
    let op = graph.op(node);
    if op == "PlaceholderWithDefault" {
        // A scalar is a switch such as `is_training`, which keeps its default.
        return graph.shape(tensor).is_none_or(|shape| !shape.is_empty());
    }
    if SOURCES.iter().any(|source| op.starts_with(source)) {
        return true;
    }
    let is_leaf = graph.inputs(node).iter().all(|input| input.is_missing());
    is_leaf && !view.is_variable(node) && !CONSTANTS.contains(&op) && !is_of_shape(op)
}

/// The static shape of the token ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct BatchShape {
    pub(super) batch: Option<usize>,
    pub(super) length: Option<usize>,
}

impl BatchShape {
    /// Takes the sizes from shapes `[batch, sequence]`, which must agree.
    pub(super) fn of(view: &View<'_>, ids: &[Tensor]) -> Result<Self, Refusal> {
        let mut found = Self::default();
        for &tensor in ids {
            let Some([batch, length]) = view.graph().shape(tensor).as_deref().map(sizes) else {
                continue;
            };
            for (known, size) in [(&mut found.batch, batch), (&mut found.length, length)] {
                match (*known, size) {
                    (Some(known), Some(size)) if known != size => {
                        let why = format!("token ids have sizes {known} and {size} in one model");
                        return Err(Refusal::at(tensor.node, why));
                    }
                    (None, Some(_)) => *known = size,
                    _ => {}
                }
            }
        }
        Ok(found)
    }

    /// Returns true if an axis may have the size of the batch.
    pub(super) fn is_batch(self, axis: i64) -> bool {
        fits(axis, self.batch)
    }

    /// Returns true if an axis may have the size of the sequence. A column is no sequence.
    fn is_length(self, axis: i64) -> bool {
        fits(axis, self.length) && (axis != 1 || self.length.is_some())
    }

    /// Returns true if a shape may be `[batch, sequence]`.
    pub(super) fn is_rows(self, shape: &[i64]) -> bool {
        matches!(shape, [batch, length] if self.is_batch(*batch) && self.is_length(*length))
    }
}

fn fits(axis: i64, size: Option<usize>) -> bool {
    axis == -1 || size.is_none_or(|size| usize::try_from(axis) == Ok(size))
}

fn sizes(shape: &[i64]) -> [Option<usize>; 2] {
    let size = |axis: Option<&i64>| usize::try_from(*axis?).ok().filter(|&size| size > 0);
    [size(shape.first()), size(shape.get(1))]
}
