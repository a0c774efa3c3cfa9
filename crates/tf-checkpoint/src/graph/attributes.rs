//! Attributes of nodes, decoded when they are requested.

use std::ops::Range;

use prost::Message as _;

use super::proto::{AttrValue, TensorValue};
use crate::protobuf::wire;
use crate::variable::DType;

/// The largest attribute decoded, in bytes. Shapes and scalars take less than a hundred.
const MAX_ATTRIBUTE_LEN: usize = 1 << 16;

/// The value of a `Const` node.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Constant {
    /// Every element in row-major order, or one that stands for all.
    pub values: Vec<f64>,
    /// The number of axes.
    pub rank: usize,
}

/// Returns the attribute `key` of the node at `message`.
pub(super) fn attribute(bytes: &[u8], message: &Range<u32>, key: &str) -> Option<AttrValue> {
    let value = attribute_bytes(bytes, message, key)?;
    if value.len() > MAX_ATTRIBUTE_LEN {
        return None;
    }
    AttrValue::decode(value).ok()
}

/// Field number of `attr` in `NodeDef`, a map.
const ATTRIBUTE: u32 = 5;

/// Returns the names and the values of all attributes of the node at `message`.
pub(super) fn attributes<'a>(bytes: &'a [u8], message: &Range<u32>) -> Vec<(&'a str, &'a [u8])> {
    let entries = wire::messages(bytes, wire::span(message), ATTRIBUTE);
    let read = |entry: Range<usize>| {
        let [key, value] = [1, 2].map(|tag| wire::last(bytes, entry.clone(), tag));
        let key = std::str::from_utf8(&bytes[key.ok()??]).ok()?;
        Some((key, value.ok()?.map_or(&[][..], |value| &bytes[value])))
    };
    entries.map_while(Result::ok).filter_map(read).collect()
}

pub(super) fn attribute_bytes<'a>(
    bytes: &'a [u8],
    message: &Range<u32>,
    key: &str,
) -> Option<&'a [u8]> {
    for entry in wire::messages(bytes, wire::span(message), ATTRIBUTE) {
        let entry = entry.ok()?;
        let [found, value] = [1, 2].map(|tag| wire::last(bytes, entry.clone(), tag));
        if found
            .ok()?
            .is_some_and(|found| &bytes[found] == key.as_bytes())
        {
            return value.ok()?.map(|value| &bytes[value]);
        }
    }
    None
}

pub(super) fn constant(value: &TensorValue) -> Option<Constant> {
    let packed = &value.tensor_content;
    let floats = |values: Vec<f32>| values.into_iter().map(f64::from).collect();
    let values: Vec<f64> = match DType::from_proto(value.dtype) {
        DType::Float32 if packed.is_empty() => floats(value.float_val.clone()),
        DType::Float32 => unpack(packed, |bytes| f32::from_le_bytes(bytes).into()),
        DType::Float64 if packed.is_empty() => value.double_val.clone(),
        DType::Float64 => unpack(packed, f64::from_le_bytes),
        DType::Int32 if packed.is_empty() => value.int_val.iter().map(|&x| x.into()).collect(),
        DType::Int32 => unpack(packed, |bytes| i32::from_le_bytes(bytes).into()),
        DType::Int64 if packed.is_empty() => value.int64_val.iter().map(|&x| whole(x)).collect(),
        DType::Int64 => unpack(packed, |bytes| whole(i64::from_le_bytes(bytes))),
        DType::Float16 if packed.is_empty() => {
            halves(value, |bits| half::f16::from_bits(bits).into())
        }
        DType::Float16 => unpack(packed, |bytes| half::f16::from_le_bytes(bytes).into()),
        DType::BFloat16 if packed.is_empty() => {
            halves(value, |bits| half::bf16::from_bits(bits).into())
        }
        DType::BFloat16 => unpack(packed, |bytes| half::bf16::from_le_bytes(bytes).into()),
        DType::Other(_) => return None,
    };
    let rank = value.shape.as_ref().map_or(0, |shape| shape.dim.len());
    Some(Constant { values, rank })
}

fn unpack<const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|&chunk| read(chunk))
        .collect()
}

fn halves(value: &TensorValue, read: impl Fn(u16) -> f64) -> Vec<f64> {
    let bits = value.half_val.iter();
    bits.filter_map(|&bits| u16::try_from(bits).ok().map(&read))
        .collect()
}

#[allow(
    clippy::cast_precision_loss,
    reason = "sizes and axes are far below 2^53"
)]
fn whole(value: i64) -> f64 {
    value as f64
}
