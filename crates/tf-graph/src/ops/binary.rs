//! Functions of two values, and sums of many.

use super::broadcast::{combine, zip};
use super::kernel::Kernel::One;
use super::kernel::{Call, Pair, Table, at_least, exactly, pair, wrong_type};
use super::number::Number;
use crate::array::{Array, ArrayType, Element, Values};
use crate::failure::{Failure, invalid};

/// Evaluates an expression for two arrays of floats.
macro_rules! floats {
    (($x:ident, $y:ident) => $body:expr) => {
        One(|call, inputs| {
            let [a, b] = exactly(inputs)?;
            match pair(a, b)? {
                Pair::Float32(a, b) => wrap(combine(call, a, b, |$x: f32, $y: f32| $body)),
                Pair::Float64(a, b) => wrap(combine(call, a, b, |$x: f64, $y: f64| $body)),
                other => wrong_type(other.dtype()),
            }
        })
    };
}

/// Evaluates an expression for two arrays of numbers, after a check of integers.
macro_rules! numbers {
    (($x:ident, $y:ident) => $body:expr) => {
        numbers!(anything, ($x, $y) => $body)
    };
    ($check:ident, ($x:ident, $y:ident) => $body:expr) => {
        One(|call, inputs| {
            let [a, b] = exactly(inputs)?;
            match pair(a, b)? {
                Pair::Float32(a, b) => wrap(combine(call, a, b, |$x: f32, $y: f32| $body)),
                Pair::Float64(a, b) => wrap(combine(call, a, b, |$x: f64, $y: f64| $body)),
                Pair::Int32(a, b) => {
                    $check(&b)?;
                    wrap(combine(call, a, b, |$x: i32, $y: i32| $body))
                }
                Pair::Int64(a, b) => {
                    $check(&b)?;
                    wrap(combine(call, a, b, |$x: i64, $y: i64| $body))
                }
                other @ Pair::Bool(..) => wrong_type(other.dtype()),
            }
        })
    };
}

/// Compares two arrays.
macro_rules! comparison {
    (($x:ident, $y:ident) => $body:expr) => {
        One(|call, inputs| {
            let [a, b] = exactly(inputs)?;
            match pair(a, b)? {
                Pair::Float32(a, b) => wrap(zip(call, &a, &b, |$x: f32, $y: f32| $body)),
                Pair::Float64(a, b) => wrap(zip(call, &a, &b, |$x: f64, $y: f64| $body)),
                Pair::Int32(a, b) => wrap(zip(call, &a, &b, |$x: i32, $y: i32| $body)),
                Pair::Int64(a, b) => wrap(zip(call, &a, &b, |$x: i64, $y: i64| $body)),
                Pair::Bool(a, b) => wrap(combine(call, a, b, |$x: bool, $y: bool| $body)),
            }
        })
    };
}

/// Combines two arrays of booleans.
macro_rules! booleans {
    (($x:ident, $y:ident) => $body:expr) => {
        One(|call, inputs| {
            let [a, b] = exactly(inputs)?;
            match pair(a, b)? {
                Pair::Bool(a, b) => wrap(combine(call, a, b, |$x: bool, $y: bool| $body)),
                other => wrong_type(other.dtype()),
            }
        })
    };
}

#[allow(
    clippy::float_cmp,
    clippy::bool_comparison,
    reason = "the operations compare exactly, and one macro serves all types"
)]
pub(super) const TABLE: Table = &[
    ("AccumulateNV2", One(add_n)),
    ("Add", numbers!((x, y) => x.plus(y))),
    ("AddN", One(add_n)),
    ("AddV2", numbers!((x, y) => x.plus(y))),
    ("Atan2", floats!((x, y) => x.atan2(y))),
    ("BiasAdd", One(bias_add)),
    ("BiasAddV1", One(bias_add)),
    ("Div", numbers!(not_zero, (x, y) => x.truncated_div(y))),
    (
        "DivNoNan",
        floats!((x, y) => if y == 0.0 { 0.0 } else { x / y }),
    ),
    ("Equal", comparison!((x, y) => x == y)),
    ("FloorDiv", numbers!(not_zero, (x, y) => x.floor_div(y))),
    ("FloorMod", numbers!(not_zero, (x, y) => x.floor_mod(y))),
    ("Greater", comparison!((x, y) => x > y)),
    ("GreaterEqual", comparison!((x, y) => x >= y)),
    ("Less", comparison!((x, y) => x < y)),
    ("LessEqual", comparison!((x, y) => x <= y)),
    ("LogicalAnd", booleans!((x, y) => x & y)),
    ("LogicalOr", booleans!((x, y) => x | y)),
    ("Maximum", numbers!((x, y) => x.larger(y))),
    ("Minimum", numbers!((x, y) => x.smaller(y))),
    ("Mod", numbers!(not_zero, (x, y) => x.remainder(y))),
    ("Mul", numbers!((x, y) => x.times(y))),
    (
        "MulNoNan",
        floats!((x, y) => if y == 0.0 { 0.0 } else { x * y }),
    ),
    ("NotEqual", comparison!((x, y) => x != y)),
    ("Pow", numbers!(not_negative, (x, y) => x.power(y))),
    ("RealDiv", floats!((x, y) => x / y)),
    (
        "SquaredDifference",
        numbers!((x, y) => x.minus(y).times(x.minus(y))),
    ),
    ("Sub", numbers!((x, y) => x.minus(y))),
    (
        "TruncateDiv",
        numbers!(not_zero, (x, y) => x.truncated_div(y)),
    ),
    ("TruncateMod", numbers!(not_zero, (x, y) => x.remainder(y))),
    (
        "Xdivy",
        floats!((x, y) => if x == 0.0 { 0.0 } else { x / y }),
    ),
    (
        "Xlogy",
        floats!((x, y) => if x == 0.0 { 0.0 } else { x * y.ln() }),
    ),
];

fn wrap<T: Element>(values: Result<Values<T>, Failure>) -> Result<Array, Failure> {
    values.map(T::wrap)
}

#[allow(clippy::unnecessary_wraps, reason = "one of several checks")]
fn anything<T>(_: &Values<T>) -> Result<(), Failure> {
    Ok(())
}

fn not_zero<T: Number>(divisor: &Values<T>) -> Result<(), Failure> {
    if divisor.iter().any(|&x| x == T::ZERO) {
        return invalid("an integer is divided by zero");
    }
    Ok(())
}

fn not_negative<T: Number>(exponent: &Values<T>) -> Result<(), Failure> {
    if exponent.iter().any(|&x| x < T::ZERO) {
        return invalid("an integer is raised to a negative power");
    }
    Ok(())
}

impl Pair {
    fn dtype(&self) -> ArrayType {
        match self {
            Self::Float32(..) => ArrayType::Float32,
            Self::Float64(..) => ArrayType::Float64,
            Self::Int32(..) => ArrayType::Int32,
            Self::Int64(..) => ArrayType::Int64,
            Self::Bool(..) => ArrayType::Bool,
        }
    }
}

/// Adds arrays of numbers.
fn add(call: &Call<'_>, a: Array, b: Array) -> Result<Array, Failure> {
    match pair(a, b)? {
        Pair::Float32(a, b) => wrap(combine(call, a, b, Number::plus)),
        Pair::Float64(a, b) => wrap(combine(call, a, b, Number::plus)),
        Pair::Int32(a, b) => wrap(combine(call, a, b, Number::plus)),
        Pair::Int64(a, b) => wrap(combine(call, a, b, Number::plus)),
        other @ Pair::Bool(..) => wrong_type(other.dtype()),
    }
}

fn add_n(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    let ([mut sum], others) = at_least(inputs)?;
    for other in others {
        sum = add(call, sum, other)?;
    }
    Ok(sum)
}

/// Adds a vector along the axis of channels: the last one, or axis 1 with `NCHW`.
fn bias_add(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    call.require("data_format", &["NHWC", "NCHW"])?;
    let [value, bias] = exactly(inputs)?;
    let channels_first = call.string("data_format").as_deref() == Some("NCHW");
    let axis = if channels_first {
        1
    } else {
        value.rank().saturating_sub(1)
    };
    if bias.rank() != 1 || value.shape().get(axis) != bias.shape().first() {
        return invalid(format!(
            "a bias of shape {:?} does not fit {:?}",
            bias.shape(),
            value.shape()
        ));
    }
    let mut shape = vec![1; value.rank() - axis];
    shape[0] = bias.len();
    add(call, value, bias.reshape(&shape)?)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{f32s, i32s, run_one};
    use testkit::graph_writer::Attr;

    #[test]
    fn operands_are_repeated_to_a_common_shape() {
        let sum = |a, b| run_one("AddV2", &[], vec![a, b]);
        let row = || i32s(&[3], &[1, 2, 3]);
        let column = || i32s(&[2, 1], &[10, 20]);
        let both = sum(row(), column()).unwrap();
        assert_eq!(both.shape(), [2, 3]);
        assert_eq!(both.integers().unwrap(), [11, 12, 13, 21, 22, 23]);
        let both = both.reshape(&[2, 1, 3]).unwrap();
        let kept = both.clone();
        let middle = sum(both, i32s(&[1, 2, 1], &[100, 200])).unwrap();
        assert_eq!(middle.shape(), [2, 2, 3]);
        assert_eq!(
            middle.integers().unwrap()[..6],
            [111, 112, 113, 211, 212, 213]
        );
        assert_eq!(kept.integers().unwrap()[0], 11);
        assert_eq!(sum(i32s(&[0, 1], &[]), row()).unwrap().shape(), [0, 3]);
        assert!(sum(row(), i32s(&[2], &[1, 2])).is_err());
        assert!(sum(row(), f32s(&[1], &[1.0])).is_err());
        assert!(run_one("AddV2", &[], vec![row()]).is_err());
    }

    #[test]
    fn shared_operands_are_not_changed() {
        let a = f32s(&[2], &[1.0, 2.0]);
        let difference = run_one("Sub", &[], vec![f32s(&[1], &[1.0]), a.clone()]).unwrap();
        assert_eq!(difference.to_f64(), [0.0, -1.0]);
        assert_eq!(a.to_f64(), [1.0, 2.0]);
        let difference = run_one("Sub", &[], vec![f32s(&[1], &[1.0]), a]).unwrap();
        assert_eq!(difference.to_f64(), [0.0, -1.0]);
    }

    #[test]
    fn division_by_zero_is_an_error_for_integers() {
        let inputs = || vec![i32s(&[1], &[1]), i32s(&[1], &[0])];
        for op in ["FloorDiv", "FloorMod", "TruncateDiv", "Mod", "Div"] {
            assert!(run_one(op, &[], inputs()).is_err(), "{op}");
        }
        let inputs = vec![f32s(&[2], &[1.0, 0.0]), f32s(&[1], &[0.0])];
        let quotient = run_one("DivNoNan", &[], inputs).unwrap();
        assert_eq!(quotient.to_f64(), [0.0, 0.0]);
    }

    #[test]
    fn biases_lie_along_the_channels() {
        let value = || i32s(&[1, 2, 2], &[0, 0, 0, 0]);
        let bias = || i32s(&[2], &[1, 2]);
        let last = run_one("BiasAdd", &[], vec![value(), bias()]).unwrap();
        assert_eq!(last.integers().unwrap(), [1, 2, 1, 2]);
        let attrs = [("data_format", Attr::Text("NCHW"))];
        let first = run_one("BiasAdd", &attrs, vec![value(), bias()]).unwrap();
        assert_eq!(first.integers().unwrap(), [1, 1, 2, 2]);
        assert!(run_one("BiasAdd", &[], vec![value(), i32s(&[3], &[1, 2, 3])]).is_err());
        assert!(run_one("BiasAdd", &[], vec![i32s(&[], &[1]), bias()]).is_err());
    }
}
