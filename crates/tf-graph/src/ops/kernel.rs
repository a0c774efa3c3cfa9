//! The interface of an operation's function, and the checks that most of them need.

use tf_checkpoint::{MetaGraph, NodeId};

use crate::array::{Array, ArrayType, Values};
use crate::failure::{Failure, invalid, unsupported};
use crate::meter::Meter;

/// An operation of a graph, with its attributes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operation<'a> {
    /// The graph.
    pub(crate) graph: &'a MetaGraph,
    /// The node.
    pub(crate) node: NodeId,
}

/// An operation and the limits of its evaluation.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) operation: Operation<'a>,
    pub(super) meter: &'a Meter<'a>,
}

/// The function that computes an operation.
#[derive(Clone, Copy)]
pub(super) enum Kernel {
    /// With one output.
    One(fn(&Call<'_>, Vec<Array>) -> Result<Array, Failure>),
    /// With any number of outputs.
    Many(fn(&Call<'_>, Vec<Array>) -> Result<Vec<Array>, Failure>),
}

/// Operations by name.
pub(super) type Table = &'static [(&'static str, Kernel)];

impl Call<'_> {
    /// Returns an integer attribute; `None` if it is missing.
    pub(super) fn integer(&self, key: &str) -> Option<i64> {
        self.operation.graph.find_integer(self.operation.node, key)
    }

    /// Returns a boolean attribute; false if it is missing.
    pub(super) fn flag(&self, key: &str) -> bool {
        self.operation.graph.flag(self.operation.node, key)
    }

    /// Returns a boolean attribute; `default` if it is missing.
    pub(super) fn flag_or(&self, key: &str, default: bool) -> bool {
        // Every attribute that is present can be read as an integer.
        match self.integer(key) {
            Some(_) => self.flag(key),
            None => default,
        }
    }

    /// Returns a float attribute; `None` if it is missing.
    pub(super) fn float(&self, key: &str) -> Option<f32> {
        self.operation.graph.float(self.operation.node, key)
    }

    /// Returns a string attribute; `None` if it is missing.
    pub(super) fn string(&self, key: &str) -> Option<String> {
        self.operation.graph.string(self.operation.node, key)
    }

    /// Returns a list of integers; `None` if it is missing.
    pub(super) fn integers(&self, key: &str) -> Option<Vec<i64>> {
        self.operation.graph.integers(self.operation.node, key)
    }

    /// Returns the number of a dtype attribute; `None` if it is missing.
    pub(super) fn data_type(&self, key: &str) -> Option<i32> {
        self.operation.graph.data_type(self.operation.node, key)
    }

    /// Returns the type of integers in the output, by a dtype attribute.
    pub(super) fn integer_type(&self, key: &str, default: ArrayType) -> Result<ArrayType, Failure> {
        match self.data_type(key).map(ArrayType::from_proto) {
            None => Ok(default),
            Some(Some(dtype @ (ArrayType::Int32 | ArrayType::Int64))) => Ok(dtype),
            Some(_) => unsupported(format!("attribute \"{key}\" is not an integer type")),
        }
    }

    /// Fails if a string attribute is present and is not one of the supported values.
    pub(super) fn require(&self, key: &str, supported: &[&str]) -> Result<(), Failure> {
        match self.string(key) {
            Some(value) if !supported.contains(&value.as_str()) => {
                unsupported(format!("attribute \"{key}\" is \"{value}\""))
            }
            _ => Ok(()),
        }
    }
}

/// Returns the inputs; an error if their number is not `N`.
pub(super) fn exactly<const N: usize>(inputs: Vec<Array>) -> Result<[Array; N], Failure> {
    inputs
        .try_into()
        .map_err(|inputs: Vec<Array>| wrong_number(inputs.len(), &N.to_string()))
}

/// Returns the first `N` inputs, and the others.
pub(super) fn at_least<const N: usize>(
    mut inputs: Vec<Array>,
) -> Result<([Array; N], Vec<Array>), Failure> {
    if inputs.len() < N {
        return Err(wrong_number(inputs.len(), &format!("at least {N}")));
    }
    let others = inputs.split_off(N);
    Ok((exactly(inputs)?, others))
}

fn wrong_number(found: usize, expected: &str) -> Failure {
    Failure::Invalid(format!("expected {expected} inputs, found {found}"))
}

pub(super) fn wrong_type<T>(found: ArrayType) -> Result<T, Failure> {
    invalid(format!("the operation does not take {found}"))
}

/// Returns the index of an axis that may be counted from the end.
pub(super) fn axis(axis: i64, rank: usize) -> Result<usize, Failure> {
    let rank_signed = i64::try_from(rank).unwrap_or(i64::MAX);
    let index = if axis < 0 { axis + rank_signed } else { axis };
    match usize::try_from(index) {
        Ok(index) if index < rank => Ok(index),
        _ => invalid(format!("axis {axis} does not exist in {rank} axes")),
    }
}

/// Returns the values of an integer array as sizes; an error if one is negative.
pub(super) fn sizes(array: &Array) -> Result<Vec<usize>, Failure> {
    let integers = array.integers()?.into_iter();
    integers.map(size).collect()
}

pub(super) fn size(value: i64) -> Result<usize, Failure> {
    usize::try_from(value).map_err(|_| Failure::Invalid(format!("a size is {value}")))
}

/// Returns the scalar or vector of axes as indices.
pub(super) fn axes(array: &Array, rank: usize) -> Result<Vec<usize>, Failure> {
    let axes = array.integers()?.into_iter();
    axes.map(|value| axis(value, rank)).collect()
}

/// Two arrays of the same type.
pub(super) enum Pair {
    Float32(Values<f32>, Values<f32>),
    Float64(Values<f64>, Values<f64>),
    Int32(Values<i32>, Values<i32>),
    Int64(Values<i64>, Values<i64>),
    Bool(Values<bool>, Values<bool>),
}

/// Pairs two arrays of the same type; float32 beside float64 is widened.
pub(super) fn pair(a: Array, b: Array) -> Result<Pair, Failure> {
    match (a, b) {
        (Array::Float32(a), Array::Float32(b)) => Ok(Pair::Float32(a, b)),
        (Array::Float64(a), Array::Float64(b)) => Ok(Pair::Float64(a, b)),
        (Array::Int32(a), Array::Int32(b)) => Ok(Pair::Int32(a, b)),
        (Array::Int64(a), Array::Int64(b)) => Ok(Pair::Int64(a, b)),
        (Array::Bool(a), Array::Bool(b)) => Ok(Pair::Bool(a, b)),
        (a @ Array::Float32(_), b @ Array::Float64(_))
        | (a @ Array::Float64(_), b @ Array::Float32(_)) => pair(a.widened(), b.widened()),
        (a, b) => invalid(format!("the inputs are {} and {}", a.dtype(), b.dtype())),
    }
}

/// Gives all arrays one type: float32 beside float64 is widened, other mixtures are errors.
pub(super) fn same_type(arrays: Vec<Array>) -> Result<Vec<Array>, Failure> {
    let is = |dtype| arrays.iter().any(|array| array.dtype() == dtype);
    let arrays: Vec<Array> = if is(ArrayType::Float32) && is(ArrayType::Float64) {
        arrays.into_iter().map(Array::widened).collect()
    } else {
        arrays
    };
    let different = |pair: &[Array]| pair[0].dtype() != pair[1].dtype();
    match arrays.windows(2).find(|pair| different(pair)) {
        Some(pair) => invalid(format!(
            "the inputs are {} and {}",
            pair[0].dtype(),
            pair[1].dtype()
        )),
        None => Ok(arrays),
    }
}
