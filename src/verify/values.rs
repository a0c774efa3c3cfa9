//! Looks at the numbers of one tensor.

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::TensorInfo;

use crate::export::AlignedBytes;

/// What the numbers of a tensor look like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Values {
    /// Finite, and not all the same.
    Ordinary,
    /// Finite, and all the same: suspicious in a trained model.
    Constant,
    /// There is a NaN or an infinity.
    NotFinite {
        /// Index of the first, row-major.
        index: usize,
        /// The value.
        value: f64,
    },
}

/// Elements looked at before anything is decided: without a branch for each, a compiler can take
/// many at a time.
const STRIDE: usize = 4096;

pub(super) fn check(bytes: &AlignedBytes, info: &TensorInfo) -> Values {
    match info.dtype {
        Dtype::F32 => look(bytes.elements(), f32::is_finite, f64::from),
        Dtype::F64 => look(bytes.elements(), f64::is_finite, |x| x),
        Dtype::F16 => look(bytes.elements(), f16::is_finite, f16::to_f64),
        Dtype::BF16 => look(bytes.elements(), bf16::is_finite, bf16::to_f64),
        _ => Values::Ordinary,
    }
}

fn look<T: Copy + PartialEq>(
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
