//! Constants with dtype and shape, for evaluating a graph.
//!
//! A `TensorProto` holds its elements as packed bytes, or in a list by dtype. A list that is shorter than
//! the tensor stands for a tensor whose remaining elements repeat the last one; an empty one for zeros.
//!
//! Source: `tensor.proto` and `types.proto` in `tensorflow/core`.

use super::proto::TensorValue;

/// The value of a `Const` node, before a short list is expanded.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Literal {
    /// The dtype, by its number in TensorFlow's `types.proto`.
    pub dtype: i32,
    /// The size of each axis; empty for a scalar.
    pub shape: Vec<usize>,
    /// The first elements in row-major order; the last one repeats up to the size of the tensor.
    /// All elements are 0 if the list is empty.
    pub values: Vec<f64>,
}

/// Converts the bytes of one element.
type Read = fn(&[u8]) -> f64;

/// Number in `types.proto`, bytes an element, conversion.
const PACKED: &[(i32, usize, Read)] = &[
    (1, 4, |x| f32::from_le_bytes(array(x)).into()),
    (2, 8, |x| f64::from_le_bytes(array(x))),
    (3, 4, |x| i32::from_le_bytes(array(x)).into()),
    (4, 1, |x| x[0].into()),
    (5, 2, |x| i16::from_le_bytes(array(x)).into()),
    (6, 1, |x| i8::from_le_bytes(array(x)).into()),
    (9, 8, |x| whole(i64::from_le_bytes(array(x)))),
    (10, 1, |x| f64::from(u8::from(x[0] != 0))),
    (14, 2, |x| half::bf16::from_le_bytes(array(x)).into()),
    (17, 2, |x| u16::from_le_bytes(array(x)).into()),
    (19, 2, |x| half::f16::from_le_bytes(array(x)).into()),
    (22, 4, |x| u32::from_le_bytes(array(x)).into()),
];

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("PACKED has the size of the dtype")
}

#[allow(clippy::cast_precision_loss, reason = "sizes and ids are below 2^53")]
fn whole(value: i64) -> f64 {
    value as f64
}

/// Returns the value of a tensor of numbers or booleans; `None` for another dtype, a malformed shape or a
/// tensor without values.
pub(super) fn literal(tensor: &TensorValue) -> Option<Literal> {
    let (dtype, size, read) = *PACKED.iter().find(|row| row.0 == tensor.dtype)?;
    let dims = tensor.shape.as_ref().map(|shape| &shape.dim);
    let axes = dims.into_iter().flatten();
    let shape: Option<Vec<usize>> = axes.map(|dim| usize::try_from(dim.size).ok()).collect();
    let packed = &tensor.tensor_content;
    let values = if packed.is_empty() {
        listed(tensor, dtype)
    } else {
        packed.chunks_exact(size).map(read).collect()
    };
    Some(Literal {
        dtype,
        shape: shape?,
        values,
    })
}

/// Returns the elements in the list for a dtype.
fn listed(tensor: &TensorValue, dtype: i32) -> Vec<f64> {
    let halves = |read: fn(u16) -> f64| {
        let bits = tensor.half_val.iter();
        bits.filter_map(|&bits| u16::try_from(bits).ok())
            .map(read)
            .collect()
    };
    match dtype {
        1 => tensor.float_val.iter().map(|&x| x.into()).collect(),
        2 => tensor.double_val.clone(),
        9 => tensor.int64_val.iter().map(|&x| whole(x)).collect(),
        10 => tensor.bool_val.iter().map(|&x| x.into()).collect(),
        14 => halves(|bits| half::bf16::from_bits(bits).into()),
        19 => halves(|bits| half::f16::from_bits(bits).into()),
        22 => tensor.uint32_val.iter().map(|&x| x.into()).collect(),
        _ => tensor.int_val.iter().map(|&x| x.into()).collect(),
    }
}
