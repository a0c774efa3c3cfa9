//! Losses, ranks, and the bootstrap.

/// Number of bootstrap samples.
const SAMPLES: usize = 2000;

/// Returns the cross-entropy in nats. Probabilities that float32 rounds to zero are replaced by 1e-9.
pub(super) fn cross_entropy(p: f32) -> f64 {
    -f64::from(p.max(1e-9)).ln()
}

/// Returns the mean loss of a token, for sums of losses with their numbers of tokens.
#[allow(clippy::cast_precision_loss, reason = "counts of tokens")]
pub(super) fn mean<'a>(sequences: impl Iterator<Item = &'a (f64, usize)>) -> f64 {
    let (loss, tokens) = sequences.fold((0.0, 0), |(l, n), (loss, tokens)| (l + loss, n + tokens));
    loss / (tokens.max(1)) as f64
}

/// Returns the probability that a replaced token is ranked above another one; ties count half. NaN if there
/// is no pair.
#[allow(clippy::cast_precision_loss, reason = "counts of tokens")]
pub(super) fn area_under_curve(mut judged: Vec<(f32, bool)>) -> f64 {
    judged.sort_by(|a, b| a.0.total_cmp(&b.0));
    let replaced = judged.iter().filter(|(_, replaced)| *replaced).count();
    let others = judged.len() - replaced;
    if replaced == 0 || others == 0 {
        return f64::NAN;
    }
    let mut wins = 0.0;
    let mut below = 0;
    for ties in judged.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()) {
        let tied_replaced = ties.iter().filter(|(_, replaced)| *replaced).count();
        let tied_others = ties.len() - tied_replaced;
        wins += tied_replaced as f64 * (below as f64 + tied_others as f64 / 2.0);
        below += tied_others;
    }
    wins / (replaced as f64 * others as f64)
}

/// Returns the share of bootstrap samples in which `a` has a smaller loss than `b`. Both hold the sum of losses
/// and the number of tokens of each sequence.
#[allow(clippy::cast_precision_loss, reason = "counts of samples")]
pub(super) fn share_better(a: &[(f64, usize)], b: &[(f64, usize)], seed: u64) -> f64 {
    if a.is_empty() || a.len() != b.len() {
        return 0.0;
    }
    let mut random = fastrand::Rng::with_seed(seed);
    let mut better = 0_usize;
    for _ in 0..SAMPLES {
        let sample: Vec<usize> = (0..a.len()).map(|_| random.usize(0..a.len())).collect();
        let of = |sequences: &[(f64, usize)]| mean(sample.iter().map(|&i| &sequences[i]));
        better += usize::from(of(a) < of(b));
    }
    better as f64 / SAMPLES as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_area_under_the_curve_counts_pairs() {
        let auc = |judged: &[(f32, bool)]| area_under_curve(judged.to_vec());
        assert!((auc(&[(0.9, true), (0.1, false)]) - 1.0).abs() < 1e-12);
        assert!((auc(&[(0.1, true), (0.9, false)])).abs() < 1e-12);
        assert!((auc(&[(0.5, true), (0.5, false)]) - 0.5).abs() < 1e-12);
        // Of the four pairs three are in order.
        let judged = [(0.8, true), (0.4, true), (0.6, false), (0.2, false)];
        assert!((auc(&judged) - 0.75).abs() < 1e-12);
        assert!(auc(&[(0.3, true)]).is_nan());
    }

    #[test]
    fn the_bootstrap_is_certain_only_of_a_difference_in_every_sequence() {
        let good: Vec<(f64, usize)> = (0..20).map(|i| (10.0 + f64::from(i), 10)).collect();
        let bad: Vec<(f64, usize)> = good.iter().map(|(loss, n)| (loss + 0.1, *n)).collect();
        assert!((share_better(&good, &bad, 0) - 1.0).abs() < 1e-12);
        assert!(share_better(&bad, &good, 0) < 1e-12);
        let noisy: Vec<(f64, usize)> = good
            .iter()
            .zip([1.0, -1.0].into_iter().cycle())
            .map(|((loss, n), noise)| (loss + noise, *n))
            .collect();
        let share = share_better(&noisy, &good, 0);
        assert!((0.2..0.8).contains(&share), "{share}");
    }
}
