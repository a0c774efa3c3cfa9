//! Floating-point element types, and loops over slices of them.
//!
//! Each loop is a function of one type, which is compiled here and not in the crate that calls it.

use bytemuck::Pod;
use half::slice::HalfFloatSliceExt as _;
use half::{bf16, f16};

/// A floating-point element type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FloatType {
    /// float32
    F32,
    /// float64
    F64,
    /// float16
    F16,
    /// bfloat16
    Bf16,
}

impl FloatType {
    /// Returns the number of bytes of an element.
    pub fn size(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }
}

/// The Rust type of the elements of a [`FloatType`].
pub trait Float: Pod + PartialEq {
    /// The element type.
    const TYPE: FloatType;

    /// Returns the same value; float64 can represent the values of all these types.
    fn widen(self) -> f64;

    /// Returns the nearest value, ties to even.
    fn round_from(value: f64) -> Self;

    /// Returns true for a number, false for an infinity or NaN.
    fn is_finite(self) -> bool;

    /// Returns true if all elements are finite.
    fn all_finite(elements: &[Self]) -> bool;

    /// Returns the elements of a 16-bit type as float32; `None` for wider types.
    fn widened(_elements: &[Self]) -> Option<Vec<f32>> {
        None
    }

    /// Returns the sum of the squares, computed in float64.
    fn sum_of_squares(elements: &[Self]) -> f64;

    /// Adds the square of each element to its sum.
    fn add_squares(sums: &mut [f64], elements: &[Self]);

    /// Counts the elements by the upper 16 bits of their float32: sign, exponent and 7 bits of the mantissa.
    fn count(elements: &[Self], counts: &mut [u64; 1 << 16]);

    /// Rounds all elements to float16; the slices have the same length.
    fn round_to_f16(source: &[Self], target: &mut [f16]);

    /// Rounds all elements to bfloat16; the slices have the same length.
    fn round_to_bf16(source: &[Self], target: &mut [bf16]);
}

/// The loops that have the same text for all types.
macro_rules! loops {
    () => {
        fn all_finite(elements: &[Self]) -> bool {
            // No early exit: the compiler uses vector instructions.
            let is_finite = |x: &Self| Self::is_finite(*x);
            elements.iter().fold(true, |all, x| all & is_finite(x))
        }

        /// Sums in eight parts, which the compiler puts into vector registers.
        fn sum_of_squares(elements: &[Self]) -> f64 {
            let (lanes, rest) = elements.as_chunks::<8>();
            let mut sums = [0.0; 8];
            for lane in lanes {
                for (sum, x) in std::iter::zip(&mut sums, lane) {
                    *sum += x.widen().powi(2);
                }
            }
            let rest: f64 = rest.iter().map(|x| x.widen().powi(2)).sum();
            sums.iter().sum::<f64>() + rest
        }

        fn add_squares(sums: &mut [f64], elements: &[Self]) {
            for (sum, x) in std::iter::zip(sums, elements) {
                *sum += x.widen().powi(2);
            }
        }

        fn count(elements: &[Self], counts: &mut [u64; 1 << 16]) {
            for x in elements {
                let bits = f32::round_from(x.widen()).to_bits();
                counts[(bits >> 16) as usize] += 1;
            }
        }
    };
}

/// Implements the trait for a 16-bit type. `half` converts whole slices with an instruction for eight elements, where there is
/// one.
macro_rules! narrow {
    ($type:ty, $float_type:expr) => {
        impl Float for $type {
            const TYPE: FloatType = $float_type;

            fn widen(self) -> f64 {
                self.to_f64()
            }

            fn round_from(value: f64) -> Self {
                Self::from_f32(round_to_odd(value))
            }

            fn is_finite(self) -> bool {
                self.is_finite()
            }

            fn all_finite(elements: &[Self]) -> bool {
                elements.iter().fold(true, |all, x| all & x.is_finite())
            }

            fn widened(elements: &[Self]) -> Option<Vec<f32>> {
                let mut floats = vec![0.0; elements.len()];
                elements.convert_to_f32_slice(&mut floats);
                Some(floats)
            }

            fn sum_of_squares(elements: &[Self]) -> f64 {
                Self::widened(elements).map_or(0.0, |floats| f32::sum_of_squares(&floats))
            }

            fn add_squares(sums: &mut [f64], elements: &[Self]) {
                if let Some(floats) = Self::widened(elements) {
                    f32::add_squares(sums, &floats);
                }
            }

            fn count(elements: &[Self], counts: &mut [u64; 1 << 16]) {
                if let Some(floats) = Self::widened(elements) {
                    f32::count(&floats, counts);
                }
            }

            fn round_to_f16(source: &[Self], target: &mut [f16]) {
                for (to, from) in std::iter::zip(target, source) {
                    *to = f16::round_from(from.widen());
                }
            }

            fn round_to_bf16(source: &[Self], target: &mut [bf16]) {
                for (to, from) in std::iter::zip(target, source) {
                    *to = bf16::round_from(from.widen());
                }
            }
        }
    };
}

impl Float for f64 {
    const TYPE: FloatType = FloatType::F64;

    fn widen(self) -> f64 {
        self
    }

    fn round_from(value: f64) -> Self {
        value
    }

    fn is_finite(self) -> bool {
        self.is_finite()
    }

    fn round_to_f16(source: &[Self], target: &mut [f16]) {
        for (to, from) in std::iter::zip(target, source) {
            *to = f16::round_from(*from);
        }
    }

    fn round_to_bf16(source: &[Self], target: &mut [bf16]) {
        for (to, from) in std::iter::zip(target, source) {
            *to = bf16::round_from(*from);
        }
    }

    loops!();
}

impl Float for f32 {
    const TYPE: FloatType = FloatType::F32;

    fn widen(self) -> f64 {
        self.into()
    }

    #[allow(clippy::cast_possible_truncation, reason = "rounds on purpose")]
    fn round_from(value: f64) -> Self {
        value as Self
    }

    fn is_finite(self) -> bool {
        self.is_finite()
    }

    fn round_to_f16(source: &[Self], target: &mut [f16]) {
        target.convert_from_f32_slice(source);
    }

    fn round_to_bf16(source: &[Self], target: &mut [bf16]) {
        target.convert_from_f32_slice(source);
    }

    loops!();
}

narrow!(f16, FloatType::F16);
narrow!(bf16, FloatType::Bf16);

/// Rounds float64 to float32 such that a second rounding to a shorter type is correct: an inexact result
/// gets an odd last bit, so that the second rounding never sees a false tie (Boldo and Melquiond, "When double
/// rounding is odd"). `half` alone rounds float64 twice, to nearest.
#[allow(
    clippy::cast_possible_truncation,
    clippy::float_cmp,
    reason = "rounds on purpose, and compares exactly"
)]
fn round_to_odd(value: f64) -> f32 {
    let nearest = value as f32;
    if f64::from(nearest) == value || value.is_nan() || nearest.to_bits() & 1 == 1 {
        return nearest;
    }
    // The neighbour on the other side of `value` has an odd last bit.
    let towards_zero = f64::from(nearest).abs() > value.abs();
    if towards_zero {
        f32::from_bits(nearest.to_bits() - 1)
    } else {
        f32::from_bits(nearest.to_bits() + 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns the values of a 16-bit type nearest to `value`, one or two, by trying every finite value.
    fn nearest_by_search(value: f64, all: &[(f64, u16)]) -> Vec<u16> {
        let distance = |x: f64| (x - value).abs();
        let best = all
            .iter()
            .map(|&(x, _)| distance(x))
            .fold(f64::INFINITY, f64::min);
        #[allow(clippy::float_cmp, reason = "ties are exact")]
        all.iter()
            .filter(|&&(x, _)| distance(x) == best)
            .map(|&(_, bits)| bits)
            .collect()
    }

    fn check_rounding(round: impl Fn(f64) -> u16, widen: impl Fn(u16) -> f64, value: f64) {
        let all: Vec<(f64, u16)> = (0..=u16::MAX)
            .map(|bits| (widen(bits), bits))
            .filter(|(x, _)| x.is_finite())
            .collect();
        let nearest = nearest_by_search(value, &all);
        let found = round(value);
        // Zero has two signs; of two values at the same distance the even one is expected.
        #[allow(clippy::float_cmp, reason = "the two zeros are equal")]
        let expected: Vec<u16> = match nearest[..] {
            [_, _] if widen(nearest[0]) != widen(nearest[1]) => nearest
                .iter()
                .copied()
                .filter(|bits| bits & 1 == 0)
                .collect(),
            _ => nearest,
        };
        assert!(
            expected.contains(&found),
            "{value:e}: {found:#06x}, expected {expected:x?}"
        );
    }

    #[test]
    fn float64_is_rounded_once() {
        // Just above a tie of float16: through float32 it would become the tie, and round down.
        let just_above_a_tie = 1.0 + f64::powi(2.0, -11) + f64::powi(2.0, -40);
        assert_eq!(f16::round_from(just_above_a_tie).to_bits(), 0x3c01);
        assert_eq!(f16::round_from(-just_above_a_tie).to_bits(), 0xbc01);
        assert_eq!(f16::round_from(1.0 + f64::powi(2.0, -11)).to_bits(), 0x3c00);
        let just_above_a_tie = 1.0 + f64::powi(2.0, -8) + f64::powi(2.0, -40);
        assert_eq!(bf16::round_from(just_above_a_tie).to_bits(), 0x3f81);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn rounding_gives_the_nearest_value(mantissa in -2.0..2.0_f64, exponent in -26..15_i32) {
            let value = mantissa * f64::powi(2.0, exponent);
            check_rounding(|x| f16::round_from(x).to_bits(), |b| f16::from_bits(b).to_f64(), value);
            check_rounding(|x| bf16::round_from(x).to_bits(), |b| bf16::from_bits(b).to_f64(), value);
            // The same from float32.
            let short = f64::from(f32::round_from(value));
            check_rounding(|x| f16::round_from(x).to_bits(), |b| f16::from_bits(b).to_f64(), short);
        }
    }

    #[test]
    fn elements_are_counted_by_their_upper_bits() {
        fn check<T: Float>() {
            let counts = vec![0; 1 << 16].into_boxed_slice();
            let mut counts: Box<[u64; 1 << 16]> = counts.try_into().unwrap();
            let values = [0.5, -0.5, 0.5, 0.0, f64::INFINITY].map(T::round_from);
            T::count(&values, &mut counts);
            let found = (0..=u16::MAX).zip(counts.iter());
            let found: Vec<_> = found.filter(|&(_, &count)| count > 0).collect();
            let expected = [(0, &1), (0x3f00, &2), (0x7f80, &1), (0xbf00, &1)];
            assert_eq!(found, expected);
        }
        check::<f32>();
        check::<f64>();
        check::<f16>();
        check::<bf16>();
    }

    #[test]
    fn squares_are_summed_in_any_type() {
        fn check<T: Float>() {
            let values: Vec<T> = (-5..6).map(|x| T::round_from(f64::from(x))).collect();
            assert!((T::sum_of_squares(&values) - 110.0).abs() < 1e-12);
            let mut sums = vec![1.0; values.len()];
            T::add_squares(&mut sums, &values);
            assert!((sums[0] - 26.0).abs() < 1e-12 && (sums[5] - 1.0).abs() < 1e-12);
            assert!(T::all_finite(&values));
            for bad in [f64::NAN, f64::INFINITY] {
                let mut values = values.clone();
                values[9] = T::round_from(bad);
                assert!(!T::all_finite(&values));
            }
        }
        check::<f32>();
        check::<f64>();
        check::<f16>();
        check::<bf16>();
    }
}
