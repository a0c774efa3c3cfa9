//! The node of each variable in the object graph of a SavedModel.
//!
//! A variable object has the name of its variable, and so has its node in most SavedModels. Two models of the same code
//! have variables with equal names, whose nodes get numbers (`kernel_1`), in no order that the objects have. The saver in
//! the graph (`SaveV2`) lists the key of each variable that it saves, and a key is the path to the variable through the
//! objects. So the saver identifies the node of every object that it saves; where there is no saver, a name does that
//! only one object has.
//!
//! Source: `saved_object_graph.proto` in `tensorflow/core/protobuf`, `tensorflow/python/saved_model/save.py`.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::attributes::attribute_bytes;
use super::nodes::{Inlined, NodeId, Nodes, Tensor};
use crate::limits::Budget;
use crate::protobuf::message::submessages;
use crate::protobuf::objects::{CHILDREN, Child};
use crate::protobuf::wire::{self, Malformed, last};
use crate::variable::{Variable, escaped};

/// The first inputs of `SaveV2` are prefix, names and slices.
const FIRST_TENSOR: usize = 3;
/// Operations that return the value of a variable.
const FORWARDING: &[&[u8]] = &[b"Identity", b"ReadVariableOp", b"Cast"];
/// The most operations between a variable and its saver.
const MAX_STEPS: usize = 64;
/// The field numbers of the variable and of the constant in a `SavedObject`, with those of their names.
const VARIABLE: (u32, u32) = (7, 6);
const CONSTANT: (u32, u32) = (9, 1);
/// The fields with the tensor of an `AttrValue`, and with the strings of a `TensorProto`.
const TENSOR: u32 = 8;
const STRINGS: u32 = 8;
/// Memory of an entry of a map, in bytes.
const ENTRY_COST: usize = 128;

/// The objects of a `SavedObjectGraph`, by their numbers.
pub(super) struct Objects<'a> {
    pub(super) bytes: &'a [u8],
    /// The message of each object.
    pub(super) messages: &'a [Range<usize>],
}

impl Objects<'_> {
    /// Returns the nodes of variables and constants by the numbers of their objects. `by_name` has the nodes of the
    /// main graph, whose calls must be inlined in `graph`. The error completes a sentence about the file.
    pub(super) fn nodes(
        &self,
        graph: &Nodes,
        by_name: &HashMap<&[u8], NodeId>,
        budget: &mut Budget,
    ) -> Result<HashMap<usize, NodeId>, String> {
        let malformed = |error: Malformed| format!("its object graph is malformed: {error}");
        let keys = saved_keys(graph, self.bytes, budget)?;
        let mut nodes = self.nodes_of_keys(&keys, budget)?;
        let saved: HashSet<NodeId> = nodes.values().copied().collect();
        // The only object with each name.
        let mut owners: HashMap<&[u8], Option<usize>> = HashMap::new();
        for (number, message) in self.messages.iter().enumerate() {
            if let Some(name) = self.name(message).map_err(malformed)? {
                // The name of another variable may be that of this variable's node.
                take(budget, 2 * ENTRY_COST)?;
                let owner = owners.entry(name).or_insert(Some(number));
                if *owner != Some(number) {
                    *owner = None;
                }
            }
        }
        for (name, number) in owners {
            let node = by_name.get(name).filter(|node| !saved.contains(node));
            if let (Some(number), Some(node)) = (number, node) {
                nodes.entry(number).or_insert(*node);
            }
        }
        Ok(nodes)
    }

    /// Returns the name of a variable, or that of the node of a constant.
    fn name(&self, object: &Range<usize>) -> Result<Option<&[u8]>, Malformed> {
        for (kind, name) in [VARIABLE, CONSTANT] {
            if let Some(value) = last(self.bytes, object.clone(), kind)?
                && let Some(name) = last(self.bytes, value, name)?
            {
                return Ok(Some(&self.bytes[name]));
            }
        }
        Ok(None)
    }

    /// Returns the nodes by the numbers of their objects, to which the keys lead from the first object.
    fn nodes_of_keys(
        &self,
        keys: &[(&str, NodeId)],
        budget: &mut Budget,
    ) -> Result<HashMap<usize, NodeId>, String> {
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let mut children: HashMap<(usize, Cow<'_, str>), usize> = HashMap::new();
        for (parent, message) in self.messages.iter().enumerate() {
            for child in submessages(&self.bytes[message.clone()], CHILDREN) {
                let Child { number, name } = child.and_then(Child::read).map_err(|error| {
                    let error = Malformed::from(error);
                    format!("its object graph is malformed: {error}")
                })?;
                // A negative number leads nowhere.
                if let Ok(number) = usize::try_from(number) {
                    take(budget, ENTRY_COST + 2 * name.len())?;
                    children.entry((parent, escaped(name))).or_insert(number);
                }
            }
        }
        let mut found = HashMap::with_capacity(keys.len());
        for (key, node) in keys {
            let Some(path) = Variable::path_in_key(key) else {
                continue;
            };
            let object = path.split('/').try_fold(0, |parent, name| {
                children.get(&(parent, name.into())).copied()
            });
            if let Some(object) = object {
                found.entry(object).or_insert(*node);
            }
        }
        Ok(found)
    }
}

fn take(budget: &mut Budget, bytes: usize) -> Result<(), String> {
    budget.take(bytes).map_err(|error| error.to_string())
}

/// Returns the key of each variable that a saver saves, with the node of the variable.
fn saved_keys<'a>(
    graph: &Nodes,
    bytes: &'a [u8],
    budget: &mut Budget,
) -> Result<Vec<(&'a str, NodeId)>, String> {
    let op = |node: NodeId| &bytes[wire::span(&graph.get(node).op)];
    let mut found = Vec::new();
    let mut read = HashSet::new();
    for saver in (0..graph.len()).map(Nodes::id) {
        if op(saver) != b"SaveV2" {
            continue;
        }
        let inputs = graph.inputs(graph.get(saver));
        let Some(names) = inputs.get(1).map(|names| &graph.get(names.node).message) else {
            continue;
        };
        // A list of names is read once, however often its function is called.
        if !read.insert(names.start) {
            continue;
        }
        for (name, tensor) in strings(bytes, names).zip(inputs.iter().skip(FIRST_TENSOR)) {
            if let Some(node) = variable_behind(graph, bytes, *tensor) {
                take(budget, 2 * size_of::<(&str, NodeId)>())?;
                found.push((name, node));
            }
        }
    }
    Ok(found)
}

/// Returns the strings of the `Const` at `message`, up to the first that is not UTF-8.
fn strings<'a>(bytes: &'a [u8], message: &Range<u32>) -> impl Iterator<Item = &'a str> {
    let value = attribute_bytes(bytes, message, "value").unwrap_or_default();
    let tensors = submessages(value, TENSOR).map_while(Result::ok);
    let strings = tensors.flat_map(|tensor| submessages(tensor, STRINGS).map_while(Result::ok));
    strings.map_while(|text| std::str::from_utf8(text).ok())
}

/// Returns the variable whose value a tensor is.
fn variable_behind(graph: &Nodes, bytes: &[u8], mut tensor: Tensor) -> Option<NodeId> {
    for _ in 0..MAX_STEPS {
        let node = graph.get(tensor.node);
        let op = &bytes[wire::span(&node.op)];
        let operand = match node.inlined {
            Inlined::Call => tensor.output as usize,
            Inlined::No if FORWARDING.contains(&op) => 0,
            Inlined::No if op == b"VarHandleOp" => return Some(tensor.node),
            _ => return None,
        };
        tensor = *graph.inputs(node).get(operand)?;
    }
    None
}
