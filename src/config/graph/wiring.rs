//! What the dense layer of a task's head reads: the path from its kernel back to the encoder.
//!
//! | the layer reads | [`Wiring`] |
//! |---|---|
//! | the last layer's output for every token, also flattened, or for chosen tokens | `Tokens(Every)` |
//! | the last layer's output for the first token | `Tokens(First)` |
//! | a mean, a concatenation, a hidden layer, another layer of the encoder | `Foreign`, with the node |
//!
//! Dropout on the path is replaced by its mean. Any other operation is [`Unrecognised`].

use std::collections::{HashMap, HashSet};

use tf_checkpoint::{NodeId, Tensor};

use super::dropout::constant;
use super::selection::{self, Selected};
use super::unrecognised::Unrecognised;
use super::view::View;

/// The tokens that a dense layer reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    /// Every token, or the tokens at chosen positions.
    Every,
    /// The first token of each sequence.
    First,
}

/// The input of a dense layer.
#[derive(Clone, Debug)]
pub(crate) enum Wiring {
    /// The outputs of the encoder's last layer for these tokens.
    Tokens(Reads, NodeId),
    /// Something that no Hugging Face class computes.
    Foreign {
        /// The input, such as `the mean of several tokens`.
        what: String,
        /// The name of the node that computes it.
        node: String,
    },
}

/// The largest number of operations between a head and the encoder.
const MAX_STEPS: usize = 200;
/// The largest deviation of the product of all factors from 1.
const TOLERANCE: f64 = 1e-4;
/// Operations that combine or change features, and their results, for messages.
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

/// Reads the wiring of the dense layer `dense` on the encoder with these layers; `None` if the graph does
/// not compute the layer.
pub(crate) fn read(
    view: &View<'_>,
    dense: &str,
    layers: &[String],
) -> Result<Option<Wiring>, Unrecognised> {
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
            Unrecognised {
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
                return Err(Unrecognised {
                    subject: format!("what {dense} reads"),
                    node: product.node,
                    why: "the layer is used twice, on different inputs".to_owned(),
                    is_foreign: true,
                });
            }
        }
    }
    Ok(found)
}

/// Returns the node that pools, or selects from, the outputs of a dense layer for single tokens.
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
        // The first input is the one that an operation reshapes or selects from.
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

/// One path from a product back to the encoder.
struct Trace<'a> {
    view: &'a View<'a>,
    /// The outputs of the encoder's layers, with the number of the layer.
    outputs: &'a HashMap<NodeId, usize>,
    /// The number of the encoder's last layer.
    last: usize,
    product: NodeId,
    reads: Reads,
    /// The product of all factors so far.
    scale: f64,
}

/// One step back.
enum Step {
    /// The node passes this tensor on.
    To(Tensor),
    /// The node computes something that no class computes.
    Foreign(&'static str),
}

impl Trace<'_> {
    /// Follows `tensor` back; the error is the node that is not recognised.
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
                self.foreign_before(node)
            }
            "RealDiv" | "Div" => match self.constant(input(1)?) {
                Some(divisor) => {
                    self.scale /= divisor;
                    Ok(Step::To(input(0)?))
                }
                None => self.foreign_before(node),
            },
            // Dropout: dropped elements are 0.
            "Select" | "SelectV2" => {
                let (kept, dropped) = match (self.constant(input(1)?), self.constant(input(2)?)) {
                    (_, Some(0.0)) => (1, false),
                    (Some(0.0), _) => (2, true),
                    _ => return self.foreign_before(node),
                };
                let condition = self.constant(input(0)?).ok_or(node)?;
                self.scale *= if dropped { 1.0 - condition } else { condition };
                Ok(Step::To(input(kept)?))
            }
            _ if selection::OPERATIONS.contains(&op) => {
                let selected = selection::read(self.view, tensor)?;
                Ok(self.select(selected))
            }
            _ => match FOREIGN.iter().find(|(ops, _)| ops.contains(&op)) {
                Some((_, what)) => Ok(Step::Foreign(what)),
                None => self.foreign_before(node),
            },
        }
    }

    fn constant(&self, tensor: Tensor) -> Option<f64> {
        constant(self.view, tensor)
    }

    /// Continues at the tensor that a selection reads.
    fn select(&mut self, selected: Selected) -> Step {
        match selected {
            // The first of several tokens at chosen positions.
            Selected::PositionsOf(_) if self.reads == Reads::First => {
                Step::Foreign("a token at a chosen position")
            }
            Selected::AllOf(from) | Selected::PositionsOf(from) => Step::To(from),
            Selected::FirstOf(from) => {
                self.reads = Reads::First;
                Step::To(from)
            }
            Selected::Other(what) => Step::Foreign(what),
        }
    }

    /// Explains a node that combines features in an unknown way by an operation close before it, such as the
    /// sum in a mean over the tokens that are not padding.
    fn foreign_before(&self, node: NodeId) -> Result<Step, NodeId> {
        const MAX_DEPTH: usize = 6;
        let op = |node| self.view.graph().op(node);
        let mut seen = HashSet::from([node]);
        let mut level = vec![node];
        for _ in 0..MAX_DEPTH {
            level = self.before(&level, &mut seen);
            for &before in level
                .iter()
                .filter(|&&before| self.depends_on_encoder(before))
            {
                let mut foreign = FOREIGN.iter();
                if let Some((_, what)) = foreign.find(|(ops, _)| ops.contains(&op(before))) {
                    return Ok(Step::Foreign(what));
                }
            }
        }
        Err(node)
    }

    /// Returns true if a node depends on an output of the encoder, within a few operations.
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
            level = self.before(&level, &mut seen);
        }
        false
    }

    /// Returns the inputs of nodes that were not seen before and are not in the encoder.
    fn before(&self, nodes: &[NodeId], seen: &mut HashSet<NodeId>) -> Vec<NodeId> {
        /// More inputs than any head combines.
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
}
