//! The checksums of the tensors, which a conversion records in the metadata of the weights, so that the
//! weights can be verified later without the checkpoint.
//!
//! Where possible they are the checksums of the variables in the checkpoint's index, so that the weights
//! can be compared with the files of the checkpoint too. Where it has none (V1 checkpoints, HDF5), or the
//! tensor cannot be transformed back into its variable (rounded or computed tensors), the checksum of the
//! written tensor is recorded.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use tf_checkpoint::{DType, Piece, Variable, swap_bytes};

use crate::plan::{PlannedTensor, torch_name};

/// The key in `__metadata__`.
pub(super) const KEY: &str = "source_crc32c";

/// The recorded checksums of all tensors, by name.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct RecordedChecksums(BTreeMap<String, TensorChecksums>);

/// The checksums of one tensor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TensorChecksums {
    /// Element type of the bytes that the checksums were computed from.
    pub(crate) dtype: String,
    /// True for the checksum of the written tensor, false for those of its variable.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) written: bool,
    /// One for each piece of the variable in the checkpoint.
    pub(crate) pieces: Vec<SliceChecksum>,
}

/// The checksum of one piece.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SliceChecksum {
    /// CRC-32C, eight hexadecimal digits.
    crc32c: String,
    /// True if the checkpoint has the elements in big-endian byte order.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) big_endian: bool,
    /// Index range on each axis of the variable; left out if the piece is the whole variable.
    #[serde(skip_serializing_if = "Option::is_none")]
    slice: Option<Vec<[usize; 2]>>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "required by serde")]
fn is_false(value: &bool) -> bool {
    !value
}

impl SliceChecksum {
    fn of(piece: &Piece) -> Option<Self> {
        let extent = piece.extent?;
        let slice = piece.slice.as_ref();
        Some(Self {
            crc32c: hex(extent.crc32c?),
            big_endian: extent.big_endian,
            slice: slice.map(|ranges| ranges.iter().map(|r| [r.start, r.end]).collect()),
        })
    }

    /// Returns the CRC-32C; `None` if the recorded text is not a checksum.
    pub(crate) fn crc32c(&self) -> Option<u32> {
        u32::from_str_radix(&self.crc32c, 16).ok()
    }

    /// Returns bytes of the variable in the byte order of the checkpoint.
    pub(crate) fn stored<'b>(&self, bytes: Cow<'b, [u8]>, dtype: DType) -> Cow<'b, [u8]> {
        match dtype.size() {
            Some(size) if self.big_endian => {
                let mut swapped = bytes.into_owned();
                swap_bytes(&mut swapped, size);
                Cow::Owned(swapped)
            }
            _ => bytes,
        }
    }

    /// Returns the index range on each axis of the variable; `None` for the whole variable.
    pub(crate) fn slice(&self) -> Option<Vec<Range<usize>>> {
        let slice = self.slice.as_ref()?;
        Some(slice.iter().map(|&[start, end]| start..end).collect())
    }
}

impl TensorChecksums {
    fn of_variable(variable: &Variable) -> Option<Self> {
        let pieces = variable.pieces.iter().map(SliceChecksum::of);
        Some(Self {
            dtype: variable.dtype.to_string(),
            written: false,
            pieces: pieces.collect::<Option<_>>()?,
        })
    }

    /// Returns the checksums of the variable that a tensor can be transformed back into; `None` if there is
    /// no such variable, or the checkpoint's index has no checksums of it.
    pub(crate) fn of_planned(tensor: &PlannedTensor) -> Option<Self> {
        match &tensor.variables[..] {
            // The slices of a variable with an axis for the heads are no parts of the tensor's matrix.
            [variable] if is_sliced(variable) && variable.shape.len() != tensor.shape.len() => None,
            [variable] if tensor.recipe.is_reversible() => Self::of_variable(variable),
            _ => None,
        }
    }

    /// Returns the checksum of a written tensor.
    fn of_written(dtype: safetensors::Dtype, crc32c: u32) -> Self {
        Self {
            dtype: torch_name(dtype).to_owned(),
            written: true,
            pieces: vec![SliceChecksum {
                crc32c: hex(crc32c),
                big_endian: false,
                slice: None,
            }],
        }
    }

    /// Returns the element type; `None` if the recorded text is not an element type.
    pub(crate) fn dtype(&self) -> Option<DType> {
        DType::from_name(&self.dtype)
    }
}

fn is_sliced(variable: &Variable) -> bool {
    let mut pieces = variable.pieces.iter();
    pieces.any(|piece| piece.slice.is_some())
}

fn hex(crc32c: u32) -> String {
    format!("{crc32c:08x}")
}

impl RecordedChecksums {
    /// Returns the checksums that are known before a tensor is read. The others are those of no bytes until
    /// [`record`](Self::record) replaces them; they have the same length, so that the header keeps its.
    pub(super) fn planned(tensors: &[PlannedTensor]) -> Self {
        let planned = tensors.iter().map(|tensor| {
            let of_variable = TensorChecksums::of_planned(tensor);
            let checksums = of_variable
                .filter(|_| !tensor.cast.is_lossy())
                .unwrap_or_else(|| TensorChecksums::of_written(tensor.cast.to, 0));
            (tensor.name.clone(), checksums)
        });
        Self(planned.collect())
    }

    /// Returns true if the checksum of the written tensor is to be recorded.
    pub(super) fn needs(&self, tensor: &PlannedTensor) -> bool {
        self.0.get(&tensor.name).is_some_and(|sums| sums.written)
    }

    /// Records the checksum of a tensor that was just written.
    pub(super) fn record(&mut self, tensor: &PlannedTensor, crc32c: u32) {
        let checksums = TensorChecksums::of_written(tensor.cast.to, crc32c);
        self.0.insert(tensor.name.clone(), checksums);
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("plain data")
    }

    /// Parses the result of [`to_json`](Self::to_json).
    pub(super) fn from_json(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }
}

impl IntoIterator for RecordedChecksums {
    type Item = (String, TensorChecksums);
    type IntoIter = std::collections::btree_map::IntoIter<String, TensorChecksums>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Cast;
    use crate::variables::Recipe;

    #[test]
    fn slices_along_heads_are_no_parts_of_a_matrix() {
        let planned = |shape: &[usize], slice: Option<Vec<Range<usize>>>| PlannedTensor {
            name: "weight".to_owned(),
            variables: vec![Variable {
                key: "kernel".to_owned(),
                name: "kernel".to_owned(),
                full_name: None,
                object_paths: Vec::new(),
                dtype: DType::Float32,
                shape: shape.to_vec(),
                pieces: vec![Piece {
                    shard: 0,
                    len: 64,
                    extent: Some(tf_checkpoint::StoredBytes {
                        offset: 0,
                        crc32c: Some(1),
                        big_endian: false,
                    }),
                    slice,
                }],
            }],
            recipe: Recipe::Transpose,
            cast: Cast::NONE,
            shape: vec![4, 4],
        };
        let is_known = |planned: &PlannedTensor| TensorChecksums::of_planned(planned).is_some();
        assert!(is_known(&planned(&[4, 2, 2], None)));
        assert!(is_known(&planned(&[4, 4], Some(vec![0..2, 0..4]))));
        assert!(!is_known(&planned(
            &[4, 2, 2],
            Some(vec![0..2, 0..2, 0..2])
        )));
    }
}
