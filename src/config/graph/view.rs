//! The training graph, indexed by the model's variables.
//!
//! The `SaveV2` nodes of the graph list the keys of the checkpoint next to the variables that they save.
//! A variable that no saver lists is identified by its `shared_name`, or else by the name of its node. Keys
//! are converted to the names of the original code by the same renames as the checkpoint's variables.

use std::collections::{HashMap, HashSet};

use tf_checkpoint::{MetaGraph, NodeId, Tensor};
use tf_graph::is_variable;

use crate::config::candidate::ValueSource;
use crate::variables::Inventory;

/// Operations that return their first input unchanged.
const FORWARDING: &[&str] = &[
    "Identity",
    "ReadVariableOp",
    "StopGradient",
    "PreventGradient",
    "Snapshot",
    "Enter",
    "RefEnter",
    "Exit",
    "RefExit",
    "NextIteration",
    "Switch",
    "RefSwitch",
    "EnsureShape",
    "CheckNumerics",
    "PlaceholderWithDefault",
    "TPUReplicatedInput",
    "TPUReplicatedOutput",
    "TPUPartitionedInput",
    "DeepCopy",
    "Print",
    "Cast",
];
/// Operations that change the shape of their first input and keep the order of its elements.
const RESHAPING: &[&str] = &["Reshape", "ExpandDims", "Squeeze"];
/// Matrix products, with the attribute that transposes their second operand.
const PRODUCTS: &[(&str, &str)] = &[
    ("MatMul", "transpose_b"),
    ("BatchMatMul", "adj_y"),
    ("BatchMatMulV2", "adj_y"),
    ("BatchMatMulV3", "adj_y"),
];
/// Operations that add a bias.
const ADDITIONS: &[&str] = &["BiasAdd", "Add", "AddV2"];
/// The largest number of nodes in one walk; a variable has about a dozen readers.
const MAX_WALK: usize = 4096;
/// The largest number of products with one kernel; each copy of the model in a graph has one.
const MAX_PRODUCTS: usize = 16;

/// A training graph with the nodes of each variable.
#[derive(Debug)]
pub(crate) struct View<'a> {
    graph: &'a MetaGraph,
    /// The nodes of each variable, by its name in the original code; a partitioned variable has several.
    variables: HashMap<String, Vec<NodeId>>,
}

/// A matrix product with a variable.
#[derive(Clone, Copy, Debug)]
pub(super) struct Product {
    /// The node that multiplies.
    pub(super) node: NodeId,
    /// The tensor that is multiplied by the variable; `None` if the graph lacks it.
    pub(super) features: Option<Tensor>,
}

impl<'a> View<'a> {
    /// Finds the variables of an inventory in a graph.
    pub(crate) fn new(graph: &'a MetaGraph, inventory: &Inventory) -> Self {
        let mut canonical: HashMap<&str, &str> = HashMap::new();
        for entry in inventory.entries() {
            canonical.insert(&entry.variable.key, &entry.name);
            canonical.insert(&entry.variable.name, &entry.name);
        }
        let mut view = Self {
            graph,
            variables: HashMap::new(),
        };
        let saved = view.saved_keys();
        for node in graph.nodes().filter(|&node| is_variable(graph.op(node))) {
            let key = match saved.get(&node) {
                Some(key) => key.clone(),
                None => view.own_key(node),
            };
            let name = match canonical.get(key.as_str()) {
                Some(name) => (*name).to_owned(),
                None => inventory.rename(&key),
            };
            view.variables.entry(name).or_default().push(node);
        }
        view
    }

    /// Returns the name of each node that is a variable, in the original code's names.
    pub(crate) fn names(&self) -> HashMap<NodeId, String> {
        let variables = self.variables.iter();
        let nodes = variables.flat_map(|(name, nodes)| nodes.iter().map(move |node| (*node, name)));
        nodes.map(|(node, name)| (node, name.clone())).collect()
    }

    /// Returns the graph itself.
    pub(crate) fn graph(&self) -> &'a MetaGraph {
        self.graph
    }

    /// Returns the source of a value that a node shows.
    pub(crate) fn source(&self, node: NodeId) -> ValueSource {
        ValueSource::Graph {
            path: self.graph.path().to_owned(),
            node: self.graph.name(node),
        }
    }

    /// Returns the key of each variable that a saver in the graph saves.
    fn saved_keys(&self) -> HashMap<NodeId, String> {
        /// The first inputs of `SaveV2` are prefix, names and slices.
        const FIRST_TENSOR: usize = 3;
        let graph = self.graph;
        let mut keys = HashMap::new();
        let mut read = HashSet::new();
        for saver in graph.nodes().filter(|&node| graph.op(node) == "SaveV2") {
            // Savers with the same list of names save the same variables.
            let names = graph.input(saver, 1).filter(|names| read.insert(*names));
            let names = names.and_then(|names| graph.strings(names.node));
            let tensors = graph.inputs(saver).iter().skip(FIRST_TENSOR);
            for (name, &tensor) in names.into_iter().flatten().zip(tensors) {
                if tensor.is_missing() {
                    continue;
                }
                if let Some(variable) = self.variable_behind(tensor) {
                    keys.entry(variable).or_insert(name);
                }
            }
        }
        keys
    }

    /// Returns the key of a variable that no saver saves.
    fn own_key(&self, node: NodeId) -> String {
        let shared = self.graph.string(node, "shared_name");
        shared
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| self.graph.name(node))
    }

    /// Returns the variable that a tensor is an unchanged copy of.
    fn variable_behind(&self, tensor: Tensor) -> Option<NodeId> {
        let origin = self.origin(tensor, |_| false);
        is_variable(self.graph.op(origin.node)).then_some(origin.node)
    }

    /// Returns the tensor that `tensor` is an unchanged copy of. `passes` accepts further nodes as copies of
    /// their first input.
    pub(crate) fn origin(&self, mut tensor: Tensor, passes: impl Fn(NodeId) -> bool) -> Tensor {
        for _ in 0..MAX_WALK {
            let op = self.graph.op(tensor.node);
            let operand = match op {
                "IdentityN" => tensor.output as usize,
                _ if FORWARDING.contains(&op) || passes(tensor.node) => 0,
                _ => break,
            };
            let Some(input) = self.graph.input(tensor.node, operand) else {
                break;
            };
            tensor = input;
        }
        tensor
    }

    /// Returns the tensor that `tensor` is a copy of, apart from its shape.
    pub(crate) fn flat_origin(&self, tensor: Tensor) -> Tensor {
        self.origin(tensor, |node| self.keeps_order(node))
    }

    /// Returns true for an operation that keeps the elements of its first input in order.
    pub(super) fn keeps_order(&self, node: NodeId) -> bool {
        let op = self.graph.op(node);
        RESHAPING.contains(&op) || (op == "Transpose" && self.is_identity_transpose(node))
    }

    /// Returns true for the transpositions of `tf.tensordot`: by the identity, as a constant or as a
    /// concatenation of two.
    fn is_identity_transpose(&self, node: NodeId) -> bool {
        let Some(permutation) = self.graph.input(node, 1) else {
            return false;
        };
        let permutation = self.origin(permutation, |_| false).node;
        let parts = match self.graph.op(permutation) {
            "ConcatV2" => match self.graph.inputs(permutation).split_last() {
                Some((_axis, parts)) => parts.to_vec(),
                None => return false,
            },
            _ => vec![permutation.into()],
        };
        let constants: Option<Vec<_>> = parts
            .into_iter()
            .map(|part| self.graph.constant(self.origin(part, |_| false).node))
            .collect();
        constants.is_some_and(|parts| parts.iter().flat_map(|part| &part.values).is_sorted())
    }

    /// Returns the tensors that hold the value of a variable, apart from its shape.
    pub(crate) fn reads(&self, name: &str) -> HashSet<Tensor> {
        let roots = self.variables.get(name).into_iter().flatten();
        let roots: Vec<Tensor> = roots.map(|&node| node.into()).collect();
        self.copies(&roots, |consumer, _| {
            self.graph.op(consumer) == "ConcatV2" && self.joins_variables(consumer)
        })
    }

    /// Returns the tensors that hold the elements of `roots` unchanged. `passes` accepts further nodes as
    /// copies.
    fn copies(&self, roots: &[Tensor], passes: impl Fn(NodeId, u32) -> bool) -> HashSet<Tensor> {
        let mut found: HashSet<Tensor> = roots.iter().copied().collect();
        let mut open: Vec<Tensor> = roots.to_vec();
        while let Some(tensor) = open.pop() {
            for next in self.graph.consumers(tensor.node) {
                if next.output != tensor.output || found.len() >= MAX_WALK {
                    continue;
                }
                let op = self.graph.op(next.node);
                let first = next.operand == 0;
                let output = match op {
                    "IdentityN" => next.operand,
                    _ if first && (FORWARDING.contains(&op) || self.keeps_order(next.node)) => 0,
                    _ if passes(next.node, next.operand) => 0,
                    _ => continue,
                };
                let copy = Tensor {
                    node: next.node,
                    output,
                };
                if found.insert(copy) {
                    open.push(copy);
                }
            }
        }
        found
    }

    /// Returns true for the concatenation of a partitioned variable's parts.
    fn joins_variables(&self, node: NodeId) -> bool {
        let Some((_axis, parts)) = self.graph.inputs(node).split_last() else {
            return false;
        };
        parts
            .iter()
            .all(|&part| !part.is_missing() && self.variable_behind(part).is_some())
    }

    /// Returns the products with a kernel `[in, out]` from the right. Products with the transposed kernel are
    /// excluded: they belong to a gradient, or to an output layer tied to an embedding table.
    pub(super) fn products(&self, kernel: &str) -> Vec<Product> {
        let mut found = Vec::new();
        for read in self.reads(kernel) {
            for next in self.graph.consumers(read.node) {
                let is_kernel = next.operand == 1 && next.output == read.output;
                if is_kernel && self.multiplies_untransposed(next.node) {
                    found.push(Product {
                        node: next.node,
                        features: self.graph.input(next.node, 0),
                    });
                }
            }
        }
        found.sort_by_key(|product| product.node);
        found.dedup_by_key(|product| product.node);
        found.truncate(MAX_PRODUCTS);
        found
    }

    /// Returns a product with a kernel that [`products`](Self::products) does not recognise, if it
    /// recognises no product at all: the layer is computed in an unknown way.
    pub(super) fn unknown_product(&self, kernel: &str) -> Option<NodeId> {
        if !self.products(kernel).is_empty() {
            return None;
        }
        let reads = self.reads(kernel);
        let uses = reads
            .iter()
            .flat_map(|read| self.graph.consumers(read.node));
        let is_product =
            |node: &NodeId| self.is_product(*node) || self.graph.op(*node).starts_with("Conv");
        uses.map(|next| next.node).filter(is_product).min()
    }

    /// Returns true if a node multiplies by its second operand as it is.
    fn multiplies_untransposed(&self, node: NodeId) -> bool {
        let op = self.graph.op(node);
        match PRODUCTS.iter().find(|(product, _)| *product == op) {
            Some((_, transposed)) => !self.graph.flag(node, transposed),
            None if op == "Einsum" => self.einsum(node).is_some_and(|equation| {
                // The summed axes must be the first axes of the kernel.
                let mut axes = equation.right.chars();
                let is_kept = |axis: char| equation.output.contains(axis);
                axes.next().is_some_and(|axis| !is_kept(axis))
                    && axes.skip_while(|&axis| !is_kept(axis)).all(is_kept)
            }),
            None => false,
        }
    }

    /// Parses the equation of an `Einsum` of two operands.
    fn einsum(&self, node: NodeId) -> Option<Equation> {
        let text = self.graph.string(node, "equation")?;
        let (inputs, output) = text.split_once("->")?;
        let (_, right) = inputs.split_once(',')?;
        let [right, output] = [right, output].map(|axes| axes.replace(' ', ""));
        Some(Equation { right, output })
    }

    /// Returns true for a matrix product of any kind.
    pub(crate) fn is_product(&self, node: NodeId) -> bool {
        let op = self.graph.op(node);
        op == "Einsum" || PRODUCTS.iter().any(|(product, _)| *product == op)
    }

    /// Returns the outputs of a dense layer: the nodes that add its bias to the product with its kernel.
    pub(crate) fn dense_outputs(&self, layer: &str) -> Vec<NodeId> {
        let biases = self.reads(&format!("{layer}/bias"));
        let products = self.products(&format!("{layer}/kernel"));
        let roots: Vec<Tensor> = products.iter().map(|product| product.node.into()).collect();
        let mut found: Vec<NodeId> = self
            .copies(&roots, |_, _| false)
            .iter()
            .flat_map(|copy| self.graph.consumers(copy.node))
            .map(|next| next.node)
            .filter(|&node| ADDITIONS.contains(&self.graph.op(node)))
            .filter(|&node| {
                self.graph
                    .inputs(node)
                    .iter()
                    .any(|input| biases.contains(input))
            })
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Returns the nodes that add a variable to another tensor.
    pub(crate) fn additions(&self, name: &str) -> Vec<NodeId> {
        let reads = self.reads(name);
        let uses = reads.iter().flat_map(|read| {
            let uses = self.graph.consumers(read.node).iter();
            uses.filter(|next| next.output == read.output)
        });
        let mut found: Vec<NodeId> = uses
            .map(|next| next.node)
            .filter(|&node| ADDITIONS.contains(&self.graph.op(node)))
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Returns true for a node that is a variable.
    pub(crate) fn is_variable(&self, node: NodeId) -> bool {
        is_variable(self.graph.op(node))
    }

    /// Returns true for an operation that returns its first input, apart from its shape and element type.
    pub(crate) fn passes_on(&self, node: NodeId) -> bool {
        FORWARDING.contains(&self.graph.op(node)) || self.keeps_order(node)
    }

    /// Returns the outputs of a LayerNorm: the nodes that add beta, or `beta - mean * factor`.
    pub(crate) fn norm_outputs(&self, scope: &str) -> Vec<NodeId> {
        let graph = self.graph;
        let is_addition = |node: &NodeId| ADDITIONS.contains(&graph.op(*node));
        let mut found = Vec::new();
        for beta in self.reads(&format!("{scope}/beta")) {
            for next in graph
                .consumers(beta.node)
                .iter()
                .filter(|n| n.output == beta.output)
            {
                match graph.op(next.node) {
                    "Sub" if next.operand == 0 => {
                        let sums = graph.consumers(next.node).iter().map(|sum| sum.node);
                        found.extend(sums.filter(is_addition));
                    }
                    _ => found.extend(Some(next.node).filter(is_addition)),
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// The axes of an `Einsum` of two operands, such as `abc,cd->abd`.
struct Equation {
    right: String,
    output: String,
}
