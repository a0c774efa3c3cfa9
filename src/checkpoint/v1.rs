//! V1 checkpoints: what TensorFlow wrote before 1.0, and by request since.
//!
//! Each file is a [`Table`]. Its empty key holds a `SavedTensorSlices` that lists the variables and
//! the slices that this file has of each; every slice has a key of its own ([`super::slice_key`]),
//! whose value is a `SavedTensorSlices` with the numbers in a typed field of a `TensorProto`. There
//! is no checksum of a variable: what protects it is the CRC-32C of its block, checked on each read.
//! Source: `tensorflow/core/util/saved_tensor_slice.proto`, `tensor_slice_writer.cc`.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use prost::Message;

use super::layout::{self, byte_len};
use super::proto::{SavedSliceMeta, SavedTensorSlices, TensorSlice, TensorValue};
use super::slice_key::slice_key;
use super::source::ReadAt;
use super::sstable::{BlockHandle, Table, value_in};
use super::{DType, Error, Location, Piece, Reader, Variable};
use crate::threads::lock;

/// The largest block accepted, in bytes: a block holds whole tensors, and protobuf messages, which
/// they are, end there.
const MAX_BLOCK_LEN: u64 = 1 << 31;
/// The most bytes that an element takes in a message: a varint of 64 bits.
const MAX_ELEMENT_LEN: usize = 10;
/// The most bytes that a slice's message takes beside its elements: names and shapes.
const MAX_ENVELOPE_LEN: usize = 64 << 10;

/// The newest format version read (`TF_CHECKPOINT_VERSION`).
const VERSION: i32 = 1;

/// An open V1 checkpoint.
#[derive(Debug)]
pub(super) struct Tables {
    variables: Vec<Variable>,
    /// The key of each piece, by the name of the variable.
    keys: HashMap<String, Vec<Vec<u8>>>,
    files: Vec<TableFile>,
}

/// One of the files.
struct TableFile {
    path: PathBuf,
    table: Table<Arc<dyn ReadAt>>,
    /// The block read last: small variables share theirs with their neighbours.
    last: Mutex<Option<(BlockHandle, Arc<[u8]>)>>,
}

/// What the files say of one variable, as it is put together.
struct Parts {
    dtype: i32,
    shape: Vec<usize>,
    /// With the number of the file that each is in.
    slices: Vec<(usize, TensorSlice)>,
}

impl Tables {
    pub(super) fn open(location: &Location) -> Result<Self, Error> {
        let count = location.table_count();
        let mut files = Vec::new();
        let mut parts: BTreeMap<String, Parts> = BTreeMap::new();
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
            for meta in file.list()? {
                add(&mut parts, meta, shard, &file)?;
            }
            files.push(file);
        }
        if parts.is_empty() {
            return Err(files[0].bad("it lists no variables"));
        }

        let mut keys = HashMap::with_capacity(parts.len());
        let variables = parts
            .into_iter()
            .map(|(name, parts)| {
                let slices = parts
                    .slices
                    .iter()
                    .map(|(_, slice)| slice_key(&name, slice));
                keys.insert(name.clone(), slices.collect());
                let path = &files[parts.slices[0].0].path;
                variable(&name, parts).map_err(|what| entry_error(path, &name, what))
            })
            .collect::<Result<_, Error>>()?;
        Ok(Self {
            variables,
            keys,
            files,
        })
    }
}

/// Adds what one file says of a variable to what the others do.
fn add(
    parts: &mut BTreeMap<String, Parts>,
    meta: SavedSliceMeta,
    shard: usize,
    file: &TableFile,
) -> Result<(), Error> {
    let error = |what: String| entry_error(&file.path, &meta.name, what);
    let shape = layout::shape(meta.shape.as_ref()).map_err(error)?;
    if meta.slice.is_empty() {
        return Err(error("lists no slice".into()));
    }
    let known = parts.entry(meta.name.clone()).or_insert_with(|| Parts {
        dtype: meta.dtype,
        shape: shape.clone(),
        slices: Vec::new(),
    });
    if (known.dtype, &known.shape) != (meta.dtype, &shape) {
        return Err(error(
            "has another type or shape than in another file".into(),
        ));
    }
    let slices = meta.slice.into_iter().map(|slice| (shard, slice));
    known.slices.extend(slices);
    Ok(())
}

/// Puts a variable together, after checking that its slices fill it exactly once.
fn variable(name: &str, parts: Parts) -> Result<Variable, String> {
    let Parts {
        dtype,
        shape,
        slices,
    } = parts;
    let dtype = DType::from_proto(dtype);
    let (shards, slices): (Vec<usize>, Vec<TensorSlice>) = slices.into_iter().unzip();
    let whole: Vec<_> = shape.iter().map(|&size| 0..size).collect();
    let mut pieces = Vec::with_capacity(shards.len());
    for (shard, ranges) in std::iter::zip(shards, layout::slice_ranges(&slices, &shape)?) {
        // How many bytes an element of a type not known here takes cannot be told.
        let len = byte_len(dtype.size().unwrap_or(0), &layout::slice_shape(&ranges))?;
        pieces.push(Piece {
            shard,
            len,
            extent: None,
            slice: (ranges != whole).then_some(ranges),
        });
    }
    layout::check_filled(&pieces, dtype, &shape)?;
    Ok(Variable {
        key: name.to_owned(),
        name: name.to_owned(),
        dtype,
        shape,
        pieces,
    })
}

impl TableFile {
    fn open(location: &Location, path: PathBuf) -> Result<Self, Error> {
        let source = location
            .storage()
            .open(&path)
            .map_err(|source| Error::reading(&path, source))?;
        let table = Table::with_blocks_of(MAX_BLOCK_LEN, source)
            .map_err(|source| Error::table(&path, source))?;
        Ok(Self {
            path,
            table,
            last: Mutex::default(),
        })
    }

    /// The variables of which there are slices in this file.
    fn list(&self) -> Result<Vec<SavedSliceMeta>, Error> {
        let listed = self.find(&[], |value| {
            SavedTensorSlices::decode(value).map(|slices| slices.meta)
        })?;
        let Some(Ok(Some(meta))) = listed else {
            return Err(self.bad("it does not start with the list of a V1 checkpoint"));
        };
        let needs = meta.versions.map_or(0, |versions| versions.min_consumer);
        if needs > VERSION {
            return Err(Error::Unsupported {
                path: self.path.clone(),
                kind: format!("a V1 checkpoint of version {needs} (newer than {VERSION})"),
                advice: "load and save it again with TensorFlow 1 or 2".into(),
            });
        }
        Ok(meta.tensor)
    }

    /// Calls `visit` with the value of a key; `None` when there is none.
    fn find<T>(&self, key: &[u8], visit: impl FnOnce(&[u8]) -> T) -> Result<Option<T>, Error> {
        let damaged = |source| Error::table(&self.path, source);
        let Some(handle) = self.table.block_of(key).map_err(damaged)? else {
            return Ok(None);
        };
        let mut last = lock(&self.last);
        let block = match &*last {
            Some((at, block)) if *at == handle => Arc::clone(block),
            _ => {
                // The old block goes first: blocks can be as large as the largest variable.
                *last = None;
                let block = self.table.read_block(handle).map_err(damaged)?;
                let block: Arc<[u8]> = block.into();
                *last = Some((handle, Arc::clone(&block)));
                block
            }
        };
        drop(last);
        let value = value_in(&block, handle, key).map_err(damaged)?;
        Ok(value.map(visit))
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

impl Reader for Tables {
    fn variables(&self) -> &[Variable] {
        &self.variables
    }

    fn shard_count(&self) -> usize {
        self.files.len()
    }

    fn check_present(&self, _variable: &Variable, _piece: usize) -> Result<(), Error> {
        // Every table was opened, and its blocks lie in the file.
        Ok(())
    }

    fn read_piece(&self, variable: &Variable, piece: usize, buf: &mut [u8]) -> Result<(), Error> {
        let key = &self.keys[&variable.name][piece];
        let file = &self.files[variable.pieces[piece].shard];
        let error = |what: String| entry_error(&file.path, &variable.name, what);
        let decoded = file
            .find(key, |value| decode(value, variable, buf))?
            .ok_or_else(|| error("lists a slice that is not there".into()))?;
        decoded.map_err(error)
    }
}

/// Writes the numbers of a slice's message into `buf`.
fn decode(message: &[u8], variable: &Variable, buf: &mut [u8]) -> Result<(), String> {
    let Some(size) = variable.dtype.size() else {
        return Err(format!("is of {}, which is not read here", variable.dtype));
    };
    let elements = buf.len() / size;
    // Decoding takes memory for whatever the message holds.
    let longest = elements.saturating_mul(MAX_ELEMENT_LEN) + MAX_ENVELOPE_LEN;
    if message.len() > longest {
        return Err(format!(
            "has {} bytes for {elements} elements of {}",
            message.len(),
            variable.dtype
        ));
    }
    let slices =
        SavedTensorSlices::decode(message).map_err(|error| format!("is not valid: {error}"))?;
    let saved = slices.data.ok_or("has no data")?;
    if saved.name != variable.name {
        return Err(format!("is that of variable {}", saved.name));
    }
    let values = saved.data.unwrap_or_default();
    let found = fill(&values, variable.dtype, buf);
    if found != elements {
        return Err(format!(
            "has {found} elements, its shape {:?} has {elements}",
            variable.shape
        ));
    }
    Ok(())
}

/// Copies as many numbers as fit; returns how many there are.
fn fill(values: &TensorValue, dtype: DType, buf: &mut [u8]) -> usize {
    fn copy<T: Copy, const N: usize>(
        values: &[T],
        buf: &mut [u8],
        bytes: impl Fn(T) -> [u8; N],
    ) -> usize {
        for (to, &value) in std::iter::zip(buf.as_chunks_mut().0, values) {
            *to = bytes(value);
        }
        values.len()
    }
    match dtype {
        DType::Float32 => copy(&values.float_val, buf, f32::to_le_bytes),
        DType::Float64 => copy(&values.double_val, buf, f64::to_le_bytes),
        DType::Int32 => copy(&values.int_val, buf, i32::to_le_bytes),
        DType::Int64 => copy(&values.int64_val, buf, i64::to_le_bytes),
        // The bits of a 16-bit number are the lower half of an int32.
        DType::Float16 | DType::BFloat16 => copy(&values.half_val, buf, |bits| {
            let [low, high, ..] = bits.to_le_bytes();
            [low, high]
        }),
        DType::Other(_) => 0,
    }
}

fn entry_error(path: &Path, variable: &str, what: String) -> Error {
    Error::Entry {
        path: path.to_owned(),
        variable: variable.to_owned(),
        what,
    }
}
