//! The training graph that `tf.train.Saver` writes beside a checkpoint, `PREFIX.meta`.
//!
//! A `MetaGraphDef` holds a `GraphDef`: a list of nodes, each with a name, an operation, inputs and
//! attributes. [`MetaGraph`] indexes the nodes, resolves their inputs, and knows the consumers of
//! each node, so that a computation can be followed in both directions. Names, operations and
//! attributes stay in the file's bytes and are decoded when they are used: a graph has thousands of
//! nodes, of which a few hundred matter.
//!
//! A graph may be cut: an input whose node is not in the file is [`Tensor::MISSING`]. Control inputs
//! (`^name`) carry no value and are left out. A call of a function in the graph's library
//! (`PartitionedCall`) is replaced by the function's nodes; the call itself becomes an `IdentityN`
//! over what the function returns.
//!
//! Source: `meta_graph.proto`, `graph.proto`, `node_def.proto`, `attr_value.proto`,
//! `function.proto` in `tensorflow/core`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use prost::Message;

use super::functions::{self, Library};
use super::limits::{Budget, Limits};
use super::proto::{AttrValue, GRAPH_LIBRARY, GRAPH_NODE, META_GRAPH_GRAPH_DEF, TensorValue};
use super::source::Storage;
use super::wire::{self, Field, Malformed};
use super::{DType, Error};

/// The largest file read, in bytes. The graph of ELECTRA-Large takes some 30 MB.
const MAX_LEN: u64 = 256 << 20;
/// The most nodes indexed. ELECTRA-Large with its optimizer has 21,000.
const MAX_NODES: usize = 1 << 20;
/// The most inputs of all nodes together.
const MAX_INPUTS: usize = 1 << 22;
/// Memory that a node takes while a graph is indexed, in bytes: its places, its name in a map.
const NODE_COST: usize = 256;
/// Memory that an input takes, resolved and among the consumers of its node.
const INPUT_COST: usize = 48;
/// The largest attribute decoded, in bytes. Shapes and scalars take less than a hundred.
const MAX_ATTRIBUTE_LEN: usize = 1 << 16;

/// A training graph.
#[derive(Debug)]
pub struct MetaGraph {
    path: PathBuf,
    bytes: Vec<u8>,
    nodes: Vec<Node>,
    inputs: Vec<Tensor>,
    /// Consumers of node `n` are `consumers[starts[n]..starts[n + 1]]`.
    consumers: Vec<Use>,
    starts: Vec<u32>,
}

/// A node of the graph, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u32);

/// An output of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tensor {
    /// The node.
    pub node: NodeId,
    /// Which of its outputs, from 0.
    pub output: u32,
}

impl Tensor {
    /// An input whose node is not in the graph.
    pub const MISSING: Self = Self {
        node: NodeId(u32::MAX),
        output: 0,
    };

    /// True where the node is not in the graph.
    pub fn is_missing(self) -> bool {
        self == Self::MISSING
    }
}

impl From<NodeId> for Tensor {
    /// The first output of a node.
    fn from(node: NodeId) -> Self {
        Self { node, output: 0 }
    }
}

/// A node that takes an output of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// The consumer.
    pub node: NodeId,
    /// Which of its inputs it is, from 0.
    pub operand: u32,
    /// Which output of the other node it takes.
    pub output: u32,
}

/// Where a node is in the file.
#[derive(Clone, Debug)]
struct Node {
    name: Range<u32>,
    op: Range<u32>,
    message: Range<u32>,
    inputs: Range<u32>,
    /// The call whose function the node is part of.
    caller: Option<NodeId>,
    /// A call that was replaced by its function's nodes.
    is_inlined: bool,
}

/// The value of a constant.
#[derive(Clone, Debug, PartialEq)]
pub struct Constant {
    /// Every element, or one that stands for all.
    pub values: Vec<f64>,
    /// Number of axes.
    pub rank: usize,
}

impl MetaGraph {
    /// Reads and indexes the file at `path`; `None` if it does not exist.
    pub fn open(
        storage: &dyn Storage,
        path: &Path,
        limits: &Limits,
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
        let parsed = bytes
            .map(|bytes| Self::parse(path, bytes, limits))
            .transpose();
        parsed.map_err(|error| storage.stand_in(path).unwrap_or(error))
    }

    /// Indexes the bytes of a `MetaGraphDef`, which were read from `path`.
    pub fn parse(path: &Path, bytes: Vec<u8>, limits: &Limits) -> Result<Self, Error> {
        let error = |what: String| Error::MetaGraph {
            path: path.to_owned(),
            what,
        };
        let mut graph = Self {
            path: path.to_owned(),
            bytes: Vec::new(),
            nodes: Vec::new(),
            inputs: Vec::new(),
            consumers: Vec::new(),
            starts: Vec::new(),
        };
        let mut budget = limits.budget(bytes.len() as u64);
        graph.index(&bytes, &mut budget).map_err(error)?;
        graph.bytes = bytes;
        graph.index_consumers();
        Ok(graph)
    }

    /// Fills `nodes` and `inputs` from the bytes of the file.
    fn index(&mut self, bytes: &[u8], budget: &mut Budget) -> Result<(), String> {
        let malformed = |error: Malformed| format!("it is not a MetaGraphDef: {error}");
        let mut messages = Vec::new();
        let mut functions = Vec::new();
        for field in wire::fields(bytes, 0..bytes.len()) {
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
        let library = Library::index(bytes, functions).map_err(malformed)?;
        self.resolve(bytes, &raw, &library)
    }

    /// Resolves the inputs of all nodes, and replaces calls by the nodes of their functions.
    fn resolve(&mut self, bytes: &[u8], raw: &[RawNode], library: &Library) -> Result<(), String> {
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
            self.push(node, inputs.collect(), None)?;
        }
        functions::inline(self, bytes, library)
    }

    /// Adds a node whose inputs are resolved.
    fn push(
        &mut self,
        raw: &RawNode,
        inputs: Vec<Tensor>,
        caller: Option<NodeId>,
    ) -> Result<(), String> {
        let start = self.inputs.len();
        if start + inputs.len() > MAX_INPUTS {
            return Err(format!("its nodes have more than {MAX_INPUTS} inputs"));
        }
        self.inputs.extend(inputs);
        self.nodes.push(Node {
            name: raw.name.clone(),
            op: raw.op.clone(),
            message: raw.message.clone(),
            inputs: narrow(start)..narrow(self.inputs.len()),
            caller,
            is_inlined: false,
        });
        Ok(())
    }

    fn index_consumers(&mut self) {
        let mut counts = vec![0_u32; self.nodes.len() + 1];
        for input in self.inputs.iter().filter(|input| !input.is_missing()) {
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
        for (node, id) in std::iter::zip(&self.nodes, 0..) {
            for (input, operand) in std::iter::zip(&self.inputs[wire::span(&node.inputs)], 0..) {
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

    /// The file that it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every node, in the order of the file; those of called functions come last.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..narrow(self.nodes.len())).map(NodeId)
    }

    /// The name of a node, such as `electra/encoder/layer_0/output/add`.
    pub fn name(&self, node: NodeId) -> String {
        let mut name = self.own_name(node).into_owned();
        let mut caller = self.node(node).caller;
        while let Some(call) = caller {
            name = format!("{}/{name}", self.own_name(call));
            caller = self.node(call).caller;
        }
        name
    }

    fn own_name(&self, node: NodeId) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes[wire::span(&self.node(node).name)])
    }

    /// The operation of a node, such as `MatMul`.
    pub fn op(&self, node: NodeId) -> &str {
        let record = self.node(node);
        if record.is_inlined {
            return "IdentityN";
        }
        std::str::from_utf8(&self.bytes[wire::span(&record.op)]).unwrap_or("")
    }

    /// The inputs of a node, without control inputs.
    pub fn inputs(&self, node: NodeId) -> &[Tensor] {
        &self.inputs[wire::span(&self.node(node).inputs)]
    }

    /// Input `operand` of a node; `None` where it has fewer, or the input's node is missing.
    pub fn input(&self, node: NodeId, operand: usize) -> Option<Tensor> {
        let input = self.inputs(node).get(operand).copied();
        input.filter(|input| !input.is_missing())
    }

    /// The nodes that take an output of `node`.
    pub fn consumers(&self, node: NodeId) -> &[Use] {
        match self.starts.get(node.0 as usize..).unwrap_or_default() {
            [start, end, ..] => &self.consumers[*start as usize..*end as usize],
            _ => &[],
        }
    }

    /// The record of a node; an empty one for [`Tensor::MISSING`].
    fn node(&self, node: NodeId) -> &Node {
        const MISSING: Node = Node {
            name: 0..0,
            op: 0..0,
            message: 0..0,
            inputs: 0..0,
            caller: None,
            is_inlined: false,
        };
        self.nodes.get(node.0 as usize).unwrap_or(&MISSING)
    }

    /// The attribute `key` of a node; `None` where it has none, or one that cannot be decoded or is
    /// larger than any that matters.
    pub(crate) fn attribute(&self, node: NodeId, key: &str) -> Option<AttrValue> {
        attribute(&self.bytes, &self.node(node).message, key)
    }

    /// A boolean attribute, false where it is missing.
    pub fn flag(&self, node: NodeId, key: &str) -> bool {
        self.attribute(node, key).is_some_and(|value| value.b)
    }

    /// The value of a `Const` of numbers; `None` for any other node.
    pub fn constant(&self, node: NodeId) -> Option<Constant> {
        if self.op(node) != "Const" {
            return None;
        }
        constant(&self.attribute(node, "value")?.tensor?)
    }

    /// The strings of a `Const`, such as the names that a saver writes; `None` for any other node.
    pub fn strings(&self, node: NodeId) -> Option<Vec<String>> {
        if self.op(node) != "Const" {
            return None;
        }
        // The names of all variables take more room than any number does.
        let bytes = attribute_bytes(&self.bytes, &self.node(node).message, "value")?;
        let tensor = AttrValue::decode(bytes).ok()?.tensor?;
        let strings = tensor.string_val.into_iter();
        strings.map(|bytes| String::from_utf8(bytes).ok()).collect()
    }

    /// The static shape of a tensor as the saver recorded it, -1 for an unknown axis; `None` where it
    /// is not recorded, or its rank is unknown.
    pub fn shape(&self, tensor: Tensor) -> Option<Vec<i64>> {
        let shapes = self.attribute(tensor.node, "_output_shapes")?.list?.shape;
        let shape = shapes.get(tensor.output as usize)?;
        (!shape.unknown_rank).then(|| shape.dim.iter().map(|dim| dim.size).collect())
    }
}

/// What [`functions::inline`] needs of a graph under construction.
impl MetaGraph {
    pub(super) fn node_count(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn has_room_for(&self, nodes: usize) -> bool {
        self.nodes.len() + nodes <= MAX_NODES
    }

    /// The operation and the message of a node, before the graph holds its bytes.
    pub(super) fn raw(&self, node: NodeId) -> (Range<u32>, Range<u32>) {
        let node = self.node(node);
        (node.op.clone(), node.message.clone())
    }

    pub(super) fn id(at: usize) -> NodeId {
        NodeId(narrow(at))
    }

    pub(super) fn append(
        &mut self,
        raw: &RawNode,
        inputs: Vec<Tensor>,
        caller: NodeId,
    ) -> Result<(), String> {
        self.push(raw, inputs, Some(caller))
    }

    /// Makes a call the identity of what its function returns.
    pub(super) fn replace_call(&mut self, call: NodeId, returned: &[Tensor]) -> Result<(), String> {
        let start = self.inputs.len();
        if start + returned.len() > MAX_INPUTS {
            return Err(format!("its nodes have more than {MAX_INPUTS} inputs"));
        }
        self.inputs.extend_from_slice(returned);
        let node = &mut self.nodes[call.0 as usize];
        node.inputs = narrow(start)..narrow(self.inputs.len());
        node.is_inlined = true;
        Ok(())
    }
}

/// A node before its inputs are resolved.
#[derive(Debug)]
pub(super) struct RawNode {
    pub(super) name: Range<u32>,
    pub(super) op: Range<u32>,
    pub(super) message: Range<u32>,
    /// Without control inputs.
    pub(super) inputs: Vec<Range<u32>>,
}

impl RawNode {
    pub(super) fn read(bytes: &[u8], message: Range<usize>) -> Result<Self, Malformed> {
        let mut node = Self {
            name: 0..0,
            op: 0..0,
            message: wire::narrow(&message),
            inputs: Vec::new(),
        };
        for field in wire::fields(bytes, message) {
            let Field { tag, range } = field?;
            let Some(range) = range else { continue };
            let text = wire::narrow(&range);
            match tag {
                1 => node.name = text,
                2 => node.op = text,
                3 if bytes.get(range.start) != Some(&b'^') || range.is_empty() => {
                    node.inputs.push(text);
                }
                _ => {}
            }
        }
        for text in [&node.name, &node.op] {
            if std::str::from_utf8(&bytes[wire::span(text)]).is_err() {
                return Err(Malformed::NotText);
            }
        }
        Ok(node)
    }
}

/// `name` and 1 of `name:1`; 0 where there is no number.
fn split_output(input: &[u8]) -> (&[u8], u32) {
    let number = input.iter().rposition(|&byte| byte == b':').and_then(|at| {
        let digits = std::str::from_utf8(&input[at + 1..]).ok()?;
        Some((&input[..at], digits.parse().ok()?))
    });
    number.unwrap_or((input, 0))
}

/// The attribute `key` in the bytes of a node.
pub(super) fn attribute(bytes: &[u8], message: &Range<u32>, key: &str) -> Option<AttrValue> {
    let value = attribute_bytes(bytes, message, key)?;
    if value.len() > MAX_ATTRIBUTE_LEN {
        return None;
    }
    AttrValue::decode(value).ok()
}

fn attribute_bytes<'a>(bytes: &'a [u8], message: &Range<u32>, key: &str) -> Option<&'a [u8]> {
    /// Field number of `attr` in `NodeDef`, a map.
    const ATTRIBUTE: u32 = 5;
    for entry in wire::messages(bytes, wire::span(message), ATTRIBUTE) {
        let entry = entry.ok()?;
        let [found, value] = [1, 2].map(|tag| wire::last(bytes, entry.clone(), tag));
        if found
            .ok()?
            .is_some_and(|found| &bytes[found] == key.as_bytes())
        {
            return value.ok()?.map(|value| &bytes[value]);
        }
    }
    None
}

fn constant(value: &TensorValue) -> Option<Constant> {
    let packed = &value.tensor_content;
    let floats = |values: Vec<f32>| values.into_iter().map(f64::from).collect();
    let values: Vec<f64> = match DType::from_proto(value.dtype) {
        DType::Float32 if packed.is_empty() => floats(value.float_val.clone()),
        DType::Float32 => unpack(packed, |bytes| f32::from_le_bytes(bytes).into()),
        DType::Float64 if packed.is_empty() => value.double_val.clone(),
        DType::Float64 => unpack(packed, f64::from_le_bytes),
        DType::Int32 if packed.is_empty() => value.int_val.iter().map(|&x| x.into()).collect(),
        DType::Int32 => unpack(packed, |bytes| i32::from_le_bytes(bytes).into()),
        DType::Int64 if packed.is_empty() => value.int64_val.iter().map(|&x| whole(x)).collect(),
        DType::Int64 => unpack(packed, |bytes| whole(i64::from_le_bytes(bytes))),
        DType::Float16 if packed.is_empty() => {
            halves(value, |bits| half::f16::from_bits(bits).into())
        }
        DType::Float16 => unpack(packed, |bytes| half::f16::from_le_bytes(bytes).into()),
        DType::BFloat16 if packed.is_empty() => {
            halves(value, |bits| half::bf16::from_bits(bits).into())
        }
        DType::BFloat16 => unpack(packed, |bytes| half::bf16::from_le_bytes(bytes).into()),
        DType::Other(_) => return None,
    };
    let rank = value.shape.as_ref().map_or(0, |shape| shape.dim.len());
    Some(Constant { values, rank })
}

fn unpack<const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|&chunk| read(chunk))
        .collect()
}

fn halves(value: &TensorValue, read: impl Fn(u16) -> f64) -> Vec<f64> {
    let bits = value.half_val.iter();
    bits.filter_map(|&bits| u16::try_from(bits).ok().map(&read))
        .collect()
}

#[allow(
    clippy::cast_precision_loss,
    reason = "sizes and axes are far below 2^53"
)]
fn whole(value: i64) -> f64 {
    value as f64
}

/// A number that the limits keep below 2^32.
fn narrow(n: usize) -> u32 {
    u32::try_from(n).expect("limited by MAX_LEN, MAX_NODES and MAX_INPUTS")
}
