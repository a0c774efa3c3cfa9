//! The training graph that `tf.train.Saver` writes beside a checkpoint, `PREFIX.meta`, or the graph of a
//! SavedModel (`saved_model`).
//!
//! A `MetaGraphDef` holds a `GraphDef`: a list of nodes, each with a name, an operation, inputs and
//! attributes. [`MetaGraph`] indexes the nodes, resolves their inputs and records the consumers of each
//! node, so that a computation can be followed in both directions. Names, operations and attributes stay
//! in the bytes of the file and are decoded when they are requested: of the thousands of nodes in a
//! graph, a few hundred matter.
//!
//! An input whose node is not in the file is [`Tensor::MISSING`]. Control inputs (`^name`) carry no value
//! and are left out. A call of a function in the graph's library (`PartitionedCall`) is replaced by the
//! function's nodes; the call itself becomes an `IdentityN` of the returned tensors. The branches of an
//! `If` and the body of a `While` are inlined too.
//!
//! Source: `meta_graph.proto`, `graph.proto`, `node_def.proto`, `attr_value.proto`,
//! `function.proto` in `tensorflow/core`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use prost::Message as _;

use super::attributes::{Constant, attribute, attribute_bytes, attributes, constant};
use super::functions::{self, Library};
use super::literal::{Literal, literal};
use super::nodes::{Inlined, MAX_NODES, NodeId, Nodes, RawNode, Tensor, Use};
use super::proto::{AttrValue, GRAPH_LIBRARY, GRAPH_NODE, META_GRAPH_GRAPH_DEF};
use super::saved_functions::SavedFunctions;
use super::saved_model;
use crate::error::Error;
use crate::limits::{Budget, Limits};
use crate::protobuf::message;
use crate::protobuf::wire::{self, Field, Malformed};
use crate::storage::Storage;

/// The largest file read, in bytes. The graph of a model of 24 layers takes some 30 MB.
const MAX_LEN: u64 = 256 << 20;
/// Memory of a node while a graph is indexed, in bytes: its ranges, its name in a map.
const NODE_COST: usize = 256;
/// Memory of an input in bytes: resolved, and among the consumers of its node.
const INPUT_COST: usize = 48;

/// A training graph: its nodes, their inputs, attributes and consumers.
#[derive(Debug)]
pub struct MetaGraph {
    path: PathBuf,
    bytes: Vec<u8>,
    nodes: Nodes,
    /// Consumers of node `n` are `consumers[starts[n]..starts[n + 1]]`.
    consumers: Vec<Use>,
    starts: Vec<u32>,
}

impl MetaGraph {
    /// Reads and indexes the file at `path`; `None` if it does not exist.
    ///
    /// # Errors
    /// [`Error::MetaGraph`] if the file is not a `MetaGraphDef`, or an I/O error.
    pub fn open(
        storage: &dyn Storage,
        path: &Path,
        limits: &Limits,
    ) -> Result<Option<Self>, Error> {
        Self::read(storage, path, |bytes| Self::parse(path, bytes, limits))
    }

    /// As [`open`](Self::open), for a `saved_model.pb`: of its graphs, the one for serving.
    ///
    /// # Errors
    /// [`Error::MetaGraph`] if the file is not a `SavedModel`, or it holds several graphs and none is for
    /// serving, or an I/O error.
    pub fn open_saved_model(
        storage: &dyn Storage,
        path: &Path,
        limits: &Limits,
    ) -> Result<Option<Self>, Error> {
        Self::read(storage, path, |bytes| {
            Self::parse_saved_model(path, bytes, limits)
        })
    }

    fn read(
        storage: &dyn Storage,
        path: &Path,
        parse: impl Fn(Vec<u8>) -> Result<Self, Error>,
    ) -> Result<Option<Self>, Error> {
        let bytes = storage
            .read_if_there(path, MAX_LEN)
            .map_err(|source| match source.kind() {
                io::ErrorKind::FileTooLarge => Error::MetaGraph {
                    path: path.to_owned(),
                    what: source.to_string(),
                },
                _ => Error::reading(path, source),
            })?;
        let parsed = bytes.map(parse).transpose();
        parsed.map_err(|error| storage.stand_in(path).unwrap_or(error))
    }

    /// Indexes the bytes of a `MetaGraphDef`; `path` is for errors.
    ///
    /// # Errors
    /// [`Error::MetaGraph`] if the bytes are not a `MetaGraphDef`.
    pub fn parse(path: &Path, bytes: Vec<u8>, limits: &Limits) -> Result<Self, Error> {
        let all = 0..bytes.len();
        Self::parse_within(path, bytes, all, limits)
    }

    /// Indexes the bytes of a `SavedModel`; `path` is for errors.
    ///
    /// # Errors
    /// [`Error::MetaGraph`] as for [`open_saved_model`](Self::open_saved_model).
    pub fn parse_saved_model(path: &Path, bytes: Vec<u8>, limits: &Limits) -> Result<Self, Error> {
        let message = saved_model::meta_graph(&bytes).map_err(|what| Error::MetaGraph {
            path: path.to_owned(),
            what,
        })?;
        Self::parse_within(path, bytes, message, limits)
    }

    /// Indexes the `MetaGraphDef` at `message` of the bytes.
    fn parse_within(
        path: &Path,
        bytes: Vec<u8>,
        message: Range<usize>,
        limits: &Limits,
    ) -> Result<Self, Error> {
        let error = |what: String| Error::MetaGraph {
            path: path.to_owned(),
            what,
        };
        let mut graph = Self {
            path: path.to_owned(),
            bytes: Vec::new(),
            nodes: Nodes::default(),
            consumers: Vec::new(),
            starts: Vec::new(),
        };
        let mut budget = limits.budget(bytes.len() as u64);
        graph.index(&bytes, message, &mut budget).map_err(error)?;
        graph.bytes = bytes;
        graph.index_consumers();
        Ok(graph)
    }

    /// Fills `nodes` from the `MetaGraphDef` at `message` of the file.
    fn index(
        &mut self,
        bytes: &[u8],
        message: Range<usize>,
        budget: &mut Budget,
    ) -> Result<(), String> {
        let malformed = |error: Malformed| format!("it is not a MetaGraphDef: {error}");
        let mut messages = Vec::new();
        let mut functions = Vec::new();
        for field in wire::fields(bytes, message.clone()) {
            let Field { tag, range } = field.map_err(malformed)?;
            let (META_GRAPH_GRAPH_DEF, Some(definition)) = (tag, range) else {
                continue;
            };
            for field in wire::fields(bytes, definition) {
                let Field { tag, range } = field.map_err(malformed)?;
                match (tag, range) {
                    (GRAPH_NODE, Some(node)) if messages.len() < MAX_NODES => {
                        budget.take(NODE_COST).map_err(|error| error.to_string())?;
                        messages.push(node);
                    }
                    (GRAPH_NODE, Some(_)) => {
                        return Err(format!("it has more than {MAX_NODES} nodes"));
                    }
                    (GRAPH_LIBRARY, Some(library)) => functions.push(library),
                    _ => {}
                }
            }
        }
        if messages.is_empty() {
            return Err("there is no graph in it".to_owned());
        }
        let mut raw = Vec::with_capacity(messages.len());
        for message in messages {
            let node = RawNode::read(bytes, message)
                .map_err(|error| format!("a node is malformed: {error}"))?;
            let inputs = node.inputs.len() * INPUT_COST;
            budget.take(inputs).map_err(|error| error.to_string())?;
            raw.push(node);
        }
        let library = Library::index(bytes, functions, budget)?;
        self.resolve((bytes, message), &raw, &library, budget)
    }

    /// Resolves the inputs of all nodes, and inlines called functions.
    fn resolve(
        &mut self,
        (bytes, message): (&[u8], Range<usize>),
        raw: &[RawNode],
        library: &Library,
        budget: &mut Budget,
    ) -> Result<(), String> {
        let mut by_name = HashMap::with_capacity(raw.len());
        for (node, id) in std::iter::zip(raw, 0..) {
            by_name.insert(&bytes[wire::span(&node.name)], NodeId(id));
        }
        for node in raw {
            let inputs = node.inputs.iter().map(|input| {
                let (name, output) = split_output(&bytes[wire::span(input)]);
                match by_name.get(name) {
                    Some(&node) => Tensor { node, output },
                    None => Tensor::MISSING,
                }
            });
            self.nodes.push(node, inputs.collect(), None)?;
        }
        // Inlining replaces the inputs of calls, and shows which variables the saver saves.
        let saved = SavedFunctions::read(&self.nodes, bytes, message, &by_name, budget)?;
        functions::inline(&mut self.nodes, bytes, library, 0)?;
        let first = self.nodes.len();
        saved.add_calls(&mut self.nodes, bytes, (&by_name, library), budget)?;
        functions::inline(&mut self.nodes, bytes, library, first)
    }

    fn index_consumers(&mut self) {
        let mut counts = vec![0_u32; self.nodes.len() + 1];
        let inputs = self.nodes.iter().flat_map(|node| self.nodes.inputs(node));
        for input in inputs.filter(|input| !input.is_missing()) {
            counts[input.node.0 as usize + 1] += 1;
        }
        for at in 1..counts.len() {
            counts[at] += counts[at - 1];
        }
        let total = counts[self.nodes.len()] as usize;
        let unused = Use {
            node: NodeId(0),
            operand: 0,
            output: 0,
        };
        self.consumers = vec![unused; total];
        let mut next = counts.clone();
        for (node, id) in std::iter::zip(self.nodes.iter(), 0..) {
            for (input, operand) in std::iter::zip(self.nodes.inputs(node), 0..) {
                if input.is_missing() {
                    continue;
                }
                let at = &mut next[input.node.0 as usize];
                self.consumers[*at as usize] = Use {
                    node: NodeId(id),
                    operand,
                    output: input.output,
                };
                *at += 1;
            }
        }
        self.starts = counts;
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns every node in the order of the file, then the nodes of inlined functions.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.nodes.len()).map(Nodes::id)
    }

    /// Returns the name of a node, such as `encoder/layer_0/output/add`.
    pub fn name(&self, node: NodeId) -> String {
        let mut name = self.own_name(node).into_owned();
        let mut caller = self.nodes.get(node).caller;
        while let Some(call) = caller {
            name = format!("{}/{name}", self.own_name(call));
            caller = self.nodes.get(call).caller;
        }
        name
    }

    fn own_name(&self, node: NodeId) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes[wire::span(&self.nodes.get(node).name)])
    }

    /// Returns the operation of a node, such as `MatMul`.
    pub fn op(&self, node: NodeId) -> &str {
        let record = self.nodes.get(node);
        match record.inlined {
            Inlined::Call => return "IdentityN",
            Inlined::Argument => return "Placeholder",
            Inlined::No | Inlined::Branches => {}
        }
        std::str::from_utf8(&self.bytes[wire::span(&record.op)]).unwrap_or("")
    }

    /// Returns the inputs of a node, without control inputs.
    pub fn inputs(&self, node: NodeId) -> &[Tensor] {
        self.nodes.inputs(self.nodes.get(node))
    }

    /// Returns input `operand` of a node, counted from 0; `None` if there is no such input, or its node is
    /// missing.
    pub fn input(&self, node: NodeId, operand: usize) -> Option<Tensor> {
        let input = self.inputs(node).get(operand).copied();
        input.filter(|input| !input.is_missing())
    }

    /// Returns the condition of an `If`, and the tensors that its branches return for this output, for a
    /// true and for a false condition; `None` for any other node, and if the branches are not in the file.
    pub fn branches(&self, tensor: Tensor) -> Option<(Tensor, [Tensor; 2])> {
        if self.nodes.get(tensor.node).inlined != Inlined::Branches {
            return None;
        }
        let (&condition, returned) = self.inputs(tensor.node).split_first()?;
        let (then, or_else) = returned.split_at(returned.len() / 2);
        let output = tensor.output as usize;
        Some((condition, [*then.get(output)?, *or_else.get(output)?]))
    }

    /// Returns the inputs of other nodes that take an output of `node`.
    pub fn consumers(&self, node: NodeId) -> &[Use] {
        match self.starts.get(node.0 as usize..).unwrap_or_default() {
            [start, end, ..] => &self.consumers[*start as usize..*end as usize],
            _ => &[],
        }
    }

    /// Returns a float attribute; `None` if the node has no such attribute.
    pub fn float(&self, node: NodeId, key: &str) -> Option<f32> {
        self.attribute(node, key)?.f
    }

    /// Returns an integer attribute; 0 if it is missing, because protobuf does not write zeros.
    pub fn integer(&self, node: NodeId, key: &str) -> i64 {
        self.attribute(node, key).map_or(0, |value| value.i)
    }

    /// Returns an integer attribute; `None` if the node has no such attribute.
    pub fn find_integer(&self, node: NodeId, key: &str) -> Option<i64> {
        Some(self.attribute(node, key)?.i)
    }

    /// Returns an attribute that is a list of integers; `None` if the node has no such attribute.
    pub fn integers(&self, node: NodeId, key: &str) -> Option<Vec<i64>> {
        // An empty list may be written without content.
        Some(self.attribute(node, key)?.list.unwrap_or_default().i)
    }

    /// Returns a dtype attribute as its number in `types.proto`; `None` if the node has no such attribute.
    pub fn data_type(&self, node: NodeId, key: &str) -> Option<i32> {
        let record = self.nodes.get(node);
        if record.inlined == Inlined::Argument {
            let argument = &self.bytes[wire::span(&record.message)];
            return (key == "dtype").then(|| argument_type(argument))?;
        }
        Some(self.attribute(node, key)?.data_type)
    }

    /// Returns an attribute that is a list of dtypes, as their numbers in `types.proto`; `None` if the node
    /// has no such attribute.
    pub fn data_types(&self, node: NodeId, key: &str) -> Option<Vec<i32>> {
        Some(
            self.attribute(node, key)?
                .list
                .unwrap_or_default()
                .data_types,
        )
    }

    /// Returns a string attribute; `None` if the node has no such attribute, or it is not UTF-8.
    pub fn string(&self, node: NodeId, key: &str) -> Option<String> {
        String::from_utf8(self.attribute(node, key)?.s).ok()
    }

    /// Returns the attribute `key` of a node; `None` if it is missing, malformed, or larger than 64 KiB.
    fn attribute(&self, node: NodeId, key: &str) -> Option<AttrValue> {
        let node = self.nodes.get(node);
        if node.inlined == Inlined::Argument {
            return None;
        }
        attribute(&self.bytes, &node.message, key)
    }

    /// Returns a boolean attribute; false if it is missing.
    pub fn flag(&self, node: NodeId, key: &str) -> bool {
        self.attribute(node, key).is_some_and(|value| value.b)
    }

    /// Returns the name and the `AttrValue` message of every attribute of a node, to copy the node.
    pub fn attributes(&self, node: NodeId) -> Vec<(&str, &[u8])> {
        let node = self.nodes.get(node);
        if node.inlined == Inlined::Argument {
            return Vec::new();
        }
        attributes(&self.bytes, &node.message)
    }

    /// Returns the value of a `Const` of numbers; `None` for any other node.
    pub fn constant(&self, node: NodeId) -> Option<Constant> {
        if self.op(node) != "Const" {
            return None;
        }
        constant(&self.attribute(node, "value")?.tensor?)
    }

    /// Returns the value of a `Const` with its dtype and shape; `None` for any other node, for strings, and
    /// for more than 16 MiB.
    pub fn literal(&self, node: NodeId) -> Option<Literal> {
        /// The largest tensor decoded, in bytes. Masks and position tables take some kilobytes.
        const MAX_LEN: usize = 16 << 20;
        if self.op(node) != "Const" {
            return None;
        }
        let bytes = attribute_bytes(&self.bytes, &self.nodes.get(node).message, "value")?;
        if bytes.len() > MAX_LEN {
            return None;
        }
        literal(&AttrValue::decode(bytes).ok()?.tensor?)
    }

    /// Returns the strings of a `Const`, such as the names of variables for a saver; `None` for any other
    /// node.
    pub fn strings(&self, node: NodeId) -> Option<Vec<String>> {
        if self.op(node) != "Const" {
            return None;
        }
        // The names of all variables may exceed the limit for other attributes.
        let bytes = attribute_bytes(&self.bytes, &self.nodes.get(node).message, "value")?;
        let tensor = AttrValue::decode(bytes).ok()?.tensor?;
        let strings = tensor.string_val.into_iter();
        strings.map(|bytes| String::from_utf8(bytes).ok()).collect()
    }

    /// Returns the static shape of a tensor in the attribute `_output_shapes`, with -1 for an unknown axis;
    /// `None` if it is not recorded, or the rank is unknown.
    pub fn shape(&self, tensor: Tensor) -> Option<Vec<i64>> {
        let shapes = self.attribute(tensor.node, "_output_shapes")?.list?.shape;
        let shape = shapes.get(tensor.output as usize)?;
        (!shape.unknown_rank).then(|| shape.dim.iter().map(|dim| dim.size).collect())
    }
}

/// Returns the dtype in an `ArgDef`.
fn argument_type(argument: &[u8]) -> Option<i32> {
    let fields = message::fields(argument).map_while(Result::ok);
    fields
        .filter(|field| field.number == 3)
        .find_map(|field| field.int32().ok())
}

/// Splits `name:1` into the name and the index of the output; the index is 0 if there is none.
fn split_output(input: &[u8]) -> (&[u8], u32) {
    let number = input.iter().rposition(|&byte| byte == b':').and_then(|at| {
        let digits = std::str::from_utf8(&input[at + 1..]).ok()?;
        Some((&input[..at], digits.parse().ok()?))
    });
    number.unwrap_or((input, 0))
}
