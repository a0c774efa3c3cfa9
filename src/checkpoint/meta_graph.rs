//! The training graph that `tf.train.Saver` leaves beside a checkpoint, `PREFIX.meta`.
//!
//! It tells what the shapes of variables cannot, such as the number of attention heads. A graph has
//! thousands of nodes, most of them optimizer and gradients, so nodes are decoded one at a time:
//! name and operation first, the attributes of a constant only when asked for.

use std::io;
use std::path::{Path, PathBuf};

use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::proto::{GRAPH_NODE, META_GRAPH_GRAPH_DEF, NodeAttributes, NodeName, TensorValue};
use super::source::Storage;
use super::{DType, Error};

/// The largest file read, in bytes. The graph of ELECTRA-Large takes some 30 MB.
const MAX_LEN: u64 = 256 << 20;

/// A training graph.
#[derive(Debug)]
pub struct MetaGraph {
    path: PathBuf,
    bytes: Vec<u8>,
}

/// A node of the graph.
#[derive(Debug)]
pub struct Node<'a> {
    /// Such as `electra/encoder/layer_0/attention/self/Mul/y`.
    pub name: String,
    /// Such as `Const`.
    pub op: String,
    graph: &'a MetaGraph,
    bytes: &'a [u8],
}

/// The value of a constant, flattened.
#[derive(Clone, Debug, PartialEq)]
pub enum Constant {
    /// float32 or float64.
    Floats(Vec<f64>),
    /// int32.
    Ints(Vec<i64>),
}

impl MetaGraph {
    /// Reads the file; `None` when there is none.
    pub fn open(storage: &dyn Storage, path: &Path) -> Result<Option<Self>, Error> {
        let bytes = storage
            .read_if_there(path, MAX_LEN)
            .map_err(|source| match source.kind() {
                io::ErrorKind::FileTooLarge => Error::MetaGraph {
                    path: path.to_owned(),
                    what: source.to_string(),
                },
                _ => Error::reading(path, source),
            })?;
        let Some(bytes) = bytes else {
            return Ok(None);
        };
        let graph = Self {
            path: path.to_owned(),
            bytes,
        };
        let mut nodes = 0_usize;
        graph.scan(|_| {
            nodes += 1;
            Ok(())
        })?;
        if nodes == 0 {
            return Err(graph.error("there is no graph in it"));
        }
        Ok(Some(graph))
    }

    /// The file that it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Calls `visit` with every node, in the order of the file.
    pub fn scan(&self, mut visit: impl FnMut(&Node<'_>) -> Result<(), Error>) -> Result<(), Error> {
        self.scan_messages(&self.bytes, META_GRAPH_GRAPH_DEF, &mut |graph| {
            self.scan_messages(graph, GRAPH_NODE, &mut |bytes| {
                let NodeName { name, op } = NodeName::decode(bytes)
                    .map_err(|error| self.error(&format!("a node is malformed: {error}")))?;
                visit(&Node {
                    name,
                    op,
                    graph: self,
                    bytes,
                })
            })
        })
    }

    /// Calls `visit` with the bytes of each embedded message with field number `tag`.
    fn scan_messages(
        &self,
        mut bytes: &[u8],
        tag: u32,
        visit: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let malformed = |error| self.error(&format!("it is no MetaGraphDef: {error}"));
        while !bytes.is_empty() {
            let (found, wire_type) = decode_key(&mut bytes).map_err(malformed)?;
            if found != tag || wire_type != WireType::LengthDelimited {
                skip_field(wire_type, found, &mut bytes, DecodeContext::default())
                    .map_err(malformed)?;
                continue;
            }
            let len = decode_varint(&mut bytes).map_err(malformed)?;
            let split = usize::try_from(len)
                .ok()
                .and_then(|len| bytes.split_at_checked(len));
            let (message, rest) =
                split.ok_or_else(|| self.error("it is cut short: a message runs over its end"))?;
            bytes = rest;
            visit(message)?;
        }
        Ok(())
    }

    fn error(&self, what: &str) -> Error {
        Error::MetaGraph {
            path: self.path.clone(),
            what: what.to_owned(),
        }
    }
}

impl Node<'_> {
    /// The value of a `Const`; `None` when the node is none, or of a type not read here.
    pub fn constant(&self) -> Result<Option<Constant>, Error> {
        let attributes = NodeAttributes::decode(self.bytes).map_err(|error| {
            self.graph
                .error(&format!("node {} is malformed: {error}", self.name))
        })?;
        Ok(attributes
            .attr
            .get("value")
            .and_then(|value| constant(value.tensor.as_ref()?)))
    }
}

fn constant(value: &TensorValue) -> Option<Constant> {
    let packed = &value.tensor_content;
    match DType::from_proto(value.dtype) {
        DType::Float32 if packed.is_empty() => Some(Constant::Floats(
            value.float_val.iter().map(|&x| f64::from(x)).collect(),
        )),
        DType::Float32 => Some(Constant::Floats(
            packed
                .as_chunks()
                .0
                .iter()
                .map(|&bytes| f64::from(f32::from_le_bytes(bytes)))
                .collect(),
        )),
        DType::Float64 => Some(Constant::Floats(value.double_val.clone())),
        DType::Int32 if packed.is_empty() => Some(Constant::Ints(
            value.int_val.iter().map(|&x| i64::from(x)).collect(),
        )),
        DType::Int32 => Some(Constant::Ints(
            packed
                .as_chunks()
                .0
                .iter()
                .map(|&bytes| i64::from(i32::from_le_bytes(bytes)))
                .collect(),
        )),
        _ => None,
    }
}
