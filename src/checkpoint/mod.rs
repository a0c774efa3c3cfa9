//! TensorFlow's checkpoint formats, and nothing of ELECTRA.
//!
//! [`locate()`] finds the files behind whatever a person types, [`Checkpoint::open`] reads the index,
//! and [`Checkpoint::read`] fetches one variable with its checksum checked. The graph that the
//! training run may have left beside it is a [`MetaGraph`].
//!
//! | file | format |
//! |---|---|
//! | `PREFIX.index`, `PREFIX.data-00000-of-00001` | TensorBundle (V2): `bundle`, `index` over `sstable` |
//! | the same, with a graph of objects | what TensorFlow 2 adds: `object_graph` |
//! | `PREFIX`, or `PREFIX-00000-of-00002` | V1: `v1` over `sstable` |
//! | `ARCHIVE.zip` | any of these in an archive: `zip` |
//! | `PREFIX.meta` | `MetaGraphDef`: `meta_graph`, `functions` over `wire` |
//! | `checkpoint` | which checkpoint is the latest: `state_file` |
//! | anything else | what it is and what to do: `foreign` |
//!
//! Nothing read from a file is trusted: lengths, offsets, counts and shapes are checked before
//! anything is allocated or read. What a file may take in memory is in proportion to its length, see
//! [`Limits`].

pub mod address;
mod bundle;
mod crc;
mod error;
mod foreign;
mod functions;
mod index;
pub(crate) mod layout;
mod limits;
mod locate;
mod message;
mod meta_graph;
mod missing;
mod object_graph;
mod prefix;
mod proto;
pub mod regular;
mod slice_key;
pub mod source;
pub mod sstable;
mod state_file;
#[cfg(feature = "tensorflow")]
mod tensorflow;
mod v1;
mod wire;
mod zip;

pub use error::Error;
pub use foreign::refuse_stand_in;
pub use limits::{Limits, TooDense};
pub use locate::{Location, locate, locate_within};
pub use meta_graph::{Constant, MetaGraph, NodeId, Tensor, Use};

use std::fmt;
use std::ops::Range;
use std::path::Path;

use bundle::Bundle;
pub(crate) use bundle::Contiguous;
use v1::Tables;

/// Element type of a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// IEEE 754 binary32.
    Float32,
    /// IEEE 754 binary64.
    Float64,
    /// IEEE 754 binary16.
    Float16,
    /// The upper half of a binary32.
    BFloat16,
    /// 32-bit signed integer.
    Int32,
    /// 64-bit signed integer.
    Int64,
    /// Anything else, by its number in TensorFlow's `types.proto`.
    Other(i32),
}

/// Number in `types.proto`, name, bytes an element.
const DTYPES: &[(DType, i32, &str, usize)] = &[
    (DType::Float32, 1, "float32", 4),
    (DType::Float64, 2, "float64", 8),
    (DType::Int32, 3, "int32", 4),
    (DType::Int64, 9, "int64", 8),
    (DType::BFloat16, 14, "bfloat16", 2),
    (DType::Float16, 19, "float16", 2),
];

impl DType {
    fn from_proto(number: i32) -> Self {
        DTYPES
            .iter()
            .find(|row| row.1 == number)
            .map_or(Self::Other(number), |row| row.0)
    }

    /// The type of this name, such as `float32`.
    pub fn from_name(name: &str) -> Option<Self> {
        DTYPES.iter().find(|row| row.2 == name).map(|row| row.0)
    }

    /// Bytes an element; `None` for a type that this crate does not read.
    pub fn size(self) -> Option<usize> {
        DTYPES.iter().find(|row| row.0 == self).map(|row| row.3)
    }

    /// True for the four floating-point types.
    pub fn is_float(self) -> bool {
        matches!(
            self,
            Self::Float32 | Self::Float64 | Self::Float16 | Self::BFloat16
        )
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, DTYPES.iter().find(|row| row.0 == *self)) {
            (_, Some(row)) => f.pad(row.2),
            (Self::Other(number), None) => f.pad(&format!("dtype {number}")),
            (_, None) => unreachable!("every named type is in DTYPES"),
        }
    }
}

/// A variable as the checkpoint's index describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its key in the checkpoint: the name, but for object-based checkpoints.
    pub key: String,
    /// Its full name, such as `electra/encoder/layer_0/output/dense/kernel`.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Size of each axis; empty for a scalar.
    pub shape: Vec<usize>,
    /// Where its bytes are: one piece, or one for each slice of a partitioned variable. The
    /// pieces cover the variable exactly once.
    pub pieces: Vec<Piece>,
}

/// A variable, or a slice of it, in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Index of the shard, the first number in `.data-00000-of-00001`.
    pub shard: usize,
    /// Number of bytes, row-major.
    pub len: u64,
    /// Where a TensorBundle has them. A V1 table keeps values in another form, under a key.
    pub extent: Option<Extent>,
    /// The part of the variable that they hold, an index range for each axis; `None` for all of it.
    pub slice: Option<Vec<Range<usize>>>,
}

/// A run of bytes in a data file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The first byte.
    pub offset: u64,
    /// CRC-32C of the bytes (unmasked).
    pub crc32c: u32,
    /// True when the bytes of each element are in the order of a big-endian machine.
    pub big_endian: bool,
}

/// The place of the variable of this name in a list that is sorted by name.
fn position(variables: &[Variable], name: &str) -> Option<usize> {
    variables
        .binary_search_by(|variable| variable.name.as_str().cmp(name))
        .ok()
}

/// Turns the bytes of each element of `size` bytes around.
pub(crate) fn swap_bytes(bytes: &mut [u8], size: usize) {
    for element in bytes.chunks_exact_mut(size) {
        element.reverse();
    }
}

/// What the key of every variable of an object-based checkpoint ends in.
const OBJECT_KEY_SUFFIX: &str = "/.ATTRIBUTES/VARIABLE_VALUE";

impl Variable {
    /// In an object-based checkpoint the path through the saved objects, such as `optimizer/iter`.
    pub fn object_path(&self) -> Option<&str> {
        self.key.strip_suffix(OBJECT_KEY_SUFFIX)
    }

    /// Number of elements; 1 for a scalar.
    pub fn elements(&self) -> usize {
        let sizes = self.shape.iter();
        sizes.fold(1, |product, &size| product.saturating_mul(size))
    }

    /// Number of bytes in the checkpoint.
    pub fn bytes(&self) -> u64 {
        let lengths = self.pieces.iter().map(|piece| piece.len);
        lengths.fold(0, u64::saturating_add)
    }
}

/// The format of a checkpoint's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// An index and data files: what TensorFlow writes since 1.0.
    TensorBundle,
    /// Tables that hold the values themselves: what it wrote before, and by request since.
    V1,
}

impl Format {
    /// The name in JSON.
    pub fn key(self) -> &'static str {
        match self {
            Self::TensorBundle => "tensor_bundle",
            Self::V1 => "v1",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::TensorBundle => "TensorBundle",
            Self::V1 => "V1 checkpoint",
        })
    }
}

/// Reads the variables of one format.
trait Reader: fmt::Debug + Send + Sync {
    /// Every variable, in the byte order of their names.
    fn variables(&self) -> &[Variable];

    /// Number of files that hold values.
    fn shard_count(&self) -> usize;

    /// Checks that a piece of a variable, by its number, is there, without reading it.
    fn check_present(&self, variable: &Variable, piece: usize) -> Result<(), Error>;

    /// Reads a piece of a variable into `buf`, which is as long as the piece.
    fn read_piece(&self, variable: &Variable, piece: usize, buf: &mut [u8]) -> Result<(), Error>;

    /// The variable as a run of bytes, if it is one.
    fn contiguous<'a>(&'a self, _variable: &'a Variable) -> Option<Contiguous<'a>> {
        None
    }

    /// Reads a whole variable.
    fn read(&self, variable: &Variable, buf: &mut [u8]) -> Result<(), Error> {
        for (at, piece) in variable.pieces.iter().enumerate() {
            match &piece.slice {
                None => self.read_piece(variable, at, buf)?,
                Some(ranges) => {
                    let len = usize::try_from(piece.len).expect("no longer than the buffer");
                    let mut slice = vec![0; len];
                    self.read_piece(variable, at, &mut slice)?;
                    layout::place(&slice, ranges, (variable.dtype, &variable.shape), buf);
                }
            }
        }
        Ok(())
    }
}

/// What reads the values of variables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadBy {
    /// This crate.
    #[default]
    Native,
    /// The official library, loaded at run time.
    #[cfg(feature = "tensorflow")]
    TensorFlow,
}

/// An open checkpoint: the list of its variables, and a way to read them.
#[derive(Debug)]
pub struct Checkpoint {
    location: Location,
    reader: Box<dyn Reader>,
}

impl Checkpoint {
    /// Reads and checks the list of variables; of the files with values only the lengths.
    pub fn open(location: Location) -> Result<Self, Error> {
        Self::open_by(location, ReadBy::Native)
    }

    /// As [`open`](Self::open), with a choice of what will read the values.
    pub fn open_by(location: Location, read_by: ReadBy) -> Result<Self, Error> {
        let reader: Box<dyn Reader> = match location.format() {
            Format::TensorBundle => Box::new(Bundle::open(&location)?),
            Format::V1 => Box::new(Tables::open(&location)?),
        };
        let reader = match read_by {
            ReadBy::Native => reader,
            #[cfg(feature = "tensorflow")]
            ReadBy::TensorFlow => Box::new(tensorflow::TensorFlow::open(&location, reader)?),
        };
        Ok(Self { location, reader })
    }

    /// Where it is.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Every variable, in the byte order of their names.
    pub fn variables(&self) -> &[Variable] {
        self.reader.variables()
    }

    /// True when TensorFlow 2 saved objects, so that keys are paths through them.
    pub fn is_object_based(&self) -> bool {
        let mut variables = self.variables().iter();
        variables.any(|variable| variable.object_path().is_some())
    }

    /// Number of data files that the checkpoint was saved in.
    pub fn shard_count(&self) -> usize {
        self.reader.shard_count()
    }

    /// Checks that the data file of `variable` is there and long enough, without reading it.
    pub fn check_present(&self, variable: &Variable) -> Result<(), Error> {
        self.check_own(variable)?;
        (0..variable.pieces.len()).try_for_each(|piece| self.reader.check_present(variable, piece))
    }

    /// Checks that none of its files has changed since it was opened, as when training still runs.
    pub fn check_unchanged(&self) -> Result<(), Error> {
        let is_part = |path: &Path| self.location.is_part(path);
        match self.location.storage().changed(&is_part)? {
            Some(path) => Err(Error::Changed { path }),
            None => Ok(()),
        }
    }

    /// Checks that a variable is one of this checkpoint's, unchanged: its pieces are trusted from here on.
    fn check_own(&self, variable: &Variable) -> Result<(), Error> {
        let variables = self.variables();
        match position(variables, &variable.name) {
            Some(at) if variables[at] == *variable => Ok(()),
            _ => Err(Error::Foreign {
                path: self.location.prefix().to_owned(),
                variable: variable.name.clone(),
            }),
        }
    }

    /// The variable as a run of bytes that can be read in parts; `None` where it is none: in slices,
    /// in another byte order, in V1.
    pub(crate) fn contiguous<'a>(&'a self, variable: &'a Variable) -> Option<Contiguous<'a>> {
        self.check_own(variable).ok()?;
        self.reader.contiguous(variable)
    }

    /// Reads all of `variable` into `buf`, little-endian and row-major, and checks the CRC-32C of
    /// everything that it reads.
    ///
    /// # Errors
    /// [`Error::Foreign`] for a variable that is not one of [`variables`](Self::variables).
    ///
    /// # Panics
    /// If `buf` is not [`Variable::bytes`] long.
    pub fn read(&self, variable: &Variable, buf: &mut [u8]) -> Result<(), Error> {
        self.check_own(variable)?;
        assert_eq!(buf.len() as u64, variable.bytes(), "size of the buffer");
        self.reader.read(variable, buf)
    }

    /// The value of a scalar `int64` or `int32` variable, such as the step counter. `None` when it is
    /// no such scalar.
    pub fn read_integer(&self, variable: &Variable) -> Result<Option<i64>, Error> {
        let is_integer = matches!(variable.dtype, DType::Int32 | DType::Int64);
        if !is_integer || !variable.shape.is_empty() {
            return Ok(None);
        }
        self.check_present(variable)?;
        let mut buf = vec![0; variable.dtype.size().expect("an integer type")];
        self.read(variable, &mut buf)?;
        Ok(match buf[..] {
            [a, b, c, d] => Some(i32::from_le_bytes([a, b, c, d]).into()),
            _ => buf.try_into().ok().map(i64::from_le_bytes),
        })
    }

    /// The training graph, if `PREFIX.meta` lies beside the checkpoint.
    pub fn meta_graph(&self) -> Result<Option<MetaGraph>, Error> {
        let location = &self.location;
        MetaGraph::open(location.storage(), &location.meta_path(), location.limits())
    }
}
