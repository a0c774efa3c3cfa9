//! The [`Reader`] of a file of Keras weights.

use std::path::PathBuf;
use std::sync::Arc;

use super::keras::{self, Listed};
use crate::contiguous::Contiguous;
use crate::error::Error;
use crate::file_range::FileRange;
use crate::layout::check_apart;
use crate::locate::Location;
use crate::reader::Reader;
use crate::storage::ReadAt;
use crate::variable::{Piece, StoredBytes, Variable, position, swap_bytes};

/// An open file of Keras weights.
#[derive(Debug)]
pub(crate) struct Weights {
    path: PathBuf,
    file: Arc<dyn ReadAt>,
    variables: Vec<Variable>,
    /// The offsets of further copies of each variable.
    copies: Vec<Vec<u64>>,
}

impl Weights {
    pub(crate) fn open(location: &Location) -> Result<Self, Error> {
        let path = location.prefix().to_owned();
        let file = location.storage().open(&path);
        let file = file.map_err(|source| Error::reading(&path, source))?;
        let (mut listed, source) = keras::read(file, &path, location.limits())?;
        // The order of the attributes is kept among equal names.
        listed.sort_by(|a, b| a.name.cmp(&b.name));

        let mut variables: Vec<Variable> = Vec::with_capacity(listed.len());
        let mut copies: Vec<Vec<u64>> = Vec::with_capacity(listed.len());
        let bad = |what: String| Error::Index {
            path: path.clone(),
            what,
        };
        for same in listed.chunk_by(|a, b| a.name == b.name) {
            let mut places: Vec<u64> = Vec::new();
            for Listed { path, dataset, .. } in same {
                let first = &same[0];
                if (dataset.dtype, &dataset.shape, dataset.big_endian)
                    != (
                        first.dataset.dtype,
                        &first.dataset.shape,
                        first.dataset.big_endian,
                    )
                {
                    return Err(bad(format!(
                        "datasets {:?} and {path:?} have the same name of a variable, but not the same \
                         dtype and shape",
                        first.path
                    )));
                }
                places.push(dataset.offset);
            }
            // Two layers may list one dataset.
            let first = places.remove(0);
            places.retain(|&place| place != first);
            places.sort_unstable();
            places.dedup();
            variables.push(variable(&same[0]));
            copies.push(places);
        }
        if variables.is_empty() {
            return Err(bad("it lists no variables".into()));
        }
        let places = std::iter::zip(&variables, &copies).flat_map(|(variable, copies)| {
            let piece = &variable.pieces[0];
            let first = piece.extent.map(|extent| extent.offset);
            let all = first.into_iter().chain(copies.iter().copied());
            all.map(|offset| (0, offset..offset + piece.len, &variable.name[..]))
        });
        check_apart(places, &source.budget).map_err(|(name, fault)| fault.at(&path, name))?;
        Ok(Self {
            path,
            file: source.into_file(),
            variables,
            copies,
        })
    }
}

fn variable(listed: &Listed) -> Variable {
    let Listed {
        name,
        path,
        dataset,
    } = listed;
    Variable {
        key: path.clone(),
        name: name.clone(),
        full_name: None,
        object_paths: Vec::new(),
        dtype: dataset.dtype,
        shape: dataset.shape.clone(),
        pieces: vec![Piece {
            shard: 0,
            len: dataset.len,
            extent: Some(StoredBytes {
                offset: dataset.offset,
                crc32c: None,
                big_endian: dataset.big_endian,
            }),
            slice: None,
        }],
    }
}

impl Weights {
    fn bytes<'a>(&'a self, variable: &'a Variable) -> Contiguous<'a> {
        let at = position(&self.variables, &variable.name);
        Contiguous {
            path: &self.path,
            file: self.file.as_ref(),
            variable,
            piece: &variable.pieces[0],
            copies: at.map_or(&[], |at| &self.copies[at]),
        }
    }
}

impl Reader for Weights {
    fn variables(&self) -> &[Variable] {
        &self.variables
    }

    fn shard_count(&self) -> usize {
        1
    }

    /// The places were checked against the length of the file when it was opened.
    fn check_present(&self, _: &Variable, _: usize) -> Result<(), Error> {
        Ok(())
    }

    fn ranges<'a>(&'a self, variable: &'a Variable) -> Vec<FileRange<'a>> {
        let run = self.bytes(variable);
        let copies = run.copies.iter().copied();
        let range = |offset| FileRange {
            file: run.file,
            range: offset..offset + run.piece.len,
        };
        [run.offset()]
            .into_iter()
            .chain(copies)
            .map(range)
            .collect()
    }

    fn read_piece(&self, variable: &Variable, _: usize, buf: &mut [u8]) -> Result<(), Error> {
        let bytes = self.bytes(variable);
        bytes.read(buf, 0)?;
        if let (true, Some(size)) = (bytes.extent().big_endian, variable.dtype.size()) {
            swap_bytes(buf, size);
        }
        Ok(())
    }

    fn contiguous<'a>(&'a self, variable: &'a Variable) -> Option<Contiguous<'a>> {
        let bytes = self.bytes(variable);
        (!bytes.extent().big_endian).then_some(bytes)
    }
}
