//! Compares a tensor with its variable in pieces, in the order of the variable.
//!
//! This is how nearly every tensor is compared, in little memory: by the CRC-32C of its bytes, or value by
//! value with the rounded variable, which is read along with it. Partitioned variables, those of V1
//! checkpoints and computed tensors are compared as a whole ([`Whole`](super::checksums::Whole)).

use std::borrow::Cow;

use tensor_bytes::AlignedBytes;
use tf_checkpoint::{Checkpoint, Contiguous};

use super::differences::{checksum_differs, element_differs, first_difference};
use super::error::Error;
use crate::export::{self, SliceChecksum, cast_step, uncast};
use crate::plan::{Cast, PlannedTensor};
use crate::variables::Recipe;

/// A comparison that is under way.
pub(super) enum InOrder<'a> {
    Checksum {
        piece: &'a SliceChecksum,
        cast: Cast,
        /// Of the bytes so far; `None` after values that are not those of the variable's type.
        sum: Option<u32>,
    },
    Values {
        planned: &'a PlannedTensor,
        variable: Contiguous<'a>,
        /// Elements so far.
        elements: usize,
        /// The first one that differs.
        difference: Option<usize>,
    },
}

impl<'a> InOrder<'a> {
    /// Compares the checksum of the tensor, transformed back by `cast`.
    pub(super) fn checksum(piece: &'a SliceChecksum, cast: Cast) -> Self {
        Self::Checksum {
            piece,
            cast,
            sum: Some(0),
        }
    }

    /// Compares the values with those of the variable, after its cast; `None` if it cannot be read in pieces.
    pub(super) fn values(planned: &'a PlannedTensor, checkpoint: &'a Checkpoint) -> Option<Self> {
        let is_simple = matches!(planned.recipe, Recipe::Copy | Recipe::Transpose);
        let variable = checkpoint.contiguous(planned.variables.first()?)?;
        is_simple.then_some(Self::Values {
            planned,
            variable,
            elements: 0,
            difference: None,
        })
    }

    /// Adds the next bytes of the tensor.
    pub(super) fn add(&mut self, bytes: &[u8]) -> Result<(), Error> {
        match self {
            Self::Checksum { piece, cast, sum } => {
                let Some(before) = *sum else {
                    return Ok(());
                };
                let is_widened = cast.from.size() != Some(cast.to_size());
                let bytes = if is_widened {
                    uncast(AlignedBytes::of(bytes), *cast)
                        .map(|bytes| Cow::Owned(bytes.as_bytes().to_vec()))
                } else {
                    Some(Cow::Borrowed(bytes))
                };
                *sum = bytes.map(|bytes| {
                    let bytes = piece.stored(bytes, cast.from);
                    crc32c::crc32c_append(before, &bytes)
                });
            }
            Self::Values {
                planned,
                variable,
                elements,
                difference,
            } => {
                let cast = planned.cast;
                let count = bytes.len() / cast.to_size();
                let size = cast.from.size().expect("a floating-point type");
                let at = (*elements * size) as u64;
                let mut source = AlignedBytes::zeroed_for(count * size, variable.offset() + at);
                variable
                    .read(source.as_bytes_mut(), at)
                    .map_err(export::Error::from)?;
                let converted = cast_step(source, planned, *elements)?;
                if difference.is_none() && converted.as_bytes() != bytes {
                    let at = first_difference(converted.as_bytes(), bytes);
                    *difference = Some(*elements + at / cast.to_size());
                }
                *elements += count;
            }
        }
        Ok(())
    }

    /// Returns the difference in words.
    pub(super) fn end(self) -> Option<String> {
        match self {
            Self::Checksum {
                cast, sum: None, ..
            } => Some(format!("it has values that are not {} values", cast.from)),
            Self::Checksum { piece, sum, .. } => {
                let expected = piece.crc32c();
                (sum != expected || expected.is_none()).then(|| checksum_differs("", sum, expected))
            }
            Self::Values {
                planned,
                difference,
                ..
            } => difference.map(|element| {
                let in_tensor = match (planned.recipe, &planned.shape[..]) {
                    (Recipe::Transpose, &[rows, columns]) => {
                        element % rows * columns + element / rows
                    }
                    _ => element,
                };
                element_differs(in_tensor)
            }),
        }
    }
}
