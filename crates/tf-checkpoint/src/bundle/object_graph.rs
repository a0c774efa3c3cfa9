//! TensorFlow 2's object-based checkpoints: a TensorBundle whose keys are paths through the objects
//! that were saved, such as `model/electra/encoder/.../kernel/.ATTRIBUTES/VARIABLE_VALUE`.
//!
//! The objects are in a `TrackableObjectGraph`, stored as a string under a key of its own. For most
//! variables it records the full name, the one in a name-based checkpoint, which becomes the name of the
//! variable here. A variable without full name, or with one that several share (`Variable`), is named
//! by its path; its full name is kept beside it. Only the names of existing variables are kept of the graph, and the
//! paths to them that the keys do not have ([`super::object_paths`]).
//! Source: `tensorflow/core/protobuf/trackable_object_graph.proto`, and `ReadStringTensor` in
//! `tensorflow/core/util/tensor_bundle/tensor_bundle.cc`.

use std::collections::{HashMap, HashSet};

use prost::encoding::decode_varint;

use super::object_paths;
use crate::crc;
use crate::error::Fault;
use crate::limits::Budget;
use crate::protobuf::message::submessages;
use crate::protobuf::objects::{ATTRIBUTES, Attribute, NODES};
use crate::variable::Variable;

/// The key of the object graph.
pub(crate) const GRAPH_KEY: &str = "_CHECKPOINTABLE_OBJECT_GRAPH";
/// The largest object graph read, in bytes. A model of 24 layers with its optimizer takes some 300 KB.
pub(crate) const MAX_LEN: u64 = 64 << 20;

/// Returns true if there are keys of an object-based checkpoint.
pub(crate) fn is_object_based(variables: &[Variable]) -> bool {
    variables.iter().any(|v| v.object_path().is_some())
}

/// Sets the name and the paths of each variable by the serialised graph, and sorts the variables by name.
pub(crate) fn name(
    variables: &mut [Variable],
    graph: &[u8],
    budget: &mut Budget,
) -> Result<(), Fault> {
    set_paths(variables, graph, budget)?;
    let mut recorded: HashMap<&str, &str> = HashMap::new();
    let known: HashSet<&str> = variables.iter().map(|variable| &variable.key[..]).collect();
    for node in submessages(graph, NODES) {
        for attribute in submessages(node?, ATTRIBUTES) {
            let Attribute { full_name, key, .. } = Attribute::read(attribute?)?;
            if !full_name.is_empty() && known.contains(key) {
                recorded.insert(key, full_name);
            }
        }
    }
    let names: Vec<String> = variables
        .iter()
        .map(|variable| {
            let name = recorded.get(&variable.key[..]).copied();
            let name = name.unwrap_or_else(|| path(variable));
            // The name, and the recorded full name.
            budget.take(2 * name.len())?;
            Ok(name.to_owned())
        })
        .collect::<Result<_, Fault>>()?;
    let mut uses: HashMap<&str, usize> = HashMap::with_capacity(names.len());
    for name in &names {
        *uses.entry(name).or_default() += 1;
    }
    for (variable, name) in std::iter::zip(variables.iter_mut(), &names) {
        let is_own = uses[&name[..]] == 1;
        let full_name = recorded.get(&variable.key[..]);
        variable.full_name = full_name.map(|name| (*name).to_owned());
        variable.name = if is_own { name } else { path(variable) }.to_owned();
    }
    variables.sort_by(|a, b| a.name.cmp(&b.name));
    match variables.array_windows().find(|[a, b]| a.name == b.name) {
        Some([a, b]) => Err(format!("calls both {} and {} {}", a.key, b.key, a.name).into()),
        None => Ok(()),
    }
}

/// Sets the paths to each variable, where there are others than the one in its key, and to its slots in an optimizer.
fn set_paths(variables: &mut [Variable], graph: &[u8], budget: &mut Budget) -> Result<(), Fault> {
    let keys: HashSet<&str> = variables.iter().map(|variable| &variable.key[..]).collect();
    let mut found = object_paths::find(graph, &keys, budget)?;
    for variable in variables.iter_mut() {
        let Some(own) = Variable::path_in_key(&variable.key) else {
            continue;
        };
        if let Some(paths) = found.get_mut(&variable.key[..]) {
            if !object_paths::is_indirect(own) {
                paths.retain(|path| path != own);
                if paths.is_empty() {
                    continue;
                }
                budget.take(own.len() + size_of::<String>())?;
                paths.insert(0, own.to_owned());
            }
            variable.object_paths.clone_from(paths);
        } else if let Some((path, slot)) = Variable::split_slot(own)
            && object_paths::is_indirect(path)
            && let Some([path, ..]) = found.get(&Variable::key_of(path)[..]).map(Vec::as_slice)
        {
            let path = format!("{path}{slot}");
            budget.take(path.len() + size_of::<String>())?;
            variable.object_paths = vec![path];
        }
    }
    Ok(())
}

fn path(variable: &Variable) -> &str {
    variable.object_path().unwrap_or(&variable.key)
}

/// Returns the string in the bytes of a scalar string variable, which are its length, a checksum of the
/// length, and the string. `expected` is the checksum in the index, which covers all three, with the
/// length as a number of four or eight bytes.
pub(crate) fn string(bytes: &[u8], expected: u32) -> Result<&[u8], Fault> {
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
        return Err(format!("has {} bytes, expected {len}", text.len()).into());
    }
    let sum = crc32c::crc32c_append(sum, &stored.to_le_bytes());
    let found = crc32c::crc32c_append(sum, text);
    if found != expected {
        return Err(
            format!("has the CRC-32C {found:#010x}, its index says {expected:#010x}").into(),
        );
    }
    Ok(text)
}
