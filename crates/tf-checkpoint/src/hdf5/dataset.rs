//! Datasets: shape, dtype and the place of the values.

use super::UNDEFINED;
use super::cursor::Cursor;
use super::header::{Message, Object};
use super::problem::Problem;
use super::space::{read_class, read_dataspace};
use crate::error::Fault;
use crate::layout::byte_len;
use crate::variable::DType;

/// The classes of datatypes.
const INTEGER: u8 = 0;
const FLOAT: u8 = 1;
const STRING: u8 = 3;
const ENUMERATION: u8 = 8;
const VARIABLE_LENGTH: u8 = 9;

/// The classes of layouts.
const COMPACT: u8 = 0;
const CONTIGUOUS: u8 = 1;
const CHUNKED: u8 = 2;

/// A dataset whose values are one run of bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Dataset {
    pub(super) dtype: DType,
    pub(super) shape: Vec<usize>,
    pub(super) big_endian: bool,
    /// The address of the values.
    pub(super) offset: u64,
    /// Their number of bytes.
    pub(super) len: u64,
}

impl Dataset {
    /// Decodes the header messages of a dataset in a file of `file_len` bytes.
    pub(super) fn new(object: &Object, file_len: u64) -> Result<Self, Problem> {
        let (Some(dataspace), Some(datatype), Some(layout)) =
            (&object.dataspace, &object.datatype, &object.layout)
        else {
            return Err(Problem::damaged("is not a dataset"));
        };
        if let Some(unsupported) = object.unsupported {
            return Err(Problem::unsupported(unsupported));
        }
        let shape = read_dataspace(&dataspace.bytes)?;
        let Element {
            dtype,
            size,
            big_endian,
        } = read_datatype(&datatype.bytes)?;
        let expected = byte_len(size, &shape).map_err(|fault| match fault {
            Fault::Entry(what) => Problem::Damaged(what),
            Fault::TooDense(error) => Problem::TooDense(error),
        })?;
        let (offset, len) = read_layout(layout)?;
        if len != expected {
            return Err(Problem::Damaged(format!(
                "has {len} bytes, its shape {shape:?} has {expected}"
            )));
        }
        let offset = match offset {
            _ if len == 0 => 0,
            UNDEFINED => return Err(Problem::damaged("has no values: they were never written")),
            offset => offset,
        };
        if offset.checked_add(len).is_none_or(|end| end > file_len) {
            return Err(Problem::Damaged(format!(
                "has {len} bytes at {offset}, beyond the end of the file at {file_len}"
            )));
        }
        Ok(Self {
            dtype,
            shape,
            big_endian,
            offset,
            len,
        })
    }
}

/// The type of an element.
struct Element {
    dtype: DType,
    /// In bytes.
    size: usize,
    big_endian: bool,
}

/// Size, bit offset, precision, exponent's place and length, mantissa's place and length, bias.
type FloatFormat = (u32, u16, u16, [u8; 4], u32);

/// The floating-point dtypes; bfloat16 as `ml_dtypes` and h5py write it.
const FLOATS: &[(DType, FloatFormat)] = &[
    (DType::Float32, (4, 0, 32, [23, 8, 0, 23], 127)),
    (DType::Float64, (8, 0, 64, [52, 11, 0, 52], 1023)),
    (DType::Float16, (2, 0, 16, [10, 5, 0, 10], 15)),
    (DType::BFloat16, (2, 0, 16, [7, 8, 0, 7], 127)),
];
/// Integers: size, signed, the number in TensorFlow's `types.proto`.
const INTEGERS: &[(u32, bool, i32)] = &[
    (4, true, 3),
    (1, false, 4),
    (2, true, 5),
    (1, true, 6),
    (8, true, 9),
    (2, false, 17),
    (4, false, 22),
    (8, false, 23),
];
/// Numbers of other types in `types.proto`: none, string, bool.
const PROTO_INVALID: i32 = 0;
const PROTO_STRING: i32 = 7;
const PROTO_BOOL: i32 = 10;

/// Decodes a datatype message.
fn read_datatype(message: &[u8]) -> Result<Element, Problem> {
    let mut cursor = Cursor::new(message);
    let (class, bits, size) = read_class(&mut cursor)?;
    let other = DType::Other(PROTO_INVALID);
    let dtype = match class {
        INTEGER => {
            let is_signed = bits[0] & 8 != 0;
            let place = (cursor.u16()?, u32::from(cursor.u16()?));
            let mut rows = INTEGERS.iter();
            let row = rows.find(|row| (row.0, row.1) == (size, is_signed));
            row.filter(|_| place == (0, size * 8))
                .map_or(other, |row| DType::from_proto(row.2))
        }
        FLOAT => {
            let place = (cursor.u16()?, cursor.u16()?);
            let fields = [cursor.u8()?, cursor.u8()?, cursor.u8()?, cursor.u8()?];
            let format = (size, place.0, place.1, fields, cursor.u32()?);
            // The leading bit of the mantissa is implied; the sign is the highest bit.
            let is_ieee = bits[0] >> 4 & 3 == 2 && u16::from(bits[1]) + 1 == place.1;
            let row = FLOATS.iter().find(|row| row.1 == format);
            row.filter(|_| is_ieee).map_or(other, |row| row.0)
        }
        STRING | VARIABLE_LENGTH => DType::Other(PROTO_STRING),
        // h5py writes booleans as an enumeration of one byte.
        ENUMERATION if size == 1 => DType::Other(PROTO_BOOL),
        _ => other,
    };
    // Bit 6 is set for the byte order of the VAX.
    if class == FLOAT && bits[0] & 0x40 != 0 {
        return Err(Problem::unsupported("has the byte order of the VAX"));
    }
    Ok(Element {
        dtype,
        size: usize::try_from(size).map_err(|_| Problem::damaged("is too large for memory"))?,
        big_endian: matches!(class, INTEGER | FLOAT) && bits[0] & 1 != 0,
    })
}

/// Decodes a layout message: address and number of bytes.
fn read_layout(message: &Message) -> Result<(u64, u64), Problem> {
    let mut cursor = Cursor::new(&message.bytes);
    let version = cursor.u8()?;
    match version {
        3 | 4 => {}
        1 | 2 => {
            return Err(Problem::Unsupported(format!(
                "has a layout of version {version}, from before HDF5 1.6.3"
            )));
        }
        _ => {
            return Err(Problem::Damaged(format!(
                "has a layout message of version {version}"
            )));
        }
    }
    match cursor.u8()? {
        COMPACT => {
            let len = cursor.u16()?.into();
            let at = message.bytes.len() - cursor.len();
            Ok((message.address + at as u64, len))
        }
        CONTIGUOUS => Ok((cursor.u64()?, cursor.u64()?)),
        CHUNKED => Err(Problem::unsupported("is stored in chunks")),
        class => Err(Problem::Unsupported(format!(
            "has a layout of class {class}"
        ))),
    }
}
