//! Arrays whose elements follow a rule.

use super::kernel::Kernel::One;
use super::kernel::{Call, Pair, Table, axis, exactly, pair, same_type, size, sizes, wrong_type};
use super::number::Number;
use crate::array::{Array, ArrayType, Element, Values, each};
use crate::failure::{Failure, invalid};
use crate::strided;

pub(super) const TABLE: Table = &[
    ("Fill", One(fill)),
    ("LinSpace", One(lin_space)),
    ("OneHot", One(one_hot)),
    ("Range", One(range)),
];

fn fill(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    let [shape, value] = exactly(inputs)?;
    let shape = sizes(&shape)?;
    each!(&value, value => fill_with(call, &shape, value))
}

fn fill_with<T: Element>(
    call: &Call<'_>,
    shape: &[usize],
    value: &Values<T>,
) -> Result<Array, Failure> {
    let value = scalar(value)?;
    strided::array(shape, vec![value; call.meter.room::<T>(shape)?])
}

/// Returns the element of an array with one element.
fn scalar<T: Element>(values: &Values<T>) -> Result<T, Failure> {
    match values.first() {
        Some(&value) if values.len() == 1 => Ok(value),
        _ => invalid(format!("expected a scalar, found {:?}", values.shape())),
    }
}

fn range(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    let [start, limit, delta] = exactly(same_type(inputs)?)?;
    let is_float = matches!(start.dtype(), ArrayType::Float32 | ArrayType::Float64);
    let len = if is_float {
        let [start, limit, delta] = [start.to_f64(), limit.to_f64(), delta.to_f64()];
        float_steps(&start, &limit, &delta)
    } else {
        steps(start.integer()?, limit.integer()?, delta.integer()?)
    };
    let Some(len) = len else {
        return invalid("the range is malformed");
    };
    match (&start, &delta) {
        (Array::Float32(start), Array::Float32(delta)) => progression(call, start, delta, len),
        (Array::Float64(start), Array::Float64(delta)) => progression(call, start, delta, len),
        (Array::Int32(start), Array::Int32(delta)) => progression(call, start, delta, len),
        (Array::Int64(start), Array::Int64(delta)) => progression(call, start, delta, len),
        _ => wrong_type(start.dtype()),
    }
}

/// Returns the number of values from `start` to before `limit`; `None` if the steps lead away from it.
fn steps(start: i64, limit: i64, delta: i64) -> Option<usize> {
    let [start, limit, delta] = [start, limit, delta].map(i128::from);
    let distance = (limit - start) * delta.signum();
    if delta == 0 || distance < 0 {
        return None;
    }
    let delta = delta.abs();
    usize::try_from((distance + delta - 1) / delta).ok()
}

fn float_steps(start: &[f64], limit: &[f64], delta: &[f64]) -> Option<usize> {
    let ([start], [limit], [delta]) = (start, limit, delta) else {
        return None;
    };
    let steps = ((limit - start) / delta).ceil();
    // Also false for NaN.
    let is_valid = *delta != 0.0 && (0.0..9e15).contains(&steps);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number from 0 to 9e15"
    )]
    is_valid.then_some(steps as usize)
}

/// Adds the step once for each element, as TensorFlow does.
fn progression<T: Number>(
    call: &Call<'_>,
    start: &Values<T>,
    delta: &Values<T>,
    len: usize,
) -> Result<Array, Failure> {
    let len = call.meter.room::<T>(&[len])?;
    let (mut next, delta) = (scalar(start)?, scalar(delta)?);
    let mut values = Vec::with_capacity(len);
    for _ in 0..len {
        values.push(next);
        next = next.plus(delta);
    }
    strided::array(&[len], values)
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "lengths are below 2^53, and the result is rounded to its type"
)]
fn lin_space(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    let [start, stop, count] = exactly(inputs)?;
    let count = size(count.integer()?)?;
    let len = call.meter.room::<f64>(&[count])?;
    let ([first], [last]) = (&start.to_f64()[..], &stop.to_f64()[..]) else {
        return invalid("the bounds are not scalars");
    };
    let difference = (last - first) / len.saturating_sub(1).max(1) as f64;
    let value = |n: usize| {
        if n > 0 && n + 1 == len {
            *last
        } else {
            first + difference * n as f64
        }
    };
    match start.dtype() {
        ArrayType::Float32 => strided::array(&[len], (0..len).map(|n| value(n) as f32).collect()),
        ArrayType::Float64 => strided::array(&[len], (0..len).map(value).collect()),
        other => wrong_type(other),
    }
}

fn one_hot(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    let [indices, depth, on, off] = exactly(inputs)?;
    let depth = size(depth.integer()?)?;
    let along = call.integer("axis").unwrap_or(-1);
    let at = axis(along, indices.rank() + 1)?;
    let hot = OneHot {
        indices: indices.integers()?,
        shape: indices.shape(),
        depth,
        axis: at,
    };
    match pair(on, off)? {
        Pair::Float32(on, off) => hot.values(call, &on, &off),
        Pair::Float64(on, off) => hot.values(call, &on, &off),
        Pair::Int32(on, off) => hot.values(call, &on, &off),
        Pair::Int64(on, off) => hot.values(call, &on, &off),
        Pair::Bool(on, off) => hot.values(call, &on, &off),
    }
}

struct OneHot<'a> {
    indices: Vec<i64>,
    shape: &'a [usize],
    depth: usize,
    /// The axis of the result along which one element is different.
    axis: usize,
}

impl OneHot<'_> {
    fn values<T: Element>(
        &self,
        call: &Call<'_>,
        on: &Values<T>,
        off: &Values<T>,
    ) -> Result<Array, Failure> {
        let (on, off) = (scalar(on)?, scalar(off)?);
        let mut shape = self.shape.to_vec();
        shape.insert(self.axis, self.depth);
        let mut target = vec![off; call.meter.room::<T>(&shape)?];
        let inner: usize = self.shape[self.axis..].iter().product();
        for (n, &index) in self.indices.iter().enumerate() {
            // An index outside is no error: all elements are `off`.
            if let Ok(index) = usize::try_from(index)
                && index < self.depth
            {
                let (outer, column) = (n / inner, n % inner);
                target[(outer * self.depth + index) * inner + column] = on;
            }
        }
        strided::array(&shape, target)
    }
}

#[cfg(test)]
mod tests {
    use testkit::graph_writer::Attr;

    use super::super::tests::{f32s, i32s, run_one};
    use crate::array::Array;
    use crate::failure::Failure;

    fn int(value: i32) -> Array {
        i32s(&[], &[value])
    }

    #[test]
    fn ranges_go_up_and_down() {
        let range =
            |start, limit, delta| run_one("Range", &[], vec![int(start), int(limit), int(delta)]);
        let values = |result: Result<Array, Failure>| result.unwrap().integers().unwrap();
        assert_eq!(values(range(1, 6, 2)), [1, 3, 5]);
        assert_eq!(values(range(5, 0, -2)), [5, 3, 1]);
        assert_eq!(values(range(3, 3, 1)), [0_i64; 0]);
        for (start, limit, delta) in [(0, 5, 0), (0, 5, -1), (i32::MIN, i32::MAX, 1)] {
            assert!(range(start, limit, delta).is_err());
        }
        let floats = |delta| vec![f32s(&[], &[0.0]), f32s(&[], &[1.0]), f32s(&[], &[delta])];
        let values = run_one("Range", &[], floats(0.25)).unwrap();
        assert_eq!(values.to_f64(), [0.0, 0.25, 0.5, 0.75]);
        for delta in [0.0, -1.0, f32::NAN, 1e-30] {
            assert!(run_one("Range", &[], floats(delta)).is_err(), "{delta}");
        }
    }

    #[test]
    fn indices_become_rows_or_columns() {
        let inputs = |depth| vec![i32s(&[3], &[1, -1, 0]), int(depth), int(5), int(0)];
        let rows = run_one("OneHot", &[], inputs(2)).unwrap();
        assert_eq!(rows.integers().unwrap(), [0, 5, 0, 0, 5, 0]);
        let columns = run_one("OneHot", &[("axis", Attr::Int(0))], inputs(2)).unwrap();
        assert_eq!(columns.shape(), [2, 3]);
        assert_eq!(columns.integers().unwrap(), [0, 0, 5, 5, 0, 0]);
        assert!(run_one("OneHot", &[], inputs(i32::MAX)).is_err());
        assert!(run_one("OneHot", &[], inputs(-1)).is_err());
        assert!(run_one("OneHot", &[("axis", Attr::Int(2))], inputs(1)).is_err());
    }

    #[test]
    fn shapes_from_values_are_limited() {
        let fill = |shape: &[i32]| run_one("Fill", &[], vec![i32s(&[shape.len()], shape), int(7)]);
        assert_eq!(fill(&[2, 2]).unwrap().integers().unwrap(), [7; 4]);
        assert_eq!(fill(&[]).unwrap().integers().unwrap(), [7]);
        assert!(fill(&[i32::MAX, i32::MAX, i32::MAX]).is_err());
        assert!(fill(&[-1]).is_err());
        assert!(fill(&[1; 20]).is_err());
    }
}
