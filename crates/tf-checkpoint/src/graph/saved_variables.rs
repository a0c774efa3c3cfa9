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

use prost::Message as _;

use super::attributes::attribute_bytes;
use super::nodes::{Inlined, NodeId, Nodes, Tensor};
use super::proto::AttrValue;
use crate::limits::Budget;
use crate::protobuf::message;
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
/// The field with the children in a `SavedObject`.
const CHILDREN: u32 = 1;
/// Memory of an entry of a map, in bytes.
const ENTRY_COST: usize = 128;

/// The objects of a `SavedObjectGraph`, by their numbers.
pub(super) struct Objects<'a> {
    pub(super) bytes: &'a [u8],
    /// The message of each object.
    pub(super) messages: &'a [Range<usize>],
}

/// The nodes of variables and constants, by the numbers of their objects.
pub(super) struct ObjectNodes<'a> {
    objects: Objects<'a>,
    /// The nodes that a saver identifies.
    saved: HashMap<usize, NodeId>,
    saved_nodes: HashSet<NodeId>,
    /// The object with each name, if there is only one.
    named: HashMap<&'a [u8], Option<usize>>,
}

impl<'a> ObjectNodes<'a> {
    /// Finds the nodes of the variables that the savers of a graph save. Calls of functions must be inlined.
    pub(super) fn new(
        graph: &Nodes,
        objects: Objects<'a>,
        budget: &mut Budget,
    ) -> Result<Self, String> {
        let malformed = |error: Malformed| format!("its object graph is malformed: {error}");
        let keys = saved_keys(graph, objects.bytes);
        let saved = if keys.is_empty() {
            HashMap::new()
        } else {
            objects.nodes_of_keys(&keys, budget)?
        };
        let mut named: HashMap<&[u8], Option<usize>> = HashMap::new();
        for (number, message) in objects.messages.iter().enumerate() {
            let name = objects.name(message).map_err(malformed)?;
            if let Some(name) = name {
                let kept = budget.take(ENTRY_COST);
                kept.map_err(|error| error.to_string())?;
                let owner = named.entry(name).or_insert(Some(number));
                if *owner != Some(number) {
                    *owner = None;
                }
            }
        }
        Ok(Self {
            objects,
            saved_nodes: saved.values().copied().collect(),
            saved,
            named,
        })
    }

    /// Returns the node of the object with this number; `None` if it is not known. `by_name` has the nodes of the
    /// main graph.
    pub(super) fn get(&self, number: usize, by_name: &HashMap<&[u8], NodeId>) -> Option<NodeId> {
        if let Some(node) = self.saved.get(&number) {
            return Some(*node);
        }
        let message = self.objects.messages.get(number)?;
        let name = self.objects.name(message).ok()??;
        let node = by_name.get(name).copied()?;
        let is_own = *self.named.get(name)? == Some(number);
        (is_own && !self.saved_nodes.contains(&node)).then_some(node)
    }
}

impl<'a> Objects<'a> {
    /// Returns the name of a variable, or that of the node of a constant.
    fn name(&self, object: &Range<usize>) -> Result<Option<&'a [u8]>, Malformed> {
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
        keys: &[(String, NodeId)],
        budget: &mut Budget,
    ) -> Result<HashMap<usize, NodeId>, String> {
        let mut children: HashMap<(usize, Cow<'_, str>), usize> = HashMap::new();
        for (parent, message) in self.messages.iter().enumerate() {
            for child in message::submessages(&self.bytes[message.clone()], CHILDREN) {
                let child = child.and_then(child_reference);
                let (number, name) = child.map_err(|error| {
                    let error = Malformed::from(error);
                    format!("its object graph is malformed: {error}")
                })?;
                if let Some(number) = number {
                    let kept = budget.take(ENTRY_COST + 2 * name.len());
                    kept.map_err(|error| error.to_string())?;
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

/// Reads an `ObjectReference`; no number if it is negative.
fn child_reference(message: &[u8]) -> Result<(Option<usize>, &str), message::Malformed> {
    let (mut number, mut name) = (0, "");
    for field in message::fields(message) {
        let field = field?;
        match field.number {
            1 => number = field.int32()?,
            2 => name = field.text()?,
            _ => {}
        }
    }
    Ok((usize::try_from(number).ok(), name))
}

/// Returns the key of each variable that a saver saves, with the node of the variable.
fn saved_keys(graph: &Nodes, bytes: &[u8]) -> Vec<(String, NodeId)> {
    let op = |node: NodeId| &bytes[wire::span(&graph.get(node).op)];
    let mut found = Vec::new();
    let mut read = HashSet::new();
    for saver in (0..graph.len()).map(Nodes::id) {
        if op(saver) != b"SaveV2" {
            continue;
        }
        let inputs = graph.inputs(graph.get(saver));
        // Savers with the same list of names save the same variables.
        let names = inputs.get(1).filter(|names| read.insert(names.node));
        let Some(names) = names.and_then(|names| strings(graph, bytes, names.node)) else {
            continue;
        };
        for (name, tensor) in names.into_iter().zip(inputs.iter().skip(FIRST_TENSOR)) {
            if let Some(node) = variable_behind(graph, bytes, *tensor) {
                found.push((name, node));
            }
        }
    }
    found
}

/// Returns the strings of a `Const`.
fn strings(graph: &Nodes, bytes: &[u8], node: NodeId) -> Option<Vec<String>> {
    let value = attribute_bytes(bytes, &graph.get(node).message, "value")?;
    let strings = AttrValue::decode(value).ok()?.tensor?.string_val;
    let strings = strings.into_iter();
    strings.map(|text| String::from_utf8(text).ok()).collect()
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
