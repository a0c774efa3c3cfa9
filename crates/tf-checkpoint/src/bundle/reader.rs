//! TensorBundle, the V2 checkpoint format: an index with the location of each variable
//! ([`crate::bundle::index`]), and the raw bytes in one or several data files.
//!
//! Source: `tensorflow/core/util/tensor_bundle/`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::bundle::index::read_index;
use crate::bundle::object_graph::{self, GRAPH_KEY};
use crate::contiguous::{Contiguous, extent};
use crate::error::{Error, Fault};
use crate::file_range::FileRange;
use crate::limits::Limits;
use crate::locate::Location;
use crate::reader::Reader;
use crate::storage::ReadAt;
use crate::variable::{Piece, Variable, swap_bytes};

/// A data file, open if it exists.
#[derive(Debug)]
struct Shard {
    path: PathBuf,
    file: Option<Arc<dyn ReadAt>>,
}

/// An open TensorBundle.
#[derive(Debug)]
pub(crate) struct Bundle {
    variables: Vec<Variable>,
    /// The data files that hold a variable, by index.
    shards: BTreeMap<usize, Shard>,
    shard_count: usize,
}

impl Bundle {
    pub(crate) fn open(location: &Location) -> Result<Self, Error> {
        let path = location.index_path();
        let storage = location.storage();
        let file = storage
            .open(&path)
            .map_err(|source| Error::reading(&path, source))?;
        file.prepare_all();
        let limits = location.limits();
        let (shard_count, variables) = read_index(file, &path, limits)
            .map_err(|error| storage.stand_in(&path).unwrap_or(error))?;

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
            bundle.name_by_objects(&path, limits)?;
        }
        Ok(bundle)
    }

    /// Sets the names of the variables of an object-based checkpoint.
    fn name_by_objects(&mut self, index: &Path, limits: &Limits) -> Result<(), Error> {
        let Some(graph) = self.variables.iter().find(|v| v.key == GRAPH_KEY) else {
            return Err(Error::Index {
                path: index.to_owned(),
                what: format!(
                    "its variables are those of an object graph, but {GRAPH_KEY} is missing"
                ),
            });
        };
        let error = |fault: Fault| fault.at(index, GRAPH_KEY);
        let [piece] = &graph.pieces[..] else {
            return Err(error("is partitioned".into()));
        };
        if piece.len > object_graph::MAX_LEN {
            let most = object_graph::MAX_LEN;
            let what = format!("has {} bytes, more than {most}", piece.len);
            return Err(error(what.into()));
        }
        self.check_present(graph, 0)?;
        let mut bytes = vec![0; usize::try_from(piece.len).expect("bounded by MAX_LEN")];
        self.bytes(graph, piece)?.read(&mut bytes, 0)?;
        let checksum = extent(piece).crc32c.expect("bundles have checksums");
        let text = object_graph::string(&bytes, checksum).map_err(error)?;
        let mut budget = limits.budget(piece.len);
        object_graph::name(&mut self.variables, text, &mut budget).map_err(error)
    }

    /// Returns a piece as a run of bytes.
    fn bytes<'a>(
        &'a self,
        variable: &'a Variable,
        piece: &'a Piece,
    ) -> Result<Contiguous<'a>, Error> {
        let Shard { path, file } = &self.shards[&piece.shard];
        match file {
            Some(file) => Ok(Contiguous {
                path,
                file: file.as_ref(),
                variable,
                piece,
                copies: &[],
            }),
            None => Err(Error::ShardMissing {
                path: path.clone(),
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
        let bytes = self.bytes(variable, &variable.pieces[piece])?;
        if bytes.end() > bytes.file.len() {
            return Err(bytes.truncated());
        }
        Ok(())
    }

    fn ranges<'a>(&'a self, variable: &'a Variable) -> Vec<FileRange<'a>> {
        let pieces = variable.pieces.iter();
        let range = |piece: &'a Piece| {
            let bytes = self.bytes(variable, piece).ok()?;
            Some(FileRange {
                file: bytes.file,
                range: bytes.offset()..bytes.end(),
            })
        };
        pieces.filter_map(range).collect()
    }

    fn read_piece(&self, variable: &Variable, piece: usize, buf: &mut [u8]) -> Result<(), Error> {
        let bytes = self.bytes(variable, &variable.pieces[piece])?;
        bytes.read(buf, 0)?;
        bytes.check(crc32c::crc32c(buf))?;
        if let (true, Some(size)) = (bytes.extent().big_endian, variable.dtype.size()) {
            swap_bytes(buf, size);
        }
        Ok(())
    }

    fn contiguous<'a>(&'a self, variable: &'a Variable) -> Option<Contiguous<'a>> {
        let [piece @ Piece { slice: None, .. }] = &variable.pieces[..] else {
            return None;
        };
        let bytes = self.bytes(variable, piece).ok()?;
        (!bytes.extent().big_endian).then_some(bytes)
    }
}
