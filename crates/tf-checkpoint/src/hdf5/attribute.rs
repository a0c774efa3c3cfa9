//! Attributes: named values in a header message, of which lists of strings are decoded.

use std::collections::HashMap;

use super::cursor::Cursor;
use super::global_heap::GlobalHeap;
use super::problem::Problem;
use super::source::Source;
use super::space::{read_class, read_dataspace};
use super::{MAX_NAME_LEN, UNDEFINED};

/// The classes of datatypes: strings of fixed length, sequences of variable length.
const STRING: u8 = 3;
const VARIABLE_LENGTH: u8 = 9;
/// The type of a sequence that is a string, in the lowest bits of the class's bit field.
const VARIABLE_STRING: u8 = 1;
/// The padding with spaces, in the lowest bits of the class's bit field.
const SPACE_PADDED: u8 = 2;
/// The length of a reference to a string in a global heap, in bytes.
const REFERENCE_LEN: usize = 16;
/// The memory of an attribute besides its bytes; a growing map is partly empty.
const ATTRIBUTE_COST: usize = 2 * size_of::<(Vec<u8>, Attribute)>();

/// The value of an attribute.
#[derive(Debug)]
pub(super) struct Attribute {
    datatype: Vec<u8>,
    dataspace: Vec<u8>,
    data: Vec<u8>,
    /// True if the datatype or the dataspace is stored elsewhere.
    is_shared: bool,
}

/// Decodes an attribute message and adds the attribute.
pub(super) fn keep(
    attributes: &mut HashMap<Vec<u8>, Attribute>,
    message: &[u8],
    source: &mut Source,
) -> Result<(), Problem> {
    let mut cursor = Cursor::new(message);
    let version = cursor.u8()?;
    let flags = cursor.u8()?;
    let lengths = [cursor.u16()?, cursor.u16()?, cursor.u16()?];
    let is_padded = match version {
        1 => true,
        2 => false,
        3 => {
            let _encoding = cursor.u8()?;
            false
        }
        _ => {
            return Err(Problem::Damaged(format!(
                "has an attribute message of version {version}"
            )));
        }
    };
    let mut parts = [&message[..0]; 3];
    for (part, len) in std::iter::zip(&mut parts, lengths) {
        *part = cursor.bytes(len.into())?;
        if is_padded {
            cursor.skip_at_most((8 - part.len() % 8) % 8);
        }
    }
    let [name, datatype, dataspace] = parts;
    let name = name.strip_suffix(&[0]).unwrap_or(name);
    let data = cursor.bytes(cursor.len())?;
    source.budget.take(message.len() + ATTRIBUTE_COST)?;
    let attribute = Attribute {
        datatype: datatype.to_vec(),
        dataspace: dataspace.to_vec(),
        data: data.to_vec(),
        is_shared: version > 1 && flags != 0,
    };
    match attributes.insert(name.to_vec(), attribute) {
        None => Ok(()),
        Some(_) => Err(Problem::Damaged(format!(
            "has the attribute \"{}\" twice",
            name.escape_ascii()
        ))),
    }
}

impl Attribute {
    /// Appends the strings of an array or of a scalar to `strings`.
    pub(super) fn read_strings(
        &self,
        source: &mut Source,
        heap: &mut GlobalHeap,
        strings: &mut Vec<String>,
    ) -> Result<(), Problem> {
        if self.is_shared {
            return Err(Problem::unsupported(
                "has an attribute with a shared datatype",
            ));
        }
        let shape = read_dataspace(&self.dataspace)?;
        // Keras writes an empty list as numbers.
        if shape.contains(&0) {
            return Ok(());
        }
        let count = shape
            .iter()
            .try_fold(1_usize, |n, &size| n.checked_mul(size));
        let (class, bits, size) = read_class(&mut Cursor::new(&self.datatype))?;
        let element = match class {
            STRING => usize::try_from(size).unwrap_or(usize::MAX),
            VARIABLE_LENGTH if bits[0] & 0xf == VARIABLE_STRING => REFERENCE_LEN,
            _ => {
                return Err(Problem::damaged(
                    "has an attribute that is not a list of strings",
                ));
            }
        };
        let len = count.and_then(|count| count.checked_mul(element));
        // The data may be padded.
        let data = len
            .and_then(|len| self.data.get(..len))
            .filter(|_| element > 0);
        let Some(data) = data else {
            let have = self.data.len();
            return Err(Problem::Damaged(format!(
                "has an attribute of shape {shape:?} with {have} bytes"
            )));
        };
        for element in data.chunks_exact(element) {
            let bytes = match class {
                STRING => element,
                _ => read_reference(element, source, heap)?,
            };
            let end = bytes.iter().position(|&byte| byte == 0);
            let mut bytes = &bytes[..end.unwrap_or(bytes.len())];
            if class == STRING && bits[0] & 0xf == SPACE_PADDED {
                bytes = bytes.trim_ascii_end();
            }
            if bytes.len() > MAX_NAME_LEN {
                return Err(Problem::Damaged(format!(
                    "has a name of more than {MAX_NAME_LEN} bytes in an attribute"
                )));
            }
            let text = str::from_utf8(bytes);
            let text = text.map_err(|_| {
                Problem::Damaged(format!(
                    "has a name in an attribute that is not UTF-8: \"{}\"",
                    bytes.escape_ascii()
                ))
            })?;
            source.budget.take(2 * size_of::<String>() + text.len())?;
            strings.push(text.to_owned());
        }
        Ok(())
    }
}

/// Returns the string that a reference into a global heap stands for.
fn read_reference<'a>(
    reference: &[u8],
    source: &mut Source,
    heap: &'a mut GlobalHeap,
) -> Result<&'a [u8], Problem> {
    let mut cursor = Cursor::new(reference);
    let len = cursor.u32()?;
    let address = cursor.u64()?;
    let index = cursor.u32()?;
    if len == 0 || address == UNDEFINED {
        return Ok(&[]);
    }
    let object = heap.object(source, address, index)?;
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    object
        .get(..len)
        .ok_or_else(|| Problem::damaged("has a string that is longer than its object in a heap"))
}
