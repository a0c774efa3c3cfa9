//! Arithmetic on the four types of numbers. Integers wrap, as in TensorFlow.

use crate::array::Element;

/// A type of numbers.
pub(super) trait Number: Element + PartialOrd {
    const ZERO: Self;
    const ONE: Self;
    /// The smallest value: minus infinity for floats.
    const LOWEST: Self;
    /// The largest value: infinity for floats.
    const HIGHEST: Self;

    fn plus(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;
    fn times(self, other: Self) -> Self;
    /// Division; rounded towards zero for integers, whose divisor must not be 0.
    fn truncated_div(self, other: Self) -> Self;
    /// The remainder of [`Number::truncated_div`]; the divisor of integers must not be 0.
    fn remainder(self, other: Self) -> Self;
    /// Division rounded down; the divisor of integers must not be 0.
    fn floor_div(self, other: Self) -> Self;
    /// Power; the exponent of integers must not be negative.
    fn power(self, exponent: Self) -> Self;
    fn magnitude(self) -> Self;
    fn negated(self) -> Self;

    /// The remainder of [`Number::floor_div`], which has the divisor's sign.
    fn floor_mod(self, other: Self) -> Self {
        let remainder = self.remainder(other);
        let differs = (remainder < Self::ZERO) != (other < Self::ZERO);
        if remainder != Self::ZERO && differs {
            remainder.plus(other)
        } else {
            remainder
        }
    }

    /// The larger one; NaN if one of them is NaN.
    fn larger(self, other: Self) -> Self {
        if self >= other {
            self
        } else if self < other {
            other
        } else {
            self.plus(other)
        }
    }

    /// The smaller one; NaN if one of them is NaN.
    fn smaller(self, other: Self) -> Self {
        if self <= other {
            self
        } else if self > other {
            other
        } else {
            self.plus(other)
        }
    }

    /// -1, 0 or 1; NaN for NaN.
    fn sign(self) -> Self {
        if self > Self::ZERO {
            Self::ONE
        } else if self < Self::ZERO {
            Self::ZERO.minus(Self::ONE)
        } else {
            self
        }
    }
}

macro_rules! float {
    ($type:ident) => {
        impl Number for $type {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const LOWEST: Self = $type::NEG_INFINITY;
            const HIGHEST: Self = $type::INFINITY;

            fn plus(self, other: Self) -> Self {
                self + other
            }
            fn minus(self, other: Self) -> Self {
                self - other
            }
            fn times(self, other: Self) -> Self {
                self * other
            }
            fn truncated_div(self, other: Self) -> Self {
                self / other
            }
            fn remainder(self, other: Self) -> Self {
                self % other
            }
            fn floor_div(self, other: Self) -> Self {
                (self / other).floor()
            }
            fn power(self, exponent: Self) -> Self {
                self.powf(exponent)
            }
            fn magnitude(self) -> Self {
                self.abs()
            }
            fn negated(self) -> Self {
                -self
            }
        }
    };
}
float!(f32);
float!(f64);

macro_rules! integer {
    ($type:ident) => {
        impl Number for $type {
            const ZERO: Self = 0;
            const ONE: Self = 1;
            const LOWEST: Self = $type::MIN;
            const HIGHEST: Self = $type::MAX;

            fn plus(self, other: Self) -> Self {
                self.wrapping_add(other)
            }
            fn minus(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }
            fn times(self, other: Self) -> Self {
                self.wrapping_mul(other)
            }
            fn truncated_div(self, other: Self) -> Self {
                self.wrapping_div(other)
            }
            fn remainder(self, other: Self) -> Self {
                self.wrapping_rem(other)
            }
            fn floor_div(self, other: Self) -> Self {
                let quotient = self.wrapping_div(other);
                let is_exact = self.wrapping_rem(other) == 0;
                if !is_exact && (self < 0) != (other < 0) {
                    quotient.wrapping_sub(1)
                } else {
                    quotient
                }
            }
            fn power(self, mut exponent: Self) -> Self {
                let (mut square, mut power) = (self, 1);
                while exponent > 0 {
                    if exponent & 1 == 1 {
                        power = Self::wrapping_mul(power, square);
                    }
                    square = square.wrapping_mul(square);
                    exponent >>= 1;
                }
                power
            }
            fn magnitude(self) -> Self {
                self.wrapping_abs()
            }
            fn negated(self) -> Self {
                self.wrapping_neg()
            }
        }
    };
}
integer!(i32);
integer!(i64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_divide_as_in_tensorflow() {
        let divided = |a: i32, b: i32| (a.floor_div(b), a.floor_mod(b), a.truncated_div(b));
        assert_eq!(divided(-7, 2), (-4, 1, -3));
        assert_eq!(divided(7, -2), (-4, -1, -3));
        assert_eq!(divided(-8, 2), (-4, 0, -4));
        assert_eq!(divided(i32::MIN, -1), (i32::MIN, 0, i32::MIN));
        assert_eq!((-7.5_f32).floor_mod(2.0).to_bits(), 0.5_f32.to_bits());
        assert_eq!((3_i32.power(4), 3_i64.power(0)), (81, 1));
    }

    #[test]
    fn nan_is_the_larger_and_the_smaller_one() {
        assert!(f32::NAN.larger(1.0).is_nan() && 1.0.larger(f64::NAN).is_nan());
        assert!(f32::NAN.smaller(1.0).is_nan() && 1.0.smaller(f64::NAN).is_nan());
        assert_eq!(2.larger(3), 3);
    }
}
