//! Reductions along axes, and cumulative sums.
//!
//! The axes that are reduced are brought to the end, so that each result comes from a contiguous row.
//! Sums of floats are accumulated in float64.

use super::kernel::Kernel::One;
use super::kernel::{Call, Table, axes, axis, exactly, wrong_type};
use super::number::Number;
use crate::array::{Array, Element, Values};
use crate::failure::{Failure, invalid};
use crate::parallel::for_each_row;
use crate::strided::{self, Strided};

/// Reduces rows of numbers with one function for floats and one for integers.
macro_rules! numbers {
    ($floats:ident, $integers:ident) => {
        One(|call, inputs| {
            let [input, axes] = exactly(inputs)?;
            match input {
                Array::Float32(values) => reduce(call, values, &axes, $floats::<f32>),
                Array::Float64(values) => reduce(call, values, &axes, $floats::<f64>),
                Array::Int32(values) => reduce(call, values, &axes, $integers::<i32>),
                Array::Int64(values) => reduce(call, values, &axes, $integers::<i64>),
                other @ Array::Bool(_) => wrong_type(other.dtype()),
            }
        })
    };
}

/// Reduces rows of booleans.
macro_rules! booleans {
    ($row:ident => $body:expr) => {
        One(|call, inputs| {
            let [input, axes] = exactly(inputs)?;
            match input {
                Array::Bool(values) => reduce(call, values, &axes, |$row: &[bool]| $body),
                other => wrong_type(other.dtype()),
            }
        })
    };
}

pub(super) const TABLE: Table = &[
    ("All", booleans!(row => row.iter().all(|&x| x))),
    ("Any", booleans!(row => row.iter().any(|&x| x))),
    ("Cumsum", One(cumsum)),
    ("EuclideanNorm", One(euclidean_norm)),
    ("Max", numbers!(largest, largest)),
    ("Mean", numbers!(mean, integer_mean)),
    ("Min", numbers!(smallest, smallest)),
    ("Prod", numbers!(product, product)),
    ("Sum", numbers!(sum, integer_sum)),
];

/// A float that sums are accumulated for.
pub(super) trait Float: Number {
    fn to_f64(self) -> f64;
    fn from_f64(value: f64) -> Self;
}

impl Float for f32 {
    fn to_f64(self) -> f64 {
        self.into()
    }

    #[allow(clippy::cast_possible_truncation, reason = "rounds once, at the end")]
    fn from_f64(value: f64) -> Self {
        value as Self
    }
}

impl Float for f64 {
    fn to_f64(self) -> f64 {
        self
    }

    fn from_f64(value: f64) -> Self {
        value
    }
}

/// Returns the sum of a function of the elements, in eight parts that one instruction adds.
pub(super) fn total<T: Float>(row: &[T], function: impl Fn(f64) -> f64) -> f64 {
    const LANES: usize = 8;
    let (chunks, rest) = row.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for chunk in chunks {
        for (lane, &x) in std::iter::zip(&mut lanes, chunk) {
            *lane += function(x.to_f64());
        }
    }
    let rest: f64 = rest.iter().map(|&x| function(x.to_f64())).sum();
    lanes.iter().sum::<f64>() + rest
}

fn sum<T: Float>(row: &[T]) -> T {
    T::from_f64(total(row, |x| x))
}

/// Returns the mean of a row; NaN for an empty one.
#[allow(clippy::cast_precision_loss, reason = "lengths are far below 2^53")]
fn mean<T: Float>(row: &[T]) -> T {
    T::from_f64(total(row, |x| x) / row.len() as f64)
}

fn integer_sum<T: Number>(row: &[T]) -> T {
    row.iter().fold(T::ZERO, |sum, &x| sum.plus(x))
}

/// Returns the mean of a row, rounded towards zero; 0 for an empty one.
fn integer_mean<T: Number + TryFrom<usize>>(row: &[T]) -> T {
    match T::try_from(row.len()) {
        Ok(len) if len != T::ZERO => integer_sum(row).truncated_div(len),
        _ => T::ZERO,
    }
}

fn product<T: Number>(row: &[T]) -> T {
    row.iter().fold(T::ONE, |product, &x| product.times(x))
}

fn largest<T: Number>(row: &[T]) -> T {
    row.iter().fold(T::LOWEST, |largest, &x| largest.larger(x))
}

fn smallest<T: Number>(row: &[T]) -> T {
    row.iter()
        .fold(T::HIGHEST, |smallest, &x| smallest.smaller(x))
}

fn euclidean_norm(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    fn norm<T: Float>(row: &[T]) -> T {
        T::from_f64(total(row, |x| x * x).sqrt())
    }
    let [input, axes] = exactly(inputs)?;
    match input {
        Array::Float32(values) => reduce(call, values, &axes, norm),
        Array::Float64(values) => reduce(call, values, &axes, norm),
        other => wrong_type(other.dtype()),
    }
}

/// Reduces an array along axes, with the attribute `keep_dims`.
fn reduce<T: Element>(
    call: &Call<'_>,
    values: Values<T>,
    along: &Array,
    function: fn(&[T]) -> T,
) -> Result<Array, Failure> {
    let rank = values.ndim();
    let mut is_reduced = vec![false; rank];
    for axis in axes(along, rank)? {
        if std::mem::replace(&mut is_reduced[axis], true) {
            return invalid(format!("axis {axis} is reduced twice"));
        }
    }
    let keep = call.flag("keep_dims") || call.flag("keepdims");
    let mut shape = Vec::with_capacity(rank);
    for (&len, &is_reduced) in std::iter::zip(values.shape(), &is_reduced) {
        match is_reduced {
            false => shape.push(len),
            true if keep => shape.push(1),
            true => {}
        }
    }
    let row_len = std::iter::zip(values.shape(), &is_reduced)
        .filter(|(_, is_reduced)| **is_reduced)
        .map(|(len, _)| len)
        .product::<usize>();
    let rows = call.meter.room::<T>(&shape)?;
    let values = reduced_last(call, values, &is_reduced)?;
    let source = strided::slice(&values)?;
    let mut reduced = vec![T::default(); rows];
    for_each_row(&mut reduced, 1, source.len(), &|number, reduced| {
        reduced[0] = function(&source[number * row_len..][..row_len]);
    });
    strided::array(&shape, reduced)
}

/// Transposes an array so that the reduced axes are the last ones.
fn reduced_last<T: Element>(
    call: &Call<'_>,
    values: Values<T>,
    is_reduced: &[bool],
) -> Result<Values<T>, Failure> {
    if is_reduced.is_sorted() {
        return Ok(values);
    }
    let mut part = Strided::whole(values.shape());
    let axes = std::iter::zip(part.axes, is_reduced);
    let (reduced, kept): (Vec<_>, Vec<_>) = axes.partition(|(_, is_reduced)| **is_reduced);
    part.axes = kept
        .into_iter()
        .chain(reduced)
        .map(|(axis, _)| axis)
        .collect();
    strided::copy(&values, &part, call.meter)
}

fn cumsum(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    let [input, along] = exactly(inputs)?;
    let axis = axis(along.integer()?, input.rank())?;
    match input {
        Array::Float32(values) => cumulate(call, &values, axis),
        Array::Float64(values) => cumulate(call, &values, axis),
        Array::Int32(values) => cumulate(call, &values, axis),
        Array::Int64(values) => cumulate(call, &values, axis),
        Array::Bool(_) => wrong_type(input.dtype()),
    }
}

fn cumulate<T: Number>(call: &Call<'_>, values: &Values<T>, axis: usize) -> Result<Array, Failure> {
    let shape = values.shape();
    let mut result = vec![T::ZERO; call.meter.room::<T>(shape)?];
    let source = strided::slice(values)?;
    let len = shape[axis];
    let inner: usize = shape[axis + 1..].iter().product();
    let [exclusive, reverse] = ["exclusive", "reverse"].map(|key| call.flag(key));
    if result.is_empty() {
        return strided::array(shape, result);
    }
    let blocks = result.chunks_exact_mut(len * inner);
    for (target, source) in std::iter::zip(blocks, source.chunks_exact(len * inner)) {
        for column in 0..inner {
            let mut sum = T::ZERO;
            for step in 0..len {
                let row = if reverse { len - 1 - step } else { step };
                let at = row * inner + column;
                let next = sum.plus(source[at]);
                target[at] = if exclusive { sum } else { next };
                sum = next;
            }
        }
    }
    strided::array(shape, result)
}

#[cfg(test)]
mod tests {
    use testkit::graph_writer::Attr;

    use super::super::tests::{f32s, i32s, run_one};
    use crate::array::Array;

    fn matrix() -> Array {
        f32s(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    }

    #[test]
    fn any_axes_are_reduced() {
        let sum = |axes: &[i32], attrs: &[(&str, Attr)]| {
            let inputs = vec![matrix(), i32s(&[axes.len()], axes)];
            run_one("Sum", attrs, inputs).unwrap()
        };
        assert_eq!(sum(&[-1], &[]).to_f64(), [6.0, 15.0]);
        assert_eq!(sum(&[0], &[]).to_f64(), [5.0, 7.0, 9.0]);
        assert_eq!(sum(&[1, 0], &[]).to_f64(), [21.0]);
        assert_eq!(sum(&[], &[]).shape(), [2, 3]);
        assert_eq!(sum(&[0], &[("keep_dims", Attr::True)]).shape(), [1, 3]);
        for axes in [&[2][..], &[0, 0], &[0, -2]] {
            let inputs = vec![matrix(), i32s(&[axes.len()], axes)];
            assert!(run_one("Sum", &[], inputs).is_err());
        }
    }

    #[test]
    fn empty_rows_have_neutral_values() {
        let empty = || vec![f32s(&[2, 0], &[]), i32s(&[], &[1])];
        assert_eq!(run_one("Sum", &[], empty()).unwrap().to_f64(), [0.0, 0.0]);
        assert_eq!(run_one("Prod", &[], empty()).unwrap().to_f64(), [1.0, 1.0]);
        assert!(run_one("Mean", &[], empty()).unwrap().to_f64()[0].is_nan());
    }

    #[test]
    fn sums_cumulate_in_both_directions() {
        let inputs = || vec![i32s(&[3], &[1, 2, 3]), i32s(&[], &[0])];
        let cumulated = |attrs: &[(&str, Attr)]| {
            run_one("Cumsum", attrs, inputs())
                .unwrap()
                .integers()
                .unwrap()
        };
        assert_eq!(cumulated(&[]), [1, 3, 6]);
        assert_eq!(cumulated(&[("reverse", Attr::True)]), [6, 5, 3]);
        assert_eq!(cumulated(&[("exclusive", Attr::True)]), [0, 1, 3]);
    }
}
