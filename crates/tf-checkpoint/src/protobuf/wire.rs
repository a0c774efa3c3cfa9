//! The locations of fields, for messages that are kept as bytes, such as a training graph:
//! [`crate::protobuf::message`] with ranges in place of slices.

use std::fmt;
use std::ops::Range;

use crate::protobuf::message::{self, take_field};

/// A field of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    /// The number of the field.
    pub(crate) tag: u32,
    /// The range of its bytes, if it is length-delimited: a message, a string or bytes.
    pub(crate) range: Option<Range<usize>>,
}

/// The reason why bytes are not a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// A key or a number is not in the wire format.
    Encoding(String),
    /// A field ends after the message.
    Truncated,
    /// A string is not UTF-8.
    NotText,
}

impl From<message::Malformed> for Malformed {
    fn from(error: message::Malformed) -> Self {
        match error {
            message::Malformed::CutShort => Self::Truncated,
            error => Self::Encoding(error.to_string()),
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encoding(what) => f.write_str(what),
            Self::Truncated => f.write_str("it is cut short: a field runs over its end"),
            Self::NotText => f.write_str("a name is not UTF-8"),
        }
    }
}

/// Returns the fields of the message in `bytes[range]`, with ranges in `bytes`. The first error ends the
/// iteration.
pub(crate) fn fields(
    bytes: &[u8],
    range: Range<usize>,
) -> impl Iterator<Item = Result<Field, Malformed>> {
    let mut rest = bytes.get(range.clone()).unwrap_or_default();
    let end = range.end;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let field = next(&mut rest, end);
        if field.is_err() {
            rest = &[];
        }
        Some(field)
    })
}

/// Returns the length-delimited fields with number `tag`.
pub(crate) fn messages(
    bytes: &[u8],
    range: Range<usize>,
    tag: u32,
) -> impl Iterator<Item = Result<Range<usize>, Malformed>> {
    fields(bytes, range).filter_map(move |field| match field {
        Ok(Field { tag: found, range }) => range.filter(|_| found == tag).map(Ok),
        Err(error) => Some(Err(error)),
    })
}

/// Returns the last length-delimited field with number `tag`, which overrides the others.
pub(crate) fn last(
    bytes: &[u8],
    range: Range<usize>,
    tag: u32,
) -> Result<Option<Range<usize>>, Malformed> {
    messages(bytes, range, tag).try_fold(None, |_, found| found.map(Some))
}

/// Returns the numbers in the repeated varint field `tag` of the message in `bytes[range]`, at most `limit`.
pub(crate) fn numbers(
    bytes: &[u8],
    range: Range<usize>,
    (tag, limit): (u32, usize),
) -> Result<Vec<u64>, Malformed> {
    let mut numbers = Vec::new();
    let mut count = 0_usize;
    for field in message::fields(bytes.get(range).unwrap_or_default()) {
        let field = field?;
        if field.number == tag {
            field.each_varint(|number| {
                count += 1;
                if count <= limit {
                    numbers.push(number);
                }
            })?;
        }
    }
    if count > limit {
        return Err(Malformed::Encoding(format!("more than {limit} numbers")));
    }
    Ok(numbers)
}

/// Takes the first field of `rest`, which ends at `end` of the whole bytes.
fn next(rest: &mut &[u8], end: usize) -> Result<Field, Malformed> {
    let field = take_field(rest)?;
    let end = end - rest.len();
    Ok(Field {
        tag: field.number,
        range: field.bytes().ok().map(|bytes| end - bytes.len()..end),
    })
}

/// Narrows a range for keeping: no indexed file has 2^32 bytes.
pub(crate) fn narrow(range: &Range<usize>) -> Range<u32> {
    let narrow = |at: usize| u32::try_from(at).expect("the file is shorter");
    narrow(range.start)..narrow(range.end)
}

/// Widens a range for use.
pub(crate) fn span(range: &Range<u32>) -> Range<usize> {
    range.start as usize..range.end as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_where_they_are() {
        // Field 1: varint 150. Field 2: "ab". Field 3: 32 bits. Field 4: 64 bits. Field 2: "".
        let message = [
            8, 150, 1, 18, 2, b'a', b'b', 29, 1, 2, 3, 4, 33, 1, 2, 3, 4, 5, 6, 7, 8, 18, 0,
        ];
        let found: Vec<Field> = fields(&message, 0..message.len())
            .map(Result::unwrap)
            .collect();
        let ranges: Vec<_> = found.iter().map(|f| (f.tag, f.range.clone())).collect();
        assert_eq!(
            ranges,
            [
                (1, None),
                (2, Some(5..7)),
                (3, None),
                (4, None),
                (2, Some(23..23))
            ]
        );
    }

    #[test]
    fn the_first_error_is_the_last_field() {
        for message in [
            &[18, 3, b'a'][..],
            &[8],
            &[8, 255],
            &[11, 12],
            &[29, 1],
            &[7],
        ] {
            let found: Vec<_> = fields(message, 0..message.len()).collect();
            assert!(matches!(&found[..], [Err(_)]), "{message:?} {found:?}");
        }
    }
}
