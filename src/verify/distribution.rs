//! The distribution of the values of a tensor that is read in steps.
//!
//! The values of a small tensor are kept. Those of a larger one are counted by the upper 16 bits of their float32,
//! which needs no range in advance: sign, exponent and 7 bits of the mantissa place a value to within 1/128 of itself.
//! [`Distribution::end`] derives mean, standard deviation and a histogram of [`BINS`] bins from the counts, without a
//! second pass over the values.

use tensor_bytes::Float;

/// Number of bins of a histogram.
pub const BINS: usize = 64;
/// A histogram ends at the mean plus and minus this many standard deviations.
pub const DEVIATIONS: f64 = 4.0;

/// The largest number of values that are kept.
const MAX_KEPT: usize = 1 << 14;
/// By the upper 16 bits of a float32.
type Counts = [u64; 1 << 16];

/// The values of one tensor.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TensorStatistics {
    /// The name of the tensor.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Number of finite values.
    pub finite: u64,
    /// Number of values that are NaN or infinite. The other fields describe the finite ones.
    pub not_finite: u64,
    /// The mean.
    pub mean: f64,
    /// The standard deviation.
    pub deviation: f64,
    /// The smallest value.
    pub smallest: f64,
    /// The largest value.
    pub largest: f64,
    /// Number of values in [`BINS`] bins of equal width from `mean - 4 * deviation` to `mean + 4 * deviation`. A value
    /// that is known to within the width of a bin is divided between two.
    pub histogram: Vec<f64>,
    /// Number of values outside the histogram.
    pub outside: f64,
}

/// Counts the values of one tensor.
pub(super) struct Distribution {
    kept: Vec<f32>,
    /// `None` as long as all values are kept.
    counts: Option<Box<Counts>>,
    /// True if the upper 16 bits of a value are the whole value.
    is_short: bool,
}

/// Values of which only the range is known.
#[derive(Clone, Copy)]
struct Range {
    start: f64,
    end: f64,
    count: f64,
}

impl Distribution {
    /// `is_short` states that the values are bfloat16.
    pub(super) fn new(is_short: bool) -> Self {
        Self {
            kept: Vec::new(),
            counts: None,
            is_short,
        }
    }

    /// Adds the next elements. A float64 beyond the range of float32 counts as infinite.
    pub(super) fn add<T: Float>(&mut self, elements: &[T]) {
        let keeps = self.counts.is_none() && self.kept.len() + elements.len() <= MAX_KEPT;
        if keeps {
            let floats = elements.iter().map(|x| f32::round_from(x.widen()));
            self.kept.extend(floats);
            return;
        }
        let counts = self.counts.get_or_insert_with(no_counts);
        f32::count(&self.kept, counts);
        self.kept.clear();
        T::count(elements, counts);
    }

    /// Returns the statistics of all values.
    pub(super) fn end(&self, name: &str, shape: &[usize]) -> TensorStatistics {
        let mut ranges = self.ranges();
        ranges.sort_by(|a, b| a.start.total_cmp(&b.start));
        let (finite, not_finite): (Vec<Range>, Vec<Range>) = ranges
            .into_iter()
            .partition(|range| range.start.is_finite() && range.end.is_finite());
        let total = |ranges: &[Range]| ranges.iter().map(|range| range.count).sum::<f64>();
        let (count, lost) = (total(&finite), total(&not_finite));
        let middle = |range: &Range| f64::midpoint(range.start, range.end);
        let weighted = |of: &dyn Fn(f64) -> f64| {
            let sum = finite.iter().map(|range| of(middle(range)) * range.count);
            sum.sum::<f64>() / count.max(1.0)
        };
        let mean = weighted(&|x| x);
        let deviation = weighted(&|x| (x - mean).powi(2)).sqrt();
        let (histogram, outside) = histogram(&finite, mean, deviation);
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "sums of counts"
        )]
        let [finite_count, not_finite_count] = [count, lost].map(|count| count as u64);
        TensorStatistics {
            name: name.to_owned(),
            shape: shape.to_vec(),
            finite: finite_count,
            not_finite: not_finite_count,
            mean,
            deviation,
            smallest: finite.first().map_or(0.0, middle),
            largest: finite.last().map_or(0.0, middle),
            histogram,
            outside,
        }
    }

    /// Returns the values, or their ranges with their counts, without empty ones.
    fn ranges(&self) -> Vec<Range> {
        let kept = self.kept.iter().map(|&x| Range {
            start: f64::from(x),
            end: f64::from(x),
            count: 1.0,
        });
        let counts = self.counts.iter().flat_map(|counts| counts.iter());
        let counted = (0_u32..).zip(counts).filter(|&(_, &count)| count > 0);
        let counted = counted.map(|(upper, &count)| {
            let bits = upper << 16;
            let last = if self.is_short { bits } else { bits | 0xffff };
            let [a, b] = [bits, last].map(|bits| f64::from(f32::from_bits(bits)));
            #[allow(clippy::cast_precision_loss, reason = "no tensor has 2^52 elements")]
            Range {
                start: a.min(b),
                end: a.max(b),
                count: count as f64,
            }
        });
        kept.chain(counted).collect()
    }
}

/// Only the pages that are written to take memory.
fn no_counts() -> Box<Counts> {
    let counts = vec![0; size_of::<Counts>() / size_of::<u64>()];
    let counts = counts.into_boxed_slice().try_into();
    counts.expect("the length is that of the type")
}

/// Returns the histogram, and the number of values outside.
fn histogram(ranges: &[Range], mean: f64, deviation: f64) -> (Vec<f64>, f64) {
    let mut bins = vec![0.0; BINS];
    let mut outside = 0.0;
    let lowest = mean - DEVIATIONS * deviation;
    #[allow(clippy::cast_precision_loss, reason = "a small count")]
    let width = 2.0 * DEVIATIONS * deviation / BINS as f64;
    for range in ranges {
        if width <= 0.0 || !width.is_finite() {
            // All values are the same.
            bins[BINS / 2] += range.count;
            continue;
        }
        let [from, to] = [range.start, range.end].map(|x| (x - lowest) / width);
        add_range(&mut bins, &mut outside, (from, to, range.count));
    }
    (bins, outside)
}

/// Divides a count between the bins that a range covers, which is given in bins.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    clippy::float_cmp,
    reason = "the limits are those of a short vector, and a value is exact"
)]
fn add_range(bins: &mut [f64], outside: &mut f64, (from, to, count): (f64, f64, f64)) {
    let end = bins.len() as f64;
    if from == to {
        match from {
            // A range is closed at its end, as the bins are.
            _ if from == end => bins[bins.len() - 1] += count,
            _ if (0.0..end).contains(&from) => bins[from as usize] += count,
            _ => *outside += count,
        }
        return;
    }
    let density = count / (to - from);
    let (inside_from, inside_to) = (from.clamp(0.0, end), to.clamp(0.0, end));
    *outside += density * ((to - from) - (inside_to - inside_from));
    for at in inside_from as usize..(inside_to.ceil() as usize).min(bins.len()) {
        let covered = inside_to.min(at as f64 + 1.0) - inside_from.max(at as f64);
        bins[at] += density * covered.max(0.0);
    }
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::*;

    fn statistics<T: Float>(pieces: &[&[T]], is_short: bool) -> TensorStatistics {
        let mut distribution = Distribution::new(is_short);
        for piece in pieces {
            distribution.add(piece);
        }
        distribution.end("t", &[1])
    }

    /// Values that look like a normal distribution, with mean 0 and deviation `scale`.
    fn bell(count: usize, scale: f32) -> Vec<f32> {
        let mut random = fastrand::Rng::with_seed(1);
        let draw = |_| (0..12).map(|_| random.f32()).sum::<f32>() - 6.0;
        (0..count).map(draw).map(|x| x * scale).collect()
    }

    /// The same from all values at once.
    fn exact(values: &[f32]) -> (f64, f64) {
        let count = f64::from(u32::try_from(values.len()).unwrap());
        let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
        let squares = values.iter().map(|&x| (f64::from(x) - mean).powi(2));
        (mean, (squares.sum::<f64>() / count).sqrt())
    }

    #[test]
    fn values_that_are_counted_have_nearly_the_statistics_of_values_that_are_kept() {
        for count in [100, MAX_KEPT, MAX_KEPT + 1, 200_000] {
            let values = bell(count, 0.02);
            let (mean, deviation) = exact(&values);
            let pieces: Vec<&[f32]> = values.chunks(5000).collect();
            let found = statistics(&pieces, false);
            assert_eq!((found.finite, found.not_finite), (count as u64, 0));
            assert!((found.mean - mean).abs() < 1e-4 * deviation, "{found:?}");
            assert!(
                (found.deviation / deviation - 1.0).abs() < 1e-3,
                "{found:?}"
            );
            let inside: f64 = found.histogram.iter().sum();
            let sum = inside + found.outside;
            assert!((sum / f64::from(u32::try_from(count).unwrap()) - 1.0).abs() < 1e-9);
            // Each bin, counted one by one.
            let lowest = found.mean - 4.0 * found.deviation;
            let width = found.deviation / 8.0;
            for (at, &bin) in found.histogram.iter().enumerate() {
                let start = lowest + f64::from(u32::try_from(at).unwrap()) * width;
                let of_bin = values
                    .iter()
                    .filter(|&&x| (start..start + width).contains(&f64::from(x)));
                let expected = f64::from(u32::try_from(of_bin.count()).unwrap());
                let tolerance = if count > MAX_KEPT {
                    0.05 * expected + 40.0
                } else {
                    0.5
                };
                assert!(
                    (bin - expected).abs() <= tolerance,
                    "{at}: {bin}, {expected}"
                );
            }
            let smallest = f64::from(values.iter().copied().fold(f32::MAX, f32::min));
            assert!((found.smallest / smallest - 1.0).abs() < 1.0 / 128.0);
        }
    }

    #[test]
    fn short_types_are_exact() {
        let values = bell(50_000, 1.0);
        let short: Vec<bf16> = values.iter().map(|&x| bf16::from_f32(x)).collect();
        let widened: Vec<f32> = short.iter().map(|x| x.to_f32()).collect();
        let (mean, deviation) = exact(&widened);
        let found = statistics(&[&short], true);
        assert!((found.mean - mean).abs() < 1e-12);
        assert!((found.deviation - deviation).abs() < 1e-9);

        let found = statistics(&[&[f16::from_f32(0.5), f16::from_f32(-0.5)]], false);
        assert_eq!((found.mean, found.deviation), (0.0, 0.5));
        assert_eq!((found.smallest, found.largest), (-0.5, 0.5));
    }

    #[test]
    fn values_that_are_not_finite_are_counted_apart() {
        for rest in [0, MAX_KEPT * 2] {
            let mut values = vec![1.0_f64; rest];
            values.extend([f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, 1.0]);
            let found = statistics(&[&values], false);
            assert_eq!(found.finite, rest as u64 + 1);
            assert_eq!(found.not_finite, 4);
            assert!((found.mean - 1.0).abs() < 0.01 && found.deviation < 0.01);
        }
    }

    #[test]
    fn values_without_a_width_have_one_bin() {
        let none = statistics::<f32>(&[], false);
        assert_eq!((none.finite, none.mean, none.deviation), (0, 0.0, 0.0));
        assert!(none.histogram.iter().all(|&bin| bin == 0.0));
        let same = statistics(&[&[3.0_f32; 10]], false);
        assert_eq!((same.mean, same.deviation), (3.0, 0.0));
        assert!((same.histogram[BINS / 2] - 10.0).abs() < 1e-12);
        let nan = statistics(&[&[f32::NAN]], false);
        assert_eq!((nan.finite, nan.not_finite, nan.mean), (0, 1, 0.0));
    }
}
