//! The checksums of the tensors, as a conversion writes them into the weights' metadata, so that the
//! weights can later be checked without the checkpoint.
//!
//! They are those of the variables in the checkpoint's own index, so that the weights can be compared
//! with the checkpoint's files too. Where it has none (in V1 checkpoints), or where a rounded tensor
//! cannot be turned back, it is that of the tensor as it was written.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use tf_checkpoint::{DType, Piece, Variable};

use crate::plan::{Plan, PlannedTensor, torch_name};

/// The key in `__metadata__`.
pub(crate) const KEY: &str = "source_crc32c";

/// The checksums of all tensors, by name.
pub(crate) type Record = BTreeMap<String, TensorChecksums>;

/// The checksums of one tensor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TensorChecksums {
    /// Element type of what the checksums are of.
    pub(crate) dtype: String,
    /// True when they are of the tensor as it is written, false when of its variable.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) written: bool,
    /// One for each piece that the checkpoint keeps it in.
    pub(crate) pieces: Vec<SliceChecksum>,
}

/// The checksum of one piece.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SliceChecksum {
    /// CRC-32C, eight hexadecimal digits.
    crc32c: String,
    /// True when the checkpoint has the bytes of each element in the order of a big-endian machine.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) big_endian: bool,
    /// Index range on each axis of the variable; left out where the piece is all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    slice: Option<Vec<[usize; 2]>>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_false(value: &bool) -> bool {
    !value
}

impl SliceChecksum {
    fn of(piece: &Piece) -> Option<Self> {
        let extent = piece.extent?;
        let slice = piece.slice.as_ref();
        Some(Self {
            crc32c: hex(extent.crc32c),
            big_endian: extent.big_endian,
            slice: slice.map(|ranges| ranges.iter().map(|r| [r.start, r.end]).collect()),
        })
    }

    pub(crate) fn crc32c(&self) -> Option<u32> {
        u32::from_str_radix(&self.crc32c, 16).ok()
    }

    pub(crate) fn slice(&self) -> Option<Vec<Range<usize>>> {
        let slice = self.slice.as_ref()?;
        Some(slice.iter().map(|&[start, end]| start..end).collect())
    }
}

impl TensorChecksums {
    /// Those that the checkpoint's index has of a variable; `None` when it has none.
    pub(crate) fn of(variable: &Variable) -> Option<Self> {
        let pieces = variable.pieces.iter().map(SliceChecksum::of);
        Some(Self {
            dtype: variable.dtype.to_string(),
            written: false,
            pieces: pieces.collect::<Option<_>>()?,
        })
    }

    /// Those that the checkpoint's index has of the variable that a tensor can be turned back into;
    /// `None` if there is no such variable.
    pub(crate) fn of_planned(tensor: &PlannedTensor) -> Option<Self> {
        match &tensor.variables[..] {
            [variable] if tensor.recipe.is_reversible() => Self::of(variable),
            _ => None,
        }
    }

    /// That of a tensor's bytes as they are written.
    fn of_tensor(dtype: safetensors::Dtype, bytes: &[u8]) -> Self {
        Self {
            dtype: torch_name(dtype).to_owned(),
            written: true,
            pieces: vec![SliceChecksum {
                crc32c: hex(crc32c::crc32c(bytes)),
                big_endian: false,
                slice: None,
            }],
        }
    }

    pub(crate) fn dtype(&self) -> Option<DType> {
        DType::from_name(&self.dtype)
    }
}

fn hex(crc32c: u32) -> String {
    format!("{crc32c:08x}")
}

/// What is known before anything is read: checksums that are yet to be noted are those of nothing.
/// They are as long, so that noting them moves nothing in the file.
pub(crate) fn planned(plan: &Plan) -> Record {
    plan.tensors
        .iter()
        .map(|tensor| {
            let sums = TensorChecksums::of_planned(tensor).filter(|_| !tensor.cast.is_lossy());
            let sums = sums.unwrap_or_else(|| TensorChecksums::of_tensor(tensor.cast.to, &[]));
            (tensor.name.clone(), sums)
        })
        .collect()
}

/// Notes the checksum of a tensor that was just written, where it is one of the tensor.
pub(crate) fn note(record: &mut Record, name: &str, dtype: safetensors::Dtype, bytes: &[u8]) {
    if let Some(sums) = record.get_mut(name).filter(|sums| sums.written) {
        *sums = TensorChecksums::of_tensor(dtype, bytes);
    }
}

pub(crate) fn to_json(record: &Record) -> String {
    serde_json::to_string(record).expect("plain data")
}

/// Reads what [`to_json`] wrote.
pub(crate) fn from_json(text: &str) -> Result<Record, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}
