//! TensorBundle, the V2 checkpoint format: an index that says where each variable is
//! ([`super::index`]), and the raw bytes in one data file or several.
//!
//! Source: `tensorflow/core/util/tensor_bundle/`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::index::read_index;
use super::object_graph::{self, GRAPH_KEY};
use super::source::ReadAt;
use super::{Error, Extent, Location, Piece, Reader, Variable, swap_bytes};

/// A data file, open if it is there.
#[derive(Debug)]
struct Shard {
    path: PathBuf,
    file: Option<Arc<dyn ReadAt>>,
}

/// An open TensorBundle.
#[derive(Debug)]
pub(super) struct Bundle {
    variables: Vec<Variable>,
    /// The shards that hold a variable, by number.
    shards: BTreeMap<usize, Shard>,
    shard_count: usize,
}

impl Bundle {
    pub(super) fn open(location: &Location) -> Result<Self, Error> {
        let path = location.index_path();
        let storage = location.storage();
        let file = storage
            .open(&path)
            .map_err(|source| Error::reading(&path, source))?;
        let (shard_count, variables) = read_index(file, &path)?;

        let mut shards = BTreeMap::new();
        for shard in variables.iter().flat_map(|v| &v.pieces).map(|p| p.shard) {
            if shards.contains_key(&shard) {
                continue;
            }
            let path = location.data_path(shard, shard_count);
            let file = match storage.open(&path) {
                Ok(file) => Some(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(source) => return Err(Error::reading(&path, source)),
            };
            shards.insert(shard, Shard { path, file });
        }
        let mut bundle = Self {
            variables,
            shards,
            shard_count,
        };
        if object_graph::is_object_based(&bundle.variables) {
            bundle.name_by_objects(&path)?;
        }
        Ok(bundle)
    }

    /// Gives the variables of an object-based checkpoint the names that its graph records.
    fn name_by_objects(&mut self, index: &Path) -> Result<(), Error> {
        let Some(graph) = self.variables.iter().find(|v| v.key == GRAPH_KEY) else {
            return Err(Error::Index {
                path: index.to_owned(),
                what: format!(
                    "its variables are those of an object graph, but {GRAPH_KEY} is missing"
                ),
            });
        };
        let error = |what: String| Error::Entry {
            path: index.to_owned(),
            variable: GRAPH_KEY.to_owned(),
            what,
        };
        let [piece] = &graph.pieces[..] else {
            return Err(error("is partitioned".into()));
        };
        if piece.len > object_graph::MAX_LEN {
            let most = object_graph::MAX_LEN;
            return Err(error(format!("has {} bytes, more than {most}", piece.len)));
        }
        self.check_present(graph, 0)?;
        let mut bytes = vec![0; usize::try_from(piece.len).expect("bounded by MAX_LEN")];
        self.read_bytes(graph, piece, &mut bytes)?;
        let text = object_graph::string(&bytes, extent(piece).crc32c).map_err(error)?;
        object_graph::name(&mut self.variables, text).map_err(error)
    }

    /// Reads the bytes of a piece as they are in the file.
    fn read_bytes(&self, variable: &Variable, piece: &Piece, buf: &mut [u8]) -> Result<(), Error> {
        let (path, file) = self.shard(piece, variable)?;
        let offset = extent(piece).offset;
        file.read_exact_at(buf, offset)
            .map_err(|source| match source.kind() {
                io::ErrorKind::UnexpectedEof => Error::ShardTruncated {
                    path: path.to_owned(),
                    variable: variable.name.clone(),
                    end: offset + piece.len,
                    len: file.len(),
                },
                _ => Error::reading(path, source),
            })
    }

    fn shard(&self, piece: &Piece, variable: &Variable) -> Result<(&Path, &dyn ReadAt), Error> {
        let shard = &self.shards[&piece.shard];
        match &shard.file {
            Some(file) => Ok((&shard.path, file.as_ref())),
            None => Err(Error::ShardMissing {
                path: shard.path.clone(),
                variable: variable.name.clone(),
            }),
        }
    }
}

impl Reader for Bundle {
    fn variables(&self) -> &[Variable] {
        &self.variables
    }

    fn shard_count(&self) -> usize {
        self.shard_count
    }

    fn check_present(&self, variable: &Variable, piece: usize) -> Result<(), Error> {
        let piece = &variable.pieces[piece];
        let (path, file) = self.shard(piece, variable)?;
        let end = extent(piece).offset + piece.len;
        if end > file.len() {
            return Err(Error::ShardTruncated {
                path: path.to_owned(),
                variable: variable.name.clone(),
                end,
                len: file.len(),
            });
        }
        Ok(())
    }

    fn read_piece(&self, variable: &Variable, piece: usize, buf: &mut [u8]) -> Result<(), Error> {
        let piece = &variable.pieces[piece];
        self.read_bytes(variable, piece, buf)?;
        let Extent {
            offset,
            crc32c,
            big_endian,
        } = extent(piece);
        let found = crc32c::crc32c(buf);
        if found != crc32c {
            return Err(Error::Checksum {
                path: self.shards[&piece.shard].path.clone(),
                variable: variable.name.clone(),
                offset,
                len: piece.len,
                expected: crc32c,
                found,
            });
        }
        if let (true, Some(size)) = (big_endian, variable.dtype.size()) {
            swap_bytes(buf, size);
        }
        Ok(())
    }
}

fn extent(piece: &Piece) -> Extent {
    piece.extent.expect("a bundle's pieces have one")
}
