//! The protobuf messages that TensorFlow keeps in checkpoints, cut down to the fields read here.
//!
//! Hand-written for `prost`'s derive, so that no `protoc` is needed. Field numbers are those of
//! `tensor_bundle.proto`, `tensor_shape.proto`, `tensor_slice.proto`, `saved_tensor_slice.proto`,
//! `versions.proto`, `trackable_object_graph.proto`, `meta_graph.proto`, `graph.proto`,
//! `node_def.proto`, `attr_value.proto` and `tensor.proto` in `tensorflow/core`. Unknown fields are skipped, as protobuf wants it.

use prost::Message;

/// The value of the empty key in a bundle's index.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct BundleHeader {
    #[prost(int32, tag = "1")]
    pub(crate) num_shards: i32,
    /// 0 little, 1 big.
    #[prost(int32, tag = "2")]
    pub(crate) endianness: i32,
    #[prost(message, optional, tag = "3")]
    pub(crate) version: Option<VersionDef>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct VersionDef {
    #[prost(int32, tag = "1")]
    pub(crate) producer: i32,
    #[prost(int32, tag = "2")]
    pub(crate) min_consumer: i32,
}

/// The value of every other key in a bundle's index: where a variable, or a slice of one, is.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct BundleEntry {
    #[prost(int32, tag = "1")]
    pub(crate) dtype: i32,
    #[prost(message, optional, tag = "2")]
    pub(crate) shape: Option<TensorShape>,
    #[prost(int32, tag = "3")]
    pub(crate) shard_id: i32,
    #[prost(int64, tag = "4")]
    pub(crate) offset: i64,
    #[prost(int64, tag = "5")]
    pub(crate) size: i64,
    /// Masked, see [`super::crc`].
    #[prost(fixed32, tag = "6")]
    pub(crate) crc32c: u32,
    #[prost(message, repeated, tag = "7")]
    pub(crate) slices: Vec<TensorSlice>,
}

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

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TensorSlice {
    #[prost(message, repeated, tag = "1")]
    pub(crate) extent: Vec<Extent>,
}

/// One axis of a slice; without a length it is the whole axis.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Extent {
    #[prost(int64, tag = "1")]
    pub(crate) start: i64,
    #[prost(int64, optional, tag = "2")]
    pub(crate) length: Option<i64>,
}

/// Every value in a V1 table: the list of what is in the file, or one slice.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SavedTensorSlices {
    #[prost(message, optional, tag = "1")]
    pub(crate) meta: Option<SavedTensorSliceMeta>,
    #[prost(message, optional, tag = "2")]
    pub(crate) data: Option<SavedSlice>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SavedTensorSliceMeta {
    #[prost(message, repeated, tag = "1")]
    pub(crate) tensor: Vec<SavedSliceMeta>,
    #[prost(message, optional, tag = "2")]
    pub(crate) versions: Option<VersionDef>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SavedSliceMeta {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    /// Of the whole variable.
    #[prost(message, optional, tag = "2")]
    pub(crate) shape: Option<TensorShape>,
    #[prost(int32, tag = "3")]
    pub(crate) dtype: i32,
    /// The slices in this file.
    #[prost(message, repeated, tag = "4")]
    pub(crate) slice: Vec<TensorSlice>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SavedSlice {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(message, optional, tag = "3")]
    pub(crate) data: Option<TensorValue>,
}

/// The objects of a TensorFlow 2 checkpoint.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct TrackableObjectGraph {
    #[prost(message, repeated, tag = "1")]
    pub(crate) nodes: Vec<TrackableObject>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TrackableObject {
    #[prost(message, repeated, tag = "2")]
    pub(crate) attributes: Vec<SerializedTensor>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SerializedTensor {
    /// The key that a name-based checkpoint would have.
    #[prost(string, tag = "2")]
    pub(crate) full_name: String,
    #[prost(string, tag = "3")]
    pub(crate) checkpoint_key: String,
}

/// Field number of `graph_def` in `MetaGraphDef`.
pub(crate) const META_GRAPH_GRAPH_DEF: u32 = 2;
/// Field number of `node` in `GraphDef`.
pub(crate) const GRAPH_NODE: u32 = 1;
/// Field number of `library` in `GraphDef`.
pub(crate) const GRAPH_LIBRARY: u32 = 2;

/// The value of a node's attribute.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct AttrValue {
    /// Lists of numbers and shapes.
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
    /// The bits of float16 and bfloat16.
    #[prost(int32, repeated, tag = "13")]
    pub(crate) half_val: Vec<i32>,
}
