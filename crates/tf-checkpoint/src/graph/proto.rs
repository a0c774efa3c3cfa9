//! The protobuf messages of a training graph, reduced to the fields that are read.
//!
//! Written by hand for `prost`'s derive, so that no `protoc` is needed. Field numbers are those of
//! `saved_model.proto`, `meta_graph.proto`, `graph.proto`, `node_def.proto`, `attr_value.proto`, `tensor.proto` and
//! `tensor_shape.proto` in `tensorflow/core`. Unknown fields are skipped. The messages of checkpoints,
//! which repeat without bound, are decoded by [`crate::protobuf::message`].

use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TensorShape {
    #[prost(message, repeated, tag = "2")]
    pub(crate) dim: Vec<Dim>,
    #[prost(bool, tag = "3")]
    pub(crate) unknown_rank: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Dim {
    #[prost(int64, tag = "1")]
    pub(crate) size: i64,
}

/// Field number of `meta_graphs` in `SavedModel`.
pub(crate) const SAVED_MODEL_META_GRAPH: u32 = 2;
/// Field number of `meta_info_def` in `MetaGraphDef`.
pub(crate) const META_GRAPH_INFO: u32 = 1;
/// Field number of `tags` in `MetaInfoDef`.
pub(crate) const INFO_TAG: u32 = 4;
/// Field number of `graph_def` in `MetaGraphDef`.
pub(crate) const META_GRAPH_GRAPH_DEF: u32 = 2;
/// Field number of `node` in `GraphDef`.
pub(crate) const GRAPH_NODE: u32 = 1;
/// Field number of `library` in `GraphDef`.
pub(crate) const GRAPH_LIBRARY: u32 = 2;

/// The value of a node's attribute.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct AttrValue {
    /// Lists of numbers, dtypes and shapes.
    #[prost(message, optional, tag = "1")]
    pub(crate) list: Option<AttrList>,
    /// A string.
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) s: Vec<u8>,
    /// A whole number.
    #[prost(int64, tag = "3")]
    pub(crate) i: i64,
    /// A float.
    #[prost(float, optional, tag = "4")]
    pub(crate) f: Option<f32>,
    /// A boolean.
    #[prost(bool, tag = "5")]
    pub(crate) b: bool,
    /// A dtype, by its number in `types.proto`.
    #[prost(int32, tag = "6")]
    pub(crate) data_type: i32,
    /// The value of a constant.
    #[prost(message, optional, tag = "8")]
    pub(crate) tensor: Option<TensorValue>,
    /// The function that a node calls.
    #[prost(message, optional, tag = "10")]
    pub(crate) func: Option<FunctionName>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct AttrList {
    #[prost(int64, repeated, tag = "3")]
    pub(crate) i: Vec<i64>,
    #[prost(int32, repeated, tag = "6")]
    pub(crate) data_types: Vec<i32>,
    #[prost(message, repeated, tag = "7")]
    pub(crate) shape: Vec<TensorShape>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct FunctionName {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
}

/// Numbers: packed bytes, or one of the typed lists.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct TensorValue {
    #[prost(int32, tag = "1")]
    pub(crate) dtype: i32,
    #[prost(message, optional, tag = "2")]
    pub(crate) shape: Option<TensorShape>,
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) tensor_content: Vec<u8>,
    #[prost(float, repeated, tag = "5")]
    pub(crate) float_val: Vec<f32>,
    #[prost(double, repeated, tag = "6")]
    pub(crate) double_val: Vec<f64>,
    #[prost(int32, repeated, tag = "7")]
    pub(crate) int_val: Vec<i32>,
    #[prost(bytes = "vec", repeated, tag = "8")]
    pub(crate) string_val: Vec<Vec<u8>>,
    #[prost(int64, repeated, tag = "10")]
    pub(crate) int64_val: Vec<i64>,
    #[prost(bool, repeated, tag = "11")]
    pub(crate) bool_val: Vec<bool>,
    /// The bits of float16 and bfloat16.
    #[prost(int32, repeated, tag = "13")]
    pub(crate) half_val: Vec<i32>,
    #[prost(uint32, repeated, tag = "16")]
    pub(crate) uint32_val: Vec<u32>,
}
