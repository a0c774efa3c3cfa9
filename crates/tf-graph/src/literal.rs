//! Arrays from constants of a graph, and from values that a caller has.

use ndarray::{ArrayD, Axis, IxDyn};
use tf_checkpoint::Literal;

use crate::array::{Array, ArrayType, each};
use crate::failure::Failure;
use crate::meter::Meter;

impl Array {
    /// Returns the value of a constant. A list of values that is shorter than the tensor is continued with
    /// its last one, an empty list with zeros.
    pub(crate) fn from_literal(literal: &Literal, meter: &Meter<'_>) -> Result<Self, Failure> {
        let kind = ArrayType::from_proto(literal.dtype).ok_or_else(|| {
            Failure::Unsupported(format!("the dtype {} is not supported", literal.dtype))
        })?;
        // A float64 is the largest element.
        let len = meter.room::<f64>(&literal.shape)?;
        if literal.values.len() > len {
            return Err(Failure::Invalid(format!(
                "the constant has {} values for the shape {:?}",
                literal.values.len(),
                literal.shape
            )));
        }
        let last = literal.values.last().copied().unwrap_or(0.0);
        let mut values = literal.values.clone();
        values.resize(len, last);
        Self::of_type(kind, &literal.shape, values)
    }

    /// Returns an array of floats in float32.
    ///
    /// # Errors
    /// If the number of values does not fit the shape.
    pub fn from_floats(shape: &[usize], values: Vec<f32>) -> Result<Self, Failure> {
        array(shape, values).map(Self::from)
    }

    /// Returns an array of any type from row-major numbers, which are rounded to the type; a boolean is
    /// true if its number is not 0.
    ///
    /// # Errors
    /// If the number of values does not fit the shape.
    pub fn of_type(kind: ArrayType, shape: &[usize], values: Vec<f64>) -> Result<Self, Failure> {
        fn converted<T>(
            shape: &[usize],
            values: Vec<f64>,
            convert: impl Fn(f64) -> T,
        ) -> Result<Array, Failure>
        where
            Array: From<ArrayD<T>>,
        {
            let values = values.into_iter().map(convert).collect();
            array(shape, values).map(Array::from)
        }
        #[allow(clippy::cast_possible_truncation, reason = "documented")]
        match kind {
            ArrayType::Float32 => converted(shape, values, |value| value as f32),
            ArrayType::Float64 => converted(shape, values, |value| value),
            ArrayType::Int32 => converted(shape, values, |value| value as i32),
            ArrayType::Int64 => converted(shape, values, |value| value as i64),
            ArrayType::Bool => converted(shape, values, |value| value != 0.0),
        }
    }

    /// Returns an array of one axis.
    pub(crate) fn of_integers(values: Vec<i64>) -> Self {
        ArrayD::from_shape_vec(IxDyn(&[values.len()]), values)
            .expect("as many values as the axis is long")
            .into()
    }

    /// Returns a scalar.
    pub(crate) fn scalar_of(kind: ArrayType, value: f64) -> Self {
        Self::of_type(kind, &[], vec![value]).expect("a scalar has one value")
    }

    /// Returns the value of an array of one element.
    pub fn scalar(&self) -> Option<f64> {
        match self.to_f64()[..] {
            [value] if self.len() == 1 => Some(value),
            _ => None,
        }
    }

    /// Returns an array with `n` copies of the first slice along an axis.
    pub(crate) fn repeat_first(&self, axis: usize, n: usize) -> Self {
        let indices = vec![0; n];
        each!(self, values => values.select(Axis(axis), &indices).into())
    }
}

fn array<T>(shape: &[usize], values: Vec<T>) -> Result<ArrayD<T>, Failure> {
    let len = values.len();
    ArrayD::from_shape_vec(IxDyn(shape), values)
        .map_err(|_| Failure::Invalid(format!("{len} values do not fit the shape {shape:?}")))
}
