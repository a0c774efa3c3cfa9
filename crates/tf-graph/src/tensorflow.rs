//! The same part of a graph, evaluated by TensorFlow's own library; with the feature `tensorflow`.
//!
//! The nodes that [`Evaluation`](crate::Evaluation) would compute are written into a graph of their own: with
//! their operations and attributes, and with a placeholder for each variable and for each tensor that is
//! fed. Dropout, branches and copies are resolved as for the evaluation here, so that the library checks the
//! operations and their numbers, not the way from outputs to feeds. The graph is not built for another
//! batch size: feeds must have its own.
//!
//! The library is loaded at run time, from `TENSORFLOW_DIR` or `LD_LIBRARY_PATH`. It is a C++ library
//! and can crash the process.

use std::collections::HashMap;

use ::tensorflow::{
    Code, DataType, FetchToken, Graph, ImportGraphDefOptions, Session, SessionOptions,
    SessionRunArgs, Status, Tensor as Value, TensorType, library,
};
use prost::Message;
use tf_checkpoint::{MetaGraph, NodeId, Tensor};

use crate::array::{Array, ArrayType};
use crate::failure::Failure;
use crate::ops;
use crate::refusal::Refusal;
use crate::slice::Slice;

/// The version of graphs that TensorFlow 2.12 writes.
const PRODUCER: i32 = 1395;

/// `NodeDef` in `node_def.proto`, with attributes as bytes.
#[derive(Clone, PartialEq, Message)]
struct NodeDef {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    op: String,
    #[prost(string, repeated, tag = "3")]
    input: Vec<String>,
    #[prost(map = "string, bytes", tag = "5")]
    attr: HashMap<String, Vec<u8>>,
}

/// `GraphDef` in `graph.proto`.
#[derive(Clone, PartialEq, Message)]
struct GraphDef {
    #[prost(message, repeated, tag = "1")]
    node: Vec<NodeDef>,
    #[prost(message, optional, tag = "4")]
    versions: Option<VersionDef>,
}

/// `VersionDef` in `versions.proto`.
#[derive(Clone, PartialEq, Message)]
struct VersionDef {
    #[prost(int32, tag = "1")]
    producer: i32,
}

/// A dtype as the value of an attribute: `AttrValue` in `attr_value.proto`.
#[derive(Clone, PartialEq, Message)]
struct TypeValue {
    #[prost(int32, tag = "6")]
    r#type: i32,
}

/// Loads TensorFlow's library; returns a message if it cannot be loaded.
pub fn load_tensorflow() -> Result<(), String> {
    library::load()
}

/// A part of a graph as a graph of its own.
pub(crate) struct Extract<'a> {
    graph: &'a MetaGraph,
    nodes: Vec<NodeDef>,
    /// The value of each placeholder.
    feeds: Vec<(String, Array)>,
}

fn name(tensor: Tensor, fed: &HashMap<Tensor, String>) -> String {
    match fed.get(&tensor) {
        Some(name) => name.clone(),
        None => format!("{}:{}", node_name(tensor.node), tensor.output),
    }
}

fn node_name(node: NodeId) -> String {
    format!("node_{}", node.index())
}

impl<'a> Extract<'a> {
    pub(crate) fn new(graph: &'a MetaGraph) -> Self {
        Self {
            graph,
            nodes: Vec::new(),
            feeds: Vec::new(),
        }
    }

    /// Evaluates the outputs of a slice. `leaf` returns the value of a variable.
    pub(crate) fn run(
        mut self,
        slice: &Slice,
        feeds: impl IntoIterator<Item = (Tensor, Array)>,
        leaf: impl Fn(NodeId) -> Result<Array, Failure>,
    ) -> Result<Vec<Array>, Refusal> {
        let mut fed = HashMap::new();
        for (tensor, array) in feeds {
            let name = format!("fed_{}_{}", tensor.node.index(), tensor.output);
            self.placeholder(&name, array);
            fed.insert(tensor, name);
        }
        for &node in &slice.order {
            let op = self.graph.op(node);
            let inputs = slice.inputs(node).iter().map(|&input| name(input, &fed));
            let inputs: Vec<String> = inputs.collect();
            if op != "Const" && !ops::is_known(op) {
                let array = leaf(node).map_err(|reason| Refusal::at(node, reason))?;
                self.placeholder(&node_name(node), array);
            } else {
                self.copy(node, inputs);
            }
        }
        let outputs: Vec<Tensor> = slice.outputs.clone();
        let names = outputs.iter().map(|&output| name(output, &fed));
        let names: Vec<String> = names.collect();
        self.evaluate(&names).map_err(|status| Refusal {
            node: None,
            reason: Failure::Unsupported(format!("TensorFlow's library: {status}")),
        })
    }

    /// Adds a placeholder with its value.
    fn placeholder(&mut self, name: &str, array: Array) {
        let dtype = TypeValue {
            r#type: number(array.dtype()),
        };
        self.nodes.push(NodeDef {
            name: name.to_owned(),
            op: "Placeholder".to_owned(),
            input: Vec::new(),
            attr: HashMap::from([("dtype".to_owned(), dtype.encode_to_vec())]),
        });
        self.feeds.push((name.to_owned(), array));
    }

    /// Adds a node with other inputs. Attributes that begin with an underscore place or annotate it.
    fn copy(&mut self, node: NodeId, input: Vec<String>) {
        let attributes = self.graph.attributes(node).into_iter();
        let attributes = attributes.filter(|(key, _)| !key.starts_with('_'));
        let mut attr: HashMap<String, Vec<u8>> = attributes
            .map(|(key, value)| (key.to_owned(), value.to_vec()))
            .collect();
        let mut op = self.graph.op(node).to_owned();
        // The handle of the variable became its value.
        if op == "ResourceGather" {
            "Gather".clone_into(&mut op);
            attr.retain(|key, _| matches!(&key[..], "Tindices" | "validate_indices"));
            let params = TypeValue { r#type: 1 };
            attr.insert("Tparams".to_owned(), params.encode_to_vec());
        }
        self.nodes.push(NodeDef {
            name: node_name(node),
            op,
            input,
            attr,
        });
    }

    fn evaluate(self, outputs: &[String]) -> Result<Vec<Array>, Status> {
        library::load().map_err(|what| status(&what))?;
        let definition = GraphDef {
            node: self.nodes,
            versions: Some(VersionDef { producer: PRODUCER }),
        };
        let mut graph = Graph::new();
        graph.import_graph_def(&definition.encode_to_vec(), &ImportGraphDefOptions::new())?;
        let session = Session::new(&SessionOptions::new(), &graph)?;
        let feeds: Vec<Fed> = self
            .feeds
            .iter()
            .map(|(_, array)| Fed::new(array))
            .collect::<Result<_, _>>()?;
        let mut run = SessionRunArgs::new();
        for ((name, _), value) in std::iter::zip(&self.feeds, &feeds) {
            let operation = graph.operation_by_name_required(name)?;
            match value {
                Fed::Float32(value) => run.add_feed(&operation, 0, value),
                Fed::Float64(value) => run.add_feed(&operation, 0, value),
                Fed::Int32(value) => run.add_feed(&operation, 0, value),
                Fed::Int64(value) => run.add_feed(&operation, 0, value),
                Fed::Bool(value) => run.add_feed(&operation, 0, value),
            }
        }
        let mut fetched = Vec::new();
        for output in outputs {
            let (name, index) = output.split_once(':').unwrap_or((output, "0"));
            let operation = graph.operation_by_name_required(name)?;
            let index = index.parse().unwrap_or(0);
            let kind = operation.output_type(usize::try_from(index).unwrap_or(0));
            fetched.push((run.request_fetch(&operation, index), kind));
        }
        session.run(&mut run)?;
        let values = fetched.into_iter().map(|(token, kind)| match kind {
            DataType::Float => fetch::<f32>(&mut run, token, |&x| x.into()),
            DataType::Double => fetch::<f64>(&mut run, token, |&x| x),
            other => Err(status(&format!("an output has the type {other}"))),
        });
        values.collect()
    }
}

fn status(message: &str) -> Status {
    let mut status = Status::new();
    // A message without a NUL byte is always accepted.
    let _ = status.set(Code::Unknown, message);
    status
}

fn fetch<T: TensorType>(
    run: &mut SessionRunArgs<'_>,
    token: FetchToken,
    convert: impl Fn(&T) -> f64,
) -> Result<Array, Status> {
    let value: Value<T> = run.fetch(token)?;
    let axes = value.dims().iter();
    let shape: Vec<usize> = axes
        .map(|&axis| usize::try_from(axis).unwrap_or(usize::MAX))
        .collect();
    let values = value.iter().map(convert).collect();
    let array = Array::of_type(ArrayType::Float64, &shape, values);
    array.map_err(|error| status(&error.to_string()))
}

/// A value in the library's memory.
enum Fed {
    Float32(Value<f32>),
    Float64(Value<f64>),
    Int32(Value<i32>),
    Int64(Value<i64>),
    Bool(Value<bool>),
}

impl Fed {
    fn new(array: &Array) -> Result<Self, Status> {
        fn filled<T: TensorType + Copy>(
            shape: &[usize],
            values: impl Iterator<Item = T>,
        ) -> Result<Value<T>, Status> {
            let dims: Vec<u64> = shape.iter().map(|&axis| axis as u64).collect();
            Value::new(&dims).with_values(&values.collect::<Vec<T>>())
        }
        let shape = array.shape();
        Ok(match array {
            Array::Float32(values) => Self::Float32(filled(shape, values.iter().copied())?),
            Array::Float64(values) => Self::Float64(filled(shape, values.iter().copied())?),
            Array::Int32(values) => Self::Int32(filled(shape, values.iter().copied())?),
            Array::Int64(values) => Self::Int64(filled(shape, values.iter().copied())?),
            Array::Bool(values) => Self::Bool(filled(shape, values.iter().copied())?),
        })
    }
}

/// Returns the number of a type in `types.proto`.
fn number(kind: ArrayType) -> i32 {
    match kind {
        ArrayType::Float32 => 1,
        ArrayType::Float64 => 2,
        ArrayType::Int32 => 3,
        ArrayType::Int64 => 9,
        ArrayType::Bool => 10,
    }
}
