//! Draws masked positions and tokens, as in training.

/// The share of tokens that are masked in training.
const MASK_SHARE: f64 = 0.15;

/// Draws the positions to mask, sorted: 15 %, at least one if there is any.
pub(super) fn draw_masked(positions: &[usize], random: &mut fastrand::Rng) -> Vec<usize> {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of a small count"
    )]
    let n =
        ((positions.len() as f64 * MASK_SHARE).round() as usize).clamp(1, positions.len().max(1));
    let mut drawn = random.choose_multiple(positions.iter().copied(), n);
    drawn.sort_unstable();
    drawn
}

/// Draws an index with the given probabilities.
pub(super) fn draw(probabilities: &[f32], random: &mut fastrand::Rng) -> usize {
    let mut rest = random.f32() * probabilities.iter().sum::<f32>();
    for (index, p) in probabilities.iter().enumerate() {
        rest -= p;
        if rest < 0.0 {
            return index;
        }
    }
    probabilities.len().saturating_sub(1)
}
