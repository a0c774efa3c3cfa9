//! One file of a V1 checkpoint: the list of its slices, and its blocks.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Place;
use crate::error::{Error, Fault};
use crate::file_kind::FileKind;
use crate::layout::{self, StatedSlice};
use crate::limits::Budget;
use crate::locate::Location;
use crate::protobuf::message::{fields, read_version, submessages};
use crate::sstable::{Block, BlockHandle, Table};
use crate::storage::ReadAt;
use crate::variable::{Piece, Variable};

/// The longest block, in bytes: a block holds whole tensors, and protobuf limits a message to this length.
const MAX_BLOCK_LEN: u64 = 1 << 31;

/// The newest version of the format that is read (`TF_CHECKPOINT_VERSION`).
const VERSION: i32 = 1;

/// The list in a `SavedTensorSlices`, a `SavedTensorSliceMeta`;
const LIST: u32 = 1;
/// in it, the variables, each a `SavedSliceMeta`,
const LISTED: u32 = 1;
/// and the version;
const VERSIONS: u32 = 2;
/// in a `SavedSliceMeta`, the slices.
const SLICE: u32 = 4;

/// One of the files.
pub(super) struct TableFile {
    pub(super) path: PathBuf,
    pub(super) table: Table<Arc<dyn ReadAt>>,
    /// The block that was read last; small variables share one with their neighbours.
    last: Mutex<Option<(BlockHandle, Arc<Block>)>>,
}

/// The slices of one variable in all files.
pub(super) struct Parts {
    /// The number in TensorFlow's `types.proto`.
    pub(super) dtype: i32,
    pub(super) shape: Vec<usize>,
    /// Each with the index of its file.
    pub(super) slices: Vec<(usize, StatedSlice)>,
}

impl TableFile {
    pub(super) fn open(location: &Location, path: PathBuf) -> Result<Self, Error> {
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

    /// Adds the slices that this file, with the index `shard`, lists.
    pub(super) fn list(
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

    /// Returns the block at `handle`, from memory if it was read last.
    pub(super) fn block(&self, handle: BlockHandle) -> Result<Arc<Block>, Error> {
        let mut last = self.last.lock();
        if let Some((at, block)) = &*last
            && *at == handle
        {
            return Ok(Arc::clone(block));
        }
        // Freed first, because blocks can be as large as the largest variable.
        *last = None;
        let block = self.table.load_block(handle);
        let block = Arc::new(block.map_err(|source| Error::table(&self.path, source))?);
        *last = Some((handle, Arc::clone(&block)));
        Ok(block)
    }

    pub(super) fn bad(&self, what: &str) -> Error {
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

/// A `SavedSliceMeta`: a variable and its slices in one file.
struct Listed<'a> {
    message: &'a [u8],
    name: &'a str,
    dtype: i32,
    shape: Vec<usize>,
}

impl<'a> Listed<'a> {
    /// Decodes everything but the slices.
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

    /// Adds the slices to those in other files.
    fn add(
        &self,
        parts: &mut BTreeMap<String, Parts>,
        shard: usize,
        budget: &mut Budget,
    ) -> Result<(), Fault> {
        // The name is kept as a key and as the name of the variable; a growing list briefly holds its
        // elements twice.
        let kept = size_of::<Parts>() + 2 * size_of::<Variable>() + 3 * self.name.len();
        budget.take(kept + 2 * size_of_val(&self.shape[..]))?;
        let known = parts.entry(self.name.to_owned()).or_insert_with(|| Parts {
            dtype: self.dtype,
            shape: self.shape.clone(),
            slices: Vec::new(),
        });
        if (known.dtype, &known.shape) != (self.dtype, &self.shape) {
            return Err("has another dtype or shape than in another entry".into());
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
