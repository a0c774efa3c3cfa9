//! The key of a slice in a table: the variable's name and the extents, encoded so that the order of the
//! bytes is the order of both.
//!
//! Source: `EncodeTensorNameSlice` in `tensorflow/core/util/saved_tensor_slice_util.cc`,
//! `tensorflow/core/lib/strings/ordered_code.cc`.

/// The first byte of a slice's key; no variable name starts with it.
pub(crate) const SLICE_KEY_TAG: u8 = 0;

/// One axis of a slice, as a file states it; without a length it is the whole axis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AxisExtent {
    pub(crate) start: i64,
    pub(crate) length: Option<i64>,
}

/// Returns the key of a slice of the variable `name`; `code` is the [`code`] of its extents.
pub(crate) fn slice_key(name: &str, code: &[u8]) -> Vec<u8> {
    let mut key = vec![SLICE_KEY_TAG];
    for byte in name.bytes() {
        key.push(byte);
        match byte {
            0x00 => key.push(0xff),
            0xff => key.push(0x00),
            _ => {}
        }
    }
    key.extend([0x00, 0x01]);
    key.extend(code);
    key
}

/// Returns the end of a slice's key: the number of axes and the extent of each.
pub(crate) fn code(extents: &[AxisExtent]) -> Vec<u8> {
    let mut code = Vec::new();
    push_number(&mut code, extents.len() as u64);
    for extent in extents {
        // A whole axis is written as start 0 and length -1.
        push_signed(&mut code, extent.length.map_or(0, |_| extent.start));
        push_signed(&mut code, extent.length.unwrap_or(-1));
    }
    code
}

/// Appends a length byte, then the big-endian bytes without leading zeros.
fn push_number(key: &mut Vec<u8>, value: u64) {
    let bytes = value.to_be_bytes();
    let significant = &bytes[value.leading_zeros() as usize / 8..];
    key.push(u8::try_from(significant.len()).expect("at most eight"));
    key.extend_from_slice(significant);
}

/// Appends as many leading one bits as there are bytes, then the big-endian value; all inverted for a
/// negative number. `n` bytes hold `7 n - 1` bits and the sign.
fn push_signed(key: &mut Vec<u8>, value: i64) {
    let magnitude = if value < 0 { !value } else { value };
    let bits = 64 - magnitude.leading_zeros() as usize;
    let len = bits / 7 + 1;
    let mut bytes = [if value < 0 { 0xff } else { 0 }; 10];
    bytes[2..].copy_from_slice(&value.to_be_bytes());
    let code = &mut bytes[10 - len..];
    let header = (!(0xffff_u16 >> len)).to_be_bytes();
    for (byte, header) in std::iter::zip(code.iter_mut(), header) {
        *byte ^= header;
    }
    key.extend_from_slice(code);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_numbers_are_coded_as_tensorflow_does() {
        // ordered_code_test.cc and, for the longer ones, the rule in ordered_code.cc by hand.
        for (value, code) in [
            (0, &[0x80][..]),
            (63, &[0xbf]),
            (-1, &[0x7f]),
            (-64, &[0x40]),
            (64, &[0xc0, 0x40]),
            (-65, &[0x3f, 0xbf]),
            (8191, &[0xdf, 0xff]),
            (8192, &[0xe0, 0x20, 0x00]),
            (
                i64::MAX,
                &[0xff, 0xc0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            ),
            (
                i64::MIN,
                &[0x00, 0x3f, 0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00],
            ),
        ] {
            let mut key = Vec::new();
            push_signed(&mut key, value);
            assert_eq!(key, code, "{value}");
        }
    }

    #[test]
    fn slice_keys_escape_names() {
        let code = code(&[
            AxisExtent {
                start: 400,
                length: Some(300),
            },
            AxisExtent::default(),
        ]);
        assert_eq!(
            slice_key("a\0b", &code),
            [
                &[0, b'a', 0, 0xff, b'b', 0, 1][..],
                &[1, 2],
                &[0xc1, 0x90],
                &[0xc1, 0x2c],
                &[0x80, 0x7f],
            ]
            .concat()
        );
    }
}
