//! Functions of a SavedModel that no signature calls.
//!
//! The graph of a SavedModel of TensorFlow 2 calls the functions of its signatures. A module that was saved
//! without signatures has its functions in the library only, and the object graph lists them with the
//! variables that they capture, which are their last arguments. Such functions are called here, so that what
//! they compute is a part of the graph: as few as read all variables that no signature reads, those with most
//! variables first. The arguments that a user gives become placeholders.
//!
//! Source: `saved_object_graph.proto` and `meta_graph.proto` in `tensorflow/core/protobuf`.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::functions::Library;
use super::nodes::{NodeId, Nodes, RawNode, Tensor};
use super::saved_variables::Objects;
use crate::limits::Budget;
use crate::protobuf::wire::{self, Field, Malformed, last, messages};

/// Field numbers in `MetaGraphDef`: a map of signatures, the object graph.
const SIGNATURE: u32 = 5;
const OBJECT_GRAPH: u32 = 7;
/// The most objects that a function captures. A model of 24 layers has 400 variables.
const MAX_CAPTURES: usize = 1 << 16;
/// The most functions that are called.
const MAX_CALLS: usize = 16;
/// Memory of an argument while a graph is indexed, in bytes.
const ARGUMENT_COST: usize = 256;

/// The functions of a `MetaGraphDef` with the objects that they capture.
#[derive(Default)]
pub(super) struct SavedFunctions {
    /// The nodes of the main graph that the signatures return.
    returned: Vec<Range<usize>>,
    /// The inputs of these nodes.
    read: HashSet<NodeId>,
    /// The messages of the objects.
    objects: Vec<Range<usize>>,
    functions: Vec<Captures>,
}

/// A function that can be called.
struct Captures {
    name: Range<usize>,
    /// The numbers of the captured objects.
    objects: Vec<usize>,
}

impl SavedFunctions {
    /// Reads the functions in the object graph of a `MetaGraphDef`. `by_name` has the nodes of the main graph, in
    /// which no call is inlined yet.
    pub(super) fn read(
        graph: &Nodes,
        bytes: &[u8],
        meta_graph: Range<usize>,
        by_name: &HashMap<&[u8], NodeId>,
        budget: &mut Budget,
    ) -> Result<Self, String> {
        let malformed = |error: Malformed| format!("its object graph is malformed: {error}");
        let mut found = Self::default();
        for field in wire::fields(bytes, meta_graph) {
            let Field { tag, range } = field.map_err(malformed)?;
            match (tag, range) {
                (SIGNATURE, Some(entry)) => {
                    found.add_signature(bytes, entry).map_err(malformed)?;
                }
                (OBJECT_GRAPH, Some(objects)) => found.add_objects(bytes, objects, budget)?,
                _ => {}
            }
        }
        for name in &found.returned {
            let name = &bytes[name.clone()];
            let node = name.split(|&byte| byte == b':').next().unwrap_or_default();
            if let Some(&node) = by_name.get(node) {
                let inputs = graph.inputs(graph.get(node)).iter();
                found.read.extend(inputs.map(|input| input.node));
            }
        }
        Ok(found)
    }

    /// Appends calls of the functions. In the graph the calls of the main graph are inlined.
    pub(super) fn add_calls(
        mut self,
        graph: &mut Nodes,
        bytes: &[u8],
        (by_name, library): (&HashMap<&[u8], NodeId>, &Library),
        budget: &mut Budget,
    ) -> Result<(), String> {
        if self.functions.is_empty() {
            return Ok(());
        }
        let malformed = |error: Malformed| format!("its object graph is malformed: {error}");
        let objects = Objects {
            bytes,
            messages: &self.objects,
        };
        let nodes = objects.nodes(graph, by_name, budget)?;
        self.functions.sort_by_key(|function| {
            (
                Reverse(function.objects.len()),
                &bytes[function.name.clone()],
            )
        });
        let mut calls = 0;
        for function in &self.functions {
            let captured = function.objects.iter();
            let captured: Vec<Option<NodeId>> =
                captured.map(|object| nodes.get(object).copied()).collect();
            let is_new = captured
                .iter()
                .flatten()
                .any(|node| !self.read.contains(node));
            if !is_new || calls == MAX_CALLS {
                continue;
            }
            let arguments = library.arguments(bytes, &bytes[function.name.clone()]);
            let Some(arguments) = arguments.map_err(malformed)? else {
                continue;
            };
            let Some(given) = arguments.len().checked_sub(captured.len()) else {
                continue;
            };
            budget
                .take(arguments.len() * ARGUMENT_COST)
                .map_err(|error| error.to_string())?;
            if !graph.has_room_for(given + 1) {
                continue;
            }
            let mut inputs = Vec::with_capacity(arguments.len());
            for argument in &arguments[..given] {
                let name = last(bytes, argument.clone(), 1).map_err(malformed)?;
                let name = name.unwrap_or_default();
                inputs.push(graph.push_argument(&name, argument).into());
            }
            let of_node = |node: &Option<NodeId>| node.map_or(Tensor::MISSING, Tensor::from);
            inputs.extend(captured.iter().map(of_node));
            let name = wire::narrow(&function.name);
            // An operation with the name of a function calls it.
            let call = RawNode {
                op: name.clone(),
                name,
                message: 0..0,
                inputs: Vec::new(),
            };
            graph.push(&call, inputs, None)?;
            self.read.extend(captured.into_iter().flatten());
            calls += 1;
        }
        Ok(())
    }

    /// Adds the outputs of a signature, an entry of a map from its name to a `SignatureDef`.
    fn add_signature(&mut self, bytes: &[u8], entry: Range<usize>) -> Result<(), Malformed> {
        for signature in messages(bytes, entry, 2) {
            for output in messages(bytes, signature?, 2) {
                for tensor in messages(bytes, output?, 2) {
                    self.returned.extend(last(bytes, tensor?, 1)?);
                }
            }
        }
        Ok(())
    }

    /// Adds the objects and functions of a `SavedObjectGraph`.
    fn add_objects(
        &mut self,
        bytes: &[u8],
        graph: Range<usize>,
        budget: &mut Budget,
    ) -> Result<(), String> {
        let malformed = |error: Malformed| format!("its object graph is malformed: {error}");
        for field in wire::fields(bytes, graph) {
            let Field { tag, range } = field.map_err(malformed)?;
            match (tag, range) {
                (1, Some(object)) => {
                    budget
                        .take(2 * size_of::<Range<usize>>())
                        .map_err(|error| error.to_string())?;
                    self.objects.push(object);
                }
                (2, Some(entry)) => {
                    let function = Captures::read(bytes, entry).map_err(malformed)?;
                    let kept = function.as_ref().map_or(0, |function| {
                        size_of::<Captures>() + function.objects.len() * size_of::<usize>()
                    });
                    budget.take(2 * kept).map_err(|error| error.to_string())?;
                    self.functions.extend(function);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl Captures {
    /// Reads an entry of a map from the name of a function to a `SavedConcreteFunction`.
    fn read(bytes: &[u8], entry: Range<usize>) -> Result<Option<Self>, Malformed> {
        let Some(name) = last(bytes, entry.clone(), 1)? else {
            return Ok(None);
        };
        let mut objects = Vec::new();
        for function in messages(bytes, entry, 2) {
            objects.extend(wire::numbers(bytes, function?, (2, MAX_CAPTURES))?);
        }
        let objects = objects.into_iter();
        let objects = objects.map(|number| usize::try_from(number).unwrap_or(usize::MAX));
        Ok(Some(Self {
            name,
            objects: objects.collect(),
        }))
    }
}
