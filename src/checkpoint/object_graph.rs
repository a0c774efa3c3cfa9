//! TensorFlow 2's object-based checkpoints: a TensorBundle whose keys are paths through the objects
//! that were saved, such as `model/electra/encoder/.../kernel/.ATTRIBUTES/VARIABLE_VALUE`.
//!
//! The objects are in a `TrackableObjectGraph`, kept as a string under a key of its own. For most
//! variables it records the full name, the one that a name-based checkpoint would have used; that is
//! what a variable is called here. Where none is recorded, or several share one (`Variable`), it is
//! called by its path.
//! Source: `tensorflow/core/protobuf/trackable_object_graph.proto`, and `ReadStringTensor` in
//! `tensorflow/core/util/tensor_bundle/tensor_bundle.cc`.

use std::collections::HashMap;

use prost::Message;
use prost::encoding::decode_varint;

use super::proto::TrackableObjectGraph;
use super::{Variable, crc};

/// The key of the graph.
pub(super) const GRAPH_KEY: &str = "_CHECKPOINTABLE_OBJECT_GRAPH";
/// The largest graph read, in bytes. That of ELECTRA-Large with an optimizer takes some 300 KB.
pub(super) const MAX_LEN: u64 = 64 << 20;

/// True when there are keys that only an object-based checkpoint has.
pub(super) fn is_object_based(variables: &[Variable]) -> bool {
    variables.iter().any(|v| v.object_path().is_some())
}

/// Gives each variable its name, by the serialised graph, and sorts them by it.
pub(super) fn name(variables: &mut [Variable], graph: &[u8]) -> Result<(), String> {
    let graph = TrackableObjectGraph::decode(graph)
        .map_err(|error| format!("is no object graph: {error}"))?;
    let attributes = graph.nodes.into_iter().flat_map(|node| node.attributes);
    let mut recorded: HashMap<String, String> = attributes
        .filter(|attribute| !attribute.full_name.is_empty())
        .map(|attribute| (attribute.checkpoint_key, attribute.full_name))
        .collect();
    for variable in variables.iter_mut() {
        variable.name = match recorded.remove(&variable.key) {
            Some(name) => name,
            None => path(variable),
        };
    }
    let mut uses: HashMap<String, usize> = HashMap::new();
    for variable in variables.iter() {
        *uses.entry(variable.name.clone()).or_default() += 1;
    }
    for variable in variables.iter_mut().filter(|v| uses[&v.name] > 1) {
        variable.name = path(variable);
    }
    variables.sort_by(|a, b| a.name.cmp(&b.name));
    match variables.array_windows().find(|[a, b]| a.name == b.name) {
        Some([a, b]) => Err(format!("calls both {} and {} {}", a.key, b.key, a.name)),
        None => Ok(()),
    }
}

fn path(variable: &Variable) -> String {
    variable.object_path().unwrap_or(&variable.key).to_owned()
}

/// The one string in the bytes of a scalar string variable: its length, a checksum of the length,
/// and the string. `expected` is the checksum in the index, which is of the three, with the length
/// as a number of four or eight bytes.
pub(super) fn string(bytes: &[u8], expected: u32) -> Result<&[u8], String> {
    let mut rest = bytes;
    let len = decode_varint(&mut rest).map_err(|_| "has no length")?;
    let split = rest.split_at_checked(size_of::<u32>());
    let (stored, text) = split.ok_or("has no checksum of its length")?;
    let sum = match u32::try_from(len) {
        Ok(len) => crc32c::crc32c(&len.to_le_bytes()),
        Err(_) => crc32c::crc32c(&len.to_le_bytes()),
    };
    let stored = u32::from_le_bytes(stored.try_into().expect("four bytes"));
    if crc::unmask(stored) != sum || len != text.len() as u64 {
        return Err(format!(
            "is said to have {len} bytes, and has {}",
            text.len()
        ));
    }
    let sum = crc32c::crc32c_append(sum, &stored.to_le_bytes());
    let found = crc32c::crc32c_append(sum, text);
    if found != expected {
        return Err(format!(
            "has the CRC-32C {found:#010x}, its index says {expected:#010x}"
        ));
    }
    Ok(text)
}
