//! Functions of one value.

use super::kernel::Kernel::One;
use super::kernel::{Call, Table, at_least, exactly, wrong_type};
use super::number::Number;
use crate::array::{Array, Element, Values, each};
use crate::failure::Failure;
use crate::parallel::for_each_piece;
use crate::strided;

/// Evaluates an expression for each element of an array of floats.
macro_rules! floats {
    ($x:ident => $body:expr) => {
        One(|call, inputs| {
            let [input] = exactly(inputs)?;
            match input {
                Array::Float32(values) => map(call, values, |$x: f32| $body),
                Array::Float64(values) => map(call, values, |$x: f64| $body),
                other => wrong_type(other.dtype()),
            }
        })
    };
}

/// Evaluates an expression for each element of an array of numbers.
macro_rules! numbers {
    ($x:ident => $body:expr) => {
        One(|call, inputs| {
            let [input] = exactly(inputs)?;
            match input {
                Array::Float32(values) => map(call, values, |$x: f32| $body),
                Array::Float64(values) => map(call, values, |$x: f64| $body),
                Array::Int32(values) => map(call, values, |$x: i32| $body),
                Array::Int64(values) => map(call, values, |$x: i64| $body),
                other @ Array::Bool(_) => wrong_type(other.dtype()),
            }
        })
    };
}

/// Tests each element of an array of floats.
macro_rules! tests {
    ($x:ident => $body:expr) => {
        One(|call, inputs| {
            let [input] = exactly(inputs)?;
            match input {
                Array::Float32(values) => convert(call, &values, |$x: f32| $body),
                Array::Float64(values) => convert(call, &values, |$x: f64| $body),
                other => wrong_type(other.dtype()),
            }
        })
    };
}

#[allow(
    clippy::excessive_precision,
    reason = "one macro serves float32 and float64"
)]
pub(super) const TABLE: Table = &[
    ("Abs", numbers!(x => x.magnitude())),
    ("Acos", floats!(x => x.acos())),
    ("Asin", floats!(x => x.asin())),
    ("Atan", floats!(x => x.atan())),
    ("Ceil", floats!(x => x.ceil())),
    ("Cos", floats!(x => x.cos())),
    ("Cosh", floats!(x => x.cosh())),
    ("Elu", floats!(x => if x < 0.0 { x.exp_m1() } else { x })),
    ("Erf", floats!(x => ErrorFunction::erf(x))),
    ("Erfc", floats!(x => ErrorFunction::erfc(x))),
    ("Exp", floats!(x => x.exp())),
    ("Expm1", floats!(x => x.exp_m1())),
    ("Floor", floats!(x => x.floor())),
    ("Inv", floats!(x => x.recip())),
    ("IsFinite", tests!(x => x.is_finite())),
    ("IsInf", tests!(x => x.is_infinite())),
    ("IsNan", tests!(x => x.is_nan())),
    ("LeakyRelu", One(leaky_relu)),
    ("Log", floats!(x => x.ln())),
    ("Log1p", floats!(x => x.ln_1p())),
    ("LogicalNot", One(logical_not)),
    ("Neg", numbers!(x => x.negated())),
    ("OnesLike", One(ones_like)),
    ("Reciprocal", floats!(x => x.recip())),
    // A comparison with NaN is false, so NaN stays.
    (
        "Relu",
        numbers!(x => if x < Number::ZERO { Number::ZERO } else { x }),
    ),
    ("Relu6", floats!(x => x.clamp(0.0, 6.0))),
    ("Rint", floats!(x => x.round_ties_even())),
    ("Round", One(round)),
    ("Rsqrt", floats!(x => x.sqrt().recip())),
    // The constants are those of `tf.nn.selu`, rounded to the type.
    (
        "Selu",
        floats!(x => 1.050_700_987_355_480_5 * if x < 0.0 { 1.673_263_242_354_377_2 * x.exp_m1() } else { x }),
    ),
    ("Sigmoid", floats!(x => (1.0 + (-x).exp()).recip())),
    ("Sign", numbers!(x => x.sign())),
    ("Sin", floats!(x => x.sin())),
    ("Sinh", floats!(x => x.sinh())),
    (
        "Softplus",
        floats!(x => x.larger(0.0) + (-x.abs()).exp().ln_1p()),
    ),
    ("Softsign", floats!(x => x / (1.0 + x.abs()))),
    ("Sqrt", floats!(x => x.sqrt())),
    ("Square", numbers!(x => x.times(x))),
    ("Tan", floats!(x => x.tan())),
    ("Tanh", floats!(x => x.tanh())),
    ("ZerosLike", One(zeros_like)),
];

/// The functions that the standard library does not have.
trait ErrorFunction {
    fn erf(self) -> Self;
    fn erfc(self) -> Self;
}

impl ErrorFunction for f32 {
    fn erf(self) -> Self {
        libm::erff(self)
    }

    fn erfc(self) -> Self {
        libm::erfcf(self)
    }
}

impl ErrorFunction for f64 {
    fn erf(self) -> Self {
        libm::erf(self)
    }

    fn erfc(self) -> Self {
        libm::erfc(self)
    }
}

fn leaky_relu(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    let alpha = call.float("alpha").unwrap_or(0.2);
    let [input] = exactly(inputs)?;
    match input {
        Array::Float32(values) => map(call, values, |x| if x > 0.0 { x } else { x * alpha }),
        Array::Float64(values) => {
            let alpha = f64::from(alpha);
            map(call, values, |x| if x > 0.0 { x } else { x * alpha })
        }
        other => wrong_type(other.dtype()),
    }
}

fn round(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    let [input] = exactly(inputs)?;
    match input {
        Array::Float32(values) => map(call, values, f32::round_ties_even),
        Array::Float64(values) => map(call, values, f64::round_ties_even),
        Array::Bool(_) => wrong_type(input.dtype()),
        integers => Ok(integers),
    }
}

fn logical_not(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    let [input] = exactly(inputs)?;
    match input {
        Array::Bool(values) => map(call, values, |x| !x),
        other => wrong_type(other.dtype()),
    }
}

fn zeros_like(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    let ([input], _) = at_least(inputs)?;
    each!(input, values => constant(call, values))
}

fn constant<T: Element>(call: &Call<'_>, values: Values<T>) -> Result<Array, Failure> {
    map(call, values, |_| T::default())
}

fn ones_like(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    let ([input], _) = at_least(inputs)?;
    match input {
        Array::Float32(values) => map(call, values, |_| 1.0),
        Array::Float64(values) => map(call, values, |_| 1.0),
        Array::Int32(values) => map(call, values, |_| 1),
        Array::Int64(values) => map(call, values, |_| 1),
        Array::Bool(values) => map(call, values, |_| true),
    }
}

/// Replaces each element; in place if nobody else holds the array.
pub(super) fn map<T: Element>(
    call: &Call<'_>,
    values: Values<T>,
    function: impl Fn(T) -> T + Sync,
) -> Result<Array, Failure> {
    map_pieces(call, values, &|piece| {
        for x in piece {
            *x = function(*x);
        }
    })
}

/// The part of [`map`] that is compiled once for each type, and not for each operation.
fn map_pieces<T: Element>(
    call: &Call<'_>,
    values: Values<T>,
    update: &(dyn Fn(&mut [T]) + Sync),
) -> Result<Array, Failure> {
    let shape = values.shape().to_vec();
    match strided::take_buffer(values) {
        Ok(mut buffer) => {
            for_each_piece(&mut buffer, &|_, piece| update(piece));
            strided::array(&shape, buffer)
        }
        Err(values) => convert_pieces(call, &values, &|source, piece| {
            piece.copy_from_slice(source);
            update(piece);
        }),
    }
}

/// Computes an array of another type from each element.
pub(super) fn convert<T: Element, U: Element>(
    call: &Call<'_>,
    values: &Values<T>,
    function: impl Fn(T) -> U + Sync,
) -> Result<Array, Failure> {
    convert_pieces(call, values, &|source, piece| {
        for (y, &x) in std::iter::zip(piece, source) {
            *y = function(x);
        }
    })
}

/// The part of [`convert`] that is compiled once for each pair of types.
fn convert_pieces<T: Element, U: Element>(
    call: &Call<'_>,
    values: &Values<T>,
    write: &(dyn Fn(&[T], &mut [U]) + Sync),
) -> Result<Array, Failure> {
    let mut target = vec![U::default(); call.meter.room::<U>(values.shape())?];
    let source = strided::slice(values)?;
    for_each_piece(&mut target, &|start, piece| {
        write(&source[start..][..piece.len()], piece);
    });
    strided::array(values.shape(), target)
}

#[cfg(test)]
mod tests {
    use testkit::graph_writer::Attr;

    use super::super::tests::{f32s, i32s, run_one};

    #[test]
    fn activations_are_stable_far_from_zero() {
        let value = |op: &str, x: f32| run_one(op, &[], vec![f32s(&[], &[x])]).unwrap().to_f64()[0];
        for (op, x, expected) in [
            ("Sigmoid", -200.0, 0.0),
            ("Sigmoid", 200.0, 1.0),
            ("Softplus", 200.0, 200.0),
            ("Softplus", -200.0, 0.0),
            ("Elu", -200.0, -1.0),
            ("Relu6", 200.0, 6.0),
            ("Round", 2.5, 2.0),
            ("Erf", 200.0, 1.0),
        ] {
            assert!((value(op, x) - expected).abs() < 1e-30, "{op}");
        }
        assert!(value("Relu", f32::NAN).is_nan() && value("Relu6", f32::NAN).is_nan());
    }

    #[test]
    fn large_arrays_are_computed_by_several_threads() {
        let values = vec![-2.0; 1 << 17];
        let input = f32s(&[1 << 17], &values);
        let attrs = [("alpha", Attr::Float(0.5))];
        let kept = input.clone();
        for input in [input.clone(), input] {
            let output = run_one("LeakyRelu", &attrs, vec![input]).unwrap();
            assert!(output.to_f64().iter().all(|x| (x + 1.0).abs() < 1e-9));
        }
        assert!(kept.to_f64().iter().all(|x| (x + 2.0).abs() < 1e-9));
        assert!(run_one("Exp", &[], vec![i32s(&[1], &[1])]).is_err());
    }
}
