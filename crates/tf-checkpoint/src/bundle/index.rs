//! The index of a TensorBundle: a [`Table`] from variable name to `BundleEntryProto`.
//!
//! The empty key holds the header. A partitioned variable has an entry that lists its slices, and a
//! further entry for each slice under a key of its own ([`crate::slice_key`]). Entries are checked
//! here, so that a [`Variable`] can be trusted: its pieces fit its shape, its shape fits into memory.
//! Entries are decoded field by field, and what is kept is counted first ([`crate::limits`]).
//! Source: `tensorflow/core/protobuf/tensor_bundle.proto`.

use std::collections::HashMap;
use std::path::Path;

use crate::crc;
use crate::error::{Error, Fault};
use crate::file_kind::FileKind;
use crate::layout::{self, byte_len};
use crate::limits::{Budget, Limits};
use crate::protobuf::message::{Malformed, fields, read_version, submessages};
use crate::slice_key::{SLICE_KEY_TAG, slice_key};
use crate::sstable::{self, Table};
use crate::storage::ReadAt;
use crate::variable::{DType, Piece, StoredBytes, Variable};

/// The newest format version read (`kTensorBundleVersion`).
const VERSION: i32 = 1;

/// Reads the whole index: the number of data files, and the variables with their pieces.
pub(crate) fn read_index(
    source: impl ReadAt,
    path: &Path,
    limits: &Limits,
) -> Result<(usize, Vec<Variable>), Error> {
    let mut budget = limits.budget(source.len());
    let table = Table::within(limits, sstable::MAX_BLOCK_LEN, source)
        .map_err(|source| Error::table(path, source))?;
    let bad_index = |what: String| Error::Index {
        path: path.to_owned(),
        what,
    };

    let mut files = None;
    let mut variables = Vec::new();
    let mut slices = Slices::new();
    let mut claimed = 0;
    let scanned = table.scan(|key, value| {
        // The header's key is empty, so that it comes first.
        let Some(files) = files else {
            files = Some(read_header(key, value, path)?);
            return Ok(());
        };
        // Keys of slices start with a zero byte, so that they come before all names.
        if key.first() == Some(&SLICE_KEY_TAG) {
            let slice = add_slice(&mut slices, key, value, &mut budget);
            return Ok(slice.map_err(|fault| fault.at(path, &String::from_utf8_lossy(key)))?);
        }
        let name = str::from_utf8(key).map_err(|_| {
            bad_index(format!(
                "the name of a variable is not UTF-8: {}",
                key.escape_ascii()
            ))
        })?;
        let variable = read_variable(name, value, &slices, files, &mut budget)
            .map_err(|fault| fault.at(path, name))?;
        claimed += variable.pieces.iter().filter(|p| p.slice.is_some()).count();
        variables.push(variable);
        Ok(())
    });
    scanned.map_err(|error| match error {
        ScanError::Table(source) => Error::table(path, source),
        ScanError::Index(error) => error,
    })?;

    let files = files.ok_or_else(|| bad_index("it is empty".into()))?;
    if variables.is_empty() {
        return Err(bad_index("it lists no variables".into()));
    }
    if claimed != slices.len() {
        return Err(bad_index(format!(
            "it holds {} slices, of which its partitioned variables name {claimed}",
            slices.len()
        )));
    }
    let places = variables.iter().flat_map(|variable| {
        variable.pieces.iter().filter_map(|piece| {
            let start = piece.extent?.offset;
            Some((piece.shard, start..start + piece.len, &variable.name[..]))
        })
    });
    layout::check_apart(places, &budget).map_err(|(name, fault)| fault.at(path, name))?;
    Ok((files.count, variables))
}

/// An error during [`Table::scan`]: of the table, or of its contents.
enum ScanError {
    Table(sstable::Error),
    Index(Error),
}

impl From<sstable::Error> for ScanError {
    fn from(error: sstable::Error) -> Self {
        Self::Table(error)
    }
}

impl From<Error> for ScanError {
    fn from(error: Error) -> Self {
        Self::Index(error)
    }
}

/// The data files, as the header describes them.
#[derive(Clone, Copy)]
struct DataFiles {
    count: usize,
    big_endian: bool,
}

/// Decodes a `BundleHeaderProto`, the value of the empty key.
fn read_header(key: &[u8], value: &[u8], path: &Path) -> Result<DataFiles, Error> {
    let bad = |what: String| Error::Index {
        path: path.to_owned(),
        what,
    };
    let parsed = Header::read(value).ok().filter(|_| key.is_empty());
    let header =
        parsed.ok_or_else(|| bad("it does not start with the header of a TensorBundle".into()))?;
    if header.min_consumer > VERSION {
        return Err(Error::Unsupported {
            path: path.to_owned(),
            kind: FileKind::Version,
            what: format!(
                "a TensorBundle of version {} (newer than {VERSION})",
                header.min_consumer
            ),
            advice: "load and save it again with TensorFlow 1 or 2".into(),
            checkpoint: None,
        });
    }
    Ok(DataFiles {
        count: usize::try_from(header.num_shards)
            .ok()
            .filter(|&n| n > 0)
            .ok_or_else(|| bad(format!("it claims {} data files", header.num_shards)))?,
        big_endian: match header.endianness {
            0 => false,
            1 => true,
            other => return Err(bad(format!("it claims the unknown byte order {other}"))),
        },
    })
}

#[derive(Default)]
struct Header {
    num_shards: i32,
    /// 0 for little-endian, 1 for big-endian.
    endianness: i32,
    min_consumer: i32,
}

impl Header {
    fn read(message: &[u8]) -> Result<Self, Malformed> {
        let mut header = Self::default();
        for field in fields(message) {
            let field = field?;
            match field.number {
                1 => header.num_shards = field.int32()?,
                2 => header.endianness = field.int32()?,
                3 => read_version(field.bytes()?, &mut header.min_consumer)?,
                _ => {}
            }
        }
        Ok(header)
    }
}

/// A `BundleEntryProto`: the location of a variable, or of a slice. The list of slices is not kept.
#[derive(Default)]
struct Entry {
    dtype: i32,
    shape: Vec<usize>,
    shard: i32,
    offset: i64,
    size: i64,
    /// Masked, see [`crate::crc`].
    crc32c: u32,
    is_partitioned: bool,
}

impl Entry {
    fn read(message: &[u8]) -> Result<Self, Fault> {
        let mut entry = Self::default();
        for field in fields(message) {
            let field = field?;
            match field.number {
                1 => entry.dtype = field.int32()?,
                2 => layout::read_shape(field.bytes()?, &mut entry.shape)?,
                3 => entry.shard = field.int32()?,
                4 => entry.offset = field.int64()?,
                5 => entry.size = field.int64()?,
                6 => entry.crc32c = field.fixed32()?,
                SLICES => entry.is_partitioned = true,
                _ => {}
            }
        }
        Ok(entry)
    }
}

/// The field of a `BundleEntryProto` with the slices of a partitioned variable.
const SLICES: u32 = 7;

/// The entries of slices, by key.
type Slices = HashMap<Vec<u8>, Entry>;

fn add_slice(
    slices: &mut Slices,
    key: &[u8],
    value: &[u8],
    budget: &mut Budget,
) -> Result<(), Fault> {
    let entry = Entry::read(value)?;
    // A map that grows holds its entries twice for a moment.
    budget.take(2 * size_of::<(Vec<u8>, Entry)>() + key.len() + size_of_val(&entry.shape[..]))?;
    slices.insert(key.to_vec(), entry);
    Ok(())
}

/// Creates a variable from its entry and the entries of its slices.
fn read_variable(
    name: &str,
    message: &[u8],
    slices: &Slices,
    files: DataFiles,
    budget: &mut Budget,
) -> Result<Variable, Fault> {
    let entry = Entry::read(message)?;
    // A list that grows holds its elements twice for a moment.
    budget.take(2 * (size_of::<Variable>() + name.len()) + size_of_val(&entry.shape[..]))?;
    let dtype = DType::from_proto(entry.dtype);
    let pieces = if entry.is_partitioned {
        partition(name, (message, &entry), slices, files, budget)?
    } else {
        budget.take(size_of::<Piece>())?;
        vec![piece(&entry, dtype, files)?]
    };
    Ok(Variable {
        key: name.to_owned(),
        name: name.to_owned(),
        full_name: None,
        object_paths: Vec::new(),
        dtype,
        shape: entry.shape,
        pieces,
    })
}

/// Returns the piece that an entry refers to, after checking its length against the shape.
fn piece(entry: &Entry, dtype: DType, files: DataFiles) -> Result<Piece, Fault> {
    let shard = usize::try_from(entry.shard)
        .ok()
        .filter(|&shard| shard < files.count)
        .ok_or_else(|| {
            format!(
                "points to data file {}, of {} in all",
                entry.shard, files.count
            )
        })?;
    let outside = || {
        format!(
            "points to {} bytes at {}, outside of any file",
            entry.size, entry.offset
        )
    };
    let offset = u64::try_from(entry.offset).map_err(|_| outside())?;
    let len = u64::try_from(entry.size).map_err(|_| outside())?;
    offset.checked_add(len).ok_or_else(outside)?;

    let shape = &entry.shape;
    let expected = byte_len(dtype.size().unwrap_or(1), shape)?;
    if dtype.size().is_some() && len != expected {
        return Err(
            format!("has {len} bytes, its shape {shape:?} of {dtype} takes {expected}").into(),
        );
    }
    Ok(Piece {
        shard,
        len,
        extent: Some(StoredBytes {
            offset,
            crc32c: Some(crc::unmask(entry.crc32c)),
            big_endian: files.big_endian,
        }),
        slice: None,
    })
}

/// Returns the pieces of a partitioned variable, after checking that they cover it exactly once.
fn partition(
    name: &str,
    (message, entry): (&[u8], &Entry),
    slices: &Slices,
    files: DataFiles,
    budget: &mut Budget,
) -> Result<Vec<Piece>, Fault> {
    let dtype = DType::from_proto(entry.dtype);
    if dtype.size().is_none() {
        return Err(format!("is partitioned and of {dtype}, which cannot be joined").into());
    }
    byte_len(1, &entry.shape)?;
    let mut pieces: Vec<Piece> = Vec::new();
    for slice in submessages(message, SLICES) {
        let slice = layout::read_slice(slice?, &entry.shape, budget)?;
        let ranges = slice.ranges;
        let stored = slices
            .get(&slice_key(name, &slice.code))
            .ok_or_else(|| format!("lists the slice {ranges:?}, which is not there"))?;
        if stored.dtype != entry.dtype || stored.shape != layout::slice_shape(&ranges) {
            return Err(format!(
                "lists the slice {ranges:?}, whose own entry has another type or shape"
            )
            .into());
        }
        budget.take(2 * size_of::<Piece>())?;
        pieces.push(Piece {
            slice: Some(ranges),
            ..piece(stored, dtype, files)?
        });
    }
    let ranges = pieces.iter().filter_map(|piece| piece.slice.as_deref());
    layout::check_cover(ranges, &entry.shape, budget)?;
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE_FILE: DataFiles = DataFiles {
        count: 1,
        big_endian: false,
    };

    #[test]
    fn partitions_must_cover_a_variable_exactly_once() {
        // dtype float32, shape [6]; each slice is a start and a length.
        let check = |slices: &[(u8, u8)], are_there: bool| {
            let mut message = vec![0x08, 1, 0x12, 4, 0x12, 2, 0x08, 6];
            let mut stored = Slices::new();
            for &(start, length) in slices {
                message.extend([0x3a, 6, 0x0a, 4, 0x08, start, 0x10, length]);
                let code = [1, 1, 0x80 | start, 0x80 | length];
                let entry = Entry {
                    dtype: 1,
                    shape: vec![length.into()],
                    size: i64::from(length) * 4,
                    ..Entry::default()
                };
                if are_there {
                    stored.insert(slice_key("v", &code), entry);
                }
            }
            let mut budget = Limits::default().budget(0);
            let read = read_variable("v", &message, &stored, ONE_FILE, &mut budget);
            read.map_err(|fault| fault.at("m.index".as_ref(), "v").to_string())
        };
        assert_eq!(check(&[(0, 4), (4, 2)], true).unwrap().pieces.len(), 2);
        for (slices, word) in [
            (&[(0, 4)][..], "4 elements together, its shape [6] has 6"),
            (&[(0, 4), (3, 3)], "overlap"),
            (&[(0, 3), (1, 3)], "overlap"),
            (&[(0, 4), (0, 4)], "overlap"),
            (&[(0, 4), (4, 3)], "on an axis of 6"),
        ] {
            let error = check(slices, true).unwrap_err();
            assert!(error.contains(word), "{slices:?}: {error}");
        }
        assert!(check(&[(0, 6)], false).unwrap_err().contains("not there"));
    }
}
