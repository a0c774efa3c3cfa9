//! Shapes as values, and other shapes for the same elements.

use super::broadcast::common_shape;
use super::kernel::Kernel::{Many, One};
use super::kernel::{Call, Table, axis, exactly, size, sizes};
use crate::array::{Array, ArrayType};
use crate::failure::{Failure, invalid};
use crate::meter::MAX_RANK;
use crate::strided;

pub(super) const TABLE: Table = &[
    ("BroadcastArgs", One(broadcast_args)),
    ("ExpandDims", One(expand_dims)),
    ("Rank", One(rank)),
    ("Reshape", One(reshape)),
    ("Shape", One(shape)),
    ("ShapeN", Many(shape_n)),
    ("Size", One(number_of_elements)),
    ("Squeeze", One(squeeze)),
];

/// Returns lengths as an array of integers.
fn lengths(lengths: &[usize], rank: usize, dtype: ArrayType) -> Result<Array, Failure> {
    let shape = if rank == 0 { &[][..] } else { &[lengths.len()] };
    let too_large = |_| Failure::Invalid(format!("a length in {lengths:?} exceeds {dtype}"));
    if dtype == ArrayType::Int64 {
        let lengths = lengths.iter().map(|&len| i64::try_from(len));
        strided::array(shape, lengths.collect::<Result<_, _>>().map_err(too_large)?)
    } else {
        let lengths = lengths.iter().map(|&len| i32::try_from(len));
        strided::array(shape, lengths.collect::<Result<_, _>>().map_err(too_large)?)
    }
}

fn shape(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    let dtype = call.integer_type("out_type", ArrayType::Int32)?;
    let [input] = exactly(inputs)?;
    lengths(input.shape(), 1, dtype)
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "all operations take their inputs by value"
)]
fn shape_n(call: &Call<'_>, inputs: Vec<Array>) -> Result<Vec<Array>, Failure> {
    let dtype = call.integer_type("out_type", ArrayType::Int32)?;
    let shapes = inputs.iter().map(|input| lengths(input.shape(), 1, dtype));
    shapes.collect()
}

fn rank(_: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    let [input] = exactly(inputs)?;
    lengths(&[input.rank()], 0, ArrayType::Int32)
}

fn number_of_elements(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    let dtype = call.integer_type("out_type", ArrayType::Int32)?;
    let [input] = exactly(inputs)?;
    lengths(&[input.len()], 0, dtype)
}

/// Returns the common shape of two shapes.
fn broadcast_args(_: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    let [a, b] = exactly(inputs)?;
    let dtype = a.dtype();
    let common = common_shape(&sizes(&a)?, &sizes(&b)?)?;
    lengths(&common, 1, dtype)
}

fn reshape(_: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    let [input, target] = exactly(inputs)?;
    let target = target.integers()?;
    if target.len() > MAX_RANK {
        return invalid(format!(
            "a shape of {} axes; the most supported is {MAX_RANK}",
            target.len()
        ));
    }
    let mut shape = Vec::with_capacity(target.len());
    let mut unknown = None;
    for (at, &len) in target.iter().enumerate() {
        if len == -1 {
            if unknown.replace(at).is_some() {
                return invalid(format!("the shape {target:?} has several unknown lengths"));
            }
            shape.push(1);
        } else {
            shape.push(size(len)?);
        }
    }
    if let Some(at) = unknown {
        let known = shape
            .iter()
            .try_fold(1_usize, |product, &len| product.checked_mul(len));
        // A length of 0 leaves the unknown one open.
        let known = known.unwrap_or(0);
        if known == 0 || !input.len().is_multiple_of(known) {
            return invalid(format!("cannot reshape {:?} to {target:?}", input.shape()));
        }
        shape[at] = input.len() / known;
    }
    input.reshape(&shape)
}

fn expand_dims(_: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    let [input, at] = exactly(inputs)?;
    let at = axis(at.integer()?, input.rank() + 1)?;
    let mut shape = input.shape().to_vec();
    shape.insert(at, 1);
    input.reshape(&shape)
}

fn squeeze(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    let [input] = exactly(inputs)?;
    let named = call
        .integers("squeeze_dims")
        .or_else(|| call.integers("axis"));
    let named = named.unwrap_or_default();
    let mut is_dropped: Vec<bool> = input
        .shape()
        .iter()
        .map(|&len| len == 1 && named.is_empty())
        .collect();
    for at in named {
        let at = axis(at, input.rank())?;
        if input.shape()[at] != 1 {
            return invalid(format!("axis {at} of {:?} is not 1", input.shape()));
        }
        is_dropped[at] = true;
    }
    let kept = std::iter::zip(input.shape(), is_dropped).filter(|(_, is_dropped)| !is_dropped);
    let shape: Vec<usize> = kept.map(|(&len, _)| len).collect();
    input.reshape(&shape)
}

#[cfg(test)]
mod tests {
    use testkit::graph_writer::Attr;

    use super::super::tests::{f32s, i32s, run, run_one};
    use crate::array::ArrayType;

    #[test]
    fn one_length_may_be_unknown() {
        let reshape = |target: &[i32]| {
            let inputs = vec![f32s(&[2, 3], &[0.0; 6]), i32s(&[target.len()], target)];
            run_one("Reshape", &[], inputs)
        };
        assert_eq!(reshape(&[3, -1]).unwrap().shape(), [3, 2]);
        assert_eq!(reshape(&[-1]).unwrap().shape(), [6]);
        for target in [
            &[4, -1][..],
            &[-1, -1],
            &[-2, 3],
            &[0, -1],
            &[7],
            &[i32::MAX; 15],
            &[1; 40],
        ] {
            assert!(reshape(target).is_err(), "{target:?}");
        }
    }

    #[test]
    fn axes_of_length_1_come_and_go() {
        let input = || f32s(&[1, 2, 1], &[0.0; 2]);
        let squeeze = |attrs: &[(&str, Attr)]| run_one("Squeeze", attrs, vec![input()]);
        assert_eq!(squeeze(&[]).unwrap().shape(), [2]);
        let last = [("squeeze_dims", Attr::List(vec![-1]))];
        assert_eq!(squeeze(&last).unwrap().shape(), [1, 2]);
        assert!(squeeze(&[("squeeze_dims", Attr::List(vec![1]))]).is_err());
        let expanded = run_one("ExpandDims", &[], vec![input(), i32s(&[1], &[-1])]).unwrap();
        assert_eq!(expanded.shape(), [1, 2, 1, 1]);
        assert!(run_one("ExpandDims", &[], vec![input(), i32s(&[], &[4])]).is_err());
    }

    #[test]
    fn shapes_have_the_type_of_the_attribute() {
        let input = || f32s(&[1, 2], &[0.0; 2]);
        let wide = [("out_type", Attr::Type(9))];
        let shape = run_one("Shape", &wide, vec![input()]).unwrap();
        assert_eq!(
            (shape.dtype(), shape.integers().unwrap()),
            (ArrayType::Int64, vec![1, 2])
        );
        let size = run_one("Size", &[], vec![input()]).unwrap();
        assert_eq!((size.rank(), size.integers().unwrap()), (0, vec![2]));
        assert_eq!(run("ShapeN", &[], vec![input(), input()]).unwrap().len(), 2);
        assert!(run_one("Shape", &[("out_type", Attr::Type(1))], vec![input()]).is_err());
    }
}
