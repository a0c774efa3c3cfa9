//! Compares each tensor with its variable.
//!
//! A tensor is turned back (transposed, widened values narrowed again), and the CRC-32C of the
//! result, piece by piece where the variable is partitioned, must be the one that the checkpoint's
//! index holds. A tensor that was rounded cannot be turned back; it must equal the variable, rounded
//! again, which needs the checkpoint's data.

use std::collections::BTreeMap;
use std::ops::Range;

use ndarray::{ArrayView, Axis, Slice};
use safetensors::tensor::TensorInfo;

use super::{Error, Failure, Original};
use crate::checkpoint::{Checkpoint, DType};
use crate::convert::record::{self, VariableSums};
use crate::convert::{AlignedBytes, Cast, PlannedTensor, convert_tensor, transpose, uncast};
use crate::electra::names;
use crate::model::WeightsFile;

/// How many tensors were compared, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BitsReport {
    /// By CRC-32C with the checkpoint's index.
    pub against_index: usize,
    /// By value with the checkpoint's data, rounded again.
    pub against_data: usize,
    /// By CRC-32C with the notes of the conversion in the file itself.
    pub against_record: usize,
    /// Not compared: there is nothing to compare with.
    pub unchecked: usize,
}

/// What a tensor should be.
struct Expected<'a> {
    sums: VariableSums,
    transpose: bool,
    planned: Option<(&'a PlannedTensor, &'a Checkpoint)>,
}

pub(super) struct BitsCheck<'a> {
    expected: BTreeMap<String, Expected<'a>>,
    /// False when neither a checkpoint nor notes are there.
    has_original: bool,
    report: BitsReport,
}

impl<'a> BitsCheck<'a> {
    pub(super) fn new(
        weights: &WeightsFile,
        original: Original<'a>,
        failures: &mut Vec<Failure>,
    ) -> Self {
        let expected = match original {
            Original::Checkpoint(checkpoint, plan) => Some(
                plan.tensors
                    .iter()
                    .map(|planned| (planned.name.clone(), planned_sums(planned, checkpoint)))
                    .collect(),
            ),
            Original::Recorded => recorded_sums(weights, failures),
        };
        let has_original = expected.is_some();
        let expected: BTreeMap<String, Expected<'a>> = expected.unwrap_or_default();
        for name in expected.keys() {
            if weights.info(name).is_none() {
                failures.push(Failure::NotInFile {
                    tensor: name.clone(),
                });
            }
        }
        Self {
            expected,
            has_original,
            report: BitsReport::default(),
        }
    }

    /// Compares one tensor, whose bytes these are.
    pub(super) fn check(
        &mut self,
        name: &str,
        info: &TensorInfo,
        bytes: AlignedBytes,
        failures: &mut Vec<Failure>,
    ) -> Result<(), Error> {
        let Some(expected) = self.expected.get(name) else {
            if self.has_original {
                failures.push(Failure::NotInOriginal {
                    tensor: name.to_owned(),
                });
            } else {
                self.report.unchecked += 1;
            }
            return Ok(());
        };
        let different = |what: String| Failure::Different {
            tensor: name.to_owned(),
            variable: expected.planned.map(|(p, _)| p.variable.name.clone()),
            what,
        };
        let Some(from) = expected.sums.dtype() else {
            failures.push(Failure::BadRecord {
                what: format!("{} is no element type", expected.sums.dtype),
            });
            return Ok(());
        };
        let cast = Cast {
            from,
            to: info.dtype,
        };
        let differences = match (cast.is_lossy(), expected.planned) {
            (false, planned) => {
                match planned {
                    Some(_) => self.report.against_index += 1,
                    None => self.report.against_record += 1,
                }
                compare_sums(info, bytes, cast, expected)
            }
            (true, Some((planned, checkpoint)))
                if checkpoint.check_present(&planned.variable).is_ok() =>
            {
                self.report.against_data += 1;
                compare_rounded(info, &bytes, planned, checkpoint)?
            }
            (true, _) => {
                self.report.unchecked += 1;
                Vec::new()
            }
        };
        failures.extend(differences.into_iter().map(different));
        Ok(())
    }

    pub(super) fn report(self) -> BitsReport {
        self.report
    }
}

/// Rounds the variable again and compares all values. Returns what differs.
fn compare_rounded(
    info: &TensorInfo,
    bytes: &AlignedBytes,
    planned: &PlannedTensor,
    checkpoint: &Checkpoint,
) -> Result<Vec<String>, Error> {
    if planned.cast.to != info.dtype {
        return Ok(vec![format!(
            "it is {}, not {}",
            info.dtype, planned.cast.to
        )]);
    }
    let rounded = convert_tensor(planned, checkpoint)?;
    if rounded.as_bytes() == bytes.as_bytes() {
        return Ok(Vec::new());
    }
    let at = first_difference(rounded.as_bytes(), bytes.as_bytes());
    let element = at / (info.dtype.bitsize() / 8);
    Ok(vec![format!("element {element} is not the rounded one")])
}

/// Turns the tensor back and compares the CRC-32C of each piece. Returns what differs.
fn compare_sums(
    info: &TensorInfo,
    bytes: AlignedBytes,
    cast: Cast,
    expected: &Expected<'_>,
) -> Vec<String> {
    let mut shape = info.shape.clone();
    let bytes = uncast(bytes, cast);
    let bytes = match (expected.transpose, shape[..].try_into()) {
        (true, Ok(matrix)) => {
            shape.reverse();
            let element = cast.from.size().expect("a floating-point type");
            transpose(&bytes, matrix, element)
        }
        _ => bytes,
    };
    let mut differences = Vec::new();
    for piece in &expected.sums.pieces {
        let slice = piece.slice();
        let found = match &slice {
            None => Some(crc32c::crc32c(bytes.as_bytes())),
            Some(ranges) => slice_crc(bytes.as_bytes(), &shape, ranges, cast.from),
        };
        if found.is_none() || found != piece.crc32c() {
            let part = slice.map_or_else(String::new, |ranges| format!(" of slice {ranges:?}"));
            let hex = |crc: Option<u32>| crc.map_or("none".into(), |crc| format!("{crc:08x}"));
            differences.push(format!(
                "the CRC-32C{part} is {}, the checkpoint's {}",
                hex(found),
                hex(piece.crc32c())
            ));
        }
    }
    differences
}

fn planned_sums<'a>(planned: &'a PlannedTensor, checkpoint: &'a Checkpoint) -> Expected<'a> {
    Expected {
        sums: VariableSums::of(&planned.variable),
        transpose: planned.transpose,
        planned: Some((planned, checkpoint)),
    }
}

/// The notes in the metadata; `None` when there are none. What is transposed is not taken from
/// there but from the name table.
fn recorded_sums<'a>(
    weights: &WeightsFile,
    failures: &mut Vec<Failure>,
) -> Option<BTreeMap<String, Expected<'a>>> {
    let text = weights.metadata()?.get(record::KEY)?;
    match record::from_json(text) {
        Ok(sums) => Some(
            sums.into_iter()
                .map(|(name, sums)| {
                    let expected = Expected {
                        sums,
                        transpose: names::is_transposed(&name),
                        planned: None,
                    };
                    (name, expected)
                })
                .collect(),
        ),
        Err(what) => {
            failures.push(Failure::BadRecord { what });
            None
        }
    }
}

/// The CRC-32C of a part of a variable; `None` when it does not lie in the shape.
fn slice_crc(bytes: &[u8], shape: &[usize], ranges: &[Range<usize>], dtype: DType) -> Option<u32> {
    let inside = ranges.len() == shape.len()
        && std::iter::zip(ranges, shape).all(|(r, &size)| r.start <= r.end && r.end <= size);
    if !inside {
        return None;
    }
    // The bytes of an element become a last axis, so that any element type will do.
    let shape: Vec<usize> = shape.iter().copied().chain(dtype.size()).collect();
    let mut view = ArrayView::from_shape(shape, bytes).ok()?;
    for (axis, range) in ranges.iter().enumerate() {
        view.slice_axis_inplace(Axis(axis), Slice::from(range.clone()));
    }
    let part: Vec<u8> = view.iter().copied().collect();
    Some(crc32c::crc32c(&part))
}

fn first_difference(a: &[u8], b: &[u8]) -> usize {
    std::iter::zip(a, b)
        .position(|(a, b)| a != b)
        .unwrap_or(a.len().min(b.len()))
}
