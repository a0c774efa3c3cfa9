//! The type of a tensor's elements, from the attributes of its node.

use tf_checkpoint::{MetaGraph, Tensor};

use crate::array::ArrayType;

/// Operations with boolean outputs.
const BOOLEAN: &[&str] = &[
    "Equal",
    "NotEqual",
    "Less",
    "LessEqual",
    "Greater",
    "GreaterEqual",
    "LogicalAnd",
    "LogicalOr",
    "LogicalNot",
    "All",
    "Any",
    "IsNan",
    "IsInf",
    "IsFinite",
];
/// Attributes with the types of all outputs of a node.
const LISTS: &[&str] = &["output_types", "dtypes", "component_types", "Toutput_types"];
/// Attributes with the type of a node's output, the more specific ones first.
const SINGLE: &[&str] = &["DstT", "out_type", "output_type", "Tparams", "dtype", "T"];

/// Returns the type of a tensor's elements; `None` if its node does not record it, or for a type that is
/// not supported.
pub fn data_type(graph: &MetaGraph, tensor: Tensor) -> Option<ArrayType> {
    if BOOLEAN.contains(&graph.op(tensor.node)) {
        return Some(ArrayType::Bool);
    }
    let listed = LISTS.iter().find_map(|key| {
        let types = graph.data_types(tensor.node, key)?;
        types.get(tensor.output as usize).copied()
    });
    let single = || {
        SINGLE
            .iter()
            .find_map(|key| graph.data_type(tensor.node, key))
    };
    listed.or_else(single).and_then(ArrayType::from_proto)
}
