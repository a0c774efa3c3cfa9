//! Extended headers of the pax format: records of keys and values that replace fields of the next header.
//!
//! Source: POSIX.1-2017, `pax`, "pax Extended Header"; GNU tar's manual, "Storing Sparse Files".

use std::io;

use crate::storage::archive::packed::invalid;

/// The values of an extended header that matter for reading members.
#[derive(Debug, Default)]
pub(super) struct Extended {
    /// The name of the entry.
    pub(super) path: Option<Vec<u8>>,
    /// The length of its contents.
    pub(super) size: Option<u64>,
    /// True if the contents are those of a sparse file, with its map.
    pub(super) is_sparse: bool,
}

impl Extended {
    /// Parses the records `LENGTH KEY=VALUE\n`; a value may contain any byte.
    pub(super) fn parse(mut bytes: &[u8]) -> io::Result<Self> {
        let malformed = || invalid("a pax header in it is malformed");
        let mut found = Self::default();
        let mut sparse_name = None;
        while !bytes.is_empty() {
            let space = bytes.iter().position(|&byte| byte == b' ');
            let (digits, _) = bytes.split_at(space.ok_or_else(malformed)?);
            let len = number(digits).and_then(|len| usize::try_from(len).ok());
            let len = len
                .filter(|len| *len > digits.len())
                .ok_or_else(malformed)?;
            let (record, after) = bytes.split_at_checked(len).ok_or_else(malformed)?;
            let record = record[digits.len() + 1..].strip_suffix(b"\n");
            let record = record.ok_or_else(malformed)?;
            let equals = record.iter().position(|&byte| byte == b'=');
            let (key, value) = record.split_at(equals.ok_or_else(malformed)?);
            let value = &value[1..];
            match key {
                b"path" => found.path = Some(value.to_vec()),
                b"size" => found.size = Some(number(value).ok_or_else(malformed)?),
                b"GNU.sparse.name" => sparse_name = Some(value.to_vec()),
                _ => {}
            }
            found.is_sparse |= key.starts_with(b"GNU.sparse.");
            bytes = after;
        }
        // The path of a sparse file is a made up one.
        found.path = sparse_name.or(found.path);
        Ok(found)
    }

    /// Returns true if no value matters.
    pub(super) fn is_empty(&self) -> bool {
        self.path.is_none() && self.size.is_none() && !self.is_sparse
    }
}

/// Parses decimal digits.
fn number(digits: &[u8]) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let digits = is_number.then(|| std::str::from_utf8(digits).ok())??;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_as_long_as_it_states() {
        let found = Extended::parse(b"31 SCHILY.xattr.a=x\n9 path=b\n\0\n12 path=a/b\n").unwrap();
        assert_eq!(found.path.as_deref(), Some(&b"a/b"[..]));
        assert_eq!(found.size, None);
        let found = Extended::parse(b"20 size=12345678901\n").unwrap();
        assert_eq!(found.size, Some(12_345_678_901));
        let sparse =
            b"22 GNU.sparse.major=1\n24 GNU.sparse.name=m.ck\n29 path=GNUSparseFile.1/m.ck\n";
        let found = Extended::parse(sparse).unwrap();
        assert_eq!(found.path.as_deref(), Some(&b"m.ck"[..]));
        assert!(found.is_sparse);
        assert!(Extended::parse(b"").unwrap().is_empty());
        for malformed in [
            &b"x"[..],
            b"2 ",
            b"9 path=a\0",
            b"11 path=a\n",
            b"8 path=a\n",
            b"7 path\n",
            b"-9 path=a\n",
            b"99999999999999999999 path=a\n",
            b"9 size=x\n",
            b"0 a=b\n",
        ] {
            assert!(Extended::parse(malformed).is_err(), "{malformed:?}");
        }
    }
}
