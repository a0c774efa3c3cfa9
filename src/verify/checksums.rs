//! Compares each tensor with its variable.
//!
//! A tensor is turned back (transposed, widened values narrowed again), and the CRC-32C of the
//! result, piece by piece where the variable is partitioned, must be the one that the checkpoint's
//! index holds. A tensor that was rounded cannot be turned back, and a V1 checkpoint has no checksums
//! of variables; there the tensor must equal what converting the variable again gives, which needs
//! the checkpoint's data.

use std::borrow::Cow;
use std::collections::BTreeMap;

use safetensors::tensor::TensorInfo;
use tf_checkpoint::{Checkpoint, DType, cut, swap_bytes};

use super::{CompareWith, Error, Failure};
use crate::export::checksums::{self, SliceChecksum, TensorChecksums};
use crate::export::{AlignedBytes, WeightsFile, convert_tensor, transpose, uncast};
use crate::plan::{Cast, PlannedTensor};
use crate::variables::Recipe;
use crate::variables::names::is_transposed;

/// How many tensors were compared, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChecksumReport {
    /// By CRC-32C with the checkpoint's index.
    pub against_index: usize,
    /// By value with the checkpoint's data, rounded again.
    pub rounded: usize,
    /// By value with the checkpoint's data, because it has no checksums of variables (V1).
    pub without_sums: usize,
    /// By value with what the checkpoint's data give: no single variable is the tensor.
    pub made: usize,
    /// By CRC-32C with the notes of the conversion in the file itself.
    pub against_record: usize,
    /// Not compared: there is nothing to compare with.
    pub unchecked: usize,
}

/// What a tensor should be.
struct Expected<'a> {
    /// `None` when only its values can tell.
    sums: Option<TensorChecksums>,
    transpose: bool,
    planned: Option<(&'a PlannedTensor, &'a Checkpoint)>,
}

pub(super) struct ChecksumCheck<'a> {
    expected: BTreeMap<String, Expected<'a>>,
    /// False when neither a checkpoint nor notes are there.
    has_original: bool,
}

impl ChecksumReport {
    /// Adds what was counted elsewhere.
    pub(super) fn add(&mut self, other: &Self) {
        self.against_index += other.against_index;
        self.rounded += other.rounded;
        self.without_sums += other.without_sums;
        self.made += other.made;
        self.against_record += other.against_record;
        self.unchecked += other.unchecked;
    }
}

impl<'a> ChecksumCheck<'a> {
    pub(super) fn new(
        weights: &WeightsFile,
        original: CompareWith<'a>,
        failures: &mut Vec<Failure>,
    ) -> Self {
        let expected = match original {
            CompareWith::Checkpoint(checkpoint, plan) => Some(
                plan.tensors
                    .iter()
                    .map(|planned| (planned.name.clone(), planned_sums(planned, checkpoint)))
                    .collect(),
            ),
            CompareWith::RecordedChecksums => recorded_sums(weights, failures),
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
        }
    }

    /// Compares one tensor, whose bytes these are, and counts it.
    pub(super) fn check(
        &self,
        name: &str,
        info: &TensorInfo,
        bytes: AlignedBytes,
        report: &mut ChecksumReport,
        failures: &mut Vec<Failure>,
    ) -> Result<(), Error> {
        let Some(expected) = self.expected.get(name) else {
            if self.has_original {
                failures.push(Failure::NotInOriginal {
                    tensor: name.to_owned(),
                });
            } else {
                report.unchecked += 1;
            }
            return Ok(());
        };
        let different = |what: String| Failure::Different {
            tensor: name.to_owned(),
            variable: expected.planned.map(|(p, _)| p.variable_names()),
            what,
        };
        let sums = match expected.sums.as_ref().map(|sums| (sums, sums.dtype())) {
            Some((sums, None)) => {
                failures.push(Failure::BadRecord {
                    what: format!("{} is no element type", sums.dtype),
                });
                return Ok(());
            }
            Some((sums, Some(from))) => {
                let cast = Cast {
                    from,
                    to: info.dtype,
                };
                // A rounded tensor cannot be turned back.
                (!cast.is_lossy()).then_some((sums, cast))
            }
            None => None,
        };
        let differences = match (sums, expected.planned) {
            (Some((sums, cast)), planned) => {
                match planned {
                    Some(_) => report.against_index += 1,
                    None => report.against_record += 1,
                }
                compare_sums(info, bytes, cast, sums, expected.transpose)
            }
            (None, Some((planned, checkpoint))) if planned.check_present(checkpoint).is_ok() => {
                match expected.sums {
                    Some(_) => report.rounded += 1,
                    None if planned.recipe.is_reversible() => report.without_sums += 1,
                    None => report.made += 1,
                }
                compare_values(info, &bytes, planned, checkpoint)?
            }
            (None, _) => {
                report.unchecked += 1;
                Vec::new()
            }
        };
        failures.extend(differences.into_iter().map(different));
        Ok(())
    }
}

/// Converts the variable again and compares all values. Returns what differs.
fn compare_values(
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
    let converted = convert_tensor(planned, checkpoint)?;
    if converted.as_bytes() == bytes.as_bytes() {
        return Ok(Vec::new());
    }
    let at = first_difference(converted.as_bytes(), bytes.as_bytes());
    let element = at / (info.dtype.bitsize() / 8);
    Ok(vec![format!(
        "element {element} is another than the checkpoint gives"
    )])
}

/// Turns the tensor back and compares the CRC-32C of each piece. Returns what differs.
fn compare_sums(
    info: &TensorInfo,
    bytes: AlignedBytes,
    cast: Cast,
    sums: &TensorChecksums,
    transposed: bool,
) -> Vec<String> {
    let mut shape = info.shape.clone();
    let Some(bytes) = uncast(bytes, cast) else {
        return vec![format!("it holds numbers that are no {}", cast.from)];
    };
    let bytes = match (transposed, shape[..].try_into()) {
        (true, Ok(matrix)) => {
            shape.reverse();
            let element = cast.from.size().expect("a floating-point type");
            transpose(&bytes, matrix, element)
        }
        _ => bytes,
    };
    let mut differences = Vec::new();
    for piece in &sums.pieces {
        let slice = piece.slice();
        let part = match &slice {
            None => Some(Cow::Borrowed(bytes.as_bytes())),
            Some(ranges) => cut(bytes.as_bytes(), ranges, (cast.from, &shape)).map(Cow::Owned),
        };
        let found = part.map(|part| stored_crc(part, piece, cast.from));
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

/// The CRC-32C of a part of a variable, in the byte order in which the checkpoint has it.
fn stored_crc(part: Cow<'_, [u8]>, piece: &SliceChecksum, dtype: DType) -> u32 {
    match dtype.size() {
        Some(size) if piece.big_endian => {
            let mut swapped = part.into_owned();
            swap_bytes(&mut swapped, size);
            crc32c::crc32c(&swapped)
        }
        _ => crc32c::crc32c(&part),
    }
}

fn planned_sums<'a>(planned: &'a PlannedTensor, checkpoint: &'a Checkpoint) -> Expected<'a> {
    Expected {
        sums: TensorChecksums::of_planned(planned),
        transpose: planned.recipe == Recipe::Transpose,
        planned: Some((planned, checkpoint)),
    }
}

/// The notes in the metadata; `None` when there are none. What is transposed is not taken from
/// there but from the name table.
fn recorded_sums<'a>(
    weights: &WeightsFile,
    failures: &mut Vec<Failure>,
) -> Option<BTreeMap<String, Expected<'a>>> {
    let text = weights.metadata()?.get(checksums::KEY)?;
    match checksums::from_json(text) {
        Ok(sums) => Some(
            sums.into_iter()
                .map(|(name, sums)| {
                    let expected = Expected {
                        transpose: !sums.written && is_transposed(&name),
                        sums: Some(sums),
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

fn first_difference(a: &[u8], b: &[u8]) -> usize {
    std::iter::zip(a, b)
        .position(|(a, b)| a != b)
        .unwrap_or(a.len().min(b.len()))
}
