//! Looks at the numbers of one tensor.

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::TensorInfo;

use crate::convert::AlignedBytes;

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

pub(super) fn check(bytes: &AlignedBytes, info: &TensorInfo) -> Values {
    match info.dtype {
        Dtype::F32 => look(bytes.elements::<f32>(), f64::from),
        Dtype::F64 => look(bytes.elements::<f64>(), |x| x),
        Dtype::F16 => look(bytes.elements::<f16>(), f16::to_f64),
        Dtype::BF16 => look(bytes.elements::<bf16>(), bf16::to_f64),
        _ => Values::Ordinary,
    }
}

fn look<T: Copy + PartialEq>(elements: &[T], widen: impl Fn(T) -> f64) -> Values {
    let not_finite = elements.iter().position(|&x| !widen(x).is_finite());
    if let Some(index) = not_finite {
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
