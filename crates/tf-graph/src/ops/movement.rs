//! Elements moved to other places: transposed, sliced, repeated, padded.

use super::broadcast::common_shape;
use super::kernel::Kernel::One;
use super::kernel::{Call, Table, at_least, axes, exactly, same_type, sizes};
use crate::array::{Array, Element, Values, each};
use crate::failure::{Failure, invalid};
use crate::strided::{self, Strided, StridedAxis, copy, signed};

pub(super) const TABLE: Table = &[
    ("BroadcastTo", One(broadcast_to)),
    ("Pad", One(pad)),
    ("PadV2", One(pad)),
    ("ReverseV2", One(reverse)),
    ("Slice", One(slice)),
    ("Tile", One(tile)),
    ("Transpose", One(transpose)),
];

fn copied(call: &Call<'_>, input: &Array, part: &Strided) -> Result<Array, Failure> {
    each!(input, values => copy(values, part, call.meter).map(Element::wrap))
}

fn transpose(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    let [input, order] = exactly(inputs)?;
    let order = axes(&order, input.rank())?;
    let mut is_taken = vec![false; input.rank()];
    for &axis in &order {
        is_taken[axis] = true;
    }
    if order.len() != input.rank() || is_taken.contains(&false) {
        return invalid(format!(
            "{order:?} is not an order of {} axes",
            input.rank()
        ));
    }
    // Axes of length 1 may move freely: the order of the elements is the same.
    let long = order.iter().filter(|&&axis| input.shape()[axis] != 1);
    if long.is_sorted() {
        let shape: Vec<usize> = order.iter().map(|&axis| input.shape()[axis]).collect();
        return input.reshape(&shape);
    }
    let whole = Strided::whole(input.shape());
    let axes = order.iter().map(|&axis| whole.axes[axis]).collect();
    copied(call, &input, &Strided { start: 0, axes })
}

fn slice(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    let [input, begin, size] = exactly(inputs)?;
    let begin = sizes(&begin)?;
    let size = size.integers()?;
    if begin.len() != input.rank() || size.len() != input.rank() {
        return invalid(format!(
            "{} begins and {} sizes for {} axes",
            begin.len(),
            size.len(),
            input.rank()
        ));
    }
    let mut part = Strided::whole(input.shape());
    for ((axis, &begin), &size) in std::iter::zip(&mut part.axes, &begin).zip(&size) {
        let rest = axis.len.checked_sub(begin);
        let len = if size == -1 {
            rest
        } else {
            usize::try_from(size).ok()
        };
        let fits = |len: &usize| rest.is_some_and(|rest| *len <= rest);
        let Some(len) = len.filter(fits) else {
            let len = axis.len;
            return invalid(format!(
                "a slice from {begin} of length {size} exceeds {len}"
            ));
        };
        axis.len = len;
        // Within the array, unless the slice is empty.
        part.start = part
            .start
            .wrapping_add_signed(signed(begin).wrapping_mul(axis.step));
    }
    if part.shape() == input.shape() {
        return Ok(input);
    }
    copied(call, &input, &part)
}

fn reverse(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    let [input, along] = exactly(inputs)?;
    let mut part = Strided::whole(input.shape());
    let mut is_reversed = vec![false; input.rank()];
    for at in axes(&along, input.rank())? {
        if std::mem::replace(&mut is_reversed[at], true) {
            return invalid(format!("axis {at} is reversed twice"));
        }
        let axis = &mut part.axes[at];
        let last = signed(axis.len.saturating_sub(1));
        part.start = part.start.wrapping_add_signed(last.wrapping_mul(axis.step));
        axis.step = -axis.step;
    }
    copied(call, &input, &part)
}

fn broadcast_to(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    let [input, target] = exactly(inputs)?;
    let target = sizes(&target)?;
    if target.len() < input.rank() || common_shape(input.shape(), &target)? != target {
        return invalid(format!("cannot repeat {:?} to {target:?}", input.shape()));
    }
    let own = Strided::whole(input.shape()).axes;
    let added = target.len() - own.len();
    let axes = target
        .iter()
        .enumerate()
        .map(|(at, &len)| match at.checked_sub(added) {
            Some(at) if own[at].len == len => own[at],
            _ => StridedAxis { len, step: 0 },
        });
    let axes = axes.collect();
    copied(call, &input, &Strided { start: 0, axes })
}

fn tile(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    let [input, counts] = exactly(inputs)?;
    let counts = sizes(&counts)?;
    if counts.len() != input.rank() {
        return invalid(format!("{} counts for {} axes", counts.len(), input.rank()));
    }
    let lengths =
        std::iter::zip(input.shape(), &counts).map(|(len, count)| len.checked_mul(*count));
    let Some(shape) = lengths.collect::<Option<Vec<usize>>>() else {
        return invalid(format!(
            "{:?} repeated {counts:?} times overflows",
            input.shape()
        ));
    };
    // Each axis becomes two: the repetitions and the elements. The first is dropped if there is one.
    let mut axes = Vec::new();
    for (axis, count) in std::iter::zip(Strided::whole(input.shape()).axes, counts) {
        if count != 1 {
            axes.push(StridedAxis {
                len: count,
                step: 0,
            });
        }
        axes.push(axis);
    }
    each!(&input, values => {
        let mut target = vec![Default::default(); room(call, values, &shape)?];
        strided::copy_into(strided::slice(values)?, &Strided { start: 0, axes }, &mut target)?;
        strided::array(&shape, target)
    })
}

fn room<T: Element>(call: &Call<'_>, _: &Values<T>, shape: &[usize]) -> Result<usize, Failure> {
    call.meter.room::<T>(shape)
}

/// Returns the lengths of the paddings before and after each axis.
fn paddings(array: &Array, rank: usize) -> Result<Vec<[usize; 2]>, Failure> {
    let sizes = sizes(array)?;
    let (pairs, rest) = sizes.as_chunks::<2>();
    if pairs.len() != rank || !rest.is_empty() {
        return invalid(format!("{} paddings for {rank} axes", pairs.len()));
    }
    Ok(pairs.to_vec())
}

fn padded_shape(shape: &[usize], paddings: &[[usize; 2]]) -> Result<Vec<usize>, Failure> {
    let lengths = std::iter::zip(shape, paddings)
        .map(|(len, [before, after])| len.checked_add(*before)?.checked_add(*after));
    let overflow = || Failure::Invalid(format!("{shape:?} with paddings {paddings:?} overflows"));
    lengths.collect::<Option<_>>().ok_or_else(overflow)
}

fn pad(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    let ([input, around], value) = at_least(inputs)?;
    let paddings = paddings(&around, input.rank())?;
    let [input, value] = match <[Array; 1]>::try_from(value) {
        Ok([value]) => <[Array; 2]>::try_from(same_type(vec![input, value])?)
            .map_err(|_| Failure::Invalid("two arrays became another number".to_owned()))?,
        Err(value) if value.is_empty() => {
            let value = each!(&input, values => zero(values));
            [input, value]
        }
        Err(_) => return invalid("there are more inputs than three"),
    };
    match (&input, &value) {
        (Array::Float32(a), Array::Float32(b)) => pad_with(call, a, b, &paddings),
        (Array::Float64(a), Array::Float64(b)) => pad_with(call, a, b, &paddings),
        (Array::Int32(a), Array::Int32(b)) => pad_with(call, a, b, &paddings),
        (Array::Int64(a), Array::Int64(b)) => pad_with(call, a, b, &paddings),
        (Array::Bool(a), Array::Bool(b)) => pad_with(call, a, b, &paddings),
        _ => invalid("the inputs differ in type"),
    }
}

fn zero<T: Element>(_: &Values<T>) -> Array {
    T::wrap(ndarray::arr0(T::default()).into_dyn().into_shared())
}

fn pad_with<T: Element>(
    call: &Call<'_>,
    values: &Values<T>,
    padding: &Values<T>,
    paddings: &[[usize; 2]],
) -> Result<Array, Failure> {
    let Some(&padding) = padding.first().filter(|_| padding.len() == 1) else {
        return invalid("the value of the padding is not a scalar");
    };
    let shape = padded_shape(values.shape(), paddings)?;
    let mut target = vec![padding; call.meter.room::<T>(&shape)?];
    let source = strided::slice(values)?;
    let Some((&row, outer)) = values.shape().split_last() else {
        return strided::array(&shape, source.to_vec());
    };
    if source.is_empty() {
        return strided::array(&shape, target);
    }
    for (number, source) in source.chunks_exact(row).enumerate() {
        // The position of the row in the result.
        let (mut rest, mut step) = (number, shape[outer.len()]);
        let mut at = paddings[outer.len()][0];
        for (axis, &len) in outer.iter().enumerate().rev() {
            at += (rest % len + paddings[axis][0]) * step;
            rest /= len;
            step *= shape[axis];
        }
        target[at..at + row].copy_from_slice(source);
    }
    strided::array(&shape, target)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{cube, i32s, list, parts, run_one};

    #[test]
    fn axes_are_transposed() {
        let transpose = |order: &[i32]| run_one("Transpose", &[], vec![cube(), list(order)]);
        let (shape, values) = parts(transpose(&[2, 0, 1]));
        assert_eq!(shape, [3, 2, 2]);
        assert_eq!(values, [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]);
        let (_, values) = parts(transpose(&[1, 0, 2]));
        assert_eq!(values, [0, 1, 2, 6, 7, 8, 3, 4, 5, 9, 10, 11]);
        for order in [&[0, 1][..], &[0, 0, 1], &[0, 1, 3], &[0, 1, 2, 0]] {
            assert!(transpose(order).is_err(), "{order:?}");
        }
    }

    #[test]
    fn slices_lie_within_the_array() {
        let slice = |begin: &[i32], size: &[i32]| {
            run_one("Slice", &[], vec![cube(), list(begin), list(size)])
        };
        assert_eq!(
            parts(slice(&[1, 0, 1], &[1, -1, 2])),
            (vec![1, 2, 2], vec![7, 8, 10, 11])
        );
        assert_eq!(parts(slice(&[2, 0, 0], &[0, 2, 3])).0, [0, 2, 3]);
        for (begin, size) in [
            ([0, 0, 0], [3, 1, 1]),
            ([-1, 0, 0], [1, 1, 1]),
            ([3, 0, 0], [-1, 1, 1]),
            ([1, 0, 0], [i32::MAX, 1, 1]),
            ([0, 0, 0], [-2, 1, 1]),
        ] {
            assert!(slice(&begin, &size).is_err(), "{begin:?} {size:?}");
        }
    }

    #[test]
    fn arrays_are_repeated_and_padded() {
        let row = || i32s(&[1, 2], &[1, 2]);
        let tiled = run_one("Tile", &[], vec![row(), list(&[2, 2])]);
        assert_eq!(parts(tiled), (vec![2, 4], vec![1, 2, 1, 2, 1, 2, 1, 2]));
        let repeated = run_one("BroadcastTo", &[], vec![row(), list(&[2, 2, 2])]);
        assert_eq!(parts(repeated).1, [1, 2, 1, 2, 1, 2, 1, 2]);
        let around = || i32s(&[2, 2], &[1, 0, 0, 2]);
        let padded = run_one("PadV2", &[], vec![row(), around(), i32s(&[], &[9])]);
        assert_eq!(parts(padded), (vec![2, 4], vec![9, 9, 9, 9, 1, 2, 9, 9]));
        let padded = run_one("Pad", &[], vec![row(), around()]);
        assert_eq!(parts(padded).1, [0, 0, 0, 0, 1, 2, 0, 0]);
        let reversed = run_one("ReverseV2", &[], vec![row(), list(&[-1])]);
        assert_eq!(parts(reversed).1, [2, 1]);
        for (op, counts) in [
            ("Tile", list(&[i32::MAX, i32::MAX])),
            ("Tile", list(&[-1, 1])),
            ("Tile", list(&[1])),
            ("BroadcastTo", list(&[i32::MAX, i32::MAX, 2])),
            ("BroadcastTo", list(&[1, 3])),
            ("BroadcastTo", list(&[2])),
            ("Pad", i32s(&[2, 2], &[i32::MAX; 4])),
            ("Pad", i32s(&[2, 2], &[-1; 4])),
            ("ReverseV2", list(&[0, 0])),
        ] {
            assert!(run_one(op, &[], vec![row(), counts]).is_err(), "{op}");
        }
    }
}
