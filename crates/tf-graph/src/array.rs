//! Values of tensors.
//!
//! bfloat16 and float16 are kept as float32: the rounding of graphs that compute in these types is not
//! reproduced. Integers of up to 16 bits are kept as int32, uint32 and uint64 as int64.

use std::fmt;

use ndarray::{ArcArray, ArrayD, Axis, IxDyn, Slice};

use crate::failure::{Failure, invalid};

/// The elements of an array: shared, and copied before a shared one is changed.
pub(crate) type Values<T> = ArcArray<T, IxDyn>;

/// The value of a tensor.
#[derive(Clone, Debug)]
pub enum Array {
    /// float32, and bfloat16 and float16.
    Float32(ArcArray<f32, IxDyn>),
    /// float64.
    Float64(ArcArray<f64, IxDyn>),
    /// int32, and all smaller integers.
    Int32(ArcArray<i32, IxDyn>),
    /// int64, uint32 and uint64.
    Int64(ArcArray<i64, IxDyn>),
    /// Booleans.
    Bool(ArcArray<bool, IxDyn>),
}

/// The type of an array's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ArrayType {
    /// float32.
    Float32,
    /// float64.
    Float64,
    /// int32.
    Int32,
    /// int64.
    Int64,
    /// Booleans.
    Bool,
}

/// Evaluates an expression for the elements of an array, whatever their type.
macro_rules! each {
    ($array:expr, $values:ident => $body:expr) => {
        match $array {
            $crate::array::Array::Float32($values) => $body,
            $crate::array::Array::Float64($values) => $body,
            $crate::array::Array::Int32($values) => $body,
            $crate::array::Array::Int64($values) => $body,
            $crate::array::Array::Bool($values) => $body,
        }
    };
}
pub(crate) use each;

impl Array {
    /// Returns the lengths of the axes.
    pub fn shape(&self) -> &[usize] {
        each!(self, values => values.shape())
    }

    /// Returns the number of axes.
    pub fn rank(&self) -> usize {
        self.shape().len()
    }

    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        each!(self, values => values.len())
    }

    /// Returns true if there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the memory of the elements in bytes.
    pub fn bytes(&self) -> usize {
        self.len() * self.dtype().size()
    }

    /// Returns the type of the elements.
    pub fn dtype(&self) -> ArrayType {
        match self {
            Self::Float32(_) => ArrayType::Float32,
            Self::Float64(_) => ArrayType::Float64,
            Self::Int32(_) => ArrayType::Int32,
            Self::Int64(_) => ArrayType::Int64,
            Self::Bool(_) => ArrayType::Bool,
        }
    }

    /// Returns the values of an array of integers in row-major order.
    pub fn integers(&self) -> Result<Vec<i64>, Failure> {
        match self {
            Self::Int32(values) => Ok(values.iter().map(|&x| x.into()).collect()),
            Self::Int64(values) => Ok(values.iter().copied().collect()),
            other => invalid(format!("expected integers, found {}", other.dtype())),
        }
    }

    /// Returns float32 as float64, and everything else unchanged.
    #[must_use]
    pub fn widened(self) -> Self {
        match self {
            Self::Float32(values) => Self::Float64(values.mapv(f64::from).into_shared()),
            other => other,
        }
    }

    /// Returns the values in row-major order; booleans are 0 and 1, and integers beyond 2^53 are rounded.
    #[allow(clippy::cast_precision_loss, reason = "documented")]
    pub fn to_f64(&self) -> Vec<f64> {
        match self {
            Self::Float32(values) => values.iter().map(|&x| x.into()).collect(),
            Self::Float64(values) => values.iter().copied().collect(),
            Self::Int32(values) => values.iter().map(|&x| x.into()).collect(),
            Self::Int64(values) => values.iter().map(|&x| x as f64).collect(),
            Self::Bool(values) => values.iter().map(|&x| u8::from(x).into()).collect(),
        }
    }

    /// Returns true if all slices along an axis are equal bit by bit. False if there is no such axis.
    pub fn is_row_constant(&self, axis: usize) -> bool {
        axis < self.rank() && each!(self, values => is_constant(values, axis))
    }

    /// Returns the first `n` slices along an axis: all of them if there are fewer, or no such axis.
    #[must_use]
    pub fn keep_first(&self, axis: usize, n: usize) -> Self {
        let Some(&length) = self.shape().get(axis).filter(|&&length| length > n) else {
            return self.clone();
        };
        let end = isize::try_from(n.min(length)).expect("the length of an axis fits into isize");
        let slice = Slice::from(0..end);
        each!(self, values => values.slice_axis(Axis(axis), slice).to_owned().into())
    }

    /// Returns the same elements in another shape. The elements are not copied unless their order in
    /// memory is not row-major.
    pub fn reshape(self, shape: &[usize]) -> Result<Self, Failure> {
        let product = shape
            .iter()
            .try_fold(1_usize, |product, &axis| product.checked_mul(axis));
        if product != Some(self.len()) {
            return invalid(format!(
                "cannot reshape {:?} to {shape:?}: the number of elements differs",
                self.shape()
            ));
        }
        match self.standard() {
            Self::Float32(values) => Ok(Self::Float32(reshape(values, shape)?)),
            Self::Float64(values) => Ok(Self::Float64(reshape(values, shape)?)),
            Self::Int32(values) => Ok(Self::Int32(reshape(values, shape)?)),
            Self::Int64(values) => Ok(Self::Int64(reshape(values, shape)?)),
            Self::Bool(values) => Ok(Self::Bool(reshape(values, shape)?)),
        }
    }

    /// Returns the array in row-major order, copied only if it is not.
    pub(crate) fn standard(self) -> Self {
        each!(self, values => Element::wrap(standard(values)))
    }

    /// Returns the one value of an integer array with one element.
    pub(crate) fn integer(&self) -> Result<i64, Failure> {
        match self.integers()?[..] {
            [value] => Ok(value),
            _ => invalid(format!("expected one integer, found {:?}", self.shape())),
        }
    }
}

fn reshape<T: Element>(values: Values<T>, shape: &[usize]) -> Result<Values<T>, Failure> {
    // Checks the product of the axes that are not 0.
    values
        .into_shape_with_order(shape)
        .map_err(|error| Failure::Invalid(format!("cannot reshape to {shape:?}: {error}")))
}

fn standard<T: Element>(values: Values<T>) -> Values<T> {
    if values.is_standard_layout() {
        values
    } else {
        values.as_standard_layout().into_owned().into_shared()
    }
}

fn is_constant<T: Element>(values: &Values<T>, axis: usize) -> bool {
    let mut slices = values.axis_iter(Axis(axis));
    let Some(first) = slices.next() else {
        return true;
    };
    slices.all(|slice| std::iter::zip(slice, &first).all(|(&a, &b)| a.same(b)))
}

/// A type of elements.
pub(crate) trait Element:
    Copy + Send + Sync + PartialEq + Default + fmt::Debug + 'static
{
    /// Returns the array of these values.
    fn wrap(values: Values<Self>) -> Array;

    /// Returns the values of an array of this type.
    fn unwrap(array: Array) -> Option<Values<Self>>;

    /// Compares bits.
    fn same(self, other: Self) -> bool;
}

macro_rules! element {
    ($type:ty, $variant:ident, $same:expr) => {
        impl Element for $type {
            fn wrap(values: Values<Self>) -> Array {
                Array::$variant(values)
            }

            fn unwrap(array: Array) -> Option<Values<Self>> {
                match array {
                    Array::$variant(values) => Some(values),
                    _ => None,
                }
            }

            fn same(self, other: Self) -> bool {
                let same: fn(Self, Self) -> bool = $same;
                same(self, other)
            }
        }

        impl From<ArrayD<$type>> for Array {
            fn from(values: ArrayD<$type>) -> Self {
                Self::$variant(standard(values.into_shared()))
            }
        }
    };
}
element!(f32, Float32, |a, b| a.to_bits() == b.to_bits());
element!(f64, Float64, |a, b| a.to_bits() == b.to_bits());
element!(i32, Int32, |a, b| a == b);
element!(i64, Int64, |a, b| a == b);
element!(bool, Bool, |a, b| a == b);

impl ArrayType {
    /// Returns the type that keeps values of a TensorFlow `DataType`, by its number in `types.proto`.
    pub(crate) fn from_proto(number: i32) -> Option<Self> {
        // References (`float_ref` and so on) are 100 higher.
        match if number > 100 { number - 100 } else { number } {
            1 | 14 | 19 => Some(Self::Float32),
            2 => Some(Self::Float64),
            3..=6 | 17 => Some(Self::Int32),
            9 | 22 | 23 => Some(Self::Int64),
            10 => Some(Self::Bool),
            _ => None,
        }
    }

    /// Returns the size of an element in bytes.
    pub(crate) fn size(self) -> usize {
        match self {
            Self::Float32 | Self::Int32 => 4,
            Self::Float64 | Self::Int64 => 8,
            Self::Bool => 1,
        }
    }
}

impl fmt::Display for ArrayType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Float32 => "float32",
            Self::Float64 => "float64",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Bool => "bool",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_rows_are_found_along_each_axis() {
        let nan = f32::NAN;
        let values = ArrayD::from_shape_vec(vec![2, 3], vec![1.0, nan, 3.0, 1.0, nan, 3.0]);
        let array = Array::from(values.unwrap());
        assert!(array.is_row_constant(0));
        assert!(!array.is_row_constant(1));
        assert!(!array.is_row_constant(2));
        assert_eq!(array.keep_first(0, 1).shape(), [1, 3]);
        assert_eq!(array.keep_first(1, 2).shape(), [2, 2]);
        assert_eq!(array.keep_first(1, 9).shape(), [2, 3]);
    }

    #[test]
    fn reshaping_checks_the_number_of_elements() {
        let array = Array::from(ArrayD::<i32>::zeros(vec![2, 3]));
        assert_eq!(array.clone().reshape(&[3, 2]).unwrap().shape(), [3, 2]);
        assert!(array.clone().reshape(&[7]).is_err());
        assert!(array.reshape(&[usize::MAX, 2]).is_err());
        let empty = Array::from(ArrayD::<i32>::zeros(vec![0, 3]));
        assert!(empty.reshape(&[0, usize::MAX]).is_err());
    }

    #[test]
    fn other_orders_in_memory_become_row_major() {
        let values = ArrayD::from_shape_vec(vec![2, 2], vec![1, 2, 3, 4]).unwrap();
        let array = Array::from(values.reversed_axes());
        assert_eq!(array.integers().unwrap(), [1, 3, 2, 4]);
        let Array::Int32(values) = array else {
            panic!()
        };
        assert_eq!(values.as_slice(), Some(&[1, 3, 2, 4][..]));
    }
}
