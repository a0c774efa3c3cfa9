//! Compares a decoder in the file with the word embeddings.

use candle_electra::{DECODER_WEIGHT, WORD_EMBEDDINGS};
use safetensors::tensor::TensorInfo;

use super::error::Error;
use super::failure::Failure;
use crate::export::{LoadError, STEP, WeightsFile};

/// Checks that a decoder in the file equals the word embeddings: transformers 4 ties it in any case, 5 does
/// not if it is there, so that one file would be two models.
pub(super) fn check(weights: &WeightsFile, failures: &mut Vec<Failure>) -> Result<(), Error> {
    let (Some(decoder), Some(words)) =
        (weights.info(DECODER_WEIGHT), weights.info(WORD_EMBEDDINGS))
    else {
        return Ok(());
    };
    if !is_same(weights, decoder, words)? {
        failures.push(Failure::Untied);
    }
    Ok(())
}

/// Compares the bytes of two tensors.
fn is_same(weights: &WeightsFile, a: &TensorInfo, b: &TensorInfo) -> Result<bool, LoadError> {
    let len = |info: &TensorInfo| info.data_offsets.1 - info.data_offsets.0;
    if len(a) != len(b) {
        return Ok(false);
    }
    let mut steps = [vec![0; STEP], vec![0; STEP]];
    for at in (0..len(a)).step_by(STEP) {
        let size = STEP.min(len(a) - at);
        for (step, info) in std::iter::zip(&mut steps, [a, b]) {
            weights.read_at(info.data_offsets.0 + at, &mut step[..size])?;
        }
        if steps[0][..size] != steps[1][..size] {
            return Ok(false);
        }
    }
    Ok(true)
}
