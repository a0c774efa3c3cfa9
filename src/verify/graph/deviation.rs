//! The deviation of an output.

/// Returns the largest absolute difference, relative to the largest value or to 1; NaN if there is one.
/// Values of tokens that are not compared are left out.
pub(super) fn deviation(found: &[f64], expected: &[f64], tokens: Option<Vec<bool>>) -> f64 {
    let tokens = tokens.unwrap_or_else(|| vec![true]);
    let width = (found.len() / tokens.len().max(1)).max(1);
    let (mut worst, mut largest) = (0.0_f64, 1.0_f64);
    for (at, (found, expected)) in std::iter::zip(found, expected).enumerate() {
        if !tokens.get(at / width).copied().unwrap_or(false) {
            continue;
        }
        let difference = (found - expected).abs();
        if difference.is_nan() {
            return f64::NAN;
        }
        worst = worst.max(difference);
        largest = largest.max(expected.abs());
    }
    worst / largest
}

/// Returns true for a deviation that is larger than allowed, or not a number.
pub(super) fn exceeds(deviation: f64, tolerance: f64) -> bool {
    deviation.is_nan() || deviation > tolerance
}
