//! What a checkpoint says of a variable: name, element type, shape, and where its bytes are.

use std::fmt;
use std::ops::Range;

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
    pub(crate) fn from_proto(number: i32) -> Self {
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
    pub extent: Option<StoredBytes>,
    /// The part of the variable that they hold, an index range for each axis; `None` for all of it.
    pub slice: Option<Vec<Range<usize>>>,
}

/// A run of bytes in a data file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredBytes {
    /// The first byte.
    pub offset: u64,
    /// CRC-32C of the bytes (unmasked).
    pub crc32c: u32,
    /// True when the bytes of each element are in the order of a big-endian machine.
    pub big_endian: bool,
}

/// The place of the variable of this name in a list that is sorted by name.
pub(crate) fn position(variables: &[Variable], name: &str) -> Option<usize> {
    variables
        .binary_search_by(|variable| variable.name.as_str().cmp(name))
        .ok()
}

/// Turns the bytes of each element of `size` bytes around.
pub fn swap_bytes(bytes: &mut [u8], size: usize) {
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
