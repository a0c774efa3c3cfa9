//! The index of a TensorBundle: a [`Table`] from variable name to [`BundleEntry`].
//!
//! Its empty key holds the header. A partitioned variable has an entry that lists its slices, and
//! one entry more for each slice under a key of its own ([`super::slice_key`]). Every claim of an
//! entry is checked here, so that a [`Variable`] can be trusted: its pieces fit its shape, its shape
//! fits into memory.
//! Source: `tensorflow/core/protobuf/tensor_bundle.proto`.

use std::collections::HashMap;
use std::path::Path;

use prost::Message;

use super::layout::{self, MAX_SLICES, byte_len};
use super::proto::{BundleEntry, BundleHeader};
use super::slice_key::{SLICE_KEY_TAG, slice_key};
use super::source::ReadAt;
use super::sstable::{self, Table};
use super::{DType, Error, Extent, Piece, Variable, crc};

/// The newest format version read (`kTensorBundleVersion`).
const VERSION: i32 = 1;
/// The most bytes of names accepted in one index. Names share prefixes on disk, so that a small
/// file could otherwise hold gigabytes of them.
const MAX_NAME_BYTES: usize = 64 << 20;

/// Reads the whole index: the number of shards, and the variables with their pieces.
pub(super) fn read_index(
    source: impl ReadAt,
    path: &Path,
) -> Result<(usize, Vec<Variable>), Error> {
    let table = Table::open(source).map_err(|source| Error::table(path, source))?;
    let bad_index = |what: String| Error::Index {
        path: path.to_owned(),
        what,
    };

    let mut header = None;
    let mut entries = Vec::new();
    let mut slices = HashMap::new();
    let mut name_bytes = 0;
    table
        .scan(|key, value| {
            name_bytes += key.len();
            if name_bytes > MAX_NAME_BYTES {
                return Err(ScanError::Index(bad_index(format!(
                    "the variable names take more than {MAX_NAME_BYTES} bytes"
                ))));
            }
            if header.is_none() {
                // The header's key is empty, so that it comes first.
                let decoded = key.is_empty().then(|| BundleHeader::decode(value).ok());
                let Some(Some(decoded)) = decoded else {
                    return Err(ScanError::Index(bad_index(
                        "it does not start with the header of a TensorBundle".into(),
                    )));
                };
                header = Some(decoded);
                return Ok(());
            }
            let entry = BundleEntry::decode(value).map_err(|error| {
                ScanError::Index(Error::Entry {
                    path: path.to_owned(),
                    variable: String::from_utf8_lossy(key).into_owned(),
                    what: format!("is not valid: {error}"),
                })
            })?;
            if key.first() == Some(&SLICE_KEY_TAG) {
                slices.insert(key.to_vec(), entry);
            } else {
                let name = String::from_utf8(key.to_vec()).map_err(|error| {
                    ScanError::Index(bad_index(format!(
                        "a variable's name is not UTF-8: {}",
                        error.as_bytes().escape_ascii()
                    )))
                })?;
                entries.push((name, entry));
            }
            Ok(())
        })
        .map_err(|error| match error {
            ScanError::Table(source) => Error::table(path, source),
            ScanError::Index(error) => error,
        })?;

    let header = header.ok_or_else(|| bad_index("it is empty".into()))?;
    let files = check_header(&header, path)?;
    if entries.is_empty() {
        return Err(bad_index("it lists no variables".into()));
    }

    let mut claimed = 0;
    let variables = entries
        .into_iter()
        .map(|(name, entry)| {
            let check = |what| Error::Entry {
                path: path.to_owned(),
                variable: name.clone(),
                what,
            };
            let variable = variable(&name, &entry, &slices, files).map_err(check)?;
            claimed += variable.pieces.iter().filter(|p| p.slice.is_some()).count();
            Ok(variable)
        })
        .collect::<Result<Vec<_>, Error>>()?;
    if claimed != slices.len() {
        return Err(bad_index(format!(
            "it holds {} slices, of which its partitioned variables name {claimed}",
            slices.len()
        )));
    }
    Ok((files.count, variables))
}

/// Lets [`Table::scan`] carry errors of the table and of what it holds.
enum ScanError {
    Table(sstable::Error),
    Index(Error),
}

impl From<sstable::Error> for ScanError {
    fn from(error: sstable::Error) -> Self {
        Self::Table(error)
    }
}

/// What the header says of the data files.
#[derive(Clone, Copy)]
struct DataFiles {
    count: usize,
    big_endian: bool,
}

fn check_header(header: &BundleHeader, path: &Path) -> Result<DataFiles, Error> {
    let bad = |what: String| Error::Index {
        path: path.to_owned(),
        what,
    };
    let needs = header.version.as_ref().map_or(0, |v| v.min_consumer);
    if needs > VERSION {
        return Err(Error::Unsupported {
            path: path.to_owned(),
            kind: format!("a TensorBundle of version {needs} (newer than {VERSION})"),
            advice: "load and save it again with TensorFlow 1 or 2".into(),
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

/// Builds a variable from its entry and its slices' entries. Errors complete the sentence
/// "the entry of variable … ".
fn variable(
    name: &str,
    entry: &BundleEntry,
    slices: &HashMap<Vec<u8>, BundleEntry>,
    files: DataFiles,
) -> Result<Variable, String> {
    let dtype = DType::from_proto(entry.dtype);
    let shape = layout::shape(entry.shape.as_ref())?;
    let pieces = if entry.slices.is_empty() {
        vec![piece(entry, dtype, &shape, files)?]
    } else {
        partition(name, entry, dtype, &shape, slices, files)?
    };
    Ok(Variable {
        key: name.to_owned(),
        name: name.to_owned(),
        dtype,
        shape,
        pieces,
    })
}

/// The bytes that an entry points to, after checking that `shape` fits them.
fn piece(
    entry: &BundleEntry,
    dtype: DType,
    shape: &[usize],
    files: DataFiles,
) -> Result<Piece, String> {
    let shard = usize::try_from(entry.shard_id)
        .ok()
        .filter(|&shard| shard < files.count)
        .ok_or_else(|| {
            format!(
                "points to data file {}, of {} in all",
                entry.shard_id, files.count
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

    let expected = byte_len(dtype.size().unwrap_or(1), shape)?;
    if dtype.size().is_some() && len != expected {
        return Err(format!(
            "has {len} bytes, its shape {shape:?} of {dtype} takes {expected}"
        ));
    }
    Ok(Piece {
        shard,
        len,
        extent: Some(Extent {
            offset,
            crc32c: crc::unmask(entry.crc32c),
            big_endian: files.big_endian,
        }),
        slice: None,
    })
}

/// The pieces of a partitioned variable, after checking that they cover it exactly once.
fn partition(
    name: &str,
    entry: &BundleEntry,
    dtype: DType,
    shape: &[usize],
    slices: &HashMap<Vec<u8>, BundleEntry>,
    files: DataFiles,
) -> Result<Vec<Piece>, String> {
    if dtype.size().is_none() {
        return Err(format!(
            "is partitioned and of {dtype}, which cannot be joined"
        ));
    }
    let mut pieces: Vec<Piece> = Vec::with_capacity(entry.slices.len().min(MAX_SLICES));
    for (slice, ranges) in
        std::iter::zip(&entry.slices, layout::slice_ranges(&entry.slices, shape)?)
    {
        let stored = slices
            .get(&slice_key(name, slice))
            .ok_or_else(|| format!("lists the slice {ranges:?}, which is not there"))?;
        let slice_shape = layout::slice_shape(&ranges);
        if stored.dtype != entry.dtype || layout::shape(stored.shape.as_ref())? != slice_shape {
            return Err(format!(
                "lists the slice {ranges:?}, whose own entry has another type or shape"
            ));
        }
        pieces.push(Piece {
            slice: Some(ranges),
            ..piece(stored, dtype, &slice_shape, files)?
        });
    }
    layout::check_filled(&pieces, dtype, shape)?;
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::super::proto::{self, Dim, TensorShape, TensorSlice};
    use super::*;

    const ONE_FILE: DataFiles = DataFiles {
        count: 1,
        big_endian: false,
    };

    #[test]
    fn partitions_must_cover_a_variable_exactly_once() {
        let extent = |start, length| proto::Extent {
            start,
            length: Some(length),
        };
        let entry = |slices: &[(i64, i64)]| BundleEntry {
            dtype: 1,
            shape: Some(shape_of(6)),
            slices: slices
                .iter()
                .map(|&(start, length)| TensorSlice {
                    extent: vec![extent(start, length)],
                })
                .collect(),
            ..BundleEntry::default()
        };
        let check = |slices: &[(i64, i64)]| {
            let entry = entry(slices);
            let stored = entry
                .slices
                .iter()
                .zip(slices)
                .map(|(slice, &(_, length))| {
                    let stored = BundleEntry {
                        dtype: 1,
                        shape: Some(shape_of(length)),
                        size: length.saturating_mul(4),
                        ..BundleEntry::default()
                    };
                    (slice_key("v", slice), stored)
                });
            variable("v", &entry, &stored.collect(), ONE_FILE)
        };
        assert_eq!(check(&[(0, 4), (4, 2)]).unwrap().pieces.len(), 2);
        for (slices, word) in [
            (&[(0, 4)][..], "takes 24"),
            (&[(0, 4), (3, 3)], "overlaps"),
            (&[(0, 4), (0, 4)], "overlaps"),
            (&[(0, 4), (4, 3)], "on an axis of 6"),
            (&[(-1, 4)], "on an axis of 6"),
            (&[(i64::MAX, i64::MAX)], "on an axis of 6"),
        ] {
            let error = check(slices).unwrap_err();
            assert!(error.contains(word), "{slices:?}: {error}");
        }
        let missing = variable("v", &entry(&[(0, 6)]), &HashMap::new(), ONE_FILE);
        assert!(missing.unwrap_err().contains("not there"));
    }

    fn shape_of(size: i64) -> TensorShape {
        TensorShape {
            dim: vec![Dim { size }],
            unknown_rank: false,
        }
    }
}
