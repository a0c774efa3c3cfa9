//! Matrix products.
//!
//! matrixmultiply computes one product in one thread. Many products are spread over threads; a large one is
//! split by rows or columns.

use ndarray::{ArrayView2, ArrayViewMut2, Axis, Slice};
use rayon::prelude::*;

use super::broadcast::common_shape;
use super::kernel::Kernel::One;
use super::kernel::{Call, Pair, Table, exactly, pair, wrong_type};
use super::multiply::Multiply;
use crate::array::{Array, ArrayType, Values};
use crate::failure::{Failure, invalid};
use crate::meter::Meter;
use crate::strided;

pub(super) const TABLE: Table = &[
    ("BatchMatMul", One(batch_mat_mul)),
    ("BatchMatMulV2", One(batch_mat_mul)),
    ("BatchMatMulV3", One(batch_mat_mul)),
    ("MatMul", One(mat_mul)),
    ("SparseMatMul", One(mat_mul)),
];

/// Products with fewer multiplications are computed by one thread.
const PARALLEL_WORK: usize = 1 << 20;
/// The most multiplications between two looks at whether the evaluation was cancelled.
const UNCHECKED_WORK: usize = 1 << 31;

/// A factor of a batch of products.
pub(super) struct Factor<'a, T> {
    /// Matrices in row-major order.
    pub(super) data: &'a [T],
    /// The lengths of the axes before the matrices'.
    pub(super) batch: &'a [usize],
    /// Rows and columns as stored.
    pub(super) matrix: [usize; 2],
    /// The matrices are transposed before they are multiplied.
    pub(super) is_transposed: bool,
}

fn mat_mul(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    let flags = ["transpose_a", "transpose_b"].map(|key| call.flag(key));
    let [a, b] = exactly(inputs)?;
    if a.rank() != 2 || b.rank() != 2 {
        return invalid(format!(
            "cannot multiply {:?} and {:?} as matrices",
            a.shape(),
            b.shape()
        ));
    }
    multiply(call, a, b, flags)
}

fn batch_mat_mul(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    let flags = ["adj_x", "adj_y"].map(|key| call.flag(key));
    let [a, b] = exactly(inputs)?;
    multiply(call, a, b, flags)
}

fn multiply(call: &Call<'_>, a: Array, b: Array, flags: [bool; 2]) -> Result<Array, Failure> {
    match pair(a, b)? {
        Pair::Float32(a, b) => multiply_values(call.meter, &a, &b, flags),
        Pair::Float64(a, b) => multiply_values(call.meter, &a, &b, flags),
        Pair::Int32(a, b) => multiply_values(call.meter, &a, &b, flags),
        Pair::Int64(a, b) => multiply_values(call.meter, &a, &b, flags),
        Pair::Bool(..) => wrong_type(ArrayType::Bool),
    }
}

fn multiply_values<T: Multiply>(
    meter: &Meter<'_>,
    a: &Values<T>,
    b: &Values<T>,
    flags: [bool; 2],
) -> Result<Array, Failure> {
    let [a, b] = [factor(a, flags[0])?, factor(b, flags[1])?];
    let (shape, product) = products(meter, &a, &b)?;
    strided::array(&shape, product)
}

fn factor<T>(values: &Values<T>, is_transposed: bool) -> Result<Factor<'_, T>, Failure> {
    let [batch @ .., rows, columns] = values.shape() else {
        return invalid(format!("a factor has the shape {:?}", values.shape()));
    };
    Ok(Factor {
        data: strided::slice(values)?,
        batch,
        matrix: [*rows, *columns],
        is_transposed,
    })
}

impl<T> Factor<'_, T> {
    /// Returns rows and columns after the transposition.
    fn sizes(&self) -> [usize; 2] {
        let [rows, columns] = self.matrix;
        if self.is_transposed {
            [columns, rows]
        } else {
            [rows, columns]
        }
    }

    fn get(&self, number: usize) -> ArrayView2<'_, T> {
        let len = self.matrix[0] * self.matrix[1];
        let data = &self.data[number * len..(number + 1) * len];
        let matrix = ArrayView2::from_shape(self.matrix, data)
            .expect("the matrix has as many elements as its part of the data");
        if self.is_transposed {
            matrix.reversed_axes()
        } else {
            matrix
        }
    }

    /// Returns the number of the matrix at an index of the common batch.
    fn number(&self, batch: &[usize], mut index: usize) -> usize {
        let (mut number, mut step) = (0, 1);
        let own = self.batch.iter().rev().copied();
        for (&len, own) in std::iter::zip(batch.iter().rev(), own) {
            if own != 1 {
                number += index % len * step;
            }
            step *= own;
            index /= len;
        }
        number
    }
}

/// Multiplies each matrix of `a` by one of `b`; returns the shape and the elements of the products.
#[allow(
    clippy::many_single_char_names,
    reason = "as usual for products of matrices"
)]
pub(super) fn products<T: Multiply>(
    meter: &Meter<'_>,
    a: &Factor<'_, T>,
    b: &Factor<'_, T>,
) -> Result<(Vec<usize>, Vec<T>), Failure> {
    let ([m, k], [other, n]) = (a.sizes(), b.sizes());
    if k != other {
        return invalid(format!("cannot multiply [{m}, {k}] and [{other}, {n}]"));
    }
    let batch = common_shape(a.batch, b.batch)?;
    let mut shape = batch.clone();
    shape.extend([m, n]);
    let len = meter.room::<T>(&shape)?;
    meter.work((len as u64).saturating_mul(k as u64).saturating_mul(2))?;
    let mut target = vec![T::ZERO; len];
    if len == 0 || k == 0 {
        return Ok((shape, target));
    }
    let work = (m * n).saturating_mul(k);
    let multiply = |(index, target): (usize, &mut [T]), is_split: bool| {
        let [a, b] = [a, b].map(|factor| factor.get(factor.number(&batch, index)));
        let target = ArrayViewMut2::from_shape([m, n], target)
            .expect("a product has as many elements as its part of the result");
        if is_split {
            multiply_split(meter, &a, &b, target)
        } else {
            meter.check_cancelled()?;
            T::multiply(&a, &b, target);
            Ok(())
        }
    };
    let count = len / (m * n);
    if count >= rayon::current_num_threads() && work < UNCHECKED_WORK && count > 1 {
        let targets = target.par_chunks_exact_mut(m * n).enumerate();
        targets
            .with_min_len((PARALLEL_WORK / 4 / work).max(1))
            .try_for_each(|target| multiply(target, false))?;
    } else {
        let mut targets = target.chunks_exact_mut(m * n).enumerate();
        targets.try_for_each(|target| multiply(target, true))?;
    }
    Ok((shape, target))
}

/// Multiplies two matrices, in parts of the longer axis of the product.
fn multiply_split<T: Multiply>(
    meter: &Meter<'_>,
    a: &ArrayView2<'_, T>,
    b: &ArrayView2<'_, T>,
    mut target: ArrayViewMut2<'_, T>,
) -> Result<(), Failure> {
    /// Parts are multiples of this, so that no block of the product is cut.
    const BLOCK: usize = 16;
    let (m, n) = target.dim();
    let work = (m * n).saturating_mul(a.ncols());
    let axis = Axis(usize::from(n > m));
    let len = target.len_of(axis);
    let threads = if work < PARALLEL_WORK {
        1
    } else {
        rayon::current_num_threads()
    };
    let parts = threads.max(work / UNCHECKED_WORK + 1);
    let part = len.div_ceil(parts).next_multiple_of(BLOCK);
    let multiply = |(number, target): (usize, ArrayViewMut2<'_, T>)| {
        if meter.check_cancelled().is_err() {
            return;
        }
        let start = number * part;
        let part = Slice::from(start..start + target.len_of(axis));
        if axis == Axis(0) {
            T::multiply(&a.slice_axis(Axis(0), part), b, target);
        } else {
            T::multiply(a, &b.slice_axis(Axis(1), part), target);
        }
    };
    let targets: Vec<_> = target
        .axis_chunks_iter_mut(axis, part)
        .enumerate()
        .collect();
    if targets.len() == 1 {
        targets.into_iter().for_each(multiply);
    } else {
        targets.into_par_iter().for_each(multiply);
    }
    meter.check_cancelled()
}

#[cfg(test)]
mod tests {
    use testkit::graph_writer::Attr;

    use super::super::tests::{counted, i32s, run_one};

    #[test]
    fn factors_are_transposed_by_flags() {
        let product = |a, b, attrs: &[(&str, Attr)]| run_one("MatMul", attrs, vec![a, b]);
        let plain = product(counted(&[2, 3]), counted(&[3, 2]), &[]).unwrap();
        assert_eq!(plain.to_f64(), [10.0, 13.0, 28.0, 40.0]);
        let flags = [("transpose_a", Attr::True), ("transpose_b", Attr::True)];
        let both = product(counted(&[3, 2]), counted(&[2, 3]), &flags).unwrap();
        assert_eq!(both.to_f64(), [10.0, 28.0, 13.0, 40.0]);
        assert!(product(counted(&[2, 3]), counted(&[2, 3]), &[]).is_err());
        assert!(product(counted(&[3]), counted(&[3, 2]), &[]).is_err());
        let whole = product(i32s(&[1, 2], &[1, 2]), i32s(&[2, 1], &[3, 4]), &[]).unwrap();
        assert_eq!(whole.integers().unwrap(), [11]);
        let empty = product(counted(&[2, 0]), counted(&[0, 2]), &[]).unwrap();
        assert_eq!(empty.to_f64(), [0.0; 4]);
    }

    #[test]
    fn batches_are_repeated() {
        let inputs = vec![counted(&[2, 1, 1, 3]), counted(&[4, 3, 2])];
        let product = run_one("BatchMatMulV2", &[], inputs).unwrap();
        assert_eq!(product.shape(), [2, 4, 1, 2]);
        let values = product.to_f64();
        assert_eq!(values[..4], [10.0, 13.0, 28.0, 31.0]);
        // [3, 4, 5] times [[18, 19], [20, 21], [22, 23]].
        assert_eq!(values[14..], [244.0, 256.0]);
    }

    #[test]
    fn the_work_is_limited() {
        let inputs = vec![counted(&[100, 100]), counted(&[100, 100])];
        assert!(run_one("MatMul", &[], inputs).is_err());
    }
}
