//! Rows distributed to other arrays by indices, and bands of matrices.

use super::index::flat_indices;
use super::kernel::Kernel::{Many, One};
use super::kernel::{Call, Pair, Table, exactly, pair, same_type, size, sizes, wrong_type};
use super::number::Number;
use crate::array::{Array, ArrayType, Element, Values, each};
use crate::failure::{Failure, invalid};
use crate::strided;

pub(super) const TABLE: Table = &[
    ("DynamicPartition", Many(dynamic_partition)),
    ("DynamicStitch", One(dynamic_stitch)),
    ("MatrixBandPart", One(matrix_band_part)),
    ("ParallelDynamicStitch", One(dynamic_stitch)),
    ("ScatterNd", One(scatter_nd)),
    ("TensorScatterAdd", One(tensor_scatter_add)),
    ("TensorScatterUpdate", One(tensor_scatter_update)),
];

fn dynamic_partition(call: &Call<'_>, inputs: Vec<Array>) -> Result<Vec<Array>, Failure> {
    let [data, partitions] = exactly(inputs)?;
    let count = size(call.integer("num_partitions").unwrap_or(0))?;
    if !data.shape().starts_with(partitions.shape()) {
        return invalid(format!(
            "partitions of shape {:?} do not fit {:?}",
            partitions.shape(),
            data.shape()
        ));
    }
    if count > 1 << 16 {
        return invalid(format!("there are {count} partitions"));
    }
    let inner = &data.shape()[partitions.rank()..];
    let mut rows = vec![Vec::new(); count];
    call.meter.room::<[usize; 2]>(partitions.shape())?;
    for (row, &partition) in partitions.integers()?.iter().enumerate() {
        match usize::try_from(partition)
            .ok()
            .and_then(|partition| rows.get_mut(partition))
        {
            Some(rows) => rows.push(row),
            None => return invalid(format!("there is no partition {partition} of {count}")),
        }
    }
    each!(&data, values => {
        room_for(call, values)?;
        rows.iter().map(|rows| chosen(values, rows, inner)).collect()
    })
}

fn room_for<T: Element>(call: &Call<'_>, values: &Values<T>) -> Result<(), Failure> {
    call.meter.room::<T>(values.shape()).map(|_| ())
}

/// Returns some rows of an array; the caller has checked that all rows fit into memory.
fn chosen<T: Element>(
    values: &Values<T>,
    rows: &[usize],
    inner: &[usize],
) -> Result<Array, Failure> {
    let source = strided::slice(values)?;
    let len: usize = inner.iter().product();
    let chosen = rows
        .iter()
        .flat_map(|row| &source[row * len..(row + 1) * len]);
    let shape = [&[rows.len()], inner].concat();
    strided::array(&shape, chosen.copied().collect())
}

fn dynamic_stitch(call: &Call<'_>, mut inputs: Vec<Array>) -> Result<Array, Failure> {
    if inputs.is_empty() || !inputs.len().is_multiple_of(2) {
        return invalid("the number of inputs is not even");
    }
    let data = same_type(inputs.split_off(inputs.len() / 2))?;
    let mut indices = Vec::new();
    let mut rows = 0;
    for array in &inputs {
        let own = array.integers()?.into_iter().map(size);
        let own = own.collect::<Result<Vec<_>, _>>()?;
        rows = own
            .iter()
            .fold(rows, |rows, index| index.saturating_add(1).max(rows));
        indices.push(own);
    }
    let inner = data[0]
        .shape()
        .get(inputs[0].rank()..)
        .unwrap_or_default()
        .to_vec();
    for (indices, data) in std::iter::zip(&inputs, &data) {
        if data.shape() != [indices.shape(), &inner].concat() {
            return invalid(format!(
                "indices of shape {:?} do not fit {:?}",
                indices.shape(),
                data.shape()
            ));
        }
    }
    let shape = [&[rows], &inner[..]].concat();
    match data[0].dtype() {
        ArrayType::Float32 => stitch::<f32>(call, &indices, data, &shape),
        ArrayType::Float64 => stitch::<f64>(call, &indices, data, &shape),
        ArrayType::Int32 => stitch::<i32>(call, &indices, data, &shape),
        ArrayType::Int64 => stitch::<i64>(call, &indices, data, &shape),
        ArrayType::Bool => stitch::<bool>(call, &indices, data, &shape),
    }
}

/// Writes rows to their indices; of rows with the same index the last one stays, and rows that no index
/// names are zero.
fn stitch<T: Element>(
    call: &Call<'_>,
    indices: &[Vec<usize>],
    data: Vec<Array>,
    shape: &[usize],
) -> Result<Array, Failure> {
    let mut target = vec![T::default(); call.meter.room::<T>(shape)?];
    let row: usize = shape[1..].iter().product();
    for (indices, data) in std::iter::zip(indices, data.into_iter().filter_map(T::unwrap)) {
        let source = strided::slice(&data)?;
        for (n, &index) in indices.iter().enumerate() {
            target[index * row..(index + 1) * row].copy_from_slice(&source[n * row..(n + 1) * row]);
        }
    }
    strided::array(shape, target)
}

fn scatter_nd(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    let [indices, updates, shape] = exactly(inputs)?;
    let shape = sizes(&shape)?;
    match updates {
        Array::Float32(updates) => scatter_to_zeros(call, &indices, &updates, &shape),
        Array::Float64(updates) => scatter_to_zeros(call, &indices, &updates, &shape),
        Array::Int32(updates) => scatter_to_zeros(call, &indices, &updates, &shape),
        Array::Int64(updates) => scatter_to_zeros(call, &indices, &updates, &shape),
        Array::Bool(_) => wrong_type(updates.dtype()),
    }
}

fn scatter_to_zeros<T: Number>(
    call: &Call<'_>,
    indices: &Array,
    updates: &Values<T>,
    shape: &[usize],
) -> Result<Array, Failure> {
    let target = vec![T::ZERO; call.meter.room::<T>(shape)?];
    scatter(shape, target, indices, updates, T::plus)
}

fn tensor_scatter_add(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    let [tensor, indices, updates] = exactly(inputs)?;
    match pair(tensor, updates)? {
        Pair::Float32(a, b) => scatter_to(call, a, &indices, &b, Number::plus),
        Pair::Float64(a, b) => scatter_to(call, a, &indices, &b, Number::plus),
        Pair::Int32(a, b) => scatter_to(call, a, &indices, &b, Number::plus),
        Pair::Int64(a, b) => scatter_to(call, a, &indices, &b, Number::plus),
        Pair::Bool(..) => wrong_type(ArrayType::Bool),
    }
}

fn tensor_scatter_update(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    let [tensor, indices, updates] = exactly(inputs)?;
    match pair(tensor, updates)? {
        Pair::Float32(a, b) => scatter_to(call, a, &indices, &b, |_, new| new),
        Pair::Float64(a, b) => scatter_to(call, a, &indices, &b, |_, new| new),
        Pair::Int32(a, b) => scatter_to(call, a, &indices, &b, |_, new| new),
        Pair::Int64(a, b) => scatter_to(call, a, &indices, &b, |_, new| new),
        Pair::Bool(a, b) => scatter_to(call, a, &indices, &b, |_, new| new),
    }
}

fn scatter_to<T: Element>(
    call: &Call<'_>,
    tensor: Values<T>,
    indices: &Array,
    updates: &Values<T>,
    function: impl Fn(T, T) -> T,
) -> Result<Array, Failure> {
    let shape = tensor.shape().to_vec();
    let target = match strided::take_buffer(tensor) {
        Ok(buffer) => buffer,
        Err(shared) => {
            call.meter.room::<T>(&shape)?;
            strided::slice(&shared)?.to_vec()
        }
    };
    scatter(&shape, target, indices, updates, function)
}

/// Combines the parts of an array that index vectors name with updates.
fn scatter<T: Element>(
    shape: &[usize],
    mut target: Vec<T>,
    indices: &Array,
    updates: &Values<T>,
    function: impl Fn(T, T) -> T,
) -> Result<Array, Failure> {
    let Some((&depth, outer)) = indices.shape().split_last() else {
        return invalid("the indices are a scalar");
    };
    let inner = shape.get(depth..).unwrap_or_default();
    if depth > shape.len() || updates.shape() != [outer, inner].concat() {
        return invalid(format!(
            "indices {:?} and updates {:?} do not fit {shape:?}",
            indices.shape(),
            updates.shape()
        ));
    }
    let row: usize = inner.iter().product();
    let updates = strided::slice(updates)?;
    for (n, at) in flat_indices(indices, &shape[..depth])?
        .into_iter()
        .enumerate()
    {
        let row_target = &mut target[at * row..(at + 1) * row];
        for (x, &new) in std::iter::zip(row_target, &updates[n * row..(n + 1) * row]) {
            *x = function(*x, new);
        }
    }
    strided::array(shape, target)
}

fn matrix_band_part(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    let [input, lower, upper] = exactly(inputs)?;
    let (lower, upper) = (lower.integer()?, upper.integer()?);
    each!(input, values => band(call, values, lower, upper))
}

/// Keeps the diagonal and some diagonals below and above it; negative numbers keep all.
fn band<T: Element>(
    call: &Call<'_>,
    values: Values<T>,
    lower: i64,
    upper: i64,
) -> Result<Array, Failure> {
    let shape = values.shape().to_vec();
    let [.., rows, columns] = shape[..] else {
        return invalid(format!("{shape:?} is not the shape of matrices"));
    };
    let mut target = match strided::take_buffer(values) {
        Ok(buffer) => buffer,
        Err(shared) => {
            call.meter.room::<T>(&shape)?;
            strided::slice(&shared)?.to_vec()
        }
    };
    if target.is_empty() {
        return strided::array(&shape, target);
    }
    for matrix in target.chunks_exact_mut(rows * columns) {
        for (row, elements) in matrix.chunks_exact_mut(columns).enumerate() {
            for (column, x) in elements.iter_mut().enumerate() {
                let below = row.checked_sub(column).map(|n| n as u64);
                let above = column.checked_sub(row).map(|n| n as u64);
                let is_cut = |distance: Option<u64>, limit: i64| {
                    u64::try_from(limit).is_ok_and(|limit| distance > Some(limit))
                };
                if is_cut(below, lower) || is_cut(above, upper) {
                    *x = T::default();
                }
            }
        }
    }
    strided::array(&shape, target)
}

#[cfg(test)]
mod tests {
    use testkit::graph_writer::Attr;

    use super::super::tests::{i32s, run, run_one};

    #[test]
    fn rows_are_distributed_and_put_together_again() {
        let rows = i32s(&[3, 2], &[1, 2, 3, 4, 5, 6]);
        let attrs = [("num_partitions", Attr::Int(2))];
        let parts = run(
            "DynamicPartition",
            &attrs,
            vec![rows.clone(), i32s(&[3], &[1, 0, 1])],
        )
        .unwrap();
        assert_eq!(parts[1].integers().unwrap(), [1, 2, 5, 6]);
        let places = [i32s(&[1], &[1]), i32s(&[2], &[0, 2])];
        let joined = run_one("DynamicStitch", &[], [places.to_vec(), parts].concat()).unwrap();
        assert_eq!(joined.integers().unwrap(), rows.integers().unwrap());
        let partitions = i32s(&[3], &[1, 0, 2]);
        assert!(run("DynamicPartition", &attrs, vec![rows.clone(), partitions]).is_err());
        let far = i32s(&[3], &[0, 1, i32::MAX]);
        assert!(run("DynamicStitch", &[], vec![far, rows]).is_err());
    }

    #[test]
    fn updates_with_the_same_index_are_added() {
        let scatter = |indices: &[i32], shape: &[i32]| {
            let inputs = vec![
                i32s(&[2, 1], indices),
                i32s(&[2], &[5, 7]),
                i32s(&[shape.len()], shape),
            ];
            run_one("ScatterNd", &[], inputs)
        };
        assert_eq!(
            scatter(&[1, 1], &[3]).unwrap().integers().unwrap(),
            [0, 12, 0]
        );
        assert!(scatter(&[1, 3], &[3]).is_err());
        assert!(scatter(&[0, 1], &[i32::MAX]).is_err());
        assert!(scatter(&[0, 1], &[3, 3]).is_err());
    }

    #[test]
    fn bands_are_kept() {
        let matrix = || i32s(&[2, 3], &[1, 2, 3, 4, 5, 6]);
        let band = |lower, upper| {
            let inputs = vec![matrix(), i32s(&[], &[lower]), i32s(&[], &[upper])];
            run_one("MatrixBandPart", &[], inputs)
                .unwrap()
                .integers()
                .unwrap()
        };
        assert_eq!(band(0, -1), [1, 2, 3, 0, 5, 6]);
        assert_eq!(band(-1, 0), [1, 0, 0, 4, 5, 0]);
        assert_eq!(band(-1, -1), [1, 2, 3, 4, 5, 6]);
    }
}
