//! Compares each tensor with its variable.
//!
//! A tensor is transformed back into its variable (transposed, widened values narrowed again), and the
//! CRC-32C of the result must be the one in the checkpoint's index, piece by piece if the variable is
//! partitioned. A rounded tensor cannot be transformed back, and V1 checkpoints and HDF5 files have no
//! checksums of variables; then the variable is converted again and the results are compared value by value, which needs
//! the checkpoint's data files.

use std::borrow::Cow;
use std::collections::BTreeMap;

use safetensors::tensor::TensorInfo;
use tensor_bytes::{AlignedBytes, transpose};
use tf_checkpoint::{Checkpoint, cut};

use super::differences::{checksum_differs, element_differs, first_difference};
use super::error::Error;
use super::failure::Failure;
use super::in_order::InOrder;
use super::inputs::CompareWith;
use crate::export::{TensorChecksums, WeightsFile, convert_tensor, uncast};
use crate::plan::{Cast, Plan, PlannedTensor};
use crate::variables::Recipe;
use crate::variables::names::is_transposed;

/// Number of compared tensors, by the kind of comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChecksumReport {
    /// By CRC-32C with the checkpoint's index.
    pub against_index: usize,
    /// Value by value with the rounded variable.
    pub rounded: usize,
    /// Value by value with the variable, because the checkpoint has no checksum of it (V1, HDF5).
    pub by_value: usize,
    /// Value by value with the result of a computation on several variables.
    pub computed: usize,
    /// By CRC-32C with the checksum that the conversion recorded in the file.
    pub against_recorded: usize,
    /// Not compared, because there is nothing to compare with.
    pub unchecked: usize,
}

/// What a tensor is compared with.
struct Expected<'a> {
    /// `None` if only the values can be compared.
    checksums: Option<TensorChecksums>,
    is_transposed: bool,
    /// `None` without a checkpoint.
    planned: Option<(&'a PlannedTensor, &'a Checkpoint)>,
}

/// Compares tensors one by one.
pub(super) struct ChecksumCheck<'a> {
    /// By name of the tensor; `None` without a checkpoint and without recorded checksums.
    expected: Option<BTreeMap<String, Expected<'a>>>,
}

impl ChecksumReport {
    /// Adds the numbers of another report.
    pub(super) fn add(&mut self, other: &Self) {
        self.against_index += other.against_index;
        self.rounded += other.rounded;
        self.by_value += other.by_value;
        self.computed += other.computed;
        self.against_recorded += other.against_recorded;
        self.unchecked += other.unchecked;
    }
}

impl<'a> ChecksumCheck<'a> {
    /// Collects what the tensors are compared with. A tensor that the file does not have is a failure.
    pub(super) fn new(
        weights: &WeightsFile,
        compare_with: CompareWith<'a>,
        failures: &mut Vec<Failure>,
    ) -> Self {
        let expected = match compare_with {
            CompareWith::Checkpoint(checkpoint, plan) => Some(expected_by_plan(checkpoint, plan)),
            CompareWith::RecordedChecksums => recorded(weights, failures),
        };
        for name in expected.iter().flat_map(BTreeMap::keys) {
            if weights.info(name).is_none() {
                failures.push(Failure::NotInFile {
                    tensor: name.clone(),
                });
            }
        }
        Self { expected }
    }

    /// Decides how a tensor is compared, and counts it.
    pub(super) fn comparison(
        &self,
        name: &str,
        info: &TensorInfo,
        report: &mut ChecksumReport,
        failures: &mut Vec<Failure>,
    ) -> Comparison<'_> {
        let Some(all) = &self.expected else {
            report.unchecked += 1;
            return Comparison::None;
        };
        let Some(expected) = all.get(name) else {
            failures.push(Failure::NotConverted {
                tensor: name.to_owned(),
            });
            return Comparison::None;
        };
        let mut reversible = None;
        if let Some(checksums) = &expected.checksums {
            let Some(from) = checksums.dtype() else {
                failures.push(Failure::InvalidChecksums {
                    what: format!("{:?} is not an element type", checksums.dtype),
                });
                return Comparison::None;
            };
            let cast = Cast {
                from,
                to: info.dtype,
            };
            reversible = (!cast.is_lossy()).then_some((checksums, cast));
        }
        let is_transposed = expected.is_transposed && info.shape.len() == 2;
        match (reversible, expected.planned) {
            (Some((checksums, cast)), planned) => {
                match planned {
                    Some(_) => report.against_index += 1,
                    None => report.against_recorded += 1,
                }
                match &checksums.pieces[..] {
                    [piece] if piece.slice().is_none() => {
                        Comparison::InOrder(is_transposed, InOrder::checksum(piece, cast))
                    }
                    _ => Comparison::Whole(Whole::Checksums {
                        checksums,
                        cast,
                        is_transposed,
                    }),
                }
            }
            (None, Some((planned, checkpoint))) if planned.check_present(checkpoint).is_ok() => {
                match expected.checksums {
                    Some(_) => report.rounded += 1,
                    None if planned.recipe.is_reversible() => report.by_value += 1,
                    None => report.computed += 1,
                }
                let is_same = planned.cast.to == info.dtype && planned.shape == info.shape;
                match InOrder::values(planned, checkpoint).filter(|_| is_same) {
                    Some(in_order) => Comparison::InOrder(is_transposed, in_order),
                    None => Comparison::Whole(Whole::Values {
                        planned,
                        checkpoint,
                    }),
                }
            }
            (None, _) => {
                report.unchecked += 1;
                Comparison::None
            }
        }
    }

    /// Returns the failure of a tensor that differs.
    pub(super) fn different(&self, name: &str, what: String) -> Failure {
        let expected = self.expected.as_ref().and_then(|all| all.get(name));
        let planned = expected.and_then(|expected| expected.planned);
        Failure::Different {
            tensor: name.to_owned(),
            variable: planned.map(|(planned, _)| planned.variable_names()),
            what,
        }
    }
}

/// How a tensor is compared.
pub(super) enum Comparison<'a> {
    /// Not at all.
    None,
    /// In pieces, in the order of the variable; true if the tensor must be transposed for it.
    InOrder(bool, InOrder<'a>),
    /// In memory.
    Whole(Whole<'a>),
}

/// A comparison of a whole tensor.
pub(super) enum Whole<'a> {
    Checksums {
        checksums: &'a TensorChecksums,
        cast: Cast,
        is_transposed: bool,
    },
    Values {
        planned: &'a PlannedTensor,
        checkpoint: &'a Checkpoint,
    },
}

impl Whole<'_> {
    /// Compares all bytes. Returns the differences in words.
    pub(super) fn compare(
        &self,
        info: &TensorInfo,
        bytes: AlignedBytes,
    ) -> Result<Vec<String>, Error> {
        match *self {
            Self::Checksums {
                checksums,
                cast,
                is_transposed,
            } => Ok(compare_checksums(
                info,
                bytes,
                cast,
                checksums,
                is_transposed,
            )),
            Self::Values {
                planned,
                checkpoint,
            } => compare_values(info, &bytes, planned, checkpoint),
        }
    }
}

/// Returns what the tensors of a plan are compared with.
fn expected_by_plan<'a>(
    checkpoint: &'a Checkpoint,
    plan: &'a Plan,
) -> BTreeMap<String, Expected<'a>> {
    let expected = |planned: &'a PlannedTensor| Expected {
        checksums: TensorChecksums::of_planned(planned),
        is_transposed: planned.recipe == Recipe::Transpose,
        planned: Some((planned, checkpoint)),
    };
    let tensors = plan.tensors.iter();
    tensors
        .map(|planned| (planned.name.clone(), expected(planned)))
        .collect()
}

/// Returns the recorded checksums; `None` if there are none. Which tensors are transposed is decided by the
/// name table, not by the file.
fn recorded<'a>(
    weights: &WeightsFile,
    failures: &mut Vec<Failure>,
) -> Option<BTreeMap<String, Expected<'a>>> {
    let recorded = match weights.recorded_checksums()? {
        Ok(recorded) => recorded,
        Err(what) => {
            failures.push(Failure::InvalidChecksums { what });
            return None;
        }
    };
    let expected = recorded.into_iter().map(|(name, checksums)| {
        let expected = Expected {
            is_transposed: !checksums.written && is_transposed(&name),
            checksums: Some(checksums),
            planned: None,
        };
        (name, expected)
    });
    Some(expected.collect())
}

/// Converts the variable again and compares all values. Returns the differences in words.
fn compare_values(
    info: &TensorInfo,
    bytes: &AlignedBytes,
    planned: &PlannedTensor,
    checkpoint: &Checkpoint,
) -> Result<Vec<String>, Error> {
    if planned.cast.to != info.dtype {
        return Ok(vec![format!(
            "its element type is {}, expected {}",
            info.dtype, planned.cast.to
        )]);
    }
    let converted = convert_tensor(planned, checkpoint)?;
    if converted.as_bytes() == bytes.as_bytes() {
        return Ok(Vec::new());
    }
    let at = first_difference(converted.as_bytes(), bytes.as_bytes());
    let element = at / (info.dtype.bitsize() / 8);
    Ok(vec![element_differs(element)])
}

/// Transforms the tensor back and compares the CRC-32C of each piece. Returns the differences in words.
fn compare_checksums(
    info: &TensorInfo,
    bytes: AlignedBytes,
    cast: Cast,
    checksums: &TensorChecksums,
    is_transposed: bool,
) -> Vec<String> {
    let mut shape = info.shape.clone();
    let Some(bytes) = uncast(bytes, cast) else {
        return vec![format!("it has values that are not {} values", cast.from)];
    };
    let bytes = match (is_transposed, shape[..].try_into()) {
        (true, Ok(matrix)) => {
            shape.reverse();
            let element = cast.from.size().expect("a floating-point type");
            transpose(&bytes, matrix, element)
        }
        _ => bytes,
    };
    let mut differences = Vec::new();
    for piece in &checksums.pieces {
        let slice = piece.slice();
        let part = match &slice {
            None => Some(Cow::Borrowed(bytes.as_bytes())),
            Some(ranges) => cut(bytes.as_bytes(), ranges, (cast.from, &shape)).map(Cow::Owned),
        };
        let found = part.map(|part| crc32c::crc32c(&piece.stored(part, cast.from)));
        if found.is_none() || found != piece.crc32c() {
            let part = slice.map_or_else(String::new, |ranges| format!(" of slice {ranges:?}"));
            differences.push(checksum_differs(&part, found, piece.crc32c()));
        }
    }
    differences
}
