//! The number of attention heads, from the weights alone.
//!
//! Trained heads differ in scale. The log of the squared norm of each output unit of query, key and value,
//! and of each input unit of the attention output, is therefore roughly constant within a head and jumps
//! between heads. Heads of different layers and matrices are scaled independently, so that what all vectors
//! of norms share does not show heads (outlier columns, a drift, layers that are copies of each other): each
//! vector is standardised, its outliers are limited, and the mean of all vectors is subtracted. For every head
//! count that divides the width into heads of 8 or more, [`HeadCount::new`] then compares three things:
//!
//! 1. **Likelihood.** A random-effects model: the means of the blocks are drawn with one variance, the
//!    deviations within blocks with another. The score is twice the restricted log likelihood (REML), above
//!    that of no structure. Every count has the same number of parameters and explains the same contrasts,
//!    so that scores are compared without a penalty. The winner must lead by 30 + 4 for each vector, over no
//!    structure and over every other count, its refinements and coarser counts included.
//! 2. **Place of the jumps.** The squared difference of the means of two windows of a quarter of a head, at
//!    the boundaries of heads, against the same one window before and after them. A smooth drift has a ratio
//!    of at most 2; the winner must have 3.
//! 3. **Number of the jumps.** At least three of four boundaries must have a ratio of 2: one block that
//!    differs from the rest is no evidence for a count. Counts below 4 have too few boundaries for this and
//!    are never decided.
//!
//! In 10,000 draws of each structure in the tests (random norms and weights, equal layers, outliers, drifts,
//! waves, random walks, low rank) no count was decided; two trained encoders lead by 1,016 and 660.
//! Neighbouring heads that are equal in all layers, as after doubling a model, cannot be distinguished from
//! one head.

/// The smallest head size of a candidate.
const MIN_HEAD_SIZE: usize = 8;
/// The smallest count that can be decided.
const MIN_COUNT: usize = 4;
/// The required lead: at least this, and this for each vector.
const MIN_MARGIN: f64 = 30.0;
const MARGIN_PER_VECTOR: f64 = 4.0;
/// The required ratio of the jumps at the boundaries to those beside them.
const MIN_JUMP_RATIO: f64 = 3.0;
/// The required ratio at the boundary where a quarter of all boundaries is smaller.
const MIN_QUARTILE_RATIO: f64 = 2.0;
/// The smallest number of vectors: those of one layer.
const MIN_VECTORS: usize = 4;
/// The limit of outliers, in robust standard deviations.
const OUTLIER: f64 = 4.0;
/// The standard deviation of a normal distribution, in median absolute deviations.
const DEVIATIONS_PER_MAD: f64 = 1.4826;

/// What the weights show of the number of attention heads.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum HeadCount {
    /// One count explains the weights better than every other.
    Decided {
        /// The count.
        count: usize,
        /// Its lead over the second best, in units of twice the log likelihood.
        margin: f64,
    },
    /// No count is clearly better than all others.
    Undecided {
        /// The best count; `None` if no structure is as good.
        best: Option<usize>,
        /// Its lead over the second best.
        margin: f64,
    },
}

impl HeadCount {
    /// There is nothing that could show a count.
    const NOTHING: Self = Self::Undecided {
        best: None,
        margin: 0.0,
    };

    /// Determines the head count from the log squared norms of a model of width `hidden_size`. Vectors
    /// with another length, or with a value that is not a number, are ignored.
    pub fn new(hidden_size: usize, log_norms: &[Vec<f64>]) -> Self {
        let vectors = comparable(hidden_size, log_norms);
        let vectors: Vec<Vec<f64>> = vectors.into_iter().flatten().collect();
        // Without norms the width may be anything that a config.json claims.
        if vectors.len() < MIN_VECTORS {
            return Self::NOTHING;
        }
        let largest = hidden_size / MIN_HEAD_SIZE;
        let counts = (2..=largest).filter(|&count| hidden_size.is_multiple_of(count));
        let score = |count: usize| {
            let scores = vectors
                .iter()
                .map(|vector| Blocks::new(vector, count).score());
            (count, scores.sum::<f64>())
        };
        // One head is no structure.
        let mut scores: Vec<(usize, f64)> = counts.map(score).chain([(1, 0.0)]).collect();
        scores.sort_by(|a, b| b.1.total_cmp(&a.1));
        let (count, best) = scores[0];
        let second = scores.get(1).map_or(0.0, |second| second.1);
        let margin = best - second;
        let vector_count = f64::from(u32::try_from(vectors.len()).unwrap_or(u32::MAX));
        let is_decided = count >= MIN_COUNT
            && margin >= MIN_MARGIN + MARGIN_PER_VECTOR * vector_count
            && has_jumps(&vectors, count);
        if is_decided {
            Self::Decided { count, margin }
        } else {
            let best = (count > 1).then_some(count);
            Self::Undecided { best, margin }
        }
    }

    /// Returns the count if it is decided.
    pub fn decided(self) -> Option<usize> {
        match self {
            Self::Decided { count, .. } => Some(count),
            Self::Undecided { .. } => None,
        }
    }

    /// Returns the lead of the best count over the second best.
    pub fn margin(self) -> f64 {
        match self {
            Self::Decided { margin, .. } | Self::Undecided { margin, .. } => margin,
        }
    }
}

/// Returns what head counts are judged by: each vector of log squared norms standardised, its outliers limited,
/// without the mean of all vectors. `None` for a vector that is ignored.
pub(crate) fn comparable(hidden_size: usize, log_norms: &[Vec<f64>]) -> Vec<Option<Vec<f64>>> {
    let vectors = log_norms.iter().map(|vector| {
        let has_length = vector.len() == hidden_size;
        has_length.then(|| standardised(vector)).flatten()
    });
    let mut vectors: Vec<Option<Vec<f64>>> = vectors.collect();
    without_common_part(&mut vectors);
    vectors
}

/// Subtracts the median and divides by the robust standard deviation; limits outliers. Returns `None` if this
/// has no meaning: half of the values are equal, or a value is not a number. The norm of a unit of zeros,
/// minus infinity, is an outlier.
fn standardised(vector: &[f64]) -> Option<Vec<f64>> {
    let median = median(vector.to_vec())?;
    let deviations = vector.iter().map(|x| (x - median).abs()).collect();
    let scale = DEVIATIONS_PER_MAD * self::median(deviations)?;
    let is_usable = median.is_finite() && scale.is_finite() && scale > 0.0;
    let standardised = vector
        .iter()
        .map(|x| ((x - median) / scale).clamp(-OUTLIER, OUTLIER));
    is_usable.then(|| standardised.collect())
}

/// Subtracts the mean of all vectors from each of them. Drops those of which nothing is left.
fn without_common_part(vectors: &mut [Option<Vec<f64>>]) {
    /// Far above what rounding leaves of equal vectors.
    const MIN_REST: f64 = 1e-6;
    let of_norms: Vec<&Vec<f64>> = vectors.iter().flatten().collect();
    let width = of_norms.first().map_or(0, |vector| vector.len());
    let count = float(of_norms.len());
    let sum = |unit: usize| of_norms.iter().map(|vector| vector[unit]).sum::<f64>();
    let common: Vec<f64> = (0..width).map(|unit| sum(unit) / count).collect();
    for vector in vectors {
        let Some(rest) = vector else { continue };
        std::iter::zip(&mut *rest, &common).for_each(|(x, common)| *x -= common);
        if rest.iter().all(|x| x.abs() <= MIN_REST) {
            *vector = None;
        }
    }
}

/// Returns the median; `None` if a value is not a number, or if there are no values.
fn median(mut values: Vec<f64>) -> Option<f64> {
    if values.is_empty() || values.iter().any(|x| x.is_nan()) {
        return None;
    }
    let at = values.len() / 2;
    Some(*values.select_nth_unstable_by(at, f64::total_cmp).1)
}

/// The sums of squares of a vector that is divided into blocks of equal size.
struct Blocks {
    /// Of the means of the blocks, times the size of a block, with their degrees of freedom.
    between: (f64, f64),
    /// Within the blocks.
    within: (f64, f64),
}

impl Blocks {
    fn new(vector: &[f64], count: usize) -> Self {
        let size = vector.len() / count;
        let mean = mean(vector);
        let (mut between, mut within) = (0.0, 0.0);
        for block in vector.chunks_exact(size) {
            let own = self::mean(block);
            between += float(size) * (own - mean).powi(2);
            within += block.iter().map(|x| (x - own).powi(2)).sum::<f64>();
        }
        // Weights made up of equal columns have no deviation at all.
        let floor = f64::EPSILON * (between + within);
        Self {
            between: (between, float(count - 1)),
            within: (within.max(floor), float(vector.len() - count)),
        }
    }

    /// Returns the estimated variance within blocks.
    fn variance(&self) -> f64 {
        self.within.0 / self.within.1
    }

    /// Returns twice the restricted log likelihood, above that of a single variance.
    fn score(&self) -> f64 {
        let ((between, between_freedom), (within, within_freedom)) = (self.between, self.within);
        let [outer, inner] = [between / between_freedom, within / within_freedom];
        let has_structure = outer > inner;
        if !has_structure {
            return 0.0;
        }
        let freedom = between_freedom + within_freedom;
        let single = (between + within) / freedom;
        freedom * single.ln() - between_freedom * outer.ln() - within_freedom * inner.ln()
    }
}

/// Returns true if the vectors jump at the boundaries of `count` blocks, at most of them, and not beside
/// them.
fn has_jumps(vectors: &[Vec<f64>], count: usize) -> bool {
    let Some(vector) = vectors.first() else {
        return false;
    };
    let size = vector.len() / count;
    let window = (size / 4).max(2);
    let mut at = vec![0.0; count - 1];
    let mut beside = 0.0;
    for vector in vectors {
        let variance = Blocks::new(vector, count).variance();
        let jump = |at: usize| {
            let (before, after) = (&vector[at - window..at], &vector[at..at + window]);
            (mean(after) - mean(before)).powi(2) / variance
        };
        for (boundary, sum) in (size..).step_by(size).zip(&mut at) {
            *sum += jump(boundary);
            beside += f64::midpoint(jump(boundary - window), jump(boundary + window));
        }
    }
    let beside = beside / float(count - 1);
    at.sort_by(f64::total_cmp);
    mean(&at) >= MIN_JUMP_RATIO * beside && at[at.len() / 4] >= MIN_QUARTILE_RATIO * beside
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / float(values.len())
}

#[allow(clippy::cast_precision_loss, reason = "no tensor has 2^52 rows")]
fn float(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests;
