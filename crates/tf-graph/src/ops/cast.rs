//! Conversions between types.

use super::kernel::Kernel::One;
use super::kernel::{Call, Table, exactly};
use super::unary::convert;
use crate::array::{Array, ArrayType, Element, Values};
use crate::failure::{Failure, unsupported};

pub(super) const TABLE: Table = &[("Cast", One(cast)), ("Bitcast", One(bitcast))];

/// `DT_DOUBLE` in `types.proto`.
const DOUBLE: i32 = 2;

fn cast(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    let [input] = exactly(inputs)?;
    let Some(number) = call.data_type("DstT") else {
        return unsupported("there is no attribute \"DstT\"");
    };
    let Some(target) = ArrayType::from_proto(number) else {
        return unsupported(format!("a cast to dtype {number} is not implemented"));
    };
    match (input.dtype(), target) {
        (source, target) if source == target && !is_narrow(number) => Ok(input),
        // In an evaluation in float64, what the graph calls float32 is float64.
        (ArrayType::Float64, ArrayType::Float32) if call.data_type("SrcT") != Some(DOUBLE) => {
            Ok(input)
        }
        _ => match input {
            Array::Float32(values) => convert_to(call, &values, number, target),
            Array::Float64(values) => convert_to(call, &values, number, target),
            Array::Int32(values) => convert_to(call, &values, number, target),
            Array::Int64(values) => convert_to(call, &values, number, target),
            Array::Bool(values) => convert_to(call, &values, number, target),
        },
    }
}

/// A cast between types of the same size that we keep in the same type.
fn bitcast(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    let [input] = exactly(inputs)?;
    if call.data_type("T") == call.data_type("type") {
        return Ok(input);
    }
    unsupported("a change of type by Bitcast is not implemented")
}

/// Returns true for integers that are kept in a wider type.
fn is_narrow(number: i32) -> bool {
    matches!(number, 4 | 5 | 6 | 17 | 22)
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "small integers wrap"
)]
fn convert_to<T: Castable>(
    call: &Call<'_>,
    values: &Values<T>,
    number: i32,
    target: ArrayType,
) -> Result<Array, Failure> {
    match target {
        ArrayType::Float32 => convert(call, values, T::to_float32),
        ArrayType::Float64 => convert(call, values, T::to_float64),
        ArrayType::Int32 => match number {
            4 => convert(call, values, |x| i32::from(x.to_int64() as u8)),
            5 => convert(call, values, |x| i32::from(x.to_int64() as i16)),
            6 => convert(call, values, |x| i32::from(x.to_int64() as i8)),
            17 => convert(call, values, |x| i32::from(x.to_int64() as u16)),
            _ => convert(call, values, T::to_int32),
        },
        ArrayType::Int64 if number == 22 => {
            convert(call, values, |x| i64::from(x.to_int64() as u32))
        }
        ArrayType::Int64 => convert(call, values, T::to_int64),
        ArrayType::Bool => convert(call, values, |x| x != T::default()),
    }
}

/// A type that is converted to others. Floats are cut towards zero and limited to the range of the target;
/// integers wrap.
trait Castable: Element {
    fn to_float32(self) -> f32;
    fn to_float64(self) -> f64;
    fn to_int32(self) -> i32;
    fn to_int64(self) -> i64;
}

macro_rules! castable {
    ($type:ty) => {
        #[allow(
            clippy::cast_lossless,
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            reason = "casts are the purpose"
        )]
        impl Castable for $type {
            fn to_float32(self) -> f32 {
                self as f32
            }
            fn to_float64(self) -> f64 {
                self as f64
            }
            fn to_int32(self) -> i32 {
                self as i32
            }
            fn to_int64(self) -> i64 {
                self as i64
            }
        }
    };
}
castable!(f32);
castable!(f64);
castable!(i32);
castable!(i64);

impl Castable for bool {
    fn to_float32(self) -> f32 {
        u8::from(self).into()
    }
    fn to_float64(self) -> f64 {
        u8::from(self).into()
    }
    fn to_int32(self) -> i32 {
        self.into()
    }
    fn to_int64(self) -> i64 {
        self.into()
    }
}

#[cfg(test)]
mod tests {
    use testkit::graph_writer::Attr;

    use super::super::tests::{f32s, i32s, run_one};
    use crate::array::{Array, ArrayType};

    fn cast(input: Array, from: i32, to: i32) -> Array {
        let attrs = [("SrcT", Attr::Type(from)), ("DstT", Attr::Type(to))];
        run_one("Cast", &attrs, vec![input]).unwrap()
    }

    #[test]
    fn floats_are_cut_and_small_integers_wrap() {
        let floats = || f32s(&[3], &[-1.5, 0.0, 300.7]);
        assert_eq!(cast(floats(), 1, 3).integers().unwrap(), [-1, 0, 300]);
        assert_eq!(cast(floats(), 1, 10).to_f64(), [1.0, 0.0, 1.0]);
        assert_eq!(
            cast(i32s(&[2], &[300, -1]), 3, 4).integers().unwrap(),
            [44, 255]
        );
        assert_eq!(cast(i32s(&[1], &[7]), 3, 9).dtype(), ArrayType::Int64);
    }

    #[test]
    fn float64_stays_where_the_graph_has_float32() {
        let wide = || f32s(&[1], &[0.1]).widened();
        assert_eq!(cast(wide(), 1, 1).dtype(), ArrayType::Float64);
        assert_eq!(cast(wide(), 14, 1).dtype(), ArrayType::Float64);
        assert_eq!(cast(wide(), 2, 1).dtype(), ArrayType::Float32);
    }
}
