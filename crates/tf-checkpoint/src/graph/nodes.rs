//! The nodes of a graph: their ranges in the file, and their resolved inputs.

use std::ops::Range;

use crate::protobuf::wire::{self, Field, Malformed};

/// The most nodes indexed. A model of 24 layers with its optimizer has 21,000.
pub(super) const MAX_NODES: usize = 1 << 20;
/// The most inputs of all nodes together.
const MAX_INPUTS: usize = 1 << 22;

/// A node of a [`MetaGraph`](crate::MetaGraph), by its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(super) u32);

impl NodeId {
    /// Returns the index of the node among [`nodes`](crate::MetaGraph::nodes).
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// An output of a node: a tensor of the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tensor {
    /// The node.
    pub node: NodeId,
    /// The index of the output, from 0.
    pub output: u32,
}

impl Tensor {
    /// The tensor of an input whose node is not in the graph.
    pub const MISSING: Self = Self {
        node: NodeId(u32::MAX),
        output: 0,
    };

    /// Returns true if the node is not in the graph.
    pub fn is_missing(self) -> bool {
        self == Self::MISSING
    }
}

impl From<NodeId> for Tensor {
    /// Returns the first output of a node.
    fn from(node: NodeId) -> Self {
        Self { node, output: 0 }
    }
}

/// The use of a node's output as an input of another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// The consumer.
    pub node: NodeId,
    /// The index of the consumer's input, from 0.
    pub operand: u32,
    /// The index of the output, from 0.
    pub output: u32,
}

/// The ranges of a node in the file.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) name: Range<u32>,
    pub(super) op: Range<u32>,
    pub(super) message: Range<u32>,
    inputs: Range<u32>,
    /// The call through which the node was inlined.
    pub(super) caller: Option<NodeId>,
    /// How the nodes of called functions replaced the node.
    pub(super) inlined: Inlined,
}

/// How the nodes of called functions replaced a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inlined {
    No,
    /// A call: its inputs are the returned tensors.
    Call,
    /// An `If`: its inputs are the condition and the returned tensors of both branches.
    Branches,
    /// The argument of a function, an `ArgDef`, in a call that is not in the file.
    Argument,
}

/// All nodes, with their inputs.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    nodes: Vec<Node>,
    inputs: Vec<Tensor>,
}

impl Nodes {
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter()
    }

    pub(super) fn has_room_for(&self, nodes: usize) -> bool {
        self.nodes.len() + nodes <= MAX_NODES
    }

    /// Returns the node at an index.
    pub(super) fn id(at: usize) -> NodeId {
        NodeId(narrow(at))
    }

    /// Returns the inputs of a node, without control inputs.
    pub(super) fn inputs(&self, node: &Node) -> &[Tensor] {
        &self.inputs[wire::span(&node.inputs)]
    }

    /// Returns a node; an empty one for [`Tensor::MISSING`].
    pub(super) fn get(&self, node: NodeId) -> &Node {
        const MISSING: Node = Node {
            name: 0..0,
            op: 0..0,
            message: 0..0,
            inputs: 0..0,
            caller: None,
            inlined: Inlined::No,
        };
        self.nodes.get(node.0 as usize).unwrap_or(&MISSING)
    }

    /// Appends a node with resolved inputs.
    pub(super) fn push(
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
            inlined: Inlined::No,
        });
        Ok(())
    }

    /// Appends a node for the argument of a function.
    pub(super) fn push_argument(&mut self, name: &Range<usize>, message: &Range<usize>) -> NodeId {
        let id = Self::id(self.nodes.len());
        let end = narrow(self.inputs.len());
        self.nodes.push(Node {
            name: wire::narrow(name),
            op: 0..0,
            message: wire::narrow(message),
            inputs: end..end,
            caller: None,
            inlined: Inlined::Argument,
        });
        id
    }

    /// Gives a node the inputs that replace it.
    pub(super) fn replace(
        &mut self,
        node: NodeId,
        inlined: Inlined,
        inputs: &[Tensor],
    ) -> Result<(), String> {
        let start = self.inputs.len();
        if start + inputs.len() > MAX_INPUTS {
            return Err(format!("its nodes have more than {MAX_INPUTS} inputs"));
        }
        self.inputs.extend_from_slice(inputs);
        let node = &mut self.nodes[node.0 as usize];
        node.inputs = narrow(start)..narrow(self.inputs.len());
        node.inlined = inlined;
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

/// Narrows a number that the limits keep below 2^32.
fn narrow(n: usize) -> u32 {
    u32::try_from(n).expect("limited by MAX_LEN, MAX_NODES and MAX_INPUTS")
}
