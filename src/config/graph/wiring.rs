//! What the dense layer of a task's head reads, by following the graph from its kernel back to the
//! encoder.
//!
//! | the layer reads | [`Wiring`] |
//! |---|---|
//! | the last layer's output of every token, also flattened, or of chosen tokens | `Tokens(Every)` |
//! | the last layer's output of the first token | `Tokens(First)` |
//! | a mean, a concatenation, a hidden layer, another layer | `Foreign`, by its node |
//!
//! Dropout on the way is neutralised. An operation that none of this explains is not understood.

use std::collections::{HashMap, HashSet};

use tf_checkpoint::{NodeId, Tensor};

use super::NotUnderstood;
use super::dropout::mean_over_draws;
use super::view::View;

/// Which tokens a dense layer reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    /// Every token, or those at given positions.
    Every,
    /// The first token of each sequence.
    First,
}

/// What a dense layer reads.
#[derive(Clone, Debug)]
pub(crate) enum Wiring {
    /// Outputs of the encoder's last layer.
    Tokens(Reads, NodeId),
    /// Something that no Hugging Face class computes.
    Foreign {
        /// What it is, such as `the mean of several tokens`.
        what: String,
        /// The name of the node that computes it.
        node: String,
    },
}

/// How many operations may lie between a head and the encoder.
const MAX_STEPS: usize = 200;
/// How far the product of all factors may be off 1.
const TOLERANCE: f64 = 1e-4;
/// What operations make of several tokens, layers or features.
const FOREIGN: &[(&[&str], &str)] = &[
    (&["Mean", "Sum"], "the mean or sum of several tokens"),
    (
        &["Max", "Min", "ArgMax", "TopKV2"],
        "the extremes of several tokens",
    ),
    (&["ConcatV2", "Concat"], "a concatenation"),
    (
        &["AddN", "Add", "AddV2", "BiasAdd", "Pack"],
        "a sum or stack of several values",
    ),
    (
        &[
            "MatMul",
            "BatchMatMul",
            "BatchMatMulV2",
            "BatchMatMulV3",
            "Einsum",
            "Conv2D",
        ],
        "the output of another layer",
    ),
    (
        &[
            "Tanh",
            "Relu",
            "Sigmoid",
            "Erf",
            "Elu",
            "LeakyRelu",
            "Softplus",
            "Pow",
        ],
        "an activation",
    ),
];

/// Reads the wiring of the dense layer `dense` on the encoder with these layers; `None` where the
/// graph does not compute it.
pub(crate) fn read(
    view: &View<'_>,
    dense: &str,
    layers: &[String],
) -> Result<Option<Wiring>, NotUnderstood> {
    let outputs: HashMap<NodeId, usize> = std::iter::zip(layers, 0..)
        .flat_map(|(layer, at)| {
            let outputs = view.norm_outputs(&format!("{layer}/output/LayerNorm"));
            outputs.into_iter().map(move |output| (output, at))
        })
        .collect();
    let mut found: Option<Wiring> = None;
    for product in view.products(&format!("{dense}/kernel")) {
        let Some(features) = product.features else {
            continue;
        };
        let mut trace = Trace {
            view,
            outputs: &outputs,
            last: layers.len().saturating_sub(1),
            product: product.node,
            reads: Reads::Every,
            scale: 1.0,
        };
        let pooled = pooled_behind(view, product.node);
        let wiring = trace.follow(features).map_err(|node| {
            let op = view.graph().op(node);
            NotUnderstood {
                subject: format!("what {dense} reads"),
                node,
                why: format!("operation {op} is not known between an encoder and a head"),
                is_foreign: false,
            }
        })?;
        let wiring = match (wiring, pooled) {
            (Wiring::Tokens(Reads::Every, _), Some(node)) => {
                let what = "every token, and its outputs are pooled or selected".to_owned();
                Wiring::Foreign {
                    what,
                    node: view.graph().name(node),
                }
            }
            (wiring, _) => wiring,
        };
        match (&found, &wiring) {
            (Some(Wiring::Tokens(first, _)), Wiring::Tokens(other, _)) if first == other => {}
            (None, _) => found = Some(wiring),
            (Some(_), _) => {
                return Err(NotUnderstood {
                    subject: format!("what {dense} reads"),
                    node: product.node,
                    why: "the layer is used twice, on different values".to_owned(),
                    is_foreign: true,
                });
            }
        }
    }
    Ok(found)
}

/// The node that pools, or picks from, the outputs of a dense layer of one token each, if one does.
fn pooled_behind(view: &View<'_>, product: NodeId) -> Option<NodeId> {
    /// Adding the bias, and changes of shape.
    const MAX_DEPTH: usize = 6;
    const POOLING: &[&str] = &[
        "Mean",
        "Max",
        "StridedSlice",
        "Slice",
        "GatherV2",
        "GatherNd",
    ];
    let graph = view.graph();
    let mut level = vec![product];
    for _ in 0..MAX_DEPTH {
        let next = level.iter().flat_map(|&node| graph.consumers(node));
        // Of operations with several inputs the first is the one that is reshaped or selected from.
        let next: Vec<NodeId> = next
            .filter(|next| next.operand == 0)
            .map(|next| next.node)
            .take(MAX_STEPS)
            .collect();
        let pooled = next.iter().find(|&&node| POOLING.contains(&graph.op(node)));
        if let Some(&node) = pooled {
            return Some(node);
        }
        level = next;
        level.retain(|&node| {
            matches!(graph.op(node), "BiasAdd" | "Add" | "AddV2" | "Identity")
                || view.keeps_order(node)
        });
    }
    None
}

/// One way from a product back to the encoder.
struct Trace<'a> {
    view: &'a View<'a>,
    /// The outputs of the encoder's layers, with the number of the layer.
    outputs: &'a HashMap<NodeId, usize>,
    last: usize,
    product: NodeId,
    reads: Reads,
    scale: f64,
}

/// One step back.
enum Step {
    To(Tensor),
    Foreign(&'static str),
}

impl Trace<'_> {
    /// Follows `tensor`; the error is the node that is not understood.
    fn follow(&mut self, mut tensor: Tensor) -> Result<Wiring, NodeId> {
        for _ in 0..MAX_STEPS {
            tensor = self.view.flat_origin(tensor);
            if let Some(&layer) = self.outputs.get(&tensor.node) {
                return Ok(self.arrive(layer, tensor.node));
            }
            match self.step(tensor)? {
                Step::To(next) => tensor = next,
                Step::Foreign(what) => return Ok(self.foreign(what.to_owned(), tensor.node)),
            }
        }
        Err(tensor.node)
    }

    fn arrive(&self, layer: usize, node: NodeId) -> Wiring {
        if layer != self.last {
            let what = format!("layer {layer} of the encoder, which has {}", self.last + 1);
            return self.foreign(what, node);
        }
        if (self.scale - 1.0).abs() > TOLERANCE {
            return self.foreign(
                format!("the encoder's output times {:.4}", self.scale),
                node,
            );
        }
        Wiring::Tokens(self.reads, self.product)
    }

    fn foreign(&self, what: String, node: NodeId) -> Wiring {
        Wiring::Foreign {
            what,
            node: self.view.graph().name(node),
        }
    }

    fn step(&mut self, tensor: Tensor) -> Result<Step, NodeId> {
        let graph = self.view.graph();
        let node = tensor.node;
        let input = |operand| graph.input(node, operand).ok_or(node);
        let op = graph.op(node);
        match op {
            "Mul" => {
                for (features, factor) in [(0, 1), (1, 0)] {
                    if let Some(factor) = self.constant(input(factor)?) {
                        self.scale *= factor;
                        return Ok(Step::To(input(features)?));
                    }
                }
                self.foreign_behind(node)
            }
            "RealDiv" | "Div" => match self.constant(input(1)?) {
                Some(divisor) => {
                    self.scale /= divisor;
                    Ok(Step::To(input(0)?))
                }
                None => self.foreign_behind(node),
            },
            // Dropout: what is dropped is 0.
            "Select" | "SelectV2" => {
                let (kept, dropped) = match (self.constant(input(1)?), self.constant(input(2)?)) {
                    (_, Some(0.0)) => (1, false),
                    (Some(0.0), _) => (2, true),
                    _ => return self.foreign_behind(node),
                };
                let condition = self.constant(input(0)?).ok_or(node)?;
                self.scale *= if dropped { 1.0 - condition } else { condition };
                Ok(Step::To(input(kept)?))
            }
            "StridedSlice" | "Slice" | "GatherV2" | "Gather" | "GatherNd" | "ResourceGather" => {
                self.select(node)
            }
            "Split" => {
                let axis = self.constant(input(0)?);
                self.take_item(node, axis, tensor.output, input(1)?)
            }
            "SplitV" => {
                let axis = self.constant(input(2)?);
                self.take_item(node, axis, tensor.output, input(0)?)
            }
            "Unpack" => {
                let axis = graph.integer(node, "axis");
                #[allow(clippy::cast_precision_loss, reason = "an axis")]
                self.take_item(node, Some(axis as f64), tensor.output, input(0)?)
            }
            _ => match FOREIGN.iter().find(|(ops, _)| ops.contains(&op)) {
                Some((_, what)) => Ok(Step::Foreign(what)),
                None => self.foreign_behind(node),
            },
        }
    }

    /// A number that a tensor holds whatever the features are; the mean over the draws of a dropout
    /// mask.
    fn constant(&self, tensor: Tensor) -> Option<f64> {
        match mean_over_draws(self.view, tensor, &[]).ok()?.0[..] {
            [value] => Some(value),
            _ => None,
        }
    }

    /// Explains a node that combines features in an unknown way by what lies close behind it, such as
    /// the sum in a mean over the tokens that are not padding.
    fn foreign_behind(&self, node: NodeId) -> Result<Step, NodeId> {
        const MAX_DEPTH: usize = 6;
        let op = |node| self.view.graph().op(node);
        let mut seen = HashSet::from([node]);
        let mut level = vec![node];
        for _ in 0..MAX_DEPTH {
            level = self.behind(&level, &mut seen);
            for &behind in level
                .iter()
                .filter(|&&behind| self.depends_on_encoder(behind))
            {
                let mut foreign = FOREIGN.iter();
                if let Some((_, what)) = foreign.find(|(ops, _)| ops.contains(&op(behind))) {
                    return Ok(Step::Foreign(what));
                }
            }
        }
        Err(node)
    }

    /// True where an output of the encoder lies close behind a node.
    fn depends_on_encoder(&self, node: NodeId) -> bool {
        const MAX_DEPTH: usize = 12;
        let reads_output = |node: &NodeId| {
            let mut inputs = self.view.graph().inputs(*node).iter();
            inputs.any(|input| self.outputs.contains_key(&input.node))
        };
        let mut seen = HashSet::from([node]);
        let mut level = vec![node];
        for _ in 0..MAX_DEPTH {
            if level.iter().any(reads_output) {
                return true;
            }
            level = self.behind(&level, &mut seen);
        }
        false
    }

    /// The inputs of nodes, without those seen before; the encoder itself is not entered.
    fn behind(&self, nodes: &[NodeId], seen: &mut HashSet<NodeId>) -> Vec<NodeId> {
        /// More than any head combines.
        const MAX_NODES: usize = 128;
        let inputs = nodes
            .iter()
            .flat_map(|&node| self.view.graph().inputs(node));
        inputs
            .filter(|input| !input.is_missing())
            .map(|input| input.node)
            .filter(|input| !self.outputs.contains_key(input) && seen.insert(*input))
            .take(MAX_NODES)
            .collect()
    }

    /// InventoryEntry `index` along an axis.
    fn take_item(
        &mut self,
        node: NodeId,
        axis: Option<f64>,
        index: u32,
        from: Tensor,
    ) -> Result<Step, NodeId> {
        let layers = self.view.flat_origin(from);
        if axis == Some(0.0) && self.view.graph().op(layers.node) == "Pack" {
            return self.unpack(layers.node, i64::from(index));
        }
        // An item of a split may be longer than a token.
        let graph = self.view.graph();
        let item = Tensor {
            node,
            output: index,
        };
        let is_token = graph.op(node) == "Unpack"
            || graph
                .shape(item)
                .is_some_and(|shape| shape.get(1) == Some(&1));
        match (axis, index) {
            _ if !is_token => Err(node),
            (Some(1.0), 0) => Ok(self.first_of(from)),
            (Some(1.0), _) => Ok(Step::Foreign("another token than the first")),
            _ => Err(node),
        }
    }

    fn first_of(&mut self, from: Tensor) -> Step {
        self.reads = Reads::First;
        Step::To(from)
    }

    /// InventoryEntry `index` of a stack along its first axis.
    fn unpack(&self, stack: NodeId, index: i64) -> Result<Step, NodeId> {
        let graph = self.view.graph();
        let axis = graph.integer(stack, "axis");
        let items = graph.inputs(stack);
        let len = i64::try_from(items.len()).map_err(|_| stack)?;
        let at = if index < 0 { index + len } else { index };
        let item = usize::try_from(at).ok().and_then(|at| items.get(at));
        match item {
            Some(&item) if axis == 0 && !item.is_missing() => Ok(Step::To(item)),
            _ => Err(stack),
        }
    }

    /// A part of the tokens, or one of a stack of layers.
    fn select(&mut self, node: NodeId) -> Result<Step, NodeId> {
        let graph = self.view.graph();
        let from = graph.input(node, 0).ok_or(node)?;
        if matches!(graph.op(node), "GatherV2" | "Gather" | "GatherNd") {
            return self.gather(node, from);
        }
        let axes = match graph.op(node) {
            "Slice" => self.slice(node),
            _ => self.strided_slice(node),
        };
        let axes = axes.ok_or(node)?;
        let stack = self.view.origin(from, |_| false).node;
        if graph.op(stack) == "Pack" {
            return match axes[..] {
                [Part::InventoryEntry(index), ..]
                    if axes[1..].iter().all(|part| *part == Part::All) =>
                {
                    self.unpack(stack, index)
                }
                _ => Err(node),
            };
        }
        // `[batch, sequence, hidden]`: in flattened tokens the second axis is another.
        if graph.shape(from).is_some_and(|shape| shape.len() != 3) {
            return Err(node);
        }
        match axes[..] {
            _ if axes.iter().all(|part| *part == Part::All) => Ok(Step::To(from)),
            [Part::All, tokens, ..] if axes[2..].iter().all(|part| *part == Part::All) => {
                match tokens {
                    Part::InventoryEntry(0) => Ok(self.first_of(from)),
                    _ => Ok(Step::Foreign("a part of the tokens")),
                }
            }
            _ => Err(node),
        }
    }

    /// The numbers of a constant input.
    fn numbers(&self, node: NodeId, operand: usize) -> Option<Vec<i64>> {
        let graph = self.view.graph();
        let input = self.view.flat_origin(graph.input(node, operand)?);
        let values = graph.constant(input.node)?.values;
        #[allow(clippy::cast_possible_truncation, reason = "checked to be whole")]
        let whole = |value: f64| (value.fract() == 0.0).then_some(value as i64);
        values.into_iter().map(whole).collect()
    }

    fn slice(&self, node: NodeId) -> Option<Vec<Part>> {
        let [begin, size] = [self.numbers(node, 1)?, self.numbers(node, 2)?];
        let from = self.view.graph().input(node, 0)?;
        let shape = self.view.graph().shape(from).unwrap_or_default();
        let parts = std::iter::zip(begin, size)
            .enumerate()
            .map(|(axis, (begin, size))| {
                let all = size == -1 || shape.get(axis).is_some_and(|&len| len == size);
                match (begin, size) {
                    (0, _) if all => Part::All,
                    (_, 1) => Part::InventoryEntry(begin),
                    _ => Part::Some,
                }
            });
        Some(parts.collect())
    }

    fn strided_slice(&self, node: NodeId) -> Option<Vec<Part>> {
        let graph = self.view.graph();
        let mask = |key| graph.integer(node, key);
        let [begin_mask, end_mask, shrink] =
            ["begin_mask", "end_mask", "shrink_axis_mask"].map(mask);
        if mask("ellipsis_mask") != 0 || mask("new_axis_mask") != 0 {
            return None;
        }
        let [begin, end, strides] = [1, 2, 3].map(|operand| self.numbers(node, operand));
        let (begin, end, strides) = (begin?, end?, strides?);
        let from = graph.input(node, 0)?;
        let shape = graph.shape(from).unwrap_or_default();
        let axes = std::iter::zip(std::iter::zip(begin, end), strides).enumerate();
        let parts = axes.map(|(axis, ((begin, end), stride))| {
            let has = |mask: i64| axis < 63 && mask & (1 << axis) != 0;
            let from_start = has(begin_mask) || begin == 0;
            let to_end = has(end_mask) || shape.get(axis).is_some_and(|&len| len == end);
            if has(shrink) {
                Part::InventoryEntry(begin)
            } else if stride == 1 && from_start && to_end {
                Part::All
            } else if stride == 1 && from_start && end == 1 {
                Part::InventoryEntry(0)
            } else if stride == 1 && begin == -1 && to_end {
                Part::InventoryEntry(-1)
            } else {
                Part::Some
            }
        });
        Some(parts.collect())
    }

    /// Tokens at positions: a constant 0 along the tokens, or positions in flattened tokens.
    fn gather(&mut self, node: NodeId, from: Tensor) -> Result<Step, NodeId> {
        let graph = self.view.graph();
        let indices = graph.input(node, 1).ok_or(node)?;
        let axis = match graph.op(node) {
            "GatherV2" => graph.input(node, 2).and_then(|axis| self.constant(axis)),
            _ => Some(0.0),
        };
        let index = self.numbers(node, 1);
        let stack = self.view.origin(from, |_| false).node;
        if let (Some(0.0), Some([index]), "Pack") = (axis, index.as_deref(), graph.op(stack)) {
            return self.unpack(stack, *index);
        }
        if axis == Some(1.0) {
            return match index.as_deref() {
                Some([0]) => Ok(self.first_of(from)),
                Some(_) => Ok(Step::Foreign("a part of the tokens")),
                None => Err(node),
            };
        }
        // `[batch * sequence, hidden]` at as many positions a sequence as it has, or as chosen.
        let shape_of = |tensor| {
            graph
                .shape(tensor)
                .filter(|shape| shape.iter().all(|&n| n > 0))
        };
        let count = |shape: &[i64]| shape.iter().try_fold(1_i64, |n, &axis| n.checked_mul(axis));
        let (tokens, positions) = (shape_of(from), shape_of(indices));
        let batch = self.batch_size();
        match (
            tokens.as_deref(),
            positions.as_deref().and_then(count),
            batch,
        ) {
            (Some([_, _]), Some(positions), Some(batch))
                if graph.op(node) != "GatherNd" && positions > batch && positions % batch == 0 =>
            {
                match self.reads {
                    Reads::Every => Ok(Step::To(from)),
                    Reads::First => Ok(Step::Foreign("a token at a chosen position")),
                }
            }
            _ => Err(node),
        }
    }

    /// The batch size of the graph, by the recorded shape of the last layer's attention scores.
    fn batch_size(&self) -> Option<i64> {
        let graph = self.view.graph();
        let softmax = graph.nodes().filter(|&node| graph.op(node) == "Softmax");
        let mut shapes = softmax.filter_map(|node| graph.shape(node.into()));
        let shape = shapes.find(|shape| shape.len() == 4)?;
        Some(shape[0]).filter(|&batch| batch > 0)
    }
}

/// What a slice takes of one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    All,
    InventoryEntry(i64),
    Some,
}
