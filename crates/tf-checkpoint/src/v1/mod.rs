//! V1 checkpoints, the format before TensorFlow 1.0 and an option since.
//!
//! Each file is a [`Table`](crate::sstable::Table). Its empty key holds a `SavedTensorSlices` that lists
//! the variables and the slices of each in this file ([`table`]). Every slice has a key of its own
//! ([`crate::slice_key`]), whose value is a `SavedTensorSlices` with the numbers in a typed field of a
//! `TensorProto` ([`values`]). A variable has no checksum; the CRC-32C of its block is verified on each
//! read. The list is counted before it is kept ([`crate::limits`]), and numbers are written directly
//! into the buffer of the caller. The blocks of all slices are looked up when the checkpoint is opened.
//! Source: `tensorflow/core/util/saved_tensor_slice.proto`, `tensor_slice_writer.cc`.

mod table;
mod values;

use std::collections::BTreeMap;

use crate::error::{Error, Fault};
use crate::file_range::FileRange;
use crate::layout::{self, StatedSlice, byte_len};
use crate::limits::Budget;
use crate::locate::Location;
use crate::reader::Reader;
use crate::slice_key::slice_key;
use crate::sstable::BlockHandle;
use crate::variable::{DType, Piece, Variable, position};
use table::{Parts, TableFile};
use values::{expansion, read_values};

/// An open V1 checkpoint.
#[derive(Debug)]
pub(crate) struct Tables {
    variables: Vec<Variable>,
    /// The location of each piece of each variable, in the order of both.
    places: Vec<Vec<Place>>,
    files: Vec<TableFile>,
}

/// The location of a piece of a variable in its file.
#[derive(Debug)]
struct Place {
    /// The end of the key.
    code: Vec<u8>,
    /// The block that can contain the key; `None` if the table ends before it.
    block: Option<BlockHandle>,
}

impl Tables {
    pub(crate) fn open(location: &Location) -> Result<Self, Error> {
        let count = location.table_count();
        let limits = location.limits();
        let mut files = Vec::new();
        let mut parts: BTreeMap<String, Parts> = BTreeMap::new();
        let mut budget = limits.budget(0);
        for shard in 0..count {
            let path = location.data_path(shard, count);
            let storage = location.storage();
            let kind = storage.kind(&path);
            if kind
                .map_err(|source| Error::reading(&path, source))?
                .is_none()
            {
                return Err(Error::TableMissing { path, count });
            }
            let file = TableFile::open(location, path.clone())
                .map_err(|error| storage.stand_in(&path).unwrap_or(error))?;
            budget.add(limits, file.table.file_len());
            file.list(shard, &mut parts, &mut budget)?;
            files.push(file);
        }
        if parts.is_empty() {
            return Err(files[0].bad("it lists no variables"));
        }

        let mut variables = Vec::with_capacity(parts.len());
        let mut places = Vec::with_capacity(parts.len());
        for (name, parts) in parts {
            let path = &files[parts.slices[0].0].path;
            let (variable, codes) =
                variable(&name, parts, &budget).map_err(|fault| fault.at(path, &name))?;
            variables.push(variable);
            places.push(codes);
        }
        let mut tables = Self {
            variables,
            places,
            files,
        };
        tables.find_blocks()?;
        Ok(tables)
    }

    /// Looks up the block of every piece. Names and codes are in the order of the keys.
    fn find_blocks(&mut self) -> Result<(), Error> {
        let mut pieces: Vec<Vec<(usize, usize)>> = vec![Vec::new(); self.files.len()];
        for (at, variable) in self.variables.iter().enumerate() {
            for (number, piece) in variable.pieces.iter().enumerate() {
                pieces[piece.shard].push((at, number));
            }
        }
        for (file, pieces) in std::iter::zip(&self.files, pieces) {
            let keys = pieces.iter().map(|&(at, number)| {
                slice_key(&self.variables[at].name, &self.places[at][number].code)
            });
            let blocks = file.table.blocks_of(keys);
            let blocks = blocks.map_err(|source| Error::table(&file.path, source))?;
            for ((at, number), block) in std::iter::zip(pieces, blocks) {
                self.places[at][number].block = block;
            }
        }
        Ok(())
    }
}

/// Creates a variable from its slices, after checking that they cover it exactly once.
fn variable(name: &str, parts: Parts, budget: &Budget) -> Result<(Variable, Vec<Place>), Fault> {
    let Parts {
        dtype,
        shape,
        mut slices,
    } = parts;
    let dtype = DType::from_proto(dtype);
    byte_len(dtype.size().unwrap_or(1), &shape)?;
    let ranges = slices.iter().map(|(_, slice)| &slice.ranges[..]);
    layout::check_cover(ranges, &shape, budget)?;

    slices.sort_by(|(_, a), (_, b)| a.code.cmp(&b.code));
    let whole: Vec<_> = shape.iter().map(|&size| 0..size).collect();
    let mut pieces = Vec::with_capacity(slices.len());
    let mut places = Vec::with_capacity(slices.len());
    for (shard, StatedSlice { ranges, code }) in slices {
        // The length of an element of another dtype is not known.
        let len = byte_len(dtype.size().unwrap_or(0), &layout::slice_shape(&ranges))?;
        pieces.push(Piece {
            shard,
            len,
            extent: None,
            slice: (ranges != whole).then_some(ranges),
        });
        places.push(Place { code, block: None });
    }
    let variable = Variable {
        key: name.to_owned(),
        name: name.to_owned(),
        full_name: None,
        object_paths: Vec::new(),
        dtype,
        shape,
        pieces,
    };
    Ok((variable, places))
}

impl Reader for Tables {
    fn variables(&self) -> &[Variable] {
        &self.variables
    }

    fn shard_count(&self) -> usize {
        self.files.len()
    }

    /// Checks that the block can hold as many numbers as the shape states, because the caller allocates the
    /// buffer first. The tables are open, and their blocks lie within the files.
    fn check_present(&self, variable: &Variable, piece: usize) -> Result<(), Error> {
        let file = &self.files[variable.pieces[piece].shard];
        let at = position(&self.variables, &variable.name);
        let block = at.and_then(|at| self.places[at].get(piece)?.block);
        let most = block.map_or(0, BlockHandle::longest);
        let len = variable.pieces[piece].len;
        if len / expansion(variable.dtype) > most {
            let what = format!("has {len} bytes by its shape, more than its block can hold");
            return Err(Fault::from(what).at(&file.path, &variable.name));
        }
        Ok(())
    }

    fn ranges<'a>(&'a self, variable: &'a Variable) -> Vec<FileRange<'a>> {
        let Some(at) = position(&self.variables, &variable.name) else {
            return Vec::new();
        };
        let places = std::iter::zip(&variable.pieces, &self.places[at]);
        let range = |(piece, place): (&Piece, &Place)| {
            let table = &self.files[piece.shard].table;
            Some(table.range(place.block?))
        };
        places.filter_map(range).collect()
    }

    fn read_piece(&self, variable: &Variable, piece: usize, buf: &mut [u8]) -> Result<(), Error> {
        let file = &self.files[variable.pieces[piece].shard];
        let fault = |fault: Fault| fault.at(&file.path, &variable.name);
        let at = position(&self.variables, &variable.name);
        let place = at.and_then(|at| self.places[at].get(piece));
        let missing = || fault("lists a slice that is not there".into());
        let Some(Place { code, block }) = place else {
            return Err(missing());
        };
        let block = file.block(block.ok_or_else(missing)?)?;
        let key = slice_key(&variable.name, code);
        let message = block.get(&key).ok_or_else(missing)?;
        read_values(message, variable, buf).map_err(fault)
    }
}
