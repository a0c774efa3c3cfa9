//! Copies of a regular part of an array: transposed, sliced, reversed or repeated.

use crate::array::{Array, Element, Values};
use crate::failure::{Failure, invalid};
use crate::meter::Meter;
use crate::parallel::for_each_row;

/// An axis of the result: its length, and the step in the source between neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StridedAxis {
    pub(crate) len: usize,
    pub(crate) step: isize,
}

/// The part of a row-major array that a copy reads.
#[derive(Clone, Debug)]
pub(crate) struct Strided {
    /// The position of the first element.
    pub(crate) start: usize,
    /// The axes of the result, outermost first.
    pub(crate) axes: Vec<StridedAxis>,
}

impl Strided {
    /// Returns the whole of an array of this shape.
    pub(crate) fn whole(shape: &[usize]) -> Self {
        let mut step = 1_isize;
        let mut axes = Vec::with_capacity(shape.len());
        for &len in shape.iter().rev() {
            axes.push(StridedAxis { len, step });
            step = step.saturating_mul(signed(len.max(1)));
        }
        axes.reverse();
        Self { start: 0, axes }
    }

    pub(crate) fn shape(&self) -> Vec<usize> {
        self.axes.iter().map(|axis| axis.len).collect()
    }

    /// Merges neighbouring axes that can be walked as one, and drops axes of length 1.
    fn merged(&self) -> Vec<StridedAxis> {
        let mut merged: Vec<StridedAxis> = Vec::with_capacity(self.axes.len());
        for &axis in self.axes.iter().filter(|axis| axis.len != 1) {
            match merged.last_mut() {
                Some(last) if last.step == axis.step.wrapping_mul(signed(axis.len)) => {
                    last.len *= axis.len;
                    last.step = axis.step;
                }
                _ => merged.push(axis),
            }
        }
        merged
    }
}

pub(crate) fn signed(n: usize) -> isize {
    isize::try_from(n).unwrap_or(isize::MAX)
}

/// Copies a part of an array.
pub(crate) fn copy<T: Element>(
    source: &Values<T>,
    part: &Strided,
    meter: &Meter<'_>,
) -> Result<Values<T>, Failure> {
    let shape = part.shape();
    let len = meter.room::<T>(&shape)?;
    let mut target = vec![T::default(); len];
    copy_into(slice(source)?, part, &mut target)?;
    values(&shape, target)
}

/// Copies a part of an array into a slice of the same length.
pub(crate) fn copy_into<T: Element>(
    source: &[T],
    part: &Strided,
    target: &mut [T],
) -> Result<(), Failure> {
    if target.is_empty() {
        return Ok(());
    }
    check_bounds(source.len(), part)?;
    let mut axes = part.merged();
    let inner = axes.pop().unwrap_or(StridedAxis { len: 1, step: 1 });
    if let Some(rows) = axes.pop_if(|rows| rows.step == 1 && inner.step != 0) {
        copy_matrices(source, part.start, (&axes, rows, inner), target);
        return Ok(());
    }
    let work = target.len();
    for_each_row(target, inner.len, work, &|number, row| {
        let start = row_start(part.start, &axes, number);
        match inner.step {
            0 => row.fill(source[start]),
            1 => row.copy_from_slice(&source[start..start + inner.len]),
            step => {
                let mut at = start;
                for target in row {
                    *target = source[at];
                    // Past the end after the last element only.
                    at = at.wrapping_add_signed(step);
                }
            }
        }
    });
    Ok(())
}

/// Copies matrices whose columns are contiguous in the source, a few rows at a time: so each cache line of
/// the source is read once.
fn copy_matrices<T: Element>(
    source: &[T],
    start: usize,
    (axes, rows, columns): (&[StridedAxis], StridedAxis, StridedAxis),
    target: &mut [T],
) {
    const ROWS: usize = 16;
    let copy = |start: usize, target: &mut [T]| {
        let mut at = start;
        for column in 0..columns.len {
            let rows = target[column..].iter_mut().step_by(columns.len);
            for (target, &x) in std::iter::zip(rows, &source[at..]) {
                *target = x;
            }
            // Past the end after the last column only.
            at = at.wrapping_add_signed(columns.step);
        }
    };
    let work = target.len();
    for_each_row(target, rows.len * columns.len, work, &|number, matrix| {
        let start = row_start(start, axes, number);
        let work = matrix.len();
        for_each_row(matrix, ROWS * columns.len, work, &|number, part| {
            copy(start + number * ROWS, part);
        });
    });
}

/// Returns the position in the source of the first element of a row.
fn row_start(start: usize, axes: &[StridedAxis], mut number: usize) -> usize {
    let mut at = start;
    for axis in axes.iter().rev() {
        let index = number % axis.len;
        number /= axis.len;
        at = at.wrapping_add_signed(signed(index).wrapping_mul(axis.step));
    }
    at
}

/// Checks that a part that is not empty lies within a source of this length.
fn check_bounds(source: usize, part: &Strided) -> Result<(), Failure> {
    let [mut first, mut last] = [part.start as i128; 2];
    for axis in &part.axes {
        let reach = (axis.len as i128 - 1) * axis.step as i128;
        first += reach.min(0);
        last += reach.max(0);
    }
    if first < 0 || last >= source as i128 {
        return invalid("the part that is read exceeds the array");
    }
    Ok(())
}

/// Returns the elements of an array in row-major order.
pub(crate) fn slice<T>(values: &Values<T>) -> Result<&[T], Failure> {
    let error = || Failure::Invalid("the array is not in row-major order".to_owned());
    values.as_slice().ok_or_else(error)
}

/// Returns an array of this shape; an error if the number of elements differs.
pub(crate) fn values<T: Element>(shape: &[usize], data: Vec<T>) -> Result<Values<T>, Failure> {
    ndarray::ArrayD::from_shape_vec(shape, data)
        .map(ndarray::ArrayBase::into_shared)
        .map_err(|error| Failure::Invalid(format!("the result is malformed: {error}")))
}

/// Returns an array of this shape; an error if the number of elements differs.
pub(crate) fn array<T: Element>(shape: &[usize], data: Vec<T>) -> Result<Array, Failure> {
    values(shape, data).map(T::wrap)
}

/// Takes the buffer of an array that nobody else holds.
pub(crate) fn take_buffer<T: Element>(values: Values<T>) -> Result<Vec<T>, Values<T>> {
    let len = values.len();
    let owned = values.try_into_owned_nocopy()?;
    let shape = owned.shape().to_vec();
    let (buffer, offset) = owned.into_raw_vec_and_offset();
    if buffer.len() == len {
        return Ok(buffer);
    }
    // A part of a larger buffer.
    let start = offset.unwrap_or(0);
    let part = buffer[start..start + len].to_vec();
    Err(ndarray::ArrayD::from_shape_vec(shape, part)
        .expect("the part has as many elements as the array")
        .into_shared())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copied(part: &Strided, source: Vec<i32>) -> Result<Vec<i32>, Failure> {
        let meter = Meter::new(1 << 20, 0, &|| false);
        let source = values(&[source.len()], source).unwrap();
        copy(&source, part, &meter).map(|values| values.iter().copied().collect())
    }

    #[test]
    fn parts_are_transposed_reversed_and_repeated() {
        let axis = |len, step| StridedAxis { len, step };
        let source = vec![0, 1, 2, 3, 4, 5];
        let mut part = Strided::whole(&[2, 3]);
        assert_eq!(part.merged(), [axis(6, 1)]);
        assert_eq!(copied(&part, source.clone()).unwrap(), source);
        part.axes.swap(0, 1);
        assert_eq!(copied(&part, source.clone()).unwrap(), [0, 3, 1, 4, 2, 5]);
        let part = Strided {
            start: 4,
            axes: vec![axis(2, 0), axis(2, 1), axis(3, -2)],
        };
        let expected = [4, 2, 0, 5, 3, 1, 4, 2, 0, 5, 3, 1];
        assert_eq!(copied(&part, source.clone()).unwrap(), expected);
        let part = Strided {
            start: 5,
            axes: vec![axis(2, 0), axis(3, -2)],
        };
        assert_eq!(copied(&part, source.clone()).unwrap(), [5, 3, 1, 5, 3, 1]);
        let part = Strided {
            start: 5,
            axes: vec![axis(4, -2)],
        };
        assert!(copied(&part, source).is_err());
    }

    #[test]
    fn large_matrices_are_transposed() {
        let source: Vec<i32> = (0..300 * 170).collect();
        let part = Strided {
            start: 0,
            axes: vec![
                StridedAxis { len: 170, step: 1 },
                StridedAxis {
                    len: 300,
                    step: 170,
                },
            ],
        };
        let transposed = copied(&part, source).unwrap();
        let expected = (0..170).flat_map(|row| (0..300).map(move |column| column * 170 + row));
        assert_eq!(transposed, expected.collect::<Vec<i32>>());
    }
}
