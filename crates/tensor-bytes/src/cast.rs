//! Casts between floating-point types. They round to nearest, ties to even, and fail at a finite value that the
//! target type cannot represent.

use half::{bf16, f16};

use crate::buffer::AlignedBytes;
use crate::float::{Float, FloatType};

/// A finite value that the target type cannot represent.
#[derive(Debug, PartialEq)]
pub struct Overflow {
    /// Index of the element, row-major.
    pub index: usize,
    /// The value.
    pub value: f64,
}

/// Casts all elements of `source` into `target`, which has room for the same number of elements.
///
/// # Errors
/// The first finite value that becomes an infinity.
///
/// # Panics
/// If `target` is not aligned for its elements.
pub fn cast_floats(
    source: &AlignedBytes,
    from: FloatType,
    to: FloatType,
    target: &mut [u8],
) -> Result<(), Overflow> {
    match from {
        FloatType::F32 => cast_to(source.elements::<f32>(), to, target),
        FloatType::F64 => cast_to(source.elements::<f64>(), to, target),
        FloatType::F16 => cast_to(source.elements::<f16>(), to, target),
        FloatType::Bf16 => cast_to(source.elements::<bf16>(), to, target),
    }
}

/// Returns all elements as float64.
pub fn to_f64(bytes: &AlignedBytes, from: FloatType) -> Vec<f64> {
    fn widen<T: Float>(elements: &[T]) -> Vec<f64> {
        elements.iter().map(|x| x.widen()).collect()
    }
    match from {
        FloatType::F32 => widen(bytes.elements::<f32>()),
        FloatType::F64 => widen(bytes.elements::<f64>()),
        FloatType::F16 => widen(bytes.elements::<f16>()),
        FloatType::Bf16 => widen(bytes.elements::<bf16>()),
    }
}

fn cast_to<S: Float>(source: &[S], to: FloatType, target: &mut [u8]) -> Result<(), Overflow> {
    match to {
        FloatType::F32 => cast_elements(source, bytemuck::cast_slice_mut(target), round::<S, f32>),
        FloatType::F64 => cast_elements(source, bytemuck::cast_slice_mut(target), round::<S, f64>),
        FloatType::F16 => cast_elements(source, bytemuck::cast_slice_mut(target), S::round_to_f16),
        FloatType::Bf16 => {
            cast_elements(source, bytemuck::cast_slice_mut(target), S::round_to_bf16)
        }
    }
}

/// Elements that are cast before they are checked, while they are in the first-level cache.
const CHUNK: usize = 1024;

fn cast_elements<S: Float, T: Float>(
    source: &[S],
    target: &mut [T],
    round: impl Fn(&[S], &mut [T]),
) -> Result<(), Overflow> {
    let chunks = std::iter::zip(target.chunks_mut(CHUNK), source.chunks(CHUNK));
    for (chunk, (to, from)) in chunks.enumerate() {
        round(from, to);
        if T::all_finite(to) {
            continue;
        }
        let overflows = |(to, from): (&T, &S)| !to.is_finite() && from.is_finite();
        if let Some(index) = std::iter::zip(&*to, from).position(overflows) {
            return Err(Overflow {
                index: chunk * CHUNK + index,
                value: from[index].widen(),
            });
        }
    }
    Ok(())
}

/// Rounds all elements.
fn round<S: Float, T: Float>(source: &[S], target: &mut [T]) {
    for (to, from) in std::iter::zip(target, source) {
        *to = T::round_from(from.widen());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn slices_are_rounded_as_their_elements(bits in prop::collection::vec(0..=u32::MAX, 1..20)) {
            let values: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
            let (mut slice, mut elements) = (vec![0; values.len()], vec![0; values.len()]);
            f32::round_to_f16(&values, bytemuck::cast_slice_mut::<u16, f16>(&mut slice));
            round::<_, f16>(&values, bytemuck::cast_slice_mut(&mut elements));
            prop_assert_eq!(&slice, &elements);
            f32::round_to_bf16(&values, bytemuck::cast_slice_mut::<u16, bf16>(&mut slice));
            round::<_, bf16>(&values, bytemuck::cast_slice_mut(&mut elements));
            prop_assert_eq!(&slice, &elements);
        }
    }

    #[test]
    fn casts_name_the_first_value_that_does_not_fit() {
        fn cast(
            source: &AlignedBytes,
            from: FloatType,
            to: FloatType,
        ) -> Result<AlignedBytes, Overflow> {
            let mut target = AlignedBytes::zeroed(source.len() / from.size() * to.size());
            cast_floats(source, from, to, target.as_bytes_mut())?;
            Ok(target)
        }
        let values = AlignedBytes::of(&[1.0_f32, 65519.0, -65520.0, 1e30]);
        let overflow = cast(&values, FloatType::F32, FloatType::F16).unwrap_err();
        assert_eq!(
            overflow,
            Overflow {
                index: 2,
                value: -65520.0
            }
        );
        let values = AlignedBytes::of(&[1e39_f64]);
        assert!(cast(&values, FloatType::F64, FloatType::F32).is_err());
        let values = AlignedBytes::of(&[f32::NAN, f32::INFINITY]);
        let kept = cast(&values, FloatType::F32, FloatType::Bf16).unwrap();
        let kept = kept.elements::<bf16>();
        assert!(kept[0].is_nan() && kept[1].is_infinite());
    }
}
