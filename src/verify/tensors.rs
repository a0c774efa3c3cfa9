//! Reads every tensor once, for the checks of its checksum and of its values, on all threads.

use std::collections::BTreeMap;

use candle_electra::{DECODER_WEIGHT, WORD_EMBEDDINGS};
use safetensors::tensor::TensorInfo;

use super::checksums::{ChecksumCheck, ChecksumReport};
use super::error::Error;
use super::failure::Failure;
use super::inputs::CompareWith;
use super::values::{self, Values};
use crate::export::{AlignedBytes, LoadError, WeightsFile};
use crate::head_norms;
use crate::progress::Watch;
use crate::threads;

/// The results of all tensors.
#[derive(Default)]
pub(super) struct TensorReport {
    pub(super) checksums: ChecksumReport,
    /// Names of tensors whose elements are all the same.
    pub(super) constant: Vec<String>,
    /// The norms of the units of attention heads, by the name of the tensor.
    pub(super) norms: BTreeMap<String, Vec<f64>>,
}

/// The results of one tensor.
#[derive(Default)]
struct TensorChecks {
    checksums: ChecksumReport,
    is_constant: bool,
    norms: Option<Vec<f64>>,
    failures: Vec<Failure>,
}

/// Checks all tensors.
pub(super) fn check(
    weights: &WeightsFile,
    compare_with: CompareWith<'_>,
    watch: &Watch<'_>,
    failures: &mut Vec<Failure>,
) -> Result<TensorReport, Error> {
    let checksums = ChecksumCheck::new(weights, compare_with, failures);
    let tensors = weights.tensors();
    let check = |at: usize| -> Result<TensorChecks, Error> {
        let (name, info) = &tensors[at];
        let bytes = read(weights, info)?;
        let len = bytes.len();
        let mut found = TensorChecks::default();
        match values::check(&bytes, info) {
            Values::Ordinary => {}
            Values::Constant => found.is_constant = true,
            Values::NotFinite { index, value } => found.failures.push(Failure::NotFinite {
                tensor: name.clone(),
                index,
                value,
            }),
        }
        found.norms = head_norms::of_tensor(name, info.dtype, &info.shape, &bytes);
        checksums.check(name, info, bytes, &mut found.checksums, &mut found.failures)?;
        watch.advance(len as u64)?;
        Ok(found)
    };
    let checked = threads::map(tensors.len(), check)?;
    let mut report = TensorReport::default();
    for ((name, _), found) in std::iter::zip(&tensors, checked) {
        report.checksums.add(&found.checksums);
        let constant = found.is_constant.then(|| name.clone());
        report.constant.extend(constant);
        let norms = found.norms.map(|norms| (name.clone(), norms));
        report.norms.extend(norms);
        failures.extend(found.failures);
    }
    check_tied_decoder(weights, failures)?;
    Ok(report)
}

/// Checks that a decoder in the file equals the word embeddings: transformers 4 ties it in any case, 5 does
/// not if it is there, so that one file would be two models.
fn check_tied_decoder(weights: &WeightsFile, failures: &mut Vec<Failure>) -> Result<(), Error> {
    let (Some(decoder), Some(words)) =
        (weights.info(DECODER_WEIGHT), weights.info(WORD_EMBEDDINGS))
    else {
        return Ok(());
    };
    if read(weights, decoder)?.as_bytes() != read(weights, words)?.as_bytes() {
        failures.push(Failure::Untied);
    }
    Ok(())
}

fn read(weights: &WeightsFile, info: &TensorInfo) -> Result<AlignedBytes, LoadError> {
    let (start, end) = info.data_offsets;
    let mut bytes = AlignedBytes::zeroed_for(end - start, weights.offset(info));
    weights.read(info, bytes.as_bytes_mut())?;
    Ok(bytes)
}
