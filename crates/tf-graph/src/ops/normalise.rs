//! Softmax, and normalisation by mean and variance.

use super::kernel::Kernel::{Many, One};
use super::kernel::{Call, Table, at_least, exactly, same_type, wrong_type};
use super::number::Number;
use super::reduce::{Float, total};
use crate::array::{Array, Values};
use crate::failure::{Failure, invalid, unsupported};
use crate::parallel::for_each_row;
use crate::strided::{self, Strided};

pub(super) const TABLE: Table = &[
    ("FusedBatchNorm", Many(batch_norm)),
    ("FusedBatchNormV2", Many(batch_norm)),
    ("FusedBatchNormV3", Many(batch_norm)),
    ("LogSoftmax", One(log_softmax)),
    ("Softmax", One(softmax)),
];

fn softmax(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    let [input] = exactly(inputs)?;
    match input {
        Array::Float32(values) => rows(call, values, |row: &mut [f32]| {
            let largest = row.iter().copied().fold(f32::NEG_INFINITY, Number::larger);
            for x in &mut *row {
                *x = (*x - largest).exp();
            }
            let scale = f32::from_f64(total(row, |x| x).recip());
            for x in &mut *row {
                *x *= scale;
            }
        }),
        Array::Float64(values) => rows(call, values, |row: &mut [f64]| {
            let largest = row.iter().copied().fold(f64::NEG_INFINITY, Number::larger);
            for x in &mut *row {
                *x = (*x - largest).exp();
            }
            let sum = total(row, |x| x);
            for x in &mut *row {
                *x /= sum;
            }
        }),
        other => wrong_type(other.dtype()),
    }
}

fn log_softmax(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    fn normalise<T: Float>(row: &mut [T]) {
        let largest = row.iter().copied().fold(T::LOWEST, Number::larger);
        for x in &mut *row {
            *x = x.minus(largest);
        }
        let log = T::from_f64(total(row, f64::exp).ln());
        for x in &mut *row {
            *x = x.minus(log);
        }
    }
    let [input] = exactly(inputs)?;
    match input {
        Array::Float32(values) => rows(call, values, normalise),
        Array::Float64(values) => rows(call, values, normalise),
        other => wrong_type(other.dtype()),
    }
}

/// Changes each row along the last axis; in place if nobody else holds the array.
fn rows<T: Float>(
    call: &Call<'_>,
    values: Values<T>,
    function: impl Fn(&mut [T]) + Sync,
) -> Result<Array, Failure> {
    let shape = values.shape().to_vec();
    let Some(&len) = shape.last() else {
        return invalid("a scalar has no rows");
    };
    let mut buffer = match strided::take_buffer(values) {
        Ok(buffer) => buffer,
        Err(shared) => {
            call.meter.room::<T>(&shape)?;
            strided::slice(&shared)?.to_vec()
        }
    };
    let work = buffer.len();
    for_each_row(&mut buffer, len.max(1), work, &|_, row| function(row));
    strided::array(&shape, buffer)
}

/// `FusedBatchNorm`: normalises each channel, with its own mean and variance (`is_training`) or with given
/// ones. Keras' layer normalisation makes a channel of each row.
///
/// A scale or an offset with one element applies to all channels.
fn batch_norm(call: &Call<'_>, inputs: Vec<Array>) -> Result<Vec<Array>, Failure> {
    call.require("data_format", &["NHWC", "NCHW", "NDHWC", "NCDHW"])?;
    let inputs = same_type(inputs)?;
    let ([input, scale, offset, mean, variance], _) = at_least(inputs)?;
    let parameters = [scale, offset, mean, variance].map(|array| array.to_f64());
    match input {
        Array::Float32(values) => normalised(call, &values, &parameters),
        Array::Float64(values) => normalised(call, &values, &parameters),
        other => wrong_type(other.dtype()),
    }
}

#[allow(
    clippy::cast_precision_loss,
    clippy::float_cmp,
    reason = "lengths are far below 2^53, and 1 is the default"
)]
fn normalised<T: Float>(
    call: &Call<'_>,
    values: &Values<T>,
    [scale, offset, mean, variance]: &[Vec<f64>; 4],
) -> Result<Vec<Array>, Failure> {
    let format = call.string("data_format");
    let is_first = format.is_some_and(|format| format.starts_with("NC"));
    let rank = values.ndim();
    if !(4..=5).contains(&rank) {
        return invalid(format!("the input has {rank} axes"));
    }
    let epsilon = f64::from(call.float("epsilon").unwrap_or(1e-4));
    let is_training = call.flag_or("is_training", true);
    let axis = if is_first { 1 } else { rank - 1 };
    let channels = values.shape()[axis];
    let fits = |vector: &[f64]| vector.len() == channels || vector.len() == 1;
    if !fits(scale) || !fits(offset) || !(is_training || fits(mean) && fits(variance)) {
        return invalid(format!("the parameters do not fit {channels} channels"));
    }
    if is_training
        && call
            .float("exponential_avg_factor")
            .is_some_and(|factor| factor != 1.0)
    {
        return unsupported("moving averages are not implemented");
    }

    // Channels first: each is a contiguous row.
    let mut part = Strided::whole(values.shape());
    let channel = part.axes.remove(axis);
    part.axes.insert(0, channel);
    let first = strided::copy(values, &part, call.meter)?;
    let shape = first.shape().to_vec();
    let len: usize = shape[1..].iter().product();
    call.meter.room::<[f64; 4]>(&[channels])?;
    let source = strided::slice(&first)?;
    let at = |vector: &[f64], channel: usize| vector[if vector.len() == 1 { 0 } else { channel }];
    let moments_of = |channel: usize| {
        if !is_training {
            return [at(mean, channel), at(variance, channel)];
        }
        moments(&source[channel * len..(channel + 1) * len])
    };
    let mut moments = vec![[0.0_f64; 2]; channels];
    for_each_row(&mut moments, 1, source.len(), &|channel, found| {
        found[0] = moments_of(channel);
    });
    let Ok(mut buffer) = strided::take_buffer(first) else {
        return invalid("a new array is shared");
    };
    let work = buffer.len();
    for_each_row(&mut buffer, len.max(1), work, &|channel, row| {
        let [mean, variance] = moments[channel];
        let factor = at(scale, channel) / (variance + epsilon).sqrt();
        let offset = at(offset, channel);
        for x in row {
            *x = T::from_f64((x.to_f64() - mean) * factor + offset);
        }
    });
    let mut back = Strided::whole(&shape);
    let channel = back.axes.remove(0);
    back.axes.insert(axis, channel);
    let y = strided::copy(&strided::values(&shape, buffer)?, &back, call.meter)?;

    let vector = |values: Vec<f64>| {
        let values = values.into_iter().map(T::from_f64).collect();
        strided::array(&[channels], values)
    };
    let mean = || vector(moments.iter().map(|[mean, _]| *mean).collect());
    let scaled = |factor: f64| vector(moments.iter().map(|[_, x]| x * factor).collect());
    // The variance for moving averages is that of a sample.
    let sample = if is_training {
        len as f64 / len.saturating_sub(1).max(1) as f64
    } else {
        1.0
    };
    let empty = strided::array(&[0], Vec::<T>::new())?;
    Ok(vec![
        T::wrap(y),
        mean()?,
        scaled(sample)?,
        mean()?,
        scaled(1.0)?,
        empty,
    ])
}

/// Returns the mean and the variance of a row.
#[allow(clippy::cast_precision_loss, reason = "lengths are far below 2^53")]
fn moments<T: Float>(row: &[T]) -> [f64; 2] {
    let len = row.len() as f64;
    let mean = total(row, |x| x) / len;
    [mean, total(row, |x| (x - mean) * (x - mean)) / len]
}

#[cfg(test)]
mod tests {
    use testkit::graph_writer::Attr;

    use super::super::tests::{f32s, run, run_one};

    #[test]
    fn large_scores_do_not_overflow() {
        let scores = || f32s(&[1, 3], &[1000.0, 1000.0, -1000.0]);
        let softmax = run_one("Softmax", &[], vec![scores()]).unwrap();
        assert_eq!(softmax.to_f64(), [0.5, 0.5, 0.0]);
        let logs = run_one("LogSoftmax", &[], vec![scores()]).unwrap().to_f64();
        assert!((logs[0] + 2_f64.ln()).abs() < 1e-6 && (logs[2] + 2000.7).abs() < 0.1);
        assert!(run_one("Softmax", &[], vec![f32s(&[], &[1.0])]).is_err());
    }

    #[test]
    fn each_row_is_a_channel_of_layer_normalisation() {
        let rows = f32s(&[1, 2, 3, 1], &[1.0, 2.0, 3.0, -10.0, 0.0, 10.0]);
        let parameters = [1.0, 0.0, 0.0, 0.0].map(|x| f32s(&[2], &[x, x]));
        let inputs = [vec![rows], parameters.to_vec()].concat();
        let attrs = [
            ("data_format", Attr::Text("NCHW")),
            ("epsilon", Attr::Float(0.0)),
            ("is_training", Attr::True),
        ];
        let outputs = run("FusedBatchNormV3", &attrs, inputs).unwrap();
        let expected = 1.5_f64.sqrt();
        for (found, expected) in std::iter::zip(
            outputs[0].to_f64(),
            [-expected, 0.0, expected, -expected, 0.0, expected],
        ) {
            assert!((found - expected).abs() < 1e-6);
        }
        assert_eq!(outputs[1].to_f64(), [2.0, 0.0]);
        assert_eq!(outputs[2].to_f64(), [1.0, 100.0]);
    }
}
