//! The checksums of the variables, as a conversion writes them into the weights' metadata.
//!
//! They are those of the checkpoint's own index, under the names of the tensors, so that the
//! weights can later be compared with the checkpoint without having it.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::plan::{Plan, PlannedTensor};
use crate::checkpoint::{DType, Variable};

/// The key in `__metadata__`.
pub(crate) const KEY: &str = "source_crc32c";

/// The checksums of one variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VariableSums {
    /// Element type of the variable.
    pub(crate) dtype: String,
    /// One for each piece that the checkpoint keeps it in.
    pub(crate) pieces: Vec<PieceSum>,
}

/// The checksum of one piece.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PieceSum {
    /// CRC-32C, eight hexadecimal digits.
    crc32c: String,
    /// Index range on each axis of the variable; left out where the piece is all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    slice: Option<Vec<[usize; 2]>>,
}

impl PieceSum {
    pub(crate) fn crc32c(&self) -> Option<u32> {
        u32::from_str_radix(&self.crc32c, 16).ok()
    }

    pub(crate) fn slice(&self) -> Option<Vec<Range<usize>>> {
        let slice = self.slice.as_ref()?;
        Some(slice.iter().map(|&[start, end]| start..end).collect())
    }
}

impl VariableSums {
    pub(crate) fn of(variable: &Variable) -> Self {
        let pieces = variable.pieces.iter().map(|piece| PieceSum {
            crc32c: format!("{:08x}", piece.crc32c),
            slice: piece
                .slice
                .as_ref()
                .map(|ranges| ranges.iter().map(|r| [r.start, r.end]).collect()),
        });
        Self {
            dtype: variable.dtype.to_string(),
            pieces: pieces.collect(),
        }
    }

    pub(crate) fn dtype(&self) -> Option<DType> {
        DType::from_name(&self.dtype)
    }
}

/// The checksums of all tensors of a plan, as JSON.
pub(crate) fn to_json(plan: &Plan) -> String {
    let sums: BTreeMap<&str, VariableSums> = plan
        .tensors
        .iter()
        .map(|PlannedTensor { name, variable, .. }| (name.as_str(), VariableSums::of(variable)))
        .collect();
    serde_json::to_string(&sums).expect("plain data")
}

/// Reads what [`to_json`] wrote.
pub(crate) fn from_json(text: &str) -> Result<BTreeMap<String, VariableSums>, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}
