//! Dropout, replaced by its mean.
//!
//! A training graph multiplies by a mask that is 0 for dropped elements and scales the kept elements so
//! that the mean does not change: keep probability × kept value × scale = 1. TensorFlow has several
//! spellings (`SelectV2(u >= rate, x / keep, 0)`, `x / keep * floor(keep + u)`,
//! `x * scale * Cast(u >= rate)`). In each, the mask is a function of one uniform draw: its values at both
//! ends of the interval, and the draw where it switches, determine its mean.

use tf_checkpoint::{NodeId, Tensor};

use super::elementwise::Elementwise;
use super::view::View;

/// Draws at both ends of the interval.
const ENDS: [f64; 2] = [0.0, 0.999_999_9];
/// The number of bisections in the search for the draw where a mask switches.
const STEPS: usize = 40;

/// Returns the values of a tensor, averaged over the draws of random operations, and the operations
/// evaluated. `start` has samples for tensors that the computation starts from. The error is the node where
/// the evaluation ended.
pub(super) fn mean_over_draws(
    view: &View<'_>,
    tensor: Tensor,
    start: &[(Tensor, &[f64])],
) -> Result<(Vec<f64>, Vec<String>), NodeId> {
    let evaluate = |draw: f64| {
        let mut evaluation = Elementwise::new(view, draw);
        for (tensor, samples) in start {
            evaluation.set(*tensor, samples);
        }
        let value = evaluation.value(tensor)?;
        Ok((value, evaluation.operations().to_vec()))
    };
    let [(low, operations), (high, _)] = [evaluate(ENDS[0])?, evaluate(ENDS[1])?];
    if low == high {
        return Ok((low, operations));
    }
    let is_zero = |values: &[f64]| values.iter().all(|&value| value == 0.0);
    let keeps_high = match (is_zero(&low), is_zero(&high)) {
        (true, false) => true,
        (false, true) => false,
        _ => return Err(tensor.node),
    };
    let [mut start, mut end] = ENDS;
    for _ in 0..STEPS {
        let middle = f64::midpoint(start, end);
        if evaluate(middle)?.0 == low {
            start = middle;
        } else {
            end = middle;
        }
    }
    let kept = if keeps_high { high } else { low };
    let probability = if keeps_high { 1.0 - end } else { start };
    Ok((
        kept.into_iter().map(|value| value * probability).collect(),
        operations,
    ))
}

/// Returns the number that a tensor has for every input, averaged over the draws of a dropout mask.
pub(crate) fn constant(view: &View<'_>, tensor: Tensor) -> Option<f64> {
    match mean_over_draws(view, tensor, &[]).ok()?.0[..] {
        [value] => Some(value),
        _ => None,
    }
}
