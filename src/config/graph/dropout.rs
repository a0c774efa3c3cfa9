//! Dropout, by the factor that its mask stands for.
//!
//! A training graph multiplies by a mask that is 0 for dropped elements and, over all, scales what is
//! kept so that its mean stays: keep probability × kept value × scale = 1. TensorFlow has written
//! this in several ways (`SelectV2(u >= rate, x / keep, 0)`, `x / keep * floor(keep + u)`,
//! `x * scale * Cast(u >= rate)`). In each the mask is a function of one uniform draw, so that its
//! values at both ends and the draw where it switches say which factor it stands for.

use tf_checkpoint::{NodeId, Tensor};

use super::elementwise::Elementwise;
use super::view::View;

/// Draws close to both ends of the interval.
const ENDS: [f64; 2] = [0.0, 0.999_999_9];
/// Halvings of the interval in the search for the draw where a mask switches.
const STEPS: usize = 40;

/// The mean of a computation over the draws of a random operation: of samples, or of a constant.
///
/// `evaluate` gives the values for one draw. Where they do not depend on the draw, they are the mean.
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
