//! Functions in a training graph's library, inlined at their calls.
//!
//! A `tf.function` becomes a `FunctionDef`: arguments, nodes, and the tensor that each output returns. An
//! input of its nodes is the name of an argument, or `node:output name:index`. A call
//! (`PartitionedCall`, or an operation with the function's name) is replaced by the nodes, under the name
//! of the call. A call stays as it is if the library does not have the function, or if calls nest
//! deeper or produce more nodes than any model needs; it is then an unknown operation.
//!
//! An `If` gets the nodes of both branches: its inputs become the condition, the tensors that the first
//! branch returns, and those of the second. A `While` gets the nodes of its body, whose arguments are
//! the values before the first iteration; the tensors after the loop stay unknown.
//!
//! Source: `function.proto` and `op_def.proto` in `tensorflow/core`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;

use super::attributes::attribute;
use super::nodes::{Inlined, NodeId, Nodes, RawNode, Tensor};
use crate::limits::Budget;
use crate::protobuf::wire::{self, Malformed, last, messages};

/// The most nodes that inlining may add at a time.
const MAX_INLINED: usize = 1 << 17;
/// The most nodes, inputs, arguments and outputs of all functions that are inlined at a time.
const MAX_DECODED: usize = 1 << 20;
/// The deepest nesting of calls.
const MAX_DEPTH: usize = 16;
/// Operations that call the function named by their attribute `f`.
const CALLS: [&[u8]; 3] = [
    b"PartitionedCall",
    b"StatefulPartitionedCall",
    b"TPUPartitionedCall",
];
/// Operations with a branch for each value of a condition.
const BRANCHES: [&[u8]; 2] = [b"If", b"StatelessIf"];
/// Operations that repeat a function.
const LOOPS: [&[u8]; 2] = [b"While", b"StatelessWhile"];
/// Named outputs that are not the first of their operation.
const LATER_OUTPUTS: &[(&[u8], u32)] = &[
    (b"output_true", 1),
    (b"value_index", 1),
    (b"indices", 1),
    (b"batch_mean", 1),
    (b"batch_variance", 2),
];

/// The functions in the file, by name.
#[derive(Debug, Default)]
pub(super) struct Library(HashMap<Vec<u8>, Definition>);

/// Where a function is in the file.
#[derive(Debug)]
struct Definition {
    range: Range<usize>,
    /// The positions of its outputs, by name.
    outputs: HashMap<Vec<u8>, u32>,
}

impl Definition {
    /// Reads the name and the outputs in the signature of a function; `None` if it has no name.
    fn read(
        bytes: &[u8],
        range: Range<usize>,
        signature: Range<usize>,
        budget: &mut Budget,
    ) -> Result<Option<(Vec<u8>, Self)>, String> {
        let malformed = |error: Malformed| format!("its functions are malformed: {error}");
        // A map that grows holds its entries twice for a moment.
        let mut take = |name: &Range<usize>, entry: usize| {
            let kept = budget.take(2 * entry + name.len());
            kept.map_err(|error| error.to_string())
        };
        let name = last(bytes, signature.clone(), 1).map_err(malformed)?;
        let Some(name) = name else {
            return Ok(None);
        };
        take(&name, size_of::<(Vec<u8>, Self)>())?;
        let mut outputs = HashMap::new();
        for (output, at) in messages(bytes, signature, 3).zip(0..) {
            let name = last(bytes, output.map_err(malformed)?, 1);
            if let Some(name) = name.map_err(malformed)? {
                take(&name, size_of::<(Vec<u8>, u32)>())?;
                outputs.insert(bytes[name].to_vec(), at);
            }
        }
        Ok(Some((bytes[name].to_vec(), Self { range, outputs })))
    }
}

/// The parts of a function.
#[derive(Debug, Default)]
struct Function {
    arguments: Vec<Range<usize>>,
    outputs: Vec<Range<usize>>,
    /// Names of outputs, and references to the tensors that they return.
    returns: Vec<[Range<usize>; 2]>,
    nodes: Vec<RawNode>,
}

impl Library {
    /// Finds the functions in the given `FunctionDefLibrary` messages.
    pub(super) fn index(
        bytes: &[u8],
        libraries: Vec<Range<usize>>,
        budget: &mut Budget,
    ) -> Result<Self, String> {
        let malformed = |error: Malformed| format!("its functions are malformed: {error}");
        let mut found = HashMap::new();
        for library in libraries {
            for function in messages(bytes, library, 1) {
                let function = function.map_err(malformed)?;
                for signature in messages(bytes, function.clone(), 1) {
                    let signature = signature.map_err(malformed)?;
                    let definition = Definition::read(bytes, function.clone(), signature, budget);
                    found.extend(definition?);
                }
            }
        }
        Ok(Self(found))
    }

    /// Returns the arguments of a function, each an `ArgDef`; `None` if the library does not have it.
    pub(super) fn arguments(
        &self,
        bytes: &[u8],
        name: &[u8],
    ) -> Result<Option<Vec<Range<usize>>>, Malformed> {
        let Some(definition) = self.0.get(name) else {
            return Ok(None);
        };
        let mut arguments = Vec::new();
        for signature in messages(bytes, definition.range.clone(), 1) {
            for argument in messages(bytes, signature?, 2) {
                arguments.push(argument?);
                if arguments.len() > MAX_DECODED {
                    return Err(too_many("a function has more than", "arguments"));
                }
            }
        }
        Ok(Some(arguments))
    }

    /// Returns how a node calls functions; `None` if it does not, or if the library lacks one of them.
    fn called(&self, graph: &Nodes, bytes: &[u8], node: NodeId) -> Option<Call> {
        if self.0.is_empty() {
            return None;
        }
        let node = graph.get(node);
        let op = &bytes[wire::span(&node.op)];
        let named = |key: &str| {
            let function = attribute(bytes, &node.message, key)?.func?;
            let definition = self.0.get(function.name.as_bytes())?;
            Some(definition.range.clone())
        };
        if CALLS.contains(&op) {
            named("f").map(Call::Once)
        } else if BRANCHES.contains(&op) {
            let branches = named("then_branch").zip(named("else_branch"));
            branches.map(|(then, or_else)| Call::Branches([then, or_else]))
        } else if LOOPS.contains(&op) {
            named("body").map(Call::Loop)
        } else {
            let own = self.0.get(op);
            own.map(|definition| Call::Once(definition.range.clone()))
        }
    }
}

/// The functions that a node calls, by their ranges.
#[derive(Clone, Debug)]
enum Call {
    Once(Range<usize>),
    /// One function if the first input is true, and one if it is false; both get the other inputs.
    Branches([Range<usize>; 2]),
    /// The body of a loop.
    Loop(Range<usize>),
}

impl Call {
    fn functions(&self) -> &[Range<usize>] {
        match self {
            Self::Once(function) | Self::Loop(function) => std::slice::from_ref(function),
            Self::Branches(branches) => branches,
        }
    }
}

fn too_many(what: &str, parts: &str) -> Malformed {
    Malformed::Encoding(format!("{what} {MAX_DECODED} {parts}"))
}

impl Function {
    /// Decodes a function; `count` is the number of parts of all functions so far.
    fn read(bytes: &[u8], definition: Range<usize>, count: &mut usize) -> Result<Self, Malformed> {
        let mut function = Self::default();
        let mut add = |parts: usize| {
            *count += parts;
            if *count > MAX_DECODED {
                return Err(too_many("the called functions have more than", "parts"));
            }
            Ok(())
        };
        for signature in messages(bytes, definition.clone(), 1) {
            let signature = signature?;
            for argument in messages(bytes, signature.clone(), 2) {
                add(1)?;
                function.arguments.extend(last(bytes, argument?, 1)?);
            }
            for output in messages(bytes, signature, 3) {
                add(1)?;
                function.outputs.extend(last(bytes, output?, 1)?);
            }
        }
        for node in messages(bytes, definition.clone(), 3) {
            let node = RawNode::read(bytes, node?)?;
            add(1 + node.inputs.len())?;
            function.nodes.push(node);
        }
        for entry in messages(bytes, definition, 4) {
            let entry = entry?;
            add(1)?;
            let [key, value] = [1, 2].map(|tag| last(bytes, entry.clone(), tag));
            function
                .returns
                .extend(key?.zip(value?).map(<[_; 2]>::from));
        }
        Ok(function)
    }
}

/// Replaces the calls in a graph from the node `first` on, including those in inlined functions.
pub(super) fn inline(
    graph: &mut Nodes,
    bytes: &[u8],
    library: &Library,
    first: usize,
) -> Result<(), String> {
    let own_nodes = graph.len();
    // Each function is decoded once, however often it is called.
    let mut read: HashMap<usize, Function> = HashMap::new();
    let mut decoded = 0;
    let mut depths: HashMap<NodeId, usize> = HashMap::new();
    let mut at = first;
    while at < graph.len() {
        let node = Nodes::id(at);
        at += 1;
        let depth = depths.get(&node).copied().unwrap_or(0);
        let Some(call) = library.called(graph, bytes, node) else {
            continue;
        };
        for definition in call.functions() {
            if let Entry::Vacant(entry) = read.entry(definition.start) {
                let function = Function::read(bytes, definition.clone(), &mut decoded);
                entry
                    .insert(function.map_err(|error| format!("a function is malformed: {error}"))?);
            }
        }
        let functions = call.functions().iter().map(|at| &read[&at.start]);
        let functions: Vec<&Function> = functions.collect();
        let added: usize = functions.iter().map(|function| function.nodes.len()).sum();
        let count = graph.len() - own_nodes + added;
        if depth >= MAX_DEPTH || count > MAX_INLINED || !graph.has_room_for(added) {
            continue;
        }
        let first = graph.len();
        replace(graph, bytes, library, node, &call, &functions)?;
        for added in first..graph.len() {
            depths.insert(Nodes::id(added), depth + 1);
        }
    }
    Ok(())
}

/// Appends the nodes of the functions that a node calls, and replaces the inputs of the node by the
/// tensors that they return.
fn replace(
    graph: &mut Nodes,
    bytes: &[u8],
    library: &Library,
    node: NodeId,
    call: &Call,
    functions: &[&Function],
) -> Result<(), String> {
    let given = graph.inputs(graph.get(node)).to_vec();
    let mut append =
        |given: &[Tensor], at: usize| append(graph, bytes, library, (node, given), functions[at]);
    match call {
        Call::Once(_) => {
            let returned = append(&given, 0)?;
            graph.replace(node, Inlined::Call, &returned)
        }
        Call::Branches(_) => {
            let Some((condition, given)) = given.split_first() else {
                return Ok(());
            };
            let mut inputs = vec![*condition];
            inputs.extend(append(given, 0)?);
            inputs.extend(append(given, 1)?);
            graph.replace(node, Inlined::Branches, &inputs)
        }
        Call::Loop(_) => append(&given, 0).map(|_| ()),
    }
}

/// Appends the nodes of a function that `call` calls with `given` tensors; returns the tensors that the
/// function returns.
fn append(
    graph: &mut Nodes,
    bytes: &[u8],
    library: &Library,
    (call, given): (NodeId, &[Tensor]),
    function: &Function,
) -> Result<Vec<Tensor>, String> {
    let first = graph.len();
    let arguments: HashMap<&[u8], Tensor> = std::iter::zip(&function.arguments, given)
        .map(|(name, &tensor)| (&bytes[name.clone()], tensor))
        .collect();
    let nodes: HashMap<&[u8], usize> = std::iter::zip(&function.nodes, 0..)
        .map(|(node, at)| (&bytes[wire::span(&node.name)], at))
        .collect();
    let resolve = |reference: &[u8]| -> Tensor {
        let mut parts = reference.split(|&byte| byte == b':');
        let name = parts.next().unwrap_or_default();
        if let Some(tensor) = arguments.get(name) {
            return *tensor;
        }
        let Some(&at) = nodes.get(name) else {
            return Tensor::MISSING;
        };
        let op = &bytes[wire::span(&function.nodes[at].op)];
        let named = parts
            .next()
            .map_or(0, |output| library.position(op, output));
        let index = parts
            .next()
            .and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        Tensor {
            node: Nodes::id(first + at),
            output: index.unwrap_or(0_u32).saturating_add(named),
        }
    };
    let returns: HashMap<&[u8], &Range<usize>> = function
        .returns
        .iter()
        .map(|[name, reference]| (&bytes[name.clone()], reference))
        .collect();
    let returned: Vec<Tensor> = function
        .outputs
        .iter()
        .map(|output| match returns.get(&bytes[output.clone()]) {
            Some(&reference) => resolve(&bytes[reference.clone()]),
            None => Tensor::MISSING,
        })
        .collect();
    for node in &function.nodes {
        let inputs = node
            .inputs
            .iter()
            .map(|input| resolve(&bytes[wire::span(input)]));
        graph.push(node, inputs.collect(), Some(call))?;
    }
    Ok(returned)
}

impl Library {
    /// Returns the position of a named output of an operation.
    fn position(&self, op: &[u8], output: &[u8]) -> u32 {
        let own = self.0.get(op);
        let own = own.and_then(|definition| definition.outputs.get(output).copied());
        let mut later = LATER_OUTPUTS.iter();
        own.or_else(|| later.find(|(name, _)| *name == output).map(|(_, at)| *at))
            .unwrap_or(0)
    }
}
