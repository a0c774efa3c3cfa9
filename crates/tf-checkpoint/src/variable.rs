//! Variables: name, dtype, shape and the location of their bytes.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// The dtype of a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DType {
    /// IEEE 754 binary32.
    Float32,
    /// IEEE 754 binary64.
    Float64,
    /// IEEE 754 binary16.
    Float16,
    /// bfloat16, the upper half of a binary32.
    BFloat16,
    /// 32-bit signed integer.
    Int32,
    /// 64-bit signed integer.
    Int64,
    /// Any other dtype, by its number in TensorFlow's `types.proto`. Its values are not read.
    Other(i32),
}

/// Dtype, number in `types.proto`, name, bytes an element.
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

    /// Returns the dtype with this name, such as `float32`.
    pub fn from_name(name: &str) -> Option<Self> {
        DTYPES.iter().find(|row| row.2 == name).map(|row| row.0)
    }

    /// Returns the number of bytes an element; `None` for [`DType::Other`].
    pub fn size(self) -> Option<usize> {
        DTYPES.iter().find(|row| row.0 == self).map(|row| row.3)
    }

    /// Returns true for the four floating-point dtypes.
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

/// A variable, as the list of a checkpoint describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// The key in the checkpoint; equal to the name, except in object-based checkpoints and in HDF5 files,
    /// where it is the path of the dataset.
    pub key: String,
    /// The full name, such as `encoder/layer_0/output/dense/kernel`.
    pub name: String,
    /// The full name that the graph of an object-based checkpoint records, even if other variables share it;
    /// `None` if none is recorded, and in every other format.
    pub full_name: Option<String>,
    /// The paths through the saved objects in an object-based checkpoint, where the path in the key is not the only
    /// one, or is a place in a list (`variables/7` in a SavedModel): one for each object that holds the variable, the
    /// preferred one first. Otherwise empty; [`object_path`](Self::object_path) is then the path in the key.
    pub object_paths: Vec<String>,
    /// The dtype of the elements.
    pub dtype: DType,
    /// The size of each axis; empty for a scalar.
    pub shape: Vec<usize>,
    /// The location of the bytes: one piece, or one for each slice of a partitioned variable. The pieces
    /// cover the variable exactly once.
    pub pieces: Vec<Piece>,
}

/// The bytes of a variable, or of a slice of it, in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The index of the file, the first number in `.data-00000-of-00001`.
    pub shard: usize,
    /// The number of bytes.
    pub len: u64,
    /// The location in a data file of a TensorBundle, or in an HDF5 file; `None` in a V1 checkpoint, which
    /// stores values in another form.
    pub extent: Option<StoredBytes>,
    /// The part of the variable, as an index range for each axis; `None` for all of it.
    pub slice: Option<Vec<Range<usize>>>,
}

/// A run of bytes in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredBytes {
    /// The offset of the first byte.
    pub offset: u64,
    /// The CRC-32C of the bytes, not masked; `None` if the format has no checksums.
    pub crc32c: Option<u32>,
    /// True if the elements are big-endian.
    pub big_endian: bool,
}

/// Returns the index of a variable in a list that is sorted by name.
pub(crate) fn position(variables: &[Variable], name: &str) -> Option<usize> {
    variables
        .binary_search_by(|variable| variable.name.as_str().cmp(name))
        .ok()
}

/// Reverses the bytes of each element of `size` bytes.
///
/// ```
/// let mut bytes = [1, 2, 3, 4];
/// tf_checkpoint::swap_bytes(&mut bytes, 2);
/// assert_eq!(bytes, [2, 1, 4, 3]);
/// ```
///
/// # Panics
/// If `size` is 0.
pub fn swap_bytes(bytes: &mut [u8], size: usize) {
    for element in bytes.chunks_exact_mut(size) {
        element.reverse();
    }
}

/// The suffix of the key of every variable in an object-based checkpoint.
const OBJECT_KEY_SUFFIX: &str = "/.ATTRIBUTES/VARIABLE_VALUE";
/// What is between the path of a variable and the name of its slot in an optimizer, in the key of the slot.
const SLOT: &str = "/.OPTIMIZER_SLOT/";

/// Returns the name of an object as it is written in keys.
pub(crate) fn escaped(name: &str) -> Cow<'_, str> {
    if !name.contains(['.', '/']) {
        return name.into();
    }
    name.replace('.', "..").replace('/', ".S").into()
}

impl Variable {
    /// Returns the path through the saved objects, such as `optimizer/iter`, in an object-based checkpoint;
    /// else `None`. It is the first of [`object_paths`](Self::object_paths), or else the path in the key.
    pub fn object_path(&self) -> Option<&str> {
        let preferred = self.object_paths.first().map(String::as_str);
        preferred.or_else(|| Self::path_in_key(&self.key))
    }

    /// Splits the path of an optimizer's slot into the path of the variable and the rest.
    pub(crate) fn split_slot(path: &str) -> Option<(&str, &str)> {
        Some(path.split_at(path.find(SLOT)?))
    }

    /// Returns the path in the key of a variable in an object-based checkpoint.
    pub(crate) fn path_in_key(key: &str) -> Option<&str> {
        key.strip_suffix(OBJECT_KEY_SUFFIX)
    }

    /// Returns the key of the variable with this path.
    pub(crate) fn key_of(path: &str) -> String {
        format!("{path}{OBJECT_KEY_SUFFIX}")
    }

    /// Returns the number of elements; 1 for a scalar.
    pub fn elements(&self) -> usize {
        let sizes = self.shape.iter();
        sizes.fold(1, |product, &size| product.saturating_mul(size))
    }

    /// Returns the number of bytes, the sum of all pieces.
    pub fn bytes(&self) -> u64 {
        let lengths = self.pieces.iter().map(|piece| piece.len);
        lengths.fold(0, u64::saturating_add)
    }
}
