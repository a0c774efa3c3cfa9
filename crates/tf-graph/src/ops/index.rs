//! Elements looked up by their index, and indices looked up by their element.

use std::cmp::Ordering;

use super::kernel::Kernel::{Many, One};
use super::kernel::{Call, Table, at_least, axis, exactly, size, wrong_type};
use crate::array::{Array, ArrayType, Element, Values, each};
use crate::failure::{Failure, invalid};
use crate::parallel::for_each_row;
use crate::strided::{self, Strided};

pub(super) const TABLE: Table = &[
    ("ArgMax", One(arg_max)),
    ("ArgMin", One(arg_min)),
    ("Gather", One(gather_rows)),
    ("GatherNd", One(gather_nd)),
    ("GatherV2", One(gather_along)),
    ("InvertPermutation", One(invert_permutation)),
    ("ResourceGather", One(gather_rows)),
    ("ResourceGatherNd", One(gather_nd)),
    ("TopK", Many(top_k)),
    ("TopKV2", Many(top_k)),
    ("Where", One(positions)),
];

/// Returns an index if it lies within an axis.
fn within(index: i64, len: usize) -> Result<usize, Failure> {
    match usize::try_from(index) {
        Ok(index) if index < len => Ok(index),
        _ => invalid(format!("index {index} is outside an axis of length {len}")),
    }
}

fn gather_rows(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    let [table, indices] = exactly(inputs)?;
    let batch = batch_axes(call, &indices)?;
    gather(call, &table, &indices, batch, batch)
}

fn gather_along(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    let [table, indices, along] = exactly(inputs)?;
    let batch = batch_axes(call, &indices)?;
    let axis = axis(along.integer()?, table.rank())?;
    gather(call, &table, &indices, axis, batch)
}

fn batch_axes(call: &Call<'_>, indices: &Array) -> Result<usize, Failure> {
    match call.integer("batch_dims").unwrap_or(0) {
        0 => Ok(0),
        // As many as there are axes is possible too.
        count => axis(count, indices.rank() + usize::from(count > 0)),
    }
}

fn gather(
    call: &Call<'_>,
    table: &Array,
    indices: &Array,
    axis: usize,
    batch: usize,
) -> Result<Array, Failure> {
    let fits = axis < table.rank()
        && batch <= axis
        && indices.rank() >= batch
        && indices.shape()[..batch] == table.shape()[..batch];
    if !fits {
        return invalid(format!(
            "cannot look up {:?} in {:?} along axis {axis}",
            indices.shape(),
            table.shape()
        ));
    }
    let len = table.shape()[axis];
    let found = indices
        .integers()?
        .into_iter()
        .map(|index| within(index, len));
    let found = found.collect::<Result<Vec<_>, _>>()?;
    let (before, after) = (&table.shape()[..axis], &table.shape()[axis + 1..]);
    let shape = [before, &indices.shape()[batch..], after].concat();
    let lookup = Lookup {
        indices: found,
        batches: table.shape()[..batch].iter().product(),
        outer: table.shape()[batch..axis].iter().product(),
        len,
        inner: after.iter().product(),
    };
    each!(table, values => lookup.rows(call, values, &shape))
}

/// A lookup in a table `[batches, outer, len, inner]` by indices `[batches, count]`.
struct Lookup {
    indices: Vec<usize>,
    batches: usize,
    outer: usize,
    len: usize,
    inner: usize,
}

impl Lookup {
    fn rows<T: Element>(
        &self,
        call: &Call<'_>,
        table: &Values<T>,
        shape: &[usize],
    ) -> Result<Array, Failure> {
        let room = call.meter.room::<T>(shape)?;
        let table = strided::slice(table)?;
        let mut target = Vec::with_capacity(room);
        if room == 0 {
            return strided::array(shape, target);
        }
        for (batch, indices) in self
            .indices
            .chunks(self.indices.len() / self.batches)
            .enumerate()
        {
            for outer in 0..self.outer {
                let first = (batch * self.outer + outer) * self.len;
                for index in indices {
                    let start = (first + index) * self.inner;
                    target.extend_from_slice(&table[start..start + self.inner]);
                }
            }
        }
        strided::array(shape, target)
    }
}

fn gather_nd(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    let [table, indices] = exactly(inputs)?;
    if call.integer("batch_dims").unwrap_or(0) != 0 {
        return invalid("batch_dims of GatherNd is not implemented");
    }
    let Some((&depth, outer)) = indices.shape().split_last() else {
        return invalid("the indices are a scalar");
    };
    if depth > table.rank() {
        return invalid(format!("indices of {depth} axes for {} axes", table.rank()));
    }
    let (indexed, inner) = table.shape().split_at(depth);
    let shape = [outer, inner].concat();
    let starts = flat_indices(&indices, indexed)?;
    each!(&table, values => copy_rows(call, values, &starts, &shape, inner))
}

/// Returns the position of each index vector in an array of this shape.
pub(super) fn flat_indices(indices: &Array, shape: &[usize]) -> Result<Vec<usize>, Failure> {
    let integers = indices.integers()?;
    if shape.is_empty() {
        let (_, outer) = indices.shape().split_last().unwrap_or((&0, &[]));
        // Vectors of length 0 take no memory: their number is not limited by it.
        let count: usize = outer.iter().product();
        if count > 1 << 24 {
            return invalid(format!("there are {count} empty index vectors"));
        }
        return Ok(vec![0; count]);
    }
    let vectors = integers.chunks_exact(shape.len()).map(|vector| {
        std::iter::zip(vector, shape)
            .try_fold(0, |at, (&index, &len)| Ok(at * len + within(index, len)?))
    });
    vectors.collect()
}

fn copy_rows<T: Element>(
    call: &Call<'_>,
    table: &Values<T>,
    rows: &[usize],
    shape: &[usize],
    inner: &[usize],
) -> Result<Array, Failure> {
    let mut target = Vec::with_capacity(call.meter.room::<T>(shape)?);
    let table = strided::slice(table)?;
    let inner: usize = inner.iter().product();
    for row in rows {
        target.extend_from_slice(&table[row * inner..(row + 1) * inner]);
    }
    strided::array(shape, target)
}

fn arg_max(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    arg(call, inputs, Ordering::Greater)
}

fn arg_min(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    arg(call, inputs, Ordering::Less)
}

/// Returns the index of the first element that no other one exceeds in this direction.
fn arg(call: &Call<'_>, inputs: Vec<Array>, direction: Ordering) -> Result<Array, Failure> {
    let ([input, along], _) = at_least(inputs)?;
    let axis = axis(along.integer()?, input.rank())?;
    let dtype = call.integer_type("output_type", ArrayType::Int64)?;
    let mut shape = input.shape().to_vec();
    let len = shape.remove(axis);
    if len == 0 {
        return invalid("the axis is empty");
    }
    call.meter.room::<i64>(&shape)?;
    let mut part = Strided::whole(input.shape());
    let last = part.axes.remove(axis);
    part.axes.push(last);
    let found = each!(&input, values => {
        let rows = strided::copy(values, &part, call.meter)?;
        let better = |a, b| PartialOrd::partial_cmp(&a, &b) == Some(direction);
        strided::slice(&rows)?.chunks_exact(len).map(|row| {
            let mut best = 0;
            for (at, &x) in row.iter().enumerate() {
                if better(x, row[best]) {
                    best = at;
                }
            }
            best
        }).collect::<Vec<usize>>()
    });
    integers(&shape, found, dtype)
}

/// Returns indices as an array of integers.
fn integers(shape: &[usize], indices: Vec<usize>, dtype: ArrayType) -> Result<Array, Failure> {
    let too_large = |_| Failure::Invalid("an index exceeds its type".to_owned());
    let indices = indices.into_iter();
    if dtype == ArrayType::Int32 {
        let indices = indices.map(i32::try_from).collect::<Result<_, _>>();
        strided::array(shape, indices.map_err(too_large)?)
    } else {
        let indices = indices.map(i64::try_from).collect::<Result<_, _>>();
        strided::array(shape, indices.map_err(too_large)?)
    }
}

fn top_k(call: &Call<'_>, inputs: Vec<Array>) -> Result<Vec<Array>, Failure> {
    let ([input], others) = at_least(inputs)?;
    let k = match (&others[..], call.integer("k")) {
        ([k], _) => k.integer()?,
        ([], Some(k)) => k,
        _ => return invalid("the number of elements is not stated once"),
    };
    let k = size(k)?;
    // Adding 0 makes -0 and 0 equal.
    match &input {
        Array::Float32(values) => largest(call, values, k, |a, b| (a + 0.0).total_cmp(&(b + 0.0))),
        Array::Float64(values) => largest(call, values, k, |a, b| (a + 0.0).total_cmp(&(b + 0.0))),
        Array::Int32(values) => largest(call, values, k, |a, b| a.cmp(&b)),
        Array::Int64(values) => largest(call, values, k, |a, b| a.cmp(&b)),
        Array::Bool(_) => wrong_type(input.dtype()),
    }
}

/// Returns the `k` largest elements of each row and their indices; of equal ones the first comes first.
fn largest<T: Element>(
    call: &Call<'_>,
    values: &Values<T>,
    k: usize,
    order: impl Fn(T, T) -> Ordering + Sync,
) -> Result<Vec<Array>, Failure> {
    let Some((&len, outer)) = values.shape().split_last() else {
        return invalid("a scalar has no rows");
    };
    if k > len {
        return invalid(format!("{k} of {len} elements are requested"));
    }
    let shape = [outer, &[k]].concat();
    call.meter.room::<[i64; 2]>(&shape)?;
    // Each thread sorts the indices of a row.
    call.meter
        .room::<usize>(&[len, rayon::current_num_threads()])?;
    let source = strided::slice(values)?;
    if source.is_empty() || k == 0 {
        let indices = integers(&shape, Vec::new(), ArrayType::Int32)?;
        return Ok(vec![strided::array(&shape, Vec::<T>::new())?, indices]);
    }
    let mut found = vec![0; source.len() / len * k];
    for_each_row(&mut found, k, source.len(), &|number, found| {
        let row = &source[number * len..][..len];
        let mut indices: Vec<usize> = (0..len).collect();
        indices.sort_by(|&a, &b| order(row[b], row[a]));
        found.copy_from_slice(&indices[..k]);
    });
    let chosen = found
        .iter()
        .enumerate()
        .map(|(n, &at)| source[n / k * len + at]);
    let chosen = chosen.collect();
    Ok(vec![
        strided::array(&shape, chosen)?,
        integers(&shape, found, ArrayType::Int32)?,
    ])
}

fn invert_permutation(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    let [input] = exactly(inputs)?;
    let order = input.integers()?;
    call.meter.room::<usize>(&[order.len()])?;
    let mut inverse = vec![usize::MAX; order.len()];
    for (at, &index) in order.iter().enumerate() {
        let place = &mut inverse[within(index, order.len())?];
        if std::mem::replace(place, at) != usize::MAX {
            return invalid(format!("{index} occurs twice in a permutation"));
        }
    }
    integers(&[order.len()], inverse, input.dtype())
}

/// `Where`: the index vectors of elements that are not zero.
fn positions(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    let [input] = exactly(inputs)?;
    let shape = input.shape();
    let found: Vec<usize> = {
        call.meter.room::<usize>(shape)?;
        let values = input.to_f64();
        let set = values.iter().enumerate().filter(|(_, x)| **x != 0.0);
        set.map(|(at, _)| at).collect()
    };
    let result = [found.len(), shape.len()];
    let mut vectors = Vec::with_capacity(call.meter.room::<i64>(&result)?);
    for at in found {
        let mut step: usize = shape.iter().product();
        for &len in shape {
            step /= len;
            vectors.push(at / step % len);
        }
    }
    integers(&result, vectors, ArrayType::Int64)
}

#[cfg(test)]
mod tests {
    use testkit::graph_writer::Attr;

    use super::super::tests::{f32s, i32s, run, run_one};
    use crate::array::Array;
    use crate::failure::Failure;

    fn table() -> Array {
        i32s(&[2, 3], &[0, 1, 2, 10, 11, 12])
    }

    fn values(result: Result<Array, Failure>) -> Vec<i64> {
        result.unwrap().integers().unwrap()
    }

    #[test]
    fn rows_and_columns_are_looked_up() {
        let lookup = |indices: Array, axis, batch| {
            let inputs = vec![table(), indices, i32s(&[], &[axis])];
            run_one("GatherV2", &[("batch_dims", Attr::Int(batch))], inputs)
        };
        assert_eq!(values(lookup(i32s(&[], &[1]), 0, 0)), [10, 11, 12]);
        assert_eq!(values(lookup(i32s(&[2], &[2, 0]), -1, 0)), [2, 0, 12, 10]);
        let batched = lookup(i32s(&[2, 1], &[2, 0]), 1, 1).unwrap();
        assert_eq!(
            (batched.shape(), batched.integers().unwrap()),
            (&[2, 1][..], vec![2, 10])
        );
        assert_eq!(values(lookup(i32s(&[2], &[2, 0]), 1, 1)), [2, 10]);
        for (indices, axis, batch) in [
            (2, 0, 0),
            (-1, 0, 0),
            (0, 2, 0),
            (0, 0, 1),
            (0, 1, i64::MAX),
        ] {
            assert!(lookup(i32s(&[1], &[indices]), axis, batch).is_err());
        }
    }

    #[test]
    fn index_vectors_name_parts() {
        let lookup = |indices| run_one("GatherNd", &[], vec![table(), indices]);
        assert_eq!(values(lookup(i32s(&[2, 2], &[1, 2, 0, 0]))), [12, 0]);
        assert_eq!(values(lookup(i32s(&[1], &[1]))), [10, 11, 12]);
        assert_eq!(lookup(i32s(&[2, 0], &[])).unwrap().shape(), [2, 2, 3]);
        assert!(lookup(i32s(&[2], &[0, 3])).is_err());
        assert!(lookup(i32s(&[3], &[0, 0, 0])).is_err());
        assert!(lookup(i32s(&[], &[0])).is_err());
    }

    #[test]
    fn the_first_of_equal_elements_is_found() {
        let row = || f32s(&[4], &[1.0, 3.0, -0.0, 3.0]);
        assert_eq!(
            values(run_one("ArgMax", &[], vec![row(), i32s(&[], &[0])])),
            [1]
        );
        let mut outputs = run("TopKV2", &[], vec![row(), i32s(&[], &[3])]).unwrap();
        assert_eq!(values(Ok(outputs.remove(1))), [1, 3, 0]);
        assert_eq!(outputs[0].to_f64(), [3.0, 3.0, 1.0]);
        assert!(run("TopKV2", &[], vec![row(), i32s(&[], &[5])]).is_err());
        assert_eq!(values(run_one("Where", &[], vec![row()])), [0, 1, 3]);
    }

    #[test]
    fn permutations_are_inverted() {
        let invert =
            |order: &[i32]| run_one("InvertPermutation", &[], vec![i32s(&[order.len()], order)]);
        assert_eq!(values(invert(&[2, 0, 1])), [1, 2, 0]);
        assert!(invert(&[0, 0, 1]).is_err());
        assert!(invert(&[0, 3, 1]).is_err());
    }
}
