//! Casts the elements of variables as planned.

use safetensors::Dtype;
use tensor_bytes::{AlignedBytes, FloatType, Overflow, cast_floats};
use tf_checkpoint::DType;

use crate::plan::Cast;

/// Casts all elements.
pub(crate) fn cast(source: AlignedBytes, cast: Cast) -> Result<AlignedBytes, Overflow> {
    if cast.is_none() {
        return Ok(source);
    }
    cast_copy(&source, cast)
}

fn cast_copy(source: &AlignedBytes, cast: Cast) -> Result<AlignedBytes, Overflow> {
    let mut target = AlignedBytes::zeroed(cast.written_len(source.len()));
    cast_into(source, cast, target.as_bytes_mut())?;
    Ok(target)
}

/// Casts all elements of `source` into `target`, which has the same number of elements.
pub(crate) fn cast_into(
    source: &AlignedBytes,
    cast: Cast,
    target: &mut [u8],
) -> Result<(), Overflow> {
    let to = float_type_of_tensor(cast.to).expect("only floating-point types are planned");
    cast_floats(source, source_type(cast.from), to, target)
}

/// Returns the element type of a planned variable.
pub(super) fn source_type(dtype: DType) -> FloatType {
    float_type(dtype).expect("only floating-point types are planned")
}

/// Returns the type of a variable's elements; `None` if they are not floating-point numbers.
pub(crate) fn float_type(dtype: DType) -> Option<FloatType> {
    match dtype {
        DType::Float32 => Some(FloatType::F32),
        DType::Float64 => Some(FloatType::F64),
        DType::Float16 => Some(FloatType::F16),
        DType::BFloat16 => Some(FloatType::Bf16),
        _ => None,
    }
}

fn float_type_of_tensor(dtype: Dtype) -> Option<FloatType> {
    match dtype {
        Dtype::F32 => Some(FloatType::F32),
        Dtype::F64 => Some(FloatType::F64),
        Dtype::F16 => Some(FloatType::F16),
        Dtype::BF16 => Some(FloatType::Bf16),
        _ => None,
    }
}

/// Reverses a lossless cast; `None` if the tensor cannot be the result of this cast.
pub(crate) fn uncast(tensor: AlignedBytes, cast: Cast) -> Option<AlignedBytes> {
    let to = match (cast.from, cast.to) {
        (DType::Float16, Dtype::F32) => Dtype::F16,
        (DType::BFloat16, Dtype::F32) => Dtype::BF16,
        _ => return Some(tensor),
    };
    let from = DType::Float32;
    let narrowed = cast_copy(&tensor, Cast { from, to }).ok()?;
    // Narrowing rounds, so that only values that widen to the same bytes can be results of the cast.
    match cast_copy(&narrowed, cast) {
        Ok(widened) if widened.as_bytes() == tensor.as_bytes() => Some(narrowed),
        _ => None,
    }
}
