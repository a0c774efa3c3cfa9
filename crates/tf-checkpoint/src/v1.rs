//! V1 checkpoints: what TensorFlow wrote before 1.0, and by request since.
//!
//! Each file is a [`Table`]. Its empty key holds a `SavedTensorSlices` that lists the variables and
//! the slices that this file has of each; every slice has a key of its own ([`crate::slice_key`]),
//! whose value is a `SavedTensorSlices` with the numbers in a typed field of a `TensorProto`. There
//! is no checksum of a variable: what protects it is the CRC-32C of its block, checked on each read.
//! Messages are walked field by field: the list is counted before it is kept ([`crate::limits`]), and
//! numbers go straight into the buffer of the caller. Which blocks hold the slices is looked up once
//! for all of them, when the checkpoint is opened.
//! Source: `tensorflow/core/util/saved_tensor_slice.proto`, `tensor_slice_writer.cc`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::error::{Error, Fault};
use crate::foreign::FileKind;
use crate::layout::{self, StatedSlice, byte_len};
use crate::limits::Budget;
use crate::locate::Location;
use crate::protobuf::message::{Field, fields, read_version, submessages};
use crate::reader::Reader;
use crate::slice_key::slice_key;
use crate::sstable::{Block, BlockHandle, Table};
use crate::storage::ReadAt;
use crate::variable::{DType, Piece, Variable, position};

/// The largest block accepted, in bytes: a block holds whole tensors, and protobuf messages, which
/// they are, end there.
const MAX_BLOCK_LEN: u64 = 1 << 31;

/// The newest format version read (`TF_CHECKPOINT_VERSION`).
const VERSION: i32 = 1;

/// Numbers of fields: in a `SavedTensorSlices`,
const LIST: u32 = 1;
const DATA: u32 = 2;
/// in the `SavedTensorSliceMeta` of its list,
const LISTED: u32 = 1;
const VERSIONS: u32 = 2;
/// and in a `SavedSliceMeta`.
const SLICE: u32 = 4;

/// An open V1 checkpoint.
#[derive(Debug)]
pub(crate) struct Tables {
    variables: Vec<Variable>,
    /// Where the pieces of each variable are, in the order of both.
    places: Vec<Vec<Place>>,
    files: Vec<TableFile>,
}

/// Where a piece of a variable is in its file.
#[derive(Debug)]
struct Place {
    /// The end of its key.
    code: Vec<u8>,
    /// The block that it must be in; `None` if the table ends before its key.
    block: Option<BlockHandle>,
}

/// One of the files.
struct TableFile {
    path: PathBuf,
    table: Table<Arc<dyn ReadAt>>,
    /// The block read last: small variables share theirs with their neighbours.
    last: Mutex<Option<(BlockHandle, Arc<Block>)>>,
}

/// What the files say of one variable, as it is put together.
struct Parts {
    dtype: i32,
    shape: Vec<usize>,
    /// With the number of the file that each is in.
    slices: Vec<(usize, StatedSlice)>,
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

    /// Looks up the block of every piece. The order of names and codes is that of the keys.
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

/// Puts a variable together, after checking that its slices fill it exactly once.
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
        // How many bytes an element of a type not known here takes cannot be known.
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
        dtype,
        shape,
        pieces,
    };
    Ok((variable, places))
}

impl TableFile {
    fn open(location: &Location, path: PathBuf) -> Result<Self, Error> {
        let source = location
            .storage()
            .open(&path)
            .map_err(|source| Error::reading(&path, source))?;
        let table = Table::within(location.limits(), MAX_BLOCK_LEN, source)
            .map_err(|source| Error::table(&path, source))?;
        Ok(Self {
            path,
            table,
            last: Mutex::default(),
        })
    }

    /// Adds the variables of which there are slices in this file, the one with the number `shard`.
    fn list(
        &self,
        shard: usize,
        parts: &mut BTreeMap<String, Parts>,
        budget: &mut Budget,
    ) -> Result<(), Error> {
        let no_list = || self.bad("it does not start with the list of a V1 checkpoint");
        let damaged = |source| Error::table(&self.path, source);
        let first = self.table.blocks_of(std::iter::once(Vec::new()));
        let Some(Some(handle)) = first.map_err(damaged)?.pop() else {
            return Err(no_list());
        };
        let block = self.block(handle)?;
        let message = block.get(&[]).ok_or_else(no_list)?;
        let mut is_list = false;
        for list in submessages(message, LIST) {
            let list = list.map_err(|_| no_list())?;
            is_list = true;
            self.check_version(list)?;
            for meta in submessages(list, LISTED) {
                let listed = Listed::read(meta.map_err(|_| no_list())?)
                    .map_err(|fault| fault.at(&self.path, "(in the list)"))?;
                listed
                    .add(parts, shard, budget)
                    .map_err(|fault| fault.at(&self.path, listed.name))?;
            }
        }
        if is_list { Ok(()) } else { Err(no_list()) }
    }

    fn check_version(&self, list: &[u8]) -> Result<(), Error> {
        let mut needs = 0;
        for versions in submessages(list, VERSIONS) {
            versions
                .and_then(|versions| read_version(versions, &mut needs))
                .map_err(|error| {
                    self.bad(&format!("the list of its variables is malformed: {error}"))
                })?;
        }
        if needs > VERSION {
            return Err(Error::Unsupported {
                path: self.path.clone(),
                kind: FileKind::Version,
                what: format!("a V1 checkpoint of version {needs} (newer than {VERSION})"),
                advice: "load and save it again with TensorFlow 1 or 2".into(),
                checkpoint: None,
            });
        }
        Ok(())
    }

    /// The block at `handle`, from memory if it was the last.
    fn block(&self, handle: BlockHandle) -> Result<Arc<Block>, Error> {
        let mut last = self.last.lock();
        if let Some((at, block)) = &*last
            && *at == handle
        {
            return Ok(Arc::clone(block));
        }
        // The old block goes first: blocks can be as large as the largest variable.
        *last = None;
        let block = self.table.load_block(handle);
        let block = Arc::new(block.map_err(|source| Error::table(&self.path, source))?);
        *last = Some((handle, Arc::clone(&block)));
        Ok(block)
    }

    fn bad(&self, what: &str) -> Error {
        Error::Index {
            path: self.path.clone(),
            what: what.to_owned(),
        }
    }
}

impl fmt::Debug for TableFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TableFile").field(&self.path).finish()
    }
}

/// A `SavedSliceMeta`: a variable, and the slices of it in one file.
struct Listed<'a> {
    message: &'a [u8],
    name: &'a str,
    dtype: i32,
    shape: Vec<usize>,
}

impl<'a> Listed<'a> {
    /// Reads everything but the slices.
    fn read(message: &'a [u8]) -> Result<Self, Fault> {
        let mut listed = Self {
            message,
            name: "",
            dtype: 0,
            shape: Vec::new(),
        };
        for field in fields(message) {
            let field = field?;
            match field.number {
                1 => listed.name = field.text()?,
                2 => layout::read_shape(field.bytes()?, &mut listed.shape)?,
                3 => listed.dtype = field.int32()?,
                _ => {}
            }
        }
        Ok(listed)
    }

    /// Adds the slices in this file to those in others.
    fn add(
        &self,
        parts: &mut BTreeMap<String, Parts>,
        shard: usize,
        budget: &mut Budget,
    ) -> Result<(), Fault> {
        // The name is kept as a key, and as the name of the variable; a list that grows holds its
        // elements twice for a moment.
        let kept = size_of::<Parts>() + 2 * size_of::<Variable>() + 3 * self.name.len();
        budget.take(kept + 2 * size_of_val(&self.shape[..]))?;
        let known = parts.entry(self.name.to_owned()).or_insert_with(|| Parts {
            dtype: self.dtype,
            shape: self.shape.clone(),
            slices: Vec::new(),
        });
        if (known.dtype, &known.shape) != (self.dtype, &self.shape) {
            return Err("has another type or shape than in another place".into());
        }
        let before = known.slices.len();
        for slice in submessages(self.message, SLICE) {
            let slice = layout::read_slice(slice?, &self.shape, budget)?;
            let element = size_of::<(usize, StatedSlice)>() + size_of::<Piece>();
            budget.take(2 * element + size_of::<Place>())?;
            known.slices.push((shard, slice));
        }
        if known.slices.len() == before {
            return Err("lists no slice".into());
        }
        Ok(())
    }
}

impl Reader for Tables {
    fn variables(&self) -> &[Variable] {
        &self.variables
    }

    fn shard_count(&self) -> usize {
        self.files.len()
    }

    /// Every table was opened, and its blocks lie in the file. What is left to check is that the block can
    /// hold as many numbers as the shape claims: whoever reads the piece allocates them first.
    fn check_present(&self, variable: &Variable, piece: usize) -> Result<(), Error> {
        let file = &self.files[variable.pieces[piece].shard];
        let at = position(&self.variables, &variable.name);
        let block = at.and_then(|at| self.places[at].get(piece)?.block);
        let most = block.map_or(0, BlockHandle::longest);
        let len = variable.pieces[piece].len;
        if len / expansion(variable.dtype) > most {
            let what = format!("claims {len} bytes, more than its block can hold");
            return Err(Fault::from(what).at(&file.path, &variable.name));
        }
        Ok(())
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

/// The most bytes of a number for each byte that it takes in a message, where it may be a varint of one
/// byte.
fn expansion(dtype: DType) -> u64 {
    match dtype {
        DType::Int64 => 8,
        DType::Int32 => 4,
        DType::Float16 | DType::BFloat16 => 2,
        DType::Float32 | DType::Float64 | DType::Other(_) => 1,
    }
}

/// Writes the numbers of a slice's message into `buf`.
fn read_values(message: &[u8], variable: &Variable, buf: &mut [u8]) -> Result<(), Fault> {
    let Some(size) = variable.dtype.size() else {
        return Err(format!("is of {}, which is not read here", variable.dtype).into());
    };
    let expected = buf.len() / size;
    let mut name = "";
    let mut values = Values {
        dtype: variable.dtype,
        rest: buf,
        found: 0,
    };
    let mut has_data = false;
    for slice in submessages(message, DATA) {
        has_data = true;
        for field in fields(slice?) {
            let field = field?;
            match field.number {
                1 => name = field.text()?,
                3 => values.read(field.bytes()?)?,
                _ => {}
            }
        }
    }
    if !has_data {
        return Err("has no data".into());
    }
    if name != variable.name {
        return Err(format!("is that of variable {name}").into());
    }
    let found = values.found;
    if found != expected {
        let shape = &variable.shape;
        return Err(format!("has {found} elements, its shape {shape:?} has {expected}").into());
    }
    Ok(())
}

/// Takes the numbers of a `TensorProto`.
struct Values<'a> {
    dtype: DType,
    /// The end of the buffer that is not filled yet.
    rest: &'a mut [u8],
    /// How many numbers there were, which may be more than fit.
    found: usize,
}

impl Values<'_> {
    fn read(&mut self, tensor: &[u8]) -> Result<(), Fault> {
        for field in fields(tensor) {
            let field = field?;
            match (self.dtype, field.number) {
                (DType::Float32, 5) => self.copy::<4>(field.fixed_run::<4>()?),
                (DType::Float64, 6) => self.copy::<8>(field.fixed_run::<8>()?),
                // Numbers of 32 bits are stored as varints of 64.
                (DType::Int32, 7) => self.varints::<4>(&field)?,
                (DType::Int64, 10) => self.varints::<8>(&field)?,
                // The bits of a 16-bit number are the lower half of an int32.
                (DType::Float16 | DType::BFloat16, 13) => self.varints::<2>(&field)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Copies as many numbers of `N` bytes as fit.
    fn copy<const N: usize>(&mut self, bytes: &[u8]) {
        self.found += bytes.len() / N;
        let fits = bytes.len().min(self.rest.len());
        let (filled, rest) = std::mem::take(&mut self.rest).split_at_mut(fits);
        filled.copy_from_slice(&bytes[..fits]);
        self.rest = rest;
    }

    /// Copies the lower `N` bytes of as many numbers as fit.
    fn varints<const N: usize>(&mut self, field: &Field<'_>) -> Result<(), Fault> {
        Ok(field.each_varint(|value| {
            let bytes = value.to_le_bytes();
            self.copy::<N>(&bytes[..N]);
        })?)
    }
}
