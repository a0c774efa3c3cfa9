//! Checks the values of one tensor.

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::TensorInfo;

use crate::export::AlignedBytes;

/// The kind of the values of a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Values {
    /// Finite and not all equal.
    Ordinary,
    /// Finite and all equal: suspicious in a trained model.
    Constant,
    /// At least one is NaN or infinite.
    NotFinite {
        /// Index of the first one, row-major.
        index: usize,
        /// The value.
        value: f64,
    },
}

/// Number of elements that are checked without a branch for each, so that the compiler vectorises the loop.
const STRIDE: usize = 4096;

/// Checks all elements. Integers are [`Values::Ordinary`].
pub(super) fn check(bytes: &AlignedBytes, info: &TensorInfo) -> Values {
    match info.dtype {
        Dtype::F32 => classify(bytes.elements(), f32::is_finite, f64::from),
        Dtype::F64 => classify(bytes.elements(), f64::is_finite, |x| x),
        Dtype::F16 => classify(bytes.elements(), f16::is_finite, f16::to_f64),
        Dtype::BF16 => classify(bytes.elements(), bf16::is_finite, bf16::to_f64),
        _ => Values::Ordinary,
    }
}

fn classify<T: Copy + PartialEq>(
    elements: &[T],
    is_finite: impl Fn(T) -> bool,
    widen: impl Fn(T) -> f64,
) -> Values {
    let all_finite = |stride: &[T]| stride.iter().fold(true, |all, &x| all & is_finite(x));
    if let Some(at) = elements
        .chunks(STRIDE)
        .position(|stride| !all_finite(stride))
    {
        let rest = elements[at * STRIDE..].iter();
        let index = at * STRIDE + rest.take_while(|&&x| is_finite(x)).count();
        return Values::NotFinite {
            index,
            value: widen(elements[index]),
        };
    }
    match elements {
        [first, rest @ ..] if !rest.is_empty() && rest.iter().all(|x| x == first) => {
            Values::Constant
        }
        _ => Values::Ordinary,
    }
}
