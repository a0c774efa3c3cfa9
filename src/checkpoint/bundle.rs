//! TensorBundle, the V2 checkpoint format: an index that says where each variable is
//! ([`super::index`]), and the raw bytes in one data file or several.
//!
//! Source: `tensorflow/core/util/tensor_bundle/`.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::index::read_index;
use super::source::{LocalFile, ReadAt};
use super::{Error, Location, Piece, Variable};
use ndarray::{ArrayView, ArrayViewMut, Axis, Slice};

/// A data file, open if it is there.
#[derive(Debug)]
struct Shard {
    path: PathBuf,
    file: Option<LocalFile>,
}

/// An open TensorBundle.
#[derive(Debug)]
pub(crate) struct Bundle {
    variables: Vec<Variable>,
    /// The shards that hold a variable, by number.
    shards: BTreeMap<usize, Shard>,
    shard_count: usize,
}

impl Bundle {
    pub(crate) fn open(location: &Location) -> Result<Self, Error> {
        let path = location.index_path();
        let file = LocalFile::open(&path).map_err(|source| Error::Io {
            path: path.clone(),
            source,
        })?;
        let (shard_count, variables) = read_index(file, &path)?;

        let mut shards = BTreeMap::new();
        for shard in variables.iter().flat_map(|v| &v.pieces).map(|p| p.shard) {
            if shards.contains_key(&shard) {
                continue;
            }
            let path = location.data_path(shard, shard_count);
            let file = match LocalFile::open(&path) {
                Ok(file) => Some(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(source) => return Err(Error::Io { path, source }),
            };
            shards.insert(shard, Shard { path, file });
        }
        Ok(Self {
            variables,
            shards,
            shard_count,
        })
    }

    pub(crate) fn variables(&self) -> &[Variable] {
        &self.variables
    }

    pub(crate) fn shard_count(&self) -> usize {
        self.shard_count
    }

    pub(crate) fn check_present(&self, variable: &Variable) -> Result<(), Error> {
        for piece in &variable.pieces {
            let (path, file) = self.shard(piece, variable)?;
            let end = piece.offset + piece.len;
            if end > file.len() {
                return Err(Error::ShardTruncated {
                    path: path.to_owned(),
                    variable: variable.name.clone(),
                    end,
                    len: file.len(),
                });
            }
        }
        Ok(())
    }

    pub(crate) fn read(&self, variable: &Variable, buf: &mut [u8]) -> Result<(), Error> {
        assert_eq!(buf.len() as u64, variable.bytes(), "size of the buffer");
        for piece in &variable.pieces {
            match &piece.slice {
                None => self.read_piece(variable, piece, buf)?,
                Some(ranges) => {
                    let len = usize::try_from(piece.len).expect("no longer than the buffer");
                    let mut slice = vec![0; len];
                    self.read_piece(variable, piece, &mut slice)?;
                    place(&slice, ranges, variable, buf);
                }
            }
        }
        Ok(())
    }

    fn read_piece(&self, variable: &Variable, piece: &Piece, buf: &mut [u8]) -> Result<(), Error> {
        let (path, file) = self.shard(piece, variable)?;
        file.read_exact_at(buf, piece.offset)
            .map_err(|source| match source.kind() {
                io::ErrorKind::UnexpectedEof => Error::ShardTruncated {
                    path: path.to_owned(),
                    variable: variable.name.clone(),
                    end: piece.offset + piece.len,
                    len: file.len(),
                },
                _ => Error::Io {
                    path: path.to_owned(),
                    source,
                },
            })?;
        let found = crc32c::crc32c(buf);
        if found != piece.crc32c {
            return Err(Error::Checksum {
                path: path.to_owned(),
                variable: variable.name.clone(),
                offset: piece.offset,
                len: piece.len,
                expected: piece.crc32c,
                found,
            });
        }
        Ok(())
    }

    fn shard(&self, piece: &Piece, variable: &Variable) -> Result<(&Path, &LocalFile), Error> {
        let shard = &self.shards[&piece.shard];
        match &shard.file {
            Some(file) => Ok((&shard.path, file)),
            None => Err(Error::ShardMissing {
                path: shard.path.clone(),
                variable: variable.name.clone(),
            }),
        }
    }
}

/// Copies the bytes of one slice to their place in the whole variable.
fn place(slice: &[u8], ranges: &[Range<usize>], variable: &Variable, whole: &mut [u8]) {
    let element = variable.dtype.size().expect("slices have a known type");
    // The bytes of an element become a last axis, so that any element type will do.
    let with_bytes = |shape: &mut Vec<usize>| shape.push(element);
    let mut whole_shape = variable.shape.clone();
    with_bytes(&mut whole_shape);
    let mut slice_shape: Vec<usize> = ranges.iter().map(ExactSizeIterator::len).collect();
    with_bytes(&mut slice_shape);

    let mut target = ArrayViewMut::from_shape(whole_shape, whole).expect("checked when opened");
    for (axis, range) in ranges.iter().enumerate() {
        target.slice_axis_inplace(Axis(axis), Slice::from(range.clone()));
    }
    target.assign(&ArrayView::from_shape(slice_shape, slice).expect("checked when opened"));
}

#[cfg(test)]
mod tests {
    use super::super::DType;
    use super::*;

    #[test]
    fn slices_along_any_axis_are_joined() {
        let variable = Variable {
            name: "v".into(),
            dtype: DType::Float16,
            shape: vec![2, 3],
            pieces: Vec::new(),
        };
        let mut whole = vec![0; 12];
        place(&[1, 1, 4, 4], &[0..2, 0..1], &variable, &mut whole);
        place(
            &[2, 2, 3, 3, 5, 5, 6, 6],
            &[0..2, 1..3],
            &variable,
            &mut whole,
        );
        assert_eq!(whole, [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]);
    }
}
