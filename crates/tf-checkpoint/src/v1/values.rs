//! The values of a slice in a V1 checkpoint: numbers in a typed field of a `TensorProto`.

use crate::error::Fault;
use crate::protobuf::message::{Field, fields, submessages};
use crate::variable::{DType, Variable};

/// The field of a `SavedTensorSlices` with the values of a slice.
const DATA: u32 = 2;

/// Returns the most bytes of a number for each byte that it takes in a message, where it may be a varint
/// of one byte.
pub(super) fn expansion(dtype: DType) -> u64 {
    match dtype {
        DType::Int64 => 8,
        DType::Int32 => 4,
        DType::Float16 | DType::BFloat16 => 2,
        DType::Float32 | DType::Float64 | DType::Other(_) => 1,
    }
}

/// Writes the numbers of a slice's message into `buf`, little-endian.
pub(super) fn read_values(
    message: &[u8],
    variable: &Variable,
    buf: &mut [u8],
) -> Result<(), Fault> {
    let Some(size) = variable.dtype.size() else {
        return Err(format!("has the dtype {}, which is not supported", variable.dtype).into());
    };
    let expected = buf.len() / size;
    let mut name = "";
    let mut values = Values {
        dtype: variable.dtype,
        rest: buf,
        found: 0,
    };
    let mut has_data = false;
    for slice in submessages(message, DATA) {
        has_data = true;
        for field in fields(slice?) {
            let field = field?;
            match field.number {
                1 => name = field.text()?,
                3 => values.read(field.bytes()?)?,
                _ => {}
            }
        }
    }
    if !has_data {
        return Err("has no data".into());
    }
    if name != variable.name {
        return Err(format!("has the value of variable {name}").into());
    }
    let found = values.found;
    if found != expected {
        let shape = &variable.shape;
        return Err(format!("has {found} elements, its shape {shape:?} has {expected}").into());
    }
    Ok(())
}

/// Collects the numbers of a `TensorProto`.
struct Values<'a> {
    dtype: DType,
    /// The rest of the buffer.
    rest: &'a mut [u8],
    /// The number of values found, which may exceed the buffer.
    found: usize,
}

impl Values<'_> {
    fn read(&mut self, tensor: &[u8]) -> Result<(), Fault> {
        for field in fields(tensor) {
            let field = field?;
            match (self.dtype, field.number) {
                (DType::Float32, 5) => self.copy::<4>(field.fixed_run::<4>()?),
                (DType::Float64, 6) => self.copy::<8>(field.fixed_run::<8>()?),
                // Numbers of 32 bits are stored as varints of 64.
                (DType::Int32, 7) => self.varints::<4>(&field)?,
                (DType::Int64, 10) => self.varints::<8>(&field)?,
                // The bits of a 16-bit number are the lower half of an int32.
                (DType::Float16 | DType::BFloat16, 13) => self.varints::<2>(&field)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Copies as many numbers of `N` bytes as fit.
    fn copy<const N: usize>(&mut self, bytes: &[u8]) {
        self.found += bytes.len() / N;
        let fits = bytes.len().min(self.rest.len());
        let (filled, rest) = std::mem::take(&mut self.rest).split_at_mut(fits);
        filled.copy_from_slice(&bytes[..fits]);
        self.rest = rest;
    }

    /// Copies the lower `N` bytes of as many numbers as fit.
    fn varints<const N: usize>(&mut self, field: &Field<'_>) -> Result<(), Fault> {
        Ok(field.each_varint(|value| {
            let bytes = value.to_le_bytes();
            self.copy::<N>(&bytes[..N]);
        })?)
    }
}
