//! Operations on arrays whose axes of length 1 are repeated to a common shape.

use super::kernel::Call;
use crate::array::{Element, Values};
use crate::failure::{Failure, invalid};
use crate::parallel::{PARALLEL, for_each_piece, for_each_row};
use crate::strided;

/// Returns the common shape of two arrays.
pub(super) fn common_shape(a: &[usize], b: &[usize]) -> Result<Vec<usize>, Failure> {
    let rank = a.len().max(b.len());
    let padded = |shape: &[usize], axis: usize| match axis.checked_sub(rank - shape.len()) {
        Some(axis) => shape[axis],
        None => 1,
    };
    let axes = (0..rank).map(|axis| match (padded(a, axis), padded(b, axis)) {
        (a, b) if a == b => Some(a),
        (1, n) | (n, 1) => Some(n),
        _ => None,
    });
    match axes.collect() {
        Some(shape) => Ok(shape),
        None => invalid(format!("the shapes {a:?} and {b:?} do not fit")),
    }
}

/// How `N` arrays are walked beside a result in row-major order.
struct Plan<const N: usize> {
    /// Lengths of the outer axes, and the step of each array along them.
    outer: Vec<(usize, [usize; N])>,
    /// The length of a row.
    row: usize,
    /// For each array: whether it advances along a row, or its element is repeated.
    advances: [bool; N],
}

impl<const N: usize> Plan<N> {
    /// Returns how arrays of these shapes are walked; each shape fits the result's.
    fn new(result: &[usize], shapes: [&[usize]; N]) -> Self {
        let mut next = [1_usize; N];
        let mut axes: Vec<(usize, [usize; N])> = Vec::new();
        // Innermost axis first.
        for (axis, &len) in result.iter().enumerate().rev() {
            let mut steps = [0; N];
            for ((step, next), shape) in std::iter::zip(&mut steps, &mut next).zip(shapes) {
                let own = axis.checked_sub(result.len() - shape.len());
                if own.is_some_and(|own| shape[own] != 1) {
                    *step = *next;
                    *next *= len;
                }
            }
            if len == 1 {
                continue;
            }
            match axes.last_mut() {
                Some((inner, inner_steps))
                    if *inner_steps.map(|step| step * *inner).as_slice() == steps =>
                {
                    *inner *= len;
                }
                _ => axes.push((len, steps)),
            }
        }
        let mut axes = axes.into_iter();
        let (row, steps) = axes.next().unwrap_or((1, [0; N]));
        let mut outer: Vec<_> = axes.collect();
        outer.reverse();
        Self {
            outer,
            row,
            advances: steps.map(|step| step == 1),
        }
    }

    /// Returns the position of each array at the start of a row.
    fn start(&self, mut row: usize) -> [usize; N] {
        let mut start = [0; N];
        for (len, steps) in self.outer.iter().rev() {
            let index = row % len;
            row /= len;
            for (start, step) in std::iter::zip(&mut start, steps) {
                *start += index * step;
            }
        }
        start
    }

    /// Calls a function for pieces of the result that lie within a row, with the position of each array.
    fn for_each<T: Send>(
        &self,
        result: &mut [T],
        function: &(dyn Fn(&mut [T], [usize; N]) + Sync),
    ) {
        if self.row > PARALLEL {
            // Few long rows: each is cut.
            for (number, row) in result.chunks_mut(self.row).enumerate() {
                let start = self.start(number);
                for_each_piece(row, &|at, piece| {
                    let mut start = start;
                    for (start, advances) in std::iter::zip(&mut start, self.advances) {
                        *start += if advances { at } else { 0 };
                    }
                    function(piece, start);
                });
            }
        } else {
            let work = result.len();
            for_each_row(result, self.row.max(1), work, &|number, row| {
                function(row, self.start(number));
            });
        }
    }
}

/// What a row of the result is computed from.
#[derive(Clone, Copy)]
enum Operand<'a, T> {
    /// An element for each element of the row.
    Each(&'a [T]),
    /// The same element for the whole row.
    All(T),
}

impl<'a, T: Copy> Operand<'a, T> {
    fn of_row(values: &'a [T], at: usize, len: usize, advances: bool) -> Self {
        if advances {
            Self::Each(&values[at..][..len])
        } else {
            Self::All(values[at])
        }
    }
}

/// The side on which the other operand of an update stands.
#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
}

/// Combines two arrays; in place if nobody else holds one that has the common shape.
pub(super) fn combine<T: Element>(
    call: &Call<'_>,
    a: Values<T>,
    b: Values<T>,
    function: impl Fn(T, T) -> T + Sync,
) -> Result<Values<T>, Failure> {
    combine_rows(call, a, b, &|row, side, other| match (side, other) {
        (Side::Right, Operand::Each(others)) => {
            for (x, &y) in std::iter::zip(row, others) {
                *x = function(*x, y);
            }
        }
        (Side::Right, Operand::All(y)) => {
            for x in row {
                *x = function(*x, y);
            }
        }
        (Side::Left, Operand::Each(others)) => {
            for (y, &x) in std::iter::zip(row, others) {
                *y = function(x, *y);
            }
        }
        (Side::Left, Operand::All(x)) => {
            for y in row {
                *y = function(x, *y);
            }
        }
    })
}

/// Updates a row with another operand.
type Update<'a, T> = dyn Fn(&mut [T], Side, Operand<'_, T>) + Sync + 'a;

/// The part of [`combine`] that is compiled once for each type, and not for each operation.
fn combine_rows<T: Element>(
    call: &Call<'_>,
    a: Values<T>,
    b: Values<T>,
    update: &Update<'_, T>,
) -> Result<Values<T>, Failure> {
    let shape = common_shape(a.shape(), b.shape())?;
    let mut a = a;
    if a.shape() == shape {
        match strided::take_buffer(a) {
            Ok(buffer) => return update_rows(&shape, buffer, Side::Right, &b, update),
            Err(shared) => a = shared,
        }
    }
    let mut b = b;
    if b.shape() == shape {
        match strided::take_buffer(b) {
            Ok(buffer) => return update_rows(&shape, buffer, Side::Left, &a, update),
            Err(shared) => b = shared,
        }
    }
    zip_rows(call, &a, &b, &|row, a, b| {
        match a {
            Operand::Each(a) => row.copy_from_slice(a),
            Operand::All(a) => row.fill(a),
        }
        update(row, Side::Right, b);
    })
}

/// Updates the elements of a buffer with those of a smaller array.
fn update_rows<T: Element>(
    shape: &[usize],
    mut buffer: Vec<T>,
    side: Side,
    other: &Values<T>,
    update: &Update<'_, T>,
) -> Result<Values<T>, Failure> {
    let plan = Plan::new(shape, [other.shape()]);
    let other = strided::slice(other)?;
    let [advances] = plan.advances;
    plan.for_each(&mut buffer, &|row, [at]| {
        let other = Operand::of_row(other, at, row.len(), advances);
        update(row, side, other);
    });
    strided::values(shape, buffer)
}

/// Combines two arrays to an array of another type.
pub(super) fn zip<T: Element, U: Element>(
    call: &Call<'_>,
    a: &Values<T>,
    b: &Values<T>,
    function: impl Fn(T, T) -> U + Sync,
) -> Result<Values<U>, Failure> {
    zip_rows(call, a, b, &|row, a, b| match (a, b) {
        (Operand::Each(a), Operand::Each(b)) => {
            for ((z, &x), &y) in std::iter::zip(row, a).zip(b) {
                *z = function(x, y);
            }
        }
        (Operand::Each(a), Operand::All(y)) => {
            for (z, &x) in std::iter::zip(row, a) {
                *z = function(x, y);
            }
        }
        (Operand::All(x), Operand::Each(b)) => {
            for (z, &y) in std::iter::zip(row, b) {
                *z = function(x, y);
            }
        }
        (Operand::All(x), Operand::All(y)) => row.fill(function(x, y)),
    })
}

/// Computes a row of the result from two operands.
type Write<'a, T, U> = dyn Fn(&mut [U], Operand<'_, T>, Operand<'_, T>) + Sync + 'a;

/// The part of [`zip`] that is compiled once for each pair of types.
fn zip_rows<T: Element, U: Element>(
    call: &Call<'_>,
    a: &Values<T>,
    b: &Values<T>,
    write: &Write<'_, T, U>,
) -> Result<Values<U>, Failure> {
    let shape = common_shape(a.shape(), b.shape())?;
    let mut result = vec![U::default(); call.meter.room::<U>(&shape)?];
    let plan = Plan::new(&shape, [a.shape(), b.shape()]);
    let [a, b] = [strided::slice(a)?, strided::slice(b)?];
    plan.for_each(&mut result, &|row, [at, bt]| {
        let a = Operand::of_row(a, at, row.len(), plan.advances[0]);
        let b = Operand::of_row(b, bt, row.len(), plan.advances[1]);
        write(row, a, b);
    });
    strided::values(&shape, result)
}

/// Takes elements of one of two arrays, as a third one says.
pub(super) fn select<T: Element>(
    call: &Call<'_>,
    condition: &Values<bool>,
    first: &Values<T>,
    second: &Values<T>,
) -> Result<Values<T>, Failure> {
    let shape = common_shape(
        &common_shape(condition.shape(), first.shape())?,
        second.shape(),
    )?;
    let mut result = vec![T::default(); call.meter.room::<T>(&shape)?];
    let plan = Plan::new(&shape, [condition.shape(), first.shape(), second.shape()]);
    let condition = strided::slice(condition)?;
    let [first, second] = [strided::slice(first)?, strided::slice(second)?];
    let steps = plan.advances.map(usize::from);
    plan.for_each(&mut result, &|row, starts| {
        let at = |operand: usize, n: usize| starts[operand] + n * steps[operand];
        for (n, z) in row.iter_mut().enumerate() {
            *z = if condition[at(0, n)] {
                first[at(1, n)]
            } else {
                second[at(2, n)]
            };
        }
    });
    strided::values(&shape, result)
}
