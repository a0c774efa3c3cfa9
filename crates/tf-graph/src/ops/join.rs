//! Arrays joined along an axis, and cut into parts.

use super::kernel::Kernel::{Many, One};
use super::kernel::{Call, Table, at_least, axis, exactly, same_type, size};
use crate::array::{Array, ArrayType, Element, Values, each};
use crate::failure::{Failure, invalid};
use crate::strided::{self, Strided, copy, signed};

pub(super) const TABLE: Table = &[
    ("Concat", One(concat_v1)),
    ("ConcatV2", One(concat_v2)),
    ("Pack", One(pack)),
    ("ParallelConcat", One(concat_rows)),
    ("Split", Many(split)),
    ("SplitV", Many(split_v)),
    ("Unpack", Many(unpack)),
];

fn concat_v1(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    let ([along], arrays) = at_least(inputs)?;
    concat(call, arrays, along.integer()?)
}

fn concat_v2(call: &Call<'_>, mut inputs: Vec<Array>) -> Result<Array, Failure> {
    let Some(along) = inputs.pop() else {
        return invalid("there are no inputs");
    };
    concat(call, inputs, along.integer()?)
}

fn concat_rows(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    concat(call, inputs, 0)
}

fn pack(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    let along = call.integer("axis").unwrap_or(0);
    let Some(first) = inputs.first() else {
        return invalid("there are no inputs");
    };
    let axis = axis(along, first.rank() + 1)?;
    let mut shape = first.shape().to_vec();
    if let Some(other) = inputs.iter().find(|input| input.shape() != shape) {
        return invalid(format!(
            "the shapes {shape:?} and {:?} differ",
            other.shape()
        ));
    }
    shape.insert(axis, 1);
    let inputs = inputs.into_iter().map(|input| input.reshape(&shape));
    concat(call, inputs.collect::<Result<_, _>>()?, along)
}

fn concat(call: &Call<'_>, arrays: Vec<Array>, along: i64) -> Result<Array, Failure> {
    let arrays = same_type(arrays)?;
    let Some(first) = arrays.first() else {
        return invalid("there are no inputs");
    };
    let axis = axis(along, first.rank())?;
    match first.dtype() {
        ArrayType::Float32 => concat_values::<f32>(call, arrays, axis),
        ArrayType::Float64 => concat_values::<f64>(call, arrays, axis),
        ArrayType::Int32 => concat_values::<i32>(call, arrays, axis),
        ArrayType::Int64 => concat_values::<i64>(call, arrays, axis),
        ArrayType::Bool => concat_values::<bool>(call, arrays, axis),
    }
}

fn concat_values<T: Element>(
    call: &Call<'_>,
    arrays: Vec<Array>,
    axis: usize,
) -> Result<Array, Failure> {
    let arrays: Vec<Values<T>> = arrays.into_iter().filter_map(T::unwrap).collect();
    let Some(first) = arrays.first() else {
        return invalid("there are no inputs");
    };
    let mut shape = first.shape().to_vec();
    let mut len = 0_usize;
    for array in &arrays {
        let own = array.shape().get(axis).copied().unwrap_or(0);
        let mut expected = shape.clone();
        expected[axis] = own;
        if array.shape() != expected {
            return invalid(format!(
                "the shapes {:?} and {:?} do not fit along axis {axis}",
                first.shape(),
                array.shape()
            ));
        }
        len = len.saturating_add(own);
    }
    shape[axis] = len;
    let mut target = Vec::with_capacity(call.meter.room::<T>(&shape)?);
    let sources: Vec<(&[T], usize)> = arrays
        .iter()
        .map(|array| {
            let block: usize = array.shape()[axis..].iter().product();
            Ok((strided::slice(array)?, block))
        })
        .collect::<Result<_, Failure>>()?;
    for outer in 0..shape[..axis].iter().product::<usize>() {
        for (source, block) in &sources {
            target.extend_from_slice(&source[outer * block..(outer + 1) * block]);
        }
    }
    strided::array(&shape, target)
}

/// Cuts an array into parts of these lengths.
fn cut(
    call: &Call<'_>,
    input: &Array,
    axis: usize,
    lengths: &[usize],
) -> Result<Vec<Array>, Failure> {
    each!(input, values => room_for(call, values))?;
    let mut part = Strided::whole(input.shape());
    let mut parts = Vec::with_capacity(lengths.len());
    let mut end = 0;
    for &len in lengths {
        part.axes[axis].len = len;
        part.start = signed(end)
            .wrapping_mul(part.axes[axis].step)
            .unsigned_abs();
        parts.push(each!(input, values => {
            Element::wrap(copy(values, &part, call.meter)?)
        }));
        end += len;
    }
    Ok(parts)
}

/// Checks that the parts fit into memory together.
fn room_for<T: Element>(call: &Call<'_>, values: &Values<T>) -> Result<(), Failure> {
    call.meter.room::<T>(values.shape()).map(|_| ())
}

fn split(call: &Call<'_>, inputs: Vec<Array>) -> Result<Vec<Array>, Failure> {
    let [along, input] = exactly(inputs)?;
    let axis = axis(along.integer()?, input.rank())?;
    let count = size(call.integer("num_split").unwrap_or(0))?;
    let len = input.shape()[axis];
    if count == 0 || count > len.max(1) || !len.is_multiple_of(count) {
        return invalid(format!("cannot cut {len} into {count} equal parts"));
    }
    cut(call, &input, axis, &vec![len / count; count])
}

fn split_v(call: &Call<'_>, inputs: Vec<Array>) -> Result<Vec<Array>, Failure> {
    let [input, lengths, along] = exactly(inputs)?;
    let axis = axis(along.integer()?, input.rank())?;
    let len = input.shape()[axis];
    let mut integers = lengths.integers()?;
    let known = integers.iter().filter(|&&len| len != -1);
    let known = known.map(|&len| size(len)).try_fold(0_usize, |sum, len| {
        Ok::<_, Failure>(sum.saturating_add(len?))
    })?;
    let unknown = integers.iter().filter(|&&len| len == -1).count();
    match len.checked_sub(known) {
        Some(0) if unknown == 0 => {}
        Some(rest) if unknown == 1 => {
            let rest = i64::try_from(rest).unwrap_or(i64::MAX);
            integers
                .iter_mut()
                .filter(|len| **len == -1)
                .for_each(|len| *len = rest);
        }
        _ => return invalid(format!("cannot cut {len} into parts of {integers:?}")),
    }
    let lengths = integers
        .into_iter()
        .map(size)
        .collect::<Result<Vec<_>, _>>()?;
    cut(call, &input, axis, &lengths)
}

fn unpack(call: &Call<'_>, inputs: Vec<Array>) -> Result<Vec<Array>, Failure> {
    let [input] = exactly(inputs)?;
    let axis = axis(call.integer("axis").unwrap_or(0), input.rank())?;
    let mut shape = input.shape().to_vec();
    let count = shape.remove(axis);
    if call
        .integer("num")
        .is_some_and(|num| size(num) != Ok(count))
    {
        return invalid(format!("the length of axis {axis} is {count}"));
    }
    // The number of outputs is not limited by the memory of empty arrays.
    if input.is_empty() {
        return invalid("an empty array is not unpacked");
    }
    let parts = cut(call, &input, axis, &vec![1; count])?;
    parts.into_iter().map(|part| part.reshape(&shape)).collect()
}

#[cfg(test)]
mod tests {
    use testkit::graph_writer::Attr;

    use super::super::tests::{f32s, i32s, run, run_one};

    #[test]
    fn arrays_are_joined_and_cut() {
        let [a, b] = [i32s(&[2, 1], &[1, 2]), i32s(&[2, 2], &[3, 4, 5, 6])];
        let joined = run_one("ConcatV2", &[], vec![a, b, i32s(&[], &[-1])]).unwrap();
        assert_eq!(joined.shape(), [2, 3]);
        assert_eq!(joined.integers().unwrap(), [1, 3, 4, 2, 5, 6]);
        let inputs = vec![joined.clone(), i32s(&[2], &[1, -1]), i32s(&[], &[1])];
        let parts = run("SplitV", &[], inputs).unwrap();
        assert_eq!(parts[1].integers().unwrap(), [3, 4, 5, 6]);
        let attrs = [("num_split", Attr::Int(3))];
        let parts = run("Split", &attrs, vec![i32s(&[], &[1]), joined.clone()]).unwrap();
        assert_eq!((parts.len(), parts[2].integers().unwrap()), (3, vec![4, 6]));
        let attrs = [("num", Attr::Int(3)), ("axis", Attr::Int(1))];
        let parts = run("Unpack", &attrs, vec![joined]).unwrap();
        assert_eq!(
            (parts[0].shape(), parts[0].integers().unwrap()),
            (&[2][..], vec![1, 2])
        );
        let packed = run_one("Pack", &[("axis", Attr::Int(-1))], parts).unwrap();
        assert_eq!(packed.shape(), [2, 3]);
        assert_eq!(packed.integers().unwrap(), [1, 3, 4, 2, 5, 6]);
    }

    #[test]
    fn parts_that_do_not_fit_are_errors() {
        let row = || i32s(&[1, 2], &[1, 2]);
        let axis = || i32s(&[], &[0]);
        let other = i32s(&[1, 3], &[1, 2, 3]);
        assert!(run("ConcatV2", &[], vec![row(), other, axis()]).is_err());
        assert!(
            run(
                "ConcatV2",
                &[],
                vec![row(), f32s(&[1, 2], &[0.0; 2]), axis()]
            )
            .is_err()
        );
        assert!(run("ConcatV2", &[], vec![axis(), axis(), axis()]).is_err());
        assert!(run("ConcatV2", &[], vec![axis()]).is_err());
        assert!(run("ConcatV2", &[], vec![]).is_err());
        assert!(run("Pack", &[], vec![]).is_err());
        for count in [0, -1, 3, i64::MAX] {
            let attrs = [("num_split", Attr::Int(count))];
            assert!(run("Split", &attrs, vec![axis(), row()]).is_err());
        }
        for lengths in [
            &[1, 2][..],
            &[-1, -1],
            &[3],
            &[-2, 3],
            &[i32::MAX, i32::MAX],
        ] {
            let lengths = i32s(&[lengths.len()], lengths);
            assert!(run("SplitV", &[], vec![row(), lengths, i32s(&[], &[1])]).is_err());
        }
        assert!(run("Unpack", &[("num", Attr::Int(2))], vec![row()]).is_err());
        assert!(run("Unpack", &[], vec![axis()]).is_err());
    }
}
