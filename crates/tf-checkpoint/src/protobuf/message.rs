//! The wire format of protobuf, decoded field by field without an allocation.
//!
//! An empty submessage takes two bytes in a file and a whole struct in memory. The messages that a
//! checkpoint repeats without bound are therefore not decoded by `prost` but walked here, and the caller
//! counts what it keeps. Unknown fields are skipped. Groups, which no message of TensorFlow has, are
//! errors: nothing here recurses.
//! Source: <https://protobuf.dev/programming-guides/encoding/>.

use prost::encoding::decode_varint;

/// The reason why a message cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("a field is cut short")]
    CutShort,
    #[error("a field has the unknown wire type {0}")]
    WireType(u64),
    #[error("field {0} has another type")]
    FieldType(u32),
    #[error("field {0} is not UTF-8")]
    NotText(u32),
}

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(&'a [u8]),
    Fixed32([u8; 4]),
}

/// A field of a message, with its number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<'a> {
    pub(crate) number: u32,
    value: Value<'a>,
}

impl<'a> Field<'a> {
    /// Returns the field as an `int32`, a `bool` or an enum; protobuf drops the upper bits.
    #[allow(clippy::cast_possible_truncation)]
    pub(crate) fn int32(&self) -> Result<i32, Malformed> {
        Ok(self.varint()?.cast_signed() as i32)
    }

    /// Returns the field as an `int64`.
    pub(crate) fn int64(&self) -> Result<i64, Malformed> {
        Ok(self.varint()?.cast_signed())
    }

    /// Returns the field as a `fixed32`.
    pub(crate) fn fixed32(&self) -> Result<u32, Malformed> {
        match self.value {
            Value::Fixed32(bytes) => Ok(u32::from_le_bytes(bytes)),
            _ => Err(Malformed::FieldType(self.number)),
        }
    }

    /// Returns the field as a submessage, or as `bytes`.
    pub(crate) fn bytes(&self) -> Result<&'a [u8], Malformed> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(Malformed::FieldType(self.number)),
        }
    }

    /// Returns the field as a `string`.
    pub(crate) fn text(&self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed::NotText(self.number))
    }

    /// Calls `visit` with each number of a repeated varint, packed or not.
    pub(crate) fn each_varint(&self, mut visit: impl FnMut(u64)) -> Result<(), Malformed> {
        let Value::Bytes(mut packed) = self.value else {
            visit(self.varint()?);
            return Ok(());
        };
        while !packed.is_empty() {
            visit(decode_varint(&mut packed).map_err(|_| Malformed::CutShort)?);
        }
        Ok(())
    }

    /// Returns the bytes of a repeated `float` or `double`, packed or not: little-endian numbers.
    pub(crate) fn fixed_run<const N: usize>(&self) -> Result<&[u8], Malformed> {
        match &self.value {
            Value::Bytes(bytes) if bytes.len() % N == 0 => Ok(bytes),
            Value::Bytes(_) => Err(Malformed::CutShort),
            Value::Fixed64(bytes) if N == bytes.len() => Ok(bytes),
            Value::Fixed32(bytes) if N == bytes.len() => Ok(bytes),
            _ => Err(Malformed::FieldType(self.number)),
        }
    }

    fn varint(&self) -> Result<u64, Malformed> {
        match self.value {
            Value::Varint(value) => Ok(value),
            _ => Err(Malformed::FieldType(self.number)),
        }
    }
}

/// Returns the fields of a message, in the order of the bytes. The first error ends the iteration.
pub(crate) fn fields(message: &[u8]) -> impl Iterator<Item = Result<Field<'_>, Malformed>> {
    let mut rest = message;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let field = take_field(&mut rest);
        if field.is_err() {
            rest = &[];
        }
        Some(field)
    })
}

/// Returns the submessages in the fields with this number, in the order of the bytes.
pub(crate) fn submessages(
    message: &[u8],
    number: u32,
) -> impl Iterator<Item = Result<&[u8], Malformed>> {
    fields(message).filter_map(move |field| match field {
        Ok(field) if field.number == number => Some(field.bytes()),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    })
}

/// Reads `min_consumer` of a `VersionDef`: the oldest reader that may read the file.
pub(crate) fn read_version(message: &[u8], min_consumer: &mut i32) -> Result<(), Malformed> {
    for field in fields(message) {
        let field = field?;
        if field.number == 2 {
            *min_consumer = field.int32()?;
        }
    }
    Ok(())
}

/// Takes the first field of a message.
pub(crate) fn take_field<'a>(rest: &mut &'a [u8]) -> Result<Field<'a>, Malformed> {
    let key = decode_varint(rest).map_err(|_| Malformed::CutShort)?;
    let number = u32::try_from(key >> 3).map_err(|_| Malformed::WireType(key & 7))?;
    let value = match key & 7 {
        0 => Value::Varint(decode_varint(rest).map_err(|_| Malformed::CutShort)?),
        1 => Value::Fixed64(*take_array(rest)?),
        2 => {
            let len = decode_varint(rest).map_err(|_| Malformed::CutShort)?;
            let len = usize::try_from(len).map_err(|_| Malformed::CutShort)?;
            let (bytes, after) = rest.split_at_checked(len).ok_or(Malformed::CutShort)?;
            *rest = after;
            Value::Bytes(bytes)
        }
        5 => Value::Fixed32(*take_array(rest)?),
        other => return Err(Malformed::WireType(other)),
    };
    Ok(Field { number, value })
}

fn take_array<'a, const N: usize>(rest: &mut &'a [u8]) -> Result<&'a [u8; N], Malformed> {
    let (array, after) = rest.split_first_chunk().ok_or(Malformed::CutShort)?;
    *rest = after;
    Ok(array)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_in_their_order() {
        let message = [
            &[0x08, 0x96, 0x01][..],
            &[0x12, 2, b'h', b'i'],
            &[0x1d, 1, 0, 0, 0],
            &[0x21, 2, 0, 0, 0, 0, 0, 0, 0],
            &[0x2a, 3, 0x96, 0x01, 0x07],
        ]
        .concat();
        let found: Vec<_> = fields(&message).map(Result::unwrap).collect();
        assert_eq!(found[0].int64(), Ok(150));
        assert_eq!(found[0].bytes(), Err(Malformed::FieldType(1)));
        assert_eq!(found[1].text(), Ok("hi"));
        assert_eq!(found[2].fixed32(), Ok(1));
        assert_eq!(found[3].fixed_run::<8>(), Ok(&[2, 0, 0, 0, 0, 0, 0, 0][..]));
        assert_eq!(found[3].fixed_run::<4>(), Err(Malformed::FieldType(4)));
        let mut numbers = Vec::new();
        found[4].each_varint(|n| numbers.push(n)).unwrap();
        assert_eq!(numbers, [150, 7]);
    }

    #[test]
    fn malformed_messages_end_in_one_error() {
        for (message, error) in [
            (&[0x08][..], Malformed::CutShort),
            (&[0x12, 5, 0], Malformed::CutShort),
            (&[0x1d, 0], Malformed::CutShort),
            (&[0x0b, 0x0c], Malformed::WireType(3)),
            (&[0xff; 11], Malformed::CutShort),
        ] {
            let found: Vec<_> = fields(message).collect();
            assert_eq!(found.len(), 1, "{message:?}");
            assert_eq!(*found[0].as_ref().unwrap_err(), error, "{message:?}");
        }
    }
}
